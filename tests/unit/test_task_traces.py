"""Random programs of tasks and futures leave the same trace on asyncio's loop and on ours.

``task_programs.py`` says what the programs are made of. CASYNCIO_TRACES=20000 in the environment
runs that many of them, others each time; without it they are few and always the same.
"""

import asyncio

from hypothesis import example, given
from random_programs import assert_same_trace, limits, load, patient, remembered

task_programs = load("task_programs")

# Every statement there is, in a row; and programs that have shown something once.
FIRST_TASKS = ((0, "spawn", 0, 0, ((0, "future", 0),), 2), (0, "spawn", 1, 4, ((1, "get"),), 0))
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


@remembered
def stock_trace(program):
    return task_programs.play(asyncio.SelectorEventLoop, program)


@patient
@limits(600)
@given(program=task_programs.programs)
@example(program=WAKEUP_OF_ANOTHER)
@example(program=LEAVES_THE_LOOP)
def test_a_random_program_leaves_asyncios_trace(backend, program):
    def make_loop():
        if backend == "stock":
            return asyncio.SelectorEventLoop()
        import casyncio

        return casyncio.new_event_loop(backend)

    assert_same_trace(task_programs.play(make_loop, program), stock_trace(program), program)


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
