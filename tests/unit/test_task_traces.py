"""Random programs of tasks and futures leave the same trace on asyncio's loop and on ours.

``task_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the environment
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

PROGRAMS = pathlib.Path(__file__).with_name("task_programs.py")
spec = importlib.util.spec_from_file_location("task_programs", PROGRAMS)
task_programs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(task_programs)

WISHED = int(os.environ.get("CASYNCIO_TRACES", "0"))
LIMITS = settings(
    max_examples=WISHED or 600,
    derandomize=not WISHED,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
    print_blob=bool(WISHED),
)

# Every statement there is, in a row; and programs that have shown something once.
FIRST_TASKS = ((0, "spawn", 0, 0, ((0, "future", 0),), 2), (0, "spawn", 1, 4, ((1, "get"),), 0))
EAGER_IN_AN_ENTERED_CONTEXT = ((0, "spawn", 0, 0, ((0, "spawn", 0, 7, (), 0),), 0),)
LEAVES_ANOTHER_IN_A_WAKEUP = ((0, "spawn", 0, 0, ((0, "sleep", 1), (0, "spawn", 0, 7, (), 0)), 0),)
WAKEUP_OF_ANOTHER = (
    *FIRST_TASKS,
    (0, "sleep", 0),
    (2, "wake_by_hand", 0),
    (0, "sleep", 0),
    (0, "wake_by_hand", 0),
)
LEAVES_THE_LOOP = (
    (0, "spawn", 0, 0, ((1, "sleep", 0), (0, "wild", 5)), 2),
    (0, "spawn", 1, 0, ((0, "sleep", 0), (0, "wild", 6)), 2),
    (0, "sleep", 0),
    (0, "sleep", 1),
    (3, "future", 8),
    (3, "future", 9),
)

known = {}


def stock_trace(program):
    """Return asyncio's trace; every backend is compared with the same."""
    if WISHED:
        return task_programs.play(asyncio.SelectorEventLoop, program)
    if program not in known:
        known[program] = task_programs.play(asyncio.SelectorEventLoop, program)
    return known[program]


@pytest.mark.timeout(600 + WISHED, method="thread")
@LIMITS
@given(program=task_programs.programs)
@example(program=EAGER_IN_AN_ENTERED_CONTEXT)
@example(program=LEAVES_ANOTHER_IN_A_WAKEUP)
@example(program=WAKEUP_OF_ANOTHER)
@example(program=LEAVES_THE_LOOP)
def test_a_random_program_leaves_asyncios_trace(backend, program):
    def make_loop():
        if backend == "stock":
            return asyncio.SelectorEventLoop()
        import casyncio

        return casyncio.new_event_loop(backend)

    expected = stock_trace(program)
    found = task_programs.play(make_loop, program)
    changes = "\n".join(difflib.unified_diff(expected, found, "asyncio", backend, lineterm=""))
    assert found == expected, f"{pprint.pformat(program)}\n{changes}"


def test_the_random_programs_do_what_their_statements_promise(backend):
    """Programs that all fail at once would leave the same trace, too."""
    program = (
        *FIRST_TASKS,
        (0, "add_callback", 0, (("look", 8), ("cancel", 9, 1)), 2),
        (0, "sleep", 0),
        (0, "set_result", 0, 2),
        (2, "set_result", 0, 1),
        (2, "future", 8),
        (
            2,
            "timeout",
            1,
            (
                (
                    0,
                    "event",
                ),
            ),
        ),
        (
            2,
            "group",
            (
                ((0, "wild", 0),),
                (
                    (
                        0,
                        "get",
                    ),
                ),
            ),
            (),
        ),
        (2, "bare", 0),
        (2, "future", 7),
    )
    trace = "\n".join(stock_trace(program))
    for part in (
        "c0: called <Future finished result='text'>",
        "c0: cancel 9 1 -> (True, 1)",
        "t2: get raised CancelledError('why')",
        "result of t1",
        "root: set_result 0 1 -> InvalidStateError('invalid state')",
        "root: timeout raised TimeoutError()",
        "root: group raised ExceptionGroup('unhandled errors in a TaskGroup'",
        "root: bare raised RuntimeError('Task got bad yield: 1')",
        "attached to a different loop",
        "root: ends",
    ):
        assert part in trace, f"{part!r} is not in\n{trace}"
