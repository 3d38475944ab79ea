"""Writing to stream transports: buffers of every kind, watermarks, what is owed to the caller."""

import array
import asyncio
import ctypes
import sys
import time

import pytest
from traces import Recorder, patient, read, read_all, reset, send, trace_of, until

MEGABYTE = bytes(range(256)) * 4096
QUARTER = MEGABYTE[: 1 << 18]


@pytest.fixture(params=["tcp", "unix"])
def kind(request):
    """Return each kind of stream socket."""
    return request.param


async def finish(protocol):
    """Abort the transport and wait for its end."""
    protocol.transport.abort()
    await protocol.until("connection_lost")


# ---- what can be written ----

WRITABLE = {
    "bytes": lambda: b"abcdefgh",
    "empty bytes": lambda: b"",
    "bytearray": lambda: bytearray(b"abcdefgh"),
    "empty bytearray": bytearray,
    "memoryview": lambda: memoryview(b"abcdefgh"),
    "slice": lambda: memoryview(b"xxabcdefghxx")[2:10],
    "empty view": lambda: memoryview(b""),
    "view of words": lambda: memoryview(array.array("I", [1, 2, 3])),
    "two dimensions": lambda: memoryview(bytes(16)).cast("B", (4, 4)),
    "every other byte": lambda: memoryview(b"a_b_c_d_")[::2],
    "backwards": lambda: memoryview(b"abcd")[::-1],
    "released view": lambda: released(),
    "array": lambda: array.array("B", b"abc"),
    "ctypes": lambda: ctypes.create_string_buffer(b"abc"),
    "str": lambda: "abc",
    "None": lambda: None,
    "int": lambda: 5,
    "list": lambda: [1, 2],
    "tuple of bytes": lambda: (b"a", b"b"),
    "bytes subclass": lambda: type("Bytes", (bytes,), {})(b"derived"),
    "bytearray subclass": lambda: type("Bytes", (bytearray,), {})(b"derived"),
}


def released():
    view = memoryview(b"abc")
    view.release()
    return view


@pytest.mark.parametrize("data", WRITABLE.values(), ids=WRITABLE)
def test_write_takes_and_refuses_what_stocks_does(same_trace, data):
    async def program(trace):
        protocol, peer = await trace.connect()
        trace.call("client", protocol.transport.write, data())
        trace("client", protocol.transport.get_write_buffer_size())
        await asyncio.sleep(0)
        trace("client", protocol.transport.is_closing())
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    same_trace(program)


@pytest.mark.parametrize("data", WRITABLE.values(), ids=WRITABLE)
def test_write_after_close_takes_and_refuses_what_stocks_does(same_trace, data):
    async def program(trace):
        protocol, _ = await trace.connect()
        protocol.transport.close()
        for _ in range(6):
            trace.call("client", protocol.transport.write, data())
        await protocol.until("connection_lost")

    same_trace(program)


# What is in the buffer counts in bytes; stock counts items and loses track of words.
CONTIGUOUS = {
    name: WRITABLE[name] for name in ["bytes", "bytearray", "memoryview", "slice", "empty bytes"]
}


@pytest.mark.parametrize("data", CONTIGUOUS.values(), ids=CONTIGUOUS)
def test_any_contiguous_buffer_is_queued_behind_others(same_trace, kind, data):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        before = protocol.transport.get_write_buffer_size()
        trace.call("client", protocol.transport.write, data())
        trace("client", protocol.transport.get_write_buffer_size() - before)
        protocol.transport.close()
        got, end = await read_all(peer)
        trace("peer", got[len(MEGABYTE) :], end)
        await protocol.until("connection_lost")

    same_trace(program)


WIDE = {
    "words": lambda: memoryview(array.array("Q", range(100))),
    "two dimensions": lambda: memoryview(bytes(800)).cast("B", (20, 40)),
}


@pytest.mark.ours("stock counts items, not bytes, of a wide view")
@pytest.mark.parametrize("view", WIDE.values(), ids=WIDE)
def test_a_queued_view_of_wide_items_is_sent_whole(trace_on, kind, view):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        before = protocol.transport.get_write_buffer_size()
        protocol.transport.write(view())
        assert protocol.transport.get_write_buffer_size() - before == 800
        protocol.transport.close()
        got, _ = await read_all(peer)
        assert got[len(MEGABYTE) :] == view().tobytes()
        await protocol.until("connection_lost")

    trace_on(program)


