/* types.c - makes the types, in the order in which they need each other.
 *
 * With the module come those that every loop needs.  All others are made when
 * the module is asked for one of them by its name, by Python or by C
 * (py/late.h): making a type takes longer than most functions ever will, and a
 * program waits for its imports.
 */
#include "module/types.h"

#include "api/api.h"
#include "loop/handle.h"
#include "loop/overrides.h"
#include "py/special.h"
#include "py/stop.h"
#include "stream/streams.h"
#include "sync/call.h"
#include "sync/sync.h"
#include "task/combine.h"
#include "task/coro.h"
#include "task/guard.h"
#include "task/registry.h"
#include "task/task.h"
#include "transport/acceptor.h"
#include "transport/clients.h"
#include "transport/datagram.h"
#include "transport/filejob.h"
#include "transport/pipe.h"
#include "transport/sockcall.h"
#include "transport/sockwatch.h"
#include "transport/stream.h"
#include "transport/tls.h"

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

/* `bases`: a type, a tuple of them, or NULL. */
static PyTypeObject *
make_type(PyObject *module, PyType_Spec *spec, void *bases)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

/* The same into a field of the state, unless it is there since an attempt that
 * ran out of memory later on; 0 or -1. */
static int
have_type(PyObject *module, PyTypeObject **type, PyType_Spec *spec,
          PyTypeObject *base)
{
    if (*type == NULL) {
        *type = make_type(module, spec, base);
    }
    return *type == NULL ? -1 : 0;
}

/* A Task of ours is a Future of ours too, as asyncio's is of asyncio's.  Ours
 * adds no field to asyncio's Future, so the two bases agree. */
static PyTypeObject *
make_task_type(PyObject *module, ca_state *st)
{
    if (st->FutureType == NULL) {
        return NULL;
    }
    PyObject *bases = PyTuple_Pack(2, st->StockTask, st->FutureType);
    PyTypeObject *type = NULL;
    if (bases != NULL) {
        type = make_type(module, &ca_task_spec, bases);
        Py_DECREF(bases);
    }
    return type;
}

/* Future and Task, where the mirror has the size of the base. */
static int
make_task_types(PyObject *module, ca_state *st)
{
    ca_dlist_init(&st->all_tasks);
    if (!ca_guard_sizes_fit(st)) {
        return 0;
    }
    st->FutureType = make_type(module, &ca_future_spec, st->StockFuture);
    st->TaskType = make_task_type(module, st);
    st->FutureIterType = make_type(module, &ca_future_iter_spec, NULL);
    if (st->FutureType == NULL || st->TaskType == NULL ||
        st->FutureIterType == NULL) {
        return -1;
    }
    st->FutureType->tp_vectorcall = ca_future_vectorcall;
    if (ca_registry_data_spec != NULL) {
        st->TasksDataType = make_type(module, ca_registry_data_spec,
                                      &PySet_Type);
        return st->TasksDataType == NULL ? -1 : 0;
    }
    return 0;
}

