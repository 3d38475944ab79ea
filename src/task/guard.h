/* guard.h - may our Future and Task use the base's struct?
 *
 * Sizes are compared when the types are made; casyncio/_guard.py then builds
 * stock objects with known values and compares what the mirror shows of them.
 */
#ifndef CA_TASK_GUARD_H
#define CA_TASK_GUARD_H

#include "py/state.h"

/* Whether the base types are as large as the mirror thinks. */
bool ca_guard_sizes_fit(const ca_state *st);

/* A dict of what the mirror shows of a stock Future or Task: addresses of
 * objects as int (0: NULL), flags as int.  TypeError for anything else. */
PyObject *ca_guard_fields(const ca_state *st, PyObject *op);

#endif
