"""README's tables are what ``make figures`` writes, and hide no lost row."""

import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT))
try:
    from benchmarks import figures, harness, netrows
finally:
    sys.path.remove(str(ROOT))

README = (ROOT / "README.md").read_text()
MACHINE = {
    "date": "2026-01-02 03:04 UTC",
    "python": "3.13.0",
    "pgo": True,
    "cpu": "2 x Quick",
    "realtime": True,
    "rounds": 3,
    "loops": {
        "asyncio": "stdlib",
        "uvloop": "0.23.0",
        "casyncio": "0.1.0",
        "casyncio-acc": "0.1.0",
    },
}


def row(unit="op/s", **cells):
    """A row as the benchmarks save it, from the values of each loop's rounds."""
    names = {"c_epoll": "C epoll", "acc": "casyncio-acc"}
    return {
        "group": "x",
        "unit": unit,
        "cells": {
            names.get(who, who): [{"value": v} if v else {"failed": "boom"} for v in values]
            for who, values in cells.items()
        },
    }


def section(name):
    """The lines of a section of README: [cells of each row]."""
    (text,) = re.findall(rf"<!-- figures: {name} -->\n(.*?)<!-- end -->", README, re.S)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def ratio(cell):
    """The ratio in a cell; stock is its own measure, and what did not run has none."""
    found = re.match(r"×([\d.]+)", cell)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize("name", figures.SECTIONS)
def test_the_rows_of_a_section_are_rows_of_its_benchmark(name):
    rows = netrows.ROWS if name == "servers" else harness.load_workloads()
    assert set(figures.SECTIONS[name].rows) <= set(rows)


@pytest.mark.parametrize("name", figures.SECTIONS)
def test_readme_has_the_rows_and_columns_of_a_section(name):
    head, _, *rows = section(name)
    wanted = figures.SECTIONS[name]
    assert head[1:] == [figures.HEADINGS.get(who, who) for who in wanted.columns]
    assert [row[0] for row in rows] == list(wanted.rows.values())
    assert f'make figures ARGS="--only {name}"' in README


@pytest.mark.parametrize("name", figures.SECTIONS)
def test_readme_marks_what_casyncio_loses(name):
    head, _, *rows = section(name)
    for cells in rows:
        best = max([1.0, *(ratio(cells[head.index(who)]) for who in ("uvloop", "rloop"))])
        for who in {"casyncio", "with `accelerate`"} & set(head):
            cell = cells[head.index(who)]
            assert ratio(cell) >= best or "▼" in cell, cells


def test_a_row_that_is_lost_or_in_doubt_is_marked():
    lost = row(asyncio=[100, 100], uvloop=[200, 220], casyncio=[150, 150])
    assert figures.cell(lost, "casyncio") == "×1.50 ▼"
    doubt = row(asyncio=[100, 100, 100], uvloop=[200, 200, 200], casyncio=[210, 190, 220])
    assert figures.cell(doubt, "casyncio") == "×2.1 ?"
    shown_less = row(asyncio=[100, 50, 100], uvloop=[180, 100, 200], casyncio=[170, 110, 210])
    shown_less["cells"]["casyncio"][1] = {"failed": "boom"}
    assert figures.cell(shown_less, "casyncio") == "×1.90 ▼ ?"
    led = row(asyncio=[100], uvloop=[200], casyncio=[400], acc=[800], c_epoll=[900])
    assert [figures.cell(led, who) for who in led["cells"]] == [
        "100", "×2.0", "×4.0", "×8.0", "×9.0"
    ]  # fmt: skip
    slower_than_stock = row(asyncio=[100], uvloop=[None], casyncio=[80])
    assert figures.cell(slower_than_stock, "casyncio") == "×0.80 ▼"
    assert figures.cell(slower_than_stock, "uvloop") == "fails"


def test_small_values_are_good_where_the_unit_says_so():
    memory = row("B", asyncio=[200], uvloop=[100], casyncio=[50])
    assert figures.cell(memory, "asyncio") == "200 B"
    assert figures.cell(memory, "casyncio") == "×4.0"


def test_tables_and_picture_are_written_from_the_last_results(tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    readme.write_text("above\n<!-- figures: programs -->\nold\n<!-- end -->\nbelow\n")
    crawler = row(asyncio=[100, 100], uvloop=[200, 150], casyncio=[300, 300])
    data = {"machine": MACHINE, "workloads": {"program_crawler": crawler}}
    (tmp_path / "programs.json").write_text(json.dumps(data))
    monkeypatch.setattr(figures, "README", readme)
    monkeypatch.setattr(figures, "PICTURE", tmp_path / "programs.svg")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    figures.main(["--render", "--only", "programs"])
    text = readme.read_text()
    assert text.startswith("above\n<!-- figures: programs -->\n\n| per second | asyncio |")
    assert text.endswith("<!-- end -->\nbelow\n") and "old" not in text
    assert "| crawler, pages | 100 | ×1.75 | – | ×3.0 | – |" in text
    assert (
        "2026-01-02, CPython 3.13.0 (PGO), 2 x Quick, SCHED_RR, medians of three rounds,"
        " uvloop 0.23.0. From round to round a ratio moved by 17 %." in text
    )
    assert "program_crawler" in (tmp_path / "programs.svg").read_text()
    assert "×1.75" in capsys.readouterr().out


def test_a_readme_without_a_place_is_left_alone(tmp_path):
    with pytest.raises(ValueError, match="no place for loop"):
        figures.insert("text", "loop", "table")


def test_results_without_casyncio_are_not_written(tmp_path, monkeypatch):
    data = {"machine": MACHINE, "workloads": {"program_crawler": row(asyncio=[1], casyncio=[None])}}
    (tmp_path / "programs.json").write_text(json.dumps(data))
    monkeypatch.setattr(figures, "README", tmp_path / "README.md")
    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    with pytest.raises(SystemExit, match="ran nowhere"):
        figures.main(["--render", "--only", "programs"])
    assert not (tmp_path / "README.md").exists()
