"""The stress scenarios of TLS hold on casyncio at a small size, and find what a bad loop does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trustme", reason="trustme makes the certificates of these tests")

ROOT = Path(__file__).resolve().parents[2]

BAD_LOOPS = """
import asyncio, os

class Forger(asyncio.SelectorEventLoop):
    def _make_ssl_transport(self, *args, **kwargs):
        transport = super()._make_ssl_transport(*args, **kwargs)
        write = transport.write
        transport.write = lambda data: write(bytes(data).replace(b"7", b"8"))
        return transport

class Keeper(asyncio.SelectorEventLoop):
    def _make_ssl_transport(self, *args, **kwargs):
        os.dup(0)
        return super()._make_ssl_transport(*args, **kwargs)
"""


def stress(tmp_path, *words, status):
    (tmp_path / "bad_loops.py").write_text(BAD_LOOPS)
    out = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "benchmarks/tlsstress.py"), *words, "--json", str(out)],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "STRESS_PATIENCE_S": "10"},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(out.read_text())["tlsstress"]


def test_many_connections_keep_neither_memory_nor_descriptors(tmp_path):
    (figures,) = stress(tmp_path, "--only", "in_sequence", "--scale", "0.005", status=0)
    assert figures["connections"] == 500
    assert figures["descriptors"][0] == figures["descriptors"][1]


@pytest.mark.parametrize("engine", ["native", "membio"])
def test_transfers_arrive_whole_under_pauses_cancels_and_resets(tmp_path, monkeypatch, engine):
    monkeypatch.setenv("CASYNCIO_TLS", engine)
    (figures,) = stress(tmp_path, "--only", "transfer", "--scale", "0.1", status=0)
    assert figures["up"][0] == figures["down"][0] == 20_000_000
    assert all(figures["up"]) and all(figures["down"])


def test_a_peer_that_trickles_its_records_costs_little(tmp_path):
    (figures,) = stress(tmp_path, "--only", "trickle", "--scale", "0.1", status=0)
    assert figures["bytes"] > 2000


def test_an_idle_connection_takes_less_memory_than_asyncios(tmp_path):
    words = ["--only", "idle", "--scale", "0.1", "--loops", "asyncio,casyncio"]
    stock, ours = stress(tmp_path, *words, status=0)
    assert ours["bytes_each"] < stock["bytes_each"] / 3


@pytest.mark.parametrize(
    ("loop", "words"),
    [("Forger", "another answer"), ("Keeper", "descriptors are open")],
)
def test_a_bad_loop_is_found(tmp_path, loop, words):
    spec = f"bad=bad_loops:{loop}"
    only = ["--only", "in_sequence", "--scale", "0.001", "--loops", spec]
    (figures,) = stress(tmp_path, *only, status=1)
    assert words in figures["wrong"]
