"""Everything at once on one loop: streams, child processes, queues, timers, threads, a signal.

Knows nothing of any particular loop.  Every part checks its own results; prints one JSON line.
"""

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
import time

CHILDREN, CLIENTS, ITEMS = 12, 40, 2000


async def children():
    """Send a block through ``cat`` in several children at a time; kill one that sleeps."""

    async def one(i):
        block = bytes([i]) * 50_000
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
        out, _ = await process.communicate(block)
        assert out == block and process.returncode == 0

    sleeper = await asyncio.create_subprocess_exec("sleep", "60")
    await asyncio.gather(*[one(i) for i in range(CHILDREN)])
    sleeper.kill()
    assert await sleeper.wait() == -signal.SIGKILL
    return CHILDREN


async def streams():
    """Serve clients that each send lines and a large block; check every answer."""

    async def serve(reader, writer):
        while line := await reader.readline():
            block = await reader.readexactly(int(line))
            writer.write(hashlib.sha256(block).digest())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def client(port, i):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for size in (1, 1000 * i, 300_000):
            block = os.urandom(size)
            writer.write(b"%d\n" % size + block)
            await writer.drain()
            assert await reader.readexactly(32) == hashlib.sha256(block).digest()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=CLIENTS)
    try:
        port = server.sockets[0].getsockname()[1]
        await asyncio.gather(*[client(port, i) for i in range(CLIENTS)])
    finally:
        server.close()
    return CLIENTS


async def queues():
    """Pass items through three stages joined by short queues, in order."""
    first, second, out = asyncio.Queue(5), asyncio.Queue(5), []

    async def source():
        for i in range(ITEMS):
            await first.put(i)
        await first.put(None)

    async def square():
        while (i := await first.get()) is not None:
            await second.put(i * i)
        await second.put(None)

    async def sink():
        while (i := await second.get()) is not None:
            out.append(i)

    await asyncio.gather(source(), square(), sink())
    assert out == [i * i for i in range(ITEMS)]
    return len(out)


async def timers():
    """Fire timers in the order of their deadlines, none early, without the cancelled ones."""
    loop, fired = asyncio.get_running_loop(), []
    start = loop.time()
    for i in range(1000):
        when = start + (i * 37 % 200) / 1000
        handle = loop.call_at(when, lambda when=when: fired.append((when, loop.time())))
        if i % 4 == 0:
            handle.cancel()
    while len(fired) < 750 or loop.time() < start + 0.2:
        await asyncio.sleep(0.01)
    assert len(fired) == 750
    assert fired == sorted(fired)
    assert all(now >= when for when, now in fired)
    return len(fired)


async def threads():
    """Hand results over from threads, through the executor and by hand."""
    loop = asyncio.get_running_loop()
    got = []

    def work(n):
        for i in range(200):
            loop.call_soon_threadsafe(got.append, (n, i))
        time.sleep(0.01)
        return n

    assert await asyncio.gather(*[asyncio.to_thread(work, n) for n in range(4)]) == [0, 1, 2, 3]
    await asyncio.sleep(0)
    assert all([i for k, i in got if k == n] == list(range(200)) for n in range(4))
    return len(got)


async def signals():
    """Take a signal in the loop while all else goes on."""
    loop, got = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    loop.remove_signal_handler(signal.SIGUSR1)
    return 1


async def sockets():
    """Pass datagrams and raw socket data."""
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        block = os.urandom(500_000)
        sending = asyncio.create_task(loop.sock_sendall(a, block))
        received = b""
        while len(received) < len(block):
            received += await loop.sock_recv(b, 65536)
        await sending
        assert received == block
    return len(block)


async def main():
    """Run all parts side by side."""
    loop = asyncio.get_running_loop()
    problems = []
    loop.set_exception_handler(lambda loop, context: problems.append(str(context)))
    parts = (children, streams, queues, timers, threads, signals, sockets)
    async with asyncio.timeout(60):
        counts = await asyncio.gather(*[part() for part in parts])
    assert not problems, problems
    result = {part.__name__: count for part, count in zip(parts, counts, strict=True)}
    result["loop"] = f"{type(loop).__module__}.{type(loop).__name__}"
    result["backend"] = getattr(loop, "backend", None)
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
