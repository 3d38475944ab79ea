/* heap.c - 4-ary timer heap.
 *
 * Memory: one block of 2^k bytes, aligned to a cache line.  The array starts
 * 48 bytes into it, so that slot 1 and with it every group of four children
 * starts a line:
 *
 *      block                              block + 64
 *      | 48 bytes unused | slot 0 || slot 1 | 2 | 3 | 4 || 5 | 6 | 7 | 8 || ..
 *
 * Going down one level then touches one line, and a comparison looks at the
 * timers themselves only when two deadlines are equal.
 *
 * Moving works with a hole: the entry on its way is held in a register and
 * written once, at the end; entries it passes are shifted into the hole.
 */
#include "base/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 64,
    ARITY = 4,
    LEAD = LINE - (int)sizeof(ca_heap_entry),
    FIRST_BYTES = 1024,
};

_Static_assert(LINE % sizeof(ca_heap_entry) == 0, "entries fill lines");

static void
free_entries(ca_heap_entry *entries)
{
    if (entries != NULL) {
        free((char *)entries - LEAD);
    }
}

static int
grow(ca_heap *heap)
{
    size_t nbytes = FIRST_BYTES;
    if (heap->cap > 0) {
        if (heap->cap > SIZE_MAX / (4 * sizeof(ca_heap_entry))) {
            return -ENOMEM;
        }
        nbytes = (heap->cap * sizeof(ca_heap_entry) + LEAD) * 2;
    }
    size_t cap = (nbytes - LEAD) / sizeof(ca_heap_entry);
    if (cap > INT32_MAX) {             /* a timer could not hold its slot */
        return -ENOMEM;
    }
    char *block = aligned_alloc(LINE, nbytes);
    if (block == NULL) {
        return -ENOMEM;
    }
    ca_heap_entry *entries = (ca_heap_entry *)(void *)(block + LEAD);
    if (heap->count > 0) {
        memcpy(entries, heap->entries, heap->count * sizeof(*entries));
    }
    free_entries(heap->entries);
    heap->entries = entries;
    heap->cap = cap;
    return 0;
}

static inline bool
before(const ca_heap_entry *a, const ca_heap_entry *b)
{
    if (a->when_ns != b->when_ns) {
        return a->when_ns < b->when_ns;
    }
    return a->timer->seq < b->timer->seq;
}

static inline void
put(ca_heap *heap, size_t i, ca_heap_entry entry)
{
    heap->entries[i] = entry;
    entry.timer->slot = (int32_t)i;
}

/* Let `entry` rise from the hole at i to where it belongs. */
static void
rise(ca_heap *heap, size_t i, ca_heap_entry entry)
{
    while (i > 0) {
        size_t parent = (i - 1) / ARITY;
        if (!before(&entry, &heap->entries[parent])) {
            break;
        }
        put(heap, i, heap->entries[parent]);
        i = parent;
    }
    put(heap, i, entry);
}

/* The earliest of the (at most four) entries from `first` on. */
static size_t
earliest_child(const ca_heap *heap, size_t first)
{
    size_t end = first + ARITY;
    if (end > heap->count) {
        end = heap->count;
    }
    size_t best = first;
    for (size_t i = first + 1; i < end; i++) {
        if (before(&heap->entries[i], &heap->entries[best])) {
            best = i;
        }
    }
    return best;
}

/* Let `entry` sink from the hole at i to where it belongs. */
static void
sink(ca_heap *heap, size_t i, ca_heap_entry entry)
{
    for (;;) {
        size_t first = i * ARITY + 1;
        if (first >= heap->count) {
            break;
        }
        size_t child = earliest_child(heap, first);
        if (!before(&heap->entries[child], &entry)) {
            break;
        }
        put(heap, i, heap->entries[child]);
        i = child;
    }
    put(heap, i, entry);
}

int
ca_heap_push(ca_heap *heap, ca_timer *timer, int64_t when_ns)
{
    if (heap->count == heap->cap) {
        int err = grow(heap);
        if (err < 0) {
            return err;
        }
    }
    timer->seq = heap->next_seq++;
    rise(heap, heap->count++, (ca_heap_entry){when_ns, timer});
    return 0;
}

void
ca_heap_remove(ca_heap *heap, ca_timer *timer)
{
    size_t i = (size_t)timer->slot;
    ca_heap_entry last = heap->entries[--heap->count];
    timer->slot = -1;
    if (last.timer == timer) {
        return;
    }
    /* The last entry fills the hole.  It comes from another branch, so it may
     * belong further up as well as further down. */
    if (i > 0 && before(&last, &heap->entries[(i - 1) / ARITY])) {
        rise(heap, i, last);
    } else {
        sink(heap, i, last);
    }
}

ca_timer *
ca_heap_pop(ca_heap *heap)
{
    ca_timer *first = heap->entries[0].timer;
    ca_heap_remove(heap, first);
    return first;
}

void
ca_heap_free(ca_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        heap->entries[i].timer->slot = -1;
    }
    free_entries(heap->entries);
    *heap = (ca_heap){0};
}
