/* test_backend_fork.c - parent and child part company, on every row. */
#include "fault.h"
#include "rows.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

static void
test_a_child_cuts_itself_off_without_disturbing_the_parent(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    OP(a, CA_OP_POLL_IN, p.r);
    OP(b, CA_OP_POLL_IN, q.r);
    ca_dnode done;
    CHECK(vt->arm(be, &a) == 0);
    CHECK(vt->arm(be, &b) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        CHECK(vt->after_fork(be) == 0);
        CHECK(look(be) == 0);
        put_byte(p.w);
        turn(be, CA_NS_PER_S, &done);
        CHECK(take(&done) == &a);
        vt->cancel(be, &a);
        vt->cancel(be, &b);
        CHECK(look(be) == 0);
        pipe_fds own = open_pipe();
        OP(c, CA_OP_POLL_IN, own.r);
        put_byte(own.w);
        CHECK(vt->arm(be, &c) == 0);
        CHECK(look(be) == 1);
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    /* What the child cancelled is still watched here; what it armed is not. */
    put_byte(q.w);
    turn(be, CA_NS_PER_S, &done);
    CHECK(take_all(&done) == 2);
    CHECK(a.armed && b.armed);
    take_byte(p.r);
    take_byte(q.r);
    CHECK(count_short_waits(be, 3) == 0);
    vt->close(be);
    close_pipe(p);
    close_pipe(q);
}

static void
test_a_child_that_just_closes_does_not_disturb_the_parent(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(a, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &a) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        vt->close(be);
        CHECK(!a.armed);
        close_pipe(p);
        end_child();
    }
    CHECK(child_succeeded(pid));
    put_byte(p.w);
    CHECK(look(be) == 1);
    vt->close(be);
    close_pipe(p);
}

static void
test_a_child_keeps_quiet_about_descriptors_it_has_closed(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    OP(a, CA_OP_POLL_IN, p.r);
    OP(b, CA_OP_POLL_IN, q.r);
    CHECK(vt->arm(be, &a) == 0);
    CHECK(vt->arm(be, &b) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_dnode done;
        close(p.r);
        put_byte(q.w);
        CHECK(vt->after_fork(be) == 0);
        vt->cancel(be, &a);
        turn(be, 0, &done);
        CHECK(take(&done) == &b);
        CHECK(take(&done) == NULL);
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    vt->close(be);
    close_pipe(p);
    close_pipe(q);
}

/* A child without room for one more descriptor. */
static void
starved_child(ca_backend *be, ca_op *a, ca_op *b)
{
    struct rlimit saved, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(be->vt->after_fork(be) == -EMFILE);
    be->vt->cancel(be, a);
    CHECK(!a->armed && b->armed);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    CHECK(be->vt->after_fork(be) == 0);
    CHECK(look(be) == 1);
    be->vt->close(be);
}

static void
test_a_child_that_cannot_rebuild_is_cut_off_all_the_same(void)
{
    ca_backend *be = open_backend(&ca_backend_epoll);
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    OP(a, CA_OP_POLL_IN, p.r);
    OP(b, CA_OP_POLL_IN, q.r);
    CHECK(be->vt->arm(be, &a) == 0);
    CHECK(be->vt->arm(be, &b) == 0);
    put_byte(p.w);
    put_byte(q.w);
    pid_t pid = start_child();
    if (pid == 0) {
        starved_child(be, &a, &b);
        end_child();
    }
    CHECK(child_succeeded(pid));
    CHECK(look(be) == 2);
    be->vt->close(be);
    close_pipe(p);
    close_pipe(q);
}

/* One thread waits all the time while another one forks: whatever the waiting
 * thread was doing, the child has it no more. */
typedef struct {
    ca_backend *be;
    atomic_bool stop;
} waiting_thread;

static void *
wait_again_and_again(void *arg)
{
    waiting_thread *self = arg;
    while (!self->stop) {
        (void)self->be->vt->wait(self->be, 0);
    }
    return NULL;
}

static void
test_a_child_works_whatever_another_thread_was_doing(const ca_backend_vt *vt)
{
    enum { N = 200, NFORKS = 60 };
    static pipe_fds pipes[N];
    static ca_op ops[N];
    waiting_thread other = {.be = open_backend(vt)};
    pthread_t thread;
    int failed = 0;
    for (int i = 0; i < N; i++) {
        pipes[i] = open_pipe();
        ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
        CHECK(vt->arm(other.be, &ops[i]) == 0);
    }
    put_byte(pipes[0].w);
    REQUIRE(pthread_create(&thread, NULL, wait_again_and_again, &other) == 0);
    for (int i = 0; i < NFORKS; i++) {
        pid_t pid = start_child();
        if (pid == 0) {
            CHECK(vt->after_fork(other.be) == 0);
            CHECK(look(other.be) == 1);
            end_child();
        }
        failed += !child_succeeded(pid);
    }
    other.stop = true;
    pthread_join(thread, NULL);
    CHECK(failed == 0);
    CHECK(look(other.be) == 1);
    vt->close(other.be);
    for (int i = 0; i < N; i++) {
        close_pipe(pipes[i]);
    }
}

static atomic_bool is_held_up;
static atomic_bool may_go_on;

static void
hold_up(void)
{
    is_held_up = true;
    while (!may_go_on) {
        usleep(1000);
    }
}

static void *
wait_and_be_held_up(void *arg)
{
    ca_backend *be = arg;
    fault_before_allocation(hold_up);
    (void)be->vt->wait(be, 0);
    fault_before_allocation(NULL);
    if (!is_held_up) {
        hold_up();                     /* waiting needed no memory */
    }
    return NULL;
}

/* The worst moment of the test above, on purpose: what the waiting thread
 * holds while it asks for memory, nobody gives back in the child. */
static void
test_a_child_works_when_a_wait_was_cut_short(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    pthread_t thread;
    CHECK(vt->arm(be, &op) == 0);
    put_byte(p.w);
    is_held_up = false;
    may_go_on = false;
    REQUIRE(pthread_create(&thread, NULL, wait_and_be_held_up, be) == 0);
    while (!is_held_up) {
        usleep(1000);
    }
    pid_t pid = start_child();
    if (pid == 0) {
        alarm(10);
        CHECK(vt->after_fork(be) == 0);
        vt->cancel(be, &op);
        CHECK(vt->arm(be, &op) == 0);
        CHECK(look(be) == 1);
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    may_go_on = true;
    pthread_join(thread, NULL);
    CHECK(look(be) == 1);
    vt->close(be);
    close_pipe(p);
}

int
main(void)
{
    RUN_ROWS(test_a_child_cuts_itself_off_without_disturbing_the_parent);
    RUN_ROWS(test_a_child_that_just_closes_does_not_disturb_the_parent);
    RUN_ROWS(test_a_child_keeps_quiet_about_descriptors_it_has_closed);
    RUN(test_a_child_that_cannot_rebuild_is_cut_off_all_the_same);
    RUN_ROWS(test_a_child_works_whatever_another_thread_was_doing);
    RUN_ROWS(test_a_child_works_when_a_wait_was_cut_short);
    return check_report("test_backend_fork");
}
