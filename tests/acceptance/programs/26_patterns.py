"""Larger programs that combine what the others try one by one."""

import asyncio
import os
import random
import time

from _harness import case, child, program, raises, timed, timed_case


@timed_case(
    "pattern.rate_limit",
    "a limiter of 50 starts a second: 20 jobs take at least 0.38 s and the gaps are kept",
)
def _():
    async def main():
        lock, nxt, starts = asyncio.Lock(), 0.0, []
        loop = asyncio.get_running_loop()

        async def limited():
            nonlocal nxt
            async with lock:
                now = loop.time()
                if now < nxt:
                    await asyncio.sleep(nxt - now)
                nxt = max(now, nxt) + 0.02
                starts.append(time.monotonic())

        await asyncio.gather(*[limited() for _ in range(20)])
        assert starts[-1] - starts[0] >= 0.375, starts[-1] - starts[0]

    timed(main, 0.37, 0.65)


@case(
    "pattern.retry",
    "retry with growing pauses: fails twice, then gives the value; gives up after the last try",
)
async def _():
    calls = 0

    async def flaky(ok_at):
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls < ok_at:
            raise ConnectionError(calls)
        return calls

    async def retry(f, n):
        for k in range(n):
            try:
                return await asyncio.wait_for(f(), 1)
            except ConnectionError:
                if k == n - 1:
                    raise
                await asyncio.sleep(0.002 * 2**k)

    assert await retry(lambda: flaky(3), 5) == 3
    calls = 0
    with raises(ConnectionError):
        await retry(lambda: flaky(99), 3)
    assert calls == 3


@timed_case("pattern.periodic", "a heartbeat every 10 ms on absolute times does not drift")
async def _():
    loop, beats = asyncio.get_running_loop(), []
    t0 = loop.time()
    for i in range(1, 21):
        await asyncio.sleep(t0 + i * 0.01 - loop.time())
        beats.append(loop.time() - t0 - i * 0.01)
    assert min(beats) > -0.0015 and sorted(beats)[10] < 0.02, beats


@case(
    "pattern.pipeline",
    "three stages joined by bounded queues, an end marker passes through: 3000 items in order",
)
async def _():
    q1, q2, end, out = asyncio.Queue(8), asyncio.Queue(8), object(), []

    async def source():
        for i in range(3000):
            await q1.put(i)
        await q1.put(end)

    async def double():
        while (i := await q1.get()) is not end:
            await q2.put(i * 2)
        await q2.put(end)

    async def sink():
        while (i := await q2.get()) is not end:
            out.append(i)

    await asyncio.wait_for(asyncio.gather(source(), double(), sink()), 20)
    assert out == list(range(0, 6000, 2))


@case(
    "pattern.first_answer_wins",
    "ask three mirrors, take the first answer, cancel the others and see their cleanup",
)
async def _():
    cleaned = []

    async def mirror(name, d):
        try:
            await asyncio.sleep(d)
            return name
        finally:
            cleaned.append(name)

    ts = [asyncio.create_task(mirror(n, d)) for n, d in (("slow", 5), ("fast", 0.01), ("mid", 3))]
    done, pending = await asyncio.wait(ts, return_when=asyncio.FIRST_COMPLETED)
    for t in pending:
        t.cancel()
    await asyncio.wait(pending)
    assert [t.result() for t in done] == ["fast"] and sorted(cleaned) == ["fast", "mid", "slow"]


@timed_case(
    "pattern.graceful_shutdown",
    (
        "a server stopped by SIGTERM: it takes no new client, lets the current request end, "
        "runs all cleanups, exits 0"
    ),
)
def _():
    rc, out, err = child("""
import asyncio, os, signal
async def main():
    loop, stop, busy = asyncio.get_running_loop(), asyncio.Event(), set()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async def handle(r, w):
        busy.add(asyncio.current_task())
        line = await r.readline()
        await asyncio.sleep(0.2)
        w.write(b'served ' + line); await w.drain(); w.close()
        busy.discard(asyncio.current_task())
    s = await asyncio.start_server(handle, '127.0.0.1', 0)
    port = s.sockets[0].getsockname()[1]
    async def client():
        r, w = await asyncio.open_connection('127.0.0.1', port)
        w.write(b'req\\n'); print((await r.read()).decode().strip()); w.close()
    c = asyncio.create_task(client())
    loop.call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    await stop.wait()
    s.close()
    await asyncio.gather(*busy); await c
    try:
        await asyncio.open_connection('127.0.0.1', port); print('still open')
    except ConnectionRefusedError:
        print('closed')
run(main())
""")
    assert rc == 0 and out.split("\n")[:2] == ["served req", "closed"], (rc, out, err)


@case(
    "pattern.bounded_pool",
    (
        "a worker pool: 500 jobs, 10 workers, results gathered by job, a failing job does not "
        "stop the pool"
    ),
)
async def _():
    q, results = asyncio.Queue(), {}
    rnd = random.Random(1)
    for i in range(500):
        q.put_nowait(i)

    async def job(i):
        await asyncio.sleep(rnd.random() * 0.002)
        if i % 100 == 13:
            raise ValueError(i)
        return i * i

    async def worker():
        while not q.empty():
            i = q.get_nowait()
            try:
                results[i] = await job(i)
            except ValueError as e:
                results[i] = e

    await asyncio.gather(*[worker() for _ in range(10)])
    assert len(results) == 500 and sum(isinstance(v, ValueError) for v in results.values()) == 5
    assert all(v == i * i for i, v in results.items() if not isinstance(v, ValueError))


@timed_case(
    "pattern.memory_steady",
    (
        "200000 short tasks, timers and futures one after another leave no memory behind (less "
        "than 8 MiB more)"
    ),
)
async def _():
    def rss():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    async def batch():
        for _ in range(20):
            await asyncio.gather(*[asyncio.sleep(0, i) for i in range(1000)])
            await asyncio.wait_for(asyncio.gather(*[asyncio.sleep(0.0001) for _ in range(200)]), 60)

    await batch()
    before = rss()
    for _ in range(8):
        await batch()
    assert rss() - before < 8 << 20, rss() - before


program(__name__)
