"""Which task runs, and which there are: asyncio's registry with our tasks in it."""

import asyncio
import gc
import re
import sys
import threading
import weakref

import pytest

_NAME = "_scheduled_tasks" if hasattr(asyncio.tasks, "_scheduled_tasks") else "_all_tasks"


@pytest.fixture(autouse=True)
def empty():
    """Begin without tasks of other tests, and hide other garbage from the collector."""
    gc.collect()
    getattr(asyncio.tasks, _NAME).clear()  # of their hashes some fail
    asyncio.tasks._current_tasks.clear()
    gc.freeze()
    yield
    gc.unfreeze()


def clean(text):
    """Return text without addresses, numbers of tasks, and whose type they are."""
    text = re.sub(r"'(_asyncio|casyncio)\.Task'", "Task", str(text))
    return re.sub(r"\bTask-\d+", "Task-N", re.sub(r"0x[0-9a-f]+", "0x", text))


def caught(action, *args, **kwargs):
    """Return what the call returns, or type and text of what it raises."""
    try:
        return action(*args, **kwargs)
    except Exception as error:
        return type(error).__name__, clean(error)


def run(loop, n=1):
    """Let the loop take n turns."""
    for _ in range(n):
        loop.call_soon(loop.stop)
        loop.run_forever()


def at_hand(loop, function, task):
    """Call function(loop, task) as if the loop ran: from 3.14 on it has to."""
    asyncio._set_running_loop(loop)
    try:
        return function(loop, task)
    finally:
        asyncio._set_running_loop(None)


def forget_current(loop):
    """Leave no current task behind, wherever this Python has it."""
    asyncio.tasks._current_tasks.pop(loop, None)
    if sys.version_info >= (3, 14):  # in the thread's state: the next loop would find it there
        at_hand(loop, asyncio.tasks._swap_current_task, None)


def heard(loop):
    """Return the list that the loop's reports are noted in from now on."""
    found = []
    loop.set_exception_handler(
        lambda loop, context: found.append(
            re.sub(r"<\S*Task(Step|Wakeup)MethWrapper object at 0x>", "Task.task_step", word)
            for word in (clean(context["message"]), clean(repr(context.get("exception"))))
        )
    )
    return found


def names(tasks):
    """Return the sorted names of tasks."""
    return sorted(task.get_name() for task in tasks)


async def forever():
    await asyncio.get_running_loop().create_future()


# ---- the current task ----


def test_the_current_task_is_seen_wherever_asyncio_shows_it(same_outcome):
    def act(loop):
        notes = []

        def note(where):
            task = asyncio.current_task(loop)
            notes.append((where, task and task.get_name(), loop in asyncio.tasks._current_tasks))

        async def child():
            note("child")

        async def main():
            note("start")
            await asyncio.sleep(0)
            note("after sleep")
            loop.call_soon(note, "callback")
            await loop.create_task(child(), name="child")
            note("after child")
            notes.append(asyncio.current_task() is asyncio.current_task(loop))
            raise ValueError

        task = loop.create_task(main(), name="main")
        task.add_done_callback(lambda task: note("done"))
        note("before")
        run(loop, 6)
        note("after")
        task.exception()
        return notes, len(asyncio.tasks._current_tasks)

    same_outcome(act)


def test_the_current_task_can_be_asked_for_from_another_thread(same_outcome, in_thread):
    def act(loop):
        async def main():
            found = in_thread(asyncio.current_task, loop)
            return found is asyncio.current_task(), in_thread(caught, asyncio.current_task)

        found = loop.run_until_complete(main())
        return found, in_thread(asyncio.current_task, loop), len(asyncio.tasks._current_tasks)

    same_outcome(act)


