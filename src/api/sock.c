/* sock.c - "Working with socket objects directly".
 *
 * A plain call with a plain socket becomes a native coroutine,
 * transport/sockcall.h; any other is stock's method.  sock_sendfile() is
 * inherited.
 */
#include "api/api.h"

#include "py/args.h"
#include "transport/sockcall.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* The arguments of one call; the socket is the first. */
typedef struct {
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
} sock_call;

static PyObject *
make_call(PyObject *op, const ca_sock_op *sock_op, const sock_call *call,
          Py_ssize_t least, Py_ssize_t most)
{
    CaLoop *self = (CaLoop *)op;
    if (call->kwnames == NULL && call->nargs >= least && call->nargs <= most &&
        !ca_thread_tracks_origins() &&
        ca_sockcall_is_plain(self, call->args[0])) {
        return ca_sockcall_new(self, sock_op, call->args, call->nargs);
    }
    PyObject *name = PyUnicode_InternFromString(sock_op->name);
    PyObject *coro = name == NULL ? NULL
                                  : ca_stock_call(self->st->StockSelectorLoop,
                                                  name, op, call->args,
                                                  call->nargs, call->kwnames);
    Py_XDECREF(name);
    return coro;
}

PyDoc_STRVAR(sock_recv_doc,
"sock_recv($self, /, sock, n)\n--\n\n"
"Receive up to n bytes; b'' at the end of the stream.\n\n"
"The coroutine does nothing before it is awaited, then tries at once and\n"
"waits only when there is nothing to be had.  A second sock_recv() on a\n"
"descriptor takes it over from the first, which then waits for ever.\n\n"
"Errors: those of socket.recv(); RuntimeError when a transport uses the\n"
"descriptor; TypeError for an SSL socket; in debug mode ValueError when the\n"
"socket blocks.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Working with socket objects directly\".");

static PyObject *
loop_py_sock_recv(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_recv, &call, 2, 2);
}

PyDoc_STRVAR(sock_recv_into_doc,
"sock_recv_into($self, /, sock, buf)\n--\n\n"
"Receive into a writable buffer; the result is the number of bytes.\n\n"
"Everything else as in sock_recv().");

static PyObject *
loop_py_sock_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_recv_into, &call, 2, 2);
}

PyDoc_STRVAR(sock_recvfrom_doc,
"sock_recvfrom($self, /, sock, bufsize)\n--\n\n"
"Receive a datagram of up to bufsize bytes; the result is (data, address).\n"
"\n"
"Everything else as in sock_recv().");

static PyObject *
loop_py_sock_recvfrom(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_recvfrom, &call, 2, 2);
}

PyDoc_STRVAR(sock_recvfrom_into_doc,
"sock_recvfrom_into($self, /, sock, buf, nbytes=0)\n--\n\n"
"Receive a datagram into a writable buffer, at most nbytes of it or as many\n"
"as fit; the result is (number of bytes, address).\n\n"
"Everything else as in sock_recv().");

static PyObject *
loop_py_sock_recvfrom_into(PyObject *op, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_recvfrom_into, &call, 2, 3);
}

PyDoc_STRVAR(sock_sendall_doc,
"sock_sendall($self, /, sock, data)\n--\n\n"
"Send all of data, waiting as often as it takes.\n\n"
"After an error nobody knows how much was sent.  Everything else as in\n"
"sock_recv().");

static PyObject *
loop_py_sock_sendall(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_sendall, &call, 2, 2);
}

PyDoc_STRVAR(sock_sendto_doc,
"sock_sendto($self, /, sock, data, address)\n--\n\n"
"Send a datagram to address; the result is the number of bytes.\n\n"
"Everything else as in sock_recv().");

static PyObject *
loop_py_sock_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_sendto, &call, 3, 3);
}

PyDoc_STRVAR(sock_connect_doc,
"sock_connect($self, /, sock, address)\n--\n\n"
"Connect to address; a name is resolved first.\n\n"
"Errors: OSError when the connection cannot be made.  Everything else as in\n"
"sock_recv().");

static PyObject *
loop_py_sock_connect(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_connect, &call, 2, 2);
}

PyDoc_STRVAR(sock_accept_doc,
"sock_accept($self, /, sock)\n--\n\n"
"Accept a connection; the result is (socket, address), and the socket does\n"
"not block.\n\n"
"Everything else as in sock_recv().");

static PyObject *
loop_py_sock_accept(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    sock_call call = {args, nargs, kwnames};
    return make_call(op, &ca_sock_op_accept, &call, 1, 1);
}

PyMethodDef ca_sock_methods[] = {
    {"sock_recv", FASTCALL(loop_py_sock_recv), METH_FASTCALL | METH_KEYWORDS,
     sock_recv_doc},
    {"sock_recv_into", FASTCALL(loop_py_sock_recv_into),
     METH_FASTCALL | METH_KEYWORDS, sock_recv_into_doc},
    {"sock_recvfrom", FASTCALL(loop_py_sock_recvfrom),
     METH_FASTCALL | METH_KEYWORDS, sock_recvfrom_doc},
    {"sock_recvfrom_into", FASTCALL(loop_py_sock_recvfrom_into),
     METH_FASTCALL | METH_KEYWORDS, sock_recvfrom_into_doc},
    {"sock_sendall", FASTCALL(loop_py_sock_sendall),
     METH_FASTCALL | METH_KEYWORDS, sock_sendall_doc},
    {"sock_sendto", FASTCALL(loop_py_sock_sendto),
     METH_FASTCALL | METH_KEYWORDS, sock_sendto_doc},
    {"sock_connect", FASTCALL(loop_py_sock_connect),
     METH_FASTCALL | METH_KEYWORDS, sock_connect_doc},
    {"sock_accept", FASTCALL(loop_py_sock_accept),
     METH_FASTCALL | METH_KEYWORDS, sock_accept_doc},
    {0},
};
