"""Task: made by create_task, runs beside its maker, can be named, looked up, asked and awaited."""

import asyncio
import contextvars
import weakref

from _harness import (
    case,
    new_loop,
    program,
    raises,
    run,
    timed,
    timed_case,
)


async def ret(x, d=0.0):
    await asyncio.sleep(d)
    return x


@case(
    "task.create",
    (
        "create_task returns a Task at once, the coroutine runs when the maker awaits, await "
        "gives its result"
    ),
)
async def _():
    t = asyncio.create_task(ret("r"))
    assert not t.done() and await t == "r" and t.done() and t.result() == "r"


@case(
    "task.starts_next_round",
    "a new task does not run before its maker yields; then in the order of creation",
)
async def _():
    log = []

    async def f(k):
        log.append(k)

    ts = [asyncio.create_task(f(i)) for i in range(50)]
    assert log == []
    await asyncio.sleep(0)
    assert log == list(range(50)) and all(t.done() for t in ts)


@case(
    "task.is_future",
    "a Task is an asyncio.Task and an asyncio.Future; isfuture; Task derives from Future",
)
async def _():
    t = asyncio.create_task(ret(1))
    assert isinstance(t, asyncio.Task) and isinstance(t, asyncio.Future) and asyncio.isfuture(t)
    assert issubclass(asyncio.Task, asyncio.Future)
    assert t.get_loop() is asyncio.get_running_loop()
    await t


@case(
    "task.name",
    "name= names the task; get_name, set_name; unnamed ones are Task-N; the name is in repr",
)
async def _():
    t = asyncio.create_task(ret(1), name="fetch-url")
    assert t.get_name() == "fetch-url" and "name='fetch-url'" in repr(t)
    t.set_name(42)
    assert t.get_name() == "42"
    u = asyncio.create_task(ret(1))
    assert u.get_name().startswith("Task-") and u.get_name() != asyncio.current_task().get_name()
    await asyncio.gather(t, u)


@case(
    "task.repr",
    "repr tells pending / finished / cancelled, the coroutine and the result or exception",
)
async def _():
    async def worker_coro():
        await asyncio.sleep(0.001)
        return "value!"

    t = asyncio.create_task(worker_coro())
    assert "pending" in repr(t) and "worker_coro" in repr(t)
    await t
    assert "finished" in repr(t) and "value!" in repr(t)
    t = asyncio.create_task(worker_coro())
    t.cancel()
    await asyncio.wait([t])
    assert "cancelled" in repr(t)


@case(
    "task.done_result",
    (
        "done(), result(), exception(): InvalidStateError while running; result() re-raises; "
        "CancelledError when cancelled"
    ),
)
async def _():
    async def bad():
        raise OSError("disk")

    t, b, c = (asyncio.create_task(x) for x in (ret(1, 0.001), bad(), ret(1, 9)))
    for call in (t.result, t.exception):
        with raises(asyncio.InvalidStateError):
            call()
    assert not t.done() and not t.cancelled()
    c.cancel()
    await asyncio.wait([t, b, c])
    assert t.done() and t.result() == 1 and t.exception() is None
    assert isinstance(b.exception(), OSError)
    with raises(OSError, "disk"):
        b.result()
    for call in (c.result, c.exception):
        with raises(asyncio.CancelledError):
            call()
    assert c.cancelled() and not t.cancelled()


@case("task.no_set_result", "a task's result cannot be set from outside: RuntimeError")
async def _():
    t = asyncio.create_task(ret(1))
    with raises(RuntimeError, "Task does not support set_result"):
        t.set_result(1)
    with raises(RuntimeError, "Task does not support set_exception"):
        t.set_exception(OSError())
    await t


@timed_case(
    "task.await_finished",
    "a task that ended while main slept gives its result at once; again and again",
)
async def _():
    loop = asyncio.get_running_loop()
    a, b = asyncio.create_task(ret("a", 0.02)), asyncio.create_task(ret("b", 0.03))
    await asyncio.sleep(0.06)
    assert a.done() and b.done()
    hits = []
    loop.call_soon(hits.append, 1)
    assert [await a, await b, await a] == ["a", "b", "a"] and not hits
    await asyncio.sleep(0)


