/* call.c - see call.h.
 *
 * States:  new -> running -> spent                        (no need to wait)
 *                 running -> waiting -> running -> waiting ... -> spent
 *                 running -> delegated -> spent           (not ours to do)
 *
 * A call that dies while it waits is closed first, as a coroutine is: its
 * future leaves the waiters.
 */
#include "sync/call.h"

#include "py/errors.h"
#include "py/freelist.h"
#include "py/stop.h"
#include "py/throw.h"
#include "sync/waiters.h"

#include <frameobject.h>
#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* ---- the end of a call ---- */

/* Let go of what it works on.  May run Python (destructors). */
static inline void
spend(CaSyncCall *self)
{
    self->state = CA_SYNCCALL_SPENT;
    Py_CLEAR(self->future);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->item);
    Py_CLEAR(self->owner);
}

/* The same while an exception is on its way. */
static PySendResult
spend_failed(CaSyncCall *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    spend(self);
    ca_error_restore(exc);
    return PYGEN_ERROR;
}

/* The wait has ended with the exception that is set, which goes on; or with
 * the one that cleaning up raises. */
static PySendResult
fail(CaSyncCall *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    self->state = CA_SYNCCALL_RUNNING;
    (void)self->op->fail(self, exc);
    ca_error_restore(exc);
    return spend_failed(self);
}

/* ---- handing over to stock's coroutine ---- */

static PyObject *
make_stock(const CaSyncCall *self)
{
    PyObject *args[3] = {Py_None, Py_None, Py_None};
    if (self->item != NULL) {
        args[0] = self->item;
    }
    return ca_sync_stock(self->owner, self->op->face, self->op->name, args,
                         self->op->nargs, NULL);
}

/* What the inner coroutine has said, said as our own. */
static PySendResult
hand_on(CaSyncCall *self, PySendResult status)
{
    if (status == PYGEN_NEXT) {
        self->state = CA_SYNCCALL_DELEGATED;
        return PYGEN_NEXT;
    }
    if (status == PYGEN_ERROR) {
        return spend_failed(self);
    }
    spend(self);
    return PYGEN_RETURN;
}

static PySendResult
delegate(CaSyncCall *self, PyObject **result)
{
    self->inner = make_stock(self);
    return self->inner == NULL
               ? spend_failed(self)
               : hand_on(self, PyIter_Send(self->inner, Py_None, result));
}

/* ---- waiting ---- */

/* A future among the waiters; 1, 0 when it is not ours to wait, or -1. */
static int
add_future(CaSyncCall *self)
{
    ca_state *st = self->st;
    CaLoop *loop = ca_sync_loop_borrow(self->owner);
    PyObject **deque = (PyObject **)((char *)self->owner + self->op->waiters);
    if (loop == NULL) {
        return 0;
    }
    if (*deque == NULL) {
        *deque = PyObject_CallNoArgs(st->deque);
        if (*deque == NULL) {
            return -1;
        }
    }
    PyObject *fut = ca_future_new(loop);
    if (fut == NULL || ca_deque_append(st, *deque, fut) < 0) {
        Py_XDECREF(fut);
        return -1;
    }
    ((CaFuture *)fut)->blocking = 1;
    Py_XSETREF(self->future, fut);
    return 1;
}

static PySendResult
wait(CaSyncCall *self, PyObject **result)
{
    switch (add_future(self)) {
    case 1:
        self->state = CA_SYNCCALL_WAITING;
        *result = Py_NewRef(self->future);
        return PYGEN_NEXT;
    case 0:
        return delegate(self, result);
    default:
        return spend_failed(self);
    }
}

/* What a part of the operation has come to. */
static inline PySendResult
go_on(CaSyncCall *self, ca_sync_outcome outcome, PyObject **result)
{
    switch (outcome) {
    case CA_SYNC_DONE:
        spend(self);
        return PYGEN_RETURN;
    case CA_SYNC_WAIT:
        return wait(self, result);
    case CA_SYNC_STOCK:
        return delegate(self, result);
    default:
        return spend_failed(self);
    }
}

static PySendResult
begin(CaSyncCall *self, PyObject **result)
{
    self->state = CA_SYNCCALL_RUNNING;
    return go_on(self, self->op->begin(self, result), result);
}

