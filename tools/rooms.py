"""Count the rooms: calls between `await` and resume, per event loop.

Usage:  python tools/rooms.py [-v] [LOOP ...]

LOOP is the name of a module that has new_event_loop, or module:backend, as in
casyncio:poll; without one, asyncio and casyncio are compared.  Run it from
outside the source tree, with casyncio installed.

For each loop it walks two errands and counts what sys.setprofile can see
(Python frames entered, C functions called) from the moment the coroutine
suspends until it runs again:

  byte    one byte is already in the socket; `await reader.read(1)`
  sleep0  `await asyncio.sleep(0)` with nothing else ready

Calls from C to C are invisible to the profiler, so the number is a floor on
the rooms passed; the honest thing to compare is the list of names (-v).
"""

import asyncio
import collections
import importlib
import socket
import sys


class Trail:
    """Record every call event while active."""

    def __init__(self):
        self.names = []

    def __enter__(self):
        self.names.clear()
        sys.setprofile(self._hook)
        return self

    def __exit__(self, *exc):
        sys.setprofile(None)

    def _hook(self, frame, event, arg):
        if event == "call":
            self.names.append("py " + frame.f_code.co_qualname)
        elif event == "c_call":
            self.names.append("c  " + (getattr(arg, "__qualname__", None) or repr(arg)))

    def calls(self):
        """Return the calls seen, without the trail's own."""
        return [name for name in self.names if "setprofile" not in name and "Trail" not in name]


async def walk_byte(trail):
    """Walk one byte from a socket to a waiting reader."""
    left, right = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=left)
    for _ in range(3):  # warm every lazy path
        right.send(b"x")
        assert await reader.read(1) == b"x"
    right.send(b"x")
    with trail:
        got = await reader.read(1)
    assert got == b"x"
    writer.close()
    right.close()


async def walk_sleep0(trail):
    """Walk once through the ready queue."""
    for _ in range(3):
        await asyncio.sleep(0)
    with trail:
        await asyncio.sleep(0)


def new_loop(name):
    """Return a new loop for a name as on the command line."""
    module, _, backend = name.partition(":")
    factory = importlib.import_module(module).new_event_loop
    return factory(backend) if backend else factory()


def main(argv):
    """Print one line per loop and errand."""
    names = [arg for arg in argv if not arg.startswith("-")] or ["asyncio", "casyncio"]
    for name in names:
        for errand, walk in (("byte", walk_byte), ("sleep0", walk_sleep0)):
            trail = Trail()
            loop = new_loop(name)
            try:
                loop.run_until_complete(walk(trail))
            finally:
                loop.close()
            seen = trail.calls()
            kinds = collections.Counter(call[:2] for call in seen)
            print(
                f"{name:16} {errand:7} rooms={len(seen):3} python={kinds['py']:3} c={kinds['c ']:3}"
            )
            if "-v" in argv:
                print(*("          " + call for call in seen), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
