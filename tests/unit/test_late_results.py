"""The timer of asyncio.sleep() sets its future without a call, and nobody can tell."""

import asyncio
import contextvars
import gc
import re
import sys
import time
import weakref
from asyncio import futures

import pytest

SETTER = futures._set_result_unless_cancelled


@pytest.fixture
def reported(same_outcome):
    """Compare what action(loop) returns, and what is reported, on stock's loop and ours."""

    def check(action, **kwargs):
        def whole(loop):
            reports = []

            def report(loop, context):
                exc = context.get("exception")
                text = re.sub(r"0x\w+|casyncio\.|_asyncio\.", "", context["message"])
                reports.append((type(exc), str(exc), re.sub(r"Future \w+", "Future", text)))

            loop.set_exception_handler(report)
            return action(loop), reports

        return same_outcome(whole, **kwargs)

    return check


def calls_of_setter(run):
    """Run something; return how often asyncio's function was called."""
    calls = []

    def profile(frame, event, arg):
        if event == "call" and frame.f_code is SETTER.__code__:
            calls.append(frame)

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return len(calls)


@pytest.mark.ours("stock calls it")
@pytest.mark.skipif(
    sys.version_info >= (3, 15),
    reason="this Python's own futures are used, which take no shortcut",
)
@pytest.mark.parametrize(
    "schedule",
    [
        lambda loop, future: loop.call_later(0, SETTER, future, 5),
        lambda loop, future: loop.call_later(0.001, SETTER, future, 5),
        lambda loop, future: loop.call_at(loop.time(), SETTER, future, 5),
        lambda loop, future: loop.call_soon(SETTER, future, 5),
    ],
)
def test_no_function_is_called(loop, schedule):
    future = loop.create_future()
    schedule(loop, future)
    assert calls_of_setter(lambda: loop.run_until_complete(future)) == 0
    assert future.result() == 5
    assert calls_of_setter(lambda: loop.run_until_complete(asyncio.sleep(0.001))) == 0


def test_sleep_returns_its_result(loop):
    for result in None, 5, (1, 2), StopIteration(3), ValueError():
        assert loop.run_until_complete(asyncio.sleep(0.0001, result)) is result


def test_the_order_among_timers_and_callbacks_is_stocks(reported):
    def action(loop):
        seen = []

        async def waits(future):
            seen.append(await future)

        async def main():
            now = loop.time() + 0.002
            made = [loop.create_future() for _ in range(6)]
            tasks = [asyncio.ensure_future(waits(f)) for f in made]
            await asyncio.sleep(0)
            for n, future in enumerate(made):
                loop.call_at(now + n * 4e-6, seen.append, f"before {n}")
                loop.call_at(now + n * 4e-6 + 1e-6, SETTER, future, n)
                future.add_done_callback(lambda f: seen.append(f"done {f.result()}"))
                loop.call_at(now + n * 4e-6 + 2e-6, loop.call_soon, seen.append, f"soon {n}")
                loop.call_at(now + n * 4e-6 + 3e-6, seen.append, f"after {n}")
            time.sleep(0.003)  # all of them are due in one turn
            await asyncio.wait(tasks)

        loop.run_until_complete(main())
        return seen

    assert len(reported(action)[0]) == 30


@pytest.mark.parametrize("state", ["cancelled", "done", "failed"])
def test_a_future_that_is_over_by_then(reported, turns, state):
    def action(loop):
        future = loop.create_future()
        loop.call_later(0, SETTER, future, 5)
        if state == "cancelled":
            future.cancel("why")
        elif state == "done":
            future.set_result(1)
        else:
            future.set_exception(ValueError())
            future.exception()
        turns(loop, 2)
        return future.cancelled(), future.done()

    _, reports = reported(action)
    assert len(reports) == (state != "cancelled")


