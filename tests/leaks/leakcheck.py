#!/usr/bin/env python3
"""Look for leaks on release builds of CPython.

The interpreter's own leak hunt needs ``sys.gettotalrefcount()``, which only debug builds have.
This runs each scenario many times in one process, in rounds, and asks whether something keeps
growing after warm-up:

  blocks   sys.getallocatedblocks()     memory of Python objects of any type
  objects  len(gc.get_objects())        containers that the collector tracks
  fds      entries in /proc/self/fd
  threads  threading.active_count()
  malloc   glibc's mallinfo2()          bytes in use by malloc of C code, in any arena
  rss      VmRSS of /proc/self/status   last resort: anonymous mmap
  refs     sys.gettotalrefcount()       0 except on debug builds

A counter leaks when it grows in nearly every round, and by at least its limit per run in the
median round.  For blocks and objects the types that grew most are named; --tracemalloc adds the
source lines.

  python leakcheck.py                                    every scenario on casyncio
  python leakcheck.py -s tcp_echo --rounds 12 --tracemalloc
  python leakcheck.py --loop asyncio:SelectorEventLoop   stock, to compare
  python leakcheck.py --list                             the names of the scenarios

Exit status 1 when something leaks.
"""

import argparse
import array
import asyncio
import collections
import contextlib
import gc
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../helpers"))
from malloced import malloced_nbytes

# Growth per run that counts as a leak; malloc and rss are in bytes.
LIMITS = {
    "blocks": 0.9,
    "objects": 0.9,
    "fds": 0.02,
    "threads": 0.02,
    "malloc": 40.0,
    "rss": 256.0,
    "refs": 0.9,
}


def resolve(spec):
    """Return what ``module:attribute`` names."""
    mod, _, attr = spec.partition(":")
    obj = importlib.import_module(mod)
    for part in attr.split("."):
        obj = getattr(obj, part)
    return obj


# --- scenarios -------------------------------------------------------------------------------
# A scenario is called with a factory: it makes a loop, works, and closes everything.

SCENARIOS = {}


def scenario(fn):
    SCENARIOS[fn.__name__] = fn
    return fn


def on_loop(fn):
    """Register a coroutine function; the loop is made and closed for it."""

    def run(factory):
        loop = factory()
        try:
            loop.run_until_complete(fn(loop))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()

    run.__name__ = fn.__name__
    return scenario(run)


@scenario
def new_close(factory):
    factory().close()


@scenario
def refused_arguments(factory):
    """Take the error paths of the calls that check what they get."""
    loop = factory()
    loop.set_debug(True)
    refused = (
        lambda: loop.call_soon(5),
        lambda: loop.call_soon(),
        lambda: loop.call_soon(print, context=5, nonsense=1),
        lambda: loop.call_later("soon", print),
        lambda: loop.call_later(None, print),
        lambda: loop.call_later(1),
        lambda: loop.call_at("noon", print),
        lambda: loop.call_soon_threadsafe(None),
        lambda: loop.add_reader("x", print),
        lambda: loop.add_reader(-1, print),
        lambda: loop.add_writer(10_000_000, print),
        lambda: loop.remove_reader(object()),
        lambda: loop.create_task(5),
        lambda: loop.set_task_factory(5),
        lambda: loop.run_until_complete(5),
        lambda: loop.set_exception_handler(5),
    )
    for call in refused:
        with contextlib.suppress(Exception):
            call()
    loop.close()
    for call in (loop.run_forever, lambda: loop.call_soon(print), lambda: loop.call_later(1, int)):
        with contextlib.suppress(RuntimeError):
            call()


@scenario
def interrupted_run(factory):
    """Leave run_forever by an exception with work still queued, then go on with the loop."""

    def leave():
        raise SystemExit

    loop = factory()
    loop.set_exception_handler(lambda loop, context: None)
    seen = []
    loop.call_soon(leave)
    loop.call_soon(seen.append, 1)
    with contextlib.suppress(SystemExit):
        loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == [1]
    loop.close()


