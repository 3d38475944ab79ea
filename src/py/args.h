/* args.h - vectorcall argument binding with stock asyncio's parameter names.
 *
 * Only what binds is bound here.  When a call does not bind, the method calls
 * stock's function of the same name with the same arguments (ca_stock_call),
 * which raises the TypeError of the running Python in its own words.
 */
#ifndef CA_PY_ARGS_H
#define CA_PY_ARGS_H

#include "py/compat.h"
#include "py/state.h"

#include <stdbool.h>

/* The bound form of (first, callback, *rest, context=None), or without first.
 * All borrowed from the call. */
typedef struct {
    PyObject *first;                   /* delay, when or fd; NULL without */
    PyObject *callback;
    PyObject *const *rest;
    Py_ssize_t nrest;
    PyObject *context;                 /* NULL when absent or None */
} ca_call_args;

/* Bind; `first_name` is the interned name of the first parameter, NULL when
 * the method has none.  False when the call does not bind (no exception
 * set). */
bool ca_args_bind_any(const ca_state *st, PyObject *first_name,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames, ca_call_args *out);

/* The same; nearly every call has no keyword, and binds. */
static inline bool
ca_args_bind(const ca_state *st, PyObject *first_name, PyObject *const *args,
             Py_ssize_t nargs, PyObject *kwnames, ca_call_args *out)
{
    Py_ssize_t fixed = first_name == NULL ? 1 : 2;
    if (kwnames != NULL || nargs < fixed) {
        return ca_args_bind_any(st, first_name, args, nargs, kwnames, out);
    }
    *out = (ca_call_args){
        .first = first_name == NULL ? NULL : args[0],
        .callback = args[fixed - 1],
        .rest = args + fixed,
        .nrest = nargs - fixed,
    };
    return true;
}

/* The only argument of a call, positional or by the interned `name`; borrowed.
 * NULL when the call does not bind (no exception set). */
PyObject *ca_args_one_borrow(PyObject *name, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);

/* owner.name(self, *args, **kw): stock's version of a method. May run
 * Python. */
PyObject *ca_stock_call(PyObject *owner, PyObject *name, PyObject *self,
                        PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames);

/* The same for a method that got a tuple and a dict (NULL: none). */
PyObject *ca_stock_call_tuple(PyObject *owner, PyObject *name, PyObject *self,
                              PyObject *args, PyObject *kwargs);

#endif
