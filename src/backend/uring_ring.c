/* uring_ring.c - see uring_ring.h.
 *
 * The rings are memory shared with the kernel.  Of each pair of positions one
 * side writes the one and reads the other:
 *
 *      submissions   we write the tail (release), the kernel the head
 *      completions   the kernel writes the tail, we the head (release)
 *
 * The array that once mapped ring positions to entries is filled with the
 * identity and forgotten.  A position is never compared by size, only by
 * difference: they wrap.
 *
 * Nothing is lost when the completion ring is full: kernels that have
 * FEAT_NODROP (we ask for it) keep the rest in a list and raise a flag; an
 * enter that asks for events moves them over.
 */
#include "backend/uring_ring.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    NEEDED_FEATURES = URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP |
    URING_FEAT_SUBMIT_STABLE | URING_FEAT_RW_CUR_POS | URING_FEAT_EXT_ARG
};

/* Finished work need not interrupt us: we enter when we want to know.  A free
 * ring can do without that, on kernels that do not know how. */
static int
set_up(ca_uring_kind kind, uint32_t entries, uint32_t cq_entries,
       uring_params *params)
{
    static const uint32_t wishes[2][2] = {
        {URING_SETUP_COOP_TASKRUN, 0},
        {URING_SETUP_SINGLE_ISSUER | URING_SETUP_DEFER_TASKRUN |
         URING_SETUP_TASKRUN_FLAG},
    };
    uint32_t common = URING_SETUP_CLAMP |
                      (cq_entries > 0 ? URING_SETUP_CQSIZE : 0);
    int tries = kind == CA_URING_FREE ? 2 : 1;
    int err = -EINVAL;
    for (int i = 0; i < tries && err == -EINVAL; i++) {
        *params = (uring_params){.flags = common | wishes[kind][i],
                                 .cq_entries = cq_entries};
        long fd = syscall(URING_SYS_SETUP, (long)entries, params);
        if (fd >= 0) {
            return (int)fd;
        }
        err = -errno;
    }
    return err;
}

/* The address of a member of the shared rings. */
static void *
at(const ca_uring *ring, uint32_t offset)
{
    return (char *)ring->rings + offset;
}

static void
find_members(ca_uring *ring, const uring_params *params)
{
    const uring_sq_offsets *sq = &params->sq_off;
    const uring_cq_offsets *cq = &params->cq_off;
    ring->sq_head = at(ring, sq->head);
    ring->sq_tail = at(ring, sq->tail);
    ring->sq_flags = at(ring, sq->flags);
    ring->sq_mask = *(uint32_t *)at(ring, sq->ring_mask);
    ring->sq_entries = params->sq_entries;
    ring->cq_head = at(ring, cq->head);
    ring->cq_tail = at(ring, cq->tail);
    ring->cq_mask = *(uint32_t *)at(ring, cq->ring_mask);
    ring->cqes = at(ring, cq->cqes);
    uint32_t *array = at(ring, sq->array);
    for (uint32_t i = 0; i < params->sq_entries; i++) {
        array[i] = i;
    }
}

