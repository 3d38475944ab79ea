"""Child processes: their pipes, their ends, what they inherit, and that nobody is left behind."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from traces import patient, until

PIPE = subprocess.PIPE
MEGABYTE = bytes(range(256)) * 4096


class Process(asyncio.SubprocessProtocol):
    """Writes down what a subprocess tells its protocol."""

    def __init__(self, trace):
        self.trace = trace
        self.output = {1: b"", 2: b""}
        self.events = []

    def saw(self, *entry):
        self.events.append(entry)
        self.trace("process", *entry)

    def connection_made(self, transport):
        self.saw("connection_made")

    def pipe_data_received(self, fd, data):
        self.output[fd] += data

    def pipe_connection_lost(self, fd, exc):
        # The pipes end in any order.
        self.trace(f"pipe {fd}", "lost", exc)
        self.events.append(("pipe_connection_lost", fd))

    def process_exited(self):
        self.trace("exited", "exited")
        self.events.append(("process_exited",))

    def connection_lost(self, exc):
        self.saw("connection_lost", exc)

    async def end(self):
        await until(lambda: ("connection_lost", None) in self.events)


def shell(trace, command, **options):
    """Start a shell command; returns its transport and protocol."""
    return trace.loop.subprocess_shell(lambda: Process(trace), command, **options)


async def run(command, *, data=None, **options):
    """Run a shell command through the high-level interface; return status and outputs."""
    process = await asyncio.create_subprocess_shell(
        command, stdin=PIPE if data is not None else None, stdout=PIPE, stderr=PIPE, **options
    )
    out, err = await patient(process.communicate(data))
    return process.returncode, out, err


# ---- the life of a child ----


def test_a_child_tells_its_protocol_output_and_end(same_trace):
    async def program(trace):
        transport, protocol = await shell(trace, "echo out; echo err >&2; exit 3")
        await protocol.end()
        trace("output", *protocol.output.values())
        trace("status", transport.get_returncode(), transport.is_closing())
        transport.close()

    lanes = same_trace(program)
    assert lanes["output"] == [(b"out\n", b"err\n")] and lanes["status"][0][0] == 3


def test_the_transport_describes_the_child_as_stocks_does(same_trace):
    async def program(trace):
        transport, protocol = await shell(trace, "read line", stdout=None, stderr=None)
        trace("transport", transport.get_pid() > 0, transport.get_returncode())
        trace("transport", isinstance(transport, asyncio.SubprocessTransport))
        trace("transport", isinstance(transport.get_pipe_transport(0), asyncio.WriteTransport))
        trace("transport", transport.get_pipe_transport(1), transport.get_pipe_transport(9))
        trace("transport", type(transport.get_extra_info("subprocess")))
        trace("transport", transport)
        transport.get_pipe_transport(0).close()
        await protocol.end()
        trace("transport", transport)
        transport.close()
        trace("transport", transport)

    same_trace(program)


@pytest.mark.parametrize(
    "command, status", [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", -9), ("kill $$", -15)]
)
def test_the_status_of_a_child_is_right(same_trace, command, status):
    async def program(trace):
        trace("result", await run(command))

    assert same_trace(program)["result"] == [((status, b"", b""),)]


def test_input_goes_in_and_output_comes_out(same_trace):
    async def program(trace):
        trace("result", await run("cat; echo done >&2", data=b"hello"))

    assert same_trace(program)["result"] == [((0, b"hello", b"done\n"),)]


def test_a_megabyte_goes_through_a_child_whole(trace_on):
    async def program(trace):
        status, out, err = await run("cat", data=MEGABYTE)
        assert (status, err) == (0, b"") and out == MEGABYTE

    trace_on(program)


def test_a_full_stdin_pauses_and_a_dead_reader_ends_it(trace_on):
    async def program(trace):
        process = await asyncio.create_subprocess_shell("exec sleep 30", stdin=PIPE)
        process.stdin.write(MEGABYTE)
        drain = asyncio.ensure_future(process.stdin.drain())
        await asyncio.sleep(0.002)
        assert not drain.done()
        process.kill()
        assert await patient(process.wait()) == -signal.SIGKILL
        await asyncio.wait([drain], timeout=10)
        assert drain.done() and isinstance(drain.exception(), (OSError, type(None)))

    trace_on(program)


def test_closing_stdin_is_the_end_for_the_child(same_trace):
    async def program(trace):
        process = await asyncio.create_subprocess_shell("cat", stdin=PIPE, stdout=PIPE)
        process.stdin.write(b"last")
        process.stdin.close()
        await patient(process.stdin.wait_closed())
        trace("out", await patient(process.stdout.read()))
        trace("status", await patient(process.wait()))

    assert same_trace(program)["out"] == [(b"last",)]


def test_a_child_that_closes_its_output_is_noticed_at_once(trace_on):
    """No spare copy of the pipe may live anywhere: it would hold the end back."""

    async def program(trace):
        process = await asyncio.create_subprocess_shell(
            "exec >&-; exec sleep 30", stdin=PIPE, stdout=PIPE
        )
        assert await patient(process.stdout.read()) == b""
        assert process.returncode is None
        process.kill()
        await patient(process.wait())

    trace_on(program)


@pytest.mark.parametrize("method", ["terminate", "kill", "send_signal"])
def test_signals_reach_the_child_and_a_dead_one_does_no_harm(same_trace, method):
    async def program(trace):
        process = await asyncio.create_subprocess_shell("exec sleep 30")
        args = (signal.SIGUSR1,) if method == "send_signal" else ()
        getattr(process, method)(*args)
        trace("status", await patient(process.wait()))
        trace.call("again", getattr(process, method), *args)

    same_trace(program)


def test_closing_the_transport_kills_the_child(same_trace):
    async def program(trace):
        transport, protocol = await shell(trace, "exec sleep 30")
        pid = transport.get_pid()
        transport.close()
        await protocol.end()
        trace("gone", not os.path.exists(f"/proc/{pid}"))

    assert same_trace(program)["gone"] == [(True,)]


def test_a_waiting_communicate_can_be_timed_out(same_trace):
    async def program(trace):
        process = await asyncio.create_subprocess_shell("exec sleep 30", stdout=PIPE)
        try:
            await asyncio.wait_for(process.communicate(), 0.01)
        except TimeoutError:
            trace("wait", "TimeoutError")
        process.kill()
        trace("wait", await patient(process.wait()))

    assert same_trace(program)["wait"] == [("TimeoutError",), (-9,)]


# ---- what a child gets ----


def test_a_child_can_open_its_own_streams_by_path(same_trace):
    """Its streams are pipes, not sockets: /dev/stdin can be opened."""

    async def program(trace):
        command = "cat /dev/stdin > /proc/self/fd/1"
        trace("result", await run(command, data=b"hello"))

    assert same_trace(program)["result"] == [((0, b"hello", b""),)]


def test_a_child_inherits_no_descriptor_of_ours(same_trace):
    async def program(trace):
        trace.pair()
        protocol, _ = await trace.connect()
        server = await trace.loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        other = await asyncio.create_subprocess_shell("cat", stdin=PIPE, stdout=PIPE)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-SEc", code, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        trace("fds", (await patient(process.communicate()))[0])
        other.stdin.close()
        await patient(other.wait())
        server.close()
        protocol.transport.abort()
        await protocol.until("connection_lost")

    assert same_trace(program)["fds"] == [(b"[0, 1, 2]\n",)]


def test_pass_fds_reach_the_child(same_trace):
    async def program(trace):
        reading, writing = os.pipe()
        try:
            result = await run(f"echo through > /proc/self/fd/{writing}", pass_fds=[writing])
            os.set_blocking(reading, False)
            trace("result", result[0], os.read(reading, 100))
        finally:
            os.close(reading)
            os.close(writing)

    assert same_trace(program)["result"] == [(0, b"through\n")]


OPTIONS = {
    "cwd": ("pwd", {"cwd": "/"}),
    "env": ("echo $WORD", {"env": {"WORD": "x", "PATH": os.environ["PATH"]}}),
    "umask": ("umask", {"umask": 0o027}),
    "start_new_session": ("test $$ = $(ps -o sid= -p $$); echo $?", {"start_new_session": True}),
    "preexec_fn": ("umask", {"preexec_fn": lambda: os.umask(0o077)}),
    "close_fds": ("echo x", {"close_fds": True}),
    "executable": ("echo $0", {"executable": "/bin/sh"}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_popen_reach_the_child(same_trace, name):
    command, options = OPTIONS[name]

    async def program(trace):
        trace("result", await run(command, **options))

    assert same_trace(program)["result"][0][0][0] == 0


@pytest.mark.parametrize("stdout", ["DEVNULL", "STDOUT", "file", "socket"])
def test_streams_can_be_other_things_than_pipes(same_trace, stdout):
    async def program(trace):
        path = trace.folder + "/out"
        ours, peer = trace.pair("unix")
        ours.setblocking(True)
        with open(path, "wb") as file:
            targets = {"DEVNULL": subprocess.DEVNULL, "STDOUT": PIPE, "file": file, "socket": ours}
            process = await asyncio.create_subprocess_shell(
                "echo out; echo err >&2",
                stdout=targets[stdout],
                stderr=subprocess.STDOUT if stdout == "STDOUT" else subprocess.DEVNULL,
            )
            trace("result", await patient(process.communicate()), process.returncode)
        trace("file", open(path, "rb").read())
        if stdout == "socket":
            trace("socket", peer.recv(100))

    same_trace(program)


WRONG = {
    "no such program": lambda loop, make: loop.subprocess_exec(make, "/nonexistent/program"),
    "no such folder": lambda loop, make: loop.subprocess_shell(make, "true", cwd="/nonexistent"),
    "not executable": lambda loop, make: loop.subprocess_exec(make, "/etc/passwd"),
    "text mode": lambda loop, make: loop.subprocess_exec(make, "true", universal_newlines=True),
    "buffered": lambda loop, make: loop.subprocess_exec(make, "true", bufsize=1),
    "shell for exec": lambda loop, make: loop.subprocess_exec(make, "true", shell=True),
    "encoding": lambda loop, make: loop.subprocess_exec(make, "true", encoding="utf-8"),
    "command as list": lambda loop, make: loop.subprocess_shell(make, ["true"]),
    "argument as int": lambda loop, make: loop.subprocess_exec(lambda: None, "echo", 5),
    "factory raises": lambda loop, make: loop.subprocess_exec(lambda: 1 / 0, "true"),
    "preexec raises": lambda loop, make: loop.subprocess_exec(
        make, "true", preexec_fn=lambda: 1 / 0
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_refused_as_by_stock(same_trace, name):
    async def program(trace):
        await trace.wait("start", WRONG[name](trace.loop, lambda: Process(trace)))

    assert same_trace(program)["start"][0][0] == "raises"


# ---- nobody is left behind ----


def test_children_are_reaped_and_leak_no_descriptor(trace_on, fds, collect):
    async def program(trace):
        await run("true")  # the watcher's own descriptors exist from now on
        collect()
        before = fds()
        pids = []
        for _ in range(5):
            process = await asyncio.create_subprocess_shell("echo x", stdout=PIPE, stdin=PIPE)
            pids.append(process.pid)
            await patient(process.communicate(b""))
        await until(lambda: fds() == before)
        for pid in pids:
            with pytest.raises(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    trace_on(program)


def test_a_child_of_somebody_else_is_not_stolen(trace_on):
    async def program(trace):
        foreign = subprocess.Popen(["/bin/sh", "-c", "exit 7"])
        for _ in range(3):
            assert (await run("exit 3"))[0] == 3
        assert foreign.wait(10) == 7

    trace_on(program)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_reaped_by_somebody_else_ends_all_the_same(trace_on):
    async def program(trace):
        process = await asyncio.create_subprocess_shell("exec sleep 30")
        os.kill(process.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # where a thread waits, it may be faster
            os.waitpid(process.pid, 0)
        trace("status", await patient(process.wait()) in (-9, 255))

    assert trace_on(program, level=50)["status"] == [(True,)]


def test_many_children_at_once_all_report_their_own_status(trace_on):
    async def program(trace):
        results = await asyncio.gather(*(run(f"exit {n}") for n in range(20)))
        assert [status for status, _, _ in results] == list(range(20))

    trace_on(program)


def test_a_loop_in_another_thread_runs_children(loop, in_thread):
    def body():
        return loop.run_until_complete(run("echo thread"))

    assert in_thread(body) == (0, b"thread\n", b"")


def test_starting_a_child_cancelled_leaves_no_zombie(trace_on):
    async def program(trace):
        before = set(psutil.Process().children())
        for turns in range(6):
            task = asyncio.ensure_future(run("exec sleep 0.1"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=10)
            assert task.cancelled()
        await until(lambda: set(psutil.Process().children()) <= before)

    trace_on(program)


def test_closing_the_loop_after_children_leaks_no_descriptor(new_loop, fds, collect):
    collect()  # what earlier tests left
    before = fds()
    for _ in range(2):
        loop = new_loop()
        assert loop.run_until_complete(run("cat", data=b"x")) == (0, b"x", b"")
        loop.close()
    del loop
    collect()
    assert fds() == before


def test_a_socketpair_as_stdin_works_and_stays_ours(same_trace):
    async def program(trace):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.send(b"over a socket")
            ours.shutdown(socket.SHUT_WR)
            process = await asyncio.create_subprocess_shell("cat", stdin=theirs, stdout=PIPE)
            trace("out", (await patient(process.communicate()))[0])
            trace("ours", theirs.fileno() >= 0)

    assert same_trace(program)["out"] == [(b"over a socket",)]
