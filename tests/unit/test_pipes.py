"""Pipe transports: pipes, FIFOs, terminals and sockets; whose descriptor is closed, and when."""

import asyncio
import contextlib
import errno
import gc
import io
import os
import pty
import socket
import tempfile
import tty

import pytest
from traces import Recorder, patient, until

MEGABYTE = bytes(range(256)) * 4096


def file_pair():
    """Return both ends of a pipe as unbuffered files."""
    reading, writing = os.pipe()
    return open(reading, "rb", 0), open(writing, "wb", 0)


def pipe_ends(trace):
    reading, writing = file_pair()
    return trace.keep(reading), trace.keep(writing)


def fifo_ends(trace):
    path = trace.folder + "/fifo"
    os.mkfifo(path)
    both = os.open(path, os.O_RDWR)  # so that neither open waits for the other
    reading, writing = open(path, "rb", 0), open(path, "wb", 0)
    os.close(both)
    return trace.keep(reading), trace.keep(writing)


def socket_ends(trace):
    return trace.pair("unix")


def pty_ends(trace):
    """Return the two sides of a raw terminal."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    return trace.keep(open(master, "rb+", 0)), trace.keep(open(slave, "rb+", 0))


ENDS = {"pipe": pipe_ends, "fifo": fifo_ends, "socket": socket_ends, "pty": pty_ends}


@pytest.fixture(params=ENDS.values(), ids=ENDS)
def ends(request):
    """Return how to open a reading and a writing end."""
    return request.param


async def reader(trace, pipe, lane="reader", **hooks):
    protocol = Recorder(trace, lane, **hooks)
    await trace.loop.connect_read_pipe(lambda: protocol, pipe)
    return protocol


async def writer(trace, pipe, lane="writer", **hooks):
    protocol = Recorder(trace, lane, **hooks)
    await trace.loop.connect_write_pipe(lambda: protocol, pipe)
    return protocol


async def drain(fd, nbytes):
    """Read nbytes from a descriptor without help of the loop."""
    os.set_blocking(fd, False)
    got = bytearray()

    def more():
        with contextlib.suppress(BlockingIOError):
            while len(got) < nbytes:
                chunk = os.read(fd, nbytes - len(got))
                if not chunk:
                    return True
                got.extend(chunk)
        return len(got) >= nbytes

    await until(more)
    return bytes(got)


# ---- reading and writing ----


def test_what_is_written_at_one_end_is_read_at_the_other(same_trace, ends):
    async def program(trace):
        reading, writing = ends(trace)
        source = await reader(trace, reading)
        sink = await writer(trace, writing)
        sink.transport.write(b"hello")
        await source.until_received(5)
        sink.transport.write(bytearray(b" world"))
        await source.until_received(11)
        sink.transport.close()
        await sink.until("connection_lost")
        if ends is pty_ends:
            await asyncio.sleep(0.001)
            source.transport.close()
        await source.until("connection_lost")

    assert ("data", b"hello world") in same_trace(program)["reader"]


def test_a_closed_writer_is_the_end_for_the_reader(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source = await reader(trace, reading)
        os.write(writing.fileno(), b"last")
        writing.close()
        await source.until("connection_lost")
        trace("reader", source.transport.is_closing(), reading.closed)

    assert same_trace(program)["reader"] == [
        ("connection_made",),
        ("data", b"last"),
        ("eof_received",),
        ("connection_lost", None),
        (True, True),
    ]


def test_eof_received_cannot_keep_a_read_pipe_open(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source = await reader(trace, reading, eof_received=lambda p: True)
        writing.close()
        await source.until("connection_lost")

    assert same_trace(program)["reader"][-1] == ("connection_lost", None)


def test_a_megabyte_goes_through_whole(trace_on, ends):
    if ends is pty_ends:
        pytest.skip("a terminal drops what does not fit")

    async def program(trace):
        reading, writing = ends(trace)
        source = await reader(trace, reading)
        sink = await writer(trace, writing)
        sink.transport.write(MEGABYTE)
        sink.transport.close()
        assert await source.until_received(len(MEGABYTE)) == MEGABYTE
        for protocol in source, sink:
            await protocol.until("connection_lost")

    trace_on(program)


def test_a_hung_up_terminal_ends_quietly(same_trace):
    async def program(trace):
        master, slave = pty_ends(trace)
        source = await reader(trace, master)
        slave.close()
        await source.until("connection_lost")

    lanes = same_trace(program)
    assert lanes["reader"][-1][1][2] == errno.EIO and "handler" not in lanes


def test_pausing_a_read_pipe_holds_and_loses_nothing(same_trace, ends):
    async def program(trace):
        reading, writing = ends(trace)
        source = await reader(trace, reading)
        transport = source.transport
        transport.pause_reading()
        transport.pause_reading()
        os.write(writing.fileno(), b"held")
        await asyncio.sleep(0.003)
        trace("reader", bytes(source.received), transport.is_reading())
        transport.resume_reading()
        transport.resume_reading()
        await source.until_received(4)
        trace("reader", transport.is_reading())
        transport.close()
        trace("reader", transport.is_reading())
        for method in transport.pause_reading, transport.resume_reading:
            trace.call("reader", method)
        await source.until("connection_lost")

    assert ("data", b"held") in same_trace(program)["reader"]


DATA = {
    "bytes": b"abc",
    "empty": b"",
    "bytearray": bytearray(b"abc"),
    "memoryview": memoryview(b"abc"),
    "stride": memoryview(b"a_b_c_")[::2],
    "str": "abc",
    "None": None,
    "int": 5,
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_write_takes_and_refuses_what_stocks_does(same_trace, data):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        trace.call("writer", sink.transport.write, data)
        await asyncio.sleep(0)
        trace("writer", sink.transport.is_closing())
        sink.transport.close()
        await sink.until("connection_lost")
        trace("peer", os.read(reading.fileno(), 100))

    same_trace(program)


def test_writelines_and_write_eof_of_a_write_pipe_are_stocks(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        trace.call("writer", sink.transport.writelines, [b"a", bytearray(b"b"), memoryview(b"c")])
        trace.call("writer", sink.transport.can_write_eof)
        trace.call("writer", sink.transport.write_eof)
        trace.call("writer", sink.transport.write_eof)
        trace.call("writer", sink.transport.write, b"late")
        await sink.until("connection_lost")
        trace("peer", os.read(reading.fileno(), 100))

    assert same_trace(program)["peer"] == [(b"abc",)]


def test_a_bytearray_changed_after_write_does_not_change_what_is_read(trace_on):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        sink.transport.write(MEGABYTE)
        data = bytearray(b"before")
        sink.transport.write(data)
        data[:] = b"after!"
        data += b"grown"
        got = await drain(reading.fileno(), len(MEGABYTE) + 6)
        assert got[-6:] == b"before"
        sink.transport.close()
        await sink.until("connection_lost")

    trace_on(program)


# ---- flow control and endings ----


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_full_pipe_pauses_and_resumes(same_trace, kind):
    async def program(trace):
        reading, writing = ENDS[kind](trace)
        sink = await writer(trace, writing)
        trace("writer", sink.transport.get_write_buffer_limits())
        sink.transport.write(MEGABYTE)
        trace("writer", sink.transport.get_write_buffer_size() > 0)
        trace("peer", await drain(reading.fileno(), len(MEGABYTE)))
        await sink.until("resume_writing")
        sink.transport.close()
        await sink.until("connection_lost")

    events = [e[0] for e in same_trace(program)["writer"] if isinstance(e[0], str)]
    assert events == ["connection_made", "pause_writing", "resume_writing", "connection_lost"]


def test_close_of_a_full_pipe_flushes(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        sink.transport.write(MEGABYTE)
        sink.transport.close()
        trace("writer", sink.transport.is_closing(), writing.closed)
        trace("peer", await drain(reading.fileno(), len(MEGABYTE) + 1))
        await sink.until("connection_lost")
        trace("writer", writing.closed)

    lanes = same_trace(program)
    assert lanes["peer"][0][0].startswith(f"{len(MEGABYTE)} bytes")


def test_abort_of_a_full_pipe_drops(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        sink.transport.write(MEGABYTE)
        sink.transport.abort()
        trace("writer", sink.transport.get_write_buffer_size())
        await sink.until("connection_lost")
        got = await drain(reading.fileno(), len(MEGABYTE))
        trace("peer", len(got) < len(MEGABYTE))

    assert same_trace(program)["peer"] == [(True,)]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "fifo", "socket"])
def test_a_reader_that_goes_away_ends_the_writer(same_trace, kind, full):
    async def program(trace):
        reading, writing = ENDS[kind](trace)
        sink = await writer(trace, writing)
        if full:
            sink.transport.write(MEGABYTE)
        reading.close()
        await sink.until("connection_lost")
        for _ in range(7):
            trace.call("writer", sink.transport.write, b"late")

    lanes = same_trace(program)
    assert full == any(e[0] == "connection_lost" and e[1] is not None for e in lanes["writer"])


def test_writing_to_a_broken_pipe_ends_it_without_an_exception(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing)
        reading.close()
        for _ in range(7):
            trace.call("writer", sink.transport.write, b"x")
        await sink.until("connection_lost")

    lanes = same_trace(program)
    lost = next(e for e in lanes["writer"] if e[0] == "connection_lost")
    assert lost[1][0] == "BrokenPipeError" and "handler" not in lanes


@pytest.mark.parametrize("event", ["connection_made", "data_received", "eof_received"])
def test_an_exception_of_a_read_pipes_callback_is_reported_as_on_stock(same_trace, event):
    def fail(protocol, *args):
        raise LookupError("mine")

    async def program(trace):
        reading, writing = pipe_ends(trace)
        source = await reader(trace, reading, **{event: fail})
        os.write(writing.fileno(), b"x")
        await source.until("data_received")
        writing.close()
        await source.until("connection_lost")

    assert len(same_trace(program)["handler"]) == 1


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_a_fatal_exception_of_a_read_pipe_leaves_the_run(same_trace, fatal):
    def fail(protocol, *args):
        raise fatal("mine")

    def program(trace):
        run = trace.loop.run_until_complete
        reading, writing = pipe_ends(trace)
        source = run(reader(trace, reading, data_received=fail))
        os.write(writing.fileno(), b"x")
        trace.run(trace.loop.create_future())
        for task in asyncio.all_tasks(trace.loop):
            task.cancel()  # not to be found by the collector some time
        source.transport.close()
        run(asyncio.wait_for(source.until("connection_lost"), 10))

    assert same_trace(program)["run"] == [((fatal.__name__, "mine", None),)]


@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received"])
def test_a_read_pipe_is_closed_from_inside_a_callback(same_trace, where):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source = Recorder(trace, "reader", **{where: lambda p, *args: p.transport.close()})
        os.write(writing.fileno(), b"x")
        writing.close()
        await trace.loop.connect_read_pipe(lambda: source, reading)
        await source.until("connection_lost")
        await asyncio.sleep(0)

    assert same_trace(program)["reader"][-1] == ("connection_lost", None)


@pytest.mark.parametrize("how", ["close", "abort", "write_eof"])
def test_a_write_pipe_is_closed_from_inside_flow_control(same_trace, how):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        sink = await writer(trace, writing, pause_writing=lambda p: getattr(p.transport, how)())
        sink.transport.write(MEGABYTE)
        got = await drain(reading.fileno(), len(MEGABYTE))
        trace("peer", len(got) == len(MEGABYTE))
        await sink.until("connection_lost")

    assert same_trace(program)["peer"] == [(how != "abort",)]


def test_closing_twice_is_harmless(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source, sink = await reader(trace, reading), await writer(trace, writing)
        for protocol in source, sink:
            for _ in range(3):
                trace.call(protocol.lane, protocol.transport.close)
            await protocol.until("connection_lost")
            trace.call(protocol.lane, protocol.transport.close)

    same_trace(program)


# ---- what is accepted ----


def test_a_regular_file_is_refused_and_left_open(same_trace):
    async def program(trace):
        for connect in trace.loop.connect_read_pipe, trace.loop.connect_write_pipe:
            with tempfile.TemporaryFile() as file:
                await trace.wait("connect", connect(asyncio.Protocol, file))
                trace("connect", file.closed, file.write(b"x"))

    lanes = same_trace(program)
    assert lanes["connect"][0][1][0] == "ValueError"


JUNK = {
    "None": lambda: None,
    "int": lambda: 0,
    "str": lambda: "x",
    "BytesIO": io.BytesIO,
    "closed file": lambda: closed_file(),
}


def closed_file():
    reading, writing = file_pair()
    reading.close()
    writing.close()
    return reading


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_instead_of_a_pipe_is_refused_as_by_stock(same_trace, junk):
    async def program(trace):
        for connect in trace.loop.connect_read_pipe, trace.loop.connect_write_pipe:
            await trace.wait("connect", connect(asyncio.Protocol, junk()))

    assert same_trace(program)["connect"][0][0] == "raises"


def test_dev_null_is_written_and_its_reading_fails_as_on_stock(same_trace):
    async def program(trace):
        null = trace.keep(open("/dev/null", "rb+", 0))
        await trace.wait("writer", first(trace.loop.connect_write_pipe(asyncio.Protocol, null)))

    same_trace(program)


async def first(awaitable):
    transport, _ = await awaitable
    transport.write(b"x")
    transport.close()


def test_a_pipe_becomes_non_blocking(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source, sink = await reader(trace, reading), await writer(trace, writing)
        trace("blocking", os.get_blocking(reading.fileno()), os.get_blocking(writing.fileno()))
        for protocol in source, sink:
            trace(protocol.lane, protocol.transport.get_extra_info("pipe") in (reading, writing))
            protocol.transport.close()
            await protocol.until("connection_lost")

    assert same_trace(program)["blocking"] == [(False, False)]


def test_a_protocol_factory_that_raises_leaves_the_pipe_open(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        await trace.wait("connect", trace.loop.connect_read_pipe(lambda: 1 / 0, reading))
        await trace.wait("connect", trace.loop.connect_write_pipe(lambda: 1 / 0, writing))
        trace("connect", reading.closed, writing.closed)

    assert same_trace(program)["connect"][-1] == (False, False)


# ---- whose descriptor ----


@pytest.mark.parametrize("which", ["read", "write"])
@pytest.mark.parametrize("closed_by", ["transport", "user first", "user later"])
def test_closing_a_pipe_never_closes_a_foreign_descriptor(loop, which, closed_by):
    """The number is reused at once by a socket of somebody else, which must stay open."""

    async def main():
        for _ in range(30):
            reading, writing = file_pair()
            pipe, other = (reading, writing) if which == "read" else (writing, reading)
            number = pipe.fileno()
            connect = loop.connect_read_pipe if which == "read" else loop.connect_write_pipe
            transport, _ = await connect(asyncio.Protocol, pipe)
            if closed_by == "user first":
                pipe.close()
            else:
                transport.close()
                for _ in range(2):
                    await asyncio.sleep(0)
            if closed_by == "user later":
                pipe.close()
            foreign = [socket.socket() for _ in range(3)]
            assert number in [sock.fileno() for sock in foreign]
            transport.close()
            for _ in range(3):
                await asyncio.sleep(0)
            del transport, pipe
            other.close()
            for sock in foreign:
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)  # EBADF if it was closed
                sock.close()

    loop.run_until_complete(patient(main()))


def test_collecting_pipe_transports_never_closes_a_foreign_descriptor(loop, collect):
    async def main():
        for _ in range(5):
            reading, writing = file_pair()
            await loop.connect_read_pipe(asyncio.Protocol, reading)
            transport, _ = await loop.connect_write_pipe(asyncio.Protocol, writing)
            transport.close()
            await asyncio.sleep(0.001)
            del transport, reading, writing
            foreign = [socket.socket() for _ in range(4)]
            gc.collect(0)
            for sock in foreign:
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
                sock.close()

    loop.run_until_complete(patient(main()))
    collect()


def test_pipes_leak_no_descriptor(new_loop, fds, collect):
    collect()  # what earlier tests left
    before = fds()
    loop = new_loop()

    async def main():
        for _ in range(10):
            reading, writing = file_pair()
            source, _ = await loop.connect_read_pipe(asyncio.Protocol, reading)
            sink, _ = await loop.connect_write_pipe(asyncio.Protocol, writing)
            sink.write(b"x")
            sink.close()
            await asyncio.sleep(0.001)
            source.close()
        await asyncio.sleep(0.001)

    loop.run_until_complete(patient(main()))
    loop.close()
    collect()
    assert fds() == before


def test_the_same_pipe_read_by_two_transports_does_what_stock_does(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        source = await reader(trace, reading)
        await trace.wait("second", second_reader(trace, reading))
        source.transport.close()
        await source.until("connection_lost")

    same_trace(program)


async def second_reader(trace, pipe):
    protocol = await reader(trace, pipe, "other")
    protocol.transport.close()
    await protocol.until("connection_lost")


def test_a_stream_reader_reads_lines_from_a_pipe(same_trace):
    async def program(trace):
        reading, writing = pipe_ends(trace)
        stream = asyncio.StreamReader()
        await trace.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), reading)
        os.write(writing.fileno(), b"one\ntwo\nrest")
        writing.close()
        for _ in range(4):
            trace("line", await patient(stream.readline()))

    assert same_trace(program)["line"] == [(b"one\n",), (b"two\n",), (b"rest",), (b"",)]
