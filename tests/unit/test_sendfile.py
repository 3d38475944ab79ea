"""loop.sendfile() and loop.sock_sendfile(): native and fallback, ranges, positions, endings."""

import asyncio
import io
import os
import socket

import pytest
from traces import Recorder, patient, read, reset, until

MEGABYTE = bytes(range(256)) * 4096
WORDS = b"0123456789" * 10


class NoDescriptor(io.BytesIO):
    """A file that only the fallback can read."""

    mode = "rb"


def on_disk(trace, data):
    """Return an open binary file with the data."""
    path = f"{trace.folder}/file{len(os.listdir(trace.folder))}"
    with open(path, "wb") as file:
        file.write(data)
    return trace.keep(open(path, "rb"))


def in_memory(trace, data):
    """Return a file object without descriptor."""
    return NoDescriptor(data)


@pytest.fixture(params=[on_disk, in_memory], ids=["disk", "memory"])
def make_file(request):
    """Return how to make a file, for the native way and for the fallback."""
    return request.param


class Sender:
    """Sends files over a transport."""

    async def open(self, trace, kind="tcp"):
        self.protocol, peer = await trace.connect(kind)
        self.transport = self.protocol.transport
        return peer

    def send(self, trace, *args, **kwargs):
        return trace.loop.sendfile(self.transport, *args, **kwargs)

    async def close(self):
        self.transport.abort()
        await self.protocol.until("connection_lost")


class SockSender:
    """Sends files over a socket of the user."""

    async def open(self, trace, kind="tcp"):
        self.sock, peer = trace.pair(kind)
        return peer

    def send(self, trace, *args, **kwargs):
        return trace.loop.sock_sendfile(self.sock, *args, **kwargs)

    async def close(self):
        self.sock.close()


@pytest.fixture(params=[Sender, SockSender], ids=["transport", "socket"])
def make_sender(request):
    """Return how to send: over a transport or over a socket."""
    return request.param


def test_a_file_is_sent_whole_and_its_position_moves(same_trace, make_file, make_sender):
    async def program(trace):
        sender = make_sender()
        peer = await sender.open(trace)
        file = make_file(trace, MEGABYTE)
        sending = asyncio.ensure_future(sender.send(trace, file))
        trace("peer", await read(peer, len(MEGABYTE)))
        await trace.wait("send", sending)
        trace("file", file.tell())
        await sender.close()

    lanes = same_trace(program)
    assert lanes["send"] == [("returns", len(MEGABYTE))]
    assert lanes["file"] == [(len(MEGABYTE),)]


RANGES = [
    (0, None),
    (0, 10),
    (5, None),
    (5, 10),
    (95, 10),
    (100, None),
    (100, 5),
    (500, 5),
    (0, 1000),
]


@pytest.mark.parametrize("offset, count", RANGES)
def test_a_part_of_a_file_is_sent(same_trace, make_file, make_sender, offset, count):
    async def program(trace):
        sender = make_sender()
        peer = await sender.open(trace)
        file = make_file(trace, WORDS)
        await trace.wait("send", sender.send(trace, file, offset, count))
        trace("file", file.tell())
        await sender.close()
        trace("peer", await read_to_end(peer))

    assert same_trace(program)["peer"] == [
        (WORDS[offset : None if count is None else offset + count],)
    ]


async def read_to_end(peer):
    data = bytearray()
    await until(lambda: not more(peer, data))
    return bytes(data)


def more(peer, data):
    try:
        chunk = peer.recv(1 << 16)
    except BlockingIOError:
        return True
    data += chunk
    return bool(chunk)


def test_an_empty_file_sends_nothing(same_trace, make_file, make_sender):
    async def program(trace):
        sender = make_sender()
        await sender.open(trace)
        await trace.wait("send", sender.send(trace, make_file(trace, b"")))
        await sender.close()

    assert same_trace(program)["send"] == [("returns", 0)]


WRONG = {
    "negative offset": (on_disk, {"offset": -1}),
    "offset as float": (on_disk, {"offset": 1.5}),
    "offset as str": (on_disk, {"offset": "1"}),
    "count zero": (on_disk, {"count": 0}),
    "negative count": (on_disk, {"count": -5}),
    "count as float": (on_disk, {"count": 1.5}),
    "text file": (lambda trace, data: trace.keep(open(on_disk(trace, data).name)), {}),
    "no file": (lambda trace, data: None, {}),
    "no fallback": (in_memory, {"fallback": False}),
    "closed file": (lambda trace, data: closed(on_disk(trace, data)), {}),
}


