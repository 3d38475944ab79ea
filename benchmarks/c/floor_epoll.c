/* floor_epoll.c - the least that a single-threaded epoll server can do.
 *
 * It echoes over TCP, UNIX sockets or UDP, or gives one fixed answer to every
 * HTTP request, without looking at it.  Loops are compared with it: what they
 * need beyond this is their own.
 *
 *   floor_epoll -l tcp:0 [-h]          -h: HTTP
 */
#include "bench.h"

#include <sys/epoll.h>

enum { BUFFER = 256 * 1024, EVENTS = 256, BATCH = 32, DATAGRAM = 65536 };

typedef struct {
    int fd;                            /* owned */
    bool waits;                        /* for room in the send buffer */
    int tail;                          /* of the request that is not whole */
    char *held;                        /* owned: what did not fit */
    size_t nheld;
    size_t sent;                       /* of what is held */
} conn;

static int epfd;
static bool http;
static char buffer[BUFFER];

static void
conn_close(conn *c)
{
    close(c->fd);
    free(c->held);
    free(c);
}

static void
conn_watch(conn *c, bool room)
{
    struct epoll_event e = {
        .events = room ? EPOLLOUT : EPOLLIN,
        .data.ptr = c,
    };
    if (c->waits != room) {
        c->waits = room;
        epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &e);
    }
}

/* Returns the bytes taken, 0 for none now, -1 for a broken connection. */
static ssize_t
conn_put(conn *c, const char *data, size_t nbytes)
{
    ssize_t n = send(c->fd, data, nbytes, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static int
conn_hold(conn *c, const char *data, size_t nbytes)
{
    char *grown = realloc(c->held, c->nheld + nbytes);
    if (grown == NULL) {
        return -1;
    }
    memcpy(grown + c->nheld, data, nbytes);
    c->held = grown;
    c->nheld += nbytes;
    conn_watch(c, true);
    return 0;
}

static int
conn_send(conn *c, const char *data, size_t nbytes)
{
    ssize_t n = c->nheld > 0 ? 0 : conn_put(c, data, nbytes);
    if (n < 0 || (size_t)n == nbytes) {
        return n < 0 ? -1 : 0;
    }
    return conn_hold(c, data + n, nbytes - (size_t)n);
}

static int
conn_flush(conn *c)
{
    while (c->sent < c->nheld) {
        ssize_t n = conn_put(c, c->held + c->sent, c->nheld - c->sent);
        if (n <= 0) {
            return (int)n;
        }
        c->sent += (size_t)n;
    }
    c->nheld = c->sent = 0;
    conn_watch(c, false);
    return 0;
}

static int
conn_read(conn *c)
{
    ssize_t n = recv(c->fd, buffer, BUFFER, 0);
    if (n <= 0) {
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    if (!http) {
        return conn_send(c, buffer, (size_t)n);
    }
    unsigned wanted = bench_requests(buffer, (size_t)n, &c->tail);
    int err = 0;
    while (wanted-- > 0 && err == 0) {
        err = conn_send(c, bench_reply, sizeof(bench_reply) - 1);
    }
    return err;
}

static void
accept_all(int listener, bool inet)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        conn *c = bench_alloc(sizeof(*c));
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = fd;
        if (inet) {
            bench_set(fd, IPPROTO_TCP, TCP_NODELAY);
        }
        epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void
serve_streams(int listener, bool inet)
{
    struct epoll_event events[EVENTS];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epfd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            conn *c = events[i].data.ptr;
            if (c == NULL) {
                accept_all(listener, inet);
            } else if ((c->waits ? conn_flush(c) : conn_read(c)) < 0) {
                conn_close(c);
            }
        }
    }
}

static void
serve_datagrams(int fd)
{
    static struct mmsghdr messages[BATCH];
    static struct iovec parts[BATCH];
    static struct sockaddr_in from[BATCH];
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
    for (int i = 0; i < BATCH; i++) {
        parts[i].iov_base = bench_alloc(DATAGRAM);
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_name = &from[i];
    }
    for (;;) {
        epoll_wait(epfd, &e, 1, -1);
        for (int i = 0; i < BATCH; i++) {
            parts[i].iov_len = DATAGRAM;
            messages[i].msg_hdr.msg_namelen = sizeof(from[i]);
        }
        int n = recvmmsg(fd, messages, BATCH, 0, NULL);
        for (int i = 0; i < n; i++) {
            parts[i].iov_len = messages[i].msg_len;
        }
        if (n > 0) {
            sendmmsg(fd, messages, (unsigned)n, 0);
        }
    }
}

int
main(int argc, char **argv)
{
    bench_place place = {.family = AF_UNSPEC};
    int opt;
    while ((opt = getopt(argc, argv, "l:h")) != -1) {
        if (opt == 'l') {
            place = bench_parse(optarg);
        } else if (opt == 'h') {
            http = true;
        } else {
            return 2;
        }
    }
    if (place.family == AF_UNSPEC) {
        bench_usage("floor_epoll -l PLACE [-h]");
    }
    bench_prepare();
    epfd = epoll_create1(EPOLL_CLOEXEC);
    int fd = bench_serve(&place, SOCK_NONBLOCK);
    bench_ready(&place);
    if (place.type == SOCK_DGRAM) {
        serve_datagrams(fd);
    } else {
        serve_streams(fd, place.family == AF_INET);
    }
}
