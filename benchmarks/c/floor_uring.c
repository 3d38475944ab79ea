/* floor_uring.c - the least that a single-threaded io_uring server can do.
 *
 * Multishot accept, multishot receive into a ring of provided buffers, sends
 * straight out of those buffers.  It echoes over TCP or UNIX sockets, or gives
 * one fixed answer to every HTTP request.  The three system calls are made
 * here, so that no library is needed; the kernel has to be 6.1 or newer.
 *
 *   floor_uring -l tcp:0 [-h] [-b BUFFER_BYTES] [-n BUFFERS]
 *
 * A connection is freed when its receive has ended and no send is in flight.
 * One that finds no buffer waits in `starved` until one is given back.
 */
#include "bench.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif
#ifndef IORING_RECV_MULTISHOT
#define IORING_RECV_MULTISHOT (1U << 1)
#endif

enum { ENTRIES = 4096, GROUP = 7, QUEUE = 256 };
enum { OP_ACCEPT, OP_RECV, OP_SEND, OP_MASK = 3 };

/* A part of a buffer that waits to be sent. */
typedef struct {
    uint16_t bid;
    uint32_t nbytes;
    uint32_t sent;
} part;

typedef struct conn {
    struct conn *next;                 /* borrowed: in `starved` */
    int fd;                            /* owned */
    bool receiving;
    bool sending;
    bool waits;                        /* in `starved` */
    bool ended;                        /* nothing more will come */
    int tail;                          /* of the request that is not whole */
    unsigned head;
    unsigned count;                    /* of parts, or of answers owed */
    part queue[QUEUE];
} conn;

static struct {
    int fd;
    unsigned *sq_head;
    unsigned *sq_tail;
    unsigned sq_mask;
    unsigned pending;                  /* entries that the kernel has not */
    struct io_uring_sqe *sqes;
    unsigned *cq_head;
    unsigned *cq_tail;
    unsigned cq_mask;
    struct io_uring_cqe *cqes;
} ring;

static struct io_uring_buf_ring *buffers;
static char *pool;
static unsigned nbuffers = 256;
static unsigned buffer_bytes = 16384;
static bool http;
static bool inet;
static int listener;
static conn *starved;

static void *
map(size_t nbytes, uint64_t offset)
{
    int flags = ring.fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS
                            : MAP_SHARED | MAP_POPULATE;
    void *block = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, flags, ring.fd,
                       (off_t)offset);
    if (block == MAP_FAILED) {
        bench_die("mmap");
    }
    return block;
}

static void
ring_open(void)
{
    struct io_uring_params p = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_CQSIZE,
        .cq_entries = 4 * ENTRIES,
    };
    ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
    if (ring.fd < 0) {
        bench_die("io_uring_setup");
    }
    char *sq = map(p.sq_off.array + p.sq_entries * sizeof(unsigned),
                   IORING_OFF_SQ_RING);
    char *cq = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
                   IORING_OFF_CQ_RING);
    ring.sqes = map(p.sq_entries * sizeof(struct io_uring_sqe),
                    IORING_OFF_SQES);
    ring.sq_head = (unsigned *)(sq + p.sq_off.head);
    ring.sq_tail = (unsigned *)(sq + p.sq_off.tail);
    ring.sq_mask = p.sq_entries - 1;
    ring.cq_head = (unsigned *)(cq + p.cq_off.head);
    ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
    ring.cq_mask = p.cq_entries - 1;
    ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
    for (unsigned i = 0; i < p.sq_entries; i++) {
        ((unsigned *)(sq + p.sq_off.array))[i] = i;
    }
}

static void
ring_enter(unsigned wanted)
{
    long n = syscall(SYS_io_uring_enter, ring.fd, ring.pending, wanted,
                     IORING_ENTER_GETEVENTS, NULL, (size_t)0);
    if (n >= 0) {
        ring.pending -= (unsigned)n;
    } else if (errno != EINTR && errno != EBUSY && errno != EAGAIN) {
        bench_die("io_uring_enter");
    }
}

