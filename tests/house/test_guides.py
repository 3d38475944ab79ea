"""The manual speaks of what is there, and its snippets are Python."""

import ast
import asyncio
import importlib
import pathlib
import re
import shlex
import types

import pytest

import casyncio

ROOT = pathlib.Path(__file__).parents[2]
MANUAL = [ROOT / "README.md", ROOT / "benchmarks/README.md", *sorted((ROOT / "docs").glob("*.md"))]
BY_NAME = {"argvalues": MANUAL, "ids": lambda path: str(path.relative_to(ROOT))}
GUIDES = ("docs/tour.md", "docs/adding-a-backend.md", "CONTRIBUTING.md", "benchmarks/README.md")
# Where a reader looks for a file that is named without its folder.
PLACES = (".", "src", "src/backend", "casyncio/_bench", "benchmarks", "tests/unit")
SUFFIXES = "c|h|py|pyi|md|toml|sh|txt"
PYTHONS = {
    name
    for of in (asyncio.AbstractEventLoop, asyncio.TimerHandle, types.CoroutineType)
    for name in dir(of)
}


def named_files(text):
    """Our files that a text names, without those with a placeholder in their name."""
    names = re.findall(rf"`([\w./-]+\.(?:{SUFFIXES}))`", text)
    return [name for name in names if name != "Python.h"]


def named_functions(text):
    """The C functions that a text names; Python's have a dot, or are well-known methods."""
    return [name for name in re.findall(r"`(\w+)\(\)`", text) if name not in PYTHONS]


def defines(path, name):
    """Whether a C file defines a function (house style puts its name first in the line)."""
    return re.search(rf"^{name}\(", path.read_text(), re.M) is not None


def missing_functions(root, text):
    """The functions that are not where a text says.

    A step of an errand names its file first, so that its functions have to be there; elsewhere
    anywhere in src will do.
    """
    everywhere = sorted((root / "src").rglob("*.[ch]"))
    for part in re.split(r"\n\n|\n(?=\d+\. |\| )", text):
        step = re.match(r"\d+\. `", part)
        places = [root / "src" / name for name in named_files(part)] if step else everywhere
        for name in named_functions(part):
            if not any(path.is_file() and defines(path, name) for path in places):
                yield name


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_names_files_that_exist(root, guide):
    names = named_files((root / guide).read_text())
    assert names
    assert [n for n in names if not any((root / p / n).is_file() for p in PLACES)] == []


def test_the_tour_names_functions_where_they_are(root):
    text = (root / "docs/tour.md").read_text()
    assert len(named_functions(text)) >= 10
    assert list(missing_functions(root, text)) == []


def test_a_function_that_has_moved_is_named(root):
    text = "1. `task/step.c`, `ca_loop_turn()`: moved.\n2. `loop/run.c`, `ca_loop_turn()`: here."
    assert list(missing_functions(root, text)) == ["ca_loop_turn"]
    assert list(missing_functions(root, "`ca_loop_turn()` and `no_such_function()`")) == [
        "no_such_function"
    ]


def known(dotted):
    """Whether a dotted name that begins with casyncio is a module, or something in one."""
    thing = casyncio
    for i, name in enumerate(dotted.split(".")[1:], 2):
        if not hasattr(thing, name):
            try:
                importlib.import_module(".".join(dotted.split(".")[:i]))
            except ImportError:
                return False
        thing = getattr(thing, name)
    return True


@pytest.mark.parametrize("path", **BY_NAME)
def test_the_manual_names_what_the_package_has(path):
    names = set(re.findall(r"(?<![\w/.-])casyncio(?:\.\w+)+", path.read_text()))
    # A row for another loop's names, and classes that need gunicorn, have tests of their own.
    names = {name for name in names if not name.startswith("casyncio.gunicorn")}
    if not hasattr(asyncio, "eager_task_factory"):  # it came with Python 3.12
        names.discard("casyncio.eager_task_factory")
    assert sorted(name for name in names if not known(name)) == []


@pytest.mark.parametrize("path", **BY_NAME)
def test_environment_variables_of_the_manual_are_read_somewhere(path):
    sources = [*(ROOT / "casyncio").rglob("*.py"), *(ROOT / "tests/unit").glob("*.py")]
    read = set(re.findall(r"CASYNCIO_[A-Z]+", "".join(p.read_text() for p in sources)))
    assert set(re.findall(r"CASYNCIO_[A-Z]+", path.read_text())) <= read


@pytest.mark.parametrize("path", **BY_NAME)
def test_snippets_of_the_manual_are_python(path):
    for code in re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S):
        compile(code, path.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def launcher_options(command):
    """The options of the launcher itself: those in front of the program, or of ``bench``."""
    words = shlex.split(command.split("#")[0].replace("\u2026", ""))[3:]
    if words[:1] == ["bench"]:
        return [word for word in words if word.startswith("--")]
    ours = []
    while words and words[0].startswith("--"):
        ours.append(words.pop(0))
        if ours[-1] == "--backend":
            words.pop(0)
    return ours


@pytest.mark.parametrize("path", **BY_NAME)
def test_options_in_commands_of_the_manual_exist(path):
    sources = [ROOT / "casyncio/_cli.py", *(ROOT / "casyncio/_bench").glob("*.py")]
    there = set(re.findall(r'"(--[a-z-]+)', "".join(p.read_text() for p in sources)))
    text = path.read_text()
    commands = re.findall(r"`(python -m casyncio[^`]*)`|^    (python -m casyncio.*)$", text, re.M)
    for command in filter(None, (word for found in commands for word in found)):
        assert set(launcher_options(command)) <= there, command
