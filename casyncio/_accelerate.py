"""The switch: which names of asyncio ``install(accelerate=True)`` replaces, and how it undoes it.

``ROWS`` is the whole list.  A row is ``(home, name, ours)``: the module of asyncio that defines
the name, the name, and where our object stands, as ``"module:attribute"``.  To add a name, add a
row; nothing else has to change.  What a row needs of its two objects:

- stock's is a class or a function that its home module itself defines (that is how a name that
  somebody else has replaced is told from stock's), and other modules of asyncio may have imported
  it: they get ours as well, by identity;
- ours behaves as stock's of the running Python.  A class of ours is a subclass of stock's and has
  the metaclass ``Replacement`` (below), with which objects made before the switch are instances of
  ours.  Where a Python has no such name, or our object *is* stock's (because we do not know that
  Python's), the row is left out.

Nothing here happens on import.  All names are looked at before the first is replaced, so a refusal
changes nothing.  Programs that did ``from asyncio import Lock`` before keep stock's, which goes on
working.  All of it belongs to the start of a program and to one thread.
"""

from __future__ import annotations

import abc
import importlib
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

ROWS: tuple[tuple[str, str, str], ...] = (
    ("asyncio.locks", "Lock", "casyncio._sync:Lock"),
    ("asyncio.locks", "Event", "casyncio._sync:Event"),
    ("asyncio.locks", "Semaphore", "casyncio._sync:Semaphore"),
    ("asyncio.locks", "BoundedSemaphore", "casyncio._sync:BoundedSemaphore"),
    ("asyncio.queues", "Queue", "casyncio._sync:Queue"),
    ("asyncio.queues", "LifoQueue", "casyncio._sync:LifoQueue"),
    ("asyncio.queues", "PriorityQueue", "casyncio._sync:PriorityQueue"),
    ("asyncio.streams", "StreamReader", "casyncio._streams:StreamReader"),
    ("asyncio.streams", "StreamWriter", "casyncio._streams:StreamWriter"),
    ("asyncio.streams", "StreamReaderProtocol", "casyncio._streams:StreamReaderProtocol"),
    ("asyncio.streams", "open_connection", "casyncio._streams:open_connection"),
    ("asyncio.streams", "start_server", "casyncio._streams:start_server"),
    ("asyncio.streams", "open_unix_connection", "casyncio._streams:open_unix_connection"),
    ("asyncio.streams", "start_unix_server", "casyncio._streams:start_unix_server"),
)


class Replacement(abc.ABCMeta):
    """Metaclass of a class that stands for one of asyncio's.

    The class names it in ``_replaces``, in its own body: what is an instance or a subclass of that
    one counts as its own.  Classes derived from it are ordinary.  An ABCMeta, so that programs can
    derive from asyncio's class and ``abc.ABC``, as before.
    """

    def __instancecheck__(cls, instance: Any) -> bool:
        stock = cls.__dict__.get("_replaces")
        return super().__instancecheck__(instance) if stock is None else isinstance(instance, stock)

    def __subclasscheck__(cls, subclass: type) -> bool:
        stock = cls.__dict__.get("_replaces")
        return super().__subclasscheck__(subclass) if stock is None else issubclass(subclass, stock)


class Change(NamedTuple):
    """A name to replace, or replaced."""

    module: types.ModuleType
    name: str
    stock: Any
    ours: Any


_changes: list[Change] = []  # in force


def _is_stock(found: Any, home: types.ModuleType, name: str) -> bool:
    """Tell whether home itself defines what was found under the name."""
    if inspect.isfunction(found):
        own = found.__globals__ is vars(home) and not hasattr(found, "__wrapped__")
    else:
        own = isinstance(found, type) and found.__module__ == home.__name__
    return own and found.__qualname__ == name


def _modules() -> list[types.ModuleType]:
    """Return asyncio and those of its modules that are loaded."""
    return [
        module
        for name, module in list(sys.modules.items())
        if module is not None and name.partition(".")[0] == "asyncio"
    ]


def _resolve(where: str) -> Any:
    module, _, attribute = where.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _changes_of(home: types.ModuleType, name: str, ours: Any) -> Iterator[Change]:
    stock = vars(home)[name]
    if stock is ours:  # replaced by us, or there is none of ours
        return
    public = vars(importlib.import_module("asyncio")).get(name, stock)
    for found, where in (stock, home.__name__), (public, "asyncio"):
        if found is not stock or not _is_stock(found, home, name):
            raise RuntimeError(
                f"casyncio cannot accelerate asyncio: something else has replaced {where}.{name} "
                f"by {found!r}"
            )
    for module in _modules():
        if vars(module).get(name) is stock:
            yield Change(module, name, stock, ours)


def plan() -> list[Change]:
    """Look at every name and return what has to be replaced; changes nothing.

    Raises RuntimeError when something else than casyncio has replaced one of them.
    """
    found: list[Change] = []
    for home_name, name, where in ROWS:
        home = importlib.import_module(home_name)
        if name in vars(home):
            found += _changes_of(home, name, _resolve(where))
    return found


def apply(changes: list[Change]) -> None:
    """Replace what ``plan()`` has found."""
    for change in changes:
        setattr(change.module, change.name, change.ours)
        _changes.append(change)


def undo() -> None:
    """Put stock's names back; does nothing when none is replaced.

    Raises RuntimeError, and changes nothing, when something else has replaced one of ours.
    """
    for change in _changes:
        found = vars(change.module).get(change.name)
        if found is not change.ours:
            raise RuntimeError(
                f"casyncio cannot undo its changes to asyncio: something else has replaced "
                f"{change.module.__name__}.{change.name} by {found!r}"
            )
    while _changes:
        change = _changes.pop()
        setattr(change.module, change.name, change.stock)
