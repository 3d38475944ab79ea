"""asyncio.run, the entry point of nearly every program."""

import asyncio
import os
import sys
import threading
import time

from _harness import (
    PY,
    Cfg,
    case,
    check_loop,
    child,
    collect,
    program,
    raises,
    run,
    timed_case,
)


@case("run.basic", "asyncio.run(coro) runs the coroutine and gives back its value")
def _():
    async def main():
        await asyncio.sleep(0.01)
        return {"data": "result"}

    assert run(main()) == {"data": "result"}


@case(
    "run.exception",
    "an exception of main comes out of asyncio.run; the loop is closed all the same",
)
def _():
    box = []

    async def main():
        box.append(asyncio.get_running_loop())
        raise ValueError("boom")

    with raises(ValueError, "boom"):
        run(main())
    assert box[0].is_closed()


@case("run.new_loop_each_time", "every run makes a loop of its own and closes it afterwards")
def _():
    async def main():
        loop = check_loop()
        assert loop.is_running() and not loop.is_closed()
        return loop

    loops = [run(main()) for _ in range(5)]
    assert len({id(x) for x in loops}) == 5
    assert all(x.is_closed() and not x.is_running() for x in loops)


@case(
    "run.nested",
    (
        "asyncio.run inside a running loop: RuntimeError 'asyncio.run() cannot be called from a"
        " running event loop'"
    ),
)
def _():
    async def inner():
        pass

    async def main():
        c = inner()
        with raises(RuntimeError, "asyncio.run() cannot be called from a running event loop"):
            asyncio.run(c)
        c.close()
        await asyncio.sleep(0)
        return "still alive"

    assert run(main()) == "still alive"


@case(
    "run.in_sync_function",
    (
        "a plain function may call asyncio.run when no loop runs, also in a thread while "
        "another loop runs"
    ),
)
def _():
    def sync_function():
        async def f():
            return id(check_loop())

        return run(f())

    async def main():
        return id(asyncio.get_running_loop()), await asyncio.to_thread(sync_function)

    a, b = run(main())
    assert a != b and isinstance(sync_function(), int)


@case("run.parallel_threads", "runs in several threads at a time do not disturb one another")
def _():
    out = {}

    def work(k):
        async def main():
            for _ in range(20):
                await asyncio.sleep(0.001)
            return k * k

        out[k] = run(main())

    ts = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    [t.start() for t in ts]
    [t.join(20) for t in ts]
    assert out == {k: k * k for k in range(6)}, out


@case(
    "run.not_a_coroutine",
    "run(5) is a ValueError 'a coroutine was expected' (TypeError from 3.14 on)",
)
def _():
    async def f():
        pass

    for bad in (5, f, None):
        with raises(TypeError if PY >= (3, 14) else ValueError):
            run(bad)


@case(
    "run.debug_param",
    "debug=True turns the loop's debug mode on, False off; the default leaves it off",
)
def _():
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=True) is True and run(main(), debug=False) is False
    if not os.environ.get("PYTHONASYNCIODEBUG") and not sys.flags.dev_mode:
        assert run(main()) is False


@timed_case(
    "run.cancels_leftovers",
    "tasks left when main ends are cancelled and awaited (their finally runs), not completed",
)
def _():
    log = []

    async def left():
        try:
            await asyncio.sleep(30)
            log.append("completed")
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            log.append("cancelled")
            raise

    async def main():
        for _ in range(3):
            asyncio.create_task(left())
        await asyncio.sleep(0.01)

    t = time.perf_counter()
    run(main())
    assert log == ["cancelled"] * 3 and time.perf_counter() - t < 10


@case(
    "run.leftover_error_reported",
    (
        "an exception that a leftover task raises while being cancelled goes to the exception "
        "handler"
    ),
)
def _():
    seen = []

    async def left():
        try:
            await asyncio.sleep(30)
        finally:
            raise ZeroDivisionError("in cleanup")

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda lp, c: seen.append(c))
        t = asyncio.create_task(left())
        await asyncio.sleep(0)
        return t

    run(main())
    assert [
        c
        for c in seen
        if "asyncio.run() shutdown" in c["message"]
        and isinstance(c["exception"], ZeroDivisionError)
    ], seen


