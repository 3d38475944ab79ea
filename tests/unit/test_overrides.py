"""What users replace on the loop: methods, factories, the clock, attributes."""

import asyncio
import inspect
import re
import time

import pytest


async def answer():
    """Return a value after a turn."""
    await asyncio.sleep(0)
    return 42


def recorder(calls, name, original):
    """Return a function that notes its call and passes it on."""

    def method(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    return method


USES = {
    "call_soon": lambda loop: loop.create_future().set_result(None),
    "call_at": lambda loop: loop.call_later(0.001, print),
    "call_later": lambda loop: asyncio.sleep(0.001),
    "time": lambda loop: loop.call_later(0.001, print),
    "create_future": lambda loop: asyncio.sleep(0.001),
    "create_task": lambda loop: asyncio.ensure_future(answer(), loop=loop),
    "call_exception_handler": lambda loop: loop.call_soon(lambda: 1 / 0),
}


def use(loop, name):
    """Make asyncio itself, or another method of the loop, use the method of the name."""

    async def main():
        if name == "call_soon":
            future = loop.create_future()
            asyncio.get_running_loop().call_later(0.001, future.set_result, None)
            await future
        else:
            result = USES[name](loop)
            if inspect.isawaitable(result):
                await result
            await asyncio.sleep(0.003)

    loop.run_until_complete(main())


@pytest.mark.parametrize("name", USES)
def test_a_method_replaced_on_the_instance_is_honoured(loop, name):
    calls = []
    loop.set_exception_handler(lambda loop, context: None)
    setattr(loop, name, recorder(calls, name, getattr(loop, name)))
    use(loop, name)
    assert calls


@pytest.mark.parametrize("name", USES)
def test_a_method_overridden_in_a_subclass_is_honoured(make_loop, loop_class, name):
    calls = []
    original = getattr(loop_class, name)
    loop = make_loop(type("Sub", (loop_class,), {name: recorder(calls, name, original)}))
    loop.set_exception_handler(lambda loop, context: None)
    use(loop, name)
    assert calls


@pytest.mark.parametrize("name", USES)
def test_a_replaced_method_is_called_as_often_as_on_stock(new_stock, loop, name):
    counts = []
    for one in new_stock(), loop:
        calls = []
        one.set_exception_handler(lambda loop, context: None)
        setattr(one, name, recorder(calls, name, getattr(one, name)))
        # How often a loop looks at its clock is its own affair.
        use(one, name)
        counts.append(len(calls) if name != "time" else bool(calls))
    assert counts[0] == counts[1]


def test_a_replaced_method_is_deleted_and_the_original_is_back(loop):
    calls = []
    loop.call_soon = recorder(calls, "call_soon", loop.call_soon)
    loop.run_until_complete(answer())
    del loop.call_soon
    calls.clear()
    loop.run_until_complete(answer())
    assert calls == []


def test_a_method_replaced_on_the_class_later_is_honoured(make_loop, loop_class):
    calls = []
    sub = type("Sub", (loop_class,), {})
    loop = make_loop(sub)
    loop.run_until_complete(answer())
    sub.call_soon = recorder(calls, "call_soon", loop_class.call_soon)
    loop.run_until_complete(answer())
    assert calls


def test_a_clock_replaced_on_the_class_is_used_at_once(make_loop, loop_class, monkeypatch):
    sub = type("Sub", (loop_class,), {})
    loop = make_loop(sub)
    monkeypatch.setattr(sub, "time", lambda self: 1000.0)
    assert loop.call_later(1, print).when() == 1001.0
    monkeypatch.undo()
    assert loop.call_later(1, print).when() != 1001.0


def test_a_loop_moved_to_another_class_uses_its_methods(make_loop, loop_class):
    class Other(loop_class):
        def time(self):
            return 1000.0

    loop = make_loop(type("Sub", (loop_class,), {}))
    loop.__class__ = Other
    assert loop.call_later(1, print).when() == 1001.0


def test_sleeping_uses_a_replaced_clock(loop):
    now = [1000.0]
    loop.time = lambda: now[0]

    def tick():
        now[0] += 60.0
        ticking.append(loop.call_soon(tick))

    async def main():
        before = loop.time()
        await asyncio.sleep(3600)
        return loop.time() - before

    ticking = []
    loop.call_soon(tick)
    start = time.monotonic()
    assert 3600 <= loop.run_until_complete(main()) <= 3720
    assert time.monotonic() - start < 5
    ticking[-1].cancel()


def test_a_clock_of_a_subclass_is_used(make_loop, loop_class):
    class Fast(loop_class):
        def time(self):
            return super().time() * 1000

    loop = make_loop(Fast)
    seen = []

    async def main():
        loop.call_later(20, seen.append, "20 seconds")
        for _ in range(100):
            await asyncio.sleep(0)
            time.sleep(0.001)

    loop.run_until_complete(main())
    assert seen == ["20 seconds"]


def test_timers_of_a_replaced_clock_fire_in_order(loop, turns):
    now = [0.0]
    seen = []
    loop.time = lambda: now[0]
    for delay in (30, 10, 20, 40):
        loop.call_later(delay, seen.append, delay)
    turns(loop, 2)
    assert seen == []
    now[0] = 35.0
    turns(loop, 2)
    assert seen == [10, 20, 30]


def test_a_clock_that_fails_does_not_hang_the_loop(loop):
    def broken():
        raise ZeroDivisionError("no time")

    loop.time = broken
    with pytest.raises(ZeroDivisionError):
        loop.call_later(1, print)


def test_a_subclass_may_call_super_everywhere(make_loop, loop_class):
    class Sub(loop_class):
        def call_soon(self, callback, *args, context=None):
            return super().call_soon(callback, *args, context=context)

        def call_later(self, delay, callback, *args, context=None):
            return super().call_later(delay, callback, *args, context=context)

        def call_at(self, when, callback, *args, context=None):
            return super().call_at(when, callback, *args, context=context)

        def call_soon_threadsafe(self, callback, *args, context=None):
            return super().call_soon_threadsafe(callback, *args, context=context)

        def time(self):
            return super().time()

        def create_future(self):
            return super().create_future()

        def create_task(self, coro, **kwargs):
            return super().create_task(coro, **kwargs)

        def run_forever(self):
            return super().run_forever()

        def _run_once(self):
            return super()._run_once()

        def stop(self):
            return super().stop()

        def close(self):
            return super().close()

    loop = make_loop(Sub)

    async def main():
        await asyncio.sleep(0.001)
        await asyncio.to_thread(time.sleep, 0.001)
        return await asyncio.create_task(answer())

    assert loop.run_until_complete(main()) == 42
    loop.run_until_complete(loop.shutdown_default_executor())


def test_a_turn_overridden_in_a_subclass_is_used(make_loop, loop_class):
    turns = []

    class Sub(loop_class):
        def _run_once(self):
            turns.append(1)
            super()._run_once()

    assert make_loop(Sub).run_until_complete(answer()) == 42
    assert turns


def test_a_mixin_before_the_loop_works(make_loop, loop_class):
    class Mixin:
        def call_soon(self, *args, **kwargs):
            self.count = getattr(self, "count", 0) + 1
            return super().call_soon(*args, **kwargs)

    loop = make_loop(type("Mixed", (Mixin, loop_class), {}))
    loop.run_until_complete(answer())
    assert loop.count > 0


def test_any_attribute_may_be_set_and_deleted(loop):
    loop.my_attribute = "mine"
    assert loop.my_attribute == "mine"
    del loop.my_attribute
    assert not hasattr(loop, "my_attribute")


def test_a_subclass_may_have_slots_and_properties(make_loop, loop_class):
    class Sub(loop_class):
        __slots__ = ("slot",)

        @property
        def double(self):
            return self.slot * 2

    loop = make_loop(Sub)
    loop.slot = 21
    assert loop.double == 42


def signature(loop, style, calls):
    """Set a factory of the style that notes with what it is called; return the notes."""

    def old(loop, coro):
        calls.append(((type(loop).__mro__[-3:], type(coro).__name__), ()))
        return asyncio.Task(coro, loop=loop)

    def new(loop, coro, **kwargs):
        calls.append(((type(loop).__mro__[-3:], type(coro).__name__), tuple(sorted(kwargs))))
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory({"old": old, "new": new}[style])
    return calls


@pytest.mark.parametrize("keywords", [{}, {"name": "n"}, {"context": None}, {"context": "copy"},
                                      {"name": "n", "context": "copy"}], ids=str)  # fmt: skip
@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_task_factory_gets_the_arguments_that_stock_passes(same_outcome, style, keywords):
    import contextvars

    def action(loop):
        calls = []
        signature(loop, style, calls)
        given = dict(keywords)
        if given.get("context") == "copy":
            given["context"] = contextvars.copy_context()
        task = loop.create_task(answer(), **given)
        result = loop.run_until_complete(task)
        named = task.get_name() if "name" in given else None
        return result, named, calls

    same_outcome(action)


@pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="this Python has no eager tasks"
)
@pytest.mark.parametrize("keywords", [{}, {"name": "n"}], ids=str)
def test_eager_tasks_start_at_once(loop, keywords):
    seen = []

    async def body():
        seen.append("started")

    async def main():
        task = asyncio.create_task(body(), **keywords)
        return task.done(), seen == ["started"]

    loop.set_task_factory(asyncio.eager_task_factory)
    assert loop.run_until_complete(main()) == (True, True)


