/* clock.c - reading the clock, and turning seconds into deadlines.
 *
 * Why a search in ca_clock_from_s: a double holds 53 bits, so from 2^53 ns
 * (104 days of uptime) several nanosecond counts share one double.  A deadline
 * must be the first reading at which loop.time() >= when holds: one earlier
 * and a timer runs before its time as the program sees it, one later and a
 * timer that is due does not run.  Multiplying and rounding up is off by a few
 * units in the last place in either direction; the search settles it with the
 * very function that the program will see.  For usual values it takes two
 * steps.
 *
 * Why the pace learns all the time: the length of a tick changes when a
 * virtual machine moves to another host, and counters of bad machines stop or
 * jump.  A wrong estimate costs one late or needless reading of the clock and
 * is replaced within about a second.
 */
#include "base/clock.h"

#include <stdbool.h>
#include <time.h>

/* Before this span the error of two readings spoils the quotient. */
#define PACE_FIRST_NS CA_NS_PER_MS
/* After this span a fresh base is taken, so that old times are forgotten. */
#define PACE_RESTART_NS CA_NS_PER_S

int64_t
ca_clock_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * CA_NS_PER_S + now.tv_nsec;
}

/* a + b, stopping at the ends of int64. */
static int64_t
add_saturated(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

int64_t
ca_clock_from_s(double when_s)
{
    double guess_ns = when_s * 1e9;
    if (!(guess_ns < 0x1p63)) {
        return INT64_MAX;
    }
    if (guess_ns <= -0x1p63) {
        return INT64_MIN;
    }
    /* The answer is less than four units in the last place away. */
    int64_t guess = (int64_t)guess_ns;
    int64_t slack = (guess < 0 ? -(guess / 2) : guess / 2) >> 49;
    int64_t early = add_saturated(guess, -slack - 2);
    int64_t due = add_saturated(guess, slack + 2);
    if (ca_clock_to_s(early) >= when_s) {
        return early;                  /* saturated: INT64_MIN */
    }
    while (due - early > 1) {
        int64_t middle = early + (due - early) / 2;
        if (ca_clock_to_s(middle) >= when_s) {
            due = middle;
        } else {
            early = middle;
        }
    }
    return due;
}

static void
pace_restart(ca_pace *pace)
{
    pace->base_ns = pace->read_ns;
    pace->base_ticks = pace->read_ticks;
}

/* What the latest reading says about the length of a tick. */
static void
pace_learn(ca_pace *pace)
{
    int64_t span_ns = pace->read_ns - pace->base_ns;
    bool steady = pace->read_ticks > pace->base_ticks;
    if (steady && span_ns < PACE_FIRST_NS) {
        return;
    }
    if (!steady) {
        /* The counter stood still for a while or went backwards (also two
         * readings within one tick of a slow counter, which is harmless). */
        if (span_ns >= PACE_FIRST_NS || pace->read_ticks < pace->base_ticks) {
            pace->ns_per_tick = 0.0;
            pace_restart(pace);
        }
        return;
    }
    uint64_t ticks = pace->read_ticks - pace->base_ticks;
    pace->ns_per_tick = (double)span_ns / (double)ticks;
    if (span_ns >= PACE_RESTART_NS) {
        pace_restart(pace);
    }
}

void
ca_pace_note(ca_pace *pace, int64_t now_ns, uint64_t ticks)
{
    pace->read_ns = now_ns;
    pace->read_ticks = ticks;
    if (pace->base_ns == 0) {
        pace_restart(pace);
    } else {
        pace_learn(pace);
    }
}

int64_t
ca_pace_read(ca_pace *pace)
{
    int64_t now_ns = ca_clock_now_ns();
    ca_pace_note(pace, now_ns, ca_clock_ticks());
    return now_ns;
}
