"""What can be seen of tasks from outside: who awaits whom, in this process and from another one.

Futures know who awaits them from Python 3.14 on. What asyncio shows of its own tasks is the
measure: the same program runs on its loop and on ours.
"""

import asyncio
import gc
import re
import socket
import sys
import threading
import weakref

import pytest

import casyncio

pytestmark = pytest.mark.skipif(
    not hasattr(asyncio, "capture_call_graph"),
    reason="this Python's futures do not know who awaits them",
)

# Waits in every way there is, says so, and stays like that.
PROGRAM = """
async def leaf(future):
    await future

async def branch(future):
    await leaf(future)

async def in_group(future):
    async with asyncio.TaskGroup() as group:
        group.create_task(branch(future), name="grouped one")
        group.create_task(branch(future), name="grouped two")

async def gathering(future):
    await asyncio.gather(branch(future), asyncio.create_task(leaf(future), name="gathered"))

async def shielding(task):
    await asyncio.shield(task)

async def waiting(tasks):
    await asyncio.wait(tasks)

async def with_limit(future):
    async with asyncio.timeout(1000):
        await branch(future)

async def main():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    one = loop.create_task(branch(future), name="shielded")
    two = asyncio.create_task(leaf(loop.create_future()))
    tasks = [
        loop.create_task(in_group(future), name="the group"),
        loop.create_task(gathering(future), name="gatherer"),
        loop.create_task(shielding(one), name="shielding"),
        loop.create_task(waiting([one, two]), name="waiting"),
        loop.create_task(with_limit(future), name="with limit"),
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    print("ready", flush=True)
    await tasks[0]

loop = new_loop()
loop.run_until_complete(main())
"""
# Waits in what is C in our loop and Python in asyncio's.
RECEIVER = """
import socket

async def receive(sock):
    await asyncio.get_running_loop().sock_recv(sock, 1)

async def main():
    one, other = socket.socketpair()
    one.setblocking(False)
    task = asyncio.create_task(receive(one), name="receiver")
    await asyncio.sleep(0)
    print("ready", flush=True)
    await task

loop = new_loop()
loop.run_until_complete(main())
"""


def seen_from_outside(child, code, tool):
    """Run ``python -m asyncio ps`` (or pstree) on a program; return its status and its lines."""
    process = child.start(code)
    assert process.stdout.readline() == "ready\n"
    result = child.finish(child.command("-m", "asyncio", tool, str(process.pid)))
    process.kill()
    return result


def may_look(child, tool, code=PROGRAM):
    """Return what the tool shows of asyncio's own tasks; skip where it must not look."""
    code = code.replace("new_loop()", "asyncio.SelectorEventLoop()")
    stock = seen_from_outside(child, code, tool)
    if stock.status != 0 and "ermission" in stock.out + stock.err:
        pytest.skip(f"{sys.executable} -m asyncio {tool} may not look into another process here")
    assert stock.status == 0, stock
    return stock


def table(text):
    """Return the rows of ps without the numbers of threads and objects, in one order."""
    rows = [re.sub(r"^\d+ ", "", re.sub(r"0x[0-9a-f]+", "0x", row)) for row in text.splitlines()]
    return sorted(re.sub(r"\S*child\d+\.py| +", " ", row) for row in rows)


def tree(text):
    """Return the lines of pstree, those of each level in one order."""
    lines = [re.sub(r"\S*child\d+\.py:(\d+)", r"child:\1", line) for line in text.splitlines()]
    return sorted(re.sub("[│├└─]", " ", line) for line in lines)


def test_ps_shows_the_tasks_of_a_process_as_it_shows_asyncios(child):
    stock = may_look(child, "ps")
    ours = seen_from_outside(child, PROGRAM, "ps")
    assert (ours.status, table(ours.out)) == (0, table(stock.out)), ours.err
    for name in ("Task-1", "the group", "grouped two", "gathered", "shielded", "with limit"):
        assert name in ours.out


def test_pstree_shows_who_awaits_whom_as_it_shows_it_of_asyncios(child):
    stock = may_look(child, "pstree")
    ours = seen_from_outside(child, PROGRAM, "pstree")
    assert (ours.status, tree(ours.out)) == (0, tree(stock.out)), ours.err
    assert re.search(r"Task-1\n.*main.*\n.*the group\n", ours.out), ours.out


