/* fd.c - "Watching file descriptors".
 *
 * The reactor keeps a reference to the Handle of each watch; loop/fileobjs.h
 * keeps the object that was given instead of a number.
 */
#include "api/api.h"

#include "loop/claims.h"
#include "loop/fileobjs.h"
#include "loop/handle.h"
#include "loop/overrides.h"
#include "loop/watcher.h"
#include "py/args.h"
#include "py/errors.h"

#include <limits.h>

#define FASTCALL(f) (PyCFunction)(void (*)(void))(f)

/* ---- descriptors ---- */

enum { FITS = 0, TOO_LARGE = 1 };

/* A Python int as a descriptor: FITS; TOO_LARGE for what no int of C holds; -1
 * with an exception, also for a negative one that does not fit. */
static int
fd_of_int(PyObject *as_int, int *number)
{
    int overflow;
    long value = PyLong_AsLongAndOverflow(as_int, &overflow);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow < 0 || value < INT_MIN) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", as_int);
        return -1;
    }
    if (overflow > 0 || value > INT_MAX) {
        return TOO_LARGE;
    }
    *number = (int)value;
    return FITS;
}

/* The number behind an int, or behind an object with fileno(), as fd_of_int();
 * -1 with the exceptions of stock's selectors module.  *number may be
 * negative. May run Python. */
static int
fd_of(CaLoop *self, PyObject *fileobj, int *number)
{
    if (PyLong_Check(fileobj)) {
        return fd_of_int(fileobj, number);
    }
    PyObject *as_int = NULL;
    PyObject *fileno = PyObject_CallMethodNoArgs(
        fileobj, self->st->names[CA_STR_fileno]);
    if (fileno != NULL) {
        as_int = PyNumber_Long(fileno);
        Py_DECREF(fileno);
    }
    if (as_int != NULL) {
        int result = fd_of_int(as_int, number);
        Py_DECREF(as_int);
        return result;
    }
    if (PyErr_ExceptionMatches(PyExc_AttributeError) ||
        PyErr_ExceptionMatches(PyExc_TypeError) ||
        PyErr_ExceptionMatches(PyExc_ValueError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "Invalid file object: %R", fileobj);
    }
    return -1;
}

static int
refuse_negative(int fd)
{
    if (fd < 0) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %d", fd);
        return -1;
    }
    return 0;
}

/* ---- watching ---- */

/* Start watching; returns the new Handle.  The one it replaces is cancelled,
 * as stock does it after the registration. */
static PyObject *
watch(CaLoop *self, ca_op_kind kind, const ca_call_args *a)
{
    int fd = -1;
    int found = ca_loop_check_open(self) < 0 ? -1 : fd_of(self, a->first, &fd);
    if (found == TOO_LARGE) {
        PyErr_SetString(PyExc_OverflowError,
                        "Python int too large to convert to C int");
    }
    if (found != FITS || refuse_negative(fd) < 0 ||
        ca_loop_check_open(self) < 0) {
        return NULL;                   /* fileno() may have closed the loop */
    }
    CaHandle *handle = ca_handle_new(self, a);
    if (handle == NULL) {
        return NULL;
    }
    if (ca_loop_check_open(self) < 0) {
        Py_DECREF(handle);           /* remembering its source has closed it */
        return NULL;
    }
    void *old = NULL;
    int err = ca_reactor_watch(&self->reactor, fd, kind, handle, &old);
    if (err < 0) {
        Py_DECREF(handle);
        return ca_raise_errno(err);
    }
    Py_INCREF(handle);                 /* the reactor's */
    int result = ca_fileobjs_remember(self, fd, a->first);
    result |= ca_owner_retire(old);
    if (result < 0) {
        Py_CLEAR(handle);
    }
    return (PyObject *)handle;
}

