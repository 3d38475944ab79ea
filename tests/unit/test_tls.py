"""TLS connections: what arrives, in which order, and how they end; on both engines."""

import asyncio
import contextlib
import gc
import hashlib
import os
import random
import socket
import ssl
import struct
import sys
import threading
import weakref

import pytest
from tls_peers import BROKEN_RECORD, client_context, peer, server_context, shake_hands
from tls_protocols import Buffered, Recorder, pair, run

MIB = 1 << 20


# ---- the face ----


def test_a_connection_tells_what_it_is(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            transport = ours.transport
            assert isinstance(transport, asyncio.Transport)
            assert transport.get_extra_info("sslcontext") is not None
            sslobj = transport.get_extra_info("ssl_object")
            assert isinstance(sslobj, ssl.SSLObject)
            assert transport.get_extra_info("peercert") == sslobj.getpeercert() != {}
            assert transport.get_extra_info("cipher") == sslobj.cipher()
            assert transport.get_extra_info("compression") is None
            assert transport.get_extra_info("nothing", 7) == 7
            assert (
                transport.get_extra_info("peername")
                == theirs.transport.get_extra_info("sockname")
                == transport.get_extra_info("socket").getpeername()
            )
            assert theirs.transport.get_extra_info("peercert") is None
            assert transport.get_protocol() is ours
            assert not transport.can_write_eof() and transport.is_reading()
            with pytest.raises(NotImplementedError):
                transport.write_eof()
            assert transport.get_write_buffer_size() == 0
            assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)

    run(loop, main())


