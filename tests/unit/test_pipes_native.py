"""Pipe transports: each story runs on stock's loop and on ours, and must go the same way."""

import asyncio
import contextvars
import fcntl
import gc
import io
import logging
import os
import pty
import re
import socket
import sys
import tty
import types
import warnings
import weakref
from asyncio import transports, unix_events

import pytest

PIPE_SIZE = 4096
VAR = contextvars.ContextVar("VAR", default="unset")


def tidy(text):
    """Return text without addresses, numbers of descriptors and whose class it is."""
    text = re.sub(r"0x[0-9a-f]+", "0x", str(text))
    text = re.sub(r"\b(fd=|pipe )\d+", r"\1N", text)
    text = re.sub(r"_Unix(Read|Write)PipeTransport", r"\1PipeTransport", text)
    text = re.sub(r"_UnixSelectorEventLoop|\bLoop\b", "Loop", text)
    return re.sub(r"\bat \S+:\d+", "at FILE", text)


def told(exc):
    """Return what is the same about an exception on both loops."""
    return None if exc is None else (type(exc).__name__, tidy(exc), getattr(exc, "errno", None))


class Recorder(asyncio.SubprocessProtocol):
    """A protocol that writes down what it is told."""

    def __init__(self, story):
        self.story = story
        self.transport = None

    def connection_made(self, transport):
        self.story.append("made")
        self.transport = transport

    def data_received(self, data):
        self.story.append(("data", bytes(data)))

    def eof_received(self):
        self.story.append("eof")

    def pause_writing(self):
        self.story.append("pause")

    def resume_writing(self):
        self.story.append("resume")

    def connection_lost(self, exc):
        self.story.append(("lost", told(exc)))


class Stage:
    """One loop with pipes on it, and the story of what happens there."""

    def __init__(self, loop):
        self.loop = loop
        self.story = []
        self.open = []
        loop.set_exception_handler(self.reported)
        loop.slow_callback_duration = 60

    def reported(self, loop, context):
        kept = {key: tidy(context[key]) for key in ("message", "transport") if key in context}
        self.story.append(("reported", kept, told(context.get("exception"))))

    def turns(self, n=1):
        for _ in range(n):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def pipe(self, size=PIPE_SIZE):
        """Return the two ends of a pipe: unbuffered files."""
        read_fd, write_fd = os.pipe()
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, size)
        return self.own(open(read_fd, "rb", 0)), self.own(open(write_fd, "wb", 0))

    def until(self, happened):
        """Run turns until it has happened; the test's own time limit ends what never does."""
        while not happened():
            self.turns()

    def own(self, file):
        self.open.append(file)
        return file

    def connect(self, how, pipe, protocol=None):
        protocol = protocol or Recorder(self.story)
        transport, _ = self.loop.run_until_complete(how(lambda: protocol, pipe))
        return transport, protocol

    def reader(self, pipe, protocol=None):
        return self.connect(self.loop.connect_read_pipe, pipe, protocol)

    def writer(self, pipe, protocol=None):
        return self.connect(self.loop.connect_write_pipe, pipe, protocol)

    def log(self, *what):
        self.story.append(what)

    def close(self):
        for file in self.open:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    file.close()
                except OSError:
                    pass


