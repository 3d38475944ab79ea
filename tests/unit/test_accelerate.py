"""The switch: ``install(accelerate=True)``, ``uninstall()``, ``python -m casyncio --accelerate``.

In processes of their own: the names of asyncio belong to the whole process.
"""

import pytest

pytestmark = pytest.mark.ours("it is about casyncio's own switch")

# A row whose home and names are planted, so that the tests do not depend on what is in the table.
PLANTED = """
import asyncio, asyncio.locks, asyncio.streams, casyncio, sys, types
from casyncio import _accelerate

class Barrier(asyncio.locks.Barrier, metaclass=_accelerate.Replacement):
    _replaces = asyncio.locks.Barrier

stock = asyncio.Barrier
ours = types.ModuleType("ours")
ours.Barrier = Barrier
sys.modules["ours"] = ours
_accelerate.ROWS = (("asyncio.locks", "Barrier", "ours:Barrier"),)
asyncio.streams.Barrier = stock  # as if it had said from .locks import Barrier
"""


def test_importing_casyncio_and_install_replace_no_primitive(child):
    out = child.ok(
        """
        before = dict(vars(asyncio)), dict(vars(asyncio.locks)), dict(vars(asyncio.queues))
        import casyncio
        casyncio.install()
        import asyncio.locks, asyncio.queues
        for seen, module in zip(before, (asyncio, asyncio.locks, asyncio.queues)):
            for name, value in seen.items():
                if name[0] != "_":
                    assert vars(module)[name] is value, name
        print("same")
        """
    )
    assert out == "same\n"


def test_accelerate_replaces_the_names_wherever_asyncio_has_them_and_uninstall_undoes_it(child):
    child.ok(
        PLANTED
        + """
casyncio.install(accelerate=True)
assert asyncio.Barrier is asyncio.locks.Barrier is asyncio.streams.Barrier is Barrier
casyncio.install(accelerate=True)
casyncio.install()
assert asyncio.Barrier is Barrier
assert isinstance(asyncio.get_event_loop_policy(), casyncio.EventLoopPolicy)
casyncio.uninstall()
assert asyncio.Barrier is asyncio.locks.Barrier is asyncio.streams.Barrier is stock
assert not isinstance(asyncio.get_event_loop_policy(), casyncio.EventLoopPolicy)
casyncio.uninstall()
casyncio.install(accelerate=True)
assert asyncio.Barrier is Barrier
""",
        options=("-W", "ignore::DeprecationWarning"),
    )


def test_objects_made_before_are_instances_of_the_replaced_name(child):
    child.ok(
        PLANTED
        + """
made = asyncio.Barrier(2)
class Derived(asyncio.Barrier): pass
derived = Derived(2)
casyncio.install(accelerate=True)
assert isinstance(made, asyncio.Barrier) and isinstance(derived, asyncio.Barrier)
assert isinstance(asyncio.Barrier(2), stock) and issubclass(Derived, asyncio.Barrier)
assert not isinstance(object(), asyncio.Barrier)
class New(asyncio.Barrier): pass
assert isinstance(New(2), New) and isinstance(New(2), asyncio.Barrier)
assert not isinstance(made, New) and not issubclass(Derived, New)
import abc
class Abstract(asyncio.Barrier, abc.ABC): pass
assert isinstance(Abstract(2), stock)
"""
    )


@pytest.mark.parametrize("where", ["asyncio", "asyncio.locks"])
@pytest.mark.parametrize(
    "other",
    [
        "type('Barrier', (stock,), {'__module__': 'elsewhere'})",
        "__import__('functools').wraps(stock, updated=())(lambda *given: stock(*given))",
    ],
)
def test_a_name_that_something_else_has_replaced_is_refused_and_nothing_changes(
    child, where, other
):
    child.ok(
        PLANTED
        + f"""
_accelerate.ROWS = (("asyncio.locks", "Event", "ours:Event"), *_accelerate.ROWS)
class Event(asyncio.Event): pass
ours.Event, event = Event, asyncio.Event
other = {where}.Barrier = {other}
policy = type(asyncio.get_event_loop_policy())
try:
    casyncio.install(accelerate=True)
except RuntimeError as error:
    assert "something else has replaced {where}.Barrier" in str(error), error
else:
    raise AssertionError("not refused")
assert {where}.Barrier is other and asyncio.Event is event
assert type(asyncio.get_event_loop_policy()) is policy
""",
        options=("-W", "ignore::DeprecationWarning"),
    )


def test_uninstall_refuses_to_drop_what_something_else_has_put_over_ours(child):
    child.ok(
        PLANTED
        + """
casyncio.install(accelerate=True)
asyncio.Barrier = other = type("Barrier", (asyncio.Barrier,), {})
try:
    casyncio.uninstall()
except RuntimeError as error:
    assert "something else has replaced asyncio.Barrier" in str(error), error
else:
    raise AssertionError("not refused")
assert asyncio.Barrier is other and asyncio.locks.Barrier is Barrier
"""
    )


