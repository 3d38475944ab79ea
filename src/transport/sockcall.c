/* sockcall.c - see sockcall.h.
 *
 * While it waits, the reactor holds a reference, unless somebody else has
 * taken the descriptor over: then the future stays pending for ever, as
 * stock's does.  The watch ends with the future: by our own try, or when the
 * coroutine is resumed, thrown into or closed.
 */
#include "transport/sockcall.h"

#include "loop/claims.h"
#include "loop/overrides.h"
#include "loop/ready.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/late.h"
#include "py/sockobj.h"

#include <stddef.h>

static inline CaSockCall *
as_call(CaCoro *coro)
{
    return (CaSockCall *)coro;
}

static int call_ready(CaLoop *loop, PyObject *op, ca_op_kind kind);

static void
call_lost(PyObject *op)
{
    ca_sockcall_let_go((CaSockCall *)op);
}

static const ca_watcher_vt watcher_vt = {
    .ready = call_ready,
    .offset = offsetof(CaSockCall, watcher),
    .lost = call_lost,
};

/* ---- the end of a call ---- */

void
ca_sockcall_let_go(CaSockCall *self)
{
    self->lost = true;
    if (self->holds) {
        self->holds = false;
        ca_sockobj_release(self->c.st, self->args[0]);
    }
}

/* `keep`: the watch for bytes may serve the next call. */
static void
stop_watching(CaSockCall *self, bool keep)
{
    CaSockWatch *watch = self->watch;
    if (self->c.state == CA_CORO_SPENT) {
        return;
    }
    if (watch != NULL) {
        self->watch = NULL;
        ca_sockwatch_end(self->loop, watch, self, keep);
        Py_DECREF(watch);
    } else if (self->fd >= 0) {
        ca_watcher_stop(self->loop, &self->watcher, self->fd, self->op->kind);
    }
    self->fd = -1;
}

/* ---- waiting ---- */

