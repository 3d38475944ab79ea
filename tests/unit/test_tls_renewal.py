"""Keys, handshakes, sessions and names that change; the end; upgrades; contexts; bounds."""

import asyncio
import contextlib
import contextvars
import hashlib
import random
import socket
import ssl
import threading
import time

import pytest
from tls_openssl import Library
from tls_peers import client_context, peer, server_context, shake_hands
from tls_protocols import Recorder, pair, run

BOTH_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def only(context, version):
    context.minimum_version = context.maximum_version = version
    return context


def inside(protocol):
    return Library(protocol.transport.get_extra_info("ssl_object"))


class Hashing(Recorder):
    """Keeps no data but its hash and length, and pauses the writer when it is told to."""

    def __init__(self, loop):
        super().__init__(loop)
        self.digest, self.length = hashlib.sha256(), 0
        self.room = asyncio.Event()
        self.room.set()

    def data_received(self, data):
        self.digest.update(data)
        self.length += len(data)
        self.changed.set()

    def pause_writing(self):
        self.room.clear()

    def resume_writing(self):
        self.room.set()

    async def send(self, total, now_and_then):
        """Send so many random bytes; return their hash."""
        chance, digest = random.Random(total), hashlib.sha256()
        while total > 0:
            data = chance.randbytes(min(total, chance.choice([1, 1000, 16384, 50_000])))
            digest.update(data)
            total -= len(data)
            self.transport.write(data)
            if chance.random() < 0.1:
                now_and_then()
                await asyncio.sleep(0)
            await self.room.wait()
        return digest.hexdigest()


async def exchange(ours, theirs, now_and_then, total=1 << 20):
    """Send in both directions at the same time; the same must arrive."""
    sent = await asyncio.gather(
        ours.send(total, lambda: now_and_then(ours)),
        theirs.send(total, lambda: now_and_then(theirs)),
    )
    for receiver, digest in (theirs, sent[0]), (ours, sent[1]):
        await receiver.until(lambda n=receiver: n.length >= total)
        assert (receiver.length, receiver.digest.hexdigest()) == (total, digest)


# ---- keys ----


@pytest.mark.parametrize("who", ["client", "server", "both"])
def test_keys_are_updated_while_data_flows_in_both_directions(loop, engine, who):
    async def main():
        context = only(client_context(), ssl.TLSVersion.TLSv1_3)
        async with pair(loop, Hashing, Hashing, client=context) as (ours, theirs):
            libraries = {ours: inside(ours), theirs: inside(theirs)}
            chosen = {"client": [ours], "server": [theirs], "both": [ours, theirs]}[who]
            updates = []

            def update(protocol):
                if protocol in chosen and not libraries[protocol].key_update_waits():
                    libraries[protocol].update_key()
                    updates.append(protocol)

            await exchange(ours, theirs, update)
            for protocol in ours, theirs:  # so that the last ones leave, and are answered
                protocol.transport.write(b"x")
            for protocol in ours, theirs:
                await protocol.until(lambda n=protocol: n.length > 1 << 20)
            assert {id(protocol) for protocol in updates} == {id(protocol) for protocol in chosen}
            assert not any(libraries[protocol].key_update_waits() for protocol in chosen)

    run(loop, main())


def test_a_key_update_is_answered_by_a_side_that_only_reads(loop, engine):
    async def main():
        context = only(client_context(), ssl.TLSVersion.TLSv1_3)
        async with pair(loop, Hashing, Hashing, client=context) as (ours, theirs):
            library, total = inside(ours), 0
            for size in 1, 20_000, 1, 1:
                library.update_key()
                ours.transport.write(bytes(size))
                total += size
                await theirs.until(lambda n=total: theirs.length == n)
                assert not library.key_update_waits()
            theirs.transport.write(b"still here")
            await ours.until(lambda: ours.length == 10)

    run(loop, main())


# ---- handshakes ----


