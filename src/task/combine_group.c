/* combine_group.c - TaskGroup: the way in which nothing goes wrong.
 *
 * casyncio.TaskGroup derives from the type here and from asyncio's class; the
 * fields here stand for the attributes that asyncio's methods use.  Native are
 * entering, making a plain task, hearing that one has returned or was
 * cancelled, and waiting for them at the end.  As soon as something fails, is
 * cancelled or refused, asyncio's method goes on from the same fields.  Users
 * can write all of them at any time: each is looked at before it is used as
 * what it ought to be.
 */
#include "task/combine.h"

#include "task/awaited.h"

#include <stddef.h>

typedef struct {
    PyObject_HEAD
    PyObject *loop;                    /* strong; so are all below, or NULL
                                          for None */
    PyObject *parent;
    PyObject *tasks;                   /* a set */
    PyObject *errors;                  /* a list; NULL: still empty */
    PyObject *base_error;
    PyObject *completed;               /* the future of who waits for all */
    char entered;
    char exiting;
    char aborting;
    char parent_cancel_requested;
} CaGroup;

static inline CaGroup *
as_group(PyObject *op)
{
    return (CaGroup *)op;
}

static bool
is_none(PyObject *field)
{
    return field == NULL || field == Py_None;
}

/* Who awaits the tasks, where futures know (3.14); else NULL.  Borrowed. */
static CaTask *
waiter_of(const ca_state *st, const CaGroup *self)
{
    return CA_TASKS_LINKED && self->parent != NULL &&
                   PyObject_TypeCheck(self->parent, st->StockFuture)
               ? (CaTask *)self->parent
               : NULL;
}

/* ---- entering ---- */

static PySendResult
aenter_start(CaCombineCall *coro, PyObject **result)
{
    PyObject *op = coro->args[0];
    CaGroup *self = as_group(op);
    CaLoop *loop = Py_IS_TYPE(op, coro->c.st->GroupType) && !self->entered &&
                           is_none(self->loop)
                       ? ca_combine_loop(coro->c.st)
                       : NULL;
    CaTask *task = loop == NULL ? NULL : ca_combine_task(loop);
    if (task == NULL) {
        return ca_coro_delegate(&coro->c, result);
    }
    Py_XSETREF(self->loop, Py_NewRef(loop));
    Py_XSETREF(self->parent, Py_NewRef(task));
    self->entered = 1;
    *result = Py_NewRef(op);
    return PYGEN_RETURN;
}

/* ---- tasks ---- */

/* The bound method that stands in every task: strong. */
static PyObject *
on_task_done(ca_state *st, CaGroup *self)
{
    return PyObject_GetAttr((PyObject *)self, st->names[CA_STR__on_task_done]);
}

/* Whether create_task() is to make a task as any other. */
static bool
is_open(ca_state *st, CaGroup *self)
{
    return Py_IS_TYPE(self, st->GroupType) && self->entered &&
           !self->aborting && self->tasks != NULL &&
           PySet_CheckExact(self->tasks) &&
           (!self->exiting || PySet_GET_SIZE(self->tasks) > 0) &&
           self->loop != NULL;
}

static int
adopt(ca_state *st, CaGroup *self, PyObject *task)
{
    PyObject *tasks = Py_NewRef(self->tasks); /* hashes run Python */
    PyObject *callback = on_task_done(st, self);
    PyObject *context = PyContext_CopyCurrent();
    int result = callback == NULL || context == NULL ? -1
                                                     : PySet_Add(tasks, task);
    Py_DECREF(tasks);
    if (result == 0) {
        result = ca_future_add_callback(st, (CaFuture *)task, callback,
                                        context);
    }
    Py_XDECREF(callback);
    Py_XDECREF(context);
    CaTask *waiter = waiter_of(st, self);
    if (result == 0 && waiter != NULL) {
        result = ca_awaited_add((CaFuture *)task, waiter);
    }
    return result;
}

/* Bind name= and context= where they are plain; false for anything else. */
static bool
bind_task(ca_state *st, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames, PyObject **name, PyObject **context)
{
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    if (nargs != 1 || !PyCoro_CheckExact(args[0])) {
        return false;
    }
    for (Py_ssize_t k = 0; k < nkw; k++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, k);
        PyObject *value = args[nargs + k];
        if (key == st->names[CA_STR_name] &&
            (value == Py_None || PyUnicode_CheckExact(value))) {
            *name = value;
        } else if (key == st->names[CA_STR_context] &&
                   (value == Py_None || PyContext_CheckExact(value))) {
            *context = value;
        } else {
            return false;
        }
    }
    return true;
}

