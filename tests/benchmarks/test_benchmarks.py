"""The benchmark suite itself: every workload runs, and its tables tell the truth."""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STOCK = "asyncio=asyncio:new_event_loop"
TWIN = "twin=asyncio:new_event_loop"

pytest.importorskip("rich", reason="the benchmark drivers need rich, which is not installed")
sys.path.insert(0, str(ROOT))
try:
    from benchmarks import ceilings, drive, harness, report

    WORKLOADS = harness.load_workloads()
finally:
    sys.path.remove(str(ROOT))


def run_script(name, *words, env=None):
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "benchmarks" / name), *words],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr
    return done


def results(cells, unit="op/s", group="callbacks"):
    row = {
        "group": group,
        "unit": unit,
        "cells": {
            who: [{"value": v} if isinstance(v, (int, float)) else {"failed": v} for v in values]
            for who, values in cells.items()
        },
    }
    machine = {
        "python": "3.13.0",
        "flags": "-O3",
        "pgo": True,
        "date": "today",
        "cpu": "2 x C",
        "kernel": "6",
        "rounds": 3,
        "seconds": 0.4,
        "realtime": False,
        "pin": None,
        "loops": dict.fromkeys(cells, "1.0"),
    }
    return {"machine": machine, "workloads": {"the_row": row}}


def shown(data):
    console = report.Console(file=io.StringIO(), width=250)
    report.show(data, console)
    return console.file.getvalue()


def line_of(text, start):
    lines = [line for line in text.splitlines() if line.split()[:1] == [start]]
    assert lines, f"no line begins with {start!r} in:\n{text}"
    return lines[0]


def test_every_group_has_rows_and_every_row_says_what_it_does():
    assert {w.group for w in WORKLOADS.values()} == set(harness.GROUPS)
    assert all(w.function.__doc__ for w in WORKLOADS.values())


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_does_a_few_operations_on_stock(name):
    row = WORKLOADS[name]
    if row.needs and not hasattr(asyncio, row.needs):
        pytest.skip(f"this asyncio has no {row.needs}")
    if not inspect.iscoroutinefunction(row.function):
        assert row.function("asyncio:new_event_loop", 0.01)["value"] > 0
        return

    async def few():
        return await row.function(asyncio.get_running_loop(), 7)

    done = asyncio.run(few(), debug=False)
    if row.unit == "B":
        assert isinstance(done, float)
    else:
        assert done is None or done >= 7


def test_a_measurement_is_the_median_rate_of_three_repetitions_or_more():
    async def four_operations(loop, n):
        await asyncio.sleep(0.02)
        return 4

    row = harness.Workload("four", "timers", four_operations, start=1, limit=1)
    result = asyncio.run(harness.measure(row, 0.01))
    assert result["repetitions"] == 3 and 20 < result["value"] <= 200


def test_what_a_setup_returns_lives_as_long_as_the_measurement():
    class Thing:
        pass

    async def setup(loop):
        nonlocal alive
        thing = Thing()
        alive = weakref.ref(thing)
        return thing

    async def look(loop, n):
        gc.collect()
        seen.append(alive() is not None)

    alive, seen = None, []
    row = harness.Workload("look", "timers", look, start=1, limit=1, setup=setup)
    asyncio.run(harness.measure(row, 0.01))
    assert len(seen) >= 4 and all(seen)


def test_the_runner_measures_each_loop_in_each_round_and_reports_its_file_again(tmp_path):
    out = tmp_path / "out.json"
    done = run_script(
        "run.py",
        "--loop",
        STOCK,
        "--loop",
        TWIN,
        "-w",
        "call_soon_chain",
        "-w",
        "mem_live_timer",
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--out",
        str(out),
    )
    data = json.loads(out.read_text())
    assert list(data["workloads"]) == ["call_soon_chain", "mem_live_timer"]
    cells = data["workloads"]["call_soon_chain"]["cells"]
    assert {who: len(rounds) for who, rounds in cells.items()} == {"asyncio": 1, "twin": 1}
    ratio = cells["twin"][0]["value"] / cells["asyncio"][0]["value"]
    assert f"×{ratio:.2f} [{ratio:.2f}–{ratio:.2f}]" in line_of(done.stdout, "call_soon_chain")
    assert "[4/4, 0 s left] mem_live_timer" in done.stderr
    assert run_script("run.py", "report", str(out)).stdout == done.stdout


def test_a_loop_that_fails_is_shown_and_a_missing_one_is_named(tmp_path):
    out = tmp_path / "out.json"
    done = run_script(
        "__main__.py",
        "--loop",
        STOCK,
        "--loop",
        "none=no_such_module:Loop",
        "--loop",
        "broken=asyncio.base_events:BaseEventLoop",
        "--rounds",
        "2",
        "-w",
        "call_soon_chain",
        "--seconds",
        "0.05",
        "--out",
        str(out),
    )
    broken = json.loads(out.read_text())["workloads"]["call_soon_chain"]["cells"]["broken"]
    assert len(broken) == 2 and "Error" in broken[0]["failed"]
    assert "left out: none (ModuleNotFoundError" in done.stderr
    assert line_of(done.stdout, "call_soon_chain").rstrip().endswith("fails")
    assert "broken fails on call_soon_chain" in done.stdout


