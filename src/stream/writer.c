/* writer.c - the native half of StreamWriter, see writer.h. */
#include "stream/writer.h"

#include "loop/loop.h"
#include "py/args.h"
#include "py/errors.h"
#include "stream/call.h"
#include "stream/protocol.h"
#include "stream/reader.h"
#include "transport/stream.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static PyObject *
name_of(const CaWriter *self, int which)
{
    return self->st->names[which];
}

/* Stock's method of that name. */
static PyObject *
stock(CaWriter *self, int which, PyObject *const *args, Py_ssize_t nargs,
      PyObject *kwnames)
{
    return ca_stock_call(self->st->StockStreamWriter, name_of(self, which),
                         (PyObject *)self, args, nargs, kwnames);
}

/* Whether the fields are what the attributes are: no subclass has made
 * something else of them. */
static bool
is_usual(CaWriter *self)
{
    return ca_usual_now(self->st, CA_USUAL_WRITER, &self->usual,
                        (PyObject *)self);
}

/* ---- to the transport ---- */

static PyObject *
write_plainly(CaStream *transport, PyObject *data)
{
    Py_INCREF(transport);
    int result = ca_stream_write(transport, data);
    Py_DECREF(transport);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* transport.method(data) for writer.method(data). */
static PyObject *
hand_down(CaWriter *self, int method, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    PyObject *data = ca_args_one_borrow(name_of(self, CA_STR_data), args,
                                        nargs, kwnames);
    if (data == NULL || self->transport == NULL || !is_usual(self)) {
        return stock(self, method, args, nargs, kwnames);
    }
    if (method == CA_STR_write &&
        ca_stream_is_plain(self->st, self->transport)) {
        return write_plainly((CaStream *)self->transport, data);
    }
    PyObject *stack[2] = {Py_NewRef(self->transport), data};
    PyObject *done = PyObject_VectorcallMethod(
        name_of(self, method), stack, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        NULL);
    Py_DECREF(stack[0]);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(write_doc,
"write($self, data)\n--\n\n"
"Send bytes; what the kernel does not take now is buffered.\n\n"
"Errors: those of the transport's write().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
writer_py_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    return hand_down((CaWriter *)op, CA_STR_write, args, nargs, kwnames);
}

PyDoc_STRVAR(writelines_doc,
"writelines($self, data)\n--\n\n"
"Send an iterable of bytes.");

static PyObject *
writer_py_writelines(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    return hand_down((CaWriter *)op, CA_STR_writelines, args, nargs, kwnames);
}

/* transport.method(). */
static PyObject *
ask_transport(CaWriter *self, int method)
{
    if (self->transport == NULL || !is_usual(self)) {
        return stock(self, method, NULL, 0, NULL);
    }
    PyObject *transport = Py_NewRef(self->transport);
    PyObject *answer = PyObject_CallMethodNoArgs(transport,
                                                 name_of(self, method));
    Py_DECREF(transport);
    return answer;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\n"
"Close the connection when everything written is sent.");

static PyObject *
writer_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ask_transport((CaWriter *)op, CA_STR_close);
}

PyDoc_STRVAR(is_closing_doc,
"is_closing($self)\n--\n\n"
"Return whether the connection is closed or about to be.");

static PyObject *
writer_py_is_closing(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ask_transport((CaWriter *)op, CA_STR_is_closing);
}

/* ---- drain() and wait_closed() ---- */

/* Whether reader.exception() is None, for sure. */
static bool
reader_is_well(const CaWriter *self)
{
    PyObject *reader = self->reader;
    return reader == Py_None || (ca_reader_check(self->st, reader) &&
                                 ca_reader_is_usual((CaReader *)reader) &&
                                 ((CaReader *)reader)->exception == Py_None);
}

/* The protocol if it is one of ours with the usual methods. */
static CaStreamProtocol *
usual_protocol_borrow(CaWriter *self)
{
    CaStreamProtocol *protocol = (CaStreamProtocol *)self->protocol;
    return protocol != NULL && is_usual(self) &&
                   ca_stream_protocol_check(self->st, self->protocol) &&
                   ca_stream_protocol_is_usual(protocol)
               ? protocol
               : NULL;
}

/* Whether transport.is_closing(): 1, 0 or -1.  Runs Python. */
static int
ask_closing(CaWriter *self)
{
    PyObject *answer = ask_transport(self, CA_STR_is_closing);
    int closing = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return closing;
}

/* Nothing to wait for, nothing to raise: all others are stock's. */
static ca_call_outcome
drain_start(CaStreamCall *call, PyObject **result)
{
    CaWriter *self = (CaWriter *)call->owner;
    CaStreamProtocol *protocol = usual_protocol_borrow(self);
    if (protocol == NULL || self->reader == NULL || self->transport == NULL ||
        !reader_is_well(self)) {
        return CA_CALL_STOCK;
    }
    bool plain = ca_stream_is_plain(self->st, self->transport);
    int closing = plain ? ((CaStream *)self->transport)->closing
                        : ask_closing(self);
    if (closing != 0) {
        return closing < 0 ? CA_CALL_FAILED : CA_CALL_STOCK;
    }
    if (!plain) {
        protocol = usual_protocol_borrow(self); /* Python has run */
    }
    if (protocol == NULL || protocol->connection_lost || protocol->paused) {
        return CA_CALL_STOCK;
    }
    *result = Py_NewRef(Py_None);
    return CA_CALL_DONE;
}

const ca_call_op ca_call_op_drain = {
    .name = "drain",
    .start = drain_start,
};

PyDoc_STRVAR(drain_doc,
"drain($self)\n--\n\n"
"Wait until it is appropriate to write more.\n\n"
"A coroutine.  Errors: ConnectionResetError and its like when the connection\n"
"is lost.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

/* As in reader.c: stock's own where that is what will be needed. */
static PyObject *
make_call(CaWriter *self, const ca_call_op *op, int method)
{
    return ca_future_native_loop(self->st, self->loop) == NULL ||
                   !is_usual(self)
               ? stock(self, method, NULL, 0, NULL)
               : ca_call_new(self->st, op, (PyObject *)self, NULL);
}

static PyObject *
writer_py_drain(PyObject *op, PyObject *Py_UNUSED(none))
{
    return make_call((CaWriter *)op, &ca_call_op_drain, CA_STR_drain);
}

static ca_call_outcome
wait_closed_start(CaStreamCall *call, PyObject **result)
{
    CaWriter *self = (CaWriter *)call->owner;
    CaStreamProtocol *protocol = usual_protocol_borrow(self);
    PyObject *closed = protocol == NULL ? NULL : protocol->closed;
    if (closed == NULL || !Py_IS_TYPE(closed, self->st->FutureType)) {
        return CA_CALL_STOCK;
    }
    const CaFuture *fut = (const CaFuture *)closed;
    if (fut->state != CA_FINISHED || fut->exception != NULL) {
        return CA_CALL_STOCK;
    }
    *result = Py_NewRef(Py_None);
    return CA_CALL_DONE;
}

const ca_call_op ca_call_op_wait_closed = {
    .name = "wait_closed",
    .start = wait_closed_start,
};

PyDoc_STRVAR(wait_closed_doc,
"wait_closed($self)\n--\n\n"
"Wait until the connection is closed.\n\n"
"A coroutine.  Errors: what the connection was lost with.");

static PyObject *
writer_py_wait_closed(PyObject *op, PyObject *Py_UNUSED(none))
{
    return make_call((CaWriter *)op, &ca_call_op_wait_closed,
                     CA_STR_wait_closed);
}

static PyMethodDef writer_methods[] = {
    {"write", FASTCALL(writer_py_write), METH_FASTCALL | METH_KEYWORDS,
     write_doc},
    {"writelines", FASTCALL(writer_py_writelines),
     METH_FASTCALL | METH_KEYWORDS, writelines_doc},
    {"close", writer_py_close, METH_NOARGS, close_doc},
    {"is_closing", writer_py_is_closing, METH_NOARGS, is_closing_doc},
    {"drain", writer_py_drain, METH_NOARGS, drain_doc},
    {"wait_closed", writer_py_wait_closed, METH_NOARGS, wait_closed_doc},
    {0},
};

/* ---- fields ---- */

static PyObject *
writer_get__complete_fut(PyObject *op, void *Py_UNUSED(closure))
{
    CaWriter *self = (CaWriter *)op;
    if (self->complete == NULL && self->loop != NULL) {
        PyObject *future = PyObject_CallMethodNoArgs(
            self->loop, name_of(self, CA_STR_create_future));
        PyObject *done = future == NULL
                             ? NULL
                             : PyObject_CallMethodOneArg(
                                   future, name_of(self, CA_STR_set_result),
                                   Py_None);
        if (done != NULL) {
            Py_XSETREF(self->complete, Py_NewRef(future));
        }
        Py_XDECREF(done);
        Py_XDECREF(future);
    } else if (self->complete == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_complete_fut");
    }
    return PyErr_Occurred() ? NULL : Py_XNewRef(self->complete);
}

static int
writer_set__complete_fut(PyObject *op, PyObject *value,
                         void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaWriter *)op)->complete, Py_XNewRef(value));
    return 0;
}

