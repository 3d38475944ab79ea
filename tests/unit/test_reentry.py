"""Python code that runs in the middle of native code: it may close, cancel and finish anything."""

import asyncio
import collections.abc
import contextvars
import copy
import gc
import socket
import traceback

import pytest


def reports_of(loop):
    """Return the list of what the loop's exception handler is told of."""
    told = []
    loop.set_exception_handler(lambda _loop, context: told.append(repr(context["exception"])))
    return told


def run_briefly(loop):
    """Run what is queued, and what that queues."""
    loop.run_until_complete(asyncio.sleep(0.01))


def test_a_foreign_context_may_cancel_the_handle_that_runs_in_it(same_outcome):
    def program(loop):
        class Context:
            @property
            def run(self):
                handle.cancel()
                return lambda callback, *args: callback(*args)

        told = reports_of(loop)
        handle = loop.call_soon(print, 1, context=Context())
        run_briefly(loop)
        return told

    same_outcome(program)


def test_a_foreign_context_gets_callback_and_arguments(same_outcome):
    def program(loop):
        class Context:
            def run(self, callback, *args):
                if callback is not print:
                    return callback(*args)
                got.append(args)
                raise ZeroDivisionError("from the context")

        got = []
        told = reports_of(loop)
        for args in ((), (1,), (1, 2, 3)):
            loop.call_soon(print, *args, context=Context())
        run_briefly(loop)
        return got, told

    same_outcome(program)


def test_a_loop_may_be_closed_by_what_dies_with_an_old_context(loop):
    variable = contextvars.ContextVar("variable")

    class Closer:
        def __del__(self):
            loop.close()

    def prepare():
        variable.set(Closer())
        loop.call_soon(print).cancel()

    contextvars.Context().run(prepare)
    loop._run_once()
    try:
        loop.call_soon(print)
    except RuntimeError as error:
        assert "closed" in str(error)
    assert loop.is_closed()


def test_a_loop_may_be_closed_while_a_reader_is_added(loop, monkeypatch):
    walk = traceback.walk_stack

    def closing(*args):
        loop.close()
        return walk(*args)

    loop.set_debug(True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        monkeypatch.setattr(traceback, "walk_stack", closing)
        with pytest.raises((RuntimeError, AttributeError)):
            loop.add_reader(ours, print)


@pytest.mark.ours("stock's queue is a deque")
def test_the_queue_may_be_run_while_it_is_looked_at(loop, monkeypatch):
    walk = traceback.walk_stack

    def running(*args):
        monkeypatch.setattr(traceback, "walk_stack", walk)
        loop._run_once()
        return walk(*args)

    called = []
    for _ in range(3):
        future = loop.create_future()
        future.add_done_callback(called.append)
        future.set_result(None)
    del future
    loop.set_debug(True)
    monkeypatch.setattr(traceback, "walk_stack", running)
    assert len(loop._ready) == 3
    assert len(called) == 3


def test_a_task_may_be_started_while_it_is_started(loop):
    async def real():
        ran.append(True)

    class Coroutine(collections.abc.Coroutine):
        def send(self, value):
            raise StopIteration

        def throw(self, *args):
            raise StopIteration

        def close(self):
            pass

        def __await__(self):
            yield

        @property
        def __class__(self):
            if not started:
                started.append(True)
                task.__init__(first, loop=loop)
            return Coroutine

    ran, started = [], []
    first = real()
    probe = loop.create_task(real())
    run_briefly(loop)
    task = type(probe).__new__(type(probe))
    reports_of(loop)
    task.__init__(Coroutine(), loop=loop)
    assert len(asyncio.all_tasks(loop)) == 1
    run_briefly(loop)
    first.close()
    assert task.done() and len(ran) <= 2


ENDS = {
    "returns": lambda: 2,
    "raises": lambda: 1 / 0,
    "is cancelled": lambda: asyncio.current_task().cancel() and 2,
}
FINISHERS = {
    "result": lambda task: asyncio.Future.set_result(task, 1),
    "exception": lambda task: asyncio.Future.set_exception(task, KeyError(1)),
    "cancel": lambda task: asyncio.Future.cancel(task),
}


@pytest.mark.parametrize("how", FINISHERS)
@pytest.mark.parametrize("end", ENDS)
def test_a_task_that_was_finished_from_outside_keeps_its_result(same_outcome, how, end):
    def program(loop):
        async def coroutine():
            FINISHERS[how](asyncio.current_task())
            return ENDS[end]()

        told = reports_of(loop)
        calls = []
        task = loop.create_task(coroutine())
        task.add_done_callback(lambda task: calls.append(task.cancelled()))
        run_briefly(loop)
        seen = task._state, task._result, repr(task._exception), calls, told[:]
        task._log_traceback = False
        return seen

    same_outcome(program)


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="before 3.12: no eager start"
)
@pytest.mark.parametrize("derived", [False, True], ids=["task", "derived"])
@pytest.mark.ours("stock enters the task with the exception set, a SystemError")
def test_an_eager_task_that_cannot_wait_raises_why(loop, derived):
    class Broken:
        _asyncio_future_blocking = True

        def get_loop(self):
            return loop

        def add_done_callback(self, *args, **kwargs):
            raise KeyError("broken")

        def __await__(self):
            yield self

        def cancel(self, *args):
            return False

    async def inner():
        await Broken()

    async def main():
        kind = type(asyncio.current_task())
        if derived:
            kind = type("Derived", (kind,), {})
        with pytest.raises(KeyError, match="broken") as caught:
            kind(inner(), loop=loop, eager_start=True)
        del caught
        reports_of(loop)
        gc.collect()

    loop.run_until_complete(main())


