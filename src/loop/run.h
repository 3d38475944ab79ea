/* run.h - one turn of the loop. */
#ifndef CA_LOOP_RUN_H
#define CA_LOOP_RUN_H

#include "loop/loop.h"

/* Defaults of the poll budget; settled in docs/decisions/0003. */
enum {
    CA_BUDGET_TURNS = 32,
    CA_BUDGET_TIME_NS = 20000,
};

/* One turn: look at descriptors and timers, run what is ready.  Blocks when
 * nothing is ready.  0, or -1 with the exception that must leave the loop.
 * May run Python.  Keeps no state in its frame that a nested turn could break:
 * the batch is a number, everything else lies in the loop. */
int ca_loop_turn(CaLoop *self);

#endif
