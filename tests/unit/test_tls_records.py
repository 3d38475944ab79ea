"""Records of all sizes and ciphers, cut anywhere: what was sent arrives, on both engines."""

import asyncio
import contextlib
import ctypes
import hashlib
import random
import socket
import ssl
import struct
import threading

import pytest
from tls_openssl import Library
from tls_peers import client_context, peer, server_context, shake_hands
from tls_protocols import Buffered, Recorder, pair, run
from tls_wire import messages

SUITES = {
    "TLS 1.3": (ssl.TLSVersion.TLSv1_3, None),
    "GCM": (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM"),
    "ChaCha20": (ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20"),
    "CBC": (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256"),
}


def suited(context, suite):
    version, ciphers = SUITES[suite]
    context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    return context


class Keeps(Recorder):
    """Keeps the objects that it is given, and their hashes."""

    def __init__(self, loop):
        super().__init__(loop)
        self.kept = []

    def data_received(self, data):
        super().data_received(data)
        self.kept.append((data, hash(data)))


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_messages_of_every_size_arrive_whole(loop, engine, make, suite):
    sent = messages()

    async def main():
        client = suited(client_context(), suite)
        async with pair(loop, make, make, client=client) as (ours, theirs):
            for message in sent:  # each alone
                ours.transport.write(message)
                await theirs.until(lambda message=message: len(theirs.data) >= len(message))
                assert theirs.data == message
                theirs.data.clear()
            for message in sent:  # all together
                ours.transport.write(message)
            await theirs.until(lambda: len(theirs.data) == sum(map(len, sent)))
            assert theirs.data == b"".join(sent)

    run(loop, main())


def test_messages_that_are_kept_stay_as_they_are(loop, engine):
    async def main():
        async with pair(loop, Recorder, Keeps) as (ours, theirs):
            sent = [bytes([i]) * size for i in range(12) for size in (100, 480, 480, 1000, 16384)]
            for number, message in enumerate(sent):
                total = len(theirs.data) + len(message)
                ours.transport.write(message)
                await theirs.until(lambda total=total: len(theirs.data) == total)
                if number % 3 == 0:
                    theirs.kept.pop()  # let go of, and used again
            assert all(hash(bytes(bytearray(data))) == found for data, found in theirs.kept)
            assert theirs.data == b"".join(sent)
            kept = [message for number, message in enumerate(sent) if number % 3]
            assert [data for data, _ in theirs.kept] == kept

    run(loop, main())


def test_padded_records_arrive_without_the_padding(loop, engine):
    """What is expected by the look of a record is more than what is in it."""
    sent = messages(1)

    async def main():
        async with pair(loop) as (ours, theirs):
            library = Library(ours.transport.get_extra_info("ssl_object"))
            assert library.lib.SSL_set_block_padding(library.ssl, ctypes.c_size_t(512)) == 1
            for message in sent:
                ours.transport.write(message)
                await theirs.until(lambda message=message: len(theirs.data) >= len(message))
                assert theirs.data == message
                theirs.data.clear()

    run(loop, main())


@pytest.mark.parametrize("suite", ["TLS 1.3", "CBC"])
def test_records_that_are_cut_anywhere_arrive_whole(loop, engine, suite):
    sent = messages(2)

    def handle(sock):
        chance = random.Random(3)
        sslobj, _, outgoing = shake_hands(sock, server_context(), server_side=True)
        sock.sendall(outgoing.read())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for message in sent:
            sslobj.write(message)
        records = outgoing.read()
        while records:
            size = chance.choice([1, 4, 5, 6, 100, 16_405, 16_410, 20_000, 70_000])
            sock.sendall(records[:size])
            records = records[size:]

    async def read_all(reader):
        for message in sent:
            assert await reader.readexactly(len(message)) == message

    async def main(address):
        reader, writer = await asyncio.open_connection(
            *address, ssl=suited(client_context(), suite), server_hostname="localhost"
        )
        await read_all(reader)
        assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    with peer(handle) as address:
        run(loop, main(address))


@pytest.mark.parametrize("size", [10_240, 16_385])
def test_what_the_kernel_takes_in_part_arrives_whole_and_in_order(loop, engine, size):
    read, found = threading.Event(), hashlib.sha256()
    count = 2_000_000 // size

    def handle(sock):
        with server_context().wrap_socket(sock, server_side=True) as tls:
            assert read.wait(30)
            left = count * size
            while left:
                data = tls.recv(min(left, 100_000))
                assert data
                found.update(data)
                left -= len(data)
            tls.sendall(b"thanks")

    async def main(address):
        expected = hashlib.sha256()
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        lower = ours.transport.get_extra_info("socket")
        lower.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
        for i in range(count):
            message = struct.pack(">I", i) * (size // 4) + bytes(size % 4)
            expected.update(message)
            ours.transport.write(message)
            if i % 7 == 0:  # one callback after another, and several in one
                await asyncio.sleep(0)
        assert "pause" in ours.events
        read.set()
        await ours.until(lambda: ours.data == b"thanks")
        assert found.digest() == expected.digest()

    with peer(handle) as address:
        try:
            run(loop, main(address))
        finally:
            read.set()


def test_a_reset_that_a_write_meets_is_told_to_the_protocol(loop, engine):
    begun, reset = threading.Event(), threading.Event()

    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        assert begun.wait(30)
        raw = socket.socket(fileno=tls.detach())
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()
        reset.set()

    async def main(address):
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        begun.set()
        assert reset.wait(30)  # nobody has received it
        ours.transport.write(b"x" * 1000)
        assert isinstance(await ours.lost, ConnectionResetError)

    with peer(handle) as address:
        try:
            run(loop, main(address))
        finally:
            begun.set()
