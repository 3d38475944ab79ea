"""Half-made loops, junk arguments and misuse of internals: exceptions, never a crash."""

import pytest

PRELUDE = """
import asyncio, contextlib, gc, io, itertools, sys, warnings
warnings.simplefilter("ignore")
junk = [None, 0, -1, 2**70, 1.5, float("nan"), "text", b"bytes", (), [], {}, object(), print,
        asyncio, Exception, new_loop, asyncio.Handle, lambda *a, **k: None]

def attempt(func, *args, **kwargs):
    try:
        return func(*args, **kwargs)
    except Exception:
        return None
"""

# Calls that block by design, or end the process by design, when they are given nothing.
BLOCKING = "{'run_forever', '_run_once', 'run_until_complete', 'shutdown_default_executor'}"


@pytest.mark.ours("it is about casyncio's types")
def test_types_constructed_with_junk_do_not_crash(child):
    child.ok(
        PRELUDE
        + """
from casyncio import _native
import casyncio
types = [value for module in (casyncio, _native) for value in vars(module).values()
         if isinstance(value, type)]
loop = new_loop()
types += [type(loop.call_soon(print)), type(loop.call_later(1, print))]
assert len(types) >= 4
for cls in set(types):
    for count in range(4):
        for args in itertools.islice(itertools.product(junk, repeat=count), 500):
            made = attempt(cls, *args)
            attempt(repr, made)
            attempt(hash, made)
            del made
    made = attempt(cls.__new__, cls)
    if made is not None:
        for name in dir(made):
            attempt(getattr, made, name)
    del made
gc.collect()
"""
    )


@pytest.mark.parametrize("state", ["half-made", "open", "closed"])
@pytest.mark.ours("stock's own half-made loops are its own affair")
def test_methods_called_with_junk_do_not_crash(child, state):
    child.ok(
        PRELUDE
        + f"""
def make():
    if {state!r} == "half-made":
        import casyncio
        return casyncio.Loop.__new__(casyncio.Loop)
    loop = new_loop()
    if {state!r} == "closed":
        loop.close()
    return loop

blocking = {BLOCKING}
names = [name for name in dir(make()) if not name.startswith("__") and name not in blocking]
assert len(names) > 50
with contextlib.redirect_stderr(io.StringIO()):
    for name in names:
        loop = make()
        loop.set_exception_handler(lambda *args: None)
        method = attempt(getattr, loop, name)
        if not callable(method) or asyncio.iscoroutinefunction(method):
            continue
        attempt(method)
        for args in [(item,) for item in junk] + list(itertools.product(junk, repeat=2)):
            result = attempt(method, *args)
            if asyncio.iscoroutine(result):
                result.close()
        attempt(method, bad_keyword=1)
        attempt(loop.close)
    gc.collect()
""",
        timeout=50,
    )


@pytest.mark.ours("it is about casyncio's native type")
def test_the_native_type_alone_does_not_crash(child):
    child.ok(
        PRELUDE
        + f"""
from casyncio import _native
blocking = {BLOCKING}
for name in dir(_native.Loop):
    loop = attempt(_native.Loop)
    if loop is None or name in blocking or name.startswith("__"):
        continue
    method = attempt(getattr, loop, name)
    attempt(setattr, loop, name, None)
    attempt(delattr, loop, name)
    if callable(method):
        attempt(method)
        for item in junk:
            attempt(method, item)
            attempt(method, item, item)
    attempt(getattr(loop, "_run_once", None)) if loop.is_closed() else None
    del loop, method
gc.collect()
"""
    )


def test_a_method_of_the_loop_called_on_something_else_is_a_type_error(loop_class, backend):
    names = "call_soon call_later call_at call_soon_threadsafe run_forever stop time close"
    # Stock's methods are functions, which look for attributes first.
    error = (TypeError, AttributeError) if backend == "stock" else TypeError
    for name in [*names.split(), "add_reader", "remove_reader", "create_future"]:
        with pytest.raises(error):
            getattr(loop_class, name)(object(), 1, print)


@pytest.mark.ours("it is about casyncio's types")
def test_every_attribute_may_be_deleted_or_replaced_without_a_crash(child):
    child.ok(
        PRELUDE
        + """
for value in [None, 1, "text", lambda *a, **k: None]:
    for name in dir(new_loop()):
        if name.startswith("__"):
            continue
        loop = new_loop()
        loop.set_exception_handler(lambda *args: None)
        attempt(setattr, loop, name, value)
        attempt(loop.call_soon, print.__class__)
        attempt(loop.call_later, 0, lambda: 1 / 0)
        attempt(loop.call_soon, lambda: 1 / 0)
        attempt(loop.call_soon_threadsafe, loop.stop)
        if name not in ("_run_once", "stop", "call_soon", "call_soon_threadsafe", "run_forever"):
            attempt(loop.stop)
            attempt(loop.run_forever)
        attempt(loop.close)
        attempt(delattr, loop, name)
        attempt(loop.close)
gc.collect()
""",
        timeout=50,
    )