@case(
    "run.async_generators_closed",
    "an async generator left half way is closed by run (its finally runs on the loop)",
)
def _():
    log, keep = [], []

    async def agen():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0.001)
            log.append(check_loop().is_running())

    async def main():
        g = agen()
        keep.append(g)
        assert await g.__anext__() == 1

    run(main())
    assert log == [True]


@case("run.executor_shut_down", "run waits for threads of the default executor before it returns")
def _():
    log = []

    async def main():
        asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.1), log.append(1)))

    run(main())
    assert log == [1]


@case(
    "run.no_current_loop_after",
    (
        "after run, get_running_loop fails and get_event_loop in the main thread is a "
        "RuntimeError or warns"
    ),
)
def _():
    async def main():
        pass

    run(main())
    with raises(RuntimeError, "no running event loop"):
        asyncio.get_running_loop()
    if Cfg.via == "policy":
        with raises(RuntimeError, "no current event loop"):
            asyncio.get_event_loop()


@case(
    "run.keyboard_interrupt",
    "SIGINT during run cancels main (its finally runs) and KeyboardInterrupt comes out",
)
def _():
    rc, out, err = child("""
import asyncio, os, signal, threading, time
async def main():
    loop = asyncio.get_running_loop()
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        await asyncio.sleep(20)
    except asyncio.CancelledError:
        print('cancelled', flush=True)
        raise
t = time.time()
try:
    run(main())
except KeyboardInterrupt:
    print('kbd', time.time() - t < 10)
""")
    assert rc == 0 and out.split() == ["cancelled", "kbd", "True"], (rc, out, err)


@case(
    "run.keyboard_interrupt_busy",
    "SIGINT stops a coroutine that loops over sleep(0) as well",
)
def _():
    rc, out, err = child("""
import asyncio, os, signal, threading
async def main():
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    while True:
        await asyncio.sleep(0)
try:
    run(main())
except KeyboardInterrupt:
    print('kbd')
""")
    assert rc == 0 and out.split() == ["kbd"], (rc, out, err)


@case("run.loop_factory", "asyncio.run(loop_factory=) uses the given factory", since=(3, 12))
def _():
    async def main():
        check_loop()
        return 3

    assert asyncio.run(main(), loop_factory=Cfg.factory) == 3


@case(
    "run.runner",
    "asyncio.Runner(loop_factory=) runs several coroutines on one loop and closes it",
)
def _():
    async def f(x):
        check_loop()
        return x

    with asyncio.Runner(loop_factory=Cfg.factory) as r:
        assert [r.run(f(1)), r.run(f(2))] == [1, 2]
        loop = r.get_loop()
    assert loop.is_closed()


@case(
    "run.policy",
    "a policy set with set_event_loop_policy decides which loop run and new_event_loop make",
    via="policy",
)
def _():
    assert isinstance(asyncio.get_event_loop_policy(), Cfg.policy)
    loop = check_loop(asyncio.new_event_loop())
    loop.close()


@case(
    "run.prints_in_order",
    "start, the wait, end: the wait is as long as asked and printed lines stay in order",
)
def _():
    rc, out, err = child("""
import asyncio, time
async def main():
    print('start')
    t = time.monotonic()
    await asyncio.sleep(0.2)
    print('end')
    print(time.monotonic() - t >= 0.19)
run(main())
""")
    assert rc == 0 and out.split() == ["start", "end", "True"] and not err, (rc, out, err)


@case("run.many", "300 runs one after another leak no file descriptors")
def _():
    async def main():
        await asyncio.sleep(0)

    run(main())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(300):
        run(main())
    collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 2


program(__name__)
