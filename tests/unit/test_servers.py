"""Servers: accepting, closing, waiting, serving for ever, sharing ports, running out of files."""

import asyncio
import contextlib
import errno
import functools
import gc
import os
import socket
import sys
import threading
import warnings
import weakref

import pytest
from traces import Recorder, patient, read, read_all, send, until

waits_for_clients = sys.version_info >= (3, 12)
LOCAL = "127.0.0.1"


async def serve(trace, lane="served", **options):
    """Start a server; returns it and the list of the recorders of its connections."""
    made = []

    def factory():
        made.append(Recorder(trace, lane))
        return made[-1]

    return await trace.loop.create_server(factory, LOCAL, 0, **options), made


def dial(trace, server):
    """Return a raw socket connected to the server."""
    sock = trace.keep(socket.create_connection(server.sockets[0].getsockname()[:2], timeout=10))
    sock.setblocking(False)
    return sock


async def served(trace, server, made):
    """Connect; return the raw socket and the server's recorder."""
    count = len(made)
    sock = dial(trace, server)
    await until(lambda: len(made) > count and made[-1].transport is not None)
    return sock, made[-1]


# ---- accepting ----


@pytest.mark.parametrize("where", ["instance", "subclass"])
def test_a_replaced_maker_of_transports_is_asked_for_each_connection(make_loop, loop_class, where):
    made = []

    def maker(self, sock, protocol, *args, **kwargs):
        made.append(type(protocol))
        return loop_class._make_socket_transport(self, sock, protocol, *args, **kwargs)

    async def main(loop):
        server = await loop.create_server(asyncio.Protocol, LOCAL, 0)
        address = server.sockets[0].getsockname()
        with socket.create_connection(address, timeout=10):
            await until(lambda: made)
        server.close()

    own = {"_make_socket_transport": maker} if where == "subclass" else {}
    loop = make_loop(type("Loop", (loop_class,), own))
    if where == "instance":
        loop._make_socket_transport = functools.partial(maker, loop)
    loop.run_until_complete(main(loop))
    assert made == [asyncio.Protocol]


