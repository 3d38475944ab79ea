/* lock.c - the native half of Lock. */
#include "py/args.h"
#include "sync/call.h"
#include "sync/waiters.h"

#include <stddef.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

static const char *const calls[] = {"acquire", "release", "_wake_up_first",
                                    "_get_loop", NULL};

static const ca_sync_face face = {
    .native = offsetof(ca_state, sync.LockType),
    .stock = offsetof(ca_state, sync.StockLock),
    .calls = calls,
};

/* ---- the operation ---- */

/* _wake_up_first(); 0 or -1. */
static int
wake_first(CaLock *self)
{
    ca_state *st = self->s.st;
    if (ca_deque_size(self->s.waiters) == 0) {
        return 0;
    }
    PyObject *fut = ca_deque_first(self->s.waiters);
    int done = fut == NULL ? -1 : ca_waiter_is_done(st, fut);
    int result = done != 0 ? done : ca_waiter_finish(st, fut, Py_True);
    Py_XDECREF(fut);
    return result < 0 ? -1 : 0;
}

static int
release(CaLock *self)
{
    if (!self->locked) {
        PyErr_SetString(PyExc_RuntimeError, "Lock is not acquired.");
        return -1;
    }
    self->locked = false;
    return wake_first(self);
}

static ca_sync_outcome
acquire_begin(CaSyncCall *call, PyObject **result)
{
    CaLock *self = (CaLock *)call->owner;
    if (!ca_sync_is_plain(call->owner, &face)) {
        return CA_SYNC_STOCK;
    }
    if (self->locked) {
        return CA_SYNC_WAIT;
    }
    int free = ca_waiters_all_cancelled(call->c.st, self->s.waiters);
    if (free <= 0) {
        return free < 0 ? CA_SYNC_FAILED : CA_SYNC_WAIT;
    }
    self->locked = true;
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

static ca_sync_outcome
acquire_resume(CaSyncCall *call, PyObject **result)
{
    CaLock *self = (CaLock *)call->owner;
    if (ca_deque_remove(call->c.st, self->s.waiters, call->c.future) < 0) {
        return CA_SYNC_FAILED;
    }
    self->locked = true;
    *result = Py_NewRef(Py_True);
    return CA_SYNC_DONE;
}

/* If nobody has the lock, or is about to have it, the next in line must be
 * woken in our place. */
static int
acquire_fail(CaSyncCall *call, PyObject *exc)
{
    CaLock *self = (CaLock *)call->owner;
    if (ca_deque_remove(call->c.st, self->s.waiters, call->c.future) < 0) {
        return -1;
    }
    if (self->locked ||
        !PyErr_GivenExceptionMatches(exc, call->c.st->CancelledError)) {
        return 0;
    }
    return wake_first(self);
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

static ca_sync_outcome
exit_begin(CaSyncCall *call, PyObject **result)
{
    if (!ca_sync_is_plain(call->owner, &face)) {
        return CA_SYNC_STOCK;
    }
    if (release((CaLock *)call->owner) < 0) {
        return CA_SYNC_FAILED;
    }
    *result = Py_NewRef(Py_None);
    return CA_SYNC_DONE;
}

static const ca_sync_op acquire_op = {
    .face = &face,
    .name = "acquire",
    .qualname = "Lock.acquire",
    .waiters = offsetof(CaSync, waiters),
    .begin = acquire_begin,
    .resume = acquire_resume,
    .fail = acquire_fail,
};

static const ca_sync_op enter_op = {
    .face = &face,
    .name = "__aenter__",
    .qualname = "_ContextManagerMixin.__aenter__",
    .waiters = offsetof(CaSync, waiters),
    .begin = enter_begin,
    .resume = enter_resume,
    .fail = acquire_fail,
};

static const ca_sync_op exit_op = {
    .face = &face,
    .name = "__aexit__",
    .qualname = "_ContextManagerMixin.__aexit__",
    .nargs = 3,
    .begin = exit_begin,
};

/* ---- methods ---- */

PyDoc_STRVAR(acquire_doc,
"acquire($self, /)\n--\n\n"
"Wait until the lock is unlocked, lock it and return True.\n\n"
"First come, first served.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Lock\".");

static PyObject *
lock_py_acquire(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_synccall_new((CaSync *)op, &acquire_op, NULL);
}

PyDoc_STRVAR(aenter_doc,
"__aenter__($self, /)\n--\n\nAcquire the lock; returns None.");

static PyObject *
lock_py_aenter(PyObject *op, PyObject *Py_UNUSED(none))
{
    return ca_synccall_new((CaSync *)op, &enter_op, NULL);
}

PyDoc_STRVAR(aexit_doc,
"__aexit__($self, /, exc_type, exc, tb)\n--\n\nRelease the lock.");

static PyObject *
lock_py_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    CaSync *self = (CaSync *)op;
    return nargs == 3 && kwnames == NULL
               ? ca_synccall_new(self, &exit_op, NULL)
               : ca_sync_stock(self, &face, "__aexit__", args, nargs, kwnames);
}

PyDoc_STRVAR(release_doc,
"release($self, /)\n--\n\n"
"Unlock the lock and wake the first that waits for it.\n\n"
"Errors: RuntimeError when it is not locked.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Lock\".");

static PyObject *
lock_py_release(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaSync *self = (CaSync *)op;
    if (!ca_sync_is_plain(self, &face)) {
        return ca_sync_stock(self, &face, "release", NULL, 0, NULL);
    }
    return release((CaLock *)op) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(locked_doc,
"locked($self, /)\n--\n\n"
"Return whether the lock is locked.\n\n"
"Source: asyncio, \"Lock\".");

static PyObject *
lock_py_locked(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaLock *)op)->locked);
}