def test_loops_in_threads_have_current_tasks_of_their_own(backend, new_loop):
    def thread(n):
        async def main():
            for _ in range(50):
                task = asyncio.current_task()
                if task is None or task.get_name() != f"main {n}":
                    wrong.append((n, task))
                await asyncio.sleep(0)
                asyncio.all_tasks()

        loop = loops[n]
        loop.run_until_complete(loop.create_task(main(), name=f"main {n}"))

    wrong, loops = [], [new_loop() for _ in range(4)]
    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
        assert not one.is_alive()
    assert wrong == [] and not asyncio.tasks._current_tasks


HANDS = {
    "enter": lambda loop, me, other: asyncio.tasks._enter_task(loop, other),
    "enter me": lambda loop, me, other: asyncio.tasks._enter_task(loop, me),
    "leave": lambda loop, me, other: asyncio.tasks._leave_task(loop, me),
    "leave other": lambda loop, me, other: asyncio.tasks._leave_task(loop, other),
    "leave and enter": lambda loop, me, other: (
        asyncio.tasks._leave_task(loop, me),
        asyncio.current_task(),
        asyncio.tasks._enter_task(loop, me),
        asyncio.current_task() is me,
    ),
    "leave and enter other": lambda loop, me, other: (
        asyncio.tasks._leave_task(loop, me),
        asyncio.tasks._enter_task(loop, other),
        asyncio.current_task() is other,
        asyncio.tasks._leave_task(loop, other),
        asyncio.tasks._enter_task(loop, me),
    ),
    "stay in other": lambda loop, me, other: (
        asyncio.tasks._leave_task(loop, me),
        asyncio.tasks._enter_task(loop, other),
        asyncio.current_task() is other,
    ),
    "swap": lambda loop, me, other: (
        asyncio.tasks._swap_current_task(loop, other) is me,
        asyncio.current_task() is other,
        asyncio.tasks._swap_current_task(loop, me) is other,
        asyncio.current_task() is me,
    ),
    "swap to none": lambda loop, me, other: (
        asyncio.tasks._swap_current_task(loop, None) is me,
        asyncio.current_task(),
        asyncio.tasks._swap_current_task(loop, me),
    ),
    "stay swapped": lambda loop, me, other: asyncio.tasks._swap_current_task(loop, other) is me,
    "stay in none": lambda loop, me, other: asyncio.tasks._swap_current_task(loop, None) is me,
    "pop": lambda loop, me, other: asyncio.tasks._current_tasks.pop(loop, None) is me,
    "put": lambda loop, me, other: asyncio.tasks._current_tasks.__setitem__(loop, other),
}
# Those that find the dict of current tasks empty before anything of it is asked.
OUT_OF_AN_EMPTY_DICT = {
    (3, 11): ["pop"],
    (3, 12): ["pop"],  # there swapping is a function in Python, which asks first
    (3, 13): ["pop", "swap to none", "stay in none"],
}.get(sys.version_info[:2], [])


@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("hand", HANDS)
def test_the_current_task_moved_by_hand_in_a_step_is_handled_as_by_asyncio(
    request, backend, same_outcome, hand, fails, asks
):
    if backend != "stock" and not asks and hand in OUT_OF_AN_EMPTY_DICT:
        reason = "nothing is looked up in an empty dict, so the task is not put there in time"
        request.applymarker(pytest.mark.xfail(reason=reason))
    if "swap" in hand and not hasattr(asyncio.tasks, "_swap_current_task"):
        pytest.skip("this Python has no _swap_current_task()")
    if hand == "stay in none" and not hasattr(asyncio.tasks, "_swap_current_task"):
        pytest.skip("this Python has no _swap_current_task()")

    def act(loop):
        reports, notes = heard(loop), []

        async def main():
            me = asyncio.current_task() if asks else tasks[0]
            notes.append(clean(caught(HANDS[hand], loop, me, other)))
            task = asyncio.current_task()
            notes.append(task and task.get_name())
            if fails:
                raise ValueError("after")
            await asyncio.sleep(0)
            notes.append("goes on")

        other = loop.create_task(forever(), name="other")
        run(loop, 1)
        tasks = [loop.create_task(main(), name="main")]
        run(loop, 3)
        notes.append([clean(repr(task)) for task in tasks])
        notes.append(names(asyncio.tasks._current_tasks.values()))
        forget_current(loop)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        run(loop, 3)
        for task in tasks:
            if not task.cancelled() and task.done():
                task.exception()
        return notes, [tuple(report) for report in reports]

    same_outcome(act)


