"""Random programs of tasks and futures, and what leaves a trace when one of them runs.

A program is a tuple of statements; a statement is a tuple (name, arguments ...) of numbers, texts
and further programs, so that a failing one can be pasted into a test. ``World`` runs it on a loop,
turn by turn, and notes every event: what was caught, which callbacks ran, states and reprs.
"""

import asyncio
import contextlib
import contextvars
import gc
import logging
import re
import sys
import warnings

from hypothesis import strategies as st

TURNS = 40
LOOP_FRAMES = ("run_forever", "_run_once", "_run")  # of the loop that is written in Python
VARIABLE = contextvars.ContextVar("variable", default="none")


class Odd(BaseException):
    """Neither an Exception nor one that the loop knows."""


ERRORS = (
    lambda: ValueError("v"),
    lambda: KeyError(("k", 1)),
    lambda: asyncio.CancelledError(),
    lambda: asyncio.CancelledError("made by hand"),
    lambda: Odd("odd"),
    lambda: KeyboardInterrupt("k"),
    lambda: SystemExit(3),
    lambda: StopIteration("s"),
    lambda: StopAsyncIteration("a"),
    lambda: GeneratorExit("g"),
    lambda: TimeoutError("late"),
    lambda: ExceptionGroup("both", [ValueError(1), KeyError(2)]),
    lambda: ZeroDivisionError,
    lambda: asyncio.InvalidStateError("by hand"),
)
VALUES = (None, 1, "text", (), (1, 2), ValueError("as a value"), StopIteration("as a value"))
MESSAGES = (None, "why", 7)
FUTURES = ("own", "own", "own", "subclass", "asyncio", "python", "duck", "elsewhere")
TASKS = 4
KINDS = ("loop", "loop", "loop", "class", "subclass", "asyncio", "python", "eager", "stubborn")
BAD_YIELDS = (1, "text", (), None)


class Duck:
    """A future-like of asyncio's protocol that is related to none of its classes."""

    _asyncio_future_blocking = False

    def __init__(self, loop):
        self.loop = loop
        self.state = "pending"
        self.waiting = []
        self.value = None

    def __repr__(self):
        return f"<Duck {self.state}>"

    def get_loop(self):
        return self.loop

    def done(self):
        return self.state != "pending"

    def cancelled(self):
        return self.state == "cancelled"

    def result(self):
        if self.state == "cancelled":
            raise asyncio.CancelledError("duck")
        if self.state == "pending":
            raise asyncio.InvalidStateError("duck")
        if self.state == "failed":
            raise self.value
        return self.value

    def exception(self):
        return self.value if self.state == "failed" else None

    def finish(self, state, value=None):
        if self.done():
            raise asyncio.InvalidStateError("duck is done")
        self.state, self.value = state, value
        waiting, self.waiting = self.waiting, []
        for callback, context in waiting:
            self.loop.call_soon(callback, self, context=context)

    def set_result(self, value):
        self.finish("finished", value)

    def set_exception(self, error):
        self.finish("failed", error() if isinstance(error, type) else error)

    def cancel(self, msg=None):
        if self.done():
            return False
        self.finish("cancelled", msg)
        return True

    def add_done_callback(self, callback, *, context=None):
        if self.done():
            self.loop.call_soon(callback, self, context=context)
        else:
            self.waiting.append((callback, context))

    def remove_done_callback(self, callback):
        before = len(self.waiting)
        self.waiting = [pair for pair in self.waiting if pair[0] != callback]
        return before - len(self.waiting)

    def __await__(self):
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    __iter__ = __await__


class InOrder(dict):
    """A set that is walked in the order of birth, not of addresses."""

    def add(self, member):
        self[member] = None

    def discard(self, member):
        self.pop(member, None)


class Bare:
    """Yields an object without a word."""

    def __init__(self, value):
        self.value = value

    def __await__(self):
        return (yield self.value)


def clean(text):
    """Return text without what differs between two runs or two kinds of loops."""
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"\.\.\.[0-9a-f]{4,}", "...0x", text)  # the end of a shortened one
    text = re.sub(r"\bTask-\d+", "Task-N", text)
    text = re.sub(
        r"<(?:_asyncio\.)?Task(Step|Wakeup)MethWrapper object at 0x>", "Task.task_step", text
    )
    text = re.sub(r"\w+\.task_(step|wakeup)\(", r"Task.task_\1(", text)
    text = re.sub(r"\bwhen=[0-9.]+", "when=N", text)
    text = re.sub(r"<(_UnixSelectorEventLoop|Loop)\b", "<Loop", text)
    return re.sub(r"\b_?(asyncio|casyncio)\.(Future|Task)\b", r"\2", text)


