/* fault.c - the wrappers behind fault.h. */
#include "fault.h"

#include "backend/uring_abi.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/types.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
ssize_t __real_read(int fd, void *buf, size_t size);
long __real_syscall(long number, ...);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
ssize_t __wrap_read(int fd, void *buf, size_t size);
long __wrap_syscall(long number, ...);

static _Thread_local int countdown = -1;
static _Thread_local int happened;
static _Thread_local void (*allocation_hook)(void);
static _Thread_local void (*read_hooks[2])(void);
static _Thread_local int syscall_errno;
static _Thread_local int syscall_count;
static _Thread_local int late_countdown = -1;
static _Thread_local int late_errno;
static _Thread_local int ring_entries;

void
fault_allocation(int n)
{
    countdown = n;
    happened = 0;
}

int
fault_happened(void)
{
    return happened;
}

void
fault_before_allocation(void (*hook)(void))
{
    allocation_hook = hook;
}

void
fault_around_read(void (*before)(void), void (*after)(void))
{
    read_hooks[0] = before;
    read_hooks[1] = after;
}

void
fault_syscall(int err)
{
    syscall_errno = err;
}

void
fault_syscall_after(int n, int err)
{
    late_countdown = n;
    late_errno = err;
}

void
fault_ring_entries(int n)
{
    ring_entries = n;
}

int
fault_syscall_count(void)
{
    return syscall_count;
}

/* Call a hook that has been set, once. */
static void
call_once(void (**place)(void))
{
    void (*hook)(void) = *place;
    *place = NULL;
    if (hook != NULL) {
        hook();
    }
}

static int
fails(void)
{
    call_once(&allocation_hook);
    if (countdown < 0 || countdown-- > 0) {
        return 0;
    }
    happened = 1;
    errno = ENOMEM;
    return 1;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

ssize_t
__wrap_read(int fd, void *buf, size_t size)
{
    call_once(&read_hooks[0]);
    ssize_t n = __real_read(fd, buf, size);
    int err = errno;
    call_once(&read_hooks[1]);
    errno = err;
    return n;
}

long
__wrap_syscall(long number, ...)
{
    long arg[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        arg[i] = va_arg(args, long);
    }
    va_end(args);
    syscall_count++;
    int err = late_countdown >= 0 && late_countdown-- == 0 ? late_errno
                                                           : syscall_errno;
    if (err != 0) {
        errno = err;
        return -1;
    }
    if (number == URING_SYS_SETUP && ring_entries > 0) {
        uring_params *params = (uring_params *)arg[1];
        params->flags |= URING_SETUP_CQSIZE;
        params->cq_entries = (uint32_t)ring_entries;
        arg[0] = ring_entries;
    }
    return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4],
                          arg[5]);
}
