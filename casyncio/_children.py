"""Child processes where asyncio's own way of waiting for them costs a thread each.

Up to 3.11 the default child watcher is a ThreadedChildWatcher; from 3.12 on asyncio waits by
pidfd itself, and what is here is not used.  A watcher that a program has chosen, a loop in debug
mode and a kernel without pidfds are left to asyncio.
"""

from __future__ import annotations

import os
import sys
import threading
from asyncio import events, unix_events
from asyncio.log import logger
from typing import TYPE_CHECKING, Any

# Private names of these are used below; each has a test that names it.
_events: Any = events
_unix_events: Any = unix_events


_Threaded: Any = getattr(_unix_events, "ThreadedChildWatcher", None)
_add_child_handler = getattr(_Threaded, "add_child_handler", None)

# asyncio can wait by pidfd since it can tell whether there are any.
THREAD_PER_CHILD = (
    _add_child_handler is not None
    and not hasattr(_unix_events, "can_use_pidfd")
    and hasattr(os, "pidfd_open")
)


def _default_watcher() -> Any:
    """Return the child watcher when it is the one that asyncio chooses, else None."""
    watcher = _events.get_child_watcher()
    same = (
        type(watcher) is _Threaded
        and getattr(watcher.add_child_handler, "__func__", None) is _add_child_handler
    )
    return watcher if same else None


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no such call here, no descriptor free, or somebody else has reaped it
        return None


class PidfdChildren:
    """The loop's hook that starts subprocesses, with a pidfd instead of a thread."""

    __slots__ = ()

    if TYPE_CHECKING:
        _add_reader: Any
        _child_watcher_callback: Any
        _children: dict[int, tuple[int, Any]]
        _debug: bool
        _remove_reader: Any
        create_future: Any

    async def _make_subprocess_transport(
        self,
        protocol: Any,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        watcher = _default_watcher() if THREAD_PER_CHILD and not self._debug else None
        if watcher is None:
            return await super()._make_subprocess_transport(  # type: ignore[misc, no-any-return]
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
        waiter = self.create_future()
        transport = _unix_events._UnixSubprocessTransport(
            self,
            protocol,
            args,
            shell,
            stdin,
            stdout,
            stderr,
            bufsize,
            waiter=waiter,
            extra=extra,
            **kwargs,
        )
        pid = transport.get_pid()
        pidfd = _pidfd(pid)
        if pidfd is None:
            watcher.add_child_handler(pid, self._child_watcher_callback, transport)
        else:
            self._children[pidfd] = pid, transport
            self._add_reader(pidfd, self._child_exited, pidfd)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _child_exited(self, pidfd: int) -> None:
        pid, transport = self._forget_child(pidfd)
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            logger.warning("Unknown child process pid %d, will report returncode 255", pid)
            returncode = 255
        else:
            returncode = os.waitstatus_to_exitcode(status)
        self._child_watcher_callback(pid, returncode, transport)

    def _forget_child(self, pidfd: int) -> tuple[int, Any]:
        self._remove_reader(pidfd)
        os.close(pidfd)
        return self._children.pop(pidfd)

    def _hand_over_children(self) -> None:
        """Let threads wait for those that outlive the loop: who else would reap them?"""
        for pidfd in list(self._children):
            pid, transport = self._forget_child(pidfd)
            try:
                running = os.waitpid(pid, os.WNOHANG)[0] == 0
            except ChildProcessError:  # reaped by others, or the parent's from before a fork
                running = False
            if running and not sys.is_finalizing():
                watcher = _Threaded()
                watcher._threads[pid] = thread = threading.Thread(
                    target=watcher._do_waitpid,
                    name=f"asyncio-waitpid-{pid}",
                    args=(self, pid, self._child_watcher_callback, (transport,)),
                    daemon=True,
                )
                thread.start()
