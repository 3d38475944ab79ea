/* inbuf.c - see inbuf.h. */
#include "stream/inbuf.h"

#include <string.h>

/* From nothing or a chunk to an array; 0 or -1. */
static int
need_array(ca_inbuf *self)
{
    if (self->array != NULL) {
        return 0;
    }
    PyObject *array = PyByteArray_FromStringAndSize(ca_inbuf_data(self),
                                                    ca_inbuf_size(self));
    if (array == NULL) {
        return -1;
    }
    Py_CLEAR(self->chunk);
    self->start = 0;
    self->array = array;
    return 0;
}

static int
append_to_array(ca_inbuf *self, const char *data, size_t nbytes)
{
    if (need_array(self) < 0) {
        return -1;
    }
    Py_ssize_t before = PyByteArray_GET_SIZE(self->array);
    if (PyByteArray_Resize(self->array, before + (Py_ssize_t)nbytes) < 0) {
        return -1;
    }
    memcpy(PyByteArray_AS_STRING(self->array) + before, data, nbytes);
    return 0;
}

int
ca_inbuf_append(ca_inbuf *self, const char *data, size_t nbytes, bool more)
{
    if (self->chunk != NULL || self->array != NULL || more) {
        return append_to_array(self, data, nbytes);
    }
    self->start = 0;
    self->chunk = PyBytes_FromStringAndSize(data, (Py_ssize_t)nbytes);
    return self->chunk == NULL ? -1 : 0;
}

int
ca_inbuf_append_object(ca_inbuf *self, PyObject *data)
{
    if (self->chunk != NULL || self->array != NULL) {
        return append_to_array(self, PyBytes_AS_STRING(data),
                               (size_t)PyBytes_GET_SIZE(data));
    }
    self->start = 0;
    self->chunk = Py_NewRef(data);
    return 0;
}

int
ca_inbuf_drop(ca_inbuf *self, Py_ssize_t n)
{
    if (n == 0) {
        return 0;
    }
    bool all = n == ca_inbuf_size(self);
    if (self->chunk != NULL) {
        self->start += n;
        if (all) {
            Py_CLEAR(self->chunk);
        }
        return 0;
    }
    if (!all) {
        return PySequence_DelSlice(self->array, 0, n);
    }
    if (self->shown) {
        return PyByteArray_Resize(self->array, 0);
    }
    Py_CLEAR(self->array);
    return 0;
}

PyObject *
ca_inbuf_take(ca_inbuf *self, Py_ssize_t n)
{
    Py_ssize_t size = ca_inbuf_size(self);
    n = n < size ? n : size;
    if (self->chunk != NULL && self->start == 0 && n == size) {
        PyObject *whole = self->chunk;
        self->chunk = NULL;
        return whole;
    }
    PyObject *taken = PyBytes_FromStringAndSize(ca_inbuf_data(self), n);
    if (taken != NULL && ca_inbuf_drop(self, n) < 0) {
        Py_CLEAR(taken);
    }
    return taken;
}

PyObject *
ca_inbuf_show(ca_inbuf *self)
{
    if (need_array(self) < 0) {
        return NULL;
    }
    self->shown = true;
    return Py_NewRef(self->array);
}

void
ca_inbuf_replace(ca_inbuf *self, PyObject *array)
{
    PyObject *chunk = self->chunk;
    self->chunk = NULL;
    self->start = 0;
    self->shown = true;
    Py_XSETREF(self->array, Py_XNewRef(array));
    Py_XDECREF(chunk);
}
