/* semaphore.c - the native halves of Semaphore and BoundedSemaphore.
 *
 * Stock has two ways to go on after a wait.  The later one wakes whoever may
 * go on, in a `finally`; the earlier one wakes one more, and after a
 * cancellation gives back only what it was given.  ca_state.sync knows which
 * one the running Python has.
 */
#include "py/args.h"
#include "sync/call.h"
#include "sync/waiters.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static const char *const calls[] = {"locked",        "acquire",   "release",
                                    "_wake_up_next", "_get_loop", NULL};

static const ca_sync_face face = {
    .native = offsetof(ca_state, sync.SemaphoreType),
    .stock = offsetof(ca_state, sync.StockSemaphore),
    .calls = calls,
};

static const ca_sync_face bounded_face = {
    .native = offsetof(ca_state, sync.BoundedSemaphoreType),
    .stock = offsetof(ca_state, sync.StockBoundedSemaphore),
    .calls = calls,
};

static bool
is_bounded(PyObject *op)
{
    CaSemaphore *self = (CaSemaphore *)op;
    if (!ca_typetag_holds(self->faced_type, Py_TYPE(op))) {
        self->faced_type = ca_typetag_of(Py_TYPE(op));
        self->bounded = PyObject_TypeCheck(
            op, ca_sync_owner_state(op)->sync.BoundedSemaphoreType);
    }
    return self->bounded;
}

static const ca_sync_face *
face_of(PyObject *op)
{
    return is_bounded(op) ? &bounded_face : &face;
}

/* ---- the operation ---- */

/* locked(): 1, 0 or -1. */
static int
is_locked(CaSemaphore *self)
{
    if (self->value.n == 0) {
        return 1;
    }
    int free = ca_waiters_all_cancelled(self->s.st, self->s.waiters);
    return free < 0 ? -1 : !free;
}

