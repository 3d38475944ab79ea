/* poll.c - readiness through poll(2): the second row of the table.
 *
 * There is no kernel object, so nothing is registered and a closed number
 * cannot linger; the price is that every wait looks at every descriptor.
 *
 * Layout: `live` has one entry per descriptor with something armed, in any
 * order; slot->index is its position there.  wait() polls `snap`, a copy of
 * it, because poll(2) reads and writes its array while other threads may arm
 * and cancel.  The copy is made under `lock`, and so is every change of
 * `live`; the table itself is wait()'s no business.  Each entry of the copy
 * carries the generation of its slot: reap() drops what was cancelled or
 * armed anew since.
 */
#include "backend/fdtable.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FIRST_CAP = 16 };

typedef struct {
    struct pollfd *fds;                /* owned */
    uint32_t *gens;                    /* owned; gens[i] belongs to fds[i] */
    size_t count;
    size_t cap;
} pollset;

typedef struct {
    ca_backend base;
    ca_fdtable table;
    pthread_mutex_t lock;              /* guards live */
    pollset live;
    pollset snap;                      /* the waiting thread's own */
    atomic_bool copying;               /* wait() is at lock and snap */
    int found;                         /* entries of snap not reaped yet */
} poll_backend;

static int
pollset_reserve(pollset *set, size_t count)
{
    if (count <= set->cap) {
        return 0;
    }
    size_t cap = set->cap == 0 ? FIRST_CAP : set->cap;
    while (cap < count) {
        cap *= 2;
    }
    if (cap > SIZE_MAX / sizeof(*set->fds)) {
        return -ENOMEM;
    }
    struct pollfd *fds = realloc(set->fds, cap * sizeof(*fds));
    if (fds == NULL) {
        return -ENOMEM;
    }
    set->fds = fds;
    uint32_t *gens = realloc(set->gens, cap * sizeof(*gens));
    if (gens == NULL) {
        return -ENOMEM;
    }
    set->gens = gens;
    set->cap = cap;
    return 0;
}

static void
pollset_free(pollset *set)
{
    free(set->fds);
    free(set->gens);
    *set = (pollset){0};
}

static int
pollset_copy(pollset *to, const pollset *from)
{
    int err = pollset_reserve(to, from->count);
    if (err == 0 && from->count > 0) {
        memcpy(to->fds, from->fds, from->count * sizeof(*to->fds));
        memcpy(to->gens, from->gens, from->count * sizeof(*to->gens));
    }
    to->count = err == 0 ? from->count : 0;
    return err;
}

static int
poll_open(ca_backend **out)
{
    poll_backend *be = calloc(1, sizeof(*be));
    if (be == NULL) {
        return -ENOMEM;
    }
    be->base.vt = &ca_backend_poll;
    (void)pthread_mutex_init(&be->lock, NULL);
    *out = &be->base;
    return 0;
}

static void
poll_close(ca_backend *base)
{
    poll_backend *be = (poll_backend *)base;
    ca_fdtable_free(&be->table);
    pollset_free(&be->live);
    pollset_free(&be->snap);
    (void)pthread_mutex_destroy(&be->lock);
    free(be);
}

/* poll(2) would call plain files ready for ever; refuse what can never make
 * anyone wait, as epoll does.  (It also refuses the few character devices
 * without readiness, such as /dev/null; those we cannot tell.) */
static int
check_pollable(int fd)
{
    struct statx info;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &info) < 0) {
        /* Anything else is a kernel or sandbox without statx(). */
        return errno == EBADF || fcntl(fd, F_GETFD) < 0 ? -EBADF : 0;
    }
    if (S_ISREG(info.stx_mode) || S_ISDIR(info.stx_mode) ||
        S_ISBLK(info.stx_mode)) {
        return -EPERM;
    }
    return 0;
}

/* Append an entry for fd, which has none; 0 or -ENOMEM. */
static int
live_append(poll_backend *be, int fd, ca_fdslot *slot)
{
    pollset *live = &be->live;
    int err = pollset_reserve(live, live->count + 1);
    if (err < 0) {
        return err;
    }
    slot->index = (uint32_t)live->count++;
    live->fds[slot->index] = (struct pollfd){.fd = fd};
    return 0;
}

