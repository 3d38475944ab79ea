"""Streams, child processes, queues, timers, threads, signals and sockets at once on casyncio."""

import json
import pathlib

MIX = pathlib.Path(__file__).parent / "apps" / "mix.py"


def test_everything_at_once_gives_the_right_results(run_python, backend):
    done = run_python(["-m", "casyncio", "--backend", backend, MIX], timeout=90)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.pop("loop") == "casyncio._loop.Loop"
    assert result.pop("backend") == backend
    assert len(result) == 7 and all(result.values())
    assert done.stderr == ""


def test_everything_at_once_holds_in_debug_mode(run_python, backend):
    done = run_python(["-X", "dev", "-m", "casyncio", "--backend", backend, MIX], timeout=90)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backend"] == backend
    assert "Warning" not in done.stderr and "Traceback" not in done.stderr, done.stderr
