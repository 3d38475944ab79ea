/* tls_write.c - from write() to records on the wire, and flow control.
 *
 * A write is encrypted and sent at once.  A connection whose callbacks write
 * more than once is held back as streams are (stream_write.c): what a callback
 * has written becomes as few records as possible and leaves in one piece when
 * the callback is done.
 */
#include "loop/handle.h"
#include "transport/flow.h"
#include "transport/stream.h"
#include "transport/tls.h"

#include <string.h>

enum {
    RECORD = 16 * 1024,                /* plain bytes in the largest record */
    SLICE = 4 * RECORD,                /* encrypted before it is sent */
    LOST_WRITES_LOGGED = 5,            /* asyncio.constants */
};

size_t
ca_tls_buffered(const CaTls *self)
{
    size_t waiting = ca_tls_is_held(self) ? 0 : ca_wqueue_nbytes(&self->out);
    return waiting + self->engine->pending_out(self);
}

/* ---- flow control ---- */

/* Call protocol.pause_writing() or resume_writing(); 0 or -1. */
static int
tell_protocol(CaTls *self, int which)
{
    return ca_tls_missing(self->protocol)
               ? 0
               : ca_flow_tell(self->loop->st, (PyObject *)self, self->protocol,
                              self->context, which);
}

int
ca_tls_control_writing(CaTls *self)
{
    double size = (double)ca_tls_buffered(self);
    if (!self->app_paused && size > 0 &&
        size >= self->marks[CA_TLS_OUT_HIGH]) {
        self->app_paused = true;
        return tell_protocol(self, CA_STR_pause_writing);
    }
    if (self->app_paused && size <= self->marks[CA_TLS_OUT_LOW]) {
        self->app_paused = false;
        return tell_protocol(self, CA_STR_resume_writing);
    }
    return 0;
}

int
ca_tls_process_outgoing(CaTls *self)
{
    if (!self->lower_paused && self->engine->send(self) < 0) {
        return -1;
    }
    return ca_tls_control_writing(self);
}

/* ---- to the transport below ---- */

int
ca_tls_send_memory(CaTls *self, const char *data, size_t nbytes,
                   ssize_t refused)
{
    CaStream *stream = (CaStream *)ca_tls_below_borrow(self);
    if (stream != NULL) {
        return refused < 0 ? ca_stream_refused(stream, data, nbytes, refused)
                           : ca_stream_write_memory(stream, data, nbytes);
    }
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)nbytes);
    PyObject *done = bytes == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               self->transport,
                               ca_tls_name(self, CA_STR_write), bytes);
    Py_XDECREF(bytes);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- encrypting ---- */

/* Encrypt memory; *done is how much of it.  0 or -1. */
static int
encrypt(CaTls *self, const char *data, size_t nbytes, size_t *done)
{
    *done = 0;
    while (*done < nbytes) {
        Py_ssize_t n = self->engine->write(self, data + *done, nbytes - *done);
        if (n <= 0) {
            return n == CA_TLS_ERROR ? -1 : 0;
        }
        *done += (size_t)n;
    }
    return 0;
}

/* Encrypt a piece from the front of the queue: bytes, 0 when OpenSSL waits for
 * the peer, or -1. */
static Py_ssize_t
encrypt_front(CaTls *self)
{
    struct iovec iov[CA_IOV_COUNT];
    char record[RECORD];
    size_t done, offered;
    int n = ca_wqueue_peek(&self->out, iov, &offered);
    if (n == 0) {
        return 0;
    }
    const char *data = iov[0].iov_base;
    size_t nbytes = Py_MIN(iov[0].iov_len, (size_t)SLICE);
    if (n > 1 && nbytes < RECORD) {
        nbytes = 0;
        for (int i = 0; i < n && nbytes < RECORD; i++) {
            size_t more = Py_MIN(iov[i].iov_len, RECORD - nbytes);
            memcpy(record + nbytes, iov[i].iov_base, more);
            nbytes += more;
        }
        data = record;
    }
    if (encrypt(self, data, nbytes, &done) < 0) {
        return -1;
    }
    ca_wqueue_consume(&self->out, done);
    return (Py_ssize_t)done;
}

int
ca_tls_drain(CaTls *self, bool all)
{
    Py_ssize_t n = 1;
    if (self->broken) {
        return 0;
    }
    while (ca_wqueue_count(&self->out) > 0 && n > 0 &&
           (all || !self->lower_paused)) {
        n = encrypt_front(self);
        if (n < 0) {
            return -1;
        }
        if (!self->lower_paused && self->engine->pending_out(self) >= SLICE &&
            self->engine->send(self) < 0) {
            return -1;
        }
    }
    return ca_tls_process_outgoing(self);
}

