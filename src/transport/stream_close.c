/* stream_close.c - the ways a connection ends, and what is told then.
 *
 *   close()         no more reads; connection_lost(None) when all is sent
 *   abort()         what is held back is offered once, the rest is dropped
 *   _fatal_error()  as abort(), with the exception; written in Python
 *
 * All end in one queued call of _call_connection_lost(), which closes the
 * descriptor and lets go of the protocol, so that no cycle is left.
 */
#include "loop/claims.h"
#include "py/errors.h"
#include "py/sockobj.h"
#include "transport/fatal.h"
#include "transport/stream.h"

#include <unistd.h>

int
ca_stream_fail(CaStream *self, const char *message)
{
    return ca_fatal_tell(self->loop->st, (PyObject *)self, message);
}

/* With the loop closed already, and in debug mode from another thread, this is
 * an error, and the transport is closing from now on all the same, as stock's.
 */
int
ca_stream_queue_lost(CaStream *self, PyObject *exc)
{
    const CaLoop *loop = self->loop;
    self->conn_lost++;
    if ((!self->lost && ca_loop_check_open(loop) < 0) ||
        (loop->debug && ca_loop_check_thread(loop) < 0)) {
        return -1;
    }
    return ca_stream_queue_call(self, (PyObject *)self,
                                CA_STR__call_connection_lost, exc);
}

int
ca_stream_close(CaStream *self)
{
    if (self->closing) {
        return 0;
    }
    if (ca_stream_flush(self) < 0) {
        return -1;
    }
    if (self->closing) {
        return 0;                      /* flushing failed and ended it */
    }
    self->closing = true;
    if (ca_stream_update_reading(self) < 0) {
        return -1;
    }
    return ca_wqueue_count(&self->out) > 0
               ? 0
               : ca_stream_queue_lost(self, Py_None);
}

int
ca_stream_force_close(CaStream *self, PyObject *exc)
{
    if (ca_stream_flush(self) < 0) {
        return -1;
    }
    if (self->conn_lost > 0) {
        return 0;
    }
    ca_stream_drop_output(self);
    self->closing = true;
    if (ca_stream_update_reading(self) < 0) {
        return -1;
    }
    return ca_stream_queue_lost(self, exc);
}

/* ---- the end ---- */

/* Close the descriptor, through its object if there is one; 0 or -1. */
static int
close_socket(CaStream *self)
{
    PyObject *sock = self->sock;
    ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_IN);
    ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_OUT);
    ca_reactor_forget(&self->loop->reactor, self->fd);
    self->reading = self->blocked = false;
    ca_claims_drop(self->loop, self->fd, (PyObject *)self);
    self->lost = true;
    if (sock == NULL) {
        (void)close(self->fd);         /* Linux: closed whatever it answers */
        return 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs(
        sock, ca_stream_name_borrow(self, CA_STR_close));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Take the connection off its server's list; 0 or -1. */
static int
leave_server(CaStream *self)
{
    PyObject *server = self->server;
    if (server == NULL) {
        return 0;
    }
    self->server = NULL;
    int result = ca_stream_tell_server(self, server, CA_STR__detach);
    Py_DECREF(server);
    return result;
}

/* No cycle is left. */
static int
drop_protocol(CaStream *self)
{
    Py_CLEAR(self->protocol);
    return 0;
}

static int
drop_acceptor(CaStream *self)
{
    Py_CLEAR(self->acceptor);
    return 0;
}

/* A future that waits for the queue to be empty waits in vain. */
static int
fail_empty_waiter(CaStream *self)
{
    return ca_stream_has_empty_waiter(self)
               ? ca_stream_tell(self, CA_STR__fail_empty_waiter)
               : 0;
}

/* One step of the clean-up, keeping the exception of an earlier one. */
static int
clean_up_step(CaStream *self, int (*step)(CaStream *), int result)
{
    PyObject *exc = PyErr_GetRaisedException();
    result |= step(self);
    ca_error_restore(exc);
    return result;
}

PyDoc_STRVAR(_call_connection_lost_doc,
"_call_connection_lost($self, exc, /)\n--\n\n"
"Tell the protocol that the connection is gone, and close the descriptor.");

static PyObject *
stream_py__call_connection_lost(PyObject *op, PyObject *exc)
{
    CaStream *self = (CaStream *)op;
    int result = 0;
    if (self->lost) {
        Py_RETURN_NONE;
    }
    if (self->connected && self->protocol != NULL) {
        PyObject *done = ca_stream_call(self, CA_STR_connection_lost, exc);
        Py_XDECREF(done);
        result = done == NULL ? -1 : 0;
    }
    if (!self->lost) {
        ca_stream_drop_output(self);
        result = clean_up_step(self, close_socket, result);
    }
    result = clean_up_step(self, drop_protocol, result);
    result = clean_up_step(self, leave_server, result);
    result = clean_up_step(self, drop_acceptor, result);
    result = clean_up_step(self, fail_empty_waiter, result);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- methods ---- */

PyDoc_STRVAR(_leave_server_doc,
"_leave_server($self)\n--\n\n"
"Take the connection off its server's list.");

static PyObject *
stream_py__leave_server(PyObject *op, PyObject *Py_UNUSED(none))
{
    return leave_server((CaStream *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\n"
"Close the connection when everything buffered is sent.\n\n"
"No more data is received; connection_lost(None) follows.  Harmless when\n"
"repeated.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Base Transport\".");

static PyObject *
stream_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_stream_close((CaStream *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(abort_doc,
"abort($self)\n--\n\n"
"Close the connection now; what the kernel has not taken is lost.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
stream_py_abort(PyObject *op, PyObject *Py_UNUSED(none))
{
    PyObject *done = PyObject_CallMethodOneArg(
        op, ca_stream_name_borrow((CaStream *)op, CA_STR__force_close),
        Py_None);
    return done;
}

PyDoc_STRVAR(_force_close_doc,
"_force_close($self, exc, /)\n--\n\n"
"As abort(); the protocol is told `exc`.");

static PyObject *
stream_py__force_close(PyObject *op, PyObject *exc)
{
    return ca_stream_force_close((CaStream *)op, exc) < 0 ? NULL
                                                          : Py_NewRef(Py_None);
}

PyDoc_STRVAR(is_closing_doc,
"is_closing($self)\n--\n\n"
"Return whether the transport is closing or closed.");

PyObject *
ca_stream_py_is_closing(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaStream *)op)->closing);
}

PyMethodDef ca_stream_close_methods[] = {
    {"close", stream_py_close, METH_NOARGS, close_doc},
    {"abort", stream_py_abort, METH_NOARGS, abort_doc},
    {"is_closing", ca_stream_py_is_closing, METH_NOARGS, is_closing_doc},
    {"_leave_server", stream_py__leave_server, METH_NOARGS,
     _leave_server_doc},
    {"_force_close", stream_py__force_close, METH_O, _force_close_doc},
    {"_call_connection_lost", stream_py__call_connection_lost, METH_O,
     _call_connection_lost_doc},
    {0},
};
