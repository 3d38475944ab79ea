"""Random programs of a stream whose transport is a fake one, and what they leave as a trace.

A program is a tuple of statements; each is the name of a method of ``World`` and its arguments.
``play()`` runs one with the given classes on the given loop and returns what happened, line by
line, in words that do not depend on either.
"""

import asyncio
import contextlib
import re
import warnings

from hypothesis import strategies as st

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
CALLBACKS = re.compile(r" cb=\[.*?\](?=>)")


class FakeTransport(asyncio.Transport):
    """Notes what is asked of it."""

    def __init__(self, world, pauses):
        super().__init__({})
        self.world = world
        self.pauses = pauses
        self.closing = False

    def __repr__(self):
        return "<fake>"

    def pause_reading(self):
        self.world.note("pause_reading")
        if not self.pauses:
            raise NotImplementedError

    def resume_reading(self):
        self.world.note("resume_reading")

    def is_closing(self):
        return self.closing

    def close(self):
        self.world.note("close")
        self.closing = True

    def write(self, data):
        self.world.note("write", bytes(data))

    def writelines(self, data):
        self.world.note("writelines", list(data))


class World:
    """A reader, a writer, their protocol, and the tasks that use them."""

    def __init__(self, classes, loop, limit, pauses):
        self.trace = []
        self.loop = loop
        self.tasks = []
        self.coroutines = []  # some are never begun
        self.views = []
        self.reader = classes.StreamReader(limit=limit, loop=loop)
        self.protocol = classes.StreamReaderProtocol(self.reader, loop=loop)
        self.transport = FakeTransport(self, pauses)
        self.protocol.connection_made(self.transport)
        self.writer = classes.StreamWriter(self.transport, self.protocol, self.reader, loop)

    def note(self, *words):
        text = CALLBACKS.sub("", ADDRESS.sub("", " ".join(map(repr, words))))
        self.trace.append(text)

    def note_error(self, who, error):
        attributes = [getattr(error, n, None) for n in ("partial", "expected", "consumed")]
        context = type(error.__context__).__name__
        self.note(who, type(error).__name__, error.args, attributes, context)

    @contextlib.contextmanager
    def errors(self, who):
        try:
            yield
        except Exception as error:
            self.note_error(who, error)

    # ---- who awaits ----

    async def _follow(self, number, coroutine):
        try:
            result = await coroutine
            self.note(number, "got", result, type(result).__name__)
        except BaseException as error:
            self.note_error(number, error)

    def _spawn(self, coroutine):
        number = len(self.tasks)
        self.coroutines.append(coroutine)
        self.tasks.append(self.loop.create_task(self._follow(number, coroutine)))

    def read(self, n):
        self._spawn(self.reader.read(n))

    def read_all(self):
        self._spawn(self.reader.read())

    def readexactly(self, n):
        self._spawn(self.reader.readexactly(n))

    def readline(self):
        self._spawn(self.reader.readline())

    def readuntil(self, separator):
        with self.errors("readuntil"):
            self._spawn(self.reader.readuntil(separator))

    def iterate(self):
        async def lines():
            return [line async for line in self.reader]

        self._spawn(lines())

    def anext(self):
        self._spawn(self.reader.__anext__())

    def bare_task(self, n):
        """Make the coroutine a task itself."""
        number = len(self.tasks)
        task = self.loop.create_task(self.reader.readexactly(n))

        def ended(task):
            error = None if task.cancelled() else task.exception()
            if error is None:
                self.note(number, task.cancelled() or task.result())
            else:
                self.note_error(number, error)

        task.add_done_callback(ended)
        self.tasks.append(task)

    def drain(self):
        self._spawn(self.writer.drain())

    def wait_closed(self):
        self._spawn(self.writer.wait_closed())

    def cancel(self, number):
        if self.tasks:
            self.note("cancel", self.tasks[number % len(self.tasks)].cancel())

    def by_hand(self, n, how):
        """Drive a coroutine without a loop."""
        coroutine = self.reader.read(n)
        try:
            if how == "throw":
                coroutine.throw(KeyError("thrown"))
            self.note("by hand", type(coroutine.send(None)).__name__, self.reader._waiter is None)
            if how == "again":
                coroutine.send(None)
            elif how == "throw later":
                coroutine.throw(KeyError("thrown"))
            elif how == "forget":
                del coroutine
        except StopIteration as stop:
            self.note("by hand", stop.value)
        except Exception as error:
            self.note_error("by hand", error)
        else:
            if how == "close":
                coroutine.close()
        coroutine = None
        self.note("waiter", self.reader._waiter)

    # ---- what arrives ----

    def feed(self, data):
        with self.errors("feed"):
            self.reader.feed_data(data)

    def receive(self, data):
        with self.errors("receive"):
            self.protocol.data_received(data)

    def feed_eof(self):
        with self.errors("feed_eof"):
            self.note("eof", self.protocol.eof_received())

    def set_exception(self, text):
        with self.errors("set_exception"):
            self.reader.set_exception(ConnectionAbortedError(text))

    def lose(self, text):
        with self.errors("lose"):
            self.protocol.connection_lost(None if text is None else OSError(text))

    # ---- writing ----

    def write(self, data):
        with self.errors("write"):
            self.writer.write(data)
            self.writer.writelines([data, data])

    def pause_writing(self):
        with self.errors("pause_writing"):
            self.protocol.pause_writing()

    def resume_writing(self):
        with self.errors("resume_writing"):
            self.protocol.resume_writing()

    def close(self):
        self.writer.close()
        self.note("is_closing", self.writer.is_closing())

    # ---- curious and wilful programs ----

    def look(self):
        reader = self.reader
        self.note(
            reader, reader.at_eof(), reader._buffer, reader._paused, reader._eof, reader._limit
        )
        self.note(reader.exception(), self.protocol._paused, self.protocol._connection_lost)
        self.note(self.writer)

    def glance(self):
        self.note(self.reader.at_eof(), self.reader._waiter is None, self.reader._paused)

    def limit(self, limit):
        self.reader._limit = limit

    def take_from_buffer(self, n):
        with self.errors("take"):
            del self.reader._buffer[:n]
            self.reader._maybe_resume_transport()

    def new_buffer(self, data):
        with self.errors("new buffer"):
            self.reader._buffer = bytearray(data)

    def export(self):
        self.views.append(memoryview(self.reader._buffer))

    def release(self):
        while self.views:
            self.views.pop().release()

    def hide(self, name):
        """Give the reader a method of its own."""
        method = getattr(self.reader, name)

        def hidden(*args):
            self.note("hidden", name, args)
            return method(*args)

        setattr(self.reader, name, hidden)

    async def run(self, program):
        for name, *args in program:
            if name == "turn":
                for _ in range(args[0]):
                    await asyncio.sleep(0)
            else:
                self.trace.append(f"- {name} {args}")
                getattr(self, name)(*args)
        for _ in range(3):
            await asyncio.sleep(0)
        self.look()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for coroutine in self.coroutines:
            coroutine.close()
        self.release()
        self.glance()
        self.transport.closing = True


