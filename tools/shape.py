"""Measure the shape of the code and hold it against the house's targets.

Usage:  python tools/shape.py [--gate] [DIR]    (default: src beside tools)

Prints the sizes of files and functions, the comment ratio, how dense `goto`
is, and macros that hide `goto` or `return`.  With --gate the exit status is 1
when a target is missed; it is 2 when there is no C file to look at.

Functions are found by the house's own layout (checked by `make lint`): a
definition's brace opens and closes in column 0 and nothing else's does, so no
parser is needed.  A function's length counts its signature and both braces.
"""

import argparse
import pathlib
import re
import sys

# name: (limit, what it limits)
TARGETS = {
    "file_max": (800, "lines in the longest file"),
    "func_p50": (15, "lines in the median function"),
    "func_p90": (45, "lines at the 90th percentile"),
    "func_max": (100, "lines in the longest function"),
    "width_max": (79, "columns in the widest line"),
    "hidden_flow": (0, "macros that contain goto or return"),
}
MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)(?:\([^)]*\))?((?:[^\n\\]|\\\n|\\.)*)", re.M)
FLOW = re.compile(r"\b(goto|return)\b")
# The line above a definition: empty, a comment's end, or a line of something else.
BEFORE = re.compile(r"^$|^[#}/]|\*/$")
NAME = re.compile(r"(\w+)\(")


def functions(text):
    """Yield (name, first line, last line) of every function definition."""
    lines = text.splitlines()
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
            while start > 0 and not BEFORE.search(lines[start - 1]):
                start -= 1
        elif line == "}" and start is not None:
            found = NAME.search("\n".join(lines[start : i + 1]))
            yield found.group(1) if found else "?", start + 1, i + 1
            start = None


def comment_ratio(text):
    """Return comment lines per line of code."""
    comment = code = 0
    inside = False
    for line in map(str.strip, text.splitlines()):
        if inside or line.startswith(("//", "/*")):
            comment += 1
            inside = (inside or line.startswith("/*")) and "*/" not in line
        elif line:
            code += 1
    return comment / max(1, code)


def hidden_flow(text):
    """Return the names of macros that hide goto or return."""
    return [found.group(1) for found in MACRO.finditer(text) if FLOW.search(found.group(2))]


def quantile(values, q):
    """Return the value at fraction q of the sorted values, 0 for none."""
    values = sorted(values)
    return values[int(q * (len(values) - 1))] if values else 0


def measure(root):
    """Return (figures, [(lines, name, path)] longest function first)."""
    texts = {path: path.read_text() for path in sorted(root.rglob("*.[ch]"))}
    sizes = [text.count("\n") for text in texts.values()]
    found = sorted(
        (
            (last - first + 1, name, path)
            for path in texts
            for name, first, last in functions(texts[path])
        ),
        reverse=True,
    )
    lengths = [lines for lines, _, _ in found]
    whole = "\n".join(texts.values())
    figures = {
        "files": len(texts),
        "lines": sum(sizes),
        "file_p50": quantile(sizes, 0.5),
        "file_max": max(sizes, default=0),
        "functions": len(found),
        "func_p50": quantile(lengths, 0.5),
        "func_p90": quantile(lengths, 0.9),
        "func_max": max(lengths, default=0),
        "width_max": max(map(len, whole.splitlines()), default=0),
        "comment_ratio": round(comment_ratio(whole), 2),
        "goto_per_kloc": round(
            1000 * len(re.findall(r"\bgoto\s+\w", whole)) / max(1, sum(sizes)), 1
        ),
        "hidden_flow": len(hidden_flow(whole)),
    }
    return figures, found


def missed(figures):
    """Return the names of the targets that the figures miss."""
    return [name for name, (limit, _) in TARGETS.items() if figures[name] > limit]


def main(argv):
    """Print the figures; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "root", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).parents[1] / "src"
    )
    parser.add_argument("--gate", action="store_true", help="exit 1 when a target is missed")
    args = parser.parse_args(argv)
    figures, found = measure(args.root)
    if not figures["functions"]:
        print(f"shape: no C function under {args.root}")
        return 2
    late = missed(figures)
    for name, value in figures.items():
        limit = TARGETS.get(name)
        note = f"  target <= {limit[0]} ({limit[1]})" if limit else ""
        print(f"{name:14} {value:>9}{note}{'  MISSED' if name in late else ''}")
    for lines, name, path in found[:5]:
        print(f"{lines:7} lines  {name}  {path.relative_to(args.root)}")
    return 1 if args.gate and late else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
