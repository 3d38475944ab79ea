"""How long does a whole process take that imports the loop and runs one coroutine?"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from .harness import workload

PROGRAM = """
import asyncio, importlib, sys
async def main():
    await asyncio.sleep(0)
factory = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""


@workload(unit="ms", shared=True, quick=True)
def startup(loop_spec, seconds):
    """Wall time of the process, the median of some runs."""
    module, _, attribute = loop_spec.partition(":")
    times_ms = []
    for _ in range(10 if seconds >= 0.1 else 3):
        began = time.perf_counter()
        if subprocess.call([sys.executable, "-P", "-c", PROGRAM, module, attribute]):
            sys.exit(1)  # the child has said why
        times_ms.append((time.perf_counter() - began) * 1000)
    return {"value": statistics.median(times_ms), "repetitions": len(times_ms)}