static PyGetSetDef writer_getset[] = {
    {"_complete_fut", writer_get__complete_fut, writer_set__complete_fut,
     "A future that is done.", NULL},
    {0},
};

static PyMemberDef writer_members[] = {
    {"_loop", Py_T_OBJECT_EX, offsetof(CaWriter, loop), 0, "The loop."},
    {"_transport", Py_T_OBJECT_EX, offsetof(CaWriter, transport), 0,
     "The transport."},
    {"_protocol", Py_T_OBJECT_EX, offsetof(CaWriter, protocol), 0,
     "The transport's protocol."},
    {"_reader", Py_T_OBJECT_EX, offsetof(CaWriter, reader), 0,
     "The reader, or None."},
    {0},
};

/* ---- birth and death ---- */

PyDoc_STRVAR(writer_doc,
"Native half of StreamWriter.\n\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
writer_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
              PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    PyObject *op = st == NULL ? NULL : type->tp_alloc(type, 0);
    if (op != NULL) {
        ((CaWriter *)op)->st = st;
    }
    return op;
}

/* The usual call: (transport, protocol, reader, loop), a loop and a reader of
 * ours. */
static bool
init_usual(CaWriter *self, PyObject *args, PyObject *kwargs)
{
    ca_state *st = self->st;
    if (self->loop != NULL || !is_usual(self) || PyTuple_GET_SIZE(args) != 4 ||
        (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0)) {
        return false;
    }
    PyObject *reader = PyTuple_GET_ITEM(args, 2);
    PyObject *loop = PyTuple_GET_ITEM(args, 3);
    if ((reader != Py_None &&
         !PyObject_TypeCheck(reader, (PyTypeObject *)st->StreamReader)) ||
        ca_future_native_loop(st, loop) == NULL) {
        return false;
    }
    self->transport = Py_NewRef(PyTuple_GET_ITEM(args, 0));
    self->protocol = Py_NewRef(PyTuple_GET_ITEM(args, 1));
    self->reader = Py_NewRef(reader);
    self->loop = Py_NewRef(loop);
    return true;
}