@pytest.mark.ours("asyncio's coroutines are Python")
def test_pstree_shows_who_calls_a_wait_that_is_in_c_and_not_the_wait(child):
    """It reads frames out of the memory of the process: what is C has none."""
    if casyncio.Task is asyncio.Task:
        pytest.skip(f"the wait is asyncio's own here: {casyncio._stock_tasks_reason}")
    stock = may_look(child, "pstree", RECEIVER)
    ours = seen_from_outside(child, RECEIVER, "pstree")
    inside = [line for line in tree(stock.out) if "sock_recv" in line]
    assert len(inside) == 1 and re.search(r"receiver\n.*receive .*child", ours.out)
    assert tree(ours.out) == [line for line in tree(stock.out) if line not in inside], ours.err


# ---- in this process ----


def shown(graph):
    """Return a call graph as (name, functions, [graphs of those who await it])."""
    get_name = getattr(graph.future, "get_name", lambda: "future")
    functions = [entry.frame.f_code.co_name for entry in graph.call_stack]
    return get_name(), functions, sorted(shown(parent) for parent in graph.awaited_by)


async def leaf(future):
    await future


async def branch(future):
    await leaf(future)


async def grouping(future):
    async with asyncio.TaskGroup() as group:
        group.create_task(branch(future), name="grouped")


async def gathering(future):
    await asyncio.gather(asyncio.create_task(branch(future), name="gathered"))


async def shielding(future):
    await asyncio.shield(future)


async def limiting(future):
    await asyncio.wait_for(branch(future), 1000)


WAYS = {
    "await": leaf,
    "await in await": branch,
    "group": grouping,
    "gather": gathering,
    "shield": shielding,
    "wait_for": limiting,
}


@pytest.mark.parametrize("kind", ["future", "task"])
@pytest.mark.parametrize("way", WAYS)
def test_a_call_graph_shows_who_awaits_a_future(same_outcome, turns, way, kind):
    def act(loop):
        awaited = loop.create_future()
        if kind == "task":
            awaited = loop.create_task(leaf(awaited), name="awaited")
        task = loop.create_task(WAYS[way](awaited), name="awaiting")
        turns(loop, 4)
        seen = shown(asyncio.capture_call_graph(awaited)), shown(asyncio.capture_call_graph(task))
        task.cancel()
        turns(loop, 8)
        return seen, shown(asyncio.capture_call_graph(awaited))

    (first, _), after = same_outcome(act)
    assert {"group": "grouped", "gather": "gathered"}.get(way, "awaiting") in str(first)
    assert after[2] == []


def test_a_call_graph_shows_all_who_await_a_future(same_outcome, turns):
    def act(loop):
        future = loop.create_future()
        tasks = [loop.create_task(asyncio.wait([future]), name=f"task {n}") for n in range(3)]
        seen = []
        for task in (None, *tasks):
            if task is not None:
                task.cancel()
            turns(loop, 2)
            seen.append(shown(asyncio.capture_call_graph(future)))
        return seen

    seen = same_outcome(act)
    assert [len(awaiting) for _, _, awaiting in seen] == [3, 2, 1, 0]


def test_a_task_sees_its_own_call_graph(same_outcome):
    def act(loop):
        async def inner():
            return shown(asyncio.capture_call_graph()), asyncio.format_call_graph()

        async def outer():
            return await loop.create_task(inner(), name="inner")

        graph, text = loop.run_until_complete(loop.create_task(outer(), name="outer"))
        return graph, re.sub(r"id=\w+|/\S+/", "", text)

    graph, text = same_outcome(act)
    assert graph == ("inner", ["inner"], [("outer", ["outer"], [])])
    assert "Awaited by" in text


async def in_queue(face):
    await face.Queue().get()


async def in_lock(face):
    lock = face.Lock()
    await lock.acquire()
    await lock.acquire()


async def in_semaphore(face):
    async with face.Semaphore(0):
        pass


async def in_condition(face):
    condition = face.Condition()
    async with condition:
        await condition.wait()


async def in_barrier(face):
    await face.Barrier(2).wait()


async def in_sleep(face):
    await face.sleep(1000)


async def in_limit(face):
    await face.wait_for(face.Event().wait(), 1000)


async def in_group(face):
    async with face.TaskGroup() as group:
        group.create_task(in_queue(face), name="grouped")


async def in_stream(face):
    async for _ in face.StreamReader():
        pass


async def in_socket(face):
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        await asyncio.get_running_loop().sock_recv(one, 1)


