/* check.h - all that the plain C tests need of a framework.
 *
 * A test is a function named as a sentence; main() names them with RUN() and
 * returns check_report().  CHECK() notes a failure and goes on, so a test says
 * everything that is wrong with it; REQUIRE() is for what the rest of the
 * program makes no sense without.  Both may be used in any thread.  A program
 * that hangs is ended by SIGALRM.
 */
#ifndef CA_TESTS_CHECK_H
#define CA_TESTS_CHECK_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHECK_LIMIT_S = 120 };          /* for one whole program */

static struct {
    const char *test;                  /* the one that runs */
    atomic_int passed;
    atomic_int failed;
    int failed_before;                 /* when the running test began */
} check_state;

static inline int
check_note(int holds, const char *what, const char *file, int line)
{
    if (holds) {
        check_state.passed++;
    } else {
        check_state.failed++;
        fprintf(stderr, "%s:%d: %s: not true: %s\n", file, line,
                check_state.test, what);
    }
    return holds;
}

static inline void
check_require(int holds, const char *what, const char *file, int line)
{
    if (!check_note(holds, what, file, line)) {
        exit(1);
    }
}

static inline void
check_run(const char *name, void (*test)(void))
{
    if (check_state.test == NULL) {
        alarm(CHECK_LIMIT_S);
    }
    check_state.test = name;
    check_state.failed_before = check_state.failed;
    test();
    if (check_state.failed > check_state.failed_before) {
        fprintf(stderr, "FAILED %s\n", name);
    }
}

/* The last line of every program; its result is the exit status. */
static inline int
check_report(const char *program)
{
    printf("%s: %d passed, %d failed\n", program, check_state.passed,
           check_state.failed);
    return check_state.failed > 0 || check_state.passed == 0;
}

#define CHECK(expr) check_note(!!(expr), #expr, __FILE__, __LINE__)
#define REQUIRE(expr) check_require(!!(expr), #expr, __FILE__, __LINE__)
#define RUN(test) check_run(#test, test)

#endif
