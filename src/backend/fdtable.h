/* fdtable.h - what a readiness backend knows about each descriptor number.
 *
 * One slot per number: the armed op of each direction and a generation.  The
 * generation changes whenever a number is registered anew with the kernel, and
 * travels with the kernel's events: an event of an earlier registration (the
 * number was closed and reused) is recognised and dropped.
 * Invariants: ca_fdslot_events() of a slot is what the kernel was asked for
 * last (it may have forgotten it since: it drops a closed file by itself); a
 * slot with no events is not registered; op->armed is true exactly for the ops
 * that are in a slot.
 * Not locked: every call is made with the lock that arm and cancel need.
 */
#ifndef CA_BACKEND_FDTABLE_H
#define CA_BACKEND_FDTABLE_H

#include "backend/backend.h"

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    ca_op *in;                         /* borrowed: the armed op, or NULL */
    ca_op *out;                        /* borrowed: the armed op, or NULL */
    uint32_t gen;
    uint32_t index;                    /* free for the backend */
} ca_fdslot;

typedef struct {
    ca_fdslot *slots;                  /* owned; indexed by descriptor */
    size_t cap;
    size_t used;                       /* slots with an armed op */
} ca_fdtable;

/* Where a slot keeps the op of one direction. */
static inline ca_op **
ca_fdslot_side(ca_fdslot *slot, int kind)
{
    return ca_op_side(kind) == 0 ? &slot->in : &slot->out;
}

/* The bit of a direction, in poll(2)'s numbers (epoll's are the same). */
static inline uint32_t
ca_fdslot_bit(int kind)
{
    return ca_op_side(kind) == 0 ? POLLIN : POLLOUT;
}

/* POLLIN and POLLOUT as they are armed; 0: nothing is. */
static inline uint32_t
ca_fdslot_events(const ca_fdslot *slot)
{
    return (slot->in != NULL ? POLLIN : 0u) |
           (slot->out != NULL ? POLLOUT : 0u);
}

/* The slot of fd, growing the table when needed; 0 or -EBADF (the number is
 * not an open descriptor, asked only when the table would have to grow),
 * -ENOMEM.  Slot pointers are valid until the next call. */
int ca_fdtable_get(ca_fdtable *table, int fd, ca_fdslot **out);

/* The slot of fd if the table has one, else NULL. */
ca_fdslot *ca_fdtable_find(const ca_fdtable *table, int fd);

/* Note in its slot that op is armed, or is not any more.  Either takes it off
 * the list of finished ops: what was found before belongs to the past. */
void ca_fdtable_put(ca_fdtable *table, ca_fdslot *slot, ca_op *op);
void ca_fdtable_drop(ca_fdtable *table, ca_fdslot *slot, ca_op *op);

/* Append to `done` what the kernel's event bits finish: any bit but POLLOUT
 * the reading op, any bit but POLLIN the writing one (an error or a hang-up
 * both).  An op that is on a list already keeps its place. */
void ca_fdslot_finish(const ca_fdslot *slot, uint32_t bits, ca_dnode *done);

/* Forget the ops (they become unarmed) and give the memory back. */
void ca_fdtable_free(ca_fdtable *table);

#endif
