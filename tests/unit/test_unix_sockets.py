"""UNIX stream sockets by path: servers, connections, socket files, abstract names."""

import asyncio
import os
import pathlib
import socket
import sys

import pytest
from traces import Recorder, patient, read_all

cleans_up = sys.version_info >= (3, 13)


def serve(trace, path, **options):
    """Start a server whose connections say hello and close."""

    def hello(protocol):
        protocol.transport.write(b"hello")
        protocol.transport.close()

    return trace.loop.create_unix_server(
        lambda: Recorder(trace, "served", connection_made=hello), path, **options
    )


def connected(trace, path):
    """Return a raw socket connected to path."""
    sock = trace.keep(socket.socket(socket.AF_UNIX))
    sock.connect(path)
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path], ids=["str", "bytes", "Path"])
def test_a_server_serves_at_a_path(same_trace, kind):
    async def program(trace):
        path = kind(trace.folder + "/sock")
        server = await serve(trace, path)
        trace("peer", *await read_all(connected(trace, trace.folder + "/sock")))
        trace("server", server.sockets[0].getsockname())
        server.close()
        await patient(server.wait_closed())
        trace("server", os.path.exists(path))

    lanes = same_trace(program)
    assert lanes["peer"] == [(b"hello", "EOF")]
    assert lanes["server"][-1] == (not cleans_up,)


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path], ids=["str", "bytes", "Path"])
def test_a_connection_is_made_to_a_path(same_trace, kind):
    async def program(trace):
        server = await serve(trace, trace.folder + "/sock")
        client = Recorder(trace)
        await trace.loop.create_unix_connection(lambda: client, kind(trace.folder + "/sock"))
        for name in "peername", "sockname", "socket":
            trace("client", name, client.transport.get_extra_info(name))
        await client.until("connection_lost")
        server.close()
        await patient(server.wait_closed())

    lanes = same_trace(program)
    assert ("peername", "FOLDER/sock") in lanes["client"]
    assert ("data", b"hello") in lanes["client"]


@pytest.mark.parametrize("kind", [str, os.fsencode], ids=["str", "bytes"])
def test_abstract_names_work_and_leave_no_file(same_trace, kind):
    name = f"\0casyncio-test-{os.getpid()}"

    async def program(trace):
        server = await serve(trace, kind(name))
        client = Recorder(trace)
        await trace.loop.create_unix_connection(lambda: client, kind(name))
        trace("client", client.transport.get_extra_info("peername") == os.fsencode(name))
        await client.until("connection_lost")
        server.close()
        await patient(server.wait_closed())
        trace("folder", os.listdir(trace.folder))

    lanes = same_trace(program)
    assert (True,) in lanes["client"] and ("data", b"hello") in lanes["client"]


def test_a_stale_socket_file_is_replaced(same_trace):
    async def program(trace):
        path = trace.folder + "/sock"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
        server = await serve(trace, path)
        trace("peer", *await read_all(connected(trace, path)))
        server.close()

    assert same_trace(program)["peer"] == [(b"hello", "EOF")]


def test_a_regular_file_at_the_path_is_left_alone(same_trace):
    async def program(trace):
        path = pathlib.Path(trace.folder, "sock")
        path.write_text("precious")
        await trace.wait("server", serve(trace, path))
        trace("server", path.read_text())

    lanes = same_trace(program)
    assert lanes["server"][0][1][0] == "OSError" and lanes["server"][1] == ("precious",)


@pytest.mark.skipif(not cleans_up, reason="cleanup_socket came with Python 3.13")
@pytest.mark.parametrize("cleanup", [True, False])
def test_cleanup_socket_says_whether_the_file_is_removed(same_trace, cleanup):
    async def program(trace):
        server = await serve(trace, trace.folder + "/sock", cleanup_socket=cleanup)
        server.close()
        trace("server", os.listdir(trace.folder))

    assert same_trace(program)["server"] == [(() if cleanup else ("sock",),)]


def test_a_file_that_replaced_ours_is_not_removed(same_trace):
    async def program(trace):
        path = trace.folder + "/sock"
        first = await serve(trace, path)
        second = await serve(trace, path)
        first.close()
        trace("server", os.path.exists(path))
        trace("peer", *await read_all(connected(trace, path)))
        second.close()
        trace("server", os.path.exists(path))

    assert same_trace(program)["server"] == [(True,), (not cleans_up,)]


