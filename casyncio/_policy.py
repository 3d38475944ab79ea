"""The event loop policy, for programs and Pythons that still choose loops that way.

Built on the running Python's own default policy, so child watchers (up to 3.13) are its own.
Nothing here runs at import: touching the policy names warns from 3.14 on, and they are
announced to go in 3.16.
"""

from __future__ import annotations

import asyncio
from asyncio import events, unix_events
from typing import Any

from casyncio._loop import Loop

_GONE = (
    "this Python has no event loop policies any more; give the loop factory instead: "
    "asyncio.run(main(), loop_factory=casyncio.new_event_loop), casyncio.run(main()) or "
    "python -m casyncio"
)


def _stock_policy_class() -> Any:
    """The default policy's class, looked up without a deprecation warning; None when gone."""
    for namespace in (unix_events, events, asyncio):
        for name in ("_DefaultEventLoopPolicy", "_UnixDefaultEventLoopPolicy"):
            found = vars(namespace).get(name)
            if found is not None:
                return found
    return vars(asyncio).get("DefaultEventLoopPolicy")


def make_policy_class() -> type[Any]:
    """Return ``EventLoopPolicy``; raises AttributeError where Python has no policies."""
    stock = _stock_policy_class()
    if stock is None:
        raise AttributeError(f"casyncio.EventLoopPolicy: {_GONE}")

    return type(
        "EventLoopPolicy",
        (stock,),
        {
            "__doc__": "asyncio's default policy, with casyncio's loop.",
            "__module__": "casyncio",
            "_loop_factory": Loop,
        },
    )


def set_policy(policy_class: type[Any] | None) -> None:
    """Make an instance of it the process's policy (None: back to Python's default).

    Raises RuntimeError where Python has no policies.
    """
    policy = None if policy_class is None else policy_class()
    setter = getattr(events, "_set_event_loop_policy", None) or getattr(
        events, "set_event_loop_policy", None
    )
    if setter is None:
        raise RuntimeError(_GONE)
    setter(policy)


def is_current(policy_class: type[Any]) -> bool:
    """Tell whether the process's policy is of exactly that class; makes none."""
    return type(vars(events).get("_event_loop_policy")) is policy_class
