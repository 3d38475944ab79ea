/* coro.h - coroutines in C: the head and the protocol that all kinds share.
 *
 * A kind is a type: the calls of streams, of locks and queues, of sockets, and
 * of asyncio.sleep() and its like.  Each says in a table what it does when it
 * is started, resumed and thrown into; when it may be in which state, what a
 * caller or a tool asks of it, its end and its memory are dealt with here.
 *
 * States:  new -> running -> spent
 *                 running <-> waiting (it has yielded), then -> spent
 *                 running -> delegated -> spent
 *
 * Nothing happens before the first send(), as with stock's.  Delegated, all
 * goes to a coroutine of stock's, which then is the only one that knows.
 * Closing is throwing GeneratorExit, as ever, and one that waits is closed
 * when it is forgotten.
 *
 * What is called for every await stands here as inline functions: a kind wraps
 * them with its own constant table, so that nothing of it is called through a
 * pointer.
 */
#ifndef CA_TASK_CORO_H
#define CA_TASK_CORO_H

#include "py/freelist.h"
#include "py/stop.h"
#include "task/task.h"

#include <stdbool.h>

typedef enum {
    CA_CORO_NEW,
    CA_CORO_RUNNING,                   /* its code is on the stack */
    CA_CORO_WAITING,                   /* it has yielded */
    CA_CORO_DELEGATED,                 /* to `inner`, for the rest */
    CA_CORO_SPENT,
} ca_coro_state;

/* What every kind's struct begins with. */
typedef struct CaCoro {
    PyObject_HEAD
    const struct ca_coro_kind *kind;   /* borrowed: static */
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *future;                  /* strong; a CaFuture that it awaits, or
                                          NULL */
    PyObject *inner;                   /* strong; that it hands on to */
    PyObject *weakrefs;
    uint8_t state;                     /* ca_coro_state */
    bool finalized;                    /* it had its tp_finalize: its memory is
                                          marked, and not for another */
} CaCoro;

/* One per type.  What begin(), resume() and thrown() return: PYGEN_NEXT with
 * what is yielded, PYGEN_RETURN with the result, or PYGEN_ERROR with an
 * exception; the state follows from that.  None is called with an exception
 * set. */
typedef struct ca_coro_kind {
    size_t type;                       /* offset in ca_state of the type */
    size_t freelist;                   /* and of its free list, */
    int keep;                          /* which holds so many */
    /* The first send(None). */
    PySendResult (*begin)(CaCoro *self, PyObject **result);
    /* The next one, of `value`. */
    PySendResult (*resume)(CaCoro *self, PyObject *value, PyObject **result);
    /* An exception is thrown in where it waits; borrowed. */
    PySendResult (*thrown)(CaCoro *self, PyObject *exc, PyObject **result);
    /* What `inner` has returned is about to be the result: 0 or -1; NULL: it
     * stays as it is. */
    int (*complete)(CaCoro *self, PyObject **result);
    /* Let go of the kind's own fields.  May be called twice, and run
     * Python. */
    void (*spend)(CaCoro *self);
    /* Visit these. */
    int (*traverse)(CaCoro *self, visitproc visit, void *arg);
    /* Stock's coroutine of the same arguments. */
    PyObject *(*make_stock)(const CaCoro *self);
    /* The function that makes such, whatever it is. */
    PyObject *(*stock_function)(const CaCoro *self);
    /* Its __qualname__; what is behind the last dot is the __name__. */
    PyObject *(*qualname)(const CaCoro *self);
} ca_coro_kind;

/* The base of all of these types. */
extern PyType_Spec ca_coro_spec;

/* ---- what kinds call ---- */

/* Go on as stock's coroutine of the same arguments.  May run Python. */
PySendResult ca_coro_delegate(CaCoro *self, PyObject **result);

/* Go on as that coroutine, which is `inner` and has been started. */
PySendResult ca_coro_delegate_sent(CaCoro *self, PyObject **result);

/* Go on as that coroutine, which has been started already and is to have
 * `exc` thrown in. */
PySendResult ca_coro_delegate_thrown(CaCoro *self, PyObject *steal_inner,
                                     PyObject *exc, PyObject **result);

/* Raise `exc` again. */
PySendResult ca_coro_fail(PyObject *exc);

