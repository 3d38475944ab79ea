"""After small messages in a row, which OpenSSL receives by itself, everything goes on as before."""

import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import threading

import pytest
from malloced import malloced_nbytes
from tls_openssl import Library
from tls_peers import client_context, peer, server_context
from tls_protocols import Buffered, Recorder, pair, run
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


def serve(loop, make, handle, check, **options):
    """Connect make(loop) to a Wire that handle() has, and run check(protocol) meanwhile."""

    async def main(address):
        ours = make(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(**options), server_hostname="localhost"
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


ENDS = ["close_notify", "end of stream", "reset"]
ENDS += [pytest.param("broken record", marks=pytest.mark.ours("stock drops what came before"))]
ENDS += [f"{how} in a {where}" for how in ("end", "reset") for where in ("head", "record")]


@pytest.mark.parametrize("end", ENDS)
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
        elif end.endswith("head"):
            records += b"\x17\x03"
        elif end.endswith("record"):
            records += wire.records(b"lost" * 100)[:-1]
        wire.sock.sendall(records)
        if not end.startswith("end"):
            assert heard.wait(30)
        if end.startswith("reset"):
            wire.reset()

    async def check(ours):
        await ours.until(lambda: ours.data)
        heard.set()
        exc = await ours.lost
        assert ours.data == b"last" * 100
        assert ours.events[:2] == ["made", "data"] and ours.events[-1] == "lost"
        expected = {"reset": ConnectionResetError, "broken": OSError}.get(
            end.split()[0], type(None)
        )
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


# ---- what the protocol does meanwhile ----


@pytest.mark.parametrize("sizes", [(1, 7), (7, 1000), (2000, 7)])
def test_protocols_of_both_kinds_take_turns_within_messages(loop, engine, sizes):
    """What a small buffer leaves in OpenSSL is for the next one, which may have none."""
    sent = [bytes([i]) * 90 for i in range(20)]
    done = threading.Event()
    heard = bytearray()

    class Turns:
        def take(self, data):
            heard.extend(data)
            self.ours.turn += 1
            self.transport.set_protocol(self.ours.protocols[self.ours.turn % 4])
            self.ours.changed.set()

        def __init__(self, ours, transport):
            self.ours, self.transport = ours, transport

        def connection_lost(self, exc):
            self.ours.connection_lost(exc)

    class Takes(Turns, asyncio.Protocol):
        def data_received(self, data):
            self.take(data)

    class Lends(Turns, asyncio.BufferedProtocol):
        def get_buffer(self, hint):
            self.buffer = bytearray(sizes[self.ours.turn % 2])
            return memoryview(self.buffer)

        def buffer_updated(self, nbytes):
            self.take(self.buffer[:nbytes])

    def handle(wire):
        for message in sent:
            wire.send(message)
        wire.send(*sent)
        assert done.wait(30)

    async def check(ours):
        await ours.until(lambda: getattr(ours, "greeted", 0) >= GREETINGS * 700)
        transport, ours.turn = ours.transport, 0
        ours.protocols = [kind(ours, transport) for kind in (Takes, Lends, Lends, Takes)]
        transport.set_protocol(ours.protocols[1])
        await ours.until(lambda: len(heard) + len(ours.data) == 2 * 90 * 20)
        done.set()
        assert ours.data + heard == b"".join(sent + sent)

    class Greets(Hears):
        def data_received(self, data):
            super().data_received(data)
            self.changed.set()

    serve(loop, Greets, handle, check)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_connection_that_ends_in_a_message_takes_nothing_from_who_has_its_number_next(
    loop, engine, how
):
    def handle(wire):
        wire.send(b"end" * 300)
        with contextlib.suppress(OSError):  # a reset
            wire.sock.recv(65536)

    class Ends(Hears):
        def data_received(self, data):
            super().data_received(data)
            if self.greeted > GREETINGS * 700:
                getattr(self.transport, how)()

    async def main(address):
        ours = Ends(loop)
        transport, _ = await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        sslobj = transport.get_extra_info("ssl_object")
        number = transport.get_extra_info("socket").fileno()
        assert await ours.lost is None
        assert ours.data == b"end" * 300 and ours.events.count("lost") == 1
        with contextlib.ExitStack() as stack:
            for _ in range(1000):
                ends = socket.socketpair()
                for end in ends:
                    stack.enter_context(end)
                if number in [end.fileno() for end in ends]:
                    break
                await asyncio.sleep(0)
            else:
                pytest.fail("the number of the descriptor was not given again")
            ends[0].send(b"theirs")
            ends[1].send(b"theirs")
            with contextlib.suppress(OSError, ValueError):
                assert sslobj.read(1) == b""
            await asyncio.sleep(0)
            assert [end.recv(100) for end in ends] == [b"theirs"] * 2

    with peer(lambda sock: handle(Wire(sock))) as address:
        run(loop, main(address))


def test_a_users_own_reading_finds_nothing_and_takes_nothing(loop, engine):
    sent = [bytes([i]) * 500 for i in range(30)]

    class Asks(Hears):
        def data_received(self, data):
            super().data_received(data)
            sslobj = self.transport.get_extra_info("ssl_object")
            assert sslobj.pending() == 0
            with pytest.raises(ssl.SSLWantReadError):
                sslobj.read(1)
            self.asked = getattr(self, "asked", 0) + 1
            if self.greeted > GREETINGS * 700:
                self.transport.write(b"next")

    def handle(wire):
        for message in sent:
            wire.send(message)
            assert wire.read(4) == b"next"

    async def check(ours):
        await ours.until(lambda: len(ours.data) == 500 * 30)
        assert ours.data == b"".join(sent)
        assert ours.asked == GREETINGS + 30

    serve(loop, Asks, handle, check)


def test_a_buffer_is_asked_for_when_there_are_bytes_and_told_of_them(loop, engine):
    hints = []

    class Lends(HearsBuffered):
        def get_buffer(self, hint):
            hints.append(hint)
            return super().get_buffer(hint)

    done = threading.Event()

    def handle(wire):
        wire.send(b"x" * 2000)
        assert done.wait(30)

    async def check(ours):
        await ours.until(lambda: len(ours.data) == 2000)
        done.set()
        assert all(hint > 700 for hint in hints[-GREETINGS:])
        assert len(hints) <= ours.events.count("data") + GREETINGS + 3  # tickets, and such

    serve(loop, Lends, handle, check)


# ---- what is no data ----


def test_keys_are_updated_between_messages(loop, engine):
    def handle(wire):
        library = Library(wire.sslobj)
        for i in range(20):
            library.update_key()
            wire.send(bytes([i]) * 600)
            assert wire.read(1) == b"!"

    class Marks(Hears):
        def data_received(self, data):
            before = len(self.data)
            super().data_received(data)
            if len(self.data) // 600 > before // 600:
                self.transport.write(b"!")

    async def check(ours):
        await ours.until(lambda: len(ours.data) == 600 * 20)
        assert ours.data == b"".join(bytes([i]) * 600 for i in range(20))

    version = ssl.TLSVersion.TLSv1_3
    serve(loop, Marks, handle, check, minimum_version=version)


def test_the_server_renegotiates_between_messages(loop, engine):
    heard = threading.Event()

    def handle(wire):
        library = Library(wire.sslobj)
        for i in range(3):
            library.renegotiate()
            wire.send(bytes([i]) * 600)
            assert wire.read(600) == bytes([i]) * 600
            wire.send(bytes([i]) * 600)
            assert wire.read(600) == bytes([i]) * 600
            assert library.renegotiations() == i + 1
        assert heard.wait(30)

    class Echoes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.write(data)

    async def check(ours):
        await ours.until(lambda: len(ours.data) == GREETINGS * 700 + 6 * 600)
        heard.set()

    version = ssl.TLSVersion.TLSv1_2
    serve(loop, Echoes, handle, check, maximum_version=version)


# ---- heads that come in parts, or are of another kind ----


def kinds(records):
    """Return the kinds of the records, by their heads."""
    found = []
    while records:
        found.append(records[0])
        records = records[5 + int.from_bytes(records[3:5], "big") :]
    return found


def old_hello():
    """Return how clients of old ask for TLS 1.2, in a record of SSL 2."""
    suites = b"".join(bytes([0, 0xC0, number]) for number in (0x2B, 0x2C, 0x2F, 0x30))
    lengths = len(suites).to_bytes(2, "big") + b"\0\0" + b"\0\x20"
    hello = b"\x01\x03\x03" + lengths + suites + bytes(range(32))
    return (0x8000 | len(hello)).to_bytes(2, "big") + hello


REFUSAL = b"\x15\x03\x03\0\x02\x02\x28"  # an alert: handshake_failure


def answers(context, *flights):
    """Return what a server by hand answers to them, and how it ends."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sslobj = context.wrap_bio(incoming, outgoing, server_side=True)
    end = None
    for flight in flights:
        incoming.write(flight)
        try:
            sslobj.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as exc:
            end = exc.reason
            break
    return kinds(outgoing.read()), end


@pytest.mark.parametrize("together", [False, True])
def test_a_handshake_that_begins_as_in_ssl_2_is_answered_as_by_hand(loop, engine, together):
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    expected, end = answers(context, old_hello(), REFUSAL)
    assert end is not None
    told = []
    loop.set_exception_handler(lambda loop, about: told.append(about))

    def client(address):
        with socket.create_connection(address, 30) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            flight = old_hello() + REFUSAL
            with contextlib.suppress(ConnectionError):  # it may have refused already
                for part in [flight] if together else [bytes([byte]) for byte in flight]:
                    sock.sendall(part)
            found = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while data := sock.recv(65536):
                    found += data
            return bytes(found)

    async def main():
        server = await loop.create_server(lambda: Recorder(loop), "127.0.0.1", 0, ssl=context)
        found = await loop.run_in_executor(None, client, server.sockets[0].getsockname())
        server.close()
        return found

    found = run(loop, main(), 40)
    if found:  # else the reset was faster
        assert kinds(found)[: len(expected)] == expected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_peer_whose_every_byte_comes_alone_is_understood(loop, engine, version):
    async def pump(reader, writer):
        while data := await reader.read(65536):
            for byte in data:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
        writer.close()

    async def main():
        relayed = loop.create_future()

        async def relay(reader, writer):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            far = await asyncio.open_connection(*listener.sockets[0].getsockname())
            sock = far[1].get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(pump(reader, far[1]), pump(far[0], writer))
            relayed.set_result(None)

        async def echo(reader, writer):
            for _ in range(30):
                writer.write(await reader.readexactly(20))
            writer.close()

        listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        between = await asyncio.start_server(relay, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(
            *between.sockets[0].getsockname(),
            ssl=client_context(maximum_version=version),
            server_hostname="localhost",
        )
        for i in range(30):
            writer.write(bytes([i]) * 20)
            assert await reader.readexactly(20) == bytes([i]) * 20
        assert await reader.read() == b""
        writer.close()
        await relayed
        for server in listener, between:
            server.close()

    run(loop, main())


def test_loops_of_two_threads_share_their_contexts(loop, engine, loop_class, make_loop):
    server, client = server_context(), client_context()

    class Echoes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if len(self.data) < 100_000:
                self.transport.write(data)

    async def talk(other):
        async with pair(other, Echoes, Echoes, server=server, client=client) as (ours, theirs):
            ours.transport.write(b"x" * 700)
            await ours.until(lambda: len(ours.data) + len(theirs.data) >= 197_000)
            assert set(ours.data + theirs.data) == {ord("x")}

    failures = []

    def work(other):
        try:
            run(other, talk(other))
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(make_loop(loop_class),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []


@pytest.mark.skipif(malloced_nbytes() is None, reason="this libc has no mallinfo2()")
def test_connections_that_send_in_turn_share_the_memory_for_records(loop, engine):
    nbytes, count = 1 << 18, 24

    async def say(ours, theirs, data):
        theirs.data.clear()
        ours.transport.write(data)
        await theirs.until(lambda: len(theirs.data) == len(data))

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            busy = await stack.enter_async_context(pair(loop))
            await say(*busy, bytes(nbytes))
            idle = [await stack.enter_async_context(pair(loop)) for _ in range(count)]
            for one in idle:
                await say(*one, b"once")
            before = malloced_nbytes()
            for one in idle:
                await say(*busy, bytes(nbytes))
                await say(*one, b"again")
            return malloced_nbytes() - before

    assert run(loop, main()) < count * 32 * 1024
