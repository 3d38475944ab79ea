/* reader.c - the native half of StreamReader, see reader.h.
 *
 * From the arriving byte to the task: the transport hands bytes to
 * ca_reader_feed_bytes(), which finishes the future that the task waits for;
 * the ready ring wakes the task in the same turn, and its call takes them
 * (stream/read.c).
 */
#include "stream/reader.h"

#include "loop/overrides.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/flag.h"
#include "stream/call.h"
#include "stream/protocol.h"
#include "task/task.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

enum { DEFAULT_LIMIT = 64 * 1024 };    /* streams._DEFAULT_LIMIT, in bytes */

static PyObject *
name_of(const CaReader *self, int which)
{
    return self->st->names[which];
}

/* Stock's method of that name. */
static PyObject *
stock(CaReader *self, int which, PyObject *const *args, Py_ssize_t nargs,
      PyObject *kwnames)
{
    return ca_stock_call(self->st->StreamReader, name_of(self, which),
                         (PyObject *)self, args, nargs, kwnames);
}

CaLoop *
ca_reader_native_loop(CaReader *self)
{
    CaLoop *loop = ca_future_native_loop(self->st, self->loop);
    return loop != NULL && self->st->native_tasks &&
                   (ca_overrides_now(loop) & CA_OVERRIDE_WATCHING) == 0
               ? loop
               : NULL;
}

/* ---- who waits ---- */

