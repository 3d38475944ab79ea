/* epoll.c - readiness through epoll(7), level-triggered.
 *
 * The kernel knows a registration by the pair (open file, number), we know it
 * by the number alone.  The two drift apart when a number is closed:
 *
 *   closed, no other descriptor of the file    the kernel forgets by itself
 *   closed, and the number is a new file       MOD and DEL answer ENOENT
 *   closed, a dup() or a child has the file    the registration lives on, and
 *                                              no call can reach it any more
 *
 * Hence the rules.  The cookie of an event is the number and the generation
 * of its slot; every ADD starts a new generation.  Arming a registered slot
 * is a MOD, which falls back to ADD when the kernel does not know the pair;
 * arming an unregistered one is an ADD, which falls back to MOD when the pair
 * is there from before.  Cancelling ignores what the kernel says: whatever it
 * cannot find needs no deleting.
 *
 * An event of an older generation, or of a slot with nothing armed, is stale.
 * One may be an accident of timing (another thread cancelled after the wait
 * returned).  But the third case above is level-triggered too and would end
 * every wait at once, for ever; so after a few waits in a row with a stale
 * event the whole set is built anew and the old one closed, which is the only
 * way to be rid of it.
 *
 * Threads: wait() uses the event buffer and the descriptor of the set, and
 * nothing else; reap(), which runs where arm and cancel may run, is what
 * looks at the table.
 */
#include "backend/epoll.h"

#include "backend/fdtable.h"
#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441           /* the same on every architecture */
#endif

enum {
    FIRST_EVENTS = 64,
    MOST_EVENTS = 4096,
    STALE_PATIENCE = 2,                /* waits in a row that may be chance */
};

_Static_assert((int)EPOLLIN == POLLIN && (int)EPOLLOUT == POLLOUT,
               "slots keep events in poll's numbers");

typedef struct {
    ca_backend base;
    ca_fdtable table;
    struct epoll_event *events;        /* owned: what the last wait found */
    int cap;                           /* of events */
    int found;                         /* events not reaped yet */
    int epfd;                          /* owned; -1: lost in a fork */
    int stale_waits;                   /* in a row */
    uint32_t sets;                     /* made so far, beyond the first */
    bool coarse;                       /* the kernel has no epoll_pwait2 */
} epoll_backend;

/* What the system call wants on every architecture. */
typedef struct {
    int64_t s;
    int64_t ns;
} kernel_timespec;

static int
control(int epfd, int how, int fd, uint32_t gen, uint32_t events)
{
    struct epoll_event event = {
        .events = events,
        .data.u64 = (uint64_t)gen << 32 | (uint32_t)fd,
    };
    return epoll_ctl(epfd, how, fd, &event) < 0 ? -errno : 0;
}

static void
epoll_close(ca_backend *base)
{
    epoll_backend *be = (epoll_backend *)base;
    if (be->epfd >= 0) {
        close(be->epfd);
    }
    ca_fdtable_free(&be->table);
    free(be->events);
    free(be);
}

static int
epoll_open(ca_backend **out)
{
    epoll_backend *be = calloc(1, sizeof(*be));
    if (be == NULL) {
        return -ENOMEM;
    }
    be->base.vt = &ca_backend_epoll;
    be->cap = FIRST_EVENTS;
    be->events = malloc(FIRST_EVENTS * sizeof(*be->events));
    be->epfd = epoll_create1(EPOLL_CLOEXEC);
    if (be->events == NULL || be->epfd < 0) {
        int err = be->events == NULL ? -ENOMEM : -errno;
        epoll_close(&be->base);
        return err;
    }
    *out = &be->base;
    return 0;
}

/* Register the slot of fd as a new generation. */
static int
add(epoll_backend *be, int fd, ca_fdslot *slot, uint32_t events)
{
    uint32_t gen = slot->gen + 1;
    int err = control(be->epfd, EPOLL_CTL_ADD, fd, gen, events);
    if (err == -EEXIST) {
        err = control(be->epfd, EPOLL_CTL_MOD, fd, gen, events);
    }
    if (err == 0) {
        slot->gen = gen;
    }
    return err;
}

static int
epoll_arm(ca_backend *base, ca_op *op)
{
    epoll_backend *be = (epoll_backend *)base;
    ca_fdslot *slot;
    int err = ca_fdtable_get(&be->table, op->fd, &slot);
    if (err < 0) {
        return err;
    }
    ca_op *holder = *ca_fdslot_side(slot, op->kind);
    if (holder != NULL && holder != op) {
        return -EEXIST;
    }
    uint32_t before = ca_fdslot_events(slot);
    uint32_t events = before | ca_fdslot_bit(op->kind);
    err = -ENOENT;
    if (before != 0) {
        err = control(be->epfd, EPOLL_CTL_MOD, op->fd, slot->gen, events);
    }
    if (err == -ENOENT) {
        err = add(be, op->fd, slot, events);
    }
    if (err == 0) {
        ca_fdtable_put(&be->table, slot, op);
    }
    return err;
}

