"""call_later and call_at: delays of every kind, order, exactness, cancelling."""

import decimal
import fractions
import math
import random
import time
import weakref

import pytest


def nothing(*args):
    """Accept anything."""


class FloatOnly:
    """A number that can only be converted."""

    def __float__(self):
        return 0.0


class NumpyLike:
    """A scalar of numpy's manner: arithmetic with floats gives floats."""

    def __init__(self, value):
        self.value = value

    def __float__(self):
        return float(self.value)

    def __radd__(self, other):
        return other + self.value


class RaisingFloat:
    """A number whose arithmetic fails."""

    def __float__(self):
        raise ZeroDivisionError("no number")

    def __radd__(self, other):
        raise ZeroDivisionError("no number")


class Thing:
    """Something that weak references can watch."""


def fires(loop, delay, *, by_time=0.5):
    """Return whether a call_later(delay) runs before the time is over."""
    seen = []
    loop.call_later(delay, seen.append, "fired")
    end = loop.call_later(by_time, loop.stop)
    loop.call_later(0, lambda: None)

    def look():
        if seen:
            loop.stop()
        else:
            loop.call_later(0.001, look)

    loop.call_soon(look)
    loop.run_forever()
    end.cancel()
    return seen == ["fired"]


@pytest.mark.parametrize(
    "delay",
    [0, 0.0, -0.0, False, True * 0.001, 1e-9, 5e-324, fractions.Fraction(1, 1000), NumpyLike(0.001),
     NumpyLike(0), -1, -1.5, -1e9, -(10**30), -math.inf],
    ids=lambda delay: f"{type(delay).__name__}-{float(delay)}",
)  # fmt: skip
def test_a_delay_of_any_number_type_fires(loop, delay):
    assert fires(loop, delay)


@pytest.mark.parametrize("delay", [1e9, 1e300, 10**30, math.inf, 2**63 / 1e9, 2**64, 3e10])
def test_a_huge_delay_never_fires_and_the_loop_goes_on(loop, delay):
    assert not fires(loop, delay, by_time=0.02)


@pytest.mark.parametrize("method", ["call_later", "call_at"])
@pytest.mark.ours("stock accepts NaN and breaks the order of its heap")
def test_nan_is_refused_at_the_call(loop, method):
    with pytest.raises(ValueError, match="NaN"):
        getattr(loop, method)(math.nan, nothing)
    assert fires(loop, 0)


def test_true_is_a_delay_of_one_second(loop):
    before = loop.time()
    assert before + 1 <= loop.call_later(True, nothing).when() <= loop.time() + 1


@pytest.mark.parametrize(
    "delay",
    [None, "1", b"1", object(), [], decimal.Decimal(1), FloatOnly(), RaisingFloat(), 10**400],
    ids=["None", "str", "bytes", "object", "list", "Decimal", "FloatOnly", "Raising", "10**400"],
)
def test_a_bad_delay_fails_in_stocks_words(same_error, delay):
    same_error(lambda loop: loop.call_later(delay, nothing))


@pytest.mark.ours("stock accepts it and breaks down in the next turn")
def test_a_complex_delay_is_refused_at_the_call(loop):
    with pytest.raises(TypeError):
        loop.call_later(1j, nothing)


def test_call_at_none_gives_stocks_error(same_error):
    assert same_error(lambda loop: loop.call_at(None, nothing)) is TypeError


@pytest.mark.parametrize("when", ["1", b"1", object(), [], 1j], ids=lambda x: type(x).__name__)
@pytest.mark.ours("stock accepts it and breaks down in the next turn")
def test_a_bad_moment_is_refused_at_the_call(loop, when):
    with pytest.raises(TypeError):
        loop.call_at(when, nothing)
    assert fires(loop, 0)


@pytest.mark.ours("stock raises OverflowError out of the next turn")
def test_a_moment_beyond_every_float_leaves_the_loop_usable(loop):
    with pytest.raises(OverflowError, match="^int too large to convert to float$"):
        loop.call_at(10**400, nothing)
    assert fires(loop, 0)


@pytest.mark.parametrize("when", [math.inf, 1e300, 10**30, 2**63, 1e12])
def test_a_moment_far_ahead_never_comes(loop, turns, when):
    seen = []
    loop.call_at(when, seen.append, 1)
    assert not fires(loop, 3600, by_time=0.02)
    assert seen == []


