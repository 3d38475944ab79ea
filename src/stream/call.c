/* call.c - see call.h.
 *
 * The end of the waiting, however it comes (resumed, thrown into, closed,
 * forgotten), leaves the reader without a waiter, as the `finally` of stock's
 * _wait_for_data() does.
 */
#include "stream/call.h"

#include "py/args.h"
#include "stream/reader.h"

#include <stddef.h>

static inline CaStreamCall *
as_call(CaCoro *coro)
{
    return (CaStreamCall *)coro;
}

/* ---- waiting ---- */

/* The wait ends with the exception that is set. */
static PySendResult
fail(CaStreamCall *self, PyObject **result)
{
    return self->op->failed != NULL &&
                   self->op->failed(self, result) == CA_CALL_DONE
               ? PYGEN_RETURN
               : PYGEN_ERROR;
}

/* Yield a future that the reader finishes. */
static PySendResult
begin_waiting(CaStreamCall *self, PyObject **result)
{
    PyObject *future = ca_reader_begin_waiting((CaReader *)self->owner,
                                               self->op->waits_as);
    if (future == NULL) {
        return fail(self, result);
    }
    self->c.future = future;
    ((CaFuture *)future)->blocking = 1;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

/* The future that was awaited: strong. */
static CaFuture *
end_waiting(CaStreamCall *self)
{
    PyObject *future = self->c.future;
    self->c.future = NULL;
    ca_reader_end_waiting((CaReader *)self->owner);
    return (CaFuture *)future;
}

static inline PySendResult
settle(CaStreamCall *self, ca_call_outcome outcome, PyObject **result)
{
    switch (outcome) {
    case CA_CALL_DONE:
        return PYGEN_RETURN;
    case CA_CALL_WAIT:
        return begin_waiting(self, result);
    case CA_CALL_STOCK:
        return ca_coro_delegate(&self->c, result);
    default:
        return PYGEN_ERROR;
    }
}

/* The wait is over. */
static PySendResult
go_on(CaStreamCall *self, PyObject **result)
{
    return ca_reader_is_usual((CaReader *)self->owner)
               ? settle(self, self->op->again(self, result), result)
               : ca_coro_delegate(&self->c, result); /* it was changed */
}

static PySendResult
call_begin(CaCoro *coro, PyObject **result)
{
    CaStreamCall *self = as_call(coro);
    return settle(self, self->op->start(self, result), result);
}

static PySendResult
call_resume(CaCoro *coro, PyObject *Py_UNUSED(value), PyObject **result)
{
    CaStreamCall *self = as_call(coro);
    CaFuture *fut = end_waiting(self);
    bool has_result = ca_coro_future_has_result(coro->st, fut);
    Py_DECREF(fut);
    return has_result ? go_on(self, result) : fail(self, result);
}

/* What StopIteration carries passes for the future's result, as it does where
 * stock awaits that. */
static PySendResult
call_thrown(CaCoro *coro, PyObject *exc, PyObject **result)
{
    CaStreamCall *self = as_call(coro);
    Py_DECREF(end_waiting(self));
    if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        return go_on(self, result);
    }
    (void)ca_coro_fail(exc);
    return fail(self, result);
}

/* ---- what stands for it in asyncio ---- */

static PyObject *
stock_class_borrow(const CaStreamCall *self)
{
    return self->op->of_reader ? self->c.st->StreamReader
                               : self->c.st->StockStreamWriter;
}

static PyObject *
call_make_stock(const CaCoro *coro)
{
    const CaStreamCall *self = (const CaStreamCall *)coro;
    PyObject *name = PyUnicode_InternFromString(self->op->name);
    PyObject *stock = name == NULL
                          ? NULL
                          : ca_stock_call(stock_class_borrow(self), name,
                                          self->owner, &self->arg,
                                          self->arg == NULL ? 0 : 1, NULL);
    Py_XDECREF(name);
    return stock;
}

static PyObject *
call_stock_function(const CaCoro *coro)
{
    const CaStreamCall *self = (const CaStreamCall *)coro;
    return PyObject_GetAttrString(stock_class_borrow(self), self->op->name);
}

static PyObject *
call_qualname(const CaCoro *coro)
{
    const ca_call_op *op = ((const CaStreamCall *)coro)->op;
    return PyUnicode_FromFormat(
        "%s.%s", op->of_reader ? "StreamReader" : "StreamWriter", op->name);
}

/* b"".join(parts), the result in front of which they were read being the
 * last. */
static int
call_complete(CaCoro *coro, PyObject **result)
{
    PyObject *parts = as_call(coro)->parts;
    PyObject *last = *result;
    if (parts == NULL) {
        return 0;
    }
    *result = NULL;
    if (PyList_Append(parts, last) == 0) {
        *result = PyObject_CallMethodOneArg(
            coro->st->empty_bytes, coro->st->names[CA_STR_join], parts);
    }
    Py_DECREF(last);
    return *result == NULL ? -1 : 0;
}

/* ---- birth and death ---- */

static void
call_spend(CaCoro *coro)
{
    CaStreamCall *self = as_call(coro);
    if (coro->future != NULL) {
        Py_DECREF(end_waiting(self));
    }
    Py_CLEAR(self->parts);
    Py_CLEAR(self->arg);
    Py_CLEAR(self->owner);
}

static int
call_traverse(CaCoro *coro, visitproc visit, void *arg)
{
    CaStreamCall *self = as_call(coro);
    Py_VISIT(self->owner);
    Py_VISIT(self->arg);
    Py_VISIT(self->parts);
    return 0;
}

static const ca_coro_kind kind = {
    .type = offsetof(ca_state, StreamCallType),
    .freelist = offsetof(ca_state, stream_calls),
    .keep = CA_FREELIST_STREAM_CALLS,
    .begin = call_begin,
    .resume = call_resume,
    .thrown = call_thrown,
    .complete = call_complete,
    .spend = call_spend,
    .traverse = call_traverse,
    .make_stock = call_make_stock,
    .stock_function = call_stock_function,
    .qualname = call_qualname,
};

PyObject *
ca_call_new(ca_state *st, const ca_call_op *op, PyObject *owner, PyObject *arg)
{
    CaStreamCall *self = (CaStreamCall *)ca_coro_new(st, &kind);
    if (self == NULL) {
        return NULL;
    }
    self->owner = Py_NewRef(owner);
    self->op = op;
    self->arg = Py_XNewRef(arg);
    self->parts = NULL;
    self->wanted = 0;
    self->searched = 0;
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
"Coroutine of a stream; made by StreamReader.read() and its like.");

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)call_doc},
    {Py_tp_dealloc, call_tp_dealloc},
    {Py_tp_iternext, call_tp_iternext},
    {Py_am_send, call_am_send},
    {0, NULL},
};

PyType_Spec ca_call_spec = {
    .name = "casyncio._native.StreamCall",
    .basicsize = sizeof(CaStreamCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
