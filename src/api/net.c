/* net.c - "Opening network connections" and "Creating network servers": the
 * hooks by which stock's methods of these chapters reach native transports.
 *
 * Sockets that are not socket.socket, and loops for which there are no native
 * transports, go to stock's own hooks.
 */
#include "api/api.h"

#include "loop/overrides.h"
#include "py/args.h"
#include "py/sockobj.h"
#include "transport/acceptor.h"
#include "transport/stream.h"

/* RuntimeError when another transport has the socket; 0 or -1. */
static int
check_free(CaLoop *self, PyObject *sock)
{
    PyObject *done = PyObject_CallMethodOneArg(
        (PyObject *)self, self->st->names[CA_STR__ensure_fd_no_transport],
        sock);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* TypeError unless it is a context or None; 0 or -1. */
static int
check_context(PyObject *context)
{
    if (context == Py_None || PyContext_CheckExact(context)) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "a Context was expected, got %R", context);
    return -1;
}

PyDoc_STRVAR(_make_socket_transport_doc,
"_make_socket_transport($self, sock, protocol, waiter=None, *, extra=None,\n"
"                       server=None, context=None)\n--\n\n"
"Return a transport for a connected stream socket, which it takes over.\n\n"
"The protocol is called in `context`, a copy of the current one by default.");

static PyObject *
loop_py__make_socket_transport(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"sock",   "protocol", "waiter", "extra",
                               "server", "context",  NULL};
    CaLoop *self = (CaLoop *)op;
    PyObject *sock, *protocol;
    PyObject *waiter = Py_None, *extra = Py_None, *server = Py_None;
    PyObject *context = Py_None;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO|O$OOO:_make_socket_transport", keywords, &sock,
            &protocol, &waiter, &extra, &server, &context) ||
        check_context(context) < 0) {
        return NULL;
    }
    if (self->st->SocketTransport == NULL ||
        !ca_sockobj_check(self->st, sock) ||
        ca_sockobj_fd(self->st, sock) < 0) {
        return ca_stock_call_tuple(
            self->st->StockSelectorLoop,
            self->st->names[CA_STR__make_socket_transport], op, args, kwargs);
    }
    if (ca_loop_check_open(self) < 0 || check_free(self, sock) < 0) {
        return NULL;
    }
    CaStream *transport = ca_stream_from_socket(
        self, sock, context == Py_None ? NULL : context);
    if (transport == NULL) {
        return NULL;
    }
    transport->extra = extra == Py_None ? NULL : Py_NewRef(extra);
    if (ca_stream_begin(transport, protocol, server == Py_None ? NULL : server,
                        waiter == Py_None ? NULL : waiter) < 0) {
        Py_CLEAR(transport);
    }
    return (PyObject *)transport;
}

PyDoc_STRVAR(_start_serving_doc,
"_start_serving($self, protocol_factory, sock, sslcontext=None, server=None,\n"
"               backlog=100, *args, **kwargs)\n--\n\n"
"Accept connections on `sock` from now on.\n\n"
"Each is served in a copy of its own of `context`, which is the server's.");

/* The one keyword that servers give, from 3.15 on: a Context, or NULL when
 * there are none; false for others. */
static bool
only_context(PyObject *kwargs, PyObject *name, PyObject **context_borrow)
{
    *context_borrow = NULL;
    if (kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0) {
        return true;
    }
    *context_borrow = PyDict_GetItemWithError(kwargs, name);
    return PyDict_GET_SIZE(kwargs) == 1 && *context_borrow != NULL &&
           PyContext_CheckExact(*context_borrow);
}

static PyObject *
loop_py__start_serving(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaLoop *self = (CaLoop *)op;
    PyObject *factory, *sock;
    PyObject *sslcontext = Py_None, *server = Py_None;
    PyObject *handshake = NULL, *shutdown = NULL;
    int backlog = 100;
    PyObject *context;
    if (!only_context(kwargs, self->st->names[CA_STR_context], &context) ||
        !PyArg_ParseTuple(args, "OO|OOiOO", &factory, &sock, &sslcontext,
                          &server, &backlog, &handshake, &shutdown) ||
        sslcontext != Py_None || self->st->SocketTransport == NULL ||
        !ca_sockobj_check(self->st, sock) || self->debug ||
        (ca_overrides_now(self) & CA_OVERRIDE_MAKE_TRANSPORT) != 0) {
        PyErr_Clear();
        return ca_stock_call_tuple(self->st->StockSelectorLoop,
                                   self->st->names[CA_STR__start_serving], op,
                                   args, kwargs);
    }
    if (ca_loop_check_open(self) < 0 ||
        ca_acceptor_start(self, factory, sock, server, context, backlog) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef ca_net_methods[] = {
    {"_make_socket_transport",
     (PyCFunction)(void (*)(void))loop_py__make_socket_transport,
     METH_VARARGS | METH_KEYWORDS, _make_socket_transport_doc},
    {"_start_serving", (PyCFunction)(void (*)(void))loop_py__start_serving,
     METH_VARARGS | METH_KEYWORDS, _start_serving_doc},
    {0},
};
