"""sock_* methods: reading, writing, connecting, accepting, cancelling, on the user's sockets."""

import asyncio
import errno
import gc
import os
import socket
import ssl

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from traces import patient, read, reset, send, until

MEGABYTE = bytes(range(256)) * 4096
LOCAL = "127.0.0.1"


def udp(trace, connect_to=None):
    """Return a bound non-blocking UDP socket."""
    sock = trace.keep(socket.socket(type=socket.SOCK_DGRAM))
    sock.bind((LOCAL, 0))
    sock.setblocking(False)
    return sock


def listener(trace, backlog=5):
    """Return a non-blocking listening socket."""
    sock = trace.keep(socket.create_server((LOCAL, 0), backlog=backlog))
    sock.setblocking(False)
    return sock


def started(trace, coro):
    """Return a task that has begun to wait."""
    return trace.loop.create_task(coro)


async def settle(turns=3):
    for _ in range(turns):
        await asyncio.sleep(0)


# ---- reading ----

READS = {
    "sock_recv": lambda loop, sock: loop.sock_recv(sock, 100),
    "sock_recv_into": lambda loop, sock: into(loop.sock_recv_into, sock),
    "sock_recvfrom": lambda loop, sock: loop.sock_recvfrom(sock, 100),
    "sock_recvfrom_into": lambda loop, sock: into(loop.sock_recvfrom_into, sock),
}


async def into(method, sock, buffer=None):
    buffer = bytearray(100) if buffer is None else buffer
    result = await method(sock, buffer)
    return result, bytes(buffer)


@pytest.fixture(params=READS.values(), ids=READS)
def reading(request):
    """Return each of the methods that read."""
    return request.param


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("kind", ["tcp", "unix", "udp"])
def test_reading_returns_what_comes(same_trace, reading, kind, waiting):
    async def program(trace):
        if kind == "udp":
            ours, peer = udp(trace), udp(trace)
            ours.connect(peer.getsockname())
            peer.connect(ours.getsockname())
        else:
            ours, peer = trace.pair(kind)
        if not waiting:
            peer.send(b"hello")
        task = started(trace, reading(trace.loop, ours))
        await settle()
        trace("done", task.done())
        if waiting:
            peer.send(b"hello")
        result = await trace.wait("read", task)
        trace("type", type(result))
        trace.call("after", trace.loop.remove_reader, ours)

    assert same_trace(program)["done"] == [(not waiting,)]


def test_reading_the_end_returns_nothing(same_trace, reading):
    async def program(trace):
        ours, peer = trace.pair()
        peer.close()
        await trace.wait("read", reading(trace.loop, ours))

    assert same_trace(program)["read"][0][0] == "returns"


@pytest.mark.parametrize("waiting", [False, True])
def test_reading_a_reset_connection_raises(same_trace, reading, waiting):
    async def program(trace):
        ours, peer = trace.pair()
        if not waiting:
            reset(peer)
        task = started(trace, reading(trace.loop, ours))
        await settle()
        if waiting:
            reset(peer)
        await trace.wait("read", task)
        trace.call("after", trace.loop.remove_reader, ours)

    assert same_trace(program)["read"][0][1][0] == "ConnectionResetError"


def test_cancelled_reading_stops_watching_and_reads_nothing(same_trace, reading):
    async def program(trace):
        ours, peer = trace.pair()
        task = started(trace, reading(trace.loop, ours))
        await settle()
        task.cancel()
        await trace.wait("read", task)
        trace.call("after", trace.loop.remove_reader, ours)
        peer.send(b"for the next")
        trace("next", await read(ours, 12))

    lanes = same_trace(program)
    assert lanes["read"][0][1][0] == "CancelledError"
    assert lanes["after"] == [("remove_reader", False)]


def test_a_read_cancelled_after_the_data_came_does_what_stocks_does(same_trace, reading):
    async def program(trace):
        ours, peer = trace.pair()
        task = started(trace, reading(trace.loop, ours))
        await settle()
        peer.send(b"hello")
        trace.loop.call_soon(task.cancel)
        await trace.wait("read", task)

    same_trace(program)


