"""fork(): the child's loops and the parent's do not touch each other."""

import asyncio

import pytest
from tls_peers import ANONYMOUS

# In these children, os._exit tells the result: 0 is the only good one.
PRELUDE = """
import os, socket, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def wait_for(pid):
    for _ in range(1000):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return "hangs"

def in_fork(func):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            func()
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return pid

async def answer():
    await asyncio.sleep(0.01)
    return 42
"""


def test_a_forked_child_runs_a_loop_of_its_own(child):
    child.ok(
        PRELUDE
        + """
def work():
    assert new_loop().run_until_complete(answer()) == 42

loop = new_loop()
loop.run_until_complete(answer())
assert wait_for(in_fork(work)) == 0
assert loop.run_until_complete(answer()) == 42
"""
    )


def test_a_child_forked_inside_a_coroutine_runs_a_loop_of_its_own(child):
    child.ok(
        PRELUDE
        + """
def work():
    asyncio._set_running_loop(None)
    assert new_loop().run_until_complete(answer()) == 42

async def main():
    pid = in_fork(work)
    status = await asyncio.to_thread(wait_for, pid)
    return status, await answer()

assert new_loop().run_until_complete(main()) == (0, 42)
"""
    )


def test_no_running_loop_is_seen_in_a_forked_child(child):
    child.ok(
        PRELUDE
        + """
def work():
    assert asyncio._get_running_loop() is None

async def main():
    assert await asyncio.to_thread(wait_for, in_fork(work)) == 0

new_loop().run_until_complete(main())
"""
    )


@pytest.mark.ours("stock shares its epoll with the child")
def test_a_child_may_close_the_loop_that_it_inherited(child):
    child.ok(
        PRELUDE
        + """
first, second = socket.socketpair()
seen = []
loop = new_loop()

def work():
    loop.remove_reader(first)
    loop.close()

loop.add_reader(first, lambda: (seen.append(first.recv(10)), loop.stop()))
loop.stop()
loop.run_forever()
assert wait_for(in_fork(work)) == 0
second.send(b"parent")
loop.call_later(5, loop.stop)
loop.run_forever()
assert seen == [b"parent"], seen
"""
    )


def test_a_child_that_ends_does_not_disturb_the_parents_descriptors(child):
    child.ok(
        PRELUDE
        + """
async def main():
    first, second = socket.socketpair()
    first.setblocking(False)
    second.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=first)
    pids = [in_fork(lambda: None) for _ in range(3)]
    for pid in pids:
        assert await asyncio.to_thread(wait_for, pid) == 0
    for number in range(20):
        second.send(b"%d\\n" % number)
        line = await asyncio.wait_for(reader.readline(), 5)
        assert line == b"%d\\n" % number
    writer.close()

new_loop().run_until_complete(main())
"""
    )


def test_wake_ups_of_the_child_do_not_reach_the_parent(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()
loop.stop()
loop.run_forever()

def work():
    for _ in range(20000):
        loop.call_soon_threadsafe(int)
        loop._write_to_self()

before = time.process_time()
pid = in_fork(work)
loop.call_later(0.5, loop.stop)
loop.run_forever()
assert wait_for(pid) == 0
assert time.process_time() - before < 0.25, "the child kept the parent awake"
"""
    )


@pytest.mark.ours("stock shares its epoll with the child")
def test_readers_added_in_the_child_do_not_reach_the_parent(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()
loop.stop()
loop.run_forever()

def work():
    first, second = socket.socketpair()
    second.send(b"x")
    try:
        loop.add_reader(first, print, "wrong")
    except Exception:
        pass
    time.sleep(0.5)

pid = in_fork(work)
before = time.process_time()
loop.call_later(0.3, loop.stop)
loop.run_forever()
assert time.process_time() - before < 0.15, "the parent sees the child's descriptors"
assert wait_for(pid) == 0
"""
    )


def test_signals_of_the_child_do_not_reach_the_parents_handlers(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()
seen = []
loop.add_signal_handler(signal.SIGUSR1, seen.append, "wrong")

def work():
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, lambda *args: None)
    os.kill(os.getpid(), signal.SIGUSR1)
    asyncio._set_running_loop(None)
    assert new_loop().run_until_complete(answer()) == 42

pid = in_fork(work)
loop.call_later(0.2, loop.stop)
loop.run_forever()
assert wait_for(pid) == 0
assert seen == []
"""
    )


def test_a_loop_made_before_the_fork_and_never_run_works_in_the_child(child):
    child.ok(
        PRELUDE
        + """
loop = new_loop()

def work():
    assert loop.run_until_complete(answer()) == 42
    threading.Timer(0.02, loop.call_soon_threadsafe, [loop.stop]).start()
    loop.call_later(5, os._exit, 9)
    loop.run_forever()

