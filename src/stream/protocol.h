/* protocol.h - struct CaStreamProtocol: the native half of
 * StreamReaderProtocol.
 *
 * Native is what runs per message; what runs per connection is stock's code,
 * on fields of the same names.  What nobody may ever ask for (the future that
 * tells of the end, the queue of who waits to write) is made when somebody
 * does.
 */
#ifndef CA_STREAM_PROTOCOL_H
#define CA_STREAM_PROTOCOL_H

#include "py/state.h"
#include "stream/usual.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *loop;                    /* strong; NULL: not initialised */
    PyObject *reader_ref;              /* strong; weak reference, or None */
    PyObject *strong_reader;           /* strong; NULL: no such attribute */
    PyObject *writer;                  /* strong; or None; NULL: no such
                                          attribute, on newer Pythons */
    PyObject *transport;               /* strong; or None */
    PyObject *connected_cb;            /* strong; or None */
    PyObject *task;                    /* strong; or None; the handler's */
    PyObject *closed;                  /* strong; future; NULL: none yet */
    PyObject *drain_waiters;           /* strong; deque; NULL: none yet */
    ca_usual usual;
    bool paused;                       /* writing */
    bool connection_lost;
    bool reject_connection;
    bool over_ssl;
} CaStreamProtocol;

extern PyType_Spec ca_stream_protocol_spec;

/* Whether native code may do what stock's methods do. */
static inline bool
ca_stream_protocol_is_usual(CaStreamProtocol *self)
{
    return self->loop != NULL && ca_usual_now(self->st, CA_USUAL_PROTOCOL,
                                              &self->usual, (PyObject *)self);
}

#endif
