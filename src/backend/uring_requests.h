/* uring_requests.h - a bound ring and the numbered requests in it.
 *
 * A request is named by a descriptor and a number that is never used again,
 * both of which come back with each of its answers.  Only the thread that
 * opened it may make requests or enter; everything that others may call here
 * fails for them ("not now").
 */
#ifndef CA_BACKEND_URING_REQUESTS_H
#define CA_BACKEND_URING_REQUESTS_H

#include "backend/uring_ring.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    ca_uring ring;                     /* bound */
    pthread_t owner;                   /* thread that made the ring */
    pid_t pid;                         /* its process */
    uint32_t receiving;                /* requests that have not ended */
    uint32_t last;                     /* number of the newest */
    int refused;                      /* -errno: there will be no ring; or 0 */
    bool moved;                        /* the kernel says: not our thread's */
} ca_requests;

/* What has become of a request. */
typedef struct {
    int fd;                            /* as asked; CA_ANSWER_POLL */
    uint32_t number;
    int32_t res;                       /* bytes, 0 at the end, or -errno */
    int chunk;                         /* that the kernel used, or -1 */
    bool ended;                        /* the last answer */
} ca_answer;

enum { CA_ANSWER_POLL = -2 };

void ca_requests_init(ca_requests *rq);

/* Make the ring, for this thread; 0, or -errno, which is remembered. */
int ca_requests_open(ca_requests *rq);

/* Close the ring.  Harmless when closed, and in a forked child. */
void ca_requests_close(ca_requests *rq);

/* Have the kernel let go of every socket now and not some time after
 * closing, where that can be had.  Harmless in a forked child. */
void ca_requests_end_all(ca_requests *rq);

static inline bool
ca_requests_is_open(const ca_requests *rq)
{
    return rq->ring.fd >= 0;
}

/* Whether this thread may enter the ring, and it is of use. */
static inline bool
ca_requests_is_mine(const ca_requests *rq)
{
    return rq->ring.fd >= 0 && !rq->moved && rq->refused == 0 &&
           pthread_equal(rq->owner, pthread_self());
}

/* Send what is to be sent, receive what is to be received, and wait for an
 * answer as ca_uring_enter(); 0 or -errno.  What means that the ring is of no
 * use any more is remembered. */
int ca_requests_enter(ca_requests *rq, int64_t timeout_ns);

/* Receive from fd again and again, each time into a chunk; number of the
 * request, 0: not now. */
uint32_t ca_requests_receive(ca_requests *rq, int fd);

/* Answer once when fd is readable, as CA_ANSWER_POLL; number, 0: not now. */
uint32_t ca_requests_poll(ca_requests *rq, int fd);

typedef enum {
    CA_STOP_LATER,                     /* not now */
    CA_STOP_SENT,                      /* with the next enter */
    CA_STOP_DONE,                      /* there will be no answer */
} ca_stop_result;

/* Cancel a request; it receives nothing more. */
ca_stop_result ca_requests_stop(ca_requests *rq, int fd, uint32_t number);

/* The oldest answer, taken out; false: none.  Any thread, no system call. */
bool ca_requests_take(ca_requests *rq, ca_answer *out);

#endif
