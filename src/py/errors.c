/* errors.c - see errors.h. */
#include "py/errors.h"

#include <errno.h>

PyObject *
ca_raise_errno(int err)
{
    if (err == -ENOMEM) {
        return PyErr_NoMemory();
    }
    errno = -err;
    return PyErr_SetFromErrno(PyExc_OSError);
}

bool
ca_error_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) ||
           PyErr_ExceptionMatches(PyExc_SystemExit);
}

void
ca_error_restore(PyObject *steal_exc)
{
    if (steal_exc == NULL) {
        return;
    }
    PyObject *newer = PyErr_GetRaisedException();
    if (newer == NULL) {
        PyErr_SetRaisedException(steal_exc);
        return;
    }
    if (newer == steal_exc) {
        Py_DECREF(steal_exc);
    } else {
        PyException_SetContext(newer, steal_exc);
    }
    PyErr_SetRaisedException(newer);
}
