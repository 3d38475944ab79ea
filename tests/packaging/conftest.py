"""A copy of the sources, what is built from it, and environments to put it into."""

import os
import pathlib
import shutil
import subprocess
import sys
import venv

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# What a clone has and a build may see; the rest (build, .venv, .git) stays away,
# so that nothing of an earlier build helps.
CLONED = ("CMakeLists.txt", "CHANGELOG.md", "LICENSE", "Makefile", "README.md", "pyproject.toml")
CLONED_FOLDERS = (
    "casyncio",
    "src",
    "tests",
    "tools",
    "docs",
    "benchmarks",
    "examples",
    "requirements",
)


def run(*argv, env=None, cwd=None, timeout=600):
    """Run a command to its end; gives CompletedProcess with both streams in stdout."""
    return subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )


class Environment:
    """A virtual environment without anything in it but pip."""

    def __init__(self, folder):
        venv.create(folder, with_pip=True)
        self.folder = folder
        self.python = folder / "bin/python"

    def run(self, *argv, **more):
        """Run its Python away from the sources."""
        return run(self.python, *argv, cwd=self.folder, **more)

    def pip(self, *argv, **more):
        """Run its pip."""
        return self.run("-m", "pip", "--disable-pip-version-check", *argv, **more)


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory):
    """A function that makes an Environment."""
    return lambda name: Environment(tmp_path_factory.mktemp("environment") / name)


@pytest.fixture
def sources(tmp_path):
    """A copy of the sources in which nothing was built yet."""
    copy = tmp_path / "sources"
    copy.mkdir()
    for name in CLONED:
        shutil.copy(ROOT / name, copy)
    for name in CLONED_FOLDERS:
        if (ROOT / name).exists():
            rubbish = shutil.ignore_patterns("__pycache__", "*.so", ".*_cache")
            shutil.copytree(ROOT / name, copy / name, ignore=rubbish)
    return copy


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """What `python -m build` makes of the sources: {"sdist": path, "wheel": path}."""
    out = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--outdir", out, ROOT, cwd=out)
    assert done.returncode == 0, done.stdout[-5000:]
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture
def quiet_env():
    """The environment's variables without those that steer a build."""
    steering = ("CC", "CFLAGS", "LDFLAGS", "CMAKE_", "SKBUILD_", "PYTHON", "LD_PRELOAD")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)}
