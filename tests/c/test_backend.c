/* test_backend.c - every row of the table keeps the contract of backend.h:
 * what finishes when, and what becomes of numbers that are closed and reused.
 */
#include "rows.h"

#include <errno.h>

enum { NMANY = 300 };                  /* more than a first event buffer */

static void
test_rows_are_found_by_name(void)
{
    CHECK(ca_backend_find("auto") == ca_backend_at(0));
    CHECK(ca_backend_find("epoll") == &ca_backend_epoll);
    CHECK(ca_backend_find("poll") == &ca_backend_poll);
    CHECK(ca_backend_find("io_uring") == &ca_backend_uring);
    CHECK(ca_backend_find("kqueue") == NULL);
    CHECK(ca_backend_find("") == NULL);
    CHECK(ca_backend_at(0) == &ca_backend_epoll);
    CHECK(ca_backend_at(1) == &ca_backend_poll);
    CHECK(ca_backend_at(2) == &ca_backend_uring);
    CHECK(ca_backend_at(3) == NULL);
    CHECK(ca_backend_at(99) == NULL);
    CHECK(ca_backend_at(-1) == NULL);
}

static void
test_a_readable_pipe_finishes_in_every_wait_until_cancelled(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    ca_dnode done;
    CHECK(vt->arm(be, &op) == 0);
    CHECK(op.armed);
    CHECK(look(be) == 0);
    put_byte(p.w);
    for (int i = 0; i < 3; i++) {
        turn(be, CA_CLOCK_NEVER, &done);
        CHECK(take(&done) == &op);
        CHECK(take(&done) == NULL);
    }
    take_byte(p.r);
    CHECK(look(be) == 0);
    put_byte(p.w);
    vt->cancel(be, &op);
    CHECK(!op.armed);
    CHECK(look(be) == 0);
    vt->cancel(be, &op);
    CHECK(vt->arm(be, &op) == 0);
    CHECK(look(be) == 1);
    vt->close(be);
    CHECK(!op.armed);
    close_pipe(p);
}

static void
test_both_directions_finish_reading_before_writing(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int s[2];
    open_pair(s);
    OP(in, CA_OP_POLL_IN, s[0]);
    OP(out, CA_OP_POLL_OUT, s[0]);
    ca_dnode done;
    CHECK(vt->arm(be, &out) == 0);
    CHECK(vt->arm(be, &in) == 0);
    turn(be, 0, &done);
    CHECK(take(&done) == &out);
    CHECK(take(&done) == NULL);
    put_byte(s[1]);
    turn(be, 0, &done);
    CHECK(take(&done) == &in);
    CHECK(take(&done) == &out);
    CHECK(take(&done) == NULL);
    fill(s[0]);
    turn(be, 0, &done);
    CHECK(take(&done) == &in);
    CHECK(take(&done) == NULL);
    vt->close(be);
    close(s[0]);
    close(s[1]);
}

static void
test_cancelling_one_direction_keeps_the_other(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int s[2];
    open_pair(s);
    OP(in, CA_OP_POLL_IN, s[0]);
    OP(out, CA_OP_POLL_OUT, s[0]);
    ca_dnode done;
    put_byte(s[1]);
    CHECK(vt->arm(be, &in) == 0);
    CHECK(vt->arm(be, &out) == 0);
    vt->cancel(be, &out);
    CHECK(in.armed && !out.armed);
    turn(be, 0, &done);
    CHECK(take(&done) == &in);
    CHECK(take(&done) == NULL);
    CHECK(vt->arm(be, &out) == 0);
    vt->cancel(be, &in);
    turn(be, 0, &done);
    CHECK(take(&done) == &out);
    CHECK(take(&done) == NULL);
    vt->cancel(be, &out);
    CHECK(look(be) == 0);
    vt->close(be);
    close(s[0]);
    close(s[1]);
}

static void
test_a_cancelled_direction_does_not_end_waits(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int s[2];
    open_pair(s);
    OP(in, CA_OP_POLL_IN, s[0]);
    OP(out, CA_OP_POLL_OUT, s[0]);
    CHECK(vt->arm(be, &in) == 0);
    CHECK(vt->arm(be, &out) == 0);
    CHECK(look(be) == 1);
    vt->cancel(be, &out);
    CHECK(count_short_waits(be, 3) == 0);
    vt->close(be);
    close(s[0]);
    close(s[1]);
}

