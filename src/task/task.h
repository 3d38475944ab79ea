/* task.h - Future and Task: structs, states, and what other rooms may call.
 *
 * Both are true subclasses of the interpreter's own types and use the base's
 * struct through a mirror (py/mirror_*.h), so everything that is not
 * overridden here is inherited and works on the same fields.  Whatever base
 * code may read satisfies the base's invariants: callback0 set implies
 * context0 set, done implies a result or an exception, loop set.
 *
 * Waiters.  A task that awaits one of our futures is entered as the pair
 * (task, None) in the place of (callback, context): no bound method, no
 * handle. A pair with a Task of ours and None stands for that and nothing
 * else, since add_done_callback() does not store None with a task.  In the
 * same way a server's connection waits for the end of its handler as
 * (transport, context), the context being one that many share and nobody
 * enters.
 *
 * Native and not.  A Task is driven by us when `native` is set: its loop is a
 * casyncio loop, not in debug mode, with its own call_soon().  Any other (a
 * foreign loop, debug mode, an overridden call_soon) was started by the base's
 * __init__, and the base's own C code drives it, for its whole life.
 */
#ifndef CA_TASK_TASK_H
#define CA_TASK_TASK_H

#include "base/dlist.h"
#include "loop/loop.h"
#include "py/compat.h"
#include "py/state.h"

enum { CA_PENDING, CA_CANCELLED, CA_FINISHED };

typedef ca_future_mirror CaFuture;

typedef struct {
    ca_task_mirror m;
#if !CA_TASKS_LINKED
    ca_dnode link;                     /* in ca_state.all_tasks */
    uint64_t number;                  /* for the name until one is asked for */
    bool published;                    /* in asyncio's set of all tasks */
#endif
    bool native;
} CaTask;

enum {
    CA_FREELIST_FUTURES = 1024,
    CA_FREELIST_TASKS = 1024,
    CA_FREELIST_ITERS = 256,
};

extern PyType_Spec ca_future_spec;
extern PyType_Spec ca_task_spec;
extern PyType_Spec ca_future_iter_spec;

void ca_future_tp_dealloc(PyObject *op);
void ca_task_tp_dealloc(PyObject *op);

/* The state of a Future's or Task's module; NULL with an exception.  Instances
 * of the types themselves have our dealloc, those of classes derived in Python
 * another. */
static inline ca_state *
ca_future_state(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    return type->tp_dealloc == ca_future_tp_dealloc ||
                   type->tp_dealloc == ca_task_tp_dealloc
               ? PyModule_GetState(((PyHeapTypeObject *)type)->ht_module)
               : ca_state_of_type(type);
}

static inline bool
ca_future_check(const ca_state *st, PyObject *op)
{
    return Py_IS_TYPE(op, st->FutureType) || Py_IS_TYPE(op, st->TaskType) ||
           Py_IS_TYPE(op, st->GatheringType);
}

/* Whether the loop, which may be NULL, is one of ours; that is remembered. */
bool ca_future_knows_loop(ca_state *st, PyObject *loop);

/* The future's loop if it is one of ours, open to native scheduling (no debug
 * mode, no overridden call_soon); else NULL.  Borrowed. */
static inline CaLoop *
ca_future_native_loop(ca_state *st, PyObject *loop)
{
    CaLoop *self = (CaLoop *)loop;
    if ((self == NULL || self != st->known_loop) &&
        !ca_future_knows_loop(st, loop)) {
        return NULL;
    }
    return self->debug || (self->overrides & CA_OVERRIDE_CALL_SOON) != 0
               ? NULL
               : self;
}

/* A pending Future of a loop of ours. */
PyObject *ca_future_new(CaLoop *loop);

/* Future(...), in the place of tp_new and tp_init, which would make each in
 * new memory.  Classes derived from it have it not. */
PyObject *ca_future_vectorcall(PyObject *type, PyObject *const *args,
                               size_t nargsf, PyObject *kwnames);

/* A Task of a loop of ours, its first step queued, or done if `eager`.  name,
 * context: NULL or None for none.  TypeError when coro is not a coroutine. */
PyObject *ca_task_new(CaLoop *loop, PyObject *coro, PyObject *name,
                      PyObject *context, bool eager);

/* As set_name(); 0 or -1. */
int ca_task_rename(CaTask *task, PyObject *name);

/* Finish a pending future and schedule its callbacks; 0 or -1.  `exc` must be
 * an exception instance. */
