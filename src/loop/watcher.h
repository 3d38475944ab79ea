/* watcher.h - who is told that a descriptor is ready.
 *
 * The owner of a watch in the reactor is a Handle, which is queued, or the
 * watcher of some object of ours, which acts at once, in the I/O phase of the
 * turn.  The two are told apart by the lowest bit of the pointer.  Either way
 * the reactor's owner stands for one reference to the object.
 */
#ifndef CA_LOOP_WATCHER_H
#define CA_LOOP_WATCHER_H

#include "loop/loop.h"

#include <stddef.h>

typedef struct {
    /* One direction of its descriptor is ready.  0, or -1 with the exception
     * that must leave the loop.  The caller holds a reference to `op`.  May
     * run Python. */
    int (*ready)(CaLoop *loop, PyObject *op, ca_op_kind kind);
    size_t offset;                     /* of the watcher in its object */
    /* It will be told no more: somebody else has taken the descriptor over, or
     * the loop was closed.  NULL: it does not matter.  May run Python. */
    void (*lost)(PyObject *op);
} ca_watcher_vt;

/* A member of the object that watches. */
typedef struct {
    const ca_watcher_vt *vt;
    bool idle;                         /* armed, but nobody waits: not shown */
} ca_watcher;

static inline PyObject *
ca_watcher_object_borrow(const ca_watcher *watcher)
{
    return (PyObject *)((char *)watcher - watcher->vt->offset);
}

/* Watch one direction of fd for the object of `watcher`, taking over from the
 * watch that is there (a Handle is cancelled).  0 or -1.  May run Python. */
int ca_watcher_start(CaLoop *loop, ca_watcher *watcher, int fd,
                     ca_op_kind kind);

/* Stop, if it is this watcher that watches.  May run Python (destructors). */
void ca_watcher_stop(CaLoop *loop, ca_watcher *watcher, int fd,
                     ca_op_kind kind);

/* Tell a watcher that its descriptor is ready, as a callback of the loop. */
int ca_watcher_tell(CaLoop *loop, ca_watcher *watcher, ca_op_kind kind);

/* The watcher behind an owner; NULL: it is a Handle. */
static inline ca_watcher *
ca_owner_watcher(void *owner)
{
    uintptr_t word = (uintptr_t)owner;
    return (word & 1) != 0 ? (ca_watcher *)(word & ~(uintptr_t)1) : NULL;
}

/* Whether an owner, NULL or not, is one that others should see. */
static inline bool
ca_owner_visible(void *owner)
{
    const ca_watcher *watcher = ca_owner_watcher(owner);
    return owner != NULL && (watcher == NULL || !watcher->idle);
}

/* The object behind an owner that is not NULL. */
static inline PyObject *
ca_owner_object_borrow(void *owner)
{
    ca_watcher *watcher = ca_owner_watcher(owner);
    return watcher == NULL ? owner : ca_watcher_object_borrow(watcher);
}

/* Let go of an owner that was replaced or stopped: a Handle is cancelled, a
 * watcher is told.  0 or -1.  May run Python. */
int ca_owner_retire(void *owner);

#endif
