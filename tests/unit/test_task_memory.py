"""What tasks and futures hold is let go of as early as by asyncio, and collected at last."""

import asyncio
import contextlib
import contextvars
import gc
import sys
import weakref

import pytest

VARIABLE = contextvars.ContextVar("variable")


class Thing:
    """Something that weak references can watch."""

    def __call__(self, *args):
        pass


class ThingError(Exception):
    pass


@pytest.fixture(autouse=True)
def only_by_hand():
    """Let nothing be collected but when a test asks for it, and only what is its own."""
    enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    yield
    gc.unfreeze()
    if enabled:
        gc.enable()


def run(loop, n=1):
    for _ in range(n):
        loop.call_soon(loop.stop)
        loop.run_forever()


# Each makes objects that hold the thing, and returns what the program would keep.


def holds_result(loop, thing):
    future = loop.create_future()
    future.set_result(thing)
    return future


def holds_awaited_result(loop, thing):
    async def main():
        return await future

    future = loop.create_future()
    task = loop.create_task(main())
    run(loop)
    future.set_result(thing)
    run(loop, 2)
    return task


def holds_callback(loop, thing):
    future = loop.create_future()
    future.add_done_callback(thing)
    future.add_done_callback(thing)
    return future


def holds_called_callback(loop, thing):
    future = loop.create_future()
    future.add_done_callback(thing)
    future.set_result(1)
    run(loop)
    return future


def holds_removed_callback(loop, thing):
    future = loop.create_future()
    future.add_done_callback(thing)
    future.remove_done_callback(thing)
    return future


def holds_context(loop, thing):
    def enter():
        VARIABLE.set(thing)
        future.add_done_callback(print)

    future = loop.create_future()
    contextvars.copy_context().run(enter)
    return future


def holds_task_context(loop, thing):
    async def main():
        VARIABLE.set(thing)
        await asyncio.sleep(0)

    task = loop.create_task(main())
    run(loop, 3)
    return task


def holds_message(loop, thing):
    future = loop.create_future()
    future.cancel(thing)
    return future


def holds_exception(loop, thing):
    future = loop.create_future()
    future.set_exception(ThingError(thing))
    future.exception()
    return future


def holds_raised_exception(loop, thing):
    async def main():
        mine = thing
        raise ThingError(mine)

    task = loop.create_task(main())
    run(loop, 2)
    task.exception()
    return task


def holds_reraised_exception(loop, thing):
    async def inner():
        raise ThingError(thing)

    async def outer():
        with contextlib.suppress(ThingError):
            await loop.create_task(inner())

    task = loop.create_task(outer())
    run(loop, 4)
    return task


def holds_locals_while_waiting(loop, thing):
    async def main(mine):
        await future

    future = loop.create_future()
    task = loop.create_task(main(thing))
    run(loop, 2)
    return task


def holds_locals_when_cancelled(loop, thing):
    async def main(mine):
        await loop.create_future()

    task = loop.create_task(main(thing))
    run(loop, 2)
    task.cancel()
    run(loop, 2)
    return task


def holds_in_a_ring(loop, thing):
    async def main():
        mine = thing, future, asyncio.current_task()
        await future
        return mine

    future = loop.create_future()
    future.task = loop.create_task(main())
    future.task._log_destroy_pending = False
    run(loop, 2)
    return future


def holds_in_its_own_exception(loop, thing):
    async def main():
        me, mine = asyncio.current_task(), thing
        try:
            raise ThingError(me, mine)
        except ThingError as error:
            kept = error
        raise kept

    task = loop.create_task(main())
    run(loop, 2)
    task.exception()
    return task


def holds_in_attributes(loop, thing):
    async def main():
        asyncio.current_task().mine = thing, asyncio.current_task()

    task = loop.create_task(main())
    run(loop, 2)
    return task


def holds_in_a_subclass(loop, thing):
    task = loop.create_task(asyncio.sleep(0))
    derived = type("Derived", (type(task),), {"held": thing})(asyncio.sleep(0), loop=loop)
    derived.itself = derived
    run(loop, 3)
    return derived


def holds_a_name(loop, thing):
    class Name(str):
        pass

    name = Name("name")
    name.thing = thing
    task = loop.create_task(asyncio.sleep(0), name=name)
    run(loop, 3)
    return task


def holds_after_group(loop, thing):
    async def child(mine):
        raise ThingError(mine)

    async def main():
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child(thing))
                group.create_task(asyncio.sleep(100))
        except* ThingError:
            pass

    task = loop.create_task(main())
    run(loop, 8)
    return task


def holds_after_gather(loop, thing):
    async def child(mine):
        await asyncio.sleep(0)
        return mine

    task = asyncio.gather(loop.create_task(child(thing)), loop.create_task(child(thing)))
    run(loop, 5)
    return task


def holds_after_wait_for(loop, thing):
    async def main():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child(thing), 0)

    async def child(mine):
        await loop.create_future()

    task = loop.create_task(main())
    run(loop, 8)
    return task


def holds_in_a_wrong_yield(loop, thing):
    class Yields:
        def __await__(self):
            return (yield thing)

    async def main():
        with contextlib.suppress(RuntimeError):
            await Yields()

    task = loop.create_task(main())
    run(loop, 4)
    return task