/* Take out the entry of a slot; the last one moves into its place. */
static void
live_remove(poll_backend *be, const ca_fdslot *slot)
{
    pollset *live = &be->live;
    size_t last = --live->count;
    if (slot->index != last) {
        live->fds[slot->index] = live->fds[last];
        live->gens[slot->index] = live->gens[last];
        int moved_fd = live->fds[last].fd;
        ca_fdtable_find(&be->table, moved_fd)->index = slot->index;
    }
}

static void
live_update(poll_backend *be, const ca_fdslot *slot, uint32_t events)
{
    be->live.fds[slot->index].events = (short)events;
    be->live.gens[slot->index] = slot->gen;
}

static int
poll_arm(ca_backend *base, ca_op *op)
{
    poll_backend *be = (poll_backend *)base;
    ca_fdslot *slot;
    int err = ca_fdtable_get(&be->table, op->fd, &slot);
    if (err == 0) {
        err = check_pollable(op->fd);
    }
    if (err < 0) {
        return err;
    }
    ca_op *holder = *ca_fdslot_side(slot, op->kind);
    if (holder != NULL && holder != op) {
        return -EEXIST;
    }
    uint32_t before = ca_fdslot_events(slot);
    pthread_mutex_lock(&be->lock);
    if (before == 0) {
        err = live_append(be, op->fd, slot);
    }
    if (err == 0) {
        /* The other direction alone does not start a new registration. */
        slot->gen += before == 0 || holder == op;
        live_update(be, slot, before | ca_fdslot_bit(op->kind));
    }
    pthread_mutex_unlock(&be->lock);
    if (err == 0) {
        ca_fdtable_put(&be->table, slot, op);
    }
    return err;
}

static void
poll_cancel(ca_backend *base, ca_op *op)
{
    poll_backend *be = (poll_backend *)base;
    if (!op->armed) {
        return;                        /* and then it is on no list either */
    }
    ca_fdslot *slot = ca_fdtable_find(&be->table, op->fd);
    ca_fdtable_drop(&be->table, slot, op);
    uint32_t events = ca_fdslot_events(slot);
    pthread_mutex_lock(&be->lock);
    if (events == 0) {
        live_remove(be, slot);
    } else {
        live_update(be, slot, events);
    }
    pthread_mutex_unlock(&be->lock);
}

static int
poll_wait_ops(ca_backend *base, int64_t timeout_ns)
{
    poll_backend *be = (poll_backend *)base;
    be->found = 0;
    be->copying = true;
    pthread_mutex_lock(&be->lock);
    int err = pollset_copy(&be->snap, &be->live);
    pthread_mutex_unlock(&be->lock);
    be->copying = false;
    if (err < 0) {
        return err;
    }
    struct timespec limit = {0, 0};
    if (timeout_ns > 0) {
        limit.tv_sec = (time_t)(timeout_ns / CA_NS_PER_S);
        limit.tv_nsec = (long)(timeout_ns % CA_NS_PER_S);
    }
    int n = ppoll(be->snap.fds, be->snap.count,
                  timeout_ns == CA_CLOCK_NEVER ? NULL : &limit, NULL);
    if (n < 0) {
        return -errno;
    }
    be->found = n;
    return 0;
}

static void
poll_reap(ca_backend *base, ca_dnode *done)
{
    poll_backend *be = (poll_backend *)base;
    const pollset *snap = &be->snap;
    for (size_t i = 0; be->found > 0 && i < snap->count; i++) {
        uint32_t bits = (unsigned short)snap->fds[i].revents;
        if (bits == 0) {
            continue;
        }
        be->found--;
        const ca_fdslot *slot = ca_fdtable_find(&be->table, snap->fds[i].fd);
        if (slot->gen == snap->gens[i]) {
            ca_fdslot_finish(slot, bits, done);
        }
    }
    be->found = 0;
}

static int
poll_after_fork(ca_backend *base)
{
    poll_backend *be = (poll_backend *)base;
    be->found = 0;
    if (be->copying) {
        /* A thread that does not exist here was making its copy: the lock is
         * nobody's, and a half-made copy is better lost than freed. */
        (void)pthread_mutex_init(&be->lock, NULL);
        be->snap = (pollset){0};
        be->copying = false;
    }
    return 0;
}

const ca_backend_vt ca_backend_poll = {
    .name = "poll",
    .open = poll_open,
    .close = poll_close,
    .arm = poll_arm,
    .cancel = poll_cancel,
    .wait = poll_wait_ops,
    .reap = poll_reap,
    .after_fork = poll_after_fork,
    .recv = ca_backend_recv,
};
