/* future_iter.c - what `await future` runs on.
 *
 * States: fresh (asks: is it done?) -> yielded the future, once -> spent.  The
 * result leaves without an exception object where the interpreter can take it
 * so (am_send, or None), and otherwise in a StopIteration.
 */
#include "task/task.h"

#include "py/freelist.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

typedef struct {
    PyObject_HEAD
    CaFuture *future;                  /* strong; NULL once spent */
    ca_state *st;                      /* borrowed: our type keeps it alive */
} CaFutureIter;

PyObject *
ca_future_tp_iter(PyObject *op)
{
    ca_state *st = ca_future_state(op);
    if (st == NULL) {
        return NULL;
    }
    if (((CaFuture *)op)->loop == NULL) {
        return st->StockFuture->tp_iter(op); /* raises */
    }
    CaFutureIter *self = (CaFutureIter *)ca_freelist_take(&st->future_iters,
                                                          st->FutureIterType);
    if (self == NULL) {
        return NULL;
    }
    self->future = (CaFuture *)Py_NewRef(op);
    self->st = st;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static void
iter_tp_dealloc(PyObject *op)
{
    CaFutureIter *self = (CaFutureIter *)op;
    ca_state *st = self->st;
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->future);
    ca_freelist_give(&st->future_iters, op, CA_FREELIST_ITERS);
}

static int
iter_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaFutureIter *)op)->future);
    return 0;
}

static int
iter_tp_clear(PyObject *op)
{
    Py_CLEAR(((CaFutureIter *)op)->future);
    return 0;
}

/* The result of a future that is done; it spends the iterator, or not. */
static PyObject *
finish(CaFutureIter *self)
{
    CaFuture *fut = self->future;
    PyObject *result;
    if (CA_AWAIT_REPEATS) {
        Py_INCREF(fut);
    } else {
        self->future = NULL;
    }
    if (fut->state == CA_FINISHED && fut->exception == NULL) {
        fut->log_tb = 0;
        result = Py_NewRef(fut->result);
    } else {
        /* The base's, whatever a subclass makes of result(). */
        result = PyObject_CallMethodOneArg((PyObject *)self->st->StockFuture,
                                           self->st->names[CA_STR_result],
                                           (PyObject *)fut);
    }
    Py_DECREF(fut);
    return result;
}

