"""Random programs of locks and queues, and a player that writes down what happens.

A program is ``(kind, argument, statements)``: what is made, with what, and what a driver does with
it, one statement after another. A statement is a tuple of the name of a method of ``Player`` and
small numbers. After each statement the visible state is written down, so two classes that leave the
same trace cannot be told apart by such a program: the order in which tasks go on, what they get,
what is raised, how many wait.
"""

import asyncio
import re

from hypothesis import strategies as st

small = st.integers(0, 4)


def statements(*kinds):
    """Return a strategy of lists of statements: those of the kind, and those of all kinds."""
    general = [
        st.tuples(st.just("turns"), st.integers(1, 3)),
        st.tuples(st.just("turns"), st.integers(1, 3)),
        st.tuples(st.just("cancel"), small),
        st.tuples(st.just("cancel"), small),
        st.tuples(st.just("cancel_soon"), small),
        st.tuples(st.just("wait_for"), small),
        st.tuples(st.just("by_hand"), st.integers(0, 7)),
        st.tuples(st.just("by_hand"), st.integers(0, 7)),
        st.tuples(st.just("settle"), small, small),
        st.tuples(st.just("drop")),
    ]
    return st.lists(st.one_of(*kinds, *general), min_size=3, max_size=18).map(tuple)


def of(name, *numbers):
    return st.tuples(st.just(name), *numbers)


acquiring = statements(
    of("acquire", small), of("acquire", small), of("enter", small), of("release"), of("look")
)
programs = st.one_of(
    st.tuples(st.just("Lock"), st.none(), acquiring),
    st.tuples(st.just("Semaphore"), st.integers(0, 3), acquiring),
    st.tuples(st.just("BoundedSemaphore"), st.integers(0, 3), acquiring),
    st.tuples(
        st.just("Event"),
        st.none(),
        statements(of("wait"), of("wait"), of("set"), of("clear"), of("set_clear")),
    ),
    st.tuples(
        st.just("Condition"),
        st.none(),
        statements(
            of("acquire", small), of("condition", small), of("notify", small), of("release")
        ),
    ),
    st.tuples(
        st.just("Barrier"),
        st.integers(1, 3),
        statements(of("wait"), of("wait"), of("reset"), of("abort")),
    ),
    st.tuples(
        st.sampled_from(["Queue", "LifoQueue", "PriorityQueue"]),
        st.integers(0, 3),
        statements(
            of("put", small),
            of("put", small),
            of("get"),
            of("get"),
            of("put_nowait", small),
            of("get_nowait"),
            of("task_done"),
            of("join"),
            of("resize", small),
            of("shutdown", st.booleans()),
        ),
    ),
)


class Odd(BaseException):
    """What nobody catches by mistake."""


def text_of(value):
    """Return what is the same in both families of classes."""
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return re.sub(r"asyncio\.(locks|queues)\.|casyncio\.", "", text)


