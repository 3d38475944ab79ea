/* test_receive.c - ops of kind RECV: the contract, on every row. */
#include "conns.h"
#include "fault.h"

#include "backend/uring_chunks.h"

#include <pthread.h>

enum { MANY = 3 * CA_CHUNKS };

static void
test_bytes_come_once_and_in_order(const ca_backend_vt *vt)
{
    set_up(vt);
    CHECK(look(be) == 0);
    say(&a, "one");
    CHECK(await() == &a.op);
    say(&a, "two");
    char all[16] = "";
    strcat(all, hear(&a));
    if (strcmp(all, "one") == 0) {
        CHECK(await() == &a.op);
        strcat(all, hear(&a));
    }
    CHECK(strcmp(all, "onetwo") == 0);
    CHECK(look(be) == 0 && heard(&a, "-"));
    tear_down();
}

static void
test_what_is_not_taken_finishes_again(const ca_backend_vt *vt)
{
    char *none = NULL, few[4] = "";
    set_up(vt);
    say(&a, "abcdefgh");
    for (int i = 0; i < 3; i++) {
        CHECK(await() == &a.op);
    }
    for (int i = 0; i < 4; i++) {
        CHECK(await() == &a.op);
        CHECK(vt->recv(be, a.ours, few, 2, i < 2 ? NULL : &none) == 2);
        CHECK((i < 2 ? few : none)[0] == 'a' + 2 * i);
    }
    CHECK(look(be) == 0);
    tear_down();
}

static void
test_the_end_comes_behind_the_bytes(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "bye");
    close_peer(&a);
    CHECK(await() == &a.op && heard(&a, "bye"));
    for (int i = 0; i < 3; i++) {
        CHECK(await() == &a.op && heard(&a, "."));
    }
    tear_down();
}

static void
test_what_came_before_a_pause_comes_after_it(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "before ");
    CHECK(await() == &a.op);
    vt->cancel(be, &a.op);
    say(&a, "meanwhile ");
    CHECK(look(be) == 0 && look(be) == 0);
    CHECK(vt->arm(be, &a.op) == 0);
    say(&a, "after");
    char all[64] = "";
    while (strlen(all) < strlen("before meanwhile after")) {
        REQUIRE(await() == &a.op);
        strcat(all, hear(&a));
    }
    CHECK(strcmp(all, "before meanwhile after") == 0);
    tear_down();
}

static void
test_a_pause_leaves_to_the_socket_what_comes_in_it(const ca_backend_vt *vt)
{
    char got[8] = "";
    set_up(vt);
    vt->cancel(be, &a.op);
    say(&a, "theirs");
    CHECK(look(be) == 0 && look(be) == 0);
    CHECK(read(a.ours, got, sizeof(got)) == 6 && strcmp(got, "theirs") == 0);
    CHECK(vt->arm(be, &a.op) == 0);
    CHECK(serves(&a, "ours"));
    tear_down();
}

static void
test_becoming_poll_in_loses_nothing(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "kept");
    CHECK(await() == &a.op);
    vt->cancel(be, &a.op);
    a.op.kind = CA_OP_POLL_IN;
    CHECK(vt->arm(be, &a.op) == 0);
    CHECK(await() == &a.op && heard(&a, "kept"));
    CHECK(serves(&a, "more"));
    CHECK(look(be) == 0);
    tear_down();
}

static void
test_a_closed_socket_is_let_go_at_once(const ca_backend_vt *vt)
{
    set_up(vt);
    close_ours(&a);
    CHECK(peer_sees_the_end(&a));
    vt->close(be);
    close(b.ours);
    CHECK(peer_sees_the_end(&b));
    close_peer(&a);
    close_peer(&b);
}

/* As a program does that closes what is not its own: nothing of the old
 * connection may come out of the new one with the same number. */
static void
test_a_reused_number_inherits_nothing(const ca_backend_vt *vt)
{
    for (int how = 0; how < 4; how++) {
        set_up(vt);
        say(&a, "secret");
        CHECK(await() == &a.op);
        if (how >= 2) {
            vt->cancel(be, &a.op);
        }
        close(a.ours);
        if (how % 2 == 1) {
            (void)look(be);
        }
        int fds[2];
        open_pair(fds);
        REQUIRE(fds[0] == a.ours);
        conn new = {.ours = fds[0], .peer = fds[1]};
        ca_op *op = how >= 2 ? &new.op : &a.op;
        if (how >= 2) {
            ca_op_init(op, CA_OP_RECV, new.ours);
        }
        CHECK(vt->arm(be, op) == 0);
        settle();
        say(&new, "public");
        CHECK(await() == op && heard(&new, "public"));
        CHECK(look(be) == 0);
        vt->cancel(be, op);
        forget(new.ours);
        close(new.ours);
        a.ours = -1;
        CHECK(peer_sees_the_end(&new));
        close(new.peer);
        tear_down();
    }
}

static void
test_large_and_small_messages_alternate(const ca_backend_vt *vt)
{
    static char sent[200000], got[200000];
    set_up(vt);
    for (int round = 0; round < 60; round++) {
        size_t size = round % 20 < 3 ? sizeof(sent) : 10;
        for (size_t i = 0; i < size; i++) {
            sent[i] = (char)rand();
        }
        size_t out = 0, in = 0;
        while (in < size) {
            ssize_t n = out < size ? write(a.peer, sent + out, size - out) : 0;
            out += n > 0 ? (size_t)n : 0;
            REQUIRE(await() == &a.op);
            char *where = NULL;
            ptrdiff_t m = vt->recv(be, a.ours, room, ROOM, &where);
            REQUIRE(m > 0 && in + (size_t)m <= size);
            memcpy(got + in, where, (size_t)m);
            in += (size_t)m;
        }
        CHECK(memcmp(sent, got, size) == 0);
        CHECK(look(be) == 0);
    }
    tear_down();
}

