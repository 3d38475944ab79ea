/* flow.c - see flow.h. */
#include "transport/flow.h"

#include "py/context.h"
#include "py/errors.h"

static int
tell(const ca_state *st, PyObject *transport, PyObject *protocol, int which)
{
    PyObject *done = PyObject_CallMethodNoArgs(protocol, st->names[which]);
    if (done != NULL) {
        Py_DECREF(done);
        return 0;
    }
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int told = ca_error_tell(exc, transport, st->names[CA_STR__flow_failed],
                             st->names[which], exc, NULL);
    Py_DECREF(exc);
    return told;
}

int
ca_flow_tell(const ca_state *st, PyObject *transport, PyObject *protocol,
             PyObject *context, int which)
{
    /* Both may be replaced meanwhile. */
    PyObject *held_protocol = Py_NewRef(protocol);
    PyObject *held_context = Py_XNewRef(context);
    bool entered = context != NULL && ca_context_try_enter(context);
    int result = ca_context_leave(context, entered,
                                  tell(st, transport, protocol, which));
    Py_XDECREF(held_context);
    Py_DECREF(held_protocol);
    return result;
}

int
ca_flow_write_each(CaLoop *loop, ca_gathering *gathering, PyObject *lines,
                   int (*write)(PyObject *transport, PyObject *data),
                   PyObject *transport)
{
    bool outside = ca_held_enter(loop);
    bool gathers = gathering->on;
    int result = 0;
    loop->callback_serial--;           /* not a callback of its own */
    gathering->on = true;
    for (Py_ssize_t i = 0; result == 0 && i < PySequence_Fast_GET_SIZE(lines);
         i++) {
        /* Its own methods may take it off the list. */
        PyObject *data = Py_NewRef(PySequence_Fast_GET_ITEM(lines, i));
        result = write(transport, data);
        Py_DECREF(data);
    }
    gathering->on = gathers;
    loop->in_callback = outside;
    return result;
}
