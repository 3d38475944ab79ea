"""``python -m casyncio``: what the launched program sees, and what the caller gets back."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ours("it is about casyncio's own launcher")

SHOW = """
import json, sys, __main__
print(json.dumps([sys.argv, __name__, __main__.__dict__ is globals(), sys.path[0],
                  __main__.__dict__.get("__file__"), __main__.__package__ if "__package__" in
                  vars(__main__) else None]))
"""


@pytest.fixture
def launch(child):
    """Run ``python -m casyncio`` with arguments; return status, stdout and stderr."""

    def run(*arguments, **kwargs):
        return child.finish(child.command("-m", "casyncio", *arguments, **kwargs))

    return run


@pytest.fixture
def same_as_python(child, launch):
    """Check that arguments make the launcher do what they make python do."""

    def check(*arguments):
        plain = child.finish(child.command(*arguments))
        ours = launch(*arguments)
        assert (ours.status, ours.out) == (plain.status, plain.out), ours.err
        return plain

    return check


@pytest.fixture
def script(tmp_path):
    """Write a script into a folder of its own; return its path."""

    def write(text, name="program.py"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


def test_a_script_sees_what_python_shows_it(same_as_python, script):
    assert same_as_python(script(SHOW), "one", "--debug", "-c", "two").status == 0


def test_a_script_by_relative_path_sees_what_python_shows_it(same_as_python, script):
    script(SHOW)
    assert same_as_python("folder/program.py", "-x").status == 0


def test_code_sees_what_python_shows_it(same_as_python):
    assert same_as_python("-c", SHOW, "one", "-m", "--version").status == 0


def test_a_module_sees_what_python_shows_it(same_as_python, tmp_path):
    (tmp_path / "shown.py").write_text(SHOW)
    assert same_as_python("-m", "shown", "one", "--backend").status == 0


def test_a_package_sees_what_python_shows_it(same_as_python, tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text("from . import other\n" + SHOW)
    (tmp_path / "package" / "other.py").write_text("")
    assert same_as_python("-m", "package", "one").status == 0


def test_a_folder_with_a_main_file_sees_what_python_shows_it(same_as_python, script):
    path = script(SHOW, "__main__.py")
    assert same_as_python(os.path.dirname(path), "one").status == 0


def test_a_script_imports_its_neighbours(launch, script):
    script("VALUE = 42\n", "neighbour.py")
    result = launch(script("import neighbour\nprint(neighbour.VALUE)\n"))
    assert result.out == "42\n", result.err


def test_pickle_and_dataclasses_find_the_program(same_as_python, script):
    assert (
        same_as_python(
            script(
                "import dataclasses, pickle, typing\n"
                "@dataclasses.dataclass\nclass A:\n    x: 'int'\n"
                "print(pickle.loads(pickle.dumps(A(1))), typing.get_type_hints(A))\n"
            )
        ).status
        == 0
    )


EXITS = {
    "end": "pass",
    "sys.exit()": "import sys; sys.exit()",
    "sys.exit(3)": "import sys; sys.exit(3)",
    "sys.exit(text)": "import sys; sys.exit('text')",
    "exception": "raise LookupError('mine')",
    "inside run": "import asyncio, sys\nasync def m(): sys.exit(4)\nasyncio.run(m())",
    "exception inside run": "import asyncio\nasync def m(): 1 / 0\nasyncio.run(m())",
    "os._exit": "import os; os._exit(9)",
    "syntax error": "def (",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "keyboard interrupt": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("how", ["script", "-c", "-m"])
def test_the_exit_status_is_that_of_python(same_as_python, script, tmp_path, how, kind):
    if how == "script":
        same_as_python(script(EXITS[kind]))
    elif how == "-c":
        same_as_python("-c", EXITS[kind])
    else:
        (tmp_path / "ending.py").write_text(EXITS[kind])
        same_as_python("-m", "ending")


MISSING = [["no_such_file.py"], ["-m", "no_such_module"], ["."]]


@pytest.mark.parametrize("arguments", MISSING, ids=" ".join)
def test_a_program_that_is_missing_fails_as_in_python(same_as_python, arguments):
    assert same_as_python(*arguments).status != 0


def test_the_traceback_names_file_and_line(launch, script):
    path = script("\n\nraise LookupError('mine')\n")
    result = launch(path)
    assert result.status == 1
    assert f'File "{path}", line 3' in result.err
    assert result.err.rstrip().endswith("LookupError: mine")


def test_the_traceback_names_a_relative_script_as_python_does(child, launch, script):
    script("raise LookupError('mine')\n")
    wanted = child.finish(child.command("folder/program.py")).err.splitlines()[-3:]
    assert launch("folder/program.py").err.splitlines()[-3:] == wanted


def test_asyncio_run_in_the_program_runs_on_casyncio(launch, script, backend):
    result = launch(
        script(
            "import asyncio\n"
            "async def main():\n"
            "    loop = asyncio.get_running_loop()\n"
            "    print(type(loop).__module__.split('.')[0], loop.backend)\n"
            "asyncio.run(main())\n"
        )
    )
    assert result.out == f"casyncio {backend}\n" and result.err == ""


@pytest.mark.parametrize("style", [["--backend", "poll"], ["--backend=poll"]], ids=" ".join)
def test_the_backend_option_beats_the_environment(launch, style):
    code = (
        "import asyncio\nasync def main(): print(asyncio.get_running_loop().backend)\n"
        "asyncio.run(main())"
    )
    result = launch(*style, "-c", code, env={"CASYNCIO_BACKEND": "epoll"})
    assert result.out == "poll\n", result.err


def test_the_debug_option_switches_debug_on(launch):
    code = (
        "import asyncio\nasync def main(): print(asyncio.get_running_loop().get_debug())\n"
        "asyncio.run(main())"
    )
    assert launch("--debug", "-c", code).out == "True\n"
    assert launch("-c", code).out == "False\n"


def test_the_version_option_prints_the_version(launch):
    import casyncio

    result = launch("--version")
    assert result.status == 0 and result.out == f"casyncio {casyncio.__version__}\n"


def test_help_is_printed(launch):
    for option in "-h", "--help":
        result = launch(option)
        assert result.status == 0 and "usage: python -m casyncio" in result.out


REFUSED = {
    "unknown option": (["--no-such-option", "x.py"], "--no-such-option"),
    "unknown short option": (["-z"], "-z"),
    "nothing": ([], "usage"),
    "backend without a name": (["--backend"], "--backend"),
    "empty backend": (["--backend=", "-c", "pass"], "--backend"),
    "unknown backend": (["--backend", "kqueue", "-c", "print('ran')"], "kqueue"),
    "-m without a name": (["-m"], "-m"),
    "-c without code": (["-c"], "-c"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bad_command_line_is_refused_with_the_reason(launch, kind):
    arguments, word = REFUSED[kind]
    result = launch(*arguments)
    assert result.status == 2 and result.out == ""
    assert word in result.err and "Traceback" not in result.err


def test_an_unknown_backend_in_the_environment_is_refused(launch):
    result = launch("-c", "print('ran')", env={"CASYNCIO_BACKEND": "kqueue"})
    assert result.status != 0 and "kqueue" in result.err and "Traceback" not in result.err


def test_info_tells_backend_tasks_and_versions(launch, backend):
    import casyncio

    result = launch("info")
    assert result.status == 0 and result.err == ""
    for word in backend, casyncio.__version__, sys.version.split()[0], "Task", "CASYNCIO_BACKEND":
        assert word in result.out


@pytest.mark.parametrize(
    ("variable", "rows"),
    [
        ("CASYNCIO_TASKS", ("tasks",)),
        ("CASYNCIO_TRANSPORTS", ("transports", "TLS")),
        ("CASYNCIO_TLS", ("TLS",)),
    ],
)
def test_info_tells_which_variable_asks_for_asyncios_own(launch, variable, rows):
    reason = f"asked for by {variable}=stock"
    result = launch("info", env={variable: "stock"})
    told = {line.split()[0] for line in result.out.splitlines() if reason in line}
    assert result.status == 0 and told == set(rows), result.out


def test_info_tells_what_accelerate_leaves_to_asyncio(launch):
    (line,) = [s for s in launch("info").out.splitlines() if s.startswith("accelerate")]
    assert ("wait_for" in line) == (sys.version_info < (3, 12)) and "Lock" not in line
    told = launch("info", env={"CASYNCIO_TASKS": "stock"}).out
    assert "asyncio's own stay: sleep, gather" in told


def test_info_says_why_auto_is_epoll(launch):
    result = launch("info", env={"CASYNCIO_BACKEND": "auto"})
    assert "epoll (auto: for descriptors nothing is better" in result.out


def test_info_with_an_unknown_backend_says_so(launch):
    result = launch("info", env={"CASYNCIO_BACKEND": "kqueue"})
    assert result.status != 0 and "kqueue" in result.err and "Traceback" not in result.err


def test_bench_is_the_bench_command_unless_a_program_has_that_name(launch, tmp_path, monkeypatch):
    result = launch("bench", "--help")
    assert result.status == 0 and "--suite" in result.out
    assert launch("bench", "list").out.startswith("programs")
    result = launch("bench", "--only", "no such row", "--loops", "asyncio")
    assert result.status == 1 and "no workload has such a name" in result.err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench").mkdir()
    assert "--suite" in launch("bench", "--help").out
    (tmp_path / "bench" / "__main__.py").write_text("print('a program')")
    assert launch("bench", "--help").out == "a program\n"


def test_as_uvloop_gives_casyncio_to_who_imports_uvloop(launch):
    code = "import uvloop, casyncio; print(uvloop.Loop is casyncio.Loop)"
    assert launch("--as-uvloop", "-c", code).out == "True\n"
    seen = launch("-c", "import sys; print('uvloop' in sys.modules)")
    assert seen.out == "False\n"


def test_the_alias_of_uvloops_run_refuses_another_loop_as_uvloop_does(launch):
    code = (
        "import asyncio, uvloop\n"
        "async def main(): return type(asyncio.get_running_loop()) is uvloop.Loop\n"
        "print(uvloop.run(main()))\n"
        "coro = main()\n"
        "uvloop.run(coro, loop_factory=asyncio.SelectorEventLoop)"
    )
    result = launch("--as-uvloop", "-c", code)
    assert result.out == "True\n"
    assert "TypeError: uvloop.run() uses a non-uvloop event loop" in result.err


SLEEPS = """
import asyncio, sys
async def main():
    print("ready", flush=True)
    await asyncio.sleep(100)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["script", "-c", "-m"])
