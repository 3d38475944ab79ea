/* eager.h - tasks whose first step runs inside their making, 3.12 and newer.
 *
 * Asked for by Task(..., eager_start=True), or by a task factory that does
 * nothing else: asyncio's own and ours are known by identity and not called.
 */
#ifndef CA_TASK_EAGER_H
#define CA_TASK_EAGER_H

#include "task/task.h"

/* What the running Python's create_task() does with the name of a task that a
 * factory has made; casyncio/_guard.py finds it out. */
enum {
    CA_EAGER_NAME_UNKNOWN,             /* factories are called as stock does */
    CA_EAGER_NAME_SET,                 /* set afterwards, when one is given */
    CA_EAGER_NAME_SET_ALWAYS,          /* set afterwards, None too */
    CA_EAGER_NAME_PASSED,              /* given to the factory */
    CA_EAGER_NAME_COUNT,
};

typedef enum {
    CA_EAGER_BASE,                     /* something is unusual: base's code */
    CA_EAGER_NOW,                      /* the first step at once */
    CA_EAGER_LATER,                    /* the loop does not run: queue it */
} ca_eager_when;

/* When a task of a native loop that asks for an eager start gets it. */
ca_eager_when ca_eager_start_of(CaLoop *loop);

/* Whether it is a factory that makes eager tasks and nothing else. */
bool ca_eager_is_factory(const ca_state *st, PyObject *factory);

/* Add a factory to those that are known; 0 or -1. */
int ca_eager_learn_factory(ca_state *st, PyObject *factory, int naming);

/* create_task() under such a factory, where ca_eager_start_of() is `now` or
 * `later`.  name, context: NULL or None for none. */
PyObject *ca_eager_create_task(CaLoop *loop, PyObject *coro, PyObject *name,
                               PyObject *context, bool now);

/* The first step of a filled task, in its context and as the current task in
 * place of the one that makes it; 0, or -1 with the exception that must reach
 * the maker: the task is done then, or waits, or has never begun. */
int ca_eager_step(CaLoop *loop, CaTask *task);

#endif
