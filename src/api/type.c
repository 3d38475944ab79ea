/* type.c - the Loop type: its chapters joined into one table. */
#include "api/api.h"

#include "loop/object.h"
#include "loop/overrides.h"
#include "task/registry.h"

#include <string.h>

PyDoc_STRVAR(loop_doc,
"Native half of casyncio.Loop; not to be created by itself.");

enum { MAX_METHODS = 128 };

/* Method descriptors point into the table, so it lives as long as the process;
 * every interpreter fills in the same values. */
static PyMethodDef all_methods[MAX_METHODS];

static void
join_methods(void)
{
    const PyMethodDef *const chapters[] = {
        ca_lifecycle_methods, ca_schedule_methods, ca_fd_methods,
        ca_task_methods,      ca_debug_methods,    ca_net_methods,
        ca_sock_methods,      ca_resolve_methods,  ca_file_methods,
        ca_process_methods,
    };
    size_t n = 0;
    for (size_t i = 0; i < sizeof(chapters) / sizeof(chapters[0]); i++) {
        for (const PyMethodDef *m = chapters[i]; m->ml_name != NULL; m++) {
            if (n < MAX_METHODS - 1) {
                all_methods[n++] = *m;
            }
        }
    }
}

PyObject *
ca_loop_type_new(PyObject *module)
{
    join_methods();
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)loop_doc},
        {Py_tp_new, ca_loop_tp_new},
        {Py_tp_traverse, ca_loop_tp_traverse},
        {Py_tp_clear, ca_loop_tp_clear},
        {Py_tp_dealloc, ca_loop_tp_dealloc},
        {Py_tp_setattro, ca_overrides_setattro},
        {Py_tp_hash, ca_registry_loop_hash},
        {Py_tp_methods, all_methods},
        {Py_tp_getset, ca_loop_getset},
        {Py_tp_members, ca_loop_members},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = "casyncio._native.Loop",
        .basicsize = sizeof(CaLoop),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
                 Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, NULL);
}
