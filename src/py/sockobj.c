/* sockobj.c - see sockobj.h. */
#include "py/sockobj.h"

#include "py/errors.h"

/* How CPython's Modules/socketmodule.h begins its PySocketSockObject. */
typedef struct {
    PyObject_HEAD
    int fd;
    int family;
    int type;
    int proto;
    PyObject *(*errorhandler)(void);
    int64_t timeout_ns;                /* 0: does not block; < 0: for ever */
} socket_head;

/* The methods whose work we do in their place. */
static const char *const plain_methods[] = {
    "recv",   "recv_into",  "recvfrom",    "recvfrom_into", "send",
    "sendto", "connect",    "accept",      "_accept",       "getsockopt",
    "fileno", "gettimeout", "setblocking", "__init__",
};
enum { N_PLAIN = sizeof(plain_methods) / sizeof(plain_methods[0]) };

/* Whether settimeout(argument) stores that many nanoseconds. */
static bool
timeout_fits(PyObject *sock, PyObject *steal_argument, int64_t timeout_ns)
{
    PyObject *done = steal_argument == NULL
                         ? NULL
                         : PyObject_CallMethod(sock, "settimeout", "O",
                                               steal_argument);
    bool fits = done != NULL &&
                ((const socket_head *)sock)->timeout_ns == timeout_ns;
    Py_XDECREF(steal_argument);
    Py_XDECREF(done);
    return fits;
}

/* Make a socket with known values and look for them. */
static int
layout_fits(PyObject *socket_type)
{
    PyObject *sock = PyObject_CallFunction(socket_type, "iii", 1, 5, 0);
    if (sock == NULL) {
        PyErr_Clear();                 /* no descriptor left, say */
        return 0;
    }
    PyObject *number = PyObject_CallMethod(sock, "fileno", NULL);
    long fd = number == NULL ? -1 : PyLong_AsLong(number);
    const socket_head *head = (const socket_head *)sock;
    int fits = fd >= 0 && head->fd == fd && head->family == 1 &&
               head->type == 5 && head->proto == 0 &&
               timeout_fits(sock, PyFloat_FromDouble(2.5), 2500000000) &&
               timeout_fits(sock, Py_NewRef(Py_None), -1000000000) &&
               timeout_fits(sock, PyLong_FromLong(0), 0);
    Py_XDECREF(number);
    PyObject *done = PyObject_CallMethod(sock, "close", NULL);
    fits = fits && done != NULL && head->fd == -1;
    Py_XDECREF(done);
    Py_DECREF(sock);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return fits;
}

/* The methods of socket.socket now: a tuple; NULL with an exception. */
static PyObject *
look_up_methods(const ca_state *st)
{
    PyObject *found = PyTuple_New(N_PLAIN);
    for (int i = 0; found != NULL && i < N_PLAIN; i++) {
        PyObject *method = PyObject_GetAttrString(st->Socket,
                                                  plain_methods[i]);
        if (method == NULL) {
            Py_CLEAR(found);
        } else {
            PyTuple_SET_ITEM(found, i, method);
        }
    }
    return found;
}

/* Where the class keeps a slot of that name; 0: nowhere that we know. */
static Py_ssize_t
slot_offset(const ca_state *st, const char *name)
{
    PyObject *slot = PyObject_GetAttrString(st->Socket, name);
    Py_ssize_t offset = 0;
    if (slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        const PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        offset = member->type == Py_T_OBJECT_EX ? member->offset : 0;
    }
    Py_XDECREF(slot);
    PyErr_Clear();
    return offset;
}

int
ca_sockobj_init(ca_state *st)
{
    st->socket_users = slot_offset(st, "_io_refs");
    st->socket_closed = slot_offset(st, "_closed");
    PyTypeObject *base = (PyTypeObject *)st->BaseSocket;
    st->socket_layout = base->tp_basicsize >=
                            (Py_ssize_t)sizeof(socket_head) &&
                        layout_fits(st->BaseSocket);
    PyObject *fileno = PyObject_GetAttr(st->BaseSocket,
                                        st->names[CA_STR_fileno]);
    Py_XSETREF(st->socket_fileno, fileno);
    if (fileno == NULL) {
        return -1;
    }
    st->socket_type = ca_typetag_of((PyTypeObject *)st->Socket);
    Py_XSETREF(st->socket_methods, look_up_methods(st));
    return st->socket_methods == NULL ? -1 : 0;
}