def test_a_read_cancelled_and_issued_again_in_the_same_turn_gets_the_data(trace_on, reading):
    """cpython#74250: the clean-up of the first must not remove the reader of the second."""

    async def program(trace):
        ours, peer = trace.pair()
        first = started(trace, reading(trace.loop, ours))
        await settle()
        first.cancel()
        second = started(trace, reading(trace.loop, ours))
        await settle()
        peer.send(b"hello")
        await trace.wait("read", second)
        assert first.cancelled()

    assert trace_on(program)["read"][0][0] == "returns"


def test_a_timed_out_read_leaves_the_socket_usable(same_trace, reading):
    async def program(trace):
        ours, peer = trace.pair()
        try:
            await asyncio.wait_for(reading(trace.loop, ours), 0.002)
        except TimeoutError:
            trace("read", "TimeoutError")
        peer.send(b"hello")
        await trace.wait("read", reading(trace.loop, ours))

    assert same_trace(program)["read"][0] == ("TimeoutError",)


def test_two_reads_of_one_socket_do_what_stocks_do(same_trace):
    async def program(trace):
        ours, peer = trace.pair()
        first = started(trace, trace.loop.sock_recv(ours, 100))
        await settle()
        second = started(trace, trace.loop.sock_recv(ours, 100))
        await settle()
        peer.send(b"hello")
        await trace.wait("second", second)
        trace("first", first.done())
        first.cancel()
        await trace.wait("first", first)

    assert same_trace(program)["second"] == [("returns", b"hello")]


BUFFERS = {
    "bytearray": lambda: bytearray(100),
    "small": lambda: bytearray(3),
    "memoryview": lambda: memoryview(bytearray(100)),
    "slice": lambda: memoryview(bytearray(100))[10:20],
    "empty": bytearray,
    "bytes": lambda: b"readonly",
    "str": lambda: "text",
    "None": lambda: None,
    "stride": lambda: memoryview(bytearray(20))[::2],
}


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("method", ["sock_recv_into", "sock_recvfrom_into"])
@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_buffers_to_read_into_are_taken_and_refused_as_by_stock(
    same_trace, method, buffer, waiting
):
    async def program(trace):
        ours, peer = trace.pair("unix")
        if not waiting:
            peer.send(b"hello")
        target = buffer()
        task = started(trace, getattr(trace.loop, method)(ours, target))
        await settle()
        if waiting:
            peer.send(b"hello")
        result = await trace.wait("read", task)
        if result is not None:
            trace("buffer", target)

    same_trace(program)


@pytest.mark.parametrize("nbytes", [0, 1, 3, 50, 200, -1])
def test_recvfrom_into_takes_nbytes_as_stock_does(same_trace, nbytes):
    async def program(trace):
        ours, peer = udp(trace), udp(trace)
        peer.sendto(b"hello", ours.getsockname())
        buffer = bytearray(100)
        await trace.wait("read", trace.loop.sock_recvfrom_into(ours, buffer, nbytes))

    same_trace(program)


# ---- writing ----

