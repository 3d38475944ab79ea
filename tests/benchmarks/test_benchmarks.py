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
import xml.etree.ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STOCK = "asyncio=asyncio:new_event_loop"
TWIN = "twin=asyncio:new_event_loop"

sys.path.insert(0, str(ROOT))
try:
    from benchmarks import ceilings, drive, harness, report, terminal

    WORKLOADS = harness.load_workloads()
    from _bench import cli, plot
finally:
    sys.path.remove(str(ROOT))


LIAR = """
import asyncio

class Deaf(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(bytes(len(data)))

class Loop(asyncio.SelectorEventLoop):
    async def create_server(self, factory, **kwargs):
        return await super().create_server(Deaf, **kwargs)
"""
SPY = """
import asyncio, sys

def loop():
    assert "casyncio" not in sys.modules
    return asyncio.new_event_loop()
"""


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


def bench(*words, env=None):
    """Run the bench command of the installed casyncio."""
    pytest.importorskip("casyncio", reason="casyncio is not installed")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "casyncio", "bench", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
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
    stream = io.StringIO()
    report.show(data, terminal.Printer(stream))
    return stream.getvalue()


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
    if not row.able():
        pytest.skip(f"this Python has no {row.module or row.needs}")
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
    out, picture = tmp_path / "out.json", tmp_path / "out.svg"
    rows = [word for name in ("call_soon_chain", "mem_live_timer") for word in ("--only", name)]
    short = ["--rounds", 1, "--seconds", 0.05]
    done = bench("--loops", f"{STOCK},{TWIN}", *rows, *short, "--json", out, "--plot", picture)
    data = json.loads(out.read_text())
    assert list(data["workloads"]) == ["call_soon_chain", "mem_live_timer"]
    cells = data["workloads"]["call_soon_chain"]["cells"]
    assert {who: len(rounds) for who, rounds in cells.items()} == {"asyncio": 1, "twin": 1}
    ratio = cells["twin"][0]["value"] / cells["asyncio"][0]["value"]
    assert f"×{ratio:.2f} [{ratio:.2f}–{ratio:.2f}]" in line_of(done.stdout, "call_soon_chain")
    assert "[4/4, 0 s left] mem_live_timer" in done.stderr
    assert bench("report", out).stdout == done.stdout
    root = xml.etree.ElementTree.parse(picture).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "call_soon_chain" in texts and f"×{ratio:.2f}" in texts


def test_a_loop_that_fails_is_shown_and_a_missing_one_is_named(tmp_path):
    out = tmp_path / "out.json"
    loops = f"{STOCK},none=no_such_module:Loop,broken=asyncio.base_events:BaseEventLoop"
    short = ["--rounds", 2, "--seconds", 0.05, "--json", out]
    done = bench("--loops", loops, "--only", "call_soon_chain", *short)
    broken = json.loads(out.read_text())["workloads"]["call_soon_chain"]["cells"]["broken"]
    assert len(broken) == 2 and "Error" in broken[0]["failed"]
    assert "left out: none (ModuleNotFoundError" in done.stderr
    assert line_of(done.stdout, "call_soon_chain").rstrip().endswith("fails")
    assert "broken fails on call_soon_chain" in done.stdout


def test_servers_are_measured_without_a_compiler(tmp_path):
    out = tmp_path / "out.json"
    rows = [word for name in ("server_unix_protocol", "server_udp") for word in ("--only", name)]
    short = ["--rounds", 1, "--seconds", 0.05, "--json", out]
    bench("--loops", "asyncio", *rows, *short, env={"PATH": "", "CC": ""})
    for row in json.loads(out.read_text())["workloads"].values():
        (cell,) = row["cells"]["asyncio"]
        assert cell["done"] > 0 and cell["value"] > 0 and 0 <= cell["user_us"] <= cell["cpu_us"]


def test_a_server_row_fails_when_the_answer_is_wrong(tmp_path):
    (tmp_path / "liar.py").write_text(LIAR)
    out = tmp_path / "out.json"
    short = ["--rounds", 1, "--seconds", 0.05, "--json", out]
    env = {"PYTHONPATH": str(tmp_path)}
    bench("--loops", "liar=liar:Loop", "--only", "server_tcp_protocol", *short, env=env)
    (cell,) = json.loads(out.read_text())["workloads"]["server_tcp_protocol"]["cells"]["liar"]
    assert cell["failed"] == "Error: a wrong answer"


