/* compat.h - the only file that may ask which Python this is.
 *
 * Every other file is written for the newest supported Python; what older ones
 * lack is supplied here, under the newest name when there is one.
 */
#ifndef CA_PY_COMPAT_H
#define CA_PY_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <structmember.h>

/* The newest mirror also serves Pythons newer than it: it compiles there, and
 * the check of the sizes at import finds out whether it still fits. */
#if PY_VERSION_HEX >= 0x030E0000
#include "py/mirror_314.h"
#elif PY_VERSION_HEX >= 0x030D0000
#include "py/mirror_313.h"
#else
#include "py/mirror_311.h"
#endif

#if PY_VERSION_HEX < 0x030B0000
#error "casyncio needs CPython 3.11 or newer"
#endif

#if PY_VERSION_HEX >= 0x030C0000
#define CA_SLOT_INTERPRETERS \
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#define CA_SLOT_INTERPRETERS
#define Py_T_PYSSIZET T_PYSSIZET
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#define Py_T_BOOL T_BOOL
#endif

/* A member that is None where the field is NULL. */
#define CA_T_OBJECT_OR_NONE T_OBJECT

#if PY_VERSION_HEX >= 0x030D0000
#define CA_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#define CA_SLOT_GIL
#endif

#if PY_VERSION_HEX < 0x030C0000
/* The exception that is set, normalised and with its traceback; strong, the
 * error indicator is clear afterwards.  NULL when none was set. */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static inline void
PyErr_SetRaisedException(PyObject *steal_exc)
{
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(steal_exc)), steal_exc,
                  PyException_GetTraceback(steal_exc));
}
#endif

#if PY_VERSION_HEX < 0x030D0000
static inline Py_hash_t
PyObject_GenericHash(PyObject *op)
{
    return _Py_HashPointer(op);
}

static inline int
PyWeakref_GetRef(PyObject *ref, PyObject **object)
{
    PyObject *found = PyWeakref_GET_OBJECT(ref);
    *object = found == Py_None ? NULL : Py_NewRef(found);
    return *object != NULL;
}

static inline int
PyLong_AsInt(PyObject *number)
{
    return _PyLong_AsInt(number);
}
#endif

/* Whether `async with` makes bound methods of __aenter__ and __aexit__ before
 * it calls them, also of methods in C. */
#if PY_VERSION_HEX < 0x030E0000
enum { CA_SPECIALS_ARE_BOUND = 1 };
#else
enum { CA_SPECIALS_ARE_BOUND = 0 };
#endif

/* What WriteTransport.writelines() is: b"".join() and write(), or a way of its
 * own with words of its own. */
#if PY_VERSION_HEX < 0x030C0000
enum { CA_WRITELINES_JOINS = 1 };
#else
enum { CA_WRITELINES_JOINS = 0 };
#endif

/* Tell of the exception that is set when a coroutine is freed, one that had
 * begun or not, in this Python's words. */
static inline void
ca_coro_write_unraisable(PyObject *coro, bool begun)
{
#if PY_VERSION_HEX >= 0x030E0000
    PyErr_FormatUnraisable(begun
                               ? "Exception ignored while closing generator %R"
                               : "Exception ignored while finalizing "
                                 "coroutine %R",
                           coro);
#else
    (void)begun;
    PyErr_WriteUnraisable(coro);
#endif
}

/* The thread's current context, borrowed; NULL when it never had one. */
static inline PyObject *
ca_thread_context_borrow(void)
{
    return PyThreadState_Get()->context;
}

/* Whether a weak reference is one to `op`, which is alive. */
static inline bool
ca_weakref_refers_to(PyObject *ref, PyObject *op)
{
    return ((PyWeakReference *)ref)->wr_object == op;
}

/* Whether new coroutines are to remember where they were made. */
static inline bool
ca_thread_tracks_origins(void)
{
    return PyThreadState_Get()->coroutine_origin_tracking_depth > 0;
}

static inline int
ca_visit_is_there(PyObject *Py_UNUSED(op), void *Py_UNUSED(arg))
{
    return 1;
}

/* Whether an instance has attributes of its own, or had a dict for them. */
static inline bool
ca_object_has_dict(PyObject *op)
{
#if PY_VERSION_HEX >= 0x030E0000
    /* Attributes may lie in the object itself, also in one of a type in C:
     * who asks where its dict is makes one. */
    if (PyType_HasFeature(Py_TYPE(op), Py_TPFLAGS_MANAGED_DICT)) {
        return PyObject_VisitManagedDict(op, ca_visit_is_there, NULL) != 0;
    }
#endif
    PyObject **dict = _PyObject_GetDictPtr(op);
    return dict != NULL && *dict != NULL;
}

/* CPython's own lookup for calls: no bound method is made.  NULL in a Python
 * that has it no more. */
extern int _PyObject_GetMethod(PyObject *op, PyObject *name, PyObject **method)
    __attribute__((weak));

/* Look op.name up: 1 when it is an unbound method of its class, 0 when it is
 * anything else.  *found: strong; NULL with an exception. */
static inline int
ca_object_get_method(PyObject *op, PyObject *name, PyObject **found)
{
    if (_PyObject_GetMethod != NULL) {
        *found = NULL;
        return _PyObject_GetMethod(op, name, found);
    }
    PyObject *bound = PyObject_GetAttr(op, name);
    bool is_method = bound != NULL && PyMethod_Check(bound) &&
                     PyMethod_GET_SELF(bound) == op;
    *found = is_method ? Py_NewRef(PyMethod_GET_FUNCTION(bound))
                       : Py_XNewRef(bound);
    Py_XDECREF(bound);
    return is_method;
}

/* The content of a bytes object that nobody else has was changed. */
static inline void
ca_bytes_forget_hash(PyObject *op)
{
    _Py_COMP_DIAG_PUSH _Py_COMP_DIAG_IGNORE_DEPR_DECLS((PyBytesObject *)op)
        ->ob_shash = -1;
    _Py_COMP_DIAG_POP
}

/* Whether weak references to the object may exist. */
static inline bool
ca_object_has_weakrefs(PyObject *op)
{
    Py_ssize_t offset = Py_TYPE(op)->tp_weaklistoffset;
    return offset == 0 || *(PyObject **)((char *)op + offset) != NULL;
}

/* Bring a finished object of a free list back to life with one reference. */
static inline void
ca_object_revive(PyObject *op)
{
    Py_INCREF(Py_TYPE(op));
    _Py_NewReference(op);
}

#endif
