/* test_receive_ring.c - kind RECV on the row "io_uring": when chunks or
 * entries run out, rings fail, and bytes come that are nobody's any more.
 */
#include "conns.h"
#include "fault.h"

#include "backend/uring_chunks.h"
#include "reactor/reactor.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { MANY = 3 * CA_CHUNKS };

static const ca_backend_vt *const uring = &ca_backend_uring;

static void
test_a_ring_is_made_for_the_first_source_and_goes_with_the_backend(void)
{
    int before = count_open_fds();
    be = open_backend(uring);
    settle();
    CHECK(count_rings() == 0);
    open_conn(&a);
    settle();
    CHECK(count_rings() == 1);
    tear_down();
    CHECK(count_open_fds() == before);
}

/* Whether a connection that comes now is served. */
static int
serves_another(const char *text)
{
    conn c;
    open_conn(&c);
    settle();
    int served = serves(&c, text);
    close_conn(&c);
    return served;
}

static void
test_a_ring_that_cannot_be_made_leaves_it_to_epoll(void)
{
    const int errnos[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EMFILE};
    for (int i = 0; i < 5; i++) {
        be = open_backend(uring);
        open_conn(&a);
        fault_syscall(errnos[i]);
        settle();
        fault_syscall(0);
        CHECK(count_rings() == 0);
        CHECK(serves(&a, "plain"));
        CHECK(serves_another("too"));
        CHECK(count_rings() == 0);
        tear_down();
    }
}

static void
test_a_ring_that_breaks_leaves_it_to_epoll_and_loses_nothing(void)
{
    const int errnos[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EBADF};
    for (int i = 0; i < 5; i++) {
        set_up(uring);
        say(&a, "received ");
        CHECK(await() == &a.op);
        say(&a, "waiting");
        fault_syscall(errnos[i]);
        (void)look(be);
        (void)look(be);
        fault_syscall(0);
        char all[32] = "";
        while (strlen(all) < strlen("received waiting")) {
            REQUIRE(await() == &a.op);
            strcat(all, hear(&a));
        }
        CHECK(strcmp(all, "received waiting") == 0);
        CHECK(count_rings() == 0);
        CHECK(serves(&b, "b"));
        CHECK(serves_another("c"));
        CHECK(count_rings() == 0);
        tear_down();
    }
}

static void
test_a_ring_that_is_short_of_something_is_kept(void)
{
    const int errnos[] = {EAGAIN, EBUSY, EINTR};
    for (int i = 0; i < 3; i++) {
        set_up(uring);
        say(&a, "one");
        fault_syscall(errnos[i]);
        (void)uring->wait(be, 0);
        fault_syscall(0);
        CHECK(await() == &a.op && heard(&a, "one"));
        CHECK(count_rings() == 1);
        tear_down();
    }
}

static void
test_who_holds_many_chunks_does_not_starve_others(void)
{
    conn *const greedy = &a, *const modest = &b;
    set_up(uring);
    size_t sent = 0, got = 0;
    /* Nobody takes it, turn after turn. */
    for (int i = 0; i < 4 * CA_CHUNKS; i++) {
        sent += write(greedy->peer, "x", 1) == 1;
        (void)look(be);
    }
    say(modest, "please");
    bool served = false;
    for (int i = 0; i < 10 && !served; i++) {
        ca_dnode done;
        patient_turn(CA_NS_PER_S, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            if (op == &modest->op) {
                served = heard(modest, "please");
            }
        }
    }
    CHECK(served);
    while (got < sent) {
        REQUIRE(await() == &greedy->op);
        ptrdiff_t n = uring->recv(be, greedy->ours, room, ROOM, NULL);
        REQUIRE(n > 0);
        got += (size_t)n;
    }
    CHECK(got == sent && look(be) == 0);
    tear_down();
}

