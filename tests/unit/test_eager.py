"""Eager tasks: the first step runs where the task is made, as stock's does, on our own step."""

import asyncio
import contextvars
import gc
import re
import sys
import types
import weakref

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(asyncio, "eager_task_factory"), reason="this Python has no eager tasks"
)

# From 3.14 on tasks in their first step are in the interpreter's list with all others.
IN_SET = sys.version_info < (3, 14)

VAR = contextvars.ContextVar("var", default="outside")


async def give(value=7):
    return value


async def rest(value=7):
    await asyncio.sleep(0)
    return value


@types.coroutine
def bare(value=None):
    return (yield value)


def numbered(text):
    return re.sub(r"Task-\d+", "Task-N", text)


@pytest.fixture
def eager(same_outcome, collect):
    """Compare what main(loop, make) returns, and what is reported, on stock's loop and ours."""

    def check(main, **kwargs):
        def action(loop):
            reports = []

            def report(loop, context):
                exc = context.get("exception")
                text = numbered(re.sub(r" at 0x\w+|'casyncio\.|File .*", "", str(exc)))
                reports.append((context["message"], type(exc), text.partition("coro=")[0]))

            loop.set_exception_handler(report)
            loop.set_task_factory(asyncio.eager_task_factory)

            async def run():
                loop.set_task_factory(None)
                try:
                    task = asyncio.ensure_future(whole())
                finally:
                    loop.set_task_factory(asyncio.eager_task_factory)
                return await task

            async def whole():
                return await main(loop)

            done = loop.run_until_complete(run())
            collect()
            return done, reports

        return same_outcome(action, **kwargs)

    return check


def state(task):
    names = numbered(task.get_name())
    return task.done(), names, len(asyncio.tasks._eager_tasks), task in asyncio.all_tasks()


@pytest.mark.ours("which type a task has")
def test_the_factories_make_tasks_of_ours(loop):
    import casyncio

    async def main():
        made = []
        for factory in asyncio.eager_task_factory, casyncio.eager_task_factory:
            loop.set_task_factory(factory)
            made += [loop.create_task(give()), loop.create_task(rest(), name="n")]
        made.append(casyncio.Task(give(), loop=loop, eager_start=True))
        loop.set_task_factory(None)
        if not IN_SET:  # before, and in some 3.13, create_task() takes no such keyword
            made.append(loop.create_task(give(), eager_start=True))
            assert made[-1].done()
        for task in made:
            await task
        return {type(task) for task in made}

    assert loop.run_until_complete(main()) == {casyncio.Task}
    assert casyncio.eager_task_factory is casyncio.eager_task_factory


@pytest.mark.ours("a factory of ours")
def test_a_task_of_a_known_factory_is_driven_without_calling_it(loop):
    import casyncio

    async def main():
        calls = []
        sys.setprofile(lambda frame, event, arg: calls.append(frame.f_code.co_name))
        try:
            task = loop.create_task(rest())
            waits = task._fut_waiter, task.done()
        finally:
            sys.setprofile(None)
        return calls, waits, await task

    for factory in asyncio.eager_task_factory, casyncio.eager_task_factory:
        loop.set_task_factory(factory)
        calls, waits, result = loop.run_until_complete(main())
        assert "rest" in calls and "factory" not in calls
        assert (waits, result) == ((None, False), 7)


@pytest.mark.ours("what stands in the queue")
def test_the_next_step_of_an_eager_task_is_ours(loop):
    async def main():
        loop.create_task(rest())
        return [type(h._callback).__name__ for h in loop._ready]

    loop.set_task_factory(asyncio.eager_task_factory)
    assert "builtin_function_or_method" in loop.run_until_complete(main())


@pytest.mark.parametrize(
    "keywords", [{}, {"name": "n"}, {"name": None}, {"name": 5}, {"context": None}], ids=str
)
def test_names_are_what_this_python_makes_of_them(eager, keywords):
    async def main(loop):
        seen = []

        async def look():
            seen.append(numbered(asyncio.current_task().get_name()))

        task = loop.create_task(look(), **keywords)
        seen.append(state(task))
        own = asyncio.create_task(rest(), **keywords)
        seen.append(state(own))
        seen.append(numbered(repr(task)))
        await own
        return seen

    eager(main)