/* The loop, if it makes plain tasks; borrowed. */
static CaLoop *
plain_loop_of(ca_state *st, CaGroup *self)
{
    CaLoop *loop = ca_combine_loop(st);
    return loop != NULL && (PyObject *)loop == self->loop &&
                   loop->task_factory == Py_None
               ? loop
               : NULL;
}

PyDoc_STRVAR(create_task_doc,
"create_task($self, /, coro, **kwargs)\n--\n\n"
"Run a coroutine as a task of the group.\n\n"
"Keywords are those of the running Python's TaskGroup.create_task().\n\n"
"Errors: RuntimeError when the group was not entered, is finished or shuts\n"
"down.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Task groups\".");

static PyObject *
group_py_create_task(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    CaGroup *self = as_group(op);
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    PyObject *name = NULL;
    PyObject *context = NULL;
    if (st == NULL) {
        return NULL;
    }
    CaLoop *loop = is_open(st, self) &&
                           bind_task(st, args, nargs, kwnames, &name, &context)
                       ? plain_loop_of(st, self)
                       : NULL;
    if (loop == NULL) {
        return ca_combine_call_group(st, st->names[CA_STR_create_task], op,
                                     args, nargs, kwnames);
    }
    PyObject *task = ca_task_new(loop, args[0], name, context, false);
    if (task != NULL && adopt(st, self, task) < 0) {
        Py_CLEAR(task);
    }
    return task;
}

PyDoc_STRVAR(on_task_done_doc,
"_on_task_done($self, task, /)\n--\n\nA task of the group is done.");

/* Whether a task, which is done, leaves the group without further notice. */
static bool
leaves_quietly(const ca_state *st, const CaGroup *self, PyObject *task)
{
    const CaFuture *fut = (CaFuture *)task;
    return Py_IS_TYPE(task, st->TaskType) && self->tasks != NULL &&
           PySet_CheckExact(self->tasks) && fut->state != CA_PENDING &&
           (fut->state != CA_FINISHED || fut->exception == NULL);
}

static int
forget_task(ca_state *st, CaGroup *self, CaFuture *task)
{
    PyObject *tasks = Py_NewRef(self->tasks);
    int result = PySet_Discard(tasks, (PyObject *)task);
    Py_DECREF(tasks);
    CaTask *waiter = waiter_of(st, self);
    if (result >= 0 && waiter != NULL) {
        result = ca_awaited_discard(task, waiter);
    }
    if (task->state == CA_FINISHED) {
        task->log_tb = 0;
    }
    return result < 0 ? -1 : 0;
}

/* Tell who waits for all: 1, 0 if that is asyncio's affair, -1 on error. */
static int
tell_waiting(ca_state *st, CaGroup *self)
{
    if (is_none(self->completed)) {
        return 1;
    }
    if (!Py_IS_TYPE(self->completed, st->FutureType) || self->tasks == NULL ||
        !PySet_CheckExact(self->tasks)) {
        return 0;
    }
    CaFuture *completed = (CaFuture *)self->completed;
    if (PySet_GET_SIZE(self->tasks) > 0 || completed->state != CA_PENDING) {
        return 1;
    }
    return ca_future_finish(st, completed, Py_True) < 0 ? -1 : 1;
}

/* Tasks that have failed are asyncio's affair. */
static PyObject *
group_py_on_task_done(PyObject *op, PyObject *task)
{
    CaGroup *self = as_group(op);
    ca_state *st = ca_state_of_type(Py_TYPE(op));
    if (st == NULL) {
        return NULL;
    }
    int told = 0;
    if (leaves_quietly(st, self, task)) {
        told = forget_task(st, self, (CaFuture *)task) < 0
                   ? -1
                   : tell_waiting(st, self);
    }
    if (told == 0) {                   /* which bears it a second time */
        return ca_combine_call_group(st, st->names[CA_STR__on_task_done], op,
                                     &task, 1, NULL);
    }
    return told < 0 ? NULL : Py_NewRef(Py_None);
}

/* ---- leaving ---- */

enum { ARG_GROUP, ARG_TYPE, ARG_EXC, ARG_TB };

/* Nothing has gone wrong, and nobody has put something odd into a field. */
static bool
is_well(ca_state *st, const CaGroup *self)
{
    return Py_IS_TYPE(self, st->GroupType) && self->tasks != NULL &&
           PySet_CheckExact(self->tasks) && is_none(self->base_error) &&
           self->errors != NULL && PyList_CheckExact(self->errors) &&
           PyList_GET_SIZE(self->errors) == 0 &&
           !self->parent_cancel_requested && !self->aborting &&
           is_none(self->completed) && self->loop != NULL;
}