@pytest.mark.parametrize("face", [asyncio, casyncio], ids=["asyncio", "casyncio"])
@pytest.mark.parametrize(
    "wait",
    [
        in_queue,
        in_lock,
        in_semaphore,
        in_condition,
        in_barrier,
        in_sleep,
        in_limit,
        in_group,
        in_stream,
        in_socket,
    ],
    ids=lambda wait: wait.__name__,
)
def test_call_graphs_and_stacks_show_the_waits_that_are_in_c(loop, new_stock, turns, wait, face):
    def names(loop, face):
        task = loop.create_task(wait(face), name="waiting")
        turns(loop, 4)
        _, functions, _ = shown(asyncio.capture_call_graph(task))
        lines = asyncio.format_call_graph(task).splitlines()[2:]
        stack = [frame.f_code.co_name for frame in task.get_stack()]
        for other in asyncio.all_tasks(loop):
            other.cancel()
        turns(loop, 4)
        assert task.cancelled()
        return functions, [re.sub(".* in (async )?", "", line) for line in lines], stack

    ours, stock = names(loop, face), names(new_stock(), asyncio)
    # Where a function of asyncio's waits for others of its own, these are not there.
    assert [seen[-2:] for seen in ours] == [seen[-2:] for seen in stock]
    assert len(ours[1]) > 1 and set(ours[0]) <= set(stock[0])


def test_a_call_graph_is_printed(loop, capsys):
    async def main():
        asyncio.print_call_graph(file=sys.stdout)

    loop.run_until_complete(loop.create_task(main(), name="the name"))
    out = capsys.readouterr().out
    assert "* Task(name='the name', id=0x" in out and "async" in out and "main()" in out


def pairs(loop, new_stock):
    """Yield (future, awaiting) for each mix of kinds: ours, asyncio's, made of a subclass."""

    class OfTask(asyncio.Task):
        pass

    class OfFuture(asyncio.Future):
        pass

    class OfOurFuture(type(loop.create_future())):
        pass

    for make_future in (
        loop.create_future,
        lambda: asyncio.Future(loop=loop),
        lambda: OfFuture(loop=loop),
        lambda: OfOurFuture(loop=loop),
    ):
        for make_task in (
            loop.create_task,
            lambda coro: asyncio.Task(coro, loop=loop),
            lambda coro: OfTask(coro, loop=loop),
        ):
            future = make_future()
            yield future, make_task(leaf(future))


def test_every_kind_of_future_knows_a_task_of_every_kind(loop, turns, new_stock):
    for future, task in pairs(loop, new_stock):
        assert future._asyncio_awaited_by is None
        turns(loop)
        assert future._asyncio_awaited_by == {task}, (future, task)
        future.set_result(None)
        assert future._asyncio_awaited_by == {task}
        turns(loop)
        assert not future._asyncio_awaited_by and task.done()


def test_a_python_future_is_awaited_and_knows_nobody(loop, turns):
    future = asyncio.futures._PyFuture(loop=loop)
    task = loop.create_task(leaf(future))
    turns(loop)
    assert task._fut_waiter is future
    future.set_result(1)
    turns(loop)
    assert task.done() and not future._asyncio_awaited_by


def test_a_future_keeps_a_waiting_task_alive_and_the_collector_frees_both(loop, turns, collect):
    future = loop.create_future()
    seen = weakref.ref(loop.create_task(leaf(future)))
    turns(loop)
    assert seen() in future._asyncio_awaited_by
    seen()._log_destroy_pending = False
    dead = weakref.ref(future)
    del future
    collect()
    assert seen() is None and dead() is None and asyncio.all_tasks(loop) == set()


def test_a_name_is_a_number_until_it_is_asked_for(loop, turns):
    first, second = (loop.create_task(leaf(loop.create_future())) for _ in range(2))
    turns(loop)
    names = [first.get_name(), second.get_name()]
    assert names[0].startswith("Task-") and names[1] == f"Task-{int(names[0][5:]) + 1}"
    second.set_name(7)
    assert second.get_name() == "7" and first.get_name() == names[0]


# ---- the list of tasks ----


def test_all_tasks_has_a_task_from_its_creation_to_its_end(loop, turns):
    future = loop.create_future()
    task = loop.create_task(leaf(future))
    assert asyncio.all_tasks(loop) == {task}
    turns(loop)
    assert asyncio.all_tasks(loop) == {task}
    future.set_result(None)
    turns(loop)
    assert task.done() and asyncio.all_tasks(loop) == set()


@pytest.mark.parametrize("end", ["result", "exception", "cancel", "dropped"])
def test_a_task_that_ended_leaves_the_list_and_its_memory_serves_again(loop, turns, collect, end):
    async def body(future):
        await future

    for _ in range(4):
        future = loop.create_future()
        tasks = [loop.create_task(body(future)) for _ in range(3)]
        turns(loop)
        assert len(asyncio.all_tasks(loop)) == 3
        if end == "result":
            future.set_result(None)
        elif end == "exception":
            future.set_exception(ValueError("bad"))
        elif end == "cancel":
            tasks[0].cancel()
            tasks[1].cancel()
            future.cancel()
        else:
            for task in tasks:
                task._log_destroy_pending = False
            del future, task
        turns(loop, 2)
        if end == "exception":
            assert [str(task.exception()) for task in tasks] == ["bad"] * 3
        del tasks
        gc.collect()
        assert asyncio.all_tasks(loop) == set()


