#!/usr/bin/env python3
"""How late does a busy loop notice a byte on a socket? This settles the poll budget.

    python -m benchmarks.latency
    python -m benchmarks.latency --load chain --budget 8,20 --budget 32,50 --budget 128,200

An outside process sends its clock's reading, waits for the answer, pauses for a random 0.2 to
1.8 ms, and so on. The latency of a message is the time from just before the sender's ``send`` to
the loop's reader callback, which answers. Meanwhile a load keeps the loop from ever being idle:

    idle        none: what the kernel needs to wake the loop
    chain       callbacks in C only, each of which schedules the next: no Python code runs
    tasks       100 tasks that do ``sleep(0)`` for ever
    spin20, spin200, spin2000
                one Python callback after another, each busy for so many microseconds

``--budget TURNS,MICROSECONDS`` (repeatable) sets the poll budget of loops that have one.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import operator
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import harness

BUDGET = "_poll_budget"
CELL = [str(Path(__file__).with_name("cells.py"))]
ENDLESS = 10**15
SENDER = """
import random, socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
answer = b"!"
while answer:
    time.sleep(random.uniform(0.0002, 0.0018))
    sock.send(time.monotonic_ns().to_bytes(8, "little"))
    answer = sock.recv(1)
"""


def load_idle(loop):
    """Do nothing."""
    return lambda: 0


def load_chain(loop):
    """``next(map(call_soon, repeat(step)))``, where step is that very call; repeat counts."""
    step = functools.partial(next, None)
    left = itertools.repeat(step, ENDLESS)
    step.__setstate__((next, (map(loop.call_soon, left),), {}, None))
    step()
    return lambda: ENDLESS - operator.length_hint(left)


def load_tasks(loop):
    """Let 100 tasks give way to each other."""
    count = 0

    async def spin():
        nonlocal count
        while True:
            await asyncio.sleep(0)
            count += 1

    kept = [loop.create_task(spin()) for _ in range(100)]
    return lambda: count + 0 * len(kept)


def load_spin(loop, busy_us):
    """Keep the loop's thread busy for some microseconds in each callback."""
    count = 0
    clock = time.perf_counter_ns

    def step():
        nonlocal count
        end = clock() + busy_us * 1000
        while clock() < end:
            pass
        count += 1
        loop.call_soon(step)

    step()
    return lambda: count


LOADS = {
    "idle": load_idle,
    "chain": load_chain,
    "tasks": load_tasks,
    **{f"spin{us}": functools.partial(load_spin, busy_us=us) for us in (20, 200, 2000)},
}


def connected_pair(transport):
    """Return two connected sockets of the transport's kind."""
    if transport == "socketpair":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours = listener.accept()[0]
    for sock in (ours, theirs):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def answer_messages(loop, sock):
    """Answer each message from a reader callback; return the growing list of latencies in ns."""
    late_ns: list[int] = []
    clock = time.monotonic_ns

    def on_readable():
        sent_ns = int.from_bytes(sock.recv(8), "little")
        late_ns.append(clock() - sent_ns)
        sock.send(b"!")

    sock.setblocking(False)
    loop.add_reader(sock.fileno(), on_readable)
    return late_ns


def start_sender(sock):
    """Start the outside process; when this one is pinned, the other may use the other CPUs."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", SENDER, str(sock.fileno())], pass_fds=[sock.fileno()]
    )
    others = set(range(os.cpu_count())) - os.sched_getaffinity(0)
    if others:
        os.sched_setaffinity(process.pid, others)
    return process


async def listen(load, transport, seconds):
    """Return percentiles of the latency and the load's rate, seen for some seconds."""
    loop = asyncio.get_running_loop()
    ours, theirs = connected_pair(transport)
    late_ns = answer_messages(loop, ours)
    sender = start_sender(theirs)
    theirs.close()
    count = LOADS[load](loop)
    try:
        await asyncio.sleep(0.3)  # until the sender has started
        late_ns.clear()
        before, began = count(), time.perf_counter()
        await asyncio.sleep(seconds)
        done, took = count() - before, time.perf_counter() - began
    finally:
        sender.kill()
        sender.wait()
    return {**percentiles(late_ns), "rate": done / took}


