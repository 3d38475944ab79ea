"""The C programs of the network benchmarks: compiled when they are first needed, then kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "c"
CACHE = HERE.parents[1] / "build" / "bench"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra"]


class Missing(Exception):
    """A program cannot be had; the text says why."""


def compiler() -> list[str]:
    """Return the command of the C compiler: that of CC, or the first of cc, gcc and clang."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        words = name.split()
        if words and shutil.which(words[0]):
            return words
    raise Missing("no C compiler: install cc, gcc or clang, or name one in CC")


def cache() -> Path:
    """Return a folder that can be written: build/bench of the clone, or one of the user's."""
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        if os.access(CACHE, os.W_OK):
            return CACHE
    except OSError:
        pass
    own = Path(tempfile.gettempdir()) / f"casyncio-bench-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.stat().st_uid != os.getuid():
        raise Missing(f"{own} belongs to somebody else")
    return own


def program(name: str) -> str:
    """Return the path of a compiled program; raise Missing with the reason when there is none."""
    command = compiler()
    text = b"".join(p.read_bytes() for p in [HERE / f"{name}.c", *sorted(HERE.glob("*.h"))])
    key = hashlib.sha256(text + " ".join([*command, *FLAGS]).encode()).hexdigest()[:12]
    target = cache() / f"{name}-{key}"
    if not target.exists():
        fresh = target.with_name(f"{target.name}.{os.getpid()}")
        done = subprocess.run(
            [*command, *FLAGS, str(HERE / f"{name}.c"), "-o", str(fresh)],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise Missing(f"{name}.c does not compile: {(errors or [done.stderr.strip()])[0]}")
        fresh.replace(target)
    return str(target)
