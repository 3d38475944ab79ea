/* fdowner.c - see fdowner.h. */
#include "py/fdowner.h"

#include "py/sockobj.h"

#include <sys/eventfd.h>
#include <unistd.h>

/* How CPython's Modules/_io/fileio.c begins its object. */
typedef struct {
    PyObject_HEAD
    int fd;
} file_head;

/* Open a file on a known descriptor and look for that. */
static bool
layout_fits(PyObject *file_type)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    PyObject *file = fd < 0 ? NULL
                            : PyObject_CallFunction(file_type, "isi", fd, "rb",
                                                    0);
    const file_head *head = (const file_head *)file;
    bool fits = file != NULL && head->fd == fd;
    PyObject *done = file == NULL ? NULL
                                  : PyObject_CallMethod(file, "close", NULL);
    fits = fits && done != NULL && head->fd == -1;
    Py_XDECREF(done);
    Py_XDECREF(file);
    PyErr_Clear();
    if (fd >= 0) {
        (void)close(fd);               /* the file did not own it */
    }
    return fits;
}

/* io.FileIO, borrowed, if its number can be read without a call. */
static PyObject *
known_file_type_borrow(ca_state *st)
{
    if (st->FileIO == NULL) {
        PyObject *io = PyImport_ImportModule("io");
        st->FileIO = io == NULL ? NULL : PyObject_GetAttrString(io, "FileIO");
        Py_XDECREF(io);
        st->file_layout = st->FileIO != NULL && PyType_Check(st->FileIO) &&
                          ((PyTypeObject *)st->FileIO)->tp_basicsize >=
                              (Py_ssize_t)sizeof(file_head) &&
                          layout_fits(st->FileIO);
        PyErr_Clear();
    }
    return st->file_layout ? st->FileIO : NULL;
}

/* What `op` wraps when its type is exactly io.`type`; else NULL. */
static PyObject *
unwrap(PyObject *op, const char *type, const char *attribute)
{
    PyObject *io = PyImport_ImportModule("io");
    PyObject *found = io == NULL ? NULL : PyObject_GetAttrString(io, type);
    PyObject *inner = found == (PyObject *)Py_TYPE(op)
                          ? PyObject_GetAttrString(op, attribute)
                          : NULL;
    Py_XDECREF(io);
    Py_XDECREF(found);
    PyErr_Clear();
    return inner;
}

ca_fdowner
ca_fdowner_find(ca_state *st, PyObject *fileobj)
{
    static const char *const wrappers[][2] = {
        {"TextIOWrapper", "buffer"},   /* outermost first */
        {"BufferedReader", "raw"},
        {"BufferedWriter", "raw"},
        {"BufferedRandom", "raw"},
    };
    if (ca_sockobj_check(st, fileobj)) {
        return (ca_fdowner){Py_NewRef(fileobj), CA_FDOWNER_SOCKET};
    }
    PyObject *file_type = known_file_type_borrow(st);
    PyObject *op = Py_NewRef(fileobj);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(wrappers); i++) {
        PyObject *inner = unwrap(op, wrappers[i][0], wrappers[i][1]);
        if (inner != NULL) {
            Py_SETREF(op, inner);
        }
    }
    if ((PyObject *)Py_TYPE(op) == file_type) {
        return (ca_fdowner){op, CA_FDOWNER_FILE};
    }
    Py_DECREF(op);
    return (ca_fdowner){Py_NewRef(fileobj), CA_FDOWNER_OTHER};
}

int
ca_fdowner_fd(const ca_state *st, const ca_fdowner *owner)
{
    if (owner->op == NULL) {
        return -1;
    }
    if (owner->kind == CA_FDOWNER_FILE) {
        return ((const file_head *)owner->op)->fd;
    }
    if (owner->kind == CA_FDOWNER_SOCKET) {
        return ca_sockobj_fd(st, owner->op);
    }
    PyObject *op = Py_NewRef(owner->op);
    PyObject *number = PyObject_CallMethodNoArgs(op, st->names[CA_STR_fileno]);
    int fd = number == NULL ? -1 : PyLong_AsInt(number);
    Py_XDECREF(number);
    Py_DECREF(op);
    PyErr_Clear();
    return fd;
}