def test_a_server_may_renegotiate_while_data_flows_in_tls_1_2(loop, engine):
    async def main():
        context = only(client_context(), ssl.TLSVersion.TLSv1_2)
        async with pair(loop, Hashing, Hashing, client=context) as (ours, theirs):
            library = inside(theirs)
            for count in 1, 2, 3:
                library.renegotiate()
                for sender, receiver in (theirs, ours), (ours, theirs):
                    sender.transport.write(bytes(30_000))
                    await receiver.until(lambda n=receiver, c=count: n.length == c * 30_000)
                assert library.renegotiations() == count
            assert ours.digest.hexdigest() == theirs.digest.hexdigest()

    run(loop, main())


def test_what_is_written_during_a_renegotiation_is_sent_after_it(loop, engine):
    async def main():
        context = only(client_context(), ssl.TLSVersion.TLSv1_2)
        async with pair(loop, Hashing, Hashing, client=context) as (ours, theirs):
            library = inside(theirs)
            library.renegotiate()
            theirs.transport.write(b"1")  # asks for it
            for i in range(50):  # and so do these come in the middle
                theirs.transport.write(bytes([i]) * 1000)
                ours.transport.write(bytes([i]) * 1000)
                await asyncio.sleep(0)
            await ours.until(lambda: ours.length == 50_001)
            await theirs.until(lambda: theirs.length == 50_000)
            assert library.renegotiations() == 1
            body = b"".join(bytes([i]) * 1000 for i in range(50))
            assert theirs.digest.hexdigest() == hashlib.sha256(body).hexdigest()
            assert ours.digest.hexdigest() == hashlib.sha256(b"1" + body).hexdigest()

    run(loop, main())


def test_a_client_that_renegotiates_is_refused_and_others_are_served(loop, engine):
    async def main():
        context = only(client_context(), ssl.TLSVersion.TLSv1_2)
        server = server_context()
        async with pair(loop, Hashing, Hashing, client=context, server=server) as (ours, theirs):
            library = inside(ours)
            library.renegotiate()
            ours.transport.write(b"1")
            await asyncio.wait([ours.lost, asyncio.ensure_future(asyncio.sleep(0.2))])
            assert library.renegotiations() <= 1  # asked for; nobody took part
            assert theirs.length <= 1
        async with pair(loop, Hashing, Hashing, client=context, server=server) as (ours, theirs):
            ours.transport.write(b"1")
            await theirs.until(lambda: theirs.length == 1)

    run(loop, main())


# ---- sessions ----


class Remembering(ssl.SSLContext):
    """Offers the session of an earlier connection, which asyncio has no argument for."""

    remembered = None

    def wrap_bio(self, *args, **kwargs):
        return super().wrap_bio(*args, session=self.remembered, **kwargs)


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_a_session_is_taken_up_again(loop, engine, version):
    context = Remembering(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    server = server_context()
    only(context, version)

    async def main():
        reused = []
        for _ in range(3):
            async with pair(loop, client=context, server=server) as (ours, theirs):
                ours.transport.write(b"hello")
                await theirs.until(lambda p=theirs: p.data == b"hello")
                theirs.transport.write(b"you")
                await ours.until(lambda p=ours: p.data == b"you")
                sslobj = ours.transport.get_extra_info("ssl_object")
                reused.append(sslobj.session_reused)
                assert theirs.transport.get_extra_info("ssl_object").session_reused == reused[-1]
                context.remembered = sslobj.session  # in TLS 1.3 it comes after the handshake
        assert reused == [False, True, True]

    run(loop, main())


# ---- certificates of clients ----


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_a_client_certificate_that_is_not_trusted_is_refused(loop, engine, version):
    trustme = pytest.importorskip("trustme", reason="trustme makes the certificates of these tests")
    context = only(client_context(), version)
    trustme.CA().issue_cert("client.example").configure_cert(context)
    served, heard = [], []
    loop.set_exception_handler(lambda loop, told: heard.append(told))

    async def main():
        listener = await loop.create_server(
            lambda: served.append(Recorder(loop)) or served[-1],
            "127.0.0.1",
            0,
            ssl=server_context(client_cert=True),
        )
        ours = Recorder(loop)
        connecting = loop.create_connection(
            lambda: ours,
            *listener.sockets[0].getsockname(),
            ssl=context,
            server_hostname="localhost",
        )
        if version == ssl.TLSVersion.TLSv1_2:
            with pytest.raises(ConnectionResetError):
                await connecting
        else:  # the client's part of the handshake has ended when the server refuses
            await connecting
            assert await ours.lost is None
        assert "data" not in ours.events
        listener.close()

    run(loop, main())
    assert [protocol.events for protocol in served] == [[]]
    assert heard == []


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_a_client_certificate_may_be_asked_for_by_the_context_that_a_name_chooses(
    loop, engine, version
):
    strict = server_context(client_cert=True)
    server = server_context()

    def choose(sslobj, name, context):
        sslobj.context = strict

    server.sni_callback = choose
    seen = []

    async def main():
        context = only(client_context(client_cert=True), version)
        async with pair(loop, client=context, server=server) as (ours, theirs):
            sslobj = theirs.transport.get_extra_info("ssl_object")
            assert sslobj.context is strict
            ours.transport.write(b"hello")
            await theirs.until(lambda: theirs.data == b"hello")
            seen.append(theirs.transport.get_extra_info("peercert"))

    run(loop, main())
    assert seen  # SSL_set_SSL_CTX() swaps certificates, not what is demanded of the client


# ---- names ----


@pytest.mark.parametrize("answer", [ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME, ValueError("mine")])
def test_a_server_name_callback_may_refuse(loop, engine, answer, monkeypatch):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: told.append(args.exc_value))

    def choose(sslobj, name, context):
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main():
        with pytest.raises(OSError):
            async with pair(loop, server=server_context(sni_callback=choose)):
                pass

    run(loop, main())
    assert told == ([answer] if isinstance(answer, Exception) else [])


