"""Signal handlers of the loop and of Python, Ctrl+C, child processes."""

import asyncio
import os
import signal
import sys
import threading
import time

import pytest


def nothing(*args):
    """Accept anything."""


@pytest.fixture(autouse=True)
def restored():
    """Put signal handlers and the wake-up descriptor back after each test."""
    numbers = signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGINT
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1


def kill_soon(number, delay=0.02):
    """Send this process a signal from another thread, after a while."""
    timer = threading.Timer(delay, os.kill, [os.getpid(), number])
    timer.start()
    return timer


def test_a_handler_runs_while_the_loop_sleeps(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_a_handler_gets_its_arguments(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda *args: (seen.append(args), loop.stop()), 1, 2)
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [(1, 2)]


def test_a_handler_runs_while_the_loop_is_busy(loop):
    def spin():
        loop.call_soon(spin)

    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append(1), loop.stop()))
    loop.call_soon(spin)
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [1]


def test_a_handler_runs_for_each_signal_that_came(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, 1)
    loop.add_signal_handler(signal.SIGUSR2, seen.append, 2)

    async def main():
        for _ in range(10):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR2)
            await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGUSR2)
    assert sorted(seen) == [1] * 10 + [2] * 10


def test_a_second_handler_replaces_the_first(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "first")
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append("second"), loop.stop()))
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == ["second"]


def test_a_signal_that_came_before_the_run_is_delivered(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append(1), loop.stop()))
    os.kill(os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [1]


def test_remove_tells_whether_there_was_a_handler(loop):
    loop.add_signal_handler(signal.SIGUSR1, nothing)
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_remove_restores_the_default_and_the_wakeup_descriptor(loop):
    loop.add_signal_handler(signal.SIGUSR1, nothing)
    loop.add_signal_handler(signal.SIGINT, nothing)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.remove_signal_handler(signal.SIGINT)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_close_removes_the_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, nothing)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


async def coroutine_function():
    """Be refused as a signal handler."""


BAD = {
    "SIGKILL": (signal.SIGKILL, nothing),
    "SIGSTOP": (signal.SIGSTOP, nothing),
    "0": (0, nothing),
    "-1": (-1, nothing),
    "10000": (10_000, nothing),
    "str": ("SIGINT", nothing),
    "None": (None, nothing),
    "float": (2.0, nothing),
    "coroutine function": (signal.SIGUSR1, coroutine_function),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_a_bad_signal_or_handler_fails_in_stocks_words(same_error, arguments):
    same_error(lambda loop: loop.add_signal_handler(*arguments))


@pytest.mark.parametrize("number", [0, -1, 10_000, "SIGINT", None, signal.SIGKILL], ids=str)
def test_removing_a_bad_signal_does_what_stocks_does(same_outcome, number):
    same_outcome(lambda loop: loop.remove_signal_handler(number))


def test_a_handler_in_another_thread_is_stocks_error(same_error, in_thread):
    def action(loop):
        in_thread(loop.add_signal_handler, signal.SIGUSR1, nothing)

    assert same_error(action) is RuntimeError


def test_a_handler_of_a_loop_running_in_another_thread_is_stocks_error(same_error, in_thread):
    async def main(loop):
        loop.add_signal_handler(signal.SIGUSR1, nothing)

    def action(loop):
        in_thread(lambda: loop.run_until_complete(main(loop)))

    assert same_error(action) is RuntimeError


def test_an_error_in_a_handler_goes_to_the_exception_handler(loop):
    contexts = []
    loop.set_exception_handler(lambda loop, context: (contexts.append(context), loop.stop()))
    loop.add_signal_handler(signal.SIGUSR1, lambda: 1 / 0)
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    loop.remove_signal_handler(signal.SIGUSR1)
    assert isinstance(contexts[0]["exception"], ZeroDivisionError)


def test_a_python_signal_handler_runs_while_the_loop_sleeps(loop):
    seen = []

    def handler(*args):
        seen.append(time.monotonic())
        loop.call_soon_threadsafe(loop.stop)

    signal.signal(signal.SIGUSR1, handler)
    kill_soon(signal.SIGUSR1, 0.05)
    timer = loop.call_later(20, loop.stop)
    start = time.monotonic()
    loop.run_forever()
    timer.cancel()
    assert len(seen) == 1 and seen[0] - start < 10


def test_a_python_signal_handler_may_stop_a_sleeping_loop(loop):
    seen = []

    def handler(number, frame):
        seen.append(number)
        loop.call_soon_threadsafe(loop.stop)

    signal.signal(signal.SIGUSR1, handler)
    kill_soon(signal.SIGUSR1)
    loop.run_forever()
    assert seen == [signal.SIGUSR1]


def test_an_exception_of_a_python_signal_handler_leaves_the_sleeping_loop(loop):
    def fail(*args):
        raise LookupError("from the handler")

    signal.signal(signal.SIGUSR1, fail)
    kill_soon(signal.SIGUSR1)
    loop.call_later(20, loop.stop)
    with pytest.raises(LookupError, match="from the handler"):
        loop.run_forever()
    assert loop.run_until_complete(asyncio.sleep(0.001, "fine")) == "fine"


def test_many_signals_in_the_middle_of_polls_are_no_error(loop, reports):
    signal.signal(signal.SIGALRM, nothing)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)

    async def main():
        for _ in range(50):
            await asyncio.sleep(0.002)

    try:
        loop.run_until_complete(main())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert reports == []


