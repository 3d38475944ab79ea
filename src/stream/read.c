/* read.c - read(), readexactly(), readline(), readuntil(), __anext__().
 *
 * Each is a loop of stock's, unrolled at its await: start() is what comes
 * before it, again() what comes behind.  What has arrived stays in the reader
 * until the call takes it, so a call that is cancelled in between loses
 * nothing.
 */
#include "py/errors.h"
#include "stream/call.h"
#include "stream/reader.h"

#include <string.h>

static CaReader *
reader_of(const CaStreamCall *call)
{
    return (CaReader *)call->owner;
}

static bool
may_start(const CaStreamCall *call)
{
    CaReader *reader = reader_of(call);
    return ca_reader_is_usual(reader) && ca_reader_native_loop(reader) != NULL;
}

/* raise reader._exception, if there is one. */
static bool
raise_exception(const CaReader *reader)
{
    PyObject *exc = reader->exception;
    if (exc == Py_None || exc == NULL) {
        return false;
    }
    if (PyExceptionInstance_Check(exc)) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    } else if (PyExceptionClass_Check(exc)) {
        PyErr_SetNone(exc);
    } else {
        PyErr_SetString(PyExc_TypeError,
                        "exceptions must derive from BaseException");
    }
    return true;
}

/* The result, once the transport may go on. */
static ca_call_outcome
give(CaReader *reader, PyObject *steal_data, PyObject **result)
{
    if (steal_data != NULL && ca_reader_maybe_resume(reader) < 0) {
        Py_CLEAR(steal_data);
    }
    *result = steal_data;
    return steal_data == NULL ? CA_CALL_FAILED : CA_CALL_DONE;
}

/* raise IncompleteReadError(everything, expected), which leaves the buffer. */
static ca_call_outcome
fail_incomplete(CaReader *reader, PyObject *expected)
{
    PyObject *partial = ca_inbuf_take(&reader->in, PY_SSIZE_T_MAX);
    if (partial == NULL) {
        return CA_CALL_FAILED;
    }
    PyObject *exc = PyObject_CallFunctionObjArgs(
        reader->st->IncompleteReadError, partial, expected, NULL);
    Py_DECREF(partial);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return CA_CALL_FAILED;
}

/* ---- read() ---- */

/* What `read(limit)` finds has arrived; 1: it is to be gone on with, 0: it was
 * the end, -1 with an exception. */
static int
gather(CaStreamCall *call)
{
    CaReader *reader = reader_of(call);
    PyObject *part = NULL;
    if (give(reader, ca_inbuf_take(&reader->in, reader->limit), &part) !=
        CA_CALL_DONE) {
        return -1;
    }
    int more = PyBytes_GET_SIZE(part) > 0;
    if (more && PyList_Append(call->parts, part) < 0) {
        more = -1;
    }
    Py_DECREF(part);
    return more;
}

static ca_call_outcome
join_parts(CaStreamCall *call, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(
        call->c.st->empty_bytes, call->c.st->names[CA_STR_join], call->parts);
    return *result == NULL ? CA_CALL_FAILED : CA_CALL_DONE;
}

/* read(limit) again and again, until one finds the end. */
static ca_call_outcome
read_all(CaStreamCall *call, PyObject **result)
{
    CaReader *reader = reader_of(call);
    int more = 1;
    while (more > 0) {
        if (!ca_reader_is_usual(reader)) {
            return CA_CALL_STOCK;      /* for the rest of it */
        }
        if (raise_exception(reader)) {
            return CA_CALL_FAILED;
        }
        if (ca_inbuf_size(&reader->in) == 0 && !reader->in.eof) {
            return CA_CALL_WAIT;
        }
        more = gather(call);
    }
    return more < 0 ? CA_CALL_FAILED : join_parts(call, result);
}

/* The number that was given; false: not one for us. */
static bool
take_number(CaStreamCall *call)
{
    if (!PyLong_CheckExact(call->arg)) {
        return false;
    }
    call->wanted = PyLong_AsSsize_t(call->arg);
    if (call->wanted == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return false;
    }
    return true;
}

