/* sockcall.h - what loop.sock_recv() and its like return: native coroutines.
 *
 * Nothing happens before the first send(), as with stock's.  Then the system
 * call is tried; when it would block, the call watches the descriptor, yields
 * a future, and tries again each time the descriptor is ready, in the I/O
 * phase of the turn.
 *
 * While it waits, a close() of the socket is put off until it is done: bytes
 * that were asked for arrive, and the number cannot become another file's.
 *
 * Only the plain case is done here: a loop and a socket nobody has tampered
 * with, arguments that need no interpretation.  In all others the call makes
 * stock's coroutine at its first send() and hands everything on to it.
 */
#ifndef CA_TRANSPORT_SOCKCALL_H
#define CA_TRANSPORT_SOCKCALL_H

#include "loop/watcher.h"
#include "task/coro.h"
#include "transport/sockwatch.h"

#include <stdbool.h>

enum { CA_SOCKCALL_MAX_ARGS = 3, CA_FREELIST_SOCK_CALLS = 256 };

typedef enum {
    CA_SOCKCALL_DONE,                  /* there is a result */
    CA_SOCKCALL_AGAIN,                 /* it would block */
    CA_SOCKCALL_FAILED,                /* an exception is set */
    CA_SOCKCALL_STOCK,                 /* not the plain case; nothing done */
} ca_sock_outcome;

struct ca_sock_op;

typedef struct CaSockCall {
    CaCoro c;
    CaLoop *loop;                      /* strong; NULL once spent */
    const struct ca_sock_op *op;       /* borrowed: static */
    PyObject *args[CA_SOCKCALL_MAX_ARGS]; /* strong; the socket first, and NULL
                                          when spent */
    PyObject *view;                    /* strong; memoryview of what is sent */
    ca_watcher watcher;                /* of a call that waits for room */
    CaSockWatch *watch;               /* strong; of one that waits for bytes */
    Py_ssize_t size;                   /* wanted; or of it, sent already */
    int fd;                            /* that is watched */
    uint8_t nargs;
    bool keep;                        /* the watch; the last try has set it: */
    bool drained;                      /* nothing is left to be received */
    bool holds;                        /* the socket, which stays open */
    bool lost;                         /* the watch is another's by now */
} CaSockCall;

/* One per method. */
typedef struct ca_sock_op {
    const char *name;
    ca_op_kind kind;                   /* what it waits for */
    bool holds;                        /* the socket, while it waits */
    /* First try; left out when it is known to be in vain. */
    ca_sock_outcome (*start)(CaSockCall *call, PyObject **result);
    /* Another one; never CA_SOCKCALL_STOCK. */
    ca_sock_outcome (*again)(CaSockCall *call, PyObject **result);
} ca_sock_op;

extern const ca_sock_op ca_sock_op_recv;
extern const ca_sock_op ca_sock_op_recv_into;
extern const ca_sock_op ca_sock_op_recvfrom;
extern const ca_sock_op ca_sock_op_recvfrom_into;
extern const ca_sock_op ca_sock_op_sendall;
extern const ca_sock_op ca_sock_op_sendto;
extern const ca_sock_op ca_sock_op_connect;
extern const ca_sock_op ca_sock_op_accept;

extern PyType_Spec ca_sockcall_spec;

/* Whether a call on that loop with that socket may be ours.  May run Python
 * (a metaclass). */
bool ca_sockcall_is_plain(CaLoop *loop, PyObject *sock);

/* The descriptor is ready: try again now or in its turn, and finish the
 * future.  0, or -1 with the exception that must leave the loop. */
int ca_sockcall_ready(CaLoop *loop, CaSockCall *self);

/* It will not be told of readiness any more: let go of the socket.  May run
 * Python. */
void ca_sockcall_let_go(CaSockCall *self);

/* A new call.  args: the method's, all of them, the socket first. */
PyObject *ca_sockcall_new(CaLoop *loop, const ca_sock_op *op,
                          PyObject *const *args, Py_ssize_t nargs);

#endif
