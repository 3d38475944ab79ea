"""Streams of our own: what is native about them, and that programs can do what they do to stock's.

That they behave as asyncio's do is stated by test_stream_traces.py and by CPython's own tests.
"""

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import inspect
import re
import socket
import subprocess
import sys
import tracemalloc
import types
import warnings
import weakref
from asyncio import selector_events
from unittest import mock

import pytest
from tls_peers import client_context, server_context

import casyncio

pytestmark = pytest.mark.ours("asyncio has no second kind of streams")
NATIVE_CALL = "StreamCall"


@pytest.fixture
def pair(loop):
    """Return (reader, writer, peer) of a socketpair."""
    first, peer = socket.socketpair()
    first.setblocking(False)
    peer.settimeout(20)

    async def connect():
        return await casyncio.open_connection(sock=first)

    with peer:
        reader, writer = loop.run_until_complete(connect())
        yield reader, writer, peer
        writer.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


def make_reader(loop, limit=64 * 1024, cls=casyncio.StreamReader):
    return cls(limit=limit, loop=loop)


async def turns(n=3):
    for _ in range(n):
        await asyncio.sleep(0)


# ---- what they are ----


def test_objects_pass_for_asyncios(loop, pair):
    reader, writer, _ = pair
    assert type(reader) is casyncio.StreamReader and isinstance(reader, asyncio.StreamReader)
    assert type(writer) is casyncio.StreamWriter and isinstance(writer, asyncio.StreamWriter)
    protocol = writer.transport.get_protocol()
    assert isinstance(protocol, casyncio.StreamReaderProtocol)
    assert isinstance(protocol, asyncio.StreamReaderProtocol)
    assert issubclass(casyncio.StreamReader, asyncio.StreamReader)


def test_asyncios_objects_pass_for_ours_and_not_for_classes_derived_from_them(loop):
    class Mine(casyncio.StreamReader):
        pass

    reader = asyncio.StreamReader(loop=loop)
    assert isinstance(reader, casyncio.StreamReader)
    assert not isinstance(reader, Mine) and not isinstance(object(), casyncio.StreamReader)
    assert issubclass(asyncio.StreamReader, casyncio.StreamReader)
    assert not issubclass(asyncio.StreamReader, Mine)


@pytest.mark.parametrize("name", ["StreamReader", "StreamWriter", "StreamReaderProtocol"])
def test_every_method_of_asyncios_class_is_there_with_its_signature(name):
    ours, stock = getattr(casyncio, name), getattr(asyncio, name)
    for method, function in inspect.getmembers(stock, inspect.isfunction):
        if method in ("__init__", "__del__", "__aiter__", "__anext__"):
            continue
        signature = inspect.signature(getattr(ours, method))
        names = [
            p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()
        ]
        expected = inspect.signature(function).parameters.values()
        assert [(p.name, p.default) for p in names] == [(p.name, p.default) for p in expected]


@pytest.mark.parametrize(
    "name", ["open_connection", "start_server", "open_unix_connection", "start_unix_server"]
)
def test_functions_have_asyncios_signatures(name):
    ours, stock = getattr(casyncio, name), getattr(asyncio, name)
    assert inspect.signature(ours) == inspect.signature(stock)
    assert inspect.iscoroutinefunction(ours) and ours.__doc__ == stock.__doc__


@pytest.mark.parametrize("method", ["read", "readline", "readuntil", "drain", "wait_closed"])
def test_calls_are_coroutines_of_ours(pair, method):
    reader, writer, _ = pair
    call = getattr(reader if method.startswith("read") else writer, method)()
    assert type(call).__name__ == NATIVE_CALL
    assert asyncio.iscoroutine(call) and inspect.isawaitable(call)
    assert isinstance(call, collections.abc.Coroutine)
    assert call.__name__ == method and call.__qualname__.endswith("." + method)
    assert call.cr_code.co_name == method and not call.cr_running
    assert weakref.ref(call)() is call
    call.close()
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        call.send(None)


def test_a_call_that_is_never_awaited_says_so(pair):
    reader, _, _ = pair
    with pytest.warns(RuntimeWarning, match="coroutine 'StreamReader.read' was never awaited"):
        reader.read()
        gc.collect()


