/* throw.c - see throw.h. */
#include "py/throw.h"

#include "py/errors.h"

bool
ca_throw_is_refused(PyObject *const *args, Py_ssize_t nargs)
{
    if (!ca_throw_counts(nargs) ||
        (nargs == 3 && args[2] != Py_None && !PyTraceBack_Check(args[2]))) {
        return true;
    }
    if (PyExceptionInstance_Check(args[0])) {
        return nargs > 1 && args[1] != Py_None;
    }
    return !PyExceptionClass_Check(args[0]);
}

int
ca_throw_check(const ca_state *st, PyObject *const *args, Py_ssize_t nargs,
               bool waits)
{
    if (ca_throw_counts(nargs) &&
        (waits || !ca_throw_is_refused(args, nargs))) {
        return 0;
    }
    ca_throw_raise(st, ca_throw_speaker(st), args, nargs);
    return -1;
}

void
ca_throw_raise(const ca_state *st, PyObject *steal_target,
               PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *method = steal_target == NULL
                           ? NULL
                           : PyObject_GetAttr(steal_target,
                                              st->names[CA_STR_throw]);
    PyObject *result = method == NULL ? NULL
                                      : PyObject_Vectorcall(
                                            method, args, (size_t)nargs, NULL);
    Py_XDECREF(result);                /* it cannot have one */
    Py_XDECREF(method);
    PyObject *exc = PyErr_GetRaisedException();
    if (steal_target != NULL) {
        PyObject *none = PyObject_CallMethodNoArgs(steal_target,
                                                   st->names[CA_STR_close]);
        Py_XDECREF(none);
        Py_DECREF(steal_target);
    }
    ca_error_restore(exc);
}

PyObject *
ca_throw_speaker(const ca_state *st)
{
    return PyObject_CallMethod(st->StockSelectorLoop, "sock_recv", "OOO",
                               Py_None, Py_None, Py_None);
}
