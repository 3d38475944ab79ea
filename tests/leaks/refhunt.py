"""Pytest plugin for debug builds of Python: runs each test several times and finds what leaks.

    cd elsewhere; PYTHONPATH=TESTS/leaks python3.14d -m pytest -p refhunt TESTS/unit/test_fd.py

As in ``python -m test -R 40:4``: after rounds to warm up, a test that ends every one of four
rounds with more references than it began with, or more memory blocks, or more descriptors, fails;
if it does so again after many more rounds, because some free lists fill slowly. Most tests show
after a few rounds that they leak nothing.
"""

import array
import gc
import itertools
import os
import pathlib
import shutil
import sys
import tempfile

import pytest
from _pytest.runner import runtestprotocol

WARM_UPS = 6, 40, 200  # free lists of handles and contexts fill up
ROUNDS = 4
WHAT = ("references", "blocks", "descriptors")


def counts():
    """Return references, memory blocks and descriptors, when the garbage is gone."""
    for _ in range(2):
        gc.collect()
    fds = len(os.listdir("/proc/self/fd"))
    return sys.gettotalrefcount(), sys.getallocatedblocks(), fds


def growth(item, warm_up):
    """Run a test again and again; returns its last reports and what grew in each round."""
    seen = array.array("q", bytes(8 * 3 * (warm_up + ROUNDS + 1)))  # grows with nothing
    for turn in range(warm_up + ROUNDS + 1):
        reports = runtestprotocol(item, log=False, nextitem=item.parent)
        if not all(report.passed for report in reports):
            return reports, {}
        del reports
        seen[3 * turn], seen[3 * turn + 1], seen[3 * turn + 2] = counts()
    columns = {name: seen[3 * warm_up + place :: 3] for place, name in enumerate(WHAT)}
    steps = {name: [b - a for a, b in itertools.pairwise(c)] for name, c in columns.items()}
    return runtestprotocol(item, log=False, nextitem=item.parent), steps


@pytest.fixture
def tmp_path():
    """Give a folder that has the same name in each round: of pytest's own the names add up."""
    path = pathlib.Path(tempfile.gettempdir(), f"refhunt-{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def pytest_configure(config):
    """Refuse a Python that does not count."""
    if not hasattr(sys, "gettotalrefcount"):
        raise pytest.UsageError("only debug builds of Python count references")


def pytest_collection_modifyitems(items):
    """Lift the limits of time, which are for one round."""
    for item in items:
        item.add_marker(pytest.mark.timeout(0), append=False)


def pytest_collection_finish():
    """Keep the collector from looking at what was there before: that is most of its work."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Run the test as often as it takes, and tell of it once."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for warm_up in WARM_UPS:
        reports, steps = growth(item, warm_up)
        leaks = {name: grown for name, grown in steps.items() if min(grown) > 0}
        if not leaks:
            break
    item.session._setupstate.teardown_exact(nextitem)
    for report in reports:
        if leaks and report.when == "call":
            report.outcome, report.longrepr = "failed", f"leaks in each round: {leaks}"
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
