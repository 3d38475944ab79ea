"""Pytest plugin: whatever way a library makes its loop, it gets the one that is tested.

Environment variables say which one (LIBRARIES_LOOP: stock or casyncio) and what Python to run
before the tests are imported (LIBRARIES_BEFORE).
"""

import os


def plug():
    """Put casyncio's loop in the place of asyncio's, wherever that is looked up."""
    import asyncio
    from asyncio import unix_events

    import casyncio

    casyncio.install()
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop"):
            if hasattr(module, name):
                setattr(module, name, casyncio.Loop)


if os.environ["LIBRARIES_LOOP"] == "casyncio":
    plug()
exec(os.environ.get("LIBRARIES_BEFORE", ""))