def holds_in_a_future_like(loop, thing):
    class Like:
        _asyncio_future_blocking = True
        held = thing
        kept = ()

        def get_loop(self):
            return loop

        def add_done_callback(self, callback, *, context):
            self.kept = callback, context, self

    class Yields:
        def __await__(self):
            return (yield Like())

    async def main():
        await Yields()

    task = loop.create_task(main())
    run(loop, 2)
    task._log_destroy_pending = False
    return task


def holds_an_iterator(loop, thing):
    future = loop.create_future()
    future.mine = thing
    iterator = future.__await__()
    next(iterator)
    future.iterator = iterator
    return iterator


HOLDERS = [value for name, value in list(globals().items()) if name.startswith("holds_")]


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_held_goes_when_it_goes_on_asyncio(same_outcome, holder):
    def act(loop):
        found = []
        for _ in range(3):
            thing = Thing()
            alive = weakref.ref(thing)
            kept = holder(loop, thing)
            del thing
            found.append(alive() is not None)
            watched = weakref.ref(kept) if not hasattr(kept, "__next__") else None
            del kept
            found.append(alive() is not None)
            run(loop)
            while gc.collect():
                pass
            found.append((alive() is None, watched is None or watched() is None))
            assert found[-1] == (True, True)
        return found

    same_outcome(act)


@pytest.mark.parametrize("holder", HOLDERS)
def test_what_is_held_goes_with_a_closed_loop(backend, holder):
    def make():
        if backend == "stock":
            return asyncio.SelectorEventLoop()
        import casyncio

        return casyncio.new_event_loop(backend)

    loop = make()
    asyncio.set_event_loop(loop)
    try:
        thing = Thing()
        alive, loop_alive = weakref.ref(thing), weakref.ref(loop)
        loop.kept = holder(loop, thing)
        loop.call_soon(thing)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    del thing, loop
    while gc.collect():
        pass
    assert alive() is None and loop_alive() is None


def test_thousands_of_tasks_in_rings_are_all_collected(loop, turns):
    async def main(future):
        kept = future, asyncio.current_task()
        future.kept = kept
        await future

    things = weakref.WeakSet()
    for _ in range(2000):
        future = loop.create_future()
        task = loop.create_task(main(future))
        task._log_destroy_pending = False
        things.add(task)
        things.add(future)
    turns(loop, 2)
    del future, task
    assert len(things) == 4000
    while gc.collect():
        pass
    assert len(things) == 0 and not asyncio.all_tasks(loop)


# ---- memory of the dead, for those that are made by calling the class ----


@pytest.fixture(params=["Future", "another name", "Task"])
def young(request, loop):
    """Return a function that makes what is not begun; skip where loops make asyncio's own."""
    import casyncio

    if casyncio.Future is asyncio.Future:
        pytest.skip(f"asyncio's own are used here: {casyncio._stock_tasks_reason}")
    if request.param == "Task":
        return lambda: casyncio.Task.__new__(casyncio.Task)
    name = "loop" if request.param == "Future" else "".join(["lo", "op"])  # is not interned
    return lambda: casyncio.Future(**{name: loop})


@pytest.mark.ours("of asyncio's classes only some have such a list")
def test_calling_the_class_uses_the_memory_of_the_dead(young):
    def make():
        return [young() for _ in range(500)]

    make()
    before = sys.getallocatedblocks()
    alive = make()
    assert sys.getallocatedblocks() - before < 100
    assert len({id(each) for each in alive}) == 500


def said(action):
    """Return what the action returns, or the kind and the words of its error."""
    try:
        return action()
    except Exception as exc:
        return type(exc), str(exc)


@pytest.mark.ours("asyncio's own classes are tested in CPython")
@pytest.mark.parametrize("end", ["result", "error", "cancel"])
def test_nothing_is_left_of_the_dead(young, loop, end):
    async def ends():
        if end == "error":
            raise ThingError
        await (sleeps if end == "cancel" else done)

    def shown(each):
        names = [name for name in dir(each) if name.startswith("_") and not name.startswith("__")]
        found = {name: said(lambda name=name: getattr(each, name)) for name in names}
        for name in ("done", "cancelling", "get_context", "get_coro", "get_name"):
            found[name] = said(lambda name=name: getattr(each, name)())
        return {name: value for name, value in found.items() if not callable(value)}

    def finish(task, future):
        if end == "cancel":
            task.cancel("dead")
            future.cancel("dead")
        elif end == "error":
            future.set_exception(ThingError())
        else:
            future.set_result(Thing())
        run(loop, 2)
        assert task.done() and future.done()
        if end == "error":
            assert task.exception() and future.exception()

    unused = shown(young())
    done, sleeps = loop.create_future(), loop.create_future()
    done.set_result(1)
    for turn in range(20):
        task, future = loop.create_task(ends(), name="dead"), loop.create_future()
        for each in task, future:
            each.attribute = turn
            each.add_done_callback(Thing())
        run(loop)
        finish(task, future)
        addresses = id(task), id(future)
        del task, future, each
        born = young()
        assert shown(born) == unused
        if id(born) in addresses:
            break
    else:
        pytest.fail("the memory was never used again")