class Log(logging.Handler):
    """What asyncio logs about pipes, as it was at that moment."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        text = tidy(record.getMessage())
        if "pipe" in text.lower():
            failed = record.exc_info[0].__name__ if record.exc_info else None
            self.lines.append((record.levelname, text, failed))


@pytest.fixture
def log():
    logger = logging.getLogger("asyncio")
    handler, level = Log(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture
def same_story(new_loop, new_stock, log):
    """Run story(stage) on both loops; what it writes down must be the same.  Returns that."""

    def tell(play, loop, debug):
        loop.set_debug(debug)
        log.lines = []
        stage = Stage(loop)
        try:
            try:
                play(stage)
            except Exception as exc:
                stage.log("raised", told(exc))
            stage.turns(3)
        finally:
            stage.close()
        return stage.story, log.lines

    def check(play, *, debug=False):
        stock = tell(play, new_stock(), debug)
        ours = tell(play, new_loop(), debug)
        assert ours == stock
        return stock[0]

    return check


@pytest.fixture
def stage(loop):
    stage = Stage(loop)
    yield stage
    stage.close()


both_modes = pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])


# ---- what they are


@pytest.mark.ours("stock's own classes have these names")
def test_the_loop_makes_native_transports(stage):
    read_end, write_end = stage.pipe()
    reader, _ = stage.reader(read_end)
    writer, _ = stage.writer(write_end)
    from casyncio import _pipes

    assert _pipes.reason is None
    assert type(reader) is _pipes.ReadPipeTransport and type(writer) is _pipes.WritePipeTransport
    reader.close()
    writer.close()
    stage.turns(2)


def test_a_reader_is_a_read_transport_and_a_writer_a_transport(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        for transport, _ in stage.reader(read_end), stage.writer(write_end):
            for cls in "BaseTransport", "ReadTransport", "WriteTransport", "Transport":
                stage.log(cls, isinstance(transport, getattr(transports, cls)))
            stage.log(hasattr(transport, "write"), weakref.ref(transport)() is transport)
            transport.mine = 1
            transport.close()

    same_story(play)


def test_get_extra_info_knows_the_pipe(same_story):
    def play(stage):
        for end, connect in zip(stage.pipe(), (stage.reader, stage.writer), strict=True):
            transport, _ = connect(end)
            stage.log(transport.get_extra_info("pipe") is end, transport.get_extra_info("x", 7))
            transport.close()
            stage.turns(2)
            stage.log(transport.get_extra_info("pipe") is end)

    same_story(play)


def test_the_extra_info_that_is_given_is_kept(same_story):
    def play(stage):
        for end, name in zip(stage.pipe(), ("read", "write"), strict=True):
            extra = {"mine": 1}
            make = getattr(stage.loop, f"_make_{name}_pipe_transport")
            transport = make(end, Recorder(stage.story), extra=extra)
            stage.log(transport.get_extra_info("mine"), sorted(extra))
            transport.close()
            stage.turns(2)

    same_story(play)


def test_a_protocol_can_be_replaced(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        transport, protocol = stage.reader(read_end)
        other = Recorder([])
        stage.log(transport.get_protocol() is protocol)
        transport.set_protocol(other)
        stage.log(transport.get_protocol() is other)
        write_end.write(b"for the other")
        stage.turns(2)
        write_end.close()
        stage.turns(3)
        stage.log(other.story, transport.get_protocol())

    assert ("data", b"for the other") in same_story(play)[-1][0]


@both_modes
def test_the_representation_tells_the_state(same_story, debug):
    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end)
        writer, _ = stage.writer(write_end)
        stage.log(tidy(repr(reader)), tidy(repr(writer)))
        reader.pause_reading()
        writer.write(bytes(2 * PIPE_SIZE))
        stage.log(tidy(repr(reader)), tidy(repr(writer)))
        writer.close()
        stage.log(tidy(repr(writer)))
        reader.resume_reading()
        stage.turns(6)
        reader.close()
        stage.turns(2)
        stage.log(tidy(repr(reader)), tidy(repr(writer)))

    same_story(play, debug=debug)


def test_the_representation_tells_that_the_loop_is_closed(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end)
        writer, _ = stage.writer(write_end)
        stage.loop.close()
        stage.log(tidy(repr(reader)), tidy(repr(writer)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            del reader, writer
            gc.collect()
        raise RuntimeError("the end")

    with pytest.raises(RuntimeError, match="Event loop is closed"):
        same_story(play)


# ---- what is accepted


def test_a_regular_file_is_refused_and_left_open(same_story, tmp_path):
    def play(stage):
        for connect in stage.reader, stage.writer:
            file = stage.own(open(tmp_path / "file", "w+b", 0))
            try:
                connect(file)
            except ValueError as exc:
                stage.log(str(exc), file.closed, os.get_blocking(file.fileno()))

    story = same_story(play)
    assert story[0] == ("Pipe transport is for pipes/sockets only.", False, True)
    assert story[1][0] == "Pipe transport is only for pipes, sockets and character devices"


def test_a_folder_is_refused(same_story):
    def play(stage):
        number = os.open("/", os.O_RDONLY)
        fake = types.SimpleNamespace(fileno=lambda: number, close=lambda: os.close(number))
        try:
            stage.reader(fake)
        finally:
            fake.close()

    assert same_story(play)[-1][1][0] == "ValueError"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # stock's __del__
def test_what_has_no_number_is_refused(same_story):
    def play(stage):
        for pipe in object(), io.BytesIO(), None:
            for connect in stage.reader, stage.writer:
                try:
                    connect(pipe)
                except Exception as exc:
                    stage.log(told(exc))
        gc.collect()

    same_story(play)


def test_a_pipe_becomes_non_blocking(same_story):
    def play(stage):
        ends = stage.pipe()
        for end, connect in zip(ends, (stage.reader, stage.writer), strict=True):
            before = os.get_blocking(end.fileno())
            transport, _ = connect(end)
            stage.log(before, os.get_blocking(end.fileno()))
            transport.close()

    assert same_story(play)[1] == (True, False)


@pytest.mark.parametrize("wrap", ["buffered", "text", "python", "subclass"])
def test_any_object_with_a_number_is_a_pipe(same_story, wrap):
    class OfPython:
        def __init__(self, raw):
            self.raw = raw
            self.fileno = raw.fileno

        def close(self):
            self.raw.close()

    class Derived(io.FileIO):
        def fileno(self):
            return super().fileno()

    def dress(raw):
        if wrap == "python":
            return OfPython(raw)
        mode = "rb" if raw.readable() else "wb"
        number = os.dup(raw.fileno())
        raw.close()
        if wrap == "subclass":
            return Derived(number, mode)
        return open(number, mode if wrap == "buffered" else mode[0])

    def play(stage):
        read_end, write_end = map(stage.own, map(dress, stage.pipe()))
        reader, _ = stage.reader(read_end)
        writer, _ = stage.writer(write_end)
        writer.write(b"hello")
        stage.turns(2)
        writer.close()
        stage.turns(4)

    assert ("data", b"hello") in same_story(play)


@both_modes
def test_sockets_are_pipes(same_story, debug):
    def play(stage):
        ours, theirs = map(stage.own, socket.socketpair())
        theirs.setblocking(False)
        writer, _ = stage.writer(ours)
        writer.write(b"to a socket")
        stage.log(theirs.recv(100))
        theirs.close()
        stage.turns(3)
        ours, theirs = map(stage.own, socket.socketpair())
        stage.reader(ours)
        theirs.send(b"from a socket")
        stage.turns(2)
        theirs.close()
        stage.turns(3)

    assert ("data", b"from a socket") in same_story(play, debug=debug)


def test_a_socket_that_has_something_to_read_closes_its_writer(same_story):
    def play(stage):
        ours, theirs = map(stage.own, socket.socketpair())
        stage.writer(ours)
        theirs.send(b"x")
        stage.turns(3)

    assert ("lost", None) in same_story(play)


@both_modes
def test_a_terminal_is_read_until_it_is_hung_up(same_story, debug):
    def play(stage):
        leader, follower = pty.openpty()
        tty.setraw(follower)
        follower = stage.own(open(follower, "wb", 0))
        stage.reader(stage.own(open(leader, "rb", 0)))
        follower.write(b"typed")
        stage.until(lambda: len(stage.story) == 2)
        follower.close()
        stage.until(lambda: len(stage.story) == 3)

    story = same_story(play, debug=debug)
    assert ("data", b"typed") in story and story[-1][1][2] == 5


def test_a_terminal_is_written_and_its_reader_is_not_watched(same_story):
    def play(stage):
        leader, follower = pty.openpty()
        tty.setraw(follower)
        leader = stage.own(open(leader, "rb", 0))
        transport, _ = stage.writer(stage.own(open(follower, "wb", 0)))
        transport.write(b"shown")
        stage.log(leader.read(100))
        leader.close()
        stage.turns(3)
        stage.log(transport.is_closing())
        transport.close()

    assert (False,) in same_story(play)


def test_a_device_that_cannot_be_waited_for_takes_what_is_written(same_story):
    def play(stage):
        transport, _ = stage.writer(stage.own(open("/dev/null", "wb", 0)))
        transport.write(bytes(100_000))
        stage.log(transport.get_write_buffer_size())
        transport.close()

    assert (0,) in same_story(play)


# ---- reading


@both_modes
def test_data_and_the_end_are_told(same_story, debug):
    def play(stage):
        read_end, write_end = stage.pipe()
        stage.reader(read_end)
        for text in b"one", b"two":
            write_end.write(text)
            stage.turns(2)
        write_end.write(b"three")
        write_end.close()
        stage.turns(5)
        stage.log(read_end.closed)

    story = same_story(play, debug=debug)
    assert story[-3:] == ["eof", ("lost", None), (True,)]


def test_one_read_brings_256_kib_at_most(same_story):
    def play(stage):
        read_end, write_end = stage.pipe(1 << 20)
        reader, _ = stage.reader(read_end)
        os.set_blocking(write_end.fileno(), False)
        stage.log(write_end.write(bytes(600_000)), reader.max_size)
        stage.turns(5)
        stage.story[:] = [len(e[1]) if e[0] == "data" else e for e in stage.story]

    assert 256 * 1024 in same_story(play)


@both_modes
def test_nothing_comes_while_reading_is_paused(same_story, debug):
    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end)
        reader.resume_reading()
        reader.pause_reading()
        reader.pause_reading()
        write_end.write(b"late")
        stage.turns(3)
        stage.log(reader.is_reading())
        reader.resume_reading()
        stage.log(reader.is_reading())
        stage.turns(2)
        reader.close()
        stage.log(reader.is_reading())
        reader.pause_reading()
        reader.resume_reading()

    story = same_story(play, debug=debug)
    assert story.index((False,)) < story.index(("data", b"late"))


def test_pausing_in_connection_made_holds_from_the_start(same_story):
    class Pauser(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    def play(stage):
        read_end, write_end = stage.pipe()
        write_end.write(b"early")
        reader, _ = stage.reader(read_end, Pauser(stage.story))
        stage.turns(3)
        stage.log("resume")
        reader.resume_reading()
        stage.turns(2)

    story = same_story(play)
    assert story[0] == "made" and story[1] == ("resume",) and story[2][0] == "data"


def test_pausing_and_resuming_in_connection_made_reads_each_byte_once(same_story):
    class Toggler(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()
            transport.resume_reading()

    def play(stage):
        read_end, write_end = stage.pipe()
        stage.reader(read_end, Toggler(stage.story))
        write_end.write(b"x")
        stage.turns(3)

    assert same_story(play).count(("data", b"x")) == 1


def test_closing_in_data_received_ends_the_data(same_story):
    class Closer(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()
            self.transport.close()

    def play(stage):
        read_end, write_end = stage.pipe()
        stage.reader(read_end, Closer(stage.story))
        write_end.write(b"x")
        stage.turns(2)
        write_end.write(b"y") if not read_end.closed else None
        stage.turns(3)
        stage.log(read_end.closed)

    assert same_story(play)[-2:] == [("lost", None), (True,)]


@both_modes
@pytest.mark.parametrize("method", ["data_received", "eof_received", "connection_lost"])
def test_an_exception_of_the_protocol_is_reported_as_the_handle_s(same_story, method, debug):
    def fail(*args):
        raise LookupError(method)

    def play(stage):
        read_end, write_end = stage.pipe()
        protocol = Recorder(stage.story)
        setattr(protocol, method, fail)
        reader, _ = stage.reader(read_end, protocol)
        write_end.write(b"x")
        stage.turns(2)
        stage.log(reader.is_closing(), reader.is_reading())
        if method == "data_received":
            del protocol.data_received
            write_end.write(b"y")
            stage.turns(2)
        write_end.close()
        stage.turns(4)
        stage.log(read_end.closed)

    story = same_story(play, debug=debug)
    assert any(e[0] == "reported" and e[2][0] == "LookupError" for e in story)
    assert story[-1] == (True,)


def test_an_exit_in_data_received_leaves_the_loop(same_story):
    class Exiter(Recorder):
        def data_received(self, data):
            raise SystemExit(3)

    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end, Exiter(stage.story))
        write_end.write(b"x")
        try:
            stage.turns(2)
        except SystemExit as exc:
            stage.log("left", exc.code)
        reader.close()
        stage.turns(3)

    assert ("left", 3) in same_story(play)


@both_modes
def test_a_read_error_is_reported_and_closes(same_story, debug):
    def play(stage):
        # A listening socket is readable when somebody connects, and cannot be read.
        listener = stage.own(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        stage.reader(listener)
        peer = stage.own(socket.create_connection(listener.getsockname()))
        stage.turns(4)
        stage.log(peer.fileno() >= 0, listener.fileno())

    story = same_story(play, debug=debug)
    assert any(e[1].get("message") == "Fatal read error on pipe transport" for e in story[1:2])


def test_contexts_are_those_of_stock(same_story):
    class Watcher(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.story.append(("made in", VAR.get()))
            VAR.set("set in made")

        def data_received(self, data):
            if len(data) < 10:  # what the writer fills the pipe with comes in any portions
                self.story.append(("data in", VAR.get()))
                VAR.set(f"set by {data}")

        def eof_received(self):
            self.story.append(("eof in", VAR.get()))

        def connection_lost(self, exc):
            self.story.append(("lost in", VAR.get()))

        def resume_writing(self):
            self.story.append(("resumed in", VAR.get()))

    async def until_told(stage, how_often):
        while len(stage.story) < how_often:
            await asyncio.sleep(0)

    async def main(stage):
        VAR.set("outside")
        read_end, write_end = stage.pipe()
        protocol = Watcher(stage.story)
        reader, _ = await stage.loop.connect_read_pipe(lambda: protocol, read_end)
        VAR.set("later")
        for i, text in enumerate([b"a", b"b", b"c", b"d"]):
            if i == 2:
                VAR.set("at pause")
                reader.pause_reading()
                reader.resume_reading()
            write_end.write(text)
            await until_told(stage, i + 3)
        VAR.set("at the writer")
        protocol = Watcher(stage.story)
        writer, _ = await stage.loop.connect_write_pipe(lambda: protocol, write_end)
        writer.set_write_buffer_limits(high=10)
        reader.pause_reading()
        VAR.set("at the write")
        writer.write(bytes(100_000))
        VAR.set("after the write")
        reader.resume_reading()
        await until_told(stage, 10)  # pause, resume
        VAR.set("at close")
        writer.close()
        VAR.set("after close")
        await until_told(stage, 13)
        stage.log(VAR.get())

    def play(stage):
        stage.loop.run_until_complete(main(stage))

    assert ("resumed in", "at the write") in same_story(play)


# ---- writing


def test_what_fits_is_written_at_once(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        mutable = bytearray(b"array")
        for data in b"bytes", mutable, memoryview(b"a view")[2:], b"", bytearray(), memoryview(b""):
            writer.write(data)
        mutable[:] = b"XXXXX"
        stage.log(os.read(read_end.fileno(), 100), writer.get_write_buffer_size())
        writer.writelines([b"l1", bytearray(b"l2"), memoryview(b"l3")])
        stage.log(os.read(read_end.fileno(), 100))
        writer.close()

    assert (b"l1l2l3",) in same_story(play)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, "view of bytearray"])
def test_what_does_not_fit_is_kept_unchanged_and_written_later(same_story, kind):
    blob = bytes(i * 7 % 251 for i in range(50_000))

    def make():
        changed = bytearray(blob)
        if kind == "view of bytearray":
            return memoryview(changed)[:], changed
        return (changed, changed) if kind is bytearray else (kind(blob), None)

    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end)
        for _ in range(2):
            data, changed = make()
            writer.write(data)
            stage.log(writer.get_write_buffer_size(), type(writer._buffer).__name__)
            if isinstance(data, memoryview):
                data.release()
            if changed is not None:
                changed[:] = bytes(len(changed))
        writer.write(b"the end")
        writer.close()
        writer.close()
        got = b""
        for _ in range(200):
            stage.turns()
            part = read_end.read(PIPE_SIZE)
            if part == b"":
                break
            got += part or b""
        stage.log(got == blob + blob + b"the end", write_end.closed)

    assert (True, True) in same_story(play)


def test_many_small_chunks_keep_their_order(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end)
        sent = b""
        for i in range(3000):
            writer.write(b"%d," % i)
            sent += b"%d," % i
        got = b""
        while len(got) < len(sent):
            stage.turns()
            got += read_end.read() or b""
        stage.log(got == sent, writer.get_write_buffer_size())

    assert (True, 0) in same_story(play)


@both_modes
def test_the_protocol_is_paused_at_the_mark_and_resumed_when_all_is_written(same_story, debug):
    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end)
        stage.log(writer.get_write_buffer_limits())
        writer.set_write_buffer_limits(high=10_000, low=9_000)
        stage.log(writer.get_write_buffer_limits())
        for n in PIPE_SIZE, 10_000, 1, 1:
            writer.write(bytes(n))
            stage.log(writer.get_write_buffer_size())
        for _ in range(8):
            read_end.read()
            stage.turns()
            stage.log(writer.get_write_buffer_size())

    story = same_story(play, debug=debug)
    assert story.count("pause") == story.count("resume") == 1
    assert story[story.index("resume") + 1] == (0,)


def test_limits_are_checked_and_take_effect_at_once(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        for limits in {"low": 5}, {"high": 8}, {"high": 3.5, "low": 1.5}:
            writer.set_write_buffer_limits(**limits)
            stage.log(writer.get_write_buffer_limits())
        for bad in {"high": 1, "low": 2}, {"high": -1}, {"high": 5, "low": -1}:
            try:
                writer.set_write_buffer_limits(**bad)
            except ValueError as exc:
                stage.log(str(exc))
        writer.write(bytes(PIPE_SIZE + 100))
        writer.set_write_buffer_limits(high=50)
        stage.log("set", writer.get_write_buffer_size())

    assert same_story(play)[-2] == "pause"


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_an_exception_of_flow_control_is_reported(same_story, method):
    def fail(*args):
        raise LookupError(method)

    def play(stage):
        read_end, write_end = stage.pipe()
        protocol = Recorder(stage.story)
        setattr(protocol, method, fail)
        writer, _ = stage.writer(write_end, protocol)
        writer.set_write_buffer_limits(high=0)
        writer.write(bytes(PIPE_SIZE + 1))
        os.read(read_end.fileno(), PIPE_SIZE)
        stage.turns(3)

    story = same_story(play)
    assert [e[1]["message"] for e in story if e[0] == "reported"] == [f"protocol.{method}() failed"]


def test_writing_in_resume_writing_goes_on(same_story):
    class Writer(Recorder):
        left = 3

        def resume_writing(self):
            super().resume_writing()
            if self.left:
                self.left -= 1
                self.transport.write(bytes(PIPE_SIZE + 50))

    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end, Writer(stage.story))
        writer.set_write_buffer_limits(high=10)
        writer.write(bytes(PIPE_SIZE + 50))
        for _ in range(12):
            stage.log(len(read_end.read() or b""))
            stage.turns()

    assert same_story(play).count("resume") == 4


@pytest.mark.ours("stock drops what resume_writing() wrote when it also closes")
def test_what_resume_writing_wrote_before_it_closed_is_not_lost(stage):
    class Writer(Recorder):
        def resume_writing(self):
            self.transport.write(bytes(3 * PIPE_SIZE))
            self.transport.close()

    read_end, write_end = stage.pipe()
    os.set_blocking(read_end.fileno(), False)
    writer, _ = stage.writer(write_end, Writer(stage.story))
    writer.set_write_buffer_limits(high=10)
    writer.write(bytes(PIPE_SIZE + 50))
    got = 0
    for _ in range(12):
        got += len(read_end.read() or b"")
        stage.turns()
    assert got == 4 * PIPE_SIZE + 50
    assert stage.story[-1] == ("lost", None)


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]], ids=repr)
def test_other_data_is_refused(same_story, data):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        for _ in range(2):
            try:
                writer.write(data)
            except AssertionError as exc:
                stage.log(told(exc))
            writer.close()

    assert len([e for e in same_story(play) if e[0][0] == "AssertionError"]) == 2


@pytest.mark.parametrize("full", [False, True])
def test_a_view_with_gaps_is_refused_as_stock_refuses_it(same_story, full):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        if full:
            writer.write(bytes(2 * PIPE_SIZE))
        try:
            writer.write(memoryview(b"abcdef")[::2])
        except TypeError as exc:
            stage.log(told(exc))
        stage.log(writer._conn_lost, writer.is_closing(), writer.get_write_buffer_size())

    same_story(play)


@pytest.mark.ours("stock compares bytes with items there, and fails an assertion in every turn")
def test_a_view_of_larger_items_is_written_whole(stage):
    read_end, write_end = stage.pipe()
    writer, _ = stage.writer(write_end)
    writer.write(memoryview(b"12345678").cast("I"))
    assert os.read(read_end.fileno(), 100) == b"12345678"
    assert writer.get_write_buffer_size() == 0
    writer.write(bytes(PIPE_SIZE))
    writer.write(memoryview(bytes(8)).cast("I"))
    assert writer.get_write_buffer_size() == 8
    writer.abort()
    stage.turns(2)


# ---- several writes in one callback


class InCallback:
    """Call functions in callbacks of the loop, after it has learnt that writes come in groups."""

    def __init__(self, stage, writer, read_end):
        self.stage, self.writer = stage, writer
        self.run(lambda: [writer.write(b"learn") for _ in range(2)])
        os.set_blocking(read_end.fileno(), False)
        while read_end.read(100):
            pass

    def run(self, *functions):
        for function in functions:
            self.stage.loop.call_soon(function)
        self.stage.turns()


def chunks_of(stage, *functions, packets=False):
    """Return what the reader's end gets after each function, and the story."""
    read_end, write_end = stage.pipe(1 << 16)
    if packets:
        fcntl.fcntl(write_end.fileno(), fcntl.F_SETFL, os.O_DIRECT)
    os.set_blocking(read_end.fileno(), False)
    writer, _ = stage.writer(write_end)
    inside = InCallback(stage, writer, read_end)
    for function in functions:
        inside.run(lambda function=function: function(writer, read_end))
        stage.log(read_end.read(1 << 17))


