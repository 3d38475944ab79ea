/* uring_chunks.h - memory in which a ring puts what it receives.
 *
 * CA_CHUNKS pieces of the same size, each either the kernel's (free: it may
 * put bytes there in the next enter) or ours (from the completion that named
 * it until ca_chunks_give()).  Chunks of ours that belong together are linked
 * by number.
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
    int nfree;
    int16_t next[CA_CHUNKS];           /* CA_CHUNK_NONE: the last one */
    uint32_t nbytes[CA_CHUNKS];        /* that are in it */
} ca_chunks;

/* Map the memory and give all of it to the ring; 0 or -errno. */
int ca_chunks_open(ca_chunks *chunks, ca_uring *ring);

/* When the ring is closed.  Harmless when closed. */
void ca_chunks_close(ca_chunks *chunks);

/* A completion said that the kernel has put nbytes into it. */
void ca_chunks_take(ca_chunks *chunks, int chunk, uint32_t nbytes);

/* Give it back to the kernel. */
void ca_chunks_give(ca_chunks *chunks, int chunk);

static inline char *
ca_chunks_at(const ca_chunks *chunks, int chunk)
{
    return chunks->memory + (size_t)chunk * CA_CHUNK_BYTES;
}

#endif
