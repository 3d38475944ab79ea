"""Pytest plugin: whatever way a library makes its loop, it gets the one that is tested.

Environment variables say which one (LIBRARIES_LOOP: stock or casyncio), whether asyncio's other
classes are replaced as well (LIBRARIES_ACCELERATE: 1), what Python to run before the tests are
imported (LIBRARIES_BEFORE), and where to write, test by test, what came of them
(LIBRARIES_RECORD: lines of JSON).  A test that the record has already is not run again, so that a
run which was killed can go on; LIBRARIES_ONLY names a file with the ids of the only tests to run.
"""

import json
import os
import signal

RECORD = os.environ.get("LIBRARIES_RECORD")
ONLY = os.environ.get("LIBRARIES_ONLY")
PARTS = []  # how the parts of the running test ended


def plug():
    """Put casyncio's loop in the place of asyncio's, wherever that is looked up."""
    import asyncio
    from asyncio import unix_events

    import casyncio

    casyncio.install(accelerate=os.environ.get("LIBRARIES_ACCELERATE") == "1")
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
            if hasattr(module, name):
                setattr(module, name, casyncio.Loop)


def read_record(path):
    """Return {test id: outcome} of a record and whether its last run came to its end.

    The outcome of a test that began and did not end is "running".
    """
    outcomes, ended = {}, False
    if not os.path.exists(path):
        return outcomes, ended
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            ended = "end" in row
            if not ended:
                outcomes[row["test"]] = row["outcome"]
    return outcomes, ended


def note(**row):
    """Add a line to the record."""
    if RECORD:
        with open(RECORD, "a") as file:
            file.write(json.dumps(row) + "\n")


def pytest_collection_modifyitems(config, items):
    """Leave out what is done, and what was not asked for."""
    done = read_record(RECORD)[0] if RECORD else {}
    wanted = None
    if ONLY:
        with open(ONLY) as file:
            wanted = set(json.load(file))
    chosen = [
        item
        for item in items
        if item.nodeid not in done and (wanted is None or item.nodeid in wanted)
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_collectreport(report):
    """A file that cannot be imported is a test that fails."""
    if report.failed:
        note(test=f"{report.nodeid} (import)", outcome="failed")


def pytest_runtest_logstart(nodeid):
    """Say which test begins: if nothing follows, it has ended the interpreter."""
    note(test=nodeid, outcome="running")
    PARTS[:] = []


def pytest_runtest_logreport(report):
    """Remember how setting a test up, calling it or tearing it down ended."""
    PARTS.append(report.outcome)


def pytest_runtest_logfinish(nodeid):
    """Say how a test ended."""
    worst = min(PARTS, key=("failed", "skipped", "passed").index)
    note(test=nodeid, outcome=worst)


def pytest_sessionfinish(exitstatus):
    """Say that the run was not killed."""
    note(end=int(exitstatus))


if RECORD:
    # What a shell runs in the background ignores it; tests of servers send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ["LIBRARIES_LOOP"] == "casyncio":
        plug()
    exec(os.environ.get("LIBRARIES_BEFORE", ""))
