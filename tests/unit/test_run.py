"""run_forever, run_until_complete, stop and close."""

import asyncio
import logging
import threading
import time

import pytest


async def answer():
    """Return a value after a turn."""
    await asyncio.sleep(0)
    return 42


def test_run_until_complete_returns_the_result(loop):
    assert loop.run_until_complete(answer()) == 42


def test_run_until_complete_raises_the_exception(loop):
    async def fail():
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        loop.run_until_complete(fail())


def test_run_until_complete_takes_a_future(loop):
    future = loop.create_future()
    loop.call_soon(future.set_result, "done")
    assert loop.run_until_complete(future) == "done"


def test_run_until_complete_of_a_done_future_returns_at_once(loop):
    future = loop.create_future()
    future.set_result("done")
    assert loop.run_until_complete(future) == "done"


@pytest.mark.parametrize("junk", [None, 1, "text", answer], ids=["None", "int", "str", "function"])
def test_run_until_complete_of_junk_fails_in_stocks_words(same_error, junk):
    same_error(lambda loop: loop.run_until_complete(junk))


def test_run_until_complete_refuses_a_future_of_another_loop(same_error, new_stock):
    foreign = new_stock().create_future()
    assert same_error(lambda loop: loop.run_until_complete(foreign)) is ValueError


def test_a_stop_before_the_future_is_done_is_stocks_error(same_error):
    def action(loop):
        loop.call_soon(loop.stop)
        loop.run_until_complete(loop.create_future())

    assert same_error(action) is RuntimeError


def test_a_task_may_be_run_on_after_a_stop(loop):
    task = loop.create_task(asyncio.sleep(0.01, "late"))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert not task.done()
    assert loop.run_until_complete(task) == "late"


def test_stop_before_run_runs_one_turn(loop):
    seen = []
    loop.call_soon(lambda: (seen.append("first"), loop.call_soon(seen.append, "second")))
    loop.stop()
    loop.run_forever()
    assert seen == ["first"]
    loop.stop()
    loop.run_forever()
    assert seen == ["first", "second"]


def test_stop_before_run_delivers_waiting_io(loop, pair):
    first, second = pair
    seen = []
    loop.add_reader(first, lambda: seen.append(first.recv(10)))
    second.send(b"waiting")
    loop.stop()
    loop.run_forever()
    loop.remove_reader(first)
    assert seen == [b"waiting"]


def test_stop_before_run_fires_due_timers(loop):
    seen = []
    loop.call_at(loop.time() - 1, seen.append, "due")
    loop.stop()
    loop.run_forever()
    assert seen == ["due"]


def test_stop_before_run_does_not_wait(loop):
    loop.call_later(10, loop.stop)
    loop.stop()
    start = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - start < 5


def test_callbacks_of_the_turn_run_though_the_first_one_stops(loop):
    seen = []
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, "second")
    loop.call_soon(seen.append, "third")
    loop.run_forever()
    assert seen == ["second", "third"]


def test_a_callback_scheduled_in_the_last_turn_runs_in_the_next_run(loop):
    seen = []
    loop.call_soon(loop.call_soon, seen.append, "scheduled")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == []
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["scheduled"]


def test_stop_twice_ends_one_run_only(loop):
    seen = []
    loop.stop()
    loop.stop()
    loop.run_forever()
    loop.call_soon(seen.append, "ran")
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert seen == ["ran"]


def test_stop_after_a_run_ends_the_next_run(loop, turns):
    turns(loop)
    loop.stop()
    loop.call_later(10, lambda: None)
    start = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - start < 5


def nested_run(inner_of):
    """Return an action that runs inner_of(loop) inside the running loop and raises its error."""

    def action(loop):
        async def main():
            inner_of(loop)

        loop.run_until_complete(main())

    return action


def test_running_the_running_loop_is_stocks_error(same_error):
    assert same_error(nested_run(lambda loop: loop.run_forever())) is RuntimeError


