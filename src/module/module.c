/* module.c - birth and death of the extension; no behaviour lives here. */
#include "api/api.h"
#include "loop/handle.h"
#include "loop/overrides.h"
#include "py/context.h"
#include "py/freelist.h"
#include "py/sockobj.h"
#include "py/state.h"
#include "reactor/reactor.h"
#include "task/eager.h"
#include "task/guard.h"
#include "task/registry.h"
#include "task/task.h"
#include "transport/acceptor.h"
#include "transport/reader_feed.h"
#include "transport/pipe.h"
#include "transport/stream.h"
#include "transport/datagram.h"
#include "transport/sockcall.h"
#include "transport/sockwatch.h"
#include "transport/tls.h"

#include <stddef.h>

/* ---- names ---- */

#define NAME(n) [CA_STR_##n] = #n
static const char *const names[CA_STR_COUNT] = {
    NAME(callback),
    NAME(context),
    NAME(delay),
    NAME(when),
    NAME(name),
    NAME(coro),
    NAME(run),
    NAME(_run),
    NAME(_cancelled),
    NAME(fileno),
    NAME(time),
    NAME(call_at),
    NAME(_run_once),
    NAME(_transports),
    NAME(data),
    NAME(Future),
    NAME(Task),
    NAME(_callback_failed),
    NAME(_callback_slow),
    NAME(_check_callback),
    NAME(_run_forever_setup),
    NAME(_run_forever_cleanup),
    NAME(_set_coroutine_origin_tracking),
    NAME(_repr_info),
    NAME(call_soon),
    NAME(call_later),
    NAME(call_soon_threadsafe),
    NAME(create_task),
    NAME(_ensure_fd_no_transport),
    NAME(fd),
    NAME(loop),
    NAME(add_reader),
    NAME(add_writer),
    NAME(_add_reader),
    NAME(_add_writer),
    NAME(remove_reader),
    NAME(remove_writer),
    NAME(_remove_reader),
    NAME(_remove_writer),
    NAME(enabled),
    NAME(set_debug),
    NAME(throw),
    NAME(cancel),
    NAME(result),
    NAME(get_loop),
    NAME(_loop),
    NAME(_asyncio_future_blocking),
    NAME(add_done_callback),
    NAME(close),
    NAME(is_running),
    NAME(send),
    NAME(is_closing),
    NAME(_read_eof),
    NAME(_read_failed),
    NAME(_read_ready),
    NAME(_write_ready),
    NAME(_log_eof),
    NAME(_log_pause),
    NAME(_log_resume),
    NAME(_log_lost),
    NAME(_flow_failed),
    NAME(_fatal_error),
    NAME(eof_received),
    NAME(data_received),
    NAME(get_buffer),
    NAME(buffer_updated),
    NAME(pause_writing),
    NAME(resume_writing),
    NAME(set_result),
    NAME(connection_made),
    NAME(connection_lost),
    NAME(_call_connection_lost),
    NAME(_force_close),
    NAME(_attach),
    NAME(_detach),
    NAME(_fail_empty_waiter),
    NAME(_start),
    NAME(cancelled),
    NAME(_make_sock),
    NAME(_dropped),
    NAME(_accepted),
    NAME(_accept_failed),
    NAME(_connection_failed),
    NAME(_make_socket_transport),
    NAME(_start_serving),
    NAME(feed_data),
    NAME(_stream_reader_wr),
    NAME(_eof),
    NAME(_buffer),
    NAME(_waiter),
    NAME(_limit),
    NAME(_transport),
    NAME(_paused),
    NAME(pause_reading),
    NAME(set_protocol),
    NAME(protocol),
    NAME(write),
    NAME(writelines),
    NAME(list_of_data),
    NAME(addr),
    NAME(datagram_received),
    NAME(sendto),
    NAME(_error_received),
    NAME(create_future),
    NAME(_log_closed),
    NAME(_maybe_pause_protocol),
    NAME(_maybe_resume_protocol),
    NAME(read),
    NAME(pending),
    NAME(resume_reading),
    NAME(_do_handshake),
    NAME(_do_flush),
    NAME(_do_shutdown),
    NAME(_read_later),
    NAME(_call_eof_received),
    NAME(_start_shutdown),
};
#undef NAME