def closed(file):
    file.close()
    return file


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused_as_by_stock(same_trace, make_sender, wrong):
    make, options = wrong

    async def program(trace):
        sender = make_sender()
        await sender.open(trace)
        await trace.wait("send", sender.send(trace, make(trace, WORDS), **options))
        await sender.close()

    assert same_trace(program)["send"][0][0] == "raises"


def test_the_native_way_needs_no_fallback(same_trace, make_sender):
    async def program(trace):
        sender = make_sender()
        peer = await sender.open(trace)
        await trace.wait("send", sender.send(trace, on_disk(trace, WORDS), fallback=False))
        trace("peer", await read(peer, len(WORDS)))
        await sender.close()

    assert same_trace(program)["peer"] == [(WORDS,)]


def test_unix_sockets_send_files_too(same_trace, make_file, make_sender):
    async def program(trace):
        sender = make_sender()
        peer = await sender.open(trace, "unix")
        sending = asyncio.ensure_future(sender.send(trace, make_file(trace, MEGABYTE)))
        trace("peer", await read(peer, len(MEGABYTE)))
        await trace.wait("send", sending)
        await sender.close()
        trace.lanes.pop("client", None)  # whether writing is paused at the end is up to the kernel

    assert same_trace(program)["send"] == [("returns", len(MEGABYTE))]


def test_a_pipe_instead_of_a_file_does_what_stock_does(same_trace, make_sender):
    async def program(trace):
        sender = make_sender()
        await sender.open(trace)
        reading, writing = os.pipe()
        with open(reading, "rb", 0) as source, open(writing, "wb", 0) as sink:
            sink.write(b"not a file")
            sink.close()
            await trace.wait("send", sender.send(trace, source))
        await sender.close()

    same_trace(program)


# ---- over a transport ----


def test_what_was_written_before_comes_first_and_after_comes_last(same_trace, make_file):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sender.transport.write(b"<" * 100)
        sending = asyncio.ensure_future(sender.send(trace, make_file(trace, WORDS)))
        await trace.wait("send", sending)
        sender.transport.write(b">" * 100)
        trace("peer", (await read(peer, 300)) == b"<" * 100 + WORDS + b">" * 100)
        await sender.close()

    assert same_trace(program)["peer"] == [(True,)]


def test_a_full_buffer_is_flushed_before_the_file(same_trace, make_file):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sender.transport.write(MEGABYTE)
        sending = asyncio.ensure_future(sender.send(trace, make_file(trace, WORDS)))
        got = await read(peer, len(MEGABYTE) + len(WORDS))
        trace("peer", got == MEGABYTE + WORDS)
        await trace.wait("send", sending)
        await sender.close()

    assert same_trace(program)["peer"] == [(True,)]


def test_writing_while_a_file_is_sent_is_refused(same_trace):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sending = asyncio.ensure_future(sender.send(trace, on_disk(trace, MEGABYTE)))
        await asyncio.sleep(0)
        trace.call("client", sender.transport.write, b"x")
        trace.call("client", sender.transport.writelines, [b"x"])
        trace("client", sender.transport.is_reading())
        await read(peer, len(MEGABYTE))
        await trace.wait("send", sending)
        trace.call("client", sender.transport.write, b"x")
        trace("client", sender.transport.is_reading())
        await sender.close()

    assert "sendfile is in progress" in str(same_trace(program)["client"][1])


@pytest.mark.parametrize("paused", [False, True])
def test_reading_goes_on_afterwards_as_before(same_trace, make_file, paused):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        if paused:
            sender.transport.pause_reading()
        peer.send(b"meanwhile")
        await trace.wait("send", sender.send(trace, make_file(trace, WORDS)))
        trace("client", sender.transport.is_reading())
        trace("client", sender.transport.get_protocol() is sender.protocol)
        sender.transport.resume_reading()
        await sender.protocol.until_received(9)
        await sender.close()

    assert ("data", b"meanwhile") in same_trace(program)["client"]


@pytest.mark.parametrize("state", ["closing", "closed"])
def test_a_closing_transport_is_refused(same_trace, make_file, state):
    async def program(trace):
        sender = Sender()
        await sender.open(trace)
        sender.transport.close()
        if state == "closed":
            await sender.protocol.until("connection_lost")
        await trace.wait("send", sender.send(trace, make_file(trace, WORDS)))
        await sender.protocol.until("connection_lost")

    assert same_trace(program)["send"][0][1][:2] == ("RuntimeError", "Transport is closing")


