/* loop.c - birth, death and small questions of struct CaLoop.
 *
 * States: new (closed is true, nothing open) -> open, by _open() -> running
 * and back, as often as wanted -> closed for ever, by close() or the
 * collector. Native state exists from tp_new on, so that any method may be
 * called on a loop whose __init__ never ran: it says that the loop is closed.
 */
#include "loop/loop.h"

#include "loop/handle.h"
#include "loop/object.h"
#include "loop/overrides.h"
#include "loop/ready.h"
#include "loop/run.h"
#include "loop/watcher.h"

#include <stdlib.h>
#include <string.h>

int
ca_loop_check_open(const CaLoop *self)
{
    if (self->closed) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

int
ca_loop_check_thread(const CaLoop *self)
{
    if (self->thread_id != 0 &&
        self->thread_id != PyThread_get_thread_ident()) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Non-thread-safe operation invoked on an event loop "
                        "other than the current one");
        return -1;
    }
    return 0;
}

double
ca_loop_time_s(CaLoop *self)
{
    if ((ca_overrides_now(self) & CA_OVERRIDE_TIME) == 0) {
        return ca_clock_to_s(ca_clock_now_ns());
    }
    PyObject *now = PyObject_CallMethodNoArgs((PyObject *)self,
                                              self->st->names[CA_STR_time]);
    if (now == NULL) {
        return -1.0;
    }
    double now_s = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return now_s;
}

/* glibc gives the end of the heap back to the kernel when 128 KiB of it are
 * free, so that messages of that size would cost page faults, each of them.
 * It learns better from a larger block that is freed, once. */
void
ca_loop_teach_allocator(void)
{
    void *volatile block = malloc((size_t)4 * CA_READ_BUFFER_SIZE);
    free(block);
}

char *
ca_loop_read_buffer(CaLoop *self)
{
    if (self->read_buffer == NULL) {
        ca_loop_teach_allocator();
        self->read_buffer = malloc(CA_READ_BUFFER_SIZE);
        if (self->read_buffer == NULL) {
            PyErr_NoMemory();
        }
    }
    return self->read_buffer;
}

/* The reactor's owners stand for references. */
static void
drop_owner(void *owner)
{
    const ca_watcher *watcher = ca_owner_watcher(owner);
    PyObject *op = ca_owner_object_borrow(owner);
    if (watcher != NULL && watcher->vt->lost != NULL) {
        watcher->vt->lost(op);
    }
    Py_DECREF(op);
}

static int
visit_owner(void *owner, visitproc visit, void *arg)
{
    if (owner != NULL) {
        Py_VISIT(ca_owner_object_borrow(owner));
    }
    return 0;
}

/* The heap gives up its references one by one, last first: no sifting. */
static void
drop_timers(ca_heap *timers)
{
    while (timers->count > 0) {
        ca_timer *timer = timers->entries[timers->count - 1].timer;
        ca_heap_remove(timers, timer);
        Py_DECREF(ca_timer_handle_of(timer));
    }
}

void
ca_loop_release(CaLoop *self)
{
    self->closed = true;
    drop_timers(&self->reactor.timers);
    ca_reactor_close(&self->reactor, drop_owner);
    ca_ready_clear(self);
    ca_signals_close(&self->signals);
    Py_CLEAR(self->fileobjs);
    ca_context_clear(&self->contexts);
    ca_spares_clear(&self->spares);
    /* A closed loop may wait long for the collector; nobody who looks at this
     * buffer lets Python run. */
    free(self->read_buffer);
    self->read_buffer = NULL;
}

