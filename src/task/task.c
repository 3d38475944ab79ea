/* task.c - the Task type: birth, death, and the methods that differ.
 *
 * cancel(), uncancel(), cancelling(), set_name(), get_stack() and the rest are
 * the base's own: they work on the same struct.
 */
#include "task/task.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/freelist.h"
#include "task/awaited.h"
#include "task/eager.h"
#include "task/registry.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)
#define AS_FUTURE(task) ((CaFuture *)(task))

/* ---- bound methods, as stock hands them to call_soon() ---- */

static PyObject *
method_step(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    CaTask *task = (CaTask *)op;
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError, "step() takes at most 1 argument");
        return NULL;
    }
    /* The handle has entered the task's context already. */
    if (ca_task_step_entered(task, nargs == 1 ? args[0] : NULL) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
method_wakeup(PyObject *op, PyObject *fut)
{
    CaTask *task = (CaTask *)op;
    ca_state *st = ca_future_state(op);
    PyObject *exc = NULL;
    if (st == NULL || ca_awaited_discard_any(st, fut, task) < 0) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethod(fut, "result", NULL);
    if (result == NULL) {
        exc = PyErr_GetRaisedException();
    }
    Py_XDECREF(result);
    int done = ca_task_step_entered(task, exc);
    Py_XDECREF(exc);
    if (done < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef step_def = {"task_step", FASTCALL(method_step),
                               METH_FASTCALL, NULL};
static PyMethodDef wakeup_def = {"task_wakeup", method_wakeup, METH_O, NULL};

PyObject *
ca_task_step_method(CaTask *task)
{
    return PyCFunction_New(&step_def, (PyObject *)task);
}

PyObject *
ca_task_wakeup_method(CaTask *task)
{
    return PyCFunction_New(&wakeup_def, (PyObject *)task);
}

/* ---- futures of other kinds ---- */

PyObject *
ca_task_loop_of(ca_state *st, PyObject *fut)
{
    PyObject *get_loop = PyObject_GetAttr(fut, st->names[CA_STR_get_loop]);
    if (get_loop == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        return PyObject_GetAttr(fut, st->names[CA_STR__loop]);
    }
    PyObject *loop = PyObject_CallNoArgs(get_loop);
    Py_DECREF(get_loop);
    return loop;
}

int
ca_task_add_wakeup(ca_state *st, CaTask *task, PyObject *fut)
{
    PyObject *method = ca_task_wakeup_method(task);
    if (method == NULL) {
        return -1;
    }
    PyObject *context = Py_NewRef(task->m.context);
    PyObject *stack[3] = {fut, method, context};
    PyObject *done = PyObject_VectorcallMethod(
        st->names[CA_STR_add_done_callback], stack,
        2 | PY_VECTORCALL_ARGUMENTS_OFFSET, st->kw_context);
    Py_DECREF(context);
    Py_DECREF(method);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- birth ---- */

/* Number a task without a name; it is written out when it is asked for. */
static int
set_number(CaTask *task, uint64_t number)
{
#if CA_TASKS_LINKED
    Py_XSETREF(task->m.name, PyLong_FromUnsignedLongLong(number));
    return task->m.name == NULL ? -1 : 0;
#else
    task->number = number;
    Py_CLEAR(task->m.name);
    return 0;
#endif
}

int
ca_task_rename(CaTask *task, PyObject *name)
{
    PyObject *text = PyUnicode_CheckExact(name) ? Py_NewRef(name)
                                                : PyObject_Str(name);
    if (text == NULL) {
        return -1;
    }
    Py_XSETREF(task->m.name, text);
    return 0;
}

static int
set_name(ca_state *st, CaTask *task, PyObject *name)
{
    if (name != NULL && name != Py_None) {
        return ca_task_rename(task, name);
    }
    return set_number(task, ++st->task_count);
}

/* 1 for a coroutine, 0 for something else, -1 on error. */
static int
is_coroutine(ca_state *st, PyObject *coro)
{
    if (PyCoro_CheckExact(coro)) {
        return 1;
    }
    PyObject *answer = PyObject_CallOneArg(st->iscoroutine, coro);
    int result = answer == NULL ? -1 : PyObject_IsTrue(answer);
    Py_XDECREF(answer);
    return result;
}

/* Fill a fresh native task and queue its first step, or do it; 0 or -1.  The
 * order of what can fail is stock's: coroutine, context, name, call_soon. */
static int
start(CaTask *task, CaLoop *loop, PyObject *coro, PyObject *name,
      PyObject *context, bool eager)
{
    ca_state *st = loop->st;
    task->m.loop = Py_NewRef(loop);
    task->m.state = CA_PENDING;
    task->m.context = context == NULL || context == Py_None
                          ? PyContext_CopyCurrent()
                          : Py_NewRef(context);
    if (task->m.context == NULL) {
        return -1;
    }
    task->m.log_destroy_pending = 1;
    task->m.coro = Py_NewRef(coro);
    task->native = true;
    if (set_name(st, task, name) < 0) {
        return -1;
    }
    if (eager) {
        return ca_eager_step(loop, task);
    }
    if (ca_task_queue_step(loop, task) < 0) {
        return -1;
    }
    return ca_registry_add(st, task);
}

static CaTask *
allocate(ca_state *st)
{
    CaTask *task;
    if (st->tasks.top != NULL) {
        task = (CaTask *)ca_freelist_take(&st->tasks, st->TaskType);
        task->m.loop = NULL;           /* where the free list had its link */
        PyObject_GC_Track(task);
    } else {
        task = (CaTask *)st->TaskType->tp_alloc(st->TaskType, 0);
    }
    if (task != NULL) {
        ca_registry_prepare(task);
    }
    return task;
}

PyObject *
ca_task_new(CaLoop *loop, PyObject *coro, PyObject *name, PyObject *context,
            bool eager)
{
    ca_state *st = loop->st;
    int known = is_coroutine(st, coro);
    if (known <= 0) {
        if (known == 0) {
            PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R",
                         coro);
        }
        return NULL;
    }
    CaTask *task = allocate(st);
    if (task == NULL) {
        return NULL;
    }
    if (start(task, loop, coro, name, context, eager) < 0) {
        if (!eager) {
            task->m.log_destroy_pending = 0;
        }
        Py_DECREF(task);
        return NULL;
    }
    return (PyObject *)task;
}

/* A task before __init__, without what start() would have set. */
static CaTask *
blank(ca_state *st)
{
    CaTask *task = allocate(st);
    if (task != NULL) {
        task->m.state = CA_PENDING;
        task->m.log_destroy_pending = 0;
#if !CA_TASKS_LINKED
        task->number = 0;
#endif
    }
    return task;
}

static PyObject *
task_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ca_state *st = ca_state_of_type(type);
    if (st == NULL) {
        return NULL;
    }
    if (type == st->TaskType) {
        return (PyObject *)blank(st);
    }
    PyObject *op = st->StockTask->tp_new(type, args, kwargs);
    if (op != NULL) {
        ca_registry_prepare((CaTask *)op);
    }
    return op;
}

/* What Task(...) was given; borrowed. */
typedef struct {
    PyObject *coro;
    PyObject *loop;
    PyObject *name;
    PyObject *context;
    PyObject *eager_start;
    bool eager;                        /* how is_usual_init() understands it */
} init_args;

static bool
parse_init(PyObject *args, PyObject *kwargs, init_args *given)
{
    static char *keywords[] = {"coro",    "loop",        "name",
                               "context", "eager_start", NULL};
    *given = (init_args){0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OOOO", keywords,
                                     &given->coro, &given->loop, &given->name,
                                     &given->context, &given->eager_start)) {
        PyErr_Clear();
        return false;
    }
    return true;
}

/* Whether Task(...) can start natively; else the base's __init__ must do
 * it. */
static bool
is_usual_init(ca_state *st, CaTask *task, PyObject *args, PyObject *kwargs,
              init_args *given)
{
    if (!parse_init(args, kwargs, given) || task->m.loop != NULL ||
        ca_future_native_loop(st, given->loop) == NULL) {
        return false;
    }
    if (given->eager_start != NULL) {
        ca_eager_when when = PyBool_Check(given->eager_start)
                                 ? ca_eager_start_of((CaLoop *)given->loop)
                                 : CA_EAGER_BASE;
        if (when == CA_EAGER_BASE) {
            return false;
        }
        given->eager = when == CA_EAGER_NOW && given->eager_start == Py_True;
    }
    return given->context == NULL || given->context == Py_None ||
           PyContext_CheckExact(given->context);
}

/* The keywords of Task(...) and a name with a number of our count, since the
 * base counts by itself and two tasks would have one name. */
static PyObject *
add_name(ca_state *st, PyObject *kwargs)
{
    PyObject *all = kwargs == NULL ? PyDict_New() : PyDict_Copy(kwargs);
    PyObject *name = PyUnicode_FromFormat(
        "Task-%llu", (unsigned long long)++st->task_count);
    if (all == NULL || name == NULL ||
        PyDict_SetItem(all, st->names[CA_STR_name], name) < 0) {
        Py_CLEAR(all);
    }
    Py_XDECREF(name);
    return all;
}

static int
base_init(ca_state *st, CaTask *task, PyObject *args, PyObject *kwargs)
{
    PyObject *op = (PyObject *)task;
    init_args given;
    int nameless = parse_init(args, kwargs, &given) &&
                   (given.name == NULL || given.name == Py_None);
    if (nameless) {
        nameless = is_coroutine(st, given.coro);
    }
    if (nameless <= 0) {
        return nameless < 0 ? -1 : st->StockTask->tp_init(op, args, kwargs);
    }
    PyObject *named = add_name(st, kwargs);
    int done = named == NULL ? -1 : st->StockTask->tp_init(op, args, named);
    Py_XDECREF(named);
    return done;
}

static int
task_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    ca_state *st = ca_future_state(op);
    CaTask *task = (CaTask *)op;
    init_args given;
    if (st == NULL) {
        return -1;
    }
    if (is_usual_init(st, task, args, kwargs, &given)) {
        int known = is_coroutine(st, given.coro);
        if (known < 0) {
            return -1;
        }
        if (known > 0 && task->m.loop == NULL) { /* or it was asked for */
            return start(task, (CaLoop *)given.loop, given.coro, given.name,
                         given.context, given.eager);
        }
    }
    task->native = false;
    return base_init(st, task, args, kwargs);
}

