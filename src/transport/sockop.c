/* sockop.c - the operations behind sockcall.h: one try of each.
 *
 * Each does what the method of socket.socket does on a socket that does not
 * block, with the same results and exceptions.  A first try that finds
 * arguments it does not understand leaves the call to stock; when arguments
 * have become strange while the call waited (a memoryview was released, say),
 * the method itself is called for its words.
 */
#include "transport/sockcall.h"

#include "py/sockaddr.h"
#include "py/sockobj.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ARG_SOCK, ARG_FIRST, ARG_SECOND };
enum { RETRY = -1 };                   /* beside the outcomes */

static PyObject *
sock_of(const CaSockCall *call)
{
    return call->args[ARG_SOCK];
}

static int
fd_of(const CaSockCall *call)
{
    return ca_sockobj_traits(sock_of(call)).fd;
}

static int
family_of(const CaSockCall *call)
{
    return ca_sockobj_traits(sock_of(call)).family;
}

/* ---- system calls ---- */

/* What a failed one means: RETRY or an outcome.  May run Python (a signal's
 * handler). */
static int
judge_errno(void)
{
    switch (errno) {
    case EINTR:
        return PyErr_CheckSignals() < 0 ? (int)CA_SOCKCALL_FAILED : RETRY;
    case EAGAIN:
    case EALREADY:
    case EINPROGRESS:
        return CA_SOCKCALL_AGAIN;
    default:
        PyErr_SetFromErrno(PyExc_OSError);
        return CA_SOCKCALL_FAILED;
    }
}

/* recvfrom(2); with `from` NULL recv(2).  After a signal's handler has run the
 * socket is asked anew: it may have been closed. */
static ca_sock_outcome
receive(const CaSockCall *call, void *buf, Py_ssize_t size, ca_sockaddr *from,
        Py_ssize_t *received)
{
    int verdict;
    do {
        struct sockaddr *addr = NULL;
        socklen_t *length = NULL;
        if (from != NULL) {
            memset(&from->u, 0, sizeof(from->u));
            from->length = sizeof(from->u);
            addr = &from->u.any;
            length = &from->length;
        }
        *received = recvfrom(fd_of(call), buf, (size_t)size, MSG_DONTWAIT,
                             addr, length);
        verdict = *received >= 0 ? (int)CA_SOCKCALL_DONE : judge_errno();
    } while (verdict == RETRY);
    return (ca_sock_outcome)verdict;
}

/* sendto(2); with `to` NULL send(2). */
static ca_sock_outcome
transmit(const CaSockCall *call, const void *buf, Py_ssize_t size,
         const ca_sockaddr *to, Py_ssize_t *sent)
{
    int verdict;
    do {
        *sent = sendto(fd_of(call), buf, (size_t)size, MSG_DONTWAIT,
                       to == NULL ? NULL : &to->u.any,
                       to == NULL ? 0 : to->length);
        verdict = *sent >= 0 ? (int)CA_SOCKCALL_DONE : judge_errno();
    } while (verdict == RETRY);
    return (ca_sock_outcome)verdict;
}

/* ---- the socket's own methods ---- */

/* The outcome of sock.name(*args), which has returned `result`. */
static ca_sock_outcome
judge_method(const PyObject *result)
{
    if (result != NULL) {
        return CA_SOCKCALL_DONE;
    }
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
        PyErr_ExceptionMatches(PyExc_InterruptedError)) {
        PyErr_Clear();
        return CA_SOCKCALL_AGAIN;
    }
    return CA_SOCKCALL_FAILED;
}

/* ---- receiving ---- */

/* A size argument that is a plain int, not negative. */
static bool
plain_size(PyObject *arg, Py_ssize_t *size)
{
    if (!PyLong_CheckExact(arg)) {
        return false;
    }
    *size = PyLong_AsSsize_t(arg);
    if (*size == -1 && PyErr_Occurred()) {
        PyErr_Clear();
    }
    return *size >= 0;
}

/* The last call on that stream has left nothing, and nothing has come since
 * we last looked: wait at once. */
static bool
known_empty(const CaSockCall *call)
{
    return ca_sockwatch_is_drained(call->loop, sock_of(call), fd_of(call));
}

/* A stream that gives less than was asked for has no more.  An end of stream
 * stays: who kept watching would be told of it all the time. */