/* Raise RuntimeError if a transport uses the descriptor; 0 or -1. */
static int
check_no_transport(CaSockCall *self)
{
    if (ca_claims_surely_free(self->loop, self->fd) &&
        (ca_overrides_now(self->loop) & CA_OVERRIDE_TRANSPORTS) == 0) {
        return 0;
    }
    PyObject *number = PyLong_FromLong(self->fd);
    PyObject *done =
        number == NULL
            ? NULL
            : PyObject_CallMethodOneArg(
                  (PyObject *)self->loop,
                  self->c.st->names[CA_STR__ensure_fd_no_transport], number);
    Py_XDECREF(number);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
start_watching(CaSockCall *self)
{
    if (self->op->kind == CA_OP_POLL_OUT) {
        return ca_watcher_start(self->loop, &self->watcher, self->fd,
                                CA_OP_POLL_OUT);
    }
    self->watch = ca_sockwatch_begin(self->loop, self->args[0], self->fd,
                                     self);
    return self->watch == NULL ? -1 : 0;
}

/* Yield a future that is done when the operation is. */
static PySendResult
begin_waiting(CaSockCall *self, PyObject **result)
{
    self->fd = ca_sockobj_fd(self->c.st, self->args[0]);
    self->holds = self->op->holds &&
                  ca_sockobj_hold(self->c.st, self->args[0]);
    self->c.future = ca_future_new(self->loop);
    if (self->c.future == NULL || check_no_transport(self) < 0 ||
        start_watching(self) < 0) {
        stop_watching(self, false);
        return PYGEN_ERROR;
    }
    ((CaFuture *)self->c.future)->blocking = 1;
    *result = Py_NewRef(self->c.future);
    return PYGEN_NEXT;
}

static int
call_ready(CaLoop *loop, PyObject *op, ca_op_kind Py_UNUSED(kind))
{
    return ca_sockcall_ready(loop, (CaSockCall *)op);
}

/* Try the system call, and finish the future; 0, or -1 with the exception that
 * must leave the loop. */
static int
try_again(CaLoop *loop, CaSockCall *self)
{
    CaFuture *fut = (CaFuture *)self->c.future;
    PyObject *result = NULL;
    if (self->c.state != CA_CORO_WAITING || fut->state != CA_PENDING) {
        stop_watching(self, false);    /* cancelled, and not resumed yet */
        return 0;
    }
    Py_INCREF(fut);
    int status = 0;
    ca_sock_outcome outcome = self->op->again(self, &result);
    bool current = self->c.future == (PyObject *)fut &&
                   fut->state == CA_PENDING;
    if (outcome == CA_SOCKCALL_FAILED && ca_error_leaves_loop()) {
        status = -1;
    } else if (outcome == CA_SOCKCALL_FAILED) {
        PyObject *exc = PyErr_GetRaisedException();
        stop_watching(self, false);
        status = current ? ca_future_fail(loop->st, fut, exc) : 0;
        Py_DECREF(exc);
    } else if (outcome == CA_SOCKCALL_DONE) {
        stop_watching(self, self->keep);
        status = current ? ca_future_finish(loop->st, fut, result) : 0;
    }
    Py_XDECREF(result);
    Py_DECREF(fut);
    return status;
}

/* What was queued before the look at descriptors runs first, as with stock: it
 * may cancel, and then nothing must have been taken from the kernel. */
int
ca_sockcall_ready(CaLoop *loop, CaSockCall *self)
{
    if (loop->queued_before == 0 || self->c.state != CA_CORO_WAITING) {
        return try_again(loop, self);
    }
    PyObject *context = PyContext_CopyCurrent();
    int result = context == NULL
                     ? -1
                     : ca_ready_push_method(loop, (PyObject *)self,
                                            CA_STR__ready, context);
    Py_XDECREF(context);
    return result;
}

PyDoc_STRVAR(_ready_doc,
"_ready($self)\n--\n\nThe descriptor is ready; the loop's callback.");

static PyObject *
call_py__ready(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSockCall *self = (CaSockCall *)op;
    if (self->c.state == CA_CORO_WAITING && !self->lost &&
        try_again(self->loop, self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- the coroutine ---- */

bool
ca_sockcall_is_plain(CaLoop *loop, PyObject *sock)
{
    return loop->st->native_tasks && !loop->debug &&
           (ca_overrides_now(loop) & CA_OVERRIDE_WATCHING) == 0 &&
           ca_sockobj_is_plain(loop->st, sock);
}

static PySendResult
call_begin(CaCoro *coro, PyObject **result)
{
    CaSockCall *self = as_call(coro);
    if (!ca_sockcall_is_plain(self->loop, self->args[0]) ||
        ca_sockobj_traits(self->args[0]).blocks) {
        return ca_coro_delegate(coro, result);
    }
    switch (self->op->start(self, result)) {
    case CA_SOCKCALL_DONE:
        return PYGEN_RETURN;
    case CA_SOCKCALL_AGAIN:
        return begin_waiting(self, result);
    case CA_SOCKCALL_STOCK:
        return ca_coro_delegate(coro, result);
    default:
        return PYGEN_ERROR;
    }
}

/* Somebody has resumed the call, which ends it: its future should be done. */
static PySendResult
call_resume(CaCoro *coro, PyObject *Py_UNUSED(value), PyObject **result)
{
    CaFuture *fut = (CaFuture *)coro->future;
    stop_watching(as_call(coro), false);
    if (!ca_coro_future_has_result(coro->st, fut)) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(fut->result);
    return PYGEN_RETURN;
}

/* What StopIteration carries passes for the future's result, as it does where
 * stock awaits that. */
static PySendResult
call_thrown(CaCoro *coro, PyObject *exc, PyObject **result)
{
    stop_watching(as_call(coro), false);
    (void)ca_coro_fail(exc);
    return ca_coro_stopped(result);
}

/* ---- what stands for it in asyncio ---- */

static PyObject *
call_make_stock(const CaCoro *coro)
{
    const CaSockCall *self = (const CaSockCall *)coro;
    PyObject *name = PyUnicode_InternFromString(self->op->name);
    PyObject *stock = name == NULL
                          ? NULL
                          : ca_stock_call(coro->st->StockSelectorLoop, name,
                                          (PyObject *)self->loop, self->args,
                                          self->nargs, NULL);
    Py_XDECREF(name);
    return stock;
}

static PyObject *
call_stock_function(const CaCoro *coro)
{
    return PyObject_GetAttrString(coro->st->StockSelectorLoop,
                                  ((const CaSockCall *)coro)->op->name);
}

static PyObject *
call_qualname(const CaCoro *coro)
{
    return PyUnicode_FromFormat("BaseSelectorEventLoop.%s",
                                ((const CaSockCall *)coro)->op->name);
}

/* ---- birth and death ---- */

static void
call_spend(CaCoro *coro)
{
    CaSockCall *self = as_call(coro);
    ca_sockcall_let_go(self);
    Py_CLEAR(self->watch);
    Py_CLEAR(self->view);
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        Py_CLEAR(self->args[i]);
    }
    Py_CLEAR(self->loop);
}

static int
call_traverse(CaCoro *coro, visitproc visit, void *arg)
{
    CaSockCall *self = as_call(coro);
    Py_VISIT(self->loop);
    Py_VISIT(self->view);
    Py_VISIT(self->watch);
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        Py_VISIT(self->args[i]);
    }
    return 0;
}

static const ca_coro_kind kind = {
    .type = offsetof(ca_state, SockCallType),
    .freelist = offsetof(ca_state, sock_calls),
    .keep = CA_FREELIST_SOCK_CALLS,
    .begin = call_begin,
    .resume = call_resume,
    .thrown = call_thrown,
    .spend = call_spend,
    .traverse = call_traverse,
    .make_stock = call_make_stock,
    .stock_function = call_stock_function,
    .qualname = call_qualname,
};

PyObject *
ca_sockcall_new(CaLoop *loop, const ca_sock_op *op, PyObject *const *args,
                Py_ssize_t nargs)
{
    if (ca_late_need(loop->st, loop->st->SockCallType, "SockCall") < 0) {
        return NULL;
    }
    CaSockCall *self = (CaSockCall *)ca_coro_new(loop->st, &kind);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->op = op;
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        self->args[i] = i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    self->view = NULL;
    self->watcher = (ca_watcher){.vt = &watcher_vt};
    self->watch = NULL;
    self->size = 0;
    self->fd = -1;
    self->nargs = (uint8_t)nargs;
    self->keep = false;
    self->drained = false;
    self->holds = false;
    self->lost = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PySendResult
call_am_send(PyObject *op, PyObject *value, PyObject **result)
{
    return ca_coro_send(op, &kind, value, result);
}

static PyObject *
call_tp_iternext(PyObject *op)
{
    return ca_coro_next(op, &kind);
}

static void
call_tp_dealloc(PyObject *op)
{
    ca_coro_dealloc(op, &kind);
}

static PyMethodDef call_methods[] = {
    {"_ready", call_py__ready, METH_NOARGS, _ready_doc},
    {0},
};

PyDoc_STRVAR(call_doc,
"Coroutine of a socket operation; made by loop.sock_recv() and its like.");

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)call_doc},
    {Py_tp_dealloc, call_tp_dealloc},
    {Py_tp_iternext, call_tp_iternext},
    {Py_am_send, call_am_send},
    {Py_tp_methods, call_methods},
    {0, NULL},
};

PyType_Spec ca_sockcall_spec = {
    .name = "casyncio._native.SockCall",
    .basicsize = sizeof(CaSockCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
