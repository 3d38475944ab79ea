/* mirror_314.h - the structs of _asyncio.Future and _asyncio.Task, 3.14.
 *
 * See mirror_311.h.  New is what other processes and call graphs look at: who
 * awaits a future, and the task's place in the interpreter's list of tasks.
 * Both belong to the base's code as well, which reaches into any subclass.
 */
#ifndef CA_PY_MIRROR_314_H
#define CA_PY_MIRROR_314_H

#include <Python.h>

#include "base/dlist.h"

/* What a type with this layout says of its dict and weak references. */
#define CA_MIRROR_FLAGS (Py_TPFLAGS_MANAGED_DICT | Py_TPFLAGS_MANAGED_WEAKREF)

/* The interpreter keeps tasks in lists of its own, and the current task of a
 * thread in the thread's state: see task/thread.c. */
#define CA_TASKS_LINKED 1

/* What stock calls a step in its complaints. */
#define CA_STEP_NAME "__step()"

/* The iterator of `await` gives its result as often as it is asked, None like
 * any other, and gives the StopIteration no context. */
#define CA_AWAIT_REPEATS 1

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
    PyObject *awaited_by; \
    int state; \
    char is_task; \
    char awaited_by_is_set; \
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
    ca_dnode node;                     /* both NULL while it is in no list */
} ca_task_mirror;

#endif
