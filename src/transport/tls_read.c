/* tls_read.c - from bytes of the wire to the user's protocol.
 *
 * Everything that came is decrypted before the protocol hears of it, in one
 * piece; what came before an end or an error is delivered first.  A protocol
 * with a buffer of its own gets it decrypted there.
 */
#include "loop/ready.h"
#include "py/errors.h"
#include "transport/reader_feed.h"
#include "transport/stream.h"
#include "transport/tls.h"

#include <stdlib.h>
#include <string.h>

/* asyncio's SSLProtocol says so for everything that fails between. */
#define SSL_FAILED "Fatal error on SSL protocol"

static PyObject *
name_of(const CaTls *self, int which)
{
    return ca_tls_name(self, which);
}

char *
ca_tls_input(CaLoop *loop)
{
    if (loop->tls_buffers == NULL) {
        ca_loop_teach_allocator();
        loop->tls_buffers = malloc(2 * (size_t)CA_READ_BUFFER_SIZE);
        if (loop->tls_buffers == NULL) {
            PyErr_NoMemory();
        }
    }
    return loop->tls_buffers;
}

char *
ca_tls_plain(CaLoop *loop)
{
    char *input = ca_tls_input(loop);
    return input == NULL ? NULL : input + CA_READ_BUFFER_SIZE;
}

int
ca_tls_call(CaTls *self, int name)
{
    PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self,
                                               name_of(self, name));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_tls_fail(CaTls *self)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *text = PyUnicode_FromString(SSL_FAILED);
    int done = text == NULL ? -1
                            : ca_error_tell(exc, (PyObject *)self,
                                            name_of(self, CA_STR__fatal_error),
                                            exc, text, NULL);
    Py_XDECREF(text);
    Py_DECREF(exc);
    return done;
}

