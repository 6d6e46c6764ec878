// Decisions to test: a source of each kind, a walk that asks for everything, and a record's copy.
#ifndef WEIR_TESTS_SUPPORT_CHOICE_H
#define WEIR_TESTS_SUPPORT_CHOICE_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/choice.h"
#include "tests/support_random.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct sim_choices *choices;

static inline int choices_setup(void **state)
{
    (void)state;
    choices = sim_choices_create();
    return choices == NULL ? -1 : 0;
}

static inline int choices_teardown(void **state)
{
    (void)state;
    sim_choices_destroy(choices);
    return 0;
}

static inline void begin_seed(uint64_t seed, enum weir_sim_strategy strategy)
{
    struct weir_sim_options options = {.seed = seed, .strategy = strategy};
    sim_choices_begin(choices, &options, 0);
}

static inline void begin_replay(const struct weir_sim_deviation *deviations, size_t count)
{
    struct weir_sim_options options = {.deviations = deviations, .deviations_count = count};
    sim_choices_begin(choices, &options, 0);
}

static inline void begin_bytes(const void *bytes, size_t count)
{
    struct weir_sim_options options = {.bytes = bytes, .bytes_count = count};
    sim_choices_begin(choices, &options, 0);
}

// Whether the frequency of an event of probability p is within five standard deviations of it. The
// seeds are fixed: this says nothing about luck, only about the arithmetic.
static inline void assert_frequency(uint64_t met, uint64_t trials, double p)
{
    double expected = p * (double)trials;
    double off = (double)met - expected;
    double variance = expected * (1 - p);
    if (off * off > 25 * variance + 1) {
        fail_msg("%llu of %llu, expected %.1f", (unsigned long long)met, (unsigned long long)trials,
                 expected);
    }
}

// ---- A run that asks for everything ----

struct asked {
    uint32_t kind, actor, options, value;
};

#define WALK_DECISIONS 3000

// A fixed, varied mix of decisions; what is asked depends on earlier answers, as in a real run.
static inline void walk(struct asked *asked, size_t count)
{
    uint64_t state = 42;
    uint32_t last = 0;
    for (size_t index = 0; index < count; index++) {
        struct asked *one = &asked[index];
        uint64_t bits = random_next(&state) + last;
        one->actor = (uint32_t)(bits % 5);
        if (bits >> 8 & 1) {
            uint8_t actors[] = {0, 1, 2, 3, 4};
            uint32_t first = bits >> 9 & 1 ? one->actor : (one->actor + 1) % 5;
            for (uint8_t place = 0; place < 5; place++) {
                actors[place] = (uint8_t)((first + place) % 5);
            }
            one->kind = WEIR_SIM_SWITCH;
            one->options = 2 + (uint32_t)((bits >> 16) % 4);
            one->value =
                sim_choose_thread(choices, one->actor, actors, one->options, bits >> 10 & 1);
        } else {
            one->kind = (uint32_t)((bits >> 32) % WEIR_SIM_KINDS_COUNT);
            one->options = 2 + (uint32_t)((bits >> 16) % 9);
            one->value = sim_choose(choices, one->kind, one->actor, one->options);
        }
        assert_true(one->value < one->options);
        last = one->value;
    }
}

static inline void assert_same_walk(const struct asked *one, const struct asked *other,
                                    size_t count)
{
    assert_memory_equal(one, other, count * sizeof(*one));
}

static inline size_t record_copy(struct weir_sim_deviation *copy, size_t copy_max)
{
    size_t count = 0;
    const struct weir_sim_deviation *record = sim_choices_deviations(choices, &count);
    assert_true(count <= copy_max);
    if (count > 0) {
        memcpy(copy, record, count * sizeof(*copy));
    }
    return count;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, choices_setup, choices_teardown)

#endif
