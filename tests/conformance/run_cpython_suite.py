#!/usr/bin/env python3
"""Run CPython's own test_asyncio on casyncio (or on another loop, to compare).

The tests come from the installation of the interpreter that runs this script; nothing is copied
and no installed file is edited.  Each test module runs in a child process: a crash or a hang
costs one test, and a new child goes on with the rest.  Bad tests run again once, alone; a later
pass is reported as flaky.

  python run_cpython_suite.py                                what the test suite runs
  python run_cpython_suite.py --loop asyncio:SelectorEventLoop --policy ""      stock
  python run_cpython_suite.py -k test_streams -v --show      some tests, with tracebacks
  python run_cpython_suite.py --list                         the kind of every test
  python run_cpython_suite.py --loop asyncio:SelectorEventLoop --policy "" --kinds all \\
      --audit --json audit.json                              how kinds.toml was found

Exit status: 0 when nothing failed beyond exclusions.toml and no exclusion is stale.
"""

import argparse
import collections
import contextlib
import dataclasses
import fnmatch
import importlib.util
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

from suite_rules import PREFIX, kind_of, load_exclusions, load_kinds, short

HERE = pathlib.Path(__file__).parent
BAD = ("fail", "error", "crash", "timeout", "unexpected_success")
# Modules outside test_asyncio that run real loops; each Python has one of the two last names.
EXTRA = (
    "test.test_asyncgen",
    "test.test_contextlib_async",
    "test.test_coroutines",
    "unittest.test.test_async_case",
    "test.test_unittest.test_async_case",
)


@dataclasses.dataclass
class Options:
    """What to run, on what."""

    loop: str = "casyncio:new_event_loop"
    policy: str = "casyncio:EventLoopPolicy"
    task: str = ""
    future: str = ""
    replace: tuple = ()  # "module:name=module:name", each
    kinds: tuple = ("required", "patch")
    match: tuple = ()
    jobs: int = 2
    timeout: float = 60.0
    retries: int = 1
    audit: bool = False
    path: tuple = ()
    pyopt: tuple = ()
    env: dict = dataclasses.field(default_factory=dict)
    on_result: object = None
    plug: str = "suite_plug:Plug"  # what puts the loop under the tests, in the child
    rules: tuple | None = None  # the kinds of tests; None: those of kinds.toml
    warnings: bool = False  # note the warnings of each test


@dataclasses.dataclass
class Report:
    """What a run found; ids are short, results are the children's stop events."""

    results: dict = dataclasses.field(default_factory=dict)
    kinds: dict = dataclasses.field(default_factory=dict)
    flaky: dict = dataclasses.field(default_factory=dict)
    notes: list = dataclasses.field(default_factory=list)
    loops: set = dataclasses.field(default_factory=set)
    seconds: float = 0.0

    def bad(self, excluded=()):
        """Return the failed tests that are not excluded: id to the last line of the failure."""
        return {
            test: f"{result['out']}: {last_line(result['text'])}"
            for test, result in sorted(self.results.items())
            if result["out"] in BAD and test not in excluded
        }

    def stale(self, excluded):
        """Return the excluded tests that pass, or that no longer exist."""
        return sorted(
            test
            for test in excluded
            if test not in self.kinds
            or (test in self.results and self.results[test]["out"] not in BAD)
        )

    def exercised(self):
        """Return how many tests made at least one loop through the plug."""
        return sum(1 for result in self.results.values() if result["loops"])


