/* imports.h - the classes, functions and modules of others that we use. */
#ifndef CA_MODULE_IMPORTS_H
#define CA_MODULE_IMPORTS_H

#include "py/state.h"

/* Import them all into the state: 0 or -1. */
int ca_imports_init(ca_state *st);

int ca_imports_visit(ca_state *st, visitproc visit, void *arg);
void ca_imports_clear(ca_state *st);

#endif