static ca_call_outcome
read_start(CaStreamCall *call, PyObject **result)
{
    CaReader *reader = reader_of(call);
    if (!may_start(call)) {
        return CA_CALL_STOCK;
    }
    if (call->arg == NULL) {
        call->wanted = -1;
    } else if (!take_number(call)) {
        return CA_CALL_STOCK;
    }
    if (raise_exception(reader)) {
        return CA_CALL_FAILED;
    }
    if (call->wanted < 0) {
        call->parts = PyList_New(0);
        return call->parts == NULL ? CA_CALL_FAILED : read_all(call, result);
    }
    if (call->wanted > 0 && ca_inbuf_size(&reader->in) == 0 &&
        !reader->in.eof) {
        return CA_CALL_WAIT;
    }
    if (call->wanted == 0) {
        *result = Py_NewRef(call->c.st->empty_bytes);
        return CA_CALL_DONE;
    }
    return give(reader, ca_inbuf_take(&reader->in, call->wanted), result);
}

/* Woken: it takes what there is, and somebody else may have taken it all. */
static ca_call_outcome
read_again(CaStreamCall *call, PyObject **result)
{
    CaReader *reader = reader_of(call);
    if (call->wanted >= 0) {
        return give(reader, ca_inbuf_take(&reader->in, call->wanted), result);
    }
    int more = gather(call);
    return more < 0   ? CA_CALL_FAILED
           : more > 0 ? read_all(call, result)
                      : join_parts(call, result);
}

const ca_call_op ca_call_op_read = {
    .name = "read",
    .of_reader = true,
    .waits_as = "read",
    .start = read_start,
    .again = read_again,
};

/* ---- readexactly() ---- */

static ca_call_outcome
exactly_again(CaStreamCall *call, PyObject **result)
{
    CaReader *reader = reader_of(call);
    Py_ssize_t size = ca_inbuf_size(&reader->in);
    if (size >= call->wanted) {
        return give(reader, ca_inbuf_take(&reader->in, call->wanted), result);
    }
    if (reader->in.eof) {
        return fail_incomplete(reader, call->arg);
    }
    reader->missing = call->wanted - size;
    return CA_CALL_WAIT;
}

static ca_call_outcome
exactly_start(CaStreamCall *call, PyObject **result)
{
    if (!may_start(call) || !take_number(call) || call->wanted <= 0) {
        return CA_CALL_STOCK;
    }
    return raise_exception(reader_of(call)) ? CA_CALL_FAILED
                                            : exactly_again(call, result);
}

const ca_call_op ca_call_op_readexactly = {
    .name = "readexactly",
    .of_reader = true,
    .waits_as = "readexactly",
    .start = exactly_start,
    .again = exactly_again,
};

/* ---- readuntil() ---- */

/* Of readline(). */
static const char newline[] = "\n";

typedef struct {
    const char *data;
    Py_ssize_t size;
} ca_separator;

static ca_separator
separator_of(const CaStreamCall *call)
{
    if (call->arg == NULL) {
        return (ca_separator){newline, 1};
    }
    return (ca_separator){PyBytes_AS_STRING(call->arg),
                          PyBytes_GET_SIZE(call->arg)};
}

/* Where the separator begins; -1: not there. */
static Py_ssize_t
find(const CaReader *reader, ca_separator sep, Py_ssize_t from)
{
    const char *data = ca_inbuf_data(&reader->in);
    size_t size = (size_t)(ca_inbuf_size(&reader->in) - from);
    const char *at = sep.size == 1 ? memchr(data + from, sep.data[0], size)
                                   : memmem(data + from, size, sep.data,
                                            (size_t)sep.size);
    return at == NULL ? -1 : at - data;
}

static ca_call_outcome
fail_overrun(const CaReader *reader, const char *words, Py_ssize_t consumed)
{
    PyObject *exc = PyObject_CallFunction(reader->st->LimitOverrunError, "sn",
                                          words, consumed);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return CA_CALL_FAILED;
}

static ca_call_outcome
until_again(CaStreamCall *call, PyObject **result)
{
    CaReader *reader = reader_of(call);
    ca_separator sep = separator_of(call);
    Py_ssize_t size = ca_inbuf_size(&reader->in);
    if (size - call->searched >= sep.size) {
        Py_ssize_t at = find(reader, sep, call->searched);
        if (at > reader->limit) {
            return fail_overrun(reader,
                                "Separator is found, but chunk is longer than "
                                "limit",
                                at);
        }
        if (at >= 0) {
            return give(reader, ca_inbuf_take(&reader->in, at + sep.size),
                        result);
        }
        call->searched = size + 1 - sep.size;
        if (call->searched > reader->limit) {
            return fail_overrun(reader,
                                "Separator is not found, and chunk exceed the "
                                "limit",
                                call->searched);
        }
    }
    return reader->in.eof ? fail_incomplete(reader, Py_None) : CA_CALL_WAIT;
}

