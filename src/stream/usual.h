/* usual.h - whether an object's methods are the ones that its class has here.
 *
 * What one method of stock's streams does by calling another one, native code
 * does directly, as long as nobody can tell the difference: the class of the
 * object inherits those methods from us (it is asked again when its version
 * tag is another one than before), and the instance hides none of them (seen
 * by its tp_setattro).  Else stock's own methods run, on the same fields.
 */
#ifndef CA_STREAM_USUAL_H
#define CA_STREAM_USUAL_H

#include "py/state.h"
#include "py/typetag.h"

#include <stdbool.h>

typedef enum {
    CA_USUAL_READER,
    CA_USUAL_PROTOCOL,
    CA_USUAL_WRITER,                   /* its fields only */
} ca_usual_kind;

typedef struct {
    ca_typetag asked_type;             /* the class, when it was asked */
    bool inherits;                     /* what it answered */
    bool hidden;                       /* by an attribute of the instance */
} ca_usual;

/* Remember the methods of `native`, and those of `stock` that it has not; 0 or
 * -1. */
int ca_usual_learn(ca_state *st, ca_usual_kind kind, PyTypeObject *native,
                   PyObject *stock);

/* Ask the class. */
void ca_usual_ask(const ca_state *st, ca_usual_kind kind, ca_usual *self,
                  PyObject *op);

static inline bool
ca_usual_now(const ca_state *st, ca_usual_kind kind, ca_usual *self,
             PyObject *op)
{
    if (!ca_typetag_holds(self->asked_type, Py_TYPE(op))) {
        ca_usual_ask(st, kind, self, op);
    }
    return self->inherits && !self->hidden;
}

/* The attribute is about to be set or deleted: a method may be hidden from now
 * on. */
void ca_usual_note(const ca_state *st, ca_usual_kind kind, ca_usual *self,
                   PyObject *name);

#endif