/* Returns an entry that the next ring_enter() hands over. */
static struct io_uring_sqe *
ring_entry(int op, int fd, int cookie_op, conn *c)
{
    unsigned tail = *ring.sq_tail;
    while (tail - __atomic_load_n(ring.sq_head, __ATOMIC_ACQUIRE) >
           ring.sq_mask) {
        ring_enter(0);
    }
    struct io_uring_sqe *e = &ring.sqes[tail & ring.sq_mask];
    memset(e, 0, sizeof(*e));
    e->opcode = (uint8_t)op;
    e->fd = fd;
    e->user_data = (uintptr_t)c | (unsigned)cookie_op;
    /* The kernel looks at the tail in io_uring_enter() only. */
    __atomic_store_n(ring.sq_tail, tail + 1, __ATOMIC_RELEASE);
    ring.pending++;
    return e;
}

static void
arm_accept(void)
{
    struct io_uring_sqe *e = ring_entry(IORING_OP_ACCEPT, listener, OP_ACCEPT,
                                        NULL);
    e->ioprio = IORING_ACCEPT_MULTISHOT;
    e->accept_flags = SOCK_CLOEXEC;
}

static void
arm_receive(conn *c)
{
    struct io_uring_sqe *e = ring_entry(IORING_OP_RECV, c->fd, OP_RECV, c);
    e->ioprio = IORING_RECV_MULTISHOT;
    e->flags = IOSQE_BUFFER_SELECT;
    e->buf_group = GROUP;
    c->receiving = true;
}

static void
arm_send(conn *c)
{
    struct io_uring_sqe *e = ring_entry(IORING_OP_SEND, c->fd, OP_SEND, c);
    part *p = &c->queue[c->head % QUEUE];
    e->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
    if (http) {
        e->addr = (uintptr_t)bench_reply;
        e->len = sizeof(bench_reply) - 1;
    } else {
        e->addr = (uintptr_t)(pool + (size_t)p->bid * buffer_bytes + p->sent);
        e->len = p->nbytes - p->sent;
    }
    c->sending = true;
}

static void
buffer_put(uint16_t bid)
{
    uint16_t tail = buffers->tail;
    struct io_uring_buf *b = &buffers->bufs[tail & (nbuffers - 1)];
    b->addr = (uintptr_t)(pool + (size_t)bid * buffer_bytes);
    b->len = buffer_bytes;
    b->bid = bid;
    __atomic_store_n(&buffers->tail, (uint16_t)(tail + 1), __ATOMIC_RELEASE);
}

static void
buffer_give_back(uint16_t bid)
{
    buffer_put(bid);
    if (starved != NULL) {
        conn *c = starved;
        starved = c->next;
        c->waits = false;
        arm_receive(c);
    }
}

static void
buffers_open(void)
{
    int fd = ring.fd;
    ring.fd = -1;
    buffers = map(nbuffers * sizeof(struct io_uring_buf), 0);
    pool = map((size_t)nbuffers * buffer_bytes, 0);
    ring.fd = fd;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)buffers,
        .ring_entries = nbuffers,
        .bgid = GROUP,
    };
    if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_PBUF_RING, &reg,
                1) < 0) {
        bench_die("io_uring_register");
    }
    for (unsigned i = 0; i < nbuffers; i++) {
        buffer_put((uint16_t)i);
    }
}

static void
conn_pop(conn *c)
{
    uint16_t bid = c->queue[c->head % QUEUE].bid;
    c->head++;
    c->count--;
    if (!http) {
        buffer_give_back(bid);
    }
}

static void
conn_end(conn *c)
{
    if (!c->ended || c->sending || c->receiving || c->waits) {
        return;
    }
    while (c->count > 0) {
        conn_pop(c);
    }
    close(c->fd);
    free(c);
}

