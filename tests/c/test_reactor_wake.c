/* test_reactor_wake.c - wake-ups from threads and signal handlers: none lost,
 * none handed out as a watch.
 */
#include "fault.h"
#include "rows.h"

#include "reactor/reactor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

enum { NTHREADS = 4, NMESSAGES = 5000 };

static int
count_next(ca_reactor *r)
{
    const ca_op *op;
    int n = 0;
    while (ca_reactor_next(r, &op) != NULL) {
        n++;
    }
    return n;
}

/* Number of 8-byte writes the eventfd has taken and not given back. */
static int
wakes_written(const ca_reactor *r)
{
    uint64_t count = 0;
    return read(r->wake.fd, &count, sizeof(count)) == 8 ? (int)count : 0;
}

static void
test_a_wake_ends_the_next_wait_and_only_that(const ca_backend_vt *vt)
{
    ca_reactor r;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    for (int i = 0; i < 3; i++) {
        ca_reactor_wake(&r);
        ca_reactor_wake(&r);
        CHECK(ca_reactor_wait(&r, CA_CLOCK_NEVER) == 0);
        ca_reactor_reap(&r);
        CHECK(count_next(&r) == 0);
        CHECK(!atomic_load(&r.wake.pending));
        int64_t start = ca_clock_now_ns();
        CHECK(ca_reactor_wait(&r, 5 * CA_NS_PER_MS) == 0);
        ca_reactor_reap(&r);
        CHECK(ca_clock_now_ns() - start >= 5 * CA_NS_PER_MS);
    }
    ca_reactor_close(&r, NULL);
}

static void
test_many_wakes_cost_one_write(const ca_backend_vt *vt)
{
    ca_reactor r;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    for (int i = 0; i < 100; i++) {
        ca_reactor_wake(&r);
    }
    CHECK(wakes_written(&r) == 1);
    ca_reactor_close(&r, NULL);
}

static void
test_waking_keeps_errno(const ca_backend_vt *vt)
{
    ca_reactor r;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    close(r.wake.fd);
    errno = 12345;
    ca_reactor_wake(&r);
    CHECK(errno == 12345);
    /* Give the number back to what close() will close. */
    REQUIRE(open("/dev/null", O_RDONLY | O_CLOEXEC) == r.wake.fd);
    ca_reactor_close(&r, NULL);
}

