/* call.c - the coroutine itself, see call.h.
 *
 * States:  new -> running -> spent                       (no need to wait)
 *                 running -> waiting -> running -> spent
 *                 running -> delegated -> spent          (not the usual case)
 *
 * The end of the waiting, however it comes (resumed, thrown into, closed,
 * forgotten), leaves the reader without a waiter, as the `finally` of stock's
 * _wait_for_data() does.
 */
#include "stream/call.h"

#include "py/args.h"
#include "py/errors.h"
#include "py/freelist.h"
#include "py/stop.h"
#include "py/throw.h"
#include "stream/reader.h"

#include <frameobject.h>
#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* ---- the end of a call ---- */

/* Let go of what it works on.  May run Python (destructors). */
static void
spend(CaStreamCall *self)
{
    bool waited = self->state == CA_CALL_WAITING;
    self->state = CA_CALL_SPENT;
    if (waited && self->owner != NULL) {
        ca_reader_end_waiting((CaReader *)self->owner);
    }
    Py_CLEAR(self->future);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->parts);
    Py_CLEAR(self->arg);
    Py_CLEAR(self->owner);
}

/* The same while an exception is on its way. */
static PySendResult
spend_failed(CaStreamCall *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    spend(self);
    ca_error_restore(exc);
    return PYGEN_ERROR;
}

/* ---- stock's coroutine in our place ---- */

static PyObject *
stock_class_borrow(const CaStreamCall *self)
{
    return self->op->of_reader ? self->st->StreamReader
                               : self->st->StockStreamWriter;
}

static PyObject *
make_stock(const CaStreamCall *self)
{
    PyObject *name = PyUnicode_InternFromString(self->op->name);
    PyObject *coro = name == NULL
                         ? NULL
                         : ca_stock_call(stock_class_borrow(self), name,
                                         self->owner, &self->arg,
                                         self->arg == NULL ? 0 : 1, NULL);
    Py_XDECREF(name);
    return coro;
}

/* b"".join(parts), the result in front of which they were read being the last;
 * 0 or -1. */
static int
join_parts(CaStreamCall *self, PyObject **result)
{
    PyObject *last = *result;
    *result = NULL;
    if (PyList_Append(self->parts, last) == 0) {
        *result = PyObject_CallMethodOneArg(
            self->st->empty_bytes, self->st->names[CA_STR_join], self->parts);
    }
    Py_DECREF(last);
    return *result == NULL ? -1 : 0;
}

/* What stock's coroutine made of send() or throw(): its result is ours. */
static PySendResult
hand_on(CaStreamCall *self, PySendResult status, PyObject **result)
{
    if (status == PYGEN_NEXT) {
        self->state = CA_CALL_DELEGATED;
        return PYGEN_NEXT;
    }
    if (status == PYGEN_RETURN && self->parts != NULL &&
        join_parts(self, result) < 0) {
        status = PYGEN_ERROR;
    }
    if (status == PYGEN_ERROR) {
        return spend_failed(self);
    }
    spend(self);
    return PYGEN_RETURN;
}

static PySendResult
delegate(CaStreamCall *self, PyObject **result)
{
    self->inner = make_stock(self);
    if (self->inner == NULL) {
        return spend_failed(self);
    }
    return hand_on(self, PyIter_Send(self->inner, Py_None, result), result);
}

/* ---- the coroutine ---- */

