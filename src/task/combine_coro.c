/* combine_coro.c - coroutines in C: what asyncio.sleep() and its like return.
 *
 * States:  new -> running -> spent
 *                 running <-> waiting (it has yielded), then -> spent
 *                 running -> delegated -> spent
 *
 * A kind (combine.h) does the work: it starts, is resumed, and hears of what
 * is thrown in.  Delegated, all goes to a coroutine of stock's, which then is
 * the only one that knows.  Closing is throwing GeneratorExit, as ever.
 */
#include "task/combine.h"

#include "py/args.h"
#include "py/errors.h"
#include "py/freelist.h"
#include "py/stop.h"
#include "py/throw.h"

#include <frameobject.h>
#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* ---- the end ---- */

/* Let go of everything.  May run Python (destructors). */
static void
spend(CaCoro *self)
{
    self->state = CA_CORO_SPENT;
    if (self->expiry != NULL) {
        self->expiry->coro = NULL;
        Py_CLEAR(self->expiry);
    }
    if (self->timer != NULL) {
        PyObject *timer = self->timer;
        self->timer = NULL;
        (void)ca_combine_disarm(self->st, timer);
        Py_DECREF(timer);
    }
    for (int i = 0; i < CA_CORO_ARGS; i++) {
        Py_CLEAR(self->args[i]);
    }
    Py_CLEAR(self->future);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->task);
}

void
ca_coro_hide_stop(const char *message)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return;
    }
    PyObject *stop = PyErr_GetRaisedException();
    PyErr_SetString(PyExc_RuntimeError, message);
    PyObject *exc = PyErr_GetRaisedException();
    PyException_SetCause(exc, Py_NewRef(stop));
    PyException_SetContext(exc, stop);
    PyErr_SetRaisedException(exc);
}

/* The same while an exception is on its way. */
static PySendResult
spend_failed(CaCoro *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    spend(self);
    ca_error_restore(exc);
    return PYGEN_ERROR;
}

/* What a kind's function has come to: the state follows. */
static PySendResult
settle(CaCoro *self, PySendResult status)
{
    if (status == PYGEN_NEXT) {
        if (self->state == CA_CORO_RUNNING) {
            self->state = CA_CORO_WAITING;
        }
        return status;
    }
    if (status == PYGEN_RETURN) {
        spend(self);
        return status;
    }
    ca_coro_hide_stop("coroutine raised StopIteration");
    return spend_failed(self);
}

PySendResult
ca_coro_fail(PyObject *exc)
{
    PyErr_SetRaisedException(Py_NewRef(exc));
    return PYGEN_ERROR;
}

PySendResult
ca_coro_outcome(ca_state *st, CaFuture *fut, PyObject **result)
{
    if (fut->state == CA_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    PyObject *exc = ca_future_take_error(st, fut);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(fut->result);
    return PYGEN_RETURN;
}

/* ---- stock's coroutine in our place ---- */

PySendResult
ca_coro_delegate(CaCoro *self, PyObject **result)
{
    self->inner = ca_combine_call_stock(self->st, self->kind->stock,
                                        self->args, self->nargs, NULL);
    if (self->inner == NULL) {
        return PYGEN_ERROR;
    }
    return ca_coro_delegate_sent(self, result);
}

PySendResult
ca_coro_delegate_sent(CaCoro *self, PyObject **result)
{
    PySendResult status = PyIter_Send(self->inner, Py_None, result);
    if (status == PYGEN_NEXT) {
        self->state = CA_CORO_DELEGATED;
    }
    return status;
}

PySendResult
ca_coro_stopped(PyObject **result)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *value = ((PyStopIterationObject *)exc)->value;
    *result = Py_NewRef(value == NULL ? Py_None : value);
    Py_DECREF(exc);
    return PYGEN_RETURN;
}

/* inner.throw(*args) */
static PySendResult
throw_on(CaCoro *self, PyObject *const *args, Py_ssize_t nargs,
         PyObject **result)
{
    PyObject *method = PyObject_GetAttr(self->inner,
                                        self->st->names[CA_STR_throw]);
    *result = method == NULL
                  ? NULL
                  : PyObject_Vectorcall(method, args, (size_t)nargs, NULL);
    Py_XDECREF(method);
    return *result != NULL ? PYGEN_NEXT : ca_coro_stopped(result);
}

