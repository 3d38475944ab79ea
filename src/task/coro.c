/* coro.c - what kinds of coroutines need not do themselves, see coro.h. */
#include "task/coro.h"

#include "py/errors.h"
#include "py/throw.h"

#include <frameobject.h>
#include <stddef.h>
#include <string.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static inline CaCoro *
as_coro(PyObject *op)
{
    return (CaCoro *)op;
}

/* ---- the end ---- */

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

static PySendResult
spend_failed(CaCoro *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    ca_coro_spend(self, self->kind);
    ca_error_restore(exc);
    return PYGEN_ERROR;
}

PySendResult
ca_coro_end_raising(CaCoro *self)
{
    ca_coro_hide_stop("coroutine raised StopIteration");
    return spend_failed(self);
}

PySendResult
ca_coro_fail(PyObject *exc)
{
    PyErr_SetRaisedException(Py_NewRef(exc));
    return PYGEN_ERROR;
}

bool
ca_coro_future_raises(ca_state *st, CaFuture *fut)
{
    if (fut->state == CA_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return true;
    }
    PyObject *exc = ca_future_take_error(st, fut);
    if (exc == NULL) {
        return false;
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return true;
}

/* ---- stock's coroutine in our place ---- */

/* What that has come to. */
static PySendResult
delegated(CaCoro *self, PySendResult status, PyObject **result)
{
    if (status == PYGEN_NEXT) {
        self->state = CA_CORO_DELEGATED;
    } else if (status == PYGEN_RETURN && self->kind->complete != NULL &&
               self->kind->complete(self, result) < 0) {
        return PYGEN_ERROR;
    }
    return status;
}

PySendResult
ca_coro_delegate(CaCoro *self, PyObject **result)
{
    self->inner = self->kind->make_stock(self);
    return self->inner == NULL ? PYGEN_ERROR
                               : ca_coro_delegate_sent(self, result);
}

PySendResult
ca_coro_delegate_sent(CaCoro *self, PyObject **result)
{
    return delegated(self, PyIter_Send(self->inner, Py_None, result), result);
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
    return delegated(
        self, *result != NULL ? PYGEN_NEXT : ca_coro_stopped(result), result);
}

PySendResult
ca_coro_delegate_thrown(CaCoro *self, PyObject *steal_inner, PyObject *exc,
                        PyObject **result)
{
    Py_XSETREF(self->inner, steal_inner);
    return throw_on(self, &exc, 1, result);
}

/* ---- sending ---- */

static PySendResult
refuse(PyObject *type, const char *why)
{
    PyErr_SetString(type, why);
    return PYGEN_ERROR;
}

PySendResult
ca_coro_send_on(CaCoro *self, PyObject *value, PyObject **result)
{
    switch (self->state) {
    case CA_CORO_DELEGATED:
        self->state = CA_CORO_RUNNING;
        return ca_coro_settle(
            self, self->kind,
            delegated(self, PyIter_Send(self->inner, value, result), result));
    case CA_CORO_NEW:
        return refuse(PyExc_TypeError, "can't send non-None value to a "
                                       "just-started coroutine");
    case CA_CORO_RUNNING:
        return refuse(PyExc_ValueError, "coroutine already executing");
    default:
        return refuse(PyExc_RuntimeError,
                      "cannot reuse already awaited coroutine");
    }
}

PyDoc_STRVAR(send_doc,
"send($self, value, /)\n--\n\nStart the coroutine, or go on with it.");

static PyObject *
coro_py_send(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult status = ca_coro_send(op, as_coro(op)->kind, value, &result);
    return ca_stop_return(status, result);
}

/* ---- throwing ---- */

static bool
is_suspended(const CaCoro *self)
{
    return self->state == CA_CORO_WAITING || self->state == CA_CORO_DELEGATED;
}

/* Whether it may go on at all: 0, or -1 with why not. */
static int
check_state(const CaCoro *self)
{
    if (self->state == CA_CORO_RUNNING) {
        (void)refuse(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->state == CA_CORO_SPENT) {
        (void)refuse(PyExc_RuntimeError,
                     "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

/* Whether an exception may go in: 0, or -1 with why not.  Arguments are judged
 * before the state, as everywhere in Python. */
static int
check_throwable(const CaCoro *self, PyObject *const *args, Py_ssize_t nargs)
{
    return ca_throw_check(self->st, args, nargs, is_suspended(self)) < 0
               ? -1
               : check_state(self);
}

/* What throw(*args) raises, in the words of the future that is awaited or of
 * stock's coroutine: the exception that is asked for, or a complaint.
 * Strong.  May run Python, the constructor of an exception: which finds one
 * that waits on the stack, and may do anything with a new one. */
static PyObject *
make_thrown(CaCoro *self, PyObject *const *args, Py_ssize_t nargs)
{
    bool waits = self->state == CA_CORO_WAITING;
    if (waits && nargs == 1 && PyExceptionInstance_Check(args[0])) {
        return Py_NewRef(args[0]);
    }
    PyObject *speaker = !waits                 ? self->kind->make_stock(self)
                        : self->future != NULL ? PyObject_GetIter(self->future)
                                               : ca_throw_speaker(self->st);
    if (waits) {
        self->state = CA_CORO_RUNNING;
    }
    ca_throw_raise(self->st, speaker, args, nargs);
    if (waits) {
        self->state = CA_CORO_WAITING;
    }
    return PyErr_GetRaisedException();
}

/* Throw an exception in; borrowed. */
static PySendResult
throw_in(CaCoro *self, PyObject *exc, PyObject **result)
{
    *result = NULL;
    if (self->state == CA_CORO_NEW) {  /* none of its code runs */
        (void)ca_coro_fail(exc);
        return spend_failed(self);
    }
    self->state = CA_CORO_RUNNING;
    return ca_coro_settle(self, self->kind,
                          self->kind->thrown(self, exc, result));
}

/* Throw into that which it has been handed on to. */
static PySendResult
throw_through(CaCoro *self, PyObject *const *args, Py_ssize_t nargs,
              PyObject **result)
{
    self->state = CA_CORO_RUNNING;
    return ca_coro_settle(self, self->kind,
                          throw_on(self, args, nargs, result));
}

/* Throw in what make_thrown() has made; borrowed.  The state is what that has
 * left. */
static PySendResult
throw_made(CaCoro *self, PyObject *exc, PyObject **result)
{
    if (check_state(self) < 0) {
        return PYGEN_ERROR;
    }
    return self->state == CA_CORO_DELEGATED
               ? throw_through(self, &exc, 1, result)
               : throw_in(self, exc, result);
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception where the coroutine waits.");

static PyObject *
coro_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaCoro *self = as_coro(op);
    PyObject *result = NULL;
    PySendResult status;
    if (check_throwable(self, args, nargs) < 0) {
        return NULL;
    }
    if (self->state == CA_CORO_DELEGATED) {
        status = throw_through(self, args, nargs, &result);
    } else {
        PyObject *exc = make_thrown(self, args, nargs);
        if (exc == NULL) {
            return NULL;
        }
        status = throw_made(self, exc, &result);
        Py_DECREF(exc);
    }
    return ca_stop_return(status, result);
}

/* ---- closing ---- */

/* GeneratorExit goes in: it must come out again, or a return. */
static PyObject *
close_waiting(CaCoro *self)
{
    PyObject *result = NULL;
    PyObject *exc = PyObject_CallNoArgs(PyExc_GeneratorExit);
    if (exc == NULL) {
        return NULL;
    }
    PySendResult status = throw_in(self, exc, &result);
    Py_DECREF(exc);
    Py_XDECREF(result);
    if (status == PYGEN_NEXT) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return NULL;
    }
    if (status == PYGEN_ERROR) {
        if (!PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
            return NULL;
        }
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

/* inner.close(), which may run Python that finds the coroutine running. */
static PyObject *
close_inner(CaCoro *self)
{
    self->state = CA_CORO_RUNNING;
    PyObject *inner = Py_NewRef(self->inner);
    PyObject *closed = PyObject_CallMethodNoArgs(
        inner, self->st->names[CA_STR_close]);
    Py_DECREF(inner);
    (void)ca_coro_settle(self, self->kind,
                         closed == NULL ? PYGEN_ERROR : PYGEN_RETURN);
    return closed;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\nGive the coroutine up.");

static PyObject *
coro_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaCoro *self = as_coro(op);
    switch (self->state) {
    case CA_CORO_RUNNING:
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    case CA_CORO_DELEGATED:
        return close_inner(self);
    case CA_CORO_WAITING:
        return close_waiting(self);
    default:
        ca_coro_spend(self, self->kind);
        Py_RETURN_NONE;
    }
}

static PyObject *
coro_am_await(PyObject *op)
{
    if (is_suspended(as_coro(op))) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(op);
}

/* ---- what tools ask a coroutine ---- */

static PyObject *
coro_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return as_coro(op)->kind->qualname(as_coro(op));
}

static PyObject *
coro_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *qualname = as_coro(op)->kind->qualname(as_coro(op));
    const char *text = qualname == NULL ? NULL : PyUnicode_AsUTF8(qualname);
    const char *dot = text == NULL ? NULL : strrchr(text, '.');
    PyObject *name = dot == NULL ? Py_XNewRef(qualname)
                                 : PyUnicode_FromString(dot + 1);
    Py_XDECREF(qualname);
    return name;
}

static PyObject *
coro_get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(as_coro(op)->state == CA_CORO_RUNNING);
}

static PyObject *
coro_get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(is_suspended(as_coro(op)));
}

static PyObject *
coro_get_await(PyObject *op, void *Py_UNUSED(closure))
{
    CaCoro *self = as_coro(op);
    if (self->state == CA_CORO_DELEGATED) {
        return PyObject_GetAttrString(self->inner, "cr_await");
    }
    PyObject *awaited = self->inner != NULL ? self->inner : self->future;
    return Py_NewRef(awaited == NULL ? Py_None : awaited);
}

static PyObject *
coro_get_origin(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;                    /* those of ours do not track it */
}

/* Stock's, if it is a function written in Python. */
static PyObject *
stock_function(const CaCoro *self)
{
    PyObject *found = self->kind->stock_function(self);
    if (found != NULL && !PyFunction_Check(found)) {
        PyErr_Format(PyExc_AttributeError, "%R is not a function", found);
        Py_CLEAR(found);
    }
    return found;
}

/* Tools show where a coroutine stands: at the head of stock's function. */
static PyObject *
coro_get_code(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *function = stock_function(as_coro(op));
    PyObject *code = function == NULL
                         ? NULL
                         : Py_NewRef(PyFunction_GET_CODE(function));
    Py_XDECREF(function);
    return code;
}

static PyObject *
coro_get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    CaCoro *self = as_coro(op);
    if (self->state == CA_CORO_SPENT) {
        Py_RETURN_NONE;
    }
    if (self->state == CA_CORO_DELEGATED) {
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
coro_tp_repr(PyObject *op)
{
    PyObject *qualname = as_coro(op)->kind->qualname(as_coro(op));
    PyObject *text = qualname == NULL
                         ? NULL
                         : PyUnicode_FromFormat("<coroutine object %U at %p>",
                                                qualname, op);
    Py_XDECREF(qualname);
    return text;
}

/* ---- being forgotten ---- */

/* As `warnings` words it, if that is there. */
static int
warn_unawaited(CaCoro *self)
{
    PyObject *warn = self->st->warn_unawaited;
    if (warn != NULL) {
        PyObject *none = PyObject_CallOneArg(warn, (PyObject *)self);
        Py_XDECREF(none);
        return none == NULL ? -1 : 0;
    }
    PyObject *qualname = self->kind->qualname(self);
    int result = qualname == NULL
                     ? -1
                     : PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                                        "coroutine '%U' was never awaited",
                                        qualname);
    Py_XDECREF(qualname);
    return result;
}

/* One that was never awaited says so, and one that waits is closed. */
static void
coro_tp_finalize(PyObject *op)
{
    CaCoro *self = as_coro(op);
    PyObject *exc = PyErr_GetRaisedException();
    bool begun = self->state != CA_CORO_NEW;
    int result = 0;
    self->finalized = true;
    if (!begun) {
        result = warn_unawaited(self);
    } else if (is_suspended(self)) {
        PyObject *none = coro_py_close(op, NULL);
        result = none == NULL ? -1 : 0;
        Py_XDECREF(none);
    }
    if (result < 0) {
        ca_coro_write_unraisable(op, begun);
    }
    ca_error_restore(exc);
}

static int
coro_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaCoro *self = as_coro(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->future);
    Py_VISIT(self->inner);
    return self->kind->traverse(self, visit, arg);
}

static int
coro_tp_clear(PyObject *op)
{
    ca_coro_spend(as_coro(op), as_coro(op)->kind);
    return 0;
}

/* ---- the type ---- */

static PyMethodDef coro_methods[] = {
    {"send", coro_py_send, METH_O, send_doc},
    {"throw", FASTCALL(coro_py_throw), METH_FASTCALL, throw_doc},
    {"close", coro_py_close, METH_NOARGS, close_doc},
    {0},
};

static PyGetSetDef coro_getset[] = {
    {"__name__", coro_get_name, NULL, "Name of stock's function.", NULL},
    {"__qualname__", coro_get_qualname, NULL, "Qualified name of it.", NULL},
    {"cr_running", coro_get_running, NULL, "It is on the stack.", NULL},
    {"cr_suspended", coro_get_suspended, NULL, "It waits.", NULL},
    {"cr_await", coro_get_await, NULL, "What it waits for, or None.", NULL},
    {"cr_code", coro_get_code, NULL, "The code of stock's function.", NULL},
    {"cr_frame", coro_get_frame, NULL,
     "A frame of that code; None at the end.", NULL},
    {"cr_origin", coro_get_origin, NULL, "None: not tracked.", NULL},
    {0},
};

static PyMemberDef coro_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaCoro, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(coro_doc, "Coroutine in C: the base of all kinds.");

static PyType_Slot coro_slots[] = {
    {Py_tp_doc, (void *)coro_doc},
    {Py_tp_finalize, coro_tp_finalize},
    {Py_tp_traverse, coro_tp_traverse},
    {Py_tp_clear, coro_tp_clear},
    {Py_tp_repr, coro_tp_repr},
    {Py_tp_iter, PyObject_SelfIter},   /* of what __await__() returns */
    {Py_am_await, coro_am_await},
    {Py_tp_methods, coro_methods},
    {Py_tp_getset, coro_getset},
    {Py_tp_members, coro_members},
    {0, NULL},
};

PyType_Spec ca_coro_spec = {
    .name = "casyncio._native.Coro",
    .basicsize = sizeof(CaCoro),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = coro_slots,
};
