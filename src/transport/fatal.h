/* fatal.h - the end of a transport because of an exception. */
#ifndef CA_TRANSPORT_FATAL_H
#define CA_TRANSPORT_FATAL_H

#include "py/state.h"

/* Call transport._fatal_error(exc, message) with the exception that is set,
 * unless it must leave the loop: 0 or -1.  May run Python. */
int ca_fatal_tell(const ca_state *st, PyObject *transport,
                  const char *message);

#endif
