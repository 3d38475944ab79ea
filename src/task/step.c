/* step.c - task_step: the hot path.
 *
 * A step enters the task's context, makes the task its loop's current one, and
 * sends None (or throws) into the coroutine.  What comes out decides:
 *   returned, raised    the task is done; its callbacks are scheduled
 *   None                another step is queued
 *   a future of ours    the task becomes its waiter (a pair, no object made)
 *   another future      its add_done_callback() gets a bound wakeup method
 *   anything else       the next step throws a RuntimeError that says so
 * Each of these is stock's task_step_impl() and speaks its words.
 *
 * Scheduling and callbacks may run Python code that changes the task; fields
 * are read again after each such call, and what must live is held by a local.
 */
#include "task/task.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/errors.h"
#include "task/awaited.h"
#include "task/registry.h"

#define AS_FUTURE(task) ((CaFuture *)(task))

/* ---- queueing ---- */

int
ca_task_queue_step(CaLoop *loop, CaTask *task)
{
    if (ca_loop_check_open(loop) < 0) {
        return -1;
    }
    return ca_ready_push_task(loop, Py_NewRef(task), CA_READY_TASK_STEP);
}

/* Queue step(exc), or a step while the loop is not native: as a handle. */
static int
queue_step_method(ca_state *st, CaTask *task, PyObject *exc)
{
    int result = -1;
    PyObject *method = ca_task_step_method(task);
    PyObject *context = Py_NewRef(task->m.context);
    if (method != NULL) {
        PyObject *stack[4] = {task->m.loop, method};
        size_t nargs = 2;
        if (exc != NULL) {
            stack[nargs++] = exc;
        }
        stack[nargs] = context;
        PyObject *handle = PyObject_VectorcallMethod(
            st->names[CA_STR_call_soon], stack,
            nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, st->kw_context);
        result = handle == NULL ? -1 : 0;
        Py_XDECREF(handle);
        Py_DECREF(method);
    }
    Py_DECREF(context);
    return result;
}

static int
queue_step(ca_state *st, CaTask *task)
{
    CaLoop *loop = ca_future_native_loop(st, task->m.loop);
    return loop == NULL ? queue_step_method(st, task, NULL)
                        : ca_task_queue_step(loop, task);
}

/* The next step throws RuntimeError(message); takes the message. */
static int
queue_error(ca_state *st, CaTask *task, PyObject *steal_message)
{
    if (steal_message == NULL) {
        return -1;
    }
    PyObject *exc = PyObject_CallOneArg(PyExc_RuntimeError, steal_message);
    Py_DECREF(steal_message);
    int result = exc == NULL ? -1 : queue_step_method(st, task, exc);
    Py_XDECREF(exc);
    return result;
}

/* ---- what the coroutine yielded ---- */

/* The task was cancelled meanwhile: cancel what it has begun to wait for. */
static int
cancel_waited(ca_state *st, CaTask *task, PyObject *waited)
{
    PyObject *msg = task->m.cancel_msg == NULL ? Py_None : task->m.cancel_msg;
    Py_INCREF(msg);
    PyObject *done = PyObject_CallMethodOneArg(waited,
                                               st->names[CA_STR_cancel], msg);
    Py_DECREF(msg);
    if (done == NULL) {
        return -1;
    }
    int cancelled = PyObject_IsTrue(done);
    Py_DECREF(done);
    if (cancelled > 0) {
        task->m.must_cancel = 0;
    }
    return cancelled < 0 ? -1 : 0;
}

/* The task waits for `steal_fut` from now on. */
static int
begin_waiting(ca_state *st, CaTask *task, PyObject *steal_fut)
{
    Py_XSETREF(task->m.fut_waiter, steal_fut);
    if (!task->m.must_cancel) {
        return 0;
    }
    PyObject *waited = Py_NewRef(steal_fut);
    int result = cancel_waited(st, task, waited);
    Py_DECREF(waited);
    return result;
}

