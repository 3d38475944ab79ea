/* queue.c - the native half of Queue, LifoQueue and PriorityQueue.
 *
 * Which of the three a class is, its _put() and _get() tell: stock's functions
 * are known, and native code does what they do on the container that stock's
 * _init() has made.  A class with a _put() or _get() of its own is not plain,
 * and runs stock's code; one with another _init() is plain as long as that
 * sets a container of the right kind.
 */
#include "sync/queue.h"

#include "py/args.h"
#include "sync/waiters.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static const char *const calls[] = {"full",       "empty",      "qsize",
                                    "put_nowait", "get_nowait", "_wakeup_next",
                                    "_get_loop",  NULL};

const ca_sync_face ca_queue_face = {
    .native = offsetof(ca_state, sync.QueueType),
    .stock = offsetof(ca_state, sync.StockQueue),
    .calls = calls,
};

/* ---- which kind ---- */

/* Whether the type's method is that stock class' own. */
static bool
has_method_of(PyObject *type, PyObject *stock, const char *name)
{
    PyObject *found = PyObject_GetAttrString(type, name);
    PyObject *own = PyObject_GetAttrString(stock, name);
    bool result = found != NULL && found == own;
    PyErr_Clear();
    Py_XDECREF(found);
    Py_XDECREF(own);
    return result;
}

bool
ca_queue_ask_type(CaQueue *self)
{
    const ca_state *st = self->s.st;
    PyObject *const stock[3] = {
        [CA_QUEUE_FIFO] = st->sync.StockQueue,
        [CA_QUEUE_LIFO] = st->sync.StockLifoQueue,
        [CA_QUEUE_HEAP] = st->sync.StockPriorityQueue,
    };
    PyObject *type = (PyObject *)Py_TYPE(self);
    if (!ca_sync_ask_type(&self->s, &ca_queue_face)) {
        return false;
    }
    for (int kind = CA_QUEUE_FIFO; kind <= CA_QUEUE_HEAP; kind++) {
        if (has_method_of(type, stock[kind], "_put") &&
            has_method_of(type, stock[kind], "_get")) {
            self->s.container = (uint8_t)kind;
            return true;
        }
    }
    self->s.type_plain = false;
    return false;
}

/* ---- taking and adding ---- */