static void
note_received(CaSockCall *call, Py_ssize_t asked, Py_ssize_t received)
{
    bool stream = ca_sockobj_traits(sock_of(call)).type == SOCK_STREAM;
    call->drained = stream && received < asked;
    call->keep = received > 0 && (call->drained || !stream);
}

/* Receive into new bytes.  Up to the size of the loop's buffer they get their
 * final size at once, unless much is expected; asking for more costs a block
 * of that size. */
static ca_sock_outcome
receive_bytes(CaSockCall *call, ca_sockaddr *from, PyObject **result)
{
    Py_ssize_t received;
    ca_sock_outcome outcome;
    if (call->size <= CA_READ_BUFFER_SIZE && !call->loop->bulk) {
        char *buffer = ca_loop_read_buffer(call->loop);
        if (buffer == NULL) {
            return CA_SOCKCALL_FAILED;
        }
        outcome = receive(call, buffer, call->size, from, &received);
        if (outcome == CA_SOCKCALL_DONE) {
            *result = PyBytes_FromStringAndSize(buffer, received);
        }
    } else {
        PyObject *bytes = PyBytes_FromStringAndSize(NULL, call->size);
        if (bytes == NULL) {
            return CA_SOCKCALL_FAILED;
        }
        outcome = receive(call, PyBytes_AS_STRING(bytes), call->size, from,
                          &received);
        if (outcome == CA_SOCKCALL_DONE) {
            (void)_PyBytes_Resize(&bytes, received);
            *result = bytes;
        } else {
            Py_DECREF(bytes);
        }
    }
    if (outcome == CA_SOCKCALL_DONE) {
        note_received(call, call->size, received);
        ca_loop_note_received(call->loop, received);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return outcome;
}

/* (value, address), taking the value; NULL with an exception. */
static PyObject *
with_address(PyObject *steal_value, const ca_sockaddr *from)
{
    PyObject *addr = steal_value == NULL
                         ? NULL
                         : ca_sockaddr_to_python(&from->u.any, from->length);
    PyObject *pair = addr == NULL ? NULL : PyTuple_Pack(2, steal_value, addr);
    Py_XDECREF(addr);
    Py_XDECREF(steal_value);
    return pair;
}

static ca_sock_outcome
again_recv(CaSockCall *call, PyObject **result)
{
    if (call->size == 0) {             /* the socket's method does not ask */
        *result = PyBytes_FromStringAndSize(NULL, 0);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return receive_bytes(call, NULL, result);
}

static ca_sock_outcome
start_recv(CaSockCall *call, PyObject **result)
{
    if (!plain_size(call->args[ARG_FIRST], &call->size)) {
        return CA_SOCKCALL_STOCK;
    }
    return call->size > 0 && known_empty(call) ? CA_SOCKCALL_AGAIN
                                               : again_recv(call, result);
}

static ca_sock_outcome
again_recvfrom(CaSockCall *call, PyObject **result)
{
    ca_sockaddr from;
    ca_sock_outcome outcome = receive_bytes(call, &from, result);
    if (outcome == CA_SOCKCALL_DONE) {
        *result = with_address(*result, &from);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return outcome;
}

static ca_sock_outcome
start_recvfrom(CaSockCall *call, PyObject **result)
{
    return plain_size(call->args[ARG_FIRST], &call->size) &&
                   ca_sockaddr_family_known(family_of(call))
               ? again_recvfrom(call, result)
               : CA_SOCKCALL_STOCK;
}

/* ---- receiving into somebody's buffer ---- */

/* Open the buffer for one try, as the socket's method does; false when it
 * cannot be had. */
static bool
open_target(const CaSockCall *call, Py_buffer *target)
{
    if (PyObject_GetBuffer(call->args[ARG_FIRST], target, PyBUF_WRITABLE) <
        0) {
        PyErr_Clear();
        return false;
    }
    if (!PyBuffer_IsContiguous(target, 'C')) {
        PyBuffer_Release(target);
        return false;
    }
    return true;
}

static ca_sock_outcome
try_recv_into(CaSockCall *call, PyObject **result, Py_buffer *target)
{
    Py_ssize_t received = 0;
    ca_sock_outcome outcome = CA_SOCKCALL_DONE;
    if (target->len > 0) {             /* else the method does not ask */
        outcome = receive(call, target->buf, target->len, NULL, &received);
    }
    note_received(call, target->len, received);
    PyBuffer_Release(target);
    if (outcome == CA_SOCKCALL_DONE) {
        *result = PyLong_FromSsize_t(received);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return outcome;
}

static ca_sock_outcome
start_recv_into(CaSockCall *call, PyObject **result)
{
    Py_buffer target;
    if (!open_target(call, &target)) {
        return CA_SOCKCALL_STOCK;
    }
    if (target.len > 0 && known_empty(call)) {
        PyBuffer_Release(&target);
        return CA_SOCKCALL_AGAIN;
    }
    return try_recv_into(call, result, &target);
}

static ca_sock_outcome
again_recv_into(CaSockCall *call, PyObject **result)
{
    Py_buffer target;
    if (open_target(call, &target)) {
        return try_recv_into(call, result, &target);
    }
    *result = PyObject_CallMethod(sock_of(call), "recv_into", "O",
                                  call->args[ARG_FIRST]);
    return judge_method(*result);
}

static ca_sock_outcome
try_recvfrom_into(CaSockCall *call, PyObject **result, Py_buffer *target)
{
    ca_sockaddr from;
    Py_ssize_t received;
    Py_ssize_t size = call->size == 0 ? target->len : call->size;
    ca_sock_outcome outcome = receive(call, target->buf, size, &from,
                                      &received);
    note_received(call, size, received);
    PyBuffer_Release(target);
    if (outcome == CA_SOCKCALL_DONE) {
        *result = with_address(PyLong_FromSsize_t(received), &from);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return outcome;
}

/* The length that stock takes: nbytes, or len(buf) when it is 0. */
static bool
plain_length(CaSockCall *call)
{
    PyObject *given = call->args[ARG_SECOND];
    if (given != NULL && !plain_size(given, &call->size)) {
        return false;
    }
    if (given == NULL || call->size == 0) {
        call->size = PyObject_Size(call->args[ARG_FIRST]);
        if (call->size < 0) {
            PyErr_Clear();
        }
    }
    return call->size >= 0 && ca_sockaddr_family_known(family_of(call));
}

static ca_sock_outcome
start_recvfrom_into(CaSockCall *call, PyObject **result)
{
    Py_buffer target;
    if (!plain_length(call) || !open_target(call, &target)) {
        return CA_SOCKCALL_STOCK;
    }
    if (call->size > target.len) {
        PyBuffer_Release(&target);
        return CA_SOCKCALL_STOCK;
    }
    return try_recvfrom_into(call, result, &target);
}

static ca_sock_outcome
again_recvfrom_into(CaSockCall *call, PyObject **result)
{
    Py_buffer target;
    if (open_target(call, &target)) {
        if (call->size <= target.len) {
            return try_recvfrom_into(call, result, &target);
        }
        PyBuffer_Release(&target);
    }
    *result = PyObject_CallMethod(sock_of(call), "recvfrom_into", "On",
                                  call->args[ARG_FIRST], call->size);
    return judge_method(*result);
}

/* ---- sending ---- */

/* Data whose length in items is its length in bytes, and which cannot run
 * Python: stock compares what was sent with len(data). */
static bool
open_source(PyObject *data, Py_buffer *source)
{
    if (!PyBytes_CheckExact(data) && !PyByteArray_CheckExact(data) &&
        !PyMemoryView_Check(data)) {
        return false;
    }
    if (PyObject_GetBuffer(data, source, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return false;
    }
    if (PyMemoryView_Check(data)) {
        const Py_buffer *view = PyMemoryView_GET_BUFFER(data);
        if (view->ndim != 1 || view->itemsize != 1) {
            PyBuffer_Release(source);
            return false;
        }
    }
    return true;
}

/* call->size is what was sent so far. */
static ca_sock_outcome
go_on_sending(CaSockCall *call, const Py_buffer *source, PyObject **result)
{
    Py_ssize_t sent;
    ca_sock_outcome outcome = transmit(call,
                                       (const char *)source->buf + call->size,
                                       source->len - call->size, NULL, &sent);
    if (outcome == CA_SOCKCALL_DONE) {
        call->size += sent;
        if (call->size < source->len) {
            return CA_SOCKCALL_AGAIN;
        }
        *result = Py_NewRef(Py_None);
    }
    return outcome;
}

static ca_sock_outcome
start_sendall(CaSockCall *call, PyObject **result)
{
    Py_buffer source;
    PyObject *data = call->args[ARG_FIRST];
    if (!open_source(data, &source)) {
        return CA_SOCKCALL_STOCK;
    }
    ca_sock_outcome outcome = go_on_sending(call, &source, result);
    bool empty = source.len == 0;
    PyBuffer_Release(&source);
    if (outcome == CA_SOCKCALL_AGAIN && empty) {
        *result = Py_NewRef(Py_None);  /* nothing is what was to be sent */
        return CA_SOCKCALL_DONE;
    }
    if (outcome == CA_SOCKCALL_AGAIN) {
        /* Held as stock holds it, by a view of its own. */
        call->view = PyMemoryView_FromObject(data);
        return call->view == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_AGAIN;
    }
    return outcome;
}

static ca_sock_outcome
again_sendall(CaSockCall *call, PyObject **result)
{
    return go_on_sending(call, PyMemoryView_GET_BUFFER(call->view), result);
}

static ca_sock_outcome
try_sendto(CaSockCall *call, PyObject **result)
{
    Py_buffer source;
    ca_sockaddr to;
    Py_ssize_t sent;
    PyObject *address = call->args[ARG_SECOND];
    if (ca_sockaddr_from_python(family_of(call), address, &to) != 1) {
        return CA_SOCKCALL_STOCK;
    }
    if (PyObject_GetBuffer(call->args[ARG_FIRST], &source, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return CA_SOCKCALL_STOCK;
    }
    ca_sock_outcome outcome = CA_SOCKCALL_FAILED;
    if (PySys_Audit("socket.sendto", "OO", sock_of(call), address) == 0) {
        outcome = transmit(call, source.buf, source.len, &to, &sent);
    }
    PyBuffer_Release(&source);
    if (outcome == CA_SOCKCALL_DONE) {
        *result = PyLong_FromSsize_t(sent);
        return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
    }
    return outcome;
}

static ca_sock_outcome
again_sendto(CaSockCall *call, PyObject **result)
{
    ca_sock_outcome outcome = try_sendto(call, result);
    if (outcome != CA_SOCKCALL_STOCK) {
        return outcome;
    }
    *result = PyObject_CallMethod(sock_of(call), "sendto", "OiO",
                                  call->args[ARG_FIRST], 0,
                                  call->args[ARG_SECOND]);
    return judge_method(*result);
}

/* ---- connecting ---- */

/* Sockets whose numeric addresses stock takes as they are. */
static bool
takes_numbers(const ca_socket_traits *traits)
{
    return (traits->family == AF_INET || traits->family == AF_INET6) &&
           (traits->type == SOCK_STREAM || traits->type == SOCK_DGRAM) &&
           (traits->proto == 0 || traits->proto == IPPROTO_TCP ||
            traits->proto == IPPROTO_UDP);
}

/* The address as stock resolves it, which its messages show. */
static PyObject *
resolved(int family, PyObject *address)
{
    if (family == AF_INET || PyTuple_GET_SIZE(address) == 4) {
        return Py_NewRef(address);
    }
    PyObject *flowinfo = PyTuple_GET_SIZE(address) > 2
                             ? PyTuple_GET_ITEM(address, 2)
                             : NULL;
    return flowinfo == NULL
               ? Py_BuildValue("(OOii)", PyTuple_GET_ITEM(address, 0),
                               PyTuple_GET_ITEM(address, 1), 0, 0)
               : Py_BuildValue("(OOOi)", PyTuple_GET_ITEM(address, 0),
                               PyTuple_GET_ITEM(address, 1), flowinfo, 0);
}

static ca_sock_outcome
start_connect(CaSockCall *call, PyObject **result)
{
    ca_sockaddr to;
    ca_socket_traits traits = ca_sockobj_traits(sock_of(call));
    PyObject *given = call->args[ARG_FIRST];
    if (!takes_numbers(&traits) ||
        ca_sockaddr_from_python(traits.family, given, &to) != 1) {
        return CA_SOCKCALL_STOCK;
    }
    PyObject *address = resolved(traits.family, given);
    if (address == NULL) {
        return CA_SOCKCALL_FAILED;
    }
    Py_SETREF(call->args[ARG_FIRST], address);
    if (PySys_Audit("socket.connect", "OO", sock_of(call), address) < 0) {
        return CA_SOCKCALL_FAILED;
    }
    if (connect(fd_of(call), &to.u.any, to.length) == 0) {
        *result = Py_NewRef(Py_None);
        return CA_SOCKCALL_DONE;
    }
    /* After a signal the attempt goes on by itself, as after EINPROGRESS. */
    int verdict = judge_errno();
    return verdict == RETRY ? CA_SOCKCALL_AGAIN : (ca_sock_outcome)verdict;
}

/* The attempt has come to its end: how? */
static ca_sock_outcome
again_connect(CaSockCall *call, PyObject **result)
{
    int err = 0;
    socklen_t length = sizeof(err);
    if (getsockopt(fd_of(call), SOL_SOCKET, SO_ERROR, &err, &length) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        return CA_SOCKCALL_FAILED;
    }
    if (err == 0) {
        *result = Py_NewRef(Py_None);
        return CA_SOCKCALL_DONE;
    }
    PyObject *why = PyUnicode_FromFormat("Connect call failed %S",
                                         call->args[ARG_FIRST]);
    PyObject *exc = why == NULL
                        ? NULL
                        : PyObject_CallFunction(PyExc_OSError, "iO", err, why);
    Py_XDECREF(why);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return judge_method(NULL);
}

/* ---- accepting ---- */

/* A socket.socket like the listening one, for a new descriptor which does not
 * block; takes the descriptor. */
static PyObject *
make_socket(const CaSockCall *call, int steal_fd)
{
    ca_socket_traits traits = ca_sockobj_traits(sock_of(call));
    PyObject *conn = PyObject_CallFunction(
        call->c.st->Socket, "iiii", traits.family, traits.type | SOCK_NONBLOCK,
        traits.proto, steal_fd);
    if (conn == NULL) {
        close(steal_fd);
    }
    return conn;
}

static ca_sock_outcome
again_accept(CaSockCall *call, PyObject **result)
{
    ca_sockaddr from;
    int fd;
    int verdict;
    do {
        memset(&from.u, 0, sizeof(from.u));
        from.length = sizeof(from.u);
        fd = accept4(fd_of(call), &from.u.any, &from.length,
                     SOCK_CLOEXEC | SOCK_NONBLOCK);
        verdict = fd >= 0 ? (int)CA_SOCKCALL_DONE : judge_errno();
    } while (verdict == RETRY);
    if (fd < 0) {
        return (ca_sock_outcome)verdict;
    }
    call->keep = true;                 /* more connections are expected */
    *result = with_address(make_socket(call, fd), &from);
    return *result == NULL ? CA_SOCKCALL_FAILED : CA_SOCKCALL_DONE;
}

static ca_sock_outcome
start_accept(CaSockCall *call, PyObject **result)
{
    return ca_sockaddr_family_known(family_of(call))
               ? again_accept(call, result)
               : CA_SOCKCALL_STOCK;
}

/* ---- the table ---- */

/* A call on a connection holds its socket, which somebody may close: the
 * number stays its own until the call ends.  Others do not: what listens, or
 * is bound, is to stop at once, and to give its port away. */

const ca_sock_op ca_sock_op_recv = {"sock_recv", CA_OP_POLL_IN, true,
                                    start_recv, again_recv};
const ca_sock_op ca_sock_op_recv_into = {"sock_recv_into", CA_OP_POLL_IN, true,
                                         start_recv_into, again_recv_into};
const ca_sock_op ca_sock_op_recvfrom = {"sock_recvfrom", CA_OP_POLL_IN, false,
                                        start_recvfrom, again_recvfrom};
const ca_sock_op ca_sock_op_recvfrom_into = {
    "sock_recvfrom_into", CA_OP_POLL_IN, false, start_recvfrom_into,
    again_recvfrom_into};
const ca_sock_op ca_sock_op_sendall = {"sock_sendall", CA_OP_POLL_OUT, true,
                                       start_sendall, again_sendall};
const ca_sock_op ca_sock_op_sendto = {"sock_sendto", CA_OP_POLL_OUT, false,
                                      try_sendto, again_sendto};
const ca_sock_op ca_sock_op_connect = {"sock_connect", CA_OP_POLL_OUT, true,
                                       start_connect, again_connect};
const ca_sock_op ca_sock_op_accept = {"sock_accept", CA_OP_POLL_IN, false,
                                      start_accept, again_accept};
