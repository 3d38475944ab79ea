"""Fixtures of the unit tests: loops, comparisons with the standard library, child processes.

``pytest tests/unit`` runs every test on casyncio, once per backend.
``pytest tests/unit --stock`` runs the same tests on the standard library's own loop instead:
that proves that a test states what asyncio does. Tests of what casyncio does differently, or has
alone, carry the mark ``ours`` with the reason and are skipped there.
"""

import asyncio
import contextlib
import functools
import gc
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types

import pytest
import traces

BACKENDS = ("epoll", "poll")
# Where io_uring differs from epoll: what accepted connections receive, files, forks. All the
# rest of its row is epoll's own code, and is tested on it by CASYNCIO_BACKEND=io_uring, which
# runs every test on that backend alone.
RING_MODULES = {
    "test_face",
    "test_flow_control",
    "test_fork",
    "test_gc",
    "test_received",
    "test_servers",
    "test_threads",
    "test_watching",
}
if sys.version_info < (3, 13):
    RING_MODULES = set()  # once is enough: the difference is below the Python line
CHILD_PRELUDE = {
    True: "import asyncio\nnew_loop = asyncio.SelectorEventLoop\n",
    False: "import asyncio, casyncio\nnew_loop = casyncio.new_event_loop\n",
}


def pytest_addoption(parser):
    parser.addoption(
        "--stock",
        action="store_true",
        help="run the unit tests on the standard library's loop, to prove what they state",
    )


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started by a shell in the background; children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "ours(reason): casyncio alone does this; not for --stock")


def is_stock(config):
    return config.getoption("--stock", False)


@functools.cache
def found_backend(name):
    """Return what CASYNCIO_BACKEND=name gives here, which is epoll where rings are refused."""
    import casyncio

    with contextlib.closing(casyncio.new_event_loop()) as loop:
        return loop.backend


def backends_of(module):
    wanted = os.environ.get("CASYNCIO_BACKEND")
    if hasattr(module, "BACKENDS"):  # a module about these alone
        return module.BACKENDS
    if wanted:
        return [found_backend(wanted)]
    return [*BACKENDS, "io_uring"] if module.__name__.split(".")[-1] in RING_MODULES else BACKENDS


def pytest_report_header(config):
    wanted = os.environ.get("CASYNCIO_BACKEND")
    if wanted and not is_stock(config):
        from casyncio import _info

        found = found_backend(wanted)
        return f"backend: {found} ({_info.backend_reason(wanted, found)})"
    return None


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        names = ["stock"] if is_stock(metafunc.config) else backends_of(metafunc.module)
        metafunc.parametrize("backend", names, indirect=True)


def pytest_runtest_setup(item):
    mark = item.get_closest_marker("ours")
    if mark is not None and is_stock(item.config):
        pytest.skip(f"not for --stock: {mark.args[0]}")


# What a Python to come may lack (requirements/unit.txt has none of it).
OPTIONAL = ("hypothesis", "psutil", "trustme")


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector):
    """Skip a module that imports what is not installed, and say so."""
    report = (yield).get_result()
    if report.outcome == "failed" and isinstance(collector, pytest.Module):
        missing = re.search(r"No module named '(\w+)", str(report.longrepr))
        if missing and missing[1] in OPTIONAL:
            report.outcome = "skipped"
            why = f"Skipped: {missing[1]} is not installed"
            report.longrepr = (str(collector.path), 1, why)


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("timeout") is None:
            # By thread: a loop hands an exception out of a signal handler to its own handler.
            item.add_marker(pytest.mark.timeout(60, method="thread"))


@functools.cache
def ring_refusal():
    """Why the kernel refuses io_uring; None when it does not."""
    from casyncio import _info

    return _info.refusal("io_uring")


@pytest.fixture
def pair():
    """Return a connected pair of non-blocking sockets."""
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    with first, second:
        yield first, second


@pytest.fixture
def backend(request):
    """Name of the backend under test ("stock" with --stock)."""
    if request.param == "io_uring" and (why := ring_refusal()):
        pytest.skip(f"no io_uring here: {why}")
    return request.param


