/* wake.c - no wake-up is lost, and few are paid for.
 *
 * The two sides, with the order that matters:
 *
 *   any thread                          the loop's thread
 *   S1  leave a message                 D1  read the eventfd (to zero)
 *   S2  pending: false -> true?         D2  pending = false
 *   S3  if so, write the eventfd        D3  look for messages, then wait
 *
 * Claim: a message left at S1 is seen at a D3 that begins after S2, or else a
 * wait after S2 ends at once.
 *   S2 finds false: S3 writes.  A D1 that comes after the write swallows it,
 *     but its own D3 follows; without such a D1 the eventfd is above zero and
 *     the wait ends.
 *   S2 finds true: another caller has set it, and no D2 came between its S2
 *     and ours.  Its write is made or still to come, and ends a wait; the D1
 *     that swallows it is followed by a D2 after our S2.  So is D3, and it
 *     sees the message: D2 is an exchange that reads what our S2 wrote (or a
 *     later one built on it), so S1 happened before D3.
 *
 * The other order, D2 before D1, loses: a caller who sets `pending` and writes
 * between the two has its write swallowed by D1 while `pending` stays true,
 * and from then on nobody writes any more.
 *
 * A drain that finds the eventfd at zero (the writer is between S2 and S3)
 * leaves a write for the next wait, which ends once for nothing.
 */
#include "reactor/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int
ca_wake_open(ca_wake *wake)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    wake->fd = fd < 0 ? -1 : fd;
    ca_op_init(&wake->op, CA_OP_POLL_IN, wake->fd);
    atomic_init(&wake->pending, false);
    return fd < 0 ? -errno : 0;
}

void
ca_wake_close(ca_wake *wake)
{
    if (wake->fd >= 0) {
        close(wake->fd);
        wake->fd = -1;
    }
}

int
ca_wake_renew(ca_wake *wake)
{
    /* Born readable: a spurious wake-up harms nobody. */
    int fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    /* The number stays, so a thread that signals just now cannot write into
     * some other file. */
    int err = dup3(fd, wake->fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return err;
}

void
ca_wake_signal(ca_wake *wake)
{
    if (atomic_exchange_explicit(&wake->pending, true, memory_order_acq_rel)) {
        return;
    }
    int saved_errno = errno;
    uint64_t one = 1;
    ssize_t n = write(wake->fd, &one, sizeof(one));
    (void)n;                           /* a full counter wakes just as well */
    errno = saved_errno;
}

void
ca_wake_drain(ca_wake *wake)
{
    uint64_t count;
    ssize_t n = read(wake->fd, &count, sizeof(count));
    (void)n;                           /* EAGAIN: see the end of the essay */
    (void)atomic_exchange_explicit(&wake->pending, false,
                                   memory_order_acq_rel);
}
