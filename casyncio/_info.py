"""``python -m casyncio info``: what was chosen here, and why."""

from __future__ import annotations

import asyncio
import importlib
import os
import platform
import sys

import casyncio
from casyncio import _accelerate, _datagrams, _native, _pipes, _tls


def refusal(name: str) -> str | None:
    """Say why the kernel refuses a backend; None when it does not."""
    try:
        casyncio.new_event_loop(name).close()
    except OSError as error:
        return error.strerror
    return None


def backend_reason(wanted: str | None, found: str) -> str:
    """Say in a few words why the backend is what it is."""
    if wanted and wanted not in ("auto", found):
        return f"CASYNCIO_BACKEND={wanted}, but {refusal(wanted)}"
    if wanted and wanted != "auto":
        return f"asked for by CASYNCIO_BACKEND={wanted}"
    return "auto: for descriptors nothing is better in general; io_uring adds files, when asked for"


def backends() -> str:
    """Name the backends that are built in, and say which are refused here."""
    told = []
    for name in _native.backends():
        told.append(name if refusal(name) is None else f"{name} (refused)")
    return ", ".join(told)


def task_layout() -> str:
    """Say which Task and Future the loop makes."""

    async def look() -> str:
        task = asyncio.current_task()
        future = asyncio.get_running_loop().create_future()
        names = [f"{type(o).__module__}.{type(o).__qualname__}" for o in (task, future)]
        return " and ".join(names)

    return casyncio.run(look())


def transports() -> str:
    """Say which transports sockets, datagrams and pipes get, and why."""
    if os.environ.get("CASYNCIO_TRANSPORTS") == "stock":
        return "asyncio's own (asked for by CASYNCIO_TRANSPORTS=stock)"
    against = {
        "streams": None if hasattr(_native, "StreamTransport") else "asyncio's look otherwise here",
        "datagrams": _datagrams.reason,
        "pipes": _pipes.reason,
    }
    told = [f"{kind} are asyncio's own ({why})" for kind, why in against.items() if why]
    return f"native; {', '.join(told)}" if told else "native"


def replaced() -> str:
    """Say which names ``install(accelerate=True)`` would not replace on this Python."""
    kept = []
    for home, name, where in _accelerate.ROWS:
        stock = vars(importlib.import_module(home)).get(name)
        if stock is not None and _accelerate._resolve(where) is stock:
            kept.append(name)
    told = f"asyncio's own stay: {', '.join(kept)}" if kept else "native: every name"
    return f"{told} (used with --accelerate)"


def tls_engine() -> str:
    """Say which TLS connections get, and why."""
    if not _tls.enabled:
        for name in "CASYNCIO_TLS", "CASYNCIO_TRANSPORTS":
            if os.environ.get(name) == "stock":
                return f"asyncio's own (asked for by {name}=stock)"
        return "asyncio's own (ours does not fit here)"
    engine, reason = _tls.choose()
    names = {"native": "native", "membio": "through ssl.SSLObject"}
    return f"{names[engine]} ({reason})"


def rows() -> list[tuple[str, str]]:
    """Return (name, value) pairs; raises what making a loop raises."""
    wanted = os.environ.get("CASYNCIO_BACKEND")
    loop = casyncio.new_event_loop()
    backend = str(loop.backend)
    debug = loop.get_debug()
    loop.close()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return [
        ("casyncio", casyncio.__version__),
        ("backend", f"{backend} ({backend_reason(wanted, backend)})"),
        ("built in", backends()),
        ("tasks", f"{task_layout()} ({casyncio._stock_tasks_reason or 'native'})"),
        ("transports", transports()),
        ("TLS", tls_engine()),
        ("accelerate", replaced()),
        ("python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("debug", "yes" if debug else "no"),
        ("GIL", "on" if gil else "off"),
    ]


def main() -> int:
    """Print the table; returns the exit status: 0, or 1 when no loop can be made."""
    try:
        table = rows()
    except (ValueError, OSError) as error:
        print(f"casyncio cannot make a loop: {error}", file=sys.stderr)
        return 1
    for name, value in table:
        print(f"{name:12}{value}")
    return 0
