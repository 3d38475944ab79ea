/* module.c - birth and death of the extension; no behaviour lives here. */
#include "module/imports.h"
#include "module/types.h"
#include "py/adopt.h"
#include "py/context.h"
#include "py/freelist.h"
#include "py/sockobj.h"
#include "py/state.h"
#include "reactor/reactor.h"
#include "sync/sync.h"
#include "task/combine.h"
#include "task/eager.h"
#include "task/guard.h"
#include "task/registry.h"
#include "transport/clients.h"
#include "transport/reader_feed.h"

#include <stddef.h>

/* ---- functions ---- */

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
"use_transports(socket_transport, server_knows_clients, clients, /)\n--\n\n"
"Make loops use this class for connections from now on.  The others tell\n"
"whether Server._attach() takes the transport, and, if all it does is to put\n"
"it into a WeakSet, which set to use instead; or None.");

static PyObject *
module_py_use_transports(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *transport, *clients;
    int knows;
    if (!PyArg_ParseTuple(args, "O!pO", &PyType_Type, &transport, &knows,
                          &clients)) {
        return NULL;
    }
    if (st->StreamType == NULL ||
        !PyType_IsSubtype((PyTypeObject *)transport, st->StreamType)) {
        PyErr_SetString(PyExc_TypeError, "not a native transport class");
        return NULL;
    }
    Py_XSETREF(st->SocketTransport, Py_NewRef(transport));
    st->server_knows_clients = knows != 0;
    Py_XSETREF(st->ServerClients,
               clients == Py_None ? NULL : Py_NewRef(clients));
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
"use_streams(reader, protocol, handler_ended, /)\n--\n\n"
"Tell the classes that programs see, whose instances are as their native\n"
"halves made them, and what is called with transport and task when the\n"
"handler of a server has ended.");

