"""Subprocesses: the same program on asyncio's loop and on ours, and who waits for children."""

import asyncio
import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import warnings

import pytest

PIPE = asyncio.subprocess.PIPE


@pytest.fixture
def policy():
    """Set a policy with a child watcher of its own, for the time of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
        yield asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(None)


@pytest.fixture
def set_watcher(policy):
    """Choose a child watcher, where this Python has them."""
    if not hasattr(policy, "set_child_watcher"):
        pytest.skip("this Python has no child watchers")
    return policy.set_child_watcher


async def output(*command, **how):
    """Run a command; return its output and its status."""
    child = await asyncio.create_subprocess_exec(*command, stdout=PIPE, **how)
    out, _ = await child.communicate()
    return out, child.returncode


def sh(script, **how):
    """Return an action for same_outcome: run a shell script to its end."""
    return lambda loop: loop.run_until_complete(output("/bin/sh", "-c", script, **how))


SCRIPTS = {
    "success": ("exit 0", {}),
    "failure": ("exit 7", {}),
    "killed": ("kill -9 $$", {}),
    "terminated": ("kill $$", {}),
    "umask": ("umask", {"umask": 0o053}),
    "cwd": ("pwd", {"cwd": "/usr"}),
    "env": ("echo $ONE $HOME", {"env": {"ONE": "1"}}),
    "preexec_fn": ("umask", {"preexec_fn": lambda: os.umask(0o031)}),
    "preexec_fn fails": ("exit 0", {"preexec_fn": lambda: 1 / 0}),
    "no such folder": ("exit 0", {"cwd": "/no/such"}),
    "own session": ("test $(ps -o sid= -p $$) = $$", {"start_new_session": True}),
    "own group": ("test $(ps -o pgid= -p $$) = $$", {"process_group": 0}),
    "bad argument": ("exit 0", {"universal_newlines": True}),
    "bad umask": ("exit 0", {"umask": "x"}),
    "stderr to stdout": ("echo x >&2", {"stderr": subprocess.STDOUT}),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_child_ends_as_on_stocks_loop(same_outcome, name):
    script, how = SCRIPTS[name]
    same_outcome(sh(script, **how))


def test_a_program_that_is_not_there_is_reported_in_stocks_words(same_error):
    assert same_error(lambda loop: loop.run_until_complete(output("/no/such"))) is FileNotFoundError


@pytest.mark.parametrize("passed", [True, False])
def test_a_child_has_the_descriptors_that_are_passed_and_no_others(same_outcome, passed):
    with open("/dev/null") as extra:
        os.set_inheritable(extra.fileno(), True)
        fds = (extra.fileno(),) if passed else ()
        test = f"test -e /proc/self/fd/{extra.fileno()}"
        _, status = same_outcome(sh(test, pass_fds=fds))
    assert status == (0 if passed else 1)


def test_a_child_keeps_descriptors_that_are_not_to_be_closed(same_outcome):
    with open("/dev/null") as extra:
        os.set_inheritable(extra.fileno(), True)
        _, status = same_outcome(sh(f"test -e /proc/self/fd/{extra.fileno()}", close_fds=False))
    assert status == 0


@pytest.mark.parametrize("method", ["kill", "terminate", "send_signal"])
def test_a_signal_ends_a_child(same_outcome, method):
    async def main():
        child = await asyncio.create_subprocess_exec("/bin/sleep", "60")
        getattr(child, method)(*([signal.SIGUSR1] if method == "send_signal" else []))
        return await child.wait(), child.returncode

    status, again = same_outcome(lambda loop: loop.run_until_complete(main()))
    assert status == again < 0


@pytest.mark.parametrize("method", ["kill", "terminate", "send_signal"])
def test_a_signal_after_the_end_is_as_on_stocks_loop(same_error, method):
    async def main():
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()
        for _ in range(3):  # it may have ended before all was made; that is still going on then
            await asyncio.sleep(0)
        getattr(child, method)(*([signal.SIGUSR1] if method == "send_signal" else []))

    assert same_error(lambda loop: loop.run_until_complete(main())) is ProcessLookupError


class Notes(asyncio.SubprocessProtocol):
    """Write down what happens, in order."""

    def __init__(self, loop):
        self.seen = []
        self.over = loop.create_future()

    def connection_made(self, transport):
        self.seen.append("made")

    def pipe_data_received(self, fd, data):
        self.seen.append((fd, data))

    def pipe_connection_lost(self, fd, exc):
        self.seen.append((fd, "lost", exc))

    def process_exited(self):
        self.seen.append("exited")

    def connection_lost(self, exc):
        self.seen.append(("lost", exc))
        self.over.set_result(None)


async def noted(loop, *command, **how):
    """Run a command; return what its protocol saw, and the return code."""
    transport, notes = await loop.subprocess_exec(
        lambda: Notes(loop), *command, **{"stdin": None, "stdout": None, "stderr": None, **how}
    )
    await notes.over
    transport.close()
    return notes.seen, transport.get_returncode()


def test_a_protocol_sees_what_it_sees_on_stocks_loop(same_outcome):
    def action(loop):
        return loop.run_until_complete(noted(loop, "/bin/true"))

    assert same_outcome(action) == (["made", "exited", ("lost", None)], 0)


def test_a_protocol_gets_all_output_and_loses_pipes_before_the_connection(loop):
    seen, status = loop.run_until_complete(noted(loop, "/bin/echo", "x", stdout=PIPE))
    assert status == 0
    assert seen[0] == "made" and seen[-1] == ("lost", None)
    assert [s for s in seen if s != "exited"][1:3] == [(1, b"x\n"), (1, "lost", None)]
    assert seen.count("exited") == 1


def has_ended(pid):
    """Wait until a child of ours is dead, without reaping it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_a_child_that_ends_before_it_is_watched_is_noticed(loop, monkeypatch):
    real = subprocess.Popen

    def popen(*args, **kwargs):
        process = real(*args, **kwargs)
        has_ended(process.pid)
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert loop.run_until_complete(output("/bin/sh", "-c", "exit 5")) == (b"", 5)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="opening a pidfd is an error then")
def test_a_child_reaped_before_it_is_watched_has_status_255(same_outcome, monkeypatch, caplog):
    real = subprocess.Popen

    def popen(*args, **kwargs):
        process = real(*args, **kwargs)
        os.waitpid(process.pid, 0)
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert same_outcome(sh("exit 3")) == (b"", 255)
    assert [r.msg.split("%")[0] for r in caplog.records] == ["Unknown child process pid "] * 2


