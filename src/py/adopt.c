/* adopt.c - see adopt.h. */
#include "py/adopt.h"

static int
adopt_methods(PyTypeObject *cls, PyMethodDef *def)
{
    for (; def != NULL && def->ml_name != NULL; def++) {
        PyObject *descr = PyDescr_NewMethod(cls, def);
        int result = descr == NULL ? -1
                                   : PyObject_SetAttrString(
                                         (PyObject *)cls, def->ml_name, descr);
        Py_XDECREF(descr);
        if (result < 0) {
            return -1;
        }
    }
    return 0;
}

static bool
is_of(PyObject *module, PyTypeObject *type)
{
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           ((PyHeapTypeObject *)type)->ht_module == module;
}

int
ca_adopt(PyObject *module, PyTypeObject *cls)
{
    PyObject *mro = Py_NewRef(cls->tp_mro);
    int result = 0;
    /* From the most general one on: methods that override come last. */
    for (Py_ssize_t i = PyTuple_GET_SIZE(mro); result == 0 && i-- > 0;) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(mro, i);
        if (is_of(module, type)) {
            result = adopt_methods(cls, type->tp_methods);
        }
    }
    Py_DECREF(mro);
    return result;
}
