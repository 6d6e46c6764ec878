// Tests of the backoff: bounds of every wait, growth, cap, reset, spread, and no overflow anywhere.
#include "writer/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/support_random.h"

#define MS UINT64_C(1000000)
#define RANDOM_RUNS 20000

// Evenly over the magnitudes, with the ends of the range made frequent.
static uint64_t random_size(uint64_t *state)
{
    uint64_t kind = random_next(state) % 8;
    if (kind == 0) {
        return random_next(state) % 4;
    }
    if (kind == 1) {
        return UINT64_MAX - random_next(state) % 4;
    }
    return random_next(state) >> (random_next(state) % 64);
}

// The random bits that give the longest wait of a step: the spread itself.
static uint64_t longest(uint64_t step_ns)
{
    return step_ns - step_ns / 2;
}

static void test_doubles_up_to_the_cap(void **state)
{
    (void)state;
    static const uint64_t steps_ms[] = {100, 200, 400, 800, 1000, 1000, 1000};
    struct weir_backoff low, high;
    weir_backoff_init(&low, 100 * MS, 1000 * MS);
    weir_backoff_init(&high, 100 * MS, 1000 * MS);
    for (size_t index = 0; index < sizeof(steps_ms) / sizeof(steps_ms[0]); index++) {
        uint64_t step_ns = steps_ms[index] * MS;
        assert_int_equal(weir_backoff_next(&low, 0), step_ns / 2);
        assert_int_equal(weir_backoff_next(&high, longest(step_ns)), step_ns);
    }
}

static void test_one_more_than_the_spread_wraps_to_the_shortest(void **state)
{
    (void)state;
    struct weir_backoff backoff;
    weir_backoff_init(&backoff, 101, 101);
    assert_int_equal(weir_backoff_next(&backoff, 0), 50);
    assert_int_equal(weir_backoff_next(&backoff, 51), 101);
    assert_int_equal(weir_backoff_next(&backoff, 52), 50);
}

static void test_reset_returns_to_the_floor(void **state)
{
    (void)state;
    struct weir_backoff backoff;
    weir_backoff_init(&backoff, 100 * MS, 30000 * MS);
    for (int count = 0; count < 20; count++) {
        (void)weir_backoff_next(&backoff, 0);
    }
    assert_int_equal(weir_backoff_next(&backoff, 0), 15000 * MS);
    weir_backoff_reset(&backoff);
    assert_int_equal(weir_backoff_next(&backoff, 0), 50 * MS);
    assert_int_equal(weir_backoff_next(&backoff, 0), 100 * MS);
}

static void test_boundaries(void **state)
{
    (void)state;
    static const struct {
        uint64_t floor_ns, cap_ns;  // as asked for
        uint64_t first_ns, last_ns; // longest first wait; longest after 70 doublings
    } rows[] = {
        {0, 0, 1, 1},
        {1, 0, 1, 1},
        {0, 1, 1, 1},
        {1, 1, 1, 1},
        {1, 2, 1, 2},
        {1, 3, 1, 3},
        {2, 3, 2, 3},
        {100, 99, 100, 100},
        {100, 100, 100, 100},
        {100, 101, 100, 101},
        {100, 199, 100, 199},
        {100, 200, 100, 200},
        {100, 201, 100, 201},
        {1, UINT64_MAX, 1, UINT64_MAX},
        {0, UINT64_MAX, 1, UINT64_MAX},
        {UINT64_MAX, 0, UINT64_MAX, UINT64_MAX},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
        {UINT64_MAX - 1, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX},
        {UINT64_C(1) << 63, UINT64_MAX, UINT64_C(1) << 63, UINT64_MAX},
    };
    for (size_t index = 0; index < sizeof(rows) / sizeof(rows[0]); index++) {
        struct weir_backoff backoff;
        weir_backoff_init(&backoff, rows[index].floor_ns, rows[index].cap_ns);
        uint64_t first_ns = weir_backoff_next(&backoff, longest(rows[index].first_ns));
        assert_int_equal(first_ns, rows[index].first_ns);
        for (int count = 0; count < 70; count++) {
            (void)weir_backoff_next(&backoff, 0);
        }
        uint64_t last_ns = weir_backoff_next(&backoff, longest(rows[index].last_ns));
        assert_int_equal(last_ns, rows[index].last_ns);
    }
}

// Any input: every wait within its step by an independent model, in 128 bits.
static void test_random_inputs_stay_in_bounds(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    for (int run = 0; run < RANDOM_RUNS; run++) {
        uint64_t floor_ns = random_size(&random);
        uint64_t cap_ns = random_size(&random);
        struct weir_backoff backoff;
        weir_backoff_init(&backoff, floor_ns, cap_ns);
        unsigned __int128 step = floor_ns == 0 ? 1 : floor_ns;
        unsigned __int128 cap = cap_ns < step ? step : cap_ns;
        uint64_t tries = random_next(&random) % 80;
        for (uint64_t index = 0; index < tries; index++) {
            uint64_t wait_ns = weir_backoff_next(&backoff, random_size(&random));
            assert_true(wait_ns >= (uint64_t)(step / 2));
            assert_true(wait_ns <= (uint64_t)step);
            step = step * 2 > cap ? cap : step * 2;
        }
    }
}

// Not a constant in disguise: all of the range is used, evenly to within a fifth.
static void test_spread_is_even(void **state)
{
    (void)state;
    uint64_t random = seed_get();
    uint64_t counts[10] = {0};
    for (int run = 0; run < 20000; run++) {
        struct weir_backoff backoff;
        weir_backoff_init(&backoff, 1000 * MS, 1000 * MS);
        uint64_t wait_ns = weir_backoff_next(&backoff, random_next(&random));
        uint64_t tenth = (wait_ns - 500 * MS) / (50 * MS);
        counts[tenth < 10 ? tenth : 9]++;
    }
    for (size_t index = 0; index < 10; index++) {
        assert_in_range(counts[index], 1600, 2400);
    }
}

static void test_same_random_same_waits(void **state)
{
    (void)state;
    struct weir_backoff one, two;
    weir_backoff_init(&one, 7 * MS, 900 * MS);
    weir_backoff_init(&two, 7 * MS, 900 * MS);
    uint64_t random = 42;
    for (int count = 0; count < 100; count++) {
        uint64_t bits = random_next(&random);
        assert_int_equal(weir_backoff_next(&one, bits), weir_backoff_next(&two, bits));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_up_to_the_cap),
        cmocka_unit_test(test_one_more_than_the_spread_wraps_to_the_shortest),
        cmocka_unit_test(test_reset_returns_to_the_floor),
        cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_random_inputs_stay_in_bounds),
        cmocka_unit_test(test_spread_is_even),
        cmocka_unit_test(test_same_random_same_waits),
    };
    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
