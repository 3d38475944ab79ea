/* lifecycle.c - "Running and stopping the loop".
 *
 * run_until_complete() is the stdlib's; setting up and cleaning up a run, and
 * close(), are in casyncio/_loop.py.  What is here is the part that touches
 * native state.
 */
#include "api/api.h"

#include "loop/overrides.h"
#include "loop/ready.h"
#include "loop/run.h"
#include "py/errors.h"

#include <string.h>

/* ---- running ---- */

static int
one_turn(CaLoop *self)
{
    if ((ca_overrides_now(self) & CA_OVERRIDE_RUN_ONCE) == 0) {
        return ca_loop_turn(self);
    }
    PyObject *done = PyObject_CallMethodNoArgs(
        (PyObject *)self, self->st->names[CA_STR__run_once]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
run_turns(CaLoop *self)
{
    if (ca_overrides_update(self) < 0) {
        return -1;
    }
    self->must_poll = true;
    self->pending_ticks = ca_clock_ticks();
    do {
        if (one_turn(self) < 0) {
            return -1;
        }
    } while (!self->stopping);
    return 0;
}

PyDoc_STRVAR(run_forever_doc,
"run_forever($self)\n--\n\n"
"Run until stop() is called.\n\n"
"Errors: RuntimeError when the loop is closed, runs already, or another loop\n"
"runs in this thread.  SystemExit and KeyboardInterrupt of a callback leave\n"
"it; the loop can be run again, and what was queued is still queued.\n"
"Threads: any one thread at a time.\n"
"Source: asyncio, \"Running and stopping the loop\".");

/* End a run, keeping the exception that is set.  An interrupt that hits the
 * clean-up itself is reported after the clean-up was done once more. */
static int
clean_up(CaLoop *self)
{
    PyObject *name = self->st->names[CA_STR__run_forever_cleanup];
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self, name);
    if (done == NULL && ca_error_leaves_loop()) {
        ca_error_restore(exc);
        exc = PyErr_GetRaisedException();
        done = PyObject_CallMethodNoArgs((PyObject *)self, name);
    }
    bool failed = done == NULL || exc != NULL;
    Py_XDECREF(done);
    ca_error_restore(exc);
    return failed ? -1 : 0;
}

static PyObject *
loop_py_run_forever(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    bool ran_before = self->thread_id != 0;
    PyObject *done = PyObject_CallMethodNoArgs(
        op, self->st->names[CA_STR__run_forever_setup]);
    if (done == NULL &&
        (ran_before || self->thread_id != PyThread_get_thread_ident())) {
        return NULL;                   /* refused: nothing was set up */
    }
    if (done != NULL) {
        Py_DECREF(done);
        (void)run_turns(self);
    }
    if (clean_up(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_run_once_doc,
"_run_once($self)\n--\n\n"
"Run one turn: poll, queue what is due, run what is queued.");

static PyObject *
loop_py__run_once(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    if (ca_loop_check_open(self) < 0) {
        return NULL;
    }
    self->must_poll = true;
    if (ca_loop_turn(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stop_doc,
"stop($self)\n--\n\n"
"End run_forever() after the turn that is going on.\n\n"
"On a loop that does not run, the next run_forever() is one turn.\n\n"
"Threads: the loop's own thread; others use call_soon_threadsafe(loop.stop).\n"
"Source: asyncio, \"Running and stopping the loop\".");

static PyObject *
loop_py_stop(PyObject *op, PyObject *Py_UNUSED(none))
{
    ((CaLoop *)op)->stopping = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(is_running_doc,
"is_running($self)\n--\n\n"
"Return True while run_forever() runs.\n\nThreads: any thread.");

static PyObject *
loop_py_is_running(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaLoop *)op)->thread_id != 0);
}

PyDoc_STRVAR(is_closed_doc,
"is_closed($self)\n--\n\n"
"Return True once close() was called.\n\nThreads: any thread.");

static PyObject *
loop_py_is_closed(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaLoop *)op)->closed);
}

PyDoc_STRVAR(_check_closed_doc,
"_check_closed($self)\n--\n\n"
"Raise RuntimeError if the loop is closed.");