static void
test_paused_connections_hold_no_chunks(void)
{
    static conn conns[MANY];
    set_up(uring);
    for (int i = 0; i < MANY; i++) {
        open_conn(&conns[i]);
        settle();
        say(&conns[i], "kept");
        (void)await();
        uring->cancel(be, &conns[i].op);
    }
    CHECK(serves_another("free"));
    for (int i = 0; i < MANY; i++) {
        CHECK(uring->arm(be, &conns[i].op) == 0);
        CHECK(await() == &conns[i].op);
        CHECK(heard(&conns[i], "kept"));
        close_conn(&conns[i]);
    }
    tear_down();
}

/* Where the bytes of many messages lie, one after another. */
static void
test_few_connections_use_few_chunks(void)
{
    enum { MESSAGES = 4 * CA_CHUNKS };
    static const char *seen[MESSAGES];
    int distinct = 0;
    set_up(uring);
    for (int i = 0; i < MESSAGES; i++) {
        const conn *c = i % 2 == 0 ? &a : &b;
        char *where = NULL;
        say(c, "x");
        REQUIRE(await() == &c->op);
        REQUIRE(uring->recv(be, c->ours, room, ROOM, &where) == 1);
        int j = 0;
        while (j < distinct && seen[j] != where) {
            j++;
        }
        if (j == distinct) {
            seen[distinct++] = where;
        }
    }
    CHECK(seen[0] != room && distinct < CA_CHUNKS / 4);
    tear_down();
}

/* As open_conn(), over TCP, which takes much more until it blocks. */
static void
open_tcp_conn(conn *c)
{
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t size = sizeof(name);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM, 0);
    c->peer = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(bind(server, (struct sockaddr *)&name, size) == 0);
    REQUIRE(listen(server, 1) == 0);
    REQUIRE(getsockname(server, (struct sockaddr *)&name, &size) == 0);
    REQUIRE(connect(c->peer, (struct sockaddr *)&name, size) == 0);
    c->ours = accept4(server, NULL, NULL, SOCK_NONBLOCK);
    REQUIRE(c->ours >= 0 && close(server) == 0);
    ca_op_init(&c->op, CA_OP_RECV, c->ours);
    CHECK(be->vt->arm(be, &c->op) == 0);
}

/* Fill a connection until it takes no more, and end it; the bytes. */
static size_t
flood(conn *c)
{
    size_t sent = 0;
    ssize_t n;
    while ((n = send(c->peer, room, sizeof(room), MSG_DONTWAIT)) > 0) {
        sent += (size_t)n;
    }
    CHECK(shutdown(c->peer, SHUT_WR) == 0);
    return sent;
}

static void
test_a_pause_in_a_flood_keeps_little(void)
{
    conn c;
    set_up(uring);
    open_tcp_conn(&c);
    settle();
    size_t sent = flood(&c), left = 0;
    REQUIRE(await() == &c.op);
    uring->cancel(be, &c.op);
    (void)look(be);
    ptrdiff_t n = -1;
    for (int tries = 0; n != 0 && tries < 10000; tries++) {
        n = read(c.ours, room, ROOM);
        left += n > 0 ? (size_t)n : 0;
        usleep(n < 0 ? 1000 : 0);
    }
    REQUIRE(n == 0);
    size_t kept = sent - left, got = 0;
    CHECK(kept > 0 && kept <= (size_t)CA_CHUNKS / 5 * CA_CHUNK_BYTES);
    CHECK(uring->arm(be, &c.op) == 0);
    while (got < kept) {
        REQUIRE(await() == &c.op);
        n = uring->recv(be, c.ours, room, ROOM, NULL);
        REQUIRE(n > 0);
        got += (size_t)n;
    }
    CHECK(got == kept && await() == &c.op && heard(&c, "."));
    close_conn(&c);
    tear_down();
}

/* Answers that are on their way when a connection ends: its memory and its
 * number are somebody else's by then. */
