"""casyncio.open_file(): what Python's own files do, without keeping the loop from running."""

import asyncio
import errno
import io
import os
import random
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

BACKENDS = ["epoll", "io_uring"]  # poll does as epoll: threads
pytestmark = pytest.mark.ours("asyncio has no files")

TEXT = "first line\nsecond, longer line\n\nno newline at the end: ä€😀"


@pytest.fixture
def open_file():
    import casyncio

    return casyncio.open_file


@pytest.fixture(params=["from the cache", "from the disk"])
def way(request, loop):
    """How reads are done: at once, or by the backend's jobs or threads."""
    if request.param == "from the disk":
        loop._file_cached = lambda fd, size, offset: None
    return request.param


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file")


def outcome(call):
    """What a call returns or raises, to be compared."""
    try:
        return call()
    except (OSError, ValueError, TypeError, UnicodeError) as error:
        return type(error), getattr(error, "errno", None)


async def async_outcome(awaitable):
    try:
        return await awaitable
    except (OSError, ValueError, TypeError, UnicodeError) as error:
        return type(error), getattr(error, "errno", None)


# ---- the same as Python's own


def binary_steps(rng):
    """A random program for a binary file: (method, arguments)."""
    for _ in range(rng.randrange(5, 25)):
        name = rng.choice(
            "read read read readline write write seek seek tell truncate flush "
            "readinto lines writelines".split()
        )
        args = {
            "read": [rng.choice([-1, 0, 1, 7, 100, 5000, 300_000])],
            "readline": [rng.choice([-1, -1, 1, 3, 200])],
            "write": [rng.choice([b"", b"x", b"ab\ncd\n", bytearray(b"q" * 70), b"z\n" * 90_000])],
            "seek": rng.choice([[0], [5], [3000], [0, 2], [-1, 2], [2, 1], [-1], [0, 7]]),
            "truncate": rng.choice([[], [0], [10], [100_000]]),
            "readinto": [rng.choice([0, 5, 4000])],
            "writelines": [[b"one\n", b"two", memoryview(b"three\n")]],
        }.get(name, [])
        yield name, args


def play_on_python(file, steps):
    seen = []
    for name, args in steps:
        if name == "readinto":
            buffer = bytearray(args[0])
            seen.append((outcome(lambda b=buffer: file.readinto(b)), bytes(buffer)))
        elif name == "lines":
            seen.append(outcome(lambda: list(file)))
        else:
            seen.append(outcome(lambda n=name, a=args: getattr(file, n)(*a)))
    return seen


async def play_on_ours(file, steps):
    seen = []
    for name, args in steps:
        if name == "readinto":
            buffer = bytearray(args[0])
            seen.append((await async_outcome(file.readinto(buffer)), bytes(buffer)))
        elif name == "lines":
            seen.append(await async_outcome(file.readlines()))
        else:
            seen.append(await async_outcome(getattr(file, name)(*args)))
    return seen