static void
test_a_hang_up_finishes_whatever_is_armed(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    OP(reader, CA_OP_POLL_IN, p.r);
    OP(writer, CA_OP_POLL_OUT, q.w);
    OP(odd, CA_OP_POLL_IN, q.w);
    fill(q.w);
    CHECK(vt->arm(be, &reader) == 0);
    CHECK(vt->arm(be, &writer) == 0);
    CHECK(vt->arm(be, &odd) == 0);
    CHECK(look(be) == 0);
    close(p.w);
    close(q.r);
    CHECK(look(be) == 3);
    vt->cancel(be, &odd);
    CHECK(look(be) == 2);
    vt->close(be);
    close(p.r);
    close(q.w);
}

static void
test_a_peer_that_closes_its_socket_finishes_both_directions(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int s[2];
    open_pair(s);
    OP(in, CA_OP_POLL_IN, s[0]);
    OP(out, CA_OP_POLL_OUT, s[0]);
    ca_dnode done;
    fill(s[0]);
    CHECK(vt->arm(be, &in) == 0);
    CHECK(vt->arm(be, &out) == 0);
    CHECK(look(be) == 0);
    close(s[1]);
    turn(be, 0, &done);
    CHECK(take(&done) == &in);
    CHECK(take(&done) == &out);
    vt->close(be);
    close(s[0]);
}

static void
test_cancel_and_rearming_take_a_finished_op_off_its_list(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    pipe_fds q = open_pipe();
    OP(a, CA_OP_POLL_IN, p.r);
    OP(b, CA_OP_POLL_IN, q.r);
    ca_dnode done;
    put_byte(p.w);
    put_byte(q.w);
    CHECK(vt->arm(be, &a) == 0);
    CHECK(vt->arm(be, &b) == 0);
    turn(be, 0, &done);
    CHECK(ca_dlist_linked(&a.link) && ca_dlist_linked(&b.link));
    vt->cancel(be, &a);
    CHECK(!ca_dlist_linked(&a.link));
    CHECK(take(&done) == &b);
    CHECK(take(&done) == NULL);
    turn(be, 0, &done);
    CHECK(ca_dlist_linked(&b.link));
    CHECK(vt->arm(be, &b) == 0);
    CHECK(!ca_dlist_linked(&b.link) && ca_dlist_empty(&done));
    /* Between wait and reap: an op cancelled then is dropped. */
    CHECK(vt->wait(be, 0) == 0);
    vt->cancel(be, &b);
    vt->reap(be, &done);
    CHECK(ca_dlist_empty(&done));
    vt->close(be);
    close_pipe(p);
    close_pipe(q);
}

static void
test_an_op_not_yet_taken_is_not_listed_twice(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    ca_dnode done;
    put_byte(p.w);
    CHECK(vt->arm(be, &op) == 0);
    turn(be, 0, &done);
    CHECK(vt->wait(be, 0) == 0);
    vt->reap(be, &done);
    CHECK(take_all(&done) == 1);
    vt->reap(be, &done);
    CHECK(take_all(&done) == 0);
    vt->close(be);
    close_pipe(p);
}

static void
test_closing_takes_finished_ops_off_their_list(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    ca_dnode done;
    put_byte(p.w);
    CHECK(vt->arm(be, &op) == 0);
    turn(be, 0, &done);
    CHECK(ca_dlist_linked(&op.link));
    vt->close(be);
    CHECK(!op.armed && !ca_dlist_linked(&op.link) && ca_dlist_empty(&done));
    close_pipe(p);
}

static void
test_a_second_op_for_the_same_direction_is_refused(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(first, CA_OP_POLL_IN, p.r);
    OP(second, CA_OP_POLL_IN, p.r);
    ca_dnode done;
    put_byte(p.w);
    CHECK(vt->arm(be, &first) == 0);
    CHECK(vt->arm(be, &second) == -EEXIST);
    CHECK(!second.armed);
    vt->cancel(be, &second);
    turn(be, 0, &done);
    CHECK(take(&done) == &first);
    vt->close(be);
    close_pipe(p);
}

