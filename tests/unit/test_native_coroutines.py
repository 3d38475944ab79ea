"""Coroutines in C answer send(), throw() and close() as asyncio's own do, in every state."""

import asyncio
import contextlib
import gc
import inspect
import re
import socket
import sys
import types
import warnings

import pytest


class Case:
    """An operation that has to wait, driven by hand, and how to let it go on."""

    def __init__(self, api, loop, stack):
        self.api, self.loop, self.stack = api, loop, stack

    def make_odd(self):
        """Make a coroutine that ours has to leave to asyncio's."""
        return self.make()


class Lock(Case):
    def make(self):
        self.lock = self.api.Lock()
        with pytest.raises(StopIteration):
            self.lock.acquire().send(None)
        return self.lock.acquire()

    def make_odd(self):
        coro = self.make()
        self.lock._get_loop = lambda: self.loop
        return coro

    def finish(self):
        self.lock.release()


class QueueGet(Case):
    def make(self):
        self.queue = self.api.Queue()
        return self.queue.get()

    def make_odd(self):
        coro = self.make()
        self.queue._get_loop = lambda: self.loop
        return coro

    def finish(self):
        self.queue.put_nowait("item")


class QueuePut(Case):
    def make(self):
        self.queue = self.api.Queue(1)
        self.queue.put_nowait("first")
        return self.queue.put("second")

    def make_odd(self):
        coro = self.make()
        self.queue._get_loop = lambda: self.loop
        return coro

    def finish(self):
        self.queue.get_nowait()


class Event(Case):
    def make(self):
        self.event = self.api.Event()
        return self.event.wait()

    def make_odd(self):
        coro = self.make()
        self.event._get_loop = lambda: self.loop
        return coro

    def finish(self):
        self.event.set()


class Semaphore(Case):
    def make(self):
        self.semaphore = self.api.Semaphore(0)
        return self.semaphore.acquire()

    def make_odd(self):
        coro = self.make()
        self.semaphore._get_loop = lambda: self.loop
        return coro

    def finish(self):
        self.semaphore.release()


class Read(Case):
    def make(self):
        self.reader = self.api.StreamReader(loop=self.loop)
        return self.reader.read(10)

    def make_odd(self):
        coro = self.make()
        self.reader._wait_for_data = self.reader._wait_for_data
        return coro

    def finish(self):
        self.reader.feed_data(b"bytes")


class SockRecv(Case):
    def make(self):
        self.pair = [self.stack.enter_context(end) for end in socket.socketpair()]
        self.pair[0].setblocking(False)
        return self.loop.sock_recv(self.pair[0], 10)

    def make_odd(self):
        coro = self.make()
        self.loop.set_debug(True)
        return coro

    def finish(self):
        self.pair[1].send(b"bytes")


class Sleep(Case):
    def make(self):
        return self.api.sleep(0.01, "slept")

    def make_odd(self):
        coro = self.make()
        self.loop.create_future = self.loop.create_future
        return coro

    def finish(self):
        """Time goes on by itself."""


SYNC = (Lock, Event, Semaphore, QueueGet, QueuePut)
CASES = {case.__name__: case for case in (*SYNC, Read, SockRecv, Sleep)}
FINAL = (("send", None), ("close",))


def new(case):
    return case.make()


def waiting(case):
    coro = case.make()
    coro.send(None)
    return coro


def delegated(case):
    coro = case.make_odd()
    coro.send(None)
    if case.api is not asyncio:
        assert coro.cr_frame.f_lineno > coro.cr_code.co_firstlineno, coro.cr_frame  # stock's own
        assert getattr(coro.cr_await, "cr_code", None) is not coro.cr_code  # it is seen once
    return coro


def closed(case):
    coro = case.make()
    coro.close()
    return coro


def finished(case):
    coro = case.make()
    case.loop.run_until_complete(let_go(case, coro))
    return coro