static int
refuse_other_loop(ca_state *st, CaTask *task, PyObject *fut)
{
    return queue_error(
        st, task,
        PyUnicode_FromFormat("Task %R got Future %R attached to a different "
                             "loop",
                             task, fut));
}

static int
refuse_plain_yield(ca_state *st, CaTask *task, PyObject *fut)
{
    return queue_error(
        st, task,
        PyUnicode_FromFormat("yield was used instead of yield from in task %R "
                             "with %R",
                             task, fut));
}

static int
wait_for_native(ca_state *st, CaTask *task, PyObject *steal_fut)
{
    CaFuture *fut = (CaFuture *)steal_fut;
    int result;
    if (fut->loop != task->m.loop) {
        result = refuse_other_loop(st, task, steal_fut);
    } else if (!fut->blocking) {
        result = refuse_plain_yield(st, task, steal_fut);
    } else {
        result = ca_awaited_add(fut, task);
        if (result == 0) {
            fut->blocking = 0;
            result = ca_future_add_waiter(st, fut, task);
        }
        if (result == 0) {
            return begin_waiting(st, task, steal_fut);
        }
    }
    Py_DECREF(steal_fut);
    return result;
}

/* A future of another kind: 1 when it is one and is waited for, 2 when it is
 * one and the task was told what is wrong, 0 when it is none, -1 on error. */
static int
wait_for_foreign(ca_state *st, CaTask *task, PyObject *fut)
{
    PyObject *value = PyObject_GetAttr(
        fut, st->names[CA_STR__asyncio_future_blocking]);
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    bool is_future = value != Py_None;
    int blocking = PyObject_IsTrue(value);
    Py_DECREF(value);
    if (!is_future || blocking < 0) {
        return is_future ? -1 : 0;
    }
    PyObject *loop = ca_task_loop_of(st, fut);
    if (loop == NULL) {
        return -1;
    }
    Py_DECREF(loop);                   /* compared only */
    if (loop != task->m.loop) {
        return refuse_other_loop(st, task, fut) < 0 ? -1 : 2;
    }
    if (!blocking) {
        return refuse_plain_yield(st, task, fut) < 0 ? -1 : 2;
    }
    if (ca_awaited_add_any(st, fut, task) < 0 ||
        PyObject_SetAttr(fut, st->names[CA_STR__asyncio_future_blocking],
                         Py_False) < 0) {
        return -1;
    }
    return ca_task_add_wakeup(st, task, fut) < 0 ? -1 : 1;
}

static int
refuse_yield(ca_state *st, CaTask *task, PyObject *yielded)
{
    return queue_error(
        st, task,
        PyGen_Check(yielded)
            ? PyUnicode_FromFormat("yield was used instead of yield from for "
                                   "generator in task %R with %R",
                                   task, yielded)
            : PyUnicode_FromFormat("Task got bad yield: %R", yielded));
}

static int
handle_yield(ca_state *st, CaTask *task, PyObject *steal_yielded)
{
    int result;
    if (steal_yielded == Py_None) {
        result = queue_step(st, task);
    } else if (steal_yielded == (PyObject *)task) {
        result = queue_error(
            st, task,
            PyUnicode_FromFormat("Task cannot await on itself: %R", task));
    } else if (ca_future_check(st, steal_yielded)) {
        return wait_for_native(st, task, steal_yielded);
    } else {
        result = wait_for_foreign(st, task, steal_yielded);
        if (result == 1) {
            return begin_waiting(st, task, steal_yielded);
        }
        if (result == 0) {
            result = refuse_yield(st, task, steal_yielded);
        }
    }
    Py_DECREF(steal_yielded);
    return result < 0 ? -1 : 0;
}

/* ---- the end of a task ---- */

/* Somebody has finished the task itself, by a method of Future: what its
 * coroutine comes to is refused.  -1. */
static int
refuse_end(const ca_state *st)
{
    PyErr_SetString(st->InvalidStateError, "invalid state");
    return -1;
}

