"""A unittest program whose tests run on casyncio because the policy says so."""

import asyncio
import unittest

import casyncio


class Case(unittest.IsolatedAsyncioTestCase):
    """Checks the loop and that it works."""

    async def asyncSetUp(self):
        """Take the loop that all parts of a test share."""
        self.loop = asyncio.get_running_loop()

    async def test_loop(self):
        """The loop is casyncio's and the same as in the set-up."""
        self.assertIs(asyncio.get_running_loop(), self.loop)
        self.assertTrue(type(self.loop).__module__.startswith("casyncio"))

    async def test_timeout(self):
        """Timers and cancelling work in a test."""
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.set_event_loop_policy(casyncio.EventLoopPolicy())
    unittest.main()