def test_a_call_is_a_task_by_itself(loop, pair):
    reader, _, peer = pair
    peer.sendall(b"one two ")

    async def main():
        first = asyncio.create_task(reader.readexactly(4))
        assert "StreamReader.readexactly()" in repr(first)
        return await first, await asyncio.ensure_future(reader.readuntil(b" "))

    assert loop.run_until_complete(main()) == (b"one ", b"two ")


def test_a_call_refuses_a_first_value_and_to_be_awaited_twice_at_once(loop, pair):
    reader, _, _ = pair
    call = reader.read(1)
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        call.send(1)
    waited = call.send(None)
    assert waited is reader._waiter and call.cr_await is waited and call.cr_suspended
    with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
        call.__await__()
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        call.send(None)
    assert reader._waiter is None


@pytest.mark.parametrize("args", [(), (1,), (ValueError, 1, 2), (ValueError(), 1), (int,)])
def test_throwing_nonsense_is_refused_in_pythons_words(loop, args):
    said = []
    for cls in (asyncio.StreamReader, casyncio.StreamReader):
        call = cls(loop=loop).read(1)
        with warnings.catch_warnings(), pytest.raises(TypeError) as caught:
            warnings.simplefilter("ignore", DeprecationWarning)
            call.throw(*args)
        said.append(str(caught.value))
        call.close()
    assert said[0] == said[1]


# ---- the way of a byte ----


def make_trail():
    """Return a list, and a profile function that adds to it what is called."""
    seen = []

    def trail(frame, event, arg):
        if event in ("call", "c_call"):
            name = frame.f_code.co_qualname if event == "call" else arg.__qualname__
            if "setprofile" not in name:
                seen.append(name)

    return seen, trail


def test_a_byte_needs_three_calls_at_most_to_reach_the_task(loop, pair):
    reader, _, peer = pair
    seen, trail = make_trail()

    async def main():
        for _ in range(3):
            peer.send(b"x")
            await reader.read(1)
        peer.send(b"x")
        sys.setprofile(trail)
        try:
            return await reader.read(1)
        finally:
            sys.setprofile(None)

    assert loop.run_until_complete(main()) == b"x"
    assert len(seen) <= 3, seen


def test_what_arrives_in_one_piece_is_not_copied(loop):
    reader = make_reader(loop)
    data = b"a piece of its own"
    reader.feed_data(data)
    assert loop.run_until_complete(reader.read(100)) is data
    reader.feed_data(data)
    assert loop.run_until_complete(reader.readexactly(len(data))) is data


@pytest.mark.parametrize("library", [casyncio, asyncio], ids=["ours", "asyncio"])
@pytest.mark.parametrize("exactly", [False, True], ids=["read", "readexactly"])
def test_much_and_little_in_turn_arrive_as_they_were_sent(loop, library, exactly):
    """What follows much is received in another way than what follows little."""
    first, peer = socket.socketpair()
    first.setblocking(False)
    sizes = [1, 50_000, 50_000, 1, 17_000, 16_384, 300, 60_000] * 3
    messages = [bytes([n]) * size for n, size in enumerate(sizes)]

    async def main():
        found = []
        reader, writer = await library.open_connection(sock=first)
        for n, message in enumerate(messages):
            half = len(message) // 2 if n % 2 else len(message)
            peer.send(message[:half])
            waiting = asyncio.ensure_future(reader.readexactly(len(message)))
            if not exactly:
                waiting.cancel()
                waiting = asyncio.ensure_future(reader.read(half))
            await turns()
            peer.send(message[half:])
            found.append(await waiting)
            if not exactly and half < len(message):
                found[-1] += await reader.readexactly(len(message) - half)
        writer.close()
        await writer.wait_closed()
        return found

    with peer:
        found = loop.run_until_complete(asyncio.wait_for(main(), 60))
    assert list(map(len, found)) == sizes
    assert found == messages


def test_the_buffer_stays_the_same_object_once_somebody_has_it(loop):
    reader = make_reader(loop)
    reader.feed_data(b"before")
    buffer = reader._buffer
    assert loop.run_until_complete(reader.read(100)) == b"before"
    reader.feed_data(b"after")
    assert reader._buffer is buffer and buffer == b"after"
    buffer.extend(b"wards")
    assert loop.run_until_complete(reader.read(100)) == b"afterwards"


