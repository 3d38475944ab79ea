"""sleep(), timeout(), Timeout and wait_for(): results, errors and states as asyncio's."""

import asyncio
import gc
import math
import sys
import time
import weakref

import pytest


async def value(n, turns=0):
    for _ in range(turns):
        await asyncio.sleep(0)
    return n


async def fail(error):
    raise error


def told(error):
    """Return what an exception is and what stands behind it."""
    found = []
    while error is not None:
        found.append(repr(error))
        if isinstance(error, BaseExceptionGroup):
            found.append([told(part) for part in error.exceptions])
        found.append("cause" if error.__cause__ is not None else "context")
        error = error.__cause__ or error.__context__
    return found


async def outcome(awaitable):
    """Return what awaiting comes to."""
    try:
        return await awaitable
    except BaseException as error:
        return told(error)


async def sleeps(api):
    return [await api.sleep(*args) for args in ((0,), (0, 1), (-1, 2), (1e-9, 3), (0.0, 4))] + [
        await api.sleep(delay=0, result=5),
        await api.sleep(True and 0, result=6),
    ]


async def odd_delays(api):
    class Delay(float):
        pass

    # Before 3.13 the loop gets the NaN, and ours refuses it.
    nan = math.nan if sys.version_info >= (3, 13) else None
    found = [await outcome(api.sleep(delay)) for delay in ("1", None, nan, Delay(0), 0j)]
    return found + [await outcome(api.sleep(False, "bool")), await outcome(api.sleep(10**400 * -1))]


async def order_of_sleepers(api):
    seen = []

    async def body(n, delay):
        await api.sleep(delay)
        seen.append(n)

    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(body(n, d)) for n, d in enumerate((0.3, 0, 0.1, -1, 0.2, 1e-4))]
    loop.call_soon(seen.append, "soon")
    await asyncio.wait(tasks)
    return seen


async def cancelled_sleepers(api):
    tasks = [asyncio.ensure_future(api.sleep(delay)) for delay in (0, 3600, 0.001)]
    seen = [repr(task) for task in tasks]
    await asyncio.sleep(0)
    seen += [task.get_coro().cr_await is not None for task in tasks[1:]]
    for task in tasks:
        seen.append(task.cancel("why"))
    return seen, [await outcome(task) for task in tasks]


async def steps_of_sleep(api):
    seen = []
    for delay in 0, 3600:
        for act in (
            lambda coro: coro.throw(ValueError("v")),
            lambda coro: coro.throw(KeyError),
            lambda coro: coro.throw(StopIteration("s")),
            lambda coro: coro.send(5),
            lambda coro: coro.throw(5),
            lambda coro: coro.close(),
        ):
            coro = api.sleep(delay, "slept")
            future = coro.send(None)
            seen.append(type(future).__name__)
            try:
                seen.append(act(coro))
            except BaseException as error:
                seen.append(repr(error))
            coro.close()
            seen.append(coro.cr_frame)
    return seen


async def in_time(api):
    async with api.timeout(3600) as timeout:
        seen = [repr(timeout).split("when=")[0], timeout.expired(), await value(1, 2)]
    return seen, repr(timeout), timeout.expired(), type(timeout.when())


async def expired(api):
    try:
        async with api.timeout(0.001) as timeout:
            await asyncio.sleep(3600)
    except TimeoutError as error:
        return told(error), repr(timeout), timeout.expired(), asyncio.current_task().cancelling()


async def deadline_of_the_past(api):
    seen = []
    for when in -1, 0:
        try:
            async with api.timeout(when):
                seen.append(await value(1))
                await asyncio.sleep(0)
                seen.append("never")
        except TimeoutError as error:
            seen.append(told(error))
        async with api.timeout(when) as timeout:
            seen.append(await value(2))
        seen.append(repr(timeout))
    return seen


async def no_deadline(api):
    async with api.timeout(None) as timeout:
        seen = [repr(timeout), timeout.when()]
    async with api.timeout_at(None) as timeout:
        seen.append(await value(1))
    return seen, repr(timeout)


