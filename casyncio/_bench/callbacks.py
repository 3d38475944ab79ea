"""What does it cost to run a callback: one after another, many at once, and for a ready socket?"""

from __future__ import annotations

import socket

from .harness import nothing, workload

FANOUT = 10_000


@workload(quick=True)
async def call_soon_chain(loop, n):
    """Each callback schedules the next: one callback per turn of the loop."""
    done = loop.create_future()
    left = n

    def step():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


@workload(start=FANOUT, quick=True)
async def call_soon_fanout_10k(loop, n):
    """Ten thousand callbacks that wait in the queue of one turn."""
    rounds = max(1, n // FANOUT)
    call_soon = loop.call_soon
    for _ in range(rounds):
        done = loop.create_future()
        for _ in range(FANOUT):
            call_soon(nothing)
        call_soon(done.set_result, None)
        await done
    return rounds * FANOUT


@workload(quick=True)
async def reader_pingpong(loop, n):
    """A byte goes to and fro between two sockets of the loop: one ready descriptor per turn."""
    done = loop.create_future()
    left = n
    one, two = socket.socketpair()

    def answer(sock):
        nonlocal left
        byte = sock.recv(1)
        left -= 1
        if left > 0:
            sock.send(byte)
        elif not done.done():
            done.set_result(None)

    with one, two:
        for sock in (one, two):
            sock.setblocking(False)
            loop.add_reader(sock.fileno(), answer, sock)
        one.send(b"x")
        await done
        for sock in (one, two):
            loop.remove_reader(sock.fileno())


@workload()
async def reader_add_remove(loop, n):
    """A descriptor is watched and let go again, as ``sock_recv`` does when it must wait."""
    one, two = socket.socketpair()
    with one, two:
        fd = one.fileno()
        for _ in range(n):
            loop.add_reader(fd, nothing)
            loop.remove_reader(fd)
