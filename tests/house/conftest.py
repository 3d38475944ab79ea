"""What the house checks share: the root of the tree, and the files in it."""

import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root():
    """The folder that holds src, casyncio and tests."""
    return ROOT


def in_a_clone():
    """Every file that is, or is about to be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [ROOT / name for name in sorted(set(listing.splitlines()))]


def unpacked():
    """Every file of a source distribution, without what was built and left there."""
    left = {"build", "dist", ".venv", "__pycache__", ".hypothesis", "PKG-INFO"}
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*"))
    return sorted(
        ROOT / path
        for path in found
        if not any(part in left or part.endswith("_cache") for part in path.parts)
    )


@pytest.fixture(scope="session")
def files():
    """Every file of the repository."""
    found = in_a_clone() if (ROOT / ".git").exists() else unpacked()
    found = [path for path in found if path.is_file()]
    assert found, "there is no file"
    return found


@pytest.fixture(scope="session")
def c_files(files):
    """The C files among them."""
    found = [path for path in files if path.suffix in (".c", ".h")]
    assert found, "there is no C file"
    return found