def last_line(text):
    """Return the last line of a traceback that is not blank."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


class Child:
    """One run of suite_child.py over some tests of one module."""

    def __init__(self, options, directory, module, ids):
        self.options = options
        self.events_file = pathlib.Path(directory, "events.jsonl")
        self.log_file = pathlib.Path(directory, "log")
        self.ended = self._run(module, ids, tempfile.mkdtemp(dir=directory))
        self.events = []
        for line in self.events_file.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # the last line of a crash may be cut
                self.events.append(json.loads(line))

    def _run(self, module, ids, work):
        options = self.options
        self.events_file.touch()
        env = {**os.environ, **options.env, "PYTHONDONTWRITEBYTECODE": "1"}
        paths = [*options.path, env.get("PYTHONPATH", "")]
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, filter(None, paths)))
        names = ("loop", "policy", "task", "future", "replace")
        opts = {name: getattr(options, name) for name in names}
        spec = {
            "plug": options.plug,
            "opts": {**opts, "audit": options.audit},
            "warnings": options.warnings,
            "module": module,
            "ids": ids,
            "events": str(self.events_file),
        }
        with self.log_file.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *options.pyopt, HERE / "suite_child.py"],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=work,
                start_new_session=True,
            )
            with process.stdin as pipe:
                pipe.write(json.dumps(spec).encode())
            return self._watch(process)

    def _watch(self, process):
        """Wait for the child; kill it when its event file stops growing."""
        size, since = -1, time.monotonic()
        while True:
            try:
                return process.wait(0.05)
            except subprocess.TimeoutExpired:
                now = self.events_file.stat().st_size
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > self.options.timeout:
                process.send_signal(signal.SIGUSR1)  # the child dumps its stacks into the log
                time.sleep(0.5)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return "timeout"

    def find(self, kind):
        """Return the first event of a kind, or None."""
        return next((event for event in self.events if event["ev"] == kind), None)

    def log(self, length):
        """Return the end of what the child printed."""
        return self.log_file.read_text(errors="replace")[-length:]


class Runner:
    """Runs modules in children and gathers what they report."""

    def __init__(self, options, directory):
        self.options = options
        self.report = Report()
        self.count = 0
        self.directory = directory
        self.lock = threading.Lock()

    def child(self, module, ids):
        """Start a child and wait for it."""
        with self.lock:
            self.count += 1
            place = pathlib.Path(self.directory, f"{self.count:04}-{module}")
        place.mkdir()
        child = Child(self.options, place, module, ids)
        plug = child.find("plug")
        if plug:
            self.report.loops.add(plug["loop"])
        return child

    def list_module(self, module):
        """Return the ids of a module's tests; none when it skips itself as a whole."""
        child = self.child(module, None)
        listed, failed = child.find("list"), child.find("import_error")
        if listed:
            return listed["ids"]
        text = failed["text"] if failed else child.log(800)
        if "SkipTest" not in text:
            self.note(f"{module}: cannot be listed ({child.ended}): {last_line(text)}")
        return []

    def run_module(self, module, ids):
        """Run tests of a module, with a new child after each crash or hang."""
        left = list(ids)
        while left:
            child = self.child(module, left)
            done, broken_off = self._read(child, left)
            clean = child.find("done") is not None
            if broken_off:
                out = "timeout" if child.ended == "timeout" else "crash"
                self.put(broken_off, out, child.log(3000))
                done.add(broken_off)
            elif not clean:
                last = last_line(child.log(800))
                self.note(f"{module}: child ended with {child.ended} outside a test: {last}")
            elif child.ended != 0:
                self.note(f"{module}: all tests ran, then the child ended with {child.ended}")
            rest = [test for test in left if test not in done]
            if clean or len(rest) == len(left):
                for test in rest:
                    self.put(test, "error", "never ran")
                return
            left = rest

    def _read(self, child, left):
        """Store the child's results; returns the tests it settled and the one it died in."""
        running, done = None, set()
        for event in child.events:
            if event["ev"] == "start":
                running = event["id"]
            elif event["ev"] == "stop":
                self.store(event)
                done.add(event["id"])
                running = None
            elif event["ev"] == "fixture":
                found = re.search(r"\((.*)\)", event["id"])
                inside = (found[1] if found else "") + "."
                for test in left:
                    if test.startswith(inside) and test not in done:
                        self.put(test, event["out"], f"{event['id']}\n{event['text']}")
                        done.add(test)
        return done, running

    def put(self, test, out, text):
        """Store a result that no stop event tells."""
        self.store({"id": test, "out": out, "text": text, "sec": 0, "loops": 0})

    def store(self, event):
        """Store a result, and hand it to whoever watches."""
        result = {key: value for key, value in event.items() if key not in ("ev", "id")}
        with self.lock:
            self.report.results[short(event["id"])] = result
            if self.options.on_result:
                self.options.on_result(short(event["id"]), result)

    def note(self, text):
        """Store something that went wrong outside a test."""
        with self.lock:
            self.report.notes.append(text)


def modules_of_suite():
    """Return the names of all test modules to run."""
    import test.test_asyncio as package

    names = sorted(os.listdir(os.path.dirname(package.__file__)))
    found = [n[:-3] for n in names if n.startswith("test_") and n.endswith(".py")]
    return [PREFIX + name for name in found] + [name for name in EXTRA if is_installed(name)]


