/* uring_receiver.c - see uring_receiver.h.
 *
 * A source is a stream socket with an op of kind RECV, or what is left of one:
 *
 *              ask                     bytes come
 *      idle ---------> in flight <--------------------+
 *        ^                |  |                        |
 *        +--- ended ------+  +-- large, greedy, no ---> plain: epoll watches,
 *                                chunk, refused          recv(2) takes
 *
 * In flight, one request receives again and again, each time into a chunk.
 * The ring does that in enter and only there (DEFER_TASKRUN), so that between
 * two enters nothing has been received that is not in the completion ring; and
 * when that is empty, what recv(2) returns comes next.  Much rests on it:
 * a request may be cancelled late (the cancellation leaves with the next
 * enter, before that receives anything), and a source may become plain at any
 * time; a fork, or a ring that is given up, loses no byte.
 *
 * Plain is who does better there.  Messages larger than a chunk: recv(2) takes
 * them whole.  Who holds a quarter of the chunks, or found none: so nobody
 * starves, and nothing is asked for in vain.  After a few small messages in a
 * row he comes back, if there are chunks.
 *
 * user_data is the descriptor and the number of the request, which is never
 * used again: a late completion finds its source only if that still waits for
 * this very request.  Else its chunk is given back.
 *
 * A request holds the file, so forget(), before close(2), cancels at once.
 * Whoever arms a number for which something is left must be the same socket,
 * as the kernel's cookie says, or all of that is dropped.
 *
 * The epoll set is polled by the same ring, once per request, so that one
 * enter waits for both; while no source is in flight only epoll waits.
 *
 * Only the thread that made the ring may enter it.  Others put sources on the
 * list `wanting`, and reap(), in the right thread, asks.  A loop that is run
 * in another thread makes a new ring.
 */
#include "backend/uring_receiver.h"

#include "backend/epoll.h"
#include "backend/uring_intake.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

enum {
    FIRST_CAP = 64,
    LEAST_OFFERED = 16,                /* chunks, whoever takes them */
    OFFERED_EACH = 2,                  /* more for each request */
    MOST_CHUNKS = CA_CHUNKS / 4,       /* that one source may hold */
    SMALL_BYTES = CA_CHUNK_BYTES / 2,
    SMALL_IN_A_ROW = 16,               /* then a plain source asks again */
    SENDING_TRIES = 64,
};

struct ca_source {
    ca_op *op;                         /* borrowed: armed; NULL: nobody */
    ca_op poll;                        /* the inner row's, while plain */
    ca_dnode link;                     /* in rx->ready, rx->wanting or alone */
    ca_intake intake;
    uint64_t cookie;                   /* of the socket */
    uint32_t request;                  /* in flight; 0: none */
    uint8_t small;                     /* messages in a row while plain */
    bool stopping;                     /* the request is being cancelled */
    bool plain;
    bool stays_plain;                  /* armed as POLL_IN */
    bool known;                        /* it was armed this moment */
};

void
ca_receiver_init(ca_receiver *rx, ca_backend *inner)
{
    *rx = (ca_receiver){.inner = inner, .lent = CA_CHUNK_NONE};
    ca_requests_init(&rx->requests);
    ca_dlist_init(&rx->ready);
    ca_dlist_init(&rx->wanting);
}

/* ---- sources ---- */

static ca_source *
source_of(ca_dnode *node)
{
    return CA_CONTAINER_OF(node, ca_source, link);
}

static ca_source *
find(const ca_receiver *rx, int fd)
{
    return fd >= 0 && (size_t)fd < rx->cap ? rx->by_fd[fd] : NULL;
}

static int
reserve(ca_receiver *rx, int fd)
{
    size_t cap = rx->cap == 0 ? FIRST_CAP : rx->cap;
    while (cap <= (size_t)fd) {
        cap *= 2;
    }
    if (cap == rx->cap) {
        return 0;
    }
    ca_source **by_fd = realloc(rx->by_fd, cap * sizeof(*by_fd));
    if (by_fd == NULL) {
        return -ENOMEM;
    }
    memset(by_fd + rx->cap, 0, (cap - rx->cap) * sizeof(*by_fd));
    rx->by_fd = by_fd;
    rx->cap = cap;
    return 0;
}

