/* uring_requests.c - see uring_requests.h. */
#include "backend/uring_requests.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
    ENTRIES = 256,
    CQ_ENTRIES = 4096,
    SENDING_TRIES = 64,
    NOBODY = -1,                       /* wants to know what became of it */
};

void
ca_requests_init(ca_requests *rq)
{
    *rq = (ca_requests){.ring = {.fd = -1}};
}

int
ca_requests_open(ca_requests *rq)
{
    int err = ca_uring_open(&rq->ring, CA_URING_BOUND, ENTRIES, CQ_ENTRIES);
    rq->owner = pthread_self();
    rq->pid = getpid();
    rq->refused = err;
    return err;
}

void
ca_requests_close(ca_requests *rq)
{
    ca_uring_close(&rq->ring);
    rq->receiving = 0;
    rq->moved = false;
}

int
ca_requests_enter(ca_requests *rq, int64_t timeout_ns)
{
    int err = ca_uring_enter(&rq->ring, timeout_ns);
    switch (err) {
    case 0:
    case -EINTR:
        return err;
    case -EAGAIN:                      /* the kernel is short of something */
    case -EBUSY:
        return 0;
    case -EEXIST:
        rq->moved = true;
        return err;
    default:
        rq->refused = err;
        return err;
    }
}

static uint64_t
name(int fd, uint32_t number)
{
    return (uint64_t)number << 32 | (uint32_t)fd;
}

/* An entry to fill in; NULL: not now. */
static uring_sqe *
entry(ca_requests *rq, uint8_t opcode, int fd)
{
    if (!ca_requests_is_mine(rq)) {
        return NULL;
    }
    uring_sqe *sqe = ca_uring_entry(&rq->ring);
    if (sqe == NULL && ca_requests_enter(rq, 0) == 0) {
        sqe = ca_uring_entry(&rq->ring);
    }
    if (sqe != NULL) {
        sqe->opcode = opcode;
        sqe->fd = fd;
        sqe->user_data = name(NOBODY, 0);
    }
    return sqe;
}

static uint32_t
next_number(ca_requests *rq)
{
    rq->last += 1 + (rq->last == UINT32_MAX);
    return rq->last;
}

uint32_t
ca_requests_receive(ca_requests *rq, int fd)
{
    uring_sqe *sqe = entry(rq, URING_OP_RECV, fd);
    if (sqe == NULL) {
        return 0;
    }
    uint32_t number = next_number(rq);
    sqe->flags = URING_SQE_BUFFER_SELECT;
    sqe->ioprio = URING_RECV_MULTISHOT;
    sqe->user_data = name(fd, number);
    rq->receiving++;
    return number;
}

uint32_t
ca_requests_poll(ca_requests *rq, int fd)
{
    uring_sqe *sqe = entry(rq, URING_OP_POLL_ADD, fd);
    if (sqe == NULL) {
        return 0;
    }
    uint32_t number = next_number(rq);
    sqe->op_flags = POLLIN;
    sqe->user_data = name(CA_ANSWER_POLL, number);
    return number;
}

/* Take back a request that has not left, by leaving a blank in its place. */
static bool
take_back(ca_requests *rq, uint64_t user_data)
{
    ca_uring *ring = &rq->ring;
    for (uint32_t n = ca_uring_unsent(ring); n > 0; n--) {
        uring_sqe *sqe = &ring->sqes[(ring->sq_next - n) & ring->sq_mask];
        if (sqe->user_data == user_data) {
            *sqe = (uring_sqe){.opcode = URING_OP_NOP,
                               .user_data = name(NOBODY, 0)};
            return true;
        }
    }
    return false;
}

ca_stop_result
ca_requests_stop(ca_requests *rq, int fd, uint32_t number)
{
    if (!ca_requests_is_mine(rq)) {
        return CA_STOP_LATER;
    }
    if (take_back(rq, name(fd, number))) {
        rq->receiving -= fd >= 0;
        return CA_STOP_DONE;
    }
    uring_sqe *sqe = entry(rq, URING_OP_ASYNC_CANCEL, -1);
    if (sqe == NULL) {
        return CA_STOP_LATER;
    }
    sqe->addr = name(fd, number);
    return CA_STOP_SENT;
}

bool
ca_requests_take(ca_requests *rq, ca_answer *out)
{
    uring_cqe cqe;
    while (ca_uring_take(&rq->ring, &cqe)) {
        *out = (ca_answer){
            .fd = (int)(cqe.user_data & UINT32_MAX),
            .number = (uint32_t)(cqe.user_data >> 32),
            .res = cqe.res,
            .chunk = -1,
            .ended = (cqe.flags & URING_CQE_MORE) == 0,
        };
        if ((cqe.flags & URING_CQE_BUFFER) != 0) {
            out->chunk = (int)(cqe.flags >> URING_CQE_BUFFER_SHIFT);
        }
        if (out->fd != NOBODY) {
            rq->receiving -= out->fd >= 0 && out->ended;
            return true;
        }
    }
    return false;
}

void
ca_requests_end_all(ca_requests *rq)
{
    /* A forked child looks like the thread that it was, but what it writes
     * into the ring the parent would send. */
    if (rq->receiving == 0 || rq->pid != getpid()) {
        return;
    }
    uring_sqe *sqe = entry(rq, URING_OP_ASYNC_CANCEL, -1);
    if (sqe == NULL) {
        return;
    }
    sqe->op_flags = URING_CANCEL_ANY | URING_CANCEL_ALL;
    ca_answer answer;
    for (int i = 0; i < SENDING_TRIES && rq->receiving > 0; i++) {
        if (ca_requests_enter(rq, 0) < 0) {
            break;
        }
        while (ca_requests_take(rq, &answer)) {
        }
    }
}
