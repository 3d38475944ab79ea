/* waiters.c - see waiters.h. */
#include "sync/waiters.h"

#include "loop/ready.h"

enum { LOOKED_AT_DIRECTLY = 8 };       /* of a deque's waiters */

/* A future's method that answers with a bool: 1, 0, or -1. */
static int
ask(PyObject *fut, const char *method)
{
    PyObject *answer = PyObject_CallMethod(fut, method, NULL);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result;
}

int
ca_waiter_is_done(const ca_state *st, PyObject *fut)
{
    return ca_future_check(st, fut) ? ((CaFuture *)fut)->state != CA_PENDING
                                    : ask(fut, "done");
}

int
ca_waiter_is_cancelled(const ca_state *st, PyObject *fut)
{
    return ca_future_check(st, fut) ? ((CaFuture *)fut)->state == CA_CANCELLED
                                    : ask(fut, "cancelled");
}

int
ca_waiter_finish(ca_state *st, PyObject *fut, PyObject *result)
{
    CaFuture *own = (CaFuture *)fut;
    if (Py_IS_TYPE(fut, st->FutureType) && own->state == CA_PENDING &&
        own->loop != NULL) {
        return ca_future_finish(st, own, result);
    }
    PyObject *none = PyObject_CallMethodOneArg(
        fut, st->names[CA_STR_set_result], result);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* Go through the deque up to the first one for which `skip` is not 1.  That
 * one, strong; NULL at the end, or with an exception. */
static PyObject *
search_all(const ca_state *st, PyObject *deque,
           int (*skip)(const ca_state *st, PyObject *fut))
{
    Py_INCREF(deque);                  /* the collector may run */
    PyObject *iter = PyObject_GetIter(deque);
    PyObject *found = NULL;
    Py_DECREF(deque);
    while (iter != NULL && (found = PyIter_Next(iter)) != NULL) {
        int skipped = skip(st, found);
        if (skipped == 0) {
            break;
        }
        Py_CLEAR(found);
        if (skipped < 0) {
            break;
        }
    }
    Py_XDECREF(iter);
    return found;
}

/* The same.  Nearly always it is among the first ones, behind those that are
 * woken and have not had their turn, and an iterator costs more than all the
 * rest.  One that is not ours may run Python and is asked once only. */
static PyObject *
search(const ca_state *st, PyObject *deque,
       int (*skip)(const ca_state *st, PyObject *fut))
{
    Py_ssize_t size = ca_deque_size(deque);
    Py_ssize_t near = size < LOOKED_AT_DIRECTLY ? size : LOOKED_AT_DIRECTLY;
    for (Py_ssize_t i = 0; i < near; i++) {
        PyObject *fut = Py_TYPE(deque)->tp_as_sequence->sq_item(deque, i);
        bool own = fut != NULL && ca_future_check(st, fut);
        if (fut == NULL || (own && skip(st, fut) == 0)) {
            return fut;
        }
        Py_DECREF(fut);
        if (!own) {
            return search_all(st, deque, skip);
        }
    }
    return size > near ? search_all(st, deque, skip) : NULL;
}

int
ca_waiters_all_cancelled(const ca_state *st, PyObject *deque)
{
    PyObject *found = search(st, deque, ca_waiter_is_cancelled);
    Py_XDECREF(found);
    return found != NULL ? 0 : PyErr_Occurred() ? -1 : 1;
}

PyObject *
ca_waiters_first_pending(const ca_state *st, PyObject *deque)
{
    return search(st, deque, ca_waiter_is_done);
}

int
ca_waiters_wake_next_of(ca_state *st, PyObject *deque)
{
    int result = 0;
    Py_INCREF(deque);                  /* futures of others run Python */
    while (ca_deque_size(deque) != 0) {
        PyObject *fut = ca_deque_popleft(st, deque);
        int done = fut == NULL ? -1 : ca_waiter_is_done(st, fut);
        if (done == 0) {
            result = ca_waiter_finish(st, fut, Py_None);
        }
        Py_XDECREF(fut);
        if (done <= 0) {
            result = done < 0 ? -1 : result;
            break;
        }
    }
    Py_DECREF(deque);
    return result;
}
