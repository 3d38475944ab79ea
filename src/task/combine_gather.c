/* combine_gather.c - asyncio.gather(), and the future that it returns.
 *
 * Stock's closure is spread over two objects here: the future counts and has
 * the children; the callback, which stands in each child, refers to the
 * future.  Outer future and pending children thus hold each other, as in
 * stock, until the children are done.
 *
 * What a child looks like when its callback runs is another matter: users see
 * the list of children, may call callbacks and reset futures.  There each one
 * is looked at before its fields are read, and asked as stock would ask it if
 * it is not a Future of ours that is done.
 *
 * Native are calls in which every argument is a coroutine, or a Future or Task
 * of ours of the running loop, and tasks are made without a factory.  No code
 * of users runs while the children are made.
 */
#include "task/combine.h"

#include <stddef.h>

typedef struct {
    CaFuture fut;
    PyObject *counted;                 /* strong; list, repeated where an
                                          argument was; NULL at first */
    PyObject *children;                /* strong; _children: the same list,
                                          unless users replace it */
    Py_ssize_t unfinished;             /* different children that count */
    char return_exceptions;
    char cancel_requested;
} CaGathering;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    CaGathering *outer;                /* strong */
    ca_state *st;                      /* borrowed: our type keeps it alive */
} CaGatherCallback;

/* ---- a child is done ---- */

/* outer.method(arg); 0 or -1 */
static int
tell(CaGathering *outer, PyObject *method, PyObject *arg)
{
    PyObject *done = PyObject_CallMethodOneArg((PyObject *)outer, method, arg);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* set_exception(), which has words for what it refuses; 0 or -1. */
static int
fail(ca_state *st, CaGathering *outer, PyObject *exc)
{
    return outer->fut.state == CA_PENDING && PyExceptionInstance_Check(exc) &&
                   !PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)
               ? ca_future_fail(st, &outer->fut, exc)
               : tell(outer, st->names[CA_STR_set_exception], exc);
}

/* The same with the CancelledError of a child. */
static int
fail_cancelled(ca_state *st, CaGathering *outer, PyObject *child)
{
    PyObject *exc = PyObject_CallMethodNoArgs(
        child, st->names[CA_STR__make_cancelled_error]);
    int result = exc == NULL ? -1 : fail(st, outer, exc);
    Py_XDECREF(exc);
    return result;
}

static bool
is_done_future(const ca_state *st, PyObject *child)
{
    return ca_future_check(st, child) &&
           ((CaFuture *)child)->state != CA_PENDING;
}

/* cancelled() and exception(), which counts as retrieving it: 1 when the child
 * was cancelled; 0, with the exception or None in *exc, strong; or -1. */
static int
exception_of(ca_state *st, PyObject *child, PyObject **exc)
{
    if (!is_done_future(st, child)) {
        PyObject *answer = PyObject_CallMethod(child, "cancelled", NULL);
        int cancelled = answer == NULL ? -1 : PyObject_IsTrue(answer);
        Py_XDECREF(answer);
        if (cancelled == 0) {
            *exc = PyObject_CallMethod(child, "exception", NULL);
            cancelled = *exc == NULL ? -1 : 0;
        }
        return cancelled;
    }
    CaFuture *fut = (CaFuture *)child;
    if (fut->state == CA_CANCELLED) {
        return 1;
    }
    fut->log_tb = 0;
    *exc = Py_NewRef(fut->exception != NULL ? fut->exception : Py_None);
    return 0;
}

/* A new CancelledError with the words of the child's. */
static PyObject *
cancelled_error_of(ca_state *st, PyObject *child)
{
    PyObject *msg = PyObject_GetAttrString(child, "_cancel_message");
    PyObject *error = NULL;
    if (msg != NULL) {
        error = msg == Py_None
                    ? PyObject_CallFunction(st->CancelledError, "s", "")
                    : PyObject_CallOneArg(st->CancelledError, msg);
        Py_DECREF(msg);
    }
    return error;
}

/* What stands for a child in the list of results. */
static PyObject *
result_of(ca_state *st, PyObject *child)
{
    PyObject *exc = NULL;
    int cancelled = exception_of(st, child, &exc);
    if (cancelled != 0) {
        return cancelled < 0 ? NULL : cancelled_error_of(st, child);
    }
    if (exc != Py_None) {
        return exc;
    }
    Py_DECREF(exc);
    return is_done_future(st, child) && ((CaFuture *)child)->result != NULL
               ? Py_NewRef(((CaFuture *)child)->result)
               : PyObject_CallMethod(child, "result", NULL);
}

/* The results, and in *last, strong, the last child: the given one if there
 * are no others.  Asking them may change the list. */
