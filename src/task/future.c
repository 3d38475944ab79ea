/* future.c - the Future type: what is hot about it.
 *
 * States: pending -> finished (result or exception set) or cancelled.  On the
 * way out of pending the callbacks are detached from the future before any of
 * them is scheduled, since scheduling may run Python code.
 */
#include "task/task.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/freelist.h"
#include "task/awaited.h"
#include "task/registry.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

bool
ca_future_knows_loop(ca_state *st, PyObject *loop)
{
    if (loop == NULL || !PyObject_TypeCheck(loop, st->LoopType)) {
        return false;
    }
    st->known_loop = (CaLoop *)loop;
    return true;
}

/* ---- scheduling ---- */

/* loop.call_soon(callback, fut, context=context) of any loop. */
static int
call_soon(ca_state *st, PyObject *loop, PyObject *callback, PyObject *fut,
          PyObject *context)
{
    PyObject *stack[4] = {loop, callback, fut, context};
    PyObject *handle = PyObject_VectorcallMethod(
        st->names[CA_STR_call_soon], stack, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
        st->kw_context);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

static bool
is_waiter(const ca_state *st, PyObject *callback, PyObject *context)
{
    return context == Py_None && PyObject_TypeCheck(callback, st->TaskType);
}

/* Whether a callback stands for what a server's connection does when its
 * handler ends, see ca_future_add_transport().  Nobody else enters one: it
 * cannot be called, see add_mistaken(). */
static bool
is_transport(const ca_state *st, PyObject *callback)
{
    return (PyObject *)Py_TYPE(callback) == st->SocketTransport;
}

/* The callback and the context that are meant by a transport and its; 0, or -1
 * with both NULL. */
static int
make_handler_end(const ca_state *st, PyObject **callback, PyObject **context)
{
    *callback = PyMethod_New(st->handler_ended, *callback);
    *context = *callback == NULL ? NULL : PyContext_Copy(*context);
    if (*context == NULL) {
        Py_CLEAR(*callback);
    }
    return *callback == NULL ? -1 : 0;
}

static int
schedule_handler_end(ca_state *st, CaFuture *fut, PyObject *transport,
                     PyObject *context)
{
    if (make_handler_end(st, &transport, &context) < 0) {
        return -1;
    }
    int result = ca_future_schedule_one(st, fut, transport, context);
    Py_DECREF(transport);
    Py_DECREF(context);
    return result;
}

static int
schedule_generic(ca_state *st, CaFuture *fut, PyObject *callback,
                 PyObject *context)
{
    if (!is_waiter(st, callback, context)) {
        return call_soon(st, fut->loop, callback, (PyObject *)fut, context);
    }
    CaTask *task = (CaTask *)callback;
    PyObject *method = ca_task_wakeup_method(task);
    if (method == NULL) {
        return -1;
    }
    PyObject *own = Py_NewRef(task->m.context);
    int result = call_soon(st, fut->loop, method, (PyObject *)fut, own);
    Py_DECREF(own);
    Py_DECREF(method);
    return result;
}

int
ca_future_schedule_one(ca_state *st, CaFuture *fut, PyObject *callback,
                       PyObject *context)
{
    CaLoop *loop = ca_future_native_loop(st, fut->loop);
    if (is_transport(st, callback)) {
        return schedule_handler_end(st, fut, callback, context);
    }
    if (loop == NULL) {
        return schedule_generic(st, fut, callback, context);
    }
    if (ca_loop_check_open(loop) < 0) {
        return -1;
    }
    if (is_waiter(st, callback, context)) {
        return ca_ready_push_task(loop, Py_NewRef(callback),
                                  CA_READY_TASK_WAKEUP);
    }
    if (!PyContext_CheckExact(context)) {
        return schedule_generic(st, fut, callback, context);
    }
    return ca_ready_push_callback(loop, callback, (PyObject *)fut, context);
}

static int
schedule_list(ca_state *st, CaFuture *fut, PyObject *callbacks)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *pair = PyList_GET_ITEM(callbacks, i);
        if (ca_future_schedule_one(st, fut, PyTuple_GET_ITEM(pair, 0),
                                   PyTuple_GET_ITEM(pair, 1)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Schedule what was detached; the first failure drops the rest, as stock. */
static int
schedule_all(ca_state *st, CaFuture *fut)
{
    PyObject *first = fut->callback0;
    PyObject *context = fut->context0;
    PyObject *others = fut->callbacks;
    int result = 0;
    ca_registry_finished(fut);
    fut->callback0 = NULL;
    fut->context0 = NULL;
    fut->callbacks = NULL;
    if (first != NULL) {
        result = ca_future_schedule_one(st, fut, first, context);
        Py_DECREF(first);
        Py_XDECREF(context);
    }
    if (others != NULL) {
        if (result == 0) {
            result = schedule_list(st, fut, others);
        }
        Py_DECREF(others);
    }
    return result;
}

/* The loop of a future for which nobody but one task waits, if it is native
 * and open: as it is nearly always.  Borrowed, or NULL. */
static inline CaLoop *
lone_waiter_loop_borrow(ca_state *st, const CaFuture *fut)
{
    if (fut->callback0 == NULL || fut->context0 != Py_None ||
        fut->callbacks != NULL || !Py_IS_TYPE(fut->callback0, st->TaskType)) {
        return NULL;
    }
    CaLoop *loop = ca_future_native_loop(st, fut->loop);
    return loop == NULL || loop->closed ? NULL : loop;
}

static inline int
schedule_callbacks(ca_state *st, CaFuture *fut)
{
    CaLoop *loop = lone_waiter_loop_borrow(st, fut);
    if (loop == NULL) {
        return schedule_all(st, fut);
    }
    PyObject *task = fut->callback0;
    ca_registry_finished(fut);
    fut->callback0 = NULL;
    Py_CLEAR(fut->context0);
    return ca_ready_push_task(loop, task, CA_READY_TASK_WAKEUP);
}

/* ---- finishing ---- */

int
ca_future_finish(ca_state *st, CaFuture *fut, PyObject *result)
{
    fut->result = Py_NewRef(result);
    fut->state = CA_FINISHED;
    return schedule_callbacks(st, fut);
}

int
ca_future_fail(ca_state *st, CaFuture *fut, PyObject *exc)
{
    fut->exception = Py_NewRef(exc);
    fut->exception_tb = PyException_GetTraceback(exc);
    fut->state = CA_FINISHED;
    if (schedule_callbacks(st, fut) < 0) {
        return -1;
    }
    fut->log_tb = 1;
    return 0;
}

int
ca_future_mark_cancelled(ca_state *st, CaFuture *fut, PyObject *msg)
{
    fut->state = CA_CANCELLED;
    Py_XSETREF(fut->cancel_msg, Py_XNewRef(msg));
    return schedule_callbacks(st, fut);
}

/* ---- the timer of asyncio.sleep() ---- */

/* call_later(t, futures._set_result_unless_cancelled, fut, result) and the
 * like.  Nobody sees the call if nothing about it is out of the ordinary: the
 * function is the one that was imported, with its code; the future is one of
 * ours, exactly, with no attribute set on it; the handle has a snapshot that
 * nobody entered or looked at.  A future that is done gets the real call, for
 * its exception. */
int
ca_future_run_late_result(CaHandle *handle)
{
    ca_state *st = handle->loop->st;
    if (handle->nargs != 2 || (handle->flags & CA_HANDLE_SNAPSHOT) == 0 ||
        PyFunction_GET_CODE(handle->callback) != st->late_result_code) {
        return 0;
    }
    CaFuture *fut = (CaFuture *)PyTuple_GET_ITEM(handle->args, 0);
    if (!Py_IS_TYPE(fut, st->FutureType) || fut->state == CA_FINISHED ||
        ca_object_has_dict((PyObject *)fut) ||
        ca_future_native_loop(st, fut->loop) == NULL) {
        return 0;
    }
    if (fut->state == CA_CANCELLED) {
        return 1;
    }
    PyObject *result = PyTuple_GET_ITEM(handle->args, 1);
    Py_INCREF(fut);                    /* what is called may drop the handle */
    int done = ca_future_finish(st, fut, result);
    Py_DECREF(fut);
    return done < 0 ? -1 : 1;
}

PyObject *
ca_future_take_error(ca_state *st, CaFuture *fut)
{
    fut->log_tb = 0;
    if (fut->state == CA_FINISHED && fut->exception == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethodNoArgs((PyObject *)fut,
                                                 st->names[CA_STR_result]);
    if (result == NULL) {
        return PyErr_GetRaisedException();
    }
    Py_DECREF(result);                 /* a subclass whose result() differs */
    return NULL;
}

/* ---- callbacks ---- */

/* Enter a pair; pending futures only. */
static int
append_callback(CaFuture *fut, PyObject *callback, PyObject *context)
{
    if (fut->callback0 == NULL && fut->callbacks == NULL) {
        fut->callback0 = Py_NewRef(callback);
        fut->context0 = Py_NewRef(context);
        return 0;
    }
    PyObject *pair = PyTuple_Pack(2, callback, context);
    if (pair == NULL) {
        return -1;
    }
    if (fut->callbacks == NULL) {
        fut->callbacks = PyList_New(0);
    }
    int result = fut->callbacks == NULL ? -1
                                        : PyList_Append(fut->callbacks, pair);
    Py_DECREF(pair);
    return result;
}

/* Enter what only looks like the end of a handler, since somebody took a
 * transport for a callback: what cannot be called either, and says so. */
static int
add_mistaken(ca_state *st, CaFuture *fut, PyObject *transport,
             PyObject *context)
{
    PyObject *method = PyMethod_New(transport, (PyObject *)fut);
    int result = method == NULL
                     ? -1
                     : ca_future_add_callback(st, fut, method, context);
    Py_XDECREF(method);
    return result;
}

int
ca_future_add_callback(ca_state *st, CaFuture *fut, PyObject *callback,
                       PyObject *context)
{
    if (is_transport(st, callback)) {
        return add_mistaken(st, fut, callback, context);
    }
    return fut->state != CA_PENDING
               ? ca_future_schedule_one(st, fut, callback, context)
               : append_callback(fut, callback, context);
}

int
ca_future_add_waiter(ca_state *st, CaFuture *fut, CaTask *task)
{
    if (fut->state != CA_PENDING) {
        return ca_future_schedule_one(st, fut, (PyObject *)task, Py_None);
    }
    return append_callback(fut, (PyObject *)task, Py_None);
}

int
ca_future_add_transport(ca_state *st, CaFuture *fut, PyObject *transport)
{
    CaLoop *loop = ca_future_native_loop(st, fut->loop);
    if (loop == NULL || fut->state != CA_PENDING ||
        !is_transport(st, transport) || st->handler_ended == NULL) {
        return 0;
    }
    bool shared;
    PyObject *context = ca_context_take(st, &loop->contexts, &shared);
    int result = context == NULL ? -1
                                 : append_callback(fut, transport, context);
    Py_XDECREF(context);
    return result < 0 ? -1 : 1;
}

/* What stock would show of a pair: a bound method and its context, both
 * strong.  1; 0 when that is the pair itself, and -1, without either. */
static int
show_pair(ca_state *st, PyObject **callback, PyObject **context)
{
    if (is_transport(st, *callback)) {
        return make_handler_end(st, callback, context) < 0 ? -1 : 1;
    }
    if (!is_waiter(st, *callback, *context)) {
        return 0;
    }
    CaTask *task = (CaTask *)*callback;
    *callback = ca_task_wakeup_method(task);
    *context = *callback == NULL ? NULL : Py_NewRef(task->m.context);
    return *callback == NULL ? -1 : 1;
}

static int
show_listed(ca_state *st, PyObject *callbacks, Py_ssize_t i)
{
    PyObject *pair = PyList_GET_ITEM(callbacks, i);
    PyObject *callback = PyTuple_GET_ITEM(pair, 0);
    PyObject *context = PyTuple_GET_ITEM(pair, 1);
    int differs = show_pair(st, &callback, &context);
    if (differs <= 0) {
        return differs;
    }
    PyObject *shown = PyTuple_Pack(2, callback, context);
    Py_DECREF(callback);
    Py_DECREF(context);
    return shown == NULL ? -1 : PyList_SetItem(callbacks, i, shown);
}

/* The first pair.  Making what is shown may run the collector, and that
 * finish the future, which then has no callbacks any more. */
static int
show_first(ca_state *st, CaFuture *fut)
{
    PyObject *own = fut->callback0;
    if (own == NULL) {
        return 0;
    }
    PyObject *callback = Py_NewRef(own);
    PyObject *context = fut->context0;
    int differs = show_pair(st, &callback, &context);
    if (differs > 0 && fut->callback0 == own) {
        Py_SETREF(fut->context0, context);
        Py_SETREF(fut->callback0, callback);
    } else if (differs > 0) {
        Py_DECREF(context);
        Py_DECREF(callback);
    }
    Py_DECREF(own);
    return differs;
}

/* Replace waiters and transports by what they stand for. */
static int
show_waiters(ca_state *st, CaFuture *fut)
{
    int differs = show_first(st, fut);
    PyObject *callbacks = Py_XNewRef(fut->callbacks);
    for (Py_ssize_t i = 0;
         differs >= 0 && callbacks != NULL && i < PyList_GET_SIZE(callbacks);
         i++) {
        differs = show_listed(st, callbacks, i);
    }
    Py_XDECREF(callbacks);
    return differs < 0 ? -1 : 0;
}

PyObject *
ca_future_get_callbacks(PyObject *op, void *Py_UNUSED(closure))
{
    ca_state *st = ca_future_state(op);
    if (st == NULL || show_waiters(st, (CaFuture *)op) < 0) {
        return NULL;
    }
    PyObject *descr = PyObject_GetAttrString((PyObject *)st->StockFuture,
                                             "_callbacks");
    if (descr == NULL) {
        return NULL;
    }
    PyObject *result = Py_TYPE(descr)->tp_descr_get(descr, op,
                                                    (PyObject *)Py_TYPE(op));
    Py_DECREF(descr);
    return result;
}

/* ---- methods ---- */

static PyObject *
stock(ca_state *st, const char *name, PyObject *op, PyObject *const *args,
      Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *text = PyUnicode_InternFromString(name);
    if (text == NULL || show_waiters(st, (CaFuture *)op) < 0) {
        Py_XDECREF(text);
        return NULL;
    }
    PyObject *result = ca_stock_call((PyObject *)st->StockFuture, text, op,
                                     args, nargs, kwnames);
    Py_DECREF(text);
    return result;
}

const char ca_add_done_callback_doc[] =
    "add_done_callback($self, fn, /, *, context=None)\n--\n\n"
    "Run fn(self) when the future is done, in `context` or else in a copy of "
    "the\n"
    "caller's context; soon, if it is done already.\n\n"
    "Threads: the loop's own thread only.\n"
    "Source: asyncio, \"Futures\".";

/* Whether the only keyword is `context`.  The one that stock's Task passes is
 * not interned. */
static bool
names_context(const ca_state *st, PyObject *kwnames)
{
    PyObject *context = st->names[CA_STR_context];
    return PyTuple_GET_SIZE(kwnames) == 1 &&
           (PyTuple_GET_ITEM(kwnames, 0) == context ||
            PyUnicode_Compare(PyTuple_GET_ITEM(kwnames, 0), context) == 0);
}

PyObject *
ca_future_py_add_done_callback(PyObject *op, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames)
{
    ca_state *st = ca_future_state(op);
    CaFuture *fut = (CaFuture *)op;
    if (st == NULL) {
        return NULL;
    }
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    bool binds = nargs == 1 && (nkw == 0 || names_context(st, kwnames));
    if (!binds || fut->loop == NULL) {
        return stock(st, "add_done_callback", op, args, nargs, kwnames);
    }
    /* None stays None, as in stock: call_soon() then copies the context in
     * which the future is finished.  Only for a task it means something else
     * here, see task.h. */
    PyObject *context = nkw == 0 || (args[1] == Py_None &&
                                     PyObject_TypeCheck(args[0], st->TaskType))
                            ? PyContext_CopyCurrent()
                            : Py_NewRef(args[1]);
    if (context == NULL) {
        return NULL;
    }
    int result = ca_future_add_callback(st, fut, args[0], context);
    Py_DECREF(context);
    if (result < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

const char ca_remove_done_callback_doc[] =
    "remove_done_callback($self, fn, /)\n--\n\n"
    "Remove all instances of a callback; return how many there were.\n\n"
    "Source: asyncio, \"Futures\".";

PyObject *
ca_future_py_remove_done_callback(PyObject *op, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *kwnames)
{
    ca_state *st = ca_future_state(op);
    return st == NULL
               ? NULL
               : stock(st, "remove_done_callback", op, args, nargs, kwnames);
}

PyDoc_STRVAR(cancel_doc,
"cancel($self, /, msg=None)\n--\n\n"
"Cancel the future and schedule its callbacks; False if it is done already.\n"
"\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Futures\".");

PyObject *
ca_future_py_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    ca_state *st = ca_future_state(op);
    CaFuture *fut = (CaFuture *)op;
    if (st == NULL) {
        return NULL;
    }
    if (nargs > 1 || kwnames != NULL || fut->loop == NULL) {
        return stock(st, "cancel", op, args, nargs, kwnames);
    }
    fut->log_tb = 0;
    if (fut->state != CA_PENDING) {
        Py_RETURN_FALSE;
    }
    if (ca_future_mark_cancelled(st, fut, nargs == 1 ? args[0] : Py_None) <
        0) {
        return NULL;
    }
    Py_RETURN_TRUE;
}

PyDoc_STRVAR(set_result_doc,
"set_result($self, result, /)\n--\n\n"
"Finish the future with a result and schedule its callbacks.\n\n"
"Errors: asyncio.InvalidStateError when it is done already.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Futures\".");

static PyObject *
future_py_set_result(PyObject *op, PyObject *result)
{
    ca_state *st = ca_future_state(op);
    CaFuture *fut = (CaFuture *)op;
    if (st == NULL) {
        return NULL;
    }
    if (fut->loop == NULL || fut->state != CA_PENDING) {
        return stock(st, "set_result", op, &result, 1, NULL);
    }
    if (ca_future_finish(st, fut, result) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_exception_doc,
"set_exception($self, exception, /)\n--\n\n"
"Finish the future with an exception and schedule its callbacks.\n\n"
"Errors: asyncio.InvalidStateError when it is done already, TypeError for\n"
"what is not an exception, and for StopIteration what the running Python\n"
"raises.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Futures\".");

static PyObject *
future_py_set_exception(PyObject *op, PyObject *exc)
{
    ca_state *st = ca_future_state(op);
    CaFuture *fut = (CaFuture *)op;
    if (st == NULL) {
        return NULL;
    }
    if (fut->loop == NULL || fut->state != CA_PENDING ||
        !PyExceptionInstance_Check(exc) ||
        PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        return stock(st, "set_exception", op, &exc, 1, NULL);
    }
    if (ca_future_fail(st, fut, exc) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* ---- birth and death ---- */

/* A tracked future of exactly our type.  Its state and its flags may still be
 * those of a dead one. */
static inline CaFuture *
allocate(ca_state *st)
{
    if (st->futures.top == NULL) {
        return (CaFuture *)st->FutureType->tp_alloc(st->FutureType, 0);
    }
    PyObject *op = ca_freelist_take(&st->futures, st->FutureType);
    CaFuture *fut = (CaFuture *)op;
    fut->loop = NULL;                  /* where the free list had its link */
    PyObject_GC_Track(op);
    return fut;
}

/* Neither done nor asked for anything yet. */
static inline void
begin(CaFuture *fut)
{
    fut->state = CA_PENDING;
    fut->log_tb = 0;
    fut->blocking = 0;
}

PyObject *
ca_future_new(CaLoop *loop)
{
    CaFuture *fut = allocate(loop->st);
    if (fut != NULL) {
        fut->loop = Py_NewRef(loop);
        begin(fut);
    }
    return (PyObject *)fut;
}

/* Whether the only argument is `loop`, by name. */
static bool
names_loop(const ca_state *st, Py_ssize_t nargs, PyObject *kwnames)
{
    return nargs == 0 && kwnames != NULL && PyTuple_GET_SIZE(kwnames) == 1 &&
           PyTuple_GET_ITEM(kwnames, 0) == st->names[CA_STR_loop];
}

PyObject *
ca_future_vectorcall(PyObject *type, PyObject *const *args, size_t nargsf,
                     PyObject *kwnames)
{
    ca_state *st = ca_state_of_type((PyTypeObject *)type);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (st == NULL) {
        return NULL;
    }
    if (names_loop(st, nargs, kwnames) &&
        ca_future_native_loop(st, args[0]) != NULL) {
        return ca_future_new((CaLoop *)args[0]);
    }
    CaFuture *fut = allocate(st);
    if (fut == NULL) {
        return NULL;
    }
    begin(fut);
    PyObject *done = stock(st, "__init__", (PyObject *)fut, args, nargs,
                           kwnames);
    if (done == NULL) {
        Py_CLEAR(fut);
    }
    Py_XDECREF(done);
    return (PyObject *)fut;
}

/* An untracked future without a report lets go of all it has, and of itself.
 */
static void
bury(ca_state *st, PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    if (ca_object_has_weakrefs(op)) {
        PyObject_ClearWeakRefs(op);
    }
    if (ca_object_has_dict(op) || ca_awaited_any((CaFuture *)op)) {
        (void)st->StockFuture->tp_clear(op);
    }
    ca_future_release((CaFuture *)op);
    /* A finalized object stays marked as such: its memory is not for another,
     * whose report would be lost. */
    if (type == st->FutureType && !PyObject_GC_IsFinalized(op)) {
        ca_awaited_reset((CaFuture *)op);
        ca_freelist_give(&st->futures, op, CA_FREELIST_FUTURES);
        return;
    }
    type->tp_free(op);
    Py_DECREF(type);
}

/* A chain of results and exceptions may be of any length: the trashcan, which
 * may put the object off, keeps it from using up the stack. */
void
ca_future_tp_dealloc(PyObject *op)
{
    ca_state *st = ca_future_state(op);
    bool exact = Py_IS_TYPE(op, st->FutureType);
    if ((!exact || ((CaFuture *)op)->log_tb) &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (!exact) {
        bury(st, op);                  /* within the subclass' trashcan */
        return;
    }
    Py_TRASHCAN_BEGIN(op, ca_future_tp_dealloc);
    bury(st, op);
    Py_TRASHCAN_END;
}

static PyMethodDef future_methods[] = {
    {"add_done_callback", FASTCALL(ca_future_py_add_done_callback),
     METH_FASTCALL | METH_KEYWORDS, ca_add_done_callback_doc},
    {"remove_done_callback", FASTCALL(ca_future_py_remove_done_callback),
     METH_FASTCALL | METH_KEYWORDS, ca_remove_done_callback_doc},
    {"cancel", FASTCALL(ca_future_py_cancel), METH_FASTCALL | METH_KEYWORDS,
     cancel_doc},
    {"set_result", future_py_set_result, METH_O, set_result_doc},
    {"set_exception", future_py_set_exception, METH_O, set_exception_doc},
    {0},
};

static PyGetSetDef future_getset[] = {
    {"_callbacks", ca_future_get_callbacks, NULL,
     "List of (callback, context); None when there are none.", NULL},
    {0},
};

PyDoc_STRVAR(future_doc,
"Future(*, loop=None)\n--\n\n"
"An awaitable that gets its result later; made by loop.create_future().\n\n"
"A subclass of asyncio.Future, with the same behaviour.\n\n"
"Threads: every method belongs to the loop's own thread.\n"
"Source: asyncio, \"Futures\".");

static PyType_Slot future_slots[] = {
    {Py_tp_doc, (void *)future_doc},
    {Py_tp_dealloc, ca_future_tp_dealloc},
    {Py_tp_iter, ca_future_tp_iter},
    {Py_am_await, ca_future_tp_iter},
    {Py_tp_methods, future_methods},
    {Py_tp_getset, future_getset},
    {0, NULL},
};

PyType_Spec ca_future_spec = {
    .name = "casyncio.Future",
    .basicsize = sizeof(CaFuture),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE | CA_MIRROR_FLAGS,
    .slots = future_slots,
};
