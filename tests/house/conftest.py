"""What the house checks share: the root of the tree, and the files in it."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    """The folder that holds src, casyncio and tests."""
    return ROOT


@pytest.fixture(scope="session")
def files():
    """Every file that is, or is about to be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [ROOT / name for name in sorted(set(listing.splitlines()))]
    found = [path for path in found if path.is_file()]
    assert found, "git lists no file"
    return found


@pytest.fixture(scope="session")
def c_files(files):
    """The C files among them."""
    found = [path for path in files if path.suffix in (".c", ".h")]
    assert found, "there is no C file"
    return found
