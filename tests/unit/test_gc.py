"""Loops and handles as garbage: cycles, descriptors, growth, the end of the interpreter."""

import asyncio
import functools
import gc
import re
import socket
import subprocess
import sys
import warnings
import weakref

import pytest
from malloced import malloced_nbytes
from tls_peers import ANONYMOUS


class Thing:
    """Something that weak references can watch."""


def nothing(*args):
    """Accept anything."""


def make_loop(backend):
    """Return a loop that nobody else holds."""
    if backend == "stock":
        return asyncio.SelectorEventLoop()
    import casyncio

    return casyncio.new_event_loop(backend)


def test_a_closed_loop_in_a_cycle_with_its_callback_is_collected(backend, collect):
    loop = make_loop(backend)
    alive = weakref.ref(loop)
    holder = functools.partial(nothing, loop)
    loop.mine = holder
    loop.call_soon(holder)
    loop.call_later(1, holder)
    loop.set_exception_handler(holder)
    loop.set_task_factory(holder)
    loop.close()
    del holder
    del loop
    collect()
    assert alive() is None


@pytest.mark.skipif(malloced_nbytes() is None, reason="this libc has no mallinfo2()")
def test_a_closed_loop_that_is_kept_holds_no_receive_buffer(backend):
    kept = []
    before = malloced_nbytes()
    for _ in range(8):
        loop = make_loop(backend)
        first, second = socket.socketpair()
        with first, second:
            first.setblocking(False)
            second.send(b"some")
            assert loop.run_until_complete(loop.sock_recv(first, 1000)) == b"some"
        loop.close()
        kept.append(loop)
    assert malloced_nbytes() - before < len(kept) * 64 * 1024


def test_an_open_loop_that_is_dropped_warns_and_frees_its_descriptors(backend, fds, collect):
    before = fds()
    loop = make_loop(backend)
    loop.call_soon(nothing, loop)
    loop.call_later(1, nothing, loop)
    loop.stop()
    loop.run_forever()
    assert len(fds()) > len(before)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del loop
        collect()
    assert fds() == before
    texts = [str(w.message) for w in caught if w.category is ResourceWarning]
    assert any(text.startswith("unclosed event loop <") for text in texts), texts


def test_an_open_loop_with_readers_that_is_dropped_frees_them(backend, fds, collect):
    before = fds()
    loop = make_loop(backend)
    first, second = socket.socketpair()
    loop.add_reader(first, nothing, loop, first)
    loop.add_writer(first, nothing, loop, second)
    alive = weakref.ref(first)
    del first, second
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        collect()
    assert alive() is None and fds() == before


