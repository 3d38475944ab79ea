/* signals.c - the socketpair behind the interpreter's wakeup descriptor. */
#include "reactor/signals.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

int
ca_signals_open(ca_signals *signals)
{
    int fds[2];
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    if (socketpair(AF_UNIX, type, 0, fds) < 0) {
        signals->read_fd = -1;
        signals->write_fd = -1;
        return -errno;
    }
    signals->read_fd = fds[0];
    signals->write_fd = fds[1];
    return 0;
}

void
ca_signals_close(ca_signals *signals)
{
    if (signals->read_fd >= 0) {
        close(signals->read_fd);
        close(signals->write_fd);
    }
    signals->read_fd = -1;
    signals->write_fd = -1;
}

int
ca_signals_drain(ca_signals *signals, unsigned char *numbers, size_t cap)
{
    ssize_t n;
    do {
        n = read(signals->read_fd, numbers, cap);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    return (int)n;
}