@timed_case(
    "task.concurrent_max", "two tasks awaited one after the other take the longer of their times"
)
def _():
    async def main():
        a, b = asyncio.create_task(ret(1, 0.2)), asyncio.create_task(ret(2, 0.15))
        assert [await a, await b] == [1, 2]

    timed(main, 0.19, 0.32)


@timed_case(
    "task.background",
    "a task goes on while its maker does something else; then its result is there",
)
def _():
    async def main():
        t = asyncio.create_task(ret("done", 0.2))
        await asyncio.sleep(0.1)
        assert not t.done()
        assert await t == "done"

    timed(main, 0.19, 0.32)


@timed_case(
    "task.download_then_process",
    (
        "two awaited downloads in a row, then two processing tasks side by side: sum of the "
        "first two plus the longer of the others"
    ),
)
def _():
    async def main():
        log = []

        async def step(name, d):
            log.append(name + "+")
            await asyncio.sleep(d)
            log.append(name + "-")
            return name

        d1, d2 = await step("d1", 0.08), await step("d2", 0.06)
        t1, t2 = (
            asyncio.create_task(step("p" + d1, 0.14)),
            asyncio.create_task(step("p" + d2, 0.10)),
        )
        await t1, await t2
        assert log == ["d1+", "d1-", "d2+", "d2-", "pd1+", "pd2+", "pd2-", "pd1-"], log

    timed(main, 0.27, 0.42)


@case("task.current", "current_task() is the running task; None in a callback; per loop")
async def _():
    loop, got = asyncio.get_running_loop(), []

    async def who():
        await asyncio.sleep(0)
        return asyncio.current_task()

    t = asyncio.create_task(who())
    assert await t is t and asyncio.current_task() is not t
    loop.call_soon(lambda: got.append(asyncio.current_task()))
    await asyncio.sleep(0)
    assert got == [None]


@case("task.all", "all_tasks() is the set of unfinished tasks of the loop")
async def _():
    ts = {asyncio.create_task(ret(i, 0.05)) for i in range(20)}
    me = asyncio.current_task()
    assert asyncio.all_tasks() == ts | {me} | (asyncio.all_tasks() - ts)
    assert ts <= asyncio.all_tasks() and me in asyncio.all_tasks()
    await asyncio.wait(ts)
    assert not ts & asyncio.all_tasks() and me in asyncio.all_tasks()


@case(
    "task.ensure_future",
    (
        "ensure_future wraps a coroutine in a task, gives a future back as it is, wraps any "
        "awaitable"
    ),
)
async def _():
    class Own:
        def __await__(self):
            return (yield from asyncio.sleep(0, "own").__await__())

    t = asyncio.ensure_future(ret(1))
    assert isinstance(t, asyncio.Task) and asyncio.ensure_future(t) is t
    assert [await t, await asyncio.ensure_future(Own())] == [1, "own"]
    with raises(TypeError):
        asyncio.ensure_future(5)


@case("task.loop_create_task", "loop.create_task(coro, name=) does the same as create_task")
async def _():
    t = asyncio.get_running_loop().create_task(ret(3), name="low")
    assert t.get_name() == "low" and await t == 3


@case("task.manual", "asyncio.Task(coro, loop=) made by hand works on the loop")
async def _():
    t = asyncio.Task(ret(4), loop=asyncio.get_running_loop())
    assert t in asyncio.all_tasks() and await t == 4


@case("task.not_a_coroutine", "create_task of something else: TypeError 'a coroutine was expected'")
async def _():
    for bad in (5, ret, asyncio.get_running_loop().create_future()):
        with raises(TypeError, "a coroutine was expected"):
            asyncio.create_task(bad)