def is_installed(module):
    """Tell whether a module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is missing
        return False


def choose(runner, modules):
    """List the modules; returns the tests to run by module, the longest module first."""
    options = runner.options
    rules = load_kinds() if options.rules is None else options.rules
    jobs = []
    for module in modules:
        if kind_of(module + ".__all__", rules) == "platform":
            continue
        ids = runner.list_module(module)
        kinds = {test: kind_of(test, rules) for test in ids}
        runner.report.kinds.update((short(test), kind) for test, kind in kinds.items())
        chosen = [
            test
            for test in ids
            if (kinds[test] in options.kinds or "all" in options.kinds)
            and (not options.match or any(fnmatch.fnmatch(short(test), m) for m in options.match))
        ]
        if chosen:
            jobs.append((module, chosen))
    return sorted(jobs, key=lambda job: -len(job[1]))


def run_jobs(runner, jobs):
    """Run the modules, several at a time."""
    todo, lock = iter(jobs), threading.Lock()

    def worker():
        while True:
            with lock:
                job = next(todo, None)
            if job is None:
                return
            runner.run_module(*job)

    threads = [threading.Thread(target=worker) for _ in range(runner.options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run_again(runner, jobs):
    """Run the bad tests once more, one module at a time; later passes are flaky."""
    before = runner.report.bad()
    if len(before) > 300:
        return
    for module, ids in jobs:
        again = [test for test in ids if short(test) in before]
        if again:
            runner.run_module(module, again)
    now = runner.report.bad()
    for test, why in before.items():
        if test not in now:
            runner.report.flaky[test] = why


def run_suite(options, modules=None, list_only=False):
    """Run the suite; returns a Report."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cpython-suite-") as directory:
        runner = Runner(options, directory)
        jobs = choose(runner, modules or modules_of_suite())
        if not list_only:
            run_jobs(runner, jobs)
            for _ in range(options.retries):
                run_again(runner, jobs)
    runner.report.seconds = time.monotonic() - begin
    return runner.report


def parse_arguments():
    """Read the command line."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    defaults = Options()
    ap.add_argument("--loop", default=defaults.loop)
    ap.add_argument("--policy", default=defaults.policy)
    ap.add_argument("--task", default="")
    ap.add_argument("--future", default="")
    ap.add_argument(
        "--replace",
        action="append",
        default=[],
        help="as asyncio:StreamReader=casyncio:StreamReader",
    )
    ap.add_argument("--backend", help="sets CASYNCIO_BACKEND and selects the exclusions")
    ap.add_argument("--kinds", default=",".join(defaults.kinds), help="comma list, or all")
    ap.add_argument("-k", action="append", default=[], help="only ids that match this pattern")
    ap.add_argument("-j", type=int, default=defaults.jobs)
    ap.add_argument("--timeout", type=float, default=defaults.timeout, help="seconds per test")
    ap.add_argument("--retries", type=int, default=defaults.retries)
    ap.add_argument("--path", action="append", default=[], help="put first on PYTHONPATH")
    ap.add_argument("--pyopt", action="append", default=[], help="as --pyopt=-Xdev")
    ap.add_argument("--audit", action="store_true", help="record private names that tests touch")
    ap.add_argument("--json", help="write every result here")
    ap.add_argument("--list", action="store_true", help="only print the kind of every test")
    ap.add_argument("--show", action="store_true", help="print tracebacks")
    ap.add_argument("-v", "--verbose", action="store_true", help="print every result")
    return ap.parse_args()


def print_report(report, excluded, stale, show):
    """Print what is not as it should be, and the figures."""
    for test, why in report.bad().items():
        mark = " (excluded)" if test in excluded else ""
        print(f"  {test}{mark}: {why[:150]}")
        if show:
            print("    " + report.results[test]["text"].replace("\n", "\n    "))
    for test, why in report.flaky.items():
        print(f"  flaky: {test}: {why[:150]}")
    for test in stale:
        print(f"  stale exclusion: {test}")
    for note in report.notes:
        print(f"  note: {note}")
    outs = collections.Counter(result["out"] for result in report.results.values())
    print(
        f"python {sys.version.split()[0]}, {', '.join(report.loops)}: ran {len(report.results)} "
        f"({report.exercised()} made a loop) in {report.seconds:.0f} s: {dict(outs)}"
    )


def main():
    """Run as the command line says; returns the exit status."""
    args = parse_arguments()
    match = tuple(k if any(c in k for c in "*?[") else f"*{k}*" for k in args.k)

    def on_result(test, result):
        if args.verbose or result["out"] in BAD:
            print(f"{result['out']:9} {test}", flush=True)

    options = Options(
        loop=args.loop,
        policy=args.policy,
        task=args.task,
        future=args.future,
        replace=tuple(args.replace),
        kinds=tuple(args.kinds.split(",")),
        match=match,
        jobs=args.j,
        timeout=args.timeout,
        retries=args.retries,
        audit=args.audit,
        path=tuple(args.path),
        pyopt=tuple(args.pyopt),
        env={"CASYNCIO_BACKEND": args.backend} if args.backend else {},
        on_result=on_result,
    )
    report = run_suite(options, list_only=args.list)
    if args.list:
        for test, kind in report.kinds.items():
            print(kind, test)
        return 0
    backend = args.backend or os.environ.get("CASYNCIO_BACKEND", "epoll")
    excluded = load_exclusions(backend=backend)
    stale = report.stale(excluded)
    print_report(report, excluded, stale, args.show)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            data = dataclasses.asdict(report)
            json.dump(dict(data, loops=sorted(report.loops)), f, indent=1, sort_keys=True)
    return 1 if report.bad(excluded) or stale or report.notes else 0


if __name__ == "__main__":
    sys.exit(main())
