/* test_heap.c - the timer heap against a sorted array. */
#include "base/heap.h"

#include "check.h"
#include "fault.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

enum { NTIMERS = 3000 };

static uint64_t seed = 0x2545f4914f6cdd1du;

static uint64_t
random_word(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Slots, order between parent and child: the invariants of heap.h. */
static int
heap_is_sound(const ca_heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        const ca_heap_entry *e = &heap->entries[i];
        const ca_heap_entry *parent = &heap->entries[i == 0 ? 0 : (i - 1) / 4];
        if (e->timer->slot != (int32_t)i || parent->when_ns > e->when_ns) {
            return 0;
        }
        if (i > 0 && parent->when_ns == e->when_ns &&
            parent->timer->seq > e->timer->seq) {
            return 0;
        }
    }
    return heap->count <= heap->cap;
}

static void
test_timers_come_out_by_time(void)
{
    static ca_timer timers[NTIMERS];
    ca_heap heap = {0};
    CHECK(ca_heap_first_ns(&heap) == INT64_MAX);
    for (int i = 0; i < NTIMERS; i++) {
        ca_timer_init(&timers[i]);
        CHECK(!ca_timer_queued(&timers[i]));
        /* 7919 is prime: every time from 0 to NTIMERS - 1 once. */
        CHECK(ca_heap_push(&heap, &timers[i], i * 7919 % NTIMERS) == 0);
        CHECK(ca_timer_queued(&timers[i]));
    }
    CHECK(heap_is_sound(&heap));
    for (int64_t when = 0; when < NTIMERS; when++) {
        CHECK(ca_heap_first_ns(&heap) == when);
        ca_timer *first = ca_heap_pop(&heap);
        CHECK((first - timers) * 7919 % NTIMERS == when);
        CHECK(!ca_timer_queued(first));
    }
    CHECK(heap.count == 0);
    ca_heap_free(&heap);
}

static void
test_equal_times_come_out_in_the_order_of_the_pushes(void)
{
    static ca_timer timers[NTIMERS];
    ca_heap heap = {0};
    for (int i = 0; i < NTIMERS; i++) {
        ca_timer_init(&timers[i]);
        REQUIRE(ca_heap_push(&heap, &timers[i], i % 3) == 0);
    }
    int wrong = 0;
    for (int when = 0; when < 3; when++) {
        for (int i = when; i < NTIMERS; i += 3) {
            wrong += ca_heap_pop(&heap) != &timers[i];
        }
    }
    CHECK(wrong == 0);
    /* A timer pushed again is the latest of its time. */
    REQUIRE(ca_heap_push(&heap, &timers[0], 5) == 0);
    REQUIRE(ca_heap_push(&heap, &timers[1], 5) == 0);
    ca_heap_remove(&heap, &timers[0]);
    REQUIRE(ca_heap_push(&heap, &timers[0], 5) == 0);
    CHECK(ca_heap_pop(&heap) == &timers[1]);
    CHECK(ca_heap_pop(&heap) == &timers[0]);
    ca_heap_free(&heap);
}

/* The model: timers in order of time, then of push. */
typedef struct {
    ca_timer *timer;
    int64_t when_ns;
} model_entry;

static model_entry model[NTIMERS];
static size_t model_count;

static void
model_push(ca_timer *timer, int64_t when_ns)
{
    size_t i = model_count++;
    while (i > 0 && model[i - 1].when_ns > when_ns) {
        model[i] = model[i - 1];
        i--;
    }
    model[i] = (model_entry){timer, when_ns};
}

static ca_timer *
model_remove(size_t i)
{
    ca_timer *timer = model[i].timer;
    model_count--;
    memmove(model + i, model + i + 1, (model_count - i) * sizeof(*model));
    return timer;
}

/* One random step on both; returns whether they agree. */
static int
random_step(ca_heap *heap, ca_timer *timers, unsigned pushes)
{
    uint64_t dice = random_word() % 100;
    if (dice < pushes) {
        ca_timer *timer = &timers[random_word() % NTIMERS];
        if (ca_timer_queued(timer)) {
            return 1;
        }
        /* Few different times, so that many are equal. */
        int64_t when_ns = (int64_t)(random_word() % 50) - 25;
        model_push(timer, when_ns);
        return ca_heap_push(heap, timer, when_ns) == 0;
    }
    if (model_count == 0) {
        return heap->count == 0 && ca_heap_first_ns(heap) == INT64_MAX;
    }
    if (dice % 2 == 0) {
        int64_t first_ns = ca_heap_first_ns(heap);
        return first_ns == model[0].when_ns &&
               ca_heap_pop(heap) == model_remove(0);
    }
    ca_timer *timer = model_remove(random_word() % model_count);
    ca_heap_remove(heap, timer);
    return !ca_timer_queued(timer);
}

static void
test_random_steps_agree_with_a_sorted_array(void)
{
    static ca_timer timers[NTIMERS];
    ca_heap heap = {0};
    int wrong = 0;
    for (int i = 0; i < NTIMERS; i++) {
        ca_timer_init(&timers[i]);
        timers[i].user = (uint32_t)i;
    }
    for (int i = 0; i < 60000; i++) {
        /* Grows for a while, then shrinks to nothing, and so on. */
        unsigned pushes = i / 6000 % 2 == 0 ? 75 : 30;
        wrong += !random_step(&heap, timers, pushes);
        wrong += heap.count != model_count;
        if (i % 50 == 0) {
            wrong += !heap_is_sound(&heap);
        }
    }
    CHECK(heap.cap > 61);
    while (model_count > 0) {
        wrong += ca_heap_pop(&heap) != model_remove(0);
    }
    for (int i = 0; i < NTIMERS; i++) {
        wrong += timers[i].user != (uint32_t)i;
    }
    CHECK(wrong == 0);
    ca_heap_free(&heap);
}

