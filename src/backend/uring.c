/* uring.c - the row "io_uring": what rings can do, and epoll for the rest.
 *
 * A ring holds every file that it has been asked about until it answers: a
 * program that closes a watched socket and says nothing would keep it open,
 * and its peer would never hear of it.  epoll forgets closed files, which is
 * what asyncio's programs count on.  So arm and cancel are those of the row
 * "epoll", which lives inside, but for sockets whose owner says when he closes
 * them (kind RECV, uring_receiver.h).  What a ring alone can do, I/O on files
 * without a thread, goes into a ring of its own; and its descriptor, readable
 * while something has finished, is one more watched descriptor.
 *
 *      submit --> entry of the ring --wait: one enter for all--> in flight
 *                                                                    |
 *      done <--reap-- completion ring <----------- kernel <----------+
 *
 * A loop that does nothing with files has no such ring, so it costs nothing.
 * It is not bound to a thread (no SINGLE_ISSUER): a loop that is run in
 * another thread finds its jobs there.
 *
 * user_data is the address of the job, which stays where it is until it has
 * finished; none is ever cancelled, so no late completion meets freed memory.
 *
 * When the ring breaks (enter answers what it must not), jobs that have not
 * left finish as undone, later ones are refused, and descriptors never notice.
 *
 * Threads: `inner` keeps its own rules; the ring belongs to who waits.
 */
#include "backend/backend.h"
#include "backend/uring_receiver.h"
#include "backend/uring_ring.h"
#include "base/clock.h"
#include "base/oldlibc.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    ENTRIES = 64,                      /* jobs that leave with one enter */
    RETRY_NS = 1000000,                /* a wait with jobs that cannot leave */
};

typedef struct {
    ca_backend base;
    ca_backend *inner;                 /* owned: the row "epoll" */
    ca_receiver receiver;              /* ops of kind RECV */
    ca_uring ring;                     /* made for the first job */
    ca_op ring_op;                     /* its POLL_IN in `inner` */
    ca_dnode in_flight;                /* jobs taken and not finished */
    ca_dnode undone;                   /* jobs that a fork has cut off */
    pid_t pid;                         /* of the process that made the ring */
    bool broken;                       /* there will be no ring any more */
} uring_backend;

static uring_backend *
self_of(ca_backend *base)
{
    return (uring_backend *)base;
}

static ca_job *
job_of(ca_dnode *node)
{
    return CA_CONTAINER_OF(CA_CONTAINER_OF(node, ca_op, link), ca_job, op);
}

/* ---- finishing ---- */

static void
finish(ca_job *job, int32_t result, ca_dnode *done)
{
    job->result = result;
    job->op.armed = false;
    ca_dlist_unlink(&job->op.link);
    if (done != NULL) {
        ca_dlist_append(done, &job->op.link);
    }
}

static bool
idle(const uring_backend *be)
{
    return ca_dlist_empty(&be->in_flight);
}

/* Collect what has finished, the kernel's overflow list included. */
static void
collect(uring_backend *be, ca_dnode *done)
{
    uring_cqe cqe;
    do {
        while (ca_uring_take(&be->ring, &cqe)) {
            finish((ca_job *)(uintptr_t)cqe.user_data, cqe.res, done);
        }
    } while (ca_uring_has_finished(&be->ring) &&
             ca_uring_enter(&be->ring, 0) == 0);
}

/* Finish the jobs that have not left the ring. */
static void
recall_unsent(uring_backend *be, ca_dnode *done)
{
    ca_uring *ring = &be->ring;
    for (uint32_t n = ca_uring_unsent(ring); n > 0; n--) {
        const uring_sqe
            *sqe = &ring->sqes[(ring->sq_next - n) & ring->sq_mask];
        finish((ca_job *)(uintptr_t)sqe->user_data, -ECANCELED, done);
    }
    ring->sq_next -= ca_uring_unsent(ring);
}

/* ---- opening and closing ---- */

