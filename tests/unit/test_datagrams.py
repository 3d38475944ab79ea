"""Datagram transports: UDP and UNIX, connected or not, errors, flow control, closing."""

import asyncio
import contextlib
import errno
import os
import socket

import pytest
from traces import DatagramRecorder, patient, until

LOCAL = "127.0.0.1"


async def endpoint(trace, lane="client", hooks=None, **options):
    """Make a datagram endpoint; by default bound to the loopback interface."""
    options = options or {"local_addr": (LOCAL, 0)}
    protocol = DatagramRecorder(trace, lane, **hooks or {})
    await trace.loop.create_datagram_endpoint(lambda: protocol, **options)
    return protocol


def raw(trace, kind=socket.AF_INET, address=(LOCAL, 0)):
    """Return a bound raw datagram socket."""
    sock = trace.keep(socket.socket(kind, socket.SOCK_DGRAM))
    if address is not None:
        sock.bind(address)
    sock.setblocking(False)
    return sock


async def receive(sock, count=1):
    """Return the next datagrams of a raw socket with their senders."""
    found = []

    def more():
        with contextlib.suppress(BlockingIOError):
            found.append(sock.recvfrom(65536))
        return len(found) >= count

    await until(more)
    return found


def name(protocol):
    return protocol.transport.get_extra_info("sockname")


async def close(*protocols):
    for protocol in protocols:
        protocol.transport.close()
        await protocol.until("connection_lost")