def test_reading_in_small_pieces_finds_everything(loop):
    reader = make_reader(loop)
    data = bytes(range(256)) * 40
    for start in range(0, len(data), 1000):
        reader.feed_data(data[start : start + 1000])
    reader.feed_eof()

    async def main():
        return b"".join([await reader.read(n % 13 + 1) for n in range(len(data))])

    assert loop.run_until_complete(main()) == data


# ---- programs that have their own way ----


def test_a_derived_reader_may_replace_any_method(loop, monkeypatch):
    class Mine(casyncio.StreamReader):
        fed = 0

        def feed_data(self, data):
            self.fed += len(data)
            super().feed_data(data.upper())

        async def readuntil(self, separator=b"\n"):
            return b"<" + await super().readuntil(separator) + b">"

        async def read(self, n=-1):
            return (await super().read(n)).lower()

    reader = make_reader(loop, cls=Mine)
    protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
    protocol.data_received(b"line\nrest")
    protocol.eof_received()

    async def main():
        return await reader.readline(), await reader.read(), [line async for line in reader]

    assert loop.run_until_complete(main()) == (b"<LINE\n>", b"rest", [])
    assert reader.fed == 9


def test_a_derived_reader_gets_what_a_connection_receives(loop):
    class Loud(casyncio.StreamReader):
        def feed_data(self, data):
            super().feed_data(data + b"!")

    async def main():
        first, peer = socket.socketpair()
        first.setblocking(False)
        with peer:
            reader = Loud(loop=loop)
            protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
            transport, _ = await loop.create_connection(lambda: protocol, sock=first)
            peer.sendall(b"hello")
            got = await reader.readexactly(6)
            transport.abort()
            await turns()
            return got

    assert loop.run_until_complete(main()) == b"hello!"


def test_a_derived_reader_without_methods_of_its_own_stays_native(loop):
    class Named(casyncio.StreamReader):
        name = "mine"

    reader = make_reader(loop, cls=Named)
    reader.tag = 1
    call = reader.read()
    assert type(call).__name__ == NATIVE_CALL
    call.close()


def test_a_method_set_on_an_instance_is_called(loop, pair):
    reader, _, peer = pair
    reader.feed_data = mock.Mock(side_effect=reader.feed_data)
    peer.sendall(b"abc")
    assert loop.run_until_complete(reader.readexactly(3)) == b"abc"
    reader.feed_data.assert_called_once_with(b"abc")


def test_a_method_patched_in_the_class_is_called_as_long_as_it_is_there(loop, pair):
    reader, _, peer = pair
    seen = []
    native = casyncio.StreamReader.feed_data

    def feed_data(self, data):
        seen.append(data)
        native(self, data)

    with mock.patch.object(casyncio.StreamReader, "feed_data", feed_data):
        peer.sendall(b"abc")
        assert loop.run_until_complete(reader.readexactly(3)) == b"abc"
    peer.sendall(b"def")
    assert loop.run_until_complete(reader.readexactly(3)) == b"def"
    assert seen == [b"abc"]


def test_a_method_patched_in_asyncios_class_that_ours_stands_for_is_not_missed(loop):
    with mock.patch.object(asyncio.StreamReader, "_wait_for_data") as wait:
        wait.side_effect = ZeroDivisionError
        with pytest.raises(ZeroDivisionError):
            loop.run_until_complete(make_reader(loop).read(1))


def test_drain_honours_a_protocol_and_a_transport_of_the_programs_own(loop):
    class Protocol(asyncio.streams.FlowControlMixin):
        async def _drain_helper(self):
            return "helped"

    transport = mock.Mock()
    transport.is_closing.return_value = False
    writer = casyncio.StreamWriter(transport, Protocol(loop=loop), None, loop)
    loop.run_until_complete(writer.drain())
    transport.is_closing.return_value = True
    loop.run_until_complete(writer.drain())
    assert transport.is_closing.call_count >= 2


@pytest.mark.parametrize("where", ["instance", "class"])
def test_a_transport_whose_methods_are_replaced_is_called(loop, pair, monkeypatch, where):
    _, writer, peer = pair
    transport = writer.transport
    write, closing, seen = transport.write, mock.Mock(return_value=False), []
    place = transport if where == "instance" else type(transport)

    async def send(data):
        writer.write(data)
        await writer.drain()

    def write_twice(*args):
        seen.append(args[-1])
        write(args[-1] * 2)

    loop.run_until_complete(send(b"a"))
    with monkeypatch.context() as patch:
        patch.setattr(place, "write", write_twice)
        patch.setattr(place, "is_closing", closing)
        loop.run_until_complete(send(b"b"))
        assert seen == [b"b"] and closing.called
    loop.run_until_complete(send(b"c"))
    with pytest.raises(TypeError) as refused:
        selector_events._SelectorSocketTransport.write(transport, 1)
    with pytest.raises(TypeError, match=f"^{re.escape(str(refused.value))}$"):
        writer.write(1)
    received = b""
    while len(received) < 4:
        received += peer.recv(4)
    assert received == b"abbc" and seen == [b"b"]


