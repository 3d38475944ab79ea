/* fault.h - make calls fail on purpose.
 *
 * The test programs are linked with --wrap for the functions below, so calls
 * from the code under test (not from inside libc) pass through fault.c.  Each
 * thread has its own faults.
 */
#ifndef CA_TESTS_FAULT_H
#define CA_TESTS_FAULT_H

/* Let `n` allocations succeed and the one after them fail; the later ones
 * succeed again.  -1: none fails. */
void fault_allocation(int n);

/* Whether the allocation chosen last has been asked for, and failed. */
int fault_happened(void);

/* Call `hook` once, before the next allocation. */
void fault_before_allocation(void (*hook)(void));

/* Call the hooks once, before and after the next read(); NULL: no hook. */
void fault_around_read(void (*before)(void), void (*after)(void));

/* Every syscall() answers with this errno; 0: the kernel answers. */
void fault_syscall(int err);

/* Let `n` more calls of syscall() reach the kernel and the one after them
 * answer with this errno; the later ones reach it again. */
void fault_syscall_after(int n, int err);

/* Rings that are made from now on have so few entries, for what is asked and
 * for what has finished; 0: as many as were wanted. */
void fault_ring_entries(int n);

/* Calls of syscall() so far. */
int fault_syscall_count(void);

#endif
