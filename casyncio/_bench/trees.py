"""What does a loop gain in whole programs: trees of tasks, in the manner of pyperformance?"""

from __future__ import annotations

import asyncio
import random

from .harness import noop, workload

BRANCHES = 6
LEVELS = 5
TASKS = sum(BRANCHES**level for level in range(LEVELS + 1))


async def tree(level, leaf):
    """Gather BRANCHES subtrees down to level 0, where ``leaf`` is awaited."""
    if level == 0:
        return await leaf()
    await asyncio.gather(*[tree(level - 1, leaf) for _ in range(BRANCHES)])


async def grow(n, leaf):
    """Run the whole tree, or one branch with a leaf for each of its nodes when n is small."""
    levels = LEVELS if n >= TASKS else 1
    await tree(levels, leaf)
    return sum(BRANCHES**level for level in range(levels + 1))


async def sleep_leaf():
    """Wait as if for a network answer."""
    await asyncio.sleep(0.01)


@workload(unit="task/s", start=TASKS, limit=TASKS, quick=True)
async def async_tree_none(loop, n):
    """Leaves that finish at once."""
    return await grow(n, noop)


@workload(unit="task/s", start=TASKS, limit=TASKS, quick=True)
async def async_tree_io(loop, n):
    """Leaves that sleep for 10 ms: 7,776 timers."""
    return await grow(n, sleep_leaf)


@workload(unit="task/s", start=TASKS, limit=TASKS)
async def async_tree_memoization(loop, n):
    """Leaves of which nine in ten share a cache of 90 answers."""
    chooser = random.Random(7)
    cache = set()

    async def leaf():
        key = chooser.randint(1, 100)
        if key in cache:
            return
        await sleep_leaf()
        if key <= 90:
            cache.add(key)

    return await grow(n, leaf)


@workload(unit="task/s", start=TASKS, limit=TASKS, needs="eager_task_factory")
async def async_tree_eager_io(loop, n):
    """The sleeping leaves with eager tasks."""
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        return await grow(n, sleep_leaf)
    finally:
        loop.set_task_factory(None)
