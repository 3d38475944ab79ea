/* queue_wait.c - get() and put() of a Queue. */
#include "sync/queue.h"

#include "sync/waiters.h"

#include <stddef.h>

/* ---- the operations ---- */

static ca_sync_outcome
get_go_on(CaSyncCall *call, PyObject **result)
{
    CaQueue *self = (CaQueue *)call->owner;
    if (!ca_queue_is_plain(self)) {
        return CA_SYNC_STOCK;
    }
    if (ca_queue_size(self) == 0 && !ca_queue_is_shut(self)) {
        return CA_SYNC_WAIT;
    }
    *result = ca_queue_take(self);
    return *result == NULL ? CA_SYNC_FAILED : CA_SYNC_DONE;
}

static ca_sync_outcome
put_go_on(CaSyncCall *call, PyObject **result)
{
    CaQueue *self = (CaQueue *)call->owner;
    if (!ca_queue_is_plain(self)) {
        return CA_SYNC_STOCK;
    }
    if (!ca_queue_is_shut(self) && ca_queue_is_full(self)) {
        return CA_SYNC_WAIT;
    }
    if (ca_queue_add(self, call->item) < 0) {
        return CA_SYNC_FAILED;
    }
    *result = Py_NewRef(Py_None);
    return CA_SYNC_DONE;
}

static bool
is_empty(const CaQueue *self)
{
    return ca_queue_size(self) == 0;
}

/* What keeps a waiter waiting: queue.empty() or queue.full(), as it is now; 1,
 * 0 or -1. */
static int
ask(CaQueue *self, const char *method, bool (*plainly)(const CaQueue *self))
{
    if (ca_queue_is_plain(self)) {
        return plainly(self);
    }
    PyObject *answer = PyObject_CallMethod((PyObject *)self, method, NULL);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result;
}

/* Cancel the future, in case it is not done, and take it out of the deque,
 * unless it was taken out when it was woken; 0 or -1. */
static int
withdraw(CaSyncCall *call, PyObject *deque)
{
    ca_state *st = call->c.st;
    CaFuture *fut = (CaFuture *)call->c.future;
    fut->log_tb = 0;
    if (fut->state == CA_PENDING &&
        ca_future_mark_cancelled(st, fut, Py_None) < 0) {
        return -1;
    }
    if (ca_deque_remove(st, deque, call->c.future) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* Somebody has woken the future that is given up: wake the next in line in its
 * place, unless that would only wait again. */
static int
pass_on(CaSyncCall *call, int blocked, PyObject *deque)
{
    if (blocked != 0 || ((CaFuture *)call->c.future)->state == CA_CANCELLED) {
        return blocked < 0 ? -1 : 0;
    }
    return ca_waiters_wake_next(call->c.st, deque);
}

static int
get_fail(CaSyncCall *call, PyObject *Py_UNUSED(exc))
{
    CaQueue *self = (CaQueue *)call->owner;
    if (withdraw(call, self->s.waiters) < 0) {
        return -1;
    }
    int empty = ask(self, "empty", is_empty);
    return pass_on(call, empty, self->s.waiters);
}

static int
put_fail(CaSyncCall *call, PyObject *Py_UNUSED(exc))
{
    CaQueue *self = (CaQueue *)call->owner;
    if (withdraw(call, self->putters) < 0) {
        return -1;
    }
    int full = ask(self, "full", ca_queue_is_full);
    return pass_on(call, full, self->putters);
}

static const ca_sync_op get_op = {
    .face = &ca_queue_face,
    .name = "get",
    .qualname = "Queue.get",
    .waiters = offsetof(CaSync, waiters),
    .begin = get_go_on,
    .resume = get_go_on,
    .fail = get_fail,
};

static const ca_sync_op put_op = {
    .face = &ca_queue_face,
    .name = "put",
    .qualname = "Queue.put",
    .nargs = 1,
    .waiters = offsetof(CaQueue, putters),
    .begin = put_go_on,
    .resume = put_go_on,
    .fail = put_fail,
};

/* ---- methods ---- */

const char ca_queue_get_doc[] =
    "get($self, /)\n--\n\n"
    "Take an item out of the queue; wait until there is one.\n\n"
    "Errors: QueueShutDown (3.13) when there is none and the queue has been\n"
    "shut down.\n"
    "Threads: the loop's own thread only.\n"
    "Source: asyncio, \"Queue\".";

PyObject *
ca_queue_py_get(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_synccall_new((CaSync *)op, &get_op, NULL);
}

const char ca_queue_put_doc[] =
    "put($self, /, item)\n--\n\n"
    "Put an item into the queue; wait until there is room.\n\n"
    "Errors: QueueShutDown (3.13) when the queue has been shut down.\n"
    "Threads: the loop's own thread only.\n"
    "Source: asyncio, \"Queue\".";

PyObject *
ca_queue_py_put(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    CaSync *self = (CaSync *)op;
    return nargs == 1 && kwnames == NULL
               ? ca_synccall_new(self, &put_op, args[0])
               : ca_sync_stock(self, &ca_queue_face, "put", args, nargs,
                               kwnames);
}
