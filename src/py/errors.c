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

PyObject *
ca_error_take(void)
{
    if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    return PyErr_GetRaisedException();
}

/* The thread's slot is taken itself: PyErr_GetHandledException() also finds
 * what the caller of a generator handles, which would then be left in it. */
int
ca_error_tell(PyObject *exc, PyObject *receiver, PyObject *name,
              PyObject *first, PyObject *second, PyObject *third)
{
    PyObject **handled = &PyThreadState_Get()->exc_info->exc_value;
    PyObject *before = *handled;
    *handled = Py_NewRef(exc);
    PyObject *done = PyObject_CallMethodObjArgs(receiver, name, first, second,
                                                third, NULL);
    PyObject *ours = *handled;
    *handled = before;
    Py_XDECREF(ours);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
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
