#!/usr/bin/env python3
"""Measure the tables of README.md anew and write them there, and the picture beside the manual.

make figures                                           all tables, about half an hour
make figures ARGS="--only programs"                    one of programs, loop, servers (repeatable)
make figures ARGS="--rounds 1 --seconds 0.05 --dry"    a trial, which leaves README.md alone
make figures ARGS=--render                             from the last measurement, in build/figures

A quiet machine is wanted: with others on it the tables say how much the ratios moved.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import drive, plot, report

ROOT = Path(__file__).resolve().parents[1]
README, PICTURE = ROOT / "README.md", ROOT / "docs/programs.svg"
RESULTS = ROOT / "build/figures"
BENCH = ["-m", "casyncio", "bench"]
NET = [str(ROOT / "benchmarks/net.py")]
HEADINGS = {"casyncio-acc": "with `accelerate`", "C epoll": "C"}
ROUNDS, OURS = 5, report.OURS
NUMBERS = dict(enumerate("zero one two three four five six seven eight nine ten".split()))


@dataclass(frozen=True)
class Section:
    """A table: what measures it, its columns, and {row of the benchmark: what README calls it}."""

    command: list[str]
    corner: str
    columns: tuple[str, ...]
    rows: dict[str, str]


SECTIONS = {
    "programs": Section(
        [*BENCH, "--accelerate"],
        "per second",
        ("asyncio", "uvloop", "rloop", "casyncio", "casyncio-acc"),
        {
            "program_crawler": "crawler, pages",
            "program_queue_pipeline": "pipeline of queues, items",
            "program_10k_sleeps": "10,000 sleeps at once",
            "program_gather_tree": "tree of `gather()`, tasks",
            "program_echo_1000_clients": "echo server and 1,000 clients, lines",
            "program_chat_broadcast": "chat of fifty, lines delivered",
            "program_subprocess_fleet": "child processes, eight at a time",
        },
    ),
    "loop": Section(
        BENCH,
        "per second",
        ("asyncio", "uvloop", "rloop", "casyncio"),
        {
            "call_soon_chain": "`call_soon`, one after another",
            "call_soon_fanout_10k": "`call_soon`, 10,000 at a time",
            "timer_schedule_cancel_100k_live": "`call_later` and cancel, 100,000 live",
            "timer_fire_100k": "100,000 timers firing",
            "call_soon_threadsafe": "`call_soon_threadsafe`",
            "create_task_await": "`create_task` and `await`",
            "sleep0_100_tasks": "`sleep(0)`, 100 tasks",
            "async_tree_eager_io": "tree of `asyncio.eager_task_factory`",
            "queue_bounded": "`Queue`, bounded",
            "getaddrinfo_numeric": "numeric `getaddrinfo`",
            "subprocess_sequential": "child processes, one after another",
            "mem_live_timer": "memory of a waiting timer",
            "startup": "start of a process",
        },
    ),
    "servers": Section(
        NET,
        "per second",
        ("asyncio", "uvloop", "rloop", "casyncio", "C epoll"),
        {
            "tcp_protocol_1k_c10": "TCP, Protocol",
            "tcp_protocol_100k_c10": "TCP, Protocol, 100 KiB",
            "tcp_buffered_1k_c10": "TCP, BufferedProtocol",
            "tcp_streams_1k_c10": "TCP, streams",
            "unix_protocol_1k_c10": "UNIX, Protocol",
            "unix_streams_1k_c10": "UNIX, streams",
            "udp_protocol_1k_c10": "UDP",
            "churn_tcp_protocol_c10": "connect, one message, close; Protocol",
            "churn_tcp_streams_c10": "the same, streams",
            "http_uvicorn_httptools_c50": "uvicorn, 50 connections",
            "http_aiohttp_c50": "aiohttp.web, 50 connections",
        },
    ),
}


def measure(name: str, args) -> None:
    """Run the benchmark of a section; its results go to ``build/figures``."""
    section = SECTIONS[name]
    loops = [who for who in section.columns if who in drive.KNOWN]
    options = [word for row in section.rows for word in ("--only", row)]
    options += ["--loops", ",".join(loops), "--rounds", str(args.rounds)]
    options += ["--json", str(RESULTS / f"{name}.json"), *(["--realtime"] * args.realtime)]
    options += ["--seconds", str(args.seconds)] if args.seconds else []
    RESULTS.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-P", *section.command, *options], check=True)


def standing(row: dict, who: str) -> str:
    """Return the mark of a figure of ours: behind the best other loop, or in doubt.

    Loops are compared round by round, as the bench command does, and by the ratios that the
    table shows; where the two disagree, the figure is behind and in doubt.
    """
    others = [o for o in row["cells"] if not o.startswith(OURS) and o not in report.FLOORS]
    against = [found for o in others if (found := report.ratios(row, who, o))]
    if not against:
        return ""
    worst = min(against, key=report.statistics.median)
    behind = report.statistics.median(worst) < 1
    shown = {o: report.summary(row, o).get("ratio", {"median": 1})["median"] for o in others}
    shown_behind = report.summary(row, who)["ratio"]["median"] < max(shown.values())
    doubt = (min(worst) < 1) != (max(worst) < 1) or behind != shown_behind
    return " ▼" * (behind or shown_behind) + " ?" * doubt


def cell(row: dict, who: str) -> str:
    """Return a figure: stock's own, the others' as ratios to it."""
    summary = report.summary(row, who)
    if "value" not in summary:
        return "fails" if summary["failures"] else "–"
    if who == drive.STOCK:
        size = f" {row['unit']}" if row["unit"] in report.LOWER_IS_BETTER else ""
        return report.short(summary["value"]["median"]) + size
    if "ratio" not in summary:
        return report.short(summary["value"]["median"])
    ratio = summary["ratio"]["median"]
    text = f"×{ratio:.1f}" if ratio >= 1.95 else f"×{ratio:.2f}"
    return text + (standing(row, who) if who.startswith(OURS) else "")


def caption(machine: dict, data: dict) -> str:
    """Return when, where and how a table was measured, and how sure it is."""
    others = [f"{n} {v}" for n, v in machine["loops"].items() if not n.startswith(("asy", "casy"))]
    rounds = machine["rounds"]
    parts = [
        machine["date"].split(" ")[0],
        f"CPython {machine['python']} ({'PGO' if machine['pgo'] else 'no PGO'})",
        machine["cpu"],
        *(["SCHED_RR"] if machine["realtime"] else []),
        f"medians of {NUMBERS.get(rounds, rounds)} rounds" if rounds > 1 else "one round",
        *others,
    ]
    noise = report.noise(data)
    moved = f" From round to round a ratio moved by {100 * noise:.0f} %." if noise else ""
    return ", ".join(parts) + "." + moved


def table(name: str, data: dict) -> str:
    """Return a section as README has it."""
    section = SECTIONS[name]
    lines = [
        f"| {section.corner} | {' | '.join(HEADINGS.get(who, who) for who in section.columns)} |",
        "|---" * (1 + len(section.columns)) + "|",
    ]
    for key, label in section.rows.items():
        if key in data["workloads"]:
            row = data["workloads"][key]
            lines.append(f"| {label} | {' | '.join(cell(row, who) for who in section.columns)} |")
    again = f'`make figures ARGS="--only {name}"`'
    return "\n".join([*lines, "", f"{caption(data['machine'], data)} {again}"])


def insert(text: str, name: str, new: str) -> str:
    """Return README's text with a section replaced; raises ValueError if it has no such place."""
    place = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- end -->\n)", re.S)
    found, count = place.subn(lambda match: f"{match[1]}\n{new}\n\n{match[2]}", text)
    if count != 1:
        raise ValueError(f"README.md has no place for {name}, or several")
    return found


def render(names: list[str], write: bool) -> None:
    """Print the tables; write them into README.md, with the picture, if that is wanted."""
    for name in names:
        data = json.loads((RESULTS / f"{name}.json").read_text())
        print(table(name, data), end="\n\n")
        if not any("value" in report.summary(row, OURS) for row in data["workloads"].values()):
            sys.exit(f"{OURS} ran nowhere; README.md is left alone")
        if write:
            README.write_text(insert(README.read_text(), name, table(name, data)))
            if name == "programs":
                plot.write(str(PICTURE), data)


def main(argv=None) -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="python benchmarks/figures.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", choices=SECTIONS, help="a table (repeatable); default: all")
    add("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    add("--seconds", type=float, help="measured seconds of a cell; default: the benchmarks' own")
    add("--no-realtime", dest="realtime", action="store_false", help="not under SCHED_RR")
    add("--render", action="store_true", help="measure nothing, take the last results")
    add("--dry", action="store_true", help="print the tables only")
    args = parser.parse_args(argv)
    for name in args.only or SECTIONS:
        if not args.render:
            measure(name, args)
        render([name], not args.dry)


if __name__ == "__main__":
    main()
