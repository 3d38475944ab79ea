/* filejob.c - see filejob.h.
 *
 * The reactor owns a reference from submit until it tells the job's end or the
 * loop is closed, so the buffer outlives whatever becomes of the awaiting
 * task.  The object is in no cycle that matters before: future and loop are
 * visited through the loop's own traversal.
 */
#include "transport/filejob.h"

#include "py/errors.h"
#include "py/late.h"

#include <errno.h>
#include <stddef.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

enum {
    MOST_BYTES = 0x7ffff000,           /* what one call of the kernel moves */
    LONG_COPY = 64 * 1024,             /* worth letting other threads run */
};

static int job_ready(CaLoop *loop, PyObject *op, ca_op_kind kind);

static const ca_watcher_vt watcher_vt = {
    .ready = job_ready,
    .offset = offsetof(CaFileJob, watcher),
};

/* ---- the end of a job ---- */

static PyObject *
take_result(CaFileJob *self)
{
    int32_t result = self->job.job.result;
    if (self->bytes == NULL || result < 0) {
        return PyLong_FromLong(result);
    }
    PyObject *bytes = self->bytes;
    self->bytes = NULL;
    if (result < PyBytes_GET_SIZE(bytes)) {
        (void)_PyBytes_Resize(&bytes, result);
    }
    return bytes;
}

/* Set the future's result unless it was cancelled; 0 or -1. */
static int
resolve(CaLoop *loop, CaFileJob *self)
{
    PyObject *done = PyObject_CallMethod(self->future, "done", NULL);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    if (is_done != 0) {
        return is_done < 0 ? -1 : 0;
    }
    PyObject *result = take_result(self);
    PyObject *none = result == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               self->future,
                               loop->st->names[CA_STR_set_result], result);
    Py_XDECREF(result);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static int
job_ready(CaLoop *loop, PyObject *op, ca_op_kind Py_UNUSED(kind))
{
    int result = resolve(loop, (CaFileJob *)op);
    if (result < 0 && !ca_error_leaves_loop()) {
        PyErr_WriteUnraisable(op);
        result = 0;
    }
    Py_DECREF(op);                     /* the reactor's; the caller has one */
    return result;
}

/* ---- beginning one ---- */

static CaFileJob *
make(CaLoop *loop, ca_op_kind kind, int fd, int64_t offset)
{
    if (ca_loop_check_open(loop) < 0 || ca_loop_check_thread(loop) < 0) {
        return NULL;
    }
    if (ca_late_need(loop->st, loop->st->FileJobType, "FileJob") < 0) {
        return NULL;
    }
    CaFileJob *self = PyObject_GC_New(CaFileJob, loop->st->FileJobType);
    if (self == NULL) {
        return NULL;
    }
    self->watcher = (ca_watcher){.vt = &watcher_vt};
    self->job = (ca_reactor_job){.job.offset = offset};
    ca_op_init(&self->job.job.op, kind, fd);
    ca_dlist_init(&self->job.link);
    self->bytes = NULL;
    self->source.obj = NULL;
    self->future = PyObject_CallMethodNoArgs(
        (PyObject *)loop, loop->st->names[CA_STR_create_future]);
    PyObject_GC_Track(self);
    if (self->future == NULL) {
        Py_CLEAR(self);
    }
    return self;
}

/* Hand it to the reactor, and the caller's reference with it. */
static PyObject *
submit(CaLoop *loop, CaFileJob *steal_self)
{
    CaFileJob *self = steal_self;
    void *owner = (void *)((uintptr_t)&self->watcher | 1);
    PyObject *future = Py_NewRef(self->future);
    int err = ca_reactor_submit(&loop->reactor, &self->job, owner);
    if (err < 0) {
        /* Whatever the reason: files can be read in other ways. */
        Py_SETREF(future, Py_NewRef(Py_None));
        Py_DECREF(self);
    }
    return future;
}

