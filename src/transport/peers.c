/* peers.c - see peers.h. */
#include "transport/peers.h"

#include <stdlib.h>
#include <string.h>

enum {
    PEERS_BITS = 6,
    PEERS = 1 << PEERS_BITS,
};

/* Its upper bits are well mixed. */
static inline size_t
slot_of(uint64_t word)
{
    return (size_t)((word * UINT64_C(0x9e3779b97f4a7c15)) >>
                    (64 - PEERS_BITS));
}

static inline uint64_t
word_at(const struct sockaddr *raw, size_t offset)
{
    uint64_t word;
    memcpy(&word, (const char *)raw + offset, sizeof(word));
    return word;
}

static size_t
slot_of_raw(const struct sockaddr *raw, socklen_t length)
{
    uint64_t word = word_at(raw, 0);   /* IPv4: all of it */
    if (length == sizeof(struct sockaddr_in6)) {
        word ^= word_at(raw, 8) * 31 + word_at(raw, 16) * 1009;
    }
    return slot_of(word);
}

/* The table, made when there is none; NULL: no memory, so do without. */
static ca_peer *
table(ca_peer **peers)
{
    if (*peers == NULL) {
        *peers = calloc(PEERS, sizeof(**peers));
    }
    return *peers;
}

static void
remember(ca_peer *peer, PyObject *address, const struct sockaddr *raw,
         socklen_t length)
{
    Py_XSETREF(peer->address, Py_NewRef(address));
    peer->length = length;
    memcpy(&peer->u, raw, length);
}

static bool
fits(socklen_t length)
{
    return length == sizeof(struct sockaddr_in) ||
           length == sizeof(struct sockaddr_in6);
}

PyObject *
ca_peers_address(ca_peers *peers, const struct sockaddr *raw, socklen_t length)
{
    if (!fits(length) ||
        (raw->sa_family != AF_INET && raw->sa_family != AF_INET6) ||
        table(&peers->received) == NULL) {
        return ca_sockaddr_to_python(raw, length);
    }
    ca_peer *peer = &peers->received[slot_of_raw(raw, length)];
    if (peer->length == length && memcmp(&peer->u, raw, length) == 0) {
        return Py_NewRef(peer->address);
    }
    PyObject *address = ca_sockaddr_to_python(raw, length);
    if (address != NULL) {
        remember(peer, address, raw, length);
    }
    return address;
}

int
ca_peers_destination(ca_peers *peers, int family, PyObject *address,
                     ca_sockaddr *scratch, const struct sockaddr **out,
                     socklen_t *length)
{
    ca_peer *peer = family == AF_UNIX || table(&peers->sent) == NULL
                        ? NULL
                        : &peers->sent[slot_of((uintptr_t)address >> 4)];
    if (peer != NULL && peer->address == address) {
        *out = &peer->u.any;
        *length = peer->length;
        return 1;
    }
    if (!ca_sockaddr_from_python(family, address, scratch)) {
        return 0;
    }
    if (peer != NULL) {
        remember(peer, address, &scratch->u.any, scratch->length);
    }
    *out = &scratch->u.any;
    *length = scratch->length;
    return 1;
}

static void
clear_table(ca_peer **peers)
{
    ca_peer *old = *peers;
    *peers = NULL;
    for (int i = 0; old != NULL && i < PEERS; i++) {
        Py_XDECREF(old[i].address);
    }
    free(old);
}

void
ca_peers_clear(ca_peers *peers)
{
    clear_table(&peers->received);
    clear_table(&peers->sent);
}
