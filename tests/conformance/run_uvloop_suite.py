#!/usr/bin/env python3
"""Run uvloop's own tests on casyncio (or on another loop, to compare).

The tests come from uvloop's source distribution, which pip fetches; nothing is copied, and uvloop
itself is neither built nor used: casyncio stands in for it, by its alias.  As with CPython's suite,
each module runs in a child process, and bad tests run again once, alone.

  python run_uvloop_suite.py                                    all, fetched if need be
  python run_uvloop_suite.py --source DIR -k test_udp --show    some, from an unpacked sdist
  python run_uvloop_suite.py --loop asyncio:SelectorEventLoop   stock

uvloop.toml says what is not run, and what casyncio does not pass.  Exit status: 0 when nothing
failed beyond that, and nothing there is stale.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

from run_cpython_suite import Options, print_report, run_suite
from suite_rules import HERE, UVLOOP_KINDS, UVLOOP_PREFIX, load_exclusions, load_kinds

VERSION = "0.23.0"
TITLE = f"uvloop-{VERSION}"
DATA = HERE / "uvloop.toml"
# What the tests need besides: without it whole files of them cannot be imported.
NEEDS = ("OpenSSL", "aiohttp", "psutil")


class CannotFetch(Exception):
    """pip did not bring uvloop's sources; the message says why."""


def fetch(folder):
    """Return the folder of uvloop's unpacked sources, below the given one; pip brings them."""
    folder = pathlib.Path(folder)
    target = folder / TITLE
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder) as place:
                unpacked = download(pathlib.Path(place))
                # Others may be fetching, too: who comes second finds it done.
                if not target.exists():
                    unpacked.rename(target)
        except OSError as error:
            if not target.exists():
                raise CannotFetch(str(error)) from error
    return target


def download(place):
    """Fetch and unpack uvloop's source distribution; returns the folder of its contents."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", "--no-binary", "uvloop", "--dest", str(place), f"uvloop=={VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    except subprocess.TimeoutExpired:
        raise CannotFetch("pip took longer than four minutes") from None
    if done.returncode:
        last = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise CannotFetch(f"pip could not download {TITLE}: {last}")
    with tarfile.open(next(place.glob("*.tar.gz"))) as archive:
        archive.extractall(place, filter="data")
    return place / TITLE


def modules_of(source):
    """Return the names of uvloop's test modules."""
    return sorted(UVLOOP_PREFIX + path.stem for path in (source / "tests").glob("test_*.py"))


def run_uvloop_suite(source, env=None, **options):
    """Run uvloop's tests, unpacked in a folder; returns a Report."""
    return run_suite(
        Options(
            kinds=("required",),
            path=(str(HERE / "uvloop_shim"), str(source)),
            env={"UVLOOP_SOURCE": str(source), **(env or {})},
            plug="uvloop_plug:Plug",
            rules=tuple(load_kinds(DATA, UVLOOP_KINDS)),
            **options,
        ),
        modules_of(source),
    )


def main():
    """Run as the command line says; returns the exit status."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--source", type=pathlib.Path, help=f"an unpacked {TITLE}")
    ap.add_argument("--folder", default="build/uvloop", help="where to fetch it to")
    ap.add_argument("--loop", default="casyncio:new_event_loop")
    ap.add_argument("--backend", help="sets CASYNCIO_BACKEND")
    ap.add_argument("-k", action="append", default=[], help="only ids that contain this")
    ap.add_argument("-j", type=int, default=2)
    ap.add_argument("--timeout", type=float, default=90.0, help="seconds per test")
    ap.add_argument("--show", action="store_true", help="print tracebacks")
    args = ap.parse_args()
    try:
        source = (args.source or fetch(args.folder)).absolute()
    except CannotFetch as error:
        print(f"skipped: {error}")
        return 0
    report = run_uvloop_suite(
        source,
        loop=args.loop,
        match=tuple(f"*{k}*" for k in args.k),
        jobs=args.j,
        timeout=args.timeout,
        env={"CASYNCIO_BACKEND": args.backend} if args.backend else None,
    )
    backend = args.backend or os.environ.get("CASYNCIO_BACKEND", "epoll")
    excluded = load_exclusions(DATA, backend)
    stale = report.stale(excluded)
    print_report(report, excluded, stale, args.show)
    return 1 if report.bad(excluded) or stale or report.notes else 0


if __name__ == "__main__":
    sys.exit(main())
