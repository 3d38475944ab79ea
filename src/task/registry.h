/* registry.h - current_task() and all_tasks(), without paying per step.
 *
 * Current task.  Every reader looks the loop up in asyncio's dict of current
 * tasks, and so hashes the loop first: that is when the running task is put
 * there (Loop's tp_hash).  A step only stores a pointer, and takes the entry
 * out again if somebody asked.
 *
 * All tasks.  Native tasks are linked into a list.  asyncio's weak set of
 * tasks holds one object that stands for them: when the set is walked it is
 * called, as every weak reference in there is, and then adds real references
 * to the tasks that it has not added yet.  The walk notices that the set has
 * changed and starts anew, which asyncio's all_tasks() does by design.
 */
#ifndef CA_TASK_REGISTRY_H
#define CA_TASK_REGISTRY_H

#include "loop/overrides.h"
#include "task/task.h"

/* Find asyncio's dict and set, and put the publisher there; once per
 * interpreter.  0, or -1 with an exception: then there are no native tasks. */
int ca_registry_init(ca_state *st);

/* tp_hash of Loop. */
Py_hash_t ca_registry_loop_hash(PyObject *op);

/* Put the current task into asyncio's dict; keeps a pending exception. */
void ca_registry_publish(CaLoop *loop);

/* `task` runs in `loop` from now on; returns what did, for ca_registry_leave.
 * A loop with a __hash__() of its own would not tell that it is looked up. */
static inline PyObject *
ca_registry_enter(CaLoop *loop, PyObject *task)
{
    PyObject *outer = loop->current_task;
    loop->current_task = task;
    if ((ca_overrides_now(loop) & CA_OVERRIDE_HASH) != 0) {
        ca_registry_publish(loop);
    }
    return outer;
}

/* Take the published entry out of asyncio's dict; keeps a pending
 * exception. */
void ca_registry_unpublish(CaLoop *loop);

static inline void
ca_registry_leave(CaLoop *loop, PyObject *outer)
{
    if (loop->current_published) {
        ca_registry_unpublish(loop);
    }
    loop->current_task = outer;
}

/* Whether asyncio's dict shows of the loop what we know of it: the running
 * native task, or nothing.  False when a task that others drive is there. */
bool ca_registry_current_is_ours(CaLoop *loop);

/* As ca_registry_enter(), where another task of ours may be current. */
static inline PyObject *
ca_registry_enter_eager(CaLoop *loop, PyObject *task)
{
    if (loop->current_published) {
        ca_registry_unpublish(loop);
    }
    return ca_registry_enter(loop, task);
}

extern PyType_Spec ca_tasks_publisher_spec;

#endif
