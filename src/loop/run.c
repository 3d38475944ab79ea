/* run.c - one turn of the loop, on one screen: ca_loop_turn().
 *
 * The order is stock's: what was queued before, then what the poll found, then
 * timers that are due; callbacks queued meanwhile wait for the next turn.
 *
 * While callbacks are ready, a turn need not look at the descriptors: an empty
 * poll costs more than a task switch.  The poll budget says how long that may
 * go on.  A turn looks in any case when it is the first of a run, when the
 * loop is stopping, and when nothing is ready.  A turn that did not look and
 * in which the loop was stopped looks at its end (look_late), so that a
 * stopped loop has delivered what stock would have delivered.
 *
 * The interpreter lock is let go of round a wait that may block, never round
 * one that only looks.  Callbacks in C never let go of it and see no other
 * pending work of the interpreter either, so a loop that has not blocked for a
 * while gives it the chance, see do_pending_work().
 */
#include "loop/run.h"

#include "loop/fileobjs.h"
#include "loop/handle.h"
#include "loop/overrides.h"
#include "loop/ready.h"
#include "loop/watcher.h"
#include "py/errors.h"
#include "py/freelist.h"

#include <errno.h>

/* Stock's MAXIMUM_SELECT_TIMEOUT: one day. */
#define MAX_WAIT_NS (INT64_C(24) * 3600 * CA_NS_PER_S)
/* How long callbacks in C may keep the interpreter from its pending work. */
#define PENDING_INTERVAL_NS CA_NS_PER_MS

/* Now on the loop's clock in nanoseconds; -1 with an exception when a
 * replaced time() failed. */
