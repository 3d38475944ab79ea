"""How TLS connections begin: handshakes, upgrades, who is who; on both engines."""

import asyncio
import contextlib
import gc
import os
import socket
import ssl
import struct
import sys
import threading
import weakref

import pytest
from tls_peers import client_context, peer, server_context


def run(loop, coroutine, timeout=50):
    return loop.run_until_complete(asyncio.wait_for(coroutine, timeout))


@contextlib.asynccontextmanager
async def served(handle, **options):
    """A stream server that calls handle(reader, writer); gives its address."""
    tasks = []

    async def accepted(reader, writer):
        tasks.append(asyncio.current_task())
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
        await asyncio.gather(*tasks)
        server.close()
        await server.wait_closed()
    finally:
        server.close()


async def upper(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()


async def ask(reader, writer, line=b"hello\n"):
    writer.write(line)
    assert await reader.readline() == line.upper()


async def connect(address, **options):
    options.setdefault("ssl", client_context())
    return await asyncio.open_connection(*address, server_hostname="localhost", **options)


async def close(writer):
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


# ---- handshakes that fail ----


def test_a_certificate_that_is_not_trusted_is_refused_in_pythons_words(loop, engine):
    async def main():
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(listener.getsockname(), ssl=client_context(trust=False))

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            sock, _ = listener.accept()
            with contextlib.suppress(OSError):
                server_context().wrap_socket(sock, server_side=True)
            sock.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        run(loop, main())
        thread.join(30)


def test_a_peer_that_does_not_speak_tls_is_an_ssl_error(loop, engine):
    def handle(sock):
        sock.recv(10)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def main(address):
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE"):
            await connect(address)

    with peer(handle) as address:
        run(loop, main(address))


def test_a_peer_that_closes_in_the_handshake_is_a_reset(loop, engine):
    def handle(sock):
        sock.recv(10)

    async def main(address):
        with pytest.raises(ConnectionResetError):
            await connect(address)

    with peer(handle) as address:
        run(loop, main(address))


def test_a_silent_peer_is_dropped_at_the_handshake_timeout(loop, engine):
    done = threading.Event()

    async def main(address):
        with pytest.raises(ConnectionAbortedError, match=r"longer than 0\.1 seconds"):
            await connect(address, ssl_handshake_timeout=0.1)
        done.set()

    with peer(lambda sock: done.wait(30)) as address:
        run(loop, main(address))


def test_a_silent_client_is_dropped_by_the_server(loop, engine):
    async def main():
        async with served(upper, ssl=server_context(), ssl_handshake_timeout=0.1) as address:
            with socket.create_connection(address) as sock:
                sock.setblocking(False)
                assert await loop.sock_recv(sock, 10) == b""

    run(loop, main())


def test_a_client_that_trickles_its_handshake_is_dropped_in_time(loop, engine):
    async def main():
        async with served(upper, ssl=server_context(), ssl_handshake_timeout=0.3) as address:
            with socket.create_connection(address) as sock:
                sock.setblocking(False)
                record = struct.pack(">BHH", 22, 0x0301, 16000) + b"\1\0\x3e\x7c" + b"\0" * 15996
                with pytest.raises((ConnectionError, TimeoutError)):
                    for i in range(len(record)):
                        await loop.sock_sendall(sock, record[i : i + 1])
                        await asyncio.sleep(0.001)

    run(loop, main())


@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_a_timeout_that_is_not_positive_is_refused_in_stocks_words(same_error, name):
    def action(loop):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.run_until_complete(
                loop.create_connection(
                    asyncio.Protocol,
                    sock=ours,
                    ssl=client_context(),
                    server_hostname="localhost",
                    **{name: 0},
                )
            )

    assert same_error(action) is ValueError


def test_cancelling_a_handshake_closes_the_connection(loop, engine):
    begun = threading.Event()

    def handle(sock):
        while sock.recv(1000):
            begun.set()

    async def main(address):
        task = asyncio.ensure_future(connect(address))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with peer(handle) as address:
        run(loop, main(address))


@pytest.mark.ours("asyncio shakes hands, with a timer that comes at no time or at once")
@pytest.mark.parametrize("name", ["ssl_handshake_timeout", "ssl_shutdown_timeout"])
def test_a_timeout_that_is_no_number_is_refused(loop, engine, name):
    async def main():
        timeout = {name: float("nan")}
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with pytest.raises(ValueError, match=f"{name} should be a positive number, got nan"):
                await connect(listener.getsockname(), **timeout)
            _, writer = await asyncio.open_connection(*listener.getsockname())
            with pytest.raises(ValueError, match=f"{name} should be a positive number, got nan"):
                await loop.start_tls(
                    writer.transport,
                    asyncio.Protocol(),
                    client_context(),
                    server_hostname="localhost",
                    **timeout,
                )
            await close(writer)

    run(loop, main())


def begin_handshake(trace, side, sock, theirs):
    """Start a task that shakes hands for ever; return it when the first bytes have passed."""
    if side == "client":
        connecting = trace.loop.create_connection(
            asyncio.Protocol, sock=sock, ssl=client_context(), server_hostname="localhost"
        )
    elif side == "server":
        theirs.send(b"\x16\x03\x01")  # the head of a record, of which no more comes
        connecting = trace.loop.connect_accepted_socket(
            asyncio.Protocol, sock, ssl=server_context()
        )
    else:

        async def upgrade():
            transport, protocol = await trace.loop.create_connection(asyncio.Protocol, sock=sock)
            options = {"server_hostname": "localhost"}
            await trace.loop.start_tls(transport, protocol, client_context(), **options)

        connecting = upgrade()
    return trace.loop.create_task(connecting)


@pytest.mark.parametrize("side", ["client", "server", "start_tls"])
def test_closing_the_loop_in_mid_handshake_leaves_what_it_leaves_on_asyncio(
    same_trace, engine, side
):
    def program(trace):
        ours, theirs = trace.pair()
        task = begin_handshake(trace, side, ours, theirs)
        for _ in range(20):
            trace.loop.run_until_complete(asyncio.sleep(0))
        if side != "server":
            trace("peer", theirs.recv(3)[:1])
        trace("task", task.done())
        trace.loop.close()
        for end in task.cancel, task.get_coro().close:  # the collector would do so in any order
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                end()
        del task, ours, end
        gc.collect()
        while data := theirs.recv(65536):
            assert side != "server", data
        trace("peer", "end")

    assert same_trace(program)["peer"][-1] == ("end",)


# ---- who is who ----


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_alpn_and_client_certificates_and_versions(loop, engine, version):
    server, client = server_context(client_cert=True), client_context(client_cert=True)
    server.set_alpn_protocols(["h2", "http/1.1"])
    client.set_alpn_protocols(["http/1.1"])
    client.maximum_version = client.minimum_version = version
    seen = []

    async def handle(reader, writer):
        sslobj = writer.get_extra_info("ssl_object")
        seen.append((sslobj.selected_alpn_protocol(), writer.get_extra_info("peercert")))
        await upper(reader, writer)

    async def main():
        async with served(handle, ssl=server) as address:
            reader, writer = await connect(address, ssl=client)
            sslobj = writer.get_extra_info("ssl_object")
            assert sslobj.selected_alpn_protocol() == "http/1.1"
            assert sslobj.version() == version.name.replace("_", ".")
            await ask(reader, writer)
            await close(writer)

    run(loop, main())
    assert seen[0][0] == "http/1.1"
    assert ("DNS", "client.example") in seen[0][1]["subjectAltName"]


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="the frame of asyncio's that we call keeps the exception"
)
@pytest.mark.ours("stock before 3.14.10 leaves a cycle (cpython#159049)")
def test_a_start_tls_that_is_refused_leaves_nothing_for_the_collector(loop, engine):
    def handle(sock):
        with contextlib.suppress(OSError):
            server_context().wrap_socket(sock, server_side=True)

    async def main(address):
        transport, protocol = await loop.create_connection(asyncio.Protocol, *address)
        with contextlib.suppress(ssl.SSLCertVerificationError):
            await loop.start_tls(
                transport, protocol, client_context(trust=False), server_hostname="localhost"
            )
        return weakref.ref(transport)

    with peer(handle) as address:
        gc.collect()
        gc.disable()
        try:
            assert run(loop, main(address))() is None
        finally:
            gc.enable()


