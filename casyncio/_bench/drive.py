"""What the drivers share: contenders, and fresh processes with a time limit."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import terminal

CELL = [str(Path(__file__).resolve().parent / "cell.py")]
STOCK = "asyncio"
DEFAULT_LOOPS = [f"{name}={name}:new_event_loop" for name in (STOCK, "uvloop", "rloop", "rsloop")]
DEFAULT_LOOPS += [
    "leviathan=leviathan:Loop",
    "zuvloop=zuvloop:new_event_loop",
    "casyncio=casyncio:new_event_loop",
]
KNOWN = dict(text.split("=", 1) for text in DEFAULT_LOOPS)


class Failed(Exception):
    """A cell gave no result; the text is a short reason."""


@dataclass(frozen=True)
class Contender:
    """A loop to measure: its name in the tables, its ``module:factory``, its environment."""

    name: str
    spec: str
    env: dict = field(default_factory=dict)


def loop_option(text: str) -> str:
    """Return one of --loops as NAME=MODULE:FACTORY."""
    name, _, spec = text.strip().partition("=")
    if not spec and name not in KNOWN:
        known = ", ".join(KNOWN)
        raise argparse.ArgumentTypeError(
            f"{name!r} is none of {known}; others are written NAME=MODULE:FACTORY"
        )
    return f"{name}={spec or KNOWN[name]}"


def loops_option(text: str) -> list[str]:
    """Return all of --loops."""
    return [loop_option(one) for one in text.split(",") if one.strip()]


def add_options(parser, rounds: int, seconds: float) -> None:
    """Add the options that every driver has."""
    add = parser.add_argument
    add(
        "--loops",
        dest="loop",
        action="extend",
        type=loops_option,
        metavar="A,B,...",
        help="names, or NAME=MODULE:FACTORY (repeatable); default: every known loop installed",
    )
    add(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="casyncio once more, on this backend (repeatable)",
    )
    add("--rounds", type=int, help=f"default {rounds}")
    add("--seconds", type=float, help=f"measured seconds of a cell, default {seconds}")
    add("--timeout", type=float, default=30, help="most seconds of one cell, default 30")
    add("--python", default=sys.executable, help="interpreter in which the loops are installed")
    add("--realtime", action="store_true", help="measure under SCHED_RR where that is allowed")
    add(
        "--pin",
        nargs="?",
        const=min(os.sched_getaffinity(0)),
        type=int,
        metavar="CPU",
        help="keep single-threaded cells on one CPU",
    )
    add("--json", dest="out", metavar="FILE", help="write the results to this JSON file")
    parser.set_defaults(cell=CELL)


def how_it_ended(code: int, stderr: str) -> str:
    """Return a short reason for a failed process, free of this machine's paths."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    last = re.sub(r"(/[\w.+-]+){2,}", "<path>", (errors or lines or [""])[-1])[:160]
    if code < 0:
        return f"{signal.Signals(-code).name} {last}".strip()
    return last or f"exit {code}"


def run_bounded(command: list[str], timeout: float, env: dict | None = None) -> tuple[str, str]:
    """Run a command with its children for at most ``timeout`` seconds; return what it printed."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise Failed(f"timeout after {timeout:g} s") from None
        raise
    if process.returncode:
        raise Failed(how_it_ended(process.returncode, err))
    return out, err


def run_cell(args, *words, contender: Contender | None = None, shared: bool = False) -> dict:
    """Run ``cell.py`` with these words in a fresh process; a shared cell keeps every CPU."""
    env = dict(contender.env) if contender else {}
    env["BENCH_REALTIME"] = "1" if args.realtime else ""
    env["BENCH_CPU"] = "" if shared or args.pin is None else str(args.pin)
    out, _ = run_bounded([args.python, "-P", *args.cell, *map(str, words)], args.timeout, env)
    return json.loads(out.splitlines()[-1])


def try_cell(args, earlier: list[dict], *words, **options) -> None:
    """Append a cell's result to the contender's earlier ones; who failed is not tried again."""
    if earlier and "failed" in earlier[-1]:
        earlier.append(earlier[-1])
        return
    try:
        earlier.append(run_cell(args, *words, **options))
    except Failed as error:
        earlier.append({"failed": str(error)})


def contenders(args) -> tuple[list[Contender], dict]:
    """Return the contenders that can be imported and their versions; say which are left out."""
    wanted = [Contender(*text.split("=", 1)) for text in args.loop or DEFAULT_LOOPS]
    wanted += [
        Contender(f"casyncio-{name}", "casyncio:new_event_loop", {"CASYNCIO_BACKEND": name})
        for name in args.backend
    ]
    versions = {}
    for one in wanted:
        try:
            versions[one.name] = run_cell(args, "version", one.spec)["version"]
        except Failed as error:
            terminal.err().line(f"left out: {one.name} ({error})")
    return [one for one in wanted if one.name in versions], versions


def settle_realtime(args) -> None:
    """Turn --realtime off, with a note, where the kernel refuses it."""
    try:
        run_cell(args, "describe")
    except Failed as error:
        if not args.realtime:
            sys.exit(f"{args.python} cannot run the benchmarks: {error}")
        terminal.err().line(f"without --realtime: {error}")
        args.realtime = False


def start(args) -> tuple[list[Contender], dict]:
    """Return the contenders and the description of interpreter, machine and settings."""
    settle_realtime(args)
    who, versions = contenders(args)
    if not who:
        sys.exit("none of the loops can be imported")
    with open("/proc/cpuinfo") as f:
        models = [line.partition(":")[2].strip() for line in f if line.startswith("model name")]
    now = datetime.datetime.now(datetime.UTC)
    machine = {
        **run_cell(args, "describe"),
        "date": now.strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "rounds": args.rounds,
        "seconds": args.seconds,
        "realtime": args.realtime,
        "pin": args.pin,
        "loops": versions,
    }
    return who, machine


def save(path: str | None, data: dict) -> None:
    """Write the results as JSON when a file is wanted."""
    if path:
        Path(path).write_text(json.dumps(data, indent=1) + "\n")


def rotated(items: list, by: int) -> list:
    """Return the items beginning at another one each round, so that no place favours anyone."""
    by %= len(items)
    return items[by:] + items[:by]