@scenario
def drop_unclosed(factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        loop = factory()
        loop.call_soon(print)
        loop.call_later(1000, print)
        del loop
        gc.collect()


@scenario
def close_with_work_pending(factory):
    loop = factory()
    fut = loop.create_future()
    fut.add_done_callback(lambda f: None)
    loop.call_soon(fut.set_result, None)
    loop.call_later(1000, fut.cancel)
    loop.call_at(loop.time() + 1000, fut.cancel).cancel()
    loop.close()


def primitives(loop):
    """Return the module with our primitives, or asyncio where the loop is not ours."""
    return sys.modules["casyncio"] if "casyncio" in type(loop).__module__ else asyncio


async def begin(*coros):
    """Start tasks and let them begin to wait."""
    tasks = [asyncio.ensure_future(coro) for coro in coros]
    await asyncio.sleep(0)
    return tasks


async def cancel_all(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def share(thing):
    """Acquire by turns, some of it in vain; leave one that waits and is forgotten."""

    async def use():
        async with thing:
            await asyncio.sleep(0)

    await asyncio.gather(*(use() for _ in range(10)))
    await thing.acquire()
    tasks = await begin(*(use() for _ in range(5)))
    await cancel_all(tasks[:3])
    thing.release()
    await asyncio.gather(*tasks[3:])
    await thing.acquire()
    forgotten = thing.acquire()
    forgotten.send(None)
    thing.acquire().close()
    thing.me = thing  # a cycle


@on_loop
async def locks(loop):
    await share(primitives(loop).Lock())


@on_loop
async def conditions(loop):
    condition = primitives(loop).Condition()

    async def wait():
        async with condition:
            await condition.wait()

    tasks = await begin(*(wait() for _ in range(6)))
    await cancel_all(tasks[:2])
    async with condition:
        condition.notify_all()
    await asyncio.gather(*tasks[2:])


@on_loop
async def semaphores(loop):
    await share(primitives(loop).Semaphore(1))
    await share(primitives(loop).BoundedSemaphore(1))


@on_loop
async def events(loop):
    event = primitives(loop).Event()
    tasks = await begin(*(event.wait() for _ in range(10)))
    await cancel_all(tasks[:3])
    event.set()
    await asyncio.gather(*tasks[3:])
    event.clear()
    event.me = event.wait()  # a cycle through one that waits
    event.me.send(None)


@on_loop
async def queues(loop):
    for kind in ("Queue", "LifoQueue", "PriorityQueue"):
        queue = getattr(primitives(loop), kind)(2)
        tasks = await begin(*(queue.put((i, [])) for i in range(10)))
        await cancel_all(tasks[5:])
        for _ in range(5):
            await queue.get()
            queue.task_done()
        await queue.join()
        tasks = await begin(*(queue.get() for _ in range(5)))
        await cancel_all(tasks[:3])
        for i in range(2):
            await queue.put((i, queue))
        await asyncio.gather(*tasks[3:])
        with contextlib.suppress(asyncio.QueueEmpty):
            queue.get_nowait()
        await queue.put((1, queue))  # a cycle


@on_loop
async def combinators(loop):
    """End gather(), wait_for(), timeout() and TaskGroup in every way."""
    api = primitives(loop)

    async def work(n):
        await api.sleep(0)
        if n == 1:
            raise ValueError(n)
        if n == 2:
            await loop.create_future()
        return n

    async def group(*numbers):
        async with api.TaskGroup() as tasks:
            for n in numbers:
                tasks.create_task(work(n))

    async def limited(delay, *numbers):
        async with api.timeout(delay) as limit:
            limit.me = [limit]  # a cycle
            limit.reschedule(limit.when())
            for n in numbers:
                await work(n)

    await api.gather(work(0), work(3), api.gather())
    await api.gather(work(0), work(1), return_exceptions=True)
    await api.wait_for(work(0), 100)
    await group(0, 3, 4)
    await limited(100, 0, 3)
    for coro in (
        api.gather(work(0), work(1)),
        api.wait_for(work(1), 100),
        api.wait_for(work(2), 0.0002),
        api.wait_for(work(2), 0),
        group(0, 1, 2),
        limited(0.0002, 2),
        limited(100, 1),
    ):
        with contextlib.suppress(ValueError, asyncio.TimeoutError, BaseExceptionGroup):
            await coro
    tasks = await begin(
        api.wait_for(work(2), 100), group(2, 2), limited(100, 2), api.sleep(100), api.sleep(0)
    )
    tasks.append(api.gather(work(2), work(2)))
    await asyncio.sleep(0)
    await cancel_all(tasks)
    for coro in api.wait_for(loop.create_future(), 1), group(0), limited(1, 0), api.sleep(1):
        coro.close()  # not begun


@on_loop
async def handles(loop):
    for i in range(20):
        loop.call_soon(int, i)
        loop.call_soon(int, i).cancel()
        loop.call_later(0, int, i)
        loop.call_later(500, int, i).cancel()
        loop.call_soon_threadsafe(int, i)
    await asyncio.sleep(0.001)


@on_loop
async def many_timers(loop):
    fired = []
    handles = [loop.call_later(i % 7 / 10_000, fired.append, i) for i in range(300)]
    for handle in handles[::3]:
        handle.cancel()
    await asyncio.sleep(0.002)
    assert len(fired) == 200


@on_loop
async def calls_from_threads(loop):
    got = []

    def work():
        for i in range(50):
            loop.call_soon_threadsafe(got.append, i)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    while len(got) < 100:
        await asyncio.sleep(0)
    for thread in threads:
        thread.join()


@on_loop
async def replaced_readers(loop):
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        got = loop.create_future()
        for i in range(5):
            loop.add_reader(a, int, i)
            loop.add_writer(a, int, i)
        loop.add_reader(a, lambda: got.done() or got.set_result(a.recv(1)))
        b.send(b"x")
        assert await got == b"x"
        assert loop.remove_reader(a) and loop.remove_writer(a)
        assert not loop.remove_reader(a)
        loop.add_reader(a, int)  # left to close()


@on_loop
async def task_factory(loop):
    async def one():
        await asyncio.sleep(0)

    loop.set_task_factory(lambda loop, coro, **kw: asyncio.Task(coro, loop=loop, **kw))
    await loop.create_task(one(), name="made by hand")
    loop.set_task_factory(None)


@on_loop
async def failing_callback(loop):
    seen = []
    loop.set_exception_handler(lambda lp, ctx: seen.append(1))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert seen
    loop.set_exception_handler(None)


@on_loop
async def tasks(loop):
    async def one(n):
        await asyncio.sleep(0)
        if n % 3 == 1:
            raise ValueError(n)
        if n % 3 == 2:
            await loop.create_future()

    ts = [loop.create_task(one(i)) for i in range(12)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for t in ts:
        t.cancel()
    await asyncio.gather(*ts, return_exceptions=True)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(loop.create_future(), 0.0005)


@on_loop
async def task_errors(loop):
    """End tasks in every way but the usual ones."""

    class Yields:
        def __init__(self, value):
            self.value = value

        def __await__(self):
            return (yield self.value)

    class Derived(asyncio.Task):
        pass

    async def ends(value):
        if value is None:
            await asyncio.current_task()
        if isinstance(value, Exception):
            raise value
        asyncio.current_task().cancel(msg="myself")
        return await Yields(value)

    wrong = [1, "text", (), loop.create_future(), (n for n in ()), None, ValueError("x")]
    ts = [loop.create_task(ends(value)) for value in wrong]
    ts += [Derived(ends(value), loop=loop, name="derived") for value in wrong]
    ts += [type(ts[0])(ends(value), loop=loop) for value in wrong]
    ts.append(asyncio.tasks._PyTask(ends(1), loop=loop))
    ts[0].add_done_callback(print, context=None)
    ts[0].remove_done_callback(print)
    await asyncio.sleep(0)
    waiting = asyncio.gather(*ts, return_exceptions=True)
    assert len(asyncio.all_tasks()) > 0
    await waiting
    for t in ts:
        with contextlib.suppress(BaseException):
            t.result()
    wakeups = []
    for _ in range(3):
        future = loop.create_future()
        t = loop.create_task(ends(Yields(future)))
        await asyncio.sleep(0)
        t = asyncio.ensure_future(asyncio.shield(future))
        wakeups += future._callbacks or []
        future.set_exception(KeyError("k"))
        with contextlib.suppress(KeyError):
            await t
        with contextlib.suppress(RuntimeError):
            asyncio.tasks._enter_task(loop, t)


@on_loop
async def executor(loop):
    await loop.run_in_executor(None, int)
    with contextlib.suppress(ValueError):
        await loop.run_in_executor(None, int, "x")
    await loop.shutdown_default_executor()


@on_loop
async def signals(loop):
    got = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, got.set_result, None)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got
    loop.remove_signal_handler(signal.SIGUSR1)


@on_loop
async def readers_writers(loop):
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        b.setblocking(False)
        got = loop.create_future()

        def readable():
            loop.remove_reader(a)
            got.set_result(a.recv(10))

        def writable():
            loop.remove_writer(b)
            b.send(b"x")

        loop.add_reader(a, readable)
        loop.add_writer(b, writable)
        assert await got == b"x"
        await loop.sock_sendall(a, b"y" * 100)
        assert len(await loop.sock_recv(b, 200)) == 100
        wait = loop.create_task(loop.sock_recv(b, 1))
        await asyncio.sleep(0)
        wait.cancel()
        await asyncio.gather(wait, return_exceptions=True)


async def _echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def _talk(reader, writer, size):
    writer.write(b"z" * size)
    await reader.readexactly(size)
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@on_loop
async def tcp_echo(loop):
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    addr = server.sockets[0].getsockname()
    for size in (1, 100_000):
        await _talk(*await asyncio.open_connection(*addr), size)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.001)


@on_loop
async def tcp_abort_and_refused(loop):
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    addr = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*addr)
    writer.write(b"q" * 10_000)
    writer.transport.abort()
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.001)
    with contextlib.suppress(OSError):
        await asyncio.open_connection(*addr)


