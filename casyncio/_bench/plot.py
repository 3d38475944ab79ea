"""The results as a picture: one bar per loop and row, the ratio to stock on a logarithmic axis.

SVG is written by hand, so that a plot needs no other package.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

from . import report
from .drive import STOCK

COLOURS = {"casyncio": "#1b7f4d", "uvloop": "#3b6fb6", "rloop": "#c77b30", "leviathan": "#8a5fb0"}
OTHER_COLOUR, LOST_COLOUR, TEXT_COLOUR, LINE_COLOUR = "#888888", "#c0392b", "#333333", "#d0d0d0"
LABELS, PLOT, VALUES = 230, 560, 70  # widths in pixels
BAR, GAP, TOP, BOTTOM = 9, 8, 64, 30  # heights


def bars(data: dict) -> list[tuple[str, bool, list[tuple[str, float | None]]]]:
    """Return (row, whether casyncio loses it, [(loop, median ratio or None)])."""
    found = []
    for name, row in data["workloads"].items():
        loops = [who for who in row["cells"] if who != STOCK]
        ratios = [(who, report.summary(row, who).get("ratio", {}).get("median")) for who in loops]
        if any(ratio for _, ratio in ratios):
            found.append((name, report.OURS in loops and report.verdict(row)[0], ratios))
    return found


class Axis:
    """Ratios from a little below the least to a little above the greatest, as pixels."""

    def __init__(self, values: list[float]):
        self.low = min(0.8, *values) / 1.1
        self.high = max(2.0, *values) * 1.1

    def x(self, ratio: float) -> float:
        """Return where a ratio is."""
        part = math.log(ratio / self.low) / math.log(self.high / self.low)
        return round(LABELS + PLOT * part, 1)

    def ticks(self) -> list[float]:
        """Return the ratios that have a line."""
        wanted = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
        return [tick for tick in wanted if self.low <= tick <= self.high]


def text(x: float, y: float, words: str, **more: str) -> str:
    """Return a text element."""
    options = {"fill": TEXT_COLOUR, **more}
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in options.items())
    return f'<text x="{x}" y="{y}"{attributes}>{escape(words)}</text>'


def head(data: dict, loops: list[str]) -> list[str]:
    """Return title, machine and legend."""
    title = f"Times as fast as {STOCK} (median ratio; right is better; red rows are lost)"
    machine = data["machine"]
    where = f"{machine['date']}, CPython {machine['python']}, {machine['cpu']}"
    parts = [text(10, 18, title, font_size="14", font_weight="bold"), text(10, 35, where)]
    for i, who in enumerate(loops):
        x = LABELS + 110 * i
        parts.append(f'<rect x="{x}" y="44" width="10" height="10" fill="{colour(who)}"/>')
        parts.append(text(x + 14, 53, who))
    return parts


def colour(who: str) -> str:
    """Return the colour of a loop's bars."""
    return COLOURS.get(who.partition("-")[0], OTHER_COLOUR)


def row_parts(y: float, row: tuple, axis: Axis) -> list[str]:
    """Return the label and the bars of one row."""
    name, lost, ratios = row
    middle = y + BAR * len(ratios) / 2 + 4
    label = {"fill": LOST_COLOUR, "font_weight": "bold"} if lost else {}
    parts = [text(LABELS - 8, middle, f"{'▼ ' * lost}{name}", text_anchor="end", **label)]
    for i, (who, ratio) in enumerate(ratios):
        top = y + BAR * i
        if ratio is None:
            parts.append(text(axis.x(1) + 3, top + BAR - 1, f"{who}: fails", font_size="8"))
            continue
        left, right = sorted((axis.x(1), axis.x(ratio)))
        size = f'width="{right - left:.1f}" height="{BAR - 1}"'
        parts.append(f'<rect x="{left}" y="{top}" {size} fill="{colour(who)}"/>')
        parts.append(text(max(right, axis.x(1)) + 3, top + BAR - 1, f"×{ratio:.2f}", font_size="8"))
    return parts


def svg(data: dict) -> str:
    """Return the picture as text; raises ValueError when there is nothing to compare."""
    rows = bars(data)
    if not rows:
        raise ValueError(f"nothing to plot: no loop was compared with {STOCK}")
    axis = Axis([ratio for row in rows for _, ratio in row[2] if ratio])
    loops = list(dict.fromkeys(who for row in rows for who, _ in row[2]))
    parts, y = head(data, loops), float(TOP)
    for row in rows:
        parts += row_parts(y, row, axis)
        y += BAR * len(row[2]) + GAP
    lines = []
    for tick in axis.ticks():
        x, strong = axis.x(tick), ' stroke-width="2"' if tick == 1 else ""
        lines.append(f'<path d="M{x} {TOP - 4}V{y}" stroke="{LINE_COLOUR}"{strong}/>')
        lines.append(text(x, y + 14, f"×{tick:g}", text_anchor="middle"))
    width, height = LABELS + PLOT + VALUES, y + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" font-family="sans-serif" font-size="11">\n'
        + '<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(lines + parts)
        + "\n</svg>\n"
    )


def write(path: str, data: dict) -> None:
    """Write the picture to a file."""
    Path(path).write_text(svg(data), encoding="utf-8")
