"""What programs see of a transport: its types, attributes, info, repr, warnings, references."""

import asyncio
import contextvars
import copy
import gc
import pickle
import socket
import sys
import weakref
from asyncio import trsock
from unittest import mock

import pytest
from traces import DatagramRecorder, Recorder, patient, read, reset, send

VAR = contextvars.ContextVar("var", default="unset")
MEGABYTE = bytes(1 << 20)


async def stream(trace, lane="client", **hooks):
    """Make a TCP transport."""
    return await trace.connect("tcp", lane, **hooks)


async def unix(trace, lane="client", **hooks):
    """Make a UNIX stream transport."""
    return await trace.connect("unix", lane, **hooks)


async def datagram(trace, lane="client", **hooks):
    """Make a UDP transport, connected to a raw socket."""
    peer = trace.keep(socket.socket(type=socket.SOCK_DGRAM))
    peer.bind(("127.0.0.1", 0))
    peer.setblocking(False)
    protocol = DatagramRecorder(trace, lane, **hooks)
    await trace.loop.create_datagram_endpoint(lambda: protocol, remote_addr=peer.getsockname())
    peer.connect(protocol.transport.get_extra_info("sockname"))
    return protocol, peer


async def read_pipe(trace, lane="client", **hooks):
    """Make the reading transport of a socketpair; the peer is the other end."""
    ours, peer = trace.pair("unix")
    protocol = Recorder(trace, lane, **hooks)
    await trace.loop.connect_read_pipe(lambda: protocol, ours)
    return protocol, peer


async def write_pipe(trace, lane="client", **hooks):
    """Make the writing transport of a socketpair; the peer is the other end."""
    ours, peer = trace.pair("unix")
    protocol = Recorder(trace, lane, **hooks)
    await trace.loop.connect_write_pipe(lambda: protocol, ours)
    return protocol, peer


OPENERS = [stream, unix, datagram, read_pipe, write_pipe]
SOCKETS = OPENERS[:3]


@pytest.fixture(params=OPENERS, ids=lambda opener: opener.__name__)
def opener(request):
    """Return how to make a transport of each kind."""
    return request.param


@pytest.fixture(params=SOCKETS, ids=lambda opener: opener.__name__)
def socket_opener(request):
    """Return how to make a transport of each kind that lives on a socket."""
    return request.param


def end(transport):
    """Close at once, whatever kind it is."""
    getattr(transport, "abort", transport.close)()


# ---- types ----

BASES = [
    asyncio.BaseTransport,
    asyncio.Transport,
    asyncio.ReadTransport,
    asyncio.WriteTransport,
    asyncio.DatagramTransport,
    asyncio.SubprocessTransport,
]


def test_a_transport_is_an_instance_of_asyncios_classes(same_trace, opener):
    async def program(trace):
        protocol, _ = await opener(trace)
        bases = set(BASES)
        if sys.version_info < (3, 12) and hasattr(protocol.transport, "sendto"):
            bases.remove(asyncio.DatagramTransport)  # stock's is none, against the manual
        for base in bases:
            trace(base.__name__, isinstance(protocol.transport, base))
        end(protocol.transport)
        await protocol.until("connection_lost")

    assert same_trace(program)["BaseTransport"] == [(True,)]


@pytest.mark.ours("stock 3.11 has one that is none")
def test_a_datagram_transport_is_a_datagram_transport_on_every_python(trace_on):
    async def program(trace):
        protocol, _ = await datagram(trace)
        trace("type", isinstance(protocol.transport, asyncio.DatagramTransport))
        end(protocol.transport)
        await protocol.until("connection_lost")

    assert trace_on(program)["type"] == [(True,)]


def test_a_transport_has_every_public_name_that_stocks_has(new_loop, new_stock, opener):
    def public(loop):
        from traces import trace_of

        names = set()

        async def program(trace):
            protocol, _ = await opener(trace)
            names.update(n for n in dir(protocol.transport) if not n.startswith("_"))
            end(protocol.transport)
            await protocol.until("connection_lost")

        trace_of(program, loop)
        return names

    assert public(new_stock()) - public(new_loop()) == set()