/* Somebody has resumed the call: its future should be done. */
static PySendResult
resume(CaSyncCall *self, PyObject **result)
{
    CaFuture *fut = (CaFuture *)self->future;
    self->state = CA_SYNCCALL_RUNNING;
    if (fut->state == CA_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return fail(self);
    }
    PyObject *exc = ca_future_take_error(self->st, fut);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return fail(self);
    }
    return go_on(self, self->op->resume(self, result), result);
}

/* Something was thrown into the wait; what StopIteration carries passes for
 * the future's result, as it does where stock awaits that. */
static PySendResult
thrown(CaSyncCall *self, PyObject **result)
{
    *result = NULL;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return fail(self);
    }
    self->state = CA_SYNCCALL_RUNNING;
    PyErr_Clear();
    return go_on(self, self->op->resume(self, result), result);
}

static PySendResult
refuse(const char *why, PyObject *type)
{
    PyErr_SetString(type, why);
    return PYGEN_ERROR;
}

static PySendResult
call_am_send(PyObject *op, PyObject *value, PyObject **result)
{
    CaSyncCall *self = (CaSyncCall *)op;
    *result = NULL;
    switch (self->state) {
    case CA_SYNCCALL_NEW:
        if (value != Py_None) {
            return refuse(
                "can't send non-None value to a just-started coroutine",
                PyExc_TypeError);
        }
        return begin(self, result);
    case CA_SYNCCALL_WAITING:
        return resume(self, result);
    case CA_SYNCCALL_DELEGATED:
        self->state = CA_SYNCCALL_RUNNING;
        return hand_on(self, PyIter_Send(self->inner, value, result));
    case CA_SYNCCALL_RUNNING:
        return refuse("coroutine already executing", PyExc_ValueError);
    default:
        return refuse("cannot reuse already awaited coroutine",
                      PyExc_RuntimeError);
    }
}

static PyObject *
call_tp_iternext(PyObject *op)
{
    PyObject *result;
    if (call_am_send(op, Py_None, &result) == PYGEN_RETURN) {
        ca_stop_raise(((CaSyncCall *)op)->st, result);
        return NULL;
    }
    return result;
}

PyDoc_STRVAR(send_doc,
"send($self, value, /)\n--\n\nStart the call, or go on with it.");

static PyObject *
call_py_send(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult status = call_am_send(op, value, &result);
    return ca_stop_return(status, result);
}

/* Throw into stock's coroutine; how it ended goes to hand_on(). */
static PyObject *
throw_into_inner(CaSyncCall *self, PyObject *const *args, Py_ssize_t nargs)
{
    self->state = CA_SYNCCALL_RUNNING;
    PyObject *method = PyObject_GetAttr(self->inner,
                                        self->st->names[CA_STR_throw]);
    PyObject *result = method == NULL ? NULL
                                      : PyObject_Vectorcall(
                                            method, args, (size_t)nargs, NULL);
    Py_XDECREF(method);
    (void)hand_on(self, result == NULL ? PYGEN_ERROR : PYGEN_NEXT);
    return result;
}

/* Whether an exception may go in: 0, or -1 with why not.  Arguments are judged
 * before the state, as everywhere in Python. */
static int
check_throwable(const CaSyncCall *self, PyObject *const *args,
                Py_ssize_t nargs)
{
    bool waits = self->state == CA_SYNCCALL_WAITING ||
                 self->state == CA_SYNCCALL_DELEGATED;
    if (ca_throw_check(self->st, args, nargs, waits) < 0) {
        return -1;
    }
    if (self->state == CA_SYNCCALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->state == CA_SYNCCALL_SPENT) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception in the call, which ends it.");

static PyObject *
call_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaSyncCall *self = (CaSyncCall *)op;
    if (check_throwable(self, args, nargs) < 0) {
        return NULL;
    }
    if (self->state == CA_SYNCCALL_DELEGATED) {
        return throw_into_inner(self, args, nargs);
    }
    bool waits = self->state == CA_SYNCCALL_WAITING;
    if (waits && nargs == 1 && PyExceptionInstance_Check(args[0])) {
        PyErr_SetRaisedException(Py_NewRef(args[0]));
    } else {
        ca_throw_raise(self->st,
                       waits ? PyObject_GetIter((PyObject *)self->future)
                             : make_stock(self),
                       args, nargs);
    }
    PyObject *result = NULL;
    PySendResult status = waits ? thrown(self, &result) : spend_failed(self);
    return ca_stop_return(status, result);
}

