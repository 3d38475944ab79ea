"""What tools and documents are made with can be installed on the oldest supported Python."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
OLDEST = "3.11.0"
# Those of tests are installed on every Python anyway.
LISTS = ("bench", "dev", "docs", "release", "tools")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_pins_can_be_installed_on_the_oldest_python(new_environment, quiet_env, tmp_path):
    lists = [f"--requirement={ROOT / 'requirements' / name}.txt" for name in LISTS]
    done = new_environment("pins").pip(
        "install",
        "--dry-run",
        "--quiet",
        "--only-binary=:all:",
        f"--python-version={OLDEST}",
        f"--target={tmp_path}",
        *lists,
        env=quiet_env,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout
