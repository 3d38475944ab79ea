/* combine.c - see combine.h: the plain case, and functions in C that look and
 * behave as functions written in Python do.
 *
 * A builtin would do for calls, but tools ask more of a function: mock.patch()
 * asks whether it makes coroutines, inspect for its signature, a class that
 * holds it binds it.
 */
#include "task/combine.h"

#include "loop/overrides.h"
#include "loop/ready.h"
#include "py/args.h"
#include "task/registry.h"

#include <stddef.h>

/* ---- the plain case ---- */

static CaLoop *
plain_loop(ca_state *st, PyObject *loop)
{
    const uint32_t unusual = CA_OVERRIDE_TIME | CA_OVERRIDE_CALL_AT |
                             CA_OVERRIDE_CALL_SOON | CA_OVERRIDE_HASH |
                             CA_OVERRIDE_CREATE_FUTURE |
                             CA_OVERRIDE_CREATE_TASK | CA_OVERRIDE_CALL_LATER;
    CaLoop *self = ca_future_native_loop(st, loop);
    return self != NULL && !self->closed &&
                   (ca_overrides_now(self) & unusual) == 0
               ? self
               : NULL;
}

CaLoop *
ca_combine_loop(ca_state *st)
{
    if (!ca_registry_wants_ours(st) || st->late_result == NULL) {
        return NULL;
    }
    PyObject *loop = PyObject_CallNoArgs(st->running_loop);
    if (loop == NULL) {
        PyErr_Clear();                 /* a fork, in which none runs */
        return NULL;
    }
    Py_DECREF(loop);                   /* it runs, and so is referred to */
    return loop == Py_None ? NULL : plain_loop(st, loop);
}

CaTask *
ca_combine_task(CaLoop *loop)
{
    PyObject *task = ca_registry_current_borrow(loop);
    return task != NULL && Py_IS_TYPE(task, loop->st->TaskType)
               ? (CaTask *)task
               : NULL;
}

bool
ca_combine_number(PyObject *op, double *value)
{
    if (PyFloat_CheckExact(op)) {
        *value = PyFloat_AS_DOUBLE(op);
        return true;
    }
    if (!PyLong_CheckExact(op)) {
        return false;
    }
    *value = PyLong_AsDouble(op);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return true;
}

PyObject *
ca_combine_arm(CaLoop *loop, PyObject *callback, double when_s)
{
    ca_call_args call = {.callback = callback};
    if (when_s > ca_loop_time_s(loop)) {
        return (PyObject *)ca_timer_start(loop, &call, when_s);
    }
    PyObject *handle = (PyObject *)ca_handle_new(loop, &call);
    if (handle != NULL && ca_ready_push_handle(loop, Py_NewRef(handle)) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

int
ca_combine_disarm(const ca_state *st, PyObject *handle)
{
    int result;
    if (Py_IS_TYPE(handle, st->TimerHandleType)) {
        result = ca_timer_cancel((CaTimerHandle *)handle);
    } else if (Py_IS_TYPE(handle, st->HandleType)) {
        result = ca_handle_cancel((CaHandle *)handle);
    } else {
        return 0;
    }
    return result < 0 ? -1 : 1;
}

PyObject *
ca_combine_stock_borrow(const ca_state *st, int which)
{
    if (st->combine[which] == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "use_combining() has not been called");
    }
    return st->combine[which];
}

PyObject *
ca_combine_call_stock(ca_state *st, int which, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *function = ca_combine_stock_borrow(st, which);
    return function == NULL
               ? NULL
               : PyObject_Vectorcall(function, args, (size_t)nargs, kwnames);
}

PyObject *
ca_combine_call_group(ca_state *st, PyObject *method, PyObject *self,
                      PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    PyObject *group = ca_combine_stock_borrow(st, CA_COMBINE_GROUP);
    return group == NULL
               ? NULL
               : ca_stock_call(group, method, self, args, nargs, kwnames);
}

/* ---- functions ---- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    ca_function_code code;
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *dict;                    /* strong; or NULL */
    PyObject *weakrefs;
} CaFunction;

static PyObject *
function_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    CaFunction *self = (CaFunction *)op;
    return self->code(self->st, args, PyVectorcall_NARGS(nargsf), kwnames);
}

PyObject *
ca_function_new(ca_state *st, ca_function_code code)
{
    CaFunction *self = (CaFunction *)st->FunctionType->tp_alloc(
        st->FunctionType, 0);
    if (self != NULL) {
        self->vectorcall = function_vectorcall;
        self->code = code;
        self->st = st;
    }
    return (PyObject *)self;
}

static PyObject *
function_tp_descr_get(PyObject *op, PyObject *object,
                      PyObject *Py_UNUSED(type))
{
    return object == NULL || object == Py_None ? Py_NewRef(op)
                                               : PyMethod_New(op, object);
}

static int
function_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaFunction *)op)->dict);
    return 0;
}

static int
function_tp_clear(PyObject *op)
{
    Py_CLEAR(((CaFunction *)op)->dict);
    return 0;
}

static void
function_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (((CaFunction *)op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)function_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *
function_tp_repr(PyObject *op)
{
    PyObject *name = PyObject_GetAttrString(op, "__qualname__");
    PyObject *text = name == NULL ? NULL
                                  : PyUnicode_FromFormat("<function %S at %p>",
                                                         name, op);
    Py_XDECREF(name);
    return text;
}

PyDoc_STRVAR(reduce_doc,
"__reduce__($self, /)\n--\n\nPickle it by its name.");

static PyObject *
function_py_reduce(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyObject_GetAttrString(op, "__qualname__");
}

static PyMethodDef function_methods[] = {
    {"__reduce__", function_py_reduce, METH_NOARGS, reduce_doc},
    {0},
};

static PyGetSetDef function_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {0},
};

static PyMemberDef function_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(CaFunction, vectorcall),
     Py_READONLY, NULL},
    {"__dictoffset__", Py_T_PYSSIZET, offsetof(CaFunction, dict), Py_READONLY,
     NULL},
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaFunction, weakrefs),
     Py_READONLY, NULL},
    {0},
};

static PyType_Slot function_slots[] = {
    {Py_tp_doc, "A function in C that does what one of asyncio's does."},
    {Py_tp_dealloc, function_tp_dealloc},
    {Py_tp_traverse, function_tp_traverse},
    {Py_tp_clear, function_tp_clear},
    {Py_tp_repr, function_tp_repr},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, function_tp_descr_get},
    {Py_tp_methods, function_methods},
    {Py_tp_getset, function_getset},
    {Py_tp_members, function_members},
    {0, NULL},
};

PyType_Spec ca_function_spec = {
    .name = "casyncio._native.Function",
    .basicsize = sizeof(CaFunction),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = function_slots,
};