/* After throw() has returned NULL: a return, or the error that is set. */
PySendResult ca_coro_stopped(PyObject **result);

/* A StopIteration that is set becomes the RuntimeError of PEP 479. */
void ca_coro_hide_stop(const char *message);

/* Raise what the future that was awaited has come to, if it has no result;
 * whether it has one. */
bool ca_coro_future_raises(ca_state *st, CaFuture *fut);

static inline bool
ca_coro_future_has_result(ca_state *st, CaFuture *fut)
{
    return (fut->state == CA_FINISHED && fut->exception == NULL) ||
           !ca_coro_future_raises(st, fut);
}

/* ---- birth ---- */

/* A new one, not tracked yet, with the fields of its kind not set. */
static inline CaCoro *
ca_coro_new(ca_state *st, const ca_coro_kind *kind)
{
    PyTypeObject *type = *(PyTypeObject **)((char *)st + kind->type);
    ca_freelist *list = (ca_freelist *)((char *)st + kind->freelist);
    CaCoro *self = (CaCoro *)ca_freelist_take(list, type);
    if (self != NULL) {
        self->kind = kind;
        self->st = st;
        self->future = NULL;
        self->inner = NULL;
        self->weakrefs = NULL;
        self->state = CA_CORO_NEW;
        self->finalized = false;
    }
    return self;
}

/* ---- the end ---- */

/* Let go of everything.  May run Python (destructors). */
static inline void
ca_coro_spend(CaCoro *self, const ca_coro_kind *kind)
{
    self->state = CA_CORO_SPENT;
    kind->spend(self);
    Py_CLEAR(self->future);
    Py_CLEAR(self->inner);
}

/* The same with the exception that its code has raised.  Cold: kept out of the
 * functions below. */
__attribute__((cold)) PySendResult ca_coro_end_raising(CaCoro *self);

/* What a function of the kind has come to: the state follows. */
static inline PySendResult
ca_coro_settle(CaCoro *self, const ca_coro_kind *kind, PySendResult status)
{
    if (status == PYGEN_NEXT) {
        if (self->state == CA_CORO_RUNNING) {
            self->state = CA_CORO_WAITING;
        }
        return PYGEN_NEXT;
    }
    if (status == PYGEN_RETURN) {
        ca_coro_spend(self, kind);
        return PYGEN_RETURN;
    }
    return ca_coro_end_raising(self);
}

/* ---- slots that each kind wraps ---- */

/* send() when that is not as usual: to one that is delegated, or refused. */
__attribute__((cold)) PySendResult ca_coro_send_on(CaCoro *self,
                                                   PyObject *value,
                                                   PyObject **result);

/* Py_am_send */
static inline PySendResult
ca_coro_send(PyObject *op, const ca_coro_kind *kind, PyObject *value,
             PyObject **result)
{
    CaCoro *self = (CaCoro *)op;
    PySendResult status;
    *result = NULL;
    if (self->state == CA_CORO_NEW && value == Py_None) {
        self->state = CA_CORO_RUNNING;
        status = kind->begin(self, result);
    } else if (self->state == CA_CORO_WAITING) {
        self->state = CA_CORO_RUNNING;
        status = kind->resume(self, value, result);
    } else {
        return ca_coro_send_on(self, value, result);
    }
    return ca_coro_settle(self, kind, status);
}

/* Py_tp_iternext */
static inline PyObject *
ca_coro_next(PyObject *op, const ca_coro_kind *kind)
{
    PyObject *result;
    if (ca_coro_send(op, kind, Py_None, &result) == PYGEN_RETURN) {
        ca_stop_raise(((CaCoro *)op)->st, result);
        return NULL;
    }
    return result;
}

/* Py_tp_dealloc */
static inline void
ca_coro_dealloc(PyObject *op, const ca_coro_kind *kind)
{
    CaCoro *self = (CaCoro *)op;
    ca_state *st = self->st;
    if (self->state != CA_CORO_SPENT &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->state != CA_CORO_SPENT) {
        ca_coro_spend(self, kind);
    }
    if (!self->finalized) {
        ca_freelist *list = (ca_freelist *)((char *)st + kind->freelist);
        ca_freelist_give(list, op, kind->keep);
        return;
    }
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

#endif
