/* sockaddr.c - see sockaddr.h. */
#include "py/sockaddr.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

/* ---- to Python ---- */

static PyObject *
host_to_python(int family, const void *addr)
{
    char text[INET6_ADDRSTRLEN];
    if (inet_ntop(family, addr, text, sizeof(text)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyUnicode_FromString(text);
}

static PyObject *
inet_to_python(const struct sockaddr_in *addr)
{
    PyObject *host = host_to_python(AF_INET, &addr->sin_addr);
    return host == NULL ? NULL
                        : Py_BuildValue("Ni", host, ntohs(addr->sin_port));
}

static PyObject *
inet6_to_python(const struct sockaddr_in6 *addr)
{
    PyObject *host = host_to_python(AF_INET6, &addr->sin6_addr);
    return host == NULL ? NULL
                        : Py_BuildValue("NiII", host, ntohs(addr->sin6_port),
                                        ntohl(addr->sin6_flowinfo),
                                        addr->sin6_scope_id);
}

static PyObject *
unix_to_python(const struct sockaddr_un *addr, socklen_t length)
{
    size_t size = length > offsetof(struct sockaddr_un, sun_path)
                      ? length - offsetof(struct sockaddr_un, sun_path)
                      : 0;
    if (size > 0 && addr->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(addr->sun_path, (Py_ssize_t)size);
    }
    return PyUnicode_DecodeFSDefaultAndSize(
        addr->sun_path, (Py_ssize_t)strnlen(addr->sun_path, size));
}

PyObject *
ca_sockaddr_to_python(const struct sockaddr *addr, socklen_t length)
{
    if (length < sizeof(addr->sa_family)) {
        Py_RETURN_NONE;
    }
    switch (addr->sa_family) {
    case AF_INET:
        return inet_to_python((const struct sockaddr_in *)addr);
    case AF_INET6:
        return inet6_to_python((const struct sockaddr_in6 *)addr);
    case AF_UNIX:
        return unix_to_python((const struct sockaddr_un *)addr, length);
    default:
        Py_RETURN_NONE;
    }
}

/* ---- from Python ---- */

/* A field of an address tuple that is an exact int from 0 to `max`. */
static bool
small_int(PyObject *op, long max, long *value)
{
    if (!PyLong_CheckExact(op)) {
        return false;
    }
    int overflow;
    *value = PyLong_AsLongAndOverflow(op, &overflow);
    return overflow == 0 && *value >= 0 && *value <= max;
}

/* Text of an exact ASCII str without a NUL in it; NULL: another thing. */
static const char *
ascii_text(PyObject *op, Py_ssize_t *size)
{
    if (!PyUnicode_CheckExact(op) || !PyUnicode_IS_COMPACT_ASCII(op)) {
        return NULL;
    }
    *size = PyUnicode_GET_LENGTH(op);
    const char *text = PyUnicode_DATA(op);
    return strlen(text) == (size_t)*size ? text : NULL;
}

static int
inet_from_python(int family, PyObject *op, ca_sockaddr *out)
{
    Py_ssize_t n = PyTuple_CheckExact(op) ? PyTuple_GET_SIZE(op) : 0;
    long port, flowinfo = 0, scope_id = 0;
    Py_ssize_t size;
    if (n < 2 || n > (family == AF_INET ? 2 : 4) ||
        !small_int(PyTuple_GET_ITEM(op, 1), 65535, &port) ||
        (n > 2 && !small_int(PyTuple_GET_ITEM(op, 2), 0xfffff, &flowinfo)) ||
        (n > 3 &&
         !small_int(PyTuple_GET_ITEM(op, 3), UINT32_MAX, &scope_id))) {
        return 0;
    }
    const char *host = ascii_text(PyTuple_GET_ITEM(op, 0), &size);
    if (host == NULL) {
        return 0;
    }
    if (family == AF_INET) {
        out->u.in = (struct sockaddr_in){.sin_family = AF_INET,
                                         .sin_port = htons((uint16_t)port)};
        out->length = sizeof(out->u.in);
        return inet_pton(AF_INET, host, &out->u.in.sin_addr) == 1;
    }
    out->u.in6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6,
        .sin6_port = htons((uint16_t)port),
        .sin6_flowinfo = htonl((uint32_t)flowinfo),
        .sin6_scope_id = (uint32_t)scope_id,
    };
    out->length = sizeof(out->u.in6);
    return inet_pton(AF_INET6, host, &out->u.in6.sin6_addr) == 1;
}

static int
unix_from_python(PyObject *op, ca_sockaddr *out)
{
    Py_ssize_t size;
    const char *path = ascii_text(op, &size);
    if (path == NULL && PyBytes_CheckExact(op)) {
        path = PyBytes_AS_STRING(op);
        size = PyBytes_GET_SIZE(op);
    }
    if (path == NULL || size == 0 ||
        (size_t)size >= sizeof(out->u.un.sun_path)) {
        return 0;
    }
    out->u.un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(out->u.un.sun_path, path, (size_t)size);
    out->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
                              (size_t)size);
    if (path[0] != '\0') {
        if (strlen(path) != (size_t)size) {
            return 0;
        }
        out->length++;                 /* a path ends with its NUL */
    }
    return 1;
}

int
ca_sockaddr_from_python(int family, PyObject *op, ca_sockaddr *out)
{
    if (family == AF_UNIX) {
        return unix_from_python(op, out);
    }
    if (family == AF_INET || family == AF_INET6) {
        return inet_from_python(family, op, out);
    }
    return 0;
}
