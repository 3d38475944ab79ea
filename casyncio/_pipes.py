"""Pipe transports as users see them: the cold half of the native ones.

What runs per message is in ``_native.ReadPipe`` and ``_native.WritePipe``; what runs once per
pipe, per mistake or per look of a curious eye is here, or is asyncio's own method.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
from asyncio import futures, transports, unix_events
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from casyncio import _native
from casyncio._transports import report

# Private names of these are used below; each has a test that names it.
_futures: Any = futures
_flow: Any = getattr(transports, "_FlowControlMixin", None)
_stock_reader: Any = getattr(unix_events, "_UnixReadPipeTransport", None)
_stock_writer: Any = getattr(unix_events, "_UnixWritePipeTransport", None)


class _Missing:
    """Stands where the native type would be that this Python does not allow."""


if TYPE_CHECKING:
    _ReadBase = Any
    _WriteBase = Any
else:
    _ReadBase = getattr(_native, "ReadPipe", _Missing)
    _WriteBase = getattr(_native, "WritePipe", _Missing)

_FLOW_NAMES = (
    "_maybe_pause_protocol",
    "_maybe_resume_protocol",
    "_set_write_buffer_limits",
    "get_write_buffer_limits",
    "set_write_buffer_limits",
)


def _borrow(cls: Any, name: str) -> Any:
    """Return a method of asyncio's class, which runs on ours; None when it has none."""
    return getattr(cls, name, None)


class _UnixReadPipeTransport(_ReadBase, asyncio.ReadTransport):  # type: ignore[misc]
    """The reading end of a pipe; ``connect_read_pipe()`` makes it.

    All its methods belong to the loop's thread.
    """

    max_size = 256 * 1024  # bytes that one read may bring

    __repr__ = _borrow(_stock_reader, "__repr__")
    __del__ = _borrow(_stock_reader, "__del__")

    def __init__(
        self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> None:
        asyncio.ReadTransport.__init__(self, extra)
        self._extra["pipe"] = pipe
        fileno = pipe.fileno()
        mode = os.fstat(fileno).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError("Pipe transport is for pipes/sockets only.")
        self._open(loop, pipe, fileno, protocol, stat.S_ISCHR(mode))
        os.set_blocking(fileno, False)
        loop.call_soon(protocol.connection_made, self)
        loop.call_soon(self._start)
        if waiter is not None:
            loop.call_soon(_futures._set_result_unless_cancelled, waiter, None)

    def _fatal_error(
        self, exc: BaseException, message: str = "Fatal error on pipe transport"
    ) -> None:
        """Report an exception, unless a terminal was hung up, and close the pipe."""
        quiet = isinstance(exc, OSError) and exc.errno == errno.EIO
        report(self, exc, message, quiet=quiet)
        self._close(exc)

    def _log_closed(self) -> None:
        logger.info("%r was closed by peer", self)

    def _log_pause(self) -> None:
        logger.debug("%r pauses reading", self)

    def _log_resume(self) -> None:
        logger.debug("%r resumes reading", self)


class _UnixWritePipeTransport(_WriteBase, asyncio.Transport):  # type: ignore[misc]
    """The writing end of a pipe; ``connect_write_pipe()`` makes it.

    All its methods belong to the loop's thread.
    """

    __repr__ = _borrow(_stock_writer, "__repr__")
    __del__ = _borrow(_stock_writer, "__del__")
    _maybe_pause_protocol = _borrow(_flow, "_maybe_pause_protocol")
    _maybe_resume_protocol = _borrow(_flow, "_maybe_resume_protocol")
    _set_write_buffer_limits = _borrow(_flow, "_set_write_buffer_limits")
    get_write_buffer_limits = _borrow(_flow, "get_write_buffer_limits")
    set_write_buffer_limits = _borrow(_flow, "set_write_buffer_limits")

    def __init__(
        self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None
    ) -> None:
        asyncio.Transport.__init__(self, extra)
        self._set_write_buffer_limits()
        self._extra["pipe"] = pipe
        fileno = pipe.fileno()
        mode = os.fstat(fileno).st_mode
        is_char = stat.S_ISCHR(mode)
        is_fifo = stat.S_ISFIFO(mode)
        is_socket = stat.S_ISSOCK(mode)
        if not (is_char or is_fifo or is_socket):
            raise ValueError("Pipe transport is only for pipes, sockets and character devices")
        self._open(loop, pipe, fileno, protocol, is_char)
        os.set_blocking(fileno, False)
        loop.call_soon(protocol.connection_made, self)
        if is_socket or (is_fifo and not sys.platform.startswith("aix")):
            loop.call_soon(self._start)
        if waiter is not None:
            loop.call_soon(_futures._set_result_unless_cancelled, waiter, None)

    def _fatal_error(
        self, exc: BaseException, message: str = "Fatal error on pipe transport"
    ) -> None:
        """Report an exception, unless it is the system's, and close the pipe."""
        report(self, exc, message, quiet=isinstance(exc, OSError))
        self._close(exc)

    def _log_closed(self) -> None:
        logger.info("%r was closed by peer", self)

    def _log_lost(self) -> None:
        logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")


def reason_against_native_pipes() -> str | None:
    """Return why loops cannot make native pipe transports here; None when they can."""
    if os.environ.get("CASYNCIO_TRANSPORTS") == "stock":
        return "asked for by CASYNCIO_TRANSPORTS=stock"
    if _ReadBase is _Missing or _WriteBase is _Missing:
        return "this Python's BaseTransport has other fields than the known ones"
    if not all(hasattr(_flow, name) for name in _FLOW_NAMES):
        return "asyncio's own flow control has other methods than the known ones"
    return None


reason = reason_against_native_pipes()
# Named as asyncio's, because the name shows in reprs and in what the loop reports.
ReadPipeTransport = _UnixReadPipeTransport
WritePipeTransport = _UnixWritePipeTransport

reader_class: Any = ReadPipeTransport if reason is None else _stock_reader
writer_class: Any = WritePipeTransport if reason is None else _stock_writer