# ---- what the context tells ----


def test_keys_are_logged_from_the_connection_on_after_which_it_was_asked_for(
    loop, engine, tmp_path
):
    log, client = tmp_path / "keys", client_context()

    async def talk():
        async with pair(loop, client=client) as (ours, theirs):
            ours.transport.write(b"hello")
            await theirs.until(lambda: theirs.data == b"hello")
            client.keylog_filename = str(log)
            before = log.read_bytes()
            ours.transport.write(b"more")
            await theirs.until(lambda: len(theirs.data) == 9)
            assert log.read_bytes() == before
        return before

    async def main():
        assert b"CLIENT" not in await talk()
        assert b"CLIENT_TRAFFIC_SECRET_0" in await talk()

    run(loop, main())


def test_a_message_callback_is_heard_by_connections_made_after_it_was_set(loop, engine):
    heard = []

    async def main():
        client = client_context()
        async with pair(loop, client=client) as (ours, theirs):
            client._msg_callback = lambda *args: heard.append("first")
            ours.transport.write(b"hello")
            await theirs.until(lambda: theirs.data == b"hello")
            assert heard == []  # OpenSSL takes it over when the connection is made
            async with pair(loop, client=client) as (other, _):
                assert set(heard) == {"first"}
                client._msg_callback = lambda *args: heard.append("second")
                heard.clear()
                other.transport.write(b"hello")
                assert set(heard) == {"second"}
                client._msg_callback = None
                heard.clear()
                other.transport.write(b"hello")
                assert heard == []

    run(loop, main())


@pytest.mark.ours("stock writes at once")
def test_what_is_not_an_exception_at_the_end_of_a_callback_is_reported(loop, engine, reports):
    failing = []

    class Fails(ssl.SSLObject):
        def write(self, data):
            if failing:
                raise asyncio.CancelledError("mine")
            return super().write(data)

    async def main():
        context = client_context(sslobject_class=Fails)
        async with pair(loop, client=context) as (ours, theirs):
            for i in range(3):  # so that its writes are known to come in groups
                ours.transport.write(b"a")
                ours.transport.write(b"b")
                await theirs.until(lambda i=i: len(theirs.data) == 2 * i + 2)
            failing.append(True)
            ours.transport.write(b"c")
            ours.transport.write(b"d")
            await asyncio.sleep(0)
            failing.clear()
            assert [type(context["exception"]) for context in reports] == [asyncio.CancelledError]

    run(loop, main())


# ---- the end ----


