"""What the tests of random programs share: how many there are, and the two traces compared.

CASYNCIO_TRACES=20000 in the environment runs that many of them, others each time; without it they
are few and always the same.
"""

import difflib
import importlib.util
import os
import pathlib
import pprint

import pytest
from hypothesis import HealthCheck, Phase, settings

UNIT = pathlib.Path(__file__).parents[1] / "unit"
WISHED = int(os.environ.get("CASYNCIO_TRACES", "0"))

patient = pytest.mark.timeout(600 + WISHED, method="thread")


def load(name):
    """Return a module of the unit tests, new for each that asks, who may change it."""
    spec = importlib.util.spec_from_file_location(name, UNIT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def limits(count):
    """Return settings for so many programs, or for those wished for."""
    return settings(
        max_examples=WISHED or count,
        derandomize=not WISHED,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=bool(WISHED),
    )


def remembered(play):
    """Return play(program) that is asked once: every backend is compared with the same trace."""
    known = {}

    def trace(program):
        if WISHED:
            return play(program)
        key = repr(program)
        if key not in known:
            known[key] = play(program)
        return known[key]

    return trace


def assert_same_trace(found, expected, program):
    """Check that ours is asyncio's trace; say where it is not, and for which program."""
    changes = "\n".join(difflib.unified_diff(expected, found, "asyncio", "ours", lineterm=""))
    assert found == expected, f"{pprint.pformat(program)}\n{changes}"
