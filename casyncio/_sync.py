"""Locks and queues: asyncio's own for now, where the switch finds them."""

from asyncio.locks import BoundedSemaphore, Event, Lock, Semaphore
from asyncio.queues import LifoQueue, PriorityQueue, Queue

__all__ = [
    "BoundedSemaphore",
    "Event",
    "LifoQueue",
    "Lock",
    "PriorityQueue",
    "Queue",
    "Semaphore",
]
