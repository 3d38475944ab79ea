"""loop.sock_recv() and its like: results, errors, waiting, cancellation, and who is replaced.

Most tests run one program on the standard library's loop and on ours and compare what it returned
or raised; the others state what both do.
"""

import array
import asyncio
import collections.abc
import contextlib
import errno
import gc
import inspect
import os
import re
import signal
import socket
import ssl
import sys
import time
import types
import warnings
import weakref

import pytest

HAS_IPV6 = socket.has_ipv6


@contextlib.contextmanager
def sockets(*ends):
    for end in ends:
        end.setblocking(False)
    with contextlib.ExitStack() as stack:
        for end in ends:
            stack.enter_context(end)
        yield ends


def stream_pair():
    return sockets(*socket.socketpair())


@contextlib.contextmanager
def stream_pair_with(number):
    """Give a pair whose first socket has the number, which is free."""
    with contextlib.ExitStack() as stack:
        while True:
            ends = stack.enter_context(stream_pair())
            numbers = [end.fileno() for end in ends]
            if number in numbers:
                yield ends if numbers[0] == number else ends[::-1]
                return
            assert min(numbers) < number, "somebody else has taken it"


def datagram_pair():
    return sockets(*socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))


def tcp_listener(family=socket.AF_INET, host="127.0.0.1"):
    listener = socket.socket(family)
    listener.bind((host, 0))
    listener.listen()
    return listener


@contextlib.contextmanager
def tcp_pair():
    with tcp_listener() as listener:
        first = socket.create_connection(listener.getsockname())
        second, _ = listener.accept()
    with sockets(first, second):
        yield first, second


@contextlib.contextmanager
def udp_pair(family=socket.AF_INET, host="127.0.0.1"):
    first, second = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    with sockets(first, second):
        first.bind((host, 0))
        second.bind((host, 0))
        yield first, second


def fill(sock):
    """Send until there is no room; return how many bytes went."""
    total = 0
    while True:
        try:
            total += sock.send(bytes(65536))
        except BlockingIOError:
            return total


def drain(sock, nbytes):
    """Receive exactly nbytes that are there or on their way."""
    parts = []
    while nbytes > 0:
        try:
            parts.append(sock.recv(min(nbytes, 1 << 20)))
        except BlockingIOError:
            time.sleep(0.001)
            continue
        nbytes -= len(parts[-1])
    return b"".join(parts)


async def settle():
    """Let everything that is ready run, descriptors included."""
    for _ in range(5):
        await asyncio.sleep(0)
    await asyncio.sleep(0.002)


async def attempt(awaitable):
    """Return what came out: the value, or the exception's type, args and errno."""
    try:
        return "value", await asyncio.wait_for(awaitable, 5)
    except asyncio.CancelledError:
        raise
    except BaseException as exc:
        return "error", type(exc), exc.args, getattr(exc, "errno", None)


@pytest.fixture
def same(same_outcome):
    """Run program(loop), a coroutine function, on both loops; return what it returned."""

    def check(program, **kwargs):
        return same_outcome(lambda loop: loop.run_until_complete(program(loop)), **kwargs)

    return check


@pytest.fixture
def run(loop):
    """Run program(loop), a coroutine function, on the loop under test."""
    return lambda program: loop.run_until_complete(asyncio.wait_for(program(loop), 20))


# ---- results ----


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
@pytest.mark.parametrize("size", [0, 1, 5, 100, 262144, 262145, 1000000])
def test_recv_gives_what_there_is_up_to_the_size(same, size, waits):
    async def program(loop):
        with stream_pair() as (a, b):
            if waits:
                loop.call_later(0.003, b.send, b"hello")
            else:
                b.send(b"hello")
            return await loop.sock_recv(a, size)

    assert same(program) == b"hello"[:size]


def test_recv_gives_empty_bytes_at_the_end_of_the_stream(same):
    async def program(loop):
        with stream_pair() as (a, b):
            b.send(b"last")
            b.close()
            return [await loop.sock_recv(a, 100) for _ in range(3)]

    assert same(program) == [b"last", b"", b""]


def test_recv_that_waits_learns_of_the_end_of_the_stream(same):
    async def program(loop):
        with stream_pair() as (a, b):
            loop.call_later(0.003, b.close)
            return await loop.sock_recv(a, 100)

    assert same(program) == b""


