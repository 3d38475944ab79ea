"""The package's face: Loop, new_event_loop, run, install, the policy."""

import asyncio
import contextlib
import inspect
import os
import warnings

import pytest

pytestmark = pytest.mark.ours("it is about casyncio's own names")


@pytest.fixture
def casyncio():
    """Return the package under test."""
    import casyncio

    return casyncio


@pytest.fixture
def policy():
    """Put the event loop policy back after the test; skip where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if not hasattr(asyncio, "get_event_loop_policy"):
            pytest.skip("this Python has no event loop policies")
        before = asyncio.get_event_loop_policy()
        yield
        asyncio.set_event_loop_policy(before)


async def answer():
    """Return a value after a turn."""
    await asyncio.sleep(0)
    return 42


async def running_loop():
    """Return the loop that runs this."""
    return asyncio.get_running_loop()


def test_all_public_names_are_there_and_documented(casyncio):
    for name in ("Loop", "EventLoop", "new_event_loop", "run", "install", "Handle", "TimerHandle"):
        assert name in casyncio.__all__ and inspect.getdoc(getattr(casyncio, name))
    assert casyncio.EventLoop is casyncio.Loop


def test_the_version_is_that_of_the_installed_package(casyncio):
    parts = casyncio.__version__.split(".")
    assert len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit()


def test_an_unknown_name_is_an_attribute_error(casyncio):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = casyncio.no_such_name


def test_a_loop_is_a_stock_selector_loop_too(loop, casyncio):
    assert isinstance(loop, casyncio.Loop)
    assert isinstance(loop, asyncio.SelectorEventLoop)
    assert isinstance(loop, asyncio.AbstractEventLoop)


@pytest.mark.parametrize("name", ["epoll", "poll"])
def test_a_backend_is_chosen_by_name(casyncio, monkeypatch, name):
    monkeypatch.setenv("CASYNCIO_BACKEND", "no such backend")
    for made in casyncio.Loop(backend=name), casyncio.new_event_loop(name):
        assert made.backend == name
        made.close()


@pytest.mark.parametrize("name", ["epoll", "poll"])
def test_the_environment_names_the_default_backend(casyncio, monkeypatch, name):
    monkeypatch.setenv("CASYNCIO_BACKEND", name)
    for make in casyncio.Loop, casyncio.new_event_loop:
        made = make()
        assert made.backend == name
        made.close()


@pytest.mark.parametrize("value", ["auto", ""])
def test_auto_and_nothing_leave_the_choice_to_us(casyncio, monkeypatch, value):
    monkeypatch.setenv("CASYNCIO_BACKEND", value)
    made = casyncio.new_event_loop()
    assert made.backend == "epoll"
    made.close()


@pytest.mark.parametrize("name", ["kqueue", "EPOLL", " epoll", "epoll\0", "é" * 1000])
def test_an_unknown_backend_is_a_value_error(casyncio, name):
    with pytest.raises(ValueError):
        casyncio.new_event_loop(name)


def test_an_unknown_backend_in_the_environment_is_a_value_error(casyncio, monkeypatch):
    monkeypatch.setenv("CASYNCIO_BACKEND", "kqueue")
    with pytest.raises(ValueError, match="kqueue.*epoll"):
        casyncio.new_event_loop()


@pytest.mark.parametrize("junk", [1, b"epoll", ["epoll"], 1.5], ids=repr)
def test_a_backend_that_is_no_text_is_a_type_error(casyncio, junk):
    with pytest.raises(TypeError):
        casyncio.new_event_loop(junk)


def test_a_refused_loop_leaves_no_descriptor(casyncio, fds):
    before = fds()
    for _ in range(20):
        with pytest.raises(ValueError):
            casyncio.new_event_loop("no such backend")
    assert fds() == before


def test_a_selector_is_refused_with_the_name_of_the_right_argument(casyncio):
    import selectors

    with selectors.SelectSelector() as selector:
        with pytest.raises(TypeError, match="backend="):
            casyncio.Loop(selector)
        with pytest.raises(TypeError, match="backend="):
            casyncio.Loop(selector=selector)


def test_a_selector_of_none_is_accepted(casyncio):
    for make in lambda: casyncio.Loop(None), lambda: casyncio.Loop(selector=None):
        with contextlib.closing(make()) as loop:
            assert loop.run_until_complete(answer()) == 42


def test_a_failed_epoll_is_an_os_error(child):
    child.ok(
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        spare = []
        try:
            while True:
                spare.append(os.dup(0))
        except OSError:
            pass
        for left in range(4):
            try:
                new_loop().close()
            except OSError as error:
                assert error.errno == 24, error
            else:
                assert left, "made with no descriptor left"
            before = len(spare)
            os.close(spare.pop())
        for fd in spare:
            os.close(fd)
        assert new_loop().run_until_complete(asyncio.sleep(0.01, 42)) == 42
        """
    )


def test_run_returns_the_result_of_the_coroutine(casyncio):
    assert casyncio.run(answer()) == 42


def test_run_raises_the_exception_of_the_coroutine(casyncio):
    async def fail():
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        casyncio.run(fail())


