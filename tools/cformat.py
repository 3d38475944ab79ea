"""clang-format, plus the two things of the house style that it cannot do.

Usage:  python tools/cformat.py [--check] [FILE ...]

Formats the C files in place (default: all in src, tests and benchmarks); with
--check it changes nothing, prints what it would change and exits with 1.

What is added to .clang-format: a comment behind code begins in column 40 (or
as near to it as its length allows), and a table keeps one row per line.  Both
are done by hiding them from clang-format: the padding before such a comment is
taken out first and put back afterwards, and each row is protected by an empty
comment that is removed again.
"""

import difflib
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("src", "tests", "benchmarks")
COLUMN = 39  # counted from 0
WIDTH = 79
GUARD = " //"

# Code, then a comment that ends the line, or that goes on in the next one.
TRAILING = re.compile(r"^(\s*[^\s/*#].*?)[ ]+(/\* (?:[^*]|\*(?!/))*(?:\*/)?)$")
ROW = re.compile(r"^\s+(.*\},|[A-Z][A-Z0-9_]*)$")


def hide(line):
    """Prepare one line for clang-format."""
    found = TRAILING.match(line)
    if found:
        return f"{found.group(1)} {found.group(2)}"
    if ROW.match(line) and len(line) + len(GUARD) <= WIDTH:
        return line + GUARD
    return line


def align(lines):
    """Yield the lines, with macros that stand for rows under the row above them."""
    above = ""
    for line in lines:
        if line.endswith(GUARD) and above.endswith(GUARD) and line.split()[0].isupper():
            line = above[: len(above) - len(above.lstrip())] + line.lstrip()
        yield line
        above = line


def show(line):
    """Undo hide() on one formatted line."""
    if line.endswith(GUARD):
        return line[: -len(GUARD)].rstrip()
    found = TRAILING.match(line)
    if found:
        code, comment = found.groups()
        start = min(COLUMN, WIDTH - len(comment))
        return f"{code:{start - 1}} {comment}"
    return line


def program():
    """Return the path of clang-format: this interpreter's, or PATH's."""
    beside = pathlib.Path(sys.executable).with_name("clang-format")
    found = str(beside) if beside.exists() else shutil.which("clang-format")
    if not found:
        sys.exit("cformat: no clang-format beside this Python or on PATH; run `make setup`")
    return found


def formatted(path, text):
    """Return the text as the house style wants it."""
    hidden = "\n".join(map(hide, text.splitlines())) + "\n"
    done = subprocess.run(
        [program(), f"--style=file:{ROOT / '.clang-format'}", f"--assume-filename={path.name}"],
        input=hidden,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return "\n".join(map(show, align(done.splitlines()))) + "\n"


def main(argv):
    """Format or check; return the exit status."""
    check = "--check" in argv
    paths = [pathlib.Path(arg) for arg in argv if arg != "--check"]
    if not paths:
        paths = sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.[ch]"))
    if not paths:
        print("cformat: no C file")
        return 2
    changed = 0
    for path in paths:
        before = path.read_text()
        after = formatted(path, before)
        if after == before:
            continue
        changed += 1
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(
                    before.splitlines(True),
                    after.splitlines(True),
                    str(path),
                    f"{path} (formatted)",
                )
            )
        else:
            path.write_text(after)
    print(f"cformat: {len(paths)} files, {changed} {'to change' if check else 'changed'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
