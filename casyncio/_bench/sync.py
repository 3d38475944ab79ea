"""What do queues, locks, events and timeouts cost?"""

from __future__ import annotations

import asyncio

from .harness import noop, workload


@workload(quick=True)
async def queue_bounded(loop, n):
    """A producer and a consumer on a Queue of ten places."""
    queue = asyncio.Queue(maxsize=10)

    async def produce():
        for i in range(n):
            await queue.put(i)

    async def consume():
        for _ in range(n):
            await queue.get()

    await asyncio.gather(produce(), consume())


async def contend(guard, users, n):
    """Let ``users`` tasks take and release ``guard`` n times in all; return how many were done."""
    each = max(1, n // users)

    async def user():
        for _ in range(each):
            async with guard:
                await asyncio.sleep(0)

    await asyncio.gather(*[user() for _ in range(users)])
    return each * users


@workload(start=1_000)
async def lock_contention_10(loop, n):
    """Ten tasks want one Lock."""
    return await contend(asyncio.Lock(), 10, n)


@workload(start=1_000)
async def semaphore_contention_50(loop, n):
    """Fifty tasks want a Semaphore of five."""
    return await contend(asyncio.Semaphore(5), 50, n)


@workload(start=1_000)
async def event_wake_100(loop, n):
    """One Event wakes a hundred waiting tasks, again and again."""
    event = asyncio.Event()
    each = max(1, n // 100)
    waiting = 0

    async def waiter():
        nonlocal waiting
        for _ in range(each):
            waiting += 1
            await event.wait()

    tasks = [loop.create_task(waiter()) for _ in range(100)]
    for _ in range(each):
        while waiting < 100:
            await asyncio.sleep(0)
        waiting = 0
        event.set()
        event.clear()
    await asyncio.gather(*tasks)
    return each * 100


@workload(quick=True)
async def timeout_around_sleep0(loop, n):
    """``asyncio.timeout`` round a short wait: a timer made and cancelled each time."""
    for _ in range(n):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)


@workload(quick=True)
async def wait_for_coroutine(loop, n):
    """``wait_for`` round a coroutine that finishes at once."""
    for _ in range(n):
        await asyncio.wait_for(noop(), 10)
