/* state.h - everything the module owns; one per interpreter.
 *
 * Loops and handles point to it.  It lives in the module object, which the
 * types keep alive, so the pointer is good as long as any of them exists.
 */
#ifndef CA_PY_STATE_H
#define CA_PY_STATE_H

#include "py/compat.h"

#include "base/dlist.h"

#include <stdbool.h>
#include <stdint.h>

/* Dead objects of one exact type, kept for their memory: a stack linked
 * through the first pointer behind each object's head. */
typedef struct {
    PyObject *top;                     /* owned memory, not references */
    int count;
} ca_freelist;

typedef struct ca_state {
    PyTypeObject *LoopType;            /* strong; so are all types below */
    PyTypeObject *HandleType;
    PyTypeObject *TimerHandleType;

    PyTypeObject *FutureType;          /* NULL: the mirror does not fit */
    PyTypeObject *TaskType;
    PyTypeObject *FutureIterType;
    PyTypeObject *TasksDataType;
    PyTypeObject *SockCallType;        /* made even when FutureType is not */
    PyTypeObject *SockWatchType;

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
    unsigned int reader_version;       /* and the tags they had at import */
    unsigned int reader_protocol_version;
    PyObject *BaseSocket;              /* strong; _socket.socket */
    PyObject *Socket;                  /* strong; socket.socket */
    PyObject *socket_fileno;           /* strong; the first's method */
    PyObject *socket_methods;          /* strong; tuple, see py/sockobj.c */
    unsigned int socket_version;       /* of the class that had them */
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

    PyObject *names[128];              /* strong, interned; see CA_STR_* */
    PyObject *kw_context;
    PyObject *kw_loop;                 /* strong; tuple of keyword names */
    PyObject *kw_loop_name;
    PyObject *kw_loop_context;
    PyObject *kw_loop_name_context;

    ca_freelist handles;
    ca_freelist timers;
    ca_freelist futures;
    ca_freelist tasks;
    ca_freelist future_iters;
    ca_freelist sock_calls;

    /* Byte offsets in the thread's state, see task/thread.c. */
    int thread_loop;                   /* the running loop */
    int thread_task;                   /* the current task */
    int thread_tasks;                  /* the list of its tasks */

    ca_dnode all_tasks;                /* every native Task; see registry.h */
    uint64_t task_count;               /* for the names of tasks */
    struct CaLoop *known_loop;         /* borrowed: the last loop that was seen
                                          to be ours; its death clears it */
    int eager_naming;                  /* CA_EAGER_NAME_*, task/eager.h */
    bool native_tasks;                 /* loops make Tasks of ours */
    bool server_knows_clients;         /* Server._attach() takes a transport */
    bool socket_layout;                /* py/sockobj.c knows it */
    bool file_layout;                  /* py/fdowner.c knows it */
    bool context_sharing;            /* contexts look as py/context.c thinks */
} ca_state;

/* Interned strings; the text of each stands in module.c. */
enum {
    CA_STR_callback,
    CA_STR_context,
    CA_STR_delay,
    CA_STR_when,
    CA_STR_name,
    CA_STR_coro,
    CA_STR_run,
    CA_STR__run,
    CA_STR__cancelled,
    CA_STR_fileno,
    CA_STR_time,
    CA_STR_call_at,
    CA_STR__run_once,
    CA_STR__transports,
    CA_STR_data,
    CA_STR_Future,
    CA_STR_Task,
    CA_STR__callback_failed,
    CA_STR__callback_slow,
    CA_STR__check_callback,
    CA_STR__run_forever_setup,
    CA_STR__run_forever_cleanup,
    CA_STR__set_coroutine_origin_tracking,
    CA_STR__repr_info,
    CA_STR_call_soon,
    CA_STR_call_later,
    CA_STR_call_soon_threadsafe,
    CA_STR_create_task,
    CA_STR__ensure_fd_no_transport,
    CA_STR_fd,
    CA_STR_loop,
    CA_STR_add_reader,
    CA_STR_add_writer,
    CA_STR__add_reader,
    CA_STR__add_writer,
    CA_STR_remove_reader,
    CA_STR_remove_writer,
    CA_STR__remove_reader,
    CA_STR__remove_writer,
    CA_STR_enabled,
    CA_STR_set_debug,
    CA_STR_throw,
    CA_STR_cancel,
    CA_STR_result,
    CA_STR_get_loop,
    CA_STR__loop,
    CA_STR__asyncio_future_blocking,
    CA_STR_add_done_callback,
    CA_STR_close,
    CA_STR_is_running,
    CA_STR_send,
    CA_STR_is_closing,
    CA_STR__read_eof,
    CA_STR__read_failed,
    CA_STR__read_ready,
    CA_STR__write_ready,
    CA_STR__log_eof,
    CA_STR__log_pause,
    CA_STR__log_resume,
    CA_STR__log_lost,
    CA_STR__flow_failed,
    CA_STR__fatal_error,
    CA_STR_eof_received,
    CA_STR_data_received,
    CA_STR_get_buffer,
    CA_STR_buffer_updated,
    CA_STR_pause_writing,
    CA_STR_resume_writing,
    CA_STR_set_result,
    CA_STR_connection_made,
    CA_STR_connection_lost,
    CA_STR__call_connection_lost,
    CA_STR__force_close,
    CA_STR__attach,
    CA_STR__detach,
    CA_STR__fail_empty_waiter,
    CA_STR__start,
    CA_STR_cancelled,
    CA_STR__make_sock,
    CA_STR__dropped,
    CA_STR__accepted,
    CA_STR__accept_failed,
    CA_STR__connection_failed,
    CA_STR__make_socket_transport,
    CA_STR__start_serving,
    CA_STR_feed_data,
    CA_STR__stream_reader_wr,
    CA_STR__eof,
    CA_STR__buffer,
    CA_STR__waiter,
    CA_STR__limit,
    CA_STR__transport,
    CA_STR__paused,
    CA_STR_pause_reading,
    CA_STR_set_protocol,
    CA_STR_protocol,
    CA_STR_write,
    CA_STR_writelines,
    CA_STR_list_of_data,
    CA_STR_addr,
    CA_STR_datagram_received,
    CA_STR_sendto,
    CA_STR__error_received,
    CA_STR_create_future,
    CA_STR__log_closed,
    CA_STR__maybe_pause_protocol,
    CA_STR__maybe_resume_protocol,
    CA_STR_read,
    CA_STR_pending,
    CA_STR_resume_reading,
    CA_STR__do_handshake,
    CA_STR__do_flush,
    CA_STR__do_shutdown,
    CA_STR__read_later,
    CA_STR__call_eof_received,
    CA_STR__start_shutdown,
    CA_STR_COUNT,
};

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
