/* awaited.h - who awaits a future, for call graphs and for other processes.
 *
 * From 3.14 on a future refers to what awaits it: nothing, one task, or a set
 * of them.  A task is entered when it begins to wait and taken out when it
 * wakes, as stock does it; Python code (gather, shield, TaskGroup) enters
 * others through asyncio's own functions.  Older futures know no such thing.
 */
#ifndef CA_TASK_AWAITED_H
#define CA_TASK_AWAITED_H

#include "task/task.h"

#if CA_TASKS_LINKED

/* The same where there is more than one, or has been; 0 or -1. */
int ca_awaited_add_to_set(CaFuture *fut, PyObject *task);
int ca_awaited_discard_from_set(CaFuture *fut, PyObject *task);

/* `task` awaits `fut`, a Future of stock's kind; 0, or -1 with an exception.
 * May run Python (hashes) when it is not the only one. */
static inline int
ca_awaited_add(CaFuture *fut, CaTask *task)
{
    if (fut->awaited_by != NULL) {
        return ca_awaited_add_to_set(fut, (PyObject *)task);
    }
    fut->awaited_by = Py_NewRef(task);
    fut->awaited_by_is_set = 0;
    return 0;
}

/* `task` does not await `fut` any more; 0, or -1 with an exception. */
static inline int
ca_awaited_discard(CaFuture *fut, CaTask *task)
{
    if (fut->awaited_by != (PyObject *)task) {
        return ca_awaited_discard_from_set(fut, (PyObject *)task);
    }
    fut->awaited_by = NULL;
    Py_DECREF(task);
    return 0;
}

/* Whether anything is known to await `fut`. */
static inline bool
ca_awaited_any(const CaFuture *fut)
{
    return fut->awaited_by != NULL;
}

/* The fields of a dead future, once cleared, are as in a new one. */
static inline void
ca_awaited_reset(CaFuture *fut)
{
    fut->awaited_by_is_set = 0;
}

#else

static inline bool
ca_awaited_any(const CaFuture *Py_UNUSED(fut))
{
    return false;
}

static inline int
ca_awaited_add(CaFuture *Py_UNUSED(fut), CaTask *Py_UNUSED(task))
{
    return 0;
}

static inline int
ca_awaited_discard(CaFuture *Py_UNUSED(fut), CaTask *Py_UNUSED(task))
{
    return 0;
}

static inline void
ca_awaited_reset(CaFuture *Py_UNUSED(fut))
{
}

#endif

/* The same of any object, which may be no Future of stock's kind. */
static inline int
ca_awaited_add_any(const ca_state *st, PyObject *op, CaTask *task)
{
    return CA_TASKS_LINKED && PyObject_TypeCheck(op, st->StockFuture)
               ? ca_awaited_add((CaFuture *)op, task)
               : 0;
}

static inline int
ca_awaited_discard_any(const ca_state *st, PyObject *op, CaTask *task)
{
    return CA_TASKS_LINKED && PyObject_TypeCheck(op, st->StockFuture)
               ? ca_awaited_discard((CaFuture *)op, task)
               : 0;
}

#endif