/* Stop watching; True when somebody was. */
static PyObject *
unwatch(CaLoop *self, ca_op_kind kind, PyObject *fileobj)
{
    int fd;
    if (self->closed) {
        Py_RETURN_FALSE;
    }
    int found = fd_of(self, fileobj, &fd);
    if (found == TOO_LARGE) {
        Py_RETURN_FALSE;
    }
    if (found < 0) {
        return NULL;
    }
    if (fd < 0) {
        int watched = ca_fileobjs_find(self, fileobj);
        if (watched < 0) {
            (void)refuse_negative(fd);
            return NULL;
        }
        fd = watched;
    }
    void *owner = ca_reactor_unwatch(&self->reactor, fd, kind);
    if (owner == NULL) {
        Py_RETURN_FALSE;
    }
    PyObject *watched = ca_owner_visible(owner) ? Py_True : Py_False;
    int result = ca_owner_retire(owner);
    ca_fileobjs_forget(self, fd);
    return result < 0 ? NULL : Py_NewRef(watched);
}

/* Refuse a descriptor that a transport of ours has claimed, unless that one is
 * closing; 0 or -1. */
static int
check_not_claimed(CaLoop *self, PyObject *fileobj, int fd)
{
    PyObject *transport = ca_claims_get_borrow(self, fd);
    if (transport == NULL) {
        return 0;
    }
    Py_INCREF(transport);
    PyObject *closing = PyObject_CallMethodNoArgs(
        transport, self->st->names[CA_STR_is_closing]);
    int free = closing == NULL ? -1 : PyObject_IsTrue(closing);
    Py_XDECREF(closing);
    if (free == 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "File descriptor %R is used by transport %R", fileobj,
                     transport);
    }
    Py_DECREF(transport);
    return free > 0 ? 0 : -1;
}

/* Stock's own check, which raises in its own words. */
static int
ask_stock_table(CaLoop *self, PyObject *fileobj)
{
    PyObject *done = ca_stock_call(
        self->st->StockSelectorLoop,
        self->st->names[CA_STR__ensure_fd_no_transport], (PyObject *)self,
        &fileobj, 1, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* 0 when no living transport uses the descriptor; else it raises, for one of
 * stock's transports, or of a table that is not ours, in stock's own words. */
static int
check_no_transport(CaLoop *self, PyObject *fileobj)
{
    int fd;
    int known = fd_of(self, fileobj, &fd);
    if (known != FITS) {
        return known == TOO_LARGE ? 0 : -1;
    }
    bool ours = (ca_overrides_now(self) & CA_OVERRIDE_TRANSPORTS) == 0;
    if (ours && ca_claims_surely_free(self, fd)) {
        return 0;
    }
    return check_not_claimed(self, fileobj, fd) < 0
               ? -1
               : ask_stock_table(self, fileobj);
}

/* ---- methods ---- */

PyDoc_STRVAR(add_reader_doc,
"add_reader($self, /, fd, callback, *args)\n--\n\n"
"Call callback(*args) in every turn in which `fd` is readable.\n\n"
"`fd` is a number or an object with fileno().  A callback that is there\n"
"already is replaced.  A number that was closed and opened anew meanwhile is\n"
"registered anew.\n\n"
"Errors: ValueError for no or a negative descriptor, OSError when the kernel\n"
"refuses (EPERM: a regular file), RuntimeError when the loop is closed or a\n"
"transport uses the descriptor.\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Watching file descriptors\".");

PyDoc_STRVAR(add_writer_doc,
"add_writer($self, /, fd, callback, *args)\n--\n\n"
"Call callback(*args) in every turn in which `fd` is writable.\n\n"
"Everything else as in add_reader().");

PyDoc_STRVAR(remove_reader_doc,
"remove_reader($self, /, fd)\n--\n\n"
"Stop watching `fd` for reading; return whether it was watched.\n\n"
"Errors: ValueError and RuntimeError as add_reader().\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Watching file descriptors\".");

PyDoc_STRVAR(remove_writer_doc,
"remove_writer($self, /, fd)\n--\n\n"
"Stop watching `fd` for writing; return whether it was watched.\n\n"
"Everything else as in remove_reader().");

PyDoc_STRVAR(_add_reader_doc,
"_add_reader($self, /, fd, callback, *args, context=None)\n--\n\n"
"As add_reader(), also for a transport's descriptor; returns the Handle.");

PyDoc_STRVAR(_add_writer_doc,
"_add_writer($self, /, fd, callback, *args, context=None)\n--\n\n"
"As add_writer(), also for a transport's descriptor; returns the Handle.");

PyDoc_STRVAR(_remove_reader_doc,
"_remove_reader($self, /, fd)\n--\n\n"
"As remove_reader(), also for a transport's descriptor.");

PyDoc_STRVAR(_remove_writer_doc,
"_remove_writer($self, /, fd)\n--\n\n"
"As remove_writer(), also for a transport's descriptor.");

/* The arguments of one call, and which method of stock's knows better. */
typedef struct {
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *kwnames;
    int stock_name;
} fd_call;

static PyObject *
stock_selector(CaLoop *self, const fd_call *call)
{
    return ca_stock_call(self->st->StockSelectorLoop,
                         self->st->names[call->stock_name], (PyObject *)self,
                         call->args, call->nargs, call->kwnames);
}

/* add_reader() and add_writer(): None; the private ones: the Handle. */
static PyObject *
add(CaLoop *self, const fd_call *call, ca_op_kind kind, bool public)
{
    ca_call_args a;
    if (!ca_args_bind(self->st, self->st->names[CA_STR_fd], call->args,
                      call->nargs, call->kwnames, &a) ||
        (public && a.context != NULL)) {
        return stock_selector(self, call);
    }
    if (public && check_no_transport(self, a.first) < 0) {
        return NULL;
    }
    PyObject *handle = watch(self, kind, &a);
    if (handle == NULL || !public) {
        return handle;
    }
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

static PyObject *
remove_watch(CaLoop *self, const fd_call *call, ca_op_kind kind, bool public)
{
    PyObject *fd = ca_args_one_borrow(self->st->names[CA_STR_fd], call->args,
                                      call->nargs, call->kwnames);
    if (fd == NULL) {
        return stock_selector(self, call);
    }
    if (public && check_no_transport(self, fd) < 0) {
        return NULL;
    }
    return unwatch(self, kind, fd);
}

static PyObject *
loop_py_add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR_add_reader};
    return add((CaLoop *)op, &call, CA_OP_POLL_IN, true);
}

static PyObject *
loop_py_add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR_add_writer};
    return add((CaLoop *)op, &call, CA_OP_POLL_OUT, true);
}