static int
make_names(ca_state *st)
{
    for (int i = 0; i < CA_STR_COUNT; i++) {
        st->names[i] = PyUnicode_InternFromString(names[i]);
        if (st->names[i] == NULL) {
            return -1;
        }
    }
    PyObject *loop = st->names[CA_STR_loop];
    PyObject *name = st->names[CA_STR_name];
    PyObject *context = st->names[CA_STR_context];
    st->kw_context = PyTuple_Pack(1, context);
    st->kw_loop = PyTuple_Pack(1, loop);
    st->kw_loop_name = PyTuple_Pack(2, loop, name);
    st->kw_loop_context = PyTuple_Pack(2, loop, context);
    st->kw_loop_name_context = PyTuple_Pack(3, loop, name, context);
    return st->kw_context == NULL || st->kw_loop == NULL ||
                   st->kw_loop_name == NULL || st->kw_loop_context == NULL ||
                   st->kw_loop_name_context == NULL
               ? -1
               : 0;
}

/* ---- what we use of asyncio ---- */

static const struct {
    size_t where;
    const char *module;
    const char *name;                  /* NULL: the module itself */
    bool optional;
} imports[] = {
    {offsetof(ca_state, StockHandle), "asyncio.events", "Handle", false},
    {offsetof(ca_state, StockTimerHandle), "asyncio.events", "TimerHandle",
     false},
    {offsetof(ca_state, StockThreadSafeHandle), "asyncio.events",
     "_ThreadSafeHandle", true},
    {offsetof(ca_state, StockBaseLoop), "asyncio.base_events", "BaseEventLoop",
     false},
    {offsetof(ca_state, StockSelectorLoop), "asyncio.selector_events",
     "BaseSelectorEventLoop", false},
    {offsetof(ca_state, futures_module), "asyncio.futures", NULL, false},
    {offsetof(ca_state, tasks_module), "asyncio.tasks", NULL, false},
    {offsetof(ca_state, extract_stack), "asyncio.format_helpers",
     "extract_stack", false},
    {offsetof(ca_state, StockFuture), "_asyncio", "Future", false},
    {offsetof(ca_state, StockTask), "_asyncio", "Task", false},
    {offsetof(ca_state, CancelledError), "asyncio.exceptions",
     "CancelledError", false},
    {offsetof(ca_state, InvalidStateError), "asyncio.exceptions",
     "InvalidStateError", false},
    {offsetof(ca_state, iscoroutine), "asyncio.coroutines", "iscoroutine",
     false},
    {offsetof(ca_state, StockSocketTransport), "asyncio.selector_events",
     "_SelectorSocketTransport", false},
    {offsetof(ca_state, StockTransport), "asyncio.transports",
     "_FlowControlMixin", false},
    {offsetof(ca_state, BufferedProtocol), "asyncio.protocols",
     "BufferedProtocol", false},
    {offsetof(ca_state, StreamReader), "asyncio.streams", "StreamReader",
     false},
    {offsetof(ca_state, StreamReaderProtocol), "asyncio.streams",
     "StreamReaderProtocol", false},
    {offsetof(ca_state, BaseSocket), "_socket", "socket", false},
    {offsetof(ca_state, Socket), "socket", "socket", false},
    {offsetof(ca_state, StockDatagramBase), "asyncio.transports",
     "DatagramTransport", false},
    {offsetof(ca_state, StockDatagram), "asyncio.selector_events",
     "_SelectorDatagramTransport", false},
    {offsetof(ca_state, deque), "collections", "deque", false},
    {offsetof(ca_state, warn_unawaited), "warnings",
     "_warn_unawaited_coroutine", true},
    {offsetof(ca_state, family_inet), "socket", "AF_INET", false},
#ifdef ENABLE_IPV6
    {offsetof(ca_state, family_inet6), "socket", "AF_INET6", true},
#endif
    {offsetof(ca_state, socket_kinds[0]), "socket", "SOCK_STREAM", false},
    {offsetof(ca_state, socket_kinds[1]), "socket", "SOCK_DGRAM", false},
    {offsetof(ca_state, socket_kinds[2]), "socket", "SOCK_RAW", false},
};
enum { N_IMPORTS = sizeof(imports) / sizeof(imports[0]) };

