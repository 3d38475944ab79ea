"""TLS: the cold half of native connections.

What runs per message is in ``_native.Tls`` and ``_native.TlsTransport``.  The state machine of a
connection (handshake, shutdown, timeouts and their words) is asyncio's ``SSLProtocol`` of the
running Python, inherited; here is what differs from it, and the choice of the engine.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
from asyncio import sslproto
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

from casyncio import _native

# Private names of it are used below; a test names each.
_sslproto: Any = sslproto
ssl: Any = _sslproto.ssl

if TYPE_CHECKING:
    from casyncio._native import Tls as _Tls
    from casyncio._native import TlsTransport as _TlsTransport
else:
    _Tls = _native.Tls
    _TlsTransport = getattr(_native, "TlsTransport", object)
_StockProtocol: Any = _sslproto.SSLProtocol
_StockTransport: Any = _sslproto._SSLProtocolTransport

_ENGINES = ("native", "membio", "stock")
_MOST_TRAILING = 1 << 20  # bytes
_STATES = ("UNWRAPPED", "DO_HANDSHAKE", "WRAPPED", "FLUSHING", "SHUTDOWN")

# What is inherited, and what of it is overridden: a Python without one of them gets its own TLS.
INHERITED = (
    "_abort",
    "_call_eof_received",
    "_check_handshake_timeout",
    "_check_shutdown_timeout",
    "_do_handshake",
    "_do_shutdown",
    "_fatal_error",
    "_get_extra_info",
    "_on_handshake_complete",
    "_on_shutdown_complete",
    "_set_read_buffer_limits",
    "_set_state",
    "_set_write_buffer_limits",
    "_start_handshake",
    "_start_shutdown",
    "_wakeup_waiter",
    "connection_lost",
    "connection_made",
    "eof_received",
)
REPLACED = (
    "_control_app_writing",
    "_control_ssl_reading",
    "_do_flush",
    "_do_read",
    "_do_write",
    "_get_app_transport",
    "_get_read_buffer_size",
    "_get_write_buffer_size",
    "_process_outgoing",
    "_resume_reading",
    "_set_app_protocol",
    "_write_appdata",
    "buffer_updated",
    "get_buffer",
    "pause_writing",
    "resume_writing",
)


class _SSLProtocolTransport(_TlsTransport, _StockTransport):
    """The transport of a TLS connection; made by the loop.

    An ``asyncio.Transport`` in every respect, down to the name.  All its methods belong to the
    loop's thread.
    """

    _closed_again = False  # close() was called twice: the end frees the connection, as in asyncio

    def close(self) -> None:
        """Close the connection when everything written is sent.  Harmless when repeated.

        Nothing more is received; connection_lost() follows, at the latest after
        ``ssl_shutdown_timeout`` seconds.  See asyncio, "Base Transport".
        """
        if not self._closed:
            self._closed = True
            self._ssl_protocol._start_shutdown()
        elif self._ssl_protocol is not None:
            self._closed_again = True
            if self._ssl_protocol._transport is None:
                self._ssl_protocol = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection under a name, or the default."""
        connection = self._ssl_protocol
        return default if connection is None else connection._get_extra_info(name, default)

    def resume_reading(self) -> None:
        """Undo pause_reading().  Harmless when reading is not paused."""
        if self._ssl_protocol is not None:
            self._ssl_protocol._resume_reading()

    def abort(self) -> None:
        """Close the connection now; what the kernel has not taken is lost."""
        self._force_close(None)

    def _force_close(self, exc: BaseException | None) -> None:
        self._closed = True
        if self._ssl_protocol is not None:
            self._ssl_protocol._abort(exc)

    def _test__append_write_backlog(self, data: bytes) -> None:
        self._ssl_protocol._append(data)


_transport_class: Any = _SSLProtocolTransport


class _Nothing:
    """In the place of attributes that have become native: nothing waits there."""

    __slots__ = ()

    def clear(self) -> None:
        pass

    def read(self) -> bytes:
        return b""