async def let_go(case, coro):
    task = asyncio.ensure_future(coro)
    await asyncio.sleep(0)
    case.finish()
    return await task


STATES = {state.__name__: state for state in (new, waiting, delegated, closed, finished)}
GOOD = {
    "an exception": lambda: (ValueError("x"),),
    "a class": lambda: (ValueError,),
    "a class and a value": lambda: (ValueError, "x"),
    "a class and a tuple": lambda: (ValueError, (1, 2), None),
    "a class and its instance": lambda: (ValueError, ValueError("y")),
    "an exception and Nones": lambda: (ValueError("x"), None, None),
    "a cancellation": lambda: (asyncio.CancelledError("why"),),
    "the end of an iteration": lambda: (StopIteration("x"),),
    "the end of an iteration's class": lambda: (StopIteration,),
    "the end of a generator": lambda: (GeneratorExit(),),
    "an interrupt": lambda: (KeyboardInterrupt,),
}
BAD = {
    "nothing": lambda: (),
    "too much": lambda: (ValueError, None, None, None),
    "a number": lambda: (1,),
    "None": lambda: (None,),
    "another class": lambda: (int,),
    "an exception and a value": lambda: (ValueError("x"), 1),
    "no traceback": lambda: (ValueError, None, 3),
    "an exception and no traceback": lambda: (ValueError("x"), None, 3),
}


def act(coro, name, *args):
    """Return what a method has come to, in words, and what the coroutine is then."""
    try:
        result = getattr(coro, name)(*args)
        found = "yielded" if asyncio.isfuture(result) else f"returned {result!r}"
    except BaseException as error:
        found = f"raised {error!r} from {error.__cause__!r}"
    return found, inspect.getcoroutinestate(coro)


def play(case_class, api, make_loop, state, actions):
    """Return what a list of actions has come to, one after the other."""
    with contextlib.ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # throw() of three arguments is deprecated
        loop = make_loop()
        case = case_class(api, loop, stack)
        if state == "finished":
            coro = stack.enter_context(contextlib.closing(finished(case)))
            return [act(coro, *action) for action in actions]
        asyncio._set_running_loop(loop)
        try:
            coro = stack.enter_context(contextlib.closing(STATES[state](case)))
            return [act(coro, *action) for action in actions]
        finally:
            stack.close()
            asyncio._set_running_loop(None)


@pytest.fixture
def same(api, new_loop, new_stock):
    """Check that actions on a coroutine in a state come to the same with asyncio's and ours."""

    def check(name, state, *actions):
        expected = play(CASES[name], asyncio, new_stock, state, actions)
        found = play(CASES[name], api, new_loop, state, actions)
        assert found == expected
        return expected

    return check


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CASES)
def test_throw_does_with_good_arguments_what_asyncios_does(same, name, state):
    for what, make_args in GOOD.items():
        first, *_ = same(name, state, ("throw", *make_args()), *FINAL)
        assert first[0].startswith("raised") or "iteration" in what


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CASES)
def test_throw_does_with_bad_arguments_what_asyncios_does(same, name, state):
    for make_args in BAD.values():
        first, *_ = same(name, state, ("throw", *make_args()), *FINAL)
        assert first[0].startswith("raised TypeError")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("value", [None, 1])
def test_send_does_what_asyncios_does(same, name, state, value):
    first, *_ = same(name, state, ("send", value), ("send", value), *FINAL)
    assert first[0].startswith("raised") or (state, value) == ("new", None)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", CASES)
def test_close_does_what_asyncios_does(same, name, state):
    first, *_ = same(name, state, ("close",), ("close",), ("throw", 1), ("send", None))
    assert first == ("returned None", "CORO_CLOSED")