@pytest.fixture
def new_loop(backend):
    """Make a loop of the kind under test; all of them are closed at the end."""
    loops = []

    def make():
        if backend == "stock":
            loop = asyncio.SelectorEventLoop()
        else:
            import casyncio

            loop = casyncio.new_event_loop(backend)
            assert loop.backend == backend
        loops.append(loop)
        return loop

    yield make
    for loop in loops:
        loop.close()


@pytest.fixture
def new_stock():
    """Make a loop of the standard library; all of them are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make():
            return stack.enter_context(contextlib.closing(asyncio.SelectorEventLoop()))

        yield make


@pytest.fixture
def loop(new_loop):
    """Return one open loop of the kind under test."""
    return new_loop()


@pytest.fixture
def reports(loop):
    """Return the list of what the loop's exception handler is told."""
    found = []
    loop.set_exception_handler(lambda loop, context: found.append(context))
    return found


@pytest.fixture(params=["native", "membio"])
def engine(request, backend, monkeypatch):
    """Name of the engine that TLS connections of this test use."""
    if backend == "stock":
        if request.param == "membio":
            pytest.skip("stock has no engines")
        return "stock"
    from casyncio import _tls

    _tls.choose()
    if request.param == "native" and _tls._engine != "native":
        pytest.skip(f"no native engine here: {_tls._reason}")
    monkeypatch.setattr(_tls, "_engine", request.param)
    return request.param


@pytest.fixture
def loop_class(loop):
    """Return the class of the loop under test, to be derived from."""
    return type(loop)


@pytest.fixture
def make_loop(backend):
    """Make a loop of a class derived from ``loop_class``; all of them are closed at the end."""
    loops = []

    def build(cls):
        loops.append(cls() if backend == "stock" else cls(backend=backend))
        return loops[-1]

    yield build
    for loop in loops:
        loop.close()


def clean(text):
    """Return text without what differs between two runs: addresses and whose types they are."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"<(_UnixSelectorEventLoop|Loop)\b", "<Loop", text)
    return text.replace("'casyncio.", "'")


def outcome(action, loop):
    """Run action(loop); return ("value", v) or ("error", type, text)."""
    try:
        return "value", action(loop)
    except Exception as exc:
        return "error", type(exc), clean(str(exc))


@pytest.fixture
def same_outcome(new_loop, new_stock):
    """Check that action(loop) returns or raises the same on stock's loop and on ours."""

    def check(action, *, debug=False):
        results = []
        for loop in new_stock(), new_loop():
            loop.set_debug(debug)
            results.append(outcome(action, loop))
        assert results[1] == results[0], f"stock: {results[0]}, ours: {results[1]}"
        return results[0][-1]

    return check


@pytest.fixture
def same_error(new_loop, new_stock):
    """Check that action(loop) raises on both loops, the same type in the same words."""

    def check(action, *, debug=False):
        results = []
        for loop in new_stock(), new_loop():
            loop.set_debug(debug)
            results.append(outcome(action, loop))
        assert results[0][0] == "error", f"stock does not raise: {results[0]}"
        assert results[1] == results[0], f"stock: {results[0]}, ours: {results[1]}"
        return results[0][1]

    return check


@pytest.fixture
def api(backend):
    """Return the module whose sleep(), gather() and so on are under test."""
    if backend == "stock":
        return asyncio
    import casyncio

    return casyncio


@pytest.fixture
def same_program(api, new_loop, new_stock):
    """Check that program(api), a coroutine, comes to the same with asyncio and with ours.

    Compared are what it returns or raises, and what the loop's exception handler was told; both
    without addresses, numbers of tasks and lines of files.
    """

    def play(program, loop, names):
        reports = []
        loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))
        try:
            found = repr(loop.run_until_complete(program(names)))
        except BaseException as error:
            found = f"raised {error!r} from {error.__cause__!r} in {error.__context__!r}"
        gc.collect(1)
        text = re.sub(r"\bTask-\d+", "Task-N", clean("\n".join([found, *reports])))
        return re.sub(r"( at| running at|, defined at) [^ >]*:\d+", "", text)

    def check(program):
        expected = play(program, new_stock(), asyncio)
        found = play(program, new_loop(), api)
        assert found == expected
        return found

    return check


