"""One measurement in a fresh process: prints one JSON line. The drivers start it with ``-P``.

    python -P benchmarks/cell.py work MODULE:FACTORY WORKLOAD SECONDS
    python -P benchmarks/cell.py describe
    python -P benchmarks/cell.py version MODULE:FACTORY

The repository is on the path only while this package is imported, so that the loop measured is
the installed one and not a source folder of the same name beside us.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import resource
import sys
import sysconfig
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[1])
sys.path.insert(0, ROOT)
from benchmarks import callgrind, harness, latency, peers  # noqa: E402

harness.load_workloads()
sys.path.remove(ROOT)


def describe() -> None:
    """Print what a reader must know of this interpreter, and the workloads it can run."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    able = [w.name for w in harness.WORKLOADS.values() if not w.needs or hasattr(asyncio, w.needs)]
    harness.emit(
        {
            "python": sys.version.split()[0],
            "flags": sysconfig.get_config_var("OPT") or "",
            "pgo": "--enable-optimizations" in options,
            "workloads": able,
        }
    )


def version(loop_spec: str) -> None:
    """Print the version of the loop's package; fails when the factory cannot be imported."""
    harness.loop_factory(loop_spec)
    package = loop_spec.partition(":")[0].partition(".")[0]
    found = getattr(sys.modules[package], "__version__", "?") if package != "asyncio" else "stdlib"
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        found = importlib.metadata.version(package)
    harness.emit({"version": found})


def prepare(cpu: str, realtime: str) -> None:
    """Take the CPU and the scheduling that the driver asks for, and all descriptors allowed."""
    if cpu:
        os.sched_setaffinity(0, {int(cpu)})
    if realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def work(loop_spec: str, name: str, seconds: str) -> None:
    """Measure one workload."""
    harness.run_workload(name, loop_spec, float(seconds))


ACTIONS = {
    "work": work,
    "describe": describe,
    "version": version,
    "latency": latency.cell,
    "has_budget": latency.has_budget,
    "callgrind": callgrind.cell,
    "serve": peers.serve,
    "client": peers.client,
}

if __name__ == "__main__":
    prepare(os.environ.get("BENCH_CPU", ""), os.environ.get("BENCH_REALTIME", ""))
    ACTIONS[sys.argv[1]](*sys.argv[2:])
