"""wait_for and the timeout context."""

import asyncio
import concurrent.futures

from _harness import case, program, raises, timed, timed_case


async def ret(x, d=0.0):
    await asyncio.sleep(d)
    return x


@timed_case(
    "wait_for.timeout",
    (
        "past the timeout: asyncio.TimeoutError, after about the timeout, and the inner "
        "coroutine does not go on"
    ),
)
def _():
    async def main():
        log = []

        async def long_task():
            await asyncio.sleep(0.5)
            log.append("finished")

        try:
            await asyncio.wait_for(long_task(), timeout=0.2)
        except TimeoutError:
            log.append("timed out")
        assert log == ["timed out"]

    timed(main, 0.19, 0.32)


@timed_case(
    "wait_for.in_time",
    (
        "in time it gives the result; positional timeout as in wait_for(task, 5); None waits "
        "for ever"
    ),
)
async def _():
    assert await asyncio.wait_for(ret(1, 0.005), 5) == 1
    assert await asyncio.wait_for(asyncio.create_task(ret(2)), timeout=5) == 2
    assert await asyncio.wait_for(ret(3), None) == 3
    with raises(ZeroDivisionError):

        async def bad():
            return 1 / 0

        await asyncio.wait_for(bad(), 5)


@case("wait_for.error_type", "asyncio.TimeoutError is the built-in TimeoutError")
async def _():
    assert asyncio.TimeoutError is TimeoutError is concurrent.futures.TimeoutError
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.sleep(9), 0.005)


@case(
    "wait_for.waits_for_cleanup",
    "wait_for comes back only after the cancelled inner task ran its cleanup",
)
async def _():
    log = []

    async def f():
        try:
            await asyncio.sleep(9)
        finally:
            await asyncio.sleep(0.02)
            log.append("clean")

    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(f(), 0.01)
    assert log == ["clean"]


@case("wait_for.zero", "timeout 0 or less: TimeoutError unless the future is done already")
async def _():
    f = asyncio.get_running_loop().create_future()
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(f, 0)
    assert f.cancelled()
    g = asyncio.get_running_loop().create_future()
    g.set_result(1)
    assert await asyncio.wait_for(g, 0) == 1
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(ret(1, 1), -1)


@case(
    "wait_for.outer_cancel",
    "cancelling the waiter cancels the inner task: CancelledError, not TimeoutError",
)
async def _():
    inner = asyncio.create_task(ret(1, 9))
    t = asyncio.create_task(asyncio.wait_for(inner, 5))
    await asyncio.sleep(0.005)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert inner.cancelled()


@case(
    "wait_for.race",
    (
        "many timeouts close to the moment of completion: each call ends with the value or "
        "TimeoutError, none hangs"
    ),
)
async def _():
    async def one(i):
        try:
            return await asyncio.wait_for(ret(i, 0.01), 0.01 + (i % 7 - 3) * 0.0005)
        except TimeoutError:
            return "t"

    rs = await asyncio.wait_for(asyncio.gather(*[one(i) for i in range(500)]), 20)
    assert all(r == i or r == "t" for i, r in enumerate(rs))


@case(
    "timeout.context",
    (
        "asyncio.timeout(d): TimeoutError at the end of the block; expired(); reschedule; None;"
        " nested"
    ),
)
async def _():
    with raises(TimeoutError):
        async with asyncio.timeout(0.01) as cm:
            await asyncio.sleep(9)
    assert cm.expired()
    async with asyncio.timeout(None) as cm:
        cm.reschedule(asyncio.get_running_loop().time() + 5)
        await asyncio.sleep(0)
    assert not cm.expired()
    async with asyncio.timeout(5):
        with raises(TimeoutError):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + 0.01):
                await asyncio.sleep(9)
    assert asyncio.current_task().cancelling() == 0


@timed_case(
    "wait_for.many",
    "5000 concurrent wait_for with far timeouts leave no timer behind that slows the loop's end",
)
def _():
    async def main():
        assert (
            len(await asyncio.gather(*[asyncio.wait_for(ret(i), 600) for i in range(5000)])) == 5000
        )

    timed(main, 0, 5)


program(__name__)