/* The field of the state at byte offset `where`: a strong reference. */
static PyObject **
field(ca_state *st, size_t where)
{
    return (PyObject **)((char *)st + where);
}

static int
import_one(ca_state *st, int i)
{
    PyObject *found = PyImport_ImportModule(imports[i].module);
    if (found != NULL && imports[i].name != NULL) {
        Py_SETREF(found, PyObject_GetAttrString(found, imports[i].name));
    }
    if (found == NULL && imports[i].optional &&
        PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return 0;
    }
    *field(st, imports[i].where) = found;
    return found == NULL ? -1 : 0;
}

/* A function whose only effect is that the interpreter runs: it looks at its
 * pending work when a function of Python starts. */
static PyObject *
make_empty_function(void)
{
    PyObject *found = NULL;
    PyObject *globals = PyDict_New();
    PyObject *none = globals == NULL
                         ? NULL
                         : PyRun_String("def empty(): pass", Py_file_input,
                                        globals, globals);
    if (none != NULL) {
        found = Py_XNewRef(PyDict_GetItemString(globals, "empty"));
    }
    Py_XDECREF(none);
    Py_XDECREF(globals);
    return found;
}

/* ---- types ---- */

static int
make_types(PyObject *module, ca_state *st)
{
    st->HandleType = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &ca_handle_spec, NULL);
    if (st->HandleType == NULL) {
        return -1;
    }
    st->TimerHandleType = (PyTypeObject *)PyType_FromModuleAndSpec(
        module, &ca_timer_handle_spec, (PyObject *)st->HandleType);
    st->LoopType = (PyTypeObject *)ca_loop_type_new(module);
    if (st->TimerHandleType == NULL || st->LoopType == NULL ||
        PyModule_AddType(module, st->HandleType) < 0 ||
        PyModule_AddType(module, st->TimerHandleType) < 0 ||
        PyModule_AddType(module, st->LoopType) < 0) {
        return -1;
    }
    return ca_overrides_init(st);
}

static PyTypeObject *
make_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

/* Future and Task, where the mirror has the size of the base. */
static int
make_task_types(PyObject *module, ca_state *st)
{
    ca_dlist_init(&st->all_tasks);
    st->SockCallType = make_type(module, &ca_sockcall_spec, NULL);
    st->SockWatchType = make_type(module, &ca_sockwatch_spec, NULL);
    if (st->SockCallType == NULL || st->SockWatchType == NULL) {
        return -1;
    }
    if (!ca_guard_sizes_fit(st)) {
        return 0;
    }
    st->FutureType = make_type(module, &ca_future_spec, st->StockFuture);
    st->TaskType = make_type(module, &ca_task_spec, st->StockTask);
    st->FutureIterType = make_type(module, &ca_future_iter_spec, NULL);
    if (st->FutureType == NULL || st->TaskType == NULL ||
        st->FutureIterType == NULL) {
        return -1;
    }
    if (ca_registry_data_spec != NULL) {
        st->TasksDataType = make_type(module, ca_registry_data_spec,
                                      &PySet_Type);
        return st->TasksDataType == NULL ? -1 : 0;
    }
    return 0;
}

