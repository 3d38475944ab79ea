/* guard.c - see guard.h. */
#include "task/guard.h"

#include "task/task.h"

bool
ca_guard_sizes_fit(const ca_state *st)
{
    return st->StockFuture->tp_basicsize == (Py_ssize_t)sizeof(CaFuture) &&
           st->StockTask->tp_basicsize == (Py_ssize_t)sizeof(ca_task_mirror);
}

static int
put(PyObject *dict, const char *name, PyObject *steal_value)
{
    int result = steal_value == NULL
                     ? -1
                     : PyDict_SetItemString(dict, name, steal_value);
    Py_XDECREF(steal_value);
    return result;
}

/* What 3.14 has added. */
static int
put_links(PyObject *dict, const CaFuture *fut)
{
#if CA_TASKS_LINKED
    return put(dict, "awaited_by", PyLong_FromVoidPtr(fut->awaited_by)) < 0 ||
                   put(dict, "awaited_by_is_set",
                       PyLong_FromLong(fut->awaited_by_is_set)) < 0 ||
                   put(dict, "is_task", PyLong_FromLong(fut->is_task)) < 0
               ? -1
               : 0;
#else
    (void)dict;
    (void)fut;
    return 0;
#endif
}

static int
put_node(PyObject *dict, const ca_task_mirror *task)
{
#if CA_TASKS_LINKED
    bool linked = task->node.next != NULL && task->node.prev != NULL &&
                  task->node.next->prev == &task->node &&
                  task->node.prev->next == &task->node;
    bool alone = task->node.next == NULL && task->node.prev == NULL;
    return put(dict, "linked", PyLong_FromLong(linked ? 1 : alone ? 0 : -1));
#else
    (void)dict;
    (void)task;
    return 0;
#endif
}

static int
put_future(PyObject *dict, const CaFuture *fut)
{
    const struct {
        const char *name;
        PyObject *value;
    } objects[] = {
        {"loop", fut->loop},
        {"callback0", fut->callback0},
        {"context0", fut->context0},
        {"callbacks", fut->callbacks},
        {"exception", fut->exception},
        {"exception_tb", fut->exception_tb},
        {"result", fut->result},
        {"source_tb", fut->source_tb},
        {"cancel_msg", fut->cancel_msg},
        {"cancelled_exc", fut->cancelled_exc},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(objects); i++) {
        if (put(dict, objects[i].name, PyLong_FromVoidPtr(objects[i].value)) <
            0) {
            return -1;
        }
    }
    return put(dict, "state", PyLong_FromLong(fut->state)) < 0 ||
                   put(dict, "log_tb", PyLong_FromLong(fut->log_tb)) < 0 ||
                   put(dict, "blocking", PyLong_FromLong(fut->blocking)) < 0 ||
                   put_links(dict, fut) < 0
               ? -1
               : 0;
}

static int
put_task(PyObject *dict, const ca_task_mirror *task)
{
    return put(dict, "fut_waiter", PyLong_FromVoidPtr(task->fut_waiter)) < 0 ||
                   put(dict, "coro", PyLong_FromVoidPtr(task->coro)) < 0 ||
                   put(dict, "name", PyLong_FromVoidPtr(task->name)) < 0 ||
                   put(dict, "context", PyLong_FromVoidPtr(task->context)) <
                       0 ||
                   put(dict, "must_cancel",
                       PyLong_FromLong(task->must_cancel)) < 0 ||
                   put(dict, "log_destroy_pending",
                       PyLong_FromLong(task->log_destroy_pending)) < 0 ||
                   put(dict, "num_cancels_requested",
                       PyLong_FromLong(task->num_cancels_requested)) < 0 ||
                   put_node(dict, task) < 0
               ? -1
               : 0;
}

PyObject *
ca_guard_fields(const ca_state *st, PyObject *op)
{
    bool task = PyObject_TypeCheck(op, st->StockTask);
    if (!ca_guard_sizes_fit(st) ||
        (!task && !PyObject_TypeCheck(op, st->StockFuture))) {
        PyErr_SetString(PyExc_TypeError,
                        "a Future or Task of known size was expected");
        return NULL;
    }
    PyObject *dict = PyDict_New();
    if (dict == NULL || put_future(dict, (CaFuture *)op) < 0 ||
        (task && put_task(dict, (ca_task_mirror *)op) < 0)) {
        Py_XDECREF(dict);
        return NULL;
    }
    return dict;
}
