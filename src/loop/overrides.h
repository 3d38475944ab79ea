/* overrides.h - methods that users replaced, folded into one word.
 *
 * Hot code that stands for `self.time()` or `self.call_at()` tests a bit of
 * CaLoop.overrides instead of looking the attribute up.  The type is asked
 * again when its version tag is not the one that was asked, which tells of any
 * change to it and of another class; the instance is watched through its
 * tp_setattro, never through its __dict__, for asking for that would cost
 * every method call on the loop its fast path in the interpreter.
 */
#ifndef CA_LOOP_OVERRIDES_H
#define CA_LOOP_OVERRIDES_H

#include "loop/loop.h"

/* Remember the native methods to compare with; once, when the type exists. */
int ca_overrides_init(ca_state *st);

/* Ask the type again; 0 or -1. */
int ca_overrides_update(CaLoop *self);

/* The bits in force; the type is asked again if it has changed. */
static inline uint32_t
ca_overrides_now(CaLoop *self)
{
    if (!ca_typetag_holds(self->asked_type, Py_TYPE(self)) &&
        ca_overrides_update(self) < 0) {
        PyErr_Clear();                /* a metaclass that refuses: as before */
    }
    return self->overrides;
}

/* tp_setattro of Loop. */
int ca_overrides_setattro(PyObject *op, PyObject *name, PyObject *value);

#endif
