/* overrides.c - see overrides.h. */
#include "loop/overrides.h"

#include "py/adopt.h"

static const struct {
    int name;                          /* index in ca_state.names */
    uint32_t bit;
} watched[] = {
    {CA_STR_time, CA_OVERRIDE_TIME},
    {CA_STR_call_at, CA_OVERRIDE_CALL_AT},
    {CA_STR__run_once, CA_OVERRIDE_RUN_ONCE},
    {CA_STR_call_soon, CA_OVERRIDE_CALL_SOON},
    {CA_STR_create_future, CA_OVERRIDE_WATCHING | CA_OVERRIDE_CREATE_FUTURE},
    {CA_STR__ensure_fd_no_transport, CA_OVERRIDE_WATCHING},
    {CA_STR_add_reader, CA_OVERRIDE_WATCHING},
    {CA_STR_add_writer, CA_OVERRIDE_WATCHING},
    {CA_STR_remove_reader, CA_OVERRIDE_WATCHING},
    {CA_STR_remove_writer, CA_OVERRIDE_WATCHING},
    {CA_STR__add_reader, CA_OVERRIDE_WATCHING},
    {CA_STR__add_writer, CA_OVERRIDE_WATCHING},
    {CA_STR__remove_reader, CA_OVERRIDE_WATCHING},
    {CA_STR__remove_writer, CA_OVERRIDE_WATCHING},
    {CA_STR_is_running, CA_OVERRIDE_IS_RUNNING},
    {CA_STR_call_later, CA_OVERRIDE_CALL_LATER},
    {CA_STR_create_task, CA_OVERRIDE_CREATE_TASK},
    {CA_STR__transports, CA_OVERRIDE_TRANSPORTS},
    {CA_STR__make_socket_transport, CA_OVERRIDE_MAKE_TRANSPORT},
};
enum { N_WATCHED = sizeof(watched) / sizeof(watched[0]) };

int
ca_overrides_init(ca_state *st)
{
    for (int i = 0; i < N_WATCHED; i++) {
        PyObject *native = PyObject_GetAttr((PyObject *)st->LoopType,
                                            st->names[watched[i].name]);
        if (native == NULL) {
            return -1;
        }
        st->native_methods[i] = native;
    }
    return 0;
}

int
ca_overrides_update(CaLoop *self)
{
    ca_state *st = self->st;
    uint32_t bits = Py_TYPE(self)->tp_hash == st->LoopType->tp_hash
                        ? 0
                        : CA_OVERRIDE_HASH;
    for (int i = 0; i < N_WATCHED; i++) {
        PyObject *found = PyObject_GetAttr((PyObject *)Py_TYPE(self),
                                           st->names[watched[i].name]);
        if (found == NULL) {
            return -1;
        }
        bits |= ca_adopted_is_same(st->native_methods[i], found)
                    ? 0
                    : watched[i].bit;
        Py_DECREF(found);
    }
    self->overrides = bits | self->instance_overrides;
    self->asked_type = ca_typetag_of(Py_TYPE(self));
    return 0;
}

int
ca_overrides_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    CaLoop *self = (CaLoop *)op;
    for (int i = 0; i < N_WATCHED; i++) {
        PyObject *known = self->st->names[watched[i].name];
        if (name == known || PyUnicode_Compare(name, known) == 0) {
            if (watched[i].bit == CA_OVERRIDE_TRANSPORTS) {
                return 0;              /* a field of ours, and looked at */
            }
            if (value != NULL) {
                self->instance_overrides |= watched[i].bit;
            } else if ((watched[i].bit & CA_OVERRIDE_WATCHING) == 0) {
                /* That one stands for many names, and stays. */
                self->instance_overrides &= ~watched[i].bit;
            }
            return ca_overrides_update(self);
        }
    }
    return 0;
}
