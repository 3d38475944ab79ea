/* registry.h - current_task() and all_tasks(), without paying per step.
 *
 * Up to 3.13 asyncio keeps both in Python objects (registry.c):
 *
 * Current task.  Every reader looks the loop up in asyncio's dict of current
 * tasks, and so hashes the loop first: that is when the running task is put
 * there (Loop's tp_hash).  A step only stores a pointer, and takes the entry
 * out again if somebody asked.
 *
 * All tasks.  Native tasks are linked into a list.  The set inside asyncio's
 * weak set of tasks is of a class of ours: when somebody asks it for its
 * members it first adds references to the tasks that it has not added yet, and
 * asked about one task it adds that one.  Tasks of derived classes are there
 * from their birth: hashing one may run Python code, which must not fail in
 * all_tasks().
 *
 * From 3.14 on the interpreter keeps both in the thread's state (thread.c): a
 * pointer to the current task, and a list of unfinished tasks through a node
 * in each of them.  We store there what stock stores there, and when.
 */
#ifndef CA_TASK_REGISTRY_H
#define CA_TASK_REGISTRY_H

#include "loop/overrides.h"
#include "task/task.h"

/* Find asyncio's dict and set, and put our kind of set there; once per
 * interpreter.  0, or -1 with an exception: then there are no native tasks. */
int ca_registry_init(ca_state *st);

/* tp_hash of Loop. */
Py_hash_t ca_registry_loop_hash(PyObject *op);

/* The type that stands in asyncio's set for native tasks; NULL: none does. */
extern PyType_Spec *const ca_registry_data_spec;

/* The current task of the loop that runs in this thread, whoever drives it:
 * borrowed, or NULL without an exception. */
PyObject *ca_registry_current_borrow(CaLoop *loop);

#if CA_TASKS_LINKED

/* The word of this thread's state at byte offset `where`. */
static inline PyObject **
ca_registry_word(int where)
{
    return (PyObject **)((char *)PyThreadState_Get() + where);
}

/* What stock does when it cannot enter, or leave: raises.  0 or -1. */
int ca_registry_enter_stock(CaLoop *loop, PyObject *task);
int ca_registry_leave_stock(CaLoop *loop, PyObject *task, int result);

/* `task` runs in `loop` from now on; 0, or -1 with an exception.  *outer is
 * what ran until now, for ca_registry_leave(). */
static inline int
ca_registry_enter(CaLoop *loop, PyObject *task, PyObject **outer)
{
    const ca_state *st = loop->st;
    PyObject **current = ca_registry_word(st->thread_task);
    *outer = NULL;
    if (*current != NULL ||
        *ca_registry_word(st->thread_loop) != (PyObject *)loop) {
        return ca_registry_enter_stock(loop, task);
    }
    *current = Py_NewRef(task);
    return 0;
}

/* `task` has run; returns `result`, or -1 with an exception. */
static inline int
ca_registry_leave(CaLoop *loop, PyObject *task, PyObject *Py_UNUSED(outer),
                  int result)
{
    const ca_state *st = loop->st;
    PyObject **current = ca_registry_word(st->thread_task);
    if (*current != task ||
        *ca_registry_word(st->thread_loop) != (PyObject *)loop) {
        return ca_registry_leave_stock(loop, task, result);
    }
    *current = NULL;
    Py_DECREF(task);
    return result;
}

/* Whether loops shall make Tasks of ours.  Not while another class stands in
 * the place of asyncio.Task: all_tasks() and current_task() in Python, which
 * go with asyncio's Task in Python, would not find them. */
static inline bool
ca_registry_wants_ours(const ca_state *st)
{
    if (!st->native_tasks || st->tasks_dict == NULL) {
        return st->native_tasks;
    }
    PyObject *type = PyDict_GetItemWithError(st->tasks_dict,
                                             st->names[CA_STR_Task]);
    return type == (PyObject *)st->StockTask ||
           type == (PyObject *)st->TaskType;
}

/* A Task that is in no list yet: fresh memory, or from the free list. */
static inline void
ca_registry_prepare(CaTask *task)
{
    task->m.node.next = NULL;
    task->m.node.prev = NULL;
}

/* Enter a task that has been started; 0. */
static inline int
ca_registry_add(ca_state *st, CaTask *task)
{
    task->m.is_task = 1;
    if (task->m.node.next == NULL) {
        ca_dlist_append((ca_dnode *)ca_registry_word(st->thread_tasks),
                        &task->m.node);
    }
    return 0;
}

/* Whether it is known, at no cost, that `loop` runs in this thread. */
static inline bool
ca_registry_steps_here(const CaLoop *loop)
{
    return *ca_registry_word(loop->st->thread_loop) == (PyObject *)loop;
}

/* Take a task out, wherever it is. */
static inline void
ca_registry_remove(CaTask *task)
{
    if (task->m.node.next != NULL) {
        ca_dlist_unlink(&task->m.node);
        ca_registry_prepare(task);
    }
}

/* `fut`, perhaps a task, is done. */
static inline void
ca_registry_finished(CaFuture *fut)
{
    if (fut->is_task) {
        ca_registry_remove((CaTask *)fut);
    }
}