static int64_t
now_ns(CaLoop *self)
{
    if ((ca_overrides_now(self) & CA_OVERRIDE_TIME) == 0) {
        return ca_pace_read(&self->pace);
    }
    double now_s = ca_loop_time_s(self);
    if (now_s == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    return ca_clock_from_s(now_s);
}

/* ---- waiting ---- */

/* How long the poll of this turn may block; -1 with an exception. */
static int64_t
wait_limit_ns(CaLoop *self)
{
    if (self->ready.count > 0 || self->stopping ||
        ca_reactor_has_finished(&self->reactor)) {
        return 0;
    }
    int64_t first_ns = ca_heap_first_ns(&self->reactor.timers);
    if (first_ns == CA_CLOCK_NEVER) {
        return CA_CLOCK_NEVER;
    }
    int64_t now = now_ns(self);
    if (now == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (first_ns <= now) {
        return 0;
    }
    int64_t limit_ns = first_ns - now;
    return limit_ns < MAX_WAIT_NS ? limit_ns : MAX_WAIT_NS;
}

/* Block without the lock.  Idle, the loop keeps no caller's context alive, and
 * gives memory of a burst back bit by bit. */
static int
wait_unlocked(CaLoop *self, int64_t limit_ns)
{
    int err = ca_reactor_check_fork(&self->reactor);
    if (err < 0) {
        return err;
    }
    ca_context_clear(&self->contexts);
    ca_freelist_trim(&self->st->handles);
    self->waiting = true;
    Py_BEGIN_ALLOW_THREADS
    err = ca_reactor_wait(&self->reactor, limit_ns);
    Py_END_ALLOW_THREADS
    self->waiting = false;
    self->turn_ticks = ca_clock_ticks();
    self->pending_ticks = self->turn_ticks;
    return err;
}

/* Queue the handle of a finished watch; a cancelled one stops watching. */
static int
queue_handle(CaLoop *self, PyObject *handle, const ca_op *op)
{
    if (!ca_handle_cancelled((CaHandle *)handle)) {
        return ca_ready_push_handle(self, Py_NewRef(handle));
    }
    int fd = op->fd;
    (void)ca_reactor_unwatch(&self->reactor, fd, op->kind);
    Py_DECREF(handle);
    ca_fileobjs_forget(self, fd);
    return 0;
}

/* Queue handles and tell watchers.  What is left after an exception is found
 * by the next look, which must not block. */
static int
deliver_finished(CaLoop *self)
{
    const ca_op *op;
    void *owner;
    self->queued_before = self->ready.count;
    while ((owner = ca_reactor_next(&self->reactor, &op)) != NULL) {
        ca_watcher *watcher = ca_owner_watcher(owner);
        int result = watcher == NULL
                         ? queue_handle(self, owner, op)
                         : ca_watcher_tell(self, watcher, op->kind);
        if (result < 0) {
            self->must_poll = true;
            return -1;
        }
    }
    return 0;
}

static int
poll(CaLoop *self)
{
    int64_t limit_ns = ca_loop_check_open(self) < 0 ? -1 : wait_limit_ns(self);
    if (limit_ns < 0) {
        return -1;                    /* a callback may have closed the loop */
    }
    int err = limit_ns == 0 ? ca_reactor_wait(&self->reactor, 0)
                            : wait_unlocked(self, limit_ns);
    self->polled = true;
    self->must_poll = false;
    self->budget.turns_left = self->budget.turns;
    self->budget.looked_ticks = self->turn_ticks;
    if (!ca_pace_known(&self->pace)) {
        (void)ca_pace_read(&self->pace);
    }
    if (err == -EINTR) {
        return PyErr_CheckSignals();
    }
    if (err < 0) {
        ca_raise_errno(err);
        return -1;
    }
    ca_reactor_reap(&self->reactor);
    return deliver_finished(self);
}

static bool
poll_is_due(CaLoop *self)
{
    ca_poll_budget *budget = &self->budget;
    return self->ready.count == 0 || self->must_poll || self->stopping ||
           --budget->turns_left <= 0 ||
           ca_pace_between_ns(&self->pace, budget->looked_ticks,
                              self->turn_ticks) >= budget->time_ns;
}

/* ---- timers ---- */

/* Queue the timers that are due.  Looks at the real clock only when the cheap
 * estimate says that the first one may be due. */
static int
queue_due_timers(CaLoop *self)
{
    ca_heap *timers = &self->reactor.timers;
    int64_t first_ns = ca_heap_first_ns(timers);
    if (first_ns == CA_CLOCK_NEVER) {
        return 0;
    }
    if ((ca_overrides_now(self) & CA_OVERRIDE_TIME) == 0 &&
        ca_pace_is_before(&self->pace, self->turn_ticks, first_ns)) {
        return 0;
    }
    int64_t now = now_ns(self);
    if (now == -1 && PyErr_Occurred()) {
        return -1;
    }
    while (ca_heap_first_ns(timers) <= now && timers->count > 0) {
        CaTimerHandle *timer = ca_timer_handle_of(ca_heap_pop(timers));
        if (ca_ready_push_handle(self, (PyObject *)timer) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the turn ---- */

/* The loop was stopped in a turn that did not look.  Look now and run what is
 * found, before the callbacks that must wait for the next run. */
static int
look_late(CaLoop *self)
{
    size_t kept = self->ready.count;
    if (poll(self) < 0) {
        return -1;
    }
    size_t found = self->ready.count - kept;
    ca_ring_rotate(&self->ready, kept);
    return ca_ready_run(self, found);
}

/* A function whose only effect is that the interpreter runs: it looks at its
 * pending work when a function of Python starts. */
static PyObject *
make_empty_function(void)
{
    PyObject *found = NULL;
    PyObject *globals = PyDict_New();
    PyObject *none = globals == NULL
                         ? NULL
                         : PyRun_String("def empty(): pass", Py_file_input,
                                        globals, globals);
    if (none != NULL) {
        found = Py_XNewRef(PyDict_GetItemString(globals, "empty"));
    }
    Py_XDECREF(none);
    Py_XDECREF(globals);
    return found;
}

/* Let other threads run, and whatever else the interpreter does between two
 * instructions, by calling a function of Python that does nothing.  Merely
 * letting go of the lock would starve the others: each time, a waiting thread
 * starts anew to count the interval after which it may ask for the lock, and
 * only who has asked is sure to get it. */
static int
do_pending_work(CaLoop *self)
{
    if (ca_pace_between_ns(&self->pace, self->pending_ticks,
                           self->turn_ticks) < PENDING_INTERVAL_NS) {
        return 0;
    }
    (void)ca_pace_read(&self->pace);
    self->pending_ticks = self->turn_ticks;
    if (self->st->empty_function == NULL) {
        self->st->empty_function = make_empty_function();
    }
    PyObject *none = self->st->empty_function == NULL
                         ? NULL
                         : PyObject_CallNoArgs(self->st->empty_function);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

int
ca_loop_turn(CaLoop *self)
{
    self->polled = false;
    self->turn_ticks = ca_clock_ticks();
    if (poll_is_due(self) && poll(self) < 0) {
        return -1;
    }
    if (queue_due_timers(self) < 0) {
        return -1;
    }
    if (ca_ready_run(self, self->ready.count) < 0) {
        return -1;
    }
    if (self->stopping && !self->polled && look_late(self) < 0) {
        return -1;
    }
    /* A turn that has looked, or one after which the loop may sleep; the poll
     * budget sees to it that this is soon. */
    if (!self->polled && self->ready.count > 0) {
        return 0;
    }
    return do_pending_work(self) < 0 ? -1 : PyErr_CheckSignals();
}