def test_the_handle_looks_like_any_other_before_and_after(reported, turns):
    def look(handle):
        text = re.sub(r"when=[\d.]+|0x\w+|casyncio\.|_asyncio\.", "", repr(handle))
        function = handle._callback
        return (
            text,
            function is SETTER,
            handle._args is not None and len(handle._args),
            handle.cancelled(),
            isinstance(handle, asyncio.TimerHandle),
            handle._scheduled,
        )

    def action(loop):
        future = loop.create_future()
        handle = loop.call_later(0, SETTER, future, 5)
        seen = [look(handle), handle._args[0] is future]
        turns(loop, 2)
        seen += [look(handle), handle._args[0] is future, future.result()]
        handle.cancel()
        return [*seen, look(handle)[3]]

    reported(action)


def test_a_timer_cancelled_when_it_is_due_already(reported, turns):
    def action(loop):
        future = loop.create_future()
        moment = loop.time()
        loop.call_at(moment, lambda: handle.cancel())
        handle = loop.call_at(moment, SETTER, future, 5)
        turns(loop, 3)
        return future.done(), handle.cancelled()

    assert reported(action)[0] == (False, True)


def test_run_of_the_handle_by_hand(reported, turns):
    def action(loop):
        future = loop.create_future()
        handle = loop.call_later(10, SETTER, future, 5)
        handle._run()
        seen = [future.result(), handle._scheduled]
        handle._run()
        handle.cancel()
        return seen

    assert len(reported(action)[1]) == 1


@pytest.mark.parametrize("arguments", [0, 1, 3])
def test_a_wrong_number_of_arguments_is_reported(reported, turns, arguments):
    def action(loop):
        future = loop.create_future()
        loop.call_later(0, SETTER, *[future, 1, 2][:arguments])
        turns(loop, 2)
        return future.done()

    assert reported(action)[1][0][0] is TypeError


@pytest.mark.parametrize("junk", [None, 1, "text"], ids=repr)
def test_something_that_is_no_future_is_reported(reported, turns, junk):
    def action(loop):
        loop.call_later(0, SETTER, junk, 1)
        turns(loop, 2)

    assert reported(action)[1][0][0] is AttributeError


def test_anything_with_the_two_methods_serves(loop, turns):
    class Duck:
        def cancelled(self):
            seen.append("cancelled")
            return False

        def set_result(self, result):
            seen.append(result)

    seen = []
    loop.call_later(0, SETTER, Duck(), 7)
    turns(loop, 2)
    assert seen == ["cancelled", 7]


def test_a_task_refuses_the_result(reported, turns):
    async def forever():
        await asyncio.sleep(100)

    def action(loop):
        task = loop.create_task(forever())
        loop.call_later(0, SETTER, task, 1)
        turns(loop, 3)
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))

    assert reported(action)[1][0][:2] == (
        RuntimeError,
        "Task does not support set_result operation",
    )


def test_stocks_own_futures_are_set_too(loop):
    future = asyncio.Future(loop=loop)
    loop.call_later(0, SETTER, future, 3)
    assert loop.run_until_complete(future) == 3


@pytest.mark.parametrize("method", ["set_result", "cancelled"])
def test_a_method_replaced_on_the_future_is_called(loop, turns, method):
    future = loop.create_future()
    seen = []
    setattr(future, method, lambda *args: seen.append(args))
    loop.call_later(0, SETTER, future, 3)
    turns(loop, 2)
    assert seen == [(3,) if method == "set_result" else ()]
    assert future.done() == (method == "cancelled")


def test_a_method_of_a_subclass_is_called(loop, turns):
    class Mine(type(loop.create_future())):
        def set_result(self, result):
            super().set_result(result * 2)

    future = Mine(loop=loop)
    loop.call_later(0, SETTER, future, 3)
    assert loop.run_until_complete(future) == 6


