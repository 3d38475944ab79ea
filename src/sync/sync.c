/* sync.c - see sync.h. */
#include "sync/sync.h"

#include "loop/overrides.h"
#include "py/adopt.h"
#include "py/args.h"
#include "py/wanted.h"
#include "task/registry.h"

#include <stddef.h>

/* ---- what we use of the standard library ---- */

static const ca_wanted imports[] = {
    {offsetof(ca_state, sync.StockMixin), "asyncio.locks",
     "_ContextManagerMixin", false},
    {offsetof(ca_state, sync.StockLock), "asyncio.locks", "Lock", false},
    {offsetof(ca_state, sync.StockEvent), "asyncio.locks", "Event", false},
    {offsetof(ca_state, sync.StockSemaphore), "asyncio.locks", "Semaphore",
     false},
    {offsetof(ca_state, sync.StockBoundedSemaphore), "asyncio.locks",
     "BoundedSemaphore", false},
    {offsetof(ca_state, sync.StockQueue), "asyncio.queues", "Queue", false},
    {offsetof(ca_state, sync.StockLifoQueue), "asyncio.queues", "LifoQueue",
     false},
    {offsetof(ca_state, sync.StockPriorityQueue), "asyncio.queues",
     "PriorityQueue", false},
    {offsetof(ca_state, sync.QueueEmpty), "asyncio.queues", "QueueEmpty",
     false},
    {offsetof(ca_state, sync.QueueFull), "asyncio.queues", "QueueFull", false},
    {offsetof(ca_state, sync.QueueShutDown), "asyncio.queues", "QueueShutDown",
     true},
    {offsetof(ca_state, sync.get_running_loop), "asyncio.events",
     "_get_running_loop", false},
    {offsetof(ca_state, sync.heappush), "heapq", "heappush", false},
    {offsetof(ca_state, sync.heappop), "heapq", "heappop", false},
};
enum { N_IMPORTS = sizeof(imports) / sizeof(imports[0]) };

/* References of the state that are no imports. */
static const size_t types[] = {
    offsetof(ca_state, sync.CallType),
    offsetof(ca_state, sync.LockType),
    offsetof(ca_state, sync.EventType),
    offsetof(ca_state, sync.SemaphoreType),
    offsetof(ca_state, sync.BoundedSemaphoreType),
    offsetof(ca_state, sync.QueueType),
    offsetof(ca_state, sync.Event),
};
enum { N_TYPES = sizeof(types) / sizeof(types[0]) };

static PyObject **
field(const void *owner, size_t where)
{
    return (PyObject **)((char *)owner + where);
}

/* The C function behind a method of deque; NULL, without an exception, when
 * there is none that takes what we pass. */
