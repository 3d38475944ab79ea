/* names.c - see names.h. */
#include "py/state.h"

#define NAME_TEXT(name) [CA_STR_##name] = #name,
static const char *const texts[CA_STR_COUNT] = {CA_NAMES(NAME_TEXT)};
#undef NAME_TEXT

int
ca_names_init(ca_state *st)
{
    for (int i = 0; i < CA_STR_COUNT; i++) {
        st->names[i] = PyUnicode_InternFromString(texts[i]);
        if (st->names[i] == NULL) {
            return -1;
        }
    }
    st->kw_context = PyTuple_Pack(1, st->names[CA_STR_context]);
    st->kw_loop = PyTuple_Pack(1, st->names[CA_STR_loop]);
    return st->kw_context == NULL || st->kw_loop == NULL ? -1 : 0;
}

void
ca_names_clear(ca_state *st)
{
    for (int i = 0; i < CA_STR_COUNT; i++) {
        Py_CLEAR(st->names[i]);
    }
    Py_CLEAR(st->kw_context);
    Py_CLEAR(st->kw_loop);
}
