"""docs/differences.md: each row has a reason, and a test that exists."""

import re

import pytest


@pytest.fixture
def rows(root):
    """The rows of the tables, as lists of cells."""
    lines = (root / "docs/differences.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    heads = [["casyncio", "asyncio", "why", "test"], ["---"] * 4]
    return [cells for row in rows if (cells := [cell.strip() for cell in row]) not in heads]


def test_every_difference_has_a_reason_and_a_test(rows):
    assert len(rows) > 20
    for row in rows:
        assert len(row) == 4 and all(row), row
        assert re.fullmatch(r"`test_\w+\.py::test_\w+`", row[3]), row


def test_every_test_of_a_difference_exists(root, rows):
    for *_, test in rows:
        file, name = test.strip("`").split("::")
        text = (root / "tests/unit" / file).read_text()
        assert f"def {name}(" in text, f"{file} has no {name}"


def test_no_difference_stands_there_twice(rows):
    tests = [row[3] for row in rows]
    assert len(set(tests)) == len(tests)
