/* imports.c - what the module uses of other modules: one row each. */
#include "module/imports.h"

#include "py/wanted.h"

static const ca_wanted imports[] = {
    {offsetof(ca_state, StockHandle), "asyncio.events", "Handle", false},
    {offsetof(ca_state, StockTimerHandle), "asyncio.events", "TimerHandle",
     false},
    {offsetof(ca_state, StockThreadSafeHandle), "asyncio.events",
     "_ThreadSafeHandle", true},
    {offsetof(ca_state, running_loop), "asyncio.events", "_get_running_loop",
     false},
    {offsetof(ca_state, StockBaseLoop), "asyncio.base_events", "BaseEventLoop",
     false},
    {offsetof(ca_state, StockServer), "asyncio.base_events", "Server", false},
    {offsetof(ca_state, StockSelectorLoop), "asyncio.selector_events",
     "BaseSelectorEventLoop", false},
    {offsetof(ca_state, StockSocketTransport), "asyncio.selector_events",
     "_SelectorSocketTransport", false},
    {offsetof(ca_state, StockDatagram), "asyncio.selector_events",
     "_SelectorDatagramTransport", false},
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
    {offsetof(ca_state, IncompleteReadError), "asyncio.exceptions",
     "IncompleteReadError", false},
    {offsetof(ca_state, LimitOverrunError), "asyncio.exceptions",
     "LimitOverrunError", false},
    {offsetof(ca_state, iscoroutine), "asyncio.coroutines", "iscoroutine",
     false},
    {offsetof(ca_state, StockTransport), "asyncio.transports",
     "_FlowControlMixin", false},
    {offsetof(ca_state, StockDatagramBase), "asyncio.transports",
     "DatagramTransport", false},
    {offsetof(ca_state, BufferedProtocol), "asyncio.protocols",
     "BufferedProtocol", false},
    {offsetof(ca_state, StreamReader), "asyncio.streams", "StreamReader",
     false},
    {offsetof(ca_state, StreamReaderProtocol), "asyncio.streams",
     "StreamReaderProtocol", false},
    {offsetof(ca_state, StockStreamWriter), "asyncio.streams", "StreamWriter",
     false},
    {offsetof(ca_state, default_limit), "asyncio.streams", "_DEFAULT_LIMIT",
     false},
    {offsetof(ca_state, WeakSet), "weakref", "WeakSet", false},
    {offsetof(ca_state, BaseSocket), "_socket", "socket", false},
    {offsetof(ca_state, Socket), "socket", "socket", false},
    {offsetof(ca_state, family_inet), "socket", "AF_INET", false},
#ifdef ENABLE_IPV6
    {offsetof(ca_state, family_inet6), "socket", "AF_INET6", true},
#endif
    {offsetof(ca_state, socket_kinds[0]), "socket", "SOCK_STREAM", false},
    {offsetof(ca_state, socket_kinds[1]), "socket", "SOCK_DGRAM", false},
    {offsetof(ca_state, socket_kinds[2]), "socket", "SOCK_RAW", false},
    {offsetof(ca_state, deque), "collections", "deque", false},
    {offsetof(ca_state, warn_unawaited), "warnings",
     "_warn_unawaited_coroutine", true},
};
enum { N_IMPORTS = sizeof(imports) / sizeof(imports[0]) };

int
ca_imports_init(ca_state *st)
{
    return ca_wanted_import(st, imports, N_IMPORTS);
}

int
ca_imports_visit(ca_state *st, visitproc visit, void *arg)
{
    return ca_wanted_visit(st, imports, N_IMPORTS, visit, arg);
}

void
ca_imports_clear(ca_state *st)
{
    ca_wanted_clear(st, imports, N_IMPORTS);
}
