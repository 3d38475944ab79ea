"""After small messages in a row, which OpenSSL receives by itself, everything goes on as before."""

import asyncio
import hashlib
import random
import threading

import pytest
from tls_peers import client_context, peer
from tls_protocols import Buffered, Recorder, run
from tls_wire import GREETINGS, Wire, messages


class Answers:
    """Sends the greetings back, then only listens."""

    def data_received(self, data):
        self.greeted = getattr(self, "greeted", 0) + len(data)
        if self.greeted <= GREETINGS * 700:
            self.transport.write(data)
        else:
            super().data_received(data)


class Hears(Answers, Recorder):
    pass


class HearsBuffered(Answers, Buffered):
    size = 3000


def serve(loop, make, handle, check):
    """Connect make(loop) to a Wire that handle() has, and run check(protocol) meanwhile."""

    async def main(address):
        ours = make(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        await check(ours)
        ours.transport.abort()
        await ours.lost

    with peer(lambda sock: handle(Wire(sock))) as address:
        run(loop, main(address))


@pytest.mark.parametrize("make", [Hears, HearsBuffered])
@pytest.mark.parametrize("together", [False, True])
def test_messages_of_every_size_arrive(loop, engine, make, together):
    sent = messages(4)
    done = threading.Event()

    def handle(wire):
        if together:
            wire.send(*sent)
        else:
            for message in sent:
                wire.send(message)
        assert done.wait(30)

    async def check(ours):
        await ours.until(lambda: len(ours.data) == sum(map(len, sent)))
        done.set()
        assert ours.data == b"".join(sent)

    serve(loop, make, handle, check)


@pytest.mark.parametrize("make", [Hears, HearsBuffered])
def test_records_that_are_cut_anywhere_arrive(loop, engine, make):
    sent = [
        bytes([i]) * size for i, size in enumerate((1, 10, 700, 701, 16384, 3, 9000, 20000) * 3)
    ]
    done = threading.Event()

    def handle(wire):
        chance = random.Random(5)
        records = wire.records(*sent)
        while records:
            size = chance.choice([1, 3, 4, 5, 6, 30, 700, 722, 5000, 16_405, 16_410])
            wire.sock.sendall(records[:size])
            records = records[size:]
        assert done.wait(30)

    async def check(ours):
        await ours.until(lambda: len(ours.data) == sum(map(len, sent)))
        done.set()
        assert ours.data == b"".join(sent)

    serve(loop, make, handle, check)


@pytest.mark.parametrize("end", ["close_notify", "end of stream", "reset", "broken record"])
def test_what_came_before_the_end_is_delivered_first(loop, engine, end):
    heard = threading.Event()

    def handle(wire):
        records = wire.records(b"last" * 100)
        if end == "close_notify":
            try:
                wire.sslobj.unwrap()
            except OSError:
                pass  # it waits for ours
            records += wire.outgoing.read()
        elif end == "broken record":
            records += b"\x17\x03\x03\x00\x20" + b"?" * 32
        wire.sock.sendall(records)
        if end != "end of stream":
            assert heard.wait(30)
        if end == "reset":
            wire.reset()

    async def check(ours):
        await ours.until(lambda: ours.data)
        heard.set()
        exc = await ours.lost
        assert ours.data == b"last" * 100
        assert ours.events[:2] == ["made", "data"] and ours.events[-1] == "lost"
        expected = {"reset": ConnectionResetError, "broken record": OSError}.get(end, type(None))
        assert isinstance(exc, expected)

    async def main(address):
        ours = Hears(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        await check(ours)

    with peer(lambda sock: handle(Wire(sock))) as address:
        try:
            run(loop, main(address))
        finally:
            heard.set()


def test_a_protocol_that_pauses_in_every_message_hears_each(loop, engine):
    sent = [bytes([i % 251]) * 900 for i in range(200)]
    done = threading.Event()

    class Pauses(Hears):
        def data_received(self, data):
            super().data_received(data)
            if self.greeted > GREETINGS * 700:
                assert not self.paused, "fed while it was paused"
                self.paused = True
                self.transport.pause_reading()
                self.loop.call_soon(self.go_on)

        paused = False

        def go_on(self):
            self.paused = False
            self.transport.resume_reading()

    def handle(wire):
        for message in sent:
            wire.send(message)
        assert done.wait(30)

    async def check(ours):
        await ours.until(lambda: len(ours.data) == sum(map(len, sent)))
        done.set()
        assert ours.data == b"".join(sent)

    serve(loop, Pauses, handle, check)


def test_streams_hear_the_same(loop, engine):
    sent = messages(6)
    found = hashlib.sha256()

    def handle(wire):
        wire.send(*sent)
        for message in sent:
            assert wire.read(len(message)) == message

    async def main(address):
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_context(), server_hostname="localhost"
        )
        for _ in range(GREETINGS):
            writer.write(await reader.readexactly(700))
        for message in sent:
            data = await reader.readexactly(len(message))
            found.update(data)
            writer.write(data)
            await writer.drain()
        assert await reader.read() == b""
        writer.transport.abort()

    with peer(lambda sock: handle(Wire(sock))) as address:
        run(loop, main(address))
    assert found.digest() == hashlib.sha256(b"".join(sent)).digest()