/* ---- birth and death ---- */

static int
lock_tp_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    CaLock *self = (CaLock *)op;
    if (PyTuple_GET_SIZE(args) != 0 || kwargs != NULL) {
        return ca_sync_stock_init(&self->s, &face, args, kwargs);
    }
    Py_CLEAR(self->s.waiters);
    self->locked = false;
    return 0;
}

static int
lock_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    return ca_sync_traverse((CaSync *)op, visit, arg);
}

static int
lock_tp_clear(PyObject *op)
{
    ca_sync_clear((CaSync *)op);
    return 0;
}

static PyMethodDef lock_methods[] = {
    {"acquire", lock_py_acquire, METH_NOARGS, acquire_doc},
    {"release", lock_py_release, METH_NOARGS, release_doc},
    {"locked", lock_py_locked, METH_NOARGS, locked_doc},
    {"__aenter__", lock_py_aenter, METH_NOARGS, aenter_doc},
    {"__aexit__", FASTCALL(lock_py_aexit), METH_FASTCALL | METH_KEYWORDS,
     aexit_doc},
    {0},
};

static PyGetSetDef lock_getset[] = {
    {"_loop", ca_sync_get_loop, ca_sync_set_loop,
     "The loop that the lock is bound to, or None.", NULL},
    {"_waiters", ca_sync_get_deque_or_none, ca_sync_set_deque,
     "Deque of the futures that wait, or None.",
     (void *)offsetof(CaSync, waiters)},
    {"_locked", ca_flag_get, ca_flag_set, "It is locked.",
     (void *)offsetof(CaLock, locked)},
    {0},
};

PyDoc_STRVAR(lock_doc,
"Lock()\n--\n\nThe native half of casyncio.Lock.");

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, (void *)lock_doc},
    {Py_tp_new, ca_sync_tp_new},
    {Py_tp_init, lock_tp_init},
    {Py_tp_dealloc, ca_sync_tp_dealloc},
    {Py_tp_traverse, lock_tp_traverse},
    {Py_tp_clear, lock_tp_clear},
    {Py_tp_setattro, ca_sync_tp_setattro},
    {Py_tp_methods, lock_methods},
    {Py_tp_getset, lock_getset},
    {0, NULL},
};

PyType_Spec ca_lock_spec = {
    .name = "casyncio._native.Lock",
    .basicsize = sizeof(CaLock),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lock_slots,
};
