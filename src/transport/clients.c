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
static ca_typetag
tag_of(PyObject *type, PyObject *name)
{
    PyObject *found = PyObject_GetAttr(type, name);
    Py_XDECREF(found);
    return found == NULL ? 0 : ca_typetag_of((PyTypeObject *)type);
}

int
ca_clients_init(ca_state *st)
{
    st->server_type = tag_of(st->StockServer, st->names[CA_STR__attach]);
    st->weak_set_type = tag_of(st->WeakSet, st->names[CA_STR_add]);
    return PyErr_Occurred() ? -1 : 0;
}

static bool
is_usual(const ca_state *st, PyObject *server)
{
    return (PyObject *)Py_TYPE(server) == st->StockServer &&
           ca_typetag_holds(st->server_type,
                            (PyTypeObject *)st->StockServer) &&
           ca_typetag_holds(st->weak_set_type, (PyTypeObject *)st->WeakSet);
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

/* Make a WeakSet one of ours, in place: somebody may hold it. */
static void
adopt(const ca_state *st, PyObject *clients)
{
    PyObject *list = PyObject_CallNoArgs((PyObject *)st->NewClientsType);
    if (list != NULL &&
        PyObject_SetAttr(clients, st->names[CA_STR__new], list) == 0) {
        (void)PyObject_SetAttr(clients, st->names[CA_STR___class__],
                               st->ServerClients);
    }
    Py_XDECREF(list);
    PyErr_Clear();
}

/* The list in front of a server's set; strong, NULL when it has none. */
static PyObject *
list_of(const ca_state *st, PyObject *server)
{
    PyObject *clients = attribute(st, server, CA_STR__clients);
    PyObject *list = NULL;
    if (clients != NULL && (PyObject *)Py_TYPE(clients) == st->ServerClients) {
        list = attribute(st, clients, CA_STR__new);
    }
    Py_XDECREF(clients);
    return list;
}

CaNewClients *
ca_clients_find(const ca_state *st, PyObject *server)
{
    if (st->ServerClients == NULL || !is_usual(st, server)) {
        return NULL;
    }
    PyObject *clients = attribute(st, server, CA_STR__clients);
    if (clients != NULL && (PyObject *)Py_TYPE(clients) == st->WeakSet) {
        adopt(st, clients);
    }
    Py_XDECREF(clients);
    PyObject *list = list_of(st, server);
    if (list != NULL && !Py_IS_TYPE(list, st->NewClientsType)) {
        Py_CLEAR(list);
    }
    return (CaNewClients *)list;
}

/* Whether it accepts connections, and its set is the one behind that list. */
static bool
is_open(const ca_state *st, PyObject *server, const CaNewClients *clients)
{
    PyObject *sockets = attribute(st, server, CA_STR__sockets);
    PyObject *list = list_of(st, server);
    Py_XDECREF(sockets);
    Py_XDECREF(list);
    return sockets != NULL && sockets != Py_None &&
           list == (const PyObject *)clients;
}

bool
ca_clients_change(CaNewClients *clients, const ca_state *st, PyObject *server,
                  ca_dnode *node, bool attach)
{
    if (clients == NULL || ca_dlist_linked(node) == attach ||
        !is_usual(st, server) || !is_open(st, server, clients)) {
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