/* future.method(value) unless it was cancelled; 0 or -1. */
static int
finish_foreign(CaReader *self, PyObject *waiter, int method, PyObject *value)
{
    PyObject *cancelled = PyObject_CallMethodNoArgs(
        waiter, name_of(self, CA_STR_cancelled));
    int skip = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (skip != 0) {
        return skip < 0 ? -1 : 0;
    }
    PyObject *done = PyObject_CallMethodOneArg(waiter, name_of(self, method),
                                               value);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Wake who waits, if anybody does: with the exception, or NULL; 0 or -1. */
static int
wake(CaReader *self, PyObject *exc)
{
    PyObject *waiter = self->waiter;
    if (!ca_reader_is_awaited(self)) {
        return 0;
    }
    ca_state *st = self->st;
    self->waiter = Py_NewRef(Py_None);
    int result;
    if (exc == NULL && st->FutureType != NULL &&
        Py_IS_TYPE(waiter, st->FutureType) &&
        ((CaFuture *)waiter)->state == CA_PENDING) {
        result = ca_future_finish(st, (CaFuture *)waiter, Py_None);
    } else {
        result = finish_foreign(self, waiter,
                                exc == NULL ? CA_STR_set_result
                                            : CA_STR_set_exception,
                                exc == NULL ? Py_None : exc);
    }
    Py_DECREF(waiter);
    return result;
}

/* transport.method(). */
static PyObject *
call_transport(CaReader *self, int method)
{
    PyObject *transport = self->transport;
    transport = Py_NewRef(transport == NULL ? Py_None : transport);
    PyObject *done = PyObject_CallMethodNoArgs(transport,
                                               name_of(self, method));
    Py_DECREF(transport);
    return done;
}

/* transport.resume_reading() after a pause; 0 or -1. */
static int
resume_transport(CaReader *self)
{
    self->in.paused = false;
    PyObject *done = call_transport(self, CA_STR_resume_reading);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_reader_maybe_resume(CaReader *self)
{
    return self->in.paused && ca_inbuf_size(&self->in) <= self->limit
               ? resume_transport(self)
               : 0;
}

PyObject *
ca_reader_begin_waiting(CaReader *self, const char *method)
{
    if (ca_reader_is_awaited(self)) {
        return PyErr_Format(PyExc_RuntimeError,
                            "%s() called while another coroutine is already "
                            "waiting for incoming data",
                            method);
    }
    if (self->in.paused && resume_transport(self) < 0) {
        return NULL;
    }
    if (self->loop == NULL ||
        !PyObject_TypeCheck(self->loop, self->st->LoopType)) {
        PyErr_SetString(PyExc_RuntimeError, "the reader's loop was replaced");
        return NULL;
    }
    PyObject *waiter = ca_future_new((CaLoop *)self->loop);
    if (waiter != NULL) {
        Py_XSETREF(self->waiter, Py_NewRef(waiter));
    }
    return waiter;
}

/* ---- what arrives ---- */

/* Ask the transport to pause; one that cannot is not asked again.  0, -1. */
static int
pause_transport(CaReader *self)
{
    PyObject *done = call_transport(self, CA_STR_pause_reading);
    if (done != NULL) {
        Py_DECREF(done);
        self->in.paused = true;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
        return -1;
    }
    PyErr_Clear();
    Py_XSETREF(self->transport, Py_NewRef(Py_None));
    return 0;
}

/* Whether more waits than twice the limit: 1, 0 or -1.  Who was woken may have
 * put another buffer in place. */
static int
is_flooded(const CaReader *self)
{
    Py_ssize_t size = ca_inbuf_is_usual(&self->in)
                          ? ca_inbuf_size(&self->in)
                          : PyObject_Size(self->in.array);
    return size < 0 ? -1 : size - self->limit > self->limit;
}

int
ca_reader_feed_bytes(CaReader *self, const char *data, size_t nbytes,
                     PyObject *object)
{
    bool more = ca_reader_is_awaited(self) &&
                self->missing > (Py_ssize_t)nbytes;
    int result = object == NULL || more
                     ? ca_inbuf_append(&self->in, data, nbytes, more)
                     : ca_inbuf_append_object(&self->in, object);
    if (result < 0 || wake(self, NULL) < 0) {
        return -1;
    }
    if (self->transport == NULL || self->transport == Py_None ||
        self->in.paused) {
        return 0;
    }
    int flooded = is_flooded(self);
    return flooded > 0 ? pause_transport(self) : flooded;
}

PyDoc_STRVAR(feed_data_doc,
"feed_data($self, data)\n--\n\n"
"Append bytes that have arrived, and wake who waits for them.\n\n"
"More than twice the limit pauses the transport.\n"
"Errors: AssertionError after feed_eof().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
reader_py_feed_data(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    CaReader *self = (CaReader *)op;
    PyObject *data = ca_args_one_borrow(name_of(self, CA_STR_data), args,
                                        nargs, kwnames);
    if (data == NULL || !PyBytes_CheckExact(data) || self->in.eof ||
        !ca_reader_is_usual(self)) {
        return stock(self, CA_STR_feed_data, args, nargs, kwnames);
    }
    if (PyBytes_GET_SIZE(data) > 0 &&
        ca_reader_feed_bytes(self, PyBytes_AS_STRING(data),
                             (size_t)PyBytes_GET_SIZE(data), data) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(feed_eof_doc,
"feed_eof($self)\n--\n\n"
"Tell that nothing more will arrive.");

static PyObject *
reader_py_feed_eof(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaReader *self = (CaReader *)op;
    if (!ca_reader_is_usual(self)) {
        return stock(self, CA_STR_feed_eof, NULL, 0, NULL);
    }
    self->in.eof = true;
    return wake(self, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(set_exception_doc,
"set_exception($self, exc)\n--\n\n"
"Make every read from now on, and the one that waits, raise an exception.");

static PyObject *
reader_py_set_exception(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    CaReader *self = (CaReader *)op;
    PyObject *exc = ca_args_one_borrow(name_of(self, CA_STR_exc), args, nargs,
                                       kwnames);
    if (exc == NULL || self->loop == NULL) {
        return stock(self, CA_STR_set_exception, args, nargs, kwnames);
    }
    Py_XSETREF(self->exception, Py_NewRef(exc));
    return wake(self, exc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_wakeup_waiter_doc,
"_wakeup_waiter($self)\n--\n\n"
"Wake who waits for data or the end.");

static PyObject *
reader_py__wakeup_waiter(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaReader *self = (CaReader *)op;
    if (self->loop == NULL) {
        return stock(self, CA_STR__wakeup_waiter, NULL, 0, NULL);
    }
    return wake(self, NULL) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_maybe_resume_transport_doc,
"_maybe_resume_transport($self)\n--\n\n"
"Let the transport go on if no more than the limit is left to be read.");

static PyObject *
reader_py__maybe_resume_transport(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaReader *self = (CaReader *)op;
    if (!ca_reader_is_usual(self)) {
        return stock(self, CA_STR__maybe_resume_transport, NULL, 0, NULL);
    }
    return ca_reader_maybe_resume(self) < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- questions ---- */

PyDoc_STRVAR(exception_doc,
"exception($self)\n--\n\n"
"Return the exception that reads raise, or None.");

static PyObject *
reader_py_exception(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaReader *self = (CaReader *)op;
    return self->exception == NULL
               ? stock(self, CA_STR_exception, NULL, 0, NULL)
               : Py_NewRef(self->exception);
}

PyDoc_STRVAR(at_eof_doc,
"at_eof($self)\n--\n\n"
"Return whether everything was read and nothing more will arrive.");

static PyObject *
reader_py_at_eof(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaReader *self = (CaReader *)op;
    if (!ca_reader_is_usual(self)) {
        return stock(self, CA_STR_at_eof, NULL, 0, NULL);
    }
    return PyBool_FromLong(self->in.eof && ca_inbuf_size(&self->in) == 0);
}

/* ---- reading ---- */

/* A coroutine of ours, or stock's for a reader that will need that anyway: on
 * another loop, or in debug mode, where it remembers where it was made. */
static PyObject *
make_call(CaReader *self, const ca_call_op *op, int method, int parameter,
          PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *arg = NULL;
    bool binds = nargs == 0 && kwnames == NULL;
    if (!binds && parameter >= 0) {
        arg = ca_args_one_borrow(name_of(self, parameter), args, nargs,
                                 kwnames);
        binds = arg != NULL;
    }
    if (!binds || !ca_reader_is_usual(self) ||
        ca_reader_native_loop(self) == NULL) {
        return stock(self, method, args, nargs, kwnames);
    }
    return ca_call_new(self->st, op, (PyObject *)self, arg);
}

PyDoc_STRVAR(read_doc,
"read($self, n=-1)\n--\n\n"
"Read up to n bytes, at least one unless that is the end; all for -1.\n\n"
"A coroutine that returns bytes; empty ones at the end.\n"
"Units: n in bytes.\n"
"Errors: RuntimeError when somebody else waits; that of set_exception().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
reader_py_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    return make_call((CaReader *)op, &ca_call_op_read, CA_STR_read, CA_STR_n,
                     args, nargs, kwnames);
}

PyDoc_STRVAR(readexactly_doc,
"readexactly($self, n)\n--\n\n"
"Read n bytes.\n\n"
"A coroutine that returns bytes.\n"
"Units: n in bytes.\n"
"Errors: IncompleteReadError when the end comes first, ValueError for a\n"
"negative n, and those of read().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
reader_py_readexactly(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    if (nargs == 0 && kwnames == NULL) {
        return stock((CaReader *)op, CA_STR_readexactly, args, nargs, kwnames);
    }
    return make_call((CaReader *)op, &ca_call_op_readexactly,
                     CA_STR_readexactly, CA_STR_n, args, nargs, kwnames);
}

PyDoc_STRVAR(readline_doc,
"readline($self)\n--\n\n"
"Read up to a newline, with it; less at the end.\n\n"
"A coroutine that returns bytes.\n"
"Errors: ValueError for a line that is longer than the limit, and those of\n"
"read().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
reader_py_readline(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    return make_call((CaReader *)op, &ca_call_op_readline, CA_STR_readline, -1,
                     args, nargs, kwnames);
}

PyDoc_STRVAR(readuntil_doc,
"readuntil($self, separator=b'\\n')\n--\n\n"
"Read up to a separator, with it; of several, where Python knows that, up to\n"
"the first.\n\n"
"A coroutine that returns bytes.\n"
"Errors: IncompleteReadError when the end comes first, LimitOverrunError\n"
"when more than the limit does, ValueError for an empty separator, and\n"
"those of read().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Streams\".");

static PyObject *
reader_py_readuntil(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    return make_call((CaReader *)op, &ca_call_op_readuntil, CA_STR_readuntil,
                     CA_STR_separator, args, nargs, kwnames);
}

static PyObject *
reader_am_anext(PyObject *op)
{
    return make_call((CaReader *)op, &ca_call_op_anext, CA_STR___anext__, -1,
                     NULL, 0, NULL);
}

static PyMethodDef reader_methods[] = {
    {"feed_data", FASTCALL(reader_py_feed_data), METH_FASTCALL | METH_KEYWORDS,
     feed_data_doc},
    {"feed_eof", reader_py_feed_eof, METH_NOARGS, feed_eof_doc},
    {"set_exception", FASTCALL(reader_py_set_exception),
     METH_FASTCALL | METH_KEYWORDS, set_exception_doc},
    {"exception", reader_py_exception, METH_NOARGS, exception_doc},
    {"at_eof", reader_py_at_eof, METH_NOARGS, at_eof_doc},
    {"_wakeup_waiter", reader_py__wakeup_waiter, METH_NOARGS,
     _wakeup_waiter_doc},
    {"_maybe_resume_transport", reader_py__maybe_resume_transport, METH_NOARGS,
     _maybe_resume_transport_doc},
    {"read", FASTCALL(reader_py_read), METH_FASTCALL | METH_KEYWORDS,
     read_doc},
    {"readexactly", FASTCALL(reader_py_readexactly),
     METH_FASTCALL | METH_KEYWORDS, readexactly_doc},
    {"readline", FASTCALL(reader_py_readline), METH_FASTCALL | METH_KEYWORDS,
     readline_doc},
    {"readuntil", FASTCALL(reader_py_readuntil), METH_FASTCALL | METH_KEYWORDS,
     readuntil_doc},
    {0},
};

/* ---- fields ---- */

static int
refuse_deletion(const char *name)
{
    PyErr_Format(PyExc_AttributeError, "%s cannot be deleted", name);
    return -1;
}

static PyObject *
reader_get__buffer(PyObject *op, void *Py_UNUSED(closure))
{
    CaReader *self = (CaReader *)op;
    if (self->loop == NULL && self->in.array == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_buffer");
        return NULL;
    }
    return ca_inbuf_show(&self->in);
}

static int
reader_set__buffer(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) {
        return refuse_deletion("_buffer");
    }
    ca_inbuf_replace(&((CaReader *)op)->in, value);
    return 0;
}

static PyObject *
reader_get__limit(PyObject *op, void *Py_UNUSED(closure))
{
    CaReader *self = (CaReader *)op;
    if (self->limit_given == NULL) {
        PyErr_SetString(PyExc_AttributeError, "_limit");
        return NULL;
    }
    return Py_NewRef(self->limit_given);
}

static int
reader_set__limit(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CaReader *self = (CaReader *)op;
    if (value == NULL) {
        return refuse_deletion("_limit");
    }
    Py_ssize_t limit = PyLong_CheckExact(value) ? PyLong_AsSsize_t(value) : 0;
    if (limit == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    self->limit = limit > 0 ? limit : 0;
    Py_XSETREF(self->limit_given, Py_NewRef(value));
    return 0;
}

static PyGetSetDef reader_getset[] = {
    {"_buffer", reader_get__buffer, reader_set__buffer,
     "A bytearray of what has arrived and nobody has read.", NULL},
    {"_limit", reader_get__limit, reader_set__limit,
     "Bytes that a line may have; twice as many pause the transport.", NULL},
    {"_eof", ca_flag_get, ca_flag_set, "Nothing more will arrive.",
     (void *)offsetof(CaReader, in.eof)},
    {"_paused", ca_flag_get, ca_flag_set, "The transport was asked to pause.",
     (void *)offsetof(CaReader, in.paused)},
    {0},
};

static PyMemberDef reader_members[] = {
    {"_loop", Py_T_OBJECT_EX, offsetof(CaReader, loop), 0, "The loop."},
    {"_exception", Py_T_OBJECT_EX, offsetof(CaReader, exception), 0,
     "What reads raise, or None."},
    {"_transport", Py_T_OBJECT_EX, offsetof(CaReader, transport), 0,
     "The transport, or None."},
    {"_waiter", Py_T_OBJECT_EX, offsetof(CaReader, waiter), 0,
     "The future that a read waits for, or None."},
    {0},
};

static int
reader_tp_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    CaReader *self = (CaReader *)op;
    ca_usual_note(self->st, CA_USUAL_READER, &self->usual, name);
    return PyObject_GenericSetAttr(op, name, value);
}

/* ---- birth and death ---- */

PyDoc_STRVAR(reader_doc,
"Native half of StreamReader.\n\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
reader_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
              PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    if (st == NULL) {
        return NULL;
    }
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        CaReader *self = (CaReader *)op;
        self->st = st;
        self->exception = Py_NewRef(Py_None);
        self->transport = Py_NewRef(Py_None);
        self->waiter = Py_NewRef(Py_None);
    }
    return op;
}

/* Start with that limit (NULL: the usual one) if it is one of ours. */
static bool
init_limit(CaReader *self, PyObject *limit)
{
    if (limit == NULL) {
        limit = self->st->default_limit;
    }
    (void)reader_set__limit((PyObject *)self, limit, NULL);
    return self->limit > 0;
}

/* StreamReader(limit=65536, loop=None): the usual way to call it; all others
 * are stock's, with what it complains about. */
static int
reader_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaReader *self = (CaReader *)op;
    ca_state *st = self->st;
    if (PyTuple_GET_SIZE(args) == 0 && kwargs != NULL && self->loop == NULL) {
        PyObject *limit = PyDict_GetItemWithError(kwargs,
                                                  st->names[CA_STR_limit]);
        PyObject *loop = PyDict_GetItemWithError(kwargs,
                                                 st->names[CA_STR_loop]);
        if (PyDict_GET_SIZE(kwargs) == (loop != NULL) + (limit != NULL) &&
            ca_future_native_loop(st, loop) != NULL &&
            init_limit(self, limit)) {
            self->loop = Py_NewRef(loop);
            return 0;
        }
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    PyObject *done = ca_stock_call_tuple(
        st->StreamReader, st->names[CA_STR___init__], op, args, kwargs);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
reader_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaReader *self = (CaReader *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->limit_given);
    Py_VISIT(self->exception);
    Py_VISIT(self->transport);
    Py_VISIT(self->waiter);
    Py_VISIT(self->in.array);
    return 0;
}

static int
reader_tp_clear(PyObject *op)
{
    CaReader *self = (CaReader *)op;
    if (self->fed_by != NULL) {
        self->fed_by->reader_ref = NULL;
        self->fed_by = NULL;
    }
    Py_CLEAR(self->loop);
    Py_CLEAR(self->limit_given);
    Py_CLEAR(self->in.array);
    Py_CLEAR(self->in.chunk);
    if (self->exception != NULL) {
        Py_SETREF(self->exception, Py_NewRef(Py_None));
    }
    if (self->transport != NULL) {
        Py_SETREF(self->transport, Py_NewRef(Py_None));
    }
    if (self->waiter != NULL) {
        Py_SETREF(self->waiter, Py_NewRef(Py_None));
    }
    return 0;
}

static void
reader_tp_dealloc(PyObject *op)
{
    CaReader *self = (CaReader *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)reader_tp_clear(op);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->waiter);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, (void *)reader_doc},
    {Py_tp_new, reader_tp_new},
    {Py_tp_init, reader_tp_init},
    {Py_tp_traverse, reader_tp_traverse},
    {Py_tp_clear, reader_tp_clear},
    {Py_tp_dealloc, reader_tp_dealloc},
    {Py_tp_setattro, reader_tp_setattro},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, reader_am_anext},
    {Py_tp_methods, reader_methods},
    {Py_tp_getset, reader_getset},
    {Py_tp_members, reader_members},
    {0, NULL},
};

PyType_Spec ca_reader_spec = {
    .name = "casyncio._native.StreamReader",
    .basicsize = sizeof(CaReader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = reader_slots,
};
