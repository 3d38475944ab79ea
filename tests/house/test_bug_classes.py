"""docs/bug-classes.md: each bug is held by a test that exists."""

import re

import pytest


@pytest.fixture
def rows(root):
    """The rows of the tables, as lists of cells."""
    lines = (root / "docs/bug-classes.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[-1].strip() != "test"]


def test_every_bug_is_held_by_a_test_that_exists(root, rows):
    assert len(rows) > 50
    for bug, _, test in rows:
        match = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", test)
        assert bug and match, test
        text = (root / "tests/unit" / match[1]).read_text()
        assert f"def {match[2]}(" in text, test


def test_no_bug_stands_there_twice(rows):
    assert len({bug for bug, *_ in rows}) == len(rows)
