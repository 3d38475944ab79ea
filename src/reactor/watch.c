/* watch.c - records by descriptor number. */
#include "reactor/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAP = 64 };

/* Room for number fd, for numbers of open descriptors only: the table is
 * bounded by what the process has open, not by what it asks for. */
static int
grow(ca_watch_table *table, int fd)
{
    if (fcntl(fd, F_GETFD) < 0) {
        return -EBADF;
    }
    size_t cap = table->cap == 0 ? FIRST_CAP : table->cap;
    while (cap <= (size_t)fd) {
        cap *= 2;
    }
    if (cap > SIZE_MAX / sizeof(ca_watch *)) {
        return -ENOMEM;
    }
    ca_watch **by_fd = realloc(table->by_fd, cap * sizeof(*by_fd));
    if (by_fd == NULL) {
        return -ENOMEM;
    }
    memset(by_fd + table->cap, 0, (cap - table->cap) * sizeof(*by_fd));
    table->by_fd = by_fd;
    table->cap = cap;
    return 0;
}

ca_watch *
ca_watch_find(const ca_watch_table *table, int fd)
{
    return fd >= 0 && (size_t)fd < table->cap ? table->by_fd[fd] : NULL;
}

int
ca_watch_get(ca_watch_table *table, int fd, ca_watch **out)
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
    if (table->by_fd[fd] == NULL) {
        ca_watch *watch = calloc(1, sizeof(*watch));
        if (watch == NULL) {
            return -ENOMEM;
        }
        ca_op_init(&watch->op[CA_OP_POLL_IN], CA_OP_POLL_IN, fd);
        ca_op_init(&watch->op[CA_OP_POLL_OUT], CA_OP_POLL_OUT, fd);
        table->by_fd[fd] = watch;
        table->count++;
    }
    *out = table->by_fd[fd];
    return 0;
}

void
ca_watch_trim(ca_watch_table *table, int fd)
{
    ca_watch *watch = ca_watch_find(table, fd);
    if (watch == NULL || watch->owner[0] != NULL || watch->owner[1] != NULL) {
        return;
    }
    table->by_fd[fd] = NULL;
    table->count--;
    free(watch);
}
