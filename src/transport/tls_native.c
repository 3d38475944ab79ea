/* tls_native.c - the engine that drives OpenSSL directly (tls_openssl.h).
 *
 * The SSL* stays the one that SSLContext.wrap_bio() made: only so do the
 * context's callbacks (server names, key log) find what they expect.
 *
 * Its two memory BIOs are replaced by one of ours, the wire: it reads the
 * received bytes where they lie, or receives to where OpenSSL wants them, and
 * gathers what is to be sent.  OpenSSL calls it without the interpreter lock
 * during a handshake, so it is plain C.  It belongs to the BIO and lives as
 * long as that, since users may keep the SSLObject.
 *
 * OpenSSL reads ahead: it asks for all that it has room for.  What it gets is
 * never more than the rest of one record, see portion().
 */
#include "transport/stream.h"
#include "transport/tls.h"
#include "transport/tls_openssl.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    SSL_ERROR_SSL = 1,
    SSL_ERROR_ZERO_RETURN = 6,
    BIO_CTRL_EOF = 2,
    BIO_CTRL_PENDING = 10,
    BIO_CTRL_FLUSH = 11,
    BIO_CTRL_DUP = 12,
    BIO_CTRL_WPENDING = 13,
    BIO_FLAGS_READ_AGAIN = 0x01 | 0x08, /* READ, SHOULD_RETRY */
    BIO_FLAGS_RWS_AND_RETRY = 0x0f,
    BIO_TYPE_SOURCE_SINK = 0x0400,
    OUT_MIN = 2048,                    /* first size of the output, bytes */
    SPARE_MOST = 128 * 1024,           /* the loop keeps so much for all */
    HEAD = 5,                          /* bytes before those of a record */
    SSL2_HEAD = 2,
    APPLICATION_DATA = 23,             /* the kind of record that has data */
    RECORD_MOST = 16 * 1024,           /* plain bytes in one */
    OVERHEAD = 17,                     /* that of TLS 1.3: tag and kind */
    OVERHEAD_MOST = 256,
    SMALL_ENOUGH = 8,                  /* small receives in a row, from which
                                          on the next is thought to be one */
};

static BIO_METHOD *wire_method;        /* of the process */

typedef struct ca_tls_wire {
    BIO *bio;                          /* borrowed: it owns us */
    const char *in;                    /* what was offered and is not used:
                                          somebody's memory, or in `kept` */
    size_t in_length;
    size_t rest;                       /* bytes of the record begun that are
                                          still to be given to OpenSSL; 0: at
                                          a head */
    char *kept;                        /* owned; NULL: nothing */
    size_t kept_cap;
    char *out;                         /* owned; NULL: nothing */
    size_t out_length;
    size_t out_cap;
    bool no_memory;                    /* for what was to be sent, or kept */
    uint16_t overhead;                 /* of the last record: bytes that are
                                          not plain text, without the head */
    bool begun;                        /* OpenSSL has seen a head */
    uint8_t small;                     /* receives of one record in a row */
    CaStream *source;                  /* borrowed from the caller of invite();
                                          who the next read() receives from, or
                                          NULL: only while no Python runs */
    ssize_t received;                  /* from it: bytes, 0 or -errno */
    CaStream *straight;                /* borrowed from its caller; who sends
                                          the next record at once, or NULL */
    ssize_t refused;                   /* what the kernel said when it did not
                                          take all of it, as -errno; or 0 */
} wire_t;

/* ---- what came and is not used ---- */

static void
forget_kept(wire_t *wire)
{
    free(wire->kept);
    wire->kept = NULL;
    wire->kept_cap = 0;
}

/* Let what waits stand in memory of ours with so much room behind it, if there
 * is memory.  Room is doubled, so that a peer whose bytes come one by one
 * while nobody reads costs no more than another. */
static bool
make_room(wire_t *wire, size_t nbytes)
{
    size_t need = wire->in_length + nbytes;
    if (wire->kept == NULL || need > wire->kept_cap) {
        size_t cap = Py_MAX(need, 2 * wire->kept_cap);
        char *kept = malloc(cap);
        if (kept == NULL) {
            return false;
        }
        if (wire->in_length > 0) {
            memcpy(kept, wire->in, wire->in_length);
        }
        free(wire->kept);
        wire->in = wire->kept = kept;
        wire->kept_cap = cap;
    } else if (wire->in + need > wire->kept + wire->kept_cap) {
        memmove(wire->kept, wire->in, wire->in_length);
        wire->in = wire->kept;
    }
    return true;
}