static PyObject *
loop_py__check_closed(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (ca_loop_check_open((CaLoop *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_enter_doc,
"_enter($self)\n--\n\n"
"The loop runs in this thread from now on.\n\n"
"Errors: RuntimeError when it runs already.");

static PyObject *
loop_py__enter(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    if (self->thread_id != 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "This event loop is already running");
        return NULL;
    }
    self->thread_id = PyThread_get_thread_ident();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_leave_doc,
"_leave($self)\n--\n\n"
"The loop does not run any more and was not asked to stop.");

static PyObject *
loop_py__leave(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    self->thread_id = 0;
    self->stopping = false;
    ca_context_clear(&self->contexts);
    Py_RETURN_NONE;
}

/* ---- opening and closing ---- */

PyDoc_STRVAR(_open_doc,
"_open($self, backend, /)\n--\n\n"
"Open the kernel interface called `backend` and with it the loop.\n\n"
"Errors: ValueError for an unknown name, OSError when the kernel refuses,\n"
"RuntimeError when it is open already.");

static PyObject *
unknown_backend(PyObject *name)
{
    PyObject *known = PyUnicode_FromString("auto");
    const ca_backend_vt *vt;
    for (int i = 0; known != NULL && (vt = ca_backend_at(i)) != NULL; i++) {
        Py_SETREF(known, PyUnicode_FromFormat("%U, %s", known, vt->name));
    }
    if (known != NULL) {
        PyErr_Format(PyExc_ValueError, "unknown backend %R; there are: %U",
                     name, known);
        Py_DECREF(known);
    }
    return NULL;
}

static PyObject *
loop_py__open(PyObject *op, PyObject *name)
{
    CaLoop *self = (CaLoop *)op;
    Py_ssize_t length = 0;
    const char *text = PyUnicode_Check(name)
                           ? PyUnicode_AsUTF8AndSize(name, &length)
                           : NULL;
    if (text == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_TypeError, "backend must be a str, not %.100s",
                         Py_TYPE(name)->tp_name);
        }
        return NULL;
    }
    const ca_backend_vt *vt = strlen(text) == (size_t)length
                                  ? ca_backend_find(text)
                                  : NULL;
    if (vt == NULL) {
        return unknown_backend(name);
    }
    if (ca_reactor_is_open(&self->reactor)) {
        PyErr_SetString(PyExc_RuntimeError, "the loop is open already");
        return NULL;
    }
    int err = ca_reactor_open(&self->reactor, vt);
    if (err < 0) {
        return ca_raise_errno(err);
    }
    self->closed = false;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_close_native_doc,
"_close_native($self)\n--\n\n"
"Drop what is queued and close the kernel interface; once and for all.");

static PyObject *
loop_py__close_native(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    if (self->thread_id != 0) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event "
                                            "loop");
        return NULL;
    }
    ca_loop_release(self);
    Py_RETURN_NONE;
}

/* ---- signals ---- */

PyDoc_STRVAR(_signal_fds_doc,
"_signal_fds($self)\n--\n\n"
"Return (read end, write end) of the signal socketpair, made when first\n"
"asked for; the loop owns both.");

static PyObject *
loop_py__signal_fds(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    if (ca_loop_check_open(self) < 0) {
        return NULL;
    }
    if (self->signals.read_fd < 0) {
        int err = ca_signals_open(&self->signals);
        if (err < 0) {
            return ca_raise_errno(err);
        }
    }
    return Py_BuildValue("(ii)", self->signals.read_fd,
                         self->signals.write_fd);
}

PyDoc_STRVAR(_drain_signals_doc,
"_drain_signals($self)\n--\n\n"
"Return the signal numbers that have arrived, as bytes.");

static PyObject *
loop_py__drain_signals(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    unsigned char numbers[256];
    int n = self->signals.read_fd < 0
                ? 0
                : ca_signals_drain(&self->signals, numbers, sizeof(numbers));
    if (n < 0) {
        return ca_raise_errno(n);
    }
    return PyBytes_FromStringAndSize((const char *)numbers, n);
}

PyMethodDef ca_lifecycle_methods[] = {
    {"run_forever", loop_py_run_forever, METH_NOARGS, run_forever_doc},
    {"_run_once", loop_py__run_once, METH_NOARGS, _run_once_doc},
    {"stop", loop_py_stop, METH_NOARGS, stop_doc},
    {"is_running", loop_py_is_running, METH_NOARGS, is_running_doc},
    {"is_closed", loop_py_is_closed, METH_NOARGS, is_closed_doc},
    {"_check_closed", loop_py__check_closed, METH_NOARGS, _check_closed_doc},
    {"_enter", loop_py__enter, METH_NOARGS, _enter_doc},
    {"_leave", loop_py__leave, METH_NOARGS, _leave_doc},
    {"_open", loop_py__open, METH_O, _open_doc},
    {"_close_native", loop_py__close_native, METH_NOARGS, _close_native_doc},
    {"_signal_fds", loop_py__signal_fds, METH_NOARGS, _signal_fds_doc},
    {"_drain_signals", loop_py__drain_signals, METH_NOARGS,
     _drain_signals_doc},
    {0},
};
