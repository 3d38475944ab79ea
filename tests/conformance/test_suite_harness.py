"""The conformance run notices failures, crashes and hangs, and each costs one test."""

import functools
import pathlib

import pytest
from run_cpython_suite import Options, Report, run_suite
from suite_rules import (
    KINDS_FILE,
    RulesError,
    applies,
    kind_of,
    load_exclusions,
    load_kinds,
)

HERE = str(pathlib.Path(__file__).parent)
BEFORE, TIMER, AFTER, LUCKY = (
    f"sample_suite.SampleTests.test_{name}"
    for name in ("1_before", "2_timer", "3_after", "4_second_time_lucky")
)


def run_sample(loop, **options):
    """Run the sample module on one of the sample loops."""
    spec = f"sample_loops:{loop}" if ":" not in loop else loop
    return run_suite(Options(loop=spec, policy="", path=(HERE,), **options), ["sample_suite"])


@functools.cache
def run_broken(loop):
    """The same, once, with patience for the start of an interpreter on a busy machine."""
    return run_sample(loop, retries=0, timeout=20.0)


def outcomes(report):
    """Return what became of each test."""
    return {test: result["out"] for test, result in report.results.items()}


@pytest.mark.parametrize(
    ("loop", "outcome"),
    [("FailingLoop", "error"), ("CrashingLoop", "crash"), ("HangingLoop", "timeout")],
)
def test_a_broken_loop_costs_the_test_that_hit_it_and_no_other(loop, outcome):
    report = run_broken(loop)
    assert outcomes(report) == {BEFORE: "pass", TIMER: outcome, AFTER: "pass", LUCKY: "pass"}
    assert list(report.bad()) == [TIMER]
    assert report.notes == []
    assert report.loops == {f"sample_loops.{loop}"}


def test_a_hang_leaves_the_stack_of_the_hanging_test():
    report = run_broken("HangingLoop")
    assert "in call_later" in report.results[TIMER]["text"]


def test_a_test_that_passes_the_second_time_is_flaky_and_not_bad(tmp_path):
    mark = str(tmp_path / "mark")
    report = run_sample("asyncio:SelectorEventLoop", env={"SAMPLE_MARK": mark})
    assert report.bad() == {}
    assert list(report.flaky) == [LUCKY] and "the first time" in report.flaky[LUCKY]


def test_a_loop_that_cannot_be_made_is_noticed():
    report = run_sample("sample_loops:NoSuchLoop")
    assert report.results == {}
    assert len(report.notes) == 1 and "NoSuchLoop" in report.notes[0]


def test_an_exclusion_hides_a_failure_and_goes_stale_when_the_test_passes_or_goes():
    bad, good = {"out": "fail", "text": "x", "loops": 1}, {"out": "pass", "text": "", "loops": 1}
    report = Report(results={"a.A.bad": bad, "a.A.good": good}, kinds={"a.A.bad": "required"})
    report.kinds["a.A.good"] = "required"
    assert report.bad({"a.A.bad": "why"}) == {}
    assert report.stale({"a.A.bad": "why"}) == []
    assert report.stale({"a.A.good": "why", "a.A.gone": "why"}) == ["a.A.gone", "a.A.good"]


def test_exclusions_hold_for_their_python_and_backend_only(tmp_path):
    path = tmp_path / "exclusions.toml"
    path.write_text(
        '[[exclusion]]\ntest = "a"\nwhy = "w"\npy = ">=3.12, <3.14"\n'
        '[[exclusion]]\ntest = "b"\nwhy = "w"\nbackend = "poll"\n'
    )
    assert load_exclusions(path, "poll", (3, 11)) == {"b": "w"}
    assert load_exclusions(path, "epoll", (3, 13)) == {"a": "w"}
    assert load_exclusions(path, "epoll", (3, 14)) == {}


@pytest.mark.parametrize(
    "entry",
    [
        'test = "a"',
        'test = "a"\nwhy = " "',
        'test = "a"\nwhy = "w"\nos = "linux"',
        'test = "a"\nwhy = "w"\npy = "new"',
    ],
)
def test_an_exclusion_without_reason_or_with_unknown_words_is_refused(tmp_path, entry):
    path = tmp_path / "exclusions.toml"
    path.write_text("[[exclusion]]\n" + entry)
    with pytest.raises(RulesError):
        load_exclusions(path)


def test_kinds_are_given_by_the_first_rule_that_matches():
    rules = load_kinds(KINDS_FILE)
    assert len(rules) > 10
    assert kind_of("test.test_asyncio.test_windows_events.A.b", rules) == "platform"
    assert kind_of("test.test_asyncio.test_queues.QueueGetTests.test_empty", rules) == "required"
    assert applies({"py": ">=3.11, <3.13"}, (3, 12)) and not applies({"py": "<3.12"}, (3, 12))