PyObject *
ca_loop_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
               PyObject *Py_UNUSED(kwargs))
{
    ca_state *st = ca_state_of_type(type);
    if (st == NULL) {
        return NULL;
    }
    if (type == st->LoopType) {
        PyErr_SetString(PyExc_TypeError,
                        "cannot create 'casyncio._native.Loop' instances; "
                        "use casyncio.Loop");
        return NULL;
    }
    CaLoop *self = (CaLoop *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    ca_dlist_init(&self->held);
    self->closed = true;
    self->signals = (ca_signals){.read_fd = -1, .write_fd = -1};
    self->budget = (ca_poll_budget){.turns = CA_BUDGET_TURNS,
                                    .time_ns = CA_BUDGET_TIME_NS};
    self->task_factory = Py_NewRef(Py_None);
    self->current_handle = Py_NewRef(Py_None);
    self->slow_callback_s = PyFloat_FromDouble(0.1);
    if (self->slow_callback_s == NULL || ca_overrides_update(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
visit_owners(const CaLoop *self, visitproc visit, void *arg)
{
    const ca_watch_table *watches = &self->reactor.watches;
    for (size_t fd = 0; fd < watches->cap; fd++) {
        if (watches->by_fd[fd] != NULL) {
            void *const *owner = watches->by_fd[fd]->owner;
            int stop = visit_owner(owner[CA_OP_POLL_IN], visit, arg);
            if (stop == 0) {
                stop = visit_owner(owner[CA_OP_POLL_OUT], visit, arg);
            }
            if (stop != 0) {
                return stop;
            }
        }
    }
    return 0;
}

static int
visit_jobs(const CaLoop *self, visitproc visit, void *arg)
{
    const ca_dnode *jobs = &self->reactor.jobs;
    if (self->closed) {
        return 0;
    }
    for (const ca_dnode *n = jobs->next; n != jobs; n = n->next) {
        int stop = visit_owner(CA_CONTAINER_OF(n, ca_reactor_job, link)->owner,
                               visit, arg);
        if (stop != 0) {
            return stop;
        }
    }
    return 0;
}

static int
visit_timers(const CaLoop *self, visitproc visit, void *arg)
{
    const ca_heap *timers = &self->reactor.timers;
    for (size_t i = 0; i < timers->count; i++) {
        Py_VISIT(ca_timer_handle_of(timers->entries[i].timer));
    }
    return 0;
}

int
ca_loop_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaLoop *self = (CaLoop *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->task_factory);
    Py_VISIT(self->current_handle);
    Py_VISIT(self->slow_callback_s);
    Py_VISIT(self->debug_given);
    Py_VISIT(self->fileobjs);
    Py_VISIT(self->transports);
    Py_VISIT(self->own_table);
    Py_VISIT(self->own_table_dict);
    Py_VISIT(self->contexts.snapshot);
    Py_VISIT(self->contexts.spare);
    int stop = visit_owners(self, visit, arg);
    if (stop == 0) {
        stop = visit_timers(self, visit, arg);
    }
    if (stop == 0) {
        stop = visit_jobs(self, visit, arg);
    }
    return stop != 0 ? stop : ca_ready_traverse(self, visit, arg);
}

int
ca_loop_tp_clear(PyObject *op)
{
    CaLoop *self = (CaLoop *)op;
    ca_loop_release(self);
    Py_CLEAR(self->task_factory);
    Py_CLEAR(self->current_handle);
    Py_CLEAR(self->slow_callback_s);
    Py_CLEAR(self->debug_given);
    Py_CLEAR(self->transports);
    Py_CLEAR(self->own_table);
    Py_CLEAR(self->own_table_dict);
    return 0;
}

void
ca_loop_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    ca_state *st = ((CaLoop *)op)->st;
    PyObject_GC_UnTrack(op);
    if (st != NULL && st->known_loop == (CaLoop *)op) {
        st->known_loop = NULL;
    }
    (void)ca_loop_tp_clear(op);
    free(((CaLoop *)op)->tls_buffers);
    free(((CaLoop *)op)->tls_spare);
    free(((CaLoop *)op)->datagram_slots);
    free(((CaLoop *)op)->claims);
    type->tp_free(op);
    Py_DECREF(type);
}