@pytest.mark.parametrize("mode", ["rb", "r+b", "w+b", "wb", "ab", "a+b"])
def test_a_random_program_sees_what_it_sees_on_pythons_files(loop, way, open_file, path, mode):
    rng = random.Random(f"{mode} {way}")
    content = b"".join(b"%d %s\n" % (i, b"." * rng.randrange(200)) for i in range(600))

    async def play(steps, buffering):
        async with open_file(path, mode, buffering) as file:
            return await play_on_ours(file, steps)

    for round_ in range(12):
        # When it appends, Python's own loses track of its position: seek after each write.
        steps = list(binary_steps(rng))
        if "a" in mode:
            ends = [[step, ("seek", [0, 2])] if "write" in step[0] else [step] for step in steps]
            steps = [step for pair in ends for step in pair]
        buffering = -1 if "a" in mode else [-1, 0][round_ % 2]
        results = []
        for runs in "python", "ours":
            with open(path, "wb") as file:
                file.write(content)
            if runs == "python":
                with open(path, mode) as file:
                    seen = play_on_python(file, steps)
            else:
                seen = loop.run_until_complete(play(steps, buffering))
            with open(path, "rb") as file:
                results.append((seen, file.read()))
        assert results[0] == results[1], steps


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
def test_text_is_decoded_as_pythons_files_do(loop, way, open_file, path, encoding, newline):
    rng = random.Random(f"{encoding} {newline!r}")
    pieces = ["a", "bc", "\n", "\r", "\r\n", "ä", "é" * 50, "x" * 999]
    text = "".join(rng.choice(pieces) for _ in range(2000))
    with open(path, "wb") as file:
        file.write(text.encode(encoding))
    options = {"encoding": encoding, "newline": newline}

    async def read_in_all_ways():
        async with open_file(path, **options) as file:
            whole = await file.read()
        async with open_file(path, **options) as file:
            lines = [line async for line in file]
            newlines = file.newlines
        async with open_file(path, **options) as file:
            mixed = [await file.read(1000), await file.readline(), await file.readline(5)]
            mixed += await file.readlines(500)
            mixed += [await file.read(70_000), await file.read(), await file.read()]
        return whole, lines, newlines, mixed

    whole, lines, newlines, mixed = loop.run_until_complete(read_in_all_ways())
    with open(path, **options) as file:
        assert whole == file.read()
    with open(path, **options) as file:
        assert lines == list(file)
        assert newlines == file.newlines
    with open(path, **options) as file:
        theirs = [file.read(1000), file.readline(), file.readline(5)]
        theirs += file.readlines(500)
        assert mixed == [*theirs, file.read(70_000), file.read(), file.read()]


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_text_is_encoded_as_pythons_files_do(loop, open_file, path, encoding, newline):
    options = {"encoding": encoding, "newline": newline}

    async def write(name):
        async with open_file(name, "w", **options) as file:
            assert await file.write(TEXT) == len(TEXT)
            await file.writelines(["a\n", "b\r\n"])
        async with open_file(name, "a", **options) as file:
            await file.write(TEXT)
        async with open_file(name, "r+", **options) as file:
            assert await file.seek(0, os.SEEK_END) == os.path.getsize(name)
            await file.write("end")
            await file.seek(0)
            await file.write("b")

    loop.run_until_complete(write(path))
    other = path + "2"
    with open(other, "w", **options) as file:
        file.write(TEXT)
        file.writelines(["a\n", "b\r\n"])
    with open(other, "a", **options) as file:
        file.write(TEXT)
    with open(other, "r+", **options) as file:
        file.seek(0, os.SEEK_END)
        file.write("end")
        file.seek(0)
        file.write("b")
    with open(path, "rb") as ours, open(other, "rb") as theirs:
        assert ours.read() == theirs.read()


BAD = {
    "missing": lambda path: [path + "/none"],
    "a directory": lambda path: [os.path.dirname(path)],
    "an unknown mode": lambda path: [path, "q"],
    "text and binary": lambda path: [path, "rbt"],
    "binary with an encoding": lambda path: [path, "rb", -1, "utf-8"],
    "unbuffered text": lambda path: [path, "w", 0],
    "an unknown encoding": lambda path: [path, "w", -1, "no-such-encoding"],
    "an illegal newline": lambda path: [path, "w", -1, None, None, "x"],
    "a path with a null": lambda path: [path + "\0"],
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_opened_raises_what_open_raises(loop, open_file, path, case):
    args = BAD[case](path)
    with pytest.raises(Exception) as theirs:
        open(*args)

    async def main():
        async with open_file(*args):
            pass

    with pytest.raises(type(theirs.value)) as ours:
        loop.run_until_complete(main())
    assert str(ours.value) == str(theirs.value)


def test_a_closed_file_refuses_everything(loop, open_file, path):
    async def main():
        file = await open_file(path, "w+b")
        await file.close()
        await file.close()
        assert file.closed
        for call in (
            lambda: file.read(),
            lambda: file.read(1),
            lambda: file.readline(),
            lambda: file.pread(1, 0),
            lambda: file.write(b"x"),
            lambda: file.pwrite(b"x", 0),
            lambda: file.seek(0),
            lambda: file.tell(),
            lambda: file.flush(),
            lambda: file.fsync(),
            lambda: file.truncate(),
        ):
            with pytest.raises(ValueError, match="closed"):
                await call()
        with pytest.raises(ValueError, match="closed"):
            file.fileno()

    loop.run_until_complete(main())


def test_modes_forbid_what_they_do_not_allow(loop, open_file, path):
    async def main():
        async with open_file(path, "wb") as file:
            assert file.writable() and not file.readable() and file.seekable()
            with pytest.raises(io.UnsupportedOperation):
                await file.read()
        async with open_file(path) as file:
            assert file.readable() and not file.writable() and not file.isatty()
            with pytest.raises(io.UnsupportedOperation):
                await file.write("x")
        async with open_file(path, "wb") as file:
            with pytest.raises(TypeError):
                await file.write("text")
        async with open_file(path, "w") as file:
            with pytest.raises(TypeError):
                await file.write(b"bytes")

    loop.run_until_complete(main())


# ---- positions, offsets, syncing


def test_reading_and_writing_at_offsets_leave_the_position_alone(loop, way, open_file, path):
    async def main():
        async with open_file(path, "w+b") as file:
            await file.write(b"0123456789")
            assert await file.pread(4, 3) == b"3456"
            assert await file.pwrite(b"ab", 2) == 2
            assert await file.tell() == 10
            await file.seek(1)
            assert await file.pread(100, 0) == b"01ab456789"
            assert await file.pread(5, 100) == b""
            assert await file.read() == b"1ab456789"
            with pytest.raises(ValueError):
                await file.pread(1, -1)
            with pytest.raises(ValueError):
                await file.pread(-1, 0)

    loop.run_until_complete(main())


def test_what_was_synced_or_flushed_is_in_the_file(loop, open_file, path):
    async def main():
        async with open_file(path, "wb") as file:
            for sync in file.flush, file.fsync, file.fdatasync:
                await file.write(b"abc")
                await sync()
                assert await file.tell() == os.path.getsize(path)

    loop.run_until_complete(main())


def test_many_reads_at_offsets_run_side_by_side(loop, way, open_file, path):
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 4096)

    async def main():
        async with open_file(path, "rb") as file:
            offsets = [i * 997 % 1_000_000 for i in range(500)]
            found = await asyncio.gather(*[file.pread(300, at) for at in offsets])
            assert found == [(bytes(range(256)) * 3)[at % 256 :][:300] for at in offsets]

    loop.run_until_complete(main())


