"""The type stubs say what the module says."""

import importlib.resources
import subprocess
import sys

import pytest


@pytest.mark.timeout(650)
def test_stubs_agree_with_the_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "casyncio"],
        cwd=tmp_path,  # away from the sources, so that it looks at what is installed
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Success" in done.stdout


def test_the_package_says_that_it_is_typed():
    folder = importlib.resources.files("casyncio")
    assert folder.joinpath("py.typed").is_file()
    assert folder.joinpath("_native.pyi").is_file()
