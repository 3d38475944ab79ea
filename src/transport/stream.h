/* stream.h - struct CaStream: a connected TCP or UNIX stream socket.
 *
 * The native type holds what runs per message; casyncio/_transports.py derives
 * from it the class that users see, with what runs per connection or mistake.
 *
 * States.  Born: made, its connection_made() queued, the descriptor claimed.
 * Open: reads unless paused.  Closing: no more reads; what is buffered is
 * still sent; connection_lost() is queued when nothing is left.  Lost:
 * connection_lost() was called, the descriptor is closed, the protocol gone.
 *
 * Writing has three states: nothing waits; held (in loop->held: offered to the
 * kernel when the callback that runs is done, see loop/held.h); blocked (the
 * kernel refused some, POLL_OUT is watched).  Bytes that are held count as
 * sent for flow control, since the kernel has not refused them.
 */
#ifndef CA_TRANSPORT_STREAM_H
#define CA_TRANSPORT_STREAM_H

#include "loop/held.h"
#include "loop/loop.h"
#include "loop/watcher.h"
#include "py/sockaddr.h"
#include "transport/wqueue.h"

#include <stdbool.h>

/* Where the socket came from and what it is called; kernel's form, packed. */
typedef struct {
    socklen_t local_length;
    socklen_t peer_length;
    char addresses[];                  /* local, then peer; of IPv4 ones not
                                          the zeros at their ends */
} ca_names;

typedef enum {
    CA_PROTOCOL_DATA,                  /* data_received() */
    CA_PROTOCOL_READER,                /* asyncio's own for streams */
    CA_PROTOCOL_BUFFERED,              /* get_buffer(), buffer_updated() */
    CA_PROTOCOL_TLS,                   /* ours, see tls.h */
} ca_protocol_kind;

/* Watermarks that somebody has set. */
typedef struct {
    PyObject *pair;                    /* strong; (low, high) as given */
    int64_t high;                      /* the same, in bytes */
    int64_t low;
} ca_limits;

enum {
    CA_DEFAULT_HIGH = 64 * 1024,       /* asyncio's watermarks, in bytes */
    CA_DEFAULT_LOW = 16 * 1024,
};

typedef struct ca_stream {
    PyObject_HEAD
    PyObject *extra;                   /* strong; the slot `_extra` of
                                          asyncio.BaseTransport: the dict that
                                          was given or NULL */
    /* The next four are the slots of _FlowControlMixin, hidden by attributes
     * of ours.  Its descriptors still reach them: any object may be put there,
     * so these are the fields that may be any object or NULL. */
    PyObject *protocol;                /* strong; NULL when lost */
    PyObject *sock;                    /* strong, closed when lost; NULL: not
                                          asked for yet */
    PyObject *server;                  /* strong or NULL */
    PyObject *empty_waiter;            /* strong; NULL, None, or a Future that
                                          waits for the queue to be empty */
    CaLoop *loop;                      /* strong */
    PyObject *context;                 /* strong; callbacks run in it */
    PyObject *acceptor;                /* strong or NULL; for its hint */
    ca_limits *limits;                 /* owned; NULL: asyncio's own */
    ca_names *names;                   /* owned or NULL */
    ca_watcher watcher;                /* registered for fd */
    ca_held held;                      /* its place in loop->held */
    ca_dnode client;                   /* in the list of its server, or alone;
                                          see clients.h */
    ca_wqueue out;
    int fd;                            /* owned by `sock` if there is one, else
                                          by us; kept for repr() when lost */
    int family;
    ca_gathering gathering;
    uint32_t conn_lost;
    uint8_t protocol_kind;             /* ca_protocol_kind */
    bool connected;                    /* `protocol` is to be told */
    bool started;                      /* reading may begin */
    bool ended;                        /* the protocol has kept the connection
                                          open after the peer's end */
    bool end_is_news;                  /* the present one was not told of it */
    bool closing;
    bool paused;
    bool eof;                          /* write_eof() was called */
    bool end_queued;                   /* the end of reading is on its way */
    bool reading;                      /* POLL_IN is watched */
    bool blocked;                      /* POLL_OUT is watched */
    bool protocol_paused;
    bool lost;
} CaStream;

extern const ca_watcher_vt ca_stream_watcher_vt;

/* Make the native type, with asyncio.Transport as its base; new reference.
 * NULL without an exception when the base does not look as we think. */
PyObject *ca_stream_type_new(PyObject *module, ca_state *st);

/* A transport without protocol for a descriptor, taken over also on failure
 * (then it is closed).  `peer` may be NULL. */
CaStream *ca_stream_from_fd(CaLoop *loop, int fd, PyObject *context,
                            const ca_sockaddr *peer);

/* A transport for a socket object; its callbacks run in `context` (NULL: in a
 * copy of the current one). */
CaStream *ca_stream_from_socket(CaLoop *loop, PyObject *sock,
                                PyObject *context);

/* Whether it receives into a buffer of its own: a BufferedProtocol, or what
 * has get_buffer() and no data_received().  1, 0 or -1. */
int ca_protocol_is_buffered(const ca_state *st, PyObject *protocol);

/* Send small writes at once, if it is TCP.  Stock asks the socket object,
 * whose protocol number is often 0; the kernel knows better.  Sockets accepted
 * from a listener inherit it. */
void ca_stream_set_nodelay(int fd);

/* Give it what is missing and queue connection_made(), then the begin of
 * reading, then the waiter's result (NULL: none).  0 or -1.  May run
 * Python. */
