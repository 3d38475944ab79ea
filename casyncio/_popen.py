"""Starting child processes: ``subprocess.Popen`` without what the usual child does not need.

The usual child has the descriptors, the environment, the folder and the user of its parent, and
pipes of its own at most.  Everything else is left to ``subprocess``, and so is a child that could
not be started: it fails once more there, in the right words.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from asyncio import unix_events
from typing import Any

from casyncio import _hooks

# Private names of these are used below; each has a test that names it.
_subprocess: Any = subprocess
_StockTransport: Any = _hooks.subprocess_transport_class
_Popen: Any = _hooks.popen_class

_SHELL = "/bin/sh"
_WORDS = {str, bytes}
_NUMBERS = {type(None), int}
_STREAMS = {None, subprocess.PIPE}
_NONE = -1  # where a descriptor would stand


def _is_stock() -> bool:
    """Return whether ``subprocess`` is as Python has it, and may use ``vfork()``."""
    return (
        _subprocess.Popen is _Popen
        and None not in _hooks.stock_starting
        and _hooks.starting() == _hooks.stock_starting
        and getattr(_subprocess, "_USE_VFORK", True)
    )


def _programs(name: Any) -> tuple[Any, ...]:
    """Return the files that are meant by the name of a program."""
    path = os.fsencode(name)
    if b"/" in path:
        return (path,)
    return tuple([os.path.join(os.fsencode(folder), path) for folder in os.get_exec_path()])


def _start(loop: Any, argv: tuple[Any, ...], ends: list[int]) -> int | None:
    """Return the pid of a new child; None when it could not be started."""
    sys.audit("subprocess.Popen", argv[0], list(argv), None, None)
    pid: int | None = loop._spawn(_programs(argv[0]), argv, *ends)
    return pid


def popen(loop: Any, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any) -> Any:
    """Return a ``subprocess.Popen`` whose child runs; None when that is for ``subprocess``.

    ``args`` are a tuple, and for a shell a string; the others are as for ``Popen``.
    """
    argv = (_SHELL, "-c", args) if shell else args
    merged = stderr is not None and stderr == subprocess.STDOUT and stdout == subprocess.PIPE
    streams = stdin, stdout, None if merged else stderr
    if not (
        _WORDS.issuperset(map(type, argv))
        and _NUMBERS.issuperset(map(type, streams))
        and _STREAMS.issuperset(streams)
        and _is_stock()
    ):
        return None
    _subprocess._cleanup()
    files: list[Any] = [None, None, None]
    ends = [_NONE, _NONE, _NONE]  # those of the child
    pid = None
    try:
        for number, stream in enumerate(streams):
            if stream is not None:
                pipe = os.pipe()
                ends[number] = pipe[number > 0]
                files[number] = open(pipe[number == 0], "rb" if number else "wb", 0)
        pid = _start(loop, argv, [*ends[:2], ends[1] if merged else ends[2]])
    except OSError:  # no descriptors left
        pass
    finally:
        for end in ends:
            if end != _NONE:
                os.close(end)
        if pid is None:
            for file in files:
                if file is not None:
                    file.close()
    return None if pid is None else _adopt(pid, args, files)


def _adopt(pid: int, args: Any, files: list[Any]) -> Any:
    """Return a ``Popen`` as its constructor would have left it."""
    process = _Popen.__new__(_Popen)
    process._waitpid_lock = threading.Lock()
    process._input = None
    process._communication_started = False
    process.args = args
    process.stdin, process.stdout, process.stderr = files
    process.pid = pid
    process.returncode = None
    process.encoding = None
    process.errors = None
    process.pipesize = -1
    process.text_mode = False
    process._sigint_wait_secs = 0.25
    process._closed_child_pipe_fds = True
    process._child_created = True
    return process


class _UnixSubprocessTransport(_StockTransport):  # type: ignore[misc]
    """asyncio's, whose child may have been started the short way."""

    def _start(
        self,
        args: Any,
        shell: Any,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: Any,
        **kwargs: Any,
    ) -> None:
        process = None if kwargs else popen(self._loop, args, shell, stdin, stdout, stderr)
        if process is None:
            super()._start(args, shell, stdin, stdout, stderr, bufsize, **kwargs)
        else:
            self._proc = process


def transport_class() -> Any:
    """Return what transports of child processes are made from: ours or what replaces asyncio's."""
    found = vars(unix_events)["_UnixSubprocessTransport"]
    return _UnixSubprocessTransport if found is _StockTransport else found
