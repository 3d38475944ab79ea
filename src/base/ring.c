/* ring.c - the parts of the ring that are not hot. */
#include "base/ring.h"

#include <string.h>

enum { FIRST_CAP = 64 };               /* 512 bytes; a power of two */

int
ca_ring_grow(ca_ring *ring)
{
    if (ring->cap > SIZE_MAX / 2 / sizeof(*ring->words)) {
        return -ENOMEM;
    }
    size_t cap = ring->cap == 0 ? FIRST_CAP : ring->cap * 2;
    uintptr_t *words = realloc(ring->words, cap * sizeof(*words));
    if (words == NULL) {
        return -ENOMEM;
    }
    /* What had wrapped round to the front of the old array belongs behind its
     * old end. */
    if (ring->head + ring->count > ring->cap) {
        size_t wrapped = ring->head + ring->count - ring->cap;
        memcpy(words + ring->cap, words, wrapped * sizeof(*words));
    }
    ring->words = words;
    ring->cap = cap;
    return 0;
}

void
ca_ring_free(ca_ring *ring)
{
    free(ring->words);
    *ring = (ca_ring){0};
}

void
ca_ring_rotate(ca_ring *ring, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uintptr_t word = ca_ring_pop(ring);
        /* Cannot fail: the pop has made the room. */
        (void)ca_ring_push(ring, word);
    }
}