/* The class has changed since we last looked: are the methods still those? */
static bool
methods_are_born(ca_state *st)
{
    PyObject *now = look_up_methods(st);
    bool same = now != NULL;
    for (int i = 0; same && i < N_PLAIN; i++) {
        same = PyTuple_GET_ITEM(now, i) ==
               PyTuple_GET_ITEM(st->socket_methods, i);
    }
    Py_XDECREF(now);
    PyErr_Clear();
    if (same) {
        st->socket_type = ca_typetag_of((PyTypeObject *)st->Socket);
    }
    return same;
}

bool
ca_sockobj_is_plain(ca_state *st, PyObject *op)
{
    return (PyObject *)Py_TYPE(op) == st->Socket && st->socket_layout &&
           (ca_typetag_holds(st->socket_type, (PyTypeObject *)st->Socket) ||
            methods_are_born(st));
}

ca_socket_traits
ca_sockobj_traits(PyObject *plain_sock)
{
    const socket_head *head = (const socket_head *)plain_sock;
    return (ca_socket_traits){
        .fd = head->fd,
        .family = head->family,
        .type = head->type,
        .proto = head->proto,
        .blocks = head->timeout_ns != 0,
    };
}

bool
ca_sockobj_check(const ca_state *st, PyObject *op)
{
    if (!PyObject_TypeCheck(op, (PyTypeObject *)st->BaseSocket)) {
        return false;
    }
    if ((PyObject *)Py_TYPE(op) == st->Socket) {
        return true;
    }
    PyObject *fileno = PyObject_GetAttr((PyObject *)Py_TYPE(op),
                                        st->names[CA_STR_fileno]);
    bool same = fileno == st->socket_fileno;
    Py_XDECREF(fileno);
    PyErr_Clear();
    return same;
}

int
ca_sockobj_fd(const ca_state *st, PyObject *sock)
{
    if (st->socket_layout) {
        return ((const socket_head *)sock)->fd;
    }
    PyObject *number = PyObject_CallMethodNoArgs(sock,
                                                 st->names[CA_STR_fileno]);
    int fd = number == NULL ? -1 : PyLong_AsInt(number);
    Py_XDECREF(number);
    PyErr_Clear();
    return fd;
}

/* ---- users ---- */

static PyObject **
slot_of(PyObject *sock, Py_ssize_t offset)
{
    return (PyObject **)((char *)sock + offset);
}

/* Add to the number of users; whether there is such a number. */
static bool
count_users(const ca_state *st, PyObject *sock, long change)
{
    if (st->socket_users == 0 || st->socket_closed == 0) {
        return false;
    }
    PyObject **users = slot_of(sock, st->socket_users);
    long n = *users == NULL || !PyLong_CheckExact(*users)
                 ? -1
                 : PyLong_AsLong(*users);
    PyObject *changed = n < 0 ? NULL : PyLong_FromLong(n + change);
    PyErr_Clear();
    if (changed != NULL) {
        Py_SETREF(*users, changed);
    }
    return changed != NULL;
}

bool
ca_sockobj_hold(const ca_state *st, PyObject *plain_sock)
{
    return count_users(st, plain_sock, 1);
}

void
ca_sockobj_release(const ca_state *st, PyObject *plain_sock)
{
    if (*slot_of(plain_sock, st->socket_closed) != Py_True) {
        (void)count_users(st, plain_sock, -1);
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done = PyObject_CallMethodNoArgs(
        plain_sock, st->names[CA_STR__decref_socketios]);
    if (done == NULL) {
        PyErr_WriteUnraisable(plain_sock);
    }
    Py_XDECREF(done);
    ca_error_restore(exc);
}
