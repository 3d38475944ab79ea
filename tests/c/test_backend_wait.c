/* test_backend_wait.c - waiting, on every row of the table: how long, what
 * ends it, what other threads may do meanwhile, and what lack of memory does.
 */
#include "fault.h"
#include "rows.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

static void
test_a_wait_is_never_shorter_than_asked(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &op) == 0);
    const int64_t spans_ns[] = {1,       999,     50000,   100000,  999999,
                                1000000, 1000001, 1500000, 3300000, 12345678};
    for (int i = 0; i < 10; i++) {
        for (int k = 0; k < 5; k++) {
            int64_t start = ca_clock_now_ns();
            CHECK(vt->wait(be, spans_ns[i]) == 0);
            CHECK(ca_clock_now_ns() - start >= spans_ns[i]);
        }
    }
    vt->close(be);
    close_pipe(p);
}

static void
test_short_waits_are_not_rounded_to_milliseconds(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int64_t best = INT64_MAX;
    for (int i = 0; i < 200 && best >= 900000; i++) {
        int64_t start = ca_clock_now_ns();
        CHECK(vt->wait(be, 100 * CA_NS_PER_US) == 0);
        int64_t took = ca_clock_now_ns() - start;
        best = took < best ? took : best;
    }
    CHECK(best < 900000);
    vt->close(be);
}

static void
test_looking_does_not_wait(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int64_t best = INT64_MAX;
    for (int i = 0; i < 100; i++) {
        int64_t start = ca_clock_now_ns();
        CHECK(vt->wait(be, i % 2 ? 0 : -5) == 0);
        int64_t took = ca_clock_now_ns() - start;
        best = took < best ? took : best;
    }
    CHECK(best < CA_NS_PER_MS / 2);
    vt->close(be);
}

static void
test_kernels_without_fine_waits_get_rounded_up_ones(void)
{
    const int errnos[] = {ENOSYS, EPERM};
    for (int i = 0; i < 2; i++) {
        ca_backend *be = open_backend(&ca_backend_epoll);
        int before = fault_syscall_count();
        fault_syscall(errnos[i]);
        int64_t start = ca_clock_now_ns();
        CHECK(be->vt->wait(be, CA_NS_PER_MS + 1) == 0);
        CHECK(ca_clock_now_ns() - start >= 2 * CA_NS_PER_MS);
        start = ca_clock_now_ns();
        CHECK(be->vt->wait(be, 1) == 0);
        CHECK(ca_clock_now_ns() - start >= CA_NS_PER_MS);
        /* The refusal is remembered. */
        CHECK(fault_syscall_count() == before + 1);
        fault_syscall(0);
        be->vt->close(be);
    }
}

static atomic_int alarms;

static void
on_alarm(int number)
{
    (void)number;
    alarms++;
}

static void
test_a_signal_ends_a_wait_with_eintr(const ca_backend_vt *vt)
{
    const int64_t limits_ns[] = {10 * CA_NS_PER_S, CA_CLOCK_NEVER,
                                 CA_CLOCK_NEVER - 1};
    struct sigaction action = {.sa_handler = on_alarm}, saved;
    struct itimerval soon = {.it_value.tv_usec = 20000};
    struct itimerval limit = {.it_value.tv_sec = CHECK_LIMIT_S};
    ca_backend *be = open_backend(vt);
    ca_dnode done;
    REQUIRE(sigaction(SIGALRM, &action, &saved) == 0);
    for (int i = 0; i < 3; i++) {
        alarms = 0;
        REQUIRE(setitimer(ITIMER_REAL, &soon, NULL) == 0);
        CHECK(vt->wait(be, limits_ns[i]) == -EINTR);
        CHECK(alarms == 1);
        ca_dlist_init(&done);
        vt->reap(be, &done);
        CHECK(ca_dlist_empty(&done));
    }
    REQUIRE(sigaction(SIGALRM, &saved, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &limit, NULL) == 0);
    vt->close(be);
}

/* One thread waits without the lock and reaps with it; another one arms and
 * cancels with it, and closes descriptors too. */
typedef struct {
    ca_backend *be;
    pthread_mutex_t lock;
    atomic_bool stop;
    int failures;
} busy_thread;

static void *
arm_and_cancel(void *arg)
{
    busy_thread *self = arg;
    const ca_backend_vt *vt = self->be->vt;
    for (int turns = 0; turns < 300; turns++) {
        pipe_fds pipes[8];
        ca_op ops[8];
        for (int i = 0; i < 8; i++) {
            pipes[i] = open_pipe();
            put_byte(pipes[i].w);
            ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
            pthread_mutex_lock(&self->lock);
            self->failures += vt->arm(self->be, &ops[i]) != 0;
            pthread_mutex_unlock(&self->lock);
        }
        for (int i = 0; i < 8; i++) {
            pthread_mutex_lock(&self->lock);
            vt->cancel(self->be, &ops[i]);
            self->failures += ops[i].armed || ca_dlist_linked(&ops[i].link);
            pthread_mutex_unlock(&self->lock);
            close_pipe(pipes[i]);
        }
    }
    self->stop = true;
    return NULL;
}

