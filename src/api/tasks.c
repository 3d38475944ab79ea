/* tasks.c - "Creating futures and tasks": ours, or the interpreter's own.
 *
 * Ours where the guard found that they fit (task/guard.h), else asyncio's.
 * Whatever is unusual (other arguments, a task factory except the eager ones)
 * is left to the stdlib's create_task() of the running Python, which knows
 * what that Python's factories take.
 */
#include "api/api.h"

#include "py/args.h"
#include "task/eager.h"
#include "task/registry.h"

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

PyDoc_STRVAR(create_future_doc,
"create_future($self)\n--\n\n"
"Return a new Future attached to the loop.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Creating futures and tasks\".");

static PyObject *
loop_py_create_future(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    ca_state *st = self->st;
    if (st->native_tasks && !self->debug) {
        return ca_future_new(self);
    }
    PyObject *type = st->native_tasks
                         ? Py_NewRef(st->FutureType)
                         : PyObject_GetAttr(st->futures_module,
                                            st->names[CA_STR_Future]);
    if (type == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_Vectorcall(type, &op, 0, st->kw_loop);
    Py_DECREF(type);
    return result;
}

enum { NAME, CONTEXT, EAGER_START, KEYWORDS };

/* Where a keyword stands among those; -1 elsewhere.  eager_start= is known
 * where the running Python's create_task() hands on what it is given. */
static int
keyword_index(const ca_state *st, PyObject *name)
{
    return name == st->names[CA_STR_name]      ? NAME
           : name == st->names[CA_STR_context] ? CONTEXT
           : name == st->names[CA_STR_eager_start] &&
                   st->eager_naming == CA_EAGER_NAME_PASSED
               ? EAGER_START
               : -1;
}

/* Task(coro, loop=self, ...) with the keywords that were given. */
static PyObject *
make_task(CaLoop *self, PyObject *const *args, PyObject *kwnames)
{
    ca_state *st = self->st;
    PyObject *values[2 + KEYWORDS] = {args[0], (PyObject *)self};
    PyObject *task = NULL;
    PyObject *names = Py_NewRef(st->kw_loop);
    PyObject *type = ca_registry_wants_ours(st)
                         ? Py_NewRef(st->TaskType)
                         : PyObject_GetAttr(st->tasks_module,
                                            st->names[CA_STR_Task]);
    if (kwnames != NULL) {
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(kwnames); k++) {
            values[2 + k] = args[1 + k];
        }
        Py_SETREF(names, PySequence_Concat(names, kwnames));
    }
    if (type != NULL && names != NULL) {
        task = PyObject_Vectorcall(type, values, 1, names);
    }
    Py_XDECREF(type);
    Py_XDECREF(names);
    return task;
}

PyDoc_STRVAR(create_task_doc,
"create_task($self, /, coro, **kwargs)\n--\n\n"
"Run a coroutine as a Task; its first step is queued, not run.\n\n"
"Keywords are those of the running Python's create_task(): name, context and\n"
"what later versions add.  A task factory gets what it gets from stock.\n\n"
"Errors: RuntimeError when the loop is closed, TypeError when coro is not a\n"
"coroutine.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Creating futures and tasks\".");

/* A task of ours where everything is as usual; else NULL, and no exception if
 * `*unusual`.  given: by keyword_index(), NULL when not given. */
static PyObject *
make_native_task(CaLoop *self, PyObject *coro, PyObject *const *given,
                 bool *unusual)
{
    ca_state *st = self->st;
    PyObject *context = given[CONTEXT];
    PyObject *eager = given[EAGER_START];
    bool plain_context = context == NULL || context == Py_None ||
                         PyContext_CheckExact(context);
    *unusual = !ca_registry_wants_ours(st) || !plain_context ||
               (eager != NULL && !PyBool_Check(eager)) ||
               ca_future_native_loop(st, (PyObject *)self) == NULL;
    if (*unusual) {
        return NULL;
    }
    bool factory = self->task_factory != Py_None;
    if (!factory && eager != Py_True) {
        return ca_task_new(self, coro, given[NAME], context, false);
    }
    ca_eager_when when = eager == Py_False ? CA_EAGER_LATER
                                           : ca_eager_start_of(self);
    if (when == CA_EAGER_BASE) {
        *unusual = true;
        return NULL;
    }
    return ca_eager_create_task(self, coro, given[NAME], context,
                                when == CA_EAGER_NOW);
}

static PyObject *
loop_py_create_task(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    CaLoop *self = (CaLoop *)op;
    PyObject *given[KEYWORDS] = {NULL};
    Py_ssize_t nkw = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    bool plain = self->task_factory == Py_None;
    bool usual = nargs == 1 && (!self->debug || self->st->native_tasks) &&
                 (plain || ca_eager_is_factory(self->st, self->task_factory));
    for (Py_ssize_t k = 0; k < nkw && usual; k++) {
        int i = keyword_index(self->st, PyTuple_GET_ITEM(kwnames, k));
        usual = i >= 0;
        if (usual) {
            given[i] = args[nargs + k];
        }
    }
    if (usual && ca_loop_check_open(self) < 0) {
        return NULL;
    }
    PyObject *task = NULL;
    bool unusual = !usual;
    if (usual) {
        task = make_native_task(self, args[0], given, &unusual);
    }
    if (!unusual) {
        return task;
    }
    return usual && plain ? make_task(self, args, kwnames)
                          : ca_stock_call(self->st->StockBaseLoop,
                                          self->st->names[CA_STR_create_task],
                                          op, args, nargs, kwnames);
}

PyMethodDef ca_task_methods[] = {
    {"create_future", loop_py_create_future, METH_NOARGS, create_future_doc},
    {"create_task", FASTCALL(loop_py_create_task),
     METH_FASTCALL | METH_KEYWORDS, create_task_doc},
    {0},
};
