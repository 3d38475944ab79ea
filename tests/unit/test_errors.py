"""Exceptions out of callbacks: handlers, KeyboardInterrupt, SystemExit, the loop afterwards."""

import asyncio
import contextlib
import contextvars
import logging
import os
import re
import signal
import socket
import sys

import pytest

VAR = contextvars.ContextVar("var", default="unset")
FATAL = [KeyboardInterrupt, SystemExit]


def fail():
    """Raise an ordinary exception."""
    raise ZeroDivisionError("mine")


def raiser(fatal):
    """Return a callback that raises the exception."""

    def run(*args):
        raise fatal("out of the callback")

    return run


def from_callback(loop, callback, resources):
    loop.call_soon(callback)


def from_timer(loop, callback, resources):
    loop.call_later(0.001, callback)


def from_thread_call(loop, callback, resources):
    loop.call_soon_threadsafe(callback)


def from_reader(loop, callback, resources):
    first, second = socket.socketpair()
    resources += [first, second]
    second.send(b"x")
    loop.add_reader(first, lambda: (loop.remove_reader(first), callback()))


def from_writer(loop, callback, resources):
    first, second = socket.socketpair()
    resources += [first, second]
    loop.add_writer(first, lambda: (loop.remove_writer(first), callback()))


def from_signal_handler(loop, callback, resources):
    loop.add_signal_handler(signal.SIGUSR1, callback)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)


def from_python_signal_handler(loop, callback, resources):
    signal.signal(signal.SIGUSR1, callback)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)


def from_exception_handler(loop, callback, resources):
    loop.set_exception_handler(lambda loop, context: callback())
    loop.call_soon(fail)


def from_task(loop, callback, resources):
    async def body():
        await asyncio.sleep(0)
        callback()

    task = loop.create_task(body())
    task.add_done_callback(lambda task: task.exception())
    resources.append(task)


def from_done_callback(loop, callback, resources):
    future = loop.create_future()
    future.add_done_callback(callback)
    future.set_result(None)


SOURCES = [from_callback, from_timer, from_thread_call, from_reader, from_writer,
           from_signal_handler, from_python_signal_handler, from_exception_handler, from_task,
           from_done_callback]  # fmt: skip


@pytest.fixture(params=SOURCES, ids=lambda source: source.__name__)
def source(request):
    """Make a callback run, by each way there is; what it opens is closed at the end."""
    resources = []
    old = signal.getsignal(signal.SIGUSR1)

    def arm(loop, callback):
        request.param(loop, callback, resources)

    yield arm
    signal.signal(signal.SIGUSR1, old)
    for resource in resources:
        if hasattr(resource, "close"):
            resource.close()


@pytest.mark.parametrize("fatal", FATAL)
def test_a_fatal_exception_leaves_the_run_and_the_loop_runs_again(loop, source, fatal):
    source(loop, raiser(fatal))
    loop.call_later(10, loop.stop)
    with pytest.raises(fatal, match="out of the callback"):
        loop.run_forever()
    assert not loop.is_running() and asyncio._get_running_loop() is None
    loop.set_exception_handler(None)
    assert loop.run_until_complete(asyncio.sleep(0.001, "fine")) == "fine"


# Nobody hears of what a task has kept, nor of a handler's exception but the log.
HEARD_OF = [source for source in SOURCES if source not in (from_task, from_exception_handler)]


@pytest.mark.parametrize("source", HEARD_OF, indirect=True, ids=lambda source: source.__name__)
def test_the_handler_is_called_while_the_exception_is_being_handled(loop, source):
    """logging.exception() in a handler needs that."""
    told = []

    def handler(loop, context):
        told.append((sys.exc_info()[1], context["exception"]))
        loop.stop()

    loop.set_exception_handler(handler)
    source(loop, raiser(ZeroDivisionError))
    loop.call_later(10, loop.stop)
    loop.run_forever()
    assert told and all(handled is reported for handled, reported in told)
    assert sys.exc_info() == (None, None, None)


def test_the_handler_sees_the_exception_of_a_callback_as_the_current_one(loop, turns):
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(sys.exc_info()[1]))
    loop.call_soon(fail)
    turns(loop)
    assert [str(error) for error in told] == ["mine"] and sys.exc_info()[1] is None


def test_a_fatal_exception_of_the_handler_has_the_first_one_for_its_context(loop):
    loop.set_exception_handler(lambda loop, context: raiser(KeyboardInterrupt)())
    loop.call_soon(fail)
    with pytest.raises(KeyboardInterrupt) as caught:
        loop.run_forever()
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_a_generator_that_runs_the_loop_keeps_what_it_was_handling(loop, turns):
    loop.set_exception_handler(lambda loop, context: None)

    def generator():
        loop.call_soon(fail)
        turns(loop)
        yield sys.exc_info()[1]
        yield sys.exc_info()[1]

    runner = generator()
    try:
        raise KeyError("outer")
    except KeyError as error:
        assert next(runner) is error
    assert next(runner) is None


