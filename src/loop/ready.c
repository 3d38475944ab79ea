/* ready.c - see ready.h.
 *
 * Entries are taken out one by one, before they run: an exception that leaves
 * the loop, or a nested turn, finds the rest of the batch in the ring.
 */
#include "loop/ready.h"

#include "loop/handle.h"
#include "loop/held.h"
#include "py/errors.h"

int
ca_ready_refuse(PyObject *steal_op, int err)
{
    Py_DECREF(steal_op);
    ca_raise_errno(err);
    return -1;
}

int
ca_ready_push_handle(CaLoop *self, PyObject *steal_handle)
{
    return ca_ready_push(self, steal_handle, CA_READY_HANDLE);
}

int
ca_ready_push_method(CaLoop *self, PyObject *op, int name, PyObject *context)
{
    CaHandle *handle = ca_handle_for_method(self, op, name, context);
    return handle == NULL ? -1
                          : ca_ready_push_handle(self, (PyObject *)handle);
}

int
ca_ready_push_any(CaLoop *self, PyObject *handle)
{
    uintptr_t kind = ca_handle_check(self->st, handle) ? CA_READY_HANDLE
                                                       : CA_READY_FOREIGN;
    return ca_ready_push(self, Py_NewRef(handle), kind);
}

int
ca_ready_push_callback(CaLoop *self, PyObject *callback, PyObject *fut,
                       PyObject *context)
{
    int err = ca_ring_reserve(&self->ready, 3);
    if (err < 0) {
        ca_raise_errno(err);
        return -1;
    }
    (void)ca_ring_push(&self->ready,
                       (uintptr_t)Py_NewRef(callback) | CA_READY_CALLBACK);
    (void)ca_ring_push(&self->ready, (uintptr_t)Py_NewRef(fut));
    (void)ca_ring_push(&self->ready, (uintptr_t)Py_NewRef(context));
    return 0;
}

/* ---- entries as handles ---- */

static PyObject *
make_handle(CaLoop *self, PyObject *callback, PyObject *arg, PyObject *context)
{
    ca_call_args a = {
        .callback = callback,
        .rest = &arg,
        .nrest = arg == NULL ? 0 : 1,
        .context = context,
    };
    return (PyObject *)ca_handle_new(self, &a);
}

/* The handle that stands for an entry: new reference.  `fut` and `context` are
 * those of a done-callback, NULL for other kinds; a wakeup that has run may
 * come with its future, which the task has let go of. */
static PyObject *
handle_for(CaLoop *self, uintptr_t word, PyObject *fut, PyObject *context)
{
    PyObject *op = ca_ready_object_borrow(word);
    uintptr_t kind = word & CA_READY_KIND_MASK;
    if (kind == CA_READY_CALLBACK) {
        return make_handle(self, op, fut, context);
    }
    if (kind != CA_READY_TASK_STEP && kind != CA_READY_TASK_WAKEUP) {
        return Py_NewRef(op);
    }
    PyObject *method = ca_task_ready_method(op, kind);
    if (method == NULL) {
        return NULL;
    }
    PyObject *arg = kind != CA_READY_TASK_WAKEUP ? NULL
                    : fut != NULL ? fut
                                  : ca_task_ready_future_borrow(op);
    PyObject *handle = make_handle(self, method, arg,
                                   ca_task_ready_context_borrow(op));
    Py_DECREF(method);
    return handle;
}

/* Report the exception that is set as that of the entry's handle. */
static int
report_entry(CaLoop *self, uintptr_t word, PyObject *fut, PyObject *context)
{
    if (ca_error_leaves_loop()) {
        return -1;
    }
    PyObject *exc = ca_error_take();
    PyObject *handle = handle_for(self, word, fut, context);
    if (handle == NULL) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    int result = ca_handle_report((CaHandle *)handle);
    Py_DECREF(handle);
    return result;
}

/* ---- running ---- */

