/* event.c - the native half of Event. */
#include "sync/call.h"
#include "sync/waiters.h"

#include <stddef.h>

static const char *const calls[] = {"_get_loop", NULL};

static const ca_sync_face face = {
    .native = offsetof(ca_state, sync.EventType),
    .stock = offsetof(ca_state, sync.StockEvent),
    .calls = calls,
};

/* ---- the operation ---- */

static ca_sync_outcome
wait_begin(CaSyncCall *call, PyObject **result)
{
    if (!ca_sync_is_plain(call->owner, &face)) {
        return CA_SYNC_STOCK;
    }
    if (!((CaEvent *)call->owner)->value) {
        return CA_SYNC_WAIT;
    }
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

static ca_sync_outcome
wait_resume(CaSyncCall *call, PyObject **result)
{
    if (ca_deque_remove(call->c.st, call->owner->waiters, call->c.future) <
        0) {
        return CA_SYNC_FAILED;
    }
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

static int
wait_fail(CaSyncCall *call, PyObject *Py_UNUSED(exc))
{
    return ca_deque_remove(call->c.st, call->owner->waiters, call->c.future);
}

static const ca_sync_op wait_op = {
    .face = &face,
    .name = "wait",
    .qualname = "Event.wait",
    .waiters = offsetof(CaSync, waiters),
    .begin = wait_begin,
    .resume = wait_resume,
    .fail = wait_fail,
};

/* Finish all that wait.  Futures of others may run Python, and iterating over
 * a deque that changes is a RuntimeError, as in stock. */
static int
wake_all(CaEvent *self)
{
    ca_state *st = self->s.st;
    int result = 0;
    PyObject *fut;
    PyObject *waiters = Py_NewRef(self->s.waiters); /* the collector may run */
    PyObject *iter = PyObject_GetIter(waiters);
    Py_DECREF(waiters);
    while (iter != NULL && result == 0 && (fut = PyIter_Next(iter)) != NULL) {
        int done = ca_waiter_is_done(st, fut);
        result = done != 0 ? (done < 0 ? -1 : 0)
                           : ca_waiter_finish(st, fut, Py_True);
        Py_DECREF(fut);
    }
    Py_XDECREF(iter);
    return result < 0 || PyErr_Occurred() ? -1 : 0;
}

int
ca_event_set(CaEvent *self)
{
    if (self->value) {
        return 0;
    }
    self->value = true;
    return ca_deque_size(self->s.waiters) == 0 ? 0 : wake_all(self);
}

PyObject *
ca_event_new_set(ca_state *st)
{
    PyObject *op = PyObject_CallNoArgs(
        st->sync.Event != NULL ? st->sync.Event : st->sync.StockEvent);
    PyObject *none = op == NULL ? NULL : PyObject_CallMethod(op, "set", NULL);
    if (none == NULL) {
        Py_CLEAR(op);
    }
    Py_XDECREF(none);
    return op;
}

/* ---- methods ---- */

PyDoc_STRVAR(is_set_doc,
"is_set($self, /)\n--\n\n"
"Return whether the event is set.\n\n"
"Source: asyncio, \"Event\".");

static PyObject *
event_py_is_set(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaEvent *)op)->value);
}

PyDoc_STRVAR(set_doc,
"set($self, /)\n--\n\n"
"Set the event and wake all that wait for it.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Event\".");

static PyObject *
event_py_set(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (((CaSync *)op)->tampered) {
        return ca_sync_stock((CaSync *)op, &face, "set", NULL, 0, NULL);
    }
    return ca_event_set((CaEvent *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(clear_doc,
"clear($self, /)\n--\n\n"
"Reset the event: wait() waits until it is set again.\n\n"
"Source: asyncio, \"Event\".");

static PyObject *
event_py_clear(PyObject *op, PyObject *Py_UNUSED(none))
{
    ca_event_clear((CaEvent *)op);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(wait_doc,
"wait($self, /)\n--\n\n"
"Wait until the event is set, and return True.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Event\".");

static PyObject *
event_py_wait(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_synccall_new((CaSync *)op, &wait_op, NULL);
}

/* ---- birth and death ---- */

static int
event_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaEvent *self = (CaEvent *)op;
    if (PyTuple_GET_SIZE(args) != 0 || kwargs != NULL) {
        return ca_sync_stock_init(&self->s, &face, args, kwargs);
    }
    Py_CLEAR(self->s.waiters);
    self->value = false;
    return 0;
}

static int
event_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    return ca_sync_traverse((CaSync *)op, visit, arg);
}

static int
event_tp_clear(PyObject *op)
{
    ca_sync_clear((CaSync *)op);
    return 0;
}

static PyMethodDef event_methods[] = {
    {"is_set", event_py_is_set, METH_NOARGS, is_set_doc},
    {"set", event_py_set, METH_NOARGS, set_doc},
    {"clear", event_py_clear, METH_NOARGS, clear_doc},
    {"wait", event_py_wait, METH_NOARGS, wait_doc},
    {0},
};

static PyGetSetDef event_getset[] = {
    {"_loop", ca_sync_get_loop, ca_sync_set_loop,
     "The loop that the event is bound to, or None.", NULL},
    {"_waiters", ca_sync_get_deque, ca_sync_set_deque,
     "Deque of the futures that wait.", (void *)offsetof(CaSync, waiters)},
    {"_value", ca_flag_get, ca_flag_set, "It is set.",
     (void *)offsetof(CaEvent, value)},
    {0},
};

PyDoc_STRVAR(event_doc,
"Event()\n--\n\nThe native half of casyncio.Event.");

static PyType_Slot event_slots[] = {
    {Py_tp_doc, (void *)event_doc},
    {Py_tp_new, ca_sync_tp_new},
    {Py_tp_init, event_tp_init},
    {Py_tp_dealloc, ca_sync_tp_dealloc},
    {Py_tp_traverse, event_tp_traverse},
    {Py_tp_clear, event_tp_clear},
    {Py_tp_setattro, ca_sync_tp_setattro},
    {Py_tp_methods, event_methods},
    {Py_tp_getset, event_getset},
    {0, NULL},
};

PyType_Spec ca_event_spec = {
    .name = "casyncio._native.Event",
    .basicsize = sizeof(CaEvent),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = event_slots,
};
