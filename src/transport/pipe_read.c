/* pipe_read.c - the reading end of a pipe, see pipe.h.
 *
 * One read per readiness: the watch is level-triggered, so what is left is
 * reported again in the next turn and no pipe starves the others.
 */
#include "py/errors.h"
#include "transport/pipe.h"

#include <errno.h>
#include <unistd.h>

#define READ_FAILED "Fatal read error on pipe transport"

/* read() into memory; bytes, 0 at the end, or -errno. */
static ssize_t
receive(const CaPipe *self, int fd, char *buffer)
{
    ssize_t n;
    if (!self->slow) {
        n = read(fd, buffer, CA_READ_BUFFER_SIZE);
        return n < 0 ? -errno : n;
    }
    Py_BEGIN_ALLOW_THREADS
    n = read(fd, buffer, CA_READ_BUFFER_SIZE);
    n = n < 0 ? -errno : n;
    Py_END_ALLOW_THREADS
    return n;
}

static int
deliver(CaPipe *self, const char *buffer, ssize_t n)
{
    PyObject *data = PyBytes_FromStringAndSize(buffer, n);
    if (data == NULL) {
        return -1;
    }
    /* The protocol may be replaced while its method runs. */
    PyObject *protocol = self->protocol == NULL ? Py_None : self->protocol;
    PyObject *args[2] = {Py_NewRef(protocol), data};
    PyObject *done = PyObject_VectorcallMethod(
        self->loop->st->names[CA_STR_data_received], args,
        2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(args[0]);
    Py_DECREF(data);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The writers are gone. */
static int
end_of_file(CaPipe *self)
{
    if (self->loop->debug && ca_pipe_tell(self, CA_STR__log_closed) < 0) {
        return -1;
    }
    self->closing = true;
    ca_pipe_stop_reading(self);
    PyObject *protocol = self->protocol == NULL ? Py_None : self->protocol;
    Py_INCREF(protocol);
    int result = ca_pipe_call_soon(self, protocol, CA_STR_eof_received, NULL);
    Py_DECREF(protocol);
    return result < 0
               ? -1
               : ca_pipe_call_soon(self, (PyObject *)self,
                                   CA_STR__call_connection_lost, Py_None);
}

static int
read_once(CaPipe *self)
{
    int fd = ca_pipe_fd(self);
    if (!self->reading) {
        return 0;
    }
    char *buffer = ca_loop_read_buffer(self->loop);
    if (buffer == NULL) {
        return -1;
    }
    ssize_t n = fd < 0 ? -EBADF : receive(self, fd, buffer);
    if (n > 0) {
        return deliver(self, buffer, n);
    }
    if (n == 0) {
        return end_of_file(self);
    }
    if (ca_errno_is_try_later(n)) {
        return 0;
    }
    ca_raise_errno((int)n);
    return ca_pipe_fail(self, READ_FAILED);
}

static int
read_pipe_ready(CaLoop *Py_UNUSED(loop), PyObject *op,
                ca_op_kind Py_UNUSED(kind))
{
    CaPipe *self = (CaPipe *)op;
    return ca_pipe_ready(self, self->context, CA_STR__read_ready, read_once);
}

static const ca_watcher_vt watcher_vt = {
    .ready = read_pipe_ready,
    .offset = offsetof(CaPipe, watcher),
};

/* Close; the protocol is told `exc`. */
static int
close_with(CaPipe *self, PyObject *exc)
{
    if (self->loop == NULL) {
        return 0;
    }
    self->closing = true;
    ca_pipe_stop_reading(self);
    return ca_pipe_call_soon(self, (PyObject *)self,
                             CA_STR__call_connection_lost, exc);
}

/* ---- methods ---- */

PyDoc_STRVAR(_open_doc,
"_open($self, loop, pipe, fileno, protocol, slow, /)\n--\n\n"
"Take a pipe over; `slow` says that system calls on it may block.");

static PyObject *
read_pipe_py__open(PyObject *op, PyObject *args)
{
    return ca_pipe_open((CaPipe *)op, args, &watcher_vt) < 0
               ? NULL
               : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_start_doc,
"_start($self)\n--\n\n"
"Begin to read, unless it was paused or closed in the meantime.");

static PyObject *
read_pipe_py__start(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaPipe *self = (CaPipe *)op;
    if (self->closing || self->paused || self->reading) {
        Py_RETURN_NONE;
    }
    return ca_pipe_start_reading(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_read_ready_doc,
"_read_ready($self)\n--\n\n"
"Read once and tell the protocol.");

static PyObject *
read_pipe_py__read_ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    return read_once((CaPipe *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(is_reading_doc,
"is_reading($self)\n--\n\n"
"Return whether data may come: neither paused nor closing.");

static PyObject *
read_pipe_py_is_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaPipe *self = (CaPipe *)op;
    return PyBool_FromLong(!self->closing && !self->paused);
}

PyDoc_STRVAR(pause_reading_doc,
"pause_reading($self)\n--\n\n"
"Stop calling the protocol with data until resume_reading().\n\n"
"Nothing is lost.  Harmless when it is paused already.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Read-only Transports\".");

static PyObject *
read_pipe_py_pause_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaPipe *self = (CaPipe *)op;
    if (self->closing || self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = true;
    ca_pipe_stop_reading(self);
    if (self->loop->debug && ca_pipe_tell(self, CA_STR__log_pause) < 0) {
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
read_pipe_py_resume_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaPipe *self = (CaPipe *)op;
    if (self->closing || !self->paused) {
        Py_RETURN_NONE;
    }
    self->paused = false;
    if (ca_pipe_start_reading(self) < 0) {
        return NULL;
    }
    if (self->reading && self->loop->debug &&
        ca_pipe_tell(self, CA_STR__log_resume) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\n"
"Stop reading and close the pipe; connection_lost(None) follows.\n\n"
"Harmless when repeated.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Base Transport\".");

static PyObject *
read_pipe_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaPipe *self = (CaPipe *)op;
    if (self->closing) {
        Py_RETURN_NONE;
    }
    return close_with(self, Py_None) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_close_doc,
"_close($self, exc, /)\n--\n\n"
"As close(); the protocol is told `exc`.");

static PyObject *
read_pipe_py__close(PyObject *op, PyObject *exc)
{
    return close_with((CaPipe *)op, exc) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyMethodDef read_pipe_methods[] = {
    {"_open", read_pipe_py__open, METH_VARARGS, _open_doc},
    {"_start", read_pipe_py__start, METH_NOARGS, _start_doc},
    {"_read_ready", read_pipe_py__read_ready, METH_NOARGS, _read_ready_doc},
    {"is_reading", read_pipe_py_is_reading, METH_NOARGS, is_reading_doc},
    {"pause_reading", read_pipe_py_pause_reading, METH_NOARGS,
     pause_reading_doc},
    {"resume_reading", read_pipe_py_resume_reading, METH_NOARGS,
     resume_reading_doc},
    {"close", read_pipe_py_close, METH_NOARGS, close_doc},
    {"_close", read_pipe_py__close, METH_O, _close_doc},
    {0},
};

static PyMemberDef read_pipe_members[] = {
    {"_paused", T_BOOL, offsetof(CaPipe, paused), Py_READONLY,
     "pause_reading() was called."},
    {0},
};

/* ---- the type ---- */

PyDoc_STRVAR(read_pipe_doc,
"Native half of the transport for reading from a pipe.\n\n"
"Threads: every method belongs to the loop's thread.");

PyObject *
ca_read_pipe_type_new(PyObject *module, PyObject *pipe_type)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)read_pipe_doc},
        {Py_tp_methods, read_pipe_methods},
        {Py_tp_members, read_pipe_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.ReadPipe",
        .basicsize = sizeof(CaPipe),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, pipe_type);
}