_NOTHING = _Nothing()


def _check_timeout(name: str, value: float) -> None:
    # A timer refuses NaN when the handshake begins, which would then wait for ever.
    if value != value:
        raise ValueError(f"{name} should be a positive number, got {value}")


class SSLProtocol(_Tls, _StockProtocol):
    """What stands between a transport and the user's protocol, named as in asyncio's reports."""

    max_size = 0  # bytes that __init__() reserves; the loop has a buffer for all connections
    if TYPE_CHECKING:
        _app_transport: Any
        _app_transport_created: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_timeout("ssl_handshake_timeout", self._ssl_handshake_timeout)
        _check_timeout("ssl_shutdown_timeout", self._ssl_shutdown_timeout)
        self._write_backlog = _NOTHING
        self._upgrades = not kwargs.get("call_connection_made", True)  # it is start_tls()'s
        self._trailing = 0  # bytes that came after close(), which nobody will read
        self._context = contextvars.copy_context()
        # What a message callback raises comes out of the methods of SSLObject.
        watched = getattr(self._sslcontext, "_msg_callback", None) is not None
        plain = type(self._sslobj) is ssl.SSLObject and not watched
        if _engine == "native" and plain and self._attach_engine():
            self._incoming = self._outgoing = _NOTHING

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        """Shaken hands, or not: tell whoever waits.

        After start_tls() the protocol hears nothing before that has returned: it would not know
        the transport to answer on, and answer in the clear.
        """
        first = self._upgrades and handshake_exc is None
        self._app_reading_paused = first
        try:
            super()._on_handshake_complete(handshake_exc)
        finally:
            handshake_exc = None  # its traceback holds this frame
            if first:
                self._app_reading_paused = False
                self._loop.call_soon(self._do_read)

    def connection_made(self, transport: Any) -> None:
        """Begin the handshake over this transport, whose context is the protocol's, too."""
        context = getattr(transport, "_context", None)
        if isinstance(context, contextvars.Context):
            self._context = context
        super().connection_made(transport)

    def _resume_reading(self) -> None:
        # What waits is delivered in the context of the connection, whoever resumes it.
        if self._app_reading_paused:
            self._app_reading_paused = False
            self._loop.call_soon(self._resumed, context=self._context)

    def _resumed(self) -> None:
        steps = {
            "WRAPPED": self._do_read,
            "FLUSHING": self._do_flush,
            "SHUTDOWN": self._do_shutdown,
        }
        steps.get(self._state.name, bool)()

    def _start_shutdown(self) -> None:
        # A connection that was cut off while the protocol did not read waits for it to read again.
        waits = self._state.name == "FLUSHING" and self._eof_received and self._app_reading_paused
        super()._start_shutdown()
        if waits:
            self._do_flush()

    def _do_flush(self) -> None:
        # What the protocol had not read when it closed is for nobody, as over TCP.
        if self._app_transport is None or not self._app_transport._closed:
            self._do_read()
        self._set_state(_sslproto.SSLProtocolState.SHUTDOWN)
        self._do_shutdown()

    def _get_app_transport(self) -> Any:
        if self._app_transport is None:
            if self._app_transport_created:
                raise RuntimeError("Creating _SSLProtocolTransport twice")
            self._app_transport = _transport_class(self._loop, self)
            self._app_transport_created = True
        return self._app_transport

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport below is gone: let go of everything, and tell the protocol."""
        self._drop()
        transport = self._app_transport
        super().connection_lost(exc)
        if transport is not None and transport._closed_again:
            transport._ssl_protocol = None  # else the protocol may hold it in a cycle

    def _do_shutdown(self) -> None:
        # What was written goes before close_notify.
        failure = self._failure or self._tried(self._drain) or self._tried(self._skip_trailing)
        self._failure = None
        (self._on_shutdown_complete(failure) if failure else super()._do_shutdown())

    def _on_shutdown_complete(self, shutdown_exc: BaseException | None) -> None:
        if shutdown_exc is None:
            shutdown_exc = self._tried(self._drain)  # the transport below sends it before it closes
        super()._on_shutdown_complete(shutdown_exc)

    def _skip_trailing(self) -> None:
        # What the peer sent before it heard of the end is for nobody. OpenSSL would call it an
        # error, and what was written last might be lost with the connection. A peer that goes on
        # sending for ever is not listened to for ever.
        if self._trailing < _MOST_TRAILING:
            with contextlib.suppress(ssl.SSLZeroReturnError):  # its close_notify came as well
                self._trailing += self._skip()

    def _tried(self, method: Any) -> Exception | None:
        try:
            method()
        except Exception as exc:
            return exc
        return None

    def _abort(self, exc: BaseException | None = None) -> None:
        self._flush()
        self._set_state(_sslproto.SSLProtocolState.UNWRAPPED)
        transport = self._transport
        if transport is not None:
            transport._force_close(exc)

    def _read_later(self, none: None) -> None:
        self._loop.call_soon(self._do_read)

    def _flow_failed(self, method: str, exc: BaseException) -> None:
        self._loop.call_exception_handler(
            {
                "message": f"protocol.{method}() failed",
                "exception": exc,
                "transport": self._app_transport,
                "protocol": self,
            }
        )

    def _log_lost(self) -> None:
        logger.warning("SSL connection is closed")

    def _take_over(self, reader: Any) -> None:
        """Bytes that a StreamReader received and nobody read belong to the handshake."""
        if reader is not None and reader._buffer:
            self._feed(bytes(reader._buffer))
            reader._buffer.clear()


# ---- which TLS, and why ----

_engine = ""  # one of _ENGINES; "": nobody has asked yet
_reason = ""


def _find_native() -> str | None:
    """Return why the native engine cannot be used here; None when it can."""
    import _ssl

    if not ssl.OPENSSL_VERSION.startswith("OpenSSL "):
        return f"{ssl.OPENSSL_VERSION} is not OpenSSL"
    file = getattr(_ssl, "__file__", None)
    if not file:  # the whole process would be searched, which may hold another OpenSSL
        return "the module _ssl is built into the interpreter"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    sslobj = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())
    return _native.find_openssl(file, ssl.OPENSSL_VERSION_NUMBER, sslobj._sslobj, context)


def choose() -> tuple[str, str]:
    """Return the engine that connections get, and why; found out when first asked for.

    ``CASYNCIO_TLS=native|membio|stock`` asks for one.  Raises ValueError for another value.
    """
    global _engine, _reason
    if not _engine:
        wanted = os.environ.get("CASYNCIO_TLS", "")
        if wanted not in ("", "auto", *_ENGINES):
            raise ValueError(f"CASYNCIO_TLS={wanted!r}: not one of {', '.join(_ENGINES)}")
        _engine, _reason = wanted, f"asked for by CASYNCIO_TLS={wanted}"
        against = None
        if wanted in ("", "auto", "native"):
            against = _find_native()
            _engine = "membio" if against else "native"
            _reason = against or "OpenSSL's own functions"
    return _engine, _reason


def _fits() -> bool:
    return (
        ssl is not None
        and _TlsTransport is not object
        and os.environ.get("CASYNCIO_TLS") != "stock"
        and os.environ.get("CASYNCIO_TRANSPORTS") != "stock"
        and all(hasattr(_StockProtocol, name) for name in (*INHERITED, *REPLACED))
        and tuple(state.name for state in _sslproto.SSLProtocolState) == _STATES
    )


def enable() -> bool:
    """Make loops use native TLS, where it fits this Python; return whether it does."""
    if not _fits():
        return False
    states = tuple(_sslproto.SSLProtocolState)
    _native.use_tls(SSLProtocol, _StockTransport, states, _sslproto.SSLAgainErrors)
    return True


enabled = enable()


def protocol_class() -> Any:
    """Return the class of TLS connections: ours, or asyncio's."""
    if not enabled:
        return _sslproto.SSLProtocol
    choose()
    return SSLProtocol
