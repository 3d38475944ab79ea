"""Compare event loops on this machine: stock asyncio, casyncio, and every other one installed.

python -m casyncio bench                               the quick suite, under three minutes
python -m casyncio bench --suite full                  every row, five rounds
python -m casyncio bench --only 'program_*' --loops asyncio,casyncio --plot out.svg
python -m casyncio bench report out.json               the tables of a saved run again
python -m casyncio bench list                          the rows and what they do
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
import time
from pathlib import Path

from . import drive, harness, plot, report, terminal

ROUNDS = {"quick": 3, "full": 5}
SECONDS = {"quick": 0.15, "full": 0.4}
TIMEOUT_S = {"quick": 12, "full": 30}
# The quick suite gives up rounds to end in so many seconds, and rows when even that is not enough.
QUICK_LIMIT_S, QUICK_END_S = 140, 155
QUICK_ROW_S = 25  # ... and the further rounds of a row that takes so long


def chosen(args, able: list[str]) -> list[harness.Workload]:
    """Return the workloads that are wanted and that the interpreter can run."""
    return [
        w
        for name, w in harness.load_workloads().items()
        if name in able
        and (w.quick or args.suite == "full" or args.only)
        and (not args.only or any(fnmatch.fnmatch(name, p) for p in args.only))
    ]


def measure_round(args, row, who: list, number: int, cells: dict, follow) -> bool:
    """Measure one workload once for every contender; return False if the suite's time is up."""
    for one in drive.rotated(who, number):
        if args.limit_s is not None and follow.spent_s > args.limit_s + QUICK_END_S - QUICK_LIMIT_S:
            return False
        follow.now(f"{row.name}: {one.name}, round {number + 1}")
        drive.try_cell(
            args,
            cells[one.name],
            "work",
            one.spec,
            row.name,
            args.seconds,
            contender=one,
            shared=row.shared,
        )
        follow.step()
    return True


def measure_row(
    args, row: harness.Workload, who: list[drive.Contender], rounds: int, follow: terminal.Follow
) -> dict | None:
    """Measure one workload for every contender, round by round; None if no round was finished."""
    cells: dict[str, list[dict]] = {one.name: [] for one in who}
    began_s, finished = follow.spent_s, 0
    while finished < rounds and measure_round(args, row, who, finished, cells, follow):
        finished += 1
        if args.limit_s is not None and follow.spent_s - began_s > QUICK_ROW_S:
            break
    follow.skip(rounds * len(who) - sum(map(len, cells.values())))
    for found in cells.values():
        del found[finished:]
    return {"group": row.group, "unit": row.unit, "cells": cells} if finished else None


def fitting_rounds(args, rows_left: int, each: int, follow: terminal.Follow) -> int:
    """Return how many rounds the next row gets, so that a limited suite ends in time; 0: none."""
    if args.limit_s is None or not follow.done:
        return args.rounds
    if follow.spent_s > args.limit_s + QUICK_END_S - QUICK_LIMIT_S:
        return 0
    cell_s = follow.spent_s / follow.done
    rounds = int((args.limit_s - follow.spent_s) / (cell_s * rows_left * each))
    return max(1, min(args.rounds, rounds))


def measure_all(args, rows: list, who: list, data: dict) -> None:
    """Measure row after row into ``data``."""
    fewer = False
    with terminal.Follow(len(rows) * len(who) * args.rounds) as follow:
        for i, row in enumerate(rows):
            rounds = fitting_rounds(args, len(rows) - i, len(who), follow)
            follow.skip((args.rounds - rounds) * len(who))
            found = measure_row(args, row, who, rounds, follow)
            if not found:
                left_out = ", ".join(row.name for row in rows[i:])
                terminal.err().line(f"this machine is too slow or too busy; left out: {left_out}")
                break
            fewer = fewer or min(map(len, found["cells"].values())) < args.rounds
            data["workloads"][row.name] = found
            drive.save(args.out, data)
            follow.row(report.row_text(row.name, found))
    if fewer:
        terminal.err().line("some rows got fewer rounds, so that the quick suite ends in time")


def warn_of_load() -> None:
    """Say so when other programs keep this machine busy."""
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > 0.5 * cpus:
        terminal.err().line(
            f"this machine is busy already (load {load:.1f} on {cpus} CPUs): figures will be noisy"
        )


def run(args) -> None:
    """Run the suite; what is measured when Ctrl+C comes is still reported."""
    limited = args.suite == "quick" and args.rounds is None and args.seconds is None
    began = time.monotonic()
    args.rounds = args.rounds or ROUNDS[args.suite]
    args.seconds = args.seconds or SECONDS[args.suite]
    args.timeout = args.timeout or TIMEOUT_S[args.suite]
    warn_of_load()
    who, machine = drive.start(args)
    spent_s = time.monotonic() - began
    args.limit_s = QUICK_LIMIT_S - spent_s if limited and not args.only else None
    rows = chosen(args, machine["workloads"])
    if not rows:
        sys.exit("no workload has such a name; see: python -m casyncio bench list")
    data: dict = {"machine": machine, "workloads": {}}
    try:
        measure_all(args, rows, who, data)
    except KeyboardInterrupt:
        terminal.err().line("interrupted; this is what there is")
    finish(args, data)


def finish(args, data: dict) -> None:
    """Show the tables and draw the plot that is wanted."""
    report.show(data)
    if args.plot:
        try:
            plot.write(args.plot, data)
        except ValueError as error:
            terminal.err().line(str(error))
        else:
            terminal.err().line(f"plot: {args.plot}")


def list_rows() -> None:
    """Print every workload with its group and its docstring."""
    for w in harness.load_workloads().values():
        print(f"{w.group:<10} {w.name:<33} {'quick ' if w.quick else '      '}{w.function.__doc__}")


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m casyncio bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("command", nargs="?", default="run", choices=["run", "report", "list"])
    add("files", nargs="*", help="what 'report' shows")
    add("--suite", choices=["quick", "full"], default="quick", help="default quick")
    add("--only", action="append", metavar="GLOB", help="rows of any suite (repeatable)")
    add("--plot", metavar="FILE.svg", help="draw the ratios to stock")
    drive.add_options(parser, ROUNDS["quick"], SECONDS["quick"])
    parser.set_defaults(timeout=None)
    args = parser.parse_args(argv)
    if (args.command == "report") != bool(args.files):
        parser.error("'report', and only 'report', takes files")
    if args.plot and not args.plot.endswith(".svg"):
        parser.error("--plot draws SVG: name a file that ends in .svg")
    return args


def main(argv: list[str]) -> int:
    """Parse the command line and do what it says; return the exit status."""
    args = parse(argv)
    if args.command == "run":
        run(args)
    elif args.command == "list":
        list_rows()
    else:
        report.show_files(args.files)
        if args.plot:
            plot.write(args.plot, json.loads(Path(args.files[-1]).read_text()))
    return 0
