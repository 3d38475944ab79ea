/* fatal.c - see fatal.h. */
#include "transport/fatal.h"

#include "py/errors.h"

int
ca_fatal_tell(const ca_state *st, PyObject *transport, const char *message)
{
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *text = PyUnicode_FromString(message);
    int done = text == NULL ? -1
                            : ca_error_tell(exc, transport,
                                            st->names[CA_STR__fatal_error],
                                            exc, text, NULL);
    Py_XDECREF(text);
    Py_XDECREF(exc);
    return done;
}