@pytest.mark.parametrize("end", ["close", "abort", "write_eof", "nothing"])
def test_what_one_callback_writes_leaves_with_it(same_story, end):
    def write(writer, read_end):
        changing = bytearray(b"three,")
        for data in b"one,", memoryview(b"two,"), changing:
            writer.write(data)
        changing[:] = b"xxxxxx"
        writer.set_write_buffer_limits(high=0)
        assert writer.get_write_buffer_size() == 0 and writer._buffer == b""
        if end != "nothing":
            getattr(writer, end)()

    def play(stage):
        chunks_of(stage, write)

    assert (b"one,two,three,",) in same_story(play)


@pytest.mark.ours("stock makes a system call for each")
def test_writes_of_one_callback_leave_together(stage):
    seen = []

    def write(writer, read_end):
        for data in b"one,", b"two,":
            writer.write(data)
            seen.append(read_end.read())

    chunks_of(stage, write)
    assert seen == [None, None] and stage.story[-1] == (b"one,two,",)


@pytest.mark.ours("stock makes a system call for each")
def test_no_more_small_writes_are_gathered_than_a_pipe_takes_whole(stage):
    seen = []

    def write(writer, read_end):
        for _ in range(10):
            writer.write(bytes(1000))
            seen.append(len(read_end.read() or b""))

    chunks_of(stage, write)
    assert seen == [0, 0, 0, 0, 4000, 0, 0, 0, 4000, 0] and len(stage.story[-1][0]) == 2000


