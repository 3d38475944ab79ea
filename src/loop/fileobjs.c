/* fileobjs.c - see fileobjs.h: a dict of number -> object. */
#include "loop/fileobjs.h"

int
ca_fileobjs_remember(CaLoop *self, int fd, PyObject *fileobj)
{
    if (PyLong_Check(fileobj)) {
        return 0;
    }
    if (self->fileobjs == NULL) {
        self->fileobjs = PyDict_New();
    }
    PyObject *key = PyLong_FromLong(fd);
    int result = self->fileobjs == NULL || key == NULL
                     ? -1
                     : PyDict_SetItem(self->fileobjs, key, fileobj);
    Py_XDECREF(key);
    return result;
}

void
ca_fileobjs_forget(CaLoop *self, int fd)
{
    if (self->fileobjs == NULL || PyDict_GET_SIZE(self->fileobjs) == 0 ||
        ca_reactor_owner(&self->reactor, fd, CA_OP_POLL_IN) != NULL ||
        ca_reactor_owner(&self->reactor, fd, CA_OP_POLL_OUT) != NULL) {
        return;
    }
    PyObject *key = PyLong_FromLong(fd);
    if (key == NULL || PyDict_DelItem(self->fileobjs, key) < 0) {
        PyErr_Clear();                 /* given as a number: not there */
    }
    Py_XDECREF(key);
}

int
ca_fileobjs_find(CaLoop *self, PyObject *fileobj)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    while (self->fileobjs != NULL &&
           PyDict_Next(self->fileobjs, &at, &key, &value)) {
        if (value == fileobj) {
            return PyLong_AsInt(key);
        }
    }
    return -1;
}
