"""Datagram transports: what a program sees, on asyncio's own loop and on ours."""

import asyncio
import contextlib
import contextvars
import gc
import os
import re
import socket
import sys
import tempfile
import time
import warnings
import weakref

import pytest


class Log(asyncio.DatagramProtocol):
    """A protocol that writes down what happens to it."""

    def __init__(self):
        self.seen = []
        self.data = []
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()

    def note(self, *what):
        self.seen.append(what)

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def datagram_received(self, data, addr):
        self.data.append(data)

    def error_received(self, exc):
        self.note("error", type(exc), exc.errno)

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")

    def connection_lost(self, exc):
        self.note("lost", type(exc))
        if not self.lost.done():
            self.lost.set_result(None)


async def until(condition, seconds=10):
    """Wait until condition() holds; say whether it does."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not condition() and loop.time() < end:
        await asyncio.sleep(0.001)
    return condition()


async def endpoint(factory=Log, **options):
    """Make an endpoint, bound to a port of this machine unless options say otherwise."""
    loop = asyncio.get_running_loop()
    if not options:
        options = {"local_addr": ("127.0.0.1", 0)}
    transport, protocol = await loop.create_datagram_endpoint(factory, **options)
    return transport, protocol


async def ended(*transports):
    for transport in transports:
        transport.close()
    await asyncio.sleep(0.001)


async def pair(server=Log, client=Log):
    """Return an endpoint and another one that is connected to it."""
    first, one = await endpoint(server)
    second, two = await endpoint(client, remote_addr=first.get_extra_info("sockname"))
    return first, one, second, two


def plain_socket():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock


def burst(transport, datagrams):
    """Put datagrams into the socket of a transport, past the loop."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in datagrams:
            sock.sendto(data, transport.get_extra_info("sockname"))


NUMBERS = [b"%d" % i for i in range(40)]


@pytest.fixture
def same(same_outcome):
    """Run an async function on stock's loop and on ours and compare what it returns."""

    def check(main, **options):
        def action(loop):
            reports = []
            loop.set_exception_handler(lambda loop, context: reports.append(context))
            value = loop.run_until_complete(main())
            return value, [
                (
                    re.sub("_?Selector|at /.*", "", context["message"]).strip(),
                    type(context.get("exception")),
                    str(context.get("exception")),
                )
                for context in reports
            ]

        result = same_outcome(action, **options)
        assert isinstance(result, tuple), f"the program itself fails: {result}"
        return result

    return check


@pytest.fixture
def run(loop):
    """Run an async function on a loop of the kind under test."""
    return lambda main: loop.run_until_complete(main())


# ---- what arrives ----


def test_a_conversation_is_the_same(same):
    class Echo(Log):
        def datagram_received(self, data, addr):
            self.transport.sendto(data.upper(), addr)

    async def main():
        server, one, client, two = await pair(Echo)
        for text in b"a", b"bc", b"d" * 9000:
            client.sendto(text)
        assert await until(lambda: len(two.data) == 3)
        await ended(client, server)
        return one.seen, two.seen, two.data

    same(main)


def test_the_transport_is_native_and_both_kinds_of_asyncios_transports(run, backend):
    async def main():
        transport, _ = await endpoint()
        kinds = isinstance(transport, asyncio.Transport)
        names = [cls.__module__ for cls in type(transport).__mro__]
        await ended(transport)
        return kinds, "casyncio._native" in names

    kinds, native = run(main)
    assert kinds and native == (backend != "stock")


@pytest.mark.ours("stock makes a tuple for every datagram")
def test_a_peer_that_comes_again_has_the_same_address_object(run):
    class Addresses(Log):
        def datagram_received(self, data, addr):
            self.data.append(addr)

    async def main():
        transport, protocol = await endpoint(Addresses)
        with plain_socket() as sock:
            for _ in range(5):
                sock.sendto(b"x", transport.get_extra_info("sockname"))
                await until(lambda: protocol.data)
            assert await until(lambda: len(protocol.data) == 5)
            assert protocol.data[0] == sock.getsockname()
        await ended(transport)
        return len({id(addr) for addr in protocol.data})

    assert run(main) == 1


def test_each_of_many_peers_gets_its_own_answers(same):
    class Echo(Log):
        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    async def main():
        server, _ = await endpoint(Echo)
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(plain_socket()) for _ in range(150)]
            answers = []
            for turn in range(3):
                for i, peer in enumerate(peers):
                    peer.sendto(b"%d of %d" % (turn, i), server.get_extra_info("sockname"))
                answers += [await drain(peer, 1) for peer in peers]
        await ended(server)
        return answers

    assert same(main)[0][-1] == [b"2 of 149"]


@pytest.mark.parametrize("size", [0, 1, 1500, 65507])
def test_datagrams_of_any_size_arrive_whole(same, size):
    async def main():
        transport, protocol = await endpoint()
        sent = [bytes([i]) * size for i in range(3)]
        for _ in range(4):
            burst(transport, sent)
            assert await until(lambda: len(protocol.data) >= 3)
            assert protocol.data[:3] == sent
            del protocol.data[:3]
        await ended(transport)
        return protocol.seen, protocol.data

    same(main)


def test_a_burst_arrives_in_order(same):
    async def main():
        transport, protocol = await endpoint()
        for _ in range(5):
            burst(transport, NUMBERS)
            await until(lambda: len(protocol.data) % len(NUMBERS) == 0)
        assert await until(lambda: len(protocol.data) == 5 * len(NUMBERS))
        await ended(transport)
        return protocol.data

    assert same(main)[0] == NUMBERS * 5