static void
test_late_answers_touch_nothing(void)
{
    for (int how = 0; how < 3; how++) {
        set_up(uring);
        conn *old = malloc(sizeof(*old)), *new = malloc(sizeof(*new));
        REQUIRE(old != NULL && new != NULL);
        open_conn(old);
        settle();
        say(old, "secret");
        CHECK(uring->wait(be, CA_NS_PER_S) == 0);
        int fd = old->ours;
        uring->cancel(be, &old->op);
        if (how > 0) {
            forget(fd);
        }
        close(fd);
        close_peer(old);
        free(old);
        if (how == 2) {
            ca_dnode done;
            ca_dlist_init(&done);
            uring->reap(be, &done);
            CHECK(take(&done) == NULL);
        }
        open_conn(new);
        CHECK(new->ours == fd);
        settle();
        CHECK(look(be) == 0 && heard(new, "-"));
        CHECK(serves(new, "public"));
        close_conn(new);
        free(new);
        CHECK(serves(&a, "a"));
        tear_down();
    }
}

/* Make connections hold every chunk; how many of them. */
static int
take_every_chunk(conn *conns, int most)
{
    int n = 0, sent = 0;
    while (n < most && sent < 2 * CA_CHUNKS) {
        open_conn(&conns[n]);
        settle();
        for (int i = 0; i < CA_CHUNKS / 4; i++) {
            say(&conns[n], "x");
            (void)look(be);
            sent++;
        }
        n++;
    }
    return n;
}

static void
test_without_chunks_nobody_spins_and_nobody_is_deaf(void)
{
    conn holders[8], late;
    set_up(uring);
    int n = take_every_chunk(holders, 8);
    open_conn(&late);
    settle();
    say(&late, "please");
    bool served = false;
    for (int i = 0; i < 10 && !served; i++) {
        ca_dnode done;
        patient_turn(0, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            served = served || (op == &late.op && heard(&late, "please"));
        }
    }
    CHECK(served);
    settle();
    /* Who has bytes finishes in each turn, with one enter; nobody asks the
     * kernel again and again for chunks that are not there. */
    int before = fault_syscall_count();
    for (int i = 0; i < 20; i++) {
        CHECK(look(be) == n);
    }
    CHECK(fault_syscall_count() - before <= 20 + 1);
    for (int i = 0; i < n; i++) {
        uring->cancel(be, &holders[i].op);
    }
    CHECK(is_quiet());
    before = fault_syscall_count();
    CHECK(is_quiet());
    CHECK(fault_syscall_count() - before <= 3 * 5);
    CHECK(serves(&late, "again"));
    close_conn(&late);
    for (int i = 0; i < n; i++) {
        close_conn(&holders[i]);
    }
    tear_down();
}

/* Take what comes until `left` connections have heard all of `text`. */
static void
hear_from_all(const conn *conns, size_t *got, int left, const char *text)
{
    for (int turns = 0; left > 0 && turns < 1000; turns++) {
        ca_dnode done;
        patient_turn(CA_NS_PER_S, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            const conn *c = CA_CONTAINER_OF(op, conn, op);
            size_t *n = &got[c - conns];
            const char *part = hear(c);
            REQUIRE(*n + strlen(part) <= strlen(text));
            CHECK(strncmp(text + *n, part, strlen(part)) == 0);
            *n += strlen(part);
            left -= *n == strlen(text);
        }
    }
    CHECK(left == 0);
}

/* The kernel ends a request that it can answer no more, so all of them have
 * to be made anew, again and again. */
static void
test_full_rings_lose_nothing(void)
{
    enum { CONNS = 64, ROUNDS = 20 };
    static conn conns[CONNS];
    for (int entries = 1; entries <= 16; entries *= 4) {
        fault_ring_entries(entries);
        set_up(uring);
        CHECK(count_rings() == 1);
        for (int i = 0; i < CONNS; i++) {
            open_conn(&conns[i]);
        }
        for (int round = 0; round < ROUNDS; round++) {
            size_t got[CONNS] = {0};
            for (int i = 0; i < CONNS; i++) {
                say(&conns[i], "0123456789");
                if (i % 8 == round % 8) {
                    (void)look(be);
                    say(&conns[i], "abc");
                }
            }
            for (int i = 0; i < CONNS; i++) {
                if (i % 8 != round % 8) {
                    say(&conns[i], "abc");
                }
            }
            hear_from_all(conns, got, CONNS, "0123456789abc");
        }
        CHECK(count_rings() == 1);
        for (int i = 0; i < CONNS; i++) {
            close_peer(&conns[i]);
        }
        for (int i = 0; i < CONNS; i++) {
            const ca_op *op = await();
            REQUIRE(op != NULL);
            conn *c = CA_CONTAINER_OF(op, conn, op);
            CHECK(heard(c, "."));
            close_conn(c);
        }
        tear_down();
        fault_ring_entries(0);
    }
}

