"""create_subprocess_exec and create_subprocess_shell."""

import asyncio
import os
import signal
import sys
import tempfile

from _harness import case, program, raises, timed, timed_case

PIPE, DEVNULL, STDOUT = (
    asyncio.subprocess.PIPE,
    asyncio.subprocess.DEVNULL,
    asyncio.subprocess.STDOUT,
)
exe = asyncio.create_subprocess_exec


@case(
    "subprocess.ls",
    "create_subprocess_exec('ls') with a pipe: communicate gives its output, returncode 0, pid",
)
async def _():
    with tempfile.TemporaryDirectory() as d:
        open(os.path.join(d, "file-one"), "w").close()
        p = await exe("ls", d, stdout=PIPE, stderr=PIPE)
        assert p.pid > 0 and await p.communicate() == (b"file-one\n", b"") and p.returncode == 0


@case(
    "subprocess.stdin",
    "communicate(input): 1 MiB through cat comes back whole; streams by hand line by line",
)
async def _():
    p = await exe("cat", stdin=PIPE, stdout=PIPE)
    blob = os.urandom(1 << 20)
    assert (await p.communicate(blob))[0] == blob
    p = await exe("cat", stdin=PIPE, stdout=PIPE)
    for i in range(20):
        p.stdin.write(b"l%d\n" % i)
        await p.stdin.drain()
        assert await p.stdout.readline() == b"l%d\n" % i
    p.stdin.close()
    assert await p.stdout.read() == b"" and await p.wait() == 0


@case(
    "subprocess.exit_codes",
    "wait gives the exit status, minus the signal number after kill, terminate, send_signal",
)
async def _():
    p = await exe(
        sys.executable, "-c", "import sys; sys.stderr.write('err'); sys.exit(7)", stderr=PIPE
    )
    assert (await p.communicate())[1] == b"err" and p.returncode == 7
    for how, want in (("kill", -9), ("terminate", -15)):
        p = await exe("sleep", "30")
        assert p.returncode is None
        getattr(p, how)()
        assert await asyncio.wait_for(p.wait(), 10) == want == p.returncode
    p = await exe("sleep", "30")
    p.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(p.wait(), 10) == -2
    with raises(ProcessLookupError):
        p.kill()
        raise ProcessLookupError


@case(
    "subprocess.errors",
    "a missing program: FileNotFoundError; a file that is no program: PermissionError",
)
async def _():
    with raises(FileNotFoundError):
        await exe("no-such-program-anywhere")
    with tempfile.NamedTemporaryFile() as f, raises(PermissionError):
        await exe(f.name)


@case("subprocess.shell", "create_subprocess_shell; stderr=STDOUT; DEVNULL; cwd, env")
async def _():
    p = await asyncio.create_subprocess_shell("echo out; echo err >&2", stdout=PIPE, stderr=STDOUT)
    assert (await p.communicate())[0] == b"out\nerr\n"
    with tempfile.TemporaryDirectory() as d:
        p = await asyncio.create_subprocess_shell(
            "pwd; echo $WHO", stdout=PIPE, cwd=d, stderr=DEVNULL, env=dict(os.environ, WHO="me")
        )
        assert (await p.communicate())[0].decode().split() == [os.path.realpath(d), "me"]


@timed_case("subprocess.side_by_side", "ten children of 0.3 s each take about 0.3 s")
def _():
    async def main():
        ps = await asyncio.gather(*[exe("sleep", "0.3") for _ in range(10)])
        assert await asyncio.gather(*[p.wait() for p in ps]) == [0] * 10

    timed(main, 0.29, 0.6)


@timed_case(
    "subprocess.loop_goes_on",
    "the loop ticks while a child runs; several waiters on one child all get its status",
)
async def _():
    p, n = await exe("sleep", "0.2"), 0
    ws = [asyncio.create_task(p.wait()) for _ in range(5)]
    while not ws[0].done():
        n += 1
        await asyncio.sleep(0.01)
    assert await asyncio.gather(*ws) == [0] * 5 and n > 5


@case("subprocess.timeout", "wait_for on communicate, then kill and wait: no zombie remains")
async def _():
    p = await exe("sleep", "30", stdout=PIPE)
    with raises(asyncio.TimeoutError):
        await asyncio.wait_for(p.communicate(), 0.05)
    p.kill()
    assert await asyncio.wait_for(p.wait(), 10) == -9
    with raises(ChildProcessError):
        os.waitpid(p.pid, os.WNOHANG)


@case(
    "subprocess.fleet",
    "120 children, 12 at a time, each with input and output of its own, no descriptor leaks",
)
async def _():
    sem = asyncio.Semaphore(12)

    async def one(i):
        async with sem:
            p = await exe("cat", stdin=PIPE, stdout=PIPE)
            return (await p.communicate(b"job%d" % i))[0]

    await one(0)
    await asyncio.sleep(0.05)
    before = len(os.listdir("/proc/self/fd"))
    assert await asyncio.gather(*[one(i) for i in range(120)]) == [b"job%d" % i for i in range(120)]
    for _ in range(100):
        if len(os.listdir("/proc/self/fd")) <= before + 2:
            break
        await asyncio.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) <= before + 2


program(__name__)