def test_a_transport_without_sendfile_is_refused(same_trace):
    async def program(trace):
        protocol = Recorder(trace)
        ours, _ = trace.pair("unix")
        await trace.loop.connect_write_pipe(lambda: protocol, ours)
        await trace.wait("send", trace.loop.sendfile(protocol.transport, on_disk(trace, WORDS)))
        protocol.transport.close()
        await protocol.until("connection_lost")

    assert "sendfile is not supported" in same_trace(program)["send"][0][1][1]


def test_a_peer_that_goes_away_in_the_middle_ends_the_sending(same_trace, make_file):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sending = asyncio.ensure_future(sender.send(trace, make_file(trace, MEGABYTE * 8)))
        await read(peer, 10_000)
        reset(peer)
        try:
            await patient(sending)
        except OSError:
            trace("send", "OSError")
        sender.transport.abort()
        await sender.protocol.until("connection_lost")
        trace.lanes.pop("client")

    assert same_trace(program)["send"] == [("OSError",)]


@pytest.mark.ours("stock waits for ever for a descriptor that is closed")
def test_a_transport_aborted_in_the_middle_ends_the_sending(trace_on, make_file):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sending = asyncio.ensure_future(sender.send(trace, make_file(trace, MEGABYTE * 8)))
        await read(peer, 10_000)
        sender.transport.abort()
        await asyncio.wait([sending], timeout=1)
        assert sending.done() and isinstance(sending.exception(), Exception)

    trace_on(program)


def test_cancelling_moves_the_position_to_what_was_sent(trace_on, make_sender):
    async def program(trace):
        sender = make_sender()
        peer = await sender.open(trace)
        file = on_disk(trace, MEGABYTE * 8)
        sending = asyncio.ensure_future(sender.send(trace, file))
        got = await read(peer, 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await patient(sending)
        await asyncio.sleep(0)
        await sender.close()
        got += await read_to_end(peer)
        assert 0 < len(got) < 8 * len(MEGABYTE)
        assert MEGABYTE * 8 == got + (MEGABYTE * 8)[len(got) :]

    trace_on(program)


def test_cancelling_leaves_the_transport_usable(trace_on):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sending = asyncio.ensure_future(sender.send(trace, on_disk(trace, MEGABYTE * 8)))
        await asyncio.sleep(0.002)
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled() and sender.transport.is_reading()
        sender.transport.write(b"THE END")
        sender.transport.close()
        assert (await read_to_end(peer)).endswith(b"THE END")
        await sender.protocol.until("connection_lost")

    trace_on(program)


@pytest.mark.ours("stock leaves the transport paused and refusing to write: cpython#157025")
def test_cancelling_while_the_buffer_is_flushed_leaves_the_transport_usable(trace_on):
    async def program(trace):
        sender = Sender()
        peer = await sender.open(trace)
        sender.transport.write(MEGABYTE)
        sending = asyncio.ensure_future(sender.send(trace, on_disk(trace, WORDS)))
        await asyncio.sleep(0.001)
        sending.cancel()
        await asyncio.wait([sending])
        assert sending.cancelled() and sender.transport.is_reading()
        sender.transport.write(b"THE END")
        sender.transport.close()
        assert await read_to_end(peer) == MEGABYTE + b"THE END"
        await sender.protocol.until("connection_lost")

    trace_on(program)


# ---- over a socket ----


def test_a_datagram_socket_is_refused(same_trace):
    async def program(trace):
        sock = trace.keep(socket.socket(type=socket.SOCK_DGRAM))
        sock.setblocking(False)
        await trace.wait("send", trace.loop.sock_sendfile(sock, on_disk(trace, WORDS)))

    assert same_trace(program)["send"][0][1][0] == "ValueError"


def test_a_blocking_socket_is_refused_in_debug_mode(same_trace):
    async def program(trace):
        ours, _ = trace.pair()
        ours.setblocking(True)
        await trace.wait("send", trace.loop.sock_sendfile(ours, on_disk(trace, WORDS)))

    error = same_trace(program, debug=True)["send"][0][1]
    assert error[:2] == ("ValueError", "the socket must be non-blocking")


def test_an_unconnected_socket_is_refused_as_by_stock(same_trace, make_file):
    async def program(trace):
        sock = trace.keep(socket.socket())
        sock.setblocking(False)
        await trace.wait("send", trace.loop.sock_sendfile(sock, make_file(trace, WORDS)))

    assert same_trace(program)["send"][0][0] == "raises"
