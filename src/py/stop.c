/* stop.c - see stop.h.
 *
 * Such an exception is not tracked by the collector: it lives from here to the
 * next instruction, unless a tracing function keeps it.
 */
#include "py/stop.h"

#include "py/freelist.h"

void
ca_stop_raise(ca_state *st, PyObject *steal_value)
{
    if (steal_value == Py_None) {
        Py_DECREF(steal_value);
        return;
    }
    PyObject *op = ca_freelist_take(&st->stops, st->StopType);
    if (op == NULL) {
        Py_DECREF(steal_value);
        return;
    }
    PyStopIterationObject *exc = (PyStopIterationObject *)op;
    exc->dict = NULL;
    exc->args = Py_NewRef(st->no_args);
    exc->notes = NULL;
    exc->traceback = NULL;
    exc->context = NULL;
    exc->cause = NULL;
    exc->suppress_context = 0;
    exc->value = steal_value;
    PyErr_SetRaisedException(op);
}

static int
stop_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return ((PyTypeObject *)PyExc_StopIteration)->tp_traverse(op, visit, arg);
}

static void
stop_tp_dealloc(PyObject *op)
{
    PyStopIterationObject *exc = (PyStopIterationObject *)op;
    ca_state *st = PyModule_GetState(
        ((PyHeapTypeObject *)Py_TYPE(op))->ht_module);
    Py_CLEAR(exc->value);
    if (exc->traceback != NULL || exc->context != NULL || exc->dict != NULL ||
        exc->cause != NULL || exc->notes != NULL) {
        (void)((PyTypeObject *)PyExc_StopIteration)->tp_clear(op);
    }
    Py_CLEAR(exc->args);
    ca_freelist_give(&st->stops, op, CA_FREELIST_STOPS);
}

PyDoc_STRVAR(stop_doc, "A StopIteration that carries the result of an await.");

static PyType_Slot stop_slots[] = {
    {Py_tp_doc, (void *)stop_doc},
    {Py_tp_dealloc, stop_tp_dealloc},
    {Py_tp_traverse, stop_tp_traverse},
    {0, NULL},
};

PyType_Spec ca_stop_spec = {
    .name = "casyncio._native.StopIteration",
    .basicsize = sizeof(PyStopIterationObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stop_slots,
};
