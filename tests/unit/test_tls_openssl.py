"""Which OpenSSL the native engine drives, and that it drives no other."""

import _ssl
import os
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ours("stock has no engines")


@pytest.fixture
def tls(engine):
    if engine != "native":
        pytest.skip("the other engine looks for no OpenSSL")
    from casyncio import _tls

    return _tls


def test_an_openssl_of_another_version_is_not_driven(tls, monkeypatch):
    assert tls._find_native() is None
    monkeypatch.setattr(ssl, "OPENSSL_VERSION_NUMBER", ssl.OPENSSL_VERSION_NUMBER + 1)
    assert "not the one that _ssl uses" in tls._find_native()


def library_in_use():
    """Return the file of the libssl that _ssl has loaded."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if found := re.search(r"/\S+/libssl\.so\S*$", line):
            return Path(found[0])
    pytest.skip("_ssl has its OpenSSL inside")


PROGRAM = """
import asyncio, ssl, sys
import casyncio
from casyncio import _tls
print(*_tls.choose(), sep=": ")
async def main():
    context = ssl.create_default_context()
    try:
        await asyncio.open_connection("127.0.0.1", int(sys.argv[1]), ssl=context)
    except OSError:
        print("tried")
casyncio.run(main())
"""


def test_another_copy_of_openssl_that_stands_before_it_is_noticed(tls, tmp_path):
    """_ssl calls the first of them, which is not the one among its own dependencies."""
    assert _ssl.__file__
    original = library_in_use()
    copy = tmp_path / "another.so"
    name = original.resolve().name.encode()
    soname = re.search(rb"libssl\.so\.[\d.]+", name)[0]
    copy.write_bytes(original.read_bytes().replace(soname, soname.replace(b"ssl", b"ssX")))
    # A sanitizer's runtime, where there is one, insists on being the first.
    preloaded = f"{os.environ.get('LD_PRELOAD', '')} {copy}".strip()
    kept = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "9"],
        env=kept | {"LD_PRELOAD": preloaded, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "another.so" in done.stderr:
        pytest.skip(f"it cannot be loaded: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "membio: its _ssl module shows no functions of OpenSSL, or others'",
        "tried",
    ]
