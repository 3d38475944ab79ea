"""TaskGroup: tasks, failures, cancellation and what it shows, all as asyncio's."""

import asyncio
import contextvars
import gc
import sys
import weakref

import pytest

VARIABLE = contextvars.ContextVar("variable", default="none")


async def value(n, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    return n


async def fail(error, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    raise error


def told(error):
    """Return an exception with its parts and what stands behind it."""
    parts = []
    if isinstance(error, BaseExceptionGroup):
        parts = sorted(map(repr, error.exceptions))
    return repr(error).split("[")[0], parts, repr(error.__cause__), repr(error.__context__)


async def outcome(awaitable):
    """Return what awaiting comes to."""
    try:
        return await awaitable
    except BaseException as error:
        return told(error)


async def plain(api):
    async with api.TaskGroup() as group:
        seen = [repr(group)]
        tasks = [group.create_task(value(n, n), name=f"n{n}") for n in range(4)]
        seen += [repr(group), repr(tasks[0])]
    return seen, [task.result() for task in tasks], repr(group)


async def many(api):
    async with api.TaskGroup() as group:
        tasks = [group.create_task(value(n)) for n in range(2000)]
    return sum(task.result() for task in tasks)


async def empty(api):
    async with api.TaskGroup() as group:
        pass
    return repr(group), vars(group) if hasattr(group, "__dict__") and api is None else None


async def one_failure(api):
    async def body():
        async with api.TaskGroup() as group:
            tasks.append(group.create_task(fail(ValueError("v"), 1)))
            tasks.append(group.create_task(asyncio.sleep(3600)))
            await asyncio.sleep(3600)

    tasks = []
    found = await outcome(body())
    return found, [task.cancelled() for task in tasks], asyncio.current_task().cancelling()


async def failure_while_it_waits(api):
    async def body():
        async with api.TaskGroup() as group:
            group.create_task(fail(ValueError("v"), 2))
            group.create_task(fail(KeyError("k"), 2))
            group.create_task(asyncio.sleep(3600))

    found = await outcome(body())
    return found, asyncio.current_task().cancelling(), asyncio.current_task().uncancel()


async def failure_of_the_body(api):
    async def body(error):
        async with api.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            group.create_task(fail(KeyError("k")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise error

    return [await outcome(body(e)) for e in (ValueError("v"), ExceptionGroup("g", [OSError(1)]))]


async def base_errors(api):
    async def body(error):
        async with api.TaskGroup() as group:
            group.create_task(asyncio.sleep(3600))
            raise error

    return [await outcome(body(error)) for error in (SystemExit(1), GeneratorExit("g"))]


async def cancelled_parent(api):
    async def child():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def body():
        async with api.TaskGroup() as group:
            group.create_task(child())
            group.create_task(child())

    seen = []
    task = asyncio.ensure_future(body())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel("parent")
    return await outcome(task), seen, task.cancelling()


async def cancelled_parent_twice(api):
    async def stubborn(turns):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await value(1, turns)

    async def body():
        async with api.TaskGroup() as group:
            group.create_task(stubborn(5))
            group.create_task(stubborn(2))

    task = asyncio.ensure_future(body())
    for _ in range(3):
        await asyncio.sleep(0)
    seen = []
    for n in range(3):
        seen.append(task.cancel(n))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return await outcome(task), seen, task.cancelling()


async def cancelled_parent_and_failure(api):
    async def child():
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("v")

    async def body():
        async with api.TaskGroup() as group:
            group.create_task(child())
        return "never"

    task = asyncio.ensure_future(body())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel("parent")
    return await outcome(task), task.cancelling()


async def cancelled_child(api):
    async with api.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(3600))
        other = group.create_task(value(1, 4))
        await asyncio.sleep(0)
        task.cancel()
    return task.cancelled(), other.result()


async def tasks_made_late(api):
    async def child(group, depth):
        await asyncio.sleep(0)
        if depth:
            group.create_task(child(group, depth - 1))
        seen.append(depth)

    seen = []
    async with api.TaskGroup() as group:
        group.create_task(child(group, 5))
    return seen


async def refusals(api):
    seen = []
    group = api.TaskGroup()

    async def attempt(*args, **kwargs):
        try:
            seen.append(repr(group.create_task(*args, **kwargs)))
        except Exception as error:
            seen.append(repr(error))

    coros = [value(n) for n in range(9)]
    await attempt(coros[0])
    async with group:
        await attempt(None)
        await attempt()
        await attempt(coros[1], odd=1)
        await attempt(coros[2], name=None, context=None)
        await attempt(coros[3], context=contextvars.copy_context())
        await attempt(coros[4], name=5)
        await attempt(coro=coros[5])
    await attempt(coros[6])
    try:
        async with group:
            pass
    except RuntimeError as error:
        seen.append(repr(error))
    for coro in coros:
        coro.close()
    return seen


async def refusal_while_it_shuts_down(api):
    seen = []

    async def late(group):
        try:
            await asyncio.sleep(3600)
        finally:
            coro = value(1)
            try:
                group.create_task(coro)
            except RuntimeError as error:
                seen.append(repr(error))
            coro.close()

    async def body():
        async with api.TaskGroup() as group:
            group.create_task(late(group))
            await asyncio.sleep(0)
            raise ValueError("v")

    return await outcome(body()), seen


async def contexts(api):
    async def child(n):
        seen = VARIABLE.get()
        VARIABLE.set(n)
        return seen

    own = contextvars.copy_context()
    own.run(VARIABLE.set, "own")
    VARIABLE.set("outer")
    async with api.TaskGroup() as group:
        tasks = [group.create_task(child(1)), group.create_task(child(2), context=own)]
    return [task.result() for task in tasks], VARIABLE.get(), own[VARIABLE]


async def nested(api):
    async def inner(error):
        async with api.TaskGroup() as group:
            group.create_task(value(1, 3))
            group.create_task(fail(error, 1))

    async def outer():
        async with api.TaskGroup() as group:
            group.create_task(inner(ValueError("v")))
            group.create_task(inner(KeyError("k")))

    found = await outcome(outer())
    return found, asyncio.current_task().cancelling()


async def within_a_timeout(api):
    async def body():
        async with api.timeout(0.001) as timeout:
            timeouts.append(timeout)
            async with api.TaskGroup() as group:
                group.create_task(asyncio.sleep(3600))

    timeouts = []
    found = await outcome(body())
    return found, repr(timeouts), asyncio.current_task().cancelling()


async def eager(api):
    if sys.version_info < (3, 12):
        return None
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)

    async def body():
        async with api.TaskGroup() as group:
            tasks = [group.create_task(value(1)), group.create_task(value(2, 2))]
            tasks.append(group.create_task(fail(ValueError("v"))))
            await asyncio.sleep(3600)
        return tasks

    return await outcome(body()), asyncio.current_task().cancelling()


async def factory(api):
    made = []

    def make(loop, coro, **kwargs):
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **kwargs)

    asyncio.get_running_loop().set_task_factory(make)
    async with api.TaskGroup() as group:
        task = group.create_task(value(1))
    return task.result(), made


async def order(api):
    seen = []

    async def child(n):
        seen.append(n)
        asyncio.get_running_loop().call_soon(seen.append, f"soon {n}")

    async with api.TaskGroup() as group:
        for n in range(3):
            group.create_task(child(n)).add_done_callback(lambda t, n=n: seen.append(f"done {n}"))
    seen.append("left")
    await asyncio.sleep(0)
    return seen


async def removed_callback(api):
    async with api.TaskGroup() as group:
        task = group.create_task(value(1))
        return task.remove_done_callback(group._on_task_done), group._tasks.clear()


async def debug(api):
    asyncio.get_running_loop().set_debug(True)
    async with api.TaskGroup() as group:
        task = group.create_task(value(1, 1))
    return task.result()


PROGRAMS = [
    *(plain, many, empty, one_failure, failure_while_it_waits, failure_of_the_body, base_errors),
    *(cancelled_parent, cancelled_parent_twice, cancelled_parent_and_failure, cancelled_child),
    *(tasks_made_late, refusals, refusal_while_it_shuts_down, contexts, nested),
    *(within_a_timeout, eager, factory, order, removed_callback, debug),
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_group_is_asyncios(same_program, program):
    same_program(program)


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("fails", [False, True])
def test_a_task_with_a_group_can_be_cancelled_at_every_turn(same_program, turns, fails):
    async def program(api):
        seen = []

        async def body():
            try:
                async with api.TaskGroup() as group:
                    group.create_task(value(1, 2))
                    group.create_task(fail(ValueError("v"), 3) if fails else value(2, 3))
                    await asyncio.sleep(0)
            finally:
                seen.append(repr(group))

        task = asyncio.ensure_future(body())
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(task.cancel(turns))
        return await outcome(task), seen, task.cancelling(), task.cancelled()

    same_program(program)


def test_a_subclass_has_its_way(api, loop):
    class Mine(api.TaskGroup):
        def create_task(self, coro, **kwargs):
            seen.append("create_task")
            return super().create_task(coro, **kwargs)

        def _on_task_done(self, task):
            seen.append("done")
            super()._on_task_done(task)

    seen = []

    async def main():
        async with Mine() as group:
            group.create_task(value(1))

    loop.run_until_complete(main())
    assert seen == ["create_task", "done"]


def test_a_group_keeps_nothing_alive_and_makes_no_cycle(api, loop):
    class Thing:
        pass

    async def make():
        return Thing()

    async def main():
        async with api.TaskGroup() as group:
            task = group.create_task(make())
        return weakref.ref(group), weakref.ref(task), weakref.ref(task.result())

    gc.disable()
    try:
        assert [ref() for ref in loop.run_until_complete(main())] == [None] * 3
    finally:
        gc.enable()


def test_a_group_that_is_given_up_in_the_middle_is_collected(api, new_loop, collect):
    loop = new_loop()

    async def main():
        group = api.TaskGroup()
        await group.__aenter__()
        task = group.create_task(asyncio.sleep(0))
        coro = group.__aexit__(None, None, None)
        coro.send(None)
        coro.close()
        await task
        return weakref.ref(group)

    ref = loop.run_until_complete(main())
    collect()
    assert ref() is None


def lose_the_loop(group, loop):
    group._loop = object()


def delete_the_loop(group, loop):
    del group._loop


def delete_the_tasks(group, loop):
    del group._tasks


def list_the_tasks(group, loop):
    group._tasks = list(group._tasks)


def lose_the_parent(group, loop):
    group._parent_task = object()


def lose_the_errors(group, loop):
    group._errors = None


def wait_for_a_task(group, loop):
    group._on_completed_fut = loop.create_task(value("other", 8))


def wait_for_a_stranger(group, loop):
    group._on_completed_fut = object()


def cancel_the_future(group, loop):
    group._on_completed_fut.cancel("future")


def fail_the_future(group, loop):
    group._on_completed_fut.set_exception(ValueError("future"))


def reset_the_future(group, loop):
    group._on_completed_fut.__init__(loop=loop)


GROUP_MEDDLERS = [
    lose_the_loop,
    delete_the_loop,
    delete_the_tasks,
    list_the_tasks,
    lose_the_parent,
    lose_the_errors,
    wait_for_a_task,
    wait_for_a_stranger,
    cancel_the_future,
    fail_the_future,
    reset_the_future,
]


@pytest.mark.parametrize("error", [None, asyncio.CancelledError, ValueError])
@pytest.mark.parametrize("meddle", GROUP_MEDDLERS, ids=lambda meddle: meddle.__name__)
def test_meddling_with_fields_in_mid_wait_comes_to_what_it_does_in_asyncio(
    meddle, error, same_program
):
    async def program(api):
        loop = asyncio.get_running_loop()
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append(repr(context["exception"])))
        group = api.TaskGroup()
        await group.__aenter__()
        task = group.create_task(value("task", 2))
        coro = group.__aexit__(None, None, None)
        coro.send(None)
        meddle(group, loop)
        try:
            if error is not None:
                coro.throw(error("thrown"))
            for _ in range(12):
                await asyncio.sleep(0)
            coro.send(None)
            coro.send(None)
        except (Exception, asyncio.CancelledError, StopIteration) as found:
            seen.append(told(found))
        await asyncio.wait([task])
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            seen.append(await outcome(other))
        return seen, task.cancelled(), getattr(group, "_tasks", "none")

    same_program(program)
