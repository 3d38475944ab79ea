"""asyncio.wait and as_completed."""

import asyncio

from _harness import case, program, raises, timed, timed_case


async def ret(x, d=0.0):
    await asyncio.sleep(d)
    return x


async def bad(d=0.0):
    await asyncio.sleep(d)
    raise ValueError("bad")


def tasks(*ds):
    return [asyncio.create_task(ret(d, d)) for d in ds]


@timed_case(
    "wait.all_completed",
    "wait(list of tasks) gives (done, pending): sets of the tasks themselves, pending empty",
)
def _():
    async def main():
        ts = tasks(0.1, 0.2)
        done, pending = await asyncio.wait(ts)
        assert type(done) is set and done == set(ts) and pending == set()
        assert sorted(t.result() for t in done) == [0.1, 0.2]

    timed(main, 0.19, 0.30)


@timed_case("wait.after_sleep", "wait on tasks that ended meanwhile returns at once")
async def _():
    ts = tasks(0.01, 0.02)
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    t0 = loop.time()
    done, pending = await asyncio.wait(ts)
    assert done == set(ts) and not pending and loop.time() - t0 < 0.02


@timed_case("wait.timeout", "timeout= returns what is pending, cancels nothing and raises nothing")
async def _():
    a, b = tasks(0.01, 0.15)
    done, pending = await asyncio.wait({a, b}, timeout=0.06)
    assert done == {a} and pending == {b} and not b.cancelled()
    assert await b == 0.15


@timed_case("wait.first_completed", "FIRST_COMPLETED returns with the first one done")
async def _():
    a, b, c = tasks(0.01, 0.3, 0.3)
    done, pending = await asyncio.wait([a, b, c], return_when=asyncio.FIRST_COMPLETED)
    assert done == {a} and pending == {b, c}
    for t in pending:
        t.cancel()


@timed_case(
    "wait.first_exception",
    "FIRST_EXCEPTION returns with the first exception, or with all when none fails",
)
async def _():
    a, c = tasks(0.005, 0.3)
    b = asyncio.create_task(bad(0.02))
    done, pending = await asyncio.wait([a, b, c], return_when=asyncio.FIRST_EXCEPTION)
    assert done == {a, b} and pending == {c} and isinstance(b.exception(), ValueError)
    c.cancel()
    ts = tasks(0.001, 0.01)
    assert await asyncio.wait(ts, return_when=asyncio.FIRST_EXCEPTION) == (set(ts), set())


@case(
    "wait.coroutines",
    "bare coroutines: TypeError 'Passing coroutines is forbidden'",
)
async def _():
    cs = [ret(1), ret(2)]
    with raises(TypeError, "Passing coroutines is forbidden"):
        await asyncio.wait(cs)
    for c in cs:
        c.close()


@case(
    "wait.bad_arguments",
    "empty set: ValueError; a single task: TypeError; unknown return_when: ValueError",
)
async def _():
    (t,) = tasks(0)
    with raises(ValueError):
        await asyncio.wait([])
    with raises(TypeError):
        await asyncio.wait(t)
    with raises(ValueError, "return_when"):
        await asyncio.wait([t], return_when="SOMETIME")
    await t


@timed_case("wait.cancelled_outside", "cancelling the waiter leaves the tasks running")
async def _():
    ts = tasks(0.05, 0.05)
    w = asyncio.create_task(asyncio.wait(ts))
    await asyncio.sleep(0.005)
    w.cancel()
    with raises(asyncio.CancelledError):
        await w
    assert await asyncio.gather(*ts) == [0.05, 0.05]


@timed_case(
    "wait.as_completed",
    "as_completed gives the results in the order of completion; with timeout TimeoutError",
)
async def _():
    ds = [0.09, 0.03, 0.06]
    assert [await f for f in asyncio.as_completed([ret(d, d) for d in ds])] == sorted(ds)
    slow = tasks(0.3)
    with raises(asyncio.TimeoutError):
        for f in asyncio.as_completed(slow, timeout=0.02):
            await f
    slow[0].cancel()


program(__name__)
