"""What does it cost to start child processes, wait for them and talk to them?"""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE

from .harness import workload


async def run_true():
    """Run one child that ends at once."""
    child = await asyncio.create_subprocess_exec("/bin/true")
    if await child.wait():
        raise RuntimeError("the child failed")


@workload(start=10, limit=100, shared=True, quick=True)
async def subprocess_sequential(loop, n):
    """One child after another."""
    for _ in range(n):
        await run_true()


@workload(start=20, limit=100, shared=True)
async def subprocess_20_concurrent(loop, n):
    """Twenty children at a time."""
    rounds = max(1, n // 20)
    for _ in range(rounds):
        await asyncio.gather(*[run_true() for _ in range(20)])
    return rounds * 20


@workload(start=10, limit=100, shared=True)
async def subprocess_pipe_cat_64k(loop, n):
    """64 KiB through the pipes of a child and back."""
    payload = b"x" * 65536
    for _ in range(n):
        child = await asyncio.create_subprocess_exec("/bin/cat", stdin=PIPE, stdout=PIPE)
        out, _ = await child.communicate(payload)
        if out != payload:
            raise RuntimeError("wrong output")
