/* clients.h - the connections that an asyncio.Server knows, from 3.13 on. */
#ifndef CA_TRANSPORT_CLIENTS_H
#define CA_TRANSPORT_CLIENTS_H

#include "py/state.h"

/* What is behind server._clients, a WeakSet. */
typedef struct {
    PyObject *data;                    /* strong; the set of weak references;
                                          NULL: it is not as usual */
    PyObject *pending;                 /* strong; list of removals put off; or
                                          NULL, from 3.14.10 on */
    PyObject *remove;                  /* strong; what the references call */
} ca_clients;

/* Remember how asyncio's classes look before anybody changes them; 0 or -1. */
int ca_clients_init(ca_state *st);

/* Look behind a server's list; what is not as usual stays empty. */
void ca_clients_find(ca_clients *self, const ca_state *st, PyObject *server);

int ca_clients_visit(ca_clients *self, visitproc visit, void *arg);
void ca_clients_clear(ca_clients *self);

/* Do what server._attach(transport), or else server._detach(transport), would
 * do.  1; 0: something is not as usual, call it; -1 with an exception. */
int ca_clients_change(const ca_clients *self, const ca_state *st,
                      PyObject *server, PyObject *transport, bool attach);

#endif
