/* sockobj.c - see sockobj.h. */
#include "py/sockobj.h"

/* How CPython's Modules/socketmodule.h begins its PySocketSockObject. */
typedef struct {
    PyObject_HEAD
    int fd;
    int family;
    int type;
    int proto;
} socket_head;

/* Make a socket with known values and look for them. */
static int
layout_fits(PyObject *socket_type)
{
    PyObject *sock = PyObject_CallFunction(socket_type, "iiii", 1, 5, 0, -1);
    if (sock == NULL) {
        PyErr_Clear();                 /* no descriptor left, say */
        return 0;
    }
    PyObject *number = PyObject_CallMethod(sock, "fileno", NULL);
    long fd = number == NULL ? -1 : PyLong_AsLong(number);
    const socket_head *head = (const socket_head *)sock;
    int fits = fd >= 0 && head->fd == fd && head->family == 1 &&
               head->type == 5 && head->proto == 0;
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

int
ca_sockobj_init(ca_state *st)
{
    PyTypeObject *base = (PyTypeObject *)st->BaseSocket;
    st->socket_layout = base->tp_basicsize >= (Py_ssize_t)sizeof(socket_head) &&
                        layout_fits(st->BaseSocket);
    PyObject *fileno = PyObject_GetAttr(st->BaseSocket,
                                        st->names[CA_STR_fileno]);
    Py_XSETREF(st->socket_fileno, fileno);
    return fileno == NULL ? -1 : 0;
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
