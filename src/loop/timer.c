/* timer.c - the TimerHandle type: a Handle with a moment.
 *
 * While it waits, the heap owns one reference and knows the timer by address;
 * cancel() takes it out at once, so a cancelled timer costs nothing more.
 */
#include "loop/handle.h"

#include "py/errors.h"
#include "py/freelist.h"

#include <math.h>

CaTimerHandle *
ca_timer_handle_new(CaLoop *loop, const ca_call_args *a, double when_s)
{
    ca_state *st = loop->st;
    CaTimerHandle *self = (CaTimerHandle *)ca_freelist_take(
        &st->timers, st->TimerHandleType);
    if (self == NULL) {
        return NULL;
    }
    self->when_s = when_s;
    ca_timer_init(&self->timer);
    if (ca_handle_setup(&self->base, loop, a) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

CaTimerHandle *
ca_timer_start(CaLoop *loop, const ca_call_args *a, double when_s)
{
    if (isnan(when_s)) {
        PyErr_SetString(PyExc_ValueError, "the time must not be NaN");
        return NULL;
    }
    CaTimerHandle *handle = ca_timer_handle_new(loop, a, when_s);
    if (handle == NULL) {
        return NULL;
    }
    if (ca_loop_check_open(loop) < 0) {
        Py_DECREF(handle);             /* a __float__() has closed it */
        return NULL;
    }
    int err = ca_heap_push(&loop->reactor.timers, &handle->timer,
                           ca_clock_from_s(when_s));
    if (err < 0) {
        Py_DECREF(handle);
        ca_raise_errno(err);
        return NULL;
    }
    Py_INCREF(handle);                 /* the heap keeps the first reference */
    return handle;
}

int
ca_timer_cancel(CaTimerHandle *self)
{
    if (ca_timer_queued(&self->timer)) {
        ca_heap_remove(&self->base.loop->reactor.timers, &self->timer);
        Py_DECREF(self);               /* the heap's; the caller has another */
    }
    return ca_handle_cancel(&self->base);
}

/* The heap owns a reference, so a dying timer is in no heap. */
static void
timer_tp_dealloc(PyObject *op)
{
    CaHandle *self = (CaHandle *)op;
    ca_state *st = self->loop->st;
    PyObject_GC_UnTrack(op);
    if (ca_handle_is_shallow(self)) {
        ca_handle_release(self);
        ca_freelist_give(&st->timers, op, CA_FREELIST_TIMERS);
        return;
    }
    Py_TRASHCAN_BEGIN(op, timer_tp_dealloc) ca_handle_release(self);
    ca_freelist_give(&st->timers, op, CA_FREELIST_TIMERS);
    Py_TRASHCAN_END
}

PyDoc_STRVAR(timer_cancel_doc,
"cancel($self)\n--\n\n"
"Cancel the callback and let go of it and its arguments.\n\n"
"The timer leaves the loop's heap at once.  Cancelling twice is allowed and\n"
"does nothing; so is cancelling after the callback ran.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Callback Handles\".");

static PyObject *
timer_py_cancel(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (ca_timer_cancel((CaTimerHandle *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(timer_when_doc,
"when($self)\n--\n\n"
"Return the due time: seconds on the clock of loop.time(), a float, or an\n"
"int where call_at() was given one.\n\n"
"Threads: any thread.\n"
"Source: asyncio, \"Callback Handles\".");

static PyObject *
timer_py_when(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTimerHandle *self = (CaTimerHandle *)op;
    return (self->base.flags & CA_HANDLE_WHOLE) != 0
               ? PyLong_FromDouble(self->when_s)
               : PyFloat_FromDouble(self->when_s);
}

static PyObject *
timer_get_when(PyObject *op, void *Py_UNUSED(closure))
{
    return timer_py_when(op, NULL);
}

static PyObject *
timer_get_scheduled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(ca_timer_queued(&((CaTimerHandle *)op)->timer));
}

static PyObject *
timer_get_class(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((CaHandle *)op)->loop->st->StockTimerHandle);
}

static PyObject *
timer_tp_repr(PyObject *op)
{
    CaHandle *self = (CaHandle *)op;
    return ca_handle_repr(self, self->loop->st->StockTimerHandle);
}

static Py_hash_t
timer_tp_hash(PyObject *op)
{
    PyObject *when = timer_py_when(op, NULL);
    if (when == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(when);
    Py_DECREF(when);
    return hash;
}

/* Stock's own comparison functions decide; they read our attributes. */
static PyObject *
timer_tp_richcompare(PyObject *op, PyObject *other, int how)
{
    static const char *const methods[] = {
        [Py_LT] = "__lt__", [Py_LE] = "__le__", [Py_EQ] = "__eq__",
        [Py_NE] = "__ne__", [Py_GT] = "__gt__", [Py_GE] = "__ge__",
    };
    if (op == other && how == Py_EQ) {
        Py_RETURN_TRUE;
    }
    PyObject *stock = ((CaHandle *)op)->loop->st->StockTimerHandle;
    return PyObject_CallMethod(stock, methods[how], "OO", op, other);
}

static PyMethodDef timer_methods[] = {
    {"cancel", timer_py_cancel, METH_NOARGS, timer_cancel_doc},
    {"when", timer_py_when, METH_NOARGS, timer_when_doc},
    {0},
};

static PyGetSetDef timer_getset[] = {
    {"__class__", timer_get_class, NULL, "asyncio.TimerHandle", NULL},
    {"_when", timer_get_when, NULL, "As when().", NULL},
    {"_scheduled", timer_get_scheduled, NULL, "It waits in the heap.", NULL},
    {0},
};

PyDoc_STRVAR(timer_doc,
"A callback that waits for its moment; made by call_later() and call_at().\n\n"
"isinstance(handle, asyncio.TimerHandle) holds.\n\n"
"Units: when() is in seconds on the loop's monotonic clock.\n"
"Errors: cannot be created directly (TypeError).\n"
"Threads: the loop's own thread only, when() and cancelled() excepted.");

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)timer_doc},
    {Py_tp_traverse, ca_handle_tp_traverse},
    {Py_tp_clear, ca_handle_tp_clear},
    {Py_tp_dealloc, timer_tp_dealloc},
    {Py_tp_repr, timer_tp_repr},
    {Py_tp_hash, timer_tp_hash},
    {Py_tp_richcompare, timer_tp_richcompare},
    {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_getset},
    {0, NULL},
};

PyType_Spec ca_timer_handle_spec = {
    .name = "casyncio.TimerHandle",
    .basicsize = sizeof(CaTimerHandle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timer_slots,
};
