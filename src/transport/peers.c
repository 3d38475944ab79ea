/* peers.c - see peers.h. */
#include "transport/peers.h"

#include <stdlib.h>
#include <string.h>

enum {
    PEERS_BITS = 7,
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

/* The place for a new one: `slot`, whose owner moves to the place beside it,
 * and the owner of that one is forgotten. */
static ca_peer *
make_room(ca_peer *peers, size_t slot)
{
    ca_peer *other = &peers[slot ^ 1];
    ca_peer forgotten = *other;
    *other = peers[slot];
    peers[slot] = forgotten;
    return &peers[slot];
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
    size_t slot = slot_of_raw(raw, length);
    for (size_t i = 0; i < 2; i++) {
        const ca_peer *peer = &peers->received[slot ^ i];
        if (peer->length == length && memcmp(&peer->u, raw, length) == 0) {
            return Py_NewRef(peer->address);
        }
    }
    PyObject *address = ca_sockaddr_to_python(raw, length);
    if (address != NULL) {
        remember(make_room(peers->received, slot), address, raw, length);
    }
    return address;
}

int
ca_peers_destination(ca_peers *peers, int family, PyObject *address,
                     ca_sockaddr *scratch, const struct sockaddr **out,
                     socklen_t *length)
{
    bool cached = family != AF_UNIX && table(&peers->sent) != NULL;
    size_t slot = slot_of((uintptr_t)address >> 4);
    for (size_t i = 0; cached && i < 2; i++) {
        const ca_peer *peer = &peers->sent[slot ^ i];
        if (peer->address == address) {
            *out = &peer->u.any;
            *length = peer->length;
            return 1;
        }
    }
    if (!ca_sockaddr_from_python(family, address, scratch)) {
        return 0;
    }
    if (cached) {
        remember(make_room(peers->sent, slot), address, &scratch->u.any,
                 scratch->length);
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
