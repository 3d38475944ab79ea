"""Debug mode: PYTHONASYNCIODEBUG=1, run(debug=True), loop.set_debug."""

import asyncio
import time

from _harness import case, child, collect, logs, program, raises, run


@case(
    "debug.environment",
    (
        "PYTHONASYNCIODEBUG=1 turns the debug mode on for run and for new loops; -X dev too; "
        "unset it is off; debug=False wins"
    ),
)
def _():
    src = """
import asyncio
async def main(): return asyncio.get_running_loop().get_debug()
loop = H.Cfg.factory(); new = loop.get_debug(); loop.close()
print(run(main()), new, run(main(), debug=False))
"""
    for env, args, want in (
        ({"PYTHONASYNCIODEBUG": "1"}, (), "True True False"),
        ({}, (), "False False False"),
        ({}, ("-X", "dev"), "True True False"),
    ):
        rc, out, err = child(src, env, args=args)
        assert rc == 0 and out.strip() == want, (env, args, out, err)


@case(
    "debug.slow_callback",
    (
        "a step longer than slow_callback_duration (0.1 s) is logged: 'Executing <...> took "
        "0.1.. seconds'"
    ),
)
def _():
    async def blocker():
        time.sleep(0.15)

    async def main():
        assert asyncio.get_running_loop().slow_callback_duration == 0.1
        await asyncio.create_task(blocker())

    with logs() as out:
        run(main(), debug=True)
    assert any("Executing" in x and "took 0." in x and "blocker" in x for x in out), out
    with logs() as out:
        run(main())
    assert not out, out


@case("debug.slow_threshold", "slow_callback_duration can be set")
def _():
    async def main():
        asyncio.get_running_loop().slow_callback_duration = 0.02
        asyncio.get_running_loop().call_soon(time.sleep, 0.03)
        await asyncio.sleep(0.05)

    with logs() as out:
        run(main(), debug=True)
    assert any("Executing" in x and "took 0.0" in x for x in out), out


@case(
    "debug.wrong_thread",
    (
        "call_soon, call_later, call_at from another thread: RuntimeError 'Non-thread-safe "
        "operation'; call_soon_threadsafe is allowed"
    ),
)
def _():
    async def main():
        loop, errs = asyncio.get_running_loop(), []

        def work():
            for f in (
                lambda: loop.call_soon(print),
                lambda: loop.call_later(1, print),
                lambda: loop.call_at(loop.time() + 1, print),
            ):
                try:
                    f()
                    errs.append("no error")
                except RuntimeError as e:
                    errs.append(str(e))
            loop.call_soon_threadsafe(errs.append, "ok")

        await asyncio.to_thread(work)
        await asyncio.sleep(0.01)
        assert (
            len(errs) == 4 and errs[3] == "ok" and all("Non-thread-safe" in e for e in errs[:3])
        ), errs

    run(main(), debug=True)


@case(
    "debug.coroutine_as_callback",
    (
        "call_soon with a coroutine or a coroutine function: TypeError 'coroutines cannot be "
        "used with call_soon()'"
    ),
)
def _():
    async def f():
        pass

    async def main():
        loop = asyncio.get_running_loop()
        with raises(TypeError, "coroutines cannot be used with call_soon()"):
            loop.call_soon(f)
        with raises(TypeError, "coroutines cannot be used with call_"):
            loop.call_later(1, f)
        with raises(TypeError, "a callable object was expected by call_soon()"):
            loop.call_soon(5)

    run(main(), debug=True)


@case("debug.never_awaited_origin", "the never-awaited warning tells where the coroutine was made")
def _():
    rc, _out, err = child("""
import asyncio
async def lost(): pass
async def main():
    lost()
run(main(), debug=True)
""")
    assert (
        rc == 0 and "coroutine 'lost' was never awaited" in err and "Coroutine created at" in err
    ), err


@case(
    "debug.origin_tracking_restored",
    "run(debug=True) sets the coroutine origin tracking depth and puts the old one back",
)
def _():
    import sys

    async def main():
        return sys.get_coroutine_origin_tracking_depth()

    before = sys.get_coroutine_origin_tracking_depth()
    assert run(main(), debug=True) > 0 and sys.get_coroutine_origin_tracking_depth() == before


@case(
    "debug.source_traceback",
    "errors reported in debug mode tell where the task or handle was made ('created at')",
)
def _():
    async def main():
        async def bad():
            raise ValueError("x")

        asyncio.create_task(bad())
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0.01)
        collect()
        await asyncio.sleep(0)

    with logs() as out:
        run(main(), debug=True)
    text = "\n".join(out)
    assert "Task exception was never retrieved" in text and "Exception in callback" in text
    assert "Object created at (most recent call last)" in text, text


@case(
    "debug.unclosed_transport",
    "a connection dropped without close: ResourceWarning that names the transport",
)
def _():
    rc, _out, err = child(
        """
import asyncio, gc, socket
async def main():
    s = socket.create_server(('127.0.0.1', 0))
    r, w = await asyncio.open_connection('127.0.0.1', s.getsockname()[1])
    return s
keep = run(main())
gc.collect(); gc.collect()
""",
        args=("-W", "always", "-X", "dev"),
    )
    assert rc == 0 and "ResourceWarning" in err and "unclosed" in err, err


program(__name__)
