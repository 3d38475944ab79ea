"""Random programs leave the same trace with asyncio's classes of streams and with ours.

``stream_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the
environment runs that many of them, others each time; without it they are few and always the same.
"""

import asyncio
import difflib
import importlib.util
import os
import pathlib
import pprint

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

import casyncio

PROGRAMS = pathlib.Path(__file__).with_name("stream_programs.py")
spec = importlib.util.spec_from_file_location("stream_programs", PROGRAMS)
stream_programs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stream_programs)

WISHED = int(os.environ.get("CASYNCIO_TRACES", "0"))
LIMITS = settings(
    max_examples=WISHED or 400,
    derandomize=not WISHED,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=bool(WISHED),
)

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

known = {}


def stock_trace(program):
    """Return asyncio's trace; every loop is compared with the same."""
    if WISHED:
        return stream_programs.play(asyncio, asyncio.SelectorEventLoop, program)
    key = repr(program)
    if key not in known:
        known[key] = stream_programs.play(asyncio, asyncio.SelectorEventLoop, program)
    return known[key]


def compare(program, make_loop):
    expected = stock_trace(program)
    found = stream_programs.play(casyncio, make_loop, program)
    changes = "\n".join(difflib.unified_diff(expected, found, "asyncio", "ours", lineterm=""))
    assert found == expected, f"{pprint.pformat(program)}\n{changes}"


@pytest.mark.timeout(600 + WISHED, method="thread")
@LIMITS
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


@LIMITS
@given(program=stream_programs.programs)
def test_and_so_it_does_on_asyncios_loop(program):
    compare(program, asyncio.SelectorEventLoop)