static void
test_numbers_that_are_no_descriptor_are_refused(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    close_pipe(p);
    const int numbers[] = {-1, -1000, p.r, 100000, 1 << 30, 0x7fffffff};
    for (int i = 0; i < 6; i++) {
        OP(op, CA_OP_POLL_IN, numbers[i]);
        CHECK(vt->arm(be, &op) == -EBADF);
        CHECK(!op.armed);
        vt->cancel(be, &op);
    }
    CHECK(look(be) == 0);
    vt->close(be);
}

static void
test_files_that_cannot_be_waited_for_are_refused(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    REQUIRE(file >= 0 && directory >= 0);
    OP(a, CA_OP_POLL_IN, file);
    OP(b, CA_OP_POLL_OUT, directory);
    CHECK(vt->arm(be, &a) == -EPERM);
    CHECK(vt->arm(be, &b) == -EPERM);
    CHECK(!a.armed && !b.armed);
    CHECK(look(be) == 0);
    vt->close(be);
    close(file);
    close(directory);
}

static void
test_a_closed_and_reused_number_can_be_armed_again(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds old = open_pipe();
    OP(op, CA_OP_POLL_IN, old.r);
    CHECK(vt->arm(be, &op) == 0);
    put_byte(old.w);
    close_pipe(old);
    vt->cancel(be, &op);
    CHECK(look(be) == 0);
    pipe_fds new = open_pipe();
    REQUIRE(new.r == old.r);
    CHECK(vt->arm(be, &op) == 0);
    CHECK(look(be) == 0);
    put_byte(new.w);
    CHECK(look(be) == 1);
    vt->cancel(be, &op);
    CHECK(look(be) == 0);
    vt->close(be);
    close_pipe(new);
}

static void
test_cancel_after_reuse_leaves_other_descriptors_alone(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds old = open_pipe();
    pipe_fds other = open_pipe();
    OP(op, CA_OP_POLL_IN, old.r);
    OP(good, CA_OP_POLL_IN, other.r);
    CHECK(vt->arm(be, &op) == 0);
    CHECK(vt->arm(be, &good) == 0);
    close_pipe(old);
    pipe_fds new = open_pipe();
    REQUIRE(new.r == old.r);
    vt->cancel(be, &op);
    put_byte(new.w);
    CHECK(look(be) == 0);
    put_byte(other.w);
    CHECK(look(be) == 1);
    vt->close(be);
    close_pipe(new);
    close_pipe(other);
}

/* An event that was found before a number was closed, reused and armed again
 * (by another thread, between wait and reap) is not the new file's. */
static void
test_an_event_found_before_the_reuse_is_dropped(const ca_backend_vt *vt)
{
    for (int cancelled = 0; cancelled < 2; cancelled++) {
        ca_backend *be = open_backend(vt);
        pipe_fds old = open_pipe();
        OP(op, CA_OP_POLL_IN, old.r);
        ca_dnode done;
        ca_dlist_init(&done);
        CHECK(vt->arm(be, &op) == 0);
        put_byte(old.w);
        CHECK(vt->wait(be, 0) == 0);
        close_pipe(old);
        pipe_fds new = open_pipe();
        REQUIRE(new.r == old.r);
        if (cancelled) {
            vt->cancel(be, &op);
        }
        CHECK(vt->arm(be, &op) == 0);
        vt->reap(be, &done);
        CHECK(ca_dlist_empty(&done));
        CHECK(count_short_waits(be, 3) == 0);
        vt->close(be);
        close_pipe(new);
    }
}