/* Transports, where the base looks as we think. */
static int
make_transport_type(PyObject *module, ca_state *st)
{
    st->StreamType = (PyTypeObject *)ca_stream_type_new(module, st);
    if (st->StreamType == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyModule_AddType(module, st->StreamType);
}

/* ---- those that are made late ----
 *
 * Whoever makes some may be short of memory, and is asked again.  What C asks
 * for (py/late.h) is made last: when it is there, so are the others.
 */

/* The base of all coroutines, and what they raise. */
static int
make_coro_types(PyObject *module, ca_state *st)
{
    if (st->no_args == NULL) {
        st->no_args = PyTuple_New(0);
    }
    return st->no_args == NULL ||
                   have_type(module, &st->StopType, &ca_stop_spec,
                             (PyTypeObject *)PyExc_StopIteration) < 0
               ? -1
               : have_type(module, &st->CoroType, &ca_coro_spec, NULL);
}

/* What stands for methods of `async with`. */
static int
make_special_types(PyObject *module, ca_state *st)
{
    if (st->SpecialType == NULL) {
        st->SpecialType = (PyTypeObject *)PyType_FromModuleAndSpec(
            module, &ca_special_spec, NULL);
    }
    if (st->SpecialType != NULL && st->BoundType == NULL) {
        st->BoundType = (PyTypeObject *)PyType_FromModuleAndSpec(
            module, &ca_bound_spec, NULL);
    }
    return st->SpecialType == NULL || st->BoundType == NULL ? -1 : 0;
}

static int
make_sock_types(PyObject *module, ca_state *st)
{
    return make_coro_types(module, st) < 0 ||
                   have_type(module, &st->SockWatchType, &ca_sockwatch_spec,
                             NULL) < 0
               ? -1
               : have_type(module, &st->SockCallType, &ca_sockcall_spec,
                           st->CoroType);
}

static int
make_file_type(PyObject *module, ca_state *st)
{
    return have_type(module, &st->FileJobType, &ca_filejob_spec, NULL);
}

static int
make_server_types(PyObject *module, ca_state *st)
{
    return have_type(module, &st->NewClientsType, &ca_new_clients_spec, NULL) <
                   0
               ? -1
               : have_type(module, &st->AcceptorType, &ca_acceptor_spec, NULL);
}

/* gather(), timeout() and their like, where futures are ours. */
static int
make_combine_types(PyObject *module, ca_state *st)
{
    if (st->FutureType == NULL) {
        return 0;
    }
    return make_coro_types(module, st) < 0 ||
                   make_special_types(module, st) < 0
               ? -1
               : ca_combine_make_types(module, st);
}

/* TLS, where the base of its transport looks as we think. */
static int
make_tls_types(PyObject *module, ca_state *st)
{
    if (st->TlsType == NULL) {
        st->TlsType = (PyTypeObject *)ca_tls_type_new(module);
    }
    if (st->TlsType == NULL || PyModule_AddType(module, st->TlsType) < 0 ||
        PyModule_AddFunctions(module, ca_tls_functions) < 0) {
        return -1;
    }
    if (st->TlsTransportType == NULL) {
        st->TlsTransportType = (PyTypeObject *)ca_tls_transport_type_new(
            module, st);
    }
    if (st->TlsTransportType == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    return PyModule_AddType(module, st->TlsTransportType);
}

/* Datagram transports, where the base has the fields that are known. */
static int
make_datagram_type(PyObject *module, ca_state *st)
{
    return ca_datagram_base_fits(st)
               ? have_type(module, &st->DatagramType, &ca_datagram_spec,
                           (PyTypeObject *)st->StockDatagramBase)
               : 0;
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
make_pipe_types(PyObject *module, ca_state *Py_UNUSED(st))
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

/* Locks and queues, where deques are as we think. */
static int
make_sync_types(PyObject *module, ca_state *st)
{
    int fits = st->FutureType == NULL ? 0 : ca_sync_init(st);
    if (fits <= 0) {
        return fits;
    }
    return make_coro_types(module, st) < 0 ||
                   make_special_types(module, st) < 0 ||
                   have_type(module, &st->sync.CallType, &ca_synccall_spec,
                             st->CoroType) < 0 ||
                   have_type(module, &st->sync.LockType, &ca_lock_spec, NULL) <
                       0 ||
                   have_type(module, &st->sync.EventType, &ca_event_spec,
                             NULL) < 0 ||
                   have_type(module, &st->sync.SemaphoreType,
                             &ca_semaphore_spec, NULL) < 0 ||
                   have_type(module, &st->sync.QueueType, &ca_queue_spec,
                             NULL) < 0
               ? -1
               : have_type(module, &st->sync.BoundedSemaphoreType,
                           &ca_bounded_semaphore_spec, st->sync.SemaphoreType);
}

/* The native halves of the streams. */
static int
make_stream_types(PyObject *module, ca_state *st)
{
    return make_coro_types(module, st) < 0 ||
                   have_type(module, &st->WriterType, &ca_writer_spec, NULL) <
                       0 ||
                   have_type(module, &st->StreamProtocolType,
                             &ca_stream_protocol_spec, NULL) < 0 ||
                   have_type(module, &st->StreamCallType, &ca_call_spec,
                             st->CoroType) < 0 ||
                   have_type(module, &st->ReaderType, &ca_reader_spec, NULL) <
                       0
               ? -1
               : ca_streams_init(st);
}

enum { MAX_NAMES = 8 };

/* Who makes what. */
static const struct {
    int (*make)(PyObject *module, ca_state *st);
    const char *names[MAX_NAMES];
} late[] = {
    {make_coro_types, {"Coro", "StopIteration"}},
    {make_sock_types, {"SockCall", "SockWatch"}},
    {make_file_type, {"FileJob"}},
    {make_server_types, {"Acceptor", "NewClients"}},
    {make_combine_types,
     {"Function", "CombineCall", "GatherCallback", "Expiry", "GatheringFuture",
      "Timeout", "TaskGroup"}},
    {make_tls_types, {"Tls", "TlsTransport", "use_tls", "find_openssl"}},
    {make_datagram_type, {"DatagramTransport"}},
    {make_pipe_types, {"Pipe", "ReadPipe", "WritePipe"}},
    {make_sync_types,
     {"SyncCall", "Lock", "Event", "Semaphore", "BoundedSemaphore", "Queue"}},
    {make_stream_types,
     {"StreamReader", "StreamWriter", "StreamReaderProtocol", "StreamCall"}},
};

/* Who makes what has that name; -1: nobody. */
static int
maker_of(PyObject *name)
{
    for (int i = 0; i < (int)Py_ARRAY_LENGTH(late); i++) {
        for (int k = 0; k < MAX_NAMES && late[i].names[k] != NULL; k++) {
            if (PyUnicode_CompareWithASCIIString(name, late[i].names[k]) ==
                0) {
                return i;
            }
        }
    }
    return -1;
}

/* All that go with it, or an exception, and then again when they are asked
 * for next.  The collector waits, since finalizers, and other threads that run
 * when they do, might ask meanwhile. */
static int
make_late(PyObject *module, ca_state *st, int maker)
{
    int collects = PyGC_Disable();
    st->types_made |= 1u << maker;
    int result = late[maker].make(module, st);
    if (result < 0) {
        st->types_made &= ~(1u << maker);
        if (!PyErr_Occurred()) {       /* the interpreter may lose it */
            PyErr_NoMemory();
        }
    }
    if (collects) {
        (void)PyGC_Enable();
    }
    return result;
}

PyObject *
ca_types_getattr(PyObject *module, PyObject *name)
{
    ca_state *st = PyModule_GetState(module);
    int maker = PyUnicode_Check(name) ? maker_of(name) : -1;
    PyObject *dict = PyModule_GetDict(module); /* borrowed */
    if (maker >= 0 && (st->types_made & 1u << maker) == 0 &&
        make_late(module, st, maker) < 0) {
        return NULL;
    }
    /* A finalizer may have asked for it between the search and this. */
    PyObject *found = maker < 0 ? NULL : PyDict_GetItemWithError(dict, name);
    Py_XINCREF(found);
    if (found == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_AttributeError,
                     "module 'casyncio._native' has no attribute '%S'", name);
    }
    return found;
}

int
ca_types_init(PyObject *module, ca_state *st)
{
    return make_types(module, st) < 0 || make_task_types(module, st) < 0 ||
                   make_transport_type(module, st) < 0
               ? -1
               : 0;
}
