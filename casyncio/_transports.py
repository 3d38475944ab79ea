"""Transports as users see them: the cold half of the native ones.

What runs per message is in ``_native.StreamTransport``; what runs once per connection, per
mistake or per look of a curious eye is here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import warnings
import weakref
from asyncio import base_events, constants, trsock
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from casyncio import _native

# Private names of these are used below; each has a test that names it.
_base_events: Any = base_events
_constants: Any = constants
_trsock: Any = trsock

# Asyncio's transports inherit this one method from a public class, where tests put another.
_Transport = asyncio.Transport
_inherited_get_extra_info = _Transport.get_extra_info


if TYPE_CHECKING:
    from casyncio._native import StreamTransport as _Base
else:
    _Base = getattr(_native, "StreamTransport", object)


def report(transport: Any, exc: BaseException, message: str, *, quiet: bool = False) -> None:
    """Tell the loop's exception handler; when ``quiet``, only the log, in debug mode."""
    loop = transport._loop
    if quiet:
        if loop.get_debug():
            logger.debug("%r: %s", transport, message, exc_info=exc)
        return
    loop.call_exception_handler(
        {
            "message": message,
            "exception": exc,
            "transport": transport,
            "protocol": transport._protocol,
        }
    )


@_native.adopt
class _SelectorSocketTransport(_Base):
    """A connection over a TCP or UNIX stream socket; made by the loop.

    An ``asyncio.Transport`` in every respect, down to the name, which shows in reprs and in
    what the loop reports.  All its methods belong to the loop's thread.
    """

    max_size = 256 * 1024  # bytes that one receive may bring
    _sender: asyncio.Task[Any] | None = None  # sends a file through the socket
    _start_tls_compatible = True
    _sendfile_compatible = _constants._SendfileMode.TRY_NATIVE

    def __repr__(self) -> str:
        info = [self.__class__.__name__]
        if self._lost:
            info.append("closed")
        elif self._closing:
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        loop = self._loop
        if loop is not None and not loop.is_closed():
            info.append("read=polling" if self._reading else "read=idle")
            state = "polling" if self._blocked else "idle"
            info.append(f"write=<{state}, bufsize={self.get_write_buffer_size()}>")
        return "<{}>".format(" ".join(info))

    # ---- what the socket is ----

    @property
    def _extra(self) -> dict[str, Any]:
        """The extra info, gathered when somebody first asks for any of it."""
        extra = self._given_extra
        if extra is None:
            extra = self._given_extra = {}
        if "socket" not in extra:
            self._gather(extra)
        return extra

    @_extra.setter
    def _extra(self, extra: dict[str, Any]) -> None:
        self._given_extra = extra

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known under that name, else ``default``.

        See asyncio, "Base Transport".  Only what a socket tells has to be gathered; its
        names alone do not put the socket itself into other hands.  What a program has put in
        the place of ``asyncio.Transport.get_extra_info`` is called instead.
        """
        if _Transport.get_extra_info is not _inherited_get_extra_info:
            return super().get_extra_info(*((name,) if default is None else (name, default)))
        if self._given_extra is None and name != "socket":
            if name not in ("sockname", "peername"):
                return default
            if (names := self._names()) is not None:
                return names[name == "peername"]
        return self._extra.get(name, default)

    def _gather(self, extra: dict[str, Any]) -> None:
        sock = self._sock or self._closed_sock()
        names = self._names() or (_asked(sock.getsockname), _asked(sock.getpeername))
        sockname, peername = names
        extra["socket"] = _trsock.TransportSocket(sock)
        extra["sockname"] = sockname
        extra.setdefault("peername", peername)

    def _make_sock(self) -> socket.socket:
        """Return the socket object of an accepted connection; it owns the descriptor then."""
        sock = socket.socket(fileno=self._sock_fd)
        sock.setblocking(False)
        return sock

    def _closed_sock(self) -> socket.socket:
        """Return the closed socket object of a connection that is lost, or one like it."""
        sock: socket.socket | None = self._sock_object
        if sock is None:
            sock = socket.socket(self._family)
            sock.close()
        return sock

    # ---- flow control ----

    def set_write_buffer_limits(self, high: float | None = None, low: float | None = None) -> None:
        """Set the watermarks, in bytes, at which the protocol is paused and resumed.

        Raises ValueError unless ``high >= low >= 0``.  See asyncio, "Write-only Transports".
        """
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._set_limits(high, low)

    def _flow_failed(self, method: str, exc: BaseException) -> None:
        report(self, exc, f"protocol.{method}() failed")

    def _make_empty_waiter(self) -> Any:
        """Return a future that is done when everything written has been sent."""
        if self._empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        self._flush()
        waiter = self._empty_waiter = self._loop.create_future()
        if not self._buffer:
            waiter.set_result(None)
        return waiter

    def _reset_empty_waiter(self) -> None:
        self._empty_waiter = None

    def _fail_empty_waiter(self) -> None:
        waiter = self._empty_waiter
        if waiter is not None and not waiter.done():
            waiter.set_exception(ConnectionError("Connection is closed by peer"))
        if self._sender is not None:
            # It waits for a descriptor that is closed now, and would for ever.
            sender, self._sender = self._sender, None
            sender.cancel()

    # ---- mistakes and reports ----

    def _fatal_error(self, exc: BaseException, message: str = "Fatal error on transport") -> None:
        """Report an exception, unless it is the network's, and close the connection."""
        if self._loop is not None:
            report(self, exc, message, quiet=isinstance(exc, OSError))
            self._force_close(exc)

    def _log_lost(self) -> None:
        logger.warning("socket.send() raised exception.")

    def _log_eof(self) -> None:
        logger.debug("%r received EOF", self)

    def _log_pause(self) -> None:
        logger.debug("%r pauses reading", self)

    def _log_resume(self) -> None:
        logger.debug("%r resumes reading", self)

    def _dropped(self) -> None:
        """The transport is about to die open: warn, and close what it owns."""
        warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
        sock = self._sock
        if sock is not None:
            sock.close()
        self._leave_server()


