"""Do our Future and Task know the struct of the interpreter's own?

Stock objects with known values are made through the public API, and what the mirror of their
struct shows is compared with those values.  When anything differs, loops keep making stock
tasks: slower, and right.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import types
from asyncio import futures
from typing import Any

from casyncio import _native

_asyncio: Any = importlib.import_module("_asyncio")


class _Loop:
    """As much of a loop as the constructors of Future and Task ask for."""

    def get_debug(self) -> bool:
        return False

    def call_soon(self, *args: Any, context: Any = None) -> None:
        pass


async def _coroutine() -> None:
    pass


def _future_fits(loop: _Loop) -> bool:
    context = contextvars.copy_context()
    value, message = object(), "known message"
    pending = _asyncio.Future(loop=loop)
    pending.add_done_callback(len, context=context)
    pending.add_done_callback(id, context=context)
    pending._asyncio_future_blocking = True
    done, failed, cancelled = (_asyncio.Future(loop=loop) for _ in range(3))
    error = ValueError()
    done.set_result(value)
    failed.set_exception(error)
    cancelled.cancel(msg=message)
    seen = [_native.mirror_fields(f) for f in (pending, done, failed, cancelled)]
    failed._log_traceback = False
    flags = [(s["state"], s["log_tb"], s["blocking"]) for s in seen]
    return (
        flags == [(0, 0, 1), (2, 0, 0), (2, 1, 0), (1, 0, 0)]
        and all(s["loop"] == id(loop) for s in seen)
        and seen[0]["callback0"] == id(len)
        and seen[0]["context0"] == id(context)
        and seen[0]["callbacks"] != 0
        and seen[1]["result"] == id(value)
        and seen[2]["exception"] == id(error)
        and seen[3]["cancel_msg"] == id(message)
        and not any(s["source_tb"] or s["cancelled_exc"] or s["exception_tb"] for s in seen)
        and ("awaited_by" not in seen[0] or _awaiters_fit(done, failed, cancelled))
    )


def _awaiters_fit(future: Any, first: Any, second: Any) -> bool:
    seen = []
    for change, waiter in (
        (_asyncio.future_add_to_awaited_by, first),
        (_asyncio.future_discard_from_awaited_by, first),
        (_asyncio.future_add_to_awaited_by, first),
        (_asyncio.future_add_to_awaited_by, second),
    ):
        change(future, waiter)
        seen.append(_native.mirror_fields(future))
    _asyncio.future_discard_from_awaited_by(future, first)
    _asyncio.future_discard_from_awaited_by(future, second)
    return (
        [s["awaited_by"] for s in seen[:3]] == [id(first), 0, id(first)]
        and seen[3]["awaited_by"] not in (0, id(first), id(second))
        and [s["awaited_by_is_set"] for s in seen] == [0, 0, 0, 1]
        and not any(s["is_task"] for s in seen)
    )


def _task_fits(loop: _Loop) -> bool:
    coroutine = _coroutine()
    try:
        return _task_of_fits(coroutine, loop)
    finally:
        coroutine.close()


def _task_of_fits(coroutine: Any, loop: _Loop) -> bool:
    context = contextvars.copy_context()
    name = "known name"
    task = _asyncio.Task(coroutine, loop=loop, name=name, context=context)
    before = _native.mirror_fields(task)
    task.cancel()
    after = _native.mirror_fields(task)
    task._log_destroy_pending = False
    silent = _native.mirror_fields(task)
    _asyncio._unregister_task(task)
    gone = _native.mirror_fields(task)
    return (
        before["coro"] == id(coroutine)
        and before["name"] == id(name)
        and before["context"] == id(context)
        and before["fut_waiter"] == 0
        and (before["must_cancel"], after["must_cancel"]) == (0, 1)
        and (before["num_cancels_requested"], after["num_cancels_requested"]) == (0, 1)
        and (after["log_destroy_pending"], silent["log_destroy_pending"]) == (1, 0)
        and ("linked" not in before or (before["linked"], gone["linked"]) == (1, 0))
        and ("is_task" not in before or before["is_task"] == 1)
    )


def reason_against_native_tasks() -> str | None:
    """Return why loops cannot make native tasks here; None when they can."""
    if not hasattr(_native, "Task"):
        return "this Python's Task has another size than the one that is known"
    loop = _Loop()
    try:
        fits = _future_fits(loop) and _task_fits(loop)
    except (AttributeError, TypeError) as error:
        return f"this Python's Task cannot be looked into ({error})"
    if not fits:
        return "this Python's Task keeps its values in other places than the known ones"
    return None


class _Named:
    """As much of a task as create_task() asks for once a factory has made it."""

    def __init__(self) -> None:
        self.names: list[Any] = []

    def set_name(self, name: Any) -> None:
        self.names.append(name)


class _Making:
    """As much of a loop as create_task() asks for when there is a task factory."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def _check_closed(self) -> None:
        pass

    def _task_factory(self, *args: Any, **kwargs: Any) -> _Named:
        self.calls.append((*args[1:], {k: v for k, v in kwargs.items() if v is not None}))
        return _Named()


# What names become of tasks made without a name and with one, and whether the factory is told.
_NAMING = {
    ((), ("n",), False): 1,
    ((None,), ("n",), False): 2,
    ((), (), True): 3,
}


def _naming() -> int:
    """Return what create_task() does with a name when there is a factory; 0: something else."""
    create_task: Any = asyncio.BaseEventLoop.create_task
    loop, context = _Making(), contextvars.copy_context()
    unnamed = create_task(loop, "c")
    named = create_task(loop, "c", name="n")
    create_task(loop, "c", context=context)
    told = loop.calls[1] == ("c", {"name": "n"})
    as_known = loop.calls == [("c", {}), loop.calls[1], ("c", {"context": context})]
    if not as_known or not (told or loop.calls[1] == ("c", {})):
        return 0
    return _NAMING.get((tuple(unnamed.names), tuple(named.names), told), 0)


def use_eager_factory(factory: Any) -> None:
    """Tell the loops that a factory makes eager tasks, when they can do as well without it."""
    try:
        naming = _naming()
    except (AttributeError, TypeError):
        return
    if naming:
        _native.use_eager_factory(factory, naming)


def use_late_result() -> None:
    """Tell handles what asyncio.sleep() sets its future with, if it does no more than that."""
    function = getattr(futures, "_set_result_unless_cancelled", None)
    code = getattr(function, "__code__", None)
    if (
        isinstance(function, types.FunctionType)
        and function.__globals__ is vars(futures)
        and getattr(code, "co_names", None) == ("cancelled", "set_result")
        and getattr(code, "co_varnames", None) == ("fut", "result")
    ):
        _native.use_late_result(function)


def enable_native_tasks() -> str | None:
    """Make loops create native tasks; return why that is impossible here, None when it is done."""
    reason = reason_against_native_tasks()
    if reason is None:
        try:
            _native.use_native_tasks()
        except (AttributeError, TypeError, RuntimeError) as error:
            reason = f"this Python keeps its tasks in another way than the known one ({error})"
    if reason is None:
        use_late_result()
        if hasattr(asyncio, "eager_task_factory"):
            use_eager_factory(asyncio.eager_task_factory)
    return reason
