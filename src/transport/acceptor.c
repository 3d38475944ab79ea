/* acceptor.c - see acceptor.h.
 *
 * Accepting happens in the I/O phase; each connection then goes through the
 * ready queue: the factory is called, connection_made() is queued, and reading
 * begins after it.  An accepted descriptor belongs to its transport from the
 * start, so none is lost when the loop ends in between.
 *
 * When the process is out of descriptors, listening pauses for a second and
 * the kernel keeps the queue, as stock does it.
 */
#include "transport/acceptor.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/errors.h"
#include "py/late.h"
#include "py/sockobj.h"
#include "transport/stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    PyObject_HEAD
    CaLoop *loop;                      /* strong */
    PyObject *factory;                 /* strong */
    PyObject *sock;                    /* strong */
    PyObject *server;                  /* strong or NULL */
    PyObject *context;                 /* strong; connections get a copy */
    ca_watcher watcher;
    int backlog;
    bool gathers;
    CaNewClients *clients;             /* strong or NULL; those of `server` */
} CaAcceptor;

static PyObject *
name_of(const CaAcceptor *self, int which)
{
    return self->loop->st->names[which];
}

void
ca_acceptor_note_gathering(PyObject *acceptor)
{
    if (acceptor != NULL) {
        ((CaAcceptor *)acceptor)->gathers = true;
    }
}

CaNewClients *
ca_acceptor_clients(PyObject *acceptor)
{
    return ((CaAcceptor *)acceptor)->clients;
}

/* ---- one connection ---- */

/* What went wrong with a new connection is told in debug mode only, as stock
 * does it.  0, or -1 when it must leave the loop. */
static int
accept_failed(CaAcceptor *self, PyObject *protocol)
{
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    int done = 0;
    if (self->loop->debug) {
        done = ca_error_tell(exc, (PyObject *)self->loop,
                             name_of(self, CA_STR__connection_failed), exc,
                             protocol == NULL ? Py_None : protocol, NULL);
    }
    Py_XDECREF(exc);
    return done;
}

PyDoc_STRVAR(accepted_doc,
"_accepted($self, transport, /)\n--\n\n"
"Give a new connection its protocol.");

