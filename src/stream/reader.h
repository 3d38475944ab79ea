/* reader.h - struct CaReader: the native half of StreamReader.
 *
 * casyncio/_streams.py derives from it and from asyncio.StreamReader the class
 * that users see.  Every field has the name that stock's has, as an attribute
 * that may be read and set, so that what is not native is stock's own code and
 * works on the same fields.
 */
#ifndef CA_STREAM_READER_H
#define CA_STREAM_READER_H

#include "loop/loop.h"
#include "py/state.h"
#include "stream/inbuf.h"
#include "stream/usual.h"

#include <stdbool.h>

typedef struct {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *loop;                    /* strong; NULL: not initialised */
    PyObject *limit_given;             /* strong or NULL; `_limit` */
    PyObject *exception;               /* strong; or None, like those below */
    PyObject *transport;               /* strong */
    PyObject *waiter;                  /* strong; future of who waits */
    ca_inbuf in;
    Py_ssize_t limit;                  /* in bytes; 0: not a number of ours */
    Py_ssize_t missing;                /* bytes that who waits cannot do
                                          without, 0: any will do */
    struct CaStreamProtocol *fed_by;   /* borrowed: it names us, and clears
                                          this when it does no more; or NULL */
    ca_usual usual;
} CaReader;

extern PyType_Spec ca_reader_spec;

/* Whether native code may do what stock's methods do. */
static inline bool
ca_reader_is_usual(CaReader *self)
{
    return self->loop != NULL && self->limit > 0 &&
           ca_inbuf_is_usual(&self->in) &&
           ca_usual_now(self->st, CA_USUAL_READER, &self->usual,
                        (PyObject *)self);
}

/* Whether it is a reader of ours; nearly always of the class itself. */
static inline bool
ca_reader_check(const ca_state *st, PyObject *op)
{
    return Py_TYPE(op) == st->StreamReaderClass ||
           PyObject_TypeCheck(op, st->ReaderType);
}

/* The reader's loop, when it is one of ours that hands out our own futures;
 * else NULL.  Borrowed. */
CaLoop *ca_reader_native_loop(CaReader *self);

/* Append and wake who waits, as feed_data() of a usual reader before its end;
 * 0 or -1.  `object`: the bytes as an exact bytes object, or NULL.  May run
 * Python. */
int ca_reader_feed_bytes(CaReader *self, const char *data, size_t nbytes,
                         PyObject *object);

/* Let the transport go on when enough was read; 0 or -1.  May run Python. */
int ca_reader_maybe_resume(CaReader *self);

/* A future that is done when something arrives, for who calls `method`; NULL
 * with an exception.  May run Python. */
PyObject *ca_reader_begin_waiting(CaReader *self, const char *method);

static inline bool
ca_reader_is_awaited(const CaReader *self)
{
    return self->waiter != Py_None && self->waiter != NULL;
}

/* Nobody waits any more, whoever it was: that is how stock leaves it. */
static inline void
ca_reader_end_waiting(CaReader *self)
{
    self->missing = 0;
    Py_XSETREF(self->waiter, Py_NewRef(Py_None));
}

#endif