/* Whether eager starts are made as we know them. */
static inline bool
ca_registry_knows_eager(const ca_state *Py_UNUSED(st))
{
    return true;
}

/* Whether the loop runs in this thread: it owns the word then, whoever drives
 * the task that stands there. */
static inline bool
ca_registry_current_is_ours(const CaLoop *loop)
{
    return ca_registry_steps_here(loop);
}

/* `task` runs inside a step of another task, or of none; *outer: new
 * reference, for ca_registry_leave_eager(). */
static inline int
ca_registry_enter_eager(CaLoop *loop, PyObject *task, PyObject **outer)
{
    PyObject **current = ca_registry_word(loop->st->thread_task);
    *outer = *current;
    *current = Py_NewRef(task);
    return 0;
}

/* `task` has had its first step; takes `outer`.  `result`, or -1. */
int ca_registry_leave_eager(CaLoop *loop, PyObject *task, PyObject *outer,
                            int result);

/* It is in the list of all tasks from its first step on. */
static inline int
ca_registry_join_eager(ca_state *st, CaTask *task)
{
    return ca_registry_add(st, task);
}

static inline int
ca_registry_part_eager(ca_state *Py_UNUSED(st), CaTask *Py_UNUSED(task))
{
    return 0;
}

#else

/* Put the current task into asyncio's dict; keeps a pending exception. */
void ca_registry_publish(CaLoop *loop);

/* May `task` become the current one?  Asked when the loop has one already, or
 * when somebody's stands in asyncio's dict.  0, or -1 with a RuntimeError. */
int ca_registry_check_free(CaLoop *loop, PyObject *task);

/* `task` runs in `loop` from now on; *outer is what ran until now, for
 * ca_registry_leave().  0 or -1.  A loop with a __hash__() of its own would
 * not tell that it is looked up. */
static inline int
ca_registry_enter(CaLoop *loop, PyObject *task, PyObject **outer)
{
    if ((loop->current_task != NULL ||
         PyDict_GET_SIZE(loop->st->current_tasks) != 0) &&
        ca_registry_check_free(loop, task) < 0) {
        return -1;
    }
    *outer = loop->current_task;
    loop->current_task = task;
    loop->current_published = false;
    if ((ca_overrides_now(loop) & CA_OVERRIDE_HASH) != 0) {
        ca_registry_publish(loop);
    }
    return 0;
}

/* Take the published entry out of asyncio's dict; a pending exception becomes
 * the context of a new one.  0, or -1 with a RuntimeError when it is another
 * task's. */
int ca_registry_unpublish(CaLoop *loop);

/* `task` has run; returns `result`, or -1 with an exception. */
static inline int
ca_registry_leave(CaLoop *loop, PyObject *Py_UNUSED(task), PyObject *outer,
                  int result)
{
    if (loop->current_published && ca_registry_unpublish(loop) < 0) {
        result = -1;
    }
    loop->current_task = outer;
    /* It was asked for, or nobody could have entered another one. */
    loop->current_published = outer != NULL;
    return result;
}

static inline bool
ca_registry_wants_ours(const ca_state *st)
{
    return st->native_tasks;
}

static inline void
ca_registry_prepare(CaTask *task)
{
    ca_dlist_init(&task->link);
}

/* A task was born: link it into the list.  One of a derived class is added to
 * asyncio's set at once, which hashes it.  0 or -1. */
int ca_registry_add(ca_state *st, CaTask *task);

/* Whether it is known, at no cost, that `loop` runs in this thread: it does if
 * one of its tasks is in a step. */
static inline bool
ca_registry_steps_here(const CaLoop *loop)
{
    return loop->current_task != NULL &&
           loop->thread_id == PyThread_get_thread_ident();
}

static inline void
ca_registry_remove(CaTask *task)
{
    ca_dlist_unlink(&task->link);
}

/* all_tasks() asks each task whether it is done. */
static inline void
ca_registry_finished(CaFuture *Py_UNUSED(fut))
{
}

/* Whether eager starts are made as we know them. */
static inline bool
ca_registry_knows_eager(const ca_state *st)
{
    return st->eager_tasks != NULL;
}

/* Into asyncio's set of tasks in their first step, and out of it (which keeps
 * a pending exception).  0 or -1. */
int ca_registry_join_eager(ca_state *st, CaTask *task);
int ca_registry_part_eager(ca_state *st, CaTask *task);

/* Whether asyncio's dict shows of the loop what we know of it: the running
 * native task, or nothing.  False when a task that others drive is there. */
bool ca_registry_current_is_ours(CaLoop *loop);

/* `task` runs inside a step of another task of ours, or of none. */
static inline int
ca_registry_enter_eager(CaLoop *loop, PyObject *task, PyObject **outer)
{
    if (loop->current_published && ca_registry_unpublish(loop) < 0) {
        return -1;
    }
    *outer = loop->current_task;
    loop->current_task = task;
    return 0;
}

static inline int
ca_registry_leave_eager(CaLoop *loop, PyObject *Py_UNUSED(task),
                        PyObject *outer, int result)
{
    if (loop->current_published && ca_registry_unpublish(loop) < 0) {
        result = -1;
    }
    loop->current_task = outer;
    return result;
}

#endif

#endif
