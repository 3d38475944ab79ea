"""Stream transports: the order of callbacks, closing, half-closing, failing, connecting."""

import asyncio
import errno
import socket
import ssl
import sys

import pytest
from traces import (
    BufferedRecorder,
    HasBuffer,
    Recorder,
    patient,
    read,
    read_all,
    reset,
    send,
    until,
)

FATAL = [KeyboardInterrupt, SystemExit]
MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    """Return each kind of stream socket."""
    return request.param


@pytest.fixture(params=[Recorder, BufferedRecorder], ids=["plain", "buffered"])
def make(request):
    """Return each kind of stream protocol."""
    return request.param


def received_event(make):
    return "buffer_updated" if make is BufferedRecorder else "data_received"


def closer(how):
    return lambda protocol, *args: getattr(protocol.transport, how)()


def fail(protocol, *args):
    raise ZeroDivisionError("mine")


# ---- a connection's life ----


def test_bytes_come_and_go_and_the_peers_end_closes(same_trace, kind, make):
    async def program(trace):
        protocol, peer = await trace.connect(kind, make=make)
        await send(peer, b"question")
        await protocol.until_received(8)
        protocol.transport.write(b"answer")
        trace("peer", await read(peer, 6))
        peer.close()
        await protocol.until("connection_lost")
        trace("client", protocol.transport.is_closing())

    lanes = same_trace(program)
    assert lanes["client"] == [
        ("connection_made",),
        ("data", b"question"),
        ("eof_received",),
        ("connection_lost", None),
        (True,),
    ]
    assert "handler" not in lanes


