/* test_uring.c - the row "io_uring" beyond the contract of all rows: jobs on
 * files, and what becomes of them when the kernel refuses, forks or closes.
 *
 * The refusals come first: once a ring was to be had, nobody asks again.
 */
#include "fault.h"
#include "rows.h"

#include "backend/uring_ring.h"
#include "reactor/reactor.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

enum { BLOCK = 64, NMANY = 1000 };

static const ca_backend_vt *const uring = &ca_backend_uring;

/* Whether the machine that tests has rings at all. */
static bool
have_rings(void)
{
    ca_uring ring;
    int err = ca_uring_open(&ring, CA_URING_FREE, 4, 0);
    ca_uring_close(&ring);
    return err == 0;
}

/* A file that is gone when closed, with NMANY blocks, each full of its number
 * modulo 256. */
static int
make_file(void)
{
    char path[] = "/tmp/casyncio-test-XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0 && unlink(path) == 0);
    char block[BLOCK];
    for (int i = 0; i < NMANY; i++) {
        memset(block, i, sizeof(block));
        REQUIRE(write(fd, block, sizeof(block)) == BLOCK);
    }
    return fd;
}

static ca_job
job_for(ca_op_kind kind, int fd, char *buf, uint32_t nbytes, int64_t offset)
{
    ca_job job = {.buf = buf, .nbytes = nbytes, .offset = offset};
    ca_op_init(&job.op, kind, fd);
    return job;
}

/* Take jobs until `n` have come; a job is the only thing that comes. */
static void
await_jobs(ca_backend *be, int n)
{
    ca_dnode done;
    ca_dlist_init(&done);
    while (n > 0) {
        int err = be->vt->wait(be, 10 * CA_NS_PER_S);
        REQUIRE(err == 0 || err == -EINTR);
        be->vt->reap(be, &done);
        for (ca_op *op = take(&done); op != NULL; op = take(&done)) {
            CHECK(ca_op_is_job(op) && !op->armed);
            n--;
        }
    }
    CHECK(n == 0);
}

static void
await_job(ca_backend *be, ca_job *job)
{
    ca_op_init(&job->op, job->op.kind, job->op.fd);
    REQUIRE(be->vt->submit(be, job) == 0);
    CHECK(job->op.armed);
    await_jobs(be, 1);
}

/* ---- refusals ---- */

/* From now on io_uring's system call answers with `err` in this process. */
static void
refuse(int number, int err)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)err),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
    REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void
test_each_refusal_is_told_and_leaves_nothing_behind(void)
{
    const int errnos[] = {EPERM, ENOSYS, ENOMEM, EINVAL};
    const int numbers[] = {URING_SYS_SETUP, URING_SYS_ENTER};
    for (int i = 0; i < 8; i++) {
        pid_t pid = start_child();
        if (pid == 0) {
            int before = count_open_fds();
            ca_backend *be = NULL;
            refuse(numbers[i / 4], errnos[i % 4]);
            CHECK(uring->open(&be) == -errnos[i % 4]);
            CHECK(be == NULL);
            CHECK(count_open_fds() == before);
            be = open_backend(&ca_backend_epoll);
            CHECK(look(be) == 0);
            be->vt->close(be);
            end_child();
        }
        CHECK(child_succeeded(pid));
    }
}

