/* stream_read.c - from a readable descriptor to the protocol.
 *
 * One receive per readiness: the watch is level-triggered, so what is left is
 * reported again in the next turn and no connection starves the others.  The
 * end of the stream goes through the ready queue, behind what is queued.
 */
#include "py/errors.h"
#include "transport/reader_feed.h"
#include "transport/stream.h"
#include "transport/tls.h"

#include <errno.h>
#include <sys/socket.h>

#define READ_FAILED "Fatal read error on socket transport"
#define UPDATED_FAILED "Fatal error: protocol.buffer_updated() call failed."
#define RECEIVED_FAILED "Fatal error: protocol.data_received() call failed."

static bool
wants_to_read(const CaStream *self)
{
    return self->started && !self->closing && !self->paused && !self->lost;
}

/* A socket object may be closed, or received from, by others.  A UNIX socket
 * that is closed with bytes in it resets its peer, and nothing else does. */
static ca_op_kind
reading_kind(const CaStream *self)
{
    return self->sock == NULL && self->family != AF_UNIX ? CA_OP_RECV
                                                         : CA_OP_POLL_IN;
}

int
ca_stream_share(CaStream *self)
{
    return self->reading && !self->loop->closed
               ? ca_watcher_start(self->loop, &self->watcher, self->fd,
                                  CA_OP_POLL_IN)
               : 0;
}

int
ca_stream_update_reading(CaStream *self)
{
    bool wanted = wants_to_read(self);
    if (wanted == self->reading) {
        return 0;
    }
    self->reading = wanted;
    if (!wanted) {
        ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_IN);
        return 0;
    }
    int result = ca_stream_fd(self) < 0
                     ? (ca_raise_errno(-EBADF), -1)
                     : ca_watcher_start(self->loop, &self->watcher, self->fd,
                                        reading_kind(self));
    self->reading = result == 0;
    return result;
}

/* ---- the end of the stream ---- */

/* Queue a method that ends reading, once. */
static int
queue_end(CaStream *self, int method, PyObject *arg)
{
    int result = ca_stream_queue_call(self, (PyObject *)self, method, arg);
    self->end_queued = result == 0;
    return result;
}

static int
queue_eof(CaStream *self)
{
    return queue_end(self, CA_STR__read_eof, Py_None);
}

/* Receiving failed with -errno, unless it was a false alarm.  The kernel tells
 * of a reset once, so it takes effect before anybody writes; that there is no
 * connection it tells again and again, and a write before has precedence. */
static int
receive_failed(CaStream *self, ssize_t err)
{
    if (ca_errno_is_try_later(err)) {
        return 0;
    }
    ca_raise_errno((int)err);
    if (err != -ENOTCONN) {
        return ca_stream_fail(self, READ_FAILED);
    }
    PyObject *exc = PyErr_GetRaisedException();
    int result = queue_end(self, CA_STR__read_failed, exc);
    Py_DECREF(exc);
    return result;
}

PyDoc_STRVAR(_read_failed_doc,
"_read_failed($self, exc, /)\n--\n\n"
"End the connection because receiving failed.");