/* ---- death ---- */

static bool
has_report(const CaTask *task)
{
    return task->m.log_tb ||
           (task->m.state == CA_PENDING && task->m.log_destroy_pending);
}

/* What only some Pythons have in a task, for the next one. */
static void
reset(CaTask *task)
{
    ca_awaited_reset(AS_FUTURE(task));
#if !CA_TASKS_LINKED
    task->published = false;
#endif
}

/* An untracked task without a report lets go of all it has, and of itself. */
static void
bury(ca_state *st, PyObject *op)
{
    CaTask *task = (CaTask *)op;
    PyTypeObject *type = Py_TYPE(op);
    ca_registry_remove(task);
    if (ca_object_has_weakrefs(op)) {
        PyObject_ClearWeakRefs(op);
    }
    if (ca_object_has_dict(op) || ca_awaited_any(AS_FUTURE(task))) {
        (void)st->StockTask->tp_clear(op);
    }
    ca_future_release(AS_FUTURE(task));
    Py_CLEAR(task->m.fut_waiter);
    Py_CLEAR(task->m.coro);
    Py_CLEAR(task->m.name);
    Py_CLEAR(task->m.context);
    if (type == st->TaskType && !PyObject_GC_IsFinalized(op)) {
        reset(task);                   /* see future.c */
        task->native = false;
        task->m.must_cancel = 0;
        task->m.num_cancels_requested = 0;
        task->m.log_tb = 0;
        task->m.blocking = 0;
        ca_freelist_give(&st->tasks, op, CA_FREELIST_TASKS);
        return;
    }
    type->tp_free(op);
    Py_DECREF(type);
}