def test_a_child_that_others_reaped_has_status_255(loop, policy, caplog):
    async def main():
        child = await asyncio.create_subprocess_exec("/bin/sleep", "60")
        child.kill()
        try:
            os.waitpid(child.pid, 0)
        except ChildProcessError:  # asyncio of 3.11 has a thread, which was faster
            return await child.wait(), -9
        return await child.wait(), 255

    status, expected = loop.run_until_complete(main())
    assert status == expected
    assert len([r for r in caplog.records if "will report returncode 255" in r.msg]) <= 1


def test_a_chosen_child_watcher_is_used(loop, set_watcher):
    class Watcher(asyncio.ThreadedChildWatcher):
        pids = []

        def add_child_handler(self, pid, callback, *args):
            self.pids.append(pid)
            super().add_child_handler(pid, callback, *args)

    set_watcher(Watcher())

    async def main():
        child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "exit 3")
        return child.pid, await child.wait()

    pid, status = loop.run_until_complete(main())
    assert status == 3 and Watcher.pids == [pid]


@pytest.mark.parametrize("how", ["subclass", "attribute"])
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfds")
def test_a_changed_watcher_by_pidfd_is_used(loop, set_watcher, how):
    seen = []

    class Watcher(asyncio.PidfdChildWatcher):
        def add_child_handler(self, pid, callback, *args):
            seen.append(pid)
            super().add_child_handler(pid, callback, *args)

    watcher = Watcher() if how == "subclass" else asyncio.PidfdChildWatcher()
    if how == "attribute":
        real = watcher.add_child_handler
        watcher.add_child_handler = lambda *args: (seen.append(args[0]), real(*args))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        set_watcher(watcher)
        if sys.version_info < (3, 12):
            watcher.attach_loop(loop)  # it asks for the loop that it was attached to
    for n in range(2):
        assert loop.run_until_complete(output("/bin/sh", "-c", f"exit {n}")) == (b"", n)
    assert len(seen) == 2


@pytest.mark.parametrize("where", ["policy", "events"])
def test_who_is_asked_for_the_child_watcher_may_be_changed(loop, policy, monkeypatch, where):
    if not hasattr(policy, "get_child_watcher"):
        pytest.skip("this Python has no child watchers")
    loop.run_until_complete(output("/bin/true"))
    owner = policy if where == "policy" else asyncio.events
    real, asked = owner.get_child_watcher, []

    def get_child_watcher():
        asked.append(where)
        return real()

    monkeypatch.setattr(owner, "get_child_watcher", get_child_watcher)
    assert loop.run_until_complete(output("/bin/sh", "-c", "exit 3")) == (b"", 3)
    assert asked


@pytest.mark.ours("stock switches warnings off for a moment, which forgets what was shown once")
def test_from_the_second_child_on_the_filters_of_warnings_stay_alone(loop, policy, monkeypatch):
    loop.run_until_complete(output("/bin/true"))
    changes = []
    monkeypatch.setattr(warnings, "_filters_mutated", lambda: changes.append(1), raising=False)
    monkeypatch.setattr(warnings, "simplefilter", lambda *args: changes.append(args))
    assert loop.run_until_complete(output("/bin/sh", "-c", "exit 3")) == (b"", 3)
    assert not changes