class Player:
    """Plays a program with one family of classes; ``trace`` is what was seen."""

    def __init__(self, loop, family, program):
        self.loop = loop
        self.kind, self.argument, self.program = program
        self.family = family
        self.trace = []
        self.tasks = []
        self.coros = []  # driven by hand: the coroutine and the future it has yielded

    def note(self, *what):
        self.trace.append(" ".join(map(str, what)))

    def state(self):
        seen = [text_of(self.thing)]
        for name in ("_locked", "_value", "_unfinished_tasks", "_is_shutdown", "_state", "_count"):
            if hasattr(self.thing, name) and not isinstance(self.thing, asyncio.Condition):
                seen.append(f"{name}={getattr(self.thing, name)}")
        for name in ("_waiters", "_getters", "_putters", "_queue"):
            found = getattr(self.thing, name, ())
            seen.append(f"{name}[{len(found) if found is not None else None}]")
        if hasattr(self.thing, "_finished"):
            seen.append(f"finished={self.thing._finished.is_set()}")
        seen.append(f"bound={self.thing._loop is self.loop}")
        return " ".join(seen)

    async def main(self):
        make = self.family[self.kind]
        self.thing = make() if self.argument is None else make(self.argument)
        if self.kind == "Condition":
            self.thing = make(self.family["Lock"]())
        for number, (name, *arguments) in enumerate(self.program):
            self.note(f"-- {number} {name}", *arguments)
            try:
                result = getattr(self, name)(*arguments)
                if hasattr(result, "__await__"):
                    await result
            except Exception as error:
                self.note("driver:", type(error).__name__, error)
            self.note(self.state())
        for _ in range(3):  # they go on after a cancellation
            for task in self.tasks:
                task.cancel()
            await self.turns(6)
        self.note("left:", sum(not task.done() for task in self.tasks), self.state())
        for coro, _ in self.coros:
            coro.close()
        self.note(self.state())

    def play(self):
        try:
            self.loop.run_until_complete(self.main())
        finally:
            self.thing = None
            self.loop.close()
        return list(self.trace)  # what is destroyed later writes no more

    # ---- all kinds ----

    async def turns(self, count):
        for _ in range(count):
            await asyncio.sleep(0)

    def start(self, label, body):
        """Run body() as a task that tells how it goes; it goes on after a cancellation."""
        number = len(self.tasks)

        async def run():
            for attempt in range(2):
                try:
                    self.note(f"t{number} {label}: {text_of(await body())}")
                    return
                except asyncio.CancelledError as error:
                    self.note(f"t{number} {label}: cancelled {error.args}")
                    if number % 2 or attempt:
                        raise
                except Exception as error:
                    self.note(f"t{number} {label}: {type(error).__name__} {error}")
                    return

        self.tasks.append(self.loop.create_task(run()))

    def cancel(self, number):
        if self.tasks:
            self.note(self.tasks[-1 - number % len(self.tasks)].cancel(f"by {number}"))

    def cancel_soon(self, number):
        if self.tasks:
            self.loop.call_soon(self.tasks[-1 - number % len(self.tasks)].cancel)

    def coroutine(self, number=0):
        """Return a coroutine of the thing, its first or second kind of waiting."""
        thing = self.thing
        if self.kind.endswith("Queue"):
            return thing.put(number) if number % 2 else thing.get()
        if self.kind in ("Event", "Barrier"):
            return thing.wait()
        return thing.__aenter__() if number % 2 else thing.acquire()

    def wait_for(self, number):
        self.start("wait_for", lambda: asyncio.wait_for(self.coroutine(number), number // 2 * 60))

    def by_hand(self, number):
        """Begin to await without a task; or go on with, throw into or close what has begun."""
        if not self.coros or number < 2:
            self.coros.append((self.coroutine(number), None))
            self.step(-1, lambda coro: coro.send(None))
            return
        action = [
            lambda coro: coro.send(None),
            lambda coro: coro.throw(asyncio.CancelledError("thrown")),
            lambda coro: coro.throw(Odd("thrown")),
            lambda coro: coro.throw(ValueError),
            lambda coro: coro.close(),
            lambda coro: coro.send(5),
        ][number - 2]
        self.step(number % len(self.coros), action)

    def step(self, place, action):
        coro, future = self.coros[place]
        try:
            future = action(coro)
            self.note("by hand:", type(future).__name__.lower())
        except BaseException as error:
            self.note("by hand:", type(error).__name__, text_of(error.args))
        self.coros[place] = coro, future
        if asyncio.isfuture(future):
            self.note("future:", future.done(), future.cancelled())

    def settle(self, place, how):
        """Finish the future that a coroutine driven by hand has yielded, as nobody else would."""
        futures = [future for _, future in self.coros if asyncio.isfuture(future)]
        if futures:
            future = futures[place % len(futures)]
            if how < 2:
                self.note("cancel:", future.cancel())
            elif not future.done():
                (future.set_result if how == 2 else future.set_exception)(OSError(how))

    def drop(self):
        """Let go of a coroutine driven by hand while it waits."""
        if self.coros:
            self.coros.pop()

    # ---- Lock, Semaphore, Condition ----

    def acquire(self, turns):
        async def body():
            got = await self.thing.acquire()
            self.note("acquired")
            try:
                await self.turns(turns)
            finally:
                self.thing.release()
            return got

        self.start("acquire", body)

    def enter(self, turns):
        async def body():
            async with self.thing as got:
                self.note("entered")
                await self.turns(turns)
            return got

        self.start("enter", body)

    def release(self):
        self.thing.release()

    def look(self):
        self.note(self.thing.locked())

    def condition(self, turns):
        async def body():
            async with self.thing:
                self.note("has it")
                got = await self.thing.wait()
                self.note("notified")
                await self.turns(turns)
            return got

        self.start("condition", body)

    def notify(self, count):
        async def body():
            async with self.thing:
                self.thing.notify(count)

        self.start("notify", body)

    # ---- Event, Barrier ----

    def wait(self):
        self.start("wait", lambda: self.thing.wait())

    def set(self):
        self.thing.set()

    def clear(self):
        self.thing.clear()

    def set_clear(self):
        self.thing.set()
        self.thing.clear()

    def reset(self):
        self.start("reset", lambda: self.thing.reset())

    def abort(self):
        self.start("abort", lambda: self.thing.abort())

    # ---- queues ----

    def put(self, item):
        self.start(f"put {item}", lambda: self.thing.put(item))

    def get(self):
        self.start("get", lambda: self.thing.get())

    def join(self):
        self.start("join", lambda: self.thing.join())

    def put_nowait(self, item):
        self.thing.put_nowait(item)

    def get_nowait(self):
        self.note(self.thing.get_nowait())

    def task_done(self):
        self.thing.task_done()

    def resize(self, maxsize):
        self.thing._maxsize = maxsize
        self.note(self.thing.maxsize, self.thing.full(), self.thing.empty(), self.thing.qsize())

    def shutdown(self, immediate):
        if hasattr(self.thing, "shutdown"):
            self.thing.shutdown(immediate)
