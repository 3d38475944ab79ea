/* flag.h - attributes that are a bool field of the object.
 *
 * As an attribute of stock's objects they take anything; what counts is its
 * truth.  The closure of a PyGetSetDef is the field's offset.
 */
#ifndef CA_PY_FLAG_H
#define CA_PY_FLAG_H

#include "py/compat.h"

#include <stddef.h>

PyObject *ca_flag_get(PyObject *op, void *closure);

/* Deleted, it is false. */
int ca_flag_set(PyObject *op, PyObject *value, void *closure);

#endif