def test_methods_without_meaning_for_a_transport_fail_as_stocks_do(same_trace, opener):
    async def program(trace):
        protocol, _ = await opener(trace)
        transport = protocol.transport
        for name in sorted({n for base in BASES for n in dir(base) if not n.startswith("_")}):
            if not hasattr(transport, name):
                trace("client", name, "is missing")
        if hasattr(transport, "can_write_eof"):
            trace.call("client", transport.can_write_eof)
        if hasattr(transport, "sendto"):
            for name, args in [("write", (b"x",)), ("writelines", ([b"x"],)), ("write_eof", ())]:
                method = getattr(transport, name, None)
                trace("client", name, raises(method, *args) if method else "missing")
        end(transport)
        await protocol.until("connection_lost")

    same_trace(program)


def raises(func, *args):
    """Return the type of what func raises, None if it does not."""
    try:
        func(*args)
    except Exception as exc:
        return type(exc)
    return None


# ---- attributes ----


@pytest.mark.parametrize("name", ["write", "close", "is_closing", "anything", "_private"])
def test_attributes_of_a_transport_can_be_assigned_and_deleted(trace_on, opener, name):
    async def program(trace):
        protocol, _ = await opener(trace)
        transport = protocol.transport
        before = getattr(transport, name, None)
        mark = object()
        setattr(transport, name, mark)
        assert getattr(transport, name) is mark
        assert transport.__dict__[name] is mark
        delattr(transport, name)
        assert getattr(transport, name, None) == before
        end(transport)
        await protocol.until("connection_lost")

    trace_on(program)


def test_a_replaced_write_is_what_a_stream_writer_calls(same_trace):
    async def program(trace):
        ours, _ = trace.pair()
        _, writer = await asyncio.open_connection(sock=ours)
        seen = []
        writer.transport.write = seen.append
        writer.write(b"one")
        del writer.transport.write
        trace("client", seen)
        writer.close()
        await patient(writer.wait_closed())

    assert same_trace(program)["client"] == [((b"one",),)]


def test_a_transport_can_be_weakly_referenced_and_hashed(trace_on, opener):
    async def program(trace):
        protocol, _ = await opener(trace)
        transport = protocol.transport
        ref = weakref.ref(transport)
        table = weakref.WeakKeyDictionary({transport: 1})
        assert ref() is transport and table[transport] == 1 and {transport: 2}[transport] == 2
        assert transport == transport and transport != protocol
        end(transport)
        await protocol.until("connection_lost")

    trace_on(program)


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_copying_and_pickling_a_transport_never_makes_a_second_owner(trace_on, how):
    async def program(trace):
        protocol, peer = await stream(trace)
        try:
            twin = how(protocol.transport)
        except TypeError:
            twin = None
        if not isinstance(twin, (type(None), bytes)):
            end(twin)
        del twin
        gc.collect()
        protocol.transport.write(b"alive")
        assert await read(peer, 5) == b"alive"
        end(protocol.transport)
        await protocol.until("connection_lost")

    if how is not copy.copy:
        trace_on(program)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_transport_type_cannot_be_called_to_harm(loop, opener, fds, collect):
    """Whatever a program passes, an exception comes out and no descriptor is lost."""
    before = fds()

    async def main():
        from traces import Trace

        trace = Trace(loop, ".")
        protocol, _ = await opener(trace)
        cls = type(protocol.transport)
        for args in [(), (None,), (loop,), (loop, None, None), (1, 2, 3, 4, 5)]:
            try:
                made = cls(*args)
            except Exception:
                continue
            repr(made)
            del made
        end(protocol.transport)
        await protocol.until("connection_lost")
        trace.close()

    loop.run_until_complete(main())
    collect()
    assert fds() == before


# ---- extra info ----