def test_a_connection_is_accepted_served_and_closed(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        sock, protocol = await served(trace, server, made)
        await send(sock, b"question")
        await protocol.until_received(8)
        protocol.transport.write(b"answer")
        trace("peer", await read(sock, 6))
        for name in "peername", "sockname", "socket":
            trace("served", name, protocol.transport.get_extra_info(name))
        trace("served", protocol.transport.get_extra_info("peername") == sock.getsockname())
        sock.close()
        await protocol.until("connection_lost")
        server.close()
        await patient(server.wait_closed())

    lanes = same_trace(program)
    assert lanes["peer"] == [(b"answer",)] and (True,) in lanes["served"]


def test_many_connections_at_once_are_all_accepted(trace_on):
    async def program(trace):
        server, made = await serve(trace)
        socks = [dial(trace, server) for _ in range(60)]
        for n, sock in enumerate(socks):
            await send(sock, b"%03d" % n)
        await until(lambda: len(made) == 60 and all(len(p.received) == 3 for p in made))
        assert {bytes(p.received) for p in made} == {b"%03d" % n for n in range(60)}
        for protocol in made:
            protocol.transport.abort()
        for protocol in made:
            await protocol.until("connection_lost")
        server.close()

    trace_on(program)


def test_data_waiting_at_accept_comes_after_connection_made(same_trace):
    async def program(trace):
        server, made = await serve(trace, start_serving=False)
        server.sockets[0]._sock.listen()
        sock = dial(trace, server)
        await send(sock, b"early")
        sock.shutdown(socket.SHUT_WR)
        await server.start_serving()
        await until(lambda: bool(made))
        await made[0].until("connection_lost")
        server.close()

    assert same_trace(program)["served"] == [
        ("connection_made",),
        ("data", b"early"),
        ("eof_received",),
        ("connection_lost", None),
    ]


@pytest.mark.parametrize("debug", [False, True])
def test_a_protocol_factory_that_raises_drops_that_connection_only(same_trace, debug):
    async def program(trace):
        calls = []

        def factory():
            calls.append(1)
            if len(calls) == 1:
                raise LookupError("mine")
            return Recorder(trace, "served", connection_made=lambda p: p.transport.close())

        server = await trace.loop.create_server(factory, LOCAL, 0)
        dial(trace, server)
        await until(lambda: len(calls) == 1)
        trace("second", (await read_all(dial(trace, server)))[1])
        server.close()

    lanes = same_trace(program, debug=debug, level=30)
    assert lanes["second"] == [("EOF",)] and ("handler" in lanes) == debug


@pytest.mark.parametrize("product", [None, 5, object()], ids=repr)
def test_a_protocol_factory_that_returns_no_protocol_does_what_stocks_does(same_trace, product):
    async def program(trace):
        server = await trace.loop.create_server(lambda: product, LOCAL, 0)
        await send(dial(trace, server), b"x")
        await asyncio.sleep(0.01)
        server.close()

    same_trace(program)


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_fatal_exception_of_a_protocol_factory_leaves_the_run(same_trace, fatal):
    def program(trace):
        def factory():
            raise fatal("factory")

        loop = trace.loop
        loop.set_exception_handler(lambda loop, context: None)  # told when the task is collected
        server = loop.run_until_complete(loop.create_server(factory, LOCAL, 0))
        dial(trace, server)
        try:
            loop.run_until_complete(asyncio.wait_for(asyncio.sleep(5), 10))
        except BaseException as exc:
            trace("run", exc)
        server.close()
        loop.run_until_complete(asyncio.sleep(0))

    assert same_trace(program)["run"] == [((fatal.__name__, "factory", None),)]


def test_connections_reset_in_the_queue_do_no_harm(trace_on):
    async def program(trace):
        server, made = await serve(trace, start_serving=False)
        server.sockets[0]._sock.listen()
        for _ in range(10):
            sock = dial(trace, server)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0] + [0] * 4))
            sock.close()
        await server.start_serving()
        sock, protocol = await served(trace, server, made)
        await send(sock, b"fine")
        await until(lambda: any(p.received == b"fine" for p in made))
        for protocol in made:
            protocol.transport.abort()
        await until(lambda: all("connection_lost" in p.events for p in made))
        server.close()

    lanes = trace_on(program)
    assert "handler" not in lanes


# ---- out of descriptors ----

OUT_OF_FILES = """
    import errno, os, resource, socket
    from asyncio import constants

    constants.ACCEPT_RETRY_DELAY = 0.05
    contexts = []
    served = []

    class Served(asyncio.Protocol):
        def connection_made(self, transport):
            served.append(transport)
            transport.write(b"hello")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        server = await loop.create_server(Served, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = [socket.socket() for _ in range(5)]
        for client in clients:
            client.settimeout(10)
        top = max(map(int, os.listdir("/proc/self/fd")))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1, hard))
        spare = []
        try:
            while True:
                spare.append(os.dup(0))
        except OSError as exc:
            assert exc.errno == errno.EMFILE
        os.close(spare.pop())  # one connection can be accepted
        for client in clients:
            client.connect(address)
        for _ in range(100):
            await asyncio.sleep(0.01)
            if contexts:
                break
        print(sorted(contexts[0]), contexts[0]["message"], contexts[0]["exception"].errno)
        print(type(contexts[0]["socket"]).__name__, len(served))
        count = len(contexts)
        await asyncio.sleep(0.02)
        print("calm" if len(contexts) - count <= 1 else f"busy: {len(contexts) - count}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.setblocking(False)
            print(await loop.sock_recv(client, 10))
            client.close()
        server.close()

    loop = new_loop()
    loop.run_until_complete(asyncio.wait_for(main(), 25))
"""


def test_without_descriptors_accept_waits_and_keeps_the_listen_queue(child):
    lines = child.ok(OUT_OF_FILES).splitlines()
    assert lines[0] == (
        f"['exception', 'message', 'socket'] socket.accept() out of system resource {errno.EMFILE}"
    )
    assert lines[1:3] == ["TransportSocket 1", "calm"]
    assert lines[3:] == ["b'hello'"] * 5


