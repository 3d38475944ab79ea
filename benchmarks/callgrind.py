#!/usr/bin/env python3
"""How many instructions does one operation take? Counted by valgrind's callgrind, without noise.

    python -m benchmarks.callgrind [--loops A,B] [--python EXE] [--json FILE]

Each operation runs in two sizes in fresh processes; the difference of the counts, divided by the
difference of the sizes, leaves out what the process costs otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import shutil
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import callbacks, harness, switching

CELL = [str(Path(__file__).with_name("cells.py"))]
SIZES = (1_000, 4_000)


async def batch(loop, n):
    """Run n callbacks that are all scheduled before the first of them runs."""
    done = loop.create_future()
    for _ in range(n):
        loop.call_soon(harness.nothing)
    loop.call_soon(done.set_result, None)
    await done


async def fire(loop, n):
    """Make n timers due within 1 to 2 milliseconds, in mixed order, and let them fire."""
    for i in range(n):
        loop.call_later(1e-3 + (i * 7919 % 1000) * 1e-6, harness.nothing)
    done = loop.create_future()
    loop.call_later(0.005, done.set_result, None)
    await done


async def sleeps(n):
    """Call asyncio.sleep(0) n times."""
    for _ in range(n):
        await asyncio.sleep(0)


SWITCHES = {
    "yield switch": switching.yields,
    "sleep(0)": sleeps,
}  # what the bare driver can run as well
TASKS = 10


def switches(body):
    """Return an operation that runs n switches in ten tasks."""

    async def switch(loop, n):
        await asyncio.wait([loop.create_task(body(n // TASKS)) for _ in range(TASKS)])

    return switch


async def future_soon(loop, n):
    """Await n futures without a value."""
    await switching.soon_with(loop, n, None)


async def future_value(loop, n):
    """Await n futures with a value."""
    await switching.soon_with(loop, n, 5)


async def create_and_await(loop, n):
    """Make n tasks that do nothing, and await each."""
    create_task, noop = loop.create_task, harness.noop
    for _ in range(n):
        await create_task(noop())


def empty():
    """Do nothing, and take nothing."""


async def batches(loop, n):
    """Run n callbacks, fifty in each turn."""
    for _ in range(n // 50):
        for _ in range(50):
            loop.call_soon(empty)
        await asyncio.sleep(0)


async def make_and_cancel(loop, n):
    """Make n timers and cancel each at once."""
    for _ in range(n):
        loop.call_later(100, empty).cancel()


OPERATIONS = {
    "yield switch": switches(switching.yields),
    "sleep(0)": switches(sleeps),
    "create_task+await": create_and_await,
    "future+call_soon": future_soon,
    "future+call_soon, value": future_value,
    "call_soon": batches,
    "call_soon chain": callbacks.call_soon_chain,
    "call_soon batch": batch,
    "call_later+cancel": make_and_cancel,
    "timer fire": fire,
}


def cell(loop_spec, operation, n):
    """Run one operation n times in this process; ``bare:drive`` is the driver without a loop."""
    if loop_spec == "bare:drive":
        gc.disable()
        body = SWITCHES[operation]
        harness.loop_factory(loop_spec)([body(int(n) // TASKS) for _ in range(TASKS)])
        harness.emit({})
    with asyncio.Runner(loop_factory=harness.loop_factory(loop_spec)) as runner:
        loop = runner.get_loop()
        if hasattr(loop, "_poll_budget"):
            # Turns alone count: under valgrind, a budget of time would be over at once.
            loop._poll_budget = (loop._poll_budget[0], 1e6)
        gc.disable()  # when it runs depends on more than the operation
        runner.run(OPERATIONS[operation](loop, 500))  # clocks and caches settle
        runner.run(OPERATIONS[operation](loop, int(n)))
        harness.emit({})


def instructions(drive, args, one, operation, n):
    """Return the instructions of a whole process that runs the operation n times."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        args.python,
        "-P",
        *CELL,
        "callgrind",
        one.spec,
        operation,
        str(n),
    ]
    env = {**one.env, "PYTHONHASHSEED": "0", "BENCH_CPU": "", "BENCH_REALTIME": ""}
    _, err = drive.run_bounded(command, args.timeout, env)
    return int(re.search(r"Collected : (\d+)", err)[1])


def per_operation(drive, args, one, operation):
    """Return instructions per operation as text, or why there is no number."""
    try:
        few, many = (instructions(drive, args, one, operation, n) for n in SIZES)
    except drive.Failed as error:
        return f"fails: {error}"
    return round((many - few) / (SIZES[1] - SIZES[0]))


def measure(drive, args, who):
    """Return instructions per operation, by operation and contender."""
    results = {}
    with drive.terminal.Follow(len(OPERATIONS) * len(who)) as follow:
        for operation in OPERATIONS:
            row = results[operation] = {}
            for one in who:
                follow.now(f"{operation}: {one.name}")
                row[one.name] = per_operation(drive, args, one, operation)
                follow.step()
            follow.row(f"{operation}: {row}")
    return results


def main(argv=None):
    """Parse the command line, count, and print the table."""
    if not shutil.which("valgrind"):
        print("skipped: valgrind not found")
        return
    from benchmarks import drive, terminal  # here, since cells do without them

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.callgrind",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    drive.add_options(parser, 1, 0.0)
    parser.set_defaults(cell=CELL)
    parser.set_defaults(rounds=1, seconds=0.0, timeout=120)
    args = parser.parse_args(argv)
    who, machine = drive.start(args)
    results = measure(drive, args, who)
    drive.save(args.out, {"machine": machine, "instructions": results})
    table = terminal.Table(["instructions per operation", *(one.name for one in who)])
    for operation, row in results.items():
        table.add(operation, *(f"{n:,}" if isinstance(n, int) else n for n in row.values()))
    terminal.out().table(table)


if __name__ == "__main__":
    main()