/* _wake_up_next(): 1, 0 when nobody waits, or -1. */
static int
wake_next(CaSemaphore *self)
{
    ca_state *st = self->s.st;
    PyObject *fut = ca_waiters_first_pending(st, self->s.waiters);
    if (fut == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    self->value.n--;
    int result = ca_waiter_finish(st, fut, Py_True);
    Py_DECREF(fut);
    return result < 0 ? -1 : 1;
}

/* Wake as many as there is room for, or as the running Python does. */
static int
wake_others(CaSemaphore *self)
{
    int woken = 1;
    while (woken > 0 && self->value.n > 0) {
        woken = wake_next(self);
        if (!self->s.st->sync.semaphore_wakes_all) {
            break;
        }
    }
    return woken < 0 ? -1 : 0;
}

static ca_sync_outcome
acquire_begin(CaSyncCall *call, PyObject **result)
{
    CaSemaphore *self = (CaSemaphore *)call->owner;
    if (!ca_sync_is_plain(call->owner, call->op->face)) {
        return CA_SYNC_STOCK;
    }
    int locked = is_locked(self);
    if (locked != 0) {
        return locked < 0 ? CA_SYNC_FAILED : CA_SYNC_WAIT;
    }
    self->value.n--;
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

static ca_sync_outcome
acquire_resume(CaSyncCall *call, PyObject **result)
{
    CaSemaphore *self = (CaSemaphore *)call->owner;
    if (ca_deque_remove(call->c.st, self->s.waiters, call->c.future) < 0 ||
        wake_others(self) < 0) {
        return CA_SYNC_FAILED;
    }
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

static int
acquire_fail(CaSyncCall *call, PyObject *exc)
{
    CaSemaphore *self = (CaSemaphore *)call->owner;
    bool wakes_all = call->c.st->sync.semaphore_wakes_all;
    int result = ca_deque_remove(call->c.st, self->s.waiters, call->c.future);
    if (result == 0 &&
        PyErr_GivenExceptionMatches(exc, call->c.st->CancelledError)) {
        int state = ((CaFuture *)call->c.future)->state;
        bool given = wakes_all ? state == CA_FINISHED : state != CA_CANCELLED;
        if (given) {
            self->value.n++;
        }
        if (given && !wakes_all) {
            result = wake_next(self);
        }
    }
    if (wakes_all && result >= 0) {
        result = wake_others(self);
    }
    return result < 0 ? -1 : 0;
}

static ca_sync_outcome
none_for_true(ca_sync_outcome outcome, PyObject **result)
{
    if (outcome == CA_SYNC_DONE) {
        Py_SETREF(*result, Py_NewRef(Py_None));
    }
    return outcome;
}

static ca_sync_outcome
enter_begin(CaSyncCall *call, PyObject **result)
{
    return none_for_true(acquire_begin(call, result), result);
}

static ca_sync_outcome
enter_resume(CaSyncCall *call, PyObject **result)
{
    return none_for_true(acquire_resume(call, result), result);
}

static int
release(CaSemaphore *self)
{
    self->value.n++;
    return wake_next(self);
}

/* release() of a bounded one: 0, or -1 with an exception. */
static int
release_bounded(CaSemaphore *self)
{
    if (self->value.n >= self->bound.n) {
        PyErr_SetString(PyExc_ValueError,
                        "BoundedSemaphore released too many times");
        return -1;
    }
    return release(self);
}

static ca_sync_outcome
exit_begin(CaSyncCall *call, PyObject **result)
{
    CaSemaphore *self = (CaSemaphore *)call->owner;
    if (!ca_sync_is_plain(call->owner, call->op->face)) {
        return CA_SYNC_STOCK;
    }
    int done = call->op->face == &bounded_face ? release_bounded(self)
                                               : release(self);
    *result = done < 0 ? NULL : Py_NewRef(Py_None);
    return done < 0 ? CA_SYNC_FAILED : CA_SYNC_DONE;
}

#define ACQUIRE(of) \
    {.face = &of, \
     .name = "acquire", \
     .qualname = "Semaphore.acquire", \
     .waiters = offsetof(CaSync, waiters), \
     .begin = acquire_begin, \
     .resume = acquire_resume, \
     .fail = acquire_fail}

#define ENTER(of) \
    {.face = &of, \
     .name = "__aenter__", \
     .qualname = "_ContextManagerMixin.__aenter__", \
     .waiters = offsetof(CaSync, waiters), \
     .begin = enter_begin, \
     .resume = enter_resume, \
     .fail = acquire_fail}

#define EXIT(of) \
    {.face = &of, \
     .name = "__aexit__", \
     .qualname = "_ContextManagerMixin.__aexit__", \
     .nargs = 3, \
     .begin = exit_begin}

/* Unbounded, bounded. */
static const ca_sync_op acquire_ops[2] = {ACQUIRE(face),
                                          ACQUIRE(bounded_face)};
static const ca_sync_op enter_ops[2] = {ENTER(face), ENTER(bounded_face)};
static const ca_sync_op exit_ops[2] = {EXIT(face), EXIT(bounded_face)};

/* ---- methods ---- */

PyDoc_STRVAR(acquire_doc,
"acquire($self, /)\n--\n\n"
"Wait until the value is above zero, take one off and return True.\n\n"
"First come, first served.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Semaphore\".");

static PyObject *
semaphore_py_acquire(PyObject *op, PyObject *Py_UNUSED(none))
{
    bool bounded = is_bounded(op);
    return ca_synccall_new((CaSync *)op, &acquire_ops[bounded], NULL);
}

PyDoc_STRVAR(aenter_doc,
"__aenter__($self, /)\n--\n\nAcquire the semaphore; returns None.");

static PyObject *
semaphore_py_aenter(PyObject *op, PyObject *Py_UNUSED(none))
{
    bool bounded = is_bounded(op);
    return ca_synccall_new((CaSync *)op, &enter_ops[bounded], NULL);
}

PyDoc_STRVAR(aexit_doc,
"__aexit__($self, /, exc_type, exc, tb)\n--\n\nRelease the semaphore.");

static PyObject *
semaphore_py_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    CaSync *self = (CaSync *)op;
    bool bounded = is_bounded(op);
    return nargs == 3 && kwnames == NULL
               ? ca_synccall_new(self, &exit_ops[bounded], NULL)
               : ca_sync_stock(self, &face, "__aexit__", args, nargs, kwnames);
}

PyDoc_STRVAR(release_doc,
"release($self, /)\n--\n\n"
"Add one to the value and wake the first that waits.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Semaphore\".");

static PyObject *
semaphore_py_release(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSync *self = (CaSync *)op;
    if (!ca_sync_is_plain(self, face_of(op))) {
        return ca_sync_stock(self, &face, "release", NULL, 0, NULL);
    }
    return release((CaSemaphore *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(bounded_release_doc,
"release($self, /)\n--\n\n"
"Add one to the value and wake the first that waits.\n\n"
"Errors: ValueError when the value would be above the initial one.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"BoundedSemaphore\".");

static PyObject *
bounded_py_release(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSync *self = (CaSync *)op;
    if (!ca_sync_is_plain(self, &bounded_face)) {
        return ca_sync_stock(self, &bounded_face, "release", NULL, 0, NULL);
    }
    return release_bounded((CaSemaphore *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(locked_doc,
"locked($self, /)\n--\n\n"
"Return whether acquire() would have to wait.\n\n"
"Source: asyncio, \"Semaphore\".");

static PyObject *
semaphore_py_locked(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSync *self = (CaSync *)op;
    if (self->tampered) {
        return ca_sync_stock(self, &face, "locked", NULL, 0, NULL);
    }
    int locked = is_locked((CaSemaphore *)op);
    return locked < 0 ? NULL : PyBool_FromLong(locked);
}

/* ---- birth and death ---- */

/* The initial value, where it is a plain one: borrowed; else NULL. */
static PyObject *
plain_value_borrow(PyObject *args, PyObject *kwargs, Py_ssize_t *value)
{
    PyObject *given = NULL;
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);
    Py_ssize_t nkw = kwargs == NULL ? 0 : PyDict_GET_SIZE(kwargs);
    *value = 1;
    if (nargs + nkw == 0) {
        return Py_None;
    }
    if (nargs + nkw == 1) {
        given = nargs == 1 ? PyTuple_GET_ITEM(args, 0)
                           : PyDict_GetItemString(kwargs, "value");
    }
    if (given == NULL || !PyLong_CheckExact(given)) {
        return NULL;
    }
    *value = PyLong_AsSsize_t(given);
    if (*value < 0) {
        PyErr_Clear();                 /* too large, or refused by stock */
        return NULL;
    }
    return given;
}

static int
init(CaSemaphore *self, const ca_sync_face *of, PyObject *args,
     PyObject *kwargs)
{
    Py_ssize_t value;
    if (plain_value_borrow(args, kwargs, &value) == NULL) {
        return ca_sync_stock_init(&self->s, of, args, kwargs);
    }
    Py_CLEAR(self->s.waiters);
    Py_CLEAR(self->value.odd);
    Py_CLEAR(self->bound.odd);
    self->value.n = self->bound.n = value;
    return 0;
}

static int
semaphore_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return init((CaSemaphore *)op, &face, args, kwargs);
}

static int
bounded_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return init((CaSemaphore *)op, &bounded_face, args, kwargs);
}

static int
semaphore_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaSemaphore *self = (CaSemaphore *)op;
    Py_VISIT(self->value.odd);
    Py_VISIT(self->bound.odd);
    return ca_sync_traverse(&self->s, visit, arg);
}

static int
semaphore_tp_clear(PyObject *op)
{
    CaSemaphore *self = (CaSemaphore *)op;
    Py_CLEAR(self->value.odd);
    Py_CLEAR(self->bound.odd);
    ca_sync_clear(&self->s);
    return 0;
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", semaphore_py_acquire, METH_NOARGS, acquire_doc},
    {"release", semaphore_py_release, METH_NOARGS, release_doc},
    {"locked", semaphore_py_locked, METH_NOARGS, locked_doc},
    {"__aenter__", semaphore_py_aenter, METH_NOARGS, aenter_doc},
    {"__aexit__", FASTCALL(semaphore_py_aexit), METH_FASTCALL | METH_KEYWORDS,
     aexit_doc},
    {0},
};

static PyMethodDef bounded_methods[] = {
    {"release", bounded_py_release, METH_NOARGS, bounded_release_doc},
    {0},
};

static PyGetSetDef semaphore_getset[] = {
    {"_loop", ca_sync_get_loop, ca_sync_set_loop,
     "The loop that the semaphore is bound to, or None.", NULL},
    {"_waiters", ca_sync_get_deque_or_none, ca_sync_set_deque,
     "Deque of the futures that wait, or None.",
     (void *)offsetof(CaSync, waiters)},
    {"_value", ca_sync_get_number, ca_sync_set_number,
     "How often it can be acquired without a wait.",
     (void *)offsetof(CaSemaphore, value)},
    {0},
};

static PyGetSetDef bounded_getset[] = {
    {"_bound_value", ca_sync_get_number, ca_sync_set_number,
     "The initial value.", (void *)offsetof(CaSemaphore, bound)},
    {0},
};

PyDoc_STRVAR(semaphore_doc,
"Semaphore(value=1)\n--\n\nThe native half of casyncio.Semaphore.");

PyDoc_STRVAR(bounded_doc,
"BoundedSemaphore(value=1)\n--\n\n"
"The native half of casyncio.BoundedSemaphore.");

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, (void *)semaphore_doc},
    {Py_tp_new, ca_sync_tp_new},
    {Py_tp_init, semaphore_tp_init},
    {Py_tp_dealloc, ca_sync_tp_dealloc},
    {Py_tp_traverse, semaphore_tp_traverse},
    {Py_tp_clear, semaphore_tp_clear},
    {Py_tp_setattro, ca_sync_tp_setattro},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, (void *)bounded_doc},
    {Py_tp_init, bounded_tp_init},
    {Py_tp_dealloc, ca_sync_tp_dealloc},
    {Py_tp_traverse, semaphore_tp_traverse},
    {Py_tp_clear, semaphore_tp_clear},
    {Py_tp_methods, bounded_methods},
    {Py_tp_getset, bounded_getset},
    {0, NULL},
};

PyType_Spec ca_semaphore_spec = {
    .name = "casyncio._native.Semaphore",
    .basicsize = sizeof(CaSemaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_slots,
};

PyType_Spec ca_bounded_semaphore_spec = {
    .name = "casyncio._native.BoundedSemaphore",
    .basicsize = sizeof(CaSemaphore),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = bounded_slots,
};