def test_signals_do_not_shorten_a_sleep(loop):
    signal.signal(signal.SIGALRM, nothing)
    signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)
    try:
        start = time.monotonic()
        loop.run_until_complete(asyncio.sleep(0.1))
        assert 0.1 <= time.monotonic() - start < 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_the_loop_that_added_its_handler_last_gets_the_signals(new_loop):
    seen = []
    loops = new_loop(), new_loop()
    loops[0].add_signal_handler(signal.SIGUSR1, lambda: (seen.append(0), loops[0].stop()))
    loops[1].add_signal_handler(signal.SIGUSR1, lambda: (seen.append(1), loops[1].stop()))
    kill_soon(signal.SIGUSR1)
    loops[1].run_forever()
    for loop in loops:
        loop.remove_signal_handler(signal.SIGUSR1)
    assert seen == [1]


def test_a_loop_keeps_no_descriptor_for_signals_that_it_does_not_handle(new_loop, fds):
    before = fds()
    loop = new_loop()
    loop.add_signal_handler(signal.SIGUSR1, nothing)
    loop.remove_signal_handler(signal.SIGUSR1)
    loop.close()
    assert fds() == before


CTRL_C = {
    "idle": "print('ready', flush=True)\nloop.run_forever()\n",
    "task": "async def main():\n    print('ready', flush=True)\n    await asyncio.sleep(100)\n"
    "loop.run_until_complete(main())\n",
    "busy python": "def spin():\n    loop.call_soon(spin)\nloop.call_soon(spin)\n"
    "print('ready', flush=True)\nloop.run_forever()\n",
    "busy c": "import functools\nchain = functools.partial(loop.call_soon)\n"
    "chain.__setstate__((loop.call_soon, (chain,), {}, None))\nloop.call_soon(chain)\n"
    "print('ready', flush=True)\nloop.run_forever()\n",
    "in a callback": "import time\nloop.call_soon(lambda: (print('ready', flush=True), "
    "time.sleep(100)))\nloop.run_forever()\n",
}


@pytest.mark.parametrize("kind", CTRL_C)
def test_ctrl_c_ends_the_program_as_python_does(child, kind):
    process = child.start("loop = new_loop()\n" + CTRL_C[kind])
    assert child.interrupt_when_ready(process) == "ready\n"
    result = child.finish(process, 10)
    assert result.status == -signal.SIGINT
    assert result.err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("kind", CTRL_C)
def test_the_loop_is_usable_after_ctrl_c(child, kind):
    indented = CTRL_C[kind].replace("\n", "\n    ")
    process = child.start(
        f"loop = new_loop()\ntry:\n    {indented}\nexcept KeyboardInterrupt:\n    pass\n"
        "loop2 = new_loop()\n"
        "for one in loop, loop2:\n"
        "    print(one.run_until_complete(asyncio.sleep(0.01, 'after')))\n"
        "    one.close()\n"
    )
    child.interrupt_when_ready(process)
    result = child.finish(process, 10)
    assert result.status == 0 and result.out == "after\nafter\n", result.err


def test_ctrl_c_cancels_the_main_task_of_a_runner(child):
    process = child.start(
        """
        async def main():
            try:
                print('ready', flush=True)
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                print('cancelled')
                await asyncio.sleep(0.01)
                print('cleaned up')
                raise

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
        """
    )
    child.interrupt_when_ready(process)
    result = child.finish(process, 10)
    assert result.out == "cancelled\ncleaned up\n" and result.status == -signal.SIGINT


def test_a_child_process_ends_with_its_status(loop):
    async def main():
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(7)")
        return await process.wait(), process.returncode

    assert loop.run_until_complete(main()) == (7, 7)


def test_a_killed_child_process_tells_its_signal(loop):
    async def main():
        process = await asyncio.create_subprocess_exec("sleep", "100")
        process.terminate()
        return await process.wait()

    assert loop.run_until_complete(main()) == -signal.SIGTERM


def test_the_pipes_of_a_child_process_carry_what_is_written(loop):
    async def main():
        process = await asyncio.create_subprocess_exec(
            "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(b"x" * 300_000)
        return len(out), process.returncode

    assert loop.run_until_complete(main()) == (300_000, 0)


def test_many_child_processes_each_tell_their_own_status(loop):
    async def one(status):
        process = await asyncio.create_subprocess_shell(f"exit {status}")
        return await process.wait()

    async def main():
        return await asyncio.gather(*(one(status) for status in range(30)))

    assert loop.run_until_complete(main()) == list(range(30))


def test_a_child_process_runs_in_a_loop_of_another_thread(loop, in_thread):
    async def main():
        process = await asyncio.create_subprocess_shell("exit 3")
        return await process.wait()

    assert in_thread(loop.run_until_complete, main()) == 3


def test_no_child_process_is_left_behind(loop):
    async def main():
        process = await asyncio.create_subprocess_shell("exit 0")
        await process.wait()

    loop.run_until_complete(main())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_the_end_of_a_child_interrupts_no_poll(loop):
    seen = []
    loop.add_signal_handler(signal.SIGCHLD, seen.append, "child")

    async def main():
        process = await asyncio.create_subprocess_shell("exit 0")
        status = await process.wait()
        await asyncio.sleep(0.02)
        return status

    assert loop.run_until_complete(main()) == 0
    loop.remove_signal_handler(signal.SIGCHLD)
    assert seen == ["child"]