def test_each_eager_task_takes_one_number(loop):
    async def main():
        numbers = []

        async def look():
            numbers.append(int(asyncio.current_task().get_name()[5:]))

        for _ in range(3):
            loop.create_task(look(), **named)
        return numbers

    named = {"name": "x"} if IN_SET else {}  # one with a name takes none from 3.14 on

    loop.set_task_factory(asyncio.eager_task_factory)
    numbers = loop.run_until_complete(main())
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_name_whose_text_fails_comes_after_the_step(eager):
    class Bad:
        def __str__(self):
            raise ZeroDivisionError("name")

    async def main(loop):
        seen = []

        async def look():
            seen.append("ran")

        with pytest.raises(ZeroDivisionError, match="name"):
            loop.create_task(look(), name=Bad())
        return seen

    eager(main)


def test_the_new_task_is_current_in_its_step_and_the_maker_after_it(eager):
    async def main(loop):
        me = asyncio.current_task()
        seen = []

        async def inner():
            seen.append(asyncio.current_task() is not me)

        async def outer():
            mine = asyncio.current_task()
            await loop.create_task(inner())
            seen.append(asyncio.current_task() is mine)
            await asyncio.sleep(0)
            seen.append(asyncio.current_task() is mine)

        task = loop.create_task(outer())
        seen.append(asyncio.current_task() is me)
        await task
        seen.append(asyncio.current_task() is me)
        return seen

    assert eager(main)[0] == [True] * 5


def test_a_step_that_nobody_asks_about_leaves_no_current_task(eager):
    async def main(loop):
        seen = []
        done = loop.create_future()

        def callback():
            loop.create_task(rest())
            seen.append(asyncio.current_task())
            loop.create_task(look())
            seen.append(asyncio.current_task())
            done.set_result(dict(asyncio.tasks._current_tasks))

        async def look():
            seen.append(asyncio.current_task() is not None)

        loop.call_soon(callback)
        return await done, seen

    assert eager(main)[0] == ({}, [None, True, None])


def test_a_task_in_its_eager_step_is_found_where_asyncio_looks(eager):
    async def main(loop):
        seen = []

        async def look():
            me = asyncio.current_task()
            seen.append((me in asyncio.all_tasks(), me in asyncio.tasks._eager_tasks))
            await asyncio.sleep(0)
            seen.append((me in asyncio.all_tasks(), me in asyncio.tasks._eager_tasks))

        task = loop.create_task(look())
        seen.append((task in asyncio.all_tasks(), task in asyncio.tasks._eager_tasks))
        await task
        done = loop.create_task(give())
        seen.append((task in asyncio.all_tasks(), done in asyncio.all_tasks()))
        seen.append(len(asyncio.tasks._eager_tasks))
        return seen

    assert eager(main)[0] == [
        (True, IN_SET),
        (True, False),
        (True, False),
        (False, False),
        0,
    ]


@pytest.mark.parametrize("kind", ["stock", "python", "subclass"])
def test_tasks_of_other_kinds_start_inside_ours_and_ours_inside_theirs(eager, kind):
    class Sub(asyncio.Task):
        pass

    types_of = {"stock": asyncio.Task, "python": asyncio.tasks._PyTask, "subclass": Sub}

    async def main(loop):
        seen = []
        me = asyncio.current_task()

        async def third():
            seen.append(("third", asyncio.current_task() not in (me, second_task[0])))

        second_task = []

        async def second():
            mine = asyncio.current_task()
            second_task.append(mine)
            await loop.create_task(third())
            seen.append(("second", asyncio.current_task() is mine))
            await asyncio.sleep(0)
            await loop.create_task(third())
            seen.append(("second later", asyncio.current_task() is mine))

        async def first():
            mine = asyncio.current_task()
            other = types_of[kind](second(), loop=loop, eager_start=True)
            seen.append(("first", asyncio.current_task() is mine))
            await other

        await loop.create_task(first())
        seen.append(("me", asyncio.current_task() is me))
        return seen

    alike = all(right for _, right in eager(main)[0])
    # From 3.14 on asyncio's tasks in Python are current in another place than those in C.
    assert alike == (kind != "python" or IN_SET)


