/* oldlibc.c - see oldlibc.h.
 *
 * Built without link-time optimisation: that would part the calls from the
 * lines that say which version they mean.  Sanitizers put their own functions
 * in the place of some, by the plain name.
 */
#include "base/oldlibc.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>

#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__) && \
    !defined(__SANITIZE_ADDRESS__)
#if defined(__x86_64__)
#define OLD_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define OLD_VERSION "GLIBC_2.17"
#endif
#endif

#ifdef OLD_VERSION
__asm__(".symver dlopen, dlopen@" OLD_VERSION);
__asm__(".symver dlsym, dlsym@" OLD_VERSION);
__asm__(".symver dlclose, dlclose@" OLD_VERSION);
__asm__(".symver pthread_create, pthread_create@" OLD_VERSION);
__asm__(".symver pthread_join, pthread_join@" OLD_VERSION);
#endif

void *
ca_oldlibc_open_loaded(const char *file)
{
    return dlopen(file, RTLD_NOW | RTLD_NOLOAD);
}

void *
ca_oldlibc_symbol(void *handle, const char *name)
{
    return dlsym(handle, name);
}

void
ca_oldlibc_close(void *handle)
{
    (void)dlclose(handle);
}

int
ca_oldlibc_run_apart(void *(*call)(void *), void *arg)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, call, arg);
    return err != 0 ? err : pthread_join(thread, NULL);
}
