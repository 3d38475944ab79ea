"""Debug mode: switches, thread checks, slow callbacks, tracebacks of coroutines."""

import asyncio
import logging
import re
import sys
import threading
import time

import pytest


def nothing(*args):
    """Accept anything."""


@pytest.fixture
def warnings_of(caplog):
    """Run a function; return what it logged for "asyncio" at level WARNING."""

    def run(func):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "asyncio"):
            func()
        return [record.getMessage() for record in caplog.records]

    return run


def test_debug_is_off_and_can_be_switched(loop):
    assert loop.get_debug() is False
    loop.set_debug(True)
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_the_private_flag_is_the_same_flag(loop):
    loop._debug = True
    assert loop.get_debug()
    loop.set_debug(False)
    assert not loop._debug


def test_any_true_value_switches_debug_on(loop):
    loop.set_debug(1)
    assert loop.get_debug()
    loop.set_debug([])
    assert not loop.get_debug()


def test_the_environment_switches_debug_on(child):
    code = "print(new_loop().get_debug())"
    assert child.ok(code, env={"PYTHONASYNCIODEBUG": "1"}).strip() == "True"
    assert child.ok(code, env={"PYTHONASYNCIODEBUG": ""}).strip() == "False"


def test_development_mode_switches_debug_on(child):
    code = "print(new_loop().get_debug())"
    assert child.ok(code, options=["-X", "dev"]).strip() == "True"


def test_the_environment_is_ignored_with_the_option_e(child):
    code = "print(asyncio.SelectorEventLoop().get_debug())\nprint(new_loop().get_debug())"
    out = child.ok(code, options=["-E"], env={"PYTHONASYNCIODEBUG": "1"}).split()
    assert out == ["False", "False"]


def from_other_thread(method):
    """Return an action that calls the method from another thread and raises its error."""

    def action(loop):
        async def main():
            await asyncio.to_thread(method, loop)

        try:
            loop.run_until_complete(main())
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())

    return action


THREAD_CHECKED = {
    "call_soon": lambda loop: loop.call_soon(nothing),
    "call_later": lambda loop: loop.call_later(0, nothing),
    "call_at": lambda loop: loop.call_at(0, nothing),
}


@pytest.mark.parametrize("method", THREAD_CHECKED)
def test_a_call_from_another_thread_is_stocks_error(same_error, method):
    assert same_error(from_other_thread(THREAD_CHECKED[method]), debug=True) is RuntimeError


@pytest.mark.parametrize("method", THREAD_CHECKED)
def test_without_debug_a_call_from_another_thread_is_not_checked(same_outcome, method):
    def method_only(loop):
        THREAD_CHECKED[method](loop)

    same_outcome(from_other_thread(method_only))


def test_call_soon_threadsafe_is_allowed_from_another_thread(loop):
    seen = []
    loop.set_debug(True)
    from_other_thread(lambda loop: loop.call_soon_threadsafe(seen.append, 1))(loop)
    assert seen == [1]


def test_a_loop_that_does_not_run_accepts_any_thread(loop, in_thread, turns):
    seen = []
    loop.set_debug(True)
    in_thread(loop.call_soon, seen.append, 1)
    turns(loop)
    assert seen == [1]


def test_a_slow_callback_is_reported_with_its_handle(loop, turns, warnings_of):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.call_soon(time.sleep, 0.05)
    texts = warnings_of(lambda: turns(loop))
    (text,) = [text for text in texts if "sleep(0.05)" in text]  # a busy machine adds others
    assert text.startswith("Executing <Handle sleep(0.05) created at ")
    seconds = re.search(r" took (\d+\.\d\d\d) seconds$", text)
    assert seconds and 0.05 <= float(seconds[1]) < 20


def test_a_slow_timer_is_reported_with_its_handle(loop, warnings_of):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.call_later(0, lambda: (time.sleep(0.05), loop.stop()))
    texts = warnings_of(loop.run_forever)
    assert len([t for t in texts if t.startswith("Executing <TimerHandle when=")]) == 1


def test_a_slow_task_step_is_reported_with_the_tasks_name(loop, warnings_of):
    async def slow():
        time.sleep(0.05)

    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    task = loop.create_task(slow(), name="the-slow-one")
    texts = warnings_of(lambda: loop.run_until_complete(task))
    (text,) = [text for text in texts if text.startswith("Executing <Task ")]
    assert "name='the-slow-one'" in text


def test_a_fast_callback_is_not_reported(loop, turns, warnings_of):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.5
    loop.call_soon(nothing)
    assert warnings_of(lambda: turns(loop)) == []


