"""Random programs leave the same trace with asyncio's classes of streams and with ours.

``stream_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the
environment runs that many of them, others each time; without it they are few and always the same.
"""

import asyncio

from hypothesis import example, given
from random_programs import assert_same_trace, limits, load, patient, remembered

import casyncio

stream_programs = load("stream_programs")

PAUSED_AND_READ = (
    4,
    True,
    (
        ("receive", b"x" * 40),
        ("look",),
        ("readexactly", 17),
        ("turn", 2),
        ("readexactly", 64),
        ("turn", 2),
        ("receive", b"x" * 40),
        ("turn", 2),
        ("read_all",),
        ("feed_eof",),
    ),
)
TWO_WAIT = (
    65536,
    True,
    (("readline",), ("read", 1), ("turn", 2), ("cancel", 0), ("turn", 1), ("receive", b"line\n")),
)
WAITS_TO_WRITE = (
    65536,
    True,
    (
        ("pause_writing",),
        ("drain",),
        ("drain",),
        ("turn", 2),
        ("cancel", 1),
        ("resume_writing",),
        ("turn", 2),
        ("lose", "one"),
        ("drain",),
        ("wait_closed",),
    ),
)


@remembered
def stock_trace(program):
    return stream_programs.play(asyncio, asyncio.SelectorEventLoop, program)


def compare(program, make_loop):
    found = stream_programs.play(casyncio, make_loop, program)
    assert_same_trace(found, stock_trace(program), program)


@patient
@limits(400)
@given(program=stream_programs.programs)
@example(program=PAUSED_AND_READ)
@example(program=TWO_WAIT)
@example(program=WAITS_TO_WRITE)
def test_a_random_program_leaves_the_trace_of_asyncios_streams(backend, program):
    def make_loop():
        return (
            asyncio.SelectorEventLoop() if backend == "stock" else casyncio.new_event_loop(backend)
        )

    compare(program, make_loop)


@limits(400)
@given(program=stream_programs.programs)
def test_and_so_it_does_on_asyncios_loop(program):
    compare(program, asyncio.SelectorEventLoop)
