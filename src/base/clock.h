/* clock.h - the loop's clock: monotonic nanoseconds, and cheap ticks.
 *
 * Deadlines and time() use CLOCK_MONOTONIC in int64 nanoseconds.  Reading it
 * costs about as much as running a callback, so decisions that may be a little
 * wrong (is it time to look at the clock again?) use the processor's counter.
 */
#ifndef CA_BASE_CLOCK_H
#define CA_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define CA_NS_PER_S INT64_C(1000000000)
#define CA_NS_PER_MS INT64_C(1000000)
#define CA_NS_PER_US INT64_C(1000)
#define CA_CLOCK_NEVER INT64_MAX

/* Now, in nanoseconds of CLOCK_MONOTONIC. Any thread. */
int64_t ca_clock_now_ns(void);

/* The smallest time that is not before `when_s` seconds: for every result r
 * that did not saturate, ca_clock_to_s(r) >= when_s and
 * ca_clock_to_s(r - 1) < when_s.  Huge values, also infinite ones, saturate
 * at the ends of int64; the caller has refused NaN. */
int64_t ca_clock_from_s(double when_s);

/* Exactly what CPython's time.monotonic() makes of the same reading. */
static inline double
ca_clock_to_s(int64_t ns)
{
    return (double)ns / 1e9;
}

/* A count that grows steadily while the machine is awake; unit unknown, see
 * ca_pace.  Any thread. */
static inline uint64_t
ca_clock_ticks(void)
{
#if defined(__x86_64__) || defined(__i386__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return (uint64_t)ca_clock_now_ns();
#endif
}

/* Estimates the time since the last reading of the real clock.  Learns how
 * long a tick is from the readings themselves; until it knows, every estimate
 * is "long ago", which makes the caller read the clock. */
typedef struct {
    int64_t read_ns;                   /* last reading of the clock */
    uint64_t read_ticks;               /* the counter at that moment */
    int64_t base_ns;                   /* reading that calibration starts at */
    uint64_t base_ticks;
    double ns_per_tick;                /* 0: not known yet */
} ca_pace;

/* Read the clock and remember it; returns the reading in nanoseconds. */
int64_t ca_pace_read(ca_pace *pace);

/* Remember a reading of the clock and the counter's value at that moment:
 * what ca_pace_read() does with its own. */
void ca_pace_note(ca_pace *pace, int64_t now_ns, uint64_t ticks);

/* Whether ticks can be told in nanoseconds yet. */
static inline bool
ca_pace_known(const ca_pace *pace)
{
    return pace->ns_per_tick != 0.0;
}

/* Nanoseconds from one count of ticks to a later one, estimated; INT64_MAX
 * while nothing is known, or when the counter went backwards. */
static inline int64_t
ca_pace_between_ns(const ca_pace *pace, uint64_t since, uint64_t ticks)
{
    if (pace->ns_per_tick == 0.0 || ticks < since) {
        return INT64_MAX;
    }
    double ns = (double)(ticks - since) * pace->ns_per_tick;
    return ns < 9e18 ? (int64_t)ns : INT64_MAX;
}

/* Whether it is certainly still before `when_ns` at `ticks`, by the estimate
 * and with a margin for its error; false means: read the clock. */
static inline bool
ca_pace_is_before(const ca_pace *pace, uint64_t ticks, int64_t when_ns)
{
    int64_t passed_ns = ca_pace_between_ns(pace, pace->read_ticks, ticks);
    if (passed_ns > 100 * CA_NS_PER_MS) {
        return false;
    }
    return when_ns > pace->read_ns + passed_ns + passed_ns / 64 + CA_NS_PER_US;
}

#endif