def test_a_transport_whose_dict_hides_methods_is_called(loop, pair):
    _, writer, _ = pair
    closing, seen = mock.Mock(return_value=False), []

    async def main():
        vars(writer.transport).update(write=seen.append, is_closing=closing)
        writer.write(b"a")
        await writer.drain()
        vars(writer.transport).clear()

    loop.run_until_complete(main())
    assert seen == [b"a"] and closing.called


def test_they_work_on_asyncios_loop_and_in_debug_mode(new_stock, new_loop):
    async def main():
        async def handler(reader, writer):
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()

        server = await casyncio.start_server(handler, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        reader, writer = await casyncio.open_connection(host, port)
        writer.write(b"hello\n")
        await writer.drain()
        got = await reader.read(), type(reader)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return got

    debugging = new_loop()
    debugging.set_debug(True)
    for loop in (new_stock(), debugging, new_loop()):
        assert loop.run_until_complete(main()) == (b"hello\n", casyncio.StreamReader)


def test_a_coroutine_is_asyncios_own_in_debug_mode(loop):
    loop.set_debug(True)
    reader = casyncio.StreamReader(loop=loop)
    assert reader._source_traceback is not None
    call = reader.read()
    assert type(call) is types.CoroutineType
    call.close()


def test_a_subprocess_writes_to_a_reader_of_ours(loop, monkeypatch):
    monkeypatch.setattr(asyncio.streams, "StreamReader", casyncio.StreamReader)
    monkeypatch.setattr(asyncio.streams, "StreamWriter", casyncio.StreamWriter)

    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "print(input() * 2)",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert type(process.stdout) is casyncio.StreamReader
        return await asyncio.wait_for(process.communicate(b"ab\n"), 30)

    assert loop.run_until_complete(main()) == (b"abab\n", None)


# ---- connections ----


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_server_and_client_speak(loop, tmp_path, kind):
    path = str(tmp_path / "s")

    async def handler(reader, writer):
        async for line in reader:
            writer.writelines([b"> ", line])
            await writer.drain()
        writer.close()

    async def main():
        if kind == "tcp":
            server = await casyncio.start_server(handler, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            reader, writer = await casyncio.open_connection(*address)
        else:
            server = await casyncio.start_unix_server(handler, path)
            reader, writer = await casyncio.open_unix_connection(path)
        writer.write(b"one\ntwo\n")
        writer.write_eof()
        got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return got

    assert loop.run_until_complete(main()) == b"> one\n> two\n"


def test_a_handler_that_fails_is_reported_and_its_connection_closed(loop):
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context))

    async def handler(reader, writer):
        raise LookupError("in the handler")

    async def main():
        server = await casyncio.start_server(handler, "127.0.0.1", 0)
        reader, writer = await casyncio.open_connection(*server.sockets[0].getsockname())
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    (report,) = reports
    assert report["message"] == "Unhandled exception in client_connected_cb"
    assert isinstance(report["exception"], LookupError)
    assert isinstance(report["transport"], asyncio.Transport)


def test_a_handler_may_be_a_plain_function(loop):
    async def main():
        connected = loop.create_future()
        server = await casyncio.start_server(
            lambda reader, writer: connected.set_result(writer), "127.0.0.1", 0
        )
        _, writer = await casyncio.open_connection(*server.sockets[0].getsockname())
        other = await asyncio.wait_for(connected, 20)
        for each in (writer, other):
            each.close()
            await each.wait_closed()
        server.close()
        await server.wait_closed()
        return type(other)

    assert loop.run_until_complete(main()) is casyncio.StreamWriter


