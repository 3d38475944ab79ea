/* bare.c - the least that switching between coroutines can cost: sends None
 * round robin and knows nothing of futures, contexts or a loop.  Compiled by
 * callgrind.py; what a loop adds to this is its own. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Send to all of `coros` in turn until each has ended; 0 or -1. */
static int
run(PyObject **coros, Py_ssize_t count)
{
    while (count > 0) {
        Py_ssize_t left = 0;
        for (Py_ssize_t i = 0; i < count; i++) {
            PyObject *result;
            PyObject *coro = coros[i];
            PySendResult status = PyIter_Send(coro, Py_None, &result);
            if (status == PYGEN_ERROR) {
                return -1;
            }
            Py_DECREF(result);
            if (status == PYGEN_NEXT) {
                coros[left++] = coro;
            }
        }
        count = left;
    }
    return 0;
}

/* drive(list of coroutines) */
static PyObject *
bare_drive(PyObject *Py_UNUSED(module), PyObject *list)
{
    if (!PyList_Check(list)) {
        PyErr_SetString(PyExc_TypeError, "a list was expected");
        return NULL;
    }
    Py_ssize_t count = PyList_GET_SIZE(list);
    PyObject **coros = PyMem_New(PyObject *, (size_t)count);
    if (coros == NULL) {
        return PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        coros[i] = PyList_GET_ITEM(list, i); /* borrowed: the list has them */
    }
    int result = run(coros, count);
    PyMem_Free(coros);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef bare_methods[] = {
    {"drive", bare_drive, METH_O, NULL},
    {0},
};

static struct PyModuleDef bare_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "bare",
    .m_size = -1,
    .m_methods = bare_methods,
};

PyMODINIT_FUNC
PyInit_bare(void)
{
    return PyModule_Create(&bare_def);
}