static void
test_every_slot_can_be_cancelled(void)
{
    enum { N = 100 };
    for (int victim = 0; victim < N; victim++) {
        ca_timer timers[N];
        ca_heap heap = {0};
        for (int i = 0; i < N; i++) {
            ca_timer_init(&timers[i]);
            int64_t when_ns = (int64_t)(random_word() % 1000);
            REQUIRE(ca_heap_push(&heap, &timers[i], when_ns) == 0);
        }
        ca_timer *timer = heap.entries[victim].timer;
        ca_heap_remove(&heap, timer);
        CHECK(!ca_timer_queued(timer));
        CHECK(heap.count == N - 1 && heap_is_sound(&heap));
        ca_heap_free(&heap);
    }
}

static void
test_the_ends_of_time_are_times_like_others(void)
{
    ca_timer last, first, middle;
    ca_heap heap = {0};
    ca_timer_init(&last);
    ca_timer_init(&first);
    ca_timer_init(&middle);
    CHECK(ca_heap_push(&heap, &last, INT64_MAX) == 0);
    CHECK(ca_heap_push(&heap, &middle, 0) == 0);
    CHECK(ca_heap_push(&heap, &first, INT64_MIN) == 0);
    CHECK(ca_heap_pop(&heap) == &first);
    CHECK(ca_heap_pop(&heap) == &middle);
    CHECK(ca_heap_pop(&heap) == &last);
    ca_heap_free(&heap);
}

static void
test_siblings_share_a_cache_line(void)
{
    static ca_timer timers[1000];
    ca_heap heap = {0};
    for (int i = 0; i < 1000; i++) {
        ca_timer_init(&timers[i]);
        REQUIRE(ca_heap_push(&heap, &timers[i], i) == 0);
        CHECK((uintptr_t)&heap.entries[1] % 64 == 0);
    }
    ca_heap_free(&heap);
}

static void
test_freeing_lets_go_of_all_timers(void)
{
    ca_timer timers[200];
    ca_heap heap = {0};
    for (int i = 0; i < 200; i++) {
        ca_timer_init(&timers[i]);
        REQUIRE(ca_heap_push(&heap, &timers[i], -i) == 0);
    }
    ca_heap_free(&heap);
    for (int i = 0; i < 200; i++) {
        CHECK(!ca_timer_queued(&timers[i]));
    }
    CHECK(heap.entries == NULL && heap.cap == 0 && heap.count == 0);
    ca_heap_free(&heap);
    CHECK(ca_heap_push(&heap, &timers[0], 1) == 0);
    CHECK(ca_heap_pop(&heap) == &timers[0]);
    ca_heap_free(&heap);
}

static void
test_without_memory_nothing_changes(void)
{
    static ca_timer timers[200];
    ca_heap heap = {0};
    int refused = 0;
    for (int i = 0; i < 200; i++) {
        ca_timer_init(&timers[i]);
        fault_allocation(0);
        int err = ca_heap_push(&heap, &timers[i], -i);
        if (err < 0) {
            refused++;
            CHECK(err == -ENOMEM && fault_happened());
            CHECK(!ca_timer_queued(&timers[i]));
            CHECK(heap.count == (size_t)i && heap_is_sound(&heap));
            fault_allocation(-1);
            CHECK(ca_heap_push(&heap, &timers[i], -i) == 0);
        }
    }
    CHECK(refused == 3);               /* room for 61, 125, 253 */
    fault_allocation(-1);
    for (int i = 199; i >= 0; i--) {
        CHECK(ca_heap_pop(&heap) == &timers[i]);
    }
    ca_heap_free(&heap);
}

static void
test_more_timers_than_a_slot_can_number_are_refused(void)
{
    ca_timer timer;
    ca_timer_init(&timer);
    const size_t sizes[] = {(size_t)1 << 30, INT32_MAX, SIZE_MAX / 16,
                            SIZE_MAX};
    for (int i = 0; i < 4; i++) {
        ca_heap heap = {.count = sizes[i], .cap = sizes[i]};
        CHECK(ca_heap_push(&heap, &timer, 1) == -ENOMEM);
        CHECK(heap.count == sizes[i] && heap.cap == sizes[i]);
        CHECK(!ca_timer_queued(&timer));
    }
}

int
main(void)
{
    RUN(test_timers_come_out_by_time);
    RUN(test_equal_times_come_out_in_the_order_of_the_pushes);
    RUN(test_random_steps_agree_with_a_sorted_array);
    RUN(test_every_slot_can_be_cancelled);
    RUN(test_the_ends_of_time_are_times_like_others);
    RUN(test_siblings_share_a_cache_line);
    RUN(test_freeing_lets_go_of_all_timers);
    RUN(test_without_memory_nothing_changes);
    RUN(test_more_timers_than_a_slot_can_number_are_refused);
    return check_report("test_heap");
}
