"""Shared part of the acceptance programs.

A program is a set of cases.  A case has an id, a sentence that says what must hold, and the
function that checks it:

    @case("task.name", "name= names the task; get_name, set_name, repr")
    async def _(): ...            # a coroutine function runs under asyncio.run on the wanted loop
    @case(...)
    def _(): ...                  # a plain function builds its loops through run() or new_loop()

Every loop handed to a case is checked to be of the wanted module, so that nothing passes on
another loop.

Command line of every program:
    --loop module:factory   a factory of loops (default asyncio:SelectorEventLoop)
    --module NAME           what type(loop).__module__ must start with (default: from --loop)
    --via policy|factory    asyncio.run under a policy (default), or with loop_factory=
    --only ID               only the cases whose id starts with ID
Exit status 0: every case held; 1: some did not; 77: nothing ran, something needed is missing.
"""

import argparse
import asyncio
import contextlib
import faulthandler
import gc
import importlib
import inspect
import logging
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
PY = sys.version_info[:2]
CASES = []


class Skip(Exception):
    """Raised by a case that cannot run here; its text says what is missing."""


class Cfg:
    """The loop under test, from the command line or (in child processes) the environment."""

    spec = os.environ.get("ACCEPTANCE_LOOP", "asyncio:SelectorEventLoop")
    module = os.environ.get("ACCEPTANCE_MODULE", "")
    via = os.environ.get("ACCEPTANCE_VIA", "policy")
    factory = None
    policy = None


def case(id, what, since=None, via=None, timing=False):
    """Register a case; since= is the first Python that it holds for, via= the only way it fits."""

    def deco(fn):
        limits = {"since": since, "via": via, "timing": timing}
        CASES.append({"id": id, "what": what, "fn": fn, **limits})
        return fn

    return deco


def timed_case(*args, **kw):
    """Register a case that measures time: a busy machine may fail it, so it gets four attempts."""
    return case(*args, timing=True, **kw)


# --- the loop under test ---------------------------------------------------------------------


def setup(spec=None):
    """Take the loop named by spec as the one under test."""
    # A shell's background job ignores SIGINT and hands that down; some cases need it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Cfg.spec = spec or Cfg.spec
    mod, _, attr = Cfg.spec.partition(":")
    obj = importlib.import_module(mod)
    for part in attr.split("."):
        obj = getattr(obj, part)
    Cfg.module = Cfg.module or mod.split(".")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Cfg.policy = type(
            "AcceptancePolicy",
            (asyncio.DefaultEventLoopPolicy,),
            {"_loop_factory": staticmethod(obj)},
        )
        Cfg.factory = obj
        asyncio.set_event_loop_policy(Cfg.policy() if Cfg.via == "policy" else None)


def check_loop(loop=None):
    """Return the loop (the running one by default) after checking where its type comes from."""
    loop = loop or asyncio.get_running_loop()
    have = type(loop).__module__
    assert have.startswith(Cfg.module), (
        f"wrong loop: {have}.{type(loop).__name__}, wanted {Cfg.module}"
    )
    return loop


def run(coro, debug=None):
    """asyncio.run on the loop under test."""
    if not inspect.iscoroutine(coro):
        return _run(coro, debug)

    async def checked():
        check_loop()
        return await coro

    try:
        return _run(checked(), debug)
    finally:
        coro.close()


def _run(coro, debug=None):
    if Cfg.via == "policy":
        return asyncio.run(coro, debug=debug)
    if "loop_factory" in inspect.signature(asyncio.run).parameters:
        return asyncio.run(coro, debug=debug, loop_factory=Cfg.factory)
    with asyncio.Runner(debug=debug, loop_factory=Cfg.factory) as runner:
        return runner.run(coro)


@contextlib.contextmanager
def new_loop(set_it=True):
    """A fresh loop, by default also the thread's current one, closed at the end."""
    loop = check_loop(Cfg.factory())
    if set_it:
        asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        if not loop.is_closed():
            loop.close()
        if set_it:
            asyncio.set_event_loop(None)


# --- tools of the cases ----------------------------------------------------------------------


@contextlib.contextmanager
def raises(exc, text=""):
    """Check that the block raises exc with text in its message."""
    try:
        yield
    except exc as e:
        assert text in str(e), f"{type(e).__name__}({e}) lacks {text!r}"
        return
    raise AssertionError(f"{exc} was not raised")


