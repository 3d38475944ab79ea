/* layout.h - whether a struct of ours may begin with the fields of a type that
 * was made in Python. */
#ifndef CA_PY_LAYOUT_H
#define CA_PY_LAYOUT_H

#include "py/compat.h"

/* A type derived from `base` may put its own fields behind the first `nbytes`
 * of an instance: the base has so many and nothing that grows or moves. */
static inline bool
ca_layout_ends_at(PyObject *base, size_t nbytes)
{
    const PyTypeObject *type = (const PyTypeObject *)base;
    return PyType_Check(base) && type->tp_basicsize == (Py_ssize_t)nbytes &&
           type->tp_itemsize == 0 && type->tp_dictoffset == 0 &&
           type->tp_weaklistoffset == 0;
}

#endif
