/* test_receive.c - ops of kind RECV: the contract on every row, and what the
 * row "io_uring" does when chunks run out, rings fail, or others take over.
 */
#include "fault.h"
#include "rows.h"

#include "backend/uring_chunks.h"
#include "reactor/reactor.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { MANY = 3 * CA_CHUNKS, ROOM = 256 * 1024 };

static char room[ROOM];

/* A connection: our end, watched for RECV, and the peer's. */
typedef struct {
    ca_op op;
    int ours;
    int peer;
} conn;

static void
open_conn(ca_backend *be, conn *c)
{
    int fds[2];
    open_pair(fds);
    c->ours = fds[0];
    c->peer = fds[1];
    ca_op_init(&c->op, CA_OP_RECV, c->ours);
    CHECK(be->vt->arm(be, &c->op) == 0);
}

static void
forget(ca_backend *be, int fd)
{
    if (be->vt->forget != NULL) {
        be->vt->forget(be, fd);
    }
}

static void
close_conn(ca_backend *be, conn *c)
{
    be->vt->cancel(be, &c->op);
    forget(be, c->ours);
    close(c->ours);
    close(c->peer);
}

/* As turn(); some time after a ring is closed a signal of the kernel's own
 * ends a wait of the thread that made it. */
static void
patient_turn(ca_backend *be, int64_t timeout_ns, ca_dnode *done)
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
static bool
is_quiet(ca_backend *be)
{
    int shorts = 0;
    for (int i = 0; i < 5; i++) {
        ca_dnode done;
        int64_t start = ca_clock_now_ns();
        patient_turn(be, CA_NS_PER_MS, &done);
        shorts += ca_clock_now_ns() - start < CA_NS_PER_MS;
        CHECK(take(&done) == NULL);
    }
    return shorts == 0;
}

/* Wait, until an op finishes; NULL: none does in time. */
static ca_op *
await(ca_backend *be)
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
static void
settle(ca_backend *be)
{
    for (int i = 0; i < 3; i++) {
        (void)look(be);
    }
}

static void
say(const conn *c, const char *text)
{
    REQUIRE(write(c->peer, text, strlen(text)) == (ssize_t)strlen(text));
}

/* What recv() gives, as a string; "-" for an error, "." for the end. */
static const char *
hear(ca_backend *be, int fd)
{
    char *where = NULL;
    ptrdiff_t n = be->vt->recv(be, fd, room, ROOM - 1, &where);
    if (n <= 0) {
        return n == 0 ? "." : "-";
    }
    memmove(room, where, (size_t)n);
    room[n] = '\0';
    return room;
}

static int
heard(ca_backend *be, int fd, const char *text)
{
    const char *got = hear(be, fd);
    if (strcmp(got, text) != 0) {
        fprintf(stderr, "heard \"%.40s\" for \"%.40s\"\n", got, text);
    }
    return strcmp(got, text) == 0;
}

/* Whether the peer sees the end within a moment. */
static bool
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

static int
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

/* ---- every row ---- */