int
ca_tls_flush(CaTls *self)
{
    if (!ca_tls_is_held(self)) {
        return 0;
    }
    ca_dlist_unlink(&self->held.node);
    ca_gathering_note_flush(&self->gathering, ca_wqueue_count(&self->out));
    return ca_tls_drain(self, false) < 0 ? ca_tls_fail(self) : 0;
}

int
ca_tls_flush_held(ca_held *held)
{
    CaTls *self = CA_CONTAINER_OF(held, CaTls, held);
    Py_INCREF(self);
    int result = ca_tls_flush(self);
    if (result < 0) {
        result = ca_handle_report_method(self->loop, (PyObject *)self,
                                         CA_STR__do_write, NULL);
    }
    Py_DECREF(self);
    return result;
}

/* ---- taking bytes from the user ---- */

/* The connection is over: count, and warn as stock does. */
static int
write_lost(CaTls *self)
{
    int result = self->conn_lost >= LOST_WRITES_LOGGED
                     ? ca_tls_call(self, CA_STR__log_lost)
                     : 0;
    self->conn_lost++;
    return result;
}

/* Whether this write may wait for the end of the callback. */
static bool
may_hold(CaTls *self, size_t nbytes)
{
    CaLoop *loop = self->loop;
    if (!loop->in_callback || nbytes >= RECORD) {
        return false;
    }
    (void)ca_gathering_note_write(&self->gathering, loop);
    return self->gathering.on;
}

/* Nothing waits: encrypt as much as the transport below takes and queue the
 * rest. */
static int
write_at_once(CaTls *self, PyObject *op, const char *data, size_t nbytes)
{
    size_t done = 0;
    if (nbytes <= RECORD) {
        Py_ssize_t n = self->engine->write_record(self, data, nbytes);
        if (n == CA_TLS_ERROR) {
            return -1;
        }
        done = n > 0 ? (size_t)n : 0;
    } else if (encrypt(self, data, Py_MIN(nbytes, (size_t)SLICE), &done) < 0) {
        return -1;
    }
    ca_gathering_note_send(&self->gathering, self->loop);
    if (done < nbytes) {
        data += done;
        nbytes -= done;
        if (ca_wqueue_keep(&self->out, op, data, nbytes) < 0) {
            return -1;
        }
        return ca_tls_drain(self, false);
    }
    return ca_tls_process_outgoing(self);
}

static int
write_open(CaTls *self, PyObject *op, const char *data, size_t nbytes)
{
    bool wrapped = ca_tls_in_state(self, CA_TLS_WRAPPED);
    bool held = ca_tls_is_held(self);
    bool hold = wrapped && (held || ca_wqueue_count(&self->out) == 0) &&
                may_hold(self, nbytes);
    if (wrapped && ca_wqueue_count(&self->out) == 0 && !hold &&
        !self->lower_paused) {
        return write_at_once(self, op, data, nbytes);
    }
    if (ca_wqueue_keep(&self->out, op, data, nbytes) < 0) {
        return -1;
    }
    if (hold && ca_wqueue_nbytes(&self->out) < SLICE) {
        if (!held) {
            ca_dlist_append(&self->loop->held, &self->held.node);
        }
        return 0;
    }
    ca_dlist_unlink(&self->held.node);
    if (wrapped) {
        return ca_tls_drain(self, false);
    }
    return ca_tls_control_writing(self);
}

int
ca_tls_write(CaTls *self, PyObject *op, const char *data, size_t nbytes)
{
    if (!ca_tls_in_state(self, CA_TLS_WRAPPED) &&
        !ca_tls_in_state(self, CA_TLS_DO_HANDSHAKE)) {
        return write_lost(self);
    }
    if (nbytes == 0 || self->broken) {
        return 0;
    }
    int result = write_open(self, op, data, nbytes);
    return result < 0 ? ca_tls_fail(self) : 0;
}

/* What has no length either is not taken, and the connection goes on. */
static int
fail_no_buffer(CaTls *self, PyObject *data)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (PyObject_Size(data) < 0) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    return ca_tls_fail(self);
}

int
ca_tls_write_object(CaTls *self, PyObject *data)
{
    Py_buffer view;
    if (PyBytes_CheckExact(data)) {
        return ca_tls_write(self, data, PyBytes_AS_STRING(data),
                            (size_t)PyBytes_GET_SIZE(data));
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return fail_no_buffer(self, data);
    }
    int result = ca_tls_write(self, data, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return result;
}

static int
write_line(PyObject *op, PyObject *data)
{
    return ca_tls_write_object((CaTls *)op, data);
}

PyDoc_STRVAR(_write_appdata_doc,
"_write_appdata($self, list_of_data, /)\n--\n\n"
"Encrypt and send each of them, together where possible.");

static PyObject *
tls_py__write_appdata(PyObject *op, PyObject *list_of_data)
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    if (!ca_tls_in_state(self, CA_TLS_WRAPPED) &&
        !ca_tls_in_state(self, CA_TLS_DO_HANDSHAKE)) {
        return write_lost(self) < 0 ? NULL : Py_NewRef(Py_None);
    }
    PyObject *lines = PyList_CheckExact(list_of_data)
                          ? Py_NewRef(list_of_data)
                          : PySequence_Tuple(list_of_data);
    if (lines == NULL) {
        return NULL;
    }
    int result = ca_flow_write_each(self->loop, &self->gathering, lines,
                                    write_line, op);
    if (result == 0) {
        result = ca_tls_flush(self);
    }
    Py_DECREF(lines);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_do_write_doc,
"_do_write($self)\n--\n\n"
"Encrypt and send what waits, as far as the transport below takes it.");

