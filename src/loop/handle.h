/* handle.h - Handle and TimerHandle: a callback that waits to run.
 *
 * They stand in for asyncio.Handle and asyncio.TimerHandle: isinstance() holds
 * through __class__, and whatever stock's own Python code reads is there.
 */
#ifndef CA_LOOP_HANDLE_H
#define CA_LOOP_HANDLE_H

#include "base/heap.h"
#include "loop/loop.h"
#include "py/args.h"

enum {
    CA_HANDLE_CANCELLED = 1u << 0,
    /* `context` is a shared snapshot: enter a copy, see py/context.h. */
    CA_HANDLE_SNAPSHOT = 1u << 1,
    /* The moment was given as an int, and is shown as one. */
    CA_HANDLE_WHOLE = 1u << 2,
};

typedef struct {
    PyObject_HEAD
    CaLoop *loop;                      /* strong */
    PyObject *callback;                /* strong; NULL once cancelled */
    PyObject *args;                    /* strong; NULL, the one argument, or a
                                          tuple when nargs > 1 */
    PyObject *context;                 /* strong */
    PyObject *debug;                   /* strong; NULL, or a list
                                          [source traceback, repr] */
    PyObject *weakrefs;
    uint32_t nargs;
    uint32_t flags;                    /* CA_HANDLE_* */
} CaHandle;

typedef struct {
    CaHandle base;
    double when_s;                     /* as asked for, on the loop's clock */
    ca_timer timer;                    /* in loop->reactor.timers while it
                                          waits; the heap owns a reference */
} CaTimerHandle;

extern PyType_Spec ca_handle_spec;
extern PyType_Spec ca_timer_handle_spec;

/* A Handle for call_soon and add_reader; `a` is borrowed.  In debug mode it
 * remembers the stack of the caller. */
CaHandle *ca_handle_new(CaLoop *loop, const ca_call_args *a);

/* A TimerHandle, not yet in the heap. */
CaTimerHandle *ca_timer_handle_new(CaLoop *loop, const ca_call_args *a,
                                   double when_s);

/* A TimerHandle in the heap: new reference.  ValueError for NaN, and
 * RuntimeError when the loop is closed. */
CaTimerHandle *ca_timer_start(CaLoop *loop, const ca_call_args *a,
                              double when_s);

/* As its cancel() method; the caller has a reference.  May run Python
 * (destructors); 0 or -1. */
int ca_timer_cancel(CaTimerHandle *self);

/* Call it in its context.  An exception goes to the loop's handler; 0, or -1
 * with the exception that must leave the loop.  May run Python. */
int ca_handle_run(CaHandle *self);

/* A room above defines it.  What the handle's callback would do, where that is
 * asyncio.sleep()'s setting of a future and nobody can tell: 1 when done, 0
 * when the callback must be called, -1 with an exception. */
int ca_future_run_late_result(CaHandle *handle);

/* Hand the exception that is set to the loop's handler, unless it must leave
 * the loop: 0 or -1.  May run Python. */
int ca_handle_report(CaHandle *self);

/* The handle that stands for a call of the method `name` (CA_STR_*) of an
 * object of ours: new reference or NULL. */
CaHandle *ca_handle_for_method(CaLoop *loop, PyObject *op, int name,
                               PyObject *context);

/* As ca_handle_report(), of that handle: for what acts in the I/O phase where
 * stock runs a callback.  May run Python. */
int ca_handle_report_method(CaLoop *loop, PyObject *op, int name,
                            PyObject *context);

/* As its cancel() method.  May run Python (destructors); 0 or -1. */
int ca_handle_cancel(CaHandle *self);

static inline bool
ca_handle_cancelled(const CaHandle *self)
{
    return (self->flags & CA_HANDLE_CANCELLED) != 0;
}

/* Its death cannot lead to that of another handle, and so on in a chain too
 * deep for the stack: what it owns lives on, or is a bound method in C, whose
 * own dealloc limits the depth. */
static inline bool
ca_handle_is_shallow(const CaHandle *self)
{
    return (self->args == NULL ||
            (self->nargs == 1 && Py_REFCNT(self->args) > 1)) &&
           self->debug == NULL &&
           (self->callback == NULL || Py_REFCNT(self->callback) > 1 ||
            PyCFunction_CheckExact(self->callback));
}

static inline bool
ca_handle_check(const ca_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->HandleType) ||
           Py_IS_TYPE(op, st->TimerHandleType);
}

static inline CaTimerHandle *
ca_timer_handle_of(ca_timer *timer)
{
    return CA_CONTAINER_OF(timer, CaTimerHandle, timer);
}

/* What both types share; used by handle.c and timer.c only. */
int ca_handle_setup(CaHandle *self, CaLoop *loop, const ca_call_args *a);
void ca_handle_release(CaHandle *self);
int ca_handle_tp_traverse(PyObject *op, visitproc visit, void *arg);
int ca_handle_tp_clear(PyObject *op);
PyObject *ca_handle_repr(CaHandle *self, PyObject *stock_type);

#endif