async def rescheduled(api):
    loop = asyncio.get_running_loop()
    seen = []
    try:
        async with api.timeout(None) as timeout:
            timeout.reschedule(loop.time() + 3600)
            timeout.reschedule(None)
            seen.append(timeout.when())
            timeout.reschedule(loop.time() - 1)
            await asyncio.sleep(3600)
    except TimeoutError:
        seen.append(repr(timeout))
    try:
        timeout.reschedule(1)
    except RuntimeError as error:
        seen.append(str(error))
    try:
        api.timeout(1).reschedule(1)
    except RuntimeError as error:
        seen.append(str(error))
    return seen


async def misused(api):
    seen = []
    timeout = api.timeout(3600)
    for _ in range(2):
        try:
            async with timeout:
                seen.append(repr(timeout).split("when=")[0])
        except RuntimeError as error:
            seen.append(str(error))
    try:
        async with timeout:
            pass
    except RuntimeError as error:
        seen.append(str(error))
    seen.append(await outcome(api.timeout(1).__aexit__(None, None, None)))
    return seen


async def odd_deadlines(api):
    seen = []
    for make in (lambda: api.timeout("1"), lambda: api.timeout_at("1"), lambda: api.timeout(True)):
        try:
            async with make():
                seen.append("entered")
        except Exception as error:
            seen.append(repr(error))
    return seen


async def nested(api):
    seen = []
    try:
        async with api.timeout(3600) as outer:
            try:
                async with api.timeout(0.001) as inner:
                    await asyncio.sleep(3600)
            except TimeoutError as error:
                seen.append(told(error))
            seen.append(asyncio.current_task().cancelling())
            async with api.timeout(-1):
                await asyncio.sleep(3600)
    except TimeoutError as error:
        seen.append(told(error))
    return seen, repr(outer), repr(inner)


async def both_expired(api):
    try:
        async with api.timeout(-1) as outer:
            async with api.timeout(-1) as inner:
                await asyncio.sleep(3600)
    except TimeoutError as error:
        task = asyncio.current_task()
        return told(error), repr(outer), repr(inner), task.cancelling()


async def another_exception(api):
    async def body(error):
        async with api.timeout(-1):
            try:
                await asyncio.sleep(3600)
            finally:
                raise error

    errors = ValueError("v"), ExceptionGroup("g", [ValueError("v"), KeyError("k")])
    return [await outcome(body(error)) for error in errors]


async def suppressed(api):
    async with api.timeout(-1) as timeout:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
    return repr(timeout), asyncio.current_task().cancelling()


async def cancelled_outside(api):
    async def body(seen):
        try:
            async with api.timeout(3600) as timeout:
                await asyncio.sleep(3600)
        finally:
            seen.append(repr(timeout))

    seen = []
    task = asyncio.ensure_future(body(seen))
    await asyncio.sleep(0)
    task.cancel("outside")
    return await outcome(task), seen, task.cancelling()


async def cancelled_and_expired(api):
    async def body():
        async with api.timeout(0) as timeout:
            timeout.when()
            asyncio.current_task().cancel("also")
            await asyncio.sleep(3600)

    task = asyncio.ensure_future(body())
    return await outcome(task), task.cancelling()


async def waited_for(api):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    done.set_result("done")
    return [
        await api.wait_for(value(1), None),
        await api.wait_for(value(2, 3), 3600),
        await api.wait_for(value(3), timeout=3600),
        await api.wait_for(done, 0),
        await api.wait_for(done, 3600),
        await api.wait_for(asyncio.ensure_future(value(4, 2)), 3600),
        await api.wait_for(asyncio.gather(value(5), value(6)), 3600),
        await api.wait_for(api.sleep(0, 7), 3600),
        await api.wait_for(api.wait_for(api.sleep(1e-6, 8), 3600), 3600),
        await outcome(api.wait_for(fail(ValueError("v")), 3600)),
    ]


