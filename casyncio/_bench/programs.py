"""What does a loop gain in the programs that tutorials teach? Standard library only."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys

from .harness import all_descriptors, workload

PAGES, LINKS, CRAWLERS = 200, 5, 20
SLEEPERS = 10_000
CLIENTS = 1_000
CHATTERS = 50


async def finish(writer):
    """Close a stream and wait for it."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(handle):
    """Serve streams on a free port of loopback; gives the port."""
    all_descriptors()
    server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


# ---- the crawler -----------------------------------------------------------------------------


async def site(reader, writer):
    """Answer one request with a page that links to five others."""
    line = await reader.readline()
    while (await reader.readline()).strip():
        pass
    number = int(line.split()[1][1:])
    links = ((number * LINKS + i) % PAGES for i in range(1, LINKS + 1))
    body = "".join(f'<p>text <a href="/{link}">more</a></p>' for link in links).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await finish(writer)


async def fetch(port, number):
    """Return the links of a page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
    page = await reader.read(-1)
    await finish(writer)
    return [int(link) for link in re.findall(rb'href="/(\d+)"', page)]


@workload(start=PAGES, limit=10 * PAGES, unit="page/s", quick=True)
async def program_crawler(loop, n):
    """Twenty workers and a Queue follow the links of a site of 200 pages, over streams."""
    done = 0
    async with serving(site) as port:
        while done < n:
            done += await crawl(port)
    return done


async def crawl(port):
    """Visit each page once; return how many there were."""
    queue, seen = asyncio.Queue(), {0}
    queue.put_nowait(0)

    async def work():
        while True:
            for link in await fetch(port, await queue.get()):
                if link not in seen:
                    seen.add(link)
                    queue.put_nowait(link)
            queue.task_done()

    workers = [asyncio.create_task(work()) for _ in range(CRAWLERS)]
    await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    return len(seen)


# ---- queues, sleeps, trees -------------------------------------------------------------------


@workload(start=1_000, unit="item/s", quick=True)
async def program_queue_pipeline(loop, n):
    """Items pass three stages of four workers each, through bounded queues."""
    queues = [asyncio.Queue(100) for _ in range(4)]
    total = 0

    async def stage(source, target):
        while True:
            item = await source.get()
            await target.put(item + 1)
            source.task_done()

    async def drain():
        nonlocal total
        for _ in range(n):
            total += await queues[-1].get()

    workers = [
        asyncio.create_task(stage(*pair))
        for pair in zip(queues, queues[1:], strict=False)
        for _ in range(4)
    ]
    last = asyncio.create_task(drain())
    for i in range(n):
        await queues[0].put(i)
    await last
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    if total != n * (n - 1) // 2 + 3 * n:
        raise RuntimeError("items were lost")


@workload(start=SLEEPERS, limit=SLEEPERS, unit="sleep/s", quick=True)
async def program_10k_sleeps(loop, n):
    """``gather`` over 10,000 coroutines that sleep for 1 to 10 ms."""
    await asyncio.gather(*[asyncio.sleep((i % 10 + 1) / 1000) for i in range(n)])


@workload(start=1_111, unit="task/s", quick=True)
async def program_gather_tree(loop, n):
    """A tree of ``gather``, ten branches at each of three levels, whose leaves ``sleep(0)``."""

    async def grow(level):
        if not level:
            return await asyncio.sleep(0, 1)
        return 1 + sum(await asyncio.gather(*[grow(level - 1) for _ in range(10)]))

    done = 0
    while done < n:
        done += await grow(3)
    return done


# ---- streams ---------------------------------------------------------------------------------


async def echo_lines(reader, writer):
    """Send back each line."""
    with contextlib.suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    await finish(writer)


@workload(start=5 * CLIENTS, unit="msg/s", quick=True)
async def program_echo_1000_clients(loop, n):
    """A streams echo server and 1,000 clients that send lines, in one loop; connecting included."""
    each = max(1, n // CLIENTS)
    gate = asyncio.Semaphore(100)

    async def client(port):
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in range(each):
            writer.write(b"line %d\n" % i)
            if await reader.readline() != b"line %d\n" % i:
                raise RuntimeError("a wrong answer")
        await finish(writer)

    async with serving(echo_lines) as port:
        await asyncio.gather(*[client(port) for _ in range(CLIENTS)])
    return each * CLIENTS


@workload(start=20 * CHATTERS, unit="msg/s", quick=True)
async def program_chat_broadcast(loop, n):
    """A chat room of fifty: each line that somebody says is delivered to everybody."""
    rounds = max(1, n // CHATTERS**2)
    room = set()

    async def member(reader, writer):
        room.add(writer)
        writer.write(b"welcome\n")
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                for other in room:
                    other.write(line)
                await writer.drain()
        room.discard(writer)
        await finish(writer)

    async def chatter(reader, writer):
        for _ in range(rounds):
            writer.write(b"hello everybody\n")
            for _ in range(CHATTERS):
                if not await reader.readline():
                    raise RuntimeError("the room was closed")

    async with serving(member) as port:
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CHATTERS)]
        for reader, _ in streams:
            await reader.readline()
        await asyncio.gather(*[chatter(*pair) for pair in streams])
        for _, writer in streams:
            await finish(writer)
    return rounds * CHATTERS**2


# ---- child processes -------------------------------------------------------------------------


@workload(start=16, limit=200, unit="child/s", shared=True, quick=True)
async def program_subprocess_fleet(loop, n):
    """Children that print a line, eight at a time; what each says is read."""
    gate = asyncio.Semaphore(8)
    pipe = asyncio.subprocess.PIPE
    command = ["/bin/echo", sys.platform]

    async def run():
        async with gate:
            child = await asyncio.create_subprocess_exec(*command, stdout=pipe)
            said, _ = await child.communicate()
        if said.strip() != command[1].encode() or child.returncode:
            raise RuntimeError("the child failed")

    await asyncio.gather(*[run() for _ in range(n)])
