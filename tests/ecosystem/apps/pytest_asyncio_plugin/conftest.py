"""Makes pytest-asyncio run tests on casyncio, by the hook it has for that."""

import casyncio


def pytest_asyncio_loop_factories(config, item):
    """Offer casyncio's loop and no other."""
    return {"casyncio": casyncio.new_event_loop}
