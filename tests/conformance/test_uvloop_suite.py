"""uvloop's own tests pass on casyncio, which stands in for uvloop by its alias."""

import functools
import importlib.util
import sys

import pytest
from run_uvloop_suite import DATA, NEEDS, CannotFetch, fetch, run_uvloop_suite
from suite_rules import UVLOOP_KINDS, kind_of, load_exclusions, load_kinds

# The download has its own limit, and each test in the children has one.
pytestmark = pytest.mark.timeout(900)


@functools.cache
def report_of(root):
    """Run the suite, once; all tests here look at the same report."""
    return run_uvloop_suite(fetch(root / "build" / "uvloop"), timeout=90.0)


@pytest.fixture
def report(pytestconfig):
    if sys.version_info < (3, 13):
        pytest.skip(
            "uvloop's suite runs on 3.13 and later; make uvloop PYTHON=... runs it elsewhere"
        )
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"uvloop's tests need {', '.join(missing)}")
    try:
        return report_of(pytestconfig.rootpath)
    except CannotFetch as error:
        pytest.skip(str(error))


def test_every_test_passes_that_is_not_excluded(report):
    bad = report.bad(load_exclusions(DATA))
    assert not bad, "\n".join(f"{test}: {why}" for test, why in bad.items())
    assert report.notes == []


def test_no_exclusion_is_stale(report):
    stale = report.stale(load_exclusions(DATA))
    assert not stale, "they pass now, or are gone: take them out of uvloop.toml"


def test_the_suite_really_ran_and_on_casyncio(report):
    assert report.loops == {"casyncio._loop.Loop epoll"}
    passed = [test for test, result in report.results.items() if result["out"] == "pass"]
    assert len(passed) > 240
    assert report.exercised() > 240


def test_tests_of_asyncios_loop_and_of_uvloop_itself_are_not_run():
    rules = load_kinds(DATA, UVLOOP_KINDS)
    assert kind_of("tests.test_tcp.Test_AIO_TCP.test_create_server_1", rules) == "stock"
    assert kind_of("tests.test_cython.__all__", rules) == "platform"
    assert kind_of("tests.test_tcp.Test_UV_TCP.test_create_server_1", rules) == "required"
