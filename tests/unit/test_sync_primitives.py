"""Locks and queues: what programs may do to them beside using them."""

import asyncio
import contextlib
import copy
import gc
import inspect
import pickle
import re
import types
import warnings
import weakref

import pytest

NAMES = (
    "Lock",
    "Event",
    "Semaphore",
    "BoundedSemaphore",
    "Queue",
    "LifoQueue",
    "PriorityQueue",
)
WAITS = {
    "Lock": "acquire",
    "Event": "wait",
    "Semaphore": "acquire",
    "BoundedSemaphore": "acquire",
    "Queue": "get",
    "LifoQueue": "get",
    "PriorityQueue": "get",
}


@pytest.fixture
def family(backend):
    """The module with the classes under test."""
    if backend == "stock":
        return asyncio
    import casyncio

    return casyncio


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def busy(family, name):
    """Return one whose wait has to wait."""
    made = getattr(family, name)()
    if name == "Lock":
        made._locked = True
    elif "Semaphore" in name:
        made._value = 0
    return made


def wait(thing):
    return getattr(thing, WAITS[type(thing).__name__])()


def text_of(error):
    text = re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}")
    return re.sub(r"asyncio\.(locks|queues)\.|casyncio\.", "", text)


@pytest.fixture
def same_in_both(family):
    """Check that action(classes) returns or raises the same with stock's classes and with ours."""

    def check(action):
        results = []
        for classes in asyncio, family:
            try:
                results.append(("value", action(classes)))
            except Exception as error:
                results.append(("error", text_of(error)))
        assert results[1] == results[0]
        return results[0]

    return check


def test_they_are_stocks_classes_too(family, name):
    made = getattr(family, name)()
    assert isinstance(made, getattr(asyncio, name)) and type(made).__name__ == name
    assert isinstance(getattr(asyncio, name)(), getattr(family, name))


@pytest.mark.ours("it is about which classes are native")
def test_the_classes_of_this_python_are_known(name):
    import casyncio
    from casyncio import _native

    native = getattr(_native, name.removeprefix("Lifo").removeprefix("Priority"))
    assert issubclass(getattr(casyncio, name), native), "asyncio's code has changed: read it"


def test_a_wait_is_a_coroutine_and_makes_a_task(family, loop, name):
    async def main():
        thing = busy(family, name)
        coro = wait(thing)
        assert asyncio.iscoroutine(coro)
        task = asyncio.create_task(coro)
        await asyncio.sleep(0)
        assert not task.done() and f"{WAITS[name]}()" in repr(task)
        (frame,) = task.get_stack()
        assert frame.f_code.co_name == WAITS[name]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "waiters" not in repr(thing) and "getters" not in repr(thing)

    loop.run_until_complete(main())


@pytest.mark.parametrize("debug", [False, True])
def test_stocks_own_tasks_can_wait(family, loop, name, debug):
    async def main():
        thing = busy(family, name)
        task = asyncio.tasks._PyTask(wait(thing), loop=asyncio.get_running_loop())
        other = asyncio.tasks._CTask(wait(thing), loop=asyncio.get_running_loop())
        await asyncio.sleep(0)
        other.cancel()
        if "Queue" in name:
            thing.put_nowait(1)
        else:
            thing.release() if hasattr(thing, "release") else thing.set()
        return await asyncio.gather(task, other, return_exceptions=True)

    loop.set_debug(debug)
    got, cancelled = loop.run_until_complete(main())
    assert got == 1 and isinstance(cancelled, asyncio.CancelledError)


def test_a_call_that_is_not_awaited_is_told_of(family, name):
    thing = busy(family, name)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        wait(thing)
        gc.collect()
    kind = "Queue" if "Queue" in name else name.removeprefix("Bounded")
    (warning,) = seen
    assert warning.category is RuntimeWarning
    assert str(warning.message).startswith(f"coroutine '{kind}.{WAITS[name]}' was never awaited")


def test_a_spent_coroutine_cannot_be_awaited_again(family, loop):
    async def main():
        coro = family.Lock().acquire()
        assert await coro is True
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coro
        coro = family.Event().wait()
        with pytest.raises(TypeError, match="can't send non-None value to a just-started"):
            coro.send(1)
        coro.close()

    loop.run_until_complete(main())


