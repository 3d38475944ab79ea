/* uring_chunks.h - memory in which a ring puts what it receives.
 *
 * CA_CHUNKS pieces of the same size, each either offered (the kernel may put
 * bytes there in the next enter), in use (from the completion that named it
 * until ca_chunks_give()), or spare.  Those in use that belong together are
 * linked by number.
 *
 * The kernel fills what it is offered in turn, one after another, so all of
 * that is touched in the end and stays in memory.  It is offered as many as
 * may be needed at once (ca_chunks_offer()); the others are a stack, of which
 * only the top is used, and cost addresses only.
 */
#ifndef CA_BACKEND_URING_CHUNKS_H
#define CA_BACKEND_URING_CHUNKS_H

#include "backend/uring_abi.h"
#include "backend/uring_ring.h"

#include <stdint.h>

enum {
    CA_CHUNKS = 128,                   /* a power of two */
    CA_CHUNK_BYTES = 16 * 1024,
    CA_CHUNK_NONE = -1,
};

typedef struct {
    char *memory;                      /* owned mapping; NULL: closed */
    uring_buf *free_ring;              /* owned mapping, read by the kernel */
    uint16_t tail;                     /* of free_ring, ours */
    int wanted;                        /* how many to offer */
    int offered;
    int nspare;
    int16_t spare[CA_CHUNKS];          /* a stack */
    int16_t next[CA_CHUNKS];           /* CA_CHUNK_NONE: the last one */
    uint32_t nbytes[CA_CHUNKS];        /* that are in it */
} ca_chunks;

/* Map the memory and register it with the ring, nothing of it offered; 0 or
 * -errno. */
int ca_chunks_open(ca_chunks *chunks, ca_uring *ring);

/* When the ring is closed.  Harmless when closed. */
void ca_chunks_close(ca_chunks *chunks);

/* A completion said that the kernel has put nbytes into it. */
void ca_chunks_take(ca_chunks *chunks, int chunk, uint32_t nbytes);

/* It is not in use any more. */
void ca_chunks_give(ca_chunks *chunks, int chunk);

/* Offer so many, from now on; fewer while others are in use. */
void ca_chunks_offer(ca_chunks *chunks, int wanted);

/* Chunks that are not in use. */
static inline int
ca_chunks_count_free(const ca_chunks *chunks)
{
    return chunks->offered + chunks->nspare;
}

static inline char *
ca_chunks_at(const ca_chunks *chunks, int chunk)
{
    return chunks->memory + (size_t)chunk * CA_CHUNK_BYTES;
}

#endif
