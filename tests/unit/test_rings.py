"""The backend io_uring: had where the kernel gives it, explained where it does not."""

import errno
import os
import pathlib

import pytest

pytestmark = pytest.mark.ours("asyncio has no such backend")

# What a kernel or sandbox without rings answers with: a filter before the program begins.
FORBID = """
import ctypes, errno, os, struct

def forbid(number, error):
    code = struct.pack(
        "=HBBI HBBI HBBI HBBI",
        0x20, 0, 0, 0,  # load the number of the call
        0x15, 0, 1, number,
        0x06, 0, 0, 0x00050000 | error,
        0x06, 0, 0, 0x7FFF0000,
    )
    code = b"".join(
        struct.pack("=HBBI", *fields)
        for fields in struct.iter_unpack("=HBBI", code)
    )
    buffer = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", 4, ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, ctypes.addressof(program), 0, 0) == 0, ctypes.get_errno()

SETUP, ENTER = 425, 426
"""
ROOT = pathlib.Path(__file__).parents[2]
BACKENDS = ["io_uring"]  # read by conftest.py
ERRORS = ["EPERM", "ENOSYS", "ENOMEM", "EINVAL"]

FILES = """
import casyncio, tempfile
path = tempfile.mkstemp()[1]

async def use_a_file():
    async with casyncio.open_file(path, "w+b") as file:
        await file.write(b"x" * 300_000)
        await file.fsync()
        await file.seek(0)
        assert len(await file.read()) == 300_000
    os.unlink(path)
"""


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["SETUP", "ENTER"])
def test_a_refused_ring_is_a_clear_error_and_the_environment_falls_back(child, call, error):
    child.ok(
        FORBID
        + FILES
        + f"""
forbid({call}, errno.{error})
try:
    casyncio.new_event_loop("io_uring")
except OSError as refused:
    assert refused.errno == errno.{error}
    assert "io_uring" in str(refused) and "cannot be had" in str(refused), refused
    assert os.strerror(errno.{error}) in str(refused)
else:
    raise AssertionError("a ring was to be had")
assert os.environ["CASYNCIO_BACKEND"] == "io_uring"
loop = casyncio.new_event_loop()
assert loop.backend == "epoll"
loop.run_until_complete(use_a_file())
loop.close()
"""
    )


@pytest.mark.parametrize("error", ERRORS)
def test_info_says_why_there_is_no_ring(child, error):
    out = child.ok(
        FORBID
        + f"""
forbid(SETUP, errno.{error})
from casyncio import _info
assert _info.main() == 0
"""
    )
    (line,) = [line for line in out.splitlines() if line.startswith("backend")]
    assert "epoll" in line and "CASYNCIO_BACKEND=io_uring" in line
    assert "io_uring (refused)" in out


def test_a_test_run_without_rings_is_one_on_epoll_and_says_why(child, tmp_path):
    out = child.ok(
        FORBID
        + f"""
forbid(SETUP, errno.EPERM)
import pytest
status = pytest.main([
    "-p", "no:cacheprovider", "--basetemp", {str(tmp_path / "inner")!r},
    "--rootdir", {str(ROOT)!r}, "-c", {str(ROOT / "pyproject.toml")!r},
    {str(ROOT / "tests/unit/test_received.py")!r}, "-k", "names",
])
assert status == 0, status
""",
        timeout=55,
    )
    (line,) = [line for line in out.splitlines() if line.startswith("backend: ")]
    assert line.startswith("backend: epoll (CASYNCIO_BACKEND=io_uring, but "), line
    assert os.strerror(errno.EPERM) in line
    assert " passed" in out and "skipped" not in out


def test_a_ring_that_breaks_while_it_runs_leaves_the_work_to_threads(child):
    child.ok(
        FORBID
        + FILES
        + """
import asyncio

async def main():
    loop = asyncio.get_running_loop()
    assert loop.backend == "io_uring"
    loop._file_cached = lambda *args: None
    async with casyncio.open_file(__file__, "rb") as file:
        first = await file.pread(100, 0)
        forbid(ENTER, errno.EPERM)
        found = await asyncio.gather(*[file.pread(100, 0) for _ in range(300)])
        assert set(found) == {first}
    await use_a_file()
    # What the ring reports of itself later than that changes nothing.
    for _ in range(3):
        await asyncio.sleep(0)
    async with casyncio.open_file(__file__, "rb") as file:
        assert await file.pread(100, 0) == first

loop = new_loop("io_uring")
loop.run_until_complete(main())
loop.close()
"""
    )


def test_a_loop_that_uses_no_file_has_no_ring(loop, fds):
    async def main():
        return fds().values()

    assert not any("io_uring" in target for target in loop.run_until_complete(main()))


def test_a_ring_goes_with_its_loop(new_loop, fds, tmp_path):
    import casyncio

    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    before = len(fds())

    async def main():
        import asyncio

        loop = asyncio.get_running_loop()
        async with casyncio.open_file(path, "rb") as file:
            found = await loop._file_read(file.fileno(), 2000, 1)
            assert found == b"x" * 999
        return [target for target in fds().values() if "io_uring" in target]

    for _ in range(20):
        loop = new_loop()
        assert len(loop.run_until_complete(main())) == 1
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
    assert len(fds()) <= before + 1


def test_a_job_takes_only_what_makes_sense(loop, tmp_path):
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        for error, *wrong in [
            (ValueError, fd, -1, 0),
            (ValueError, fd, 1, -1),
            (OverflowError, fd, 2**70, 0),
            (TypeError, fd, 1),
            (TypeError, "x", 1, 0),
        ]:
            for call in loop._file_read, loop._file_cached:
                with pytest.raises(error):
                    call(*wrong)
        with pytest.raises(TypeError):
            loop._file_write(fd, "text", 0)
        with pytest.raises(TypeError):
            loop._file_sync(fd)
    finally:
        os.close(fd)


def test_a_job_of_a_closed_loop_is_refused(new_loop):
    loop = new_loop()
    loop.close()
    assert loop._file_read(0, 1, 0) is None


def test_a_job_from_another_thread_is_refused(loop, in_thread):
    async def main():
        with pytest.raises(RuntimeError):
            in_thread(loop._file_read, 0, 1, 0)

    loop.run_until_complete(main())


def test_an_unclosed_loop_with_a_job_in_flight_is_collected(new_loop, collect, fds, tmp_path):
    import warnings

    import casyncio

    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    before = len(fds())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(10):
            loop = casyncio.new_event_loop("io_uring")
            fd = os.open(path, os.O_RDONLY)
            future = loop._file_read(fd, 100, 0)
            future.me = [future, loop]
            del loop, future
            collect()
            os.close(fd)
    assert len(fds()) == before