@pytest.mark.parametrize("when", [-math.inf, -1e300, -(10**30), 0, -1.5, False])
def test_a_moment_long_past_fires_at_once(loop, when):
    seen = []
    loop.call_at(when, lambda: (seen.append(when), loop.stop()))
    loop.run_forever()
    assert seen == [when]


def test_moments_in_the_past_fire_in_the_order_of_time(loop, turns):
    seen = []
    now = loop.time()
    for ago in (1, 3, 2, 50, 0.5):
        loop.call_at(now - ago, seen.append, ago)
    turns(loop, 2)
    assert seen == [50, 3, 2, 1, 0.5]


def test_negative_delays_fire_in_the_order_of_time(loop, turns):
    seen = []
    for delay in (-1, -3, -2, 0):
        loop.call_later(delay, seen.append, delay)
    turns(loop, 2)
    assert seen == [-3, -2, -1, 0]


@pytest.mark.ours("stock's heap does not keep the order of equal moments")
def test_equal_moments_fire_in_the_order_of_the_calls(loop):
    seen = []
    when = loop.time() + 0.01
    for number in range(500):
        loop.call_at(when, seen.append, number)
    loop.call_at(when + 0.001, loop.stop)
    loop.run_forever()
    assert seen == list(range(500))


@pytest.mark.ours("stock's heap does not keep the order of equal moments")
def test_equal_moments_keep_their_order_when_others_are_cancelled(loop):
    seen = []
    when = loop.time() + 0.01
    handles = [loop.call_at(when, seen.append, number) for number in range(300)]
    for number in range(0, 300, 3):
        handles[number].cancel()
    loop.call_at(when + 0.001, loop.stop)
    loop.run_forever()
    assert seen == [number for number in range(300) if number % 3]


def test_ten_thousand_timers_in_random_order_fire_sorted(loop):
    seen = []
    start = loop.time()
    moments = [start + number * 2e-6 for number in range(10_000)]
    shuffled = random.Random(7).sample(moments, len(moments))
    for when in shuffled:
        loop.call_at(when, seen.append, when)
    loop.call_at(moments[-1] + 0.001, loop.stop)
    loop.run_forever()
    assert seen == moments


def test_random_cancelling_leaves_the_rest_sorted(loop):
    seen = []
    rng = random.Random(11)
    start = loop.time()
    live = {start + number * 3e-6: None for number in range(5000)}
    for when in rng.sample(list(live), len(live)):
        live[when] = loop.call_at(when, seen.append, when)
    for when in rng.sample(list(live), 3000):
        live.pop(when).cancel()
    loop.call_at(start + 0.02, loop.stop)
    loop.run_forever()
    assert seen == sorted(live)


def test_a_timer_never_fires_before_its_moment(loop):
    early = []
    pending = [400]

    def check(when):
        if loop.time() < when:
            early.append(when - loop.time())
        pending[0] -= 1
        if not pending[0]:
            loop.stop()

    start = loop.time()
    rng = random.Random(3)
    for _ in range(pending[0]):
        when = start + rng.random() * 0.2
        loop.call_at(when, check, when)
    loop.run_forever()
    assert early == []


@pytest.mark.ours("stock waits in whole milliseconds")
def test_a_fifth_of_a_millisecond_is_waited_exactly(loop):
    best = math.inf
    for _ in range(50):
        start = time.perf_counter()
        loop.call_later(0.0002, loop.stop)
        loop.run_forever()
        best = min(best, time.perf_counter() - start)
    assert 0.0002 <= best < 0.001


def test_the_loop_waits_without_using_the_cpu(loop):
    before = time.process_time()
    loop.call_later(0.3, loop.stop)
    loop.run_forever()
    assert time.process_time() - before < 0.1


def test_the_clock_is_the_monotonic_one(loop):
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()


def test_the_moment_is_kept_exactly(loop):
    for when in (1 / 3, 0.1, 1e-9, 123456.789012345678, -1 / 7, 2.0**53, math.inf, -math.inf, 5):
        assert loop.call_at(when, nothing).when() == when


@pytest.mark.parametrize("when", [0, 5, -3, 10**9, 2**53, 7.0, 0.5])
def test_a_moment_given_as_an_int_is_shown_as_one(loop, when):
    """As aiohttp's tests want it: it rounds moments up with ceil()."""
    handle = loop.call_at(when, nothing)
    assert (type(handle.when()), handle.when()) == (type(when), when)
    assert (type(handle._when), handle._when) == (type(when), when)
    assert f"when={when}" in repr(handle)
    assert hash(handle) == hash(when)
    handle.cancel()
    assert (type(handle.when()), handle.when()) == (type(when), when)


