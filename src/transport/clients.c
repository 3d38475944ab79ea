/* clients.c - see clients.h.
 *
 * Server._attach() and _detach() put a connection into the set and take it out
 * again: four calls of Python per connection.  It is done here when server and
 * set are of exactly their classes, these have not been changed since import
 * (their version tags tell), and the server accepts connections.
 */
#include "transport/clients.h"

#include "transport/stream.h"

#include <stddef.h>

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
unchanged(PyObject *type, unsigned int version)
{
    return version != 0 && ((PyTypeObject *)type)->tp_version_tag == version;
}

static bool
is_usual(const ca_state *st, PyObject *server)
{
    return (PyObject *)Py_TYPE(server) == st->StockServer &&
           unchanged(st->StockServer, st->server_version) &&
           unchanged(st->WeakSet, st->weak_set_version);
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

/* Replace an empty WeakSet by a set of ours; strong, or NULL. */
static PyObject *
replace(const ca_state *st, PyObject *server, PyObject *steal_clients)
{
    PyObject *ours = NULL;
    Py_ssize_t known = PyObject_Size(steal_clients);
    if (known == 0) {
        ours = PyObject_CallNoArgs(st->ServerClients);
    }
    if (ours != NULL &&
        PyObject_SetAttr(server, st->names[CA_STR__clients], ours) < 0) {
        Py_CLEAR(ours);
    }
    PyErr_Clear();
    Py_DECREF(steal_clients);
    return ours;
}

CaNewClients *
ca_clients_find(const ca_state *st, PyObject *server)
{
    if (st->ServerClients == NULL || !is_usual(st, server)) {
        return NULL;
    }
    PyObject *clients = attribute(st, server, CA_STR__clients);
    if (clients != NULL && (PyObject *)Py_TYPE(clients) == st->WeakSet) {
        clients = replace(st, server, clients);
    }
    PyObject *list = NULL;
    if (clients != NULL && (PyObject *)Py_TYPE(clients) == st->ServerClients) {
        list = attribute(st, clients, CA_STR__new);
    }
    Py_XDECREF(clients);
    if (list != NULL && !Py_IS_TYPE(list, st->NewClientsType)) {
        Py_CLEAR(list);
    }
    return (CaNewClients *)list;
}

static bool
is_open(const ca_state *st, PyObject *server)
{
    PyObject *sockets = attribute(st, server, CA_STR__sockets);
    Py_XDECREF(sockets);
    return sockets != NULL && sockets != Py_None;
}

bool
ca_clients_change(CaNewClients *clients, const ca_state *st, PyObject *server,
                  ca_dnode *node, bool attach)
{
    if (clients == NULL || ca_dlist_linked(node) == attach ||
        !is_usual(st, server) || !is_open(st, server)) {
        return false;
    }
    if (attach) {
        ca_dlist_append(&clients->list, node);
    } else {
        ca_dlist_unlink(node);
    }
    return true;
}

/* ---- the type ---- */

PyDoc_STRVAR(take_doc,
"take($self)\n--\n\n"
"Empty the list and return what was in it.");

static PyObject *
clients_py_take(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaNewClients *self = (CaNewClients *)op;
    PyObject *taken = PyList_New(0);
    ca_dnode *node;
    while (taken != NULL && (node = ca_dlist_take(&self->list)) != NULL) {
        PyObject *transport = (PyObject *)CA_CONTAINER_OF(node, CaStream,
                                                          client);
        /* One without references is dying, and tells of that. */
        if (Py_REFCNT(transport) > 0 && PyList_Append(taken, transport) < 0) {
            Py_CLEAR(taken);
        }
    }
    return taken;
}

PyDoc_STRVAR(clients_doc,
"NewClients()\n--\n\n"
"Connections of a server that are not in its set yet.");

static PyObject *
clients_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
               PyObject *Py_UNUSED(kwargs))
{
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        ca_dlist_init(&((CaNewClients *)op)->list);
    }
    return op;
}

static void
clients_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    while (ca_dlist_take(&((CaNewClients *)op)->list) != NULL) {
    }
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef clients_methods[] = {
    {"take", clients_py_take, METH_NOARGS, take_doc},
    {0},
};

static PyType_Slot clients_slots[] = {
    {Py_tp_doc, (void *)clients_doc},
    {Py_tp_new, clients_tp_new},
    {Py_tp_dealloc, clients_tp_dealloc},
    {Py_tp_methods, clients_methods},
    {0, NULL},
};

PyType_Spec ca_new_clients_spec = {
    .name = "casyncio._native.NewClients",
    .basicsize = sizeof(CaNewClients),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = clients_slots,
};
