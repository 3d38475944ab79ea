/* ready.h - what stands in the ready ring, and the switch that runs it.
 *
 * A word is a pointer to an object with its kind in the low bits, and owns one
 * reference to that object.  Tasks and done-callbacks need no handle; one is
 * made for them only when somebody wants to see it.
 */
#ifndef CA_LOOP_READY_H
#define CA_LOOP_READY_H

#include "loop/loop.h"

enum {
    CA_READY_HANDLE = 0,               /* our Handle or TimerHandle */
    CA_READY_FOREIGN = 1,              /* any object with _cancelled, _run() */
    CA_READY_TASK_STEP = 2,            /* a native Task: send None */
    CA_READY_TASK_WAKEUP = 3,          /* a native Task: its future is done */
    CA_READY_CALLBACK = 4,             /* a done-callback; the two words behind
                                          it are the future and the context */
    CA_READY_KIND_MASK = 7,
};

static inline PyObject *
ca_ready_object_borrow(uintptr_t word)
{
    return (PyObject *)(word & ~(uintptr_t)CA_READY_KIND_MASK);
}

/* What is left of a push that failed with `err`: -1, with an exception. */
__attribute__((cold)) int ca_ready_refuse(PyObject *steal_op, int err);

/* Queue an object as one of that kind, which has no words behind it; takes the
 * reference, also on failure.  0 or -1. */
static inline int
ca_ready_push(CaLoop *self, PyObject *steal_op, uintptr_t kind)
{
    int err = ca_ring_push(&self->ready, (uintptr_t)steal_op | kind);
    return err == 0 ? 0 : ca_ready_refuse(steal_op, err);
}

/* Queue a handle of ours; takes the reference, also on failure. 0 or -1. */
int ca_ready_push_handle(CaLoop *self, PyObject *steal_handle);

/* Queue a call of the method `name` (CA_STR_*) of an object of ours, with a
 * handle; 0 or -1. */
int ca_ready_push_method(CaLoop *self, PyObject *op, int name,
                         PyObject *context);

/* Queue any handle, ours or stock's; 0 or -1. */
int ca_ready_push_any(CaLoop *self, PyObject *handle);

/* Queue a task's step or wakeup; takes the reference, also on failure. */
static inline int
ca_ready_push_task(CaLoop *self, PyObject *steal_task, uintptr_t kind)
{
    return ca_ready_push(self, steal_task, kind);
}

/* Queue callback(fut) to run in `context`, an exact Context; 0 or -1. */
int ca_ready_push_callback(CaLoop *self, PyObject *callback, PyObject *fut,
                           PyObject *context);

/* The rooms above define these: run a step or a wakeup of a native task (on
 * failure it hands out the future, strong or NULL), and the bound method that
 * stands for it in a handle. */
int ca_task_run_step(CaLoop *self, PyObject *task);
int ca_task_run_wakeup(CaLoop *self, PyObject *task, PyObject **failed);
PyObject *ca_task_ready_method(PyObject *task, uintptr_t kind);
PyObject *ca_task_ready_context_borrow(PyObject *task);
/* The future that a wakeup is about, or Py_None; borrowed. */
PyObject *ca_task_ready_future_borrow(PyObject *task);

/* Run up to n words, oldest first; 0, or -1 with the exception that must
 * leave the loop: what was not run stays queued.  May run Python. */
int ca_ready_run(CaLoop *self, size_t n);

/* A tuple of the queued handles, oldest first. */
PyObject *ca_ready_snapshot(CaLoop *self);

/* Let go of all entries.  May run Python (destructors). */
void ca_ready_clear(CaLoop *self);

int ca_ready_traverse(const CaLoop *self, visitproc visit, void *arg);

#endif