/* Append to what is kept, if there is memory. */
static bool
keep(wire_t *wire, const char *data, size_t nbytes)
{
    if (!make_room(wire, nbytes)) {
        return false;
    }
    size_t used = (size_t)(wire->in - wire->kept) + wire->in_length;
    memcpy(wire->kept + used, data, nbytes);
    wire->in_length += nbytes;
    return true;
}

/* ---- the BIO ---- */

/* What the head of a record says of its size, with the head.  The first may be
 * one of SSL 2, in which clients of old ask for TLS. */
static size_t
record_size(const wire_t *wire, const unsigned char *at)
{
    if (!wire->begun && (at[0] & 0x80) != 0) {
        size_t size = SSL2_HEAD + ((size_t)(at[0] & 0x7f) << 8 | at[1]);
        return Py_MAX(size, (size_t)HEAD);
    }
    return HEAD + ((size_t)at[3] << 8 | at[4]);
}

/* How many of so many bytes at the head of a record, or within one, are to be
 * given to OpenSSL, which asks for as much as it has room for: no more than
 * the record, and a head only whole.  So it keeps nothing that we do not
 * count; with more at hand it would also put off a renegotiation that the peer
 * waits for. */
static size_t
portion(wire_t *wire, const char *data, size_t nbytes)
{
    if (wire->rest == 0) {
        if (nbytes < HEAD) {
            return 0;
        }
        wire->rest = record_size(wire, (const unsigned char *)data);
        wire->begun = true;
    }
    size_t n = Py_MIN(nbytes, wire->rest);
    wire->rest -= n;
    return n;
}

/* Receive to where OpenSSL wants it; bytes for it, or 0. */
static size_t
receive_straight(wire_t *wire, char *buffer, size_t size)
{
    CaStream *source = wire->source;
    wire->source = NULL;               /* once */
    wire->received = ca_stream_receive(source, buffer, size);
    if (wire->received <= 0) {
        return 0;
    }
    size_t nbytes = (size_t)wire->received;
    size_t n = portion(wire, buffer, nbytes);
    if (n < nbytes || nbytes == size) {
        wire->small = 0;               /* more than a record, it seems */
    }
    if (n < nbytes && !keep(wire, buffer + n, nbytes - n)) {
        wire->no_memory = true;
        return 0;
    }
    return n;
}

static size_t
take_in(wire_t *wire, char *buffer, size_t size)
{
    size_t n = portion(wire, wire->in, Py_MIN(size, wire->in_length));
    memcpy(buffer, wire->in, n);
    wire->in += n;
    wire->in_length -= n;
    return n;
}

static int
wire_read(BIO *bio, char *buffer, int size)
{
    wire_t *wire = ca_openssl.BIO_get_data(bio);
    size_t n = 0;
    ca_openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS_AND_RETRY);
    if (wire->in_length > 0 && size > 0) {
        n = take_in(wire, buffer, (size_t)size);
    } else if (wire->source != NULL && size > 0) {
        n = receive_straight(wire, buffer, (size_t)size);
    }
    if (n == 0) {
        ca_openssl.BIO_set_flags(bio, BIO_FLAGS_READ_AGAIN);
        return -1;
    }
    return (int)n;
}

/* Send without a copy, from the memory of OpenSSL; how many bytes. */
static size_t
send_straight(wire_t *wire, const char *data, size_t nbytes)
{
    CaStream *stream = wire->straight;
    wire->straight = NULL;             /* what follows is gathered */
    if (stream == NULL || wire->out_length > 0) {
        return 0;
    }
    ssize_t n = ca_stream_offer(stream, data, nbytes);
    if (n < 0 || (n > 0 && n < (ssize_t)nbytes)) {
        wire->refused = n < 0 ? n : -EAGAIN;
    }
    return n < 0 ? 0 : (size_t)n;
}

/* Room for so many bytes more behind what is gathered. */
static bool
grow_out(wire_t *wire, size_t nbytes)
{
    size_t cap = wire->out_cap == 0 ? OUT_MIN : wire->out_cap;
    while (cap - wire->out_length < nbytes) {
        cap *= 2;
    }
    if (cap != wire->out_cap) {
        char *out = realloc(wire->out, cap);
        if (out == NULL) {
            wire->no_memory = true;
            return false;
        }
        wire->out = out;
        wire->out_cap = cap;
    }
    return true;
}