def test_a_handle_changed_by_hand_does_not_crash(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()
loop.set_exception_handler(lambda *args: None)
for name in ("_callback", "_args", "_cancelled", "_when", "_scheduled", "_context", "_loop",
             "_source_traceback", "_repr"):
    for value in junk:
        handles = [loop.call_soon(int), loop.call_later(0, int), loop.call_later(3600, int)]
        for handle in handles:
            attempt(setattr, handle, name, value)
            attempt(delattr, handle, name)
            attempt(repr, handle)
            attempt(hash, handle)
            attempt(lambda: handle < handles[0])
            attempt(handle._run)
            attempt(handle.cancel)
        loop = new_loop()
        loop.set_exception_handler(lambda *args: None)
gc.collect()
"""
    )


def test_an_exception_handler_that_closes_or_stops_everything_does_not_crash(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()

def handler(loop, context):
    attempt(loop.close)
    attempt(loop.run_forever)
    attempt(loop._run_once) if depth.append(1) or len(depth) < 5 else None
    loop.stop()

depth = []
loop.set_exception_handler(handler)
for _ in range(10):
    loop.call_soon(lambda: 1 / 0)
    loop.call_later(0, lambda: 1 / 0)
attempt(loop.run_forever)
loop.close()
"""
    )


def test_a_repr_with_side_effects_does_not_crash(child):
    child.ok(
        PRELUDE
        + """
class Evil:
    def __init__(self, handles):
        self.handles = handles

    def __repr__(self):
        for handle in self.handles:
            handle.cancel()
        gc.collect()
        return "evil"

    def __call__(self, *args):
        raise ZeroDivisionError

for debug in (False, True):
    loop = new_loop()
    loop.set_debug(debug)
    loop.set_exception_handler(lambda loop, context: repr(context))
    handles = []
    evil = Evil(handles)
    handles += [loop.call_soon(evil, evil), loop.call_later(0, evil, evil),
                loop.call_later(3600, evil, evil)]
    for handle in list(handles):
        attempt(repr, handle)
    handles += [loop.call_soon(evil, evil), loop.call_later(0, evil, evil)]
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.close()
"""
    )


def test_numbers_with_side_effects_do_not_crash(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()

class Evil(float):
    def __radd__(self, other):
        loop.close()
        gc.collect()
        return 0.0

    def __float__(self):
        loop.close()
        return 0.0

    def __index__(self):
        loop.close()
        return 0

    def fileno(self):
        loop.close()
        return 0

for call in (lambda evil: loop.call_later(evil, print), lambda evil: loop.call_at(evil, print),
             lambda evil: loop.add_reader(evil, print), lambda evil: loop.remove_reader(evil),
             lambda evil: setattr(loop, "slow_callback_duration", evil)):
    attempt(call, Evil(1))
    attempt(loop.close)
    loop = new_loop()
"""
    )


@pytest.mark.parametrize("method", ["loop.call_soon(", "loop.call_later(3600, "])
def test_a_long_chain_of_handles_is_freed_without_a_crash(child, method):
    child.ok(
        PRELUDE
        + f"""
loop = new_loop()
handle = None
for number in range(400_000):
    handle = {method}lambda *args: None, handle)
    if number % 1000 == 0:
        loop.stop()
        loop.run_forever()
loop.close()
del loop
del handle
gc.collect()
"""
    )


@pytest.mark.parametrize("call", ["add_reader", "_add_reader", "add_writer", "_add_writer",
                                  "remove_reader", "_remove_reader"])  # fmt: skip
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_fileno_that_closes_the_loop_does_not_crash(child, call, at):
    child.ok(
        PRELUDE
        + f"""
class Evil:
    calls = 0

    def fileno(self):
        self.calls += 1
        if self.calls == {at}:
            loop.close()
        return 1

loop = new_loop()
attempt(loop.{call}, Evil(), *([] if "remove" in {call!r} else [print]))
loop.close()
"""
    )


@pytest.mark.ours("it is about casyncio's private methods")
def test_a_loop_closed_under_its_own_feet_does_not_crash(child):
    child.ok(
        PRELUDE
        + """
def close():
    loop._leave()
    loop.close()

for close_in_timer in False, True:
    loop = new_loop()
    loop.call_later(0, close) if close_in_timer else loop.call_soon(close)
    loop.call_soon(int)
    loop.call_later(0.01, int)
    attempt(loop.run_forever)
"""
    )