@pytest.mark.ours("stock's destructor fails on a loop without attributes")
def test_a_loop_that_was_never_opened_is_freed_quietly(loop_class, collect):
    made = loop_class.__new__(loop_class)
    alive = weakref.ref(made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del made
        collect()
    assert alive() is None


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later"])
def test_a_handle_in_a_cycle_is_collected(loop, turns, collect, method):
    thing = Thing()
    alive = weakref.ref(thing)
    arguments = (0,) if method == "call_later" else ()
    thing.handle = getattr(loop, method)(*arguments, nothing, thing)
    watched = weakref.ref(thing.handle)
    turns(loop, 3)
    del thing
    collect()
    assert alive() is None and watched() is None


def test_the_arguments_of_a_callback_are_released_when_it_has_run(loop, turns, collect):
    thing = Thing()
    alive = weakref.ref(thing)
    loop.call_soon(nothing, thing)
    del thing
    turns(loop)
    collect()
    assert alive() is None


def test_the_context_of_a_callback_is_released(loop, turns, collect):
    import contextvars

    var = contextvars.ContextVar("var")
    thing = Thing()
    alive = weakref.ref(thing)
    context = contextvars.copy_context()
    context.run(var.set, thing)
    loop.call_soon(nothing, context=context)
    loop.call_later(0, nothing, context=context).cancel()
    del thing, context
    turns(loop, 2)
    collect()
    assert alive() is None


def test_a_pending_handle_keeps_its_arguments_alive(loop, turns, collect):
    seen = []
    thing = Thing()
    alive = weakref.ref(thing)
    loop.call_soon(seen.append, thing)
    del thing
    collect()
    assert alive() is not None
    turns(loop)
    assert isinstance(seen[0], Thing)


def test_the_collector_running_in_every_callback_breaks_nothing(loop, turns):
    seen = []
    for number in range(50):
        loop.call_soon(lambda n=number: (gc.collect(0), seen.append(n)))
        loop.call_later(0, lambda: gc.collect(0)).cancel()
        loop.call_later(0, seen.append, 50 + number)
    turns(loop, 3)
    assert sorted(seen) == list(range(100))


def test_a_callback_that_drops_the_last_reference_to_its_loop_is_safe(backend, collect):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        box = [make_loop(backend)]
        alive = weakref.ref(box[0])
        box[0].call_soon(box.clear)
        box[0].call_soon(nothing)
        box[0].stop()
        box[0].run_forever()
        collect()
    assert alive() is None


def test_a_thousand_loops_leave_nothing(backend, fds, collect):
    async def main():
        await asyncio.sleep(0)

    def work():
        loop = make_loop(backend)
        loop.run_until_complete(main())
        loop.call_later(10, nothing)
        loop.call_soon(nothing)
        loop.close()

    for _ in range(20):
        work()
    collect()
    before, objects = fds(), len(gc.get_objects())
    for _ in range(1000):
        work()
    collect()
    assert fds() == before
    assert len(gc.get_objects()) - objects < 100


def test_a_million_callbacks_leave_no_memory(child):
    out = child.ok(
        """
        import resource
        loop = new_loop()

        def work(count):
            def step(left):
                if left:
                    loop.call_soon(step, left - 1)
                    loop.call_later(3600, step, 0).cancel()
                    loop.call_soon_threadsafe(int)
                else:
                    loop.stop()
            loop.call_soon(step, count)
            loop.run_forever()

        def rss():
            return int(open("/proc/self/statm").read().split()[1]) * 4

        work(30_000)
        before = rss()
        work(300_000)
        print(rss() - before)
        """
    )
    assert int(out) < 3000, "KiB"


def test_watching_again_and_again_leaves_no_memory(child):
    out = child.ok(
        """
        import os, socket
        loop = new_loop()
        spare = [os.dup(0) for _ in range(300)]
        pair = socket.socketpair()

        def work(count):
            for _ in range(count):
                loop.add_reader(pair[0], print)
                loop.add_writer(pair[0], print)
                loop._selector.get_map()
                loop._selector.get_key(pair[0].fileno())
                loop.remove_reader(pair[0])
                loop.remove_writer(pair[0])

        def rss():
            return int(open("/proc/self/statm").read().split()[1]) * 4

        work(3000)
        before = rss()
        work(60_000)
        print(rss() - before)
        """
    )
    assert int(out) < 1000, "KiB"


def test_a_loop_collected_in_another_thread_is_freed(backend, fds, in_thread):
    before = fds()
    loop = make_loop(backend)
    loop.cycle = loop
    loop.call_later(1, nothing)
    loop.stop()
    loop.run_forever()
    alive = weakref.ref(loop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del loop
        in_thread(gc.collect)
    assert alive() is None and fds() == before


END = {
    "open loop": "loop = new_loop()\nloop.call_later(1, print)\n",
    "loop in a cycle": "loop = new_loop()\nloop.me = loop\nloop.call_soon(print, loop)\n",
    "readers": "import os\nloop = new_loop()\nr, w = os.pipe()\nloop.add_reader(r, print, loop)\n",
    "signal handlers": "import signal\nloop = new_loop()\n"
    "loop.add_signal_handler(signal.SIGUSR1, print)\n",
    "daemon thread": "import threading\nloop = new_loop()\n"
    "threading.Thread(target=loop.run_forever, daemon=True).start()\n",
    "busy daemon thread": "import threading\nloop = new_loop()\n"
    "def spin(): loop.call_soon(spin)\nloop.call_soon(spin)\n"
    "threading.Thread(target=loop.run_forever, daemon=True).start()\n"
    "import time\ntime.sleep(0.05)\n",
    "calling daemon thread": "import threading\nloop = new_loop()\n"
    "def storm():\n    while True: loop.call_soon_threadsafe(int)\n"
    "threading.Thread(target=storm, daemon=True).start()\n"
    "loop.call_later(0.05, loop.stop)\nloop.run_forever()\n",
    "pending task": "async def main():\n    t = asyncio.create_task(asyncio.sleep(100))\n"
    "    await asyncio.sleep(0)\n    keep.append(t)\nkeep = []\nloop = new_loop()\n"
    "loop.run_until_complete(main())\n",
    "sys.exit inside": "import sys\nloop = new_loop()\nloop.call_soon(sys.exit, 0)\n"
    "loop.run_forever()\n",
    "atexit": "import atexit\nloop = new_loop()\n"
    "atexit.register(lambda: (loop.run_until_complete(asyncio.sleep(0.01)), loop.close()))\n",
    "handles in a global": "loop = new_loop()\nhandles = [loop.call_soon(print), "
    "loop.call_later(1, print)]\nloop.close()\ndel loop\n",
}


# TLS, and whatever else of ours can be left open.
OPEN = (
    ANONYMOUS
    + """
import socket, sys

async def tls(api):
    server = await api.start_server(
        lambda *pair: keep.append(pair), "127.0.0.1", 0, ssl=anonymous(ssl.PROTOCOL_TLS_SERVER)
    )
    keep.append(server)
    port = server.sockets[0].getsockname()[1]
    client = anonymous(ssl.PROTOCOL_TLS_CLIENT)
    return await api.open_connection("127.0.0.1", port, ssl=client)

async def everything():
    for api in asyncio, casyncio:
        reader, writer = await tls(api)
        writer.write(bytes(1 << 22))
        lock, queue, pair = api.Lock(), api.Queue(1), socket.socketpair()
        other = await api.open_connection(sock=pair[0])
        pair[1].setblocking(False)
        await lock.acquire()
        queue.put_nowait(1)
        loop = asyncio.get_running_loop()
        jobs = [
            reader.read(1), other[0].readline(), writer.drain(), loop.sock_recv(pair[1], 1),
            lock.acquire(), queue.put(2), api.sleep(9), api.wait_for(api.sleep(9), 8),
            api.gather(api.sleep(9)),
        ]
        keep.extend([reader, writer, other, pair, *map(asyncio.ensure_future, jobs)])
    file = await casyncio.open_file(sys.executable, "rb")
    keep.extend([file, loop.create_task(file.read())])
    await asyncio.sleep(0)

keep = []
loop = new_loop()
loop.run_until_complete(everything())
"""
)
END["everything open"] = OPEN
END["everything open, the loop closed"] = OPEN + "loop.close()\n"
END["everything open, the loop gone"] = OPEN + "import gc\ndel loop\nkeep.clear()\ngc.collect()\n"
END["everything open in a daemon thread"] = (
    OPEN
    + "import threading, time\nthreading.Thread(target=loop.run_forever, daemon=True).start()\n"
    "time.sleep(0.05)\n"
)
# How many complain: a put() that waits does on asyncio's loop too, when the loop is closed under
# it; of those that go with their loop, the ones that the collector comes to later.
PUTS = {
    "everything open": [2],
    "everything open, the loop closed": [2],
    "everything open, the loop gone": [0, 1, 2],
}
CLOSING = "while closing generator" if sys.version_info >= (3, 14) else "in:"
PUT_IGNORED = f"Exception ignored {CLOSING} <coroutine object Queue.put"


@pytest.mark.parametrize("kind", END)
def test_the_interpreter_ends_normally_with(child, kind):
    result = child.run(END[kind], timeout=20)
    assert result.status == 0, result.err
    ignored = re.findall(r"^Exception ignored.*?(?= at 0x|$)", result.err, re.M)
    assert set(ignored) <= {PUT_IGNORED} and "Fatal" not in result.err, result.err
    assert len(ignored) in PUTS.get(kind, [0]), result.err


def run_subinterpreter(code):
    """Run code in a subinterpreter of a child process; return the CompletedProcess."""
    script = f"""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
import sys
interpreter = interpreters.create()
code = {code!r}
try:
    error = interpreters.run_string(interpreter, code)
except Exception as exc:
    error = exc
print("refused:" if error else "ran", error, flush=True)
interpreters.destroy(interpreter)
"""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          timeout=30)  # fmt: skip


@pytest.fixture(scope="module")
def subinterpreter():
    """Return run_subinterpreter, where this Python's own asyncio survives it."""
    if run_subinterpreter("import asyncio").returncode != 0:
        pytest.skip("this Python's own asyncio crashes in a subinterpreter")
    return run_subinterpreter


@pytest.mark.ours("it is about the import of casyncio")
def test_importing_in_a_subinterpreter_does_not_crash(subinterpreter):
    # The child has the same search path, or it would only refuse to find the package.
    result = subinterpreter(f"import sys; sys.path[:] = {sys.path!r}\nimport casyncio\n")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(("ran", "refused:"))


@pytest.mark.ours("it is about the import of casyncio")
def test_a_loop_in_a_subinterpreter_does_not_crash(subinterpreter, backend):
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "try:\n    import asyncio, casyncio\nexcept ImportError:\n    raise SystemExit\n"
        "async def main():\n    await asyncio.sleep(0.01)\n"
        f"loop = casyncio.new_event_loop({backend!r})\n"
        "loop.run_until_complete(main())\nloop.close()\n"
    )
    assert subinterpreter(code).returncode == 0
