"""call_soon, call_soon_threadsafe and what is common to all four call_* methods."""

import asyncio
import contextvars
import functools
import weakref

import pytest

VAR = contextvars.ContextVar("var", default="unset")


async def coroutine_function():
    """Do nothing; call_* must refuse it in debug mode."""


def nothing(*args):
    """Accept anything."""


SCHEDULERS = {
    "call_soon": lambda loop, *args, **kw: loop.call_soon(*args, **kw),
    "call_soon_threadsafe": lambda loop, *args, **kw: loop.call_soon_threadsafe(*args, **kw),
    "call_later": lambda loop, *args, **kw: loop.call_later(0, *args, **kw),
    "call_at": lambda loop, *args, **kw: loop.call_at(0, *args, **kw),
}


@pytest.fixture(params=SCHEDULERS)
def schedule(request):
    """Schedule a callback for the next turn, by each method there is."""
    return SCHEDULERS[request.param]


def run_two_turns(loop):
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()


def test_callbacks_run_in_the_order_of_the_calls(loop):
    seen = []
    for number in range(1000):
        (loop.call_soon_threadsafe if number % 3 else loop.call_soon)(seen.append, number)
    run_two_turns(loop)
    assert seen == list(range(1000))


def test_a_callback_gets_its_positional_arguments(loop, schedule):
    seen = []
    schedule(loop, lambda *args: seen.append(args), 1, None, "three")
    run_two_turns(loop)
    assert seen == [(1, None, "three")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 100])
def test_any_number_of_arguments_is_passed_on(loop, schedule, count):
    seen = []
    schedule(loop, lambda *args: seen.append(args), *range(count))
    run_two_turns(loop)
    assert seen == [tuple(range(count))]


def test_the_callback_may_be_given_by_keyword(loop):
    seen = []
    loop.call_soon(callback=lambda: seen.append("soon"))
    loop.call_soon_threadsafe(callback=lambda: seen.append("threadsafe"))
    loop.call_later(delay=0, callback=lambda: seen.append("later"))
    loop.call_at(when=loop.time(), callback=lambda: seen.append("at"))
    loop.call_later(0.01, callback=loop.stop)
    loop.run_forever()
    assert seen == ["soon", "threadsafe", "later", "at"]


def test_a_callback_runs_in_the_context_of_the_call(loop, schedule):
    seen = []
    token = VAR.set("then")
    schedule(loop, lambda: seen.append(VAR.get()))
    VAR.reset(token)
    run_two_turns(loop)
    assert seen == ["then"]


def test_the_context_given_is_used_itself_not_a_copy(loop, schedule):
    context = contextvars.copy_context()
    schedule(loop, VAR.set, "set inside", context=context)
    run_two_turns(loop)
    assert context[VAR] == "set inside"


def test_context_none_means_a_copy_of_the_current_one(loop, schedule):
    seen = []
    token = VAR.set("mine")
    schedule(loop, lambda: seen.append(VAR.get()), context=None)
    VAR.reset(token)
    run_two_turns(loop)
    assert seen == ["mine"]


def test_what_one_callback_sets_another_does_not_see(loop, schedule):
    seen = []
    schedule(loop, VAR.set, "leaked")
    schedule(loop, lambda: seen.append(VAR.get()))
    run_two_turns(loop)
    assert seen == ["unset"] and VAR.get() == "unset"


def test_two_callbacks_may_share_a_context(loop):
    seen = []
    context = contextvars.copy_context()
    loop.call_soon(VAR.set, "shared", context=context)
    loop.call_soon(lambda: seen.append(VAR.get()), context=context)
    run_two_turns(loop)
    assert seen == ["shared"]


def test_a_context_that_is_already_entered_is_reported_as_by_stock(same_outcome, turns, caplog):
    def action(loop):
        errors = []
        caplog.clear()
        loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
        context = contextvars.copy_context()
        loop.call_soon(nothing, context=context)
        context.run(turns, loop)
        reports = [record.getMessage().split("\n")[0] for record in caplog.records]
        return [type(error) for error in errors], reports

    errors, reports = same_outcome(action)
    assert len(errors) + len(reports) == 1