static PyCFunction
deque_function(const ca_state *st, const char *name, int flags)
{
    PyCFunction found = NULL;
    PyObject *descr = PyObject_GetAttrString(st->deque, name);
    if (descr == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (Py_IS_TYPE(descr, &PyMethodDescr_Type)) {
        const PyMethodDef *def = ((PyMethodDescrObject *)descr)->d_method;
        found = def->ml_flags == flags ? def->ml_meth : NULL;
    }
    Py_DECREF(descr);
    return found;
}

/* Whether a deque's ob_size is its length, and it is a sequence: 1, 0 or
 * -1. */
static int
deque_fits(const ca_state *st)
{
    const PySequenceMethods *sequence = ((PyTypeObject *)st->deque)
                                            ->tp_as_sequence;
    if (sequence == NULL || sequence->sq_item == NULL) {
        return 0;
    }
    PyObject *deque = PyObject_CallNoArgs(st->deque);
    if (deque == NULL) {
        return -1;
    }
    int result = Py_SIZE(deque) == 0;
    for (int i = 1; result == 1 && i < 100; i++) {
        PyObject *none = st->sync.deque_append(deque, Py_None);
        Py_XDECREF(none);
        result = none == NULL ? -1 : Py_SIZE(deque) == i;
    }
    Py_DECREF(deque);
    return result;
}

int
ca_sync_init(ca_state *st)
{
    if (ca_wanted_import(st, imports, N_IMPORTS) < 0) {
        return -1;
    }
    st->sync.deque_append = deque_function(st, "append", METH_O);
    st->sync.deque_popleft = deque_function(st, "popleft", METH_NOARGS);
    st->sync.deque_remove = deque_function(st, "remove", METH_O);
    return st->sync.deque_append != NULL && st->sync.deque_popleft != NULL &&
                   st->sync.deque_remove != NULL
               ? deque_fits(st)
               : 0;
}

int
ca_sync_visit_state(ca_state *st, visitproc visit, void *arg)
{
    for (int i = 0; i < N_TYPES; i++) {
        Py_VISIT(*field(st, types[i]));
    }
    return ca_wanted_visit(st, imports, N_IMPORTS, visit, arg);
}

void
ca_sync_clear_state(ca_state *st)
{
    ca_wanted_clear(st, imports, N_IMPORTS);
    for (int i = 0; i < N_TYPES; i++) {
        Py_CLEAR(*field(st, types[i]));
    }
}

/* ---- plain or not ---- */

/* What the name means where nobody overrides it; NULL without an exception
 * when it means nothing. */
static PyObject *
own_attribute(const ca_state *st, const ca_sync_face *face, const char *name)
{
    PyObject *found = PyObject_GetAttrString(*field(st, face->native), name);
    if (found == NULL) {
        PyErr_Clear();
        found = PyObject_GetAttrString(*field(st, face->stock), name);
    }
    if (found == NULL) {
        PyErr_Clear();
    }
    return found;
}

bool
ca_sync_has_own(CaSync *self, const ca_sync_face *face, const char *name)
{
    PyObject *own = own_attribute(self->st, face, name);
    PyObject *found = PyObject_GetAttrString((PyObject *)Py_TYPE(self), name);
    if (found == NULL) {
        PyErr_Clear();
    }
    bool result = own != NULL && found != NULL &&
                  ca_adopted_is_same(own, found);
    Py_XDECREF(own);
    Py_XDECREF(found);
    return result;
}

bool
ca_sync_ask_type(CaSync *self, const ca_sync_face *face)
{
    bool plain = true;
    for (const char *const *name = face->calls; plain && *name; name++) {
        plain = ca_sync_has_own(self, face, *name);
    }
    self->type_plain = plain;
    self->asked_type = ca_typetag_of(Py_TYPE(self));
    return plain;
}

PyObject *
ca_sync_stock(CaSync *self, const ca_sync_face *face, const char *name,
              PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *text = PyUnicode_FromString(name);
    PyObject *result = text == NULL
                           ? NULL
                           : ca_stock_call(*field(self->st, face->stock), text,
                                           (PyObject *)self, args, nargs,
                                           kwnames);
    Py_XDECREF(text);
    return result;
}

int
ca_sync_stock_init(CaSync *self, const ca_sync_face *face, PyObject *args,
                   PyObject *kwargs)
{
    PyObject *text = PyUnicode_FromString("__init__");
    PyObject *none = text == NULL
                         ? NULL
                         : ca_stock_call_tuple(*field(self->st, face->stock),
                                               text, (PyObject *)self, args,
                                               kwargs);
    Py_XDECREF(text);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* ---- waiting ---- */

/* Whether futures of that loop can be made and finished without asking it. */
static CaLoop *
native_loop(ca_state *st, PyObject *loop)
{
    CaLoop *found = st->native_tasks ? ca_future_native_loop(st, loop) : NULL;
    return found == NULL ||
                   (ca_overrides_now(found) &
                    (CA_OVERRIDE_CREATE_FUTURE | CA_OVERRIDE_CALL_SOON)) != 0
               ? NULL
               : found;
}

CaLoop *
ca_sync_loop_borrow(CaSync *self)
{
    ca_state *st = self->st;
    CaLoop *loop = native_loop(st, self->loop);
    if (loop != NULL && ca_registry_steps_here(loop)) {
        return loop;
    }
    if (loop == NULL && self->loop != NULL) {
        return NULL;
    }
    PyObject *running = PyObject_CallNoArgs(st->sync.get_running_loop);
    if (running == NULL) {
        PyErr_Clear();
        return NULL;
    }
    loop = native_loop(st, running);
    if (loop != NULL && self->loop == NULL) {
        self->loop = Py_NewRef(running);
    }
    Py_DECREF(running);                /* it runs: that keeps it alive */
    return (PyObject *)loop == self->loop ? loop : NULL;
}

/* ---- slots ---- */

PyObject *
ca_sync_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
               PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    /* It refuses abstract classes; the arguments are for __init__(). */
    PyObject *op = st == NULL
                       ? NULL
                       : PyBaseObject_Type.tp_new(type, st->no_args, NULL);
    if (op != NULL) {
        ((CaSync *)op)->st = st;
    }
    return op;
}

/* An attribute of the instance that has the name of something in the class
 * hides it; one of the fields is a data descriptor and takes care itself. */
int
ca_sync_tp_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    CaSync *self = (CaSync *)op;
    if (!self->tampered) {
        PyObject *hidden = PyObject_GetAttr((PyObject *)Py_TYPE(op), name);
        if (hidden == NULL) {
            PyErr_Clear();
        } else {
            self->tampered = Py_TYPE(hidden)->tp_descr_set == NULL;
            Py_DECREF(hidden);
        }
    }
    return 0;
}

