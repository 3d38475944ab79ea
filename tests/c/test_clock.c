/* test_clock.c - deadlines to the nanosecond, and what the pace may
 * believe. */
#include "base/clock.h"

#include "check.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static uint64_t seed = 88172645463325252u;

static uint64_t
random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* The double next to x, further from zero: nextafter() without libm. */
static double
next_double(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    bits++;
    memcpy(&x, &bits, sizeof(bits));
    return x;
}

/* Whether r is the smallest reading that is not before when_s. */
static int
is_first_reading(int64_t r, double when_s)
{
    if (ca_clock_to_s(r) < when_s) {
        return 0;
    }
    return r == INT64_MIN || ca_clock_to_s(r - 1) < when_s;
}

static void
test_the_clock_never_goes_backwards(void)
{
    int64_t last = ca_clock_now_ns();
    int steps_back = 0;
    for (int i = 0; i < 10000; i++) {
        int64_t now = ca_clock_now_ns();
        steps_back += now < last;
        last = now;
    }
    CHECK(steps_back == 0);
    CHECK(last > 0);
}

static void
test_a_deadline_is_the_first_reading_not_before_it(void)
{
    int wrong = 0;
    for (int i = 0; i < 400000; i++) {
        /* All magnitudes alike, both signs, also beyond 2^53 ns. */
        int64_t ns = (int64_t)(random_word() >> (1 + random_word() % 62));
        double when_s = ca_clock_to_s(i % 2 ? ns : -ns);
        if (i % 3 == 1) {
            when_s = next_double(when_s);
        } else if (i % 3 == 2) {
            when_s += (double)(random_word() % 1000) / 1e12;
        }
        int64_t r = ca_clock_from_s(when_s);
        if (r != INT64_MAX && r != INT64_MIN) {
            wrong += !is_first_reading(r, when_s);
        }
    }
    CHECK(wrong == 0);
}

static void
test_small_and_exact_deadlines(void)
{
    CHECK(ca_clock_from_s(0.0) == 0);
    CHECK(ca_clock_from_s(-0.0) == 0);
    CHECK(ca_clock_from_s(1.0) == CA_NS_PER_S);
    CHECK(ca_clock_from_s(-1.0) == -CA_NS_PER_S);
    CHECK(ca_clock_from_s(1e-9) == 1);
    CHECK(ca_clock_from_s(0.1e-9) == 1);
    CHECK(ca_clock_from_s(5e-324) == 1);
    CHECK(ca_clock_from_s(-0.1e-9) == 0);
    CHECK(ca_clock_from_s(1.5) == 1500000000);
    CHECK(ca_clock_from_s(8640000.0) == 8640000 * CA_NS_PER_S);
}

static void
test_huge_deadlines_stop_at_the_ends(void)
{
    CHECK(ca_clock_from_s(INFINITY) == INT64_MAX);
    CHECK(ca_clock_from_s(-INFINITY) == INT64_MIN);
    CHECK(ca_clock_from_s(1e300) == INT64_MAX);
    CHECK(ca_clock_from_s(-1e300) == INT64_MIN);
    CHECK(ca_clock_from_s(0x1p63 / 1e9) == INT64_MAX);
    CHECK(ca_clock_from_s(-0x1p63 / 1e9) == INT64_MIN);
    for (double s = 9.2e9; s < 9.3e9; s += 1234567.0) {
        int64_t r = ca_clock_from_s(s);
        CHECK(r == INT64_MAX || is_first_reading(r, s));
        r = ca_clock_from_s(-s);
        CHECK(r == INT64_MIN || is_first_reading(r, -s));
    }
}

static void
test_a_new_pace_knows_nothing(void)
{
    ca_pace pace = {0};
    CHECK(!ca_pace_known(&pace));
    CHECK(ca_pace_between_ns(&pace, 0, 1) == INT64_MAX);
    int64_t now = ca_pace_read(&pace);
    CHECK(pace.read_ns == now);
    CHECK(!ca_pace_known(&pace));
    CHECK(ca_pace_between_ns(&pace, pace.read_ticks, pace.read_ticks) ==
          INT64_MAX);
    CHECK(!ca_pace_is_before(&pace, pace.read_ticks, CA_CLOCK_NEVER - 1));
}

static void
test_estimates_follow_the_length_of_a_tick(void)
{
    const ca_pace pace = {
        .read_ns = 1000, .read_ticks = 500, .ns_per_tick = 2.0};
    CHECK(ca_pace_known(&pace));
    CHECK(ca_pace_between_ns(&pace, 500, 500) == 0);
    CHECK(ca_pace_between_ns(&pace, 500, 1500) == 2000);
    CHECK(ca_pace_between_ns(&pace, 1500, 500) == INT64_MAX);
    /* 64,000 ns have passed; the margin is a 64th and a microsecond. */
    uint64_t ticks = 500 + 32000;
    CHECK(!ca_pace_is_before(&pace, ticks, 1000 + 64000));
    CHECK(!ca_pace_is_before(&pace, ticks, 1000 + 64000 + 2000));
    CHECK(ca_pace_is_before(&pace, ticks, 1000 + 64000 + 2001));
    CHECK(ca_pace_is_before(&pace, ticks, CA_CLOCK_NEVER));
    /* After a tenth of a second the clock is read in any case. */
    ticks = 500 + 50000001;
    CHECK(!ca_pace_is_before(&pace, ticks, CA_CLOCK_NEVER));
    CHECK(!ca_pace_is_before(&pace, 499, CA_CLOCK_NEVER));
}

