/* watch.h - who waits for which descriptor: the table behind add_reader.
 *
 * A watch is one record per descriptor number with an op and an owner for each
 * direction.  Records never move while they exist (the backend holds pointers
 * to their ops); one without owners is freed.
 * Invariant: owner[k] != NULL exactly when op[k] is armed.
 */
#ifndef CA_REACTOR_WATCH_H
#define CA_REACTOR_WATCH_H

#include "backend/backend.h"

#include <stddef.h>

typedef struct {
    ca_op op[2];                       /* indexed by ca_op_side() */
    void *owner[2];                    /* opaque; kept alive by the caller */
} ca_watch;

typedef struct {
    ca_watch **by_fd;                  /* owned, entries owned; NULL: none */
    size_t cap;
    size_t count;                      /* records that exist */
} ca_watch_table;

/* The record of fd, NULL when there is none. */
ca_watch *ca_watch_find(const ca_watch_table *table, int fd);

/* The record of fd, made when there is none; 0, -EBADF (negative, or beyond
 * the table and not an open descriptor) or -ENOMEM. */
int ca_watch_get(ca_watch_table *table, int fd, ca_watch **out);

/* Free the record of fd if it has no owner left.  Its ops are unarmed then,
 * so nobody points at it. */
void ca_watch_trim(ca_watch_table *table, int fd);

#endif
