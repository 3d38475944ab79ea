"""Handle and TimerHandle: types, attributes, comparisons, repr."""

import asyncio
import contextvars
import functools
import operator
import pickle
import re
import weakref

import pytest

HANDLES = {
    "call_soon": lambda loop, *args: loop.call_soon(*args),
    "call_soon_threadsafe": lambda loop, *args: loop.call_soon_threadsafe(*args),
    "call_later": lambda loop, *args: loop.call_later(3600, *args),
    "call_at": lambda loop, *args: loop.call_at(2.0**40, *args),
}
COMPARISONS = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def nothing(*args):
    """Accept anything."""


class Noisy:
    """A callable whose repr fails."""

    def __call__(self):
        raise AssertionError("not to be called")

    def __repr__(self):
        raise ZeroDivisionError("no repr")


class Named:
    """A callable with a repr of its own."""

    def __call__(self):
        raise AssertionError("not to be called")

    def __repr__(self):
        return "<a named callable>"


@pytest.fixture(params=HANDLES)
def make_handle(request):
    """Make a handle by each method that returns one."""
    return HANDLES[request.param]


def test_a_handle_is_an_instance_of_asyncios_handle(loop, make_handle):
    assert isinstance(make_handle(loop, nothing), asyncio.Handle)


def test_only_a_timer_is_an_instance_of_asyncios_timer_handle(loop):
    assert isinstance(loop.call_later(1, nothing), asyncio.TimerHandle)
    assert isinstance(loop.call_at(1, nothing), asyncio.TimerHandle)
    assert not isinstance(loop.call_soon(nothing), asyncio.TimerHandle)


def test_the_type_names_are_those_of_stock(same_outcome, make_handle):
    same_outcome(lambda loop: type(make_handle(loop, nothing)).__name__.lstrip("_"))


@pytest.mark.ours("casyncio has types of its own")
def test_the_exported_types_are_those_of_the_handles(loop):
    import casyncio

    assert isinstance(loop.call_soon(nothing), casyncio.Handle)
    assert isinstance(loop.call_later(1, nothing), casyncio.TimerHandle)
    assert issubclass(casyncio.TimerHandle, casyncio.Handle)


def test_a_handle_can_be_weakly_referenced(loop, make_handle):
    handle = make_handle(loop, nothing)
    assert weakref.ref(handle)() is handle


def test_a_handle_shows_callback_arguments_and_loop(loop, make_handle):
    handle = make_handle(loop, nothing, 1, "two")
    assert handle._callback is nothing
    assert handle._args == (1, "two")
    assert handle._loop is loop
    assert handle._cancelled is False


def test_a_handle_shows_the_context_it_was_given(loop):
    context = contextvars.copy_context()
    assert loop.call_soon(nothing, context=context)._context is context
    assert loop.call_later(1, nothing, context=context)._context is context
    assert type(loop.call_soon(nothing)._context) is contextvars.Context


@pytest.mark.skipif(
    not hasattr(asyncio.Handle, "get_context"), reason="this Python's handles lack get_context()"
)
def test_get_context_returns_the_context(loop):
    context = contextvars.copy_context()
    assert loop.call_soon(nothing, context=context).get_context() is context
    assert loop.call_later(1, nothing, context=context).get_context() is context


def test_a_cancelled_handle_forgets_callback_and_arguments(loop, make_handle):
    handle = make_handle(loop, nothing, 1)
    handle.cancel()
    assert handle._cancelled is True and handle.cancelled() is True
    assert handle._callback is None and handle._args is None


def test_a_handle_that_ran_is_not_cancelled_and_keeps_its_callback(loop, turns):
    handle = loop.call_soon(nothing, 1)
    turns(loop)
    assert not handle.cancelled()
    assert handle._callback is nothing and handle._args == (1,)


def test_a_timer_shows_its_moment_and_whether_it_waits(loop, turns):
    handle = loop.call_later(0, nothing)
    assert handle._when == handle.when()
    assert handle._scheduled is True
    turns(loop, 2)
    assert handle._scheduled is False


def test_a_source_traceback_exists_in_debug_mode_only(loop, make_handle):
    assert make_handle(loop, nothing)._source_traceback is None
    loop.set_debug(True)
    frames = make_handle(loop, nothing)._source_traceback
    assert frames[-1].name == "<lambda>" and frames[-2].name == (
        "test_a_source_traceback_exists_in_debug_mode_only"
    )