def test_recv_of_many_messages_one_after_another(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            for i in range(50):
                loop.call_soon(b.send, b"%d" % i)
                seen.append(await loop.sock_recv(a, 100))
            return seen

    assert same(program) == [b"%d" % i for i in range(50)]


def test_an_echo_of_large_messages_loses_nothing(run):
    async def program(loop):
        with tcp_pair() as (a, b):
            payload = os.urandom(3_000_000)

            async def echo():
                left = len(payload)
                while left:
                    data = await loop.sock_recv(b, 262144)
                    left -= len(data)
                    await loop.sock_sendall(b, data)

            async def read():
                got = bytearray()
                while len(got) < len(payload):
                    got += await loop.sock_recv(a, 100_000)
                return bytes(got)

            got, *_ = await asyncio.gather(read(), echo(), loop.sock_sendall(a, payload))
            assert got == payload

    run(program)


BUFFERS = {
    "bytearray": lambda: bytearray(8),
    "memoryview": lambda: memoryview(bytearray(8)),
    "part of a memoryview": lambda: memoryview(bytearray(8))[2:6],
    "array of ints": lambda: array.array("i", [0, 0]),
    "view of ints": lambda: memoryview(bytearray(8)).cast("i"),
    "empty": lambda: bytearray(),
    "two dimensions": lambda: memoryview(bytearray(8)).cast("B", [2, 4]),
    # What cannot be received into.
    "bytes": lambda: b"12345678",
    "read-only view": lambda: memoryview(b"12345678"),
    "every other byte": lambda: memoryview(bytearray(8))[::2],
    "str": lambda: "12345678",
    "None": lambda: None,
    "released view": lambda: released_view(),
}


def released_view():
    view = memoryview(bytearray(8))
    view.release()
    return view


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
@pytest.mark.parametrize("kind", BUFFERS)
def test_recv_into_every_kind_of_buffer(same, kind, waits):
    async def program(loop):
        with stream_pair() as (a, b):
            buffer = BUFFERS[kind]()
            if waits:
                loop.call_later(0.003, b.send, b"hello")
            else:
                b.send(b"hello")
            result = await attempt(loop.sock_recv_into(a, buffer))
            return result, bytes(buffer) if result[0] == "value" else None

    same(program)


@pytest.mark.parametrize("nbytes", [(), (0,), (1,), (4,), (8,), (9,), (-1,), ("x",), (None,)])
@pytest.mark.parametrize("kind", BUFFERS)
def test_recvfrom_into_every_kind_of_buffer(same, kind, nbytes):
    async def program(loop):
        with datagram_pair() as (a, b):
            buffer = BUFFERS[kind]()
            b.send(b"hello")
            result = await attempt(loop.sock_recvfrom_into(a, buffer, *nbytes))
            return result, bytes(buffer) if result[0] == "value" else None

    same(program)


def test_recvfrom_into_waits(same):
    async def program(loop):
        with datagram_pair() as (a, b):
            buffer = bytearray(10)
            loop.call_later(0.003, b.send, b"hello")
            result = await loop.sock_recvfrom_into(a, buffer)
            return result, bytes(buffer)

    assert same(program) == ((5, None), b"hello\0\0\0\0\0")


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
@pytest.mark.parametrize("size", [0, 3, 5, 300000, -1, "x"])
def test_recvfrom_gives_data_and_address(same, size, waits):
    async def program(loop):
        with udp_pair() as (a, b):
            if waits:
                loop.call_later(0.003, b.sendto, b"hello", a.getsockname())
            else:
                b.sendto(b"hello", a.getsockname())
            result = await attempt(loop.sock_recvfrom(a, size))
            if result[0] == "value":
                assert result[1][1] == b.getsockname()
                return result[1][0]
            return result

    same(program)


@pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")
def test_datagrams_over_ipv6(same):
    async def program(loop):
        with udp_pair(socket.AF_INET6, "::1") as (a, b):
            sent = await loop.sock_sendto(b, b"hello", a.getsockname())
            short = await loop.sock_sendto(b, b"again", a.getsockname()[:2])
            first = await loop.sock_recvfrom(a, 10)
            second = await loop.sock_recvfrom(a, 10)
            assert first[1] == second[1] == b.getsockname()
            return sent, short, first[0], second[0]

    assert same(program) == (5, 5, b"hello", b"again")


def test_recvfrom_on_a_stream_has_no_address(same):
    async def program(loop):
        with tcp_pair() as (a, b):
            b.send(b"hello")
            return await loop.sock_recvfrom(a, 10)

    assert same(program) == (b"hello", None)


@pytest.mark.parametrize("name", ["path", "abstract", "none"])
def test_recvfrom_of_unix_datagrams_gives_their_address(same, tmp_path, name):
    async def program(loop):
        ends = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        with sockets(*ends) as (a, b):
            target = str(tmp_path / "a")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            a.bind(target)
            if name == "path":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(tmp_path / "b")
                b.bind(str(tmp_path / "b"))
            elif name == "abstract":
                b.bind(b"\0casyncio-test-%d" % os.getpid())
            sent = await loop.sock_sendto(b, b"hello", target)
            return sent, await loop.sock_recvfrom(a, 10)

    same(program)


def test_every_datagram_that_waits_is_received(same):
    async def program(loop):
        with datagram_pair() as (a, b):
            for i in range(5):
                b.send(b"%d" % i)
            return [await loop.sock_recv(a, 100) for _ in range(5)]

    assert same(program) == [b"0", b"1", b"2", b"3", b"4"]


def test_accept_gives_a_socket_that_does_not_block_and_its_address(same):
    async def program(loop):
        listener = tcp_listener()
        with sockets(listener), socket.create_connection(listener.getsockname()) as client:
            conn, address = await loop.sock_accept(listener)
            with conn:
                assert address == client.getsockname()
                assert not os.get_inheritable(conn.fileno())
                assert not os.get_blocking(conn.fileno())
                assert conn.getpeername() == client.getsockname()
                return type(conn), conn.gettimeout(), conn.family, conn.type, conn.proto

    assert same(program)[1] == 0


def test_accept_waits_for_a_connection(same):
    async def program(loop):
        listener = tcp_listener()
        client = socket.socket()
        with sockets(listener, client):
            loop.call_later(0.003, client.connect_ex, listener.getsockname())
            conn, address = await loop.sock_accept(listener)
            conn.close()
            return address == client.getsockname()

    assert same(program)


def test_accept_ignores_the_default_timeout(same):
    async def program(loop):
        listener = tcp_listener()
        with sockets(listener), socket.create_connection(listener.getsockname()):
            socket.setdefaulttimeout(3)
            try:
                conn, _ = await loop.sock_accept(listener)
            finally:
                socket.setdefaulttimeout(None)
            with conn:
                return conn.gettimeout()

    assert same(program) == 0


def test_accept_on_a_unix_socket(same, tmp_path):
    async def program(loop):
        listener = socket.socket(socket.AF_UNIX)
        client = socket.socket(socket.AF_UNIX)
        with sockets(listener, client):
            path = str(tmp_path / "listener")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            listener.bind(path)
            listener.listen()
            await loop.sock_connect(client, path)
            conn, address = await loop.sock_accept(listener)
            with conn:
                return address, conn.family, conn.gettimeout()

    assert same(program)[0] == ""


def test_accept_on_a_socket_that_does_not_listen(same):
    async def program(loop):
        with sockets(socket.socket()) as (sock,):
            return await attempt(loop.sock_accept(sock))

    assert same(program)[1] is OSError


def addresses_of(family, host):
    """Ways to write the address of a listener."""
    if family == socket.AF_INET:
        return [lambda name: name, lambda name: (host, str(name[1])), lambda name: list(name)]
    return [
        lambda name: name,
        lambda name: name[:2],
        lambda name: name[:3],
        lambda name: (host, str(name[1])),
    ]


@pytest.mark.parametrize(
    ("family", "host", "which"),
    [
        *((socket.AF_INET, "127.0.0.1", i) for i in range(3)),
        *((socket.AF_INET6, "::1", i) for i in range(4)),
    ],
)
def test_connect_to_every_form_of_an_address(same, family, host, which):
    async def program(loop):
        listener = tcp_listener(family, host)
        client = socket.socket(family)
        with sockets(listener, client):
            name = listener.getsockname()
            address = addresses_of(family, host)[which](name)
            result = await attempt(loop.sock_connect(client, address))
            return result, client.getpeername() == name

    assert same(program) == (("value", None), True)


def test_connect_to_a_name(same):
    async def program(loop):
        listener = tcp_listener()
        client = socket.socket()
        with sockets(listener, client):
            result = await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
            return result, client.getpeername() == listener.getsockname()

    assert same(program) == (None, True)


def test_connect_of_a_datagram_socket(same):
    async def program(loop):
        with udp_pair() as (a, b):
            await loop.sock_connect(b, a.getsockname())
            await loop.sock_sendall(b, b"hello")
            return await loop.sock_recv(a, 10)

    assert same(program) == b"hello"


@pytest.mark.parametrize(
    ("family", "host", "length"),
    [
        (socket.AF_INET, "127.0.0.1", 2),
        (socket.AF_INET6, "::1", 2),
        (socket.AF_INET6, "::1", 3),
        (socket.AF_INET6, "::1", 4),
    ],
)
def test_a_refused_connection_says_which(same, family, host, length):
    with tcp_listener(family, host) as listener:
        address = listener.getsockname()[:length]

    async def program(loop):
        with sockets(socket.socket(family)) as (client,):
            try:
                await loop.sock_connect(client, address)
            except OSError as exc:
                return type(exc), exc.args, exc.errno, str(exc)

    result = same(program)
    assert result[0] is ConnectionRefusedError
    assert f"Connect call failed {address[:2]}"[:-1] in result[1][1]


def test_connect_of_a_connected_socket(same):
    async def program(loop):
        listener = tcp_listener()
        with sockets(listener, socket.create_connection(listener.getsockname())) as (_, client):
            return await attempt(loop.sock_connect(client, listener.getsockname()))

    same(program)


def test_connect_while_the_first_attempt_still_goes_on(same):
    async def program(loop):
        with tcp_listener() as listener, sockets(socket.socket()) as (client,):
            client.connect_ex(listener.getsockname())
            return await attempt(loop.sock_connect(client, listener.getsockname()))

    same(program)


# ---- sending ----


DATA = {
    "bytes": lambda n: bytes(range(256)) * (n // 256),
    "bytearray": lambda n: bytearray(range(256)) * (n // 256),
    "memoryview": lambda n: memoryview(bytes(range(256)) * (n // 256)),
    "signed view": lambda n: memoryview(bytes(range(256)) * (n // 256)).cast("b"),
    "char view": lambda n: memoryview(bytes(range(256)) * (n // 256)).cast("c"),
    "part of a view": lambda n: memoryview(bytes(range(256)) * (n // 256))[1000:-1000],
    "subclass of bytes": lambda n: type("B", (bytes,), {})(bytes(range(256)) * (n // 256)),
    "array of bytes": lambda n: array.array("B", bytes(range(256)) * (n // 256)),
}
BAD_DATA = {
    "every other byte": lambda: memoryview(bytes(1000))[::2],
    "backwards": lambda: memoryview(bytes(1000))[::-1],
    "str": lambda: "text",
    "None": lambda: None,
    "int": lambda: 5,
    "list": lambda: [b"x"],
    "released view": released_view,
}


@pytest.mark.parametrize("kind", DATA)
def test_sendall_of_more_than_there_is_room_for(same, kind):
    async def program(loop):
        with stream_pair() as (a, b):
            data = DATA[kind](1 << 20)
            task = loop.create_task(loop.sock_sendall(a, data))
            await settle()
            assert not task.done()
            got = bytearray()
            while len(got) < memoryview(data).nbytes:
                got += await loop.sock_recv(b, 200_000)
            return await task, bytes(got) == bytes(data)

    assert same(program) == (None, True)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("size", [256, 4096])
def test_sendall_of_what_fits(same, kind, size):
    async def program(loop):
        with stream_pair() as (a, b):
            data = DATA[kind](size if "part" not in kind else size + 2048)
            result = await loop.sock_sendall(a, data)
            return result, b.recv(100000) == bytes(data)

    assert same(program) == (None, True)


@pytest.mark.parametrize("kind", BAD_DATA)
@pytest.mark.parametrize("full", [False, True], ids=["with room", "without room"])
def test_sendall_of_what_cannot_be_sent(same, kind, full):
    async def program(loop):
        with stream_pair() as (a, b):
            if full:
                fill(a)
            result = await attempt(loop.sock_sendall(a, BAD_DATA[kind]()))
            if not full:
                with pytest.raises(BlockingIOError):  # nothing was sent
                    b.recv(1, socket.MSG_DONTWAIT)
            return result

    assert same(program)[0] == "error"


def test_sendall_of_a_view_of_ints_never_ends(same):
    """It compares the bytes that went with the number of items, and waits for ever."""

    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_sendall(a, memoryview(bytes(16)).cast("i")))
            await settle()
            return b.recv(100), task.done(), task.cancel()

    assert same(program) == (bytes(16), False, True)


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")])
@pytest.mark.parametrize("full", [False, True], ids=["with room", "without room"])
def test_sendall_of_nothing(same, data, full):
    async def program(loop):
        with stream_pair() as (a, _):
            if full:
                fill(a)
            return await attempt(loop.sock_sendall(a, data))

    assert same(program) == ("value", None)


def test_a_bytearray_cannot_change_its_size_while_it_is_sent(same):
    async def program(loop):
        with stream_pair() as (a, b):
            full = fill(a)
            data = bytearray(b"x" * 100)
            task = loop.create_task(loop.sock_sendall(a, data))
            await settle()
            with pytest.raises(BufferError):
                data.append(1)
            drain(b, full)
            await task
            data.append(1)
            return drain(b, 100)

    assert same(program) == b"x" * 100


def test_a_bytearray_can_change_its_size_when_its_sending_was_cancelled(same):
    async def program(loop):
        with stream_pair() as (a, _):
            fill(a)
            data = bytearray(b"x" * 100)
            task = loop.create_task(loop.sock_sendall(a, data))
            await settle()
            task.cancel()
            await asyncio.wait([task])
            await settle()
            data.append(1)
            return len(data)

    assert same(program) == 101


def test_a_view_may_be_released_while_it_is_sent(same):
    async def program(loop):
        with stream_pair() as (a, b):
            full = fill(a)
            view = memoryview(b"x" * 100)
            task = loop.create_task(loop.sock_sendall(a, view))
            await settle()
            view.release()
            drain(b, full)
            await task
            return drain(b, 100)

    assert same(program) == b"x" * 100


def test_a_buffer_that_vanishes_while_its_filling_waits(same):
    async def program(loop):
        with stream_pair() as (a, b):
            view = memoryview(bytearray(10))
            task = loop.create_task(attempt(loop.sock_recv_into(a, view)))
            await settle()
            view.release()
            b.send(b"hello")
            return await task, a.recv(10)

    assert same(program)[0][0] == "error"


def test_a_buffer_may_change_its_size_while_its_filling_waits(same):
    async def program(loop):
        with stream_pair() as (a, b):
            buffer = bytearray(3)
            task = loop.create_task(loop.sock_recv_into(a, buffer))
            await settle()
            buffer += b"...."
            b.send(b"hello")
            return await task, bytes(buffer)

    assert same(program) == (5, b"hello..")


@pytest.mark.parametrize("pair", [stream_pair, tcp_pair])
def test_sendall_to_a_peer_that_is_gone(same, pair):
    async def program(loop):
        with pair() as (a, b):
            b.close()
            results = []
            for _ in range(3):
                results.append(await attempt(loop.sock_sendall(a, b"x")))
                await settle()
            return results

    assert same(program)[-1][1] is BrokenPipeError


def test_sendall_that_waits_for_a_peer_that_goes(same):
    async def program(loop):
        with stream_pair() as (a, b):
            fill(a)
            loop.call_later(0.003, b.close)
            return await attempt(loop.sock_sendall(a, b"x"))

    assert same(program)[1] is BrokenPipeError


def test_recv_from_a_peer_that_reset_the_connection(same):
    async def program(loop):
        with tcp_pair() as (a, b):
            b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            loop.call_later(0.003, b.close)
            return await attempt(loop.sock_recv(a, 10))

    assert same(program)[1] is ConnectionResetError


@pytest.mark.parametrize("data", [b"hello", bytearray(b"hello"), memoryview(b"hello"), b""])
def test_sendto_gives_the_number_of_bytes(same, data):
    async def program(loop):
        with udp_pair() as (a, b):
            sent = await loop.sock_sendto(b, data, a.getsockname())
            return sent, await loop.sock_recv(a, 10)

    assert same(program) == (len(data), bytes(data))


def test_sendto_of_ints_gives_the_number_of_bytes(same):
    async def program(loop):
        with udp_pair() as (a, b):
            data = memoryview(bytes(16)).cast("i")
            return await loop.sock_sendto(b, data, a.getsockname())

    assert same(program) == 16


def test_sendto_waits_for_room(same, tmp_path):
    async def program(loop):
        ends = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        with sockets(*ends) as (a, b):
            target = str(tmp_path / "a")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)
            a.bind(target)
            count = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    b.sendto(b"x", target)
                    count += 1
            data = bytearray(b"hello")
            task = loop.create_task(loop.sock_sendto(b, data, target))
            await settle()
            assert not task.done()
            data += b"!"  # it is looked at anew each time
            seen = []
            while not seen or seen[-1] == b"x":
                seen.append(await loop.sock_recv(a, 10))
            return await task, seen[-1], len(seen) - 1 == count

    assert same(program) == (6, b"hello!", True)


BAD_ADDRESSES = [
    None,
    5,
    "127.0.0.1",
    (),
    ("127.0.0.1",),
    ("127.0.0.1", -1),
    ("127.0.0.1", 65536),
    ("127.0.0.1", 1 << 70),
    ("127.0.0.1", 1.5),
    ("127.0.0.1", "x"),
    ("127.0.0.1", 1, 2),
    ("127.0.0.1", 1, 2, 3, 4),
    ("127.0.0.1\0", 1),
    (b"127.0.0.1", 1),
    (None, 1),
    (1, 1),
    ("::1", 1),
]


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=repr)
def test_sendto_of_a_bad_address(same, address):
    async def program(loop):
        with udp_pair() as (_, b):
            return await attempt(loop.sock_sendto(b, b"x", address))

    same(program)


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=repr)
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_connect_to_a_bad_address(same, family, address):
    if address == (None, 1):
        pytest.skip("means this host, where something may listen")

    async def program(loop):
        with sockets(socket.socket(family)) as (client,):
            return await attempt(loop.sock_connect(client, address))

    same(program)


@pytest.mark.parametrize("kind", BAD_DATA)
def test_sendto_of_what_cannot_be_sent(same, kind):
    async def program(loop):
        with udp_pair() as (a, b):
            return await attempt(loop.sock_sendto(b, BAD_DATA[kind](), a.getsockname()))

    same(program)


# ---- arguments ----


@pytest.mark.parametrize("size", [-1, -(1 << 70), 1 << 62, 1 << 70, 1.5, "5", None, True, b"5"])
@pytest.mark.parametrize("method", ["sock_recv", "sock_recvfrom"])
def test_a_bad_size(same, method, size):
    async def program(loop):
        with datagram_pair() as (a, b):
            b.send(b"hello")
            return await attempt(getattr(loop, method)(a, size))

    same(program)


CALLS = {
    "sock_recv": (10,),
    "sock_recv_into": (bytearray(10),),
    "sock_recvfrom": (10,),
    "sock_recvfrom_into": (bytearray(10),),
    "sock_sendall": (b"x",),
    "sock_sendto": (b"x", ("127.0.0.1", 9)),
    "sock_connect": (("127.0.0.1", 9),),
    "sock_accept": (),
}
every_method = pytest.mark.parametrize("method", CALLS)


@every_method
def test_a_closed_socket(same, method):
    async def program(loop):
        sock = socket.socket()
        sock.setblocking(False)
        sock.close()
        return await attempt(getattr(loop, method)(sock, *CALLS[method]))

    assert same(program)[0] == "error"


@every_method
def test_a_socket_that_is_not_connected(same, method):
    async def program(loop):
        with sockets(socket.socket()) as (sock,):
            if method in ("sock_connect", "sock_sendto"):
                return None
            return await attempt(getattr(loop, method)(sock, *CALLS[method]))

    same(program)


@every_method
@pytest.mark.parametrize("what", [None, 5, "sock", object])
def test_what_is_no_socket(same, method, what):
    async def program(loop):
        return await attempt(getattr(loop, method)(what, *CALLS[method]))

    assert same(program)[0] == "error"


@every_method
def test_an_ssl_socket_is_refused(same, method):
    context = ssl.create_default_context()

    async def program(loop):
        with socket.socket() as plain:
            plain.setblocking(False)
            with context.wrap_socket(
                plain, server_hostname="x", do_handshake_on_connect=False
            ) as sock:
                return await attempt(getattr(loop, method)(sock, *CALLS[method]))

    assert same(program)[1:3] == (TypeError, ("Socket cannot be of type SSLSocket",))


@every_method
def test_debug_mode_refuses_a_socket_that_blocks(same, method):
    async def program(loop):
        with socket.socket() as sock:
            return await attempt(getattr(loop, method)(sock, *CALLS[method]))

    assert same(program, debug=True)[1:3] == (ValueError, ("the socket must be non-blocking",))


def test_a_socket_with_a_timeout_works_outside_debug_mode(same):
    async def program(loop):
        with stream_pair() as (a, b):
            a.settimeout(0.005)
            b.settimeout(5)
            results = [await attempt(loop.sock_recv(a, 10))]
            await loop.sock_sendall(b, b"hello")
            return [*results, await attempt(loop.sock_recv(a, 10))]

    assert same(program) == [("error", TimeoutError, ("timed out",), None), ("value", b"hello")]


def test_everything_works_in_debug_mode(same):
    async def program(loop):
        listener, client = tcp_listener(), socket.socket()
        with sockets(listener, client):
            (conn, _), _ = await asyncio.gather(
                loop.sock_accept(listener), loop.sock_connect(client, listener.getsockname())
            )
            with conn:
                await loop.sock_sendall(conn, b"hello")
                return await loop.sock_recv(client, 10)

    assert same(program, debug=True) == b"hello"


@pytest.mark.parametrize("turn_on_after", [0, 1])
def test_debug_mode_may_be_switched_on_in_between(same, turn_on_after):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            for _ in range(turn_on_after):
                await asyncio.sleep(0)
            loop.set_debug(True)
            await settle()
            b.send(b"hello")
            return await task

    assert same(program) == b"hello"


@every_method
@pytest.mark.parametrize("count", ["none", "one less", "one more", "unknown keyword"])
def test_arguments_that_do_not_bind(same_error, method, count):
    def action(loop):
        with socket.socket() as sock:
            args = {
                "none": (),
                "one less": (sock, *CALLS[method])[:-1],
                "one more": (sock, *CALLS[method], 0, 0),
                "unknown keyword": (sock, *CALLS[method]),
            }[count]
            kwargs = {"other": 1} if count == "unknown keyword" else {}
            return getattr(loop, method)(*args, **kwargs)

    assert same_error(action) is TypeError


def test_arguments_may_be_given_by_keyword(same):
    async def program(loop):
        with datagram_pair() as (a, b):
            buffer = bytearray(3)
            await loop.sock_sendall(sock=b, data=b"one")
            await loop.sock_sendall(b, data=b"two")
            await loop.sock_sendall(b, data=b"three")
            return [
                await loop.sock_recv(sock=a, n=10),
                await loop.sock_recv(a, n=10),
                await loop.sock_recvfrom_into(a, buf=buffer, nbytes=2),
                bytes(buffer),
            ]

    assert same(program) == [b"one", b"two", (2, None), b"th\0"]


def test_a_closed_loop_is_told_when_it_would_wait(same_error):
    def action(loop):
        with stream_pair() as (a, _):
            coro = loop.sock_recv(a, 10)
            loop.close()
            coro.send(None)

    assert same_error(action) is RuntimeError


def test_a_descriptor_of_a_transport_is_refused_when_it_would_wait(same):
    async def program(loop):
        with stream_pair() as (a, b):
            copy = socket.socket(fileno=os.dup(a.fileno()))
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=a)
            transport.pause_reading()
            raw = transport.get_extra_info("socket")._sock
            b.send(b"hello")
            results = []
            for call in (loop.sock_recv(raw, 10), loop.sock_recv(raw, 10)):
                try:
                    results.append(await call)
                except RuntimeError as exc:
                    results.append(re.sub("<.*>", "<>", str(exc)))
            fill(copy)
            try:
                await loop.sock_sendall(raw, b"x")
            except RuntimeError as exc:
                results.append(re.sub("<.*>", "<>", str(exc)))
            transport.abort()
            copy.close()
            await settle()
            return [re.sub(r"\d+", "N", str(r)) for r in results]

    assert same(program)[1:] == ["File descriptor N is used by transport <>"] * 2


# ---- coroutines ----


@every_method
def test_nothing_happens_before_it_is_awaited(same, method):
    async def program(loop):
        with datagram_pair() as (a, b):
            b.send(b"hello")
            coro = getattr(loop, method)(a, *CALLS[method])
            await settle()
            coro.close()
            return a.recv(10)

    assert same(program) == b"hello"


@every_method
def test_a_call_that_is_never_awaited_is_warned_of(same, method):
    async def program(loop):
        with stream_pair() as (a, _), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            getattr(loop, method)(a, *CALLS[method])
            gc.collect()
            return [(w.category, str(w.message)) for w in seen]

    name = f"coroutine 'BaseSelectorEventLoop.{method}' was never awaited"
    assert same(program) == [(RuntimeWarning, name)]


def test_the_warning_tells_the_origin_when_that_is_tracked(same):
    async def program(loop):
        depth = sys.get_coroutine_origin_tracking_depth()
        sys.set_coroutine_origin_tracking_depth(3)
        try:
            with stream_pair() as (a, _), warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                loop.sock_recv(a, 10)
                gc.collect()
                return ["test_sock_calls.py" in str(w.message) for w in seen]
        finally:
            sys.set_coroutine_origin_tracking_depth(depth)

    assert same(program) == [True]


def test_a_call_that_is_collected_in_a_cycle_is_warned_of(same):
    async def program(loop):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with stream_pair() as (a, _):
                cell = []
                cell.append(loop.sock_recv_into(a, cell))
                del cell
                gc.collect()
            return len(seen)

    assert same(program) == 1


@pytest.mark.parametrize("ended_by", ["close", "throw"])
def test_a_call_that_was_ended_by_hand_is_not_warned_of(same, ended_by):
    async def program(loop):
        with stream_pair() as (a, _), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            coro = loop.sock_recv(a, 10)
            if ended_by == "close":
                coro.close()
            else:
                with pytest.raises(KeyError):
                    coro.throw(KeyError())
            del coro
            gc.collect()
            return len(seen)

    assert same(program) == 0


@every_method
def test_it_is_a_coroutine_to_all_who_ask(loop, method):
    with stream_pair() as (a, _):
        coro = getattr(loop, method)(a, *CALLS[method])
        assert inspect.isawaitable(coro)
        assert isinstance(coro, collections.abc.Coroutine)
        assert asyncio.iscoroutine(coro)
        assert weakref.ref(coro)() is coro
        coro.close()


@every_method
def test_it_looks_like_stocks_coroutine(same, method):
    async def program(loop):
        with stream_pair() as (a, _):
            coro = getattr(loop, method)(a, *CALLS[method])
            names = coro.__name__, coro.__qualname__, re.sub("0x.*>", "", repr(coro))
            state = inspect.getcoroutinestate(coro)
            coro.close()
            return names, state, inspect.getcoroutinestate(coro), coro.cr_frame, coro.cr_origin

    assert same(program)[1:4] == ("CORO_CREATED", "CORO_CLOSED", None)


def test_a_task_that_waits_in_it_shows_where(same):
    async def program(loop):
        with stream_pair() as (a, _):
            coro = loop.sock_recv(a, 10)
            task = loop.create_task(coro)
            await settle()
            shown = (
                re.sub(r":\d+|Task-\d+", "", repr(task)),
                [f.f_code.co_name for f in task.get_stack()],
            )
            state = inspect.getcoroutinestate(coro)
            task.cancel()
            return re.sub(" wait_for.*| cb=.*", "", shown[0]), shown[1], state

    _, stack, state = same(program)
    assert (stack, state) == (["sock_recv"], "CORO_SUSPENDED")


def throws():
    """Return ways to call throw(), good and bad."""
    traceback = types.TracebackType(None, sys._getframe(), 0, 1)
    return [
        (KeyError("k"),),
        (KeyError,),
        (KeyError, "k"),
        (KeyError, KeyError("k"), traceback),
        (KeyError, None, None),
        (),
        (5,),
        ("text",),
        (KeyError("k"), "value"),
        (KeyError, "k", "no traceback"),
        (1, 2, 3, 4),
        (StopIteration(5),),
        (GeneratorExit(),),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("which", range(len(throws())))
def test_every_way_to_throw_into_it(same, started, which):
    async def program(loop):
        with stream_pair() as (a, _):
            coro = loop.sock_recv(a, 10)
            if started:
                coro.send(None)
            results = []
            for _ in range(2):
                try:
                    coro.throw(*throws()[which])
                except BaseException as exc:
                    results.append((type(exc), str(exc)))
            coro.close()
            await settle()
            loop.remove_reader(a)
            return results

    same(program)


def outcomes_of(*actions):
    results = []
    for action in actions:
        try:
            results.append(("value", type(action()).__name__))
        except BaseException as exc:
            results.append((type(exc), exc.args))
    return results


def test_every_misuse_of_send_and_close(same):
    async def program(loop):
        with stream_pair() as (a, b):
            coro = loop.sock_recv(a, 10)
            first = outcomes_of(lambda: coro.send(5), coro.close, lambda: coro.send(None))
            coro = loop.sock_recv(a, 10)
            coro.send(None)
            second = outcomes_of(
                lambda: coro.send(None), lambda: coro.send(None), coro.close, coro.close
            )
            loop.remove_reader(a)
            b.send(b"hello")
            coro = loop.sock_recv(a, 10)
            third = outcomes_of(lambda: coro.send(None), lambda: coro.send(None), coro.close)
            third += outcomes_of(lambda: coro.throw(KeyError()))
            return first, second, third

    same(program)


def test_a_call_cannot_be_awaited_twice(same):
    async def program(loop):
        with stream_pair() as (a, b):
            coro = loop.sock_recv(a, 10)

            async def wait():
                return await coro

            first = loop.create_task(wait())
            await settle()
            second = await attempt(wait())
            b.send(b"hello")
            return await first, second, await attempt(wait())

    result = same(program)
    assert result[0] == b"hello"
    assert result[1][1] is result[2][1] is RuntimeError


def test_every_tool_takes_it(same):
    async def program(loop):
        with stream_pair() as (a, b):

            def later():
                loop.call_later(0.002, b.send, b"x")
                return loop.sock_recv(a, 10)

            results = [
                await asyncio.create_task(later()),
                await asyncio.wait_for(later(), 5),
                await asyncio.gather(later()),
                await asyncio.shield(later()),
                await asyncio.ensure_future(later()),
                [await f for f in asyncio.as_completed([later()])],
            ]
            async with asyncio.TaskGroup() as group:
                task = group.create_task(later())
            return [*results, task.result()]

    assert same(program) == [b"x", b"x", [b"x"], b"x", b"x", [b"x"], b"x"]


def test_run_until_complete_takes_it(same_outcome):
    def action(loop):
        with stream_pair() as (a, b):
            b.send(b"hello")
            return loop.run_until_complete(loop.sock_recv(a, 10))

    assert same_outcome(action) == b"hello"


def test_a_task_of_pythons_own_takes_it(same):
    async def program(loop):
        with stream_pair() as (a, b):
            task = asyncio.tasks._PyTask(loop.sock_recv(a, 10), loop=loop)
            await settle()
            b.send(b"hello")
            return await task

    assert same(program) == b"hello"


def test_a_loop_cannot_await_the_calls_of_another(same, new_loop):
    other = new_loop()

    async def program(loop):
        with stream_pair() as (a, b):
            result = await attempt(other.sock_recv(a, 10))
            b.send(b"hello")
            return result[1], await attempt(other.sock_recv(a, 10))

    assert same(program) == (RuntimeError, ("value", b"hello"))


# ---- order ----


def test_a_call_that_need_not_wait_does_not_let_others_run(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            loop.call_soon(seen.append, "other")
            await loop.sock_sendall(b, b"hello")
            seen.append(await loop.sock_recv(a, 10))
            return list(seen)

    assert same(program) == [b"hello"]


@pytest.mark.ours("stock needs another turn for the task")
def test_a_task_goes_on_in_the_turn_in_which_its_bytes_were_found(loop, turns):
    async def receive(sock):
        seen.append(await loop.sock_recv(sock, 10))

    with stream_pair() as (a, b), stream_pair() as (c, d):
        seen = []
        task = loop.create_task(receive(a))
        loop.add_reader(c, lambda: (seen.append("next reader"), loop.stop()))
        turns(loop, 2)
        b.send(b"hello")
        d.send(b"x")
        loop.run_forever()
        assert set(seen) == {b"hello", "next reader"}
        assert task.done()
        loop.remove_reader(c)


def test_calls_on_many_sockets_finish_in_the_order_of_their_bytes(same):
    async def program(loop):
        with contextlib.ExitStack() as stack:
            pairs = [stack.enter_context(stream_pair()) for _ in range(5)]
            seen = []

            async def receive(i):
                seen.append((i, await loop.sock_recv(pairs[i][0], 10)))

            tasks = [loop.create_task(receive(i)) for i in range(5)]
            await settle()
            for i in (3, 1, 4, 0, 2):
                pairs[i][1].send(b"%d" % i)
                await settle()
            await asyncio.gather(*tasks)
            return seen

    assert [i for i, _ in same(program)] == [3, 1, 4, 0, 2]


# ---- cancellation ----


def waiting_calls(loop, a):
    """Return calls on a that wait: nothing to be had, no room."""
    fill(a)
    return {
        "sock_recv": lambda: loop.sock_recv(a, 10),
        "sock_recv_into": lambda: loop.sock_recv_into(a, bytearray(10)),
        "sock_recvfrom": lambda: loop.sock_recvfrom(a, 10),
        "sock_recvfrom_into": lambda: loop.sock_recvfrom_into(a, bytearray(10)),
        "sock_sendall": lambda: loop.sock_sendall(a, b"x"),
    }


waiting = pytest.mark.parametrize(
    "method", ["sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall"]
)


@waiting
def test_a_cancelled_call_watches_no_more(same, method):
    async def program(loop):
        with stream_pair() as (a, _):
            task = loop.create_task(waiting_calls(loop, a)[method]())
            await settle()
            watched = len(loop._selector.get_map())
            task.cancel("why")
            try:
                await task
            except asyncio.CancelledError as exc:
                args = exc.args
            left = len(loop._selector.get_map())
            return args, watched - left, loop.remove_reader(a), loop.remove_writer(a)

    assert same(program) == (("why",), 1, False, False)


def test_bytes_that_come_after_the_cancellation_are_for_the_next(same):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            task.cancel()
            b.send(b"hello")
            await asyncio.wait([task])
            return task.cancelled(), await loop.sock_recv(a, 10)

    assert same(program) == (True, b"hello")


@pytest.mark.parametrize("limit", [0, 0.002])
def test_wait_for_gives_up_and_the_bytes_stay(same, limit):
    async def program(loop):
        with stream_pair() as (a, b):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(a, 10), limit)
            b.send(b"hello")
            return await loop.sock_recv(a, 10)

    assert same(program) == b"hello"


@pytest.mark.ours("stock's selector is confused by a number that was opened anew")
def test_a_number_that_is_used_again_is_not_touched_by_the_cancellation(run):
    async def program(loop):
        with stream_pair() as (a, _):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            number = a.fileno()
            os.close(a.detach())
            with stream_pair_with(number) as (c, d):
                seen = []
                loop._add_reader(c, lambda: seen.append(c.recv(10)))
                task.cancel()
                await asyncio.wait([task])
                await settle()
                d.send(b"hello")
                await settle()
                assert task.cancelled()
                assert seen == [b"hello"]
                assert loop.remove_reader(c)

    run(program)


@pytest.mark.ours("stock's selector is confused by a number that was opened anew")
def test_a_number_that_is_used_again_for_the_next_call(run):
    async def program(loop):
        for _ in range(3):
            with stream_pair() as (a, b):
                number = a.fileno()
                loop.call_later(0.001, b.send, b"one")
                assert await loop.sock_recv(a, 10) == b"one"
                task = loop.create_task(loop.sock_recv(a, 10))
                await settle()
                os.close(a.detach())
            with stream_pair_with(number) as (c, d):
                loop.call_later(0.001, d.send, b"two")
                assert await loop.sock_recv(c, 10) == b"two"
                task.cancel()
                await asyncio.wait([task])
                loop.call_later(0.001, d.send, b"three")
                assert await loop.sock_recv(c, 10) == b"three"

    run(program)


def test_a_task_that_swallows_its_cancellation_can_go_on_receiving(same):
    async def program(loop):
        with stream_pair() as (a, b):

            async def stubborn():
                try:
                    return await loop.sock_recv(a, 10)
                except asyncio.CancelledError:
                    return b"again " + await loop.sock_recv(a, 10)

            task = loop.create_task(stubborn())
            await settle()
            task.cancel()
            await settle()
            b.send(b"hello")
            return await task

    assert same(program) == b"again hello"


def test_a_task_cancelled_before_its_first_step_does_nothing(same):
    async def program(loop):
        with stream_pair() as (a, b):
            b.send(b"hello")
            task = loop.create_task(loop.sock_recv(a, 10))
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled(), a.recv(10)

    assert same(program) == (True, b"hello")


def test_a_future_that_somebody_else_finishes(same):
    async def program(loop):
        with stream_pair() as (a, b):
            coro = loop.sock_recv(a, 10)
            fut = coro.send(None)
            fut.set_result("mine")
            try:
                coro.send(None)
            except StopIteration as exc:
                value = exc.value
            await settle()
            b.send(b"hello")
            return value, await loop.sock_recv(a, 10), loop.remove_reader(a)

    assert same(program) == ("mine", b"hello", False)


def test_a_future_that_is_done_lets_the_bytes_alone(same):
    async def program(loop):
        with stream_pair() as (a, b):
            coro = loop.sock_recv(a, 10)
            fut = coro.send(None)
            b.send(b"hello")
            fut.cancel()
            await settle()
            with pytest.raises(asyncio.CancelledError):
                coro.send(None)
            return a.recv(10)

    assert same(program) == b"hello"


def test_a_closed_call_takes_no_bytes(run):
    """Stock's goes on watching and takes the next bytes, which nobody gets."""

    async def program(loop):
        with stream_pair() as (a, b):
            coro = loop.sock_recv(a, 10)
            coro.send(None)
            coro.close()
            if isinstance(coro, types.CoroutineType):
                loop.remove_reader(a)
            b.send(b"hello")
            await settle()
            assert a.recv(10) == b"hello"

    run(program)


# ---- who watches ----


def test_a_second_receiver_takes_over(same):
    async def program(loop):
        with stream_pair() as (a, b):
            first = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            second = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            b.send(b"hello")
            await settle()
            states = first.done(), second.done() and second.result()
            first.cancel()
            await asyncio.wait([first])
            b.send(b"world")
            return states, first.cancelled(), await loop.sock_recv(a, 10)

    assert same(program) == ((False, b"hello"), True, b"world")


def test_the_first_receiver_does_not_stop_the_second_when_it_is_cancelled(same):
    async def program(loop):
        with stream_pair() as (a, b):
            first = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            second = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            first.cancel()
            await settle()
            b.send(b"hello")
            return await second

    assert same(program) == b"hello"


def test_a_reader_takes_over_from_a_receiver(same):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            seen = []
            loop.add_reader(a, lambda: seen.append(a.recv(10)))
            b.send(b"hello")
            await settle()
            task.cancel()
            await asyncio.wait([task])
            b.send(b"world")
            await settle()
            return seen, loop.remove_reader(a)

    assert same(program) == ([b"hello", b"world"], True)


def test_a_receiver_takes_over_from_a_reader(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            loop.add_reader(a, lambda: seen.append(a.recv(10)))
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            b.send(b"hello")
            result = await task
            b.send(b"world")
            await settle()
            return seen, result, loop.remove_reader(a), a.recv(10)

    assert same(program) == ([], b"hello", False, b"world")


def test_remove_reader_ends_the_waiting(same):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            removed = loop.remove_reader(a), loop.remove_reader(a)
            b.send(b"hello")
            await settle()
            done = task.done()
            task.cancel()
            return removed, done, a.recv(10)

    assert same(program) == ((True, False), False, b"hello")


def test_one_task_receives_while_another_sends(same):
    async def program(loop):
        with stream_pair() as (a, b):
            full = fill(a)
            receiver = loop.create_task(loop.sock_recv(a, 10))
            sender = loop.create_task(loop.sock_sendall(a, b"out"))
            await settle()
            states = [receiver.done(), sender.done()]
            b.send(b"in")
            results = [await receiver]
            await settle()
            states.append(sender.done())
            drain(b, full)
            results.append(await sender)
            return states, results, b.recv(10)

    assert same(program) == ([False, False, False], [b"in", None], b"out")


def test_a_descriptor_that_is_closed_while_somebody_waits(run, backend):
    """Only poll() tells of it; the others leave the call waiting, as stock's epoll does."""

    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            os.close(a.detach())
            b.close()
            await settle()
            assert task.done() == (backend == "poll")
            if task.done():
                assert task.exception().errno == errno.EBADF
            else:
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

    run(program)


def test_a_descriptor_that_is_closed_while_a_copy_of_it_is_open(same):
    """Its registration lives on, and the object has no descriptor any more."""

    async def program(loop):
        with stream_pair() as (a, b):
            copy = a.dup()
            with copy:
                task = loop.create_task(attempt(loop.sock_recv(a, 10)))
                await settle()
                os.close(a.detach())
                b.send(b"hello")
                await settle()
                task.cancel()
                await asyncio.wait([task])
                return copy.recv(10)

    assert same(program) == b"hello"


CLOSE_WAITS = "stock waits for ever, on a number that may be another's by then"


@pytest.mark.ours(CLOSE_WAITS)
def test_a_socket_that_is_closed_while_somebody_receives_is_closed_when_the_bytes_are_there(run):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            a.close()
            assert a.fileno() >= 0
            loop.call_later(0.001, b.send, b"hello")
            assert await task == b"hello"
            assert a.fileno() == -1

    run(program)


@pytest.mark.ours(CLOSE_WAITS)
def test_a_socket_that_is_closed_while_it_connects_is_closed_when_it_is_connected(run):
    async def program(loop):
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
            client.setblocking(False)
            loop.call_soon(client.close)
            await loop.sock_connect(client, server.getsockname())
            await settle()
            assert client.fileno() == -1

    run(program)


@pytest.mark.ours(CLOSE_WAITS)
def test_a_closed_socket_ends_with_the_cancellation_of_whoever_waits(run):
    async def program(loop):
        with stream_pair() as (a, b):
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            a.close()
            task.cancel()
            await asyncio.wait([task])
            assert a.fileno() == -1
            assert b.recv(10) == b""

    run(program)


@pytest.mark.ours(CLOSE_WAITS)
def test_a_closed_socket_ends_when_its_descriptor_is_taken_from_whoever_waits(run):
    async def program(loop):
        with stream_pair() as (a, b):
            first = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            second = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            a.close()
            assert a.fileno() >= 0
            assert loop.remove_reader(a)
            assert a.fileno() == -1
            assert b.recv(10) == b""
            for task in first, second:
                task.cancel()
            await asyncio.wait([first, second])

    run(program)


@pytest.mark.ours(CLOSE_WAITS)
def test_a_closed_socket_ends_with_the_loop_for_which_somebody_waits(new_loop):
    loop = new_loop()
    with stream_pair() as (a, b):
        coro = loop.sock_recv(a, 10)
        coro.send(None)
        a.close()
        assert a.fileno() >= 0
        loop.close()
        assert a.fileno() == -1
        assert b.recv(10) == b""
        coro.close()


def test_after_a_call_a_socket_has_no_user_too_many(same):
    async def program(loop):
        with stream_pair() as (a, b):
            before = a._io_refs
            for action in b.send, b.send, None:
                task = loop.create_task(loop.sock_recv(a, 10))
                await settle()
                if action is None:
                    task.cancel()
                else:
                    action(b"hello")
                await asyncio.wait([task])
            return before, a._io_refs

    assert same(program) == (0, 0)


def test_after_a_call_nobody_watches(same):
    async def program(loop):
        with stream_pair() as (a, b):
            loop.call_later(0.002, b.send, b"hello")
            before = len(loop._selector.get_map())
            await loop.sock_recv(a, 10)
            after = len(loop._selector.get_map())
            try:
                key = loop._selector.get_key(a.fileno()).events
            except KeyError:
                key = None
            return after - before, key, loop.remove_reader(a), loop.remove_writer(a)

    assert same(program) == (0, None, False, False)


def test_bytes_that_nobody_waits_for_do_not_keep_the_loop_busy(loop):
    async def program():
        with stream_pair() as (a, b):
            loop.call_later(0.002, b.send, b"one")
            assert await loop.sock_recv(a, 10) == b"one"
            b.send(b"two")
            await settle()
            before = time.process_time()
            await asyncio.sleep(0.2)
            spent = time.process_time() - before
            assert await loop.sock_recv(a, 10) == b"two"
            return spent

    assert loop.run_until_complete(program()) < 0.1


def test_a_reader_can_be_added_between_two_calls(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            for i in range(3):
                loop.call_later(0.001, b.send, b"call")
                seen.append(await loop.sock_recv(a, 10))
                loop.add_reader(a, lambda: seen.append(a.recv(10)))
                b.send(b"reader%d" % i)
                await settle()
                assert loop.remove_reader(a) is True
            return seen

    assert same(program) == [b"call", b"reader0", b"call", b"reader1", b"call", b"reader2"]


def test_a_transport_can_take_the_socket_between_two_calls(same):
    class Collect(asyncio.Protocol):
        def __init__(self):
            self.data = bytearray()

        def data_received(self, data):
            self.data += data

    async def program(loop):
        a, b = socket.socketpair()
        with sockets(a, b):
            loop.call_later(0.001, b.send, b"call")
            first = await loop.sock_recv(a, 10)
            transport, protocol = await loop.create_connection(Collect, sock=a)
            b.send(b"transport")
            await settle()
            transport.close()
            await settle()
            return first, bytes(protocol.data)

    assert same(program) == (b"call", b"transport")


def test_sockets_come_and_go_under_the_same_number(run):
    async def program(loop):
        numbers = set()
        for i in range(30):
            with stream_pair() as (a, b):
                numbers.add(a.fileno())
                for word in (b"first%d" % i, b"second%d" % i):
                    loop.call_soon(b.send, word)
                    assert await loop.sock_recv(a, 20) == word
                if i % 3 == 0:
                    b.send(b"left behind")
                elif i % 3 == 1:
                    socket.socket(fileno=a.detach()).close()
        assert len(numbers) < 10

    run(program)


# ---- one call after another on a socket whose watch may have stayed ----


async def receive_after_waiting(loop, a, b):
    loop.call_later(0.001, b.send, b"first")
    assert await loop.sock_recv(a, 10) == b"first"


def test_bytes_that_came_since_the_last_call_are_found(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            for i in range(5):
                await receive_after_waiting(loop, a, b)
                b.send(b"%d" % i)
                if i % 2:
                    await settle()
                seen.append(await loop.sock_recv(a, 10))
            return seen

    assert same(program) == [b"0", b"1", b"2", b"3", b"4"]


def test_different_calls_follow_each_other(same):
    async def program(loop):
        with stream_pair() as (a, b):
            seen = []
            buffer = bytearray(3)
            for i in range(3):
                loop.call_later(0.001, b.send, b"%d" % i)
                seen.append(await loop.sock_recv(a, 10))
                loop.call_later(0.001, b.send, b"into%d" % i)
                seen.append((await loop.sock_recv_into(a, buffer), bytes(buffer)))
                loop.call_later(0.001, b.send, b"from%d" % i)
                seen.append(await loop.sock_recvfrom(a, 100))
                seen.append(await loop.sock_recv(a, 0))
            return seen

    assert same(program)[:2] == [b"0", (3, b"int")]


@pytest.mark.parametrize("end", ["peer closes", "peer shuts down", "own shutdown"])
@pytest.mark.parametrize("when", ["before", "while"])
def test_an_end_of_stream_after_a_call_is_found(same, end, when):
    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            action, args = {
                "peer closes": (b.close, ()),
                "peer shuts down": (b.shutdown, (socket.SHUT_WR,)),
                "own shutdown": (a.shutdown, (socket.SHUT_RD,)),
            }[end]
            if when == "before":
                action(*args)
            else:
                loop.call_later(0.002, action, *args)
            return [await loop.sock_recv(a, 10) for _ in range(2)]

    assert same(program) == [b"", b""]


def test_a_new_object_for_the_same_descriptor_is_watched_anew(same):
    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            number = a.fileno()
            with socket.socket(fileno=a.detach()) as again:
                assert again.fileno() == number
                again.setblocking(False)
                await receive_after_waiting(loop, again, b)
                b.send(b"more")
                return await loop.sock_recv(again, 10), await attempt(loop.sock_recv(a, 10))

    assert same(program)[1][3] == errno.EBADF


def test_a_closed_socket_whose_copy_is_open_does_not_keep_the_loop_busy(run):
    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            number = a.fileno()
            with a.dup() as copy:
                a.close()
                with stream_pair_with(number) as (c, d):
                    b.send(b"for the copy")
                    await settle()
                    await receive_after_waiting(loop, c, d)
                    d.send(b"for c")
                    assert await loop.sock_recv(c, 10) == b"for c"
                    before = time.process_time()
                    await asyncio.sleep(0.2)
                    assert time.process_time() - before < 0.1
                assert copy.recv(100) == b"for the copy"

    run(program)


def test_two_objects_for_one_descriptor_take_turns(same):
    async def program(loop):
        with stream_pair() as (a, b):
            twin = socket.socket(fileno=a.fileno())
            try:
                twin.setblocking(False)
                for sock in (a, twin, a, twin, twin):
                    await receive_after_waiting(loop, sock, b)
                b.send(b"last")
                return await loop.sock_recv(a, 10)
            finally:
                twin.detach()

    assert same(program) == b"last"


def test_a_call_that_is_cancelled_after_others_watches_no_more(same):
    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            task = loop.create_task(loop.sock_recv(a, 10))
            await settle()
            assert len(loop._selector.get_map()) >= 1
            task.cancel()
            await asyncio.wait([task])
            b.send(b"late")
            await settle()
            return loop.remove_reader(a), await loop.sock_recv(a, 10)

    assert same(program) == (False, b"late")


def test_a_loop_may_be_left_for_another_between_two_calls(same, new_loop):
    other = new_loop()

    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            done = await loop.run_in_executor(
                None, lambda: other.run_until_complete(receive_after_waiting(other, a, b))
            )
            await receive_after_waiting(loop, a, b)
            return done

    same(program)


def test_a_transport_of_the_descriptor_is_noticed_between_two_calls(same):
    async def program(loop):
        with stream_pair() as (a, b):
            await receive_after_waiting(loop, a, b)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=a)
            transport.pause_reading()
            raw = transport.get_extra_info("socket")._sock
            result = await attempt(loop.sock_recv(raw, 10))
            transport.abort()
            await settle()
            return result[:2]

    assert same(program) == ("error", RuntimeError)


# ---- overrides ----


@pytest.mark.parametrize(
    "name", ["_add_reader", "create_future", "_ensure_fd_no_transport", "remove_reader"]
)
def test_a_subclass_that_overrides_what_stock_calls_is_heard(loop_class, make_loop, name):
    calls = []

    def override(self, *args):
        calls.append(name)
        return getattr(loop_class, name)(self, *args)

    loop = make_loop(type("Mine", (loop_class,), {name: override}))

    async def program():
        with stream_pair() as (a, b):
            loop.call_later(0.002, b.send, b"hello")
            return await loop.sock_recv(a, 10)

    assert loop.run_until_complete(program()) == b"hello"
    assert name in calls


@pytest.mark.ours("stock's instance takes any attribute, and so does ours: one loop is enough")
def test_an_attribute_of_the_instance_is_heard(loop):
    calls = []
    original = loop._add_reader

    def replaced(*args):
        calls.append(args)
        return original(*args)

    async def program():
        with stream_pair() as (a, b):
            loop.call_later(0.002, b.send, b"one")
            assert await loop.sock_recv(a, 10) == b"one"
            loop._add_reader = replaced
            loop.call_later(0.002, b.send, b"two")
            assert await loop.sock_recv(a, 10) == b"two"
            assert len(calls) == 1

    loop.run_until_complete(program())


def test_a_subclass_of_socket_that_overrides_recv_is_heard(same):
    class Shouting(socket.socket):
        def recv(self, *args):
            return super().recv(*args).upper()

    async def program(loop):
        with stream_pair() as (a, b), Shouting(fileno=os.dup(a.fileno())) as sock:
            sock.setblocking(False)
            loop.call_later(0.002, b.send, b"hello")
            first = await loop.sock_recv(sock, 10)
            b.send(b"again")
            return first, await loop.sock_recv(sock, 10)

    assert same(program) == (b"HELLO", b"AGAIN")


def test_a_socket_class_that_is_patched_is_heard(same, monkeypatch):
    async def program(loop):
        with stream_pair() as (a, b):
            b.send(b"one")
            results = [await loop.sock_recv(a, 10)]
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "recv", lambda self, n: b"patched", raising=False)
                results.append(await loop.sock_recv(a, 10))
            b.send(b"two")
            return [*results, await loop.sock_recv(a, 10)]

    assert same(program) == [b"one", b"patched", b"two"]


def test_an_object_that_only_looks_like_a_socket(same):
    class Fake:
        def __init__(self, sock):
            self.sock = sock

        def __getattr__(self, name):
            return getattr(self.sock, name)

    async def program(loop):
        with stream_pair() as (a, b):
            loop.call_later(0.002, b.send, b"hello")
            data = await loop.sock_recv(Fake(a), 10)
            await loop.sock_sendall(Fake(b), b"world")
            return data, a.recv(10)

    assert same(program) == (b"hello", b"world")


@pytest.mark.ours("stock's tasks are what stock has")
def test_it_works_with_tasks_of_stock(child):
    out = child.ok(
        """
        import socket
        async def main():
            loop = asyncio.get_running_loop()
            a, b = socket.socketpair()
            a.setblocking(False)
            b.setblocking(False)
            loop.call_later(0.002, b.send, b"hello")
            print(type(asyncio.current_task()).__module__, await loop.sock_recv(a, 10))
            a.close()
            b.close()
        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
        env={"CASYNCIO_TASKS": "stock"},
    )
    assert out == "_asyncio b'hello'\n"


def test_audit_hooks_hear_what_they_hear_from_stock(child):
    code = """
        import socket, sys
        events = []
        sys.addaudithook(lambda name, args: name.startswith("socket.") and events.append(name))
        async def main():
            loop = asyncio.get_running_loop()
            listener, client, udp = socket.socket(), socket.socket(), socket.socket(type=2)
            for sock in (listener, client, udp):
                sock.setblocking(False)
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            del events[:]
            await loop.sock_connect(client, listener.getsockname())
            conn, _ = await loop.sock_accept(listener)
            await loop.sock_sendall(conn, b"x")
            await loop.sock_recv(client, 10)
            await loop.sock_sendto(udp, b"x", ("127.0.0.1", 9))
            print(*events)
            for sock in (listener, client, udp, conn):
                sock.close()
        loop = LOOP()
        loop.run_until_complete(main())
        loop.close()
        """
    ours = child.ok(code.replace("LOOP", "new_loop"))
    assert ours == child.ok(code.replace("LOOP", "asyncio.SelectorEventLoop"))
    assert "socket.connect" in ours
    assert "socket.sendto" in ours


def test_an_interrupt_while_a_call_waits_leaves_the_loop(child):
    process = child.start(
        """
        import socket
        async def main():
            a, b = socket.socketpair()
            a.setblocking(False)
            print("ready", flush=True)
            await asyncio.get_running_loop().sock_recv(a, 10)
        loop = new_loop()
        try:
            loop.run_until_complete(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    child.interrupt_when_ready(process)
    assert "interrupted" in child.finish(process).out


# ---- memory ----


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after waiting"])
def test_a_finished_call_keeps_nothing_alive(run, waits):
    class Data(bytearray):
        pass

    async def program(loop):
        with stream_pair() as (a, b):
            buffer = Data(10)
            gone = weakref.ref(buffer)
            if waits:
                loop.call_later(0.002, b.send, b"hello")
            else:
                b.send(b"hello")
            coro = loop.sock_recv_into(a, buffer)
            assert await coro == 5
            before = sys.getrefcount(a)
            await settle()
            del buffer
            gc.collect()
            assert gone() is None
            assert sys.getrefcount(a) <= before

    run(program)


def test_a_socket_that_is_dropped_after_a_call_is_closed_at_once(run):
    async def program(loop):
        a, b = socket.socketpair()
        a.setblocking(False)
        with b:
            loop.call_later(0.002, b.send, b"hello")
            assert await loop.sock_recv(a, 10) == b"hello"
            gone = weakref.ref(a)
            number = a.fileno()
            await settle()
            with pytest.warns(ResourceWarning):
                del a
                if gone() is not None:  # the traceback machinery of a stock coroutine
                    gc.collect()
            assert gone() is None
            with pytest.raises(OSError):
                os.fstat(number)

    run(program)


@waiting
def test_a_loop_that_is_dropped_with_calls_that_wait_is_collected(loop_class, method):
    loop = loop_class()
    gone = weakref.ref(loop)
    with stream_pair() as (a, _):
        task = loop.create_task(waiting_calls(loop, a)[method]())
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.call_soon(loop.stop)
        loop.run_forever()
        task._log_destroy_pending = False
        loop.close()
        del task, loop
        gc.collect()
        assert gone() is None


def test_a_call_may_close_the_loop_of_others(loop, turns):
    """Destructors run while a call is given up."""

    class Evil(bytearray):
        def __del__(self):
            seen.append(loop.remove_reader(a))

    seen = []
    with stream_pair() as (a, _):
        task = loop.create_task(loop.sock_recv_into(a, Evil(10)))
        turns(loop, 2)
        task.cancel()
        turns(loop, 2)
        assert task.cancelled()
        del task
        gc.collect()
        assert seen == [False]


def test_signals_do_not_disturb_a_call_that_waits(same):
    async def program(loop):
        with stream_pair() as (a, b):
            old = signal.signal(signal.SIGALRM, lambda *args: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            try:
                loop.call_later(0.02, b.send, b"hello")
                return await loop.sock_recv(a, 10)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, old)

    assert same(program) == b"hello"


async def close_under_an_accept(loop, before):
    """Close a listener, after so many connections; return its address and who waits."""
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    address = server.getsockname()
    for _ in range(before):
        with socket.create_connection(address):
            conn, _ = await loop.sock_accept(server)
            conn.close()
    task = loop.create_task(loop.sock_accept(server))
    await settle()
    server.close()
    assert server.fileno() == -1
    return address, task


@pytest.mark.parametrize("before", [0, 1])
def test_a_listener_that_is_closed_while_somebody_accepts_gives_its_port_away(same, before):
    async def program(loop):
        address, task = await close_under_an_accept(loop, before)
        with socket.socket() as late:
            refused = late.connect_ex(address) == errno.ECONNREFUSED
        with socket.create_server(address):
            await settle()
        done = task.done()
        task.cancel()
        await asyncio.wait([task])
        return refused, done

    assert same(program) == (True, False)


@pytest.mark.ours("stock never polls a number again that was closed under it")
@pytest.mark.parametrize("before", [0, 1])
def test_after_a_listener_that_was_closed_the_next_one_accepts(run, before):
    async def program(loop):
        address, task = await close_under_an_accept(loop, before)
        with socket.create_server(address) as second, socket.socket() as client:
            second.setblocking(False)
            client.setblocking(False)
            other = loop.create_task(loop.sock_accept(second))
            await settle()
            await loop.sock_connect(client, address)
            conn, _ = await other
            conn.close()
        task.cancel()
        await asyncio.wait([task])

    run(program)


def test_a_datagram_socket_that_is_closed_while_somebody_receives_gives_its_port_away(same):
    async def program(loop):
        sock = socket.socket(type=socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        task = loop.create_task(loop.sock_recvfrom(sock, 10))
        await settle()
        address = sock.getsockname()
        sock.close()
        with socket.socket(type=socket.SOCK_DGRAM) as second:
            second.bind(address)
            second.setblocking(False)
            second.sendto(b"mine", address)
            found = await loop.sock_recvfrom(second, 10)
        done = task.done()
        task.cancel()
        await asyncio.wait([task])
        return sock.fileno(), found[0], done

    assert same(program) == (-1, b"mine", False)
