/* protocol.c - the native half of StreamReaderProtocol, see protocol.h. */
#include "stream/protocol.h"

#include "loop/loop.h"
#include "py/args.h"
#include "py/flag.h"
#include "py/errors.h"
#include "stream/reader.h"
#include "task/task.h"
#include "transport/reader_feed.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static PyObject *
name_of(const CaStreamProtocol *self, int which)
{
    return self->st->names[which];
}

/* ---- what arrives ---- */

/* The reader if it lives, strong, or NULL without an exception.  One without
 * references is dying: what is told of that may come by here. */
static PyObject *
living_reader(const CaStreamProtocol *self)
{
    PyObject *ref = self->reader_ref;
    PyObject *reader = NULL;
    if (self->named) {
        return ref != NULL && Py_REFCNT(ref) > 0 ? Py_NewRef(ref) : NULL;
    }
    if (ref != NULL && PyWeakref_CheckRef(ref)) {
        (void)PyWeakref_GetRef(ref, &reader);
    }
    return reader;
}

/* The same.  *usual: bytes can be fed to it without calling its methods. */
static PyObject *
reader_of(const CaStreamProtocol *self, bool *usual)
{
    PyObject *reader = living_reader(self);
    *usual = false;
    if (reader != NULL && ca_reader_check(self->st, reader)) {
        CaReader *native = (CaReader *)reader;
        *usual = !native->in.eof && ca_reader_is_usual(native);
    }
    return reader;
}

int
ca_stream_protocol_feed(PyObject *protocol, const char *data, size_t nbytes,
                        PyObject *object)
{
    CaStreamProtocol *self = (CaStreamProtocol *)protocol;
    if (!ca_stream_protocol_is_usual(self)) {
        return 0;
    }
    bool usual;
    PyObject *reader = reader_of(self, &usual);
    int result = 0;
    if (usual) {
        result = ca_reader_feed_bytes((CaReader *)reader, data, nbytes,
                                      object) < 0
                     ? -1
                     : 1;
    }
    Py_XDECREF(reader);
    return result;
}

PyDoc_STRVAR(data_received_doc,
"data_received($self, data)\n--\n\n"
"Hand bytes that have arrived to the reader; nobody's are dropped.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streaming Protocols\".");

static PyObject *
protocol_py_data_received(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    PyObject *data = ca_args_one_borrow(name_of(self, CA_STR_data), args,
                                        nargs, kwnames);
    if (data == NULL || !PyBytes_CheckExact(data) ||
        PyBytes_GET_SIZE(data) == 0 || !ca_stream_protocol_is_usual(self)) {
        return ca_stock_call(self->st->StreamReaderProtocol,
                             name_of(self, CA_STR_data_received), op, args,
                             nargs, kwnames);
    }
    bool usual;
    PyObject *done = Py_None;
    PyObject *reader = reader_of(self, &usual);
    if (usual) {
        done = ca_reader_feed_bytes((CaReader *)reader,
                                    PyBytes_AS_STRING(data),
                                    (size_t)PyBytes_GET_SIZE(data), data) < 0
                   ? NULL
                   : Py_None;
    } else if (reader != NULL) {
        done = PyObject_CallMethodOneArg(
            reader, name_of(self, CA_STR_feed_data), data);
        Py_XDECREF(done);
    }
    Py_XDECREF(reader);
    return done == NULL ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_end_with_doc,
"_end_with($self, transport, /)\n--\n\n"
"Have the end of the handler's task seen to, without an object for that;\n"
"return whether it will be.");

static PyObject *
protocol_py__end_with(PyObject *op, PyObject *transport)
{
    const CaStreamProtocol *self = (CaStreamProtocol *)op;
    PyObject *task = self->task;
    if (task == NULL || !Py_IS_TYPE(task, self->st->TaskType) ||
        !((CaTask *)task)->native) {
        Py_RETURN_FALSE;
    }
    int taken = ca_future_add_transport(self->st, (CaFuture *)task, transport);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyMethodDef protocol_methods[] = {
    {"data_received", FASTCALL(protocol_py_data_received),
     METH_FASTCALL | METH_KEYWORDS, data_received_doc},
    {"_end_with", protocol_py__end_with, METH_O, _end_with_doc},
    {0},
};

/* ---- fields that are made when somebody asks ---- */

static PyObject *
protocol_get__closed(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    if (self->closed == NULL && self->loop != NULL) {
        self->closed = PyObject_CallMethodNoArgs(
            self->loop, name_of(self, CA_STR_create_future));
        return Py_XNewRef(self->closed);
    }
    if (self->closed == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_closed");
    }
    return Py_XNewRef(self->closed);
}

static int
protocol_set__closed(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaStreamProtocol *)op)->closed, Py_XNewRef(value));
    return 0;
}

