"""The Python servers and clients that the network benchmarks measure, each in a fresh process.

    python -P cell.py serve MODULE:FACTORY KIND PLACE SIZE
    python -P cell.py client MODULE:FACTORY KIND PLACE SIZE CONNECTIONS SECONDS

A server prints ``READY PORT`` and then serves until it is killed; a client prints one JSON line.
A place is ``tcp:PORT``, ``unix:PATH`` or ``udp:PORT``; servers take port 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import signal
import socket
import time

from . import harness

CHUNK = 256 * 1024
BACKLOG = int(os.environ.get("BENCH_BACKLOG", "4096"))
HELLO = b"Hello, world!"
WARM_MALLOC_BYTES = 16 << 20
PR_SET_PDEATHSIG = 1


# ---- servers ---------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class CarefulEcho(Echo):
    """The same, but read nothing while the peer does not take what was sent."""

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class BufferedEcho(asyncio.BufferedProtocol):
    """Send back what comes into a buffer of our own."""

    def connection_made(self, transport):
        self.transport = transport
        self.buffer = bytearray(CHUNK)
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        # The buffer is used for the next read, so what is written must be a copy.
        self.transport.write(bytes(self.view[:nbytes]))


class DatagramEcho(asyncio.DatagramProtocol):
    """Send each datagram back to where it came from."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def end(writer):
    """Close, and take the exception that the connection may have ended with."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def echo_read(reader, writer):
    """Send back what comes, with streams."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    await end(writer)


