"""TLS against users' own classes, broken records, and bytes that come at odd moments."""

import asyncio
import socket
import ssl
import types

import pytest
from tls_peers import client_context, server_context
from tls_protocols import Buffered, Recorder, pair, run

# ---- SSLObjects of somebody's own ----


def test_what_an_ssl_object_was_given_to_write_stays_as_it_was(loop, engine):
    written = []

    class Keeps(ssl.SSLObject):
        def write(self, data):
            written.append(data)
            return super().write(data)

    async def main():
        async with pair(loop, client=client_context(sslobject_class=Keeps)) as (ours, theirs):
            for i in range(3):
                ours.transport.writelines([b"secret%d" % i] * 2)
                await theirs.until(lambda i=i: len(theirs.data) == 14 * (i + 1))

    run(loop, main())
    assert (
        b"".join(bytes(data) for data in written) == b"secret0secret0secret1secret1secret2secret2"
    )


@pytest.mark.parametrize("make", [Recorder, Buffered])
def test_what_an_ssl_object_has_read_stays_as_it_was(loop, engine, make):
    kept = []

    class Keeps(ssl.SSLObject):
        def read(self, len=1024, buffer=None):
            done = super().read(len, buffer)
            kept.append(done if buffer is None else memoryview(buffer)[:done])
            return done

    async def main():
        context = client_context(sslobject_class=Keeps)
        async with pair(loop, make, client=context) as (ours, theirs):
            for i in range(3):
                theirs.transport.write(b"answer%d" % i)
                await ours.until(lambda i=i: len(ours.data) == 7 * (i + 1))

    run(loop, main())
    assert b"".join(bytes(data) for data in kept) == b"answer0answer1answer2"


def test_an_ssl_object_needs_to_read_no_more_than_a_number_of_bytes(loop, engine):
    class Short(ssl.SSLObject):
        def read(self, n):
            return super().read(n)

    async def main():
        async with pair(loop, client=client_context(sslobject_class=Short)) as (ours, theirs):
            theirs.transport.write(b"x" * 100_000)
            await ours.until(lambda: len(ours.data) == 100_000)

    run(loop, main())


# ---- bytes that come at odd moments ----


@pytest.mark.ours("stock loses what a StreamReader has received")
def test_bytes_kept_at_the_handshake_do_not_come_back(loop, engine):
    # Finished and data in one segment, more than the small buffer takes at a time: after what
    # start_tls() took over is used up, what comes next is read where it lies.
    data = bytes(range(256)) * 600
    rest = loop.create_future()

    class Takes(Buffered):
        def __init__(self, loop, received):
            super().__init__(loop)
            self._stream_reader = types.SimpleNamespace(_buffer=bytearray(received))

    class Plain(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.pause_reading()
            rest.set_result((self.transport, data))

    def client(port):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        sslobj = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            while True:
                try:
                    sslobj.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    sock.sendall(outgoing.read())
                    incoming.write(sock.recv(65536))
            sslobj.write(data)
            sock.sendall(outgoing.read())
            while sock.recv(65536):
                pass

    async def main():
        listener = await loop.create_server(Plain, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        thread = asyncio.create_task(asyncio.to_thread(client, port))
        plain, received = await rest
        protocol = Takes(loop, received)
        protocol.transport = await loop.start_tls(
            plain, protocol, server_context(), server_side=True
        )
        await protocol.until(lambda: len(protocol.data) == len(data) or protocol.lost.done())
        assert protocol.data == data
        protocol.transport.abort()
        await protocol.lost
        await asyncio.gather(thread, return_exceptions=True)
        listener.close()
        await listener.wait_closed()

    run(loop, main())