def test_a_large_write_takes_along_what_waits(same_story):
    def write(writer, read_end):
        writer.write(b"head")
        writer.write(bytes(40_000))
        assert len(read_end.read()) == 40_004
        writer.write(b"tail")

    def play(stage):
        chunks_of(stage, write)

    story = same_story(play)
    assert story[-1] == (b"tail",) and not [e for e in story if e[0] == "reported"]


def test_packets_stay_packets(same_story):
    def write(writer, read_end):
        for data in b"one", b"two":
            writer.write(data)

    def play(stage):
        chunks_of(stage, write, lambda writer, read_end: None, packets=True)

    assert [e for e in same_story(play) if e[0] in (b"one", b"two")] == [(b"one",), (b"two",)]


@pytest.mark.parametrize("n", [2, 3])
def test_a_reader_that_is_gone_is_noticed_by_gathered_writes(same_story, n):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        inside = InCallback(stage, writer, read_end)

        def write():
            read_end.close()
            for _ in range(n):
                writer.write(b"x")

        inside.run(write)
        stage.turns(2)
        stage.log(write_end.closed, writer.get_write_buffer_size())

    story = same_story(play)
    assert ("lost", ("BrokenPipeError", "[Errno 32] Broken pipe", 32)) in story


def test_a_view_with_gaps_behind_gathered_writes_is_refused_as_stock_refuses_it(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        inside = InCallback(stage, writer, read_end)

        def write():
            for _ in range(3):
                writer.write(b"x")
            try:
                writer.write(memoryview(b"abcdef")[::2])
            except TypeError as exc:
                stage.log(told(exc))
            stage.log(os.read(read_end.fileno(), 100))

        inside.run(write)
        stage.turns(2)
        stage.log(writer.is_closing())

    assert (True,) in same_story(play)


def test_gathered_writes_that_do_not_fit_pause_the_protocol(same_story):
    class Noting(Recorder):
        def pause_writing(self):
            self.story.append(("pause in", VAR.get()))

        def resume_writing(self):
            self.story.append(("resume in", VAR.get()))

    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end, Noting(stage.story))
        writer.set_write_buffer_limits(high=100)
        inside = InCallback(stage, writer, read_end)

        def write():
            VAR.set("of the callback")
            for _ in range(5):
                writer.write(bytes(1000))

        inside.run(write)
        stage.log(writer.get_write_buffer_size() > 0)
        got = 0
        while got < 5000:
            got += len(read_end.read() or b"")
            stage.turns()
        stage.log(got, writer.get_write_buffer_size())

    story = same_story(play)
    assert ("pause in", "of the callback") in story and ("resume in", "of the callback") in story


