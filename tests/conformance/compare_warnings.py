#!/usr/bin/env python3
"""Run CPython's asyncio tests in development mode on asyncio's loop and on casyncio's; compare.

Under ``-X dev -W always`` each test's warnings are noted, those of the collector included, and so
are exceptions that could not be raised.  What casyncio's loop has and asyncio's has not is an
error, when it comes a second time; so is a test that fails on casyncio's alone.

  python compare_warnings.py                    everything, some minutes
  python compare_warnings.py -k test_streams    some tests
"""

import argparse
import dataclasses
import re
import sys

from run_cpython_suite import Options, run_suite
from suite_rules import EXCLUSIONS_FILE, load_warnings

# What differs from run to run, or by nothing but a name.
NOISE = (
    (re.compile(r"<.*>", re.DOTALL), "<...>"),
    (re.compile(r"0x[0-9a-f]+|\d+"), "N"),
)


def plain(text):
    """Return a warning without addresses, numbers and the reprs of objects."""
    for pattern, instead in NOISE:
        text = pattern.sub(instead, text)
    return text


@dataclasses.dataclass
class Pair:
    """The reports of the same tests on both loops."""

    stock: object
    ours: object

    def extra(self):
        """Return {test: what casyncio's loop alone brought}; a failure is the first of it."""
        found = {}
        bad, stock_bad = self.ours.bad(), self.stock.bad()
        for test in sorted(self.ours.results):
            known = {plain(text) for text in warnings_of(self.stock, test)}
            new = [text for text in warnings_of(self.ours, test) if plain(text) not in known]
            if test in bad and test not in stock_bad:
                new.insert(0, bad[test])
            if new:
                found[test] = new
        return found


def warnings_of(report, test):
    """Return the warnings of a test; none when it did not run."""
    return report.results.get(test, {}).get("warnings", [])


def run_pair(modules=None, **options):
    """Run tests on both loops; returns a Pair."""
    dev = Options(pyopt=("-Xdev", "-Walways"), warnings=True, **options)
    stock = dataclasses.replace(dev, loop="asyncio:SelectorEventLoop", policy="")
    return Pair(run_suite(stock, modules), run_suite(dev, modules))


def compare(modules=None, **options):
    """Run tests on both; returns the Pair and {test: what came twice, on casyncio's alone}."""
    pair = run_pair(modules, **options)
    found = pair.extra()
    if found:
        again = run_pair(modules, **{**options, "match": tuple(found)}).extra()
        found = {
            test: still
            for test, texts in found.items()
            if (still := both(texts, again.get(test, ())))
        }
    return pair, found


def both(first, second):
    """Return the warnings that came in both rounds."""
    known = {plain(text) for text in second}
    return [text for text in first if plain(text) in known]


def main():
    """Run as the command line says; returns the exit status."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("-k", action="append", default=[], help="only ids that contain this")
    ap.add_argument("-j", type=int, default=2)
    args = ap.parse_args()
    pair, found = compare(match=tuple(f"*{k}*" for k in args.k), jobs=args.j)
    known = load_warnings(EXCLUSIONS_FILE)
    for test, texts in found.items():
        mark = " (excluded)" if test in known else ""
        print(f"{test}{mark}", *texts, sep="\n    ")
    heard = sum(bool(result.get("warnings")) for result in pair.stock.results.values())
    print(
        f"python {sys.version.split()[0]}: {len(pair.ours.results)} tests, {heard} warn on asyncio"
    )
    return 1 if found.keys() - known.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
