/* datagram.c - the DatagramTransport type: its state and attributes.
 *
 * States: new -> open, by _open() -> closing -> gone, when asyncio's own
 * _call_connection_lost() sets _sock, _protocol and _loop to None.  The flags
 * and counters are set by asyncio's methods, by their names.
 */
#include "transport/datagram.h"

#include "loop/claims.h"
#include "py/args.h"
#include "py/layout.h"
#include "py/sockobj.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

bool
ca_datagram_base_fits(const ca_state *st)
{
    return ca_layout_ends_at(st->StockDatagramBase, offsetof(CaDatagram, st));
}

bool
ca_datagram_usual(const CaDatagram *self)
{
    return self->usual && ca_sockobj_fd(self->st, self->sock) == self->fd;
}

/* ---- birth and death ---- */

static PyObject *
datagram_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    CaDatagram *self = st == NULL ? NULL
                                  : (CaDatagram *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        self->watcher.vt = &ca_datagram_watcher_vt;
        self->max_size = CA_READ_BUFFER_SIZE;
        self->fd = -1;
        self->want = 1;
    }
    return (PyObject *)self;
}

static int
datagram_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaDatagram *self = (CaDatagram *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->extra);
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->protocol);
    Py_VISIT(self->address);
    Py_VISIT(self->server);
    Py_VISIT(self->buffer);
    Py_VISIT(self->high_water);
    Py_VISIT(self->low_water);
    Py_VISIT(self->context);
    Py_VISIT(self->kept);
    return 0;
}

static void
give_claim_back(CaDatagram *self)
{
    if (self->claimed) {
        ca_claims_drop(self->loop, self->fd, (PyObject *)self);
        self->claimed = false;
    }
}

static int
datagram_tp_clear(PyObject *op)
{
    CaDatagram *self = (CaDatagram *)op;
    give_claim_back(self);
    self->usual = false;
    Py_CLEAR(self->extra);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->address);
    Py_CLEAR(self->server);
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->high_water);
    Py_CLEAR(self->low_water);
    Py_CLEAR(self->context);
    Py_CLEAR(self->kept);
    ca_peers_clear(&self->peers);
    return 0;
}

static void
datagram_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)datagram_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(_open_doc,
"_open($self, loop, sock, connected, /)\n--\n\n"
"Take the socket of a new transport, and claim its descriptor.\n\n"
"`connected` says that datagrams have no address of their own.");

static PyObject *
datagram_py__open(PyObject *op, PyObject *args)
{
    CaDatagram *self = (CaDatagram *)op;
    PyObject *loop, *sock;
    int connected;
    if (!PyArg_ParseTuple(args, "O!Op:_open", self->st->LoopType, &loop, &sock,
                          &connected)) {
        return NULL;
    }
    if (self->sock != NULL || !ca_sockobj_check(self->st, sock)) {
        PyErr_SetString(PyExc_TypeError, "a socket.socket was expected, once");
        return NULL;
    }
    PyObject *family = PyObject_GetAttr(sock, self->st->names[CA_STR_family]);
    self->family = family == NULL ? -1 : PyLong_AsInt(family);
    Py_XDECREF(family);
    int fd = ca_sockobj_fd(self->st, sock);
    if (PyErr_Occurred() ||
        (fd >= 0 && ca_claims_set((CaLoop *)loop, fd, op) < 0)) {
        return NULL;
    }
    self->fd = fd;
    self->claimed = fd >= 0;
    self->connected = connected != 0;
    self->usual = ca_sockaddr_family_known(self->family);
    Py_XSETREF(self->loop, (CaLoop *)Py_NewRef(loop));
    self->sock = Py_NewRef(sock);
    Py_RETURN_NONE;
}

/* ---- small questions ---- */

PyDoc_STRVAR(is_closing_doc,
"is_closing($self)\n--\n\n"
"Return True if the transport is closing or closed.");

static PyObject *
datagram_py_is_closing(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaDatagram *)op)->closing);
}

PyDoc_STRVAR(get_write_buffer_size_doc,
"get_write_buffer_size($self)\n--\n\n"
"Return how many bytes are queued.");

static PyObject *
datagram_py_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaDatagram *self = (CaDatagram *)op;
    return ca_datagram_flush(self) < 0 ? NULL
                                       : PyLong_FromSsize_t(self->buffer_size);
}

/* ---- receiving: what asyncio's methods call ---- */

PyDoc_STRVAR(_watch_reading_doc,
"_watch_reading($self)\n--\n\n"
"Deliver the datagrams that come, from now on and in this context.");