def test_a_task_entered_by_hand_outside_keeps_all_steps_from_running(same_outcome):
    def act(loop):
        reports = heard(loop)

        async def main():
            return 1

        by_hand = loop.create_task(forever(), name="by hand")
        tasks = [loop.create_task(main(), name=name) for name in "ab"]
        at_hand(loop, asyncio.tasks._enter_task, by_hand)
        run(loop, 2)
        found = [asyncio.current_task(loop) is by_hand]
        at_hand(loop, asyncio.tasks._leave_task, by_hand)
        found += [clean(repr(task)) for task in tasks]
        later = loop.create_task(main(), name="c")
        run(loop, 2)
        found.append(later.result())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        run(loop, 2)
        return found, [tuple(report) for report in reports], len(asyncio.tasks._current_tasks)

    same_outcome(act)


@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="a thread has one current task there: asyncio's own inner loop waits for ever",
)
def test_a_loop_run_inside_a_step_by_code_that_leaves_the_task_works(same_outcome, new_stock):
    """As libraries do that run a loop of their own while a task is on the stack."""

    def act(loop):
        async def inner():
            await asyncio.sleep(0)
            return asyncio.current_task().get_name()

        async def main():
            me = asyncio.current_task()
            other = new_stock()
            asyncio._set_running_loop(None)
            try:
                said = other.run_until_complete(other.create_task(inner(), name="inner"))
            finally:
                asyncio._set_running_loop(loop)
            return said, asyncio.current_task() is me

        return loop.run_until_complete(main()), len(asyncio.tasks._current_tasks)

    same_outcome(act)


async def name_of_current():
    return asyncio.current_task().get_name()


def test_a_loop_with_a_hash_of_its_own_has_a_current_task(loop_class, make_loop):
    class Hashed(loop_class):
        def __hash__(self):
            return 42

        def __eq__(self, other):
            return self is other

    async def main():
        seen = [await name_of_current()]
        await asyncio.sleep(0)
        seen.append(await name_of_current())
        seen.append(await loop.create_task(name_of_current(), name="child"))
        return seen

    loop = make_loop(Hashed)
    task = loop.create_task(main(), name="main")
    assert loop.run_until_complete(task) == ["main", "main", "child"]
    assert not asyncio.tasks._current_tasks


def test_a_hash_that_a_loop_gets_between_steps_finds_the_current_task(loop_class, make_loop):
    class Hashed(loop_class):
        pass

    async def main():
        seen = []
        for change in (
            lambda: setattr(Hashed, "__hash__", lambda self: 42),
            lambda: delattr(Hashed, "__hash__"),
        ):
            loop.call_soon(change)
            await asyncio.sleep(0)
            seen.append(await name_of_current())
            await asyncio.sleep(0)
            seen.append(await name_of_current())
        return seen

    loop = make_loop(Hashed)
    task = loop.create_task(main(), name="main")
    assert loop.run_until_complete(task) == ["main"] * 4
    assert not asyncio.tasks._current_tasks


