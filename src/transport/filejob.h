/* filejob.h - reading and writing files without a thread, where the kernel
 * interface below can (see ca_job), and what the page cache holds at once.
 */
#ifndef CA_TRANSPORT_FILEJOB_H
#define CA_TRANSPORT_FILEJOB_H

#include "loop/watcher.h"

/* A job of the reactor's for somebody who awaits `future`.  Its result is the
 * bytes that were read, the count of those written, or -errno as an int.
 * Waiting may be given up, the job is done all the same: the future is then
 * found cancelled, and what the kernel writes to is kept here. */
typedef struct {
    PyObject_HEAD
    ca_watcher watcher;
    ca_reactor_job job;
    PyObject *future;                  /* strong */
    PyObject *bytes;                   /* strong: read into; NULL: no read */
    Py_buffer source;                  /* written from; obj NULL: no write */
} CaFileJob;

extern PyType_Spec ca_filejob_spec;

/* Begin to read up to `size` bytes, to write `data`, to sync.  The future,
 * new; None when it must be done in another way; NULL with an exception. */
PyObject *ca_filejob_read(CaLoop *loop, int fd, Py_ssize_t size,
                          int64_t offset);
PyObject *ca_filejob_write(CaLoop *loop, int fd, PyObject *data,
                           int64_t offset);
PyObject *ca_filejob_sync(CaLoop *loop, int fd, bool data_only);

/* What can be had of `size` bytes without waiting for a disk: new bytes,
 * empty at the end of the file; None when nothing can, or when this kind of
 * file cannot tell.  OSError else. */
PyObject *ca_file_read_cached(int fd, Py_ssize_t size, int64_t offset);

#endif