static int
wire_write(BIO *bio, const char *data, int size)
{
    wire_t *wire = ca_openssl.BIO_get_data(bio);
    size_t nbytes = size < 0 ? 0 : (size_t)size;
    ca_openssl.BIO_clear_flags(bio, BIO_FLAGS_RWS_AND_RETRY);
    size_t sent = send_straight(wire, data, nbytes);
    if (sent == nbytes) {
        return size;
    }
    if (!grow_out(wire, nbytes - sent)) {
        return -1;
    }
    memcpy(wire->out + wire->out_length, data + sent, nbytes - sent);
    wire->out_length += nbytes - sent;
    return size;
}

static long
wire_ctrl(BIO *bio, int what, long Py_UNUSED(number), void *Py_UNUSED(more))
{
    const wire_t *wire = ca_openssl.BIO_get_data(bio);
    switch (what) {
    case BIO_CTRL_PENDING:
        return (long)wire->in_length;
    case BIO_CTRL_WPENDING:
        return (long)wire->out_length;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_EOF:
    default:
        return 0;
    }
}

static int
wire_destroy(BIO *bio)
{
    wire_t *wire = ca_openssl.BIO_get_data(bio);
    if (wire != NULL) {
        free(wire->kept);
        free(wire->out);
        free(wire);
        ca_openssl.BIO_set_data(bio, NULL);
    }
    return 1;
}

static wire_t *
wire_new(void)
{
    wire_t *wire = calloc(1, sizeof(*wire));
    BIO *bio = wire == NULL ? NULL : ca_openssl.BIO_new(wire_method);
    if (bio == NULL) {
        free(wire);
        return NULL;
    }
    wire->bio = bio;
    wire->overhead = OVERHEAD;
    ca_openssl.BIO_set_data(bio, wire);
    ca_openssl.BIO_set_init(bio, 1);
    return wire;
}

/* ---- taking over an SSL* ---- */

static bool
make_method(void)
{
    int index = ca_openssl.BIO_get_new_index();
    BIO_METHOD *method = index < 0
                             ? NULL
                             : ca_openssl.BIO_meth_new(
                                   index | BIO_TYPE_SOURCE_SINK, "casyncio");
    if (method == NULL || !ca_openssl.BIO_meth_set_read(method, wire_read) ||
        !ca_openssl.BIO_meth_set_write(method, wire_write) ||
        !ca_openssl.BIO_meth_set_ctrl(method, wire_ctrl) ||
        !ca_openssl.BIO_meth_set_destroy(method, wire_destroy)) {
        return false;
    }
    wire_method = method;
    return true;
}

const char *
ca_tls_native_find(const char *file, unsigned long version, PyObject *sslobj,
                   PyObject *context)
{
    if (wire_method == NULL && !ca_openssl_load(file)) {
        return "its _ssl module shows no functions of OpenSSL, or others'";
    }
    if (ca_openssl.OpenSSL_version_num() != version) {
        return "the OpenSSL found is not the one that _ssl uses";
    }
    if (ca_openssl_knows(sslobj)) {
        return NULL;
    }
    if (wire_method == NULL && !make_method()) {
        return "OpenSSL made no BIO";
    }
    return ca_openssl_learn(sslobj, context)
               ? NULL
               : "its SSL objects look other than the known ones";
}

int
ca_tls_native_attach(CaTls *self)
{
    PyObject *const *names = self->loop->st->names;
    PyObject *raw = PyObject_GetAttr(self->sslobj, names[CA_STR__sslobj]);
    PyObject *context = PyObject_GetAttr(self->sslobj, names[CA_STR_context]);
    PyErr_Clear();
    void *ssl = NULL;
    int result = 0;
    if (raw != NULL && context != NULL && ca_openssl_knows(raw)) {
        ssl = ca_openssl_ssl_borrow(raw, context);
    }
    if (ssl != NULL) {
        wire_t *wire = wire_new();
        if (wire == NULL) {
            PyErr_NoMemory();
            result = -1;
        } else {
            (void)ca_openssl.BIO_up_ref(
                wire->bio);            /* one for us, one for it */
            ca_openssl.SSL_set_bio(ssl, wire->bio, wire->bio);
            ca_openssl.SSL_set_read_ahead(ssl, 1);
            self->ssl = ssl;
            self->ssl_owner = Py_NewRef(raw);
            self->wire = wire;
            self->engine = &ca_tls_native;
            result = 1;
        }
    }
    Py_XDECREF(raw);
    Py_XDECREF(context);
    return result;
}

void
ca_tls_native_detach(CaTls *self)
{
    wire_t *wire = self->wire;
    self->wire = NULL;
    self->ssl = NULL;
    Py_CLEAR(self->ssl_owner);
    if (wire != NULL) {
        (void)ca_openssl.BIO_free(wire->bio);
    }
}

