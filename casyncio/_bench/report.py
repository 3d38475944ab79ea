"""Tables from results: medians, ratios to stock taken inside each round, and who loses where."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from . import terminal
from .drive import STOCK
from .harness import LOWER_IS_BETTER
from .terminal import Printer, Table

OURS = "casyncio"
FLOORS = ("C epoll", "C io_uring")  # the C servers: no loop, but what any loop is compared with
LACKS = "NotImplementedError"
LEGEND = (
    "{stock}: median [min–max]. Others: median, ratio to {stock} in the same round "
    "(above 1 is better) [least–greatest]; ▼ marks a ratio below 1. Smaller values are "
    "better where the unit is B or ms."
)
DOUBT_LEGEND = "A verdict with a question mark: the rounds disagree, so nobody leads for certain."
NOISY = 0.15  # the spread of ratios in a row, greatest to least, from which a machine is too noisy
STYLES = {"leads": "green", "LOSES": "bold red", "doubt": "yellow"}
FLOOR_LEGEND = "A value's last figure: per cent of what {floor} did in the same round."
# Title, the figures of each cell that are shown, and how the rounds become one: the share of user
# mode is sampled by the kernel, so that the mean tells more than the median.
DETAILS = (
    (
        "latency p50 / p90 / p99 / p99.9 in µs",
        ("p50_us", "p90_us", "p99_us", "p999_us"),
        statistics.median,
    ),
    (
        "CPU of the measured process in µs per operation: user mode (sampled) / all",
        ("user_us", "cpu_us"),
        statistics.fmean,
    ),
)


def short(x: float) -> str:
    """Return a number with three or four digits and a suffix."""
    for size, suffix in ((1e6, "M"), (1e4, "k")):
        if abs(x) >= size:
            return f"{x / (size if suffix == 'M' else 1e3):.{2 if suffix == 'M' else 1}f}{suffix}"
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def spread(values: list[float]) -> dict:
    """Return the median and the extremes."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(row: dict, mine: str, other: str) -> list[float]:
    """Return how many times better ``mine`` is than ``other``, for each round that has both."""
    pairs = [
        (a["value"], b["value"])
        for a, b in zip(row["cells"].get(mine, []), row["cells"].get(other, []), strict=False)
        if a.get("value") and b.get("value")
    ]
    return [b / a if row["unit"] in LOWER_IS_BETTER else a / b for a, b in pairs]


def summary(row: dict, name: str) -> dict:
    """Return a contender's values and ratios to stock in one row, or why there are none."""
    cells = row["cells"].get(name, [])
    values = [cell["value"] for cell in cells if "value" in cell]
    failures = [cell["failed"] for cell in cells if "failed" in cell]
    result: dict = {"failures": failures}
    if values:
        result["value"] = spread(values)
    against_stock = ratios(row, name, STOCK)
    if against_stock and name != STOCK:
        result["ratio"] = spread(against_stock)
    return result


def best_rival(row: dict) -> tuple[str, list[float]] | None:
    """Return casyncio's best rival in a row and the ratios to it, or None without a rival."""
    peers = [
        name
        for name in row["cells"]
        if not name.startswith(OURS) and name not in FLOORS and "value" in summary(row, name)
    ]
    by_peer = {name: ratios(row, OURS, name) for name in peers}
    by_peer = {name: found for name, found in by_peer.items() if found}
    if not by_peer:
        return None
    best = min(by_peer, key=lambda name: statistics.median(by_peer[name]))
    return best, by_peer[best]


def verdict(row: dict) -> tuple[bool, str]:
    """Return whether casyncio loses this row, and to or over whom, by rounds."""
    if "value" not in summary(row, OURS):
        others = any("value" in summary(row, name) for name in row["cells"] if name not in FLOORS)
        return others, "LOSES: fails" if others else "no peer ran"
    rival = best_rival(row)
    if rival is None:
        return False, "no peer ran"
    best, found = rival
    middle = statistics.median(found)
    loses = middle < 1
    doubt = " ?" if (min(found) < 1) != (max(found) < 1) else ""
    return loses, f"{'LOSES to' if loses else 'leads'} {best} ×{middle:.2f}{doubt}"


