"""No scenario leaks memory, objects, descriptors or threads, on any backend."""

import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).parent
CHECKER = HERE / "leakcheck.py"
SCENARIOS = re.findall(r"^@(?:scenario|on_loop)\n(?:async )?def (\w+)\(", CHECKER.read_text(), re.M)


def start_child(run_child, scenario, backend):
    """Check one scenario; see the ``child`` fixture."""
    env = {"CASYNCIO_BACKEND": backend}
    return run_child([CHECKER, "-s", scenario], env=env, timeout=150)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_leaks_nothing(child, scenario, backend):
    assert child.returncode == 0, f"{child.stdout}\n{child.stderr}"
    first, second = child.stdout.splitlines()[:2]
    assert first == f"loop casyncio._loop {backend}"
    assert second.startswith("ok ") and scenario in second


def test_every_scenario_of_the_checker_is_run(run_python):
    listed = run_python([CHECKER, "--list"]).stdout.split()
    assert sorted(SCENARIOS) == sorted(listed)
    assert len(SCENARIOS) > 20


@pytest.mark.parametrize(
    ("loop", "counter"),
    [
        ("LeakHandle", "objects"),
        ("LeakDescriptor", "fds"),
        ("LeakReference", "blocks"),
        ("LeakMalloc", "malloc"),
    ],
)
def test_the_checker_catches_a_planted_leak(run_python, loop, counter):
    done = run_python([CHECKER, "--loop", f"leaky_loops:{loop}", "-s", "failing_callback"])
    assert done.returncode == 1, done.stdout + done.stderr
    leak = re.search(r"^LEAK +failing_callback .*\[(.*)\]", done.stdout, re.M)
    assert f"'{counter}'" in leak[1]


def test_the_checker_calls_a_clean_loop_clean(run_python):
    done = run_python([CHECKER, "--loop", "asyncio:SelectorEventLoop", "-s", "new_close"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_scenario_that_fails_is_not_clean(run_python):
    done = run_python([CHECKER, "--loop", "leaky_loops:Broken", "-s", "handles"])
    assert done.returncode == 1
    assert "ZeroDivisionError: no loop today" in done.stdout
