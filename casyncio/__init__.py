"""casyncio: asyncio's event loop in C.

Existing asyncio programs run unchanged; one line chooses the loop::

    casyncio.run(main())                                              # or
    asyncio.run(main(), loop_factory=casyncio.new_event_loop)         # 3.12+, or
    casyncio.install()                                                # or
    python -m casyncio app.py

``python -m casyncio info`` tells which kernel interface is in use and why.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import os
from asyncio import Barrier
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

try:
    from casyncio import _guard, _native
except ImportError as _error:
    raise ImportError(
        f"casyncio's native half is not beside {__file__!r} ({_error}); in a folder of sources, "
        "run Python from elsewhere or as python -P, so that the installed casyncio is found"
    ) from None
from casyncio._loop import Loop
from casyncio._native import Handle, TimerHandle, __version__
from casyncio._transports import enable as _enable_transports

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "EventLoop",
    "EventLoopPolicy",
    "Future",
    "Handle",
    "LifoQueue",
    "Lock",
    "Loop",
    "PriorityQueue",
    "Queue",
    "Semaphore",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Task",
    "TimerHandle",
    "__version__",
    "alias_uvloop",
    "install",
    "new_event_loop",
    "open_connection",
    "open_file",
    "open_unix_connection",
    "run",
    "start_server",
    "start_unix_server",
    "stat",
    "uninstall",
]

_T = TypeVar("_T")

EventLoop = Loop

if TYPE_CHECKING:  # at run time: loaded or made by __getattr__ when first asked for
    from casyncio._streams import (
        StreamReader,
        StreamReaderProtocol,
        StreamWriter,
        open_connection,
        open_unix_connection,
        start_server,
        start_unix_server,
    )
    from casyncio._sync import (
        BoundedSemaphore,
        Condition,
        Event,
        LifoQueue,
        Lock,
        PriorityQueue,
        Queue,
        Semaphore,
    )

    EventLoopPolicy: Any

# Where the names are that a program may do without: it starts sooner then.
_HOMES = {
    **dict.fromkeys(("StreamReader", "StreamReaderProtocol", "StreamWriter"), "_streams"),
    **dict.fromkeys(("open_connection", "open_unix_connection"), "_streams"),
    **dict.fromkeys(("start_server", "start_unix_server"), "_streams"),
    **dict.fromkeys(("BoundedSemaphore", "Condition", "Event", "Lock", "Semaphore"), "_sync"),
    **dict.fromkeys(("LifoQueue", "PriorityQueue", "Queue"), "_sync"),
}

_enable_transports()

# Why tasks are not native here; None when they are.
_stock_tasks_reason = (
    "asked for by CASYNCIO_TASKS=stock"
    if os.environ.get("CASYNCIO_TASKS") == "stock"
    else _guard.enable_native_tasks()
)
if _stock_tasks_reason is None:
    from casyncio._native import Future, Task
else:
    from asyncio import Future, Task  # type: ignore[assignment]

# A child of fork() must not touch the kernel objects that it shares with its parent.
os.register_at_fork(after_in_child=_native.note_fork)


def new_event_loop(backend: str | None = None) -> Loop:
    """Return a new loop; fit to be a ``loop_factory``.

    ``backend`` is ``"epoll"``, ``"poll"``, ``"io_uring"`` or ``"auto"``; when None, the
    environment variable ``CASYNCIO_BACKEND`` decides, and ``"auto"`` is the default.

    Raises ValueError for an unknown backend and OSError when the kernel refuses.
    """
    return Loop(backend=backend)


def run(
    main: Coroutine[Any, Any, _T], *, debug: bool | None = None, backend: str | None = None
) -> _T:
    """Run a coroutine on a new loop and return its result, as ``asyncio.run()`` does.

    ``debug`` switches debug mode on or off; None leaves it to ``PYTHONASYNCIODEBUG`` and
    ``-X dev``.  ``backend`` is that of ``new_event_loop()``.

    Raises RuntimeError when a loop runs in this thread already, ValueError when ``main`` is
    not a coroutine, and whatever the coroutine raises.
    """
    if asyncio.events._get_running_loop() is not None:
        raise RuntimeError("casyncio.run() cannot be called from a running event loop")
    factory = functools.partial(new_event_loop, backend)
    with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
        return runner.run(main)


def open_file(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """Open a file for asynchronous use; the arguments and errors are those of ``open()``.

    ``async with casyncio.open_file(path) as file``, or ``file = await casyncio.open_file(path)``;
    then ``await file.read()``, ``async for line in file`` and so on, see ``casyncio._files``.

    What the page cache holds is read at once.  The rest is done by the backend ``"io_uring"``
    without threads, and by threads of the loop's executor on others, with the same results.
    """
    from casyncio import _files

    return _files.open_file(file, mode, buffering, encoding, errors, newline, closefd, opener)


async def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
    """Return what ``os.stat()`` returns, without keeping the loop from running.

    Raises the OSError of ``os.stat()``.
    """
    loop = asyncio.get_running_loop()
    call = functools.partial(os.stat, path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    return await loop.run_in_executor(None, call)


def install(*, accelerate: bool = False) -> None:
    """Make every loop that asyncio creates from now on a casyncio loop.

    Sets ``EventLoopPolicy`` as the event loop policy.  Loops that exist are left alone.

    ``accelerate=True`` also replaces asyncio's primitives by ours, in asyncio's own modules: the
    names in ``casyncio/_accelerate.py`` and no others.  Ours are subclasses of stock's, what was
    made before goes on working, and doing it twice is harmless.  ``accelerate=False`` leaves them
    as they are; ``uninstall()`` takes everything back.

    Raises RuntimeError where Python has no policies (announced for 3.16), and when something else
    has replaced one of the names; nothing is changed then.
    """
    from casyncio import _accelerate, _policy

    try:
        policy_class = _event_loop_policy()
    except AttributeError:
        raise RuntimeError(_policy._GONE) from None
    changes = _accelerate.plan() if accelerate else []
    _policy.set_policy(policy_class)
    _accelerate.apply(changes)


def uninstall() -> None:
    """Take back what ``install()`` has done: asyncio's own names, and Python's default policy.

    Does nothing where nothing was done, and leaves a policy alone that somebody else has set.
    Loops and primitives that exist go on working.

    Raises RuntimeError when something else has replaced a name that we had replaced; nothing is
    changed then.
    """
    from casyncio import _accelerate, _policy

    _accelerate.undo()
    policy_class = globals().get("EventLoopPolicy")
    if policy_class is not None and _policy.is_current(policy_class):
        _policy.set_policy(None)


def alias_uvloop() -> None:
    """Make ``import uvloop`` give casyncio from now on, in this process.

    For programs that ask for uvloop by name, such as a server's ``--loop uvloop``: the module
    has uvloop's public names (``install``, ``run``, ``new_event_loop``, ``Loop``,
    ``EventLoopPolicy``), whose loops are casyncio's.  uvloop need not be installed.  Child
    processes are not reached; ``python -m casyncio --as-uvloop`` reaches them, too.

    Raises RuntimeError when the real uvloop was imported before.
    """
    from casyncio import _uvloop

    _uvloop.put_in_place()


def _event_loop_policy() -> Any:
    """Build ``EventLoopPolicy`` when it is first wanted, and keep it."""
    found = globals().get("EventLoopPolicy")
    if found is None:
        from casyncio import _policy

        found = globals()["EventLoopPolicy"] = _policy.make_policy_class()
    return found


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        found = getattr(importlib.import_module(f"casyncio.{_HOMES[name]}"), name)
        return globals().setdefault(name, found)
    if name == "EventLoopPolicy":
        return _event_loop_policy()
    if name == "eager_task_factory" and hasattr(asyncio, "create_eager_task_factory"):
        # A task factory: the first step of each task runs at once, as asyncio's own does.
        if _stock_tasks_reason is not None:
            return getattr(asyncio, name)  # not known to the stubs of every Python
        made = asyncio.create_eager_task_factory(Task)
        if globals().setdefault(name, made) is made:
            _guard.use_eager_factory(made)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
