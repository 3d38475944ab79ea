"""Say which glibc a shared object needs, and hold it against a limit.

Usage:  python tools/glibc.py [--max X.Y] [FILE ...]

Without a FILE it looks at the installed casyncio._native.  The newest symbol
version decides on which systems a wheel can be installed: 2.28 is what the
manylinux_2_28 tag promises.  Exit status 1: a symbol is newer than --max (and
is named); 2: nothing to look at.
"""

import argparse
import importlib.util
import re
import subprocess
import sys

SYMBOL = re.compile(r"\*UND\*.*\(?GLIBC_(\d+(?:\.\d+)+)\)?\s+(\S+)")


def version(text):
    """Return "2.28" as (2, 28)."""
    return tuple(int(part) for part in text.split("."))


def needs(path):
    """Return {symbol: version tuple} of the glibc symbols that a file needs."""
    listing = subprocess.run(
        ["objdump", "-T", path], capture_output=True, text=True, check=True
    ).stdout
    return {found.group(2): version(found.group(1)) for found in SYMBOL.finditer(listing)}


def main(argv):
    """Print the newest symbols of each file; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--max", type=version, default=(2, 28), metavar="X.Y")
    args = parser.parse_args(argv)
    if not args.files:
        spec = importlib.util.find_spec("casyncio._native")
        args.files = [spec.origin] if spec else []
    if not args.files:
        print("glibc: casyncio is not installed and no file is named")
        return 2
    status = 0
    for path in args.files:
        wanted = needs(path)
        if not wanted:
            print(f"{path}: needs no glibc symbol at all: not a shared object of ours?")
            return 2
        newest = max(wanted.values())
        names = ", ".join(sorted(name for name, v in wanted.items() if v == newest))
        print(f"{path}: glibc {'.'.join(map(str, newest))} ({names})")
        for name, needed in sorted(wanted.items()):
            if needed > args.max:
                print(f"  too new: {name} of {'.'.join(map(str, needed))}")
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
