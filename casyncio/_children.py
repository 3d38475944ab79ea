"""Child processes where asyncio's own way to its child watcher is dear.

Up to 3.11 the default child watcher is a ThreadedChildWatcher, with a thread for each child; here
is a pidfd instead.  In 3.12 and 3.13 asyncio waits by pidfd itself, but asks for the watcher under
``warnings.catch_warnings()``, since asking is deprecated; here it is asked for quietly.  From 3.14
on there are no watchers, and what is here is not used.  A watcher that a program has chosen, a
loop in debug mode and a kernel without pidfds are left to asyncio.
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

_Pidfd: Any = getattr(_unix_events, "PidfdChildWatcher", None)
_add_pidfd_handler = getattr(_Pidfd, "add_child_handler", None)
_ask = getattr(_events, "get_child_watcher", None)
_ask_policy = getattr(
    getattr(_unix_events, "_UnixDefaultEventLoopPolicy", None), "get_child_watcher", None
)

# Asking for the child watcher is deprecated, and asyncio does so for each child.
ASKING_WARNS = _ask_policy is not None and "_deprecated" in _ask_policy.__code__.co_names


def _quiet_watcher() -> Any:
    """Return asyncio's watcher by pidfd without the warning of asking for it; None: ask.

    The policy has none before asyncio has asked for the first time.
    """
    policy = _events.get_event_loop_policy()
    ask_policy = getattr(policy, "get_child_watcher", None)
    if (
        _events.get_child_watcher is not _ask
        or getattr(ask_policy, "__func__", None) is not _ask_policy
    ):
        return None
    watcher = policy._watcher
    same = (
        type(watcher) is _Pidfd
        and getattr(watcher.add_child_handler, "__func__", None) is _add_pidfd_handler
    )
    return watcher if same else None


def _default_watcher() -> Any:
    """Return the child watcher when it is the one that asyncio chooses, else None."""
    if ASKING_WARNS:
        return _quiet_watcher()
    if not THREAD_PER_CHILD:
        return None
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
    """The loop's hook that starts subprocesses, by the short way to a pidfd."""

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
        watcher = None if self._debug else _default_watcher()
        if watcher is None:
            return await super()._make_subprocess_transport(  # type: ignore[misc, no-any-return]
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
        from casyncio import _popen  # few programs need it

        waiter = self.create_future()
        transport = _popen.transport_class()(
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
        self._watch_child(watcher, transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _watch_child(self, watcher: Any, transport: Any) -> None:
        pid = transport.get_pid()
        pidfd = _pidfd(pid) if THREAD_PER_CHILD else None
        if pidfd is None:
            watcher.add_child_handler(pid, self._child_watcher_callback, transport)
        else:
            self._children[pidfd] = pid, transport
            self._add_reader(pidfd, self._child_exited, pidfd)

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
