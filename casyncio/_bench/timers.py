"""What do timers cost: made and cancelled among many others, and fired?"""

from __future__ import annotations

import asyncio

from .harness import nothing, workload


async def live_timers(loop):
    """Let 100,000 far timers wait in the loop, as a server with many connections has them."""
    handles = [loop.call_later(1000 + i % 977, nothing) for i in range(100_000)]
    await asyncio.sleep(0)
    return handles


async def make_and_cancel(loop, n):
    """Make and cancel n timers; the loop gets a turn after each thousand."""
    for i in range(n):
        loop.call_later(500 + i % 397, nothing).cancel()
        if i % 1000 == 999:
            await asyncio.sleep(0)


@workload(start=2_000, quick=True)
async def timer_schedule_cancel(loop, n):
    """A timer is made and cancelled at once, with no other timers."""
    await make_and_cancel(loop, n)


@workload(start=2_000, quick=True, setup=live_timers)
async def timer_schedule_cancel_100k_live(loop, n):
    """A timer is made and cancelled while 100,000 others wait."""
    await make_and_cancel(loop, n)


@workload(start=100_000, limit=100_000, quick=True)
async def timer_fire_100k(loop, n):
    """A hundred thousand timers are made, in mixed order, and fire within a millisecond."""
    done = loop.create_future()
    left = n

    def fire():
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    call_later = loop.call_later
    for i in range(n):
        call_later((i * 7919 % 1000) * 1e-6, fire)
    await done


@workload()
async def sleep_tiny_100_tasks(loop, n):
    """asyncio.sleep() of a nanosecond in 100 tasks."""

    async def nap():
        for _ in range(n // 100 + 1):
            await asyncio.sleep(1e-9)

    await asyncio.wait([loop.create_task(nap()) for _ in range(100)])
