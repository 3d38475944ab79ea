/* test_spawn.c - children that run another program. */
#include "base/spawn.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* Run a script of the shell with these streams; its status. */
static int
run_script(char *script, int in, int out)
{
    char *paths[] = {"/no/such/sh", "/bin/sh", NULL};
    char *argv[] = {"sh", "-c", script, NULL};
    ca_spawn spawn = {.paths = paths, .argv = argv, .streams = {in, out, -1}};
    int status;
    pid_t pid = ca_spawn_run(&spawn);
    REQUIRE(pid > 0);
    REQUIRE(waitpid(pid, &status, 0) == pid);
    return status;
}

static void
test_the_first_program_that_is_there_runs(void)
{
    CHECK(WEXITSTATUS(run_script("exit 7", -1, -1)) == 7);
}

static void
test_streams_go_where_they_were_asked_for_and_others_are_closed(void)
{
    int in[2], out[2];
    char read_back[16] = "";
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    REQUIRE(write(in[1], "word", 4) == 4 && close(in[1]) == 0);
    int status = run_script("cat; test ! -e /proc/self/fd/4", in[0], out[1]);
    CHECK(status == 0);
    CHECK(read(out[0], read_back, sizeof(read_back)) == 4);
    CHECK(strcmp(read_back, "word") == 0);
    REQUIRE(close(in[0]) == 0 && close(out[0]) == 0 && close(out[1]) == 0);
}

static void
test_what_cannot_be_run_leaves_no_child(void)
{
    char *argv[] = {"x", NULL};
    char *const none[] = {NULL};
    char *missing[] = {"/no/such", NULL};
    char *folder[] = {"/", NULL};
    ca_spawn spawn = {.paths = missing, .argv = argv, .streams = {-1, -1, -1}};
    CHECK(ca_spawn_run(&spawn) == -ENOENT);
    spawn.paths = folder;
    CHECK(ca_spawn_run(&spawn) == -EACCES);
    spawn.paths = none;
    CHECK(ca_spawn_run(&spawn) == -ENOENT);
    spawn.streams[1] = 999;
    CHECK(ca_spawn_run(&spawn) == -EBADF);
    CHECK(waitpid(-1, NULL, 0) < 0 && errno == ECHILD);
}

static void
note(int signum)
{
    (void)signum;
}

static void
test_handlers_and_the_mask_of_the_parent_stay(void)
{
    struct sigaction action = {.sa_handler = note}, after;
    sigset_t blocked, mask;
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGUSR2);
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    REQUIRE(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    REQUIRE(sigprocmask(SIG_SETMASK, &blocked, NULL) == 0);
    /* The child dies of both: of what had a handler, and of SIGPIPE. */
    int status = run_script("kill -USR1 $$", -1, -1);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR1);
    status = run_script("kill -PIPE $$", -1, -1);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
    REQUIRE(sigaction(SIGUSR1, NULL, &after) == 0);
    CHECK(after.sa_handler == note);
    REQUIRE(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
    CHECK(sigismember(&mask, SIGUSR2) && !sigismember(&mask, SIGUSR1));
}

int
main(void)
{
    RUN(test_the_first_program_that_is_there_runs);
    RUN(test_streams_go_where_they_were_asked_for_and_others_are_closed);
    RUN(test_what_cannot_be_run_leaves_no_child);
    RUN(test_handlers_and_the_mask_of_the_parent_stay);
    return check_report("test_spawn");
}
