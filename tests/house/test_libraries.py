"""`make libraries` is right about libraries whose answer is known."""

import importlib.util
import pathlib
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "libraries"

TESTS = """
import asyncio, os, pathlib
import casyncio

def ours():
    return isinstance(asyncio.new_event_loop(), casyncio.Loop)

def test_good(): pass
def test_bad_everywhere(): assert False
def test_bad_here(): assert not ours()
def test_ends_the_interpreter_here(): ours() and os._exit(1)
def test_bad_once_here():
    seen = pathlib.Path("seen")
    if ours() and not seen.exists():
        seen.touch()
        assert False
def test_left_out_here():
    if ours():
        import pytest
        pytest.skip("no")
"""


@pytest.fixture
def run(monkeypatch):
    """The command, as a module."""
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("libraries_run", FOLDER / "run.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bench(run, tmp_path):
    """A library of one file, whose tests fail here and there."""
    (tmp_path / "test_toy.py").write_text(TESTS)
    records = tmp_path / "records"
    records.mkdir()
    return run.Bench(run.Library("toy", "1", ["test_toy.py"]), tmp_path, None, records)


@pytest.mark.timeout(900)
def test_what_fails_only_on_casyncio_is_found_whatever_way_it_fails(run, bench):
    tally = run.compare(bench, ["test_toy.py"])
    assert tally.bad == [
        "test_toy.py::test_bad_here",
        "test_toy.py::test_ends_the_interpreter_here",
        "test_toy.py::test_left_out_here",
    ]
    assert tally.flaky == ["test_toy.py::test_bad_once_here"]
    assert tally.row() == "| test_toy.py | 1 | 5 | 1 | 0 | 1 | 4 | 1 | 1 | 3 |"


def test_what_was_run_is_not_run_again_when_a_run_goes_on(run, bench):
    record = bench.record(["test_toy.py"], "stock")
    record.write_text('{"test": "test_toy.py::test_bad_everywhere", "outcome": "passed"}\n')
    outcomes = bench.run(["test_toy.py"], "stock")
    assert set(outcomes.values()) == {"passed"}
    assert len(outcomes) == 6


def test_every_library_has_a_version_and_tests(run):
    for library in run.load_libraries():
        assert library.version and library.tests
        assert all(row["test"] and row["why"] for row in library.excluded)
