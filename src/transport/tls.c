/* tls.c - birth, death and attributes of a TLS connection, see tls.h.
 *
 * The attributes have the names of asyncio's SSLProtocol, whose methods are
 * inherited and use them.
 */
#include "transport/tls.h"

#include "py/errors.h"
#include "transport/reader_feed.h"
#include "transport/stream.h"

#include <string.h>
#include <structmember.h>

int
ca_tls_check_ready(const CaTls *self)
{
    if (self->loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "the connection has no loop");
        return -1;
    }
    return 0;
}

PyObject *
ca_tls_below_borrow(const CaTls *self)
{
    PyObject *transport = self->transport;
    bool plain = transport != NULL &&
                 (PyObject *)Py_TYPE(transport) ==
                     self->loop->st->SocketTransport &&
                 !ca_object_has_dict(transport);
    return plain ? transport : NULL;
}

PyDoc_STRVAR(_set_app_protocol_doc,
"_set_app_protocol($self, app_protocol, /)\n--\n\n"
"Let another protocol receive what is decrypted from now on.");

static PyObject *
tls_py__set_app_protocol(PyObject *op, PyObject *protocol)
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    ca_state *st = self->loop->st;
    int buffered = ca_protocol_is_buffered(st, protocol);
    if (buffered < 0) {
        return NULL;
    }
    self->protocol_kind = buffered ? CA_PROTOCOL_BUFFERED
                          : ca_reader_feed_serves(st, protocol)
                              ? CA_PROTOCOL_READER
                              : CA_PROTOCOL_DATA;
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_attach_engine_doc,
"_attach_engine($self)\n--\n\n"
"Drive the SSLObject natively if it is as expected; return whether it is.");

static PyObject *
tls_py__attach_engine(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    if (self->wire != NULL || ca_tls_missing(self->sslobj)) {
        Py_RETURN_FALSE;
    }
    int attached = ca_tls_native_attach(self);
    return attached < 0 ? NULL : PyBool_FromLong(attached);
}

static PyMethodDef tls_methods[] = {
    {"_set_app_protocol", tls_py__set_app_protocol, METH_O,
     _set_app_protocol_doc},
    {"_attach_engine", tls_py__attach_engine, METH_NOARGS,
     _attach_engine_doc},
    {0},
};

/* ---- attributes ---- */

static PyObject *
tls_get__loop(PyObject *op, void *Py_UNUSED(closure))
{
    CaTls *self = (CaTls *)op;
    return Py_NewRef(self->loop == NULL ? Py_None : (PyObject *)self->loop);
}

static int
tls_set__loop(PyObject *op, PyObject *loop, void *Py_UNUSED(closure))
{
    CaTls *self = (CaTls *)op;
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    if (st == NULL) {
        return -1;
    }
    if (loop == NULL || self->loop != NULL ||
        !PyObject_TypeCheck(loop, st->LoopType)) {
        PyErr_SetString(PyExc_TypeError, "a native loop is set once");
        return -1;
    }
    self->loop = (CaLoop *)Py_NewRef(loop);
    ca_gathering_init(&self->gathering, self->loop);
    return 0;
}

static PyObject *
tls_get_mark(PyObject *op, void *closure)
{
    PyObject *found = ((CaTls *)op)->limits[(intptr_t)closure];
    return found == NULL ? PyLong_FromLong(0) : Py_NewRef(found);
}

static int
tls_set_mark(PyObject *op, PyObject *value, void *closure)
{
    CaTls *self = (CaTls *)op;
    double nbytes = value == NULL ? -1.0 : PyFloat_AsDouble(value);
    if (value == NULL || (nbytes == -1.0 && PyErr_Occurred())) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
        }
        return -1;
    }
    self->marks[(intptr_t)closure] = nbytes;
    Py_XSETREF(self->limits[(intptr_t)closure], Py_NewRef(value));
    return 0;
}

static PyObject *
tls_get_engine(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((CaTls *)op)->engine->name);
}

static PyGetSetDef tls_getset[] = {
    {"_loop", tls_get__loop, tls_set__loop, "The loop; set once.", NULL},
    {"_outgoing_high_water", tls_get_mark, tls_set_mark, "In bytes.",
     (void *)(intptr_t)CA_TLS_OUT_HIGH},
    {"_outgoing_low_water", tls_get_mark, tls_set_mark, "In bytes.",
     (void *)(intptr_t)CA_TLS_OUT_LOW},
    {"_incoming_high_water", tls_get_mark, tls_set_mark, "In bytes.",
     (void *)(intptr_t)CA_TLS_IN_HIGH},
    {"_incoming_low_water", tls_get_mark, tls_set_mark, "In bytes.",
     (void *)(intptr_t)CA_TLS_IN_LOW},
    {"_engine", tls_get_engine, NULL, "\"native\" or \"membio\".", NULL},
    {0},
};

