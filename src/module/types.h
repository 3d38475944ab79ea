/* types.h - the birth of the types. */
#ifndef CA_MODULE_TYPES_H
#define CA_MODULE_TYPES_H

#include "py/state.h"

/* Make the types that every loop needs, into the state and the module: 0 or
 * -1.  Those whose base is not as we think stay NULL. */
int ca_types_init(PyObject *module, ca_state *st);

/* module.__getattr__(name): make those that go with that one. */
PyObject *ca_types_getattr(PyObject *module, PyObject *name);

#endif