def test_a_handle_can_be_run_by_hand(loop):
    seen = []
    loop.call_soon(seen.append, 1)._run()
    loop.call_later(1, seen.append, 2)._run()
    assert seen == [1, 2]


def test_an_error_in_a_handle_run_by_hand_goes_to_the_handler(loop, reports):
    handle = loop.call_soon(lambda: 1 / 0)
    handle._run()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    assert reports[0]["handle"] is handle


@pytest.mark.ours("stock reports a TypeError: it has no arguments any more")
def test_a_cancelled_handle_that_is_run_by_hand_does_nothing(loop, reports):
    seen = []
    handle = loop.call_soon(seen.append, 1)
    handle.cancel()
    handle._run()
    assert handle.cancelled() and seen == reports == []


def four_timers(loop):
    return [
        loop.call_at(50.0, nothing, 1),
        loop.call_at(50.0, nothing, 1),
        loop.call_at(50.0, print),
        loop.call_at(60.5, nothing, 1),
    ]


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_timers_compare_as_in_stock(same_outcome, compare):
    def action(loop):
        timers = four_timers(loop)
        return [compare(a, b) for a in timers for b in timers]

    same_outcome(action)


@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_a_cancelled_timer_compares_as_in_stock(same_outcome, compare):
    def action(loop):
        first, second, third, _ = four_timers(loop)
        first.cancel()
        results = [compare(first, second), compare(second, first)]
        third.cancel()
        return [*results, compare(first, third)]

    same_outcome(action)


@pytest.mark.parametrize("other", [None, 50.0, "text"])
@pytest.mark.parametrize("compare", COMPARISONS, ids=lambda f: f.__name__)
def test_a_timer_against_something_else_is_as_in_stock(same_outcome, compare, other):
    same_outcome(lambda loop: compare(loop.call_at(50.0, nothing), other))


def test_the_hash_of_a_timer_is_as_in_stock(same_outcome):
    assert same_outcome(lambda loop: hash(loop.call_at(50.25, nothing))) == hash(50.25)


def test_plain_handles_are_equal_only_to_themselves(loop):
    first, second = loop.call_soon(nothing), loop.call_soon(nothing)
    assert first == first and first != second and len({first, second}) == 2


def test_plain_handles_have_no_order(same_error):
    assert same_error(lambda loop: loop.call_soon(nothing) < loop.call_soon(nothing)) is TypeError


def plain_function():
    """Have a place in a file."""


REPRS = {
    "function": plain_function,
    "lambda": lambda: None,
    "partial": functools.partial(plain_function, 1, key="value"),
    "builtin": print,
    "method": [].append,
    "instance": Named(),
    "class": int,
    "wrapped": functools.wraps(plain_function)(lambda: None),
}


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("callback", REPRS.values(), ids=REPRS)
def test_the_repr_is_that_of_stock(same_outcome, callback, debug):
    def action(loop):
        handles = loop.call_soon(callback), loop.call_at(50.25, callback, 1, "two")
        return [re.sub("0x[0-9a-f]+", "0x", repr(handle)) for handle in handles]

    text = same_outcome(action, debug=debug)
    assert text[0].startswith("<Handle ") and text[1].startswith("<TimerHandle when=50.25 ")


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_the_repr_of_a_cancelled_handle_is_that_of_stock(same_outcome, debug):
    def action(loop):
        handles = loop.call_soon(plain_function, 1), loop.call_at(50.25, plain_function, 1)
        for handle in handles:
            handle.cancel()
        return [repr(handle) for handle in handles]

    assert "cancelled" in same_outcome(action, debug=debug)[0]


def test_the_repr_of_a_handle_that_ran_is_that_of_stock(same_outcome, turns):
    def action(loop):
        handle = loop.call_soon(plain_function)
        turns(loop)
        return repr(handle)

    same_outcome(action)


def test_a_callback_whose_repr_fails_fails_as_in_stock(same_outcome):
    same_outcome(lambda loop: repr(loop.call_soon(Noisy())))
    same_outcome(lambda loop: loop.call_soon(Noisy()).cancel(), debug=True)


