"""Loops that leak one known thing each, to test leakcheck.py itself."""

import asyncio
import ctypes
import os
import time

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
kept = []


class LeakyLoop(asyncio.SelectorEventLoop):
    """Calls leak() once, when it is closed."""

    def close(self):
        """Leak, then close."""
        if not self.is_closed():
            self.leak()
        super().close()


class LeakHandle(asyncio.SelectorEventLoop):
    """Keeps every handle."""

    def call_soon(self, *args, **kwargs):
        """Keep the handle that the base returns."""
        handle = super().call_soon(*args, **kwargs)
        kept.append(handle)
        return handle


class LeakDescriptor(LeakyLoop):
    """Leaves a file descriptor open."""

    def leak(self):
        """Open a descriptor."""
        os.dup(0)


class LeakReference(LeakyLoop):
    """Loses a reference to an object that the cycle collector does not track."""

    def leak(self):
        """Count one reference too many."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(f"s{time.perf_counter_ns()}"))


class LeakMalloc(LeakyLoop):
    """Forgets a small block of C memory."""

    def leak(self):
        """Allocate 40 bytes and use them."""
        libc.memset(libc.malloc(40), 1, 40)


class Broken(asyncio.SelectorEventLoop):
    """Does not leak, but does not work either."""

    def run_forever(self):
        """Fail."""
        raise ZeroDivisionError("no loop today")
