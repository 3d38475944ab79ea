"""How much resident memory does one pending task, timer or idle connection take?"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import subprocess
import sys
import threading

from .harness import nothing, workload

CLIENTS = """
import socket, sys
conns = []
for _ in range(int(sys.argv[2])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"x" * 64)
    conns.append(sock)
for sock in conns:
    sock.recv(64)
print("open", flush=True)
sys.stdin.read(1)
"""


def rss():
    """Return this process's resident memory in bytes."""
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


@workload(unit="B", start=10_000, quick=True)
async def mem_pending_task(loop, n):
    """A task that waits for a future."""
    gate = loop.create_future()

    async def wait():
        await gate

    before = rss()
    tasks = [loop.create_task(wait()) for _ in range(n)]
    await asyncio.sleep(0.01)
    grown = rss() - before
    gate.set_result(None)
    await asyncio.gather(*tasks)
    return grown / n


@workload(unit="B", start=100_000, quick=True)
async def mem_live_timer(loop, n):
    """A timer that waits."""
    before = rss()
    handles = [loop.call_later(1000 + i, nothing) for i in range(n)]
    await asyncio.sleep(0)
    grown = rss() - before
    for handle in handles:
        handle.cancel()
    return grown / n


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport):
        """Remember the transport."""
        self.transport = transport

    def data_received(self, data):
        """Answer with the same bytes."""
        self.transport.write(data)


async def echo_stream(reader, writer):
    """Send back what comes, as a streams handler."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


async def all_open(loop, child):
    """Wait until the client process says that every connection has had its echo."""
    opened = loop.create_future()

    def listen():
        line = child.stdout.readline()
        loop.call_soon_threadsafe(opened.set_result, line)

    threading.Thread(target=listen, daemon=True).start()
    if (await asyncio.wait_for(opened, 20)).strip() != b"open":
        raise RuntimeError("the clients failed")


async def idle_connections(loop, n, start):
    """Return the server's bytes per connection that has echoed one message and now idles."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        port = listener.getsockname()[1]
        server = await start(sock=listener, backlog=4096)
        before = rss()
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", CLIENTS, str(port), str(n)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            try:
                await all_open(loop, child)
                grown = rss() - before
            finally:
                child.kill()
        server.close()
        return grown / n


@workload(unit="B", start=10_000, shared=True, quick=True)
async def mem_idle_conn_protocol(loop, n):
    """An idle connection of a Protocol server."""
    return await idle_connections(loop, n, lambda **on: loop.create_server(Echo, **on))


@workload(unit="B", start=10_000, shared=True)
async def mem_idle_conn_streams(loop, n):
    """An idle connection of a streams server: a task and its buffers too."""
    return await idle_connections(loop, n, lambda **on: asyncio.start_server(echo_stream, **on))