def test_a_missing_client_certificate_is_refused(loop, engine):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))

    async def main():
        async with served(upper, ssl=server_context(client_cert=True)) as address:
            with pytest.raises(OSError):
                reader, writer = await connect(address)
                try:
                    writer.write(b"x\n")
                    if await reader.readline() == b"":
                        raise ConnectionResetError
                finally:
                    await close(writer)

    run(loop, main())
    assert seen == []


def test_a_server_name_callback_may_swap_the_context(loop, engine):
    names, other = [], server_context()
    other.set_alpn_protocols(["swapped"])

    def choose(sslobj, name, context):
        names.append(name)
        sslobj.context = other

    async def main():
        server, client = server_context(sni_callback=choose), client_context()
        client.set_alpn_protocols(["swapped"])
        async with served(upper, ssl=server) as address:
            reader, writer = await connect(address, ssl=client)
            sslobj = writer.get_extra_info("ssl_object")
            assert sslobj.selected_alpn_protocol() == "swapped"
            await ask(reader, writer)
            await close(writer)

    run(loop, main())
    assert names == ["localhost"]


@pytest.mark.parametrize("make", ["keylog", "environment", "messages"])
def test_callbacks_of_the_context_do_not_disturb(loop, engine, make, tmp_path, monkeypatch):
    messages, log = [], tmp_path / "keys"
    if make == "environment":
        monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    server, client = server_context(), client_context()
    if make == "keylog":
        server.keylog_filename = client.keylog_filename = str(log)
    elif make == "messages":
        client._msg_callback = server._msg_callback = lambda *args: messages.append(args[1])

    async def main():
        async with served(upper, ssl=server) as address:
            reader, writer = await connect(address, ssl=client)
            for _ in range(3):
                await ask(reader, writer)
            await close(writer)

    run(loop, main())
    assert (
        {"read", "write"} <= set(messages)
        if make == "messages"
        else b"CLIENT" in (log.read_bytes())
    )


