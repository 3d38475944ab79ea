/* writer.h - struct CaWriter: the native half of StreamWriter.
 *
 * Native is what runs per message; the rest is stock's code, on fields of the
 * same names.
 */
#ifndef CA_STREAM_WRITER_H
#define CA_STREAM_WRITER_H

#include "py/state.h"
#include "stream/usual.h"

typedef struct {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    PyObject *loop;                    /* strong; NULL: not initialised; so are
                                          the others then */
    PyObject *transport;               /* strong */
    PyObject *protocol;                /* strong */
    PyObject *reader;                  /* strong; or None */
    PyObject *complete;                /* strong; a future that is done; NULL:
                                          nobody has asked for it */
    ca_usual usual;
} CaWriter;

extern PyType_Spec ca_writer_spec;

#endif
