"""When written bytes leave: at once, or together at the end of the callback."""

import asyncio
import socket
import time

import pytest


class Server(asyncio.Protocol):
    """Keeps its transport; calls what it is told to when data comes."""

    def __init__(self):
        self.on_data = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if self.on_data is not None:
            self.on_data(data)


def arrived(peer):
    """Return what the peer can read at this very moment."""
    try:
        return peer.recv(100_000)
    except BlockingIOError:
        return b""


@pytest.fixture(params=["tcp", "unix"])
def sockets(request):
    """Return a connected pair of non-blocking sockets."""
    if request.param == "unix":
        pair = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            first = socket.create_connection(listener.getsockname())
            pair = first, listener.accept()[0]
    for sock in pair:
        sock.setblocking(False)
    with pair[0], pair[1]:
        yield pair


@pytest.fixture
def connect(loop, sockets):
    """Make a transport of the first socket; return (server, peer)."""

    def make():
        first, peer = sockets
        _, server = loop.run_until_complete(loop.create_connection(Server, sock=first))
        return server, peer

    return make


def in_a_callback(loop, function):
    """Run function() as a callback of the loop; return its result."""
    results = []
    loop.call_soon(lambda: results.append(function()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    return results[0]


def teach(loop, server, peer):
    """Let the transport see that writes come in groups."""

    def write_twice():
        server.transport.write(b"1")
        server.transport.write(b"2")

    in_a_callback(loop, write_twice)
    assert arrived(peer) == b"12"


def test_the_only_write_of_a_callback_leaves_at_once(loop, connect):
    server, peer = connect()

    def write():
        server.transport.write(b"now")
        return arrived(peer)

    assert in_a_callback(loop, write) == b"now"


def test_a_write_outside_of_callbacks_leaves_at_once(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)
    server.transport.write(b"now")
    assert arrived(peer) == b"now"


@pytest.mark.ours("stock sends each write by itself")
def test_writes_that_come_in_groups_leave_together_at_the_end_of_the_callback(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)
    seen = []

    def write():
        for part in b"one ", b"two ", b"three":
            server.transport.write(part)
            seen.append(arrived(peer))

    loop.call_soon(write)
    loop.call_soon(lambda: seen.append(arrived(peer)))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [b"", b"", b"", b"one two three"]


def test_a_small_write_has_left_before_a_long_computation_in_a_later_callback(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)
    seen = []

    def compute():
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            pass
        seen.append(arrived(peer))

    loop.call_soon(server.transport.write, b"small")
    loop.call_soon(compute)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [b"small"]


def test_what_is_held_back_does_not_count_as_buffered(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)
    server.transport.set_write_buffer_limits(high=0)
    paused = []
    server.pause_writing = lambda: paused.append(True)

    def write():
        server.transport.write(b"a")
        server.transport.write(b"b")
        return server.transport.get_write_buffer_size()

    assert in_a_callback(loop, write) == 0
    assert arrived(peer) == b"ab" and not paused


ENDS = {
    "abort": lambda transport: transport.abort(),
    "close": lambda transport: transport.close(),
    "write_eof": lambda transport: transport.write_eof(),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_is_held_back_leaves_before_the_connection_ends(loop, connect, end):
    server, peer = connect()
    teach(loop, server, peer)

    def write():
        server.transport.write(b"last ")
        server.transport.write(b"words")
        ENDS[end](server.transport)
        return arrived(peer)

    assert in_a_callback(loop, write) == b"last words"


def test_what_is_held_back_leaves_when_the_callback_raises(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)

    def write():
        server.transport.write(b"a")
        server.transport.write(b"b")
        raise KeyboardInterrupt

    loop.call_soon(write)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert arrived(peer) == b"ab"


def test_what_is_held_back_leaves_before_a_run_ends(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)

    async def main():
        server.transport.write(b"a")
        server.transport.write(b"b")

    loop.run_until_complete(main())
    assert arrived(peer) == b"ab"


def test_a_lot_of_held_bytes_does_not_wait(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)

    def write():
        for _ in range(80):
            server.transport.write(bytes(1024))
        return len(arrived(peer))

    assert in_a_callback(loop, write) >= 32 * 1024


def test_held_bytearrays_may_be_changed(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)

    def write():
        data = bytearray(b"before")
        server.transport.write(data)
        server.transport.write(memoryview(data))
        data[:] = b"after!"

    in_a_callback(loop, write)
    assert arrived(peer) == b"beforebefore"


@pytest.mark.ours("stock sends each write by itself")
def test_a_transport_that_writes_once_again_and_again_sends_at_once_again(loop, connect):
    server, peer = connect()
    teach(loop, server, peer)

    def write():
        server.transport.write(b"x")
        return arrived(peer)

    seen = [in_a_callback(loop, write) for _ in range(20)]
    assert seen[0] == b"" and seen[-1] == b"x"


def test_the_order_of_bytes_is_kept_however_they_are_written(loop, connect):
    server, peer = connect()
    sent, got = [], []

    async def main():
        for i in range(300):
            part = bytes([i % 256]) * (i * 37 % 5000)
            sent.append(part)
            if i % 7 == 0:
                server.transport.writelines([part[:100], part[100:]])
            else:
                server.transport.write(part if i % 3 else bytearray(part))
            if i % 5 == 0:
                got.append(arrived(peer))
                await asyncio.sleep(0)
        while sum(map(len, got)) < sum(map(len, sent)):
            got.append(arrived(peer))
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert b"".join(got) == b"".join(sent)
