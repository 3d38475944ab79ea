/* schedule.c - "Scheduling callbacks" and "Scheduling delayed callbacks". */
#include "api/api.h"

#include "loop/handle.h"
#include "loop/overrides.h"
#include "loop/ready.h"
#include "py/args.h"
#include "py/errors.h"
#include "task/task.h"

#include <math.h>
#include <sched.h>

enum {
    CA_GIVE_WAY_EVERY = 8192,          /* a power of two, below the length of
                                          the free list of handles */
    CA_GIVE_WAY_YIELDS = 100,
};

/* Up to here a double has every whole number. */
static const double WHOLE_S_MAX = 9007199254740992.0;

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* In debug mode: not from another thread, and something that can be called. */
static int
check_debug(CaLoop *self, PyObject *callback, int method, bool any_thread)
{
    if (!any_thread && ca_loop_check_thread(self) < 0) {
        return -1;
    }
    PyObject *done = PyObject_CallMethodObjArgs(
        (PyObject *)self, self->st->names[CA_STR__check_callback], callback,
        self->st->names[method], NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static PyObject *
stock_base(CaLoop *self, int method, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    return ca_stock_call(self->st->StockBaseLoop, self->st->names[method],
                         (PyObject *)self, args, nargs, kwnames);
}

/* A new Handle at the end of the ready queue. */
static PyObject *
queue_callback(CaLoop *self, const ca_call_args *a)
{
    CaHandle *handle = ca_handle_new(self, a);
    if (handle == NULL) {
        return NULL;
    }
    if (ca_ready_push_handle(self, Py_NewRef(handle)) < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

PyDoc_STRVAR(call_soon_doc,
"call_soon($self, /, callback, *args, context=None)\n--\n\n"
"Arrange for callback(*args) to run in the loop's next turn.\n\n"
"Callbacks run in the order of the calls, each once, in `context` or else in\n"
"a copy of the caller's context.  Returns a Handle.\n\n"
"Errors: RuntimeError when the loop is closed; in debug mode also in another\n"
"thread, and TypeError for a coroutine or something that cannot be called.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Scheduling callbacks\"; PEP 3156, PEP 567.");

/* Base code that finishes a future of ours calls back its waiters as it finds
 * them, as call_soon(task, future, context=None): that is a wakeup. */
static bool
is_waiter(const ca_state *st, const ca_call_args *a)
{
    if (a->nrest != 1 || a->context != NULL ||
        PyCFunction_CheckExact(a->callback) || PyFunction_Check(a->callback) ||
        PyMethod_Check(a->callback)) {
        return false;                  /* what it is nearly always */
    }
    return st->TaskType != NULL &&
           PyObject_TypeCheck(a->callback, st->TaskType) &&
           PyObject_TypeCheck(a->rest[0], st->StockFuture);
}

/* Queued as a wakeup method, so it has a handle as every call_soon(). */
static PyObject *
queue_waiter(CaLoop *self, const ca_call_args *a)
{
    CaTask *task = (CaTask *)a->callback;
    PyObject *method = ca_task_wakeup_method(task);
    if (method == NULL) {
        return NULL;
    }
    ca_call_args wakeup = *a;
    wakeup.callback = method;
    wakeup.context = task->m.context;
    PyObject *handle = queue_callback(self, &wakeup);
    Py_DECREF(method);
    return handle;
}

static PyObject *
loop_py_call_soon(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    ca_call_args a;
    if (!ca_args_bind(self->st, NULL, args, nargs, kwnames, &a)) {
        return stock_base(self, CA_STR_call_soon, args, nargs, kwnames);
    }
    if (ca_loop_check_open(self) < 0) {
        return NULL;
    }
    if (is_waiter(self->st, &a)) {
        return queue_waiter(self, &a);
    }
    if ((self->debug &&
         check_debug(self, a.callback, CA_STR_call_soon, false) < 0)) {
        return NULL;
    }
    return queue_callback(self, &a);
}

PyDoc_STRVAR(call_soon_threadsafe_doc,
"call_soon_threadsafe($self, /, callback, *args, context=None)\n--\n\n"
"As call_soon(), from any thread; wakes the loop if it waits.\n\n"
"Errors: RuntimeError when the loop is closed.\n"
"Threads: any thread.  Not from a signal handler in C.\n"
"Source: asyncio, \"Scheduling callbacks\".");

/* Take the constructor, which is Python code, out of the traceback that a
 * handle has in debug mode; 0 or -1. */
static int
hide_constructor(PyObject *handle)
{
    PyObject *frames = PyObject_GetAttrString(handle, "_source_traceback");
    int result = frames == NULL ? -1 : 0;
    if (frames != NULL && frames != Py_None) {
        result = PySequence_DelItem(frames, -1);
    }
    Py_XDECREF(frames);
    return result;
}

/* 3.14 made cancel() and the run exclude each other across threads; its own
 * handle class does that. */
static PyObject *
queue_thread_safe_handle(CaLoop *self, const ca_call_args *a)
{
    PyObject *handle = NULL;
    PyObject *rest = PyTuple_New(a->nrest);
    if (rest == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < a->nrest; i++) {
        PyTuple_SET_ITEM(rest, i, Py_NewRef(a->rest[i]));
    }
    handle = PyObject_CallFunctionObjArgs(
        self->st->StockThreadSafeHandle, a->callback, rest, (PyObject *)self,
        a->context == NULL ? Py_None : a->context, NULL);
    Py_DECREF(rest);
    if (handle != NULL && ((self->debug && hide_constructor(handle) < 0) ||
                           ca_ready_push_any(self, handle) < 0)) {
        Py_CLEAR(handle);
    }
    return handle;
}

/* A producer far ahead of the loop lets it run: the queue stays short enough
 * for the caches and for the free list of handles.  Letting go of the lock is
 * not enough, for this thread would have it back before the other one woke; so
 * it stays away until the loop has taken something, or for some microseconds.
 * The head of the ring is read without the lock, only to see that it moves. */
static void
give_way(const CaLoop *self)
{
    if ((self->ready.count & (CA_GIVE_WAY_EVERY - 1)) != 0 ||
        self->thread_id == PyThread_get_thread_ident()) {
        return;
    }
    const volatile size_t *head = &self->ready.head;
    Py_BEGIN_ALLOW_THREADS
    size_t seen = *head;
    for (int i = 0; i < CA_GIVE_WAY_YIELDS && *head == seen; i++) {
        sched_yield();
    }
    Py_END_ALLOW_THREADS
}

static PyObject *
loop_py_call_soon_threadsafe(PyObject *op, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    ca_call_args a;
    if (!ca_args_bind(self->st, NULL, args, nargs, kwnames, &a)) {
        return stock_base(self, CA_STR_call_soon_threadsafe, args, nargs,
                          kwnames);
    }
    if (ca_loop_check_open(self) < 0 ||
        (self->debug && check_debug(self, a.callback,
                                    CA_STR_call_soon_threadsafe, true) < 0)) {
        return NULL;
    }
    PyObject *handle = self->st->StockThreadSafeHandle == NULL
                           ? queue_callback(self, &a)
                           : queue_thread_safe_handle(self, &a);
    if (handle != NULL) {
        if (self->waiting) {
            ca_reactor_wake(&self->reactor);
        }
        give_way(self);
    }
    return handle;
}

static bool
is_plain_number(PyObject *number)
{
    return PyFloat_CheckExact(number) || PyLong_CheckExact(number);
}

/* call_at() of a subclass or the instance, as stock's call_later() calls
 * it. */
static PyObject *
call_replaced_call_at(CaLoop *self, double when_s, const ca_call_args *a)
{
    PyObject *result = NULL;
    PyObject *kwargs = NULL;
    PyObject *method = PyObject_GetAttr((PyObject *)self,
                                        self->st->names[CA_STR_call_at]);
    PyObject *args = PyTuple_New(a->nrest + 2);
    PyObject *when = PyFloat_FromDouble(when_s);
    if (method == NULL || args == NULL || when == NULL) {
        Py_XDECREF(when);
        goto done;
    }
    PyTuple_SET_ITEM(args, 0, when);
    PyTuple_SET_ITEM(args, 1, Py_NewRef(a->callback));
    for (Py_ssize_t i = 0; i < a->nrest; i++) {
        PyTuple_SET_ITEM(args, i + 2, Py_NewRef(a->rest[i]));
    }
    kwargs = Py_BuildValue("{sO}", "context",
                           a->context == NULL ? Py_None : a->context);
    if (kwargs != NULL) {
        result = PyObject_Call(method, args, kwargs);
    }

done:
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

PyDoc_STRVAR(call_later_doc,
"call_later($self, /, delay, callback, *args, context=None)\n--\n\n"
"Arrange for callback(*args) to run `delay` seconds from now.\n\n"
"Timers run in the order of their times, those of equal time in the order of\n"
"the calls, and never early.  Returns a TimerHandle.\n\n"
"Units: delay is in seconds, int or float; a negative one is in the past.\n"
"Errors: as call_soon(); TypeError for a delay that is not a number,\n"
"ValueError for NaN.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Scheduling delayed callbacks\".");

static PyObject *
loop_py_call_later(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    ca_state *st = self->st;
    ca_call_args a;
    if (!ca_args_bind(st, st->names[CA_STR_delay], args, nargs, kwnames, &a) ||
        !is_plain_number(a.first)) {
        return stock_base(self, CA_STR_call_later, args, nargs, kwnames);
    }
    double delay_s = PyFloat_CheckExact(a.first) ? PyFloat_AS_DOUBLE(a.first)
                                                 : PyLong_AsDouble(a.first);
    if (delay_s == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    double now_s = ca_loop_time_s(self);
    if (now_s == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if ((ca_overrides_now(self) & CA_OVERRIDE_CALL_AT) != 0) {
        return call_replaced_call_at(self, now_s + delay_s, &a);
    }
    if (ca_loop_check_open(self) < 0 ||
        (self->debug &&
         check_debug(self, a.callback, CA_STR_call_at, false) < 0)) {
        return NULL;
    }
    return (PyObject *)ca_timer_start(self, &a, now_s + delay_s);
}

PyDoc_STRVAR(call_at_doc,
"call_at($self, /, when, callback, *args, context=None)\n--\n\n"
"Arrange for callback(*args) to run at the time `when`.\n\n"
"As call_later(), with an absolute time.  Returns a TimerHandle.\n\n"
"Units: when is in seconds on the clock of time().\n"
"Errors: as call_later().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Scheduling delayed callbacks\".");

static PyObject *
loop_py_call_at(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    ca_state *st = self->st;
    ca_call_args a;
    if (!ca_args_bind(st, st->names[CA_STR_when], args, nargs, kwnames, &a) ||
        a.first == Py_None) {
        return ca_stock_call(st->StockBaseLoop, st->names[CA_STR_call_at], op,
                             args, nargs, kwnames);
    }
    if (ca_loop_check_open(self) < 0 ||
        (self->debug &&
         check_debug(self, a.callback, CA_STR_call_at, false) < 0)) {
        return NULL;
    }
    double when_s = PyFloat_AsDouble(a.first);
    if (when_s == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    CaTimerHandle *handle = ca_timer_start(self, &a, when_s);
    if (handle != NULL && PyLong_CheckExact(a.first) &&
        fabs(when_s) <= WHOLE_S_MAX) {
        handle->base.flags |= CA_HANDLE_WHOLE;
    }
    return (PyObject *)handle;
}

PyDoc_STRVAR(time_doc,
"time($self)\n--\n\n"
"Return the loop's clock: monotonic seconds as a float.\n\n"
"The same clock as time.monotonic().  A replaced time() is honoured by the\n"
"timers.\n\n"
"Threads: any thread.\n"
"Source: asyncio, \"Scheduling delayed callbacks\".");

static PyObject *
loop_py_time(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(none))
{
    return PyFloat_FromDouble(ca_clock_to_s(ca_clock_now_ns()));
}

/* ---- what stock's own code calls ---- */

PyDoc_STRVAR(_call_soon_doc,
"_call_soon($self, callback, args, context, /)\n--\n\n"
"Queue callback(*args) without checks; returns the Handle.");

static PyObject *
loop_py__call_soon(PyObject *op, PyObject *args)
{
    PyObject *callback, *rest, *context;
    if (!PyArg_ParseTuple(args, "OO!O:_call_soon", &callback, &PyTuple_Type,
                          &rest, &context)) {
        return NULL;
    }
    ca_call_args a = {
        .callback = callback,
        .rest = &PyTuple_GET_ITEM(rest, 0),
        .nrest = PyTuple_GET_SIZE(rest),
        .context = context == Py_None ? NULL : context,
    };
    return queue_callback((CaLoop *)op, &a);
}

PyDoc_STRVAR(_add_callback_doc,
"_add_callback($self, handle, /)\n--\n\n"
"Queue a Handle, ours or stock's, unless it is cancelled.");

static PyObject *
loop_py__add_callback(PyObject *op, PyObject *handle)
{
    CaLoop *self = (CaLoop *)op;
    PyObject *cancelled = PyObject_GetAttr(handle,
                                           self->st->names[CA_STR__cancelled]);
    if (cancelled == NULL) {
        return NULL;
    }
    int skip = PyObject_IsTrue(cancelled);
    Py_DECREF(cancelled);
    if (skip < 0 || (skip == 0 && ca_ready_push_any(self, handle) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_timer_handle_cancelled_doc,
"_timer_handle_cancelled($self, handle, /)\n--\n\n"
"Stock's TimerHandle tells of its cancel(); nothing depends on it here.");

static PyObject *
loop_py__timer_handle_cancelled(PyObject *Py_UNUSED(op),
                                PyObject *Py_UNUSED(handle))
{
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_write_to_self_doc,
"_write_to_self($self)\n--\n\n"
"Wake the loop up; silent when it is closed.\n\nThreads: any thread.");

static PyObject *
loop_py__write_to_self(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    if (ca_reactor_is_open(&self->reactor)) {
        ca_reactor_wake(&self->reactor);
    }
    Py_RETURN_NONE;
}

PyMethodDef ca_schedule_methods[] = {
    {"call_soon", FASTCALL(loop_py_call_soon), METH_FASTCALL | METH_KEYWORDS,
     call_soon_doc},
    {"call_soon_threadsafe", FASTCALL(loop_py_call_soon_threadsafe),
     METH_FASTCALL | METH_KEYWORDS, call_soon_threadsafe_doc},
    {"call_later", FASTCALL(loop_py_call_later), METH_FASTCALL | METH_KEYWORDS,
     call_later_doc},
    {"call_at", FASTCALL(loop_py_call_at), METH_FASTCALL | METH_KEYWORDS,
     call_at_doc},
    {"time", loop_py_time, METH_NOARGS, time_doc},
    {"_call_soon", loop_py__call_soon, METH_VARARGS, _call_soon_doc},
    {"_add_callback", loop_py__add_callback, METH_O, _add_callback_doc},
    {"_timer_handle_cancelled", loop_py__timer_handle_cancelled, METH_O,
     _timer_handle_cancelled_doc},
    {"_write_to_self", loop_py__write_to_self, METH_NOARGS,
     _write_to_self_doc},
    {0},
};
