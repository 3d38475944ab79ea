"""open_connection, start_server, StreamReader, StreamWriter."""

import asyncio
import contextlib
import os
import socket
import tempfile

from _harness import case, logs, program, raises, run


@contextlib.asynccontextmanager
async def server(handle, host="127.0.0.1", **kw):
    s = await asyncio.start_server(handle, host, 0, **kw)
    try:
        yield s.sockets[0].getsockname()[1], s
    finally:
        s.close()


async def echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@case(
    "streams.echo",
    (
        "open_connection to a start_server echo: the bytes come back; close and wait_closed on "
        "both sides"
    ),
)
async def _():
    async with server(echo) as (port, _s):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"hello")
        await w.drain()
        assert await r.readexactly(5) == b"hello"
        assert not w.is_closing()
        w.close()
        assert w.is_closing()
        await w.wait_closed()
        with raises(ConnectionResetError, "Connection lost"):
            w.write(b"x")
            await w.drain()


@case(
    "streams.all_interfaces",
    (
        "start_server(handle, '0.0.0.0', port) listens on a given port; host name 'localhost' "
        "connects"
    ),
)
async def _():
    with socket.socket() as p:
        p.bind(("0.0.0.0", 0))
        port = p.getsockname()[1]
    s = await asyncio.start_server(echo, "0.0.0.0", port)
    assert s.sockets[0].getsockname() == ("0.0.0.0", port) and s.is_serving()
    r, w = await asyncio.open_connection("localhost", port)
    w.write(b"x")
    assert await r.readexactly(1) == b"x"
    w.close()
    s.close()
    assert not s.is_serving()


@case(
    "streams.read_forms",
    (
        "readline, readuntil, readexactly, read(n), read(-1), at_eof, async for over lines; "
        "IncompleteReadError"
    ),
)
async def _():
    async def talk(reader, writer):
        writer.writelines([b"line1\n", b"a;b;", b"12345", b"l2\nl3\nrest"])
        writer.write_eof()
        await reader.read()
        writer.close()

    async with server(talk) as (port, _):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        assert await r.readline() == b"line1\n"
        assert await r.readuntil(b";") == b"a;" and await r.readuntil(b";") == b"b;"
        assert await r.readexactly(5) == b"12345"
        assert (
            [x async for x in r] == [b"l2\n", b"l3\n", b"rest"]
            and r.at_eof()
            and await r.read() == b""
        )
        with raises(asyncio.IncompleteReadError):
            await r.readexactly(1)
        w.write_eof()
        w.close()
        await w.wait_closed()


@case(
    "streams.limit",
    "a line over limit=: ValueError from readline, LimitOverrunError from readuntil",
)
async def _():
    async def talk(reader, writer):
        writer.write(b"x" * 5000 + b"\n")
        await reader.read()
        writer.close()

    async with server(talk) as (port, _):
        for method, exc in (("readline", ValueError), ("readuntil", asyncio.LimitOverrunError)):
            r, w = await asyncio.open_connection("127.0.0.1", port, limit=1000)
            with raises(exc):
                await getattr(r, method)()
            w.close()


@case("streams.extra_info", "get_extra_info: peername, sockname, socket")
async def _():
    async with server(echo) as (port, _):
        _r, w = await asyncio.open_connection("127.0.0.1", port)
        assert w.get_extra_info("peername") == ("127.0.0.1", port)
        assert w.get_extra_info("sockname")[0] == "127.0.0.1"
        assert (
            w.get_extra_info("socket").family == socket.AF_INET
            and w.get_extra_info("nothing", 7) == 7
        )
        w.close()


@case(
    "streams.refused", "a port without listener: ConnectionRefusedError; an unknown host: OSError"
)
async def _():
    with socket.socket() as p:
        p.bind(("127.0.0.1", 0))
        port = p.getsockname()[1]
    with raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    with raises(OSError):
        await asyncio.open_connection("no-such-host.invalid", 80)


@case("streams.port_taken", "start_server on a taken port: OSError that names the address")
async def _():
    async with server(echo) as (port, _):
        with raises(OSError, str(port)):
            await asyncio.start_server(echo, "127.0.0.1", port)