def test_a_replaced_function_is_called_by_sleep(loop, monkeypatch):
    seen = []

    def mine(future, result):
        seen.append(result)
        SETTER(future, result)

    monkeypatch.setattr(futures, "_set_result_unless_cancelled", mine)
    loop.run_until_complete(asyncio.sleep(0.001, 9))
    assert seen == [9]


def test_replaced_code_of_the_function_is_run(loop):
    def other(fut, result):
        fut.set_result("other")

    code = SETTER.__code__
    SETTER.__code__ = other.__code__
    try:
        assert loop.run_until_complete(asyncio.sleep(0.001, 9)) == "other"
    finally:
        SETTER.__code__ = code
    assert loop.run_until_complete(asyncio.sleep(0.001, 9)) == 9


@pytest.mark.ours("what is known at the import of casyncio")
def test_a_function_replaced_before_the_import_is_called(child):
    result = child.finish(
        child.command(
            "-c",
            "from asyncio import futures\n"
            "def mine(fut, result):\n"
            "    if not fut.cancelled():\n"
            "        fut.set_result('mine')\n"
            "futures._set_result_unless_cancelled = mine\n"
            "import asyncio, casyncio\n"
            "print(casyncio.run(asyncio.sleep(0.001)))\n",
        )
    )
    assert result.out.split() == ["mine"], result


def test_a_context_that_is_entered_already_is_refused(same_outcome, turns):
    def action(loop):
        context = contextvars.copy_context()
        future = loop.create_future()
        loop.call_later(0, SETTER, future, 5, context=context)
        context.run(turns, loop, 2)  # the report fails too, and is logged
        return future.done()

    assert same_outcome(action) is False


def test_a_handle_whose_context_was_looked_at_works(loop):
    future = loop.create_future()
    handle = loop.call_later(0.001, SETTER, future, 5)
    context = handle._context
    assert loop.run_until_complete(future) == 5
    assert handle._context is context


def test_a_call_soon_of_ones_own_sees_the_wakeup_in_the_timers_context(loop_class, make_loop):
    var = contextvars.ContextVar("var")

    class Mine(loop_class):
        def call_soon(self, callback, *args, context=None):
            if args and args[0] is future:
                seen.append(var.get(None))
            return super().call_soon(callback, *args, context=context)

    loop = make_loop(Mine)
    future, seen = None, []
    future = loop.create_future()
    future.add_done_callback(lambda future: None)
    context = contextvars.copy_context()
    context.run(var.set, "inside")
    context.run(loop.call_later, 0, SETTER, future, 1)
    loop.run_until_complete(asyncio.sleep(0.001))
    assert seen == ["inside"]


def test_in_debug_mode_too(reported, turns):
    def action(loop):
        future = loop.create_future()
        loop.call_later(0, SETTER, future, 5)
        loop.run_until_complete(future)
        return loop.run_until_complete(asyncio.sleep(0.001, 4)), future.result()

    assert reported(action, debug=True)[0] == (4, 5)


def test_the_last_reference_may_go_while_the_future_is_set(loop, turns, collect):
    class Thing:
        pass

    future, thing = loop.create_future(), Thing()
    gone = weakref.ref(thing)
    future.add_done_callback(lambda future: None)
    loop.call_later(0, SETTER, future, thing)
    del future, thing
    turns(loop, 3)
    collect()
    assert gone() is None


def test_a_closed_loop_of_the_future_is_reported(reported, new_loop, new_stock, turns):
    def action(loop):
        other = new_stock() if type(loop) is asyncio.SelectorEventLoop else new_loop()
        future = other.create_future()
        future.add_done_callback(print)
        loop.call_later(0, SETTER, future, 5)
        other.close()
        turns(loop, 2)
        return future.done()

    assert reported(action)[1][0][:2] == (RuntimeError, "Event loop is closed")


@pytest.mark.ours("refused by our own module")
def test_only_a_function_can_be_known():
    from casyncio import _native

    with pytest.raises(TypeError, match="a function was expected"):
        _native.use_late_result(print)
    gc.collect()
