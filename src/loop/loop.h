/* loop.h - struct CaLoop: the one struct that every room above may read.
 *
 * Everything belongs to the loop's thread, with the interpreter lock held.
 * Other threads come in through call_soon_threadsafe() only: they hold the
 * lock too, push into `ready` and wake the reactor if the loop is `waiting`.
 */
#ifndef CA_LOOP_LOOP_H
#define CA_LOOP_LOOP_H

#include "base/clock.h"
#include "base/ring.h"
#include "py/context.h"
#include "py/spare.h"
#include "py/state.h"
#include "py/typetag.h"
#include "reactor/reactor.h"
#include "reactor/signals.h"

#include <stdbool.h>
#include <stdint.h>

/* What a user may replace, in a subclass or on the instance, and our own code
 * calls on a hot path: one bit each, see overrides.c. */
enum {
    CA_OVERRIDE_TIME = 1u << 0,
    CA_OVERRIDE_CALL_AT = 1u << 1,
    CA_OVERRIDE_RUN_ONCE = 1u << 2,
    CA_OVERRIDE_CALL_SOON = 1u << 3,
    CA_OVERRIDE_HASH = 1u << 4,        /* the type's, see task/registry.h */
    CA_OVERRIDE_WATCHING = 1u << 5,    /* what stock's sock_*() call */
    CA_OVERRIDE_IS_RUNNING = 1u << 6,
    CA_OVERRIDE_CREATE_FUTURE = 1u << 7,
    CA_OVERRIDE_CREATE_TASK = 1u << 8,
    CA_OVERRIDE_CALL_LATER = 1u << 9,
    CA_OVERRIDE_TRANSPORTS = 1u << 10, /* the attribute `_transports` */
    CA_OVERRIDE_MAKE_TRANSPORT = 1u << 11, /* _make_socket_transport() */
};

/* How long ready callbacks may keep the loop from looking at its
 * descriptors. */
typedef struct {
    int turns;                       /* at most so many turns without a look */
    int64_t time_ns;                   /* and at most about so long */
    int turns_left;
    uint64_t looked_ticks;             /* ca_clock_ticks() at the last look */
} ca_poll_budget;

typedef struct CaLoop {
    PyObject_HEAD
    ca_state *st;                      /* borrowed: our type keeps it alive */
    ca_ring ready;                    /* words own a reference each, ready.h */
    ca_reactor reactor;                /* owners and timers own a reference */
    ca_signals signals;                /* made when first asked for */
    ca_context_cache contexts;
    ca_pace pace;
    ca_poll_budget budget;
    uint64_t turn_ticks;               /* ca_clock_ticks() of this turn */
    uint64_t pending_ticks;            /* at the last pending work */

    PyObject *current_task;            /* borrowed: its step is on the stack */
    bool current_published;            /* it is in asyncio's dict */

    PyObject *task_factory;            /* strong; None: stock's default */
    PyObject *current_handle;          /* strong; None; debug mode only */
    PyObject *slow_callback_s;         /* strong; slow_callback_duration */
    PyObject *debug_given;             /* strong or NULL; what set_debug() got
                                          if that is no bool */
    PyObject *fileobjs;               /* strong; dict fd -> object, see fd.c */

    ca_dnode held;                     /* transports that hold bytes back */
    uint32_t callback_serial;          /* of the callback that runs */
    size_t queued_before;              /* callbacks that were ready when the
                                          last look at descriptors was over */
    char *read_buffer;                /* owned; NULL until a transport reads */
    bool bulk;                         /* see ca_loop_note_received() */
    ca_spares spares;                  /* for received messages */
    char *tls_buffers;                 /* owned; see transport/tls.h */
    char *tls_spare;                   /* owned; for records, or NULL */
    size_t tls_spare_cap;
    void *datagram_slots;              /* owned; see datagram_read.c */
    PyObject **claims;                 /* owned array, entries borrowed: by
                                          descriptor, see claims.h */
    size_t claims_cap;
    PyObject *transports;              /* strong or NULL; what `_transports`
                                          is: anything */
    PyObject *own_table;               /* strong or NULL; the one we made */
    PyObject *own_table_dict;          /* strong or NULL; where it keeps
                                          stock's transports */

    unsigned long thread_id;          /* runs in this thread; 0: not running */
    uint32_t overrides;                /* CA_OVERRIDE_* bits in force */
    uint32_t instance_overrides;       /* those set on the instance */
    ca_typetag asked_type;             /* the type, when it was asked */
    bool closed;                       /* also true before _open() */
    bool stopping;
    bool debug;
    bool waiting;                      /* in a wait that may block: wake it */
    bool in_callback;                  /* one runs: bytes may be held back */
    bool must_poll;                    /* the next turn looks, whatever else */
    bool polled;                       /* this turn has looked */
} CaLoop;

enum {
    CA_READ_BUFFER_SIZE = 256 * 1024,
    CA_BULK_LEAST = 16 * 1024 + 1,     /* from here on, copying is dear */
};

/* Where received bytes go first, CA_READ_BUFFER_SIZE of them; good until any
 * Python runs.  NULL with an exception.  Owned by the loop. */
char *ca_loop_read_buffer(CaLoop *self);

/* So many bytes have come.  Much is followed by much: the next receive should
 * take a bytes object of the whole size, and shrink it, which saves a copy.
 * Small messages are better off with an object of their own size. */
static inline void
ca_loop_note_received(CaLoop *self, Py_ssize_t nbytes)
{
    self->bulk = nbytes >= CA_BULK_LEAST;
}

/* Let malloc() keep memory for messages of that size. */
void ca_loop_teach_allocator(void);

/* Raise RuntimeError('Event loop is closed') if it is; 0 or -1. */
int ca_loop_check_open(const CaLoop *self);

/* Raise RuntimeError if the loop runs in another thread; 0 or -1. */
int ca_loop_check_thread(const CaLoop *self);

/* Seconds on the loop's clock, asking a replaced time() if there is one; -1.0
 * with an exception set on failure.  May run Python. */
double ca_loop_time_s(CaLoop *self);

/* Drop everything that waits to run, and close what we own.  May run Python
 * (destructors); the loop is already closed for it. */
void ca_loop_release(CaLoop *self);

#endif
