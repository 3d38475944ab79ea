"""call_soon_threadsafe, wake-ups, and fairness towards threads, signals, I/O and timers."""

import asyncio
import contextlib
import functools
import sys
import threading
import time
import warnings

import pytest

# A chain of callbacks that never runs a line of Python code on casyncio.
CHAIN = """
import functools, os, signal, socket, sys, threading, time
loop = new_loop()
chain = functools.partial(loop.call_soon)
chain.__setstate__((loop.call_soon, (chain,), {}, None))
"""


def nothing(*args):
    """Accept anything."""


def test_a_storm_from_eight_threads_loses_nothing_and_keeps_order(loop):
    per_thread, threads = 5000, 8
    seen = [[] for _ in range(threads)]
    left = [threads]

    def done():
        left[0] -= 1
        if not left[0]:
            loop.stop()

    def storm(number):
        for count in range(per_thread):
            loop.call_soon_threadsafe(seen[number].append, count)
        loop.call_soon_threadsafe(done)

    workers = [threading.Thread(target=storm, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    loop.run_forever()
    for worker in workers:
        worker.join()
    assert seen == [list(range(per_thread))] * threads


def test_a_storm_while_the_loop_starts_and_stops_loses_nothing(loop):
    seen = []
    finished = threading.Event()

    def storm():
        for count in range(3000):
            loop.call_soon_threadsafe(seen.append, count)
            if count % 100 == 0:
                time.sleep(0.0005)
        finished.set()

    worker = threading.Thread(target=storm)
    worker.start()
    while not finished.is_set():
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
    worker.join()
    loop.stop()
    loop.run_forever()
    assert seen == list(range(3000))


def test_a_sleeping_loop_wakes_promptly(loop):
    delays = []

    def wake():
        for _ in range(20):
            time.sleep(0.005)
            loop.call_soon_threadsafe(lambda sent: delays.append(time.perf_counter() - sent),
                                      time.perf_counter())  # fmt: skip
        loop.call_soon_threadsafe(loop.stop)

    worker = threading.Thread(target=wake)
    loop.call_later(30, nothing)
    worker.start()
    loop.run_forever()
    worker.join()
    # The quickest tells how the loop wakes, the slow ones how busy the machine is.
    assert len(delays) == 20 and min(delays) < 0.005 and max(delays) < 20


def test_a_loop_without_any_timer_wakes(loop):
    seen = []
    wake = [lambda: (seen.append(1), loop.stop())]
    threading.Timer(0.02, loop.call_soon_threadsafe, wake).start()
    loop.run_forever()
    assert seen == [1]


def test_a_call_before_the_run_is_not_lost(loop, in_thread):
    seen = []
    in_thread(loop.call_soon_threadsafe, seen.append, 1)
    loop.stop()
    loop.run_forever()
    assert seen == [1]


def test_a_call_before_the_run_does_not_keep_the_loop_awake(loop, in_thread):
    for _ in range(100):
        in_thread(loop.call_soon_threadsafe, nothing)
    before = time.process_time()
    loop.call_later(0.3, loop.stop)
    loop.run_forever()
    assert time.process_time() - before < 0.15


def test_the_handle_of_a_threadsafe_call_may_be_cancelled(loop, in_thread):
    seen = []
    handle = in_thread(loop.call_soon_threadsafe, seen.append, 1)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    loop.stop()
    loop.run_forever()
    assert seen == []


def test_a_threadsafe_call_runs_in_the_context_of_the_caller(loop, in_thread):
    import contextvars

    var = contextvars.ContextVar("var", default="unset")
    seen = []

    def call():
        var.set("of the thread")
        loop.call_soon_threadsafe(lambda: seen.append(var.get()))

    in_thread(call)
    loop.stop()
    loop.run_forever()
    assert seen == ["of the thread"]


def test_a_threadsafe_call_on_a_loop_being_closed_runs_or_raises(new_loop):
    for _ in range(30):
        loop = new_loop()
        errors = []

        def storm(loop=loop, errors=errors):
            try:
                for _ in range(2000):
                    loop.call_soon_threadsafe(nothing)
            except RuntimeError as error:
                errors.append(str(error))

        worker = threading.Thread(target=storm)
        worker.start()
        time.sleep(0.0002)
        loop.close()
        worker.join(10)
        assert not worker.is_alive() and errors in ([], ["Event loop is closed"])


def test_the_wake_up_of_a_closed_loop_is_silent(loop, in_thread):
    loop._write_to_self()
    loop.close()
    assert loop._write_to_self() is None
    assert in_thread(loop._write_to_self) is None


def test_stop_from_another_thread_takes_effect(loop):
    def stop():
        time.sleep(0.02)
        loop.call_soon_threadsafe(loop.stop)

    threading.Thread(target=stop).start()
    start = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - start < 5


def test_two_loops_in_two_threads_talk_to_each_other(new_loop):
    loops = new_loop(), new_loop()
    count = [0]

    def bounce(side):
        count[0] += 1
        if count[0] >= 2000:
            for loop in loops:
                loop.call_soon_threadsafe(loop.stop)
        else:
            loops[1 - side].call_soon_threadsafe(bounce, 1 - side)

    other = threading.Thread(target=loops[1].run_forever)
    other.start()
    loops[0].call_soon(bounce, 0)
    loops[0].run_forever()
    other.join(10)
    assert not other.is_alive() and count[0] >= 2000


def test_run_coroutine_threadsafe_returns_the_result(loop):
    async def work(number):
        await asyncio.sleep(0.001)
        return number * 2

    def client():
        futures = [asyncio.run_coroutine_threadsafe(work(n), loop) for n in range(50)]
        results.extend(future.result(10) for future in futures)
        loop.call_soon_threadsafe(loop.stop)

    results = []
    worker = threading.Thread(target=client)
    worker.start()
    loop.run_forever()
    worker.join()
    assert results == [number * 2 for number in range(50)]


def test_many_executor_calls_all_return(loop):
    async def main():
        calls = [loop.run_in_executor(None, pow, n, 2) for n in range(500)]
        return await asyncio.gather(*calls)

    assert loop.run_until_complete(main()) == [n * n for n in range(500)]
    loop.run_until_complete(loop.shutdown_default_executor())


def test_a_busy_chain_of_c_calls_starves_no_thread(child):
    child.ok(
        CHAIN
        + """
def work():
    for _ in range(50):
        time.sleep(0.001)
    loop.call_soon_threadsafe(loop.stop)

threading.Thread(target=work).start()
loop.call_soon(chain)
loop.run_forever()
"""
    )


def test_a_thread_that_computes_advances_beside_a_busy_chain(child):
    out = child.ok(
        CHAIN
        + """
def work():
    count = 0
    while time.monotonic() < end:
        count += 1
    print(count)
    loop.call_soon_threadsafe(loop.stop)

end = time.monotonic() + 1
threading.Thread(target=work).start()
loop.call_soon(chain)
loop.run_forever()
"""
    )
    assert int(out) > 20_000


def test_a_busy_chain_of_c_calls_lets_signal_handlers_run(child):
    child.ok(
        CHAIN
        + """
signal.signal(signal.SIGALRM, lambda *args: loop.stop())
signal.setitimer(signal.ITIMER_REAL, 0.1)
loop.call_soon(chain)
loop.run_forever()
"""
    )


def test_a_busy_chain_of_c_calls_lets_the_loops_signal_handlers_run(child):
    child.ok(
        CHAIN
        + """
loop.add_signal_handler(signal.SIGALRM, loop.stop)
signal.setitimer(signal.ITIMER_REAL, 0.1)
loop.call_soon(chain)
loop.run_forever()
"""
    )


def test_a_busy_chain_of_c_calls_lets_timers_fire(loop):
    chain = functools.partial(loop.call_soon)
    chain.__setstate__((loop.call_soon, (chain,), {}, None))
    start = time.monotonic()
    loop.call_later(0.05, loop.stop)
    loop.call_soon(chain)
    loop.run_forever()
    assert 0.05 <= time.monotonic() - start < 20


ECHO = (
    CHAIN
    + """
first, second = socket.socketpair()
if os.fork() == 0:
    first.close()
    delays = []
    for _ in range(300):
        start = time.perf_counter()
        second.send(b"x")
        second.recv(1)
        delays.append(time.perf_counter() - start)
        time.sleep(0.0005)
    delays.sort()
    print(delays[150], delays[285], flush=True)
    os._exit(0)
second.close()
def read():
    data = first.recv(10)
    if data:
        first.send(data)
    else:
        loop.stop()
loop.add_reader(first, read)
"""
)


@pytest.mark.parametrize("busy", ["chain", "many"])
def test_a_socket_is_served_soon_while_the_loop_is_busy(child, busy):
    start = {
        "chain": "loop.call_soon(chain)\n",
        "many": "for _ in range(100): loop.call_soon(functools.partial(chain))\n",
    }[busy]
    out = child.ok(ECHO + start + "loop.run_forever()\n")
    median, slow = map(float, out.split())
    assert median < 0.002 and slow < 0.02


def test_a_storm_of_wakeups_lets_a_socket_be_served(child):
    out = child.ok(
        ECHO
        + """
def storm():
    while not stopped:
        loop.call_soon_threadsafe(int)
        time.sleep(0)
stopped = False
worker = threading.Thread(target=storm)
worker.start()
loop.run_forever()
stopped = True
worker.join()
"""
    )
    median, _ = map(float, out.split())
    assert median < 0.05


@pytest.mark.ours("stock looks first and enters later")
def test_of_two_threads_that_run_a_loop_at_once_one_is_refused(make_loop, loop_class):
    barrier = threading.Barrier(2)

    class Together(loop_class):
        def _check_running(self):
            super()._check_running()
            with contextlib.suppress(threading.BrokenBarrierError):
                barrier.wait(1)

    loop = make_loop(Together)
    errors = []

    def run():
        try:
            loop.run_forever()
        except RuntimeError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    for _ in range(100):
        loop.call_soon_threadsafe(loop.stop)
        threads[0].join(0.02)
        threads[1].join(0.02)
    assert not threads[0].is_alive() and not threads[1].is_alive()
    assert errors == ["This event loop is already running"]


def test_readers_added_from_another_thread_do_not_crash(child):
    child.ok(
        """
        import resource, socket, threading, time
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (3000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        loop = new_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        pairs = [socket.socketpair() for _ in range(1000)]
        for _ in range(5):
            for first, second in pairs:
                loop.add_reader(first, first.recv, 1)
                second.send(b"x")
            for first, second in pairs:
                loop.remove_reader(first)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        """
    )


# ---- executors ----


@pytest.mark.skipif(sys.version_info < (3, 12), reason="timeout came with Python 3.12")
@pytest.mark.parametrize(
    "busy",
    [
        False,
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                sys.version_info < (3, 13),
                reason="asyncio 3.12.1 counts the timeout from the end of the executor",
            ),
        ),
    ],
)
def test_the_default_executor_is_waited_for_no_longer_than_its_timeout(same_outcome, busy):
    def action(loop):
        released, began = threading.Event(), threading.Event()

        async def main():
            waits = loop.run_in_executor(None, lambda: (began.set(), released.wait(50))[1])
            await asyncio.to_thread(began.wait, 50)
            if not busy:
                released.set()
                assert await waits
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                await loop.shutdown_default_executor(timeout=0.05 if busy else 50)
            released.set()
            with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
                loop.run_in_executor(None, nothing)
            return [str(warning.message) for warning in caught]

        return loop.run_until_complete(main())

    assert bool(same_outcome(action)) is busy


@pytest.mark.parametrize("executor", [None, object(), 1])
def test_only_a_thread_pool_will_do_as_the_default_executor(same_error, executor):
    assert same_error(lambda loop: loop.set_default_executor(executor)) is TypeError
