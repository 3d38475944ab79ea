"""Run one small network program on a loop and write down all that it sees.

The fixture ``same_trace`` of the unit tests runs a program on the standard library's loop and on
the loop under test and compares the two traces.  A trace keeps one list of entries per lane: a
lane is a transport's protocol, the exception handler, the log, the warnings.  Order counts within
a lane and not between lanes, because two transports may be served in any order.  Numbers that
differ from run to run (descriptors, ports, addresses, folders) are replaced by their names.
"""

import asyncio
import contextlib
import gc
import hashlib
import inspect
import logging
import os
import re
import socket
import struct
import tempfile
import warnings

PATIENCE_S = 10  # for what must happen; a program that waits longer has failed
LONG = 200  # bytes objects of this length and more are written down as a digest
RESET = struct.pack("ii", 1, 0)  # value of SO_LINGER: close() sends RST

WORDS = [
    (r"0x[0-9a-f]+", "0x"),
    (r"<(_UnixSelectorEventLoop|Loop)\b", "<Loop"),
    (r"'casyncio\.(\w+\.)?", "'"),
    (r"<(casyncio\.|asyncio\.)?_?(Selector|Unix|Native)?"
     r"(Socket|Datagram|ReadPipe|WritePipe|Subprocess)Transport\b", r"<\3Transport"),
    (r"\bfd=\d+", "fd=N"),
    (r"\b([Pp]ipe|descriptor) \d+", r"\1 N"),
    (r"\bpid=\d+", "pid=N"),
    (r"\bTask-\d+", "Task-N"),
    (r"('(?:127\.\d+\.\d+\.\d+|::1)', )\d{2,5}", r"\1PORT"),
    (r"(\.py|>):\d+", r"\1:LINE"),
]  # fmt: skip


def clean(text):
    """Return text without what differs between two runs and whose classes they are."""
    for pattern, word in WORDS:
        text = re.sub(pattern, word, text)
    return text


class Digest(str):
    """Stands for a long bytes object in a trace."""

    def __new__(cls, data):
        return super().__new__(cls, f"{len(data)} bytes {hashlib.sha1(data).hexdigest()[:10]}")


class Trace:
    """What a program on one loop sees, and helpers to write such programs."""

    def __init__(self, loop, folder):
        self.loop = loop
        self.folder = str(folder)
        self.lanes = {}
        self._resources = contextlib.ExitStack()

    # ---- writing down ----

    def __call__(self, lane, *entry):
        """Append an entry to a lane."""
        self.lanes.setdefault(lane, []).append(tuple(map(self.plain, entry)))

    def plain(self, value):
        """Return the value as it can be compared between two runs."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
            return data if len(data) < LONG else Digest(data)
        if value is None or isinstance(value, (bool, int, float, Digest)):
            return value
        if isinstance(value, BaseException):
            return type(value).__name__, self.text(str(value)), getattr(value, "errno", None)
        if isinstance(value, type):
            return value.__name__
        if isinstance(value, (tuple, list, set, frozenset)):
            return self.address(value) if is_address(value) else tuple(map(self.plain, value))
        if isinstance(value, dict):
            return tuple((self.plain(k), self.plain(v)) for k, v in value.items())
        return self.text(value if isinstance(value, str) else repr(value))

    def address(self, value):
        """Return an internet address without its port."""
        return (value[0], "PORT" if value[1] else 0, *value[2:])

    def text(self, text):
        """Return text without this run's folder and numbers."""
        return clean(text.replace(self.folder, "FOLDER"))

    def data(self, lane, data):
        """Append received bytes; how the kernel cuts a stream does not count."""
        entries = self.lanes.setdefault(lane, [])
        if entries and entries[-1][0] == "data":
            entries[-1] = ("data", entries[-1][1] + bytes(data))
        else:
            entries.append(("data", bytes(data)))

    def call(self, lane, func, *args, **kwargs):
        """Call func and write down what it returns or raises; return what it returns."""
        name = getattr(func, "__name__", "call")
        try:
            value = func(*args, **kwargs)
        except Exception as exc:
            self(lane, name, "raises", exc)
            return None
        self(lane, name, value)
        return value

    async def wait(self, lane, awaitable):
        """Await and write down what comes out; return the value."""
        try:
            value = await patient(awaitable)
        except (Exception, asyncio.CancelledError) as exc:
            self(lane, "raises", exc)
            return None
        self(lane, "returns", value)
        return value

    def run(self, awaitable):
        """Run the loop until it has come; write down in lane "run" what leaves the run before."""
        try:
            self.loop.run_until_complete(patient(awaitable))
        except BaseException as exc:
            self("run", exc)

    def handler(self, loop, context):
        """Write down what the exception handler is told."""
        self("handler", context["message"], context.get("exception"), sorted(context))

    def finish(self):
        """Return the lanes as they are compared."""
        for entries in self.lanes.values():
            entries[:] = [tuple(map(self.plain, entry)) for entry in entries]
        return self.lanes

    # ---- resources, closed when the program has ended ----

    def keep(self, resource):
        """Close the resource at the end of the program; return it."""
        return self._resources.enter_context(contextlib.closing(resource))

    def pair(self, kind="tcp"):
        """Return two connected non-blocking stream sockets, of kind "tcp" or "unix".

        The first has a small send buffer: a megabyte written at once does not fit.
        """
        ours, peer = socket.socketpair() if kind == "unix" else tcp_pair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)
        for sock in ours, peer:
            sock.setblocking(False)
            self.keep(sock)
        return ours, peer

    def close(self):
        """Close what was kept."""
        self._resources.close()

    # ---- connections ----

    async def connect(self, kind="tcp", lane="client", make=None, **hooks):
        """Return a recorder with its transport, and the raw socket at the other end."""
        ours, peer = self.pair(kind)
        protocol = (make or Recorder)(self, lane, **hooks)
        await self.loop.create_connection(lambda: protocol, sock=ours)
        return protocol, peer


