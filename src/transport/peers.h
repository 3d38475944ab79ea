/* peers.h - addresses of datagrams that come again and again.
 *
 * Two small tables, with two places for each: from the kernel's bytes to the
 * tuple that was made of them, and from a tuple to the bytes that it means.
 * Both only spare work: whatever is not found is worked out anew.  They
 * hold IPv4 and IPv6 addresses in their plain form, so tuples of exact str and
 * int.
 */
#ifndef CA_TRANSPORT_PEERS_H
#define CA_TRANSPORT_PEERS_H

#include "py/sockaddr.h"

typedef struct {
    PyObject *address;                 /* strong; NULL: empty */
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
} ca_peer;

typedef struct {
    ca_peer *received;                 /* owned; NULL until the first one */
    ca_peer *sent;                     /* owned; NULL until the first one */
} ca_peers;

/* The Python form of an address that came with a datagram: new reference or
 * NULL. */
PyObject *ca_peers_address(ca_peers *peers, const struct sockaddr *raw,
                           socklen_t length);

/* As ca_sockaddr_from_python(), for the destination of a datagram; *out is
 * good until the next call, and `scratch` is there to be used.  Runs no
 * Python. */
int ca_peers_destination(ca_peers *peers, int family, PyObject *address,
                         ca_sockaddr *scratch, const struct sockaddr **out,
                         socklen_t *length);

void ca_peers_clear(ca_peers *peers);

#endif
