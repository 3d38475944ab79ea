/* imports.c - what the module uses of other modules: one row each. */
#include "module/imports.h"

#include <stdbool.h>
#include <stddef.h>

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
    {offsetof(ca_state, StockServer), "asyncio.base_events", "Server", false},
    {offsetof(ca_state, WeakSet), "weakref", "WeakSet", false},
    {offsetof(ca_state, StockStreamWriter), "asyncio.streams", "StreamWriter",
     false},
    {offsetof(ca_state, default_limit), "asyncio.streams", "_DEFAULT_LIMIT",
     false},
    {offsetof(ca_state, IncompleteReadError), "asyncio.exceptions",
     "IncompleteReadError", false},
    {offsetof(ca_state, LimitOverrunError), "asyncio.exceptions",
     "LimitOverrunError", false},
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

int
ca_imports_init(ca_state *st)
{
    for (int i = 0; i < N_IMPORTS; i++) {
        if (import_one(st, i) < 0) {
            return -1;
        }
    }
    return 0;
}

int
ca_imports_visit(ca_state *st, visitproc visit, void *arg)
{
    for (int i = 0; i < N_IMPORTS; i++) {
        Py_VISIT(*field(st, imports[i].where));
    }
    return 0;
}

void
ca_imports_clear(ca_state *st)
{
    for (int i = 0; i < N_IMPORTS; i++) {
        Py_CLEAR(*field(st, imports[i].where));
    }
}
