/* stream_write.c - from write() to the kernel, and flow control.
 *
 * A write is offered to the kernel at once.  If the same callback writes a
 * second time, the transport has shown that its writes come in groups: from
 * then on what a callback writes is held back until it is done and leaves in
 * one system call (docs/decisions tells what that is worth).  When a few
 * callbacks in a row write only once, it goes back to sending at once.
 */
#include "loop/handle.h"
#include "loop/held.h"
#include "py/errors.h"
#include "transport/acceptor.h"
#include "transport/flow.h"
#include "transport/stream.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

#define WRITE_FAILED "Fatal write error on socket transport"

enum {
    HELD_LIMIT = 64 * 1024,            /* more than this leaves at once */
    LOST_WRITES_LOGGED = 5,            /* asyncio.constants */
};

/* ---- flow control ---- */

int
ca_stream_maybe_pause(CaStream *self)
{
    if ((int64_t)ca_stream_buffered(self) <= ca_stream_high(self) ||
        self->protocol_paused || self->protocol == NULL) {
        return 0;
    }
    self->protocol_paused = true;
    return ca_flow_tell(self->loop->st, (PyObject *)self, self->protocol,
                        self->context, CA_STR_pause_writing);
}

int
ca_stream_maybe_resume(CaStream *self)
{
    if (!self->protocol_paused ||
        (int64_t)ca_stream_buffered(self) > ca_stream_low(self) ||
        self->protocol == NULL) {
        return 0;
    }
    self->protocol_paused = false;
    return ca_flow_tell(self->loop->st, (PyObject *)self, self->protocol, NULL,
                        CA_STR_resume_writing);
}

/* ---- sending ---- */

static ssize_t
send_vector(const void *Py_UNUSED(to), int fd, const struct iovec *iov,
            int n_iov)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)iov,
                                   .msg_iovlen = (size_t)n_iov};
    ssize_t n = n_iov == 1
                    ? send(fd, iov->iov_base, iov->iov_len,
                           MSG_NOSIGNAL | MSG_DONTWAIT)
                    : sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

/* Offer the queue until it is empty or the kernel refuses; 0 or -errno. */
static ssize_t
send_all(CaStream *self)
{
    int fd = ca_stream_fd(self);
    return fd < 0 ? -EBADF
                  : ca_wqueue_drain(&self->out, send_vector, self, fd);
}

static int
wait_for_room(CaStream *self)
{
    if (self->blocked) {
        return 0;
    }
    int result = ca_watcher_start(self->loop, &self->watcher, self->fd,
                                  CA_OP_POLL_OUT);
    self->blocked = result == 0;
    return result;
}

static void
stop_waiting(CaStream *self)
{
    if (self->blocked) {
        self->blocked = false;
        ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_OUT);
    }
}

void
ca_stream_drop_output(CaStream *self)
{
    ca_dlist_unlink(&self->held.node);
    ca_wqueue_clear(&self->out);
    stop_waiting(self);
}

/* A reset is told once: to who receives, if that was before. */
static int
send_failed(CaStream *self, ssize_t err)
{
    if (err == -EPIPE) {
        ptrdiff_t told = ca_reactor_recv(&self->loop->reactor, self->fd, NULL,
                                         0, NULL);
        err = ca_errno_is_try_later(told) ? err : told;
    }
    ca_raise_errno((int)err);
    return ca_stream_fail(self, WRITE_FAILED);
}

int
ca_stream_flush(CaStream *self)
{
    if (!ca_stream_is_held(self)) {
        return 0;
    }
    ca_dlist_unlink(&self->held.node);
    ca_gathering_note_flush(&self->gathering, ca_wqueue_count(&self->out));
    ssize_t err = send_all(self);
    if (err == 0) {
        return 0;
    }
    if (!ca_errno_is_try_later(err)) {
        return send_failed(self, err);
    }
    return wait_for_room(self) < 0 ? -1 : ca_stream_maybe_pause(self);
}

int
ca_stream_flush_held(ca_held *held)
{
    CaStream *self = CA_CONTAINER_OF(held, CaStream, held);
    Py_INCREF(self);
    int result = ca_stream_flush(self);
    if (result < 0) {
        result = ca_handle_report_method(self->loop, (PyObject *)self,
                                         CA_STR__write_ready, self->context);
    }
    Py_DECREF(self);
    return result;
}

/* What a future that waits for the empty queue gets: None, or the exception
 * that is set if `failed`. */
static int
settle_empty_waiter(CaStream *self)
{
    if (!ca_stream_has_empty_waiter(self)) {
        return 0;
    }
    PyObject *done = PyObject_CallMethodOneArg(
        self->empty_waiter, ca_stream_name_borrow(self, CA_STR_set_result),
        Py_None);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The queue has become empty: what was put off until then. */
static int
output_is_empty(CaStream *self)
{
    stop_waiting(self);
    if (settle_empty_waiter(self) < 0) {
        return -1;
    }
    if (self->closing) {
        return ca_stream_queue_lost(self, Py_None);
    }
    if (self->eof && shutdown(ca_stream_fd(self), SHUT_WR) < 0) {
        ca_raise_errno(-errno);
        return -1;
    }
    return 0;
}

int
ca_stream_send_more(CaStream *self)
{
    if (self->conn_lost > 0 || !self->blocked) {
        return 0;
    }
    ssize_t err = send_all(self);
    if (err != 0 && !ca_errno_is_try_later(err)) {
        return send_failed(self, err);
    }
    Py_INCREF(self);
    int result = ca_stream_maybe_resume(self);
    if (result == 0 && ca_wqueue_count(&self->out) == 0 && self->blocked) {
        result = output_is_empty(self);
    }
    Py_DECREF(self);
    return result;
}

/* ---- taking bytes from the user ---- */

/* The connection is gone: count, and warn as stock does. */
static int
write_lost(CaStream *self)
{
    int result = self->conn_lost < LOST_WRITES_LOGGED
                     ? 0
                     : ca_stream_tell(self, CA_STR__log_lost);
    self->conn_lost++;
    return result;
}

/* Whether this write may wait for the end of the callback. */
static bool
may_hold(CaStream *self, size_t nbytes)
{
    CaLoop *loop = self->loop;
    if (!loop->in_callback || nbytes >= HELD_LIMIT) {
        return false;
    }
    if (ca_gathering_note_write(&self->gathering, loop)) {
        ca_acceptor_note_gathering(self->acceptor);
    }
    return self->gathering.on;
}

/* Nothing waits: send; bytes or -errno. */
static ssize_t
send_at_once(CaStream *self, const char *data, size_t nbytes)
{
    int fd = ca_stream_fd(self);
    ssize_t n = fd < 0 ? -1
                       : send(fd, data, nbytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == (ssize_t)nbytes) {
        ca_gathering_note_send(&self->gathering, self->loop);
    }
    return n >= 0 ? n : fd < 0 ? -EBADF : -errno;
}

/* Keep what the kernel refused, unless it was for good. */
static int
keep_refused(CaStream *self, PyObject *op, const char *data, size_t nbytes,
             ssize_t err)
{
    if (!ca_errno_is_try_later(err)) {
        return send_failed(self, err);
    }
    if (ca_wqueue_keep(&self->out, op, data, nbytes) < 0 ||
        wait_for_room(self) < 0) {
        return -1;
    }
    return ca_stream_maybe_pause(self);
}

static int
write_at_once(CaStream *self, PyObject *op, const char *data, size_t nbytes)
{
    ssize_t n = send_at_once(self, data, nbytes);
    if (n == (ssize_t)nbytes) {
        return 0;
    }
    size_t sent = n < 0 ? 0 : (size_t)n;
    return keep_refused(self, op, data + sent, nbytes - sent,
                        n < 0 ? n : -EAGAIN);
}

static int
write_bytes(CaStream *self, PyObject *op, const char *data, size_t nbytes)
{
    if (nbytes == 0) {
        return 0;
    }
    if (self->conn_lost > 0) {
        return write_lost(self);
    }
    bool held = ca_stream_is_held(self);
    if (ca_wqueue_count(&self->out) == 0 && !may_hold(self, nbytes)) {
        return write_at_once(self, op, data, nbytes);
    }
    if (ca_wqueue_keep(&self->out, op, data, nbytes) < 0) {
        return -1;
    }
    if (self->blocked) {
        return ca_stream_maybe_pause(self);
    }
    if (!held) {
        ca_dlist_append(&self->loop->held, &self->held.node);
    }
    return ca_wqueue_nbytes(&self->out) < HELD_LIMIT ? 0
                                                     : ca_stream_flush(self);
}

/* RuntimeError when nothing may be written now; 0 or -1. */
static int
check_writable(CaStream *self, const char *words)
{
    if (self->eof) {
        PyErr_Format(PyExc_RuntimeError, "Cannot call %s() after write_eof()",
                     words);
        return -1;
    }
    if (ca_stream_has_empty_waiter(self)) {
        PyErr_Format(PyExc_RuntimeError,
                     "unable to %s; sendfile is in "
                     "progress",
                     words);
        return -1;
    }
    return 0;
}

int
ca_stream_write_memory(CaStream *self, const char *data, size_t nbytes)
{
    return check_writable(self, "write") < 0
               ? -1
               : write_bytes(self, NULL, data, nbytes);
}

ssize_t
ca_stream_offer(CaStream *self, const char *data, size_t nbytes)
{
    bool ready = self->conn_lost == 0 && !self->eof &&
                 !ca_stream_has_empty_waiter(self) &&
                 ca_wqueue_count(&self->out) == 0 && !may_hold(self, nbytes);
    return ready ? send_at_once(self, data, nbytes) : 0;
}

int
ca_stream_refused(CaStream *self, const char *data, size_t nbytes, ssize_t err)
{
    return self->conn_lost > 0 ? write_lost(self)
                               : keep_refused(self, NULL, data, nbytes, err);
}

/* Write what any object with a buffer holds. */
static int
write_object(CaStream *self, PyObject *data)
{
    if (PyBytes_CheckExact(data)) {
        return write_bytes(self, data, PyBytes_AS_STRING(data),
                           (size_t)PyBytes_GET_SIZE(data));
    }
    Py_buffer view;
    if (PyMemoryView_Check(data)) {
        int some = PyObject_IsTrue(data); /* raises when it was released */
        if (some <= 0) {
            return some;
        }
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return self->conn_lost > 0 ? (PyErr_Clear(), write_lost(self))
                                   : ca_stream_fail(self, WRITE_FAILED);
    }
    int result = write_bytes(self, data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return result;
}

/* In stock's words, which are not those of every Python: its write() looks at
 * the data first.  It gets no transport, lest it do more than that. */
static int
refuse_type(const CaStream *self, PyObject *data)
{
    const ca_state *st = ca_state_of_type(Py_TYPE(self));
    if (st == NULL) {
        return -1;
    }
    PyObject *done = ca_stock_call(st->StockSocketTransport,
                                   st->names[CA_STR_write], Py_None, &data, 1,
                                   NULL);
    if (done == NULL && PyErr_ExceptionMatches(PyExc_TypeError)) {
        return -1;
    }
    Py_XDECREF(done);
    PyErr_SetString(PyExc_TypeError,
                    "data argument must be a bytes-like object");
    return -1;
}

int
ca_stream_write(CaStream *self, PyObject *data)
{
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        return refuse_type(self, data);
    }
    return check_writable(self, "write") < 0 ? -1 : write_object(self, data);
}

PyDoc_STRVAR(write_doc,
"write($self, data)\n--\n\n"
"Send bytes; what the kernel does not take now is buffered.\n\n"
"It leaves at once, or, when this connection writes in groups, at the end of\n"
"the callback that runs.  `data` may be changed afterwards.\n\n"
"Units: data is a bytes, bytearray or memoryview.\n"
"Errors: TypeError for other data, RuntimeError after write_eof().  On a\n"
"connection that is lost nothing happens, with a warning from the fifth on.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
stream_py_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    CaStream *self = (CaStream *)op;
    PyObject *data = ca_stream_one_borrow(self, CA_STR_write, CA_STR_data,
                                          args, nargs, kwnames);
    if (data == NULL) {
        return NULL;
    }
    return ca_stream_write(self, data) < 0 ? NULL : Py_NewRef(Py_None);
}

/* The method of the class is that function. */
static bool
is_method(PyObject *cls, PyObject *name, PyCFunction function)
{
    PyObject *found = PyObject_GetAttr(cls, name);
    bool same = found != NULL && Py_IS_TYPE(found, &PyMethodDescr_Type) &&
                ((PyMethodDescrObject *)found)->d_method->ml_meth == function;
    PyErr_Clear();
    Py_XDECREF(found);
    return same;
}

bool
ca_stream_ask_class(ca_state *st)
{
    PyObject *cls = st->SocketTransport;
    st->transport_plain = is_method(
                              cls, st->names[CA_STR_write],
                              (PyCFunction)(void (*)(void))stream_py_write) &&
                          is_method(cls, st->names[CA_STR_is_closing],
                                    ca_stream_py_is_closing);
    st->transport_type = ca_typetag_of((PyTypeObject *)cls);
    return st->transport_plain;
}

PyDoc_STRVAR(writelines_doc,
"writelines($self, list_of_data)\n--\n\n"
"Send an iterable of bytes, in one system call where possible.\n\n"
"Everything else as in write().");

static int
write_line(PyObject *op, PyObject *data)
{
    return write_object((CaStream *)op, data);
}

/* Write each object, so that they leave together. */
static int
write_each(CaStream *self, PyObject *lines)
{
    int result = ca_flow_write_each(self->loop, &self->gathering, lines,
                                    write_line, (PyObject *)self);
    return result < 0 ? -1 : ca_stream_flush(self);
}

static int
refuse_line(Py_ssize_t i, PyObject *data)
{
    const char *name = Py_TYPE(data)->tp_name;
    if (CA_WRITELINES_JOINS) {
        PyErr_Format(PyExc_TypeError,
                     "sequence item %zd: expected a bytes-like object, "
                     "%.80s found",
                     i, name);
    } else {
        PyErr_Format(PyExc_TypeError,
                     "memoryview: a bytes-like object is required, "
                     "not '%.200s'",
                     name);
    }
    return -1;
}

/* The objects of an iterable, as a list or tuple. */
static PyObject *
lines_of(PyObject *iterable)
{
    if (CA_WRITELINES_JOINS || PyList_Check(iterable) ||
        PyTuple_Check(iterable)) {
        return PySequence_Fast(iterable, "can only join an iterable");
    }
    return PySequence_List(iterable);  /* with another error */
}

/* All of them are bytes-like; 0 or -1. */
static int
check_lines(PyObject *lines)
{
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(lines); i++) {
        PyObject *data = PySequence_Fast_GET_ITEM(lines, i);
        if (!PyObject_CheckBuffer(data)) {
            return refuse_line(i, data);
        }
    }
    return 0;
}

static PyObject *
stream_py_writelines(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    CaStream *self = (CaStream *)op;
    PyObject *list_of_data = ca_stream_one_borrow(
        self, CA_STR_writelines, CA_STR_list_of_data, args, nargs, kwnames);
    if (list_of_data == NULL) {
        return NULL;
    }
    if (!CA_WRITELINES_JOINS && check_writable(self, "writelines") < 0) {
        return NULL;
    }
    int some = CA_WRITELINES_JOINS ? 1 : PyObject_IsTrue(list_of_data);
    if (some <= 0) {
        return some < 0 ? NULL : Py_NewRef(Py_None);
    }
    PyObject *lines = lines_of(list_of_data);
    int result = lines == NULL ? -1 : check_lines(lines);
    if (CA_WRITELINES_JOINS && result == 0) {
        result = check_writable(self, "write");
    }
    if (result == 0) {
        result = write_each(self, lines);
    }
    Py_XDECREF(lines);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(write_eof_doc,
"write_eof($self)\n--\n\n"
"Close the sending side when everything buffered is sent.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
stream_py_write_eof(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    if (self->closing || self->eof) {
        Py_RETURN_NONE;
    }
    if (ca_stream_flush(self) < 0) {
        return NULL;
    }
    self->eof = true;
    if (ca_wqueue_count(&self->out) == 0 && self->conn_lost == 0 &&
        shutdown(ca_stream_fd(self), SHUT_WR) < 0) {
        return ca_raise_errno(-errno);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(can_write_eof_doc,
"can_write_eof($self)\n--\n\n"
"Return True.");

static PyObject *
stream_py_can_write_eof(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(none))
{
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(get_write_buffer_size_doc,
"get_write_buffer_size($self)\n--\n\n"
"Return how many bytes wait because the kernel did not take them.");

static PyObject *
stream_py_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyLong_FromSize_t(ca_stream_buffered((CaStream *)op));
}

PyDoc_STRVAR(get_write_buffer_limits_doc,
"get_write_buffer_limits($self)\n--\n\n"
"Return (low, high), in bytes.");

static PyObject *
stream_py_get_write_buffer_limits(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    if (self->limits != NULL) {
        return Py_NewRef(self->limits->pair);
    }
    return Py_BuildValue("(ii)", CA_DEFAULT_LOW, CA_DEFAULT_HIGH);
}

void
ca_limits_free(ca_limits **limits)
{
    ca_limits *old = *limits;
    *limits = NULL;
    if (old != NULL) {
        Py_DECREF(old->pair);
        PyMem_Free(old);
    }
}

PyDoc_STRVAR(_set_limits_doc,
"_set_limits($self, high, low, /)\n--\n\n"
"Set the watermarks, which were checked; pause the protocol if it is due.");

static PyObject *
stream_py__set_limits(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaStream *self = (CaStream *)op;
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_set_limits() takes two numbers");
        return NULL;
    }
    double high = PyFloat_AsDouble(args[0]);
    double low = PyFloat_AsDouble(args[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    ca_limits *limits = PyMem_Malloc(sizeof(*limits));
    if (limits == NULL) {
        return PyErr_NoMemory();
    }
    limits->high = high < 9e18 ? (int64_t)high : INT64_MAX;
    limits->low = low < 9e18 ? (int64_t)low : INT64_MAX;
    limits->pair = PyTuple_Pack(2, args[1], args[0]);
    if (limits->pair == NULL) {
        PyMem_Free(limits);
        return NULL;
    }
    ca_limits_free(&self->limits);
    self->limits = limits;
    return ca_stream_maybe_pause(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_write_ready_doc,
"_write_ready($self)\n--\n\n"
"Send more of what is buffered.");

static PyObject *
stream_py__write_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_stream_send_more((CaStream *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_flush_doc,
"_flush($self)\n--\n\n"
"Send what is held back until the end of the callback.");

static PyObject *
stream_py__flush(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_stream_flush((CaStream *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef ca_stream_write_methods[] = {
    {"write", (PyCFunction)(void (*)(void))stream_py_write,
     METH_FASTCALL | METH_KEYWORDS, write_doc},
    {"writelines", (PyCFunction)(void (*)(void))stream_py_writelines,
     METH_FASTCALL | METH_KEYWORDS, writelines_doc},
    {"write_eof", stream_py_write_eof, METH_NOARGS, write_eof_doc},
    {"can_write_eof", stream_py_can_write_eof, METH_NOARGS, can_write_eof_doc},
    {"get_write_buffer_size", stream_py_get_write_buffer_size, METH_NOARGS,
     get_write_buffer_size_doc},
    {"get_write_buffer_limits", stream_py_get_write_buffer_limits, METH_NOARGS,
     get_write_buffer_limits_doc},
    {"_set_limits", (PyCFunction)(void (*)(void))stream_py__set_limits,
     METH_FASTCALL, _set_limits_doc},
    {"_write_ready", stream_py__write_ready, METH_NOARGS, _write_ready_doc},
    {"_flush", stream_py__flush, METH_NOARGS, _flush_doc},
    {0},
};
