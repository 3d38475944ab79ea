"""What async def and await mean, before any loop feature is used."""

import asyncio
import inspect
import types

from _harness import case, collect, program, raises, run, timed, timed_case, warned


@case(
    "coro.call_does_not_run",
    (
        "calling an async def function runs nothing and gives a coroutine object `<coroutine "
        "object f at 0x..>`"
    ),
)
def _():
    ran = []

    async def a_func():
        ran.append(1)

    c = a_func()
    assert not ran and inspect.iscoroutine(c) and asyncio.iscoroutine(c)
    assert inspect.iscoroutinefunction(a_func) and asyncio.iscoroutinefunction(a_func)
    assert repr(c).startswith("<coroutine object ") and "a_func at 0x" in repr(c)
    run(c)
    assert ran == [1]


@case("coro.await_value", "await gives the coroutine's return value; awaiting twice runs twice")
async def _():
    n = 0

    async def fetch():
        nonlocal n
        n += 1
        await asyncio.sleep(0.001)
        return {"data": n}

    assert await fetch() == {"data": 1}
    assert await fetch() == {"data": 2}


@case("coro.await_exception", "an exception of the awaited coroutine comes out of await")
async def _():
    async def bad():
        await asyncio.sleep(0)
        raise KeyError("k")

    with raises(KeyError, "k"):
        await bad()


@case(
    "coro.await_only_awaitables",
    (
        "await of an int or of a list of tasks is a TypeError; coroutine, Future, Task and "
        "__await__ objects are awaitable"
    ),
)
async def _():
    async def one():
        return 1

    class Own:
        def __await__(self):
            return (yield from asyncio.sleep(0, "own").__await__())

    with raises(TypeError, "int"):
        await 5
    ts = [asyncio.create_task(one())]
    with raises(TypeError, "list"):
        await ts
    f = asyncio.get_running_loop().create_future()
    f.set_result(3)
    assert [await one(), await ts[0], await f, await Own()] == [1, 1, 3, "own"]
    assert (await asyncio.wait(ts))[0] == set(ts)


@case(
    "coro.task_yields_garbage",
    "a coroutine that yields something other than a future fails its task: 'Task got bad yield'",
)
async def _():
    @types.coroutine
    def odd():
        yield 12

    async def user():
        await odd()

    with raises(RuntimeError, "Task got bad yield: 12"):
        await asyncio.create_task(user())


@case("coro.bare_yield", "a bare `yield` of an awaitable gives control to the loop for one round")
async def _():
    @types.coroutine
    def step():
        yield

    seen = []

    async def who(name):
        for i in range(3):
            seen.append(name + str(i))
            await step()

    await asyncio.gather(who("a"), who("b"))
    assert seen == ["a0", "b0", "a1", "b1", "a2", "b2"]


@case(
    "coro.reuse",
    "awaiting a finished coroutine again: RuntimeError 'cannot reuse already awaited coroutine'",
)
async def _():
    async def f():
        pass

    c = f()
    await c
    with raises(RuntimeError, "cannot reuse already awaited coroutine"):
        await c
    c2 = f()
    await asyncio.create_task(c2)
    with raises(RuntimeError, "cannot reuse already awaited coroutine"):
        await asyncio.create_task(c2)


@case("coro.await_outside", "await outside async def is a SyntaxError")
def _():
    with raises(SyntaxError):
        compile("def f():\n    await g()\n", "x", "exec")
    compile("async def f():\n    await g()\n", "x", "exec")


@case(
    "coro.never_awaited",
    (
        "a forgotten await gives RuntimeWarning \"coroutine 'f' was never awaited\" and the name "
        "is a coroutine, not the result"
    ),
)
def _():
    async def forgotten_one():
        return 1

    async def main():
        x = forgotten_one()
        assert x != 1 and inspect.iscoroutine(x)
        del x

    with warned() as w:
        run(main())
        collect()
    assert [t for c, t in w if c == "RuntimeWarning" and "forgotten_one' was never awaited" in t], w


@case("coro.no_cancel", "a coroutine object has no cancel(), a task has; close() stops a coroutine")
async def _():
    async def f():
        await asyncio.sleep(9)

    c = f()
    assert not hasattr(c, "cancel")
    c.close()
    t = asyncio.create_task(f())
    assert t.cancel()
    with raises(asyncio.CancelledError):
        await t


@case(
    "sleep.value",
    (
        "sleep(d) gives None, sleep(d, result) gives result; sleep(0) yields one round; a "
        "negative delay counts as 0"
    ),
)
async def _():
    assert await asyncio.sleep(0.001) is None
    assert await asyncio.sleep(0.001, "r") == "r" and await asyncio.sleep(0, result=5) == 5
    assert await asyncio.sleep(-1, "neg") == "neg"
    order = []
    asyncio.get_running_loop().call_soon(order.append, 1)
    await asyncio.sleep(0)
    assert order == [1]


@timed_case("await.sequential_sum", "two awaits one after the other take the sum of the two times")
def _():
    async def main():
        await asyncio.sleep(0.1)
        await asyncio.sleep(0.15)

    timed(main, 0.24, 0.40)


@case(
    "await.resumes",
    (
        "the awaiting coroutine stops at await, other tasks run, and it goes on after the "
        "result is there"
    ),
)
async def _():
    log = []

    async def fetch():
        log.append("fetch start")
        await asyncio.sleep(0.03)
        log.append("fetch end")
        return 1

    async def other():
        await asyncio.sleep(0.01)
        log.append("other ran")

    t = asyncio.create_task(other())
    log.append("main start")
    await fetch()
    log.append("main resumed")
    await t
    assert log == ["main start", "fetch start", "other ran", "fetch end", "main resumed"], log


@case(
    "await.no_switch_without_suspension",
    "await of a coroutine that never suspends does not give control to the loop",
)
async def _():
    ran = []
    asyncio.get_running_loop().call_soon(ran.append, 1)

    async def quick():
        return 1

    for _ in range(100):
        await quick()
    assert not ran
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    await done
    assert not ran
    await asyncio.sleep(0)
    assert ran == [1]


@case(
    "await.deep_chain",
    "200 nested awaits give their value up and cancel down through the whole chain",
)
async def _():
    cleaned = 0

    async def level(n):
        nonlocal cleaned
        try:
            return await (level(n - 1) if n else asyncio.sleep(0.01, "bottom"))
        finally:
            cleaned += 1

    assert await asyncio.create_task(level(200)) == "bottom" and cleaned == 201
    t = asyncio.create_task(level(200))
    await asyncio.sleep(0)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert cleaned == 402


program(__name__)
