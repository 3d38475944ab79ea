/* debug.c - "Enabling debug mode", and the loop's attributes.
 *
 * Attributes are of three kinds: what the stdlib's methods and other libraries
 * read; what BaseEventLoop.__init__() stores and hot code reads; and what it
 * only stores: those take any value and forget it, for a stale copy on the
 * instance would mislead its readers.
 */
#include "api/api.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/args.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

PyDoc_STRVAR(get_debug_doc,
"get_debug($self)\n--\n\n"
"Return whether debug mode is on.\n\nThreads: any thread.");

static PyObject *
loop_py_get_debug(PyObject *op, PyObject *Py_UNUSED(none))
{
    const CaLoop *self = (const CaLoop *)op;
    return self->debug_given != NULL ? Py_NewRef(self->debug_given)
                                     : PyBool_FromLong(self->debug);
}

/* Switch it, and remember what is no bool; 0 or -1.  May run Python. */
static int
switch_debug(CaLoop *self, PyObject *enabled)
{
    int on = PyObject_IsTrue(enabled);
    if (on < 0) {
        return -1;
    }
    self->debug = on != 0;
    Py_XSETREF(self->debug_given,
               PyBool_Check(enabled) ? NULL : Py_NewRef(enabled));
    return 0;
}

PyDoc_STRVAR(set_debug_doc,
"set_debug($self, /, enabled)\n--\n\n"
"Switch debug mode on or off; a running loop takes it over in its next turn.\n"
"\n"
"Debug mode checks threads and callbacks, remembers where handles were made\n"
"and logs callbacks that take slow_callback_duration or longer.\n\n"
"Source: asyncio, \"Enabling debug mode\".");

static PyObject *
loop_py_set_debug(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    ca_state *st = self->st;
    PyObject *enabled = ca_args_one_borrow(st->names[CA_STR_enabled], args,
                                           nargs, kwnames);
    if (enabled == NULL) {
        return ca_stock_call(st->StockBaseLoop, st->names[CA_STR_set_debug],
                             op, args, nargs, kwnames);
    }
    if (switch_debug(self, enabled) < 0) {
        return NULL;
    }
    if (self->thread_id == 0) {
        Py_RETURN_NONE;
    }
    PyObject *tracking = PyObject_GetAttr(
        op, st->names[CA_STR__set_coroutine_origin_tracking]);
    if (tracking == NULL) {
        return NULL;
    }
    PyObject *handle = PyObject_CallMethodObjArgs(
        op, st->names[CA_STR_call_soon_threadsafe], tracking, enabled, NULL);
    Py_DECREF(tracking);
    if (handle == NULL) {
        return NULL;
    }
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_check_thread_doc,
"_check_thread($self)\n--\n\n"
"Raise RuntimeError if the loop runs in another thread.");

static PyObject *
loop_py__check_thread(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (ca_loop_check_thread((CaLoop *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_ready_snapshot_doc,
"_ready_snapshot($self)\n--\n\n"
"Return a tuple of the queued handles, oldest first.");

static PyObject *
loop_py__ready_snapshot(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_ready_snapshot((CaLoop *)op);
}

PyDoc_STRVAR(_scheduled_snapshot_doc,
"_scheduled_snapshot($self)\n--\n\n"
"Return a tuple of the waiting timers, in heap order: the first is next.");

static PyObject *
loop_py__scheduled_snapshot(PyObject *op, PyObject *Py_UNUSED(none))
{
    const ca_heap *timers = &((CaLoop *)op)->reactor.timers;
    PyObject *tuple = PyTuple_New((Py_ssize_t)timers->count);
    for (size_t i = 0; tuple != NULL && i < timers->count; i++) {
        CaTimerHandle *timer = ca_timer_handle_of(timers->entries[i].timer);
        PyTuple_SET_ITEM(tuple, (Py_ssize_t)i, Py_NewRef(timer));
    }
    return tuple;
}

PyMethodDef ca_debug_methods[] = {
    {"get_debug", loop_py_get_debug, METH_NOARGS, get_debug_doc},
    {"set_debug", FASTCALL(loop_py_set_debug), METH_FASTCALL | METH_KEYWORDS,
     set_debug_doc},
    {"_check_thread", loop_py__check_thread, METH_NOARGS, _check_thread_doc},
    {"_ready_snapshot", loop_py__ready_snapshot, METH_NOARGS,
     _ready_snapshot_doc},
    {"_scheduled_snapshot", loop_py__scheduled_snapshot, METH_NOARGS,
     _scheduled_snapshot_doc},
    {0},
};

/* ---- attributes ---- */

static PyObject *
get_backend(PyObject *op, void *Py_UNUSED(closure))
{
    const ca_reactor *reactor = &((CaLoop *)op)->reactor;
    if (!ca_reactor_is_open(reactor)) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(reactor->be->vt->name);
}

static PyObject *
get_debug(PyObject *op, void *Py_UNUSED(closure))
{
    return loop_py_get_debug(op, NULL);
}

static int
set_debug(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return switch_debug((CaLoop *)op, value == NULL ? Py_False : value);
}

static PyObject *
get_thread_id(PyObject *op, void *Py_UNUSED(closure))
{
    unsigned long id = ((CaLoop *)op)->thread_id;
    if (id == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(id);
}

static PyObject *
get_closed(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaLoop *)op)->closed);
}

static PyObject *
get_stopping(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((CaLoop *)op)->stopping);
}