static void
test_a_wake_and_a_watch_come_out_of_one_wait(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    char owner;
    void *old;
    const ca_op *op;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    CHECK(ca_reactor_watch(&r, p.r, CA_OP_POLL_IN, &owner, &old) == 0);
    put_byte(p.w);
    ca_reactor_wake(&r);
    CHECK(ca_reactor_wait(&r, CA_CLOCK_NEVER) == 0);
    ca_reactor_reap(&r);
    CHECK(ca_reactor_next(&r, &op) == &owner);
    CHECK(ca_reactor_next(&r, &op) == NULL);
    CHECK(wakes_written(&r) == 0);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static ca_reactor *handler_reactor;

static void
wake_from_handler(int number)
{
    (void)number;
    ca_reactor_wake(handler_reactor);
}

static void
test_a_signal_handler_may_wake(const ca_backend_vt *vt)
{
    ca_reactor r;
    struct sigaction action = {.sa_handler = wake_from_handler}, saved;
    struct itimerval soon = {.it_value.tv_usec = 20000};
    struct itimerval limit = {.it_value.tv_sec = CHECK_LIMIT_S};
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    handler_reactor = &r;
    REQUIRE(sigaction(SIGALRM, &action, &saved) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    CHECK(ca_reactor_wait(&r, CA_CLOCK_NEVER) == -EINTR);
    ca_reactor_reap(&r);
    CHECK(ca_reactor_wait(&r, CA_CLOCK_NEVER) == 0);
    ca_reactor_reap(&r);
    CHECK(count_next(&r) == 0);
    REQUIRE(sigaction(SIGALRM, &saved, NULL) == 0);
    REQUIRE(setitimer(ITIMER_REAL, &limit, NULL) == 0);
    ca_reactor_close(&r, NULL);
}

static void
wake_in_between(void)
{
    ca_reactor_wake(handler_reactor);
}

/* A wake-up in the midst of a drain: it may go unnoticed (whoever drains looks
 * for messages afterwards), but the one after it must not. */
static void
test_a_wake_during_a_drain_does_not_silence_the_next(const ca_backend_vt *vt)
{
    ca_reactor r;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    handler_reactor = &r;
    for (int after = 0; after < 2; after++) {
        ca_reactor_wake(&r);
        CHECK(ca_reactor_wait(&r, CA_CLOCK_NEVER) == 0);
        fault_around_read(after ? NULL : wake_in_between,
                          after ? wake_in_between : NULL);
        ca_reactor_reap(&r);
        fault_around_read(NULL, NULL);
        int64_t start = ca_clock_now_ns();
        ca_reactor_wake(&r);
        CHECK(ca_reactor_wait(&r, CA_NS_PER_S) == 0);
        CHECK(ca_clock_now_ns() - start < CA_NS_PER_S);
        ca_reactor_reap(&r);
        /* Nor does anything remain of it. */
        CHECK(wakes_written(&r) == 0);
        CHECK(!atomic_load(&r.wake.pending));
    }
    ca_reactor_close(&r, NULL);
}

/* Producers leave a message and wake; each waits for its message to be seen
 * before the next, so that one lost wake-up stops everything for ever. */
typedef struct {
    ca_reactor *r;
    atomic_int left;
    atomic_int seen;
} mailbox;

static void *
produce(void *arg)
{
    mailbox *box = arg;
    for (int i = 0; i < NMESSAGES; i++) {
        atomic_fetch_add(&box->left, 1);
        ca_reactor_wake(box->r);
        while (atomic_load(&box->left) > atomic_load(&box->seen)) {
            if (i % 64 == 0) {
                sched_yield();
            }
        }
    }
    return NULL;
}

static void
test_no_wake_up_of_many_threads_is_lost(const ca_backend_vt *vt)
{
    ca_reactor r;
    static mailbox boxes[NTHREADS];
    pthread_t threads[NTHREADS];
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    for (int i = 0; i < NTHREADS; i++) {
        boxes[i].r = &r;
        atomic_store(&boxes[i].left, 0);
        atomic_store(&boxes[i].seen, 0);
        REQUIRE(pthread_create(&threads[i], NULL, produce, &boxes[i]) == 0);
    }
    int total = 0;
    int handed_out = 0;
    int failed = 0;
    while (total < NTHREADS * NMESSAGES) {
        failed += ca_reactor_wait(&r, CA_CLOCK_NEVER) != 0;
        ca_reactor_reap(&r);
        handed_out += count_next(&r);
        for (int i = 0; i < NTHREADS; i++) {
            int left = atomic_load(&boxes[i].left);
            total += left - atomic_load(&boxes[i].seen);
            atomic_store(&boxes[i].seen, left);
        }
    }
    for (int i = 0; i < NTHREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(atomic_load(&boxes[i].seen) == NMESSAGES);
    }
    CHECK(failed == 0);
    CHECK(handed_out == 0);
    ca_reactor_close(&r, NULL);
}

/* A plain variable handed over: the race detector sees whether the wake-up
 * itself orders memory. */
typedef struct {
    ca_reactor *r;
    pthread_mutex_t lock;
    int queue[64];
    int count;
} locked_queue;

static void *
fill_queue(void *arg)
{
    locked_queue *q = arg;
    for (int i = 0; i < NMESSAGES;) {
        pthread_mutex_lock(&q->lock);
        if (q->count < 64) {
            q->queue[q->count++] = i++;
        }
        pthread_mutex_unlock(&q->lock);
        ca_reactor_wake(q->r);
    }
    return NULL;
}

static void
test_a_queue_filled_by_a_thread_is_emptied_in_order(const ca_backend_vt *vt)
{
    ca_reactor r;
    locked_queue q = {.r = &r};
    pthread_t thread;
    int expected = 0;
    int wrong = 0;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    pthread_mutex_init(&q.lock, NULL);
    REQUIRE(pthread_create(&thread, NULL, fill_queue, &q) == 0);
    while (expected < NMESSAGES) {
        wrong += ca_reactor_wait(&r, CA_CLOCK_NEVER) != 0;
        ca_reactor_reap(&r);
        pthread_mutex_lock(&q.lock);
        for (int i = 0; i < q.count; i++) {
            wrong += q.queue[i] != expected++;
        }
        q.count = 0;
        pthread_mutex_unlock(&q.lock);
    }
    pthread_join(thread, NULL);
    CHECK(wrong == 0);
    pthread_mutex_destroy(&q.lock);
    ca_reactor_close(&r, NULL);
}

/* Only the wake itself orders these: message is not atomic. */
typedef struct {
    ca_reactor *r;
    int message;
    atomic_bool go_on;
} one_message;

static void *
leave_message(void *arg)
{
    one_message *m = arg;
    for (int i = 1; i <= 1000; i++) {
        m->message = i;
        ca_reactor_wake(m->r);
        while (!atomic_exchange(&m->go_on, false)) {
            sched_yield();
        }
    }
    return NULL;
}

static void
test_what_was_written_before_a_wake_is_seen_after_it(const ca_backend_vt *vt)
{
    ca_reactor r;
    one_message m = {.r = &r};
    pthread_t thread;
    int wrong = 0;
    REQUIRE(ca_reactor_open(&r, vt) == 0);
    REQUIRE(pthread_create(&thread, NULL, leave_message, &m) == 0);
    for (int i = 1; i <= 1000; i++) {
        wrong += ca_reactor_wait(&r, CA_CLOCK_NEVER) != 0;
        ca_reactor_reap(&r);
        wrong += m.message != i;
        atomic_store(&m.go_on, true);
    }
    pthread_join(thread, NULL);
    CHECK(wrong == 0);
    ca_reactor_close(&r, NULL);
}

int
main(void)
{
    RUN_ROWS(test_a_wake_ends_the_next_wait_and_only_that);
    RUN_ROWS(test_many_wakes_cost_one_write);
    RUN_ROWS(test_waking_keeps_errno);
    RUN_ROWS(test_a_wake_and_a_watch_come_out_of_one_wait);
    RUN_ROWS(test_a_signal_handler_may_wake);
    RUN_ROWS(test_a_wake_during_a_drain_does_not_silence_the_next);
    RUN_ROWS(test_no_wake_up_of_many_threads_is_lost);
    RUN_ROWS(test_a_queue_filled_by_a_thread_is_emptied_in_order);
    RUN_ROWS(test_what_was_written_before_a_wake_is_seen_after_it);
    return check_report("test_reactor_wake");
}