def test_a_loop_whose_hash_fails_now_and_then_does_not_crash(loop_class, make_loop):
    class Hashed(loop_class):
        pass

    calls = []

    def fails(self):
        calls.append(1)
        if len(calls) % 7 == 0:
            raise ValueError("no hash")
        return 42

    loop = make_loop(Hashed)
    heard(loop)
    Hashed.__hash__ = fails
    tasks = [loop.create_task(asyncio.sleep(0), name=str(n)) for n in range(20)]
    run(loop, 3)
    del Hashed.__hash__
    asyncio.tasks._current_tasks.clear()
    for task in tasks:
        task.cancel()
    run(loop, 3)
    asyncio.tasks._current_tasks.clear()
    if sys.version_info >= (3, 14):
        assert calls == []  # the current task is known without a dict of loops
    else:
        assert len(calls) > 7


# ---- all tasks ----


def test_all_tasks_are_those_of_the_loop_that_are_not_done(same_outcome, new_stock):
    def act(loop):
        found, other = [], new_stock()

        async def main():
            tasks = [loop.create_task(forever(), name=str(n)) for n in range(3)]
            found.append(names(asyncio.all_tasks()))
            await asyncio.sleep(0)
            tasks[1].cancel()
            found.append(names(asyncio.all_tasks()))
            await asyncio.sleep(0)
            found.append(names(asyncio.all_tasks()))
            del tasks[0]
            gc.collect()
            found.append(names(asyncio.all_tasks(loop)))
            found.append(names(asyncio.all_tasks(other)))
            tasks[1].cancel()

        loop.set_exception_handler(lambda loop, context: found.append(context["message"]))
        elsewhere = other.create_task(forever(), name="elsewhere")
        task = loop.create_task(main(), name="main")
        loop.run_until_complete(task)
        found.append(names(asyncio.all_tasks(other)))
        found.append(caught(asyncio.all_tasks))
        elsewhere.cancel()
        run(other, 2)
        return found

    same_outcome(act)


def test_all_tasks_are_seen_from_another_thread_and_after_the_loop_is_closed(
    same_outcome, in_thread
):
    def act(loop):
        tasks = [loop.create_task(forever(), name=str(n)) for n in range(5)]
        found = [in_thread(lambda: names(asyncio.all_tasks(loop)))]
        run(loop, 1)
        found.append(in_thread(lambda: names(asyncio.all_tasks(loop))))
        loop.close()
        found.append(names(asyncio.all_tasks(loop)))
        found.append(in_thread(lambda: names(asyncio.all_tasks(loop))))
        for task in tasks:
            task._log_destroy_pending = False
            task.get_coro().close()
        return found

    same_outcome(act)


def test_all_tasks_from_another_thread_while_tasks_come_and_go_is_sound(loop):
    stop, found, errors = threading.Event(), [], []

    def look():
        while not stop.is_set():
            try:
                found.append(len(asyncio.all_tasks(loop)))
            except BaseException as error:
                errors.append(error)

    async def main():
        thread = threading.Thread(target=look)
        thread.start()
        try:
            for _ in range(100):
                await asyncio.gather(*(asyncio.sleep(0) for _ in range(20)))
            while not found:
                await asyncio.sleep(0)
        finally:
            stop.set()
            thread.join(30)

    loop.run_until_complete(main())
    assert errors == [] and max(found) > 0


def test_a_task_without_a_hash_is_refused_and_breaks_nobodys_all_tasks(same_outcome):
    def act(loop):
        async def nothing():
            pass

        task = loop.create_task(forever(), name="good")
        run(loop)

        class NoHash(type(task)):
            def __hash__(self):
                raise ValueError("no hash")

        said = caught(NoHash, nothing(), loop=loop)
        found = names(asyncio.all_tasks(loop))
        task.cancel()
        run(loop, 3)
        return said, found, names(asyncio.all_tasks(loop))

    same_outcome(act)