def test_call_later_counts_from_now(loop):
    before = loop.time()
    when = loop.call_later(0.25, nothing).when()
    assert before + 0.25 <= when <= loop.time() + 0.25


def test_a_timer_cancelled_before_its_moment_does_not_fire(loop):
    seen = []
    loop.call_later(0.005, seen.append, 1).cancel()
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert seen == []


def test_a_timer_may_be_cancelled_after_it_fired_and_twice(loop):
    handle = loop.call_later(0, loop.stop)
    loop.run_forever()
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()


def test_a_timer_may_cancel_itself_while_it_runs(loop):
    seen = []

    def fire():
        handle.cancel()
        seen.append(handle.cancelled())
        loop.stop()

    handle = loop.call_later(0, fire)
    loop.run_forever()
    assert seen == [True]


def test_a_due_timer_cancelled_by_another_in_the_same_turn_does_not_fire(loop, turns):
    seen = []
    past = loop.time() - 10
    handles = {}
    loop.call_at(past, lambda: handles["second"].cancel())
    handles["second"] = loop.call_at(past + 1, seen.append, "second")
    loop.call_at(past + 2, seen.append, "third")
    turns(loop, 2)
    assert seen == ["third"]


def test_a_callback_cancelled_by_an_earlier_one_of_the_turn_does_not_run(loop, turns):
    seen = []
    loop.call_soon(lambda: second.cancel())
    second = loop.call_soon(seen.append, "second")
    loop.call_soon(seen.append, "third")
    turns(loop)
    assert seen == ["third"]


def test_a_timer_of_no_delay_made_by_a_callback_fires_in_the_next_turn(loop, turns):
    seen = []
    loop.call_soon(lambda: loop.call_later(0, seen.append, "timer"))
    turns(loop)
    assert seen == []
    turns(loop)
    assert seen == ["timer"]


def test_due_timers_run_after_what_was_queued_before(loop, turns):
    seen = []
    loop.call_later(0, seen.append, "timer")
    loop.call_soon(seen.append, "queued")
    turns(loop, 2)
    assert seen == ["queued", "timer"]


def test_cancelling_releases_callback_and_arguments_at_once(loop, collect):
    thing = Thing()
    alive = weakref.ref(thing)
    handle = loop.call_later(3600, nothing, thing)
    del thing
    handle.cancel()
    collect()
    assert alive() is None and handle.cancelled()


def test_a_fired_timer_releases_its_arguments(loop, collect):
    thing = Thing()
    alive = weakref.ref(thing)
    loop.call_later(0, nothing, thing)
    del thing
    loop.call_later(0.005, loop.stop)
    loop.run_forever()
    collect()
    assert alive() is None


def test_cancelled_timers_give_their_memory_back(loop, turns, collect):
    handles = [loop.call_later(3600 + number, nothing) for number in range(20_000)]
    alive = [weakref.ref(handle) for handle in handles]
    for handle in handles:
        handle.cancel()
    del handles, handle
    turns(loop, 2)
    collect()
    assert sum(ref() is not None for ref in alive) == 0


@pytest.mark.ours("stock keeps cancelled timers until half of its heap is cancelled")
def test_a_cancelled_timer_is_out_of_the_heap_at_once(loop):
    kept = [loop.call_later(3600, nothing) for _ in range(10)]
    loop.call_later(1800, nothing).cancel()
    assert len(loop._scheduled) == len(kept)


def test_timers_survive_a_run_that_ended_before_their_moment(loop, turns):
    seen = []
    loop.call_later(0.01, seen.append, "late")
    turns(loop, 3)
    assert seen == []
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert seen == ["late"]


def test_cancelling_a_timer_of_a_closed_loop_is_harmless(loop):
    handle = loop.call_later(3600, nothing)
    loop.close()
    handle.cancel()
    assert handle.cancelled() and repr(handle)


def test_a_timer_made_while_the_loop_sleeps_earlier_than_all_fires_first(loop, in_thread):
    seen = []
    loop.call_later(5, seen.append, "late")

    def from_thread():
        time.sleep(0.05)
        loop.call_soon_threadsafe(loop.call_later, 0, loop.stop)

    start = time.monotonic()
    loop.run_in_executor(None, from_thread)
    loop.run_forever()
    assert seen == [] and time.monotonic() - start < 3
    loop.run_until_complete(loop.shutdown_default_executor())
