"""Cancellation."""

import asyncio

from _harness import case, program, raises


@case(
    "cancel.swallowed",
    (
        "a coroutine that catches CancelledError and returns: `await task` gives None and does "
        "not raise"
    ),
)
async def _():
    log = []

    async def my_coroutine():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            log.append("coroutine cancelled")
        else:
            return "done"

    t = asyncio.create_task(my_coroutine())
    await asyncio.sleep(0.02)
    assert t.cancel() is True
    try:
        r = await t
        log.append(r)
    except asyncio.CancelledError:
        log.append("main: cancelled")
    assert log == ["coroutine cancelled", None] and t.done() and not t.cancelled()


@case(
    "cancel.propagates",
    "without a handler, or with a re-raise, await raises CancelledError and cancelled() is True",
)
async def _():
    log = []

    async def f():
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            log.append("seen")
            raise

    t = asyncio.create_task(f())
    await asyncio.sleep(0.005)
    t.cancel()
    assert not t.cancelled() and not t.done()
    with raises(asyncio.CancelledError):
        await t
    assert t.cancelled() and log == ["seen"]


@case(
    "cancel.base_exception", "CancelledError is no Exception: `except Exception` does not catch it"
)
async def _():
    assert not issubclass(asyncio.CancelledError, Exception)

    async def f():
        try:
            await asyncio.sleep(9)
        except Exception:
            return "swallowed"

    t = asyncio.create_task(f())
    await asyncio.sleep(0)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t


@case("cancel.before_start", "a task cancelled before its first step never runs")
async def _():
    ran = []

    async def f():
        ran.append(1)

    t = asyncio.create_task(f())
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert not ran


@case("cancel.done_task", "cancel of a finished task: False and no effect")
async def _():
    t = asyncio.create_task(asyncio.sleep(0, 1))
    await t
    assert t.cancel() is False and t.result() == 1 and not t.cancelled()


@case(
    "cancel.cleanup",
    "cleanup in finally and async with may await; it is finished before await task comes back",
)
async def _():
    log = []

    class Res:
        async def __aenter__(self):
            return self

        async def __aexit__(self, *a):
            await asyncio.sleep(0.01)
            log.append(("exit", a[0]))

    async def f():
        try:
            async with Res():
                await asyncio.sleep(9)
        finally:
            await asyncio.sleep(0.01)
            log.append("finally")

    t = asyncio.create_task(f())
    await asyncio.sleep(0.005)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert log == [("exit", asyncio.CancelledError), "finally"]


@case("cancel.inner_future", "cancelling a task cancels the future or task on which it waits")
async def _():
    f = asyncio.get_running_loop().create_future()
    inner = asyncio.create_task(asyncio.sleep(9))

    async def on(x):
        await x

    a, b = asyncio.create_task(on(f)), asyncio.create_task(on(inner))
    await asyncio.sleep(0.005)
    a.cancel(), b.cancel()
    await asyncio.wait([a, b])
    assert f.cancelled() and inner.cancelled() and a.cancelled() and b.cancelled()


@case("cancel.message", "cancel(msg=) arrives in the CancelledError that the coroutine sees")
async def _():
    got = []

    async def f():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError as e:
            got.append(e.args)
            raise

    t = asyncio.create_task(f())
    await asyncio.sleep(0)
    t.cancel(msg="stop please")
    await asyncio.wait([t])
    assert got == [("stop please",)]


@case("cancel.twice", "a second cancel interrupts the cleanup of the first")
async def _():
    log = []

    async def f():
        try:
            await asyncio.sleep(9)
        finally:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                log.append("second")
                raise

    t = asyncio.create_task(f())
    await asyncio.sleep(0)
    t.cancel()
    await asyncio.sleep(0)
    t.cancel()
    await asyncio.wait([t])
    assert log == ["second"] and t.cancelled()


@case("cancel.other_exception", "an exception raised during the cleanup replaces CancelledError")
async def _():
    async def f():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            raise ValueError("on the way out") from None

    t = asyncio.create_task(f())
    await asyncio.sleep(0)
    t.cancel()
    with raises(ValueError, "on the way out"):
        await t
    assert not t.cancelled()


@case("cancel.counts", "cancelling() and uncancel()")
async def _():
    async def f():
        me = asyncio.current_task()
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            assert me.cancelling() == 1 and me.uncancel() == 0
        await asyncio.sleep(0.001)
        return "went on"

    t = asyncio.create_task(f())
    await asyncio.sleep(0)
    t.cancel()
    assert await t == "went on" and t.cancelling() == 0


@case(
    "cancel.task_group",
    (
        "TaskGroup: one failure cancels the rest, all are awaited, ExceptionGroup comes out; "
        "without failure all results are there"
    ),
)
async def _():
    log = []

    async def slow():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            log.append("c")
            raise

    async def bad():
        await asyncio.sleep(0.005)
        raise OSError("x")

    try:
        async with asyncio.TaskGroup() as g:
            g.create_task(slow()), g.create_task(slow()), g.create_task(bad())
    except BaseException as e:
        assert type(e).__name__ == "ExceptionGroup" and [type(x) for x in e.exceptions] == [OSError]
    assert log == ["c", "c"]
    async with asyncio.TaskGroup() as g:
        ts = [g.create_task(asyncio.sleep(0.001, i)) for i in range(10)]
    assert [t.result() for t in ts] == list(range(10))


@case("cancel.self", "a task may cancel itself through current_task()")
async def _():
    async def f():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
        return "not reached"

    with raises(asyncio.CancelledError):
        await asyncio.create_task(f())


@case("cancel.thousand", "10000 sleeping tasks cancelled at once all end as cancelled")
async def _():
    ts = [asyncio.create_task(asyncio.sleep(60)) for _ in range(10000)]
    await asyncio.sleep(0.01)
    for t in ts:
        t.cancel()
    await asyncio.wait(ts)
    assert all(t.cancelled() for t in ts)


program(__name__)
