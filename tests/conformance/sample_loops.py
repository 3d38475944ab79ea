"""Loops that go wrong on purpose, to test the conformance run itself."""

import asyncio
import os
import time


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