def test_tasks_that_share_a_file_read_each_byte_once(loop, way, open_file, path):
    content = os.urandom(300_000)
    with open(path, "wb") as file:
        file.write(content)

    async def take(file, pieces):
        while piece := await file.read(1000):
            pieces.append(piece)

    async def main():
        pieces = []
        async with open_file(path, "rb") as file:
            await asyncio.gather(*[take(file, pieces) for _ in range(5)])
        return pieces

    assert b"".join(loop.run_until_complete(main())) == content


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_tasks_that_share_a_file_get_whole_lines(loop, way, open_file, path, mode):
    lines = [f"{i} {'x' * (i % 7000)}\n" for i in range(300)]
    with open(path, "w") as file:
        file.writelines(lines)

    async def take(file, found):
        async for line in file:
            found.append(line if mode == "r" else line.decode())

    async def main():
        found = []
        async with open_file(path, mode) as file:
            await asyncio.gather(*[take(file, found) for _ in range(5)])
        return found

    assert sorted(loop.run_until_complete(main())) == sorted(lines)


def test_tasks_that_share_a_file_write_in_the_order_of_their_calls(loop, open_file, path):
    async def main():
        async with open_file(path, "wb") as file:
            await asyncio.gather(*[file.write(b"%d\n" % i * 9000) for i in range(40)])

    loop.run_until_complete(main())
    with open(path, "rb") as file:
        assert file.read() == b"".join(b"%d\n" % i * 9000 for i in range(40))


def test_a_line_longer_than_any_buffer_is_read_whole(loop, way, open_file, path):
    with open(path, "wb") as file:
        file.write(b"a" * 3_000_000 + b"\nshort\n")

    async def main():
        async with open_file(path, "rb") as file:
            lines = [line async for line in file]
        async with open_file(path, encoding="ascii") as file:
            return lines, [line async for line in file]

    binary, text = loop.run_until_complete(main())
    assert [len(line) for line in binary] == [3_000_001, 6]
    assert [len(line) for line in text] == [3_000_001, 6]


def test_other_callbacks_run_while_a_cached_file_is_read(loop, open_file, path):
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    ticks = []

    async def tick():
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    async def main():
        task = asyncio.ensure_future(tick())
        async with open_file(path, "rb") as file:
            before = len(ticks)
            for at in range(100):
                await file.pread(100, at)
            while await file.read(1000):
                pass
            after = len(ticks)
        task.cancel()
        return after - before

    assert loop.run_until_complete(main()) >= 200


# ---- cancelling