static void
test_arming_an_armed_op_heals_a_reused_number(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    int s[2], t[2];
    open_pair(s);
    OP(in, CA_OP_POLL_IN, s[0]);
    OP(out, CA_OP_POLL_OUT, s[0]);
    ca_dnode done;
    CHECK(vt->arm(be, &in) == 0);
    CHECK(vt->arm(be, &in) == 0);
    CHECK(vt->arm(be, &out) == 0);
    close(s[0]);
    close(s[1]);
    open_pair(t);
    REQUIRE(t[0] == s[0]);
    put_byte(t[1]);
    CHECK(vt->arm(be, &in) == 0);
    turn(be, 0, &done);
    CHECK(take(&done) == &in);
    CHECK(take(&done) == &out);
    CHECK(take(&done) == NULL);
    vt->close(be);
    close(t[0]);
    close(t[1]);
}

static void
test_arming_again_fails_without_change_when_the_number_is_closed(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &op) == 0);
    close_pipe(p);
    CHECK(vt->arm(be, &op) == -EBADF);
    CHECK(op.armed);
    vt->cancel(be, &op);
    CHECK(!op.armed);
    CHECK(look(be) == 0);
    vt->close(be);
}

static void
test_a_lingering_registration_does_not_spin_for_ever(const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds old = open_pipe();
    int copy = dup(old.r);
    OP(op, CA_OP_POLL_IN, old.r);
    CHECK(vt->arm(be, &op) == 0);
    put_byte(old.w);
    close(old.r);
    /* The file lives on in `copy`; its registration is out of reach. */
    vt->cancel(be, &op);
    CHECK(count_short_waits(be, 10) <= 3);
    CHECK(count_short_waits(be, 5) == 0);
    vt->close(be);
    close(copy);
    close(old.w);
}

static void
test_events_of_an_earlier_file_do_not_reach_the_new_one(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds old = open_pipe();
    pipe_fds other = open_pipe();
    int copy = dup(old.r);
    OP(op, CA_OP_POLL_IN, old.r);
    OP(good, CA_OP_POLL_IN, other.r);
    ca_dnode done;
    CHECK(vt->arm(be, &op) == 0);
    CHECK(vt->arm(be, &good) == 0);
    close(old.r);
    put_byte(old.w);
    pipe_fds new = open_pipe();
    REQUIRE(new.r == old.r);
    CHECK(vt->arm(be, &op) == 0);
    /* The old file is readable, the new one is not. */
    CHECK(count_short_waits(be, 10) <= 3);
    CHECK(count_short_waits(be, 5) == 0);
    put_byte(new.w);
    turn(be, CA_CLOCK_NEVER, &done);
    CHECK(take(&done) == &op);
    CHECK(take(&done) == NULL);
    put_byte(other.w);
    turn(be, CA_CLOCK_NEVER, &done);
    CHECK(take_all(&done) == 2);
    vt->close(be);
    close(copy);
    close(old.w);
    close_pipe(new);
    close_pipe(other);
}

static void
test_a_number_that_becomes_its_old_file_again_can_be_armed(
    const ca_backend_vt *vt)
{
    ca_backend *be = open_backend(vt);
    pipe_fds p = open_pipe();
    int copy = dup(p.r);
    OP(op, CA_OP_POLL_IN, p.r);
    CHECK(vt->arm(be, &op) == 0);
    close(p.r);
    vt->cancel(be, &op);
    REQUIRE(dup2(copy, p.r) == p.r);
    put_byte(p.w);
    CHECK(vt->arm(be, &op) == 0);
    CHECK(look(be) == 1);
    vt->cancel(be, &op);
    CHECK(count_short_waits(be, 3) == 0);
    vt->close(be);
    close(copy);
    close_pipe(p);
}

static void
test_many_descriptors_all_finish(const ca_backend_vt *vt)
{
    static pipe_fds pipes[NMANY];
    static ca_op ops[NMANY];
    ca_backend *be = open_backend(vt);
    for (int i = 0; i < NMANY; i++) {
        pipes[i] = open_pipe();
        ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
        CHECK(vt->arm(be, &ops[i]) == 0);
        put_byte(pipes[i].w);
    }
    ca_dnode done;
    ca_dlist_init(&done);
    /* All of them within a few waits, however small the buffer is ... */
    for (int i = 0; i < 5; i++) {
        CHECK(vt->wait(be, 0) == 0);
        vt->reap(be, &done);
    }
    CHECK(take_all(&done) == NMANY);
    /* ... and in a single one once it has grown. */
    CHECK(look(be) == NMANY);
    for (int i = 0; i < NMANY; i += 2) {
        vt->cancel(be, &ops[i]);
    }
    turn(be, 0, &done);
    int n = 0;
    for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
        CHECK((op - ops) % 2 == 1);
        n++;
    }
    CHECK(n == NMANY / 2);
    vt->close(be);
    for (int i = 0; i < NMANY; i++) {
        CHECK(!ops[i].armed);
        close_pipe(pipes[i]);
    }
}