def style_of(words: str) -> str | None:
    """Return how a row with this verdict is shown."""
    return STYLES["doubt"] if words.endswith("?") else STYLES.get(words.split(" ")[0].strip(":"))


def floor_share(row: dict, name: str) -> str:
    """Return which part of the C server's rate a loop has, where there is one to compare with."""
    shares = ratios(row, name, FLOORS[0])
    if not shares or name == FLOORS[0] or row["unit"] in LOWER_IS_BETTER:
        return ""
    return f" {100 * statistics.median(shares):.0f}%"


def cell_text(row: dict, name: str) -> str:
    """Return a table cell: the median with the ratio, or with the extremes for stock."""
    s = summary(row, name)
    if "value" not in s:
        lacks = all(LACKS in reason for reason in s["failures"])
        return ("lacks it" if lacks else "fails") if s["failures"] else ""
    flaky = f" ({len(s['failures'])} failed)" if s["failures"] else ""
    v = s["value"]
    if "ratio" not in s:
        share = floor_share(row, name)
        return f"{short(v['median'])} [{short(v['min'])}–{short(v['max'])}]{share}{flaky}"
    r = s["ratio"]
    mark = (" ▼" if r["median"] < 1 else "") + floor_share(row, name)
    return f"{short(v['median'])} ×{r['median']:.2f} [{r['min']:.2f}–{r['max']:.2f}]{mark}{flaky}"


def row_text(name: str, row: dict) -> str:
    """Return a row in one line, for progress."""
    return f"{name}: " + ", ".join(f"{who} {cell_text(row, who)}" for who in row["cells"])


def results_table(data: dict, names: list[str]) -> Table:
    """Return the table of all rows; with casyncio among the loops, a verdict ends each row."""
    table = Table(["workload", "unit", *names, *(["verdict"] if OURS in names else [])])
    for name, row in data["workloads"].items():
        words = verdict(row)[1] if OURS in names else ""
        texts = [name, row["unit"], *(cell_text(row, who) for who in names), words]
        table.add(*texts[: len(table.columns)], style=style_of(words))
    return table


def details_table(data: dict, names: list[str], title: str, keys: tuple, middle) -> Table:
    """Return a table of further figures, one of all rounds; rows without any are left out."""
    table = Table(["workload", *names], title)
    for name, row in data["workloads"].items():
        texts = []
        for who in names:
            good = [c for c in row["cells"].get(who, []) if all(key in c for key in keys)]
            figures = [middle([c[key] for c in good]) for key in keys] if good else []
            texts.append(" / ".join(map(short, figures)))
        if any(texts):
            table.add(name, *texts)
    return table


def means_table(data: dict, names: list[str]) -> Table:
    """Return the geometric means of the ratios to stock, by group of rows."""
    groups = list(dict.fromkeys(row["group"] for row in data["workloads"].values()))
    table = Table(["loop", *groups], "geometric mean of the ratios to stock (rows)")
    for who in names:
        texts = [who]
        for group in groups:
            found = [
                summary(row, who) for row in data["workloads"].values() if row["group"] == group
            ]
            medians = [s["ratio"]["median"] for s in found if "ratio" in s]
            texts.append(
                f"×{statistics.geometric_mean(medians):.2f} ({len(medians)})" if medians else ""
            )
        table.add(*texts)
    return table


def noise(data: dict) -> float | None:
    """Return how much a ratio moves between the rounds, in the median row; None with one round."""
    spreads = []
    for row in data["workloads"].values():
        for who in row["cells"]:
            found = ratios(row, who, STOCK) if who != STOCK else []
            if len(found) > 1:
                spreads.append(max(found) / min(found) - 1)
    return statistics.median(spreads) if spreads else None