def test_another_loop_is_refused_in_stocks_words(family, new_loop, name):
    thing = busy(family, name)

    async def begin():
        task = asyncio.ensure_future(wait(thing))
        await asyncio.sleep(0)
        task.cancel()

    new_loop().run_until_complete(begin())
    with pytest.raises(RuntimeError, match=r"is bound to a different event loop$") as caught:
        new_loop().run_until_complete(wait(thing))
    assert str(caught.value).startswith("<")


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2), ("x",), (-1,), (2.5,), (None,)])
def test_bad_arguments_are_refused_in_stocks_words(same_in_both, name, arguments):
    same_in_both(lambda classes: bool(getattr(classes, name)(*arguments)))


@pytest.mark.parametrize("words", [{"loop": None}, {"value": 2}, {"maxsize": 2}, {"value": -2}])
def test_keywords_are_understood_as_stock_understands_them(same_in_both, name, words):
    same_in_both(lambda classes: bool(getattr(classes, name)(**words)))


def test_numbers_of_any_kind_are_as_good_as_in_stock(same_in_both):
    def action(classes):
        async def main():
            semaphore = classes.Semaphore(2.5)
            await semaphore.acquire()
            await semaphore.acquire()
            queue = classes.Queue(1.5)
            await queue.put(1)
            await queue.put(2)
            big = classes.Queue(10**30)
            await big.put(1)
            return semaphore._value, repr(semaphore)[-24:], queue.full(), big.maxsize, big.full()

        return asyncio.run(main())

    same_in_both(action)


def test_a_queue_with_hooks_of_its_own_gets_what_it_asks_for(family, loop):
    class Unique(family.Queue):
        def _init(self, maxsize):
            self._queue = {}

        def _put(self, item):
            self._queue[item] = None

        def _get(self):
            item = max(self._queue)
            del self._queue[item]
            return item

    async def main():
        queue = Unique(2)
        await queue.put(1)
        await queue.put(1)
        putting = asyncio.create_task(queue.put(5))
        more = asyncio.create_task(queue.put(7))
        await asyncio.sleep(0)
        assert putting.done() and not more.done() and queue.full()
        got = [await queue.get() for _ in range(3)]
        await more
        assert got == [5, 1, 7]
        assert queue._unfinished_tasks == 4

    loop.run_until_complete(main())


@pytest.mark.parametrize("method", ["full", "empty", "qsize", "put_nowait", "get_nowait"])
def test_an_overridden_method_of_a_queue_is_called_by_the_others(family, loop, method):
    calls = []

    class Told(family.Queue):
        pass

    def told(self, *arguments):
        calls.append(method)
        return getattr(family.Queue, method)(self, *arguments)

    setattr(Told, method, told)

    async def main():
        queue = Told(1)
        await queue.put(1)
        assert await queue.get() == 1

    loop.run_until_complete(main())
    assert method in calls


def test_a_method_hidden_on_the_instance_is_called_by_the_others(family, loop):
    async def main():
        queue = family.Queue()
        calls = []
        queue.put_nowait = calls.append
        await queue.put(1)
        lock = family.Lock()
        lock.release = lambda: calls.append(2)
        async with lock:
            pass
        assert calls == [1, 2] and queue.empty() and lock.locked()

    loop.run_until_complete(main())


def test_a_class_changed_later_is_asked_again(family, loop):
    class Changing(family.Queue):
        pass

    async def main():
        queue = Changing()
        await queue.put(1)
        Changing._put = lambda self, item: self._queue.appendleft(item)
        await queue.put(2)
        del Changing._put
        await queue.put(3)
        assert list(queue._queue) == [2, 1, 3]
        Changing.get_nowait = lambda self: "mine"
        assert await queue.get() == "mine"

    loop.run_until_complete(main())


def test_overridden_locks_call_what_is_overridden(family, loop):
    calls = []

    class Told(family.Lock):
        async def acquire(self):
            calls.append("acquire")
            return await super().acquire()

        def release(self):
            calls.append("release")
            super().release()

    class Gate(family.Semaphore):
        def locked(self):
            calls.append("locked")
            return super().locked()

    async def main():
        async with Told():
            pass
        async with Gate(1) as got:
            assert got is None

    loop.run_until_complete(main())
    assert calls == ["acquire", "release", "locked"]