@pytest.mark.parametrize("fatal", FATAL)
def test_the_rest_of_the_batch_runs_next_time_in_order(loop, fatal):
    seen = []
    for number in range(4):
        loop.call_soon(seen.append, number)
    loop.call_soon(raiser(fatal))
    for number in range(4, 8):
        loop.call_soon(seen.append, number)
    with pytest.raises(fatal):
        loop.run_forever()
    assert seen == [0, 1, 2, 3]
    loop.call_soon(seen.append, 8)
    loop.stop()
    loop.run_forever()
    assert seen == list(range(9))


def test_due_timers_left_by_a_fatal_exception_run_next_time(loop):
    seen = []
    past = loop.time() - 10
    loop.call_at(past, seen.append, 1)
    loop.call_at(past + 1, raiser(KeyboardInterrupt))
    loop.call_at(past + 2, seen.append, 2)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert seen == [1]
    loop.stop()
    loop.run_forever()
    assert seen == [1, 2]


def test_io_found_in_the_turn_of_a_fatal_exception_is_not_lost(loop):
    seen = []
    pairs = [socket.socketpair() for _ in range(3)]

    def read(sock):
        # A reader left over runs again when the next turn finds its socket still readable.
        with contextlib.suppress(BlockingIOError):
            seen.append(sock.recv(1))
        if len(seen) == 1:
            raise KeyboardInterrupt

    for first, second in pairs:
        first.setblocking(False)
        loop.add_reader(first, read, first)
        second.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    for first, second in pairs:
        loop.remove_reader(first)
        first.close()
        second.close()
    assert seen == [b"x"] * 3


def test_every_callback_of_a_batch_may_raise_a_fatal_exception(loop):
    for _ in range(5):
        loop.call_soon(raiser(KeyboardInterrupt))
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
    loop.stop()
    loop.run_forever()


def test_a_fatal_exception_of_the_awaited_task_is_raised_once(loop):
    async def body():
        raise KeyboardInterrupt("in the task")

    with pytest.raises(KeyboardInterrupt, match="in the task"):
        loop.run_until_complete(body())
    assert loop.run_until_complete(asyncio.sleep(0, "fine")) == "fine"


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, StopIteration, OSError,
                                   TimeoutError, asyncio.InvalidStateError])  # fmt: skip
def test_any_other_exception_goes_to_the_handler_only(loop, reports, turns, error):
    seen = []
    loop.call_soon(raiser(error))
    loop.call_soon(seen.append, "next")
    turns(loop)
    assert [type(context["exception"]) for context in reports] == [error]
    assert seen == ["next"]


def test_the_handler_gets_stocks_context(same_outcome, turns):
    def action(loop):
        found = []
        loop.set_exception_handler(lambda *args: found.append(args))
        handle = loop.call_soon(fail)
        turns(loop)
        ((where, context),) = found
        assert where is loop and context["handle"] is handle
        return sorted(context), context["message"], repr(context["exception"])

    same_outcome(action)


def test_the_handler_gets_the_source_traceback_in_debug_mode(same_outcome, turns):
    def action(loop):
        found = []
        loop.set_exception_handler(lambda loop, context: found.append(context))
        loop.call_soon(fail)
        turns(loop)
        frame = found[0]["source_traceback"][-1]
        return sorted(found[0]), frame.name, frame.lineno

    same_outcome(action, debug=True)


def test_an_error_of_a_reader_reaches_the_handler_and_the_reader_stays(loop, reports):
    first, second = socket.socketpair()
    seen = []

    def read():
        seen.append(first.recv(1))
        if len(seen) == 2:
            loop.stop()
        fail()

    with first, second:
        loop.add_reader(first, read)
        second.send(b"ab")
        loop.run_forever()
        loop.remove_reader(first)
    assert seen == [b"a", b"b"]
    assert [type(context["exception"]) for context in reports] == [ZeroDivisionError] * 2


def test_the_handler_runs_in_the_context_that_stock_gives_it(same_outcome, turns):
    def action(loop):
        found = []
        loop.set_exception_handler(lambda loop, context: found.append(VAR.get()))
        context = contextvars.copy_context()
        context.run(VAR.set, "of the callback")
        loop.call_soon(fail, context=context)
        turns(loop)
        return found

    same_outcome(action)


