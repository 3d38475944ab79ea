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

/* Whether a transport's writes come in groups, which is learnt. */
typedef struct {
    uint32_t sent_serial;              /* the callback that sent last */
    uint8_t lonely;                    /* flushes in a row with one chunk */
    bool on;                           /* they do: hold back */
} ca_gathering;

enum { CA_LONELY_LIMIT = 8 };

static inline void
ca_gathering_init(ca_gathering *self, const CaLoop *loop)
{
    *self = (ca_gathering){.sent_serial = loop->callback_serial - 1};
}

/* Something was sent at once. */
static inline void
ca_gathering_note_send(ca_gathering *self, const CaLoop *loop)
{
    self->sent_serial = loop->callback_serial;
}

/* Something is to be written; whether that shows that writes come in groups,
 * which was not known. */
static inline bool
ca_gathering_note_write(ca_gathering *self, const CaLoop *loop)
{
    bool shows = !self->on && self->sent_serial == loop->callback_serial;
    self->on |= shows;
    return shows;
}

/* What was held back, so many chunks, is about to leave. */
static inline void
ca_gathering_note_flush(ca_gathering *self, uint32_t chunks)
{
    self->lonely = chunks > 1 ? 0 : self->lonely + 1;
    if (self->lonely >= CA_LONELY_LIMIT) {
        self->on = false;
        self->lonely = 0;
    }
}

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