def test_run_runs_on_a_casyncio_loop_of_the_backend_and_closes_it(casyncio, backend):
    async def main():
        loop = asyncio.get_running_loop()
        return loop, loop.backend

    loop, name = casyncio.run(main(), backend=backend)
    assert type(loop) is casyncio.Loop and name == backend and loop.is_closed()


@pytest.mark.parametrize("debug", [True, False])
def test_run_sets_debug_mode(casyncio, debug):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert casyncio.run(main(), debug=debug) is debug


def test_run_cancels_what_is_left_and_closes_generators(casyncio):
    seen = []

    async def forever():
        try:
            await asyncio.sleep(100)
        finally:
            seen.append("cancelled")

    async def generator():
        try:
            yield 1
        finally:
            seen.append("generator closed")

    async def main():
        tasks.append(asyncio.create_task(forever()))
        generators.append(generator())
        await generators[0].__anext__()

    tasks, generators = [], []
    casyncio.run(main())
    assert seen == ["cancelled", "generator closed"]


@pytest.mark.parametrize("junk", [None, 1, "text", answer, [answer]], ids=lambda x: str(type(x)))
def test_run_of_junk_fails_in_the_words_of_asyncio_run(casyncio, junk):
    errors = []
    for run in asyncio.run, casyncio.run:
        with pytest.raises((TypeError, ValueError)) as info:
            run(junk)
        errors.append((info.type, str(info.value)))
    assert errors[0] == errors[1]


def test_run_inside_a_running_loop_fails_in_the_words_of_asyncio_run(casyncio):
    async def main(run):
        coroutine = answer()
        try:
            run(coroutine)
        except RuntimeError as error:
            return str(error)
        finally:
            coroutine.close()

    texts = [asyncio.run(main(run)) for run in (asyncio.run, casyncio.run)]
    assert texts[1] == texts[0].replace("asyncio.run()", "casyncio.run()")


def test_run_leaves_no_current_loop_behind(casyncio):
    casyncio.run(answer())
    assert asyncio._get_running_loop() is None


def test_a_runner_takes_the_loop_class_as_factory(casyncio):
    with asyncio.Runner(loop_factory=casyncio.Loop) as runner:
        assert type(runner.get_loop()) is casyncio.Loop
        assert runner.run(answer()) == 42


@pytest.mark.skipif(
    "loop_factory" not in inspect.signature(asyncio.run).parameters,
    reason="this Python's asyncio.run() has no loop_factory",
)
def test_asyncio_run_takes_the_loop_factory(casyncio):
    loop = asyncio.run(running_loop(), loop_factory=casyncio.new_event_loop)
    assert type(loop) is casyncio.Loop


def test_install_makes_asyncios_loops_ours(casyncio, policy):
    casyncio.install()
    assert type(asyncio.run(running_loop())) is casyncio.Loop
    loop = asyncio.new_event_loop()
    assert type(loop) is casyncio.Loop
    loop.close()


def test_install_twice_is_harmless(casyncio, policy):
    casyncio.install()
    casyncio.install()
    assert asyncio.run(answer()) == 42


