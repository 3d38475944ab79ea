/* context.c - see context.h. */
#include "py/context.h"

#include <string.h>

/* The first fields of CPython's context object, 3.11 to 3.15. */
typedef struct {
    PyObject_HEAD
    PyObject *prev;
    PyObject *vars;                    /* the immutable map */
} context_head;

static inline PyObject *
vars_of_borrow(PyObject *context)
{
    return ((context_head *)context)->vars;
}

/* Whether `vars` of a context is a map that copies share and a change
 * replaces. The fields read lie inside the object: basicsize is checked
 * first. */
static int
probe_layout(PyObject *one, PyObject *copy, PyObject *var)
{
    if (Py_TYPE(one)->tp_basicsize < (Py_ssize_t)sizeof(context_head)) {
        return 0;
    }
    PyObject *before = vars_of_borrow(one);
    if (before == NULL || before != vars_of_borrow(copy) ||
        strcmp(Py_TYPE(before)->tp_name, "hamt") != 0) {
        return 0;
    }
    PyObject *token = NULL;
    if (PyContext_Enter(copy) < 0) {
        return -1;
    }
    token = PyContextVar_Set(var, Py_None);
    if (PyContext_Exit(copy) < 0 || token == NULL) {
        Py_XDECREF(token);
        return -1;
    }
    Py_DECREF(token);
    return vars_of_borrow(one) == before && vars_of_borrow(copy) != before;
}

int
ca_context_probe(void)
{
    int result = -1;
    PyObject *var = PyContextVar_New("casyncio_probe", NULL);
    PyObject *one = PyContext_New();
    PyObject *copy = one == NULL ? NULL : PyContext_Copy(one);
    if (var != NULL && copy != NULL) {
        result = probe_layout(one, copy, var);
    }
    Py_XDECREF(var);
    Py_XDECREF(one);
    Py_XDECREF(copy);
    return result;
}

PyObject *
ca_context_take(ca_state *st, ca_context_cache *cache, bool *shared)
{
    *shared = st->context_sharing;
    if (!st->context_sharing) {
        return PyContext_CopyCurrent();
    }
    PyObject *current = ca_thread_context_borrow();
    if (current == NULL || cache->snapshot == NULL ||
        vars_of_borrow(current) != vars_of_borrow(cache->snapshot)) {
        PyObject *copy = PyContext_CopyCurrent();
        if (copy == NULL) {
            return NULL;
        }
        /* What the old one held may die, and do anything to the cache. */
        PyObject *taken = Py_NewRef(copy);
        Py_XSETREF(cache->snapshot, copy);
        return taken;
    }
    return Py_NewRef(cache->snapshot);
}

PyObject *
ca_context_borrow_copy(ca_context_cache *cache, PyObject *snapshot)
{
    PyObject *spare = cache->spare;
    if (spare != NULL && vars_of_borrow(spare) == vars_of_borrow(snapshot)) {
        cache->spare = NULL;
        return spare;
    }
    return PyContext_Copy(snapshot);
}

void
ca_context_return(ca_context_cache *cache, PyObject *snapshot,
                  PyObject *steal_context)
{
    if (Py_REFCNT(steal_context) == 1 &&
        vars_of_borrow(steal_context) == vars_of_borrow(snapshot)) {
        Py_XSETREF(cache->spare, steal_context);
    } else {
        Py_DECREF(steal_context);
    }
}

void
ca_context_clear(ca_context_cache *cache)
{
    Py_CLEAR(cache->snapshot);
    Py_CLEAR(cache->spare);
}

bool
ca_context_try_enter(PyObject *context)
{
    if (PyContext_CheckExact(context) && PyContext_Enter(context) == 0) {
        return true;
    }
    PyErr_Clear();
    return false;
}

int
ca_context_leave(PyObject *context, bool entered, int result)
{
    return entered && PyContext_Exit(context) < 0 ? -1 : result;
}
