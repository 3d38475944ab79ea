/* datagram.h - the native half of DatagramTransport.
 *
 * It holds the state under the names of asyncio's own transport, and has a
 * short way for what is hot: a datagram that leaves at once, and datagrams
 * that come.  Everything else is done by asyncio's own methods, which run on
 * this object as on one of theirs: the Python class borrows them, and the
 * short way hands over to them whenever something is not as usual.
 */
#ifndef CA_TRANSPORT_DATAGRAM_H
#define CA_TRANSPORT_DATAGRAM_H

#include "loop/watcher.h"
#include "transport/peers.h"

enum { CA_DATAGRAM_BATCH = 32 };

/* Datagrams that leave when a batch is delivered; lives on the stack of
 * whoever delivers it. */
typedef struct {
    int count;
    uint64_t since_ticks;              /* when delivering began */
    PyObject *data[CA_DATAGRAM_BATCH]; /* strong; exact bytes */
    PyObject *address[CA_DATAGRAM_BATCH]; /* strong */
    struct mmsghdr messages[CA_DATAGRAM_BATCH];
    struct iovec parts[CA_DATAGRAM_BATCH];
    struct sockaddr_in6 to[CA_DATAGRAM_BATCH];
} ca_gather;

typedef struct {
    PyObject_HEAD
    PyObject *extra;                   /* strong; the base's slot, first */
    ca_state *st;                      /* borrowed: our type keeps it alive */
    CaLoop *loop;                      /* strong; NULL: None */
    PyObject *sock;                    /* strong; as are all objects below;
                                          NULL stands for None */
    PyObject *protocol;
    PyObject *address;                 /* whereto; truthy or None */
    PyObject *server;
    PyObject *buffer;                  /* deque of (bytes, address); NULL until
                                          somebody asks for it */
    PyObject *high_water;
    PyObject *low_water;
    PyObject *context;                 /* in which datagrams are delivered */
    PyObject *kept;                    /* list of (bytes, address) that were
                                          read and may not be delivered yet */
    ca_watcher watcher;
    ca_peers peers;
    ca_gather *gather;                /* borrowed: of the deliverer below us on
                                          the stack; NULL: send at once */
    Py_ssize_t buffer_size;
    Py_ssize_t max_size;
    Py_ssize_t conn_lost;
    int fd;
    int family;
    unsigned char want;                /* datagrams to ask for at once */
    unsigned char patience;            /* reads until it asks for more */
    char closing;                      /* bool, as all below: T_BOOL */
    char paused;
    char protocol_connected;
    char protocol_paused;
    char connected;                    /* send(), not sendto() */
    char usual;                        /* sock is what it was opened with */
    char delivering;                   /* datagram_received() is running */
    char slow;                         /* its protocol took long last time */
    char claimed;                      /* it has fd, see loop/claims.h */
} CaDatagram;

extern PyType_Spec ca_datagram_spec;

/* Whether the base has the one slot that CaDatagram begins with. */
bool ca_datagram_base_fits(const ca_state *st);

/* The socket can be used without asking it; closed behind our back it
 * cannot. */
bool ca_datagram_usual(const CaDatagram *self);

/* Call error_received() of the protocol with the OSError of `err` (-errno); 0
 * or -1.  May run Python. */
int ca_datagram_tell_error(CaDatagram *self, int err);

/* The protocol may get datagrams. */
static inline bool
ca_datagram_reading(const CaDatagram *self)
{
    return !self->closing && !self->paused && self->conn_lost == 0;
}

/* ---- datagram_send.c ---- */

extern const char ca_datagram_sendto_doc[];
PyObject *ca_datagram_py_sendto(PyObject *op, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames);

/* Send what is gathered; there is something to send to.  0, or -1 with an
 * exception of the protocol's, or the one that was set.  May run Python. */
int ca_datagram_flush_gathered(CaDatagram *self);

static inline int
ca_datagram_flush(CaDatagram *self)
{
    return self->gather == NULL || self->gather->count == 0
               ? 0
               : ca_datagram_flush_gathered(self);
}

/* ---- datagram_read.c ---- */

extern const ca_watcher_vt ca_datagram_watcher_vt;

/* Deliver what was kept, or else what has come; the context is entered.  0, or
 * -1 with the exception of the protocol.  May run Python. */
int ca_datagram_read(CaDatagram *self);

/* Have the loop call _read_ready() in its next turn; 0 or -1. */
int ca_datagram_queue_read(CaDatagram *self);

#endif