CLOSED_WHILE_OUT_OF_FILES = """
    import os, resource, socket
    from asyncio import constants

    constants.ACCEPT_RETRY_DELAY = 0.05
    contexts = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: contexts.append(context["message"]))
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        client = socket.socket()
        top = max(map(int, os.listdir("/proc/self/fd")))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (top + 1, limits[1]))
        try:
            while True:
                os.dup(0)
        except OSError:
            pass
        client.connect(server.sockets[0].getsockname())
        while not contexts:
            await asyncio.sleep(0.001)
        server.close()
        seen = len(contexts)  # more than one where turns take long
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await asyncio.sleep(0.2)
        print(*{*contexts}, len(contexts) - seen)

    new_loop().run_until_complete(asyncio.wait_for(main(), 25))
"""


@pytest.mark.ours("stock tries to listen on the closed socket and reports a ValueError")
def test_a_server_closed_while_it_waits_for_descriptors_stays_closed(child):
    assert child.ok(CLOSED_WHILE_OUT_OF_FILES) == "socket.accept() out of system resource 0\n"


def test_an_error_of_accept_is_reported_and_ends_no_loop(loop):
    contexts = []

    async def main():
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        server = await loop.create_server(asyncio.Protocol, LOCAL, 0)
        with socket.socket(fileno=os.dup(server.sockets[0].fileno())) as listener:
            listener.shutdown(socket.SHUT_RDWR)
        await until(lambda: contexts)
        server.close()

    loop.run_until_complete(main())
    assert contexts[0]["exception"].errno == errno.EINVAL
    assert contexts[0]["message"].startswith("Exception in callback ")
    assert "_accept_connection(" in contexts[0]["message"]


# ---- closing ----


