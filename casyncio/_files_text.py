"""The upper layer of asynchronous files: encodings and newlines."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from typing import Any

from casyncio._files_binary import CHUNK, AsyncFile
from casyncio._files_store import Lock


class AsyncTextFile:
    """A text file over an ``AsyncFile``, which is its ``buffer``.

    Methods are those of ``io.TextIOWrapper``, with ``await`` before what may take time;
    encodings, error handlers and newlines mean the same.  ``tell()`` works where reading has
    not gone into the middle of what was decoded, that is before the first read, after a seek
    and at the end of the file.  Between reading and writing there has to be a ``seek()``.
    """

    def __init__(self, buffer: AsyncFile, encoding: str, errors: str, newline: str | None) -> None:
        self.buffer = buffer
        self.encoding = encoding
        self.errors = errors
        self._newline = newline
        self._encoder = codecs.getincrementalencoder(encoding)(errors)
        if buffer._position != 0:
            self._encoder.setstate(0)  # the mark of the byte order is there already
        self._decoder = self._make_decoder()
        self._lock = Lock()  # of those who read
        self._chars = ""  # decoded and not read
        self._used = 0  # of _chars
        self._at_end = False

    def _make_decoder(self) -> Any:
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors)
        if self._newline in (None, ""):
            return io.IncrementalNewlineDecoder(decoder, translate=self._newline is None)
        return decoder

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return (
            f"<{type(self).__module__}.AsyncTextFile name={self.name!r} mode={self.mode!r} "
            f"encoding={self.encoding!r}{state}>"
        )

    @property
    def name(self) -> Any:
        """What was opened."""
        return self.buffer.name

    @property
    def mode(self) -> str:
        """The mode it was opened with."""
        return self.buffer.mode

    @property
    def closed(self) -> bool:
        """Whether ``close()`` has begun."""
        return self.buffer.closed

    @property
    def newlines(self) -> Any:
        """The kinds of newlines that were met so far, as in ``io.TextIOBase``."""
        return getattr(self._decoder, "newlines", None)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.buffer.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.buffer.isatty()

    def readable(self) -> bool:
        """Whether it may be read."""
        return self.buffer.readable()

    def writable(self) -> bool:
        """Whether it may be written."""
        return self.buffer.writable()

    def seekable(self) -> bool:
        """Whether it has a position."""
        return self.buffer.seekable()

    # ---- reading

    async def _decode(self, everything: bool = False) -> str | None:
        """Decode the next piece of the file, or all of it; None at the end."""
        if self._at_end:
            return None
        buffer = self.buffer
        async with buffer._reading():
            if everything:
                data = await buffer._take(None)
            else:
                data = await buffer._store.read(CHUNK, buffer._position)
                buffer._position += len(data)
            self._at_end = everything or not data
            chars: str = self._decoder.decode(data, self._at_end)
        return chars if chars or not self._at_end else None

    def _take(self, count: int) -> str:
        chars = self._chars[self._used : self._used + count]
        self._used += len(chars)
        if self._used >= len(self._chars):
            self._chars, self._used = "", 0
        return chars

    def _unread(self) -> int:
        return len(self._chars) - self._used

    def _begin_reading(self) -> None:
        self.buffer._check_readable()
        if self._at_end and not self._unread():
            self._at_end = False  # the file may have grown since

    async def read(self, size: int | None = -1, /) -> str:
        """Read ``size`` characters, fewer only at the end of the file; all when negative."""
        self._begin_reading()
        await self._lock.acquire()
        try:
            return await self._read(-1 if size is None else size)
        finally:
            self._lock.release()

    async def _read(self, size: int) -> str:
        if size < 0:
            try:
                more = await self._decode(everything=True)
            except BlockingIOError:
                if not self._unread():
                    raise
                more = None
            return self._take(self._unread()) + (more or "")
        parts: list[str] = []
        while self._unread() < size:
            if not await self._refill(parts):
                break
            size -= len(parts[-1])
        return "".join([*parts, self._take(size)])

    async def _refill(self, parts: list[str], keep: int = 0) -> bool:
        """Move what is unread, but for ``keep`` characters, to ``parts`` and decode more.

        False at the end of the file, and then nothing has moved.  If it fails, everything is
        unread again.
        """
        try:
            more = await self._decode()
        except BaseException:
            self._chars = "".join([*parts, self._chars[self._used :]])
            self._used = 0
            raise
        if more is None:
            return False
        split = len(self._chars) - keep
        parts.append(self._chars[self._used : split])
        self._chars, self._used = self._chars[split:] + more, 0
        return True

    def _line_end(self, start: int) -> int:
        """Where the line that begins with the unread characters ends; -1: not yet seen."""
        chars = self._chars
        if self._newline is None:
            return chars.find("\n", start) + 1 or -1
        if self._newline:
            found = chars.find(self._newline, start)
            return -1 if found < 0 else found + len(self._newline)
        feed = chars.find("\n", start)
        found = chars.find("\r", start, feed if feed >= 0 else len(chars))
        if found < 0:
            return feed + 1 or -1
        return found + (2 if feed == found + 1 else 1)

    async def readline(self, size: int | None = -1, /) -> str:
        """Read up to and including the next newline, at most ``size`` characters of it."""
        self._begin_reading()
        room = sys.maxsize if size is None or size < 0 else size
        if not self._lock.held:
            end = self._line_end(self._used)
            if end >= 0:
                return self._take(min(end - self._used, room))
        await self._lock.acquire()
        try:
            return await self._read_line(room)
        finally:
            self._lock.release()

    async def _read_line(self, room: int) -> str:
        parts: list[str] = []
        while True:
            end = self._line_end(self._used)
            count = self._unread() if end < 0 else end - self._used
            if end >= 0 or count >= room:
                break
            half = len(self._newline or "") == 2 and self._chars.endswith("\r", self._used)
            if not await self._refill(parts, keep=int(half)):
                break
            room -= len(parts[-1])
        return "".join([*parts, self._take(min(count, room))])

    async def readlines(self, hint: int | None = -1, /) -> list[str]:
        """Read the remaining lines; with a positive ``hint``, until it is exceeded."""
        lines = []
        total = 0
        async for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __aiter__(self) -> AsyncTextFile:
        self.buffer._check_open()
        return self

    async def __anext__(self) -> str:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    # ---- writing

    async def write(self, text: str, /) -> int:
        """Take ``text`` to be written, as ``AsyncFile.write()``; return its length."""
        self.buffer._check_writable()
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._unread():
            raise io.UnsupportedOperation("seek() is needed between reading and writing")
        translated = text
        if "\n" in text and self._newline not in ("", "\n"):
            translated = text.replace("\n", self._newline or os.linesep)
        await self.buffer.write(self._encoder.encode(translated))
        return len(text)

    async def writelines(self, lines: Iterable[str], /) -> None:
        """Write each of them."""
        for line in lines:
            await self.write(line)

    async def flush(self) -> None:
        """Hand everything that was kept back to the kernel."""
        await self.buffer.flush()

    async def fsync(self) -> None:
        """Flush, and wait until the disk has it."""
        await self.buffer.fsync()

    # ---- position

    def _reset(self, position: int) -> None:
        self._chars, self._used, self._at_end = "", 0, False
        self._decoder = self._make_decoder()
        self._encoder.reset()
        if position != 0:
            self._encoder.setstate(0)

    async def tell(self) -> int:
        """Return a position for ``seek()``."""
        if self._unread() or (not self._at_end and self._decoder.getstate()[0]):
            raise io.UnsupportedOperation("tell() in the middle of decoded text")
        return await self.buffer.tell()

    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position from ``tell()``, to 0, or with ``whence`` 2 to the end."""
        self.buffer._check_seekable()
        if whence == os.SEEK_CUR:
            if offset != 0:
                raise io.UnsupportedOperation("can't do nonzero cur-relative seeks")
            offset, whence = await self.tell(), os.SEEK_SET
        elif whence == os.SEEK_END and offset != 0:
            raise io.UnsupportedOperation("can't do nonzero end-relative seeks")
        elif whence == os.SEEK_SET and offset < 0:
            raise ValueError(f"negative seek position {offset}")
        position = await self.buffer.seek(offset, whence)
        self._reset(position)
        return position

    async def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen the file to ``size`` bytes (None: the position); return that."""
        length = await self.tell() if size is None else size
        return await self.buffer.truncate(length)

    # ---- the end

    async def close(self) -> None:
        """Flush and close; harmless when repeated."""
        await self.buffer.close()

    async def __aenter__(self) -> AsyncTextFile:
        self.buffer._check_open()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        await self.close()