static PyObject *
results_of(ca_state *st, PyObject *children, PyObject **last)
{
    PyObject *results = PyList_New(0);
    for (Py_ssize_t i = 0; results != NULL && i < PyList_GET_SIZE(children);
         i++) {
        Py_XSETREF(*last, Py_NewRef(PyList_GET_ITEM(children, i)));
        PyObject *one = result_of(st, *last);
        if (one == NULL || PyList_Append(results, one) < 0) {
            Py_CLEAR(results);
        }
        Py_XDECREF(one);
    }
    return results;
}

static int
finish(ca_state *st, CaGathering *outer, PyObject *child)
{
    PyObject *last = Py_NewRef(child);
    PyObject *children = Py_NewRef(outer->counted);
    PyObject *results = results_of(st, children, &last);
    int done = -1;
    if (results != NULL && outer->cancel_requested) {
        done = fail_cancelled(st, outer, last);
    } else if (results != NULL) {
        done = outer->fut.state == CA_PENDING
                   ? ca_future_finish(st, &outer->fut, results)
                   : tell(outer, st->names[CA_STR_set_result], results);
    }
    Py_XDECREF(results);
    Py_DECREF(children);
    Py_DECREF(last);
    return done;
}

/* The exception of a child that is done; 0 or -1. */
static int
retrieve(ca_state *st, PyObject *child)
{
    PyObject *exc = NULL;
    int cancelled = exception_of(st, child, &exc);
    Py_XDECREF(exc);
    return cancelled < 0 ? -1 : 0;
}

/* 0, or -1 with an exception. */
static int
child_done(ca_state *st, CaGathering *outer, PyObject *child)
{
    outer->unfinished--;
    if (outer->counted == NULL || outer->fut.state != CA_PENDING) {
        return retrieve(st, child);
    }
    if (!outer->return_exceptions) {
        PyObject *exc = NULL;
        int cancelled = exception_of(st, child, &exc);
        if (cancelled != 0) {
            return cancelled < 0 ? -1 : fail_cancelled(st, outer, child);
        }
        int failed = exc == Py_None ? 0 : 1;
        int result = failed ? fail(st, outer, exc) : 0;
        Py_DECREF(exc);
        if (failed) {
            return result;
        }
    }
    return outer->unfinished == 0 ? finish(st, outer, child) : 0;
}

/* ---- the callback ---- */

static PyObject *
callback_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                    PyObject *kwnames)
{
    CaGatherCallback *self = (CaGatherCallback *)op;
    if (PyVectorcall_NARGS(nargsf) != 1 || kwnames != NULL) {
        PyErr_SetString(PyExc_TypeError, "_done_callback() takes the future");
        return NULL;
    }
    if (child_done(self->st, self->outer, args[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
callback_new(ca_state *st, CaGathering *outer)
{
    CaGatherCallback *self = PyObject_GC_New(CaGatherCallback,
                                             st->GatherCallbackType);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = callback_vectorcall;
    self->outer = (CaGathering *)Py_NewRef(outer);
    self->st = st;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
callback_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaGatherCallback *)op)->outer);
    return 0;
}

/* Without its future it has nothing to do; the cycle is broken there, or in
 * the children. */
static void
callback_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_DECREF(((CaGatherCallback *)op)->outer);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyObject *
callback_get_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("_done_callback");
}

static PyObject *
callback_get_qualname(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("gather.<locals>._done_callback");
}

/* Stock's own, for the place that reprs of tasks show. */
static PyObject *
callback_get_wrapped(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(
        ((CaGatherCallback *)op)->st->combine[CA_COMBINE_GATHER_CALLBACK]);
}

static PyGetSetDef callback_getset[] = {
    {"__name__", callback_get_name, NULL, NULL, NULL},
    {"__qualname__", callback_get_qualname, NULL, NULL, NULL},
    {"__wrapped__", callback_get_wrapped, NULL, NULL, NULL},
    {0},
};

static PyMemberDef callback_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET,
     offsetof(CaGatherCallback, vectorcall), Py_READONLY, NULL},
    {0},
};

static PyType_Slot callback_slots[] = {
    {Py_tp_doc, "What gather() has called when one of its futures is done."},
    {Py_tp_dealloc, callback_tp_dealloc},
    {Py_tp_traverse, callback_tp_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getset, callback_getset},
    {Py_tp_members, callback_members},
    {0, NULL},
};

PyType_Spec ca_gather_callback_spec = {
    .name = "casyncio._native.GatherCallback",
    .basicsize = sizeof(CaGatherCallback),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = callback_slots,
};

/* ---- the call ---- */

/* What one call works with. */
typedef struct {
    ca_state *st;
    CaLoop *loop;
    PyObject *const *args;
    Py_ssize_t nargs;
    bool return_exceptions;
    CaGathering *outer;                /* strong */
    PyObject *callback;                /* strong */
    PyObject *context;                 /* strong: the callback's */
    PyObject *children;                /* strong */
    uint32_t *seen;                    /* owned: positions + 1 of arguments in
                                          a hash table, 0 where it is free */
    size_t mask;                       /* its size - 1 */
} gather_call;

