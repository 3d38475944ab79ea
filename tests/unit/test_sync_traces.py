"""Random programs of locks and queues leave the same trace with asyncio's classes and with ours.

``sync_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the environment
runs that many of them, others each time; without it they are few and always the same.
"""

import asyncio
import difflib
import importlib.util
import os
import pathlib
import pprint

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings

PROGRAMS = pathlib.Path(__file__).with_name("sync_programs.py")
spec = importlib.util.spec_from_file_location("sync_programs", PROGRAMS)
sync_programs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sync_programs)

WISHED = int(os.environ.get("CASYNCIO_TRACES", "0"))
LIMITS = settings(
    max_examples=WISHED or 300,
    derandomize=not WISHED,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=bool(WISHED),
)
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
    changes = "\n".join(difflib.unified_diff(expected, found, "asyncio", "ours", lineterm=""))
    assert found == expected, f"{pprint.pformat(program)}\n{changes}"


@pytest.mark.timeout(600 + WISHED, method="thread")
@LIMITS
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
@pytest.mark.timeout(600 + WISHED, method="thread")
@settings(LIMITS, max_examples=WISHED or 80)
@given(program=sync_programs.programs)
def test_our_classes_leave_asyncios_trace_on_asyncios_loop(program):
    compare(asyncio.SelectorEventLoop(), ours(), program)


@pytest.mark.ours("it is about our classes where they hand over to stock's")
@pytest.mark.timeout(600 + WISHED, method="thread")
@settings(LIMITS, max_examples=WISHED or 80)
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
