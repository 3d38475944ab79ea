"""Children that are started the short way: what they inherit, and their Popen."""

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
from asyncio import unix_events

import pytest

PIPE = asyncio.subprocess.PIPE
STDOUT = asyncio.subprocess.STDOUT


@pytest.fixture(autouse=True)
def _first(loop):
    """Let asyncio choose its child watcher, which the first child is for."""
    loop.run_until_complete(run("/bin/true"))


@pytest.fixture
def pipes(fds, collect):
    """Return a function that lists the ends of pipes that this process has."""
    collect()  # those of other tests
    return lambda: [(fd, what) for fd, what in fds().items() if what.startswith("pipe:")]


async def run(*command, data=None, **how):
    """Run a command to its end; return its outputs and its status."""
    how = {"stdout": PIPE, **how}
    child = await asyncio.create_subprocess_exec(*command, **how)
    return *await child.communicate(data), child.returncode


def sh(script, **how):
    """Return an action for same_outcome: run a shell script to its end."""
    return lambda loop: loop.run_until_complete(run("/bin/sh", "-c", script, **how))


def test_a_child_has_the_mask_and_no_handler_of_a_signal(same_outcome):
    """What glibc keeps for itself, and posix_spawn() has ignored in children, is left out."""

    def action(loop):
        out, _, _ = loop.run_until_complete(run("/bin/cat", "/proc/self/status"))
        fields = dict(line.split(":", 1) for line in out.decode().splitlines())
        return [int(fields[name], 16) & 0x7FFFFFFF for name in ("SigBlk", "SigIgn", "SigCgt")]

    old = signal.signal(signal.SIGUSR1, lambda *args: None)
    other = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        seen = same_outcome(action)
        after = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        assert callable(signal.getsignal(signal.SIGUSR1))
        assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        signal.signal(signal.SIGUSR1, old)
        signal.signal(signal.SIGUSR2, other)
    assert seen == [1 << signal.SIGHUP - 1, 1 << signal.SIGUSR2 - 1, 0]
    assert after == {signal.SIGHUP}


@pytest.mark.parametrize("program", ["/no/such", "no-such-program", "/", "/etc/passwd", ""])
def test_a_program_that_cannot_be_run_fails_in_stocks_words(same_error, pipes, program):
    before = pipes()
    assert issubclass(
        same_error(lambda loop: loop.run_until_complete(run(program, stdin=PIPE, stderr=PIPE))),
        OSError,
    )
    assert pipes() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    "command", [("a\0b",), ("/bin/true", "\0"), ("/bin/true", 1), ("/bin/true", None)]
)
def test_arguments_that_are_none_fail_in_stocks_words(same_error, command):
    assert issubclass(
        same_error(lambda loop: loop.run_until_complete(run(*command))), (ValueError, TypeError)
    )


@pytest.mark.parametrize("where", ["first", "last", "behind one that cannot be run"])
def test_a_program_is_looked_for_in_the_path(same_outcome, monkeypatch, tmp_path, where):
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\necho found $0\n")
    program.chmod(0o755)
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("not a program")
    path = {
        "first": f"{tmp_path}:/bin",
        "last": f"/bin:/no/such:/etc/passwd:{tmp_path}",
        "behind one that cannot be run": f"{other}:{tmp_path}",
    }[where]
    monkeypatch.setenv("PATH", path)
    out, _, status = same_outcome(lambda loop: loop.run_until_complete(run("mine")))
    assert (out.decode().split(), status) == (["found", str(program)], 0)


def test_a_child_sees_the_environment_of_now(same_outcome, monkeypatch):
    monkeypatch.setenv("CASYNCIO_TEST_ONE", "1")
    monkeypatch.delenv("HOME", raising=False)
    assert same_outcome(sh("echo $CASYNCIO_TEST_ONE$HOME"))[0] == b"1\n"


def test_words_may_be_bytes_and_have_bytes_that_are_no_text(same_outcome):
    def action(loop):
        return loop.run_until_complete(run(b"/bin/echo", "\udcff", b"\xfe"))

    assert same_outcome(action)[0] == b"\xff \xfe\n"


@pytest.mark.parametrize("stderr", [None, PIPE, STDOUT])
@pytest.mark.parametrize("stdin", [None, PIPE])
def test_streams_go_where_they_do_with_stock(same_outcome, stdin, stderr):
    script = "cat; echo err >&2; echo out"
    data = b"in\n" if stdin is PIPE else None
    with open("/dev/null") as null:
        out = same_outcome(sh(script, stdin=stdin or null, stderr=stderr, data=data))
    before = data or b""
    expected = {None: (b"out\n", None), PIPE: (b"out\n", b"err\n"), STDOUT: (b"err\nout\n", None)}
    assert out == (before + expected[stderr][0], expected[stderr][1], 0)


