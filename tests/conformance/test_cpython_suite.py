"""CPython's own asyncio tests, as the running interpreter has them installed, pass on casyncio."""

import functools

import pytest
from run_cpython_suite import Options, run_suite
from suite_rules import load_exclusions

pytestmark = pytest.mark.timeout(600)


@functools.cache
def report_of(backend):
    """Run the suite once per backend; all tests here look at the same report."""
    return run_suite(Options(env={"CASYNCIO_BACKEND": backend}))


# What tests the names that the switch replaces.
PRIMITIVES = ("locks", "queues", "streams", "taskgroups", "tasks", "timeouts", "waitfor")


@functools.cache
def report_of_primitives():
    """Run the tests of the primitives with the switch thrown, on the default backend."""
    match = (*(f"test_{name}.*" for name in PRIMITIVES), "test_pep492.*")
    return run_suite(Options(loop="accelerated_loop:new_event_loop", match=match))


def test_every_test_passes_that_is_not_excluded(backend):
    bad = report_of(backend).bad(load_exclusions(backend=backend))
    assert not bad, "\n".join(f"{test}: {why}" for test, why in bad.items())


def test_no_exclusion_is_stale(backend):
    stale = report_of(backend).stale(load_exclusions(backend=backend))
    assert not stale, "they pass now, or are gone: take them out of exclusions.toml"


def test_nothing_went_wrong_outside_the_tests(backend):
    assert report_of(backend).notes == []


def test_the_suite_really_ran_and_on_the_wanted_loop(backend):
    report = report_of(backend)
    (loop,) = report.loops
    assert loop.startswith("casyncio.") and loop.endswith(f"Loop {backend}")
    passed = sum(1 for result in report.results.values() if result["out"] == "pass")
    assert passed > 1500
    assert report.exercised() > 1500


def test_the_tests_of_the_primitives_pass_with_the_switch_thrown():
    report = report_of_primitives()
    bad = report.bad(load_exclusions())
    assert not bad, "\n".join(f"{test}: {why}" for test, why in bad.items())
    assert report.notes == []


def test_the_primitives_were_really_tested():
    passed = [
        test for test, result in report_of_primitives().results.items() if result["out"] == "pass"
    ]
    seen = {test.partition(".")[0] for test in passed}
    assert {"test_locks", "test_queues", "test_streams", "test_tasks"} <= seen
    assert len(passed) > 400
