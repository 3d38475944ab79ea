"""Asynchronous files: casyncio.open_file() beside asyncio.to_thread() and aiofiles.

Usage:  python -P benchmarks/files.py [--rounds N] [--folder DIR]

Every way runs once per round, one after the other, so that a busy machine is busy for all of
them; the table has medians of operations per second and of the ratio to asyncio.to_thread() of
the same round.  "uncached" is casyncio with the look into the page cache switched off: what its
backend does (rings or threads) is all that is left.  aiofiles is there when it is installed.
"""

import argparse
import asyncio
import functools
import os
import random
import statistics
import tempfile
import time

import casyncio

try:
    import aiofiles
except ImportError:
    aiofiles = None

SIZE = 64 << 20
BLOCK = 4096
LARGE = 1 << 20


def offsets(count):
    rng = random.Random(1)
    return [rng.randrange(SIZE // BLOCK) * BLOCK for _ in range(count)]


async def random_ours(path, count):
    async with casyncio.open_file(path, "rb") as file:
        for at in offsets(count):
            await file.pread(BLOCK, at)


async def random_thread(path, count):
    with open(path, "rb", 0) as file:
        for at in offsets(count):
            await asyncio.to_thread(os.pread, file.fileno(), BLOCK, at)


async def random_aiofiles(path, count):
    async with aiofiles.open(path, "rb", buffering=0) as file:
        for at in offsets(count):
            await file.seek(at)
            await file.read(BLOCK)


async def read_large(opened, count):
    async with opened as file:
        for _ in range(count):
            if not await file.read(LARGE):
                await file.seek(0)


async def large_ours(path, count):
    await read_large(casyncio.open_file(path, "rb"), count)


async def large_aiofiles(path, count):
    await read_large(aiofiles.open(path, "rb", buffering=0), count)


async def large_thread(path, count):
    with open(path, "rb", 0) as file:
        for _ in range(count):
            if not await asyncio.to_thread(file.read, LARGE):
                file.seek(0)


async def write_blocks(opened, count):
    async with opened as file:
        for _ in range(count):
            await file.write(b"x" * BLOCK)


async def write_ours(path, count):
    await write_blocks(casyncio.open_file(path + "w", "wb", 0), count)


async def write_aiofiles(path, count):
    await write_blocks(aiofiles.open(path + "w", "wb", buffering=0), count)


async def write_thread(path, count):
    with open(path + "w", "wb", 0) as file:
        for _ in range(count):
            await asyncio.to_thread(file.write, b"x" * BLOCK)


async def take_lines(opened, count):
    async with opened as file:
        async for _ in file:
            count -= 1
            if count == 0:
                break


async def lines_ours(path, count):
    await take_lines(casyncio.open_file(path + "l"), count)


async def lines_aiofiles(path, count):
    await take_lines(aiofiles.open(path + "l"), count)


async def lines_thread(path, count):
    with open(path + "l") as file:
        for _ in range(count):
            await asyncio.to_thread(file.readline)


ROWS = {
    "4 KiB random reads": ("random", 3000),
    "1 MiB sequential reads": ("large", 200),
    "4 KiB writes": ("write", 2000),
    "lines of text": ("lines", 5000),
}


def make_loop(backend, cached):
    loop = casyncio.new_event_loop(backend)
    if not cached:
        loop._file_cached = lambda *args: None
    return loop


def ways():
    """Return {label: (suffix of the function, loop factory)}."""
    found = {"to_thread, asyncio": ("thread", asyncio.SelectorEventLoop)}
    if aiofiles is not None:
        found["aiofiles, asyncio"] = ("aiofiles", asyncio.SelectorEventLoop)
    for backend in "epoll", "io_uring":
        found[f"open_file, {backend}"] = ("ours", functools.partial(make_loop, backend, True))
        found[f"uncached, {backend}"] = ("ours", functools.partial(make_loop, backend, False))
    return found


def rate(program, path, count, factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(program(path, 10))
        start = time.perf_counter()
        runner.run(program(path, count))
        return count / (time.perf_counter() - start)


def measure(row, path, rounds):
    prefix, count = ROWS[row]
    rates = {label: [] for label in ways()}
    for _ in range(rounds):
        for label, (suffix, factory) in ways().items():
            program = globals()[f"{prefix}_{suffix}"]
            rates[label].append(rate(program, path, count, factory))
    base = rates["to_thread, asyncio"]
    print(row)
    for label, found in rates.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(found, base, strict=True))
        print(f"    {label:22}{statistics.median(found):12,.0f}/s   x{ratio:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", help="where the file of 64 MiB is made")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = os.path.join(folder, "file")
        with open(path, "wb") as file:
            for _ in range(SIZE // LARGE):
                file.write(os.urandom(LARGE))
        with open(path + "l", "w") as file:
            file.writelines(f"line {i} of a file of lines\n" for i in range(100_000))
        for row in ROWS:
            measure(row, path, options.rounds)


if __name__ == "__main__":
    main()
