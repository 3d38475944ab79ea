/* fdtable.c - slots by descriptor number. */
#include "backend/fdtable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* From so many on a table grows by a quarter: the slots behind the last
 * descriptor are memory for nothing. */
enum { FIRST_CAP = 64, MANY = 4096 };

/* Room for number fd.  Only numbers of open descriptors get any, so that a
 * slip of the pen (fd = 2^30) does not cost gigabytes. */
static int
grow(ca_fdtable *table, int fd)
{
    if (fcntl(fd, F_GETFD) < 0) {
        return -EBADF;
    }
    size_t cap = table->cap == 0 ? FIRST_CAP : table->cap;
    while (cap <= (size_t)fd) {
        cap += cap < MANY ? cap : cap / 4;
    }
    if (cap > SIZE_MAX / sizeof(ca_fdslot)) {
        return -ENOMEM;
    }
    ca_fdslot *slots = realloc(table->slots, cap * sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    memset(slots + table->cap, 0, (cap - table->cap) * sizeof(*slots));
    table->slots = slots;
    table->cap = cap;
    return 0;
}

int
ca_fdtable_get(ca_fdtable *table, int fd, ca_fdslot **out)
{
    if (fd < 0) {
        return -EBADF;
    }
    if ((size_t)fd >= table->cap) {
        int err = grow(table, fd);
        if (err < 0) {
            return err;
        }
    }
    *out = &table->slots[fd];
    return 0;
}

ca_fdslot *
ca_fdtable_find(const ca_fdtable *table, int fd)
{
    if (fd < 0 || (size_t)fd >= table->cap) {
        return NULL;
    }
    return &table->slots[fd];
}

void
ca_fdtable_put(ca_fdtable *table, ca_fdslot *slot, ca_op *op)
{
    if (ca_fdslot_events(slot) == 0) {
        table->used++;
    }
    *ca_fdslot_side(slot, op->kind) = op;
    op->armed = true;
    ca_dlist_unlink(&op->link);
}

void
ca_fdtable_drop(ca_fdtable *table, ca_fdslot *slot, ca_op *op)
{
    *ca_fdslot_side(slot, op->kind) = NULL;
    op->armed = false;
    ca_dlist_unlink(&op->link);
    if (ca_fdslot_events(slot) == 0) {
        table->used--;
    }
}

static void
finish(ca_op *op, ca_dnode *done)
{
    if (op != NULL && !ca_dlist_linked(&op->link)) {
        ca_dlist_append(done, &op->link);
    }
}

void
ca_fdslot_finish(const ca_fdslot *slot, uint32_t bits, ca_dnode *done)
{
    if (bits & ~(uint32_t)POLLOUT) {
        finish(slot->in, done);
    }
    if (bits & ~(uint32_t)POLLIN) {
        finish(slot->out, done);
    }
}

void
ca_fdtable_free(ca_fdtable *table)
{
    for (size_t i = 0; i < table->cap && table->used > 0; i++) {
        ca_fdslot *slot = &table->slots[i];
        if (slot->in != NULL) {
            ca_fdtable_drop(table, slot, slot->in);
        }
        if (slot->out != NULL) {
            ca_fdtable_drop(table, slot, slot->out);
        }
    }
    free(table->slots);
    *table = (ca_fdtable){0};
}