static int
finish_returned(ca_state *st, CaTask *task, PyObject *result)
{
    if (task->m.must_cancel) {
        /* Cancelled in its last step. */
        task->m.must_cancel = 0;
        if (task->m.state != CA_PENDING) {
            return 0;
        }
        PyObject *msg = Py_XNewRef(task->m.cancel_msg);
        AS_FUTURE(task)->log_tb = 0;
        int done = ca_future_mark_cancelled(st, AS_FUTURE(task), msg);
        Py_XDECREF(msg);
        return done;
    }
    return task->m.state == CA_PENDING
               ? ca_future_finish(st, AS_FUTURE(task), result)
               : refuse_end(st);
}

/* The exception that is set ends the task; KeyboardInterrupt and SystemExit
 * also go on to the loop. */
static int
finish_raised(ca_state *st, CaTask *task)
{
    bool leaves = ca_error_leaves_loop();
    bool cancelled = PyErr_ExceptionMatches(st->CancelledError) != 0;
    PyObject *exc = ca_error_take();
    if (cancelled) {
        Py_XSETREF(task->m.cancelled_exc, exc);
        AS_FUTURE(task)->log_tb = 0;
        return task->m.state == CA_PENDING
                   ? ca_future_mark_cancelled(st, AS_FUTURE(task), NULL)
                   : 0;
    }
    int result;
    if (task->m.state != CA_PENDING) {
        result = refuse_end(st);
    } else if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        PyObject *done = PyObject_CallMethod((PyObject *)st->StockFuture,
                                             "set_exception", "OO", task, exc);
        result = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    } else {
        result = ca_future_fail(st, AS_FUTURE(task), exc);
    }
    if (result == 0 && leaves) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(exc);
    return result;
}

/* ---- the step ---- */

/* The value of the StopIteration that is set, which is consumed; NULL when
 * another exception is set. */