def test_ctrl_c_ends_the_program_as_it_ends_python(child, script, tmp_path, how):
    (tmp_path / "sleeping.py").write_text(SLEEPS)
    arguments = {"script": [script(SLEEPS)], "-c": ["-c", SLEEPS], "-m": ["-m", "sleeping"]}[how]
    process = child.command("-m", "casyncio", *arguments)
    assert child.interrupt_when_ready(process) == "ready\n"
    result = child.finish(process, 10)
    assert result.status == -signal.SIGINT
    assert result.err.rstrip().endswith("KeyboardInterrupt")


def test_a_shell_sees_status_130_after_ctrl_c(child, script, tmp_path):
    path = script("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = subprocess.run(
        ["sh", "-c", '"$0" -m casyncio "$1"; echo $?', sys.executable, path],
        capture_output=True,
        text=True,
        timeout=30,
        env=child.env,
        cwd=tmp_path,
    )
    assert result.stdout == "130\n"


def test_standard_input_stays_the_programs(child, script, tmp_path):
    path = script("import sys\nprint(sys.stdin.read().upper())\n")
    result = subprocess.run([sys.executable, "-m", "casyncio", path], input="abc", text=True,
                            capture_output=True, timeout=30, env=child.env,
                            cwd=tmp_path)  # fmt: skip
    assert result.stdout == "ABC\n"


def test_a_program_may_start_children_by_spawn(launch, script):
    result = launch(
        script(
            "import multiprocessing\n"
            "def double(x):\n    return x * 2\n"
            "if __name__ == '__main__':\n"
            "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
            "        print(pool.map(double, [1, 2]))\n"
        )
    )
    assert result.out == "[2, 4]\n", result.err


def test_nothing_is_left_of_the_launcher_in_the_programs_names(same_as_python, script):
    same_as_python(script("print(sorted(name for name in globals()))\n"))


def test_warnings_of_the_launcher_are_none(child, script):
    path = script("import asyncio\nasyncio.run(asyncio.sleep(0))\n")
    result = child.finish(child.command("-W", "error", "-m", "casyncio", path))
    assert result.status == 0 and result.err == ""
