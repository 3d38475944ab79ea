"""Workers for gunicorn whose event loop is casyncio's.

    gunicorn -k casyncio.gunicorn.UvicornWorker package:asgi_app
    gunicorn -k casyncio.gunicorn.AiohttpWorker package:aiohttp_app_or_factory

Each class is made when it is first asked for, from the worker that its project supplies: that
of uvicorn-worker (or the older ``uvicorn.workers``), and aiohttp's ``GunicornWebWorker``.
Importing this module needs none of them; asking for a class raises ImportError when its
project is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["AiohttpWorker", "UvicornWorker"]

if TYPE_CHECKING:  # at run time: made by __getattr__ when first asked for
    AiohttpWorker: Any
    UvicornWorker: Any


def _first_module(*names: str) -> Any:
    """Import the first of some modules that is there; the first one's error when none is."""
    errors = []
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            errors.append(error)
    raise errors[0]


def _make_uvicorn_worker() -> type[Any]:
    base = _first_module("uvicorn_worker", "uvicorn.workers").UvicornWorker
    options = {**base.CONFIG_KWARGS, "loop": "casyncio:new_event_loop"}
    doc = "uvicorn's worker, on casyncio's loop."
    namespace = {"__doc__": doc, "__module__": __name__, "CONFIG_KWARGS": options}
    return type("UvicornWorker", (base,), namespace)


def _make_aiohttp_worker() -> type[Any]:
    base = importlib.import_module("aiohttp.worker").GunicornWebWorker

    def init_process(self: Any) -> None:
        # aiohttp makes its loop with asyncio.new_event_loop(), after the fork.
        import casyncio

        casyncio.install()
        base.init_process(self)

    doc = "aiohttp's worker, on casyncio's loop."
    namespace = {"__doc__": doc, "__module__": __name__, "init_process": init_process}
    return type("AiohttpWorker", (base,), namespace)


_MAKERS = {"AiohttpWorker": _make_aiohttp_worker, "UvicornWorker": _make_uvicorn_worker}


def __getattr__(name: str) -> Any:
    maker = _MAKERS.get(name)
    if maker is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, maker())


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
