"""Datagram transports: a native type for what is hot, asyncio's own methods for the rest.

The native type keeps its state under the names that asyncio's selector transport uses, so the
methods of that class run on it unchanged, and behave as the running Python's do.  They are
borrowed here one by one; the native type sends what can leave at once, and delivers what comes.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
import sys
from asyncio import constants, futures, selector_events, trsock
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from casyncio import _native

# Private names of these are used below; each has a test that names it.
_futures: Any = futures
_selector_events: Any = selector_events
_stock: Any = getattr(selector_events, "_SelectorDatagramTransport", None)

_BORROWED = (
    "__del__",
    "__repr__",
    "_call_connection_lost",
    "_fatal_error",
    "_maybe_resume_protocol",
    "_set_write_buffer_limits",
    "abort",
    "get_protocol",
    "get_write_buffer_limits",
    "is_reading",
    "pause_reading",
    "set_protocol",
    "set_write_buffer_limits",
)

# From 3.15 on they begin or queue something in the transport's `_context`; datagrams have none.
_NEW = ("_add_writer", "_call_soon")

# These call the protocol, or arrange for that: in the context of the transport's creation,
# whoever closes it, writes or resumes.
_IN_CONTEXT = ("_force_close", "_maybe_pause_protocol", "close", "resume_reading")

_SENDS_EMPTY = hasattr(asyncio.Server, "close_clients")  # both came with 3.13
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
# What a class of somebody's own may have replaced; then asyncio's transport calls it.
_SOCKET_METHODS = ("fileno", "recvfrom", "send", "sendto")
_LOOP_METHODS = ("_add_reader", "_add_writer", "_remove_reader", "_remove_writer")


def reason_against_native_datagrams() -> str | None:
    """Return why loops cannot make native datagram transports here; None when they can."""
    if not hasattr(_native, "DatagramTransport"):
        return "this Python's DatagramTransport has other fields than the known ones"
    missing = [
        name for name in (*_BORROWED, *_IN_CONTEXT, "_sendto_ready") if not hasattr(_stock, name)
    ]
    if missing:
        return f"asyncio's own datagram transport has no {', '.join(missing)}"
    return None


reason = reason_against_native_datagrams()


def _as_made(thing: Any, base: type, names: tuple[str, ...]) -> bool:
    """Whether none of the methods was replaced, on the class or on the instance."""
    cls = type(thing)
    return all(getattr(cls, name) is getattr(base, name) for name in names) and not any(
        name in getattr(thing, "__dict__", ()) for name in names
    )


def suit(loop: Any, sock: Any) -> bool:
    """Return whether a transport of ours can do what asyncio's would do with this socket."""
    return (
        reason is None
        and isinstance(sock, socket.socket)
        and sock.family in _FAMILIES
        and sock.fileno() >= 0
        and _as_made(sock, socket.socket, _SOCKET_METHODS)
        and _as_made(loop, sys.modules["casyncio._loop"].Loop, _LOOP_METHODS)
    )


def _in_context(name: str) -> Any:
    """Return asyncio's method, to run in a copy of the transport's context."""
    method = getattr(_stock, name)

    @functools.wraps(method)
    def run(self: Any, *args: Any) -> Any:
        return self._made_in.copy().run(method, self, *args)

    return run


