/* files.c - what casyncio/_files.py builds asynchronous files on. */
#include "api/api.h"

#include "transport/filejob.h"

#include <limits.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* The descriptor, a number that is not negative, and an offset; 0 or -1. */
static int
three_numbers(PyObject *const *args, int *fd, Py_ssize_t *size,
              int64_t *offset)
{
    long number = PyLong_AsLong(args[0]);
    *fd = number < 0 || number > INT_MAX ? -1 : (int)number;
    *size = PyErr_Occurred() ? -1 : PyLong_AsSsize_t(args[1]);
    *offset = PyErr_Occurred() ? -1 : PyLong_AsLongLong(args[2]);
    if (PyErr_Occurred()) {
        return -1;
    }
    if (*size < 0 || *offset < 0) {
        PyErr_SetString(PyExc_ValueError, "size and offset must not be "
                                          "negative");
        return -1;
    }
    return 0;
}

static bool
has_three(const char *name, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_Format(PyExc_TypeError, "%s() takes 3 arguments (%zd given)",
                     name, nargs);
    }
    return nargs == 3;
}

PyDoc_STRVAR(_file_cached_doc,
"_file_cached($self, fd, size, offset, /)\n--\n\n"
"Read what can be had of size bytes without waiting for a disk.\n\n"
"The result is bytes, empty at the end of the file; None when nothing can be\n"
"had, or when this kind of file cannot tell.\n\n"
"Errors: OSError.");

static PyObject *
loop_py__file_cached(PyObject *Py_UNUSED(op), PyObject *const *args,
                     Py_ssize_t nargs)
{
    int fd;
    Py_ssize_t size;
    int64_t offset;
    if (!has_three("_file_cached", nargs) ||
        three_numbers(args, &fd, &size, &offset) < 0) {
        return NULL;
    }
    return ca_file_read_cached(fd, size, offset);
}

PyDoc_STRVAR(_file_read_doc,
"_file_read($self, fd, size, offset, /)\n--\n\n"
"Begin to read up to size bytes; a future for them, or for -errno.\n\n"
"None: this loop's backend cannot, use a thread.  The descriptor stays open\n"
"until the future is done, also when nobody waits any more.\n\n"
"Threads: the loop's own.");

static PyObject *
loop_py__file_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    Py_ssize_t size;
    int64_t offset;
    if (!has_three("_file_read", nargs) ||
        three_numbers(args, &fd, &size, &offset) < 0) {
        return NULL;
    }
    return ca_filejob_read((CaLoop *)op, fd, size, offset);
}

PyDoc_STRVAR(_file_write_doc,
"_file_write($self, fd, data, offset, /)\n--\n\n"
"Begin to write; a future for the number of bytes, or for -errno.\n\n"
"Everything else as in _file_read().");

static PyObject *
loop_py__file_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    int fd;
    Py_ssize_t zero;
    int64_t offset;
    if (!has_three("_file_write", nargs)) {
        return NULL;
    }
    PyObject *none = PyLong_FromLong(0);
    PyObject *const numbers[3] = {args[0], none, args[2]};
    int err = none == NULL ? -1 : three_numbers(numbers, &fd, &zero, &offset);
    Py_XDECREF(none);
    return err < 0 ? NULL
                   : ca_filejob_write((CaLoop *)op, fd, args[1], offset);
}

PyDoc_STRVAR(_file_sync_doc,
"_file_sync($self, fd, data_only, /)\n--\n\n"
"Begin to sync; a future for 0, or for -errno.\n\n"
"Everything else as in _file_read().");

static PyObject *
loop_py__file_sync(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 2) {
        PyErr_SetString(PyExc_TypeError, "_file_sync() takes 2 arguments");
        return NULL;
    }
    long fd = PyLong_AsLong(args[0]);
    int data_only = fd == -1 && PyErr_Occurred() ? -1
                                                 : PyObject_IsTrue(args[1]);
    if (data_only < 0) {
        return NULL;
    }
    return ca_filejob_sync((CaLoop *)op, fd < 0 || fd > INT_MAX ? -1 : (int)fd,
                           data_only != 0);
}

PyMethodDef ca_file_methods[] = {
    {"_file_cached", FASTCALL(loop_py__file_cached), METH_FASTCALL,
     _file_cached_doc},
    {"_file_read", FASTCALL(loop_py__file_read), METH_FASTCALL,
     _file_read_doc},
    {"_file_write", FASTCALL(loop_py__file_write), METH_FASTCALL,
     _file_write_doc},
    {"_file_sync", FASTCALL(loop_py__file_sync), METH_FASTCALL,
     _file_sync_doc},
    {0},
};