def test_without_rich_tables_are_plain_text():
    console = "import sys; sys.modules['rich'] = None; from casyncio._bench import cli; "
    code = console + "sys.exit(cli.main(sys.argv[1:]))"
    words = ["--loops", "asyncio", "--only", "call_soon_chain", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words, "--seconds", "0.05"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert line_of(done.stdout, "workload").split() == ["workload", "unit", "asyncio"]
    assert "[1/1, 0 s left] call_soon_chain" in done.stderr


def test_a_measured_process_never_imports_casyncio_for_another_loop(tmp_path):
    (tmp_path / "spy.py").write_text(SPY)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", *drive.CELL, "work", "spy:loop", "call_soon_chain", "0.01"],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["value"] > 0


def test_the_quick_suite_gives_up_rounds_rather_than_time():
    class Args:
        rounds, limit_s = 3, 150

    class Spent:
        def __init__(self, done, spent_s):
            self.done, self.spent_s = done, spent_s

    assert cli.fitting_rounds(Args, 20, 4, Spent(0, 0)) == 3
    assert cli.fitting_rounds(Args, 20, 4, Spent(12, 6)) == 3
    assert cli.fitting_rounds(Args, 20, 4, Spent(12, 10)) == 2
    assert cli.fitting_rounds(Args, 20, 4, Spent(12, 60)) == 1
    assert cli.fitting_rounds(Args, 20, 4, Spent(12, 170)) == 0
    Args.limit_s = None
    assert cli.fitting_rounds(Args, 20, 4, Spent(12, 60)) == 3


class SlowMachine:
    """Progress on a machine where each cell takes so many seconds."""

    def __init__(self, monkeypatch, cell_s):
        self.spent_s, self.done, self.skipped, self.cell_s = 0, 0, 0, cell_s
        monkeypatch.setattr(cli.drive, "try_cell", self.measure)

    def measure(self, args, earlier, *words, **options):
        self.spent_s += self.cell_s
        earlier.append({"value": 1.0})

    def now(self, what):
        pass

    def step(self):
        self.done += 1

    def skip(self, cells):
        self.skipped += cells


@pytest.mark.parametrize(
    ("limit_s", "cell_s", "rounds"), [(None, 100, 3), (150, 1, 3), (150, 12, 2), (150, 40, 1)]
)
def test_a_row_of_the_quick_suite_ends_in_time(monkeypatch, limit_s, cell_s, rounds):
    class Args:
        seconds = 0.1

    Args.limit_s = limit_s
    machine = SlowMachine(monkeypatch, cell_s)
    row = cli.harness.load_workloads()["call_soon_chain"]
    who = [cli.drive.Contender("asyncio", "x"), cli.drive.Contender("casyncio", "y")]
    found = cli.measure_row(Args, row, who, 3, machine)
    assert {name: len(cells) for name, cells in found["cells"].items()} == {
        "asyncio": rounds,
        "casyncio": rounds,
    }
    assert machine.done + machine.skipped == 6


def test_a_row_without_a_finished_round_is_left_out(monkeypatch):
    class Args:
        seconds, limit_s = 0.1, 140

    machine = SlowMachine(monkeypatch, 100)
    row = cli.harness.load_workloads()["call_soon_chain"]
    who = [cli.drive.Contender(name, "x") for name in ("asyncio", "uvloop", "casyncio")]
    assert cli.measure_row(Args, row, who, 3, machine) is None
    assert (machine.done, machine.skipped) == (2, 7)


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


def test_a_row_in_which_the_rounds_disagree_is_in_doubt():
    text = shown(results({"asyncio": [100, 100], "casyncio": [90, 130]}))
    assert line_of(text, "the_row").rstrip().endswith("leads asyncio ×1.10 ?")
    assert report.DOUBT_LEGEND in text and "This machine is noisy" in text


def test_a_quiet_machine_is_not_called_noisy():
    text = shown(results({"asyncio": [100, 100], "casyncio": [200, 210]}))
    assert "noisy" not in text and report.DOUBT_LEGEND not in text


def test_a_plot_marks_lost_rows_and_says_who_fails():
    data = results({"asyncio": [100], "rival": [200], "casyncio": [150], "broken": ["boom"]})
    assert "▼ the_row" in plot.svg(data) and "broken: fails" in plot.svg(data)
    with pytest.raises(ValueError, match="nothing to plot"):
        plot.svg(results({"asyncio": [100]}))


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
        "--loops",
        f"{STOCK},knob=knobs:Loop",
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
        "--json",
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
