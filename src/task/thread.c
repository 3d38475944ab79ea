/* thread.c - tasks in the thread's state, 3.14 and newer; see registry.h.
 *
 * The state's struct is private behind its public part, and differs between
 * builds.  What we need of it follows its public part within a few words, and
 * is found once, by what stock's own functions store there.
 */
#include "task/registry.h"

#if CA_TASKS_LINKED

#include "task/awaited.h"

#include <string.h>

PyType_Spec *const ca_registry_data_spec = NULL;

Py_hash_t
ca_registry_loop_hash(PyObject *op)
{
    return PyObject_GenericHash(op);
}

/* ---- the current task ---- */

int
ca_registry_enter_stock(CaLoop *loop, PyObject *task)
{
    PyObject *done = PyObject_CallFunctionObjArgs(loop->st->enter_task, loop,
                                                  task, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

PyObject *
ca_registry_current_borrow(CaLoop *loop)
{
    const ca_state *st = loop->st;
    return *ca_registry_word(st->thread_loop) == (PyObject *)loop
               ? *ca_registry_word(st->thread_task)
               : NULL;
}

int
ca_registry_leave_stock(CaLoop *loop, PyObject *task, int result)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallFunctionObjArgs(loop->st->leave_task, loop,
                                                  task, NULL);
    if (done != NULL) {
        Py_DECREF(done);
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
        return result;
    }
    if (exc != NULL) {
        PyObject *newer = PyErr_GetRaisedException();
        PyException_SetContext(newer, exc);
        PyErr_SetRaisedException(newer);
    }
    return -1;
}

int
ca_registry_leave_eager(CaLoop *loop, PyObject *Py_UNUSED(task),
                        PyObject *outer, int result)
{
    PyObject **current = ca_registry_word(loop->st->thread_task);
    if (!ca_registry_steps_here(loop)) {
        Py_XDECREF(outer);
        PyErr_Format(PyExc_RuntimeError, "loop %R is not the running loop",
                     loop);
        return -1;
    }
    PyObject *inner = *current;
    *current = outer;
    Py_XDECREF(inner);
    return result;
}

/* ---- where the thread's state keeps it ---- */

/* So many words behind the public part belong to the state in every 3.14. */
enum { WORDS_LOOKED_AT = 11 };

/* Byte offset of the first such word from `from` on that holds `value`; or
 * -1. */
static int
find_word(int from, const void *value)
{
    int end = (int)(sizeof(PyThreadState) + WORDS_LOOKED_AT * sizeof(void *));
    for (int where = from; where < end; where += (int)sizeof(void *)) {
        if (*ca_registry_word(where) == value) {
            return where;
        }
    }
    return -1;
}

/* With `probe` as running loop and as current task: their places.  0 or -1. */
static int
find_current(ca_state *st, PyObject *asyncio, PyObject *probe)
{
    PyObject *outer = PyObject_CallMethod(asyncio, "_swap_current_task", "OO",
                                          probe, Py_None);
    if (outer == NULL) {
        return -1;
    }
    st->thread_loop = find_word(sizeof(PyThreadState), probe);
    st->thread_task = -1;
    PyObject *none = PyObject_CallMethod(asyncio, "_swap_current_task", "OO",
                                         probe, probe);
    if (none == Py_None && st->thread_loop > 0) {
        st->thread_task = find_word(st->thread_loop + (int)sizeof(PyObject *),
                                    probe);
    }
    PyObject *seen = PyObject_CallMethod(asyncio, "_swap_current_task", "OO",
                                         probe, outer);
    bool fits = seen == probe && st->thread_task > 0 &&
                *ca_registry_word(st->thread_task) ==
                    (outer == Py_None ? NULL : outer);
    Py_XDECREF(none);
    Py_XDECREF(seen);
    Py_DECREF(outer);
    return fits ? 0 : -1;
}

static int
with_running_loop(ca_state *st, PyObject *asyncio, PyObject *probe)
{
    PyObject *running = PyObject_CallMethod(asyncio, "_get_running_loop",
                                            NULL);
    PyObject *set = running == NULL
                        ? NULL
                        : PyObject_CallMethod(asyncio, "_set_running_loop",
                                              "O", probe);
    int result = -1;
    if (set != NULL) {
        result = find_current(st, asyncio, probe);
        PyObject *exc = PyErr_GetRaisedException();
        Py_SETREF(set, PyObject_CallMethod(asyncio, "_set_running_loop", "O",
                                           running));
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
    result = set == NULL ? -1 : result;
    Py_XDECREF(running);
    Py_XDECREF(set);
    return result;
}

/* A task that was registered last is followed by the head of the list. */
static int
find_list(ca_state *st, PyObject *asyncio, ca_task_mirror *task)
{
    PyObject *in = PyObject_CallMethod(asyncio, "_register_task", "O", task);
    if (in == NULL) {
        return -1;
    }
    ca_dnode *head = task->node.next;
    int from = st->thread_task + (int)sizeof(PyObject *);
    st->thread_tasks = -1;
    for (int n = 0; head != NULL && n < WORDS_LOOKED_AT; n++) {
        int where = from + n * (int)sizeof(void *);
        if ((ca_dnode *)ca_registry_word(where) == head) {
            st->thread_tasks = where;
        }
    }
    bool fits = st->thread_tasks > 0 && head->prev == &task->node;
    PyObject *out = PyObject_CallMethod(asyncio, "_unregister_task", "O",
                                        task);
    fits = fits && out != NULL && task->node.next == NULL &&
           task->node.prev == NULL && head->prev != &task->node;
    Py_DECREF(in);
    Py_XDECREF(out);
    return fits ? 0 : -1;
}

static int
find_words(ca_state *st, PyObject *asyncio)
{
    int result = -1;
    PyObject *task = NULL;
    PyObject *probe = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    PyObject *none = PyTuple_New(0);
    if (probe != NULL && none != NULL) {
        task = st->StockTask->tp_new(st->StockTask, none, NULL);
    }
    if (task != NULL && with_running_loop(st, asyncio, probe) == 0) {
        result = find_list(st, asyncio, (ca_task_mirror *)task);
    }
    Py_XDECREF(task);
    Py_XDECREF(none);
    Py_XDECREF(probe);
    return result;
}

int
ca_registry_init(ca_state *st)
{
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    int result = asyncio == NULL ? -1 : find_words(st, asyncio);
    if (result < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_TypeError,
                        "not found in the thread's state by what asyncio "
                        "stores there");
    }
    if (result == 0) {
        Py_XSETREF(st->enter_task,
                   PyObject_GetAttrString(asyncio, "_enter_task"));
        Py_XSETREF(st->leave_task,
                   PyObject_GetAttrString(asyncio, "_leave_task"));
        result = st->enter_task == NULL || st->leave_task == NULL ? -1 : 0;
        Py_XSETREF(st->tasks_dict,
                   Py_NewRef(PyModule_GetDict(st->tasks_module)));
    }
    Py_XDECREF(asyncio);
    return result;
}

/* ---- who awaits a future ---- */

int
ca_awaited_add_to_set(CaFuture *fut, PyObject *task)
{
    PyObject *old = Py_NewRef(fut->awaited_by); /* hashes run Python */
    int result = -1;
    if (fut->awaited_by_is_set) {
        result = PySet_Add(old, task);
    } else {
        PyObject *set = PySet_New(NULL);
        if (set != NULL && PySet_Add(set, task) == 0 &&
            PySet_Add(set, old) == 0) {
            Py_XSETREF(fut->awaited_by, Py_NewRef(set));
            fut->awaited_by_is_set = 1;
            result = 0;
        }
        Py_XDECREF(set);
    }
    Py_DECREF(old);
    return result;
}

int
ca_awaited_discard_from_set(CaFuture *fut, PyObject *task)
{
    if (fut->awaited_by == NULL || !fut->awaited_by_is_set) {
        return 0;
    }
    PyObject *set = Py_NewRef(fut->awaited_by);
    int result = PySet_Discard(set, task) < 0 ? -1 : 0;
    Py_DECREF(set);
    return result;
}

#endif
