/* resolve.c - "DNS": the addresses that need no resolver.
 *
 * Owns the answer to getaddrinfo() for literal addresses, in those cases in
 * which it follows from the arguments alone.  All else (names, zones, short
 * and octal forms, services by name, flags that ask the system) is left to
 * libc, in a thread, as stock does it.
 */
#include "api/api.h"

#include "py/sockaddr.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

enum { KNOWN_FLAGS = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };

typedef struct {
    PyObject *host;                    /* borrowed from the call, as is port */
    PyObject *port;
    int family;
    int type;
    int proto;
    int flags;
} question;

/* What libc makes of a type and a protocol of 0, in its order, which is also
 * that of ca_state.socket_kinds. */
static const struct {
    int type;
    int proto;
} kinds[] = {
    {SOCK_STREAM, IPPROTO_TCP},
    {SOCK_DGRAM, IPPROTO_UDP},
    {SOCK_RAW, 0},
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* An int that fits, of any class derived from int. */
static bool
plain_int(PyObject *op, int *value)
{
    if (!PyLong_Check(op)) {
        return false;
    }
    int overflow;
    long got = PyLong_AsLongAndOverflow(op, &overflow);
    *value = (int)got;
    return overflow == 0 && got == *value;
}

/* The characters of an exact str or bytes; NULL: another thing, or with a NUL
 * or beyond ASCII. */
static const char *
plain_text(PyObject *op, size_t *size)
{
    const char *text = NULL;
    if (PyUnicode_CheckExact(op) && PyUnicode_IS_COMPACT_ASCII(op)) {
        text = PyUnicode_DATA(op);
        *size = (size_t)PyUnicode_GET_LENGTH(op);
    } else if (PyBytes_CheckExact(op)) {
        text = PyBytes_AS_STRING(op);
        *size = (size_t)PyBytes_GET_SIZE(op);
    }
    return text != NULL && strlen(text) == *size ? text : NULL;
}

/* None, an exact int or a str of digits; only numbers that are ports. */
static bool
port_number(PyObject *op, int *port)
{
    size_t size;
    if (op == Py_None) {
        *port = 0;
        return true;
    }
    if (PyLong_CheckExact(op)) {
        return plain_int(op, port) && *port >= 0 && *port <= 65535;
    }
    const char *text = plain_text(op, &size);
    if (text == NULL || size < 1 || size > 5 ||
        strspn(text, "0123456789") != size) {
        return false;
    }
    *port = 0;
    for (size_t i = 0; i < size; i++) {
        *port = *port * 10 + (text[i] - '0');
    }
    return *port <= 65535;
}

/* The address that the host writes out, if it does and of the wanted family;
 * inet_pton() knows no zones, no short and no octal forms. */
static bool
literal_address(const ca_state *st, const question *q, int port,
                ca_sockaddr *addr)
{
    size_t size;
    const char *text = plain_text(q->host, &size);
    if (text == NULL) {
        return false;
    }
    memset(addr, 0, sizeof(*addr));
    if (memchr(text, ':', size) == NULL) {
        addr->u.in.sin_family = AF_INET;
        addr->u.in.sin_port = htons((uint16_t)port);
        addr->length = sizeof(addr->u.in);
        return q->family != AF_INET6 &&
               inet_pton(AF_INET, text, &addr->u.in.sin_addr) == 1;
    }
    addr->u.in6.sin6_family = AF_INET6;
    addr->u.in6.sin6_port = htons((uint16_t)port);
    addr->length = sizeof(addr->u.in6);
    return st->family_inet6 != NULL && q->family != AF_INET &&
           inet_pton(AF_INET6, text, &addr->u.in6.sin6_addr) == 1;
}

/* Which rows of `kinds` libc would answer with, as bits; 0: ask it.  Raw
 * sockets are asked for, never by themselves: libc cares for their service.
 * Without type and protocol not every libc has the same list. */
static unsigned
wanted_kinds(const question *q)
{
    if (q->type == 0 && q->proto == 0) {
#ifdef __GLIBC__
        return 7;
#else
        return 0;
#endif
    }
    unsigned bits = 0;
    for (unsigned i = 0; i < 2; i++) {
        if ((q->type == 0 || q->type == kinds[i].type) &&
            (q->proto == 0 || q->proto == kinds[i].proto)) {
            bits |= 1U << i;
        }
    }
    return bits;
}

static PyObject *
answer_row(ca_state *st, int kind, const ca_sockaddr *addr)
{
    PyObject *family = addr->u.any.sa_family == AF_INET ? st->family_inet
                                                        : st->family_inet6;
    PyObject *where = ca_sockaddr_to_python(&addr->u.any, addr->length);
    return where == NULL
               ? NULL
               : Py_BuildValue("OOisN", family, st->socket_kinds[kind],
                               kinds[kind].proto, "", where);
}

static PyObject *
answer(ca_state *st, const question *q, unsigned kinds_wanted,
       const ca_sockaddr *addr)
{
    /* The event of socket.getaddrinfo(), which this stands for. */
    if (PySys_Audit("socket.getaddrinfo", "OOiii", q->host, q->port, q->family,
                    q->type, q->proto) < 0) {
        return NULL;
    }
    PyObject *rows = PyList_New(0);
    for (int i = 0; rows != NULL && i < N_KINDS; i++) {
        if ((kinds_wanted & 1U << i) == 0) {
            continue;
        }
        PyObject *row = answer_row(st, i, addr);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

PyDoc_STRVAR(_literal_addrinfo_doc,
"_literal_addrinfo($self, host, port, family, type, proto, flags, /)\n--\n\n"
"Return what socket.getaddrinfo() would for a literal address; None when it\n"
"is to be asked, or the loop is closed or in debug mode.");

static PyObject *
loop_py__literal_addrinfo(PyObject *op, PyObject *const *args,
                          Py_ssize_t nargs)
{
    CaLoop *self = (CaLoop *)op;
    if (nargs != 6) {
        PyErr_SetString(PyExc_TypeError,
                        "_literal_addrinfo() takes exactly 6 arguments");
        return NULL;
    }
    question q = {.host = args[0], .port = args[1]};
    int port;
    ca_sockaddr addr;
    if (self->debug || self->closed || !plain_int(args[2], &q.family) ||
        !plain_int(args[3], &q.type) || !plain_int(args[4], &q.proto) ||
        !plain_int(args[5], &q.flags) || (q.flags & ~KNOWN_FLAGS) != 0 ||
        (q.family != AF_UNSPEC && q.family != AF_INET &&
         q.family != AF_INET6) ||
        !port_number(q.port, &port) ||
        !literal_address(self->st, &q, port, &addr)) {
        Py_RETURN_NONE;
    }
    unsigned kinds_wanted = wanted_kinds(&q);
    if (kinds_wanted == 0) {
        Py_RETURN_NONE;
    }
    return answer(self->st, &q, kinds_wanted, &addr);
}

PyMethodDef ca_resolve_methods[] = {
    {"_literal_addrinfo",
     (PyCFunction)(void (*)(void))loop_py__literal_addrinfo, METH_FASTCALL,
     _literal_addrinfo_doc},
    {0},
};
