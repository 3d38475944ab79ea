"""The loop's hooks for TLS; what they need is loaded with the first connection that asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars


class Hooks:
    """The loop's hooks for TLS."""

    __slots__ = ()

    if TYPE_CHECKING:
        _make_socket_transport: Any
        call_soon: Any
        create_future: Any

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: Any = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        context: contextvars.Context | None = None,
    ) -> Any:
        from casyncio import _tls

        ssl_protocol = _tls.protocol_class()(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # From 3.15 on; asyncio's own transports of others do not know the word.
        given = {} if context is None else {"context": context}
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, **given)
        return ssl_protocol._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Upgrade a connection to TLS; return the transport to use from now on.

        What a server's StreamReader has received already and nobody has read is taken for the
        beginning of the handshake.  Timeouts are in seconds.  Raises TypeError for a context or
        a transport that will not do, and what the handshake raises.  See asyncio, "TLS Upgrade".
        """
        from casyncio import _tls

        ssl = _tls.ssl
        if ssl is None:
            raise RuntimeError("Python ssl module is not available")
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(
                f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
            )
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        ssl_protocol = _tls.protocol_class()(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        # Pause early: nothing may come before connection_made().
        transport.pause_reading()
        if server_side and _tls.enabled:
            ssl_protocol._take_over(getattr(protocol, "_stream_reader", None))
        transport.set_protocol(ssl_protocol)
        connected = self.call_soon(ssl_protocol.connection_made, transport)
        resumed = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            connected.cancel()
            resumed.cancel()
            raise
        finally:
            del waiter
        return ssl_protocol._app_transport

    # For what Python says of wrong arguments and of a coroutine that nobody awaits.
    start_tls.__qualname__ = "BaseEventLoop.start_tls"