static void
test_bytes_come_once_and_in_order(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    settle(be);
    CHECK(look(be) == 0);
    say(&c, "one");
    CHECK(await(be) == &c.op);
    say(&c, "two");
    char all[16] = "";
    strcat(all, hear(be, c.ours));
    if (strcmp(all, "one") == 0) {
        CHECK(await(be) == &c.op);
        strcat(all, hear(be, c.ours));
    }
    CHECK(strcmp(all, "onetwo") == 0);
    CHECK(look(be) == 0 && heard(be, c.ours, "-"));
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_what_is_not_taken_finishes_again(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    char *none = NULL, few[4] = "";
    conn c;
    open_conn(be, &c);
    settle(be);
    say(&c, "abcdefgh");
    for (int i = 0; i < 3; i++) {
        CHECK(await(be) == &c.op);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(await(be) == &c.op);
        CHECK(vt->recv(be, c.ours, few, 2, i < 2 ? NULL : &none) == 2);
        CHECK((i < 2 ? few : none)[0] == 'a' + 2 * i);
    }
    CHECK(look(be) == 0);
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_the_end_comes_behind_the_bytes(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    settle(be);
    say(&c, "bye");
    close(c.peer);
    c.peer = -1;
    CHECK(await(be) == &c.op && heard(be, c.ours, "bye"));
    for (int i = 0; i < 3; i++) {
        CHECK(await(be) == &c.op && heard(be, c.ours, "."));
    }
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_what_came_before_a_pause_comes_after_it(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    settle(be);
    say(&c, "before ");
    CHECK(await(be) == &c.op);
    vt->cancel(be, &c.op);
    say(&c, "meanwhile ");
    CHECK(look(be) == 0 && look(be) == 0);
    CHECK(vt->arm(be, &c.op) == 0);
    say(&c, "after");
    char all[64] = "";
    while (strlen(all) < strlen("before meanwhile after")) {
        REQUIRE(await(be) == &c.op);
        strcat(all, hear(be, c.ours));
    }
    CHECK(strcmp(all, "before meanwhile after") == 0);
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_a_pause_leaves_to_the_socket_what_comes_in_it(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    char got[8] = "";
    open_conn(be, &c);
    settle(be);
    vt->cancel(be, &c.op);
    say(&c, "theirs");
    CHECK(look(be) == 0 && look(be) == 0);
    CHECK(read(c.ours, got, sizeof(got)) == 6 && strcmp(got, "theirs") == 0);
    CHECK(vt->arm(be, &c.op) == 0);
    say(&c, "ours");
    CHECK(await(be) == &c.op && heard(be, c.ours, "ours"));
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_becoming_poll_in_loses_nothing(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    settle(be);
    say(&c, "kept");
    CHECK(await(be) == &c.op);
    vt->cancel(be, &c.op);
    c.op.kind = CA_OP_POLL_IN;
    CHECK(vt->arm(be, &c.op) == 0);
    CHECK(await(be) == &c.op && heard(be, c.ours, "kept"));
    say(&c, "more");
    CHECK(await(be) == &c.op && heard(be, c.ours, "more"));
    CHECK(look(be) == 0);
    close_conn(be, &c);
    be->vt->close(be);
}

static void
test_a_closed_socket_is_let_go_at_once(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    settle(be);
    vt->cancel(be, &c.op);
    forget(be, c.ours);
    close(c.ours);
    CHECK(peer_sees_the_end(&c));
    close(c.peer);
    open_conn(be, &c);
    settle(be);
    be->vt->close(be);
    close(c.ours);
    CHECK(peer_sees_the_end(&c));
    close(c.peer);
}

/* As a program does that closes what is not its own: nothing of the old
 * connection may come out of the new one with the same number. */
static void
test_a_reused_number_inherits_nothing(const ca_backend_vt *vt)
{
    for (int how = 0; how < 4; how++) {
        ca_backend *be = open_backend(vt);
        conn old, new;
        open_conn(be, &old);
        settle(be);
        say(&old, "secret");
        CHECK(await(be) == &old.op);
        if (how >= 2) {
            vt->cancel(be, &old.op);
        }
        close(old.ours);
        if (how % 2 == 1) {
            (void)look(be);
        }
        int fds[2];
        open_pair(fds);
        REQUIRE(fds[0] == old.ours);
        new = (conn){.ours = fds[0], .peer = fds[1]};
        ca_op *op = how >= 2 ? &new.op : &old.op;
        if (how >= 2) {
            ca_op_init(op, CA_OP_RECV, new.ours);
        }
        CHECK(vt->arm(be, op) == 0);
        settle(be);
        say(&new, "public");
        CHECK(await(be) == op && heard(be, new.ours, "public"));
        CHECK(look(be) == 0);
        vt->cancel(be, op);
        forget(be, new.ours);
        close(new.ours);
        CHECK(peer_sees_the_end(&new));
        close(new.peer);
        close(old.peer);
        be->vt->close(be);
    }
}

static void
test_large_and_small_messages_alternate(const ca_backend_vt *vt)
{
    static char sent[200000], got[200000];
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    for (int round = 0; round < 60; round++) {
        size_t size = round % 20 < 3 ? sizeof(sent) : 10;
        for (size_t i = 0; i < size; i++) {
            sent[i] = (char)rand();
        }
        size_t out = 0, in = 0;
        while (in < size) {
            ssize_t n = out < size ? write(c.peer, sent + out, size - out) : 0;
            out += n > 0 ? (size_t)n : 0;
            REQUIRE(await(be) == &c.op);
            char *where = NULL;
            ptrdiff_t m = vt->recv(be, c.ours, room, ROOM, &where);
            REQUIRE(m > 0 && in + (size_t)m <= size);
            memcpy(got + in, where, (size_t)m);
            in += (size_t)m;
        }
        CHECK(memcmp(sent, got, size) == 0);
        CHECK(look(be) == 0);
    }
    close_conn(be, &c);
    be->vt->close(be);
}

/* More connections than chunks, each with more than one message. */
static void
test_more_connections_than_chunks_are_all_served(const ca_backend_vt *vt)
{
    static conn conns[MANY];
    static int counts[MANY];
    ca_backend *be = open_backend(vt);
    memset(counts, 0, sizeof(counts));
    for (int i = 0; i < MANY; i++) {
        open_conn(be, &conns[i]);
    }
    settle(be);
    for (int i = 0; i < MANY; i++) {
        say(&conns[i], "0123456789");
    }
    int left = MANY, turns = 0;
    while (left > 0 && turns++ < 1000) {
        ca_dnode done;
        patient_turn(be, CA_NS_PER_S, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            conn *c = CA_CONTAINER_OF(op, conn, op);
            ptrdiff_t n = vt->recv(be, c->ours, room, 4, NULL);
            CHECK(n > 0 && room[0] == '0' + counts[c - conns]);
            counts[c - conns] += (int)n;
            left -= counts[c - conns] == 10;
        }
    }
    CHECK(left == 0 && turns < 100);
    CHECK(look(be) == 0);
    for (int i = 0; i < MANY; i++) {
        close_conn(be, &conns[i]);
    }
    be->vt->close(be);
}

static void
test_both_directions_and_other_kinds_go_together(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn c;
    open_conn(be, &c);
    pipe_fds p = open_pipe();
    OP(writer, CA_OP_POLL_OUT, c.ours);
    OP(reader, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &writer) == 0 && vt->arm(be, &reader) == 0);
    settle(be);
    CHECK(look(be) == 1 && look(be) == 1);
    say(&c, "x");
    put_byte(p.w);
    int most = 0;
    for (int i = 0; i < 100 && most < 3; i++) {
        int n = look(be);
        most = n > most ? n : most;
    }
    CHECK(most == 3 && look(be) == 3);
    ca_dnode done;
    turn(be, 0, &done);
    ca_op *first = take(&done);
    CHECK(first == &c.op || take(&done) == &c.op);
    (void)take_all(&done);
    vt->cancel(be, &writer);
    CHECK(heard(be, c.ours, "x"));
    CHECK(look(be) == 1);
    take_byte(p.r);
    CHECK(look(be) == 0);
    CHECK(is_quiet(be));
    close_conn(be, &c);
    close_pipe(p);
    be->vt->close(be);
}

static void
test_other_descriptors_are_refused_or_watched_as_poll_in(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(reader, CA_OP_RECV, p.r);
    OP(nothing, CA_OP_RECV, 9999);
    CHECK(vt->arm(be, &nothing) == -EBADF);
    CHECK(vt->arm(be, &reader) == 0);
    put_byte(p.w);
    CHECK(await(be) == &reader);
    char byte;
    CHECK(vt->recv(be, p.r, &byte, 1, NULL) == -ENOTSOCK);
    vt->cancel(be, &reader);
    CHECK(look(be) == 0);
    forget(be, p.r);
    forget(be, 9999);
    close_pipe(p);
    be->vt->close(be);
}

static void
test_a_child_and_its_parent_part_company(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn a, b;
    open_conn(be, &a);
    open_conn(be, &b);
    settle(be);
    say(&a, "kept");
    CHECK(await(be) == &a.op);
    pid_t pid = start_child();
    if (pid == 0) {
        CHECK(vt->after_fork(be) == 0);
        vt->cancel(be, &a.op);
        close(a.ours);
        settle(be);
        say(&b, "child");
        CHECK(await(be) == &b.op && heard(be, b.ours, "child"));
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    CHECK(await(be) == &a.op && heard(be, a.ours, "kept"));
    say(&a, "on");
    CHECK(await(be) == &a.op && heard(be, a.ours, "on"));
    pid = start_child();
    if (pid == 0) {
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    close_conn(be, &b);
    say(&a, "still");
    CHECK(await(be) == &a.op && heard(be, a.ours, "still"));
    close_conn(be, &a);
    be->vt->close(be);
}

typedef struct {
    ca_backend *be;
    conn *a;
    conn *b;
} other_thread;

static void *
go_on_elsewhere(void *arg)
{
    const other_thread *self = arg;
    CHECK(await(self->be) == &self->a->op);
    CHECK(heard(self->be, self->a->ours, "kept"));
    for (int i = 0; i < 3; i++) {
        say(self->b, "new");
        CHECK(await(self->be) == &self->b->op);
        CHECK(heard(self->be, self->b->ours, "new"));
    }
    return NULL;
}

static void
test_another_thread_goes_on_where_the_first_stopped(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn a, b;
    open_conn(be, &a);
    open_conn(be, &b);
    settle(be);
    say(&a, "kept");
    CHECK(await(be) == &a.op);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        other_thread other = {be, &a, &b};
        REQUIRE(pthread_create(&thread, NULL, go_on_elsewhere, &other) == 0);
        pthread_join(thread, NULL);
        say(&a, "kept");
    }
    CHECK(await(be) == &a.op && heard(be, a.ours, "kept"));
    close_conn(be, &a);
    close_conn(be, &b);
    be->vt->close(be);
}

/* Against the rules of who calls whom, but not to crash or to mix up. */
static void *
meddle(void *arg)
{
    const other_thread *self = arg;
    ca_backend *be = self->be;
    be->vt->cancel(be, &self->a->op);
    CHECK(be->vt->arm(be, &self->a->op) == 0);
    be->vt->cancel(be, &self->b->op);
    return NULL;
}

static void
test_another_thread_may_arm_and_cancel(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    conn a, b;
    open_conn(be, &a);
    open_conn(be, &b);
    settle(be);
    say(&a, "one");
    CHECK(await(be) == &a.op);
    pthread_t thread;
    other_thread other = {be, &a, &b};
    REQUIRE(pthread_create(&thread, NULL, meddle, &other) == 0);
    pthread_join(thread, NULL);
    CHECK(await(be) == &a.op && heard(be, a.ours, "one"));
    say(&a, "two");
    CHECK(await(be) == &a.op && heard(be, a.ours, "two"));
    settle(be);
    say(&b, "no");
    CHECK(look(be) == 0);
    close_conn(be, &a);
    close_conn(be, &b);
    be->vt->close(be);
}

static void
test_arming_without_memory_can_be_repeated(const ca_backend_vt *vt)
{
    for (int n = 0; n < 8; n++) {
        ca_backend *be = open_backend(vt);
        int fds[2];
        open_pair(fds);
        OP(op, CA_OP_RECV, fds[0]);
        fault_allocation(n);
        int err = vt->arm(be, &op);
        for (int i = 0; i < 2; i++) {
            ca_dnode done;
            ca_dlist_init(&done);
            if (vt->wait(be, 0) == 0) {
                vt->reap(be, &done);
            }
            CHECK(take(&done) == NULL);
        }
        fault_allocation(-1);
        if (err < 0) {
            CHECK(err == -ENOMEM && !op.armed);
            CHECK(vt->arm(be, &op) == 0);
        }
        settle(be);
        put_byte(fds[1]);
        CHECK(await(be) == &op && heard(be, fds[0], "x"));
        be->vt->close(be);
        close(fds[0]);
        close(fds[1]);
    }
}

/* ---- the row "io_uring" ---- */

static const ca_backend_vt *const uring = &ca_backend_uring;

static void
test_a_ring_is_made_for_the_first_source_and_goes_with_the_backend(void)
{
    int before = count_open_fds();
    ca_backend *be = open_backend(uring);
    settle(be);
    CHECK(count_rings() == 0);
    conn c;
    open_conn(be, &c);
    settle(be);
    CHECK(count_rings() == 1);
    close_conn(be, &c);
    uring->close(be);
    CHECK(count_open_fds() == before);
}

static void
check_served(ca_backend *be, const char *text)
{
    conn c;
    open_conn(be, &c);
    settle(be);
    say(&c, text);
    CHECK(await(be) == &c.op && heard(be, c.ours, text));
    close_conn(be, &c);
}

static void
test_a_ring_that_cannot_be_made_leaves_it_to_epoll(void)
{
    const int errnos[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EMFILE};
    for (int i = 0; i < 5; i++) {
        ca_backend *be = open_backend(uring);
        conn c;
        open_conn(be, &c);
        fault_syscall(errnos[i]);
        settle(be);
        fault_syscall(0);
        CHECK(count_rings() == 0);
        say(&c, "plain");
        CHECK(await(be) == &c.op && heard(be, c.ours, "plain"));
        check_served(be, "too");
        CHECK(count_rings() == 0);
        close_conn(be, &c);
        uring->close(be);
    }
}

static void
test_a_ring_that_breaks_leaves_it_to_epoll_and_loses_nothing(void)
{
    const int errnos[] = {EPERM, ENOSYS, ENOMEM, EINVAL, EBADF};
    for (int i = 0; i < 5; i++) {
        ca_backend *be = open_backend(uring);
        conn a, b;
        open_conn(be, &a);
        open_conn(be, &b);
        settle(be);
        say(&a, "received ");
        CHECK(await(be) == &a.op);
        say(&a, "waiting");
        fault_syscall(errnos[i]);
        (void)look(be);
        (void)look(be);
        fault_syscall(0);
        char all[32] = "";
        while (strlen(all) < strlen("received waiting")) {
            REQUIRE(await(be) == &a.op);
            strcat(all, hear(be, a.ours));
        }
        CHECK(strcmp(all, "received waiting") == 0);
        CHECK(count_rings() == 0);
        say(&b, "b");
        CHECK(await(be) == &b.op && heard(be, b.ours, "b"));
        check_served(be, "c");
        close_conn(be, &a);
        close_conn(be, &b);
        CHECK(count_rings() == 0);
        uring->close(be);
    }
}

static void
test_a_ring_that_is_short_of_something_is_kept(void)
{
    const int errnos[] = {EAGAIN, EBUSY, EINTR};
    for (int i = 0; i < 3; i++) {
        ca_backend *be = open_backend(uring);
        conn a;
        open_conn(be, &a);
        settle(be);
        say(&a, "one");
        fault_syscall(errnos[i]);
        (void)uring->wait(be, 0);
        fault_syscall(0);
        CHECK(await(be) == &a.op && heard(be, a.ours, "one"));
        CHECK(count_rings() == 1);
        close_conn(be, &a);
        uring->close(be);
    }
}

static void
test_who_holds_many_chunks_does_not_starve_others(void)
{
    ca_backend *be = open_backend(uring);
    conn greedy, modest;
    open_conn(be, &greedy);
    open_conn(be, &modest);
    settle(be);
    size_t sent = 0, got = 0;
    /* Nobody takes it, turn after turn. */
    for (int i = 0; i < 4 * CA_CHUNKS; i++) {
        sent += write(greedy.peer, "x", 1) == 1;
        (void)look(be);
    }
    say(&modest, "please");
    bool served = false;
    for (int i = 0; i < 10 && !served; i++) {
        ca_dnode done;
        patient_turn(be, CA_NS_PER_S, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            if (op == &modest.op) {
                served = heard(be, modest.ours, "please");
            }
        }
    }
    CHECK(served);
    while (got < sent) {
        REQUIRE(await(be) == &greedy.op);
        ptrdiff_t n = uring->recv(be, greedy.ours, room, ROOM, NULL);
        REQUIRE(n > 0);
        got += (size_t)n;
    }
    CHECK(got == sent && look(be) == 0);
    close_conn(be, &greedy);
    close_conn(be, &modest);
    uring->close(be);
}

static void
test_paused_connections_hold_no_chunks(void)
{
    static conn conns[MANY];
    ca_backend *be = open_backend(uring);
    for (int i = 0; i < MANY; i++) {
        open_conn(be, &conns[i]);
        settle(be);
        say(&conns[i], "kept");
        (void)await(be);
        uring->cancel(be, &conns[i].op);
    }
    check_served(be, "free");
    for (int i = 0; i < MANY; i++) {
        CHECK(uring->arm(be, &conns[i].op) == 0);
        CHECK(await(be) == &conns[i].op);
        CHECK(heard(be, conns[i].ours, "kept"));
        close_conn(be, &conns[i]);
    }
    uring->close(be);
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
    ca_backend *be = open_backend(uring);
    conn c;
    open_conn(be, &c);
    settle(be);
    CHECK(uring->recv(be, c.ours, NULL, 0, NULL) == -EAGAIN);
    /* Unread bytes: our end is told of a reset. */
    REQUIRE(write(c.ours, "unread", 6) == 6);
    close(c.peer);
    c.peer = -1;
    CHECK(await(be) == &c.op);
    CHECK(uring->recv(be, c.ours, NULL, 0, NULL) == -ECONNRESET);
    CHECK(uring->recv(be, c.ours, room, ROOM, NULL) == -ECONNRESET);
    CHECK(uring->recv(be, c.ours, NULL, 0, NULL) == -EAGAIN);
    close_conn(be, &c);
    uring->close(be);
}

static void
test_a_pause_in_the_same_turn_receives_nothing(void)
{
    ca_backend *be = open_backend(uring);
    conn first, c;
    char got[8] = "";
    open_conn(be, &first);
    settle(be);
    open_conn(be, &c);
    say(&c, "theirs");
    uring->cancel(be, &c.op);
    settle(be);
    CHECK(read(c.ours, got, sizeof(got)) == 6 && strcmp(got, "theirs") == 0);
    CHECK(uring->arm(be, &c.op) == 0);
    uring->cancel(be, &c.op);
    CHECK(uring->arm(be, &c.op) == 0);
    say(&c, "ours");
    CHECK(await(be) == &c.op && heard(be, c.ours, "ours"));
    close_conn(be, &first);
    close_conn(be, &c);
    uring->close(be);
}

static void
test_a_signal_ends_a_wait_and_loses_nothing(void)
{
    ca_backend *be = open_backend(uring);
    pthread_t self = pthread_self(), thread;
    struct sigaction action = {.sa_handler = on_signal};
    REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0);
    conn a;
    open_conn(be, &a);
    settle(be);
    REQUIRE(pthread_create(&thread, NULL, interrupt_later, &self) == 0);
    CHECK(uring->wait(be, 10 * CA_NS_PER_S) == -EINTR);
    pthread_join(thread, NULL);
    say(&a, "one");
    CHECK(await(be) == &a.op && heard(be, a.ours, "one"));
    close_conn(be, &a);
    uring->close(be);
}

static void
test_looking_with_nothing_there_needs_no_system_call(void)
{
    ca_backend *be = open_backend(uring);
    conn a;
    open_conn(be, &a);
    settle(be);
    settle(be);
    int before = fault_syscall_count();
    CHECK(look(be) == 0);
    CHECK(fault_syscall_count() == before);
    say(&a, "one");
    CHECK(look(be) == 1 && heard(be, a.ours, "one"));
    close_conn(be, &a);
    uring->close(be);
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
    RUN_ROWS(test_bytes_come_once_and_in_order);
    RUN_ROWS(test_what_is_not_taken_finishes_again);
    RUN_ROWS(test_the_end_comes_behind_the_bytes);
    RUN_ROWS(test_what_came_before_a_pause_comes_after_it);
    RUN_ROWS(test_a_pause_leaves_to_the_socket_what_comes_in_it);
    RUN_ROWS(test_becoming_poll_in_loses_nothing);
    RUN_ROWS(test_a_closed_socket_is_let_go_at_once);
    RUN_ROWS(test_a_reused_number_inherits_nothing);
    RUN_ROWS(test_large_and_small_messages_alternate);
    RUN_ROWS(test_more_connections_than_chunks_are_all_served);
    RUN_ROWS(test_both_directions_and_other_kinds_go_together);
    RUN_ROWS(test_other_descriptors_are_refused_or_watched_as_poll_in);
    RUN_ROWS(test_a_child_and_its_parent_part_company);
    RUN_ROWS(test_another_thread_goes_on_where_the_first_stopped);
    RUN_ROWS(test_another_thread_may_arm_and_cancel);
    RUN_ROWS(test_arming_without_memory_can_be_repeated);
    if (row_refused(uring)) {
        return check_report("test_receive");
    }
    RUN(test_a_ring_is_made_for_the_first_source_and_goes_with_the_backend);
    RUN(test_a_ring_that_cannot_be_made_leaves_it_to_epoll);
    RUN(test_a_ring_that_breaks_leaves_it_to_epoll_and_loses_nothing);
    RUN(test_a_ring_that_is_short_of_something_is_kept);
    RUN(test_who_holds_many_chunks_does_not_starve_others);
    RUN(test_paused_connections_hold_no_chunks);
    RUN(test_an_error_received_ahead_is_told_to_who_sends);
    RUN(test_a_pause_in_the_same_turn_receives_nothing);
    RUN(test_a_signal_ends_a_wait_and_loses_nothing);
    RUN(test_looking_with_nothing_there_needs_no_system_call);
    RUN(test_the_reactor_receives_forgets_and_changes_kinds);
    return check_report("test_receive");
}
