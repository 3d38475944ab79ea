"""Future: the object under every await."""

import asyncio
import concurrent.futures
import threading

from _harness import case, collect, program, raises, timed_case


def fut():
    return asyncio.get_running_loop().create_future()


@case("future.set_result", "await of a future returns what another task gives to set_result")
async def _():
    async def done(f):
        await asyncio.sleep(0.01)
        f.set_result("10089")

    f = fut()
    await done(f)
    assert await f == "10089"
    g = fut()
    t = asyncio.create_task(done(g))
    assert await g == "10089" and g.done() and not g.cancelled() and g.exception() is None
    await t


@timed_case(
    "future.waits_for_ever",
    "a future nobody sets keeps its waiter for ever; the loop goes on with the rest",
)
async def _():
    f, ticks = fut(), 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    t = asyncio.create_task(tick())
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(f, 0.1)
    assert f.cancelled() and ticks > 3
    t.cancel()


@case(
    "future.invalid_state",
    ("InvalidStateError: result or exception before the end, set_result or set_exception after it"),
)
async def _():
    f = fut()
    for call in (f.result, f.exception):
        with raises(asyncio.InvalidStateError):
            call()
    f.set_result(1)
    for call in (lambda: f.set_result(2), lambda: f.set_exception(OSError())):
        with raises(asyncio.InvalidStateError):
            call()
    assert f.result() == 1 and f.cancel() is False


def refusal_of_stop_iteration():
    """What asyncio's own Future in Python does here: 3.12 changed between its patch versions."""
    future = asyncio.futures._PyFuture(loop=asyncio.get_running_loop())
    try:
        future.set_exception(StopIteration())
    except TypeError as error:
        return type(error)
    return type(future.exception())


@case(
    "future.set_exception",
    (
        "set_exception takes an exception or a class, raises in the waiter; StopIteration is "
        "refused (TypeError) or turned into RuntimeError (newer versions)"
    ),
)
async def _():
    f, g = fut(), fut()
    f.set_exception(ValueError("v"))
    g.set_exception(KeyError)
    with raises(ValueError, "v"):
        await f
    with raises(KeyError):
        await g
    h = fut()
    with raises(refusal_of_stop_iteration(), "StopIteration"):
        h.set_exception(StopIteration())
        await h
    h.cancel()


@case("future.cancel", "cancel(): True once, the waiter gets CancelledError, msg= arrives")
async def _():
    f = fut()

    async def wait():
        await f

    t = asyncio.create_task(wait())
    await asyncio.sleep(0)
    assert f.cancel("why") and f.cancelled() and not f.cancel()
    with raises(asyncio.CancelledError):
        await t
    with raises(asyncio.CancelledError):
        f.result()


@case(
    "future.many_waiters",
    "1000 tasks waiting for one future all wake, in the order in which they began to wait",
)
async def _():
    f, got = fut(), []

    async def w(i):
        got.append((i, await f))

    ts = [asyncio.create_task(w(i)) for i in range(1000)]
    await asyncio.sleep(0)
    f.set_result("x")
    assert got == []
    await asyncio.gather(*ts)
    assert got == [(i, "x") for i in range(1000)]


@case(
    "future.callbacks",
    (
        "done callbacks run through call_soon in order, with the future; duplicates run twice; "
        "remove returns the count"
    ),
)
async def _():
    f, log = fut(), []
    f.add_done_callback(lambda x: log.append(x is f))

    def cb(x):
        log.append("cb")

    f.add_done_callback(cb)
    f.add_done_callback(cb)
    f.set_result(1)
    assert log == []
    await asyncio.sleep(0)
    assert log == [True, "cb", "cb"] and f.remove_done_callback(cb) == 0


@case("future.repr", "repr tells pending, finished with the result, cancelled")
async def _():
    f = fut()
    assert "pending" in repr(f)
    f.set_result(12)
    assert "finished" in repr(f) and "result=12" in repr(f)
    g = fut()
    g.cancel()
    assert "cancelled" in repr(g)


@case("future.kind", "create_future gives an asyncio.Future (isinstance, isfuture, get_loop)")
async def _():
    f = fut()
    assert (
        isinstance(f, asyncio.Future)
        and asyncio.isfuture(f)
        and f.get_loop() is asyncio.get_running_loop()
    )
    assert not isinstance(f, asyncio.Task)
    f.cancel()


@case(
    "future.subclass",
    (
        "a Python class derived from asyncio.Future works: its set_result is called and it can "
        "be awaited"
    ),
)
async def _():
    class Mine(asyncio.Future):
        def set_result(self, v):
            super().set_result(v * 2)

    f = Mine()
    asyncio.get_running_loop().call_soon(f.set_result, 4)
    assert await f == 8


@case(
    "future.wrap",
    "wrap_future joins a concurrent.futures.Future to the loop; cancelling goes both ways",
)
async def _():
    c = concurrent.futures.Future()
    f = asyncio.wrap_future(c)
    threading.Timer(0.01, c.set_result, ["thr"]).start()
    assert await asyncio.wait_for(f, 5) == "thr"
    c2 = concurrent.futures.Future()
    f2 = asyncio.wrap_future(c2)
    f2.cancel()
    await asyncio.sleep(0.01)
    assert c2.cancelled()


@case(
    "future.never_retrieved",
    (
        "an exception nobody asked for: 'Future exception was never retrieved' through the "
        "exception handler"
    ),
)
async def _():
    seen = []
    asyncio.get_running_loop().set_exception_handler(lambda lp, c: seen.append(c))
    f = fut()
    f.set_exception(ValueError("lost"))
    del f
    collect()
    await asyncio.sleep(0)
    assert [
        c
        for c in seen
        if c["message"] == "Future exception was never retrieved"
        and isinstance(c["exception"], ValueError)
    ], seen


program(__name__)
