"""Handshakes that never end: they cost what they send, end in time and leave nothing."""

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
import threading

import pytest
from tls_openssl import Library
from tls_peers import client_context, server_context
from tls_protocols import Recorder, pair, run

HANDSHAKE, ALERT, CHANGE_CIPHER = 22, 21, 20


def record(kind, body):
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def hello():
    """Return the first flight of a client."""
    outgoing = ssl.MemoryBIO()
    sslobj = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        sslobj.do_handshake()
    return outgoing.read()


def in_records_of_one_byte(message):
    return b"".join(record(HANDSHAKE, message[i : i + 1]) for i in range(len(message)))


# What a client says and goes on saying, for ever.
ENDLESS = {
    "nothing": lambda: (b"", b""),
    "half a hello": lambda: (hello()[:100], b""),
    "a hello": lambda: (hello(), b""),
    "a hello, then changes of the cipher": lambda: (hello(), record(CHANGE_CIPHER, b"\1")),
    "warnings": lambda: (b"", record(ALERT, b"\1\x5a")),
    "a hello, then warnings": lambda: (hello(), record(ALERT, b"\1\x5a")),
    "empty records": lambda: (b"", record(HANDSHAKE, b"")),
    "a hello without end": lambda: (record(HANDSHAKE, b"\1\xff\xff\xff"), record(HANDSHAKE, b"x")),
    "a hello of many records": lambda: (
        record(HANDSHAKE, b"\1\1\xff\xff"),
        in_records_of_one_byte(b"x" * 100),
    ),
    "hello after hello": lambda: (hello(), hello()),
}


def connections(loop):
    return [
        op
        for op in gc.get_objects()
        if isinstance(op, asyncio.sslproto.SSLProtocol) and op._loop is loop
    ]


@contextlib.contextmanager
def counted(loop, monkeypatch):
    """Count how often a handshake is taken up again."""
    from asyncio import sslproto

    counts = []
    original = sslproto.SSLProtocol._do_handshake

    def take_up(self):
        counts.append(self)
        return original(self)

    monkeypatch.setattr(sslproto.SSLProtocol, "_do_handshake", take_up)
    yield counts
    counts.clear()


@pytest.mark.parametrize("words", ENDLESS)
def test_a_handshake_without_end_is_cut_off_in_time_and_costs_what_it_sends(
    loop, engine, words, monkeypatch
):
    first, again = ENDLESS[words]()
    sent, over = [], threading.Event()

    def flood(address):
        with contextlib.suppress(OSError), socket.create_connection(address) as sock:
            sock.settimeout(30)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(first)
            sent.append(1)
            while again and len(sent) < 2000:
                sock.sendall(again)
                sent.append(1)
            while sock.recv(65536):
                pass
        over.set()

    async def main():
        served = []
        listener = await loop.create_server(
            lambda: served.append(Recorder(loop)) or served[-1],
            "127.0.0.1",
            0,
            ssl=server_context(),
            ssl_handshake_timeout=0.5,
        )
        thread = threading.Thread(target=flood, args=(listener.sockets[0].getsockname(),))
        thread.start()
        try:
            assert await loop.run_in_executor(None, over.wait, 40), "it was not cut off"
        finally:
            listener.close()
            thread.join(30)
        assert [protocol.events for protocol in served] == [[]]

    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    with counted(loop, monkeypatch) as takes:
        run(loop, main())
        # One for the beginning, and at most two for each piece, which may have come in parts.
        assert 1 <= len(takes) <= 2 * len(sent) + 3
    assert reports == []


@pytest.mark.parametrize("how", ["close", "reset", "shut"])
def test_handshakes_that_are_begun_and_dropped_leave_nothing_and_others_are_served(
    loop, engine, how, reports
):
    greeting = hello()

    async def drop(address, number):
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
            if how == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(ConnectionError):
                await loop.sock_sendall(sock, greeting[: len(greeting) * (number % 4) // 3])
                if number % 4 == 3:
                    await loop.sock_recv(sock, 65536)  # the server's answer
                if how == "shut":
                    sock.shutdown(socket.SHUT_WR)
                    while await loop.sock_recv(sock, 65536):
                        pass

    async def ask(address):
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_context(), server_hostname="localhost"
        )
        writer.write(b"hello\n")
        assert await reader.readline() == b"HELLO\n"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_context())
        address = server.sockets[0].getsockname()
        for _ in range(3):
            await asyncio.gather(*(drop(address, number) for number in range(20)), ask(address))
        server.close()
        for _ in range(100):
            gc.collect()
            if not connections(loop):
                return
            await asyncio.sleep(0.01)
        pytest.fail("connections are left")

    gc.collect()
    run(loop, main())
    assert reports == []


def test_a_flood_of_key_updates_ends_or_is_answered_within_bounds(loop, engine):
    """Each asks for an answer, and is an occasion to compute."""

    async def main():
        async with pair(loop) as (ours, theirs):
            library = Library(ours.transport.get_extra_info("ssl_object"))
            ours.transport.write(b"1")
            await theirs.until(lambda: theirs.data == b"1")
            for _ in range(100):
                if ours.transport.is_closing() or ours.lost.done() or theirs.lost.done():
                    break
                library.update_key()
                ours.transport.write(b"2")
                await asyncio.sleep(0)
            else:
                await theirs.until(lambda: len(theirs.data) == 101)
            assert theirs.lost.done() or theirs.transport.get_write_buffer_size() < 10_000

    run(loop, main())
