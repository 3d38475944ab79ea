/* stop.h - StopIterations that carry the result of an await.
 *
 * The interpreter takes the value out and drops the exception at once, which
 * makes its birth and death most of what a result costs.  Ours are of a class
 * derived from StopIteration whose dead instances are kept for the next.
 */
#ifndef CA_PY_STOP_H
#define CA_PY_STOP_H

#include "py/compat.h"
#include "py/state.h"

enum { CA_FREELIST_STOPS = 8 };

extern PyType_Spec ca_stop_spec;

/* Raise StopIteration(value), as a coroutine does that returns it; nothing is
 * raised for None.  For tp_iternext, whose callers know what that means. */
void ca_stop_raise(ca_state *st, PyObject *steal_value);

/* The same with a plain StopIteration. */
void ca_stop_raise_plain(PyObject *steal_value);

/* What send() and throw() give to Python for what a coroutine in C has come
 * to; takes the result. */
PyObject *ca_stop_return(PySendResult status, PyObject *steal_result);

#endif
