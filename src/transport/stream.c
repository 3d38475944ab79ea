/* stream.c - birth, death and face of the stream transport, see stream.h.
 *
 * The type derives from asyncio's Transport with flow control (the fallback of
 * sendfile() asks for that one), so that isinstance() is true by nature.  The
 * struct begins with the slots of the base; at import the size of the base is
 * compared, and where it differs stock's transports stay.
 */
#include "transport/stream.h"

#include "loop/claims.h"
#include "loop/handle.h"
#include "loop/ready.h"
#include "py/args.h"
#include "py/errors.h"
#include "py/layout.h"
#include "py/sockobj.h"
#include "transport/acceptor.h"
#include "transport/reader_feed.h"
#include "transport/tls.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>
#include <unistd.h>

PyObject *
ca_stream_call(CaStream *self, int which, PyObject *arg)
{
    /* The protocol may be replaced while its method runs. */
    PyObject *args[2] = {Py_NewRef(self->protocol), arg};
    PyObject *done = PyObject_VectorcallMethod(
        ca_stream_name_borrow(self, which), args,
        (arg == NULL ? 1 : 2) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    Py_DECREF(args[0]);
    return done;
}

int
ca_stream_tell(CaStream *self, int name)
{
    PyObject *done = PyObject_CallMethodNoArgs(
        (PyObject *)self, ca_stream_name_borrow(self, name));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_stream_tell_server(CaStream *self, PyObject *server, int which)
{
    const ca_state *st = self->loop->st;
    PyObject *name = st->names[which];
    if (self->acceptor != NULL &&
        ca_clients_change(ca_acceptor_clients(self->acceptor), st, server,
                          &self->client, which == CA_STR__attach)) {
        return 0;
    }
    PyObject *done = st->server_knows_clients
                         ? PyObject_CallMethodOneArg(server, name,
                                                     (PyObject *)self)
                         : PyObject_CallMethodNoArgs(server, name);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_stream_queue_call(CaStream *self, PyObject *op, int name, PyObject *arg)
{
    PyObject *callback = PyObject_GetAttr(op,
                                          ca_stream_name_borrow(self, name));
    int result = callback == NULL
                     ? -1
                     : ca_ready_push_callback(self->loop, callback, arg,
                                              self->context);
    Py_XDECREF(callback);
    return result;
}

PyObject *
ca_stream_one_borrow(CaStream *self, int method, int name,
                     PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames)
{
    if (nargs == 1 && kwnames == NULL) {
        return args[0];
    }
    PyObject *found = ca_args_one_borrow(ca_stream_name_borrow(self, name),
                                         args, nargs, kwnames);
    if (found == NULL) {
        PyObject *done = ca_stock_call(self->loop->st->StockSocketTransport,
                                       ca_stream_name_borrow(self, method),
                                       (PyObject *)self, args, nargs, kwnames);
        Py_XDECREF(done);              /* it refuses, always */
    }
    return found;
}

int
ca_stream_fd(const CaStream *self)
{
    if (self->sock == NULL) {
        return self->lost ? -1 : self->fd;
    }
    int fd = ca_sockobj_fd(self->loop->st, self->sock);
    return fd == self->fd ? fd : -1;
}

/* ---- readiness ---- */

/* Read or send, and report what is raised as that of the callback `name`. */
static int
act(CaStream *self, ca_op_kind kind, int name)
{
    PyObject *context = Py_NewRef(self->context);
    int result = PyContext_Enter(context);
    if (result == 0) {
        result = ca_op_side(kind) == 0 ? ca_stream_read(self)
                                       : ca_stream_send_more(self);
        if (PyContext_Exit(context) < 0) {
            result = -1;
        }
    }
    if (result < 0) {
        result = ca_handle_report_method(self->loop, (PyObject *)self, name,
                                         context);
    }
    Py_DECREF(context);
    return result;
}

/* At once when nothing was queued before the look.  Else as stock does it:
 * with a handle, which waits its turn behind what was, and which debug mode
 * times. */
static int
stream_ready(CaLoop *loop, PyObject *op, ca_op_kind kind)
{
    CaStream *self = (CaStream *)op;
    int name = ca_op_side(kind) == 0 ? CA_STR__read_ready
                                     : CA_STR__write_ready;
    if (self->lost) {
        return 0;
    }
    if (loop->debug || loop->queued_before > 0) {
        return ca_ready_push_method(loop, op, name, self->context);
    }
    return act(self, kind, name);
}

const ca_watcher_vt ca_stream_watcher_vt = {
    .ready = stream_ready,
    .offset = offsetof(CaStream, watcher),
};

/* ---- birth ---- */

/* The bytes of an address that say something: an IPv4 one ends in zeros. */
static size_t
telling_part(const ca_sockaddr *address)
{
    bool padded = address->length == sizeof(struct sockaddr_in) &&
                  address->u.any.sa_family == AF_INET;
    return padded ? offsetof(struct sockaddr_in, sin_zero) : address->length;
}

/* What the socket is called, while it can be asked. */
static ca_names *
take_names(int fd, const ca_sockaddr *peer)
{
    ca_sockaddr local = {.length = sizeof(local.u)};
    ca_sockaddr asked = {.length = sizeof(asked.u)};
    if (getsockname(fd, &local.u.any, &local.length) < 0) {
        local.length = 0;
    }
    if (peer == NULL) {
        if (getpeername(fd, &asked.u.any, &asked.length) < 0) {
            asked.length = 0;
        }
        peer = &asked;
    }
    size_t local_size = telling_part(&local);
    size_t peer_size = telling_part(peer);
    ca_names *names = malloc(sizeof(*names) + local_size + peer_size);
    if (names != NULL) {
        names->local_length = local.length;
        names->peer_length = peer->length;
        memcpy(names->addresses, &local.u, local_size);
        memcpy(names->addresses + local_size, &peer->u, peer_size);
    }
    return names;
}

/* Read one of the two back; how many bytes it took. */
static size_t
read_name(const char *from, socklen_t length, int family, ca_sockaddr *out)
{
    *out = (ca_sockaddr){.length = length};
    out->u.any.sa_family = (sa_family_t)family;
    size_t size = telling_part(out);
    memcpy(&out->u, from, size);
    return size;
}

static int
family_of(const ca_names *names)
{
    struct sockaddr head = {.sa_family = AF_UNSPEC};
    if (names != NULL && names->local_length >= sizeof(head.sa_family)) {
        memcpy(&head, names->addresses, sizeof(head.sa_family));
    }
    return head.sa_family;
}

static CaStream *
stream_new(CaLoop *loop, int fd, PyObject *context, const ca_sockaddr *peer)
{
    PyTypeObject *type = (PyTypeObject *)loop->st->SocketTransport;
    CaStream *self = (CaStream *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->context = Py_NewRef(context);
    self->watcher.vt = &ca_stream_watcher_vt;
    ca_dlist_init(&self->held.node);
    ca_dlist_init(&self->client);
    self->held.flush = ca_stream_flush_held;
    self->fd = fd;
    self->names = take_names(fd, peer);
    self->family = family_of(self->names);
    ca_gathering_init(&self->gathering, loop);
    return self;
}

void
ca_stream_set_nodelay(int fd)
{
    int protocol = 0;
    socklen_t length = sizeof(protocol);
    int one = 1;
    if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0 &&
        protocol == IPPROTO_TCP) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

CaStream *
ca_stream_from_fd(CaLoop *loop, int fd, PyObject *context,
                  const ca_sockaddr *peer)
{
    CaStream *self = stream_new(loop, fd, context, peer);
    if (self == NULL) {
        (void)close(fd);
    }
    return self;
}

CaStream *
ca_stream_from_socket(CaLoop *loop, PyObject *sock, PyObject *context)
{
    int fd = ca_sockobj_fd(loop->st, sock);
    PyObject *own = context != NULL ? Py_NewRef(context)
                                    : PyContext_CopyCurrent();
    CaStream *self = own == NULL ? NULL : stream_new(loop, fd, own, NULL);
    Py_XDECREF(own);
    if (self == NULL) {
        return NULL;
    }
    self->sock = Py_NewRef(sock);
    if (self->family != AF_UNIX) {
        ca_stream_set_nodelay(fd);
    }
    return self;
}

int
ca_protocol_is_buffered(const ca_state *st, PyObject *protocol)
{
    int buffered = PyObject_IsInstance(protocol, st->BufferedProtocol);
    if (buffered != 0) {
        return buffered;
    }
    return !PyObject_HasAttr(protocol, st->names[CA_STR_data_received]) &&
           PyObject_HasAttr(protocol, st->names[CA_STR_get_buffer]);
}

int
ca_stream_set_protocol(CaStream *self, PyObject *protocol)
{
    int buffered = ca_protocol_is_buffered(self->loop->st, protocol);
    if (buffered < 0) {
        return -1;
    }
    bool reader = ca_reader_feed_serves(self->loop->st, protocol);
    bool tls = ca_tls_serves(self->loop->st, protocol);
    self->protocol_kind = tls        ? CA_PROTOCOL_TLS
                          : buffered ? CA_PROTOCOL_BUFFERED
                          : reader   ? CA_PROTOCOL_READER
                                     : CA_PROTOCOL_DATA;
    self->connected = true;
    if (self->ended && protocol != self->protocol) {
        self->end_is_news = true;
    }
    Py_XSETREF(self->protocol, Py_NewRef(protocol));
    return 0;
}

static int
join_server(CaStream *self, PyObject *server)
{
    if (server == NULL) {
        return 0;
    }
    if (ca_stream_tell_server(self, server, CA_STR__attach) < 0) {
        return -1;
    }
    self->server = Py_NewRef(server);
    return 0;
}

int
ca_stream_begin(CaStream *self, PyObject *protocol, PyObject *server,
                PyObject *waiter)
{
    if (ca_stream_set_protocol(self, protocol) < 0 ||
        join_server(self, server) < 0 ||
        ca_claims_set(self->loop, self->fd, (PyObject *)self) < 0 ||
        ca_stream_queue_call(self, protocol, CA_STR_connection_made,
                             (PyObject *)self) < 0) {
        return -1;
    }
    return ca_stream_queue_call(self, (PyObject *)self, CA_STR__start,
                                waiter == NULL ? Py_None : waiter);
}

PyDoc_STRVAR(_start_doc,
"_start($self, waiter, /)\n--\n\n"
"Begin to read, and finish the future of the one who waits for that.");

static PyObject *
stream_py__start(PyObject *op, PyObject *waiter)
{
    CaStream *self = (CaStream *)op;
    self->started = true;
    if (ca_stream_update_reading(self) < 0) {
        return NULL;
    }
    if (waiter == Py_None) {
        Py_RETURN_NONE;
    }
    PyObject *cancelled = PyObject_CallMethodNoArgs(
        waiter, ca_stream_name_borrow(self, CA_STR_cancelled));
    int skip = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    if (skip != 0) {
        return skip < 0 ? NULL : Py_NewRef(Py_None);
    }
    return PyObject_CallMethodOneArg(
        waiter, ca_stream_name_borrow(self, CA_STR_set_result), Py_None);
}

/* ---- methods and attributes ---- */

PyDoc_STRVAR(set_protocol_doc,
"set_protocol($self, protocol)\n--\n\n"
"Let another protocol receive what comes from now on.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Base Transport\".");

static PyObject *
stream_py_set_protocol(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    CaStream *self = (CaStream *)op;
    PyObject *protocol = ca_stream_one_borrow(
        self, CA_STR_set_protocol, CA_STR_protocol, args, nargs, kwnames);
    if (protocol == NULL || ca_stream_set_protocol(self, protocol) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_protocol_doc,
"get_protocol($self)\n--\n\n"
"Return the protocol; None once the connection is lost.");

static PyObject *
stream_py_get_protocol(PyObject *op, PyObject *Py_UNUSED(none))
{
    PyObject *protocol = ((CaStream *)op)->protocol;
    return Py_NewRef(protocol == NULL ? Py_None : protocol);
}

PyDoc_STRVAR(_names_doc,
"_names($self)\n--\n\n"
"Return (sockname, peername) as they were when the transport was made; None\n"
"when the socket module must be asked.");

static PyObject *
stream_py__names(PyObject *op, PyObject *Py_UNUSED(none))
{
    const ca_names *names = ((CaStream *)op)->names;
    if (names == NULL || !ca_sockaddr_family_known(((CaStream *)op)->family)) {
        Py_RETURN_NONE;
    }
    ca_sockaddr local, peer;
    int family = ((CaStream *)op)->family;
    size_t size = read_name(names->addresses, names->local_length, family,
                            &local);
    (void)read_name(names->addresses + size, names->peer_length, family,
                    &peer);
    PyObject *sockname = ca_sockaddr_to_python(&local.u.any,
                                               names->local_length);
    PyObject *peername = ca_sockaddr_to_python(&peer.u.any,
                                               names->peer_length);
    PyObject *pair = sockname == NULL || peername == NULL
                         ? NULL
                         : PyTuple_Pack(2, sockname, peername);
    Py_XDECREF(sockname);
    Py_XDECREF(peername);
    return pair;
}

PyDoc_STRVAR(_release_doc,
"_release($self)\n--\n\n"
"Let sock_*() use the descriptor until _claim().");

static PyObject *
stream_py__release(PyObject *op, PyObject *Py_UNUSED(none))
{
    ca_claims_drop(((CaStream *)op)->loop, ((CaStream *)op)->fd, op);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_claim_doc,
"_claim($self)\n--\n\n"
"Take the descriptor back after _release().");

static PyObject *
stream_py__claim(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaStream *self = (CaStream *)op;
    if (!self->lost && ca_claims_set(self->loop, self->fd, op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef stream_methods[] = {
    {"_start", stream_py__start, METH_O, _start_doc},
    {"set_protocol", (PyCFunction)(void (*)(void))stream_py_set_protocol,
     METH_FASTCALL | METH_KEYWORDS, set_protocol_doc},
    {"get_protocol", stream_py_get_protocol, METH_NOARGS, get_protocol_doc},
    {"_names", stream_py__names, METH_NOARGS, _names_doc},
    {"_release", stream_py__release, METH_NOARGS, _release_doc},
    {"_claim", stream_py__claim, METH_NOARGS, _claim_doc},
    {0},
};

static PyObject *
stream_get__loop(PyObject *op, void *Py_UNUSED(closure))
{
    CaStream *self = (CaStream *)op;
    return Py_NewRef(self->lost ? Py_None : (PyObject *)self->loop);
}

static PyObject *
stream_get__protocol(PyObject *op, void *Py_UNUSED(closure))
{
    return stream_py_get_protocol(op, NULL);
}

static PyObject *
stream_get__server(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *server = ((CaStream *)op)->server;
    return Py_NewRef(server == NULL ? Py_None : server);
}

static PyObject *
water(const CaStream *self, Py_ssize_t which, int64_t nbytes)
{
    return self->limits == NULL
               ? PyLong_FromLongLong(nbytes)
               : Py_NewRef(PyTuple_GET_ITEM(self->limits->pair, which));
}

/* The socket object; for an accepted connection made when first asked for. */
static PyObject *
stream_get__sock(PyObject *op, void *Py_UNUSED(closure))
{
    CaStream *self = (CaStream *)op;
    if (self->lost) {
        Py_RETURN_NONE;
    }
    if (self->sock == NULL) {
        PyObject *sock = PyObject_CallMethodNoArgs(
            op, ca_stream_name_borrow(self, CA_STR__make_sock));
        if (sock == NULL) {
            return NULL;
        }
        self->sock = sock;
        if (ca_stream_share(self) < 0) {
            return NULL;
        }
    }
    return Py_NewRef(self->sock);
}

static PyObject *
stream_get__buffer(PyObject *op, void *Py_UNUSED(closure))
{
    return ca_wqueue_to_list(&((CaStream *)op)->out);
}

static PyObject *
stream_get__conn_lost(PyObject *op, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong(((CaStream *)op)->conn_lost);
}

static PyObject *
stream_get__high_water(PyObject *op, void *Py_UNUSED(closure))
{
    CaStream *self = (CaStream *)op;
    return water(self, 1, ca_stream_high(self));
}

static PyObject *
stream_get__low_water(PyObject *op, void *Py_UNUSED(closure))
{
    CaStream *self = (CaStream *)op;
    return water(self, 0, ca_stream_low(self));
}

static PyGetSetDef stream_getset[] = {
    {"_loop", stream_get__loop, NULL, "The loop; None once lost.", NULL},
    {"_protocol", stream_get__protocol, NULL, "The protocol; None once lost.",
     NULL},
    {"_server", stream_get__server, NULL, "The server, or None.", NULL},
    {"_sock", stream_get__sock, NULL, "The socket; None once lost.", NULL},
    {"_buffer", stream_get__buffer, NULL,
     "A copy of what waits to be sent: a list of memoryviews.", NULL},
    {"_conn_lost", stream_get__conn_lost, NULL,
     "0 while connected; then counts further writes.", NULL},
    {"_high_water", stream_get__high_water, NULL, "In bytes.", NULL},
    {"_low_water", stream_get__low_water, NULL, "In bytes.", NULL},
    {0},
};

static PyMemberDef stream_members[] = {
    {"_given_extra", T_OBJECT, offsetof(CaStream, extra), 0,
     "The extra info that was given or gathered so far; or None."},
    {"_sock_object", T_OBJECT, offsetof(CaStream, sock), Py_READONLY,
     "The socket object, also when it is closed; None: there was none."},
    {"_empty_waiter", T_OBJECT, offsetof(CaStream, empty_waiter), 0,
     "A future that waits for everything to be sent; or None."},
    {"_context", T_OBJECT, offsetof(CaStream, context), Py_READONLY,
     "The context in which the protocol is called."},
    {"_sock_fd", T_INT, offsetof(CaStream, fd), Py_READONLY,
     "The descriptor, also when it is closed."},
    {"_family", T_INT, offsetof(CaStream, family), Py_READONLY,
     "The address family."},
    {"_closing", T_BOOL, offsetof(CaStream, closing), Py_READONLY,
     "close() or abort() was called."},
    {"_paused", T_BOOL, offsetof(CaStream, paused), Py_READONLY,
     "pause_reading() was called."},
    {"_eof", T_BOOL, offsetof(CaStream, eof), Py_READONLY,
     "write_eof() was called."},
    {"_lost", T_BOOL, offsetof(CaStream, lost), Py_READONLY,
     "The descriptor is closed."},
    {"_protocol_paused", T_BOOL, offsetof(CaStream, protocol_paused),
     Py_READONLY, "pause_writing() was called last."},
    {"_protocol_connected", T_BOOL, offsetof(CaStream, connected), Py_READONLY,
     "A protocol was set."},
    {"_reading", T_BOOL, offsetof(CaStream, reading), Py_READONLY,
     "Watched for reading."},
    {"_blocked", T_BOOL, offsetof(CaStream, blocked), Py_READONLY,
     "Watched for writing."},
    {0},
};

/* ---- the type ---- */

PyDoc_STRVAR(stream_doc,
"Native half of the stream transport; made by the loop.\n\n"
"Errors: cannot be created directly (TypeError).\n"
"Threads: every method belongs to the loop's thread.");

static PyObject *
stream_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
              PyObject *Py_UNUSED(kwargs))
{
    PyErr_Format(PyExc_TypeError, "cannot create '%.100s' instances",
                 type->tp_name);
    return NULL;
}

static int
stream_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaStream *self = (CaStream *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->extra);
    Py_VISIT(self->loop);
    Py_VISIT(self->protocol);
    Py_VISIT(self->context);
    Py_VISIT(self->sock);
    Py_VISIT(self->server);
    Py_VISIT(self->acceptor);
    Py_VISIT(self->empty_waiter);
    if (self->limits != NULL) {
        Py_VISIT(self->limits->pair);
    }
    return 0;
}

static int
stream_tp_clear(PyObject *op)
{
    CaStream *self = (CaStream *)op;
    Py_CLEAR(self->extra);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->server);
    Py_CLEAR(self->acceptor);
    Py_CLEAR(self->empty_waiter);
    ca_limits_free(&self->limits);
    return 0;
}

/* A transport that was dropped open: warn and close, as stock's __del__. One
 * that never had a protocol was on its way only. */
static void
stream_tp_finalize(PyObject *op)
{
    CaStream *self = (CaStream *)op;
    if (self->lost || self->loop == NULL || !self->connected) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    ca_reactor_forget(&self->loop->reactor, self->fd);
    if (ca_stream_tell(self, CA_STR__dropped) < 0) {
        PyErr_WriteUnraisable(op);
    }
    ca_error_restore(exc);
}

static void
stream_tp_dealloc(PyObject *op)
{
    CaStream *self = (CaStream *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    if (self->loop != NULL) {
        ca_dlist_unlink(&self->held.node);
        ca_dlist_unlink(&self->client);
        ca_claims_drop(self->loop, self->fd, op);
    }
    if (!self->lost && self->sock == NULL && self->loop != NULL) {
        ca_reactor_forget(&self->loop->reactor, self->fd);
        (void)close(self->fd);
    }
    ca_wqueue_clear(&self->out);
    free(self->names);
    (void)stream_tp_clear(op);
    Py_CLEAR(self->sock);
    Py_CLEAR(self->context);
    Py_CLEAR(self->loop);
    type->tp_free(op);
    Py_DECREF(type);
}

enum { MAX_METHODS = 48 };

/* Method descriptors point into the table, so it lives as long as the process;
 * every interpreter fills in the same values. */
static PyMethodDef all_methods[MAX_METHODS];

static void
join_methods(void)
{
    const PyMethodDef *const parts[] = {
        stream_methods,
        ca_stream_read_methods,
        ca_stream_write_methods,
        ca_stream_close_methods,
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (const PyMethodDef *m = parts[i]; m->ml_name != NULL; m++) {
            if (n < MAX_METHODS - 1) {
                all_methods[n++] = *m;
            }
        }
    }
}

PyObject *
ca_stream_type_new(PyObject *module, ca_state *st)
{
    PyObject *base = st->StockTransport;
    if (!ca_layout_ends_at(base, offsetof(CaStream, loop))) {
        return NULL;
    }
    join_methods();
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)stream_doc},
        {Py_tp_new, stream_tp_new},
        {Py_tp_traverse, stream_tp_traverse},
        {Py_tp_clear, stream_tp_clear},
        {Py_tp_finalize, stream_tp_finalize},
        {Py_tp_dealloc, stream_tp_dealloc},
        {Py_tp_methods, all_methods},
        {Py_tp_getset, stream_getset},
        {Py_tp_members, stream_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.StreamTransport",
        .basicsize = sizeof(CaStream),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, base);
}
