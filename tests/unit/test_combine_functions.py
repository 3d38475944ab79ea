"""casyncio.sleep() and the like look and behave as functions and coroutines of asyncio's do."""

import asyncio
import copy
import gc
import inspect
import pickle
import types
import warnings
import weakref
from unittest import mock

import pytest

FUNCTIONS = ("sleep", "gather", "wait_for", "timeout")
NAMES = (
    *FUNCTIONS,
    *("TaskGroup", "Timeout", "timeout_at", "wait", "shield", "as_completed", "to_thread"),
)


@pytest.mark.parametrize("name", NAMES)
def test_signature_and_name_are_asyncios(api, name):
    ours, stock = getattr(api, name), getattr(asyncio, name)
    assert inspect.signature(ours) == inspect.signature(stock)
    assert ours.__name__ == ours.__qualname__ == name
    assert ours.__doc__ == stock.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_asyncio_finds_the_same_functions_to_make_coroutines(api, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of 3.14
        expected = asyncio.iscoroutinefunction(getattr(asyncio, name))
        assert asyncio.iscoroutinefunction(getattr(api, name)) == expected


@pytest.mark.parametrize(("name", "kind"), [("sleep", "AsyncMock"), ("gather", "MagicMock")])
def test_patch_finds_the_right_kind_of_mock(api, name, kind):
    with mock.patch.object(api, name) as found:
        assert type(found).__name__ == kind


STREAMS = (
    *("StreamReader", "StreamWriter", "StreamReaderProtocol"),
    *("open_connection", "start_server", "open_unix_connection", "start_unix_server"),
)


@pytest.mark.ours("asyncio's say in which of its modules they are")
@pytest.mark.parametrize("name", ("sleep", "timeout", "timeout_at", "Lock", "Queue", *STREAMS))
def test_what_is_ours_says_that_it_is_casyncios(api, name):
    assert getattr(api, name).__module__ == "casyncio"


@pytest.mark.ours("the name under which it is found is ours")
@pytest.mark.parametrize("name", (*NAMES, *STREAMS))
def test_a_function_is_pickled_and_copied_by_its_name(api, name):
    function = getattr(api, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is function


def test_a_class_that_holds_a_function_binds_it(api):
    class Holder:
        method = api.sleep

    method = Holder().method
    assert isinstance(method, types.MethodType)
    assert method.__func__ is Holder.method is api.sleep


def test_a_function_takes_attributes_and_weak_references(api):
    assert weakref.ref(api.sleep)() is api.sleep
    api.sleep.note = "mine"
    assert api.sleep.note == "mine"
    del api.sleep.note


BAD_CALLS = {
    "sleep": [(), (1, 2, 3)],
    "wait_for": [(), (1,), (1, 2, 3)],
    "timeout": [(), (1, 2)],
}


@pytest.mark.parametrize(("name", "args"), [(n, a) for n, all in BAD_CALLS.items() for a in all])
def test_a_wrong_call_is_refused_in_asyncios_words(api, name, args):
    said = []
    for module in asyncio, api:
        with pytest.raises(TypeError) as caught:
            getattr(module, name)(*args)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ("sleep", "gather", "wait_for", "timeout"))
def test_an_unknown_keyword_is_refused_in_asyncios_words(api, name):
    said = []
    for module in asyncio, api:
        with pytest.raises(TypeError) as caught:
            getattr(module, name)(odd=1)
        said.append(str(caught.value))
    assert said[0] == said[1]


def make_coroutines(api):
    """Return coroutines of every kind that is not started by making it."""
    group, timeout = api.TaskGroup(), api.Timeout(None)
    return {
        "sleep": api.sleep(1),
        "wait_for": api.wait_for(None, 1),
        "Timeout.__aenter__": timeout.__aenter__(),
        "Timeout.__aexit__": timeout.__aexit__(None, None, None),
        "TaskGroup.__aenter__": group.__aenter__(),
        "TaskGroup.__aexit__": group.__aexit__(None, None, None),
    }


def test_coroutines_are_coroutines_for_whoever_asks(api):
    for name, coro in make_coroutines(api).items():
        assert asyncio.iscoroutine(coro) and inspect.isawaitable(coro)
        assert coro.__qualname__ == name and coro.__name__ == name.split(".")[-1]
        assert coro.cr_code.co_name == coro.__name__ and coro.cr_frame is not None
        assert coro.cr_await is None and not coro.cr_running
        assert repr(coro).startswith(f"<coroutine object {name} at 0x")
        assert weakref.ref(coro)() is coro
        awaited = coro.__await__()
        assert iter(awaited) is awaited
        assert coro.close() is None
        assert coro.cr_frame is None


def test_a_coroutine_that_was_never_awaited_warns(api):
    coroutines = make_coroutines(api)
    names = list(coroutines)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        coroutines.clear()
        gc.collect()
    said = [str(w.message).splitlines()[0] for w in caught if w.category is RuntimeWarning]
    assert sorted(said) == sorted(f"coroutine '{name}' was never awaited" for name in names)


def test_a_coroutine_that_was_closed_is_used_up(api):
    for coro in make_coroutines(api).values():
        coro.close()
        coro.close()
        for call in lambda c=coro: c.send(None), lambda c=coro: c.throw(ValueError("v")):
            with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                call()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_a_coroutine_that_has_not_begun_raises_what_is_thrown_and_takes_no_value(api):
    for coro in make_coroutines(api).values():
        with pytest.raises(TypeError, match="can't send non-None value to a just-started"):
            coro.send(1)
        with pytest.raises(ValueError, match="^v$"):
            coro.throw(ValueError("v"))
    for coro in make_coroutines(api).values():
        with pytest.raises(TypeError, match="exceptions must be classes or instances"):
            coro.throw(1)
    for name, coro in make_coroutines(api).items():
        said = []
        for one in coro, make_coroutines(asyncio)[name]:
            with pytest.raises((RuntimeError, StopIteration)) as caught:
                one.throw(StopIteration(1))
            said.append(repr(caught.value))
        assert said[0] == said[1]


@pytest.mark.filterwarnings("ignore:the .* signature of throw:DeprecationWarning")
def test_the_older_form_of_throw_is_understood(api):
    for coro in make_coroutines(api).values():
        with pytest.raises(KeyError, match="k"):
            coro.throw(KeyError, "k", None)


def test_a_coroutine_that_runs_cannot_be_resumed(api, loop):
    async def again():
        return coro.send(None)

    coro = api.wait_for(again(), None)

    async def main():
        with pytest.raises(ValueError, match="coroutine already executing"):
            await coro

    loop.run_until_complete(main())


def test_a_coroutine_that_is_awaited_cannot_be_awaited_twice(api, loop):
    async def main():
        coro = api.sleep(0)
        coro.send(None)
        with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
            await coro
        coro.close()

    loop.run_until_complete(main())


@pytest.mark.ours("asyncio's own classes need no derivation")
def test_the_classes_derive_from_asyncios(api):
    assert issubclass(api.TaskGroup, asyncio.TaskGroup)
    assert issubclass(api.Timeout, asyncio.Timeout)
    assert isinstance(asyncio.TaskGroup(), api.TaskGroup)  # so that the switch can be thrown late


@pytest.mark.ours("about what happens where asyncio is not as it is known")
def test_where_tasks_are_stocks_all_of_this_is_stocks(child):
    child.ok(
        """
        for name in ("sleep", "gather", "wait_for", "timeout", "TaskGroup", "Timeout"):
            assert getattr(casyncio, name) is getattr(asyncio, name), name
        """,
        env={"CASYNCIO_TASKS": "stock"},
    )


@pytest.mark.ours("about what happens where asyncio is not as it is known")
def test_a_function_of_asyncio_that_is_another_one_is_given_out(child):
    child.ok(
        """
        async def __aenter__(self):
            return await something_new(self)
        asyncio.TaskGroup.__aenter__ = __aenter__
        assert casyncio.TaskGroup is asyncio.TaskGroup
        assert casyncio.sleep is not asyncio.sleep
        """
    )


@pytest.mark.ours("stock calls functions of its own")
def test_sleep_of_zero_calls_nothing_but_itself(api, loop):
    import sys

    seen = []

    async def main():
        await api.sleep(0)
        sys.setprofile(lambda frame, event, arg: seen.append(event))
        await api.sleep(0)
        sys.setprofile(None)

    loop.run_until_complete(main())
    # Of Python's calls one is the coroutine itself, and one may be the loop's for pending work.
    assert seen.count("c_call") == 1 and 1 <= seen.count("call") <= 2  # setprofile, and these


@pytest.mark.ours("about native types that nobody has set up")
def test_native_halves_by_themselves_raise(child):
    child.ok(
        """
        from casyncio import _native

        def set_state():
            _native.Timeout()._state = 1

        attempts = [
            set_state,
            lambda: _native.Timeout()._state,
            lambda: _native.Timeout()._on_timeout(),
            lambda: _native.TaskGroup().create_task(1),
            lambda: _native.TaskGroup()._on_task_done(1),
        ]
        for native in _native.Timeout, _native.TaskGroup:
            attempts += [
                lambda native=native: native().__aenter__().send(None),
                lambda native=native: native().__aenter__().throw(KeyError, 1),
                lambda native=native: native().__aexit__(None, None, None).send(None),
                lambda native=native: native().__aenter__().cr_code,
                lambda native=native: native().__aenter__().cr_frame,
            ]
        import warnings
        warnings.simplefilter("ignore")
        for attempt in attempts:
            try:
                attempt()
            except (RuntimeError, AttributeError):
                pass
            else:
                raise AssertionError(attempt)
        """
    )
