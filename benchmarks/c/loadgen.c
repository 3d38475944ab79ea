/* loadgen.c - load for an echo or HTTP server, one thread, closed loop.
 *
 * Every connection has exactly one message outstanding: send it, wait for the
 * whole answer, note the time, send again.  The first echo of a connection is
 * compared with what was sent.  Modes:
 *
 *   echo    messages of -s bytes over TCP, UNIX sockets or UDP
 *   churn   connect, one message, shut down, wait for the end; again
 *   http    GET / on a connection that stays
 *   idle    open -c connections, one message on each, and see by how much
 *           the server's resident memory grew (needs -P)
 *
 *   loadgen -m echo -l tcp:9000 -c 10 -s 1024 -d 1.5 -w 0.3 -P SERVER_PID
 *
 * Prints one JSON object.  With -P it contains the CPU time that the server
 * spent while messages were counted: `cpu_ns` in all, and `user_ticks` of
 * `ticks` in user mode, which the kernel samples.
 */
#include "bench.h"
#include "histogram.h"

#include <fcntl.h>
#include <sys/epoll.h>

enum { BUFFER = 256 * 1024, EVENTS = 256, SOURCES = 64, MOST_ERRORS = 1000 };
enum { MOST_FROM_ONE = 20000 };        /* connections from one address */
enum { TICK_MS = 50, RESEND_MS = 200, DATAGRAM_BUFFER = 4 * 1024 * 1024 };

static const char request[] = "GET / HTTP/1.1\r\n"
                              "Host: 127.0.0.1\r\n"
                              "User-Agent: loadgen\r\n"
                              "Accept: */*\r\n\r\n";

typedef enum { ECHO, CHURN, HTTP, IDLE } load_mode;
typedef enum { CONNECTING, TALKING, CLOSING } conn_state;
typedef enum { BROKEN = -1, PARTIAL, WHOLE, ENDED } answer;

typedef struct {
    int fd;                            /* owned */
    conn_state state;
    bool checked;                      /* the first echo was compared */
    uint32_t events;                   /* that epoll watches */
    size_t sent;
    size_t got;
    size_t wanted;                     /* of an HTTP answer; 0: not known */
    uint64_t began_ns;
} conn;

static struct {
    load_mode mode;
    bench_place place;
    unsigned nconns;
    size_t nbytes;                     /* of a message */
    double warm_s;
    double measure_s;
    pid_t server;
} opts = {.nconns = 1, .nbytes = 1024, .warm_s = 0.25, .measure_s = 1};

static struct {
    uint64_t done;
    uint64_t errors;
    uint64_t lost;                     /* datagrams sent again */
    uint64_t wrong;                    /* reads with other bytes than sent */
    uint64_t cpu_ns;
    uint64_t user_ticks;
    uint64_t ticks;
} counts;

static histogram times;
static int epfd;
static char *message;
static char buffer[BUFFER];

static bool
datagrams(void)
{
    return opts.place.type == SOCK_DGRAM;
}

/* ---- what the server uses ---- */

static uint64_t
server_cpu_ns(void)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(opts.server, &clock) != 0 ||
        clock_gettime(clock, &t) < 0) {
        bench_usage("the server is gone");
    }
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Read a file of the server's /proc folder into text. */
static void
server_file(const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)opts.server, name);
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(text, 1, size - 1, f) : 0;
    text[n] = '\0';
    if (f != NULL) {
        fclose(f);
    }
}

static void
server_ticks(uint64_t *user, uint64_t *all)
{
    char text[1024];
    unsigned long utime = 0;
    unsigned long stime = 0;
    server_file("stat", text, sizeof(text));
    const char *rest = strrchr(text, ')');
    if (rest != NULL) {
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &utime, &stime);
    }
    *user = utime;
    *all = utime + stime;
}

static long
server_resident_bytes(void)
{
    char text[128];
    long pages = 0;
    server_file("statm", text, sizeof(text));
    sscanf(text, "%*d %ld", &pages);
    return pages * sysconf(_SC_PAGESIZE);
}

