"""Streams: asyncio's classes and functions, native where they run per message.

Each class derives from its native half and from asyncio's class of that name.  What is native
does what the running Python's method does, as long as nobody has replaced what it would call;
everything else is that Python's own code, on the same attributes.
"""

from __future__ import annotations

import asyncio
import threading
import types
from asyncio import streams as _stock
from typing import Any

from casyncio import _native
from casyncio._accelerate import Replacement

_streams: Any = _stock


@_native.adopt
class StreamReader(  # type: ignore[misc]  # fields are more exact than stock's
    _native.StreamReader, asyncio.StreamReader, metaclass=Replacement
):
    __module__ = "casyncio"
    __doc__ = asyncio.StreamReader.__doc__ or "What has arrived on a connection, to be awaited."
    _replaces = asyncio.StreamReader


@_native.adopt
class StreamWriter(  # type: ignore[misc]
    _native.StreamWriter, asyncio.StreamWriter, metaclass=Replacement
):
    __module__ = "casyncio"
    __doc__ = asyncio.StreamWriter.__doc__
    _replaces = asyncio.StreamWriter


_classes: dict[str, Any] = {"StreamReader": StreamReader, "StreamWriter": StreamWriter}


def _rebound(function: Any, **others: Any) -> Any:
    """Return a function of ``asyncio.streams`` that knows our classes as those of that module."""
    names = {**vars(_streams), **_classes, **others, "__name__": "casyncio"}
    made = types.FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    made.__qualname__ = function.__qualname__
    return made


class _Handlers(threading.local):
    """What ``connection_made()`` of this thread got from its callback, when it is a coroutine."""

    found: Any = None

    def iscoroutine(self, result: Any) -> bool:
        """Stand for ``coroutines.iscoroutine()`` there, and keep the coroutine from it."""
        if asyncio.iscoroutine(result):
            self.found = result
        return False


_handlers = _Handlers()
_connection_made = _rebound(asyncio.StreamReaderProtocol.connection_made, coroutines=_handlers)


class StreamReaderProtocol(  # type: ignore[misc]
    _native.StreamReaderProtocol, asyncio.StreamReaderProtocol, metaclass=Replacement
):
    __module__ = "casyncio"
    __doc__ = asyncio.StreamReaderProtocol.__doc__
    _replaces = asyncio.StreamReaderProtocol

    def connection_made(self, transport: Any) -> None:
        """Call the callback of a server, and run what it returns in a task.

        Stock's own method but for the closure that it gives the task to call at its end, most
        of what a connection that waits would weigh: it is made at that end.
        """
        _connection_made(self, transport)
        handler, _handlers.found = _handlers.found, None
        if handler is not None:
            self._task = self._loop.create_task(handler)
            if not self._end_with(transport):
                self._task.add_done_callback(types.MethodType(_ended, transport))


def _ended(transport: Any, task: Any) -> None:
    """Do what stock's closure does, which asks its protocol for nothing but the loop."""
    protocol = types.SimpleNamespace(_loop=task.get_loop())
    cells = {"self": protocol, "transport": transport}
    closure = tuple(types.CellType(cells[name]) for name in _callback_code.co_freevars)
    types.FunctionType(_callback_code, vars(_streams), "callback", None, closure)(task)


# What the callback of the known Pythons uses.
_CALLBACK_NAMES = {"cancelled", "close", "exception", "_loop", "call_exception_handler"}


def _find_callback_code() -> Any:
    """Return the code of what the task of stock's ``connection_made()`` calls, if it is known."""
    made = asyncio.StreamReaderProtocol.connection_made.__code__
    found = [code for code in made.co_consts if getattr(code, "co_name", None) == "callback"]
    known = (
        len(found) == 1
        and {*found[0].co_freevars} <= {"self", "transport"}
        and {*found[0].co_names} <= _CALLBACK_NAMES
        and {"coroutines", "iscoroutine"} <= {*made.co_names}  # which _Handlers stands for
    )
    return found[0] if known else None


_callback_code = _find_callback_code()
if _callback_code is None:  # another one than is known: all of it is stock's, then
    StreamReaderProtocol.connection_made = _rebound(  # type: ignore[method-assign]
        asyncio.StreamReaderProtocol.connection_made
    )
_classes["StreamReaderProtocol"] = StreamReaderProtocol
_native.use_streams(StreamReader, StreamReaderProtocol, _ended)

open_connection = _rebound(_streams.open_connection)
start_server = _rebound(_streams.start_server)
open_unix_connection = _rebound(_streams.open_unix_connection)
start_unix_server = _rebound(_streams.start_unix_server)