/* The position at which the same argument was before, or the given one. */
static Py_ssize_t
first_position(gather_call *call, Py_ssize_t position)
{
    const PyObject *arg = call->args[position];
    size_t slot = ((uintptr_t)arg >> 4) * 0x9E3779B97F4A7C15u >> 20;
    for (slot &= call->mask; call->seen[slot] != 0;
         slot = (slot + 1) & call->mask) {
        Py_ssize_t before = (Py_ssize_t)call->seen[slot] - 1;
        if (call->args[before] == arg) {
            return before;
        }
    }
    call->seen[slot] = (uint32_t)position + 1;
    return position;
}

/* The future of an argument: strong. */
static PyObject *
child_of(gather_call *call, PyObject *arg)
{
    if (!PyCoro_CheckExact(arg)) {
        return Py_NewRef(arg);
    }
    PyObject *task = ca_task_new(call->loop, arg, NULL, NULL, false);
    if (task != NULL) {
        ((CaTask *)task)->m.log_destroy_pending = 0;
    }
    return task;
}

static int
add_child(gather_call *call, Py_ssize_t position)
{
    Py_ssize_t first = first_position(call, position);
    if (first != position) {
        PyObject *known = PyList_GET_ITEM(call->children, first);
        PyList_SET_ITEM(call->children, position, Py_NewRef(known));
        return 0;
    }
    PyObject *child = child_of(call, call->args[position]);
    if (child == NULL) {
        return -1;
    }
    PyList_SET_ITEM(call->children, position, child);
    call->outer->unfinished++;
    if (((CaFuture *)child)->state != CA_PENDING &&
        !call->st->combine_gather_defers) {
        return 0;                      /* see tell_of_finished() */
    }
    return ca_future_add_callback(call->st, (CaFuture *)child, call->callback,
                                  call->context);
}

/* Children that were done before are counted at last. */
static int
tell_of_finished(gather_call *call)
{
    for (Py_ssize_t i = 0; i < call->nargs; i++) {
        PyObject *child = PyList_GET_ITEM(call->children, i);
        if (child != call->args[i] ||
            ((CaFuture *)child)->state == CA_PENDING) {
            continue;
        }
        if (first_position(call, i) == i &&
            child_done(call->st, call->outer, child) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
gather(gather_call *call)
{
    ca_state *st = call->st;
    PyTypeObject *type = st->GatheringType;
    size_t size = 8;
    while (size < (size_t)call->nargs * 2) {
        size *= 2;
    }
    call->mask = size - 1;
    call->seen = PyMem_Calloc(size, sizeof(*call->seen));
    call->children = PyList_New(call->nargs);
    call->outer = (CaGathering *)type->tp_alloc(type, 0);
    if (call->seen == NULL || call->children == NULL || call->outer == NULL) {
        return -1;
    }
    call->outer->fut.loop = Py_NewRef(call->loop);
    call->outer->fut.state = CA_PENDING;
    call->outer->return_exceptions = call->return_exceptions;
    call->callback = callback_new(st, call->outer);
    call->context = PyContext_CopyCurrent();
    if (call->callback == NULL || call->context == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < call->nargs; i++) {
        if (add_child(call, i) < 0) {
            return -1;
        }
    }
    call->outer->counted = Py_NewRef(call->children);
    call->outer->children = Py_NewRef(call->children);
    return st->combine_gather_defers ? 0 : tell_of_finished(call);
}

/* Bind return_exceptions; false when anything is unusual. */
static bool
bind(ca_state *st, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
     gather_call *call)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (nargs == 0 || nargs >= UINT32_MAX / 4 || nkw > 1) {
        return false;
    }
    if (nkw == 1) {
        if (PyTuple_GET_ITEM(kwnames, 0) !=
                st->names[CA_STR_return_exceptions] ||
            !PyBool_Check(args[nargs])) {
            return false;
        }
        call->return_exceptions = args[nargs] == Py_True;
    }
    call->loop = ca_combine_loop(st);
    if (call->loop == NULL || call->loop->task_factory != Py_None ||
        st->GatheringType == NULL) {
        return false;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        if (!PyCoro_CheckExact(args[i]) &&
            (!ca_future_check(st, args[i]) ||
             ((CaFuture *)args[i])->loop != (PyObject *)call->loop)) {
            return false;
        }
    }
    return true;
}

PyObject *
ca_gather_call(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    gather_call call = {.st = st, .args = args, .nargs = nargs};
    if (!bind(st, args, nargs, kwnames, &call)) {
        return ca_combine_call_stock(st, CA_COMBINE_GATHER, args, nargs,
                                     kwnames);
    }
    if (gather(&call) < 0) {
        Py_CLEAR(call.outer);          /* its children find it without any */
        if (!PyErr_Occurred()) {
            PyErr_NoMemory();
        }
    }
    PyMem_Free(call.seen);
    Py_XDECREF(call.callback);
    Py_XDECREF(call.context);
    Py_XDECREF(call.children);
    return (PyObject *)call.outer;
}

/* ---- the future ---- */

/* 1 when the child was cancelled, 0 when it was not, -1 on error.  It may wait
 * for the one that cancels it. */
static int
cancel_child(ca_state *st, PyObject *child, PyObject *msg)
{
    if (Py_EnterRecursiveCall(" while futures are cancelled")) {
        return -1;
    }
    PyObject *stack[2] = {child, msg};
    PyObject *done = ca_future_check(st, child)
                         ? PyObject_CallMethodOneArg(
                               child, st->names[CA_STR_cancel], msg)
                         : PyObject_VectorcallMethod(st->names[CA_STR_cancel],
                                                     stack, 1, st->kw_msg);
    int result = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    Py_LeaveRecursiveCall();
    return result;
}

/* What cancel() goes through: strong, a list. */
static PyObject *
children_of(CaGathering *self)
{
    PyObject *children = PyObject_GetAttrString((PyObject *)self, "_children");
    if (children != NULL && !PyList_CheckExact(children)) {
        Py_SETREF(children, PySequence_List(children));
    }
    return children;
}

PyDoc_STRVAR(cancel_doc,
"cancel($self, /, msg=None)\n--\n\n"
"Cancel all children; False when the future is done, or no child could be\n"
"cancelled.\n\n"
"The future itself is done when the children are.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Running Tasks Concurrently\".");

static PyObject *
gathering_py_cancel(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"msg", NULL};
    CaGathering *self = (CaGathering *)op;
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    PyObject *msg = Py_None;
    if (st == NULL || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O:cancel",
                                                   keywords, &msg)) {
        return NULL;
    }
    if (self->fut.state != CA_PENDING ||
        (self->counted == NULL && self->children == NULL)) {
        Py_RETURN_FALSE;
    }
    PyObject *children = children_of(self);
    bool any = false;
    int one = children == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; one >= 0 && i < PyList_GET_SIZE(children); i++) {
        PyObject *child = Py_NewRef(PyList_GET_ITEM(children, i));
        one = cancel_child(st, child, msg);
        any = any || one > 0;
        Py_DECREF(child);
    }
    Py_XDECREF(children);
    if (one < 0) {
        return NULL;
    }
    if (any) {
        self->cancel_requested = 1;
    }
    return PyBool_FromLong(any);
}

