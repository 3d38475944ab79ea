"""Asynchronous files: ``casyncio.open_file()``.

A file is three layers, as in ``io``: ``Store`` reads and writes at offsets, ``AsyncFile`` adds
a position and buffers, ``AsyncTextFile`` encodings and newlines.

A cancelled read has read nothing.  Bytes that ``write()`` has taken are written by the next
``flush()``, seek, read or ``close()`` if cancelling came in between.
"""

from __future__ import annotations

import asyncio
import functools
import io
from collections.abc import Callable, Generator
from typing import Any

from casyncio._files_binary import AsyncFile
from casyncio._files_text import AsyncTextFile


def _wrap(opened: Any, mode: str, buffering: int, newline: str | None) -> Any:
    """Put our layers in the place of Python's."""
    if isinstance(opened, io.TextIOWrapper):
        encoding, errors = opened.encoding, opened.errors or "strict"
        raw = opened.detach().detach()  # type: ignore[attr-defined]
        return AsyncTextFile(AsyncFile(raw, mode), encoding, errors, newline)
    raw = opened if isinstance(opened, io.FileIO) else opened.detach()
    return AsyncFile(raw, raw.mode, buffering)


class Opening:
    """A file that is about to be opened: ``await`` it, or enter it with ``async with``."""

    def __init__(self, call: Callable[[], Any], wrap: Callable[[Any], Any]) -> None:
        self._call = call
        self._wrap = wrap
        self._file: Any = None

    async def _open(self) -> Any:
        future = asyncio.get_running_loop().run_in_executor(None, self._call)
        try:
            opened = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(_close_opened)
            raise
        return self._wrap(opened)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._open().__await__()

    async def __aenter__(self) -> Any:
        self._file = await self._open()
        return self._file

    async def __aexit__(self, *exc_info: Any) -> None:
        await self._file.close()


def _close_opened(future: Any) -> None:
    """Whoever wanted it is gone."""
    if not future.cancelled() and future.exception() is None:
        future.result().close()


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Opening:
    """Open a file for asynchronous use; the arguments are those of ``open()``.

    ``file = await casyncio.open_file(path)``, or ``async with casyncio.open_file(path) as
    file``.  Binary modes give an ``AsyncFile``, the others an ``AsyncTextFile``.

    Errors are those of ``open()``.  On a loop of casyncio's reads from the page cache are
    immediate, and with the backend ``"io_uring"`` no thread is needed for the others; on any
    other loop everything is done in threads, with the same results.
    """
    if encoding is None and "b" not in mode:
        encoding = io.text_encoding(encoding)
    call = functools.partial(
        open, file, mode, buffering, encoding, errors, newline, closefd, opener
    )
    return Opening(call, lambda opened: _wrap(opened, mode, buffering, newline))
