/* uring_ring.h - one io_uring: set up, filled, entered, looked at, torn down.
 *
 * Belongs to one thread at a time.  A free ring may go to another; a bound one
 * is its maker's for ever, and the kernel works for it in enter only: between
 * two of them nothing finishes and nothing is received.  Entries are numbered
 * freely by the user (user_data) and finish in any order.
 */
#ifndef CA_BACKEND_URING_RING_H
#define CA_BACKEND_URING_RING_H

#include "backend/uring_abi.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int fd;                            /* owned; -1: no ring */
    void *rings;                       /* owned mapping of both rings */
    size_t rings_size;
    uring_sqe *sqes;                   /* owned mapping */
    size_t sqes_size;

    const atomic_uint *sq_head;        /* the kernel's */
    atomic_uint *sq_tail;              /* ours */
    const atomic_uint *sq_flags;       /* the kernel's */
    uint32_t sq_mask;
    uint32_t sq_entries;
    uint32_t sq_next;                  /* our tail, not all of it published */

    atomic_uint *cq_head;              /* ours */
    const atomic_uint *cq_tail;        /* the kernel's */
    const uring_cqe *cqes;
    uint32_t cq_mask;
} ca_uring;

typedef enum {
    CA_URING_FREE,
    CA_URING_BOUND,                    /* to the thread that opens it */
} ca_uring_kind;

/* A ring for `entries` submissions and `cq_entries` finished ones (0: twice as
 * many) at a time that can do what is needed here, found out by doing it; 0 or
 * -errno.  ENOSYS: the kernel has none, or lacks
 * an operation; EPERM: forbidden; ENOMEM: too little may be locked; EINVAL. */
int ca_uring_open(ca_uring *ring, ca_uring_kind kind, uint32_t entries,
                  uint32_t cq_entries);

/* Give everything back.  The kernel lets go of what is in flight by itself,
 * some time later: who lent it memory sees first that nothing is.  Harmless
 * when closed, and in a forked child (the parent's ring stays as it is). */
void ca_uring_close(ca_uring *ring);

/* A cleared entry to fill in; it leaves with the next enter.  NULL: full. */
uring_sqe *ca_uring_entry(ca_uring *ring);

/* Entries that have not left. */
uint32_t ca_uring_unsent(const ca_uring *ring);

/* Send the entries and wait until one has finished, at most timeout_ns (0: do
 * not wait, CA_CLOCK_NEVER: no limit).  0, also when the time is over, or
 * -errno. */
int ca_uring_enter(ca_uring *ring, int64_t timeout_ns);

/* The oldest finished entry, taken out; false: none.  Two plain loads while
 * there is none. */
bool ca_uring_take(ca_uring *ring, uring_cqe *out);

/* Whether something has finished, here or in the kernel's overflow list
 * (enter fetches from there). */
bool ca_uring_has_finished(const ca_uring *ring);

/* Whether some that has finished is in the overflow list. */
bool ca_uring_overflowed(const ca_uring *ring);

/* Of a bound ring: whether enter has anything to do, if nothing is sent. */
bool ca_uring_has_work(const ca_uring *ring);

#endif