@pytest.mark.ours("stock holds nothing back")
def test_what_is_held_when_the_end_comes_first_is_dropped(stage):
    read_end, write_end = stage.pipe()
    writer, _ = stage.writer(write_end)
    inside = InCallback(stage, writer, read_end)
    inside.run(lambda: (writer.write(b"x"), writer._call_connection_lost(None)))
    stage.turns(2)
    assert write_end.closed and stage.story == ["made", ("lost", None)]


@pytest.mark.ours("stock holds nothing back")
def test_single_writes_are_sent_at_once_again_after_a_while(stage):
    seen = []
    single = [lambda writer, read_end: (writer.write(b"x"), seen.append(read_end.read()))] * 12
    chunks_of(stage, *single)
    assert seen[0] is None and seen[-1] == b"x"


# ---- the readers go away


@both_modes
@pytest.mark.parametrize("buffered", [False, True])
def test_a_closed_reader_is_noticed(same_story, debug, buffered):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        stage.turns(2)
        if buffered:
            writer.write(bytes(2 * PIPE_SIZE))
        read_end.close()
        stage.turns(4)
        stage.log(writer.is_closing(), writer.get_write_buffer_size(), write_end.closed)

    story = same_story(play, debug=debug)
    assert story[-2] == ("lost", ("BrokenPipeError", "", None) if buffered else None)


