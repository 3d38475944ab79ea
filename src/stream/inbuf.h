/* inbuf.h - what has arrived and nobody has read yet.
 *
 * One of three forms:
 *   nothing   both pointers are NULL
 *   chunk     a bytes object, read up to `start`: it arrived in one piece, and
 *             leaves as the same object if somebody wants all of it
 *   array     a bytearray: several pieces, or Python code has looked at it
 *             (`shown`); then it stays the same object, as stock's does
 * Python code may also set the array to something that is no bytearray; then
 * only stock's code touches it (ca_inbuf_is_usual()).
 */
#ifndef CA_STREAM_INBUF_H
#define CA_STREAM_INBUF_H

#include "py/compat.h"

#include <stdbool.h>

typedef struct {
    PyObject *chunk;                   /* strong or NULL */
    PyObject *array;                   /* strong or NULL */
    Py_ssize_t start;                  /* of what is left of the chunk */
    bool shown;
    bool eof;                          /* nothing more will arrive */
    bool paused;                       /* whoever fills it was asked to wait */
} ca_inbuf;

static inline bool
ca_inbuf_is_usual(const ca_inbuf *self)
{
    return self->array == NULL || PyByteArray_CheckExact(self->array);
}

/* In bytes. */
static inline Py_ssize_t
ca_inbuf_size(const ca_inbuf *self)
{
    return self->chunk != NULL   ? PyBytes_GET_SIZE(self->chunk) - self->start
           : self->array != NULL ? PyByteArray_GET_SIZE(self->array)
                                 : 0;
}

/* The bytes; good until the next change. */
static inline const char *
ca_inbuf_data(const ca_inbuf *self)
{
    return self->chunk != NULL   ? PyBytes_AS_STRING(self->chunk) + self->start
           : self->array != NULL ? PyByteArray_AS_STRING(self->array)
                                 : "";
}

/* Append bytes; `more`: the reader waits for others with them.  0 or -1. */
int ca_inbuf_append(ca_inbuf *self, const char *data, size_t nbytes,
                    bool more);

/* Append an exact bytes object that is not empty; 0 or -1. */
int ca_inbuf_append_object(ca_inbuf *self, PyObject *data);

/* The first n bytes, or as many as there are; they leave.  NULL with an
 * exception (nothing is lost then, or the array is exported). */
PyObject *ca_inbuf_take(ca_inbuf *self, Py_ssize_t n);

/* Let the first n bytes go; 0 or -1. */
int ca_inbuf_drop(ca_inbuf *self, Py_ssize_t n);

/* As a bytearray, for Python code to keep. */
PyObject *ca_inbuf_show(ca_inbuf *self);

/* Put an object of Python code in the place of everything. */
void ca_inbuf_replace(ca_inbuf *self, PyObject *array);

#endif
