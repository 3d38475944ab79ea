"""Task: cancelling anywhere, wrong yields, subclasses, names, stacks, reports, other tasks.

Whatever asyncio does too is asked of both: the same program on asyncio's loop and on ours.
"""

import asyncio
import collections.abc
import concurrent.futures
import contextlib
import contextvars
import copy
import functools
import gc
import io
import pickle
import re
import sys
import types
import unittest.mock
import weakref

import pytest

VARIABLE = contextvars.ContextVar("variable", default="none")


@pytest.fixture(autouse=True)
def little_garbage():
    """Hide the objects of pytest and of other tests from the collector, which runs often here."""
    gc.freeze()
    yield
    gc.unfreeze()


def clean(text):
    """Return text without addresses, numbers of tasks, and modules of the two kinds."""
    text = re.sub(r"0x[0-9a-f]+", "0x", str(text))
    text = re.sub(r"\bTask-\d+", "Task-N", text)
    text = re.sub(
        r"<(?:_asyncio\.)?Task(Step|Wakeup)MethWrapper object at 0x>", "Task.task_step", text
    )
    text = re.sub(r"<(_UnixSelectorEventLoop|Loop)\b", "<Loop", text)
    text = re.sub(r"closed=\w+ debug=\w+>", ">", text)
    text = re.sub(r"\b_?(asyncio|casyncio(\._native)?)\.(Future\w*|Task)", r"\3", text)
    return re.sub(r"[\w.]+\(\) (takes|got|missing|expected) .*argument.*", "arguments", text)


def caught(action, *args, **kwargs):
    """Return what the call returns, or type and text of what it raises."""
    try:
        return action(*args, **kwargs)
    except BaseException as error:
        return type(error).__name__, clean(error)


def line_of(error):
    """Return an exception and those behind it as text."""
    found = []
    while error is not None and len(found) < 5:
        found.append(clean(repr(error)))
        error = error.__cause__ or error.__context__
    return found


def run(loop, n=1):
    """Let the loop take n turns; return what left it."""
    left = []
    for _ in range(n):
        loop.call_soon(loop.stop)
        try:
            loop.run_forever()
        except BaseException as error:
            left.append(clean(repr(error)))
    return left


def state(task):
    """Return everything that a task says of itself."""
    return [
        clean(repr(task)),
        task.done(),
        task.cancelled(),
        task.cancelling(),
        clean(repr(caught(task.result))),
        clean(repr(caught(task.exception))),
        task._must_cancel,
        clean(repr(task._fut_waiter)),
        task._log_destroy_pending,
    ]


def heard(loop):
    """Return the list that the loop's reports are noted in from now on."""
    found = []

    def note(loop, context):
        words = [context["message"], sorted(context), repr(context.get("exception"))]
        found.append([clean(word) for word in words])

    loop.set_exception_handler(note)
    return found


def kinds_of(loop):
    """Return the classes of tasks and futures of the loop."""

    async def nothing():
        pass

    task = loop.create_task(nothing())
    run(loop, 2)
    return type(task), type(loop.create_future())


# ---- cancelling ----


async def by_turns(future, notes):
    for _ in range(3):
        await asyncio.sleep(0)


async def by_future(future, notes):
    await asyncio.sleep(0)
    await future


async def by_gather(future, notes):
    await asyncio.gather(asyncio.sleep(0), future, asyncio.sleep(0), by_turns(future, notes))


async def by_shield(future, notes):
    await asyncio.shield(by_turns(future, notes))


async def by_wait(future, notes):
    await asyncio.wait([future, asyncio.ensure_future(by_turns(future, notes))])


async def by_wait_for(future, notes):
    await asyncio.wait_for(by_turns(future, notes), 100)


async def by_timeout(future, notes):
    async with asyncio.timeout(100):
        await by_future(future, notes)


async def by_group(future, notes):
    async with asyncio.TaskGroup() as group:
        group.create_task(by_turns(future, notes))
        group.create_task(by_future(future, notes))


async def by_lock(future, notes):
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:
        notes.append("in the lock")


async def by_queue(future, notes):
    await asyncio.Queue().get()


async def by_condition(future, notes):
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def by_generator(future, notes):
    async def steps():
        try:
            while True:
                yield await asyncio.sleep(0, 1)
        finally:
            notes.append("closing")
            await asyncio.sleep(0)

    async for _ in steps():
        if len(notes) > 5:
            break
        notes.append("next")


async def by_deaf(future, notes):
    for _ in range(3):
        try:
            await asyncio.sleep(0)
            await future
        except asyncio.CancelledError as error:
            notes.append(repr(error))


async def by_uncancel(future, notes):
    try:
        await future
    except asyncio.CancelledError:
        notes.append(asyncio.current_task().uncancel())
    await asyncio.sleep(0)
    return "lives"


async def by_cleaning(future, notes):
    try:
        await future
    finally:
        notes.append("cleaning")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        notes.append("clean")


async def by_another_error(future, notes):
    try:
        await future
    except asyncio.CancelledError as error:
        raise KeyError("instead") from error


WAYS = [value for name, value in list(globals().items()) if name.startswith("by_")]


@pytest.mark.parametrize("way", WAYS)
def test_a_cancel_before_and_after_every_turn_does_what_it_does_on_asyncio(same_outcome, way):
    def act(loop):
        reports, found = heard(loop), []
        for first in range(8):
            for again in (None, 0, 1, 2):
                notes, future = [], loop.create_future()
                task = loop.create_task(way(future, notes), name="it")
                run(loop, first)
                notes.append(task.cancel("first"))
                if again is not None:
                    run(loop, again)
                    notes.append(task.cancel("again") and task.cancelling())
                run(loop, 6)
                if not future.done():
                    future.set_result("late")
                run(loop, 6)
                said = state(task)
                error = None
                if task.cancelled():
                    with contextlib.suppress(asyncio.CancelledError):
                        task.result()
                    try:
                        task.result()
                    except asyncio.CancelledError as cancelled:
                        error = cancelled
                found.append((notes, said, clean(repr(future)), line_of(error)))
                task.cancel()
                run(loop, 8)
        return found, reports, len(asyncio.all_tasks(loop))

    same_outcome(act)


def in_step_returns(task, future):
    return "value"


def in_step_raises(task, future):
    raise ValueError("in the step")


def in_step_raises_cancelled(task, future):
    raise asyncio.CancelledError("mine")


def in_step_sleeps(task, future):
    return asyncio.sleep(0, "slept")


def in_step_waits(task, future):
    return future


def in_step_waits_for_done(task, future):
    future.set_result(1)
    return future


def in_step_waits_for_failed(task, future):
    future.set_exception(KeyError("failed"))
    return future


def in_step_waits_for_cancelled(task, future):
    future.cancel("the future's")
    return future


def in_step_waits_for_itself(task, future):
    return task


def in_step_uncancels(task, future):
    return task.uncancel(), task._must_cancel


