/* flow.h - what transports with a buffer have in common: they tell the
 * protocol to pause, and take many objects at once. */
#ifndef CA_TRANSPORT_FLOW_H
#define CA_TRANSPORT_FLOW_H

#include "loop/held.h"
#include "loop/loop.h"

/* Call protocol.pause_writing() or resume_writing(), which of the names, in
 * `context`, whoever writes; in the writer's when that one is inside of the
 * other already, or it is NULL.  What is raised goes to
 * transport._flow_failed(), unless it must leave the loop.  0 or -1.  May run
 * Python. */
int ca_flow_tell(const ca_state *st, PyObject *transport, PyObject *protocol,
                 PyObject *context, int which);

/* Write each object of a list or tuple with write(), holding back, so that
 * they leave together when the transport is flushed; 0 or -1.  May run
 * Python. */
int ca_flow_write_each(CaLoop *loop, ca_gathering *gathering, PyObject *lines,
                       int (*write)(PyObject *transport, PyObject *data),
                       PyObject *transport);

#endif
