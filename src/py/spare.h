/* spare.h - bytes objects of the last messages, used again for the next.
 *
 * Most protocols are done with a message when their method returns.  If nobody
 * but us has a reference by then, the object can carry another message of the
 * same size: nobody can tell it from a new one in the same place.  That saves
 * what malloc() costs above 512 bytes, a fifth of the instructions of an
 * echoed kilobyte.
 */
#ifndef CA_PY_SPARE_H
#define CA_PY_SPARE_H

#include "py/compat.h"

#include <string.h>

/* Below the least, the interpreter's own allocator is as fast; above the most,
 * copying is what counts, and an idle loop would keep too much. */
enum { CA_SPARES = 8, CA_SPARE_LEAST = 480, CA_SPARE_MOST = 16 * 1024 };

typedef struct {
    PyObject *items[CA_SPARES];        /* strong, and the only references */
    int count;
} ca_spares;

/* A bytes object of that size, to be filled before anybody sees it: new
 * reference, NULL with an exception. */
static inline PyObject *
ca_spares_blank(ca_spares *self, Py_ssize_t nbytes)
{
    if (self->count == 0 || nbytes < CA_SPARE_LEAST) {
        return PyBytes_FromStringAndSize(NULL, nbytes);
    }
    PyObject *op = self->items[--self->count];
    if (PyBytes_GET_SIZE(op) != nbytes) {
        Py_DECREF(op);                 /* sizes have changed */
        return PyBytes_FromStringAndSize(NULL, nbytes);
    }
    ca_bytes_forget_hash(op);
    return op;
}

/* A bytes object of that content: new reference, NULL with an exception. */
static inline PyObject *
ca_spares_take(ca_spares *self, const char *content, Py_ssize_t nbytes)
{
    if (nbytes < CA_SPARE_LEAST) {
        return PyBytes_FromStringAndSize(content, nbytes);
    }
    PyObject *op = ca_spares_blank(self, nbytes);
    if (op != NULL) {
        memcpy(PyBytes_AS_STRING(op), content, (size_t)nbytes);
    }
    return op;
}

/* Done with it: keep it if it is ours alone, else let go of it. */
static inline void
ca_spares_give(ca_spares *self, PyObject *steal_op)
{
    Py_ssize_t nbytes = PyBytes_GET_SIZE(steal_op);
    if (Py_REFCNT(steal_op) == 1 && self->count < CA_SPARES &&
        nbytes >= CA_SPARE_LEAST && nbytes <= CA_SPARE_MOST) {
        self->items[self->count++] = steal_op;
    } else {
        Py_DECREF(steal_op);
    }
}

static inline void
ca_spares_clear(ca_spares *self)
{
    while (self->count > 0) {
        Py_DECREF(self->items[--self->count]);
    }
}

#endif
