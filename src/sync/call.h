/* call.h - what acquire(), wait(), get() and put() return: native coroutines.
 *
 * Nothing happens before the first send(), as with stock's.  An operation
 * that need not wait is done there; else the call puts a future among the
 * waiters and yields it.  When it has to wait in a way that is not ours to do
 * (sync.h, "Plain and not") it makes stock's coroutine, before it has changed
 * anything, and hands everything on to it.
 */
#ifndef CA_SYNC_CALL_H
#define CA_SYNC_CALL_H

#include "sync/sync.h"
#include "task/coro.h"

enum { CA_FREELIST_SYNC_CALLS = 256 };

typedef enum {
    CA_SYNC_DONE,                      /* there is a result */
    CA_SYNC_WAIT,                      /* for a future among the waiters */
    CA_SYNC_FAILED,                    /* an exception is set */
    CA_SYNC_STOCK,                     /* not ours to do; nothing done */
} ca_sync_outcome;

typedef struct CaSyncCall {
    CaCoro c;
    const struct ca_sync_op *op;       /* borrowed: static */
    CaSync *owner;                     /* strong; NULL once spent */
    PyObject *item;                    /* strong; what put() puts, or NULL */
} CaSyncCall;

/* One per method.  None of these is called with an exception set. */
typedef struct ca_sync_op {
    const ca_sync_face *face;
    const char *name;
    const char *qualname;
    int nargs;                         /* stock's, without self; of Nones, but
                                          for `item` */
    size_t waiters;                    /* offset in the owner of the deque */
    /* From the beginning up to the first wait. */
    ca_sync_outcome (*begin)(CaSyncCall *call, PyObject **result);
    /* The future has a result. */
    ca_sync_outcome (*resume)(CaSyncCall *call, PyObject **result);
    /* The wait ends by that exception, which is raised behind it: 0, or -1
     * with another one. */
    int (*fail)(CaSyncCall *call, PyObject *exc);
} ca_sync_op;

extern PyType_Spec ca_synccall_spec;

/* A new call.  item: strong or NULL. */
PyObject *ca_synccall_new(CaSync *owner, const ca_sync_op *op, PyObject *item);

#endif