def test_the_container_of_a_queue_is_live_and_can_be_replaced(family, loop):
    async def main():
        queue = family.Queue()
        for i in range(3):
            await queue.put(i)
        queue._queue.appendleft("first")
        assert await queue.get() == "first" and queue.qsize() == 3
        queue._queue.clear()
        assert queue.empty()
        queue._queue = type(queue._queue)("ab", maxlen=2)
        queue._queue.append("c")
        assert [await queue.get(), await queue.get()] == ["b", "c"]
        heap = family.PriorityQueue()
        heap._queue += [3, 4]
        heap.put_nowait(1)
        assert [await heap.get() for _ in range(3)] == [1, 3, 4]

    loop.run_until_complete(main())


def test_items_that_cannot_be_compared_leave_a_heap_as_stock_leaves_it(same_in_both):
    def action(classes):
        async def main():
            queue = classes.PriorityQueue()
            await queue.put(1)
            try:
                await queue.put("x")
            except TypeError as error:
                return str(error), queue._queue, queue._unfinished_tasks

        return asyncio.run(main())

    same_in_both(action)


def test_a_comparison_that_uses_the_queue_meets_the_state_that_it_meets_in_stock(same_in_both):
    class Meddler:
        def __init__(self, number, queue, seen):
            self.number, self.queue, self.seen = number, queue, seen

        def __lt__(self, other):
            state = [item.number for item in self.queue._queue], self.queue._unfinished_tasks
            self.seen.append((self.number, other.number, *state))
            if self.queue._queue:
                self.queue._queue = list(self.queue._queue)
            return self.number > other.number

    async def main(queue, seen):
        for number in range(5):
            await queue.put(Meddler(number, queue, seen))
        while not queue.empty() and len(seen) < 200:
            seen.append(((await queue.get()).number, queue.qsize()))

    def action(classes):
        seen = []
        asyncio.run(main(classes.PriorityQueue(), seen))
        return seen

    kind, seen = same_in_both(action)
    assert kind == "value" and len(seen) >= 10


def test_a_coroutine_that_is_resumed_from_within_itself_says_so(family, loop):
    class Resumes:
        def __lt__(self, other):
            with pytest.raises(ValueError, match="coroutine already executing"):
                coro.send(None)
            with pytest.raises(ValueError, match="coroutine already executing"):
                coro.close()
            return True

    async def main():
        nonlocal coro
        queue = family.PriorityQueue()
        await queue.put(Resumes())
        coro = queue.put(Resumes())
        await coro

    coro = None
    loop.run_until_complete(main())


def test_copies_and_pickles_are_as_stocks(same_in_both, name):
    def action(classes):
        thing = getattr(classes, name)()
        if "Queue" in name:
            thing.put_nowait(3)
        thing.mark = "mine"
        seen = []
        for twin in (copy.copy(thing), pickle.loads(pickle.dumps(thing))):
            seen.append((type(twin) is type(thing), twin.mark, twin is not thing))
            seen.append([getattr(twin, a, "none") for a in ("_value", "_locked")])
            seen.append(list(getattr(twin, "_queue", ())))
        return seen

    same_in_both(action)


def test_one_that_is_waited_for_cannot_be_pickled_either(same_in_both, name):
    def action(classes):
        async def main():
            thing = busy(classes, name)
            task = asyncio.ensure_future(wait(thing))
            await asyncio.sleep(0)
            try:
                pickle.dumps(thing)
            except TypeError:
                return "refused"
            finally:
                task.cancel()

        return asyncio.run(main())

    assert same_in_both(action) == ("value", "refused")


def test_an_abandoned_one_and_its_waiters_are_collected(family, loop, name, collect):
    async def main():
        thing = busy(family, name)
        thing.mine = thing
        forgotten = wait(thing)
        forgotten.send(None)
        thing.forgotten = forgotten
        return weakref.ref(thing)

    alive = loop.run_until_complete(main())
    collect()
    assert alive() is None