@pytest.mark.parametrize("junk", [1, "text", object()], ids=lambda x: type(x).__name__)
def test_a_junk_task_factory_is_refused_in_stocks_words(same_error, junk):
    assert same_error(lambda loop: loop.set_task_factory(junk)) is TypeError


def test_the_task_factory_can_be_read_and_reset(loop):
    def factory(loop, coro, **kwargs):
        return asyncio.Task(coro, loop=loop, **kwargs)

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_an_error_of_the_task_factory_is_raised(loop):
    def factory(loop, coro, **kwargs):
        raise ZeroDivisionError("mine")

    loop.set_task_factory(factory)
    with pytest.raises(ZeroDivisionError, match="mine"):
        loop.run_until_complete(answer())


@pytest.mark.parametrize("junk", [None, 1, answer, "text"], ids=["None", "int", "func", "str"])
def test_create_task_of_junk_fails_in_stocks_words(same_error, junk):
    assert same_error(lambda loop: loop.create_task(junk)) is TypeError


def test_create_task_names_its_tasks(loop):
    async def main():
        named = loop.create_task(answer(), name="mine")
        unnamed = loop.create_task(answer())
        await named
        await unnamed
        return named.get_name(), unnamed.get_name()

    named, unnamed = loop.run_until_complete(main())
    assert named == "mine" and unnamed.startswith("Task-")