@pytest.mark.parametrize("end", [v for n, v in list(globals().items()) if n.startswith("in_step")])
@pytest.mark.parametrize("messages", [(), (None,), ("why",), (7,), ("one", "two")])
def test_a_task_that_cancels_itself_in_its_step_ends_as_on_asyncio(same_outcome, end, messages):
    async def main(future, notes):
        task = asyncio.current_task()
        for message in messages or ("",):
            notes.append(task.cancel(message) if messages else task.cancel())
        notes.append((task._must_cancel, task.cancelling(), task._cancel_message))
        for _ in range(2):
            try:
                value = end(task, future)
                if isinstance(value, collections.abc.Awaitable):
                    value = await value
                notes.append(value)
                break
            except asyncio.CancelledError as error:
                notes.append((repr(error), task._must_cancel, line_of(error)))
        return "end"

    def act(loop):
        reports, notes, future = heard(loop), [], loop.create_future()
        task = loop.create_task(main(future, notes), name="it")
        run(loop, 5)
        said = state(task), clean(repr(future)), clean(repr(notes))
        task.cancel()
        run(loop, 3)
        return said, state(task), reports

    same_outcome(act)


def test_a_cancel_that_the_waited_future_refuses_comes_at_the_next_step(same_outcome):
    def act(loop):
        class Deaf(type(loop.create_future())):
            def cancel(self, msg=None):
                notes.append(("asked", msg))
                return False

        async def main():
            try:
                await future
            except asyncio.CancelledError as error:
                notes.append(repr(error))
                raise

        notes, future = [], Deaf(loop=loop)
        task = loop.create_task(main(), name="it")
        run(loop, 2)
        notes.append((task.cancel("why"), task._must_cancel))
        run(loop, 3)
        future.set_result(1)
        run(loop, 3)
        return notes, state(task)

    same_outcome(act)


@pytest.mark.parametrize(
    "answer", [True, False, None, "text", ValueError("no"), KeyboardInterrupt("k")]
)
def test_a_cancel_method_of_the_waited_future_may_do_anything(same_outcome, answer):
    def act(loop):
        class Odd(type(loop.create_future())):
            def cancel(self, msg=None):
                if isinstance(answer, BaseException):
                    raise answer
                return answer

        async def main(cancel_first):
            if cancel_first:
                asyncio.current_task().cancel("early")
            await futures[cancel_first]

        reports, futures = heard(loop), [Odd(loop=loop), Odd(loop=loop)]
        tasks = [loop.create_task(main(first), name="it") for first in (False, True)]
        found = [run(loop, 2), caught(tasks[0].cancel, "late")]
        found += [state(task) for task in tasks]
        for future in futures:
            future.set_result(1)
        found.append(run(loop, 3))
        found += [state(task) for task in tasks]
        gc.collect()
        return found, reports

    same_outcome(act)


def test_cancelling_counts_and_uncancel_are_asyncios(same_outcome):
    def act(loop):
        async def main():
            with contextlib.suppress(asyncio.CancelledError):
                await loop.create_future()
            task, found = asyncio.current_task(), []
            for _ in range(4):
                found.append((task.uncancel(), task.cancelling(), task._must_cancel))
            task.cancel()
            found.append((task.uncancel(), task._must_cancel))
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as error:
                found.append(repr(error))
            return found

        task = loop.create_task(main())
        run(loop, 1)
        found = [task.uncancel(), task.cancel(), task.cancel(), task.cancelling()]
        run(loop, 4)
        found += [task.result(), task.cancel(), task.uncancel(), task.cancelling()]
        return found

    same_outcome(act)


def test_the_message_of_a_cancel_is_found_where_asyncio_puts_it(same_outcome):
    def act(loop):
        async def inner():
            await loop.create_future()

        async def outer(task):
            await task

        found = []
        for message in (None, "why", 0, ("a", "b"), ValueError("x")):
            task = loop.create_task(inner(), name="in")
            other = loop.create_task(outer(task), name="out")
            run(loop, 3)
            other.cancel(message)
            found.append(repr(task._cancel_message))
            run(loop, 4)
            for one in task, other:
                for _ in range(2):
                    try:
                        one.result()
                    except asyncio.CancelledError as error:
                        found.append(line_of(error))
                found.append(repr(one._cancel_message))
        return found

    same_outcome(act)


# ---- what a coroutine may yield ----


class Yields:
    """Yields what it is given, and then returns what was sent."""

    def __init__(self, *values):
        self.values = values

    def __await__(self):
        sent = []
        for value in self.values:
            sent.append((yield value))
        return sent


class BadRepr:
    def __repr__(self):
        raise ValueError("no repr")


class BadFlag:
    @property
    def _asyncio_future_blocking(self):
        raise KeyError("flag")


class BadTruth:
    def __bool__(self):
        raise KeyError("truth")


class LikeFuture:
    """A future-like whose every part can be replaced."""

    _asyncio_future_blocking = True

    def __init__(self, loop, **changes):
        self.get_loop = lambda: loop
        self.add_done_callback = lambda callback, *, context=None: None
        self.__dict__.update(changes)

    def __repr__(self):
        return "<LikeFuture>"


def fails(*args, **kwargs):
    raise ZeroDivisionError("called")


def without(name):
    """Return a maker of future-likes that miss a part."""

    def make(loop):
        like = LikeFuture(loop)
        del like.__dict__[name]
        return like

    return make


YIELDS = {
    "number": lambda loop: 1,
    "text": lambda loop: "text",
    "tuple": lambda loop: (1, 2),
    "bad repr": lambda loop: BadRepr(),
    "generator": lambda loop: (n for n in ()),
    "coroutine": lambda loop: types.coroutine(lambda: (yield))(),
    "exception": lambda loop: ValueError("yielded"),
    "class": lambda loop: ValueError,
    "future": lambda loop: loop.create_future(),
    "done future": lambda loop: done_future(loop),
    "handle": lambda loop: loop.call_soon(print, "", end=""),
    "bad flag": lambda loop: BadFlag(),
    "flag none": lambda loop: LikeFuture(loop, _asyncio_future_blocking=None),
    "flag false": lambda loop: LikeFuture(loop, _asyncio_future_blocking=False),
    "flag zero": lambda loop: LikeFuture(loop, _asyncio_future_blocking=0),
    "flag text": lambda loop: LikeFuture(loop, _asyncio_future_blocking="yes"),
    "flag fails": lambda loop: LikeFuture(loop, _asyncio_future_blocking=BadTruth()),
    "like": lambda loop: LikeFuture(loop),
    "no get_loop": without("get_loop"),
    "loop attribute": lambda loop: with_loop_attribute(loop),
    "get_loop fails": lambda loop: LikeFuture(loop, get_loop=fails),
    "no loop": lambda loop: LikeFuture(loop, get_loop=lambda: None),
    "no add": without("add_done_callback"),
    "add fails": lambda loop: LikeFuture(loop, add_done_callback=fails),
    "slots": lambda loop: frozen_flag(loop),
    "concurrent": lambda loop: concurrent.futures.Future(),
    "uninitialised": lambda loop: type(loop.create_future()).__new__(type(loop.create_future())),
    "uninitialised stock": lambda loop: asyncio.Future.__new__(asyncio.Future),
}


def done_future(loop):
    future = loop.create_future()
    future.set_result(1)
    return future


def with_loop_attribute(loop):
    like = without("get_loop")(loop)
    like._loop = loop
    return like


def frozen_flag(loop):
    class Frozen(LikeFuture):
        _asyncio_future_blocking = property(lambda self: True)

    return Frozen(loop)


