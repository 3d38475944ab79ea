"""One measurement in a fresh process: prints one JSON line. The driver starts it with ``-P``.

    python -P cell.py work MODULE:FACTORY WORKLOAD SECONDS
    python -P cell.py describe
    python -P cell.py version MODULE:FACTORY
    python -P cell.py serve MODULE:FACTORY KIND PLACE SIZE
    python -P cell.py client MODULE:FACTORY KIND PLACE SIZE CONNECTIONS SECONDS

Run as a file it is not part of casyncio, which is imported only where it is measured; the folder
of this package is on the path only while the package is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    __package__ = importlib.import_module("_bench").__name__
    del sys.path[0]
from . import harness, peers

harness.load_workloads()


def describe() -> None:
    """Print what a reader must know of this interpreter, and the workloads it can run."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    able = [w.name for w in harness.WORKLOADS.values() if w.able()]
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
    harness.all_descriptors()


def work(loop_spec: str, name: str, seconds: str) -> None:
    """Measure one workload."""
    harness.run_workload(name, loop_spec, float(seconds))


ACTIONS: dict[str, Any] = {
    "work": work,
    "describe": describe,
    "version": version,
    "serve": peers.serve,
    "client": peers.client,
}


def main(argv: list[str]) -> None:
    """Do what the driver asks for."""
    prepare(os.environ.get("BENCH_CPU", ""), os.environ.get("BENCH_REALTIME", ""))
    ACTIONS[argv[0]](*argv[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