static PyObject *
tls_py__do_write(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    ca_dlist_unlink(&self->held.node);
    return ca_tls_drain(self, false) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_drain_doc,
"_drain($self)\n--\n\n"
"Encrypt everything that waits, and hand it to the transport below.");

static PyObject *
tls_py__drain(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    ca_dlist_unlink(&self->held.node);
    if (ca_tls_drain(self, true) < 0 || self->engine->send(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_flush_doc,
"_flush($self)\n--\n\n"
"Send what is held back until the end of the callback.");

static PyObject *
tls_py__flush(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return ca_tls_flush(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_process_outgoing_doc,
"_process_outgoing($self)\n--\n\n"
"Send what is encrypted, unless the transport below is full.");

static PyObject *
tls_py__process_outgoing(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return ca_tls_process_outgoing(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_control_app_writing_doc,
"_control_app_writing($self)\n--\n\n"
"Pause or resume the protocol, as the marks say.");

static PyObject *
tls_py__control_app_writing(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return ca_tls_control_writing(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_get_write_buffer_size_doc,
"_get_write_buffer_size($self)\n--\n\n"
"Return how many bytes wait because the transport below is full.");

static PyObject *
tls_py__get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(ca_tls_buffered(self));
}

PyDoc_STRVAR(pause_writing_doc,
"pause_writing($self)\n--\n\n"
"The transport below is full.");

static PyObject *
tls_py_pause_writing(PyObject *op, PyObject *Py_UNUSED(none))
{
    ((CaTls *)op)->lower_paused = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(resume_writing_doc,
"resume_writing($self)\n--\n\n"
"The transport below has room again.");

static PyObject *
tls_py_resume_writing(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    self->lower_paused = false;
    bool encrypts = ca_tls_in_state(self, CA_TLS_WRAPPED) &&
                    !ca_tls_is_held(self);
    int result = encrypts ? ca_tls_drain(self, false)
                          : ca_tls_process_outgoing(self);
    if (result < 0 && ca_tls_fail(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_append_doc,
"_append($self, data, /)\n--\n\n"
"Let bytes wait, as if the transport below were full.");

static PyObject *
tls_py__append(PyObject *op, PyObject *data)
{
    CaTls *self = (CaTls *)op;
    if (!PyBytes_CheckExact(data)) {
        return PyErr_Format(PyExc_TypeError, "bytes expected, not %R", data);
    }
    size_t nbytes = (size_t)PyBytes_GET_SIZE(data);
    if (nbytes > 0 && ca_wqueue_keep(&self->out, data, PyBytes_AS_STRING(data),
                                     nbytes) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_drop_doc,
"_drop($self)\n--\n\n"
"The connection is lost: let go of everything that waits.");

static PyObject *
tls_py__drop(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    ca_dlist_unlink(&self->held.node);
    ca_wqueue_clear(&self->out);
    self->engine->drop(self);
    Py_RETURN_NONE;
}

PyMethodDef ca_tls_write_methods[] = {
    {"_write_appdata", tls_py__write_appdata, METH_O, _write_appdata_doc},
    {"_do_write", tls_py__do_write, METH_NOARGS, _do_write_doc},
    {"_drain", tls_py__drain, METH_NOARGS, _drain_doc},
    {"_flush", tls_py__flush, METH_NOARGS, _flush_doc},
    {"_process_outgoing", tls_py__process_outgoing, METH_NOARGS,
     _process_outgoing_doc},
    {"_control_app_writing", tls_py__control_app_writing, METH_NOARGS,
     _control_app_writing_doc},
    {"_get_write_buffer_size", tls_py__get_write_buffer_size, METH_NOARGS,
     _get_write_buffer_size_doc},
    {"pause_writing", tls_py_pause_writing, METH_NOARGS, pause_writing_doc},
    {"resume_writing", tls_py_resume_writing, METH_NOARGS,
     resume_writing_doc},
    {"_append", tls_py__append, METH_O, _append_doc},
    {"_drop", tls_py__drop, METH_NOARGS, _drop_doc},
    {0},
};