static PySendResult
iter_am_send(PyObject *op, PyObject *Py_UNUSED(value), PyObject **result)
{
    CaFutureIter *self = (CaFutureIter *)op;
    CaFuture *fut = self->future;
    *result = NULL;
    if (fut == NULL) {
        return PYGEN_ERROR;
    }
    if (fut->state == CA_PENDING) {
        if (!fut->blocking) {
            fut->blocking = 1;
            *result = Py_NewRef(fut);
            return PYGEN_NEXT;
        }
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return PYGEN_ERROR;
    }
    *result = finish(self);
    return *result == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* StopIteration(value), which takes the reference.  What the call of the class
 * comes to, without its search for arguments: most of what a result costs. */
static PyObject *
make_stop(PyObject *steal_value)
{
    PyTypeObject *type = (PyTypeObject *)PyExc_StopIteration;
    PyObject *args = PyTuple_New(1);
    if (args == NULL) {
        Py_DECREF(steal_value);
        return NULL;
    }
    PyTuple_SET_ITEM(args, 0, steal_value);
    PyObject *exc = type->tp_new(type, args, NULL);
    if (exc != NULL) {
        PyObject **value = &((PyStopIterationObject *)exc)->value;
        Py_XSETREF(*value, Py_NewRef(steal_value));
    }
    Py_DECREF(args);
    return exc;
}

/* Set a StopIteration; with the exception that is being handled as its
 * context, or without, as stock does it. */
static void
set_stop(PyObject *steal_exc)
{
    PyObject *handled = CA_AWAIT_REPEATS ? NULL : PyErr_GetHandledException();
    if (handled == NULL) {
        PyErr_SetRaisedException(steal_exc);
        return;
    }
    PyErr_SetObject(PyExc_StopIteration, steal_exc); /* links them */
    Py_DECREF(handled);
    Py_DECREF(steal_exc);
}

/* Raise StopIteration(value), taking the reference; nothing for None, which
 * the caller then means, where that is how stock does it.  As the
 * interpreter does it: a tuple or an exception must not be taken for the
 * constructor's arguments. */
static void
raise_stop(PyObject *steal_value)
{
    if (!CA_AWAIT_REPEATS && steal_value == Py_None) {
        Py_DECREF(steal_value);
        return;
    }
    PyObject *exc = make_stop(steal_value);
    if (exc != NULL) {
        set_stop(exc);
    }
}

static PyObject *
iter_tp_iternext(PyObject *op)
{
    PyObject *result;
    if (iter_am_send(op, Py_None, &result) == PYGEN_RETURN) {
        raise_stop(result);
        return NULL;
    }
    return result;
}

/* A stock future that nobody waits for, to have its iterator's words. */
static PyObject *
make_stock_future(ca_state *st)
{
    PyObject *result = NULL;
    PyObject *types = PyImport_ImportModule("types");
    PyObject *loop = types == NULL
                         ? NULL
                         : PyObject_CallMethod(types, "SimpleNamespace", NULL);
    if (loop != NULL &&
        PyObject_SetAttrString(loop, "get_debug", (PyObject *)&PyBool_Type) ==
            0) {
        result = PyObject_Vectorcall((PyObject *)st->StockFuture, &loop, 0,
                                     st->kw_loop);
    }
    Py_XDECREF(types);
    Py_XDECREF(loop);
    return result;
}

/* iter.throw(...) of a stock iterator: what is wrong with the arguments, or
 * the exception that they ask for, in the running Python's words. */
static PyObject *
throw_as_stock(ca_state *st, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *result = NULL;
    PyObject *future = make_stock_future(st);
    PyObject *iter = future == NULL ? NULL : PyObject_GetIter(future);
    PyObject *method = iter == NULL
                           ? NULL
                           : PyObject_GetAttr(iter, st->names[CA_STR_throw]);
    if (method != NULL) {
        result = PyObject_Vectorcall(method, args, (size_t)nargs, NULL);
    }
    Py_XDECREF(future);
    Py_XDECREF(iter);
    Py_XDECREF(method);
    return result;
}

PyDoc_STRVAR(send_doc,
"send($self, value, /)\n--\n\nGo on; the value is ignored.");

static PyObject *
iter_py_send(PyObject *op, PyObject *Py_UNUSED(value))
{
    PyObject *result = iter_tp_iternext(op);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

PyDoc_STRVAR(throw_doc,
"throw($self, typ, val=None, tb=None, /)\n--\n\n"
"Raise an exception where the future is awaited.");

static PyObject *
iter_py_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaFutureIter *self = (CaFutureIter *)op;
    if (nargs == 1 && PyExceptionInstance_Check(args[0])) {
        Py_CLEAR(self->future);
        PyErr_SetRaisedException(Py_NewRef(args[0]));
        return NULL;
    }
    PyObject *result = throw_as_stock(self->st, args, nargs);
    bool refused = nargs < 1 || !PyExceptionClass_Check(args[0]) ||
                   (nargs == 3 && args[2] != Py_None &&
                    !PyTraceBack_Check(args[2]));
    if (result == NULL && !refused) {
        PyObject *exc = PyErr_GetRaisedException();
        Py_CLEAR(self->future);
        PyErr_SetRaisedException(exc);
    }
    return result;
}

PyDoc_STRVAR(close_doc,
"close($self)\n--\n\nGive the future up.");

static PyObject *
iter_py_close(PyObject *op, PyObject *Py_UNUSED(none))
{
    Py_CLEAR(((CaFutureIter *)op)->future);
    Py_RETURN_NONE;
}

static PyMethodDef iter_methods[] = {
    {"send", iter_py_send, METH_O, send_doc},
    {"throw", FASTCALL(iter_py_throw), METH_FASTCALL, throw_doc},
    {"close", iter_py_close, METH_NOARGS, close_doc},
    {0},
};

PyDoc_STRVAR(iter_doc,
"What awaits a future: yields it once, then returns its result.");

static PyType_Slot iter_slots[] = {
    {Py_tp_doc, (void *)iter_doc},
    {Py_tp_dealloc, iter_tp_dealloc},
    {Py_tp_traverse, iter_tp_traverse},
    {Py_tp_clear, iter_tp_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iter_tp_iternext},
    {Py_am_send, iter_am_send},
    {Py_tp_methods, iter_methods},
    {0, NULL},
};

PyType_Spec ca_future_iter_spec = {
    .name = "casyncio._native.FutureIter",
    .basicsize = sizeof(CaFutureIter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = iter_slots,
};
