"""uvicorn with httptools serves an ASGI application on casyncio under load."""

import hashlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

APPS = pathlib.Path(__file__).parent / "apps"
CLIENTS, REQUESTS = 16, 50


@pytest.fixture
def uvicorn(serve, on_backend):
    """A running uvicorn process."""
    argv = ["-m", "uvicorn", "asgi_app:app", "--app-dir", APPS, "--port", "0"]
    argv += ["--loop", "casyncio:new_event_loop", "--http", "httptools", "--no-access-log"]
    argv += ["--lifespan", "on", "--timeout-graceful-shutdown", "10"]
    process = serve(argv, on_backend)
    process.port = int(process.expect(r"running on http://127\.0\.0\.1:(\d+)")[1])
    return process


def ask(connection, path, body):
    """Send a request and check the whole response."""
    connection.request("POST", path, body)
    response = connection.getresponse()
    assert response.status == 200
    assert response.read().decode() == hashlib.sha256(path.encode() + body).hexdigest()


def client(port, number):
    """Send many requests over one connection, with bodies of all sizes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for i in range(REQUESTS):
        ask(connection, f"/{number}/{i}", bytes([number]) * (i * i * 100 if i % 5 else 0))
    connection.close()
    return REQUESTS


def finish(uvicorn, backend):
    """End the server; check on which loop it ran, and return how many requests it saw."""
    # uvicorn raises the signal that stopped it again when all is cleaned up.
    assert uvicorn.stop() == -signal.SIGTERM
    state = json.loads(uvicorn.expect(r"^\{.*\}$")[0])
    assert state["loop"] == "casyncio._loop.Loop" and state["backend"] == backend
    uvicorn.expect("Application shutdown complete")
    uvicorn.expect("Finished server process")
    assert "Traceback" not in "".join(uvicorn.output)
    return state["requests"]


def test_every_response_to_many_clients_is_right(uvicorn, backend):
    with ThreadPoolExecutor(CLIENTS) as pool:
        counts = list(pool.map(lambda number: client(uvicorn.port, number), range(CLIENTS)))
    assert counts == [REQUESTS] * CLIENTS
    assert finish(uvicorn, backend) == CLIENTS * REQUESTS


def test_sigterm_lets_the_request_in_flight_end(uvicorn, backend):
    connection = http.client.HTTPConnection("127.0.0.1", uvicorn.port, timeout=30)
    connection.connect()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, connection, "/slow", b"take your time")
        stopper = threading.Timer(0.2, uvicorn.process.send_signal, [signal.SIGTERM])
        stopper.start()
        answer.result(30)
        stopper.join()
    connection.close()
    assert finish(uvicorn, backend) == 1
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", uvicorn.port, timeout=5).connect()


@pytest.mark.skipif(not shutil.which("wrk"), reason="the load generator wrk is not installed")
def test_a_load_generator_sees_no_error(uvicorn, backend):
    url = f"http://127.0.0.1:{uvicorn.port}/load"
    done = subprocess.run(
        ["wrk", "-t1", "-c64", "-d2s", url], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
    answered = int(re.search(r"(\d+) requests in", done.stdout)[1])
    assert answered > 100
    assert finish(uvicorn, backend) >= answered
