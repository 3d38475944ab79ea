"""A little of everything, on whichever event loop runs it; ends by itself.

python -m casyncio examples/hello.py      on casyncio
python examples/hello.py                  on asyncio's own loop
"""

import asyncio
import sys
import time


async def tasks_and_a_queue():
    """Three workers take ten numbers from a queue and give back squares."""
    todo, done = asyncio.Queue(), []

    async def worker():
        while True:
            number = await todo.get()
            await asyncio.sleep(0)
            done.append(number * number)
            todo.task_done()

    async with asyncio.TaskGroup() as group:
        workers = [group.create_task(worker()) for _ in range(3)]
        for number in range(10):
            todo.put_nowait(number)
        await todo.join()
        for each in workers:
            each.cancel()
    return f"10 numbers through 3 workers, sum of squares {sum(done)}"


async def timers():
    """Five timers, started in the wrong order, fire in the right one."""
    loop = asyncio.get_running_loop()
    fired, last = [], loop.create_future()
    for tenths in (5, 3, 1, 4, 2):
        loop.call_later(tenths / 50, fired.append, tenths)
    loop.call_later(0.12, last.set_result, None)
    await last
    return f"5 timers fired in the order {fired}"


async def echo_over_streams():
    """A server on the loopback echoes what twenty clients say at once."""

    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
        writer.close()

    async def client(port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello %d\n" % number)
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer == b"hello %d\n" % number

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        right = await asyncio.gather(*(client(port, number) for number in range(20)))
    return f"{sum(right)} of 20 clients were echoed"


async def a_subprocess():
    """Another Python adds up what is written to it."""
    program = "import sys; print(sum(map(int, sys.stdin.read().split())))"
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate(b"1 2 3 4")
    return f"a child process answered {int(out)} and exited with {child.returncode}"


async def main():
    """Do all of it at once and say what came of it."""
    start = time.perf_counter()
    parts = (tasks_and_a_queue, timers, echo_over_streams, a_subprocess)
    results = await asyncio.gather(*(part() for part in parts))
    for part, result in zip(parts, results, strict=True):
        print(f"{part.__name__:18} {result}")
    kind = type(asyncio.get_running_loop())
    took = time.perf_counter() - start
    print(f"{'all at once':18} {took:.2f} s on {kind.__module__}.{kind.__qualname__}")


if __name__ == "__main__":
    asyncio.run(main())
