"""Clients of PostgreSQL and of Redis get from casyncio what they get from asyncio's own loop.

The servers are real ones, started here on free ports and ended with the module.
"""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest
import trustme

APPS = pathlib.Path(__file__).parent / "apps"
OURS = "casyncio._loop.Loop"
START_S = 60
ATTEMPTS = 5  # The port that is free now may be another's when the server binds it.


def command(name, *patterns):
    """The path of a program on PATH or in one of the places, or None."""
    found = [path for pattern in patterns for path in sorted(glob.glob(pattern), reverse=True)]
    return shutil.which(name) or next(iter(found), None)


def nobody():
    """What makes subprocess run a server as somebody else than root, as PostgreSQL insists."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port():
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def folder():
    """A folder that the servers' user may use, with a path short enough for a UNIX socket."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="db-"))
    if who := nobody():
        os.chown(path, who["user"], who["group"])
    yield path
    shutil.rmtree(path)


def listens(process, log, sign):
    """Wait until the log has the sign; False if the server ends before."""
    deadline = time.monotonic() + START_S
    while sign not in log.read_text():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return True


@contextlib.contextmanager
def serving(argv_for, sign, log):
    """Run argv_for(port) until it has said the sign; gives the port, and ends it afterwards."""
    for _ in range(ATTEMPTS):
        port = free_port()
        with log.open("w") as out:
            argv = list(map(str, argv_for(port)))
            process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=log.parent, **nobody())
        try:
            if listens(process, log, sign):
                yield port
                return
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    pytest.fail(f"the server does not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def postgres():
    """The arguments of postgres_client.py: port and folder of a server, and whom it trusts."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    places = "/usr/lib/postgresql/*/bin/"
    server, initdb = command("postgres", f"{places}postgres"), command("initdb", f"{places}initdb")
    if server is None or initdb is None:
        pytest.skip("the PostgreSQL server is not installed")
    with folder() as path:
        data = path / "data"
        argv = [initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8"]
        subprocess.run([*argv, "--locale", "C"], check=True, capture_output=True, **nobody())
        authority = trustme.CA()
        authority.cert_pem.write_to_path(path / "authority.pem")
        key = authority.issue_cert("localhost").private_key_and_cert_chain_pem
        key.write_to_path(path / "server.pem")
        os.chmod(path / "server.pem", 0o600)
        if who := nobody():
            os.chown(path / "server.pem", who["user"], who["group"])
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": path,
            "ssl": "on",
            "ssl_cert_file": path / "server.pem",
            "ssl_key_file": path / "server.pem",
            "fsync": "off",
            "timezone": "UTC",
        }
        told = [f"--{name}={value}" for name, value in settings.items()]

        def argv_for(port):
            return [server, "-D", data, f"--port={port}", *told]

        sign = "database system is ready to accept connections"
        with serving(argv_for, sign, path / "log") as port:
            yield [port, path, path / "authority.pem"]


@pytest.fixture(scope="module")
def redis():
    """The arguments of redis_client.py: a server's port and its UNIX socket."""
    pytest.importorskip("redis", reason="redis-py is not installed")
    if (server := command("redis-server")) is None:
        pytest.skip("the Redis server is not installed")
    with folder() as path:

        def argv_for(port):
            here = ["--bind", "127.0.0.1", "--port", port, "--unixsocket", path / "socket"]
            return [server, *here, "--unixsocketperm", "777", "--save", "", "--dir", path]

        with serving(argv_for, "eady to accept connections", path / "log") as port:
            yield [port, path / "socket"]


def ask(run_python, program, arguments, loop, env=None):
    """What the program says when it runs on the loop that the launcher's arguments name."""
    done = run_python([*loop, APPS / program, *arguments], env=env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def stock_results():
    """What each program said on asyncio's own loop, by its name."""
    return {}


def compare(run_python, program, arguments, launcher, backend, stock_results):
    """Run the program on casyncio, and once on asyncio's own loop; the results must be the same."""
    if program not in stock_results:
        said = ask(run_python, program, arguments, [])
        assert said["loop"] == "asyncio.unix_events._UnixSelectorEventLoop"
        stock_results[program] = said["results"]
    ours = ask(run_python, program, arguments, [*launcher, "--backend", backend])
    assert ours["loop"] == OURS
    assert ours["results"] == stock_results[program]
    assert ours["results"]["descriptors left"] == 0 and ours["results"]["reports"] == []


LAUNCHERS = {"plain": ["-m", "casyncio"], "accelerated": ["-m", "casyncio", "--accelerate"]}
launchers = pytest.mark.parametrize("launcher", LAUNCHERS.values(), ids=LAUNCHERS)


@launchers
def test_asyncpg_gives_the_same_results(run_python, postgres, launcher, backend, stock_results):
    compare(run_python, "postgres_client.py", postgres, launcher, backend, stock_results)


@launchers
def test_redis_py_gives_the_same_results(run_python, redis, launcher, backend, stock_results):
    compare(run_python, "redis_client.py", redis, launcher, backend, stock_results)
