/* watcher.c - see watcher.h. */
#include "loop/watcher.h"

#include "loop/handle.h"
#include "loop/held.h"
#include "py/errors.h"

int
ca_owner_retire(void *owner)
{
    int result = 0;
    if (owner == NULL) {
        return 0;
    }
    const ca_watcher *watcher = ca_owner_watcher(owner);
    PyObject *op = ca_owner_object_borrow(owner);
    if (watcher == NULL) {
        result = ca_handle_cancel((CaHandle *)op);
    } else if (watcher->vt->lost != NULL) {
        watcher->vt->lost(op);
    }
    Py_DECREF(op);
    return result;
}

int
ca_watcher_start(CaLoop *loop, ca_watcher *watcher, int fd, ca_op_kind kind)
{
    void *owner = (void *)((uintptr_t)watcher | 1);
    void *old = NULL;
    if (ca_loop_check_open(loop) < 0) {
        return -1;
    }
    int err = ca_reactor_watch(&loop->reactor, fd, kind, owner, &old);
    if (err < 0) {
        ca_raise_errno(err);
        return -1;
    }
    Py_INCREF(ca_watcher_object_borrow(watcher));
    return ca_owner_retire(old);
}

void
ca_watcher_stop(CaLoop *loop, ca_watcher *watcher, int fd, ca_op_kind kind)
{
    void *owner = ca_reactor_owner(&loop->reactor, fd, kind);
    if (owner != NULL && ca_owner_watcher(owner) == watcher) {
        (void)ca_reactor_unwatch(&loop->reactor, fd, kind);
        Py_DECREF(ca_watcher_object_borrow(watcher));
    }
}

int
ca_watcher_tell(CaLoop *loop, ca_watcher *watcher, ca_op_kind kind)
{
    PyObject *op = Py_NewRef(ca_watcher_object_borrow(watcher));
    bool outside = ca_held_enter(loop);
    int result = watcher->vt->ready(loop, op, kind);
    result = ca_held_leave(loop, outside, result);
    Py_DECREF(op);
    return result;
}