/* Wait until the set of tasks is empty; then the group is left. */
static PySendResult
wait_for_tasks(CaCombineCall *coro, PyObject **result)
{
    ca_state *st = coro->c.st;
    CaGroup *self = as_group(coro->args[ARG_GROUP]);
    if (!is_well(st, self)) {
        return ca_coro_delegate(&coro->c, result);
    }
    if (PySet_GET_SIZE(self->tasks) == 0) {
        if (st->combine_group_forgets) {
            Py_CLEAR(self->parent);
            Py_CLEAR(self->errors);
            Py_CLEAR(self->base_error);
        }
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    CaLoop *loop = ca_combine_loop(st);
    if (loop == NULL || (PyObject *)loop != self->loop) {
        return ca_coro_delegate(&coro->c, result);
    }
    PyObject *future = ca_future_new(loop);
    if (future == NULL) {
        return PYGEN_ERROR;
    }
    Py_XSETREF(self->completed, Py_NewRef(future));
    Py_XSETREF(coro->c.future, future);
    ((CaFuture *)future)->blocking = 1;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

static PySendResult
aexit_start(CaCombineCall *coro, PyObject **result)
{
    if (coro->args[ARG_TYPE] != Py_None || coro->args[ARG_EXC] != Py_None) {
        return ca_coro_delegate(&coro->c, result);
    }
    if (is_well(coro->c.st, as_group(coro->args[ARG_GROUP]))) {
        as_group(coro->args[ARG_GROUP])->exiting = 1;
    }
    return wait_for_tasks(coro, result);
}

/* asyncio's __aexit__(), brought to where it waits: strong.  What it waits for
 * is `future`, of no consequence, since ours may be done; so it sees a task to
 * wait for, and not what may have become of the fields.  When it began nothing
 * was wrong. */
static PyObject *
stock_that_waits(CaCombineCall *coro, PyObject *future)
{
    CaGroup *self = as_group(coro->args[ARG_GROUP]);
    PyObject *yielded = NULL;
    PyObject *one = PySet_New(NULL);
    if (one == NULL || PySet_Add(one, future) < 0) {
        Py_XDECREF(one);
        return NULL;
    }
    PyObject *tasks = self->tasks;
    PyObject *completed = self->completed;
    char requested = self->parent_cancel_requested;
    self->tasks = one;
    self->parent_cancel_requested = 0;
    self->completed = Py_NewRef(future);
    PyObject *inner = ca_combine_call_stock(coro->c.st, coro->op->stock,
                                            coro->args, coro->nargs, NULL);
    if (inner != NULL && PyIter_Send(inner, Py_None, &yielded) != PYGEN_NEXT) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_SystemError,
                            "TaskGroup.__aexit__() did not wait");
        }
        Py_CLEAR(inner);
    }
    self->parent_cancel_requested = requested;
    Py_XSETREF(self->tasks, tasks);
    Py_XSETREF(self->completed, completed);
    Py_XDECREF(yielded);
    return inner;
}

/* A future of the loop in which the group was waited for: strong. */
static PyObject *
another_future(ca_state *st, const CaFuture *waited)
{
    PyObject *loop = waited->loop;
    if (loop == NULL || !PyObject_TypeCheck(loop, st->LoopType)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "the future that is awaited has lost its loop");
        return NULL;
    }
    return ca_future_new((CaLoop *)loop);
}

/* Go on as asyncio's coroutine from where it waits, for `waited`: with `exc`
 * thrown in, or, if that is NULL, woken up. */
static PySendResult
go_on_as_stock(CaCombineCall *coro, PyObject *waited, PyObject *exc,
               PyObject **result)
{
    PyObject *future = another_future(coro->c.st, (CaFuture *)waited);
    PyObject *inner = future == NULL ? NULL : stock_that_waits(coro, future);
    PySendResult status = PYGEN_ERROR;
    if (inner != NULL && exc != NULL) {
        status = ca_coro_delegate_thrown(&coro->c, inner, exc, result);
    } else if (inner != NULL) {
        Py_XSETREF(coro->c.inner, inner);
        if (ca_future_finish(coro->c.st, (CaFuture *)future, Py_True) == 0) {
            status = ca_coro_delegate_sent(&coro->c, result);
        }
    }
    Py_XDECREF(future);
    return status;
}

static PySendResult
aexit_thrown(CaCombineCall *coro, PyObject *exc, PyObject **result)
{
    PyObject *waited = coro->c.future;
    coro->c.future = NULL;
    PySendResult status = go_on_as_stock(coro, waited, exc, result);
    Py_DECREF(waited);
    return status;
}

