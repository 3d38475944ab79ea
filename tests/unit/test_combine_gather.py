"""gather(): results, order, cancellation, and what it shows, all as asyncio's."""

import asyncio
import contextvars
import gc
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


async def stubborn():
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        return "would not"


async def plain(api):
    return await api.gather(value(1), value(2, 3), value(3))


async def duplicates(api):
    coro, task = value(1), asyncio.ensure_future(value(2))
    outer = api.gather(coro, task, coro, task, task)
    return await outer, len({id(c) for c in outer._children}), len(outer._children)


async def many(api):
    coros = [value(n) for n in range(3000)]
    return await api.gather(*coros, *coros[::-1])


async def first_error(api):
    slow = asyncio.ensure_future(value("slow", 20))
    try:
        await api.gather(slow, fail(ValueError("first")), fail(KeyError("second"), 1))
    except ValueError as error:
        return repr(error), await slow


async def returned_errors(api):
    gone = asyncio.get_running_loop().create_future()
    gone.cancel("why")
    quiet = asyncio.get_running_loop().create_future()
    quiet.cancel()
    found = await api.gather(gone, fail(ValueError("v")), quiet, value(1), return_exceptions=True)
    return [repr(one) for one in found]


async def finished_before(api):
    loop = asyncio.get_running_loop()
    done, failed = loop.create_future(), loop.create_future()
    done.set_result("done")
    failed.set_exception(ValueError("before"))
    outer = api.gather(done, failed, done, return_exceptions=True)
    seen = [repr(outer)]
    found = await outer
    other = api.gather(done, failed, value(1))
    seen.append(repr(other))
    try:
        await other
    except ValueError as error:
        seen.append(repr(error))
    return seen, repr(found)


async def stop_iteration(api):
    future = asyncio.get_running_loop().create_future()
    outer = api.gather(future, value(1), return_exceptions=True)
    future.set_result(StopIteration("in it"))
    return repr(await outer)


async def cancelled_child(api):
    child = asyncio.ensure_future(value(1, 5))
    outer = api.gather(child, value(2))
    child.cancel("child")
    try:
        await outer
    except asyncio.CancelledError as error:
        return repr(error), outer.cancelled(), repr(outer)