WEAK_SET = {
    "len": lambda s, tasks: len(s),
    "bool": lambda s, tasks: bool(s),
    "in": lambda s, tasks: [task in s for task in tasks],
    "iterate": lambda s, tasks: names(s),
    "loop over": lambda s, tasks: sorted([task.get_name() for task in s]),
    "list": lambda s, tasks: names(list(s)),
    "set": lambda s, tasks: names(set(s)),
    "copy": lambda s, tasks: names(s.copy()),
    "weak set of it": lambda s, tasks: names(weakref.WeakSet(s)),
    "union": lambda s, tasks: names(s | set()),
    "difference": lambda s, tasks: names(s - {tasks[0]}),
    "intersection": lambda s, tasks: names(s & set(tasks[:2])),
    "subset": lambda s, tasks: (set(tasks) <= set(s), s >= set(tasks), s.issuperset(tasks)),
    "disjoint": lambda s, tasks: s.isdisjoint(set(tasks)),
    "equal": lambda s, tasks: s == set(tasks),
    "discard": lambda s, tasks: (s.discard(tasks[0]), tasks[0] in s, names(s)),
    "remove": lambda s, tasks: (s.remove(tasks[1]), tasks[1] in s, len(s)),
    "remove twice": lambda s, tasks: (s.remove(tasks[1]), caught(s.remove, tasks[1])[0]),
    "add": lambda s, tasks: (s.add(tasks[0]), len(s), names(s)),
    "discard and add": lambda s, tasks: (s.discard(tasks[0]), s.add(tasks[0]), len(s), names(s)),
    "pop": lambda s, tasks: (lambda task: (task in tasks, len(s), s.add(task)))(s.pop()),
    "clear": lambda s, tasks: (s.clear(), len(s), names(s), [task in s for task in tasks]),
    "repr": lambda s, tasks: type(s).__name__,
    "unregister": lambda s, tasks: (
        asyncio.tasks._unregister_task(tasks[0]),
        tasks[0] in s,
        names(asyncio.all_tasks(tasks[0].get_loop())),
    ),
    "register": lambda s, tasks: (
        asyncio.tasks._register_task(tasks[0]),
        len(s),
        names(asyncio.all_tasks(tasks[0].get_loop())),
    ),
}


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("operation", WEAK_SET)
def test_the_weak_set_of_tasks_does_for_libraries_what_it_does_with_asyncio(
    same_outcome, operation, looked
):
    def act(loop):
        weak_set = getattr(asyncio.tasks, _NAME)
        left_over = list(weak_set)
        tasks = [loop.create_task(forever(), name=str(n)) for n in range(3)]
        run(loop)
        if looked:
            asyncio.all_tasks(loop)
        found = caught(WEAK_SET[operation], weak_set, tasks)
        again = names(asyncio.all_tasks(loop))
        later = loop.create_task(forever(), name="later")
        again = again, names(asyncio.all_tasks(loop)), later in weak_set
        for task in [*tasks, later]:
            task.cancel()
        run(loop, 3)
        del tasks, later, task
        gc.collect()
        return found, again, len(left_over), len(weak_set)

    same_outcome(act)


def test_dead_tasks_are_not_in_the_weak_set(same_outcome):
    def act(loop):
        weak_set = getattr(asyncio.tasks, _NAME)
        found = []
        for look in (False, True):
            tasks = [loop.create_task(asyncio.sleep(0)) for _ in range(10)]
            if look:
                found.append((len(weak_set), len(list(weak_set))))
            run(loop, 3)
            del tasks[5:]
            gc.collect()
            found.append((len(weak_set), len(list(weak_set))))
            del tasks
            gc.collect()
            found.append((len(weak_set), len(list(weak_set))))
        return found

    same_outcome(act)


def test_a_task_dying_while_the_weak_set_is_walked_is_safe(same_outcome):
    def act(loop):
        weak_set = getattr(asyncio.tasks, _NAME)
        tasks = [loop.create_task(asyncio.sleep(0), name=str(n)) for n in range(10)]
        run(loop, 3)
        count = 0
        for _ in weak_set:
            count += 1
            tasks.clear()
            gc.collect()
        gc.collect()
        return count <= 10, len(weak_set), len(list(weak_set))

    same_outcome(act)
