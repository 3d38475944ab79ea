"""The middle layer of asynchronous files: a position, and buffers."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import errno
import functools
import io
import os
import warnings
from collections.abc import Iterable
from typing import Any

from casyncio._files_store import AT_ONCE, Operation, Store, turn

CHUNK = 1 << 17  # bytes that are read ahead for lines, and kept back when writing


class AsyncFile:
    """A binary file whose methods wait without keeping the loop from running.

    Methods are those of Python's own buffered files, with ``await`` before what may take time;
    ``async for line in file`` and ``async with`` work.  ``pread()`` and ``pwrite()`` take an
    offset and leave the position alone.

    Several tasks may use one file: calls take effect one after the other.  Cancelling a read
    loses nothing; a write that was cancelled is completed by the next flush or close.

    Raises ValueError when closed, ``io.UnsupportedOperation`` for what the mode does not allow,
    and the OSError of the system call: of a descriptor that does not block BlockingIOError,
    where nothing can be read yet, or not everything be written.  Threads: that of the running
    loop.
    """

    def __init__(self, raw: io.FileIO, mode: str, buffering: int = -1) -> None:
        self._store = Store(raw)
        self._mode = mode
        self._readable = raw.readable()
        self._writable = raw.writable()
        self._appends = "a" in raw.mode
        self._limit = 0 if buffering == 0 else CHUNK
        self._seekable = raw.seekable()
        self._position = raw.tell() if self._seekable else 0  # of what is neither read nor held
        self._ahead = b""  # read from the file and not by the user
        self._used = 0  # of _ahead
        self._held: collections.deque[Any] = collections.deque()  # taken and not written
        self._held_size = 0
        self._closed = False

    # ---- what it is

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""
        return f"<{type(self).__module__}.AsyncFile name={self.name!r} mode={self.mode!r}{state}>"

    @property
    def name(self) -> Any:
        """What was opened: a path, or a descriptor."""
        return self._store.raw.name

    @property
    def mode(self) -> str:
        """The mode it was opened with."""
        return self._mode

    @property
    def closed(self) -> bool:
        """Whether ``close()`` has begun."""
        return self._closed

    def fileno(self) -> int:
        """Return the descriptor."""
        self._check_open()
        return self._store.raw.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        self._check_open()
        return self._store.raw.isatty()

    def readable(self) -> bool:
        """Whether it may be read."""
        self._check_open()
        return self._readable

    def writable(self) -> bool:
        """Whether it may be written."""
        self._check_open()
        return self._writable

    def seekable(self) -> bool:
        """Whether it has a position."""
        self._check_open()
        return self._seekable

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file.")

    def _check_readable(self) -> None:
        self._check_open()
        if not self._readable:
            raise io.UnsupportedOperation("read")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            raise io.UnsupportedOperation("write")

    # ---- reading

    async def read(self, size: int | None = -1, /) -> bytes:
        """Read ``size`` bytes, fewer only at the end of the file; all when it is negative."""
        self._check_readable()
        if size is None or size < 0:
            return await self.readall()
        if size <= AT_ONCE:
            await turn()
            if not self._ahead:
                data = self._cached(size, self._position)
                if data is not None:
                    self._position += len(data)
                    return data
        async with self._reading():
            return await self._take(size)

    def _cached(self, size: int, offset: int) -> bytes | None:
        """The short way: nothing held, nobody else there, all of it in the page cache."""
        if self._held or self._closed or self._store.lock.held:
            return None
        data = self._store.cached(size, offset)
        return data if data is not None and (len(data) == size or not data) else None

    async def readall(self) -> bytes:
        """Read to the end of the file."""
        self._check_readable()
        async with self._reading():
            return await self._take(None)

    async def readinto(self, buffer: Any, /) -> int:
        """Read into a writable buffer until it is full or the file ends; return how much."""
        with memoryview(buffer).cast("B") as view:
            data = await self.read(len(view))
            view[: len(data)] = data
        return len(data)

    async def readline(self, size: int | None = -1, /) -> bytes:
        r"""Read up to and including the next b"\\n", at most ``size`` bytes of it."""
        self._check_readable()
        limit = -1 if size is None else size
        if limit < 0 and not self._held and not self._store.lock.held:
            end = self._ahead.find(b"\n", self._used) + 1
            if end > 0:
                line = self._ahead[self._used : end]
                self._advance(len(line))
                return line
        async with self._reading():
            return await self._take_line(limit)

    async def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Read the remaining lines; with a positive ``hint``, until it is exceeded."""
        lines = []
        total = 0
        async for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __aiter__(self) -> AsyncFile:
        self._check_open()
        return self

    async def __anext__(self) -> bytes:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def pread(self, size: int, offset: int, /) -> bytes:
        """Read ``size`` bytes at an offset, fewer only at the end; the position stays.

        Several may be under way at a time; ``close()`` waits for them.
        """
        self._check_readable()
        self._check_seekable()
        if size < 0 or offset < 0:
            raise ValueError("size and offset must not be negative")
        if size <= AT_ONCE:
            await turn()
            data = self._cached(size, offset)
            if data is not None:
                return data
        if not self._held and not self._store.lock.held and self._store.regular:
            self._check_open()
            with self._store.using():
                return await self._collect(size, offset, locked=False)
        async with self._reading():
            return await self._collect(size, offset)

    def _reading(self) -> Operation:
        return Operation(self._store, self._prepare_reading)

    def _operation(self) -> Operation:
        return Operation(self._store, self._prepare)

    async def _prepare(self) -> None:
        self._check_open()  # it may have been closed while this call waited

    async def _prepare_reading(self) -> None:
        self._check_open()
        if self._held:
            await self._write_held()

    def _advance(self, nbytes: int) -> None:
        """Use up bytes that were read ahead."""
        self._used += nbytes
        self._position += nbytes
        if self._used >= len(self._ahead):
            self._ahead, self._used = b"", 0

    def _forget_ahead(self) -> None:
        self._ahead, self._used = b"", 0

    async def _collect(self, size: int | None, offset: int, locked: bool = True) -> bytes:
        """Read until there are ``size`` bytes or no more, wherever they come from."""
        parts: list[bytes] = []
        wanted = size
        try:
            while wanted is None or wanted > 0:
                part = await self._store.read(AT_ONCE if wanted is None else wanted, offset, locked)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                if wanted is not None:
                    wanted -= len(part)
        except BlockingIOError:
            if not parts:
                raise
        except BaseException:
            self._put_back(parts)
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _put_back(self, parts: list[bytes]) -> None:
        """What was read and is not used; from a regular file it can be read again."""
        if not self._store.regular:
            self._store.late = b"".join(parts) + self._store.late

    async def _take(self, size: int | None) -> bytes:
        kept = self._ahead[self._used :] if size is None else self._ahead[self._used :][:size]
        rest = b""
        if size is None or len(kept) < size:
            missing = None if size is None else size - len(kept)
            try:
                rest = await self._collect(missing, self._position + len(kept))
            except BlockingIOError:
                if not kept:
                    raise
        self._advance(len(kept))
        self._position += len(rest)
        return kept + rest if kept else rest

    async def _take_line(self, limit: int) -> bytes:
        parts: list[bytes] = []
        total = 0  # bytes in parts
        chunk = self._ahead[self._used :]
        while True:
            end = chunk.find(b"\n") + 1
            if 0 <= limit <= total + (end or len(chunk)):
                end = limit - total
                break
            if end > 0:
                break
            try:
                more = await self._store.read(CHUNK, self._position + total + len(chunk))
            except BaseException:
                self._put_back(parts[1:] + [chunk] if parts else [])
                raise
            if not more:
                end = len(chunk)
                break
            parts.append(chunk)
            total += len(chunk)
            chunk = more
        self._ahead, self._used = (chunk, end) if end < len(chunk) else (b"", 0)
        self._position += total + end
        return b"".join([*parts, chunk[:end]])

    # ---- writing

    async def write(self, data: Any, /) -> int:
        """Take ``data`` to be written; return its size in bytes.

        Small pieces are kept back and written together, by ``flush()``, ``close()``, a read, a
        seek, or when there is enough of them; with ``buffering=0`` nothing is.

        BlockingIOError: the descriptor does not block and takes no more now.  All of ``data``
        is kept, as ``characters_written`` says, for the next ``flush()``.
        """
        self._check_writable()
        if isinstance(data, str):
            raise TypeError("a bytes-like object is required, not 'str'")
        piece = data if type(data) is bytes else bytes(memoryview(data))
        if not piece:
            return 0
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size > self._limit:
            try:
                await self.flush()
            except BlockingIOError as error:
                error.characters_written = len(piece)
                raise
        return len(piece)

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write each of them."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Hand everything that was kept back to the kernel."""
        self._check_open()
        if self._held or self._store.lock.held:
            async with self._operation():
                await self._write_held()

    async def pwrite(self, data: Any, offset: int, /) -> int:
        """Write all of ``data`` at an offset; the position stays.  Returns its size."""
        self._check_writable()
        view = memoryview(data if type(data) is bytes else bytes(memoryview(data)))
        done = 0

        def ended(nbytes: int) -> None:
            nonlocal done
            done += nbytes

        async with self._operation():
            await self._write_held()
            self._forget_ahead()
            while done < len(view):
                await self._store.write(view[done:], offset + done, ended)
        return len(view)

    async def fsync(self) -> None:
        """Flush, and wait until the disk has it."""
        await self._sync(False)

    async def fdatasync(self) -> None:
        """Flush, and wait until the disk has the data, and what is needed to find them."""
        await self._sync(True)

    async def _sync(self, data_only: bool) -> None:
        self._check_open()
        async with self._operation():
            await self._write_held()
            await self._store.sync(data_only)

    def _written(self, nbytes: int) -> None:
        """So much of what is held has been written."""
        self._position += nbytes
        self._held_size -= nbytes
        first = self._held.popleft()
        if nbytes < len(first):
            self._held.appendleft(memoryview(first)[nbytes:])

    async def _write_held(self) -> None:
        if self._held and self._seekable:
            self._forget_ahead()
        while self._held:
            if len(self._held) > 1:
                joined = b"".join(self._held)
                self._held.clear()
                self._held.append(joined)
            await self._store.write(self._held[0], self._position, self._written)
            if not self._held and self._appends and self._store.regular:
                self._position = os.lseek(self._store.fd, 0, os.SEEK_END)

    # ---- position

    async def tell(self) -> int:
        """Return the position: the offset of the next byte to be read or written."""
        self._check_seekable()
        return self._position + self._held_size

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, as ``io.IOBase.seek()``; return it."""
        self._check_seekable()
        async with self._reading():
            if whence == os.SEEK_SET:
                base = 0
            elif whence == os.SEEK_CUR:
                base = self._position
            elif whence == os.SEEK_END:
                base = os.lseek(self._store.fd, 0, os.SEEK_END)
            else:
                raise ValueError(f"invalid whence value ({whence}, should be 0, 1 or 2)")
            if base + offset < 0:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            self._forget_ahead()
            self._position = base + offset
            return self._position

    async def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen the file to ``size`` bytes (None: the position); return that."""
        self._check_writable()
        async with self._reading():
            length = self._position if size is None else size
            self._forget_ahead()
            await self._store.thread(functools.partial(os.ftruncate, self._store.fd, length))
            return length

    def _check_seekable(self) -> None:
        self._check_open()
        if not self._seekable:
            raise io.UnsupportedOperation("File or stream is not seekable.")

    # ---- the end

    async def close(self) -> None:
        """Flush and close; harmless when repeated.

        The file is closed even if flushing fails, and when nobody uses it any more even if
        this is cancelled.
        """
        if self._closed:
            return
        try:
            await self._store.lock.acquire()
        except asyncio.CancelledError:
            self._closed = True
            self._store.lock.acquire_later(self._finish)
            raise
        if self._closed:
            self._store.lock.release()
            return
        try:
            if self._held:
                await self._write_held()
            while self._store.unsettled:
                await asyncio.wait(list(self._store.unsettled))
        except asyncio.CancelledError:
            self._closed = True
            self._finish()
            raise
        finally:
            if not self._closed:
                self._closed = True
                self._held.clear()
                self._finish()

    def _finish(self) -> None:
        """Close as soon as the kernel has let go of the descriptor."""
        for future in self._store.unsettled:
            future.add_done_callback(lambda _: self._finish())
            return
        try:
            self._write_rest()
        finally:
            self._store.raw.close()
            self._store._left = None
            self._store.lock.release()

    def _write_rest(self) -> None:
        """Write what is held, which is little, here and now: there will be no other time."""
        with contextlib.suppress(OSError):
            while self._held:
                if self._store.regular:
                    written = os.pwrite(self._store.fd, self._held[0], self._position)
                else:
                    written = self._store.raw.write(self._held[0])
                if not written:
                    break  # a full pipe that does not block
                self._written(written)
        self._held.clear()

    async def __aenter__(self) -> AsyncFile:
        self._check_open()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.close()

    def __del__(self) -> None:
        if getattr(self, "_closed", True) or self._store.raw.closed:
            return
        warnings.warn(f"unclosed file {self!r}", ResourceWarning, stacklevel=2, source=self)
        for future in list(self._store.unsettled):
            with contextlib.suppress(RuntimeError):  # closed; we may be in any thread
                future.get_loop().call_soon_threadsafe(self._finish)
                return
        self._write_rest()
        if all(future.done() for future in self._store.unsettled):
            self._store.raw.close()
        # Else whoever is at work has it, and it is closed when they let go.