/* More connections than chunks, each with more than one message. */
static void
test_more_connections_than_chunks_are_all_served(const ca_backend_vt *vt)
{
    static conn conns[MANY];
    static int counts[MANY];
    set_up(vt);
    memset(counts, 0, sizeof(counts));
    for (int i = 0; i < MANY; i++) {
        open_conn(&conns[i]);
    }
    settle();
    for (int i = 0; i < MANY; i++) {
        say(&conns[i], "0123456789");
    }
    int left = MANY, turns = 0;
    while (left > 0 && turns++ < 1000) {
        ca_dnode done;
        patient_turn(CA_NS_PER_S, &done);
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
        close_conn(&conns[i]);
    }
    tear_down();
}

static void
test_both_directions_and_other_kinds_go_together(const ca_backend_vt *vt)
{
    set_up(vt);
    pipe_fds p = open_pipe();
    OP(writer, CA_OP_POLL_OUT, a.ours);
    OP(reader, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &writer) == 0 && vt->arm(be, &reader) == 0);
    settle();
    CHECK(look(be) == 1 && look(be) == 1);
    say(&a, "x");
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
    CHECK(first == &a.op || take(&done) == &a.op);
    (void)take_all(&done);
    vt->cancel(be, &writer);
    CHECK(heard(&a, "x"));
    CHECK(look(be) == 1);
    take_byte(p.r);
    CHECK(look(be) == 0);
    CHECK(is_quiet());
    close_pipe(p);
    tear_down();
}

static void
test_other_descriptors_are_refused_or_watched_as_poll_in(
    const ca_backend_vt *vt)
{
    set_up(vt);
    pipe_fds p = open_pipe();
    OP(reader, CA_OP_RECV, p.r);
    OP(nothing, CA_OP_RECV, 9999);
    CHECK(vt->arm(be, &nothing) == -EBADF);
    CHECK(vt->arm(be, &reader) == 0);
    put_byte(p.w);
    CHECK(await() == &reader);
    char byte;
    CHECK(vt->recv(be, p.r, &byte, 1, NULL) == -ENOTSOCK);
    vt->cancel(be, &reader);
    CHECK(look(be) == 0);
    forget(p.r);
    forget(9999);
    close_pipe(p);
    tear_down();
}

static void
test_a_child_and_its_parent_part_company(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "kept");
    CHECK(await() == &a.op);
    pid_t pid = start_child();
    if (pid == 0) {
        CHECK(vt->after_fork(be) == 0);
        vt->cancel(be, &a.op);
        close(a.ours);
        settle();
        CHECK(serves(&b, "child"));
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    CHECK(await() == &a.op && heard(&a, "kept"));
    CHECK(serves(&a, "on"));
    pid = start_child();
    if (pid == 0) {
        vt->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    close_conn(&b);
    CHECK(serves(&a, "still"));
    tear_down();
}

static void
run_elsewhere(void *(*function)(void *))
{
    pthread_t thread;
    REQUIRE(pthread_create(&thread, NULL, function, NULL) == 0);
    pthread_join(thread, NULL);
}

static void *
go_on_elsewhere(void *arg)
{
    CHECK(await() == &a.op && heard(&a, "kept"));
    for (int i = 0; i < 3; i++) {
        CHECK(serves(&b, "new"));
    }
    return arg;
}

static void
test_another_thread_goes_on_where_the_first_stopped(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "kept");
    CHECK(await() == &a.op);
    for (int i = 0; i < 3; i++) {
        run_elsewhere(go_on_elsewhere);
        say(&a, "kept");
    }
    CHECK(await() == &a.op && heard(&a, "kept"));
    tear_down();
}

/* Against the rules of who calls whom, but not to crash or to mix up. */
static void *
meddle(void *arg)
{
    be->vt->cancel(be, &a.op);
    CHECK(be->vt->arm(be, &a.op) == 0);
    be->vt->cancel(be, &b.op);
    return arg;
}

static void
test_another_thread_may_arm_and_cancel(const ca_backend_vt *vt)
{
    set_up(vt);
    say(&a, "one");
    CHECK(await() == &a.op);
    run_elsewhere(meddle);
    CHECK(await() == &a.op && heard(&a, "one"));
    CHECK(serves(&a, "two"));
    settle();
    say(&b, "no");
    CHECK(look(be) == 0);
    tear_down();
}

static void
test_arming_without_memory_can_be_repeated(const ca_backend_vt *vt)
{
    int fds[2];
    for (int n = 0; n < 8; n++) {
        be = open_backend(vt);
        open_pair(fds);
        a = (conn){.ours = fds[0], .peer = fds[1]};
        ca_op_init(&a.op, CA_OP_RECV, a.ours);
        fault_allocation(n);
        int err = vt->arm(be, &a.op);
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
            CHECK(err == -ENOMEM && !a.op.armed);
            CHECK(vt->arm(be, &a.op) == 0);
        }
        settle();
        CHECK(serves(&a, "x"));
        tear_down();
    }
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
    return check_report("test_receive");
}
