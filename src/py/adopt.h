/* adopt.h - native methods, given to a class of Python once more.
 *
 * The interpreter's shortcuts for methods of C ask whether an object is
 * exactly of the type that a method was made for.  A class of Python that
 * derives from a native type takes them only if it has the methods itself.
 */
#ifndef CA_PY_ADOPT_H
#define CA_PY_ADOPT_H

#include "py/compat.h"
#include "py/state.h"

#include <stdbool.h>

/* Give `cls` the methods of all its bases that are of `module`, as its own,
 * unless it has others under these names; 0 or -1. */
int ca_adopt(ca_state *st, PyObject *module, PyTypeObject *cls);

/* The same object, or the same native method, adopted. */
static inline bool
ca_adopted_is_same(PyObject *own, PyObject *found)
{
    return own == found || (Py_IS_TYPE(own, &PyMethodDescr_Type) &&
                            Py_IS_TYPE(found, &PyMethodDescr_Type) &&
                            ((PyMethodDescrObject *)own)->d_method ==
                                ((PyMethodDescrObject *)found)->d_method);
}

#endif
