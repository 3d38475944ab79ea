/* registry.c - see registry.h. */
#include "task/registry.h"

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

/* ---- all tasks ---- */

typedef struct {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
} CaTasksPublisher;

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
    if (Py_REFCNT(task) <= 0) {
        return 0;                      /* being deallocated */
    }
    PyObject *ref = PyWeakref_NewRef((PyObject *)task, remove);
    int result = ref == NULL ? -1 : PySet_Add(data, ref);
    Py_XDECREF(ref);
    task->published = result == 0;
    return result;
}

static int
publish_all(ca_state *st)
{
    int result = -1;
    PyObject *set = weak_set(st);
    PyObject *data = set == NULL ? NULL : PyObject_GetAttrString(set, "data");
    PyObject *remove = data == NULL ? NULL
                                    : PyObject_GetAttrString(set, "_remove");
    if (remove != NULL) {
        result = 0;
        for (ca_dnode *node = st->all_tasks.next;
             result == 0 && node != &st->all_tasks; node = node->next) {
            CaTask *task = CA_CONTAINER_OF(node, CaTask, link);
            if (!task->published) {
                result = publish_one(data, remove, task);
            }
        }
    }
    Py_XDECREF(set);
    Py_XDECREF(data);
    Py_XDECREF(remove);
    return result;
}

/* Called as the weak reference of a dead task would be: returns None. */
static PyObject *
publisher_tp_call(PyObject *op, PyObject *Py_UNUSED(args),
                  PyObject *Py_UNUSED(kwargs))
{
    if (publish_all(((CaTasksPublisher *)op)->st) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static void
publisher_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(publisher_doc,
"Stands in asyncio's set of tasks for all native ones.");

static PyType_Slot publisher_slots[] = {
    {Py_tp_doc, (void *)publisher_doc},
    {Py_tp_call, publisher_tp_call},
    {Py_tp_dealloc, publisher_tp_dealloc},
    {0, NULL},
};

PyType_Spec ca_tasks_publisher_spec = {
    .name = "casyncio._native.TasksPublisher",
    .basicsize = sizeof(CaTasksPublisher),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = publisher_slots,
};

static int
make_publisher(ca_state *st)
{
    CaTasksPublisher *publisher = PyObject_New(CaTasksPublisher,
                                               st->TasksPublisherType);
    if (publisher == NULL) {
        return -1;
    }
    publisher->st = st;
    st->tasks_publisher = (PyObject *)publisher;
    return 0;
}

int
ca_registry_init(ca_state *st)
{
    int result = -1;
    PyObject *set = NULL;
    PyObject *data = NULL;
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
    if (make_publisher(st) == 0) {
        result = PySet_Add(data, st->tasks_publisher);
    }

done:
    Py_XDECREF(set);
    Py_XDECREF(data);
    return result;
}
