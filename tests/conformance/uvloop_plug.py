"""Puts a loop under uvloop's own tests; lives in the child process only.

What the tests import as uvloop is the package in ``uvloop_shim``: casyncio's uvloop.
"""

import asyncio
import collections

import uvloop
from suite_plug import resolve

import casyncio


class Plug:
    """Makes ``import uvloop`` give the loop under test, and counts the loops that a test makes."""

    def __init__(self, opts):
        self.made = 0
        self.touched = collections.Counter()
        factory = resolve(opts["loop"])
        probe = factory()
        loop_type = type(probe)
        self.description = f"{loop_type.__module__}.{loop_type.__qualname__}"
        self.description += f" {probe.backend}" if hasattr(probe, "backend") else ""
        probe.close()
        if loop_type is not casyncio.Loop:
            uvloop.Loop = uvloop.loop.Loop = loop_type
            policy = {"_loop_factory": staticmethod(factory)}
            uvloop.EventLoopPolicy = type("Policy", (asyncio.DefaultEventLoopPolicy,), policy)

        def new_event_loop():
            self.made += 1
            return factory()

        uvloop.new_event_loop = new_event_loop

    def adapt(self, module):
        """Change nothing: uvloop's tests hold for any loop that comes by uvloop's names."""