PySendResult
ca_coro_delegate_thrown(CaCoro *self, PyObject *steal_inner, PyObject *exc,
                        PyObject **result)
{
    Py_XSETREF(self->inner, steal_inner);
    PySendResult status = throw_on(self, &exc, 1, result);
    if (status == PYGEN_NEXT) {
        self->state = CA_CORO_DELEGATED;
    }
    return status;
}

/* ---- sending ---- */

static PySendResult
refuse(PyObject *type, const char *why)
{
    PyErr_SetString(type, why);
    return PYGEN_ERROR;
}

static PySendResult
coro_am_send(PyObject *op, PyObject *value, PyObject **result)
{
    CaCoro *self = (CaCoro *)op;
    PySendResult status;
    *result = NULL;
    switch (self->state) {
    case CA_CORO_NEW:
        if (value != Py_None) {
            return refuse(PyExc_TypeError, "can't send non-None value to a "
                                           "just-started coroutine");
        }
        self->state = CA_CORO_RUNNING;
        status = self->kind->start(self, result);
        break;
    case CA_CORO_WAITING:
        self->state = CA_CORO_RUNNING;
        status = self->kind->resume(self, value, result);
        break;
    case CA_CORO_DELEGATED:
        self->state = CA_CORO_RUNNING;
        status = PyIter_Send(self->inner, value, result);
        self->state = status == PYGEN_NEXT ? CA_CORO_DELEGATED : self->state;
        break;
    case CA_CORO_RUNNING:
        return refuse(PyExc_ValueError, "coroutine already executing");
    default:
        return refuse(PyExc_RuntimeError,
                      "cannot reuse already awaited coroutine");
    }
    return settle(self, status);
}

static PyObject *
coro_tp_iternext(PyObject *op)
{
    PyObject *result;
    if (coro_am_send(op, Py_None, &result) == PYGEN_RETURN) {
        ca_stop_raise_plain(result);
        return NULL;
    }
    return result;
}

PyDoc_STRVAR(send_doc,
"send($self, value, /)\n--\n\nStart the coroutine, or go on with it.");

static PyObject *
coro_py_send(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult status = coro_am_send(op, value, &result);
    return ca_stop_return(status, result);
}

/* ---- throwing ---- */

/* What throw(*args) raises, of the future that is awaited or of a coroutine
 * that has not been started: the exception that is asked for, or a complaint.
 * Strong. */
static PyObject *
make_thrown(CaCoro *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs == 1 && PyExceptionInstance_Check(args[0]) &&
        self->state != CA_CORO_NEW) {
        return Py_NewRef(args[0]);
    }
    PyObject *speaker = self->future != NULL
                            ? PyObject_GetIter(self->future)
                            : ca_combine_call_stock(
                                  self->st, CA_COMBINE_SPEAKER, NULL, 0, NULL);
    ca_throw_raise(self->st, speaker, args, nargs);
    return PyErr_GetRaisedException();
}

/* Throw an exception in; borrowed. */
static PySendResult
throw_in(CaCoro *self, PyObject *exc, PyObject **result)
{
    *result = NULL;
    if (self->state == CA_CORO_NEW) {
        (void)ca_coro_fail(exc);
        return spend_failed(self);
    }
    self->state = CA_CORO_RUNNING;
    return settle(self, self->kind->thrown(self, exc, result));
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception where the coroutine waits.");

static PyObject *
coro_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaCoro *self = (CaCoro *)op;
    PyObject *result = NULL;
    PySendResult status;
    if (self->state == CA_CORO_DELEGATED) {
        if (ca_throw_check(self->st, args, nargs, true) < 0) {
            return NULL;
        }
        self->state = CA_CORO_RUNNING;
        status = throw_on(self, args, nargs, &result);
        self->state = status == PYGEN_NEXT ? CA_CORO_DELEGATED : self->state;
        return ca_stop_return(settle(self, status), result);
    }
    bool refused = ca_throw_is_refused(args, nargs);
    if (!refused && self->state == CA_CORO_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (!refused && self->state == CA_CORO_SPENT) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return NULL;
    }
    PyObject *exc = make_thrown(self, args, nargs);
    /* A complaint is raised where the coroutine waits, if it does. */
    bool waits = self->state == CA_CORO_WAITING && ca_throw_counts(nargs);
    if (exc == NULL || (refused && !waits)) {
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
        return NULL;
    }
    status = throw_in(self, exc, &result);
    Py_DECREF(exc);
    return ca_stop_return(status, result);
}

