/* datagram_read.c - datagrams that come, in batches.
 *
 * A readiness is answered with one system call.  As long as it finds one
 * datagram, that is recvfrom(); when there are likely to be more, recvmmsg()
 * takes several, and how many are asked for follows what was found.  All of
 * them are Python objects before the first one is delivered, since delivering
 * runs Python, and the memory that they came into is everybody's.
 *
 * A protocol that closes, pauses or stops the loop finds the rest of the batch
 * as if it were still in the kernel: dropped, or kept until reading goes on.
 */
#include "loop/handle.h"
#include "loop/ready.h"
#include "py/errors.h"
#include "transport/datagram.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    BATCH = CA_DATAGRAM_BATCH,
    PATIENCE = 16,                     /* single reads between two attempts */
    SLOT_SIZE = 65536,                 /* the largest datagram of IP */
    /* Slots do not all begin in the same set of the caches. */
    SLOT_STRIDE = SLOT_SIZE + 2112,
    /* What a quick protocol does with a datagram takes less, and so long may
     * gathered datagrams wait. */
    QUICK_NS = 20000,
};

typedef struct {
    int count;
    PyObject *data[BATCH];             /* strong */
    PyObject *from[BATCH];             /* strong */
} ca_batch;

/* What recvmmsg() fills; one per loop, in CaLoop.datagram_slots. */
typedef struct {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct sockaddr_in6 from[BATCH];
    char bytes[BATCH][SLOT_STRIDE];    /* pages that are used become real */
} ca_slots;

static ca_slots *
slots_of(CaLoop *loop)
{
    ca_slots *slots = loop->datagram_slots;
    if (slots != NULL) {
        return slots;
    }
    slots = malloc(sizeof(*slots));
    if (slots == NULL) {
        return NULL;
    }
    for (int i = 0; i < BATCH; i++) {
        slots->parts[i].iov_base = slots->bytes[i];
        slots->messages[i] = (struct mmsghdr){
            .msg_hdr = {.msg_iov = &slots->parts[i],
                        .msg_iovlen = 1,
                        .msg_name = &slots->from[i]},
        };
    }
    loop->datagram_slots = slots;
    return slots;
}

/* ---- from the kernel ---- */

/* Add a datagram; 0 or -1. */
static int
add(CaDatagram *self, ca_batch *batch, const char *bytes, size_t nbytes,
    const struct sockaddr *from, socklen_t length)
{
    PyObject *data = ca_spares_take(&self->loop->spares, bytes,
                                    (Py_ssize_t)nbytes);
    PyObject *address = data == NULL
                            ? NULL
                            : ca_peers_address(&self->peers, from, length);
    if (address == NULL) {
        Py_XDECREF(data);
        return -1;
    }
    batch->data[batch->count] = data;
    batch->from[batch->count++] = address;
    return 0;
}

static void
release(CaLoop *loop, ca_batch *batch)
{
    for (int i = 0; i < batch->count; i++) {
        ca_spares_give(&loop->spares, batch->data[i]);
        Py_DECREF(batch->from[i]);
    }
    batch->count = 0;
}

/* 0, -errno, or -1 with an exception: then PyErr_Occurred(). */
static int
receive_one(CaDatagram *self, CaLoop *loop, ca_batch *batch)
{
    ca_sockaddr from = {.length = sizeof(from.u)};
    char *buffer = ca_loop_read_buffer(loop);
    if (buffer == NULL) {
        return -1;
    }
    ssize_t n = recvfrom(self->fd, buffer, (size_t)self->max_size,
                         MSG_DONTWAIT, &from.u.any, &from.length);
    if (n < 0) {
        return -errno;
    }
    return add(self, batch, buffer, (size_t)n, &from.u.any, from.length);
}

