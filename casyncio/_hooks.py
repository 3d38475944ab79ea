"""The loop's hooks that few programs need: what does the work is loaded with the first call.

The less is loaded with the package, the sooner a program starts.
"""

from __future__ import annotations

import subprocess
from asyncio import events, unix_events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars


def _found(module: Any, *path: str) -> Any:
    """Return what has that name in a module now; None when nothing has."""
    for name in path:
        module = getattr(module, name, None)
    return module


def _own(found: Any) -> Any:
    """Return it if Python made it; None if a program had replaced it before this was loaded."""
    home = getattr(found, "__globals__", None)
    built_in = isinstance(found, type(len))
    own = built_in or any(home is vars(module) for module in (subprocess, unix_events, events))
    return found if own else None


# Of child watchers, for _children; each has a test that names it.
get_watcher = _own(_found(events, "get_child_watcher"))
policy_get_watcher = _own(_found(unix_events, "_UnixDefaultEventLoopPolicy", "get_child_watcher"))
threaded_add_handler = _own(_found(unix_events, "ThreadedChildWatcher", "add_child_handler"))
pidfd_add_handler = _own(_found(unix_events, "PidfdChildWatcher", "add_child_handler"))

# Of child processes, for _popen; the same.
popen_class = subprocess.Popen if _found(subprocess, "Popen", "__base__") is object else None
subprocess_transport_class = _found(unix_events, "_UnixSubprocessTransport")


def starting() -> tuple[Any, ...]:
    """Return what starts the usual child in ``subprocess``, as it is now."""
    return (
        _found(subprocess, "Popen", "__init__"),
        _found(subprocess, "Popen", "_get_handles"),
        _found(subprocess, "Popen", "_execute_child"),
        _found(subprocess, "Popen", "_posix_spawn"),
        _found(subprocess, "_fork_exec"),
        _found(subprocess, "_cleanup"),
        _found(unix_events, "_UnixSubprocessTransport", "_start"),
    )


stock_starting = tuple(map(_own, starting()))


class Hooks:
    """The loop's hooks for TLS, pipes and child processes."""

    __slots__ = ()

    if TYPE_CHECKING:
        _debug: bool
        _make_socket_transport: Any
        call_soon: Any
        create_future: Any

    # ---- pipes ----

    def _make_read_pipe_transport(self, *args: Any, **kwargs: Any) -> Any:
        from casyncio import _pipes

        return _pipes.reader_class(self, *args, **kwargs)

    def _make_write_pipe_transport(self, *args: Any, **kwargs: Any) -> Any:
        from casyncio import _pipes

        return _pipes.writer_class(self, *args, **kwargs)

    # ---- child processes ----

    async def _make_subprocess_transport(self, *args: Any, **kwargs: Any) -> Any:
        from casyncio import _children

        watcher = None if self._debug else _children.default_watcher()
        if watcher is None:
            stock: Any = super()
            return await stock._make_subprocess_transport(*args, **kwargs)
        return await _children.make_transport(self, watcher, *args, **kwargs)

    # ---- TLS ----

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