async def cancelled_outer(api):
    outer = api.gather(value(1, 50), stubborn(), value(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen = [outer.cancel("outer"), outer._cancel_requested, repr(outer)]
    try:
        await outer
    except asyncio.CancelledError as error:
        seen.append(repr(error))
    return seen, outer.cancel(), [child.cancelled() for child in outer._children]


async def cancelled_outer_that_returns_errors(api):
    outer = api.gather(value(1, 50), stubborn(), return_exceptions=True)
    await asyncio.sleep(0)
    seen = [outer.cancel(msg="outer")]
    try:
        seen.append(await outer)
    except asyncio.CancelledError as error:
        seen.append(repr(error))
    return seen, [repr(child) for child in outer._children]


async def cancelled_waiter(api):
    async def wait():
        await api.gather(asyncio.sleep(3600), api.gather(asyncio.sleep(3600), stubborn()))

    task = asyncio.ensure_future(wait())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel("waiter")
    try:
        await task
    except asyncio.CancelledError as error:
        return repr(error), task.cancelled()


async def never_retrieved(api):
    outer = api.gather(fail(ValueError("lost")), value(1))
    while not outer.done():
        await asyncio.sleep(0)


async def late_error(api):
    try:
        await api.gather(fail(ValueError("first")), fail(KeyError("late"), 5))
    except ValueError:
        for _ in range(9):
            await asyncio.sleep(0)


async def reprs(api):
    child = asyncio.ensure_future(value(1))
    outer = api.gather(child, value(2))
    seen = [repr(outer), repr(outer._children), outer._cancel_requested]
    await outer
    return seen, repr(outer), type(outer).__name__


async def callbacks_in_order(api):
    seen = []

    async def body(n):
        asyncio.get_running_loop().call_soon(seen.append, f"soon {n}")
        seen.append(n)

    outer = api.gather(*map(body, range(3)))
    outer.add_done_callback(lambda outer: seen.append("outer"))
    for n, child in enumerate(outer._children):
        child.add_done_callback(lambda child, n=n: seen.append(f"child {n}"))
    await outer
    seen.append("woken")
    await asyncio.sleep(0)
    return seen


async def contexts(api):
    async def body(n):
        seen = VARIABLE.get()
        VARIABLE.set(n)
        return seen

    VARIABLE.set("outer")
    return await api.gather(body(1), body(2)), VARIABLE.get()


async def removed_callback(api):
    child = asyncio.ensure_future(value(1, 3))
    outer = api.gather(child, value(2))
    [(callback, context)] = child._callbacks
    seen = [child.remove_done_callback(callback), callback.__qualname__, type(context).__name__]
    await child
    await asyncio.sleep(0)
    return seen, outer.done(), outer.cancel()


async def odd_arguments(api):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    return await api.gather(Awaitable(), value(1), asyncio.sleep(0, "slept"))


async def nothing(api):
    outer = api.gather()
    return await outer, repr(outer), await api.gather(return_exceptions=True)


async def wrong_arguments(api):
    seen = []
    for args in (1,), (None, value(1)), ([],):
        try:
            await api.gather(*args)
        except Exception as error:
            seen.append(repr(error))
    try:
        api.gather(value(1), odd=True)
    except TypeError as error:
        seen.append(repr(error))
    return seen


async def truth_of_the_flag(api):
    return repr(await api.gather(fail(ValueError("v")), return_exceptions="yes"))


async def other_loop(api):
    stranger = asyncio.new_event_loop()
    try:
        future = stranger.create_future()
        try:
            await api.gather(value(1), future)
        except ValueError as error:
            return str(error)
    finally:
        stranger.close()


async def factory(api):
    loop = asyncio.get_running_loop()
    made = []

    def make(loop, coro, **kwargs):
        made.append(coro.__name__)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(make)
    found = await api.gather(value(1), value(2))
    return found, made


async def eager(api):
    if not hasattr(asyncio, "eager_task_factory"):
        return None
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    done = api.gather(value(1), value(2))
    seen = [done.done(), await done]
    try:
        await api.gather(value(1, 2), fail(ValueError("v")))
    except ValueError as error:
        seen.append(repr(error))
    return seen


async def debug(api):
    asyncio.get_running_loop().set_debug(True)
    return await api.gather(value(1), value(2))


PROGRAMS = [
    *(plain, duplicates, many, first_error, returned_errors, finished_before, stop_iteration),
    *(cancelled_child, cancelled_outer, cancelled_outer_that_returns_errors, cancelled_waiter),
    *(never_retrieved, late_error, reprs, callbacks_in_order, contexts, removed_callback),
    *(odd_arguments, nothing, wrong_arguments, truth_of_the_flag, other_loop, factory, eager),
    debug,
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_gather_is_asyncios(same_program, program):
    same_program(program)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_without_a_running_loop_gather_does_what_asyncios_does(api, loop):
    coro = value(1)
    asyncio.set_event_loop(loop)
    try:
        said = []
        for module in asyncio, api:
            try:
                said.append(loop.run_until_complete(module.gather(value(1), value(2))))
            except Exception as error:
                said.append(repr(error))
        assert said[0] == said[1]
    finally:
        asyncio.set_event_loop(None)
        coro.close()


@pytest.mark.parametrize("turns", range(8))
def test_a_task_that_gathers_can_be_cancelled_at_every_turn(same_program, turns):
    async def program(api):
        seen = []

        async def body():
            try:
                seen.append(await api.gather(value(1, 1), stubborn(), value(2, 3)))
            finally:
                seen.append("left")

        task = asyncio.ensure_future(body())
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(task.cancel(turns))
        await asyncio.wait([task])
        return seen, repr(task), task.cancelling()

    same_program(program)


def test_gathering_futures_are_asyncios(api, loop):
    async def main():
        outer = api.gather(value(1))
        assert isinstance(outer, asyncio.tasks._GatheringFuture)
        assert isinstance(outer, asyncio.Future) and asyncio.isfuture(outer)
        await outer

    loop.run_until_complete(main())


def test_futures_that_wait_for_each_other_end_in_recursion_error(api, loop):
    async def main():
        box = []

        async def body():
            await box[0]

        box.append(api.gather(body()))
        await asyncio.sleep(0)
        with pytest.raises(RecursionError):
            box[0].cancel()

    loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False


def test_gather_keeps_nothing_alive_when_it_is_done(api, loop, collect):
    class Thing:
        pass

    async def make():
        return Thing()

    async def main():
        outer = api.gather(make(), make())
        found = await outer
        alive = [weakref.ref(thing) for thing in found]
        alive += [weakref.ref(child) for child in outer._children]
        del found, outer
        return alive

    gc.disable()
    try:
        alive = loop.run_until_complete(main())
        assert [ref() for ref in alive] == [None] * 4
    finally:
        gc.enable()


def test_a_gathering_that_is_given_up_is_collected(api, new_loop, collect):
    loop = new_loop()
    refs = []

    async def main():
        outer = api.gather(loop.create_future(), loop.create_future())
        refs.append(weakref.ref(outer))

    loop.run_until_complete(main())
    collect()
    assert refs[0]() is None


def reset(outer, future, loop):
    future.set_result(1)
    future.__init__(loop=loop)


def call_back(outer, future, loop):
    future._callbacks[0][0](future)


def empty_the_list(outer, future, loop):
    outer.cancel()
    outer._children.clear()


def add_an_object(outer, future, loop):
    outer._children.append(object())
    future.set_result(1)


def add_a_pending_one(outer, future, loop):
    outer._children.append(loop.create_future())
    future.set_result(1)


def add_a_failed_one(outer, future, loop):
    outer._children.append(loop.create_future())
    outer._children[-1].set_exception(ValueError("added"))
    future.set_result(1)


def add_a_stranger(outer, future, loop):
    class Stranger:
        def cancelled(self):
            outer._children.append(future)
            return False

        def exception(self):
            return None

        def result(self):
            return "stranger"

    outer._children.append(Stranger())
    future.set_result(1)


def add_one_that_ends_it(outer, future, loop):
    class Stranger(asyncio.Future):
        def exception(self):
            outer.set_result("other")
            return None

    outer._children.append(Stranger(loop=loop))
    outer._children[-1].set_result(2)
    future.set_result(1)


def call_with_a_stranger(outer, future, loop):
    future._callbacks[0][0](object())


def replace_the_list(outer, future, loop):
    outer._children = None
    future.set_result(1)


def replace_the_list_and_cancel(outer, future, loop):
    outer._children = None
    outer.cancel()


def delete_the_list_and_cancel(outer, future, loop):
    del outer._children
    outer.cancel()


MEDDLERS = [
    reset,
    call_back,
    empty_the_list,
    add_an_object,
    add_a_pending_one,
    add_a_failed_one,
    add_a_stranger,
    add_one_that_ends_it,
    call_with_a_stranger,
    replace_the_list,
    replace_the_list_and_cancel,
    delete_the_list_and_cancel,
]


@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize("meddle", MEDDLERS, ids=lambda meddle: meddle.__name__)
def test_meddling_with_children_comes_to_what_it_does_in_asyncio(meddle, returned, same_program):
    async def program(api):
        loop = asyncio.get_running_loop()
        seen = []
        loop.set_exception_handler(lambda loop, context: seen.append(repr(context["exception"])))
        future = loop.create_future()
        outer = api.gather(future, return_exceptions=returned)
        try:
            meddle(outer, future, loop)
        except Exception as error:
            seen.append(repr(error).replace("GatheringFuture", ""))
        for _ in range(3):
            await asyncio.sleep(0)
        seen.append(outer.done())
        if outer.done():
            seen.append(repr(outer.exception() or outer.result()))
        else:
            seen.append(outer._cancel_requested)
        return seen

    same_program(program)