assert wait_for(in_fork(work)) == 0
"""
    )


def test_multiprocessing_by_fork_works_from_a_coroutine(child):
    child.ok(
        PRELUDE
        + """
import multiprocessing

def work(queue):
    loop = new_loop()
    queue.put(loop.run_until_complete(answer()))
    loop.close()

async def main():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=work, args=(queue,)) for _ in range(3)]
    for process in processes:
        process.start()
    results = [await asyncio.to_thread(queue.get, True, 10) for _ in processes]
    for process in processes:
        await asyncio.to_thread(process.join, 10)
    return results, [process.exitcode for process in processes], await answer()

loop = new_loop()
assert loop.run_until_complete(main()) == ([42] * 3, [0] * 3, 42)
"""
    )


def test_a_process_pool_by_fork_works_as_executor(child):
    child.ok(
        PRELUDE
        + """
import concurrent.futures, multiprocessing

async def main():
    loop = asyncio.get_running_loop()
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        calls = [loop.run_in_executor(pool, pow, n, 2) for n in range(20)]
        return await asyncio.gather(*calls)

assert new_loop().run_until_complete(main()) == [n * n for n in range(20)]
"""
    )


@pytest.mark.ours("stock shares its self-pipe with the child")
def test_a_call_made_in_the_child_does_not_wake_the_parent(child):
    child.ok(
        PRELUDE
        + """
warnings.simplefilter("ignore")

class Counting(type(new_loop())):
    turns = 0

    def _run_once(self):
        self.turns += 1
        super()._run_once()

def work():
    loop.call_soon_threadsafe(int)
    loop._write_to_self()

def settled():
    # Wait until the loop sleeps; return how many turns it has made.
    seen = 0
    while not seen or seen != loop.turns:
        seen = loop.turns
        time.sleep(0.2)
    return seen

loop = Counting()
thread = threading.Thread(target=loop.run_forever)
thread.start()
before = settled()
assert wait_for(in_fork(work)) == 0
after = settled()
loop.call_soon_threadsafe(loop.stop)
thread.join()
assert after == before, (before, after)
"""
    )


@pytest.mark.skipif(
    not hasattr(asyncio.events, "on_fork"), reason="this Python leaves signals to the child"
)
def test_a_signal_of_the_child_is_not_handled_by_the_parent(child):
    child.ok(
        PRELUDE
        + """
seen = []

async def main():
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, seen.append, os.getpid())
    pid = in_fork(lambda: os.kill(os.getpid(), signal.SIGUSR1))
    status = await asyncio.to_thread(wait_for, pid)
    await asyncio.sleep(0.05)
    return status

assert new_loop().run_until_complete(main()) == 0
assert seen == [], seen
"""
    )


@pytest.mark.parametrize("api", ["asyncio", "casyncio"])
def test_a_child_that_drops_what_is_open_does_not_disturb_the_parent(child, api):
    child.ok(
        PRELUDE
        + f"""
import gc, tempfile
api = {api}
opened = casyncio.open_file
"""
        + ANONYMOUS
        + """
async def echo(reader, writer):
    while data := await reader.readline():
        writer.write(data)

async def ask(reader, writer, line):
    writer.write(line)
    return await asyncio.wait_for(reader.readline(), 20)

def work(keep):
    keep.clear()
    gc.collect()
    assert new_loop().run_until_complete(answer()) == 42

async def main():
    tls = anonymous(ssl.PROTOCOL_TLS_SERVER)
    keep = [await api.start_server(echo, "127.0.0.1", 0, ssl=context) for context in (tls, None)]
    ports = [server.sockets[0].getsockname()[1] for server in keep]
    client = anonymous(ssl.PROTOCOL_TLS_CLIENT)
    pairs = [
        await api.open_connection("127.0.0.1", ports[0], ssl=client),
        await api.open_connection("127.0.0.1", ports[1]),
    ]
    with tempfile.NamedTemporaryFile() as named:
        file = await opened(named.name, "w+b")
        keep += [pairs, file]
        await file.write(b"before ")
        for pair in pairs:
            assert await ask(*pair, b"before\\n") == b"before\\n"
        reading = [asyncio.ensure_future(reader.readline()) for reader, _ in pairs]
        await asyncio.sleep(0)
        pid = in_fork(lambda: (reading.clear(), work(keep)))
        keep += [pairs, file]
        assert await asyncio.to_thread(wait_for, pid) == 0
        for future, (reader, writer) in zip(reading, pairs):
            writer.write(b"after\\n")
            assert await asyncio.wait_for(future, 20) == b"after\\n"
            assert await ask(reader, writer, b"again\\n") == b"again\\n"
        await file.write(b"after")
        await file.seek(0)
        assert await file.read() == b"before after"
        await file.close()
    for _, writer in pairs:
        writer.close()

new_loop().run_until_complete(main())
"""
    )
