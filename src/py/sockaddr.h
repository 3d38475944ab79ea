/* sockaddr.h - socket addresses between the kernel's form and Python's.
 *
 * The forms are those of the socket module for AF_INET, AF_INET6 and AF_UNIX;
 * other families are left to it.
 */
#ifndef CA_PY_SOCKADDR_H
#define CA_PY_SOCKADDR_H

#include "py/compat.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct {
    socklen_t length;                  /* bytes used; 0: none */
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } u;
} ca_sockaddr;

/* Whether ca_sockaddr_to_python() knows the family. */
static inline bool
ca_sockaddr_family_known(int family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

/* As socket.getsockname() shows it: (host, port), (host, port, flowinfo,
 * scope_id), a path (str; bytes when abstract), None for no address.  New
 * reference or NULL. */
PyObject *ca_sockaddr_to_python(const struct sockaddr *addr, socklen_t length);

/* The address that a Python object means for sockets of `family`, when it is
 * in its plain form: numeric host (no name, no zone, not empty, no wildcard
 * word), port in range, a path that fits.  1; 0: not plain, let the socket
 * module decide (no exception set).  Runs no Python. */
int ca_sockaddr_from_python(int family, PyObject *op, ca_sockaddr *out);

#endif
