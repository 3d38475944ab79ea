#!/usr/bin/env python3
"""Compare event loops as servers and clients with each other, with stock and with plain C.

python benchmarks/net.py                               the usual rows, every loop that is installed
python benchmarks/net.py --quick                       eleven rows, two short rounds
python benchmarks/net.py --loops asyncio,casyncio --only 'tcp_streams_*' --rounds 5 --json s.json
python benchmarks/net.py --only '*'                    all rows: takes hours
python benchmarks/net.py report s.json                 the tables again
python benchmarks/net.py list                          the rows; * marks the usual ones
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import drive, netrows, report, terminal, toolchain

READY_WITHIN_S = 15
WARM_S = 0.25
FLOORS = {"C epoll": "floor_epoll", "C io_uring": "floor_uring"}


class Server:
    """A server in a process of its own; as a context manager it ends with the block."""

    def __init__(self, command: list[str], place: str, env: dict):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, **env},
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.place = place

    def __enter__(self) -> Server:
        try:
            port = self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        if not self.place.startswith("unix:"):
            self.place = f"{self.place.partition(':')[0]}:{port}"
        return self

    def wait_ready(self) -> str:
        """Return the port that the server prints once it takes traffic."""
        seen, end = b"", time.monotonic() + READY_WITHIN_S
        while not seen.endswith(b"\n"):
            ready = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            got = os.read(self.process.stdout.fileno(), 100) if ready[0] else b""
            if not got:
                raise drive.Failed(self.death() or "the server never got ready")
            seen += got
        return seen.split()[1].decode()

    def stderr(self) -> str:
        """Return what the server has written to its standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def death(self) -> str:
        """Return why the server ended, or an empty text while it lives."""
        try:
            code = self.process.wait(0.2)
        except subprocess.TimeoutExpired:
            return ""
        return drive.how_it_ended(code, self.stderr()) or "the server ended"

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Bench:
    """How cells are measured: on which CPUs, with which programs and sockets."""

    def __init__(self, args):
        self.args = args
        self.sockets = tempfile.mkdtemp(prefix="netbench-")
        self.programs = {name: toolchain.program(name) for name in ("loadgen", "floor_epoll")}
        cpus = sorted(os.sched_getaffinity(0))
        self.cpus = (str(cpus[0]), str(cpus[1])) if len(cpus) > 1 else ("", "")

    def close(self) -> None:
        """Remove the folder of the UNIX sockets."""
        for path in Path(self.sockets).iterdir():
            path.unlink()
        os.rmdir(self.sockets)

    def env(self, measured: bool, one: drive.Contender | None = None) -> dict:
        """Return the environment of the measured process, or of the one that helps."""
        return {
            **(one.env if one else {}),
            "BENCH_CPU": self.cpus[0 if measured else 1],
            "BENCH_REALTIME": "1" if self.args.realtime else "",
            "BENCH_WARM_MALLOC": "1" if self.args.warm_malloc else "",
        }

    def cell(self, *words) -> list[str]:
        """Return the command of a Python cell."""
        return [self.args.python, "-P", *drive.CELL, *map(str, words)]

    def floor(self, name: str, row: netrows.Row, place: str) -> list[str]:
        """Return the command of a C server."""
        program = FLOORS[name]
        http = ["-h"] if row.load == "http" or row.kind == "aiohttp" else []
        large = ["-b", "131072"] if row.size > 16384 and program == "floor_uring" else []
        return [self.programs[program], "-l", place, *http, *large]

    def place(self, row: netrows.Row) -> str:
        """Return where a server of this row shall listen."""
        if row.scheme != "unix":
            return f"{row.scheme}:0"
        path = Path(self.sockets) / "s"
        path.unlink(missing_ok=True)
        return f"unix:{path}"

    def load(self, mode: str, row: netrows.Row, server: Server, measured: bool) -> dict:
        """Run the load generator against a server; ``measured``: it stands for a client."""
        seconds = self.args.seconds
        command = [self.programs["loadgen"], "-m", mode, "-l", server.place]
        command += ["-c", str(self.conns(row)), "-s", str(row.size), "-d", str(seconds)]
        command += ["-w", str(min(WARM_S, seconds)), *([] if measured else ["-P", str(server.pid)])]
        limit = seconds + self.args.timeout
        out, _ = drive.run_bounded(command, limit, self.env(measured))
        return json.loads(out)

    def conns(self, row: netrows.Row) -> int:
        """Return how many connections a row has, fewer where --connections limits them."""
        return min(row.conns, self.args.connections or row.conns)

    def measure_server(self, row: netrows.Row, one: drive.Contender) -> dict:
        """Measure a server of one loop, or a C server, under load."""
        place = self.place(row)
        if one.name in FLOORS:
            command = self.floor(one.name, row, place)
        else:
            command = self.cell("serve", one.spec, row.kind, place, row.size)
        with Server(command, place, self.env(True, one)) as server:
            try:
                return self.load(row.load, row, server, False)
            except drive.Failed as error:
                death = server.death()
                raise drive.Failed(f"server: {death}" if death else f"load: {error}") from None

    def measure_client(self, row: netrows.Row, one: drive.Contender) -> dict:
        """Measure a client of one loop, or the load generator, against a C server."""
        with Server(self.floor("C epoll", row, "tcp:0"), "tcp:0", self.env(False)) as server:
            if one.name in FLOORS:
                return self.load("http" if row.kind == "aiohttp" else "echo", row, server, True)
            words = (one.spec, row.kind, server.place, row.size, self.conns(row))
            command = self.cell("client", *words, self.args.seconds)
            out, _ = drive.run_bounded(
                command, self.args.seconds + self.args.timeout, self.env(True, one)
            )
            return json.loads(out.splitlines()[-1])

    def try_cell(self, row: netrows.Row, one: drive.Contender, earlier: list[dict]) -> None:
        """Append a result to the contender's earlier ones; who failed is not tried again."""
        if earlier and "failed" in earlier[-1]:
            earlier.append(earlier[-1])
            return
        measure = self.measure_client if row.group == "client" else self.measure_server
        try:
            earlier.append(with_costs(measure(row, one)))
        except drive.Failed as error:
            earlier.append({"failed": str(error)})