void
ca_task_tp_dealloc(PyObject *op)
{
    ca_state *st = ca_future_state(op);
    bool exact = Py_IS_TYPE(op, st->TaskType);
    if ((!exact || has_report((CaTask *)op)) &&
        PyObject_CallFinalizerFromDealloc(op) < 0) {
        return;                        /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (!exact) {
        bury(st, op);                  /* within the subclass' trashcan */
        return;
    }
    Py_TRASHCAN_BEGIN(op, ca_task_tp_dealloc);
    bury(st, op);
    Py_TRASHCAN_END;
}

/* ---- methods ---- */

#if !CA_TASKS_LINKED

PyDoc_STRVAR(get_name_doc,
"get_name($self, /)\n--\n\n"
"Return the name of the task: the one that was given, or Task-N.\n\n"
"Source: asyncio, \"Task object\".");

static PyObject *
task_py_get_name(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaTask *task = (CaTask *)op;
    if (task->m.name == NULL && task->number != 0) {
        task->m.name = PyUnicode_FromFormat("Task-%llu",
                                            (unsigned long long)task->number);
        if (task->m.name == NULL) {
            return NULL;
        }
    }
    ca_state *st = ca_future_state(op);
    if (st == NULL) {
        return NULL;
    }
    return PyObject_CallMethod((PyObject *)st->StockTask, "get_name", "O", op);
}

#endif

PyDoc_STRVAR(get_context_doc,
"get_context($self, /)\n--\n\n"
"Return the contextvars.Context in which the coroutine runs.\n\n"
"Source: asyncio, \"Task object\".");

/* The base's crashes on a task whose __init__ never ran. */
static PyObject *
task_py_get_context(PyObject *op, PyObject *Py_UNUSED(none))
{
    PyObject *context = ((CaTask *)op)->m.context;
    return Py_NewRef(context == NULL ? Py_None : context);
}

PyDoc_STRVAR(get_coro_doc,
"get_coro($self, /)\n--\n\n"
"Return the coroutine; None when the task was done in its eager start.\n\n"
"Source: asyncio, \"Task object\".");

/* Of some 3.12 the base's crashes where there is none. */
static PyObject *
task_py_get_coro(PyObject *op, PyObject *Py_UNUSED(none))
{
    PyObject *coro = ((CaTask *)op)->m.coro;
    return Py_NewRef(coro == NULL ? Py_None : coro);
}

PyDoc_STRVAR(set_result_doc,
"set_result($self, result, /)\n--\n\n"
"Refused with RuntimeError: a task gets its result from its coroutine.");

static PyObject *
task_py_set_result(PyObject *op, PyObject *result)
{
    ca_state *st = ca_future_state(op);
    return st == NULL ? NULL
                      : PyObject_CallMethod((PyObject *)st->StockTask,
                                            "set_result", "OO", op, result);
}

static PyMethodDef task_methods[] = {
    {"add_done_callback", FASTCALL(ca_future_py_add_done_callback),
     METH_FASTCALL | METH_KEYWORDS, ca_add_done_callback_doc},
    {"remove_done_callback", FASTCALL(ca_future_py_remove_done_callback),
     METH_FASTCALL | METH_KEYWORDS, ca_remove_done_callback_doc},
#if !CA_TASKS_LINKED
    {"get_name", task_py_get_name, METH_NOARGS, get_name_doc},
#endif
    {"get_context", task_py_get_context, METH_NOARGS, get_context_doc},
    {"get_coro", task_py_get_coro, METH_NOARGS, get_coro_doc},
    {"set_result", task_py_set_result, METH_O, set_result_doc},
    {0},
};

static PyGetSetDef task_getset[] = {
    {"_callbacks", ca_future_get_callbacks, NULL,
     "List of (callback, context); None when there are none.", NULL},
    {0},
};

PyDoc_STRVAR(task_doc,
"Task(coro, *, loop=None, name=None, context=None, **kwargs)\n--\n\n"
"A coroutine that runs on a loop; made by loop.create_task().\n\n"
"A subclass of asyncio.Task, with the same behaviour and the keywords of the\n"
"running Python's Task.\n\n"
"Errors: TypeError when coro is not a coroutine.\n"
"Threads: every method belongs to the loop's own thread.\n"
"Source: asyncio, \"Task object\".");

static PyType_Slot task_slots[] = {
    {Py_tp_doc, (void *)task_doc},
    {Py_tp_new, task_tp_new},
    {Py_tp_init, task_tp_init},
    {Py_tp_dealloc, ca_task_tp_dealloc},
    {Py_tp_iter, ca_future_tp_iter},
    {Py_am_await, ca_future_tp_iter},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},
    {0, NULL},
};

PyType_Spec ca_task_spec = {
    .name = "casyncio.Task",
    .basicsize = sizeof(CaTask),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE | CA_MIRROR_FLAGS,
    .slots = task_slots,
};
