/* spawn.h - starting another program.
 *
 * What subprocess.Popen does for the usual child, and quicker than
 * posix_spawn(3), which maps a stack for each.  Whatever fails, the caller is
 * to have it done by the standard library, which finds the words.
 */
#ifndef CA_BASE_SPAWN_H
#define CA_BASE_SPAWN_H

#include <sys/types.h>

typedef struct {
    char *const *paths;                /* to try in turn; ends with NULL */
    char *const *argv;                 /* ends with NULL */
    int streams[3];                    /* what becomes descriptors 0 to 2, none
                                          of them below 3; -1: as it is */
} ca_spawn;

/* Run a program in a child that inherits descriptors 0 to 2, the environment
 * and the signal mask, and no handler of a signal; SIGPIPE and SIGXFSZ are not
 * ignored there.  Blocks until the program has begun; its pid or -errno, and
 * then there is no child. */
pid_t ca_spawn_run(const ca_spawn *spawn);

#endif