/* inner.close(), which may run Python that finds the call running. */
static PyObject *
close_inner(CaSyncCall *self)
{
    PyObject *inner = Py_NewRef(self->inner);
    self->state = CA_SYNCCALL_RUNNING;
    PyObject *closed = PyObject_CallMethodNoArgs(
        inner, self->st->names[CA_STR_close]);
    Py_DECREF(inner);
    if (closed == NULL) {
        (void)spend_failed(self);
    } else {
        spend(self);
    }
    return closed;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\nGive the call up.");

/* Raise GeneratorExit where the call waits; 0, or -1 with what else has come
 * of it. */
static int
give_up(CaSyncCall *self)
{
    PyErr_SetNone(PyExc_GeneratorExit);
    (void)fail(self);
    if (!PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static PyObject *
call_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSyncCall *self = (CaSyncCall *)op;
    if (self->state == CA_SYNCCALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (self->state == CA_SYNCCALL_WAITING) {
        return give_up(self) < 0 ? NULL : Py_NewRef(Py_None);
    }
    if (self->state == CA_SYNCCALL_DELEGATED) {
        return close_inner(self);
    }
    spend(self);
    Py_RETURN_NONE;
}

static PyObject *
call_am_await(PyObject *op)
{
    CaSyncCall *self = (CaSyncCall *)op;
    if (self->state == CA_SYNCCALL_WAITING ||
        self->state == CA_SYNCCALL_DELEGATED) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(op);
}

/* ---- what tools ask a coroutine ---- */

static PyObject *
get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((CaSyncCall *)op)->op->name);
}

static PyObject *
get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((CaSyncCall *)op)->op->qualname);
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaSyncCall *)op)->state == CA_SYNCCALL_RUNNING);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    int state = ((CaSyncCall *)op)->state;
    return PyBool_FromLong(state == CA_SYNCCALL_WAITING ||
                           state == CA_SYNCCALL_DELEGATED);
}

static PyObject *
get_await(PyObject *op, void *Py_UNUSED(closure))
{
    CaSyncCall *self = (CaSyncCall *)op;
    PyObject *waited = self->inner != NULL ? self->inner : self->future;
    return Py_NewRef(waited == NULL ? Py_None : waited);
}

static PyObject *
get_origin(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;                    /* calls of ours do not track it */
}

/* Stock's method of that name, a function. */
static PyObject *
stock_function(const CaSyncCall *self)
{
    PyObject *stock = *(PyObject **)((char *)self->st + self->op->face->stock);
    PyObject *found = PyObject_GetAttrString(stock, self->op->name);
    if (found != NULL && !PyFunction_Check(found)) {
        PyErr_Format(PyExc_AttributeError, "%s is not a function",
                     self->op->name);
        Py_CLEAR(found);
    }
    return found;
}

/* Tools show where a coroutine stands: at the head of stock's method. */
static PyObject *
get_code(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *function = stock_function((CaSyncCall *)op);
    PyObject *code = function == NULL
                         ? NULL
                         : Py_NewRef(PyFunction_GET_CODE(function));
    Py_XDECREF(function);
    return code;
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    CaSyncCall *self = (CaSyncCall *)op;
    if (self->state == CA_SYNCCALL_SPENT) {
        Py_RETURN_NONE;
    }
    if (self->inner != NULL) {
        return PyObject_GetAttrString(self->inner, "cr_frame");
    }
    PyObject *function = stock_function(self);
    PyFrameObject *frame = function == NULL
                               ? NULL
                               : PyFrame_New(
                                     PyThreadState_Get(),
                                     (PyCodeObject *)PyFunction_GET_CODE(
                                         function),
                                     PyFunction_GET_GLOBALS(function), NULL);
    Py_XDECREF(function);
    return (PyObject *)frame;
}

static PyObject *
call_tp_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                ((CaSyncCall *)op)->op->qualname, op);
}

/* ---- birth and death ---- */

