/* stop.c - see stop.h.
 *
 * Nearly all live from here to the next instruction only; but who calls next()
 * on what __await__() returns may keep one, so each is what a StopIteration
 * is: it has the args, the collector sees it, and copies and pickles are plain
 * StopIterations.
 */
#include "py/stop.h"

#include "py/freelist.h"

typedef struct {
    PyStopIterationObject e;
    ca_state *st;                      /* borrowed: our type keeps it alive */
} CaStop;

void
ca_stop_raise(ca_state *st, PyObject *steal_value)
{
    if (steal_value == Py_None) {
        Py_DECREF(steal_value);
        return;
    }
    PyObject *args = PyTuple_New(1);
    PyObject *op = args == NULL ? NULL
                                : ca_freelist_take(&st->stops, st->StopType);
    if (op == NULL) {
        Py_XDECREF(args);
        Py_DECREF(steal_value);
        return;
    }
    PyTuple_SET_ITEM(args, 0, Py_NewRef(steal_value));
    ((CaStop *)op)->st = st;
    PyStopIterationObject *exc = (PyStopIterationObject *)op;
    exc->dict = NULL;
    exc->args = args;
    exc->notes = NULL;
    exc->traceback = NULL;
    exc->context = NULL;
    exc->cause = NULL;
    exc->suppress_context = 0;
    exc->value = steal_value;
    PyObject_GC_Track(op);
    PyErr_SetRaisedException(op);
}

void
ca_stop_raise_plain(PyObject *steal_value)
{
    if (steal_value != Py_None) {
        PyObject *exc = PyObject_CallOneArg(PyExc_StopIteration, steal_value);
        if (exc != NULL) {
            PyErr_SetRaisedException(exc);
        }
    }
    Py_DECREF(steal_value);
}

PyObject *
ca_stop_return(PySendResult status, PyObject *steal_result)
{
    if (status != PYGEN_RETURN) {
        return status == PYGEN_ERROR ? NULL : steal_result;
    }
    ca_stop_raise_plain(steal_result);
    if (!PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return NULL;
}

static int
stop_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return ((PyTypeObject *)PyExc_StopIteration)->tp_traverse(op, visit, arg);
}

static int
stop_tp_clear(PyObject *op)
{
    return ((PyTypeObject *)PyExc_StopIteration)->tp_clear(op);
}

static void
stop_tp_dealloc(PyObject *op)
{
    PyStopIterationObject *exc = (PyStopIterationObject *)op;
    ca_state *st = ((CaStop *)op)->st;
    PyObject_GC_UnTrack(op);
    Py_CLEAR(exc->value);
    if (exc->traceback != NULL || exc->context != NULL || exc->dict != NULL ||
        exc->cause != NULL || exc->notes != NULL) {
        (void)stop_tp_clear(op);
    }
    Py_CLEAR(exc->args);
    ca_freelist_give(&st->stops, op, CA_FREELIST_STOPS);
}

PyDoc_STRVAR(reduce_doc,
"__reduce__($self)\n--\n\nTell copy and pickle of a plain StopIteration.");

static PyObject *
stop_py_reduce(PyObject *op, PyObject *Py_UNUSED(none))
{
    const PyStopIterationObject *exc = (PyStopIterationObject *)op;
    return exc->dict == NULL
               ? PyTuple_Pack(2, PyExc_StopIteration, exc->args)
               : PyTuple_Pack(3, PyExc_StopIteration, exc->args, exc->dict);
}

static PyMethodDef stop_methods[] = {
    {"__reduce__", stop_py_reduce, METH_NOARGS, reduce_doc},
    {0},
};

PyDoc_STRVAR(stop_doc, "A StopIteration that carries the result of an await.");

static PyType_Slot stop_slots[] = {
    {Py_tp_doc, (void *)stop_doc},
    {Py_tp_dealloc, stop_tp_dealloc},
    {Py_tp_traverse, stop_tp_traverse},
    {Py_tp_clear, stop_tp_clear},
    {Py_tp_methods, stop_methods},
    {0, NULL},
};

PyType_Spec ca_stop_spec = {
    .name = "casyncio._native.StopIteration",
    .basicsize = sizeof(CaStop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stop_slots,
};