static void
test_the_pace_learns_after_a_millisecond(void)
{
    ca_pace pace = {0};
    ca_pace_note(&pace, 5000, 100);
    ca_pace_note(&pace, 5000 + CA_NS_PER_MS - 1, 100 + 499999);
    CHECK(pace.ns_per_tick == 0.0);
    ca_pace_note(&pace, 5000 + CA_NS_PER_MS, 100 + 500000);
    CHECK(pace.ns_per_tick == 2.0);
    CHECK(pace.base_ns == 5000);
    /* It goes on refining from the same base ... */
    ca_pace_note(&pace, 5000 + 3 * CA_NS_PER_MS, 100 + 1000000);
    CHECK(pace.ns_per_tick == 3.0);
    /* ... until a second has passed, and then forgets what is old. */
    ca_pace_note(&pace, 5000 + CA_NS_PER_S, 100 + 500000000);
    CHECK(pace.ns_per_tick == 2.0);
    CHECK(pace.base_ns == 5000 + CA_NS_PER_S);
    ca_pace_note(&pace, 5000 + CA_NS_PER_S + 1, 100 + 500000001);
    CHECK(pace.ns_per_tick == 2.0);
}

static void
test_a_counter_that_goes_backwards_is_not_believed(void)
{
    ca_pace pace = {0};
    ca_pace_note(&pace, 1000, 1000000);
    ca_pace_note(&pace, 1000 + 2 * CA_NS_PER_MS, 3000000);
    CHECK(pace.ns_per_tick == 1.0);
    ca_pace_note(&pace, 1000 + 3 * CA_NS_PER_MS, 500);
    CHECK(pace.ns_per_tick == 0.0);
    CHECK(ca_pace_between_ns(&pace, 0, 500) == INT64_MAX);
    ca_pace_note(&pace, 1000 + 5 * CA_NS_PER_MS, 500 + 1000000);
    CHECK(pace.ns_per_tick == 2.0);
}

static void
test_a_counter_that_stands_still_is_not_believed(void)
{
    ca_pace pace = {0};
    ca_pace_note(&pace, 1000, 7000);
    ca_pace_note(&pace, 1000 + 2 * CA_NS_PER_MS, 7000 + 2000000);
    CHECK(pace.ns_per_tick == 1.0);
    int64_t second = 1000 + CA_NS_PER_S;
    ca_pace_note(&pace, second, 7000 + 1000000000);
    ca_pace_note(&pace, second + 10, 7000 + 1000000000);
    CHECK(pace.ns_per_tick == 1.0);
    ca_pace_note(&pace, second + CA_NS_PER_MS, 7000 + 1000000000);
    CHECK(pace.ns_per_tick == 0.0);
}

static void
test_a_wild_jump_of_the_counter_does_not_overflow(void)
{
    ca_pace pace = {.read_ns = 1, .ns_per_tick = 1e30};
    CHECK(ca_pace_between_ns(&pace, 0, UINT64_MAX) == INT64_MAX);
    CHECK(!ca_pace_is_before(&pace, UINT64_MAX, CA_CLOCK_NEVER));
}

static void
test_estimates_agree_with_the_clock(void)
{
    ca_pace pace = {0};
    int64_t start = ca_pace_read(&pace);
    while (ca_pace_read(&pace) < start + 20 * CA_NS_PER_MS) {
    }
    REQUIRE(pace.ns_per_tick > 0.0);
    int64_t read_ns = ca_pace_read(&pace);
    int64_t before, estimate, after;
    int too_small = 0, too_large = 0;
    do {
        before = ca_clock_now_ns() - read_ns;
        estimate = ca_pace_between_ns(&pace, pace.read_ticks,
                                      ca_clock_ticks());
        after = ca_clock_now_ns() - read_ns;
        int64_t margin = before / 50 + 20 * CA_NS_PER_US;
        too_small += estimate < before - margin;
        too_large += estimate > after + after / 50 + 20 * CA_NS_PER_US;
    } while (after < 20 * CA_NS_PER_MS);
    CHECK(too_small == 0);
    CHECK(too_large == 0);
    CHECK(!ca_pace_is_before(&pace, ca_clock_ticks(), read_ns + CA_NS_PER_MS));
    CHECK(!ca_pace_is_before(&pace, ca_clock_ticks(), read_ns));
}

int
main(void)
{
    RUN(test_the_clock_never_goes_backwards);
    RUN(test_a_deadline_is_the_first_reading_not_before_it);
    RUN(test_small_and_exact_deadlines);
    RUN(test_huge_deadlines_stop_at_the_ends);
    RUN(test_a_new_pace_knows_nothing);
    RUN(test_estimates_follow_the_length_of_a_tick);
    RUN(test_the_pace_learns_after_a_millisecond);
    RUN(test_a_counter_that_goes_backwards_is_not_believed);
    RUN(test_a_counter_that_stands_still_is_not_believed);
    RUN(test_a_wild_jump_of_the_counter_does_not_overflow);
    RUN(test_estimates_agree_with_the_clock);
    return check_report("test_clock");
}
