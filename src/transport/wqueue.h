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
    size_t nbytes;                     /* sum over all chunks */
    uint32_t head;
    uint32_t count;
    uint32_t cap;                      /* a power of two */
    ca_chunk chunks[];
} ca_wring;

/* Most connections never have anything to queue, so the ring is apart. */
typedef struct {
    ca_wring *ring;                    /* owned; NULL: nothing waits */
} ca_wqueue;

static inline uint32_t
ca_wqueue_count(const ca_wqueue *queue)
{
    return queue->ring == NULL ? 0 : queue->ring->count;
}

static inline size_t
ca_wqueue_nbytes(const ca_wqueue *queue)
{
    return queue->ring == NULL ? 0 : queue->ring->nbytes;
}

/* Append bytes that lie in `data`, bytes-like: by reference when nobody can
 * change them, else (or when it is NULL) a copy.  0 or -1. */
int ca_wqueue_keep(ca_wqueue *queue, PyObject *data, const char *bytes,
                   size_t nbytes);

enum { CA_IOV_COUNT = 64 };            /* chunks in one system call */

/* Describe up to CA_IOV_COUNT chunks from the front; how many, and how many
 * bytes in all. */
int ca_wqueue_peek(const ca_wqueue *queue, struct iovec *iov, size_t *nbytes);

/* Take nbytes off the front. */
void ca_wqueue_consume(ca_wqueue *queue, size_t nbytes);

/* Offers some chunks to the kernel in one system call; bytes or -errno. */
typedef ssize_t ca_wqueue_send(const void *to, int fd, const struct iovec *iov,
                               int n_iov);

/* Offer everything until nothing is left or the kernel refuses; 0 or
 * -errno. */
ssize_t ca_wqueue_drain(ca_wqueue *queue, ca_wqueue_send *send, const void *to,
                        int fd);

/* Drop everything and the memory too. */
void ca_wqueue_clear(ca_wqueue *queue);

/* The chunks as a list of memoryviews; new reference or NULL. */
PyObject *ca_wqueue_to_list(const ca_wqueue *queue);

#endif