def with_costs(cell: dict) -> dict:
    """Add CPU time per message, and a note when something was lost."""
    if cell.get("cpu_ns") and cell["done"]:
        cell["cpu_us"] = cell["cpu_ns"] / 1000 / cell["done"]
        cell["user_us"] = cell["cpu_us"] * cell["user_ticks"] / max(cell["ticks"], 1e-9)
    notes = {"errors": "connections broke", "lost": "datagrams were sent again"}
    for key, words in notes.items():
        if cell.get(key):
            cell["note"] = f"{cell[key]} {words}"
    return cell


def floors(bench: Bench, row_names: list[str]) -> list[drive.Contender]:
    """Return the C servers that run here; say why one does not."""
    found = [drive.Contender("C epoll", "")]
    if not any("C io_uring" in netrows.ROWS[name].floors for name in row_names):
        return found
    try:
        bench.programs["floor_uring"] = toolchain.program("floor_uring")
        with Server([bench.programs["floor_uring"], "-l", "tcp:0"], "tcp:0", bench.env(True)):
            found.append(drive.Contender("C io_uring", ""))
    except (toolchain.Missing, drive.Failed) as error:
        terminal.err().line(f"left out: C io_uring ({error})")
    return found


def measure_row(bench: Bench, row: netrows.Row, who: list, follow: terminal.Follow) -> dict:
    """Measure one row for every contender, round by round."""
    cells: dict[str, list[dict]] = {one.name: [] for one in who}
    for number in range(bench.args.rounds):
        for one in drive.rotated(who, number):
            follow.now(f"{row.name}: {one.name}, round {number + 1}")
            bench.try_cell(row, one, cells[one.name])
            follow.step()
    return {"group": row.group, "unit": row.unit, "conns": bench.conns(row), "cells": cells}


def run(args) -> None:
    """Run the suite; what is measured when Ctrl+C comes is still reported."""
    args.rounds = args.rounds or (2 if args.quick else 3)
    args.seconds = args.seconds or (0.5 if args.quick else 1.0)
    rows = netrows.chosen(args.only, args.quick)
    if not rows:
        sys.exit("no row has such a name; see: python benchmarks/net.py list")
    who, machine = drive.start(args)
    try:
        bench = Bench(args)
    except toolchain.Missing as error:
        sys.exit(f"the network benchmarks cannot run: {error}")
    who += floors(bench, [row.name for row in rows]) if not args.no_floors else []
    machine["pin"] = " and ".join(bench.cpus) if bench.cpus[0] else None
    machine["warm_malloc"] = args.warm_malloc
    data: dict = {"machine": machine, "workloads": {}}
    able = {
        row.name: [o for o in who if o.name not in FLOORS or o.name in row.floors] for row in rows
    }
    cells = sum(map(len, able.values())) * args.rounds
    with contextlib.closing(bench), terminal.Follow(cells) as follow:
        try:
            for row in rows:
                data["workloads"][row.name] = measure_row(bench, row, able[row.name], follow)
                drive.save(args.out, data)
                follow.row(report.row_text(row.name, data["workloads"][row.name]))
        except KeyboardInterrupt:
            terminal.err().line("interrupted; this is what there is")
    report.show(data)


def list_rows() -> None:
    """Print every row; those measured when none is named have a star."""
    usual, quick = netrows.chosen(None, False), netrows.chosen(None, True)
    for row in netrows.ROWS.values():
        mark = "*" if row in usual else " "
        print(
            f"{mark} {row.group:<7} {row.name:<28} {row.unit:<7}{'quick' * (row in quick)}".rstrip()
        )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/net.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", nargs="?", default="run", choices=["run", "report", "list"])
    add("files", nargs="*", help="what 'report' shows")
    add(
        "--loops",
        dest="loop",
        type=drive.loops_option,
        metavar="A,B",
        help="default: all installed",
    )
    add("--backend", action="append", default=[], metavar="NAME", help="casyncio on it once more")
    add("--only", action="append", metavar="GLOB", help="rows to measure (repeatable)")
    add("--quick", action="store_true", help="a few rows, 2 short rounds")
    add("--rounds", type=int, help="default 3, quick 2")
    add("--seconds", type=float, help="measured seconds of a cell; default 1, quick 0.5")
    add("--timeout", type=float, default=30, help="most seconds of a cell beyond those, default 30")
    add("--connections", type=int, metavar="N", help="never open more than N connections")
    add("--json", dest="out", metavar="FILE", help="write the results to this file")
    add("--python", default=sys.executable, help="interpreter in which the loops are installed")
    add("--no-floors", action="store_true", help="leave out the C servers")
    add("--warm-malloc", action="store_true", help="measure as in processes that run for long")
    add("--realtime", action="store_true", help="measure under SCHED_RR where that is allowed")
    args = parser.parse_args(argv)
    if (args.command == "report") != bool(args.files):
        parser.error("'report', and only 'report', takes files")
    args.pin, args.cell = (
        None,
        drive.CELL,
    )  # of the drivers' shared options: servers and load have CPUs of their own
    return args


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and do what it says."""
    args = parse(argv)
    if args.command == "run":
        run(args)
    elif args.command == "report":
        report.show_files(args.files)
    else:
        list_rows()


if __name__ == "__main__":
    main()