@pytest.mark.parametrize("size", [1, 10, 300_000])
def test_max_size_can_be_set(same, size):
    async def main():
        transport, protocol = await endpoint()
        default = transport.max_size
        transport.max_size = size
        for turn in range(3):
            burst(transport, [b"x" * 100] * 7)
            count = 7 * turn + 7
            await until(lambda count=count: len(protocol.data) == count)
        assert len(protocol.data) == 21
        await ended(transport)
        return default, [len(data) for data in protocol.data]

    same(main)


def test_what_was_queued_before_runs_before_the_datagram(same):
    async def main():
        transport, protocol = await endpoint()
        loop = asyncio.get_running_loop()
        order = []
        protocol.datagram_received = lambda data, addr: order.append(data)
        burst(transport, [b"datagram"])
        for i in range(3):
            loop.call_soon(order.append, i)
        assert await until(lambda: len(order) == 4)
        await ended(transport)
        return order

    assert same(main)[0][-1] == b"datagram"


# ---- a protocol that does something else in the middle of a burst ----


def test_a_closing_protocol_gets_nothing_more(same):
    class Closing(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 25:
                self.transport.close()

    async def main():
        transport, protocol = await endpoint(Closing)
        burst(transport, [b""] * 3)
        await asyncio.sleep(0.001)
        burst(transport, NUMBERS)
        await protocol.lost
        await asyncio.sleep(0.005)
        return protocol.seen, protocol.data

    assert len(same(main)[0][1]) == 25


@pytest.mark.parametrize("at", [1, 5, 20])
def test_a_paused_transport_keeps_the_rest_for_later(same, at):
    class Pausing(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == at:
                self.transport.pause_reading()

    async def main():
        transport, protocol = await endpoint(Pausing)
        burst(transport, NUMBERS)
        await until(lambda: len(protocol.data) >= at)
        await asyncio.sleep(0.002)
        count = len(protocol.data)
        burst(transport, [b"late"])
        transport.resume_reading()
        assert await until(lambda: len(protocol.data) == len(NUMBERS) + 1)
        await ended(transport)
        return count, protocol.data

    assert same(main)[0] == (at, [*NUMBERS, b"late"])


@pytest.mark.parametrize("debug", [False, True])
def test_pausing_takes_a_delivery_back_that_is_queued(same, debug):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        burst(transport, NUMBERS)
        loop.call_soon(transport.pause_reading)
        for _ in range(5):
            await asyncio.sleep(0)
        count = len(protocol.data)
        transport.resume_reading()
        await until(lambda: len(protocol.data) == len(NUMBERS))
        await ended(transport)
        return count, protocol.data

    assert same(main, debug=debug)[0] == (0, NUMBERS)


def test_what_a_paused_transport_keeps_dies_with_it(same):
    class Pausing(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 8:
                self.transport.pause_reading()

    async def main():
        transport, protocol = await endpoint(Pausing)
        burst(transport, NUMBERS)
        await until(lambda: len(protocol.data) >= 8)
        await asyncio.sleep(0.002)
        transport.abort()
        transport.resume_reading()
        await protocol.lost
        return protocol.seen, protocol.data

    same(main)


def test_a_stopped_loop_delivers_the_rest_in_its_next_run(new_loop):
    loop = new_loop()
    loop.set_exception_handler(lambda loop, context: None)

    class Stopping(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 12:
                loop.stop()

    transport, protocol = loop.run_until_complete(endpoint(Stopping))
    burst(transport, NUMBERS)
    loop.run_forever()
    assert 12 <= len(protocol.data) <= 13
    loop.run_until_complete(until(lambda: len(protocol.data) == len(NUMBERS)))
    assert protocol.data == NUMBERS
    loop.run_until_complete(ended(transport))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_loop_delivers_the_rest_in_its_next_run(new_loop, error):
    loop = new_loop()

    class Interrupting(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 12:
                raise error

    transport, protocol = loop.run_until_complete(endpoint(Interrupting))
    burst(transport, NUMBERS)
    with pytest.raises(error):
        loop.run_forever()
    assert len(protocol.data) == 12
    loop.run_until_complete(until(lambda: len(protocol.data) == len(NUMBERS)))
    assert protocol.data == NUMBERS
    loop.run_until_complete(ended(transport))


def test_an_exception_is_reported_and_the_next_datagram_arrives(same):
    class Failing(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) % 7 == 0:
                raise ValueError(data)

    async def main():
        transport, protocol = await endpoint(Failing)
        burst(transport, NUMBERS)
        await until(lambda: len(protocol.data) == len(NUMBERS))
        await ended(transport)
        return protocol.seen, protocol.data

    (_, reports) = same(main)
    assert len(reports) == 5
    assert reports[0][0] == "Exception in callback DatagramTransport._read_ready()"


def test_the_protocol_can_be_replaced_between_two_datagrams(same):
    class Replacing(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 6:
                other = Log()
                other.seen = self.seen
                self.other = other
                self.transport.set_protocol(other)

    async def main():
        transport, protocol = await endpoint(Replacing)
        burst(transport, NUMBERS)
        await until(lambda: len(protocol.data) == 6)
        await until(lambda: len(protocol.other.data) == len(NUMBERS) - 6)
        assert transport.get_protocol() is protocol.other
        await ended(transport)
        return protocol.seen, protocol.data, protocol.other.data

    same(main)


def test_a_nested_turn_does_not_lose_datagrams(loop):
    loop.set_exception_handler(lambda loop, context: None)
    depth = []

    class Nesting(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)
            if len(self.data) == 3:
                depth.append(len(self.data))
                loop.call_soon(lambda: None)
                loop._run_once()
                depth.append(len(self.data))

    transport, protocol = loop.run_until_complete(endpoint(Nesting))
    burst(transport, NUMBERS)
    loop.run_until_complete(until(lambda: len(protocol.data) == len(NUMBERS)))
    assert depth == [3, 3]
    assert protocol.data == NUMBERS
    loop.run_until_complete(ended(transport))


# ---- answers to a burst, which leave together ----


async def warm_up(transport, protocol):
    """Let bursts come until the transport expects them."""
    for _ in range(6):
        seen = len(protocol.data)
        burst(transport, NUMBERS)
        await until(lambda seen=seen: len(protocol.data) == seen + len(NUMBERS))
    protocol.data.clear()


class Answering(Log):
    """Answer to the socket `to`; what and how is up to answer()."""

    to = None

    def datagram_received(self, data, addr):
        self.data.append(data)
        if self.to is not None:
            self.answer(int(data), self.transport)


ANSWERS = {
    "bytes": lambda self, i, t: t.sendto(b"%d" % i, self.to),
    "bytes and others": lambda self, i, t: t.sendto(
        [bytes, bytearray, memoryview, bytes][i % 4](b"%d" % i), self.to
    ),
    "two each": lambda self, i, t: [t.sendto(b"%d.%d" % (i, j), self.to) for j in (0, 1)],
    "some too long": lambda self, i, t: t.sendto(b"%d" % i * (70000 if i % 5 == 2 else 1), self.to),
    "some empty": lambda self, i, t: t.sendto(b"" if i % 5 == 2 else b"%d" % i, self.to),
    "by name": lambda self, i, t: t.sendto(b"%d" % i, ("localhost", self.to[1])),
    "buffer size": lambda self, i, t: (
        t.sendto(b"%d" % i, self.to),
        self.note(t.get_write_buffer_size(), len(t._buffer)),
    ),
    "close": lambda self, i, t: (t.sendto(b"%d" % i, self.to), i == 9 and t.close()),
    "abort": lambda self, i, t: (t.sendto(b"%d" % i, self.to), i == 9 and t.abort()),
    "behind close": lambda self, i, t: (i == 9 and t.close(), t.sendto(b"%d" % i, self.to)),
    "pause": lambda self, i, t: (t.sendto(b"%d" % i, self.to), i == 9 and t.pause_reading()),
    "failure": lambda self, i, t: (t.sendto(b"%d" % i, self.to), i % 10 == 9 and {}[i]),
    "wrong data": lambda self, i, t: t.sendto(str(i) if i % 10 == 9 else b"%d" % i, self.to),
    "no address": lambda self, i, t: t.sendto(b"%d" % i, None if i == 9 else self.to),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_answers_to_a_burst_are_the_same(same, how):
    class Protocol(Answering):
        def answer(self, i, transport):
            ANSWERS[how](self, i, transport)

    async def main():
        transport, protocol = await endpoint(Protocol)
        await warm_up(transport, protocol)
        with plain_socket() as sock:
            protocol.to = sock.getsockname()
            burst(transport, NUMBERS)
            await until(lambda: transport.is_closing() or len(protocol.data) in (10, 40))
            if how != "pause":
                await until(lambda: transport.is_closing() or len(protocol.data) == 40)
            await asyncio.sleep(0.002)
            found = await drain(sock, 100, turns=50)
        await ended(transport)
        return protocol.data, found, protocol.seen

    assert same(main)[0][1]


def test_answers_leave_before_an_interrupt_leaves_the_loop(new_loop):
    loop = new_loop()

    class Protocol(Answering):
        def answer(self, i, transport):
            transport.sendto(b"%d" % i, self.to)
            if i == 9:
                raise KeyboardInterrupt

    transport, protocol = loop.run_until_complete(endpoint(Protocol))
    loop.run_until_complete(warm_up(transport, protocol))
    with plain_socket() as sock:
        protocol.to = sock.getsockname()
        burst(transport, NUMBERS)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert [sock.recv(10, socket.MSG_DONTWAIT) for _ in range(10)] == NUMBERS[:10]
        loop.run_until_complete(until(lambda: len(protocol.data) == 40))
    loop.run_until_complete(ended(transport))


def test_a_slow_protocol_keeps_no_answer_back(run):
    late = []

    class Protocol(Answering):
        def answer(self, i, transport):
            if i > 0:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        late.append(int(self.sock.recv(10, socket.MSG_DONTWAIT)))
                self.note(i, len(late))
            transport.sendto(b"%d" % i, self.to)
            time.sleep(0.0005)

    async def main():
        transport, protocol = await endpoint(Protocol)
        await warm_up(transport, protocol)
        with plain_socket() as sock:
            protocol.sock, protocol.to = sock, sock.getsockname()
            burst(transport, NUMBERS)
            await until(lambda: len(protocol.data) == 40)
        await ended(transport)
        return protocol.seen[1:-1]

    assert run(main) == [(i, i) for i in range(1, 40)]


def test_an_error_of_an_answer_may_fail_itself(same):
    class Protocol(Answering):
        def answer(self, i, transport):
            transport.sendto(bytes(70000) if i in (3, 20) else b"%d" % i, self.to)

        def error_received(self, exc):
            self.note("error", exc.errno)
            raise LookupError

    async def main():
        transport, protocol = await endpoint(Protocol)
        await warm_up(transport, protocol)
        with plain_socket() as sock:
            protocol.to = sock.getsockname()
            burst(transport, NUMBERS)
            await until(lambda: len(protocol.data) == 40)
            found = await drain(sock, 38)
        await ended(transport)
        return protocol.data, found, protocol.seen

    same(main)


# ---- arguments of sendto() ----


BAD_CALLS = {
    "no data": lambda t: t.sendto(),
    "text": lambda t: t.sendto("text"),
    "number": lambda t: t.sendto(1, None),
    "list": lambda t: t.sendto([1]),
    "three arguments": lambda t: t.sendto(b"x", None, None),
    "unknown keyword": lambda t: t.sendto(b"x", address=None),
    "another address": lambda t: t.sendto(b"x", ("127.0.0.1", 1)),
    "address that cannot be compared": lambda t: t.sendto(b"x", Incomparable()),
    "text and another address": lambda t: t.sendto("x", ("127.0.0.1", 1)),
}


class Incomparable:
    def __eq__(self, other):
        raise ArithmeticError("no comparison")

    __hash__ = None


@pytest.mark.parametrize("call", BAD_CALLS)
def test_wrong_arguments_are_refused_in_the_same_words(same, call):
    async def main():
        server, one, client, two = await pair()
        text = None
        try:
            BAD_CALLS[call](client)
        except Exception as error:
            text = type(error), re.sub(r", \d+\)", ", port)", str(error))
        await ended(client, server)
        return text, two.seen, two.data, one.data

    assert same(main)[0][0] is not None


GOOD_CALLS = {
    "bytes": lambda t, a: t.sendto(b"data"),
    "own address": lambda t, a: t.sendto(b"data", a),
    "equal address": lambda t, a: t.sendto(b"data", (a[0], a[1])),
    "None": lambda t, a: t.sendto(b"data", None),
    "keywords": lambda t, a: t.sendto(addr=a, data=b"data"),
    "one keyword": lambda t, a: t.sendto(b"data", addr=None),
    "bytearray": lambda t, a: t.sendto(bytearray(b"data")),
    "memoryview": lambda t, a: t.sendto(memoryview(b"data")),
    "slice of a memoryview": lambda t, a: t.sendto(memoryview(b"-data-")[1:5]),
    "subclass of bytes": lambda t, a: t.sendto(type("B", (bytes,), {})(b"data")),
    "empty": lambda t, a: t.sendto(b""),
    "empty bytearray": lambda t, a: t.sendto(bytearray()),
    "array": lambda t, a: t.sendto(memoryview(b"datadata").cast("I")),
    "holes": lambda t, a: t.sendto(memoryview(b"d-a-t-a-")[::2]),
}


@pytest.mark.parametrize("call", GOOD_CALLS)
def test_data_of_every_kind_does_the_same(same, call):
    async def main():
        server, one, client, two = await pair()
        result = GOOD_CALLS[call](client, server.get_extra_info("sockname"))
        if not client.is_closing():
            client.sendto(b"end")
            assert await until(lambda: b"end" in one.data)
        await asyncio.sleep(0.001)
        await ended(client, server)
        return result, one.data, two.seen

    same(main)


ADDRESSES = {
    "None": None,
    "text": "text",
    "empty": (),
    "one": ("127.0.0.1",),
    "three": ("127.0.0.1", 9, 0),
    "port as text": ("127.0.0.1", "9"),
    "negative port": ("127.0.0.1", -1),
    "large port": ("127.0.0.1", 65536),
    "port 0": ("127.0.0.1", 0),
    "not a host": ("127.0.0.1.2.3", 9),
    "nul": ("127.0.0.1\0", 9),
    "list": ["127.0.0.1", 9],
    "bytes": (b"127.0.0.1", 9),
    "short": ("127.1", 9),
    "broadcast": ("<broadcast>", 9),
    "all": ("", 9),
    "IPv6": ("::1", 9),
    "multicast": ("224.0.0.251", 9),
    "float": ("127.0.0.1", 9.0),
    "true": ("127.0.0.1", True),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_kind_of_address_does_the_same(same, address):
    async def main():
        transport, protocol = await endpoint()
        try:
            result = transport.sendto(b"x", ADDRESSES[address])
        except Exception as error:
            result = type(error), str(error)
        await asyncio.sleep(0.001)
        closing = transport.is_closing()
        await ended(transport)
        return result, closing, protocol.seen

    same(main)


# ---- errors ----


def test_a_refused_datagram_is_told_to_the_protocol(same):
    async def main():
        with plain_socket() as sock:
            address = sock.getsockname()
        transport, protocol = await endpoint(remote_addr=address)
        for turn in range(3):
            transport.sendto(b"x")
            await until(lambda turn=turn: len(protocol.seen) == turn + 2)
        await ended(transport)
        return protocol.seen

    assert ("error", ConnectionRefusedError, 111) in same(main)[0]


def test_a_datagram_that_is_too_long_is_told_to_the_protocol(same):
    async def main():
        server, one, client, two = await pair()
        client.sendto(bytes(70000))
        server.sendto(bytes(70000), client.get_extra_info("sockname"))
        await ended(client, server)
        return one.seen, two.seen

    assert ("error", OSError, 90) in same(main)[0][1]


def test_error_received_is_a_handler_of_the_exception(same):
    class Asking(Log):
        def error_received(self, exc):
            raise LookupError("from error_received")

    async def main():
        server, _, client, two = await pair(client=Asking)
        try:
            client.sendto(bytes(70000))
        except LookupError as error:
            caught = str(error), type(error.__context__), error.__context__.errno
        await ended(client, server)
        return caught

    assert same(main)[0] == ("from error_received", OSError, 90)


def test_a_failing_error_received_is_reported_when_it_was_a_read(same):
    class Asking(Log):
        def error_received(self, exc):
            self.note("error", type(exc))
            raise LookupError("from error_received")

    async def main():
        with plain_socket() as sock:
            address = sock.getsockname()
        transport, protocol = await endpoint(Asking, remote_addr=address)
        transport.sendto(b"x")
        await until(lambda: len(protocol.seen) == 2)
        await ended(transport)
        return protocol.seen

    assert same(main)[1][0][1] is LookupError


def test_a_socket_that_was_closed_behind_the_transport_is_not_touched(same):
    async def main():
        transport, protocol = await endpoint()
        sock = transport._sock
        fd = sock.fileno()
        asyncio.get_running_loop()._remove_reader(fd)
        with plain_socket() as target, plain_socket() as other:
            sock.close()
            os.dup2(other.fileno(), fd)
            target.setblocking(False)
            transport.sendto(b"stray", target.getsockname())
            with contextlib.suppress(BlockingIOError):
                protocol.note(target.recv(10))
            os.close(fd)
        await ended(transport)
        return protocol.seen

    assert ("error", OSError, 9) in same(main)[0]


# ---- the queue ----


def unix_pair(folder):
    """Return a connected UNIX socket and the socket that it sends to, which nobody reads."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(os.path.join(folder, "receiver"))
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender.connect(receiver.getsockname())
    return sender, receiver


@contextlib.asynccontextmanager
async def full_transport(extra=b""):
    """Make a transport whose datagrams must be queued from now on."""
    with tempfile.TemporaryDirectory() as folder:
        sender, receiver = unix_pair(folder)
        with receiver:
            transport, protocol = await endpoint(sock=sender)
            count = 0
            while not transport._buffer:
                transport.sendto(b"%d" % count)
                count += 1
            receiver.setblocking(False)
            try:
                yield transport, protocol, receiver, count
            finally:
                if not protocol.lost.done():
                    transport.abort()
                    await protocol.lost


async def drain(receiver, count, turns=10000):
    """Receive so many datagrams, letting the loop run."""
    found = []
    receiver.setblocking(False)
    for _ in range(turns):
        with contextlib.suppress(BlockingIOError):
            found.append(receiver.recv(100_000))
        if len(found) == count:
            break
        await asyncio.sleep(0)
    return found


def test_a_full_socket_queues_and_sends_in_order(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            sizes = [transport.get_write_buffer_size()]
            for i in range(30):
                transport.sendto(b"%d" % (count + i))
                sizes.append(transport.get_write_buffer_size())
            found = await drain(receiver, count + 30)
            assert found == [b"%d" % i for i in range(count + 30)]
            left = list(transport._buffer)
        return count, sizes, left, protocol.seen

    same(main)


def test_what_can_change_is_copied_when_it_is_queued(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            data = bytearray(b"before")
            transport.sendto(data)
            transport.sendto(memoryview(data)[:3])
            data[:] = b"behind"
            queued = [bytes(item) for item, _ in transport._buffer][1:]
            types = {type(item) for item, _ in transport._buffer}
            found = await drain(receiver, count + 2)
        return queued, types, found[-2:]

    assert same(main)[0][2] == [b"before", b"bef"]


def test_the_protocol_is_paused_and_resumed(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            transport.set_write_buffer_limits(high=1000, low=100)
            limits = transport.get_write_buffer_limits()
            sent = 0
            while not transport._protocol_paused:
                transport.sendto(b"x" * 300)
                sent += 1
            paused = list(protocol.seen)
            await drain(receiver, count + sent)
            assert await until(lambda: not transport._buffer)
            await asyncio.sleep(0.001)
        return limits, sent, paused, protocol.seen

    assert ("resume",) in same(main)[0][3]


@pytest.mark.ours("some versions of asyncio count a queued datagram's header and forget it there")
def test_the_buffer_counts_nothing_when_it_is_empty(run):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            transport.set_write_buffer_limits(high=50)
            for _ in range(100):
                transport.sendto(b"x" * 10)
            await drain(receiver, count + 100)
            await until(lambda: not transport._buffer)
            return transport.get_write_buffer_size(), transport._protocol_paused

    assert run(main) == (0, False)


def test_close_sends_what_is_queued(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            for i in range(5):
                transport.sendto(b"%d" % (count + i))
            transport.close()
            closing = transport.is_closing()
            found = await drain(receiver, count + 5)
            await protocol.lost
            return closing, found, protocol.seen

    same(main)


def test_abort_drops_what_is_queued(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            for i in range(5):
                transport.sendto(b"%d" % (count + i))
            transport.abort()
            await protocol.lost
            found = await drain(receiver, count - 1)
            with contextlib.suppress(BlockingIOError):
                found.append(receiver.recv(100))
            return found, protocol.seen

    same(main)


def test_a_queued_datagram_that_fails_is_told_to_the_protocol(same):
    async def main():
        async with full_transport() as (transport, protocol, receiver, count):
            for i in range(5):
                transport.sendto(b"%d" % (count + i))
            receiver.close()
            await until(lambda: not transport._buffer)
            return protocol.seen

    assert any(event[0] == "error" for event in same(main)[0])


# ---- the end ----


def test_connection_lost_comes_in_its_place_of_the_queue(same):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        loop.call_soon(protocol.note, "before")
        transport.close()
        transport.close()
        loop.call_soon(protocol.note, "behind")
        await protocol.lost
        await asyncio.sleep(0)
        state = transport._sock, transport._protocol, transport._loop, transport._sock_fd >= 0
        return protocol.seen, state, transport.is_closing()

    same(main)


def test_sending_after_the_end_does_the_same(same, caplog):
    async def main():
        server, one, client, two = await pair()
        transport = client
        transport.close()
        results = []
        for _turn in range(2):
            for _ in range(7):
                try:
                    results.append(transport.sendto(b"x", server.get_extra_info("sockname")))
                except Exception as error:
                    results.append((type(error), str(error)))
            await asyncio.sleep(0.001)
        await ended(client, server)
        warned = [r.getMessage() for r in caplog.records if "send()" in r.getMessage()]
        caplog.clear()
        return results, one.data, transport._conn_lost, warned

    same(main)


@pytest.mark.ours("stock raises AttributeError: 'NoneType' object has no attribute 'sendto'")
def test_a_transport_without_an_address_drops_what_is_sent_after_the_end(run, caplog):
    async def main():
        transport, protocol = await endpoint()
        address = transport.get_extra_info("sockname")
        transport.close()
        await protocol.lost
        for data in b"x", bytearray(b"y"), memoryview(b"z"), b"", *[b"x"] * 3:
            transport.sendto(data, address)
        with pytest.raises(TypeError, match="data argument must be a bytes-like object"):
            transport.sendto("text", address)
        warned = [r.getMessage() for r in caplog.records]
        counted = 7 if sys.version_info >= (3, 13) else 6  # empty datagrams are none before 3.13
        assert warned == ["socket.send() raised exception."] * (counted - 4)

    run(main)


@pytest.mark.ours("stock gives sendto() the address None, and ends the transport with a TypeError")
def test_an_end_of_a_socketpair_sends_to_its_peer(run):
    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        peer.setblocking(False)
        with ours, peer:
            transport, protocol = await endpoint(sock=ours)
            sent = []
            while not transport.get_write_buffer_size():
                sent.append(b"%d" % len(sent))
                transport.sendto(sent[-1])
            transport.sendto(b"last", None)
            assert transport.get_write_buffer_size() == len(sent[-1]) + 4
            got = []
            while len(got) < len(sent) + 1:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    got.append(peer.recv(10))
            assert got == [*sent, b"last"]
            assert transport.get_write_buffer_size() == 0
            peer.close()
            transport.sendto(b"nobody")
            assert protocol.seen[-1][:2] == ("error", ConnectionRefusedError)
            transport.close()
            await protocol.lost

    run(main)


@pytest.mark.parametrize("address", [("127.0.0.1", 9), 5, []], ids=str)
def test_what_is_no_address_of_a_socketpair_ends_its_transport(run, address):
    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        told = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        with ours, peer:
            transport, protocol = await endpoint(sock=ours)
            transport.sendto(b"astray", address)
            await protocol.lost
            assert transport.is_closing()
        assert protocol.seen == [("made",), ("lost", TypeError)]
        assert told == ["Fatal write error on datagram transport"]

    run(main)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="asyncio sends empty datagrams since 3.13")
def test_before_3_13_an_empty_datagram_of_a_socketpair_is_not_sent(run):
    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, peer:
            transport, protocol = await endpoint(sock=ours)
            transport.sendto(b"")
            transport.sendto(b"", ("127.0.0.1", 9))
            with pytest.raises(BlockingIOError):
                peer.recv(10, socket.MSG_DONTWAIT)
            transport.close()
            await protocol.lost
        assert protocol.seen == [("made",), ("lost", type(None))]

    run(main)


@pytest.mark.ours("asyncio cannot send to a peer that has no name")
def test_what_is_no_address_of_a_socketpair_ends_its_transport_when_its_turn_comes(run):
    async def main():
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        told = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        with ours, peer:
            transport, protocol = await endpoint(sock=ours)
            while not transport.get_write_buffer_size():
                transport.sendto(b"full")
            transport.sendto(b"astray", ("127.0.0.1", 9))
            transport.sendto(b"too late")
            assert not transport.is_closing()
            got = []
            while not protocol.lost.done():
                with contextlib.suppress(BlockingIOError):
                    got.append(peer.recv(10, socket.MSG_DONTWAIT))
                await asyncio.sleep(0)
            assert set(got) <= {b"full"}
        assert protocol.seen == [("made",), ("lost", TypeError)]
        assert told == ["Fatal write error on datagram transport"]

    run(main)


def test_a_forgotten_transport_warns_and_closes_its_socket(same, fds):
    async def main():
        transport, protocol = await endpoint()
        fd = transport._sock_fd
        asyncio.get_running_loop()._remove_reader(fd)
        protocol.transport = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport
            gc.collect()
        texts = [str(w.message) for w in caught if w.category is ResourceWarning]
        return [re.sub(r"_?Selector|fd=\d+", "", text) for text in texts], fd in fds()

    assert "unclosed transport" in same(main)[0][0][0]


def test_an_unclosed_transport_dies_with_its_loop(new_loop):
    loop = new_loop()

    async def main():
        transport, protocol = await endpoint()
        burst(transport, NUMBERS)
        await until(lambda: len(protocol.data) == len(NUMBERS))
        return weakref.ref(transport), weakref.ref(protocol)

    refs = loop.run_until_complete(main())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loop.close()
        del loop
        gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_closed_transport_is_collected(run):
    async def main():
        transport, protocol = await endpoint()
        transport.me = transport
        burst(transport, NUMBERS)
        data = protocol.data
        await until(lambda: len(data) == len(NUMBERS))
        await ended(transport)
        refs = [weakref.ref(transport), weakref.ref(protocol)]
        del transport, protocol
        await asyncio.sleep(0)
        gc.collect()
        return [ref() for ref in refs]

    assert run(main) == [None, None]


def test_no_socket_is_left_open(run, fds):
    before = set(fds())

    async def main():
        for _ in range(20):
            server, _, client, _ = await pair()
            client.sendto(b"x")
            await ended(client, server)

    run(main)
    assert len(set(fds()) - before) <= 2  # the loop's own


# ---- contexts ----


def test_callbacks_see_the_same_context_variables(same):
    var = contextvars.ContextVar("var", default=None)

    class Looking(Log):
        def look(self, name):
            self.note(name, var.get())
            var.set(f"{var.get()} {name}")

        def connection_made(self, transport):
            super().connection_made(transport)
            self.look("made")

        def datagram_received(self, data, addr):
            self.data.append(data)
            self.look("received")

        def error_received(self, exc):
            self.look("error")

    async def main():
        var.set("creator")
        transport, protocol = await endpoint(Looking)
        var.set("later")
        for turn in range(3):
            burst(transport, [b"x"] * 2)
            await until(lambda turn=turn: len(protocol.data) == 2 * turn + 2)
        transport.sendto(bytes(70000), ("127.0.0.1", 9))
        transport.close()
        await protocol.lost
        return protocol.seen, var.get()

    same(main)


@pytest.mark.ours("stock takes the context of whoever resumed, wrote or closed last")
def test_the_protocol_is_called_in_the_context_of_the_creation(run):
    var = contextvars.ContextVar("var", default=None)
    seen = []

    class Looking(Log):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            seen.append(("received", var.get()))

        def pause_writing(self):
            seen.append(("pause", var.get()))

        def resume_writing(self):
            seen.append(("resume", var.get()))

        def connection_lost(self, exc):
            seen.append(("lost", var.get()))
            super().connection_lost(exc)

    async def main():
        for end in "close", "abort":
            seen.clear()
            ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            with ours, peer:
                var.set("creator")
                transport, protocol = await endpoint(Looking, sock=ours)
                transport.set_write_buffer_limits(0)
                var.set("writer")
                while not seen:
                    transport.sendto(b"x")
                peer.setblocking(False)
                while len(seen) == 1:
                    with contextlib.suppress(BlockingIOError):
                        peer.recv(10)
                    await asyncio.sleep(0)
                var.set("resumer")
                transport.pause_reading()
                transport.resume_reading()
                peer.send(b"x")
                await until(lambda: len(protocol.data) == 1)  # noqa: B023
                var.set("closer")
                getattr(transport, end)()
                await protocol.lost
            assert seen == [(n, "creator") for n in ("pause", "resume", "received", "lost")]

    run(main)


# ---- attributes and reports ----

PRIVATE = (
    "_address _buffer _buffer_size _closing _conn_lost _extra _high_water _loop _low_water "
    "_paused _protocol _protocol_connected _protocol_paused _server _sock _sock_fd max_size"
).split()


@pytest.mark.parametrize("name", PRIVATE)
def test_the_attributes_of_asyncios_transport_are_there(same, name):
    async def main():
        server, _, client, _ = await pair()
        values = []
        for transport in client, server:
            value = getattr(transport, name)
            values.append(type(value).__name__.replace("_UnixSelectorEventLoop", "Loop"))
        await ended(client, server)
        values.append(type(getattr(client, name)).__name__)
        return values

    same(main)


def test_a_method_can_be_replaced_on_the_instance(same):
    async def main():
        transport, _ = await endpoint()
        transport.sendto = lambda *args: ("replaced", args)
        transport.mark = 1
        value = transport.sendto(b"x")
        del transport.sendto
        again = transport.sendto(b"x", transport.get_extra_info("sockname"))
        await ended(transport)
        return value, again

    same(main)


def test_extra_info_is_the_same(same):
    async def main():
        server, _, client, _ = await pair()
        values = []
        for transport in client, server:
            for name in "socket", "sockname", "peername", "nothing":
                value = transport.get_extra_info(name, "default")
                values.append(re.sub(r"\d{4,}|fd=\d+", "n", str(value)))
        await ended(client, server)
        return values

    same(main)


def test_the_repr_is_the_same(same):
    async def main():
        texts = []
        transport, protocol = await endpoint()
        texts.append(repr(transport))
        transport.pause_reading()
        texts.append(repr(transport))
        transport.close()
        texts.append(repr(transport))
        await protocol.lost
        await asyncio.sleep(0)
        texts.append(repr(transport))
        return [re.sub(r"_?Selector|fd=\d+", "", text) for text in texts]

    same(main)


def test_a_slow_protocol_is_reported_in_debug_mode(loop, caplog):
    class Slow(Log):
        def datagram_received(self, data, addr):
            self.data.append(data)

    loop.set_debug(True)
    transport, protocol = loop.run_until_complete(endpoint(Slow))
    loop.slow_callback_duration = 0
    burst(transport, NUMBERS[:5])
    loop.run_until_complete(until(lambda: len(protocol.data) == 5))
    loop.slow_callback_duration = 10
    loop.run_until_complete(ended(transport))
    reports = [r.getMessage() for r in caplog.records if "_read_ready" in r.getMessage()]
    assert len(reports) >= 5
    assert "took" in reports[0]


# ---- other families, and sockets of somebody's own ----


@pytest.mark.parametrize("kind", ["path", "abstract", "unnamed"])
def test_unix_datagrams_are_the_same(same, kind, tmp_path):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            address = "\0casyncio test" if kind == "abstract" else os.path.join(folder, "server")
            server, one = await endpoint(Addresses, family=socket.AF_UNIX, local_addr=address)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                if kind != "unnamed":
                    name = "\0casyncio client" if kind == "abstract" else folder + "/client"
                    sock.bind(name)
                for i in range(5):
                    sock.sendto(b"%d" % i, address)
                await until(lambda: len(one.data) == 5)
                sock.setblocking(False)
                answers = []
                for _ in range(5 if kind != "unnamed" else 0):
                    answers.append(sock.recv(100))
            await ended(server)
            return [(d, str(a).replace(folder, "")) for d, a in one.data], answers, one.seen

    class Addresses(Log):
        def datagram_received(self, data, addr):
            self.data.append((data, addr))
            if addr is not None:
                self.transport.sendto(data, addr)

    same(main)


def test_a_large_unix_datagram_arrives_whole(same):
    async def main():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "server")
            server, one = await endpoint(family=socket.AF_UNIX, local_addr=path)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                for size in 70_000, 10, 150_000:
                    sock.sendto(b"x" * size, path)
                await until(lambda: len(one.data) == 3)
            await ended(server)
            return [len(data) for data in one.data]

    assert same(main)[0] == [70_000, 10, 150_000]


def test_ipv6_datagrams_are_the_same(same):
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")

    class Echo(Log):
        def datagram_received(self, data, addr):
            self.data.append((data, addr[0], addr[2:]))
            self.transport.sendto(data, addr)
            self.transport.sendto(data, addr[:2])

    async def main():
        server, one = await endpoint(Echo, local_addr=("::1", 0))
        address = server.get_extra_info("sockname")
        client, two = await endpoint(remote_addr=address[:2], family=socket.AF_INET6)
        for i in range(3):
            client.sendto(b"%d" % i)
        await until(lambda: len(two.data) == 6)
        await ended(client, server)
        return one.data, two.data

    same(main)


def test_a_transport_with_an_address_that_is_not_connected(same):
    async def main():
        server, one = await endpoint()
        client, two = await endpoint(
            remote_addr=server.get_extra_info("sockname"), allow_broadcast=True
        )
        client.sendto(b"none")
        client.sendto(b"own", server.get_extra_info("sockname"))
        try:
            client.sendto(b"other", ("127.0.0.1", 1))
        except ValueError as error:
            two.note(re.sub(r"\d{4,}", "n", str(error)))
        await until(lambda: len(one.data) == 2)
        await ended(client, server)
        return one.data, two.seen, client.get_extra_info("peername")

    same(main)


@pytest.mark.ours("stock has but one kind of transport")
def test_sockets_and_loops_of_somebodys_own_get_asyncios_transport(make_loop, loop_class):
    class Socket(socket.socket):
        sent = 0

        def sendto(self, *args):
            self.sent += 1
            return super().sendto(*args)

    class Watching(loop_class):
        readers = 0

        def _add_reader(self, fd, callback, *args):
            self.readers += 1
            return super()._add_reader(fd, callback, *args)

    async def main(sock):
        sock.bind(("127.0.0.1", 0))
        transport, protocol = await endpoint(sock=sock)
        transport.sendto(b"x", sock.getsockname())
        assert await until(lambda: protocol.data == [b"x"])
        await ended(transport)
        return type(transport).__module__.startswith("casyncio")

    kind = (socket.AF_INET, socket.SOCK_DGRAM)
    sock = Socket(*kind)
    plain, watching = make_loop(loop_class), make_loop(Watching)
    assert plain.run_until_complete(main(sock)) is False
    assert sock.sent == 1
    assert watching.run_until_complete(main(socket.socket(*kind))) is False
    assert watching.readers == 1
    assert plain.run_until_complete(main(socket.socket(*kind))) is True


def test_the_descriptor_is_refused_to_others_until_the_end(same):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        fd = transport._sock_fd
        texts = []
        for method in loop.add_reader, loop.add_writer:
            with pytest.raises(RuntimeError) as caught:
                method(fd, print)
            texts.append(re.sub(r"_?Selector|\d+", "", str(caught.value)))
        await ended(transport)
        texts.append(loop.remove_reader(fd))
        return texts

    same(main)


def test_a_second_transport_of_a_socket_is_treated_the_same(same):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await endpoint()
        try:
            second, _ = await loop.create_datagram_endpoint(Log, sock=transport._sock)
        except RuntimeError as error:
            second, text = None, re.sub(r"_?Selector|<socket.*?\)>|\d+", "", str(error))
        else:
            text = "taken"
            second._sock = None
        await ended(transport)
        return text

    same(main)