def is_address(value):
    """Say whether the value looks like an internet address with a port."""
    return (
        isinstance(value, tuple)
        and len(value) in (2, 4)
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and bool(re.fullmatch(r"[0-9a-f.:]+", value[0]))
    )


async def patient(awaitable):
    """Await what must come; TimeoutError if it does not."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable


def tcp_pair():
    """Return two connected TCP sockets on the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        first = socket.create_connection(server.getsockname(), timeout=PATIENCE_S)
        second, _ = server.accept()
    return first, second


def reset(sock):
    """Close a TCP socket so that its peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


async def _attempt(func, *args):
    """Call a function of a non-blocking socket until it does not block."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return func(*args)
            except BlockingIOError:
                await asyncio.sleep(0.001)


async def read(sock, nbytes):
    """Read exactly nbytes from a raw socket, without help of the loop's descriptors."""
    data = bytearray()
    while len(data) < nbytes:
        chunk = await _attempt(sock.recv, min(nbytes - len(data), 1 << 18))
        if not chunk:
            raise EOFError(f"end after {len(data)} of {nbytes} bytes")
        data += chunk
    return bytes(data)


async def read_all(sock):
    """Read from a raw socket to its end; the last entry says "EOF" or which error."""
    data = bytearray()
    while True:
        try:
            chunk = await _attempt(sock.recv, 1 << 18)
        except OSError as exc:
            return bytes(data), type(exc).__name__
        if not chunk:
            return bytes(data), "EOF"
        data += chunk


async def send(sock, data):
    """Send all data through a raw socket."""
    view = memoryview(data)
    while view:
        view = view[await _attempt(sock.send, view) :]


