/* ring.h - growable ring of machine words: the ready queue.
 *
 * Layout: `cap` words (a power of two, or 0 before the first push); the oldest
 * is at `head`, the newest at (head + count - 1) & (cap - 1).  The ring knows
 * nothing of what the words mean; who pushes one owns what it stands for.
 * Invariant: count <= cap, head < cap (or both 0).
 */
#ifndef CA_BASE_RING_H
#define CA_BASE_RING_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
    uintptr_t *words;                  /* owned; NULL when cap is 0 */
    size_t head;
    size_t count;
    size_t cap;
} ca_ring;

/* Double the room; 0 or -ENOMEM. */
int ca_ring_grow(ca_ring *ring);

/* Give the memory back; the ring is empty and usable afterwards. */
void ca_ring_free(ca_ring *ring);

/* Move the `n` oldest words, in order, behind the newest one (n <= count). */
void ca_ring_rotate(ca_ring *ring, size_t n);

static inline int
ca_ring_push(ca_ring *ring, uintptr_t word)
{
    if (ring->count == ring->cap) {
        int err = ca_ring_grow(ring);
        if (err < 0) {
            return err;
        }
    }
    ring->words[(ring->head + ring->count) & (ring->cap - 1)] = word;
    ring->count++;
    return 0;
}

/* Make room for `n` more words, so that as many pushes cannot fail. */
static inline int
ca_ring_reserve(ca_ring *ring, size_t n)
{
    while (ring->cap - ring->count < n) {
        int err = ca_ring_grow(ring);
        if (err < 0) {
            return err;
        }
    }
    return 0;
}

/* The oldest word, taken out; the ring must not be empty. */
static inline uintptr_t
ca_ring_pop(ca_ring *ring)
{
    uintptr_t word = ring->words[ring->head];
    ring->head = (ring->head + 1) & (ring->cap - 1);
    ring->count--;
    return word;
}

/* The i-th oldest word (i < count), left where it is. */
static inline uintptr_t
ca_ring_at(const ca_ring *ring, size_t i)
{
    return ring->words[(ring->head + i) & (ring->cap - 1)];
}

#endif