/* How a connection goes on whose first message may be lost: 1 with that, 0
 * with an error; a second one without the first is a gap. */
static int
first_or_error(const conn *c)
{
    ptrdiff_t n = uring->recv(be, c->ours, room, ROOM, NULL);
    CHECK(n == -EIO || (n >= 5 && memcmp(room, "first", 5) == 0));
    return n > 0;
}

/* What the kernel keeps because the completion ring is full goes with a ring
 * that breaks. */
static void
test_what_a_broken_ring_has_lost_is_an_error_and_no_gap(void)
{
    enum { CONNS = 32 };
    conn conns[CONNS];
    fault_ring_entries(4);
    be = open_backend(uring);
    for (int i = 0; i < CONNS; i++) {
        open_conn(&conns[i]);
        settle();
    }
    for (int i = 0; i < CONNS; i++) {
        say(&conns[i], "first");
    }
    CHECK(uring->wait(be, CA_NS_PER_S) == 0);
    for (int i = 0; i < CONNS; i++) {
        say(&conns[i], "second");
    }
    fault_syscall(EPERM);
    ca_dnode done;
    ca_dlist_init(&done);
    uring->reap(be, &done);
    (void)take_all(&done);
    fault_syscall(0);
    CHECK(count_rings() == 0);
    int kept = 0;
    for (int i = 0; i < CONNS; i++) {
        kept += first_or_error(&conns[i]);
    }
    CHECK(kept >= 4 && kept < CONNS);
    for (int i = 0; i < CONNS; i++) {
        close_conn(&conns[i]);
    }
    CHECK(serves_another("later"));
    tear_down();
    fault_ring_entries(0);
}

static void
test_each_call_that_makes_a_ring_may_fail(void)
{
    for (int n = 0; n < 5; n++) {
        be = open_backend(uring);
        int before = count_open_fds();
        fault_syscall_after(n, ENOMEM);
        open_conn(&a);
        settle();
        fault_syscall_after(-1, 0);
        CHECK(serves(&a, "one") && serves(&a, "two"));
        CHECK(count_open_fds() == before + 2 + count_rings());
        tear_down();
    }
}

static void
give_up_locking(void)
{
    static const struct rlimit nothing;
    struct {
        uint32_t version;
        int pid;
    } header = {0x20080522, 0};
    uint32_t none[6] = {0};
    REQUIRE(setrlimit(RLIMIT_MEMLOCK, &nothing) == 0);
    REQUIRE(syscall(SYS_capset, &header, none, 0L, 0L, 0L, 0L) == 0);
}

/* Whether rings count is up to the kernel; that connections are served is
 * not. */
static void
test_who_may_lock_no_memory_is_served(void)
{
    pid_t pid = start_child();
    if (pid == 0) {
        be = open_backend(uring);
        give_up_locking();
        open_conn(&a);
        open_conn(&b);
        settle();
        CHECK(serves(&a, "one") && serves(&b, "two") && serves(&a, "three"));
        tear_down();
        ca_backend *other = NULL;
        int err = uring->open(&other);
        CHECK(err == 0 || err == -ENOMEM);
        if (err == 0) {
            uring->close(other);
        }
        end_child();
    }
    CHECK(child_succeeded(pid));
}

static void
test_closing_with_everything_in_flight_lets_go_of_all(void)
{
    static conn conns[MANY];
    int before = count_open_fds();
    set_up(uring);
    for (int i = 0; i < MANY; i++) {
        open_conn(&conns[i]);
        if (i % 16 == 0) {
            settle();
        }
        if (i % 3 == 0) {
            say(&conns[i], "x");
        }
    }
    CHECK(uring->wait(be, 0) == 0);
    be->vt->close(be);
    close(a.ours);
    close(b.ours);
    CHECK(peer_sees_the_end(&a) && peer_sees_the_end(&b));
    close(a.peer);
    close(b.peer);
    for (int i = 0; i < MANY; i++) {
        close(conns[i].ours);
        CHECK(i % 3 == 0 || peer_sees_the_end(&conns[i]));
        close(conns[i].peer);
    }
    CHECK(count_open_fds() == before);
}

