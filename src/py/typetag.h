/* typetag.h - whether a type is still what it was when it was asked.
 *
 * The interpreter gives each type a version tag when an attribute of it is
 * looked up, and another one after each change to it or its bases.  Who has
 * asked a type something keeps the tag with the answer: both hold for as long
 * as the tags are the same, which tells of another type, too.
 *
 * A type that has been changed very often gets no tag any more, which is 0: it
 * never is the one that was asked.
 */
#ifndef CA_PY_TYPETAG_H
#define CA_PY_TYPETAG_H

#include "py/compat.h"

#include <stdbool.h>

typedef unsigned int ca_typetag;       /* 0: nobody was asked */

/* That of a type now; look an attribute up before, or there may be none. */
static inline ca_typetag
ca_typetag_of(PyTypeObject *type)
{
    return type->tp_version_tag;
}

static inline bool
ca_typetag_holds(ca_typetag tag, PyTypeObject *type)
{
    return tag != 0 && tag == type->tp_version_tag;
}

#endif
