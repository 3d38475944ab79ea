"""sleep, gather, wait_for, timeout and TaskGroup in C, where asyncio is as it is known.

What the C code does by itself is the same in all Pythons that this module accepts; everything
else it leaves to asyncio's own functions, which are handed in here. A function of asyncio that
uses other names than the known ones is another function: then asyncio's own is given out. So are
those that would gain nothing: ``as_completed``, ``to_thread``.
"""

from __future__ import annotations

import functools
import inspect
import types
from asyncio import (
    TaskGroup,
    Timeout,
    as_completed,
    coroutines,
    gather,
    shield,
    sleep,
    taskgroups,
    tasks,
    timeout,
    timeout_at,
    timeouts,
    to_thread,
    wait,
    wait_for,
)
from typing import Any

import casyncio
from casyncio import _native
from casyncio._accelerate import Replacement

__all__ = [
    "TaskGroup",
    "Timeout",
    "as_completed",
    "gather",
    "shield",
    "sleep",
    "timeout",
    "timeout_at",
    "to_thread",
    "wait",
    "wait_for",
]

# The names that the code of asyncio's functions uses, those of one kind in a row.
_KNOWN: dict[str, tuple[set[str], ...]] = {
    "_done_callback": (
        set(
            "done cancelled exception _make_cancelled_error set_exception exceptions"
            " CancelledError _cancel_message result append _cancel_requested set_result".split()
        ),
    ),
    "Timeout.__aenter__": (
        set(
            "_state _State CREATED RuntimeError tasks current_task ENTERED _task cancelling"
            " _cancelling reschedule _when".split()
        ),
    ),
    "Timeout._on_timeout": (
        set("_state _State ENTERED AssertionError _task cancel EXPIRING _timeout_handler".split()),
    ),
    "TaskGroup.__aenter__": (
        set(
            "_entered RuntimeError _loop events get_running_loop _parent_task tasks"
            " current_task".split()
        ),
    ),
}


def _names(function: Any) -> set[str]:
    return set(function.__code__.co_names)


def _is_known(name: str, function: Any) -> bool:
    # Assertions are not compiled under -O.
    used = _names(function) | {"AssertionError"}
    return any(used == known | {"AssertionError"} for known in _KNOWN[name])


def _inner(function: Any, name: str) -> Any:
    """Return a function that is made inside another one, unfit to be called."""
    for constant in function.__code__.co_consts:
        if isinstance(constant, types.CodeType) and constant.co_name == name:
            cells = tuple(types.CellType() for _ in constant.co_freevars)
            return types.FunctionType(constant, function.__globals__, closure=cells)
    raise AttributeError(name)


async def _speaker() -> None:
    """Complain in a coroutine's words about what is thrown into it."""


def _dress(function: Any, stock: Any) -> Any:
    """Make a function of ours look like asyncio's."""
    functools.update_wrapper(function, stock)
    function.__module__ = "casyncio"
    if inspect.iscoroutinefunction(stock):
        mark = getattr(inspect, "markcoroutinefunction", None)
        if mark is not None:
            mark(function)
        if hasattr(coroutines, "_is_coroutine"):
            function._is_coroutine = coroutines._is_coroutine
    return function


def _derive(native: Any, stock: Any, **keywords: Any) -> Any:
    """Derive a class from the native half and, behind it, from asyncio's class."""
    body = {"__doc__": stock.__doc__, "__module__": "casyncio", "__slots__": ()}
    if keywords:
        body["_replaces"] = stock
    return types.new_class(stock.__name__, (native, stock), keywords, lambda ns: ns.update(body))


def _stock() -> dict[str, Any]:
    state = timeouts._State  # type: ignore[attr-defined]
    return {
        "speaker": _speaker,
        "sleep": tasks.sleep,
        "gather": tasks.gather,
        "gather_callback": _inner(tasks.gather, "_done_callback"),
        "wait_for": tasks.wait_for,
        "timeout": timeouts.timeout,
        "timeout_enter": timeouts.Timeout.__aenter__,
        "timeout_exit": timeouts.Timeout.__aexit__,
        "timeout_expire": timeouts.Timeout._on_timeout,  # type: ignore[attr-defined]
        "timeout_states": tuple(
            getattr(state, name) for name in ("CREATED", "ENTERED", "EXPIRING", "EXPIRED", "EXITED")
        ),
        "group": taskgroups.TaskGroup,
        "group_enter": taskgroups.TaskGroup.__aenter__,
        "group_exit": taskgroups.TaskGroup.__aexit__,
    }


def _make() -> dict[str, Any]:
    """Return what is in C here, by name."""
    stock = _stock()
    gathering = _derive(_native.GatheringFuture, vars(tasks)["_GatheringFuture"])
    timeout_class = _derive(_native.Timeout, timeouts.Timeout, metaclass=Replacement)
    group_class = _derive(_native.TaskGroup, taskgroups.TaskGroup, metaclass=Replacement)
    made = _native.use_combining(
        stock,
        gathering,
        timeout_class,
        group_class,
        "done_futs" not in tasks.gather.__code__.co_varnames,
        hasattr(taskgroups.TaskGroup, "_aexit"),
    )
    found = {name: _dress(made[name], stock[name]) for name in ("sleep",)}
    if _is_known("_done_callback", stock["gather_callback"]):
        found["gather"] = _dress(made["gather"], stock["gather"])
    if _is_known("Timeout.__aenter__", stock["timeout_enter"]) and _is_known(
        "Timeout._on_timeout", stock["timeout_expire"]
    ):
        found["Timeout"] = timeout_class
        found["timeout"] = _dress(made["timeout"], stock["timeout"])
        if "timeouts" in _names(tasks.wait_for):
            found["wait_for"] = _dress(made["wait_for"], stock["wait_for"])
    if _is_known("TaskGroup.__aenter__", stock["group_enter"]):
        found["TaskGroup"] = group_class
    return found


def _timeout_at(timeout_class: Any) -> Any:
    def timeout_at(when: float | None) -> Any:
        return timeout_class(when)

    return _dress(timeout_at, timeouts.timeout_at)


def _replacements() -> dict[str, Any]:
    """Return what is to stand for asyncio's; nothing where there are no native tasks."""
    if casyncio._stock_tasks_reason is not None:
        return {}
    try:
        found = _make()
    except (AttributeError, TypeError):
        return {}  # asyncio is not as we know it
    if "Timeout" in found:
        found["timeout_at"] = _timeout_at(found["Timeout"])
    return found


globals().update(_replacements())
