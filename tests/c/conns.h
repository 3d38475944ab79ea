/* conns.h - what tests of received bytes share: a backend and connections.
 *
 * set_up() makes `be`, and `a` and `b`, watched for kind RECV and with all of
 * that taken effect; tear_down() closes what the test has left.
 */
#ifndef CA_TESTS_CONNS_H
#define CA_TESTS_CONNS_H

#include "rows.h"

#include <errno.h>
#include <stdlib.h>

enum { ROOM = 256 * 1024 };

/* A connection: our end, watched for RECV, and the peer's. */
typedef struct {
    ca_op op;
    int ours;                          /* -1: closed */
    int peer;
} conn;

static char room[ROOM];
static ca_backend *be;
static conn a = {.ours = -1, .peer = -1};
static conn b = {.ours = -1, .peer = -1};

static inline void
open_conn(conn *c)
{
    int fds[2];
    open_pair(fds);
    c->ours = fds[0];
    c->peer = fds[1];
    ca_op_init(&c->op, CA_OP_RECV, c->ours);
    CHECK(be->vt->arm(be, &c->op) == 0);
}

static inline void
forget(int fd)
{
    if (be->vt->forget != NULL) {
        be->vt->forget(be, fd);
    }
}

static inline void
close_ours(conn *c)
{
    if (c->ours >= 0) {
        be->vt->cancel(be, &c->op);
        forget(c->ours);
        close(c->ours);
        c->ours = -1;
    }
}

static inline void
close_peer(conn *c)
{
    if (c->peer >= 0) {
        close(c->peer);
        c->peer = -1;
    }
}

static inline void
close_conn(conn *c)
{
    close_ours(c);
    close_peer(c);
}

/* As turn(); some time after a ring is closed a signal of the kernel's own
 * ends a wait of the thread that made it. */
static inline void
patient_turn(int64_t timeout_ns, ca_dnode *done)
{
    int err;
    do {
        err = be->vt->wait(be, timeout_ns);
    } while (err == -EINTR);
    CHECK(err == 0);
    ca_dlist_init(done);
    be->vt->reap(be, done);
}

/* Whether waits are as long as asked when nothing is there. */
static inline bool
is_quiet(void)
{
    int shorts = 0;
    for (int i = 0; i < 5; i++) {
        ca_dnode done;
        int64_t start = ca_clock_now_ns();
        patient_turn(CA_NS_PER_MS, &done);
        shorts += ca_clock_now_ns() - start < CA_NS_PER_MS;
        CHECK(take(&done) == NULL);
    }
    return shorts == 0;
}

/* Wait, until an op finishes; NULL: none does in time. */
static inline ca_op *
await(void)
{
    for (int i = 0; i < 100; i++) {
        ca_dnode done;
        ca_dlist_init(&done);
        int err = be->vt->wait(be, 100 * CA_NS_PER_MS);
        CHECK(err == 0 || err == -EINTR);
        if (err == 0) {
            be->vt->reap(be, &done);
        }
        ca_op *op = take(&done);
        if (op != NULL) {
            (void)take_all(&done);
            return op;
        }
    }
    return NULL;
}

/* Let what was armed take effect. */
static inline void
settle(void)
{
    for (int i = 0; i < 3; i++) {
        (void)look(be);
    }
}

static inline void
say(const conn *c, const char *text)
{
    REQUIRE(write(c->peer, text, strlen(text)) == (ssize_t)strlen(text));
}

/* What recv() gives, as a string; "-" for an error, "." for the end. */
static inline const char *
hear(const conn *c)
{
    char *where = NULL;
    ptrdiff_t n = be->vt->recv(be, c->ours, room, ROOM - 1, &where);
    if (n <= 0) {
        return n == 0 ? "." : "-";
    }
    memmove(room, where, (size_t)n);
    room[n] = '\0';
    return room;
}

static inline int
heard(const conn *c, const char *text)
{
    const char *got = hear(c);
    if (strcmp(got, text) != 0) {
        fprintf(stderr, "heard \"%.40s\" for \"%.40s\"\n", got, text);
    }
    return strcmp(got, text) == 0;
}

/* Whether a connection is served: it says something, and we hear it. */
static inline int
serves(conn *c, const char *text)
{
    say(c, text);
    return CHECK(await() == &c->op) && heard(c, text);
}

/* Whether the peer sees the end within a moment. */
static inline bool
peer_sees_the_end(const conn *c)
{
    char byte;
    for (int i = 0; i < 1000; i++) {
        if (read(c->peer, &byte, 1) == 0) {
            return true;
        }
        usleep(1000);
    }
    return false;
}

static inline int
count_rings(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    REQUIRE(dir != NULL);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char path[300], target[64] = "";
        snprintf(path, sizeof(path), "/proc/self/fd/%s", e->d_name);
        (void)!readlink(path, target, sizeof(target) - 1);
        n += strstr(target, "io_uring") != NULL;
    }
    closedir(dir);
    return n;
}

static inline void
set_up(const ca_backend_vt *vt)
{
    be = open_backend(vt);
    open_conn(&a);
    open_conn(&b);
    settle();
}

static inline void
tear_down(void)
{
    close_conn(&a);
    close_conn(&b);
    be->vt->close(be);
}

#endif
