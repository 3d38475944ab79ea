"""Random programs leave the same trace with asyncio's sleep, gather, timeout ... and with ours.

The programs are those of ``task_programs.py``; here they find casyncio's functions and classes
under the names of asyncio's. CASYNCIO_TRACES=20000 in the environment runs that many.
"""

import asyncio
import re
from asyncio import taskgroups

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_programs import assert_same_trace, limits, load, patient, remembered

programs = load("task_programs")
NAMES = (
    "sleep gather wait wait_for shield timeout timeout_at Timeout TaskGroup as_completed".split()
)

# Frames that are functions of asyncio in Python, and no frames where they are in C.
programs.LOOP_FRAMES += (
    "sleep",
    "__sleep0",
    "wait_for",
    "__aenter__",
    "__aexit__",
    "_aexit",
    "create_task",
)


stock_clean = programs.clean


def clean(text):
    """Leave out which line of a function of asyncio's a coroutine is at."""
    return re.sub(r"(asyncio/\w+\.py):\d+", r"\1:N", stock_clean(text))


class Names:
    """The module asyncio with some names replaced."""

    def __init__(self, **replaced):
        self.__dict__.update(replaced)

    def __getattr__(self, name):
        return getattr(asyncio, name)


class World(programs.World):
    """Adds programs that combine coroutines, and groups whose tasks are kept in a plain set."""

    async def wait_group(self, who, bodies, body):
        async with programs.asyncio.TaskGroup() as group:
            for n, inner in enumerate(bodies):
                self.grouped += 1
                name = f"{who}.g{self.grouped}"
                task = group.create_task(self.run(name, inner), name=name)
                self.tasks[n % programs.TASKS] = task
                self.births[n % programs.TASKS] = programs.birth(name)
            self.note(who, "group", repr(group))
            await self.run(who, body)
        self.note(who, "left", repr(group))

    async def wait_gather_bodies(self, who, bodies, returns, sleeps):
        self.grouped += 1
        coros = [self.run(f"{who}.h{self.grouped}.{n}", body) for n, body in enumerate(bodies)]
        if sleeps:
            coros.append(programs.asyncio.sleep((0, 1e-9, -1)[sleeps], "slept"))
        coros += coros[:1]
        outer = programs.asyncio.gather(*coros, return_exceptions=returns)
        self.note(who, "gathering", repr(outer), [repr(c) for c in getattr(outer, "_children", ())])
        self.kept.append(outer)
        return repr(await outer)

    def act_cancel_outer(self, who, number, message):
        outer = [kept for kept in self.kept if asyncio.isfuture(kept)][number]
        return outer.cancel(programs.MESSAGES[message]), repr(outer)

    async def wait_two_timeouts(self, who, first, second, body):
        whens = None, -1, 1e-9, 3600
        async with programs.asyncio.timeout(whens[first]) as outer:
            try:
                async with programs.asyncio.timeout(whens[second]) as inner:
                    self.timeouts += [outer, inner]
                    await self.run(who, body)
            finally:
                self.note(who, [repr(t).split("when=")[0] for t in (outer, inner)])
        return outer.expired(), inner.expired()

    def act_step_sleep(self, who, delay, error):
        """Drive a sleep by hand."""
        coro = programs.asyncio.sleep(delay - 1, "slept")
        found = [type(coro.send(None)).__name__]
        for call in (
            (lambda: coro.throw(programs.ERRORS[error]())),
            (lambda: coro.send(None)),
            coro.close,
        ):
            try:
                found.append(call())
            except BaseException as caught:
                found.append(repr(caught))
        return found


third = st.integers(0, 2)
cancels = st.tuples(
    st.lists(st.tuples(st.just(0), st.just("sleep"), third), max_size=2),
    st.tuples(st.just(0), st.just("cancel_outer"), st.just(-1), third),
).map(lambda parts: (*parts[0], parts[1]))


def bodies(depth):
    body = programs.bodies(depth)
    return st.lists(st.one_of(body, body, cancels), min_size=0, max_size=3).map(tuple)


mode = st.integers(0, 9)
combined = st.one_of(
    st.tuples(mode, st.just("gather_bodies"), bodies(0), st.booleans(), third),
    st.tuples(mode, st.just("two_timeouts"), mode.map(lambda n: n % 4), third, programs.bodies(1)),
    st.tuples(mode, st.just("group"), bodies(0), programs.bodies(0)),
    st.tuples(mode, st.just("wait_for_body"), programs.bodies(1), third),
    st.tuples(mode, st.just("step_sleep"), third, programs.error),
)
whole = st.tuples(
    st.lists(combined, min_size=1, max_size=3), programs.bodies(1), st.lists(combined, max_size=1)
).map(lambda parts: (*parts[0], *parts[1], *parts[2]))


def abort(self):
    """Do what TaskGroup._abort() does, in an order that does not depend on addresses."""
    self._aborting = True
    for task in sorted(self._tasks, key=lambda task: (programs.age(task)[0], task.get_name())):
        if not task.done():
            task.cancel()


@pytest.fixture(autouse=True)
def orderly_world(monkeypatch):
    monkeypatch.setattr(taskgroups.TaskGroup, "_abort", abort)
    monkeypatch.setattr(programs, "World", World)
    monkeypatch.setattr(programs, "clean", clean)


def play(names, make_loop, program):
    programs.asyncio = names
    try:
        return programs.play(make_loop, program)
    finally:
        programs.asyncio = asyncio


@remembered
def stock_trace(program):
    return play(asyncio, asyncio.SelectorEventLoop, program)


def our_trace(backend, program):
    if backend == "stock":
        return play(asyncio, asyncio.SelectorEventLoop, program)
    import casyncio

    names = Names(**{name: getattr(casyncio, name) for name in NAMES})
    return play(names, lambda: casyncio.new_event_loop(backend), program)


@patient
@limits(400)
@given(program=st.one_of(whole, programs.programs))
def test_a_random_program_leaves_asyncios_trace(backend, program):
    assert_same_trace(our_trace(backend, program), stock_trace(program), program)


def test_the_random_programs_combine_what_they_promise(backend):
    """Programs that all fail at once would leave the same trace, too."""
    program = (
        (2, "gather_bodies", (((0, "sleep", 0),), ((0, "wild", 0),)), True, 1),
        (2, "two_timeouts", 3, 2, ((0, "event"),)),
        (2, "group", (((0, "wild", 0),), ((0, "get"),)), ()),
        (2, "wait_for_body", ((0, "event"),), 2),
        (2, "step_sleep", 1, 0),
    )
    trace = "\n".join(our_trace(backend, program))
    for part in (
        "root: gathering <_GatheringFuture pending>",
        "'result of root.h1.0', ValueError('v'), 'slept', 'result of root.h1.0'",
        "root: two_timeouts raised TimeoutError()",
        "root: group raised ExceptionGroup('unhandled errors in a TaskGroup'",
        "root: wait_for_body raised TimeoutError()",
        "root: ends",
    ):
        assert part in trace, f"{part!r} is not in\n{trace}"
