"""Whether loops make tasks of ours, why not, and how these bear the interpreter's own code."""

import _asyncio
import json
import pathlib
import sys

import pytest

PROBES = pathlib.Path(__file__).with_name("crash_probes.py")

# Everything that a program needs, in few lines; prints the types that the loop made.
PROGRAM = """
import asyncio, contextvars

async def twice(value):
    await asyncio.sleep(0)
    return value * 2

async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.001, future.set_result, 4)
    assert await future == 4
    task = loop.create_task(twice(3), name="named")
    assert task.get_name() == "named" and task in asyncio.all_tasks()
    assert await task == 6
    assert await asyncio.gather(*(twice(n) for n in range(5))) == [0, 2, 4, 6, 8]
    try:
        await asyncio.wait_for(loop.create_future(), 0.005)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")
    async with asyncio.TaskGroup() as group:
        child = group.create_task(twice(1))
    assert child.result() == 2
    cancelled = loop.create_task(asyncio.sleep(10))
    await asyncio.sleep(0)
    cancelled.cancel("why")
    try:
        await cancelled
    except asyncio.CancelledError as error:
        assert error.args == ("why",)
    current = asyncio.current_task()
    assert current.get_coro().__name__ == "main"
    if hasattr(asyncio, "eager_task_factory"):
        loop.set_task_factory(asyncio.eager_task_factory)
        assert await loop.create_task(twice(5)) == 10
    loop.set_debug(True)
    assert await asyncio.create_task(twice(5)) == 10
    return type(current).__module__, type(future).__module__

loop = new_loop()
print(*loop.run_until_complete(main()))
loop.close()
"""

# Gives the native half before the package looks at it; {change} is done to it.
PATCHED = """
import importlib.util, pathlib, sys
folder = pathlib.Path(importlib.util.find_spec("casyncio").origin).parent
[path] = folder.glob("_native*.so")
spec = importlib.util.spec_from_file_location("casyncio._native", path)
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)
sys.modules["casyncio._native"] = native
{change}
"""

CHANGES = {
    "no type": "del native.Task",
    "nothing there": "native.mirror_fields = lambda op: dict.fromkeys(fields(op), 0)",
    "another value": "native.mirror_fields = lambda op: fields(op) | {'result': 1}",
    "flags moved": "native.mirror_fields = lambda op: fields(op) | {'log_tb': 1}",
    "state moved": "native.mirror_fields = lambda op: fields(op) | {'state': 2}",
    "name moved": "native.mirror_fields = lambda op: fields(op) | {'name': 7}",
    "cancels moved": "native.mirror_fields = lambda op: fields(op) | {'num_cancels_requested': 1}",
    "loop moved": "native.mirror_fields = lambda op: fields(op) | {'loop': 0}",
}
# Where asyncio keeps tasks in lists and futures know who awaits them.
if hasattr(_asyncio, "future_add_to_awaited_by"):
    CHANGES |= {
        "awaiter moved": "native.mirror_fields = lambda op: fields(op) | {'awaited_by': 0}",
        "set flag moved": "native.mirror_fields = lambda op: fields(op) | {'awaited_by_is_set': 1}",
        "kind moved": "native.mirror_fields = lambda op: fields(op) | {'is_task': 0}",
        "node moved": "native.mirror_fields = lambda op: fields(op) | {'linked': -1}",
    }
for name, change in CHANGES.items():
    CHANGES[name] = "fields = native.mirror_fields\n" + change


def patched(change):
    return PATCHED.replace("{change}", change)


def without_prelude(child, code, env=None):
    """Run code in a child that has not imported casyncio yet."""
    result = child.finish(child.command("-W", "error", "-c", code, env=env))
    assert result.status == 0, f"status {result.status}: {result.out}{result.err}"
    assert result.err == ""
    return result.out


@pytest.mark.ours("asyncio has one kind of task")
def test_loops_make_native_tasks_and_info_says_so(child):
    code = "import casyncio; new_loop = casyncio.new_event_loop\n" + PROGRAM
    assert without_prelude(child, code).split() == ["casyncio", "casyncio"]
    info = child.finish(child.command("-m", "casyncio", "info"))
    assert "casyncio.Task and casyncio.Future (native)" in info.out, info