def test_cancel_twice_is_harmless(loop, make_handle):
    handle = make_handle(loop, nothing)
    assert handle.cancel() is None and handle.cancel() is None
    assert handle.cancelled()


def test_cancel_takes_no_argument(loop, make_handle):
    with pytest.raises(TypeError):
        make_handle(loop, nothing).cancel(1)


def test_a_handle_outlives_its_loop(new_loop, make_handle, collect):
    loop = new_loop()
    handle = make_handle(loop, nothing)
    loop.close()
    del loop
    collect()
    assert repr(handle) and handle._loop.is_closed()
    handle.cancel()


def test_when_of_a_cancelled_timer_is_kept(loop):
    handle = loop.call_at(50.25, nothing)
    handle.cancel()
    assert handle.when() == 50.25


def test_a_handle_cancelled_from_its_arguments_destructor_does_not_crash(loop, turns, collect):
    class Trap:
        def __init__(self):
            self.handles = []

        def __del__(self):
            for handle in self.handles:
                handle.cancel()
            sprung.append(self.handles)

    sprung = []
    trap = Trap()
    trap.handles = [loop.call_soon(nothing, trap), loop.call_later(0, nothing, trap)]
    trap.handles += [loop.call_soon(nothing), loop.call_later(0, nothing)]
    del trap
    turns(loop, 2)
    collect()
    ((*handles,),) = sprung
    assert all(handle.cancelled() for handle in handles) and len(handles) == 4


def test_cancel_from_the_destructor_of_the_cancelled_argument_does_not_crash(loop, turns):
    class Trap:
        handle = None

        def __del__(self):
            self.handle.cancel()
            loop.call_soon(nothing)
            loop.call_later(0, nothing).cancel()

    trap = Trap()
    trap.handle = handle = loop.call_later(3600, nothing, trap)
    del trap
    handle.cancel()
    turns(loop, 2)
    assert handle.cancelled()


def test_two_handles_never_share_a_context_that_can_be_seen(loop):
    first, second = loop.call_soon(nothing), loop.call_soon(nothing)
    var = contextvars.ContextVar("var", default="unset")
    first._context.run(var.set, "first")
    assert first._context is first._context
    assert second._context.get(var) is None and var.get() == "unset"


def test_a_handle_runs_in_the_context_that_it_shows(loop, turns):
    var = contextvars.ContextVar("var", default="unset")
    seen = []
    handle = loop.call_soon(lambda: (seen.append(var.get()), var.set("inside")))
    handle._context.run(var.set, "outside")
    turns(loop)
    assert seen == ["outside"] and handle._context[var] == "inside"


def test_what_a_callback_keeps_of_its_context_stays_as_it_was(loop, turns):
    var = contextvars.ContextVar("var", default="unset")
    kept = []
    for number in range(5):
        loop.call_soon(lambda n=number: (kept.append(contextvars.copy_context()), var.set(n)))
        loop.call_soon(lambda: kept.append(contextvars.copy_context()))
    turns(loop)
    assert [var in context for context in kept] == [False] * 10


@pytest.mark.parametrize("make", HANDLES.values(), ids=HANDLES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_handle_cannot_be_pickled(loop, backend, make, protocol):
    handle = make(loop, nothing)
    # Stock's stumble over what they refer to.
    error = (TypeError, AttributeError) if backend == "stock" else TypeError
    with pytest.raises(error):
        pickle.dumps(handle, protocol)
    handle.cancel()


def test_a_token_of_one_callback_is_refused_in_another(loop, turns):
    var = contextvars.ContextVar("var", default="unset")
    box, errors = [], []
    loop.set_exception_handler(lambda loop, context: errors.append(type(context["exception"])))
    loop.call_soon(lambda: box.append(var.set("mine")))
    loop.call_soon(lambda: var.reset(box[0]))
    turns(loop)
    assert errors == [ValueError]


def test_a_variable_set_and_reset_leaves_the_next_callback_alone(loop, turns):
    var = contextvars.ContextVar("var", default="unset")
    seen = []

    def work():
        seen.append(var.get())
        token = var.set("set")
        var.reset(token)
        var.set("left")

    for _ in range(5):
        loop.call_soon(work)
    turns(loop)
    assert seen == ["unset"] * 5