/* Wait until the kernel has let go of every buffer. */
static void
drain(uring_backend *be)
{
    static const struct timespec moment = {.tv_nsec = RETRY_NS};
    recall_unsent(be, NULL);
    collect(be, NULL);
    while (!idle(be)) {
        /* Without its descriptor the ring lives on in its mapping. */
        if (ca_uring_enter(&be->ring, CA_CLOCK_NEVER) < 0) {
            (void)nanosleep(&moment, NULL);
        }
        collect(be, NULL);
    }
}

/* Forget jobs that are not ours: those of the parent, in a child. */
static void
disown(uring_backend *be, ca_dnode *done)
{
    ca_dnode *node;
    while ((node = ca_dlist_take(&be->in_flight)) != NULL) {
        finish(job_of(node), -ECANCELED, done);
    }
}

static void
uring_close(ca_backend *base)
{
    uring_backend *be = self_of(base);
    if (!idle(be) && be->pid == getpid()) {
        drain(be);
    }
    disown(be, NULL);
    if (be->inner != NULL) {
        be->inner->vt->close(be->inner);
    }
    ca_receiver_close(&be->receiver);
    ca_uring_close(&be->ring);
    free(be);
}

static void *
try_ring(void *out)
{
    ca_uring ring;
    *(int *)out = ca_uring_open(&ring, CA_URING_FREE, 1, 0);
    ca_uring_close(&ring);
    return NULL;
}

/* Whether rings are to be had; 0 or -errno.  Asked until the answer is yes,
 * and in a thread of its own: some time after a ring is closed the kernel
 * interrupts the thread that made it, which would be seen in its next wait. */
static int
check_rings(void)
{
    static atomic_bool known;
    if (known) {
        return 0;
    }
    int err = 0;
    if (ca_oldlibc_run_apart(try_ring, &err) != 0) {
        (void)try_ring(&err);
    }
    known = err == 0;
    return err;
}

static int
uring_open(ca_backend **out)
{
    uring_backend *be = calloc(1, sizeof(*be));
    if (be == NULL) {
        return -ENOMEM;
    }
    be->base.vt = &ca_backend_uring;
    ca_op_init(&be->ring_op, CA_OP_POLL_IN, -1);
    ca_dlist_init(&be->in_flight);
    ca_dlist_init(&be->undone);
    be->ring.fd = -1;
    int err = check_rings();
    if (err == 0) {
        err = ca_backend_epoll.open(&be->inner);
    }
    ca_receiver_init(&be->receiver, be->inner);
    if (err < 0) {
        uring_close(&be->base);
        return err;
    }
    *out = &be->base;
    return 0;
}

static int
make_ring(uring_backend *be)
{
    int err = ca_uring_open(&be->ring, CA_URING_FREE, ENTRIES, 0);
    if (err < 0) {
        return err;
    }
    be->pid = getpid();
    be->ring_op.fd = be->ring.fd;
    err = be->inner->vt->arm(be->inner, &be->ring_op);
    if (err < 0) {
        ca_uring_close(&be->ring);
    }
    return err;
}

/* ---- descriptors ---- */

static int
uring_arm(ca_backend *base, ca_op *op)
{
    uring_backend *be = self_of(base);
    if (ca_receiver_wants(&be->receiver, op)) {
        int err = ca_receiver_arm(&be->receiver, op);
        if (err != -ENOTSOCK) {
            return err;
        }
    }
    return be->inner->vt->arm(be->inner, op);
}

static void
uring_cancel(ca_backend *base, ca_op *op)
{
    uring_backend *be = self_of(base);
    if (!ca_receiver_cancel(&be->receiver, op)) {
        be->inner->vt->cancel(be->inner, op);
    }
}

static ptrdiff_t
uring_recv(ca_backend *base, int fd, char *buf, size_t size, char **where)
{
    return ca_receiver_recv(&self_of(base)->receiver, fd, buf, size, where);
}

static void
uring_forget(ca_backend *base, int fd)
{
    ca_receiver_forget(&self_of(base)->receiver, fd);
}

/* ---- jobs ---- */