@pytest.mark.parametrize("keep", [False, True])
def test_a_task_that_dies_leaves_the_list_unless_somebody_finds_it_there(same_outcome, keep):
    def act(loop):
        heard, kept = [], []

        def handler(loop, context):
            found = asyncio.all_tasks(loop)
            heard.append((context["message"], len(found)))
            if keep:
                kept.extend(found)

        loop.set_exception_handler(handler)
        coroutine = leaf(loop.create_future())
        loop.create_task(coroutine)
        loop.close()
        seen = len(kept), len(asyncio.all_tasks(loop))
        kept.clear()
        coroutine.close()
        return heard, seen, len(asyncio.all_tasks(loop))

    heard, _, left = same_outcome(act)
    assert heard[0][0] == "Task was destroyed but it is pending!" and left == 0


def test_tasks_of_a_thread_that_has_ended_are_still_there(new_loop, turns):
    loop = new_loop()
    tasks = []

    def body():
        tasks.extend(loop.create_task(leaf(loop.create_future()), name=str(n)) for n in range(3))
        turns(loop)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(30)
    gc.collect()
    assert asyncio.all_tasks(loop) == set(tasks)
    for task in tasks:
        task.cancel()
    turns(loop, 2)
    assert asyncio.all_tasks(loop) == set() and all(task.cancelled() for task in tasks)


def test_another_thread_finds_the_current_task(loop, in_thread):
    async def main():
        return in_thread(lambda: asyncio.current_task(loop)) is asyncio.current_task()

    assert loop.run_until_complete(main())
    assert in_thread(lambda: asyncio.current_task(loop)) is None


def test_a_class_in_the_place_of_asyncios_task_is_what_loops_make(loop, monkeypatch):
    class Mine(asyncio.Task):
        pass

    usual = loop.create_task(asyncio.sleep(0))
    monkeypatch.setattr(asyncio.tasks, "Task", Mine)
    other = loop.create_task(asyncio.sleep(0))
    assert type(other) is Mine and type(usual) is not Mine
    loop.run_until_complete(asyncio.wait([usual, other]))


# ---- the current task ----

MEDDLING = {
    "no loop": lambda loop: asyncio._set_running_loop(None),
    "no task": lambda loop: asyncio.tasks._swap_current_task(loop, None),
    "another task": lambda loop: asyncio.tasks._swap_current_task(loop, "another"),
}


@pytest.mark.parametrize("way", MEDDLING)
@pytest.mark.parametrize("fails", [False, True])
def test_who_meddles_with_the_current_task_hears_what_asyncio_says(same_outcome, way, fails):
    def act(loop):
        heard = []
        loop.set_exception_handler(lambda loop, context: heard.append(context["exception"]))

        async def body():
            MEDDLING[way](loop)
            if fails:
                raise SystemExit("context")

        task = loop.create_task(body(), name="meddler")
        loop.call_soon(asyncio._set_running_loop, loop)
        loop.call_soon(lambda: asyncio.tasks._swap_current_task(loop, None))
        loop.call_soon(loop.stop)
        loop.run_forever()
        return (
            [(type(e), re.sub(r"<.*>", "<>", str(e)), repr(e.__context__)) for e in heard],
            task.done(),
        )

    heard, _ = same_outcome(act)
    assert "RuntimeError" in str(heard)


def test_no_task_is_entered_inside_of_another(same_outcome):
    def act(loop):
        heard = []
        loop.set_exception_handler(lambda loop, context: heard.append(context["exception"]))
        asyncio._set_running_loop(loop)
        asyncio.tasks._swap_current_task(loop, "the outer one")
        asyncio._set_running_loop(None)
        task = loop.create_task(asyncio.sleep(0), name="inner")
        loop.call_soon(loop.stop)
        loop.run_forever()
        asyncio._set_running_loop(loop)
        asyncio.tasks._swap_current_task(loop, None)
        asyncio._set_running_loop(None)
        task._log_destroy_pending = False
        task.get_coro().close()
        return [(type(e), re.sub(r"<.*?>", "<>", str(e))) for e in heard], task.done()

    heard, _ = same_outcome(act)
    assert "while another task" in str(heard)