def test_a_cancelled_read_loses_nothing(loop, way, open_file, path):
    content = os.urandom(200_000)
    with open(path, "wb") as file:
        file.write(content)
    rng = random.Random(5)

    async def main():
        pieces = []
        cancelled = 0
        async with open_file(path, "rb") as file:
            while True:
                task = asyncio.ensure_future(file.read(3000))
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    piece = await task
                except asyncio.CancelledError:
                    cancelled += 1
                    piece = await file.read(100)
                if not piece:
                    return b"".join(pieces), cancelled
                pieces.append(piece)

    found, cancelled = loop.run_until_complete(main())
    assert found == content and cancelled > 0


def test_a_cancelled_write_is_completed_and_not_repeated(loop, open_file, path):
    rng = random.Random(6)
    blocks = [bytes([i]) * rng.choice([10, 200_000]) for i in range(60)]

    async def main():
        cancelled = 0
        async with open_file(path, "wb") as file:
            for block in blocks:
                task = asyncio.ensure_future(file.write(block))
                for _ in range(rng.randrange(1, 5)):
                    await asyncio.sleep(0)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    cancelled += 1
        return cancelled

    assert loop.run_until_complete(main()) > 0
    with open(path, "rb") as file:
        assert file.read() == b"".join(blocks)


def test_cancelling_while_waiting_for_another_task_gives_the_file_back(loop, open_file, path):
    async def main():
        async with open_file(path, "w+b", 0) as file:
            first = asyncio.ensure_future(file.write(b"x" * 500_000))
            await asyncio.sleep(0)
            second = asyncio.ensure_future(file.write(b"y"))
            await asyncio.sleep(0)
            second.cancel()
            await asyncio.wait([first, second])
            await file.write(b"z")
            await file.seek(0)
            return await file.read()

    assert loop.run_until_complete(main()) == b"x" * 500_000 + b"yz"  # as write() had taken it


def test_a_file_whose_closing_is_cancelled_is_closed_and_complete(loop, open_file, path, fds):
    async def main():
        for turns in range(6):
            before = fds()
            file = await open_file(path, "wb")
            await file.write(b"x" * 1000)
            other = asyncio.ensure_future(file.flush())
            if turns % 2:
                await asyncio.sleep(0)
            task = asyncio.ensure_future(file.close())
            for _ in range(turns // 2):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task, other])
            if not task.cancelled() or file.closed:
                deadline = loop.time() + 20
                while path in fds().values() and loop.time() < deadline:
                    await asyncio.sleep(0.001)
            else:
                await file.close()  # cancelled before it began
            assert path not in fds().values() and len(fds()) <= len(before) + 2
            assert os.path.getsize(path) == 1000

    loop.run_until_complete(main())


def test_opening_that_is_cancelled_leaves_no_descriptor(loop, open_file, path, fds):
    begun, gate = threading.Event(), threading.Event()

    def opener(name, flags):
        begun.set()
        gate.wait(30)
        return os.open(name, flags, 0o600)

    async def main():
        task = asyncio.ensure_future(asyncio.wait_for(open_file(path, "wb", opener=opener), 30))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await loop.shutdown_default_executor()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert path not in fds().values()


# ---- errors, short reads and writes


def test_a_failing_write_is_told_and_closing_works_all_the_same(loop, open_file):
    async def main():
        file = await open_file("/dev/full", "wb", 0)
        with pytest.raises(OSError) as told:
            await file.write(b"x")
        assert told.value.errno == errno.ENOSPC
        with pytest.raises(OSError):
            await file.close()
        assert file.closed
        with pytest.raises(OSError):
            async with open_file("/dev/full", "wb") as kept:
                await kept.write(b"x")
        assert kept.closed

    loop.run_until_complete(main())


def test_the_error_of_a_job_is_an_oserror(loop, way, open_file, path):
    async def main():
        async with open_file(path, "w+b") as file:
            fd = os.open(path, os.O_WRONLY)
            saved = os.dup(file.fileno())
            os.dup2(fd, file.fileno())
            os.close(fd)
            with pytest.raises(OSError) as told:
                await file.read(10)
            assert told.value.errno == errno.EBADF
            os.dup2(saved, file.fileno())
            os.close(saved)
            await file.write(b"x")

    loop.run_until_complete(main())


@pytest.mark.parametrize("most", [1, 7, 4096])
def test_short_reads_and_writes_lose_nothing(loop, open_file, path, most, monkeypatch):
    """Whoever does the work may do less than was asked for."""
    content = os.urandom(20_000 if most > 1 else 300)
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, most), at))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:most], at))
    loop._file_cached = loop._file_read = loop._file_write = lambda *args: None

    async def main():
        async with open_file(path, "w+b", 0) as file:
            assert await file.write(content) == len(content)
            await file.seek(0)
            assert await file.read(len(content) - 1) == content[:-1]
            assert await file.read() == content[-1:]
            assert await file.pread(100, 50) == content[50:150]

    loop.run_until_complete(main())


