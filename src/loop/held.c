/* held.c - see held.h. */
#include "loop/held.h"

#include "py/errors.h"

int
ca_held_flush(CaLoop *loop, int result)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (ca_transport_flush_all(loop) < 0) {
        result = -1;
    }
    ca_error_restore(exc);
    return result;
}