LINES = {
    "list": lambda: [b"a", b"b", b"c"],
    "tuple": lambda: (b"a", b"b"),
    "generator": lambda: (bytes([n]) for n in b"abc"),
    "empty list": list,
    "mixed": lambda: [b"a", bytearray(b"b"), memoryview(b"c")],
    "one line": lambda: [b"only"],
    "many lines": lambda: [b"%05d" % n for n in range(3000)],
    "bytes": lambda: b"abc",
    "bytearray": lambda: bytearray(b"abc"),
    "text": lambda: ["a", "b"],
    "text behind": lambda: [b"a", "b"],
    "None": lambda: None,
    "None inside": lambda: [b"a", None],
    "zero inside": lambda: [b"a", 0],
    "empty text inside": lambda: [b"a", ""],
    "empty list inside": lambda: [b"a", []],
    "str": lambda: "ab",
    "int": lambda: 5,
    "array": lambda: [array.array("B", b"abc"), b"d"],
}


def overlooks_what_is_false(new_stock):
    """Say whether this Python's asyncio drops lines that are false, whatever they are."""

    async def program(trace):
        protocol, _ = await trace.connect()
        trace.call("client", protocol.transport.writelines, [b"a", None])
        await finish(protocol)

    return ("writelines", None) in trace_of(program, new_stock())["client"]


@pytest.mark.parametrize("name", LINES)
def test_writelines_takes_and_refuses_what_stocks_does(same_trace, new_stock, name):
    if name.endswith(" inside") and overlooks_what_is_false(new_stock):
        pytest.skip("this Python's asyncio overlooks lines that are false")

    async def program(trace):
        protocol, peer = await trace.connect()
        try:
            trace("client", protocol.transport.writelines(LINES[name]()))
        except (TypeError, AssertionError) as exc:
            trace("client", "raises", type(exc), str(exc))
            await finish(protocol)
            return
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    same_trace(program)


@pytest.mark.ours("asyncio's newer patch releases overlook what is false")
@pytest.mark.parametrize("odd", [None, 0, "", []], ids=repr)
def test_a_line_that_is_no_bytes_is_refused_even_if_it_is_false(trace_on, odd):
    async def program(trace):
        protocol, peer = await trace.connect()
        with pytest.raises(TypeError):
            protocol.transport.writelines([b"a", odd])
        protocol.transport.write(b"b")
        protocol.transport.close()
        got, _ = await read_all(peer)
        assert got == b"b"
        await protocol.until("connection_lost")

    trace_on(program)


EMPTY_LINES = [
    pytest.param(lambda: iter(()), b"!", id="empty generator"),
    pytest.param(lambda: [b"", b""], b"!", id="empty lines"),
    pytest.param(lambda: [b"", b"a", b"", b"b", b""], b"ab!", id="some empty"),
]


@pytest.mark.ours("stock 3.12 asserts that there is something to send")
@pytest.mark.parametrize("lines, sent", EMPTY_LINES)
def test_writelines_of_empty_lines_is_harmless(trace_on, kind, lines, sent):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.writelines(lines())
        assert protocol.transport.get_write_buffer_size() == 0
        protocol.transport.write(b"!")
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    lanes = trace_on(program)
    assert lanes["peer"] == [(sent, "EOF")]


