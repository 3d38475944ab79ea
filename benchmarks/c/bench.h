/* bench.h - what the load generator and the C servers share.
 *
 * A place is written "tcp:PORT", "unix:PATH" or "udp:PORT".  A server may be
 * given port 0; it prints "READY PORT" when it takes traffic.  The environment
 * says how to run: BENCH_CPU is the CPU to stay on, BENCH_REALTIME asks for
 * SCHED_RR.  Everything here ends the program when something fails.
 */
#ifndef BENCH_H
#define BENCH_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BENCH_BACKLOG = 4096 };

/* What a C server answers to every HTTP request. */
static const char bench_reply[] = "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/plain; charset=utf-8\r\n"
                                  "Content-Length: 13\r\n"
                                  "Server: floor\r\n\r\n"
                                  "Hello, world!";

typedef struct {
    int family;
    int type;
    socklen_t len;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_un un;
    } address;
} bench_place;

static inline void
bench_die(const char *what)
{
    fprintf(stderr, "Error: %s: %s\n", what, strerror(errno));
    exit(2);
}

static inline void
bench_usage(const char *what)
{
    fprintf(stderr, "Error: %s\n", what);
    exit(2);
}

static inline uint64_t
bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void *
bench_alloc(size_t nbytes)
{
    void *block = calloc(1, nbytes);
    if (block == NULL) {
        bench_die("calloc");
    }
    return block;
}

/* Take the CPU and the scheduling asked for, and all descriptors allowed; end
 * when the program ends that started this one. */
static inline void
bench_prepare(void)
{
    const char *cpu = getenv("BENCH_CPU");
    const char *realtime = getenv("BENCH_REALTIME");
    struct sched_param param = {.sched_priority = 1};
    struct rlimit limit;
    cpu_set_t set;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    if (cpu != NULL && *cpu) {
        CPU_ZERO(&set);
        CPU_SET((unsigned)atoi(cpu), &set);
        if (sched_setaffinity(0, sizeof(set), &set) < 0) {
            bench_die("sched_setaffinity");
        }
    }
    if (realtime != NULL && *realtime &&
        sched_setscheduler(0, SCHED_RR, &param) < 0) {
        bench_die("sched_setscheduler");
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static inline bench_place
bench_parse(const char *text)
{
    bench_place place = {.family = AF_INET, .type = SOCK_STREAM};
    const char *rest = strchr(text, ':');
    if (rest == NULL) {
        bench_usage("a place is tcp:PORT, unix:PATH or udp:PORT");
    }
    rest++;
    if (strncmp(text, "unix:", 5) == 0) {
        struct sockaddr_un *un = &place.address.un;
        place.family = un->sun_family = AF_UNIX;
        place.len = sizeof(*un);
        snprintf(un->sun_path, sizeof(un->sun_path), "%s", rest);
        return place;
    }
    if (strncmp(text, "udp:", 4) == 0) {
        place.type = SOCK_DGRAM;
    }
    place.address.in.sin_family = AF_INET;
    place.address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place.address.in.sin_port = htons((uint16_t)atoi(rest));
    place.len = sizeof(place.address.in);
    return place;
}

static inline void
bench_set(int fd, int level, int option)
{
    int one = 1;
    setsockopt(fd, level, option, &one, sizeof(one));
}

/* Bind, listen, and say so; `flags` are for socket(). */
static inline int
bench_serve(bench_place *place, int flags)
{
    int fd = socket(place->family, place->type | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) {
        bench_die("socket");
    }
    if (place->family == AF_UNIX) {
        unlink(place->address.un.sun_path);
    } else if (place->type == SOCK_STREAM) {
        bench_set(fd, SOL_SOCKET, SO_REUSEADDR);
    }
    if (bind(fd, &place->address.any, place->len) < 0) {
        bench_die("bind");
    }
    if (place->type == SOCK_STREAM && listen(fd, BENCH_BACKLOG) < 0) {
        bench_die("listen");
    }
    if (place->family == AF_INET) {
        socklen_t len = place->len;
        getsockname(fd, &place->address.any, &len);
    }
    return fd;
}

static inline void
bench_ready(const bench_place *place)
{
    bool inet = place->family == AF_INET;
    printf("READY %d\n", inet ? ntohs(place->address.in.sin_port) : 0);
    fflush(stdout);
}

/* Count the request ends in what was read; *tail is how much of one has been
 * seen by the end of the read before. */
static inline unsigned
bench_requests(const char *data, size_t nbytes, int *tail)
{
    static const char end[] = "\r\n\r\n";
    unsigned count = 0;
    for (size_t i = 0; i < nbytes; i++) {
        *tail = data[i] == end[*tail] ? *tail + 1 : data[i] == '\r';
        if (*tail == 4) {
            *tail = 0;
            count++;
        }
    }
    return count;
}

#endif
