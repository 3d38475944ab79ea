/* types.h - the birth of the types. */
#ifndef CA_MODULE_TYPES_H
#define CA_MODULE_TYPES_H

#include "py/state.h"

/* Make all types, into the state and the module: 0 or -1.  Those whose base
 * is not as we think stay NULL. */
int ca_types_init(PyObject *module, ca_state *st);

#endif