async def until(condition):
    """Wait until the condition is true, looking once a millisecond."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


class _Recording:
    """What all recorders have: hooks are functions of the recorder, named like the callback."""

    def __init__(self, trace, lane="client", **hooks):
        self.trace = trace
        self.lane = lane
        self.hooks = hooks
        self.events = []
        self.received = bytearray()
        self.transport = None
        self._waiters = []

    def _saw(self, event, *args, quiet=False):
        self.events.append(event)
        if not quiet:
            self.trace(self.lane, event, *args)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        hook = self.hooks.get(event)
        return None if hook is None else hook(self, *args)

    async def until(self, event, times=1):
        """Wait until the callback has come that many times."""
        await self._until(lambda: self.events.count(event) >= times, event)

    async def until_received(self, nbytes):
        """Wait until that many bytes have come; return them."""
        await self._until(lambda: len(self.received) >= nbytes, f"{nbytes} bytes")
        return bytes(self.received)

    async def _until(self, condition, what):
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise AssertionError(f"{self.lane} waits for {what}; saw {self.events}") from None

    def connection_made(self, transport):
        self.transport = transport
        self._saw("connection_made")

    def connection_lost(self, exc):
        self._saw("connection_lost", exc)

    def pause_writing(self):
        self._saw("pause_writing")

    def resume_writing(self):
        self._saw("resume_writing")


class Recorder(_Recording, asyncio.Protocol):
    """A stream protocol that writes down its callbacks and calls its hooks."""

    def data_received(self, data):
        self.received += data
        self.trace.data(self.lane, data)
        return self._saw("data_received", data, quiet=True)

    def eof_received(self):
        return self._saw("eof_received")


class HasBuffer(_Recording):
    """What a buffered protocol has, of no class of asyncio's."""

    def __init__(self, *args, size=65536, **hooks):
        super().__init__(*args, **hooks)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        hook = self.hooks.get("get_buffer")
        return self.buffer if hook is None else hook(self, sizehint)

    def buffer_updated(self, nbytes):
        data = bytes(self.buffer[:nbytes])
        self.received += data
        self.trace.data(self.lane, data)
        self._saw("buffer_updated", nbytes, quiet=True)

    def eof_received(self):
        return self._saw("eof_received")


class BufferedRecorder(HasBuffer, asyncio.BufferedProtocol):
    """A buffered protocol that writes down its callbacks and calls its hooks."""


class DatagramRecorder(_Recording, asyncio.DatagramProtocol):
    """A datagram protocol that writes down its callbacks and calls its hooks."""

    def datagram_received(self, data, addr):
        self._saw("datagram_received", data, addr)

    def error_received(self, exc):
        self._saw("error_received", exc)


class _LogLane(logging.Handler):
    def __init__(self, trace):
        super().__init__(logging.DEBUG)
        self.trace = trace

    def emit(self, record):
        self.trace("log", record.levelname, record.getMessage().partition("\n")[0])


@contextlib.contextmanager
def _logged(trace, level):
    logger = logging.getLogger("asyncio")
    before = logger.level, logger.propagate
    handler = _LogLane(trace)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
        logger.manager._clear_cache()


@contextlib.contextmanager
def _warned(trace, collect):
    """Write warnings down; ResourceWarnings only when the program is about them."""
    if collect:
        gc.collect()
        gc.freeze()  # makes the collection below cheap
    caught = []

    def note(message, category, *where):
        # A record would keep what it warns of: alive again, and seen so by weak references
        # from 3.15 on, where finalizers come before them.
        caught.append((category, str(message)))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = note
            yield
            if collect:
                gc.collect()
    finally:
        gc.unfreeze()
    for category, text in caught:
        if collect or category is not ResourceWarning:
            trace("warnings", category, text)


def trace_of(program, loop, *, debug=False, collect=False, level=logging.INFO):
    """Run program(trace), a function or coroutine function, on the loop; return its lanes.

    The loop is closed at the end.  What the program raises is raised here: a program that failed
    on both loops would leave the same trace.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Trace(loop, os.path.realpath(folder))
        loop.set_debug(debug)
        loop.slow_callback_duration = 1000
        loop.set_exception_handler(trace.handler)
        with _logged(trace, level), _warned(trace, collect):
            try:
                result = program(trace)
                if inspect.isawaitable(result):
                    result = loop.run_until_complete(_limited(result))
                trace("program", "returns", result)
            finally:
                for _ in range(0 if loop.is_closed() else 3):
                    loop.call_soon(loop.stop)
                    loop.run_forever()
                trace.close()
                loop.close()
        return trace.finish()


async def _limited(awaitable):
    async with asyncio.timeout(2 * PATIENCE_S):
        return await awaitable