def test_connection_made_comes_before_create_connection_returns(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        trace("client", "returned")
        protocol.transport.close()
        trace("client", "closed")
        await protocol.until("connection_lost")

    assert same_trace(program)["client"] == [
        ("connection_made",),
        ("returned",),
        ("closed",),
        ("connection_lost", None),
    ]


def test_connection_lost_never_comes_from_inside_close_or_abort(same_trace, kind):
    async def program(trace):
        for how in "close", "abort":
            protocol, _ = await trace.connect(kind, how)
            getattr(protocol.transport, how)()
            trace(how, protocol.transport.is_closing(), list(protocol.events))
            await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["close"][1] == (True, ("connection_made",))


def test_connection_lost_comes_once_however_often_one_closes(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        for how in "close", "close", "abort", "abort", "close":
            getattr(protocol.transport, how)()
        await protocol.until("connection_lost")
        for how in "close", "abort":
            trace.call("client", getattr(protocol.transport, how))
        await asyncio.sleep(0.001)

    assert [e[0] for e in same_trace(program)["client"]].count("connection_lost") == 1


def test_close_flushes_what_was_written_however_large(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        protocol.transport.write(b"end")
        protocol.transport.close()
        trace("client", protocol.transport.get_write_buffer_size() > 0)
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    data, end = same_trace(program)["peer"][0]
    assert data.startswith(f"{len(MEGABYTE) + 3} bytes") and end == "EOF"


def test_close_while_buffered_stops_reading_at_once(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        await send(peer, b"too late")
        protocol.transport.close()
        for _ in range(5):
            await asyncio.sleep(0)
        trace("peer", await read(peer, len(MEGABYTE)))
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert ("data", b"too late") not in lanes["client"]
    assert lanes["client"][-1] == ("connection_lost", None)


def test_abort_drops_what_is_buffered(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE * 16)
        trace("client", protocol.transport.get_write_buffer_size() > 0)
        protocol.transport.abort()
        trace("client", protocol.transport.get_write_buffer_size())
        await protocol.until("connection_lost")
        data, end = await read_all(peer)
        trace("peer", len(data) < len(MEGABYTE) * 16, end)

    lanes = same_trace(program)
    assert lanes["peer"] == [(True, "EOF")]
    assert lanes["client"][1:4] == [("pause_writing",), (True,), (0,)]


def test_two_small_writes_before_abort_are_both_delivered(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(b"one")
        protocol.transport.write(b"two")
        protocol.transport.abort()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"onetwo", "EOF")]


def test_small_writes_are_delivered_when_the_loop_stops_right_after(same_trace, kind):
    def program(trace):
        loop = trace.loop
        protocol, peer = loop.run_until_complete(trace.connect(kind))
        loop.call_soon(protocol.transport.write, b"one")
        loop.call_soon(protocol.transport.write, b"two")
        loop.call_soon(loop.stop)
        loop.run_forever()
        trace("peer", peer.recv(100))
        protocol.transport.abort()

    assert same_trace(program)["peer"] == [(b"onetwo",)]


def test_a_write_leaves_before_the_callback_that_wrote_is_over(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(b"now")
        trace("peer", peer.recv(100))
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"now",)]


def test_close_tells_the_peer_at_once_while_the_transport_is_held(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        held = protocol.transport
        held.close()
        await protocol.until("connection_lost")
        trace("peer", peer.recv(10))
        del held

    assert same_trace(program)["peer"] == [(b"",)]


# ---- closing and aborting inside of callbacks ----


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("where", ["connection_made", "received", "eof_received"])
def test_a_transport_is_closed_from_inside_a_callback(same_trace, kind, make, where, how):
    async def program(trace):
        event = where
        if where == "received":
            event = received_event(make)
        ours, peer = trace.pair(kind)
        peer.send(b"hello")
        peer.shutdown(socket.SHUT_WR)
        protocol = make(trace, **{event: closer(how)})
        await trace.wait(
            "create",
            first_of(trace.loop.create_connection(lambda: protocol, sock=ours)),
        )
        await protocol.until("connection_lost")
        trace("peer", *await read_all(peer))

    lanes = same_trace(program)
    assert lanes["client"][-1] == ("connection_lost", None)
    assert (("data", b"hello") in lanes["client"]) == (where != "connection_made")


async def first_of(awaitable):
    """Await a (transport, protocol); say only that it came."""
    transport, protocol = await awaitable
    return protocol.transport is transport


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_transport_is_closed_from_inside_pause_writing(same_trace, kind, how):
    async def program(trace):
        protocol, peer = await trace.connect(kind, pause_writing=closer(how))
        protocol.transport.write(MEGABYTE)
        data, end = await read_all(peer)
        trace("peer", len(data) == len(MEGABYTE), end)
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["client"][-1] == ("connection_lost", None)
    assert lanes["peer"] == [(how == "close", "EOF")]


@pytest.mark.ours("stock then calls connection_lost twice and fails in the second call")
@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_transport_is_closed_from_inside_resume_writing(trace_on, kind, how):
    async def program(trace):
        protocol, peer = await trace.connect(kind, resume_writing=closer(how))
        protocol.transport.set_write_buffer_limits(high=0)
        protocol.transport.write(MEGABYTE)
        data, end = await read_all(peer)
        trace("peer", len(data), end)
        await protocol.until("connection_lost")
        await asyncio.sleep(0)

    lanes = trace_on(program)
    assert lanes["peer"] == [(len(MEGABYTE), "EOF")] and "handler" not in lanes
    assert lanes["client"] == [
        ("connection_made",),
        ("pause_writing",),
        ("resume_writing",),
        ("connection_lost", None),
    ]


def test_close_inside_connection_lost_is_harmless(same_trace, kind):
    async def program(trace):
        def lost(protocol, exc):
            for how in "close", "abort", "pause_reading", "resume_reading":
                trace.call("client", getattr(protocol.transport, how))
            trace.call("client", protocol.transport.write, b"late")

        protocol, peer = await trace.connect(kind, connection_lost=lost)
        peer.close()
        await protocol.until("connection_lost")
        await asyncio.sleep(0)

    same_trace(program)


def test_bytes_that_came_with_the_end_are_delivered_before_it(same_trace, kind, make):
    async def program(trace):
        ours, peer = trace.pair(kind)
        peer.send(b"all at once")
        peer.close()
        protocol = make(trace)
        await trace.loop.create_connection(lambda: protocol, sock=ours)
        await protocol.until("connection_lost")

    assert same_trace(program)["client"] == [
        ("connection_made",),
        ("data", b"all at once"),
        ("eof_received",),
        ("connection_lost", None),
    ]


def test_a_callback_queued_before_the_poll_runs_before_data_received(same_trace, kind):
    def program(trace):
        loop = trace.loop
        protocol, peer = loop.run_until_complete(trace.connect(kind))
        peer.send(b"x")
        loop.call_soon(trace, "client", "queued before the poll")
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.call_soon(trace, "client", "queued after the poll")
        loop.call_soon(loop.stop)
        loop.run_forever()
        protocol.transport.abort()

    lanes = same_trace(program)
    assert lanes["client"].index(("queued before the poll",)) < lanes["client"].index(
        ("data", b"x")
    )


# ---- half-closing ----


@pytest.mark.parametrize("keep", [True, False, None, 1, "yes"])
def test_what_eof_received_returns_decides_whether_the_transport_closes(same_trace, kind, keep):
    async def program(trace):
        protocol, peer = await trace.connect(kind, eof_received=lambda protocol: keep)
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        trace("client", protocol.transport.is_closing(), protocol.transport.is_reading())
        protocol.transport.write(b"after the end")
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["peer"] == [(b"after the end" if keep else b"", "EOF")]


def ends_kept_open(kind, make, then=lambda transport: None):
    """Return a program that counts how often an end is told that leaves the transport open."""

    async def program(trace):
        protocol, peer = await trace.connect(kind, make=make, eof_received=lambda protocol: True)
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        then(protocol.transport)
        for _ in range(5):
            await asyncio.sleep(0.001)
        trace("client", protocol.events.count("eof_received"))
        protocol.transport.abort()
        await protocol.until("connection_lost")

    return program


def test_a_transport_kept_open_after_eof_does_not_spin(same_trace, kind, make):
    assert (1,) in same_trace(ends_kept_open(kind, make))["client"]


@pytest.mark.ours("stock adds the reader again, and tells of the end again")
def test_the_end_is_told_once_though_reading_is_paused_and_resumed_after_it(trace_on, kind):
    def pause_and_resume(transport):
        transport.pause_reading()
        transport.resume_reading()

    assert (1,) in trace_on(ends_kept_open(kind, Recorder, pause_and_resume))["client"]


def test_another_protocol_is_told_of_an_end_that_came_before_it(same_trace, kind):
    async def program(trace):
        first, peer = await trace.connect(kind, eof_received=lambda protocol: True)
        peer.shutdown(socket.SHUT_WR)
        await first.until("eof_received")
        second = Recorder(trace, "second")
        first.transport.pause_reading()
        first.transport.set_protocol(second)
        first.transport.resume_reading()
        await second.until("connection_lost")

    assert same_trace(program)["second"] == [("eof_received",), ("connection_lost", None)]


def test_a_protocol_that_is_set_when_the_end_is_told_is_told_of_it_too(same_trace, kind):
    async def program(trace):
        second = Recorder(trace, "second")

        def eof_received(protocol):
            protocol.transport.pause_reading()
            protocol.transport.set_protocol(second)
            trace.loop.call_soon(protocol.transport.resume_reading)
            return True

        _, peer = await trace.connect(kind, eof_received=eof_received)
        peer.shutdown(socket.SHUT_WR)
        await second.until("connection_lost")

    assert same_trace(program)["second"] == [("eof_received",), ("connection_lost", None)]


def test_start_tls_ends_soon_when_the_peer_has_ended_already(same_trace):
    async def program(trace):
        client, peer = await trace.connect("tcp", eof_received=lambda protocol: True)
        peer.shutdown(socket.SHUT_WR)
        await client.until("eof_received")
        context = ssl.create_default_context()
        upgraded = trace.loop.start_tls(client.transport, client, context, server_hostname="x")
        await trace.wait("client", upgraded)

    assert ("raises", ("ConnectionResetError", "", None)) in same_trace(program)["client"]


def test_write_eof_ends_the_stream_and_still_receives(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        trace("client", protocol.transport.can_write_eof())
        protocol.transport.write(b"last words")
        trace.call("client", protocol.transport.write_eof)
        trace("peer", *await read_all(peer))
        await send(peer, b"answer")
        await protocol.until_received(6)
        peer.close()
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["peer"] == [(b"last words", "EOF")]
    assert ("data", b"answer") in lanes["client"]


def test_write_eof_waits_for_what_is_buffered(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        protocol.transport.write_eof()
        trace("client", protocol.transport.get_write_buffer_size() > 0)
        trace("peer", *await read_all(peer))
        trace("client", protocol.transport.is_closing(), protocol.transport.is_reading())
        protocol.transport.close()
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"][0][1] == "EOF"


def test_write_eof_twice_and_writes_after_it(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        transport = protocol.transport
        trace.call("client", transport.write_eof)
        trace.call("client", transport.write_eof)
        trace.call("client", transport.write, b"late")
        trace.call("client", transport.write, b"")
        trace.call("client", transport.writelines, [b"late"])
        trace.call("client", transport.writelines, [])
        transport.close()
        trace.call("client", transport.write_eof)
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")
        trace.call("client", transport.write_eof)

    lanes = same_trace(program)
    assert lanes["client"][3][1] == "raises"


def test_write_eof_after_close_does_nothing(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.close()
        trace.call("client", protocol.transport.write_eof)
        trace.call("client", protocol.transport.write, b"late")
        await protocol.until("connection_lost")
        trace("peer", *await read_all(peer))

    same_trace(program)


def test_write_eof_inside_eof_received_answers_half_close_with_half_close(same_trace, kind):
    def half(protocol):
        protocol.transport.write(b"bye")
        protocol.transport.write_eof()
        return True

    async def program(trace):
        protocol, peer = await trace.connect(kind, eof_received=half)
        peer.shutdown(socket.SHUT_WR)
        trace("peer", *await read_all(peer))
        trace("client", protocol.transport.is_closing())
        protocol.transport.close()
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["peer"] == [(b"bye", "EOF")]
    assert (False,) in lanes["client"]


# ---- reading ----


def test_a_large_stream_arrives_whole_and_in_order(trace_on, kind, make):
    async def program(trace):
        protocol, peer = await trace.connect(kind, make=make)
        await send(peer, MEGABYTE * 4)
        assert await protocol.until_received(len(MEGABYTE) * 4) == MEGABYTE * 4
        protocol.transport.abort()
        await protocol.until("connection_lost")

    trace_on(program)


def test_data_received_gets_bytes_objects_of_at_most_256_kib(trace_on, kind):
    async def program(trace):
        sizes = []

        def got(protocol, data):
            assert type(data) is bytes
            sizes.append(len(data))

        protocol, peer = await trace.connect(kind, data_received=got)
        await send(peer, MEGABYTE * 4)
        await protocol.until_received(len(MEGABYTE) * 4)
        assert 0 < min(sizes) and max(sizes) <= 256 * 1024
        protocol.transport.abort()
        await protocol.until("connection_lost")

    trace_on(program)


def test_bytes_kept_by_the_protocol_are_not_changed_by_later_reads(trace_on, kind):
    async def program(trace):
        kept = []
        protocol, peer = await trace.connect(kind, data_received=lambda p, data: kept.append(data))
        for n in range(50):
            word = bytes([65 + n]) * 1000
            await send(peer, word)
            await protocol.until_received(1000 * (n + 1))
        assert b"".join(kept) == b"".join(bytes([65 + n]) * 1000 for n in range(50))
        protocol.transport.abort()
        await protocol.until("connection_lost")

    trace_on(program)


def test_pausing_and_resuming_loses_nothing(trace_on, kind, make):
    async def program(trace):
        def pause(protocol, *args):
            protocol.transport.pause_reading()
            trace.loop.call_later(0.0005, protocol.transport.resume_reading)

        event = received_event(make)
        protocol, peer = await trace.connect(kind, make=make, **{event: pause})
        await send(peer, MEGABYTE)
        assert await protocol.until_received(len(MEGABYTE)) == MEGABYTE
        protocol.transport.abort()
        await protocol.until("connection_lost")

    trace_on(program)


def test_nothing_arrives_while_reading_is_paused(same_trace, kind, make):
    async def program(trace):
        protocol, peer = await trace.connect(kind, make=make)
        protocol.transport.pause_reading()
        await send(peer, b"held")
        await asyncio.sleep(0.005)
        trace("client", bytes(protocol.received))
        protocol.transport.resume_reading()
        await protocol.until_received(4)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][1:3] == [(b"",), ("data", b"held")]


def test_pausing_inside_data_received_stops_the_next_piece(same_trace, kind):
    async def program(trace):
        sizes = []

        def got(protocol, data):
            sizes.append(len(data))
            protocol.transport.pause_reading()

        protocol, peer = await trace.connect(kind, data_received=got)
        await send(peer, bytes(100))
        await protocol.until_received(100)
        await send(peer, bytes(50))
        for _ in range(5):
            await asyncio.sleep(0)
        trace("client", sizes, protocol.transport.is_reading())
        protocol.transport.resume_reading()
        await protocol.until_received(150)
        trace("client", sizes)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    same_trace(program)


def test_pausing_inside_connection_made_holds_the_first_bytes(same_trace, kind, make):
    async def program(trace):
        ours, peer = trace.pair(kind)
        peer.send(b"early")
        protocol = make(trace, connection_made=lambda p, *args: p.transport.pause_reading())
        await trace.loop.create_connection(lambda: protocol, sock=ours)
        await asyncio.sleep(0.002)
        trace("client", bytes(protocol.received), protocol.transport.is_reading())
        protocol.transport.resume_reading()
        await protocol.until_received(5)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    # connection_made() has no arguments in the trace: the hook gets the recorder alone.
    assert same_trace(program)["client"][1] == (b"", False)


def test_pause_and_resume_in_every_state(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        transport = protocol.transport

        def state(step):
            trace("client", step, transport.is_reading(), transport.is_closing())

        state("made")
        for step in "resume_reading", "pause_reading", "pause_reading", "resume_reading":
            trace.call("client", getattr(transport, step))
            state(step)
        transport.pause_reading()
        transport.close()
        state("closing")
        for step in "pause_reading", "resume_reading":
            trace.call("client", getattr(transport, step))
            state(step)
        await protocol.until("connection_lost")
        state("closed")
        for step in "pause_reading", "resume_reading":
            trace.call("client", getattr(transport, step))
        state("closed")

    same_trace(program)


def test_the_end_is_not_seen_while_reading_is_paused(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.pause_reading()
        await send(peer, b"last")
        peer.close()
        await asyncio.sleep(0.005)
        trace("client", list(protocol.events))
        protocol.transport.resume_reading()
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["client"][1] == (("connection_made",),)
    assert lanes["client"][2] == ("data", b"last")


# ---- protocols ----


def test_the_protocol_is_replaced_in_mid_stream(same_trace, kind, make):
    async def program(trace):
        for number, other in enumerate([Recorder, BufferedRecorder]):
            protocol, peer = await trace.connect(kind, f"first{number}", make=make)
            transport = protocol.transport
            await send(peer, b"one")
            await protocol.until_received(3)
            second = other(trace, f"second{number}")
            second.transport = transport
            transport.set_protocol(second)
            trace(f"second{number}", transport.get_protocol() is second)
            await send(peer, b"two")
            await second.until_received(3)
            peer.close()
            await second.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["first0"] == [("connection_made",), ("data", b"one")]
    assert lanes["second1"][1:] == [("data", b"two"), ("eof_received",), ("connection_lost", None)]


def test_the_protocol_is_replaced_inside_its_own_callback(same_trace, kind, make):
    async def program(trace):
        second = (
            BufferedRecorder(trace, "second") if make is Recorder else Recorder(trace, "second")
        )

        def swap(protocol, *args):
            second.transport = protocol.transport
            protocol.transport.set_protocol(second)

        event = received_event(make)
        protocol, peer = await trace.connect(kind, make=make, **{event: swap})
        await send(peer, b"one")
        await protocol.until_received(3)
        await send(peer, b"two")
        await second.until_received(3)
        second.transport.abort()
        await second.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["client"] == [("connection_made",), ("data", b"one")]
    assert lanes["second"] == [("data", b"two"), ("connection_lost", None)]


def test_the_protocol_is_replaced_after_close(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        second = Recorder(trace, "second")
        protocol.transport.close()
        trace.call("client", protocol.transport.set_protocol, second)
        await second.until("connection_lost")
        trace("client", protocol.transport.get_protocol() is None)

    lanes = same_trace(program)
    assert lanes["second"] == [("connection_lost", None)]


def test_get_buffer_is_asked_with_minus_one(same_trace, kind):
    async def program(trace):
        hints = []

        def get(protocol, sizehint):
            hints.append(sizehint)
            return protocol.buffer

        protocol, peer = await trace.connect(kind, make=BufferedRecorder, get_buffer=get)
        await send(peer, b"abc")
        await protocol.until_received(3)
        trace("client", set(hints))
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert (((-1,)),) in same_trace(program)["client"]


def test_a_buffer_of_one_byte_gets_the_stream_byte_by_byte(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(
            kind, make=lambda *a, **k: BufferedRecorder(*a, size=1, **k)
        )
        await send(peer, b"slowly")
        await protocol.until_received(6)
        trace("client", protocol.events.count("buffer_updated"))
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert (6,) in same_trace(program)["client"]


@pytest.mark.ours("stock calls the data_received() that is not there")
def test_what_has_a_buffer_and_no_data_received_is_a_buffered_protocol(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind, make=HasBuffer)
        await send(peer, b"question")
        await protocol.until_received(8)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert ("data", b"question") in trace_on(program)["client"]


BUFFERS = {
    "memoryview": lambda: memoryview(bytearray(10)),
    "slice": lambda: memoryview(bytearray(100))[20:30],
    "words": lambda: memoryview(bytearray(80)).cast("Q"),
    "empty": bytearray,
    "empty view": lambda: memoryview(b""),
    "bytes": lambda: b"readonly",
    "readonly view": lambda: memoryview(b"readonly"),
    "None": lambda: None,
    "int": lambda: 5,
    "str": lambda: "text",
    "list": lambda: [1, 2],
    "not contiguous": lambda: memoryview(bytearray(20))[::2],
}  # fmt: skip


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_get_buffer_returning_odd_things_does_what_stock_does(same_trace, buffer):
    async def program(trace):
        protocol, peer = await trace.connect(
            make=BufferedRecorder, get_buffer=lambda protocol, hint: buffer()
        )
        await send(peer, b"abc")
        await until(lambda: len(protocol.events) > 1)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    same_trace(program)


def test_the_buffer_is_released_after_each_read(trace_on, kind):
    async def program(trace):
        def grow(protocol, nbytes):
            protocol.buffer.extend(b"x")  # BufferError while somebody exports it

        protocol, peer = await trace.connect(kind, make=BufferedRecorder, buffer_updated=grow)
        await send(peer, b"abc")
        await protocol.until_received(3)
        protocol.buffer.append(1)
        protocol.transport.abort()
        await protocol.until("connection_lost")
        trace("size", len(protocol.buffer))

    lanes = trace_on(program)
    assert lanes["size"] == [(65536 + 2,)] and "handler" not in lanes


# ---- exceptions out of callbacks ----


@pytest.mark.parametrize("event", ["data_received", "eof_received", "connection_lost"])
def test_an_exception_of_a_callback_closes_and_is_reported(same_trace, kind, event):
    async def program(trace):
        protocol, peer = await trace.connect(kind, **{event: fail})
        await send(peer, b"x")
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("connection_lost")
        await asyncio.sleep(0)
        trace("peer", await read_all(peer))

    lanes = same_trace(program)
    assert len(lanes["handler"]) == 1 and "mine" in str(lanes["handler"])


@pytest.mark.parametrize("event", ["get_buffer", "buffer_updated", "eof_received"])
def test_an_exception_of_a_buffered_callback_closes_and_is_reported(same_trace, kind, event):
    async def program(trace):
        protocol, peer = await trace.connect(kind, make=BufferedRecorder, **{event: fail})
        await send(peer, b"x")
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("connection_lost")
        trace("peer", await read_all(peer))

    lanes = same_trace(program)
    assert len(lanes["handler"]) == 1 and "mine" in str(lanes["handler"])


def test_an_exception_of_connection_made_is_reported_and_leaves_the_connection(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind, connection_made=fail)
        trace("client", protocol.transport.is_closing())
        await send(peer, b"still here")
        await protocol.until_received(10)
        peer.close()
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert len(lanes["handler"]) == 1 and (False,) in lanes["client"]


@pytest.mark.parametrize("event", ["pause_writing", "resume_writing"])
def test_an_exception_of_flow_control_is_reported_and_leaves_the_connection(
    same_trace, kind, event
):
    async def program(trace):
        protocol, peer = await trace.connect(kind, **{event: fail})
        protocol.transport.write(MEGABYTE)
        trace("peer", await read(peer, len(MEGABYTE)))
        await protocol.until("resume_writing")
        trace("client", protocol.transport.is_closing())
        protocol.transport.close()
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["handler"][0][0] == f"protocol.{event}() failed"


@pytest.mark.parametrize("fatal", FATAL)
@pytest.mark.parametrize(
    "event", ["connection_made", "data_received", "eof_received", "connection_lost"]
)
def test_a_fatal_exception_of_a_callback_leaves_the_run_and_the_loop_works_on(
    same_trace, event, fatal
):
    def program(trace):
        def raiser(protocol, *args):
            if protocol.events.count(event) == 1:
                raise fatal("out of a callback")

        loop = trace.loop
        ours, peer = trace.pair()
        protocol = Recorder(trace, **{event: raiser})
        peer.send(b"x")
        peer.shutdown(socket.SHUT_WR)
        task = loop.create_task(loop.create_connection(lambda: protocol, sock=ours))
        trace.run(protocol.until("connection_lost"))
        trace("client", protocol.transport.is_closing(), list(protocol.events))
        protocol.transport.abort()
        loop.run_until_complete(asyncio.wait_for(protocol.until("connection_lost"), 15))
        loop.run_until_complete(task)
        trace("client", list(protocol.events))

    lanes = same_trace(program)
    assert lanes["run"] == [((fatal.__name__, "out of a callback", None),)]


@pytest.mark.parametrize("fatal", FATAL)
@pytest.mark.parametrize("event", ["get_buffer", "buffer_updated"])
def test_a_fatal_exception_of_a_buffered_callback_leaves_the_run(same_trace, event, fatal):
    def program(trace):
        def raiser(protocol, *args):
            raise fatal("out of a callback")

        loop = trace.loop
        protocol, peer = loop.run_until_complete(
            trace.connect(make=BufferedRecorder, **{event: raiser})
        )
        peer.send(b"x")
        trace.run(protocol.until("connection_lost"))
        trace("client", protocol.transport.is_closing(), list(protocol.events))
        protocol.transport.abort()
        loop.run_until_complete(asyncio.wait_for(protocol.until("connection_lost"), 15))

    lanes = same_trace(program)
    assert lanes["run"] == [((fatal.__name__, "out of a callback", None),)]


@pytest.mark.parametrize("fatal", FATAL)
def test_a_fatal_exception_of_pause_writing_leaves_write(same_trace, fatal):
    async def program(trace):
        def raiser(protocol):
            raise fatal("out of pause_writing")

        protocol, peer = await trace.connect(pause_writing=raiser)
        try:
            protocol.transport.write(MEGABYTE * 16)
        except BaseException as exc:
            trace("write", exc)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert same_trace(program)["write"][0][0][0] == fatal.__name__


def test_other_connections_live_on_when_one_protocol_fails(trace_on):
    async def program(trace):
        bad, bad_peer = await trace.connect(lane="bad", data_received=fail)
        good, good_peer = await trace.connect(lane="good")
        await send(bad_peer, b"x")
        await bad.until("connection_lost")
        await send(good_peer, b"fine")
        await good.until_received(4)
        good.transport.abort()
        await good.until("connection_lost")

    lanes = trace_on(program)
    assert ("data", b"fine") in lanes["good"] and len(lanes["handler"]) == 1


# ---- resets ----


def test_a_reset_is_told_to_connection_lost(same_trace, make):
    async def program(trace):
        protocol, peer = await trace.connect(make=make)
        reset(peer)
        await protocol.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["client"][-1][1][2] == errno.ECONNRESET
    assert "handler" not in lanes


def test_a_reset_before_connection_made_is_told_to_connection_lost(same_trace):
    async def program(trace):
        ours, peer = trace.pair()
        reset(peer)
        protocol = Recorder(trace)
        await trace.wait(
            "create", first_of(trace.loop.create_connection(lambda: protocol, sock=ours))
        )
        trace("client", protocol.transport.get_extra_info("peername"))
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][-1][1][2] == errno.ECONNRESET


def test_a_reset_while_paused_is_seen_by_the_next_write(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect()
        protocol.transport.pause_reading()
        reset(peer)
        await asyncio.sleep(0.002)
        trace("client", list(protocol.events))
        trace.call("client", protocol.transport.write, b"x")
        trace("client", protocol.transport.is_closing())
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][-1][1][0] == "ConnectionResetError"


def test_a_reset_while_buffered_drops_the_buffer(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect()
        protocol.transport.write(MEGABYTE * 16)
        reset(peer)
        await protocol.until("connection_lost")
        trace("client", protocol.transport.get_write_buffer_size())

    lanes = same_trace(program)
    assert lanes["client"][-1] == (0,)
    assert lanes["client"][-2][1][0] == "ConnectionResetError"


def test_a_reset_while_closing_ends_the_flush(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect()
        protocol.transport.write(MEGABYTE * 16)
        protocol.transport.close()
        reset(peer)
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][-1][1][0] == "ConnectionResetError"


def test_a_reset_after_eof_is_seen_by_the_next_write(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect(eof_received=lambda protocol: True)
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        reset(peer)
        await asyncio.sleep(0.002)
        trace("client", protocol.transport.is_closing())
        trace.call("client", protocol.transport.write, b"x")
        await protocol.until("connection_lost")

    same_trace(program)


def test_writes_after_a_reset_never_raise_and_connection_lost_comes(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect()
        reset(peer)
        await asyncio.sleep(0.002)
        for _ in range(10):
            trace.call("client", protocol.transport.write, b"x")
        await protocol.until("connection_lost")

    same_trace(program)


def test_write_to_a_closed_unix_peer_breaks_the_pipe(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect("unix")
        protocol.transport.pause_reading()
        peer.close()
        trace.call("client", protocol.transport.write, b"x")
        trace("client", protocol.transport.is_closing())
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][-1][1][0] == "BrokenPipeError"


def test_write_eof_on_a_reset_connection_does_what_stock_does(same_trace):
    async def program(trace):
        protocol, peer = await trace.connect()
        protocol.transport.pause_reading()
        reset(peer)
        await asyncio.sleep(0.002)
        trace.call("client", protocol.transport.write_eof)
        trace("client", protocol.transport.is_closing())
        protocol.transport.abort()
        await protocol.until("connection_lost")

    same_trace(program)


# ---- writes after the end ----


def test_writes_after_close_warn_from_the_fifth_on(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.close()
        for _ in range(8):
            trace.call("client", protocol.transport.write, b"x")
        await protocol.until("connection_lost")
        trace.call("client", protocol.transport.write, b"x")
        trace("peer", *await read_all(peer))

    lanes = same_trace(program)
    assert lanes["log"] == [("WARNING", "socket.send() raised exception.")] * 5
    assert lanes["peer"] == [(b"", "EOF")]


def test_empty_writes_after_close_are_not_counted(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        protocol.transport.close()
        for _ in range(8):
            protocol.transport.write(b"")
        await protocol.until("connection_lost")

    assert "log" not in same_trace(program)


def test_writes_while_close_flushes_are_sent(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        protocol.transport.close()
        trace.call("client", protocol.transport.write, b"more")
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    same_trace(program)


@pytest.mark.ours("stock 3.12 raises TypeError: 'NoneType' object is not callable")
def test_writelines_after_close_is_dropped_like_write(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.close()
        for _ in range(6):
            protocol.transport.writelines([b"a", b"b"])
        await protocol.until("connection_lost")
        protocol.transport.writelines([b"a", b"b"])
        trace("peer", *await read_all(peer))

    lanes = trace_on(program)
    assert lanes["peer"] == [(b"", "EOF")]


# ---- connecting ----


@pytest.fixture
def listener():
    """Return a listening TCP socket."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


def test_create_connection_connects_by_host_and_port(same_trace, listener):
    async def program(trace):
        protocol = Recorder(trace)
        await trace.loop.create_connection(lambda: protocol, *listener.getsockname())
        peer, _ = listener.accept()
        with peer:
            protocol.transport.write(b"hello")
            peer.setblocking(False)
            trace("peer", await read(peer, 5))
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"hello",)]


def test_local_addr_is_bound_before_connecting(same_trace, listener):
    async def program(trace):
        protocol = Recorder(trace)
        await trace.loop.create_connection(
            lambda: protocol, *listener.getsockname(), local_addr=("127.0.0.5", 0)
        )
        peer, address = listener.accept()
        peer.close()
        trace("peer", address[0], protocol.transport.get_extra_info("sockname")[0])
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [("127.0.0.5", "127.0.0.5")]


@pytest.fixture
def refused():
    """Return two loopback addresses where nobody listens."""
    with socket.socket() as first, socket.socket() as second:
        for sock in first, second:
            sock.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the number
        yield [first.getsockname(), second.getsockname()]


def test_a_refused_connection_says_so_in_stocks_words(same_trace, refused):
    async def program(trace):
        await trace.wait("create", trace.loop.create_connection(asyncio.Protocol, *refused[0]))

    (error,) = same_trace(program)["create"]
    assert error[1][0] == "ConnectionRefusedError"


def resolver(addresses):
    async def resolve(*args, **kwargs):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

    return resolve


@pytest.mark.parametrize("delay", [None, 0.01])
def test_the_next_address_is_tried_when_one_refuses(same_trace, refused, listener, delay):
    async def program(trace):
        trace.loop.getaddrinfo = resolver([*refused, listener.getsockname()])
        protocol = Recorder(trace)
        await trace.loop.create_connection(
            lambda: protocol, "name.invalid", 80, happy_eyeballs_delay=delay
        )
        peer, _ = listener.accept()
        peer.close()
        await protocol.until("connection_lost")

    assert same_trace(program)["client"][0] == ("connection_made",)


@pytest.mark.parametrize("delay", [None, 0.01])
def test_all_addresses_refused_is_reported_as_by_stock(same_trace, refused, delay):
    async def program(trace):
        trace.loop.getaddrinfo = resolver(refused)
        create = trace.loop.create_connection(
            asyncio.Protocol, "name.invalid", 80, happy_eyeballs_delay=delay
        )
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][0] == "raises"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors came with Python 3.12")
def test_all_errors_collects_the_refusals_in_a_group(same_trace, refused):
    async def program(trace):
        trace.loop.getaddrinfo = resolver(refused)
        try:
            await trace.loop.create_connection(
                asyncio.Protocol, "name.invalid", 80, all_errors=True
            )
        except ExceptionGroup as group:
            trace("group", str(group), *group.exceptions)

    (entry,) = same_trace(program)["group"]
    assert [error[0] for error in entry[1:]] == ["ConnectionRefusedError"] * 2


ARGUMENTS = {
    "nothing": lambda loop, sock: ((), {}),
    "host and sock": lambda loop, sock: (("localhost", 1), {"sock": sock}),
    "datagram sock": lambda loop, sock: ((), {"sock": socket.socket(type=socket.SOCK_DGRAM)}),
    "server_hostname without ssl": lambda loop, sock: ((), {"sock": sock, "server_hostname": "x"}),
    "handshake timeout without ssl": lambda loop, sock: (
        (),
        {"sock": sock, "ssl_handshake_timeout": 1},
    ),
    "bad local_addr": lambda loop, sock: (("127.0.0.1", 1), {"local_addr": ("256.1.1.1", 0)}),
    "bad port": lambda loop, sock: (("127.0.0.1", 99999), {}),
    "bad factory": lambda loop, sock: (None, {"sock": sock}),
    "closed sock": lambda loop, sock: ((), {"sock": closed_socket()}),
}


def closed_socket():
    sock = socket.socket()
    sock.close()
    return sock


@pytest.mark.parametrize("arguments", ARGUMENTS.values(), ids=ARGUMENTS)
def test_wrong_arguments_are_refused_as_by_stock(same_trace, arguments):
    async def program(trace):
        ours, _ = trace.pair()
        args, kwargs = arguments(trace.loop, ours)
        factory = None if args is None else asyncio.Protocol
        if "sock" in kwargs:
            trace.keep(kwargs["sock"])
        await trace.wait("create", trace.loop.create_connection(factory, *args or (), **kwargs))

    assert same_trace(program)["create"][0][0] == "raises"


def test_a_socket_that_is_not_connected_does_what_stock_does(same_trace):
    async def program(trace):
        sock = trace.keep(socket.socket())
        protocol = Recorder(trace)
        await trace.wait(
            "create", first_of(trace.loop.create_connection(lambda: protocol, sock=sock))
        )
        trace("client", protocol.transport.get_extra_info("peername", "default"))
        trace.call("client", protocol.transport.write, b"x")
        await protocol.until("connection_lost")

    same_trace(program)


def test_a_protocol_factory_that_raises_is_reported_and_closes_nothing_else(same_trace, fds):
    async def program(trace):
        ours, peer = trace.pair()
        await trace.wait("create", trace.loop.create_connection(lambda: 1 / 0, sock=ours))
        trace("client", ours.fileno() >= 0)

    same_trace(program)


def test_a_socket_in_use_by_a_transport_is_refused_in_stocks_words(same_trace, trace_on):
    async def program(trace):
        protocol, _ = await trace.connect()
        sock = protocol.transport.get_extra_info("socket")
        copy = trace.keep(socket.socket(fileno=sock.fileno()))
        await trace.wait("create", trace.loop.create_connection(asyncio.Protocol, sock=copy))
        copy.detach()
        protocol.transport.abort()
        await protocol.until("connection_lost")

    # Stock 3.11 let two transports read from one descriptor.
    lanes = (same_trace if sys.version_info >= (3, 12) else trace_on)(program)
    assert lanes["create"][0][1][0] == "RuntimeError"


def test_connecting_cancelled_leaks_no_descriptor(loop, fds, collect):
    async def main():
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        with full:
            waiting = []
            for _ in range(3):  # the queue is full now: further connects stay in progress
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(full.getsockname())
                waiting.append(sock)
            collect()  # what earlier tests left
            before = fds()
            for turns in range(6):
                task = asyncio.ensure_future(
                    loop.create_connection(asyncio.Protocol, *full.getsockname())
                )
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            assert fds() == before
            for sock in waiting:
                sock.close()

    loop.run_until_complete(patient(main()))


def test_a_given_socket_becomes_non_blocking_and_is_closed_by_the_transport(same_trace, kind):
    async def program(trace):
        ours, _ = trace.pair(kind)
        ours.setblocking(True)
        protocol = Recorder(trace)
        transport, _ = await trace.loop.create_connection(lambda: protocol, sock=ours)
        trace("client", ours.gettimeout())
        transport.close()
        await protocol.until("connection_lost")
        trace("client", ours.fileno())

    assert same_trace(program)["client"][-1] == (-1,)


def test_tcp_transports_turn_nagle_off(same_trace):
    async def program(trace):
        protocol, _ = await trace.connect()
        sock = protocol.transport.get_extra_info("socket")
        trace("client", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert (True,) in same_trace(program)["client"]


def test_connect_accepted_socket_serves_a_socket_accepted_elsewhere(same_trace, kind, make):
    async def program(trace):
        ours, peer = trace.pair(kind)
        protocol = make(trace)
        transport, same = await trace.loop.connect_accepted_socket(lambda: protocol, ours)
        trace("client", same is protocol, transport.get_extra_info("socket").fileno() >= 0)
        await send(peer, b"hello")
        await protocol.until_received(5)
        transport.write(b"hi")
        trace("peer", await read(peer, 2))
        peer.close()
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"hi",)]


def test_connect_accepted_socket_refuses_a_datagram_socket(same_trace):
    async def program(trace):
        sock = trace.keep(socket.socket(type=socket.SOCK_DGRAM))
        await trace.wait("create", trace.loop.connect_accepted_socket(asyncio.Protocol, sock))

    assert same_trace(program)["create"][0][1][0] == "ValueError"


# ---- names ----

HOSTS = ["127.0.0.1", "127.1", "0x7f.1", "", None, "localhost", b"127.0.0.1", "::1", "fe80::1%lo"]
SERVICES = [None, 0, 80, "80", b"80", "http", "", "no such service", 99999, -1]


@pytest.mark.parametrize("host", HOSTS, ids=repr)
def test_getaddrinfo_answers_what_the_socket_module_does(loop, host):
    async def lookup(service, **options):
        try:
            return await loop.getaddrinfo(host, service, **options)
        except Exception as exc:
            return type(exc), str(exc)

    def expected(service, **options):
        try:
            return socket.getaddrinfo(host, service, **options)
        except Exception as exc:
            return type(exc), str(exc)

    async def main():
        for service in SERVICES:
            for options in {}, {"type": socket.SOCK_STREAM}, {"family": socket.AF_INET}:
                assert await lookup(service, **options) == expected(service, **options)

    loop.run_until_complete(patient(main()))


# ---- the end of the loop ----


def test_a_child_forked_inside_a_coroutine_leaves_the_parents_connections_alone(child):
    out = child.ok("""
        import os, socket

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(data)

        async def main():
            loop = asyncio.get_running_loop()
            ours, peer = socket.socketpair()
            peer.setblocking(False)
            transport, _ = await loop.create_connection(Echo, sock=ours)
            for _ in range(3):
                pid = os.fork()
                if pid == 0:
                    try:
                        asyncio._set_running_loop(None)
                        transport.abort()
                        own = new_loop()
                        own.run_until_complete(asyncio.sleep(0.001))
                        own.close()
                    finally:
                        os._exit(0)
                os.waitpid(pid, 0)
                await loop.sock_sendall(peer, b"echo")
                print(await asyncio.wait_for(loop.sock_recv(peer, 10), 10))
            transport.close()

        new_loop().run_until_complete(main())
    """)
    assert out.splitlines() == ["b'echo'"] * 3


def test_transports_used_after_the_loop_is_closed_do_what_stocks_do(same_trace, kind):
    def program(trace):
        loop = trace.loop
        open_one, _ = loop.run_until_complete(trace.connect(kind, "open"))
        lost, _ = loop.run_until_complete(trace.connect(kind, "lost"))
        lost.transport.abort()
        loop.run_until_complete(lost.until("connection_lost"))
        loop.close()
        for protocol in open_one, lost:
            transport = protocol.transport
            trace(protocol.lane, transport.is_closing(), transport.get_write_buffer_size())
            trace.call(protocol.lane, transport.get_extra_info, "peername")
            trace.call(protocol.lane, transport.write, b"")
        for method in "pause_reading", "resume_reading", "close", "abort":
            trace.call("lost", getattr(lost.transport, method))
        trace.call("open", open_one.transport.abort)

    same_trace(program)


@pytest.mark.parametrize("buffered", [False, True], ids=["empty", "buffered"])
@pytest.mark.parametrize("first", ["close", "abort"])
def test_closing_after_the_loop_is_closed_is_an_error_once(same_trace, kind, first, buffered):
    def program(trace):
        loop = trace.loop
        protocol, _peer = loop.run_until_complete(trace.connect(kind))
        transport = protocol.transport
        if buffered:
            transport.write(bytes(1 << 24))
        loop.close()
        for method in first, "close", "abort", "abort":
            trace.call("client", getattr(transport, method))
            trace("client", method, transport.is_closing(), "closing" in repr(transport))

    same_trace(program)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["close", "abort"])
def test_closing_from_another_thread_is_an_error_in_debug_mode(
    same_trace, in_thread, method, debug
):
    async def program(trace):
        trace.loop.set_debug(debug)
        protocol, _peer = await trace.connect()
        transport = protocol.transport
        trace.call("client", in_thread, getattr(transport, method))
        trace("client", transport.is_closing())
        trace.call("client", transport.abort)

    assert any("Non-thread-safe" in repr(step) for step in same_trace(program)["client"]) == debug
