"""What goes wrong while a transport is served in the I/O phase is told, and the loop goes on."""

import asyncio
import socket
import sys

import pytest

LOT = bytes(4 << 20)


class Client(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport


@pytest.fixture
def blocked(loop):
    """Return (transport, peer): a connection that waits for room in the kernel."""
    first, peer = socket.socketpair()
    first.setblocking(False)
    peer.setblocking(False)

    async def connect():
        transport, _ = await loop.create_connection(Client, sock=first)
        transport.write(LOT)
        return transport

    with peer:
        transport = loop.run_until_complete(connect())
        assert transport.get_write_buffer_size() > 0
        yield transport, peer
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


async def read_all(peer):
    got = 0
    while got < len(LOT):
        try:
            got += len(peer.recv(1 << 20))
        except BlockingIOError:
            await asyncio.sleep(0)
    return got


@pytest.mark.parametrize("debug", [False, True])
def test_a_cancelled_waiter_for_the_empty_buffer_is_reported(loop, reports, blocked, debug):
    loop.set_debug(debug)
    transport, peer = blocked
    waiter = transport._make_empty_waiter()
    waiter.cancel()
    assert loop.run_until_complete(read_all(peer)) == len(LOT)
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0.001))
    transport._reset_empty_waiter()
    assert [type(context["exception"]) for context in reports] == [asyncio.InvalidStateError]
    assert "in callback" in reports[0]["message"] and "handle" in reports[0]


def test_a_fatal_error_that_fails_itself_is_reported(loop, reports):
    first, peer = socket.socketpair()
    first.setblocking(False)

    def broken(exc, message):
        raise LookupError("mine")

    async def main():
        transport, protocol = await loop.create_connection(Client, sock=first)
        protocol.data_received = lambda data: 1 / 0
        transport._fatal_error = broken
        peer.sendall(b"x")
        while not reports:
            await asyncio.sleep(0.001)
        del transport._fatal_error
        transport.abort()
        await asyncio.sleep(0)

    with peer:
        loop.run_until_complete(main())
    assert {type(context["exception"]) for context in reports} == {LookupError}


class Failing(Client):
    """A protocol whose methods of the given names fail."""

    def __init__(self, *names):
        for name in names:
            setattr(self, name, self.fail)

    def fail(self, *args):
        raise ZeroDivisionError("mine")


@pytest.mark.parametrize(
    "method",
    ["connection_made", "data_received", "eof_received", "connection_lost", "pause_writing"],
)
def test_what_a_protocol_raises_is_being_handled_when_it_is_told(loop, method):
    told = []

    def handler(loop, context):
        told.append((type(sys.exc_info()[1]), sys.exc_info()[1] is context["exception"]))

    loop.set_exception_handler(handler)
    first, peer = socket.socketpair()
    first.setblocking(False)

    async def main():
        transport, _ = await loop.create_connection(lambda: Failing(method), sock=first)
        if method == "pause_writing":
            transport.write(LOT)
            transport.abort()
        elif method == "connection_lost":
            transport.abort()
        else:
            peer.send(b"x")
            peer.close()
        for _ in range(1000):
            if told:
                break
            await asyncio.sleep(0.001)
        transport.abort()
        await asyncio.sleep(0.01)

    with peer:
        loop.run_until_complete(main())
    assert set(told) == {(ZeroDivisionError, True)}