/* Call protocol.name(arg); 0 or -1. */
static int
tell(CaTls *self, PyObject *protocol, int name, PyObject *arg)
{
    Py_INCREF(protocol);
    PyObject *done = PyObject_CallMethodOneArg(protocol, name_of(self, name),
                                               arg);
    Py_DECREF(protocol);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- protocols that take bytes ---- */

/* What was decrypted, for as long as nobody else has it. */
typedef struct {
    PyObject *bytes;                   /* strong, it lies there; or NULL: */
    const char *data;                  /* borrowed: it lies in the loop's */
    size_t nbytes;
} plain_text;

/* Feed the protocol; an object that nobody keeps carries another message. */
static int
deliver(CaTls *self, plain_text *plain)
{
    ca_spares *spares = &self->loop->spares;
    PyObject *protocol = Py_NewRef(self->protocol);
    int fed = 0;
    if (self->protocol_kind == CA_PROTOCOL_READER) {
        fed = ca_reader_feed(self->loop->st, protocol, plain->data,
                             plain->nbytes, plain->bytes);
    }
    if (fed == 0 && plain->bytes == NULL) {
        plain->bytes = ca_spares_take(spares, plain->data,
                                      (Py_ssize_t)plain->nbytes);
        fed = plain->bytes == NULL ? -1 : 0;
    }
    if (fed == 0) {
        fed = tell(self, protocol, CA_STR_data_received, plain->bytes);
    }
    if (plain->bytes != NULL) {
        ca_spares_give(spares, plain->bytes);
        plain->bytes = NULL;
    }
    Py_DECREF(protocol);
    return fed < 0 ? -1 : 0;
}

/* Decrypt until memory is full or nothing is left: bytes; *end is what stopped
 * it, CA_TLS_*, or 1 when it was the memory. */
static size_t
fill(CaTls *self, char *buffer, size_t size, Py_ssize_t *end)
{
    size_t filled = 0;
    while (filled < size) {
        Py_ssize_t n = self->engine->read(self, buffer + filled,
                                          size - filled);
        if (n <= 0) {
            *end = n;
            return filled;
        }
        filled += (size_t)n;
        if (self->engine->exhausted(self)) {
            *end = CA_TLS_AGAIN;
            return filled;
        }
    }
    *end = 1;
    return filled;
}

/* The exception that ended reading waits for what came before it: what the
 * protocol does meanwhile has no effect, but for close(), which reports it.
 * Returns an exception that is to leave the loop instead, or NULL. */
static PyObject *
suspend_failure(CaTls *self, Py_ssize_t end)
{
    if (end == CA_TLS_ERROR && PyErr_ExceptionMatches(PyExc_Exception)) {
        self->broken = true;
        Py_XSETREF(self->failure, PyErr_GetRaisedException());
    }
    return PyErr_GetRaisedException();
}

/* Raise it again unless it is reported; what ended reading. */
static Py_ssize_t
resume_failure(CaTls *self, PyObject *steal_leaves, Py_ssize_t end,
               int delivered)
{
    PyObject *exc = self->failure;
    self->failure = NULL;
    if (exc == Py_None) {
        Py_CLEAR(exc);
    }
    bool reported = end == CA_TLS_ERROR && self->broken && exc == NULL;
    ca_error_restore(exc);
    ca_error_restore(steal_leaves);
    if (delivered < 0) {
        return CA_TLS_ERROR;
    }
    return reported ? CA_TLS_AGAIN : end;
}

/* Whether bytes objects are what the protocol wants. */
static bool
takes_objects(const CaTls *self)
{
    return self->protocol_kind == CA_PROTOCOL_DATA ||
           ca_reader_feed_keeps(self->loop->st, self->protocol);
}

/* Make the object hold what was decrypted into it, and `more` behind it that
 * lies elsewhere; 0 or -1. */
static int
fit(plain_text *plain, const char *more, size_t nbytes)
{
    size_t size = plain->nbytes + nbytes;
    if (size != (size_t)PyBytes_GET_SIZE(plain->bytes) &&
        _PyBytes_Resize(&plain->bytes, (Py_ssize_t)size) < 0) {
        return -1;
    }
    memcpy(PyBytes_AS_STRING(plain->bytes) + plain->nbytes, more, nbytes);
    plain->data = PyBytes_AS_STRING(plain->bytes);
    plain->nbytes = size;
    return 0;
}

/* Decrypt into a bytes object of the size that is expected, which is where it
 * ends up, uncopied, unless there is more.  0 or -1. */
static int
decrypt_object(CaTls *self, plain_text *plain, size_t expected,
               Py_ssize_t *end)
{
    ca_spares *spares = &self->loop->spares;
    char *buffer = ca_tls_plain(self->loop);
    size_t more = 0;
    plain->bytes = buffer == NULL
                       ? NULL
                       : ca_spares_blank(spares, (Py_ssize_t)expected);
    if (plain->bytes == NULL) {
        return -1;
    }
    plain->nbytes = fill(self, PyBytes_AS_STRING(plain->bytes), expected, end);
    if (*end > 0) {
        more = fill(self, buffer, CA_READ_BUFFER_SIZE, end);
    }
    if (plain->nbytes + more > 0) {
        PyObject *exc = PyErr_GetRaisedException();
        int result = fit(plain, buffer, more);
        ca_error_restore(exc);
        return result;
    }
    ca_spares_give(spares, plain->bytes);
    plain->bytes = NULL;
    return 0;
}

/* Decrypt what came, as far as the loop's buffer goes; 0 or -1. */
static int
decrypt_some(CaTls *self, plain_text *plain, Py_ssize_t *end)
{
    size_t expected = self->engine->expected(self);
    *plain = (plain_text){0};
    if (expected >= CA_SPARE_LEAST && takes_objects(self)) {
        return decrypt_object(self, plain, expected, end);
    }
    char *buffer = ca_tls_plain(self->loop);
    if (buffer == NULL) {
        return -1;
    }
    plain->data = buffer;
    plain->nbytes = fill(self, buffer, CA_READ_BUFFER_SIZE, end);
    return 0;
}

static int
decrypt(CaTls *self, plain_text *plain, Py_ssize_t *end)
{
    int result = decrypt_some(self, plain, end);
    if (plain->nbytes > 0) {
        self->last_size = (uint32_t)plain->nbytes;
    }
    return result;
}

/* Decrypt and deliver once; CA_TLS_*, or 1 when there may be more. */
static Py_ssize_t
read_once(CaTls *self)
{
    plain_text plain;
    Py_ssize_t end;
    if (decrypt(self, &plain, &end) < 0) {
        return CA_TLS_ERROR;
    }
    PyObject *leaves = suspend_failure(self, end);
    int delivered = plain.nbytes > 0 ? deliver(self, &plain) : 0;
    return resume_failure(self, leaves, end, delivered);
}

/* ---- protocols with a buffer ---- */

/* The view of a buffer that may be written to; else TypeError in the words
 * that SSLObject.read() has for it.  0 or -1. */
static int
view_buffer(PyObject *buffer, Py_buffer *view)
{
    if (PyObject_Size(buffer) < 0) {
        return -1;
    }
    if (PyObject_GetBuffer(buffer, view, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "read() argument 2 must be read-write bytes-like object, "
                     "not %.50s",
                     Py_TYPE(buffer)->tp_name);
        return -1;
    }
    return 0;
}

/* protocol.get_buffer(hint), writable and not empty; 0 or -1. */
static int
get_buffer(CaTls *self, PyObject *protocol, Py_buffer *view)
{
    PyObject *hint = PyLong_FromSize_t(self->engine->pending_in(self));
    PyObject *buffer = hint == NULL
                           ? NULL
                           : PyObject_CallMethodOneArg(
                                 protocol, name_of(self, CA_STR_get_buffer),
                                 hint);
    Py_XDECREF(hint);
    int result = buffer == NULL ? -1 : view_buffer(buffer, view);
    Py_XDECREF(buffer);
    if (result == 0 && view->len == 0) {
        PyBuffer_Release(view);
        PyErr_SetString(PyExc_RuntimeError,
                        "get_buffer() returned an empty buffer");
        result = -1;
    }
    return result;
}

/* Come back for what did not fit, behind what is queued. */
static int
queue_read(CaTls *self)
{
    PyObject *done = PyObject_CallMethodOneArg(
        (PyObject *)self, name_of(self, CA_STR__read_later), Py_None);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* protocol.buffer_updated(nbytes); 0 or -1. */
static int
tell_updated(CaTls *self, PyObject *protocol, size_t nbytes)
{
    PyObject *number = PyLong_FromSize_t(nbytes);
    int result = number == NULL
                     ? -1
                     : tell(self, protocol, CA_STR_buffer_updated, number);
    Py_XDECREF(number);
    return result;
}

/* One buffer; CA_TLS_*.  The protocol that gave it is told what is in it, also
 * when get_buffer() has put another into its place. */
static Py_ssize_t
fill_buffer(CaTls *self, PyObject *protocol)
{
    Py_buffer view;
    Py_ssize_t end;
    if (get_buffer(self, protocol, &view) < 0) {
        return CA_TLS_ERROR;
    }
    size_t nbytes = fill(self, view.buf, (size_t)view.len, &end);
    PyObject *leaves = suspend_failure(self, end);
    PyBuffer_Release(&view);
    if (end > 0 && queue_read(self) < 0) {
        return CA_TLS_ERROR;
    }
    int told = nbytes > 0 ? tell_updated(self, protocol, nbytes) : 0;
    return resume_failure(self, leaves, end > 0 ? CA_TLS_AGAIN : end, told);
}

static Py_ssize_t
read_buffered(CaTls *self)
{
    PyObject *protocol = Py_NewRef(self->protocol);
    Py_ssize_t end = fill_buffer(self, protocol);
    Py_DECREF(protocol);
    return end;
}

/* ---- both ---- */

static bool
may_read(const CaTls *self)
{
    return !self->reading_paused && !self->broken &&
           !ca_tls_missing(self->protocol) &&
           (ca_tls_in_state(self, CA_TLS_WRAPPED) ||
            ca_tls_in_state(self, CA_TLS_FLUSHING));
}

/* Pause or resume the transport below, as much waits for us; 0 or -1. */
static int
control_reading(CaTls *self)
{
    double size = (double)self->engine->pending_in(self);
    bool paused = self->lower_reading_paused;
    bool full = size > 0 && size >= self->marks[CA_TLS_IN_HIGH];
    bool low = size <= self->marks[CA_TLS_IN_LOW];
    if (paused ? !low : !full) {
        return 0;
    }
    if (ca_tls_missing(self->transport)) {
        return 0;
    }
    self->lower_reading_paused = !paused;
    PyObject *done = PyObject_CallMethodNoArgs(
        self->transport,
        name_of(self, paused ? CA_STR_resume_reading : CA_STR_pause_reading));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Feed the protocol until nothing is left or it wants no more; 0 or -1. */
static int
feed(CaTls *self)
{
    Py_ssize_t end = 1;
    while (end > 0 && may_read(self)) {
        end = self->protocol_kind == CA_PROTOCOL_BUFFERED ? read_buffered(self)
                                                          : read_once(self);
    }
    if (end == CA_TLS_EOF) {
        return ca_tls_call(self, CA_STR__call_eof_received) < 0
                   ? -1
                   : ca_tls_call(self, CA_STR__start_shutdown);
    }
    return end == CA_TLS_ERROR ? -1 : 0;
}

int
ca_tls_read(CaTls *self)
{
    if (!ca_tls_in_state(self, CA_TLS_WRAPPED) &&
        !ca_tls_in_state(self, CA_TLS_FLUSHING)) {
        return 0;
    }
    int result = 0;
    if (may_read(self)) {
        result = feed(self);
        if (result == 0) {
            result = ca_tls_is_held(self) ? ca_tls_process_outgoing(self)
                                          : ca_tls_drain(self, false);
        }
    }
    if (result == 0) {
        result = control_reading(self);
    }
    return result < 0 ? ca_tls_fail(self) : 0;
}

/* ---- from the transport below ---- */

bool
ca_tls_serves(const ca_state *st, PyObject *protocol)
{
    return st->TlsProtocol != NULL &&
           (PyObject *)Py_TYPE(protocol) == st->TlsProtocol;
}

/* What arriving bytes mean in the state of the connection; 0 or -1. */
static int
act(CaTls *self)
{
    if (ca_tls_in_state(self, CA_TLS_WRAPPED)) {
        return ca_tls_read(self);
    }
    if (ca_tls_in_state(self, CA_TLS_DO_HANDSHAKE)) {
        return ca_tls_call(self, CA_STR__do_handshake);
    }
    if (ca_tls_in_state(self, CA_TLS_FLUSHING)) {
        return ca_tls_call(self, CA_STR__do_flush);
    }
    if (ca_tls_in_state(self, CA_TLS_SHUTDOWN)) {
        return ca_tls_call(self, CA_STR__do_shutdown);
    }
    self->engine->drop(self);          /* nobody will read it */
    return 0;
}

/* Keep what is not used; the result so far, or -1. */
static int
settle(CaTls *self, int result)
{
    PyObject *exc = PyErr_GetRaisedException();
    if (self->engine->settle(self) < 0) {
        result = -1;
    }
    ca_error_restore(exc);
    return result;
}

int
ca_tls_received(PyObject *op, const char *data, size_t nbytes)
{
    CaTls *self = (CaTls *)Py_NewRef(op);
    int result = ca_tls_check_ready(self) < 0
                     ? -1
                     : self->engine->offer(self, data, nbytes);
    if (result == 0) {
        result = settle(self, act(self));
    }
    Py_DECREF(op);
    return result;
}

bool
ca_tls_receive(PyObject *op, CaStream *stream, ssize_t *received, int *result)
{
    CaTls *self = (CaTls *)op;
    /* One with a buffer of its own is asked for it when bytes are there. */
    if (self->loop == NULL || !ca_tls_in_state(self, CA_TLS_WRAPPED) ||
        self->protocol_kind == CA_PROTOCOL_BUFFERED || !may_read(self) ||
        !self->engine->invite(self, stream)) {
        return false;
    }
    Py_INCREF(op);
    *result = ca_tls_read(self);
    *received = self->engine->withdraw(self);
    *result = settle(self, *result);
    Py_DECREF(op);
    return true;
}

PyDoc_STRVAR(buffer_updated_doc,
"buffer_updated($self, nbytes, /)\n--\n\n"
"Take so many bytes of the wire from the buffer of get_buffer().");

static PyObject *
tls_py_buffer_updated(PyObject *op, PyObject *number)
{
    CaTls *self = (CaTls *)op;
    Py_ssize_t nbytes = PyLong_AsSsize_t(number);
    PyObject *buffer = self->buffer;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    if (nbytes == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (buffer == NULL || nbytes < 0 ||
        nbytes > PyByteArray_GET_SIZE(buffer)) {
        PyErr_SetString(PyExc_ValueError,
                        "more bytes than get_buffer() gave room for");
        return NULL;
    }
    Py_INCREF(buffer);
    int result = ca_tls_received(op, PyByteArray_AS_STRING(buffer),
                                 (size_t)nbytes);
    Py_DECREF(buffer);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(get_buffer_doc,
"get_buffer($self, n, /)\n--\n\n"
"Return memory for bytes of the wire, for transports that are not native.");

static PyObject *
tls_py_get_buffer(PyObject *op, PyObject *Py_UNUSED(hint))
{
    CaTls *self = (CaTls *)op;
    if (self->buffer == NULL) {
        self->buffer = PyByteArray_FromStringAndSize(NULL, 64 * 1024);
        if (self->buffer == NULL) {
            return NULL;
        }
    }
    return PyMemoryView_FromObject(self->buffer);
}

PyDoc_STRVAR(_feed_doc,
"_feed($self, data, /)\n--\n\n"
"Take bytes of the wire that somebody else received, before the handshake.");

static PyObject *
tls_py__feed(PyObject *op, PyObject *data)
{
    CaTls *self = (CaTls *)op;
    Py_buffer view;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    int result = self->engine->offer(self, view.buf, (size_t)view.len);
    if (result == 0) {
        result = self->engine->settle(self);
    }
    PyBuffer_Release(&view);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_do_read_doc,
"_do_read($self)\n--\n\n"
"Decrypt what there is and feed the protocol.");

static PyObject *
tls_py__do_read(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    int result = ca_tls_read(self);
    if (result == 0) {
        result = self->engine->settle(self);
    }
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_skip_doc,
"_skip($self)\n--\n\n"
"Decrypt what there is for nobody; return how many bytes that were.");

static PyObject *
tls_py__skip(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    char *plain = ca_tls_plain(self->loop);
    Py_ssize_t end = plain == NULL ? CA_TLS_ERROR : 1;
    size_t skipped = 0;
    while (end > 0 && !self->broken && !ca_tls_missing(self->sslobj)) {
        skipped += fill(self, plain, CA_READ_BUFFER_SIZE, &end);
    }
    return end == CA_TLS_ERROR ? NULL : PyLong_FromSize_t(skipped);
}

PyDoc_STRVAR(_control_ssl_reading_doc,
"_control_ssl_reading($self)\n--\n\n"
"Pause or resume the transport below, as the marks say.");

static PyObject *
tls_py__control_ssl_reading(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return control_reading(self) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(_get_read_buffer_size_doc,
"_get_read_buffer_size($self)\n--\n\n"
"Return how many bytes of the wire wait to be decrypted.");

static PyObject *
tls_py__get_read_buffer_size(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTls *self = (CaTls *)op;
    if (ca_tls_check_ready(self) < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(self->engine->pending_in(self));
}

PyMethodDef ca_tls_read_methods[] = {
    {"get_buffer", tls_py_get_buffer, METH_O, get_buffer_doc},
    {"buffer_updated", tls_py_buffer_updated, METH_O, buffer_updated_doc},
    {"_feed", tls_py__feed, METH_O, _feed_doc},
    {"_do_read", tls_py__do_read, METH_NOARGS, _do_read_doc},
    {"_skip", tls_py__skip, METH_NOARGS, _skip_doc},
    {"_control_ssl_reading", tls_py__control_ssl_reading, METH_NOARGS,
     _control_ssl_reading_doc},
    {"_get_read_buffer_size", tls_py__get_read_buffer_size, METH_NOARGS,
     _get_read_buffer_size_doc},
    {0},
};