/* The source of fd, which is an open descriptor; made when there is none. */
static int
get(ca_receiver *rx, int fd, ca_source **out)
{
    int err = reserve(rx, fd);
    if (err < 0) {
        return err;
    }
    ca_source *s = rx->by_fd[fd];
    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return -ENOMEM;
        }
        ca_op_init(&s->poll, CA_OP_POLL_IN, fd);
        ca_dlist_init(&s->link);
        ca_intake_init(&s->intake);
        rx->by_fd[fd] = s;
    }
    *out = s;
    return 0;
}

static void
note_hurry(ca_receiver *rx)
{
    bool hurry = !ca_dlist_empty(&rx->ready) || !ca_dlist_empty(&rx->wanting);
    atomic_store_explicit(&rx->hurry, hurry, memory_order_relaxed);
}

/* Free a source that nobody uses and nothing is left of. */
static void
trim(ca_receiver *rx, ca_source *s)
{
    if (s->op == NULL && s->request == 0 && !ca_intake_has(&s->intake)) {
        ca_dlist_unlink(&s->link);
        note_hurry(rx);
        rx->by_fd[s->poll.fd] = NULL;
        free(s);
    }
}

/* The kernel's number for a socket, which is never used again; 0 or -errno. */
static int
ask_cookie(int fd, uint64_t *cookie)
{
    socklen_t length = sizeof(*cookie);
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &length) < 0 ? -errno
                                                                      : 0;
}

/* Whether the number still is the socket that was armed: one that was closed
 * unsaid is left alone, and so is whoever has its number now. */
static bool
is_same_socket(const ca_source *s)
{
    uint64_t cookie;
    return ask_cookie(s->poll.fd, &cookie) == 0 && cookie == s->cookie;
}

/* ---- requests ---- */

static bool
is_mine(const ca_receiver *rx)
{
    return ca_requests_is_mine(&rx->requests);
}

/* Offer as many chunks as the requests may need in one enter.  Not in wait():
 * another thread that cancels gives chunks back meanwhile. */
static void
offer_chunks(ca_receiver *rx)
{
    uint32_t wanted = LEAST_OFFERED + OFFERED_EACH * rx->requests.receiving;
    ca_chunks_offer(&rx->chunks, wanted < CA_CHUNKS ? (int)wanted : CA_CHUNKS);
}

/* Stop the request of a source; false: not now. */
static bool
stop_source(ca_receiver *rx, ca_source *s)
{
    if (s->stopping) {
        return true;
    }
    ca_stop_result result = ca_requests_stop(&rx->requests, s->poll.fd,
                                             s->request);
    s->stopping = result == CA_STOP_SENT;
    if (result == CA_STOP_DONE) {
        s->request = 0;
    }
    return result != CA_STOP_LATER;
}

/* ---- what a source does next ---- */

static bool
wants_request(const ca_source *s)
{
    return s->op != NULL && !s->plain && s->request == 0;
}

static bool
wants_stop(const ca_source *s)
{
    return s->request != 0 && !s->stopping && (s->op == NULL || s->plain);
}

/* Have epoll watch it; 0 or -errno. */
static int
become_plain(ca_receiver *rx, ca_source *s)
{
    if (s->plain) {
        return 0;
    }
    int err = 0;
    if (s->known || is_same_socket(s)) {
        err = rx->inner->vt->arm(rx->inner, &s->poll);
    }
    s->small = 0;
    s->plain = err == 0;
    rx->plain += s->plain;
    return err;
}

/* Ask for bytes now or, by the list, in the next reap(). */
static void
ask_or_queue(ca_receiver *rx, ca_source *s)
{
    if (!s->known && !is_same_socket(s)) {
        (void)become_plain(rx, s);     /* and nobody watches */
    } else {
        s->request = ca_requests_receive(&rx->requests, s->poll.fd);
        if (s->request == 0) {
            ca_dlist_append(&rx->wanting, &s->link);
        }
        offer_chunks(rx);
    }
}

