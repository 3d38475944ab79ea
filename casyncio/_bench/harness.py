"""What all workloads share: their table, and the way in which one of them is measured.

Only the standard library is imported here, since this runs in the interpreter that is measured.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

GROUPS = (
    "programs",
    "callbacks",
    "timers",
    "switching",
    "sync",
    "threads",
    "processes",
    "network",
    "trees",
    "memory",
    "startup",
)
LOWER_IS_BETTER = {"B", "ms"}
REPETITION_S = 0.12
MOST_REPETITIONS = 50


@dataclass(frozen=True)
class Workload:
    """One row of the suite.

    ``function`` is ``async f(loop, n)`` and returns the operations done, or None for ``n``; in
    rows whose unit is ``B`` it returns bytes per object. A plain function is given the loop's
    ``module:factory`` and the seconds to spend instead, and returns the value itself.
    """

    name: str
    group: str
    function: Callable
    unit: str = "op/s"
    start: int = 200  # operations of the first calibration step
    limit: int = 4_000_000  # most operations of one repetition
    shared: bool = False  # uses threads or child processes: never pinned to one CPU
    quick: bool = False  # belongs to the quick suite
    needs: str | None = None  # a name in asyncio without which it cannot run
    module: str | None = None  # a package without which it cannot run
    setup: Callable | None = None  # awaited once before; what it returns is kept alive

    def able(self) -> bool:
        """Whether this interpreter has what the row needs."""
        has_name = not self.needs or hasattr(asyncio, self.needs)
        return has_name and (not self.module or importlib.util.find_spec(self.module) is not None)


WORKLOADS: dict[str, Workload] = {}


def workload(**options) -> Callable:
    """Register the decorated function as a row of the group that its file is named for."""

    def register(function: Callable) -> Callable:
        group = function.__module__.rpartition(".")[2]
        WORKLOADS[function.__name__] = Workload(function.__name__, group, function, **options)
        return function

    return register


def load_workloads() -> dict[str, Workload]:
    """Import every workload file and return the table of rows, in the order of GROUPS."""
    for group in GROUPS:
        importlib.import_module(f".{group}", __package__)
    return WORKLOADS


def loop_factory(spec: str) -> Callable:
    """Return the object that ``module:factory`` names."""
    module, _, attribute = spec.partition(":")
    return getattr(importlib.import_module(module), attribute)


def all_descriptors() -> None:
    """Let this process have as many open files as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def nothing(*_) -> None:
    """Do nothing: the callback whose own cost does not blur the loop's."""


async def noop() -> None:
    """Finish at once: the smallest coroutine."""


async def calibrate(spec: Workload, loop, goal_s: float) -> int:
    """Return how many operations make one repetition of about ``goal_s`` seconds."""
    n = spec.start
    while True:
        began = time.perf_counter()
        await spec.function(loop, n)
        took = time.perf_counter() - began
        if took >= goal_s / 2 or n >= spec.limit:
            return n
        n = min(spec.limit, max(n * 2, int(n * goal_s / max(took, 1e-6) * 0.8)))


async def measure(spec: Workload, seconds: float) -> dict:
    """Measure a coroutine workload on the running loop; the value is the median repetition."""
    loop = asyncio.get_running_loop()
    kept = [await spec.setup(loop)] if spec.setup else []
    if spec.unit == "B":
        return {"value": await spec.function(loop, spec.start), "repetitions": 1}
    n = await calibrate(spec, loop, min(REPETITION_S, seconds / 3))
    rates: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < 3 or (time.perf_counter() < end and len(rates) < MOST_REPETITIONS):
        began = time.perf_counter()
        done = await spec.function(loop, n)
        rates.append((done or n) / (time.perf_counter() - began))
    kept.clear()
    return {"value": statistics.median(rates), "repetitions": len(rates), "operations": n}


def emit(result: dict) -> None:
    """Print the result and leave at once: closing the loop is not what is measured."""
    print(json.dumps(result), flush=True)
    os._exit(0)


def run_workload(name: str, loop_spec: str, seconds: float) -> None:
    """Measure one workload on one loop in this process and print the result."""
    spec = WORKLOADS[name]
    if not inspect.iscoroutinefunction(spec.function):
        emit(spec.function(loop_spec, seconds))
    with asyncio.Runner(loop_factory=loop_factory(loop_spec)) as runner:
        emit(runner.run(measure(spec, seconds)))
