"""A module that calls itself uvloop and gives casyncio's loops.

For programs that name uvloop in a place that cannot be reached, such as a server's
``--loop uvloop``.  It is made only when ``casyncio.alias_uvloop()`` is called.
"""

from __future__ import annotations

import asyncio
import importlib.machinery
import os
import sys
import types
from typing import Any

import casyncio

# The uvloop whose public names are offered; programs compare it with the version they need.
_VERSION = "0.23.0"
_FACE = ("EventLoopPolicy", "Loop", "install", "new_event_loop", "run")


def _run(main: Any, *, loop_factory: Any = None, debug: bool | None = None, **options: Any) -> Any:
    """Run a coroutine on a new loop, as ``uvloop.run()`` does."""
    if asyncio.events._get_running_loop() is not None:
        raise RuntimeError("uvloop.run() cannot be called from a running event loop")

    async def wrapper() -> Any:
        if not isinstance(asyncio.get_running_loop(), casyncio.Loop):
            raise TypeError("uvloop.run() uses a non-uvloop event loop")
        return await main

    factory = loop_factory or casyncio.new_event_loop
    with asyncio.Runner(debug=debug, loop_factory=factory, **options) as runner:
        return runner.run(wrapper())


def _new_event_loop() -> casyncio.Loop:
    """Return a new event loop."""
    return casyncio.Loop()


def _module(name: str, doc: str) -> types.ModuleType:
    module = types.ModuleType(name, doc)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin="casyncio")
    module.__package__ = "uvloop"
    return module


def make_module() -> types.ModuleType:
    """Return the module ``uvloop``, with its submodule ``uvloop.loop``."""
    made = _module("uvloop", "casyncio, under uvloop's name: see casyncio.alias_uvloop().")
    made.__path__ = []  # a package, and nothing on disk belongs to it
    made.__dict__.update(
        __version__=_VERSION,
        __casyncio__=casyncio.__version__,
        __all__=_FACE,
        Loop=casyncio.Loop,
        install=casyncio.install,
        new_event_loop=_new_event_loop,
        run=_run,
        loop=_module("uvloop.loop", "Where uvloop's Loop lives."),
    )

    def find(name: str) -> Any:
        if name == "EventLoopPolicy":
            return casyncio.EventLoopPolicy
        raise AttributeError(f"module 'uvloop' has no attribute {name!r}")

    made.__dict__["__getattr__"] = find
    made.loop.Loop = casyncio.Loop
    return made


def put_in_place() -> None:
    """Make ``import uvloop`` give the module; RuntimeError when the real one was imported."""
    found = sys.modules.get("uvloop")
    if hasattr(found, "__casyncio__"):
        return
    if found is not None:
        raise RuntimeError("uvloop was imported already; call casyncio.alias_uvloop() before that")
    made = make_module()
    sys.modules.update({"uvloop": made, "uvloop.loop": made.loop})


def reach_children() -> None:
    """Make Python processes that this one starts find the alias, too.

    They look into ``PYTHONPATH``; those of multiprocessing take over our ``sys.path`` instead.
    """
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_as_uvloop")
    if folder not in sys.path:
        sys.path.insert(1, folder)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, paths)])