/* Whether nothing has to be asked for, which is so for most messages. */
static bool
is_settled(const ca_source *s)
{
    return s->request != 0 && s->op != NULL && !s->plain;
}

/* What place() does with a settled one.  One that still is on the list
 * `wanting` is placed again by the next reap(). */
static void
place_settled(ca_receiver *rx, ca_source *s)
{
    if (!ca_intake_has(&s->intake)) {
        ca_dlist_unlink(&s->link);
    } else if (!ca_dlist_linked(&s->link)) {
        ca_dlist_append(&rx->ready, &s->link);
    }
    note_hurry(rx);
}

/* Put a source on the list it belongs to, or ask for what it wants. */
static void
place(ca_receiver *rx, ca_source *s)
{
    if (is_settled(s)) {
        place_settled(rx, s);
        return;
    }
    ca_dlist_unlink(&s->link);
    if (wants_stop(s) && !stop_source(rx, s)) {
        ca_dlist_append(&rx->wanting, &s->link);
    } else if (s->op != NULL && ca_intake_has(&s->intake)) {
        ca_dlist_append(&rx->ready, &s->link);
    } else if (wants_request(s)) {
        ask_or_queue(rx, s);
    }
    note_hurry(rx);
}

static void
leave_plain(ca_receiver *rx, ca_source *s)
{
    if (s->plain) {
        rx->inner->vt->cancel(rx->inner, &s->poll);
        s->plain = false;
        rx->plain--;
    }
}

/* What has come is of another socket, or of one that is closed. */
static void
forget_past(ca_receiver *rx, ca_source *s)
{
    leave_plain(rx, s);
    ca_intake_drop(&s->intake, &rx->chunks);
    if (s->request != 0) {
        (void)stop_source(rx, s);
    }
    s->request = 0;
    s->stopping = false;
}

/* ---- what has finished ---- */

/* A number that cannot be received from by this ring, but perhaps by recv(2),
 * which then says better what is wrong. */
static bool
is_ours_to_bear(int32_t res)
{
    static const int errnos[] = {ENOBUFS, EINVAL, ENOSYS, EOPNOTSUPP, EPERM,
                                 EACCES,  EBADF,  EFAULT, ENOMEM,     EIO};
    for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
        if (res == -errnos[i]) {
            return true;
        }
    }
    return false;
}

static void
request_ended(ca_receiver *rx, ca_source *s, int32_t res)
{
    s->request = 0;
    s->stopping = false;
    if (res == -EINVAL || res == -ENOSYS || res == -EOPNOTSUPP) {
        rx->requests.refused = res;    /* the kernel lacks the operation */
    }
    if (is_ours_to_bear(res)) {
        if (s->op != NULL) {
            (void)become_plain(rx, s);
        }
    } else if (res <= 0 && res != -ECANCELED && res != -EINTR &&
               res != -EAGAIN) {
        s->intake.end = res;
    }
}

static void
bytes_came(ca_receiver *rx, ca_source *s, int chunk, int32_t nbytes)
{
    ca_intake_add(&s->intake, &rx->chunks, chunk);
    if (s->op == NULL) {
        ca_intake_keep(&s->intake, &rx->chunks);
    } else if (nbytes == CA_CHUNK_BYTES || s->intake.nchunks >= MOST_CHUNKS) {
        (void)become_plain(rx, s);
    }
}

static void
finish(ca_receiver *rx, const ca_answer *a)
{
    if (a->fd == CA_ANSWER_POLL) {
        if (a->number == rx->poll) {
            rx->poll = 0;
            rx->look_inside = true;
        }
        return;
    }
    if (a->chunk >= 0) {
        ca_chunks_take(&rx->chunks, a->chunk,
                       a->res > 0 ? (uint32_t)a->res : 0);
    }
    ca_source *s = find(rx, a->fd);
    bool known = s != NULL && s->request == a->number;
    if (known && a->chunk >= 0 && a->res > 0) {
        bytes_came(rx, s, a->chunk, a->res);
    } else if (a->chunk >= 0) {
        ca_chunks_give(&rx->chunks, a->chunk);
    }
    if (known) {
        if (a->ended) {
            request_ended(rx, s, a->res);
        }
        place(rx, s);
        trim(rx, s);
    }
}

