/* errors.h - the door between -errno and Python exceptions, and small helpers
 * for the exception that is on its way. */
#ifndef CA_PY_ERRORS_H
#define CA_PY_ERRORS_H

#include "py/compat.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

/* Raise what `err` (-errno) stands for: OSError or MemoryError.  Returns
 * NULL. */
PyObject *ca_raise_errno(int err);

/* What a system call on a descriptor returned (-errno or a count) says that
 * there is nothing to do yet: ask again when the descriptor is ready. */
static inline bool
ca_errno_is_try_later(ssize_t err)
{
    return err == -EAGAIN || err == -EWOULDBLOCK || err == -EINTR;
}

/* The exception that is set must leave the loop: SystemExit or
 * KeyboardInterrupt, as in asyncio's Handle._run(). */
bool ca_error_leaves_loop(void);

/* Take the exception that is set: strong, never NULL.  Short of memory the
 * interpreter may lose the one with which a frame has ended, and say only that
 * there was one: that is a MemoryError. */
PyObject *ca_error_take(void);

/* Set `steal_exc` again after some clean-up ran; an exception of the clean-up
 * wins and gets the old one as its __context__.  May be called with NULL. */
void ca_error_restore(PyObject *steal_exc);

/* Call receiver.name(first, second[, third]) while `exc`, one of them, is
 * being handled, as by a call in an `except` block: sys.exc_info() and
 * logging.exception() show it, and what is raised gets it as its __context__.
 * 0 or -1.  May run Python. */
int ca_error_tell(PyObject *exc, PyObject *receiver, PyObject *name,
                  PyObject *first, PyObject *second, PyObject *third);

#endif
