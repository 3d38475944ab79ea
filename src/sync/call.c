/* call.c - see call.h. */
#include "sync/call.h"

#include "py/errors.h"
#include "sync/waiters.h"

#include <stddef.h>

static inline CaSyncCall *
as_call(CaCoro *coro)
{
    return (CaSyncCall *)coro;
}

/* ---- waiting ---- */

/* A future among the waiters; 1, 0 when it is not ours to wait, or -1. */
static int
add_future(CaSyncCall *self)
{
    ca_state *st = self->c.st;
    CaLoop *loop = ca_sync_loop_borrow(self->owner);
    PyObject **deque = (PyObject **)((char *)self->owner + self->op->waiters);
    if (loop == NULL) {
        return 0;
    }
    /* First of all, since the collector may run, and who has a __del__() set
     * the attribute. */
    PyObject *fut = ca_future_new(loop);
    if (fut != NULL && *deque == NULL) {
        PyObject *made = PyObject_CallNoArgs(st->deque);
        Py_XSETREF(*deque, made);
    }
    if (fut == NULL || *deque == NULL ||
        ca_deque_append(st, *deque, fut) < 0) {
        Py_XDECREF(fut);
        return -1;
    }
    ((CaFuture *)fut)->blocking = 1;
    Py_XSETREF(self->c.future, fut);
    return 1;
}

static PySendResult
wait(CaSyncCall *self, PyObject **result)
{
    switch (add_future(self)) {
    case 1:
        *result = Py_NewRef(self->c.future);
        return PYGEN_NEXT;
    case 0:
        return ca_coro_delegate(&self->c, result);
    default:
        return PYGEN_ERROR;
    }
}

/* What a part of the operation has come to. */
static inline PySendResult
go_on(CaSyncCall *self, ca_sync_outcome outcome, PyObject **result)
{
    switch (outcome) {
    case CA_SYNC_DONE:
        return PYGEN_RETURN;
    case CA_SYNC_WAIT:
        return wait(self, result);
    case CA_SYNC_STOCK:
        return ca_coro_delegate(&self->c, result);
    default:
        return PYGEN_ERROR;
    }
}

/* The wait has ended with that exception, which goes on; or with the one that
 * cleaning up raises. */
static PySendResult
fail(CaSyncCall *self, PyObject *exc)
{
    (void)self->op->fail(self, exc);
    ca_error_restore(Py_NewRef(exc));
    return PYGEN_ERROR;
}

static PySendResult
call_begin(CaCoro *coro, PyObject **result)
{
    CaSyncCall *self = as_call(coro);
    return go_on(self, self->op->begin(self, result), result);
}

/* Somebody has resumed the call: its future should be done. */
static PySendResult
call_resume(CaCoro *coro, PyObject *Py_UNUSED(value), PyObject **result)
{
    CaSyncCall *self = as_call(coro);
    if (ca_coro_future_has_result(coro->st, (CaFuture *)coro->future)) {
        return go_on(self, self->op->resume(self, result), result);
    }
    PyObject *exc = PyErr_GetRaisedException();
    PySendResult status = fail(self, exc);
    Py_DECREF(exc);
    return status;
}

/* What StopIteration carries passes for the future's result, as it does where
 * stock awaits that. */
static PySendResult
call_thrown(CaCoro *coro, PyObject *exc, PyObject **result)
{
    CaSyncCall *self = as_call(coro);
    return PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)
               ? go_on(self, self->op->resume(self, result), result)
               : fail(self, exc);
}

/* ---- what stands for it in asyncio ---- */

static PyObject *
call_make_stock(const CaCoro *coro)
{
    const CaSyncCall *self = (const CaSyncCall *)coro;
    PyObject *args[3] = {Py_None, Py_None, Py_None};
    if (self->item != NULL) {
        args[0] = self->item;
    }
    return ca_sync_stock(self->owner, self->op->face, self->op->name, args,
                         self->op->nargs, NULL);
}

static PyObject *
call_stock_function(const CaCoro *coro)
{
    const ca_sync_op *op = ((const CaSyncCall *)coro)->op;
    PyObject *stock = *(PyObject **)((char *)coro->st + op->face->stock);
    return PyObject_GetAttrString(stock, op->name);
}

static PyObject *
call_qualname(const CaCoro *coro)
{
    return PyUnicode_FromString(((const CaSyncCall *)coro)->op->qualname);
}

/* ---- birth and death ---- */

static void
call_spend(CaCoro *coro)
{
    CaSyncCall *self = as_call(coro);
    Py_CLEAR(self->item);
    Py_CLEAR(self->owner);
}

static int
call_traverse(CaCoro *coro, visitproc visit, void *arg)
{
    CaSyncCall *self = as_call(coro);
    Py_VISIT(self->owner);
    Py_VISIT(self->item);
    return 0;
}

static const ca_coro_kind kind = {
    .type = offsetof(ca_state, sync.CallType),
    .freelist = offsetof(ca_state, sync.calls),
    .keep = CA_FREELIST_SYNC_CALLS,
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
ca_synccall_new(CaSync *owner, const ca_sync_op *op, PyObject *item)
{
    CaSyncCall *self = (CaSyncCall *)ca_coro_new(owner->st, &kind);
    if (self == NULL) {
        return NULL;
    }
    self->op = op;
    self->owner = (CaSync *)Py_NewRef(owner);
    self->item = Py_XNewRef(item);
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

PyDoc_STRVAR(call_doc,
"Coroutine of a primitive; made by acquire(), wait(), get() and put().");

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)call_doc},
    {Py_tp_dealloc, call_tp_dealloc},
    {Py_tp_iternext, call_tp_iternext},
    {Py_am_send, call_am_send},
    {0, NULL},
};

PyType_Spec ca_synccall_spec = {
    .name = "casyncio._native.SyncCall",
    .basicsize = sizeof(CaSyncCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
