/* functions.h - the functions of the module. */
#ifndef CA_MODULE_FUNCTIONS_H
#define CA_MODULE_FUNCTIONS_H

#include "py/state.h"

extern PyMethodDef ca_module_functions[];

#endif
