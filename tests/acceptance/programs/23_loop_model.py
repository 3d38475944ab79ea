"""How the loop works inside: one thread, a ready queue, waiting tasks set aside, I/O wakes them."""

import asyncio
import os
import signal
import socket
import threading
import time

from _harness import case, new_loop, program, run, timed_case


@case("model.single_thread", "all tasks and callbacks run in the thread that called run")
async def _():
    ids = set()

    async def f():
        for _ in range(3):
            ids.add(threading.get_ident())
            await asyncio.sleep(0.001)

    asyncio.get_running_loop().call_later(0.002, lambda: ids.add(threading.get_ident()))
    n = threading.active_count()
    await asyncio.gather(*[f() for _ in range(20)])
    assert ids == {threading.get_ident()} and threading.active_count() == n


@case(
    "model.round_robin",
    "ready tasks run in turn: with sleep(0) as the only await, N tasks take strict turns",
)
async def _():
    log = []

    async def f(k):
        for i in range(20):
            log.append((i, k))
            await asyncio.sleep(0)

    await asyncio.gather(*[f(k) for k in range(10)])
    assert log == [(i, k) for i in range(20) for k in range(10)]


@timed_case("model.no_busy_wait", "while every task waits the loop uses no processor time")
async def _():
    best = 9
    for _ in range(3):
        c = time.process_time()
        await asyncio.gather(*[asyncio.sleep(0.3) for _ in range(10)])
        best = min(best, time.process_time() - c)
    assert best < 0.06, best


@timed_case(
    "model.io_wakes_task",
    (
        "a task waiting for a socket goes on when data comes, while others run meanwhile "
        "(sock_recv, sock_sendall, sock_accept, sock_connect)"
    ),
)
async def _():
    loop, ticks = asyncio.get_running_loop(), 0
    srv = socket.create_server(("127.0.0.1", 0))
    srv.setblocking(False)
    cli = socket.socket()
    cli.setblocking(False)

    async def tick():
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    t = asyncio.create_task(tick())
    acc = asyncio.create_task(loop.sock_accept(srv))
    await loop.sock_connect(cli, srv.getsockname())
    conn, _ = await acc
    conn.setblocking(False)
    r = asyncio.create_task(loop.sock_recv(conn, 100))
    await asyncio.sleep(0.05)
    assert not r.done() and ticks > 3
    await loop.sock_sendall(cli, b"now")
    assert await asyncio.wait_for(r, 5) == b"now"
    t.cancel()
    for s in (srv, cli, conn):
        s.close()


@case("model.add_reader", "add_reader, add_writer and their removal")
async def _():
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    a.setblocking(False), b.setblocking(False)
    got, f, w = [], loop.create_future(), loop.create_future()

    def readable():
        got.append(a.recv(10))
        if len(got) == 2:
            f.set_result(None)

    loop.add_reader(a, readable)
    b.send(b"1")
    await asyncio.sleep(0.01)
    b.send(b"2")
    await asyncio.wait_for(f, 5)
    assert got == [b"1", b"2"] and loop.remove_reader(a) is True and loop.remove_reader(a) is False
    loop.add_writer(b.fileno(), lambda: w.done() or w.set_result("w"))
    assert await asyncio.wait_for(w, 5) == "w" and loop.remove_writer(b.fileno()) is True
    a.close(), b.close()


@case("model.ends_with_main", "the loop ends with main, not when all tasks are done")
def _():
    log = []

    async def left():
        await asyncio.sleep(0.05)
        log.append("done")

    async def main():
        asyncio.create_task(left())

    run(main())
    assert log == []


@timed_case(
    "model.work_while_waiting",
    "the restaurant: while one long order waits, short ones are served at once",
)
async def _():
    log = []

    async def order(name, d):
        await asyncio.sleep(d)
        log.append(name)

    steak = asyncio.create_task(order("steak", 0.1))
    for i in range(5):
        await order(f"water{i}", 0.002)
    assert log == [f"water{i}" for i in range(5)] and not steak.done()
    await steak
    assert log[-1] == "steak"


@timed_case(
    "model.timer_vs_io_fair",
    "1000 timers and a busy socket pair at a time: all timers fire, all bytes arrive",
)
async def _():
    loop, fired = asyncio.get_running_loop(), 0
    a, b = socket.socketpair()
    r, w = await asyncio.open_connection(sock=a)
    r2, w2 = await asyncio.open_connection(sock=b)

    def hit():
        nonlocal fired
        fired += 1

    for i in range(1000):
        loop.call_later((i % 50) / 1000, hit)

    async def ping():
        for _i in range(500):
            w.write(b"p")
            await r2.readexactly(1)
            w2.write(b"q")
            await r.readexactly(1)

    await asyncio.wait_for(ping(), 20)
    await asyncio.sleep(0.06)
    assert fired == 1000
    w.close(), w2.close()


@case(
    "model.signal_handler",
    (
        "add_signal_handler runs its callback in the loop (used to stop run_forever); "
        "remove_signal_handler"
    ),
)
def _():
    with new_loop() as loop:
        got = []
        loop.add_signal_handler(signal.SIGUSR1, lambda *a: (got.append(a), loop.stop()), "x")
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        loop.call_later(10, loop.stop)
        loop.run_forever()
        assert got == [("x",)] and loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop.remove_signal_handler(signal.SIGUSR1) is False


@case("model.getaddrinfo", "getaddrinfo and getnameinfo of the loop do not block it")
async def _():
    loop = asyncio.get_running_loop()
    rs = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    assert rs[0][4] == ("127.0.0.1", 80)
    rs = await loop.getaddrinfo("localhost", None)
    assert any(x[4][0] in ("127.0.0.1", "::1") for x in rs)
    assert (
        await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    ) == ("127.0.0.1", "80")


program(__name__)