async def waited_for_too_long(api):
    future = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(asyncio.sleep(3600))
    seen = [
        await outcome(api.wait_for(asyncio.sleep(3600), 0.001)),
        await outcome(api.wait_for(future, 0.001)),
        await outcome(api.wait_for(task, 0.001)),
        await outcome(api.wait_for(asyncio.sleep(3600), 0)),
        await outcome(api.wait_for(asyncio.sleep(3600), -1)),
        await outcome(api.wait_for(asyncio.Event().wait(), 1e-9)),
    ]
    return seen, future.cancelled(), task.cancelled(), asyncio.current_task().cancelling()


async def waited_for_what_does_not_give_up(api):
    async def stubborn(error):
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if error is not None:
                raise error from None
            return "would not"

    return [await outcome(api.wait_for(stubborn(e), 0.001)) for e in (None, ValueError("v"))]


async def waited_for_oddities(api):
    seen = []
    for awaitable in None, 5, "text":
        seen.append(await outcome(api.wait_for(awaitable, 1)))
    coro = value(1)
    seen.append(await outcome(api.wait_for(coro, 1)))
    seen.append(await outcome(api.wait_for(coro, 1)))
    seen.append(await outcome(api.wait_for(value(2), "1")))
    seen.append(await outcome(api.wait_for(value(2), True)))
    return seen


async def cancelled_wait_for(api):
    seen = []

    async def inner():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError as error:
            seen.append(repr(error))
            raise

    task = asyncio.ensure_future(api.wait_for(inner(), 3600))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    seen.append(task.cancel("why"))
    return await outcome(task), seen, task.cancelling()


async def debug(api):
    asyncio.get_running_loop().set_debug(True)
    async with api.timeout(3600):
        return [await api.sleep(0.001, 1), await api.wait_for(value(2), 3600)]


PROGRAMS = [
    *(sleeps, odd_delays, order_of_sleepers, cancelled_sleepers, steps_of_sleep),
    *(in_time, expired, deadline_of_the_past, no_deadline, rescheduled, misused, odd_deadlines),
    *(nested, both_expired, another_exception, suppressed, cancelled_outside),
    *(cancelled_and_expired, waited_for, waited_for_too_long, waited_for_what_does_not_give_up),
    *(waited_for_oddities, cancelled_wait_for, debug),
]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_it_is_as_asyncios(same_program, program):
    same_program(program)


@pytest.mark.parametrize("turns", range(7))
def test_a_task_can_be_cancelled_at_every_turn(same_program, turns):
    async def program(api):
        seen = []

        async def body():
            for name, step in (
                ("sleep", lambda: api.sleep(0)),
                ("wait_for", lambda: api.wait_for(value(1, 1), 3600)),
                ("long", lambda: api.sleep(1e-6)),
            ):
                try:
                    async with api.timeout(3600) as timeout:
                        await step()
                finally:
                    seen.append((name, repr(timeout)))

        task = asyncio.ensure_future(body())
        for _ in range(turns):
            await asyncio.sleep(0)
        seen.append(task.cancel() if turns < 4 else "left alone")
        return await outcome(task), seen

    same_program(program)


@pytest.mark.ours("stock does not know the other's tasks")
def test_asyncios_own_tasks_can_run_all_of_it(api, loop):
    async def main():
        assert await api.sleep(0, 1) == 1 and await api.sleep(0.001, 2) == 2
        assert await api.wait_for(value(3, 2), 3600) == 3
        with pytest.raises(TimeoutError):
            async with api.timeout(0.001):
                await api.sleep(3600)
        async with api.TaskGroup() as group:
            task = group.create_task(value(4))
        return task.result()

    classes = [asyncio.tasks._CTask]
    if sys.version_info < (3, 14):  # later current_task() in C does not find tasks in Python
        classes.append(asyncio.tasks._PyTask)
    for cls in classes:
        assert loop.run_until_complete(cls(main(), loop=loop)) == 4
    stock = asyncio.SelectorEventLoop()
    try:
        assert stock.run_until_complete(main()) == 4
    finally:
        stock.close()


