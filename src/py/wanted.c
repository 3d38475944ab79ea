/* wanted.c - see wanted.h. */
#include "py/wanted.h"

#include <string.h>

static PyObject **
field(ca_state *st, const ca_wanted *row)
{
    return (PyObject **)((char *)st + row->where);
}

static int
take(ca_state *st, const ca_wanted *row, PyObject *module)
{
    PyObject *found = row->name == NULL
                          ? Py_NewRef(module)
                          : PyObject_GetAttrString(module, row->name);
    if (found == NULL && row->optional &&
        PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 0;
    }
    Py_XSETREF(*field(st, row), found);
    return found == NULL ? -1 : 0;
}

int
ca_wanted_import(ca_state *st, const ca_wanted *rows, int count)
{
    PyObject *module = NULL;
    int result = 0;
    for (int i = 0; result == 0 && i < count; i++) {
        if (i == 0 || strcmp(rows[i].module, rows[i - 1].module) != 0) {
            Py_XSETREF(module, PyImport_ImportModule(rows[i].module));
        }
        result = module == NULL ? -1 : take(st, &rows[i], module);
    }
    Py_XDECREF(module);
    return result;
}

int
ca_wanted_visit(ca_state *st, const ca_wanted *rows, int count,
                visitproc visit, void *arg)
{
    for (int i = 0; i < count; i++) {
        Py_VISIT(*field(st, &rows[i]));
    }
    return 0;
}

void
ca_wanted_clear(ca_state *st, const ca_wanted *rows, int count)
{
    for (int i = 0; i < count; i++) {
        Py_CLEAR(*field(st, &rows[i]));
    }
}