def test_a_shell_runs_a_script(same_outcome):
    async def main():
        child = await asyncio.create_subprocess_shell("echo $0 $$; exit 3", stdout=PIPE)
        out, _ = await child.communicate()
        return out.split()[0], int(out.split()[1]) == child.pid, child.returncode

    result = same_outcome(lambda loop: loop.run_until_complete(main()))
    assert result == (b"/bin/sh", True, 3)


def test_a_child_has_the_standard_descriptors_only(same_outcome):
    with open("/dev/null") as extra:
        os.set_inheritable(extra.fileno(), True)
        out, _, _ = same_outcome(sh("cd /proc/self/fd; echo *", stderr=PIPE))
    assert out == b"0 1 2 3\n"  # the last is the folder's


STARTS = {
    "no pipes": ({}, False),
    "pipes": ({"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}, False),
    "two pipes": ({"stdout": PIPE, "stderr": STDOUT}, False),
    "shell": ({"stdout": PIPE}, True),
}


@pytest.mark.parametrize("name", STARTS)
def test_the_popen_has_what_subprocess_would_have_given_it(loop, name):
    how, shell = STARTS[name]
    how = {"stdin": None, "stdout": None, "stderr": None, **how}

    async def main():
        start = loop.subprocess_shell if shell else loop.subprocess_exec
        command = ["exit 0"] if shell else ["/bin/true", "x"]
        transport, _ = await start(asyncio.SubprocessProtocol, *command, **how)
        found = transport.get_extra_info("subprocess")
        args = command[0] if shell else tuple(command)
        with subprocess.Popen(
            args, shell=shell, universal_newlines=False, bufsize=0, **how
        ) as usual:
            compare(found, usual)
        await transport._wait()
        transport.close()

    def compare(found, usual):
        own = {"pid", "_waitpid_lock", "stdin", "stdout", "stderr", "returncode"}
        mine, theirs = vars(found), vars(usual)
        assert mine.keys() == theirs.keys()
        assert {k: mine[k] for k in mine if k not in own} == {
            k: theirs[k] for k in theirs if k not in own
        }
        for stream in "stdin", "stdout", "stderr":
            assert type(mine[stream]) is type(theirs[stream])
            assert getattr(mine[stream], "mode", None) == getattr(theirs[stream], "mode", None)
        assert type(found) is subprocess.Popen
        assert found.pid > 0
        assert found._waitpid_lock.acquire(blocking=False)
        found._waitpid_lock.release()

    loop.run_until_complete(main())


@pytest.mark.parametrize(
    "name",
    ["Popen", "__init__", "_get_handles", "_execute_child", "_fork_exec", "_USE_VFORK", "_start"],
)
def test_a_changed_subprocess_starts_its_children_itself(loop, monkeypatch, name):
    seen = []
    real = subprocess.Popen

    class Popen(real):
        def __init__(self, *args, **kwargs):
            seen.append(args)
            super().__init__(*args, **kwargs)

    def replace(method):
        def replacement(self, *args, **kwargs):
            seen.append(args)
            return method(self, *args, **kwargs)

        return replacement

    if name == "Popen":
        monkeypatch.setattr(subprocess, "Popen", Popen)
    elif name == "_USE_VFORK":
        if not hasattr(subprocess, name):
            pytest.skip("this Python has no such switch")
        monkeypatch.setattr(subprocess, name, False)
        monkeypatch.setattr(real, "_close_pipe_fds", replace(real._close_pipe_fds))
    elif name == "_fork_exec":  # not asked for a program that is named with its folder
        fork_exec = subprocess._fork_exec
        monkeypatch.setattr(subprocess, name, lambda *args: seen.append(args) or fork_exec(*args))
    else:
        owner = unix_events._UnixSubprocessTransport if name == "_start" else real
        monkeypatch.setattr(owner, name, replace(getattr(owner, name)))
    assert loop.run_until_complete(run("echo", "x")) == (b"x\n", None, 0)
    assert len(seen) == 1


def test_without_descriptors_a_child_fails_in_stocks_words(same_error, pipes):
    before = pipes()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def action(loop):
        spare = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    spare.append(os.dup(2))
            os.close(spare.pop())
            os.close(spare.pop())
            loop.run_until_complete(run("/bin/true", stdin=PIPE, stderr=PIPE))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)

    assert same_error(action) is OSError
    assert pipes() == before


AUDIT = """
    import os, sys

    async def child(*command):
        child = await asyncio.create_subprocess_exec(*command, stdout=-1)
        await child.communicate()

    async def main():
        await child("/bin/true")
        seen = []
        sys.addaudithook(
            lambda name, args: seen.append(args) if name == "subprocess.Popen" else None
        )
        await child("/bin/echo", "x")
        print(seen)

    new_loop().run_until_complete(main())
"""


def test_a_start_is_audited(child):
    assert child.ok(AUDIT) == "[('/bin/echo', ['/bin/echo', 'x'], None, None)]\n"


EARLY = """
    import subprocess

    class Popen(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            print("asked")
            super().__init__(*args, **kwargs)

    async def main():
        child = await asyncio.create_subprocess_exec("/bin/true")
        await child.wait()

    subprocess.Popen = Popen
    new_loop().run_until_complete(main())
"""


def test_a_class_that_stands_for_popen_before_the_first_child_is_asked(child):
    assert child.ok(EARLY) == "asked\n"


REPLACED = """
    import functools, importlib, sys

    def replace(where, name):
        real = getattr(where, name)

        @functools.wraps(real)
        def replacement(*args, **kwargs):
            print(name)
            return real(*args, **kwargs)

        setattr(where, name, replacement)

    class Popen(subprocess.Popen):
        def __new__(cls, *args, **kwargs):
            print("Popen")
            return super().__new__(cls)

    %s
    loop = importlib.import_module("casyncio").new_event_loop()
    asyncio.set_event_loop(loop)

    async def main():
        for _ in range(2):
            child = await asyncio.create_subprocess_exec("true")
            await child.wait()

    loop.run_until_complete(main())
    loop.close()
"""

REPLACED_EARLY = {
    "Popen": "subprocess.Popen = Popen",
    **{
        name: f"replace({where}, {name!r})"
        for name, where in {
            "__init__": "subprocess.Popen",
            "_get_handles": "subprocess.Popen",
            "_execute_child": "subprocess.Popen",
            "_fork_exec": "subprocess",
            "_start": "unix_events._UnixSubprocessTransport",
        }.items()
    },
    "add_child_handler": "replace(unix_events.ThreadedChildWatcher, 'add_child_handler')\n"
    "    replace(unix_events.PidfdChildWatcher, 'add_child_handler')",
}


@pytest.mark.parametrize("name", REPLACED_EARLY)
def test_what_was_changed_before_the_package_was_loaded_is_asked_each_time(name):
    """Tools that watch a program often come before all it imports."""
    if name == "add_child_handler" and not hasattr(asyncio, "ThreadedChildWatcher"):
        pytest.skip("this Python has no child watchers")
    source = "import asyncio, subprocess\nfrom asyncio import unix_events\n" + textwrap.dedent(
        REPLACED % REPLACED_EARLY[name]
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", source], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == (f"{name}\n" * 2, "")


CLOSED = """
    import os

    async def main():
        for _ in range(2):
            child = await asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1)
            out = await child.communicate(b"x")
        os.write(2, repr((out, child.returncode)).encode())

    os.close(0), os.close(1)
    new_loop().run_until_complete(main())
"""


def test_a_process_without_standard_streams_of_its_own_can_start_children(child):
    assert "((b'x', None), 0)" in child.run(CLOSED).err


def test_threads_go_on_while_children_are_started(loop):
    ready, stop, turns = threading.Event(), threading.Event(), [0]

    def body():
        while not stop.is_set():
            turns[0] += 1
            ready.set()

    async def main():
        for _ in range(5):
            await run("/bin/true")

    thread = threading.Thread(target=body)
    thread.start()
    try:
        ready.wait(30)
        loop.run_until_complete(main())
    finally:
        stop.set()
        thread.join()
    assert turns[0]


def test_signals_that_come_meanwhile_reach_the_parent(loop):
    seen = []
    old = signal.signal(signal.SIGALRM, lambda *args: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        for n in range(10):
            assert loop.run_until_complete(run("/bin/sh", "-c", f"exit {n}"))[2] == n
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert seen


def test_a_dropped_transport_kills_its_child(loop):
    async def main():
        transport, _ = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, "/bin/sleep", "60", stdin=None, stdout=None, stderr=None
        )
        transport.close()
        return await transport._wait()

    assert loop.run_until_complete(main()) == -signal.SIGKILL
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG)[0] == 0
