"""A small test module for the tests of the conformance run itself."""

import asyncio
import os
import pathlib
import unittest


class SampleTests(unittest.TestCase):
    """Four tests in order; the loops of sample_loops.py break some of them."""

    def setUp(self):
        """Make a plugged loop."""
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)

    def test_1_before(self):
        """Pass on every sample loop."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def test_2_timer(self):
        """Need call_later, which the sample loops break."""
        self.loop.run_until_complete(asyncio.sleep(0.001))

    def test_3_after(self):
        """Pass on every sample loop, in a new process if need be."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def test_4_second_time_lucky(self):
        """Fail the first time when SAMPLE_MARK names a file that does not exist yet."""
        mark = os.environ.get("SAMPLE_MARK")
        if mark and not pathlib.Path(mark).exists():
            pathlib.Path(mark).touch()
            self.fail("the first time")
