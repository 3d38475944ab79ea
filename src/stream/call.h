/* call.h - what reader.read(), writer.drain() and the like return: native
 * coroutines.
 *
 * Nothing happens before the first send(), as with stock's.  Then the call is
 * tried; when there is nothing to read it yields the future that the reader
 * finishes when bytes arrive, and tries again when it is resumed.
 *
 * Only the usual case is done here.  In all others the call makes stock's
 * coroutine at its first send(), on the same object, and hands everything on
 * to it; so stock's own code has the last word wherever anything is odd.
 */
#ifndef CA_STREAM_CALL_H
#define CA_STREAM_CALL_H

#include "task/coro.h"

#include <stdbool.h>

enum { CA_FREELIST_STREAM_CALLS = 512 };

typedef enum {
    CA_CALL_DONE,                      /* there is a result */
    CA_CALL_WAIT,                      /* for the reader */
    CA_CALL_FAILED,                    /* an exception is set */
    CA_CALL_STOCK,                     /* not the usual case; nothing done */
} ca_call_outcome;

struct ca_call_op;

typedef struct CaStreamCall {
    CaCoro c;
    PyObject *owner;                   /* strong; the reader or writer; NULL
                                          once spent */
    const struct ca_call_op *op;       /* borrowed: static */
    PyObject *arg;                     /* strong or NULL; what was given */
    PyObject *parts;                   /* strong or NULL; list of bytes that
                                          read(-1) has already */
    Py_ssize_t wanted;                 /* in bytes */
    Py_ssize_t searched;               /* from the front: no separator there */
} CaStreamCall;

/* One per method. */
typedef struct ca_call_op {
    const char *name;
    bool of_reader;                    /* else of the writer */
    const char *waits_as;              /* what complaints call it */
    /* First try. */
    ca_call_outcome (*start)(CaStreamCall *call, PyObject **result);
    /* Another one, woken. */
    ca_call_outcome (*again)(CaStreamCall *call, PyObject **result);
    /* The wait has ended with the exception that is set: what the method makes
     * of it; NULL: nothing. */
    ca_call_outcome (*failed)(CaStreamCall *call, PyObject **result);
} ca_call_op;

extern const ca_call_op ca_call_op_read;
extern const ca_call_op ca_call_op_readexactly;
extern const ca_call_op ca_call_op_readline;
extern const ca_call_op ca_call_op_readuntil;
extern const ca_call_op ca_call_op_anext;
extern const ca_call_op ca_call_op_drain;
extern const ca_call_op ca_call_op_wait_closed;

extern PyType_Spec ca_call_spec;

/* A new call; arg may be NULL. */
PyObject *ca_call_new(ca_state *st, const ca_call_op *op, PyObject *owner,
                      PyObject *arg);

#endif
