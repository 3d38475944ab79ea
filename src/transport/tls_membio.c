/* tls_membio.c - the engine that calls ssl.SSLObject and ssl.MemoryBIO.
 *
 * For Pythons whose OpenSSL cannot be reached, and for SSLObjects of a class
 * of somebody's own.  Slower by the calls and the copies, the same in effect.
 * Python is never shown memory of ours: it could keep it.
 */
#include "transport/tls.h"

#include <errno.h>
#include <string.h>

enum { RECORD = 16 * 1024 };           /* no record holds more plain bytes */

/* self.what(bytes of the memory).  A copy, as the method may be somebody's own
 * and keep what it is given.  NULL: an exception. */
static PyObject *
pass_bytes(const CaTls *self, PyObject *what, const char *data, size_t nbytes)
{
    PyObject *bytes = PyBytes_FromStringAndSize(data, (Py_ssize_t)nbytes);
    PyObject *done = bytes == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               ca_tls_or_none_borrow(what),
                               ca_tls_name(self, CA_STR_write), bytes);
    Py_XDECREF(bytes);
    return done;
}

static int
membio_offer(CaTls *self, const char *data, size_t nbytes)
{
    PyObject *done = pass_bytes(self, self->incoming, data, nbytes);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
membio_settle(CaTls *Py_UNUSED(self))
{
    return 0;
}

/* What a failed call means: nothing yet, or an error. */
static Py_ssize_t
failed(CaTls *self)
{
    if (!PyErr_ExceptionMatches(self->loop->st->tls_again)) {
        return CA_TLS_ERROR;
    }
    PyErr_Clear();
    return CA_TLS_AGAIN;
}

/* The number that a call returned; takes the reference. */
static Py_ssize_t
outcome(CaTls *self, PyObject *steal_done)
{
    if (steal_done == NULL) {
        return failed(self);
    }
    Py_ssize_t n = PyLong_AsSsize_t(steal_done);
    Py_DECREF(steal_done);
    return n == -1 && PyErr_Occurred() ? CA_TLS_ERROR : n;
}

/* Copy what read() returned, and take the reference: its length, or
 * CA_TLS_*. */
static Py_ssize_t
copied(CaTls *self, PyObject *steal_data, char *buffer, size_t size)
{
    Py_buffer view;
    if (steal_data == NULL) {
        return failed(self);
    }
    Py_ssize_t n = CA_TLS_ERROR;
    if (steal_data == Py_None) {
        n = CA_TLS_EOF;
    } else if (PyObject_GetBuffer(steal_data, &view, PyBUF_SIMPLE) == 0) {
        if ((size_t)view.len > size) {
            PyErr_SetString(PyExc_ValueError,
                            "read() returned more than it was asked for");
        } else {
            memcpy(buffer, view.buf, (size_t)view.len);
            n = view.len;
        }
        PyBuffer_Release(&view);
    }
    Py_DECREF(steal_data);
    return n;
}

static Py_ssize_t
membio_read(CaTls *self, char *buffer, size_t size)
{
    size_t asked = Py_MIN(size, (size_t)RECORD);
    PyObject *wanted = PyLong_FromSize_t(asked);
    PyObject *data = wanted == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               ca_tls_or_none_borrow(self->sslobj),
                               ca_tls_name(self, CA_STR_read), wanted);
    Py_XDECREF(wanted);
    return copied(self, data, buffer, asked);
}

static Py_ssize_t
membio_write(CaTls *self, const char *data, size_t nbytes)
{
    return outcome(self, pass_bytes(self, self->sslobj, data, nbytes));
}

static bool
membio_invite(CaTls *Py_UNUSED(self), struct ca_stream *Py_UNUSED(stream))
{
    return false;
}

static ssize_t
membio_withdraw(CaTls *Py_UNUSED(self))
{
    return -EAGAIN;
}

/* Only read() knows. */
static size_t
membio_expected(const CaTls *Py_UNUSED(self))
{
    return 0;
}

static bool
membio_exhausted(const CaTls *Py_UNUSED(self))
{
    return false;
}

/* bio.pending; 0 when it cannot be asked. */
static size_t
pending(const CaTls *self, PyObject *bio)
{
    PyObject *found = ca_tls_missing(bio)
                          ? NULL
                          : PyObject_GetAttr(
                                bio, ca_tls_name(self, CA_STR_pending));
    size_t nbytes = found == NULL ? 0 : PyLong_AsSize_t(found);
    Py_XDECREF(found);
    if (nbytes == (size_t)-1) {
        nbytes = 0;
    }
    PyErr_Clear();
    return nbytes;
}

static size_t
membio_pending_in(const CaTls *self)
{
    return pending(self, self->incoming);
}

static size_t
membio_pending_out(const CaTls *self)
{
    return pending(self, self->outgoing);
}

static int
membio_send(CaTls *self)
{
    if (ca_tls_missing(self->transport) || ca_tls_missing(self->outgoing)) {
        return 0;
    }
    PyObject *data = PyObject_CallMethodNoArgs(self->outgoing,
                                               ca_tls_name(self, CA_STR_read));
    PyObject *done = NULL;
    if (data != NULL && PyBytes_Check(data) && PyBytes_GET_SIZE(data) == 0) {
        done = Py_NewRef(Py_None);
    } else if (data != NULL) {
        done = PyObject_CallMethodOneArg(
            self->transport, ca_tls_name(self, CA_STR_write), data);
    }
    Py_XDECREF(data);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static void
membio_drop(CaTls *self)
{
    if (!ca_tls_missing(self->outgoing)) {
        PyObject *data = PyObject_CallMethodNoArgs(
            self->outgoing, ca_tls_name(self, CA_STR_read));
        Py_XDECREF(data);
        PyErr_Clear();
    }
}

const ca_tls_engine ca_tls_membio = {
    .name = "membio",
    .offer = membio_offer,
    .invite = membio_invite,
    .withdraw = membio_withdraw,
    .settle = membio_settle,
    .read = membio_read,
    .write = membio_write,
    .expected = membio_expected,
    .write_record = membio_write,
    .exhausted = membio_exhausted,
    .pending_in = membio_pending_in,
    .pending_out = membio_pending_out,
    .send = membio_send,
    .drop = membio_drop,
};
