/* spawn.c - see spawn.h.
 *
 * Between vfork() and exec the child uses its parent's memory and stack while
 * the thread that made it stands still.  So it calls nothing that may lock or
 * allocate, and all signals are blocked until it has no handlers left: these
 * would run in the memory of the parent.  sigprocmask() speaks for the one
 * thread, as sigprocmask(2) tells; pthread_sigmask() would bind a build to
 * glibc 2.32, where it moved.
 */
#include "base/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { FIRST_TO_CLOSE = 3, NO_PROGRAM = 127 };

#ifdef SYS_close_range
#define CLOSE_RANGE SYS_close_range
#else
#define CLOSE_RANGE 436                /* the same on all machines */
#endif

/* ---- in the child ---- */

static int
reset_handlers(const sigset_t *mask)
{
    struct sigaction action;
    for (int signum = 1; signum < NSIG; signum++) {
        if (sigaction(signum, NULL, &action) < 0) {
            continue;                  /* none, or the C library's own */
        }
        if (signum == SIGPIPE || signum == SIGXFSZ ||
            (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)) {
            action.sa_handler = SIG_DFL;
            action.sa_flags = 0;
            (void)sigaction(signum, &action, NULL);
        }
    }
    return sigprocmask(SIG_SETMASK, mask, NULL);
}

static int
place_streams(const int *streams)
{
    for (int i = 0; i < 3; i++) {
        if (streams[i] >= 0 && dup2(streams[i], i) < 0) {
            return -1;
        }
    }
    return (int)syscall(CLOSE_RANGE, FIRST_TO_CLOSE, ~0U, 0);
}

/* Returns only to tell why there is no such program. */
static int
run_first(const ca_spawn *spawn)
{
    int err = ENOENT;
    for (char *const *path = spawn->paths; *path != NULL; path++) {
        (void)execve(*path, spawn->argv, environ);
        err = errno;
    }
    return err;
}

static int
become(const ca_spawn *spawn, const sigset_t *mask)
{
    return place_streams(spawn->streams) < 0 || reset_handlers(mask) < 0
               ? errno
               : run_first(spawn);
}

/* ---- in the parent ---- */

/* A function of its own, never inlined: it does not return in the child, and
 * its caller's variables stay out of the child's reach. */
static pid_t split(const ca_spawn *spawn, const sigset_t *mask,
                   volatile int *err) __attribute__((noinline));

static pid_t
split(const ca_spawn *spawn, const sigset_t *mask, volatile int *err)
{
    pid_t pid = vfork();
    if (pid == 0) {
        *err = become(spawn, mask);
        _exit(NO_PROGRAM);
    }
    return pid;
}

pid_t
ca_spawn_run(const ca_spawn *spawn)
{
    sigset_t all, mask;
    volatile int err = 0;
    (void)sigfillset(&all);
    if (sigprocmask(SIG_SETMASK, &all, &mask) != 0) {
        return -EINVAL;
    }
    pid_t pid = split(spawn, &mask, &err);
    int failed = pid < 0 ? errno : err;
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    if (pid > 0 && failed != 0) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    return failed != 0 ? -failed : pid;
}
