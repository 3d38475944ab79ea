/* sockwatch.h - watching a socket for one receiving call after another.
 *
 * A call that waits for bytes has a watch; when it is done, the watch may
 * stay armed for the next call on the same socket object, which saves both of
 * them a system call.  Such an idle watch is nobody's business: the loop shows
 * none, anybody takes the descriptor over, and it is dropped as soon as it is
 * told that the descriptor is ready.
 *
 * It serves the very object for which it was made, as long as that has the
 * descriptor for which it was made: a weak reference and the number tell.
 */
#ifndef CA_TRANSPORT_SOCKWATCH_H
#define CA_TRANSPORT_SOCKWATCH_H

#include "loop/watcher.h"

struct CaSockCall;

typedef struct {
    PyObject_HEAD
    ca_watcher watcher;
    PyObject *sock_ref;              /* strong: weak reference to the socket */
    struct CaSockCall *waiting;        /* strong; NULL: idle */
    int fd;
    bool drained;                   /* the last call has taken all there was */
} CaSockWatch;

extern PyType_Spec ca_sockwatch_spec;

/* The idle watch of that socket on its descriptor knows that there is nothing
 * to be had without waiting. */
bool ca_sockwatch_is_drained(const CaLoop *loop, PyObject *sock, int fd);

/* Wait for bytes on behalf of `call`, replacing whoever watches.  A new
 * reference or NULL. */
CaSockWatch *ca_sockwatch_begin(CaLoop *loop, PyObject *sock, int fd,
                                struct CaSockCall *call);

/* `call` waits no more; with `keep` the watch stays armed, unless it is
 * another's meanwhile.  May run Python (destructors). */
void ca_sockwatch_end(CaLoop *loop, CaSockWatch *watch,
                      const struct CaSockCall *call, bool keep);

#endif