static PyMemberDef tls_members[] = {
    {"_transport", T_OBJECT, offsetof(CaTls, transport), 0,
     "The transport below; None before and after."},
    {"_app_protocol", T_OBJECT, offsetof(CaTls, protocol), 0,
     "The user's protocol; None once lost."},
    {"_context", T_OBJECT, offsetof(CaTls, context), 0,
     "The context in which the protocol is called."},
    {"_state", T_OBJECT, offsetof(CaTls, state), 0,
     "An SSLProtocolState of asyncio."},
    {"_sslobj", T_OBJECT, offsetof(CaTls, sslobj), 0, "The SSLObject."},
    {"_incoming", T_OBJECT, offsetof(CaTls, incoming), 0,
     "A MemoryBIO; the native engine does not use it."},
    {"_outgoing", T_OBJECT, offsetof(CaTls, outgoing), 0,
     "A MemoryBIO; the native engine does not use it."},
    {"_conn_lost", T_INT, offsetof(CaTls, conn_lost), 0,
     "0 while connected; then counts further writes."},
    {"_ssl_writing_paused", T_BOOL, offsetof(CaTls, lower_paused), 0,
     "The transport below is full."},
    {"_app_writing_paused", T_BOOL, offsetof(CaTls, app_paused), 0,
     "pause_writing() was called last."},
    {"_app_reading_paused", T_BOOL, offsetof(CaTls, reading_paused), 0,
     "pause_reading() was called."},
    {"_ssl_reading_paused", T_BOOL, offsetof(CaTls, lower_reading_paused), 0,
     "The transport below does not read."},
    {"_eof_received", T_BOOL, offsetof(CaTls, eof), 0,
     "The transport below told of the end."},
    {"_failure", T_OBJECT, offsetof(CaTls, failure), 0,
     "Why reading failed, while what came before is delivered."},
    {0},
};

/* ---- functions of the module ---- */

PyDoc_STRVAR(use_tls_doc,
"use_tls(protocol, stock_transport, states, again, /)\n--\n\n"
"Tell what TLS connections are made of: our class, asyncio's class for their\n"
"transports, the members of SSLProtocolState in their order, and the\n"
"exceptions that mean that more of the wire is needed.");

static PyObject *
module_py_use_tls(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *protocol, *stock, *states, *again;
    if (!PyArg_ParseTuple(args, "O!O!O!O!:use_tls", &PyType_Type, &protocol,
                          &PyType_Type, &stock, &PyTuple_Type, &states,
                          &PyTuple_Type, &again)) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(states) != CA_TLS_STATES) {
        PyErr_SetString(PyExc_ValueError, "five states were expected");
        return NULL;
    }
    for (Py_ssize_t i = 0; i < CA_TLS_STATES; i++) {
        Py_XSETREF(st->tls_states[i], Py_NewRef(PyTuple_GET_ITEM(states, i)));
    }
    Py_XSETREF(st->StockTlsTransport, Py_NewRef(stock));
    Py_XSETREF(st->tls_again, Py_NewRef(again));
    Py_XSETREF(st->TlsProtocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(find_openssl_doc,
"find_openssl(file, version, sslobj, context, /)\n--\n\n"
"Find the OpenSSL of that version that the _ssl module in `file` uses, and\n"
"where a fresh _ssl._SSLSocket of the context has its SSL*.  Return None, or\n"
"why TLS cannot be driven natively.");

static PyObject *
module_py_find_openssl(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *file;
    unsigned long version;
    PyObject *sslobj, *context;
    if (!PyArg_ParseTuple(args, "skOO:find_openssl", &file, &version, &sslobj,
                          &context)) {
        return NULL;
    }
    const char *reason = ca_tls_native_find(file, version, sslobj, context);
    return reason == NULL ? Py_NewRef(Py_None) : PyUnicode_FromString(reason);
}

PyMethodDef ca_tls_functions[] = {
    {"use_tls", module_py_use_tls, METH_VARARGS, use_tls_doc},
    {"find_openssl", module_py_find_openssl, METH_VARARGS, find_openssl_doc},
    {0},
};

/* ---- the type ---- */

PyDoc_STRVAR(tls_doc,
"Native half of a TLS connection; made by the loop.\n\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
tls_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
           PyObject *Py_UNUSED(kwargs))
{
    CaTls *self = (CaTls *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->engine = &ca_tls_membio;
        self->held.flush = ca_tls_flush_held;
        ca_dlist_init(&self->held.node);
    }
    return (PyObject *)self;
}

static int
tls_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaTls *self = (CaTls *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->transport);
    Py_VISIT(self->protocol);
    Py_VISIT(self->context);
    Py_VISIT(self->state);
    Py_VISIT(self->sslobj);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->ssl_owner);
    Py_VISIT(self->failure);
    return 0;
}

static int
tls_tp_clear(PyObject *op)
{
    CaTls *self = (CaTls *)op;
    Py_CLEAR(self->transport);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->context);
    Py_CLEAR(self->failure);
    return 0;
}

static void
tls_tp_dealloc(PyObject *op)
{
    CaTls *self = (CaTls *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    ca_dlist_unlink(&self->held.node);
    ca_wqueue_clear(&self->out);
    ca_tls_native_detach(self);
    (void)tls_tp_clear(op);
    for (int i = 0; i < 4; i++) {
        Py_CLEAR(self->limits[i]);
    }
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->sslobj);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->state);
    Py_CLEAR(self->loop);
    type->tp_free(op);
    Py_DECREF(type);
}

enum { MAX_METHODS = 32 };

/* Method descriptors point into the table, so it lives as long as the process;
 * every interpreter fills in the same values. */
static PyMethodDef all_methods[MAX_METHODS];

PyObject *
ca_tls_type_new(PyObject *module)
{
    const PyMethodDef *const parts[] = {tls_methods, ca_tls_read_methods,
                                        ca_tls_write_methods};
    size_t n = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (const PyMethodDef *m = parts[i];
             m->ml_name != NULL && n < MAX_METHODS - 1; m++) {
            all_methods[n++] = *m;
        }
    }
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)tls_doc},
        {Py_tp_new, tls_tp_new},
        {Py_tp_traverse, tls_tp_traverse},
        {Py_tp_clear, tls_tp_clear},
        {Py_tp_dealloc, tls_tp_dealloc},
        {Py_tp_methods, all_methods},
        {Py_tp_getset, tls_getset},
        {Py_tp_members, tls_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.Tls",
        .basicsize = sizeof(CaTls),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