def test_a_name_that_this_python_does_not_have_is_left_out(child):
    child.ok(
        PLANTED
        + """
_accelerate.ROWS += (("asyncio.locks", "NotYet", "ours:NotYet"),)
casyncio.install(accelerate=True)
assert not hasattr(asyncio, "NotYet") and asyncio.Barrier is Barrier
"""
    )


def test_uninstall_leaves_a_policy_alone_that_somebody_else_has_set(child):
    child.ok(
        """
        import casyncio
        casyncio.install()
        mine = asyncio.DefaultEventLoopPolicy()
        asyncio.set_event_loop_policy(mine)
        casyncio.uninstall()
        assert asyncio.get_event_loop_policy() is mine
        """,
        options=("-W", "ignore::DeprecationWarning"),
    )


def test_every_row_names_what_stock_defines_and_something_of_ours(child):
    child.ok(
        """
        import importlib, inspect
        from casyncio import _accelerate
        for home, name, where in _accelerate.ROWS:
            module = importlib.import_module(home)
            stock = vars(module).get(name)
            if stock is None:
                continue
            ours = _accelerate._resolve(where)
            assert _accelerate._is_stock(stock, module, name), (home, name)
            assert vars(asyncio).get(name, stock) is stock, name
            if inspect.isclass(stock) and ours is not stock:
                assert issubclass(ours, stock) and ours._replaces is stock, name
                assert type(ours) is _accelerate.Replacement, name
        assert len({row[:2] for row in _accelerate.ROWS}) == len(_accelerate.ROWS)
        """
    )


def test_the_launcher_accelerates_when_asked(child, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, casyncio._accelerate as a\n"
        "print(all(getattr(asyncio, name) is a._resolve(where) for _, name, where in a.ROWS))\n"
    )
    run = child.finish(child.command("-m", "casyncio", "--accelerate", str(program)))
    assert (run.status, run.out) == (0, "True\n"), run.err


# ---- what differs, on purpose (docs/differences.md) ----


def test_a_method_written_into_the_dict_of_a_reader_goes_unnoticed(child):
    child.ok(
        """
        import asyncio, casyncio

        async def main():
            results = []
            for how in "setattr", "dict":
                reader = casyncio.StreamReader()
                async def wait(name):
                    reader.feed_data(b"ours")
                if how == "setattr":
                    reader._wait_for_data = wait
                else:
                    reader.__dict__["_wait_for_data"] = wait
                asyncio.get_running_loop().call_later(0.01, reader.feed_data, b"theirs")
                results.append(await reader.read(10))
            assert results == [b"ours", b"theirs"], results

        casyncio.run(main())
        """
    )


def test_a_metaclass_that_is_no_abcmeta_is_refused(child):
    child.ok(
        """
        import casyncio

        class Meta(type):
            pass

        for base in casyncio.Lock, casyncio.Queue, casyncio.StreamReader:
            try:
                Meta("Derived", (base,), {})
            except TypeError as error:
                assert "metaclass conflict" in str(error)
            else:
                raise AssertionError(base)
        """
    )


def test_waits_are_no_coroutine_functions_to_inspect(child):
    child.ok(
        """
        import asyncio, casyncio, inspect

        for cls, name in ("Lock", "acquire"), ("Event", "wait"), ("Queue", "get"):
            assert inspect.iscoroutinefunction(getattr(getattr(asyncio, cls), name))
            assert not inspect.iscoroutinefunction(getattr(getattr(casyncio, cls), name))
        """
    )


def test_a_name_patched_inside_asyncio_is_not_seen_by_gather(child):
    child.ok(
        """
        import asyncio, casyncio, sys
        from unittest import mock

        if casyncio.gather is asyncio.gather:
            sys.exit()  # of a Python whose gather() is another than those that are known

        async def main():
            future = asyncio.get_running_loop().create_future()
            future.set_result(1)
            with mock.patch("asyncio.tasks.ensure_future") as patched:
                assert await casyncio.gather(future) == [1]
            assert not patched.called

        casyncio.run(main())
        """
    )


def test_a_class_patched_in_asyncio_streams_is_not_seen_by_open_connection(child):
    child.ok(
        """
        import asyncio, casyncio, socket
        from unittest import mock

        casyncio.install(accelerate=True)

        async def main():
            first, second = socket.socketpair()
            with mock.patch("asyncio.streams.StreamReader") as patched, second:
                reader, writer = await asyncio.open_connection(sock=first)
                assert type(reader) is casyncio.StreamReader and not patched.called
                writer.close()
                await writer.wait_closed()

        casyncio.run(main())
        """
    )
