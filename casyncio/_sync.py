"""Locks and queues: the native halves in front, stock's classes behind.

``_native.Lock`` and so on do what is hot.  All the rest (repr, ``shutdown()``, ...) is the running
Python's own class, which finds its attributes in the native half under its own names; and so is
every call on an object whose methods somebody has overridden (``src/sync/sync.h``).

What native code does has been read in asyncio's sources.  Where a method of the running Python is
not one that was read (its code uses other names), the whole class stays stock's: slower, and right.
"""

from __future__ import annotations

from asyncio import locks, mixins, queues
from typing import TYPE_CHECKING, Any, TypeVar

from casyncio import _native
from casyncio._accelerate import Replacement

__all__ = [
    "BoundedSemaphore",
    "Condition",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "Semaphore",
]

_T = TypeVar("_T")

_WAIT = "_get_loop create_future"
_ACQUIRE = f"_waiters collections deque {_WAIT} append remove exceptions CancelledError"
_AGAIN = "cancel remove ValueError cancelled _wakeup_next"
_SHUT = "_is_shutdown QueueShutDown"
_PUT = "_put _unfinished_tasks _finished clear _wakeup_next _getters"
_INIT = "_unfinished_tasks locks Event _finished set _init"

# The names that the code of each method uses, one string for each form that is known.
_READ: dict[Any, dict[str, tuple[str, ...]]] = {
    vars(mixins)["_LoopBoundMixin"]: {
        "_get_loop": ("events _get_running_loop _loop _global_lock RuntimeError",),
    },
    vars(locks)["_ContextManagerMixin"]: {"__aenter__": ("acquire",), "__aexit__": ("release",)},
    locks.Lock: {
        "__init__": ("_waiters _locked",),
        "locked": ("_locked",),
        "acquire": (
            "_locked _waiters all collections deque _get_loop create_future append remove "
            "exceptions CancelledError _wake_up_first",
        ),
        "release": ("_locked _wake_up_first RuntimeError",),
        "_wake_up_first": ("_waiters next iter StopIteration done set_result",),
    },
    locks.Event: {
        "__init__": ("collections deque _waiters _value",),
        "is_set": ("_value",),
        "set": ("_value _waiters done set_result",),
        "clear": ("_value",),
        "wait": (f"_value {_WAIT} _waiters append remove",),
    },
    locks.Semaphore: {
        "__init__": ("ValueError _waiters _value",),
        "locked": ("_value any _waiters",),
        "acquire": (
            f"locked _value {_ACQUIRE} cancelled _wake_up_next",
            f"locked _value {_ACQUIRE} done cancelled _wake_up_next",
        ),
        "release": ("_value _wake_up_next",),
        "_wake_up_next": ("_waiters done _value set_result",),
    },
    locks.BoundedSemaphore: {
        "__init__": ("_bound_value super __init__",),
        "release": ("_value _bound_value ValueError super release",),
    },
    queues.Queue: {
        "__init__": (
            f"_maxsize collections deque _getters _putters {_INIT}",
            f"_maxsize collections deque _getters _putters {_INIT} _is_shutdown",
        ),
        "_init": ("collections deque _queue",),
        "_get": ("_queue popleft",),
        "_put": ("_queue append",),
        "_wakeup_next": ("popleft done set_result",),
        "qsize": ("len _queue",),
        "empty": ("_queue",),
        "full": ("_maxsize qsize",),
        "put": (
            f"full {_WAIT} _putters append {_AGAIN} put_nowait",
            f"full {_SHUT} {_WAIT} _putters append {_AGAIN} put_nowait",
        ),
        "put_nowait": (f"full QueueFull {_PUT}", f"{_SHUT} full QueueFull {_PUT}"),
        "get": (
            f"empty {_WAIT} _getters append {_AGAIN} get_nowait",
            f"empty {_SHUT} {_WAIT} _getters append {_AGAIN} get_nowait",
        ),
        "get_nowait": (
            "empty QueueEmpty _get _wakeup_next _putters",
            f"empty {_SHUT} QueueEmpty _get _wakeup_next _putters",
        ),
        "task_done": ("_unfinished_tasks ValueError _finished set",),
    },
    queues.LifoQueue: {"_init": ("_queue",), "_get": ("_queue pop",), "_put": ("_queue append",)},
    queues.PriorityQueue: {"_init": ("_queue",), "_get": ("_queue",), "_put": ("_queue",)},
}


