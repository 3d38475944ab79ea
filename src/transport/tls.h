/* tls.h - struct CaTls: TLS between a transport and its protocol.
 *
 * To the transport below it is a protocol; to the user's protocol it feeds
 * what was decrypted; the transport that users see, CaTlsTransport, points to
 * it.  casyncio/_tls.py derives from both: the state machine of a connection
 * (handshake, shutdown, timeouts) is inherited from asyncio's SSLProtocol of
 * the running Python, what runs per message is here.
 *
 * Two engines do the cryptography, behind one table.  The native one drives
 * the SSL* inside the user's SSLObject through the libssl that Python has
 * loaded; the other calls SSLObject and MemoryBIO.  Handshake and shutdown go
 * through the SSLObject on both, so verification and its errors are Python's.
 *
 * Incoming: bytes of the wire are offered to the engine where they lie; what
 * it leaves (the protocol does not read now) is kept by it, and from a high
 * mark on the transport below is paused.  Outgoing: what is written waits as
 * plain bytes in `out` while a callback that writes in groups runs (held), or
 * while the handshake is not done or the transport below is full; encrypted is
 * only what it takes.  So both directions are bounded.
 */
#ifndef CA_TRANSPORT_TLS_H
#define CA_TRANSPORT_TLS_H

#include "loop/held.h"
#include "loop/loop.h"
#include "transport/wqueue.h"

#include <stdbool.h>

struct ca_stream;
struct ca_tls_engine;
struct ca_tls_wire;

/* asyncio.sslproto.SSLProtocolState, in the order of a connection's life. */
enum {
    CA_TLS_UNWRAPPED,
    CA_TLS_DO_HANDSHAKE,
    CA_TLS_WRAPPED,
    CA_TLS_FLUSHING,
    CA_TLS_SHUTDOWN,
    CA_TLS_STATES,
};

typedef struct {
    PyObject_HEAD
    CaLoop *loop;                      /* strong; NULL before __init__() */
    PyObject *transport;               /* strong; below; NULL, None: none */
    PyObject *protocol;                /* strong; the user's; likewise */
    PyObject *context;                 /* strong; callbacks run in it: that of
                                          the transport below; or NULL */
    PyObject *state;                   /* strong; one of st->tls_states */
    PyObject *sslobj;                  /* strong; the user's SSLObject */
    PyObject *incoming;                /* strong; ssl.MemoryBIO objects, */
    PyObject *outgoing;                /* unused by the native engine */
    PyObject *buffer;                  /* strong; bytearray for get_buffer() of
                                          transports that are not native */
    PyObject *limits[4];               /* strong; marks as they were given, */
    double marks[4];                   /* in bytes: CA_TLS_OUT_HIGH, ... */
    const struct ca_tls_engine *engine;
    PyObject *ssl_owner;               /* strong; _ssl._SSLSocket or NULL */
    void *ssl;                         /* borrowed: the SSL* of ssl_owner */
    struct ca_tls_wire *wire;          /* owned; its BIO; native engine only */
    ca_wqueue out;                     /* written, not yet encrypted */
    ca_held held;                      /* its place in loop->held */
    ca_gathering gathering;
    int conn_lost;
    uint8_t protocol_kind;             /* ca_protocol_kind, see stream.h */
    bool lower_paused;                 /* the transport below is full */
    bool app_paused;                   /* the protocol must not write */
    bool reading_paused;               /* the protocol must not be fed */
    bool lower_reading_paused;
    bool eof;                          /* the transport below told of it */
    bool broken;                       /* reading failed: nothing goes on */
    uint32_t last_size;                /* of what was decrypted last, bytes */
    PyObject *failure;                 /* strong; why, while the protocol is
                                          told what came before; else NULL or
                                          None */
} CaTls;

enum { CA_TLS_OUT_HIGH, CA_TLS_OUT_LOW, CA_TLS_IN_HIGH, CA_TLS_IN_LOW };

/* What read and write return besides a number of bytes. */
enum {
    CA_TLS_EOF = 0,                    /* reading: close_notify came */
    CA_TLS_ERROR = -1,                 /* an exception is set */
    CA_TLS_AGAIN = -2,                 /* more of the wire is needed */
};

typedef struct ca_tls_engine {
    const char *name;
    /* Offer bytes of the wire; good until settle() or the next offer. 0, -1 */
    int (*offer)(CaTls *self, const char *data, size_t nbytes);
    /* Let the next read(), before which no Python may run, receive from the
     * stream by itself, once, to where it needs it; false: bytes are to be
     * offered.  Then withdraw() tells what was received: bytes, 0 at the end,
     * or -errno, which is -EAGAIN when read() had no need of it. */
    bool (*invite)(CaTls *self, struct ca_stream *borrowed);
    ssize_t (*withdraw)(CaTls *self);
    /* Keep a copy of what was offered and not used; 0 or -1. */
    int (*settle)(CaTls *self);
    /* Decrypt into / encrypt from memory: bytes or CA_TLS_*. */
    Py_ssize_t (*read)(CaTls *self, char *buffer, size_t size);
    Py_ssize_t (*write)(CaTls *self, const char *data, size_t nbytes);
    /* What read() would give of what was offered, by its look, or of what it
     * is invited to, by the last; at most CA_READ_BUFFER_SIZE; 0: it cannot be
     * told.  Often right. */
    size_t (*expected)(const CaTls *self);
    /* The same as write(), for at most one record; it may leave at once. */
    Py_ssize_t (*write_record)(CaTls *self, const char *data, size_t nbytes);
    /* After a read(): whether the next would say AGAIN for sure. */
    bool (*exhausted)(const CaTls *self);
    /* Bytes of the wire that wait for read() and for send(). */
    size_t (*pending_in)(const CaTls *self);
    size_t (*pending_out)(const CaTls *self);
    /* Give what is encrypted to the transport below; 0 or -1.  May run
     * Python. */
    int (*send)(CaTls *self);
    /* The connection is over: let go of what waits. */
    void (*drop)(CaTls *self);
} ca_tls_engine;

