/* flag.c - see flag.h. */
#include "py/flag.h"

#include <stdbool.h>

PyObject *
ca_flag_get(PyObject *op, void *closure)
{
    return PyBool_FromLong(*(bool *)((char *)op + (size_t)closure));
}

int
ca_flag_set(PyObject *op, PyObject *value, void *closure)
{
    int truth = value == NULL ? 0 : PyObject_IsTrue(value);
    if (truth >= 0) {
        *(bool *)((char *)op + (size_t)closure) = truth != 0;
    }
    return truth < 0 ? -1 : 0;
}
