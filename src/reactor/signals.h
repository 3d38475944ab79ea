/* signals.h - signal numbers from C handlers into the loop, as bytes.
 *
 * A socketpair, because the interpreter writes one byte per signal into its
 * wakeup descriptor and an eventfd takes only 8-byte writes.  Both ends are
 * non-blocking and close-on-exec.
 */
#ifndef CA_REACTOR_SIGNALS_H
#define CA_REACTOR_SIGNALS_H

#include <stddef.h>

typedef struct {
    int read_fd;                       /* owned; -1: closed */
    int write_fd;                      /* owned; given to the interpreter */
} ca_signals;

/* 0 or -errno. */
int ca_signals_open(ca_signals *signals);
void ca_signals_close(ca_signals *signals);

/* Read up to cap signal numbers; the count (0: nothing there) or -errno. */
int ca_signals_drain(ca_signals *signals, unsigned char *numbers, size_t cap);

#endif
