"""The stress scenarios pass on a good server, and find what a bad one loses or keeps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BAD_LOOPS = """
import asyncio, os

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

class Serving(asyncio.SelectorEventLoop):
    async def create_server(self, factory, **kwargs):
        return await super().create_server(self.Protocol, **kwargs)

class Liar(Serving):
    class Protocol(Echo):
        def data_received(self, data):
            super().data_received(data.replace(b"7", b"8"))

class Keeper(Serving):
    class Protocol(Echo):
        def connection_lost(self, exc):
            os.dup(0)

class Hoarder(Serving):
    Protocol = Echo

class Grower(Serving):
    class Protocol(Echo):
        kept = []
        def connection_made(self, transport):
            super().connection_made(transport)
            self.kept.append(os.urandom(100_000))
"""


def stress(tmp_path, *words, status):
    (tmp_path / "bad_loops.py").write_text(BAD_LOOPS)
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "benchmarks/stress.py"), *words, "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(out.read_text())["stress"], done.stdout


def test_a_short_run_finds_nothing_wrong_with_stock(tmp_path):
    scenarios = [w for name in ("at_once", "in_sequence", "resets") for w in ("--only", name)]
    words = ["--loops", "asyncio", "--kinds", "streams", "--scale", "0.01", "--waves", "2"]
    results, text = stress(tmp_path, *words, *scenarios, status=0)
    assert [figures["scenario"] for figures in results] == ["at_once", "in_sequence", "resets"]
    assert results[0]["open"] == 100 and results[1]["connections"] == 1000
    assert text.endswith("3 scenarios, 0 went wrong\n")


@pytest.mark.parametrize(
    ("kind", "loops"),
    [
        ("careful", ["asyncio"]),
        ("careful", ["casyncio", "--backend", "io_uring"]),
        ("streams", ["casyncio", "--backend", "io_uring"]),
        ("sock", ["casyncio"]),
    ],
)
def test_a_server_with_moods_loses_nothing_of_those_who_are_spared(tmp_path, kind, loops):
    words = ["--kinds", kind, "--only", "moods", "--scale", "0.05", "--waves", "2"]
    results, _ = stress(tmp_path, "--loops", *loops, *words, status=0)
    assert {figures["at_once"] for figures in results} == {50}
    moves = ("pushes", "rests", "shut", "closed", "reset", "ended")
    assert all(figures[name] for figures in results for name in moves)


@pytest.mark.parametrize(
    ("loop", "scenario", "words"),
    [
        ("Liar", "at_once", "came, with which"),
        ("Keeper", "at_once", "descriptors are open"),
        ("Grower", "in_sequence", "resident memory grew"),
        ("Hoarder", "slow_readers", "KiB for each slow reader"),
        ("Liar", "moods", "other bytes came than were sent"),
        ("Keeper", "moods", "descriptors are open"),
    ],
)
def test_a_fault_is_found(tmp_path, loop, scenario, words, monkeypatch):
    monkeypatch.setenv("STRESS_PATIENCE_S", "2")
    spec = f"bad=bad_loops:{loop}"
    only = ["--loops", spec, "--kinds", "careful", "--only", scenario, "--scale", "0.003"]
    only += ["--waves", "2"]
    (figures,), text = stress(tmp_path, *only, status=1)
    assert words in figures["wrong"], text
    assert "1 scenarios, 1 went wrong" in text
