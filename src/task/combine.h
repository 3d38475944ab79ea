/* combine.h - sleep, gather, timeout and the like: what they share.
 *
 * Only the plain case is done here: a native loop that runs, that is not in
 * debug mode and whose methods nobody has replaced, arguments of exact types.
 * In every other case, and wherever an error is to be raised, the running
 * Python's own function does it, with its words; it is found in
 * ca_state.combine, where casyncio/_combine.py has put it.  What differs
 * between patch releases is found there, too (CA_COMBINE_*).
 */
#ifndef CA_TASK_COMBINE_H
#define CA_TASK_COMBINE_H

#include "loop/handle.h"
#include "task/coro.h"

#include <stdbool.h>

/* ---- the loop and the task that run ---- */

/* The native loop that runs in this thread, if the plain case holds for it;
 * NULL, without an exception, in all others.  Borrowed: it runs. */
CaLoop *ca_combine_loop(ca_state *st);

/* The current task of such a loop if it is a Task of ours; else NULL, without
 * an exception.  Borrowed. */
CaTask *ca_combine_task(CaLoop *loop);

/* A bound on numbers that need no interpretation: an exact float or int.
 * False, without an exception, for others. */
bool ca_combine_number(PyObject *op, double *value);

/* A handle that calls callback() at a time, or soon if that is past: new
 * reference. */
PyObject *ca_combine_arm(CaLoop *loop, PyObject *callback, double when_s);

/* Cancel a handle of ours: 1; 0 when it is another object, -1 on error. */
int ca_combine_disarm(const ca_state *st, PyObject *handle);

/* stock[which]; RuntimeError before casyncio/_combine.py has put it there. */
PyObject *ca_combine_stock_borrow(const ca_state *st, int which);

/* stock[which](*args): the running Python's own function. */
PyObject *ca_combine_call_stock(ca_state *st, int which, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);

/* TaskGroup's method of asyncio. */
PyObject *ca_combine_call_group(ca_state *st, PyObject *method, PyObject *self,
                                PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames);

/* ---- coroutines ---- */

enum { CA_COMBINECALL_ARGS = 4, CA_FREELIST_COMBINE_CALLS = 256 };

struct ca_combine_op;

typedef struct {
    CaCoro c;
    const struct ca_combine_op *op;    /* borrowed: static */
    PyObject *args[CA_COMBINECALL_ARGS]; /* strong; NULL: there is none */
    PyObject *timer;                   /* strong; a handle of ours, or NULL */
    CaTask *task;                      /* strong; of a deadline */
    struct ca_expiry *expiry;          /* strong; what its timer calls */
    uint8_t nargs;
    uint8_t phase;                     /* the operation's own */
    int cancelling;                    /* requests before a deadline */
} CaCombineCall;

/* One per function; begin(), resume() and thrown() of task/coro.h. */
typedef struct ca_combine_op {
    const char *qualname;
    int stock;                         /* the function, in ca_state.combine */
    PySendResult (*start)(CaCombineCall *self, PyObject **result);
    PySendResult (*resume)(CaCombineCall *self, PyObject *value,
                           PyObject **result);
    PySendResult (*thrown)(CaCombineCall *self, PyObject *exc,
                           PyObject **result);
} ca_combine_op;

/* What the timer of a deadline calls.  It does not keep the coroutine alive:
 * one that is dropped is closed, as one of stock's is. */
typedef struct ca_expiry {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    CaCombineCall *coro;               /* borrowed: it says when it is spent */
} CaExpiry;

extern PyType_Spec ca_expiry_spec;
extern PyType_Spec ca_combinecall_spec;

/* A new coroutine; args are those of stock's function. */
PyObject *ca_combinecall_new(ca_state *st, const ca_combine_op *op,
                             PyObject *const *args, Py_ssize_t nargs);

/* `async with`: what __aenter__() and __aexit__(type, exc, tb) return for an
 * object of a type of ours. */
PyObject *ca_combinecall_enter(PyObject *owner, const ca_combine_op *op);
PyObject *ca_combinecall_exit(PyObject *owner, const ca_combine_op *op,
                              PyObject *const *args, Py_ssize_t nargs);

/* For the `resume` and `thrown` of operations that never wait. */
PySendResult ca_combinecall_resume_never(CaCombineCall *self, PyObject *value,
                                         PyObject **result);
PySendResult ca_combinecall_thrown_never(CaCombineCall *self, PyObject *exc,
                                         PyObject **result);

/* ---- functions with the looks of stock's ---- */

extern PyType_Spec ca_function_spec;

/* What ca_function_new() takes; the rest of its looks are attributes. */
typedef PyObject *(*ca_function_code)(ca_state *st, PyObject *const *args,
                                      Py_ssize_t nargs, PyObject *kwnames);

PyObject *ca_function_new(ca_state *st, ca_function_code code);

/* ---- the functions and types ---- */

/* A Timeout of ours; and one whose time is up, which `task` has entered. */
PyObject *ca_timeout_new(ca_state *st, PyObject *when);
PyObject *ca_timeout_expiring(ca_state *st, CaTask *task, int cancelling);

PyObject *ca_sleep_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames);
PyObject *ca_gather_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);
PyObject *ca_timeout_call(ca_state *st, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames);
PyObject *ca_wait_for_call(ca_state *st, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);

/* Make the types of these files; 0 or -1. */
int ca_combine_make_types(PyObject *module, ca_state *st);

/* What all this has in the state, for the module. */
int ca_combine_visit_state(ca_state *st, visitproc visit, void *arg);
void ca_combine_clear_state(ca_state *st);

/* use_combining() of the module. */
PyObject *ca_combine_use(PyObject *module, PyObject *args);

extern PyType_Spec ca_gathering_spec;
extern PyType_Spec ca_gather_callback_spec;
extern PyType_Spec ca_timeout_spec;
extern PyType_Spec ca_group_spec;

#endif