static PyObject *
take_last(PyObject *list)
{
    Py_ssize_t last = PyList_GET_SIZE(list) - 1;
    PyObject *item = Py_NewRef(PyList_GET_ITEM(list, last));
    if (PyList_SetSlice(list, last, last + 1, NULL) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

/* _get(); the queue is not empty. */
static PyObject *
take_item(CaQueue *self)
{
    ca_state *st = self->s.st;
    PyObject *queue = Py_NewRef(self->queue);
    PyObject *item = self->s.container == CA_QUEUE_FIFO
                         ? ca_deque_popleft(st, queue)
                     : self->s.container == CA_QUEUE_LIFO
                         ? take_last(queue)
                         : PyObject_CallOneArg(st->sync.heappop, queue);
    Py_DECREF(queue);
    return item;
}

/* _put(). */
static int
add_item(CaQueue *self, PyObject *item)
{
    ca_state *st = self->s.st;
    if (self->s.container == CA_QUEUE_FIFO) {
        return ca_deque_append(st, self->queue, item);
    }
    if (self->s.container == CA_QUEUE_LIFO) {
        return PyList_Append(self->queue, item);
    }
    PyObject *queue = Py_NewRef(self->queue);
    PyObject *stack[2] = {queue, item};
    PyObject *none = PyObject_Vectorcall(st->sync.heappush, stack, 2, NULL);
    Py_DECREF(queue);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

PyObject *
ca_queue_take(CaQueue *self)
{
    ca_state *st = self->s.st;
    if (ca_queue_size(self) == 0) {
        PyErr_SetNone(ca_queue_is_shut(self) ? st->sync.QueueShutDown
                                             : st->sync.QueueEmpty);
        return NULL;
    }
    PyObject *item = take_item(self);
    if (item != NULL && ca_waiters_wake_next(st, self->putters) < 0) {
        Py_CLEAR(item);
    }
    return item;
}

/* self._finished.clear() or .set(); 0 or -1. */
static int
set_finished(CaQueue *self, bool value)
{
    ca_state *st = self->s.st;
    PyObject *event = self->finished;
    if (event == NULL) {
        return 0;
    }
    if ((PyObject *)Py_TYPE(event) == st->sync.Event &&
        !((CaSync *)event)->tampered) {
        if (value) {
            return ca_event_set((CaEvent *)event);
        }
        ca_event_clear((CaEvent *)event);
        return 0;
    }
    PyObject *none = PyObject_CallMethod(event, value ? "set" : "clear", NULL);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

int
ca_queue_add(CaQueue *self, PyObject *item)
{
    ca_state *st = self->s.st;
    bool shut = ca_queue_is_shut(self);
    if (shut || ca_queue_is_full(self)) {
        PyErr_SetNone(shut ? st->sync.QueueShutDown : st->sync.QueueFull);
        return -1;
    }
    if (add_item(self, item) < 0) {
        return -1;
    }
    self->unfinished.n++;
    return set_finished(self, false) < 0
               ? -1
               : ca_waiters_wake_next(st, self->s.waiters);
}

/* ---- methods ---- */

PyDoc_STRVAR(put_nowait_doc,
"put_nowait($self, /, item)\n--\n\n"
"Put an item into the queue without a wait.\n\n"
"Errors: QueueFull when there is no room; QueueShutDown (3.13) when the\n"
"queue has been shut down.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_put_nowait(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    CaQueue *self = (CaQueue *)op;
    if (nargs != 1 || kwnames != NULL || !ca_queue_is_plain(self)) {
        return ca_sync_stock(&self->s, &ca_queue_face, "put_nowait", args,
                             nargs, kwnames);
    }
    return ca_queue_add(self, args[0]) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(get_nowait_doc,
"get_nowait($self, /)\n--\n\n"
"Take an item out of the queue without a wait.\n\n"
"Errors: QueueEmpty when there is none; QueueShutDown (3.13) when there is\n"
"none and the queue has been shut down.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_get_nowait(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaQueue *self = (CaQueue *)op;
    return ca_queue_is_plain(self)
               ? ca_queue_take(self)
               : ca_sync_stock(&self->s, &ca_queue_face, "get_nowait", NULL, 0,
                               NULL);
}

PyDoc_STRVAR(task_done_doc,
"task_done($self, /)\n--\n\n"
"Tell that an item that was got has been dealt with; the last one lets\n"
"join() go on.\n\n"
"Errors: ValueError when there were not so many items.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_task_done(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaQueue *self = (CaQueue *)op;
    if (self->unfinished.odd != NULL) {
        return ca_sync_stock(&self->s, &ca_queue_face, "task_done", NULL, 0,
                             NULL);
    }
    if (self->unfinished.n <= 0) {
        PyErr_SetString(PyExc_ValueError, "task_done() called too many times");
        return NULL;
    }
    self->unfinished.n--;
    if (self->unfinished.n == 0 && set_finished(self, true) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(qsize_doc,
"qsize($self, /)\n--\n\n"
"Return the number of items in the queue.\n\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_qsize(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaQueue *self = (CaQueue *)op;
    return ca_queue_is_plain(self) ? PyLong_FromSsize_t(ca_queue_size(self))
                                   : ca_sync_stock(&self->s, &ca_queue_face,
                                                   "qsize", NULL, 0, NULL);
}

PyDoc_STRVAR(empty_doc,
"empty($self, /)\n--\n\n"
"Return whether there is no item in the queue.\n\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_empty(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaQueue *self = (CaQueue *)op;
    return ca_queue_is_plain(self) ? PyBool_FromLong(ca_queue_size(self) == 0)
                                   : ca_sync_stock(&self->s, &ca_queue_face,
                                                   "empty", NULL, 0, NULL);
}

PyDoc_STRVAR(full_doc,
"full($self, /)\n--\n\n"
"Return whether there are maxsize items in the queue; never if that is 0.\n\n"
"Source: asyncio, \"Queue\".");

static PyObject *
queue_py_full(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaQueue *self = (CaQueue *)op;
    return ca_queue_is_plain(self) ? PyBool_FromLong(ca_queue_is_full(self))
                                   : ca_sync_stock(&self->s, &ca_queue_face,
                                                   "full", NULL, 0, NULL);
}

/* ---- attributes ---- */

static PyObject *
no_attribute(PyObject *op, const char *name)
{
    PyErr_Format(PyExc_AttributeError, "'%.100s' object has no attribute '%s'",
                 Py_TYPE(op)->tp_name, name);
    return NULL;
}

static PyObject *
get_queue(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *queue = ((CaQueue *)op)->queue;
    return queue == NULL ? no_attribute(op, "_queue") : Py_NewRef(queue);
}

static PyObject *
get_shut(PyObject *op, void *closure)
{
    return ca_sync_owner_state(op)->sync.QueueShutDown == NULL
               ? no_attribute(op, "_is_shutdown")
               : ca_flag_get(op, closure);
}

static int
set_queue(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaQueue *)op)->queue, Py_XNewRef(value));
    return 0;
}

/* The event is made when somebody asks. */
static PyObject *
get_finished(PyObject *op, void *Py_UNUSED(closure))
{
    CaQueue *self = (CaQueue *)op;
    if (self->finished == NULL) {
        PyObject *event = ca_event_new_set(self->s.st);
        if (event != NULL && self->finished == NULL) {
            self->finished = Py_NewRef(event);
            if (self->unfinished.n > 0 && set_finished(self, false) < 0) {
                Py_CLEAR(event);
            }
        }
        Py_XDECREF(event);
        if (event == NULL) {
            return NULL;
        }
    }
    return Py_NewRef(self->finished);
}

static int
set_finished_event(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(((CaQueue *)op)->finished, Py_XNewRef(value));
    return 0;
}

/* ---- birth and death ---- */

/* The maximum, strong: what was given or 0; NULL when the call does not bind
 * (no exception set). */
static PyObject *
bind_maxsize(PyObject *args, PyObject *kwargs)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    Py_ssize_t nkw = kwargs == NULL ? 0 : PyDict_GET_SIZE(kwargs);
    if (nargs + nkw == 0) {
        return PyLong_FromLong(0);
    }
    if (nargs + nkw > 1) {
        return NULL;
    }
    return Py_XNewRef(nargs == 1 ? PyTuple_GET_ITEM(args, 0)
                                 : PyDict_GetItemString(kwargs, "maxsize"));
}

/* self._init(maxsize); 0 or -1.  A deque at once where that is stock's. */
static int
init_container(CaQueue *self, PyObject *maxsize)
{
    ca_state *st = self->s.st;
    if (!self->s.tampered && has_method_of((PyObject *)Py_TYPE(self),
                                           st->sync.StockQueue, "_init")) {
        self->queue = PyObject_CallNoArgs(st->deque);
        return self->queue == NULL ? -1 : 0;
    }
    PyObject *none = PyObject_CallMethod((PyObject *)self, "_init", "O",
                                         maxsize);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

static void
clear_fields(CaQueue *self)
{
    Py_CLEAR(self->s.waiters);
    Py_CLEAR(self->putters);
    Py_CLEAR(self->queue);
    Py_CLEAR(self->finished);
    Py_CLEAR(self->unfinished.odd);
    self->unfinished.n = 0;
}

static int
queue_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaQueue *self = (CaQueue *)op;
    PyObject *maxsize = bind_maxsize(args, kwargs);
    if (maxsize == NULL) {
        return PyErr_Occurred() ? -1
                                : ca_sync_stock_init(&self->s, &ca_queue_face,
                                                     args, kwargs);
    }
    clear_fields(self);
    int result = ca_sync_set_number(op, maxsize,
                                    (void *)offsetof(CaQueue, maxsize));
    if (result == 0) {
        result = init_container(self, maxsize);
    }
    self->shut = false;
    Py_DECREF(maxsize);
    return result;
}

static int
queue_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaQueue *self = (CaQueue *)op;
    Py_VISIT(self->putters);
    Py_VISIT(self->queue);
    Py_VISIT(self->finished);
    Py_VISIT(self->maxsize.odd);
    Py_VISIT(self->unfinished.odd);
    return ca_sync_traverse(&self->s, visit, arg);
}

static int
queue_tp_clear(PyObject *op)
{
    CaQueue *self = (CaQueue *)op;
    clear_fields(self);
    Py_CLEAR(self->maxsize.odd);
    ca_sync_clear(&self->s);
    return 0;
}

static PyMethodDef queue_methods[] = {
    {"get", ca_queue_py_get, METH_NOARGS, ca_queue_get_doc},
    {"put", FASTCALL(ca_queue_py_put), METH_FASTCALL | METH_KEYWORDS,
     ca_queue_put_doc},
    {"get_nowait", queue_py_get_nowait, METH_NOARGS, get_nowait_doc},
    {"put_nowait", FASTCALL(queue_py_put_nowait),
     METH_FASTCALL | METH_KEYWORDS, put_nowait_doc},
    {"task_done", queue_py_task_done, METH_NOARGS, task_done_doc},
    {"qsize", queue_py_qsize, METH_NOARGS, qsize_doc},
    {"empty", queue_py_empty, METH_NOARGS, empty_doc},
    {"full", queue_py_full, METH_NOARGS, full_doc},
    {0},
};

static PyGetSetDef queue_getset[] = {
    {"_loop", ca_sync_get_loop, ca_sync_set_loop,
     "The loop that the queue is bound to, or None.", NULL},
    {"_getters", ca_sync_get_deque, ca_sync_set_deque,
     "Deque of the futures of those who get.",
     (void *)offsetof(CaSync, waiters)},
    {"_putters", ca_sync_get_deque, ca_sync_set_deque,
     "Deque of the futures of those who put.",
     (void *)offsetof(CaQueue, putters)},
    {"_queue", get_queue, set_queue, "The items: what _init() has set.", NULL},
    {"_maxsize", ca_sync_get_number, ca_sync_set_number,
     "How many items there may be; 0 for any number.",
     (void *)offsetof(CaQueue, maxsize)},
    {"_unfinished_tasks", ca_sync_get_number, ca_sync_set_number,
     "How many task_done() are due.", (void *)offsetof(CaQueue, unfinished)},
    {"_finished", get_finished, set_finished_event,
     "The event that is set when none is.", NULL},
    {"_is_shutdown", get_shut, ca_flag_set, "shutdown() was called.",
     (void *)offsetof(CaQueue, shut)},
    {0},
};

PyDoc_STRVAR(queue_doc,
"Queue(maxsize=0)\n--\n\nThe native half of casyncio.Queue.");

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)queue_doc},
    {Py_tp_new, ca_sync_tp_new},
    {Py_tp_init, queue_tp_init},
    {Py_tp_dealloc, ca_sync_tp_dealloc},
    {Py_tp_traverse, queue_tp_traverse},
    {Py_tp_clear, queue_tp_clear},
    {Py_tp_setattro, ca_sync_tp_setattro},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_getset},
    {0, NULL},
};

PyType_Spec ca_queue_spec = {
    .name = "casyncio._native.Queue",
    .basicsize = sizeof(CaQueue),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = queue_slots,
};
