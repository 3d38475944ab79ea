/* special.c - see special.h. */
#include "py/special.h"

#include "py/freelist.h"
#include "py/typetag.h"

#include <stddef.h>

/* METH_FASTCALL | METH_KEYWORDS; the header's name differs between Pythons. */
typedef PyObject *(*fast_method)(PyObject *self, PyObject *const *args,
                                 Py_ssize_t nargs, PyObject *kwnames);

typedef struct {
    PyObject_HEAD
    PyObject *method;                  /* strong; the method_descriptor */
    ca_state *st;                      /* borrowed: our type keeps it alive */
    ca_typetag owner_type;             /* a type that it is a method of */
} CaSpecial;

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *self;                    /* strong */
    PyObject *method;                  /* strong; the method_descriptor */
    ca_state *st;                      /* borrowed: our type keeps it alive */
} CaBound;

static inline const PyMethodDef *
def_of(PyObject *method)
{
    return ((PyMethodDescrObject *)method)->d_method;
}

/* ---- bound ---- */

/* What the interpreter would have made: new reference. */
static PyObject *
bind_really(PyObject *op)
{
    CaBound *self = (CaBound *)op;
    return PyMethodDescr_Type.tp_descr_get(self->method, self->self,
                                           (PyObject *)Py_TYPE(self->self));
}

static PyObject *
call_really(PyObject *op, PyObject *const *args, size_t nargsf,
            PyObject *kwnames)
{
    PyObject *bound = bind_really(op);
    PyObject *result = bound == NULL
                           ? NULL
                           : PyObject_Vectorcall(bound, args, nargsf, kwnames);
    Py_XDECREF(bound);
    return result;
}

static PyObject *
bound_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                 PyObject *kwnames)
{
    CaBound *self = (CaBound *)op;
    const PyMethodDef *def = def_of(self->method);
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf);
    if (def->ml_flags != METH_NOARGS) {
        return ((fast_method)(void (*)(void))def->ml_meth)(self->self, args,
                                                           nargs, kwnames);
    }
    return nargs == 0 && kwnames == NULL
               ? def->ml_meth(self->self, NULL)
               : call_really(op, args, nargsf, kwnames);
}

static PyObject *
bound_new(CaSpecial *special, PyObject *owner)
{
    ca_state *st = special->st;
    CaBound *self = (CaBound *)ca_freelist_take(&st->bounds, st->BoundType);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = bound_vectorcall;
    self->self = Py_NewRef(owner);
    self->method = Py_NewRef(special->method);
    self->st = st;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static PyObject *
bound_tp_getattro(PyObject *op, PyObject *name)
{
    PyObject *bound = bind_really(op);
    PyObject *found = bound == NULL ? NULL : PyObject_GetAttr(bound, name);
    Py_XDECREF(bound);
    return found;
}

static PyObject *
bound_tp_repr(PyObject *op)
{
    PyObject *bound = bind_really(op);
    PyObject *result = bound == NULL ? NULL : PyObject_Repr(bound);
    Py_XDECREF(bound);
    return result;
}

static Py_hash_t
bound_tp_hash(PyObject *op)
{
    PyObject *bound = bind_really(op);
    Py_hash_t result = bound == NULL ? -1 : PyObject_Hash(bound);
    Py_XDECREF(bound);
    return result;
}

static PyObject *
bound_tp_richcompare(PyObject *op, PyObject *other, int how)
{
    PyObject *left = bind_really(op);
    PyObject *right = Py_IS_TYPE(other, Py_TYPE(op)) ? bind_really(other)
                                                     : Py_NewRef(other);
    PyObject *result = left == NULL || right == NULL
                           ? NULL
                           : PyObject_RichCompare(left, right, how);
    Py_XDECREF(left);
    Py_XDECREF(right);
    return result;
}

static int
bound_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    CaBound *self = (CaBound *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->self);
    Py_VISIT(self->method);
    return 0;
}

static void
bound_tp_dealloc(PyObject *op)
{
    CaBound *self = (CaBound *)op;
    ca_state *st = self->st;
    PyObject_GC_UnTrack(op);
    Py_CLEAR(self->self);
    Py_CLEAR(self->method);
    ca_freelist_give(&st->bounds, op, CA_FREELIST_BOUND);
}

static PyMemberDef bound_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(CaBound, vectorcall),
     Py_READONLY, NULL},
    {0},
};

static PyType_Slot bound_slots[] = {
    {Py_tp_dealloc, bound_tp_dealloc},
    {Py_tp_traverse, bound_tp_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getattro, bound_tp_getattro},
    {Py_tp_repr, bound_tp_repr},
    {Py_tp_hash, bound_tp_hash},
    {Py_tp_richcompare, bound_tp_richcompare},
    {Py_tp_members, bound_members},
    {0, NULL},
};

/* Without tp_clear: it cannot change, and what it is bound to can. */
PyType_Spec ca_bound_spec = {
    .name = "casyncio._native.BoundSpecial",
    .basicsize = sizeof(CaBound),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = bound_slots,
};

/* ---- the descriptor ---- */

PyObject *
ca_special_new(ca_state *st, PyObject *method)
{
    int flags = def_of(method)->ml_flags;
    if (!CA_SPECIALS_ARE_BOUND || st->SpecialType == NULL ||
        (flags != METH_NOARGS && flags != (METH_FASTCALL | METH_KEYWORDS))) {
        return Py_NewRef(method);
    }
    CaSpecial *self = PyObject_GC_New(CaSpecial, st->SpecialType);
    if (self != NULL) {
        self->method = Py_NewRef(method);
        self->st = st;
        self->owner_type = 0;
        PyObject_GC_Track(self);
    }
    return (PyObject *)self;
}

/* Whether it is a method of that object. */
static bool
belongs_to(CaSpecial *self, PyObject *owner)
{
    if (ca_typetag_holds(self->owner_type, Py_TYPE(owner))) {
        return true;
    }
    if (!PyObject_TypeCheck(owner, PyDescr_TYPE(self->method))) {
        return false;
    }
    self->owner_type = ca_typetag_of(Py_TYPE(owner));
    return true;
}

static PyObject *
special_tp_descr_get(PyObject *op, PyObject *owner, PyObject *type)
{
    CaSpecial *self = (CaSpecial *)op;
    if (owner != NULL && belongs_to(self, owner)) {
        return bound_new(self, owner);
    }
    return PyMethodDescr_Type.tp_descr_get(self->method, owner, type);
}

static PyObject *
special_tp_getattro(PyObject *op, PyObject *name)
{
    return PyObject_GetAttr(((CaSpecial *)op)->method, name);
}

static PyObject *
special_tp_repr(PyObject *op)
{
    return PyObject_Repr(((CaSpecial *)op)->method);
}

static PyObject *
special_tp_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    return PyObject_Call(((CaSpecial *)op)->method, args, kwargs);
}

static int
special_tp_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(((CaSpecial *)op)->method);
    return 0;
}

static void
special_tp_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_CLEAR(((CaSpecial *)op)->method);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot special_slots[] = {
    {Py_tp_dealloc, special_tp_dealloc},
    {Py_tp_traverse, special_tp_traverse},
    {Py_tp_descr_get, special_tp_descr_get},
    {Py_tp_call, special_tp_call},
    {Py_tp_getattro, special_tp_getattro},
    {Py_tp_repr, special_tp_repr},
    {0, NULL},
};

PyType_Spec ca_special_spec = {
    .name = "casyncio._native.Special",
    .basicsize = sizeof(CaSpecial),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = special_slots,
};
