"""TLS against users' own classes, broken records, and bytes that come at odd moments."""

import asyncio
import socket
import ssl
import types

import pytest
from tls_peers import BROKEN_RECORD, client_context, server_context, shake_hands
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
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sslobj, _, outgoing = shake_hands(sock, client_context(), server_hostname="localhost")
            sslobj.write(data)  # leaves with the end of the handshake
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


# ---- broken records ----


class Closes(Recorder):
    """Answers in groups, and closes when the last has come."""

    raised = None

    def data_received(self, data):
        super().data_received(data)
        try:
            self.transport.write(b"a")
            self.transport.write(b"b")
            if self.data.endswith(b"last"):
                self.transport.close()
        except BaseException as exc:
            self.raised = exc


class ClosesBuffered(Buffered, Closes):
    pass


@pytest.mark.ours("stock drops what came before the broken record")
@pytest.mark.parametrize("last", [b"last", b"else"])
@pytest.mark.parametrize("make", [Closes, ClosesBuffered])
def test_what_came_before_a_broken_record_is_delivered_and_the_record_is_told_of(
    loop, engine, make, last
):
    def client(port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sslobj, incoming, outgoing = shake_hands(
                sock, client_context(), server_hostname="localhost"
            )
            for _ in range(3):  # until the connection writes in groups
                sslobj.write(b"hello")
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
            sslobj.write(last)
            good = outgoing.read()
            sslobj.write(b"broken")
            bad = bytearray(outgoing.read())
            bad[-1] ^= 1
            sock.sendall(good + bad)
            while sock.recv(65536):
                pass

    async def main():
        protocol = make(loop)
        listener = await loop.create_server(lambda: protocol, "127.0.0.1", 0, ssl=server_context())
        port = listener.sockets[0].getsockname()[1]
        thread = asyncio.create_task(asyncio.to_thread(client, port))
        exc = await protocol.lost
        await asyncio.gather(thread, return_exceptions=True)
        listener.close()
        await listener.wait_closed()
        assert protocol.data == b"hello" * 3 + last
        assert protocol.raised is None
        assert isinstance(exc, ssl.SSLError) and exc.reason == BROKEN_RECORD

    run(loop, main())


# ---- odd use ----


@pytest.mark.ours("stock has no such class")
@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("_control_app_writing", ()),
        ("_control_ssl_reading", ()),
        ("_do_read", ()),
        ("_do_write", ()),
        ("_drain", ()),
        ("_drop", ()),
        ("_feed", (b"x",)),
        ("_flush", ()),
        ("_get_read_buffer_size", ()),
        ("_get_write_buffer_size", ()),
        ("_process_outgoing", ()),
        ("_write_appdata", ([b"x"],)),
        ("buffer_updated", (5,)),
        ("resume_writing", ()),
    ],
)
def test_a_connection_that_was_never_set_up_refuses(method, args):
    from casyncio import _native

    connection = _native.Tls()
    connection.get_buffer(1)
    with pytest.raises(RuntimeError):
        getattr(connection, method)(*args)


@pytest.mark.ours("stock has no engines")
def test_what_a_message_callback_raises_is_heard(loop, engine):
    def fail(*args):
        if failing:
            raise ValueError("mine")

    failing = []
    context = client_context(_msg_callback=fail)
    heard = []
    loop.set_exception_handler(lambda loop, told: heard.append(told["exception"]))

    async def main():
        async with pair(loop, client=context) as (ours, _):
            assert ours.transport._ssl_protocol._engine == "membio"
            failing.append(True)
            ours.transport.write(b"hello")
            assert isinstance(await ours.lost, ValueError)

    run(loop, main())
    assert isinstance(heard[0], ValueError)


def test_the_protocol_that_gave_a_buffer_is_told_what_is_in_it(loop, engine):
    armed, told = [], []

    class Changes(Buffered):
        def get_buffer(self, sizehint):
            if armed:  # it is also called when nothing has come
                self.transport.set_protocol(after)
            return super().get_buffer(sizehint)

        def buffer_updated(self, nbytes):
            told.append(bytes(self.buffer[:nbytes]))

    after = Recorder(loop)

    async def main():
        async with pair(loop, Changes) as (ours, theirs):
            armed.append(True)
            after.transport, after.lost = ours.transport, ours.lost
            theirs.transport.write(b"one")
            while not told and not ours.lost.done():
                await asyncio.sleep(0.01)
            theirs.transport.write(b"two")
            await after.until(lambda: after.data)
            assert (told, after.data) == ([b"one"], b"two")

    run(loop, main())


@pytest.mark.parametrize("buffer", [b"", b"abc", None], ids=repr)
def test_a_buffer_that_will_not_do_is_a_type_error_in_stocks_words(loop, engine, buffer):
    armed, heard = [], []
    loop.set_exception_handler(lambda loop, told: heard.append(str(told["exception"])))

    class Gives(Buffered):
        def get_buffer(self, sizehint):
            return buffer if armed else super().get_buffer(sizehint)

    async def main():
        async with pair(loop, Gives) as (ours, theirs):
            armed.append(True)
            theirs.transport.write(b"hello")
            assert isinstance(await ours.lost, TypeError)

    run(loop, main())
    words = "object of type 'NoneType' has no len()"
    if buffer is not None:
        words = "read() argument 2 must be read-write bytes-like object, not bytes"
    assert heard == [words]


@pytest.mark.ours("asyncio takes an empty buffer for the peer's end")
def test_an_empty_buffer_is_an_error_and_no_end(loop, engine):
    loop.set_exception_handler(lambda loop, told: None)

    async def main():
        async with pair(loop, Buffered) as (ours, theirs):
            ours.size = 0
            theirs.transport.write(b"hello")
            with pytest.raises(RuntimeError, match="returned an empty buffer"):
                raise await ours.lost
            assert ours.events == ["made", "lost"]

    run(loop, main())


@pytest.mark.ours("asyncio has no engines")
def test_an_openssl_that_is_built_into_the_interpreter_is_not_looked_for(monkeypatch):
    import _ssl

    from casyncio import _tls

    monkeypatch.delattr(_ssl, "__file__")
    monkeypatch.setattr(_tls, "_engine", "")
    monkeypatch.setattr(_tls, "_reason", "")
    monkeypatch.delenv("CASYNCIO_TLS", raising=False)
    assert _tls.choose() == ("membio", "the module _ssl is built into the interpreter")