/* The wait ends with the exception that is set. */
static PySendResult
fail(CaStreamCall *self, PyObject **result)
{
    if (self->op->failed == NULL ||
        self->op->failed(self, result) != CA_CALL_DONE) {
        return spend_failed(self);
    }
    spend(self);
    return PYGEN_RETURN;
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
    self->state = CA_CALL_WAITING;
    self->future = future;
    ((CaFuture *)future)->blocking = 1;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

static PySendResult
settle(CaStreamCall *self, ca_call_outcome outcome, PyObject **result)
{
    switch (outcome) {
    case CA_CALL_DONE:
        spend(self);
        return PYGEN_RETURN;
    case CA_CALL_WAIT:
        return begin_waiting(self, result);
    case CA_CALL_STOCK:
        return delegate(self, result);
    default:
        return spend_failed(self);
    }
}

static PySendResult
begin(CaStreamCall *self, PyObject **result)
{
    self->state = CA_CALL_RUNNING;
    return settle(self, self->op->start(self, result), result);
}

/* The wait is over. */
static PySendResult
go_on(CaStreamCall *self, PyObject **result)
{
    return ca_reader_is_usual((CaReader *)self->owner)
               ? settle(self, self->op->again(self, result), result)
               : delegate(self, result); /* somebody has changed it */
}

/* Something was thrown into the wait; what StopIteration carries passes for
 * the future's result, as it does where stock awaits that. */
static PySendResult
thrown(CaStreamCall *self, PyObject **result)
{
    *result = NULL;
    self->state = CA_CALL_RUNNING;
    Py_CLEAR(self->future);
    ca_reader_end_waiting((CaReader *)self->owner);
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return fail(self, result);
    }
    PyErr_Clear();
    return go_on(self, result);
}

/* Resumed: the future should be done. */
static PySendResult
resume(CaStreamCall *self, PyObject **result)
{
    CaFuture *fut = (CaFuture *)self->future;
    CaReader *reader = (CaReader *)self->owner;
    self->state = CA_CALL_RUNNING;
    self->future = NULL;
    ca_reader_end_waiting(reader);
    if (fut->state == CA_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        Py_DECREF(fut);
        return spend_failed(self);
    }
    PyObject *exc = ca_future_take_error(self->st, fut);
    Py_DECREF(fut);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
        return fail(self, result);
    }
    return go_on(self, result);
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
    CaStreamCall *self = (CaStreamCall *)op;
    *result = NULL;
    switch (self->state) {
    case CA_CALL_NEW:
        if (value != Py_None) {
            return refuse(
                "can't send non-None value to a just-started coroutine",
                PyExc_TypeError);
        }
        return begin(self, result);
    case CA_CALL_WAITING:
        return resume(self, result);
    case CA_CALL_DELEGATED:
        self->state = CA_CALL_RUNNING;
        return hand_on(self, PyIter_Send(self->inner, value, result), result);
    case CA_CALL_RUNNING:
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
        ca_stop_raise(((CaStreamCall *)op)->st, result);
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
throw_into_inner(CaStreamCall *self, PyObject *const *args, Py_ssize_t nargs)
{
    self->state = CA_CALL_RUNNING;
    PyObject *method = PyObject_GetAttr(self->inner,
                                        self->st->names[CA_STR_throw]);
    PyObject *result = method == NULL ? NULL
                                      : PyObject_Vectorcall(
                                            method, args, (size_t)nargs, NULL);
    Py_XDECREF(method);
    (void)hand_on(self, result == NULL ? PYGEN_ERROR : PYGEN_NEXT, &result);
    return result;
}

/* Whether an exception may go in: 0, or -1 with why not.  Arguments are judged
 * before the state, as everywhere in Python. */
static int
check_throwable(const CaStreamCall *self, PyObject *const *args,
                Py_ssize_t nargs)
{
    bool waits = self->state == CA_CALL_WAITING ||
                 self->state == CA_CALL_DELEGATED;
    if (ca_throw_check(self->st, args, nargs, waits) < 0) {
        return -1;
    }
    if (self->state == CA_CALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->state == CA_CALL_SPENT) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception in the call, which gives it up.");

static PyObject *
call_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaStreamCall *self = (CaStreamCall *)op;
    if (check_throwable(self, args, nargs) < 0) {
        return NULL;
    }
    if (self->state == CA_CALL_DELEGATED) {
        return throw_into_inner(self, args, nargs);
    }
    bool waits = self->state == CA_CALL_WAITING;
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
close_inner(CaStreamCall *self)
{
    PyObject *inner = Py_NewRef(self->inner);
    self->state = CA_CALL_RUNNING;
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

static PyObject *
call_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStreamCall *self = (CaStreamCall *)op;
    if (self->state == CA_CALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (self->state == CA_CALL_DELEGATED) {
        return close_inner(self);
    }
    spend(self);
    Py_RETURN_NONE;
}

static PyObject *
call_am_await(PyObject *op)
{
    CaStreamCall *self = (CaStreamCall *)op;
    if (self->state == CA_CALL_WAITING || self->state == CA_CALL_DELEGATED) {
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
    return PyUnicode_FromString(((CaStreamCall *)op)->op->name);
}

static const char *
class_name(const CaStreamCall *self)
{
    return self->op->of_reader ? "StreamReader" : "StreamWriter";
}

static PyObject *
get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    const CaStreamCall *self = (CaStreamCall *)op;
    return PyUnicode_FromFormat("%s.%s", class_name(self), self->op->name);
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaStreamCall *)op)->state == CA_CALL_RUNNING);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    int state = ((CaStreamCall *)op)->state;
    return PyBool_FromLong(state == CA_CALL_WAITING ||
                           state == CA_CALL_DELEGATED);
}