@on_loop
async def unix_echo(loop):
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "s")
        server = await asyncio.start_unix_server(_echo, path)
        await _talk(*await asyncio.open_unix_connection(path), 1000)
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.001)


@on_loop
async def udp(loop):
    class Proto(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = loop.create_future()
            self.lost = loop.create_future()

        def datagram_received(self, data, addr):
            if not self.got.done():
                self.got.set_result(data)

        def connection_lost(self, exc):
            self.lost.set_result(None)

    t1, p1 = await loop.create_datagram_endpoint(Proto, local_addr=("127.0.0.1", 0))
    t2, p2 = await loop.create_datagram_endpoint(Proto, remote_addr=t1.get_extra_info("sockname"))
    t2.sendto(b"hello")
    await p1.got
    t1.close()
    t2.close()
    await asyncio.gather(p1.lost, p2.lost)


@on_loop
async def pipes(loop):
    r, w = os.pipe()
    reader = asyncio.StreamReader()
    tr, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(r, "rb", 0)
    )
    tw, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(w, "wb", 0))
    tw.write(b"data")
    tw.close()
    assert await reader.read() == b"data"
    tr.close()
    await asyncio.sleep(0.001)


@on_loop
async def own_streams(loop):
    import casyncio

    server = await casyncio.start_server(_echo, "127.0.0.1", 0)
    addr = server.sockets[0].getsockname()
    await _talk(*await casyncio.open_connection(*addr), 50_000)
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.002)


