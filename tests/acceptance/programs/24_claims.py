"""What asyncio promises about time and numbers, at a fifth to a tenth of the usual length."""

import asyncio
import random
import time

from _harness import case, program, timed, timed_case


async def ret(x, d):
    await asyncio.sleep(d)
    return x


@timed_case("claim.three_requests", "three waits of d: one after another 3d, side by side d")
def _():
    async def serial():
        for i in range(3):
            await ret(i, 0.1)

    async def side():
        assert await asyncio.gather(*[ret(i, 0.2) for i in range(3)]) == [0, 1, 2]

    timed(serial, 0.29, 0.48)
    timed(side, 0.19, 0.32)


@timed_case(
    "claim.sync_vs_async", "the same three downloads: with time.sleep 6 units, with asyncio 2"
)
def _():
    t = time.perf_counter()
    for _ in range(3):
        time.sleep(0.1)
    sync = time.perf_counter() - t

    async def main():
        await asyncio.gather(*[ret(i, 0.1) for i in range(3)])

    timed(main, 0.095, sync * 0.6)


@timed_case(
    "claim.tasks_2_3_wait_5",
    "tasks of 2 and 3 units under a main that sleeps 5: results after 5, not 10",
)
def _():
    async def main():
        a, b = asyncio.create_task(ret("value 2", 0.08)), asyncio.create_task(ret("value 3", 0.12))
        await asyncio.sleep(0.2)
        assert (await a, await b) == ("value 2", "value 3")

    timed(main, 0.19, 0.30)


@timed_case(
    "claim.ten_thousand_sleeps",
    (
        "10000 tasks asleep for 0.5 s together are through in about that time (less than 1.6 of"
        " it plus 0.7 s of work)"
    ),
)
def _():
    async def main():
        assert sum(await asyncio.gather(*[ret(1, 0.5) for _ in range(10_000)])) == 10_000

    timed(main, 0.49, 1.5)


@timed_case(
    "claim.random_delays",
    (
        "delays drawn at random: results in the order asked, completion in the order of the "
        "delays, total about the longest"
    ),
)
def _():
    rnd = random.Random(5)
    ds = [rnd.randrange(1, 20) / 100 for _ in range(50)]

    async def main():
        ended = []

        async def f(d):
            await asyncio.sleep(d)
            ended.append(d)
            return d

        assert await asyncio.gather(*[f(d) for d in ds]) == ds
        assert ended == sorted(ds)

    timed(main, max(ds) - 0.005, max(ds) * 1.6)


@case(
    "claim.cpu_work_gains_nothing",
    "CPU work in several tasks takes the sum and nothing runs meanwhile",
)
async def _():
    log = []

    async def cpu(k):
        log.append((k, "in"))
        sum(range(200_000))
        log.append((k, "out"))

    await asyncio.gather(*[cpu(k) for k in range(3)])
    assert log == [(k, w) for k in range(3) for w in ("in", "out")]


@case(
    "claim.thousand_connections",
    "2000 open connections held at once in one thread, then all answered",
)
async def _():
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4200:
        from _harness import Skip

        raise Skip("too few file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    go = asyncio.Event()

    async def handle(reader, writer):
        n = await reader.readexactly(4)
        await go.wait()
        writer.write(n[::-1])
        await writer.drain()
        await reader.read()
        writer.close()

    s = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=4096)
    port, conns = s.sockets[0].getsockname()[1], []
    for _k in range(20):
        conns += await asyncio.gather(
            *[asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        )
    for i, (_r, w) in enumerate(conns):
        w.write(i.to_bytes(4, "big"))
    await asyncio.sleep(0.05)
    go.set()

    async def answer(i, r):
        assert (await r.readexactly(4))[::-1] == i.to_bytes(4, "big")

    await asyncio.wait_for(asyncio.gather(*[answer(i, r) for i, (r, w) in enumerate(conns)]), 30)
    for _, w in conns:
        w.close()
    await asyncio.gather(*[w.wait_closed() for _, w in conns])
    s.close()


program(__name__)