def test_the_handler_of_a_lost_task_exception_runs_where_stock_runs_it(same_outcome, collect):
    def action(loop):
        found = []
        loop.set_exception_handler(lambda loop, context: found.append(VAR.get()))

        async def body():
            VAR.set("of the task")
            fail()

        async def main():
            loop.create_task(body())
            await asyncio.sleep(0.001)

        loop.run_until_complete(main())
        collect()
        return found

    assert len(same_outcome(action)) == 1


def log_of(caplog, action):
    """Run the action and return its log records as text, without addresses."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "asyncio"):
        action()
    texts = []
    for record in caplog.records:
        has_traceback = bool(record.exc_info)
        text = re.sub("0x[0-9a-f]+", "0x", record.getMessage())
        texts.append((record.name, record.levelname, text, has_traceback))
    return texts


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_the_default_handler_writes_what_stocks_writes(same_outcome, turns, caplog, debug):
    def action(loop):
        loop.call_soon(fail)
        records = log_of(caplog, lambda: turns(loop))
        # How many of the frames around it a source traceback shows is not compared.
        return [(*rest, re.sub(r"  File .*\n(?=  File .*$)", "", text, flags=re.S), has_traceback)
                for *rest, text, has_traceback in records]  # fmt: skip

    ((_, level, text, has_traceback),) = same_outcome(action, debug=debug)
    assert level == "ERROR" and text.startswith("Exception in callback fail()") and has_traceback


def test_a_handler_that_raises_is_reported_as_by_stock(same_outcome, turns, caplog):
    def action(loop):
        seen = []
        loop.set_exception_handler(lambda loop, context: 1 / 0)
        loop.call_soon(fail)
        loop.call_soon(seen.append, "next")
        text = log_of(caplog, lambda: turns(loop))
        return seen, [(name, level, words.split("\n")[0]) for name, level, words, _ in text]

    seen, records = same_outcome(action)
    assert seen == ["next"] and len(records) == 1


def test_set_exception_handler_takes_what_stocks_takes(same_outcome):
    same_outcome(lambda loop: loop.set_exception_handler("junk"))
    same_outcome(lambda loop: loop.set_exception_handler(None))


def test_get_exception_handler_returns_it(loop):
    assert loop.get_exception_handler() is None
    loop.set_exception_handler(print)
    assert loop.get_exception_handler() is print
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


def test_call_exception_handler_without_a_message_does_what_stocks_does(same_outcome, caplog):
    def action(loop):
        return log_of(caplog, lambda: loop.call_exception_handler({}))

    same_outcome(action)


def test_the_handler_may_stop_the_loop(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: loop.stop())
    loop.call_soon(fail)
    loop.call_soon(lambda: loop.call_soon(seen.append, "a turn later"))
    loop.run_forever()
    assert seen == []


def test_the_handler_may_schedule_callbacks(loop):
    seen = []

    def handler(loop, context):
        loop.call_soon(seen.append, "scheduled")
        loop.call_soon(loop.stop)

    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.run_forever()
    assert seen == ["scheduled"]


def test_a_handler_that_replaces_itself_is_used_from_then_on(loop, turns):
    seen = []

    def first(loop, context):
        seen.append("first")
        loop.set_exception_handler(lambda loop, context: seen.append("second"))

    loop.set_exception_handler(first)
    loop.call_soon(fail)
    loop.call_soon(fail)
    turns(loop)
    assert seen == ["first", "second"]


def test_a_thousand_failing_callbacks_each_reach_the_handler(loop, reports, turns):
    for _ in range(1000):
        loop.call_soon(fail)
    turns(loop)
    assert len(reports) == 1000


def test_the_exception_is_freed_after_the_handler(loop, turns, collect):
    import weakref

    class Watched(Exception):
        pass

    alive = []

    def callback():
        error = Watched()
        alive.append(weakref.ref(error))
        raise error

    loop.set_exception_handler(lambda loop, context: None)
    loop.call_soon(callback)
    turns(loop)
    collect()
    assert alive[0]() is None


def test_recursion_too_deep_in_a_callback_goes_to_the_handler(loop, reports, turns):
    def deep():
        deep()

    loop.call_soon(deep)
    turns(loop)
    assert [type(context["exception"]) for context in reports] == [RecursionError]


@pytest.mark.ours("a nested turn empties the queue under stock's feet")
def test_running_the_turn_from_a_callback_does_not_crash(loop, reports):
    seen = []

    def inner():
        loop._run_once()

    loop.call_soon(inner)
    for number in range(10):
        loop.call_soon(seen.append, number)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert sorted(seen) == list(range(10))