@pytest.mark.ours("stock makes it an error")
@pytest.mark.parametrize("paused", [False, True])
def test_what_comes_after_close_is_for_nobody_and_no_error(loop, engine, paused):
    received = []

    def handle(sock):
        sslobj, incoming, outgoing = shake_hands(sock, server_context(), server_side=True)
        sslobj.write(b"before")
        sock.sendall(outgoing.read())
        while True:  # until its close_notify is here
            try:
                data = sslobj.read()
                if not data:
                    break
                received.append(data)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        sslobj.write(b"trailing" * 1000)
        with contextlib.suppress(ssl.SSLWantReadError):
            sslobj.unwrap()
        sock.sendall(outgoing.read())
        assert sock.recv(1) == b""

    async def main(address):
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        if paused:
            ours.transport.pause_reading()
        else:
            await ours.until(lambda: ours.data)
        ours.transport.write(b"the last")
        ours.transport.close()
        assert await ours.lost is None
        assert ours.data == (b"" if paused else b"before")

    with peer(handle) as address:
        run(loop, main(address))
    assert b"".join(received) == b"the last"


@pytest.mark.ours("stock delivers it from within close()")
def test_what_waited_for_a_protocol_that_closes_is_for_nobody(loop, engine):
    async def main():
        async with pair(loop) as (ours, theirs):
            ours.transport.pause_reading()
            theirs.transport.write(b"hello")
            await asyncio.sleep(0.1)
            ours.transport.resume_reading()  # delivers in the next turn
            ours.transport.close()
            assert await ours.lost is None
            assert ours.data == b""
            assert await theirs.lost is None

    run(loop, main())


@pytest.mark.ours("stock's waits for resume_reading(), for ever")
def test_a_connection_that_was_cut_off_while_reading_is_paused_can_be_closed(loop, engine):
    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        tls.send(b"hello")
        tls.shutdown(socket.SHUT_WR)  # of the socket: without close_notify
        assert paused.wait(30)

    paused = threading.Event()

    async def main(address):
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        ours.transport.pause_reading()
        while not ours.transport._ssl_protocol._eof_received:
            await asyncio.sleep(0.01)
        ours.transport.close()
        assert await asyncio.wait_for(ours.lost, 20) is None
        assert ours.data == b""
        paused.set()

    with peer(handle) as address:
        run(loop, main(address))


# ---- start_tls() ----


