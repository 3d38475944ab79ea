/* clients.c - see clients.h.
 *
 * Server._attach() and _detach() put a connection into a WeakSet and take it
 * out again: four calls of Python per connection.  They are done here, on the
 * set behind it, when server and WeakSet are of exactly their classes, these
 * have not been changed since import (their version tags tell), the server
 * accepts connections, and nobody has put removals off.
 */
#include "transport/clients.h"

/* What a class's tag is once the interpreter has given it one; 0 with an
 * exception when the class has no such attribute. */
static unsigned int
version_tag(PyObject *type, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(type, name);
    Py_XDECREF(found);
    return found == NULL ? 0 : ((PyTypeObject *)type)->tp_version_tag;
}

int
ca_clients_init(ca_state *st)
{
    st->server_version = version_tag(st->StockServer,
                                     st->names[CA_STR__attach]);
    st->weak_set_version = version_tag(st->WeakSet, st->names[CA_STR_add]);
    return PyErr_Occurred() ? -1 : 0;
}

static bool
unchanged(PyObject *op, PyObject *type, unsigned int version)
{
    return (PyObject *)Py_TYPE(op) == type && version != 0 &&
           Py_TYPE(op)->tp_version_tag == version;
}

/* op.name; strong, NULL when there is none. */
static PyObject *
attribute(const ca_state *st, PyObject *op, int name)
{
    PyObject *found = PyObject_GetAttr(op, st->names[name]);
    if (found == NULL) {
        PyErr_Clear();
    }
    return found;
}

void
ca_clients_find(ca_clients *self, const ca_state *st, PyObject *server)
{
    *self = (ca_clients){0};
    if (!st->clients_are_weak ||
        !unchanged(server, st->StockServer, st->server_version)) {
        return;
    }
    PyObject *clients = attribute(st, server, CA_STR__clients);
    if (clients != NULL &&
        unchanged(clients, st->WeakSet, st->weak_set_version)) {
        self->data = attribute(st, clients, CA_STR_data);
        self->pending = attribute(st, clients, CA_STR__pending_removals);
        self->remove = attribute(st, clients, CA_STR__remove);
    }
    Py_XDECREF(clients);
    if (self->data == NULL || !PySet_CheckExact(self->data) ||
        (self->pending != NULL && !PyList_CheckExact(self->pending)) ||
        self->remove == NULL) {
        ca_clients_clear(self);
    }
}

int
ca_clients_visit(ca_clients *self, visitproc visit, void *arg)
{
    Py_VISIT(self->data);
    Py_VISIT(self->pending);
    Py_VISIT(self->remove);
    return 0;
}

void
ca_clients_clear(ca_clients *self)
{
    Py_CLEAR(self->data);
    Py_CLEAR(self->pending);
    Py_CLEAR(self->remove);
}

static bool
is_open(const ca_state *st, PyObject *server)
{
    PyObject *sockets = attribute(st, server, CA_STR__sockets);
    Py_XDECREF(sockets);
    return sockets != NULL && sockets != Py_None;
}

int
ca_clients_change(const ca_clients *self, const ca_state *st, PyObject *server,
                  PyObject *transport, bool attach)
{
    bool put_off = self->pending != NULL && PyList_GET_SIZE(self->pending) > 0;
    if (self->data == NULL || put_off ||
        !unchanged(server, st->StockServer, st->server_version) ||
        !is_open(st, server)) {
        return 0;
    }
    PyObject *ref = PyWeakref_NewRef(transport, attach ? self->remove : NULL);
    int result = ref == NULL ? -1
                 : attach    ? PySet_Add(self->data, ref)
                             : PySet_Discard(self->data, ref);
    Py_XDECREF(ref);
    return result < 0 ? -1 : 1;
}
