"""Puts a loop under CPython's own asyncio tests; lives in the child process only.

The tests are imported from the running interpreter's installation and never edited.  What they
use to make loops and classes is replaced before they are imported:

  asyncio.SelectorEventLoop, asyncio.EventLoop, the same in asyncio.unix_events
  asyncio.DefaultEventLoopPolicy   so also new_event_loop, run, Runner and
                                   IsolatedAsyncioTestCase after a policy reset
  asyncio.Task, asyncio.Future     and the C classes behind them, when asked for
  any other name                   when asked for
"""

import asyncio
import asyncio.unix_events
import collections
import contextlib
import importlib
import os
import sys
from unittest import mock

from suite_rules import short


def resolve(spec):
    """Return what ``module:attribute`` names."""
    module, _, attribute = spec.partition(":")
    obj = importlib.import_module(module)
    for part in attribute.split("."):
        obj = getattr(obj, part)
    return obj


class Plug:
    """Replaces asyncio's loop and counts the loops that a test makes."""

    def __init__(self, opts):
        self.opts = opts
        self.made = 0
        self.touched = collections.Counter()
        self.factory = resolve(opts["loop"])
        probe = self.factory()
        self.loop_type = type(probe)
        self.description = f"{self.loop_type.__module__}.{self.loop_type.__qualname__}"
        if hasattr(probe, "backend"):
            self.description += f" {probe.backend}"
        probe.close()
        if opts.get("audit"):
            self._make_audit()
        self._replace_loops()
        self._replace_classes()
        self._replace_names()

    def make(self, *args, **kwargs):
        """Make a plugged loop; a selector is ignored."""
        self.made += 1
        return self.factory()

    def _replace_loops(self):
        unix = asyncio.unix_events
        stand_in = self._stand_in()
        asyncio.SelectorEventLoop = unix.SelectorEventLoop = stand_in
        for module in (asyncio, unix):
            if hasattr(module, "EventLoop"):
                module.EventLoop = stand_in
        name = "_DefaultEventLoopPolicy"
        if not hasattr(unix, name):
            name = "DefaultEventLoopPolicy"
        policy = self._policy(getattr(unix, name))
        setattr(asyncio, name, policy)
        setattr(unix, name, policy)
        if name in vars(asyncio.events):
            setattr(asyncio.events, name, policy)
        asyncio.events._event_loop_policy = None

    def _stand_in(self):
        """Return a class to put in place of SelectorEventLoop: calls make plugged loops."""
        plug = self

        class Meta(type):
            def __call__(cls, *args, **kwargs):
                return plug.make()

            def __instancecheck__(cls, obj):
                return isinstance(obj, plug.loop_type)

            def __subclasscheck__(cls, sub):
                return type.__subclasscheck__(cls, sub) or issubclass(sub, plug.loop_type)

        return Meta("SelectorEventLoop", (), {})

    def _policy(self, stock):
        if not self.opts.get("policy"):
            factory = staticmethod(self.make)
            return type("PluggedEventLoopPolicy", (stock,), {"_loop_factory": factory})
        policy = resolve(self.opts["policy"])
        plug, orig = self, policy.new_event_loop

        def new_event_loop(self):
            plug.made += 1
            return orig(self)

        with contextlib.suppress(TypeError):  # an immutable type is just not counted
            policy.new_event_loop = new_event_loop
        return policy

    def _replace_classes(self):
        if self.opts.get("task"):
            task = resolve(self.opts["task"])
            asyncio.Task = asyncio.tasks.Task = asyncio.tasks._CTask = task
        if self.opts.get("future"):
            future = resolve(self.opts["future"])
            asyncio.Future = asyncio.futures.Future = future
            asyncio.futures._CFuture = asyncio.tasks.futures.Future = future

    def _replace_names(self):
        for pair in self.opts.get("replace", ()):
            place, _, value = pair.partition("=")
            module, _, name = place.partition(":")
            setattr(importlib.import_module(module), name, resolve(value))

    def adapt(self, module):
        """Plug the base classes of a test module that build a loop on a mocked selector.

        Their tests hold for any loop; only their set-up insists on stock's.
        """
        adapter = getattr(self, "_adapt_" + short(module.__name__), None)
        if adapter:
            adapter(module)

    def _adapt_test_graph(self, module):
        # Call graphs want every task to be a Future. A Task of ours is one of asyncio's, and
        # none of our own Future, whose layout another base would conflict with.
        if not issubclass(asyncio.Task, asyncio.Future):
            import _asyncio

            asyncio.Future = asyncio.futures.Future = asyncio.futures._CFuture = _asyncio.Future

    def _adapt_test_pep492(self, module):
        from test.test_asyncio import utils

        plug = self

        def set_up(self):
            utils.TestCase.setUp(self)
            self.loop = plug.make()
            self.set_event_loop(self.loop)

        module.BaseTest.setUp = set_up

    def _adapt_test_runners(self, module):
        plug = self

        def new_loop(self):
            loop = plug.make()
            self.addCleanup(loop.close)
            return loop

        def tear_down(self):
            policy = asyncio.events._event_loop_policy
            if getattr(policy, "loop", None) is not None:
                self.assertTrue(policy.loop.is_closed())
            asyncio.events._event_loop_policy = None

        module.BaseTest.new_loop = new_loop
        module.BaseTest.tearDown = tear_down

    def _adapt_test_tasks(self, module):
        from test.test_asyncio import utils

        def run_loop(self, loop):  # stock's asks whether loop._ready is empty
            for _ in range(8):
                utils.run_briefly(loop)

        self._adapt_new_test_loop(module)
        module.GatherTestsBase._run_loop = run_loop

    def _adapt_new_test_loop(self, module):
        from test.test_asyncio import utils

        plug, orig = self, utils.TestCase.new_test_loop

        def new_test_loop(self, gen=None):
            if gen is not None:  # simulated time needs the tests' own loop
                return orig(self, gen)
            loop = plug.make()
            self.set_event_loop(loop)
            return loop

        utils.TestCase.new_test_loop = new_test_loop

    _adapt_test_futures = _adapt_test_queues = _adapt_new_test_loop

    def _make_audit(self):
        """Record which private names of the loop and of asyncio the tests touch."""
        touched, base = self.touched, self.loop_type
        getframe = sys._getframe
        marks = (f"{os.sep}test_asyncio{os.sep}", f"{os.sep}unittest{os.sep}mock.py")

        def from_tests():
            name = getframe(2).f_code.co_filename
            return any(mark in name for mark in marks)

        class Audited(base):
            def __getattribute__(self, name):
                private = name[0] == "_" and name[:2] != "__" and name != "_default_executor"
                if private and from_tests():
                    touched["get " + name] += 1
                return base.__getattribute__(self, name)

            def __setattr__(self, name, value):
                if from_tests():
                    touched["set " + name] += 1
                base.__setattr__(self, name, value)

        Audited.__name__ = base.__name__
        Audited.__qualname__ = base.__qualname__
        Audited.__module__ = base.__module__
        self.factory = self.loop_type = Audited
        orig = mock._patch.__enter__

        def enter(self):
            name = getattr(self.getter(), "__name__", "")
            if name.split(".")[0] in ("asyncio", "_asyncio"):
                touched[f"patch {name}.{self.attribute}"] += 1
            return orig(self)

        mock._patch.__enter__ = enter
