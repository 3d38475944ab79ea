"""Blocking code beside the loop: to_thread, executors, files, databases, and life without them."""

import asyncio
import concurrent.futures
import contextvars
import os
import sqlite3
import tempfile
import threading
import time

from _harness import case, program, raises, timed, timed_case


async def gaps(stop):
    """The longest time between two ticks of 5 ms."""
    worst, last = 0.0, time.monotonic()
    while not stop.is_set():
        await asyncio.sleep(0.005)
        now = time.monotonic()
        worst, last = max(worst, now - last), now
    return worst


@case(
    "blocking.time_sleep_stalls",
    (
        "time.sleep in a coroutine stops every other task for its whole length; three of them "
        "take the sum"
    ),
)
async def _():
    stop = asyncio.Event()
    t = asyncio.create_task(gaps(stop))
    await asyncio.sleep(0.01)
    t0 = time.monotonic()

    async def block():
        time.sleep(0.05)

    await asyncio.gather(block(), block(), block())
    assert time.monotonic() - t0 >= 0.149
    stop.set()
    assert await t >= 0.149


@case(
    "to_thread.basic",
    (
        "to_thread(func, *args, **kwargs) runs in another thread, gives the value, carries "
        "exceptions and context variables"
    ),
)
async def _():
    var = contextvars.ContextVar("v")
    var.set("ctx")

    def f(a, *, b):
        return a + b, threading.get_ident(), var.get()

    v, ident, c = await asyncio.to_thread(f, 1, b=2)
    assert (v, c) == (3, "ctx") and ident != threading.get_ident()

    def bad():
        raise OSError("in thread")

    with raises(OSError, "in thread"):
        await asyncio.to_thread(bad)
    with raises(RuntimeError):

        def no_loop():
            asyncio.get_running_loop()

        await asyncio.to_thread(no_loop)


@timed_case(
    "to_thread.loop_goes_on",
    "four blocking calls of 0.2 s in threads take about 0.2 s and the loop keeps ticking",
)
def _():
    async def main():
        stop = asyncio.Event()
        t = asyncio.create_task(gaps(stop))
        await asyncio.gather(*[asyncio.to_thread(time.sleep, 0.2) for _ in range(4)])
        stop.set()
        assert await t < 0.19

    timed(main, 0.19, 0.33)


@case(
    "executor.run",
    (
        "run_in_executor with the default and with an own thread pool; set_default_executor; "
        "cancelling a waiting call"
    ),
)
async def _():
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, pow, 2, 10) == 1024
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="own") as pool:
        name = await loop.run_in_executor(pool, lambda: threading.current_thread().name)
        assert name.startswith("own")
        a = loop.run_in_executor(pool, time.sleep, 0.1)
        b = loop.run_in_executor(pool, time.sleep, 9)
        assert asyncio.isfuture(a)
        b.cancel()
        await a
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="dflt"))
    assert (await asyncio.to_thread(lambda: threading.current_thread().name)).startswith("dflt")


def square(x):
    return os.getpid(), x * x


@case("executor.processes", "CPU work in a ProcessPoolExecutor through run_in_executor")
async def _():
    import multiprocessing

    loop = asyncio.get_running_loop()
    with concurrent.futures.ProcessPoolExecutor(
        2, mp_context=multiprocessing.get_context("fork")
    ) as pool:
        rs = await asyncio.gather(*[loop.run_in_executor(pool, square, i) for i in range(10)])
    assert [r for _, r in rs] == [i * i for i in range(10)] and os.getpid() not in {
        p for p, _ in rs
    }


@case(
    "executor.run_coroutine_threadsafe",
    "run_coroutine_threadsafe from a thread gives a concurrent future: value, exception, cancel",
)
async def _():
    loop = asyncio.get_running_loop()

    async def f(x):
        await asyncio.sleep(0.001)
        if x < 0:
            raise ValueError("neg")
        return x * 2

    def work():
        assert asyncio.run_coroutine_threadsafe(f(4), loop).result(5) == 8
        with raises(ValueError, "neg"):
            asyncio.run_coroutine_threadsafe(f(-1), loop).result(5)
        c = asyncio.run_coroutine_threadsafe(asyncio.sleep(60), loop)
        c.cancel()
        return "ok"

    assert await asyncio.to_thread(work) == "ok"


@case(
    "loop.in_thread",
    (
        "a loop that runs for ever in a thread, fed from outside, stopped by "
        "call_soon_threadsafe(loop.stop)"
    ),
)
def _():
    from _harness import new_loop

    with new_loop(False) as loop:
        th = threading.Thread(target=loop.run_forever)
        th.start()
        fs = [asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01, i), loop) for i in range(100)]
        assert [f.result(10) for f in fs] == list(range(100))
        loop.call_soon_threadsafe(loop.stop)
        th.join(10)
        assert not th.is_alive() and not loop.is_running()


@case(
    "files.through_threads",
    (
        "20 files written and read side by side through to_thread (asyncio has no file I/O of "
        "its own)"
    ),
)
async def _():
    with tempfile.TemporaryDirectory() as d:

        def put_get(i):
            p = os.path.join(d, str(i))
            with open(p, "wb") as f:
                f.write(bytes([i]) * 100000)
            with open(p, "rb") as f:
                return f.read()

        rs = await asyncio.gather(*[asyncio.to_thread(put_get, i) for i in range(20)])
        assert rs == [bytes([i]) * 100000 for i in range(20)]


@case(
    "database.through_thread",
    (
        "sqlite3 through one executor thread under a lock: 100 concurrent transactions, all "
        "rows there"
    ),
)
async def _():
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:

        def call(f, *a):
            return loop.run_in_executor(pool, f, *a)

        db = await call(sqlite3.connect, ":memory:")
        await call(db.execute, "create table t(x)")
        await asyncio.gather(
            *[call(db.execute, "insert into t values(?)", (i,)) for i in range(100)]
        )
        rows = await call(lambda: db.execute("select sum(x) from t").fetchone())
        await call(db.close)
    assert rows == (4950,)


program(__name__)
