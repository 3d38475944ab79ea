"""A peer that sends rubbish: the connection ends, the loop does not, and no byte is invented."""

import asyncio
import contextlib
import os
import random
import ssl
import struct

import pytest
from tls_peers import client_context, server_context

ROUNDS = int(os.environ.get("CASYNCIO_TLS_FUZZ", "9"))


def cut(chance, records):
    return records[: chance.randrange(len(records) + 1)]


def flip(chance, records):
    changed = bytearray(records)
    for _ in range(chance.randrange(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def swap(chance, records):
    parts = []
    while len(records) >= 5:
        size = 5 + struct.unpack(">H", records[3:5])[0]
        parts.append(records[:size])
        records = records[size:]
    chance.shuffle(parts)
    return b"".join(parts)


def empty(chance, records):
    return bytes([chance.choice([20, 21, 22, 23]), 3, 3, 0, 0]) * chance.randrange(1, 40) + records


def noise(chance, records):
    return chance.randbytes(chance.choice([1, 5, 100, 20_000]))


def whole(chance, records):
    return records


class Client:
    """A TLS client by memory BIOs, whose every flight can be spoilt."""

    def __init__(self, loop, reader, writer, spoil, phase, chance):
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context().wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )
        self.spoil, self.phase, self.chance, self.flights = spoil, phase, chance, 0

    async def send(self):
        records = self.outgoing.read()
        if records:
            if self.flights == self.phase:
                records = self.spoil(self.chance, records)
            self.flights += 1
            for start in range(0, len(records), 7000):
                self.writer.write(records[start : start + 7000])
                await self.writer.drain()

    async def receive(self):
        """Return what the server says, nothing when it closes or waits for what was spoilt."""
        patience = 0.2 if self.flights > self.phase and self.spoil is not whole else 30
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            return await asyncio.wait_for(self.reader.read(65536), patience)
        return b""

    async def shake_hands(self):
        while True:
            try:
                self.tls.do_handshake()
                return True
            except ssl.SSLWantReadError:
                await self.send()
                if not (data := await self.receive()):
                    return False
                self.incoming.write(data)

    async def run(self, payload):
        if await self.shake_hands():
            await self.send()
            for piece in payload:
                self.tls.write(piece)
            await self.send()
        self.writer.write_eof()
        while await self.reader.read(65536):
            pass


@pytest.mark.parametrize("spoil", [cut, flip, swap, empty, noise, whole])
def test_a_spoilt_flight_ends_the_connection_and_nothing_else(loop, engine, spoil):
    reports, received, ended = [], [], []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    payload = [bytes([i]) * 3000 for i in range(5)]

    class Server(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport, self.data = transport, b""
            received.append(self)

        def data_received(self, data):
            self.data += data
            self.transport.write(data[:100])

        def connection_lost(self, exc):
            ended.append(exc)

    async def main():
        server = await loop.create_server(
            Server, "127.0.0.1", 0, ssl=server_context(), ssl_handshake_timeout=5
        )
        for number in range(ROUNDS):
            chance = random.Random(number)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            client = Client(loop, reader, writer, spoil, number % 3, chance)
            with contextlib.suppress(OSError):
                await asyncio.wait_for(client.run(payload), 30)
            writer.transport.abort()
            assert number % 3 < 2 or client.flights == 3
            while len(ended) < len(received):
                await asyncio.sleep(0.001)
        server.close()

    try:
        loop.run_until_complete(asyncio.wait_for(main(), 55))
    except TimeoutError:
        pytest.fail("a connection does not end")
    assert reports == []
    assert len(received) >= ROUNDS // 3  # the handshakes of those with spoilt data, at the least
    assert all(b"".join(payload).startswith(server.data) for server in received)
    if spoil in (flip, swap):  # nobody may go on as if a record that is not genuine had not come
        assert any(isinstance(exc, ssl.SSLError) for exc in ended), ended
    if spoil is whole:
        assert [server.data for server in received] == [b"".join(payload)] * ROUNDS