/* Transports, where the base looks as we think. */
static int
make_transport_types(PyObject *module, ca_state *st)
{
    st->AcceptorType = make_type(module, &ca_acceptor_spec, NULL);
    if (st->AcceptorType == NULL) {
        return -1;
    }
    st->StreamType = (PyTypeObject *)ca_stream_type_new(module, st);
    if (st->StreamType == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyModule_AddType(module, st->StreamType);
}

/* TLS, where the base of its transport looks as we think. */
static int
make_tls_types(PyObject *module, ca_state *st)
{
    st->TlsType = (PyTypeObject *)ca_tls_type_new(module);
    if (st->TlsType == NULL || PyModule_AddType(module, st->TlsType) < 0 ||
        PyModule_AddFunctions(module, ca_tls_functions) < 0) {
        return -1;
    }
    st->TlsTransportType = (PyTypeObject *)ca_tls_transport_type_new(module,
                                                                     st);
    if (st->TlsTransportType == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyModule_AddType(module, st->TlsTransportType);
}

/* Datagram transports, where the base has the fields that are known. */
static int
make_datagram_type(PyObject *module, ca_state *st)
{
    if (ca_datagram_base_fits(st)) {
        st->DatagramType = make_type(module, &ca_datagram_spec,
                                     (PyTypeObject *)st->StockDatagramBase);
        return st->DatagramType == NULL ? -1 : 0;
    }
    return 0;
}

/* Add the type to the module and let go of it: 1, 0 when there is none, -1
 * with an exception. */
static int
add_type(PyObject *module, PyObject *steal_type)
{
    if (steal_type == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    int result = PyModule_AddType(module, (PyTypeObject *)steal_type);
    Py_DECREF(steal_type);
    return result < 0 ? -1 : 1;
}

/* Transports for pipes, where the base looks as we think. */
static int
make_pipe_types(PyObject *module)
{
    PyObject *base = ca_pipe_type_new(module);
    int found = add_type(module, Py_XNewRef(base));
    if (found > 0) {
        found = add_type(module, ca_read_pipe_type_new(module, base));
    }
    if (found > 0) {
        found = add_type(module, ca_write_pipe_type_new(module, base));
    }
    Py_XDECREF(base);
    return found < 0 ? -1 : 0;
}

/* ---- the module ---- */

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

static PyMethodDef module_methods[] = {
    {"use_transports", module_py_use_transports, METH_VARARGS,
     use_transports_doc},
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

static int
module_exec(PyObject *module)
{
    ca_state *st = PyModule_GetState(module);
    if (make_names(st) < 0) {
        return -1;
    }
    for (int i = 0; i < N_IMPORTS; i++) {
        if (import_one(st, i) < 0) {
            return -1;
        }
    }
    st->empty_function = make_empty_function();
    if (st->empty_function == NULL) {
        return -1;
    }
    if (ca_sockobj_init(st) < 0 || ca_reader_feed_init(st) < 0) {
        return -1;
    }
    int sharing = ca_context_probe();
    if (sharing < 0) {
        return -1;
    }
    st->context_sharing = sharing != 0;
    if (make_types(module, st) < 0 || make_task_types(module, st) < 0 ||
        make_transport_types(module, st) < 0 ||
        make_tls_types(module, st) < 0 || make_datagram_type(module, st) < 0 ||
        make_pipe_types(module) < 0 ||
        PyModule_AddStringConstant(module, "__version__", CASYNCIO_VERSION) <
            0) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ca_state *st = PyModule_GetState(module);
    Py_VISIT(st->LoopType);
    Py_VISIT(st->HandleType);
    Py_VISIT(st->TimerHandleType);
    Py_VISIT(st->FutureType);
    Py_VISIT(st->TaskType);
    Py_VISIT(st->FutureIterType);
    Py_VISIT(st->TasksDataType);
    Py_VISIT(st->DatagramType);
    Py_VISIT(st->SockCallType);
    Py_VISIT(st->SockWatchType);
    Py_VISIT(st->tasks_data);
    Py_VISIT(st->eager_tasks);
    Py_VISIT(st->eager_factories[0]);
    Py_VISIT(st->eager_factories[1]);
    Py_VISIT(st->current_tasks);
    Py_VISIT(st->enter_task);
    Py_VISIT(st->leave_task);
    Py_VISIT(st->tasks_dict);
    Py_VISIT(st->empty_function);
    Py_VISIT(st->feed_method);
    Py_VISIT(st->received_method);
    Py_VISIT(st->StreamType);
    Py_VISIT(st->AcceptorType);
    Py_VISIT(st->SocketTransport);
    Py_VISIT(st->TlsType);
    Py_VISIT(st->TlsTransportType);
    Py_VISIT(st->TlsProtocol);
    Py_VISIT(st->StockTlsTransport);
    Py_VISIT(st->tls_again);
    for (int i = 0; i < CA_TLS_STATES; i++) {
        Py_VISIT(st->tls_states[i]);
    }
    Py_VISIT(st->socket_fileno);
    Py_VISIT(st->socket_methods);
    Py_VISIT(st->FileIO);
    Py_VISIT(st->late_result);
    Py_VISIT(st->late_result_code);
    for (int i = 0; i < N_IMPORTS; i++) {
        Py_VISIT(*field(st, imports[i].where));
    }
    return 0;
}

static int
module_clear(PyObject *module)
{
    ca_state *st = PyModule_GetState(module);
    Py_CLEAR(st->LoopType);
    Py_CLEAR(st->HandleType);
    Py_CLEAR(st->TimerHandleType);
    Py_CLEAR(st->FutureType);
    Py_CLEAR(st->TaskType);
    Py_CLEAR(st->FutureIterType);
    Py_CLEAR(st->TasksDataType);
    Py_CLEAR(st->DatagramType);
    Py_CLEAR(st->SockCallType);
    Py_CLEAR(st->SockWatchType);
    Py_CLEAR(st->tasks_data);
    Py_CLEAR(st->eager_tasks);
    Py_CLEAR(st->eager_factories[0]);
    Py_CLEAR(st->eager_factories[1]);
    Py_CLEAR(st->current_tasks);
    Py_CLEAR(st->enter_task);
    Py_CLEAR(st->leave_task);
    Py_CLEAR(st->tasks_dict);
    Py_CLEAR(st->empty_function);
    Py_CLEAR(st->feed_method);
    Py_CLEAR(st->received_method);
    Py_CLEAR(st->StreamType);
    Py_CLEAR(st->AcceptorType);
    Py_CLEAR(st->SocketTransport);
    Py_CLEAR(st->TlsType);
    Py_CLEAR(st->TlsTransportType);
    Py_CLEAR(st->TlsProtocol);
    Py_CLEAR(st->StockTlsTransport);
    Py_CLEAR(st->tls_again);
    for (int i = 0; i < CA_TLS_STATES; i++) {
        Py_CLEAR(st->tls_states[i]);
    }
    Py_CLEAR(st->socket_fileno);
    Py_CLEAR(st->socket_methods);
    Py_CLEAR(st->FileIO);
    Py_CLEAR(st->late_result);
    Py_CLEAR(st->late_result_code);
    Py_CLEAR(st->kw_context);
    for (int i = 0; i < N_IMPORTS; i++) {
        Py_CLEAR(*field(st, imports[i].where));
    }
    for (int i = 0; i < CA_STR_COUNT; i++) {
        Py_CLEAR(st->names[i]);
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(st->native_methods); i++) {
        Py_CLEAR(st->native_methods[i]);
    }
    Py_CLEAR(st->kw_loop);
    Py_CLEAR(st->kw_loop_name);
    Py_CLEAR(st->kw_loop_context);
    Py_CLEAR(st->kw_loop_name_context);
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
