/* queue.h - what the two halves of Queue share: queue.c, the object and what
 * does not wait; queue_wait.c, get() and put(). */
#ifndef CA_SYNC_QUEUE_H
#define CA_SYNC_QUEUE_H

#include "sync/call.h"

extern const ca_sync_face ca_queue_face;

enum {
    CA_QUEUE_FIFO,                     /* in a deque */
    CA_QUEUE_LIFO,                     /* in a list */
    CA_QUEUE_HEAP,                     /* in a list */
};

/* Ask the type, also for the container that it has. */
bool ca_queue_ask_type(CaQueue *self);

/* Whether native code may work on the queue as it is now. */
static inline bool
ca_queue_is_plain(CaQueue *self)
{
    if (self->s.tampered || self->queue == NULL) {
        return false;
    }
    bool plain = ca_typetag_holds(self->s.asked_type, Py_TYPE(self))
                     ? self->s.type_plain
                     : ca_queue_ask_type(self);
    return plain &&
           (self->s.container == CA_QUEUE_FIFO
                ? (PyObject *)Py_TYPE(self->queue) == self->s.st->deque
                : PyList_CheckExact(self->queue));
}

/* Whether shutdown() was called, where there is such a thing. */
static inline bool
ca_queue_is_shut(const CaQueue *self)
{
    return self->shut && self->s.st->sync.QueueShutDown != NULL;
}

/* The number of items of a plain queue. */
static inline Py_ssize_t
ca_queue_size(const CaQueue *self)
{
    return Py_SIZE(self->queue);       /* a deque's is its length, too */
}

/* Whether that is the most there may be. */
static inline bool
ca_queue_is_full(const CaQueue *self)
{
    return self->maxsize.n > 0 && ca_queue_size(self) >= self->maxsize.n;
}

/* get_nowait() and put_nowait() of a plain queue; NULL or -1 with an
 * exception.  May run Python: comparisons of items, a user's Event. */
PyObject *ca_queue_take(CaQueue *self);
int ca_queue_add(CaQueue *self, PyObject *item);

PyObject *ca_queue_py_get(PyObject *op, PyObject *none);
PyObject *ca_queue_py_put(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames);
extern const char ca_queue_get_doc[];
extern const char ca_queue_put_doc[];

#endif