DATA = {
    "bytes": lambda: b"abcdefgh",
    "bytearray": lambda: bytearray(b"abcdefgh"),
    "memoryview": lambda: memoryview(b"abcdefgh"),
    "empty": lambda: b"",
    "str": lambda: "abc",
    "None": lambda: None,
    "int": lambda: 5,
    "list": lambda: [1],
    "stride": lambda: memoryview(b"a_b_c_")[::2],
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("method", ["sock_sendall", "sock_sendto"])
def test_data_is_sent_and_refused_as_by_stock(same_trace, method, data):
    async def program(trace):
        if method == "sock_sendto":
            ours, peer = udp(trace), udp(trace)
            call = trace.loop.sock_sendto(ours, data(), peer.getsockname())
        else:
            ours, peer = trace.pair()
            call = trace.loop.sock_sendall(ours, data())
        await trace.wait("send", call)
        try:
            trace("peer", peer.recv(100))
        except BlockingIOError:
            trace("peer", "nothing")

    same_trace(program)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_sendall_of_a_megabyte_waits_for_a_slow_reader(same_trace, kind, wrap):
    async def program(trace):
        ours, peer = trace.pair(kind)
        task = started(trace, trace.loop.sock_sendall(ours, wrap(MEGABYTE)))
        await settle()
        trace("done", task.done())
        trace("peer", await read(peer, len(MEGABYTE)))
        await trace.wait("send", task)
        trace.call("after", trace.loop.remove_writer, ours)

    lanes = same_trace(program)
    assert lanes["done"] == [(False,)] and lanes["after"] == [("remove_writer", False)]


def test_cancelled_sendall_stops_sending(same_trace):
    async def program(trace):
        ours, peer = trace.pair()
        task = started(trace, trace.loop.sock_sendall(ours, MEGABYTE * 4))
        await settle()
        task.cancel()
        await trace.wait("send", task)
        trace.call("after", trace.loop.remove_writer, ours)
        ours.close()
        got = bytearray()
        await until(lambda: not fill(peer, got))
        trace("peer", len(got) < 4 * len(MEGABYTE), MEGABYTE * 4 == got)

    assert same_trace(program)["peer"] == [(True, False)]


def fill(sock, got):
    """Read what is there; return False at the end."""
    try:
        chunk = sock.recv(1 << 20)
    except BlockingIOError:
        return True
    got += chunk
    return bool(chunk)


@pytest.mark.parametrize("waiting", [False, True])
def test_sendall_to_a_reset_connection_raises(same_trace, waiting):
    async def program(trace):
        ours, peer = trace.pair()
        if not waiting:
            reset(peer)
            await asyncio.sleep(0.001)
        task = started(trace, trace.loop.sock_sendall(ours, MEGABYTE * 4))
        await settle()
        if waiting:
            reset(peer)
        try:
            await patient(task)
        except (ConnectionResetError, BrokenPipeError):
            trace("send", "lost")

    assert same_trace(program)["send"] == [("lost",)]


def test_sendto_waits_for_a_full_peer(same_trace):
    async def program(trace):
        path = trace.folder + "/peer"
        ours, peer = (
            trace.keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(2)
        )
        peer.bind(path)
        for sock in ours, peer:
            sock.setblocking(False)
        count = 0
        while True:
            task = started(trace, trace.loop.sock_sendto(ours, b"%04d" % count, path))
            await settle(4)
            if not task.done():
                break
            assert task.result() == 4
            count += 1
        for _ in range(count):
            peer.recv(10)
        await trace.wait("send", task)
        trace("peer", peer.recv(10) == b"%04d" % count)

    lanes = same_trace(program)
    assert lanes["send"] == [("returns", 4)] and lanes["peer"] == [(True,)]


@pytest.mark.parametrize(
    "address", [(LOCAL,), "x", None, (LOCAL, 99999), ("256.1.1.1", 1), 5], ids=repr
)
def test_wrong_addresses_of_sendto_raise_as_on_stock(same_trace, address):
    async def program(trace):
        await trace.wait("send", trace.loop.sock_sendto(udp(trace), b"x", address))

    assert same_trace(program)["send"][0][0] == "raises"


# ---- connecting and accepting ----


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_connect_and_accept_meet(same_trace, family):
    async def program(trace):
        if family == "tcp":
            server, client = listener(trace), trace.keep(socket.socket())
        else:
            server, client = (trace.keep(socket.socket(socket.AF_UNIX)) for _ in range(2))
            server.bind(trace.folder + "/sock")
            server.listen()
            server.setblocking(False)
        client.setblocking(False)
        accepting = started(trace, trace.loop.sock_accept(server))
        await settle()
        trace("connect", await trace.loop.sock_connect(client, server.getsockname()))
        conn, address = await patient(accepting)
        trace.keep(conn)
        trace("accept", address, conn.gettimeout(), type(conn))
        await trace.loop.sock_sendall(client, b"hello")
        trace("read", await trace.loop.sock_recv(conn, 10))

    assert same_trace(program)["read"] == [(b"hello",)]


def test_connect_resolves_a_name(same_trace):
    async def program(trace):
        server, client = listener(trace), trace.keep(socket.socket())
        client.setblocking(False)
        port = server.getsockname()[1]
        await trace.wait("connect", trace.loop.sock_connect(client, ("localhost", port)))
        trace("peer", client.getpeername()[0])

    assert same_trace(program)["peer"] == [(LOCAL,)]


def test_a_refused_connection_says_so_in_stocks_words(same_trace):
    async def program(trace):
        with socket.socket() as nobody:
            nobody.bind((LOCAL, 0))
            client = trace.keep(socket.socket())
            client.setblocking(False)
            await trace.wait("connect", trace.loop.sock_connect(client, nobody.getsockname()))
            trace.call("after", trace.loop.remove_writer, client)

    assert same_trace(program)["connect"][0][1][0] == "ConnectionRefusedError"


@pytest.mark.parametrize(
    "address", [(LOCAL,), "x", None, (LOCAL, 99999), 5, ("256.1.1.1", 1)], ids=repr
)
def test_wrong_addresses_of_connect_raise_as_on_stock(same_trace, address):
    async def program(trace):
        client = trace.keep(socket.socket())
        client.setblocking(False)
        await trace.wait("connect", trace.loop.sock_connect(client, address))

    assert same_trace(program)["connect"][0][0] == "raises"


def stuck(trace):
    """Return the address of a listener whose queue is full: connecting there waits."""
    server = listener(trace, backlog=0)
    for _ in range(3):
        sock = trace.keep(socket.socket())
        sock.setblocking(False)
        sock.connect_ex(server.getsockname())
    return server.getsockname()


@pytest.mark.ours("stock's selector keeps the closed descriptor and never polls the new one")
def test_cancelling_connect_then_reusing_the_number_mixes_nothing_up(trace_on):
    """uvloop#645's mother: the old connect must not remove or wake the new owner's writer."""

    async def program(trace):
        loop, address = trace.loop, stuck(trace)
        server = listener(trace)
        for turns in range(4):
            client = socket.socket()
            client.setblocking(False)
            number = client.fileno()
            task = started(trace, loop.sock_connect(client, address))
            await settle(turns)
            task.cancel()
            os.close(client.detach())
            other = socket.socket()
            assert other.fileno() == number
            other.setblocking(False)
            await patient(loop.sock_connect(other, server.getsockname()))
            conn, _ = await patient(loop.sock_accept(server))
            waiting = started(trace, loop.sock_recv(other, 10))
            await settle()
            await asyncio.wait([task], timeout=5)
            assert task.cancelled()
            conn.send(b"mine")
            assert await patient(waiting) == b"mine"
            conn.close()
            other.close()

    trace_on(program)


def test_cancelling_accept_accepts_nobody(same_trace):
    async def program(trace):
        server = listener(trace)
        task = started(trace, trace.loop.sock_accept(server))
        await settle()
        task.cancel()
        await trace.wait("accept", task)
        trace.call("after", trace.loop.remove_reader, server)
        client = trace.keep(socket.create_connection(server.getsockname()))
        conn, address = await patient(trace.loop.sock_accept(server))
        trace("next", address == client.getsockname())
        conn.close()

    assert same_trace(program)["next"] == [(True,)]


def test_cancelling_accept_in_the_turn_of_a_connection_leaves_it_to_the_next_accept(trace_on):
    async def program(trace):
        server = listener(trace)
        for _ in range(50):  # the loop does not look at its descriptors in every turn
            task = started(trace, trace.loop.sock_accept(server))
            await asyncio.sleep(0)
            with socket.create_connection(server.getsockname()) as client:
                trace.loop.call_soon(task.cancel)
                await asyncio.sleep(0)
                await asyncio.wait([task], timeout=5)
                assert task.cancelled()
                conn, address = await patient(trace.loop.sock_accept(server))
                assert address == client.getsockname()
                conn.close()

    trace_on(program)


def test_cancelling_recv_in_the_turn_of_its_bytes_leaves_them_to_the_next_recv(trace_on):
    async def program(trace):
        ours, peer = trace.pair()
        for turn in range(100):
            task = started(trace, trace.loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            await send(peer, b"%d" % turn)
            trace.loop.call_soon(task.cancel)
            await asyncio.sleep(0)
            await asyncio.wait([task], timeout=5)
            assert task.cancelled()
            assert await patient(trace.loop.sock_recv(ours, 10)) == b"%d" % turn

    trace_on(program)


# ---- refusals ----

CALLS = {
    **READS,
    "sock_sendall": lambda loop, sock: loop.sock_sendall(sock, b"x"),
    "sock_sendto": lambda loop, sock: loop.sock_sendto(sock, b"x", (LOCAL, 9)),
    "sock_connect": lambda loop, sock: loop.sock_connect(sock, (LOCAL, 9)),
    "sock_accept": lambda loop, sock: loop.sock_accept(sock),
}


@pytest.fixture(params=CALLS.values(), ids=CALLS)
def call(request):
    """Return each of the methods, called with some arguments."""
    return request.param


def test_a_blocking_socket_is_refused_in_debug_mode(same_trace, call):
    async def program(trace):
        ours, _ = trace.pair()
        ours.setblocking(True)
        await trace.wait("call", call(trace.loop, ours))
        ours.settimeout(1)
        await trace.wait("call", call(trace.loop, ours))

    for entry in same_trace(program, debug=True)["call"]:
        assert entry == ("raises", ("ValueError", "the socket must be non-blocking", None))


def test_a_tls_socket_is_refused(same_trace, call):
    async def program(trace):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        ours, _ = trace.pair()
        wrapped = trace.keep(context.wrap_socket(ours, do_handshake_on_connect=False))
        await trace.wait("call", call(trace.loop, wrapped))

    (entry,) = same_trace(program)["call"]
    assert entry[1][0] == "TypeError" and "SSLSocket" in entry[1][1]


def test_a_closed_socket_is_refused_as_by_stock(same_trace, call):
    async def program(trace):
        ours, _ = trace.pair()
        ours.close()
        await trace.wait("call", call(trace.loop, ours))

    (entry,) = same_trace(program)["call"]
    assert entry[1][2] == errno.EBADF or entry[1][0] == "ValueError"


@pytest.mark.parametrize("junk", [None, 5, "x", object()], ids=["None", "int", "str", "object"])
def test_junk_instead_of_a_socket_is_refused_as_by_stock(same_trace, call, junk):
    async def program(trace):
        await trace.wait("call", call(trace.loop, junk))

    assert same_trace(program)["call"][0][0] == "raises"


def test_an_unconnected_socket_is_refused_as_by_stock(same_trace, call):
    async def program(trace):
        sock = trace.keep(socket.socket())
        sock.setblocking(False)
        await trace.wait("call", call(trace.loop, sock))

    assert same_trace(program)["call"][0][0] == "raises"


def test_a_duck_that_has_a_sockets_methods_is_served_as_by_stock(same_trace):
    """Stock calls the object's own methods; subclasses and wrappers count on it."""

    async def program(trace):
        class Counting(socket.socket):
            def recv(self, *args):
                trace("calls", "recv", *args)
                return super().recv(*args)

            def send(self, data, *args):
                trace("calls", "send", len(data), *args)
                return super().send(data, *args)

        ours, peer = trace.pair("unix")
        duck = trace.keep(Counting(socket.AF_UNIX, fileno=ours.detach()))
        duck.setblocking(False)
        await trace.loop.sock_sendall(duck, b"out")
        trace("peer", await read(peer, 3))
        peer.send(b"in")
        trace("read", await trace.loop.sock_recv(duck, 10))

    assert same_trace(program)["calls"] == [("send", 3), ("recv", 10)]


def test_an_exception_of_recv_comes_out_of_the_await(same_trace):
    async def program(trace):
        class Failing(socket.socket):
            tries = 0

            def recv(self, *args):
                self.tries += 1
                if self.tries == 1:
                    raise BlockingIOError
                raise LookupError("mine")

        ours, peer = trace.pair("unix")
        failing = trace.keep(Failing(socket.AF_UNIX, fileno=ours.detach()))
        failing.setblocking(False)
        peer.send(b"x")
        await trace.wait("read", trace.loop.sock_recv(failing, 10))
        trace.call("after", trace.loop.remove_reader, failing)

    assert same_trace(program)["read"] == [("raises", ("LookupError", "mine", None))]


# ---- a long game with descriptors ----


class Descriptors(RuleBasedStateMachine):
    """Open, watch, read, cancel, close, collect and reuse descriptors in any order.

    The model knows which bytes each pair has to deliver; whoever gets bytes of another pair, a
    callback of a closed descriptor, or nothing where something is due, has found a mix-up.
    """

    make_loop = None
    pairs = Bundle("pairs")

    def __init__(self):
        super().__init__()
        self.loop = type(self).make_loop()
        self.complaints = []
        self.live = []
        self.serial = 0
        self.loop.set_exception_handler(lambda loop, context: self.complaints.append(context))

    def turn(self, count=1):
        for _ in range(count):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    @rule(target=pairs)
    def open(self):
        self.serial += 1
        pair = Pair(self.loop, self.serial)
        self.live.append(pair)
        return pair

    @rule(pair=pairs, turns=st.integers(0, 2))
    def start_reading(self, pair, turns):
        if pair.mode == "idle":
            pair.mode = "recv"
            pair.task = self.loop.create_task(self.loop.sock_recv(pair.ours, 1000))
            self.turn(turns)

    @rule(pair=pairs)
    def watch(self, pair):
        if pair.mode == "idle":
            pair.mode = "watch"
            self.loop.add_reader(pair.ours, pair.on_readable)

    @rule(pair=pairs)
    def watch_writing(self, pair):
        if pair.mode in ("idle", "watch"):
            self.loop.add_writer(pair.ours, pair.on_writable)
            self.turn(2)
            assert pair.writable, f"{pair} is writable and nobody said so"
            assert self.loop.remove_writer(pair.ours)

    @rule(pair=pairs)
    def serve(self, pair):
        if pair.mode == "idle":
            pair.mode = "transport"
            create = self.loop.create_connection(lambda: pair, sock=pair.ours)
            pair.transport, _ = self.loop.run_until_complete(create)

    @rule(pair=pairs, size=st.integers(1, 50))
    def send(self, pair, size):
        pair.send(size)

    @rule(pair=pairs, size=st.integers(1, 50))
    def deliver(self, pair, size):
        """What is sent to a pair that reads arrives within a few turns."""
        if pair.mode != "idle":
            pair.send(size)
            self.turn(3)
            pair.check_delivery()

    @rule(pair=pairs, turns=st.integers(0, 2))
    def cancel(self, pair, turns):
        if pair.mode == "recv":
            pair.task.cancel()
            self.turn(turns)
            pair.finish_recv()
            if pair.task is not None:
                self.turn(2)
                pair.finish_recv()
            pair.mode = "idle"
        elif pair.mode == "watch":
            assert self.loop.remove_reader(pair.ours)
            pair.mode = "idle"

    @rule(pair=consumes(pairs), turns=st.integers(0, 2))
    def close(self, pair, turns):
        """Close in the order that programs have to: stop watching, close, let go."""
        self.live.remove(pair)
        pair.close()
        self.turn(turns)

    @rule(pair=consumes(pairs))
    def close_and_reuse(self, pair):
        """The number goes to a new pair before the loop had a turn."""
        self.live.remove(pair)
        number = pair.ours.fileno()
        deferred = pair.mode == "transport"
        pair.close()
        if deferred:
            self.turn(2)
        self.serial += 1
        fresh = Pair(self.loop, self.serial)
        fresh.move_to(number)
        self.loop.add_reader(fresh.ours, fresh.on_readable)
        fresh.mode = "watch"
        fresh.send(5)
        self.turn(3)
        fresh.check_delivery()
        fresh.close()

    @rule()
    def run(self):
        self.turn(3)

    @rule()
    def collect(self):
        gc.collect(0)

    @invariant()
    def nobody_complains(self):
        assert not self.complaints, self.complaints

    @invariant()
    def nobody_gets_foreign_bytes(self):
        for pair in self.live:
            pair.check_prefix()

    def teardown(self):
        for pair in self.live:
            pair.close()
        self.turn(3)
        self.loop.close()
        assert not self.complaints, self.complaints


class Pair(asyncio.Protocol):
    """Two sockets, how one of them is read at the moment, and what it has to get."""

    def __init__(self, loop, serial):
        self.loop = loop
        self.serial = serial
        self.ours, self.peer = socket.socketpair()
        for sock in self.ours, self.peer:
            sock.setblocking(False)
        self.mode = "idle"
        self.sent = b""
        self.got = b""
        self.writable = False
        self.task = None
        self.transport = None
        self.closed = False

    def __repr__(self):
        return f"<pair {self.serial} {self.mode}>"

    def move_to(self, number):
        """Give our end this descriptor, which is free; the pair is not yet watched."""
        if number not in (self.ours.fileno(), self.peer.fileno()):
            old = self.ours
            self.ours = socket.socket(fileno=os.dup2(old.fileno(), number))
            self.ours.setblocking(False)
            old.close()

    def send(self, size):
        data = b"%d," % self.serial * size
        self.peer.send(data)
        self.sent += data

    def on_readable(self):
        assert not self.closed, "a callback of a closed descriptor"
        self.got += self.ours.recv(100_000)

    def on_writable(self):
        assert not self.closed, "a callback of a closed descriptor"
        self.writable = True

    def data_received(self, data):
        assert not self.closed, "data of a closed transport"
        self.got += data

    def finish_recv(self):
        if self.task is not None and self.task.done():
            if not self.task.cancelled():
                self.got += self.task.result()
            self.task = None

    def check_prefix(self):
        assert self.sent.startswith(self.got), f"{self}: {self.got} of {self.sent}"

    def check_delivery(self):
        if self.mode == "recv":
            self.finish_recv()
            assert self.task is None, f"{self} was sent bytes and waits on"
            self.mode = "idle"
            self.check_prefix()
            assert self.got
        else:
            assert self.got == self.sent, f"{self}: {self.got} of {self.sent}"

    def close(self):
        self.closed = True
        if self.mode == "recv":
            self.task.cancel()
            self.loop.remove_reader(self.ours)
        elif self.mode == "watch":
            self.loop.remove_reader(self.ours)
        if self.mode == "transport":
            self.transport.abort()
        else:
            self.ours.close()
        self.peer.close()


def test_no_sequence_of_opening_watching_and_closing_mixes_descriptors_up(backend):
    class Machine(Descriptors):
        @staticmethod
        def make_loop():
            if backend == "stock":
                return asyncio.SelectorEventLoop()
            import casyncio

            return casyncio.new_event_loop(backend)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_storm_of_cancelled_reads_and_reused_numbers_delivers_everything(trace_on):
    async def program(trace):
        loop = trace.loop
        for n in range(100):
            ours, peer = socket.socketpair()
            for sock in ours, peer:
                sock.setblocking(False)
            waiting = started(trace, loop.sock_recv(ours, 100))
            await settle(n % 3)
            waiting.cancel()
            if n % 2:
                await asyncio.wait([waiting], timeout=5)
            again = started(trace, loop.sock_recv(ours, 100))
            await settle(n % 4)
            await send(peer, b"%d" % n)
            assert await patient(again) == b"%d" % n
            ours.close()
            peer.close()

    trace_on(program)
