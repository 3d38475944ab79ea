/* object.h - the type slots of Loop, filled into its spec by api/type.c. */
#ifndef CA_LOOP_OBJECT_H
#define CA_LOOP_OBJECT_H

#include "py/compat.h"

PyObject *ca_loop_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int ca_loop_tp_traverse(PyObject *op, visitproc visit, void *arg);
int ca_loop_tp_clear(PyObject *op);
void ca_loop_tp_dealloc(PyObject *op);

#endif
