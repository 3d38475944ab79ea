"""The network suite: it measures what it says, ends what it starts, and reports what is missing."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT))
try:
    from benchmarks import drive, net, netrows, report, terminal, toolchain
finally:
    sys.path.remove(str(ROOT))

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="there is no C compiler"
)

ODD_LOOPS = """
import asyncio

class NoUnix(asyncio.SelectorEventLoop):
    async def create_unix_server(self, *args, **kwargs):
        raise NotImplementedError

class Mute(asyncio.SelectorEventLoop):
    def _start_serving(self, *args, **kwargs):
        pass
"""


def run_script(name, *words, env=None, status=0):
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "benchmarks" / name), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def line_of(text, start):
    lines = [line for line in text.splitlines() if line.split()[:1] == [start]]
    assert lines, f"no line begins with {start!r} in:\n{text}"
    return lines[0]


def server(*words):
    return net.Server([toolchain.program(words[0]), *words[1:]], words[2], {})


def load(*words):
    out, _ = drive.run_bounded([toolchain.program("loadgen"), *map(str, words)], 20)
    return json.loads(out)


def alive(pid):
    return Path(f"/proc/{pid}").exists()


def running(pid):
    # An orphan whose new parent has not yet looked is a zombie.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# One of each kind of traffic: a few seconds.
SMOKE = (
    "tcp_protocol_1k_c10 unix_readexactly_10k_c10 udp_sock_1k_c1 churn_tcp_streams_c10 "
    "http_uvicorn_h11_c1 memory_protocol client_streams_1k_c1"
).split()


def test_a_short_run_measures_each_kind_of_traffic_and_reports_its_file_again(tmp_path):
    pytest.importorskip("uvicorn", reason="the HTTP row needs uvicorn, which is not installed")
    out = tmp_path / "out.json"
    only = [word for name in SMOKE for word in ("--only", name)]
    short = ["--rounds", 1, "--seconds", 0.1, "--connections", 100]
    done = run_script("net.py", "--loops", "asyncio", *only, *short, "--json", out)
    rows = json.loads(out.read_text())["workloads"]
    assert sorted(rows) == sorted(SMOKE)
    for name, row in rows.items():
        for who in ("asyncio", "C epoll"):
            (cell,) = row["cells"][who]
            assert cell.get("value", 0) > 0, (name, who, cell)
    (stock,) = rows["tcp_protocol_1k_c10"]["cells"]["asyncio"]
    (floor,) = rows["tcp_protocol_1k_c10"]["cells"]["C epoll"]
    assert 0 < stock["p50_us"] <= stock["p99_us"] <= stock["max_us"] < 1e6
    assert 0 <= stock["user_us"] <= stock["cpu_us"] < 1e6
    share = 100 * stock["value"] / floor["value"]
    assert f" {share:.0f}% " in line_of(done.stdout, "tcp_protocol_1k_c10")
    assert run_script("net.py", "report", out).stdout == done.stdout


def test_a_loop_that_lacks_something_and_one_that_never_answers_are_told_apart(tmp_path):
    (tmp_path / "odd_loops.py").write_text(ODD_LOOPS)
    out = tmp_path / "out.json"
    loops = "asyncio,lacking=odd_loops:NoUnix,mute=odd_loops:Mute,none=no_such_module:Loop"
    done = run_script(
        *("net.py", "--loops", loops, "--only", "unix_protocol_1k_c1", "--no-floors"),
        *("--rounds", 2, "--seconds", 0.1, "--json", out),
        env={"PYTHONPATH": str(tmp_path)},
    )
    cells = json.loads(out.read_text())["workloads"]["unix_protocol_1k_c1"]["cells"]
    assert "NotImplementedError" in cells["lacking"][0]["failed"]
    assert cells["mute"][0]["failed"] == "load: Error: not one answer came"
    assert len(cells["mute"]) == 2 and cells["asyncio"][0]["value"] > 0
    row = line_of(done.stdout, "unix_protocol_1k_c1")
    assert "lacks it" in row and row.rstrip().endswith("fails")
    assert "left out: none (ModuleNotFoundError" in done.stderr


def test_without_a_compiler_the_suite_says_so_and_stops():
    done = run_script("net.py", "--loops", "asyncio", env={"PATH": "", "CC": ""}, status=1)
    assert "cannot run: no C compiler: install cc, gcc or clang" in done.stderr


def test_a_name_that_is_no_loop_is_refused():
    done = run_script("net.py", "--loops", "asyncio,foo", status=2)
    assert "'foo' is none of asyncio, uvloop, rloop" in done.stderr


def test_without_io_uring_the_other_rows_are_still_measured(monkeypatch, capsys):
    def program(name):
        raise toolchain.Missing("floor_uring.c does not compile: no header")

    class Stub:
        programs: dict = {}

    monkeypatch.setattr(toolchain, "program", program)
    who = net.floors(Stub(), ["tcp_protocol_1k_c1"])
    assert [one.name for one in who] == ["C epoll"]
    assert "left out: C io_uring (floor_uring.c does not compile" in capsys.readouterr().err


def test_a_program_that_does_not_compile_gives_the_compilers_reason(monkeypatch, tmp_path):
    (tmp_path / "bad.c").write_text("int main(void) { return nothing; }\n")
    monkeypatch.setattr(toolchain, "HERE", tmp_path)
    monkeypatch.setattr(toolchain, "CACHE", tmp_path / "cache")
    with pytest.raises(toolchain.Missing, match=r"bad\.c does not compile: .*nothing"):
        toolchain.program("bad")


def test_a_program_is_compiled_once(monkeypatch, tmp_path):
    (tmp_path / "good.c").write_text("int main(void) { return 0; }\n")
    monkeypatch.setattr(toolchain, "HERE", tmp_path)
    monkeypatch.setattr(toolchain, "CACHE", tmp_path / "cache")
    first = Path(toolchain.program("good"))
    made = first.stat().st_mtime_ns
    assert Path(toolchain.program("good")) == first and first.stat().st_mtime_ns == made
    (tmp_path / "good.c").write_text("int main(void) { return 1; }\n")
    assert Path(toolchain.program("good")) != first


@pytest.mark.parametrize("place", ["tcp:0", "udp:0"])
def test_a_server_ends_with_its_block(place):
    with server("floor_epoll", "-l", place) as one:
        assert alive(one.pid) and not one.place.endswith(":0")
    assert not alive(one.pid)


@pytest.mark.parametrize("kind", ["python", "c"])
def test_a_server_does_not_outlive_a_driver_that_is_killed(kind):
    cell = [sys.executable, "-P", *drive.CELL, "serve", "asyncio:new_event_loop", "protocol"]
    command = (
        [*cell, "tcp:0", "0"]
        if kind == "python"
        else [toolchain.program("floor_epoll"), "-l", "tcp:0"]
    )
    code = (
        "import subprocess, sys\n"
        "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(p.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with driver:
        pid = int(driver.stdout.readline())
        assert alive(pid)
        driver.kill()
    end = time.monotonic() + 10
    while running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert not running(pid)


def test_a_server_that_cannot_start_says_why():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"tcp:{taken.getsockname()[1]}"
        with pytest.raises(drive.Failed, match="bind: Address already in use"):
            server("floor_epoll", "-l", place).__enter__()


@pytest.mark.parametrize("floor", ["floor_epoll", "floor_uring"])
@pytest.mark.parametrize("size", [1, 300_000])
def test_the_c_servers_echo_messages_of_any_size(floor, size):
    try:
        with server(floor, "-l", "tcp:0") as one:
            words = ("-l", one.place, "-c", 5, "-s", size, "-d", 0.1, "-w", 0.01, "-P", one.pid)
            result = load("-m", "echo", *words)
    except (toolchain.Missing, drive.Failed) as error:
        if floor == "floor_epoll":
            raise
        pytest.skip(f"io_uring: {error}")
    assert result["done"] > 0 and result["wrong"] == result["errors"] == 0
    assert result["cpu_ns"] > 0


def test_the_load_generator_notices_other_bytes_than_it_sent():
    def answer():
        conn, _ = listener.accept()
        with conn:
            conn.sendall(bytes(len(conn.recv(64))))
            conn.recv(64)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(drive.Failed, match="wrong bytes came back|not one answer"):
            result = load(
                "-m", "echo", "-l", f"tcp:{listener.getsockname()[1]}", "-s", 64, "-d", 0.1
            )
            if result["wrong"]:
                raise drive.Failed("wrong bytes came back")
        thread.join()


def test_the_c_servers_are_compared_with_and_are_no_rivals():
    cells = {"asyncio": [100], "uvloop": [200], "casyncio": [300], "C epoll": [400]}
    row = {
        "group": "tcp",
        "unit": "msg/s",
        "cells": {who: [{"value": v} for v in values] for who, values in cells.items()},
    }
    assert report.verdict(row) == (False, "leads uvloop ×1.50")
    assert report.cell_text(row, "casyncio") == "300 ×3.00 [3.00–3.00] 75%"
    stream = io.StringIO()
    table = report.results_table({"workloads": {"the_row": row}}, list(cells))
    terminal.Printer(stream).table(table)
    assert "the_row" in stream.getvalue() and "LOSES" not in stream.getvalue()


def test_every_row_has_a_server_or_a_client_and_the_usual_ones_are_few():
    names = netrows.ROWS
    assert {row.group for row in names.values()} == set(netrows.GROUPS)
    usual, quick = netrows.chosen(None, False), netrows.chosen(None, True)
    assert len(quick) == len(netrows.QUICK) < len(usual) < len(names)
    assert {row.group for row in usual} == set(netrows.GROUPS)
    assert [row.name for row in netrows.chosen(["udp_sock_*_c1"], False)] == [
        "udp_sock_1k_c1",
        "udp_sock_10k_c1",
    ]
