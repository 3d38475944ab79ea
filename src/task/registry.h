/* registry.h - current_task() and all_tasks(), without paying per step.
 *
 * Current task.  Every reader looks the loop up in asyncio's dict of current
 * tasks, and so hashes the loop first: that is when the running task is put
 * there (Loop's tp_hash).  A step only stores a pointer, and takes the entry
 * out again if somebody asked.
 *
 * All tasks.  Native tasks are linked into a list.  The set inside asyncio's
 * weak set of tasks is of a class of ours: when somebody asks it for its
 * members it first adds references to the tasks that it has not added yet, and
 * asked about one task it adds that one.  Tasks of derived classes are there
 * from their birth: hashing one may run Python code, which must not fail in
 * all_tasks().
 */
#ifndef CA_TASK_REGISTRY_H
#define CA_TASK_REGISTRY_H

#include "loop/overrides.h"
#include "task/task.h"

/* Find asyncio's dict and set, and put our kind of set there; once per
 * interpreter.  0, or -1 with an exception: then there are no native tasks. */
int ca_registry_init(ca_state *st);

/* tp_hash of Loop. */
Py_hash_t ca_registry_loop_hash(PyObject *op);

/* Put the current task into asyncio's dict; keeps a pending exception. */
void ca_registry_publish(CaLoop *loop);

/* May `task` become the current one?  Asked when the loop has one already, or
 * when somebody's stands in asyncio's dict.  0, or -1 with a RuntimeError. */
int ca_registry_check_free(CaLoop *loop, PyObject *task);

/* `task` runs in `loop` from now on; fills in what did, for
 * ca_registry_leave.  0 or -1.  A loop with a __hash__() of its own would not
 * tell that it is looked up. */
static inline int
ca_registry_enter(CaLoop *loop, PyObject *task, PyObject **outer)
{
    if ((loop->current_task != NULL ||
         PyDict_GET_SIZE(loop->st->current_tasks) != 0) &&
        ca_registry_check_free(loop, task) < 0) {
        return -1;
    }
    *outer = loop->current_task;
    loop->current_task = task;
    loop->current_published = false;
    if ((ca_overrides_now(loop) & CA_OVERRIDE_HASH) != 0) {
        ca_registry_publish(loop);
    }
    return 0;
}

/* Take the published entry out of asyncio's dict; a pending exception becomes
 * the context of a new one.  0, or -1 with a RuntimeError when it is another
 * task's. */
int ca_registry_unpublish(CaLoop *loop);

static inline int
ca_registry_leave(CaLoop *loop, PyObject *outer)
{
    int result = loop->current_published ? ca_registry_unpublish(loop) : 0;
    loop->current_task = outer;
    /* It was asked for, or nobody could have entered another one. */
    loop->current_published = outer != NULL;
    return result;
}

/* A task was born: link it into the list.  One of a derived class is added to
 * asyncio's set at once, which hashes it.  0 or -1. */
int ca_registry_add(ca_state *st, CaTask *task);

extern PyType_Spec ca_tasks_data_spec;

#endif
