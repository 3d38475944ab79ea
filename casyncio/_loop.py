"""The Loop class: the native loop in front, the stdlib's own cold paths behind.

What is hot lives in ``_native.Loop``.  Everything here runs once per loop, per run or per
mistake: construction, setting up a run, closing, signals, and the reports of debug mode.
Method resolution puts the native type before asyncio's, so ``super()`` inside an inherited
stdlib method never comes back to what is native.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import types
import warnings
from asyncio import base_events, events, format_helpers, unix_events
from asyncio.log import logger
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from casyncio import _backends, _native
from casyncio._hooks import Hooks
from casyncio._transports import Hooks as TransportHooks
from casyncio._transports import TransportTable

if TYPE_CHECKING:  # loading the executors costs as much as all the rest of this package
    from concurrent.futures import ThreadPoolExecutor

    from casyncio._views import QueueView, SelectorView

# Private names of these are used below; each has a test that names it.
_base_events: Any = base_events
_format_helpers: Any = format_helpers
_unix_events: Any = unix_events

_CALLBACK_SOURCE_TAKES_DEBUG = (
    "debug" in _format_helpers._format_callback_source.__code__.co_varnames
)

_DATAGRAMS_ARE_EXCLUSIVE = (
    "_ensure_fd_no_transport"
    in asyncio.SelectorEventLoop._make_datagram_transport.__code__.co_names  # type: ignore[attr-defined]
)


def _real_getaddrinfo() -> Any:
    """Return ``socket.getaddrinfo``; None when somebody has put another in its place."""
    found = socket.getaddrinfo
    same = getattr(found, "__globals__", None) is vars(socket) and found.__name__ == "getaddrinfo"
    return found if same else None


_getaddrinfo = _real_getaddrinfo()
_run_in_executor: Any = base_events.BaseEventLoop.run_in_executor


@types.coroutine
def _turn() -> Iterator[None]:
    yield


@_native.adopt
class Loop(_native.Loop, TransportHooks, Hooks, asyncio.SelectorEventLoop):
    """An asyncio event loop whose hot parts are native.

    ``backend`` names the kernel interface: ``"epoll"``, ``"poll"``, ``"io_uring"`` or
    ``"auto"``; when None, the environment variable ``CASYNCIO_BACKEND`` decides, and ``"auto"``
    is the default.  What the environment asks for and the kernel refuses is replaced by
    ``"auto"``; the attribute ``backend`` tells what it has become.
    ``selector`` is there because asyncio's loop has it, and must be None.

    Raises TypeError for a selector, ValueError for an unknown backend and OSError when the
    kernel refuses ``backend``.  A loop belongs to the thread that runs it;
    ``call_soon_threadsafe()`` is for all others.
    """

    # What the constructors store.  With a slot for each, the instance has no dict until a
    # program sets an attribute of its own, and as long as it has none the interpreter
    # reaches the loop's methods by its shortest way.
    __slots__ = (
        "_agen_hooks_outside",
        "_asyncgens",
        "_asyncgens_shutdown_called",
        "_children",
        "_coroutine_origin_tracking_enabled",
        "_coroutine_origin_tracking_saved_depth",
        "_default_executor",
        "_exception_handler",
        "_executor_shutdown_called",
        "_signal_end",
        "_signal_handlers",
        "_unix_server_sockets",
        "_watcher",
    )

    if TYPE_CHECKING:  # what the stdlib's classes have and its stubs do not say
        _default_executor: ThreadPoolExecutor | None
        _executor_shutdown_called: bool

        def _asyncgen_finalizer_hook(self, agen: Any) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: Any) -> None: ...
        def _check_running(self) -> None: ...
        def _process_self_data(self, data: bytes) -> None: ...
        def _set_coroutine_origin_tracking(self, enabled: bool) -> None: ...

    def __init__(self, selector: None = None, *, backend: str | None = None) -> None:
        if selector is not None:
            raise TypeError(
                "casyncio.Loop does not take a selector; choose the kernel interface with backend="
            )
        _backends.open_native(self, backend)
        base_events.BaseEventLoop.__init__(self)
        logger.debug("Using backend: %s", self.backend)
        # The debt of the two constructors that are skipped.
        self._transports = table = TransportTable(self)
        self._adopt_table(table)
        self._signal_handlers: dict[int, asyncio.Handle] = {}
        self._unix_server_sockets: dict[Any, int] = {}
        self._signal_end: _SignalEnd | None = None
        self._children: dict[int, tuple[int, Any]] = {}  # by pidfd: pid, transport
        if hasattr(_unix_events, "_PidfdChildWatcher"):
            self._watcher = (
                _unix_events._PidfdChildWatcher()
                if _unix_events.can_use_pidfd()
                else _unix_events._ThreadedChildWatcher()
            )

    # ---- a run ----

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        self._agen_hooks_outside = sys.get_asyncgen_hooks()
        self._enter()  # from here on, a failure is cleaned up after
        self._set_coroutine_origin_tracking(self._debug)
        sys.set_asyncgen_hooks(
            firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook
        )
        events._set_running_loop(self)

    def _run_forever_cleanup(self) -> None:
        self._leave()
        events._set_running_loop(None)
        self._set_coroutine_origin_tracking(False)
        sys.set_asyncgen_hooks(*self._agen_hooks_outside)

    def close(self) -> None:
        """Close the loop: drop what is queued, shut the executor down without waiting.

        Does nothing on a closed loop.  Raises RuntimeError while the loop runs.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        if self._debug:
            logger.debug("Close %r", self)
        try:
            self._close_signals()
        finally:
            self._close_native()
            if self._children:
                from casyncio import _children

                _children.hand_over(self)
            self._executor_shutdown_called = True
            executor = self._default_executor
            if executor is not None:
                self._default_executor = None
                executor.shutdown(wait=False)

    # ---- transports ----

    def _make_datagram_transport(
        self, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> Any:
        from casyncio import _datagrams  # few programs need it

        if not _datagrams.suit(self, sock):
            stock: Any = super()
            return stock._make_datagram_transport(sock, protocol, address, waiter, extra)
        if _DATAGRAMS_ARE_EXCLUSIVE:
            self._ensure_fd_no_transport(sock)
        return _datagrams.DatagramTransport(self, sock, protocol, address, waiter, extra)

    # ---- DNS ----

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Return what ``socket.getaddrinfo()`` does, for literal addresses without a thread."""
        if (
            _base_events.socket.getaddrinfo is _getaddrinfo
            and getattr(self.run_in_executor, "__func__", None) is _run_in_executor
            and not self._executor_shutdown_called
        ):
            found = self._literal_addrinfo(host, port, family, type, proto, flags)
            if found is not None:
                await _turn()  # as with a thread: others run, a cancellation arrives
                return found
        return await super().getaddrinfo(
            host, port, family=family, type=type, proto=proto, flags=flags
        )

    # ---- signals ----

    @property
    def _csock(self) -> _SignalEnd | None:
        """What ``signal.set_wakeup_fd()`` gets; made when first asked for, None once closed."""
        if self.is_closed():
            return None
        if self._signal_end is None:
            read_fd, write_fd = self._signal_fds()
            self._add_reader(read_fd, self._read_from_self)
            self._signal_end = _SignalEnd(write_fd)
        return self._signal_end

    def _read_from_self(self) -> None:
        while data := self._drain_signals():
            self._process_self_data(data)

    def _close_signals(self) -> None:
        if not self._signal_handlers:
            return
        if sys.is_finalizing():
            warnings.warn(
                f"Closing the loop {self!r} on interpreter shutdown stage, "
                f"skipping signal handlers removal",
                ResourceWarning,
                source=self,
                stacklevel=3,
            )
            self._signal_handlers.clear()
        else:
            for sig in list(self._signal_handlers):
                self.remove_signal_handler(sig)

    # ---- reports ----

    def _callback_failed(self, handle: Any, exc: BaseException) -> None:
        """Tell the exception handler what stock's ``Handle._run()`` would tell it."""
        options = {"debug": self.get_debug()} if _CALLBACK_SOURCE_TAKES_DEBUG else {}
        source = _format_helpers._format_callback_source(handle._callback, handle._args, **options)
        context = {
            "message": f"Exception in callback {source}",
            "exception": exc,
            "handle": handle,
        }
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)

    def _callback_slow(self, handle: Any, took_s: float) -> None:
        """Log a callback that kept the loop for ``slow_callback_duration`` or longer."""
        _base_events.logger.warning(
            "Executing %s took %.3f seconds", _base_events._format_handle(handle), took_s
        )

    # ---- what is asked of stock's private attributes ----

    @property
    def _selector(self) -> SelectorView | None:
        """A read-only view of the watched descriptors; None once closed."""
        from casyncio import _views

        return None if self.is_closed() else _views.SelectorView(self)

    @property
    def _ready(self) -> QueueView:
        """A copy of the ready queue that can be looked at, but not driven."""
        from casyncio import _views

        return _views.QueueView(self._ready_snapshot())

    @_ready.setter
    def _ready(self, value: object) -> None:
        """Taken and forgotten: BaseEventLoop's constructor assigns a deque."""

    @property
    def _scheduled(self) -> QueueView:
        """A copy of the timer heap that can be looked at, but not driven."""
        from casyncio import _views

        return _views.QueueView(self._scheduled_snapshot())

    @_scheduled.setter
    def _scheduled(self, value: object) -> None:
        """Taken and forgotten: BaseEventLoop's constructor assigns a list."""


class _SignalEnd:
    """The write end of a loop's signal socketpair; the loop owns the descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd
