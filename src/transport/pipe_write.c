/* pipe_write.c - the writing end of a pipe, see pipe.h.
 *
 * The reader's end is watched too: a pipe whose readers are gone, or a socket
 * that has anything to read, is readable, and that closes the transport.
 *
 * Bytes that are held count as sent for flow control, since the kernel has not
 * refused them.  Only a transport that is watched holds any: it cannot die
 * with them.  In debug mode nothing is held.
 */
#include "py/errors.h"
#include "transport/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/uio.h>
#include <unistd.h>

#define WRITE_FAILED "Fatal write error on pipe transport"

enum {
    LOST_WRITES_LOGGED = 5,            /* asyncio.constants */
};

static bool
is_held(const CaWritePipe *self)
{
    return ca_dlist_linked(&self->held.node);
}

/* ---- the kernel ---- */

static ssize_t
send_vector(const void *to, int fd, const struct iovec *iov, int n_iov)
{
    ssize_t n;
    if (!((const CaPipe *)to)->slow) {
        n = n_iov == 1 ? write(fd, iov->iov_base, iov->iov_len)
                       : writev(fd, iov, n_iov);
        return n < 0 ? -errno : n;
    }
    Py_BEGIN_ALLOW_THREADS
    n = writev(fd, iov, n_iov);
    n = n < 0 ? -errno : n;
    Py_END_ALLOW_THREADS
    return n;
}

/* Offer the queue until it is empty or the kernel refuses; 0 or -errno. */
static ssize_t
send_all(CaWritePipe *self, int fd)
{
    return fd < 0 ? -EBADF
                  : ca_wqueue_drain(&self->out, send_vector, self, fd);
}

/* ---- waiting for room ---- */

static int
wait_for_room(CaWritePipe *self)
{
    int result = ca_pipe_watch(&self->base, CA_OP_POLL_OUT,
                               &self->out_context);
    self->blocked = result == 0;
    return result;
}

static void
stop_waiting(CaWritePipe *self)
{
    if (self->blocked) {
        self->blocked = false;
        ca_watcher_stop(self->base.loop, &self->base.watcher, self->base.fd,
                        CA_OP_POLL_OUT);
    }
}

static int flush(CaWritePipe *self);

static void
drop_output(CaWritePipe *self)
{
    ca_dlist_unlink(&self->held.node);
    ca_wqueue_clear(&self->out);
    stop_waiting(self);
}

/* Close now, offering what is held once; the protocol is told `exc`. */
static int
close_with(CaWritePipe *self, PyObject *exc)
{
    if (flush(self) < 0) {
        return -1;
    }
    if (self->base.loop == NULL) {
        return 0;
    }
    self->base.closing = true;
    drop_output(self);
    ca_pipe_stop_reading(&self->base);
    return ca_pipe_call_soon(&self->base, (PyObject *)self,
                             CA_STR__call_connection_lost, exc);
}

static int
send_failed(CaWritePipe *self, ssize_t err)
{
    ca_raise_errno((int)err);
    self->conn_lost++;
    return ca_pipe_fail(&self->base, WRITE_FAILED);
}

/* ---- readiness ---- */

/* As stock: the protocol is resumed when nothing is left, and not before. */
static int
send_more(CaPipe *op)
{
    CaWritePipe *self = (CaWritePipe *)op;
    int fd = ca_pipe_fd(op);
    if (!self->blocked || op->loop == NULL) {
        return 0;
    }
    ssize_t err = send_all(self, fd);
    if (err != 0) {
        if (ca_errno_is_try_later(err)) {
            return 0;
        }
        drop_output(self);
        return send_failed(self, err);
    }
    stop_waiting(self);
    if (self->protocol_paused &&
        ca_pipe_tell(op, CA_STR__maybe_resume_protocol) < 0) {
        return -1;
    }
    if (!op->closing || ca_wqueue_count(&self->out) > 0) {
        return 0;
    }
    ca_pipe_stop_reading(op);
    return ca_pipe_lose(op, Py_None);
}

/* The readers are gone. */
static int
reader_gone(CaPipe *op)
{
    CaWritePipe *self = (CaWritePipe *)op;
    if (!op->reading) {
        return 0;
    }
    if (op->loop->debug && ca_pipe_tell(op, CA_STR__log_closed) < 0) {
        return -1;
    }
    if (ca_wqueue_count(&self->out) == 0) {
        return close_with(self, Py_None);
    }
    PyObject *exc = PyObject_CallNoArgs(PyExc_BrokenPipeError);
    int result = exc == NULL ? -1 : close_with(self, exc);
    Py_XDECREF(exc);
    return result;
}

static int
write_pipe_ready(CaLoop *Py_UNUSED(loop), PyObject *op, ca_op_kind kind)
{
    CaPipe *self = (CaPipe *)op;
    if (kind == CA_OP_POLL_IN) {
        return ca_pipe_ready(self, self->context, CA_STR__read_ready,
                             reader_gone);
    }
    return ca_pipe_ready(self, ((CaWritePipe *)op)->out_context,
                         CA_STR__write_ready, send_more);
}

static const ca_watcher_vt watcher_vt = {
    .ready = write_pipe_ready,
    .offset = offsetof(CaPipe, watcher),
};

/* ---- flow control ---- */

static int
maybe_pause(CaWritePipe *self)
{
    return self->protocol_paused
               ? 0
               : ca_pipe_tell(&self->base, CA_STR__maybe_pause_protocol);
}

/* ---- holding back ---- */

/* Offer what is held to the kernel; 0 or -1. */
static int
flush(CaWritePipe *self)
{
    if (!is_held(self)) {
        return 0;
    }
    ca_dlist_unlink(&self->held.node);
    ca_gathering_note_flush(&self->gathering, ca_wqueue_count(&self->out));
    int fd = ca_pipe_fd(&self->base);
    if (self->base.pipe == NULL) {
        return 0;                      /* lost in the meantime */
    }
    ssize_t err = send_all(self, fd);
    if (err == 0) {
        return 0;
    }
    if (!ca_errno_is_try_later(err)) {
        ca_wqueue_clear(&self->out);
        return send_failed(self, err);
    }
    if (wait_for_room(self) < 0) {
        ca_wqueue_clear(&self->out);
        return -1;
    }
    return maybe_pause(self);
}

static int
flush_now(CaPipe *op)
{
    return flush((CaWritePipe *)op);
}

/* The callback that wrote is done: as if in its context. */
static int
flush_held(ca_held *held)
{
    CaWritePipe *self = CA_CONTAINER_OF(held, CaWritePipe, held);
    int result = 0;
    Py_INCREF(self);
    if (self->base.loop != NULL) {
        result = ca_pipe_act(&self->base, self->out_context,
                             CA_STR__write_ready, flush_now);
    }
    ca_dlist_unlink(&held->node);
    Py_DECREF(self);
    return result;
}

/* Whether this write may wait for the end of the callback. */
static bool
may_hold(CaWritePipe *self, Py_ssize_t nbytes)
{
    CaLoop *loop = self->base.loop;
    if (!self->may_gather || !loop->in_callback || loop->debug ||
        !self->base.reading || nbytes > PIPE_BUF) {
        return false;
    }
    (void)ca_gathering_note_write(&self->gathering, loop);
    return self->gathering.on;
}

static int
hold(CaWritePipe *self, PyObject *data, const Py_buffer *view)
{
    PyObject *copy = PyContext_CopyCurrent();
    if (copy == NULL ||
        ca_wqueue_keep(&self->out, data, view->buf, (size_t)view->len) < 0) {
        Py_XDECREF(copy);
        return -1;
    }
    Py_XSETREF(self->out_context, copy);
    ca_dlist_append(&self->base.loop->held, &self->held.node);
    return 0;
}

/* ---- writing ---- */

/* Nothing waits: write at once, and keep what the kernel refuses. */
static int
write_at_once(CaWritePipe *self, int fd, PyObject *data, const Py_buffer *view)
{
    struct iovec iov = {.iov_base = view->buf, .iov_len = (size_t)view->len};
    ssize_t n = fd < 0 ? -EBADF : send_vector(&self->base, fd, &iov, 1);
    if (n == view->len) {
        ca_gathering_note_send(&self->gathering, self->base.loop);
        return 0;
    }
    if (n < 0 && !ca_errno_is_try_later(n)) {
        return send_failed(self, n);
    }
    n = n < 0 ? 0 : n;
    if (wait_for_room(self) < 0) {
        return -1;
    }
    if (ca_wqueue_keep(&self->out, data, (const char *)view->buf + n,
                       (size_t)(view->len - n)) < 0) {
        stop_waiting(self);
        return -1;
    }
    return maybe_pause(self);
}

/* The pipe is gone: count, and warn as stock does. */
static int
write_lost(CaWritePipe *self)
{
    PyObject *done = Py_None;
    if (self->conn_lost >= LOST_WRITES_LOGGED) {
        done = PyObject_CallMethod((PyObject *)self, "_log_lost", NULL);
        Py_XDECREF(done);
    }
    self->conn_lost++;
    return done == NULL ? -1 : 0;
}

/* Data whose bytes do not lie in a row: an error of the pipe when it is
 * written, and the caller's when it is appended, in stock's words. */
static int
refuse_buffer(CaWritePipe *self, PyObject *data)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (flush(self) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    if (self->conn_lost > 0 || self->base.closing) {
        Py_XDECREF(exc);
        return write_lost(self);       /* flushing failed and ended it */
    }
    ca_error_restore(exc);
    if (ca_wqueue_count(&self->out) == 0) {
        self->conn_lost++;
        return ca_pipe_fail(&self->base, WRITE_FAILED);
    }
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "can't concat %.100s to bytearray",
                 Py_TYPE(data)->tp_name);
    return -1;
}

/* Nothing is held. */
static int
write_free(CaWritePipe *self, int fd, PyObject *data, const Py_buffer *view)
{
    if (ca_wqueue_count(&self->out) > 0) {
        int result = ca_wqueue_keep(&self->out, data, view->buf,
                                    (size_t)view->len);
        return result < 0 ? -1 : maybe_pause(self);
    }
    return may_hold(self, view->len) ? hold(self, data, view)
                                     : write_at_once(self, fd, data, view);
}

/* Something is held.  A large write joins it, and all leaves. */
static int
write_held(CaWritePipe *self, PyObject *data, const Py_buffer *view)
{
    bool small = view->len <= PIPE_BUF;
    if (!small ||
        ca_wqueue_nbytes(&self->out) + (size_t)view->len <= PIPE_BUF) {
        int result = ca_wqueue_keep(&self->out, data, view->buf,
                                    (size_t)view->len);
        return result < 0 || small ? result : flush(self);
    }
    if (flush(self) < 0) {
        return -1;
    }
    int fd = ca_pipe_fd(&self->base);
    if (self->conn_lost > 0 || self->base.closing) {
        return write_lost(self);       /* flushing failed and ended it */
    }
    return write_free(self, fd, data, view);
}

static int
write_data(CaWritePipe *self, PyObject *data)
{
    int fd = ca_pipe_fd(&self->base);
    if (self->conn_lost > 0 || self->base.closing) {
        return write_lost(self);
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return refuse_buffer(self, data);
    }
    int result = is_held(self) ? write_held(self, data, &view)
                               : write_free(self, fd, data, &view);
    PyBuffer_Release(&view);
    return result;
}

/* ---- methods ---- */

PyDoc_STRVAR(write_doc,
"write($self, data, /)\n--\n\n"
"Write bytes; what the kernel does not take now is buffered.\n\n"
"`data` may be changed afterwards.\n\n"
"Units: data is a bytes, bytearray or memoryview.\n"
"Errors: AssertionError for other data.  On a pipe that is closing or broken\n"
"nothing happens, with a warning from the fifth on.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
write_pipe_py_write(PyObject *op, PyObject *data)
{
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        PyObject *text = PyObject_Repr(data);
        if (text != NULL) {
            PyErr_SetObject(PyExc_AssertionError, text);
            Py_DECREF(text);
        }
        return NULL;
    }
    Py_ssize_t length = PyObject_Size(data);
    if (length < 0) {
        return NULL;
    }
    if (length > 0 && write_data((CaWritePipe *)op, data) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(write_eof_doc,
"write_eof($self)\n--\n\n"
"Close the pipe when everything buffered is written.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
write_pipe_py_write_eof(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaWritePipe *self = (CaWritePipe *)op;
    if (!self->base.closing && flush(self) < 0) {
        return NULL;
    }
    if (self->base.closing) {
        Py_RETURN_NONE;                /* maybe flushing failed and ended it */
    }
    self->base.closing = true;
    if (ca_wqueue_count(&self->out) > 0) {
        Py_RETURN_NONE;
    }
    ca_pipe_stop_reading(&self->base);
    return ca_pipe_call_soon(&self->base, op, CA_STR__call_connection_lost,
                             Py_None) < 0
               ? NULL
               : Py_NewRef(Py_None);
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\n"
"As write_eof(): for a pipe that is the same.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Base Transport\".");

PyDoc_STRVAR(abort_doc,
"abort($self)\n--\n\n"
"Close the pipe now; what the kernel has not taken is lost.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Write-only Transports\".");

static PyObject *
write_pipe_py_abort(PyObject *op, PyObject *Py_UNUSED(none))
{
    return close_with((CaWritePipe *)op, Py_None) < 0 ? NULL
                                                      : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_close_doc,
"_close($self, exc, /)\n--\n\n"
"As abort(); the protocol is told `exc`.");

static PyObject *
write_pipe_py__close(PyObject *op, PyObject *exc)
{
    return close_with((CaWritePipe *)op, exc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(can_write_eof_doc,
"can_write_eof($self)\n--\n\n"
"Return True.");

static PyObject *
write_pipe_py_can_write_eof(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(none))
{
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(get_write_buffer_size_doc,
"get_write_buffer_size($self)\n--\n\n"
"Return how many bytes wait because the kernel did not take them.");

static PyObject *
write_pipe_py_get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    const CaWritePipe *self = (CaWritePipe *)op;
    return PyLong_FromSize_t(is_held(self) ? 0 : ca_wqueue_nbytes(&self->out));
}

PyDoc_STRVAR(_open_doc,
"_open($self, loop, pipe, fileno, protocol, slow, /)\n--\n\n"
"Take a pipe over; `slow` says that system calls on it may block.");

/* Whether it is a pipe, and not one of packets. */
static bool
is_byte_pipe(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_DIRECT) == 0 &&
           fcntl(fd, F_GETPIPE_SZ) >= 0;
}

static PyObject *
write_pipe_py__open(PyObject *op, PyObject *args)
{
    CaWritePipe *self = (CaWritePipe *)op;
    if (ca_pipe_open(&self->base, args, &watcher_vt) < 0) {
        return NULL;
    }
    self->may_gather = is_byte_pipe(self->base.fd);
    ca_gathering_init(&self->gathering, self->base.loop);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_start_doc,
"_start($self)\n--\n\n"
"Begin to look whether somebody reads.");

static PyObject *
write_pipe_py__start(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaWritePipe *self = (CaWritePipe *)op;
    bool ended = self->base.closing && ca_wqueue_count(&self->out) == 0;
    if (ended || self->base.reading) {
        Py_RETURN_NONE;
    }
    return ca_pipe_start_reading(&self->base) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_read_ready_doc,
"_read_ready($self)\n--\n\n"
"The readers are gone: close.");

static PyObject *
write_pipe_py__read_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    return reader_gone((CaPipe *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_write_ready_doc,
"_write_ready($self)\n--\n\n"
"Write more of what is buffered.");

static PyObject *
write_pipe_py__write_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    return send_more((CaPipe *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef write_pipe_methods[] = {
    {"write", write_pipe_py_write, METH_O, write_doc},
    {"write_eof", write_pipe_py_write_eof, METH_NOARGS, write_eof_doc},
    {"can_write_eof", write_pipe_py_can_write_eof, METH_NOARGS,
     can_write_eof_doc},
    {"get_write_buffer_size", write_pipe_py_get_write_buffer_size, METH_NOARGS,
     get_write_buffer_size_doc},
    {"close", write_pipe_py_write_eof, METH_NOARGS, close_doc},
    {"abort", write_pipe_py_abort, METH_NOARGS, abort_doc},
    {"_close", write_pipe_py__close, METH_O, _close_doc},
    {"_open", write_pipe_py__open, METH_VARARGS, _open_doc},
    {"_start", write_pipe_py__start, METH_NOARGS, _start_doc},
    {"_read_ready", write_pipe_py__read_ready, METH_NOARGS, _read_ready_doc},
    {"_write_ready", write_pipe_py__write_ready, METH_NOARGS,
     _write_ready_doc},
    {0},
};

static PyObject *
write_pipe_get__buffer(PyObject *op, void *Py_UNUSED(closure))
{
    const CaWritePipe *self = (CaWritePipe *)op;
    PyObject *list = is_held(self) ? PyList_New(0)
                                   : ca_wqueue_to_list(&self->out);
    PyObject *empty = PyByteArray_FromStringAndSize(NULL, 0);
    PyObject *joined = list == NULL || empty == NULL
                           ? NULL
                           : PyObject_CallMethod(empty, "join", "O", list);
    Py_XDECREF(empty);
    Py_XDECREF(list);
    return joined;
}

static PyGetSetDef write_pipe_getset[] = {
    {"_buffer", write_pipe_get__buffer, NULL,
     "A copy of what waits to be written: a bytearray.", NULL},
    {0},
};

static PyMemberDef write_pipe_members[] = {
    {"_conn_lost", T_UINT, offsetof(CaWritePipe, conn_lost), Py_READONLY,
     "0 while all is well; then counts further writes."},
    {"_high_water", T_OBJECT, offsetof(CaWritePipe, high_water), 0,
     "In bytes."},
    {"_low_water", T_OBJECT, offsetof(CaWritePipe, low_water), 0, "In bytes."},
    {"_protocol_paused", T_BOOL, offsetof(CaWritePipe, protocol_paused), 0,
     "pause_writing() was called last."},
    {0},
};

/* ---- the type ---- */

PyDoc_STRVAR(write_pipe_doc,
"Native half of the transport for writing to a pipe.\n\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
write_pipe_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(kwargs))
{
    CaWritePipe *self = (CaWritePipe *)ca_pipe_new(type);
    if (self != NULL) {
        ca_dlist_init(&self->held.node);
        self->held.flush = flush_held;
    }
    return (PyObject *)self;
}

static int
write_pipe_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaWritePipe *self = (CaWritePipe *)op;
    Py_VISIT(self->out_context);
    Py_VISIT(self->high_water);
    Py_VISIT(self->low_water);
    return ca_pipe_traverse(&self->base, visit, arg);
}

static int
write_pipe_tp_clear(PyObject *op)
{
    CaWritePipe *self = (CaWritePipe *)op;
    Py_CLEAR(self->high_water);
    Py_CLEAR(self->low_water);
    ca_pipe_clear(&self->base);
    return 0;
}

static void
write_pipe_tp_dealloc(PyObject *op)
{
    CaWritePipe *self = (CaWritePipe *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    ca_dlist_unlink(&self->held.node);
    ca_wqueue_clear(&self->out);
    Py_CLEAR(self->out_context);
    (void)write_pipe_tp_clear(op);
    ca_pipe_release(&self->base);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
ca_write_pipe_type_new(PyObject *module, PyObject *pipe_type)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)write_pipe_doc},
        {Py_tp_new, write_pipe_tp_new},
        {Py_tp_traverse, write_pipe_tp_traverse},
        {Py_tp_clear, write_pipe_tp_clear},
        {Py_tp_dealloc, write_pipe_tp_dealloc},
        {Py_tp_methods, write_pipe_methods},
        {Py_tp_getset, write_pipe_getset},
        {Py_tp_members, write_pipe_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.WritePipe",
        .basicsize = sizeof(CaWritePipe),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, pipe_type);
}
