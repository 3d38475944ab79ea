/* combine_call.c - coroutines of asyncio.sleep() and its like.
 *
 * An operation (combine.h) does the work: it starts, is resumed, and hears of
 * what is thrown in.
 */
#include "task/combine.h"

#include <stddef.h>

static inline CaCombineCall *
as_call(CaCoro *coro)
{
    return (CaCombineCall *)coro;
}

static PySendResult
call_begin(CaCoro *coro, PyObject **result)
{
    return as_call(coro)->op->start(as_call(coro), result);
}

static PySendResult
call_resume(CaCoro *coro, PyObject *value, PyObject **result)
{
    return as_call(coro)->op->resume(as_call(coro), value, result);
}

static PySendResult
call_thrown(CaCoro *coro, PyObject *exc, PyObject **result)
{
    return as_call(coro)->op->thrown(as_call(coro), exc, result);
}

/* ---- what stands for it in asyncio ---- */

static PyObject *
call_make_stock(const CaCoro *coro)
{
    const CaCombineCall *self = (const CaCombineCall *)coro;
    return ca_combine_call_stock(coro->st, self->op->stock, self->args,
                                 self->nargs, NULL);
}

static PyObject *
call_stock_function(const CaCoro *coro)
{
    return Py_XNewRef(ca_combine_stock_borrow(
        coro->st, ((const CaCombineCall *)coro)->op->stock));
}

static PyObject *
call_qualname(const CaCoro *coro)
{
    return PyUnicode_FromString(((const CaCombineCall *)coro)->op->qualname);
}

/* ---- birth and death ---- */

static void
call_spend(CaCoro *coro)
{
    CaCombineCall *self = as_call(coro);
    if (self->expiry != NULL) {
        self->expiry->coro = NULL;
        Py_CLEAR(self->expiry);
    }
    if (self->timer != NULL) {
        PyObject *timer = self->timer;
        self->timer = NULL;
        (void)ca_combine_disarm(coro->st, timer);
        Py_DECREF(timer);
    }
    for (int i = 0; i < CA_COMBINECALL_ARGS; i++) {
        Py_CLEAR(self->args[i]);
    }
    Py_CLEAR(self->task);
}

static int
call_traverse(CaCoro *coro, visitproc visit, void *arg)
{
    CaCombineCall *self = as_call(coro);
    for (int i = 0; i < CA_COMBINECALL_ARGS; i++) {
        Py_VISIT(self->args[i]);
    }
    Py_VISIT(self->timer);
    Py_VISIT(self->task);
    return 0;
}

static const ca_coro_kind kind = {
    .type = offsetof(ca_state, CombineCallType),
    .freelist = offsetof(ca_state, combine_calls),
    .keep = CA_FREELIST_COMBINE_CALLS,
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
ca_combinecall_new(ca_state *st, const ca_combine_op *op,
                   PyObject *const *args, Py_ssize_t nargs)
{
    CaCombineCall *self = (CaCombineCall *)ca_coro_new(st, &kind);
    if (self == NULL) {
        return NULL;
    }
    self->op = op;
    for (int i = 0; i < CA_COMBINECALL_ARGS; i++) {
        self->args[i] = i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    self->timer = NULL;
    self->task = NULL;
    self->expiry = NULL;
    self->nargs = (uint8_t)nargs;
    self->phase = 0;
    self->cancelling = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *
ca_combinecall_enter(PyObject *owner, const ca_combine_op *op)
{
    ca_state *st = ca_state_of_type(Py_TYPE(owner));
    return st == NULL ? NULL : ca_combinecall_new(st, op, &owner, 1);
}

PyObject *
ca_combinecall_exit(PyObject *owner, const ca_combine_op *op,
                    PyObject *const *args, Py_ssize_t nargs)
{
    ca_state *st = ca_state_of_type(Py_TYPE(owner));
    if (st == NULL) {
        return NULL;
    }
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "__aexit__() takes 3 arguments, got %zd",
                     nargs);
        return NULL;
    }
    PyObject *all[4] = {owner, args[0], args[1], args[2]};
    return ca_combinecall_new(st, op, all, 4);
}

PySendResult
ca_combinecall_resume_never(CaCombineCall *Py_UNUSED(self),
                            PyObject *Py_UNUSED(value),
                            PyObject **Py_UNUSED(result))
{
    PyErr_SetString(PyExc_SystemError, "nothing was waited for");
    return PYGEN_ERROR;
}

PySendResult
ca_combinecall_thrown_never(CaCombineCall *Py_UNUSED(self), PyObject *exc,
                            PyObject **Py_UNUSED(result))
{
    return ca_coro_fail(exc);
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
"Coroutine of a combinator; made by casyncio.sleep() and its like.");

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)call_doc},
    {Py_tp_dealloc, call_tp_dealloc},
    {Py_tp_iternext, call_tp_iternext},
    {Py_am_send, call_am_send},
    {0, NULL},
};

PyType_Spec ca_combinecall_spec = {
    .name = "casyncio._native.CombineCall",
    .basicsize = sizeof(CaCombineCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
