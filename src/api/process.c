/* process.c - "Subprocesses": what casyncio/_children.py starts them with. */
#include "api/api.h"

#include "base/spawn.h"

#include <string.h>

/* Strings for a system call. */
typedef struct {
    PyObject *owner;                   /* strong; a tuple of bytes */
    char **pointers;                   /* owned; into these, then NULL */
} ca_strings;

static void
release(ca_strings *strings)
{
    PyMem_Free(strings->pointers);
    Py_CLEAR(strings->owner);
}

/* A str as the file system has it, or bytes; NULL with an exception for what
 * is anything else, or has zeros in it. */
static PyObject *
encode(PyObject *text)
{
    if (!PyUnicode_CheckExact(text) && !PyBytes_CheckExact(text)) {
        PyErr_SetNone(PyExc_TypeError);
        return NULL;
    }
    PyObject *bytes = PyUnicode_CheckExact(text)
                          ? PyUnicode_EncodeFSDefault(text)
                          : Py_NewRef(text);
    if (bytes != NULL &&
        strlen(PyBytes_AS_STRING(bytes)) != (size_t)PyBytes_GET_SIZE(bytes)) {
        PyErr_SetNone(PyExc_ValueError);
        Py_CLEAR(bytes);
    }
    return bytes;
}

/* Fill in from a tuple, if it is one; 0 or -1.  To be released after both. */
static int
strings_from(PyObject *tuple, ca_strings *strings)
{
    *strings = (ca_strings){0};
    if (!PyTuple_CheckExact(tuple)) {
        PyErr_SetNone(PyExc_TypeError);
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    strings->owner = PyTuple_New(count);
    strings->pointers = PyMem_New(char *, (size_t)count + 1);
    if (strings->owner == NULL || strings->pointers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *bytes = encode(PyTuple_GET_ITEM(tuple, i));
        if (bytes == NULL) {
            return -1;
        }
        PyTuple_SET_ITEM(strings->owner, i, bytes);
        strings->pointers[i] = PyBytes_AS_STRING(bytes);
    }
    strings->pointers[count] = NULL;
    return 0;
}

/* None of them stands where another is to go: some of this process's own are
 * closed then. */
static bool
is_free(const int *streams)
{
    for (int i = 0; i < 3; i++) {
        if (streams[i] >= 0 && streams[i] < 3) {
            return false;
        }
    }
    return true;
}

PyDoc_STRVAR(_spawn_doc,
"_spawn($self, paths, argv, stdin, stdout, stderr, /)\n--\n\n"
"Run the first of these programs that is there; return the child's pid.\n\n"
"A descriptor is -1 for that of this process, or above 2.  Others are\n"
"closed in the child.  None: it did not work, and subprocess can say why.\n\n"
"Threads: any.\n"
"Source: subprocess.Popen.");

static PyObject *
loop_py__spawn(PyObject *Py_UNUSED(op), PyObject *args)
{
    PyObject *paths, *argv;
    int streams[3];
    if (!PyArg_ParseTuple(args, "OOiii:_spawn", &paths, &argv, &streams[0],
                          &streams[1], &streams[2])) {
        return NULL;
    }
    ca_strings programs = {0}, words = {0};
    pid_t pid = -1;
    if (is_free(streams) && strings_from(paths, &programs) == 0 &&
        strings_from(argv, &words) == 0) {
        ca_spawn spawn = {
            .paths = programs.pointers,
            .argv = words.pointers,
            .streams = {streams[0], streams[1], streams[2]},
        };
        pid = ca_spawn_run(&spawn);
    }
    release(&programs);
    release(&words);
    PyErr_Clear();
    return pid < 0 ? Py_NewRef(Py_None) : PyLong_FromLong((long)pid);
}

PyMethodDef ca_process_methods[] = {
    {"_spawn", loop_py__spawn, METH_VARARGS, _spawn_doc},
    {0},
};
