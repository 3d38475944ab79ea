/* sockwatch.c - see sockwatch.h. */
#include "transport/sockwatch.h"

#include "transport/sockcall.h"

#include <stddef.h>

static int watch_ready(CaLoop *loop, PyObject *op, ca_op_kind kind);

static void
watch_lost(PyObject *op)
{
    PyObject *waiting = Py_XNewRef((PyObject *)((CaSockWatch *)op)->waiting);
    if (waiting != NULL) {
        ca_sockcall_let_go((CaSockCall *)waiting);
        Py_DECREF(waiting);
    }
}

static const ca_watcher_vt watcher_vt = {
    .ready = watch_ready,
    .offset = offsetof(CaSockWatch, watcher),
    .lost = watch_lost,
};

static int
watch_ready(CaLoop *loop, PyObject *op, ca_op_kind kind)
{
    CaSockWatch *self = (CaSockWatch *)op;
    if (self->waiting == NULL) {
        ca_watcher_stop(loop, &self->watcher, self->fd, kind);
        return 0;
    }
    PyObject *call = Py_NewRef(self->waiting);
    int result = ca_sockcall_ready(loop, (CaSockCall *)call);
    Py_DECREF(call);
    return result;
}

/* The watch on fd, if it is one of these and was made for that socket. */
static CaSockWatch *
find_borrow(const CaLoop *loop, PyObject *sock, int fd)
{
    void *owner = ca_reactor_owner(&loop->reactor, fd, CA_OP_POLL_IN);
    ca_watcher *watcher = owner == NULL ? NULL : ca_owner_watcher(owner);
    if (watcher == NULL || watcher->vt != &watcher_vt) {
        return NULL;
    }
    CaSockWatch *self = (CaSockWatch *)ca_watcher_object_borrow(watcher);
    return ca_weakref_refers_to(self->sock_ref, sock) ? self : NULL;
}

bool
ca_sockwatch_is_drained(const CaLoop *loop, PyObject *sock, int fd)
{
    const CaSockWatch *self = find_borrow(loop, sock, fd);
    return self != NULL && self->waiting == NULL && self->drained;
}

/* A new one, armed. */
static CaSockWatch *
make(CaLoop *loop, PyObject *sock, int fd)
{
    CaSockWatch *self = PyObject_GC_New(CaSockWatch, loop->st->SockWatchType);
    if (self == NULL) {
        return NULL;
    }
    self->watcher = (ca_watcher){.vt = &watcher_vt};
    self->waiting = NULL;
    self->fd = fd;
    self->drained = false;
    self->sock_ref = PyWeakref_NewRef(sock, NULL);
    PyObject_GC_Track(self);
    if (self->sock_ref == NULL ||
        ca_watcher_start(loop, &self->watcher, fd, CA_OP_POLL_IN) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

CaSockWatch *
ca_sockwatch_begin(CaLoop *loop, PyObject *sock, int fd,
                   struct CaSockCall *call)
{
    CaSockWatch *self = (CaSockWatch *)Py_XNewRef(
        (PyObject *)find_borrow(loop, sock, fd));
    if (self == NULL) {
        self = make(loop, sock, fd);
    }
    if (self != NULL) {
        self->watcher.idle = false;
        PyObject *before = (PyObject *)self->waiting;
        self->waiting = (CaSockCall *)Py_NewRef(call);
        if (before != NULL) {
            ca_sockcall_let_go((CaSockCall *)before);
            Py_DECREF(before);
        }
    }
    return self;
}

void
ca_sockwatch_end(CaLoop *loop, CaSockWatch *watch,
                 const struct CaSockCall *call, bool keep)
{
    if (watch->waiting != call) {
        return;                        /* another call has taken over */
    }
    watch->watcher.idle = true;
    watch->drained = call->drained;
    if (!keep) {
        ca_watcher_stop(loop, &watch->watcher, watch->fd, CA_OP_POLL_IN);
    }
    Py_CLEAR(watch->waiting);
}

/* ---- the type ---- */

static int
watch_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaSockWatch *)op)->sock_ref);
    Py_VISIT(((CaSockWatch *)op)->waiting);
    return 0;
}

static int
watch_tp_clear(PyObject *op)
{
    Py_CLEAR(((CaSockWatch *)op)->waiting);
    return 0;
}

static void
watch_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)watch_tp_clear(op);
    Py_XDECREF(((CaSockWatch *)op)->sock_ref);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(watch_doc,
"What the loop calls when a socket that a sock_*() call waits for is ready.");

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, (void *)watch_doc},
    {Py_tp_dealloc, watch_tp_dealloc},
    {Py_tp_traverse, watch_tp_traverse},
    {Py_tp_clear, watch_tp_clear},
    {0, NULL},
};

PyType_Spec ca_sockwatch_spec = {
    .name = "casyncio._native.SockWatch",
    .basicsize = sizeof(CaSockWatch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = watch_slots,
};
