"""Forms that Python has dropped or is dropping, and what stands in their place."""

import asyncio
import types

from _harness import case, new_loop, program, raises, run


@case(
    "old.coroutine_decorator",
    "@asyncio.coroutine is gone: the name is an AttributeError",
)
def _():
    assert not hasattr(asyncio, "coroutine")


@case(
    "old.types_coroutine",
    (
        "the modern form of a generator coroutine, types.coroutine with yield from, runs as "
        "awaitable and inside tasks"
    ),
)
async def _():
    @types.coroutine
    def gen_coro(x):
        yield from asyncio.sleep(0.001).__await__()
        return x

    async def use():
        return await gen_coro(5)

    assert await gen_coro(3) == 3 and await asyncio.create_task(use()) == 5


@case(
    "old.loop_parameter",
    (
        "loop= of sleep, gather, wait, wait_for, Lock, Event, Queue, Semaphore is gone "
        "(TypeError); Future, Task and ensure_future keep it"
    ),
)
async def _():
    loop = asyncio.get_running_loop()
    for cls in (asyncio.Lock, asyncio.Event, asyncio.Queue, asyncio.Semaphore, asyncio.Condition):
        with raises(TypeError):
            cls(loop=loop)
    with raises(TypeError):
        await asyncio.sleep(0, loop=loop)
    f = asyncio.Future(loop=loop)
    t = asyncio.ensure_future(asyncio.sleep(0, 1), loop=loop)
    f.set_result(2)
    assert (await t, await f) == (1, 2)


@case(
    "old.task_class_methods",
    (
        "Task.current_task and Task.all_tasks are gone; asyncio.current_task and all_tasks "
        "stand for them; asyncio.async is a syntax error"
    ),
)
async def _():
    assert not hasattr(asyncio.Task, "current_task") and not hasattr(asyncio.Task, "all_tasks")
    assert asyncio.current_task() in asyncio.all_tasks()
    with raises(SyntaxError):
        compile("asyncio.async(f())", "x", "exec")


@case(
    "old.loop_style_program",
    (
        "a whole program in the style before 3.7: new_event_loop, set_event_loop, "
        "ensure_future, run_until_complete(wait(...)), run_forever, stop, close"
    ),
)
def _():
    log = []

    async def job(n):
        await asyncio.sleep(0.005)
        log.append(n)

    with new_loop() as loop:
        ts = [asyncio.ensure_future(job(i), loop=loop) for i in range(3)]
        done, pending = loop.run_until_complete(asyncio.wait(ts))
        assert len(done) == 3 and not pending
        loop.create_task(job("late")).add_done_callback(lambda t: loop.stop())
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert log == [0, 1, 2, "late"]


@case(
    "old.child_of_a_thread",
    "children are awaited on the loop also when it is not the main thread's",
)
def _():
    import threading

    out = []

    async def main():
        p = await asyncio.create_subprocess_exec("true")
        out.append(await p.wait())

    t = threading.Thread(target=lambda: run(main()))
    t.start()
    t.join(20)
    assert out == [0]


program(__name__)