def test_the_collector_may_finish_a_future_whose_callbacks_are_looked_at(loop):
    class Finisher:
        def __init__(self):
            self.itself = self

        def __del__(self):
            if not future.done():
                future.set_result(None)

    async def wait():
        await future

    future = loop.create_future()
    tasks = [loop.create_task(wait()) for _ in range(2)]
    loop._run_once()
    threshold = gc.get_threshold()
    for n in range(1, 30):
        gc.collect()
        gc.disable()
        Finisher()
        gc.set_threshold(n)
        gc.enable()
        future._callbacks  # noqa: B018 - looking is the point
        gc.set_threshold(*threshold)
        if future.done():
            break
    gc.collect()
    loop.run_until_complete(asyncio.gather(*tasks))


def test_what_is_overridden_in_a_class_changed_very_often_is_noticed(loop_class, make_loop):
    class Changed(loop_class):
        pass

    loop = make_loop(Changed)
    for n in range(3000):
        Changed.changed = n
        assert loop.changed == n
        loop.call_later(0, print).cancel()
    Changed.time = lambda self: 1000.0
    handle = loop.call_later(1, print)
    assert handle.when() == 1001.0
    handle.cancel()
    del Changed.time
    handle = loop.call_later(1, print)
    assert handle.when() != 1001.0
    handle.cancel()


def shown(handle):
    """Return what a handle's attributes are, without those of the loop and of source lines."""
    names = ["_callback", "_args", "_cancelled", "_repr", "_when"]
    return isinstance(handle, asyncio.Handle), [getattr(handle, name, None) for name in names]


@pytest.mark.parametrize("method", ["call_soon", "call_at", "call_soon_threadsafe"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_copy_of_a_handle_is_one_with_the_same_attributes(same_outcome, method, cancelled):
    def program(loop):
        args = (1000.5, len, "abc") if method == "call_at" else (len, "abc")
        handle = getattr(loop, method)(*args)
        if cancelled:
            handle.cancel()
        twin = copy.copy(handle)
        assert twin is not handle and twin._loop is loop
        assert twin._context is handle._context
        before = shown(twin)
        twin.cancel()
        seen = before, shown(twin), handle.cancelled()
        handle.cancel()
        return seen

    same_outcome(program)


def test_remove_done_callback_words_its_complaints_as_asyncio(same_error):
    async def nothing():
        pass

    for args, kwargs in [((), {}), ((1, 2), {}), ((), {"fn": 1}), ((1,), {"x": 2})]:
        same_error(
            lambda loop, a=args, k=kwargs: loop.create_future().remove_done_callback(*a, **k)
        )


@pytest.mark.parametrize("value", [5, "yes", [], None, True, False], ids=repr)
def test_get_debug_is_what_set_debug_was_given(same_outcome, value):
    def program(loop):
        loop.set_debug(value)
        given = loop.get_debug(), loop._debug
        loop.set_debug(False)
        return given, loop.get_debug()

    same_outcome(program)
