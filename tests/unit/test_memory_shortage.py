"""Allocations that fail one at a time: there may be a MemoryError, and never a crash."""

import importlib.util
import json
import signal

import pytest

CODE = """
import _testcapi, asyncio, contextvars, gc, json, os, signal, sys

def work(loop, api):
    def nothing(*args):
        pass

    async def child(n):
        await api.sleep(0)
        return n

    async def failing():
        raise KeyError(1)

    async def using(lock, queue):
        async with lock:
            await api.sleep(0)
        await queue.put(1)
        await queue.get()

    async def main():
        future = loop.create_future()
        future.add_done_callback(nothing)
        future.add_done_callback(nothing)
        task = loop.create_task(child(1))
        task.get_name(), asyncio.current_task(), asyncio.all_tasks(), repr(task)
        loop.call_later(0.0001, nothing, 1, 2)
        loop.call_soon(nothing, 1, 2, context=contextvars.copy_context())
        loop.call_later(1, nothing).cancel()
        loop._ready
        future.set_result(3)
        await future
        await api.gather(child(2), child(3), task)
        await api.gather(failing(), return_exceptions=True)
        try:
            await getattr(api, "wait_for", asyncio.wait_for)(api.sleep(5), 0.0001)
        except asyncio.TimeoutError:
            pass
        async with api.timeout(1):
            await api.sleep(0.0001)
        lock, queue = api.Lock(), api.Queue(1)
        await api.gather(using(lock, queue), using(lock, queue))
        async with api.TaskGroup() as group:
            group.create_task(child(5))

    return main

def run_child(api, start):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 1)  # a callback that is lost may be waited for
    loop = new_loop()
    loop.set_exception_handler(lambda loop, context: None)
    main = work(loop, api)
    loop.run_until_complete(main())
    coroutine = main()
    try:
        _testcapi.set_nomemory(start, start + 2)
        loop.run_until_complete(coroutine)
    except BaseException:
        pass
    finally:
        _testcapi.remove_mem_hooks()
    gc.collect()
    loop.close()

died = []
api = __import__(os.environ["API"])
for start in range(1, 160, 3):
    pid = os.fork()
    if pid == 0:
        try:
            run_child(api, start)
        finally:
            os._exit(0)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        died.append((start, os.WTERMSIG(status)))
print(json.dumps(died))
"""


@pytest.mark.ours("stock's own crashes are not ours to tell")
@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="no _testcapi here")
@pytest.mark.parametrize("api", ["asyncio", "casyncio"])
def test_an_allocation_that_fails_crashes_nothing(child, api):
    died = json.loads(child.ok(CODE, env={"API": api}, timeout=120))
    assert [row for row in died if row[1] != signal.SIGALRM] == []