def test_a_session_is_used_again(loop, engine):
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2

    async def main():
        async with served(upper, ssl=server_context()) as address:
            reader, writer = await connect(address, ssl=client)
            session = writer.get_extra_info("ssl_object").session
            await ask(reader, writer)
            await close(writer)
            assert session is not None and session.id

    run(loop, main())


# ---- places to begin ----


def test_over_a_unix_socket(loop, engine, tmp_path):
    async def main():
        path = str(tmp_path / "s")
        server = await asyncio.start_unix_server(upper, path, ssl=server_context())
        reader, writer = await asyncio.open_unix_connection(
            path, ssl=client_context(), server_hostname="localhost"
        )
        await ask(reader, writer)
        await close(writer)
        server.close()

    run(loop, main())


def test_connect_accepted_socket(loop, engine):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            task = asyncio.ensure_future(connect(listener.getsockname()))
            listener.setblocking(False)
            sock, _ = await loop.sock_accept(listener)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=server_context()
            )
            theirs = asyncio.StreamWriter(transport, protocol, reader, loop)
            ours_reader, ours = await task
            theirs.write(b"hi\n")
            assert await ours_reader.readline() == b"hi\n"
            await close(ours)
            await close(theirs)

    run(loop, main())


def test_start_tls_on_both_sides_of_streams(loop, engine):
    async def handle(reader, writer):
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go\n")
        await writer.start_tls(server_context())
        await upper(reader, writer)

    async def main():
        async with served(handle) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context(), server_hostname="localhost")
            assert writer.get_extra_info("cipher")
            for _ in range(3):
                await ask(reader, writer)
            await close(writer)

    run(loop, main())


@pytest.mark.ours("stock loses them on Pythons before 2026")
def test_bytes_received_before_start_tls_belong_to_the_handshake(loop, engine):
    async def handle(reader, writer):
        assert (await reader.readline()).startswith(b"PROXY TCP4")
        while not reader._buffer:  # until the ClientHello is there
            await asyncio.sleep(0.001)
        await writer.start_tls(server_context())
        await upper(reader, writer)

    def client(address):
        sock = socket.create_connection(address, timeout=30)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        first = b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(first + outgoing.read())
                first = b""
                incoming.write(sock.recv(65536))
        tls.write(b"hello\n")
        sock.sendall(outgoing.read())
        while True:
            try:
                answer = tls.read(100)
                break
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        sock.close()
        return answer

    async def main():
        async with served(handle) as address:
            assert await loop.run_in_executor(None, client, address) == b"HELLO\n"

    run(loop, main())


def test_tls_within_tls(loop, engine):
    async def handle(reader, writer):
        assert await reader.readline() == b"again\n"
        writer.write(b"go\n")
        await writer.start_tls(server_context())
        await upper(reader, writer)

    async def main():
        async with served(handle, ssl=server_context()) as address:
            reader, writer = await connect(address)
            writer.write(b"again\n")
            assert await reader.readline() == b"go\n"
            await writer.start_tls(client_context(), server_hostname="localhost")
            payload = os.urandom(25_000).hex().encode() + b"\n"

            async def send():
                writer.write(payload)
                await writer.drain()

            task = asyncio.ensure_future(send())
            answer = b""
            while not answer.endswith(b"\n"):
                answer += await reader.read(65536)
            await task
            assert answer == payload.upper()
            await close(writer)

    run(loop, main())


@pytest.mark.parametrize("what", ["context", "transport"])
def test_start_tls_refuses_what_will_not_do_in_stocks_words(same_error, what):
    def action(loop):
        context = None if what == "context" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        loop.run_until_complete(loop.start_tls(None, None, context))

    assert same_error(action) is TypeError


def test_start_tls_is_told_of_by_asyncios_name(same_error):
    def action(loop):
        loop.start_tls(None, None, None, nonsense=1)

    assert same_error(action) is TypeError


def test_sendfile_over_tls_sends_the_file(loop, engine, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(500_000))

    async def handle(reader, writer):
        with path.open("rb") as file:
            assert await loop.sendfile(writer.transport, file, 1000) == 499_000

    async def main():
        async with served(handle, ssl=server_context()) as address:
            reader, writer = await connect(address)
            assert await reader.read() == path.read_bytes()[1000:]
            await close(writer)

    run(loop, main())