/* The future is done: all tasks are, unless there are new ones. */
static PySendResult
aexit_resume(CaCombineCall *coro, PyObject *Py_UNUSED(value),
             PyObject **result)
{
    CaGroup *self = as_group(coro->args[ARG_GROUP]);
    PyObject *waited = coro->c.future;
    coro->c.future = NULL;
    PySendResult status;
    if (!ca_coro_future_has_result(coro->c.st, (CaFuture *)waited)) {
        PyObject *exc = PyErr_GetRaisedException();
        status = go_on_as_stock(coro, waited, exc, result);
        Py_DECREF(exc);
    } else {
        Py_CLEAR(self->completed);
        status = is_well(coro->c.st, self)
                     ? wait_for_tasks(coro, result)
                     : go_on_as_stock(coro, waited, NULL, result);
    }
    Py_DECREF(waited);
    return status;
}

static const ca_combine_op aenter_op = {
    .qualname = "TaskGroup.__aenter__",
    .stock = CA_COMBINE_GROUP_ENTER,
    .start = aenter_start,
    .resume = ca_combinecall_resume_never,
    .thrown = ca_combinecall_thrown_never,
};

static const ca_combine_op aexit_op = {
    .qualname = "TaskGroup.__aexit__",
    .stock = CA_COMBINE_GROUP_EXIT,
    .start = aexit_start,
    .resume = aexit_resume,
    .thrown = aexit_thrown,
};

PyDoc_STRVAR(aenter_doc,
"__aenter__($self)\n--\n\nEnter the group; returns a coroutine.");

static PyObject *
group_py_aenter(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_combinecall_enter(op, &aenter_op);
}

PyDoc_STRVAR(aexit_doc,
"__aexit__($self, et, exc, tb, /)\n--\n\n"
"Wait for the tasks, and raise what they have raised; returns a coroutine.");

static PyObject *
group_py_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return ca_combinecall_exit(op, &aexit_op, args, nargs);
}

/* ---- the type ---- */

static PyMethodDef group_methods[] = {
    {"__aenter__", group_py_aenter, METH_NOARGS, aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))group_py_aexit, METH_FASTCALL,
     aexit_doc},
    {"create_task", (PyCFunction)(void (*)(void))group_py_create_task,
     METH_FASTCALL | METH_KEYWORDS, create_task_doc},
    {"_on_task_done", group_py_on_task_done, METH_O, on_task_done_doc},
    {0},
};

#define FIELD(name, field, doc) \
    {name, CA_T_OBJECT_OR_NONE, offsetof(CaGroup, field), 0, doc}
#define MUST(name, field, doc) \
    {name, Py_T_OBJECT_EX, offsetof(CaGroup, field), 0, doc}
#define FLAG(name, field, doc) \
    {name, Py_T_BOOL, offsetof(CaGroup, field), 0, doc}
static PyMemberDef group_members[] = {
    MUST("_loop", loop, "The loop of its tasks, once entered."),
    FIELD("_parent_task", parent, "The task that entered it."),
    MUST("_tasks", tasks, "Its tasks that are not done."),
    FIELD("_errors", errors, "What its tasks have raised."),
    FIELD("_base_error", base_error,
          "The KeyboardInterrupt or SystemExit of a task, or None."),
    FIELD("_on_completed_fut", completed,
          "The future that the end of the block waits for, or None."),
    FLAG("_entered", entered, "Whether its block was entered."),
    FLAG("_exiting", exiting, "Whether its block is over."),
    FLAG("_aborting", aborting, "Whether its tasks are being cancelled."),
    FLAG("_parent_cancel_requested", parent_cancel_requested,
         "Whether it has cancelled the task that entered it."),
    {0},
};
#undef FIELD
#undef MUST
#undef FLAG

static int
group_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaGroup *self = as_group(op);
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->parent);
    Py_VISIT(self->tasks);
    Py_VISIT(self->errors);
    Py_VISIT(self->base_error);
    Py_VISIT(self->completed);
    return 0;
}

static int
group_tp_clear(PyObject *op)
{
    CaGroup *self = as_group(op);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->parent);
    Py_CLEAR(self->tasks);
    Py_CLEAR(self->errors);
    Py_CLEAR(self->base_error);
    Py_CLEAR(self->completed);
    return 0;
}

static void
group_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)group_tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(group_doc,
"Native half of casyncio.TaskGroup: the fields that asyncio's methods use.");

static PyType_Slot group_slots[] = {
    {Py_tp_doc, (void *)group_doc},
    {Py_tp_traverse, group_tp_traverse},
    {Py_tp_clear, group_tp_clear},
    {Py_tp_dealloc, group_tp_dealloc},
    {Py_tp_methods, group_methods},
    {Py_tp_members, group_members},
    {0, NULL},
};

PyType_Spec ca_group_spec = {
    .name = "casyncio._native.TaskGroup",
    .basicsize = sizeof(CaGroup),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = group_slots,
};
