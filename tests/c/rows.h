/* rows.h - what tests that run on every row of the backend table share. */
#ifndef CA_TESTS_ROWS_H
#define CA_TESTS_ROWS_H

#include "backend/backend.h"
#include "base/clock.h"

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Whether the kernel refuses that row here, which is said once. */
static inline bool
row_refused(const ca_backend_vt *vt)
{
    static bool told;
    ca_backend *be = NULL;
    int err = vt->open(&be);
    if (err == 0) {
        vt->close(be);
    } else if (!told) {
        told = true;
        printf("skipped: %s, which is refused here: %s\n", vt->name,
               strerror(-err));
    }
    return err < 0;
}

/* Run `test` once per row, with the row's name in what it prints. */
static inline void
run_rows(const char *name, void (*test)(const ca_backend_vt *))
{
    static char label[160];
    if (check_state.test == NULL) {
        alarm(CHECK_LIMIT_S);
    }
    for (int i = 0; ca_backend_at(i) != NULL; i++) {
        if (row_refused(ca_backend_at(i))) {
            continue;
        }
        snprintf(label, sizeof(label), "%s[%s]", name, ca_backend_at(i)->name);
        check_state.test = label;
        check_state.failed_before = check_state.failed;
        test(ca_backend_at(i));
        if (check_state.failed > check_state.failed_before) {
            fprintf(stderr, "FAILED %s\n", label);
        }
    }
}

#define RUN_ROWS(test) run_rows(#test, test)

typedef struct {
    int r;
    int w;
} pipe_fds;

static inline pipe_fds
open_pipe(void)
{
    int fds[2];
    REQUIRE(pipe2(fds, O_NONBLOCK | O_CLOEXEC) == 0);
    return (pipe_fds){fds[0], fds[1]};
}

static inline void
close_pipe(pipe_fds p)
{
    close(p.r);
    close(p.w);
}

static inline void
open_pair(int fds[2])
{
    int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    REQUIRE(socketpair(AF_UNIX, type, 0, fds) == 0);
}

static inline void
put_byte(int fd)
{
    REQUIRE(write(fd, "x", 1) == 1);
}

static inline void
take_byte(int fd)
{
    char byte;
    REQUIRE(read(fd, &byte, 1) == 1);
}

/* Write until the descriptor takes no more. */
static inline void
fill(int fd)
{
    static char block[65536];
    while (write(fd, block, sizeof(block)) > 0) {
    }
}

static inline int
count_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    REQUIRE(dir != NULL);
    int n = 0;
    while (readdir(dir) != NULL) {
        n++;
    }
    closedir(dir);
    return n;
}

/* fork(); what the child CHECKs before end_child() is judged by the parent
 * with CHECK(child_succeeded(pid)). */
static inline pid_t
start_child(void)
{
    fflush(NULL);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        check_state.failed = 0;
        alarm(CHECK_LIMIT_S);
    }
    return pid;
}

static inline void
end_child(void)
{
    fflush(NULL);
    _exit(check_state.failed > 0);
}

static inline int
child_succeeded(pid_t pid)
{
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* The rest is for tests that talk to a backend directly. */

#define OP(name, kind, fd) \
    ca_op name; \
    ca_op_init(&name, kind, fd)

static inline ca_backend *
open_backend(const ca_backend_vt *vt)
{
    ca_backend *be = NULL;
    REQUIRE(vt->open(&be) == 0);
    REQUIRE(be != NULL && be->vt == vt);
    return be;
}

/* Wait and reap into a fresh list. */
static inline void
turn(ca_backend *be, int64_t timeout_ns, ca_dnode *done)
{
    ca_dlist_init(done);
    CHECK(be->vt->wait(be, timeout_ns) == 0);
    be->vt->reap(be, done);
}

/* Take the first op off the list; NULL when there is none. */
static inline ca_op *
take(ca_dnode *done)
{
    ca_dnode *node = ca_dlist_take(done);
    return node == NULL ? NULL : CA_CONTAINER_OF(node, ca_op, link);
}

/* Number of ops on the list, which is emptied. */
static inline int
take_all(ca_dnode *done)
{
    int n = 0;
    while (take(done) != NULL) {
        n++;
    }
    return n;
}

/* How many ops finish when nothing is waited for. */
static inline int
look(ca_backend *be)
{
    ca_dnode done;
    turn(be, 0, &done);
    return take_all(&done);
}

/* How many of `n` waits of a millisecond end before their time; none of them
 * may finish anything. */
static inline int
count_short_waits(ca_backend *be, int n)
{
    int shorts = 0;
    ca_dnode done;
    for (int i = 0; i < n; i++) {
        int64_t start = ca_clock_now_ns();
        turn(be, CA_NS_PER_MS, &done);
        shorts += ca_clock_now_ns() - start < CA_NS_PER_MS;
        CHECK(take(&done) == NULL);
    }
    return shorts;
}

#endif