@pytest.mark.ours("stock delivers before the transport is known")
def test_nothing_is_delivered_before_start_tls_has_returned(loop, engine):
    answers = []

    class Upgrading(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()
            self.task = loop.create_task(self.upgrade())

        async def upgrade(self):
            self.transport = await loop.start_tls(
                self.transport, self, server_context(), server_side=True
            )

        def data_received(self, data):
            self.transport.write(data)

    async def main():
        listener = await loop.create_server(lambda: Upgrading(loop), "127.0.0.1", 0)

        def client():
            with socket.create_connection(listener.sockets[0].getsockname(), 30) as sock:
                sslobj, incoming, outgoing = shake_hands(
                    sock, client_context(), server_hostname="localhost"
                )
                sslobj.write(b"hello")  # leaves with the end of the handshake
                sock.sendall(outgoing.read())
                while not answers:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        answers.append(sslobj.read())
                        break
                    incoming.write(sock.recv(65536))

        await loop.run_in_executor(None, client)
        listener.close()

    run(loop, main())
    assert answers == [b"hello"]


# ---- contexts ----

WHO = contextvars.ContextVar("who", default="nobody")


@pytest.mark.ours("stock uses the caller's")
def test_what_waited_is_delivered_in_the_context_of_the_connection(loop, engine):
    heard = []

    class Listening(Recorder):
        def data_received(self, data):
            heard.append(WHO.get())
            super().data_received(data)

    async def main():
        WHO.set("connection")
        async with pair(loop, Listening) as (ours, theirs):
            ours.transport.pause_reading()
            theirs.transport.write(b"hello")
            await asyncio.sleep(0.1)
            WHO.set("somebody")
            ours.transport.resume_reading()
            await ours.until(lambda: ours.data == b"hello")

    run(loop, main())
    assert heard == ["connection"]


@pytest.mark.ours("before 3.15 each of stock's callbacks has a copy of the context")
def test_all_callbacks_of_a_connection_share_its_context(loop, engine):
    heard = []

    class Listening(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            WHO.set("connection")

        def data_received(self, data):
            heard.append((data, WHO.get()))
            super().data_received(data)
            if data == b"first":  # also from inside of itself
                self.transport.pause_reading()
                self.transport.resume_reading()

    async def main():
        async with pair(loop, Listening) as (ours, theirs):
            for data in b"first", b"second", b"third":
                theirs.transport.write(data)
                if data == b"third":
                    ours.transport.pause_reading()
                    await asyncio.sleep(0.1)
                    ours.transport.resume_reading()
                await ours.until(lambda data=data: ours.data.endswith(data))

    run(loop, main())
    assert heard == [(data, "connection") for data in (b"first", b"second", b"third")]


@pytest.mark.ours("in stock the writer's context")
@pytest.mark.parametrize("within", [False, True])
def test_writing_pauses_and_resumes_in_the_context_of_the_connection(loop, engine, within):
    heard = []

    class Writing(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            WHO.set("connection")

        def data_received(self, data):
            super().data_received(data)
            self.transport.write(bytes(16 << 20))

        def pause_writing(self):
            heard.append(WHO.get())
            super().pause_writing()
            self.changed.set()

        def resume_writing(self):
            heard.append(WHO.get())
            super().resume_writing()

    async def main():
        async with pair(loop, Writing) as (ours, theirs):
            theirs.transport.pause_reading()
            WHO.set("somebody")
            if within:
                theirs.transport.write(b"go")
            else:
                ours.transport.write(bytes(16 << 20))
            await ours.until(lambda: "pause" in ours.events)
            theirs.transport.resume_reading()
            await ours.until(lambda: "resume" in ours.events)

    run(loop, main())
    assert heard == ["connection", "connection"]


# ---- bounds ----


def test_what_comes_while_reading_is_paused_is_kept_within_bounds_and_delivered(loop, engine):
    most, sent = 64 << 20, []

    def handle(sock):
        tls = server_context().wrap_socket(sock, server_side=True)
        tls.settimeout(1)  # until nothing more is taken
        with contextlib.suppress(TimeoutError):
            while len(sent) < most // 16384:
                piece = bytes([len(sent) % 256]) * 16384
                tls.sendall(piece)
                sent.append(piece)
        stuck.set()
        assert resumed.wait(30)

    stuck, resumed = threading.Event(), threading.Event()

    async def main(address):
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        ours.transport.pause_reading()
        await loop.run_in_executor(None, stuck.wait, 40)
        assert sent and len(sent) < most // 16384  # so it was stuck
        # The mark is 256 KiB; one receive of as much may come on top of it.
        assert ours.transport.get_read_buffer_size() <= 2 * 256 * 1024
        ours.transport.resume_reading()
        whole = b"".join(sent)
        await ours.until(lambda: len(ours.data) >= len(whole))
        assert ours.data.startswith(whole)  # and some of the piece that was given up
        resumed.set()

    with peer(handle, timeout=60) as address:
        run(loop, main(address))


def test_a_peer_whose_bytes_come_one_by_one_while_nobody_reads_costs_little(loop, engine):
    """The bytes that wait are not copied for each that comes."""
    count = 20_000

    def handle(sock):
        sslobj, incoming, outgoing = shake_hands(sock, server_context(), server_side=True)
        for _ in range(8):
            sslobj.write(bytes(16384))
        data = outgoing.read()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(data[:-count])
        for byte in data[-count:]:
            sock.sendall(bytes([byte]))

    async def main(address):
        ours = Recorder(loop)
        await loop.create_connection(
            lambda: ours, *address, ssl=client_context(), server_hostname="localhost"
        )
        ours.transport.pause_reading()
        began = time.thread_time()
        while ours.transport.get_read_buffer_size() < 8 * 16384:
            await asyncio.sleep(0.01)
        assert time.thread_time() - began < 500e-6 * count
        ours.transport.resume_reading()
        await ours.until(lambda: len(ours.data) == 8 * 16384)

    with peer(handle) as address:
        run(loop, main(address))