@pytest.fixture
def turns():
    """Run a loop for n turns: turns(loop) runs what is ready now and polls once."""

    def run(loop, n=1):
        for _ in range(n):
            loop.call_soon(loop.stop)
            loop.run_forever()

    return run


@pytest.fixture
def collect():
    """Run the collector until it finds nothing more."""

    def run():
        while gc.collect():
            pass

    return run


@pytest.fixture
def in_thread():
    """Run a function in another thread to its end; return its value or raise its exception."""

    def run(func, *args, timeout=30):
        box = types.SimpleNamespace(value=None, error=None)

        def body():
            try:
                box.value = func(*args)
            except BaseException as exc:
                box.error = exc

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join(timeout)
        assert not thread.is_alive(), "the thread did not end in time"
        if box.error is not None:
            raise box.error
        return box.value

    return run


def open_fds():
    """Return the open descriptors of this process as a dict number -> target."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


@pytest.fixture
def fds():
    """Return the function that lists this process's descriptors, as {number: target}."""
    return open_fds


class Child:
    """Run Python code in a process of its own, with ``new_loop`` of the kind under test."""

    def __init__(self, backend, folder):
        self.stock = backend == "stock"
        self.folder = folder
        self.env = dict(os.environ)
        if not self.stock:
            self.env["CASYNCIO_BACKEND"] = backend
        self.running = []

    def start(self, code, *, options=(), env=None):
        """Start code in a child; return the Popen object, text pipes on its outputs."""
        script = self.folder / f"child{len(self.running)}.py"
        script.write_text(CHILD_PRELUDE[self.stock] + textwrap.dedent(code))
        return self.command(*options, str(script), env=env)

    def command(self, *arguments, env=None, cwd=None):
        """Start this interpreter with the arguments; return the Popen object."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd or self.folder,
            env={**self.env, **(env or {})},
        )
        self.running.append(process)
        return process

    def finish(self, process, timeout=30):
        """Wait for the end; return its status, stdout and stderr."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            pytest.fail(f"child hangs; stdout: {out!r} stderr: {err!r}")
        return types.SimpleNamespace(status=process.returncode, out=out, err=err)

    def run(self, code, *, timeout=30, **kwargs):
        """Run code to its end; return its status, stdout and stderr, whatever they are."""
        return self.finish(self.start(code, **kwargs), timeout)

    def ok(self, code, **kwargs):
        """Run code, which must end with status 0; return its stdout."""
        result = self.run(code, **kwargs)
        assert result.status == 0, f"status {result.status}: {result.out}{result.err}"
        return result.out

    def interrupt_when_ready(self, process, delay=0.2):
        """Send SIGINT some time after the child has written a line; return that line."""
        line = process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        return line


@pytest.fixture
def child(backend, tmp_path):
    """Return a starter of child processes; those still running are killed at the end."""
    starter = Child(backend, tmp_path)
    yield starter
    for process in starter.running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def same_trace(new_loop):
    """Check that program(trace) sees the same on stock's loop and on ours.

    Returns what it saw, a dict of lanes (see tests/helpers/traces.py).
    """

    def check(program, **options):
        stock = traces.trace_of(program, asyncio.SelectorEventLoop(), **options)
        ours = traces.trace_of(program, new_loop(), **options)
        for lane in sorted({*stock, *ours}):
            assert ours.get(lane) == stock.get(lane), f"lane {lane!r}: ours (left) and stock's"
        return ours

    return check


@pytest.fixture
def trace_on(loop):
    """Run program(trace) on the loop under test alone; return what it saw, raise what it raises."""
    return lambda program, **options: traces.trace_of(program, loop, **options)
