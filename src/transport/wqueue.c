/* wqueue.c - see wqueue.h. */
#include "transport/wqueue.h"

#include <errno.h>

enum {
    FIRST_CHUNKS = 4,
    MOST_IDLE_CHUNKS = 64,             /* what an empty queue may keep */
};

static ca_chunk *
chunk_at(ca_wring *ring, uint32_t i)
{
    return &ring->chunks[(ring->head + i) & (ring->cap - 1)];
}

static int
grow(ca_wqueue *queue)
{
    ca_wring *old = queue->ring;
    uint32_t cap = old == NULL ? FIRST_CHUNKS : old->cap * 2;
    ca_wring *ring = old != NULL && cap < old->cap
                         ? NULL
                         : PyMem_Malloc(sizeof(*ring) +
                                        cap * sizeof(ring->chunks[0]));
    if (ring == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *ring = (ca_wring){.cap = cap};
    if (old != NULL) {
        for (uint32_t i = 0; i < old->count; i++) {
            ring->chunks[i] = *chunk_at(old, i);
        }
        ring->nbytes = old->nbytes;
        ring->count = old->count;
        PyMem_Free(old);
    }
    queue->ring = ring;
    return 0;
}

/* Append; takes the reference, also on failure.  0 or -1. */
static int
push(ca_wqueue *queue, PyObject *steal_owner, const char *data, size_t nbytes)
{
    ca_wring *ring = queue->ring;
    if ((ring == NULL || ring->count == ring->cap) && grow(queue) < 0) {
        Py_DECREF(steal_owner);
        return -1;
    }
    ring = queue->ring;
    *chunk_at(ring, ring->count++) = (ca_chunk){
        .owner = steal_owner,
        .data = data,
        .nbytes = nbytes,
    };
    ring->nbytes += nbytes;
    return 0;
}

int
ca_wqueue_keep(ca_wqueue *queue, PyObject *data, const char *bytes,
               size_t nbytes)
{
    PyObject *owner = data != NULL && PyMemoryView_Check(data)
                          ? PyMemoryView_GET_BASE(data)
                          : data;
    if (owner != NULL && PyBytes_CheckExact(owner)) {
        return push(queue, Py_NewRef(owner), bytes, nbytes);
    }
    PyObject *copy = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)nbytes);
    return copy == NULL ? -1
                        : push(queue, copy, PyBytes_AS_STRING(copy), nbytes);
}

int
ca_wqueue_peek(const ca_wqueue *queue, struct iovec *iov, size_t *nbytes)
{
    ca_wring *ring = queue->ring;
    int n = 0;
    *nbytes = 0;
    for (; n < CA_IOV_COUNT && (uint32_t)n < ca_wqueue_count(queue); n++) {
        const ca_chunk *chunk = chunk_at(ring, (uint32_t)n);
        iov[n] = (struct iovec){.iov_base = (void *)chunk->data,
                                .iov_len = chunk->nbytes};
        *nbytes += chunk->nbytes;
    }
    return n;
}

void
ca_wqueue_consume(ca_wqueue *queue, size_t nbytes)
{
    ca_wring *ring = queue->ring;
    ring->nbytes -= nbytes;
    while (nbytes > 0) {
        ca_chunk *chunk = chunk_at(ring, 0);
        if (nbytes < chunk->nbytes) {
            chunk->data += nbytes;
            chunk->nbytes -= nbytes;
            return;
        }
        nbytes -= chunk->nbytes;
        PyObject *owner = chunk->owner;
        ring->head = (ring->head + 1) & (ring->cap - 1);
        ring->count--;
        Py_DECREF(owner);              /* bytes: runs no Python */
    }
    if (ring->count == 0 && ring->cap > MOST_IDLE_CHUNKS) {
        ca_wqueue_clear(queue);
    }
}

ssize_t
ca_wqueue_drain(ca_wqueue *queue, ca_wqueue_send *send, const void *to, int fd)
{
    while (ca_wqueue_count(queue) > 0) {
        struct iovec iov[CA_IOV_COUNT];
        size_t offered;
        int n_iov = ca_wqueue_peek(queue, iov, &offered);
        ssize_t n = send(to, fd, iov, n_iov);
        if (n < 0) {
            return n;
        }
        ca_wqueue_consume(queue, (size_t)n);
        if ((size_t)n < offered) {
            return -EAGAIN;            /* it will not take more now */
        }
    }
    return 0;
}

void
ca_wqueue_clear(ca_wqueue *queue)
{
    ca_wring *old = queue->ring;
    queue->ring = NULL;
    for (uint32_t i = 0; old != NULL && i < old->count; i++) {
        Py_DECREF(chunk_at(old, i)->owner);
    }
    PyMem_Free(old);
}

PyObject *
ca_wqueue_to_list(const ca_wqueue *queue)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < ca_wqueue_count(queue); i++) {
        const ca_chunk *chunk = chunk_at(queue->ring, i);
        PyObject *bytes = PyBytes_FromStringAndSize(chunk->data,
                                                    (Py_ssize_t)chunk->nbytes);
        PyObject *view = bytes == NULL ? NULL : PyMemoryView_FromObject(bytes);
        if (view == NULL || PyList_Append(list, view) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(bytes);
        Py_XDECREF(view);
    }
    return list;
}
