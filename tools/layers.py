"""Check that #include lines only point downwards, and that Python stays up.

Usage:  python tools/layers.py [SRC_DIR]        (default: src beside tools)

Every broken line is printed, and the exit status is 1; 2 when there is no C
file to look at.  The rules:

  1. a file includes its own folder or folders lower in ORDER;
  2. folders below the Python line (base, backend, reactor) see no Python.h,
     and no name that begins with Py;
  3. only py/compat.h asks which Python this is;
  4. no file includes a .c file, and every "quoted" include exists;
  5. nobody above the Python line asks which backend there is: no backend's
     name or table row appears there, and a row's name is only reported.
"""

import pathlib
import re
import sys

# Low to high.  A folder not named here is an error: new rooms are announced.
ORDER = (
    "base",
    "backend",
    "reactor",
    "py",
    "loop",
    "task",
    "transport",
    "stream",
    "sync",
    "api",
    "module",
)
PYTHON_LINE = ORDER.index("py")
COMPAT = "py/compat.h"

INCLUDE = re.compile(r'\s*#\s*include\s+(["<])([^">]+)[">]')
PYTHON_HEADERS = {"Python.h", "structmember.h", "datetime.h", "frameobject.h"}
PYTHON_NAME = re.compile(r"\b_?(Py[A-Z_]\w*|PY_[A-Z]\w*)")
VERSION_WORD = re.compile(
    r"\b(PY_VERSION_HEX|PY_(MAJOR|MINOR|MICRO)_VERSION|Py_GIL_DISABLED|Py_Version)\b"
)
BACKEND_WORD = re.compile(r'"(epoll|poll|io_uring|uring)"|\bca_backend_(epoll|poll|uring)\b')
BACKEND_NAME = re.compile(r"\bvt\s*->\s*name\b")
# What reporting a name looks like: made into a str, or put into a message.
REPORTED = re.compile(r"PyUnicode_From|PyErr_Format|return\b")

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)


def without_comments(text):
    """Return text with comments blanked and every line where it was."""

    def blank(found):
        word = found.group()
        return word if word[0] == '"' else re.sub(r"[^\n]", " ", word)

    return COMMENT_OR_STRING.sub(blank, text)


def without_strings(line):
    """Return the line with the insides of its string literals removed."""
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', line)


def check_include(root, path, line):
    """Yield what is wrong with one line if it is an include."""
    found = INCLUDE.match(line)
    if not found:
        return
    quote, target = found.groups()
    room, other = path.parts[0], target.split("/")[0]
    if target.endswith(".c"):
        yield f"includes a source file: {target}"
    elif quote == '"' and not (root / target).is_file():
        yield f"includes what is not there (paths start at src): {target}"
    if ORDER.index(room) < PYTHON_LINE and target in PYTHON_HEADERS:
        yield f"below the Python line: {target}"
    if other in ORDER and ORDER.index(other) > ORDER.index(room):
        yield f"looks up from {room} to {target}"


def check_words(path, line):
    """Yield what is wrong with the words of one line."""
    above = ORDER.index(path.parts[0]) >= PYTHON_LINE
    code = without_strings(line)
    if VERSION_WORD.search(code) and path.as_posix() != COMPAT:
        yield f"only {COMPAT} asks which Python this is"
    elif not above and PYTHON_NAME.search(code):
        yield f"below the Python line: {PYTHON_NAME.search(code).group()}"
    if above and BACKEND_WORD.search(line):
        yield f"above the line a backend is named: {BACKEND_WORD.search(line).group()}"
    if above and BACKEND_NAME.search(code) and not REPORTED.search(code):
        yield "above the line a backend's name is used for more than a report"


def check(root):
    """Yield (path, line number, what is wrong) for every C file under root."""
    for file in sorted(root.rglob("*.[ch]")):
        path = file.relative_to(root)
        if path.parts[0] not in ORDER:
            yield path, 0, f"folder '{path.parts[0]}' is not in ORDER"
            continue
        for number, line in enumerate(without_comments(file.read_text()).splitlines(), 1):
            for why in (*check_include(root, path, line), *check_words(path, line)):
                yield path, number, why


def main(argv):
    """Run the checks; return the exit status."""
    if len(argv) > 1 or argv[:1] == ["--help"]:
        print(__doc__)
        return 2
    root = pathlib.Path(argv[0]) if argv else pathlib.Path(__file__).parents[1] / "src"
    files = list(root.rglob("*.c"))
    if not files:
        print(f"layers: no C file under {root}")
        return 2
    broken = list(check(root))
    for path, number, why in broken:
        print(f"{root / path}:{number}: {why}")
    print(f"layers: {len(files)} sources, {len(broken)} broken lines")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
