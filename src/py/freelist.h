/* freelist.h - memory of dead objects, kept for the next of their kind.
 *
 * Taking one from here also spares the collector's count of allocations, which
 * is most of what a burst of handles costs.  Bounded; exact types only; freed
 * with the module.
 */
#ifndef CA_PY_FREELIST_H
#define CA_PY_FREELIST_H

#include "py/compat.h"
#include "py/state.h"

/* A thread that holds the interpreter lock for a switch interval can post some
 * fifty thousand callbacks, and they all live at once: handles die in the
 * order of their birth, so a long list stays friendly to the caches.  Timers
 * die in any order, and a long list of them would scatter. */
enum {
    CA_FREELIST_HANDLES = 65536,       /* about 6 MiB */
    CA_FREELIST_TIMERS = 1024,
    CA_FREELIST_IDLE = 2048,           /* what an idle loop shrinks it to, */
    CA_FREELIST_TRIM = 64,             /* by so many per wait */
};

/* Where a dead object keeps the link: its first field. */
static inline PyObject **
ca_freelist_link(PyObject *op)
{
    return (PyObject **)(op + 1);
}

/* A new reference to an object of exactly `type`, from the list or new memory:
 * its fields are not set and it is not tracked.  NULL with an exception. */
static inline PyObject *
ca_freelist_take(ca_freelist *list, PyTypeObject *type)
{
    PyObject *op = list->top;
    if (op == NULL) {
        return PyObject_GC_New(PyObject, type);
    }
    list->top = *ca_freelist_link(op);
    list->count--;
    ca_object_revive(op);
    return op;
}

/* Keep the memory of a dead, untracked object that owns nothing any more, or
 * free it when there are `max`; also gives up its reference to the type. */
static inline void
ca_freelist_give(ca_freelist *list, PyObject *op, int max)
{
    PyTypeObject *type = Py_TYPE(op);
    if (list->count < max) {
        *ca_freelist_link(op) = list->top;
        list->top = op;
        list->count++;
    } else {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type);
}

/* Give some of the memory of a burst back. */
static inline void
ca_freelist_trim(ca_freelist *list)
{
    for (int i = 0; i < CA_FREELIST_TRIM && list->count > CA_FREELIST_IDLE;
         i++) {
        PyObject *op = list->top;
        list->top = *ca_freelist_link(op);
        list->count--;
        PyObject_GC_Del(op);
    }
}

/* Free what is kept. */
static inline void
ca_freelist_clear(ca_freelist *list)
{
    while (list->top != NULL) {
        PyObject *op = list->top;
        list->top = *ca_freelist_link(op);
        PyObject_GC_Del(op);
    }
    list->count = 0;
}

#endif
