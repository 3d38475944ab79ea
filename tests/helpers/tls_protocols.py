"""Protocols that record what they are told, and two of them connected by TLS."""

import asyncio
import contextlib

from tls_peers import client_context, server_context


class Recorder(asyncio.Protocol):
    """Keeps what it is told; ``lost`` is a future of connection_lost()'s argument."""

    def __init__(self, loop):
        self.loop = loop
        self.events = []
        self.data = bytearray()
        self.made = loop.create_future()
        self.lost = loop.create_future()
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        self.events.append("made")
        if not self.made.done():
            self.made.set_result(None)

    def data_received(self, data):
        assert type(data) is bytes and data
        self.data += data
        self.events.append("data")
        self.changed.set()

    def eof_received(self):
        self.events.append("eof")
        self.changed.set()

    def connection_lost(self, exc):
        self.events.append("lost")
        self.lost.set_result(exc)
        self.changed.set()

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")
        self.changed.set()

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()


class Buffered(Recorder, asyncio.BufferedProtocol):
    """The same with a buffer of its own, a small one."""

    size = 1000

    def get_buffer(self, sizehint):
        self.buffer = bytearray(self.size)
        return memoryview(self.buffer)

    def buffer_updated(self, nbytes):
        self.data_received(bytes(self.buffer[:nbytes]))


@contextlib.asynccontextmanager
async def pair(loop, make=Recorder, server_make=Recorder, *, server=None, client=None, **options):
    """Two protocols that are connected by TLS over TCP: client's, server's."""
    accepted = loop.create_future()

    def factory():
        protocol = server_make(loop)
        accepted.set_result(protocol)
        return protocol

    listener = await loop.create_server(factory, "127.0.0.1", 0, ssl=server or server_context())
    try:
        ours = make(loop)
        await loop.create_connection(
            lambda: ours,
            *listener.sockets[0].getsockname(),
            ssl=client or client_context(),
            server_hostname="localhost",
            **options,
        )
        theirs = await accepted
        await theirs.made
        try:
            yield ours, theirs
        finally:
            for protocol in ours, theirs:
                protocol.transport.abort()
                await protocol.lost
    finally:
        listener.close()
        await listener.wait_closed()


def run(loop, coroutine, timeout=50):
    return loop.run_until_complete(asyncio.wait_for(coroutine, timeout))
