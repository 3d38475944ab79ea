"""What the bench command prints with: rich where it is installed, plain text elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

try:
    import rich.box
    import rich.console
    import rich.markup
    import rich.progress
    import rich.table
except ImportError:
    rich = None  # type: ignore[assignment]

WIDE = 250  # columns where the output is no terminal: tables are not squeezed then


@dataclass
class Table:
    """A table: ``rows`` are (texts, style); a style is one of rich's, or None."""

    columns: list[str]
    title: str = ""
    rows: list[tuple[list[str], str | None]] = field(default_factory=list)

    def add(self, *texts: str, style: str | None = None) -> None:
        """Append a row."""
        self.rows.append((list(texts), style))

    def plain(self) -> str:
        """Return the table as lines of text."""
        lines = [self.columns, *(texts for texts, _ in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        texts.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([*([self.title] if self.title else []), *texts])


class Printer:
    """Prints lines and tables to a stream."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.is_terminal = stream.isatty()
        self.console: Any = None
        if rich:
            width = None if self.is_terminal else WIDE
            self.console = rich.console.Console(file=stream, highlight=False, width=width)

    def line(self, text: str = "", style: str | None = None) -> None:
        """Print a line, however long it is."""
        if self.console:
            self.console.print(text, style=style, markup=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def table(self, table: Table) -> None:
        """Print a table and an empty line."""
        if not self.console:
            print(table.plain(), end="\n\n", file=self.stream, flush=True)
            return
        if table.title:
            self.line(table.title, style="italic")
        shown = rich.table.Table(box=rich.box.SIMPLE_HEAD)
        for column in table.columns:
            shown.add_column(column, overflow="fold")
        for texts, style in table.rows:
            shown.add_row(*(rich.markup.escape(text) for text in texts), style=style)
        self.console.print(shown)


def out() -> Printer:
    """Return a printer for the standard output as it is now."""
    return Printer(sys.stdout)


def err() -> Printer:
    """Return a printer for the standard error as it is now."""
    return Printer(sys.stderr)


class Follow:
    """Progress: a bar with the time left on a terminal; elsewhere a line per finished row."""

    def __init__(self, total: int):
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.printer = err()
        self.bar: Any = None
        if self.printer.is_terminal and rich:
            self.bar = rich.progress.Progress(
                rich.progress.BarColumn(),
                rich.progress.TextColumn("{task.completed}/{task.total}"),
                rich.progress.TimeRemainingColumn(),
                rich.progress.TextColumn("{task.description}"),
                console=self.printer.console,
                transient=True,
            )

    def __enter__(self) -> Follow:
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        else:
            self.wipe()

    @property
    def spent_s(self) -> float:
        """The seconds since the beginning."""
        return time.monotonic() - self.began

    @property
    def left_s(self) -> float:
        """The seconds that the rest will take, by those so far."""
        return self.spent_s / max(self.done, 1) * (self.total - self.done)

    def wipe(self) -> None:
        """Take the plain bar off its line."""
        if self.printer.is_terminal and not self.bar:
            self.printer.stream.write("\r\x1b[K")
            self.printer.stream.flush()

    def now(self, what: str) -> None:
        """Show which cell runs."""
        if self.bar:
            self.bar.update(self.task, description=what)
        elif self.printer.is_terminal:
            filled = 20 * self.done // max(self.total, 1)
            bar = f"{'#' * filled}{'.' * (20 - filled)} {self.done}/{self.total}"
            self.printer.stream.write(f"\r\x1b[K{bar} {self.left_s:.0f} s left  {what}"[:160])
            self.printer.stream.flush()

    def step(self) -> None:
        """Count a finished cell."""
        self.done += 1
        if self.bar:
            self.bar.advance(self.task)

    def skip(self, cells: int) -> None:
        """Take cells out of the plan."""
        self.total -= cells
        if self.bar:
            self.bar.update(self.task, total=self.total)

    def row(self, text: str) -> None:
        """Print a finished row."""
        self.wipe()
        left = "" if self.bar else f"[{self.done}/{self.total}, {self.left_s:.0f} s left] "
        self.printer.line(left + text)