int ca_future_finish(ca_state *st, CaFuture *fut, PyObject *result);
int ca_future_fail(ca_state *st, CaFuture *fut, PyObject *exc);
int ca_future_mark_cancelled(ca_state *st, CaFuture *fut, PyObject *msg);

/* Whether a future has nothing but a loop and perhaps a result. */
static inline bool
ca_future_is_bare(const CaFuture *fut)
{
    return ((uintptr_t)fut->callback0 | (uintptr_t)fut->context0 |
            (uintptr_t)fut->callbacks | (uintptr_t)fut->exception |
            (uintptr_t)fut->exception_tb | (uintptr_t)fut->source_tb |
            (uintptr_t)fut->cancel_msg | (uintptr_t)fut->cancelled_exc) == 0;
}

/* Let go of all fields of a dying future or task.  May run Python. */
static inline void
ca_future_release(CaFuture *fut)
{
    Py_CLEAR(fut->loop);
    if (!ca_future_is_bare(fut)) {
        Py_CLEAR(fut->callback0);
        Py_CLEAR(fut->context0);
        Py_CLEAR(fut->callbacks);
        Py_CLEAR(fut->exception);
        Py_CLEAR(fut->exception_tb);
        Py_CLEAR(fut->source_tb);
        Py_CLEAR(fut->cancel_msg);
        Py_CLEAR(fut->cancelled_exc);
    }
    Py_CLEAR(fut->result);
}

/* Enter `task` as a waiter of a future of ours; 0 or -1. */
int ca_future_add_waiter(ca_state *st, CaFuture *fut, CaTask *task);

/* Enter a server's connection: when the handler that runs in this task of ours
 * has ended, handler_ended(transport, task) of the state is called, in a copy
 * of the context of now.  1; 0: not as usual, nothing done; -1. */
int ca_future_add_transport(ca_state *st, CaFuture *fut, PyObject *transport);

/* Enter a callback of a future of ours, or schedule it if that is done; 0 or
 * -1.  `context` is an exact Context. */
int ca_future_add_callback(ca_state *st, CaFuture *fut, PyObject *callback,
                           PyObject *context);

/* Schedule one callback of `fut`; context None and a Task of ours: a wakeup.
 * 0 or -1.  May run Python. */
int ca_future_schedule_one(ca_state *st, CaFuture *fut, PyObject *callback,
                           PyObject *context);

/* The exception of result(): CancelledError or the one that was set; strong.
 * NULL, without an exception set, when the future has a result. */
PyObject *ca_future_take_error(ca_state *st, CaFuture *fut);

/* Run a step, in the task's context, as its loop's current task: from the
 * ready ring.  `exc`, borrowed, is thrown in; NULL: None is sent.  0, or -1
 * with an exception that Handle._run() would have seen. */
int ca_task_step(CaLoop *loop, CaTask *task, PyObject *exc);

/* A first step, nothing entered; 0, or -1 as ca_task_step(). */
int ca_task_step_bare(ca_state *st, CaTask *task);

/* Step after the future it waits for has finished; on failure hands that
 * future out, strong or NULL, for the report. */
int ca_task_wakeup(CaLoop *loop, CaTask *task, PyObject **failed);

/* The same from a handle, which has entered the task's context. */
int ca_task_step_entered(CaTask *task, PyObject *exc);

/* The loop of any future: strong or NULL. */
PyObject *ca_task_loop_of(ca_state *st, PyObject *fut);

/* fut.add_done_callback(wakeup, context=...) of any future; 0 or -1. */
int ca_task_add_wakeup(ca_state *st, CaTask *task, PyObject *fut);

/* Queue a step natively; 0 or -1. */
int ca_task_queue_step(CaLoop *loop, CaTask *task);

/* Bound methods for handles, as stock's: step() and wakeup(future). */
PyObject *ca_task_step_method(CaTask *task);
PyObject *ca_task_wakeup_method(CaTask *task);

/* Helpers that Future and Task share in their method tables. */
PyObject *ca_future_py_add_done_callback(PyObject *op, PyObject *const *args,
                                         Py_ssize_t nargs, PyObject *kwnames);
PyObject *ca_future_py_remove_done_callback(PyObject *op,
                                            PyObject *const *args,
                                            Py_ssize_t nargs,
                                            PyObject *kwnames);
PyObject *ca_future_py_cancel(PyObject *op, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames);
PyObject *ca_future_get_callbacks(PyObject *op, void *closure);
PyObject *ca_future_tp_iter(PyObject *op);
extern const char ca_add_done_callback_doc[];
extern const char ca_remove_done_callback_doc[];

#endif