static void *
map(int fd, size_t size, int64_t offset)
{
    void *address = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

static int
map_rings(ca_uring *ring, const uring_params *params)
{
    size_t sq_size = params->sq_off.array +
                     params->sq_entries * sizeof(uint32_t);
    size_t cq_size = params->cq_off.cqes +
                     params->cq_entries * sizeof(uring_cqe);
    ring->rings_size = sq_size > cq_size ? sq_size : cq_size;
    ring->sqes_size = params->sq_entries * sizeof(uring_sqe);
    ring->rings = map(ring->fd, ring->rings_size, URING_OFF_RINGS);
    if (ring->rings == NULL) {
        return -errno;
    }
    ring->sqes = map(ring->fd, ring->sqes_size, URING_OFF_SQES);
    if (ring->sqes == NULL) {
        return -errno;
    }
    find_members(ring, params);
    return 0;
}

/* Whether the kernel knows the operations; 0 or -ENOSYS. */
static int
check_operations(int fd)
{
    static const uint8_t needed[] = {URING_OP_FSYNC,        URING_OP_POLL_ADD,
                                     URING_OP_ASYNC_CANCEL, URING_OP_READ,
                                     URING_OP_WRITE,        URING_OP_RECV};
    uring_probe probe = {0};
    if (syscall(URING_SYS_REGISTER, (long)fd, (long)URING_REGISTER_PROBE,
                &probe, 256L) < 0) {
        return -errno;
    }
    for (size_t i = 0; i < sizeof(needed); i++) {
        if (probe.ops[needed[i]].op != needed[i] ||
            (probe.ops[needed[i]].flags & 1) == 0) {
            return -ENOSYS;
        }
    }
    return 0;
}

/* Send one entry through: a ring may be made where none may be entered. */
static int
check_entering(ca_uring *ring)
{
    uring_cqe cqe;
    uring_sqe *sqe = ca_uring_entry(ring);
    sqe->opcode = URING_OP_NOP;
    sqe->user_data = 1;
    int err = ca_uring_enter(ring, CA_NS_PER_S);
    if (err < 0) {
        return err;
    }
    return ca_uring_take(ring, &cqe) && cqe.user_data == 1 && cqe.res == 0
               ? 0
               : -ENOSYS;
}

int
ca_uring_open(ca_uring *ring, ca_uring_kind kind, uint32_t entries,
              uint32_t cq_entries)
{
    uring_params params;
    *ring = (ca_uring){.fd = -1};
    int fd = set_up(kind, entries, cq_entries, &params);
    if (fd < 0) {
        return fd;
    }
    ring->fd = fd;                     /* close-on-exec by itself */
    int err = 0;
    if ((params.features & NEEDED_FEATURES) != NEEDED_FEATURES) {
        err = -ENOSYS;
    }
    if (err == 0) {
        err = map_rings(ring, &params);
    }
    if (err == 0) {
        err = check_operations(fd);
    }
    if (err == 0) {
        err = check_entering(ring);
    }
    if (err < 0) {
        ca_uring_close(ring);
    }
    return err;
}

void
ca_uring_close(ca_uring *ring)
{
    if (ring->sqes != NULL) {
        (void)munmap(ring->sqes, ring->sqes_size);
    }
    if (ring->rings != NULL) {
        (void)munmap(ring->rings, ring->rings_size);
    }
    if (ring->fd >= 0) {
        close(ring->fd);
    }
    *ring = (ca_uring){.fd = -1};
}

uring_sqe *
ca_uring_entry(ca_uring *ring)
{
    uint32_t head = atomic_load_explicit(ring->sq_head, memory_order_acquire);
    if (ring->sq_next - head >= ring->sq_entries) {
        return NULL;
    }
    uring_sqe *sqe = &ring->sqes[ring->sq_next++ & ring->sq_mask];
    *sqe = (uring_sqe){0};
    return sqe;
}

uint32_t
ca_uring_unsent(const ca_uring *ring)
{
    return ring->sq_next -
           atomic_load_explicit(ring->sq_head, memory_order_acquire);
}

static int
enter(ca_uring *ring, uint32_t unsent, int64_t timeout_ns)
{
    uring_timespec limit = {timeout_ns / CA_NS_PER_S,
                            timeout_ns % CA_NS_PER_S};
    uring_wait_arg arg = {0};
    if (timeout_ns != CA_CLOCK_NEVER) {
        arg.timespec = (uint64_t)(uintptr_t)&limit;
    }
    uint32_t least = timeout_ns > 0 ? 1 : 0;
    long n = syscall(URING_SYS_ENTER, (long)ring->fd, (long)unsent,
                     (long)least,
                     (long)(URING_ENTER_GETEVENTS | URING_ENTER_EXT_ARG), &arg,
                     (long)sizeof(arg));
    return n < 0 ? -errno : (int)n;
}

int
ca_uring_enter(ca_uring *ring, int64_t timeout_ns)
{
    atomic_store_explicit(ring->sq_tail, ring->sq_next, memory_order_release);
    uint32_t unsent = ca_uring_unsent(ring);
    int64_t limit_ns = timeout_ns > 0 ? timeout_ns : 0;
    int n = enter(ring, unsent, limit_ns);
    if (n >= 0 && (uint32_t)n < unsent && limit_ns > 0) {
        /* Sent in part, and then it has not waited: the caller looks again. */
        return 0;
    }
    return n == -ETIME || n >= 0 ? 0 : n;
}

bool
ca_uring_take(ca_uring *ring, uring_cqe *out)
{
    uint32_t head = atomic_load_explicit(ring->cq_head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(ring->cq_tail, memory_order_acquire);
    if (head == tail) {
        return false;
    }
    *out = ring->cqes[head & ring->cq_mask];
    atomic_store_explicit(ring->cq_head, head + 1, memory_order_release);
    return true;
}

bool
ca_uring_has_finished(const ca_uring *ring)
{
    return atomic_load_explicit(ring->cq_head, memory_order_relaxed) !=
               atomic_load_explicit(ring->cq_tail, memory_order_acquire) ||
           ca_uring_overflowed(ring);
}

/* Flags that the kernel has raised. */
static uint32_t
raised(const ca_uring *ring)
{
    return atomic_load_explicit(ring->sq_flags, memory_order_relaxed);
}

bool
ca_uring_overflowed(const ca_uring *ring)
{
    return (raised(ring) & URING_SQ_CQ_OVERFLOW) != 0;
}

bool
ca_uring_has_work(const ca_uring *ring)
{
    return (raised(ring) & URING_SQ_TASKRUN) != 0 ||
           ca_uring_has_finished(ring);
}
