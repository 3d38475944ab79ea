"""The guides through the source name files and functions that are there."""

import asyncio
import re

import pytest

GUIDES = ("docs/tour.md", "docs/adding-a-backend.md", "CONTRIBUTING.md", "benchmarks/README.md")
# Where a reader looks for a file that is named without its folder.
PLACES = (".", "src", "src/backend", "casyncio/_bench", "benchmarks", "tests/unit")
SUFFIXES = "c|h|py|pyi|md|toml|sh|txt"
PYTHONS = {*dir(asyncio.AbstractEventLoop), *dir(asyncio.TimerHandle)}


def named_files(text):
    """Our files that a text names, without those with a placeholder in their name."""
    names = re.findall(rf"`([\w./-]+\.(?:{SUFFIXES}))`", text)
    return [name for name in names if name != "Python.h"]


def named_functions(text):
    """The C functions that a text names; Python's have a dot, or belong to asyncio's loop."""
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
