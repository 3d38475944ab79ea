"""The acceptance programs hold on casyncio, on every backend and however the loop is chosen.

Each program in ``programs/`` is a script of its own that knows nothing of casyncio: it takes the
loop on its command line and checks in every case that it really runs on that loop.
"""

import pathlib
import re

import pytest

PROGRAMS = sorted((pathlib.Path(__file__).parent / "programs").glob("[0-9][0-9]_*.py"))
SUMMARY = re.compile(r"CASES (\d+) ok, (\d+) failed, (\d+) skipped")


def start_child(run_child, program, via, backend):
    """Run one program; see the ``child`` fixture."""
    return run_child(
        [program, "--loop", "casyncio:new_event_loop", "--module", "casyncio", "--via", via],
        env={"CASYNCIO_BACKEND": backend},
        timeout=200,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("via", ["policy", "factory"])
@pytest.mark.parametrize("program", PROGRAMS, ids=[p.stem for p in PROGRAMS])
def test_every_case_of_the_program_holds(child, program, via, backend):
    assert child.returncode == 0, f"{child.stdout}\n{child.stderr}"
    ok, failed, skipped = map(int, SUMMARY.search(child.stdout).groups())
    assert ok > 0 and failed == 0
    assert skipped == 0, f"a case was skipped: {child.stdout}"


def test_all_26_programs_are_found():
    assert len(PROGRAMS) == 26


def test_a_program_fails_on_a_loop_that_is_not_the_wanted_one(run_python):
    done = run_python([PROGRAMS[0], "--loop", "asyncio:SelectorEventLoop", "--module", "casyncio"])
    assert done.returncode == 1
    assert "wrong loop: asyncio.unix_events" in done.stderr