def meddle(case_class, api, make_loop, state, action):
    """Return what came of throwing a class whose constructor meddles with the coroutine."""
    with contextlib.ExitStack() as stack:
        loop = make_loop()
        asyncio._set_running_loop(loop)
        try:
            coro = stack.enter_context(
                contextlib.closing(STATES[state](case_class(api, loop, stack)))
            )
            found = []

            class Meddler(Exception):
                def __init__(self):
                    found.append(act(coro, *action))

            found.append(act(coro, "throw", Meddler))
            found.append(act(coro, "send", None))
            return found
        finally:
            stack.close()
            asyncio._set_running_loop(None)


def test_what_is_wrong_with_a_freed_coroutine_is_told_in_asyncios_words(api, monkeypatch):
    told = []

    def hook(args):
        words = re.sub("0x[0-9a-f]+", "0x", f"{args.err_msg} {args.object!r}")
        told.append((args.exc_type, words))

    monkeypatch.setattr(sys, "unraisablehook", hook)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for names in asyncio, api:
            names.Queue().put(1)  # never awaited
            gc.collect()
            loop = asyncio.SelectorEventLoop()
            queue = names.Queue(1)
            queue.put_nowait(1)
            coro = queue.put(2)
            asyncio._set_running_loop(loop)
            coro.send(None)
            asyncio._set_running_loop(None)
            loop.close()
            queue._putters[0].add_done_callback(print)  # cancelling it asks the closed loop
            del coro
            gc.collect()
    assert told[: len(told) // 2] == told[len(told) // 2 :]
    assert [kind for kind, _ in told[:2]] == [RuntimeWarning, RuntimeError]


MEDDLING = [("send", None), ("close",)]
if sys.version_info >= (3, 12):  # 3.11 itself may crash
    MEDDLING.append(("throw", KeyError("x")))


@pytest.mark.parametrize("state", ["new", "waiting", "delegated"])
@pytest.mark.parametrize("name", CASES)
def test_the_constructor_of_what_is_thrown_may_meddle_with_it(
    api, new_loop, new_stock, name, state
):
    for action in MEDDLING:
        expected = meddle(CASES[name], asyncio, new_stock, state, action)
        assert meddle(CASES[name], api, new_loop, state, action) == expected


class Wrapper:
    """Awaits a coroutine the way libraries do that wrap it."""

    def __init__(self, coro):
        self.coro = coro

    def __await__(self):
        return (yield from self.coro.__await__())


@types.coroutine
def yield_from(coro):
    return (yield from coro)


async def wrap(coro):
    return await Wrapper(coro)


WAYS = {"__await__": wrap, "types.coroutine": yield_from}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_generator_can_yield_from_it(api, new_loop, new_stock, name, way):
    results = []
    for names, make_loop in (asyncio, new_stock), (api, new_loop):
        with contextlib.ExitStack() as stack:
            loop = make_loop()

            async def main(names=names, loop=loop, stack=stack):
                case = CASES[name](names, loop, stack)
                async with asyncio.timeout(60):
                    return await let_go(case, WAYS[way](prepare(case)))

            results.append(loop.run_until_complete(main()))
    assert results[0] == results[1]


def prepare(case):
    """Return the coroutine that a case makes on a loop that runs."""
    return case.make()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_generator_that_yields_from_it_hands_a_cancellation_on(api, new_loop, name, way):
    async def main():
        coro = CASES[name](api, loop, stack).make()
        task = asyncio.ensure_future(WAYS[way](coro))
        await asyncio.sleep(0)
        assert inspect.getcoroutinestate(coro) == "CORO_SUSPENDED"
        task.cancel("why")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inspect.getcoroutinestate(coro) == "CORO_CLOSED"

    with contextlib.ExitStack() as stack:
        loop = new_loop()
        loop.run_until_complete(main())


@pytest.mark.ours("asyncio's coroutine is no iterator, what its __await__() returns is one")
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_its_await_returns(api, loop, name):
    with contextlib.ExitStack() as stack:
        coro = CASES[name](api, loop, stack)
        asyncio._set_running_loop(loop)
        try:
            made = coro.make()
            assert iter(made.__await__()) is made
            made.close()
        finally:
            asyncio._set_running_loop(None)