static int
run_callback(PyObject *callback, PyObject *fut, PyObject *context)
{
    if (PyContext_Enter(context) < 0) {
        return -1;
    }
    PyObject *done = PyObject_CallOneArg(callback, fut);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(done);
    }
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* A handle of stock's own class, such as add_signal_handler() makes. */
static int
run_foreign(CaLoop *self, PyObject *handle)
{
    PyObject *cancelled = PyObject_GetAttr(handle,
                                           self->st->names[CA_STR__cancelled]);
    if (cancelled == NULL) {
        return -1;
    }
    int skip = PyObject_IsTrue(cancelled);
    Py_DECREF(cancelled);
    if (skip != 0) {
        return skip < 0 ? -1 : 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs(handle,
                                               self->st->names[CA_STR__run]);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Run an entry that has been taken out; 0, or -1 when the loop must end. */
static int
run_entry(CaLoop *self, uintptr_t word, PyObject *fut, PyObject *context)
{
    PyObject *op = ca_ready_object_borrow(word);
    PyObject *failed = NULL;
    int result;
    switch (word & CA_READY_KIND_MASK) {
    case CA_READY_HANDLE:
        return ca_handle_run((CaHandle *)op);
    case CA_READY_FOREIGN:
        return run_foreign(self, op);
    case CA_READY_TASK_STEP:
        result = ca_task_run_step(self, op);
        break;
    case CA_READY_TASK_WAKEUP:
        result = ca_task_run_wakeup(self, op, &failed);
        break;
    default:
        result = run_callback(op, fut, context);
        break;
    }
    if (result == 0) {
        return 0;
    }
    result = report_entry(self, word, failed == NULL ? fut : failed, context);
    Py_XDECREF(failed);
    return result;
}

/* Warn when the handle kept the loop for slow_callback_duration or longer. */
static int
check_duration(CaLoop *self, PyObject *handle, double took_s)
{
    PyObject *limit = Py_XNewRef(self->slow_callback_s); /* may be replaced */
    double limit_s = PyFloat_AsDouble(limit);
    Py_XDECREF(limit);
    if (limit_s == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (took_s < limit_s) {
        return 0;
    }
    PyObject *took = PyFloat_FromDouble(took_s);
    if (took == NULL) {
        return -1;
    }
    PyObject *done = PyObject_CallMethodObjArgs(
        (PyObject *)self, self->st->names[CA_STR__callback_slow], handle, took,
        NULL);
    Py_DECREF(took);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* run_entry() as debug mode does it: as a handle, the current one, and
 * timed. */
static int
run_entry_debug(CaLoop *self, uintptr_t word, PyObject *fut, PyObject *context)
{
    PyObject *handle = handle_for(self, word, fut, context);
    if (handle == NULL) {
        return -1;
    }
    bool ours = ca_handle_check(self->st, handle);
    if (ours && ca_handle_cancelled((CaHandle *)handle)) {
        Py_DECREF(handle);
        return 0;
    }
    Py_XSETREF(self->current_handle, Py_NewRef(handle));
    double start_s = ca_loop_time_s(self);
    int result = start_s == -1.0 && PyErr_Occurred()
                     ? -1
                     : run_entry(self,
                                 (uintptr_t)handle | (ours ? CA_READY_HANDLE
                                                           : CA_READY_FOREIGN),
                                 NULL, NULL);
    if (result == 0) {
        double end_s = ca_loop_time_s(self);
        result = end_s == -1.0 && PyErr_Occurred()
                     ? -1
                     : check_duration(self, handle, end_s - start_s);
    }
    Py_XSETREF(self->current_handle, Py_NewRef(Py_None));
    Py_DECREF(handle);
    return result;
}

int
ca_ready_run(CaLoop *self, size_t n)
{
    while (n-- > 0 && self->ready.count > 0) {
        uintptr_t word = ca_ring_pop(&self->ready);
        PyObject *fut = NULL;
        PyObject *context = NULL;
        if ((word & CA_READY_KIND_MASK) == CA_READY_CALLBACK) {
            fut = (PyObject *)ca_ring_pop(&self->ready);
            context = (PyObject *)ca_ring_pop(&self->ready);
            n = n < 2 ? 0 : n - 2;
        }
        bool outside = ca_held_enter(self);
        int result = self->debug ? run_entry_debug(self, word, fut, context)
                                 : run_entry(self, word, fut, context);
        result = ca_held_leave(self, outside, result);
        Py_DECREF(ca_ready_object_borrow(word));
        Py_XDECREF(fut);
        Py_XDECREF(context);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

/* Let go of what the words own, and of the words. */
static void
drop_words(ca_ring *ring)
{
    while (ring->count > 0) {
        Py_DECREF(ca_ready_object_borrow(ca_ring_pop(ring)));
    }
    ca_ring_free(ring);
}

/* A ring of the same words, which owns references of its own; 0 or -1. */
static int
copy_words(const ca_ring *ring, ca_ring *copy)
{
    *copy = (ca_ring){0};
    int err = ca_ring_reserve(copy, ring->count);
    if (err < 0) {
        ca_ring_free(copy);
        ca_raise_errno(err);
        return -1;
    }
    for (size_t i = 0; i < ring->count; i++) {
        uintptr_t word = ca_ring_at(ring, i);
        Py_INCREF(ca_ready_object_borrow(word));
        (void)ca_ring_push(copy, word);
    }
    return 0;
}

/* Making handles may run Python, and with it turns of the loop. */
PyObject *
ca_ready_snapshot(CaLoop *self)
{
    ca_ring words;
    if (copy_words(&self->ready, &words) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < words.count; i++) {
        uintptr_t word = ca_ring_at(&words, i);
        PyObject *fut = NULL;
        PyObject *context = NULL;
        if ((word & CA_READY_KIND_MASK) == CA_READY_CALLBACK) {
            fut = (PyObject *)ca_ring_at(&words, ++i);
            context = (PyObject *)ca_ring_at(&words, ++i);
        }
        PyObject *handle = handle_for(self, word, fut, context);
        if (handle == NULL || PyList_Append(list, handle) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(handle);
    }
    drop_words(&words);
    PyObject *tuple = list == NULL ? NULL : PyList_AsTuple(list);
    Py_XDECREF(list);
    return tuple;
}

void
ca_ready_clear(CaLoop *self)
{
    ca_ring words = self->ready;       /* destructors may look at the queue */
    self->ready = (ca_ring){0};
    drop_words(&words);
}

int
ca_ready_traverse(const CaLoop *self, visitproc visit, void *arg)
{
    for (size_t i = 0; i < self->ready.count; i++) {
        Py_VISIT(ca_ready_object_borrow(ca_ring_at(&self->ready, i)));
    }
    return 0;
}
