"""asyncio.gather."""

import asyncio

from _harness import case, collect, logs, new_loop, program, raises, run, timed, timed_case, warned


async def ret(x, d=0.0):
    await asyncio.sleep(d)
    return x


async def bad(d=0.0, e=ValueError):
    await asyncio.sleep(d)
    raise e("bad")


@case("gather.order", "results come in the order of the arguments, not in the order of completion")
async def _():
    done = []

    async def f(k, d):
        await asyncio.sleep(d)
        done.append(k)
        return k

    assert await asyncio.gather(f("foo", 0.06), f("bar", 0.03), f("baz", 0.01)) == [
        "foo",
        "bar",
        "baz",
    ]
    assert done == ["baz", "bar", "foo"]
    assert type(await asyncio.gather(ret(1))) is list


@timed_case(
    "gather.time_is_max", "two waits of d and 2d take about 2d; both start before either ends"
)
def _():
    async def main():
        log = []

        async def f(k, d):
            log.append("start " + k)
            await asyncio.sleep(d)
            log.append("end " + k)

        await asyncio.gather(f("foo", 0.1), f("bar", 0.2))
        assert log == ["start foo", "start bar", "end foo", "end bar"]

    timed(main, 0.19, 0.29)


@case("gather.mixed", "coroutines, tasks and futures mixed; the same coroutine twice runs once")
async def _():
    f = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.01, f.set_result, "f")
    c = ret("c")
    assert await asyncio.gather(c, asyncio.create_task(ret("t")), f, c) == ["c", "t", "f", "c"]


@timed_case(
    "gather.tasks_list",
    "gather(*tasks) over tasks made before; three of the same length take one length",
)
def _():
    async def main():
        ts = [asyncio.create_task(ret(f"result {i}", 0.2)) for i in range(3)]
        assert await asyncio.gather(*ts) == ["result 0", "result 1", "result 2"]

    timed(main, 0.19, 0.31)


@case("gather.empty", "gather() gives []")
async def _():
    assert await asyncio.gather() == []


@timed_case(
    "gather.exception",
    "the first exception comes out at once; the others are not cancelled and go on",
)
async def _():
    ended = []

    async def other():
        await asyncio.sleep(0.05)
        ended.append(1)

    t = asyncio.create_task(other())
    loop = asyncio.get_running_loop()
    t0 = loop.time()
    with raises(ValueError, "bad"):
        await asyncio.gather(t, bad(0.005), bad(0.01, KeyError))
    assert not t.done() and loop.time() - t0 < 0.05
    await t
    assert ended == [1]


@case(
    "gather.return_exceptions",
    "return_exceptions=True: exceptions (and CancelledError) are among the results",
)
async def _():
    c = asyncio.create_task(ret(1, 9))
    asyncio.get_running_loop().call_later(0.005, c.cancel)
    r = await asyncio.gather(ret("a"), bad(), c, ret("b", 0.01), return_exceptions=True)
    assert (
        r[0] == "a"
        and isinstance(r[1], ValueError)
        and isinstance(r[2], asyncio.CancelledError)
        and r[3] == "b"
    )


@case(
    "gather.cancel",
    (
        "cancelling the gather cancels every child; a child cancelled alone makes gather raise "
        "CancelledError"
    ),
)
async def _():
    log = []

    async def f(k):
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            log.append(k)
            raise

    async def g():
        await asyncio.gather(*[f(i) for i in range(5)])

    t = asyncio.create_task(g())
    await asyncio.sleep(0.005)
    t.cancel()
    with raises(asyncio.CancelledError):
        await t
    assert log == list(range(5))
    c = asyncio.create_task(ret(1, 9))
    asyncio.get_running_loop().call_soon(c.cancel)
    with raises(asyncio.CancelledError):
        await asyncio.gather(ret(1), c)


@case("gather.nested", "gathers inside gathers keep the shape of the results")
async def _():
    g = asyncio.gather
    assert await g(g(ret(1), ret(2)), g(ret(3), g(ret(4), ret(5)))) == [[1, 2], [3, [4, 5]]]


@case("gather.large", "gather of 20000 coroutines")
async def _():
    n = 20000
    assert await asyncio.gather(*[ret(i) for i in range(n)]) == list(range(n))


@case(
    "gather.second_exception_silent",
    "later exceptions of gathered children cause no 'never retrieved' message",
)
def _():
    async def main():
        with raises(ValueError):
            await asyncio.gather(bad(), bad(0.001, KeyError))
        await asyncio.sleep(0.01)

    with logs() as out:
        run(main())
        collect()
    assert not out, out


@case(
    "gather.outside_loop",
    (
        "gather of coroutines before the loop runs works only with a loop set (old form); with "
        "loop tasks it always works"
    ),
)
def _():
    with new_loop() as loop, warned():
        g = asyncio.gather(ret(1), ret(2))
        assert loop.run_until_complete(g) == [1, 2]


program(__name__)