if reason is None:

    class _SelectorDatagramTransport(_native.DatagramTransport, asyncio.Transport):
        """A datagram transport of a casyncio loop; ``create_datagram_endpoint()`` makes it."""

        _context: contextvars.Context | None = None

        if TYPE_CHECKING:  # of those that are borrowed
            _extra: dict[str, Any]

            def __del__(self) -> None: ...
            def _fatal_error(self, exc: BaseException, message: str = ...) -> None: ...
            def _maybe_pause_protocol(self) -> None: ...
            def _maybe_resume_protocol(self) -> None: ...

        def __init__(
            self,
            loop: Any,
            sock: socket.socket,
            protocol: Any,
            address: Any = None,
            waiter: asyncio.Future[None] | None = None,
            extra: dict[str, Any] | None = None,
        ) -> None:
            info: dict[str, Any] = {} if extra is None else extra
            asyncio.BaseTransport.__init__(self, info)
            info["socket"] = trsock.TransportSocket(sock)
            try:
                info["sockname"] = sock.getsockname()
            except OSError:
                info["sockname"] = None
            if "peername" not in info:
                try:
                    info["peername"] = sock.getpeername()
                except OSError:
                    info["peername"] = None
            self._made_in = contextvars.copy_context()
            self.set_write_buffer_limits()
            self._open(loop, sock, info["peername"])
            self._address = address
            self.set_protocol(protocol)
            loop.call_soon(protocol.connection_made, self)
            # Only start reading when connection_made() has been called ...
            loop.call_soon(self._add_reader, self._sock_fd, self._read_ready)
            if waiter is not None:
                # ... and only then wake up whoever made the endpoint.
                loop.call_soon(_futures._set_result_unless_cancelled, waiter, None)

        def _add_reader(self, fd: int, callback: Any, *args: Any) -> None:
            """Start reading; asyncio's methods know no callback but ``_read_ready()``."""
            if self.is_reading():
                self._watch_reading()

        def _sendto_unusual(self, data: Any, addr: Any = None) -> None:
            """Send what the native method leaves to asyncio's, and two cases where that fails.

            Those are a transport after ``connection_lost()``, which drops the datagram, and a
            socket whose peer has no name: one of a socketpair.
            """
            if self._address or not isinstance(data, (bytes, bytearray, memoryview)):
                _stock.sendto(self, data, addr)
            elif not (data or _SENDS_EMPTY):
                pass
            elif self._sock is None:
                if self._conn_lost >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                    logger.warning("socket.send() raised exception.")
                self._conn_lost += 1
            elif self._extra["peername"] != "":
                _stock.sendto(self, data, addr)
            elif self._buffer or self._send_to_nameless(data, addr) is False:
                if not self._buffer:
                    self._loop._add_writer(self._sock_fd, self._sendto_ready)
                self._buffer.append((bytes(data), addr))
                self._buffer_size += len(data)
                self._maybe_pause_protocol()

        def _send_to_nameless(self, data: Any, addr: Any) -> bool | None:
            """Send a datagram, by default to the peer; False: it is full, None: `addr` is wrong."""
            try:
                self._sock.send(data) if addr is None else self._sock.sendto(data, addr)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as exc:
                self._protocol.error_received(exc)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._fatal_error(exc, "Fatal write error on datagram transport")
                return None
            return True

        def _sendto_ready(self) -> None:
            self._made_in.copy().run(self._send_queued)

        def _send_queued(self) -> None:
            """Send what is queued; when nothing is left, nothing is counted either.

            Some versions of asyncio count a few bytes more for a datagram that is queued than
            for one that leaves, and in the end never let the protocol write again.
            """
            while self._buffer and self._extra["peername"] == "":
                data, addr = self._buffer.popleft()
                self._buffer_size -= len(data)
                sent = self._send_to_nameless(data, addr)
                if sent is False:
                    self._buffer.appendleft((data, addr))
                    self._buffer_size += len(data)
                if not sent:
                    return
            _stock._sendto_ready(self)
            if not self._buffer and self._buffer_size and self._loop is not None:
                self._buffer_size = 0
                self._maybe_resume_protocol()

        def _error_received(self, error: OSError) -> None:
            """Tell the protocol what the kernel has refused, as a handler of that exception."""
            try:
                raise error
            except OSError as exc:
                self._protocol.error_received(exc)

    # Complaints about its arguments name the method that was called.
    _SelectorDatagramTransport._sendto_unusual.__qualname__ = _stock.sendto.__qualname__

    # Named as asyncio's, because the name shows in reprs and in what the loop reports.
    DatagramTransport = _SelectorDatagramTransport

    for _name, _value in vars(_stock).items():  # numbers that its methods ask for, from 3.14 on
        if isinstance(_value, int) and not hasattr(DatagramTransport, _name):
            setattr(DatagramTransport, _name, _value)
    for _name in (*_BORROWED, *(name for name in _NEW if hasattr(_stock, name))):
        setattr(DatagramTransport, _name, getattr(_stock, _name))
    for _name in _IN_CONTEXT:
        setattr(DatagramTransport, _name, _in_context(_name))
