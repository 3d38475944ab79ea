/* oldlibc.h - functions that moved from one library of glibc into another.
 *
 * Linked plainly, they would bind a build on a new system to glibc 2.34, which
 * is where they moved.  Here they are asked for by the version that both the
 * old and the new place have.
 */
#ifndef CA_BASE_OLDLIBC_H
#define CA_BASE_OLDLIBC_H

/* As dlopen(3) of a library that is loaded already; NULL when it is not. */
void *ca_oldlibc_open_loaded(const char *file);

/* As dlsym(3) and dlclose(3); NULL for the order of the whole process. */
void *ca_oldlibc_symbol(void *handle, const char *name);
void ca_oldlibc_close(void *handle);

/* Run call(arg) in a thread of its own and wait for its end; 0, or an errno
 * and then it was not run. */
int ca_oldlibc_run_apart(void *(*call)(void *), void *arg);

#endif