static PyObject *
take_stop_value(void)
{
    if (!PyErr_Occurred()) {
        return Py_NewRef(Py_None);
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return NULL;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *value = ((PyStopIterationObject *)exc)->value;
    value = Py_NewRef(value == NULL ? Py_None : value);
    Py_DECREF(exc);
    return value;
}

/* PyIter_Send(), one step shorter for what it nearly always is. */
static inline PySendResult
send_none(PyObject *coro, PyObject **result)
{
    return PyCoro_CheckExact(coro)
               ? PyCoro_Type.tp_as_async->am_send(coro, Py_None, result)
               : PyIter_Send(coro, Py_None, result);
}

static PySendResult
throw_into(ca_state *st, PyObject *coro, PyObject *exc, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(coro, st->names[CA_STR_throw], exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    *result = take_stop_value();
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* The exception to throw: `exc`, or a CancelledError when the task was
 * cancelled and exc is not one.  Strong; NULL with or without an exception. */
static PyObject *
exception_to_throw(ca_state *st, CaTask *task, PyObject *exc)
{
    if (!task->m.must_cancel) {
        return Py_XNewRef(exc);
    }
    task->m.must_cancel = 0;
    if (exc != NULL && PyErr_GivenExceptionMatches(exc, st->CancelledError)) {
        return Py_NewRef(exc);
    }
    PyObject *kept = task->m.cancelled_exc;
    if (kept != NULL) {
        task->m.cancelled_exc = NULL;
        return kept;
    }
    PyObject *msg = task->m.cancel_msg;
    return msg == NULL || msg == Py_None
               ? PyObject_CallNoArgs(st->CancelledError)
               : PyObject_CallOneArg(st->CancelledError, msg);
}

static int
step(ca_state *st, CaTask *task, PyObject *exc)
{
    PyObject *result = NULL;
    PySendResult status;

    if (task->m.state != CA_PENDING) {
        PyErr_Format(st->InvalidStateError,
                     CA_STEP_NAME ": already done: %R %R", task,
                     exc == NULL ? Py_None : exc);
        return -1;
    }
    if (exc == NULL && !task->m.must_cancel) {
        Py_CLEAR(task->m.fut_waiter);
        if (task->m.coro == NULL) {
            PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
            return -1;
        }
        status = send_none(task->m.coro, &result);
    } else {
        PyObject *thrown = exception_to_throw(st, task, exc);
        if (thrown == NULL) {
            return -1;
        }
        Py_CLEAR(task->m.fut_waiter);
        if (task->m.coro == NULL) {
            Py_DECREF(thrown);
            PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
            return -1;
        }
        status = throw_into(st, task->m.coro, thrown, &result);
        Py_DECREF(thrown);
    }
    if (status == PYGEN_NEXT) {
        return handle_yield(st, task, result);
    }
    if (status == PYGEN_ERROR) {
        return finish_raised(st, task);
    }
    int done = finish_returned(st, task, result);
    Py_DECREF(result);
    return done;
}

int
ca_task_step_bare(ca_state *st, CaTask *task)
{
    return step(st, task, NULL);
}

/* A step as the loop's current task, inside the task's context. */
static int
step_as_current(ca_state *st, CaLoop *loop, CaTask *task, PyObject *exc)
{
    PyObject *outer = NULL;
    if (ca_registry_enter(loop, (PyObject *)task, &outer) < 0) {
        return -1;
    }
    return ca_registry_leave(loop, (PyObject *)task, outer,
                             step(st, task, exc));
}

int
ca_task_step_entered(CaTask *task, PyObject *exc)
{
    ca_state *st = ca_state_of_type(Py_TYPE(task));
    if (st == NULL) {
        return -1;
    }
    if (task->m.loop == NULL ||
        !PyObject_TypeCheck(task->m.loop, st->LoopType)) {
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        return -1;
    }
    return step_as_current(st, (CaLoop *)task->m.loop, task, exc);
}

int
ca_task_step(CaLoop *loop, CaTask *task, PyObject *exc)
{
    PyObject *context = Py_NewRef(task->m.context);
    int result = -1;
    if (PyContext_Enter(context) == 0) {
        result = step_as_current(loop->st, loop, task, exc);
        if (PyContext_Exit(context) < 0) {
            result = -1;
        }
    }
    Py_DECREF(context);
    return result;
}

int
ca_task_wakeup(CaLoop *loop, CaTask *task, PyObject **failed)
{
    PyObject *waited = Py_XNewRef(task->m.fut_waiter);
    PyObject *exc = NULL;
    int result = 0;
    if (waited != NULL && ca_future_check(loop->st, waited)) {
        result = ca_awaited_discard((CaFuture *)waited, task);
        exc = result < 0 ? NULL
                         : ca_future_take_error(loop->st, (CaFuture *)waited);
    }
    if (result == 0) {
        result = ca_task_step(loop, task, exc);
    }
    Py_XDECREF(exc);
    if (result < 0) {
        *failed = waited;
        return -1;
    }
    Py_XDECREF(waited);
    return 0;
}

/* ---- what the ready ring calls, see loop/ready.h ---- */

int
ca_task_run_step(CaLoop *self, PyObject *task)
{
    return ca_task_step(self, (CaTask *)task, NULL);
}

int
ca_task_run_wakeup(CaLoop *self, PyObject *task, PyObject **failed)
{
    return ca_task_wakeup(self, (CaTask *)task, failed);
}

PyObject *
ca_task_ready_method(PyObject *task, uintptr_t kind)
{
    return kind == CA_READY_TASK_STEP ? ca_task_step_method((CaTask *)task)
                                      : ca_task_wakeup_method((CaTask *)task);
}

PyObject *
ca_task_ready_context_borrow(PyObject *task)
{
    return ((CaTask *)task)->m.context;
}

PyObject *
ca_task_ready_future_borrow(PyObject *task)
{
    PyObject *waited = ((CaTask *)task)->m.fut_waiter;
    return waited == NULL ? Py_None : waited;
}
