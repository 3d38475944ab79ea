/* datagram_send.c - datagrams that leave.
 *
 * A datagram leaves at once, in sendto().  But answers that a quick protocol
 * gives to a batch of datagrams are gathered until the batch is delivered, so
 * that they leave in one system call.  Whatever looks at the queue, or cannot
 * be gathered, sends them first; and they are sent as soon as the callbacks
 * take longer than they should, see ca_gather_is_late().
 */
#include "py/args.h"
#include "py/errors.h"
#include "transport/datagram.h"

#include <errno.h>
#include <string.h>

/* ---- one ---- */

/* Where a datagram goes: 1, 0 for asyncio's method to find out, -1. */
static int
find_destination(CaDatagram *self, PyObject *address, ca_sockaddr *scratch,
                 const struct sockaddr **to, socklen_t *length)
{
    PyObject *fixed = self->address == NULL ? Py_None : self->address;
    if (fixed != Py_None) {
        if (address != Py_None && address != fixed) {
            int same = PyObject_RichCompareBool(fixed, address, Py_EQ);
            if (same <= 0) {
                return same;
            }
        }
        address = fixed;
    }
    if (self->connected) {
        *to = NULL;
        *length = 0;
        return 1;
    }
    return ca_peers_destination(&self->peers, self->family, address, scratch,
                                to, length);
}

/* One system call; repeated after a signal, as the socket module does it.
 * Bytes sent, -errno, or -1 with an exception of a signal handler. */
