/* tls_transport.c - struct CaTlsTransport: a TLS connection as users see it.
 *
 * What runs per message; the rest is inherited from asyncio's own class and
 * speaks to the connection through `_ssl_protocol`.  The struct begins with
 * the slots of asyncio's Transport with flow control, as that of streams does.
 */
#include "py/args.h"
#include "transport/stream.h"
#include "transport/tls.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *slots[5];                /* strong or NULL; those of the base,
                                          which frees them */
    PyObject *connection;              /* strong; a CaTls; NULL before
                                          __init__() */
    bool closed;
} CaTlsTransport;

/* The connection; NULL when it is over and the user has closed us twice. */
static CaTls *
connection_borrow(PyObject *op)
{
    CaTls *found = (CaTls *)((CaTlsTransport *)op)->connection;
    return found == NULL || found->loop == NULL ? NULL : found;
}

static PyObject *
refuse_type(PyObject *data)
{
    PyObject *name = PyType_GetName(Py_TYPE(data));
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError,
                     "data: expecting a bytes-like instance, got %U", name);
        Py_DECREF(name);
    }
    return NULL;
}

PyDoc_STRVAR(write_doc,
"write($self, data)\n--\n\n"
"Encrypt and send bytes; what the kernel does not take now is buffered.\n\n"
"It leaves at once, or, when this connection writes in groups, at the end of\n"
"the callback that runs.  `data` may be changed afterwards.\n\n"
"Units: data is a bytes, bytearray or memoryview.\n"
"Errors: TypeError for other data.  On a connection that is closed nothing\n"
"happens, with a warning from the fifth on.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
tls_transport_py_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    CaTls *self = connection_borrow(op);
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    if (st == NULL) {
        return NULL;
    }
    PyObject *data = nargs == 1 && kwnames == NULL
                         ? args[0]
                         : ca_args_one_borrow(st->names[CA_STR_data], args,
                                              nargs, kwnames);
    if (data == NULL) {
        return ca_stock_call(st->StockTlsTransport, st->names[CA_STR_write],
                             op, args, nargs, kwnames);
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        return refuse_type(data);
    }
    Py_XINCREF(self);                  /* truth may be a method of theirs */
    int result = PyObject_IsTrue(data);
    if (result > 0 && self != NULL) {
        result = ca_tls_write_object(self, data);
    }
    Py_XDECREF(self);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(is_closing_doc,
"is_closing($self)\n--\n\n"
"Return whether the transport is closing or closed.");

static PyObject *
tls_transport_py_is_closing(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTlsTransport *self = (CaTlsTransport *)op;
    if (self->closed) {
        Py_RETURN_TRUE;
    }
    CaTls *connection = connection_borrow(op);
    if (connection == NULL || ca_tls_missing(connection->transport)) {
        Py_RETURN_FALSE;
    }
    CaStream *below = (CaStream *)ca_tls_below_borrow(connection);
    if (below != NULL) {
        return PyBool_FromLong(below->closing);
    }
    return PyObject_CallMethodNoArgs(
        connection->transport, ca_tls_name(connection, CA_STR_is_closing));
}

PyDoc_STRVAR(is_reading_doc,
"is_reading($self)\n--\n\n"
"Return whether data may come.");

static PyObject *
tls_transport_py_is_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = connection_borrow(op);
    return PyBool_FromLong(self != NULL && !self->reading_paused);
}

PyDoc_STRVAR(pause_reading_doc,
"pause_reading($self)\n--\n\n"
"Stop calling the protocol with data until resume_reading().");

static PyObject *
tls_transport_py_pause_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = connection_borrow(op);
    if (self != NULL) {
        self->reading_paused = true;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_write_buffer_size_doc,
"get_write_buffer_size($self)\n--\n\n"
"Return how many bytes wait because the kernel did not take them.");

static PyObject *
tls_transport_py_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = connection_borrow(op);
    return PyLong_FromSize_t(self == NULL ? 0 : ca_tls_buffered(self));
}

static PyMethodDef tls_transport_methods[] = {
    {"write", (PyCFunction)(void (*)(void))tls_transport_py_write,
     METH_FASTCALL | METH_KEYWORDS, write_doc},
    {"is_closing", tls_transport_py_is_closing, METH_NOARGS, is_closing_doc},
    {"is_reading", tls_transport_py_is_reading, METH_NOARGS, is_reading_doc},
    {"pause_reading", tls_transport_py_pause_reading, METH_NOARGS,
     pause_reading_doc},
    {"get_write_buffer_size", tls_transport_py_get_write_buffer_size,
     METH_NOARGS, get_write_buffer_size_doc},
    {0},
};

static PyObject *
tls_transport_get__ssl_protocol(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *found = ((CaTlsTransport *)op)->connection;
    return Py_NewRef(found == NULL ? Py_None : found);
}

static int
tls_transport_set__ssl_protocol(PyObject *op, PyObject *value,
                                void *Py_UNUSED(closure))
{
    CaTlsTransport *self = (CaTlsTransport *)op;
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    if (st == NULL) {
        return -1;
    }
    if (value == Py_None) {
        Py_CLEAR(self->connection);
        return 0;
    }
    if (value == NULL || !PyObject_TypeCheck(value, st->TlsType)) {
        PyErr_SetString(PyExc_TypeError, "a native TLS connection expected");
        return -1;
    }
    Py_XSETREF(self->connection, Py_NewRef(value));
    return 0;
}

static PyGetSetDef tls_transport_getset[] = {
    {"_ssl_protocol", tls_transport_get__ssl_protocol,
     tls_transport_set__ssl_protocol, "The connection; None: over.", NULL},
    {0},
};

static PyMemberDef tls_transport_members[] = {
    {"_closed", T_BOOL, offsetof(CaTlsTransport, closed), 0,
     "close() or abort() was called, or the connection is lost."},
    {0},
};

PyDoc_STRVAR(tls_transport_doc,
"Native half of the transport of a TLS connection; made by the loop.\n\n"
"Threads: every method belongs to the loop's thread.");

static int
tls_transport_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaTlsTransport *self = (CaTlsTransport *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->connection);
    for (int i = 0; i < 5; i++) {
        Py_VISIT(self->slots[i]);
    }
    return 0;
}

static int
tls_transport_tp_clear(PyObject *op)
{
    CaTlsTransport *self = (CaTlsTransport *)op;
    for (int i = 0; i < 5; i++) {
        Py_CLEAR(self->slots[i]);
    }
    return 0;
}

static void
tls_transport_tp_dealloc(PyObject *op)
{
    CaTlsTransport *self = (CaTlsTransport *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)tls_transport_tp_clear(op);
    Py_CLEAR(self->connection);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
ca_tls_transport_type_new(PyObject *module, ca_state *st)
{
    PyTypeObject *base = (PyTypeObject *)st->StockTransport;
    if (base->tp_basicsize !=
            (Py_ssize_t)offsetof(CaTlsTransport, connection) ||
        base->tp_itemsize != 0 || base->tp_dictoffset != 0 ||
        base->tp_weaklistoffset != 0) {
        return NULL;
    }
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)tls_transport_doc},
        {Py_tp_traverse, tls_transport_tp_traverse},
        {Py_tp_clear, tls_transport_tp_clear},
        {Py_tp_dealloc, tls_transport_tp_dealloc},
        {Py_tp_methods, tls_transport_methods},
        {Py_tp_getset, tls_transport_getset},
        {Py_tp_members, tls_transport_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.TlsTransport",
        .basicsize = sizeof(CaTlsTransport),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, (PyObject *)base);
}