/* Take out everything that has finished; also what the kernel keeps in its
 * overflow list, if the ring may be entered. */
static void
collect(ca_receiver *rx)
{
    ca_answer answer;
    do {
        while (ca_requests_take(&rx->requests, &answer)) {
            finish(rx, &answer);
        }
    } while (is_mine(rx) && ca_uring_overflowed(&rx->requests.ring) &&
             ca_requests_enter(&rx->requests, 0) == 0);
}

/* ---- the ring ---- */

static void
make_ring(ca_receiver *rx)
{
    if (ca_requests_open(&rx->requests) < 0) {
        return;
    }
    int err = ca_chunks_open(&rx->chunks, &rx->requests.ring);
    if (err < 0) {
        ca_requests_close(&rx->requests);
        rx->requests.refused = err;
    }
}

/* Close the ring, keeping what it has received; sources in flight want a new
 * request. */
static void
drop_ring(ca_receiver *rx, bool lossy)
{
    ca_requests_close(&rx->requests);  /* nothing is asked for from here on */
    for (size_t fd = 0; fd < rx->cap; fd++) {
        ca_source *s = rx->by_fd[fd];
        if (s == NULL) {
            continue;
        }
        ca_intake_keep(&s->intake, &rx->chunks);
        if (s->request != 0 && lossy) {
            s->intake.end = -EIO;
        }
        s->request = 0;
        s->stopping = false;
        place(rx, s);
        trim(rx, s);
    }
    ca_chunks_close(&rx->chunks);
    rx->lent = CA_CHUNK_NONE;
    rx->poll = 0;
    rx->look_inside = false;
}

/* A ring that is another thread's, or that fails, goes.  What the kernel holds
 * in its overflow list then is lost, so those connections end in an error. */
static void
check_ring(ca_receiver *rx)
{
    if (ca_requests_is_open(&rx->requests) && !is_mine(rx)) {
        collect(rx);
        drop_ring(rx, ca_uring_overflowed(&rx->requests.ring));
    }
}

/* Ask for all that is wanted; without a ring epoll does it. */
static void
serve_wanting(ca_receiver *rx)
{
    ca_dnode again;
    ca_dnode *node;
    ca_dlist_init(&again);
    if (ca_dlist_empty(&rx->wanting)) {
        return;
    }
    if (!ca_requests_is_open(&rx->requests) && rx->requests.refused == 0) {
        make_ring(rx);
    }
    while ((node = ca_dlist_take(&rx->wanting)) != NULL) {
        ca_dlist_append(&again, node);
    }
    while ((node = ca_dlist_take(&again)) != NULL) {
        ca_source *s = source_of(node);
        if (rx->requests.refused != 0 && wants_request(s)) {
            (void)become_plain(rx, s);
        }
        place(rx, s);
    }
    note_hurry(rx);
}

/* See to it that the ring polls the epoll set; false: it does not. */
static bool
poll_inside(ca_receiver *rx)
{
    uint32_t set;
    int fd = ca_epoll_set(rx->inner, &set);
    if (rx->poll != 0 && rx->polled_set == set) {
        return true;
    }
    if (rx->poll != 0 && ca_requests_stop(&rx->requests, CA_ANSWER_POLL,
                                          rx->poll) == CA_STOP_LATER) {
        return false;
    }
    rx->poll = fd < 0 ? 0 : ca_requests_poll(&rx->requests, fd);
    rx->polled_set = set;
    return rx->poll != 0;
}

/* ---- the backend's functions ---- */

bool
ca_receiver_wants(const ca_receiver *rx, const ca_op *op)
{
    if (op->kind == CA_OP_RECV) {
        return true;
    }
    const ca_source *s = find(rx, op->fd);
    return op->kind == CA_OP_POLL_IN && s != NULL &&
           (s->op == op || ca_intake_has(&s->intake));
}

