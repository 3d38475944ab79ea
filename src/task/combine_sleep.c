/* combine_sleep.c - asyncio.sleep(). */
#include "task/combine.h"

#include <math.h>

enum { ARG_DELAY, ARG_RESULT };

/* A future and the timer that sets it, as stock makes them. */
static PySendResult
begin_waiting(CaCombineCall *self, CaLoop *loop, double delay_s,
              PyObject **result)
{
    PyObject *future = ca_future_new(loop);
    if (future == NULL) {
        return PYGEN_ERROR;
    }
    self->c.future = future;
    PyObject *rest[2] = {
        future, self->nargs > ARG_RESULT ? self->args[ARG_RESULT] : Py_None};
    ca_call_args call = {
        .callback = self->c.st->late_result, .rest = rest, .nrest = 2};
    double now_s = ca_loop_time_s(loop);
    self->timer = (PyObject *)ca_timer_start(loop, &call, now_s + delay_s);
    if (self->timer == NULL) {
        return PYGEN_ERROR;
    }
    ((CaFuture *)future)->blocking = 1;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

static PySendResult
sleep_start(CaCombineCall *self, PyObject **result)
{
    double delay_s;
    if (!ca_combine_number(self->args[ARG_DELAY], &delay_s) ||
        isnan(delay_s)) {
        return ca_coro_delegate(&self->c, result);
    }
    if (delay_s <= 0) {
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    }
    CaLoop *loop = ca_combine_loop(self->c.st);
    return loop == NULL ? ca_coro_delegate(&self->c, result)
                        : begin_waiting(self, loop, delay_s, result);
}

static PySendResult
sleep_resume(CaCombineCall *self, PyObject *Py_UNUSED(value),
             PyObject **result)
{
    if (self->c.future != NULL) {
        CaFuture *fut = (CaFuture *)self->c.future;
        if (!ca_coro_future_has_result(self->c.st, fut)) {
            return PYGEN_ERROR;
        }
        *result = Py_NewRef(fut->result);
        return PYGEN_RETURN;
    }
    *result = Py_NewRef(self->nargs > ARG_RESULT ? self->args[ARG_RESULT]
                                                 : Py_None);
    return PYGEN_RETURN;
}

/* The end cancels the timer.  What a future's iterator makes of StopIteration
 * is a result; asyncio's empty generator for sleep(0) refuses it. */
static PySendResult
sleep_thrown(CaCombineCall *self, PyObject *exc, PyObject **result)
{
    (void)ca_coro_fail(exc);
    if (self->c.future != NULL) {
        return ca_coro_stopped(result);
    }
    ca_coro_hide_stop("generator raised StopIteration");
    return PYGEN_ERROR;
}

static const ca_combine_op sleep_op = {
    .qualname = "sleep",
    .stock = CA_COMBINE_SLEEP,
    .start = sleep_start,
    .resume = sleep_resume,
    .thrown = sleep_thrown,
};

PyObject *
ca_sleep_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    bool named = nkw == 1 && nargs == 1 &&
                 PyTuple_GET_ITEM(kwnames, 0) == st->names[CA_STR_result];
    if ((nkw == 0 && (nargs == 1 || nargs == 2)) || named) {
        return ca_combinecall_new(st, &sleep_op, args, nargs + nkw);
    }
    return ca_combine_call_stock(st, CA_COMBINE_SLEEP, args, nargs, kwnames);
}