static PyObject *
loop_py__add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR__add_reader};
    return add((CaLoop *)op, &call, CA_OP_POLL_IN, false);
}

static PyObject *
loop_py__add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR__add_writer};
    return add((CaLoop *)op, &call, CA_OP_POLL_OUT, false);
}

static PyObject *
loop_py_remove_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR_remove_reader};
    return remove_watch((CaLoop *)op, &call, CA_OP_POLL_IN, true);
}

static PyObject *
loop_py_remove_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR_remove_writer};
    return remove_watch((CaLoop *)op, &call, CA_OP_POLL_OUT, true);
}

static PyObject *
loop_py__remove_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR__remove_reader};
    return remove_watch((CaLoop *)op, &call, CA_OP_POLL_IN, false);
}

static PyObject *
loop_py__remove_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    fd_call call = {args, nargs, kwnames, CA_STR__remove_writer};
    return remove_watch((CaLoop *)op, &call, CA_OP_POLL_OUT, false);
}

PyDoc_STRVAR(_ensure_doc,
"_ensure_fd_no_transport($self, fd, /)\n--\n\n"
"Raise RuntimeError if a transport that is not closing uses `fd`.");

static PyObject *
loop_py__ensure_fd_no_transport(PyObject *op, PyObject *fd)
{
    if (check_no_transport((CaLoop *)op, fd) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_adopt_table_doc,
"_adopt_table($self, table, /)\n--\n\n"
"Know a WeakValueDictionary as the loop's own table of transports: as long\n"
"as it is `_transports` and has no items, nobody has to ask it.");

static PyObject *
loop_py__adopt_table(PyObject *op, PyObject *table)
{
    CaLoop *self = (CaLoop *)op;
    PyObject *items = PyObject_GetAttr(table, self->st->names[CA_STR_data]);
    if (items == NULL) {
        return NULL;
    }
    if (!PyDict_CheckExact(items)) {
        Py_CLEAR(items);
    }
    Py_XSETREF(self->own_table_dict, items);
    Py_XSETREF(self->own_table, Py_NewRef(table));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(_watched_doc,
"_watched($self, fd, /)\n--\n\n"
"Return the handles or transports (reader, writer) that watch the number\n"
"`fd`; None for neither.");

static PyObject *
loop_py__watched(PyObject *op, PyObject *number)
{
    CaLoop *self = (CaLoop *)op;
    int fd = PyLong_AsInt(number);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    void *reader = ca_reactor_owner(&self->reactor, fd, CA_OP_POLL_IN);
    void *writer = ca_reactor_owner(&self->reactor, fd, CA_OP_POLL_OUT);
    return PyTuple_Pack(
        2, ca_owner_visible(reader) ? ca_owner_object_borrow(reader) : Py_None,
        ca_owner_visible(writer) ? ca_owner_object_borrow(writer) : Py_None);
}

PyDoc_STRVAR(_watched_fds_doc,
"_watched_fds($self)\n--\n\n"
"Return the watched descriptors: a dict of number -> object or number.");

static PyObject *
loop_py__watched_fds(PyObject *op, PyObject *Py_UNUSED(none))
{
    CaLoop *self = (CaLoop *)op;
    const ca_watch_table *watches = &self->reactor.watches;
    PyObject *dict = PyDict_New();
    for (size_t fd = 0; dict != NULL && fd < watches->cap; fd++) {
        const ca_watch *watch = watches->by_fd[fd];
        if (watch == NULL ||
            (!ca_owner_visible(watch->owner[CA_OP_POLL_IN]) &&
             !ca_owner_visible(watch->owner[CA_OP_POLL_OUT]))) {
            continue;
        }
        PyObject *key = PyLong_FromSize_t(fd);
        PyObject *value = key == NULL || self->fileobjs == NULL
                              ? NULL
                              : PyDict_GetItemWithError(self->fileobjs, key);
        if (key == NULL || PyErr_Occurred() ||
            PyDict_SetItem(dict, key, value == NULL ? key : value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
    }
    return dict;
}

PyDoc_STRVAR(_claimed_doc,
"_claimed($self, fd, /)\n--\n\n"
"Return the native transport that has the descriptor, or None.");

static PyObject *
loop_py__claimed(PyObject *op, PyObject *number)
{
    int fd = PyLong_Check(number) ? PyLong_AsInt(number) : -1;
    if (fd == -1) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    PyObject *transport = ca_claims_get_borrow((CaLoop *)op, fd);
    return Py_NewRef(transport == NULL ? Py_None : transport);
}

PyMethodDef ca_fd_methods[] = {
    {"_claimed", loop_py__claimed, METH_O, _claimed_doc},
    {"add_reader", FASTCALL(loop_py_add_reader), METH_FASTCALL | METH_KEYWORDS,
     add_reader_doc},
    {"add_writer", FASTCALL(loop_py_add_writer), METH_FASTCALL | METH_KEYWORDS,
     add_writer_doc},
    {"remove_reader", FASTCALL(loop_py_remove_reader),
     METH_FASTCALL | METH_KEYWORDS, remove_reader_doc},
    {"remove_writer", FASTCALL(loop_py_remove_writer),
     METH_FASTCALL | METH_KEYWORDS, remove_writer_doc},
    {"_add_reader", FASTCALL(loop_py__add_reader),
     METH_FASTCALL | METH_KEYWORDS, _add_reader_doc},
    {"_add_writer", FASTCALL(loop_py__add_writer),
     METH_FASTCALL | METH_KEYWORDS, _add_writer_doc},
    {"_remove_reader", FASTCALL(loop_py__remove_reader),
     METH_FASTCALL | METH_KEYWORDS, _remove_reader_doc},
    {"_remove_writer", FASTCALL(loop_py__remove_writer),
     METH_FASTCALL | METH_KEYWORDS, _remove_writer_doc},
    {"_ensure_fd_no_transport", loop_py__ensure_fd_no_transport, METH_O,
     _ensure_doc},
    {"_adopt_table", loop_py__adopt_table, METH_O, _adopt_table_doc},
    {"_watched", loop_py__watched, METH_O, _watched_doc},
    {"_watched_fds", loop_py__watched_fds, METH_NOARGS, _watched_fds_doc},
    {0},
};
