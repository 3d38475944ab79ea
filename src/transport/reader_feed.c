/* reader_feed.c - see reader_feed.h.
 *
 * StreamReaderProtocol.data_received() and StreamReader.feed_data() are two
 * calls of Python and an object for the bytes per message.  Their effect on
 * the reader is done here, on the reader's own attributes, when nobody can
 * tell the difference: both objects are of exactly asyncio's classes, the
 * classes have not been changed since import (their version tags tell) and
 * neither object has a method of its own.
 */
#include "transport/reader_feed.h"

#include "task/task.h"

#include <string.h>

int
ca_reader_feed_init(ca_state *st)
{
    PyObject **names = st->names;
    st->feed_method = PyObject_GetAttr(st->StreamReader,
                                       names[CA_STR_feed_data]);
    st->received_method = PyObject_GetAttr(st->StreamReaderProtocol,
                                           names[CA_STR_data_received]);
    if (st->feed_method == NULL || st->received_method == NULL) {
        return -1;
    }
    st->reader_type = ca_typetag_of((PyTypeObject *)st->StreamReader);
    st->reader_protocol_type = ca_typetag_of(
        (PyTypeObject *)st->StreamReaderProtocol);
    return 0;
}

static bool
unchanged(PyObject *op, PyObject *type, ca_typetag tag)
{
    return (PyObject *)Py_TYPE(op) == type &&
           ca_typetag_holds(tag, Py_TYPE(op));
}

bool
ca_reader_feed_keeps(const ca_state *st, PyObject *protocol)
{
    return Py_TYPE(protocol) == st->StreamProtocolClass ||
           (st->StreamProtocolType != NULL &&
            PyObject_TypeCheck(protocol, st->StreamProtocolType));
}

/* Whether `protocol` is exactly asyncio's. */
static bool
is_stock(const ca_state *st, PyObject *protocol)
{
    return unchanged(protocol, st->StreamReaderProtocol,
                     st->reader_protocol_type);
}

bool
ca_reader_feed_serves(const ca_state *st, PyObject *protocol)
{
    return ca_reader_feed_keeps(st, protocol) || is_stock(st, protocol);
}

