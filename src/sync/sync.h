/* sync.h - Lock, Event, Semaphore, Queue: structs, and what they share.
 *
 * Each type is the native half of a class in casyncio/_sync.py that derives
 * from it and from stock's class.  It overrides what is hot; all the rest
 * (repr, shutdown() and so on) is stock's own code, which finds stock's
 * attributes here under stock's names.
 *
 * Plain and not.  Native code does what stock's methods do when they call each
 * other; so it runs only while nobody has overridden one of those, in a class
 * or on the instance, or put something strange into an attribute.  Of any
 * other object a call *is* stock's method.  The same holds when there has to
 * be a wait and the loop is not ours, or not native (debug mode): the
 * coroutine (sync/call.h) hands over to stock's before it has changed
 * anything.
 *
 * Waiters are Futures in a real deque, which programs and stock's code may
 * look at; it is made when the first one comes, or when somebody looks.
 */
#ifndef CA_SYNC_SYNC_H
#define CA_SYNC_SYNC_H

#include "loop/loop.h"
#include "py/compat.h"
#include "py/flag.h"
#include "py/state.h"
#include "py/typetag.h"
#include "task/task.h"

#include <stdbool.h>

/* A number that stock keeps as any object; `odd` unless it is a plain int. */
typedef struct {
    Py_ssize_t n;
    PyObject *odd;                     /* strong; NULL: n holds */
} ca_sync_number;

/* What each of them begins with. */
typedef struct {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *loop;                    /* strong; NULL until bound to one */
    PyObject *waiters;                 /* strong; deque of futures, or NULL; of
                                          a queue: those who get */
    ca_typetag asked_type;             /* the type, when it was asked */
    bool type_plain;                   /* and what it said */
    bool tampered;                     /* an attribute hides a method, or is of
                                          a strange type; stays */
    uint8_t container;                 /* of a queue, see queue.c */
} CaSync;

typedef struct {
    CaSync s;
    bool locked;
} CaLock;

typedef struct {
    CaSync s;
    bool value;
} CaEvent;

typedef struct {
    CaSync s;
    ca_sync_number value;
    ca_sync_number bound;              /* of a bounded one */
    ca_typetag faced_type;             /* the type, when it was asked */
    bool bounded;                      /* and what it was */
} CaSemaphore;

typedef struct {
    CaSync s;
    PyObject *putters;                 /* strong; deque of futures, or NULL */
    PyObject *queue;                   /* strong; deque, list or what a user's
                                          _init() has set; or NULL */
    PyObject *finished;                /* strong; an Event; NULL: nobody asked
                                          and it is as `unfinished` says */
    ca_sync_number maxsize;
    ca_sync_number unfinished;
    bool shut;                         /* only where there is a shutdown() */
} CaQueue;

extern PyType_Spec ca_lock_spec;
extern PyType_Spec ca_event_spec;
extern PyType_Spec ca_semaphore_spec;
extern PyType_Spec ca_bounded_semaphore_spec;
extern PyType_Spec ca_queue_spec;

/* Import what the types lean on: 1; 0 when this Python's deque is not as we
 * think, and there shall be no types; -1 with an exception. */
int ca_sync_init(ca_state *st);

int ca_sync_visit_state(ca_state *st, visitproc visit, void *arg);
void ca_sync_clear_state(ca_state *st);

/* ---- plain or not ---- */

/* One per native type: what its code stands for. */
typedef struct {
    size_t native;                     /* offsets in ca_state of our type */
    size_t stock;                      /* and of stock's class */
    const char *const *calls;          /* methods that stock's call; to NULL */
} ca_sync_face;

/* Ask the type, and remember what it said.  May run Python (a metaclass). */
bool ca_sync_ask_type(CaSync *self, const ca_sync_face *face);

/* Whether the type has, under that name, what its native or else its stock
 * part has; keeps no exception. */
bool ca_sync_has_own(CaSync *self, const ca_sync_face *face, const char *name);

static inline bool
ca_sync_is_plain(CaSync *self, const ca_sync_face *face)
{
    if (self->tampered) {
        return false;
    }
    return ca_typetag_holds(self->asked_type, Py_TYPE(self))
               ? self->type_plain
               : ca_sync_ask_type(self, face);
}

/* stock's class.name(self, *args, **kw). */
PyObject *ca_sync_stock(CaSync *self, const ca_sync_face *face,
                        const char *name, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames);

/* stock's __init__; 0 or -1. */
int ca_sync_stock_init(CaSync *self, const ca_sync_face *face, PyObject *args,
                       PyObject *kwargs);

/* ---- waiting ---- */

/* The loop to wait on, which the object is bound to from now on; borrowed.
 * NULL, without an exception, when that is not one of ours, or not native, or
 * not the one that runs: stock's code will know what to do.  May run
 * Python. */
CaLoop *ca_sync_loop_borrow(CaSync *self);

/* ---- slots and attributes that they share ---- */

PyObject *ca_sync_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int ca_sync_tp_setattro(PyObject *op, PyObject *name, PyObject *value);
int ca_sync_traverse(CaSync *self, visitproc visit, void *arg);
void ca_sync_clear(CaSync *self);

/* Py_tp_dealloc, with the type's own tp_clear. */
void ca_sync_tp_dealloc(PyObject *op);

PyObject *ca_sync_get_loop(PyObject *op, void *closure);
int ca_sync_set_loop(PyObject *op, PyObject *value, void *closure);

/* A field that holds a deque or NULL; the closure is its offset.  The first
 * shows NULL as None, the other makes a deque then. */
PyObject *ca_sync_get_deque_or_none(PyObject *op, void *closure);
PyObject *ca_sync_get_deque(PyObject *op, void *closure);
int ca_sync_set_deque(PyObject *op, PyObject *value, void *closure);

/* A ca_sync_number field; the closure is its offset. */
PyObject *ca_sync_get_number(PyObject *op, void *closure);
int ca_sync_set_number(PyObject *op, PyObject *value, void *closure);

/* event.set() and event.clear() of one of ours; 0 or -1. */
int ca_event_set(CaEvent *self);

static inline void
ca_event_clear(CaEvent *self)
{
    self->value = false;
}

/* A new Event of the class that programs see, which is set; or NULL. */
PyObject *ca_event_new_set(ca_state *st);

/* The state behind an object of ours; never fails. */
static inline ca_state *
ca_sync_owner_state(PyObject *op)
{
    return ((CaSync *)op)->st;
}

#endif