def test_an_eager_start_in_a_current_task_set_by_hand(eager):
    async def main(loop):
        me, other, seen = asyncio.current_task(), loop.create_task(rest()), []
        asyncio.tasks._leave_task(loop, me)
        asyncio.tasks._enter_task(loop, other)

        async def look():
            seen.append(asyncio.current_task() not in (me, other))

        loop.create_task(look())
        seen.append(asyncio.current_task() is other)
        asyncio.tasks._leave_task(loop, other)
        asyncio.tasks._enter_task(loop, me)
        await other
        return seen

    assert eager(main)[0] == [True, True]


@pytest.mark.parametrize("given", [None, "own"])
def test_the_step_runs_in_the_tasks_context(eager, given):
    async def main(loop):
        context = contextvars.copy_context() if given else None
        seen = []

        async def change():
            seen.append(VAR.get())
            VAR.set("inside")
            await asyncio.sleep(0)
            seen.append(VAR.get())

        VAR.set("maker")
        task = loop.create_task(change(), context=context)
        seen.append(VAR.get())
        await task
        seen += [VAR.get(), context and context[VAR], task.get_context() is context]
        return seen

    eager(main)


@pytest.mark.ours("stock's current task and set of eager tasks stay wrong for ever")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_context_that_is_entered_already_is_refused_and_nothing_is_left_behind(loop):
    import casyncio

    async def inner():
        me = asyncio.current_task()
        for make in (
            lambda c: loop.create_task(c, context=context),
            lambda c: casyncio.Task(c, loop=loop, context=context, eager_start=True),
        ):
            with pytest.raises(RuntimeError, match="cannot enter context"):
                make(give())
            assert asyncio.current_task() is me
        return len(asyncio.tasks._eager_tasks), asyncio.all_tasks() == {me}

    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))
    loop.set_task_factory(asyncio.eager_task_factory)
    context = contextvars.copy_context()
    main = casyncio.Task(inner(), loop=loop, context=context)
    assert loop.run_until_complete(main) == (0, True)
    gc.collect()
    assert not reports


