/* api.h - Loop's methods, one table per chapter of the asyncio manual.
 *
 * type.c joins the tables into the type.  A method parses, converts and acts;
 * what does not bind goes to stock's function for stock's words.
 */
#ifndef CA_API_API_H
#define CA_API_API_H

#include "loop/loop.h"

extern PyMethodDef ca_lifecycle_methods[];
extern PyMethodDef ca_schedule_methods[];
extern PyMethodDef ca_fd_methods[];
extern PyMethodDef ca_sock_methods[];
extern PyMethodDef ca_file_methods[];
extern PyMethodDef ca_task_methods[];
extern PyMethodDef ca_debug_methods[];
extern PyMethodDef ca_net_methods[];
extern PyMethodDef ca_process_methods[];
extern PyMethodDef ca_resolve_methods[];
extern PyGetSetDef ca_loop_getset[];
extern PyMemberDef ca_loop_members[];

/* Make the Loop type; new reference. */
PyObject *ca_loop_type_new(PyObject *module);

#endif