@both_modes
def test_writing_to_a_broken_pipe_closes_and_warns_from_the_fifth_on(same_story, debug, log):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        read_end.close()
        for _ in range(8):
            writer.write(b"x")
            stage.log(writer._conn_lost, writer.is_closing())
        stage.turns(3)
        writer.write(b"x")
        stage.log(writer._conn_lost)

    story = same_story(play, debug=debug)
    assert ("lost", ("BrokenPipeError", "[Errno 32] Broken pipe", 32)) in story
    assert [text for level, text, _ in log.lines if level == "WARNING"] == [
        "pipe closed by peer or os.write(pipe, data) raised exception."
    ] * 4


def test_writes_after_close_count_without_an_effect(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        writer.write(b"before")
        writer.close()
        for _ in range(7):
            writer.write(b"after")
        stage.log(writer._conn_lost, os.read(read_end.fileno(), 100))

    assert (7, b"before") in same_story(play)


def test_a_write_that_was_waiting_when_the_reader_closed_ends_with_the_error(same_story):
    def play(stage):
        leader, follower = map(stage.own, socket.socketpair())
        writer, _ = stage.writer(leader)
        writer.write(bytes(5_000_000))
        stage.log(writer.get_write_buffer_size() > 0)
        follower.close()
        stage.turns(4)
        stage.log(writer.get_write_buffer_size(), leader.fileno())

    assert same_story(play)[-1] == (0, -1)


# ---- the end


@pytest.mark.parametrize("end", ["close", "abort", "write_eof"])
@pytest.mark.parametrize("buffered", [False, True])
def test_each_way_to_end_a_writer(same_story, end, buffered):
    def play(stage):
        read_end, write_end = stage.pipe()
        os.set_blocking(read_end.fileno(), False)
        writer, _ = stage.writer(write_end)
        stage.log(writer.can_write_eof(), writer.is_closing())
        if buffered:
            writer.write(bytes(3 * PIPE_SIZE))
        getattr(writer, end)()
        stage.log(writer.is_closing(), write_end.closed, writer.get_write_buffer_size())
        got = 0
        for _ in range(8):
            got += len(read_end.read() or b"")
            stage.turns()
        stage.log(got, write_end.closed)
        writer.close()
        writer.write_eof()
        stage.log(writer.get_protocol(), writer.is_closing())

    assert same_story(play)[-2][1] is True


def test_abort_ends_a_close_that_waits(same_story):
    def play(stage):
        _, write_end = stage.pipe()
        writer, _ = stage.writer(write_end)
        writer.write(bytes(2 * PIPE_SIZE))
        writer.close()
        stage.turns(2)
        stage.log(write_end.closed)
        writer.abort()
        stage.turns(2)
        stage.log(write_end.closed)

    assert same_story(play)[-2:] == [("lost", None), (True,)]


@pytest.mark.ours("stock calls the protocol of None the second time and reports that")
def test_aborting_twice_is_harmless(stage):
    _, write_end = stage.pipe()
    writer, _ = stage.writer(write_end)
    writer.abort()
    writer.abort()
    stage.turns(3)
    writer.abort()
    assert stage.story == ["made", ("lost", None)]


class Closer(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.close()


def test_closing_a_reader_in_connection_made(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        transport, _ = stage.reader(read_end, Closer(stage.story))
        stage.turns(2)
        stage.log(read_end.closed, transport.is_closing())

    assert same_story(play) == ["made", ("lost", None), (True, True)]


@pytest.mark.ours("stock watches the closed writer all the same, and fails when that fires")
def test_closing_a_writer_in_connection_made(stage):
    read_end, write_end = stage.pipe()
    stage.writer(write_end, Closer(stage.story))
    stage.turns(2)
    read_end.close()
    stage.turns(2)
    assert write_end.closed and stage.story == ["made", ("lost", None)]


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_the_pipe_is_closed_by_its_own_close(same_story, side):
    class Counting:
        def __init__(self, raw, story):
            self.raw, self.story, self.fileno = raw, story, raw.fileno

        def close(self):
            self.story.append("close of the pipe")
            self.raw.close()

    def play(stage):
        end = stage.pipe()[side == "writer"]
        transport, _ = getattr(stage, side)(Counting(end, stage.story))
        transport.close()
        stage.turns(3)
        stage.log(end.closed)

    story = same_story(play)
    assert story.count("close of the pipe") == 1 and story[2] == "close of the pipe"


@pytest.mark.ours("stock closes the pipe a second time when the transport dies")
@pytest.mark.parametrize("side", ["reader", "writer"])
def test_a_pipe_that_fails_to_close_is_let_go_of(stage, side):
    class Failing:
        times = 0

        def __init__(self, raw):
            self.fileno = raw.fileno

        def close(self):
            self.times += 1
            raise LookupError("from close")

    end = Failing(stage.pipe()[side == "writer"])
    transport, _ = getattr(stage, side)(end)
    transport.close()
    stage.turns(3)
    del transport
    gc.collect()
    assert end.times == 1
    assert [e[2][:2] for e in stage.story if e[0] == "reported"] == [("LookupError", "from close")]


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_an_open_transport_that_is_dropped_warns_and_closes_its_pipe(same_story, side):
    def play(stage):
        end = stage.pipe()[side == "writer"]
        # What is watched lives on, so the watch is ended first.
        make = "_make_read_pipe_transport" if side == "reader" else "_make_write_pipe_transport"
        gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            transport = getattr(stage.loop, make)(end, Recorder(stage.story))
            stage.turns(2)
            if side == "reader":
                transport.pause_reading()
            else:
                stage.loop._remove_reader(end.fileno())
            del transport
            stage.story[:] = []
            gc.collect()
            seen = [(w.category.__name__, tidy(w.message)) for w in caught]
            caught.clear()
        gc.collect()
        stage.log(seen, end.closed)

    (seen, closed), *_ = same_story(play)
    assert closed and seen[0][0] == "ResourceWarning"
    assert seen[0][1].startswith("unclosed transport <")


def test_a_finished_transport_is_freed_with_all_it_had(same_story):
    def play(stage):
        for end, connect in zip(stage.pipe(), (stage.reader, stage.writer), strict=True):
            transport, protocol = connect(end)
            refs = [weakref.ref(transport), weakref.ref(protocol)]
            transport.close()
            stage.turns(2)
            protocol.transport = None
            del transport, protocol
            stage.log([ref() for ref in refs])

    assert ([None, None],) in same_story(play)


def test_a_transport_in_a_cycle_is_collected(same_story):
    def play(stage):
        read_end, _ = stage.pipe()
        transport, protocol = stage.reader(read_end)
        transport.pause_reading()
        transport.mine = transport
        ref = weakref.ref(transport)
        del transport, protocol
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        stage.log(ref(), read_end.closed)

    assert (None, True) in same_story(play)


def test_methods_after_the_end_are_harmless(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end)
        writer, _ = stage.writer(write_end)
        for transport in reader, writer:
            transport.close()
        stage.turns(3)
        for call in (
            reader.close,
            reader.pause_reading,
            reader.resume_reading,
            reader.is_reading,
            writer.close,
            writer.write_eof,
            writer.get_write_buffer_size,
        ):
            stage.log(call())
        writer.write(b"x")
        stage.log(writer._conn_lost, reader._loop, reader._pipe, reader._protocol)

    same_story(play)


def test_a_closed_loop_refuses_new_transports(same_story):
    def play(stage):
        for end, name in zip(stage.pipe(), ("read", "write"), strict=True):
            loop = type(stage.loop)()
            loop.close()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    getattr(loop, f"_make_{name}_pipe_transport")(end, Recorder(stage.story))
                except RuntimeError as exc:
                    stage.log(str(exc))
                gc.collect()
                stage.log([w.category.__name__ for w in caught], end.closed)

    assert ("Event loop is closed",) in same_story(play)


# ---- a number that is somebody else's by now


def reuse(stage, end):
    """Close a pipe behind its transport's back, and give its number to another pipe."""
    number = end.fileno()
    other = stage.pipe()
    end.close()
    mode = end.mode
    theirs = other[0] if mode == "rb" else other[1]
    os.dup2(theirs.fileno(), number)
    return number, other


@pytest.mark.ours("stock goes by the number alone")
@both_modes
def test_a_writer_does_not_write_to_a_number_that_was_given_away(stage, debug):
    stage.loop.set_debug(debug)
    read_end, write_end = stage.pipe()
    writer, _ = stage.writer(write_end)
    stage.turns(2)
    number, other = reuse(stage, write_end)
    try:
        os.set_blocking(other[0].fileno(), False)
        writer.write(b"not for you")
        stage.turns(3)
        assert other[0].read() is None
        assert stage.story[-1] == ("lost", ("OSError", "[Errno 9] Bad file descriptor", 9))
        os.fstat(number)  # and it was not closed
    finally:
        os.close(number)


@pytest.mark.ours("stock goes by the number alone")
def test_a_writer_with_a_buffer_does_not_write_to_a_number_that_was_given_away(stage):
    read_end, write_end = stage.pipe()
    writer, _ = stage.writer(write_end)
    stage.turns(2)
    writer.write(bytes(2 * PIPE_SIZE))
    number, other = reuse(stage, write_end)
    try:
        os.set_blocking(other[0].fileno(), False)
        read_end.read(PIPE_SIZE)
        stage.turns(3)
        writer.abort()
        stage.turns(3)
        assert other[0].read() is None
        assert stage.story[-1][0] == "lost"
        os.fstat(number)
    finally:
        os.close(number)


@pytest.mark.ours("stock goes by the number alone")
@pytest.mark.parametrize("wrap", ["raw", "buffered", "socket", "python"])
def test_a_reader_does_not_read_from_a_number_that_was_given_away(stage, wrap):
    read_end, write_end = stage.pipe()
    if wrap == "buffered":
        read_end = stage.own(open(os.dup(read_end.fileno()), "rb"))
    elif wrap == "socket":
        read_end, write_end = map(stage.own, socket.socketpair())
    end = read_end
    if wrap == "python":
        end = types.SimpleNamespace(fileno=read_end.fileno, close=read_end.close)
    reader, _ = stage.reader(end)
    reader.pause_reading()
    number = read_end.fileno()
    other_read, other_write = stage.pipe()
    other_write.write(b"secret")
    read_end.close()
    os.dup2(other_read.fileno(), number)
    try:
        with pytest.raises(OSError):
            reader.resume_reading()
        stage.turns(3)
        reader.close()
        stage.turns(3)
        assert stage.story == ["made", ("lost", None)]
        assert os.read(number, 100) == b"secret"
    finally:
        os.close(number)


@pytest.mark.ours("stock goes by the number alone")
def test_a_reader_that_watches_notices_that_its_pipe_was_closed(stage):
    read_end, write_end = stage.pipe()
    stage.reader(read_end)
    stage.turns(1)
    keep = os.dup(read_end.fileno())  # so that epoll still sees the old pipe
    number, other = reuse(stage, read_end)
    try:
        write_end.write(b"old")
        other[1].write(b"secret")
        stage.turns(4)
        assert ("data", b"secret") not in stage.story
        assert ("data", b"old") not in stage.story
        assert os.read(number, 100) == b"secret"
    finally:
        os.close(number)
        os.close(keep)


def test_add_reader_does_not_mind_the_pipe_transport(same_story):
    def play(stage):
        read_end, write_end = stage.pipe()
        reader, _ = stage.reader(read_end)
        stage.loop.add_reader(read_end.fileno(), lambda: stage.log(os.read(read_end.fileno(), 9)))
        write_end.write(b"mine")
        stage.turns(2)
        stage.loop.remove_reader(read_end.fileno())
        reader.close()

    assert (b"mine",) in same_story(play)


# ---- hostile


def test_opening_twice_is_refused(stage, backend):
    if backend == "stock":
        pytest.skip("casyncio alone has _open()")
    read_end, _ = stage.pipe()
    reader, _ = stage.reader(read_end)
    with pytest.raises(RuntimeError, match="opened before"):
        reader._open(stage.loop, read_end, 0, None, False)
    reader.close()
    stage.turns(2)
    with pytest.raises(RuntimeError, match="opened before"):
        reader._open(stage.loop, read_end, 0, None, False)


@pytest.mark.ours("these are the native types")
@pytest.mark.parametrize("name", ["ReadPipe", "WritePipe", "Pipe"])
def test_a_transport_that_was_never_opened_does_nothing(name, loop):
    from casyncio import _native

    transport = getattr(_native, name)()
    assert transport.is_closing()
    for method in dir(transport):
        if method.startswith("__") or method == "_open":
            continue
        call = getattr(transport, method)
        for args in (), (None,), (b"x",):
            if callable(call):
                try:
                    call(*args)
                except (TypeError, AttributeError, AssertionError, NotImplementedError):
                    pass
    for args in (), (1,), (loop,), (loop, None, "x", None, False), (loop, None, 2**40, None, 0):
        if hasattr(transport, "_open"):
            with pytest.raises((TypeError, OverflowError)):
                transport._open(*args)


def test_a_fileno_that_ends_the_transport_is_survived(stage):
    class Nasty:
        armed = None

        def __init__(self, raw):
            self.raw = raw

        def fileno(self):
            if self.armed is not None:
                call, self.armed = self.armed, None
                call()
            return -1 if self.raw.closed else self.raw.fileno()

        def close(self):
            self.raw.close()

    read_end, write_end = stage.pipe()
    nasty = Nasty(read_end)
    reader, _ = stage.reader(nasty)
    nasty.armed = lambda: reader._call_connection_lost(None)
    write_end.write(b"x")
    stage.turns(3)
    reader.close()
    stage.turns(3)
    read_end, write_end = stage.pipe()
    nasty = Nasty(write_end)
    writer, _ = stage.writer(nasty)
    nasty.armed = lambda: writer._call_connection_lost(None)
    writer.write(b"x")
    writer.abort() if writer._loop else None
    stage.turns(3)
    assert [e for e in stage.story if e[0] == "lost"]


def test_a_hundred_pipes_at_once_come_to_their_ends(same_story, fds):
    def play(stage):
        before = len(fds())
        pairs = []
        for i in range(100):
            read_end, write_end = stage.pipe()
            mine = []
            reader, _ = stage.reader(read_end, Recorder(mine))
            writer, _ = stage.writer(write_end, Recorder([]))
            pairs.append((mine, writer, i))
        for _, writer, i in pairs:
            writer.write(b"%d" % i * 3000)
            writer.close()
        for _ in range(60):
            stage.turns()
        for mine, _, i in pairs:
            data = b"".join(e[1] for e in mine if e[0] == "data")
            stage.log(data == b"%d" % i * 3000, mine[-2:])
        stage.log(len(fds()) - before)

    assert same_story(play)[-1] == (0,)


def test_a_child_process_speaks_over_pipes(loop, monkeypatch):
    async def main():
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1]);"
            "sys.stderr.write('done')",
            stdin=-1,
            stdout=-1,
            stderr=-1,
        )
        blob = os.urandom(700_000)
        out, err = await child.communicate(blob)
        assert out == blob[::-1] and err == b"done" and child.returncode == 0

    asyncio.set_event_loop(loop)
    if hasattr(asyncio, "get_child_watcher"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            asyncio.get_child_watcher().attach_loop(loop)
    try:
        loop.run_until_complete(main())
    finally:
        asyncio.set_event_loop(None)


def test_streams_work_over_pipes(same_story):
    async def main(stage):
        read_end, write_end = stage.pipe()
        stream = asyncio.StreamReader()
        await stage.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), read_end)
        transport, protocol = await stage.loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, write_end
        )
        writer = asyncio.StreamWriter(transport, protocol, None, stage.loop)

        async def write():
            for i in range(200):
                writer.write(b"%d\n" % i * 50)
                await writer.drain()
            writer.close()

        task = stage.loop.create_task(write())
        lines = [line async for line in stream]
        await task
        stage.log(len(lines), lines[0], lines[-1])

    def play(stage):
        stage.loop.run_until_complete(main(stage))

    assert (10_000, b"0\n", b"199\n") in same_story(play)


@pytest.mark.ours("that is how casyncio's own pipe module is switched off")
def test_stock_s_transports_can_be_asked_for(child):
    out = child.ok(
        """
        import os
        r, w = os.pipe()
        loop = new_loop()
        t, _ = loop.run_until_complete(loop.connect_read_pipe(asyncio.Protocol, open(r, "rb", 0)))
        print(type(t).__module__, type(t).__name__)
        t.close()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        """,
        env={"CASYNCIO_TRANSPORTS": "stock"},
    )
    assert out.split() == ["asyncio.unix_events", "_UnixReadPipeTransport"]


# ---- what of asyncio's is leant on


def test_asyncio_has_the_names_that_are_leant_on():
    from casyncio import _pipes

    assert all(hasattr(transports._FlowControlMixin, name) for name in _pipes._FLOW_NAMES)
    assert callable(asyncio.futures._set_result_unless_cancelled)
    for cls in unix_events._UnixReadPipeTransport, unix_events._UnixWritePipeTransport:
        assert {"__repr__", "__del__", "_read_ready", "_call_connection_lost"} <= set(vars(cls))