@pytest.mark.parametrize("kind", YIELDS)
@pytest.mark.parametrize("cancel", [False, True])
def test_a_wrong_yield_is_answered_in_asyncios_words(same_outcome, kind, cancel):
    async def main(value, notes):
        if cancel:
            asyncio.current_task().cancel()
        for _ in range(2):
            try:
                notes.append(await Yields(value))
            except BaseException as error:
                if isinstance(error, GeneratorExit):
                    raise
                notes.append(line_of(error))

    def act(loop):
        reports, notes = heard(loop), []
        value = YIELDS[kind](loop)
        task = loop.create_task(main(value, notes), name="it")
        left = run(loop, 4)
        said = caught(lambda: state(task)) if kind != "bad repr" else task.done()  # noqa: F821
        task.cancel()
        left += run(loop, 4)
        said = said, task.done()
        del task
        gc.collect()
        return clean(repr(notes)), left, said, reports

    same_outcome(act)


def test_a_future_of_another_loop_is_refused_in_asyncios_words(same_outcome, new_loop, new_stock):
    def act(loop):
        async def main(future):
            try:
                await future
            except RuntimeError as error:
                return clean(error)

        found = []
        for make in (new_loop, new_stock):
            other = make()
            classes = asyncio.Future, asyncio.futures._PyFuture, kinds_of(loop)[1]
            for future in (other.create_future(), *(cls(loop=other) for cls in classes)):
                task = loop.create_task(main(future), name="it")
                run(loop, 3)
                found.append(task.result())
                assert not future.done()
        return found

    same_outcome(act)


def test_a_task_that_awaits_itself_is_told_so(same_outcome):
    async def main():
        try:
            await asyncio.current_task()
        except RuntimeError as error:
            return clean(error)

    same_outcome(lambda loop: loop.run_until_complete(loop.create_task(main(), name="it")))


def test_a_coroutine_can_not_run_twice(same_outcome):
    def act(loop):
        reports = heard(loop)

        async def slow():
            await asyncio.sleep(0)
            return "slow"

        async def reenter():
            coro = tasks[0].get_coro()
            return caught(coro.send, None), caught(coro.throw, ValueError("x")), caught(coro.close)

        tasks = []
        tasks.append(loop.create_task(reenter(), name="a"))
        coro = slow()
        tasks += [loop.create_task(coro, name=name) for name in "bc"]
        done = slow()
        run(loop, 1)
        tasks.append(loop.create_task(done, name="d"))
        run(loop, 3)
        tasks.append(loop.create_task(done, name="e"))
        closed = slow()
        closed.close()
        tasks.append(loop.create_task(closed, name="f"))
        run(loop, 3)
        return [state(task) for task in tasks], reports

    same_outcome(act)


class Walker(collections.abc.Coroutine):
    """A coroutine that is written as a class."""

    def __init__(self, stop):
        self.calls = []
        self.stop = stop

    def send(self, value):
        self.calls.append(("send", value))
        if len(self.calls) > 2:
            raise self.stop
        return None

    def throw(self, *args):
        self.calls.append(("throw", len(args), clean(repr(args[0]))))
        raise self.stop

    def close(self):
        self.calls.append("close")

    def __await__(self):
        return self


@pytest.mark.parametrize(
    "stop",
    [
        StopIteration("end"),
        StopIteration(),
        StopIteration((1, 2)),
        StopAsyncIteration("a"),
        ValueError("v"),
        asyncio.CancelledError("c"),
        GeneratorExit("g"),
        KeyboardInterrupt("k"),
        SystemExit(4),
    ],
)
@pytest.mark.parametrize("cancel", [False, True])
def test_a_coroutine_of_another_kind_is_driven_as_by_asyncio(same_outcome, stop, cancel):
    def act(loop):
        reports, walker = heard(loop), Walker(stop)
        task = loop.create_task(walker, name="it")
        if cancel:
            run(loop)
            task.cancel("why")
        left = run(loop, 5)
        said = state(task)
        del task
        gc.collect()
        return walker.calls, left, said, reports

    same_outcome(act)


@types.coroutine
def old_style(notes):
    notes.append((yield))
    try:
        yield
    except asyncio.CancelledError as error:
        notes.append(repr(error))
    return "old"


def test_generators_serve_as_coroutines_where_asyncio_lets_them(same_outcome):
    def act(loop):
        async def agen():
            yield 1

        notes, found = [], []
        task = loop.create_task(wrap(old_style(notes)), name="it")
        run(loop, 2)
        task.cancel("why")
        run(loop, 3)
        found.append(state(task))
        walker = agen()
        for wrong in (
            (n for n in ()),
            old_style(notes),
            agen(),
            walker.asend(None),
            loop.create_future(),
            5,
            None,
            print,
            by_turns,
        ):
            said = caught(loop.create_task, wrong)
            if isinstance(said, asyncio.Task):
                run(loop, 4)
                said = state(said)
            found.append(clean(re.sub(r" at 0x.*", "", str(said))))
        return notes, found

    async def wrap(awaitable):
        return await awaitable

    same_outcome(act)


# ---- exceptions out of a step ----


class Odd(BaseException):
    pass


@pytest.mark.parametrize(
    "make",
    [
        lambda: ValueError("v"),
        lambda: Odd("o"),
        lambda: KeyboardInterrupt("k"),
        lambda: SystemExit(3),
        lambda: GeneratorExit("g"),
        lambda: StopIteration("s"),
        lambda: StopAsyncIteration("a"),
        lambda: asyncio.CancelledError("c"),
        lambda: asyncio.CancelledError(),
        lambda: type("Sub", (asyncio.CancelledError,), {})("sub"),
        lambda: type("Both", (KeyboardInterrupt, ValueError), {})("both"),
        lambda: BaseExceptionGroup("g", [KeyboardInterrupt()]),
    ],
)
def test_an_exception_ends_task_and_loop_as_on_asyncio(same_outcome, make):
    def act(loop):
        reports, notes = heard(loop), []

        async def main():
            await asyncio.sleep(0)
            raise make()

        async def waits():
            try:
                return await task  # noqa: F821
            except BaseException as error:
                notes.append(line_of(error))
                raise

        task = loop.create_task(main(), name="it")
        task.add_done_callback(lambda task: notes.append(clean(repr(task))))
        other = loop.create_task(waits(), name="other")
        loop.call_soon(notes.append, "behind")
        left = run(loop, 6)
        said = state(task), state(other), notes[:]
        del task, other
        gc.collect()
        return left, said, reports

    same_outcome(act)


def test_what_was_ready_behind_a_keyboard_interrupt_runs_in_the_next_run(same_outcome):
    def act(loop):
        notes = []

        async def bad():
            raise KeyboardInterrupt

        async def good():
            notes.append("good")

        tasks = [loop.create_task(bad()), loop.create_task(good())]
        loop.call_soon(notes.append, "soon")
        said = caught(loop.run_forever), notes[:]
        run(loop)
        tasks[0].exception()
        return said, notes

    same_outcome(act)


def test_a_callback_that_fails_or_leaves_does_not_keep_others_from_running(same_outcome):
    def act(loop):
        reports, notes = heard(loop), []

        async def main():
            return 1

        def raises(error):
            def callback(task):
                notes.append(type(error).__name__)
                raise error

            return callback

        task = loop.create_task(main(), name="it")
        for error in (ValueError("v"), KeyboardInterrupt("k"), Odd("o"), SystemExit(2)):
            task.add_done_callback(raises(error))
        task.add_done_callback(notes.append)
        left = run(loop, 6)
        return left, [clean(repr(note)) for note in notes], reports

    same_outcome(act)