def test_jobs_that_come_back_undone_are_done_by_threads(loop, open_file, path):
    def undone(*args):
        future = loop.create_future()
        future.set_result(-errno.ECANCELED)
        return future

    loop._file_cached = lambda *args: None
    loop._file_read = loop._file_write = loop._file_sync = undone

    async def main():
        async with open_file(path, "w+b") as file:
            await file.write(b"abc")
            await file.fsync()
            await file.seek(0)
            assert await file.read() == b"abc"

    loop.run_until_complete(main())


def test_pipes_can_be_read_and_written(loop, open_file):
    async def main():
        r, w = os.pipe()
        async with open_file(r, "rb") as reader, open_file(w, "wb") as writer:
            assert not reader.seekable()
            with pytest.raises(io.UnsupportedOperation):
                await reader.seek(0)
            await writer.write(b"one\ntwo\nth")
            await writer.flush()
            assert await reader.readline() == b"one\n"
            assert await reader.read(3) == b"two"
            task = asyncio.ensure_future(reader.read(8))
            while not reader._store.unsettled:  # until a thread has been told to read
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await writer.write(b"ree\nfour")
            await writer.flush()
            await writer.close()
            assert await reader.read() == b"\nthree\nfour"

    loop.run_until_complete(main())


def test_threads_that_are_done_before_one_looks_write_everything_once(loop, open_file, path):
    """As from 3.14 on, when a thread is quick."""

    def at_once(executor, call):
        future = loop.create_future()
        future.set_result(call())
        return future

    async def main():
        async with open_file(path, "w+b", 4) as file:
            for piece in pieces:
                await file.write(piece)
            await file.seek(0)
            assert await file.read() == b"".join(pieces)
        r, w = os.pipe()
        async with open_file(r, "rb", 0) as reader, open_file(w, "wb", 0) as writer:
            for piece in pieces:
                await writer.write(piece)
            await writer.close()
            assert await reader.read(1) == b"0"
            assert await reader.read() == b"".join(pieces)[1:]

    pieces = [b"%d" % n for n in range(30)]
    loop._file_cached = loop._file_read = loop._file_write = lambda *args: None
    loop.run_in_executor = at_once
    loop.run_until_complete(main())


def test_stat_tells_what_os_stat_tells(loop, path):
    import casyncio

    with open(path, "w") as file:
        file.write(TEXT)
    os.symlink(path, path + "l")
    assert loop.run_until_complete(casyncio.stat(path)) == os.stat(path)
    found = loop.run_until_complete(casyncio.stat(path + "l", follow_symlinks=False))
    assert found == os.lstat(path + "l")
    with pytest.raises(FileNotFoundError):
        loop.run_until_complete(casyncio.stat(path + "none"))


# ---- the life of a file and of its loop


def test_a_file_that_is_forgotten_warns_and_keeps_what_was_written(loop, open_file, path, collect):
    async def main():
        file = await open_file(path, "wb")
        await file.write(b"kept")
        return repr(file)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        name = loop.run_until_complete(main())
        collect()
    assert [w.category for w in caught] == [ResourceWarning]
    assert name in str(caught[0].message)
    with open(path, "rb") as file:
        assert file.read() == b"kept"


