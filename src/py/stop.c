/* stop.c - see stop.h.
 *
 * Nearly all live from here to the next instruction only; but who calls next()
 * on what __await__() returns may keep one, so each is what a StopIteration
 * is: it has args, the collector sees it, and copies and pickles are plain
 * StopIterations.  Its args are made when somebody asks for them; until then
 * there stands (), for what reads the field without asking.
 */
#include "py/stop.h"

#include "py/freelist.h"

typedef struct {
    PyStopIterationObject e;
    ca_state *st;                      /* borrowed: our type keeps it alive */
    bool bare;                         /* its args are still to be made */
} CaStop;

/* A new one, tracked; NULL with an exception. */
static CaStop *
make(ca_state *st, PyObject *value)
{
    CaStop *self = (CaStop *)ca_freelist_take(&st->stops, st->StopType);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->e.dict = NULL;
    self->e.args = Py_NewRef(st->no_args);
    self->e.notes = NULL;
    self->e.traceback = NULL;
    self->e.context = NULL;
    self->e.cause = NULL;
    self->e.suppress_context = 0;
    self->e.value = Py_NewRef(value);
    self->bare = true;
    PyObject_GC_Track(self);
    return self;
}

/* Whether it is as it was made, except for its args. */
static inline bool
is_unused(const CaStop *self)
{
    return self->e.traceback == NULL && self->e.context == NULL &&
           self->e.dict == NULL && self->e.cause == NULL &&
           self->e.notes == NULL;
}

/* As from a handler of `steal_context`, or NULL. */
static void
raise_within(PyObject *steal_exc, PyObject *steal_context)
{
    if (steal_context != NULL) {
        PyException_SetContext(steal_exc, steal_context);
    }
    PyErr_SetRaisedException(steal_exc);
}

void
ca_stop_raise(ca_state *st, PyObject *steal_value)
{
    if (steal_value != Py_None) {
        PyObject *context = PyErr_GetHandledException();
        CaStop *self = make(st, steal_value);
        if (self != NULL) {
            raise_within((PyObject *)self, context);
        } else {
            Py_XDECREF(context);
        }
    }
    Py_DECREF(steal_value);
}

void
ca_stop_raise_plain(PyObject *steal_value)
{
    if (steal_value != Py_None) {
        PyObject *exc = PyObject_CallOneArg(PyExc_StopIteration, steal_value);
        if (exc != NULL) {
            raise_within(exc, PyErr_GetHandledException());
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

/* ---- its life ---- */

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
    CaStop *self = (CaStop *)op;
    ca_state *st = self->st;
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->e.value);
    if (!is_unused(self)) {
        (void)stop_tp_clear(op);
    }
    Py_CLEAR(self->e.args);
    ca_freelist_give(&st->stops, op, CA_FREELIST_STOPS);
}

/* ---- the args, made late ---- */

static int
make_args(CaStop *self)
{
    if (!self->bare) {
        return 0;
    }
    if (self->e.value == NULL || PyTuple_GET_SIZE(self->e.args) > 0) {
        self->bare = false;            /* cleared; or others have set them */
        return 0;
    }
    PyObject *args = PyTuple_Pack(1, self->e.value);
    if (args == NULL) {
        return -1;
    }
    self->bare = false;
    Py_SETREF(self->e.args, args);
    return 0;
}

static PyObject *
stop_tp_repr(PyObject *op)
{
    return make_args((CaStop *)op) < 0
               ? NULL
               : ((PyTypeObject *)PyExc_StopIteration)->tp_repr(op);
}

static PyObject *
stop_tp_str(PyObject *op)
{
    return make_args((CaStop *)op) < 0
               ? NULL
               : ((PyTypeObject *)PyExc_StopIteration)->tp_str(op);
}

static PyObject *
stop_get_args(PyObject *op, void *Py_UNUSED(closure))
{
    CaStop *self = (CaStop *)op;
    return make_args(self) < 0 ? NULL : Py_NewRef(self->e.args);
}

static int
stop_set_args(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    CaStop *self = (CaStop *)op;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "args may not be deleted");
        return -1;
    }
    PyObject *args = PySequence_Tuple(value);
    if (args == NULL) {
        return -1;
    }
    self->bare = false;
    Py_SETREF(self->e.args, args);
    return 0;
}

static PyObject *
stop_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *value = ((CaStop *)op)->e.value;
    return Py_NewRef(value == NULL ? Py_None : value);
}

/* The args stay what they would have been from the first. */
static int
stop_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (make_args((CaStop *)op) < 0) {
        return -1;
    }
    Py_XSETREF(((CaStop *)op)->e.value, Py_XNewRef(value));
    return 0;
}

/* Who calls this of a raised one gives it other args. */
static int
stop_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    ((CaStop *)op)->bare = false;
    return ((PyTypeObject *)PyExc_StopIteration)->tp_init(op, args, kwargs);
}

PyDoc_STRVAR(reduce_doc,
"__reduce__($self)\n--\n\nTell copy and pickle of a plain StopIteration.");

static PyObject *
stop_py_reduce(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStop *self = (CaStop *)op;
    if (make_args(self) < 0) {
        return NULL;
    }
    return self->e.dict == NULL
               ? PyTuple_Pack(2, PyExc_StopIteration, self->e.args)
               : PyTuple_Pack(3, PyExc_StopIteration, self->e.args,
                              self->e.dict);
}

static PyMethodDef stop_methods[] = {
    {"__reduce__", stop_py_reduce, METH_NOARGS, reduce_doc},
    {0},
};

static PyGetSetDef stop_getset[] = {
    {"args", stop_get_args, stop_set_args, "A tuple of the value.", NULL},
    {"value", stop_get_value, stop_set_value, "What is returned.", NULL},
    {0},
};

PyDoc_STRVAR(stop_doc, "A StopIteration that carries the result of an await.");

static PyType_Slot stop_slots[] = {
    {Py_tp_doc, (void *)stop_doc},
    {Py_tp_dealloc, stop_tp_dealloc},
    {Py_tp_traverse, stop_tp_traverse},
    {Py_tp_clear, stop_tp_clear},
    {Py_tp_init, stop_tp_init},
    {Py_tp_repr, stop_tp_repr},
    {Py_tp_str, stop_tp_str},
    {Py_tp_methods, stop_methods},
    {Py_tp_getset, stop_getset},
    {0, NULL},
};

PyType_Spec ca_stop_spec = {
    .name = "casyncio._native.StopIteration",
    .basicsize = sizeof(CaStop),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stop_slots,
};
