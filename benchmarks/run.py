#!/usr/bin/env python3
"""Compare event loops inside one process: callbacks, timers, tasks, threads, memory and more.

python -m benchmarks                              every row, every loop that is installed
python -m benchmarks --quick                      the short suite
python -m benchmarks -w 'call_soon*' --rounds 5 --out calls.json
python -m benchmarks report calls.json            the tables again
python -m benchmarks list                         the rows and what they do
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import drive, harness, report


def chosen(args, able: list[str]) -> list[harness.Workload]:
    """Return the workloads that are wanted and that the interpreter can run."""
    return [
        w
        for name, w in harness.load_workloads().items()
        if name in able
        and (w.quick or not args.quick or args.workload)
        and (not args.workload or any(fnmatch.fnmatch(name, p) for p in args.workload))
    ]


def measure_row(
    args, row: harness.Workload, who: list[drive.Contender], follow: drive.Follow
) -> dict:
    """Measure one workload for every contender, round by round."""
    cells: dict[str, list[dict]] = {one.name: [] for one in who}
    for number in range(args.rounds):
        for one in drive.rotated(who, number):
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
    return {"group": row.group, "unit": row.unit, "cells": cells}


def run(args) -> None:
    """Run the suite; what is measured when Ctrl+C comes is still reported."""
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.seconds = args.seconds or (0.15 if args.quick else 0.4)
    who, machine = drive.start(args)
    rows = chosen(args, machine["workloads"])
    if not rows:
        sys.exit("no workload has such a name; see: python -m benchmarks list")
    data: dict = {"machine": machine, "workloads": {}}
    try:
        with drive.Follow(len(rows) * len(who) * args.rounds) as follow:
            for row in rows:
                data["workloads"][row.name] = measure_row(args, row, who, follow)
                drive.save(args.out, data)
                follow.row(report.row_text(row.name, data["workloads"][row.name]))
    except KeyboardInterrupt:
        drive.STDERR.print("interrupted; this is what there is")
    report.show(data)


def list_rows() -> None:
    """Print every workload with its group and its docstring."""
    for w in harness.load_workloads().values():
        print(f"{w.group:<10} {w.name:<33} {'quick ' if w.quick else '      '}{w.function.__doc__}")


def main(argv: list[str] | None = None) -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", default="run", choices=["run", "report", "list"])
    parser.add_argument("files", nargs="*", help="what 'report' shows")
    parser.add_argument("-w", "--workload", action="append", metavar="GLOB", help="repeatable")
    parser.add_argument("--quick", action="store_true", help="fewer rows, 2 short rounds")
    drive.add_options(parser, 5, 0.4)
    args = parser.parse_args(argv)
    if (args.command == "report") != bool(args.files):
        parser.error("'report', and only 'report', takes files")
    if args.command == "run":
        run(args)
    elif args.command == "report":
        report.show_files(args.files)
    else:
        list_rows()


if __name__ == "__main__":
    main()
