"""The project's benchmarks: one file per question; ``README.md`` says how to run and read them.

What compares loops inside one process is part of casyncio, ``python -m casyncio bench``; the
programs here share its machinery.  They take it from the folder beside this one, under the name
``_bench``, so that no casyncio is imported but the installed one that is measured.
"""

import importlib
import sys
from pathlib import Path

_SHARED = ("callbacks", "drive", "harness", "peers", "plot", "report", "switching", "terminal")
_FOLDER = str(Path(__file__).resolve().parents[1] / "casyncio")

sys.path.insert(0, _FOLDER)
try:
    importlib.import_module("_bench")
finally:
    sys.path.remove(_FOLDER)


def __getattr__(name):
    if name not in _SHARED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"_bench.{name}")
