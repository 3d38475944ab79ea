"""Errors nobody handles: what is said, where, and how a program can listen."""

import asyncio

from _harness import case, child, collect, logs, program, raises, run


@case(
    "unhandled.task_exception",
    (
        "'Task exception was never retrieved' with the traceback, through the asyncio logger, "
        "when the task is freed"
    ),
)
def _():
    async def failing_job():
        raise ValueError("job failed")

    async def main():
        t = asyncio.create_task(failing_job(), name="job-1")
        await asyncio.sleep(0.005)
        assert t.done()
        del t
        collect()
        await asyncio.sleep(0)

    with logs() as out:
        run(main())
    text = "\n".join(out)
    assert (
        "Task exception was never retrieved" in text
        and "job failed" in text
        and "failing_job" in text
    )
    assert "job-1" in text, text


@case(
    "unhandled.retrieved_is_silent",
    "no message when result(), exception() or await took the exception",
)
def _():
    async def bad():
        raise ValueError("x")

    async def main():
        a, b, c = (asyncio.create_task(bad()) for _ in range(3))
        await asyncio.wait([a, b, c])
        a.exception()
        with raises(ValueError):
            b.result()
        with raises(ValueError):
            await c
        del a, b, c
        collect()

    with logs() as out:
        run(main())
    assert not out, out


@case("unhandled.stderr", "without any set-up the message is on stderr and the exit status stays 0")
def _():
    rc, _out, err = child("""
import asyncio
async def bad(): raise KeyError('gone')
async def main():
    asyncio.create_task(bad()); await asyncio.sleep(0.01)
run(main())
""")
    assert rc == 0 and "Task exception was never retrieved" in err and "KeyError: 'gone'" in err, (
        err
    )


@case(
    "unhandled.task_destroyed",
    "'Task was destroyed but it is pending!' when a loop is closed under a waiting task",
)
def _():
    rc, _out, err = child("""
import asyncio, gc
async def wait(): await asyncio.get_running_loop().create_future()
loop = H.Cfg.factory(); check_loop(loop)
t = loop.create_task(wait(), name='orphan')
loop.call_soon(loop.stop)
loop.run_forever()
loop.close(); del t, loop; gc.collect()
""")
    assert rc == 0 and "Task was destroyed but it is pending!" in err and "orphan" in err, err


@case(
    "unhandled.handler",
    (
        "set_exception_handler gets (loop, context); call_exception_handler; None puts the "
        "default back; a failing handler is logged"
    ),
)
def _():
    async def main():
        loop, seen = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda lp, ctx: seen.append((lp, ctx)))
        assert loop.get_exception_handler() is not None
        loop.call_exception_handler({"message": "own", "extra": 1})
        assert seen[0][0] is loop and seen[0][1]["extra"] == 1

        def bad(lp, ctx):
            raise ZeroDivisionError

        loop.set_exception_handler(bad)
        loop.call_exception_handler({"message": "m2"})
        loop.set_exception_handler(None)
        loop.call_exception_handler({"message": "m3", "exception": OSError("disk")})
        with raises(TypeError):
            loop.set_exception_handler(5)

    with logs() as out:
        run(main())
    text = "\n".join(out)
    assert (
        "Unhandled error in exception handler" in text
        and "m3" in text
        and "disk" in text
        and "own" not in text
    )


@case(
    "unhandled.never_awaited_stderr",
    "the RuntimeWarning of a forgotten await is printed at exit with its hint",
)
def _():
    rc, out, err = child("""
import asyncio
async def fetch_data(): return 1
async def main():
    result = fetch_data()
    print('x', type(result).__name__)
run(main())
""")
    assert rc == 0 and out.split() == ["x", "coroutine"]
    assert "RuntimeWarning: coroutine 'fetch_data' was never awaited" in err, err
    assert "Enable tracemalloc" in err


@case(
    "unhandled.stop_iteration",
    "StopIteration out of a coroutine becomes RuntimeError 'coroutine raised StopIteration'",
)
async def _():
    async def f():
        raise StopIteration(3)

    with raises(RuntimeError, "coroutine raised StopIteration"):
        await asyncio.create_task(f())


@case(
    "unhandled.main_traceback",
    (
        "an exception out of main ends the program with status 1 and a traceback that shows "
        "main's line"
    ),
)
def _():
    rc, _out, err = child("""
import asyncio
async def deep(): raise LookupError('deep down')
async def main(): await deep()
run(main())
""")
    assert rc == 1 and "LookupError: deep down" in err and "in main" in err and "in deep" in err, (
        err
    )


program(__name__)