/* ---- closing ---- */

/* After GeneratorExit went in: it must have come out again, or a return. */
static PyObject *
closed(PySendResult status, PyObject *steal_result)
{
    if (status == PYGEN_NEXT) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        Py_DECREF(steal_result);
        return NULL;
    }
    if (status == PYGEN_RETURN) {
        Py_DECREF(steal_result);
        Py_RETURN_NONE;
    }
    if (!PyErr_ExceptionMatches(PyExc_GeneratorExit) &&
        !PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyErr_Clear();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\nGive the coroutine up.");

static PyObject *
coro_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaCoro *self = (CaCoro *)op;
    PyObject *result = NULL;
    PyObject *exc;
    PySendResult status;
    switch (self->state) {
    case CA_CORO_RUNNING:
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    case CA_CORO_DELEGATED:
        self->state = CA_CORO_RUNNING;
        result = PyObject_CallMethodNoArgs(self->inner,
                                           self->st->names[CA_STR_close]);
        (void)settle(self, result == NULL ? PYGEN_ERROR : PYGEN_RETURN);
        return result;
    case CA_CORO_WAITING:
        exc = PyObject_CallNoArgs(PyExc_GeneratorExit);
        if (exc == NULL) {
            return NULL;
        }
        status = throw_in(self, exc, &result);
        Py_DECREF(exc);
        return closed(status, result);
    default:
        spend(self);
        Py_RETURN_NONE;
    }
}

static PyObject *
coro_am_await(PyObject *op)
{
    CaCoro *self = (CaCoro *)op;
    if (self->state == CA_CORO_WAITING || self->state == CA_CORO_DELEGATED) {
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
    return PyUnicode_FromString(((CaCoro *)op)->kind->name);
}

static PyObject *
get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(((CaCoro *)op)->kind->qualname);
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaCoro *)op)->state == CA_CORO_RUNNING);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    int state = ((CaCoro *)op)->state;
    return PyBool_FromLong(state == CA_CORO_WAITING ||
                           state == CA_CORO_DELEGATED);
}

static PyObject *
get_await(PyObject *op, void *Py_UNUSED(closure))
{
    CaCoro *self = (CaCoro *)op;
    PyObject *waited = self->inner != NULL ? self->inner : self->future;
    return Py_NewRef(waited == NULL ? Py_None : waited);
}

static PyObject *
get_origin(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;                    /* those of ours do not track it */
}

/* Stock's function, borrowed; AttributeError if it is none. */
static PyObject *
stock_function_borrow(const CaCoro *self)
{
    PyObject *found = ca_combine_stock_borrow(self->st, self->kind->stock);
    if (found == NULL) {
        return NULL;
    }
    if (!PyFunction_Check(found)) {
        PyErr_Format(PyExc_AttributeError, "%s is not a function",
                     self->kind->qualname);
        return NULL;
    }
    return found;
}

/* Tools show where a coroutine stands: at the head of stock's function. */
static PyObject *
get_code(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *function = stock_function_borrow((CaCoro *)op);
    return function == NULL ? NULL : Py_NewRef(PyFunction_GET_CODE(function));
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    CaCoro *self = (CaCoro *)op;
    if (self->state == CA_CORO_SPENT) {
        Py_RETURN_NONE;
    }
    if (self->state == CA_CORO_DELEGATED) {
        return PyObject_GetAttrString(self->inner, "cr_frame");
    }
    PyObject *function = stock_function_borrow(self);
    return function == NULL
               ? NULL
               : (PyObject *)PyFrame_New(
                     PyThreadState_Get(),
                     (PyCodeObject *)PyFunction_GET_CODE(function),
                     PyFunction_GET_GLOBALS(function), NULL);
}

static PyObject *
coro_tp_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                ((CaCoro *)op)->kind->qualname, op);
}

/* ---- birth and death ---- */

