/* context.h - contexts for callbacks, shared while nobody can tell.
 *
 * call_soon(f) must run f in a snapshot of the current context.  Taking a copy
 * for every handle costs an object each.  But a copy is a pointer to an
 * immutable map, so as long as the current context still has the map it had at
 * the last call, the last snapshot serves again: handles share it, and it is
 * never entered.  To run a callback, a copy of the snapshot is entered; that
 * copy is used for the next callback too if nothing can distinguish it from a
 * fresh one: nobody else refers to it and its map was not replaced.
 *
 * This looks into the context object for the map's address (only to compare
 * it).  ca_context_probe() proves at import that it is where we think; else
 * every handle gets a copy of its own, slower but right.
 */
#ifndef CA_PY_CONTEXT_H
#define CA_PY_CONTEXT_H

#include "py/compat.h"
#include "py/state.h"

typedef struct {
    PyObject *snapshot;                /* strong; never entered; or NULL */
    PyObject *spare;                   /* strong; left, refcount 1; or NULL */
} ca_context_cache;

/* Find out whether sharing is possible: 1, 0, or -1 with an exception. */
int ca_context_probe(void);

/* The context for a handle made now: new reference.  *shared tells whether it
 * is a snapshot that must not be entered.  NULL with an exception. */
PyObject *ca_context_take(ca_state *st, ca_context_cache *cache, bool *shared);

/* A context like the snapshot, for one run: new reference or NULL. */
PyObject *ca_context_borrow_copy(ca_context_cache *cache, PyObject *snapshot);

/* Give such a context back after it was left; takes the reference. */
void ca_context_return(ca_context_cache *cache, PyObject *snapshot,
                       PyObject *steal_context);

void ca_context_clear(ca_context_cache *cache);

/* Enter a context, unless somebody is inside of it or it is none of
 * contextvars' own; whether it was entered.  No exception stays. */
bool ca_context_try_enter(PyObject *context);

/* Leave it again if it was entered: `result`, or -1 with an exception. */
int ca_context_leave(PyObject *context, bool entered, int result);

#endif
