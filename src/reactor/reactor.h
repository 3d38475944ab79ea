/* reactor.h - what is in flight: watched descriptors, timers, wake-ups.
 *
 * One reactor per loop; everything belongs to the loop's thread except
 * ca_reactor_wake().  Nothing of a turn lives in a stack frame: finished ops
 * stay on `done` until taken one by one, so a nested turn finds them.
 */
#ifndef CA_REACTOR_REACTOR_H
#define CA_REACTOR_REACTOR_H

#include "backend/backend.h"
#include "base/clock.h"
#include "base/heap.h"
#include "reactor/wake.h"
#include "reactor/watch.h"

#include <stdbool.h>

/* A job and who is told of its end; in memory of the owner's. */
typedef struct {
    ca_job job;
    ca_dnode link;                     /* in r->jobs while somebody waits */
    void *owner;                       /* opaque; kept alive by the caller */
} ca_reactor_job;

typedef struct {
    ca_backend *be;                    /* owned; NULL: not open */
    ca_heap timers;
    ca_watch_table watches;
    ca_wake wake;
    ca_dnode done;                     /* finished ops, oldest first */
    ca_dnode jobs;                     /* submitted and not taken yet */
    uint32_t fork_count;               /* forks noticed when it was built */
} ca_reactor;

/* Open with a row of the backend table; 0, or -errno and all is closed. */
int ca_reactor_open(ca_reactor *r, const ca_backend_vt *vt);

/* Close descriptors and forget watches and timers; jobs in flight are waited
 * for.  Owners of watches and jobs are handed to `drop` (NULL: not wanted)
 * after everything is closed, so it may do what it likes, open the reactor
 * again included.  Harmless when closed. */
void ca_reactor_close(ca_reactor *r, void (*drop)(void *owner));

static inline bool
ca_reactor_is_open(const ca_reactor *r)
{
    return r->be != NULL;
}

/* Watch one direction of fd for `owner` (not NULL), replacing the watch that
 * is there; *old is the previous owner, NULL when there was none.  What was
 * found for the previous owner and not yet taken is forgotten.  0 or -errno,
 * and then nothing has changed. */
int ca_reactor_watch(ca_reactor *r, int fd, ca_op_kind kind, void *owner,
                     void **old);

/* Stop watching; returns the owner, NULL when there was none. */
void *ca_reactor_unwatch(ca_reactor *r, int fd, ca_op_kind kind);

/* Owner of that watch, NULL when there is none. */
void *ca_reactor_owner(const ca_reactor *r, int fd, ca_op_kind kind);

/* Receive from a stream socket that is watched for RECV, or from any; see the
 * backend's recv().  Bytes, 0 at the end, or -errno. */
ptrdiff_t ca_reactor_recv(ca_reactor *r, int fd, char *buf, size_t size,
                          char **where);

/* Call before closing a socket that was watched for RECV, after unwatch().
 * Harmless otherwise, and when the reactor is closed. */
void ca_reactor_forget(ca_reactor *r, int fd);

/* Whether jobs are done here at all. */
static inline bool
ca_reactor_does_jobs(const ca_reactor *r)
{
    return r->be != NULL && r->be->vt->submit != NULL;
}

/* Have a job done, whose op, buffer, size and offset are set; its owner comes
 * out of next() once, when the job has its result, or is dropped by close().
 * Only the thread that waits.  0, or -errno and nothing has changed;
 * -EOPNOTSUPP: this backend does no jobs. */
int ca_reactor_submit(ca_reactor *r, ca_reactor_job *job, void *owner);

/* Block at most timeout_ns (see the backend's wait).  0 or -errno; -EINTR when
 * a signal came.  The interpreter lock need not be held. */
int ca_reactor_wait(ca_reactor *r, int64_t timeout_ns);

/* Collect what the last wait found into r->done; wake-ups are used up here. */
void ca_reactor_reap(ca_reactor *r);

/* Owner of the next finished watch or job, NULL when there is none left; *op
 * is what finished, good until the watch is touched.  They come in the
 * kernel's order, for one descriptor reading before writing. */
void *ca_reactor_next(ca_reactor *r, const ca_op **op);

/* Whether next() has something to give. */
static inline bool
ca_reactor_has_finished(const ca_reactor *r)
{
    return !ca_dlist_empty(&r->done);
}

/* Make a wait that is going on, or the next one, return at once.  Any thread,
 * also a signal handler. */
void ca_reactor_wake(ca_reactor *r);

/* Call in a forked child: every reactor rebuilds itself at its next use. */
void ca_reactor_note_fork(void);

/* Rebuild if the process was forked since the last use; 0 or -errno (no
 * descriptor left, say), and then the next use tries again.  Called by watch,
 * unwatch and wait; close() needs no rebuilding.  In every case the parent's
 * kernel objects are left alone.  It changes what arm and cancel change: where
 * other threads may call those, call it with their lock before wait(). */
int ca_reactor_check_fork(ca_reactor *r);

#endif
