/* throw.h - what the throw() of a coroutine says about its arguments, in the
 * words of the running Python. */
#ifndef CA_PY_THROW_H
#define CA_PY_THROW_H

#include "py/compat.h"
#include "py/state.h"

#include <stdbool.h>

/* How many arguments throw() takes; with others it does nothing at all. */
static inline bool
ca_throw_counts(Py_ssize_t nargs)
{
    return nargs >= 1 && nargs <= 3;
}

/* Whether throw(*args) complains, of a coroutine that awaits nothing. */
bool ca_throw_is_refused(PyObject *const *args, Py_ssize_t nargs);

/* 0, or -1 with the complaint of which the coroutine hears nothing.  Where it
 * waits (`waits`), what it awaits judges the arguments, and complaints are
 * raised inside. */
int ca_throw_check(const ca_state *st, PyObject *const *args, Py_ssize_t nargs,
                   bool waits);

/* Raise what target.throw(*args) raises: the exception that it asks for, or
 * the complaint.  Closes the target, which is taken; NULL: only pass on what
 * is set. */
void ca_throw_raise(const ca_state *st, PyObject *steal_target,
                    PyObject *const *args, Py_ssize_t nargs);

/* A coroutine of stock's that is not meant to run, to be such a target. */
PyObject *ca_throw_speaker(const ca_state *st);

#endif
