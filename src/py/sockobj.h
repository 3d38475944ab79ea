/* sockobj.h - the descriptor inside a socket.socket.
 *
 * Whoever works on the descriptor of somebody's socket object must notice that
 * the object was closed or detached, before the number is another file's.  The
 * object is asked before every system call: by a look into its struct, whose
 * layout is tried out at import, or else by calling fileno().
 */
#ifndef CA_PY_SOCKOBJ_H
#define CA_PY_SOCKOBJ_H

#include "py/state.h"

#include <stdbool.h>

/* Find out whether the struct looks as we think, and remember what is needed;
 * 0 or -1. */
int ca_sockobj_init(ca_state *st);

/* A socket.socket or of a subclass of it that does not replace fileno(). */
bool ca_sockobj_check(const ca_state *st, PyObject *op);

/* A socket.socket itself, whose methods are those that the class was born
 * with: nobody can tell whether they are called.  False as well when the
 * struct does not look as we think. */
bool ca_sockobj_is_plain(ca_state *st, PyObject *op);

/* What a plain one says of itself. */
typedef struct {
    int fd;                            /* -1: closed */
    int family;
    int type;
    int proto;
    bool blocks;                       /* its timeout is not zero */
} ca_socket_traits;

ca_socket_traits ca_sockobj_traits(PyObject *plain_sock);

/* The descriptor of such an object; -1 when it is closed. */
int ca_sockobj_fd(const ca_state *st, PyObject *sock);

/* Count one more user of a plain one, as makefile() does: a close() meanwhile
 * takes effect when the last user has let go.  false: it cannot be counted. */
bool ca_sockobj_hold(const ca_state *st, PyObject *plain_sock);

/* Take one such hold back.  May run Python (a close() that has waited). */
void ca_sockobj_release(const ca_state *st, PyObject *plain_sock);

#endif