def test_an_inactive_child_watcher_is_refused_as_on_stocks_loop(same_error, set_watcher):
    class Watcher(asyncio.ThreadedChildWatcher):
        def is_active(self):
            return False

    set_watcher(Watcher())
    action = sh("exit 0")
    assert same_error(action) is RuntimeError


def test_the_callback_of_a_subclass_hears_of_the_end(loop_class, make_loop):
    heard = []

    class Other(loop_class):
        def _child_watcher_callback(self, pid, returncode, transp):
            heard.append((pid == transp.get_pid(), returncode))
            super()._child_watcher_callback(pid, returncode, transp)

    loop = make_loop(Other)
    assert loop.run_until_complete(output("/bin/sh", "-c", "exit 4")) == (b"", 4)
    assert heard == [(True, 4)]


@pytest.mark.ours("asyncio of 3.11 has a thread per child")
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfds")
def test_no_thread_waits_for_a_child(loop, policy):
    async def main():
        child = await asyncio.create_subprocess_exec("/bin/cat", stdin=PIPE)
        names = [thread.name for thread in threading.enumerate()]
        await child.communicate(b"")
        return names, child.returncode

    names, status = loop.run_until_complete(main())
    assert status == 0 and not [name for name in names if "waitpid" in name]


@pytest.mark.parametrize("error", ["EMFILE", "ENOSYS"])
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio's own watcher would fail")
def test_without_a_pidfd_a_child_is_watched_nevertheless(loop, policy, monkeypatch, error):
    def refuse(pid, flags=0):
        raise OSError(error)

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert loop.run_until_complete(output("/bin/sh", "-c", "exit 6")) == (b"", 6)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="asyncio leaves it a zombie")
def test_a_child_that_outlives_the_loop_is_reaped(loop, policy, caplog):
    async def main():
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "/bin/sleep", "60", stdin=None, stdout=None, stderr=None
        )
        return transport

    transport = loop.run_until_complete(main())
    pid = transport.get_pid()
    pidfd = os.pidfd_open(pid)
    loop.close()
    waiting = [t for t in threading.enumerate() if t.name.startswith("asyncio-waitpid")]
    os.kill(pid, signal.SIGKILL)
    assert select.select([pidfd], [], [], 30)[0]
    os.close(pidfd)
    for thread in waiting:
        thread.join(30)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, 0)
    assert [r.levelno for r in caplog.records if "is closed" in r.msg] == [logging.WARNING]
    transport._proc.returncode = -9
    transport.close()


def test_children_leave_no_descriptors(loop, fds):
    loop.run_until_complete(output("/bin/true"))
    before = fds()
    for _ in range(3):
        loop.run_until_complete(output("/bin/true"))
    assert fds().keys() == before.keys()


def test_closing_with_a_dead_child_leaves_no_descriptor_and_no_zombie(new_loop, fds, caplog):
    new_loop().close()
    before = fds().keys()
    loop = new_loop()

    async def main():
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "/bin/cat", stdin=PIPE, stdout=None, stderr=None
        )
        return transport

    transport = loop.run_until_complete(main())
    pid = transport.get_pid()
    transport.close()
    loop.close()
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    assert len([fd for fd in fds() if fd not in before]) <= 2  # the pipe, until it is collected
    del transport


def test_children_of_loops_in_many_threads_all_end(new_loop, in_thread):
    def body():
        loop = new_loop()
        return loop.run_until_complete(output("/bin/sh", "-c", "exit 2"))

    assert [in_thread(body) for _ in range(3)] == [(b"", 2)] * 3


def test_many_children_at_once_have_their_own_statuses(same_outcome):
    async def main():
        one = [output("/bin/sh", "-c", f"exit {n}") for n in range(10)]
        return [status for _, status in await asyncio.gather(*one)]

    assert same_outcome(lambda loop: loop.run_until_complete(main())) == list(range(10))


def test_a_cancelled_start_kills_the_child(same_error, monkeypatch):
    pids = []
    real = subprocess.Popen

    def popen(*args, **kwargs):
        process = real(*args, **kwargs)
        pids.append(process.pid)
        asyncio.current_task().cancel()
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)

    def action(loop):
        try:
            loop.run_until_complete(output("/bin/sleep", "60"))
        except asyncio.CancelledError:
            raise LookupError from None

    assert same_error(action) is LookupError
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_debug_mode_logs_a_child_as_stock_does(same_outcome, policy, caplog):
    caplog.set_level(logging.DEBUG, "asyncio")

    def action(loop):
        caplog.clear()
        loop.run_until_complete(output("/bin/sh", "-c", "exit 3"))
        wanted = "created: pid", "exited with", "process %"
        return sorted(r.msg for r in caplog.records if any(w in r.msg for w in wanted))

    assert same_outcome(action, debug=True)