static int
receive_many(CaDatagram *self, CaLoop *loop, ca_batch *batch)
{
    ca_slots *slots = slots_of(loop);
    if (slots == NULL) {
        return receive_one(self, loop, batch);
    }
    size_t size = self->max_size < SLOT_SIZE ? (size_t)self->max_size
                                             : SLOT_SIZE;
    for (int i = 0; i < self->want; i++) {
        slots->parts[i].iov_len = size;
        slots->messages[i].msg_hdr.msg_namelen = sizeof(slots->from[i]);
    }
    int n = recvmmsg(self->fd, slots->messages, self->want, MSG_DONTWAIT,
                     NULL);
    if (n < 0) {
        return -errno;
    }
    for (int i = 0; i < n; i++) {
        if (add(self, batch, slots->bytes[i], slots->messages[i].msg_len,
                (struct sockaddr *)&slots->from[i],
                slots->messages[i].msg_hdr.msg_namelen) < 0) {
            return -1;
        }
    }
    return 0;
}

/* How many to ask for next time. */
static void
learn(CaDatagram *self, int count)
{
    if (self->want > 1) {
        if (count == self->want) {
            self->want = self->want * 2 > BATCH ? BATCH : self->want * 2;
        } else if (count <= 1) {
            self->want = 1;
            self->patience = PATIENCE;
        }
    } else if (self->patience > 0) {
        self->patience--;
    } else if (count == 1 && self->family != AF_UNIX) {
        self->want = 4;
    }
}

static int
receive(CaDatagram *self, CaLoop *loop, ca_batch *batch)
{
    if (self->want == 1 || loop->stopping || loop->debug) {
        int result = receive_one(self, loop, batch);
        learn(self, batch->count);
        return result;
    }
    int result = receive_many(self, loop, batch);
    learn(self, batch->count);
    return result;
}

/* ---- to the protocol ---- */

int
ca_datagram_queue_read(CaDatagram *self)
{
    return ca_ready_push_method(self->loop, (PyObject *)self,
                                CA_STR__read_ready, self->context);
}

static inline int64_t
taken_ns(const CaLoop *loop, uint64_t since_ticks)
{
    return ca_pace_between_ns(&loop->pace, since_ticks, ca_clock_ticks());
}

static inline bool
gathered_too_long(const CaDatagram *self, const CaLoop *loop)
{
    return self->gather != NULL && self->gather->count > 0 &&
           taken_ns(loop, self->gather->since_ticks) > QUICK_NS;
}

/* Call datagram_received() as long as the protocol wants it; how many were
 * used up.  *failed: the last call has raised. */