static void
test_a_ring_that_cannot_be_made_later_refuses_jobs_only(void)
{
    pid_t pid = start_child();
    if (pid == 0) {
        ca_backend *be = open_backend(uring);
        int fd = make_file();
        char buf[BLOCK];
        pipe_fds p = open_pipe();
        OP(op, CA_OP_POLL_IN, p.r);
        ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
        refuse(URING_SYS_SETUP, ENOMEM);
        CHECK(uring->arm(be, &op) == 0);
        put_byte(p.w);
        CHECK(uring->submit(be, &job) == -ENOMEM);
        CHECK(!job.op.armed);
        CHECK(look(be) == 1);
        uring->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
}

static void
test_a_ring_that_breaks_gives_its_jobs_back(void)
{
    pid_t pid = start_child();
    if (pid == 0) {
        ca_backend *be = open_backend(uring);
        int fd = make_file();
        char buf[BLOCK];
        ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
        await_job(be, &job);
        CHECK(job.result == BLOCK);
        refuse(URING_SYS_ENTER, EPERM);
        CHECK(uring->submit(be, &job) == 0);
        await_jobs(be, 1);
        CHECK(job.result == -ECANCELED);
        CHECK(uring->submit(be, &job) == -EOPNOTSUPP);
        pipe_fds p = open_pipe();
        OP(op, CA_OP_POLL_IN, p.r);
        CHECK(uring->arm(be, &op) == 0);
        put_byte(p.w);
        CHECK(look(be) == 1);
        uring->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
}

/* ---- jobs ---- */

static void
test_other_rows_take_no_jobs(void)
{
    CHECK(ca_backend_epoll.submit == NULL);
    CHECK(ca_backend_poll.submit == NULL);
}

static void
test_a_ring_is_made_for_the_first_job_only(void)
{
    int before = count_open_fds();
    ca_backend *be = open_backend(uring);
    CHECK(look(be) == 0);
    CHECK(count_open_fds() == before + 1);
    int fd = make_file();
    char buf[BLOCK];
    ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
    await_job(be, &job);
    CHECK(count_open_fds() == before + 3);
    uring->close(be);
    close(fd);
    CHECK(count_open_fds() == before);
}

static void
test_reading_writing_and_syncing(void)
{
    ca_backend *be = open_backend(uring);
    int fd = make_file();
    char buf[2 * BLOCK], text[] = "hello";
    ca_job job = job_for(CA_OP_READ, fd, buf, 2 * BLOCK, 7 * BLOCK);
    await_job(be, &job);
    CHECK(job.result == 2 * BLOCK && buf[0] == 7 && buf[2 * BLOCK - 1] == 8);
    job = job_for(CA_OP_WRITE, fd, text, 5, NMANY * BLOCK);
    await_job(be, &job);
    CHECK(job.result == 5);
    /* Across the end: what is there; at the end: nothing. */
    job = job_for(CA_OP_READ, fd, buf, 2 * BLOCK, NMANY * BLOCK);
    await_job(be, &job);
    CHECK(job.result == 5 && memcmp(buf, text, 5) == 0);
    job.offset += 5;
    await_job(be, &job);
    CHECK(job.result == 0);
    job = job_for(CA_OP_FSYNC, fd, NULL, 0, 0);
    await_job(be, &job);
    CHECK(job.result == 0);
    job = job_for(CA_OP_FDATASYNC, fd, NULL, 0, 0);
    await_job(be, &job);
    CHECK(job.result == 0);
    /* The file's own position has stayed. */
    CHECK(lseek(fd, 0, SEEK_CUR) == NMANY * BLOCK);
    job = job_for(CA_OP_READ, -1, buf, 1, 0);
    await_job(be, &job);
    CHECK(job.result == -EBADF);
    uring->close(be);
    close(fd);
}

static void
test_more_jobs_than_both_rings_hold_all_finish(void)
{
    static ca_job jobs[NMANY];
    static char bufs[NMANY][BLOCK];
    ca_backend *be = open_backend(uring);
    int fd = make_file();
    pipe_fds p = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    CHECK(uring->arm(be, &op) == 0);
    for (int i = 0; i < NMANY; i++) {
        jobs[i] = job_for(CA_OP_READ, fd, bufs[i], BLOCK, (int64_t)i * BLOCK);
        CHECK(uring->submit(be, &jobs[i]) == 0);
    }
    await_jobs(be, NMANY);
    int wrong = 0;
    for (int i = 0; i < NMANY; i++) {
        wrong += jobs[i].result != BLOCK || bufs[i][0] != (char)i ||
                 bufs[i][BLOCK - 1] != (char)i;
    }
    CHECK(wrong == 0);
    put_byte(p.w);
    CHECK(look(be) == 1);
    uring->close(be);
    close(fd);
    close_pipe(p);
}

static void
test_a_job_does_not_keep_a_ready_descriptor_waiting(void)
{
    ca_backend *be = open_backend(uring);
    pipe_fds p = open_pipe(), q = open_pipe();
    OP(op, CA_OP_POLL_IN, p.r);
    char buf[4];
    REQUIRE(fcntl(q.r, F_SETFL, 0) == 0);
    /* An empty pipe: a job that will not finish for now. */
    ca_job job = job_for(CA_OP_READ, q.r, buf, 4, -1);
    CHECK(uring->submit(be, &job) == 0);
    CHECK(uring->arm(be, &op) == 0);
    put_byte(p.w);
    ca_dnode done;
    turn(be, 10 * CA_NS_PER_S, &done);
    CHECK(take(&done) == &op && take(&done) == NULL);
    uring->cancel(be, &op);
    put_byte(q.w);
    await_jobs(be, 1);
    CHECK(job.result == 1 && buf[0] == 'x');
    uring->close(be);
    close_pipe(p);
    close_pipe(q);
}

static void *
put_byte_later(void *fd)
{
    usleep(50000);
    put_byte(*(int *)fd);
    return NULL;
}

static void
test_closing_waits_for_what_has_left(void)
{
    ca_backend *be = open_backend(uring);
    pipe_fds q = open_pipe();
    char buf[4] = "";
    pthread_t thread;
    REQUIRE(fcntl(q.r, F_SETFL, 0) == 0);
    ca_job job = job_for(CA_OP_READ, q.r, buf, 4, -1);
    ca_job unsent = job;
    CHECK(uring->submit(be, &job) == 0);
    CHECK(look(be) == 0);
    CHECK(uring->submit(be, &unsent) == 0);
    REQUIRE(pthread_create(&thread, NULL, put_byte_later, &q.w) == 0);
    uring->close(be);
    CHECK(!job.op.armed && job.result == 1 && buf[0] == 'x');
    CHECK(!unsent.op.armed && unsent.result == -ECANCELED);
    pthread_join(thread, NULL);
    close_pipe(q);
}

typedef struct {
    ca_backend *be;
    ca_job *job;
} other_thread;

static void *
finish_elsewhere(void *arg)
{
    other_thread *self = arg;
    await_jobs(self->be, 1);
    await_job(self->be, self->job);
    return NULL;
}

static void
test_a_job_is_finished_in_whichever_thread_waits(void)
{
    ca_backend *be = open_backend(uring);
    int fd = make_file();
    pipe_fds q = open_pipe();
    char buf[BLOCK], byte[1];
    pthread_t thread;
    REQUIRE(fcntl(q.r, F_SETFL, 0) == 0);
    ca_job slow = job_for(CA_OP_READ, q.r, byte, 1, -1);
    ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
    CHECK(uring->submit(be, &slow) == 0);
    CHECK(look(be) == 0);
    put_byte(q.w);
    other_thread other = {be, &job};
    REQUIRE(pthread_create(&thread, NULL, finish_elsewhere, &other) == 0);
    pthread_join(thread, NULL);
    CHECK(slow.result == 1 && job.result == BLOCK);
    uring->close(be);
    close_pipe(q);
    close(fd);
}

/* A thread that has left jobs with the kernel and ends: they finish, done or
 * undone, and nothing waits for ever. */
static void *
submit_and_end(void *arg)
{
    other_thread *self = arg;
    CHECK(uring->submit(self->be, self->job) == 0);
    CHECK(look(self->be) == 0);
    return NULL;
}

static void
test_a_job_outlives_the_thread_that_sent_it(void)
{
    ca_backend *be = open_backend(uring);
    pipe_fds q = open_pipe();
    char byte[1];
    pthread_t thread;
    REQUIRE(fcntl(q.r, F_SETFL, 0) == 0);
    ca_job job = job_for(CA_OP_READ, q.r, byte, 1, -1);
    other_thread other = {be, &job};
    REQUIRE(pthread_create(&thread, NULL, submit_and_end, &other) == 0);
    pthread_join(thread, NULL);
    put_byte(q.w);
    await_jobs(be, 1);
    CHECK(job.result == 1 || job.result == -ECANCELED || job.result == -EINTR);
    uring->close(be);
    close_pipe(q);
}

static void
test_a_child_gets_its_parents_jobs_back_undone(void)
{
    ca_backend *be = open_backend(uring);
    int fd = make_file();
    pipe_fds q = open_pipe();
    char buf[BLOCK], byte[1] = "";
    REQUIRE(fcntl(q.r, F_SETFL, 0) == 0);
    ca_job slow = job_for(CA_OP_READ, q.r, byte, 1, -1);
    CHECK(uring->submit(be, &slow) == 0);
    CHECK(look(be) == 0);
    pid_t pid = start_child();
    if (pid == 0) {
        ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
        CHECK(uring->after_fork(be) == 0);
        await_jobs(be, 1);
        CHECK(slow.result == -ECANCELED);
        await_job(be, &job);
        CHECK(job.result == BLOCK);
        uring->close(be);
        end_child();
    }
    CHECK(child_succeeded(pid));
    pid = start_child();
    if (pid == 0) {
        uring->close(be);              /* and it does not wait */
        end_child();
    }
    CHECK(child_succeeded(pid));
    put_byte(q.w);
    await_jobs(be, 1);
    CHECK(slow.result == 1 && byte[0] == 'x');
    uring->close(be);
    close_pipe(q);
    close(fd);
}

static void
test_without_a_descriptor_left_jobs_are_refused_for_now(void)
{
    ca_backend *be = open_backend(uring);
    int fd = make_file();
    char buf[BLOCK];
    struct rlimit saved, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    ca_job job = job_for(CA_OP_READ, fd, buf, BLOCK, 0);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    CHECK(uring->submit(be, &job) == -EMFILE);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    await_job(be, &job);
    CHECK(job.result == BLOCK);
    uring->close(be);
    close(fd);
}

/* ---- through the reactor ---- */

static int dropped;

static void
count_dropped(void *owner)
{
    (void)owner;
    dropped++;
}

static void
test_the_reactor_hands_out_owners_of_jobs_and_drops_the_rest(void)
{
    ca_reactor r;
    int fd = make_file(), mine, theirs;
    char buf[2][BLOCK];
    const ca_op *op = NULL;
    void *owner = NULL;
    ca_reactor_job a = {.job = job_for(CA_OP_READ, fd, buf[0], BLOCK, 0)};
    ca_reactor_job b = {.job = job_for(CA_OP_READ, fd, buf[1], BLOCK, 0)};
    /* Their ops have moved, and are on no list yet. */
    ca_op_init(&a.job.op, CA_OP_READ, fd);
    ca_op_init(&b.job.op, CA_OP_READ, fd);
    REQUIRE(ca_reactor_open(&r, uring) == 0);
    CHECK(ca_reactor_does_jobs(&r));
    CHECK(ca_reactor_submit(&r, &a, &mine) == 0);
    while (owner == NULL) {
        (void)ca_reactor_wait(&r, CA_NS_PER_S);
        ca_reactor_reap(&r);
        owner = ca_reactor_next(&r, &op);
    }
    CHECK(owner == &mine && op == &a.job.op && a.job.result == BLOCK);
    CHECK(ca_reactor_submit(&r, &b, &theirs) == 0);
    ca_reactor_close(&r, count_dropped);
    CHECK(dropped == 1 && !b.job.op.armed);
    REQUIRE(ca_reactor_open(&r, &ca_backend_epoll) == 0);
    CHECK(!ca_reactor_does_jobs(&r));
    ca_dlist_init(&a.link);
    CHECK(ca_reactor_submit(&r, &a, &mine) == -EOPNOTSUPP);
    ca_reactor_close(&r, count_dropped);
    CHECK(dropped == 1);
    close(fd);
}

int
main(void)
{
    if (!have_rings()) {
        printf("test_uring: skipped, this machine has no io_uring\n");
        return 0;
    }
    RUN(test_each_refusal_is_told_and_leaves_nothing_behind);
    RUN(test_a_ring_that_cannot_be_made_later_refuses_jobs_only);
    RUN(test_a_ring_that_breaks_gives_its_jobs_back);
    RUN(test_other_rows_take_no_jobs);
    RUN(test_a_ring_is_made_for_the_first_job_only);
    RUN(test_reading_writing_and_syncing);
    RUN(test_more_jobs_than_both_rings_hold_all_finish);
    RUN(test_a_job_does_not_keep_a_ready_descriptor_waiting);
    RUN(test_closing_waits_for_what_has_left);
    RUN(test_a_job_is_finished_in_whichever_thread_waits);
    RUN(test_a_job_outlives_the_thread_that_sent_it);
    RUN(test_a_child_gets_its_parents_jobs_back_undone);
    RUN(test_without_a_descriptor_left_jobs_are_refused_for_now);
    RUN(test_the_reactor_hands_out_owners_of_jobs_and_drops_the_rest);
    return check_report("test_uring");
}