int
ca_sync_traverse(CaSync *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loop);
    Py_VISIT(self->waiters);
    return 0;
}

void
ca_sync_clear(CaSync *self)
{
    Py_CLEAR(self->loop);
    Py_CLEAR(self->waiters);
}

void
ca_sync_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    const PyTypeObject *own = type;
    while (own->tp_dealloc != ca_sync_tp_dealloc) {
        own = own->tp_base;            /* ours among the bases of a subclass */
    }
    (void)own->tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

/* ---- attributes ---- */

PyObject *
ca_sync_get_loop(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *loop = ((CaSync *)op)->loop;
    return Py_NewRef(loop == NULL ? Py_None : loop);
}

int
ca_sync_set_loop(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaSync *)op)->loop,
               value == Py_None ? NULL : Py_XNewRef(value));
    return 0;
}

PyObject *
ca_sync_get_deque_or_none(PyObject *op, void *closure)
{
    PyObject *found = *field(op, (size_t)closure);
    return Py_NewRef(found == NULL ? Py_None : found);
}

PyObject *
ca_sync_get_deque(PyObject *op, void *closure)
{
    PyObject **where = field(op, (size_t)closure);
    if (*where == NULL) {
        *where = PyObject_CallNoArgs(ca_sync_owner_state(op)->deque);
    }
    return Py_XNewRef(*where);
}

/* Native code relies on what stands there. */
int
ca_sync_set_deque(PyObject *op, PyObject *value, void *closure)
{
    if (value == NULL || value == Py_None) {
        value = NULL;
    } else if ((PyObject *)Py_TYPE(value) != ca_sync_owner_state(op)->deque) {
        PyErr_Format(PyExc_TypeError,
                     "futures wait in a collections.deque, not in %.200s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_XSETREF(*field(op, (size_t)closure), Py_XNewRef(value));
    return 0;
}

PyObject *
ca_sync_get_number(PyObject *op, void *closure)
{
    const ca_sync_number *number = (ca_sync_number *)((char *)op +
                                                      (size_t)closure);
    return number->odd == NULL ? PyLong_FromSsize_t(number->n)
                               : Py_NewRef(number->odd);
}

int
ca_sync_set_number(PyObject *op, PyObject *value, void *closure)
{
    ca_sync_number *number = (ca_sync_number *)((char *)op + (size_t)closure);
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot be deleted");
        return -1;
    }
    Py_ssize_t n = PyLong_CheckExact(value) ? PyLong_AsSsize_t(value) : -1;
    bool odd = !PyLong_CheckExact(value) || PyErr_Occurred();
    PyErr_Clear();
    if (odd) {
        ((CaSync *)op)->tampered = true;
    }
    number->n = odd ? 0 : n;
    Py_XSETREF(number->odd, odd ? Py_NewRef(value) : NULL);
    return 0;
}
