"""One child process of the conformance run: lists or runs the tests of one module.

Reads what to do as JSON on standard input and appends one JSON line per event to the file named
there, so that whatever was known when the process died is still there for the parent.
"""

import faulthandler
import gc
import importlib
import json
import signal
import sys
import time
import unittest
import warnings

RANK = ["pass", "skip", "expected_failure", "unexpected_success", "fail", "error"]


class Heard:
    """Warnings that nobody caught, and exceptions that nobody could be told of."""

    def __init__(self):
        self._texts = set()
        warnings.showwarning = self._show
        sys.unraisablehook = self._unraisable

    def _show(self, message, category, *where):
        self._texts.add(f"{category.__name__}: {message}")

    def _unraisable(self, found):
        kind = found.exc_type.__name__
        self._texts.add(f"{found.err_msg or 'Exception ignored in'}: {kind}: {found.exc_value}")

    def take(self):
        """Return what came since the last call, with what only the collector brings out."""
        gc.collect()
        texts, self._texts = sorted(self._texts), set()
        return texts


class Result(unittest.TestResult):
    """Writes an event when a test starts and one when it stops."""

    def __init__(self, plug, emit, heard=None):
        super().__init__()
        self._plug = plug
        self._emit = emit
        self._heard = heard

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
        if self._heard:
            event["warnings"] = self._heard.take()
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

        place, _, name = spec["plug"].partition(":")
        plug = getattr(importlib.import_module(place), name)(spec["opts"])
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
            heard = Heard() if spec["warnings"] else None
            picked.run(Result(plug, emit, heard))
            emit(ev="done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