INFO = ["socket", "peername", "sockname", "pipe", "sslcontext", "compression", "nonsense", None]


@pytest.mark.parametrize("state", ["open", "closing", "lost"])
def test_extra_info_in_every_state_is_stocks(same_trace, opener, state):
    async def program(trace):
        protocol, _ = await opener(trace)
        transport = protocol.transport
        if state != "open":
            end(transport)
        if state == "lost":
            await protocol.until("connection_lost")
        for name in INFO:
            value = transport.get_extra_info(name)
            if name == "pipe" and value is not None:
                value = type(value)
            trace("client", name, value)
            trace("client", name, transport.get_extra_info(name, "default") == "default")
        if state == "open":  # stock's pipes fail when they are ended twice
            end(transport)
        await protocol.until("connection_lost")

    same_trace(program)


PUBLIC = [
    asyncio.BaseTransport,
    asyncio.ReadTransport,
    asyncio.WriteTransport,
    asyncio.Transport,
]
GETTERS = [
    ("get_extra_info", ("sockname",)),
    ("get_extra_info", ("peername", "default")),
    ("get_extra_info", ("nonsense",)),
    ("get_protocol", ()),
    ("get_write_buffer_limits", ()),
    ("get_write_buffer_size", ()),
    ("is_closing", ()),
    ("is_reading", ()),
]


@pytest.mark.parametrize("base", PUBLIC, ids=lambda base: base.__name__)
def test_a_method_patched_in_a_public_class_is_called_where_stock_calls_it(
    same_trace, opener, base, monkeypatch
):
    """As websockets' tests do with asyncio.Transport.get_extra_info."""

    async def program(trace):
        protocol, _ = await opener(trace)
        transport = protocol.transport

        def look(name, args):
            try:
                trace("client", name, getattr(transport, name)(*args) == "patched")
            except (AttributeError, NotImplementedError) as error:
                trace("client", name, type(error))

        for name, args in GETTERS:
            with monkeypatch.context() as patch:
                fake = mock.Mock(return_value="patched")
                patch.setattr(base, name, fake, raising=False)
                look(name, args)
                trace("client", name, fake.mock_calls == [mock.call(*args)])
            look(name, args)
        end(transport)
        await protocol.until("connection_lost")

    same_trace(program)


def test_the_socket_of_extra_info_is_a_transport_socket(trace_on, socket_opener):
    async def program(trace):
        protocol, _ = await socket_opener(trace)
        sock = protocol.transport.get_extra_info("socket")
        assert type(sock) is trsock.TransportSocket
        assert protocol.transport.get_extra_info("socket") is sock
        assert sock.fileno() >= 0 and sock.getsockname() is not None
        for method in "close", "recv", "send", "detach", "shutdown_nicely":
            assert not hasattr(sock, method)
        end(protocol.transport)
        await protocol.until("connection_lost")
        assert sock.fileno() == -1

    trace_on(program)


def test_names_of_a_connection_are_the_kernels(trace_on):
    async def program(trace):
        protocol, peer = await stream(trace)
        info = protocol.transport.get_extra_info
        assert info("peername") == peer.getsockname()
        assert info("sockname") == peer.getpeername()
        sock = info("socket")
        assert (sock.family, sock.type) == (socket.AF_INET, socket.SOCK_STREAM)
        end(protocol.transport)
        await protocol.until("connection_lost")
        assert info("peername") == ("127.0.0.1", info("peername")[1])

    trace_on(program)