@case(
    "task.callbacks",
    (
        "add_done_callback runs after the end with the task, in order; remove_done_callback; "
        "added late it still runs, not inside the call"
    ),
)
async def _():
    log = []
    t = asyncio.create_task(ret(1))
    t.add_done_callback(lambda x: log.append(("a", x)))

    def drop(x):
        log.append("dropped")

    t.add_done_callback(drop)
    t.add_done_callback(drop)
    t.add_done_callback(lambda x: log.append(("b", x)))
    assert t.remove_done_callback(drop) == 2
    await t
    await asyncio.sleep(0)
    assert log == [("a", t), ("b", t)]
    t.add_done_callback(lambda x: log.append("late"))
    assert "late" not in log
    await asyncio.sleep(0)
    assert log[-1] == "late"


@case("task.await_self", "a task awaiting itself: RuntimeError 'Task cannot await on itself'")
async def _():
    async def me():
        await asyncio.current_task()

    with raises(RuntimeError, "Task cannot await on itself"):
        await asyncio.create_task(me())


@case(
    "task.other_loop",
    "awaiting a future of another loop: RuntimeError 'attached to a different loop'",
)
def _():
    with new_loop(False) as other:
        f = other.create_future()

        async def main():
            with raises(RuntimeError, "attached to a different loop"):
                await f

        run(main())


@case(
    "task.context",
    (
        "a task runs in a copy of its maker's context: variables set inside do not leak out; "
        "context= is used as it is"
    ),
)
async def _():
    var = contextvars.ContextVar("v", default=0)
    var.set(1)

    async def f():
        got = var.get()
        var.set(2)
        await asyncio.sleep(0)
        return got, var.get()

    assert await asyncio.create_task(f()) == (1, 2) and var.get() == 1
    assert await f() == (1, 2) and var.get() == 2
    ctx = contextvars.copy_context()
    ctx.run(var.set, 7)
    assert await asyncio.create_task(f(), context=ctx) == (7, 2)


@case("task.introspection", "get_coro, get_stack, print_stack show where the task waits")
async def _():
    import io

    c = ret(1, 0.01)
    t = asyncio.create_task(c)
    assert t.get_coro() is c
    await asyncio.sleep(0)
    assert t.get_stack()[0].f_code is c.cr_code
    out = io.StringIO()
    t.print_stack(file=out)
    assert "ret" in out.getvalue()
    await t


@case(
    "task.weakref",
    (
        "tasks and futures can be weakly referenced; a finished task is freed without the cycle"
        " collector"
    ),
)
async def _():
    import gc

    gc.collect()
    gc.disable()
    try:
        t = asyncio.create_task(ret(1))
        await t
        w = weakref.ref(t)
        del t
        await asyncio.sleep(0)
        assert w() is None
    finally:
        gc.enable()


@case("task.factory", "set_task_factory is used by create_task; None brings the own tasks back")
async def _():
    loop, made = asyncio.get_running_loop(), []

    def factory(loop, coro, **kw):
        made.append(coro)
        return asyncio.Task(coro, loop=loop, **kw)

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    assert await asyncio.create_task(ret(1)) == 1 and len(made) == 1
    loop.set_task_factory(None)
    assert (
        await asyncio.create_task(ret(2)) == 2
        and len(made) == 1
        and loop.get_task_factory() is None
    )


@case("task.eager", "with eager_task_factory a task starts inside create_task", since=(3, 12))
async def _():
    loop, log = asyncio.get_running_loop(), []

    async def quick():
        log.append(asyncio.current_task())
        return 1

    async def slow():
        log.append("slow")
        await asyncio.sleep(0.001)
        return 2

    loop.set_task_factory(asyncio.eager_task_factory)
    me = asyncio.current_task()
    t = asyncio.create_task(quick())
    assert t.done() and t.result() == 1 and log == [t] and asyncio.current_task() is me
    u = asyncio.create_task(slow())
    assert log[-1] == "slow" and not u.done() and await u == 2
    loop.set_task_factory(None)


@case("task.many", "30000 tasks at once all run and give their results in order")
async def _():
    n = 30_000
    ts = [asyncio.create_task(ret(i)) for i in range(n)]
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) > n
    assert sum([await t for t in ts]) == n * (n - 1) // 2


program(__name__)
