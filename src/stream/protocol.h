/* protocol.h - struct CaStreamProtocol: the native half of
 * StreamReaderProtocol.
 *
 * Native is what runs per message; what runs per connection is stock's code,
 * on fields of the same names.  What nobody may ever ask for (the future that
 * tells of the end, the queue of who waits to write, the weak reference to the
 * reader) is made when somebody does.
 *
 * Protocol and reader name each other, without keeping each other alive: the
 * one that goes first tells the other.  A reader is named by one protocol at
 * most, and not by one of which somebody has asked the weak reference.
 */
#ifndef CA_STREAM_PROTOCOL_H
#define CA_STREAM_PROTOCOL_H

#include "py/state.h"
#include "stream/reader.h"
#include "stream/usual.h"

#include <stdbool.h>

typedef struct CaStreamProtocol {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *loop;                    /* strong; NULL: not initialised */
    PyObject *reader_ref;              /* strong; weak reference, or None; but
                                          while it is `named` borrowed: the
                                          reader, which makes it NULL when it
                                          dies */
    PyObject *strong_reader;           /* strong; NULL: no such attribute */
    PyObject *writer;                  /* strong; or None; NULL: no such
                                          attribute, on newer Pythons */
    PyObject *transport;               /* strong; or None */
    PyObject *connected_cb;            /* strong; or None */
    PyObject *task;                    /* strong; or None; the handler's */
    PyObject *closed;                  /* strong; future; NULL: none yet */
    PyObject *drain_waiters;           /* strong; deque; NULL: none yet */
    ca_usual usual;
    bool named;                        /* the reader, by us */
    bool paused;                       /* writing */
    bool connection_lost;
    bool reject_connection;
    bool over_ssl;
} CaStreamProtocol;

extern PyType_Spec ca_stream_protocol_spec;

/* Whether it is a protocol of ours; nearly always of the class itself. */
static inline bool
ca_stream_protocol_check(const ca_state *st, PyObject *op)
{
    return Py_TYPE(op) == st->StreamProtocolClass ||
           PyObject_TypeCheck(op, st->StreamProtocolType);
}

/* Whether native code may do what stock's methods do. */
static inline bool
ca_stream_protocol_is_usual(CaStreamProtocol *self)
{
    return self->loop != NULL && ca_usual_now(self->st, CA_USUAL_PROTOCOL,
                                              &self->usual, (PyObject *)self);
}

#endif
