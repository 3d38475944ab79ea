/* sockcall.c - see sockcall.h.
 *
 * States:  new -> running -> spent                       (no need to wait)
 *                 running -> waiting -> running -> spent
 *                 running -> delegated -> spent          (not the plain case)
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
#include "py/freelist.h"
#include "py/sockobj.h"
#include "py/stop.h"
#include "py/throw.h"

#include <frameobject.h>
#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

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
        ca_sockobj_release(self->st, self->args[0]);
    }
}

/* Let go of what it works on.  May run Python (destructors). */
static void
spend(CaSockCall *self)
{
    self->state = CA_SOCKCALL_SPENT;
    ca_sockcall_let_go(self);
    Py_CLEAR(self->watch);
    Py_CLEAR(self->view);
    Py_CLEAR(self->future);
    Py_CLEAR(self->inner);
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        Py_CLEAR(self->args[i]);
    }
    Py_CLEAR(self->loop);
}

/* The same while an exception is on its way. */
static PySendResult
spend_failed(CaSockCall *self)
{
    PyObject *exc = PyErr_GetRaisedException();
    spend(self);
    ca_error_restore(exc);
    return PYGEN_ERROR;
}

/* `keep`: the watch for bytes may serve the next call. */
static void
stop_watching(CaSockCall *self, bool keep)
{
    CaSockWatch *watch = self->watch;
    if (self->state == CA_SOCKCALL_SPENT) {
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

/* ---- stock's coroutine in our place ---- */

bool
ca_sockcall_is_plain(CaLoop *loop, PyObject *sock)
{
    return loop->st->native_tasks && !loop->debug &&
           (ca_overrides_now(loop) & CA_OVERRIDE_WATCHING) == 0 &&
           ca_sockobj_is_plain(loop->st, sock);
}

static PyObject *
make_stock(const CaSockCall *self)
{
    PyObject *name = PyUnicode_InternFromString(self->op->name);
    PyObject *coro = name == NULL
                         ? NULL
                         : ca_stock_call(self->st->StockSelectorLoop, name,
                                         (PyObject *)self->loop, self->args,
                                         self->nargs, NULL);
    Py_XDECREF(name);
    return coro;
}

/* What stock's coroutine made of send() or throw(): its result is ours. */
static PySendResult
hand_on(CaSockCall *self, PySendResult status)
{
    if (status == PYGEN_NEXT) {
        self->state = CA_SOCKCALL_DELEGATED;
        return PYGEN_NEXT;
    }
    if (status == PYGEN_ERROR) {
        return spend_failed(self);
    }
    spend(self);
    return PYGEN_RETURN;
}

static PySendResult
delegate(CaSockCall *self, PyObject **result)
{
    self->inner = make_stock(self);
    if (self->inner == NULL) {
        return spend_failed(self);
    }
    return hand_on(self, PyIter_Send(self->inner, Py_None, result));
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
    PyObject *done = number == NULL
                         ? NULL
                         : PyObject_CallMethodOneArg(
                               (PyObject *)self->loop,
                               self->st->names[CA_STR__ensure_fd_no_transport],
                               number);
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
    self->fd = ca_sockobj_fd(self->st, self->args[0]);
    self->holds = self->op->holds && ca_sockobj_hold(self->st, self->args[0]);
    self->future = (CaFuture *)ca_future_new(self->loop);
    if (self->future == NULL || check_no_transport(self) < 0 ||
        start_watching(self) < 0) {
        stop_watching(self, false);
        return spend_failed(self);
    }
    self->state = CA_SOCKCALL_WAITING;
    self->future->blocking = 1;
    *result = Py_NewRef(self->future);
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
    CaFuture *fut = self->future;
    PyObject *result = NULL;
    if (self->state != CA_SOCKCALL_WAITING || fut->state != CA_PENDING) {
        stop_watching(self, false);    /* cancelled, and not resumed yet */
        return 0;
    }
    Py_INCREF(fut);
    int status = 0;
    ca_sock_outcome outcome = self->op->again(self, &result);
    bool current = self->future == fut && fut->state == CA_PENDING;
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
    if (loop->queued_before == 0 || self->state != CA_SOCKCALL_WAITING) {
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
    if (self->state == CA_SOCKCALL_WAITING && !self->lost &&
        try_again(self->loop, self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- the coroutine ---- */

static PySendResult
begin(CaSockCall *self, PyObject **result)
{
    self->state = CA_SOCKCALL_RUNNING;
    if (!ca_sockcall_is_plain(self->loop, self->args[0]) ||
        ca_sockobj_traits(self->args[0]).blocks) {
        return delegate(self, result);
    }
    switch (self->op->start(self, result)) {
    case CA_SOCKCALL_DONE:
        spend(self);
        return PYGEN_RETURN;
    case CA_SOCKCALL_AGAIN:
        return begin_waiting(self, result);
    case CA_SOCKCALL_STOCK:
        return delegate(self, result);
    default:
        return spend_failed(self);
    }
}

/* Somebody has resumed the call, which ends it: its future should be done. */
static PySendResult
resume(CaSockCall *self, PyObject **result)
{
    CaFuture *fut = self->future;
    self->state = CA_SOCKCALL_RUNNING;
    stop_watching(self, false);
    if (fut->state == CA_PENDING) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return spend_failed(self);
    }
    PyObject *exc = ca_future_take_error(self->st, fut);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
        return spend_failed(self);
    }
    *result = Py_NewRef(fut->result);
    spend(self);
    return PYGEN_RETURN;
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
    CaSockCall *self = (CaSockCall *)op;
    *result = NULL;
    switch (self->state) {
    case CA_SOCKCALL_NEW:
        if (value != Py_None) {
            return refuse(
                "can't send non-None value to a just-started coroutine",
                PyExc_TypeError);
        }
        return begin(self, result);
    case CA_SOCKCALL_WAITING:
        return resume(self, result);
    case CA_SOCKCALL_DELEGATED:
        self->state = CA_SOCKCALL_RUNNING;
        return hand_on(self, PyIter_Send(self->inner, value, result));
    case CA_SOCKCALL_RUNNING:
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
        ca_stop_raise_plain(result);
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
throw_into_inner(CaSockCall *self, PyObject *const *args, Py_ssize_t nargs)
{
    self->state = CA_SOCKCALL_RUNNING;
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
check_throwable(const CaSockCall *self, PyObject *const *args,
                Py_ssize_t nargs)
{
    bool waits = self->state == CA_SOCKCALL_WAITING ||
                 self->state == CA_SOCKCALL_DELEGATED;
    if (ca_throw_check(self->st, args, nargs, waits) < 0) {
        return -1;
    }
    if (self->state == CA_SOCKCALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->state == CA_SOCKCALL_SPENT) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception in the call, which gives the operation up.");

static PyObject *
call_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaSockCall *self = (CaSockCall *)op;
    if (check_throwable(self, args, nargs) < 0) {
        return NULL;
    }
    if (self->state == CA_SOCKCALL_DELEGATED) {
        return throw_into_inner(self, args, nargs);
    }
    bool waits = self->state == CA_SOCKCALL_WAITING;
    if (waits && nargs == 1 && PyExceptionInstance_Check(args[0])) {
        PyErr_SetRaisedException(Py_NewRef(args[0]));
    } else {
        ca_throw_raise(self->st,
                       waits ? PyObject_GetIter((PyObject *)self->future)
                             : ca_throw_speaker(self->st),
                       args, nargs);
    }
    stop_watching(self, false);
    (void)spend_failed(self);
    return NULL;
}

/* inner.close(), which may run Python that finds the call running. */
static PyObject *
close_inner(CaSockCall *self)
{
    PyObject *inner = Py_NewRef(self->inner);
    self->state = CA_SOCKCALL_RUNNING;
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
    CaSockCall *self = (CaSockCall *)op;
    if (self->state == CA_SOCKCALL_RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return NULL;
    }
    if (self->state == CA_SOCKCALL_DELEGATED) {
        return close_inner(self);
    }
    stop_watching(self, false);
    spend(self);
    Py_RETURN_NONE;
}

static PyObject *
call_am_await(PyObject *op)
{
    CaSockCall *self = (CaSockCall *)op;
    if (self->state == CA_SOCKCALL_WAITING ||
        self->state == CA_SOCKCALL_DELEGATED) {
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
    return PyUnicode_FromString(((CaSockCall *)op)->op->name);
}

static PyObject *
get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromFormat("BaseSelectorEventLoop.%s",
                                ((CaSockCall *)op)->op->name);
}

static PyObject *
get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaSockCall *)op)->state == CA_SOCKCALL_RUNNING);
}

static PyObject *
get_suspended(PyObject *op, void *Py_UNUSED(closure))
{
    int state = ((CaSockCall *)op)->state;
    return PyBool_FromLong(state == CA_SOCKCALL_WAITING ||
                           state == CA_SOCKCALL_DELEGATED);
}

static PyObject *
get_await(PyObject *op, void *Py_UNUSED(closure))
{
    CaSockCall *self = (CaSockCall *)op;
    PyObject *waited = self->inner != NULL ? self->inner
                                           : (PyObject *)self->future;
    return Py_NewRef(waited == NULL ? Py_None : waited);
}

static PyObject *
get_origin(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;                    /* calls of ours do not track it */
}

/* Stock's method of that name, a function. */
static PyObject *
stock_function(const CaSockCall *self)
{
    PyObject *found = PyObject_GetAttrString(self->st->StockSelectorLoop,
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
    PyObject *function = stock_function((CaSockCall *)op);
    PyObject *code = function == NULL
                         ? NULL
                         : Py_NewRef(PyFunction_GET_CODE(function));
    Py_XDECREF(function);
    return code;
}

static PyObject *
get_frame(PyObject *op, void *Py_UNUSED(closure))
{
    CaSockCall *self = (CaSockCall *)op;
    if (self->state == CA_SOCKCALL_SPENT) {
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
    return PyUnicode_FromFormat(
        "<coroutine object BaseSelectorEventLoop.%s at %p>",
        ((CaSockCall *)op)->op->name, op);
}

/* ---- birth and death ---- */

PyObject *
ca_sockcall_new(CaLoop *loop, const ca_sock_op *op, PyObject *const *args,
                Py_ssize_t nargs)
{
    ca_state *st = loop->st;
    CaSockCall *self = (CaSockCall *)ca_freelist_take(&st->sock_calls,
                                                      st->SockCallType);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->op = op;
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        self->args[i] = i < nargs ? Py_NewRef(args[i]) : NULL;
    }
    self->future = NULL;
    self->inner = NULL;
    self->view = NULL;
    self->weakrefs = NULL;
    self->st = st;
    self->watcher = (ca_watcher){.vt = &watcher_vt};
    self->watch = NULL;
    self->size = 0;
    self->fd = -1;
    self->state = CA_SOCKCALL_NEW;
    self->nargs = (uint8_t)nargs;
    self->keep = false;
    self->drained = false;
    self->holds = false;
    self->lost = false;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* A call that was never awaited says so, as a coroutine does. */
static void
call_tp_finalize(PyObject *op)
{
    CaSockCall *self = (CaSockCall *)op;
    if (self->state != CA_SOCKCALL_NEW) {
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
        result = PyErr_WarnFormat(
            PyExc_RuntimeWarning, 1,
            "coroutine 'BaseSelectorEventLoop.%s' was never awaited",
            self->op->name);
    }
    if (result < 0) {
        PyErr_WriteUnraisable(op);
    }
    ca_error_restore(exc);
}

static int
call_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaSockCall *self = (CaSockCall *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->future);
    Py_VISIT(self->inner);
    Py_VISIT(self->view);
    Py_VISIT(self->watch);
    for (int i = 0; i < CA_SOCKCALL_MAX_ARGS; i++) {
        Py_VISIT(self->args[i]);
    }
    return 0;
}

static int
call_tp_clear(PyObject *op)
{
    spend((CaSockCall *)op);
    return 0;
}

static void
call_tp_dealloc(PyObject *op)
{
    CaSockCall *self = (CaSockCall *)op;
    ca_state *st = self->st;
    if (self->state == CA_SOCKCALL_NEW &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    if (self->state != CA_SOCKCALL_SPENT) {
        spend(self);
    }
    if (!PyObject_GC_IsFinalized(op)) {
        ca_freelist_give(&st->sock_calls, op, CA_FREELIST_SOCK_CALLS);
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
    {"_ready", call_py__ready, METH_NOARGS, _ready_doc},
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
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaSockCall, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(call_doc,
"Coroutine of a socket operation; made by loop.sock_recv() and its like.");

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

PyType_Spec ca_sockcall_spec = {
    .name = "casyncio._native.SockCall",
    .basicsize = sizeof(CaSockCall),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = call_slots,
};
