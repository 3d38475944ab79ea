"""Source distribution and wheel hold what they should, and can be installed."""

import re
import shutil
import subprocess
import tarfile
import zipfile

import glibc
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

IMPORT_AND_RUN = """
import asyncio, casyncio

async def main():
    await asyncio.sleep(0.01)
    return type(asyncio.get_running_loop())

assert casyncio.run(main()) is casyncio.Loop
print(casyncio.__version__)
"""


def version(root):
    """The one place where the version is written."""
    return re.search(r'^version = "(.+)"$', (root / "pyproject.toml").read_text(), re.M).group(1)


@pytest.fixture
def root(request):
    """The folder that holds src, casyncio and tests."""
    return request.config.rootpath


def in_the_repository(root):
    """The files that belong to a clone: those that git knows or would add."""
    if not shutil.which("git") or not (root / ".git").exists():
        pytest.skip("not in a clone, so that nobody knows which files belong to it")
    options = ["--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", *options], capture_output=True, text=True, check=True
    ).stdout
    return {name for name in listing.split("\0") if name and (root / name).exists()}


def test_sdist_holds_the_repository_and_nothing_else(root, dist):
    with tarfile.open(dist["sdist"]) as tar:
        members = {m.name.split("/", 1)[1]: m for m in tar.getmembers() if m.isfile()}
    assert members.keys() == in_the_repository(root) | {"PKG-INFO"}
    assert {"docs/tour.md", "tests/unit/conftest.py", "src/task/step.c"} <= members.keys()
    assert members[".ci/run"].mode & 0o100


def test_wheel_holds_the_package_and_its_licence(root, dist):
    with zipfile.ZipFile(dist["wheel"]) as wheel:
        names = set(wheel.namelist())
    native = {name for name in names if re.fullmatch(r"casyncio/_native\.cpython-\S+\.so", name)}
    about = {name for name in names if name.startswith(f"casyncio-{version(root)}.dist-info/")}
    package = {str(p.relative_to(root)) for p in (root / "casyncio").rglob("*") if p.is_file()}
    package = {name for name in package if not name.endswith((".so", ".pyc"))}
    assert len(native) == 1
    assert any(name.endswith("/LICENSE") for name in about)
    assert names == native | about | package


def test_wheel_made_from_the_sdist_runs_in_a_clean_environment(root, dist, new_environment):
    clean = new_environment("wheel")
    done = clean.pip("install", "--no-index", "--no-deps", dist["wheel"])
    assert done.returncode == 0, done.stdout
    done = clean.run("-W", "error", "-c", IMPORT_AND_RUN)
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == version(root)


def test_sdist_builds_offline_where_its_requirements_are_present(dist, new_environment, quiet_env):
    offline = new_environment("offline")
    done = offline.pip("install", "scikit-build-core", "cmake", "ninja", env=quiet_env)
    assert done.returncode == 0, done.stdout
    quiet_env["PATH"] = f"{offline.folder / 'bin'}:{quiet_env['PATH']}"
    away = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    options = ["--no-index", "--no-build-isolation", "--no-deps"]
    done = offline.pip("install", *options, dist["sdist"], env={**quiet_env, **away})
    assert done.returncode == 0, done.stdout
    done = offline.run("-W", "error", "-c", IMPORT_AND_RUN)
    assert done.returncode == 0, done.stdout


def test_wheel_can_be_installed_where_glibc_is_2_28(dist, tmp_path):
    with zipfile.ZipFile(dist["wheel"]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".so")]
        native = wheel.extract(name, tmp_path)
    assert glibc.main(["--max", "2.28", native]) == 0


def test_the_module_exports_its_init_function_only(dist, tmp_path):
    with zipfile.ZipFile(dist["wheel"]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".so")]
        native = wheel.extract(name, tmp_path)
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", native], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[-1] for line in listing.splitlines()] == ["PyInit__native"]


def test_pip_install_of_a_clone_runs_in_a_clean_environment(
    root, sources, new_environment, quiet_env
):
    clean = new_environment("clone")
    done = clean.pip("install", "--no-deps", sources, env=quiet_env)
    assert done.returncode == 0, done.stdout
    done = clean.run("-W", "error", "-c", IMPORT_AND_RUN)
    assert done.returncode == 0, done.stdout
    assert done.stdout.strip() == version(root)