def test_close_stops_listening_at_once_and_keeps_connections(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        sock, protocol = await served(trace, server, made)
        address = server.sockets[0].getsockname()
        trace("server", server.is_serving(), len(server.sockets))
        server.close()
        trace("server", server.is_serving(), server.sockets)
        with socket.socket() as late:
            trace("late", late.connect_ex(address))
        await send(sock, b"still")
        await protocol.until_received(5)
        protocol.transport.abort()
        await protocol.until("connection_lost")
        await patient(server.wait_closed())

    lanes = same_trace(program)
    assert lanes["late"] == [(errno.ECONNREFUSED,)]


def test_close_twice_and_wait_closed_twice(same_trace):
    async def program(trace):
        server, _ = await serve(trace)
        for _ in range(2):
            trace.call("server", server.close)
        for _ in range(2):
            await trace.wait("server", server.wait_closed())

    same_trace(program)


def test_wait_closed_waits_for_the_clients_of_this_version(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        _, protocol = await served(trace, server, made)
        server.close()
        waiting = asyncio.ensure_future(server.wait_closed())
        for _ in range(5):
            await asyncio.sleep(0)
        trace("server", waiting.done())
        protocol.transport.abort()
        await protocol.until("connection_lost")
        await patient(waiting)

    assert same_trace(program)["server"] == [(not waits_for_clients,)]


def test_wait_closed_before_close_waits_for_it(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        waiting = asyncio.ensure_future(server.wait_closed())
        for _ in range(3):
            await asyncio.sleep(0)
        trace("server", waiting.done())
        server.close()
        await patient(waiting)

    same_trace(program)


@pytest.mark.parametrize("end", ["close", "abort", "peer", "exception"])
def test_every_end_of_a_client_counts_for_wait_closed(same_trace, end):
    def fail(protocol, exc):
        raise LookupError("mine")

    async def program(trace):
        made = []

        def factory():
            hooks = {"connection_lost": fail} if end == "exception" else {}
            made.append(Recorder(trace, "served", **hooks))
            return made[-1]

        server = await trace.loop.create_server(factory, LOCAL, 0)
        sock, protocol = await served(trace, server, made)
        server.close()
        if end == "peer":
            sock.close()
        else:
            getattr(protocol.transport, "abort" if end == "abort" else "close")()
        await trace.wait("server", server.wait_closed())
        trace("server", "connection_lost" in protocol.events)

    same_trace(program)


has_clients = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="close_clients and abort_clients came with Python 3.13"
)


@has_clients
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_clients_of_a_server_are_closed_or_aborted_together(same_trace, method):
    async def program(trace):
        server, made = await serve(trace)
        socks = [(await served(trace, server, made))[0] for _ in range(3)]
        if method == "abort_clients":
            made[0].transport.write(bytes(1 << 24))
        server.close()
        trace("server", getattr(server, method)())
        for n, sock in enumerate(socks):
            data, end = await read_all(sock)
            trace("peer", n, len(data) < 1 << 24, end)
        await trace.wait("server", server.wait_closed())

    lanes = same_trace(program)
    assert lanes["peer"][1:] == [(1, True, "EOF"), (2, True, "EOF")]


@has_clients
def test_close_clients_flushes_what_is_buffered(trace_on):
    async def program(trace):
        server, made = await serve(trace)
        sock, protocol = await served(trace, server, made)
        protocol.transport.write(bytes(1 << 23))
        server.close()
        server.close_clients()
        data, end = await read_all(sock)
        assert (len(data), end) == (1 << 23, "EOF")
        await patient(server.wait_closed())

    trace_on(program)


@has_clients
def test_the_server_does_not_keep_its_clients_alive(trace_on):
    async def program(trace):
        server, made = await serve(trace)
        _, protocol = await served(trace, server, made)
        ref = weakref.ref(protocol.transport)
        protocol.transport.pause_reading()
        with warnings.catch_warnings():
            # A warning that is recorded keeps the transport that it is about.
            warnings.simplefilter("ignore", ResourceWarning)
            protocol.transport = None
            made.clear()
            del protocol
            await asyncio.sleep(0)
            gc.collect()
        trace("ref", ref() is None)
        server.close()
        await patient(server.wait_closed())

    assert trace_on(program)["ref"] == [(True,)]


@has_clients
def test_a_connection_is_among_the_clients_until_it_is_lost(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        for n in range(3):
            await served(trace, server, made)
            trace("clients", n, [p.transport in server._clients for p in made])
        for protocol in made:
            protocol.transport.abort()
            await protocol.until("connection_lost")
            trace("clients", len(server._clients), server.is_serving())
        server.close()
        await patient(server.wait_closed())

    lanes = same_trace(program)
    assert lanes["clients"][3:] == [(2, True), (1, True), (0, True)]


@has_clients
def test_clients_that_end_while_somebody_iterates_over_them_leave_later(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        for _ in range(3):
            await served(trace, server, made)
        clients = iter(server._clients)
        next(clients)
        made[0].transport.abort()
        await made[0].until("connection_lost")
        trace("clients", len(server._clients))
        clients.close()
        trace("clients", len(server._clients))
        server.close()
        for protocol in made[1:]:
            protocol.transport.abort()
        await patient(server.wait_closed())
        trace("clients", len(server._clients))

    same_trace(program)


@has_clients
def test_connections_are_added_to_the_clients_when_somebody_looks(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        for _ in range(3):
            await served(trace, server, made)
        made[0].transport.abort()
        await made[0].until("connection_lost")
        trace(
            "clients",
            len(server._clients),
            set(server._clients.copy()) == {p.transport for p in made[1:]},
        )
        await served(trace, server, made)
        made[1].transport.abort()
        await made[1].until("connection_lost")
        server._clients.discard(made[2].transport)
        trace("clients", [p.transport in server._clients for p in made])
        server._clients.add(made[2].transport)
        server.close()
        server.abort_clients()
        await patient(server.wait_closed())
        trace("clients", len(server._clients))

    assert same_trace(program)["clients"] == [(2, True), ((False, False, False, True),), (0,)]


@has_clients
def test_clients_that_somebody_took_before_the_server_started_stay_its_clients(same_trace):
    async def program(trace):
        server, made = await serve(trace, start_serving=False)
        clients = server._clients
        await server.start_serving()
        for _ in range(2):
            await served(trace, server, made)
        trace("clients", len(clients), clients is server._clients)
        made[0].transport.abort()
        await made[0].until("connection_lost")
        trace("clients", [p.transport in clients for p in made])
        server.close()
        server.abort_clients()
        await patient(server.wait_closed())
        trace("clients", len(clients))

    assert same_trace(program)["clients"] == [(2, True), ((False, True),), (0,)]


@has_clients
@pytest.mark.parametrize("other", [weakref.WeakSet, set])
def test_clients_that_replace_a_serving_servers_are_told(same_trace, other):
    async def program(trace):
        server, made = await serve(trace)
        await served(trace, server, made)
        first, server._clients = server._clients, other()
        await served(trace, server, made)
        trace("clients", *([p.transport in s for p in made] for s in (first, server._clients)))
        made[0].transport.abort()
        await made[0].until("connection_lost")
        trace("clients", len(first), len(server._clients))
        server._clients = first.copy()
        await served(trace, server, made)
        trace("clients", made[2].transport in server._clients, made[2].transport in first)
        for protocol in made[1:]:
            protocol.transport.abort()
            await protocol.until("connection_lost")
        server.close()

    assert same_trace(program)["clients"] == [((True, False), (False, True)), (1, 1), (True, False)]


@has_clients
def test_replaced_methods_of_the_server_class_are_called(same_trace, monkeypatch):
    def told(trace, name):
        stock = getattr(asyncio.Server, name)

        def method(server, transport):
            trace("server", name)
            return stock(server, transport)

        return method

    async def program(trace):
        with monkeypatch.context() as patch:
            for name in "_attach", "_detach":
                patch.setattr(asyncio.Server, name, told(trace, name))
            server, made = await serve(trace)
            _, protocol = await served(trace, server, made)
            protocol.transport.abort()
            await protocol.until("connection_lost")
            await asyncio.sleep(0)
            server.close()
            await patient(server.wait_closed())

    assert same_trace(program)["server"] == [("_attach",), ("_detach",)]


@has_clients
def test_the_last_client_of_a_closed_server_ends_the_wait(same_trace):
    async def program(trace):
        server, made = await serve(trace)
        first, _ = await served(trace, server, made)
        second, _ = await served(trace, server, made)
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        first.close()
        await made[0].until("connection_lost")
        await asyncio.sleep(0)
        trace("server", waiting.done())
        second.close()
        await patient(waiting)
        trace("server", len(server._clients))

    assert same_trace(program)["server"] == [(False,), (0,)]


# ---- serving ----


def test_start_serving_false_waits_for_start_serving(same_trace):
    async def program(trace):
        server, made = await serve(trace, start_serving=False)
        trace("server", server.is_serving(), len(server.sockets))
        with socket.socket() as early:
            trace("early", early.connect_ex(server.sockets[0].getsockname()))
        for _ in range(2):
            await server.start_serving()
        trace("server", server.is_serving())
        sock, protocol = await served(trace, server, made)
        protocol.transport.abort()
        await protocol.until("connection_lost")
        server.close()

    assert same_trace(program)["early"] == [(errno.ECONNREFUSED,)]


def test_serve_forever_ends_when_cancelled_and_closes(same_trace):
    async def program(trace):
        server, made = await serve(trace, start_serving=False)
        task = asyncio.ensure_future(server.serve_forever())
        await until(server.is_serving)
        sock, protocol = await served(trace, server, made)
        protocol.transport.abort()
        await protocol.until("connection_lost")
        await trace.wait("second", server.serve_forever())
        task.cancel()
        await trace.wait("task", task)
        trace("server", server.is_serving(), server.sockets)
        await trace.wait("closed", server.serve_forever())

    lanes = same_trace(program)
    assert lanes["task"][0][1][0] == "CancelledError"


def test_closing_the_server_ends_serve_forever(same_trace):
    async def program(trace):
        server, _ = await serve(trace)
        task = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        server.close()
        await trace.wait("task", task)

    assert same_trace(program)["task"][0][1][0] == "CancelledError"


def test_a_server_is_an_async_context_manager(same_trace):
    async def program(trace):
        server, _ = await serve(trace)
        async with server as same:
            trace("server", same is server, server.is_serving())
        trace("server", server.is_serving())
        trace("server", server.get_loop() is trace.loop)

    same_trace(program)


def test_the_repr_of_a_server_is_stocks(same_trace):
    async def program(trace):
        server, _ = await serve(trace)
        trace("server", server)
        server.close()
        trace("server", server)

    same_trace(program)


def test_a_server_nobody_holds_serves_on(trace_on):
    async def program(trace):
        server, made = await serve(trace)
        address = server.sockets[0].getsockname()
        del server
        gc.collect()
        sock = trace.keep(socket.create_connection(address, timeout=10))
        sock.send(b"hello")
        await until(lambda: bool(made) and made[0].received == b"hello")
        made[0].transport.abort()
        await made[0].until("connection_lost")

    trace_on(program)


def test_closing_the_loop_with_an_open_server_leaks_no_descriptor(new_loop, fds, collect):
    collect()  # what earlier tests left
    before = fds()
    for _ in range(5):
        loop = new_loop()

        async def main(loop=loop):
            server = await loop.create_server(asyncio.Protocol, LOCAL, 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await asyncio.sleep(0.001)
            server.close()
            writer.close()

        loop.run_until_complete(main())
        loop.close()
    del loop
    collect()
    assert fds() == before


def test_accept_after_the_server_was_closed_in_the_same_turn_is_harmless(trace_on):
    async def program(trace):
        server, made = await serve(trace)
        socks = [dial(trace, server) for _ in range(5)]
        server.close()
        for sock in socks:
            await read_all(sock)
        trace("made", len(made))

    assert trace_on(program)["made"] == [(0,)]


def test_a_server_closed_inside_connection_made_drops_nobody_accepted(same_trace):
    async def program(trace):
        made = []

        def factory():
            made.append(Recorder(trace, "served", connection_made=lambda p: server.close()))
            return made[-1]

        server = await trace.loop.create_server(factory, LOCAL, 0)
        sock, protocol = await served(trace, server, made)
        await send(sock, b"hello")
        await protocol.until_received(5)
        protocol.transport.abort()
        await protocol.until("connection_lost")
        await trace.wait("server", server.wait_closed())

    same_trace(program)


# ---- create_server's arguments ----


def test_sockets_passed_in_are_listened_on_and_closed(same_trace):
    async def program(trace):
        sock = trace.keep(socket.socket())
        sock.bind((LOCAL, 0))
        server = await trace.loop.create_server(lambda: Recorder(trace, "served"), sock=sock)
        trace("sock", sock.gettimeout(), server.sockets[0].fileno() == sock.fileno())
        client = dial(trace, server)
        client.close()
        await until(lambda: ("connection_lost", None) in trace.lanes.get("served", []))
        server.close()
        trace("sock", sock.fileno())

    assert same_trace(program)["sock"][-1] == (-1,)


WRONG = {
    "nothing": {},
    "host and sock": {"host": LOCAL, "sock": socket.SOCK_STREAM},
    "datagram sock": {"sock": socket.SOCK_DGRAM},
    "bad host": {"host": "256.256.256.256", "port": 0},
    "bad port": {"host": LOCAL, "port": 99999},
    "bool ssl": {"host": LOCAL, "port": 0, "ssl": True},
    "timeout without ssl": {"host": LOCAL, "port": 0, "ssl_handshake_timeout": 1},
    "foreign address": {"host": "192.0.2.1", "port": 0},
    "bad backlog": {"host": LOCAL, "port": 0, "backlog": "many"},
    "unknown": {"host": LOCAL, "port": 0, "colour": "red"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused_as_by_stock(same_trace, wrong):
    async def program(trace):
        options = dict(wrong)
        if "sock" in options:
            options["sock"] = trace.keep(socket.socket(type=options["sock"]))
        try:
            create = trace.loop.create_server(asyncio.Protocol, **options)
        except TypeError as exc:
            trace("create", "raises", exc)
            return
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][0] == "raises"


def test_an_address_in_use_is_refused_in_stocks_words(same_trace):
    async def program(trace):
        server, _ = await serve(trace)
        port = server.sockets[0].getsockname()[1]
        try:
            await trace.loop.create_server(asyncio.Protocol, LOCAL, port)
        except OSError as exc:
            trace("create", exc.errno, str(exc).replace(str(port), "PORT"))
        server.close()

    assert same_trace(program)["create"][0][0] == errno.EADDRINUSE


def test_several_hosts_make_several_sockets(same_trace):
    async def program(trace):
        server = await trace.loop.create_server(asyncio.Protocol, [LOCAL, "127.0.0.2"], 0)
        trace("server", sorted(sock.getsockname()[0] for sock in server.sockets))
        server.close()

    assert same_trace(program)["server"] == [((LOCAL, "127.0.0.2"),)]


def test_reuse_port_lets_two_servers_share_a_port(same_trace):
    async def program(trace):
        first, made1 = await serve(trace, "first", reuse_port=True)
        port = first.sockets[0].getsockname()[1]
        made2 = []

        def factory():
            made2.append(Recorder(trace, "second"))
            return made2[-1]

        second = await trace.loop.create_server(factory, LOCAL, port, reuse_port=True)
        sock = first.sockets[0]
        trace("sock", sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) != 0)
        for _ in range(20):
            dial(trace, first)
        await until(lambda: len(made1) + len(made2) == 20)
        for protocol in made1 + made2:
            await protocol.until("connection_made")
            protocol.transport.abort()
            await protocol.until("connection_lost")
        trace.lanes.pop("first", None), trace.lanes.pop("second", None)  # the kernel shares out
        for server in first, second:
            server.close()

    assert same_trace(program)["sock"] == [(True,)]


def test_loops_of_two_threads_share_a_listening_socket(make_loop, loop_class):
    """Each client is served by one of them, and nobody waits."""
    clients, served = 60, []

    class Greeter(asyncio.Protocol):
        def connection_made(self, transport):
            served.append(threading.get_ident())
            transport.write(b"hello")
            transport.close()

    def run(loop, sock, ready):
        async def main():
            server = await loop.create_server(Greeter, sock=sock)
            ready.set()
            await stop[loop].wait()
            server.close()
            await server.wait_closed()

        stop[loop] = asyncio.Event()
        loop.run_until_complete(main())

    listening = socket.create_server((LOCAL, 0), backlog=clients)
    stop, threads = {}, []
    for _ in range(2):
        ready, loop = threading.Event(), make_loop(loop_class)
        threads.append(threading.Thread(target=run, args=(loop, listening.dup(), ready)))
        threads[-1].start()
        assert ready.wait(30)
    dialled = [socket.create_connection(listening.getsockname()) for _ in range(clients)]
    for client in dialled:
        client.settimeout(30)
        assert client.recv(100) == b"hello" and client.recv(1) == b""
        client.close()
    for loop, event in stop.items():
        loop.call_soon_threadsafe(event.set)
    for thread in threads:
        thread.join(30)
    listening.close()
    assert len(served) == clients


@pytest.mark.parametrize("reuse", [None, True, False])
def test_reuse_address_is_set_as_on_stock(same_trace, reuse):
    async def program(trace):
        server, _ = await serve(trace, reuse_address=reuse)
        sock = server.sockets[0]
        trace("sock", sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0)
        server.close()

    assert same_trace(program)["sock"] == [(reuse is not False,)]


def test_ipv6_sockets_serve(same_trace):
    if not has_ipv6():
        pytest.skip("no IPv6 on the loopback interface")

    async def program(trace):
        made = []

        def factory():
            made.append(Recorder(trace, "served"))
            return made[-1]

        server = await trace.loop.create_server(factory, "::1", 0)
        sock, protocol = await served(trace, server, made)
        for name in "peername", "sockname":
            trace("served", name, protocol.transport.get_extra_info(name))
        protocol.transport.abort()
        await protocol.until("connection_lost")
        server.close()

    assert ("peername", ("::1", "PORT", 0, 0)) in same_trace(program)["served"]


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize("backlog", [0, 1, 100])
def test_small_backlogs_serve_everybody_in_the_end(trace_on, backlog):
    async def program(trace):
        server, made = await serve(trace, backlog=max(backlog, 1))
        for _ in range(5):
            sock, protocol = await served(trace, server, made)
            protocol.transport.abort()
            await protocol.until("connection_lost")
        server.close()

    trace_on(program)


def test_start_server_of_the_streams_api_runs_a_handler_per_connection(same_trace):
    async def program(trace):
        async def handle(reader, writer):
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(handle, LOCAL, 0)
        for word in b"one\n", b"two\n":
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(word)
            trace("client", await patient(reader.read()))
            writer.close()
            await patient(writer.wait_closed())
        server.close()
        await patient(server.wait_closed())

    assert same_trace(program)["client"] == [(b"ONE\n",), (b"TWO\n",)]