@pytest.mark.ours("stock has no engines")
def test_the_engine_is_the_one_that_was_chosen(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            for protocol in ours, theirs:
                connection = protocol.transport._ssl_protocol
                assert connection._engine == engine
                assert isinstance(connection, asyncio.sslproto.SSLProtocol)
                assert isinstance(protocol.transport, asyncio.sslproto._SSLProtocolTransport)

    run(loop, main())


@pytest.mark.ours("stock has no engines")
def test_an_ssl_object_of_a_users_class_is_used_through_its_methods(loop, engine):
    calls = []

    class Mine(ssl.SSLObject):
        def read(self, *args):
            calls.append("read")
            return super().read(*args)

        def write(self, data):
            calls.append("write")
            return super().write(data)

    async def main():
        async with pair(loop, client=client_context(sslobject_class=Mine)) as (ours, theirs):
            assert ours.transport._ssl_protocol._engine == "membio"
            ours.transport.write(b"hello")
            theirs.transport.write(b"you")
            await theirs.until(lambda: theirs.data == b"hello")
            await ours.until(lambda: ours.data == b"you")

    run(loop, main())
    assert {"read", "write"} <= set(calls)


def test_a_write_of_something_else_is_a_type_error_in_stocks_words(same_error):
    def action(loop):
        async def main():
            async with pair(loop) as (ours, _):
                ours.transport.write("text")

        loop.run_until_complete(main())

    assert same_error(action) is TypeError


@pytest.mark.parametrize("lines", [7, None, [7], [None], b"ab"])
def test_lines_without_a_length_are_a_type_error_in_stocks_words(same_error, engine, lines):
    def action(loop):
        async def main():
            async with pair(loop) as (ours, _):
                ours.transport.writelines(lines)

        loop.run_until_complete(main())

    assert same_error(action) is TypeError


class Shrinking:
    """No buffer, and gone from the list of lines by the time that is found out."""

    def __init__(self, lines):
        self.lines = lines

    def __buffer__(self, flags):
        self.lines.clear()

    def __len__(self):
        return 1


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no __buffer__() in this Python")
def test_a_line_that_empties_the_list_while_it_is_looked_at_is_refused(loop, engine):
    heard = []
    loop.set_exception_handler(lambda loop, told: heard.append(type(told["exception"])))

    async def main():
        async with pair(loop) as (ours, _):
            lines = []
            lines.append(Shrinking(lines))
            ours.transport.writelines(lines)

    run(loop, main())
    assert heard == [TypeError]


@pytest.mark.ours("asyncio keeps what it does not take, and the next write fails")
def test_a_connection_goes_on_after_lines_that_it_does_not_take(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            with pytest.raises(TypeError):
                ours.transport.writelines([None])
            ours.transport.write(b"good")
            await theirs.until(lambda: len(theirs.data) == 4)
            assert ours.events == ["made"]

    run(loop, main())


# ---- data ----


@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_data_arrives_whole_in_both_directions(loop, engine, make):
    size = 2 * MIB if make is Recorder else MIB // 4

    async def main():
        async with pair(loop, make, make) as (ours, theirs):
            for sender, receiver in (ours, theirs), (theirs, ours):
                payload = os.urandom(size)
                sender.transport.write(payload)
                await receiver.until(lambda n=receiver: len(n.data) >= size)
                assert bytes(receiver.data) == payload

    run(loop, main())


@pytest.mark.ours("stock calls the data_received() that is not there")
def test_what_has_a_buffer_and_no_data_received_is_a_buffered_protocol(loop, engine):
    class HasBuffer:
        def __init__(self):
            self.buffer, self.got = bytearray(10), loop.create_future()

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.got.set_result(bytes(self.buffer[:nbytes]))

    async def main():
        async with pair(loop) as (ours, theirs):
            other = HasBuffer()
            ours.transport.set_protocol(other)
            theirs.transport.write(b"hello")
            assert await other.got == b"hello"
            ours.transport.set_protocol(ours)

    run(loop, main())


def test_streams_echo_by_hash_while_both_sides_pause(loop, engine):
    chance = random.Random(5)
    digests = []

    async def echo(reader, writer):
        digest = hashlib.sha256()
        while data := await reader.read(chance.choice([1000, 65536])):
            digest.update(data)
            writer.write(data)
            await writer.drain()
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        digests.append(digest.hexdigest())
        writer.close()

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname="localhost"
        )
        sent, received, total = hashlib.sha256(), hashlib.sha256(), 4 * MIB

        async def send():
            left = total
            while left:
                data = os.urandom(min(left, chance.choice([1, 100, 5000, 200_000])))
                left -= len(data)
                sent.update(data)
                writer.write(data)
                await writer.drain()

        async def receive():
            left = total
            while left:
                data = await reader.read(100_000)
                assert data
                left -= len(data)
                received.update(data)
                if chance.random() < 0.05:
                    await asyncio.sleep(0.001)

        await asyncio.gather(send(), receive())
        assert received.digest() == sent.digest()
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.ours("stock sends what the bytearray holds when it comes to it")
def test_bytes_leave_as_they_were_when_they_were_written(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            theirs.transport.pause_reading()
            data = bytearray(b"a" * 4 * MIB)
            ours.transport.write(data)
            view = memoryview(b"c" * 10)
            ours.transport.write(view[2:])
            data[:] = b"b" * len(data)
            theirs.transport.resume_reading()
            await theirs.until(lambda: len(theirs.data) == 4 * MIB + 8)
            assert bytes(theirs.data) == b"a" * 4 * MIB + b"c" * 8

    run(loop, main())


@pytest.mark.ours("stock sends a record for each write")
def test_what_a_callback_writes_in_pieces_leaves_in_one_record(loop, engine):
    def handle(sock):
        with server_context().wrap_socket(sock, server_side=True) as tls:
            for _ in range(2):
                records = []
                while len(b"".join(records)) < 11:
                    records.append(tls.recv(100))
                seen.append(records)
                tls.sendall(b"go")
            tls.unwrap()

    seen = []

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context(), server_hostname="localhost"
        )
        for n in 1, 2:  # the first group teaches
            for piece in b"one", b"two", b"three":
                ours.transport.write(piece)
            await ours.until(lambda n=n: ours.data == b"go" * n)
        await ours.lost

    with peer(handle) as address:
        run(loop, main(address))
    assert [b"".join(records) for records in seen] == [b"onetwothree"] * 2
    assert seen[1] == [b"onetwothree"]


def test_writelines_sends_everything(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.writelines([b"ab", bytearray(b"cd"), memoryview(b"ef"), b"g" * 40_000])
            ours.transport.writelines(bytes([i]) for i in range(5))
            await theirs.until(lambda: len(theirs.data) == 40_011)
            assert theirs.data == b"abcdef" + b"g" * 40_000 + bytes(range(5))

    run(loop, main())


def test_what_is_written_before_the_handshake_is_done_is_sent_after_it(loop, engine):
    class Eager(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"first")
            transport.write(b"second")

    async def main():
        async with pair(loop, Eager) as (_, theirs):
            await theirs.until(lambda: theirs.data == b"firstsecond")

    run(loop, main())


def test_set_protocol_in_the_middle_takes_what_comes_then(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.write(b"one")
            await theirs.until(lambda: theirs.data == b"one")
            for kind in Buffered, Recorder:
                other = kind(loop)
                theirs.transport.set_protocol(other)
                assert theirs.transport.get_protocol() is other
                ours.transport.write(b"x" * 5000)
                await other.until(lambda other=other: len(other.data) == 5000)
            theirs.transport.set_protocol(theirs)
            assert theirs.data == b"one"

    run(loop, main())


# ---- flow control ----


def test_pause_reading_stops_data_and_resume_brings_it(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            theirs.transport.pause_reading()
            assert not theirs.transport.is_reading()
            ours.transport.write(b"x" * 100)
            for _ in range(20):
                await asyncio.sleep(0.005)
            assert theirs.data == b""
            theirs.transport.resume_reading()
            await theirs.until(lambda: theirs.data == b"x" * 100)

    run(loop, main())


@pytest.mark.ours("asyncio hands the first write to the transport below, however large it is")
def test_one_large_write_that_the_peer_does_not_take_pauses_the_protocol(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            theirs.transport.pause_reading()
            ours.transport.write(b"x" * (16 * MIB))
            assert ours.events[-1] == "pause"
            assert ours.transport.get_write_buffer_size() > MIB
            theirs.transport.resume_reading()
            await ours.until(lambda: ours.events[-1] == "resume")

    run(loop, main())


def test_a_peer_that_does_not_read_pauses_the_writer_within_bounds(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            theirs.transport.pause_reading()
            piece, count = b"x" * 65536, 0
            while "pause" not in ours.events:
                ours.transport.write(piece)
                count += 1
                await asyncio.sleep(0)
                assert count < 1000, "it takes without end"
            assert ours.transport.get_write_buffer_size() < 2 * MIB
            assert theirs.transport._ssl_protocol._get_read_buffer_size() < MIB
            theirs.transport.resume_reading()
            await ours.until(lambda: "resume" in ours.events)
            await theirs.until(lambda: len(theirs.data) == count * len(piece))
            assert ours.transport.get_write_buffer_size() == 0

    run(loop, main())


@pytest.mark.ours("stock pauses the protocol when nothing waits")
def test_a_mark_of_zero_does_not_pause_when_nothing_waits(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.set_write_buffer_limits(high=0)
            assert ours.transport.get_write_buffer_limits() == (0, 0)
            for _ in range(10):
                ours.transport.write(b"x")
            await theirs.until(lambda: len(theirs.data) == 10)
            assert "pause" not in ours.events

    run(loop, main())


# ---- the end ----


def test_close_delivers_what_was_written_then_both_sides_end(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.write(b"x" * 3 * MIB)
            ours.transport.close()
            assert ours.transport.is_closing()
            assert await theirs.lost is None and await ours.lost is None
            assert len(theirs.data) == 3 * MIB
            assert theirs.events[-2:] == ["eof", "lost"]

    run(loop, main())


def test_abort_sends_what_a_callback_wrote_before_it(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):

            def write_and_abort():
                for piece in b"a", b"b", b"c":
                    ours.transport.write(piece)
                ours.transport.abort()

            loop.call_soon(write_and_abort)
            await theirs.lost
            await ours.lost
            assert theirs.data == b"abc"

    run(loop, main())


def test_data_before_an_end_without_close_notify_is_delivered(loop, engine):
    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        tls.sendall(b"x" * 100_000)
        raw = socket.socket(fileno=tls.detach())
        raw.shutdown(socket.SHUT_RDWR)
        raw.close()

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context(), server_hostname="localhost"
        )
        await ours.lost
        assert len(ours.data) == 100_000
        assert ours.events[-2:] == ["eof", "lost"]

    with peer(handle) as address:
        run(loop, main(address))


def test_data_before_a_broken_record_is_delivered(loop, engine):
    if engine == "stock":
        pytest.skip("stock drops what came in the same segment")

    def handle(sock):
        tls, _, outgoing = shake_hands(sock, server_context(), server_side=True)
        tls.write(b"whole")
        sock.sendall(outgoing.read() + b"\x17\x03\x03\x00\x20" + b"\0" * 32)
        while sock.recv(1000):
            pass

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context(), server_hostname="localhost"
        )
        exc = await ours.lost
        assert isinstance(exc, ssl.SSLError) and exc.reason == BROKEN_RECORD
        assert ours.data == b"whole"

    with peer(handle) as address:
        run(loop, main(address))


def test_close_ends_though_the_peer_keeps_sending(loop, engine):
    stop = threading.Event()

    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        with contextlib.suppress(OSError):
            while not stop.is_set():
                tls.sendall(b"x" * 65536)
        with contextlib.suppress(OSError):
            tls.close()

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context(), server_hostname="localhost"
        )
        await ours.until(lambda: len(ours.data) > 0)
        ours.transport.close()
        await asyncio.wait_for(ours.lost, 10)

    with peer(handle) as address:
        try:
            run(loop, main(address))
        finally:
            stop.set()


def test_a_peer_that_never_answers_close_notify_is_dropped_in_time(loop, engine):
    done = threading.Event()

    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        done.wait(30)
        tls.detach()

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop),
            *address,
            ssl=client_context(),
            server_hostname="localhost",
            ssl_shutdown_timeout=0.2,
        )
        ours.transport.close()
        assert isinstance(await ours.lost, TimeoutError)

    with peer(handle) as address:
        try:
            run(loop, main(address))
        finally:
            done.set()


@pytest.mark.parametrize("waiting", [0, 8 * MIB], ids=["idle", "with much to send"])
def test_a_reset_below_tls_is_told_to_the_protocol(loop, engine, waiting):
    reset = threading.Event()

    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        tls.sendall(b"before")
        assert reset.wait(30)
        tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tls.close()

    async def main(address):
        _, ours = await loop.create_connection(
            lambda: Recorder(loop), *address, ssl=client_context(), server_hostname="localhost"
        )
        await ours.until(lambda: ours.data == b"before")
        ours.transport.write(bytes(waiting))
        reset.set()
        assert isinstance(await asyncio.wait_for(ours.lost, 20), ConnectionError)
        ours.transport.write(b"later")
        assert ours.transport.is_closing()

    with peer(handle) as address:
        try:
            run(loop, main(address))
        finally:
            reset.set()


def test_writes_in_every_phase_raise_nothing(loop, engine, caplog):
    async def main():
        async with pair(loop) as (ours, theirs):
            transport = ours.transport
            connection = transport._ssl_protocol
            transport.write(b"x")
            transport.close()
            for _ in range(3):
                transport.write(b"late")
                transport.writelines([b"late"])
            await ours.lost
            for _ in range(10):
                transport.write(b"later")
            transport.abort()
            assert transport.is_closing() and transport.get_write_buffer_size() == 0
            await theirs.lost
            assert theirs.data == b"x"
            del connection

    run(loop, main())
    assert "SSL connection is closed" in caplog.text


@pytest.mark.ours("stock forgets the connection at the second close()")
def test_a_transport_that_was_closed_twice_can_still_be_asked(loop, engine):
    async def main():
        async with pair(loop) as (ours, _):
            transport = ours.transport
            transport.close()
            transport.close()
            assert transport.get_extra_info("sslcontext") is not None
            await ours.lost
            transport.close()
            assert transport.get_extra_info("sslcontext", 1) == 1
            assert not transport.is_reading() and transport.get_write_buffer_size() == 0
            transport.pause_reading()
            transport.resume_reading()
            transport.write(b"x")
            transport.abort()

    run(loop, main())


def test_a_lost_connection_leaves_nothing_to_the_collector(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.write(b"x")
            await theirs.until(lambda: theirs.data)
            alive = [weakref.ref(x) for x in (ours.transport, ours.transport._ssl_protocol)]
            ours.transport.close()
            await ours.lost
            await theirs.lost
            del ours.transport
            for _ in range(3):
                await asyncio.sleep(0)
            left = [ref() for ref in alive]
            ours.transport = theirs.transport
            ours.lost = theirs.lost
            return left

    gc.collect()
    gc.disable()
    try:
        assert run(loop, main()) == [None, None]
    finally:
        gc.enable()


# ---- exceptions of the user's ----


@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_an_exception_in_data_received_ends_the_connection_and_is_reported(
    loop, engine, make, reports
):
    class Failing(make):
        def data_received(self, data):
            raise ValueError("mine")

    async def main():
        async with pair(loop, server_make=Failing) as (ours, theirs):
            ours.transport.write(b"x")
            assert isinstance(await theirs.lost, ValueError)

    run(loop, main())
    assert [(r["message"], str(r["exception"])) for r in reports] == [
        ("Fatal error on SSL protocol", "mine")
    ]


def test_an_exception_in_connection_lost_is_reported(loop, engine):
    class Failing(Recorder):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            raise ValueError("mine")

    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(str(context["exception"])))

    async def main():
        async with pair(loop, server_make=Failing) as (ours, theirs):
            ours.transport.close()
            await theirs.lost

    run(loop, main())
    assert reports == ["mine"]


def test_keyboard_interrupt_leaves_the_loop_and_it_can_run_again(loop, engine):
    class Interrupting(Recorder):
        def data_received(self, data):
            super().data_received(data)
            if data == b"stop":
                raise KeyboardInterrupt

    async def main():
        async with pair(loop, server_make=Interrupting) as (ours, theirs):
            ours.transport.write(b"stop")
            await asyncio.sleep(30)

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        loop.run_until_complete(asyncio.wait_for(asyncio.gather(task), 30))
