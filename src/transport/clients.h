/* clients.h - the connections that an asyncio.Server knows, from 3.13 on.
 *
 * A Server keeps them in a WeakSet, which weighs as much as half of what it is
 * about and is looked at when the server ends, if ever.  So a Server with the
 * usual one gets another, casyncio/_transports.py's, in front of which is a
 * list: what joins goes there, and into the set when somebody looks at it.
 */
#ifndef CA_TRANSPORT_CLIENTS_H
#define CA_TRANSPORT_CLIENTS_H

#include "base/dlist.h"
#include "py/state.h"

#include <stdbool.h>

/* Connections that are not in the set yet. */
typedef struct {
    PyObject_HEAD
    ca_dnode list;                     /* borrowed; CaStream.client: who dies
                                          takes itself off */
} CaNewClients;

extern PyType_Spec ca_new_clients_spec;

/* Remember how asyncio's classes look before anybody changes them; 0 or -1. */
int ca_clients_init(ca_state *st);

/* The list of a server's connections: strong; NULL, without an exception, when
 * something is not as usual.  May run Python. */
CaNewClients *ca_clients_find(const ca_state *st, PyObject *server);

/* Do what server._attach(transport), or else server._detach(transport), would
 * do, `node` being the transport's.  false: something is not as usual, call
 * it. */
bool ca_clients_change(CaNewClients *clients, const ca_state *st,
                       PyObject *server, ca_dnode *node, bool attach);

#endif
