/* wqueue.c - see wqueue.h. */
#include "transport/wqueue.h"

#include <errno.h>

enum {
    IOV_COUNT = 64,                    /* chunks in one system call */
    FIRST_CHUNKS = 4,
    MOST_IDLE_CHUNKS = 64,             /* what an empty queue may keep */
};

static ca_chunk *
chunk_at(const ca_wqueue *queue, uint32_t i)
{
    return &queue->chunks[(queue->head + i) & (queue->cap - 1)];
}

static int
grow(ca_wqueue *queue)
{
    uint32_t cap = queue->cap == 0 ? FIRST_CHUNKS : queue->cap * 2;
    ca_chunk *chunks = PyMem_Malloc(cap * sizeof(*chunks));
    if (chunks == NULL || cap < queue->cap) {
        PyMem_Free(chunks);
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        chunks[i] = *chunk_at(queue, i);
    }
    PyMem_Free(queue->chunks);
    queue->chunks = chunks;
    queue->cap = cap;
    queue->head = 0;
    return 0;
}

/* Append; takes the reference, also on failure.  0 or -1. */
static int
push(ca_wqueue *queue, PyObject *steal_owner, const char *data, size_t nbytes)
{
    if (queue->count == queue->cap && grow(queue) < 0) {
        Py_DECREF(steal_owner);
        return -1;
    }
    *chunk_at(queue, queue->count++) = (ca_chunk){
        .owner = steal_owner,
        .data = data,
        .nbytes = nbytes,
    };
    queue->nbytes += nbytes;
    return 0;
}

int
ca_wqueue_keep(ca_wqueue *queue, PyObject *data, const char *bytes,
               size_t nbytes)
{
    PyObject *owner = PyMemoryView_Check(data) ? PyMemoryView_GET_BASE(data)
                                               : data;
    if (owner != NULL && PyBytes_CheckExact(owner)) {
        return push(queue, Py_NewRef(owner), bytes, nbytes);
    }
    PyObject *copy = PyBytes_FromStringAndSize(bytes, (Py_ssize_t)nbytes);
    return copy == NULL ? -1
                        : push(queue, copy, PyBytes_AS_STRING(copy), nbytes);
}

/* Describe up to IOV_COUNT chunks from the front; how many, and how many bytes
 * in all. */
static int
peek(const ca_wqueue *queue, struct iovec *iov, size_t *nbytes)
{
    int n = 0;
    *nbytes = 0;
    for (; n < IOV_COUNT && (uint32_t)n < queue->count; n++) {
        const ca_chunk *chunk = chunk_at(queue, (uint32_t)n);
        iov[n] = (struct iovec){.iov_base = (void *)chunk->data,
                                .iov_len = chunk->nbytes};
        *nbytes += chunk->nbytes;
    }
    return n;
}

/* Take nbytes off the front. */
static void
consume(ca_wqueue *queue, size_t nbytes)
{
    queue->nbytes -= nbytes;
    while (nbytes > 0) {
        ca_chunk *chunk = chunk_at(queue, 0);
        if (nbytes < chunk->nbytes) {
            chunk->data += nbytes;
            chunk->nbytes -= nbytes;
            return;
        }
        nbytes -= chunk->nbytes;
        PyObject *owner = chunk->owner;
        queue->head = (queue->head + 1) & (queue->cap - 1);
        queue->count--;
        Py_DECREF(owner);              /* bytes: runs no Python */
    }
    if (queue->count == 0 && queue->cap > MOST_IDLE_CHUNKS) {
        ca_wqueue_clear(queue);
    }
}

ssize_t
ca_wqueue_drain(ca_wqueue *queue, ca_wqueue_send *send, const void *to, int fd)
{
    while (queue->count > 0) {
        struct iovec iov[IOV_COUNT];
        size_t offered;
        int n_iov = peek(queue, iov, &offered);
        ssize_t n = send(to, fd, iov, n_iov);
        if (n < 0) {
            return n;
        }
        consume(queue, (size_t)n);
        if ((size_t)n < offered) {
            return -EAGAIN;            /* it will not take more now */
        }
    }
    return 0;
}

void
ca_wqueue_clear(ca_wqueue *queue)
{
    ca_wqueue old = *queue;
    *queue = (ca_wqueue){0};
    for (uint32_t i = 0; i < old.count; i++) {
        Py_DECREF(chunk_at(&old, i)->owner);
    }
    PyMem_Free(old.chunks);
}

PyObject *
ca_wqueue_to_list(const ca_wqueue *queue)
{
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i < queue->count; i++) {
        const ca_chunk *chunk = chunk_at(queue, i);
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