def test_socket_options_are_set_through_the_transport_socket(same_trace):
    async def program(trace):
        protocol, _ = await stream(trace)
        sock = protocol.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        trace("client", sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        trace.call("client", sock.setblocking, False)
        trace.call("client", sock.setblocking, True)
        trace.call("client", sock.settimeout, 0)
        trace.call("client", sock.gettimeout)
        end(protocol.transport)
        await protocol.until("connection_lost")

    same_trace(program)


# ---- repr ----


def test_the_repr_in_every_state_is_stocks(same_trace, opener):
    async def program(trace):
        protocol, peer = await opener(
            trace,
            connection_made=lambda p: trace("client", "made", p.transport),
            connection_lost=lambda p, exc: trace("client", "lost", p.transport),
        )
        transport = protocol.transport
        await asyncio.sleep(0)
        trace("client", "open", transport)
        if opener is not write_pipe and hasattr(transport, "pause_reading"):
            transport.pause_reading()
            trace("client", "paused", transport)
            transport.resume_reading()
            trace("client", "resumed", transport)
        transport.close()
        trace("client", "closing", transport)
        await protocol.until("connection_lost")
        await asyncio.sleep(0)
        trace("client", "closed", transport)

    assert "Transport" in same_trace(program)["client"][1][1]


def test_the_repr_shows_what_is_buffered(trace_on):
    async def program(trace):
        protocol, _ = await stream(trace)
        protocol.transport.write(MEGABYTE)
        size = protocol.transport.get_write_buffer_size()
        assert repr(protocol.transport).endswith(f"write=<polling, bufsize={size}>>")
        protocol.transport.close()
        assert "closing" in repr(protocol.transport)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    trace_on(program)


def test_the_repr_after_the_loop_is_closed_is_stocks(same_trace, opener):
    def program(trace):
        protocol, _ = trace.loop.run_until_complete(opener(trace))
        lost, _ = trace.loop.run_until_complete(opener(trace, "lost"))
        end(lost.transport)
        trace.loop.run_until_complete(lost.until("connection_lost"))
        trace.loop.close()
        trace("client", "open", protocol.transport)
        trace("lost", "lost", lost.transport)

    same_trace(program)


@pytest.mark.parametrize("written", [0, 1 << 24])
@pytest.mark.parametrize("first", ["close", "abort"])
def test_a_transport_that_is_ended_on_a_closed_loop_is_closing_as_stocks_is(
    same_trace, socket_opener, first, written
):
    def program(trace):
        protocol, _ = trace.loop.run_until_complete(socket_opener(trace))
        transport = protocol.transport
        if not hasattr(transport, "sendto"):
            transport.write(b"x" * written)
        trace.loop.close()
        for method in first, "close", "abort", "abort":
            trace("client", method, raises(getattr(transport, method)))
            trace("client", transport.is_closing(), transport)

    assert ("close", None) in same_trace(program)["client"]


# ---- warnings and references ----


def test_a_transport_dropped_open_warns_and_closes_its_descriptor(same_trace, opener):
    def program(trace):
        protocol, peer = trace.loop.run_until_complete(opener(trace))
        trace.loop.call_soon(trace.loop.stop)
        trace.loop.run_forever()
        trace.loop.close()  # lets go of the reader, which holds the transport
        protocol.transport = None
        del protocol
        gc.collect()
        try:
            trace("peer", peer.recv(10))
        except OSError as exc:
            trace("peer", type(exc))

    lanes = same_trace(program, collect=True)
    assert [entry[0] for entry in lanes["warnings"]].count("ResourceWarning") >= 1
    assert any("unclosed transport" in entry[1] for entry in lanes["warnings"])


def test_a_closed_transport_warns_of_nothing(same_trace, opener):
    async def program(trace):
        protocol, _ = await opener(trace)
        end(protocol.transport)
        await protocol.until("connection_lost")

    assert "warnings" not in same_trace(program, collect=True)


@pytest.fixture
def collector_off():
    """Keep the collector away, to see what references alone do."""
    gc.disable()
    yield
    gc.enable()


async def last_refs(protocol):
    """Wait for the end; return weak references to recorder and transport."""
    refs = weakref.ref(protocol), weakref.ref(protocol.transport)
    await protocol.until("connection_lost")
    protocol.transport = None
    return refs


async def freed(trace, refs):
    """Write down whether both are gone."""
    for _ in range(2):
        await asyncio.sleep(0)
    trace("freed", [ref() is None for ref in refs])


@pytest.mark.parametrize("ending", ["close", "peer closes"])
def test_transport_and_protocol_are_free_after_connection_lost_without_the_collector(
    request, trace_on, opener, ending, collector_off
):

    async def program(trace):
        protocol, peer = await opener(trace)
        if ending == "close" or opener is datagram:
            protocol.transport.close()
        else:
            peer.close()
        refs = await last_refs(protocol)
        del protocol
        await freed(trace, refs)

    assert trace_on(program)["freed"] == [((True, True),)]


def fail(protocol, data):
    raise ZeroDivisionError


@pytest.mark.ours("stock leaves a cycle: the transport keeps its own bound method")
@pytest.mark.parametrize("ending", ["abort", "reset", "exception"])
def test_a_transport_that_ends_badly_is_free_without_the_collector(trace_on, ending, collector_off):
    async def program(trace):
        protocol, peer = await stream(trace, data_received=fail)
        if ending == "abort":
            protocol.transport.abort()
        elif ending == "reset":
            reset(peer)
        else:
            await send(peer, b"x")
        refs = await last_refs(protocol)
        del protocol
        await freed(trace, refs)

    assert trace_on(program)["freed"] == [((True, True),)]


def test_a_transport_in_use_lives_without_being_referenced(trace_on):
    async def program(trace):
        protocol, peer = await stream(trace)
        ref = weakref.ref(protocol.transport)
        protocol.transport = None
        gc.collect()
        await send(peer, b"still read")
        await protocol.until_received(10)
        end(ref())
        await protocol.until("connection_lost")

    trace_on(program)


def test_a_cycle_through_an_open_transport_is_collected(trace_on):
    """A paused transport is watched by nobody: only the collector finds it."""

    async def program(trace):
        protocol, _ = await stream(trace)
        protocol.cycle = protocol.transport
        protocol.transport.pause_reading()
        ref = weakref.ref(protocol)
        del protocol
        await asyncio.sleep(0)
        gc.collect()
        trace("ref", ref() is None)

    lanes = trace_on(program, collect=True)
    assert lanes["ref"] == [(True,)]
    assert any("unclosed transport" in entry[1] for entry in lanes["warnings"])


# ---- contexts ----


def note_context(trace, lane="context"):
    def hook(protocol, *args):
        trace(lane, protocol.events[-1], VAR.get())

    return hook


@pytest.mark.ours("stock takes the context of whoever called close() or the like last")
def test_callbacks_run_in_the_context_of_the_transports_creation(trace_on):
    async def program(trace):
        hook = note_context(trace)
        VAR.set("creator")
        protocol, peer = await stream(
            trace,
            connection_made=hook,
            data_received=hook,
            eof_received=lambda p: hook(p) or True,
            connection_lost=hook,
        )
        VAR.set("later")
        await send(peer, b"x")
        peer.shutdown(socket.SHUT_WR)
        await protocol.until("eof_received")
        VAR.set("closer")
        protocol.transport.close()
        VAR.set("after close")
        await protocol.until("connection_lost")

    seen = trace_on(program)["context"]
    assert {name for name, _ in seen} >= {"connection_made", "data_received", "eof_received"}
    assert {context for _, context in seen} == {"creator"}


@pytest.mark.ours("stock pauses and resumes in the writer's context")
def test_writing_pauses_and_resumes_in_the_context_of_the_creation(trace_on):
    async def program(trace):
        hook = note_context(trace)
        VAR.set("creator")
        protocol, peer = await stream(trace, pause_writing=hook, resume_writing=hook)
        VAR.set("writer")
        protocol.transport.write(MEGABYTE)
        VAR.set("after")
        await read(peer, len(MEGABYTE))
        await protocol.until("resume_writing")
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert trace_on(program)["context"] == [
        ("pause_writing", "creator"),
        ("resume_writing", "creator"),
    ]


def test_writing_pauses_inside_of_a_callback_of_the_transport_too(same_trace):
    """Its context is entered already then, and perhaps another one inside of it."""

    async def program(trace):
        hook = note_context(trace)
        VAR.set("creator")

        def answer(transport, data):
            if data == b"within":
                contextvars.copy_context().run(transport.write, MEGABYTE)
            else:
                transport.write(MEGABYTE)

        for data in b"plain", b"within":
            protocol, peer = await stream(
                trace,
                pause_writing=hook,
                data_received=lambda protocol, data: answer(protocol.transport, data),
            )
            await send(peer, data)
            await protocol.until("pause_writing")
            protocol.transport.abort()
            await protocol.until("connection_lost")

    assert same_trace(program)["context"] == [("pause_writing", "creator")] * 2


@pytest.mark.ours("stock receives in the context of whoever resumed")
def test_resuming_in_another_context_does_not_change_the_context_of_data(trace_on):
    async def program(trace):
        VAR.set("creator")
        protocol, peer = await stream(trace, data_received=note_context(trace))
        VAR.set("pauser")
        protocol.transport.pause_reading()
        VAR.set("resumer")
        protocol.transport.resume_reading()
        VAR.set("after")
        await send(peer, b"x")
        await protocol.until_received(1)
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert trace_on(program)["context"] == [("data_received", "creator")]


def test_a_variable_set_in_a_callback_is_seen_as_on_stock(same_trace):
    async def program(trace):
        def count(protocol, data):
            trace("context", VAR.get())
            VAR.set(f"after {len(protocol.received)}")

        VAR.set("creator")
        protocol, peer = await stream(trace, data_received=count)
        for n in range(3):
            await send(peer, b"x")
            await protocol.until_received(n + 1)
        trace("context", "creator sees", VAR.get())
        protocol.transport.abort()
        await protocol.until("connection_lost")

    same_trace(program)


# ---- descriptors of transports ----


@pytest.mark.parametrize("method", ["add_reader", "remove_reader", "add_writer", "remove_writer"])
def test_watching_the_descriptor_of_a_transport_is_refused_in_stocks_words(
    same_trace, socket_opener, method
):
    async def program(trace):
        protocol, peer = await socket_opener(trace)
        sock = protocol.transport.get_extra_info("socket")
        args = (print,) if method.startswith("add") else ()
        for fd in sock, sock.fileno():
            try:
                getattr(trace.loop, method)(fd, *args)
            except RuntimeError as exc:
                trace("client", method, str(exc).replace(f"descriptor {sock.fileno()}", "fd"))
        end(protocol.transport)
        await protocol.until("connection_lost")

    entries = [entry for entry in same_trace(program)["client"] if entry[0] == method]
    assert len(entries) == 2 and "is used by transport" in entries[0][1]


def test_sock_methods_on_the_socket_of_a_transport_are_refused(same_trace):
    async def program(trace):
        protocol, peer = await stream(trace)
        sock = protocol.transport.get_extra_info("socket")._sock
        await trace.wait("recv", trace.loop.sock_recv(sock, 10))
        await trace.wait("accept", trace.loop.sock_accept(sock))
        end(protocol.transport)
        await protocol.until("connection_lost")

    assert same_trace(program)["recv"][0][1][0] == "RuntimeError"


def test_the_descriptor_can_be_watched_once_the_transport_closes(same_trace):
    async def program(trace):
        protocol, peer = await stream(trace)
        fd = protocol.transport.get_extra_info("socket").fileno()
        protocol.transport.close()
        trace.call("client", trace.loop.add_writer, fd, lambda: None)
        trace.call("client", trace.loop.remove_writer, fd)
        await protocol.until("connection_lost")

    same_trace(program)


def test_the_loops_table_of_transports_forgets_the_lost(trace_on, socket_opener):
    async def program(trace):
        protocol, _ = await socket_opener(trace)
        fd = protocol.transport.get_extra_info("socket").fileno()
        assert trace.loop._transports[fd] is protocol.transport
        protocol.transport.close()
        await last_refs(protocol)
        del protocol
        await asyncio.sleep(0)
        gc.collect()
        assert fd not in trace.loop._transports

    trace_on(program)


def test_a_number_used_by_one_transport_after_another_belongs_to_the_new_one(trace_on):
    """The first keeps living and is used; it must not touch the second's descriptor."""

    async def program(trace):
        old = []
        for n in range(20):
            protocol, peer = await stream(trace, f"client{n}")
            for transport in old:
                transport.close()
                transport.abort()
                transport.pause_reading()
                transport.resume_reading()
                transport.write(b"lost")
            await send(peer, b"ping")
            await protocol.until_received(4)
            protocol.transport.write(b"pong")
            assert await read(peer, 4) == b"pong"
            end(protocol.transport)
            await protocol.until("connection_lost")
            old.append(protocol.transport)
            peer.close()

    trace_on(program)


# ---- debug mode ----


def test_debug_mode_logs_what_stocks_logs(same_trace, opener):
    async def program(trace):
        protocol, peer = await opener(trace)
        transport = protocol.transport
        if opener is not write_pipe and hasattr(transport, "pause_reading"):
            transport.pause_reading()
            transport.resume_reading()
        if opener is not datagram:
            peer.close()
        else:
            transport.close()
        await protocol.until("connection_lost")

    def shown(entry):
        return "slow" not in entry[1] and "poll" not in entry[1]

    lanes = same_trace(program, debug=True, level=10)
    assert any(filter(shown, lanes["log"]))


def test_debug_mode_logs_a_reset(same_trace):
    async def program(trace):
        protocol, peer = await stream(trace)
        reset(peer)
        await protocol.until("connection_lost")

    lanes = same_trace(program, debug=True, level=10)
    assert any("Fatal read error on socket transport" in entry[1] for entry in lanes["log"])


def test_methods_called_from_another_thread_do_not_crash(trace_on, in_thread):
    """They are not safe there and promise nothing, except that the process lives."""

    async def program(trace):
        protocol, peer = await stream(trace)
        for _ in range(50):
            in_thread(protocol.transport.write, b"x" * 10)
            in_thread(repr, protocol.transport)
            in_thread(protocol.transport.get_extra_info, "socket")
        assert await read(peer, 500) == b"x" * 500
        end(protocol.transport)
        await protocol.until("connection_lost")

    trace_on(program)


def test_interpreter_exit_with_open_transports_is_quiet(child):
    out = child.run("""
        import socket, sys
        loop = new_loop()
        a, b = socket.socketpair()
        keep = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=a))
        keep[0].write(bytes(1 << 22))
        print("done")
    """)
    assert (out.status, out.out, out.err) == (0, "done\n", "")


def test_reading_attributes_of_stocks_private_face_works(trace_on):
    """Names that asyncio itself and libraries read on a stream transport."""

    async def program(trace):
        protocol, _ = await stream(trace)
        transport = protocol.transport
        assert transport._start_tls_compatible is True
        assert transport._sendfile_compatible.name == "TRY_NATIVE"
        assert transport._loop is trace.loop and transport._protocol_paused is False
        assert transport._sock.fileno() == transport._sock_fd
        assert transport._paused is False and transport._closing is False
        assert transport._conn_lost == 0 and transport._protocol is protocol
        transport._force_close(None)
        await protocol.until("connection_lost")

    trace_on(program)


def test_server_side_transports_know_their_server(trace_on):
    async def program(trace):
        served = asyncio.Event()
        protocol = Recorder(trace, connection_made=lambda p: served.set())
        server = await trace.loop.create_server(lambda: protocol, "127.0.0.1", 0)
        sock = trace.keep(socket.create_connection(server.sockets[0].getsockname()))
        await patient(served.wait())
        assert protocol.transport._server is server
        assert protocol.transport.get_extra_info("peername") == sock.getsockname()
        end(protocol.transport)
        await protocol.until("connection_lost")
        server.close()
        await patient(server.wait_closed())

    trace_on(program)