def echo_exactly(size):
    """Return a streams handler that reads messages of one size."""

    async def handle(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                writer.write(await reader.readexactly(size))
                await writer.drain()
        await end(writer)

    return handle


async def echo_sock(loop, listener):
    """Send back what comes, with the loop's socket methods."""

    async def talk(conn):
        with conn, contextlib.suppress(ConnectionError):
            while data := await loop.sock_recv(conn, CHUNK):
                await loop.sock_sendall(conn, data)

    tasks = set()
    while True:
        conn, _ = await loop.sock_accept(listener)
        if conn.family == socket.AF_INET:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = loop.create_task(talk(conn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def echo_sock_datagrams(loop, sock):
    """Send back datagrams with the loop's socket methods."""
    while True:
        data, addr = await loop.sock_recvfrom(sock, 65536)
        await loop.sock_sendto(sock, data, addr)


async def serve_aiohttp(sock):
    """Answer every GET / with aiohttp.web."""
    from aiohttp import web

    async def hello(request):
        return web.Response(body=HELLO)

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, sock, backlog=BACKLOG).start()
    return runner


async def hello_asgi(scope, receive, send):
    """Answer every request, as an ASGI application."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": HELLO})


async def serve_uvicorn(loop, sock, parser):
    """Answer every request with uvicorn."""
    import uvicorn

    config = uvicorn.Config(
        hello_asgi, http=parser, log_level="error", access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    task = loop.create_task(server.serve(sockets=[sock]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    return task


def server_socket(place):
    """Return a bound socket, listening where that makes sense."""
    scheme, _, where = place.partition(":")
    if scheme == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(where)
        sock.listen(BACKLOG)
    elif scheme == "udp":
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", int(where)))
    else:
        # Stock sets TCP_NODELAY only on sockets that say which protocol they have.
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", int(where)))
        sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


async def start_server(loop, kind, sock, size):
    """Start to serve; return what has to be kept."""
    protocols = {"protocol": Echo, "careful": CarefulEcho, "buffered": BufferedEcho}
    handlers = {"streams": echo_read, "readexactly": echo_exactly(size)}
    unix = sock.family == socket.AF_UNIX
    if sock.type == socket.SOCK_DGRAM:
        if kind == "sock":
            return loop.create_task(echo_sock_datagrams(loop, sock))
        return await loop.create_datagram_endpoint(DatagramEcho, sock=sock)
    if kind in protocols:
        start = loop.create_unix_server if unix else loop.create_server
        return await start(protocols[kind], sock=sock, backlog=BACKLOG)
    if kind in handlers:
        start = asyncio.start_unix_server if unix else asyncio.start_server
        return await start(handlers[kind], sock=sock, backlog=BACKLOG)
    if kind == "aiohttp":
        return await serve_aiohttp(sock)
    if kind in ("h11", "httptools"):
        return await serve_uvicorn(loop, sock, kind)
    return loop.create_task(echo_sock(loop, sock))


async def serve_forever(kind, place, size, start):
    """Serve until this process is killed."""
    loop = asyncio.get_running_loop()
    sock = server_socket(place)
    port = sock.getsockname()[1] if sock.family == socket.AF_INET else 0
    kept = await start(loop, kind, sock, size)
    print(f"READY {port}", flush=True)
    if isinstance(kept, asyncio.Future):
        await kept
    await loop.create_future()


def warm_malloc():
    """Free one big block: glibc then takes smaller ones from its heap, as in older processes."""
    if os.environ.get("BENCH_WARM_MALLOC"):
        bytearray(WARM_MALLOC_BYTES)


def tidy(*_):
    """Collect garbage and give free memory back, so that what is resident is what is kept."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not in every C library
        ctypes.CDLL(None).malloc_trim(0)


def serve(loop_spec, kind, place, size, start=start_server):
    """Be a server, as the driver asks; it tidies up on SIGUSR1 and ends with the driver."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    warm_malloc()
    signal.signal(signal.SIGUSR1, tidy)
    with asyncio.Runner(loop_factory=harness.loop_factory(loop_spec)) as runner:
        runner.run(serve_forever(kind, place, int(size), start))


# ---- clients ---------------------------------------------------------------------------------


class Pinger(asyncio.Protocol):
    """Send a message, wait for the whole echo, again."""

    def __init__(self, message, step):
        self.message, self.step, self.got = message, step, 0

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.message)

    def data_received(self, data):
        self.got += len(data)
        if self.got == len(self.message):
            self.got = 0
            self.step()
            self.transport.write(self.message)


async def ping_protocol(loop, address, message, step):
    """Ping with a Protocol."""
    await loop.create_connection(lambda: Pinger(message, step), *address)
    await loop.create_future()


async def ping_streams(loop, address, message, step):
    """Ping with streams."""
    reader, writer = await asyncio.open_connection(*address)
    while True:
        writer.write(message)
        await reader.readexactly(len(message))
        step()


async def ping_sock(loop, address, message, step):
    """Ping with the loop's socket methods."""
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            await loop.sock_sendall(sock, message)
            got = 0
            while got < len(message):
                got += len(await loop.sock_recv(sock, CHUNK))
            step()


async def get_aiohttp(session, address, step):
    """GET / again and again with aiohttp's client."""
    url = f"http://{address[0]}:{address[1]}/"
    while True:
        async with session.get(url) as response:
            if await response.read() != HELLO:
                raise RuntimeError("a wrong answer")
        step()


PINGS = {"protocol": ping_protocol, "streams": ping_streams, "sock": ping_sock}


@contextlib.asynccontextmanager
async def pinging(loop, kind, address, size, conns, step):
    """Ping with many connections while the block runs; gives the tasks."""
    message = os.urandom(size)
    async with contextlib.AsyncExitStack() as stack:
        if kind == "aiohttp":
            import aiohttp

            connector = aiohttp.TCPConnector(limit=conns)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            work = [get_aiohttp(session, address, step) for _ in range(conns)]
        else:
            work = [PINGS[kind](loop, address, message, step) for _ in range(conns)]
        yield [loop.create_task(one) for one in work]


async def count_pings(kind, place, size, conns, seconds):
    """Return what the client achieved in some seconds, after a fourth of them to warm up."""
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", int(place.partition(":")[2]))
    count = 0

    def step():
        nonlocal count
        count += 1

    async with pinging(loop, kind, address, size, conns, step) as tasks:
        await asyncio.wait(tasks, timeout=seconds / 4)
        began, first, before = time.perf_counter(), count, resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
        for task in tasks:
            if task.done():
                task.result()
        user = after.ru_utime - before.ru_utime
        cpu = user + after.ru_stime - before.ru_stime
        harness.emit(
            {
                "value": (count - first) / took,
                "done": count - first,
                "seconds": took,
                "cpu_ns": cpu * 1e9,
                "user_ticks": user,
                "ticks": cpu,
            }
        )


def client(loop_spec, kind, place, size, conns, seconds):
    """Be a client, as the driver asks, and print the result."""
    warm_malloc()
    with asyncio.Runner(loop_factory=harness.loop_factory(loop_spec)) as runner:
        runner.run(count_pings(kind, place, int(size), int(conns), float(seconds)))