def test_destructors_that_fail_or_work_on_the_task_do_no_harm(same_outcome, monkeypatch):
    def act(loop):
        unraisable, reports = [], heard(loop)
        monkeypatch.setattr(sys, "unraisablehook", lambda u: unraisable.append(repr(u.exc_value)))

        class Wild:
            def __init__(self, action):
                self.action = action

            def __repr__(self):
                return "<Wild>"

            def __del__(self):
                self.action()
                raise ValueError("from a destructor")

        async def main(first, last):
            del first
            await asyncio.sleep(0)
            del last
            return Wild(lambda: notes.append("result"))

        notes, tasks = [], []
        for action in (
            lambda: tasks[0].cancel(),
            lambda: tasks[0].add_done_callback(notes.append),
            lambda: notes.append(repr(asyncio.current_task(loop) is tasks[0])),
            lambda: loop.call_soon(notes.append, "soon"),
            lambda: tasks.clear(),
            gc.collect,
        ):
            tasks[:] = [loop.create_task(main(Wild(action), Wild(action)), name="it")]
            run(loop, 4)
            notes.append([state(task)[:4] for task in tasks])
        said = clean(repr(notes))
        tasks.clear()
        notes.clear()
        gc.collect()
        return said, sorted(unraisable), reports

    same_outcome(act)


# ---- subclasses ----


def test_a_subclass_sees_the_calls_that_it_sees_on_asyncio(same_outcome):
    def act(loop):
        notes = []
        task_class, _ = kinds_of(loop)

        def noting(name):
            inherited = getattr(task_class, name)

            def method(self, *args, **kwargs):
                notes.append((name, len(args), sorted(kwargs)))
                return inherited(self, *args, **kwargs)

            return method

        names = [
            *("cancel", "uncancel", "cancelling", "add_done_callback", "remove_done_callback"),
            *("result", "exception", "done", "cancelled", "__await__", "__iter__", "__repr__"),
            *("get_loop", "get_coro", "get_name", "set_name", "get_stack", "__hash__", "__eq__"),
            *("_make_cancelled_error", "__del__", "set_result", "set_exception"),
        ]
        own = {name: noting(name) for name in names if hasattr(task_class, name)}
        for name in ("_step", "__step", "_wakeup", "__wakeup", "task_step", "task_wakeup"):
            own[name] = fails
        noted = type("Noted", (task_class,), own)

        async def inner(end):
            await asyncio.sleep(0)
            if end == "raise":
                raise ValueError("x")
            if end == "wait":
                await loop.create_future()
            return "inner"

        async def outer(task):
            with contextlib.suppress(ValueError, asyncio.CancelledError):
                return await task

        for end in ("return", "raise", "wait"):
            task = noted(inner(end), loop=loop, name="in")
            run(loop, 1)
            other = loop.create_task(outer(task), name="out")
            gathered = asyncio.gather(task, return_exceptions=True)
            run(loop, 3)
            other.cancel()
            run(loop, 4)
            gathered.cancel()
            notes.append(end)
            del task, other, gathered
            gc.collect()
        return notes

    same_outcome(act)


@pytest.mark.parametrize("name", ["cancel", "result", "add_done_callback", "done", "get_loop"])
@pytest.mark.parametrize("base", [0, 1])
def test_a_subclass_whose_methods_fail_fails_as_on_asyncio(same_outcome, name, base):
    def act(loop):
        reports = heard(loop)
        cls = kinds_of(loop)[base]
        bad = type("Bad", (cls,), {name: fails})

        async def inner():
            await asyncio.sleep(0)
            return 1

        async def outer(awaited):
            return await awaited

        awaited = bad(inner(), loop=loop, name="in") if base == 0 else bad(loop=loop)
        task = loop.create_task(outer(awaited), name="out")
        run(loop, 2)
        said = caught(task.cancel)
        if base == 1:
            caught(awaited.set_result, 1)
        run(loop, 4)
        said = said, task.done() and state(task), reports[:]
        del task
        return said

    same_outcome(act)


@pytest.mark.parametrize("name", ["__hash__", "__eq__", "__repr__", "__bool__", "__len__"])
def test_special_methods_that_fail_fail_as_on_asyncio(same_outcome, name):
    def act(loop):
        reports = heard(loop)
        task_class, future_class = kinds_of(loop)
        own = {name: fails}
        if name == "__eq__":
            own["__hash__"] = object.__hash__
        bad_task = type("BadTask", (task_class,), own)
        bad_future = type("BadFuture", (future_class,), own)

        async def wait(future):
            return await future

        async def ask():
            return caught(asyncio.current_task) is not None, caught(asyncio.all_tasks) is not None

        future = bad_future(loop=loop)
        tasks = [
            caught(bad_task, wait(future), loop=loop, name="bad"),
            caught(bad_task, ask(), loop=loop, name="bad"),
            loop.create_task(wait(future), name="good"),
        ]
        run(loop, 2)
        future.set_result(5)
        run(loop, 3)
        said = [caught(task.result) for task in tasks if isinstance(task, asyncio.Task)]
        said.append([caught(asyncio.wait_for, task, 1) and 1 for task in tasks])
        tasks.clear()
        gc.collect()  # asyncio's handles end in cycles: what they keep has its say now
        return said, reports

    with_warnings = pytest.warns(RuntimeWarning) if name == "" else contextlib.nullcontext()
    with with_warnings:
        same_outcome(act)


def test_tasks_made_by_hand_with_odd_arguments_are_asyncios(same_outcome, new_loop):
    def act(loop):
        task_class, _ = kinds_of(loop)
        heard(loop)
        elsewhere = new_loop()

        def coro():
            made.append(by_turns(None, None))
            return made[-1]

        made, found = [], []
        closed = new_loop()
        closed.close()
        for attempt in (
            lambda: task_class(),
            lambda: task_class(coro()),
            lambda: task_class(coro(), loop),
            lambda: task_class(coro(), loop=None),
            lambda: task_class(coro(), loop=5),
            lambda: task_class(coro(), loop=closed),
            lambda: task_class(5, loop=loop),
            lambda: task_class(None, loop=loop),
            lambda: task_class(coro(), loop=loop, name=5),
            lambda: task_class(coro(), loop=loop, name=BadRepr()),
            lambda: task_class(coro(), loop=loop, name=""),
            lambda: task_class(coro(), loop=loop, context=None),
            lambda: task_class(coro(), loop=loop, context=5),
            lambda: task_class(coro(), loop=loop, nonsense=5),
            lambda: task_class(coro=coro(), loop=loop, name="keyword"),
            lambda: task_class(coro(), loop=elsewhere, name="elsewhere"),
            lambda: task_class.__new__(task_class),
            lambda: loop.create_task(),
            lambda: loop.create_task(coro(), 5),
            lambda: loop.create_task(coro(), name=BadRepr()),
            lambda: loop.create_task(coro(), context=5),
            lambda: loop.create_task(coro(), context=contextvars.copy_context()),
            lambda: loop.create_task(coro=coro(), name="keyword"),
            lambda: loop.create_task(coro(), nonsense=5),
            lambda: closed.create_task(coro()),
        ):
            said = caught(attempt)
            if isinstance(said, asyncio.Future):
                left = run(loop, 1), clean(caught(said.get_name)), clean(caught(repr, said))
                said = left, caught(said.cancel)
                run(loop, 5)
            found.append(said)
        run(elsewhere, 3)
        for one in made:
            one.close()
        return found

    same_outcome(act)


