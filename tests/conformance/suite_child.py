"""One child process of the conformance run: lists or runs the tests of one module.

Reads what to do as JSON on standard input and appends one JSON line per event to the file named
there, so that whatever was known when the process died is still there for the parent.
"""

import faulthandler
import json
import signal
import sys
import time
import unittest

from suite_plug import Plug

RANK = ["pass", "skip", "expected_failure", "unexpected_success", "fail", "error"]


class Result(unittest.TestResult):
    """Writes an event when a test starts and one when it stops."""

    def __init__(self, plug, emit):
        super().__init__()
        self._plug = plug
        self._emit = emit

    def startTest(self, test):
        """Note what is about to run: the last test started is the one that a crash costs."""
        super().startTest(test)
        self._out, self._text = "pass", ""
        self._begin = time.perf_counter()
        self._plug.made = 0
        self._plug.touched.clear()
        self._emit(ev="start", id=test.id())

    def stopTest(self, test):
        """Note how the test ended."""
        event = {
            "ev": "stop",
            "id": test.id(),
            "out": self._out,
            "text": self._text,
            "sec": round(time.perf_counter() - self._begin, 4),
            "loops": self._plug.made,
        }
        if self._plug.touched:
            event["touched"] = sorted(self._plug.touched)
        self._emit(**event)
        super().stopTest(test)

    def _set(self, out, text):
        if RANK.index(out) > RANK.index(self._out):
            self._out = out
        if text:
            self._text = (self._text + "\n" + text)[-6000:]

    def _test_or_fixture(self, test, out, text):
        if isinstance(test, unittest.TestCase):
            self._set(out, text)
        else:  # setUpModule, setUpClass and the like
            self._emit(ev="fixture", id=test.id(), out=out, text=text)

    def addError(self, test, err):
        """Record an unexpected exception."""
        self._test_or_fixture(test, "error", self._exc_info_to_string(err, test))

    def addFailure(self, test, err):
        """Record a failed assertion."""
        self._test_or_fixture(test, "fail", self._exc_info_to_string(err, test))

    def addSkip(self, test, reason):
        """Record a skip and its reason."""
        self._test_or_fixture(test, "skip", reason)

    def addExpectedFailure(self, test, err):
        """Record a failure that the test announces."""
        self._set("expected_failure", "")

    def addUnexpectedSuccess(self, test):
        """Record the success of a test that announces failure."""
        self._set("unexpected_success", "")

    def addSubTest(self, test, subtest, err):
        """Record a failed subtest as the test's own failure."""
        if err is not None:
            out = "fail" if issubclass(err[0], test.failureException) else "error"
            self._set(out, f"{subtest}\n{self._exc_info_to_string(err, test)}")


def flatten(suite):
    """Yield the test cases of nested suites in order."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flatten(test)
        elif test is not None:
            yield test


def main():
    """Do what standard input says."""
    spec = json.load(sys.stdin)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=False)
    # A shell's background job ignores SIGINT and hands that down; the tests need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(spec["events"], "a", buffering=1, encoding="utf-8") as log:

        def emit(**event):
            log.write(json.dumps(event) + "\n")

        plug = Plug(spec["opts"])
        emit(ev="plug", loop=plug.description)
        loader = unittest.defaultTestLoader
        suite = loader.loadTestsFromName(spec["module"])
        if loader.errors:
            emit(ev="import_error", text="\n".join(map(str, loader.errors)))
            return 3
        plug.adapt(sys.modules[spec["module"]])
        tests = list(flatten(suite))
        emit(ev="list", ids=[test.id() for test in tests])
        if spec["ids"] is not None:
            wanted = set(spec["ids"])
            picked = unittest.TestSuite(test for test in tests if test.id() in wanted)
            picked.run(Result(plug, emit))
            emit(ev="done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
