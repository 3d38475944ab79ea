"""The lowest layer of asynchronous files: reading and writing at offsets.

Only this one knows how:

* what the page cache holds is read at once (``preadv2`` with ``RWF_NOWAIT``);
* else the loop's backend does it, where it can (``io_uring``);
* else a thread of the loop's default executor, and so on every other loop.

What has been started is finished, even if its task is cancelled: until then nothing else
happens to the file, so that its descriptor is not closed, and its position not used, while the
kernel is at work.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import functools
import io
import os
import stat as stat_module
import types
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

AT_ONCE = 1 << 20  # bytes that are read from the page cache without letting others run
_UNDONE = (-errno.ECANCELED, -errno.EINTR, -errno.EAGAIN)  # a job that came back as it was


@types.coroutine
def turn() -> Iterator[None]:
    yield


class Lock:
    """One holder at a time, first come first served."""

    def __init__(self) -> None:
        self.held = False
        self._waiters: collections.deque[asyncio.Future[None]] = collections.deque()

    async def acquire(self) -> None:
        if not self.held:
            self.held = True
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # it had become ours
            raise

    def acquire_later(self, then: Callable[[], None]) -> None:
        """Call ``then`` as the holder, now or when its turn has come."""
        if not self.held:
            self.held = True
            then()
            return
        waiter = asyncio.get_running_loop().create_future()
        waiter.add_done_callback(lambda _: then())
        self._waiters.append(waiter)

    def release(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.held = False


class Operation:
    """``async with``: nobody else until the block, and what it has started, is done."""

    __slots__ = ("_prepare", "_store")

    def __init__(self, store: Store, prepare: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._prepare = prepare

    async def __aenter__(self) -> None:
        await self._store.lock.acquire()
        try:
            await self._prepare()
        except BaseException:
            self._store.release()
            raise

    async def __aexit__(self, *exc_info: Any) -> None:
        self._store.release()


class Store:
    """The open file, read and written at offsets."""

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.fd = raw.fileno()
        mode = os.fstat(self.fd).st_mode
        self.regular = stat_module.S_ISREG(mode) or stat_module.S_ISBLK(mode)
        self.lock = Lock()
        self.unsettled: set[Any] = set()  # futures of all that uses the descriptor
        self.late = b""  # not regular: read for somebody who has given up
        self._left: Any = None  # what the holder of the lock has started and given up

    def release(self) -> None:
        """Give the lock to the next, after the end of what was left unfinished."""
        left, self._left = self._left, None
        if left is None:
            self.lock.release()
        else:
            left.add_done_callback(lambda _: self.lock.release())

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Without the lock, and yet: the descriptor stays open until the end of the block."""
        busy = asyncio.get_running_loop().create_future()
        self.unsettled.add(busy)
        try:
            yield
        finally:
            self.unsettled.discard(busy)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                busy.set_result(None)

    async def _settle(
        self, future: Any, on_end: Callable[[Any], None] | None = None, locked: bool = True
    ) -> Any:
        """Wait for what was started; ``on_end`` hears of its result whatever happens."""
        if future.done():  # a quick thread, from 3.14 on: callbacks would come after the result
            if on_end is not None:
                on_end(future)
            return future.result()
        self.unsettled.add(future)
        future.add_done_callback(functools.partial(_settled, self.unsettled, self.raw))
        if on_end is not None:
            future.add_done_callback(on_end)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_look_at)
            if locked:
                self._left = future  # even if it is done: on_end may be still to come
            raise

    async def thread(
        self,
        call: Callable[[], Any],
        on_end: Callable[[Any], None] | None = None,
        locked: bool = True,
    ) -> Any:
        """Call in a thread, which keeps the descriptor, for the loop may be closed before."""
        work = functools.partial(_call, self.raw, call)
        future = asyncio.get_running_loop().run_in_executor(None, work)
        return await self._settle(future, on_end, locked)

    def cached(self, size: int, offset: int) -> bytes | None:
        """Read what costs no waiting; None: nothing, or it is not known."""
        if not self.regular:
            return None
        read = getattr(asyncio.get_running_loop(), "_file_cached", None)
        return None if read is None else read(self.fd, size, offset)

    def _job(self, name: str, *args: Any) -> Any:
        """Start a job of the loop's own; None: it does none."""
        start = getattr(asyncio.get_running_loop(), name, None) if self.regular else None
        return None if start is None else start(self.fd, *args)

    async def read(self, size: int, offset: int, locked: bool = True) -> bytes:
        """Read up to ``size`` bytes in one go; b"" at the end.

        Raises BlockingIOError if there are none yet and the descriptor does not block.
        """
        if not self.regular:
            return await self._read_stream(size)
        await turn()
        data = self.cached(min(size, AT_ONCE), offset)
        if data is not None:
            return data
        job = self._job("_file_read", size, offset)
        if job is not None:
            found = await self._settle(job, locked=locked)
            if isinstance(found, bytes):
                return found
            _check(found)
        call = functools.partial(os.pread, self.fd, size, offset)
        return await self.thread(call, locked=locked)

    async def _read_stream(self, size: int) -> bytes:
        """The same from a pipe or terminal, where what was read is gone."""
        if not self.late:

            def ended(future: Any) -> None:
                if not future.cancelled() and future.exception() is None:
                    self.late += future.result() or b""

            found = await self.thread(functools.partial(self.raw.read, size), ended)
            if found is None:
                raise _would_block("read")
        data, self.late = self.late[:size], self.late[size:]
        return data

    async def write(self, data: Any, offset: int, on_end: Callable[[int], None]) -> None:
        """Write some of ``data``; ``on_end`` hears how much, also after cancelling.

        Raises BlockingIOError if nothing could be written and the descriptor does not block.
        """

        def ended(future: Any) -> None:
            if not future.cancelled() and future.exception() is None:
                on_end(max(future.result() or 0, 0))

        job = self._job("_file_write", data, offset)
        if job is not None:
            written = await self._settle(job, ended)
            if written >= 0:
                return
            _check(written)
        if self.regular:
            call = functools.partial(os.pwrite, self.fd, data, offset)
        else:
            call = functools.partial(self.raw.write, data)
        if await self.thread(call, ended) is None:
            raise _would_block("write")

    async def sync(self, data_only: bool) -> None:
        """Have the disk keep what was written."""
        job = self._job("_file_sync", data_only)
        if job is not None:
            result = await self._settle(job)
            if result >= 0:
                return
            _check(result)
        call = os.fdatasync if data_only else os.fsync
        await self.thread(functools.partial(call, self.fd))


def _settled(unsettled: set[Any], raw: io.FileIO, future: Any) -> None:
    """One thing less that uses the descriptor, which as our argument has lived so long."""
    unsettled.discard(future)


def _call(raw: io.FileIO, call: Callable[[], Any]) -> Any:
    """What a thread does; as long as it has ``raw``, nobody closes that by forgetting it."""
    return call()


def _would_block(what: str) -> BlockingIOError:
    """What ``io`` raises for descriptors that do not block."""
    return BlockingIOError(errno.EAGAIN, f"{what} could not complete without blocking", 0)


def _look_at(future: Any) -> None:
    """Nobody else is going to: an error would be reported as never retrieved."""
    if not future.cancelled():
        future.exception()


def _check(result: int) -> None:
    """Raise what a job has answered, unless it came back undone."""
    if result not in _UNDONE:
        raise OSError(-result, os.strerror(-result))
