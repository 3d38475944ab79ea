/* heap.h - the timer heap: 4-ary, intrusive, cancel in O(log n).
 *
 * Layout: an array of (when_ns, timer) pairs, 16 bytes each, so that the four
 * children of a node share one cache line; the array is aligned so that they
 * do (children of i are 4i+1 .. 4i+4, so slot 1 starts a line).  A timer knows
 * its slot, which is what makes cancelling cheap.
 * Order: by when_ns, then by the order of the pushes (`seq`).
 * Invariants: a timer is in at most one heap; slot is -1 outside; for every
 * i > 0 the pair at (i - 1) / 4 is not later than the pair at i.
 */
#ifndef CA_BASE_HEAP_H
#define CA_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in whatever waits for a moment; the embedder owns it. */
typedef struct {
    uint64_t seq;                      /* order of pushes; valid in a heap */
    int32_t slot;                      /* index in the array; -1: in no heap */
    uint32_t user;                     /* not touched: free for the embedder */
} ca_timer;

typedef struct {
    int64_t when_ns;
    ca_timer *timer;                   /* borrowed: its embedder keeps it */
} ca_heap_entry;

typedef struct {
    ca_heap_entry *entries;            /* owned (heap.c); NULL when cap is 0 */
    size_t count;
    size_t cap;
    uint64_t next_seq;
} ca_heap;

static inline void
ca_timer_init(ca_timer *timer)
{
    timer->slot = -1;
}

static inline bool
ca_timer_queued(const ca_timer *timer)
{
    return timer->slot >= 0;
}

/* Due time of the first timer; CA_CLOCK_NEVER (INT64_MAX) when empty. */
static inline int64_t
ca_heap_first_ns(const ca_heap *heap)
{
    return heap->count == 0 ? INT64_MAX : heap->entries[0].when_ns;
}

/* Add a timer that is in no heap; 0 or -ENOMEM. */
int ca_heap_push(ca_heap *heap, ca_timer *timer, int64_t when_ns);

/* Take out the first timer; the heap must not be empty. */
ca_timer *ca_heap_pop(ca_heap *heap);

/* Take out a timer of this heap. */
void ca_heap_remove(ca_heap *heap, ca_timer *timer);

/* Forget all timers (their slot becomes -1) and give the memory back. */
void ca_heap_free(ca_heap *heap);

#endif