def closed_port():
    """Return a UDP address where nobody listens."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((LOCAL, 0))
        return sock.getsockname()


# ---- sending and receiving ----


def test_datagrams_go_both_ways_between_two_endpoints(same_trace):
    async def program(trace):
        server = await endpoint(
            trace, "server", {"datagram_received": lambda p, d, a: p.transport.sendto(d.upper(), a)}
        )
        client = await endpoint(trace, remote_addr=name(server))
        client.transport.sendto(b"one")
        await client.until("datagram_received")
        client.transport.sendto(b"two", None)
        await client.until("datagram_received", 2)
        client.transport.sendto(b"three", name(server))
        await client.until("datagram_received", 3)
        await close(client, server)

    lanes = same_trace(program)
    assert [e[1] for e in lanes["client"] if e[0] == "datagram_received"] == [
        b"ONE",
        b"TWO",
        b"THREE",
    ]


@pytest.mark.parametrize("size", [0, 1, 1000, 9000, 65507])
def test_datagrams_of_every_size_arrive_whole(same_trace, size):
    async def program(trace):
        server = await endpoint(trace, "server")
        client = raw(trace)
        client.sendto(bytes(size), name(server))
        await server.until("datagram_received")
        trace("sender", server.transport.get_extra_info("sockname")[0])
        await close(server)

    received = [e for e in same_trace(program)["server"] if e[0] == "datagram_received"]
    assert len(received) == 1


@pytest.mark.parametrize("data", [b"", bytearray(), memoryview(b"")], ids=repr)
@pytest.mark.parametrize("connected", [True, False])
def test_sending_an_empty_datagram_does_what_stocks_does(same_trace, data, connected):
    async def program(trace):
        peer = raw(trace)
        options = {"remote_addr": peer.getsockname()} if connected else {}
        client = await endpoint(trace, **options)
        address = None if connected else peer.getsockname()
        trace.call("client", client.transport.sendto, data, address)
        client.transport.sendto(b"end", address)
        datagrams = await receive(peer)
        trace("peer", [data for data, _ in datagrams])
        await close(client)

    same_trace(program)


def test_sendto_without_an_address_on_an_unconnected_endpoint_does_what_stocks_does(same_trace):
    async def program(trace):
        client = await endpoint(trace)
        trace.call("client", client.transport.sendto, b"where")
        await asyncio.sleep(0)
        trace("client", client.transport.is_closing())
        await close(client)

    same_trace(program)


DATA = {
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abc"),
    "stride": memoryview(b"a_b_c_")[::2],
    "too long": bytes(65508),
    "str": "abc",
    "None": None,
    "int": 5,
    "list": [1],
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("connected", [True, False])
def test_sendto_takes_and_refuses_what_stocks_does(same_trace, data, connected):
    async def program(trace):
        peer = raw(trace)
        options = {"remote_addr": peer.getsockname()} if connected else {}
        client = await endpoint(trace, **options)
        trace.call(
            "client", client.transport.sendto, data, None if connected else peer.getsockname()
        )
        await asyncio.sleep(0)
        trace("client", client.transport.is_closing())
        client.transport.abort()
        await client.until("connection_lost")

    same_trace(program)


ADDRESSES = {
    "other port": lambda: (LOCAL, 1),
    "host name": lambda: ("localhost", 9),
    "no port": lambda: (LOCAL,),
    "str": lambda: "127.0.0.1",
    "int": lambda: 5,
    "list": lambda: [LOCAL, 9],
    "bad port": lambda: (LOCAL, 99999),
    "negative port": lambda: (LOCAL, -1),
    "port as str": lambda: (LOCAL, "9"),
    "bad host": lambda: ("256.1.1.1", 9),
    "IPv6": lambda: ("::1", 9, 0, 0),
    "empty": lambda: (),
    "closed port": closed_port,
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
@pytest.mark.parametrize("connected", [True, False])
def test_wrong_addresses_of_sendto_fail_as_on_stock(same_trace, address, connected):
    where = address()

    async def program(trace):
        peer = raw(trace)
        options = {"remote_addr": peer.getsockname()} if connected else {}
        client = await endpoint(trace, **options)
        trace.call("client", client.transport.sendto, b"x", where)
        await asyncio.sleep(0)
        trace("client", client.transport.is_closing())
        client.transport.abort()
        await client.until("connection_lost")

    same_trace(program)


def test_many_datagrams_keep_their_order(trace_on):
    async def program(trace):
        server = await endpoint(trace, "server")
        client = await endpoint(trace, remote_addr=name(server))
        for start in range(0, 300, 50):
            for n in range(start, start + 50):
                client.transport.sendto(b"%04d" % n)
            await server.until("datagram_received", start + 50)
        got = [e[1] for e in trace.lanes["server"] if e[0] == "datagram_received"]
        assert got == [b"%04d" % n for n in range(300)]
        await close(client, server)

    trace_on(program)


def test_a_bytearray_may_change_after_sendto(same_trace):
    async def program(trace):
        peer = raw(trace)
        client = await endpoint(trace)
        data = bytearray(b"before")
        client.transport.sendto(data, peer.getsockname())
        data[:] = b"after!"
        data += b"grown"
        trace("peer", (await receive(peer))[0][0])
        await close(client)

    assert same_trace(program)["peer"] == [(b"before",)]


# ---- errors ----


def test_a_refused_datagram_is_told_to_error_received(same_trace):
    async def program(trace):
        client = await endpoint(trace, remote_addr=closed_port())
        client.transport.sendto(b"x")
        await client.until("error_received")
        trace("client", client.transport.is_closing())
        await close(client)

    error = next(e for e in same_trace(program)["client"] if e[0] == "error_received")
    assert error[1][0] == "ConnectionRefusedError"


def test_after_an_error_the_endpoint_still_sends_and_receives(same_trace):
    async def program(trace):
        address = closed_port()
        client = await endpoint(trace, remote_addr=address)
        client.transport.sendto(b"x")
        await client.until("error_received")
        with socket.socket(type=socket.SOCK_DGRAM) as peer:
            peer.bind(address)
            peer.setblocking(False)
            client.transport.sendto(b"again")
            trace("peer", (await receive(peer))[0][0])
            peer.sendto(b"answer", name(client))
            await client.until("datagram_received")
        await close(client)

    assert same_trace(program)["peer"] == [(b"again",)]


@pytest.mark.parametrize("event", ["datagram_received", "error_received", "connection_made"])
@pytest.mark.parametrize("exc", [LookupError, OSError])
def test_an_exception_of_a_callback_is_reported_as_on_stock(same_trace, event, exc):
    def fail(protocol, *args):
        raise exc("mine")

    async def program(trace):
        server = raw(trace)
        target = closed_port() if event == "error_received" else server.getsockname()
        client = await endpoint(trace, hooks={event: fail}, remote_addr=target)
        if event == "error_received":
            client.transport.sendto(b"x")
        else:
            server.sendto(b"x", name(client))
        await client.until(event)
        await asyncio.sleep(0.001)
        trace("client", client.transport.is_closing())
        client.transport.abort()
        await client.until("connection_lost")

    assert len(same_trace(program)["handler"]) == 1


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_fatal_exception_of_datagram_received_leaves_the_run(same_trace, fatal):
    def fail(protocol, *args):
        raise fatal("mine")

    def program(trace):
        run = trace.loop.run_until_complete
        peer = raw(trace)
        client = run(endpoint(trace, hooks={"datagram_received": fail}))
        peer.sendto(b"x", name(client))
        trace.run(trace.loop.create_future())
        for task in asyncio.all_tasks(trace.loop):
            task.cancel()  # not to be found by the collector some time
        client.transport.abort()
        run(asyncio.wait_for(client.until("connection_lost"), 10))

    assert same_trace(program)["run"] == [((fatal.__name__, "mine", None),)]


# ---- closing ----


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("where", ["connection_made", "datagram_received", "error_received"])
def test_an_endpoint_is_closed_from_inside_a_callback(same_trace, where, how):
    async def program(trace):
        peer = raw(trace)
        hooks = {where: lambda p, *args: getattr(p.transport, how)()}
        target = closed_port() if where == "error_received" else peer.getsockname()
        client = await endpoint(trace, hooks=hooks, remote_addr=target)
        if where == "error_received":
            client.transport.sendto(b"x")
        elif where == "datagram_received":
            for _ in range(3):
                peer.sendto(b"x", name(client))
        await client.until("connection_lost")

    assert same_trace(program)["client"][-1] == ("connection_lost", None)


@pytest.mark.parametrize("connected", [True, False])
def test_sendto_after_close_does_what_stocks_does(same_trace, connected):
    async def program(trace):
        peer = raw(trace)
        options = {"remote_addr": peer.getsockname()} if connected else {}
        client = await endpoint(trace, **options)
        client.transport.close()
        for _ in range(8):
            trace.call(
                "client", client.transport.sendto, b"x", None if connected else peer.getsockname()
            )
        await client.until("connection_lost")

    same_trace(program)


def test_pause_and_resume_are_missing_or_work_as_on_stock(same_trace):
    async def program(trace):
        client = await endpoint(trace)
        for method in "pause_reading", "resume_reading", "is_reading", "is_closing":
            if hasattr(client.transport, method):
                trace.call("client", getattr(client.transport, method))
        trace.call("client", client.transport.get_write_buffer_size)
        trace.call("client", client.transport.get_write_buffer_limits)
        await close(client)

    same_trace(program)


# ---- flow control: a UNIX peer that does not read makes the kernel refuse ----


async def full_endpoint(trace, **hooks):
    """Return a UNIX endpoint whose peer's queue is full, with the count that it took."""
    path = trace.folder + "/peer"
    peer = raw(trace, socket.AF_UNIX, path)
    client = await endpoint(trace, hooks=hooks, remote_addr=path, family=socket.AF_UNIX)
    count = 0
    while client.transport.get_write_buffer_size() == 0:
        client.transport.sendto(b"%06d" % count)
        count += 1
        assert count < 10_000, "the kernel takes everything"
    return client, peer, count