static int
gathering_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    Py_VISIT(((CaGathering *)op)->counted);
    Py_VISIT(((CaGathering *)op)->children);
    return st == NULL ? 0 : st->StockFuture->tp_traverse(op, visit, arg);
}

static int
gathering_tp_clear(PyObject *op)
{
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    Py_CLEAR(((CaGathering *)op)->counted);
    Py_CLEAR(((CaGathering *)op)->children);
    return st == NULL ? 0 : st->StockFuture->tp_clear(op);
}

static void
gathering_tp_dealloc(PyObject *op)
{
    PyObject_GC_UnTrack(op);
    Py_CLEAR(((CaGathering *)op)->counted);
    Py_CLEAR(((CaGathering *)op)->children);
    ca_future_tp_dealloc(op);
}

static PyMethodDef gathering_methods[] = {
    {"cancel", (PyCFunction)(void (*)(void))gathering_py_cancel,
     METH_VARARGS | METH_KEYWORDS, cancel_doc},
    {0},
};

static PyMemberDef gathering_members[] = {
    {"_children", Py_T_OBJECT_EX, offsetof(CaGathering, children), 0,
     "The futures that it waits for."},
    {"_cancel_requested", Py_T_BOOL, offsetof(CaGathering, cancel_requested),
     0, "Whether cancel() has cancelled one."},
    {0},
};

PyDoc_STRVAR(gathering_doc,
"The future that gather() returns; asyncio's class derives from it.");

static PyType_Slot gathering_slots[] = {
    {Py_tp_doc, (void *)gathering_doc},
    {Py_tp_traverse, gathering_tp_traverse},
    {Py_tp_clear, gathering_tp_clear},
    {Py_tp_dealloc, gathering_tp_dealloc},
    {Py_tp_methods, gathering_methods},
    {Py_tp_members, gathering_members},
    {0, NULL},
};

PyType_Spec ca_gathering_spec = {
    .name = "casyncio._native.GatheringFuture",
    .basicsize = sizeof(CaGathering),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | CA_MIRROR_FLAGS,
    .slots = gathering_slots,
};