def _is_read(cls: Any) -> bool:
    """Tell whether the class and its bases are as the native code thinks."""
    for base in cls.__mro__[:-1]:
        for name, forms in _READ[base].items():
            code = getattr(vars(base).get(name), "__code__", None)
            if code is None or " ".join(code.co_names) not in forms:
                return False
    return hasattr(_native, "use_sync") and hasattr(_native, "Queue")


def _is_ours(cls: Any) -> bool:
    """Tell whether all classes that stand or fall together have been read."""
    return _is_read(cls) and _is_read(locks.Event)


class _Saved:
    """What stock's instances have in their dict is copied and pickled; the native half is too."""

    _saved: tuple[str, ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self._saved if hasattr(self, name)}
        loop = getattr(self, "_loop", None)
        return {**vars(self), **state} if loop is None else {**vars(self), **state, "_loop": loop}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


if TYPE_CHECKING or _is_ours(locks.Lock):

    @_native.adopt
    class Lock(_native.Lock, _Saved, locks.Lock, metaclass=Replacement):
        """asyncio's Lock, in C: ``async with lock``, first come, first served."""

        __module__ = "casyncio"
        _replaces: Any = locks.Lock
        _saved: tuple[str, ...] = ("_waiters", "_locked")

else:
    Lock = locks.Lock

if TYPE_CHECKING or _is_ours(locks.Event):

    @_native.adopt
    class Event(_native.Event, _Saved, locks.Event, metaclass=Replacement):
        """asyncio's Event, in C: a flag that tasks wait for."""

        __module__ = "casyncio"
        _replaces: Any = locks.Event
        _saved: tuple[str, ...] = ("_waiters", "_value")

    _native.use_sync(Event, "done" in locks.Semaphore.acquire.__code__.co_names)
else:
    Event = locks.Event

if TYPE_CHECKING or _is_ours(locks.BoundedSemaphore):

    @_native.adopt
    class Semaphore(_native.Semaphore, _Saved, locks.Semaphore, metaclass=Replacement):
        """asyncio's Semaphore, in C: at most ``value`` tasks have it at a time.

        Raises ValueError for a negative value.
        """

        __module__ = "casyncio"
        _replaces: Any = locks.Semaphore
        _saved: tuple[str, ...] = ("_waiters", "_value")

    @_native.adopt
    class BoundedSemaphore(
        _native.BoundedSemaphore, Semaphore, locks.BoundedSemaphore, metaclass=Replacement
    ):
        """asyncio's BoundedSemaphore, in C: it cannot be released more often than acquired.

        Raises ValueError for a negative value, and in ``release()``.
        """

        __module__ = "casyncio"
        _replaces: Any = locks.BoundedSemaphore
        _saved: tuple[str, ...] = ("_bound_value", "_waiters", "_value")

else:
    Semaphore, BoundedSemaphore = locks.Semaphore, locks.BoundedSemaphore

if TYPE_CHECKING or (_is_ours(queues.LifoQueue) and _is_ours(queues.PriorityQueue)):

    @_native.adopt
    class Queue(_native.Queue, _Saved, queues.Queue, metaclass=Replacement):
        """asyncio's Queue, in C: first in, first out; at most ``maxsize`` items unless that is 0.

        Classes that override ``_init()``, ``_get()`` or ``_put()`` get what they ask for.
        """

        __module__ = "casyncio"
        _replaces: Any = queues.Queue
        _saved: tuple[str, ...] = (
            "_maxsize",
            "_getters",
            "_putters",
            "_unfinished_tasks",
            "_finished",
            "_queue",
            "_is_shutdown",
        )

    @_native.adopt
    class LifoQueue(Queue, queues.LifoQueue, metaclass=Replacement):
        """asyncio's LifoQueue, in C: last in, first out."""

        __module__ = "casyncio"
        _replaces: Any = queues.LifoQueue

    @_native.adopt
    class PriorityQueue(Queue, queues.PriorityQueue, metaclass=Replacement):
        """asyncio's PriorityQueue, in C: the smallest item first."""

        __module__ = "casyncio"
        _replaces: Any = queues.PriorityQueue

else:
    Queue, LifoQueue = queues.Queue, queues.LifoQueue
    PriorityQueue = queues.PriorityQueue


class Condition(locks.Condition):
    """asyncio's own Condition, which makes one of our locks where it is given none."""

    __module__ = "casyncio"

    def __init__(self, lock: locks.Lock | None = None) -> None:
        super().__init__(Lock() if lock is None else lock)