@pytest.mark.ours("asyncio has one kind of task")
def test_stock_tasks_can_be_asked_for(child):
    env = {"CASYNCIO_TASKS": "stock"}
    code = "import casyncio; new_loop = casyncio.new_event_loop\n" + PROGRAM
    assert without_prelude(child, code, env).split() == ["_asyncio", "_asyncio"]
    code = (
        "import casyncio, asyncio\n"
        "print(casyncio.Task is asyncio.Task, casyncio.Future is asyncio.Future)"
    )
    assert without_prelude(child, code, env).split() == ["True", "True"]
    info = child.finish(child.command("-m", "casyncio", "info", env=env))
    assert info.status == 0
    assert "_asyncio.Task and _asyncio.Future (asked for by CASYNCIO_TASKS=stock)" in info.out


@pytest.mark.ours("asyncio has one kind of task")
@pytest.mark.parametrize("change", CHANGES)
def test_a_struct_that_does_not_fit_gives_stock_tasks(child, change):
    code = patched(CHANGES[change])
    code += "import casyncio; new_loop = casyncio.new_event_loop\n" + PROGRAM
    assert without_prelude(child, code).split() == ["_asyncio", "_asyncio"]


@pytest.mark.ours("asyncio has one kind of task")
@pytest.mark.parametrize("change", ["no type", "nothing there"])
def test_info_says_why_tasks_are_stock(child, change):
    reason = "another size" if change == "no type" else "other places"
    code = patched(CHANGES[change]) + "from casyncio import _info; sys.exit(_info.main())"
    out = without_prelude(child, code)
    [line] = [line for line in out.splitlines() if line.startswith("tasks")]
    assert "_asyncio.Task and _asyncio.Future" in line and reason in line


# Ways in which asyncio might keep its tasks that are not the known ones.
OTHER_REGISTRIES = (
    [
        "_asyncio._register_task = lambda task: None",
        "_asyncio._unregister_task = lambda task: None",
        "_asyncio._set_running_loop = lambda loop: None",
        "_asyncio._swap_current_task = lambda loop, task: task",
        "del _asyncio._swap_current_task",
        "del _asyncio._enter_task",
    ]
    if hasattr(_asyncio, "future_add_to_awaited_by")
    else [
        "asyncio.tasks._current_tasks = type('D', (dict,), {})()",
        "ws().data = frozenset()",
        "ws(None)",
    ]
)


@pytest.mark.ours("asyncio has one kind of task")
@pytest.mark.parametrize("change", OTHER_REGISTRIES)
def test_a_registry_of_another_kind_gives_stock_tasks(child, change):
    code = f"""
import asyncio, sys, _asyncio
name = "_scheduled_tasks" if hasattr(asyncio.tasks, "_scheduled_tasks") else "_all_tasks"
def ws(*value):
    if value:
        setattr(asyncio.tasks, name, *value)
    return getattr(asyncio.tasks, name)
{change}
import casyncio
print(casyncio.Task.__module__, casyncio._stock_tasks_reason)
"""
    assert without_prelude(child, code).split()[0] == "_asyncio"


@pytest.mark.ours("asyncio has one kind of task")
def test_the_guard_leaves_no_task_behind(child):
    code = """
import asyncio, gc
messages = []
import casyncio
gc.collect()
loop = casyncio.new_event_loop()
loop.set_exception_handler(lambda loop, context: messages.append(context))
print(asyncio.all_tasks(loop), [t for t in gc.get_objects() if isinstance(t, asyncio.Future)])
loop.close()
assert not messages
"""
    assert without_prelude(child, code).strip() == "set() []"


@pytest.mark.ours("probes casyncio's types against asyncio's")
@pytest.mark.timeout(240, method="thread")
def test_stock_code_working_on_our_objects_crashes_only_where_it_crashes_on_its_own(child):
    result = child.finish(child.command(str(PROBES), "ours"), timeout=200)
    assert result.status == 0, result.err
    report = json.loads(result.out)
    assert report["probes"] > 1900
    died = report["died"]
    if died:
        stock = child.finish(child.command(str(PROBES), "stock", *died), timeout=200)
        known = json.loads(stock.out)["died"]
        died = {name: number for name, number in died.items() if name not in known}
    assert not died, f"{sys.version}: died by signals: {died}"