@on_loop
async def own_reader(loop):
    import casyncio

    reader = casyncio.StreamReader(limit=8, loop=loop)
    protocol = casyncio.StreamReaderProtocol(reader, loop=loop)
    reads = [reader.read(9), reader.readexactly(9), reader.readline(), reader.read()]
    for read in reads:
        task = loop.create_task(read)
        await asyncio.sleep(0)
        task.cancel()
        protocol.data_received(b"some")
        await asyncio.gather(task, return_exceptions=True)
    protocol.data_received(b"more than the limit\nand ")
    with contextlib.suppress(ValueError):
        await reader.readline()
    waiting = loop.create_task(reader.readuntil(b"\n"))
    await asyncio.sleep(0)
    reader.set_exception(LookupError())
    await asyncio.gather(waiting, return_exceptions=True)
    protocol.connection_lost(OSError())


@on_loop
async def process(loop):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        p = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        out, _ = await p.communicate(b"meow")
    assert out == b"meow" and p.returncode == 0
    await asyncio.sleep(0.001)


@on_loop
async def getaddrinfo(loop):
    await loop.getaddrinfo("127.0.0.1", 80)
    await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST)
    await loop.shutdown_default_executor()


@on_loop
async def tls_echo(loop):
    server_ctx, client_ctx = make_tls()  # new: a kept one caches sessions
    server = await asyncio.start_server(_echo, "127.0.0.1", 0, ssl=server_ctx)
    addr = server.sockets[0].getsockname()
    await _talk(
        *await asyncio.open_connection(*addr, ssl=client_ctx, server_hostname="localhost"), 50_000
    )
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.002)


@on_loop
async def tls_endings(loop):
    """End handshakes and connections in the ways that are no quiet closing."""
    import ssl

    loop.set_exception_handler(lambda loop, context: None)
    server_ctx, client_ctx = make_tls()
    server = await asyncio.start_server(_echo, "127.0.0.1", 0, ssl=server_ctx)
    addr = server.sockets[0].getsockname()
    with contextlib.suppress(ssl.SSLError):  # not trusted
        untrusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        await asyncio.open_connection(*addr, ssl=untrusting, server_hostname="localhost")
    reader, writer = await asyncio.open_connection(*addr, ssl=client_ctx)
    writer.write(b"x" * 1000)
    await reader.readexactly(1000)
    writer.write(b"x" * 1_000_000)
    writer.transport.abort()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = silent.getsockname()
        task = loop.create_task(asyncio.open_connection(*place, ssl=client_ctx))
        silent.setblocking(False)
        accepted, _ = await loop.sock_accept(silent)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        accepted.close()
        waiting = asyncio.open_connection(*place, ssl=client_ctx, ssl_handshake_timeout=0.001)
        with contextlib.suppress(OSError):
            await waiting
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.002)