static void
test_other_threads_may_arm_and_cancel_during_a_wait(const ca_backend_vt *vt)
{
    busy_thread other = {.be = open_backend(vt)};
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    ca_dnode done;
    pthread_t thread;
    pthread_mutex_init(&other.lock, NULL);
    put_byte(p.w);
    CHECK(vt->arm(other.be, &op) == 0);
    REQUIRE(pthread_create(&thread, NULL, arm_and_cancel, &other) == 0);
    int missed = 0;
    while (!other.stop) {
        ca_dlist_init(&done);
        int err = vt->wait(other.be, CA_NS_PER_MS);
        pthread_mutex_lock(&other.lock);
        vt->reap(other.be, &done);
        /* Ours is ready all the time and must be there every time. */
        missed += err != 0 || !ca_dlist_linked(&op.link);
        while (take(&done) != NULL) {
        }
        pthread_mutex_unlock(&other.lock);
    }
    pthread_join(thread, NULL);
    CHECK(missed == 0);
    CHECK(other.failures == 0);
    turn(other.be, 0, &done);
    CHECK(take(&done) == &op);
    CHECK(take(&done) == NULL);
    vt->close(other.be);
    pthread_mutex_destroy(&other.lock);
    close_pipe(p);
}

static void
test_opening_without_memory_leaves_nothing_behind(const ca_backend_vt *vt)
{
    int before = count_open_fds();
    int n = 0;
    for (;; n++) {
        ca_backend *be = NULL;
        fault_allocation(n);
        int err = vt->open(&be);
        if (!fault_happened()) {
            CHECK(err == 0);
            fault_allocation(-1);
            vt->close(be);
            break;
        }
        CHECK(err == -ENOMEM);
        CHECK(be == NULL);
        CHECK(count_open_fds() == before);
    }
    CHECK(n > 0);
    CHECK(count_open_fds() == before);
}

static void
test_arming_without_memory_changes_nothing(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    static pipe_fds pipes[40];
    static ca_op ops[40];
    int refused = 0;
    for (int i = 0; i < 40; i++) {
        pipes[i] = open_pipe();
        put_byte(pipes[i].w);
        ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
        int err = -ENOMEM;
        for (int n = 0; err == -ENOMEM && n < 10; n++) {
            fault_allocation(n);
            err = vt->arm(be, &ops[i]);
            CHECK(fault_happened() == (err == -ENOMEM));
            CHECK(ops[i].armed == (err == 0));
            refused += err == -ENOMEM;
        }
        fault_allocation(-1);
        CHECK(err == 0);
        CHECK(look(be) == i + 1);
    }
    CHECK(refused > 0);
    vt->close(be);
    for (int i = 0; i < 40; i++) {
        close_pipe(pipes[i]);
    }
}

static void
test_waiting_without_memory_loses_no_event(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    static pipe_fds pipes[100];
    static ca_op ops[100];
    for (int i = 0; i < 100; i++) {
        pipes[i] = open_pipe();
        put_byte(pipes[i].w);
        ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
        CHECK(vt->arm(be, &ops[i]) == 0);
    }
    ca_dnode done;
    ca_dlist_init(&done);
    for (int n = 0; n < 4; n++) {
        fault_allocation(n);
        int err = vt->wait(be, 0);
        CHECK(err == 0 || (err == -ENOMEM && fault_happened()));
        vt->reap(be, &done);
    }
    fault_allocation(-1);
    CHECK(vt->wait(be, 0) == 0);
    vt->reap(be, &done);
    CHECK(take_all(&done) == 100);
    vt->close(be);
    for (int i = 0; i < 100; i++) {
        close_pipe(pipes[i]);
    }
}

int
main(void)
{
    RUN_ROWS(test_a_wait_is_never_shorter_than_asked);
    RUN_ROWS(test_short_waits_are_not_rounded_to_milliseconds);
    RUN_ROWS(test_looking_does_not_wait);
    RUN(test_kernels_without_fine_waits_get_rounded_up_ones);
    RUN_ROWS(test_a_signal_ends_a_wait_with_eintr);
    RUN_ROWS(test_other_threads_may_arm_and_cancel_during_a_wait);
    RUN_ROWS(test_opening_without_memory_leaves_nothing_behind);
    RUN_ROWS(test_arming_without_memory_changes_nothing);
    RUN_ROWS(test_waiting_without_memory_loses_no_event);
    return check_report("test_backend_wait");
}
