/* backend.c - the table of backends, best first. */
#include "backend/backend.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

static const ca_backend_vt *const rows[] = {
    &ca_backend_epoll,
    &ca_backend_poll,
    &ca_backend_uring,
    NULL,
};

const ca_backend_vt *
ca_backend_find(const char *name)
{
    if (strcmp(name, "auto") == 0) {
        return rows[0];
    }
    for (int i = 0; rows[i] != NULL; i++) {
        if (strcmp(rows[i]->name, name) == 0) {
            return rows[i];
        }
    }
    return NULL;
}

const ca_backend_vt *
ca_backend_at(int i)
{
    int nrows = (int)(sizeof(rows) / sizeof(rows[0])) - 1;
    return i >= 0 && i < nrows ? rows[i] : NULL;
}

ptrdiff_t
ca_backend_recv(ca_backend *be, int fd, char *buf, size_t size, char **where)
{
    (void)be;
    if (where != NULL) {
        *where = buf;
    }
    if (size == 0) {
        return -EAGAIN;
    }
    ssize_t n = recv(fd, buf, size, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}