static PyObject *
get_zero(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyLong_FromLong(0);
}

static PyObject *
get_resolution(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble(1e-9);
}

static PyObject *
get_none(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    Py_RETURN_NONE;
}

static int
swallow(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(value),
        void *Py_UNUSED(closure))
{
    return 0;
}

static PyObject *
get_poll_budget(PyObject *op, void *Py_UNUSED(closure))
{
    const ca_poll_budget *budget = &((CaLoop *)op)->budget;
    return Py_BuildValue("(id)", budget->turns,
                         (double)budget->time_ns / CA_NS_PER_US);
}

static int
set_poll_budget(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    ca_poll_budget *budget = &((CaLoop *)op)->budget;
    int turns;
    double time_us;
    if (value == NULL || !PyTuple_Check(value)) {
        PyErr_SetString(PyExc_TypeError,
                        "_poll_budget is (turns, microseconds)");
        return -1;
    }
    if (!PyArg_ParseTuple(value, "id:_poll_budget", &turns, &time_us)) {
        return -1;
    }
    if (turns < 1 || !(time_us >= 0 && time_us <= 1e6)) {
        PyErr_SetString(PyExc_ValueError,
                        "turns must be at least 1, microseconds in 0 .. 1e6");
        return -1;
    }
    budget->turns = turns;
    budget->time_ns = (int64_t)(time_us * 1e3);
    return 0;
}

PyGetSetDef ca_loop_getset[] = {
    {"backend", get_backend, NULL,
     "Name of the kernel interface in use; None once closed.", NULL},
    {"_debug", get_debug, set_debug, "As get_debug().", NULL},
    {"_thread_id", get_thread_id, swallow, "None when not running.", NULL},
    {"_closed", get_closed, swallow, "As is_closed().", NULL},
    {"_stopping", get_stopping, swallow, "stop() was called.", NULL},
    {"_timer_cancelled_count", get_zero, swallow,
     "Always 0: cancelled timers leave at once.", NULL},
    {"_internal_fds", get_zero, swallow, "Not counted.", NULL},
    {"_clock_resolution", get_resolution, swallow, "In seconds.", NULL},
    {"_old_agen_hooks", get_none, swallow, "Not kept here.", NULL},
    {"_ssock", get_none, swallow, "There is no self-pipe.", NULL},
    {"_poll_budget", get_poll_budget, set_poll_budget,
     "(turns, microseconds) that ready callbacks may run without a look at\n"
     "the descriptors.",
     NULL},
    {0},
};

PyMemberDef ca_loop_members[] = {
    {"_task_factory", Py_T_OBJECT_EX, offsetof(CaLoop, task_factory), 0,
     "As get_task_factory()."},
    {"_current_handle", Py_T_OBJECT_EX, offsetof(CaLoop, current_handle), 0,
     "The handle that runs, in debug mode; else None."},
    {"slow_callback_duration", Py_T_OBJECT_EX,
     offsetof(CaLoop, slow_callback_s), 0,
     "Seconds from which debug mode calls a callback slow."},
    {"_transports", Py_T_OBJECT_EX, offsetof(CaLoop, transports), 0,
     "Transports by descriptor."},
    {0},
};
