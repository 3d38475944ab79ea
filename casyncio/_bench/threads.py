"""What does it cost when other threads call in, or do the work?"""

from __future__ import annotations

import asyncio
import socket
import threading

from .harness import nothing, workload


@workload(start=2_000, shared=True, quick=True)
async def call_soon_threadsafe(loop, n):
    """Another thread schedules callbacks as fast as it can."""
    done = loop.create_future()
    left = n

    def step():
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    def feed():
        post = loop.call_soon_threadsafe
        for _ in range(n):
            post(step)

    thread = threading.Thread(target=feed)
    thread.start()
    await done
    thread.join()


@workload(start=100, shared=True)
async def run_in_executor(loop, n):
    """A function runs in the default executor, one call after another."""
    for _ in range(n):
        await loop.run_in_executor(None, nothing)


@workload(start=100, shared=True, quick=True)
async def to_thread(loop, n):
    """``asyncio.to_thread``, one call after another."""
    for _ in range(n):
        await asyncio.to_thread(nothing)


@workload(start=100, shared=True)
async def getaddrinfo_numeric(loop, n):
    """An address that needs no resolver is looked up; stock asks a thread all the same."""
    for _ in range(n):
        await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
