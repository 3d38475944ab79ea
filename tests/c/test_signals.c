/* test_signals.c - the socketpair that carries signal numbers. */
#include "reactor/signals.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

static void
test_both_ends_do_not_block_and_are_not_inherited(void)
{
    ca_signals signals;
    REQUIRE(ca_signals_open(&signals) == 0);
    int fds[2] = {signals.read_fd, signals.write_fd};
    for (int i = 0; i < 2; i++) {
        CHECK(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        CHECK(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    ca_signals_close(&signals);
    CHECK(fcntl(fds[0], F_GETFD) < 0 && fcntl(fds[1], F_GETFD) < 0);
}

static void
test_numbers_come_out_as_they_went_in(void)
{
    ca_signals signals;
    unsigned char numbers[8];
    REQUIRE(ca_signals_open(&signals) == 0);
    CHECK(ca_signals_drain(&signals, numbers, sizeof(numbers)) == 0);
    CHECK(write(signals.write_fd, "\x02\x0f\x0a", 3) == 3);
    CHECK(write(signals.write_fd, "\x02", 1) == 1);
    CHECK(ca_signals_drain(&signals, numbers, sizeof(numbers)) == 4);
    CHECK(memcmp(numbers, "\x02\x0f\x0a\x02", 4) == 0);
    CHECK(ca_signals_drain(&signals, numbers, sizeof(numbers)) == 0);
    ca_signals_close(&signals);
}

static void
test_a_small_buffer_takes_them_in_pieces(void)
{
    ca_signals signals;
    unsigned char numbers[3];
    REQUIRE(ca_signals_open(&signals) == 0);
    CHECK(write(signals.write_fd, "\x01\x02\x03\x04", 4) == 4);
    CHECK(ca_signals_drain(&signals, numbers, 3) == 3);
    CHECK(numbers[0] == 1 && numbers[1] == 2 && numbers[2] == 3);
    CHECK(ca_signals_drain(&signals, numbers, 3) == 1);
    CHECK(numbers[0] == 4);
    ca_signals_close(&signals);
}

static void
test_a_closed_pair_says_so(void)
{
    ca_signals signals;
    unsigned char number;
    REQUIRE(ca_signals_open(&signals) == 0);
    ca_signals_close(&signals);
    CHECK(signals.read_fd == -1 && signals.write_fd == -1);
    CHECK(ca_signals_drain(&signals, &number, 1) == -EBADF);
    ca_signals_close(&signals);
    CHECK(signals.read_fd == -1 && signals.write_fd == -1);
}

static void
test_without_descriptors_opening_fails_cleanly(void)
{
    struct rlimit saved, none;
    REQUIRE(getrlimit(RLIMIT_NOFILE, &saved) == 0);
    none = saved;
    none.rlim_cur = 0;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
    ca_signals signals = {.read_fd = 77, .write_fd = 78};
    CHECK(ca_signals_open(&signals) == -EMFILE);
    CHECK(signals.read_fd == -1 && signals.write_fd == -1);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &saved) == 0);
    ca_signals_close(&signals);
}

int
main(void)
{
    RUN(test_both_ends_do_not_block_and_are_not_inherited);
    RUN(test_numbers_come_out_as_they_went_in);
    RUN(test_a_small_buffer_takes_them_in_pieces);
    RUN(test_a_closed_pair_says_so);
    RUN(test_without_descriptors_opening_fails_cleanly);
    return check_report("test_signals");
}