def test_waiting_in_the_running_loop_is_stocks_error(same_error):
    def inner(loop):
        loop.run_until_complete(loop.create_future())

    assert same_error(nested_run(inner)) is RuntimeError


def test_running_a_second_loop_in_the_thread_is_stocks_error(new_loop, same_error):
    def inner(loop):
        new_loop().run_forever()

    assert same_error(nested_run(inner)) is RuntimeError


@pytest.mark.ours("stock 3.13.0 forgets the running loop there")
def test_a_refused_nested_run_leaves_the_outer_run_unharmed(loop):
    async def main():
        with pytest.raises(RuntimeError):
            loop.run_forever()
        assert asyncio.get_running_loop() is loop and loop.is_running()
        await asyncio.sleep(0.001)
        return "fine"

    assert loop.run_until_complete(main()) == "fine"


def test_closing_a_running_loop_is_stocks_error(same_error):
    assert same_error(nested_run(lambda loop: loop.close())) is RuntimeError


def test_a_refused_close_leaves_the_loop_running(loop):
    async def main():
        with pytest.raises(RuntimeError):
            loop.close()
        await asyncio.sleep(0.001)
        return loop.is_closed()

    assert loop.run_until_complete(main()) is False


def test_running_a_closed_loop_is_stocks_error(same_error):
    def action(loop):
        loop.close()
        loop.run_forever()

    assert same_error(action) is RuntimeError


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_waiting_on_a_closed_loop_is_stocks_error(same_error):
    def action(loop):
        loop.close()
        loop.run_until_complete(answer())

    assert same_error(action) is RuntimeError


CLOSED = {
    "create_task": lambda loop: loop.create_task(answer()),
    "run_in_executor": lambda loop: loop.run_in_executor(None, print),
    "add_reader": lambda loop: loop.add_reader(0, print),
    "add_writer": lambda loop: loop.add_writer(0, print),
    "remove_reader": lambda loop: loop.remove_reader(0),
    "remove_writer": lambda loop: loop.remove_writer(0),
    "add_signal_handler": lambda loop: loop.add_signal_handler(10, print),
    "stop": lambda loop: loop.stop(),
    "time": lambda loop: loop.time() > 0,
    "set_debug": lambda loop: loop.set_debug(True),
    "is_running": lambda loop: loop.is_running(),
    "call_exception_handler": lambda loop: loop.call_exception_handler({"message": "closed"}),
    "create_future": lambda loop: loop.create_future().done(),
    "_check_closed": lambda loop: loop._check_closed(),
    "_write_to_self": lambda loop: loop._write_to_self(),
}


@pytest.mark.parametrize("call", CLOSED)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_method_of_a_closed_loop_does_what_stocks_does(same_outcome, call):
    def action(loop):
        loop.close()
        return CLOSED[call](loop)

    same_outcome(action)


def test_close_twice_is_harmless(loop):
    loop.close()
    loop.close()
    assert loop.is_closed() and not loop.is_running()


