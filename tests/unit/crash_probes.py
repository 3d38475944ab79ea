"""Let the interpreter's own task code work on futures and tasks, and see whether it survives.

    python crash_probes.py ours|stock [NAME ...]

Every probe calls one method, property or helper of ``_asyncio`` on one object in one state, then
lets a loop turn and the collector run.  Probes run many to a forked child; the probes of a child
that dies run again, one to a child.  Prints one JSON object: how many probes there are, and which
ended by which signal.  With names, only these probes run, one to a child.
"""

import _asyncio
import asyncio
import contextlib
import contextvars
import gc
import itertools
import json
import os
import signal
import sys
import types
import warnings

PER_CHILD = 60
SKIPPED = {
    "__new__",
    "__doc__",
    "__module__",
    "__class_getitem__",
    "__getattribute__",
    "__dict__",
    "__weakref__",
}
HELPERS = ("_register_task", "_unregister_task", "_register_eager_task", "_unregister_eager_task")
FUTURES, TASKS = "FTDECUVWXP", "TVXP"


def own_types(which):
    """Return new_loop, Future and Task of ours or of stock."""
    if which == "stock":
        return asyncio.SelectorEventLoop, asyncio.Future, asyncio.Task
    import casyncio

    assert casyncio.Task is not asyncio.Task, casyncio._stock_tasks_reason
    return casyncio.new_event_loop, casyncio.Future, casyncio.Task


async def sleep_once():
    await asyncio.sleep(0)
    return 1


def make_world(new_loop, future_class, task_class):
    """Return a loop and one object in each state, as a namespace for a probe."""
    loop = new_loop()
    asyncio._set_running_loop(loop)
    waited = loop.create_future()

    async def wait():
        return await waited

    world = types.SimpleNamespace(
        loop=loop,
        Future=future_class,
        Task=task_class,
        F=future_class(loop=loop),
        D=loop.create_future(),
        E=loop.create_future(),
        C=loop.create_future(),
        U=future_class.__new__(future_class),
        V=task_class.__new__(task_class),
        W=waited,
        X=loop.create_task(wait()),
        P=loop.create_task(sleep_once()),
    )
    world.D.set_result([1])
    world.E.set_exception(ValueError("x"))
    world.C.cancel("why")
    turn(world)
    world.T = loop.create_task(sleep_once())
    return world


def turn(world):
    """Let the loop run for a turn or two."""
    asyncio._set_running_loop(None)
    try:
        world.loop.create_task(sleep_once())
        for _ in range(2):
            world.loop.call_soon(world.loop.stop)
            world.loop.run_forever()
    finally:
        asyncio._set_running_loop(world.loop)


def attempt(action, *args):
    """Call something and show what comes out; exceptions are fine."""
    try:
        repr(action(*args))
    except BaseException as error:
        repr(error)


# ---- the probes: (name, function of the world) ----


def arguments_of(name):
    """Return the argument lists to try on a method."""
    yield lambda w: ((), {})
    yield lambda w: ((None,), {})
    yield lambda w: ((print,), {})
    yield lambda w: ((ValueError("q"),), {})
    if name == "__init__":
        yield lambda w: ((sleep_once(),), {"loop": w.loop})
    else:
        yield lambda w: ((5,), {})


def method_probe(method, letter, make_arguments, turns):
    def probe(world):
        args, kwargs = make_arguments(world)
        attempt(lambda: method(getattr(world, letter), *args, **kwargs))
        for _ in range(turns):
            attempt(turn, world)

    return probe


def descriptor_probes():
    for cls, letters in ((_asyncio.Future, FUTURES), (_asyncio.Task, TASKS)):
        for name, found in sorted(vars(cls).items()):
            if name in SKIPPED:
                continue
            for letter in letters:
                label = f"{cls.__name__}.{name} {letter}"
                if type(found).__name__ == "getset_descriptor":
                    yield (
                        f"{label} get",
                        lambda w, d=found, o=letter: attempt(d.__get__, getattr(w, o)),
                    )
                    for value in (1, None, False):
                        yield (
                            f"{label} set {value}",
                            lambda w, d=found, o=letter, v=value: attempt(
                                d.__set__, getattr(w, o), v
                            ),
                        )
                    continue
                method = getattr(cls, name)
                for number, make in enumerate(arguments_of(name)):
                    turns = 4 if name == "__init__" else 1
                    yield f"{label} call {number}", method_probe(method, letter, make, turns)


