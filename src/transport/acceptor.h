/* acceptor.h - a listening socket that is watched for a server. */
#ifndef CA_TRANSPORT_ACCEPTOR_H
#define CA_TRANSPORT_ACCEPTOR_H

#include "loop/loop.h"
#include "loop/watcher.h"
#include "transport/clients.h"

extern PyType_Spec ca_acceptor_spec;

/* Accept connections on `sock`, a listening socket object, up to `backlog` per
 * turn, and give each a protocol from `factory` and a copy of `context` (NULL:
 * of the current one).  0 or -1. */
int ca_acceptor_start(CaLoop *loop, PyObject *factory, PyObject *sock,
                      PyObject *server, PyObject *context, int backlog);

/* A connection of this acceptor (NULL: of none) writes in groups: so will the
 * next ones, from their start. */
void ca_acceptor_note_gathering(PyObject *acceptor);

/* What it knows of its server's list of connections. */
CaNewClients *ca_acceptor_clients(PyObject *acceptor);

#endif
