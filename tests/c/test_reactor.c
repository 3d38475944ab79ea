/* test_reactor.c - watches and their owners, opening and closing, forks. */
#include "fault.h"
#include "rows.h"

#include "reactor/reactor.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

/* Owners are opaque: any address will do, and these tell which is which. */
static char owner_a, owner_b, owner_c, owner_d;

static void
open_reactor(ca_reactor *r, const ca_backend_vt *vt)
{
    REQUIRE(ca_reactor_open(r, vt) == 0);
    REQUIRE(ca_reactor_is_open(r));
}

/* watch() that must succeed; returns the previous owner. */
static void *
watch(ca_reactor *r, int fd, ca_op_kind kind, void *owner)
{
    void *old = &owner_d;
    CHECK(ca_reactor_watch(r, fd, kind, owner, &old) == 0);
    return old;
}

static void
wait_and_reap(ca_reactor *r, int64_t timeout_ns)
{
    CHECK(ca_reactor_wait(r, timeout_ns) == 0);
    ca_reactor_reap(r);
}

/* The next owner, whose op must be this one; NULL when there is none. */
static void *
next_is(ca_reactor *r, int fd, ca_op_kind kind)
{
    const ca_op *op = NULL;
    void *owner = ca_reactor_next(r, &op);
    if (owner != NULL) {
        CHECK(op->fd == fd && op->kind == kind);
    }
    return owner;
}

static int
nothing_is_next(ca_reactor *r)
{
    const ca_op *op;
    return ca_reactor_next(r, &op) == NULL;
}

static void
test_opening_and_closing_leaks_no_descriptor(const ca_backend_vt *vt)
{
    int before = count_open_fds();
    ca_reactor r = {0};
    CHECK(!ca_reactor_is_open(&r));
    ca_reactor_close(&r, NULL);
    for (int i = 0; i < 5; i++) {
        open_reactor(&r, vt);
        ca_reactor_close(&r, NULL);
        CHECK(!ca_reactor_is_open(&r));
        ca_reactor_close(&r, NULL);
    }
    CHECK(count_open_fds() == before);
}

static void
test_no_descriptor_is_inherited_by_other_programs(const ca_backend_vt *vt)
{
    enum { N = 256 };
    static int was_open[N];
    ca_reactor r;
    int opened = 0;
    for (int fd = 0; fd < N; fd++) {
        was_open[fd] = fcntl(fd, F_GETFD) >= 0;
    }
    open_reactor(&r, vt);
    for (int fd = 0; fd < N; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && !was_open[fd]) {
            opened++;
            CHECK(flags & FD_CLOEXEC);
        }
    }
    CHECK(opened > 0);
    CHECK(fcntl(r.wake.fd, F_GETFL) & O_NONBLOCK);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_reactor_note_fork();
        CHECK(ca_reactor_check_fork(&r) == 0);
        for (int fd = 0; fd < N; fd++) {
            int flags = fcntl(fd, F_GETFD);
            CHECK(flags < 0 || was_open[fd] || flags & FD_CLOEXEC);
        }
        CHECK(fcntl(r.wake.fd, F_GETFL) & O_NONBLOCK);
        end_child();
    }
    CHECK(child_succeeded(pid));
    ca_reactor_close(&r, NULL);
}

static void
test_owners_come_out_in_the_order_of_readiness(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    int s[2];
    open_reactor(&r, vt);
    open_pair(s);
    CHECK(watch(&r, s[0], CA_OP_POLL_OUT, &owner_b) == NULL);
    CHECK(watch(&r, s[0], CA_OP_POLL_IN, &owner_a) == NULL);
    put_byte(s[1]);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(next_is(&r, s[0], CA_OP_POLL_IN) == &owner_a);
    CHECK(next_is(&r, s[0], CA_OP_POLL_OUT) == &owner_b);
    CHECK(nothing_is_next(&r));
    CHECK(watch(&r, p.r, CA_OP_POLL_IN, &owner_c) == NULL);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_IN) == &owner_a);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_OUT) == &owner_b);
    wait_and_reap(&r, 0);
    CHECK(nothing_is_next(&r));
    put_byte(p.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_c);
    CHECK(nothing_is_next(&r));
    ca_reactor_close(&r, NULL);
    close_pipe(p);
    close(s[0]);
    close(s[1]);
}

