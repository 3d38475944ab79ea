"""What the README tells the reader to type does what it says."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(650)
ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MANUAL = sorted((ROOT / "docs").glob("*.md"))

PREPARED = """
import asyncio, casyncio, signal
try:
    from aiohttp import web
except ImportError:
    web = None
seen = []

async def main():
    seen.append(type(asyncio.get_running_loop()))

async def app():
    application = web.Application()
    async def look(application):
        await main()
        signal.raise_signal(signal.SIGINT)
    application.on_startup.append(look)
    return application

app = app()
"""
CHECKED = """
assert seen and set(seen) <= {casyncio.Loop}, seen
"""
# What has to stand around an expression of the table so that a loop runs.
FORMS = {
    "asyncio.Runner(": "with {} as runner: runner.run(main())",
    "casyncio.install(": "{}; asyncio.run(main())",
    "casyncio.alias_uvloop()": "{}; import uvloop; uvloop.run(main())",
    "web.run_app(": "{}",
    "casyncio.run(": "{}",
    "asyncio.run(": "{}",
}


def table_cells(text):
    """The last cells of all rows of tables, as pieces of code."""
    rows = re.findall(r"^\| .* \| (.*) \|$", text, re.M)
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


SWITCHES = [code for code in table_cells(README) if "casyncio" in code]
PYTHON = [code for code in SWITCHES if re.match(r"(asyncio|casyncio|web)\.[\w.]+\(", code)]
COMMANDS = [code for code in SWITCHES if code.startswith("python -m casyncio")]


def python(*argv, cwd=None, timeout=600):
    """Run this interpreter away from the sources."""
    done = subprocess.run(
        [sys.executable, *map(str, argv)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_table_of_switches_is_found():
    assert len(PYTHON) >= 6 and len(COMMANDS) >= 3


@pytest.mark.parametrize("code", PYTHON)
def test_an_expression_of_the_table_runs_on_casyncio(code, tmp_path):
    if "web." in code:
        pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    if code.startswith("asyncio.run(") and sys.version_info < (3, 12):
        pytest.skip("asyncio.run() has no loop_factory before 3.12")
    (form,) = [form for start, form in FORMS.items() if code.startswith(start)]
    program = PREPARED + form.format(code) + "\n" + CHECKED
    python("-c", program, cwd=tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_table_runs_the_program(command, tmp_path):
    program = "import asyncio\nasync def main(): print(type(asyncio.get_running_loop()))\n"
    (tmp_path / "app.py").write_text(program + "asyncio.run(main())\n")
    (tmp_path / "package.py").write_text(program + "asyncio.run(main())\n")
    done = python(*shlex.split(command)[1:], cwd=tmp_path)
    assert done.stdout == "<class 'casyncio._loop.Loop'>\n"


def command_lines(text):
    """The lines of indented blocks, and pieces of code that are commands."""
    lines = re.findall(r"^    (\w.*)$", text, re.M)
    lines += re.findall(r"`((?:python -m casyncio|make) [^`]*)`", text)
    return [line.split("#")[0].strip() for line in lines]


@pytest.mark.parametrize("path", [ROOT / "README.md", *MANUAL], ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path):
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.M))
    lines = command_lines(path.read_text())
    named = [line.split()[1] for line in lines if line.startswith("make ")]
    assert set(named) <= targets
    assert named or path.name != "README.md"


def bench_commands():
    """The bench commands of README and manual."""
    texts = [README, *(path.read_text() for path in MANUAL)]
    lines = [line for text in texts for line in command_lines(text)]
    return sorted({line for line in lines if line.startswith("python -m casyncio bench")})


@pytest.mark.parametrize("command", bench_commands())
def test_a_bench_command_runs(command, tmp_path):
    words = shlex.split(command.replace("GLOB", "call_soon_chain").replace("<name>", "poll"))[1:]
    if "report" in words or "list" in words:
        pytest.skip("it needs the file of another run, or measures nothing")
    short = ["--loops", "asyncio,casyncio", "--rounds", "1", "--seconds", "0.01"]
    only = [] if "--only" in words else ["--only", "call_soon_chain"]
    if "program_*" in words:
        words[words.index("program_*")] = "program_gather_tree"
    done = python(*words, *short, *only, cwd=tmp_path)
    assert "casyncio loses" in done.stdout
    assert all((tmp_path / word).exists() for word in words if word.endswith(".svg"))


def test_info_is_printed_as_the_readme_says():
    assert "python -m casyncio info" in README
    assert python("-m", "casyncio", "info").stdout.startswith("casyncio")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_make_try_sets_up_an_environment_and_runs_the_example(sources, quiet_env):
    done = subprocess.run(
        ["make", "try", f"PYTHON={sys.executable}"],
        cwd=sources,
        env=quiet_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout
    assert "casyncio" in done.stdout
