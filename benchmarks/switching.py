"""What does it cost to create tasks and to switch between them?"""

from __future__ import annotations

import asyncio

from benchmarks.harness import noop, workload


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