PyObject *
ca_synccall_new(CaSync *owner, const ca_sync_op *op, PyObject *item)
{
    ca_state *st = owner->st;
    CaSyncCall *self = (CaSyncCall *)ca_freelist_take(&st->sync.calls,
                                                      st->sync.CallType);
    if (self == NULL) {
        return NULL;
    }
    self->op = op;
    self->owner = (CaSync *)Py_NewRef(owner);
    self->item = Py_XNewRef(item);
    self->future = NULL;
    self->inner = NULL;
    self->weakrefs = NULL;
    self->st = st;
    self->state = CA_SYNCCALL_NEW;
    self->finalized = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* A call that was never awaited says so, as a coroutine does. */
static int
warn_unawaited(CaSyncCall *self)
{
    PyObject *warn = self->st->warn_unawaited;
    if (warn == NULL) {
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                "coroutine '%s' was never awaited",
                                self->op->qualname);
    }
    PyObject *none = PyObject_CallOneArg(warn, (PyObject *)self);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static void
call_tp_finalize(PyObject *op)
{
    CaSyncCall *self = (CaSyncCall *)op;
    self->finalized = true;
    PyObject *exc = PyErr_GetRaisedException();
    int result = self->state == CA_SYNCCALL_NEW       ? warn_unawaited(self)
                 : self->state == CA_SYNCCALL_WAITING ? give_up(self)
                                                      : 0;
    if (result < 0) {
        PyErr_WriteUnraisable(op);
    }
    ca_error_restore(exc);
}

static int
call_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaSyncCall *self = (CaSyncCall *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->item);
    Py_VISIT(self->future);
    Py_VISIT(self->inner);
    return 0;
}

static int
call_tp_clear(PyObject *op)
{
    spend((CaSyncCall *)op);
    return 0;
}

static void
call_tp_dealloc(PyObject *op)
{
    CaSyncCall *self = (CaSyncCall *)op;
    ca_state *st = self->st;
    if ((self->state == CA_SYNCCALL_NEW ||
         self->state == CA_SYNCCALL_WAITING) &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->state != CA_SYNCCALL_SPENT) {
        spend(self);
    }
    if (!self->finalized) {
        ca_freelist_give(&st->sync.calls, op, CA_FREELIST_SYNC_CALLS);
        return;
    }
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMethodDef call_methods[] = {
    {"send", call_py_send, METH_O, send_doc},
    {"throw", FASTCALL(call_py_throw), METH_FASTCALL, throw_doc},
    {"close", call_py_close, METH_NOARGS, close_doc},
    {0},
};

static PyGetSetDef call_getset[] = {
    {"__name__", get_name, NULL, "Name of the method.", NULL},
    {"__qualname__", get_qualname, NULL, "Name of stock's method.", NULL},
    {"cr_running", get_running, NULL, "It is on the stack.", NULL},
    {"cr_suspended", get_suspended, NULL, "It waits.", NULL},
    {"cr_await", get_await, NULL, "What it waits for, or None.", NULL},
    {"cr_code", get_code, NULL, "The code of stock's method.", NULL},
    {"cr_frame", get_frame, NULL, "A frame of that code; None at the end.",
     NULL},
    {"cr_origin", get_origin, NULL, "None: not tracked.", NULL},
    {0},
};

static PyMemberDef call_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaSyncCall, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(call_doc,
"Coroutine of a primitive; made by acquire(), wait(), get() and put().");

static PyType_Slot call_slots[] = {
    {Py_tp_doc, (void *)call_doc},
    {Py_tp_dealloc, call_tp_dealloc},
    {Py_tp_finalize, call_tp_finalize},
    {Py_tp_traverse, call_tp_traverse},
    {Py_tp_clear, call_tp_clear},
    {Py_tp_repr, call_tp_repr},
    {Py_tp_iter, PyObject_SelfIter},   /* of what __await__() returns */
    {Py_tp_iternext, call_tp_iternext},
    {Py_am_await, call_am_await},
    {Py_am_send, call_am_send},
    {Py_tp_methods, call_methods},
    {Py_tp_getset, call_getset},
    {Py_tp_members, call_members},
    {0, NULL},
};

PyType_Spec ca_synccall_spec = {
    .name = "casyncio._native.SyncCall",
    .basicsize = sizeof(CaSyncCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
