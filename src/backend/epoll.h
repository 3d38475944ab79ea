/* epoll.h - what a row that stands on the row "epoll" may know of it. */
#ifndef CA_BACKEND_EPOLL_H
#define CA_BACKEND_EPOLL_H

#include "backend/backend.h"

#include <stdint.h>

/* The descriptor of the epoll set of `be`, which is of that row: readable
 * while an event waits; -1: lost in a fork.  A set may be replaced by another
 * in reap() and after_fork(); its serial number tells them apart. */
int ca_epoll_set(const ca_backend *be, uint32_t *serial);

#endif