PyObject *
ca_filejob_read(CaLoop *loop, int fd, Py_ssize_t size, int64_t offset)
{
    if (!ca_reactor_does_jobs(&loop->reactor)) {
        Py_RETURN_NONE;
    }
    CaFileJob *self = make(loop, CA_OP_READ, fd, offset);
    if (self == NULL) {
        return NULL;
    }
    if (size > MOST_BYTES) {
        size = MOST_BYTES;
    }
    self->bytes = PyBytes_FromStringAndSize(NULL, size);
    if (self->bytes == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    self->job.job.buf = PyBytes_AS_STRING(self->bytes);
    self->job.job.nbytes = (uint32_t)size;
    return submit(loop, self);
}

PyObject *
ca_filejob_write(CaLoop *loop, int fd, PyObject *data, int64_t offset)
{
    if (!ca_reactor_does_jobs(&loop->reactor)) {
        Py_RETURN_NONE;
    }
    CaFileJob *self = make(loop, CA_OP_WRITE, fd, offset);
    if (self == NULL) {
        return NULL;
    }
    if (PyObject_GetBuffer(data, &self->source, PyBUF_SIMPLE) < 0) {
        self->source.obj = NULL;
        Py_DECREF(self);
        return NULL;
    }
    Py_ssize_t size = self->source.len;
    self->job.job.buf = self->source.buf;
    self->job.job.nbytes = (uint32_t)(size < MOST_BYTES ? size : MOST_BYTES);
    return submit(loop, self);
}

PyObject *
ca_filejob_sync(CaLoop *loop, int fd, bool data_only)
{
    if (!ca_reactor_does_jobs(&loop->reactor)) {
        Py_RETURN_NONE;
    }
    CaFileJob *self = make(loop, data_only ? CA_OP_FDATASYNC : CA_OP_FSYNC, fd,
                           0);
    return self == NULL ? NULL : submit(loop, self);
}

/* ---- at once ---- */

static ssize_t
read_nowait(int fd, char *buf, Py_ssize_t size, int64_t offset)
{
    struct iovec vec = {.iov_base = buf, .iov_len = (size_t)size};
    ssize_t n;
    if (size < LONG_COPY) {
        return preadv2(fd, &vec, 1, (off_t)offset, RWF_NOWAIT);
    }
    Py_BEGIN_ALLOW_THREADS
    n = preadv2(fd, &vec, 1, (off_t)offset, RWF_NOWAIT);
    Py_END_ALLOW_THREADS
    return n;
}

PyObject *
ca_file_read_cached(int fd, Py_ssize_t size, int64_t offset)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL) {
        return NULL;
    }
    ssize_t n = read_nowait(fd, PyBytes_AS_STRING(bytes), size, offset);
    if (n < 0) {
        int err = errno;
        Py_DECREF(bytes);
        if (err == EAGAIN || err == EOPNOTSUPP || err == ENOSYS ||
            err == EINTR || err == EPERM) {
            Py_RETURN_NONE;
        }
        return ca_raise_errno(-err);
    }
    if (n < size) {
        (void)_PyBytes_Resize(&bytes, n);
    }
    return bytes;
}

/* ---- the type ---- */

static int
job_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaFileJob *)op)->future);
    return 0;
}

static int
job_tp_clear(PyObject *op)
{
    Py_CLEAR(((CaFileJob *)op)->future);
    return 0;
}

static void
job_tp_dealloc(PyObject *op)
{
    CaFileJob *self = (CaFileJob *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)job_tp_clear(op);
    Py_CLEAR(self->bytes);
    PyBuffer_Release(&self->source);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(job_doc,
"A read, write or sync of a file that the backend does for a future.");

static PyType_Slot job_slots[] = {
    {Py_tp_doc, (void *)job_doc},
    {Py_tp_traverse, job_tp_traverse},
    {Py_tp_clear, job_tp_clear},
    {Py_tp_dealloc, job_tp_dealloc},
    {0, NULL},
};

PyType_Spec ca_filejob_spec = {
    .name = "casyncio._native.FileJob",
    .basicsize = sizeof(CaFileJob),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = job_slots,
};
