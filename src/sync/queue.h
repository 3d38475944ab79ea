/* queue.h - what the two halves of Queue share: queue.c, the object and what
 * does not wait; queue_wait.c, get() and put(). */
#ifndef CA_SYNC_QUEUE_H
#define CA_SYNC_QUEUE_H

#include "sync/call.h"

extern const ca_sync_face ca_queue_face;

/* Whether native code may work on the queue as it is now. */
bool ca_queue_is_plain(CaQueue *self);

/* Whether shutdown() was called, where there is such a thing. */
static inline bool
ca_queue_is_shut(const CaQueue *self)
{
    return self->shut && self->s.st->sync.QueueShutDown != NULL;
}

/* Of a plain queue: the number of items, and whether that is the most. */
Py_ssize_t ca_queue_size(const CaQueue *self);
bool ca_queue_is_full(const CaQueue *self);

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
