/* held.h - bytes that a callback has written and that leave at its end.
 *
 * A transport may hold back what is written while a callback of the loop runs,
 * so that several writes leave in one system call.  It enters itself in
 * CaLoop.held, and whoever runs a callback flushes that list when the callback
 * is done, before anything else runs.  Outside of callbacks nothing may be
 * held back.
 */
#ifndef CA_LOOP_HELD_H
#define CA_LOOP_HELD_H

#include "loop/loop.h"

/* A transport's place in the list. */
typedef struct ca_held {
    ca_dnode node;                     /* in loop->held, or alone */
    /* Take it off the list and send.  0, or -1 with the exception that must
     * leave the loop.  May run Python, and end the transport. */
    int (*flush)(struct ca_held *held);
} ca_held;

/* A callback begins; returns whether one was running already. */
static inline bool
ca_held_enter(CaLoop *loop)
{
    bool outside = loop->in_callback;
    loop->in_callback = true;
    loop->callback_serial++;
    return outside;
}

/* Flush, keeping the exception that is set when `result` is -1. */
int ca_held_flush(CaLoop *loop, int result);

/* It is done with `result` (0, or -1 with an exception), which is returned
 * unless flushing fails.  `outside` comes from ca_held_enter(). */
static inline int
ca_held_leave(CaLoop *loop, bool outside, int result)
{
    loop->in_callback = outside;
    return ca_dlist_empty(&loop->held) ? result : ca_held_flush(loop, result);
}

#endif
