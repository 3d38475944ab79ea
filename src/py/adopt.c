/* adopt.c - see adopt.h. */
#include "py/adopt.h"

#include "py/special.h"

#include <string.h>

static bool
is_special(const char *name)
{
    return strcmp(name, "__aenter__") == 0 || strcmp(name, "__aexit__") == 0;
}

/* cls.name = the method; 0 or -1. */
static int
adopt_method(ca_state *st, PyTypeObject *cls, PyMethodDef *def, PyObject *name)
{
    PyObject *descr = PyDescr_NewMethod(cls, def);
    if (descr != NULL && is_special(def->ml_name)) {
        Py_SETREF(descr, ca_special_new(st, descr));
    }
    int result = descr == NULL
                     ? -1
                     : PyObject_SetAttr((PyObject *)cls, name, descr);
    Py_XDECREF(descr);
    return result;
}

static int
adopt_methods(ca_state *st, PyTypeObject *cls, PyMethodDef *def)
{
    int result = 0;
    for (; result == 0 && def != NULL && def->ml_name != NULL; def++) {
        PyObject *name = PyUnicode_InternFromString(def->ml_name);
        int has = name == NULL ? -1 : PyDict_Contains(cls->tp_dict, name);
        result = has != 0 ? (has < 0 ? -1 : 0)
                          : adopt_method(st, cls, def, name);
        Py_XDECREF(name);
    }
    return result;
}

static bool
is_of(PyObject *module, PyTypeObject *type)
{
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           ((PyHeapTypeObject *)type)->ht_module == module;
}

int
ca_adopt(ca_state *st, PyObject *module, PyTypeObject *cls)
{
    PyObject *mro = Py_NewRef(cls->tp_mro);
    int result = 0;
    /* From the most derived one on: what overrides comes first. */
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(mro); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (is_of(module, type)) {
            result = adopt_methods(st, cls, type->tp_methods);
        }
    }
    Py_DECREF(mro);
    return result;
}