def test_init_again_on_a_task_that_is_done_starts_it_anew(same_outcome):
    def act(loop):
        async def one(value):
            await asyncio.sleep(0)
            return value

        task = loop.create_task(one(1), name="first")
        run(loop, 3)
        found = [state(task)]
        task.__init__(one(2), loop=loop, name="second")
        found.append(task in asyncio.all_tasks(loop))
        run(loop, 3)
        found.append(state(task))
        return found

    same_outcome(act)


# ---- mocked and foreign loops ----


def test_a_mocked_loop_drives_a_task_as_on_asyncio(same_outcome):
    def act(loop):
        task_class, future_class = kinds_of(loop)
        mock = unittest.mock.Mock()
        mock.get_debug.return_value = False
        queue = []

        def call_soon(callback, *args, context=None):
            queue.append((callback, args, context))

        mock.call_soon = call_soon
        notes = []

        async def main():
            await asyncio.sleep(0)
            notes.append(asyncio.current_task(mock) is task)
            notes.append(await future)
            with contextlib.suppress(asyncio.CancelledError):
                await future_class(loop=mock)
            return "end"

        future = future_class(loop=mock)
        task = task_class(main(), loop=mock, name="mocked")
        task.add_done_callback(notes.append)

        def drain():
            asyncio._set_running_loop(mock)
            while queue:
                callback, args, context = queue.pop(0)
                context.run(callback, *args)
            asyncio._set_running_loop(None)

        drain()
        future.set_result("value")
        drain()
        notes.append(task in asyncio.all_tasks(mock))
        task.cancel()
        drain()
        return clean(repr(notes)), state(task)

    same_outcome(act)


def test_tasks_on_a_loop_with_its_own_call_soon_go_through_it(same_outcome, new_loop, make_loop):
    def act(loop):
        notes = []

        class Noting(type(loop)):
            def call_soon(self, callback, *args, context=None):
                name = getattr(callback, "__qualname__", repr(callback))
                notes.append((clean(name), len(args), context is not None))
                return super().call_soon(callback, *args, context=context)

        async def main(future):
            await asyncio.sleep(0)
            await future
            return await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

        noting = make_loop(Noting) if type(loop).__module__ != "asyncio.unix_events" else Noting()
        with contextlib.closing(noting):
            future = noting.create_future()
            noting.call_soon(noting.call_soon, future.set_result, 1)
            noting.run_until_complete(main(future))
        names = [re.sub(r".*(step|wakeup|MethWrapper).*", "Task", note[0]) for note in notes]
        return names, [note[1:] for note in notes]

    same_outcome(act)


def test_a_call_soon_replaced_while_tasks_wait_gets_their_wakeups(same_outcome):
    def act(loop):
        notes = []

        async def main():
            await asyncio.sleep(0)
            await future
            await asyncio.sleep(0)
            return "end"

        future = loop.create_future()
        task = loop.create_task(main(), name="it")
        run(loop, 2)
        inherited = loop.call_soon

        def call_soon(callback, *args, context=None):
            notes.append((len(args), context is not None))
            return inherited(callback, *args, context=context)

        loop.call_soon = call_soon
        future.set_result(1)
        run(loop, 4)
        del loop.call_soon
        return notes, state(task)

    same_outcome(act)


def test_debug_mode_switched_in_the_middle_changes_no_result(same_outcome):
    def act(loop):
        notes = []

        async def main(name):
            for n in range(4):
                await asyncio.sleep(0)
                notes.append((name, n))
                loop.set_debug(n % 2 == 0)
                await futures[n % 2]
            with contextlib.suppress(asyncio.CancelledError):
                await loop.create_future()
            return name

        loop.slow_callback_duration = 100
        futures = [loop.create_future() for _ in range(2)]
        tasks = [loop.create_task(main(name), name=name) for name in "ab"]
        for debug in (True, False, True):
            loop.set_debug(debug)
            tasks.append(loop.create_task(main(f"c{debug}"), name="c"))
            run(loop, 2)
        for future in futures:
            future.set_result(1)
        run(loop, 12)
        notes.append([task.cancel() for task in tasks])
        run(loop, 4)
        loop.set_debug(False)
        return notes, [task.result() for task in tasks]

    same_outcome(act)


# ---- questions about a task ----


def test_stacks_are_asyncios(same_outcome):
    def act(loop):
        async def inner():
            await loop.create_future()

        async def middle():
            await inner()

        async def outer(found):
            me = asyncio.current_task()
            found.append([f.f_code.co_name for f in me.get_stack(limit=1)])
            await middle()

        async def fails_deep():
            await asyncio.sleep(0)
            raise ValueError("deep")

        def told(task, **keywords):
            stream = io.StringIO()
            task.print_stack(file=stream, **keywords)
            return clean(stream.getvalue())

        found = []
        task = loop.create_task(outer(found), name="it")
        found.append([frame.f_code.co_name for frame in task.get_stack()])
        found.append(told(task))
        run(loop, 2)
        for limit in (None, 0, 1, 2, 10):
            found.append([frame.f_code.co_name for frame in task.get_stack(limit=limit)])
            found.append(told(task, limit=limit))
        task.cancel()
        run(loop, 3)
        found += [task.get_stack(), told(task)]
        failed = loop.create_task(fails_deep(), name="failed")
        run(loop, 3)
        for limit in (None, 1, 2):
            found.append([frame.f_code.co_name for frame in failed.get_stack(limit=limit)])
        found.append(told(failed))
        failed.exception()
        return found

    same_outcome(act)


def test_coroutine_and_context_are_the_ones_that_were_given(same_outcome):
    def act(loop):
        context = contextvars.copy_context()
        coro = by_turns(None, None)
        task = loop.create_task(coro, context=context)
        found = [task.get_coro() is coro, getattr(task, "_coro", None) is coro]
        if hasattr(asyncio.Task, "get_context"):
            found.append(task.get_context() is context)
        else:
            found.append("get_context")
        run(loop, 6)
        found += [task.get_coro() is coro, task.done()]
        return found

    same_outcome(act)


@pytest.mark.skipif(
    not hasattr(asyncio.Task, "get_context"), reason="tasks of this Python have no get_context()"
)
def test_get_context_is_the_contexts_copy_without_one_given(same_outcome):
    async def main():
        VARIABLE.set("inside")
        await asyncio.sleep(0)

    def act(loop):
        def make():
            VARIABLE.set("outside")
            return loop.create_task(main())

        task = contextvars.copy_context().run(make)
        found = [task.get_context()[VARIABLE]]
        run(loop)
        found.append(task.get_context()[VARIABLE])
        run(loop, 2)
        return found, VARIABLE.get()

    same_outcome(act)


def test_a_task_runs_all_its_steps_in_the_context_that_was_given(same_outcome):
    def act(loop):
        context = contextvars.Context()
        notes = []

        async def main(name):
            for n in range(3):
                notes.append((name, VARIABLE.get()))
                VARIABLE.set(f"{name}{n}")
                await asyncio.sleep(0)

        first = loop.create_task(main("a"), context=context)
        second = loop.create_task(main("b"), context=context)
        first.add_done_callback(lambda t: notes.append(("cb", VARIABLE.get())), context=context)
        second.add_done_callback(lambda t: notes.append(("cb", VARIABLE.get())))
        run(loop, 6)
        return notes, context[VARIABLE]

    same_outcome(act)


