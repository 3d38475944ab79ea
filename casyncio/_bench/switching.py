"""What does it cost to create tasks and to switch between them?"""

from __future__ import annotations

import asyncio
import types

from .harness import noop, workload


@types.coroutine
def plain_yield():
    """Suspend once, as asyncio.sleep(0) does inside."""
    yield


async def yields(n):
    """Yield n times: a switch, and as little Python as there can be."""
    for _ in range(n):
        await plain_yield()


async def soon_with(loop, n, result):
    """Await n futures, each set by call_soon()."""
    create_future = loop.create_future  # the look-ups are the interpreter's
    for _ in range(n):
        future = create_future()
        loop.call_soon(future.set_result, result)
        await future


async def sleep0(tasks, n):
    """Share n times ``sleep(0)`` among this many tasks; return how many were done."""
    each = max(1, n // tasks)

    async def spin():
        for _ in range(each):
            await asyncio.sleep(0)

    if tasks == 1:
        await spin()
    else:
        await asyncio.gather(*[spin() for _ in range(tasks)])
    return each * tasks


@workload()
async def sleep0_1_task(loop, n):
    """One task gives way to nobody: one step per turn."""
    return await sleep0(1, n)


@workload(start=1_000, quick=True)
async def sleep0_100_tasks(loop, n):
    """A hundred tasks give way to each other."""
    return await sleep0(100, n)


@workload(start=50_000)
async def sleep0_10k_tasks(loop, n):
    """Ten thousand tasks give way to each other: more than the caches hold."""
    return await sleep0(10_000, n)


@workload(quick=True)
async def create_task_await(loop, n):
    """A task is created and awaited, one after another."""
    create_task = loop.create_task
    for _ in range(n):
        await create_task(noop())


@workload(start=1_000, quick=True)
async def gather_1000(loop, n):
    """``gather`` over a thousand coroutines that finish at once."""
    rounds = max(1, n // 1000)
    for _ in range(rounds):
        await asyncio.gather(*[noop() for _ in range(1000)])
    return rounds * 1000


@workload(start=1_000, quick=True)
async def taskgroup_1000(loop, n):
    """A TaskGroup of a thousand tasks that finish at once."""
    rounds = max(1, n // 1000)
    for _ in range(rounds):
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(noop())
    return rounds * 1000


@workload(quick=True)
async def future_pingpong(loop, n):
    """Two tasks wake each other through futures."""
    box = {"ping": loop.create_future(), "pong": loop.create_future()}

    async def side(mine, other):
        for _ in range(n):
            await box[mine]
            box[mine] = loop.create_future()
            box[other].set_result(None)

    one = loop.create_task(side("ping", "pong"))
    two = loop.create_task(side("pong", "ping"))
    box["ping"].set_result(None)
    await two
    await one


@workload()
async def yield_100_tasks(loop, n):
    """A bare yield in 100 tasks: a switch with as little Python as there can be."""
    await asyncio.wait([loop.create_task(yields(n // 100 + 1)) for _ in range(100)])


@workload()
async def create_task_batches(loop, n):
    """Make 1,000 tasks that do nothing, then await each."""
    for _ in range(n // 1000 + 1):
        for task in [loop.create_task(noop()) for _ in range(1000)]:
            await task
    return (n // 1000 + 1) * 1000


@workload()
async def future_call_soon(loop, n):
    """Await a future that a callback sets."""
    await soon_with(loop, n, None)


@workload()
async def future_call_soon_value(loop, n):
    """The same, with a value."""
    await soon_with(loop, n, 5)


@workload()
async def current_task_100_tasks(loop, n):
    """Ask for the current task, then yield, in 100 tasks."""

    async def ask():
        for _ in range(n // 100 + 1):
            asyncio.current_task()
            await plain_yield()

    await asyncio.wait([loop.create_task(ask()) for _ in range(100)])


@workload(needs="eager_task_factory")
async def eager_tasks_done_at_once(loop, n):
    """Make eager tasks that do not wait."""
    loop.set_task_factory(asyncio.eager_task_factory)
    for _ in range(n):
        loop.create_task(noop())
    loop.set_task_factory(None)
