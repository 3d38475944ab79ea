/* claims.h - which transport a descriptor belongs to.
 *
 * A transport claims its descriptor from birth to close, also while it is not
 * watched; add_reader() and the like refuse a claimed one, as stock's do.
 */
#ifndef CA_LOOP_CLAIMS_H
#define CA_LOOP_CLAIMS_H

#include "loop/loop.h"

/* `op` has fd from now on; it gives it back before it dies.  0 or -1. */
int ca_claims_set(CaLoop *loop, int fd, PyObject *op);

/* `op` does not have fd any more; harmless when it is another's. */
void ca_claims_drop(CaLoop *loop, int fd, PyObject *op);

static inline PyObject *
ca_claims_get_borrow(const CaLoop *loop, int fd)
{
    return fd >= 0 && (size_t)fd < loop->claims_cap ? loop->claims[fd] : NULL;
}

/* Whether no transport has fd, nor is any of stock's in the table: nothing is
 * left to be asked.  False when the table is not the one that we have made.
 * The caller has asked ca_overrides_now() before: CA_OVERRIDE_TRANSPORTS. */
static inline bool
ca_claims_surely_free(const CaLoop *loop, int fd)
{
    return ca_claims_get_borrow(loop, fd) == NULL &&
           loop->own_table_dict != NULL &&
           loop->transports == loop->own_table &&
           PyDict_GET_SIZE(loop->own_table_dict) == 0;
}

#endif
