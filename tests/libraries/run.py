"""Run libraries' own tests on asyncio's loop and on casyncio's, and compare.

    python tests/libraries/run.py [--only NAME ...] [--sources DIR] [--folder DIR]

The interpreter that runs this needs pytest, casyncio and pip.  libraries.toml says which tests of
which versions; sources and what they need are fetched from the package index, or taken from
--sources, a folder of unpacked NAME-VERSION.  What only casyncio fails is run once more, on both
loops, and is an error when it fails again only there.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import xml.etree.ElementTree as ET

HERE = pathlib.Path(__file__).parent
LOOPS = ("stock", "casyncio")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


@dataclasses.dataclass
class Library:
    """An entry of libraries.toml."""

    name: str
    version: str
    tests: list
    needs: list = dataclasses.field(default_factory=list)
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
        subprocess.run((*command, library.git, target), check=True)
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


def outcomes(path):
    """Return {test id: outcome} of a JUnit report."""
    found = {}
    for case in ET.parse(path).iter("testcase"):
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        name = f"{case.get('classname')}::{case.get('name')}"
        worst = "passed" if not bad else "skipped" if set(bad) == {"skipped"} else "failed"
        if found.get(name) != "failed":
            found[name] = worst
    return found


def run_tests(library, loop, source, site, report, only=()):
    """Run a library's tests on a loop; return {test id: outcome}."""
    env = {**os.environ, **library.env, "LIBRARIES_LOOP": loop, "LIBRARIES_BEFORE": library.before}
    paths = [HERE, site] if site else [HERE]
    env["PYTHONPATH"] = os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "pytest", "-p", "loop_plug", "-p", "no:cacheprovider", "-q"]
    command += ["-o", "addopts=", "-o", "timeout=120", f"--rootdir={source}"]
    command += [f"--junitxml={report}", *library.options, *library.tests]
    if only:
        names = " or ".join(sorted({test.rpartition("::")[2].partition("[")[0] for test in only}))
        command += ["-k", names]
    report.unlink(missing_ok=True)
    log = report.with_suffix(".txt")
    with open(log, "w") as out:
        subprocess.run(
            command, cwd=source, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    if not report.exists():
        tail = "".join(log.read_text().splitlines(keepends=True)[-20:])
        raise SystemExit(f"{library.title} on {loop}: pytest ended early\n{tail}")
    return outcomes(report)


def only_casyncio_fails(library, results):
    """Return the tests that casyncio fails and stock does not, excluded ones apart."""
    stock, ours = (results[loop] for loop in LOOPS)
    return sorted(
        test
        for test, outcome in ours.items()
        if outcome == "failed" and stock.get(test) != "failed" and not library.reason_against(test)
    )


def compare(library, folder, source, site):
    """Run both, say what came of it, and return the tests that only casyncio fails."""
    start = time.monotonic()
    reports = {loop: folder / "reports" / f"{library.title}-{loop}.xml" for loop in LOOPS}
    results = {loop: run_tests(library, loop, source, site, reports[loop]) for loop in LOOPS}
    bad = only_casyncio_fails(library, results)
    flaky = []
    if bad:
        again = {
            loop: run_tests(
                library, loop, source, site, reports[loop].with_suffix(".again.xml"), bad
            )
            for loop in LOOPS
        }
        still = only_casyncio_fails(library, again)
        flaky = [test for test in bad if test not in still]
        bad = [test for test in bad if test in still]
    counts = []
    for loop in LOOPS:
        values = list(results[loop].values())
        counts.append(f"{loop} {values.count('passed')} passed, {values.count('failed')} failed")
    took = time.monotonic() - start
    print(f"{library.title:20} {'; '.join(counts)}; only casyncio: {len(bad)}  ({took:.0f} s)")
    for test in flaky:
        print(f"    passed when run again: {test}")
    for test in bad:
        print(f"    FAILED only on casyncio: {test}")
    return bad


def main():
    """Run what the command line asks for; the exit status says whether all is well."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], help="names of libraries")
    parser.add_argument("--sources", type=pathlib.Path, help="folder of unpacked sources")
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("build/libraries"))
    parser.add_argument("--installed", action="store_true", help="what is needed is there")
    args = parser.parse_args()
    folder = args.folder.absolute()
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    bad = []
    for library in load_libraries():
        if not args.only or library.name in args.only:
            source = fetch(library, (args.sources or folder).absolute())
            site = None if args.installed else prepare(library, folder)
            bad += compare(library, folder, source, site)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
