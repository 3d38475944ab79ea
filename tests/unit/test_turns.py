"""One turn after the other: what a turn runs, in which order, and when it looks at the sockets."""

import pytest


@pytest.fixture
def lazy_loop(loop):
    """Return a loop that has settled and looks at its sockets only when it must."""
    for _ in range(3):
        loop.call_later(0.003, loop.stop)
        loop.run_forever()
    if hasattr(loop, "_poll_budget"):
        loop._poll_budget = (1_000_000, 1_000_000)
        loop.stop()
        loop.run_forever()
    return loop


def test_queued_callbacks_run_before_the_io_that_the_turn_finds(lazy_loop, pair):
    loop = lazy_loop
    first, second = pair
    seen = []
    loop.add_reader(first, lambda: (seen.append("io"), first.recv(10)))
    second.send(b"x")
    loop.call_soon(seen.append, "queued")
    loop.call_later(0, seen.append, "timer")
    loop.stop()
    loop.run_forever()
    loop.remove_reader(first)
    assert seen == ["queued", "io", "timer"]


def test_the_first_turn_of_a_run_looks_at_the_descriptors(lazy_loop, pair):
    loop = lazy_loop
    first, second = pair
    seen = []
    loop.add_reader(first, lambda: (seen.append("io"), first.recv(10)))
    for _ in range(3):
        seen.clear()
        second.send(b"x")
        loop.call_soon(lambda: (seen.append("queued"), loop.call_soon(last)))

        def last():
            seen.append("last")
            loop.stop()

        loop.run_forever()
        assert seen == ["queued", "io", "last"]
    loop.remove_reader(first)


@pytest.mark.parametrize("turns", [*range(1, 12), 31, 32, 33, 63, 64, 65, 127, 128, 200])
def test_io_that_came_before_the_last_turn_is_delivered_in_this_run(lazy_loop, pair, turns):
    loop = lazy_loop
    first, second = pair
    seen = []

    def turn(left):
        if left == 1:
            second.send(b"x")
        if left:
            loop.call_soon(turn, left - 1)
        else:
            loop.call_soon(seen.append, "of the next run")
            loop.stop()

    loop.add_reader(first, lambda: (seen.append("io"), first.recv(10)))
    loop.call_soon(turn, turns)
    loop.run_forever()
    assert seen == ["io"]
    loop.stop()
    loop.run_forever()
    loop.remove_reader(first)
    assert seen == ["io", "of the next run"]


def test_a_single_turn_may_be_run_by_hand(loop):
    seen = []
    loop.call_soon(lambda: (seen.append(1), loop.call_soon(seen.append, 2)))
    loop._run_once()
    assert seen == [1]
    loop._run_once()
    assert seen == [1, 2]