static void
test_a_record_lives_as_long_as_it_has_an_owner(const ca_backend_vt *vt)
{
    ca_reactor r;
    int s[2];
    open_reactor(&r, vt);
    open_pair(s);
    CHECK(r.watches.count == 0);
    CHECK(ca_reactor_owner(&r, s[0], CA_OP_POLL_IN) == NULL);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_IN) == NULL);
    watch(&r, s[0], CA_OP_POLL_IN, &owner_a);
    watch(&r, s[0], CA_OP_POLL_OUT, &owner_b);
    watch(&r, s[1], CA_OP_POLL_OUT, &owner_c);
    CHECK(r.watches.count == 2);
    CHECK(ca_reactor_owner(&r, s[0], CA_OP_POLL_IN) == &owner_a);
    CHECK(ca_reactor_owner(&r, s[0], CA_OP_POLL_OUT) == &owner_b);
    CHECK(ca_reactor_owner(&r, s[1], CA_OP_POLL_IN) == NULL);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_IN) == &owner_a);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_IN) == NULL);
    CHECK(ca_reactor_owner(&r, s[0], CA_OP_POLL_IN) == NULL);
    CHECK(r.watches.count == 2);
    CHECK(ca_reactor_unwatch(&r, s[0], CA_OP_POLL_OUT) == &owner_b);
    CHECK(r.watches.count == 1);
    CHECK(ca_reactor_unwatch(&r, s[1], CA_OP_POLL_OUT) == &owner_c);
    CHECK(r.watches.count == 0);
    ca_reactor_close(&r, NULL);
    close(s[0]);
    close(s[1]);
}

