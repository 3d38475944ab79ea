"""Future: states, callbacks, waiters, what awaiting runs on, subclasses, reports."""

import asyncio
import contextvars
import copy
import gc
import inspect
import pickle
import re
import sys
import traceback
import types
import warnings
import weakref

import pytest


def clean(text):
    """Return text without addresses, and without how CPython words a wrong number of arguments."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"\b_?(asyncio|casyncio(\._native)?)\.(Future\w*|Task)", r"\3", text)
    return re.sub(r"[\w.]+\(\) (takes|got|missing|expected) .*argument.*", "arguments", text)


def caught(action, *args, **kwargs):
    """Return what the call returns, or type and text of what it raises."""
    try:
        return action(*args, **kwargs)
    except BaseException as error:
        return type(error).__name__, clean(str(error))


@pytest.fixture
def future_class(loop):
    return type(loop.create_future())


# ---- states ----

PUT = {
    "pending": lambda future: None,
    "result": lambda future: future.set_result(42),
    "none": lambda future: future.set_result(None),
    "exception": lambda future: future.set_exception(ValueError("bad")),
    "class": lambda future: future.set_exception(ValueError),
    "cancelled": lambda future: future.cancel(),
    "message": lambda future: future.cancel("why"),
    "keyword": lambda future: future.cancel(msg="why"),
    "no string": lambda future: future.cancel(7),
}


@pytest.mark.parametrize("state", PUT)
def test_every_question_has_asyncios_answer_in_every_state(same_outcome, state):
    def ask(loop):
        future = loop.create_future()
        PUT[state](future)
        return [
            caught(question)
            for question in (
                future.done,
                future.cancelled,
                future.result,
                lambda: repr(future.exception()),
                lambda: repr(future),
                lambda: future._state,
                lambda: future._result,
                lambda: repr(future._exception),
                lambda: future._log_traceback,
                lambda: future._callbacks,
                lambda: future._cancel_message,
                lambda: future._asyncio_future_blocking,
                lambda: future._source_traceback,
                lambda: future._loop is loop,
                lambda: future.get_loop() is loop,
                lambda: repr(future._make_cancelled_error()),
            )
        ]

    same_outcome(ask)


@pytest.mark.parametrize("state", PUT)
@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.set_result(1),
        lambda f: f.set_exception(KeyError("k")),
        lambda f: f.cancel(),
        lambda f: f.cancel("again"),
        lambda f: f.cancel(1, 2),
        lambda f: f.cancel(message=1),
        lambda f: f.set_result(),
        lambda f: f.set_result(result=1),
        lambda f: f.set_result(1, 2),
        lambda f: f.set_exception(7),
        lambda f: f.set_exception("text"),
        lambda f: f.set_exception(int),
        lambda f: f.set_exception(None),
        lambda f: f.set_exception(KeyboardInterrupt),
        lambda f: f.set_exception(asyncio.CancelledError("c")),
    ],
)
def test_every_change_does_in_every_state_what_asyncio_does(same_outcome, state, change):
    def act(loop):
        future = loop.create_future()
        PUT[state](future)
        said = caught(change, future)
        after = clean(repr(future)), future.done(), future.cancelled()
        return said, after, caught(future.result), repr(caught(future.exception))

    same_outcome(act)


@pytest.mark.parametrize(
    "error",
    [StopIteration, StopIteration("x"), StopIteration(7), type("Sub", (StopIteration,), {})("y")],
)
def test_stop_iteration_into_a_future_is_what_this_python_makes_of_it(same_outcome, error):
    def act(loop):
        future = loop.create_future()
        said = caught(future.set_exception, error)
        exception = future.exception() if future.done() else None
        parts = exception, getattr(exception, "__cause__", None)
        return said, [repr(part) for part in parts], getattr(exception, "__context__", 0) is error

    same_outcome(act)


def test_the_result_is_the_very_object(loop):
    value = object()
    future = loop.create_future()
    future.set_result(value)
    assert future.result() is value and future.result() is value


def test_the_exception_is_the_very_object_and_does_not_grow(loop):
    def depth():
        try:
            future.result()
        except ValueError as error:
            assert error is original
            return len(traceback.extract_tb(error.__traceback__))

    original = ValueError("x")
    future = loop.create_future()
    future.set_exception(original)
    assert future.exception() is original
    assert [depth() for _ in range(3)] == [1, 1, 1]


def test_tracebacks_of_results_are_asyncios(same_outcome):
    def act(loop):
        future = loop.create_future()
        try:
            raise ValueError("x")
        except ValueError as error:
            future.set_exception(error)
        found = []

        async def wait():
            await future

        for _ in range(3):
            try:
                future.result()
            except ValueError as error:
                found.append([frame.name for frame in traceback.extract_tb(error.__traceback__)])
            try:
                loop.run_until_complete(wait())
            except ValueError as error:
                names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                found.append(names)
        return found

    same_outcome(act)


def test_cancelled_errors_are_new_ones_or_the_kept_one_as_in_asyncio(same_outcome):
    def act(loop):
        future = loop.create_future()
        future.cancel("why")
        kept = []
        for _ in range(3):
            try:
                future.result()
            except asyncio.CancelledError as error:
                kept.append(error)
        made = future._make_cancelled_error()
        same = [a is b for a in kept for b in kept]
        return same, [e.args for e in kept], made.args, [repr(e.__context__) for e in kept]

    same_outcome(act)


def test_the_message_can_be_read_and_replaced(same_outcome):
    def act(loop):
        future = loop.create_future()
        future._cancel_message = "set before"
        before = future._cancel_message
        future.cancel()
        middle = future._cancel_message
        future._cancel_message = "set after"
        return before, middle, future._cancel_message, caught(future.result)

    same_outcome(act)


@pytest.mark.parametrize(
    "make",
    [
        lambda cls, loop: cls(),
        lambda cls, loop: cls(loop),
        lambda cls, loop: cls(loop=None),
        lambda cls, loop: cls(loop=5),
        lambda cls, loop: cls(loop=loop, x=1),
        lambda cls, loop: cls(loop=loop),
        lambda cls, loop: cls.__new__(cls),
        lambda cls, loop: cls.__new__(cls).result(),
        lambda cls, loop: cls.__new__(cls).set_result(1),
        lambda cls, loop: cls.__new__(cls).set_exception(ValueError()),
        lambda cls, loop: cls.__new__(cls).add_done_callback(print),
        lambda cls, loop: cls.__new__(cls).remove_done_callback(print),
        lambda cls, loop: cls.__new__(cls).cancel(),
        lambda cls, loop: cls.__new__(cls).get_loop(),
        lambda cls, loop: cls.__new__(cls).done(),
        lambda cls, loop: cls.__new__(cls)._callbacks,
        lambda cls, loop: cls.__new__(cls).__await__(),
        lambda cls, loop: iter(cls.__new__(cls)),
        lambda cls, loop: cls(loop=loop).get_loop() is loop,
        lambda cls, loop: cls[int],
        lambda cls, loop: cls.__name__,
        lambda cls, loop: issubclass(cls, asyncio.Future),
        lambda cls, loop: hash(cls(loop=loop)) is not None,
        lambda cls, loop: cls(loop=loop) == cls(loop=loop),
        lambda cls, loop: setattr(cls, "x", 1),
        lambda cls, loop: setattr(cls(loop=loop), "_state", 1),
        lambda cls, loop: setattr(cls(loop=loop), "_log_traceback", True),
        lambda cls, loop: setattr(cls(loop=loop), "_log_traceback", False),
        lambda cls, loop: delattr(cls(loop=loop), "_asyncio_future_blocking"),
        lambda cls, loop: delattr(cls(loop=loop), "_cancel_message"),
    ],
)
def test_making_futures_and_misusing_the_class_is_asyncios(same_outcome, make):
    def act(loop):
        made = caught(make, type(loop.create_future()), loop)
        return clean(repr(made))

    same_outcome(act)


def test_init_again_makes_the_future_fresh(same_outcome):
    def act(loop):
        future = loop.create_future()
        future.set_result(1)
        future.__init__(loop=loop)
        state = future._state, caught(future.result)
        future.set_result(2)
        return state, future.result()

    same_outcome(act)


@pytest.mark.parametrize("action", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_and_pickles_are_refused(loop, action):
    with pytest.raises(TypeError):
        action(loop.create_future())


def test_the_class_is_generic(future_class):
    assert isinstance(future_class[int], types.GenericAlias)
    assert future_class[int].__origin__ is future_class


def test_a_future_takes_attributes_and_weak_references(loop, collect):
    future = loop.create_future()
    future.attribute = [1]
    dead = []
    reference = weakref.ref(future, dead.append)
    assert future.attribute == [1] and reference() is future
    del future
    collect()
    assert reference() is None and dead == [reference]


def test_create_future_is_a_future_of_the_loop(loop, future_class):
    future = loop.create_future()
    assert isinstance(future, asyncio.Future) and asyncio.isfuture(future)
    assert future.get_loop() is loop and inspect.isawaitable(future)
    assert asyncio.ensure_future(future, loop=loop) is future


@pytest.mark.ours("asyncio's futures are not casyncio's")
def test_futures_of_the_loop_are_casyncios(loop):
    import casyncio

    assert type(loop.create_future()) is casyncio.Future
    assert casyncio.Future.__base__ is asyncio.Future
    assert repr(casyncio.Future) == "<class 'casyncio.Future'>"


# ---- callbacks ----


def test_callbacks_run_in_order_in_their_contexts_with_no_current_task(loop, turns):
    variable = contextvars.ContextVar("variable", default="outer")
    seen = []
    future = loop.create_future()

    def note(label):
        def callback(done):
            seen.append((label, done is future, variable.get(), asyncio.current_task()))

        return callback

    other = contextvars.copy_context()
    other.run(variable.set, "other")
    future.add_done_callback(note("a"))
    variable.set("changed")
    future.add_done_callback(note("b"))
    future.add_done_callback(note("c"), context=other)
    future.add_done_callback(note("d"), context=None)
    future.set_result(1)
    assert seen == []
    future.add_done_callback(note("e"))
    turns(loop)
    assert seen == [
        ("a", True, "outer", None),
        ("b", True, "changed", None),
        ("c", True, "other", None),
        ("d", True, "changed", None),
        ("e", True, "changed", None),
    ]


def test_callbacks_of_many_kinds_do_what_they_do_on_asyncio(same_outcome):
    def act(loop):
        seen, contexts = [], []
        loop.set_exception_handler(
            lambda loop, context: contexts.append(
                (clean(context["message"]), repr(context["exception"]), sorted(context))
            )
        )

        class Callable:
            def __call__(self, future):
                seen.append("object")

        def fails(future):
            raise ValueError("in a callback")

        future = loop.create_future()
        for callback in (seen.append, Callable(), fails, print_nothing, lambda: None, 5, None):
            future.add_done_callback(callback)
        future.set_result(3)
        loop.call_soon(loop.stop)
        loop.run_forever()
        return [s if isinstance(s, str) else s.result() for s in seen], contexts

    def print_nothing(future, extra=None):
        return extra

    same_outcome(act)


@pytest.mark.parametrize("word", ["context", "contex", "contextual", ""])
def test_a_keyword_that_is_not_interned_is_read(same_outcome, word):
    keyword = "".join(list(word))  # as that of asyncio's Task in C

    async def program(loop):
        variable = contextvars.ContextVar("variable", default="outer")
        other = contextvars.copy_context()
        other.run(variable.set, "inner")
        seen = []
        future = loop.create_future()
        future.add_done_callback(lambda f: seen.append(variable.get()), **{keyword: other})
        future.set_result(None)
        await asyncio.sleep(0)
        return seen

    same_outcome(lambda loop: loop.run_until_complete(program(loop)))


@pytest.mark.parametrize("ends", ["result", "error", "cancel"])
def test_a_task_of_asyncios_own_class_awaits_a_future_of_the_loop(same_outcome, ends):
    async def wait(future, variable):
        variable.set("the task's")
        try:
            return await future, variable.get()
        except BaseException as error:
            return type(error), variable.get()

    async def program(loop):
        variable = contextvars.ContextVar("variable", default="outer")
        future = loop.create_future()
        task = asyncio.tasks._CTask(wait(future, variable), loop=loop)
        await asyncio.sleep(0)
        if ends == "result":
            future.set_result(5)
        elif ends == "error":
            future.set_exception(ValueError("told"))
        else:
            task.cancel()
        return await task, variable.get()

    same_outcome(lambda loop: loop.run_until_complete(program(loop)))


@pytest.mark.parametrize("context", [5, "text", {}])
def test_a_context_that_is_none_fails_as_on_asyncio(same_outcome, context):
    def act(loop):
        found = []
        loop.set_exception_handler(lambda loop, c: found.append(clean(str(c.get("exception")))))
        future = loop.create_future()
        said = caught(future.add_done_callback, print, context=context)
        shown = clean(repr(future._callbacks))
        set_said = caught(future.set_result, 1)
        run_said = caught(
            lambda: (loop.call_soon(loop.stop), loop.run_forever()) and None,
        )
        return said, shown, set_said, run_said, found, future.done()

    same_outcome(act)


@pytest.mark.parametrize(
    "call",
    [
        lambda f: f.add_done_callback(),
        lambda f: f.add_done_callback(print, None),
        lambda f: f.add_done_callback(print, context=None, x=1),
        lambda f: f.add_done_callback(fn=print),
        lambda f: f.add_done_callback(**{"con" + "text": None}),
        lambda f: f.add_done_callback(print, **{"con" + "text": None}),
        lambda f: f.add_done_callback(print, x=1),
        lambda f: f.remove_done_callback(),
        lambda f: f.remove_done_callback(print),
        lambda f: f.remove_done_callback(print, print),
    ],
)
def test_arguments_of_callback_methods_are_checked_as_by_asyncio(same_outcome, call):
    same_outcome(lambda loop: caught(call, loop.create_future()))


def test_removing_callbacks_counts_as_asyncio(same_outcome):
    class Equal:
        def __init__(self, value):
            self.value = value

        def __eq__(self, other):
            return isinstance(other, Equal) and other.value == self.value

        def __call__(self, future):
            pass

    class Fails:
        def __eq__(self, other):
            raise ValueError("no comparing")

        def __call__(self, future):
            pass

    def act(loop):
        future = loop.create_future()
        for callback in (Equal(1), Equal(2), Equal(1), print, Equal(1), print):
            future.add_done_callback(callback)
        counts = [future.remove_done_callback(c) for c in (print, Equal(1), Equal(3), len)]
        left = len(future._callbacks)
        counts.append(caught(future.remove_done_callback, Fails()))
        counts.append(future.remove_done_callback(Equal(2)))
        return counts, left, future._callbacks

    same_outcome(act)


def test_a_callback_that_changes_the_callbacks_is_handled_as_by_asyncio(same_outcome):
    def act(loop):
        seen = []
        future = loop.create_future()

        class Remover:
            def __init__(self, label):
                self.label = label

            def __eq__(self, other):
                future.remove_done_callback(len)
                return False

            def __call__(self, done):
                seen.append((self.label, future.remove_done_callback(self)))
                future.add_done_callback(lambda f: seen.append("added late"))

        for callback in (Remover(1), len, Remover(2), len):
            future.add_done_callback(callback)
        seen.append(future.remove_done_callback(print))
        seen.append(len(future._callbacks))
        future.set_result(None)
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
        return seen

    def act_or_give_up(loop):
        try:
            return act(loop)
        except RecursionError:  # its words tell only where the limit was met
            return "too deep"

    same_outcome(act_or_give_up)


def test_done_futures_on_a_closed_loop_fail_as_on_asyncio(same_outcome):
    def act(loop):
        pending, done, cancelled = (loop.create_future() for _ in range(3))
        done.set_result(1)
        pending.add_done_callback(print)
        cancelled.add_done_callback(print)
        cancelled.add_done_callback(print)
        loop.close()
        return [
            caught(done.add_done_callback, print),
            caught(pending.set_result, 1),
            pending.done(),
            caught(cancelled.cancel),
            cancelled.cancelled(),
            cancelled._callbacks,
            loop.create_future().done(),
        ]

    same_outcome(act)


# ---- waiters ----


def waiting(loop, future, count, log):
    """Make tasks that await the future and note when they get it."""

    async def wait(number):
        try:
            log.append((number, await future))
        except BaseException as error:
            log.append((number, type(error).__name__, str(error)))
            raise

    return [loop.create_task(wait(n), name=f"w{n}") for n in range(count)]


@pytest.mark.parametrize("way", ["result", "exception", "cancelled", "message"])
def test_waiters_and_callbacks_wake_in_the_order_in_which_they_came(same_outcome, way):
    def act(loop):
        log = []
        future = loop.create_future()
        tasks = waiting(loop, future, 2, log)
        future.add_done_callback(lambda f: log.append("first callback"))
        loop.call_soon(loop.stop)
        loop.run_forever()
        future.add_done_callback(lambda f: log.append("second callback"))
        tasks += waiting(loop, future, 2, log)
        loop.call_soon(loop.stop)
        loop.run_forever()
        PUT[way](future)
        tasks += waiting(loop, future, 1, log)
        results = loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        return log, list(map(repr, results))

    same_outcome(act)


def test_a_waiter_looks_like_asyncios_wakeup_callback(same_outcome, turns):
    def act(loop):
        future = loop.create_future()
        tasks = waiting(loop, future, 3, [])
        turns(loop)
        shown = [clean(repr(future))]
        shown += [(type(c).__name__ != "tuple", type(x).__name__) for c, x in future._callbacks]
        shown += [callable(c) for c, _ in future._callbacks]
        shown += [clean(repr(task)) for task in tasks]
        future.add_done_callback(len)
        shown.append(clean(repr(future)))
        future.set_result(1)
        loop.run_until_complete(asyncio.gather(*tasks))
        return shown

    same_outcome(act)


def test_a_waiters_context_is_that_of_its_task(loop, turns):
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, "task's own")
    future = loop.create_future()

    async def wait():
        await future

    task = loop.create_task(wait(), context=context)
    turns(loop)
    [(_, seen)] = future._callbacks
    assert seen is context
    future.set_result(None)
    loop.run_until_complete(task)


def test_a_wakeup_taken_from_callbacks_can_be_removed_and_called(same_outcome, turns):
    def act(loop):
        log = []
        future = loop.create_future()
        tasks = waiting(loop, future, 3, log)
        turns(loop)
        future.add_done_callback(len)
        wakeup, context = future._callbacks[1]
        removed = future.remove_done_callback(wakeup), future.remove_done_callback(wakeup)
        left = len(future._callbacks)
        future.set_result("value")
        turns(loop, 2)
        after = list(log), [task.done() for task in tasks]
        loop.call_soon(wakeup, future, context=context)
        loop.run_until_complete(tasks[1])
        return removed, left, after, log

    same_outcome(act)


def test_a_waiter_stays_a_waiter_when_others_are_removed(same_outcome, turns):
    def act(loop):
        log = []
        future = loop.create_future()
        future.add_done_callback(len)
        tasks = waiting(loop, future, 2, log)
        turns(loop)
        counts = [future.remove_done_callback(len), future.remove_done_callback(tasks[0])]
        future.set_result(0)
        loop.run_until_complete(asyncio.gather(*tasks))
        return counts, log

    same_outcome(act)


def test_looking_at_callbacks_changes_nothing(same_outcome, turns):
    def act(loop):
        log = []
        future = loop.create_future()
        tasks = waiting(loop, future, 3, log)
        turns(loop)
        for _ in range(3):
            list(future._callbacks)
            repr(future)
        future._callbacks.clear()
        future.set_result("seen")
        loop.run_until_complete(asyncio.gather(*tasks))
        return log

    same_outcome(act)


def test_ten_thousand_waiters_wake_in_order(loop):
    log = []
    future = loop.create_future()
    tasks = waiting(loop, future, 10_000, log)
    loop.call_later(0.01, future.set_result, 1)
    loop.run_until_complete(asyncio.wait(tasks))
    assert log == [(n, 1) for n in range(10_000)]


# ---- what awaiting runs on ----

STEPS = {
    "next": next,
    "send None": lambda it: it.send(None),
    "send 5": lambda it: it.send(5),
    "throw instance": lambda it: it.throw(ValueError("thrown")),
    "throw class": lambda it: it.throw(ValueError),
    "throw TypeError": lambda it: it.throw(TypeError),
    "throw TypeError instance": lambda it: it.throw(TypeError("t")),
    "throw two": lambda it: it.throw(ValueError, "thrown"),
    "throw class and instance": lambda it: it.throw(ValueError, ValueError("v")),
    "throw instance and value": lambda it: it.throw(ValueError("a"), "b"),
    "throw traceback": lambda it: it.throw(ValueError, None, a_traceback()),
    "throw no traceback": lambda it: it.throw(ValueError, None, 5),
    "throw number": lambda it: it.throw(5),
    "throw int": lambda it: it.throw(int),
    "throw nothing": lambda it: it.throw(),
    "throw stop": lambda it: it.throw(StopIteration("s")),
    "throw tuple": lambda it: it.throw(KeyError, (1, 2)),
    "throw exit": lambda it: it.throw(GeneratorExit),
    "throw four": lambda it: it.throw(1, 2, 3, 4),
    "close": lambda it: it.close(),
    "close twice": lambda it: (it.close(), it.close()),
    "close argument": lambda it: it.close(1),
    "send nothing": lambda it: it.send(),
    "is its iterator": lambda it: iter(it) is it,
    "repr": lambda it: re.sub(r"\S*FutureIter", "FutureIter", repr(it)),
    "await": lambda it: it.__await__,
    "kind": lambda it: (inspect.isawaitable(it), inspect.isgenerator(it), inspect.iscoroutine(it)),
    "weakref": lambda it: weakref.ref(it) and None,
    "attribute": lambda it: setattr(it, "x", 1),
}


def a_traceback():
    try:
        raise KeyError
    except KeyError as error:
        return error.__traceback__


def shown_step(step, iterator):
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            value = step(iterator)
            said = "future" if asyncio.isfuture(value) else repr(value)
        except BaseException as error:
            frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            said = type(error).__name__, error.args, frames[1:], repr(error.__context__)
            if isinstance(error, StopIteration):
                said += (error.value,)
            if isinstance(error, SystemError):  # a spent iterator: asyncio forgets to raise
                said = "StopIteration", (), frames[1:], repr(error.__context__), None
    texts = [clean(str(w.message)) for w in heard]
    return clean(repr(said)), texts


@pytest.mark.parametrize("after", ["none", "again", "next", "finish"])
@pytest.mark.parametrize("step", STEPS)
def test_the_iterator_of_await_does_what_asyncios_does(same_outcome, step, after):
    def act(loop):
        found = []
        for started in (False, True):
            for state in ("pending", "result", "none", "exception", "message"):
                future = loop.create_future()
                iterator = future.__await__()
                if started:
                    next(iterator)
                PUT[state](future)
                seen = [started, state, shown_step(STEPS[step], iterator)]
                if after == "again":
                    seen.append(shown_step(STEPS[step], iterator))
                elif after == "next":
                    seen.append(shown_step(next, iterator))
                elif after == "finish":
                    if not future.done():
                        future.set_result((1, 2))
                    seen += [shown_step(next, iterator), shown_step(next, iterator)]
                found.append(seen)
                future.cancel()
        return found

    same_outcome(act)


@pytest.mark.parametrize("value", [None, 1, (1, 2), (), ValueError("v"), StopIteration(3), [], {}])
def test_awaiting_by_hand_raises_stop_iteration_with_the_value(same_outcome, value):
    def act(loop):
        future = loop.create_future()
        future.set_result(value)
        found = []
        for step in (next, lambda it: it.send(None)):
            try:
                step(future.__await__())
            except StopIteration as error:
                found.append((type(error), error.value is value, len(error.args), error.args))
        return repr(found)

    same_outcome(act)


def test_stop_iterations_that_are_kept_are_objects_of_their_own(loop):
    kept = []

    def catch(value):
        future = loop.create_future()
        future.set_result(value)
        try:
            next(future.__await__())
        except StopIteration as error:
            return error

    async def main():
        kept.extend(catch([n]) for n in range(3))
        await asyncio.sleep(0)
        kept.extend(catch([n]) for n in range(3, 6))

    kept.append(catch(["outside"]))
    loop.run_until_complete(main())
    assert len({id(error) for error in kept}) == len(kept)
    assert [error.value for error in kept] == [["outside"], [0], [1], [2], [3], [4], [5]]
    assert [error.args for error in kept] == [(error.value,) for error in kept]


def use_stops(loop, mark):
    """Return what the StopIterations of some awaits by hand look like, marking each."""
    found = []

    def once(value):
        future = loop.create_future()
        future.set_result([value])
        try:
            next(future.__await__())
        except StopIteration as error:
            frames = len(traceback.extract_tb(error.__traceback__))
            found.append(
                (
                    [list(error.args), error.value, dict(error.__dict__), frames],
                    [repr(error.__context__), repr(error.__cause__), error.__suppress_context__],
                )
            )
            mark(error, value)

    async def main():
        for value in range(3):
            once(value)
        await asyncio.sleep(0)
        once(4)

    loop.run_until_complete(main())
    return repr(found)


@pytest.mark.parametrize(
    "mark",
    [
        lambda error, value: error.add_note(f"note {value}"),
        lambda error, value: setattr(error, "attribute", value),
        lambda error, value: setattr(error, "__cause__", KeyError(value)),
        lambda error, value: setattr(error, "__context__", KeyError(value)),
        lambda error, value: setattr(error, "__suppress_context__", True),
        lambda error, value: setattr(error, "value", None),
        lambda error, value: setattr(error, "args", (1, 2)),
        lambda error, value: setattr(error, "args", ()),
        lambda error, value: delattr(error, "__traceback__") if value > 9 else None,
    ],
)
def test_a_mark_on_one_stop_iteration_is_not_seen_on_the_next(same_outcome, mark):
    same_outcome(lambda loop: use_stops(loop, mark))


def test_a_stop_iteration_by_hand_knows_what_was_being_handled(same_outcome):
    def act(loop):
        found = []

        def look():
            future = loop.create_future()
            future.set_result([1])
            try:
                raise KeyError("handled")
            except KeyError:
                try:
                    next(future.__await__())
                except StopIteration as error:
                    found.append(repr(error.__context__))

        async def main():
            look()

        look()
        loop.run_until_complete(main())
        return found

    same_outcome(act)


def test_the_value_of_a_caught_stop_iteration_is_released(loop, collect):
    class Value:
        pass

    async def main(change):
        value = Value()
        watched = weakref.ref(value)
        future = loop.create_future()
        future.set_result(value)
        try:
            next(future.__await__())
        except StopIteration as error:
            change(error)
        del future, value
        await asyncio.sleep(0)
        return watched

    for change in (lambda e: None, lambda e: setattr(e, "value", None)):
        watched = loop.run_until_complete(main(change))
        collect()
        assert watched() is None


def test_an_awaited_value_is_not_kept_longer_than_asyncio_keeps_it(same_outcome):
    class Value:
        pass

    def act(loop):
        async def done():
            value = Value()
            watched = weakref.ref(value)
            future = loop.create_future()
            future.set_result(value)
            del value
            await future
            del future
            return watched() is None

        return loop.run_until_complete(done())

    same_outcome(act)


def test_results_that_are_exceptions_or_tuples_come_out_of_await_unchanged(loop):
    values = [ValueError("v"), StopIteration("s"), (1, 2), (), StopIteration, None, KeyError]

    async def main():
        for value in values:
            future = loop.create_future()
            loop.call_soon(future.set_result, value)
            assert (await future) is value
            assert (await future) is value

    loop.run_until_complete(main())


def test_a_coroutine_driven_by_hand_gets_the_value(loop):
    async def wait(future):
        return await future

    for value in (None, 5, (1, 2)):
        future = loop.create_future()
        coroutine = wait(future)
        assert coroutine.send(None) is future and future._asyncio_future_blocking
        future.set_result(value)
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        assert stop.value.value == value


def test_a_coroutine_driven_by_hand_must_not_go_on_while_the_future_is_pending(same_error):
    async def wait(future):
        return await future

    def act(loop):
        coroutine = wait(loop.create_future())
        coroutine.send(None)
        coroutine.send(None)

    same_error(act)


# ---- subclasses ----


def test_a_subclass_with_its_own_methods_is_asked_as_on_asyncio(same_outcome):
    def act(loop):
        log = []

        class Mine(type(loop.create_future())):
            def __init__(self, label, **kwargs):
                super().__init__(**kwargs)
                self.label = label

            def result(self):
                log.append("result")
                return ("mine", super().result())

            def cancel(self, msg=None):
                log.append(("cancel", msg))
                return super().cancel(msg)

            def set_result(self, value):
                log.append("set_result")
                super().set_result(value)

            def set_exception(self, error):
                log.append("set_exception")
                super().set_exception(error)

            def add_done_callback(self, callback, *, context=None):
                log.append("add_done_callback")
                super().add_done_callback(callback, context=context)

            def remove_done_callback(self, callback):
                log.append("remove_done_callback")
                return super().remove_done_callback(callback)

            def done(self):
                log.append("done")
                return super().done()

            def get_loop(self):
                log.append("get_loop")
                return super().get_loop()

        async def wait(future):
            try:
                return await future
            except BaseException as error:
                return repr(error)

        def go(*changes):
            log.append("---")
            future = Mine("label", loop=loop)
            task = loop.create_task(wait(future))
            loop.call_soon(loop.stop)
            loop.run_forever()
            for change in changes:
                change(future, task)
            log.append(loop.run_until_complete(task))
            log.append(future.label)
            log.append(caught(lambda: loop.run_until_complete(wait(future))))

        go(lambda f, t: f.set_result(1))
        go(lambda f, t: f.set_exception(ValueError("x")))
        go(lambda f, t: f.cancel("c"))
        go(lambda f, t: t.cancel("t"))
        return log

    same_outcome(act)


@pytest.mark.parametrize("fails", ["result", "cancel", "add_done_callback", "get_loop"])
def test_a_subclass_whose_method_fails_is_handled_as_by_asyncio(same_outcome, fails):
    def act(loop):
        found = []
        # The failed callback is an object inside the task in both cases; its name is its own.
        loop.set_exception_handler(
            lambda loop, c: found.append(
                (c["message"].split(" <")[0].split(" Task.")[0], repr(c["exception"]))
            )
        )

        def method(self, *args, **kwargs):
            raise ZeroDivisionError(fails)

        mine = type("Mine", (type(loop.create_future()),), {fails: method})

        async def wait(future):
            try:
                return await future
            except BaseException as error:
                return repr(error)

        future = mine(loop=loop)
        task = loop.create_task(wait(future))
        loop.call_soon(loop.stop)
        loop.run_forever()
        said = caught(task.cancel)
        said_again = caught(future.set_result, 1) if not future.done() else None
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
        result = repr(caught(task.result)) if task.done() else "pending"
        task._log_destroy_pending = False
        return said, said_again, result, [clean(text) for pair in found for text in pair]

    same_outcome(act)


@pytest.mark.parametrize("way", ["result", "none", "exception", "message"])
def test_await_of_a_done_subclass_does_not_ask_its_result_method(same_outcome, way):
    def act(loop):
        class Mine(type(loop.create_future())):
            def result(self):
                return "from the subclass"

            def exception(self):
                return None

        async def wait():
            future = Mine(loop=loop)
            PUT[way](future)
            return await future

        said = caught(loop.run_until_complete, wait())
        return said

    same_outcome(act)


def test_a_subclass_without_init_is_uninitialised_as_on_asyncio(same_outcome):
    def act(loop):
        mine = type("Mine", (type(loop.create_future()),), {"__init__": lambda self: None})
        future = mine()
        actions = (
            future.result,
            future.cancel,
            future.__await__,
            lambda: future.set_result(1),
            lambda: future.add_done_callback(print),
            future.get_loop,
            lambda: repr(future),
            future.__del__,
        )
        return [caught(action) for action in actions]

    same_outcome(act)


def test_attributes_of_subclasses_and_slots_work(future_class, loop):
    class Slotted(future_class):
        __slots__ = ("own",)

    future = Slotted(loop=loop)
    future.own = 1
    future.set_result(2)
    assert (future.own, future.result()) == (1, 2)
    assert weakref.ref(future)() is future


# ---- reports ----


def test_an_exception_that_nobody_asked_for_is_reported_in_asyncios_words(same_outcome, collect):
    def act(loop):
        found = []
        loop.set_exception_handler(
            lambda loop, c: found.append((c["message"], repr(c["exception"]), sorted(c)))
        )
        for _ in range(3):  # recycled memory must report too
            future = loop.create_future()
            future.set_exception(ValueError("lost"))
            del future
        collect()
        return found

    assert len(same_outcome(act)) == 3


@pytest.mark.parametrize(
    "ask",
    [
        lambda f: f.exception(),
        lambda f: caught(f.result),
        lambda f: setattr(f, "_log_traceback", False),
        lambda f: f.cancel(),
        lambda f: caught(next, f.__await__()),
    ],
)
def test_an_exception_that_somebody_asked_for_is_not_reported(loop, reports, collect, ask):
    future = loop.create_future()
    future.set_exception(ValueError("known"))
    ask(future)
    del future
    collect()
    assert reports == []


def test_a_report_in_a_cycle_is_made_once(loop, reports, collect):
    future = loop.create_future()
    future.itself = future
    future.set_exception(ValueError("lost"))
    del future
    collect()
    assert [report["message"] for report in reports] == ["Future exception was never retrieved"]


def test_a_future_revived_by_its_report_lives_and_can_die_again(loop, collect):
    kept = []
    loop.set_exception_handler(lambda loop, context: kept.append(context["future"]))
    future = loop.create_future()
    future.set_exception(ValueError("lost"))
    watched = weakref.ref(future)
    del future
    collect()
    assert len(kept) == 1 and repr(kept[0].exception()) == "ValueError('lost')"
    kept[0].attribute = 1
    kept.clear()
    collect()
    assert watched() is None
    fresh = [loop.create_future() for _ in range(100)]
    assert not any(hasattr(future, "attribute") or future.done() for future in fresh)


def test_del_can_be_called_by_hand(same_outcome):
    def act(loop):
        found = []
        loop.set_exception_handler(lambda loop, context: found.append(context["message"]))
        future = loop.create_future()
        future.set_exception(ValueError("x"))
        future.__del__()
        future.__del__()
        del future
        gc.collect()
        return found

    same_outcome(act)


def test_debug_mode_records_where_a_future_was_made(loop, reports, collect):
    loop.set_debug(True)
    future = loop.create_future()
    future.set_exception(ValueError("x"))
    frames = future._source_traceback
    del future
    collect()
    # asyncio's own create_future() is one more frame.
    assert "future = loop.create_future()" in [frame.line for frame in frames[-2:]]
    [report] = reports
    assert report["source_traceback"] == frames


def test_a_future_of_a_loop_in_debug_mode_checks_the_thread_as_asyncio(same_outcome, in_thread):
    def act(loop):
        async def main():
            future = loop.create_future()
            future.add_done_callback(print)
            said = await loop.run_in_executor(None, caught, future.set_result, 1)
            future.remove_done_callback(print)
            return said

        loop.slow_callback_duration = 100
        try:
            return loop.run_until_complete(main())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())

    same_outcome(act, debug=True)


def test_sizes_are_told(loop):
    future = loop.create_future()
    assert sys.getsizeof(future) >= object.__sizeof__(future) > 0


@pytest.mark.parametrize("handling", [False, True], ids=["plain", "in except"])
@pytest.mark.parametrize(
    "value", [5, (), (1, 2), ValueError("v"), StopIteration(3), "text", [None]], ids=repr
)
def test_the_stop_iteration_of_an_awaited_result_is_as_stocks(loop, value, handling):
    def stop_of(future):
        future.set_result(value)
        try:
            next(iter(future))
        except StopIteration as stop:
            context = stop.__context__
            return [type(stop), stop.args, stop.value is value, type(context),
                    stop.__cause__, stop.__suppress_context__, vars(stop)]  # fmt: skip

    def look(future):
        if not handling:
            return stop_of(future)
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            return stop_of(future)

    assert look(loop.create_future()) == look(asyncio.Future(loop=loop))


def test_the_result_lives_no_longer_than_its_last_name(loop):
    class Thing:
        pass

    async def main():
        future = loop.create_future()
        loop.call_soon(future.set_result, Thing())
        thing = await future
        gone = weakref.ref(thing)
        del future
        await asyncio.sleep(0)  # the handle lets go
        del thing
        return gone()

    assert loop.run_until_complete(main()) is None