static void
on_accept(int fd)
{
    if (fd < 0) {
        return;
    }
    conn *c = bench_alloc(sizeof(*c));
    c->fd = fd;
    if (inet) {
        bench_set(fd, IPPROTO_TCP, TCP_NODELAY);
    }
    arm_receive(c);
}

static void
on_data(conn *c, uint16_t bid, uint32_t nbytes)
{
    if (http) {
        char *data = pool + (size_t)bid * buffer_bytes;
        c->count += bench_requests(data, nbytes, &c->tail);
        buffer_give_back(bid);
    } else if (c->count == QUEUE) {
        bench_usage("a connection's queue is full");
    } else {
        part p = {.bid = bid, .nbytes = nbytes};
        c->queue[(c->head + c->count++) % QUEUE] = p;
    }
    if (c->count > 0 && !c->sending) {
        arm_send(c);
    }
}

static void
on_receive(conn *c, const struct io_uring_cqe *cqe)
{
    c->receiving = cqe->flags & IORING_CQE_F_MORE;
    if (cqe->res > 0) {
        on_data(c, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
                (uint32_t)cqe->res);
        if (!c->receiving) {
            arm_receive(c);
        }
    } else if (cqe->res == -ENOBUFS) {
        c->waits = true;
        c->next = starved;
        starved = c;
    } else {
        c->ended = true;
        conn_end(c);
    }
}

static void
on_send(conn *c, int n)
{
    part *p = &c->queue[c->head % QUEUE];
    c->sending = false;
    if (n < 0) {
        shutdown(c->fd, SHUT_RDWR);
        while (c->count > 0) {
            conn_pop(c);
        }
    } else if (http) {
        conn_pop(c);
    } else if ((p->sent += (uint32_t)n) >= p->nbytes) {
        conn_pop(c);
    }
    if (c->count > 0) {
        arm_send(c);
    } else {
        conn_end(c);
    }
}

static void
on_completion(const struct io_uring_cqe *cqe)
{
    conn *c = (conn *)(uintptr_t)(cqe->user_data & ~(uint64_t)OP_MASK);
    switch (cqe->user_data & OP_MASK) {
    case OP_ACCEPT:
        on_accept(cqe->res);
        if (!(cqe->flags & IORING_CQE_F_MORE)) {
            arm_accept();
        }
        break;
    case OP_RECV:
        on_receive(c, cqe);
        break;
    case OP_SEND:
        on_send(c, cqe->res);
        break;
    }
}

static void
serve(void)
{
    arm_accept();
    for (;;) {
        unsigned head = *ring.cq_head;
        unsigned tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
        ring_enter(head == tail);
        tail = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
        for (; head != tail; head++) {
            struct io_uring_cqe cqe = ring.cqes[head & ring.cq_mask];
            __atomic_store_n(ring.cq_head, head + 1, __ATOMIC_RELEASE);
            on_completion(&cqe);
        }
    }
}

int
main(int argc, char **argv)
{
    bench_place place = {.family = AF_UNSPEC};
    int opt;
    while ((opt = getopt(argc, argv, "l:hb:n:")) != -1) {
        switch (opt) {
        case 'l':
            place = bench_parse(optarg);
            break;
        case 'h':
            http = true;
            break;
        case 'b':
            buffer_bytes = (unsigned)atoi(optarg);
            break;
        case 'n':
            nbuffers = (unsigned)atoi(optarg);
            break;
        default:
            return 2;
        }
    }
    if (place.family == AF_UNSPEC || (nbuffers & (nbuffers - 1)) != 0) {
        bench_usage("floor_uring -l PLACE [-h] [-b BYTES] [-n POWER_OF_2]");
    }
    inet = place.family == AF_INET;
    bench_prepare();
    ring_open();
    buffers_open();
    listener = bench_serve(&place, 0);
    bench_ready(&place);
    serve();
}