def noise_line(data: dict) -> str | None:
    """Return a warning when the machine was too noisy to tell small differences."""
    spread = noise(data)
    if spread is None or spread < NOISY:
        return None
    return (
        f"This machine is noisy: from round to round a ratio moves by {100 * spread:.0f} % in the "
        "median row. Differences below that tell nothing; close other programs, or use more "
        "rounds, --pin or --realtime."
    )


def machine_text(m: dict) -> str:
    """Return in one line what was measured where, and how."""
    loops = ", ".join(f"{name} {version}" for name, version in m["loops"].items())
    how = [f"{m['rounds']} rounds of {m['seconds']:g} s"]
    how += ["SCHED_RR"] if m["realtime"] else []
    how += [f"pinned to CPU {m['pin']}"] if m["pin"] is not None else []
    how += ["warm malloc"] if m.get("warm_malloc") else []
    return (
        f"{m['date']}; CPython {m['python']} ({'PGO' if m['pgo'] else 'no PGO'}, "
        f"{m['flags']}); {m['cpu']}, kernel {m['kernel']}; {', '.join(how)}. Loops: {loops}."
    )


def failure_lines(data: dict) -> list[str]:
    """Return one line for each loop and reason of failure."""
    failed: dict[tuple[str, str], list[str]] = {}
    for name, row in data["workloads"].items():
        for who, cells in row["cells"].items():
            for reason in sorted({cell["failed"] for cell in cells if "failed" in cell}):
                failed.setdefault((who, reason), []).append(name)
    return [f"{who} fails on {', '.join(on)}: {why}" for (who, why), on in sorted(failed.items())]


def note_lines(data: dict) -> list[str]:
    """Return one line for each cell in which something was lost."""
    return [
        f"{who} in {name}, round {number}: {cell['note']}"
        for name, row in data["workloads"].items()
        for who, cells in row["cells"].items()
        for number, cell in enumerate(cells, 1)
        if "note" in cell
    ]


def show(data: dict, printer: Printer | None = None) -> None:
    """Print the tables of one run."""
    printer = printer or terminal.out()
    rows = data["workloads"].values()
    names = list(dict.fromkeys(who for row in rows for who in row["cells"]))
    names.sort(key=lambda who: who in FLOORS)
    printer.line(machine_text(data["machine"]))
    printer.line(LEGEND.format(stock=STOCK))
    if FLOORS[0] in names:
        printer.line(FLOOR_LEGEND.format(floor=FLOORS[0]))
    printer.table(results_table(data, names))
    for detail in DETAILS:
        table = details_table(data, names, *detail)
        if table.rows:
            printer.table(table)
    if len(names) > 1 and STOCK in names:
        printer.table(means_table(data, [name for name in names if name != STOCK]))
    for line in failure_lines(data) + note_lines(data):
        printer.line(line)
    show_result(data, names, printer)


def show_result(data: dict, names: list[str], printer: Printer) -> None:
    """Print what it comes to: the rows lost and in doubt, and whether the machine was quiet."""
    if OURS in names:
        verdicts = {name: verdict(row) for name, row in data["workloads"].items()}
        lost = [name for name, (loses, _) in verdicts.items() if loses]
        printer.line(
            f"{OURS} loses {len(lost)} of {len(verdicts)} rows"
            + (": " + ", ".join(lost) if lost else "."),
            style=STYLES["LOSES"] if lost else STYLES["leads"],
        )
        if any(words.endswith("?") for _, words in verdicts.values()):
            printer.line(DOUBT_LEGEND)
    warning = noise_line(data)
    if warning:
        printer.line(warning, style=STYLES["doubt"])


def show_files(paths: list[str]) -> None:
    """Print the tables of saved runs, one after another."""
    for path in paths:
        show(json.loads(Path(path).read_text()))