static int
writer_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaWriter *self = (CaWriter *)op;
    if (init_usual(self, args, kwargs)) {
        return 0;
    }
    PyObject *done = ca_stock_call_tuple(self->st->StockStreamWriter,
                                         name_of(self, CA_STR___init__), op,
                                         args, kwargs);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Stock's __del__ closes and warns unless the transport is closing already. */
static bool
may_die_silently(CaWriter *self)
{
    PyObject *transport = self->transport;
    return transport != NULL && is_usual(self) &&
           self->st->SocketTransport != NULL &&
           (PyObject *)Py_TYPE(transport) == self->st->SocketTransport &&
           ((CaStream *)transport)->closing;
}

static void
writer_tp_finalize(PyObject *op)
{
    CaWriter *self = (CaWriter *)op;
    if (may_die_silently(self)) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = stock(self, CA_STR___del__, NULL, 0, NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(op);
    }
    Py_XDECREF(done);
    ca_error_restore(exc);
}

static int
writer_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaWriter *self = (CaWriter *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->transport);
    Py_VISIT(self->protocol);
    Py_VISIT(self->reader);
    Py_VISIT(self->complete);
    return 0;
}

static int
writer_tp_clear(PyObject *op)
{
    CaWriter *self = (CaWriter *)op;
    Py_CLEAR(self->loop);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->complete);
    return 0;
}

static void
writer_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)writer_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot writer_slots[] = {
    {Py_tp_doc, (void *)writer_doc},
    {Py_tp_new, writer_tp_new},
    {Py_tp_init, writer_tp_init},
    {Py_tp_traverse, writer_tp_traverse},
    {Py_tp_clear, writer_tp_clear},
    {Py_tp_finalize, writer_tp_finalize},
    {Py_tp_dealloc, writer_tp_dealloc},
    {Py_tp_methods, writer_methods},
    {Py_tp_getset, writer_getset},
    {Py_tp_members, writer_members},
    {0, NULL},
};

PyType_Spec ca_writer_spec = {
    .name = "casyncio._native.StreamWriter",
    .basicsize = sizeof(CaWriter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = writer_slots,
};