def register(world, letter, name):
    """Register an object as a task, look, and take it out again."""
    op = getattr(world, letter)
    attempt(getattr(_asyncio, name), op)
    attempt(asyncio.all_tasks, world.loop)
    attempt(getattr(_asyncio, name.replace("_register", "_unregister")), op)


def enter_and_leave(world, letter):
    op = getattr(world, letter)
    attempt(_asyncio._enter_task, world.loop, op)
    attempt(asyncio.current_task, world.loop)
    attempt(turn, world)
    attempt(_asyncio._leave_task, world.loop, op)


def show(world, letter):
    attempt(repr, getattr(world, letter))
    attempt(lambda: getattr(world, letter).__await__())


def await_in(world, letter, task_class):
    async def wait():
        return await getattr(world, letter)

    task = task_class(wait(), loop=world.loop)
    world.loop.call_later(0.001, world.loop.stop)
    asyncio._set_running_loop(None)
    attempt(world.loop.run_forever)
    asyncio._set_running_loop(world.loop)
    attempt(repr, task)


def iterate(world, letter):
    op = getattr(world, letter)
    attempt(lambda: next(_asyncio.Future.__iter__(op)))
    with contextlib.suppress(Exception):
        iterator = _asyncio.Future.__await__(op)
        attempt(next, iterator)
        attempt(iterator.send, None)
        attempt(iterator.throw, ValueError)
        attempt(iterator.close)


def combine(world, letter):
    op = getattr(world, letter)
    attempt(asyncio.isfuture, op)
    attempt(asyncio.ensure_future, op)
    attempt(asyncio.gather, op)
    attempt(asyncio.shield, op)


def cycle(world, letter):
    op = getattr(world, letter)
    attempt(gc.get_referents, op)
    op.cycle = op
    attempt(gc.collect)


def replace_dict(world, letter):
    op = getattr(world, letter)
    attempt(lambda: op.__dict__)
    op.__dict__ = {"a": op}
    attempt(gc.collect)


def become_stock(world, letter):
    op = getattr(world, letter)
    attempt(setattr, op, "__class__", _asyncio.Future)
    attempt(repr, op)


def make_stock_ours(world, letter):
    op = _asyncio.Future(loop=world.loop)
    attempt(setattr, op, "__class__", world.Future)
    attempt(setattr, getattr(world, letter), "__class__", type(op))
    attempt(repr, op)


def stock_callback(world, letter):
    attempt(_asyncio.Future.add_done_callback, getattr(world, letter), print)
    attempt(turn, world)


def base_steps(world, letter):
    """Unbound methods of the base, one after the other, on one object."""
    op = getattr(world, letter)
    attempt(_asyncio.Future.add_done_callback, op, print)
    attempt(lambda: _asyncio.Future._callbacks.__get__(op))
    attempt(_asyncio.Future.set_result, op, 5)
    attempt(turn, world)
    attempt(_asyncio.Future.remove_done_callback, op, print)
    attempt(_asyncio.Future.__del__, op)


def clear_by_collector(world, letter):
    """Drop everything at once, in a cycle, with the loop."""
    op = getattr(world, letter)
    op.world = world
    asyncio._set_running_loop(None)


def debug_on(world, letter):
    world.loop.set_debug(True)
    op = getattr(world, letter)
    attempt(_asyncio.Future.set_result, op, 5)
    attempt(turn, world)
    attempt(op.cancel)
    attempt(turn, world)


def loop_closed(world, letter):
    op = getattr(world, letter)
    asyncio._set_running_loop(None)
    world.loop.close()
    attempt(_asyncio.Future.set_result, op, 5)
    attempt(op.cancel)
    attempt(repr, op)
    attempt(op.add_done_callback, print)


def awaited_by(world, letter):
    """Enter objects among those who await others, look, and take them out (from 3.14 on)."""
    op = getattr(world, letter)
    add = getattr(_asyncio, "future_add_to_awaited_by", None)
    discard = getattr(_asyncio, "future_discard_from_awaited_by", None)
    for other in (world.T, world.F, op, world.T, 5):
        attempt(add, op, other)
        attempt(add, other, op)
        attempt(lambda: op._asyncio_awaited_by)
    attempt(turn, world)
    attempt(gc.collect)
    for other in (world.T, 5, world.X):
        attempt(discard, op, other)
        attempt(discard, other, op)
    attempt(turn, world)