def test_a_step_in_a_context_that_is_entered_already_fails_as_on_asyncio(same_outcome):
    def act(loop):
        reports = heard(loop)
        context = contextvars.copy_context()
        task = loop.create_task(by_turns(None, None), context=context, name="it")
        left = context.run(run, loop, 2)
        said = left, state(task), reports[:]
        task.cancel()
        run(loop, 2)
        said = said, state(task), reports[:]
        del task
        gc.collect()
        return said, reports

    same_outcome(act)


def test_a_done_callback_with_context_none_sees_the_variables_asyncio_shows(same_outcome):
    def act(loop):
        def main():
            notes = []
            future = loop.create_future()
            VARIABLE.set("when added")
            future.add_done_callback(lambda f: notes.append(VARIABLE.get()), context=None)
            future.add_done_callback(lambda f: notes.append(VARIABLE.get()), context=None)
            future.add_done_callback(lambda f: notes.append(VARIABLE.get()))
            shown = [pair[1] is None for pair in future._callbacks]
            VARIABLE.set("when done")
            future.set_result(1)
            VARIABLE.set("when run")
            run(loop)
            return notes, shown

        return contextvars.copy_context().run(main)

    same_outcome(act)


class Text(str):
    pass


class Shown:
    def __init__(self, value):
        self.value = value

    def __str__(self):
        return self.value


@pytest.mark.parametrize(
    "name", ["text", "", 5, 0, None, ("a",), Text("sub"), Shown("shown"), Shown(5), "\ud800", "é"]
)
def test_names_are_what_asyncio_makes_of_them(same_outcome, name):
    def act(loop):
        found = []
        task = None
        with contextlib.suppress(TypeError):
            task = loop.create_task(by_turns(None, None), name=name)
            found.append((clean(task.get_name()), type(task.get_name()).__name__))
        if task is None:
            task = loop.create_task(by_turns(None, None))
        said = caught(task.set_name, name)
        found += [said, clean(task.get_name()), type(task.get_name()).__name__]
        found.append(clean(repr(task)))
        run(loop, 5)
        return found, clean(repr(task))

    with contextlib.ExitStack() as stack:
        if isinstance(name, Shown) and name.value == 5:
            stack.enter_context(pytest.warns(RuntimeWarning, match="never awaited"))
        same_outcome(act)


def test_names_that_nobody_gave_are_numbered_in_the_order_of_birth(same_outcome):
    def act(loop):
        tasks = [loop.create_task(by_turns(None, None)) for _ in range(5)]
        named = loop.create_task(by_turns(None, None), name="named")
        tasks.append(loop.create_task(by_turns(None, None)))
        # Asked for in another order than that of birth.
        numbers = [int(task.get_name().removeprefix("Task-")) for task in reversed(tasks)]
        run(loop, 5)
        again = [int(task.get_name().removeprefix("Task-")) for task in reversed(tasks)]
        return [n - numbers[-1] for n in numbers], numbers == again, named.get_name()

    same_outcome(act)


def test_numbers_go_on_when_debug_mode_comes_and_goes(loop):
    numbers = []

    async def main():
        task = asyncio.current_task()
        numbers.append(int(task.get_name().removeprefix("Task-")))
        for kind in (type(task), type("Derived", (type(task),), {})):
            numbers.append(int(kind(asyncio.sleep(0)).get_name().removeprefix("Task-")))
        await asyncio.sleep(0)

    for debug in (False, True, False, True):
        loop.set_debug(debug)
        loop.run_until_complete(main())
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_name_of_ones_own_takes_no_number_back(same_outcome):
    def act(loop):
        task = loop.create_task(by_turns(None, None))
        task.set_name("changed")
        found = [task.get_name(), clean(repr(task))]
        task.set_name(None)
        found.append(task.get_name())
        run(loop, 5)
        return found

    same_outcome(act)


