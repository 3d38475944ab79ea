"""The loop object: running, stopping, closing it, and how a program gets hold of one."""

import asyncio
import threading

from _harness import (
    PY,
    Cfg,
    case,
    check_loop,
    child,
    collect,
    logs,
    new_loop,
    program,
    raises,
    run,
    warned,
)


async def ret(x, d=0.001):
    await asyncio.sleep(d)
    return x


@case(
    "loop.run_until_complete",
    "runs a coroutine, a task or a future and gives its result; exceptions come out",
)
def _():
    async def bad():
        raise LookupError("x")

    with new_loop() as loop:
        assert loop.run_until_complete(ret(1)) == 1
        assert loop.run_until_complete(loop.create_task(ret(2))) == 2
        f = loop.create_future()
        loop.call_later(0.01, f.set_result, 3)
        assert loop.run_until_complete(f) == 3
        assert loop.run_until_complete(f) == 3
        with raises(LookupError, "x"):
            loop.run_until_complete(bad())
        assert loop.run_until_complete(
            asyncio.gather(*[loop.create_task(ret(i)) for i in range(3)])
        ) == [0, 1, 2]
        with raises(TypeError):
            loop.run_until_complete(5)


@case("loop.run_until_complete_closed", "on a closed loop: RuntimeError 'Event loop is closed'")
def _():
    with new_loop() as loop:
        loop.close()
        for call in (
            lambda c: loop.run_until_complete(c),
            lambda c: loop.run_forever(),
            lambda c: loop.call_soon(print),
            lambda c: loop.call_later(1, print),
            lambda c: loop.call_soon_threadsafe(print),
            lambda c: loop.create_task(c),
            lambda c: loop.run_in_executor(None, print),
        ):
            c = ret(1)
            with warned():
                with raises(RuntimeError, "Event loop is closed"):
                    call(c)
                c.close()


@case(
    "loop.run_until_complete_stopped",
    (
        "stop() before the future is done: RuntimeError 'Event loop stopped before Future "
        "completed.'"
    ),
)
def _():
    with new_loop() as loop:
        f = loop.create_future()
        loop.call_soon(loop.stop)
        with raises(RuntimeError, "Event loop stopped before Future completed."):
            loop.run_until_complete(f)
        f.cancel()


@case(
    "loop.run_forever_stop",
    ("run_forever runs until stop(); callbacks already ready still run; the loop can be run again"),
)
def _():
    log = []
    with new_loop() as loop:
        loop.call_soon(log.append, "a")
        loop.call_soon(loop.stop)
        loop.call_soon(log.append, "b")
        loop.run_forever()
        assert log == ["a", "b"] and not loop.is_running() and not loop.is_closed()
        loop.call_later(0.02, loop.stop)
        loop.call_later(0.01, log.append, "c")
        loop.run_forever()
        assert log == ["a", "b", "c"]


@case(
    "loop.stop_before_run",
    (
        "stop() before run_forever: one round runs, then it returns; callbacks added in that "
        "round wait for the next run"
    ),
)
def _():
    log = []
    with new_loop() as loop:
        loop.call_soon(lambda: (log.append(1), loop.call_soon(log.append, 2)))
        loop.stop()
        loop.run_forever()
        assert log == [1], log
        loop.stop()
        loop.run_forever()
        assert log == [1, 2], log


@case(
    "loop.close",
    (
        "close on a running loop: RuntimeError 'Cannot close a running event loop'; twice is "
        "allowed; is_closed"
    ),
)
def _():
    with new_loop() as loop:

        async def main():
            with raises(RuntimeError, "Cannot close a running event loop"):
                loop.close()
            return 1

        assert loop.run_until_complete(main()) == 1 and not loop.is_closed()
        loop.close()
        loop.close()
        assert loop.is_closed() and not loop.is_running()


@case("loop.close_drops_pending", "close drops what is still scheduled: it never runs")
def _():
    log = []
    with new_loop() as loop:
        loop.call_soon(log.append, 1)
        loop.call_later(0, log.append, 2)
        loop.close()
    assert log == []


@case(
    "loop.already_running", "run_forever or run_until_complete inside a running loop: RuntimeError"
)
def _():
    with new_loop() as loop:

        async def main():
            c = ret(1)
            with raises(RuntimeError, "This event loop is already running"):
                loop.run_until_complete(c)
            c.close()
            other = Cfg.factory()
            c = ret(1)
            try:
                with (
                    warned(),
                    raises(RuntimeError, "Cannot run the event loop while another loop is running"),
                ):
                    other.run_until_complete(c)
            finally:
                c.close()
                other.close()
            # last, because in CPython 3.13.0 the refused call forgets which loop is running
            with raises(RuntimeError, "This event loop is already running"):
                loop.run_forever()

        loop.run_until_complete(main())


@case(
    "loop.get_running_loop",
    (
        "inside a coroutine or callback it is the running loop; outside RuntimeError 'no "
        "running event loop'"
    ),
)
def _():
    with raises(RuntimeError, "no running event loop"):
        asyncio.get_running_loop()

    async def main():
        loop = asyncio.get_running_loop()
        f = loop.create_future()
        loop.call_soon(lambda: f.set_result(asyncio.get_running_loop()))
        assert await f is loop is asyncio.get_event_loop() and loop.is_running()

    run(main())
    with raises(RuntimeError):
        asyncio.get_running_loop()


