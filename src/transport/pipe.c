/* pipe.c - what both ends of a pipe share, see pipe.h.
 *
 * The pipe is closed through its object and never by number.  What is not per
 * message goes through call_soon() as in stock's transports, so that it runs
 * in the contexts, at the turns and under the overrides that it does there.
 */
#include "transport/pipe.h"

#include "loop/handle.h"
#include "loop/ready.h"
#include "py/errors.h"
#include "py/layout.h"
#include "transport/fatal.h"

#include <errno.h>

static PyObject *
name_of(const CaPipe *self, int which)
{
    return self->loop->st->names[which];
}

int
ca_pipe_fd(const CaPipe *self)
{
    if (self->pipe == NULL) {
        return -1;
    }
    int fd = ca_fdowner_fd(self->loop->st, &self->owner);
    return fd == self->fd ? fd : -1;
}

int
ca_pipe_call_soon(CaPipe *self, PyObject *op, int name, PyObject *arg)
{
    if (self->loop == NULL) {
        return 0;                      /* lost in the meantime */
    }
    PyObject *callback = PyObject_GetAttr(op, name_of(self, name));
    PyObject *handle = callback == NULL ? NULL
                                        : PyObject_CallMethodObjArgs(
                                              (PyObject *)self->loop,
                                              name_of(self, CA_STR_call_soon),
                                              callback, arg, NULL);
    Py_XDECREF(callback);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

/* ---- watching ---- */

int
ca_pipe_watch(CaPipe *self, ca_op_kind kind, PyObject **context)
{
    if (self->loop != NULL && ca_loop_check_open(self->loop) < 0) {
        return -1;
    }
    int fd = ca_pipe_fd(self);
    if (fd < 0 || self->pipe == NULL) {
        ca_raise_errno(-EBADF);
        return -1;
    }
    PyObject *copy = PyContext_CopyCurrent();
    if (copy == NULL) {
        return -1;
    }
    Py_XSETREF(*context, copy);
    return ca_watcher_start(self->loop, &self->watcher, fd, kind);
}

int
ca_pipe_start_reading(CaPipe *self)
{
    int result = ca_pipe_watch(self, CA_OP_POLL_IN, &self->context);
    self->reading = result == 0;
    return result;
}

void
ca_pipe_stop_reading(CaPipe *self)
{
    if (self->reading) {
        self->reading = false;
        ca_watcher_stop(self->loop, &self->watcher, self->fd, CA_OP_POLL_IN);
    }
}

/* ---- readiness ---- */

int
ca_pipe_act(CaPipe *self, PyObject *context, int name, int (*act)(CaPipe *))
{
    CaLoop *loop = self->loop;
    Py_INCREF(loop);
    Py_INCREF(context);                /* the transport may be lost in `act` */
    int result = PyContext_Enter(context);
    if (result == 0) {
        result = act(self);
        if (PyContext_Exit(context) < 0) {
            result = -1;
        }
    }
    if (result < 0) {
        result = ca_handle_report_method(loop, (PyObject *)self, name,
                                         context);
    }
    Py_DECREF(context);
    Py_DECREF(loop);
    return result;
}

int
ca_pipe_ready(CaPipe *self, PyObject *context, int name, int (*act)(CaPipe *))
{
    CaLoop *loop = self->loop;
    if (loop == NULL || context == NULL) {
        return 0;
    }
    if (!loop->debug) {
        return ca_pipe_act(self, context, name, act);
    }
    return ca_ready_push_method(loop, (PyObject *)self, name, context);
}

/* ---- birth ---- */

int
ca_pipe_open(CaPipe *self, PyObject *args, const ca_watcher_vt *vt)
{
    ca_state *st = ca_state_of_type(Py_TYPE(self));
    PyObject *loop, *pipe, *protocol;
    int fd, slow;
    if (st == NULL || !PyArg_ParseTuple(args, "O!OiOp", st->LoopType, &loop,
                                        &pipe, &fd, &protocol, &slow)) {
        return -1;
    }
    ca_fdowner owner = ca_fdowner_find(st, pipe);
    if (self->watcher.vt != NULL) {
        Py_DECREF(owner.op);
        PyErr_SetString(PyExc_RuntimeError, "the transport was opened before");
        return -1;
    }
    self->watcher.vt = vt;
    self->owner = owner;
    self->loop = (CaLoop *)Py_NewRef(loop);
    self->pipe = Py_NewRef(pipe);
    self->protocol = Py_NewRef(protocol);
    self->fd = fd;
    self->slow = slow != 0;
    self->closing = false;
    return 0;
}

/* ---- the end ---- */

int
ca_pipe_tell(CaPipe *self, int name)
{
    if (self->loop == NULL) {
        return 0;
    }
    PyObject *done = PyObject_CallMethodNoArgs((PyObject *)self,
                                               name_of(self, name));
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
ca_pipe_fail(CaPipe *self, const char *message)
{
    return self->loop == NULL
               ? -1
               : ca_fatal_tell(self->loop->st, (PyObject *)self, message);
}

/* Stop watching and close the pipe; 0 or -1. */
static int
let_go(CaPipe *self)
{
    CaLoop *loop = self->loop;
    PyObject *pipe = self->pipe;
    ca_watcher_stop(loop, &self->watcher, self->fd, CA_OP_POLL_IN);
    ca_watcher_stop(loop, &self->watcher, self->fd, CA_OP_POLL_OUT);
    self->reading = false;
    self->closing = true;
    self->pipe = NULL;
    self->loop = NULL;
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->owner.op);
    PyObject *done = PyObject_CallMethodNoArgs(pipe,
                                               loop->st->names[CA_STR_close]);
    Py_XDECREF(done);
    Py_DECREF(pipe);
    Py_DECREF(loop);
    return done == NULL ? -1 : 0;
}

int
ca_pipe_lose(CaPipe *self, PyObject *exc)
{
    if (self->pipe == NULL) {
        return 0;
    }
    PyObject *protocol = self->protocol == NULL ? Py_None : self->protocol;
    Py_INCREF(protocol);
    PyObject *done = PyObject_CallMethodOneArg(
        protocol, name_of(self, CA_STR_connection_lost), exc);
    Py_DECREF(protocol);
    int result = done == NULL ? -1 : 0;
    Py_XDECREF(done);
    PyObject *raised = PyErr_GetRaisedException();
    if (self->pipe != NULL && let_go(self) < 0) {
        result = -1;
    }
    ca_error_restore(raised);
    return result;
}

/* ---- methods and attributes ---- */

PyDoc_STRVAR(_call_connection_lost_doc,
"_call_connection_lost($self, exc, /)\n--\n\n"
"Tell the protocol that the pipe is gone, and close it.");

static PyObject *
pipe_py__call_connection_lost(PyObject *op, PyObject *exc)
{
    return ca_pipe_lose((CaPipe *)op, exc) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(set_protocol_doc,
"set_protocol($self, protocol, /)\n--\n\n"
"Let another protocol be told what happens from now on.\n\n"
"Threads: the loop's own thread only.\n"
"Source: asyncio, \"Base Transport\".");

static PyObject *
pipe_py_set_protocol(PyObject *op, PyObject *protocol)
{
    Py_XSETREF(((CaPipe *)op)->protocol, Py_NewRef(protocol));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_protocol_doc,
"get_protocol($self)\n--\n\n"
"Return the protocol; None once the pipe is lost.");

static PyObject *
pipe_py_get_protocol(PyObject *op, PyObject *Py_UNUSED(none))
{
    PyObject *protocol = ((CaPipe *)op)->protocol;
    return Py_NewRef(protocol == NULL ? Py_None : protocol);
}

PyDoc_STRVAR(is_closing_doc,
"is_closing($self)\n--\n\n"
"Return whether the transport is closing or closed.");

static PyObject *
pipe_py_is_closing(PyObject *op, PyObject *Py_UNUSED(none))
{
    return PyBool_FromLong(((CaPipe *)op)->closing);
}

static PyMethodDef pipe_methods[] = {
    {"_call_connection_lost", pipe_py__call_connection_lost, METH_O,
     _call_connection_lost_doc},
    {"set_protocol", pipe_py_set_protocol, METH_O, set_protocol_doc},
    {"get_protocol", pipe_py_get_protocol, METH_NOARGS, get_protocol_doc},
    {"is_closing", pipe_py_is_closing, METH_NOARGS, is_closing_doc},
    {0},
};

static PyMemberDef pipe_members[] = {
    {"_loop", T_OBJECT, offsetof(CaPipe, loop), Py_READONLY,
     "The loop; None once lost."},
    {"_pipe", T_OBJECT, offsetof(CaPipe, pipe), Py_READONLY,
     "The pipe; None once lost."},
    {"_protocol", T_OBJECT, offsetof(CaPipe, protocol), Py_READONLY,
     "The protocol; None once lost."},
    {"_fileno", T_INT, offsetof(CaPipe, fd), Py_READONLY,
     "The descriptor, also when it is closed."},
    {"_closing", T_BOOL, offsetof(CaPipe, closing), Py_READONLY,
     "The end was asked for, or has come by itself."},
    {0},
};

/* ---- the type ---- */

PyDoc_STRVAR(pipe_doc,
"Native base of the transports for pipes.\n\n"
"Threads: every method belongs to the loop's thread.");

PyObject *
ca_pipe_new(PyTypeObject *type)
{
    CaPipe *self = (CaPipe *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->closing = true;
        self->fd = -1;
    }
    return (PyObject *)self;
}

static PyObject *
pipe_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
            PyObject *Py_UNUSED(kwargs))
{
    return ca_pipe_new(type);
}

int
ca_pipe_traverse(CaPipe *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->extra);
    Py_VISIT(self->loop);
    Py_VISIT(self->pipe);
    Py_VISIT(self->protocol);
    Py_VISIT(self->context);
    Py_VISIT(self->owner.op);
    return 0;
}