static Py_ssize_t
send_bytes(const CaDatagram *self, const void *bytes, Py_ssize_t nbytes,
           const struct sockaddr *to, socklen_t length)
{
    for (;;) {
        ssize_t sent = sendto(self->fd, bytes, (size_t)nbytes, MSG_DONTWAIT,
                              to, length);
        if (sent >= 0) {
            return sent;
        }
        if (errno != EINTR) {
            return -errno;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
}

int
ca_datagram_tell_error(CaDatagram *self, int err)
{
    errno = -err;
    PyErr_SetFromErrno(PyExc_OSError); /* ENOMEM too is the kernel's */
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallMethodOneArg(
        (PyObject *)self, self->st->names[CA_STR__error_received], exc);
    Py_DECREF(exc);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The kernel has refused a datagram: 0 for asyncio's method to queue it, 1
 * when the protocol was told, -1 when that failed.  May run Python. */
static int
send_failed(CaDatagram *self, int err)
{
    if (err == -EAGAIN || err == -EWOULDBLOCK) {
        return 0;
    }
    return ca_datagram_tell_error(self, err) < 0 ? -1 : 1;
}

static bool
buffer_is_empty(const CaDatagram *self)
{
    return self->buffer == NULL || PyObject_Size(self->buffer) == 0;
}

/* ---- gathered ---- */

/* asyncio's method: it tries again, and queues what the kernel does not
 * take. */
static int
send_by_stock(CaDatagram *self, PyObject *data, PyObject *address)
{
    PyObject *args[2] = {data, address};
    PyObject *done = ca_stock_call(self->st->StockDatagram,
                                   self->st->names[CA_STR_sendto],
                                   (PyObject *)self, args, 2, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Send those from `first` on, or as many as one call takes; how many were
 * dealt with is added to *first.  0, or -1 with an exception of the
 * protocol. */
static int
send_some(CaDatagram *self, ca_gather *g, int count, int *first)
{
    int i = *first;
    int sent = -1;
    errno = EAGAIN;
    if (ca_datagram_usual(self) && buffer_is_empty(self)) {
        sent = sendmmsg(self->fd, &g->messages[i], (unsigned)(count - i),
                        MSG_DONTWAIT);
    }
    if (sent > 0) {
        *first += sent;
        return 0;
    }
    *first += 1;
    if (ca_errno_is_try_later(-errno)) {
        return send_by_stock(self, g->data[i], g->address[i]);
    }
    return ca_datagram_tell_error(self, -errno);
}

int
ca_datagram_flush_gathered(CaDatagram *self)
{
    ca_gather *g = self->gather;
    int count = g->count;
    PyObject *error = PyErr_GetRaisedException();
    self->gather = NULL;              /* what is sent meanwhile leaves at once,
                                          behind these */
    for (int i = 0; i < count;) {
        if (send_some(self, g, count, &i) < 0) {
            ca_error_restore(error);
            error = PyErr_GetRaisedException();
        }
    }
    for (int i = 0; i < count; i++) {
        Py_DECREF(g->data[i]);
        Py_DECREF(g->address[i]);
    }
    g->count = 0;
    self->gather = g;
    if (error != NULL) {
        PyErr_SetRaisedException(error);
    }
    return error == NULL ? 0 : -1;
}

/* Keep a datagram for the end of the batch; 1, or -1 when that sent some and
 * failed. */
static int
gather(CaDatagram *self, PyObject *data, PyObject *address,
       const struct sockaddr *to, socklen_t length)
{
    ca_gather *g = self->gather;
    int i = g->count++;
    if (length > 0) {
        memcpy(&g->to[i], to, length);
    }
    g->parts[i] = (struct iovec){.iov_base = PyBytes_AS_STRING(data),
                                 .iov_len = (size_t)PyBytes_GET_SIZE(data)};
    g->messages[i] = (struct mmsghdr){
        .msg_hdr = {.msg_iov = &g->parts[i],
                    .msg_iovlen = 1,
                    .msg_name = length > 0 ? &g->to[i] : NULL,
                    .msg_namelen = length},
    };
    g->data[i] = Py_NewRef(data);
    g->address[i] = Py_NewRef(address);
    if (g->count == CA_DATAGRAM_BATCH) {
        return ca_datagram_flush_gathered(self) < 0 ? -1 : 1;
    }
    return 1;
}

/* ---- sendto() ---- */

/* Send at once, or gather if `data` is not NULL: 1, 0 when asyncio's method
 * has to do it, -1.  Runs Python only when the comparison of addresses or a
 * refusal does. */
static int
send_now(CaDatagram *self, PyObject *address, PyObject *data,
         const void *bytes, Py_ssize_t nbytes)
{
    ca_sockaddr scratch;
    const struct sockaddr *to;
    socklen_t length;
    int found = find_destination(self, address, &scratch, &to, &length);
    if (found <= 0) {
        return found;
    }
    if (!ca_datagram_usual(self)) {
        return 0;                      /* the comparison has closed it */
    }
    if (self->gather != NULL) {
        if (data != NULL && length <= sizeof(self->gather->to[0])) {
            return gather(self, data, address, to, length);
        }
        if (ca_datagram_flush(self) < 0) {
            return -1;
        }
        if (!buffer_is_empty(self)) {
            return 0;
        }
    }
    Py_ssize_t sent = send_bytes(self, bytes, nbytes, to, length);
    if (sent >= 0) {
        return 1;
    }
    return PyErr_Occurred() ? -1 : send_failed(self, (int)sent);
}

static int
try_send(CaDatagram *self, PyObject *data, PyObject *address)
{
    if (self->conn_lost != 0 || !ca_datagram_usual(self) ||
        !buffer_is_empty(self)) {
        return 0;
    }
    if (PyBytes_CheckExact(data)) {
        Py_ssize_t nbytes = PyBytes_GET_SIZE(data);
        return nbytes == 0 ? 0
                           : send_now(self, address, data,
                                      PyBytes_AS_STRING(data), nbytes);
    }
    if (!PyBytes_Check(data) && !PyByteArray_Check(data) &&
        !PyMemoryView_Check(data)) {
        return 0;
    }
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    int sent = view.len == 0
                   ? 0
                   : send_now(self, address, NULL, view.buf, view.len);
    PyBuffer_Release(&view);
    return sent;
}

const char ca_datagram_sendto_doc[] =
    "sendto($self, data, addr=None)\n--\n\n"
    "Send a datagram, at once if the kernel takes it; else it is queued.\n\n"
    "`addr` is where it goes; None is the address that the transport was "
    "made\n"
    "with.  Bytes-like data that can change is copied before it is queued.\n\n"
    "Errors: TypeError for data that is not bytes, bytearray or memoryview,\n"
    "ValueError for an address other than the transport's own.  What the "
    "kernel\n"
    "refuses goes to the protocol's error_received().\n"
    "Threads: the loop's own thread only.\n"
    "Source: asyncio, \"Datagram Transports\".";

PyObject *
ca_datagram_py_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    CaDatagram *self = (CaDatagram *)op;
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    int sent = 0;
    if (nkw == 0 && (nargs == 1 || nargs == 2)) {
        sent = try_send(self, args[0], nargs == 1 ? Py_None : args[1]);
    } else if (nkw == 1 && nargs == 1 &&
               PyTuple_GET_ITEM(kwnames, 0) == self->st->names[CA_STR_addr]) {
        sent = try_send(self, args[0], args[1]);
    }
    if (sent < 0 || (sent == 0 && ca_datagram_flush(self) < 0)) {
        return NULL;
    }
    if (sent > 0) {
        Py_RETURN_NONE;
    }
    PyObject *method = PyObject_GetAttr(
        op, self->st->names[CA_STR__sendto_unusual]);
    PyObject *result = method == NULL
                           ? NULL
                           : PyObject_Vectorcall(method, args, (size_t)nargs,
                                                 kwnames);
    Py_XDECREF(method);
    return result;
}