int
ca_receiver_arm(ca_receiver *rx, ca_op *op)
{
    uint64_t cookie;
    ca_source *s = NULL;
    int err = ask_cookie(op->fd, &cookie);
    if (err == 0) {
        err = get(rx, op->fd, &s);
    }
    if (err < 0) {
        return err;
    }
    if (s->op != NULL && s->op != op) {
        return -EEXIST;
    }
    if (s->cookie != cookie) {
        forget_past(rx, s);
        s->cookie = cookie;
    }
    s->stays_plain = op->kind == CA_OP_POLL_IN;
    s->known = true;
    if (s->stays_plain || rx->requests.refused != 0) {
        err = become_plain(rx, s);
    }
    if (err < 0) {
        s->known = false;
        trim(rx, s);
        return err;
    }
    s->op = op;
    op->armed = true;
    ca_dlist_unlink(&op->link);
    place(rx, s);
    s->known = false;
    return 0;
}

bool
ca_receiver_cancel(ca_receiver *rx, ca_op *op)
{
    ca_source *s = op->armed ? find(rx, op->fd) : NULL;
    if (s == NULL || s->op != op) {
        return false;
    }
    s->op = NULL;
    op->armed = false;
    ca_dlist_unlink(&op->link);
    leave_plain(rx, s);
    ca_intake_keep(&s->intake, &rx->chunks);
    place(rx, s);
    trim(rx, s);
    return true;
}

/* The kernel resets a connection that is closed before everything was read,
 * but does not know that of what is here. */