static PyObject *
datagram_py__watch_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaDatagram *self = (CaDatagram *)op;
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the transport is closed");
        return NULL;
    }
    PyObject *context = PyContext_CopyCurrent();
    if (context == NULL) {
        return NULL;
    }
    Py_XSETREF(self->context, context);
    if (ca_watcher_start(self->loop, &self->watcher, self->fd, CA_OP_POLL_IN) <
            0 ||
        (self->kept != NULL && ca_datagram_queue_read(self) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_read_ready_doc,
"_read_ready($self)\n--\n\n"
"Receive datagrams and deliver them; the loop's callback.");

static PyObject *
datagram_py__read_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaDatagram *self = (CaDatagram *)op;
    if (!ca_datagram_reading(self)) {
        Py_RETURN_NONE;                /* not any more, since it was queued */
    }
    if (!ca_datagram_usual(self) || self->max_size <= 0 ||
        self->max_size > CA_READ_BUFFER_SIZE) {
        return ca_stock_call(self->st->StockDatagram,
                             self->st->names[CA_STR__read_ready], op, &op, 0,
                             NULL);
    }
    return ca_datagram_read(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- attributes ---- */

static PyObject *
or_none(void *op)
{
    return Py_NewRef(op == NULL ? Py_None : op);
}

static PyObject *
datagram_get_loop(PyObject *op, void *Py_UNUSED(closure))
{
    return or_none(((CaDatagram *)op)->loop);
}

/* None, when the connection is lost; another loop would not know us. */
static int
datagram_set_loop(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CaDatagram *self = (CaDatagram *)op;
    if (value != Py_None && value != (PyObject *)self->loop) {
        PyErr_SetString(PyExc_TypeError, "_loop can only be set to None");
        return -1;
    }
    if (value == Py_None && self->loop != NULL) {
        give_claim_back(self);
        self->usual = false;
        ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_IN);
        Py_CLEAR(self->context);
        Py_CLEAR(self->kept);
        ca_peers_clear(&self->peers);
        Py_CLEAR(self->loop);
    }
    return 0;
}

static PyObject *
datagram_get_sock(PyObject *op, void *Py_UNUSED(closure))
{
    return or_none(((CaDatagram *)op)->sock);
}

/* None, when it was closed; anything else is not ours to look into. */
static int
datagram_set_sock(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CaDatagram *self = (CaDatagram *)op;
    if (value != self->sock) {
        give_claim_back(self);
        self->usual = false;
        Py_XSETREF(self->sock, value == Py_None ? NULL : Py_XNewRef(value));
    }
    return 0;
}

static PyObject *
datagram_get_buffer(PyObject *op, void *Py_UNUSED(closure))
{
    CaDatagram *self = (CaDatagram *)op;
    if (ca_datagram_flush(self) < 0) {
        return NULL;
    }
    if (self->buffer == NULL) {
        self->buffer = PyObject_CallNoArgs(self->st->deque);
    }
    return Py_XNewRef(self->buffer);
}

static int
datagram_set_buffer(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || PyObject_Size(value) < 0) {
        if (value == NULL) {
            PyErr_SetString(PyExc_AttributeError, "cannot delete _buffer");
        }
        return -1;
    }
    Py_XSETREF(((CaDatagram *)op)->buffer, Py_NewRef(value));
    return 0;
}

static PyMethodDef datagram_methods[] = {
    {"sendto", FASTCALL(ca_datagram_py_sendto), METH_FASTCALL | METH_KEYWORDS,
     ca_datagram_sendto_doc},
    {"is_closing", datagram_py_is_closing, METH_NOARGS, is_closing_doc},
    {"get_write_buffer_size", datagram_py_get_write_buffer_size, METH_NOARGS,
     get_write_buffer_size_doc},
    {"_open", datagram_py__open, METH_VARARGS, _open_doc},
    {"_watch_reading", datagram_py__watch_reading, METH_NOARGS,
     _watch_reading_doc},
    {"_read_ready", datagram_py__read_ready, METH_NOARGS, _read_ready_doc},
    {0},
};

static PyGetSetDef datagram_getset[] = {
    {"_loop", datagram_get_loop, datagram_set_loop,
     "The loop; None once the connection is lost.", NULL},
    {"_sock", datagram_get_sock, datagram_set_sock,
     "The socket; None once the connection is lost.", NULL},
    {"_buffer", datagram_get_buffer, datagram_set_buffer,
     "The datagrams that wait to be sent: a deque of (bytes, address).", NULL},
    {0},
};

#define MEMBER(name, type, field, doc) \
    {name, type, offsetof(CaDatagram, field), 0, doc}
static PyMemberDef datagram_members[] = {
    MEMBER("_protocol", T_OBJECT, protocol,
           "The protocol; None once the connection is lost."),
    MEMBER("_address", T_OBJECT, address,
           "The peer of a connected socket, or None."),
    MEMBER("_server", T_OBJECT, server,
           "Always None: datagrams have no server."),
    MEMBER("_high_water", T_OBJECT, high_water,
           "Bytes above which the protocol is told to pause writing."),
    MEMBER("_low_water", T_OBJECT, low_water,
           "Bytes below which it is told to resume."),
    MEMBER("_buffer_size", T_PYSSIZET, buffer_size,
           "Bytes that wait to be sent, each with its overhead."),
    MEMBER("_conn_lost", T_PYSSIZET, conn_lost,
           "How often the end of the connection was noticed."),
    MEMBER("max_size", T_PYSSIZET, max_size,
           "Bytes that a datagram is received with at most."),
    MEMBER("_closing", T_BOOL, closing,
           "Whether close() or abort() was called."),
    MEMBER("_paused", T_BOOL, paused, "Whether reading is paused."),
    MEMBER("_protocol_connected", T_BOOL, protocol_connected,
           "Whether connection_made() was called."),
    MEMBER("_protocol_paused", T_BOOL, protocol_paused,
           "Whether pause_writing() was called last."),
    {"_sock_fd", T_INT, offsetof(CaDatagram, fd), READONLY,
     "The socket's descriptor."},
    {0},
};
#undef MEMBER

PyDoc_STRVAR(datagram_doc,
"Native half of casyncio's datagram transport; not to be created by itself.");

static PyType_Slot datagram_slots[] = {
    {Py_tp_doc, (void *)datagram_doc},
    {Py_tp_new, datagram_tp_new},
    {Py_tp_traverse, datagram_tp_traverse},
    {Py_tp_clear, datagram_tp_clear},
    {Py_tp_dealloc, datagram_tp_dealloc},
    {Py_tp_methods, datagram_methods},
    {Py_tp_getset, datagram_getset},
    {Py_tp_members, datagram_members},
    {0, NULL},
};

PyType_Spec ca_datagram_spec = {
    .name = "casyncio._native.DatagramTransport",
    .basicsize = sizeof(CaDatagram),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = datagram_slots,
};
