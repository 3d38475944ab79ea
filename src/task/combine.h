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
#include "task/task.h"

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

/* ---- coroutines in C ---- */

enum { CA_CORO_ARGS = 4, CA_FREELIST_COROS = 256 };

typedef enum {
    CA_CORO_NEW,
    CA_CORO_RUNNING,                   /* its code is on the stack */
    CA_CORO_WAITING,                   /* it has yielded */
    CA_CORO_DELEGATED,                 /* to `inner`, for the rest */
    CA_CORO_SPENT,
} ca_coro_state;

struct ca_coro_kind;

typedef struct {
    PyObject_HEAD
    const struct ca_coro_kind *kind;   /* borrowed: static */
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *args[CA_CORO_ARGS];      /* strong; NULL where there is none */
    PyObject *future;                  /* strong; that it waits for, or NULL */
    PyObject *timer;                   /* strong; a handle of ours, or NULL */
    PyObject *inner;                   /* strong; that it hands on to */
    PyObject *weakrefs;
    CaTask *task;                      /* strong; of a deadline */
    struct ca_expiry *expiry;          /* strong; what its timer calls */
    uint8_t state;                     /* ca_coro_state */
    uint8_t nargs;
    uint8_t phase;                     /* the kind's own */
    int cancelling;                    /* requests before a deadline */
} CaCoro;

typedef struct ca_coro_kind {
    const char *name;
    const char *qualname;
    int stock;                         /* the function, in ca_state.combine */
    /* The first send(None). */
    PySendResult (*start)(CaCoro *self, PyObject **result);
    /* The next one, of `value`. */
    PySendResult (*resume)(CaCoro *self, PyObject *value, PyObject **result);
    /* An exception is thrown in where it waits; borrowed. */
    PySendResult (*thrown)(CaCoro *self, PyObject *exc, PyObject **result);
} ca_coro_kind;

/* What the timer of a deadline calls.  It does not keep the coroutine alive:
 * one that is dropped is closed, as one of stock's is. */
typedef struct ca_expiry {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    CaCoro *coro;                      /* borrowed: it says when it is spent */
} CaExpiry;

extern PyType_Spec ca_expiry_spec;
extern PyType_Spec ca_coro_spec;

/* A new coroutine; args are those of stock's function. */
PyObject *ca_coro_new(ca_state *st, const ca_coro_kind *kind,
                      PyObject *const *args, Py_ssize_t nargs);

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

/* What has become of the future that it waits for. */
PySendResult ca_coro_outcome(ca_state *st, CaFuture *fut, PyObject **result);

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
