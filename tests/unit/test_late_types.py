"""Native types that are made when they are first needed, and what may go wrong meanwhile."""

import importlib.util
import json

import pytest

SHORTAGE = """
import _testcapi, asyncio, gc, json, os, socket

def run_child(start):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    loop = new_loop()
    ours, peer = socket.socketpair()
    ours.setblocking(False)
    _testcapi.set_nomemory(start, start + 1)
    try:
        loop.sock_recv(ours, 1)
    except MemoryError:
        pass
    finally:
        _testcapi.remove_mem_hooks()

    async def main():
        task = loop.create_task(loop.sock_recv(ours, 1))
        await asyncio.sleep(0)
        peer.send(b"x")
        return await task

    return loop.run_until_complete(main()) == b"x"

def dict_tells_of_shortage():
    grown = {}
    for key in "abcde":
        grown[key] = 0
    _testcapi.set_nomemory(0, 1)
    try:
        grown.setdefault("f")
    except MemoryError:
        return True
    except SystemError:
        return False
    finally:
        _testcapi.remove_mem_hooks()

if not dict_tells_of_shortage():
    print("null")
    raise SystemExit
failed = []
for start in range(1, 150, 3):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if run_child(start) else 2
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    if status:
        failed.append((start, status))
print(json.dumps(failed))
"""

FINALIZER = """
import gc, socket

loop = new_loop()
sock, peer = socket.socketpair()
sock.setblocking(False)

class Asking:
    def __init__(self):
        self.me = self

    def __del__(self):
        loop.sock_recv(sock, 1).close()

gc.disable()
Asking()
gc.set_threshold(1, 1, 1)
gc.enable()
loop.sock_recv(sock, 1).close()
print(gc.isenabled())
"""


@pytest.mark.ours("asyncio makes no types late")
@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="no _testcapi here")
def test_a_type_that_memory_was_too_short_for_is_made_when_it_is_asked_for_again(child):
    failed = json.loads(child.ok(SHORTAGE, timeout=120))
    if failed is None:
        pytest.skip("this Python's dicts lose a MemoryError, with which it makes broken types")
    assert failed == []


@pytest.mark.ours("asyncio makes no types late")
def test_a_finalizer_may_ask_for_the_type_that_is_just_being_asked_for(child):
    assert child.ok(FINALIZER).split() == ["True"]
