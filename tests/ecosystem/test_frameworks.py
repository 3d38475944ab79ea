"""The test frameworks and libraries that make their own loops take casyncio's."""

import asyncio
import contextvars
import functools
import os
import pathlib
import signal
import sys
import unittest

import pytest

import casyncio

APPS = pathlib.Path(__file__).parent / "apps"
SET_UP = contextvars.ContextVar("set_up")


def check_loop(loop, backend):
    """Check that a loop is casyncio's, on the wanted backend."""
    assert type(loop).__module__.startswith("casyncio")
    assert loop.backend == backend


def isolated_case(backend):
    """Return a test case whose tests run on casyncio by its ``loop_factory``."""

    class Case(unittest.IsolatedAsyncioTestCase):
        loop_factory = staticmethod(functools.partial(casyncio.new_event_loop, backend))

        async def asyncSetUp(self):
            self.loop = asyncio.get_running_loop()
            check_loop(self.loop, backend)
            SET_UP.set("by asyncSetUp")
            self.addAsyncCleanup(asyncio.sleep, 0)

        async def test_shares_loop_and_context_with_the_set_up(self):
            self.assertIs(asyncio.get_running_loop(), self.loop)
            self.assertEqual(SET_UP.get(), "by asyncSetUp")
            both = await asyncio.gather(asyncio.sleep(0.01, 1), asyncio.sleep(0, 2))
            self.assertEqual(both, [1, 2])

        async def test_fails(self):
            self.fail("on purpose")

    return Case


@pytest.mark.skipif(
    not hasattr(unittest.IsolatedAsyncioTestCase, "loop_factory"),
    reason="this Python's IsolatedAsyncioTestCase has no loop_factory",
)
def test_isolated_asyncio_test_case_runs_on_its_loop_factory(backend):
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(isolated_case(backend)).run(result)
    assert result.testsRun == 2 and not result.errors
    assert [test.id().rpartition(".")[2] for test, _ in result.failures] == ["test_fails"]


def test_isolated_asyncio_test_case_runs_under_the_policy(run_python, on_backend):
    done = run_python([APPS / "isolated_case.py"], env=on_backend)
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr


def test_pytest_asyncio_takes_a_loop_factory(run_python, on_backend):
    pytest.importorskip("pytest_asyncio", reason="pytest-asyncio is not installed")
    suite = APPS / "pytest_asyncio_plugin"
    alone = ["-c", "/dev/null", "--rootdir", suite, "--confcutdir", suite]
    argv = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers", *alone, suite]
    done = run_python(argv, env=on_backend)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def run_anyio(backend, main):
    """Run an anyio program on casyncio."""
    anyio = pytest.importorskip("anyio", reason="anyio is not installed")
    factory = functools.partial(casyncio.new_event_loop, backend)
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": factory})


def test_anyio_tasks_scopes_and_threads_work(backend):
    async def main():
        import anyio
        from anyio import from_thread, to_thread

        check_loop(asyncio.get_running_loop(), backend)
        done = []

        async def sleeper(n):
            try:
                await anyio.sleep(n)
            finally:
                done.append(n)

        with anyio.move_on_after(0.05) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(sleeper, 0.01)
                group.start_soon(sleeper, 60)
        assert scope.cancelled_caught and done == [0.01, 60]

        def work():
            from_thread.run(anyio.sleep, 0.01)
            return from_thread.run_sync(lambda: asyncio.get_running_loop())

        assert await to_thread.run_sync(work) is asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                await anyio.sleep_forever()
        return "end"

    assert run_anyio(backend, main) == "end"


def test_anyio_streams_processes_and_signals_work(backend):
    async def main():
        import anyio

        async def echo(stream):
            async with stream:
                async for chunk in stream:
                    await stream.send(chunk)

        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            async with await anyio.connect_tcp("127.0.0.1", port) as client:
                for size in (1, 1000, 60_000):
                    await client.send(b"x" * size)
                    received = 0
                    while received < size:
                        received += len(await client.receive())
            group.cancel_scope.cancel()

        sender, receiver = anyio.create_memory_object_stream(1)
        async with anyio.create_task_group() as group:

            async def produce():
                async with sender:
                    for i in range(100):
                        await sender.send(i)

            group.start_soon(produce)
            assert [item async for item in receiver] == list(range(100))

        result = await anyio.run_process([sys.executable, "-c", "print(6 * 7)"])
        assert result.stdout == b"42\n"
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            os.kill(os.getpid(), signal.SIGUSR1)
            async for number in signals:
                assert number == signal.SIGUSR1
                break
        return "end"

    assert run_anyio(backend, main) == "end"
