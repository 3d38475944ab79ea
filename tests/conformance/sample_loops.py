"""Loops that go wrong on purpose, to test the conformance run itself."""

import asyncio
import os
import time
import warnings


class FailingLoop(asyncio.SelectorEventLoop):
    """Timers raise."""

    def call_later(self, *args, **kwargs):
        """Fail the test."""
        raise ZeroDivisionError("no timers here")


class CrashingLoop(asyncio.SelectorEventLoop):
    """Timers kill the process."""

    def call_later(self, *args, **kwargs):
        """End the process as a segmentation fault would."""
        os.abort()


class HangingLoop(asyncio.SelectorEventLoop):
    """Timers never return."""

    def call_later(self, *args, **kwargs):
        """Block for ever."""
        while True:
            time.sleep(60)


class WarningLoop(asyncio.SelectorEventLoop):
    """Timers warn."""

    def call_later(self, *args, **kwargs):
        """Warn, and work."""
        warnings.warn(f"timer at {id(self):#x}", RuntimeWarning, stacklevel=2)
        return super().call_later(*args, **kwargs)
