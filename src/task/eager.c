/* eager.c - see eager.h.
 *
 * What stock's task_eager_start() does, in its order: the new task becomes the
 * current one and enters asyncio's set of eager tasks (from 3.14 on: the list
 * of all), the step runs in the task's context, the maker is current again,
 * the set is left, then the context.  A task that waits now is a scheduled
 * one; one that is done lets go of its coroutine.
 *
 * Up to 3.13 asyncio's dict of current tasks may hold a task that is not ours
 * to put back (one that base code drives); then base code makes the new task
 * too.
 */
#include "task/eager.h"

#include "loop/overrides.h"
#include "py/errors.h"
#include "task/registry.h"

ca_eager_when
ca_eager_start_of(CaLoop *loop)
{
    const uint32_t unusual = CA_OVERRIDE_IS_RUNNING | CA_OVERRIDE_HASH;
    if (!ca_registry_knows_eager(loop->st) ||
        (ca_overrides_now(loop) & unusual) != 0) {
        return CA_EAGER_BASE;
    }
    if (loop->thread_id == 0) {
        return CA_EAGER_LATER;
    }
    return ca_registry_current_is_ours(loop) ? CA_EAGER_NOW : CA_EAGER_BASE;
}

bool
ca_eager_is_factory(const ca_state *st, PyObject *factory)
{
    return factory == st->eager_factories[0] ||
           factory == st->eager_factories[1];
}

int
ca_eager_learn_factory(ca_state *st, PyObject *factory, int naming)
{
    if (naming <= CA_EAGER_NAME_UNKNOWN || naming >= CA_EAGER_NAME_COUNT) {
        PyErr_SetString(PyExc_ValueError, "an unknown way to name tasks");
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(st->eager_factories); i++) {
        if (st->eager_factories[i] == NULL) {
            st->eager_factories[i] = Py_NewRef(factory);
            st->eager_naming = naming;
            return 0;
        }
    }
    PyErr_SetString(PyExc_RuntimeError, "no more eager task factories");
    return -1;
}

PyObject *
ca_eager_create_task(CaLoop *loop, PyObject *coro, PyObject *name,
                     PyObject *context, bool now)
{
    int naming = loop->st->eager_naming;
    PyObject *passed = naming == CA_EAGER_NAME_PASSED ? name : NULL;
    PyObject *task = ca_task_new(loop, coro, passed, context, now);
    bool named = name != NULL && name != Py_None;
    if (task != NULL &&
        (naming == CA_EAGER_NAME_SET_ALWAYS ||
         (naming == CA_EAGER_NAME_SET && named)) &&
        ca_task_rename((CaTask *)task, named ? name : Py_None) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

/* ---- the step ---- */

/* The step in the task's context; `outer` is current again when it is left. */
static int
step_in_context(CaLoop *loop, CaTask *task, PyObject *outer)
{
    PyObject *context = Py_NewRef(task->m.context);
    bool entered = PyContext_Enter(context) == 0;
    int result = entered ? ca_task_step_bare(loop->st, task) : -1;
    result = ca_registry_leave_eager(loop, (PyObject *)task, outer, result);
    if (ca_registry_part_eager(loop->st, task) < 0) {
        result = -1;
    }
    if (!entered) {
        task->m.log_destroy_pending = 0;
    } else if (PyContext_Exit(context) < 0) {
        result = -1;
    }
    Py_DECREF(context);
    return result;
}

int
ca_eager_step(CaLoop *loop, CaTask *task)
{
    ca_state *st = loop->st;
    PyObject *outer;
    if (ca_registry_enter_eager(loop, (PyObject *)task, &outer) < 0) {
        task->m.log_destroy_pending = 0;
        return -1;
    }
    if (ca_registry_join_eager(st, task) < 0) {
        task->m.log_destroy_pending = 0;
        return ca_registry_leave_eager(loop, (PyObject *)task, outer, -1);
    }
    int result = step_in_context(loop, task, outer);
    PyObject *exc = PyErr_GetRaisedException();
    if (task->m.state == CA_PENDING) {
        result |= ca_registry_add(st, task);
    } else {
        Py_CLEAR(task->m.coro);
    }
    ca_error_restore(exc);
    return result;
}