def test_without_debug_nothing_is_reported(loop, turns, warnings_of):
    loop.slow_callback_duration = 0.001
    loop.call_soon(time.sleep, 0.01)
    assert warnings_of(lambda: turns(loop)) == []


def test_the_limit_may_be_changed_while_running(loop, warnings_of):
    loop.set_debug(True)
    loop.slow_callback_duration = 60

    def lower():
        loop.slow_callback_duration = 0.02

    loop.call_soon(time.sleep, 0.03)
    loop.call_soon(lower)
    loop.call_soon(time.sleep, 0.1)
    loop.call_soon(loop.stop)
    texts = warnings_of(loop.run_forever)
    assert [re.findall(r"sleep\(.*?\)", text) for text in texts if "sleep" in text] == [
        ["sleep(0.1)"]
    ]


@pytest.mark.parametrize("value", [0, 10, 0.5])
def test_the_limit_is_kept_as_given(loop, value):
    assert loop.slow_callback_duration == 0.1
    loop.slow_callback_duration = value
    assert loop.slow_callback_duration == value


def test_a_slow_callback_that_fails_is_reported_too(loop, turns, warnings_of):
    def fail():
        time.sleep(0.05)
        raise ZeroDivisionError

    loop.set_exception_handler(lambda loop, context: None)
    loop.set_debug(True)
    loop.slow_callback_duration = 0.02
    loop.call_soon(fail)
    texts = warnings_of(lambda: turns(loop))
    assert len([text for text in texts if ".fail() " in text]) == 1


def depth_inside(loop, turns):
    """Return the coroutine origin tracking depth that a callback of the loop sees."""
    seen = []
    loop.call_soon(lambda: seen.append(sys.get_coroutine_origin_tracking_depth()))
    turns(loop)
    return seen[0]


def test_origins_of_coroutines_are_tracked_in_debug_runs_only(loop, turns):
    before = sys.get_coroutine_origin_tracking_depth()
    assert depth_inside(loop, turns) == before
    loop.set_debug(True)
    assert depth_inside(loop, turns) == asyncio.constants.DEBUG_STACK_DEPTH
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_debug_switched_on_while_running_tracks_origins(loop):
    seen = []
    before = sys.get_coroutine_origin_tracking_depth()

    async def main():
        loop.set_debug(True)
        await asyncio.sleep(0.001)
        seen.append(sys.get_coroutine_origin_tracking_depth())
        loop.set_debug(False)
        await asyncio.sleep(0.001)
        seen.append(sys.get_coroutine_origin_tracking_depth())

    loop.run_until_complete(main())
    assert seen == [asyncio.constants.DEBUG_STACK_DEPTH, before]
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_the_tracking_depth_is_restored_after_a_fatal_exception(loop):
    before = sys.get_coroutine_origin_tracking_depth()

    def interrupt():
        raise KeyboardInterrupt

    loop.set_debug(True)
    loop.call_soon(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_debug_switched_from_another_thread_takes_effect(loop, in_thread):
    async def main():
        await asyncio.to_thread(loop.set_debug, True)
        await asyncio.sleep(0.001)
        return sys.get_coroutine_origin_tracking_depth()

    assert loop.run_until_complete(main()) == asyncio.constants.DEBUG_STACK_DEPTH
    loop.run_until_complete(loop.shutdown_default_executor())


def test_a_forgotten_coroutine_is_reported_with_its_origin(child):
    result = child.run(
        """
        async def forgotten():
            pass

        async def main():
            forgotten()

        loop = new_loop()
        loop.set_debug(True)
        loop.run_until_complete(main())
        loop.close()
        """
    )
    assert "coroutine 'forgotten' was never awaited" in result.err
    assert "Coroutine created at" in result.err


def test_a_task_made_in_debug_mode_knows_where(loop):
    loop.set_debug(True)

    async def main():
        task = asyncio.create_task(asyncio.sleep(0))
        await task
        return task

    task = loop.run_until_complete(main())
    assert any(frame.name == "main" for frame in task._source_traceback)


def test_the_thread_check_may_be_called(loop, turns):
    loop._check_thread()
    errors = []

    def check():
        try:
            loop._check_thread()
        except RuntimeError as error:
            errors.append(error)

    async def main():
        loop._check_thread()
        thread = threading.Thread(target=check)
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert len(errors) == 1


def test_a_debug_run_of_real_work_reports_nothing(loop, warnings_of):
    loop.set_debug(True)
    loop.slow_callback_duration = 30

    async def worker(number):
        for _ in range(20):
            await asyncio.sleep(0.0001 * number)
        return number

    async def main():
        return await asyncio.gather(*map(worker, range(20)))

    assert warnings_of(lambda: loop.run_until_complete(main())) == []
