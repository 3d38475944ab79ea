"""Random programs of locks and queues leave the same trace with asyncio's classes and with ours.

``sync_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the environment
runs that many of them, others each time; without it they are few and always the same.
"""

import asyncio

import pytest
from hypothesis import example, given
from random_programs import assert_same_trace, limits, load, patient

sync_programs = load("sync_programs")
NAMES = (
    "Lock",
    "Event",
    "Condition",
    "Semaphore",
    "BoundedSemaphore",
    "Barrier",
    "Queue",
    "LifoQueue",
    "PriorityQueue",
)
STOCK = {name: getattr(asyncio, name) for name in NAMES}


def ours():
    import casyncio

    return {name: getattr(casyncio, name) for name in NAMES}


def compare(loop, family, program):
    expected = sync_programs.Player(asyncio.SelectorEventLoop(), STOCK, program).play()
    found = sync_programs.Player(loop, family, program).play()
    assert_same_trace(found, expected, program)


@patient
@limits(300)
@given(program=sync_programs.programs)
@example(program=("Queue", 1, (("by_hand", 0), ("put", 1), ("cancel", 0), ("drop",), ("get",))))
@example(program=("Lock", None, (("by_hand", 0), ("by_hand", 1), ("by_hand", 3), ("release",))))
def test_a_random_program_leaves_asyncios_trace(backend, program):
    if backend == "stock":
        compare(asyncio.SelectorEventLoop(), STOCK, program)
    else:
        import casyncio

        compare(casyncio.new_event_loop(backend), ours(), program)


@pytest.mark.ours("it is about our classes where they hand over to stock's")
@patient
@limits(80)
@given(program=sync_programs.programs)
def test_our_classes_leave_asyncios_trace_on_asyncios_loop(program):
    compare(asyncio.SelectorEventLoop(), ours(), program)


@pytest.mark.ours("it is about our classes where they hand over to stock's")
@patient
@limits(80)
@given(program=sync_programs.programs)
def test_derived_classes_leave_asyncios_trace(program):
    import casyncio

    family = {}
    for name, cls in ours().items():
        members = {"_get": lambda self, up=cls: up._get(self)} if "Queue" in name else {}
        if name in ("Lock", "Event", "Semaphore", "BoundedSemaphore"):
            members = {"_get_loop": lambda self, up=cls: up._get_loop(self)}
        family[name] = type(name, (cls,), {**members, "__module__": "casyncio"})
    compare(casyncio.new_event_loop(), family, program)