def test_a_loop_may_be_closed_while_the_kernel_reads(loop, open_file, path, collect, fds):
    with open(path, "wb") as file:
        file.write(b"x" * 1_000_000)
    threads, before = threading.active_count(), len(fds())
    loop._file_cached = lambda *args: None

    async def main():
        file = await open_file(path, "rb")
        tasks = [asyncio.ensure_future(file.pread(900_000, i)) for i in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        file = loop.run_until_complete(main())
        assert path in fds().values()
        loop.close()
        del file
        collect()
    deadline = time.monotonic() + 30
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    assert path not in fds().values() and len(fds()) <= before


def test_a_loop_that_is_moved_to_another_thread_goes_on_reading(
    loop, way, open_file, path, in_thread
):
    with open(path, "wb") as file:
        file.write(b"x" * 100_000)
    box = []

    async def begin():
        file = await open_file(path, "rb")
        box.append(file)
        box.append([asyncio.ensure_future(file.pread(50_000, i)) for i in range(10)])
        await asyncio.sleep(0)

    async def go_on():
        found = await asyncio.gather(*box[1])
        assert [len(data) for data in found] == [50_000] * 10
        assert await box[0].read() == b"x" * 100_000
        await box[0].close()

    loop.run_until_complete(begin())
    in_thread(loop.run_until_complete, go_on())
    loop.run_until_complete(asyncio.sleep(0))


def test_files_work_on_asyncios_own_loop(open_file, path, new_stock):
    async def main():
        async with open_file(path, "w+", encoding="utf-8") as file:
            await file.write(TEXT)
            await file.fsync()
            await file.seek(0)
            assert await file.read() == TEXT
            await file.seek(0)
            return [line async for line in file]

    assert new_stock().run_until_complete(main()) == TEXT.splitlines(keepends=True)


def test_a_forked_child_uses_the_file_on_its_own(child):
    child.ok(
        """
import os, casyncio, tempfile
path = tempfile.mkstemp()[1]
loop = new_loop()
loop._file_cached = lambda *args: None

async def begin():
    file = await casyncio.open_file(path, "w+b")
    await file.write(b"x" * 1000)
    await file.seek(0)
    assert await file.read(10) == b"x" * 10
    return file

async def go_on(file):
    assert await file.pread(10, 500) == b"x" * 10
    assert await file.pread(10, 5000) == b""

file = loop.run_until_complete(begin())
loop.run_until_complete(loop.shutdown_default_executor())
loop._executor_shutdown_called = False
loop._default_executor = None
pid = os.fork()
if pid == 0:
    import asyncio
    loop.run_until_complete(go_on(file))
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
loop.run_until_complete(go_on(file))
loop.run_until_complete(file.close())
os.unlink(path)
loop.close()
"""
    )


# ---- descriptors that are somebody else's by now


@pytest.fixture
def busy_thread(loop):
    """The only thread of the loop's executor, busy until ``set()``; nothing goes another way."""
    gate = threading.Event()
    executor = ThreadPoolExecutor(1)
    loop.set_default_executor(executor)
    loop._file_cached = loop._file_read = loop._file_write = loop._file_sync = lambda *args: None
    gate.begin = lambda: executor.submit(gate.wait, 60)
    gate.end = lambda: (gate.set(), executor.shutdown())
    yield gate
    gate.end()


async def cancel_and_forget(open_file, path, begin, busy_thread):
    """Start something that waits for a thread, give it up, and the file with it."""
    file = await open_file(path, "r+b")
    busy_thread.begin()
    task = asyncio.ensure_future(begin(file))
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return file.fileno()


CALLS = {
    "truncate": lambda file: file.truncate(7),
    "pwrite": lambda file: file.pwrite(b"WRONG", 0),
    "fsync": lambda file: file.fsync(),
    "pread": lambda file: file.pread(10, 0),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("call", CALLS)
def test_a_forgotten_file_is_open_until_the_thread_is_done(
    loop, open_file, path, busy_thread, collect, fds, call
):
    for name in path, path + "2":
        with open(name, "wb") as file:
            file.write(b"right" * 10)

    async def main():
        await cancel_and_forget(open_file, path, CALLS[call], busy_thread)
        await asyncio.sleep(0)
        collect()
        assert path in fds().values()
        with open(path + "2", "r+b"):
            busy_thread.set()
            deadline = loop.time() + 30
            while path in fds().values() and loop.time() < deadline:
                await asyncio.sleep(0.001)

    loop.run_until_complete(main())
    assert path not in fds().values()
    with open(path + "2", "rb") as file:
        assert file.read() == b"right" * 10
    if call == "truncate":
        assert os.path.getsize(path) == 7


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_forgotten_file_of_a_closed_loop_is_open_until_the_thread_is_done(
    loop, open_file, path, busy_thread, collect, fds
):
    with open(path, "wb") as file:
        file.write(b"right" * 10)

    async def main():
        file = await open_file(path, "r+b")
        busy_thread.begin()
        task = asyncio.ensure_future(file.truncate(7))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return file

    file = loop.run_until_complete(main())
    loop.close()
    del file
    collect()
    assert path in fds().values()
    busy_thread.end()
    collect()
    assert path not in fds().values()
    assert os.path.getsize(path) == 7


@pytest.mark.parametrize("cancel", [False, True])
def test_closing_waits_for_those_who_read_at_an_offset(loop, open_file, path, cancel):
    size = 4_000_000  # several pieces
    with open(path, "wb") as file:
        file.write(b"a" * size)
    with open(path + "2", "wb") as file:
        file.write(b"b" * size)

    async def main():
        for turns in range(1, 8):
            file = await open_file(path, "rb")
            reading = asyncio.ensure_future(file.pread(size, 0))
            for _ in range(turns):
                await asyncio.sleep(0)
            closing = asyncio.ensure_future(file.close())
            if cancel:
                await asyncio.sleep(0)
                closing.cancel()
            await asyncio.wait([closing])
            with open(path + "2", "rb"):
                assert await reading == b"a" * size
            with pytest.raises(ValueError, match="closed"):
                await file.pread(size, 0)

    loop.run_until_complete(main())


def test_what_is_kept_of_a_forgotten_file_is_written_in_spite_of_short_writes(
    loop, open_file, path, collect, monkeypatch
):
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))

    async def main():
        file = await open_file(path, "wb")
        await file.write(b"0123456789" * 10)
        await file.write(b"end")

    with pytest.warns(ResourceWarning):
        loop.run_until_complete(main())
        collect()
    with open(path, "rb") as file:
        assert file.read() == b"0123456789" * 10 + b"end"