static PyObject *
get_await(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamCall *self = (CaStreamCall *)op;
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
stock_function(const CaStreamCall *self)
{
    PyObject *found = PyObject_GetAttrString(stock_class_borrow(self),
                                             self->op->name);
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
    PyObject *function = stock_function((CaStreamCall *)op);
    PyObject *code = function == NULL
                         ? NULL
                         : Py_NewRef(PyFunction_GET_CODE(function));
    Py_XDECREF(function);
    return code;
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    CaStreamCall *self = (CaStreamCall *)op;
    if (self->state == CA_CALL_SPENT) {
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
    const CaStreamCall *self = (CaStreamCall *)op;
    return PyUnicode_FromFormat("<coroutine object %s.%s at %p>",
                                class_name(self), self->op->name, op);
}

/* ---- birth and death ---- */

PyObject *
ca_call_new(ca_state *st, const ca_call_op *op, PyObject *owner, PyObject *arg)
{
    CaStreamCall *self = (CaStreamCall *)ca_freelist_take(&st->stream_calls,
                                                          st->StreamCallType);
    if (self == NULL) {
        return NULL;
    }
    self->owner = Py_NewRef(owner);
    self->op = op;
    self->arg = Py_XNewRef(arg);
    self->future = NULL;
    self->inner = NULL;
    self->parts = NULL;
    self->weakrefs = NULL;
    self->st = st;
    self->wanted = 0;
    self->searched = 0;
    self->state = CA_CALL_NEW;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* A call that was never awaited says so, as a coroutine does. */
static void
call_tp_finalize(PyObject *op)
{
    CaStreamCall *self = (CaStreamCall *)op;
    if (self->state != CA_CALL_NEW) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *warn = self->st->warn_unawaited;
    int result = 0;
    if (warn != NULL) {
        PyObject *none = PyObject_CallOneArg(warn, op);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    } else {
        result = PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                  "coroutine '%s.%s' was never awaited",
                                  class_name(self), self->op->name);
    }
    if (result < 0) {
        PyErr_WriteUnraisable(op);
    }
    ca_error_restore(exc);
}

static int
call_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaStreamCall *self = (CaStreamCall *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->arg);
    Py_VISIT(self->future);
    Py_VISIT(self->inner);
    Py_VISIT(self->parts);
    return 0;
}

static int
call_tp_clear(PyObject *op)
{
    spend((CaStreamCall *)op);
    return 0;
}

static void
call_tp_dealloc(PyObject *op)
{
    CaStreamCall *self = (CaStreamCall *)op;
    ca_state *st = self->st;
    if (self->state == CA_CALL_NEW &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->state != CA_CALL_SPENT) {
        spend(self);
    }
    if (!PyObject_GC_IsFinalized(op)) {
        ca_freelist_give(&st->stream_calls, op, CA_FREELIST_STREAM_CALLS);
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
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaStreamCall, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(call_doc,
"Coroutine of a stream; made by StreamReader.read() and its like.");

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

PyType_Spec ca_call_spec = {
    .name = "casyncio._native.StreamCall",
    .basicsize = sizeof(CaStreamCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