/* The child closes what it has inherited while the parent asks for more. */
static void
test_a_child_that_closes_leaves_no_mark_in_the_ring(void)
{
    conn c;
    set_up(uring);
    pipe_fds p = open_pipe();
    REQUIRE(fcntl(p.r, F_SETFL, 0) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        take_byte(p.r);
        uring->close(be);
        end_child();
    }
    open_conn(&c);
    put_byte(p.w);
    CHECK(child_succeeded(pid));
    settle();
    CHECK(serves(&c, "c") && serves(&a, "a") && serves(&b, "b"));
    CHECK(count_rings() == 1);
    close_conn(&c);
    close_pipe(p);
    tear_down();
}

/* What is in the completion ring when a process forks is the parent's. */
static void
test_what_has_come_before_a_fork_is_the_parents(void)
{
    set_up(uring);
    say(&a, "kept");
    CHECK(uring->wait(be, CA_NS_PER_S) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        CHECK(uring->after_fork(be) == 0);
        settle();
        CHECK(heard(&a, "-"));
        CHECK(serves(&b, "child"));
        uring->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    ca_dnode done;
    ca_dlist_init(&done);
    uring->reap(be, &done);
    CHECK(take(&done) == &a.op && heard(&a, "kept"));
    CHECK(serves(&b, "parent"));
    tear_down();
}

static void
on_signal(int number)
{
    (void)number;
}

static void *
interrupt_later(void *arg)
{
    for (int i = 0; i < 3; i++) {
        usleep(20000);
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
    }
    return NULL;
}

static void
test_an_error_received_ahead_is_told_to_who_sends(void)
{
    set_up(uring);
    CHECK(uring->recv(be, a.ours, NULL, 0, NULL) == -EAGAIN);
    /* Unread bytes: our end is told of a reset. */
    REQUIRE(write(a.ours, "unread", 6) == 6);
    close_peer(&a);
    CHECK(await() == &a.op);
    CHECK(uring->recv(be, a.ours, NULL, 0, NULL) == -ECONNRESET);
    CHECK(uring->recv(be, a.ours, room, ROOM, NULL) == -ECONNRESET);
    CHECK(uring->recv(be, a.ours, NULL, 0, NULL) == -EAGAIN);
    tear_down();
}

static void
test_a_pause_in_the_same_turn_receives_nothing(void)
{
    char got[8] = "";
    conn c;
    set_up(uring);
    open_conn(&c);
    say(&c, "theirs");
    uring->cancel(be, &c.op);
    settle();
    CHECK(read(c.ours, got, sizeof(got)) == 6 && strcmp(got, "theirs") == 0);
    CHECK(uring->arm(be, &c.op) == 0);
    uring->cancel(be, &c.op);
    CHECK(uring->arm(be, &c.op) == 0);
    CHECK(serves(&c, "ours"));
    close_conn(&c);
    tear_down();
}

static void
test_a_signal_ends_a_wait_and_loses_nothing(void)
{
    pthread_t self = pthread_self(), thread;
    struct sigaction action = {.sa_handler = on_signal};
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    set_up(uring);
    REQUIRE(pthread_create(&thread, NULL, interrupt_later, &self) == 0);
    CHECK(uring->wait(be, 10 * CA_NS_PER_S) == -EINTR);
    pthread_join(thread, NULL);
    CHECK(serves(&a, "one"));
    tear_down();
}

static void
test_looking_with_nothing_there_needs_no_system_call(void)
{
    set_up(uring);
    settle();
    int before = fault_syscall_count();
    CHECK(look(be) == 0);
    CHECK(fault_syscall_count() == before);
    say(&a, "one");
    CHECK(look(be) == 1 && heard(&a, "one"));
    tear_down();
}

static void
test_after_an_end_nothing_is_asked_for_unless_somebody_waits(void)
{
    set_up(uring);
    close_peer(&a);
    CHECK(await() == &a.op && heard(&a, "."));
    int before = fault_syscall_count();
    close_ours(&a);
    CHECK(look(be) == 0);
    CHECK(fault_syscall_count() == before);
    close_peer(&b);
    for (int i = 0; i < 3; i++) {
        CHECK(await() == &b.op && heard(&b, "."));
    }
    tear_down();
}

static void
test_the_reactor_receives_forgets_and_changes_kinds(void)
{
    ca_reactor r;
    int fds[2], mine;
    void *old = NULL, *owner = NULL;
    const ca_op *op = NULL;
    char *where = NULL;
    open_pair(fds);
    REQUIRE(ca_reactor_open(&r, uring) == 0);
    CHECK(ca_reactor_watch(&r, fds[0], CA_OP_RECV, &mine, &old) == 0);
    put_byte(fds[1]);
    for (int i = 0; i < 100 && owner == NULL; i++) {
        (void)ca_reactor_wait(&r, CA_NS_PER_S);
        ca_reactor_reap(&r);
        owner = ca_reactor_next(&r, &op);
    }
    CHECK(owner == &mine && op->kind == CA_OP_RECV);
    CHECK(ca_reactor_owner(&r, fds[0], CA_OP_POLL_IN) == &mine);
    CHECK(ca_reactor_watch(&r, fds[0], CA_OP_POLL_IN, &mine, &old) == 0);
    CHECK(old == &mine);
    for (owner = NULL; owner == NULL;) {
        (void)ca_reactor_wait(&r, CA_NS_PER_S);
        ca_reactor_reap(&r);
        owner = ca_reactor_next(&r, &op);
    }
    CHECK(op->kind == CA_OP_POLL_IN);
    CHECK(ca_reactor_recv(&r, fds[0], room, 8, &where) == 1);
    CHECK(ca_reactor_unwatch(&r, fds[0], CA_OP_RECV) == &mine);
    ca_reactor_forget(&r, fds[0]);
    ca_reactor_close(&r, NULL);
    put_byte(fds[1]);
    CHECK(ca_reactor_recv(&r, fds[0], room, 8, &where) == 1);
    ca_reactor_forget(&r, fds[0]);
    close(fds[0]);
    close(fds[1]);
}

int
main(void)
{
    if (row_refused(uring)) {
        return 0;
    }
    RUN(test_a_ring_is_made_for_the_first_source_and_goes_with_the_backend);
    RUN(test_a_ring_that_cannot_be_made_leaves_it_to_epoll);
    RUN(test_a_ring_that_breaks_leaves_it_to_epoll_and_loses_nothing);
    RUN(test_a_ring_that_is_short_of_something_is_kept);
    RUN(test_who_holds_many_chunks_does_not_starve_others);
    RUN(test_paused_connections_hold_no_chunks);
    RUN(test_few_connections_use_few_chunks);
    RUN(test_a_pause_in_a_flood_keeps_little);
    RUN(test_late_answers_touch_nothing);
    RUN(test_without_chunks_nobody_spins_and_nobody_is_deaf);
    RUN(test_full_rings_lose_nothing);
    RUN(test_what_a_broken_ring_has_lost_is_an_error_and_no_gap);
    RUN(test_each_call_that_makes_a_ring_may_fail);
    RUN(test_who_may_lock_no_memory_is_served);
    RUN(test_closing_with_everything_in_flight_lets_go_of_all);
    RUN(test_a_child_that_closes_leaves_no_mark_in_the_ring);
    RUN(test_what_has_come_before_a_fork_is_the_parents);
    RUN(test_an_error_received_ahead_is_told_to_who_sends);
    RUN(test_a_pause_in_the_same_turn_receives_nothing);
    RUN(test_a_signal_ends_a_wait_and_loses_nothing);
    RUN(test_looking_with_nothing_there_needs_no_system_call);
    RUN(test_after_an_end_nothing_is_asked_for_unless_somebody_waits);
    RUN(test_the_reactor_receives_forgets_and_changes_kinds);
    return check_report("test_receive_ring");
}
