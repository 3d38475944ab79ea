"""Asynchronous context managers, iterators, generators."""

import asyncio
import contextlib

from _harness import case, collect, program, raises, timed, timed_case


@case(
    "async_with.protocol",
    "__aenter__ before the block, its value after `as`, __aexit__ after it, both may await",
)
async def _():
    log = []

    class Res:
        async def __aenter__(self):
            await asyncio.sleep(0.001)
            log.append("connect")
            return self

        async def __aexit__(self, *a):
            await asyncio.sleep(0.001)
            log.append(("disconnect", a[0]))

        async def do_work(self):
            log.append("work")

    async with Res() as r:
        await r.do_work()
    with raises(ValueError):
        async with Res():
            raise ValueError
    assert log == ["connect", "work", ("disconnect", None), "connect", ("disconnect", ValueError)]


@case(
    "async_with.swallow",
    (
        "__aexit__ returning True swallows the exception; without the methods: TypeError or "
        "AttributeError"
    ),
)
async def _():
    class Eat:
        async def __aenter__(self):
            pass

        async def __aexit__(self, *a):
            return True

    async with Eat():
        raise ValueError
    with raises(TypeError):
        async with object():
            pass


@case("async_with.contextlib", "asynccontextmanager and AsyncExitStack")
async def _():
    log = []

    @contextlib.asynccontextmanager
    async def res(n):
        log.append(n)
        try:
            yield n
        finally:
            await asyncio.sleep(0)
            log.append(-n)

    async with contextlib.AsyncExitStack() as st:
        assert [await st.enter_async_context(res(i)) for i in (1, 2, 3)] == [1, 2, 3]
    assert log == [1, 2, 3, -3, -2, -1]


@timed_case(
    "async_for.generator",
    "async for over an async generator that sleeps: values in order, n steps take n sleeps",
)
def _():
    async def gen(n):
        for i in range(n):
            await asyncio.sleep(0.04)
            yield i

    async def main():
        assert [v async for v in gen(5)] == [0, 1, 2, 3, 4]

    timed(main, 0.19, 0.33)


@case(
    "async_for.iterator_class",
    "a class with __aiter__ and __anext__; StopAsyncIteration ends it; else branch; break",
)
async def _():
    class Count:
        def __init__(self, n):
            self.i, self.n = 0, n

        def __aiter__(self):
            return self

        async def __anext__(self):
            if self.i >= self.n:
                raise StopAsyncIteration
            self.i += 1
            await asyncio.sleep(0)
            return self.i

    got = []
    async for v in Count(3):
        got.append(v)
    else:
        got.append("else")
    async for v in Count(9):
        if v == 2:
            break
    assert got == [1, 2, 3, "else"] and v == 2 and await anext(Count(1)) == 1
    assert {x: y async for x, y in aiter_pairs()} == {0: 0, 1: 1}


async def aiter_pairs():
    for i in range(2):
        await asyncio.sleep(0)
        yield i, i


@case("async_for.interleave", "two async for loops in two tasks take turns")
async def _():
    log = []

    async def gen(k):
        for i in range(3):
            await asyncio.sleep(0)
            yield k, i

    async def use(k):
        async for x in gen(k):
            log.append(x)

    await asyncio.gather(use("a"), use("b"))
    assert log == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@case("async_gen.methods", "asend, athrow, aclose; finally runs with await inside")
async def _():
    log = []

    async def gen():
        try:
            x = yield 1
            log.append(x)
            try:
                yield 2
            except KeyError:
                yield 3
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    g = gen()
    assert [await g.asend(None), await g.asend("sent"), await g.athrow(KeyError())] == [1, 2, 3]
    await g.aclose()
    assert log == ["sent", "closed"]


@case(
    "async_gen.dropped",
    "a generator dropped half way is closed on the loop (asyncgen hooks) with its finally",
)
async def _():
    log = []

    async def gen():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    async def use():
        async for _ in gen():
            break

    await use()
    collect()
    for _ in range(5):
        await asyncio.sleep(0)
    assert log == ["closed"]


@case(
    "async_for.sync_object",
    "async for over a list: TypeError; for over an async generator: TypeError",
)
async def _():
    with raises(TypeError):
        async for _ in [1]:
            pass
    with raises(TypeError):
        for _ in aiter_pairs():
            pass


program(__name__)