def test_a_sleep_takes_its_time(api, loop):
    before = time.monotonic()
    loop.run_until_complete(api.sleep(0.05))
    assert time.monotonic() - before >= 0.05


def test_a_timer_is_cancelled_with_what_waits_for_it(api, loop, collect):
    class Thing:
        pass

    async def main():
        thing = Thing()
        alive = weakref.ref(thing)
        sleeper = asyncio.ensure_future(api.sleep(3600, thing))
        waiter = asyncio.ensure_future(api.wait_for(loop.create_future(), 3600))
        coro = api.sleep(3600, thing)
        coro.send(None)
        del thing
        await asyncio.sleep(0)
        sleeper.cancel()
        waiter.cancel()
        await asyncio.wait([sleeper, waiter])
        del sleeper, waiter, coro  # the last was neither closed nor resumed
        return alive

    alive = loop.run_until_complete(main())
    collect()
    assert alive() is None


def test_nothing_keeps_a_timeout_alive(api, loop):
    async def main():
        async with api.timeout(3600) as timeout:
            pass
        return weakref.ref(timeout)

    gc.disable()
    try:
        assert loop.run_until_complete(main())() is None
    finally:
        gc.enable()


def test_a_subclass_of_timeout_has_its_way(api, loop):
    class Mine(api.Timeout):
        def reschedule(self, when):
            seen.append(when)
            super().reschedule(None)

        def _on_timeout(self):
            seen.append("never")

    seen = []

    async def main():
        async with Mine(0) as timeout:
            await asyncio.sleep(0)
        return repr(timeout)

    assert loop.run_until_complete(main()) == "<Timeout [finished]>"
    assert seen == [0]


def test_a_loop_that_overrides_its_methods_is_asked(api, loop_class, make_loop):
    class Mine(loop_class):
        def call_at(self, when, callback, *args, context=None):
            seen.append("call_at")
            return super().call_at(when, callback, *args, context=context)

        def create_future(self):
            seen.append("create_future")
            return super().create_future()

    seen = []
    loop = make_loop(Mine)

    async def main():
        await api.sleep(0.001)
        async with api.timeout(3600):
            pass

    loop.run_until_complete(main())
    assert seen == ["create_future", "call_at", "call_at"]


def test_a_wait_for_that_is_dropped_is_closed_and_cancels_nobody(api, loop):
    async def main():
        future = loop.create_future()
        coro = api.wait_for(future, 0.02)
        coro.send(None)
        ref = weakref.ref(coro)
        del coro
        assert ref() is None
        await asyncio.sleep(0.1)
        return "undisturbed"

    assert loop.run_until_complete(main()) == "undisturbed"


def test_a_wait_for_in_a_cycle_is_collected_before_its_time(api, loop, collect):
    class Thing:
        pass

    async def main():
        thing = Thing()
        thing.future = loop.create_future()
        thing.future.thing = thing
        thing.coro = api.wait_for(thing.future, 3600)
        thing.coro.send(None)
        return weakref.ref(thing)

    ref = loop.run_until_complete(main())
    collect()
    assert ref() is None


def test_what_dies_with_a_timer_may_write_to_the_timeout(api, loop):
    class Callback:
        def __call__(self):
            pass

        def __del__(self):
            timeout._timeout_handler = None
            made.append(loop.call_later(0, seen.append, "called"))

    made, seen = [], []
    timeout = None

    async def main():
        nonlocal timeout
        timeout = api.timeout(3600)
        await timeout.__aenter__()
        timeout._timeout_handler.cancel()
        timeout._timeout_handler = loop.call_later(3600, Callback())
        await timeout.__aexit__(None, None, None)
        assert timeout._timeout_handler is None
        while not seen:
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert len(made) == 1 and seen == ["called"]
