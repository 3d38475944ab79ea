/* combine_timeout.c - asyncio.timeout() and Timeout.
 *
 * casyncio.Timeout derives from the type here and from asyncio's class; the
 * fields here stand for the attributes that asyncio's methods use, so that
 * reschedule(), when(), expired() and the repr are asyncio's own.  Native are
 * entering, and leaving when the time was not up; when it was, asyncio's
 * __aexit__() decides what becomes of the exception.
 */
#include "task/combine.h"

#include <math.h>
#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject *when;                    /* strong; so are all below, or NULL */
    PyObject *task;
    PyObject *handler;
    PyObject *cancelling;
    int state;                         /* CA_TIMEOUT_* */
} CaTimeout;

static inline CaTimeout *
as_timeout(PyObject *op)
{
    return (CaTimeout *)op;
}

/* ---- entering ---- */

/* call_soon() or call_at() of _on_timeout(): the handle, or NULL. */
static PyObject *
arm(CaLoop *loop, PyObject *op, double when_s)
{
    PyObject *callback = PyObject_GetAttr(op,
                                          loop->st->names[CA_STR__on_timeout]);
    PyObject *handle = callback == NULL
                           ? NULL
                           : ca_combine_arm(loop, callback, when_s);
    Py_XDECREF(callback);
    return handle;
}

static int
enter(CaLoop *loop, CaTask *task, PyObject *op, double when_s)
{
    CaTimeout *self = as_timeout(op);
    PyObject *cancelling = PyLong_FromLong(task->m.num_cancels_requested);
    if (cancelling == NULL) {
        return -1;
    }
    self->state = CA_TIMEOUT_ENTERED;
    Py_XSETREF(self->task, Py_NewRef(task));
    Py_XSETREF(self->cancelling, cancelling);
    if (self->when != Py_None) {
        PyObject *handle = arm(loop, op, when_s);
        if (handle == NULL) {
            return -1;
        }
        Py_XSETREF(self->handler, handle);
    }
    return 0;
}

static PySendResult
aenter_start(CaCombineCall *coro, PyObject **result)
{
    ca_state *st = coro->c.st;
    PyObject *op = coro->args[0];
    CaTimeout *self = as_timeout(op);
    double when_s = 0;
    bool plain = Py_IS_TYPE(op, st->TimeoutType) &&
                 self->state == CA_TIMEOUT_CREATED && self->when != NULL &&
                 (self->when == Py_None ||
                  (ca_combine_number(self->when, &when_s) && !isnan(when_s)));
    CaLoop *loop = plain ? ca_combine_loop(st) : NULL;
    CaTask *task = loop == NULL ? NULL : ca_combine_task(loop);
    if (task == NULL) {
        return ca_coro_delegate(&coro->c, result);
    }
    if (enter(loop, task, op, when_s) < 0) {
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(op);
    return PYGEN_RETURN;
}

/* ---- leaving ---- */

/* Cancel the handle: 1, or 0 when it is not one of ours, -1 on error. */
static int
disarm(const ca_state *st, CaTimeout *self)
{
    PyObject *handler = self->handler;
    if (handler == NULL || handler == Py_None) {
        return 1;
    }
    Py_INCREF(handler);                /* what it calls may die, and write */
    int result = ca_combine_disarm(st, handler);
    Py_DECREF(handler);
    if (result != 0) {
        Py_CLEAR(self->handler);
    }
    return result;
}

static PySendResult
aexit_start(CaCombineCall *coro, PyObject **result)
{
    CaTimeout *self = as_timeout(coro->args[0]);
    int done = Py_IS_TYPE(self, coro->c.st->TimeoutType) &&
                       self->state == CA_TIMEOUT_ENTERED
                   ? disarm(coro->c.st, self)
                   : 0;
    if (done <= 0) {
        return done < 0 ? PYGEN_ERROR : ca_coro_delegate(&coro->c, result);
    }
    self->state = CA_TIMEOUT_EXITED;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

/* These never wait by themselves. */
static const ca_combine_op aenter_op = {
    .qualname = "Timeout.__aenter__",
    .stock = CA_COMBINE_TIMEOUT_ENTER,
    .start = aenter_start,
    .resume = ca_combinecall_resume_never,
    .thrown = ca_combinecall_thrown_never,
};

static const ca_combine_op aexit_op = {
    .qualname = "Timeout.__aexit__",
    .stock = CA_COMBINE_TIMEOUT_EXIT,
    .start = aexit_start,
    .resume = ca_combinecall_resume_never,
    .thrown = ca_combinecall_thrown_never,
};

/* ---- methods ---- */

PyDoc_STRVAR(aenter_doc,
"__aenter__($self)\n--\n\n"
"Start the clock; returns a coroutine.");

static PyObject *
timeout_py_aenter(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_combinecall_enter(op, &aenter_op);
}

PyDoc_STRVAR(aexit_doc,
"__aexit__($self, exc_type, exc_val, exc_tb, /)\n--\n\n"
"Stop the clock, and make TimeoutError of its cancellation; returns a\n"
"coroutine.");

static PyObject *
timeout_py_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return ca_combinecall_exit(op, &aexit_op, args, nargs);
}

PyDoc_STRVAR(on_timeout_doc,
"_on_timeout($self)\n--\n\nThe time is up: cancel the task.");

static PyObject *
timeout_py_on_timeout(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTimeout *self = as_timeout(op);
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    if (st == NULL) {
        return NULL;
    }
    if (self->state != CA_TIMEOUT_ENTERED || self->task == NULL) {
        return ca_combine_call_stock(st, CA_COMBINE_TIMEOUT_EXPIRE, &op, 1,
                                     NULL);
    }
    PyObject *task = Py_NewRef(self->task);
    PyObject *done = PyObject_CallMethodNoArgs(task, st->names[CA_STR_cancel]);
    Py_DECREF(task);
    if (done == NULL) {
        return NULL;
    }
    Py_DECREF(done);
    self->state = CA_TIMEOUT_EXPIRING;
    Py_CLEAR(self->handler);
    Py_RETURN_NONE;
}

/* ---- attributes ---- */

static PyObject *
timeout_get_state(PyObject *op, void *Py_UNUSED(closure))
{
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    PyObject *states = st == NULL ? NULL
                                  : ca_combine_stock_borrow(
                                        st, CA_COMBINE_TIMEOUT_STATES);
    return states == NULL
               ? NULL
               : Py_NewRef(PyTuple_GET_ITEM(states, as_timeout(op)->state));
}

static int
timeout_set_state(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    PyObject *states = st == NULL ? NULL
                                  : ca_combine_stock_borrow(
                                        st, CA_COMBINE_TIMEOUT_STATES);
    for (int i = 0; states != NULL && i < CA_TIMEOUT_STATES; i++) {
        if (PyTuple_GET_ITEM(states, i) == value) {
            as_timeout(op)->state = i;
            return 0;
        }
    }
    if (states != NULL) {
        PyErr_SetString(PyExc_TypeError, "not a state of a Timeout");
    }
    return -1;
}

static PyGetSetDef timeout_getset[] = {
    {"_state", timeout_get_state, timeout_set_state, "Where it stands.", NULL},
    {0},
};

static PyMemberDef timeout_members[] = {
    {"_when", Py_T_OBJECT_EX, offsetof(CaTimeout, when), 0,
     "The deadline, on the clock of the loop; None for none."},
    {"_task", CA_T_OBJECT_OR_NONE, offsetof(CaTimeout, task), 0,
     "The task whose block it is, once entered."},
    {"_timeout_handler", CA_T_OBJECT_OR_NONE, offsetof(CaTimeout, handler), 0,
     "The timer of the deadline, or None."},
    {"_cancelling", Py_T_OBJECT_EX, offsetof(CaTimeout, cancelling), 0,
     "How often the task was asked to cancel before it entered."},
    {0},
};

static PyMethodDef timeout_methods[] = {
    {"__aenter__", timeout_py_aenter, METH_NOARGS, aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))timeout_py_aexit, METH_FASTCALL,
     aexit_doc},
    {"_on_timeout", timeout_py_on_timeout, METH_NOARGS, on_timeout_doc},
    {0},
};