static PyObject *
module_py_use_streams(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *reader, *protocol, *ended;
    if (!PyArg_ParseTuple(args, "O!O!O:use_streams", &PyType_Type, &reader,
                          &PyType_Type, &protocol, &ended)) {
        return NULL;
    }
    if (st->ReaderType == NULL ||
        !PyType_IsSubtype((PyTypeObject *)reader, st->ReaderType) ||
        !PyType_IsSubtype((PyTypeObject *)protocol, st->StreamProtocolType)) {
        PyErr_SetString(PyExc_TypeError, "not native classes");
        return NULL;
    }
    Py_XSETREF(st->StreamReaderClass, (PyTypeObject *)Py_NewRef(reader));
    Py_XSETREF(st->StreamProtocolClass, (PyTypeObject *)Py_NewRef(protocol));
    Py_XSETREF(st->handler_ended, Py_NewRef(ended));
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

PyDoc_STRVAR(adopt_doc,
"adopt(cls, /)\n--\n\n"
"Give a class that derives from one of ours its native methods once more, as\n"
"its own: the interpreter calls those by a shorter way.  Returns the class.");

static PyObject *
module_py_adopt(PyObject *module, PyObject *cls)
{
    if (!PyType_Check(cls)) {
        PyErr_SetString(PyExc_TypeError, "a class was expected");
        return NULL;
    }
    ca_state *st = PyModule_GetState(module);
    return ca_adopt(st, module, (PyTypeObject *)cls) < 0 ? NULL
                                                         : Py_NewRef(cls);
}

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

PyDoc_STRVAR(use_combining_doc,
"use_combining(stock, gathering, timeout, group, gather_defers, "
"group_forgets, /)\n--\n\n"
"Take what asyncio has, by name, and the classes derived from ours; return\n"
"sleep(), gather() and the like, by name.  The flags tell what differs\n"
"between Pythons: gather() gives futures that are done a callback, too; a\n"
"TaskGroup drops its fields when it is left.");

PyDoc_STRVAR(getattr_doc,
"__getattr__(name, /)\n--\n\n"
"Make what few programs need, when it is first asked for.");

static PyMethodDef module_methods[] = {
    {"__getattr__", ca_types_getattr, METH_O, getattr_doc},
    {"use_combining", ca_combine_use, METH_VARARGS, use_combining_doc},
    {"adopt", module_py_adopt, METH_O, adopt_doc},
    {"use_sync", module_py_use_sync, METH_VARARGS, use_sync_doc},
    {"use_transports", module_py_use_transports, METH_VARARGS,
     use_transports_doc},
    {"use_streams", module_py_use_streams, METH_VARARGS, use_streams_doc},
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

/* ---- the module ---- */

static int
module_exec(PyObject *module)
{
    ca_state *st = PyModule_GetState(module);
    if (ca_names_init(st) < 0 || ca_imports_init(st) < 0) {
        return -1;
    }
    if (ca_sockobj_init(st) < 0 || ca_reader_feed_init(st) < 0 ||
        ca_clients_init(st) < 0) {
        return -1;
    }
    int sharing = ca_context_probe();
    if (sharing < 0) {
        return -1;
    }
    st->context_sharing = sharing != 0;
    if (ca_types_init(module, st) < 0) {
        return -1;
    }
    return PyModule_AddStringConstant(module, "__version__", CASYNCIO_VERSION);
}

/* The strong references of the state that no other file looks after. */
static const size_t owned[] = {
    offsetof(ca_state, LoopType),
    offsetof(ca_state, HandleType),
    offsetof(ca_state, TimerHandleType),
    offsetof(ca_state, FutureType),
    offsetof(ca_state, TaskType),
    offsetof(ca_state, FutureIterType),
    offsetof(ca_state, TasksDataType),
    offsetof(ca_state, DatagramType),
    offsetof(ca_state, CoroType),
    offsetof(ca_state, SockCallType),
    offsetof(ca_state, SockWatchType),
    offsetof(ca_state, FileJobType),
    offsetof(ca_state, ReaderType),
    offsetof(ca_state, WriterType),
    offsetof(ca_state, StreamProtocolType),
    offsetof(ca_state, StreamCallType),
    offsetof(ca_state, StreamReaderClass),
    offsetof(ca_state, ServerClients),
    offsetof(ca_state, NewClientsType),
    offsetof(ca_state, handler_ended),
    offsetof(ca_state, StreamProtocolClass),
    offsetof(ca_state, stream_methods[0]),
    offsetof(ca_state, stream_methods[1]),
    offsetof(ca_state, stream_methods[2]),
    offsetof(ca_state, empty_bytes),
    offsetof(ca_state, tasks_data),
    offsetof(ca_state, eager_tasks),
    offsetof(ca_state, eager_factories[0]),
    offsetof(ca_state, eager_factories[1]),
    offsetof(ca_state, current_tasks),
    offsetof(ca_state, enter_task),
    offsetof(ca_state, leave_task),
    offsetof(ca_state, tasks_dict),
    offsetof(ca_state, empty_function),
    offsetof(ca_state, feed_method),
    offsetof(ca_state, received_method),
    offsetof(ca_state, StreamType),
    offsetof(ca_state, AcceptorType),
    offsetof(ca_state, SocketTransport),
    offsetof(ca_state, TlsType),
    offsetof(ca_state, TlsTransportType),
    offsetof(ca_state, TlsProtocol),
    offsetof(ca_state, StockTlsTransport),
    offsetof(ca_state, tls_again),
    offsetof(ca_state, tls_states[0]),
    offsetof(ca_state, tls_states[1]),
    offsetof(ca_state, tls_states[2]),
    offsetof(ca_state, tls_states[3]),
    offsetof(ca_state, tls_states[4]),
    offsetof(ca_state, socket_fileno),
    offsetof(ca_state, socket_methods),
    offsetof(ca_state, FileIO),
    offsetof(ca_state, SpecialType),
    offsetof(ca_state, BoundType),
    offsetof(ca_state, StopType),
    offsetof(ca_state, no_args),
    offsetof(ca_state, late_result),
    offsetof(ca_state, late_result_code),
};

/* The i-th of them. */
static PyObject **
owned_field(ca_state *st, size_t i)
{
    return (PyObject **)((char *)st + owned[i]);
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ca_state *st = PyModule_GetState(module);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(owned); i++) {
        Py_VISIT(*owned_field(st, i));
    }
    int result = ca_imports_visit(st, visit, arg);
    if (result == 0) {
        result = ca_sync_visit_state(st, visit, arg);
    }
    return result != 0 ? result : ca_combine_visit_state(st, visit, arg);
}

static int
module_clear(PyObject *module)
{
    ca_state *st = PyModule_GetState(module);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(owned); i++) {
        Py_CLEAR(*owned_field(st, i));
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(st->native_methods); i++) {
        Py_CLEAR(st->native_methods[i]);
    }
    ca_sync_clear_state(st);
    ca_combine_clear_state(st);
    ca_imports_clear(st);
    ca_names_clear(st);
    return 0;
}

static void
module_free(void *module)
{
    ca_state *st = PyModule_GetState((PyObject *)module);
    (void)module_clear((PyObject *)module);
    ca_freelist_clear(&st->handles);
    ca_freelist_clear(&st->timers);
    ca_freelist_clear(&st->future_iters);
    ca_freelist_clear(&st->sock_calls);
    ca_freelist_clear(&st->sync.calls);
    ca_freelist_clear(&st->stops);
    ca_freelist_clear(&st->bounds);
    ca_freelist_clear(&st->combine_calls);
    ca_freelist_clear(&st->stream_calls);
    ca_freelist_clear(&st->futures);
    ca_freelist_clear(&st->tasks);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    CA_SLOT_INTERPRETERS
    CA_SLOT_GIL
    {0, NULL},
};

PyModuleDef ca_module_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "Native half of casyncio; import casyncio instead.",
    .m_size = sizeof(ca_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    return PyModuleDef_Init(&ca_module_def);
}
