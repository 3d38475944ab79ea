/* uring_intake.c - see uring_intake.h. */
#include "backend/uring_intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void
ca_intake_init(ca_intake *in)
{
    *in = (ca_intake){
        .first = CA_CHUNK_NONE, .last = CA_CHUNK_NONE, .end = CA_INTAKE_OPEN};
}

void
ca_intake_add(ca_intake *in, ca_chunks *chunks, int chunk)
{
    if (in->nchunks == 0) {
        in->first = (int16_t)chunk;
        in->taken = 0;
    } else {
        chunks->next[in->last] = (int16_t)chunk;
    }
    in->last = (int16_t)chunk;
    in->nchunks++;
}

/* Take the first chunk out; its number. */
static int
shift(ca_intake *in, const ca_chunks *chunks)
{
    int chunk = in->first;
    in->first = chunks->next[chunk];
    in->taken = 0;
    in->nchunks--;
    return chunk;
}

static size_t
take_kept(ca_intake *in, char *buf, size_t size)
{
    size_t n = in->kept_end - in->kept_begin;
    n = n < size ? n : size;
    if (n > 0) {
        memcpy(buf, in->kept + in->kept_begin, n);
    }
    in->kept_begin += n;
    if (in->kept_begin == in->kept_end) {
        free(in->kept);
        in->kept = NULL;
        in->kept_begin = in->kept_end = 0;
    }
    return n;
}

static size_t
take_chunks(ca_intake *in, ca_chunks *chunks, char *buf, size_t size)
{
    size_t got = 0;
    while (in->nchunks > 0 && got < size) {
        size_t n = chunks->nbytes[in->first] - in->taken;
        n = n < size - got ? n : size - got;
        memcpy(buf + got, ca_chunks_at(chunks, in->first) + in->taken, n);
        got += n;
        in->taken += (uint32_t)n;
        if (in->taken == chunks->nbytes[in->first]) {
            ca_chunks_give(chunks, shift(in, chunks));
        }
    }
    return got;
}

ptrdiff_t
ca_intake_take(ca_intake *in, ca_chunks *chunks, char *buf, size_t size,
               char **where, int *lent)
{
    if (lent != NULL) {
        *lent = CA_CHUNK_NONE;
        *where = buf;
    }
    if (in->kept == NULL && in->nchunks == 0) {
        int32_t end = in->end;
        in->end = CA_INTAKE_OPEN;
        return end;
    }
    if (lent != NULL && in->kept == NULL && in->nchunks == 1 &&
        chunks->nbytes[in->first] - in->taken <= size) {
        size_t n = chunks->nbytes[in->first] - in->taken;
        *where = ca_chunks_at(chunks, in->first) + in->taken;
        *lent = shift(in, chunks);
        return (ptrdiff_t)n;
    }
    size_t n = take_kept(in, buf, size);
    if (in->kept == NULL) {
        n += take_chunks(in, chunks, buf + n, size - n);
    }
    return (ptrdiff_t)n;
}

/* Bytes in chunks. */
static size_t
count_chunked(const ca_intake *in, const ca_chunks *chunks)
{
    size_t n = 0;
    if (in->nchunks > 0) {
        for (int i = in->first; i != CA_CHUNK_NONE; i = chunks->next[i]) {
            n += chunks->nbytes[i];
        }
    }
    return n - (in->nchunks > 0 ? in->taken : 0);
}

static void
give_chunks(ca_intake *in, ca_chunks *chunks)
{
    while (in->nchunks > 0) {
        ca_chunks_give(chunks, shift(in, chunks));
    }
}

void
ca_intake_keep(ca_intake *in, ca_chunks *chunks)
{
    size_t n = count_chunked(in, chunks);
    if (n == 0) {
        return;
    }
    char *kept = realloc(in->kept, in->kept_end + n);
    if (kept == NULL) {
        give_chunks(in, chunks);
        in->end = -ENOMEM;
        return;
    }
    in->kept = kept;
    in->kept_end += take_chunks(in, chunks, kept + in->kept_end, n);
}

void
ca_intake_drop(ca_intake *in, ca_chunks *chunks)
{
    give_chunks(in, chunks);
    free(in->kept);
    ca_intake_init(in);
}
