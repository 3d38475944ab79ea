"""Fixtures that all tests share: the backends, a loop on each of them, child processes."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys

import pytest

BACKENDS = ("epoll", "poll")


@pytest.fixture(params=BACKENDS)
def backend(request):
    """The name of a backend; a test that asks for it runs once on each."""
    return request.param


@pytest.fixture
def loop(backend):
    """A fresh loop on every backend, closed when the test ends."""
    import casyncio

    loop = casyncio.new_event_loop(backend)
    assert loop.backend == backend
    yield loop
    loop.close()


def run_child(argv, *, env=None, timeout=120):
    """Run Python with argv to its end; gives subprocess.CompletedProcess with text output.

    A child that takes longer than timeout seconds fails the test and leaves the stacks of its
    threads in the message; its whole process group is killed.
    """
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)  # faulthandler then prints every thread's stack
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{argv} took longer than {timeout} s\n{out[-2000:]}\n{err[-6000:]}")
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="module")
def _children(request):
    """The child processes of all selected tests of a module, two at a time, by node id."""
    items = [
        item
        for item in request.session.items
        if item.module is request.module and "child" in item.fixturenames
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        yield {
            item.nodeid: pool.submit(request.module.start_child, run_child, **item.callspec.params)
            for item in items
        }
        pool.shutdown(cancel_futures=True)


@pytest.fixture
def child(request, _children):
    """What the module's start_child() returned for the parameters of this test.

    The children of a module mostly wait, so they run ahead of the tests that look at them.
    """
    return _children[request.node.nodeid].result()


@pytest.fixture
def run_python():
    """run_child() for tests that start a single child process."""
    return run_child
