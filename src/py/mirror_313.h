/* mirror_313.h - the structs of _asyncio.Future and _asyncio.Task, 3.13.
 *
 * See mirror_311.h.  Instance dict and weak references have moved in front of
 * the object, and the flags have become bits.
 */
#ifndef CA_PY_MIRROR_313_H
#define CA_PY_MIRROR_313_H

#include <Python.h>

/* What a type with this layout says of its dict and weak references. */
#define CA_MIRROR_FLAGS (Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF)

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
    PyObject *cancelled_exc; \
    int state; \
    unsigned log_tb : 1; \
    unsigned blocking : 1;

typedef struct {
    CA_FUTURE_FIELDS
} ca_future_mirror;

typedef struct {
    CA_FUTURE_FIELDS
        unsigned must_cancel : 1;
    unsigned log_destroy_pending : 1;
    int num_cancels_requested;
    PyObject *fut_waiter;
    PyObject *coro;
    PyObject *name;
    PyObject *context;
} ca_task_mirror;

#endif
