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
from typing import Any

from casyncio import _hooks, _popen

# Private names of these are used below; each has a test that names it.
_events: Any = events
_unix_events: Any = unix_events

_Threaded: Any = getattr(_unix_events, "ThreadedChildWatcher", None)
_Pidfd: Any = getattr(_unix_events, "PidfdChildWatcher", None)

# asyncio can wait by pidfd since it can tell whether there are any.
THREAD_PER_CHILD = (
    _hooks.threaded_add_handler is not None
    and not hasattr(_unix_events, "can_use_pidfd")
    and hasattr(os, "pidfd_open")
)

# Asking for the child watcher is deprecated, and asyncio does so for each child.
ASKING_WARNS = (
    _hooks.policy_get_watcher is not None
    and "_deprecated" in _hooks.policy_get_watcher.__code__.co_names
)


def _quiet_watcher() -> Any:
    """Return asyncio's watcher by pidfd without the warning of asking for it; None: ask.

    The policy has none before asyncio has asked for the first time.
    """
    policy = _events.get_event_loop_policy()
    ask_policy = getattr(policy, "get_child_watcher", None)
    if (
        _events.get_child_watcher is not _hooks.get_watcher
        or getattr(ask_policy, "__func__", None) is not _hooks.policy_get_watcher
    ):
        return None
    watcher = policy._watcher
    same = (
        type(watcher) is _Pidfd
        and getattr(watcher.add_child_handler, "__func__", None) is _hooks.pidfd_add_handler
    )
    return watcher if same else None


def default_watcher() -> Any:
    """Return the child watcher when it is the one that asyncio chooses, else None."""
    if ASKING_WARNS:
        return _quiet_watcher()
    if not THREAD_PER_CHILD:
        return None
    watcher = _events.get_child_watcher()
    same = (
        type(watcher) is _Threaded
        and getattr(watcher.add_child_handler, "__func__", None) is _hooks.threaded_add_handler
    )
    return watcher if same else None


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:  # no such call here, no descriptor free, or somebody else has reaped it
        return None


async def make_transport(loop: Any, watcher: Any, *args: Any, **kwargs: Any) -> Any:
    """Start a subprocess and wait until its transport is ready, as asyncio's hook of the loop."""
    waiter = loop.create_future()
    transport = _popen.transport_class()(loop, *args, waiter=waiter, **kwargs)
    _watch(loop, watcher, transport)
    try:
        await waiter
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        transport.close()
        await transport._wait()
        raise
    return transport


def _watch(loop: Any, watcher: Any, transport: Any) -> None:
    pid = transport.get_pid()
    pidfd = _pidfd(pid) if THREAD_PER_CHILD else None
    if pidfd is None:
        watcher.add_child_handler(pid, loop._child_watcher_callback, transport)
    else:
        loop._children[pidfd] = pid, transport
        loop._add_reader(pidfd, _exited, loop, pidfd)


def _exited(loop: Any, pidfd: int) -> None:
    pid, transport = _forget(loop, pidfd)
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        logger.warning("Unknown child process pid %d, will report returncode 255", pid)
        returncode = 255
    else:
        returncode = os.waitstatus_to_exitcode(status)
    loop._child_watcher_callback(pid, returncode, transport)


def _forget(loop: Any, pidfd: int) -> tuple[int, Any]:
    loop._remove_reader(pidfd)
    os.close(pidfd)
    found: tuple[int, Any] = loop._children.pop(pidfd)
    return found


def hand_over(loop: Any) -> None:
    """Let threads wait for those that outlive the loop: who else would reap them?"""
    for pidfd in list(loop._children):
        pid, transport = _forget(loop, pidfd)
        try:
            running = os.waitpid(pid, os.WNOHANG)[0] == 0
        except ChildProcessError:  # reaped by others, or the parent's from before a fork
            running = False
        if running and not sys.is_finalizing():
            watcher = _Threaded()
            watcher._threads[pid] = thread = threading.Thread(
                target=watcher._do_waitpid,
                name=f"asyncio-waitpid-{pid}",
                args=(loop, pid, loop._child_watcher_callback, (transport,)),
                daemon=True,
            )
            thread.start()
