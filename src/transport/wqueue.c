/* wqueue.c - see wqueue.h. */
#include "transport/wqueue.h"

enum {
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

int
ca_wqueue_push(ca_wqueue *queue, PyObject *steal_owner, const char *data,
               size_t nbytes)
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
ca_wqueue_peek(const ca_wqueue *queue, struct iovec *iov, int max)
{
    int n = 0;
    for (; n < max && (uint32_t)n < queue->count; n++) {
        const ca_chunk *chunk = chunk_at(queue, (uint32_t)n);
        iov[n] = (struct iovec){.iov_base = (void *)chunk->data,
                                .iov_len = chunk->nbytes};
    }
    return n;
}

void
ca_wqueue_consume(ca_wqueue *queue, size_t nbytes)
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
