"""Bytes objects of received messages are used again, and nobody can tell."""

import asyncio
import socket
import sys
import traceback

import pytest

SIZES = (100, 479, 480, 1000, 1001, 16 * 1024, 16 * 1024 + 1)


class Collects(asyncio.Protocol):
    """Apply a function to each message."""

    def __init__(self, use):
        self.use = use
        self.found = []

    def data_received(self, data):
        self.found.append(self.use(data))

    def datagram_received(self, data, addr):
        self.found.append(self.use(data))


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(params=["stream", "datagram"])
def exchange(request, loop):
    """Send messages to a transport, each when the last one has come; return what was made of it."""
    kind = request.param
    first, peer = socket.socketpair(
        type=socket.SOCK_STREAM if kind == "stream" else socket.SOCK_DGRAM
    )
    first.setblocking(False)

    async def main(messages, use, together):
        protocol = Collects(use)
        if kind == "stream":
            transport, _ = await loop.create_connection(lambda: protocol, sock=first)
        else:
            transport, _ = await loop.create_datagram_endpoint(lambda: protocol, sock=first)
        for n, message in enumerate(messages, 1):
            peer.send(message)
            if not together or n == len(messages):
                await until(lambda n=n: len(protocol.found) >= n)
        transport.abort()
        await asyncio.sleep(0)
        return protocol.found

    def run(messages, use, together=False):
        return loop.run_until_complete(main(messages, use, together and kind == "datagram"))

    with peer:
        yield run


@pytest.mark.parametrize("size", SIZES)
def test_messages_that_are_kept_stay_as_they_are(exchange, size):
    messages = [bytes([n]) * size for n in range(12)]
    assert exchange(messages, lambda data: data) == messages


@pytest.mark.parametrize("size", SIZES)
def test_each_message_has_its_own_content_and_hash(exchange, size):
    messages = [bytes([n]) * size for n in range(12)]
    found = exchange(messages, lambda data: (hash(data), data[0], data[-1], len(data)))
    assert found == [(hash(m), m[0], m[-1], len(m)) for m in messages]


def test_what_is_kept_of_some_messages_only_stays_as_it_is(exchange):
    messages = [bytes([n]) * (1000 + n % 3) for n in range(60)]
    kept = exchange(messages, lambda data: data if data[0] % 4 == 0 else None)
    assert kept == [m if m[0] % 4 == 0 else None for m in messages]


def test_views_of_a_message_keep_it(exchange):
    messages = [bytes([n]) * 1000 for n in range(12)]
    assert [bytes(view) for view in exchange(messages, lambda data: memoryview(data)[10:])] == [
        m[10:] for m in messages
    ]


def test_messages_that_come_together_do_not_share_an_object(exchange):
    messages = [bytes([n]) * 1000 for n in range(30)]
    assert exchange(messages, bytes, together=True) == messages


def test_a_message_in_a_traceback_stays_as_it_is(loop):
    errors = []
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    def refuse(data):
        raise ValueError(data[:1])

    async def receive(message):
        sock, peer = socket.socketpair()
        sock.setblocking(False)
        with peer:
            transport, _ = await loop.create_connection(lambda: Collects(refuse), sock=sock)
            peer.send(message)
            await until(transport.is_closing)

    def message_of(error):
        innermost = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
        return innermost.f_locals["data"]

    for letter in (b"a", b"b"):
        loop.run_until_complete(receive(letter * 1000))
    assert [message_of(error) for error in errors] == [b"a" * 1000, b"b" * 1000]


# What follows much is received in another way than what follows little.
MIXED = [
    bytes([n]) * size for n, size in enumerate([1, 50_000, 50_000, 1, 17_000, 16_384, 300, 60_000])
]


def test_much_and_little_in_turn_arrive_as_they_were_sent(exchange):
    assert exchange(MIXED * 3, lambda data: (data, type(data))) == [(m, bytes) for m in MIXED * 3]


def test_much_and_little_in_turn_are_as_large_as_what_came(exchange):
    found = exchange(MIXED * 3, lambda data: sys.getsizeof(data))
    assert found == [sys.getsizeof(m) for m in MIXED * 3]


@pytest.mark.parametrize("asked", [64 * 1024, 256 * 1024, 512 * 1024])
def test_much_and_little_in_turn_are_what_sock_recv_returns(loop, asked):
    first, peer = socket.socketpair()
    first.setblocking(False)

    async def main():
        found = []
        for message in MIXED * 3:
            waiting = asyncio.ensure_future(loop.sock_recv(first, asked))
            await asyncio.sleep(0)
            peer.send(message)
            found.append(await waiting)
        peer.close()
        return found, await loop.sock_recv(first, asked)

    with first, peer:
        assert loop.run_until_complete(main()) == (MIXED * 3, b"")


def test_an_end_of_the_stream_after_much_is_told(loop):
    first, peer = socket.socketpair()
    first.setblocking(False)

    class Ends(Collects):
        def eof_received(self):
            self.found.append("eof")

        def connection_lost(self, exc):
            self.found.append(exc)

    async def main():
        protocol = Ends(len)
        await loop.create_connection(lambda: protocol, sock=first)
        peer.send(b"x" * 50_000)
        await until(lambda: protocol.found)
        peer.close()
        await until(lambda: len(protocol.found) == 3)
        return protocol.found

    with peer:
        assert loop.run_until_complete(main()) == [50_000, "eof", None]