def test_the_policy_is_stocks_with_our_loops(casyncio, policy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert issubclass(casyncio.EventLoopPolicy, asyncio.DefaultEventLoopPolicy)
        asyncio.set_event_loop_policy(casyncio.EventLoopPolicy())
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        assert asyncio.get_event_loop() is loop and type(loop) is casyncio.Loop
        asyncio.set_event_loop(None)
        loop.close()


def test_the_policy_class_is_made_once(casyncio, policy):
    assert casyncio.EventLoopPolicy is casyncio.EventLoopPolicy
    assert casyncio.EventLoopPolicy.__module__ == "casyncio"


def test_the_policy_has_a_child_watcher_where_policies_have_one(casyncio, policy):
    if not hasattr(asyncio, "get_child_watcher"):
        pytest.skip("this Python's policies have no child watcher")

    async def main():
        process = await asyncio.create_subprocess_shell("exit 5")
        return await process.wait()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert casyncio.EventLoopPolicy().get_child_watcher() is not None
        casyncio.install()
        assert asyncio.run(main()) == 5


def test_importing_warns_of_nothing(child):
    code = "import casyncio\nnew_loop().close()\ncasyncio.run(asyncio.sleep(0))\n"
    result = child.run(code, options=["-W", "error"])
    assert result.status == 0 and result.err == ""


def test_importing_changes_nothing_in_asyncio(child):
    child.ok(
        """
        import os, subprocess, sys
        code = (
            "import asyncio, warnings; warnings.simplefilter('ignore')\\n"
            "before = {m: dict(vars(m)) for m in (asyncio, asyncio.events, asyncio.tasks)}\\n"
            "import casyncio\\n"
            "assert before == {m: dict(vars(m)) for m in before}\\n"
            "loop = asyncio.new_event_loop()\\n"
            "assert not isinstance(loop, casyncio.Loop)\\n"
            "loop.close()\\n"
        )
        sys.exit(subprocess.run([sys.executable, "-c", code]).returncode)
        """
    )


DELETED = """
import asyncio, asyncio.events, asyncio.unix_events
for module in asyncio, asyncio.events, asyncio.unix_events:
    for name in list(vars(module)):
        if "policy" in name.lower():
            delattr(module, name)
import casyncio
loop = casyncio.new_event_loop()
assert loop.run_until_complete(asyncio.sleep(0.001, 42)) == 42
loop.close()
"""


def test_without_policies_everything_else_works(child):
    child.ok(DELETED + "with asyncio.Runner(loop_factory=casyncio.Loop) as runner:\n"
             "    assert runner.run(asyncio.sleep(0, 42)) == 42\n")  # fmt: skip


def test_without_policies_the_policy_is_a_clear_error(child):
    result = child.run(DELETED + "casyncio.EventLoopPolicy\n")
    assert result.status == 1
    assert "AttributeError" in result.err and "loop_factory" in result.err.splitlines()[-1]


def test_without_policies_install_is_a_clear_error(child):
    result = child.run(DELETED + "casyncio.install()\n")
    assert result.status == 1
    assert "RuntimeError" in result.err and "loop_factory" in result.err.splitlines()[-1]


def test_without_policies_hasattr_is_false(child):
    child.ok(DELETED + "assert not hasattr(casyncio, 'EventLoopPolicy')\n")


def test_the_name_of_the_backend_can_be_read_but_not_set(loop):
    with pytest.raises(AttributeError):
        loop.backend = "poll"


def test_a_loop_cannot_be_copied_or_pickled(loop):
    import copy
    import pickle

    for dump in copy.copy, copy.deepcopy, pickle.dumps:
        with pytest.raises(TypeError):
            dump(loop)


def test_a_second_init_does_not_crash_or_leak(loop, fds):
    before = len(fds())
    with pytest.raises(RuntimeError):
        loop.__init__()
    assert loop.run_until_complete(answer()) == 42
    loop.close()
    assert len(fds()) < before


def test_the_process_environment_is_left_alone(casyncio):
    before = dict(os.environ)
    casyncio.run(answer(), backend="poll")
    assert dict(os.environ) == before


@pytest.mark.parametrize("method", ["call_soon", "create_future", "sock_recv"])
def test_a_method_of_the_loop_in_c_is_the_own_one_of_its_class(casyncio, method):
    """Or else the interpreter calls it by the long way: it looks for exactly that class."""
    assert vars(casyncio.Loop)[method].__objclass__ is casyncio.Loop


@pytest.mark.parametrize("method", ["write", "is_closing"])
def test_a_method_of_a_transport_in_c_is_the_own_one_of_its_class(casyncio, method):
    transports = pytest.importorskip("casyncio._transports")
    cls = transports._SelectorSocketTransport
    assert vars(cls)[method].__objclass__ is cls


def test_a_class_between_the_loop_and_ours_still_goes_first(casyncio):
    class Mixin:
        def call_soon(self, *args, **kwargs):
            calls.append("call_soon")
            return super().call_soon(*args, **kwargs)

    class Mixed(Mixin, casyncio.Loop):
        pass

    calls = []
    with asyncio.Runner(loop_factory=Mixed) as runner:
        assert runner.run(answer()) == 42
    assert calls


FRUGAL = """
import asyncio, sys, casyncio
from casyncio import _native
async def main():
    await asyncio.sleep(0)
with asyncio.Runner(loop_factory=casyncio.new_event_loop) as runner:
    runner.run(main())
print(*sorted(name for name in sys.modules if name.startswith("casyncio.")))
print(*sorted(name for name, value in vars(_native).items() if isinstance(value, type)))
"""


def test_a_program_that_only_runs_a_loop_loads_little(run_python):
    done = run_python(["-c", FRUGAL])
    assert done.returncode == 0, done.stderr
    modules, made = (set(line.split()) for line in done.stdout.splitlines())
    rare = {"_children", "_combine", "_datagrams", "_files", "_pipes", "_streams", "_sync", "_tls"}
    assert "casyncio._native" in modules and not modules & {f"casyncio.{name}" for name in rare}
    assert {"Loop", "Handle"} <= made
    assert not made & {"Coro", "Lock", "StreamReader", "TaskGroup", "Tls", "ReadPipe", "SockCall"}


LATE = """
from casyncio import _native
before = set(vars(_native))
first = getattr(_native, {name!r})
assert getattr(_native, {name!r}) is first is vars(_native)[{name!r}]
assert {name!r} not in before
"""


@pytest.mark.parametrize(
    "name", ["Coro", "StreamCall", "Queue", "Timeout", "TlsTransport", "NewClients", "use_tls"]
)
def test_a_native_name_is_made_once_when_it_is_asked_for(run_python, name):
    done = run_python(["-c", LATE.format(name=name)])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Nothing", "", "locks", "Lock\0"])
def test_the_native_module_refuses_names_that_it_has_not(name):
    from casyncio import _native

    with pytest.raises(AttributeError, match="has no attribute"):
        getattr(_native, name)
    with pytest.raises(AttributeError, match="has no attribute"):
        _native.__getattr__(7)
