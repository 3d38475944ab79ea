/* test_ring.c - the ring against a plain array. */
#include "base/ring.h"

#include "check.h"
#include "fault.h"

#include <string.h>

enum { MODEL_CAP = 5000 };

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t
random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void
test_words_come_out_in_the_order_they_went_in(void)
{
    ca_ring ring = {0};
    for (uintptr_t i = 0; i < 1000; i++) {
        CHECK(ca_ring_push(&ring, i * 7) == 0);
    }
    CHECK(ring.count == 1000);
    for (uintptr_t i = 0; i < 1000; i++) {
        CHECK(ca_ring_pop(&ring) == i * 7);
    }
    CHECK(ring.count == 0);
    ca_ring_free(&ring);
}

static void
test_growing_keeps_the_order_wherever_the_head_is(void)
{
    for (size_t turned = 0; turned < 64; turned++) {
        ca_ring ring = {0};
        for (size_t i = 0; i < turned; i++) {
            REQUIRE(ca_ring_push(&ring, 0) == 0);
            (void)ca_ring_pop(&ring);
        }
        for (uintptr_t i = 0; i < 200; i++) {
            REQUIRE(ca_ring_push(&ring, i) == 0);
        }
        int wrong = 0;
        for (uintptr_t i = 0; i < 200; i++) {
            wrong += ca_ring_at(&ring, i) != i;
        }
        for (uintptr_t i = 0; i < 200; i++) {
            wrong += ca_ring_pop(&ring) != i;
        }
        CHECK(wrong == 0);
        ca_ring_free(&ring);
    }
}

static void
test_the_capacity_is_a_power_of_two(void)
{
    ca_ring ring = {0};
    CHECK(ca_ring_push(&ring, 1) == 0);
    CHECK(ring.cap == 64);
    while (ring.count < 64) {
        CHECK(ca_ring_push(&ring, 1) == 0);
    }
    CHECK(ring.cap == 64);
    CHECK(ca_ring_push(&ring, 1) == 0);
    CHECK(ring.cap == 128);
    CHECK(ca_ring_reserve(&ring, 63) == 0);
    CHECK(ring.cap == 128);
    CHECK(ca_ring_reserve(&ring, 64) == 0);
    CHECK(ring.cap == 256 && ring.count == 65);
    ca_ring_free(&ring);
    CHECK(ring.cap == 0 && ring.words == NULL && ring.count == 0);
    CHECK(ca_ring_push(&ring, 5) == 0);
    CHECK(ca_ring_pop(&ring) == 5);
    ca_ring_free(&ring);
}

/* One random step on both; returns whether they agree afterwards. */
static int
random_step(ca_ring *ring, uintptr_t *model, size_t *count)
{
    uint64_t dice = random_word() % 100;
    if (dice < 52 && *count < MODEL_CAP) {
        model[(*count)++] = (uintptr_t)random_word();
        return ca_ring_push(ring, model[*count - 1]) == 0;
    }
    if (dice < 97 && *count > 0) {
        uintptr_t first = model[0];
        memmove(model, model + 1, --*count * sizeof(*model));
        return ca_ring_pop(ring) == first;
    }
    if (*count > 0) {
        static uintptr_t front[MODEL_CAP];
        size_t n = random_word() % (*count + 1);
        memcpy(front, model, n * sizeof(*model));
        memmove(model, model + n, (*count - n) * sizeof(*model));
        memcpy(model + *count - n, front, n * sizeof(*model));
        ca_ring_rotate(ring, n);
    }
    return ring->count == *count;
}

static void
test_random_steps_agree_with_an_array(void)
{
    static uintptr_t model[MODEL_CAP];
    ca_ring ring = {0};
    size_t count = 0;
    int wrong = 0;
    for (int i = 0; i < 100000; i++) {
        wrong += !random_step(&ring, model, &count);
        if (i % 1000 == 0) {
            for (size_t k = 0; k < count; k++) {
                wrong += ca_ring_at(&ring, k) != model[k];
            }
        }
        wrong += ring.cap != 0 && ring.head >= ring.cap;
    }
    CHECK(wrong == 0);
    ca_ring_free(&ring);
}

static void
test_rotating_a_full_ring_keeps_all_words(void)
{
    ca_ring ring = {0};
    for (uintptr_t i = 0; i < 64; i++) {
        REQUIRE(ca_ring_push(&ring, i) == 0);
    }
    ca_ring_rotate(&ring, 0);
    CHECK(ca_ring_at(&ring, 0) == 0);
    ca_ring_rotate(&ring, 10);
    CHECK(ring.cap == 64 && ring.count == 64);
    CHECK(ca_ring_at(&ring, 0) == 10 && ca_ring_at(&ring, 63) == 9);
    ca_ring_rotate(&ring, 64);
    CHECK(ca_ring_at(&ring, 0) == 10 && ca_ring_at(&ring, 63) == 9);
    ca_ring_free(&ring);
}

static void
test_without_memory_nothing_changes(void)
{
    ca_ring ring = {0};
    fault_allocation(0);
    CHECK(ca_ring_push(&ring, 1) == -ENOMEM);
    CHECK(fault_happened());
    CHECK(ring.cap == 0 && ring.count == 0 && ring.words == NULL);
    for (uintptr_t i = 0; i < 64; i++) {
        REQUIRE(ca_ring_push(&ring, i) == 0);
    }
    fault_allocation(0);
    CHECK(ca_ring_push(&ring, 64) == -ENOMEM);
    CHECK(ring.cap == 64 && ring.count == 64);
    CHECK(ca_ring_push(&ring, 64) == 0);
    for (uintptr_t i = 0; i < 65; i++) {
        CHECK(ca_ring_pop(&ring) == i);
    }
    ca_ring_free(&ring);
}

static void
test_a_size_that_would_overflow_is_refused(void)
{
    size_t huge = (SIZE_MAX / 2 + 1) / sizeof(uintptr_t);
    ca_ring ring = {.count = huge, .cap = huge};
    CHECK(ca_ring_grow(&ring) == -ENOMEM);
    CHECK(ring.cap == huge && ring.count == huge);
    ring.count = ring.cap = SIZE_MAX / 2 + 1;
    CHECK(ca_ring_grow(&ring) == -ENOMEM);
}

int
main(void)
{
    RUN(test_words_come_out_in_the_order_they_went_in);
    RUN(test_growing_keeps_the_order_wherever_the_head_is);
    RUN(test_the_capacity_is_a_power_of_two);
    RUN(test_random_steps_agree_with_an_array);
    RUN(test_rotating_a_full_ring_keeps_all_words);
    RUN(test_without_memory_nothing_changes);
    RUN(test_a_size_that_would_overflow_is_refused);
    return check_report("test_ring");
}