def percentiles(late_ns):
    """Return the latencies' median, 99th percentile and maximum in microseconds."""
    if not late_ns:
        raise RuntimeError("no message was noticed")
    us = sorted(ns / 1000 for ns in late_ns)
    return {
        "p50": statistics.median(us),
        "p99": us[int(0.99 * (len(us) - 1))],
        "max": us[-1],
        "messages": len(us),
    }


def cell(loop_spec, load, transport, seconds, budget):
    """Measure one load on one loop in this process and print the result."""
    with asyncio.Runner(loop_factory=harness.loop_factory(loop_spec)) as runner:
        if budget:
            setattr(runner.get_loop(), BUDGET, tuple(map(int, budget.split(","))))
        harness.emit(runner.run(listen(load, transport, float(seconds))))


def has_budget(loop_spec):
    """Print whether the loop has the knob that --budget sets."""
    loop = harness.loop_factory(loop_spec)()
    harness.emit({"has": hasattr(loop, BUDGET)})


def variants(drive, args, who):
    """Return (contender, budget) pairs: every loop as it is, and each budget on loops with one."""
    able = [
        one
        for one in who
        if args.budget and drive.run_cell(args, "has_budget", one.spec, contender=one)["has"]
    ]
    if args.budget and not able:
        drive.terminal.err().line("no loop here has a poll budget to set")
    return [(one, budget) for one in who for budget in ["", *(args.budget if one in able else [])]]


def measure(drive, args, who):
    """Return results by load, transport and contender: a list with one entry a round."""
    pairs = variants(drive, args, who)
    cases = [(load, transport) for load in args.load or LOADS for transport in args.transport]
    results = {}
    with drive.terminal.Follow(len(pairs) * len(cases) * args.rounds) as follow:
        for case in cases:
            row = results["/".join(case)] = {
                f"{one.name} {budget}".strip(): [] for one, budget in pairs
            }
            for number in range(args.rounds):
                for one, budget in drive.rotated(pairs, number):
                    name = f"{one.name} {budget}".strip()
                    follow.now(f"{'/'.join(case)}: {name}, round {number + 1}")
                    drive.try_cell(
                        args,
                        row[name],
                        "latency",
                        one.spec,
                        *case,
                        args.seconds,
                        budget,
                        contender=one,
                    )
                    follow.step()
            follow.row("/".join(case))
    return results


def texts(case, name, rounds, stock):
    """Return one line of the table: medians over the rounds, but the greatest maximum."""
    good = [r for r in rounds if "p50" in r]
    if not good:
        return [*case.split("/"), name, "fails: " + rounds[0]["failed"]]
    middle = {key: statistics.median(r[key] for r in good) for key in ("p50", "p99", "rate")}
    pairs = [
        mine["rate"] / theirs["rate"]
        for mine, theirs in zip(rounds, stock, strict=False)
        if mine.get("rate") and theirs.get("rate")
    ]
    return [
        *case.split("/"),
        name,
        f"{middle['p50']:.0f}",
        f"{middle['p99']:.0f}",
        f"{max(r['max'] for r in good):.0f}",
        str(sum(r["messages"] for r in good)),
        f"{middle['rate']:,.0f}" if middle["rate"] else "",
        f"×{statistics.median(pairs):.2f}" if pairs else "",
    ]


def show(results):
    """Print the table of results."""
    from benchmarks import terminal

    columns = "load,transport,loop,p50 µs,p99 µs,max µs,messages,load/s,load to stock"
    table = terminal.Table(columns.split(","))
    for case, row in results.items():
        stock = row.get("asyncio", [{}])
        for name, rounds in row.items():
            table.add(*texts(case, name, rounds, stock))
    terminal.out().table(table)


def main(argv=None):
    """Parse the command line, measure, and print the table."""
    from benchmarks import drive, report  # here, since cells do without them

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--load", action="append", choices=LOADS, help="repeatable; default: all")
    parser.add_argument(
        "--transport", nargs="+", choices=["socketpair", "tcp"], default=["socketpair", "tcp"]
    )
    parser.add_argument("--budget", action="append", metavar="TURNS,MICROSECONDS")
    drive.add_options(parser, 3, 1.0)
    parser.set_defaults(cell=CELL)
    args = parser.parse_args(argv)
    args.rounds, args.seconds = args.rounds or 3, args.seconds or 1.0
    who, machine = drive.start(args)
    results = measure(drive, args, who)
    drive.save(args.out, {"machine": machine, "latency": results})
    print(report.machine_text(machine))
    show(results)


if __name__ == "__main__":
    main()
