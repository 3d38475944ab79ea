/* tls_native.c - the engine that drives OpenSSL directly.
 *
 * The library is the one that Python's _ssl module is linked with: the module
 * is loaded already, and symbols are looked up through it, so there is never a
 * second libssl and no header of OpenSSL is needed to build.  What is declared
 * here is OpenSSL's ABI since 1.1.1.
 *
 * The SSL* stays the one that SSLContext.wrap_bio() made: only so do the
 * context's callbacks (server names, key log) find what they expect.  It lies
 * in _ssl._SSLSocket behind a weak reference that is NULL and before a pointer
 * to the context; ca_tls_native_find() looks for that pattern and asks
 * SSL_get_SSL_CTX() whether the SSL* belongs to the context, and each
 * connection asks again.
 *
 * Its two memory BIOs are replaced by one of ours, the wire: it reads the
 * received bytes where they lie and gathers what is to be sent.  OpenSSL calls
 * it without the interpreter lock during a handshake, so it is plain C.  It
 * belongs to the BIO and lives as long as that, since users may keep the
 * SSLObject.
 */
#include "base/oldlibc.h"
#include "transport/stream.h"
#include "transport/tls.h"

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
    APPLICATION_DATA = 23,             /* the kind of record that has data */
    RECORD_MOST = 16 * 1024,           /* plain bytes in one */
    OVERHEAD = 17,                     /* that of TLS 1.3: tag and kind */
    OVERHEAD_MOST = 256,
    SMALL_ENOUGH = 8,                  /* small receives in a row, from which
                                          on the next is thought to be one */
};

typedef struct bio BIO;
typedef struct bio_method BIO_METHOD;

/* The functions of OpenSSL that are used, in the order of `symbols`. */
typedef struct {
    void *(*SSL_get_SSL_CTX)(const void *ssl);
    int (*SSL_read_ex)(void *ssl, void *buffer, size_t size, size_t *done);
    int (*SSL_write_ex)(void *ssl, const void *data, size_t n, size_t *done);
    int (*SSL_get_error)(const void *ssl, int result);
    void (*SSL_set_bio)(void *ssl, BIO *rbio, BIO *wbio);
    void (*SSL_set_read_ahead)(void *ssl, int yes);
    int (*SSL_has_pending)(const void *ssl);
    void (*ERR_clear_error)(void);
    unsigned long (*ERR_peek_error)(void);
    unsigned long (*OpenSSL_version_num)(void);
    BIO *(*BIO_new)(const BIO_METHOD *method);
    int (*BIO_free)(BIO *bio);
    int (*BIO_up_ref)(BIO *bio);
    void (*BIO_set_data)(BIO *bio, void *data);
    void *(*BIO_get_data)(BIO *bio);
    void (*BIO_set_init)(BIO *bio, int init);
    void (*BIO_set_flags)(BIO *bio, int flags);
    void (*BIO_clear_flags)(BIO *bio, int flags);
    int (*BIO_get_new_index)(void);
    BIO_METHOD *(*BIO_meth_new)(int type, const char *name);
    int (*BIO_meth_set_read)(BIO_METHOD *m, int (*f)(BIO *, char *, int));
    int (*BIO_meth_set_write)(BIO_METHOD *m,
                              int (*f)(BIO *, const char *, int));
    int (*BIO_meth_set_ctrl)(BIO_METHOD *m,
                             long (*f)(BIO *, int, long, void *));
    int (*BIO_meth_set_destroy)(BIO_METHOD *m, int (*f)(BIO *));
} functions;

static const char *const symbols[] = {
    "SSL_get_SSL_CTX",     "SSL_read_ex",       "SSL_write_ex",
    "SSL_get_error",       "SSL_set_bio",       "SSL_set_read_ahead",
    "SSL_has_pending",     "ERR_clear_error",   "ERR_peek_error",
    "OpenSSL_version_num", "BIO_new",           "BIO_free",
    "BIO_up_ref",          "BIO_set_data",      "BIO_get_data",
    "BIO_set_init",        "BIO_set_flags",     "BIO_clear_flags",
    "BIO_get_new_index",   "BIO_meth_new",      "BIO_meth_set_read",
    "BIO_meth_set_write",  "BIO_meth_set_ctrl", "BIO_meth_set_destroy",
};
enum { N_SYMBOLS = sizeof(symbols) / sizeof(symbols[0]) };
_Static_assert(sizeof(functions) == N_SYMBOLS * sizeof(void *),
               "a name for every function");

/* Of the process, as the library is; every interpreter finds the same. */
static functions lib;
static BIO_METHOD *wire_method;
static PyTypeObject *socket_type;      /* borrowed: compared, never followed */
static size_t ssl_word;                /* where the SSL* is, in words */