static void
reset_on_close(int fd)
{
    static const struct linger at_once = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void
ca_receiver_forget(ca_receiver *rx, int fd)
{
    ca_source *s = find(rx, fd);
    if (s == NULL || s->op != NULL) {
        return;
    }
    if (ca_intake_has_bytes(&s->intake) && !s->stays_plain) {
        reset_on_close(fd);
    }
    ca_intake_drop(&s->intake, &rx->chunks);
    place(rx, s);                      /* stops it, unless that was done */
    offer_chunks(rx);                  /* the others go on receiving */
    for (int i = 0;
         i < SENDING_TRIES && is_mine(rx) && find(rx, fd) == s &&
         s->request != 0 && ca_requests_enter(&rx->requests, 0) == 0;
         i++) {
        collect(rx);
    }
    s = find(rx, fd);
    if (s != NULL) {
        ca_intake_drop(&s->intake, &rx->chunks);
        trim(rx, s);
    }
}

int
ca_receiver_wait(ca_receiver *rx, int64_t timeout_ns)
{
    if (atomic_load_explicit(&rx->hurry, memory_order_relaxed)) {
        timeout_ns = 0;
    }
    rx->inner_waited = rx->requests.receiving == 0 || !is_mine(rx) ||
                       !poll_inside(rx);
    if (rx->inner_waited) {
        return rx->inner->vt->wait(
            rx->inner, rx->requests.receiving > 0 ? 0 : timeout_ns);
    }
    const ca_uring *ring = &rx->requests.ring;
    if (timeout_ns <= 0 && ca_uring_unsent(ring) == 0 &&
        !ca_uring_has_work(ring)) {
        return 0;
    }
    int err = ca_requests_enter(&rx->requests, timeout_ns);
    return err == -EINTR ? err : 0;
}

/* What the inner row has found; polls of plain sources stand for theirs. */
static void
reap_inside(ca_receiver *rx, ca_dnode *done)
{
    ca_dnode found;
    ca_dnode *node;
    if (!rx->inner_waited && rx->look_inside) {
        (void)rx->inner->vt->wait(rx->inner, 0);
    }
    if (rx->plain == 0) {
        rx->inner->vt->reap(rx->inner, done);
        return;
    }
    ca_dlist_init(&found);
    rx->inner->vt->reap(rx->inner, &found);
    while ((node = ca_dlist_take(&found)) != NULL) {
        ca_op *op = CA_CONTAINER_OF(node, ca_op, link);
        const ca_source *s = find(rx, op->fd);
        if (s != NULL && op == &s->poll) {
            op = s->op;
        }
        if (op != NULL && !ca_dlist_linked(&op->link)) {
            ca_dlist_append(done, &op->link);
        }
    }
}

static void
take_back(ca_receiver *rx)
{
    if (rx->lent != CA_CHUNK_NONE) {
        ca_chunks_give(&rx->chunks, rx->lent);
        rx->lent = CA_CHUNK_NONE;
    }
}

void
ca_receiver_reap(ca_receiver *rx, ca_dnode *done)
{
    take_back(rx);
    if (ca_requests_is_open(&rx->requests)) {
        offer_chunks(rx);              /* in place of those still in use */
        collect(rx);
        check_ring(rx);
    }
    serve_wanting(rx);
    for (ca_dnode *n = rx->ready.next; n != &rx->ready; n = n->next) {
        ca_op *op = source_of(n)->op;
        if (!ca_dlist_linked(&op->link)) {
            ca_dlist_append(done, &op->link);
        }
    }
    if (rx->inner_waited || rx->look_inside) {
        reap_inside(rx, done);
    }
    rx->look_inside = rx->inner_waited = false;
}

/* recv(2) for a source that has nothing; a plain one is seen to go back. */
static ptrdiff_t
receive_now(ca_receiver *rx, ca_source *s, char *buf, size_t size)
{
    ptrdiff_t n = ca_backend_recv(rx->inner, s->poll.fd, buf, size, NULL);
    if (!s->plain || s->stays_plain || n <= 0) {
        return n;
    }
    s->small = n > SMALL_BYTES ? 0 : (uint8_t)(s->small + 1);
    if (s->small >= SMALL_IN_A_ROW) {
        s->small = 0;
        if (rx->requests.refused == 0 &&
            ca_chunks_count_free(&rx->chunks) > CA_CHUNKS / 2) {
            leave_plain(rx, s);
            place(rx, s);
        }
    }
    return n;
}

ptrdiff_t
ca_receiver_recv(ca_receiver *rx, int fd, char *buf, size_t size, char **where)
{
    take_back(rx);
    ca_source *s = find(rx, fd);
    if (where != NULL) {
        *where = buf;
    }
    if (s != NULL && size == 0) {
        return s->intake.end < 0 ? s->intake.end : -EAGAIN;
    }
    if (s == NULL) {
        return ca_backend_recv(rx->inner, fd, buf, size, NULL);
    }
    if (s->op == NULL) {
        return -EAGAIN;                /* bytes may be kept, for who arms it */
    }
    if (!ca_intake_has(&s->intake) && is_mine(rx)) {
        collect(rx);                   /* a signal may have ended the wait */
    }
    if (!ca_intake_has(&s->intake)) {
        return receive_now(rx, s, buf, size);
    }
    ptrdiff_t n = ca_intake_take(&s->intake, &rx->chunks, buf, size, where,
                                 where == NULL ? NULL : &rx->lent);
    if (n <= 0 && wants_request(s)) {
        /* Who is told the end mostly cancels next: ask in reap(). */
        ca_dlist_unlink(&s->link);
        ca_dlist_append(&rx->wanting, &s->link);
        note_hurry(rx);
    } else {
        place(rx, s);
    }
    return n;
}

void
ca_receiver_after_fork(ca_receiver *rx)
{
    drop_ring(rx, false);
    rx->inner_waited = false;
}

void
ca_receiver_close(ca_receiver *rx)
{
    ca_requests_end_all(&rx->requests);
    ca_requests_close(&rx->requests);
    for (size_t fd = 0; fd < rx->cap; fd++) {
        ca_source *s = rx->by_fd[fd];
        if (s == NULL) {
            continue;
        }
        if (s->op != NULL) {
            s->op->armed = false;
            ca_dlist_unlink(&s->op->link);
        }
        ca_intake_drop(&s->intake, &rx->chunks);
        free(s);
    }
    ca_chunks_close(&rx->chunks);
    free(rx->by_fd);
    ca_receiver_init(rx, NULL);
}