/* ---- the engine ---- */

/* Learn how much comes at once. */
static void
note_size(wire_t *wire, size_t nbytes)
{
    if (nbytes > RECORD_MOST) {
        wire->small = 0;
    } else if (wire->small < SMALL_ENOUGH) {
        wire->small++;
    }
}

static int
kept_or_raise(bool kept)
{
    if (!kept) {
        PyErr_NoMemory();
    }
    return kept ? 0 : -1;
}

static int
native_offer(CaTls *self, const char *data, size_t nbytes)
{
    wire_t *wire = self->wire;
    if (wire->in_length > 0) {
        return kept_or_raise(keep(wire, data, nbytes));
    }
    forget_kept(wire);                 /* used up, and not `in` any more */
    wire->in = data;
    wire->in_length = nbytes;
    note_size(wire, nbytes);
    return 0;
}

/* A message of one record is received into the memory of OpenSSL, which saves
 * a copy.  What is larger comes in fewer pieces to the loop's. */
static bool
native_invite(CaTls *self, CaStream *stream)
{
    wire_t *wire = self->wire;
    if (wire->small < SMALL_ENOUGH || wire->in_length > 0) {
        return false;
    }
    forget_kept(wire);
    wire->in = NULL;
    wire->source = stream;
    wire->received = -EAGAIN;
    return true;
}

static ssize_t
native_withdraw(CaTls *self)
{
    wire_t *wire = self->wire;
    if (wire == NULL) {
        return -EAGAIN;
    }
    wire->source = NULL;
    return wire->received;
}

static int
native_settle(CaTls *self)
{
    wire_t *wire = self->wire;
    if (wire == NULL) {
        return 0;
    }
    if (wire->in_length == 0) {
        forget_kept(wire);
        wire->in = NULL;
        return 0;
    }
    if (wire->kept != NULL) {
        return 0;                      /* `in` points there */
    }
    const char *in = wire->in;
    size_t nbytes = wire->in_length;
    wire->in_length = 0;
    return kept_or_raise(keep(wire, in, nbytes));
}

/* The exception for what stands in OpenSSL's queue: SSLObject.read() fails
 * again, at once, and words it. */
static Py_ssize_t
raise_queued(CaTls *self)
{
    PyObject *done = PyObject_CallMethod(self->sslobj, "read", "i", 1);
    if (done != NULL) {
        Py_DECREF(done);
        PyErr_SetString(PyExc_OSError, "OpenSSL failed without saying why");
    }
    return CA_TLS_ERROR;
}

static Py_ssize_t
native_outcome(CaTls *self, int result)
{
    int code = ca_openssl.SSL_get_error(self->ssl, result);
    if (self->wire->no_memory) {
        PyErr_NoMemory();              /* a part of a record is lost */
        return CA_TLS_ERROR;
    }
    if (code == SSL_ERROR_ZERO_RETURN) {
        return CA_TLS_EOF;
    }
    return code == SSL_ERROR_SSL ? raise_queued(self) : CA_TLS_AGAIN;
}

/* What others have left in the thread's queue is not ours.  Clearing it costs
 * a tenth of a small message; looking at it next to nothing. */
static void
forget_errors(void)
{
    if (ca_openssl.ERR_peek_error() != 0) {
        ca_openssl.ERR_clear_error();
    }
}

/* Learn from a record that was read whole what every record adds. */
static void
note_overhead(wire_t *wire, size_t used, size_t n)
{
    if (used >= n + HEAD && used - n - HEAD <= OVERHEAD_MOST) {
        wire->overhead = (uint16_t)(used - n - HEAD);
    }
}

static Py_ssize_t
native_read(CaTls *self, char *buffer, size_t size)
{
    size_t n = 0;
    wire_t *wire = self->wire;
    size_t before = wire->in_length;
    forget_errors();
    int result = ca_openssl.SSL_read_ex(self->ssl, buffer, size, &n);
    wire->source = NULL;               /* also when OpenSSL had something */
    if (result <= 0) {
        return native_outcome(self, result);
    }
    note_overhead(wire, before - wire->in_length, n);
    return (Py_ssize_t)n;
}

/* The heads of the records tell, but for what padding there is.  With one that
 * has come in part the end of it is unknown; when that is little beside the
 * rest, the most that it can be will do. */
