"""Servers of several processes: each of them serves on casyncio."""

import pathlib
import signal
import socket
import time
import urllib.request

import pytest

APPS = pathlib.Path(__file__).parent / "apps"
OURS = "casyncio._loop.Loop"


def ask(port):
    """Return the loop and the process that answered one request on a connection of its own."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
        return response.read().decode().split()


def wait_for_listener(port):
    """Wait until somebody listens; servers of several processes say their port before that."""
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, "nobody listens"
            time.sleep(0.02)


def ask_until(port, processes):
    """Ask until so many processes have answered; returns the loops that were seen."""
    wait_for_listener(port)
    loops, seen, end = set(), set(), time.monotonic() + 60
    while len(seen) < processes:
        assert time.monotonic() < end, f"only {len(seen)} processes answered"
        loop, process = ask(port)
        loops.add(loop)
        seen.add(process)
    return loops


def test_every_uvicorn_worker_runs_on_casyncio(serve, on_backend):
    argv = ["-m", "uvicorn", "loop_site:asgi", "--app-dir", APPS, "--port", "0"]
    argv += ["--loop", "casyncio:new_event_loop", "--workers", "2", "--lifespan", "off"]
    server = serve(argv, on_backend)
    port = int(server.expect(r"running on http://127\.0\.0\.1:(\d+)")[1])
    for _ in range(2):
        server.expect("Started server process")
    assert ask_until(port, 2) == {OURS}
    assert server.stop() in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("worker", "app"),
    [("UvicornWorker", "loop_site:asgi"), ("AiohttpWorker", "loop_site:aiohttp_factory")],
)
def test_every_gunicorn_worker_runs_on_casyncio(serve, on_backend, worker, app):
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    argv = ["-m", "gunicorn", "--chdir", APPS, "-b", "127.0.0.1:0", "-w", "2"]
    server = serve([*argv, "-k", f"casyncio.gunicorn.{worker}", app], on_backend)
    port = int(server.expect(r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
    for _ in range(2):
        server.expect("Booting worker")
    assert ask_until(port, 2) == {OURS}
    assert server.stop() == 0


def test_servers_that_share_a_port_by_reuse_port_all_answer(serve, on_backend):
    first = serve([APPS / "reuse_port.py", "0"], on_backend)
    port = int(first.expect(r"^port (\d+)$")[1])
    second = serve([APPS / "reuse_port.py", str(port)], on_backend)
    second.expect(r"^port \d+$")
    assert ask_until(port, 2) == {OURS}
    assert first.stop() == second.stop() == -signal.SIGTERM  # uvicorn raises it again