static ca_call_outcome
until_start(CaStreamCall *call, PyObject **result)
{
    if (!may_start(call) ||
        (call->arg != NULL && (!PyBytes_CheckExact(call->arg) ||
                               PyBytes_GET_SIZE(call->arg) == 0))) {
        return CA_CALL_STOCK;
    }
    return raise_exception(reader_of(call)) ? CA_CALL_FAILED
                                            : until_again(call, result);
}

const ca_call_op ca_call_op_readuntil = {
    .name = "readuntil",
    .of_reader = true,
    .waits_as = "readuntil",
    .start = until_start,
    .again = until_again,
};

/* ---- readline() and iteration ---- */

/* raise ValueError(overrun.args[0]). */
static void
raise_value_error(PyObject *overrun)
{
    PyObject *args = PyObject_GetAttrString(overrun, "args");
    PyObject *words = args == NULL ? NULL : PySequence_GetItem(args, 0);
    if (words != NULL) {
        PyErr_SetObject(PyExc_ValueError, words);
    }
    Py_XDECREF(args);
    Py_XDECREF(words);
}

/* Drop the line that is too long, or everything when it has no end yet; 0 or
 * -1. */
static int
drop_line(CaReader *reader, PyObject *overrun)
{
    PyObject *number = PyObject_GetAttrString(overrun, "consumed");
    Py_ssize_t consumed = number == NULL ? -1 : PyLong_AsSsize_t(number);
    Py_XDECREF(number);
    if (consumed == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (!ca_inbuf_is_usual(&reader->in)) {
        return 0;                     /* whatever that is: not for us to cut */
    }
    Py_ssize_t size = ca_inbuf_size(&reader->in);
    bool ended = consumed >= 0 && consumed < size &&
                 ca_inbuf_data(&reader->in)[consumed] == newline[0];
    return ca_inbuf_drop(&reader->in, ended ? consumed + 1 : size) < 0
               ? -1
               : ca_reader_maybe_resume(reader);
}

/* readuntil() has failed: what readline() makes of that. */
static ca_call_outcome
line_failed(CaStreamCall *call, PyObject **result)
{
    ca_state *st = call->c.st;
    PyObject *exc = PyErr_GetRaisedException();
    ca_call_outcome outcome = CA_CALL_FAILED;
    if (PyErr_GivenExceptionMatches(exc, st->IncompleteReadError)) {
        *result = PyObject_GetAttrString(exc, "partial");
        outcome = *result == NULL ? CA_CALL_FAILED : CA_CALL_DONE;
    } else if (PyErr_GivenExceptionMatches(exc, st->LimitOverrunError)) {
        if (drop_line(reader_of(call), exc) == 0) {
            raise_value_error(exc);
        }
        ca_error_restore(Py_NewRef(exc)); /* as the context */
    } else {
        PyErr_SetRaisedException(Py_NewRef(exc));
    }
    Py_DECREF(exc);
    return outcome;
}

static ca_call_outcome
line_again(CaStreamCall *call, PyObject **result)
{
    ca_call_outcome outcome = until_again(call, result);
    return outcome == CA_CALL_FAILED ? line_failed(call, result) : outcome;
}

static ca_call_outcome
line_start(CaStreamCall *call, PyObject **result)
{
    ca_call_outcome outcome = until_start(call, result);
    return outcome == CA_CALL_FAILED ? line_failed(call, result) : outcome;
}

const ca_call_op ca_call_op_readline = {
    .name = "readline",
    .of_reader = true,
    .waits_as = "readuntil",
    .start = line_start,
    .again = line_again,
    .failed = line_failed,
};

/* An empty line is the end of the iteration. */
static ca_call_outcome
end_iteration(ca_call_outcome outcome, PyObject **result)
{
    if (outcome == CA_CALL_DONE && PyBytes_CheckExact(*result) &&
        PyBytes_GET_SIZE(*result) == 0) {
        Py_CLEAR(*result);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return CA_CALL_FAILED;
    }
    return outcome;
}

static ca_call_outcome
anext_start(CaStreamCall *call, PyObject **result)
{
    return end_iteration(line_start(call, result), result);
}

static ca_call_outcome
anext_again(CaStreamCall *call, PyObject **result)
{
    return end_iteration(line_again(call, result), result);
}

static ca_call_outcome
anext_failed(CaStreamCall *call, PyObject **result)
{
    return end_iteration(line_failed(call, result), result);
}

const ca_call_op ca_call_op_anext = {
    .name = "__anext__",
    .of_reader = true,
    .waits_as = "readuntil",
    .start = anext_start,
    .again = anext_again,
    .failed = anext_failed,
};