def test_what_the_kernel_refuses_is_queued_and_sent_in_order(same_trace):
    async def program(trace):
        client, peer, count = await full_endpoint(trace)
        trace("client", client.transport.get_write_buffer_size())
        for n in range(count, count + 20):
            client.transport.sendto(b"%06d" % n)
        trace("client", client.transport.get_write_buffer_size())
        datagrams = await receive(peer, count + 20)
        assert [d for d, _ in datagrams] == [b"%06d" % n for n in range(count + 20)]
        await until(lambda: client.transport.get_write_buffer_size() < 400)
        await close(client)

    same_trace(program)


def test_a_full_queue_pauses_and_resumes_the_protocol(same_trace):
    async def program(trace):
        client, peer, count = await full_endpoint(trace)
        for _ in range(70):
            client.transport.sendto(bytes(1000))
        await receive(peer, count + 70)
        await client.until("resume_writing")
        await close(client)

    events = [e[0] for e in same_trace(program)["client"]]
    assert events == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]


def test_close_sends_what_is_queued(same_trace):
    async def program(trace):
        client, peer, count = await full_endpoint(trace)
        client.transport.sendto(b"last")
        client.transport.close()
        trace("client", list(client.events))
        datagrams = await receive(peer, count + 1)
        trace("peer", datagrams[-1][0])
        await client.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"last",)]


