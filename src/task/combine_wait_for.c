/* combine_wait_for.c - asyncio.wait_for(), 3.12 and newer.
 *
 * There it is `async with timeout(t): return await fut`; this is the same in
 * one object: the coroutine owns the timer and hands on what the awaited one
 * yields.  When the time was up and an exception comes out, the Timeout of
 * combine_timeout.c decides what becomes of it, in asyncio's code.  Up to 3.11
 * it is another function, which is left to asyncio.
 */
#include "task/combine.h"

#include "py/errors.h"

#include <stddef.h>

enum { ARG_FUTURE, ARG_TIMEOUT };
#define SOON_S 1e-6
enum { PHASE_ENTERED, PHASE_EXPIRING };

/* ---- the deadline ---- */

static int
expire(CaCombineCall *self)
{
    if (self->task == NULL) {
        return 0;
    }
    PyObject *task = Py_NewRef(self->task);
    PyObject *done = PyObject_CallMethodNoArgs(
        task, self->c.st->names[CA_STR_cancel]);
    Py_DECREF(task);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    self->phase = PHASE_EXPIRING;
    Py_CLEAR(self->timer);
    return 0;
}

static PyObject *
expiry_vectorcall(PyObject *op, PyObject *const *Py_UNUSED(args),
                  size_t nargsf, PyObject *kwnames)
{
    if (PyVectorcall_NARGS(nargsf) != 0 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "_on_timeout() takes no arguments");
        return NULL;
    }
    CaCombineCall *coro = ((CaExpiry *)op)->coro;
    int result = 0;
    if (coro != NULL) {
        Py_INCREF(coro);
        result = expire(coro);
        Py_DECREF(coro);
    }
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static int
connect_expiry(CaCombineCall *self)
{
    CaExpiry *expiry = PyObject_New(CaExpiry, self->c.st->ExpiryType);
    if (expiry == NULL) {
        return -1;
    }
    expiry->vectorcall = expiry_vectorcall;
    expiry->coro = self;
    self->expiry = expiry;
    return 0;
}

static void
expiry_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_Free(op);
    Py_DECREF(type);
}

static PyObject *
expiry_get_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("_on_timeout");
}

static PyObject *
expiry_get_qualname(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("Timeout._on_timeout");
}

static PyGetSetDef expiry_getset[] = {
    {"__name__", expiry_get_name, NULL, NULL, NULL},
    {"__qualname__", expiry_get_qualname, NULL, NULL, NULL},
    {0},
};

static PyMemberDef expiry_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(CaExpiry, vectorcall),
     Py_READONLY, NULL},
    {0},
};

static PyType_Slot expiry_slots[] = {
    {Py_tp_doc, "What wait_for() has called when the time is up."},
    {Py_tp_dealloc, expiry_tp_dealloc},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getset, expiry_getset},
    {Py_tp_members, expiry_members},
    {0, NULL},
};

PyType_Spec ca_expiry_spec = {
    .name = "casyncio._native.Expiry",
    .basicsize = sizeof(CaExpiry),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = expiry_slots,
};

static int
set_deadline(CaCombineCall *self, CaLoop *loop, CaTask *task, double timeout_s)
{
    self->task = (CaTask *)Py_NewRef(task);
    self->cancelling = task->m.num_cancels_requested;
    self->phase = PHASE_ENTERED;
    if (self->args[ARG_TIMEOUT] == Py_None) {
        return 0;
    }
    if (connect_expiry(self) < 0) {
        return -1;
    }
    /* asyncio looks at the clock twice, and a deadline so short is over by the
     * second look. */
    double when_s = timeout_s < SOON_S ? 0 : ca_loop_time_s(loop) + timeout_s;
    self->timer = ca_combine_arm(loop, (PyObject *)self->expiry, when_s);
    return self->timer == NULL ? -1 : 0;
}

static int
stop_timer(CaCombineCall *self)
{
    PyObject *timer = self->timer;
    if (timer == NULL) {
        return 0;
    }
    self->timer = NULL;
    int result = ca_combine_disarm(self->c.st, timer);
    Py_DECREF(timer);
    return result;
}

/* ---- the end ---- */

/* Timeout.__aexit__(type, exc, tb), which does not wait, as within a handler
 * of `exc`: 0 when exc goes on, -1 when another exception is set. */
