/* reactor.c - one backend, one wake, the watches and the timers.
 *
 * States of a watch's op:
 *
 *      unarmed --watch--> armed --reap--> armed and on r->done
 *         ^                 ^ ^                     |
 *         |                 | +----next, watch------+
 *         +----unwatch------+-----------------------+
 *
 * A record is freed only when both its ops are unarmed; an unarmed op is on no
 * list, so next() never meets a freed one.  The wake's op is armed in the
 * backend but is not a watch: reap() uses it up itself.
 *
 * Forks: a child shares the parent's kernel objects.  Telling the shared epoll
 * set anything, or reading the shared eventfd, would be felt in the parent.
 * So fork handlers count, and every use compares counts first.  Closing needs
 * no comparison: it closes descriptors and says nothing to the kernel object.
 */
#include "reactor/reactor.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Forks this process descends from, as far as they were noted. */
static atomic_uint forks;

void
ca_reactor_note_fork(void)
{
    atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static uint32_t
count_forks(void)
{
    return atomic_load_explicit(&forks, memory_order_relaxed);
}

int
ca_reactor_open(ca_reactor *r, const ca_backend_vt *vt)
{
    *r = (ca_reactor){.fork_count = count_forks()};
    ca_dlist_init(&r->done);
    ca_dlist_init(&r->jobs);
    int err = ca_wake_open(&r->wake);
    if (err < 0) {
        return err;
    }
    err = vt->open(&r->be);
    if (err == 0) {
        err = vt->arm(r->be, &r->wake.op);
    }
    if (err < 0) {
        if (r->be != NULL) {
            vt->close(r->be);
            r->be = NULL;
        }
        ca_wake_close(&r->wake);
    }
    return err;
}

/* Free a record; its owners, if any, go to `drop`. */
static void
drop_watch(ca_watch *watch, void (*drop)(void *owner))
{
    void *reader = watch->owner[0];
    void *writer = watch->owner[1];
    free(watch);
    if (drop != NULL && reader != NULL) {
        drop(reader);
    }
    if (drop != NULL && writer != NULL) {
        drop(writer);
    }
}

static ca_reactor_job *
job_of(ca_dnode *node)
{
    return CA_CONTAINER_OF(node, ca_reactor_job, link);
}

static void
drop_jobs(ca_dnode *jobs, void (*drop)(void *owner))
{
    ca_dnode *node;
    while ((node = ca_dlist_take(jobs)) != NULL) {
        if (drop != NULL) {
            drop(job_of(node)->owner);
        }
    }
}

void
ca_reactor_close(ca_reactor *r, void (*drop)(void *owner))
{
    if (r->be == NULL) {
        return;
    }
    r->be->vt->close(r->be);
    r->be = NULL;
    ca_wake_close(&r->wake);
    ca_heap_free(&r->timers);
    /* Detached before anything is called: drop() may come back here. */
    ca_watch_table watches = r->watches;
    ca_dnode jobs;
    r->watches = (ca_watch_table){0};
    ca_dlist_init(&jobs);
    ca_dnode *node;
    while ((node = ca_dlist_take(&r->jobs)) != NULL) {
        ca_dlist_unlink(&job_of(node)->job.op.link);
        ca_dlist_append(&jobs, node);
    }
    drop_jobs(&jobs, drop);
    for (size_t fd = 0; fd < watches.cap; fd++) {
        if (watches.by_fd[fd] != NULL) {
            drop_watch(watches.by_fd[fd], drop);
        }
    }
    free(watches.by_fd);
}

int
ca_reactor_check_fork(ca_reactor *r)
{
    uint32_t now = count_forks();
    if (r->fork_count == now) {
        return 0;
    }
    /* The new eventfd first, so that the backend registers that one.  If there
     * is none to be had, the backend still has to let go of the parent's set;
     * the old eventfd is not read before a later try has replaced it. */
    int wake_err = ca_wake_renew(&r->wake);
    int err = r->be->vt->after_fork(r->be);
    if (wake_err < 0 || err < 0) {
        return wake_err < 0 ? wake_err : err;
    }
    r->fork_count = now;
    return 0;
}

/* Arm for `kind`; 0, or -errno and then it is armed as before. */
static int
arm_as(ca_backend *be, ca_op *op, ca_op_kind kind)
{
    ca_op_kind before = op->kind;
    bool armed = op->armed;
    if (armed && kind != before) {
        be->vt->cancel(be, op);
    }
    op->kind = (uint8_t)kind;
    int err = be->vt->arm(be, op);
    if (err < 0 && kind != before) {
        op->kind = (uint8_t)before;
        if (armed) {
            (void)be->vt->arm(be, op);
        }
    }
    return err;
}

int
ca_reactor_watch(ca_reactor *r, int fd, ca_op_kind kind, void *owner,
                 void **old)
{
    int err = ca_reactor_check_fork(r);
    if (err < 0) {
        return err;
    }
    ca_watch *watch;
    err = ca_watch_get(&r->watches, fd, &watch);
    if (err < 0) {
        return err;
    }
    int side = ca_op_side(kind);
    err = arm_as(r->be, &watch->op[side], kind);
    if (err < 0) {
        ca_watch_trim(&r->watches, fd);
        return err;
    }
    *old = watch->owner[side];
    watch->owner[side] = owner;
    return 0;
}

void *
ca_reactor_unwatch(ca_reactor *r, int fd, ca_op_kind kind)
{
    ca_watch *watch = ca_watch_find(&r->watches, fd);
    int side = ca_op_side(kind);
    if (watch == NULL || watch->owner[side] == NULL) {
        return NULL;
    }
    /* Also a rebuild that failed has cut the ties, so cancelling is safe. */
    (void)ca_reactor_check_fork(r);
    r->be->vt->cancel(r->be, &watch->op[side]);
    void *owner = watch->owner[side];
    watch->owner[side] = NULL;
    ca_watch_trim(&r->watches, fd);
    return owner;
}

void *
ca_reactor_owner(const ca_reactor *r, int fd, ca_op_kind kind)
{
    const ca_watch *watch = ca_watch_find(&r->watches, fd);
    return watch == NULL ? NULL : watch->owner[ca_op_side(kind)];
}

ptrdiff_t
ca_reactor_recv(ca_reactor *r, int fd, char *buf, size_t size, char **where)
{
    if (!ca_reactor_is_open(r)) {
        return ca_backend_recv(NULL, fd, buf, size, where);
    }
    int err = ca_reactor_check_fork(r);
    return err < 0 ? err : r->be->vt->recv(r->be, fd, buf, size, where);
}

void
ca_reactor_forget(ca_reactor *r, int fd)
{
    if (ca_reactor_is_open(r) && r->be->vt->forget != NULL) {
        (void)ca_reactor_check_fork(r);
        r->be->vt->forget(r->be, fd);
    }
}

int
ca_reactor_submit(ca_reactor *r, ca_reactor_job *job, void *owner)
{
    int err = ca_reactor_check_fork(r);
    if (err < 0) {
        return err;
    }
    if (!ca_reactor_does_jobs(r)) {
        return -EOPNOTSUPP;
    }
    err = r->be->vt->submit(r->be, &job->job);
    if (err == 0) {
        job->owner = owner;
        ca_dlist_append(&r->jobs, &job->link);
    }
    return err;
}

int
ca_reactor_wait(ca_reactor *r, int64_t timeout_ns)
{
    int err = ca_reactor_check_fork(r);
    if (err < 0) {
        return err;
    }
    return r->be->vt->wait(r->be, timeout_ns);
}

void
ca_reactor_reap(ca_reactor *r)
{
    r->be->vt->reap(r->be, &r->done);
    if (ca_dlist_linked(&r->wake.op.link)) {
        ca_dlist_unlink(&r->wake.op.link);
        ca_wake_drain(&r->wake);
    }
}

void *
ca_reactor_next(ca_reactor *r, const ca_op **op)
{
    ca_dnode *node = ca_dlist_take(&r->done);
    if (node == NULL) {
        return NULL;
    }
    *op = CA_CONTAINER_OF(node, ca_op, link);
    if (ca_op_is_job(*op)) {
        const ca_job *job = CA_CONTAINER_OF(*op, ca_job, op);
        ca_reactor_job *own = CA_CONTAINER_OF(job, ca_reactor_job, job);
        ca_dlist_unlink(&own->link);
        return own->owner;
    }
    return ca_watch_find(&r->watches, (*op)->fd)
        ->owner[ca_op_side((*op)->kind)];
}

void
ca_reactor_wake(ca_reactor *r)
{
    if (r->fork_count != count_forks()) {
        /* A forked child: the eventfd is still the parent's, and the one that
         * replaces it is born readable. */
        return;
    }
    ca_wake_signal(&r->wake);
}
