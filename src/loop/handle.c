/* handle.c - the Handle type, and what TimerHandle shares with it.
 *
 * States: waiting (in the ready ring, watched, or in the heap) -> ran, or
 * -> cancelled.  A cancelled handle has let go of callback and arguments.  One
 * that ran keeps them, as stock's does, until it dies.
 */
#include "loop/handle.h"

#include "py/errors.h"
#include "py/freelist.h"

#include <string.h>

enum { ARGS_ON_STACK = 6 };

/* ---- birth and death ---- */

/* Remember where the handle was made: [stack, None]. May run Python. */
static int
remember_source(CaHandle *self)
{
    PyObject *frame = (PyObject *)PyEval_GetFrame();
    if (frame == NULL) {
        return 0;
    }
    PyObject *stack = PyObject_CallOneArg(self->loop->st->extract_stack,
                                          frame);
    if (stack == NULL) {
        return -1;
    }
    self->debug = PyList_New(2);
    if (self->debug == NULL) {
        Py_DECREF(stack);
        return -1;
    }
    PyList_SET_ITEM(self->debug, 0, stack);
    PyList_SET_ITEM(self->debug, 1, Py_NewRef(Py_None));
    return 0;
}

static int
set_args(CaHandle *self, const ca_call_args *a)
{
    if (a->nrest == 0) {
        self->args = NULL;
    } else if (a->nrest == 1) {
        self->args = Py_NewRef(a->rest[0]);
    } else {
        self->args = PyTuple_New(a->nrest);
        if (self->args == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < a->nrest; i++) {
            PyTuple_SET_ITEM(self->args, i, Py_NewRef(a->rest[i]));
        }
    }
    self->nargs = (uint32_t)a->nrest;
    return 0;
}

static int
set_context(CaHandle *self, const ca_call_args *a)
{
    bool shared = false;
    self->context = a->context != NULL
                        ? Py_NewRef(a->context)
                        : ca_context_take(self->loop->st,
                                          &self->loop->contexts, &shared);
    self->flags = shared ? CA_HANDLE_SNAPSHOT : 0;
    return self->context == NULL ? -1 : 0;
}

/* Fill a raw object and track it; 0 or -1, and then it can be decref'ed. */
int
ca_handle_setup(CaHandle *self, CaLoop *loop, const ca_call_args *a)
{
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->callback = Py_NewRef(a->callback);
    self->args = NULL;
    self->context = NULL;
    self->debug = NULL;
    self->weakrefs = NULL;
    self->nargs = 0;
    self->flags = 0;
    PyObject_GC_Track(self);
    if (set_args(self, a) < 0 || set_context(self, a) < 0) {
        return -1;
    }
    return loop->debug ? remember_source(self) : 0;
}