/* ---- birth and death ---- */

static int
timeout_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaTimeout *self = as_timeout(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->when);
    Py_VISIT(self->task);
    Py_VISIT(self->handler);
    Py_VISIT(self->cancelling);
    return 0;
}

static int
timeout_tp_clear(PyObject *op)
{
    CaTimeout *self = as_timeout(op);
    Py_CLEAR(self->when);
    Py_CLEAR(self->task);
    Py_CLEAR(self->handler);
    Py_CLEAR(self->cancelling);
    return 0;
}

static void
timeout_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)timeout_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(timeout_doc,
"Native half of casyncio.Timeout: the fields that asyncio's methods use.");

static PyType_Slot timeout_slots[] = {
    {Py_tp_doc, (void *)timeout_doc},
    {Py_tp_traverse, timeout_tp_traverse},
    {Py_tp_clear, timeout_tp_clear},
    {Py_tp_dealloc, timeout_tp_dealloc},
    {Py_tp_methods, timeout_methods},
    {Py_tp_getset, timeout_getset},
    {Py_tp_members, timeout_members},
    {0, NULL},
};

PyType_Spec ca_timeout_spec = {
    .name = "casyncio._native.Timeout",
    .basicsize = sizeof(CaTimeout),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timeout_slots,
};

/* ---- timeout(), and what wait_for() needs ---- */

PyObject *
ca_timeout_new(ca_state *st, PyObject *when)
{
    PyObject *op = st->TimeoutType->tp_alloc(st->TimeoutType, 0);
    if (op != NULL) {
        as_timeout(op)->when = Py_NewRef(when);
        as_timeout(op)->state = CA_TIMEOUT_CREATED;
    }
    return op;
}

PyObject *
ca_timeout_expiring(ca_state *st, CaTask *task, int cancelling)
{
    PyObject *op = ca_timeout_new(st, Py_None);
    if (op != NULL) {
        as_timeout(op)->task = Py_NewRef(task);
        as_timeout(op)->state = CA_TIMEOUT_EXPIRING;
        as_timeout(op)->cancelling = PyLong_FromLong(cancelling);
        if (as_timeout(op)->cancelling == NULL) {
            Py_CLEAR(op);
        }
    }
    return op;
}

PyObject *
ca_timeout_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    double delay_s = 0;
    CaLoop *loop = NULL;
    if (nargs == 1 && kwnames == NULL &&
        (args[0] == Py_None || ca_combine_number(args[0], &delay_s))) {
        loop = ca_combine_loop(st);
    }
    if (loop == NULL) {
        return ca_combine_call_stock(st, CA_COMBINE_TIMEOUT, args, nargs,
                                     kwnames);
    }
    if (args[0] == Py_None) {
        return ca_timeout_new(st, Py_None);
    }
    PyObject *when = PyFloat_FromDouble(ca_loop_time_s(loop) + delay_s);
    PyObject *made = when == NULL ? NULL : ca_timeout_new(st, when);
    Py_XDECREF(when);
    return made;
}