static void
fill_in(uring_sqe *sqe, const ca_job *job)
{
    sqe->fd = job->op.fd;
    sqe->user_data = (uint64_t)(uintptr_t)job;
    switch (job->op.kind) {
    case CA_OP_READ:
    case CA_OP_WRITE:
        sqe->opcode = job->op.kind == CA_OP_READ ? URING_OP_READ
                                                 : URING_OP_WRITE;
        sqe->addr = (uint64_t)(uintptr_t)job->buf;
        sqe->len = job->nbytes;
        sqe->off = (uint64_t)job->offset;
        break;
    default:
        sqe->opcode = URING_OP_FSYNC;
        sqe->op_flags = job->op.kind == CA_OP_FDATASYNC ? URING_FSYNC_DATASYNC
                                                        : 0;
        break;
    }
}

static int
uring_submit(ca_backend *base, ca_job *job)
{
    uring_backend *be = self_of(base);
    if (be->broken) {
        return -EOPNOTSUPP;
    }
    int err = be->ring.fd < 0 ? make_ring(be) : 0;
    if (err < 0) {
        return err;
    }
    uring_sqe *sqe = ca_uring_entry(&be->ring);
    if (sqe == NULL) {
        (void)ca_uring_enter(&be->ring, 0);
        sqe = ca_uring_entry(&be->ring);
    }
    if (sqe == NULL) {
        return -EAGAIN;
    }
    fill_in(sqe, job);
    job->op.armed = true;
    ca_dlist_append(&be->in_flight, &job->op.link);
    return 0;
}

/* Let the jobs leave; how long the wait may take then. */
static int64_t
send_off(uring_backend *be, int64_t timeout_ns)
{
    if (ca_uring_unsent(&be->ring) > 0) {
        int err = ca_uring_enter(&be->ring, 0);
        if (err == -EINTR || err == -EAGAIN || err == -EBUSY) {
            err = 0;                   /* the kernel is short of something */
        }
        be->broken = be->broken || err < 0;
    }
    bool stuck = ca_uring_unsent(&be->ring) > 0;
    if ((be->broken && stuck) || ca_uring_has_finished(&be->ring)) {
        return 0;
    }
    return stuck && timeout_ns > RETRY_NS ? RETRY_NS : timeout_ns;
}

static int
uring_wait(ca_backend *base, int64_t timeout_ns)
{
    uring_backend *be = self_of(base);
    if (!ca_dlist_empty(&be->undone)) {
        timeout_ns = 0;
    }
    if (!idle(be)) {
        timeout_ns = send_off(be, timeout_ns);
    }
    return ca_receiver_wait(&be->receiver, timeout_ns);
}

static void
uring_reap(ca_backend *base, ca_dnode *done)
{
    uring_backend *be = self_of(base);
    ca_receiver_reap(&be->receiver, done);
    ca_dlist_unlink(&be->ring_op.link);
    if (!idle(be)) {
        if (be->broken) {
            recall_unsent(be, done);
        }
        collect(be, done);
    }
    ca_dnode *node;
    while ((node = ca_dlist_take(&be->undone)) != NULL) {
        ca_dlist_append(done, node);
    }
}

static int
uring_after_fork(ca_backend *base)
{
    uring_backend *be = self_of(base);
    /* From now on the inner set is ours, and the ring, which is not, leaves
     * it without the parent's noticing. */
    int err = be->inner->vt->after_fork(be->inner);
    be->inner->vt->cancel(be->inner, &be->ring_op);
    ca_receiver_after_fork(&be->receiver);
    ca_uring_close(&be->ring);
    disown(be, &be->undone);
    return err;
}

const ca_backend_vt ca_backend_uring = {
    .name = "io_uring",
    .open = uring_open,
    .close = uring_close,
    .arm = uring_arm,
    .cancel = uring_cancel,
    .wait = uring_wait,
    .reap = uring_reap,
    .after_fork = uring_after_fork,
    .recv = uring_recv,
    .forget = uring_forget,
    .submit = uring_submit,
};