def test_create_future_makes_stocks_future_of_this_loop(loop):
    future = loop.create_future()
    assert isinstance(future, asyncio.Future) and future.get_loop() is loop


@pytest.mark.ours("stock lets itself be driven from outside")
@pytest.mark.parametrize("method", ["append", "appendleft", "popleft", "extend", "clear"])
def test_the_queue_driven_from_outside_fails_loudly(loop, method):
    loop.call_soon(print)
    with pytest.raises(RuntimeError):
        getattr(loop._ready, method)()


def test_queue_and_heap_can_be_looked_at(loop):
    loop.call_soon(print)
    loop.call_soon(print)
    loop.call_later(1, print)
    assert len(loop._ready) == 2 and len(loop._scheduled) == 1
    assert all(isinstance(handle, asyncio.Handle) for handle in loop._ready)
    assert all(isinstance(handle, asyncio.TimerHandle) for handle in loop._scheduled)


@pytest.mark.ours("stock lets itself be driven from outside")
def test_a_program_that_nests_runs_by_driving_the_queue_fails_loudly(child):
    result = child.run(
        """
        def _run_once(self):
            ready = self._ready
            events = self._selector.select(0 if ready else None)
            self._process_events(events)
            for _ in range(len(ready)):
                ready.popleft()._run()

        def run_until_complete(self, future):
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._run_once()
            return task.result()

        async def inner():
            await asyncio.sleep(0)

        async def main():
            loop.run_until_complete(inner())

        loop = new_loop()
        for cls in type(loop).__mro__[:1]:
            cls._run_once = _run_once
            cls.run_until_complete = run_until_complete
        loop.run_until_complete(main())
        """,
        timeout=15,
    )
    assert result.status == 1
    assert re.search("^RuntimeError: the selector of a casyncio loop is native", result.err, re.M)


@pytest.mark.ours("stock lets itself be driven from outside")
def test_the_message_of_a_driven_queue_names_the_cause(loop):
    with pytest.raises(RuntimeError, match="nest_asyncio"):
        loop._ready.popleft()