extern const ca_tls_engine ca_tls_native;
extern const ca_tls_engine ca_tls_membio;

/* Learn from a fresh _ssl._SSLSocket and its context where the SSL* is, and
 * find the functions in the library that `file`, the _ssl module, has loaded,
 * which must be of the version that _ssl tells.  NULL, or why it is
 * impossible; nothing is raised. */
const char *ca_tls_native_find(const char *file, unsigned long version,
                               PyObject *sslobj, PyObject *context);

/* Drive the SSL* of self->sslobj natively: 1, 0 when it is not as expected,
 * -1 with an exception. */
int ca_tls_native_attach(CaTls *self);
void ca_tls_native_detach(CaTls *self);

/* use_tls() and find_openssl() of the module. */
extern PyMethodDef ca_tls_functions[];

PyObject *ca_tls_type_new(PyObject *module);
/* NULL without an exception when the base does not look as we think. */
PyObject *ca_tls_transport_type_new(PyObject *module, ca_state *st);

/* Whether `protocol` may be fed by ca_tls_received(). */
bool ca_tls_serves(const ca_state *st, PyObject *protocol);

/* Where to receive for it: CA_READ_BUFFER_SIZE bytes, good until the next
 * call; NULL with an exception.  Owned by the loop. */
char *ca_tls_input(CaLoop *loop);

/* Bytes came from the transport below; 0 or -1.  May run Python. */
int ca_tls_received(PyObject *op, const char *data, size_t nbytes);

/* The stream below is readable.  True: it was received from, *received tells
 * what, and *result is 0 or -1; false: receive and call ca_tls_received().
 * May run Python. */
bool ca_tls_receive(PyObject *op, struct ca_stream *stream, ssize_t *received,
                    int *result);

/* ---- shared between the files of this noun ---- */

static inline bool
ca_tls_in_state(const CaTls *self, int state)
{
    return self->state == self->loop->st->tls_states[state];
}

static inline PyObject *
ca_tls_name(const CaTls *self, int which)
{
    return self->loop->st->names[which];
}

static inline bool
ca_tls_is_held(const CaTls *self)
{
    return ca_dlist_linked(&self->held.node);
}

/* Nothing or None. */
static inline bool
ca_tls_missing(PyObject *op)
{
    return op == NULL || op == Py_None;
}

/* An attribute that may have been deleted, to call a method of. */
static inline PyObject *
ca_tls_or_none_borrow(PyObject *op)
{
    return op == NULL ? Py_None : op;
}

/* The transport below if it is a CaStream that nobody changed; else NULL. */
PyObject *ca_tls_below_borrow(const CaTls *self);

/* 0, or -1 with an exception before there is a loop. */
int ca_tls_check_ready(const CaTls *self);

/* Call self.name(); 0 or -1.  May run Python. */
int ca_tls_call(CaTls *self, int name);

/* Call self._fatal_error() with the exception that is set when it is an
 * Exception; 0 or -1.  May run Python. */
int ca_tls_fail(CaTls *self);

/* Data that lies in the loop's buffer for decrypting, as big as the other. */
char *ca_tls_plain(CaLoop *loop);

/* Decrypt and feed the protocol; 0 or -1.  May run Python. */
int ca_tls_read(CaTls *self);

/* Write bytes that lie in `op`; 0 or -1.  May run Python. */
int ca_tls_write(CaTls *self, PyObject *op, const char *data, size_t nbytes);
int ca_tls_write_object(CaTls *self, PyObject *data);

/* Give records to the transport below, which has refused them with -errno if
 * `refused` is not 0; 0 or -1.  May run Python. */
int ca_tls_send_memory(CaTls *self, const char *data, size_t nbytes,
                       ssize_t refused);

/* Bytes that wait because the transport below is full. */
size_t ca_tls_buffered(const CaTls *self);

/* Encrypt what waits, as far as the transport below takes it or `all`; then
 * pause or resume the protocol.  0 or -1.  May run Python. */
int ca_tls_drain(CaTls *self, bool all);
int ca_tls_flush(CaTls *self);
int ca_tls_flush_held(ca_held *held);
int ca_tls_process_outgoing(CaTls *self);
int ca_tls_control_writing(CaTls *self);

extern PyMethodDef ca_tls_read_methods[];
extern PyMethodDef ca_tls_write_methods[];

#endif