/* Called at both ends of the measured time; the counts hold the difference. */
static void
server_account(bool end)
{
    uint64_t user;
    uint64_t all;
    if (opts.server == 0) {
        return;
    }
    uint64_t cpu_ns = server_cpu_ns();
    server_ticks(&user, &all);
    counts.cpu_ns = end ? cpu_ns - counts.cpu_ns : cpu_ns;
    counts.user_ticks = end ? user - counts.user_ticks : user;
    counts.ticks = end ? all - counts.ticks : all;
}

/* ---- one connection ---- */

static void
conn_watch(conn *c, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (c->events == events) {
        return;
    }
    int how = c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(epfd, how, c->fd, &e) < 0) {
        bench_die("epoll_ctl");
    }
    c->events = events;
}

/* Let each connection come from another address, so that those in TIME_WAIT
 * do not use up the ports. */
static void
bind_source(int fd)
{
    static unsigned next;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + next++ % SOURCES);
    bench_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0) {
        bench_die("bind");
    }
}

/* Returns 0 or -1; without SOCK_NONBLOCK it waits until it is connected. */
static int
conn_open(conn *c, int flags)
{
    const bench_place *p = &opts.place;
    int room = DATAGRAM_BUFFER;
    memset(c, 0, sizeof(*c));
    c->fd = socket(p->family, p->type | SOCK_CLOEXEC | flags, 0);
    if (c->fd < 0) {
        bench_die("socket");
    }
    if (p->family == AF_INET && !datagrams()) {
        bench_set(c->fd, IPPROTO_TCP, TCP_NODELAY);
        if (opts.mode == CHURN || opts.nconns > MOST_FROM_ONE) {
            bind_source(c->fd);
        }
    } else if (datagrams()) {
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
    }
    if (connect(c->fd, &p->address.any, p->len) < 0 && errno != EINPROGRESS) {
        close(c->fd);
        return -1;
    }
    return 0;
}

/* Returns -1 when the connection is broken. */
static int
conn_push(conn *c)
{
    size_t nbytes = opts.mode == HTTP ? sizeof(request) - 1 : opts.nbytes;
    const char *data = opts.mode == HTTP ? request : message;
    while (c->sent < nbytes) {
        ssize_t n = send(c->fd, data + c->sent, nbytes - c->sent,
                         MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            conn_watch(c, EPOLLIN | EPOLLOUT);
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        c->sent += n > 0 ? (size_t)n : 0;
    }
    conn_watch(c, EPOLLIN);
    return 0;
}

static int
conn_start(conn *c)
{
    c->sent = c->got = c->wanted = 0;
    c->state = TALKING;
    if (opts.mode != CHURN) {
        c->began_ns = bench_now_ns();
    }
    return conn_push(c);
}

static void
conn_check(conn *c, size_t nbytes)
{
    if (c->got + nbytes > opts.nbytes ||
        memcmp(buffer, message + c->got, nbytes) != 0) {
        counts.wrong++;
    }
    c->checked = c->got + nbytes >= opts.nbytes;
}

/* Looks at the head of an HTTP answer, which has to come in one read. */
static int
http_expect(conn *c, size_t nbytes)
{
    buffer[nbytes < BUFFER ? nbytes : BUFFER - 1] = '\0';
    const char *end = strstr(buffer, "\r\n\r\n");
    const char *length = strcasestr(buffer, "\r\ncontent-length:");
    if (strncmp(buffer, "HTTP/1.1 200", 12) != 0 || end == NULL ||
        length == NULL || length > end) {
        counts.wrong++;
        return -1;
    }
    c->wanted = (size_t)(end + 4 - buffer);
    c->wanted += (size_t)atol(length + strlen("\r\ncontent-length:"));
    return 0;
}

static answer
conn_pull(conn *c)
{
    for (;;) {
        ssize_t n = recv(c->fd, buffer, BUFFER, 0);
        if (n < 0) {
            return errno == EAGAIN || errno == EINTR ? PARTIAL : BROKEN;
        }
        if (n == 0 && !datagrams()) {
            return ENDED;
        }
        size_t nbytes = (size_t)n;
        if (opts.mode != HTTP) {
            c->wanted = opts.nbytes;
            if (!c->checked) {
                conn_check(c, nbytes);
            }
        } else if (c->wanted == 0 && http_expect(c, nbytes) < 0) {
            return BROKEN;
        }
        c->got += nbytes;
        if (c->got >= c->wanted) {
            return WHOLE;
        }
        if (nbytes < BUFFER) {
            return PARTIAL;
        }
    }
}

static void
conn_done(conn *c)
{
    hist_record(&times, bench_now_ns() - c->began_ns);
    counts.done++;
}

static void
churn_again(conn *c)
{
    uint64_t began_ns = bench_now_ns();
    while (conn_open(c, SOCK_NONBLOCK) < 0) {
        counts.errors++;
        usleep(1000);
        if (counts.errors > MOST_ERRORS) {
            bench_die("connect");
        }
    }
    c->began_ns = began_ns;
    conn_watch(c, EPOLLOUT);
}

static void
conn_fail(conn *c)
{
    if (counts.wrong > 0) {
        bench_usage("wrong bytes came back");
    }
    if (++counts.errors > MOST_ERRORS) {
        bench_usage("more than 1000 connections broke");
    }
    close(c->fd);
    if (opts.mode == CHURN) {
        churn_again(c);
        return;
    }
    if (conn_open(c, 0) < 0) {
        bench_die("connect");
    }
    conn_start(c);
}

static int
socket_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof(err);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
    return err;
}

