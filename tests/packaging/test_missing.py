"""Where casyncio cannot be built, one line says what is missing."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def environment(new_environment):
    """One clean environment for all attempts; none of them installs anything."""
    return new_environment("missing")


def reason(done):
    """The one line of a failed installation that says why."""
    assert done.returncode != 0, done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    (said,) = [line for line in lines if line.startswith("casyncio:")]
    return said


def test_without_a_compiler_one_line_says_so(environment, sources, quiet_env):
    quiet_env["PATH"] = str(environment.folder / "bin")
    said = reason(environment.pip("install", "--no-deps", sources, env=quiet_env))
    assert said == (
        "casyncio: no C compiler found (looked for cc, gcc and clang on PATH);"
        " install one, e.g. gcc, or set CC."
    )


def test_a_compiler_that_cc_names_and_that_is_missing_is_named(environment, sources, quiet_env):
    quiet_env["CC"] = "no-such-compiler -O2"
    said = reason(environment.pip("install", "--no-deps", sources, env=quiet_env))
    assert said.startswith("casyncio: no C compiler found (looked for no-such-compiler,")


def test_without_python_headers_one_line_says_so(environment, sources, quiet_env, tmp_path):
    quiet_env["SKBUILD_CMAKE_ARGS"] = f"-DPython_INCLUDE_DIR={tmp_path / 'nowhere'}"
    said = reason(environment.pip("install", "--no-deps", sources, env=quiet_env))
    assert said.startswith("casyncio: Python.h of ") and "-dev" in said


@pytest.mark.parametrize("system", ["Darwin", "FreeBSD", "Windows"])
def test_on_another_system_one_line_says_that_linux_is_needed(
    environment, sources, quiet_env, system
):
    quiet_env["SKBUILD_CMAKE_ARGS"] = f"-DCMAKE_SYSTEM_NAME={system}"
    said = reason(environment.pip("install", "--no-deps", sources, env=quiet_env))
    assert said.startswith("casyncio: needs Linux") and said.endswith(f"this system is {system}.")
