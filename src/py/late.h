/* late.h - types that are not made before they are needed.
 *
 * The module makes them when it is asked for one by name, see module/types.c;
 * C that makes an object of such a type asks here before.
 */
#ifndef CA_PY_LATE_H
#define CA_PY_LATE_H

#include "py/state.h"

/* Have the module make it: 0, or -1 with an exception. */
static inline int
ca_late_make(const ca_state *st, const char *name)
{
    PyObject *type = PyObject_GetAttrString(
        ((PyHeapTypeObject *)st->LoopType)->ht_module, name);
    Py_XDECREF(type);
    return type == NULL ? -1 : 0;
}

/* The same, for a type that may have been made before. */
static inline int
ca_late_need(const ca_state *st, const PyTypeObject *type, const char *name)
{
    return type != NULL ? 0 : ca_late_make(st, name);
}

#endif
