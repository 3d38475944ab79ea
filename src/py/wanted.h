/* wanted.h - what a room uses of other modules: rows of a table. */
#ifndef CA_PY_WANTED_H
#define CA_PY_WANTED_H

#include "py/state.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    size_t where;                      /* offset in ca_state of the field, a
                                          strong reference */
    const char *module;
    const char *name;                  /* NULL: the module itself */
    bool optional;                     /* the field stays NULL without it */
} ca_wanted;

/* Import them all: 0 or -1.  Rows of one module stand together, which then is
 * looked up once. */
int ca_wanted_import(ca_state *st, const ca_wanted *rows, int count);

int ca_wanted_visit(ca_state *st, const ca_wanted *rows, int count,
                    visitproc visit, void *arg);
void ca_wanted_clear(ca_state *st, const ca_wanted *rows, int count);

#endif
