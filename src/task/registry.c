/* registry.c - tasks in asyncio's own objects, up to 3.13; see registry.h. */
#include "task/registry.h"

#if !CA_TASKS_LINKED

#include "py/errors.h"

void
ca_registry_publish(CaLoop *loop)
{
    loop->current_published = true;  /* first: storing hashes the loop again */
    PyObject *exc = PyErr_GetRaisedException();
    if (PyDict_SetItem(loop->st->current_tasks, (PyObject *)loop,
                       loop->current_task) < 0) {
        PyErr_Clear();
        loop->current_published = false;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

Py_hash_t
ca_registry_loop_hash(PyObject *op)
{
    CaLoop *self = (CaLoop *)op;
    if (self->current_task != NULL && !self->current_published) {
        ca_registry_publish(self);
    }
    return PyObject_GenericHash(op);
}

/* The loop's entry in asyncio's dict: borrowed, or NULL with or without an
 * exception. */
static PyObject *
published_borrow(CaLoop *loop)
{
    return PyDict_GetItemWithError(loop->st->current_tasks, (PyObject *)loop);
}

int
ca_registry_check_free(CaLoop *loop, PyObject *task)
{
    PyObject *current = loop->current_task;
    if (current == NULL || loop->current_published) {
        current = published_borrow(loop);
    }
    if (current == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(current);                /* its repr may be anybody's */
    PyErr_Format(PyExc_RuntimeError,
                 "Cannot enter into task %R while another task %R is being "
                 "executed.",
                 task, current);
    Py_DECREF(current);
    return -1;
}

/* Take out the entry of the current task, or say whose it is; 0 or -1. */
static int
take_entry(CaLoop *loop)
{
    PyObject *current = published_borrow(loop);
    if (current == NULL && PyErr_Occurred()) {
        return -1;
    }
    if (current == loop->current_task) {
        return PyDict_DelItem(loop->st->current_tasks, (PyObject *)loop);
    }
    current = Py_NewRef(current == NULL ? Py_None : current);
    PyErr_Format(PyExc_RuntimeError,
                 "Leaving task %R does not match the current task %R.",
                 loop->current_task, current);
    Py_DECREF(current);
    return -1;
}

int
ca_registry_unpublish(CaLoop *loop)
{
    PyObject *exc = PyErr_GetRaisedException();
    int result = take_entry(loop);
    loop->current_published = false;
    if (exc == NULL) {
        return result;
    }
    if (result < 0) {
        PyObject *later = PyErr_GetRaisedException();
        PyException_SetContext(later, exc);
        PyErr_SetRaisedException(later);
    } else {
        PyErr_SetRaisedException(exc);
    }
    return result;
}

PyObject *
ca_registry_current_borrow(CaLoop *loop)
{
    if (loop->current_task != NULL && !loop->current_published) {
        return loop->current_task;     /* nobody could have looked it up */
    }
    PyObject *shown = published_borrow(loop);
    if (shown == NULL) {
        PyErr_Clear();
    }
    return shown;
}

bool
ca_registry_current_is_ours(CaLoop *loop)
{
    if (loop->current_task != NULL && !loop->current_published) {
        return true;                   /* nobody could have looked it up */
    }
    return ca_registry_current_borrow(loop) == loop->current_task;
}

/* ---- all tasks ---- */

/* asyncio's weak set of tasks: strong reference or NULL. */
static PyObject *
weak_set(ca_state *st)
{
    PyObject *set = PyObject_GetAttrString(st->tasks_module,
                                           "_scheduled_tasks");
    if (set == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        set = PyObject_GetAttrString(st->tasks_module, "_all_tasks");
    }
    return set;
}

int
ca_registry_add(ca_state *st, CaTask *task)
{
    if (Py_IS_TYPE(task, st->TaskType)) {
        ca_dlist_append(&st->all_tasks, &task->link);
        return 0;
    }
    PyObject *set = weak_set(st);
    PyObject *done = set == NULL ? NULL
                                 : PyObject_CallMethod(set, "add", "O", task);
    Py_XDECREF(set);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int
publish_one(PyObject *data, PyObject *remove, CaTask *task)
{
    if (task->published) {
        return 0;
    }
    PyObject *ref = PyWeakref_NewRef((PyObject *)task, remove);
    int result = ref == NULL ? -1 : PySet_Add(data, ref);
    Py_XDECREF(ref);
    task->published = result == 0;
    return result;
}

/* What WeakSet makes its references with: strong reference or NULL. */
static PyObject *
remover(ca_state *st)
{
    PyObject *set = weak_set(st);
    PyObject *remove = set == NULL ? NULL
                                   : PyObject_GetAttrString(set, "_remove");
    Py_XDECREF(set);
    return remove;
}

/* Making references may run the collector, so the task at which we are is
 * held; a copy of the set publishes nothing. */
static int
publish_all(PyObject *data)
{
    ca_state *st = ca_state_of_type(Py_TYPE(data));
    if (st == NULL || data != st->tasks_data) {
        return st == NULL ? -1 : 0;
    }
    PyObject *remove = remover(st);
    PyObject *held = NULL;
    int result = remove == NULL ? -1 : 0;
    for (ca_dnode *node = st->all_tasks.next;
         result == 0 && node != &st->all_tasks; node = node->next) {
        CaTask *task = CA_CONTAINER_OF(node, CaTask, link);
        if (!task->published && Py_REFCNT(task) > 0) {
            Py_XSETREF(held, Py_NewRef(task));
            result = publish_one(data, remove, task);
        }
    }
    Py_XDECREF(held);
    Py_XDECREF(remove);
    return result;
}

/* Publish the task that a weak reference is to, if it is a native one. */
static int
publish_target(PyObject *data, PyObject *ref)
{
    ca_state *st = ca_state_of_type(Py_TYPE(data));
    if (st == NULL || data != st->tasks_data || !PyWeakref_CheckRef(ref)) {
        return st == NULL ? -1 : 0;
    }
    PyObject *task = PyObject_CallNoArgs(ref);
    int result = task == NULL ? -1 : 0;
    if (task != NULL && Py_IS_TYPE(task, st->TaskType) &&
        ca_dlist_linked(&((CaTask *)task)->link)) {
        PyObject *remove = remover(st);
        result = remove == NULL ? -1
                                : publish_one(data, remove, (CaTask *)task);
        Py_XDECREF(remove);
    }
    Py_XDECREF(task);
    return result;
}

/* ---- the set that WeakSet keeps its references in ---- */

static int
data_tp_clear(PyObject *op)
{
    return PySet_Type.tp_clear(op);
}

static Py_ssize_t
data_sq_length(PyObject *op)
{
    return publish_all(op) < 0 ? -1 : PySet_GET_SIZE(op);
}

static int
data_sq_contains(PyObject *op, PyObject *ref)
{
    return publish_target(op, ref) < 0 ? -1 : PySet_Contains(op, ref);
}

static PyObject *
data_tp_iter(PyObject *op)
{
    return publish_all(op) < 0 ? NULL : PySet_Type.tp_iter(op);
}

static PyObject *
data_tp_richcompare(PyObject *op, PyObject *other, int how)
{
    return publish_all(op) < 0 ? NULL
                               : PySet_Type.tp_richcompare(op, other, how);
}

/* Methods but those of a single task work on all that there are. */
static PyObject *
data_tp_getattro(PyObject *op, PyObject *name)
{
    static const char *const single[] = {"add", "discard", "remove"};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(single); i++) {
        if (PyUnicode_CompareWithASCIIString(name, single[i]) == 0) {
            return PyObject_GenericGetAttr(op, name);
        }
    }
    return publish_all(op) < 0 ? NULL : PyObject_GenericGetAttr(op, name);
}

PyDoc_STRVAR(data_discard_doc,
"discard($self, object, /)\n--\n\nTake the reference out if it is there.");

static PyObject *
data_py_discard(PyObject *op, PyObject *ref)
{
    if (publish_target(op, ref) < 0 || PySet_Discard(op, ref) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(data_remove_doc,
"remove($self, object, /)\n--\n\nTake the reference out.\n\n"
"Errors: KeyError when it is not there.");

static PyObject *
data_py_remove(PyObject *op, PyObject *ref)
{
    int found = publish_target(op, ref) < 0 ? -1 : PySet_Discard(op, ref);
    if (found == 0) {
        PyErr_SetObject(PyExc_KeyError, ref);
    }
    return found > 0 ? Py_NewRef(Py_None) : NULL;
}

static int
data_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return PySet_Type.tp_traverse(op, visit, arg);
}

static PyMethodDef data_methods[] = {
    {"discard", data_py_discard, METH_O, data_discard_doc},
    {"remove", data_py_remove, METH_O, data_remove_doc},
    {0},
};

PyDoc_STRVAR(data_doc,
"The references in asyncio's set of tasks; native tasks come when asked for.");

static PyType_Slot data_slots[] = {
    {Py_tp_doc, (void *)data_doc},
    {Py_sq_length, data_sq_length},
    {Py_sq_contains, data_sq_contains},
    {Py_tp_iter, data_tp_iter},
    {Py_tp_richcompare, data_tp_richcompare},
    {Py_tp_hash, PyObject_HashNotImplemented},
    {Py_tp_getattro, data_tp_getattro},
    {Py_tp_traverse, data_tp_traverse},
    {Py_tp_clear, data_tp_clear},
    {Py_tp_methods, data_methods},
    {0, NULL},
};

static PyType_Spec data_spec = {
    .name = "casyncio._native.TasksData",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = data_slots,
};

PyType_Spec *const ca_registry_data_spec = &data_spec;

/* Asyncio's set of tasks in their eager step, where there is one. */
static int
find_eager_tasks(ca_state *st)
{
    PyObject *set = PyObject_GetAttrString(st->tasks_module, "_eager_tasks");
    if (set == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
    } else if (!PySet_CheckExact(set)) {
        Py_CLEAR(set);                 /* eager starts are left to the base */
    }
    Py_XSETREF(st->eager_tasks, set);
    return 0;
}

int
ca_registry_join_eager(ca_state *st, CaTask *task)
{
    return PySet_Add(st->eager_tasks, (PyObject *)task);
}

int
ca_registry_part_eager(ca_state *st, CaTask *task)
{
    PyObject *exc = PyErr_GetRaisedException();
    int result = PySet_Discard(st->eager_tasks, (PyObject *)task);
    if (exc != NULL && result >= 0) {
        PyErr_SetRaisedException(exc);
    } else {
        Py_XDECREF(exc);
    }
    return result < 0 ? -1 : 0;
}

int
ca_registry_init(ca_state *st)
{
    int result = -1;
    PyObject *set = NULL;
    PyObject *data = NULL;
    PyObject *own = NULL;
    PyObject *args = NULL;
    Py_XSETREF(st->current_tasks,
               PyObject_GetAttrString(st->tasks_module, "_current_tasks"));
    if (st->current_tasks == NULL) {
        return -1;
    }
    set = weak_set(st);
    data = set == NULL ? NULL : PyObject_GetAttrString(set, "data");
    if (data == NULL) {
        goto done;
    }
    if (!PyDict_CheckExact(st->current_tasks) || !PySet_CheckExact(data)) {
        PyErr_SetString(PyExc_TypeError,
                        "asyncio keeps its tasks in an unknown way");
        goto done;
    }
    if (find_eager_tasks(st) < 0) {
        goto done;
    }
    args = PyTuple_Pack(1, data);
    own = args == NULL ? NULL
                       : PySet_Type.tp_new(st->TasksDataType, args, NULL);
    if (own == NULL || PySet_Type.tp_init(own, args, NULL) < 0) {
        goto done;
    }
    result = PyObject_SetAttrString(set, "data", own);
    Py_XSETREF(st->tasks_data, Py_NewRef(own));

done:
    Py_XDECREF(set);
    Py_XDECREF(data);
    Py_XDECREF(own);
    Py_XDECREF(args);
    return result;
}

#endif
