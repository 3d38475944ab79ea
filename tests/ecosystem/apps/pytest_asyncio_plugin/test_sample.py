"""Tests for pytest-asyncio, run in a pytest of their own by test_frameworks.py."""

import asyncio
import os

import pytest
import pytest_asyncio


@pytest_asyncio.fixture
async def queue():
    """A queue made on the test's loop, with an item that arrives later."""
    queue = asyncio.Queue()
    asyncio.get_running_loop().call_later(0.01, queue.put_nowait, "late")
    yield queue
    await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_runs_on_casyncio():
    """The loop is casyncio's on the wanted backend."""
    loop = asyncio.get_running_loop()
    assert type(loop).__module__.startswith("casyncio")
    assert loop.backend == os.environ["CASYNCIO_BACKEND"]


@pytest.mark.asyncio
async def test_shares_the_loop_with_its_fixture(queue):
    """What the fixture started arrives here."""
    assert await asyncio.wait_for(queue.get(), 5) == "late"