DATA = st.sampled_from(
    [b"", b"a", b"\n", b"line\n", b"two\nlines\n", b"no end", b"x" * 40, b"y;z\n", b";", b"ab" * 9]
)
SIZES = st.sampled_from([-1, 0, 1, 3, 5, 17, 64, 10**30])
HOWS = st.sampled_from(["send", "again", "throw", "throw later", "close", "forget"])
METHODS = st.sampled_from(
    ["feed_data", "read", "readuntil", "_wakeup_waiter", "_maybe_resume_transport", "exception"]
)


def statement(name, *args):
    return st.tuples(st.just(name), *args)


NUMBERS = st.integers(0, 5)
TEXTS = st.sampled_from(["one", "two"])
STATEMENTS = st.one_of(
    statement("turn", st.integers(1, 3)),
    statement("turn", st.integers(1, 3)),
    statement("feed", DATA),
    statement("feed", DATA),
    statement("receive", DATA),
    statement("receive", DATA),
    statement("feed", DATA.map(bytearray)),
    statement("receive", DATA.map(memoryview).map(bytes)),
    statement("read", SIZES),
    statement("read_all"),
    statement("readexactly", SIZES),
    statement("readline"),
    statement("readuntil", st.sampled_from([b"\n", b";", b"abab", b"", bytearray(b"\n"), "x"])),
    statement("readuntil", st.sampled_from([(b"\n", b"z\n"), (), (b";",), (b"",)])),
    statement("iterate"),
    statement("anext"),
    statement("bare_task", SIZES),
    statement("cancel", NUMBERS),
    statement("cancel", NUMBERS),
    statement("by_hand", SIZES, HOWS),
    statement("feed_eof"),
    statement("set_exception", TEXTS),
    statement("lose", st.none() | TEXTS),
    statement("write", DATA),
    statement("drain"),
    statement("wait_closed"),
    statement("pause_writing"),
    statement("resume_writing"),
    statement("close"),
    statement("look"),
    statement("glance"),
    statement("limit", st.sampled_from([1, 4, 16, 2.5, 10**30])),
    statement("take_from_buffer", SIZES.filter(lambda n: n < 99)),
    statement("new_buffer", DATA),
    statement("export"),
    statement("release"),
    statement("hide", METHODS),
)
programs = st.tuples(
    st.sampled_from([4, 16, 65536]),
    st.booleans(),
    st.lists(STATEMENTS, max_size=14).map(tuple),
)


def play(classes, make_loop, program):
    """Run a program and return its trace."""
    limit, pauses, statements = program
    loop = make_loop()
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["message"]))
    with warnings.catch_warnings(record=True) as caught, contextlib.closing(loop):
        warnings.simplefilter("always")
        world = World(classes, loop, limit, pauses)
        loop.run_until_complete(world.run(statements))
    said = sorted({str(w.message) for w in caught})
    return [*world.trace, *map(str, reports), *said]
