"""The data files of the conformance run: kinds.toml and exclusions.toml; uvloop.toml has both.

``kinds.toml`` sorts CPython's tests by what they need of a loop; it is the same for any loop.
``exclusions.toml`` names the tests that casyncio does not pass, each with its reason.
"""

import fnmatch
import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).parent
KINDS_FILE = HERE / "kinds.toml"
EXCLUSIONS_FILE = HERE / "exclusions.toml"
KINDS = ("required", "patch", "internal", "duplicate", "objects", "platform")
UVLOOP_KINDS = ("required", "stock", "platform", "internal", "waits")
PREFIX = "test.test_asyncio."
UVLOOP_PREFIX = "tests."
COMPARE = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}


class RulesError(Exception):
    """A data file says something that cannot be meant."""


def short(test_id):
    """Return the id below ``test.test_asyncio``, or uvloop's ``tests``, as data files write it."""
    return test_id.removeprefix(PREFIX).removeprefix(UVLOOP_PREFIX)


def applies(rule, version=sys.version_info[:2]):
    """Tell whether the rule's ``py`` (as ``>=3.12, <3.14``) covers the Python version."""
    for term in rule.get("py", "").replace(",", " ").split():
        found = re.fullmatch(r"(>=|<=|==|<|>)(\d+)\.(\d+)", term)
        if not found:
            raise RulesError(f"cannot read the version {term!r}")
        if not COMPARE[found[1]](version, (int(found[2]), int(found[3]))):
            return False
    return True


def _load(path, table, wanted, optional):
    entries = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8")).get(table, [])
    for entry in entries:
        missing, unknown = wanted - entry.keys(), entry.keys() - wanted - optional
        if missing or unknown:
            raise RulesError(f"{path}: {entry}: missing {missing}, unknown {unknown}")
        if not entry["why"].strip():
            raise RulesError(f"{path}: {entry}: no reason given")
        applies(entry)
    return entries


def load_kinds(path=KINDS_FILE, kinds=KINDS):
    """Read the rules that give a test its kind; the first match wins."""
    rules = _load(path, "rule", {"match", "kind", "why"}, {"py"})
    for rule in rules:
        if rule["kind"] not in kinds:
            raise RulesError(f"{path}: unknown kind {rule['kind']!r}")
    return rules


def load_exclusions(path=EXCLUSIONS_FILE, backend=None, version=sys.version_info[:2]):
    """Read the excluded tests that hold for the Python and the backend: a dict of id to reason."""
    entries = _load(path, "exclusion", {"test", "why"}, {"py", "backend"})
    return {
        entry["test"]: entry["why"]
        for entry in entries
        if applies(entry, version) and entry.get("backend", backend) == backend
    }


def load_warnings(path=EXCLUSIONS_FILE, version=sys.version_info[:2]):
    """Read the tests that warn on casyncio alone, for the Python: a dict of id to reason."""
    entries = _load(path, "warning", {"test", "why"}, {"py"})
    return {entry["test"]: entry["why"] for entry in entries if applies(entry, version)}


def kind_of(test_id, rules):
    """Return the kind of a test: that of the first rule that matches, else ``required``."""
    for rule in rules:
        patterns = rule["match"]
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if fnmatch.fnmatchcase(short(test_id), pattern) and applies(rule):
                return rule["kind"]
    return "required"