def test_drain_waits_for_a_slow_peer(loop, pair):
    _, writer, peer = pair
    data = b"x" * (8 * 1024 * 1024)

    async def main():
        writer.write(data)
        tasks = [asyncio.create_task(writer.drain()) for _ in range(3)]
        await turns()
        assert not any(task.done() for task in tasks)
        tasks[1].cancel()
        received = 0
        peer.setblocking(False)
        while received < len(data):
            with contextlib.suppress(BlockingIOError):
                received += len(peer.recv(1 << 20))
            await turns(1)
        await asyncio.wait_for(asyncio.gather(tasks[0], tasks[2]), 20)
        return tasks[1].cancelled()

    assert loop.run_until_complete(main())


def test_a_reset_reaches_the_read_and_the_drain(loop):
    async def main():
        server = socket.create_server(("127.0.0.1", 0))
        with server:
            reader, writer = await casyncio.open_connection(*server.getsockname())
            peer, _ = server.accept()
            task = asyncio.create_task(reader.readexactly(10))
            await turns()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(task, 20)
            with pytest.raises(ConnectionResetError):
                await writer.drain()
            with pytest.raises(ConnectionResetError):
                await writer.wait_closed()

    loop.run_until_complete(main())


CALLS = {
    "read": lambda reader: reader.read(5),
    "read all": lambda reader: reader.read(),
    "readexactly": lambda reader: reader.readexactly(5),
    "readline": lambda reader: reader.readline(),
    "readuntil": lambda reader: reader.readuntil(b"\r\n"),
    "anext": lambda reader: reader.__anext__(),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("moment", range(4))
def test_a_cancelled_read_loses_no_byte(loop, pair, name, moment):
    reader, writer, peer = pair

    async def main():
        task = asyncio.create_task(CALLS[name](reader))
        for now in range(4):
            if now == moment:
                task.cancel()
            if now == 1:
                peer.sendall(b"ab")
            await turns(2)
        with pytest.raises((asyncio.CancelledError, asyncio.IncompleteReadError)) as caught:
            peer.shutdown(socket.SHUT_WR)
            got = await task
            raise asyncio.IncompleteReadError(got, None)
        got = getattr(caught.value, "partial", b"")
        if name == "read all" and not got and moment > 1:
            return  # what it had gathered goes with it, as with asyncio's
        assert got + await asyncio.wait_for(reader.read(), 20) == b"ab"
        assert reader._waiter is None

    loop.run_until_complete(main())


@pytest.mark.parametrize("cls", [asyncio.StreamReader, casyncio.StreamReader])
def test_streams_go_over_tls(loop, tmp_path, cls):
    async def handler(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async def main():
        server = await casyncio.start_server(handler, "127.0.0.1", 0, ssl=server_context())
        port = server.sockets[0].getsockname()[1]
        reader, writer = await casyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"secret\n")
        await writer.drain()
        got = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return got

    assert loop.run_until_complete(main()) == b"secret\n"


# ---- what is left behind ----


def test_nothing_of_a_connection_is_left(loop):
    kept = []

    async def handler(reader, writer):
        kept.extend(map(weakref.ref, (reader, writer, writer.transport.get_protocol())))
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await casyncio.start_server(handler, "127.0.0.1", 0)
        reader, writer = await casyncio.open_connection(*server.sockets[0].getsockname())
        kept.extend(map(weakref.ref, (reader, writer, writer.transport.get_protocol())))
        writer.write(b"hello\n")
        assert await reader.read() == b"hello\n"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    loop.run_until_complete(turns())
    assert len(kept) == 6
    gc.collect()
    assert [ref() for ref in kept] == [None] * 6


def test_a_reader_is_gone_without_a_collection(loop):
    gc.collect()
    gc.disable()
    try:
        reader = make_reader(loop)
        kept = weakref.ref(reader)
        reader.feed_data(b"line\n")
        assert loop.run_until_complete(reader.readline()) == b"line\n"
        del reader
        assert kept() is None
    finally:
        gc.enable()


def test_a_cycle_through_a_waiting_read_is_collected(loop):
    async def wait(reader):
        reader.itself = reader
        await reader.read(1)

    reader = make_reader(loop)
    coroutine = wait(reader)
    coroutine.send(None)
    kept = weakref.ref(reader)
    reader.coroutine = coroutine
    del reader, coroutine
    gc.collect()
    assert kept() is None


def test_a_writer_that_is_dropped_open_closes_and_warns(loop):
    async def main():
        first, peer = socket.socketpair()
        first.setblocking(False)
        with peer:
            reader, writer = await casyncio.open_connection(sock=first)
            transport = writer.transport
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                kept = weakref.ref(writer)
                transport.get_protocol()._stream_writer = None
                del writer
                gc.collect()
            assert kept() is None and transport.is_closing()
            await turns()
            return [str(w.message)[:25] for w in caught if w.category is ResourceWarning]

    if "_source_traceback" not in vars(asyncio.StreamReader):
        pytest.skip("this asyncio's streams look otherwise")
    assert loop.run_until_complete(main()) == ["unclosed <StreamWriter tr"]


def test_a_protocol_names_its_reader_until_that_is_gone(loop):
    reader = make_reader(loop)
    asked, unasked = (casyncio.StreamReaderProtocol(reader, loop=loop) for _ in range(2))
    never = casyncio.StreamReaderProtocol(make_reader(loop), loop=loop)
    assert asked._stream_reader is reader and unasked._stream_reader is reader
    kept = asked._stream_reader_wr
    assert type(kept) is weakref.ref and kept() is reader and asked._stream_reader_wr is kept
    asked.data_received(b"one")
    unasked.data_received(b"two")
    assert loop.run_until_complete(reader.readexactly(6)) == b"onetwo"
    del reader
    for protocol in asked, unasked, never:
        assert protocol._stream_reader is None
        protocol.data_received(b"for nobody")
        assert type(protocol._stream_reader_wr) is weakref.ref
        assert protocol._stream_reader_wr() is None


def test_a_protocol_that_forgets_its_reader_feeds_it_no_more(loop):
    reader = make_reader(loop)
    protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
    protocol._stream_reader_wr = None
    assert protocol._stream_reader is None and protocol._stream_reader_wr is None
    protocol.data_received(b"dropped")
    second = casyncio.StreamReaderProtocol(reader, loop=loop)
    second.data_received(b"fed")
    del protocol, second
    reader.feed_eof()
    assert loop.run_until_complete(reader.read()) == b"fed"


def test_a_protocol_calls_whatever_stands_for_its_weak_reference(loop):
    reader = make_reader(loop)
    protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
    protocol._stream_reader_wr = lambda: reader
    protocol.data_received(b"fed")
    reader.feed_eof()
    assert loop.run_until_complete(reader.read()) == b"fed"
    del protocol._stream_reader_wr
    with pytest.raises(AttributeError, match="_stream_reader_wr"):
        protocol.data_received(b"no reader was ever set")


def test_a_protocol_does_not_reach_a_reader_that_is_dying(loop):
    reached = []

    def look(_):
        reached.append(protocol._stream_reader)
        protocol.data_received(b"too late")

    reader = make_reader(loop)
    protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
    kept = weakref.ref(reader, look)
    del reader
    assert reached == [None] and kept() is None


def test_the_end_of_a_handler_is_a_callback_like_others(loop):
    tasks = []
    reports = []
    number = contextvars.ContextVar("number", default=0)

    async def handler(reader, writer):
        number.set(2)
        tasks.append(asyncio.current_task())
        await reader.read(1)
        raise OSError("handler")

    async def main():
        number.set(1)
        loop.set_exception_handler(
            lambda loop, context: reports.append((context["exception"].args, number.get()))
        )
        server = await casyncio.start_server(handler, "127.0.0.1", 0)
        for _ in range(2):
            _, writer = await casyncio.open_connection(*server.sockets[0].getsockname())
            while not tasks:
                await asyncio.sleep(0)
            task = tasks.pop()
            if not reports:
                [(callback, context)] = task._callbacks
                assert callable(callback) and context[number] == 1
                assert task.remove_done_callback(print) == 0
            writer.write(b"x")
            with contextlib.suppress(OSError):
                await task
            await turns()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        server.close()
        await server.wait_closed()

    loop.run_until_complete(main())
    assert reports == [(("handler",), 1)] * 2


def test_a_transport_taken_for_a_callback_is_reported_and_stays_open(loop, pair):
    _, writer, _ = pair
    reports = []

    async def nothing():
        return 7

    async def main():
        loop.set_exception_handler(lambda loop, context: reports.append(str(context["exception"])))
        future, task = loop.create_future(), loop.create_task(nothing())
        future.add_done_callback(writer.transport)
        task.add_done_callback(writer.transport)
        future.set_result(None)
        assert await task == 7
        task.add_done_callback(writer.transport)
        await turns()
        return writer.transport.is_closing()

    assert loop.run_until_complete(main()) is False
    name = type(writer.transport).__name__
    assert reports == [f"'{name}' object is not callable"] * 3


def test_an_idle_connection_weighs_little(loop):
    async def handler(reader, writer):
        await reader.read(1)
        writer.close()

    count = 300

    async def main():
        server = await casyncio.start_server(handler, "127.0.0.1", 0, backlog=1024)
        address = server.sockets[0].getsockname()
        before = len(asyncio.all_tasks())
        deadline = loop.time() + 30
        peers = [socket.socket() for _ in range(60 + count)]

        async def connect(start, stop):
            for end in range(start + 60, stop + 1, 60):  # no more than the least backlog takes
                for peer in peers[end - 60 : end]:
                    peer.connect(address)
                while len(asyncio.all_tasks()) < before + end and loop.time() < deadline:
                    await asyncio.sleep(0.001)
            await turns(20)
            gc.collect()

        await connect(0, 60)
        tracemalloc.start()
        start = tracemalloc.get_traced_memory()[0]
        await connect(60, 60 + count)
        grown = tracemalloc.get_traced_memory()[0] - start
        tracemalloc.stop()
        waiting = len(asyncio.all_tasks()) - before
        for peer in peers:
            peer.close()
        server.close()
        await server.wait_closed()
        while len(asyncio.all_tasks()) > before and loop.time() < deadline:
            await asyncio.sleep(0.01)
        return grown / count, waiting

    grown, waiting = loop.run_until_complete(main())
    assert waiting == 60 + count
    # What was measured (1698, 1653, 1629 bytes) and 15 % for another minor version.
    assert grown <= {(3, 11): 1950, (3, 12): 1900}.get(sys.version_info[:2], 1880)


def test_a_call_that_is_closed_by_what_its_closing_runs_refuses(loop):
    said = []

    async def main():
        reader = make_reader(loop)
        call = reader.read(5)
        assert type(call).__name__ == NATIVE_CALL

        async def wait(_method):
            try:
                await loop.create_future()
            finally:
                with pytest.raises(ValueError, match="coroutine already executing"):
                    call.close()
                said.append(call.cr_running)

        reader._wait_for_data = wait
        call.send(None)
        assert call.close() is None
        with pytest.raises(RuntimeError, match="cannot reuse"):
            call.send(None)

    loop.run_until_complete(main())
    assert said == [True]


async def outcome_of(awaitable):
    try:
        return await awaitable
    except Exception as exc:
        return f"{exc!r} from {exc.__context__!r}"


@pytest.mark.parametrize("method", ["readline", "__anext__"])
@pytest.mark.parametrize("end", ["set_exception", "throw"])
@pytest.mark.parametrize(
    "make_exc",
    [
        lambda: asyncio.IncompleteReadError(b"half", 10),
        lambda: asyncio.IncompleteReadError(b"", 10),
        lambda: asyncio.LimitOverrunError("over", 5),
        lambda: OSError("broken"),
    ],
    ids=["incomplete", "nothing", "overrun", "error"],
)
def test_an_exception_that_ends_the_wait_for_a_line_is_what_stock_makes_of_it(
    loop, method, end, make_exc
):
    exc = make_exc()

    async def main(cls):
        reader = cls(loop=loop)
        call = getattr(reader, method)()
        if end == "set_exception":
            task = loop.create_task(call)
            await turns()
            reader.set_exception(exc)
            return await outcome_of(task)
        call.send(None)
        try:
            call.throw(exc)
        except StopIteration as stop:
            return stop.value
        except Exception as other:
            return f"{other!r} from {other.__context__!r}"

    expected = loop.run_until_complete(main(asyncio.StreamReader))
    exc.__context__ = None
    assert loop.run_until_complete(main(casyncio.StreamReader)) == expected


@pytest.mark.parametrize("method", ["read", "readline", "readexactly"])
def test_what_a_thrown_stop_iteration_carries_passes_for_the_result_of_the_wait(loop, method):
    def run(cls):
        reader = cls(loop=loop)
        call = getattr(reader, method)(*(3,) * (method != "readline"))
        call.send(None)
        reader.feed_data(b"abc\n")
        with pytest.raises(StopIteration) as caught:
            call.throw(StopIteration(5))
        return caught.value.value, reader._waiter, bytes(reader._buffer)

    async def main():
        return run(asyncio.StreamReader), run(casyncio.StreamReader)

    stock, ours = loop.run_until_complete(main())
    assert ours == stock


def test_a_transport_that_replaces_the_buffer_in_the_middle_of_a_read_is_noticed(loop):
    class Transport:
        def __init__(self, reader, buffer):
            self.reader, self.buffer = reader, buffer

        def pause_reading(self):
            pass

        def resume_reading(self):
            self.reader._buffer = self.buffer
            self.reader._eof = True

    async def main(cls, buffer):
        reader = cls(limit=10, loop=loop)
        reader.set_transport(Transport(reader, buffer))
        reader.feed_data(b"x" * 30)
        try:
            return await reader.read()
        except Exception as exc:
            return type(exc)

    for make in (lambda: list(range(100)), lambda: bytearray(b"abc"), lambda: None):
        stock = loop.run_until_complete(main(asyncio.StreamReader, make()))
        assert loop.run_until_complete(main(casyncio.StreamReader, make())) == stock


def test_a_waiter_that_replaces_the_buffer_does_not_mislead_who_feeds(loop):
    async def main(cls):
        reader = cls(limit=10, loop=loop)
        transport = mock.Mock()
        reader.set_transport(transport)

        class Waiter(asyncio.Future):
            def set_result(self, result):
                reader._buffer = list(range(100))

        reader._waiter = Waiter()
        reader.feed_data(b"x")
        return transport.pause_reading.call_count

    assert loop.run_until_complete(main(asyncio.StreamReader)) == 1
    assert loop.run_until_complete(main(casyncio.StreamReader)) == 1


def test_a_transport_that_takes_the_protocol_away_fails_the_drain_as_stocks(loop):
    async def main(module):
        class Transport:
            def is_closing(self):
                writer._protocol = None
                [bytearray(200) for _ in range(50)]
                return False

            def close(self):
                pass

        reader = module.StreamReader(loop=loop)
        protocol = module.StreamReaderProtocol(reader, loop=loop)
        writer = module.StreamWriter(Transport(), protocol, reader, loop)
        del protocol
        with pytest.raises(AttributeError, match="_drain_helper"):
            await writer.drain()

    loop.run_until_complete(main(asyncio))
    loop.run_until_complete(main(casyncio))


def test_flags_take_what_stocks_attributes_take(loop):
    async def main():
        reader = make_reader(loop)
        protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
        for thing, name in (
            (reader, "_eof"),
            (reader, "_paused"),
            (protocol, "_paused"),
            (protocol, "_connection_lost"),
            (protocol, "_reject_connection"),
            (protocol, "_over_ssl"),
        ):
            for value in (1, 0, [5], None, True):
                setattr(thing, name, value)
                assert getattr(thing, name) == bool(value)

    loop.run_until_complete(main())


def test_a_writer_whose_class_makes_a_property_of_the_transport_uses_it(loop):
    async def main(module):
        log = []

        class Writer(module.StreamWriter):
            @property
            def _transport(self):
                log.append("get")
                return self.__dict__["kept"]

            @_transport.setter
            def _transport(self, value):
                log.append("set")
                self.__dict__["kept"] = value

        transport = mock.Mock()
        transport.is_closing.return_value = False
        reader = module.StreamReader(loop=loop)
        protocol = module.StreamReaderProtocol(reader, loop=loop)
        writer = Writer(transport, protocol, reader, loop)
        writer.write(b"x")
        writer.writelines([b"y"])
        await writer.drain()
        assert writer.is_closing() is False and writer.transport is transport
        writer.close()
        return log, [str(call) for call in transport.mock_calls]

    assert loop.run_until_complete(main(casyncio)) == loop.run_until_complete(main(asyncio))


def test_a_transport_that_takes_the_readers_loop_away_fails_the_read(loop):
    class Thief(asyncio.Transport):
        def pause_reading(self):
            pass

        def resume_reading(self):
            del reader._loop

    async def main():
        with pytest.raises((AttributeError, RuntimeError)):
            await reader.readexactly(20)

    reader = casyncio.StreamReader(limit=2, loop=loop)
    reader.set_transport(Thief())
    reader.feed_data(b"abcdefgh")
    assert reader._paused
    loop.run_until_complete(main())
