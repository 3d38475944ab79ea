/* waiters.h - deques of futures, without looking methods up.
 *
 * The functions of collections.deque are called through the pointers in its
 * method table, which ca_sync_init() has checked to take what we pass; and it
 * has seen that a deque's ob_size is its length.
 */
#ifndef CA_SYNC_WAITERS_H
#define CA_SYNC_WAITERS_H

#include "task/task.h"

static inline Py_ssize_t
ca_deque_size(PyObject *deque)
{
    return deque == NULL ? 0 : Py_SIZE(deque);
}

/* deque[0]; a new reference, or NULL with an exception. */
static inline PyObject *
ca_deque_first(PyObject *deque)
{
    return Py_TYPE(deque)->tp_as_sequence->sq_item(deque, 0);
}

static inline int
ca_deque_append(const ca_state *st, PyObject *deque, PyObject *item)
{
    PyObject *none = st->sync.deque_append(deque, item);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static inline PyObject *
ca_deque_popleft(const ca_state *st, PyObject *deque)
{
    return st->sync.deque_popleft(deque, NULL);
}

/* deque.remove(item); 0, or -1 with the ValueError.  The deque may be NULL: a
 * user has set None, which has no remove().  May run Python, where a user has
 * put something else into it. */
static inline int
ca_deque_remove(const ca_state *st, PyObject *deque, PyObject *item)
{
    if (deque == NULL) {
        return PyObject_GetAttrString(Py_None, "remove") == NULL ? -1 : 0;
    }
    if (Py_SIZE(deque) > 0) {
        PyObject *first = ca_deque_first(deque);
        if (first == item) {           /* as most often: it is the oldest */
            Py_DECREF(first);
            first = ca_deque_popleft(st, deque);
            Py_XDECREF(first);
            return first == NULL ? -1 : 0;
        }
        Py_XDECREF(first);
    }
    Py_INCREF(deque);                  /* that Python may drop it */
    PyObject *none = st->sync.deque_remove(deque, item);
    Py_DECREF(deque);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* fut.done() and fut.cancelled() of any future: 1, 0, or -1. */
int ca_waiter_is_done(const ca_state *st, PyObject *fut);
int ca_waiter_is_cancelled(const ca_state *st, PyObject *fut);

/* fut.set_result(result); 0 or -1.  May run Python. */
int ca_waiter_finish(ca_state *st, PyObject *fut, PyObject *result);

/* Whether all waiters are cancelled; true of none.  1, 0 or -1. */
int ca_waiters_all_cancelled(const ca_state *st, PyObject *deque);

/* The first one that is not done, strong; NULL with or without an
 * exception. */
PyObject *ca_waiters_first_pending(const ca_state *st, PyObject *deque);

/* Take waiters out until one is not done, and finish that; 0 or -1. */
int ca_waiters_wake_next_of(ca_state *st, PyObject *deque);

/* The same; most often there is none.  The deque may be NULL. */
static inline int
ca_waiters_wake_next(ca_state *st, PyObject *deque)
{
    return ca_deque_size(deque) == 0 ? 0 : ca_waiters_wake_next_of(st, deque);
}

#endif
