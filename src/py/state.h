/* state.h - everything the module owns; one per interpreter.
 *
 * Loops and handles point to it.  It lives in the module object, which the
 * types keep alive, so the pointer is good as long as any of them exists.
 */
#ifndef CA_PY_STATE_H
#define CA_PY_STATE_H

#include "py/compat.h"

#include "base/dlist.h"
#include "py/names.h"
#include "py/typetag.h"

#include <stdbool.h>
#include <stdint.h>

/* Dead objects of one exact type, kept for their memory: a stack linked
 * through the first pointer behind each object's head. */
typedef struct {
    PyObject *top;                     /* owned memory, not references */
    int count;
} ca_freelist;

/* Asyncio's own functions, which do what ours of task/combine.h leave to them.
 */
enum {
    CA_COMBINE_SPEAKER,                /* any coroutine function, for words */
    CA_COMBINE_SLEEP,
    CA_COMBINE_GATHER,
    CA_COMBINE_GATHER_CALLBACK,        /* what gather() gives its children */
    CA_COMBINE_WAIT_FOR,
    CA_COMBINE_TIMEOUT,
    CA_COMBINE_TIMEOUT_ENTER,          /* methods of Timeout */
    CA_COMBINE_TIMEOUT_EXIT,
    CA_COMBINE_TIMEOUT_EXPIRE,
    CA_COMBINE_TIMEOUT_STATES,         /* a tuple: its states, as below */
    CA_COMBINE_GROUP,                  /* the class TaskGroup */
    CA_COMBINE_GROUP_ENTER,            /* methods of it */
    CA_COMBINE_GROUP_EXIT,
    CA_COMBINE_COUNT,
};

enum {
    CA_TIMEOUT_CREATED,
    CA_TIMEOUT_ENTERED,
    CA_TIMEOUT_EXPIRING,
    CA_TIMEOUT_EXPIRED,
    CA_TIMEOUT_EXITED,
    CA_TIMEOUT_STATES,
};
/* What the room sync owns; all references strong, see sync/sync.c. */
typedef struct {
    PyTypeObject *CallType;            /* NULL, as the next: deques are not as
                                          we think */
    PyTypeObject *LockType;
    PyTypeObject *EventType;
    PyTypeObject *SemaphoreType;
    PyTypeObject *BoundedSemaphoreType;
    PyTypeObject *QueueType;
    PyObject *Event;                   /* the class of casyncio/_sync.py */
    PyObject *StockMixin;              /* asyncio's classes */
    PyObject *StockLock;
    PyObject *StockEvent;
    PyObject *StockSemaphore;
    PyObject *StockBoundedSemaphore;
    PyObject *StockQueue;
    PyObject *StockLifoQueue;
    PyObject *StockPriorityQueue;
    PyObject *QueueEmpty;
    PyObject *QueueFull;
    PyObject *QueueShutDown;           /* NULL: this Python has none */
    PyObject *get_running_loop;        /* events._get_running_loop */
    PyObject *heappush;
    PyObject *heappop;
    PyCFunction deque_append;          /* not references: of deque's methods */
    PyCFunction deque_popleft;
    PyCFunction deque_remove;
    ca_freelist calls;
    bool semaphore_wakes_all;          /* see sync/semaphore.c */
} ca_sync_state;

