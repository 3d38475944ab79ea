/* combine_names.c - how casyncio/_combine.py and the C of combine.h meet.
 *
 * It hands in what asyncio has, and the classes that it has derived, and gets
 * the functions.  Until then nothing of this is in use.
 */
#include "task/combine.h"

static const struct {
    const char *name;                  /* as a key of use_combining() */
    int index;
} wanted[] = {
    {"speaker", CA_COMBINE_SPEAKER},
    {"sleep", CA_COMBINE_SLEEP},
    {"gather", CA_COMBINE_GATHER},
    {"gather_callback", CA_COMBINE_GATHER_CALLBACK},
    {"wait_for", CA_COMBINE_WAIT_FOR},
    {"timeout", CA_COMBINE_TIMEOUT},
    {"timeout_enter", CA_COMBINE_TIMEOUT_ENTER},
    {"timeout_exit", CA_COMBINE_TIMEOUT_EXIT},
    {"timeout_expire", CA_COMBINE_TIMEOUT_EXPIRE},
    {"timeout_states", CA_COMBINE_TIMEOUT_STATES},
    {"group", CA_COMBINE_GROUP},
    {"group_enter", CA_COMBINE_GROUP_ENTER},
    {"group_exit", CA_COMBINE_GROUP_EXIT},
};

static const struct {
    const char *name;
    ca_function_code code;
} functions[] = {
    {"sleep", ca_sleep_call},
    {"gather", ca_gather_call},
    {"wait_for", ca_wait_for_call},
    {"timeout", ca_timeout_call},
};

int
ca_combine_make_types(PyObject *module, ca_state *st)
{
    struct {
        PyTypeObject **where;          /* NULL: classes derive from it */
        PyType_Spec *spec;
        PyTypeObject *base;
    } types[] = {
        {&st->FunctionType, &ca_function_spec, NULL},
        {&st->CombineCallType, &ca_combinecall_spec, st->CoroType},
        {&st->GatherCallbackType, &ca_gather_callback_spec, NULL},
        {&st->ExpiryType, &ca_expiry_spec, NULL},
        {NULL, &ca_gathering_spec, st->FutureType},
        {NULL, &ca_timeout_spec, NULL},
        {NULL, &ca_group_spec, NULL},
    };
    Py_XSETREF(st->kw_msg, Py_BuildValue("(s)", "msg"));
    if (st->kw_msg == NULL) {
        return -1;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(types); i++) {
        PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(
            module, types[i].spec, (PyObject *)types[i].base);
        if (type == NULL || PyModule_AddType(module, type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        if (types[i].where != NULL) {
            Py_XSETREF(*types[i].where, type);
        } else {
            Py_DECREF(type);
        }
    }
    return 0;
}

int
ca_combine_visit_state(ca_state *st, visitproc visit, void *arg)
{
    Py_VISIT(st->FunctionType);
    Py_VISIT(st->CombineCallType);
    Py_VISIT(st->GatherCallbackType);
    Py_VISIT(st->ExpiryType);
    Py_VISIT(st->GatheringType);
    Py_VISIT(st->TimeoutType);
    Py_VISIT(st->GroupType);
    for (int i = 0; i < CA_COMBINE_COUNT; i++) {
        Py_VISIT(st->combine[i]);
    }
    return 0;
}

void
ca_combine_clear_state(ca_state *st)
{
    Py_CLEAR(st->FunctionType);
    Py_CLEAR(st->CombineCallType);
    Py_CLEAR(st->GatherCallbackType);
    Py_CLEAR(st->ExpiryType);
    Py_CLEAR(st->GatheringType);
    Py_CLEAR(st->TimeoutType);
    Py_CLEAR(st->GroupType);
    for (int i = 0; i < CA_COMBINE_COUNT; i++) {
        Py_CLEAR(st->combine[i]);
    }
    Py_CLEAR(st->kw_msg);
}

/* Take what asyncio has; 0 or -1. */
static int
take_stock(ca_state *st, PyObject *stock)
{
    for (size_t i = 0; i < Py_ARRAY_LENGTH(wanted); i++) {
        PyObject *found = PyDict_GetItemString(stock, wanted[i].name);
        if (found == NULL) {
            PyErr_Format(PyExc_TypeError, "no %s", wanted[i].name);
            return -1;
        }
        Py_XSETREF(st->combine[wanted[i].index], Py_NewRef(found));
    }
    PyObject *states = st->combine[CA_COMBINE_TIMEOUT_STATES];
    if (!PyTuple_CheckExact(states) ||
        PyTuple_GET_SIZE(states) != CA_TIMEOUT_STATES) {
        PyErr_SetString(PyExc_TypeError, "unknown states of a Timeout");
        return -1;
    }
    return 0;
}

/* Whether `type` derives from the native class of that name: 1, 0 or -1. */
static int
derives(PyObject *module, PyObject *type, const char *name)
{
    PyObject *native = PyObject_GetAttrString(module, name);
    int result = native == NULL ? -1 : PyObject_IsSubclass(type, native);
    Py_XDECREF(native);
    if (result == 0) {
        PyErr_Format(PyExc_TypeError, "not a subclass of %s", name);
    }
    return result;
}

static PyObject *
make_functions(ca_state *st)
{
    PyObject *made = PyDict_New();
    for (size_t i = 0; made != NULL && i < Py_ARRAY_LENGTH(functions); i++) {
        PyObject *one = ca_function_new(st, functions[i].code);
        if (one == NULL ||
            PyDict_SetItemString(made, functions[i].name, one) < 0) {
            Py_CLEAR(made);
        }
        Py_XDECREF(one);
    }
    return made;
}

PyObject *
ca_combine_use(PyObject *module, PyObject *args)
{
    ca_state *st = PyModule_GetState(module);
    PyObject *stock, *gathering, *timeout, *group;
    int defers, forgets;
    if (!PyArg_ParseTuple(args, "O!O!O!O!pp:use_combining", &PyDict_Type,
                          &stock, &PyType_Type, &gathering, &PyType_Type,
                          &timeout, &PyType_Type, &group, &defers, &forgets) ||
        take_stock(st, stock) < 0 ||
        derives(module, gathering, "GatheringFuture") <= 0 ||
        derives(module, timeout, "Timeout") <= 0 ||
        derives(module, group, "TaskGroup") <= 0) {
        return NULL;
    }
    Py_XSETREF(st->GatheringType, (PyTypeObject *)Py_NewRef(gathering));
    Py_XSETREF(st->TimeoutType, (PyTypeObject *)Py_NewRef(timeout));
    Py_XSETREF(st->GroupType, (PyTypeObject *)Py_NewRef(group));
    st->combine_gather_defers = defers != 0;
    st->combine_group_forgets = forgets != 0;
    return make_functions(st);
}
