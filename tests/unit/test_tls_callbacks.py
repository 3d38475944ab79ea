"""What user's code does in the middle of TLS: it ends, pauses, collects and raises."""

import asyncio
import contextlib
import ctypes
import gc
import ssl

import pytest
from tls_openssl import Library
from tls_peers import client_context, server_context
from tls_protocols import Buffered, Recorder, pair, run

ERROR_OF_USERS = 128  # ERR_LIB_USER


def lower_transports(loop):
    """Return what is below each TLS connection of a loop."""
    found = [op for op in gc.get_objects() if isinstance(op, asyncio.sslproto.SSLProtocol)]
    return [op._transport for op in found if op._loop is loop and op._transport is not None]


def abort_all(loop):
    for transport in lower_transports(loop):
        transport.abort()


def close_all(loop):
    for transport in lower_transports(loop):
        transport.close()


IN_THE_HANDSHAKE = {
    "abort": abort_all,
    "close": close_all,
    "collect": lambda loop: gc.collect(),
}


@pytest.mark.parametrize("action", IN_THE_HANDSHAKE)
def test_a_server_name_callback_may_end_the_connections(loop, engine, action):
    called = []

    def named(sslobj, name, context):
        called.append(name)
        if len(called) == 1:
            IN_THE_HANDSHAKE[action](loop)

    async def main():
        server = server_context(sni_callback=named)
        with contextlib.suppress(OSError):  # asyncio tells of no error
            await connect(server)
        async with pair(loop, server=server) as (ours, theirs):
            ours.transport.write(b"hello")
            await theirs.until(lambda: theirs.data == b"hello")

    async def connect(server):
        listener = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=server)
        try:
            await loop.create_connection(
                asyncio.Protocol,
                *listener.sockets[0].getsockname(),
                ssl=client_context(),
                server_hostname="localhost",
                ssl_handshake_timeout=2,
            )
        finally:
            listener.close()

    run(loop, main())
    assert called[0] == "localhost"


@pytest.mark.parametrize("action", ["abort", "close", "write", "collect"])
def test_a_server_name_callback_may_do_so_in_a_renegotiation(loop, engine, action):
    """Then OpenSSL is reading for the connection whose methods are called."""
    called = []

    def named(sslobj, name, context):
        called.append(name)
        if len(called) == 2:
            gc.collect()
            if action == "write":
                theirs_now[0].transport.write(b"in the middle")
            elif action != "collect":
                getattr(theirs_now[0].transport, action)()

    theirs_now = []

    async def main():
        context = client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        server = server_context(sni_callback=named)
        async with pair(loop, client=context, server=server) as (ours, theirs):
            theirs_now.append(theirs)
            Library(theirs.transport.get_extra_info("ssl_object")).renegotiate()
            theirs.transport.write(b"1")
            ours.transport.write(b"2")
            if action == "collect":
                await ours.until(lambda: ours.data == b"1")
                await theirs.until(lambda: theirs.data == b"2")
            elif action != "write":
                ours.transport.write(b"3")
                await asyncio.wait_for(theirs.lost, 40)
            else:
                deadline = loop.time() + 2
                while loop.time() < deadline and not ours.lost.done():
                    await asyncio.sleep(0.05)

    run(loop, main())
    assert len(called) == 2


@pytest.mark.parametrize("make", [Recorder, Buffered])
@pytest.mark.parametrize("when", ["made", "received"])
def test_pausing_in_a_callback_holds_back_what_has_come(loop, engine, make, when):
    whole = bytes(range(256)) * 40

    class Pauses(make):
        def connection_made(self, transport):
            super().connection_made(transport)
            if when == "made":
                transport.pause_reading()

        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def main():
        async with pair(loop, server_make=Pauses) as (ours, theirs):
            ours.transport.write(whole)
            if when == "made":
                await asyncio.sleep(0.05)
                assert theirs.events == ["made"]
                theirs.transport.resume_reading()
            turns = 0
            while len(theirs.data) < len(whole):
                await theirs.until(lambda before=turns: theirs.events.count("data") > before)
                turns = theirs.events.count("data")
                assert not theirs.transport.is_reading()
                await asyncio.sleep(0)
                assert theirs.events.count("data") == turns
                theirs.transport.resume_reading()
            assert theirs.data == whole

    run(loop, main())


@pytest.mark.parametrize("make", [Recorder, Buffered])
@pytest.mark.parametrize("how", ["abort", "close", "raise"])
@pytest.mark.parametrize("where", ["received", "get_buffer"])
def test_a_callback_may_end_what_it_is_called_by(loop, engine, make, how, where, reports):
    if where == "get_buffer" and make is Recorder:
        pytest.skip("only protocols with a buffer are asked for one")

    class Ends(make):
        def end(self):
            if how == "raise":
                raise ValueError("mine")
            getattr(self.transport, how)()
            gc.collect()

        def data_received(self, data):
            super().data_received(data)
            if where == "received":
                self.end()

        def get_buffer(self, sizehint):
            if where == "get_buffer":
                self.end()
            return super().get_buffer(sizehint)

    async def main():
        async with pair(loop, server_make=Ends) as (ours, theirs):
            for _ in range(3):
                ours.transport.write(b"x" * 20_000)
            await theirs.until(lambda: theirs.lost.done())
            await ours.until(lambda: ours.lost.done())

    run(loop, main())
    # A small buffer that was filled is asked for once more, as in asyncio.
    assert {type(context["exception"]) for context in reports} == {
        error for error in [ValueError] if how == "raise"
    }


@pytest.mark.ours("stock takes an error that others have left for its own")
def test_errors_that_others_leave_in_openssls_queue_are_not_ours(loop, engine):
    if engine != "native":
        pytest.skip("SSLObject does what it does: it takes them for its own")

    async def main():
        async with pair(loop) as (ours, theirs):
            lib = Library(ours.transport.get_extra_info("ssl_object")).lib

            def leave_error():
                if hasattr(lib, "ERR_new"):
                    lib.ERR_new()
                    lib.ERR_set_error(ERROR_OF_USERS, 1, None)
                else:
                    lib.ERR_put_error(ERROR_OF_USERS, 0, 1, b"here", 1)
                lib.ERR_peek_error.restype = ctypes.c_ulong
                assert lib.ERR_peek_error() != 0

            for number in range(1, 6):
                leave_error()
                ours.transport.write(b"x" * 1000)
                leave_error()
                await theirs.until(lambda n=number: len(theirs.data) == 1000 * n)
                leave_error()
                theirs.transport.write(b"y" * 20_000)
                await ours.until(lambda n=number: len(ours.data) == 20_000 * n)
            leave_error()

    run(loop, main())


def test_a_transport_may_be_let_go_by_the_truth_of_what_it_is_to_write(loop, engine):
    class Truth(bytes):
        def __bool__(self):
            transports[0]._ssl_protocol = None
            gc.collect()
            return True

    transports = []

    async def main():
        async with pair(loop) as (ours, _):
            transports.append(ours.transport)
            ours.transport.abort()
            await ours.lost
            transports[0].write(Truth(b"x" * 1000))
            transports[0].write(b"x")

    run(loop, main())
