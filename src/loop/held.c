/* held.c - see held.h. */
#include "loop/held.h"

#include "py/errors.h"

static int
flush_all(CaLoop *loop)
{
    int result = 0;
    while (result == 0 && !ca_dlist_empty(&loop->held)) {
        ca_held *held = CA_CONTAINER_OF(loop->held.next, ca_held, node);
        result = held->flush(held);
    }
    return result;
}

int
ca_held_flush(CaLoop *loop, int result)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (flush_all(loop) < 0) {
        result = -1;
    }
    ca_error_restore(exc);
    return result;
}