/* Whether op.name is still the method of its class. */
static bool
has_own_method(PyObject *op, PyObject *name, PyObject *method)
{
    PyObject *found;
    bool unbound = ca_object_get_method(op, name, &found) == 1;
    bool own = !unbound || found != method;
    if (found == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(found);
    return own;
}

/* The reader behind a protocol if it may be fed; strong or NULL. */
static PyObject *
usual_reader(ca_state *st, PyObject *protocol)
{
    if (!is_stock(st, protocol) ||
        has_own_method(protocol, st->names[CA_STR_data_received],
                       st->received_method)) {
        return NULL;
    }
    PyObject *weak = PyObject_GetAttr(protocol,
                                      st->names[CA_STR__stream_reader_wr]);
    PyObject *reader = NULL;
    if (weak == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (PyWeakref_CheckRef(weak)) {
        (void)PyWeakref_GetRef(weak, &reader);
    }
    Py_DECREF(weak);
    if (reader != NULL &&
        (!unchanged(reader, st->StreamReader, st->reader_type) ||
         has_own_method(reader, st->names[CA_STR_feed_data],
                        st->feed_method))) {
        Py_CLEAR(reader);
    }
    return reader;
}

/* Append to reader._buffer; its new size, 0: not as usual, -1. */
static Py_ssize_t
append(ca_state *st, PyObject *reader, const char *data, size_t nbytes)
{
    PyObject *eof = PyObject_GetAttr(reader, st->names[CA_STR__eof]);
    PyObject *buffer = PyObject_GetAttr(reader, st->names[CA_STR__buffer]);
    Py_ssize_t size = 0;
    if (eof == Py_False && buffer != NULL && PyByteArray_CheckExact(buffer)) {
        Py_ssize_t before = PyByteArray_GET_SIZE(buffer);
        size = before + (Py_ssize_t)nbytes;
        if (PyByteArray_Resize(buffer, size) < 0) {
            size = -1;
        } else {
            memcpy(PyByteArray_AS_STRING(buffer) + before, data, nbytes);
        }
    }
    Py_XDECREF(eof);
    Py_XDECREF(buffer);
    if (size == 0) {
        PyErr_Clear();
    }
    return size;
}

/* waiter.set_result(None) unless it was cancelled; 0 or -1. */
static int
wake(ca_state *st, PyObject *waiter)
{
    if (st->FutureType != NULL && Py_IS_TYPE(waiter, st->FutureType)) {
        CaFuture *fut = (CaFuture *)waiter;
        if (fut->state == CA_PENDING) {
            return ca_future_finish(st, fut, Py_None);
        }
    }
    PyObject *cancelled = PyObject_CallMethodNoArgs(
        waiter, st->names[CA_STR_cancelled]);
    int skip = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (skip != 0) {
        return skip < 0 ? -1 : 0;
    }
    PyObject *done = PyObject_CallMethodOneArg(
        waiter, st->names[CA_STR_set_result], Py_None);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
wake_waiter(ca_state *st, PyObject *reader)
{
    PyObject *name = st->names[CA_STR__waiter];
    PyObject *waiter = PyObject_GetAttr(reader, name);
    int result = waiter == NULL ? -1 : 0;
    if (result == 0 && waiter != Py_None) {
        result = PyObject_SetAttr(reader, name, Py_None);
        if (result == 0) {
            result = wake(st, waiter);
        }
    }
    Py_XDECREF(waiter);
    return result;
}

/* The transport was asked to pause; one that cannot is not asked again.  0, or
 * -1 with the exception that is set. */
static int
note_paused(ca_state *st, PyObject *reader, bool done)
{
    if (done) {
        return PyObject_SetAttr(reader, st->names[CA_STR__paused], Py_True);
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
        return -1;
    }
    PyErr_Clear();
    return PyObject_SetAttr(reader, st->names[CA_STR__transport], Py_None);
}

/* Whether more than twice the limit waits; 0, 1 or -1. */
static int
is_too_much(ca_state *st, PyObject *reader, Py_ssize_t size)
{
    PyObject *limit = PyObject_GetAttr(reader, st->names[CA_STR__limit]);
    if (limit == NULL) {
        return -1;
    }
    int huge = -1;
    long n = PyLong_CheckExact(limit) ? PyLong_AsLongAndOverflow(limit, &huge)
                                      : 0;
    double most = huge == 0 ? (double)n : PyFloat_AsDouble(limit);
    Py_DECREF(limit);
    if (huge != 0 && most == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    return (double)size > 2 * most;
}

/* Pause the transport when more than twice the limit waits; 0 or -1. */
static int
limit_reader(ca_state *st, PyObject *reader, Py_ssize_t size)
{
    int too_much = is_too_much(st, reader, size);
    if (too_much <= 0) {
        return too_much;
    }
    PyObject *transport = PyObject_GetAttr(reader,
                                           st->names[CA_STR__transport]);
    PyObject *paused = PyObject_GetAttr(reader, st->names[CA_STR__paused]);
    int skip = transport == NULL || paused == NULL ? -1
               : transport == Py_None              ? 1
                                                   : PyObject_IsTrue(paused);
    int result = skip < 0 ? -1 : 0;
    if (skip == 0) {
        PyObject *done = PyObject_CallMethodNoArgs(
            transport, st->names[CA_STR_pause_reading]);
        result = note_paused(st, reader, done != NULL);
        Py_XDECREF(done);
    }
    Py_XDECREF(transport);
    Py_XDECREF(paused);
    return result;
}

int
ca_reader_feed(ca_state *st, PyObject *protocol, const char *data,
               size_t nbytes, PyObject *object)
{
    if (ca_reader_feed_keeps(st, protocol)) {
        return ca_stream_protocol_feed(protocol, data, nbytes, object);
    }
    PyObject *reader = usual_reader(st, protocol);
    if (reader == NULL) {
        return 0;
    }
    Py_ssize_t size = append(st, reader, data, nbytes);
    int result = size > 0 ? 1 : (int)size;
    if (size > 0 &&
        (wake_waiter(st, reader) < 0 || limit_reader(st, reader, size) < 0)) {
        result = -1;
    }
    Py_DECREF(reader);
    return result;
}
