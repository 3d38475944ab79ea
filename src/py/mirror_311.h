/* mirror_311.h - the structs of _asyncio.Future and _asyncio.Task, 3.11, 3.12.
 *
 * Our Future and Task are subclasses that use these fields themselves, so that
 * what we do not override can be inherited.  Field by field as in
 * Modules/_asynciomodule.c; task/guard.c checks at import that it is so.
 */
#ifndef CA_PY_MIRROR_311_H
#define CA_PY_MIRROR_311_H

#include <Python.h>

/* What a type with this layout says of its dict and weak references. */
#define CA_MIRROR_FLAGS 0

/* asyncio keeps its tasks in Python objects: see task/registry.c. */
#define CA_TASKS_LINKED 0

/* What stock calls a step in its complaints. */
#define CA_STEP_NAME "_step()"

/* The iterator of `await` is spent by the result, leaves None out of the
 * StopIteration, and gives that the context of what is being handled. */
#define CA_AWAIT_REPEATS 0

#define CA_FUTURE_FIELDS \
    PyObject_HEAD \
    PyObject *loop; \
    PyObject *callback0; \
    PyObject *context0; \
    PyObject *callbacks; \
    PyObject *exception; \
    PyObject *exception_tb; \
    PyObject *result; \
    PyObject *source_tb; \
    PyObject *cancel_msg; \
    int state; \
    int log_tb; \
    int blocking; \
    PyObject *dict; \
    PyObject *weakreflist; \
    PyObject *cancelled_exc;

typedef struct {
    CA_FUTURE_FIELDS
} ca_future_mirror;

typedef struct {
    CA_FUTURE_FIELDS
        PyObject *fut_waiter;
    PyObject *coro;
    PyObject *name;
    PyObject *context;
    int must_cancel;
    int log_destroy_pending;
    int num_cancels_requested;
} ca_task_mirror;

#endif