def test_abort_drops_what_is_queued(same_trace):
    async def program(trace):
        client, peer, count = await full_endpoint(trace)
        client.transport.sendto(b"last")
        client.transport.abort()
        await client.until("connection_lost")
        datagrams = await receive(peer, count - 1)
        trace("peer", datagrams[-1][0] == b"%06d" % (count - 2))
        with pytest.raises(BlockingIOError):
            peer.recv(10)

    assert same_trace(program)["peer"] == [(True,)]


def test_a_peer_that_goes_away_while_datagrams_are_queued_is_told(same_trace):
    async def program(trace):
        client, peer, _ = await full_endpoint(trace)
        peer.close()
        await client.until("error_received")
        client.transport.abort()
        await client.until("connection_lost")

    events = [e[0] for e in same_trace(program)["client"]]
    assert "error_received" in events and events[-1] == "connection_lost"


@pytest.mark.ours("stock 3.13 counts 8 bytes of header in and never out again")
def test_the_size_of_the_queue_returns_to_zero(trace_on):
    async def program(trace):
        client, peer, count = await full_endpoint(trace)
        await receive(peer, count)
        await asyncio.sleep(0.005)
        assert client.transport.get_write_buffer_size() == 0
        await close(client)

    trace_on(program)


# ---- UNIX datagrams ----


def test_unix_endpoints_talk_by_path(same_trace):
    async def program(trace):
        server = await endpoint(
            trace,
            "server",
            {"datagram_received": lambda p, d, a: p.transport.sendto(d.upper(), a)},
            local_addr=trace.folder + "/server",
            family=socket.AF_UNIX,
        )
        client = await endpoint(
            trace,
            local_addr=trace.folder + "/client",
            remote_addr=trace.folder + "/server",
            family=socket.AF_UNIX,
        )
        client.transport.sendto(b"hello")
        await client.until("datagram_received")
        for key in "peername", "sockname", "socket":
            trace("client", key, client.transport.get_extra_info(key))
        await close(client, server)
        trace("folder", sorted(os.listdir(trace.folder)))

    lanes = same_trace(program)
    assert ("datagram_received", b"HELLO", "FOLDER/server") in lanes["client"]


def test_unix_endpoints_talk_by_abstract_name(same_trace):
    address = f"\0casyncio-dgram-{os.getpid()}"

    async def program(trace):
        server = await endpoint(trace, "server", local_addr=address, family=socket.AF_UNIX)
        client = await endpoint(trace, remote_addr=address, family=socket.AF_UNIX)
        client.transport.sendto(b"hello")
        await server.until("datagram_received")
        await close(client, server)

    assert any(e[:2] == ("datagram_received", b"hello") for e in same_trace(program)["server"])


def test_an_unnamed_unix_sender_has_no_address(same_trace):
    async def program(trace):
        path = trace.folder + "/server"
        server = await endpoint(trace, "server", local_addr=path, family=socket.AF_UNIX)
        raw(trace, socket.AF_UNIX, None).sendto(b"anonymous", path)
        await server.until("datagram_received")
        await close(server)

    assert ("datagram_received", b"anonymous", None) in same_trace(program)["server"]


def test_a_stale_datagram_socket_file_is_replaced(same_trace):
    async def program(trace):
        path = trace.folder + "/server"
        raw(trace, socket.AF_UNIX, path)
        server = await endpoint(trace, "server", local_addr=path, family=socket.AF_UNIX)
        raw(trace, socket.AF_UNIX, None).sendto(b"x", path)
        await server.until("datagram_received")
        await close(server)

    same_trace(program)


# ---- create_datagram_endpoint's arguments ----


def test_the_broadcast_flag_is_set(same_trace):
    async def program(trace):
        client = await endpoint(trace, local_addr=(LOCAL, 0), allow_broadcast=True)
        sock = client.transport.get_extra_info("socket")
        trace("sock", sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) != 0)
        await close(client)

    assert same_trace(program)["sock"] == [(True,)]


