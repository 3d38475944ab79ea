/* dlist.h - intrusive circular doubly linked list.
 *
 * A node belongs to at most one list.  An unlinked node points at itself, so
 * ca_dlist_unlink() is harmless when repeated.  Whoever embeds a node owns it.
 */
#ifndef CA_BASE_DLIST_H
#define CA_BASE_DLIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ca_dnode {
    struct ca_dnode *next;
    struct ca_dnode *prev;
} ca_dnode;

static inline void
ca_dlist_init(ca_dnode *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool
ca_dlist_empty(const ca_dnode *list)
{
    return list->next == list;
}

static inline bool
ca_dlist_linked(const ca_dnode *node)
{
    return node->next != node;
}

static inline void
ca_dlist_unlink(ca_dnode *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    ca_dlist_init(node);
}

static inline void
ca_dlist_append(ca_dnode *list, ca_dnode *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

/* First node, taken off the list; NULL when the list is empty. */
static inline ca_dnode *
ca_dlist_take(ca_dnode *list)
{
    ca_dnode *node = list->next;
    if (node == list) {
        return NULL;
    }
    ca_dlist_unlink(node);
    return node;
}

/* The struct of `type` in which `node` is the member `field`. */
#define CA_CONTAINER_OF(node, type, field) \
    ((type *)((char *)(node) - offsetof(type, field)))

#endif
