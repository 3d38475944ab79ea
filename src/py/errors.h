/* errors.h - the door between -errno and Python exceptions, and small helpers
 * for the exception that is on its way. */
#ifndef CA_PY_ERRORS_H
#define CA_PY_ERRORS_H

#include "py/compat.h"

#include <stdbool.h>

/* Raise what `err` (-errno) stands for: OSError or MemoryError.  Returns
 * NULL. */
PyObject *ca_raise_errno(int err);

/* The exception that is set must leave the loop: SystemExit or
 * KeyboardInterrupt, as in asyncio's Handle._run(). */
bool ca_error_leaves_loop(void);

/* Set `steal_exc` again after some clean-up ran; an exception of the clean-up
 * wins and gets the old one as its __context__.  May be called with NULL. */
void ca_error_restore(PyObject *steal_exc);

#endif