def test_a_refused_line_sends_nothing_of_the_lines_before_it(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        try:
            protocol.transport.writelines([b"a", "b", b"c"])
        except TypeError:
            trace("client", "TypeError")
        protocol.transport.write(b"d")
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    assert same_trace(program)["peer"] == [(b"d", "EOF")]


def test_an_exception_of_the_lines_iterator_comes_out_of_writelines(same_trace, kind):
    def lines():
        yield b"a"
        raise LookupError("mine")

    async def program(trace):
        protocol, peer = await trace.connect(kind)
        trace.call("client", protocol.transport.writelines, lines())
        trace("client", protocol.transport.is_closing())
        protocol.transport.close()
        trace("peer", *await read_all(peer))
        await protocol.until("connection_lost")

    assert ("writelines", "raises", ("LookupError", "mine", None)) in same_trace(program)["client"]


def test_many_more_lines_than_one_syscall_takes_arrive_in_order(trace_on, kind):
    lines = [b"%06d" % n for n in range(5000)]

    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.writelines(lines)
        protocol.transport.writelines(lines)
        assert await read(peer, 60_000) == b"".join(lines) * 2
        await finish(protocol)

    trace_on(program)


def test_writes_and_lines_of_all_sizes_arrive_in_order(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        expected = bytearray()
        size = 1
        while size < 300_000:
            for piece in bytes([size % 251]) * size, bytearray(b"x" * size):
                protocol.transport.write(piece)
                expected += piece
            lines = [bytes([size % 13]) * (size // 3)] * 3
            protocol.transport.writelines(lines)
            expected += b"".join(lines)
            size = size * 3 + 1
        assert await read(peer, len(expected)) == expected
        await finish(protocol)

    trace_on(program)


def test_a_megabyte_reaches_a_slow_reader_whole(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE * 2)
        got = bytearray()
        while len(got) < len(MEGABYTE) * 2:
            got += await read(peer, min(30_011, len(MEGABYTE) * 2 - len(got)))
        assert got == MEGABYTE * 2
        await finish(protocol)

    lanes = trace_on(program)
    assert lanes["client"] == [
        ("connection_made",),
        ("pause_writing",),
        ("resume_writing",),
        ("connection_lost", None),
    ]


# ---- what is owed to the caller's buffers ----


@pytest.mark.parametrize("view", [False, True])
def test_a_bytearray_sent_at_once_is_free_again(trace_on, kind, view):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        data = bytearray(b"small")
        protocol.transport.write(memoryview(data) if view else data)
        data += b"grown"  # BufferError while exported
        assert await read(peer, 5) == b"small"
        await finish(protocol)

    trace_on(program)


@pytest.mark.ours("stock 3.12 and 3.13 send what the bytearray holds later")
def test_a_bytearray_changed_after_write_does_not_change_the_wire(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        data = bytearray(b"before")
        protocol.transport.write(data)
        data[:] = b"after!"
        assert (await read(peer, len(MEGABYTE) + 6))[-6:] == b"before"
        await finish(protocol)

    trace_on(program)


@pytest.mark.ours("stock 3.12 and 3.13 send what the bytearray holds later")
def test_a_partly_sent_bytearray_may_be_changed_and_resized(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        data = bytearray(MEGABYTE)
        protocol.transport.write(data)
        assert 0 < protocol.transport.get_write_buffer_size() < len(data)
        data[:] = bytes(10)
        assert await read(peer, len(MEGABYTE)) == MEGABYTE
        await finish(protocol)

    trace_on(program)


@pytest.mark.ours("stock 3.12 and 3.13 send what the bytearray holds later")
def test_lines_changed_after_writelines_do_not_change_the_wire(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        first, second = bytearray(MEGABYTE), bytearray(b"before")
        protocol.transport.writelines([first, second])
        first[-10:] = b"changed!!!"
        second[:] = b"after!"
        assert await read(peer, len(MEGABYTE) + 6) == MEGABYTE + b"before"
        await finish(protocol)

    trace_on(program)


@pytest.mark.ours("stock 3.12 and 3.13 keep the view and use it after its release")
def test_a_view_released_after_write_is_sent_all_the_same(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        view = memoryview(b"released")
        protocol.transport.write(view)
        view.release()
        assert (await read(peer, len(MEGABYTE) + 8))[-8:] == b"released"
        await finish(protocol)

    lanes = trace_on(program)
    assert "handler" not in lanes


def test_bytes_dropped_by_the_caller_are_kept_until_sent(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        for n in range(20):
            protocol.transport.write(bytes([n]) * 100_000)
        expected = b"".join(bytes([n]) * 100_000 for n in range(20))
        assert await read(peer, len(expected)) == expected
        await finish(protocol)

    trace_on(program)


@pytest.mark.parametrize("end", ["sent", "abort", "reset"])
def test_buffered_bytes_are_freed_when_no_longer_needed(trace_on, end):
    async def program(trace):
        protocol, peer = await trace.connect()
        protocol.transport.write(MEGABYTE)
        data = bytes(bytearray(b"z") * 5000)
        idle = sys.getrefcount(data)
        protocol.transport.write(data)
        if end == "sent":
            await read(peer, len(MEGABYTE) + len(data))
            await until(lambda: protocol.transport.get_write_buffer_size() == 0)
        elif end == "abort":
            protocol.transport.abort()
        else:
            reset(peer)
            await protocol.until("connection_lost")
        assert sys.getrefcount(data) == idle
        await finish(protocol)

    trace_on(program)


# ---- watermarks ----


def test_the_limits_start_at_64_and_16_kib(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        trace.call("client", protocol.transport.get_write_buffer_limits)
        await finish(protocol)

    assert ("get_write_buffer_limits", (16384, 65536)) in same_trace(program)["client"]


LIMITS = [
    {},
    {"high": 0},
    {"low": 0},
    {"high": 10},
    {"high": 11},
    {"low": 10},
    {"high": 10, "low": 10},
    {"high": 100, "low": 10},
    {"high": 10, "low": 11},
    {"high": -1},
    {"low": -1},
    {"high": 10, "low": -1},
    {"high": 1.5},
    {"high": 10.5, "low": 2.5},
    {"high": 2**40},
    {"high": 2**80},
    {"high": 2**80, "low": 2**79},
    {"high": float("inf")},
    {"high": "10"},
    {"high": True},
    {"high": None, "low": None},
]


@pytest.mark.parametrize("limits", LIMITS, ids=repr)
def test_limits_are_set_and_refused_as_by_stock(same_trace, limits):
    async def program(trace):
        protocol, _ = await trace.connect()
        trace.call("client", protocol.transport.set_write_buffer_limits, **limits)
        trace.call("client", protocol.transport.get_write_buffer_limits)
        trace.call("client", protocol.transport.write, b"x")
        await finish(protocol)

    same_trace(program)


def test_limits_are_taken_by_position_and_extra_arguments_refused(same_trace):
    async def program(trace):
        protocol, _ = await trace.connect()
        transport = protocol.transport
        trace.call("client", transport.set_write_buffer_limits, 100, 20)
        trace.call("client", transport.get_write_buffer_limits)
        for args, kwargs in [((1, 2, 3), {}), ((), {"mid": 1})]:
            with pytest.raises(TypeError):
                transport.set_write_buffer_limits(*args, **kwargs)
        await finish(protocol)

    same_trace(program)


def test_setting_limits_below_what_is_buffered_pauses_at_once(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.set_write_buffer_limits(high=1 << 30)
        protocol.transport.write(MEGABYTE)
        trace("client", "written")
        protocol.transport.set_write_buffer_limits(high=10)
        trace("client", "lowered")
        await read(peer, len(MEGABYTE))
        await protocol.until("resume_writing")
        trace("client", protocol.transport.get_write_buffer_size() <= 2)
        await finish(protocol)

    assert same_trace(program)["client"][1:5] == [
        ("written",),
        ("pause_writing",),
        ("lowered",),
        ("resume_writing",),
    ]


def test_raising_limits_while_paused_does_not_resume_at_once(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.write(MEGABYTE)
        protocol.transport.set_write_buffer_limits(high=1 << 30)
        trace("client", list(protocol.events))
        await read(peer, len(MEGABYTE))
        await protocol.until("resume_writing")
        await finish(protocol)

    same_trace(program)


def test_small_writes_that_the_kernel_takes_never_pause_even_with_limit_zero(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.set_write_buffer_limits(high=0)
        for _ in range(5):
            protocol.transport.write(b"small")
            trace("client", protocol.transport.get_write_buffer_size())
        protocol.transport.writelines([b"a", b"b"])
        trace("client", protocol.transport.get_write_buffer_size())
        trace("peer", await read(peer, 27))
        await finish(protocol)

    lanes = same_trace(program)
    assert ("pause_writing",) not in lanes["client"] and lanes["client"][1:7] == [(0,)] * 6


def test_with_limit_zero_any_refused_byte_pauses_and_the_last_sent_resumes(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(
            kind,
            resume_writing=lambda p: trace("client", p.transport.get_write_buffer_size()),
        )
        protocol.transport.set_write_buffer_limits(high=0)
        protocol.transport.write(MEGABYTE)
        await read(peer, len(MEGABYTE))
        await protocol.until("resume_writing")
        await finish(protocol)

    assert same_trace(program)["client"] == [
        ("connection_made",),
        ("pause_writing",),
        ("resume_writing",),
        (0,),
        ("connection_lost", None),
    ]


def test_pause_comes_above_the_high_mark_only(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        transport = protocol.transport
        transport.set_write_buffer_limits(high=1 << 30)
        transport.write(MEGABYTE)
        size = transport.get_write_buffer_size()
        transport.set_write_buffer_limits(high=size + 10)
        transport.write(b"0123456789")
        trace("client", "at the mark", transport.get_write_buffer_size() - size)
        transport.write(b"x")
        trace("client", "above", transport.get_write_buffer_size() - size)
        transport.write(b"x")
        await finish(protocol)

    assert same_trace(program)["client"] == [
        ("connection_made",),
        ("at the mark", 10),
        ("pause_writing",),
        ("above", 11),
        ("connection_lost", None),
    ]


def test_resume_comes_at_the_low_mark(trace_on, kind):
    async def program(trace):
        sizes = []
        protocol, peer = await trace.connect(
            kind, resume_writing=lambda p: sizes.append(p.transport.get_write_buffer_size())
        )
        protocol.transport.set_write_buffer_limits(high=300_000, low=200_000)
        protocol.transport.write(MEGABYTE * 2)
        await read(peer, len(MEGABYTE) * 2)
        assert len(sizes) == 1 and sizes[0] <= 200_000
        await finish(protocol)

    trace_on(program)


def test_writing_inside_resume_writing_is_sent_and_pauses_again(same_trace, kind):
    async def program(trace):
        def more(protocol):
            if protocol.events.count("resume_writing") < 3:
                protocol.transport.write(MEGABYTE)

        protocol, peer = await trace.connect(kind, resume_writing=more)
        protocol.transport.write(MEGABYTE)
        trace("peer", await read(peer, 3 * len(MEGABYTE)))
        await protocol.until("resume_writing", 3)
        await finish(protocol)

    lanes = same_trace(program)
    assert lanes["client"].count(("pause_writing",)) == 3


def test_writing_inside_pause_writing_is_queued(same_trace, kind):
    async def program(trace):
        protocol, peer = await trace.connect(
            kind, pause_writing=lambda p: p.transport.write(b"more")
        )
        protocol.transport.write(MEGABYTE)
        trace("peer", await read(peer, len(MEGABYTE) + 4))
        await protocol.until("resume_writing")
        await finish(protocol)

    same_trace(program)


def test_drain_of_a_stream_writer_waits_for_the_low_mark(same_trace):
    async def program(trace):
        ours, peer = trace.pair()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(MEGABYTE)
        drain = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0)
        trace("client", drain.done())
        await read(peer, len(MEGABYTE))
        trace("client", await patient(drain))
        writer.close()
        await patient(writer.wait_closed())

    assert same_trace(program)["client"] == [(False,), (None,)]


def test_a_lost_connection_ends_drain(same_trace):
    async def program(trace):
        ours, peer = trace.pair()
        reader, writer = await asyncio.open_connection(sock=ours)
        writer.write(MEGABYTE * 16)
        drain = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0)
        reset(peer)
        try:
            await patient(drain)
        except ConnectionError:
            trace("client", "ConnectionError")
        writer.close()

    assert same_trace(program)["client"] == [("ConnectionError",)]


def test_pause_writing_is_not_followed_by_resume_on_abort_or_reset(same_trace):
    async def program(trace):
        for lane in "abort", "reset":
            protocol, peer = await trace.connect(lane=lane)
            protocol.transport.write(MEGABYTE * 16)
            if lane == "reset":
                protocol.transport.pause_reading()
                reset(peer)
            else:
                protocol.transport.abort()
            await protocol.until("connection_lost")

    lanes = same_trace(program)
    for lane in "abort", "reset":
        assert [entry[0] for entry in lanes[lane]] == [
            "connection_made",
            "pause_writing",
            "connection_lost",
        ]


def test_methods_of_a_lost_transport_return_what_stocks_do(same_trace, kind):
    async def program(trace):
        protocol, _ = await trace.connect(kind)
        await finish(protocol)
        transport = protocol.transport
        for method in (
            transport.get_write_buffer_size,
            transport.get_write_buffer_limits,
            transport.set_write_buffer_limits,
            transport.is_closing,
            transport.is_reading,
            transport.can_write_eof,
            transport.get_protocol,
        ):
            trace.call("client", method)

    same_trace(program)


# ---- bug classes ----


@pytest.mark.ours("stock 3.12 and 3.13.0 do not pause: CVE-2024-12254")
def test_writelines_pauses_the_protocol(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        protocol.transport.writelines([QUARTER] * 8)
        trace("client", protocol.transport.get_write_buffer_size() > 65536)
        assert "pause_writing" in protocol.events
        await read(peer, len(QUARTER) * 8)
        await protocol.until("resume_writing")
        await finish(protocol)

    lanes = trace_on(program)
    assert lanes["client"] == [
        ("connection_made",),
        ("pause_writing",),
        (True,),
        ("resume_writing",),
        ("connection_lost", None),
    ]


async def queue_small_writes(trace, count):
    """Queue count small writes behind a full kernel; return the CPU seconds."""
    protocol, peer = await trace.connect()
    protocol.transport.write(MEGABYTE)
    start = time.process_time()
    for _ in range(count):
        protocol.transport.write(b"12345678")
    took = time.process_time() - start
    await finish(protocol)
    return took


@pytest.mark.ours("stock sums all queued pieces at each write: cpython#146507")
def test_small_queued_writes_cost_the_same_however_many_there_are(trace_on):
    def program(trace):
        few, many = 400, 3200
        run = trace.loop.run_until_complete
        # Eight times the writes; the square would be 64. The lesser is free of noise.
        short = min(run(queue_small_writes(trace, few)) for _ in range(2))
        long = min(run(queue_small_writes(trace, many)) for _ in range(2))
        trace("cost", long < 30 * max(short, 0.0005))

    assert trace_on(program)["cost"] == [(True,)]


def test_the_size_of_the_buffer_is_what_the_kernel_has_not_taken(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(kind)
        transport = protocol.transport
        transport.write(MEGABYTE)
        size = transport.get_write_buffer_size()
        assert 0 < size < len(MEGABYTE)
        for n, piece in enumerate([b"x" * 100, bytearray(50), memoryview(bytes(25))]):
            transport.write(piece)
            size += len(piece)
            assert transport.get_write_buffer_size() == size, n
        transport.writelines([b"a" * 10, b"b" * 5])
        assert transport.get_write_buffer_size() == size + 15
        await read(peer, len(MEGABYTE) + 190)
        await until(lambda: transport.get_write_buffer_size() == 0)
        await finish(protocol)

    trace_on(program)


def test_both_ends_writing_much_at_once_do_not_block_each_other(trace_on, kind):
    async def program(trace):
        first, second = trace.pair(kind)
        ends = [Recorder(trace, lane) for lane in ("first", "second")]
        for protocol, sock in zip(ends, (first, second), strict=True):
            await trace.loop.create_connection(lambda protocol=protocol: protocol, sock=sock)
        for protocol in ends:
            for _ in range(6):
                protocol.transport.write(QUARTER)
        for protocol in ends:
            assert await protocol.until_received(6 * len(QUARTER)) == QUARTER * 6
        for protocol in ends:
            await finish(protocol)

    trace_on(program)


def test_an_echo_server_returns_what_a_fast_sender_sends(trace_on, kind):
    async def program(trace):
        protocol, peer = await trace.connect(
            kind,
            data_received=lambda p, data: p.transport.write(data),
            pause_writing=lambda p: p.transport.pause_reading(),
            resume_writing=lambda p: p.transport.resume_reading(),
        )
        sender = asyncio.ensure_future(send(peer, MEGABYTE * 2))
        assert await read(peer, len(MEGABYTE) * 2) == MEGABYTE * 2
        await sender
        await finish(protocol)

    trace_on(program)