def chain(error):
    """Return type, arguments and place of an exception and of those behind it."""
    found = []
    while error is not None and len(found) < 6:
        names = []
        traceback = error.__traceback__
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        names = [name for name in names if name not in LOOP_FRAMES]
        word = "cause" if error.__cause__ is not None else "context"
        hidden = "-" if error.__suppress_context__ else ""
        found.append(f"{error!r} in {'/'.join(names)} {hidden}{word}")
        if isinstance(error, BaseExceptionGroup):
            found.extend(f"({part!r})" for part in error.exceptions)
        error = error.__cause__ or error.__context__
    return clean("; ".join(found))


def age(task):
    """Sort tasks by name, those without one by their birth."""
    name = task.get_name()
    return (1, int(name[5:])) if name.startswith("Task-") else (0, name)


def birth(who):
    """Return the number in the name of a task or of what runs inside it; 0 for the root."""
    return int("0" + who.split(".")[0].removeprefix("root").removeprefix("t"))


def is_entered(context):
    """Return whether the context is one that some callback runs in."""
    try:
        if context is not None:
            context.run(int)
    except RuntimeError:
        return True
    return False


class World:
    """One loop, its futures and tasks, and the trace of the program that plays with them."""

    def __init__(self, loop, elsewhere):
        self.loop = loop
        self.trace = []
        self.reports = []
        self.kept = []
        self.ended = False
        self.spawned = 0
        self.grouped = 0
        self.tasks = [None] * TASKS
        self.births = [0] * TASKS
        self.timeouts = []
        self.callbacks = []
        own = type(loop.create_future())
        coro = asyncio.sleep(0)
        task = loop.create_task(coro)
        self.task_class = type(task)
        task.cancel()
        loop.call_soon(loop.stop)
        loop.run_forever()
        make = {
            "own": loop.create_future,
            "subclass": lambda: type("Sub", (own,), {})(loop=loop),
            "asyncio": lambda: asyncio.Future(loop=loop),
            "python": lambda: asyncio.futures._PyFuture(loop=loop),
            "duck": lambda: Duck(loop),
            "elsewhere": lambda: asyncio.Future(loop=elsewhere),
        }
        self.futures = [make[kind]() for kind in FUTURES]
        self.event = asyncio.Event()
        self.queue = asyncio.Queue(1)
        self.lock = asyncio.Lock()
        self.contexts = [contextvars.copy_context() for _ in range(2)]
        for one in loop, elsewhere:
            one.set_exception_handler(self.report)

    def note(self, who, *words):
        if not self.ended:
            self.trace.append(clean(f"{who}: " + " ".join(map(str, words))))

    def report(self, loop, context):
        error = context.get("exception")
        parts = [context["message"], sorted(context), repr(error)]
        parts += [repr(context[key]) for key in ("future", "task") if key in context]
        text = clean(" | ".join(map(str, parts)))
        # asyncio hides the argument of a step.
        text = re.sub(r"^(Exception in callback Task\.task_step\().*?\) \| \[", r"\1) | [", text)
        if "Task was destroyed" in text or "never retrieved" in text:
            # When and in which order things go is the collector's affair.
            text = re.sub(r" (coro|created|cb|wait_for)=.*", "", text)
            self.reports.append(text)
        else:
            self.note("report", text)
            # A frame of the loop that is written in Python keeps it, too, until it is collected.
            self.kept.append(context.get("handle"))

    # ---- one statement ----

    def thing(self, number):
        """Return a future or task by its number."""
        number %= len(self.futures) + TASKS
        if number < len(self.futures):
            return self.futures[number]
        return self.tasks[number - len(self.futures)]

    def younger(self, who, number):
        """Return a thing that can be waited for; tasks that wait in a ring cancel for ever."""
        number %= len(self.futures) + TASKS
        slot = number - len(self.futures)
        if slot < 0 or self.births[slot] > birth(who):
            return self.thing(number)
        return self.futures[0]

    def there(self, who, numbers):
        """Return the things of these numbers that can be waited for."""
        return [self.younger(who, n) for n in numbers]

    def act(self, who, action):
        """Run a statement that does not wait; note what it raises, except on purpose."""
        name, *args = action
        try:
            said = getattr(self, "act_" + name)(who, *args)
        except Exception as error:
            said = chain(error)
        self.note(who, name, *(a for a in args if not isinstance(a, tuple)), "->", said)

    def act_nothing(self, who):
        return "nothing"

    def act_set_result(self, who, number, value):
        return self.thing(number).set_result(VALUES[value])

    def act_set_exception(self, who, number, error):
        return self.thing(number).set_exception(ERRORS[error]())

    def act_cancel(self, who, number, message):
        thing = self.thing(number)
        said = thing.cancel() if message == 0 else thing.cancel(msg=MESSAGES[message])
        return said, getattr(thing, "cancelling", str)()

    def act_uncancel(self, who, number):
        return self.thing(number).uncancel()

    def act_cancel_me(self, who, message):
        task = asyncio.current_task()
        return task and (task.cancel(MESSAGES[message]), task.cancelling())

    def act_uncancel_me(self, who):
        task = asyncio.current_task()
        return task and task.uncancel()

    def act_look(self, who, number):
        thing = self.thing(number)
        found = [repr(thing), thing.done(), thing.cancelled()]
        for question in (thing.result, thing.exception, getattr(thing, "cancelling", str)):
            try:
                found.append(repr(question()))
            except BaseException as error:
                found.append(repr(error))
        found.append(len(getattr(thing, "_callbacks", None) or ()))
        found.append(repr(getattr(thing, "_must_cancel", None)))
        found.append(repr(getattr(thing, "_fut_waiter", None)))
        return found

    def act_stack(self, who, number):
        names = [frame.f_code.co_name for frame in self.thing(number).get_stack()]
        if "turns" in names:
            names = names[names.index("turns") + 1 :]
        return [name for name in names if name not in LOOP_FRAMES]

    def act_current(self, who):
        task = asyncio.current_task(self.loop)
        return task and task.get_name()

    def act_all(self, who):
        return sorted(task.get_name() for task in asyncio.all_tasks(self.loop))

    def act_set_variable(self, who, value):
        VARIABLE.set(value)

    def act_get_variable(self, who):
        return VARIABLE.get()

    def act_add_callback(self, who, number, actions, context):
        label = f"c{len(self.callbacks)}"

        def callback(done):
            self.note(label, "called", repr(done), VARIABLE.get(), asyncio.current_task())
            for action in actions:
                self.act(label, action)

        self.callbacks.append(callback)
        keywords = {"context": self.contexts[context]} if context < 2 else {}
        return self.thing(number).add_done_callback(callback, **keywords)

    def act_add_wild_callback(self, who, number, error):
        def wild(done):
            raise ERRORS[error]()

        return self.thing(number).add_done_callback(wild)

    def act_remove_callback(self, who, number, which):
        callback = self.callbacks[which % len(self.callbacks)]
        return self.thing(number).remove_done_callback(callback)

    def act_spawn(self, who, number, kind, body, context):
        self.spawned += 1
        name = f"t{self.spawned}"
        coro = self.run(name, body)
        kind = KINDS[kind]
        try:
            task = self.make_task(kind, coro, name, self.contexts[context] if context < 2 else None)
        except BaseException:
            coro.close()
            raise
        self.tasks[number % TASKS] = task
        self.births[number % TASKS] = self.spawned
        return repr(task)

    def make_task(self, kind, coro, name, context):
        keywords = {"name": name, "context": context}
        if kind == "loop":
            return self.loop.create_task(coro, **keywords)
        keywords["loop"] = self.loop
        if kind == "python":
            return asyncio.tasks._PyTask(coro, **keywords)
        if kind == "asyncio":
            return asyncio.Task(coro, **keywords)
        eager = kind == "eager" and hasattr(asyncio, "eager_task_factory")
        if eager and not is_entered(context):
            # In a context that is entered asyncio's eager start leaves a wrong current task.
            return self.task_class(coro, eager_start=True, **keywords)
        if kind == "subclass":
            return type("SubTask", (self.task_class,), {})(coro, **keywords)
        if kind == "stubborn":
            no = {"cancel": lambda task, msg=None: False}
            return type("Stubborn", (self.task_class,), no)(coro, **keywords)
        return self.task_class(coro, **keywords)

    def act_call_soon(self, who, action):
        self.loop.call_soon(self.act, f"soon of {who}", action)

    def act_call_later(self, who, action):
        self.loop.call_later(0, self.act, f"later of {who}", action)

    def act_expire(self, who, number):
        return self.timeouts[number % len(self.timeouts)].reschedule(-1)

    def act_set_event(self, who):
        return self.event.set()

    def act_clear_event(self, who):
        return self.event.clear()

    def act_put(self, who, value):
        return self.queue.put_nowait(value)

    def act_wake_by_hand(self, who, number):
        """Call the wakeup that another task left behind in a future."""
        pairs = self.thing(number)._callbacks or []
        return [callback(self.thing(number)) for callback, _ in pairs if "wakeup" in repr(callback)]

    # ---- statements that wait ----

    async def wait_future(self, who, number):
        return repr(await self.younger(who, number))

    async def wait_twice(self, who, number):
        iterator = self.younger(who, number).__await__()

        class Again:
            def __await__(self):
                return iterator

        return [await Again() for _ in range(2)]

    async def wait_sleep(self, who, delay):
        await asyncio.sleep((0, 1e-9, -1)[delay])

    async def wait_shield(self, who, number):
        return repr(await asyncio.shield(self.younger(who, number)))

    async def wait_gather(self, who, numbers, returns):
        things = self.there(who, numbers)
        return repr(await asyncio.gather(*things, return_exceptions=returns))

    async def wait_any(self, who, numbers, when):
        when = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)[when]
        things = self.there(who, numbers)
        done, pending = await asyncio.wait(things, return_when=when)
        return [t in done for t in things], [t in pending for t in things]

    async def wait_completed(self, who, number):
        found = []
        for awaitable in asyncio.as_completed([self.younger(who, number)]):
            try:
                found.append(repr(await awaitable))
            except (Exception, asyncio.CancelledError) as error:
                found.append(chain(error))
        return found  # of one only: it walks a set

    async def wait_wait_for(self, who, number, timeout):
        return repr(await asyncio.wait_for(self.younger(who, number), (None, 0, 1e-9)[timeout]))

    async def wait_wait_for_body(self, who, body, timeout):
        coro = self.run(f"{who}.inner", body)
        return repr(await asyncio.wait_for(coro, (None, 0, 1e-9)[timeout]))

    async def wait_timeout(self, who, when, body):
        async with asyncio.timeout((None, 0, 1e-9)[when]) as timeout:
            self.timeouts.append(timeout)
            try:
                await self.run(who, body)
            finally:
                self.note(who, "timeout", timeout)
        return timeout.expired()

    async def wait_group(self, who, bodies, body):
        group = asyncio.TaskGroup()
        group._tasks = InOrder()
        async with group:
            for n, inner in enumerate(bodies):
                self.grouped += 1
                name = f"{who}.g{self.grouped}"
                task = group.create_task(self.run(name, inner), name=name)
                self.tasks[n % TASKS] = task
                self.births[n % TASKS] = birth(name)
            await self.run(who, body)

    async def wait_bare(self, who, value):
        return await Bare(BAD_YIELDS[value])

    async def wait_unmarked(self, who, number):
        return await Bare(self.younger(who, number))

    async def wait_me(self, who):
        return await asyncio.current_task()

    async def wait_generator(self, who):
        return await Bare(n for n in ())

    async def wait_event(self, who):
        return await self.event.wait()

    async def wait_get(self, who):
        return await self.queue.get()

    async def wait_lock(self, who, body):
        async with self.lock:
            await self.run(who, body)

    async def wait_wild(self, who, error):
        raise ERRORS[error]()

    async def wait_body(self, who, body):
        return await self.run(who, body)

    async def statement(self, who, name, *args):
        if hasattr(self, "act_" + name):
            self.act(who, (name, *args))
            return
        said = await getattr(self, "wait_" + name)(who, *args)
        self.note(who, name, *(a for a in args if not isinstance(a, tuple)), "->", said)

    async def run(self, who, body):
        """Run the statements of a body; each says what happens to its exceptions."""
        for mode, name, *args in body:
            try:
                await self.statement(who, name, *args)
            except BaseException as error:
                if self.ended:
                    raise
                self.note(who, name, "raised", chain(error))
                if mode == 0 or (mode == 1 and not isinstance(error, Exception)):
                    raise
                if mode == 3:
                    asyncio.current_task().uncancel()
                if mode == 4:
                    raise LookupError("in the handler") from error
                if mode == 5:
                    await asyncio.sleep(0)
                    self.note(who, "slept in the handler")
                if mode == 6:
                    return "in the handler"
            finally:
                if mode == 7:
                    self.note(who, "finally")
        self.note(who, "ends")
        return f"result of {who}"

    # ---- the whole ----

    def turns(self, count):
        for n in range(count):
            before = len(self.trace)
            self.loop.call_soon(self.loop.stop)
            try:
                self.loop.run_forever()
            except BaseException as error:
                self.note("left the loop", repr(error))
            if len(self.trace) > before:
                self.note("turn", n)

    def cancel_all(self):
        for task in sorted(asyncio.all_tasks(self.loop), key=age):
            self.note("end", task.get_name(), task.cancel("end"), task.cancelling())

    def play(self, program):
        """Run the program as the root task; return the trace."""
        root = self.loop.create_task(self.run("root", program), name="root")
        self.turns(TURNS)
        self.note("after", repr(root), sorted(t.get_name() for t in asyncio.all_tasks(self.loop)))
        for n in range(len(FUTURES) + TASKS):
            if self.thing(n) is not None:
                self.act("after", ("look", n))
        for _ in range(2):
            self.cancel_all()
            self.turns(TURNS // 4)
        self.note("end", repr(root), sorted(t.get_name() for t in asyncio.all_tasks(self.loop)))
        self.ended = True
        del root
        for shared in (
            self.futures,
            self.tasks,
            self.timeouts,
            self.callbacks,
            self.contexts,
            self.kept,
        ):
            shared.clear()
        self.event = self.queue = self.lock = None
        gc.collect()
        return self.trace + sorted(self.reports)


def play(make_loop, program):
    """Run a program on a new loop of a kind; return its trace."""
    enabled = gc.isenabled()
    gc.disable()
    logging.getLogger("asyncio").disabled = True
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    gc.freeze()  # so that the collection at the end looks at the program's own objects only
    try:
        with warnings.catch_warnings(), contextlib.closing(make_loop()) as loop:
            warnings.simplefilter("ignore")
            with contextlib.closing(asyncio.SelectorEventLoop()) as elsewhere:
                return contextvars.Context().run(World(loop, elsewhere).play, program)
    finally:
        gc.collect()
        gc.unfreeze()
        sys.unraisablehook = hook
        logging.getLogger("asyncio").disabled = False
        if enabled:
            gc.enable()


# ---- strategies ----

thing = st.integers(0, len(FUTURES) + TASKS - 1)
things = st.lists(thing, max_size=3).map(tuple)
error = st.integers(0, len(ERRORS) - 1)
third = st.integers(0, 2)


def statements(*choices):
    return st.one_of(*(st.tuples(st.just(name), *args) for name, *args in choices))


plain = statements(
    ("set_result", thing, st.integers(0, len(VALUES) - 1)),
    ("set_exception", thing, error),
    ("cancel", thing, third),
    ("cancel", thing, third),
    ("uncancel", thing),
    ("cancel_me", third),
    ("uncancel_me",),
    ("look", thing),
    ("stack", thing),
    ("current",),
    ("all",),
    ("set_variable", third),
    ("get_variable",),
    ("remove_callback", thing, third),
    ("add_wild_callback", thing, error),
    ("expire", third),
    ("set_event",),
    ("clear_event",),
    ("put", third),
    ("wake_by_hand", thing),
)
nested = plain | statements(
    ("add_callback", thing, st.lists(plain, max_size=2).map(tuple), third),
    ("call_soon", plain),
    ("call_later", plain),
)
waiting = statements(
    ("future", thing),
    ("future", thing),
    ("future", thing),
    ("twice", thing),
    ("sleep", third),
    ("sleep", third),
    ("shield", thing),
    ("gather", things, st.booleans()),
    ("any", things, third),
    ("completed", thing),
    ("wait_for", thing, third),
    ("bare", st.integers(0, len(BAD_YIELDS) - 1)),
    ("unmarked", thing),
    ("me",),
    ("generator",),
    ("event",),
    ("get",),
    ("wild", error),
)


@st.composite
def bodies(draw, depth):
    found = []
    for _ in range(draw(st.integers(depth, 5 + depth))):
        mode = draw(st.integers(0, 9))
        kind = draw(st.integers(0, 9))
        if kind < 4 or (kind >= 7 and depth == 0):
            statement = draw(waiting)
        elif kind < 7:
            statement = draw(nested)
        elif kind < 9:
            slot, how = draw(st.integers(0, TASKS - 1)), draw(st.integers(0, len(KINDS) - 1))
            statement = "spawn", slot, how, draw(bodies(depth - 1)), draw(third)
        else:
            statement = draw(compounds(depth - 1))
        found.append((mode, *statement))
    return tuple(found)


@st.composite
def compounds(draw, depth):
    body = bodies(depth)
    match draw(st.integers(0, 4)):
        case 0:
            return "wait_for_body", draw(body), draw(third)
        case 1:
            return "timeout", draw(third), draw(body)
        case 2:
            return "group", tuple(draw(st.lists(body, max_size=3))), draw(body)
        case 3:
            return "lock", draw(body)
        case _:
            return "body", draw(body)


programs = bodies(2)