@pytest.mark.parametrize("junk", [1, "text", object, {}], ids=repr)
def test_a_junk_context_is_told_as_by_stock_and_the_loop_goes_on(same_outcome, schedule, junk):
    def action(loop):
        seen = []
        loop.set_exception_handler(lambda loop, told: seen.append(repr(told["exception"])))
        schedule(loop, nothing, context=junk)
        run_two_turns(loop)
        loop.call_soon(seen.append, "on")
        run_two_turns(loop)
        return seen

    error, on = same_outcome(action)
    assert error.startswith("AttributeError(") and on == "on"


ARITY = {
    "call_soon()": lambda loop: loop.call_soon(),
    "call_soon(context=)": lambda loop: loop.call_soon(context=None),
    "call_soon(bad=)": lambda loop: loop.call_soon(nothing, bad=1),
    "call_soon(twice)": lambda loop: loop.call_soon(nothing, callback=nothing),
    "call_soon_threadsafe()": lambda loop: loop.call_soon_threadsafe(),
    "call_soon_threadsafe(bad=)": lambda loop: loop.call_soon_threadsafe(nothing, bad=1),
    "call_soon_threadsafe(twice)": lambda loop: loop.call_soon_threadsafe(nothing, callback=1),
    "call_later()": lambda loop: loop.call_later(),
    "call_later(1)": lambda loop: loop.call_later(1),
    "call_later(callback=)": lambda loop: loop.call_later(callback=nothing),
    "call_later(delay=)": lambda loop: loop.call_later(delay=1),
    "call_later(bad=)": lambda loop: loop.call_later(1, nothing, bad=1),
    "call_later(delay twice)": lambda loop: loop.call_later(1, nothing, delay=1),
    "call_at()": lambda loop: loop.call_at(),
    "call_at(1)": lambda loop: loop.call_at(1),
    "call_at(callback=)": lambda loop: loop.call_at(callback=nothing),
    "call_at(when=)": lambda loop: loop.call_at(when=1),
    "call_at(bad=)": lambda loop: loop.call_at(1, nothing, bad=1),
    "call_at(when twice)": lambda loop: loop.call_at(1, nothing, when=1),
}


@pytest.mark.parametrize("call", ARITY)
def test_a_call_with_wrong_arguments_fails_in_stocks_words(same_error, call):
    assert same_error(ARITY[call]) is TypeError


OTHER_ARITY = {
    "time(1)": lambda loop: loop.time(1),
    "stop(1)": lambda loop: loop.stop(1),
    "close(1)": lambda loop: loop.close(1),
    "is_running(1)": lambda loop: loop.is_running(1),
    "is_closed(1)": lambda loop: loop.is_closed(1),
    "get_debug(1)": lambda loop: loop.get_debug(1),
    "set_debug()": lambda loop: loop.set_debug(),
    "run_forever(1)": lambda loop: loop.run_forever(1),
    "create_future(1)": lambda loop: loop.create_future(1),
    "create_task()": lambda loop: loop.create_task(),
    "create_task(None, None)": lambda loop: loop.create_task(None, None),
    "add_reader()": lambda loop: loop.add_reader(),
    "add_reader(0)": lambda loop: loop.add_reader(0),
    "add_writer(0)": lambda loop: loop.add_writer(0),
    "remove_reader()": lambda loop: loop.remove_reader(),
    "remove_writer(0, 0)": lambda loop: loop.remove_writer(0, 0),
    "set_task_factory()": lambda loop: loop.set_task_factory(),
    "get_task_factory(1)": lambda loop: loop.get_task_factory(1),
}


@pytest.mark.parametrize("call", OTHER_ARITY)
def test_any_other_method_called_wrongly_raises_type_error(loop, call):
    with pytest.raises(TypeError):
        OTHER_ARITY[call](loop)