SocketTransport = _SelectorSocketTransport


def _asked(ask: Any) -> Any:
    try:
        return ask()
    except OSError:
        return None


class TransportTable(weakref.WeakValueDictionary[int, Any]):
    """A loop's ``_transports``: stock's, and a view of the native ones, by descriptor."""

    def __init__(self, loop: Any) -> None:
        super().__init__()
        self._loop = weakref.ref(loop)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "data" and (loop := self.__dict__.get("_loop", bool)()):
            loop._adopt_table(self)  # it looks into the dict itself

    def get(self, fd: Any, default: Any = None) -> Any:
        """Return the transport that has the descriptor; ``default`` when none has it."""
        loop = self._loop()
        native = None if loop is None else loop._claimed(fd)
        return super().get(fd, default) if native is None else native

    def __getitem__(self, fd: Any) -> Any:
        found = self.get(fd)
        if found is None:
            raise KeyError(fd)
        return found

    def __contains__(self, fd: object) -> bool:
        return self.get(fd) is not None


class Hooks:
    """The loop's hooks that concern transports and are not native."""

    __slots__ = ()

    if TYPE_CHECKING:
        _make_socket_transport: Any
        call_exception_handler: Any
        call_later: Any
        sock_sendfile: Any

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        if not isinstance(transp, SocketTransport):
            return await super()._sendfile_native(  # type: ignore[misc, no-any-return]
                transp, file, offset, count
            )
        sender: asyncio.Task[Any] | None = None
        transp._release()
        resume_reading = transp.is_reading()
        transp.pause_reading()
        try:
            await transp._make_empty_waiter()
            transp._sender = sender = asyncio.current_task()
            return await self.sock_sendfile(  # type: ignore[no-any-return]
                transp._sock, file, offset, count, fallback=False
            )
        except asyncio.CancelledError:
            if transp._sender is not None or not transp._lost or sender is None:
                raise
            sender.uncancel()  # it was _fail_empty_waiter() that cancelled
            raise ConnectionError("Connection is closed by peer") from None
        finally:
            transp._sender = None
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()
            transp._claim()

    def _accept_failed(self, exc: OSError, sock: Any, acceptor: Any) -> None:
        """The process is out of descriptors: say so, and accept again in a while."""
        self.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": exc,
                "socket": _trsock.TransportSocket(sock),
            }
        )
        self.call_later(_constants.ACCEPT_RETRY_DELAY, acceptor._resume)

    def _connection_failed(self, exc: BaseException, protocol: Any) -> None:
        context = {
            "message": "Error on transport creation for incoming connection",
            "exception": exc,
        }
        if protocol is not None:
            context["protocol"] = protocol
        self.call_exception_handler(context)


class _Clients(weakref.WeakSet[Any]):
    """A server's connections: what is new gets its weak reference when somebody looks."""

    _remove: Any  # made by WeakSet's constructor

    def __init__(self, data: Any = None) -> None:
        self._new = _native.NewClients()
        super().__init__(data)

    @property
    def data(self) -> set[Any]:
        """What a ``WeakSet`` does everything with."""
        known: set[Any] = vars(self)["data"]
        for transport in self._new.take():
            known.add(weakref.ref(transport, self._remove))
        return known

    @data.setter
    def data(self, data: set[Any]) -> None:
        vars(self)["data"] = data


def _names_in(function: Any) -> Any:
    """Return the names that a function of Python uses, in their order; None for others."""
    return getattr(getattr(function, "__code__", None), "co_names", None)


def enable() -> bool:
    """Make loops use native transports, where they fit this Python; return whether they do."""
    if _Base is object or os.environ.get("CASYNCIO_TRANSPORTS") == "stock":
        return False
    attach, detach = _base_events.Server._attach, _base_events.Server._detach
    knows_clients = attach.__code__.co_argcount > 1  # self is one
    known = _names_in(attach) == ("_sockets", "_clients", "add") and _names_in(detach) == (
        "_clients",
        "discard",
        "len",
        "_sockets",
        "_wakeup",
    )
    _native.use_transports(
        SocketTransport,
        knows_clients,
        _Clients if knows_clients and known else None,
    )
    return True