static PyObject *
stream_py__read_failed(PyObject *op, PyObject *exc)
{
    CaStream *self = (CaStream *)op;
    self->end_queued = false;
    if (wants_to_read(self) && self->conn_lost == 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        if (ca_stream_fail(self, READ_FAILED) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_read_eof_doc,
"_read_eof($self, none, /)\n--\n\n"
"Tell the protocol that the peer sends no more.");

static PyObject *
stream_py__read_eof(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    self->end_queued = false;
    if (!wants_to_read(self)) {
        Py_RETURN_NONE;                /* found again when reading goes on */
    }
    if (self->loop->debug && ca_stream_tell(self, CA_STR__log_eof) < 0) {
        return NULL;
    }
    PyObject *told = Py_XNewRef(self->protocol);
    PyObject *keep = ca_stream_call(self, CA_STR_eof_received, NULL);
    int keep_open = keep == NULL ? -1 : PyObject_IsTrue(keep);
    Py_XDECREF(keep);
    self->end_is_news |= self->protocol != told;
    Py_XDECREF(told);
    int result;
    if (keep_open < 0) {
        result = ca_stream_fail(
            self, "Fatal error: protocol.eof_received() call failed.");
    } else if (keep_open == 0) {
        result = ca_stream_close(self);
    } else {
        self->started = false;         /* nothing more will come */
        self->ended = true;
        result = ca_stream_update_reading(self);
    }
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- data ---- */

/* recv() into memory, or with `where` to where that says, until any Python
 * runs; bytes, 0 at the end of the stream, or -errno. */
static ssize_t
receive(CaStream *self, char *buffer, size_t size, char **where)
{
    int fd = ca_stream_fd(self);
    return fd < 0 ? -EBADF
                  : ca_reactor_recv(&self->loop->reactor, fd, buffer, size,
                                    where);
}

ssize_t
ca_stream_receive(CaStream *self, char *buffer, size_t size)
{
    return receive(self, buffer, size, NULL);
}

/* To a reader without calling the protocol, if that can be: true, and *result
 * is 0 or -1. */
static bool
feed_reader(CaStream *self, const char *data, size_t nbytes, PyObject *object,
            int *result)
{
    if (self->protocol_kind != CA_PROTOCOL_READER) {
        return false;
    }
    PyObject *protocol = Py_NewRef(self->protocol);
    int fed = ca_reader_feed(self->loop->st, protocol, data, nbytes, object);
    Py_DECREF(protocol);
    *result = fed < 0 ? ca_stream_fail(self, RECEIVED_FAILED) : 0;
    return fed != 0;
}

/* Nothing was received: the end of the stream, or -errno. */
static int
received_none(CaStream *self, ssize_t n)
{
    return n == 0 ? queue_eof(self) : receive_failed(self, n);
}

static int
deliver(CaStream *self, PyObject *steal_data)
{
    PyObject *done = ca_stream_call(self, CA_STR_data_received, steal_data);
    ca_spares_give(&self->loop->spares, steal_data);
    if (done == NULL) {
        return ca_stream_fail(self, RECEIVED_FAILED);
    }
    Py_DECREF(done);
    return 0;
}

/* Receive much, where it stays. */
static int
read_bulk(CaStream *self)
{
    PyObject *data = PyBytes_FromStringAndSize(NULL, CA_READ_BUFFER_SIZE);
    if (data == NULL) {
        return ca_stream_fail(self, READ_FAILED);
    }
    ssize_t n = receive(self, PyBytes_AS_STRING(data), CA_READ_BUFFER_SIZE,
                        NULL);
    ca_loop_note_received(self->loop, n);
    if (n <= 0) {
        Py_DECREF(data);
        return received_none(self, n);
    }
    int result;
    if (_PyBytes_Resize(&data, n) < 0) {
        return ca_stream_fail(self, READ_FAILED);
    }
    if (!feed_reader(self, PyBytes_AS_STRING(data), (size_t)n, data,
                     &result)) {
        return deliver(self, data);
    }
    Py_DECREF(data);
    return result;
}

static int
read_data(CaStream *self)
{
    char *buffer = ca_loop_read_buffer(self->loop);
    if (buffer == NULL) {
        return -1;
    }
    ssize_t n = receive(self, buffer, CA_READ_BUFFER_SIZE, &buffer);
    ca_loop_note_received(self->loop, n);
    if (n <= 0) {
        return received_none(self, n);
    }
    int result;
    if (feed_reader(self, buffer, (size_t)n, NULL, &result)) {
        return result;
    }
    PyObject *data = ca_spares_take(&self->loop->spares, buffer, n);
    return data == NULL ? ca_stream_fail(self, READ_FAILED)
                        : deliver(self, data);
}

/* protocol.get_buffer(-1), writable and not empty; 0 or -1. */
static int
get_buffer(CaStream *self, Py_buffer *view)
{
    PyObject *hint = PyLong_FromLong(-1);
    PyObject *buffer = hint == NULL
                           ? NULL
                           : ca_stream_call(self, CA_STR_get_buffer, hint);
    Py_XDECREF(hint);
    if (buffer == NULL) {
        return -1;
    }
    Py_ssize_t length = PyObject_Length(buffer);
    int result = length < 0 ? -1 : 0;
    if (length == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
        result = -1;
    }
    if (result == 0) {
        result = PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE);
        if (result < 0) {
            view->obj = NULL;
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError,
                         "recv_into() argument 1 must be read-write "
                         "bytes-like object, not %.50s",
                         Py_TYPE(buffer)->tp_name);
            result = ca_stream_fail(self, READ_FAILED) < 0 ? -1 : 1;
        }
    }
    Py_DECREF(buffer);
    return result;
}

static int
read_into_buffer(CaStream *self)
{
    Py_buffer view;
    int result = get_buffer(self, &view);
    if (result != 0) {
        return result > 0 ? 0
                          : ca_stream_fail(self, "Fatal error: protocol."
                                                 "get_buffer() call failed.");
    }
    ssize_t n = receive(self, view.buf, (size_t)view.len, NULL);
    PyBuffer_Release(&view);
    if (n <= 0) {
        return received_none(self, n);
    }
    PyObject *nbytes = PyLong_FromSsize_t(n);
    PyObject *done = nbytes == NULL
                         ? NULL
                         : ca_stream_call(self, CA_STR_buffer_updated, nbytes);
    Py_XDECREF(nbytes);
    if (done == NULL) {
        return ca_stream_fail(self, UPDATED_FAILED);
    }
    Py_DECREF(done);
    return 0;
}

/* OpenSSL has received by itself; 0 or -1. */
static int
read_straight(CaStream *self, ssize_t received, int result)
{
    if (result < 0) {
        return ca_stream_fail(self, UPDATED_FAILED);
    }
    bool over = !wants_to_read(self) || self->conn_lost > 0;
    return received > 0 || over ? 0 : received_none(self, received);
}

static int
read_tls(CaStream *self)
{
    ssize_t received;
    int result;
    if (ca_tls_receive(self->protocol, self, &received, &result)) {
        return read_straight(self, received, result);
    }
    char *buffer = ca_tls_input(self->loop);
    if (buffer == NULL) {
        return -1;
    }
    ssize_t n = receive(self, buffer, CA_READ_BUFFER_SIZE, NULL);
    if (n <= 0) {
        return received_none(self, n);
    }
    return ca_tls_received(self->protocol, buffer, (size_t)n) == 0
               ? 0
               : ca_stream_fail(self, UPDATED_FAILED);
}

/* Whether much is expected, by somebody who takes it as an object. */
static bool
wants_bulk(const CaStream *self)
{
    return self->loop->bulk &&
           (self->protocol_kind == CA_PROTOCOL_DATA ||
            ca_reader_feed_keeps(self->loop->st, self->protocol));
}

int
ca_stream_read(CaStream *self)
{
    if (!wants_to_read(self) || self->conn_lost > 0 || self->end_queued) {
        return 0;
    }
    if (self->protocol_kind == CA_PROTOCOL_TLS) {
        return read_tls(self);
    }
    if (self->protocol_kind == CA_PROTOCOL_BUFFERED) {
        return read_into_buffer(self);
    }
    return wants_bulk(self) ? read_bulk(self) : read_data(self);
}

/* ---- methods ---- */

PyDoc_STRVAR(_read_ready_doc,
"_read_ready($self)\n--\n\n"
"Receive once and tell the protocol.");

static PyObject *
stream_py__read_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_stream_read((CaStream *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

/* Log in debug mode that reading was paused or goes on. */
static int
log_reading(CaStream *self, int which)
{
    return self->loop->debug ? ca_stream_tell(self, which) : 0;
}

PyDoc_STRVAR(pause_reading_doc,
"pause_reading($self)\n--\n\n"
"Stop calling the protocol with data until resume_reading().\n\n"
"Nothing that was received is lost.  Harmless when it is paused already.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Read-only Transports\".");

static PyObject *
stream_py_pause_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    if (self->closing || self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = true;
    if (ca_stream_update_reading(self) < 0 ||
        log_reading(self, CA_STR__log_pause) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(resume_reading_doc,
"resume_reading($self)\n--\n\n"
"Undo pause_reading().  Harmless when reading is not paused.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Read-only Transports\".");

static PyObject *
stream_py_resume_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    if (self->closing || !self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = false;
    if (self->end_is_news) {           /* it is found again */
        self->end_is_news = false;
        self->started = true;
    }
    if (ca_stream_update_reading(self) < 0 ||
        log_reading(self, CA_STR__log_resume) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(is_reading_doc,
"is_reading($self)\n--\n\n"
"Return whether data may come: neither paused nor closing.");

static PyObject *
stream_py_is_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    return PyBool_FromLong(!self->closing && !self->paused);
}

PyMethodDef ca_stream_read_methods[] = {
    {"_read_ready", stream_py__read_ready, METH_NOARGS, _read_ready_doc},
    {"_read_failed", stream_py__read_failed, METH_O, _read_failed_doc},
    {"_read_eof", stream_py__read_eof, METH_O, _read_eof_doc},
    {"pause_reading", stream_py_pause_reading, METH_NOARGS,
     pause_reading_doc},
    {"resume_reading", stream_py_resume_reading, METH_NOARGS,
     resume_reading_doc},
    {"is_reading", stream_py_is_reading, METH_NOARGS, is_reading_doc},
    {0},
};
