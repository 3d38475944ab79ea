"""What accepted connections receive, and when: a backend may receive ahead of being asked."""

import asyncio
import contextlib
import gc
import os
import socket
import struct
import threading

import pytest

PATIENCE_S = 30
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() resets


class Collector(asyncio.Protocol):
    """Keeps what comes, and tells a queue of it."""

    def __init__(self):
        self.data, self.events = b"", asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport
        self.events.put_nowait("made")

    def data_received(self, data):
        self.data += data
        self.events.put_nowait("data")

    def eof_received(self):
        self.events.put_nowait("eof")

    def connection_lost(self, exc):
        self.events.put_nowait(exc)

    async def until(self, wanted):
        """Wait for an event of that name, or of that type."""
        while True:
            event = await asyncio.wait_for(self.events.get(), PATIENCE_S)
            if event == wanted or (isinstance(wanted, type) and isinstance(event, wanted)):
                return

    async def until_received(self, count):
        while len(self.data) < count:
            await self.until("data")


@contextlib.asynccontextmanager
async def accepted(make=Collector):
    """Give the protocol of an accepted connection, and its peer, a blocking socket."""
    made = []

    def factory():
        made.append(make())
        return made[0]

    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0)
    peer = socket.create_connection(server.sockets[0].getsockname(), PATIENCE_S)
    try:
        while not made:
            await asyncio.sleep(0.001)
        await made[0].until("made")
        yield made[0], peer
    finally:
        peer.close()
        server.close()
        for protocol in made:
            protocol.transport.abort()
        await asyncio.sleep(0)


async def settle():
    """Give the loop a few looks."""
    for _ in range(5):
        await asyncio.sleep(0.002)


def test_everything_comes_once_and_in_order_whatever_its_size(loop):
    sizes = [1, 100, 20_000, 1, 300_000, *[7] * 40, 16_384, 16_384, 5, 65_536, *[3] * 40]

    async def main():
        async with accepted() as (protocol, peer):
            sent = b""
            for i, size in enumerate(sizes):
                message = bytes([i]) * size
                sender = threading.Thread(target=peer.sendall, args=(message,))
                sender.start()
                sent += message
                await protocol.until_received(len(sent))
                sender.join()
            assert protocol.data == sent

    loop.run_until_complete(main())


def test_what_came_before_a_pause_waits_for_the_end_of_it(loop):
    class Pauser(Collector):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def main():
        async with accepted(Pauser) as (protocol, peer):
            peer.sendall(b"first")
            await protocol.until_received(5)
            for _ in range(20):
                before = len(protocol.data)
                peer.sendall(b"x" * 1000)
                await settle()
                assert len(protocol.data) == before
                protocol.transport.resume_reading()
                await protocol.until_received(before + 1)
            protocol.data_received = lambda data: Collector.data_received(protocol, data)
            protocol.transport.resume_reading()
            await protocol.until_received(5 + 20_000)
            assert protocol.data == b"first" + b"x" * 20_000

    loop.run_until_complete(main())


def test_a_paused_connection_leaves_what_comes_to_a_duplicate_of_its_socket(loop):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"hello")
            await protocol.until_received(5)
            protocol.transport.pause_reading()
            with protocol.transport.get_extra_info("socket").dup() as taken:
                protocol.transport.abort()
                await protocol.until(type(None))
                peer.sendall(b"for another")
                taken.setblocking(True)
                taken.settimeout(PATIENCE_S)
                assert taken.recv(100) == b"for another"

    loop.run_until_complete(main())


def test_who_asks_for_the_socket_meanwhile_misses_nothing(loop):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"one ")
            await protocol.until_received(4)
            peer.sendall(b"two ")
            assert protocol.transport.get_extra_info("socket").fileno() >= 0
            peer.sendall(b"three")
            await protocol.until_received(13)
            assert protocol.data == b"one two three"
            peer.close()
            await protocol.until("eof")

    loop.run_until_complete(main())


def test_the_names_of_a_connection_are_those_of_its_socket(loop):
    async def main():
        async with accepted() as (protocol, peer):
            extra = protocol.transport.get_extra_info
            before = extra("sockname"), extra("peername")
            assert before == (peer.getpeername(), peer.getsockname())
            sock = extra("socket")
            assert (sock.getsockname(), sock.getpeername()) == before
            assert (extra("sockname"), extra("peername")) == before

    loop.run_until_complete(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_peer_sees_the_end_when_the_transport_has_closed(loop, how):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"x")
            await protocol.until_received(1)
            getattr(protocol.transport, how)()
            await protocol.until(type(None))
            assert peer.recv(1) == b""  # with the loop standing still

    loop.run_until_complete(main())