static int
pipe_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    return ca_pipe_traverse((CaPipe *)op, visit, arg);
}

/* The loop and the pipe stay, so that an open transport remains one. */
void
ca_pipe_clear(CaPipe *self)
{
    Py_CLEAR(self->extra);
    Py_CLEAR(self->protocol);
}

static int
pipe_tp_clear(PyObject *op)
{
    ca_pipe_clear((CaPipe *)op);
    return 0;
}

void
ca_pipe_release(CaPipe *self)
{
    ca_pipe_clear(self);
    Py_CLEAR(self->context);
    Py_CLEAR(self->owner.op);
    Py_CLEAR(self->pipe);
    Py_CLEAR(self->loop);
}

static void
pipe_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    ca_pipe_release((CaPipe *)op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyObject *
ca_pipe_type_new(PyObject *module)
{
    PyObject *asyncio = PyImport_ImportModule("asyncio.transports");
    PyObject *base = asyncio == NULL
                         ? NULL
                         : PyObject_GetAttrString(asyncio, "BaseTransport");
    Py_XDECREF(asyncio);
    if (base == NULL) {
        return NULL;
    }
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)pipe_doc},
        {Py_tp_new, pipe_tp_new},
        {Py_tp_traverse, pipe_tp_traverse},
        {Py_tp_clear, pipe_tp_clear},
        {Py_tp_dealloc, pipe_tp_dealloc},
        {Py_tp_methods, pipe_methods},
        {Py_tp_members, pipe_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.Pipe",
        .basicsize = sizeof(CaPipe),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
        .slots = slots,
    };
    PyObject *type = NULL;
    if (ca_layout_ends_at(base, offsetof(CaPipe, loop))) {
        type = PyType_FromModuleAndSpec(module, &spec, base);
    }
    Py_DECREF(base);
    return type;
}
