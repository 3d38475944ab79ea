/* uring_intake.h - what has come for one connection and was not taken yet.
 *
 * In the order in which it came: bytes kept in memory of our own, bytes in
 * chunks, the end.  Chunks are few and shared, so who does not read for a
 * while has his bytes moved out of them (ca_intake_keep()).
 */
#ifndef CA_BACKEND_URING_INTAKE_H
#define CA_BACKEND_URING_INTAKE_H

#include "backend/uring_chunks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CA_INTAKE_OPEN = 1 };

typedef struct {
    char *kept;                        /* owned; NULL: nothing is kept */
    size_t kept_begin;                 /* taken so far */
    size_t kept_end;
    int16_t first;                     /* chunk, or CA_CHUNK_NONE */
    int16_t last;
    int16_t nchunks;
    uint32_t taken;                    /* bytes of the first chunk */
    int32_t end;                       /* 0, -errno, or CA_INTAKE_OPEN */
} ca_intake;

void ca_intake_init(ca_intake *in);

static inline bool
ca_intake_has_bytes(const ca_intake *in)
{
    return in->nchunks > 0 || in->kept != NULL;
}

/* Whether ca_intake_take() has something to tell. */
static inline bool
ca_intake_has(const ca_intake *in)
{
    return ca_intake_has_bytes(in) || in->end != CA_INTAKE_OPEN;
}

/* Put a chunk of ours behind what is there. */
void ca_intake_add(ca_intake *in, ca_chunks *chunks, int chunk);

/* Take up to `size` bytes into `buf`, or the end when there are none; bytes, 0
 * or -errno.  With `lent` not NULL and everything in one chunk that fits, the
 * bytes stay there: it is taken out, not given back, and *lent is its number;
 * else *lent is CA_CHUNK_NONE.  *where: the bytes. */
ptrdiff_t ca_intake_take(ca_intake *in, ca_chunks *chunks, char *buf,
                         size_t size, char **where, int *lent);

/* Move what is in chunks to memory of our own, and give them back.  Without
 * memory the connection ends in -ENOMEM rather than in a gap. */
void ca_intake_keep(ca_intake *in, ca_chunks *chunks);

/* Forget all. */
void ca_intake_drop(ca_intake *in, ca_chunks *chunks);

#endif