static void
epoll_cancel(ca_backend *base, ca_op *op)
{
    epoll_backend *be = (epoll_backend *)base;
    if (!op->armed) {
        return;                        /* and then it is on no list either */
    }
    ca_fdslot *slot = ca_fdtable_find(&be->table, op->fd);
    ca_fdtable_drop(&be->table, slot, op);
    uint32_t events = ca_fdslot_events(slot);
    int how = events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    /* ENOENT, EBADF: the descriptor is closed or reused, see above. */
    (void)control(be->epfd, how, op->fd, slot->gen, events);
}

/* Nanoseconds to milliseconds, rounded up: early is forbidden, late is not. */
static int
to_millis(int64_t ns)
{
    int64_t ms = ns / CA_NS_PER_MS + (ns % CA_NS_PER_MS != 0);
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* Number of events, or -1 with errno. */
static int
wait_events(epoll_backend *be, int64_t timeout_ns)
{
    if (timeout_ns <= 0) {
        return epoll_wait(be->epfd, be->events, be->cap, 0);
    }
    if (timeout_ns == CA_CLOCK_NEVER) {
        return epoll_wait(be->epfd, be->events, be->cap, -1);
    }
    if (!be->coarse) {
        kernel_timespec limit = {timeout_ns / CA_NS_PER_S,
                                 timeout_ns % CA_NS_PER_S};
        /* Not by its name in libc, which oldest supported one lacks. */
        long n = syscall(SYS_epoll_pwait2, be->epfd, be->events, be->cap,
                         &limit, NULL, (size_t)0);
        /* EPERM: sandboxes say so for calls they have never heard of. */
        if (n >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return (int)n;
        }
        be->coarse = true;
    }
    return epoll_wait(be->epfd, be->events, be->cap, to_millis(timeout_ns));
}

static int
epoll_wait_ops(ca_backend *base, int64_t timeout_ns)
{
    epoll_backend *be = (epoll_backend *)base;
    be->found = 0;
    int n = wait_events(be, timeout_ns);
    if (n < 0) {
        return -errno;
    }
    be->found = n;
    return 0;
}

/* A set of our own with everything that is armed; 0 or -errno, and then the
 * old set is still there.  Generations stay: the new set has no past. */
static int
rebuild(epoll_backend *be)
{
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    if (epfd < 0) {
        return -errno;
    }
    size_t left = be->table.used;
    for (int fd = 0; left > 0; fd++) {
        const ca_fdslot *slot = ca_fdtable_find(&be->table, fd);
        uint32_t events = ca_fdslot_events(slot);
        if (events == 0) {
            continue;
        }
        left--;
        int err = control(epfd, EPOLL_CTL_ADD, fd, slot->gen, events);
        /* Closed behind our back, and perhaps reused for a plain file: as
         * silent as it was before. */
        if (err < 0 && err != -EBADF && err != -EPERM) {
            close(epfd);
            return err;
        }
    }
    if (be->epfd >= 0) {
        close(be->epfd);
    }
    be->epfd = epfd;
    be->sets++;
    be->stale_waits = 0;
    return 0;
}

/* More room after a full buffer; doing without is slower, not wrong. */
static void
grow_events(epoll_backend *be)
{
    int cap = be->cap * 2;
    size_t nbytes = (size_t)cap * sizeof(*be->events);
    struct epoll_event *events = realloc(be->events, nbytes);
    if (events != NULL) {
        be->events = events;
        be->cap = cap;
    }
}

/* Translate one event; false when it is stale. */
static bool
finish_event(const epoll_backend *be, const struct epoll_event *event,
             ca_dnode *done)
{
    uint64_t cookie = event->data.u64;
    const ca_fdslot *slot = ca_fdtable_find(&be->table,
                                            (int)(cookie & UINT32_MAX));
    if (slot == NULL || slot->gen != cookie >> 32 ||
        ca_fdslot_events(slot) == 0) {
        return false;
    }
    ca_fdslot_finish(slot, event->events, done);
    return true;
}

static void
epoll_reap(ca_backend *base, ca_dnode *done)
{
    epoll_backend *be = (epoll_backend *)base;
    bool stale = false;
    for (int i = 0; i < be->found; i++) {
        if (!finish_event(be, &be->events[i], done)) {
            stale = true;
        }
    }
    if (be->found == be->cap && be->cap < MOST_EVENTS) {
        grow_events(be);
    }
    be->found = 0;
    be->stale_waits = stale ? be->stale_waits + 1 : 0;
    if (be->stale_waits > STALE_PATIENCE) {
        /* When it fails (no descriptor left), the next reap tries again. */
        (void)rebuild(be);
    }
}

int
ca_epoll_set(const ca_backend *base, uint32_t *serial)
{
    const epoll_backend *be = (const epoll_backend *)base;
    *serial = be->sets;
    return be->epfd;
}

static int
epoll_after_fork(ca_backend *base)
{
    epoll_backend *be = (epoll_backend *)base;
    /* The set is the parent's as much as ours: closing our descriptor of it
     * is all that does not show there. */
    if (be->epfd >= 0) {
        close(be->epfd);
        be->epfd = -1;
    }
    be->found = 0;
    return rebuild(be);
}

const ca_backend_vt ca_backend_epoll = {
    .name = "epoll",
    .open = epoll_open,
    .close = epoll_close,
    .arm = epoll_arm,
    .cancel = epoll_cancel,
    .wait = epoll_wait_ops,
    .reap = epoll_reap,
    .after_fork = epoll_after_fork,
    .recv = ca_backend_recv,
};