static void
test_descriptors_of_different_age_do_not_disturb_each_other(
    const ca_backend_vt *vt)
{
    enum { N = 6 };
    pipe_fds pipes[N];
    ca_op ops[N];
    ca_backend *be = open_backend(vt);
    for (int i = 0; i < N; i++) {
        pipes[i] = open_pipe();
        ca_op_init(&ops[i], CA_OP_POLL_IN, pipes[i].r);
        put_byte(pipes[i].w);
        /* Registered i + 1 times in all. */
        for (int k = 0; k < i; k++) {
            CHECK(vt->arm(be, &ops[i]) == 0);
            vt->cancel(be, &ops[i]);
        }
        CHECK(vt->arm(be, &ops[i]) == 0);
    }
    const int leaving[N] = {0, 4, 1, 5, 3, 2};
    for (int i = 0; i < N; i++) {
        CHECK(look(be) == N - i);
        vt->cancel(be, &ops[leaving[i]]);
    }
    CHECK(count_short_waits(be, 3) == 0);
    vt->close(be);
    for (int i = 0; i < N; i++) {
        close_pipe(pipes[i]);
    }
}

static void
test_opening_and_closing_leaks_no_descriptor(const ca_backend_vt *vt)
{
    int before = count_open_fds();
    for (int i = 0; i < 10; i++) {
        ca_backend *be = open_backend(vt);
        CHECK(look(be) == 0);
        vt->close(be);
    }
    CHECK(count_open_fds() == before);
}

int
main(void)
{
    RUN(test_rows_are_found_by_name);
    RUN_ROWS(test_a_readable_pipe_finishes_in_every_wait_until_cancelled);
    RUN_ROWS(test_both_directions_finish_reading_before_writing);
    RUN_ROWS(test_cancelling_one_direction_keeps_the_other);
    RUN_ROWS(test_a_cancelled_direction_does_not_end_waits);
    RUN_ROWS(test_a_hang_up_finishes_whatever_is_armed);
    RUN_ROWS(test_a_peer_that_closes_its_socket_finishes_both_directions);
    RUN_ROWS(test_cancel_and_rearming_take_a_finished_op_off_its_list);
    RUN_ROWS(test_an_op_not_yet_taken_is_not_listed_twice);
    RUN_ROWS(test_closing_takes_finished_ops_off_their_list);
    RUN_ROWS(test_a_second_op_for_the_same_direction_is_refused);
    RUN_ROWS(test_numbers_that_are_no_descriptor_are_refused);
    RUN_ROWS(test_files_that_cannot_be_waited_for_are_refused);
    RUN_ROWS(test_a_closed_and_reused_number_can_be_armed_again);
    RUN_ROWS(test_cancel_after_reuse_leaves_other_descriptors_alone);
    RUN_ROWS(test_an_event_found_before_the_reuse_is_dropped);
    RUN_ROWS(test_arming_an_armed_op_heals_a_reused_number);
    RUN_ROWS(test_arming_again_fails_without_change_when_the_number_is_closed);
    RUN_ROWS(test_a_lingering_registration_does_not_spin_for_ever);
    RUN_ROWS(test_events_of_an_earlier_file_do_not_reach_the_new_one);
    RUN_ROWS(test_a_number_that_becomes_its_old_file_again_can_be_armed);
    RUN_ROWS(test_many_descriptors_all_finish);
    RUN_ROWS(test_descriptors_of_different_age_do_not_disturb_each_other);
    RUN_ROWS(test_opening_and_closing_leaks_no_descriptor);
    return check_report("test_backend");
}