static PyObject *
acceptor_py__accepted(PyObject *op, PyObject *transport)
{
    CaAcceptor *self = (CaAcceptor *)op;
    PyObject *protocol = PyObject_CallNoArgs(self->factory);
    int result = protocol == NULL
                     ? -1
                     : ca_stream_begin((CaStream *)transport, protocol,
                                       self->server, NULL);
    if (result < 0) {
        result = accept_failed(self, protocol);
    }
    Py_XDECREF(protocol);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* Make a transport for a descriptor, which is taken over; 0 or -1. */
static int
queue_connection(CaAcceptor *self, int fd, const ca_sockaddr *peer,
                 PyObject *callback)
{
    PyObject *context = PyContext_Copy(self->context);
    if (context == NULL) {
        (void)close(fd);
        return -1;
    }
    CaStream *transport = ca_stream_from_fd(self->loop, fd, context, peer);
    int result = -1;
    if (transport != NULL) {
        transport->acceptor = Py_NewRef(self);
        transport->gathering.on = self->gathers;
        result = ca_ready_push_callback(self->loop, callback,
                                        (PyObject *)transport, context);
    }
    Py_XDECREF(transport);
    Py_DECREF(context);
    return result;
}

/* ---- accepting ---- */

/* No descriptor left: tell, stop, and try again in a second. */
static int
back_off(CaAcceptor *self, int err)
{
    ca_watcher_stop(self->loop, &self->watcher,
                    ca_sockobj_fd(self->loop->st, self->sock), CA_OP_POLL_IN);
    ca_raise_errno(err);
    PyObject *exc = PyErr_GetRaisedException();
    int done = ca_error_tell(exc, (PyObject *)self->loop,
                             name_of(self, CA_STR__accept_failed), exc,
                             self->sock, (PyObject *)self);
    Py_XDECREF(exc);
    return done;
}

static bool
out_of_resources(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOBUFS ||
           err == -ENOMEM;
}

/* Accept one; the descriptor or -errno. */
static int
accept_one(const CaAcceptor *self, ca_sockaddr *peer)
{
    int listener = ca_sockobj_fd(self->loop->st, self->sock);
    if (listener < 0) {
        return -EBADF;
    }
    peer->length = sizeof(peer->u);
    int fd = accept4(listener, &peer->u.any, &peer->length,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Accept what waits, up to the backlog; 0 or -1. */
static int
accept_waiting(CaAcceptor *self)
{
    PyObject *callback = PyObject_GetAttr((PyObject *)self,
                                          name_of(self, CA_STR__accepted));
    int result = callback == NULL ? -1 : 0;
    for (int i = 0; result == 0 && i < self->backlog; i++) {
        ca_sockaddr peer;
        int fd = accept_one(self, &peer);
        if (fd >= 0) {
            result = queue_connection(self, fd, &peer, callback);
        } else if (out_of_resources(fd)) {
            result = back_off(self, fd);
            break;
        } else if (ca_errno_is_try_later(fd) || fd == -ECONNABORTED) {
            break;
        } else {
            ca_raise_errno(fd);
            result = -1;
        }
    }
    Py_XDECREF(callback);
    return result;
}

PyDoc_STRVAR(_accept_connection_doc,
"_accept_connection($self)\n--\n\n"
"Accept the connections that wait.");

static PyObject *
acceptor_py__accept_connection(PyObject *op, PyObject *Py_UNUSED(none))
{
    return accept_waiting((CaAcceptor *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

/* What a new connection died of is told by accept(), and ends neither the
 * server nor the loop. */
static int
acceptor_ready(CaLoop *loop, PyObject *op, ca_op_kind Py_UNUSED(kind))
{
    CaAcceptor *self = (CaAcceptor *)op;
    return accept_waiting(self) == 0
               ? 0
               : ca_handle_report_method(loop, op, CA_STR__accept_connection,
                                         self->context);
}

static const ca_watcher_vt acceptor_watcher_vt = {
    .ready = acceptor_ready,
    .offset = offsetof(CaAcceptor, watcher),
};

static int
acceptor_watch(CaAcceptor *self)
{
    int fd = ca_sockobj_fd(self->loop->st, self->sock);
    if (fd < 0) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %d", fd);
        return -1;
    }
    return ca_watcher_start(self->loop, &self->watcher, fd, CA_OP_POLL_IN);
}

int
ca_acceptor_start(CaLoop *loop, PyObject *factory, PyObject *sock,
                  PyObject *server, PyObject *context, int backlog)
{
    if (ca_late_need(loop->st, loop->st->AcceptorType, "Acceptor") < 0) {
        return -1;
    }
    CaAcceptor *self = PyObject_GC_New(CaAcceptor, loop->st->AcceptorType);
    if (self == NULL) {
        return -1;
    }
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->factory = Py_NewRef(factory);
    self->sock = Py_NewRef(sock);
    self->server = server == Py_None ? NULL : Py_NewRef(server);
    self->context = context != NULL ? Py_NewRef(context)
                                    : PyContext_CopyCurrent();
    self->watcher = (ca_watcher){.vt = &acceptor_watcher_vt};
    self->backlog = backlog > 0 ? backlog : 1;
    self->gathers = false;
    self->clients = self->server == NULL
                        ? NULL
                        : ca_clients_find(loop->st, self->server);
    PyObject_GC_Track(self);
    ca_stream_set_nodelay(ca_sockobj_fd(loop->st, sock));
    int result = self->context == NULL ? -1 : acceptor_watch(self);
    Py_DECREF(self);
    return result;
}

/* ---- the type ---- */

PyDoc_STRVAR(acceptor_doc,
"A listening socket that the loop watches; made by Loop._start_serving().\n\n"
"Errors: cannot be created directly (TypeError).\n"
"Threads: belongs to the loop's thread.");

PyDoc_STRVAR(resume_doc,
"_resume($self)\n--\n\n"
"Watch again after the process was out of descriptors.");

static PyObject *
acceptor_py__resume(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaAcceptor *self = (CaAcceptor *)op;
    if (ca_sockobj_fd(self->loop->st, self->sock) >= 0 &&
        acceptor_watch(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef acceptor_methods[] = {
    {"_accept_connection", acceptor_py__accept_connection, METH_NOARGS,
     _accept_connection_doc},
    {"_accepted", acceptor_py__accepted, METH_O, accepted_doc},
    {"_resume", acceptor_py__resume, METH_NOARGS, resume_doc},
    {0},
};

static int
acceptor_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaAcceptor *self = (CaAcceptor *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->factory);
    Py_VISIT(self->sock);
    Py_VISIT(self->server);
    Py_VISIT(self->context);
    Py_VISIT(self->clients);
    return 0;
}

static int
acceptor_tp_clear(PyObject *op)
{
    CaAcceptor *self = (CaAcceptor *)op;
    Py_CLEAR(self->factory);
    Py_CLEAR(self->server);
    Py_CLEAR(self->context);
    Py_CLEAR(self->clients);
    return 0;
}

static void
acceptor_tp_dealloc(PyObject *op)
{
    CaAcceptor *self = (CaAcceptor *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)acceptor_tp_clear(op);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->loop);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot acceptor_slots[] = {
    {Py_tp_doc, (void *)acceptor_doc},
    {Py_tp_traverse, acceptor_tp_traverse},
    {Py_tp_clear, acceptor_tp_clear},
    {Py_tp_dealloc, acceptor_tp_dealloc},
    {Py_tp_methods, acceptor_methods},
    {0, NULL},
};

PyType_Spec ca_acceptor_spec = {
    .name = "casyncio._native.Acceptor",
    .basicsize = sizeof(CaAcceptor),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = acceptor_slots,
};
