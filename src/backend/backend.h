/* backend.h - the whole contract between the reactor and one kernel interface.
 *
 * Completion-shaped: callers arm operations and are handed finished ones; they
 * never learn which backend they have.  A readiness interface imitates that, a
 * completion ring does it by nature.
 *
 * Operations of kind POLL_IN and POLL_OUT are level-triggered and repeat: an
 * armed one finishes again in every wait in which its descriptor is ready (or
 * in error or hung up: both directions finish then), until it is cancelled.
 *
 * RECV is POLL_IN for a stream socket whose owner, before he closes it, says
 * forget(): it takes the place of POLL_IN and finishes like it, in every wait
 * in which bytes, an end or an error are there for recv().  Where the kernel
 * receives ahead of being asked, they may have left the socket by then; so
 * nobody else may receive from it, and nobody may close it unsaid.  A UNIX
 * socket then forgets to reset a peer whose bytes were not delivered.
 *
 * Jobs (kinds READ and later) are for files that nobody can wait for: each
 * finishes once, with a result.  Not every backend takes them, and whoever
 * submits one has another way.  A job that has been taken is never cancelled;
 * who does not want its result any more lets it finish.
 *
 * Ownership: the memory of an op belongs to whoever arms it and stays valid
 * until cancel() returned; that of a job, its buffer and its descriptor until
 * it has finished or the backend is closed.  The backend holds at most one
 * armed op per direction and descriptor.  Nothing here closes a caller's
 * descriptor.
 */
#ifndef CA_BACKEND_BACKEND_H
#define CA_BACKEND_BACKEND_H

#include "base/dlist.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    CA_OP_POLL_IN,                     /* readable, or hung up, or in error */
    CA_OP_POLL_OUT,                    /* writable, or hung up, or in error */
    CA_OP_RECV,                        /* as POLL_IN, and then recv() is due */
    CA_OP_READ,                        /* as pread(2) */
    CA_OP_WRITE,                       /* as pwrite(2) */
    CA_OP_FSYNC,
    CA_OP_FDATASYNC,
} ca_op_kind;

typedef struct ca_op {
    ca_dnode link;                     /* in a list of finished ops or alone */
    int fd;                            /* not owned */
    uint8_t kind;                      /* ca_op_kind */
    bool armed;                        /* the backend's; read-only outside */
} ca_op;

/* A job.  Its op is armed from submit() until it has finished. */
typedef struct {
    ca_op op;
    char *buf;                         /* borrowed: lent until finished */
    uint32_t nbytes;
    int64_t offset;                    /* -1: at the file's own position */
    int32_t result;                  /* bytes, or -errno; -ECANCELED: undone */
} ca_job;

typedef struct ca_backend ca_backend;

typedef struct ca_backend_vt {
    const char *name;
    /* Make one; 0 or -errno. */
    int (*open)(ca_backend **out);
    /* Release everything; armed ops are forgotten.  Jobs are waited for, so
     * that nobody writes into their buffers any more. */
    void (*close)(ca_backend *be);
    /* Watch op->fd.  Arming an armed op registers its descriptor anew, which
     * heals a number that was closed and reused meanwhile; if it was finished
     * and not yet taken, it is taken off that list (it finishes again if it
     * is ready still).  0, or -errno and then nothing has changed: -EBADF,
     * -EPERM (a file that cannot be waited for: regular file, directory),
     * -EEXIST (another op holds that direction), -ENOMEM, -ENOSPC. */
    int (*arm)(ca_backend *be, ca_op *op);
    /* Forget op, also when its descriptor is closed or reused already, and
     * take it off any list of finished ops.  Harmless when it is not armed. */
    void (*cancel)(ca_backend *be, ca_op *op);
    /* Block at most timeout_ns (0: only look, CA_CLOCK_NEVER: no limit).
     * 0, or -errno (-EINTR when a signal came).  Touches nothing that arm or
     * cancel touch, so they may run in other threads meanwhile; whether a
     * wait that is going on notices what they did is not promised (who needs
     * that wakes it, see reactor/wake.h). */
    int (*wait)(ca_backend *be, int64_t timeout_ns);
    /* Append what the last wait found to `done`: kernel order, for one
     * descriptor POLL_IN before POLL_OUT.  An op cancelled since, or of an
     * earlier generation of its number, is dropped. */
    void (*reap)(ca_backend *be, ca_dnode *done);
    /* In a forked child, before anything else: cut every tie with the
     * parent's kernel object and watch the armed ops with one of our own.
     * Ops whose descriptor is closed stay armed and silent.  0, or -errno and
     * then the ties are cut, nothing is watched, and it may be tried again
     * (cancel and close are harmless in between). */
    int (*after_fork)(ca_backend *be);
    /* Receive from a stream socket, the descriptor of an armed op: at most
     * `size` bytes into `buf`.  With `where`, which then says where they are,
     * they may be elsewhere too, until this is called again or reap() is, and
     * before any other code of the caller's runs that may do that.  Bytes, 0
     * at the end of the stream, or -errno; -EAGAIN: nothing is there.  Other
     * descriptors are received from as well.  With size 0 nothing is taken:
     * the error that was received ahead of being asked, or -EAGAIN. */
    ptrdiff_t (*recv)(ca_backend *be, int fd, char *buf, size_t size,
                      char **where);
    /* A descriptor that RECV was armed for, and cancelled, is about to be
     * closed: let go of its socket and of what has come.  Harmless for other
     * descriptors.  NULL: nothing is ever kept. */
    void (*forget)(ca_backend *be, int fd);
    /* Take a job, which leaves with the next wait.  Only where wait() is
     * called too.  NULL: this row takes none.  0, or -errno and it was not
     * taken: -EOPNOTSUPP for good, others for now.  In a forked child, what
     * the parent has in flight finishes as undone. */
    int (*submit)(ca_backend *be, ca_job *job);
} ca_backend_vt;

struct ca_backend {
    const ca_backend_vt *vt;           /* first member of every backend */
};

static inline void
ca_op_init(ca_op *op, ca_op_kind kind, int fd)
{
    ca_dlist_init(&op->link);
    op->fd = fd;
    op->kind = (uint8_t)kind;
    op->armed = false;
}

/* The direction of an op that is not a job: 0 reads, 1 writes. */
static inline int
ca_op_side(int kind)
{
    return kind == CA_OP_POLL_OUT;
}

static inline bool
ca_op_is_job(const ca_op *op)
{
    return op->kind >= CA_OP_READ;
}

/* recv(2) without waiting: the `recv` of a row that keeps nothing. */
ptrdiff_t ca_backend_recv(ca_backend *be, int fd, char *buf, size_t size,
                          char **where);

/* The row called `name`, NULL when there is none.  "auto" is the first row. */
const ca_backend_vt *ca_backend_find(const char *name);

/* The i-th row, best first; NULL after the last. */
const ca_backend_vt *ca_backend_at(int i);

extern const ca_backend_vt ca_backend_epoll;
extern const ca_backend_vt ca_backend_poll;
extern const ca_backend_vt ca_backend_uring;

#endif
