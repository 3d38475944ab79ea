/* fdowner.h - the Python object that owns a descriptor.
 *
 * Whoever was given an object and remembers its number must not use the number
 * once the object is closed: it may be somebody else's by then.  So the object
 * is asked before each use; the usual kinds are asked without a call.
 */
#ifndef CA_PY_FDOWNER_H
#define CA_PY_FDOWNER_H

#include "py/state.h"

typedef enum {
    CA_FDOWNER_OTHER,                  /* ask its fileno() */
    CA_FDOWNER_SOCKET,
    CA_FDOWNER_FILE,                   /* an exact io.FileIO */
} ca_fdowner_kind;

typedef struct {
    PyObject *op;                      /* strong; NULL: nobody */
    ca_fdowner_kind kind;
} ca_fdowner;

/* Who owns the descriptor of `fileobj`: itself, or, for a file with a buffer,
 * the raw file below.  May run Python. */
ca_fdowner ca_fdowner_find(ca_state *st, PyObject *fileobj);

/* Its number now; -1 when it is closed.  May run Python, unless the kind is
 * known. */
int ca_fdowner_fd(const ca_state *st, const ca_fdowner *owner);

#endif
