"""Lock, Event, Semaphore, and Condition, BoundedSemaphore, Barrier beside them."""

import asyncio

from _harness import case, program, raises, run, timed, timed_case


@case("lock.mutual_exclusion", "async with lock: never two inside, and in the order of asking")
async def _():
    lock, inside, order = asyncio.Lock(), 0, []

    async def f(i):
        nonlocal inside
        async with lock:
            inside += 1
            assert inside == 1 and lock.locked()
            await asyncio.sleep(0.0005)
            inside -= 1
            order.append(i)

    await asyncio.gather(*[f(i) for i in range(50)])
    assert order == list(range(50)) and not lock.locked()


@case(
    "lock.errors",
    (
        "release of a free lock: RuntimeError; with `with`: error; acquire gives True; free "
        "lock is taken without yielding"
    ),
)
async def _():
    lock = asyncio.Lock()
    with raises(RuntimeError, "Lock is not acquired"):
        lock.release()
    with raises(TypeError), lock:
        pass
    assert await lock.acquire() is True and "locked" in repr(lock)
    lock.release()


@case("lock.cancelled_waiter", "a cancelled waiter gives its turn to the next")
async def _():
    lock = asyncio.Lock()
    await lock.acquire()
    got = []

    async def f(i):
        async with lock:
            got.append(i)

    ts = [asyncio.create_task(f(i)) for i in range(3)]
    await asyncio.sleep(0)
    ts[0].cancel()
    lock.release()
    await asyncio.wait(ts)
    assert got == [1, 2] and ts[0].cancelled() and not lock.locked()


@case(
    "sync.made_outside",
    (
        "made outside of any loop they bind to the loop of first waiting; use in a second loop:"
        " RuntimeError 'is bound to a different event loop'"
    ),
)
def _():
    lock = asyncio.Lock()

    async def contend():
        await lock.acquire()
        t = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        lock.release()
        await t
        lock.release()

    run(contend())

    async def again():
        await lock.acquire()
        t = asyncio.create_task(lock.acquire())
        with raises(RuntimeError, "is bound to a different event loop"):
            await t
        lock.release()

    run(again())


@case("event.wakes_all", "wait blocks until set, then all waiters go on; is_set, clear, set twice")
async def _():
    ev, got = asyncio.Event(), []

    async def w(i):
        assert await ev.wait() is True
        got.append(i)

    ts = [asyncio.create_task(w(i)) for i in range(100)]
    await asyncio.sleep(0.005)
    assert not got and not ev.is_set()
    ev.set(), ev.set()
    await asyncio.gather(*ts)
    assert got == list(range(100)) and ev.is_set() and await ev.wait()
    ev.clear()
    assert not ev.is_set()
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(ev.wait(), 0.01)


@case("semaphore.bounds", "Semaphore(5): at most 5 inside, and 5 are reached; order of asking")
async def _():
    sem, n, top, order = asyncio.Semaphore(5), 0, 0, []

    async def f(i):
        nonlocal n, top
        async with sem:
            order.append(i)
            n += 1
            top = max(top, n)
            await asyncio.sleep(0.002)
            n -= 1

    await asyncio.gather(*[f(i) for i in range(40)])
    assert top == 5 and order == list(range(40)) and not sem.locked()


@timed_case("semaphore.rate", "12 jobs of 0.1 s through Semaphore(4) take about 0.3 s")
def _():
    async def main():
        sem = asyncio.Semaphore(4)

        async def f():
            async with sem:
                await asyncio.sleep(0.1)

        await asyncio.gather(*[f() for _ in range(12)])

    timed(main, 0.29, 0.45)


@case(
    "semaphore.errors",
    "negative start: ValueError; BoundedSemaphore released too often: ValueError; locked()",
)
async def _():
    with raises(ValueError):
        asyncio.Semaphore(-1)
    b = asyncio.BoundedSemaphore(1)
    await b.acquire()
    assert b.locked()
    b.release()
    with raises(ValueError, "released too many times"):
        b.release()


@case("semaphore.cancelled_waiters", "cancelled waiters lose no permit")
async def _():
    sem = asyncio.Semaphore(2)
    await sem.acquire(), await sem.acquire()
    ts = [asyncio.create_task(sem.acquire()) for _ in range(6)]
    await asyncio.sleep(0)
    for t in ts[::2]:
        t.cancel()
    sem.release(), sem.release()
    await asyncio.sleep(0.01)
    assert sum(t.done() and not t.cancelled() for t in ts) == 2
    for t in ts:
        t.cancel()
    await asyncio.wait(ts)
    sem.release(), sem.release()
    assert not sem.locked()


@case("condition", "Condition: wait, notify, notify_all, wait_for under its lock")
async def _():
    cond, items, got = asyncio.Condition(), [], []

    async def consumer():
        async with cond:
            await cond.wait_for(lambda: items)
            got.append(items.pop(0))

    ts = [asyncio.create_task(consumer()) for _ in range(3)]
    await asyncio.sleep(0)
    for i in range(3):
        async with cond:
            items.append(i)
            cond.notify()
        await asyncio.sleep(0)
    async with cond:
        cond.notify_all()
    await asyncio.gather(*ts)
    assert got == [0, 1, 2]
    with raises(RuntimeError):
        cond.notify()


@case("barrier", "Barrier(3) lets three through together")
async def _():
    b, log = asyncio.Barrier(3), []

    async def f(i):
        log.append("in")
        await b.wait()
        log.append("out")

    await asyncio.gather(*[f(i) for i in range(3)])
    assert log == ["in"] * 3 + ["out"] * 3


program(__name__)
