"""Differences from asyncio that no other file tests; docs/differences.md names each test here."""

import _asyncio
import asyncio
import decimal
import fractions
import inspect
import re
import socket
import sys
import traceback

import pytest
from tls_protocols import Recorder, pair, run

import casyncio


@pytest.mark.ours("before 3.14 stock asks the TLS transport alone")
def test_a_tls_transport_is_closing_when_the_connection_below_is(loop):
    async def main():
        async with pair(loop) as (ours, _theirs):
            assert not ours.transport.is_closing()
            ours.transport._ssl_protocol._transport.close()
            assert ours.transport.is_closing()
            await ours.lost

    run(loop, main())


MOMENTS = [True, 2**60, fractions.Fraction(1, 2), decimal.Decimal("0.5")]


@pytest.mark.ours("stock shows what it was given")
@pytest.mark.parametrize("when", MOMENTS, ids=lambda when: type(when).__name__)
def test_a_moment_that_is_neither_float_nor_small_int_is_shown_as_a_float(loop, when):
    handle = loop.call_at(when, print)
    handle.cancel()
    assert (type(handle.when()), handle.when()) == (float, float(when))


@pytest.mark.ours("stock's sleep() is a Python function with a frame")
def test_tracebacks_have_no_frames_of_native_waits(loop):
    async def main():
        try:
            async with casyncio.timeout(0):
                await casyncio.sleep(100)
        except TimeoutError as error:
            return [frame.name for frame in traceback.extract_tb(error.__cause__.__traceback__)]

    assert loop.run_until_complete(main()) == ["main"]


@pytest.mark.ours("stock's repr has the line of the await")
def test_the_repr_of_a_task_that_sleeps_shows_the_head_of_asyncios_sleep(loop):
    async def line_of(sleep):
        task = loop.create_task(sleep(100))
        await asyncio.sleep(0)
        shown = re.search(r"coro=<sleep\(\) running at (.*):(\d+)>", repr(task))
        task.cancel()
        assert shown[1] == asyncio.tasks.__file__
        return int(shown[2])

    head, line = run(loop, line_of(casyncio.sleep)), run(loop, line_of(asyncio.sleep))
    assert asyncio.sleep.__code__.co_firstlineno <= head < line


@pytest.mark.ours("stock's callback is a closure")
def test_the_repr_of_a_handlers_task_names_the_callback_otherwise(loop):
    shown = loop.create_future()

    async def handle(reader, writer):
        shown.set_result(repr(asyncio.current_task()))
        writer.close()

    async def main():
        server = await casyncio.start_server(handle, "127.0.0.1", 0)
        _reader, writer = await casyncio.open_connection(*server.sockets[0].getsockname())
        await shown
        writer.close()
        await writer.wait_closed()
        server.close()

    run(loop, main())
    assert shown.result().endswith("cb=[_ended()]>")


@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="3.14 enters no task while another one of the thread runs, on no loop",
)
@pytest.mark.ours("stock says that the lock is bound to a different loop")
def test_a_lock_of_the_outer_of_two_nested_loops_is_refused_in_a_futures_words(loop):
    inner = casyncio.new_event_loop()

    async def main():
        lock = casyncio.Lock()
        await lock.acquire()
        waiting = loop.create_task(lock.acquire())
        await asyncio.sleep(0)  # now the lock knows its loop
        asyncio.events._set_running_loop(None)
        try:
            with pytest.raises(RuntimeError, match="attached to a different loop"):
                inner.run_until_complete(lock.acquire())
        finally:
            asyncio.events._set_running_loop(loop)
            waiting.cancel()

    try:
        loop.run_until_complete(main())
    finally:
        inner.close()


@pytest.mark.ours("stock makes a task for each accepted connection")
def test_accepting_makes_no_task(loop):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **kwargs)

    async def main():
        accepted = loop.create_future()

        class Served(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                accepted.set_result(self)

        server = await loop.create_server(lambda: Served(loop), "127.0.0.1", 0)
        loop.set_task_factory(factory)
        transport, _ = await loop.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname()
        )
        served = await accepted
        transport.close()
        await served.lost
        server.close()

    run(loop, main())
    assert [name for name in made if "accept" in name] == []


@pytest.mark.ours("stock's are functions of Python")
def test_what_is_called_on_sockets_is_no_coroutine_function_to_inspect(loop):
    assert not inspect.iscoroutinefunction(loop.sock_recv)
    with socket.socket() as sock:
        coroutine = loop.sock_recv(sock, 1)
    assert asyncio.iscoroutine(coroutine) and inspect.isawaitable(coroutine)
    coroutine.close()


@pytest.mark.ours("stock has one kind of task")
def test_asyncios_own_tasks_are_numbered_by_themselves(loop):
    async def main():
        before = int(asyncio.create_task(asyncio.sleep(0)).get_name().removeprefix("Task-"))
        _asyncio.Task(asyncio.sleep(0), loop=loop)
        after = int(asyncio.create_task(asyncio.sleep(0)).get_name().removeprefix("Task-"))
        await asyncio.sleep(0)
        return after - before

    assert loop.run_until_complete(main()) == 1


@pytest.mark.ours("stock's handles have plain attributes")
@pytest.mark.parametrize("name", ["_callback", "_args", "_cancelled"])
def test_a_handle_cannot_be_given_another_callback(loop, name):
    handle = loop.call_soon(print)
    with pytest.raises(AttributeError, match=name):
        setattr(handle, name, None)
    handle.cancel()


@pytest.mark.ours("stock asks the socket object, which may not know its protocol")
def test_a_tcp_socket_whose_object_does_not_know_its_protocol_sends_without_delay(loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as server:
            peer = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
        with peer:
            assert ours.proto == 0
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
            delay_off = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            transport.abort()
        return delay_off

    assert loop.run_until_complete(main()) == 1


@pytest.mark.ours("stock's are functions of Python")
@pytest.mark.parametrize("name", ["stop", "is_running", "get_debug", "time", "create_future"])
def test_methods_without_arguments_refuse_them_in_the_words_of_c(loop, name):
    with pytest.raises(TypeError, match=rf"\.{name}\(\) takes no arguments \(1 given\)"):
        getattr(loop, name)(1)
    with pytest.raises(TypeError, match=rf"\.{name}\(\) takes no keyword arguments"):
        getattr(loop, name)(x=1)


@pytest.mark.ours("stock's is a function of Python")
def test_the_finalizer_of_a_transport_takes_no_keyword(loop, pair):
    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=pair[0])
        with pytest.raises(TypeError, match="no keyword"):
            transport.__del__(_warn=print)
        transport.close()

    loop.run_until_complete(main())


@pytest.mark.ours("stock keeps its attributes in a dict")
def test_the_dict_of_a_queue_is_empty_and_its_attributes_are_there(loop):
    queue = casyncio.Queue()
    assert vars(queue) == {}
    assert set(vars(asyncio.Queue())) <= set(dir(queue))


@pytest.mark.ours("stock's callback is _add_reader()")
def test_a_pipe_that_cannot_be_watched_is_reported_of_start(loop):
    told = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))

    async def main():
        with open("/dev/null", "rb", 0) as file:
            transport, _ = await loop.connect_read_pipe(asyncio.Protocol, file)
            await asyncio.sleep(0)
            transport.close()
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    for context in told:
        assert isinstance(context["exception"], PermissionError)
        assert re.search(r"\._start\(\)$", context["message"])
    assert len(told) == (0 if loop.backend == "poll" else 1)
