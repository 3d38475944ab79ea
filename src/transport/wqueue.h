/* wqueue.h - bytes that wait to be sent: chunks, oldest first.
 *
 * A chunk is memory inside a Python object that never changes (bytes), of
 * which it owns a reference.  Taking bytes off the front moves the first
 * chunk's start, so sending a part costs nothing for the rest.
 */
#ifndef CA_TRANSPORT_WQUEUE_H
#define CA_TRANSPORT_WQUEUE_H

#include "py/compat.h"

#include <stdint.h>
#include <sys/uio.h>

typedef struct {
    PyObject *owner;                   /* strong; keeps `data` alive */
    const char *data;
    size_t nbytes;                     /* never 0 */
} ca_chunk;

typedef struct {
    ca_chunk *chunks;                  /* owned ring; NULL while cap is 0 */
    uint32_t head;
    uint32_t count;
    uint32_t cap;                      /* a power of two */
    size_t nbytes;                     /* sum over all chunks */
} ca_wqueue;

/* Append; takes the reference, also on failure.  0 or -1. */
int ca_wqueue_push(ca_wqueue *queue, PyObject *steal_owner, const char *data,
                   size_t nbytes);

/* Describe up to max chunks from the front; how many. */
int ca_wqueue_peek(const ca_wqueue *queue, struct iovec *iov, int max);

/* Take nbytes off the front. */
void ca_wqueue_consume(ca_wqueue *queue, size_t nbytes);

/* Drop everything and the memory too. */
void ca_wqueue_clear(ca_wqueue *queue);

/* The chunks as a list of memoryviews; new reference or NULL. */
PyObject *ca_wqueue_to_list(const ca_wqueue *queue);

#endif