# ---- descriptors that do not block


@pytest.fixture
def unblocked():
    r, w = os.pipe()
    os.set_blocking(r, False)
    os.set_blocking(w, False)
    return r, w


@pytest.mark.parametrize("buffering", [0, -1])
def test_an_empty_pipe_that_does_not_block_is_not_at_its_end(loop, open_file, unblocked, buffering):
    r, w = unblocked

    async def main():
        async with open_file(r, "rb", buffering) as reader:
            for call in reader.read, reader.readline:
                with pytest.raises(BlockingIOError):
                    await call()
            os.write(w, b"one\ntw")
            assert await reader.read(2) == b"on"
            assert await reader.readline() == b"e\n"
            with pytest.raises(BlockingIOError):
                await reader.readline()
            assert await reader.read(100) == b"tw"
            with pytest.raises(BlockingIOError):
                await reader.read(100)
            os.close(w)
            assert await reader.read() == b""

    loop.run_until_complete(main())


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_full_pipe_that_does_not_block_keeps_the_rest_for_the_next_flush(
    loop, open_file, unblocked, buffering
):
    r, w = unblocked
    content = os.urandom(300_000)

    async def main():
        got = []
        async with open_file(w, "wb", buffering) as writer:
            with pytest.raises(BlockingIOError) as told:
                await writer.write(content)
            assert told.value.errno == errno.EAGAIN
            assert told.value.characters_written == len(content)
            flushed = False
            while not flushed:
                got.append(os.read(r, 1 << 20))
                try:
                    await writer.flush()
                    flushed = True
                except BlockingIOError:
                    assert got[-1]
        got.append(os.read(r, 1 << 20))
        return b"".join(got)

    assert loop.run_until_complete(main()) == content
    assert os.read(r, 1) == b""
    os.close(r)


def test_a_full_pipe_that_does_not_block_can_be_closed(loop, open_file, unblocked, fds):
    r, w = unblocked

    async def main():
        writer = await open_file(w, "wb")
        with pytest.raises(BlockingIOError):
            await writer.write(b"x" * 300_000)
        with pytest.raises(BlockingIOError):
            await writer.close()
        assert writer.closed
        assert w not in fds()

    loop.run_until_complete(main())
    os.close(r)


def test_the_rest_of_the_text_of_a_pipe_that_does_not_block_can_be_read(loop, open_file, unblocked):
    r, w = unblocked

    async def main():
        async with open_file(r, "r", encoding="utf-8") as reader:
            with pytest.raises(BlockingIOError):
                await reader.read()
            os.write(w, b"one\ntwo")
            assert await reader.readline() == "one\n"
            with pytest.raises(BlockingIOError):
                await reader.readline()
            assert await reader.read() == "two"

    loop.run_until_complete(main())
    os.close(w)