def test_a_file_removed_by_somebody_is_no_error_at_close(same_trace):
    async def program(trace):
        path = trace.folder + "/sock"
        server = await serve(trace, path)
        os.remove(path)
        server.close()
        await patient(server.wait_closed())

    assert same_trace(program)["program"] == [("returns", None)]


def test_a_server_on_a_given_socket_removes_its_file_as_stock_does(same_trace):
    async def program(trace):
        sock = trace.keep(socket.socket(socket.AF_UNIX))
        sock.bind(trace.folder + "/sock")
        server = await serve(trace, None, sock=sock)
        trace("peer", *await read_all(connected(trace, trace.folder + "/sock")))
        server.close()
        trace("server", os.listdir(trace.folder), sock.fileno())

    assert same_trace(program)["server"] == [(() if cleans_up else ("sock",), -1)]


WRONG = {
    "nothing": {},
    "path and sock": {"path": "/tmp/x", "sock": socket.AF_UNIX},
    "internet sock": {"sock": socket.AF_INET},
    "no such folder": {"path": "/nonexistent/folder/sock"},
    "too long": {"path": "/tmp/" + "x" * 200},
    "ssl timeout without ssl": {"path": "/tmp/x", "ssl_handshake_timeout": 1},
    "bool ssl": {"path": "/tmp/x", "ssl": True},
    "int path": {"path": 5},
}


def arguments(trace, wrong):
    options = dict(wrong)
    if "sock" in options:
        options["sock"] = trace.keep(socket.socket(options["sock"]))
    return options


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_of_a_server_are_refused_as_by_stock(same_trace, wrong):
    async def program(trace):
        options = arguments(trace, wrong)
        create = trace.loop.create_unix_server(asyncio.Protocol, **options)
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][0] == "raises"


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_of_a_connection_are_refused_as_by_stock(same_trace, wrong):
    async def program(trace):
        options = arguments(trace, wrong)
        create = trace.loop.create_unix_connection(asyncio.Protocol, **options)
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][0] == "raises"


@pytest.mark.parametrize("left", ["nothing", "dead", "regular"])
def test_connecting_where_nobody_listens_fails_in_stocks_words(same_trace, left):
    async def program(trace):
        path = trace.folder + "/sock"
        if left == "dead":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(path)
        elif left == "regular":
            pathlib.Path(path).touch()
        await trace.wait("create", trace.loop.create_unix_connection(asyncio.Protocol, path))

    assert same_trace(program)["create"][0][0] == "raises"


def test_a_connection_on_a_given_socket_keeps_it(same_trace):
    async def program(trace):
        ours, peer = trace.pair("unix")
        protocol = Recorder(trace)
        await trace.loop.create_unix_connection(lambda: protocol, sock=ours)
        protocol.transport.write(b"hello")
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")
        trace("client", ours.fileno())

    assert same_trace(program)["client"][-1] == (-1,)


def test_credentials_are_read_through_the_transport_socket(same_trace):
    async def program(trace):
        protocol, _ = await trace.connect("unix")
        sock = protocol.transport.get_extra_info("socket")
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        trace("client", int.from_bytes(raw[:4], sys.byteorder) == os.getpid())
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert (True,) in same_trace(program)["client"]


def test_a_full_listen_queue_makes_the_connection_fail_as_on_stock(same_trace):
    """A full UNIX queue is EAGAIN, for which stock waits until the socket is writable."""

    async def program(trace):
        path = trace.folder + "/sock"
        listener = trace.keep(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        connected(trace, path)
        await trace.wait("create", first(trace, path))
        trace("alive", True)

    assert same_trace(program)["alive"] == [(True,)]


async def first(trace, path):
    transport, _ = await trace.loop.create_unix_connection(asyncio.Protocol, path)
    transport.abort()


def test_connections_from_many_clients_are_all_served(trace_on):
    async def program(trace):
        path = trace.folder + "/sock"
        server = await serve(trace, path, backlog=5)

        async def client():
            reader, writer = await asyncio.open_unix_connection(path)
            assert await reader.read() == b"hello"
            writer.close()
            await writer.wait_closed()

        for _ in range(5):
            await patient(asyncio.gather(*(client() for _ in range(5))))
        server.close()
        await patient(server.wait_closed())
        trace("count", len([e for e in trace.lanes["served"] if e[0] == "connection_made"]))

    assert trace_on(program)["count"] == [(25,)]
