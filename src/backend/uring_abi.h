/* uring_abi.h - what io_uring's system calls take and give: our own copies.
 *
 * The headers of the machine that builds may be older than the kernel that
 * runs, or lack the file altogether.  Names are the kernel's without their
 * common beginning; only what is used here.
 */
#ifndef CA_BACKEND_URING_ABI_H
#define CA_BACKEND_URING_ABI_H

#include <stdint.h>

/* The same numbers on every architecture but alpha. */
enum {
    URING_SYS_SETUP = 425,
    URING_SYS_ENTER = 426,
    URING_SYS_REGISTER = 427,
};

/* Flags of setup. */
#define URING_SETUP_CQSIZE (1u << 3)
#define URING_SETUP_CLAMP (1u << 4)
#define URING_SETUP_COOP_TASKRUN (1u << 8)
#define URING_SETUP_TASKRUN_FLAG (1u << 9)
#define URING_SETUP_SINGLE_ISSUER (1u << 12)
#define URING_SETUP_DEFER_TASKRUN (1u << 13)

/* Features that setup reports. */
#define URING_FEAT_SINGLE_MMAP (1u << 0)
#define URING_FEAT_NODROP (1u << 1)
#define URING_FEAT_SUBMIT_STABLE (1u << 2)
#define URING_FEAT_RW_CUR_POS (1u << 3)
#define URING_FEAT_EXT_ARG (1u << 8)

/* Flags of enter. */
#define URING_ENTER_GETEVENTS (1u << 0)
#define URING_ENTER_EXT_ARG (1u << 3)

/* Bits in the kernel's half of the submission ring. */
#define URING_SQ_CQ_OVERFLOW (1u << 1)
#define URING_SQ_TASKRUN (1u << 2)

/* What register is asked for. */
enum {
    URING_REGISTER_PROBE = 8,
    URING_REGISTER_PBUF_RING = 22,
};

/* Operations. */
enum {
    URING_OP_NOP = 0,
    URING_OP_FSYNC = 3,
    URING_OP_POLL_ADD = 6,
    URING_OP_ASYNC_CANCEL = 14,
    URING_OP_READ = 22,
    URING_OP_WRITE = 23,
    URING_OP_RECV = 27,
};

/* Flags of every entry; of receiving, in ioprio; of what has finished. */
#define URING_SQE_BUFFER_SELECT (1u << 5)
#define URING_RECV_MULTISHOT (1u << 1)
#define URING_CQE_BUFFER (1u << 0)
#define URING_CQE_MORE (1u << 1)
#define URING_CQE_BUFFER_SHIFT 16

#define URING_FSYNC_DATASYNC (1u << 0)
#define URING_CANCEL_ALL (1u << 0)
#define URING_CANCEL_ANY (1u << 2)

/* Where mmap() finds the rings. */
#define URING_OFF_RINGS INT64_C(0)
#define URING_OFF_SQES INT64_C(0x10000000)

typedef struct {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off;
    uint64_t addr;
    uint32_t len;
    uint32_t op_flags;
    uint64_t user_data;
    uint16_t buf_index;
    uint16_t personality;
    int32_t splice_fd_in;
    uint64_t addr3;
    uint64_t pad;
} uring_sqe;

typedef struct {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
} uring_cqe;

typedef struct {
    uint32_t head;
    uint32_t tail;
    uint32_t ring_mask;
    uint32_t ring_entries;
    uint32_t flags;
    uint32_t dropped;
    uint32_t array;
    uint32_t pad;
    uint64_t user_addr;
} uring_sq_offsets;

typedef struct {
    uint32_t head;
    uint32_t tail;
    uint32_t ring_mask;
    uint32_t ring_entries;
    uint32_t overflow;
    uint32_t cqes;
    uint32_t flags;
    uint32_t pad;
    uint64_t user_addr;
} uring_cq_offsets;

typedef struct {
    uint32_t sq_entries;
    uint32_t cq_entries;
    uint32_t flags;
    uint32_t sq_thread_cpu;
    uint32_t sq_thread_idle;
    uint32_t features;
    uint32_t wq_fd;
    uint32_t pad[3];
    uring_sq_offsets sq_off;
    uring_cq_offsets cq_off;
} uring_params;

typedef struct {
    int64_t s;
    int64_t ns;
} uring_timespec;

/* What enter takes with URING_ENTER_EXT_ARG. */
typedef struct {
    uint64_t sigmask;
    uint32_t sigmask_size;
    uint32_t min_wait_us;
    uint64_t timespec;                 /* address of a uring_timespec */
} uring_wait_arg;

typedef struct {
    uint8_t op;
    uint8_t pad;
    uint16_t flags;                    /* 1: supported */
    uint32_t pad2;
} uring_probe_op;

typedef struct {
    uint8_t last_op;
    uint8_t ops_len;
    uint16_t pad;
    uint32_t pad2[3];
    uring_probe_op ops[256];
} uring_probe;

/* One entry of a ring of buffers.  `tail` counts in the first one only. */
typedef struct {
    uint64_t addr;
    uint32_t len;
    uint16_t bid;
    uint16_t tail;
} uring_buf;

typedef struct {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid;
    uint16_t flags;
    uint64_t pad[3];
} uring_buf_reg;

_Static_assert(sizeof(uring_buf) == 16, "the kernel's size");
_Static_assert(sizeof(uring_buf_reg) == 40, "the kernel's size");
_Static_assert(sizeof(uring_sqe) == 64, "the kernel's size");
_Static_assert(sizeof(uring_cqe) == 16, "the kernel's size");
_Static_assert(sizeof(uring_params) == 120, "the kernel's size");

#endif
