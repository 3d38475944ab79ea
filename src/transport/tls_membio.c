/* tls_membio.c - the engine that calls ssl.SSLObject and ssl.MemoryBIO.
 *
 * For Pythons whose OpenSSL cannot be reached, and for SSLObjects of a class
 * of somebody's own.  Slower by the calls and the copies, the same in effect.
 */
#include "transport/tls.h"

static int
membio_offer(CaTls *self, const char *data, size_t nbytes)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)nbytes,
                                             PyBUF_READ);
    PyObject *done = view == NULL ? NULL
                                  : PyObject_CallMethodOneArg(
                                        self->incoming,
                                        ca_tls_name(self, CA_STR_write), view);
    Py_XDECREF(view);
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

static Py_ssize_t
membio_read(CaTls *self, char *buffer, size_t size)
{
    PyObject *view = PyMemoryView_FromMemory(buffer, (Py_ssize_t)size,
                                             PyBUF_WRITE);
    PyObject *wanted = PyLong_FromSize_t(size);
    PyObject *done = view == NULL || wanted == NULL
                         ? NULL
                         : PyObject_CallMethodObjArgs(
                               self->sslobj, ca_tls_name(self, CA_STR_read),
                               wanted, view, NULL);
    Py_XDECREF(view);
    Py_XDECREF(wanted);
    return outcome(self, done);
}

static Py_ssize_t
membio_write(CaTls *self, const char *data, size_t nbytes)
{
    PyObject *view = PyMemoryView_FromMemory((char *)data, (Py_ssize_t)nbytes,
                                             PyBUF_READ);
    PyObject *done = view == NULL ? NULL
                                  : PyObject_CallMethodOneArg(
                                        self->sslobj,
                                        ca_tls_name(self, CA_STR_write), view);
    Py_XDECREF(view);
    return outcome(self, done);
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
    .settle = membio_settle,
    .read = membio_read,
    .write = membio_write,
    .pending_in = membio_pending_in,
    .pending_out = membio_pending_out,
    .send = membio_send,
    .drop = membio_drop,
};
