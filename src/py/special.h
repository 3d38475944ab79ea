/* special.h - `async with` on an object in C, without an object per step.
 *
 * Up to 3.13 the interpreter binds __aenter__ and __aexit__ before it calls
 * them, and binding a method of C makes an object that is most of what
 * entering a lock costs.  A class that adopts its methods (adopt.h) gets
 * descriptors of ours for these two: what they bind to is kept for the next
 * when it dies.  Both are nothing but a faster way: asked for anything else
 * than a call they hand on to the interpreter's own method, whose class they
 * also say they are of.
 */
#ifndef CA_PY_SPECIAL_H
#define CA_PY_SPECIAL_H

#include "py/compat.h"
#include "py/state.h"

enum { CA_FREELIST_BOUND = 64 };

extern PyType_Spec ca_special_spec;
extern PyType_Spec ca_bound_spec;

/* A descriptor that stands for `method`, a method_descriptor: new reference.
 * One that cannot be bound by us, or need not be, is returned itself. */
PyObject *ca_special_new(ca_state *st, PyObject *method);

#endif
