/* fileobjs.h - the file objects that were given instead of a number.
 *
 * As stock's selector does, the loop keeps the object behind a watched
 * descriptor: it stays alive while it is watched, and can be unwatched after
 * it was closed and has no number any more.
 */
#ifndef CA_LOOP_FILEOBJS_H
#define CA_LOOP_FILEOBJS_H

#include "loop/loop.h"

/* Keep the object; 0 or -1. */
int ca_fileobjs_remember(CaLoop *self, int fd, PyObject *fileobj);

/* Let go of it when its descriptor is not watched any more. May run Python. */
void ca_fileobjs_forget(CaLoop *self, int fd);

/* The number under which this very object is watched; -1 when it is not. */
int ca_fileobjs_find(CaLoop *self, PyObject *fileobj);

#endif