def test_a_broadcast_endpoint_with_a_remote_address_is_not_connected(same_trace):
    async def program(trace):
        peer = raw(trace)
        client = await endpoint(trace, remote_addr=peer.getsockname(), allow_broadcast=True)
        trace("client", client.transport.get_extra_info("peername"))
        client.transport.sendto(b"x")
        trace("peer", (await receive(peer))[0][0])
        trace.call("client", client.transport.sendto, b"x", (LOCAL, 9))
        await close(client)

    assert same_trace(program)["peer"] == [(b"x",)]


def test_reuse_port_lets_two_endpoints_share_a_port(same_trace):
    async def program(trace):
        first = await endpoint(trace, "first", local_addr=(LOCAL, 0), reuse_port=True)
        second = await endpoint(trace, "second", local_addr=name(first), reuse_port=True)
        trace("same", name(first) == name(second))
        await close(first, second)

    assert same_trace(program)["same"] == [(True,)]


def test_a_given_socket_is_used_and_closed(same_trace):
    async def program(trace):
        sock = raw(trace)
        sock.setblocking(True)
        client = await endpoint(trace, sock=sock)
        trace("client", sock.gettimeout(), name(client) == sock.getsockname())
        await close(client)
        trace("client", sock.fileno())

    assert same_trace(program)["client"][-1] == (-1,)


WRONG = {
    "nothing": {},
    "address as str": {"local_addr": "127.0.0.1"},
    "address as list": {"local_addr": [LOCAL, 0]},
    "three items": {"local_addr": (LOCAL, 0, 0)},
    "families differ": {"local_addr": (LOCAL, 0), "remote_addr": ("::1", 9)},
    "bad host": {"remote_addr": ("256.1.1.1", 9)},
    "foreign address": {"local_addr": ("192.0.2.1", 0)},
    "unix address as tuple": {"local_addr": (LOCAL, 0), "family": socket.AF_UNIX},
    "no such folder": {"local_addr": "/nonexistent/folder/x", "family": socket.AF_UNIX},
    "nobody there": {"remote_addr": "/nonexistent/folder/x", "family": socket.AF_UNIX},
    "stream sock": {"sock": socket.SOCK_STREAM},
    "sock and address": {"sock": socket.SOCK_DGRAM, "local_addr": (LOCAL, 0)},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused_as_by_stock(same_trace, wrong):
    async def program(trace):
        options = dict(wrong)
        if "sock" in options:
            options["sock"] = trace.keep(socket.socket(type=options["sock"]))
        create = trace.loop.create_datagram_endpoint(asyncio.DatagramProtocol, **options)
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][0] == "raises"


def test_a_protocol_factory_that_raises_comes_out(same_trace):
    async def program(trace):
        create = trace.loop.create_datagram_endpoint(lambda: 1 / 0, local_addr=(LOCAL, 0))
        await trace.wait("create", create)

    assert same_trace(program)["create"][0][1][0] == "ZeroDivisionError"


def test_the_protocol_is_replaced_between_datagrams(same_trace):
    async def program(trace):
        server = await endpoint(trace, "first")
        client = raw(trace)
        client.sendto(b"one", name(server))
        await server.until("datagram_received")
        second = DatagramRecorder(trace, "second")
        second.transport = server.transport
        server.transport.set_protocol(second)
        trace("second", server.transport.get_protocol() is second)
        client.sendto(b"two", name(server))
        await second.until("datagram_received")
        await close(second)

    assert same_trace(program)["second"][1][:2] == ("datagram_received", b"two")


def test_closing_the_loop_leaves_no_datagram_descriptor(new_loop, fds, collect):
    collect()  # what earlier tests left
    before = fds()
    loop = new_loop()
    transport, _ = loop.run_until_complete(
        loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=(LOCAL, 0))
    )
    transport.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    collect()
    assert fds() == before


def test_errno_of_a_message_that_is_too_long_reaches_error_received(trace_on):
    async def program(trace):
        peer = raw(trace)
        client = await endpoint(trace, remote_addr=peer.getsockname())
        client.transport.sendto(bytes(70_000))
        await patient(client.until("error_received"))
        await close(client)

    error = next(e for e in trace_on(program)["client"] if e[0] == "error_received")
    assert error[1][2] == errno.EMSGSIZE