static void
test_replacing_returns_the_old_owner_and_forgets_its_event(
    const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    open_reactor(&r, vt);
    CHECK(watch(&r, p.r, CA_OP_POLL_IN, &owner_a) == NULL);
    put_byte(p.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(watch(&r, p.r, CA_OP_POLL_IN, &owner_b) == &owner_a);
    CHECK(nothing_is_next(&r));
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_b);
    CHECK(r.watches.count == 1);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static void
test_unwatching_forgets_an_event_that_was_not_taken(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    watch(&r, q.r, CA_OP_POLL_IN, &owner_b);
    put_byte(p.w);
    put_byte(q.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(ca_reactor_unwatch(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    CHECK(next_is(&r, q.r, CA_OP_POLL_IN) == &owner_b);
    CHECK(nothing_is_next(&r));
    ca_reactor_close(&r, NULL);
    close_pipe(p);
    close_pipe(q);
}

static void
test_events_not_taken_survive_a_nested_turn(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    watch(&r, q.r, CA_OP_POLL_IN, &owner_b);
    put_byte(p.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    put_byte(q.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    CHECK(next_is(&r, q.r, CA_OP_POLL_IN) == &owner_b);
    CHECK(nothing_is_next(&r));
    ca_reactor_close(&r, NULL);
    close_pipe(p);
    close_pipe(q);
}

static void
test_what_cannot_be_watched_changes_nothing(const ca_backend_vt *vt)
{
    ca_reactor r;
    open_reactor(&r, vt);
    pipe_fds p = open_pipe();
    close_pipe(p);
    const int numbers[] = {-1, -5, p.r, 1000000, 1 << 30, 0x7fffffff};
    size_t cap = r.watches.cap;
    for (int i = 0; i < 6; i++) {
        void *old = &owner_d;
        CHECK(ca_reactor_watch(&r, numbers[i], CA_OP_POLL_IN, &owner_a,
                               &old) == -EBADF);
        CHECK(ca_reactor_owner(&r, numbers[i], CA_OP_POLL_IN) == NULL);
        CHECK(ca_reactor_unwatch(&r, numbers[i], CA_OP_POLL_IN) == NULL);
        CHECK(old == &owner_d);
    }
    CHECK(r.watches.count == 0);
    CHECK(r.watches.cap <= cap + 64);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    void *old = NULL;
    CHECK(ca_reactor_watch(&r, file, CA_OP_POLL_IN, &owner_a, &old) == -EPERM);
    CHECK(r.watches.count == 0);
    CHECK(ca_reactor_watch(&r, r.wake.fd, CA_OP_POLL_IN, &owner_a, &old) ==
          -EEXIST);
    CHECK(r.watches.count == 0);
    ca_reactor_close(&r, NULL);
    close(file);
}

static void
test_a_failed_replacement_keeps_the_old_owner(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    void *old = &owner_d;
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    close_pipe(p);
    CHECK(ca_reactor_watch(&r, p.r, CA_OP_POLL_IN, &owner_b, &old) == -EBADF);
    CHECK(old == &owner_d);
    CHECK(ca_reactor_owner(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    CHECK(ca_reactor_watch(&r, p.r, CA_OP_POLL_OUT, &owner_b, &old) == -EBADF);
    CHECK(r.watches.count == 1);
    CHECK(ca_reactor_unwatch(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    CHECK(r.watches.count == 0);
    ca_reactor_close(&r, NULL);
}

static void
test_a_reused_number_serves_its_new_owner(const ca_backend_vt *vt)
{
    ca_reactor r;
    open_reactor(&r, vt);
    pipe_fds old = open_pipe();
    int copy = dup(old.r);
    watch(&r, old.r, CA_OP_POLL_IN, &owner_a);
    put_byte(old.w);
    close(old.r);
    pipe_fds new = open_pipe();
    REQUIRE(new.r == old.r);
    CHECK(watch(&r, new.r, CA_OP_POLL_IN, &owner_b) == &owner_a);
    for (int i = 0; i < 6; i++) {
        wait_and_reap(&r, CA_NS_PER_MS);
        CHECK(nothing_is_next(&r));
    }
    put_byte(new.w);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(next_is(&r, new.r, CA_OP_POLL_IN) == &owner_b);
    ca_reactor_close(&r, NULL);
    close(copy);
    close(old.w);
    close_pipe(new);
}

static void
test_without_memory_watching_changes_nothing(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    void *old = &owner_d;
    int err = -ENOMEM;
    int n = 0;
    open_reactor(&r, vt);
    put_byte(p.w);
    for (; err == -ENOMEM && n < 10; n++) {
        fault_allocation(n);
        err = ca_reactor_watch(&r, p.r, CA_OP_POLL_IN, &owner_a, &old);
        CHECK(fault_happened() == (err == -ENOMEM));
        CHECK(r.watches.count == (err == 0));
        CHECK(old == (err == 0 ? NULL : (void *)&owner_d));
        CHECK((ca_reactor_owner(&r, p.r, CA_OP_POLL_IN) != NULL) ==
              (err == 0));
    }
    fault_allocation(-1);
    CHECK(n > 2);
    wait_and_reap(&r, 0);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static void
test_opening_that_fails_leaves_nothing_behind(const ca_backend_vt *vt)
{
    int before = count_open_fds();
    ca_reactor r;
    int n = 0;
    for (;; n++) {
        fault_allocation(n);
        int err = ca_reactor_open(&r, vt);
        if (!fault_happened()) {
            CHECK(err == 0);
            fault_allocation(-1);
            ca_reactor_close(&r, NULL);
            break;
        }
        CHECK(err == -ENOMEM);
        CHECK(!ca_reactor_is_open(&r) && r.wake.fd == -1);
        CHECK(count_open_fds() == before);
    }
    CHECK(n > 1);
    struct rlimit saved, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(ca_reactor_open(&r, vt) == -EMFILE);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    CHECK(!ca_reactor_is_open(&r));
    CHECK(count_open_fds() == before);
}

/* What drop() saw: a static, because drop() has no argument for it. */
static struct {
    ca_reactor *r;
    void *owners[8];
    int count;
    int seen_open;
    int fd;                            /* something that can be watched */
} dropped;

static void
note_drop(void *owner)
{
    dropped.owners[dropped.count++] = owner;
    dropped.seen_open += ca_reactor_is_open(dropped.r);
    dropped.seen_open += dropped.r->watches.count != 0;
}

static void
test_closing_hands_every_owner_over_once(const ca_backend_vt *vt)
{
    ca_reactor r;
    int s[2];
    ca_timer timer;
    open_reactor(&r, vt);
    open_pair(s);
    ca_timer_init(&timer);
    CHECK(ca_heap_push(&r.timers, &timer, 1) == 0);
    watch(&r, s[0], CA_OP_POLL_OUT, &owner_b);
    watch(&r, s[0], CA_OP_POLL_IN, &owner_a);
    watch(&r, s[1], CA_OP_POLL_OUT, &owner_c);
    put_byte(s[1]);
    wait_and_reap(&r, 0);
    memset(&dropped, 0, sizeof(dropped));
    dropped.r = &r;
    ca_reactor_close(&r, note_drop);
    CHECK(dropped.count == 3);
    CHECK(dropped.owners[0] == &owner_a && dropped.owners[1] == &owner_b);
    CHECK(dropped.owners[2] == &owner_c);
    CHECK(dropped.seen_open == 0);
    CHECK(!ca_timer_queued(&timer));
    CHECK(ca_heap_first_ns(&r.timers) == CA_CLOCK_NEVER);
    CHECK(nothing_is_next(&r));
    CHECK(ca_reactor_owner(&r, s[0], CA_OP_POLL_IN) == NULL);
    close(s[0]);
    close(s[1]);
}

static void
reopen_on_drop(void *owner)
{
    void *old;
    dropped.count++;
    if (!ca_reactor_is_open(dropped.r)) {
        CHECK(ca_reactor_open(dropped.r, ca_backend_at(0)) == 0);
    }
    CHECK(ca_reactor_watch(dropped.r, dropped.fd, CA_OP_POLL_IN, owner,
                           &old) == 0);
    CHECK(old == (dropped.count == 1 ? NULL : (void *)&owner_a));
}

static void
test_drop_may_open_the_reactor_again(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    watch(&r, p.w, CA_OP_POLL_OUT, &owner_b);
    memset(&dropped, 0, sizeof(dropped));
    dropped.r = &r;
    dropped.fd = p.r;
    ca_reactor_close(&r, reopen_on_drop);
    CHECK(dropped.count == 2);
    CHECK(ca_reactor_is_open(&r));
    CHECK(ca_reactor_owner(&r, p.r, CA_OP_POLL_IN) == &owner_b);
    CHECK(r.watches.count == 1);
    put_byte(p.w);
    wait_and_reap(&r, 0);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_b);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static void
forked_child(ca_reactor *r, pipe_fds p)
{
    ca_reactor_note_fork();
    int wake_fd = r->wake.fd;
    CHECK(ca_reactor_unwatch(r, p.r, CA_OP_POLL_IN) == &owner_a);
    CHECK(r->wake.fd == wake_fd);
    pipe_fds own = open_pipe();
    watch(r, own.r, CA_OP_POLL_IN, &owner_c);
    put_byte(own.w);
    ca_reactor_wake(r);
    wait_and_reap(r, CA_NS_PER_S);
    CHECK(next_is(r, own.r, CA_OP_POLL_IN) == &owner_c);
    CHECK(nothing_is_next(r));
    take_byte(own.r);
    wait_and_reap(r, 0);
    CHECK(nothing_is_next(r));
    for (int i = 0; i < 100; i++) {
        ca_reactor_wake(r);
        wait_and_reap(r, CA_CLOCK_NEVER);
    }
    ca_reactor_close(r, NULL);
}

/* Whether a wait of 20 ms runs its full time. */
static int
is_quiet(ca_reactor *r)
{
    int64_t start = ca_clock_now_ns();
    wait_and_reap(r, 20 * CA_NS_PER_MS);
    return ca_clock_now_ns() - start >= 20 * CA_NS_PER_MS;
}

static void
test_a_child_rebuilds_and_the_parent_feels_nothing(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    pid_t pid = start_child();
    if (pid == 0) {
        forked_child(&r, p);
        end_child();
    }
    CHECK(child_succeeded(pid));
    CHECK(is_quiet(&r));
    CHECK(nothing_is_next(&r));
    put_byte(p.w);
    wait_and_reap(&r, CA_NS_PER_S);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    ca_reactor_wake(&r);
    wait_and_reap(&r, CA_CLOCK_NEVER);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static void
test_a_wake_in_the_parent_is_not_felt_in_the_child(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds go = open_pipe();
    open_reactor(&r, vt);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_reactor_note_fork();
        /* The first wait ends at once, for signals before the rebuild. */
        wait_and_reap(&r, CA_NS_PER_S);
        while (read(go.r, &(char){0}, 1) < 0) {
            usleep(1000);
        }
        CHECK(is_quiet(&r));
        ca_reactor_close(&r, NULL);
        end_child();
    }
    ca_reactor_wake(&r);
    put_byte(go.w);
    CHECK(child_succeeded(pid));
    wait_and_reap(&r, CA_CLOCK_NEVER);
    CHECK(is_quiet(&r));
    ca_reactor_close(&r, NULL);
    close_pipe(go);
}

static void
test_a_wake_before_the_rebuild_is_not_lost(const ca_backend_vt *vt)
{
    ca_reactor r;
    open_reactor(&r, vt);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_reactor_note_fork();
        ca_reactor_wake(&r);
        wait_and_reap(&r, CA_CLOCK_NEVER);
        CHECK(is_quiet(&r));
        ca_reactor_wake(&r);
        wait_and_reap(&r, CA_CLOCK_NEVER);
        ca_reactor_close(&r, NULL);
        end_child();
    }
    CHECK(child_succeeded(pid));
    ca_reactor_close(&r, NULL);
}

static void
test_closing_after_an_unnoticed_fork_leaves_the_parent_alone(
    const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_reactor_close(&r, NULL);
        end_child();
    }
    CHECK(child_succeeded(pid));
    put_byte(p.w);
    wait_and_reap(&r, CA_NS_PER_S);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

/* No descriptor left for the rebuild: errors, and no harm to the parent. */
static void
starved_child(ca_reactor *r, pipe_fds p)
{
    struct rlimit saved, none;
    void *old = NULL;
    ca_reactor_note_fork();
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(ca_reactor_wait(r, 0) == -EMFILE);
    CHECK(ca_reactor_watch(r, p.w, CA_OP_POLL_OUT, &owner_b, &old) == -EMFILE);
    CHECK(ca_reactor_unwatch(r, p.r, CA_OP_POLL_IN) == &owner_a);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    CHECK(ca_reactor_check_fork(r) == 0);
    CHECK(ca_reactor_watch(r, p.w, CA_OP_POLL_OUT, &owner_b, &old) == 0);
    wait_and_reap(r, CA_CLOCK_NEVER);
    CHECK(next_is(r, p.w, CA_OP_POLL_OUT) == &owner_b);
    CHECK(nothing_is_next(r));
    ca_reactor_close(r, NULL);
}

static void
test_a_starved_child_fails_loudly_and_harms_nobody(const ca_backend_vt *vt)
{
    ca_reactor r;
    pipe_fds p = open_pipe();
    open_reactor(&r, vt);
    watch(&r, p.r, CA_OP_POLL_IN, &owner_a);
    pid_t pid = start_child();
    if (pid == 0) {
        starved_child(&r, p);
        end_child();
    }
    CHECK(child_succeeded(pid));
    CHECK(is_quiet(&r));
    put_byte(p.w);
    wait_and_reap(&r, CA_NS_PER_S);
    CHECK(next_is(&r, p.r, CA_OP_POLL_IN) == &owner_a);
    ca_reactor_close(&r, NULL);
    close_pipe(p);
}

static void
test_many_watches_come_and_go(const ca_backend_vt *vt)
{
    enum { N = 200 };
    static pipe_fds pipes[N];
    static char owners[N];
    ca_reactor r;
    open_reactor(&r, vt);
    for (int i = 0; i < N; i++) {
        pipes[i] = open_pipe();
        put_byte(pipes[i].w);
        CHECK(watch(&r, pipes[i].r, CA_OP_POLL_IN, &owners[i]) == NULL);
    }
    for (int i = 0; i < 5; i++) {
        wait_and_reap(&r, 0);
    }
    int seen = 0;
    const ca_op *op;
    for (char *owner = ca_reactor_next(&r, &op); owner != NULL;
         owner = ca_reactor_next(&r, &op)) {
        CHECK(op->fd == pipes[owner - owners].r);
        CHECK(ca_reactor_unwatch(&r, op->fd, CA_OP_POLL_IN) == owner);
        seen++;
    }
    CHECK(seen == N);
    CHECK(r.watches.count == 0);
    ca_reactor_close(&r, NULL);
    for (int i = 0; i < N; i++) {
        close_pipe(pipes[i]);
    }
}

int
main(void)
{
    RUN_ROWS(test_opening_and_closing_leaks_no_descriptor);
    RUN_ROWS(test_no_descriptor_is_inherited_by_other_programs);
    RUN_ROWS(test_owners_come_out_in_the_order_of_readiness);
    RUN_ROWS(test_a_record_lives_as_long_as_it_has_an_owner);
    RUN_ROWS(test_replacing_returns_the_old_owner_and_forgets_its_event);
    RUN_ROWS(test_unwatching_forgets_an_event_that_was_not_taken);
    RUN_ROWS(test_events_not_taken_survive_a_nested_turn);
    RUN_ROWS(test_what_cannot_be_watched_changes_nothing);
    RUN_ROWS(test_a_failed_replacement_keeps_the_old_owner);
    RUN_ROWS(test_a_reused_number_serves_its_new_owner);
    RUN_ROWS(test_without_memory_watching_changes_nothing);
    RUN_ROWS(test_opening_that_fails_leaves_nothing_behind);
    RUN_ROWS(test_closing_hands_every_owner_over_once);
    RUN_ROWS(test_drop_may_open_the_reactor_again);
    RUN_ROWS(test_a_child_rebuilds_and_the_parent_feels_nothing);
    RUN_ROWS(test_a_wake_in_the_parent_is_not_felt_in_the_child);
    RUN_ROWS(test_a_wake_before_the_rebuild_is_not_lost);
    RUN_ROWS(test_closing_after_an_unnoticed_fork_leaves_the_parent_alone);
    RUN_ROWS(test_a_starved_child_fails_loudly_and_harms_nobody);
    RUN_ROWS(test_many_watches_come_and_go);
    return check_report("test_reactor");
}
