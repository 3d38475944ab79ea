"""Run libraries' own tests on asyncio's loop and on casyncio's, and compare.

    python tests/libraries/run.py [--only NAME ...] [--files WORD ...] [--resume]
                                  [--batch FILES] [--sources DIR] [--folder DIR] [--accelerate]

The interpreter that runs this needs pytest, casyncio and pip.  libraries.toml says which tests of
which versions; sources and what they need are fetched from the package index, or taken from
--sources, a folder of unpacked NAME-VERSION.

A few files of tests run in one process, on one loop and then on the other.  What came of each test
is written down at once: a test that ends the interpreter or is stuck for minutes counts as failed
and the others are run all the same, and --resume goes on where an earlier run was interrupted.
What only casyncio fails is run twice more, on both loops, and is an error when it fails each time
only there.  The last lines are a table, and the exit status is 1 when there is such an error or
when nothing of a library could be run.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib

import loop_plug

HERE = pathlib.Path(__file__).parent
LOOPS = ("stock", "casyncio")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# A test is given this long by pytest-timeout, whose exception a loop may take for a callback's ...
TEST_LIMIT_S = 60
# ... and a process this long for its next test before it is killed.
STUCK_LIMIT_S = 150
# How often a batch is begun again after a test has ended the interpreter.
RESTARTS = 20
AGAIN = 2


@dataclasses.dataclass
class Library:
    """An entry of libraries.toml."""

    name: str
    version: str
    tests: list
    needs: list = dataclasses.field(default_factory=list)
    ignored: list = dataclasses.field(default_factory=list)
    options: list = dataclasses.field(default_factory=list)
    env: dict = dataclasses.field(default_factory=dict)
    before: str = ""
    git: str = ""
    tag: str = ""
    excluded: list = dataclasses.field(default_factory=list)

    @property
    def title(self):
        """Name and version, as the folder of its sources is called."""
        return f"{self.name}-{self.version}"

    def reason_against(self, test):
        """Return why the test is excluded; None when it is not."""
        return next((row["why"] for row in self.excluded if row["test"] in test), None)

    def files(self, source):
        """Return the files of tests, folders searched for them, as paths below the sources."""
        found = []
        for name in self.tests:
            path = source / name
            files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
            found += [str(file.relative_to(source)) for file in files]
        return [name for name in found if not name.startswith(tuple(self.ignored))]


def load_libraries(path=HERE / "libraries.toml"):
    """Return the entries of the data file."""
    with open(path, "rb") as file:
        return [Library(**row) for row in tomllib.load(file)["library"]]


def fetch(library, folder):
    """Return the unpacked sources of a library, fetched into the folder if they are not there."""
    target = folder / library.title
    if target.exists():
        return target
    if library.git:
        command = ("git", "clone", "--quiet", "--depth=1", f"--branch={library.tag}")
        subprocess.run((*command, library.git, target), check=True, timeout=300)
        return target
    wanted = f"{library.name}=={library.version}"
    options = ("--quiet", "--no-deps", "--no-binary", library.name, "--dest", folder)
    subprocess.run((*PIP, "download", *options, wanted), check=True)
    archive = next(folder.glob(f"{library.name}-{library.version}*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return target


def prepare(library, folder):
    """Install a library and what its tests need into a folder of its own; return that."""
    site = folder / "site" / f"{library.title}-{sys.implementation.cache_tag}"
    if not (site / "complete").exists():
        shutil.rmtree(site, ignore_errors=True)
        wanted = (f"{library.name}=={library.version}", "pytest", "pytest-timeout", *library.needs)
        constraints = ("--constraint", str(HERE / "constraints.txt"))
        subprocess.run(
            (*PIP, "install", "--quiet", "--target", site, *constraints, *wanted), check=True
        )
        (site / "complete").touch()
    return site


@dataclasses.dataclass
class Bench:
    """Where a library's tests run, and where what came of them is kept."""

    library: Library
    source: pathlib.Path
    site: pathlib.Path | None
    records: pathlib.Path

    def record(self, files, loop, suffix=""):
        """Return the path of the record of some files of tests on a loop."""
        name = f"{files[0].replace('/', '.')}-{len(files)}-{loop}{suffix}.jsonl"
        return self.records / name

    def command(self, files):
        """Return the command that runs some files of tests."""
        command = [sys.executable, "-P", "-m", "pytest", "-p", "loop_plug"]
        command += ["-p", "no:cacheprovider", "-q", "-o", "addopts="]
        command += ["-o", f"timeout={TEST_LIMIT_S}", f"--rootdir={self.source}"]
        command += ["--continue-on-collection-errors"]
        return [*command, *self.library.options, *files]

    def environment(self, loop, record, only):
        """Return the environment of such a command."""
        paths = filter(None, (HERE, self.site, os.environ.get("PYTHONPATH")))
        env = {**os.environ, **self.library.env, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        env |= {"LIBRARIES_LOOP": loop, "LIBRARIES_BEFORE": self.library.before}
        return env | {"LIBRARIES_RECORD": str(record), "LIBRARIES_ONLY": str(only or "")}

    def run(self, files, loop, suffix="", only=()):
        """Run some files of tests, or some of theirs, on a loop; return {test id: outcome}."""
        record = self.record(files, loop, suffix)
        wanted = None
        if only:
            wanted = record.with_suffix(".only")
            wanted.write_text(json.dumps(list(only)))
        env = self.environment(loop, record, wanted)
        for _ in range(RESTARTS):
            outcomes, ended = loop_plug.read_record(record)
            if ended:
                break
            run_until_stuck(self.command(files), self.source, env, record)
            give_up_on_running(record)
        outcomes, ended = loop_plug.read_record(record)
        if not ended:
            outcomes[f"{files[0]} and so on (never came to its end)"] = "failed"
        return outcomes


def run_until_stuck(command, folder, env, record):
    """Run a command, and end it and its children when the record has not grown for long."""
    with open(record.with_suffix(".txt"), "a") as out:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    grown, size = time.monotonic(), -1
    try:
        while child.poll() is None and time.monotonic() < grown + STUCK_LIMIT_S:
            time.sleep(0.1)
            now = record.stat().st_size if record.exists() else 0
            if now != size:
                grown, size = time.monotonic(), now
    finally:
        end_group(child)


def end_group(child):
    """Kill a process and what it has started and left."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def give_up_on_running(record):
    """Count the test that was running when its process ended as failed."""
    for test, outcome in loop_plug.read_record(record)[0].items():
        if outcome == "running":
            with open(record, "a") as file:
                file.write(json.dumps({"test": test, "outcome": "failed"}) + "\n")


def only_casyncio_fails(library, results):
    """Return the tests that stock does not fail and casyncio does not do as well."""
    stock, ours = (results[loop] for loop in LOOPS)
    fails = {test for test, outcome in ours.items() if outcome == "failed"}
    lacks = {test for test, outcome in stock.items() if outcome == "passed" != ours.get(test)}
    return sorted(
        test
        for test in fails | lacks
        if stock.get(test) != "failed" and not library.reason_against(test)
    )


@dataclasses.dataclass
class Tally:
    """What came of a library, or of some files of its tests."""

    name: str
    files: int = 0
    counts: dict = dataclasses.field(default_factory=dict)
    bad: list = dataclasses.field(default_factory=list)
    flaky: list = dataclasses.field(default_factory=list)
    took_s: float = 0.0

    def add(self, other):
        """Add what came of some files."""
        self.files += other.files
        self.bad += other.bad
        self.flaky += other.flaky
        self.took_s += other.took_s
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count

    def row(self):
        """Return the row of a table."""
        counts = [
            self.counts.get((loop, outcome), 0)
            for loop in LOOPS
            for outcome in ("passed", "failed", "skipped")
        ]
        cells = [self.name, self.files, *counts, len(self.flaky), len(self.bad)]
        return f"| {' | '.join(map(str, cells))} |"


HEADER = """\
| library | files | asyncio passed | failed | skipped | casyncio passed | failed | skipped \
| failed once only on casyncio | fails only on casyncio |
|---|---|---|---|---|---|---|---|---|---|"""


def compare(bench, files):
    """Run some files of tests on both loops; return what came of them."""
    start = time.monotonic()
    results = {loop: bench.run(files, loop) for loop in LOOPS}
    first = bad = only_casyncio_fails(bench.library, results)
    for number in range(AGAIN if bad else 0):
        again = {}
        for loop in LOOPS:
            bench.record(files, loop, f"-again{number}").unlink(missing_ok=True)
            again[loop] = bench.run(files, loop, f"-again{number}", bad)
        bad = [test for test in only_casyncio_fails(bench.library, again) if test in bad]
        if not bad:
            break
    title = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    tally = Tally(title, len(files), bad=bad, flaky=[test for test in first if test not in bad])
    tally.took_s = time.monotonic() - start
    for loop in LOOPS:
        for outcome in results[loop].values():
            tally.counts[loop, outcome] = tally.counts.get((loop, outcome), 0) + 1
    return tally


def say(tally):
    """Print what came of some files of tests."""
    counts = [
        f"{loop} {tally.counts.get((loop, 'passed'), 0)} passed, "
        f"{tally.counts.get((loop, 'failed'), 0)} failed"
        for loop in LOOPS
    ]
    print(f"  {tally.name:48} {'; '.join(counts)}  ({tally.took_s:.0f} s)", flush=True)
    for test in tally.flaky:
        print(f"    passed when run again: {test}", flush=True)
    for test in tally.bad:
        print(f"    FAILED only on casyncio: {test}", flush=True)


def run_library(library, args, folder):
    """Run a library's tests; return what came of them: nothing, when they cannot be had."""
    total = Tally(library.title)
    print(library.title, flush=True)
    try:
        source = fetch(library, (args.sources or folder).absolute())
        site = None if args.installed else prepare(library, folder)
    except subprocess.SubprocessError as error:
        print(f"  cannot be had: {error}", flush=True)
        return total
    records = folder / "records" / f"{library.title}-{sys.implementation.cache_tag}"
    records.mkdir(parents=True, exist_ok=True)
    bench = Bench(library, source, site, records)
    files = library.files(source)
    if args.files:
        files = [file for file in files if any(word in file for word in args.files)]
    for start in range(0, len(files), args.batch):
        batch = files[start : start + args.batch]
        if not args.resume:
            for loop in LOOPS:
                bench.record(batch, loop).unlink(missing_ok=True)
        tally = compare(bench, batch)
        say(tally)
        total.add(tally)
    return total


def read_arguments():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of libraries")
    parser.add_argument("--files", nargs="+", default=[], help="parts of names of files of tests")
    parser.add_argument("--resume", action="store_true", help="tests that were run are not again")
    parser.add_argument("--batch", type=int, default=8, metavar="FILES", help="files in a process")
    parser.add_argument("--sources", type=pathlib.Path, help="folder of unpacked sources")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/libraries"))
    parser.add_argument(
        "--accelerate", action="store_true", help="with casyncio's locks, queues, streams and so on"
    )
    parser.add_argument("--installed", action="store_true", help="what is needed is there")
    return parser.parse_args()


def main():
    """Run what the command line asks for; the exit status says whether all is well."""
    args = read_arguments()
    folder = args.folder.absolute()
    os.environ["LIBRARIES_ACCELERATE"] = str(int(args.accelerate))
    totals = [
        run_library(library, args, folder)
        for library in load_libraries()
        if not args.only or library.name in args.only
    ]
    print(f"\nCPython {sys.version.split()[0]}\n\n{HEADER}")
    for total in totals:
        print(total.row())
    for total in totals:
        for test in total.bad:
            print(f"FAILED only on casyncio: {total.name}: {test}")
    empty = [total.name for total in totals if not total.counts.get(("stock", "passed"))]
    if empty or not totals:
        print(f"NOTHING PASSED on asyncio's loop: {', '.join(empty) or 'no such library'}")
    sys.exit(bool(empty or not totals or any(total.bad for total in totals)))


if __name__ == "__main__":
    main()