def test_an_item_lives_no_longer_than_its_taker_wants(family, loop):
    class Item:
        pass

    async def main():
        queue = family.Queue()
        await queue.put(Item())
        item = await queue.get()
        alive = weakref.ref(item)
        del item
        assert alive() is None

    loop.run_until_complete(main())


def test_results_of_every_kind_arrive(family, loop):
    async def main():
        queue = family.Queue()
        for item in (None, (), (1, 2), ValueError("x"), StopIteration(3), BaseException):
            await queue.put(item)
            assert await queue.get() is item

    loop.run_until_complete(main())


def test_generic_aliases_and_derived_generics_work(family):
    assert isinstance(family.Queue[int], types.GenericAlias)
    assert family.Queue[int]().empty()
    import abc

    class Abstract(family.Queue, abc.ABC):
        @abc.abstractmethod
        def more(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Abstract()


def test_a_condition_and_a_barrier_work_on_our_locks(family, loop):
    async def main():
        condition = family.Condition()
        assert isinstance(condition._lock, family.Lock)
        shared = family.Lock()
        assert family.Condition(shared)._lock is shared
        barrier = family.Barrier(3)
        assert sorted(await asyncio.gather(*(barrier.wait() for _ in range(3)))) == [0, 1, 2]

    loop.run_until_complete(main())


def test_what_is_waited_in_must_be_a_deque(family):
    event = family.Event()
    event._waiters = type(event._waiters)()
    if family is not asyncio:
        with pytest.raises(TypeError, match="futures wait in a collections.deque"):
            event._waiters = []


def test_futures_made_by_the_loops_own_create_future_are_used(family, loop):
    made = []

    def create_future():
        made.append(asyncio.Future(loop=loop))
        return made[-1]

    async def main():
        event = family.Event()
        task = asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        assert list(event._waiters) == made and len(made) == 1
        event.set()
        assert await task is True

    loop.create_future = create_future
    loop.run_until_complete(main())


def test_a_call_that_is_closed_by_what_its_closing_runs_refuses(family, loop):
    said = []

    class Watching(family.Queue):
        call = None

        def empty(self):
            if self.call is not None and self.call.cr_running:
                with pytest.raises(ValueError, match="coroutine already executing") as caught:
                    self.call.close()
                said.append(caught.type)
            return super().empty()

    async def main():
        queue = Watching()
        queue.call = queue.get()
        queue.call.send(None)
        said.clear()
        assert queue.call.close() is None
        assert said == [ValueError] and not queue._getters
        with pytest.raises(RuntimeError, match="cannot reuse"):
            queue.call.send(None)

    loop.run_until_complete(main())


def caught_from(call):
    """Return the StopIteration that ends it, as next() raises it."""
    with pytest.raises(StopIteration) as caught:
        next(call.__await__())
    return caught.value


@pytest.mark.parametrize("item", [5, (1, 2), [3], ""], ids=repr)
def test_a_result_that_next_raises_is_a_whole_stop_iteration(family, loop, item):
    async def main():
        queue = family.Queue()
        queue.put_nowait(item)
        stop = caught_from(queue.get())
        assert stop.value == item and stop.args == (item,)
        assert repr(stop) == f"StopIteration({item!r})" and str(stop) == str(item)
        stop.note = "mine"
        for again in (copy.copy(stop), pickle.loads(pickle.dumps(stop))):
            assert type(again) is StopIteration
            assert again.value == item and again.args == (item,) and again.note == "mine"
        assert caught_from(family.Lock().acquire()).args == (True,)

    loop.run_until_complete(main())


@pytest.mark.parametrize("name", ["Lock", "Semaphore", "BoundedSemaphore"])
@pytest.mark.parametrize("method", ["__aenter__", "__aexit__"])
def test_entering_and_leaving_are_methods_like_others(family, loop, name, method):
    async def main():
        cls = getattr(family, name)
        made = cls()
        bound, args = getattr(made, method), (None,) * (3 if method == "__aexit__" else 0)
        assert callable(bound) and bound.__self__ is made and bound.__name__ == method
        assert bound == getattr(made, method) and hash(bound) == hash(getattr(made, method))
        assert bound != getattr(cls(), method) and bound != 5
        assert method in repr(bound) and type(made).__name__ in repr(bound)
        assert callable(getattr(cls, method)) and getattr(cls, method).__name__ == method
        assert inspect.isroutine(bound) and inspect.isroutine(vars(cls).get(method, bound))
        assert inspect.isroutine(getattr(cls, method)) and not hasattr(bound, "nonsense")
        await made.acquire()
        if args:
            assert await bound(*args) is None and not made.locked()
        else:
            made.release()
            assert await bound() is None and made.locked()
            made.release()
        await made.acquire()
        if args:
            assert await getattr(cls, method)(made, *args) is None
        for wrong in ((1,), (1, 2, 3, 4)):
            with pytest.raises(TypeError):
                await bound(*wrong)
        with pytest.raises(TypeError):
            await bound(*args, nonsense=1)
        with pytest.raises(AttributeError if family is asyncio else TypeError):
            await getattr(cls, method)(object(), *args)

    loop.run_until_complete(main())


def test_what_stays_in_a_lock_forever_is_collected_with_it(family, loop):
    async def stay(lock):
        async with lock:
            await loop.create_future()

    def make():
        lock = family.Lock()
        lock.kept = stay(lock)  # a cycle through what leaves the lock
        lock.kept.send(None)
        return weakref.ref(lock)

    alive = make()
    gc.collect()
    assert alive() is None


def test_a_true_that_somebody_keeps_or_changes_is_not_what_the_next_one_gets(family, loop):
    async def main():
        first = caught_from(family.Lock().acquire())
        second = caught_from(family.Lock().acquire())
        assert first is not second
        first.note, second.value = "mine", "changed"
        del first, second
        for spoil in (
            lambda stop: setattr(stop, "args", (1, 2)),
            lambda stop: setattr(stop, "args", ()),
            lambda stop: setattr(stop, "value", 7),
            lambda stop: stop.__init__("other"),
            lambda stop: stop.add_note("seen"),
            lambda stop: setattr(stop, "__suppress_context__", True),
        ):
            stop = caught_from(family.Lock().acquire())
            assert stop.args == (True,) and stop.value is True and not vars(stop)
            assert not stop.__suppress_context__ and stop.__context__ is None
            spoil(stop)
            del stop
            assert await family.Lock().acquire() is True

    loop.run_until_complete(main())


def test_args_given_to_a_result_that_next_raises_stay(family, loop):
    async def main():
        for given, kept in (((1, 2), (1, 2)), ((), ()), ([3], (3,))):
            queue = family.Queue()
            queue.put_nowait("item")
            stop = caught_from(queue.get())
            stop.args = given
            assert stop.args == kept and stop.value == "item"
            assert str(stop) == str(StopIteration(*kept))
            with pytest.raises(TypeError):
                del stop.args
        queue.put_nowait("item")
        stop = caught_from(queue.get())
        stop.__init__("another", 1)
        assert stop.args == ("another", 1) and stop.value == "another"

    loop.run_until_complete(main())


def test_args_of_a_result_that_next_raises_do_not_follow_its_value(family, loop):
    def change(stop):
        stop.value = 9
        return stop.value

    def delete(stop):
        del stop.value
        return stop.value

    def restore(stop):
        stop.__setstate__({"value": 3})
        return stop.value

    def give_args(stop):
        BaseException.__init__(stop, 1, 2)
        return stop.args

    async def main():
        for spoil in change, delete, restore, give_args:
            queue = family.Queue()
            queue.put_nowait("item")
            for call in queue.get(), family.Lock().acquire():
                stop = caught_from(call)
                plain = StopIteration(stop.value)
                assert spoil(stop) == spoil(plain)
                assert (stop.args, str(stop), repr(stop)) == (plain.args, str(plain), repr(plain))
                assert copy.copy(stop).args == plain.args
                del stop
            assert caught_from(family.Lock().acquire()).args == (True,)

    loop.run_until_complete(main())


def test_a_result_raised_within_a_handler_has_its_exception_as_context(family, loop):
    def context_of(call, step):
        try:
            raise KeyError("handled")
        except KeyError as error:
            with pytest.raises(StopIteration) as caught:
                step(call)
            return caught.value.__context__ is error

    async def main():
        queue = family.Queue()
        for step in lambda call: next(call.__await__()), lambda call: call.send(None):
            queue.put_nowait("item")
            assert context_of(queue.get(), step)
            assert context_of(family.Lock().acquire(), step)
        assert caught_from(family.Lock().acquire()).__context__ is None

    loop.run_until_complete(main())


def test_a_result_that_was_caught_keeps_no_frame_alive(family, loop):
    class Local:
        pass

    def catch():
        local = Local()
        caught_from_here = weakref.ref(local)
        try:
            next(family.Lock().acquire().__await__())
        except StopIteration:
            return caught_from_here

    async def main():
        assert catch()() is None

    loop.run_until_complete(main())


def test_a_result_that_is_kept_in_a_cycle_is_collected(family, loop):
    class Item:
        pass

    def keep():
        queue, item = family.Queue(), Item()
        queue.put_nowait(item)
        try:
            next(queue.get().__await__())
        except StopIteration as stop:
            kept = stop
        kept.myself = kept
        return weakref.ref(item)

    async def main():
        kept = [keep() for _ in range(5)]
        gc.collect()
        assert [ref() for ref in kept] == [None] * 5

    loop.run_until_complete(main())


def test_what_a_thrown_stop_iteration_carries_passes_for_the_result_of_the_wait(family, loop, name):
    async def main():
        thing = busy(family, name)
        call = wait(thing)
        future = call.send(None)
        if "Queue" in name:
            assert call.throw(StopIteration(5)) is not future
            assert list(thing._getters)[0] is future and len(thing._getters) == 2
            call.close()
            return
        with pytest.raises(StopIteration) as caught:
            call.throw(StopIteration(5))
        assert caught.value.value is True and not thing._waiters

    loop.run_until_complete(main())


def test_who_waits_while_the_waiters_are_taken_away_hears_what_none_has_not(family, name, loop):
    async def main():
        thing = busy(family, name)
        task = asyncio.create_task(wait(thing))
        await asyncio.sleep(0)
        setattr(thing, "_getters" if "Queue" in name else "_waiters", None)
        task.cancel()
        with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'remove'"):
            await task

    loop.run_until_complete(main())


def test_a_waiter_whose_comparison_takes_the_deque_away_harms_nobody(family, loop):
    async def main():
        lock = family.Lock()
        await lock.acquire()

        class Evil:
            __hash__ = None

            def __eq__(self, _other):
                lock._waiters = None
                [bytearray(600) for _ in range(50)]
                return False

            def cancelled(self):
                return True

            done = cancelled

        call = lock.acquire()
        call.send(None)
        lock._waiters.appendleft(Evil())
        call.close()
        assert lock._waiters is None

    loop.run_until_complete(main())


class TakesWaitersAway:
    """Garbage in a cycle; when it is found, the object loses its waiters."""

    def __init__(self, primitive, attribute):
        self.itself = self
        self.primitive = primitive
        self.attribute = attribute

    def __del__(self):
        setattr(self.primitive, self.attribute, None)


@pytest.mark.parametrize("name", ["Lock", "Event", "Semaphore", "Queue"])
def test_a_collection_while_somebody_begins_to_wait_may_take_the_waiters_away(family, name, loop):
    attribute = "_getters" if name == "Queue" else "_waiters"

    async def main():
        made = getattr(family, name)(**({"value": 0} if name == "Semaphore" else {}))
        if name == "Lock":
            await made.acquire()
        first = loop.create_task(getattr(made, WAITS[name])())
        await asyncio.sleep(0)
        kept = [loop.create_future() for _ in range(5000)]  # none is left to be used again
        second = getattr(made, WAITS[name])()
        gc.disable()
        TakesWaitersAway(made, attribute)
        before = gc.get_threshold()
        gc.set_threshold(1, 1, 1)
        gc.enable()
        try:
            second.send(None)
        except (AttributeError, TypeError):  # where it is too early
            pass
        finally:
            gc.set_threshold(*before)
        assert getattr(made, attribute) is None or len(getattr(made, attribute)) <= 1
        kept.clear()
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # none to leave
            second.close()
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError, AttributeError, TypeError, ValueError):
            await first

    loop.run_until_complete(main())