static size_t
native_expected(const CaTls *self)
{
    const wire_t *wire = self->wire;
    const unsigned char *at = (const unsigned char *)wire->in;
    size_t left = wire->in_length;
    size_t sum = 0;
    if (wire->source != NULL) {
        return Py_MIN(self->last_size, (size_t)RECORD_MOST);
    }
    if (left < HEAD) {
        return 0;
    }
    if (wire->rest > 0 || ca_openssl.SSL_has_pending(self->ssl)) {
        sum = left > RECORD_MOST ? left + RECORD_MOST : 0;
        return Py_MIN(sum, (size_t)CA_READ_BUFFER_SIZE);
    }
    while (left >= HEAD && at[0] == APPLICATION_DATA) {
        size_t size = HEAD + ((size_t)at[3] << 8 | at[4]);
        if (size > left || size < HEAD + (size_t)wire->overhead) {
            break;
        }
        sum += size - HEAD - wire->overhead;
        at += size;
        left -= size;
    }
    return Py_MIN(sum, (size_t)CA_READ_BUFFER_SIZE);
}

/* Memory for records is the loop's: connections need it one after another, so
 * it is warm, and idle ones have none: not either who sends a record straight,
 * for which it is seldom needed and never given back. */
static void
take_spare(CaTls *self)
{
    wire_t *wire = self->wire;
    CaLoop *loop = self->loop;
    if (wire->straight == NULL && wire->out == NULL &&
        loop->tls_spare != NULL) {
        wire->out = loop->tls_spare;
        wire->out_cap = loop->tls_spare_cap;
        loop->tls_spare = NULL;
    }
}

static void
give_spare(CaLoop *loop, char *steal_out, size_t cap)
{
    if (loop->tls_spare != NULL || cap > SPARE_MOST) {
        free(steal_out);
    } else {
        loop->tls_spare = steal_out;
        loop->tls_spare_cap = cap;
    }
}

static Py_ssize_t
native_write(CaTls *self, const char *data, size_t nbytes)
{
    size_t n = 0;
    take_spare(self);
    forget_errors();
    int result = ca_openssl.SSL_write_ex(self->ssl, data, nbytes, &n);
    if (result > 0) {
        return (Py_ssize_t)n;
    }
    Py_ssize_t outcome = native_outcome(self, result);
    return outcome == CA_TLS_EOF ? CA_TLS_AGAIN : outcome;
}

/* A record goes to the kernel from where OpenSSL has made it, when nothing
 * stands before it. */
static Py_ssize_t
native_write_record(CaTls *self, const char *data, size_t nbytes)
{
    PyObject *below = ca_tls_below_borrow(self);
    Py_XINCREF(below);
    self->wire->straight = (CaStream *)below;
    Py_ssize_t n = native_write(self, data, nbytes);
    self->wire->straight = NULL;
    Py_XDECREF(below);
    return n;
}

/* With neither bytes of the wire nor a record begun OpenSSL could only say
 * that it needs more, at the price of a small record. */
static bool
native_exhausted(const CaTls *self)
{
    return self->wire->in_length == 0 &&
           !ca_openssl.SSL_has_pending(self->ssl);
}

static size_t
native_pending_in(const CaTls *self)
{
    return self->wire->in_length;
}

static size_t
native_pending_out(const CaTls *self)
{
    return self->wire->out_length;
}

static int
native_send(CaTls *self)
{
    wire_t *wire = self->wire;
    if (wire == NULL || wire->out_length == 0 ||
        ca_tls_missing(self->transport)) {
        return 0;
    }
    /* Sending may run Python, which may write again. */
    char *out = wire->out;
    size_t nbytes = wire->out_length;
    size_t cap = wire->out_cap;
    wire->out = NULL;
    wire->out_length = wire->out_cap = 0;
    ssize_t refused = wire->refused;
    wire->refused = 0;
    Py_INCREF(self);
    int result = ca_tls_send_memory(self, out, nbytes, refused);
    give_spare(self->loop, out, cap);
    Py_DECREF(self);
    return result;
}

static void
native_drop(CaTls *self)
{
    wire_t *wire = self->wire;
    if (wire != NULL) {
        forget_kept(wire);
        free(wire->out);
        wire->in = wire->out = NULL;
        wire->in_length = wire->out_length = wire->out_cap = 0;
        wire->refused = 0;
    }
}

const ca_tls_engine ca_tls_native = {
    .name = "native",
    .offer = native_offer,
    .invite = native_invite,
    .withdraw = native_withdraw,
    .settle = native_settle,
    .read = native_read,
    .write = native_write,
    .expected = native_expected,
    .write_record = native_write_record,
    .exhausted = native_exhausted,
    .pending_in = native_pending_in,
    .pending_out = native_pending_out,
    .send = native_send,
    .drop = native_drop,
};