int ca_stream_begin(CaStream *self, PyObject *protocol, PyObject *server,
                    PyObject *waiter);

/* ---- shared between the files of this noun ---- */

static inline PyObject *
ca_stream_name_borrow(const CaStream *self, int which)
{
    return self->loop->st->names[which];
}

static inline bool
ca_stream_is_held(const CaStream *self)
{
    return ca_dlist_linked(&self->held.node);
}

static inline bool
ca_stream_has_empty_waiter(const CaStream *self)
{
    return self->empty_waiter != NULL && self->empty_waiter != Py_None;
}

/* Bytes that the kernel refused so far. */
static inline size_t
ca_stream_buffered(const CaStream *self)
{
    return ca_stream_is_held(self) ? 0 : ca_wqueue_nbytes(&self->out);
}

static inline int64_t
ca_stream_high(const CaStream *self)
{
    return self->limits == NULL ? CA_DEFAULT_HIGH : self->limits->high;
}

static inline int64_t
ca_stream_low(const CaStream *self)
{
    return self->limits == NULL ? CA_DEFAULT_LOW : self->limits->low;
}

/* Back to the default.  May run Python. */
void ca_limits_free(ca_limits **limits);

/* The one argument of a method call, by position or `name`; borrowed.  NULL
 * with stock's TypeError when the call does not bind. */
PyObject *ca_stream_one_borrow(CaStream *self, int method, int name,
                               PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames);

/* Call a method of the protocol; arg NULL: without argument. New reference or
 * NULL.  May run Python. */
PyObject *ca_stream_call(CaStream *self, int which, PyObject *arg);

/* Call a method of ours that takes nothing; 0 or -1.  May run Python. */
int ca_stream_tell(CaStream *self, int name);

/* Call a method of the server, with us as argument if it wants to know; 0 or
 * -1.  May run Python. */
int ca_stream_tell_server(CaStream *self, PyObject *server, int name);

/* Queue a call of op.name(arg) in the transport's context; 0 or -1. */
int ca_stream_queue_call(CaStream *self, PyObject *op, int name,
                         PyObject *arg);

/* The descriptor for a system call; -1 when its socket object was closed. */
int ca_stream_fd(const CaStream *self);

/* Watch for reading or stop, as the state says; 0 or -1. */
int ca_stream_update_reading(CaStream *self);

/* Others have the socket object from now on: read only when asked; 0 or -1. */
int ca_stream_share(CaStream *self);

/* Call self._fatal_error(exc, message) with the exception that is set, unless
 * it must leave the loop: 0 or -1.  May run Python. */
int ca_stream_fail(CaStream *self, const char *message);

/* Queue connection_lost(exc); 0 or -1. */
int ca_stream_queue_lost(CaStream *self, PyObject *exc);
int ca_stream_close(CaStream *self);
int ca_stream_force_close(CaStream *self, PyObject *exc);

/* Stop waiting for the descriptor to be writable, and drop what waits. */
void ca_stream_drop_output(CaStream *self);

/* Offer what is held back to the kernel; 0 or -1.  May run Python. */
int ca_stream_flush(CaStream *self);
int ca_stream_flush_held(ca_held *held);

/* transport.write(data) of a plain one; 0 or -1.  May run Python. */
int ca_stream_write(CaStream *self, PyObject *data);

/* Whether write() and is_closing() of the class are ours: asked, and
 * remembered for as long as the class is the same. */
bool ca_stream_ask_class(ca_state *st);

/* Whether `transport` is one of ours with our write() and is_closing(), so
 * that both can be done without calling them.  With attributes of its own,
 * which may come by way of its __dict__, it is not. */
static inline bool
ca_stream_is_plain(ca_state *st, PyObject *transport)
{
    PyTypeObject *type = Py_TYPE(transport);
    if ((PyObject *)type != st->SocketTransport ||
        ca_object_has_dict(transport)) {
        return false;
    }
    return ca_typetag_holds(st->transport_type, type)
               ? st->transport_plain
               : ca_stream_ask_class(st);
}

/* Write bytes that somebody else owns; 0 or -1.  May run Python. */
int ca_stream_write_memory(CaStream *self, const char *data, size_t nbytes);

/* Send what the kernel takes now if nothing stands before it: bytes, 0 when
 * the stream is to decide, or -errno.  What is left is for
 * ca_stream_refused(), with the reason, or for ca_stream_write_memory().  Runs
 * no Python. */
ssize_t ca_stream_offer(CaStream *self, const char *data, size_t nbytes);
int ca_stream_refused(CaStream *self, const char *data, size_t nbytes,
                      ssize_t err);

/* Receive what the kernel has: bytes, 0 at the end of the stream, or -errno.
 * Runs no Python. */
ssize_t ca_stream_receive(CaStream *self, char *buffer, size_t size);

/* Descriptor ready, in a context that is entered already; 0 or -1. */
int ca_stream_read(CaStream *self);
int ca_stream_send_more(CaStream *self);

int ca_stream_set_protocol(CaStream *self, PyObject *protocol);

/* Call protocol.pause_writing() or resume_writing() if it is due; 0 or -1. */
int ca_stream_maybe_pause(CaStream *self);
int ca_stream_maybe_resume(CaStream *self);

PyObject *ca_stream_py_is_closing(PyObject *op, PyObject *none);

extern PyMethodDef ca_stream_read_methods[];
extern PyMethodDef ca_stream_write_methods[];
extern PyMethodDef ca_stream_close_methods[];

#endif