def test_the_peer_sees_the_end_when_the_socket_is_closed_unsaid(loop):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"x")
            await protocol.until_received(1)
            protocol.transport._sock.close()
            await settle()
            assert peer.recv(1) == b""

    loop.run_until_complete(main())


def test_a_reset_is_told_once(loop):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"x")
            await protocol.until_received(1)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            await protocol.until(ConnectionResetError)
            await settle()
            assert protocol.events.empty()

    loop.run_until_complete(main())


@pytest.mark.parametrize("family", ["AF_INET", "AF_UNIX"])
def test_who_is_closed_with_bytes_that_were_not_delivered_is_reset(loop, family, tmp_path):
    class Rival(Collector):
        """Whose data comes first closes the other."""

        def data_received(self, data):
            super().data_received(data)
            for other in protocols:
                if other is not self:
                    other.transport.abort()

    protocols, peers = [], []

    def make():
        protocols.append(Rival())
        return protocols[-1]

    async def main():
        if family == "AF_UNIX":
            server = await loop.create_unix_server(make, str(tmp_path / "socket"))
        else:
            server = await loop.create_server(make, "127.0.0.1", 0)
        for _ in range(2):
            peer = socket.socket(getattr(socket, family))
            peer.settimeout(PATIENCE_S)
            peer.connect(server.sockets[0].getsockname())
            peers.append(peer)
            while len(protocols) < len(peers):
                await asyncio.sleep(0.001)
        for protocol in protocols:
            await protocol.until("made")
        await settle()
        for peer in peers:
            peer.sendall(b"bytes")  # both are there when the loop looks
        while all(protocol.events.empty() for protocol in protocols):
            await asyncio.sleep(0.001)
        (loser,) = [i for i, protocol in enumerate(protocols) if protocol.data == b""]
        await protocols[loser].until(type(None))
        with pytest.raises(ConnectionResetError):
            peers[loser].recv(1)
        protocols[1 - loser].transport.abort()
        server.close()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    for peer in peers:
        peer.close()


def test_a_flood_does_not_keep_others_from_being_heard(loop):
    class Sink(Collector):
        def data_received(self, data):
            self.count = getattr(self, "count", 0) + len(data)

    def flood(peer, stop):
        with contextlib.suppress(OSError):
            while not stop.is_set():
                peer.sendall(b"y" * 50_000)

    async def main():
        stop = threading.Event()
        async with accepted(Sink) as (_, greedy), accepted() as (modest, peer):
            flooder = threading.Thread(target=flood, args=(greedy, stop))
            flooder.start()
            try:
                for i in range(20):
                    peer.sendall(b"z")
                    await modest.until_received(i + 1)
                assert modest.data == b"z" * 20
            finally:
                stop.set()
                greedy.shutdown(socket.SHUT_RDWR)
                flooder.join()

    loop.run_until_complete(main())


def test_a_loop_that_goes_on_in_another_thread_keeps_its_connections(loop):
    async def begin(stack):
        protocol, peer = await stack.enter_async_context(accepted())
        peer.sendall(b"one ")
        await protocol.until_received(4)
        return protocol, peer

    stack = contextlib.AsyncExitStack()
    protocol, peer = loop.run_until_complete(begin(stack))
    for i in range(3):
        peer.sendall(b"more")
        thread = threading.Thread(
            target=loop.run_until_complete, args=(protocol.until_received(8 + 4 * i),)
        )
        thread.start()
        thread.join()
    assert protocol.data == b"one moremoremore"
    loop.run_until_complete(stack.aclose())


def test_a_child_process_gets_none_of_what_is_for_its_parent(loop):
    async def main():
        async with accepted() as (protocol, peer):
            peer.sendall(b"one")
            await protocol.until_received(3)
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            peer.sendall(b"two")
            await protocol.until_received(6)
            assert protocol.data == b"onetwo"

    loop.run_until_complete(main())


def test_closing_the_loop_lets_go_of_connections_that_are_open(new_loop):
    loop = new_loop()

    async def main():
        protocol = Collector()
        server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname(), PATIENCE_S)
        peer.sendall(b"x")
        await protocol.until_received(1)
        server.close()
        return protocol, peer

    protocol, peer = loop.run_until_complete(main())
    loop.close()
    with peer:
        protocol.transport._sock.close()
        assert peer.recv(1) == b""
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        protocol.transport = None
        gc.collect()
