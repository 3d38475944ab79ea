/* args.c - see args.h. */
#include "py/args.h"

#include <string.h>

enum { SLOT_FIRST, SLOT_CALLBACK, SLOT_CONTEXT, N_SLOTS };

/* Which of `names` is `name`; -1 when none.  Keywords of a call are interned
 * nearly always, so identity decides; equality is asked only when it fails. */
static int
slot_of(PyObject *const names[N_SLOTS], PyObject *name)
{
    for (int i = 0; i < N_SLOTS; i++) {
        if (names[i] == name) {
            return i;
        }
    }
    for (int i = 0; i < N_SLOTS; i++) {
        if (names[i] != NULL && PyUnicode_Compare(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool
bind_keywords(PyObject *const names[N_SLOTS], PyObject *const *values,
              PyObject *kwnames, PyObject *slots[N_SLOTS])
{
    Py_ssize_t count = PyTuple_GET_SIZE(kwnames);
    for (Py_ssize_t k = 0; k < count; k++) {
        int i = slot_of(names, PyTuple_GET_ITEM(kwnames, k));
        if (i < 0 || slots[i] != NULL) {
            return false;
        }
        slots[i] = values[k];
    }
    return true;
}

bool
ca_args_bind_any(const ca_state *st, PyObject *first_name,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                 ca_call_args *out)
{
    PyObject *slots[N_SLOTS] = {NULL, NULL, NULL};
    Py_ssize_t used = 0;

    if (first_name != NULL && used < nargs) {
        slots[SLOT_FIRST] = args[used++];
    }
    if (used < nargs) {
        slots[SLOT_CALLBACK] = args[used++];
    }
    if (kwnames != NULL) {
        PyObject *const names[N_SLOTS] = {
            first_name, st->names[CA_STR_callback], st->names[CA_STR_context]};
        if (!bind_keywords(names, args + nargs, kwnames, slots)) {
            return false;
        }
    }
    if (slots[SLOT_CALLBACK] == NULL ||
        (first_name != NULL && slots[SLOT_FIRST] == NULL)) {
        return false;
    }
    *out = (ca_call_args){
        .first = slots[SLOT_FIRST],
        .callback = slots[SLOT_CALLBACK],
        .rest = args + used,
        .nrest = nargs - used,
        .context = slots[SLOT_CONTEXT] == Py_None ? NULL : slots[SLOT_CONTEXT],
    };
    return true;
}

PyObject *
ca_args_one_borrow(PyObject *name, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (nargs + nkw != 1) {
        return NULL;
    }
    if (nkw == 1 && PyTuple_GET_ITEM(kwnames, 0) != name &&
        PyUnicode_Compare(PyTuple_GET_ITEM(kwnames, 0), name) != 0) {
        return NULL;
    }
    return args[0];
}

PyObject *
ca_stock_call(PyObject *owner, PyObject *name, PyObject *self,
              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *result = NULL;
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *method = PyObject_GetAttr(owner, name);
    PyObject **all = PyMem_New(PyObject *, (size_t)(nargs + nkw + 1));
    if (method == NULL || all == NULL) {
        if (all == NULL) {
            PyErr_NoMemory();
        }
        goto done;
    }
    all[0] = self;
    if (nargs + nkw > 0) {             /* else args may be NULL */
        memcpy(all + 1, args, (size_t)(nargs + nkw) * sizeof(*all));
    }
    result = PyObject_Vectorcall(method, all, (size_t)nargs + 1, kwnames);

done:
    Py_XDECREF(method);
    PyMem_Free(all);
    return result;
}

PyObject *
ca_stock_call_tuple(PyObject *owner, PyObject *name, PyObject *self,
                    PyObject *args, PyObject *kwargs)
{
    PyObject *result = NULL;
    PyObject *method = PyObject_GetAttr(owner, name);
    PyObject *first = PyTuple_Pack(1, self);
    PyObject *all = first == NULL ? NULL : PySequence_Concat(first, args);
    if (method != NULL && all != NULL) {
        result = PyObject_Call(method, all, kwargs);
    }
    Py_XDECREF(method);
    Py_XDECREF(first);
    Py_XDECREF(all);
    return result;
}