def test_a_loop_that_failed_is_not_tried_again():
    earlier = [{"failed": "boom"}]
    drive.try_cell(None, earlier, "work")
    assert earlier == [{"failed": "boom"}, {"failed": "boom"}]


def test_a_cell_that_takes_too_long_is_stopped():
    with pytest.raises(drive.Failed, match="timeout after 0.2 s"):
        drive.run_bounded([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)


def test_a_cell_does_not_see_the_source_folders_beside_the_benchmarks():
    done = subprocess.run(
        [sys.executable, "-P", *drive.CELL, "version", "tests:__path__"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert "No module named 'tests'" in done.stderr


def test_the_ratio_is_taken_inside_the_round():
    text = shown(results({"asyncio": [100, 200, 400], "other": [150, 500, 400]}))
    assert "200 [100–400]" in text and "400 ×1.50 [1.00–2.50]" in text
    assert "LOSES" not in text


def test_smaller_is_better_for_bytes_and_milliseconds():
    for unit in ("B", "ms"):
        assert "50 ×2.00 [2.00–2.00]" in shown(results({"asyncio": [100], "other": [50]}, unit))


def test_a_round_in_which_either_failed_gives_no_ratio():
    data = results({"asyncio": [100, "boom", 100], "other": [300, 900, "bang"]})
    text = shown(data)
    assert "600 ×3.00 [3.00–3.00] (1 failed)" in text
    assert "asyncio fails on the_row: boom" in text and "other fails on the_row: bang" in text


@pytest.mark.parametrize(
    ("ours", "words", "lost"),
    [
        ([300, 300], "leads rival ×1.50", "loses 0 of 1"),
        ([150, 150], "LOSES to rival ×0.75", "loses 1 of 1 rows: the_row"),
        (["boom", "boom"], "LOSES: fails", "loses 1 of 1 rows: the_row"),
    ],
)
def test_a_row_that_casyncio_loses_stays_and_is_marked(ours, words, lost):
    text = shown(results({"asyncio": [100, 100], "rival": [200, 200], "casyncio": ours}))
    assert line_of(text, "the_row").rstrip().endswith(words)
    assert f"casyncio {lost}" in text


def test_a_ratio_below_one_is_marked():
    assert "50 ×0.50 [0.50–0.50] ▼" in shown(results({"asyncio": [100], "rival": [50]}))


def test_geometric_means_are_those_of_the_medians():
    data = results({"asyncio": [100], "other": [200]})
    data["workloads"]["next"] = results({"asyncio": [10], "other": [80]})["workloads"]["the_row"]
    assert "×4.00 (2)" in line_of(shown(data), "other")


def test_latency_is_measured_for_each_budget_that_a_loop_can_take(tmp_path):
    (tmp_path / "knobs.py").write_text(
        "import asyncio\nclass Loop(asyncio.SelectorEventLoop):\n    _poll_budget = (1, 1)\n"
    )
    out = tmp_path / "out.json"
    done = run_script(
        "latency.py",
        "--loop",
        STOCK,
        "--loop",
        "knob=knobs:Loop",
        "--load",
        "chain",
        "--transport",
        "socketpair",
        "--budget",
        "8,20",
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--out",
        str(out),
        env={"PYTHONPATH": str(tmp_path)},
    )
    row = json.loads(out.read_text())["latency"]["chain/socketpair"]
    assert list(row) == ["asyncio", "knob", "knob 8,20"]
    for (one,) in row.values():
        assert 0 < one["p50"] <= one["p99"] <= one["max"] < 1e6
        assert one["messages"] > 10 and one["rate"] > 1000
    assert "knob 8,20" in done.stdout


def test_instruction_counts_say_so_when_valgrind_is_missing():
    assert run_script("callgrind.py", env={"PATH": ""}).stdout == "skipped: valgrind not found\n"


def test_ceilings_say_so_when_valgrind_is_missing():
    assert run_script("ceilings.py", env={"PATH": ""}).stdout == "skipped: valgrind not found\n"


@pytest.mark.timeout(900, method="thread")
def test_hot_paths_stay_under_their_ceilings_of_instructions():
    reason = ceilings.why_not()
    if reason:
        pytest.skip(f"instructions cannot be counted here: {reason}")
    pytest.importorskip("casyncio", reason="casyncio is not installed")
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "benchmarks" / "ceilings.py")],
        capture_output=True,
        text=True,
        timeout=880,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("above the bare") == 2