@pytest.mark.parametrize("action", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("done", [False, True])
def test_tasks_can_not_be_copied_or_pickled(same_outcome, action, done):
    def act(loop):
        task = loop.create_task(by_turns(None, None))
        if done:
            run(loop, 5)
        said = caught(action, task)[0]
        run(loop, 5)
        return said

    assert same_outcome(act) == "TypeError"


def test_weak_references_to_tasks_die_with_them_and_not_with_the_next(loop, turns, collect):
    dead = []
    references = []
    for n in range(50):
        task = loop.create_task(by_turns(None, None), name=str(n))
        references.append(weakref.ref(task, dead.append))
    proxy = weakref.proxy(task)
    assert proxy.get_name() == "49"
    del task
    turns(loop, 6)
    collect()
    assert len(dead) == 50 and not any(reference() for reference in references)
    fresh = [loop.create_task(by_turns(None, None)) for _ in range(50)]
    assert not any(reference() for reference in references)
    assert len(dead) == 50
    with pytest.raises(ReferenceError):
        proxy.get_name()
    turns(loop, 6)
    assert all(task.done() for task in fresh)


# ---- reports ----


def test_lost_tasks_are_reported_in_asyncios_words(same_outcome):
    def act(loop):
        found = []

        def note(loop, context):
            words = {k: clean(repr(v)) for k, v in context.items() if k != "source_traceback"}
            found.append(sorted(words.items()))

        loop.set_exception_handler(note)

        async def waits():
            await loop.create_future()

        async def raises():
            raise ValueError("lost")

        async def interrupted():
            raise KeyboardInterrupt("lost")

        task = loop.create_task(waits(), name="pending")
        run(loop, 2)
        del task
        gc.collect()
        task = loop.create_task(raises(), name="failed")
        run(loop, 2)
        found.append("still there")
        del task
        gc.collect()
        task = loop.create_task(interrupted(), name="interrupted")
        run(loop, 2)
        del task
        gc.collect()
        silent = loop.create_task(waits(), name="silent")
        run(loop, 2)
        silent._log_destroy_pending = False
        del silent
        gc.collect()
        cancelled = loop.create_task(waits(), name="cancelled")
        run(loop, 2)
        cancelled.cancel()
        run(loop, 2)
        del cancelled
        gc.collect()
        asked = loop.create_task(raises(), name="asked")
        run(loop, 2)
        asked.exception()
        del asked
        gc.collect()
        return found

    words = str(same_outcome(act))
    assert "Task was destroyed but it is pending!" in words
    assert words.count("Task exception was never retrieved") == 2


def test_a_report_handler_that_keeps_the_task_keeps_it_alive(loop, collect):
    kept = []
    loop.set_exception_handler(lambda loop, context: kept.append(context.get("task")))

    async def waits():
        await loop.create_future()

    for n in range(3):
        loop.create_task(waits(), name=f"kept {n}")
    run(loop, 2)
    collect()
    assert sorted(task.get_name() for task in kept) == ["kept 0", "kept 1", "kept 2"]
    assert not any(task.done() for task in kept)
    fresh = [loop.create_task(by_turns(None, None)) for _ in range(20)]
    run(loop, 5)
    assert all(task.done() for task in fresh) and not any(task.done() for task in kept)
    kept.clear()
    collect()


def test_a_handler_that_fails_while_a_task_dies_is_logged_as_by_asyncio(same_outcome, caplog):
    def act(loop):
        caplog.clear()
        loop.set_exception_handler(fails)

        async def waits():
            await loop.create_future()

        loop.create_task(waits(), name="lost")
        run(loop, 2)
        gc.collect()
        return [record.getMessage().splitlines()[0] for record in caplog.records]

    assert same_outcome(act) == ["Unhandled error in exception handler"]


def test_pending_tasks_of_a_closed_loop_are_reported_and_freed_as_on_asyncio(same_outcome):
    def act(loop):
        reports = heard(loop)

        async def waits(thing):
            await future  # noqa: F821

        class Thing:
            pass

        thing = Thing()
        alive = weakref.ref(thing)
        future = loop.create_future()
        tasks = [loop.create_task(waits(thing), name=name) for name in "ab"]
        run(loop, 1)
        never = loop.create_task(waits(thing), name="never started")
        del thing
        loop.close()
        found = [
            caught(future.set_result, 1),
            caught(tasks[0].cancel),
            caught(never.cancel),
            [clean(repr(task)) for task in tasks],
            clean(repr(never)),
            caught(loop.create_task, 5),
            sorted(task.get_name() for task in asyncio.all_tasks(loop)),
        ]
        never.get_coro().close()
        del tasks, never, future
        gc.collect()
        return found, alive() is None, sorted(map(str, reports))

    same_outcome(act)


# ---- many and deep ----


def test_a_chain_of_ten_thousand_awaiting_tasks_ends_in_order(loop):
    notes = []

    async def link(n, task):
        if task is not None:
            await task
        if n % 1000 == 0:
            notes.append(n)
        return n

    task = None
    for n in range(10_000):
        task = loop.create_task(link(n, task))
    assert loop.run_until_complete(task) == 9999
    assert notes == list(range(0, 10_000, 1000))


def test_cancelling_a_deep_chain_of_tasks_ends_as_on_asyncio(same_outcome):
    def act(loop):
        async def link(task):
            await task

        depth = 200
        task = loop.create_task(asyncio.sleep(100))
        tasks = [task]
        for _ in range(depth):
            tasks.append(loop.create_task(link(tasks[-1])))
        run(loop, 2)
        tasks[-1].cancel("deep")
        run(loop, 1)
        early = sum(task.done() for task in tasks)
        run(loop, depth + 2)
        return (
            early,
            [task.cancelled() for task in tasks],
            line_of(tasks[-1]._make_cancelled_error()),
        )

    same_outcome(act)


def test_a_chain_of_tasks_too_deep_to_cancel_raises_or_works_but_does_not_crash(child):
    out = child.ok(
        """
        async def link(task):
            await task

        loop = new_loop()
        task = loop.create_task(asyncio.sleep(100))
        for _ in range(50_000):
            task = loop.create_task(link(task))
        loop.call_soon(loop.call_soon, loop.stop)
        loop.run_forever()
        try:
            task.cancel()
        except RecursionError:
            pass
        print("alive")
        import os, sys
        sys.stdout.flush()
        os._exit(0)
        """
    )
    assert out == "alive\n"


def test_deep_coroutines_and_recursion_errors_end_as_on_asyncio(same_outcome):
    def act(loop):
        async def deep(n):
            if n == 0:
                await asyncio.sleep(0)
                return "bottom"
            return await deep(n - 1)

        async def endless():
            return await endless()

        async def main():
            try:
                await endless()
            except RecursionError:
                return "recursion", await deep(100)

        return loop.run_until_complete(main())

    assert same_outcome(act) == ("recursion", "bottom")


def test_a_long_chain_of_done_tasks_is_freed_without_a_crash(child):
    out = child.ok(
        """
        class Node:
            pass

        async def keep(previous):
            return previous

        loop = new_loop()
        task = None
        for _ in range(60_000):
            task = loop.create_task(keep(task))
            loop.call_soon(loop.stop)
            loop.run_forever()
        del task
        print("alive")
        loop.close()
        """
    )
    assert out == "alive\n"


def test_a_long_chain_of_done_futures_is_freed_without_a_crash(child):
    out = child.ok(
        """
        loop = new_loop()
        last = None
        for _ in range(150_000):
            future = loop.create_future()
            future.set_result(last)
            last = future
        del future
        del last
        print("alive")
        loop.close()
        """
    )
    assert out == "alive\n"


# ---- memory that is used again ----


def test_a_task_in_the_place_of_a_dead_one_has_nothing_of_it(loop, turns):
    async def messy():
        asyncio.current_task().mark = "mark"
        await asyncio.sleep(0)
        try:
            await loop.create_future()
        finally:
            asyncio.current_task().cancel("once more")

    async def tidy():
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    for _ in range(3):
        old = [loop.create_task(messy(), name=f"old {n}") for n in range(64)]
        turns(loop, 2)
        for task in old:
            task.cancel("why")
            task.cancel("why")
            task.add_done_callback(lambda task: None)
        turns(loop, 3)
        assert all(task.cancelled() for task in old)
        addresses = {id(task) for task in old}
        del old, task
        new = [loop.create_task(tidy()) for _ in range(64)]
        assert addresses & {id(task) for task in new}, "nothing is used again; the test is void"
        for task in new:
            assert task.get_name().startswith("Task-") and not hasattr(task, "mark")
            assert not task._must_cancel and task.cancelling() == 0
            assert task._callbacks is None and task._cancel_message is None
            assert task._fut_waiter is None and not task.done() and task._log_destroy_pending
        turns(loop, 3)
        assert [task.result() for task in new] == [0] * 64
        del new, task


def test_a_future_in_the_place_of_a_dead_one_has_nothing_of_it(loop, turns):
    for _ in range(3):
        old = [loop.create_future() for _ in range(64)]
        for n, future in enumerate(old):
            future.mark = n
            future.add_done_callback(lambda future: None)
            future.add_done_callback(lambda future: None)
            if n % 3 == 0:
                future.set_result(n)
            elif n % 3 == 1:
                future.cancel("why")
            else:
                future.set_exception(ValueError(n))
                future.exception()
        turns(loop)
        addresses = {id(future) for future in old}
        del old, future
        new = [loop.create_future() for _ in range(64)]
        assert addresses & {id(future) for future in new}, "nothing is used again"
        for future in new:
            assert not future.done() and not hasattr(future, "mark")
            assert future._callbacks is None and future._cancel_message is None
            assert future._result is None and future._exception is None
            assert not future._log_traceback and not future._asyncio_future_blocking


def test_callbacks_and_wakeups_kept_after_their_task_act_on_nothing_new(same_outcome):
    def act(loop):
        reports, kept, found = heard(loop), [], []

        async def waits(future):
            return await future

        for n in range(20):
            future = loop.create_future()
            task = loop.create_task(waits(future), name=f"old {n}")
            run(loop, 2)
            [(wakeup, context)] = future._callbacks
            kept.append((wakeup, future))
            future.set_result(n)
            run(loop, 2)
            assert task.result() == n
            del task, future
        fresh_futures = [loop.create_future() for _ in range(20)]
        fresh = [loop.create_task(waits(future), name="new") for future in fresh_futures]
        run(loop, 2)
        for wakeup, future in kept:
            found.append(caught(wakeup, future))
        run(loop, 2)
        found.append([task.done() for task in fresh])
        for future in fresh_futures:
            future.set_result("fresh")
        run(loop, 2)
        return found, [task.result() for task in fresh], reports

    same_outcome(act)


# ---- tasks and futures of other kinds ----

MAKERS = {
    "own": lambda loop, coro: loop.create_task(coro, name="task"),
    "asyncio": lambda loop, coro: asyncio.Task(coro, loop=loop, name="task"),
    "python": lambda loop, coro: asyncio.tasks._PyTask(coro, loop=loop, name="task"),
    "derived": lambda loop, coro: type("Mine", (kinds_of(loop)[0],), {})(
        coro, loop=loop, name="task"
    ),
}
FUTURES = {
    "own": lambda loop: loop.create_future(),
    "asyncio": lambda loop: asyncio.Future(loop=loop),
    "python": lambda loop: asyncio.futures._PyFuture(loop=loop),
    "derived": lambda loop: type("Mine", (kinds_of(loop)[1],), {})(loop=loop),
    "own task": lambda loop: loop.create_task(asyncio.sleep(0, "slept")),
    "python task": lambda loop: asyncio.tasks._PyTask(asyncio.sleep(0, "slept"), loop=loop),
    "asyncio task": lambda loop: asyncio.Task(asyncio.sleep(0, "slept"), loop=loop),
}


@pytest.mark.parametrize("future_kind", FUTURES)
@pytest.mark.parametrize("task_kind", MAKERS)
def test_every_kind_of_task_awaits_every_kind_of_future(same_outcome, task_kind, future_kind):
    def act(loop):
        reports, notes = heard(loop), []

        async def main(future):
            notes.append(asyncio.current_task() is not None)
            try:
                value = await future
            except BaseException as error:
                if isinstance(error, GeneratorExit):
                    raise
                notes.append(line_of(error))
                raise
            notes.append(value)
            notes.append(await asyncio.gather(future, future))
            return value

        found = []
        for how in ("result", "exception", "cancel future", "cancel task", "nothing"):
            future = FUTURES[future_kind](loop)
            task = MAKERS[task_kind](loop, main(future))
            shown = clean(repr(task))
            run(loop, 1)
            notes.append(clean(repr(getattr(task, "_fut_waiter", None))))
            if "task" not in future_kind and how == "result":
                future.set_result("set")
            elif "task" not in future_kind and how == "exception":
                future.set_exception(KeyError("set"))
            elif how == "cancel future":
                future.cancel("future's")
            elif how == "cancel task":
                task.cancel("task's")
            run(loop, 6)
            task.cancel()
            run(loop, 3)
            found.append((shown, task.done(), caught(task.result), clean(repr(task))))
            if future.done() and not future.cancelled():
                future.exception()
        del task, future
        gc.collect()
        return found, notes, reports

    same_outcome(act)


def test_futures_of_threads_and_of_the_loop_work_on_each_other(same_outcome):
    def act(loop):
        found = []

        async def slow(value):
            await asyncio.sleep(0)
            if value == "raise":
                raise ValueError("slow")
            return value

        async def main():
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                found.append(await asyncio.wrap_future(pool.submit(lambda: 5)))
                found.append(await loop.run_in_executor(pool, lambda: 6))
                future = pool.submit(
                    lambda: asyncio.run_coroutine_threadsafe(slow("threads"), loop).result(10)
                )
                found.append(await asyncio.wrap_future(future))
                future = pool.submit(
                    lambda: caught(asyncio.run_coroutine_threadsafe(slow("raise"), loop).result, 10)
                )
                found.append(await asyncio.wrap_future(future))
            plain = concurrent.futures.Future()
            wrapped = asyncio.wrap_future(plain)
            wrapped.cancel()
            await asyncio.sleep(0)
            found.append((plain.cancelled(), wrapped.cancelled()))
            with contextlib.suppress(TypeError):
                await concurrent.futures.Future()
            plain = concurrent.futures.Future()
            plain.cancel()
            try:
                await asyncio.wrap_future(plain)
            except asyncio.CancelledError as error:
                found.append(repr(error))
            return found

        return loop.run_until_complete(main())

    same_outcome(act)


def test_the_base_types_methods_work_on_our_objects_and_do_what_ours_do(same_outcome):
    def act(loop):
        notes, found = [], []

        async def waits():
            return await future

        for method in ("set_result", "set_exception", "cancel"):
            future = loop.create_future()
            task = loop.create_task(waits(), name="it")
            run(loop, 2)
            asyncio.Future.add_done_callback(future, lambda f: notes.append("base"))
            future.add_done_callback(lambda f: notes.append("own"))
            asyncio.Future.add_done_callback(
                task, lambda t: notes.append("done"), context=contextvars.copy_context()
            )
            found.append(clean(repr(future)))
            argument = [] if method == "cancel" else [KeyError("k")]
            getattr(asyncio.Future, method)(future, *argument)
            run(loop, 4)
            found.append(state(task))
            found.append(clean(repr(caught(asyncio.Task.result, task))))
            found.append(asyncio.Future.remove_done_callback(task, print))
        return found, notes

    same_outcome(act)


def test_a_coroutine_that_a_task_has_not_begun_is_closed_with_it(same_outcome, recwarn):
    def act(loop):
        heard(loop)
        recwarn.clear()
        task = loop.create_task(by_turns(None, None))
        coro = task.get_coro()
        task.cancel()
        run(loop, 2)
        return state(task), caught(coro.send, None), [str(w.message) for w in recwarn.list]

    same_outcome(act)


def test_steps_called_by_hand_are_refused_as_by_asyncio(same_outcome):
    def act(loop):
        reports, notes = heard(loop), []

        async def waits(future):
            notes.append(await future)

        async def calls(wakeup, future):
            notes.append(caught(wakeup, future))
            notes.append(asyncio.current_task().get_name())

        future = loop.create_future()
        task = loop.create_task(waits(future), name="waits")
        run(loop, 2)
        [(wakeup, context)] = future._callbacks
        caller = loop.create_task(calls(wakeup, future), name="calls")
        run(loop, 2)
        notes.append(caught(wakeup, future))
        run(loop, 2)
        future.cancel()
        run(loop, 2)
        notes.append([caught(wakeup, wrong) for wrong in (None, 5, future)])
        notes.append([caught(wakeup), caught(wakeup, 1, 2)])
        return clean(repr(notes)), state(task), state(caller), reports

    same_outcome(act)


def test_partial_and_bound_callbacks_of_tasks_show_as_on_asyncio(same_outcome):
    def act(loop):
        class Thing:
            def method(self, task):
                pass

        task = loop.create_task(by_turns(None, None), name="it")
        task.add_done_callback(functools.partial(print, end=""))
        task.add_done_callback(Thing().method)
        task.add_done_callback(print)
        shown = clean(repr(task))
        task.remove_done_callback(print)
        shown = shown, clean(repr(task))
        task.cancel()
        return shown, clean(repr(task))

    same_outcome(act)


@pytest.mark.ours("that is what the types of casyncio are called")
def test_a_task_of_ours_is_a_future_of_ours():
    import casyncio

    assert issubclass(casyncio.Task, casyncio.Future) == issubclass(asyncio.Task, asyncio.Future)
    assert issubclass(casyncio.Task, asyncio.Task)