@contextlib.contextmanager
def logs(level=logging.WARNING):
    """Collect the messages (with tracebacks) that the asyncio logger gets in the block."""
    out, logger = [], logging.getLogger("asyncio")
    fmt = logging.Formatter()

    class Collector(logging.Handler):
        def emit(self, rec):
            out.append(fmt.format(rec))

    handler, old = Collector(), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
    try:
        yield out
    finally:
        logger.removeHandler(handler)
        logger.setLevel(old[0])
        logger.propagate = old[1]


@contextlib.contextmanager
def warned():
    """Collect the warnings raised in the block, as (category name, text)."""
    out = []
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter("always")
        yield out
        gc.collect()
        out += [(x.category.__name__, str(x.message)) for x in w]


def collect():
    """Free what only the cycle collector can free."""
    for _ in range(3):
        gc.collect()


def timed(make, low, high, tries=4):
    """Run make(), a coroutine function, until it takes low..high seconds; never less than low."""
    seen = []
    for _ in range(tries):
        t = time.perf_counter()
        res = run(make())
        seen.append(time.perf_counter() - t)
        assert seen[-1] >= low, f"took {seen[-1]:.3f} s, less than {low}"
        if seen[-1] <= high:
            return res
    raise AssertionError(f"took {[round(s, 3) for s in seen]} s, wanted at most {high}")


def child(source, env=None, timeout=40, args=()):
    """Run source in a fresh interpreter on the loop under test; give (status, stdout, stderr)."""
    head = (
        f"import sys; sys.path.insert(0, {HERE!r})\n"
        "import _harness as H; from _harness import *; H.setup()\n"
    )
    e = dict(
        os.environ,
        ACCEPTANCE_LOOP=Cfg.spec,
        ACCEPTANCE_MODULE=Cfg.module,
        ACCEPTANCE_VIA=Cfg.via,
    )
    e.pop("PYTHONASYNCIODEBUG", None)
    e.update(env or {})
    p = subprocess.run(
        [sys.executable, *args, "-c", head + source],
        capture_output=True,
        text=True,
        env=e,
        timeout=timeout,
    )
    return p.returncode, p.stdout, p.stderr


def need(module):
    """Import module, or skip the case when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise Skip(f"{module} is not installed") from e


# --- running ---------------------------------------------------------------------------------


def _applies(c, only):
    if only and not any(c["id"].startswith(o) for o in only):
        return False
    if c["since"] and c["since"] > PY:
        return False
    return c["via"] in (None, Cfg.via)


def _attempt(c):
    """Run a case once; gives (word, traceback)."""
    faulthandler.dump_traceback_later(150, exit=True)
    try:
        fn = c["fn"]
        result = run(fn()) if inspect.iscoroutinefunction(fn) else fn()
        assert result is None
    except Skip as e:
        return f"skip ({e})", ""
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "FAIL", traceback.format_exc()
    finally:
        faulthandler.cancel_dump_traceback_later()
    return "ok", ""


def run_cases(only=()):
    """Run the chosen cases, print a line about them, return the exit status."""
    found = {"ok": [], "FAIL": [], "skip": []}
    again = []
    for c in CASES:
        if not _applies(c, only):
            continue
        for attempt in range(4 if c["timing"] else 1):
            time.sleep(0.3 * attempt)
            word, trace = _attempt(c)
            if word != "FAIL":
                break
        if attempt and word == "ok":
            again.append(f"{c['id']} x{attempt + 1}")
        found[word[:4]].append(c["id"] + word[4:])
        if word == "FAIL":
            sys.stderr.write(f"--- {c['id']}: {c['what']}\n{trace}")
    line = f"CASES {len(found['ok'])} ok, {len(found['FAIL'])} failed, {len(found['skip'])} skipped"
    for label, names in (
        ("failed", found["FAIL"]),
        ("skipped", found["skip"]),
        ("tried again", again),
    ):
        if names:
            line += f"; {label}: {', '.join(names)}"
    print(line, flush=True)
    return 1 if found["FAIL"] else 0 if found["ok"] else 77


def program(name):
    """Run the cases and exit when the module called name is the script; the last line of each."""
    if name != "__main__":
        return
    ap = argparse.ArgumentParser()
    ap.add_argument("--loop", default=Cfg.spec)
    ap.add_argument("--module", default="")
    ap.add_argument("--via", choices=["policy", "factory"], default="policy")
    ap.add_argument("--only", action="append", default=[])
    a = ap.parse_args()
    Cfg.module, Cfg.via = a.module, a.via
    setup(a.loop)
    sys.exit(run_cases(a.only))
