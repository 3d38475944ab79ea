/* claims.c - see claims.h. */
#include "loop/claims.h"

#include <stdlib.h>
#include <string.h>

/* From so many on it grows by a quarter, as the table of the backend. */
enum { FIRST_CLAIMS = 64, MANY_CLAIMS = 4096 };

static int
grow(CaLoop *loop, int fd)
{
    size_t cap = loop->claims_cap == 0 ? FIRST_CLAIMS : loop->claims_cap;
    while (cap <= (size_t)fd) {
        cap += cap < MANY_CLAIMS ? cap : cap / 4;
    }
    PyObject **claims = realloc(loop->claims, cap * sizeof(*claims));
    if (claims == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(claims + loop->claims_cap, 0,
           (cap - loop->claims_cap) * sizeof(*claims));
    loop->claims = claims;
    loop->claims_cap = cap;
    return 0;
}

int
ca_claims_set(CaLoop *loop, int fd, PyObject *op)
{
    if ((size_t)fd >= loop->claims_cap && grow(loop, fd) < 0) {
        return -1;
    }
    loop->claims[fd] = op;
    return 0;
}

void
ca_claims_drop(CaLoop *loop, int fd, PyObject *op)
{
    if (ca_claims_get_borrow(loop, fd) == op) {
        loop->claims[fd] = NULL;
    }
}