static PyObject *
protocol_get__drain_waiters(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    if (self->drain_waiters == NULL) {
        self->drain_waiters = PyObject_CallNoArgs(self->st->deque);
    }
    return Py_XNewRef(self->drain_waiters);
}

static int
protocol_set__drain_waiters(PyObject *op, PyObject *value,
                            void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaStreamProtocol *)op)->drain_waiters, Py_XNewRef(value));
    return 0;
}

/* Name no reader any more. */
static void
forget_reader(CaStreamProtocol *self)
{
    CaReader *reader = (CaReader *)self->reader_ref;
    if (self->named && reader != NULL) {
        reader->fed_by = NULL;
        self->reader_ref = NULL;
    }
    self->named = false;
}

/* A weak reference to something that is gone already. */
static PyObject *
dead_reference(void)
{
    PyObject *op = PySet_New(NULL);
    PyObject *ref = op == NULL ? NULL : PyWeakref_NewRef(op, NULL);
    Py_XDECREF(op);
    return ref;
}

static PyObject *
protocol_get__stream_reader_wr(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    if (self->named) {
        PyObject *reader = living_reader(self);
        PyObject *ref = reader == NULL ? dead_reference()
                                       : PyWeakref_NewRef(reader, NULL);
        Py_XDECREF(reader);
        if (ref == NULL) {
            return NULL;
        }
        forget_reader(self);
        self->reader_ref = ref;
    }
    if (self->reader_ref == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_stream_reader_wr");
    }
    return Py_XNewRef(self->reader_ref);
}

static int
protocol_set__stream_reader_wr(PyObject *op, PyObject *value,
                               void *Py_UNUSED(closure))
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    forget_reader(self);
    Py_XSETREF(self->reader_ref, Py_XNewRef(value));
    return 0;
}

/* What stock's property of that name returns. */
static PyObject *
protocol_get__stream_reader(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    if (self->named) {
        PyObject *reader = living_reader(self);
        return reader == NULL ? Py_NewRef(Py_None) : reader;
    }
    PyObject *ref = protocol_get__stream_reader_wr(op, NULL);
    PyObject *reader = ref == NULL || ref == Py_None
                           ? Py_XNewRef(ref)
                           : PyObject_CallNoArgs(ref);
    Py_XDECREF(ref);
    return reader;
}

#define FLAG(name, field, doc) \
    {name, ca_flag_get, ca_flag_set, doc, \
     (void *)offsetof(CaStreamProtocol, field)}
static PyGetSetDef protocol_getset[] = {
    {"_closed", protocol_get__closed, protocol_set__closed,
     "A future that is done when the connection is lost.", NULL},
    {"_drain_waiters", protocol_get__drain_waiters,
     protocol_set__drain_waiters, "Futures of those who wait to write.",
     NULL},
    {"_stream_reader", protocol_get__stream_reader, NULL,
     "The reader, or None.", NULL},
    {"_stream_reader_wr", protocol_get__stream_reader_wr,
     protocol_set__stream_reader_wr, "Weak reference to the reader.", NULL},
    FLAG("_paused", paused, "Writing has to wait."),
    FLAG("_connection_lost", connection_lost, "The connection is lost."),
    FLAG("_reject_connection", reject_connection,
         "The connection is to be refused."),
    FLAG("_over_ssl", over_ssl, "The transport is one over TLS."),
    {0},
};
#undef FLAG

#define FIELD(name, field, doc) \
    {name, Py_T_OBJECT_EX, offsetof(CaStreamProtocol, field), 0, doc}
static PyMemberDef protocol_members[] = {
    FIELD("_loop", loop, "The loop."),
    FIELD("_strong_reader", strong_reader,
          "The reader, until a server's connection is made."),
    FIELD("_stream_writer", writer, "A server's writer, or None."),
    FIELD("_transport", transport, "The transport, or None."),
    FIELD("_client_connected_cb", connected_cb, "Whom a server calls."),
    FIELD("_task", task, "What that coroutine runs in, or None."),
    {0},
};
#undef FIELD

static int
protocol_tp_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    ca_usual_note(self->st, CA_USUAL_PROTOCOL, &self->usual, name);
    return PyObject_GenericSetAttr(op, name, value);
}

/* ---- birth and death ---- */

PyDoc_STRVAR(protocol_doc,
"Native half of StreamReaderProtocol.\n\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
protocol_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    PyObject *op = st == NULL ? NULL : type->tp_alloc(type, 0);
    if (op != NULL) {
        ((CaStreamProtocol *)op)->st = st;
    }
    return op;
}