typedef struct ca_tls_wire {
    BIO *bio;                          /* borrowed: it owns us */
    const char *in;                    /* what was offered and is not used:
                                          somebody's memory, or in `kept` */
    size_t in_length;
    size_t rest;                       /* bytes of the record begun that are
                                          still to be given to OpenSSL; 0: at
                                          a head; when `ahead` */
    char *kept;                        /* owned; NULL: nothing */
    size_t kept_cap;
    char *out;                         /* owned; NULL: nothing */
    size_t out_length;
    size_t out_cap;
    bool no_memory;                    /* for what was to be sent, or kept */
    uint16_t overhead;                 /* of the last record: bytes that are
                                          not plain text, without the head */
    bool ahead;                        /* OpenSSL asks for whole records */
    uint8_t small;                     /* receives of one record in a row */
    CaStream *source;                  /* borrowed from its caller; who is
                                          received from next, or NULL */
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

/* Let what waits stand in memory of ours with so much room behind it.  Room is
 * doubled, so that a peer whose bytes come one by one while nobody reads costs
 * no more than another. */
static int
make_room(wire_t *wire, size_t nbytes)
{
    size_t need = wire->in_length + nbytes;
    if (wire->kept == NULL || need > wire->kept_cap) {
        size_t cap = Py_MAX(need, 2 * wire->kept_cap);
        char *kept = malloc(cap);
        if (kept == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        memcpy(kept, wire->in, wire->in_length);
        free(wire->kept);
        wire->in = wire->kept = kept;
        wire->kept_cap = cap;
    } else if (wire->in + need > wire->kept + wire->kept_cap) {
        memmove(wire->kept, wire->in, wire->in_length);
        wire->in = wire->kept;
    }
    return 0;
}

/* Append to what is kept. */
static int
keep(wire_t *wire, const char *data, size_t nbytes)
{
    if (make_room(wire, nbytes) < 0) {
        return -1;
    }
    size_t used = (size_t)(wire->in - wire->kept) + wire->in_length;
    memcpy(wire->kept + used, data, nbytes);
    wire->in_length += nbytes;
    return 0;
}

/* ---- the BIO ---- */

/* How many of so many bytes at the head of a record, or within one, are to be
 * given to OpenSSL, which asks for as much as it has room for: no more than
 * the record, and a head only whole.  So it keeps nothing that we do not
 * count; with more at hand it would also put off a renegotiation that the peer
 * waits for. */
static size_t
portion(wire_t *wire, const char *data, size_t nbytes)
{
    const unsigned char *at = (const unsigned char *)data;
    if (!wire->ahead) {
        return nbytes;
    }
    if (wire->rest == 0) {
        if (nbytes < HEAD) {
            return 0;
        }
        wire->rest = HEAD + ((size_t)at[3] << 8 | at[4]);
    }
    size_t n = Py_MIN(nbytes, wire->rest);
    wire->rest -= n;
    return n;
}

/* Receive to where OpenSSL wants it; bytes for it, or 0. */
static size_t
receive_straight(wire_t *wire, char *buffer, size_t size)
{
    CaStream *stream = wire->source;
    wire->source = NULL;               /* once */
    wire->received = ca_stream_receive(stream, buffer, size);
    if (wire->received <= 0) {
        return 0;
    }
    size_t nbytes = (size_t)wire->received;
    size_t n = portion(wire, buffer, nbytes);
    if (n < nbytes || nbytes == size) {
        wire->small = 0;               /* more than a record, it seems */
    }
    if (n < nbytes && keep(wire, buffer + n, nbytes - n) < 0) {
        PyErr_Clear();
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
    wire_t *wire = lib.BIO_get_data(bio);
    size_t n = 0;
    lib.BIO_clear_flags(bio, BIO_FLAGS_RWS_AND_RETRY);
    if (wire->in_length > 0 && size > 0) {
        n = take_in(wire, buffer, (size_t)size);
    } else if (wire->source != NULL && size > 0) {
        n = receive_straight(wire, buffer, (size_t)size);
    }
    if (n == 0) {
        lib.BIO_set_flags(bio, BIO_FLAGS_READ_AGAIN);
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
    wire_t *wire = lib.BIO_get_data(bio);
    size_t nbytes = size < 0 ? 0 : (size_t)size;
    lib.BIO_clear_flags(bio, BIO_FLAGS_RWS_AND_RETRY);
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
    const wire_t *wire = lib.BIO_get_data(bio);
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
    wire_t *wire = lib.BIO_get_data(bio);
    if (wire != NULL) {
        free(wire->kept);
        free(wire->out);
        free(wire);
        lib.BIO_set_data(bio, NULL);
    }
    return 1;
}

static wire_t *
wire_new(void)
{
    wire_t *wire = calloc(1, sizeof(*wire));
    BIO *bio = wire == NULL ? NULL : lib.BIO_new(wire_method);
    if (bio == NULL) {
        free(wire);
        return NULL;
    }
    wire->bio = bio;
    wire->overhead = OVERHEAD;
    lib.BIO_set_data(bio, wire);
    lib.BIO_set_init(bio, 1);
    return wire;
}

/* ---- finding the library and the SSL* ---- */

/* Whether names mean to _ssl what they mean to us: it was linked by the order
 * of the process, in which another copy may stand first (LD_PRELOAD, a program
 * that is linked with its own), and we ask its own dependencies.  Two copies
 * have two error queues. */
static bool
is_shadowed(const char *name, const void *found)
{
    const void *first = ca_oldlibc_symbol(NULL, name);
    return first != NULL && first != found;
}

static bool
load_functions(const char *file)
{
    void *handle = ca_oldlibc_open_loaded(file);
    if (handle == NULL) {
        return false;
    }
    functions found;
    for (int i = 0; i < N_SYMBOLS; i++) {
        void *symbol = ca_oldlibc_symbol(handle, symbols[i]);
        if (symbol == NULL || is_shadowed(symbols[i], symbol)) {
            ca_oldlibc_close(handle);
            return false;
        }
        memcpy((char *)&found + (size_t)i * sizeof(symbol), &symbol,
               sizeof(symbol));
    }
    lib = found;                       /* the handle stays open with it */
    return true;
}

static bool
make_method(void)
{
    int index = lib.BIO_get_new_index();
    BIO_METHOD *method = index < 0
                             ? NULL
                             : lib.BIO_meth_new(index | BIO_TYPE_SOURCE_SINK,
                                                "casyncio");
    if (method == NULL || !lib.BIO_meth_set_read(method, wire_read) ||
        !lib.BIO_meth_set_write(method, wire_write) ||
        !lib.BIO_meth_set_ctrl(method, wire_ctrl) ||
        !lib.BIO_meth_set_destroy(method, wire_destroy)) {
        return false;
    }
    wire_method = method;
    return true;
}

/* The word of an _ssl._SSLSocket at `i` if the pattern is there, else NULL. */
static void *
ssl_at(PyObject *sslobj, size_t i, PyObject *context)
{
    void *const *words = (void *const *)sslobj;
    void *const *of_context = (void *const *)context;
    size_t head = sizeof(PyObject) / sizeof(void *);
    if (words[i - 1] != NULL || words[i] == NULL || words[i + 1] != context) {
        return NULL;
    }
    return lib.SSL_get_SSL_CTX(words[i]) == of_context[head] ? words[i] : NULL;
}

const char *
ca_tls_native_find(const char *file, unsigned long version, PyObject *sslobj,
                   PyObject *context)
{
    size_t head = sizeof(PyObject) / sizeof(void *);
    size_t words = (size_t)Py_TYPE(sslobj)->tp_basicsize / sizeof(void *);
    if (wire_method == NULL && !load_functions(file)) {
        return "its _ssl module shows no functions of OpenSSL, or others'";
    }
    if (lib.OpenSSL_version_num() != version) {
        return "the OpenSSL found is not the one that _ssl uses";
    }
    if (socket_type != NULL && socket_type == Py_TYPE(sslobj)) {
        return NULL;
    }
    if (wire_method == NULL && !make_method()) {
        return "OpenSSL made no BIO";
    }
    for (size_t i = head + 1; i + 1 < words; i++) {
        if (ssl_at(sslobj, i, context) != NULL) {
            ssl_word = i;
            socket_type = Py_TYPE(sslobj);
            return NULL;
        }
    }
    return "its SSL objects look other than the known ones";
}

int
ca_tls_native_attach(CaTls *self)
{
    PyObject *raw = PyObject_GetAttrString(self->sslobj, "_sslobj");
    PyObject *context = PyObject_GetAttrString(self->sslobj, "context");
    PyErr_Clear();
    void *ssl = NULL;
    int result = 0;
    if (raw != NULL && context != NULL && socket_type != NULL &&
        Py_TYPE(raw) == socket_type) {
        ssl = ssl_at(raw, ssl_word, context);
    }
    if (ssl != NULL) {
        wire_t *wire = wire_new();
        if (wire == NULL) {
            PyErr_NoMemory();
            result = -1;
        } else {
            (void)lib.BIO_up_ref(wire->bio); /* one for us, one for it */
            lib.SSL_set_bio(ssl, wire->bio, wire->bio);
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
        (void)lib.BIO_free(wire->bio);
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
native_offer(CaTls *self, const char *data, size_t nbytes)
{
    wire_t *wire = self->wire;
    if (wire->in_length > 0) {
        return keep(wire, data, nbytes);
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
    return keep(wire, in, nbytes);
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
    int code = lib.SSL_get_error(self->ssl, result);
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
    if (lib.ERR_peek_error() != 0) {
        lib.ERR_clear_error();
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
    if (!wire->ahead && !lib.SSL_has_pending(self->ssl)) {
        wire->ahead = true;            /* between two records */
        wire->rest = 0;
        lib.SSL_set_read_ahead(self->ssl, 1);
    }
    forget_errors();
    int result = lib.SSL_read_ex(self->ssl, buffer, size, &n);
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
    if (lib.SSL_has_pending(self->ssl)) {
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
 * it is warm, and idle ones have none. */
static void
take_spare(CaTls *self)
{
    wire_t *wire = self->wire;
    CaLoop *loop = self->loop;
    if (wire->out == NULL && loop->tls_spare != NULL) {
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
    int result = lib.SSL_write_ex(self->ssl, data, nbytes, &n);
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
    return self->wire->in_length == 0 && !lib.SSL_has_pending(self->ssl);
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