static int
call_protocol(CaDatagram *self, const CaLoop *loop, const ca_batch *batch,
              bool *failed)
{
    PyObject *name = self->st->names[CA_STR_datagram_received];
    int i = 0;
    do {
        PyObject *protocol = Py_NewRef(
            self->protocol == NULL ? Py_None : self->protocol);
        PyObject *args[4] = {NULL, protocol, batch->data[i], batch->from[i]};
        PyObject *done = PyObject_VectorcallMethod(
            name, args + 1, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(protocol);
        i++;
        *failed = done == NULL;
        Py_XDECREF(done);
        if (gathered_too_long(self, loop) && ca_datagram_flush(self) < 0) {
            *failed = true;
        }
    } while (!*failed && i < batch->count && ca_datagram_reading(self) &&
             !loop->stopping);
    return i;
}

/* Keep those from `first` on, in front of those that are kept already. */
static int
keep(CaDatagram *self, const ca_batch *batch, int first)
{
    PyObject *list = PyList_New(0);
    for (int i = first; list != NULL && i < batch->count; i++) {
        PyObject *pair = PyTuple_Pack(2, batch->data[i], batch->from[i]);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    if (list != NULL && self->kept != NULL) {
        Py_ssize_t end = PyList_GET_SIZE(list);
        if (PyList_SetSlice(list, end, end, self->kept) < 0) {
            Py_CLEAR(list);
        }
    }
    if (list == NULL) {
        return -1;
    }
    Py_XSETREF(self->kept, list);
    return self->paused ? 0 : ca_datagram_queue_read(self);
}

/* Keep the rest as long as reading may go on, without losing the exception
 * that is set if `result` is -1. */
static int
keep_rest(CaDatagram *self, const ca_batch *batch, int first, int result)
{
    if (self->closing || self->conn_lost != 0 || self->loop == NULL) {
        return result;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (keep(self, batch, first) < 0) {
        result = -1;
    }
    ca_error_restore(exc);
    return result;
}

/* call_protocol(), with the answers to a batch gathered if it is quick; 0, or
 * -1 with the exception of the protocol. */
static int
call_and_send(CaDatagram *self, const CaLoop *loop, const ca_batch *batch,
              int *next)
{
    ca_gather gather;
    bool failed;
    gather.count = 0;
    gather.since_ticks = ca_clock_ticks();
    self->gather = batch->count > 1 && !self->slow ? &gather : NULL;
    self->delivering = true;
    *next = call_protocol(self, loop, batch, &failed);
    self->slow = taken_ns(loop, gather.since_ticks) > *next * QUICK_NS;
    if (ca_datagram_flush(self) < 0) {
        failed = true;
    }
    self->gather = NULL;
    self->delivering = false;
    return failed ? -1 : 0;
}

/* Deliver a batch, and let go of it; the context is entered.  0, or -1 with
 * the exception of the protocol. */
static int
deliver(CaDatagram *self, CaLoop *loop, ca_batch *batch)
{
    int next = 0;
    int result = batch->count == 0 ? 0
                                   : call_and_send(self, loop, batch, &next);
    if (next < batch->count || self->kept != NULL) {
        result = keep_rest(self, batch, next, result);
    }
    release(loop, batch);
    return result;
}

/* Take up to a batch of those that are kept; 0 or -1. */
static int
take_kept(CaDatagram *self, ca_batch *batch)
{
    Py_ssize_t count = PyList_GET_SIZE(self->kept);
    Py_ssize_t taken = count < BATCH ? count : BATCH;
    for (Py_ssize_t i = 0; i < taken; i++) {
        PyObject *pair = PyList_GET_ITEM(self->kept, i);
        batch->data[i] = Py_NewRef(PyTuple_GET_ITEM(pair, 0));
        batch->from[i] = Py_NewRef(PyTuple_GET_ITEM(pair, 1));
        batch->count++;
    }
    if (taken == count) {
        Py_CLEAR(self->kept);
        return 0;
    }
    return PyList_SetSlice(self->kept, 0, taken, NULL);
}

int
ca_datagram_read(CaDatagram *self)
{
    CaLoop *loop = self->loop;
    ca_batch batch;
    batch.count = 0;
    int err = self->kept != NULL ? take_kept(self, &batch)
                                 : receive(self, loop, &batch);
    if (err < 0 && PyErr_Occurred()) {
        release(loop, &batch);
        return -1;
    }
    if (err == 0) {
        Py_INCREF(loop);
        int result = deliver(self, loop, &batch);
        Py_DECREF(loop);
        return result;
    }
    return ca_errno_is_try_later(err) ? 0 : ca_datagram_tell_error(self, err);
}

/* ---- the watcher ---- */

static int
read_in_context(CaDatagram *self, CaLoop *loop)
{
    PyObject *context = Py_NewRef(self->context);
    int result = -1;
    if (PyContext_Enter(context) == 0) {
        result = ca_datagram_read(self);
        if (PyContext_Exit(context) < 0) {
            result = -1;
        }
    }
    if (result < 0) {
        result = ca_handle_report_method(loop, (PyObject *)self,
                                         CA_STR__read_ready, context);
    }
    Py_DECREF(context);
    return result;
}

/* Datagrams are delivered at once when that is when a callback of the loop
 * would have run: when nothing was queued before.  Debug mode wants to see
 * callbacks, and a turn inside of datagram_received() cannot enter the context
 * again, which the callback will report. */
static int
datagram_ready(CaLoop *loop, PyObject *op, ca_op_kind Py_UNUSED(kind))
{
    CaDatagram *self = (CaDatagram *)op;
    if (self->conn_lost != 0) {
        return 0;
    }
    if (loop->queued_before > 0 || loop->debug || self->delivering ||
        !ca_datagram_usual(self) || self->max_size <= 0 ||
        self->max_size > CA_READ_BUFFER_SIZE) {
        return ca_datagram_queue_read(self);
    }
    return read_in_context(self, loop);
}

const ca_watcher_vt ca_datagram_watcher_vt = {
    .ready = datagram_ready,
    .offset = offsetof(CaDatagram, watcher),
};