@case(
    "streams.many_clients",
    (
        "1000 clients connected at the same time, each has its own line echoed; the server saw "
        "all of them at once"
    ),
)
async def _():
    import resource

    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    now, top = 0, 0

    async def handle(reader, writer):
        nonlocal now, top
        now += 1
        top = max(top, now)
        while line := await reader.readline():
            writer.write(line)
        now -= 1
        writer.close()

    async with server(handle, backlog=2048) as (port, _):
        conns = []
        for _ in range(10):
            conns += await asyncio.gather(
                *[asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
            )

        async def say(i):
            r, w = conns[i]
            for k in range(3):
                m = b"client %d line %d\n" % (i, k)
                w.write(m)
                assert await r.readline() == m

        await asyncio.gather(*[say(i) for i in range(1000)])
        assert top == 1000, top
        for _, w in conns:
            w.close()
        await asyncio.gather(*[w.wait_closed() for _, w in conns])


@case(
    "streams.large",
    (
        "8 MiB there and back through drain, unchanged; the writer is held back by a reader "
        "that is slow to begin"
    ),
)
async def _():
    blob = os.urandom(1 << 16) * 128
    async with server(echo) as (port, _):
        r, w = await asyncio.open_connection("127.0.0.1", port)

        async def send():
            for i in range(0, len(blob), 1 << 16):
                w.write(blob[i : i + (1 << 16)])
                await w.drain()
            w.write_eof()

        t = asyncio.create_task(send())
        await asyncio.sleep(0.1)
        got = bytearray()
        while part := await r.read(1 << 18):
            got += part
        await t
        assert bytes(got) == blob
        w.close()


@case(
    "streams.backpressure",
    "drain waits while the other side does not read, and goes on when it does",
)
async def _():
    go = asyncio.Event()

    async def lazy(reader, writer):
        await go.wait()
        while await reader.read(1 << 20):
            pass
        writer.close()

    async with server(lazy) as (port, _):
        _r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"x" * (32 << 20))
        t = asyncio.create_task(w.drain())
        await asyncio.sleep(0.05)
        assert not t.done()
        go.set()
        await asyncio.wait_for(t, 20)
        w.close()
        await w.wait_closed()


@case(
    "streams.half_close", "write_eof ends the reading of the other side, whose answer still arrives"
)
async def _():
    async def count(reader, writer):
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async with server(count) as (port, _):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"x" * 12345)
        assert w.can_write_eof()
        w.write_eof()
        assert await r.read() == b"12345"
        w.close()


@case(
    "streams.reset",
    (
        "the other side aborts: ConnectionResetError or end of file for the reader, error for "
        "the writer, the loop lives on"
    ),
)
async def _():
    async def abort(reader, writer):
        await reader.readline()
        s = writer.get_extra_info("socket")
        import struct

        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with server(abort) as (port, _):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        w.write(b"go\n")
        with contextlib.suppress(ConnectionResetError):
            assert await r.read() == b""
        with raises(ConnectionError):
            for _ in range(50):
                w.write(b"more\n")
                await w.drain()
                await asyncio.sleep(0.002)
        w.close()


@case(
    "streams.handler_exception",
    "an exception in the client handler is logged, the server goes on serving",
)
def _():
    async def main():
        async def bad(reader, writer):
            line = await reader.readline()
            if line == b"die\n":
                writer.close()
                raise ValueError("handler died")
            writer.write(line)
            await writer.drain()
            writer.close()

        async with server(bad) as (port, _):
            for m, want in ((b"die\n", b""), (b"live\n", b"live\n")):
                r, w = await asyncio.open_connection("127.0.0.1", port)
                w.write(m)
                assert await r.read() == want
                w.close()
            await asyncio.sleep(0.02)

    with logs() as out:
        run(main())
    assert any("handler died" in x for x in out), out


@case(
    "streams.serve_forever",
    "async with server: serve_forever until cancelled; then it no longer accepts",
)
async def _():
    s = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = s.sockets[0].getsockname()[1]

    async def main():
        async with s:
            await s.serve_forever()

    t = asyncio.create_task(main())
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(b"x")
    assert await r.readexactly(1) == b"x"
    w.close()
    await w.wait_closed()
    t.cancel()
    with raises(asyncio.CancelledError):
        await asyncio.wait_for(t, 5)
    with raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


@case("streams.unix", "start_unix_server and open_unix_connection")
async def _():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "s")
        s = await asyncio.start_unix_server(echo, path)
        r, w = await asyncio.open_unix_connection(path)
        w.write(b"unix")
        assert await r.readexactly(4) == b"unix"
        w.close()
        await w.wait_closed()
        s.close()


@case(
    "streams.timeout_read",
    "wait_for(reader.readline(), t) times out and the connection stays usable",
)
async def _():
    async with server(echo) as (port, _):
        r, w = await asyncio.open_connection("127.0.0.1", port)
        with raises(asyncio.TimeoutError):
            await asyncio.wait_for(r.readline(), 0.02)
        w.write(b"later\n")
        assert await asyncio.wait_for(r.readline(), 5) == b"later\n"
        w.close()


program(__name__)
