"""Received bytes reach asyncio's own StreamReader, by the short way and by the long one."""

import asyncio
import socket

import pytest


@pytest.fixture
def streams(loop):
    """Return (reader, writer, protocol, peer) of a socketpair."""
    first, peer = socket.socketpair()
    first.setblocking(False)

    async def connect():
        reader, writer = await asyncio.open_connection(sock=first)
        return reader, writer, writer.transport.get_protocol()

    with peer:
        reader, writer, protocol = loop.run_until_complete(connect())
        yield reader, writer, protocol, peer
        writer.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


def test_bytes_are_read_in_every_way(loop, streams):
    reader, _, _, peer = streams
    peer.sendall(b"line\nexactly 10 until;rest")
    peer.shutdown(socket.SHUT_WR)

    async def main():
        return (
            await reader.readline(),
            await reader.readexactly(10),
            await reader.readuntil(b";"),
            await reader.read(),
            reader.at_eof(),
        )

    assert loop.run_until_complete(main()) == (
        b"line\n",
        b"exactly 10",
        b" until;",
        b"rest",
        True,
    )


def test_a_waiting_reader_is_woken(loop, streams):
    reader, _, _, peer = streams

    async def main():
        task = asyncio.create_task(reader.read(100))
        await asyncio.sleep(0)
        peer.sendall(b"x")
        return await asyncio.wait_for(task, 10)

    assert loop.run_until_complete(main()) == b"x"


def test_a_cancelled_reader_loses_nothing(loop, streams):
    reader, _, _, peer = streams

    async def main():
        task = asyncio.create_task(reader.read(100))
        await asyncio.sleep(0)
        task.cancel()
        peer.sendall(b"kept")
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.wait_for(reader.readexactly(4), 10)

    assert loop.run_until_complete(main()) == b"kept"


def test_reading_pauses_at_twice_the_limit_and_goes_on(loop):
    first, peer = socket.socketpair()
    first.setblocking(False)
    peer.setblocking(False)

    async def main():
        reader, writer = await asyncio.open_connection(sock=first, limit=1000)
        sent = peer.send(bytes(50_000))
        while writer.transport.is_reading():
            await asyncio.sleep(0)
        paused = len(reader._buffer)
        got = len(await reader.readexactly(sent))
        resumed = writer.transport.is_reading()
        writer.close()
        await writer.wait_closed()
        return paused, got == sent, resumed

    with peer:
        paused, whole, resumed = loop.run_until_complete(main())
    assert paused > 2000 and whole and resumed


def collect(calls, original):
    def method(data):
        calls.append(bytes(data))
        original(data)

    return method


@pytest.mark.parametrize("target", ["reader", "protocol"])
def test_a_method_replaced_on_the_object_is_called(loop, streams, target):
    reader, _, protocol, peer = streams
    calls = []
    if target == "reader":
        reader.feed_data = collect(calls, reader.feed_data)
    else:
        protocol.data_received = collect(calls, protocol.data_received)
    peer.sendall(b"seen")
    assert loop.run_until_complete(reader.readexactly(4)) == b"seen"
    assert calls == [b"seen"]


@pytest.mark.parametrize(
    "cls, name",
    [(asyncio.StreamReader, "feed_data"), (asyncio.StreamReaderProtocol, "data_received")],
)
def test_a_method_replaced_on_the_class_is_called(loop, streams, monkeypatch, cls, name):
    reader, _, _, peer = streams
    calls = []
    original = getattr(cls, name)

    def method(self, data):
        calls.append(bytes(data))
        original(self, data)

    monkeypatch.setattr(cls, name, method)
    peer.sendall(b"seen")
    assert loop.run_until_complete(reader.readexactly(4)) == b"seen"
    assert calls == [b"seen"]


def test_classes_derived_from_asyncios_get_their_calls(loop):
    calls = []

    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            calls.append(bytes(data))
            super().feed_data(data)

    first, peer = socket.socketpair()
    first.setblocking(False)

    async def main():
        reader = Reader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=first)
        peer.sendall(b"seen")
        data = await reader.readexactly(4)
        transport.abort()
        await asyncio.sleep(0)
        return data

    with peer:
        assert loop.run_until_complete(main()) == b"seen"
    assert calls == [b"seen"]


def test_data_for_a_reader_that_is_gone_is_dropped(loop):
    first, peer = socket.socketpair()
    first.setblocking(False)

    async def main():
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_connection(lambda: protocol, sock=first)
        del reader
        peer.sendall(b"nobody")
        await asyncio.sleep(0.01)
        alive = not transport.is_closing()
        transport.abort()
        await asyncio.sleep(0)
        return alive

    with peer:
        assert loop.run_until_complete(main())


def test_bytes_after_feed_eof_are_reported_as_by_stock(same_outcome):
    def action(loop):
        reports = []
        loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
        first, peer = socket.socketpair()
        first.setblocking(False)

        async def main():
            reader, writer = await asyncio.open_connection(sock=first)
            reader.feed_eof()
            peer.sendall(b"late")
            await asyncio.sleep(0.01)
            return writer.transport.is_closing(), type(reader.exception())

        with peer:
            return loop.run_until_complete(main()), reports

    (closing, _), reports = same_outcome(action)
    assert closing and reports == ["Fatal error: protocol.data_received() call failed."]


def test_a_transport_that_cannot_pause_is_let_be(loop, streams):
    reader, writer, _, peer = streams

    class Deaf:
        def pause_reading(self):
            raise NotImplementedError

    reader._transport = Deaf()
    reader._limit = 1
    peer.sendall(b"many")
    assert loop.run_until_complete(reader.readexactly(4)) == b"many"
    assert reader._transport is None and not writer.transport.is_closing()