def looked_at(world, letter):
    """Have the call graphs drawn of an object, and of everything on the loop."""
    op = getattr(world, letter)
    attempt(lambda: asyncio.format_call_graph(op))
    for task in asyncio.all_tasks(world.loop):
        attempt(lambda task=task: asyncio.format_call_graph(task))


OBJECT_PROBES = {
    "awaited by": awaited_by,
    "looked at": looked_at,
    "enter and leave": enter_and_leave,
    "show": show,
    "awaited by a stock task": lambda w, o: await_in(w, o, _asyncio.Task),
    "awaited by a task": lambda w, o: await_in(w, o, w.Task),
    "iterate": iterate,
    "combine": combine,
    "stock callback": stock_callback,
    "cycle": cycle,
    "replace dict": replace_dict,
    "become stock": become_stock,
    "make stock ours": make_stock_ours,
    "base steps": base_steps,
    "cleared by the collector": clear_by_collector,
    "debug on": debug_on,
    "loop closed": loop_closed,
}


def object_probes():
    for letter in FUTURES:
        for name in HELPERS:
            if hasattr(_asyncio, name):
                yield f"{name} {letter}", lambda w, o=letter, n=name: register(w, o, n)
        for name, probe in OBJECT_PROBES.items():
            yield f"{name} {letter}", lambda w, o=letter, p=probe: p(w, o)


def mixed_bases(world):
    attempt(lambda: type("Mixed", (world.Task, world.Future), {}))


def mixed_with_stock(world):
    def make():
        mixed = type("Mixed", (world.Future, _asyncio.Task), {})
        return mixed(sleep_once(), loop=world.loop)

    attempt(make)
    attempt(turn, world)


def task_without_init(world):
    silent = type("Silent", (world.Task,), {"__init__": lambda self: None})
    task = silent()
    for action in (task.cancel, task.done, task.__repr__, task.get_coro, task.get_name):
        attempt(action)
    attempt(_asyncio.Task.cancel, task)
    if hasattr(task, "get_context"):
        attempt(task.get_context)
    attempt(turn, world)


def init_twice(world):
    for task in (world.T, world.X, world.P):
        attempt(task.__init__, sleep_once(), loop=world.loop)
        attempt(turn, world)
        attempt(turn, world)


SINGLE_PROBES = {
    "mixed bases": mixed_bases,
    "mixed with stock": mixed_with_stock,
    "task without init": task_without_init,
    "init twice": init_twice,
}


def all_probes():
    found = dict(itertools.chain(descriptor_probes(), object_probes(), SINGLE_PROBES.items()))
    return found


# ---- running them ----


def run_one(probe, make):
    """Run a probe on fresh objects, then take everything down."""
    signal.alarm(10)
    world = make()
    attempt(probe, world)
    asyncio._set_running_loop(None)
    loop = world.loop
    vars(world).clear()
    gc.collect()
    attempt(loop.close)
    del loop, world
    gc.collect()
    signal.alarm(0)


def run_in_child(names, probes, make):
    """Run probes in a forked child; return the signal that ended it, or 0."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            for name in names:
                run_one(probes[name], make)
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(which, *names):
    probes = all_probes()
    kinds = own_types(which)
    warnings.simplefilter("ignore")
    devnull = os.open(os.devnull, os.O_WRONLY)
    report = os.fdopen(os.dup(1), "w")
    for number in (1, 2):
        os.dup2(devnull, number)
    # Whatever runs first imports modules and fills caches: that is done once, here.
    run_one(show_everything, lambda: make_world(*kinds))
    gc.freeze()
    died = {}
    size = 1 if names else PER_CHILD
    wanted = list(names or probes)
    for start in range(0, len(wanted), size):
        batch = wanted[start : start + size]
        number = run_in_child(batch, probes, lambda: make_world(*kinds))
        if number == 0:
            continue
        alone = {name: run_in_child([name], probes, lambda: make_world(*kinds)) for name in batch}
        guilty = {name: number for name, number in alone.items() if number}
        died.update(guilty or {f"together: {' | '.join(batch)}": number})
    json.dump({"probes": len(probes), "died": died}, report)


def show_everything(world):
    for op in vars(world).values():
        attempt(repr, op)
    attempt(contextvars.copy_context)


if __name__ == "__main__":
    main(*sys.argv[1:])