CaHandle *
ca_handle_new(CaLoop *loop, const ca_call_args *a)
{
    ca_state *st = loop->st;
    CaHandle *self = (CaHandle *)ca_freelist_take(&st->handles,
                                                  st->HandleType);
    if (self == NULL) {
        return NULL;
    }
    if (ca_handle_setup(self, loop, a) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

/* Let go of everything on the way to the free list. May run Python. */
void
ca_handle_release(CaHandle *self)
{
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    (void)ca_handle_tp_clear((PyObject *)self);
    Py_CLEAR(self->loop);
}

static void
handle_tp_dealloc(PyObject *op)
{
    ca_state *st = ((CaHandle *)op)->loop->st;
    PyObject_GC_UnTrack(op);
    if (ca_handle_is_shallow((CaHandle *)op)) {
        ca_handle_release((CaHandle *)op);
        ca_freelist_give(&st->handles, op, CA_FREELIST_HANDLES);
        return;
    }
    Py_TRASHCAN_BEGIN(op, handle_tp_dealloc) ca_handle_release((CaHandle *)op);
    ca_freelist_give(&st->handles, op, CA_FREELIST_HANDLES);
    Py_TRASHCAN_END
}

int
ca_handle_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaHandle *self = (CaHandle *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->callback);
    Py_VISIT(self->args);
    Py_VISIT(self->context);
    Py_VISIT(self->debug);
    return 0;
}

/* The loop stays: methods of a cleared handle still need it, and a loop in the
 * same cycle breaks it by letting go of its handles. */
int
ca_handle_tp_clear(PyObject *op)
{
    CaHandle *self = (CaHandle *)op;
    Py_CLEAR(self->callback);
    Py_CLEAR(self->args);
    self->nargs = 0;
    Py_CLEAR(self->context);
    Py_CLEAR(self->debug);
    return 0;
}

/* ---- running ---- */

static PyObject *
call_many(PyObject *callback, PyObject *args, Py_ssize_t nargs)
{
    PyObject *const *items = &PyTuple_GET_ITEM(args, 0);
    if (nargs > ARGS_ON_STACK) {
        return PyObject_Vectorcall(callback, items, (size_t)nargs, NULL);
    }
    PyObject *stack[ARGS_ON_STACK + 1];
    memcpy(stack + 1, items, (size_t)nargs * sizeof(*stack));
    return PyObject_Vectorcall(callback, stack + 1,
                               (size_t)nargs | PY_VECTORCALL_ARGUMENTS_OFFSET,
                               NULL);
}

/* callback() or callback(arg).  Functions are called where the interpreter's
 * own calls end, without what it checks on the way. */
static PyObject *
call_short(PyObject *callback, PyObject *arg)
{
    PyObject *stack[2] = {NULL, arg};  /* room for the callee in front */
    size_t nargs = (arg == NULL ? 0 : 1) | PY_VECTORCALL_ARGUMENTS_OFFSET;
    if (!PyFunction_Check(callback)) {
        return PyObject_Vectorcall(callback, stack + 1, nargs, NULL);
    }
    vectorcallfunc call = ((PyFunctionObject *)callback)->vectorcall;
    return call(callback, stack + 1, nargs, NULL);
}

/* callback(*args).  The callback may cancel the handle, hence own
 * references. */
static PyObject *
call_callback(CaHandle *self)
{
    PyObject *callback = Py_NewRef(self->callback);
    PyObject *args = Py_XNewRef(self->args);
    PyObject *result;
    if (self->nargs < 2) {
        result = call_short(callback, args);
    } else {
        result = call_many(callback, args, self->nargs);
    }
    Py_DECREF(callback);
    Py_XDECREF(args);
    return result;
}

static PyObject *
call_in_context(CaHandle *self, PyObject *context)
{
    if (PyContext_Enter(context) < 0) {
        return NULL;
    }
    PyObject *result = call_callback(self);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

static PyObject *
call_in_own_context(CaHandle *self)
{
    PyObject *context = Py_NewRef(self->context);
    PyObject *result = call_in_context(self, context);
    Py_DECREF(context);
    return result;
}

/* Replace the snapshot by a context of the handle's own. */
static void
adopt_context(CaHandle *self, PyObject *steal_context)
{
    self->flags &= ~(uint32_t)CA_HANDLE_SNAPSHOT;
    Py_XSETREF(self->context, steal_context);
}

static int
make_own_context(CaHandle *self)
{
    PyObject *own = PyContext_Copy(self->context);
    if (own == NULL) {
        return -1;
    }
    adopt_context(self, own);
    return 0;
}

/* Nobody but the caller has the handle, so nobody can ask it for its context,
 * except the exception handler: a failed handle keeps the one it ran in. */
static PyObject *
call_in_snapshot(CaHandle *self)
{
    ca_context_cache *cache = &self->loop->contexts;
    PyObject *snapshot = Py_NewRef(self->context);
    PyObject *context = ca_context_borrow_copy(cache, snapshot);
    PyObject *result = NULL;
    if (context != NULL) {
        result = call_in_context(self, context);
        if (result == NULL) {
            adopt_context(self, context);
        } else {
            ca_context_return(cache, snapshot, context);
        }
    }
    Py_DECREF(snapshot);
    return result;
}

static PyObject *
call_in_some_context(CaHandle *self)
{
    if ((self->flags & CA_HANDLE_SNAPSHOT) == 0) {
        return call_in_own_context(self);
    }
    if (Py_REFCNT(self) == 1) {
        return call_in_snapshot(self);
    }
    /* Others have it too: it may run again, or be asked for its context. */
    return make_own_context(self) < 0 ? NULL : call_in_own_context(self);
}

int
ca_handle_report(CaHandle *self)
{
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = ca_error_take();
    int done = ca_error_tell(exc, (PyObject *)self->loop,
                             self->loop->st->names[CA_STR__callback_failed],
                             (PyObject *)self, exc, NULL);
    Py_DECREF(exc);
    return done;
}

CaHandle *
ca_handle_for_method(CaLoop *loop, PyObject *op, int name, PyObject *context)
{
    PyObject *method = PyObject_GetAttr(op, loop->st->names[name]);
    if (method == NULL) {
        return NULL;
    }
    ca_call_args a = {.callback = method, .context = context};
    CaHandle *handle = ca_handle_new(loop, &a);
    Py_DECREF(method);
    return handle;
}

int
ca_handle_report_method(CaLoop *loop, PyObject *op, int name,
                        PyObject *context)
{
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = ca_error_take();
    CaHandle *handle = ca_handle_for_method(loop, op, name, context);
    if (handle == NULL) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    int result = ca_handle_report(handle);
    Py_DECREF(handle);
    return result;
}

/* Whatever was given as context= may be any object with a run() method, which
 * may do anything with the handle: stock's own _run() deals with that, and
 * with exceptions. */
static int
run_in_foreign_context(CaHandle *self)
{
    ca_state *st = self->loop->st;
    PyObject *done = PyObject_CallMethodOneArg(
        st->StockHandle, st->names[CA_STR__run], (PyObject *)self);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_handle_run(CaHandle *self)
{
    if (self->callback == NULL || self->context == NULL) {
        return 0;                      /* cancelled, or cleared by the GC */
    }
    if (!PyContext_CheckExact(self->context)) {
        return run_in_foreign_context(self);
    }
    if (self->callback == self->loop->st->late_result) {
        int done = ca_future_run_late_result(self);
        if (done != 0) {
            return done < 0 ? ca_handle_report(self) : 0;
        }
    }
    PyObject *result = call_in_some_context(self);
    if (result == NULL) {
        return ca_handle_report(self);
    }
    Py_DECREF(result);
    return 0;
}

/* What it looks like before it lets go of its callback; 0 or -1. */
static int
remember_repr(CaHandle *self)
{
    PyObject *text = PyObject_Repr((PyObject *)self);
    if (text != NULL && self->debug == NULL) {
        self->debug = Py_BuildValue("[OO]", Py_None, Py_None);
    }
    if (text == NULL || self->debug == NULL) {
        Py_XDECREF(text);
        return -1;
    }
    return PyList_SetItem(self->debug, 1, text);
}

int
ca_handle_cancel(CaHandle *self)
{
    if (ca_handle_cancelled(self)) {
        return 0;
    }
    self->flags |= CA_HANDLE_CANCELLED;
    if (self->loop->debug && remember_repr(self) < 0) {
        return -1;
    }
    self->nargs = 0;
    Py_CLEAR(self->callback);
    Py_CLEAR(self->args);
    return 0;
}

/* ---- methods ---- */

PyDoc_STRVAR(handle_cancel_doc,
"cancel($self)\n--\n\n"
"Cancel the callback and let go of it and its arguments.\n\n"
"Cancelling twice is allowed and does nothing; so is cancelling after the\n"
"callback ran.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Callback Handles\".");

static PyObject *
handle_py_cancel(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (ca_handle_cancel((CaHandle *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(handle_cancelled_doc,
"cancelled($self)\n--\n\n"
"Return True if cancel() was called.\n\n"
"Threads: any thread.");

static PyObject *
handle_py_cancelled(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(ca_handle_cancelled((CaHandle *)op));
}

PyDoc_STRVAR(handle_get_context_doc,
"get_context($self)\n--\n\n"
"Return the contextvars.Context in which the callback runs.");

static PyObject *
handle_py_get_context(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaHandle *self = (CaHandle *)op;
    if (self->context == NULL) {
        Py_RETURN_NONE;
    }
    if ((self->flags & CA_HANDLE_SNAPSHOT) != 0 &&
        make_own_context(self) < 0) {
        return NULL;
    }
    return Py_NewRef(self->context);
}

PyDoc_STRVAR(handle_run_doc,
"_run($self)\n--\n\n"
"Call the callback now, in its context; the loop does this in its turn.");

static PyObject *
handle_py__run(PyObject *op, PyObject *Py_UNUSED(none))
{
    if (ca_handle_run((CaHandle *)op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Stock's own _repr_info() reads our attributes, which are named as its own;
 * so the words are those of the running Python. */
PyObject *
ca_handle_repr(CaHandle *self, PyObject *stock_type)
{
    if (self->debug != NULL && PyList_CheckExact(self->debug) &&
        PyList_GET_SIZE(self->debug) == 2 &&
        PyList_GET_ITEM(self->debug, 1) != Py_None) {
        return Py_NewRef(PyList_GET_ITEM(self->debug, 1));
    }
    PyObject *text = NULL;
    PyObject *joined = NULL;
    PyObject *blank = NULL;
    PyObject *info = PyObject_CallMethodOneArg(
        stock_type, self->loop->st->names[CA_STR__repr_info],
        (PyObject *)self);
    if (info == NULL) {
        goto done;
    }
    blank = PyUnicode_FromString(" ");
    joined = blank == NULL ? NULL : PyUnicode_Join(blank, info);
    if (joined != NULL) {
        text = PyUnicode_FromFormat("<%U>", joined);
    }

done:
    Py_XDECREF(info);
    Py_XDECREF(blank);
    Py_XDECREF(joined);
    return text;
}

static PyObject *
handle_tp_repr(PyObject *op)
{
    CaHandle *self = (CaHandle *)op;
    return ca_handle_repr(self, self->loop->st->StockHandle);
}

/* ---- attributes that stock's Python code and debuggers read ---- */

static PyObject *
handle_get_class(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((CaHandle *)op)->loop->st->StockHandle);
}

static PyObject *
handle_get_loop(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(((CaHandle *)op)->loop);
}

static PyObject *
handle_get_callback(PyObject *op, void *Py_UNUSED(closure))
{
    CaHandle *self = (CaHandle *)op;
    return Py_NewRef(self->callback == NULL ? Py_None : self->callback);
}

static PyObject *
handle_get_args(PyObject *op, void *Py_UNUSED(closure))
{
    CaHandle *self = (CaHandle *)op;
    if (self->callback == NULL) {
        Py_RETURN_NONE;
    }
    if (self->nargs == 0) {
        return PyTuple_New(0);
    }
    return self->nargs == 1 ? PyTuple_Pack(1, self->args)
                            : Py_NewRef(self->args);
}

static PyObject *
handle_get_cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(ca_handle_cancelled((CaHandle *)op));
}

static PyObject *
handle_get_context(PyObject *op, void *Py_UNUSED(closure))
{
    return handle_py_get_context(op, NULL);
}

/* closure: which item of the debug list. */
static PyObject *
handle_get_debug(PyObject *op, void *closure)
{
    PyObject *debug = ((CaHandle *)op)->debug;
    Py_ssize_t item = closure == NULL ? 0 : 1;
    if (debug == NULL || PyList_GET_SIZE(debug) <= item) {
        Py_RETURN_NONE;
    }
    return Py_NewRef(PyList_GET_ITEM(debug, item));
}

PyDoc_STRVAR(handle_reduce_doc,
"__reduce__($self)\n--\n\n"
"Refused with TypeError: a callback that waits cannot be pickled.");

/* Older protocols would make an empty object of what they know nothing of. */
static PyObject *
handle_py_reduce(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyErr_Format(PyExc_TypeError, "cannot pickle '%s' object",
                        Py_TYPE(op)->tp_name);
}

PyDoc_STRVAR(handle_copy_doc,
"__copy__($self)\n--\n\n"
"Return a handle of asyncio's own class with the same attributes; the loop\n"
"does not know it.");

/* copy.__slots__ = the attributes of the same names; 0 or -1. */
static int
copy_slots(PyObject *op, PyObject *stock_type, PyObject *copy)
{
    PyObject *slots = PyObject_GetAttrString(stock_type, "__slots__");
    Py_ssize_t count = slots == NULL ? -1 : PySequence_Size(slots);
    int result = count < 0 ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        PyObject *name = PySequence_GetItem(slots, i);
        bool weakref = name != NULL && PyUnicode_Check(name) &&
                       PyUnicode_CompareWithASCIIString(name, "__weakref__") ==
                           0;
        PyObject *value = name == NULL || weakref ? NULL
                                                  : PyObject_GetAttr(op, name);
        if (!weakref) {
            result = value == NULL ? -1 : PyObject_SetAttr(copy, name, value);
        }
        Py_XDECREF(value);
        Py_XDECREF(name);
    }
    Py_XDECREF(slots);
    return result;
}

/* As stock's copy, which is one of stock's; of a timer there are two lists of
 * attributes. */
static PyObject *
handle_py_copy(PyObject *op, PyObject *Py_UNUSED(none))
{
    const ca_state *st = ((CaHandle *)op)->loop->st;
    bool timer = Py_IS_TYPE(op, st->TimerHandleType);
    PyObject *type = timer ? st->StockTimerHandle : st->StockHandle;
    PyObject *copy = PyObject_CallMethod(type, "__new__", "O", type);
    if (copy != NULL && (copy_slots(op, st->StockHandle, copy) < 0 ||
                         (timer && copy_slots(op, type, copy) < 0))) {
        Py_CLEAR(copy);
    }
    return copy;
}

static PyMethodDef handle_methods[] = {
    {"__copy__", handle_py_copy, METH_NOARGS, handle_copy_doc},
    {"__reduce__", handle_py_reduce, METH_NOARGS, handle_reduce_doc},
    {"cancel", handle_py_cancel, METH_NOARGS, handle_cancel_doc},
    {"cancelled", handle_py_cancelled, METH_NOARGS, handle_cancelled_doc},
    {"get_context", handle_py_get_context, METH_NOARGS,
     handle_get_context_doc},
    {"_run", handle_py__run, METH_NOARGS, handle_run_doc},
    {0},
};

static PyGetSetDef handle_getset[] = {
    {"__class__", handle_get_class, NULL, "asyncio.Handle", NULL},
    {"_loop", handle_get_loop, NULL, "The loop that runs it.", NULL},
    {"_callback", handle_get_callback, NULL, "None once cancelled.", NULL},
    {"_args", handle_get_args, NULL, "A tuple; None once cancelled.", NULL},
    {"_cancelled", handle_get_cancelled, NULL, "As cancelled().", NULL},
    {"_context", handle_get_context, NULL, "As get_context().", NULL},
    {"_source_traceback", handle_get_debug, NULL,
     "Where it was made, in debug mode; else None.", NULL},
    {"_repr", handle_get_debug, NULL,
     "What it looked like before it was cancelled, in debug mode.",
     (void *)1},
    {0},
};

static PyMemberDef handle_members[] = {
    {"__weaklistoffset__", Py_T_PYSSIZET, offsetof(CaHandle, weakrefs),
     Py_READONLY, NULL},
    {0},
};

PyDoc_STRVAR(handle_doc,
"A callback that waits for its turn; made by call_soon() and its kin.\n\n"
"isinstance(handle, asyncio.Handle) holds.\n\n"
"Errors: cannot be created directly (TypeError).\n"
"Threads: the loop's own thread only, cancelled() excepted.");

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, (void *)handle_doc},
    {Py_tp_traverse, ca_handle_tp_traverse},
    {Py_tp_clear, ca_handle_tp_clear},
    {Py_tp_dealloc, handle_tp_dealloc},
    {Py_tp_repr, handle_tp_repr},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {Py_tp_members, handle_members},
    {0, NULL},
};

PyType_Spec ca_handle_spec = {
    .name = "casyncio.Handle",
    .basicsize = sizeof(CaHandle),
    /* BASETYPE for TimerHandle; a Python subclass cannot be instantiated. */
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = handle_slots,
};