/* 0 or -1. */
static int
name_reader(CaStreamProtocol *self, CaReader *reader)
{
    if (reader->fed_by == NULL && self->reader_ref == NULL) {
        reader->fed_by = self;
        self->reader_ref = (PyObject *)reader;
        self->named = true;
        return 0;
    }
    PyObject *ref = PyWeakref_NewRef((PyObject *)reader, NULL);
    if (ref != NULL) {
        (void)protocol_set__stream_reader_wr((PyObject *)self, ref, NULL);
        Py_DECREF(ref);
    }
    return ref == NULL ? -1 : 0;
}

/* The usual call: (reader[, callback], loop=...), a reader of ours that was
 * not made in debug mode.  1; 0: not so; -1. */
static int
init_usual(CaStreamProtocol *self, PyObject *args, PyObject *kwargs)
{
    ca_state *st = self->st;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    if (self->loop != NULL || nargs < 1 || nargs > 2 || kwargs == NULL ||
        PyDict_GET_SIZE(kwargs) != 1) {
        return 0;
    }
    PyObject *reader = PyTuple_GET_ITEM(args, 0);
    PyObject *loop = PyDict_GetItemWithError(kwargs, st->names[CA_STR_loop]);
    if (loop == NULL || ca_future_native_loop(st, loop) == NULL ||
        !st->native_tasks || Py_TYPE(reader) != st->StreamReaderClass ||
        ((CaReader *)reader)->loop != loop) {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (name_reader(self, (CaReader *)reader) < 0) {
        return -1;
    }
    PyObject *callback = nargs == 2 ? PyTuple_GET_ITEM(args, 1) : Py_None;
    self->loop = Py_NewRef(loop);
    self->connected_cb = Py_NewRef(callback);
    self->strong_reader = callback == Py_None ? NULL : Py_NewRef(reader);
    self->writer = st->protocol_has_writer ? Py_NewRef(Py_None) : NULL;
    self->transport = Py_NewRef(Py_None);
    self->task = Py_NewRef(Py_None);
    return 1;
}

static int
protocol_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    int usual = init_usual(self, args, kwargs);
    if (usual != 0) {
        return usual < 0 ? -1 : 0;
    }
    PyObject *done = ca_stock_call_tuple(self->st->StreamReaderProtocol,
                                         name_of(self, CA_STR___init__), op,
                                         args, kwargs);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* As stock's __del__, which has nothing to do without the future. */
static void
protocol_tp_finalize(PyObject *op)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    if (self->closed == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = ca_stock_call(self->st->StreamReaderProtocol,
                                   name_of(self, CA_STR___del__), op, NULL, 0,
                                   NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(op);
    }
    Py_XDECREF(done);
    ca_error_restore(exc);
}

static int
protocol_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    if (!self->named) {
        Py_VISIT(self->reader_ref);
    }
    Py_VISIT(self->strong_reader);
    Py_VISIT(self->writer);
    Py_VISIT(self->transport);
    Py_VISIT(self->connected_cb);
    Py_VISIT(self->task);
    Py_VISIT(self->closed);
    Py_VISIT(self->drain_waiters);
    return 0;
}

static int
protocol_tp_clear(PyObject *op)
{
    CaStreamProtocol *self = (CaStreamProtocol *)op;
    forget_reader(self);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->reader_ref);
    Py_CLEAR(self->strong_reader);
    Py_CLEAR(self->writer);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->connected_cb);
    Py_CLEAR(self->task);
    Py_CLEAR(self->closed);
    Py_CLEAR(self->drain_waiters);
    return 0;
}

static void
protocol_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)protocol_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot protocol_slots[] = {
    {Py_tp_doc, (void *)protocol_doc},
    {Py_tp_new, protocol_tp_new},
    {Py_tp_init, protocol_tp_init},
    {Py_tp_traverse, protocol_tp_traverse},
    {Py_tp_clear, protocol_tp_clear},
    {Py_tp_finalize, protocol_tp_finalize},
    {Py_tp_dealloc, protocol_tp_dealloc},
    {Py_tp_setattro, protocol_tp_setattro},
    {Py_tp_methods, protocol_methods},
    {Py_tp_getset, protocol_getset},
    {Py_tp_members, protocol_members},
    {0, NULL},
};

PyType_Spec ca_stream_protocol_spec = {
    .name = "casyncio._native.StreamReaderProtocol",
    .basicsize = sizeof(CaStreamProtocol),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = protocol_slots,
};
