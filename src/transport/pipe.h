/* pipe.h - struct CaPipe and CaWritePipe: one end of a pipe, of a terminal or
 * of a socket that is used as one.
 *
 * The native types hold what runs per message; casyncio/_pipes.py derives from
 * them the classes that users see, with what runs per pipe or mistake.
 *
 * A callback's writes are gathered as the stream transport does it, see
 * stream.h, but not on sockets and on pipes of packets, and with care: a write
 * of up to PIPE_BUF bytes arrives whole whoever else writes, so no more small
 * ones are gathered than that.
 *
 * States.  Open: from _open().  Closing: what is buffered is still written;
 * _call_connection_lost() follows.  Lost, or never opened: `pipe` is NULL, and
 * so is `loop`.
 */
#ifndef CA_TRANSPORT_PIPE_H
#define CA_TRANSPORT_PIPE_H

#include "loop/held.h"
#include "loop/loop.h"
#include "loop/watcher.h"
#include "py/fdowner.h"
#include "transport/wqueue.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD
    PyObject *extra;                   /* strong; the slot `_extra` of
                                          asyncio.BaseTransport */
    CaLoop *loop;                      /* strong; NULL: not open */
    PyObject *pipe;                    /* strong; NULL: not open */
    PyObject *protocol;                /* strong; NULL: not open */
    PyObject *context;                 /* strong; in which _read_ready() runs;
                                          NULL until it is watched */
    ca_fdowner owner;                  /* of fd; asked before each use */
    ca_watcher watcher;                /* registered for fd */
    int fd;                            /* owned by `pipe`; kept for repr() */
    bool slow;                         /* a device: system calls may block */
    bool closing;                      /* true before it is open, too */
    bool paused;                       /* of the reading end */
    bool reading;                      /* POLL_IN is watched */
} CaPipe;

typedef struct {
    CaPipe base;
    PyObject *out_context;             /* strong; as `context`, for writing */
    PyObject *high_water;              /* strong; numbers, in bytes */
    PyObject *low_water;
    ca_held held;                      /* its place in loop->held */
    ca_wqueue out;                     /* held back, or the kernel refused */
    ca_gathering gathering;
    uint32_t conn_lost;
    bool may_gather;                   /* the reader sees no difference */
    bool blocked;                      /* POLL_OUT is watched */
    bool protocol_paused;
} CaWritePipe;

/* The native types; new references.  NULL without an exception when the base
 * in asyncio does not look as we think. */
PyObject *ca_pipe_type_new(PyObject *module);
PyObject *ca_read_pipe_type_new(PyObject *module, PyObject *pipe_type);
PyObject *ca_write_pipe_type_new(PyObject *module, PyObject *pipe_type);

/* ---- shared between the files of this noun ---- */

/* What _open() does with its arguments (loop, pipe, fileno, protocol, slow);
 * 0 or -1. */
int ca_pipe_open(CaPipe *self, PyObject *args, const ca_watcher_vt *vt);

/* The descriptor for a system call; -1 when its owner has closed it.  May run
 * Python, after which the transport may be lost. */
int ca_pipe_fd(const CaPipe *self);

/* Queue a call of op.name(arg), or op.name() for NULL; 0 or -1. */
int ca_pipe_call_soon(CaPipe *self, PyObject *op, int name, PyObject *arg);

/* Watch one direction, from now on in a copy of the current context, which is
 * put into *context; 0, or -1 also when the owner has closed it. */
int ca_pipe_watch(CaPipe *self, ca_op_kind kind, PyObject **context);

/* Watch for reading, or stop. */
int ca_pipe_start_reading(CaPipe *self);
void ca_pipe_stop_reading(CaPipe *self);

/* The descriptor is ready: `act` in this context, or in debug mode a handle
 * for the method `name`.  An exception is reported as that of such a handle.
 * 0, or -1 with what must leave the loop. */
int ca_pipe_ready(CaPipe *self, PyObject *context, int name,
                  int (*act)(CaPipe *));

/* The second half: act now, in any mode. */
int ca_pipe_act(CaPipe *self, PyObject *context, int name,
                int (*act)(CaPipe *));

/* Call a method of ours that takes nothing; 0 or -1. */
int ca_pipe_tell(CaPipe *self, int name);

/* Call self._fatal_error(exc, message) with the exception that is set, unless
 * it must leave the loop: 0 or -1. */
int ca_pipe_fail(CaPipe *self, const char *message);

/* The end: protocol.connection_lost(exc), then let go of everything and close
 * the pipe.  Does nothing when repeated.  0 or -1. */
int ca_pipe_lose(CaPipe *self, PyObject *exc);

/* The base's part of what a derived type does itself. */
PyObject *ca_pipe_new(PyTypeObject *type);
int ca_pipe_traverse(CaPipe *self, visitproc visit, void *arg);
void ca_pipe_clear(CaPipe *self);
void ca_pipe_release(CaPipe *self);

#endif
