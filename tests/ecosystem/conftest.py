"""Server processes for the tests of whole programs."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading

import pytest

# Programs for the tests to start; one is a test suite of its own.
collect_ignore = ["apps"]


class ServerProcess:
    """A Python program that serves until a signal ends it; its output is read line by line."""

    def __init__(self, argv, env):
        self.process = subprocess.Popen(
            [sys.executable, *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **env, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self.output = []
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def expect(self, pattern, timeout=30):
        """Wait for a line that matches the pattern; returns the match."""
        while True:
            try:
                line = self._lines.get(timeout=timeout)
            except queue.Empty:
                line = None
            if line is None:
                pytest.fail(f"no line with {pattern!r} in:\n{''.join(self.output)}")
            self.output.append(line)
            if match := re.search(pattern, line):
                return match

    def stop(self, timeout=30):
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self):
        """Make sure that nothing is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()


@pytest.fixture
def serve():
    """Start a ServerProcess; it is killed when the test ends."""
    started = []

    def start(argv, env):
        started.append(ServerProcess(argv, env))
        return started[-1]

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def on_backend(backend):
    """The environment of a child process whose casyncio loops use the backend."""
    return {"CASYNCIO_BACKEND": backend}