def make_tls():
    """Return server and client contexts, from the certificate of CPython's installed tests."""
    import ssl

    import test

    root = os.path.dirname(test.__file__)
    places = [os.path.join(root, p) for p in ("certdata/keycert3.pem", "keycert3.pem")]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(next(filter(os.path.exists, places)))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return server, client


# --- measurement -----------------------------------------------------------------------------


def rss():
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
    return 0


def settle():
    for _ in range(3):
        gc.collect()


def snapshot(store, at):
    """Write the counters into a preallocated array: no growth of its own."""
    settle()
    store[at + 2] = len(os.listdir("/proc/self/fd"))
    store[at + 3] = threading.active_count()
    store[at + 5] = rss()
    store[at + 1] = len(gc.get_objects())
    store[at + 0] = sys.getallocatedblocks()
    store[at + 4] = malloced_nbytes() or 0
    store[at + 6] = getattr(sys, "gettotalrefcount", int)()


def census():
    settle()
    return collections.Counter(
        f"{type(o).__module__}.{type(o).__qualname__}" for o in gc.get_objects()
    )


def check(name, factory, rounds, runs, trace=False):
    fn = SCENARIOS[name]
    t0 = time.monotonic()
    for _ in range(max(3, runs // 2)):  # warm-up
        fn(factory)
    if trace:
        import tracemalloc

        tracemalloc.start(8)
        before_trace = tracemalloc.take_snapshot()
    names = census()
    width = len(LIMITS)
    store = array.array("d", bytes(8 * width * (rounds + 1)))
    snapshot(store, 0)
    for n in range(rounds):
        for _ in range(runs):
            fn(factory)
        snapshot(store, width * (n + 1))
    names = census() - names
    per_run, leaks = {}, []
    for col, (key, limit) in enumerate(LIMITS.items()):
        line = store[col::width]
        steps = sorted((b - a) / runs for a, b in zip(line, line[1:], strict=False))
        mid = steps[len(steps) // 2]
        per_run[key] = round(mid, 2)
        grew = sum(s >= limit for s in steps)
        if mid >= limit and grew >= rounds - max(1, rounds // 4):
            leaks.append(key)
    out = {
        "scenario": name,
        "leaks": leaks,
        "per_run": per_run,
        "seconds": round(time.monotonic() - t0, 1),
    }
    if leaks:
        out["types"] = {k: n for k, n in names.most_common(8) if n >= rounds * runs // 2}
    if trace:
        diff = tracemalloc.take_snapshot().compare_to(before_trace, "lineno")
        tracemalloc.stop()
        if leaks:
            out["lines"] = [f"{d.traceback} +{d.size_diff} B, +{d.count_diff}" for d in diff[:5]]
    return out


def run_scenario(name, factory, args):
    """Check one scenario and print a line about it; returns the result."""
    try:
        result = check(name, factory, args.rounds, args.runs, args.tracemalloc)
        if result["leaks"]:
            # A round has some noise of its own; what leaks per run still does in longer rounds.
            first = set(result["leaks"])
            result = check(name, factory, args.rounds, 3 * args.runs, args.tracemalloc)
            result["leaks"] = [key for key in result["leaks"] if key in first]
    except Exception as e:
        text = f"{type(e).__name__}: {e}"
        result = {"scenario": name, "leaks": ["error"], "per_run": {}, "seconds": 0, "types": text}
    print(
        f"{'LEAK' if result['leaks'] else 'ok':5} {name:24} {result['seconds']:5.1f}s "
        f"{result['per_run']} {result['leaks'] or ''} {result.get('types', '')}",
        flush=True,
    )
    for line in result.get("lines", []):
        print("      " + line)
    return result


def main():
    """Run as the command line says; returns the exit status."""
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    ap.add_argument("--loop", default="casyncio:new_event_loop")
    ap.add_argument("-s", "--scenario", action="append", default=[], choices=SCENARIOS)
    ap.add_argument("--rounds", type=int, default=8)
    ap.add_argument("--runs", type=int, default=40, help="runs per round")
    ap.add_argument("--tracemalloc", action="store_true")
    ap.add_argument("--list", action="store_true")
    args = ap.parse_args()
    # Closed once here: a debug or default policy must not add noise.
    asyncio.set_event_loop(None)
    if args.list:
        print("\n".join(SCENARIOS))
        return 0
    factory = resolve(args.loop)
    probe = factory()
    print(f"loop {type(probe).__module__} {getattr(probe, 'backend', '')}")
    probe.close()
    results = [run_scenario(name, factory, args) for name in args.scenario or SCENARIOS]
    return 1 if any(result["leaks"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
