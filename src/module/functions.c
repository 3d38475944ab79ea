/* functions.c - the functions of the module: what casyncio's Python half tells
 * the C, once it has looked at the running Python, and a few questions. */
#include "module/functions.h"

#include "reactor/reactor.h"
#include "stream/streams.h"
#include "task/combine.h"
#include "task/eager.h"
#include "task/guard.h"
#include "task/registry.h"

PyDoc_STRVAR(note_fork_doc,
"note_fork()\n--\n\n"
"Tell the loops of this process that it is a forked child: each cuts its\n"
"ties with the parent's kernel objects before its next use of them.");

static PyObject *
module_py_note_fork(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    ca_reactor_note_fork();
    Py_RETURN_NONE;
}

PyDoc_STRVAR(backends_doc,
"backends()\n--\n\n"
"Return the names of the kernel interfaces that are built in, best first.");

static PyObject *
module_py_backends(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none))
{
    PyObject *list = PyList_New(0);
    const ca_backend_vt *vt;
    for (int i = 0; list != NULL && (vt = ca_backend_at(i)) != NULL; i++) {
        PyObject *name = PyUnicode_FromString(vt->name);
        if (name == NULL || PyList_Append(list, name) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(name);
    }
    return list;
}

PyDoc_STRVAR(mirror_fields_doc,
"mirror_fields(future, /)\n--\n\n"
"Return what the mirror of the base struct shows of a Future or Task: a dict\n"
"of addresses and flags.");

static PyObject *
module_py_mirror_fields(PyObject *module, PyObject *future)
{
    return ca_guard_fields(PyModule_GetState(module), future);
}

PyDoc_STRVAR(use_native_tasks_doc,
"use_native_tasks()\n--\n\n"
"Make loops create Tasks and Futures of our own from now on.");

static PyObject *
module_py_use_native_tasks(PyObject *module, PyObject *Py_UNUSED(none))
{
    ca_state *st = PyModule_GetState(module);
    if (st->TaskType == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "there is no native Task");
        return NULL;
    }
    if (!st->native_tasks && ca_registry_init(st) < 0) {
        return NULL;
    }
    st->native_tasks = true;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(use_transports_doc,
"use_transports(socket_transport, server_knows_clients, /)\n--\n\n"
"Make loops use this class for connections from now on; the flag tells\n"
"whether Server._attach() takes the transport.");

static PyObject *
module_py_use_transports(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *transport;
    int knows;
    if (!PyArg_ParseTuple(args, "O!p", &PyType_Type, &transport, &knows)) {
        return NULL;
    }
    if (st->StreamType == NULL ||
        !PyType_IsSubtype((PyTypeObject *)transport, st->StreamType)) {
        PyErr_SetString(PyExc_TypeError, "not a native transport class");
        return NULL;
    }
    Py_XSETREF(st->SocketTransport, Py_NewRef(transport));
    st->server_knows_clients = knows != 0;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(use_eager_factory_doc,
"use_eager_factory(factory, naming, /)\n--\n\n"
"Tell that a task factory does nothing but make eager tasks: loops need not\n"
"call it.  `naming` says what this Python does with the names of its tasks:\n"
"1 sets one that is given, 2 sets it always, 3 passes it to the factory.");

static PyObject *
module_py_use_eager_factory(PyObject *module, PyObject *args)
{
    PyObject *factory;
    int naming;
    if (!PyArg_ParseTuple(args, "Oi:use_eager_factory", &factory, &naming) ||
        ca_eager_learn_factory(PyModule_GetState(module), factory, naming) <
            0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(use_streams_doc,
"use_streams(reader, /)\n--\n\n"
"Tell the class of readers whose instances are as the native half made them.");

static PyObject *
module_py_use_streams(PyObject *module, PyObject *reader)
{
    ca_state *st = PyModule_GetState(module);
    if (!PyType_Check(reader) ||
        !PyType_IsSubtype((PyTypeObject *)reader, st->ReaderType)) {
        PyErr_SetString(PyExc_TypeError, "not a native reader class");
        return NULL;
    }
    Py_XSETREF(st->StreamReaderClass, (PyTypeObject *)Py_NewRef(reader));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(use_late_result_doc,
"use_late_result(function, /)\n--\n\n"
"Tell that function(future, result) sets the result of a future that is not\n"
"cancelled, and does nothing else: handles need not call it.");

static PyObject *
module_py_use_late_result(PyObject *module, PyObject *function)
{
    ca_state *st = PyModule_GetState(module);
    if (!PyFunction_Check(function)) {
        PyErr_SetString(PyExc_TypeError, "a function was expected");
        return NULL;
    }
    Py_XSETREF(st->late_result, Py_NewRef(function));
    Py_XSETREF(st->late_result_code, Py_NewRef(PyFunction_GET_CODE(function)));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(use_combining_doc,
"use_combining(stock, gathering, timeout, group, gather_defers, "
"group_forgets, /)\n--\n\n"
"Take what asyncio has, by name, and the classes derived from ours; return\n"
"sleep(), gather() and the like, by name.  The flags tell what differs\n"
"between Pythons: gather() gives futures that are done a callback, too; a\n"
"TaskGroup drops its fields when it is left.");

PyDoc_STRVAR(use_sync_doc,
"use_sync(event, semaphore_wakes_all, /)\n--\n\n"
"Tell the class of the events that queues make, and whether this Python's\n"
"Semaphore wakes as many as there is room for.");

static PyObject *
module_py_use_sync(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *event;
    int wakes_all;
    if (!PyArg_ParseTuple(args, "O!p:use_sync", &PyType_Type, &event,
                          &wakes_all)) {
        return NULL;
    }
    if (st->sync.EventType == NULL ||
        !PyType_IsSubtype((PyTypeObject *)event, st->sync.EventType)) {
        PyErr_SetString(PyExc_TypeError, "not a native Event");
        return NULL;
    }
    Py_XSETREF(st->sync.Event, Py_NewRef(event));
    st->sync.semaphore_wakes_all = wakes_all != 0;
    Py_RETURN_NONE;
}

PyMethodDef ca_module_functions[] = {
    {"use_combining", ca_combine_use, METH_VARARGS, use_combining_doc},
    {"use_sync", module_py_use_sync, METH_VARARGS, use_sync_doc},
    {"use_transports", module_py_use_transports, METH_VARARGS,
     use_transports_doc},
    {"use_streams", module_py_use_streams, METH_O, use_streams_doc},
    {"use_late_result", module_py_use_late_result, METH_O,
     use_late_result_doc},
    {"use_eager_factory", module_py_use_eager_factory, METH_VARARGS,
     use_eager_factory_doc},
    {"mirror_fields", module_py_mirror_fields, METH_O, mirror_fields_doc},
    {"use_native_tasks", module_py_use_native_tasks, METH_NOARGS,
     use_native_tasks_doc},
    {"note_fork", module_py_note_fork, METH_NOARGS, note_fork_doc},
    {"backends", module_py_backends, METH_NOARGS, backends_doc},
    {0},
};
