"""Programs that name uvloop get casyncio when that is asked for, and only then."""

import pathlib
import urllib.request

import pytest

APPS = pathlib.Path(__file__).parent / "apps"

NAMES = """
import casyncio
casyncio.alias_uvloop()
casyncio.alias_uvloop()
import importlib.util, uvloop, uvloop.loop
from uvloop import EventLoopPolicy, Loop, install, new_event_loop, run
assert uvloop.loop.Loop is Loop is casyncio.Loop
assert importlib.util.find_spec("uvloop") is not None
assert tuple(map(int, uvloop.__version__.split(".")[:2])) >= (0, 22)
loop = new_event_loop()
assert type(loop) is casyncio.Loop
loop.close()
assert issubclass(EventLoopPolicy, casyncio.EventLoopPolicy)
try:
    uvloop.no_such_name
except AttributeError as error:
    print(error)
"""

RUNS = """
import asyncio, warnings
import casyncio
casyncio.alias_uvloop()
import uvloop

async def main():
    return type(asyncio.get_running_loop()) is casyncio.Loop, asyncio.get_running_loop().get_debug()

async def nested():
    coroutine = main()
    try:
        uvloop.run(coroutine)
    except RuntimeError as error:
        coroutine.close()
        return str(error)

assert uvloop.run(main()) == (True, False)
assert uvloop.run(main(), debug=True, loop_factory=uvloop.new_event_loop) == (True, True)
print(uvloop.run(nested()))
uvloop.install()
assert asyncio.run(main()) == (True, False)
"""

CHILDREN = """
import multiprocessing, subprocess, sys

CODE = "import uvloop, uvloop.loop; print(uvloop.Loop.__module__, uvloop.loop.Loop is uvloop.Loop)"

def spawned(queue):
    import uvloop
    queue.put(uvloop.Loop.__module__)

if __name__ == "__main__":
    subprocess.run([sys.executable, "-c", CODE], check=True)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=spawned, args=(queue,))
    process.start()
    print(queue.get(timeout=60))
    process.join()
"""

LATE = """
import sys, types
sys.modules["uvloop"] = types.ModuleType("uvloop")
import casyncio
casyncio.alias_uvloop()
"""


def test_the_alias_has_the_public_names_of_uvloop(run_python):
    done = run_python(["-c", NAMES])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "module 'uvloop' has no attribute 'no_such_name'\n"


def test_programs_for_uvloop_run_on_casyncio(run_python):
    done = run_python(["-c", RUNS])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "uvloop.run() cannot be called from a running event loop\n"


def test_the_alias_comes_too_late_for_a_program_that_has_the_real_one(run_python):
    done = run_python(["-c", LATE])
    assert done.returncode == 1
    assert "RuntimeError: uvloop was imported already" in done.stderr


def test_the_launchers_alias_reaches_python_processes_that_the_program_starts(run_python, tmp_path):
    (tmp_path / "children.py").write_text(CHILDREN)
    done = run_python(["-m", "casyncio", "--as-uvloop", tmp_path / "children.py"])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "casyncio._loop True\ncasyncio._loop\n"


def test_importing_casyncio_makes_no_alias(run_python):
    done = run_python(["-c", "import sys, casyncio; print('uvloop' in sys.modules)"])
    assert (done.returncode, done.stdout) == (0, "False\n")


@pytest.mark.parametrize("loop", ["uvloop", "auto"])
def test_the_launcher_serves_a_program_that_asks_for_uvloop(serve, on_backend, loop):
    argv = ["-m", "casyncio", "--as-uvloop", "-m", "uvicorn", "loop_site:asgi"]
    argv += ["--app-dir", APPS, "--port", "0", "--loop", loop, "--lifespan", "off"]
    server = serve(argv, on_backend)
    port = int(server.expect(r"running on http://127\.0\.0\.1:(\d+)")[1])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
        assert response.read().split()[0] == b"casyncio._loop.Loop"