@pytest.mark.parametrize(
    "error", [ValueError("v"), asyncio.CancelledError("c"), StopAsyncIteration]
)
def test_an_exception_in_the_eager_step_stays_in_the_task(eager, error):
    async def main(loop):
        async def fail():
            raise error

        task = loop.create_task(fail())
        seen = [task.done(), task.cancelled(), numbered(repr(task.get_coro()))[:10]]
        try:
            await task
        except BaseException as exc:
            seen += [type(exc), exc.args]
        return seen

    if sys.version_info < (3, 13):  # there stock's get_coro() crashes
        pytest.skip("get_coro() of a finished eager task crashes on this Python's own tasks")
    eager(main)


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_an_exception_nobody_takes_is_reported_when_the_task_dies(eager, error):
    async def main(loop):
        async def fail():
            raise error("lost")

        loop.create_task(fail())

    eager(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_programs_comes_out_of_the_making(eager, error):
    async def main(loop):
        me, tasks, seen = asyncio.current_task(), [], []

        async def fail():
            tasks.append(weakref.ref(asyncio.current_task()))
            raise error("out")

        for name in None, "named":
            try:
                loop.create_task(fail(), name=name)
            except error as exc:
                seen.append((type(exc), exc.args))
        seen.append(asyncio.current_task() is me)
        seen.append(len(asyncio.tasks._eager_tasks))
        gc.collect()
        seen.append([task() for task in tasks])
        return seen

    eager(main)


def test_return_while_being_cancelled_from_inside(eager):
    async def main(loop):
        async def inside():
            asyncio.current_task().cancel("by myself")
            return 1

        async def waits():
            asyncio.current_task().cancel("then waits")
            await asyncio.sleep(0)
            raise AssertionError("was not cancelled")

        async def waits_for_future():
            asyncio.current_task().cancel("future")
            await loop.create_future()

        seen = []
        for function in inside, waits, waits_for_future:
            task = loop.create_task(function())
            seen.append((task.done(), task.cancelling()))
            try:
                await task
            except asyncio.CancelledError as exc:
                seen.append(exc.args)
            seen.append((task.done(), task.cancelled()))
        return seen

    eager(main)


def test_a_task_cancelled_between_its_eager_step_and_the_next(eager):
    async def main(loop):
        seen = []

        async def body(waits):
            try:
                await waits
            except asyncio.CancelledError as exc:
                seen.append(exc.args)
                raise

        for waits in asyncio.sleep(0), asyncio.sleep(10), loop.create_future(), rest():
            task = loop.create_task(body(waits))
            seen.append(task.cancel("now"))
            seen.append(task._must_cancel)
            try:
                await task
            except asyncio.CancelledError:
                seen.append(task.cancelled())
        return seen

    eager(main)


@pytest.mark.parametrize("what", [1, "text", (), iter([])], ids=lambda x: type(x).__name__)
def test_a_bad_yield_in_the_eager_step_is_told_in_the_next(eager, what):
    async def main(loop):
        async def bad():
            await bare(what)

        task = loop.create_task(bad())
        seen = [task.done()]
        try:
            await task
        except RuntimeError as exc:
            seen.append(re.sub(r"0x\w+", "", numbered(str(exc))))
        return seen

    eager(main)


def test_a_task_that_awaits_itself_in_its_eager_step(eager):
    async def main(loop):
        async def me():
            await asyncio.current_task()

        task = loop.create_task(me())
        with pytest.raises(RuntimeError) as info:
            await task
        return numbered(str(info.value)).partition("coro=")[0]

    eager(main)


def test_a_future_of_another_loop_is_refused(eager, new_stock):
    async def main(loop):
        async def waits():
            await new_stock().create_future()

        task = loop.create_task(waits())
        try:
            await task
        except RuntimeError as exc:
            return "attached to a different loop" in str(exc)

    assert eager(main)[0] is True


@pytest.mark.ours("stock raises SystemError from its own bookkeeping")
def test_a_future_whose_add_done_callback_fails_is_reported_by_the_making(loop):
    class Waits:
        _asyncio_future_blocking = True

        def __await__(self):
            yield self

        def get_loop(self):
            return loop

        def add_done_callback(self, *args, **kwargs):
            raise ZeroDivisionError

    async def waits():
        await Waits()

    async def main():
        me = asyncio.current_task()
        with pytest.raises(ZeroDivisionError):
            loop.create_task(waits())
        return asyncio.current_task() is me, len(asyncio.tasks._eager_tasks)

    messages = []
    loop.set_exception_handler(lambda loop, context: messages.append(context["message"]))
    loop.set_task_factory(asyncio.eager_task_factory)
    assert loop.run_until_complete(main()) == (True, 0)
    gc.collect()
    assert messages == ["Task was destroyed but it is pending!"]


def test_a_loop_that_does_not_run_starts_its_tasks_later(same_outcome):
    def action(loop):
        seen = []

        async def body():
            seen.append("ran")

        loop.set_task_factory(asyncio.eager_task_factory)
        task = loop.create_task(body())
        other = asyncio.Task(body(), loop=loop, eager_start=True)
        before = list(seen)
        loop.run_until_complete(asyncio.wait([task, other]))
        return before, seen

    assert same_outcome(action)[0] == []


def test_a_replaced_is_running_is_asked(loop_class, make_loop):
    class Mine(loop_class):
        answer = False

        def is_running(self):
            asked.append(self.answer)
            return self.answer

    async def main():
        early = loop.create_task(give())
        loop.answer = True
        return early.done(), loop.create_task(give()).done()

    asked = []
    loop = make_loop(Mine)
    loop.set_task_factory(asyncio.eager_task_factory)
    main = asyncio.Task(main(), loop=loop)
    asked.clear()
    main.add_done_callback(lambda main: loop.stop())
    loop.run_forever()
    loop.answer = False
    assert main.result() == (False, True)
    assert False in asked and True in asked


def test_a_loop_with_a_hash_of_its_own(loop_class, make_loop):
    class Mine(loop_class):
        def __hash__(self):
            return 1

        def __eq__(self, other):
            return self is other

    async def look():
        return asyncio.current_task()

    async def main():
        me = asyncio.current_task()
        task = loop.create_task(look())
        return await task is task, asyncio.current_task() is me

    loop = make_loop(Mine)
    loop.set_task_factory(asyncio.eager_task_factory)
    assert loop.run_until_complete(main()) == (True, True)


def test_debug_mode_runs_the_same_program(eager):
    async def main(loop):
        seen = []

        async def look():
            seen.append(asyncio.current_task().done())
            await asyncio.sleep(0)
            return 3

        task = loop.create_task(look(), name="n")
        seen += [state(task), await task, bool(task._source_traceback)]
        return seen

    eager(main, debug=True)


def test_debug_mode_switched_on_inside_the_eager_step(eager):
    async def main(loop):
        async def body():
            loop.set_debug(True)
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            loop.set_debug(False)
            return await rest()

        return await loop.create_task(body())

    assert eager(main)[0] == 7


def test_the_coroutine_of_a_task_done_at_once_is_let_go(loop):
    async def main():
        coro = give()
        gone = []
        weakref.finalize(coro, gone.append, True)
        task = loop.create_task(coro)
        del coro
        return gone, task._coro, task.result()

    loop.set_task_factory(asyncio.eager_task_factory)
    assert loop.run_until_complete(main()) == ([True], None, 7)


@pytest.mark.ours("on some 3.12 stock crashes")
def test_get_coro_of_a_task_done_at_once_is_none(loop):
    async def main():
        return loop.create_task(give()).get_coro(), loop.create_task(rest()).get_coro()

    loop.set_task_factory(asyncio.eager_task_factory)
    done, waits = loop.run_until_complete(main())
    assert done is None and waits.__name__ == "rest"


@pytest.mark.parametrize("junk", [None, 1, give], ids=["None", "int", "func"])
def test_junk_is_refused_in_stocks_words(eager, junk):
    async def main(loop):
        errors = []
        for make in loop.create_task, lambda c: asyncio.Task(c, loop=loop, eager_start=True):
            with pytest.raises(TypeError) as info:
                make(junk)
            errors.append(re.sub(r"0x\w+", "", str(info.value)))
        return errors

    eager(main)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("value", [True, False, None, 0, "yes"], ids=repr)
def test_create_task_takes_eager_start_where_stocks_does(same_outcome, value, debug):
    def action(loop):
        async def main():
            seen = []
            for factory in None, asyncio.eager_task_factory:
                loop.set_task_factory(factory)
                for keywords in {}, {"name": "n"}, {"context": contextvars.copy_context()}:
                    task = loop.create_task(give(), eager_start=value, **keywords)
                    seen += [task.done(), numbered(task.get_name()), await task]
            return seen

        return loop.run_until_complete(main())

    same_outcome(action, debug=debug)


@pytest.mark.ours("types of ours")
@pytest.mark.parametrize("value", [True, False, 1, 0, "", "yes", None], ids=repr)
def test_eager_start_takes_any_truth(loop, value):
    import casyncio

    async def main():
        seen = []
        for cls in asyncio.Task, casyncio.Task:
            task = cls(give(), loop=loop, eager_start=value)
            seen.append(task.done())
            await task
        return seen

    stock, ours = loop.run_until_complete(main())
    assert stock == ours == bool(value)


@pytest.mark.ours("types of ours")
@pytest.mark.skipif(not IN_SET, reason="nobody hashes tasks in this Python")
def test_a_subclass_with_a_hostile_hash_fails_as_stocks_does(loop):
    import casyncio

    def derive(base):
        class Hostile(base):
            def __hash__(self):
                raise ZeroDivisionError("hash")

        return Hostile

    async def main():
        me = asyncio.current_task()
        for cls in derive(asyncio.Task), derive(casyncio.Task):
            coro = give()
            with pytest.raises(ZeroDivisionError, match="hash"):
                cls(coro, loop=loop, eager_start=True)
            coro.close()
            seen.append(asyncio.current_task() is me)
            asyncio.tasks._swap_current_task(loop, me)
            asyncio.tasks._eager_tasks.clear()

    seen = []
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(main())
    assert seen[1]


def test_gather_of_eager_tasks_that_are_all_done(eager):
    async def main(loop):
        whole = asyncio.gather(*(give(n) for n in range(5)))
        return whole.done(), await whole

    assert eager(main)[0] == (True, list(range(5)))


def test_a_task_group_takes_eager_tasks(eager):
    async def main(loop):
        async def fail():
            raise ValueError

        seen = []
        async with asyncio.TaskGroup() as group:
            seen += [group.create_task(give()).done(), group.create_task(rest()).done()]
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(rest())
                group.create_task(fail())
        return seen

    assert eager(main)[0] == [True, False]


def test_eager_steps_nest_as_deep_as_pythons_own(eager):
    async def main(loop):
        async def deeper(n):
            me = asyncio.current_task() if n % 3 == 0 else None
            result = await loop.create_task(deeper(n - 1)) + 1 if n else 0
            assert me is None or asyncio.current_task() is me
            return result

        return await deeper(50)

    assert eager(main)[0] == 50


def test_endless_eager_recursion_is_an_error_and_the_loop_lives_on(child):
    out = child.ok("""
        async def forever(n):
            await asyncio.create_task(forever(n + 1))

        async def main():
            loop.set_task_factory(asyncio.eager_task_factory)
            try:
                await forever(0)
            except RecursionError:
                print("recursion")
            me = asyncio.current_task()
            await asyncio.sleep(0)
            print(asyncio.current_task() is me, len(asyncio.tasks._eager_tasks))

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """)
    assert out.split() == ["recursion", "True", "0"]


@pytest.mark.ours("there is one set of eager tasks")
def test_another_kind_of_eager_set_is_left_to_asyncio(child):
    out = child.finish(
        child.command(
            "-c",
            "import asyncio\n"
            "asyncio.tasks._eager_tasks = type('S', (set,), {})()\n"
            "import casyncio\n"
            "async def one(): return 1\n"
            "async def main():\n"
            "    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)\n"
            "    print(asyncio.create_task(one()).done(), casyncio._stock_tasks_reason)\n"
            "casyncio.run(main())\n",
        )
    )
    assert out.out.split() == ["True", "None"], out


@pytest.mark.ours("how create_task() treats names is found out at import")
@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("task = self._task_factory(self, coro, **kwargs)", ("Task", "n")),
        ("task = self._task_factory(self, coro); task.set_name(kwargs.get('name'))", ("None", "n")),
        (
            "task = self._task_factory(self, coro)\n    n = kwargs.get('name')\n"
            "    if n is not None: task.set_name(n)",
            ("Task", "n"),
        ),
        ("task = self._task_factory(self, coro); task.set_name('odd')", ("odd", "odd")),
    ],
)
def test_names_follow_the_create_task_of_the_running_python(child, body, names):
    code = f"""
import asyncio
def create_task(self, coro, **kwargs):
    self._check_closed()
    if kwargs.get("context") is not None:
        return self._task_factory(self, coro, context=kwargs["context"])
    {body}
    return task
asyncio.BaseEventLoop.create_task = create_task
import casyncio
async def one(): return 1
async def main():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    for keywords in {{}}, {{"name": "n"}}:
        task = loop.create_task(one(), **keywords)
        print(task.get_name().split("-")[0])
loop = casyncio.new_event_loop()
loop.run_until_complete(main())
"""
    result = child.finish(child.command("-c", code))
    assert tuple(result.out.split()) == names, result


@pytest.mark.ours("refused by our own module")
def test_a_factory_is_learnt_in_known_ways_only():
    from casyncio import _native

    with pytest.raises(ValueError, match="unknown way"):
        _native.use_eager_factory(print, 0)
    with pytest.raises(ValueError, match="unknown way"):
        _native.use_eager_factory(print, 4)