PyObject *
ca_coro_new(ca_state *st, const ca_coro_kind *kind, PyObject *const *args,
            Py_ssize_t nargs)
{
    CaCoro *self = (CaCoro *)ca_freelist_take(&st->coros, st->CoroType);
    if (self == NULL) {
        return NULL;
    }
    self->kind = kind;
    self->st = st;
    for (int i = 0; i < CA_CORO_ARGS; i++) {
        self->args[i] = i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    self->future = NULL;
    self->timer = NULL;
    self->inner = NULL;
    self->weakrefs = NULL;
    self->task = NULL;
    self->expiry = NULL;
    self->state = CA_CORO_NEW;
    self->nargs = (uint8_t)nargs;
    self->phase = 0;
    self->cancelling = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
warn_unawaited(CaCoro *self)
{
    PyObject *warn = self->st->warn_unawaited;
    if (warn == NULL) {
        return PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                "coroutine '%s' was never awaited",
                                self->kind->qualname);
    }
    PyObject *none = PyObject_CallOneArg(warn, (PyObject *)self);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* One that was never awaited says so, and one that waits is closed. */
static void
coro_tp_finalize(PyObject *op)
{
    CaCoro *self = (CaCoro *)op;
    PyObject *exc = PyErr_GetRaisedException();
    int result = 0;
    if (self->state == CA_CORO_NEW) {
        result = warn_unawaited(self);
    } else if (self->state != CA_CORO_SPENT) {
        PyObject *none = coro_py_close(op, NULL);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    }
    if (result < 0) {
        PyErr_WriteUnraisable(op);
    }
    if (exc != NULL) {
        ca_error_restore(exc);
    }
}

static int
coro_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaCoro *self = (CaCoro *)op;
    Py_VISIT(Py_TYPE(op));
    for (int i = 0; i < CA_CORO_ARGS; i++) {
        Py_VISIT(self->args[i]);
    }
    Py_VISIT(self->future);
    Py_VISIT(self->timer);
    Py_VISIT(self->inner);
    Py_VISIT(self->task);
    return 0;
}

static int
coro_tp_clear(PyObject *op)
{
    spend((CaCoro *)op);
    return 0;
}

static void
coro_tp_dealloc(PyObject *op)
{
    CaCoro *self = (CaCoro *)op;
    ca_state *st = self->st;
    if (self->state != CA_CORO_SPENT &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->state != CA_CORO_SPENT) {
        spend(self);
    }
    if (!PyObject_GC_IsFinalized(op)) {
        ca_freelist_give(&st->coros, op, CA_FREELIST_COROS);
        return;
    }
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyMethodDef coro_methods[] = {
    {"send", coro_py_send, METH_O, send_doc},
    {"throw", FASTCALL(coro_py_throw), METH_FASTCALL, throw_doc},
    {"close", coro_py_close, METH_NOARGS, close_doc},
    {0},
};

static PyGetSetDef coro_getset[] = {
    {"__name__", get_name, NULL, "Name of the function.", NULL},
    {"__qualname__", get_qualname, NULL, "Qualified name of it.", NULL},
    {"cr_running", get_running, NULL, "It is on the stack.", NULL},
    {"cr_suspended", get_suspended, NULL, "It waits.", NULL},
    {"cr_await", get_await, NULL, "What it waits for, or None.", NULL},
    {"cr_code", get_code, NULL, "The code of stock's function.", NULL},
    {"cr_frame", get_frame, NULL, "A frame of that code; None at the end.",
     NULL},
    {"cr_origin", get_origin, NULL, "None: not tracked.", NULL},
    {0},
};

static PyMemberDef coro_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaCoro, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(coro_doc,
"Coroutine in C; made by casyncio.sleep() and its like.");

static PyType_Slot coro_slots[] = {
    {Py_tp_doc, (void *)coro_doc},
    {Py_tp_dealloc, coro_tp_dealloc},
    {Py_tp_finalize, coro_tp_finalize},
    {Py_tp_traverse, coro_tp_traverse},
    {Py_tp_clear, coro_tp_clear},
    {Py_tp_repr, coro_tp_repr},
    {Py_tp_iter, PyObject_SelfIter},   /* of what __await__() returns */
    {Py_tp_iternext, coro_tp_iternext},
    {Py_am_await, coro_am_await},
    {Py_am_send, coro_am_send},
    {Py_tp_methods, coro_methods},
    {Py_tp_getset, coro_getset},
    {Py_tp_members, coro_members},
    {0, NULL},
};

PyType_Spec ca_coro_spec = {
    .name = "casyncio._native.Coro",
    .basicsize = sizeof(CaCoro),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = coro_slots,
};