static void
on_closing(conn *c)
{
    ssize_t n = recv(c->fd, buffer, BUFFER, 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    close(c->fd);
    conn_done(c);
    churn_again(c);
}

static void
on_answer(conn *c)
{
    answer a = conn_pull(c);
    if (a == PARTIAL) {
        return;
    }
    if (a != WHOLE) {
        conn_fail(c);
    } else if (opts.mode == CHURN) {
        shutdown(c->fd, SHUT_WR);
        c->state = CLOSING;
    } else {
        conn_done(c);
        if (conn_start(c) < 0) {
            conn_fail(c);
        }
    }
}

static void
on_event(conn *c, uint32_t events)
{
    if (c->state == CONNECTING) {
        if (socket_error(c->fd) || conn_start(c) < 0) {
            conn_fail(c);
        }
        return;
    }
    if (c->state == CLOSING) {
        on_closing(c);
        return;
    }
    if ((events & EPOLLOUT) && conn_push(c) < 0) {
        conn_fail(c);
    } else if (events & ~(uint32_t)EPOLLOUT) {
        on_answer(c);
    }
}

/* ---- the whole ---- */

static conn *
open_all(void)
{
    conn *conns = bench_alloc(opts.nconns * sizeof(*conns));
    for (unsigned i = 0; i < opts.nconns; i++) {
        if (opts.mode == CHURN) {
            churn_again(&conns[i]);
            continue;
        }
        if (conn_open(&conns[i], 0) < 0) {
            bench_die("connect");
        }
        if (opts.mode != IDLE) {
            fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        }
    }
    return conns;
}

static void
start_all(conn *conns)
{
    for (unsigned i = 0; i < opts.nconns && opts.mode != CHURN; i++) {
        if (conn_start(&conns[i]) < 0) {
            conn_fail(&conns[i]);
        }
    }
}

static void
resend_lost(conn *conns, uint64_t now_ns)
{
    for (unsigned i = 0; i < opts.nconns; i++) {
        if (now_ns - conns[i].began_ns > RESEND_MS * 1000000ull) {
            counts.lost++;
            conn_start(&conns[i]);
        }
    }
}

/* Serve events until `end_ns`; returns the time then. */
static uint64_t
run_until(conn *conns, uint64_t end_ns)
{
    struct epoll_event events[EVENTS];
    uint64_t now_ns = bench_now_ns();
    uint64_t looked_ns = now_ns;
    while (now_ns < end_ns) {
        int n = epoll_wait(epfd, events, EVENTS, TICK_MS);
        for (int i = 0; i < n; i++) {
            on_event(events[i].data.ptr, events[i].events);
        }
        now_ns = bench_now_ns();
        if (datagrams() && now_ns - looked_ns > TICK_MS * 1000000ull) {
            looked_ns = now_ns;
            resend_lost(conns, now_ns);
        }
    }
    return now_ns;
}

static int
run_load(void)
{
    conn *conns = open_all();
    start_all(conns);
    uint64_t warm_ns = (uint64_t)(opts.warm_s * 1e9);
    uint64_t measure_ns = (uint64_t)(opts.measure_s * 1e9);
    uint64_t begin_ns = run_until(conns, bench_now_ns() + warm_ns);
    counts.done = counts.lost = 0;
    hist_clear(&times);
    server_account(false);
    uint64_t end_ns = run_until(conns, begin_ns + measure_ns);
    server_account(true);
    double took_s = (double)(end_ns - begin_ns) / 1e9;
    printf("{\"value\": %.2f, \"done\": %llu, \"seconds\": %.4f, "
           "\"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"max_us\": %.1f, \"errors\": %llu, "
           "\"lost\": %llu, \"wrong\": %llu, \"cpu_ns\": %llu, "
           "\"user_ticks\": %llu, \"ticks\": %llu}\n",
           (double)counts.done / took_s, (unsigned long long)counts.done,
           took_s, hist_percentile_us(&times, 0.5),
           hist_percentile_us(&times, 0.9), hist_percentile_us(&times, 0.99),
           hist_percentile_us(&times, 0.999), (double)times.max_ns / 1000.0,
           (unsigned long long)counts.errors, (unsigned long long)counts.lost,
           (unsigned long long)counts.wrong, (unsigned long long)counts.cpu_ns,
           (unsigned long long)counts.user_ticks,
           (unsigned long long)counts.ticks);
    if (counts.done == 0) {
        bench_usage("not one answer came");
    }
    return 0;
}

/* Send one message on a blocking connection and take the echo. */
static void
talk_once(int fd)
{
    if (send(fd, message, opts.nbytes, MSG_NOSIGNAL) != (ssize_t)opts.nbytes ||
        recv(fd, buffer, opts.nbytes, MSG_WAITALL) != (ssize_t)opts.nbytes ||
        memcmp(buffer, message, opts.nbytes) != 0) {
        bench_die("a connection has no echo");
    }
}

static int
run_idle(void)
{
    conn first;
    conn *conns = bench_alloc(opts.nconns * sizeof(*conns));
    if (conn_open(&first, 0) < 0) {
        bench_die("connect");
    }
    talk_once(first.fd);
    usleep(TICK_MS * 1000);
    long before = server_resident_bytes();
    for (unsigned i = 0; i < opts.nconns; i++) {
        if (conn_open(&conns[i], 0) < 0) {
            bench_die("connect");
        }
        talk_once(conns[i].fd);
    }
    usleep(TICK_MS * 1000);
    long grown = server_resident_bytes() - before;
    printf("{\"value\": %.1f, \"done\": %u}\n",
           (double)grown / (double)opts.nconns, opts.nconns);
    return 0;
}

static load_mode
parse_mode(const char *name)
{
    static const char *const names[] = {"echo", "churn", "http", "idle"};
    for (int i = 0; i < 4; i++) {
        if (strcmp(names[i], name) == 0) {
            return (load_mode)i;
        }
    }
    bench_usage("a mode is echo, churn, http or idle");
    return ECHO;
}

static void
parse_options(int argc, char **argv)
{
    int opt;
    while ((opt = getopt(argc, argv, "m:l:c:s:d:w:P:")) != -1) {
        switch (opt) {
        case 'm':
            opts.mode = parse_mode(optarg);
            break;
        case 'l':
            opts.place = bench_parse(optarg);
            break;
        case 'c':
            opts.nconns = (unsigned)atoi(optarg);
            break;
        case 's':
            opts.nbytes = (size_t)atol(optarg);
            break;
        case 'd':
            opts.measure_s = atof(optarg);
            break;
        case 'w':
            opts.warm_s = atof(optarg);
            break;
        case 'P':
            opts.server = (pid_t)atoi(optarg);
            break;
        default:
            exit(2);
        }
    }
    if (opts.place.len == 0 || opts.nconns == 0 || opts.nbytes == 0) {
        bench_usage("loadgen -m MODE -l PLACE [-c CONNECTIONS] [-s BYTES]");
    }
}

int
main(int argc, char **argv)
{
    uint32_t x = 12345;
    parse_options(argc, argv);
    bench_prepare();
    message = bench_alloc(opts.nbytes);
    for (size_t i = 0; i < opts.nbytes; i++) {
        x = x * 1664525u + 1013904223u;
        message[i] = (char)(x >> 24);
    }
    epfd = epoll_create1(EPOLL_CLOEXEC);
    return opts.mode == IDLE ? run_idle() : run_load();
}