def test_close_drops_callbacks_and_timers(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    loop.call_later(0, seen.append, 2)
    loop.close()
    assert seen == [] and len(loop._ready) == 0 and len(loop._scheduled) == 0


def test_close_shuts_the_default_executor_down(loop):
    assert loop.run_until_complete(loop.run_in_executor(None, threading.get_ident))
    executor = loop._default_executor
    loop.close()
    with pytest.raises(RuntimeError):
        executor.submit(print)


def test_close_in_debug_mode_is_logged(loop, caplog):
    loop.set_debug(True)
    with caplog.at_level(logging.DEBUG, "asyncio"):
        loop.close()
    assert any(record.getMessage().startswith("Close <") for record in caplog.records)


def test_is_running_is_true_only_while_running(loop):
    seen = []
    loop.call_soon(lambda: seen.append(loop.is_running()))
    loop.stop()
    assert not loop.is_running()
    loop.run_forever()
    assert seen == [True] and not loop.is_running()


def test_is_running_is_seen_from_another_thread(loop, in_thread):
    async def main():
        return await asyncio.to_thread(loop.is_running)

    assert loop.run_until_complete(main()) is True
    assert in_thread(loop.is_running) is False
    loop.run_until_complete(loop.shutdown_default_executor())


def test_the_running_loop_is_visible_inside_and_only_inside(loop):
    seen = []
    loop.call_soon(lambda: seen.append(asyncio.get_running_loop()))
    loop.call_soon(lambda: seen.append(asyncio._get_running_loop()))
    loop.call_soon(lambda: seen.append(asyncio.events.get_event_loop()))
    loop.stop()
    loop.run_forever()
    assert seen == [loop, loop, loop]
    assert asyncio._get_running_loop() is None


def test_the_running_loop_is_not_visible_in_another_thread(loop):
    async def main():
        return await loop.run_in_executor(None, asyncio._get_running_loop)

    assert loop.run_until_complete(main()) is None
    loop.run_until_complete(loop.shutdown_default_executor())


def test_the_thread_id_is_set_while_running(loop):
    seen = []
    loop.call_soon(lambda: seen.append(loop._thread_id))
    loop.stop()
    assert loop._thread_id is None
    loop.run_forever()
    assert seen == [threading.get_ident()] and loop._thread_id is None


def test_a_loop_runs_in_another_thread(loop, in_thread):
    assert in_thread(loop.run_until_complete, answer()) == 42


def test_a_loop_runs_in_one_thread_after_the_other(loop, in_thread):
    for _ in range(5):
        assert in_thread(loop.run_until_complete, answer()) == 42
    assert loop.run_until_complete(answer()) == 42


def test_many_loops_run_in_many_threads(new_loop):
    loops = [new_loop() for _ in range(8)]
    results = {}

    def work(loop):
        async def main():
            for _ in range(50):
                await asyncio.sleep(0.0005)
            return asyncio.get_running_loop()

        results[loop] = loop.run_until_complete(main())

    threads = [threading.Thread(target=work, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == {loop: loop for loop in loops}


def test_many_loops_run_one_after_the_other(new_loop):
    for _ in range(50):
        loop = new_loop()
        assert loop.run_until_complete(answer()) == 42
        loop.close()


def test_async_generators_are_closed_at_shutdown(loop):
    seen = []

    async def generator():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main():
        kept.append(generator())
        await kept[0].__anext__()

    kept = []
    loop.run_until_complete(main())
    assert seen == []
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert seen == ["closed"]


def test_an_async_generator_dropped_in_a_run_is_closed_by_the_loop(loop):
    seen = []

    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main():
        async for _ in generator():
            break
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())
    assert seen == ["closed"]


def test_the_async_generator_hooks_are_restored_after_a_run(loop):
    import sys

    before = sys.get_asyncgen_hooks()
    inside = []
    loop.call_soon(lambda: inside.append(sys.get_asyncgen_hooks()))
    loop.stop()
    loop.run_forever()
    assert inside[0] != before and sys.get_asyncgen_hooks() == before


def test_the_repr_tells_the_state(same_outcome):
    def action(loop):
        texts = [repr(loop)]
        loop.call_soon(lambda: texts.append(repr(loop)))
        loop.stop()
        loop.run_forever()
        loop.close()
        return [text.partition(" ")[2] for text in [*texts, repr(loop)]]

    same_outcome(action)


def test_an_interrupt_while_a_run_is_set_up_leaves_the_loop_usable(make_loop, loop_class):
    class Interrupted(loop_class):
        times = 1

        @property
        def _asyncgen_firstiter_hook(self):
            if self.times:
                self.times -= 1
                raise KeyboardInterrupt
            return super()._asyncgen_firstiter_hook

    loop = make_loop(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not loop.is_running() and asyncio._get_running_loop() is None
    assert loop.run_until_complete(answer()) == 42