@pytest.mark.parametrize("junk", [None, 1, "text", object()], ids=["None", "1", "str", "object"])
def test_a_callback_that_is_not_callable_fails_when_it_runs(same_outcome, turns, schedule, junk):
    def action(loop):
        contexts = []
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        schedule(loop, junk, 1)
        turns(loop, 2)
        (context,) = contexts
        is_handle = isinstance(context["handle"], asyncio.Handle)
        words = context["message"].split(" at 0x")[0]
        return sorted(context), is_handle, words, repr(context["exception"])

    same_outcome(action)


@pytest.mark.parametrize("junk", [None, 1, coroutine_function], ids=["None", "1", "async"])
def test_debug_mode_refuses_what_is_not_a_plain_callable(same_error, schedule, junk):
    assert same_error(lambda loop: schedule(loop, junk), debug=True) is TypeError


def test_debug_mode_refuses_a_coroutine_object(same_outcome, schedule):
    coroutine = coroutine_function()

    def action(loop):
        with pytest.raises(TypeError) as info:
            schedule(loop, coroutine)
        return str(info.value)

    same_outcome(action, debug=True)
    coroutine.close()


def test_a_closed_loop_refuses_callbacks(same_error, schedule):
    def action(loop):
        loop.close()
        schedule(loop, nothing)

    assert same_error(action) is RuntimeError


def test_a_callback_scheduled_by_a_callback_runs_in_the_next_turn(loop):
    seen = []

    def first():
        loop.call_soon(seen.append, "child")
        seen.append("first")

    loop.call_soon(first)
    loop.call_soon(seen.append, "second")
    run_two_turns(loop)
    assert seen == ["first", "second", "child"]


def test_a_handle_of_stock_may_be_added(loop, turns):
    seen = []
    loop._add_callback(asyncio.Handle(seen.append, ("ran",), loop))
    cancelled = asyncio.Handle(seen.append, ("cancelled",), loop)
    cancelled.cancel()
    loop._add_callback(cancelled)
    turns(loop)
    assert seen == ["ran"]


def test_a_stock_handle_cancelled_after_it_was_added_does_not_run(loop, turns):
    seen = []
    handle = asyncio.Handle(seen.append, ("ran",), loop)
    loop._add_callback(handle)
    handle.cancel()
    turns(loop)
    assert seen == []


def test_a_stock_timer_handle_of_this_loop_may_be_cancelled(loop, turns):
    handle = asyncio.TimerHandle(loop.time(), nothing, (), loop)
    handle._scheduled = True
    handle.cancel()
    turns(loop)
    assert handle.cancelled()


def test_callables_of_every_kind_are_called(loop, turns):
    seen = []

    class WithCall:
        def __call__(self, value):
            seen.append(value)

        def method(self, value):
            seen.append(value)

        @staticmethod
        def static(value):
            seen.append(value)

    kinds = [
        seen.append,
        WithCall(),
        WithCall().method,
        WithCall.static,
        functools.partial(seen.append),
        lambda value: seen.append(value),
    ]
    for number, callback in enumerate(kinds):
        loop.call_soon(callback, number)
    turns(loop)
    assert seen == list(range(len(kinds)))


def test_what_a_callback_returns_is_dropped(loop, turns, reports):
    class Returned:
        pass

    made = []

    def callback():
        returned = Returned()
        made.append(weakref.ref(returned))
        return returned

    loop.call_soon(callback)
    loop.call_soon(lambda: NotImplemented)
    turns(loop)
    assert [found() for found in made] == [None] and reports == []


def test_a_hundred_thousand_callbacks_all_run(loop, turns):
    seen = []
    for number in range(100_000):
        loop.call_soon(seen.append, number)
    turns(loop)
    assert seen == list(range(100_000))


def test_the_queue_may_grow_while_it_runs(loop):
    counter = [0]

    def spread(depth):
        counter[0] += 1
        if depth:
            loop.call_soon(spread, depth - 1)
            loop.call_soon(spread, depth - 1)
        elif counter[0] == 2**13 - 1:
            loop.stop()

    loop.call_soon(spread, 12)
    loop.run_forever()
    assert counter == [2**13 - 1]