@case(
    "loop.get_event_loop_in_coroutine",
    "in a coroutine get_event_loop gives the running loop without any warning",
)
def _():
    async def main():
        with warned() as w:
            assert asyncio.get_event_loop() is asyncio.get_running_loop()
        assert not w, w

    run(main())


@case(
    "loop.get_event_loop_set",
    (
        "after set_event_loop, get_event_loop gives that loop and the "
        "get_event_loop().run_until_complete() form works"
    ),
)
def _():
    with new_loop() as loop:
        with warned() as w:
            assert asyncio.get_event_loop() is loop
            assert asyncio.get_event_loop().run_until_complete(ret("old form")) == "old form"
        assert not w, w


@case(
    "loop.get_event_loop_fresh",
    (
        "in a fresh main thread get_event_loop() makes a loop of the policy (warns in 3.12 and "
        "3.13; gone in 3.14)"
    ),
    via="policy",
)
def _():
    rc, out, err = child("""
import asyncio, warnings
with warnings.catch_warnings(record=True) as w:
    warnings.simplefilter('always')
    try:
        loop = asyncio.get_event_loop()
    except RuntimeError as e:
        print('RuntimeError', e); sys.exit()
check_loop(loop)
async def f(): return 7
print(loop.run_until_complete(f()), [x.category.__name__ for x in w])
loop.close()
""")
    want = "7 ['DeprecationWarning']" if PY >= (3, 12) else "7 []"
    if PY >= (3, 14):
        want = "RuntimeError There is no current event loop in thread 'MainThread'."
    assert rc == 0 and out.strip() == want, (out, err)


@case(
    "loop.get_event_loop_thread",
    (
        'in another thread without a loop: RuntimeError "There is no current event loop in '
        "thread 'X'\"; a loop of its own works there"
    ),
)
def _():
    out = []

    def work():
        try:
            asyncio.get_event_loop()
        except RuntimeError as e:
            out.append(str(e))
        with new_loop() as loop:
            out.append(loop.run_until_complete(ret(4)))

    t = threading.Thread(target=work, name="worker-7")
    t.start()
    t.join(10)
    assert "There is no current event loop in thread 'worker-7'" in out[0] and out[1] == 4, out


@case(
    "loop.new_event_loop",
    "new_event_loop makes a fresh loop each time, without making it current",
    via="policy",
)
def _():
    a, b = asyncio.new_event_loop(), asyncio.new_event_loop()
    check_loop(a), check_loop(b)
    assert a is not b
    a.close(), b.close()


@case(
    "loop.create_task_needs_loop",
    (
        "asyncio.create_task without running loop: RuntimeError 'no running event loop'; the "
        "coroutine is not awaited; loop.create_task works before the loop runs"
    ),
)
def _():
    c = ret(1)
    with raises(RuntimeError, "no running event loop"):
        asyncio.create_task(c)
    c.close()
    with new_loop() as loop:
        t = loop.create_task(ret(5))
        assert loop.run_until_complete(t) == 5


@case(
    "loop.future_needs_loop",
    (
        "asyncio.Future() inside a coroutine belongs to the running loop; with loop= it can be "
        "made outside"
    ),
)
def _():
    async def main():
        f = asyncio.Future()
        assert f.get_loop() is asyncio.get_running_loop()
        f.set_result(1)
        return await f

    assert run(main()) == 1
    with new_loop() as loop:
        f = asyncio.Future(loop=loop)
        loop.call_soon(f.set_result, 9)
        assert loop.run_until_complete(f) == 9


@case("loop.repr", "repr(loop) tells running=, closed= and debug=")
def _():
    with new_loop() as loop:
        assert all(s in repr(loop) for s in ("running=False", "closed=False", "debug=False")), repr(
            loop
        )
        loop.set_debug(True)
        assert "debug=True" in repr(loop)
        loop.set_debug(False)
        loop.close()
        assert "closed=True" in repr(loop)


@case(
    "loop.abstract",
    "the loop is an asyncio.AbstractEventLoop, can be weakly referenced and takes attributes",
)
def _():
    import weakref

    with new_loop() as loop:
        assert isinstance(loop, asyncio.AbstractEventLoop)
        assert weakref.ref(loop)() is loop
        loop.my_own = 1
        assert loop.my_own == 1


@case("loop.unclosed_warning", "a loop never closed: ResourceWarning 'unclosed event loop'")
def _():
    with warned() as w:
        loop = Cfg.factory()
        loop.run_until_complete(ret(1))
        del loop
        collect()
    assert [t for c, t in w if c == "ResourceWarning" and "unclosed" in t and "loop" in t], w


@case(
    "loop.base_exception_escapes",
    "SystemExit in a callback stops run_forever and comes out; the loop is usable afterwards",
)
def _():
    def leave():
        raise SystemExit(3)

    with new_loop() as loop, logs():
        loop.call_soon(leave)
        with raises(SystemExit):
            loop.run_forever()
        assert loop.run_until_complete(ret(2)) == 2


program(__name__)