static int
ask_stock(CaCombineCall *self, PyObject *timeout, PyObject *exc)
{
    PyObject *tb = PyException_GetTraceback(exc);
    PyObject *args[4] = {timeout, (PyObject *)Py_TYPE(exc), exc,
                         tb == NULL ? Py_None : tb};
    PyObject *outer = PyErr_GetHandledException();
    PyObject *answer = NULL;
    PyErr_SetHandledException(exc);
    PyObject *coro = ca_combine_call_stock(self->c.st, CA_COMBINE_TIMEOUT_EXIT,
                                           args, 4, NULL);
    if (coro != NULL) {
        (void)PyIter_Send(coro, Py_None, &answer);
    }
    PyErr_SetHandledException(outer);
    Py_XDECREF(outer);
    Py_XDECREF(coro);
    Py_XDECREF(tb);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* The awaited one has raised. */
static PySendResult
leave_raising(CaCombineCall *self)
{
    PyObject *exc = ca_error_take();
    if (self->phase == PHASE_EXPIRING) {
        PyObject *timeout = ca_timeout_expiring(self->c.st, self->task,
                                                self->cancelling);
        int result = timeout == NULL ? -1 : ask_stock(self, timeout, exc);
        Py_XDECREF(timeout);
        if (result < 0) {
            Py_DECREF(exc);
            return PYGEN_ERROR;
        }
    } else if (stop_timer(self) < 0) {
        Py_DECREF(exc);
        return PYGEN_ERROR;
    }
    PyErr_SetRaisedException(exc);
    return PYGEN_ERROR;
}

static PySendResult
leave(CaCombineCall *self, PySendResult status, PyObject **result)
{
    if (status == PYGEN_NEXT) {
        return status;
    }
    if (status == PYGEN_ERROR) {
        return leave_raising(self);
    }
    int done;
    if (self->phase == PHASE_EXPIRING) {
        PyObject *count = PyObject_CallMethodNoArgs(
            (PyObject *)self->task, self->c.st->names[CA_STR_uncancel]);
        done = count == NULL ? -1 : 0;
        Py_XDECREF(count);
    } else {
        done = stop_timer(self);
    }
    if (done < 0) {
        Py_CLEAR(*result);
        return PYGEN_ERROR;
    }
    return status;
}

/* ---- the awaited one ---- */

/* Whether `await` on it can be done here. */
static bool
is_awaitable(PyObject *op)
{
    PyAsyncMethods *methods = Py_TYPE(op)->tp_as_async;
    return PyCoro_CheckExact(op) || (methods != NULL && methods->am_await);
}

/* What `await` iterates over: strong, or NULL. */
static PyObject *
iterator_of(ca_state *st, PyObject *op)
{
    if (!PyCoro_CheckExact(op)) {
        PyObject *iter = Py_TYPE(op)->tp_as_async->am_await(op);
        if (iter != NULL && !PyIter_Check(iter)) {
            PyErr_Format(PyExc_TypeError,
                         "__await__() returned non-iterator of type '%.100s'",
                         Py_TYPE(iter)->tp_name);
            Py_CLEAR(iter);
        } else if (iter != NULL && PyCoro_CheckExact(iter)) {
            PyErr_SetString(PyExc_TypeError,
                            "__await__() returned a coroutine");
            Py_CLEAR(iter);
        }
        return iter;
    }
    PyObject *waited = PyObject_GetAttr(op, st->names[CA_STR_cr_await]);
    if (waited != NULL && waited != Py_None) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        Py_CLEAR(waited);
    }
    if (waited == NULL) {
        return NULL;
    }
    Py_DECREF(waited);
    return Py_NewRef(op);
}

static PySendResult
send_on(CaCombineCall *self, PyObject *value, PyObject **result)
{
    return leave(self, PyIter_Send(self->c.inner, value, result), result);
}

/* ---- the coroutine ---- */

static PySendResult
wait_for_start(CaCombineCall *self, PyObject **result)
{
    PyObject *timeout = self->args[ARG_TIMEOUT];
    double timeout_s = 1;
    bool plain = self->nargs == 2 && is_awaitable(self->args[ARG_FUTURE]) &&
                 (timeout == Py_None ||
                  (ca_combine_number(timeout, &timeout_s) && timeout_s > 0));
    CaLoop *loop = plain ? ca_combine_loop(self->c.st) : NULL;
    CaTask *task = loop == NULL ? NULL : ca_combine_task(loop);
    if (task == NULL) {
        return ca_coro_delegate(&self->c, result);
    }
    if (set_deadline(self, loop, task, timeout_s) < 0) {
        return PYGEN_ERROR;
    }
    self->c.inner = iterator_of(self->c.st, self->args[ARG_FUTURE]);
    if (self->c.inner == NULL) {
        return leave_raising(self);
    }
    return send_on(self, Py_None, result);
}

static PySendResult
wait_for_resume(CaCombineCall *self, PyObject *value, PyObject **result)
{
    return send_on(self, value, result);
}

/* As `await` does it: GeneratorExit closes the awaited one. */
static int
close_inner(CaCombineCall *self, PyObject *exc)
{
    PyObject *method = PyObject_GetAttr(self->c.inner,
                                        self->c.st->names[CA_STR_close]);
    if (method == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    } else {
        PyObject *none = PyObject_CallNoArgs(method);
        Py_DECREF(method);
        if (none == NULL) {
            return -1;
        }
        Py_DECREF(none);
    }
    (void)ca_coro_fail(exc);
    return -1;
}

static PySendResult
throw_on(CaCombineCall *self, PyObject *exc, PyObject **result)
{
    PyObject *method = PyObject_GetAttr(self->c.inner,
                                        self->c.st->names[CA_STR_throw]);
    if (method == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            (void)ca_coro_fail(exc);
        }
        return PYGEN_ERROR;
    }
    *result = PyObject_CallOneArg(method, exc);
    Py_DECREF(method);
    return *result != NULL ? PYGEN_NEXT : ca_coro_stopped(result);
}

static PySendResult
wait_for_thrown(CaCombineCall *self, PyObject *exc, PyObject **result)
{
    if (PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit)) {
        (void)close_inner(self, exc);
        return leave_raising(self);
    }
    return leave(self, throw_on(self, exc, result), result);
}

static const ca_combine_op wait_for_op = {
    .qualname = "wait_for",
    .stock = CA_COMBINE_WAIT_FOR,
    .start = wait_for_start,
    .resume = wait_for_resume,
    .thrown = wait_for_thrown,
};

PyObject *
ca_wait_for_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    bool named = nkw == 1 && nargs == 1 &&
                 PyTuple_GET_ITEM(kwnames, 0) == st->names[CA_STR_timeout];
    if ((nkw == 0 && nargs == 2) || named) {
        return ca_combinecall_new(st, &wait_for_op, args, 2);
    }
    return ca_combine_call_stock(st, CA_COMBINE_WAIT_FOR, args, nargs,
                                 kwnames);
}
