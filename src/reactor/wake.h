/* wake.h - an eventfd that ends a wait from outside.
 *
 * `pending` lets many callers share one write.  Who signals leaves its message
 * first; who drains looks for messages afterwards, and before it waits again.
 * Then none is lost: see wake.c.
 */
#ifndef CA_REACTOR_WAKE_H
#define CA_REACTOR_WAKE_H

#include "backend/backend.h"

#include <stdatomic.h>

typedef struct {
    int fd;                            /* owned eventfd; -1: closed */
    ca_op op;                          /* its POLL_IN */
    atomic_bool pending;
} ca_wake;

/* 0 or -errno. */
int ca_wake_open(ca_wake *wake);
void ca_wake_close(ca_wake *wake);

/* In a forked child: an eventfd of our own under the same number (the old one
 * is the parent's too), already signalled, because a signal may have gone to
 * the old one.  0 or -errno, and then nothing has changed. */
int ca_wake_renew(ca_wake *wake);

/* Any thread, also a signal handler; errno is left as it was. */
void ca_wake_signal(ca_wake *wake);

/* Use up what was signalled. Loop's thread. */
void ca_wake_drain(ca_wake *wake);

#endif
