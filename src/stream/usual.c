/* usual.c - see usual.h. */
#include "stream/usual.h"

#include "py/adopt.h"

/* Everything of an object of that kind that native code stands for: first the
 * methods, then what is a data descriptor, which no instance can hide. */
static const int reader_names[] = {
    CA_STR_feed_data,
    CA_STR_feed_eof,
    CA_STR_set_exception,
    CA_STR_exception,
    CA_STR_read,
    CA_STR_readline,
    CA_STR_readuntil,
    CA_STR__wakeup_waiter,
    CA_STR__maybe_resume_transport,
    CA_STR__wait_for_data,
    CA_STR__buffer,
    CA_STR__limit,
    CA_STR__eof,
    CA_STR__waiter,
    CA_STR__transport,
    CA_STR__paused,
};

static const int protocol_names[] = {
    CA_STR_data_received,  CA_STR__drain_helper,     CA_STR__get_close_waiter,
    CA_STR__stream_reader, CA_STR__stream_reader_wr, CA_STR__closed,
    CA_STR__paused,        CA_STR__connection_lost,
};

static const int writer_names[] = {
    CA_STR__loop,
    CA_STR__transport,
    CA_STR__protocol,
    CA_STR__reader,
};

/* Py_ARRAY_LENGTH() is no constant expression to every compiler. */
#define LENGTH(array) (Py_ssize_t)(sizeof(array) / sizeof((array)[0]))

static const struct {
    const int *names;
    Py_ssize_t count;
    Py_ssize_t methods;                /* so many of them */
} kinds[] = {
    [CA_USUAL_READER] = {reader_names, LENGTH(reader_names), 10},
    [CA_USUAL_PROTOCOL] = {protocol_names, LENGTH(protocol_names), 3},
    [CA_USUAL_WRITER] = {writer_names, LENGTH(writer_names), 0},
};

int
ca_usual_learn(ca_state *st, ca_usual_kind kind, PyTypeObject *native,
               PyObject *stock)
{
    PyObject *known = PyTuple_New(kinds[kind].count);
    for (Py_ssize_t i = 0; known != NULL && i < kinds[kind].count; i++) {
        PyObject *name = st->names[kinds[kind].names[i]];
        PyObject *found = PyObject_GetAttr((PyObject *)native, name);
        if (found == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            found = PyObject_GetAttr(stock, name);
        }
        if (found == NULL) {
            Py_CLEAR(known);
        } else {
            PyTuple_SET_ITEM(known, i, found);
        }
    }
    Py_XSETREF(st->stream_methods[kind], known);
    return known == NULL ? -1 : 0;
}

void
ca_usual_ask(const ca_state *st, ca_usual_kind kind, ca_usual *self,
             PyObject *op)
{
    PyObject *type = (PyObject *)Py_TYPE(op);
    PyObject *known = st->stream_methods[kind];
    PyObject *pending = PyErr_GetRaisedException();
    self->inherits = known != NULL;
    for (Py_ssize_t i = 0; self->inherits && i < kinds[kind].count; i++) {
        PyObject *found = PyObject_GetAttr(type,
                                           st->names[kinds[kind].names[i]]);
        self->inherits = found != NULL &&
                         ca_adopted_is_same(PyTuple_GET_ITEM(known, i), found);
        Py_XDECREF(found);
    }
    PyErr_Clear();                     /* a metaclass that refuses */
    if (pending != NULL) {
        PyErr_SetRaisedException(pending);
    }
    self->asked_type = ca_typetag_of(Py_TYPE(op));
}

void
ca_usual_note(const ca_state *st, ca_usual_kind kind, ca_usual *self,
              PyObject *name)
{
    for (Py_ssize_t i = 0; !self->hidden && i < kinds[kind].methods; i++) {
        PyObject *known = st->names[kinds[kind].names[i]];
        self->hidden = name == known || PyUnicode_Compare(name, known) == 0;
    }
}