typedef struct ca_state {
    PyTypeObject *LoopType;            /* strong; so are all types below */
    PyTypeObject *HandleType;
    PyTypeObject *TimerHandleType;

    PyTypeObject *FutureType;          /* NULL: the mirror does not fit */
    PyTypeObject *TaskType;
    PyTypeObject *FutureIterType;
    PyTypeObject *TasksDataType;
    PyTypeObject *CoroType;            /* base of all coroutines in C */
    PyTypeObject *SockCallType;        /* made even when FutureType is not */
    PyTypeObject *SockWatchType;
    PyTypeObject *FileJobType;

    PyTypeObject *FunctionType;        /* of task/combine.h */
    PyTypeObject *CombineCallType;
    PyTypeObject *GatherCallbackType;
    PyTypeObject *ExpiryType;
    PyTypeObject *GatheringType;       /* classes of casyncio/_combine.py; */
    PyTypeObject *TimeoutType;         /* NULL until it has told us */
    PyTypeObject *GroupType;

    PyTypeObject *DatagramType;        /* NULL: the base has other fields */

    PyTypeObject *StockFuture;         /* strong; _asyncio.Future */
    PyTypeObject *StockTask;           /* strong; _asyncio.Task */
    PyObject *CancelledError;          /* strong */
    PyObject *InvalidStateError;       /* strong */
    PyObject *iscoroutine;             /* strong; coroutines.iscoroutine */
    PyObject *current_tasks;           /* strong; asyncio.tasks' dict */
    PyObject *tasks_data;              /* strong; see task/registry.c */
    PyObject *enter_task;              /* strong; see task/thread.c */
    PyObject *leave_task;              /* strong; likewise */
    PyObject *tasks_dict;              /* strong; that of asyncio.tasks */
    PyObject *running_loop;            /* strong; asyncio's function */
    PyObject *combine[CA_COMBINE_COUNT]; /* strong; see the enum */
    PyObject *eager_tasks;             /* strong; asyncio.tasks' set of them;
                                          NULL: this Python has none */
    PyObject *eager_factories[2];     /* strong; asyncio's and ours, or NULL */

    PyObject *StockHandle;             /* strong; asyncio.Handle */
    PyObject *StockTimerHandle;        /* asyncio.TimerHandle */
    PyObject *StockThreadSafeHandle;   /* 3.14: its class; else NULL */
    PyObject *StockDatagramBase;       /* asyncio.DatagramTransport */
    PyObject *StockDatagram;           /* what stock's loop makes of it */
    PyObject *deque;                   /* collections.deque */
    PyObject *StockBaseLoop;           /* asyncio.BaseEventLoop */
    PyObject *StockSelectorLoop;       /* BaseSelectorEventLoop */
    PyObject *futures_module;          /* asyncio.futures */
    PyObject *tasks_module;            /* asyncio.tasks */
    PyObject *extract_stack;           /* format_helpers.extract_stack */
    PyObject *warn_unawaited;          /* of warnings; NULL: none there */

    PyTypeObject *StreamType;          /* NULL: stock's transports are used */
    PyTypeObject *AcceptorType;
    PyObject *SocketTransport;         /* strong; class of _transports.py */
    ca_typetag transport_type;         /* that class, when it was asked */
    bool transport_plain;              /* and what it said, see stream.h */
    PyObject *StockSocketTransport;    /* strong; selector_events' class */
    PyObject *StockTransport;          /* strong; asyncio's Transport that has
                                          flow control */
    PyObject *BufferedProtocol;        /* strong; asyncio's class */

    PyTypeObject *TlsType;
    PyTypeObject *TlsTransportType;    /* NULL: stock's TLS is used */
    PyObject *TlsProtocol;             /* strong; class of _tls.py, or NULL */
    PyObject *StockTlsTransport;       /* strong; asyncio.sslproto's class */
    PyObject *tls_again;              /* strong; exceptions that mean: later */
    PyObject *tls_states[5];           /* strong; see transport/tls.h */

    PyObject *StreamReader;            /* strong; asyncio's classes, */
    PyObject *StreamReaderProtocol;
    PyObject *feed_method;             /* strong; functions of theirs, */
    PyObject *received_method;
    ca_typetag reader_type;            /* and the classes at import */
    ca_typetag reader_protocol_type;
    PyObject *StockServer;             /* strong; asyncio.base_events.Server */
    PyObject *WeakSet;                 /* strong; of weakref */
    PyObject *ServerClients;           /* strong; of _transports.py, or NULL */
    PyTypeObject *NewClientsType;      /* strong */
    ca_typetag server_type;            /* the classes at import */
    ca_typetag weak_set_type;

    PyTypeObject *ReaderType;          /* the native halves of the streams */
    PyTypeObject *WriterType;
    PyTypeObject *StreamProtocolType;
    PyTypeObject *StreamCallType;
    PyTypeObject *StreamReaderClass;   /* strong; classes of _streams.py */
    PyTypeObject *StreamProtocolClass;
    PyObject *StockStreamWriter;       /* strong; asyncio's class */
    PyObject *IncompleteReadError;     /* strong; asyncio's exceptions */
    PyObject *LimitOverrunError;
    PyObject *stream_methods[3];       /* strong; tuples, stream/usual.c */
    PyObject *default_limit;           /* strong; streams._DEFAULT_LIMIT */
    PyObject *handler_ended;           /* strong; of _streams.py, or NULL */
    PyObject *empty_bytes;             /* strong */
    PyObject *BaseSocket;              /* strong; _socket.socket */
    PyObject *Socket;                  /* strong; socket.socket */
    PyObject *socket_fileno;           /* strong; the first's method */
    PyObject *socket_methods;          /* strong; tuple, see py/sockobj.c */
    ca_typetag socket_type;            /* the class that had them */
    Py_ssize_t socket_users;           /* offsets of its slots _io_refs ... */
    Py_ssize_t socket_closed;          /* ... and _closed; 0: not known */
    PyObject *FileIO;                  /* strong; NULL: not asked for yet */
    PyObject *family_inet;             /* strong; socket.AF_INET */
    PyObject *family_inet6;            /* NULL: Python without IPv6 */
    PyObject *socket_kinds[3];         /* strong; SOCK_STREAM, _DGRAM, _RAW */

    /* The loop's own versions of what users may override, see overrides.h. */
    PyObject *native_methods[24];      /* strong */

    PyObject *empty_function;          /* strong; see run.c */
    PyObject *late_result;             /* strong; what asyncio.sleep() sets its
                                          future with, or NULL, and ... */
    PyObject *late_result_code;        /* strong; ... its code at the import */

    PyObject *names[CA_STR_COUNT];     /* strong, interned; names.h */
    PyObject *kw_context;
    PyObject *kw_loop;                 /* strong; tuple of keyword names */
    PyObject *kw_msg;

    ca_sync_state sync;

    PyTypeObject *SpecialType;         /* strong; see py/special.h */
    PyTypeObject *BoundType;           /* strong */
    ca_freelist bounds;

    PyTypeObject *StopType;            /* strong; see py/stop.h */
    PyObject *no_args;                 /* strong; () */
    ca_freelist stops;

    ca_freelist handles;
    ca_freelist timers;
    ca_freelist futures;
    ca_freelist tasks;
    ca_freelist future_iters;
    ca_freelist sock_calls;
    ca_freelist combine_calls;
    ca_freelist stream_calls;

    /* Byte offsets in the thread's state, see task/thread.c. */
    int thread_loop;                   /* the running loop */
    int thread_task;                   /* the current task */
    int thread_tasks;                  /* the list of its tasks */

    ca_dnode all_tasks;                /* every native Task; see registry.h */
    uint64_t task_count;               /* for the names of tasks */
    uint32_t types_made;               /* a bit each, see module/types.c */
    struct CaLoop *known_loop;         /* borrowed: the last loop that was seen
                                          to be ours; its death clears it */
    int eager_naming;                  /* CA_EAGER_NAME_*, task/eager.h */
    bool combine_gather_defers;        /* also what is done gets a callback */
    bool combine_group_forgets;        /* its fields when it is left */
    bool native_tasks;                 /* loops make Tasks of ours */
    bool server_knows_clients;         /* Server._attach() takes a transport */
    bool protocol_has_writer;          /* StreamReaderProtocol keeps it */
    bool socket_layout;                /* py/sockobj.c knows it */
    bool file_layout;                  /* py/fdowner.c knows it */
    bool context_sharing;            /* contexts look as py/context.c thinks */
} ca_state;

extern PyModuleDef ca_module_def;

/* State behind `type` or a subclass of it; NULL with TypeError set.  Goes
 * along the bases that carry the layout and not along the MRO: the collector
 * clears the MRO of a class before the instances that it collects with it. */
static inline ca_state *
ca_state_of_type(PyTypeObject *type)
{
    for (PyTypeObject *t = type; t != NULL; t = t->tp_base) {
        PyObject *module = PyType_HasFeature(t, Py_TPFLAGS_HEAPTYPE)
                               ? ((PyHeapTypeObject *)t)->ht_module
                               : NULL;
        if (module != NULL && PyModule_GetDef(module) == &ca_module_def) {
            return PyModule_GetState(module);
        }
    }
    PyErr_SetString(PyExc_TypeError, "type does not come from casyncio");
    return NULL;
}

#endif
