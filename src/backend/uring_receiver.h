/* uring_receiver.h - ops of kind RECV: stream sockets received from by a ring.
 *
 * Stands between a row and the row "epoll" inside it: it waits for both with
 * one system call, and gives to epoll each connection that is better off
 * there.
 *
 * Threads: arm and cancel may run while another thread waits, as in the
 * backend's table; the ring belongs to the thread that waits.
 */
#ifndef CA_BACKEND_URING_RECEIVER_H
#define CA_BACKEND_URING_RECEIVER_H

#include "backend/backend.h"
#include "backend/uring_chunks.h"
#include "backend/uring_requests.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ca_source ca_source;

typedef struct {
    ca_backend *inner;                 /* borrowed: of the row "epoll" */
    ca_requests requests;              /* open from the first source on */
    ca_chunks chunks;                  /* open while the requests are */
    ca_source **by_fd;                 /* owned, entries owned or NULL */
    size_t cap;
    ca_dnode ready;                    /* sources with something to take */
    ca_dnode wanting;                  /* sources with something to ask for */
    atomic_bool hurry;                 /* one of the two is not empty */
    uint32_t plain;                    /* sources that epoll watches */
    uint32_t poll;                     /* request that polls the epoll set, 0:
                                          none is in flight */
    uint32_t polled_set;               /* its serial number */
    int lent;                          /* chunk that the last recv() told of */
    bool look_inside;                  /* the epoll set has something */
    bool inner_waited;                 /* the last wait was the inner row's */
} ca_receiver;

void ca_receiver_init(ca_receiver *rx, ca_backend *inner);

/* After the inner row was closed: armed ops are forgotten. */
void ca_receiver_close(ca_receiver *rx);

/* Whether op, which reads, is to be armed here.  That is so for kind RECV, and
 * for POLL_IN on a descriptor for which bytes are kept. */
bool ca_receiver_wants(const ca_receiver *rx, const ca_op *op);

/* As the backend's functions of these names.  arm: -ENOTSOCK: not here. */
int ca_receiver_arm(ca_receiver *rx, ca_op *op);
int ca_receiver_wait(ca_receiver *rx, int64_t timeout_ns);
void ca_receiver_reap(ca_receiver *rx, ca_dnode *done);
ptrdiff_t ca_receiver_recv(ca_receiver *rx, int fd, char *buf, size_t size,
                           char **where);
void ca_receiver_forget(ca_receiver *rx, int fd);

/* Cancel op if it is armed here; whether it was. */
bool ca_receiver_cancel(ca_receiver *rx, ca_op *op);

/* In a forked child, after the inner row has done its part. */
void ca_receiver_after_fork(ca_receiver *rx);

#endif
