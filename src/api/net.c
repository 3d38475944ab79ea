/* net.c - "Opening network connections" and "Creating network servers": the
 * hooks by which stock's methods of these chapters reach native transports.
 *
 * Sockets that are not socket.socket, and loops for which there are no native
 * transports, go to stock's own hooks.
 */
#include "api/api.h"

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

PyDoc_STRVAR(_make_socket_transport_doc,
"_make_socket_transport($self, sock, protocol, waiter=None, *, extra=None,\n"
"                       server=None)\n--\n\n"
"Return a transport for a connected stream socket, which it takes over.");

static PyObject *
loop_py__make_socket_transport(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"sock",  "protocol", "waiter",
                               "extra", "server",   NULL};
    CaLoop *self = (CaLoop *)op;
    PyObject *sock, *protocol;
    PyObject *waiter = Py_None, *extra = Py_None, *server = Py_None;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO|O$OO:_make_socket_transport", keywords, &sock,
            &protocol, &waiter, &extra, &server)) {
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
    CaStream *transport = ca_stream_from_socket(self, sock);
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
"Accept connections on `sock` from now on.");

static PyObject *
loop_py__start_serving(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaLoop *self = (CaLoop *)op;
    PyObject *factory, *sock;
    PyObject *sslcontext = Py_None, *server = Py_None;
    PyObject *handshake = NULL, *shutdown = NULL;
    int backlog = 100;
    bool plain = kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0;
    if (!plain ||
        !PyArg_ParseTuple(args, "OO|OOiOO", &factory, &sock, &sslcontext,
                          &server, &backlog, &handshake, &shutdown) ||
        sslcontext != Py_None || self->st->SocketTransport == NULL ||
        !ca_sockobj_check(self->st, sock) || self->debug) {
        PyErr_Clear();
        return ca_stock_call_tuple(self->st->StockSelectorLoop,
                                   self->st->names[CA_STR__start_serving], op,
                                   args, kwargs);
    }
    if (ca_loop_check_open(self) < 0 ||
        ca_acceptor_start(self, factory, sock, server, backlog) < 0) {
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
