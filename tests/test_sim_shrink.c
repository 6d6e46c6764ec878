// Tests of shrinking and of exhaustive runs, on scenarios whose shortest failure is known.
#include "weir_sim.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/os.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct weir_sim *sim;

static int sim_setup(void **state)
{
    (void)state;
    sim = weir_sim_create();
    return sim == NULL ? -1 : 0;
}

static int sim_teardown(void **state)
{
    (void)state;
    weir_sim_destroy(sim);
    return 0;
}

// The first seed from `seed` that fails with this name; its deviations, to be freed.
static struct weir_sim_deviation *failure_find(const struct weir_sim_scenario *scenario,
                                               const char *name, uint64_t seed, size_t *count,
                                               struct weir_sim_result *failure)
{
    for (uint64_t last = seed + 20000; seed < last; seed++) {
        struct weir_sim_options options = {.seed = seed};
        weir_sim_run(sim, scenario, &options, failure);
        if (failure->verdict != WEIR_SIM_PASS && strcmp(failure->name, name) == 0) {
            *count = failure->deviations_count;
            struct weir_sim_deviation *list = malloc((*count + 1) * sizeof(*list));
            assert_non_null(list);
            memcpy(list, failure->deviations, *count * sizeof(*list));
            return list;
        }
    }
    fail_msg("no seed fails with %s", name);
    return NULL;
}

static void assert_fails_the_same(const struct weir_sim_scenario *scenario,
                                  const struct weir_sim_deviation *list, size_t count,
                                  const struct weir_sim_result *failure)
{
    struct weir_sim_options options = {.deviations = list, .deviations_count = count};
    struct weir_sim_result result;
    weir_sim_run(sim, scenario, &options, &result);
    assert_int_equal(result.verdict, failure->verdict);
    assert_string_equal(result.name, failure->name);
    assert_int_equal(result.deviations_count, count); // nothing in it that does not apply
}

// ---- A failure that needs three deviations among hundreds ----

static void three_needed(struct weir_sim *run)
{
    uint32_t found = 0;
    for (uint32_t kind = 0; kind < WEIR_SIM_KINDS_COUNT; kind++) {
        if (kind != WEIR_SIM_WORK) {
            weir_sim_rate(run, kind, 300000);
        }
    }
    for (uint32_t round = 0; round < 30; round++) {
        for (uint32_t kind = WEIR_SIM_STALE; kind < WEIR_SIM_WORK; kind++) {
            uint32_t value = weir_sim_choose(run, kind, 8);
            found += kind == WEIR_SIM_SEND && round == 3 && value != 0;
            found += kind == WEIR_SIM_RECV && round == 25 && value >= 3;
        }
        uint32_t draw = weir_sim_draw(run, "size", 1, 1000);
        found += round == 17 && draw >= 500;
    }
    weir_sim_check(run, found < 3, "all-three");
    weir_sim_check(run, found < 2, "two-of-three");
}

static const struct weir_sim_scenario three = {.name = "three", .run = three_needed};

static void test_finds_exactly_what_is_needed(void **state)
{
    (void)state;
    static const struct weir_sim_deviation wanted[] = {
        {WEIR_SIM_SEND, 0, 3, 1}, {WEIR_SIM_WORK, 0, 17, 499}, {WEIR_SIM_RECV, 0, 25, 3}};
    uint64_t seed = 0;
    for (int times = 0; times < 10; times++) {
        size_t count = 0;
        struct weir_sim_result failure;
        struct weir_sim_deviation *list = failure_find(&three, "all-three", seed, &count, &failure);
        assert_true(count > 100);
        size_t before = count;
        uint64_t runs = weir_sim_shrink(sim, &three, list, &count, &failure);
        assert_true(runs > 3 && runs < 10 * before);
        assert_int_equal(count, COUNT_OF(wanted));
        assert_memory_equal(list, wanted, sizeof(wanted));
        assert_fails_the_same(&three, list, count, &failure);
        free(list);
        seed += 1000;
    }
}

static void test_keeps_to_the_same_failure(void **state)
{
    (void)state;
    size_t count = 0;
    struct weir_sim_result failure;
    struct weir_sim_deviation *list = failure_find(&three, "two-of-three", 0, &count, &failure);
    weir_sim_shrink(sim, &three, list, &count, &failure);
    assert_int_equal(count, 2);
    assert_fails_the_same(&three, list, count, &failure);
    free(list);
}

static void test_a_failure_that_does_not_come_back_is_left_alone(void **state)
{
    (void)state;
    size_t count = 0;
    struct weir_sim_result failure;
    struct weir_sim_deviation *list = failure_find(&three, "all-three", 0, &count, &failure);
    struct weir_sim_deviation *copy = malloc(count * sizeof(*copy));
    memcpy(copy, list, count * sizeof(*copy));
    size_t before = count;
    snprintf(failure.name, sizeof(failure.name), "something-else");
    assert_int_equal(weir_sim_shrink(sim, &three, list, &count, &failure), 1);
    assert_int_equal(count, before);
    assert_memory_equal(list, copy, before * sizeof(*list));
    snprintf(failure.name, sizeof(failure.name), "all-three");
    failure.verdict = WEIR_SIM_LIVENESS; // the name alone is not enough
    assert_int_equal(weir_sim_shrink(sim, &three, list, &count, &failure), 1);
    assert_int_equal(count, before);
    free(copy);
    free(list);
}

static void test_what_never_applied_is_dropped(void **state)
{
    (void)state;
    const struct weir_sim_deviation list_given[] = {
        {WEIR_SIM_SEND, 0, 1000, 1}, {WEIR_SIM_SEND, 0, 3, 2},    {WEIR_SIM_RECV, 7, 0, 1},
        {WEIR_SIM_RECV, 0, 25, 9}, // too large
        {WEIR_SIM_RECV, 0, 24, 5},   {WEIR_SIM_WORK, 0, 17, 999}, {99, 99, 99, 99},
    };
    struct weir_sim_deviation list[COUNT_OF(list_given)];
    memcpy(list, list_given, sizeof(list));
    size_t count = COUNT_OF(list);
    struct weir_sim_result failure = {.verdict = WEIR_SIM_SAFETY, .name = "two-of-three"};
    weir_sim_shrink(sim, &three, list, &count, &failure);
    const struct weir_sim_deviation wanted[] = {{WEIR_SIM_SEND, 0, 3, 1},
                                                {WEIR_SIM_WORK, 0, 17, 499}};
    assert_int_equal(count, 2);
    assert_memory_equal(list, wanted, sizeof(wanted));
}

static void always_fails(struct weir_sim *run)
{
    weir_sim_draw(run, "size", 1, 5);
    weir_sim_fail(run, WEIR_SIM_LIVENESS, "always", "whatever is chosen");
}

static void test_a_failure_without_deviations_shrinks_to_none(void **state)
{
    (void)state;
    const struct weir_sim_scenario scenario = {.name = "always", .run = always_fails};
    struct weir_sim_deviation list[] = {{WEIR_SIM_WORK, 0, 0, 3}};
    size_t count = 1;
    struct weir_sim_result failure = {.verdict = WEIR_SIM_LIVENESS, .name = "always"};
    weir_sim_shrink(sim, &scenario, list, &count, &failure);
    assert_int_equal(count, 0);
    assert_true(weir_sim_shrink(sim, &scenario, list, &count, &failure) <= 20);
    assert_int_equal(count, 0);
}

// Nothing can be left out, and each value takes some seventeen runs to lower, twice over.
#define NEEDED 700
#define ENOUGH 65536

static void all_needed(struct weir_sim *run)
{
    for (uint32_t index = 0; index < NEEDED; index++) {
        if (weir_sim_choose(run, WEIR_SIM_WORK, 200000) < ENOUGH) {
            return;
        }
    }
    weir_sim_fail(run, WEIR_SIM_SAFETY, "all", "every one of them");
}

static void test_attempts_are_bounded(void **state)
{
    (void)state;
    const struct weir_sim_scenario scenario = {.name = "all", .run = all_needed};
    struct weir_sim_deviation list[NEEDED];
    for (uint32_t index = 0; index < NEEDED; index++) {
        list[index] = (struct weir_sim_deviation){WEIR_SIM_WORK, 0, index, 199999};
    }
    size_t count = NEEDED;
    struct weir_sim_result failure = {.verdict = WEIR_SIM_SAFETY, .name = "all"};
    assert_int_equal(weir_sim_shrink(sim, &scenario, list, &count, &failure), 20000);
    assert_int_equal(count, NEEDED);
    for (uint32_t index = 0; index < NEEDED; index++) { // what was reached is kept
        assert_int_equal(list[index].value, ENOUGH);
    }
    assert_fails_the_same(&scenario, list, count, &failure);
}

// ---- A lost update: two switches at most ----

struct counter {
    const struct weir_os *os;
    _Atomic uint32_t value;
    uint32_t rounds;
};

// What is read goes back one higher, and time passes in between.
static void count_up(void *argument)
{
    struct counter *counter = argument;
    for (uint32_t round = 0; round < counter->rounds; round++) {
        uint32_t value = atomic_load_explicit(&counter->value, memory_order_relaxed);
        counter->os->now_ns(counter->os->self);
        atomic_store_explicit(&counter->value, value + 1, memory_order_relaxed);
        counter->os->now_ns(counter->os->self);
    }
}

static void lost_update(struct weir_sim *run, uint32_t rounds)
{
    struct counter counter = {.os = weir_sim_os(run), .rounds = rounds};
    uint32_t first = weir_sim_start(run, count_up, &counter);
    uint32_t second = weir_sim_start(run, count_up, &counter);
    weir_sim_join(run, first);
    weir_sim_join(run, second);
    uint32_t value = atomic_load_explicit(&counter.value, memory_order_relaxed);
    weir_sim_check(run, value == 2 * rounds, "lost-update");
}

static void lost_update_of_many(struct weir_sim *run)
{
    lost_update(run, 20);
}

static void lost_update_of_two(struct weir_sim *run)
{
    lost_update(run, 2);
}

static void test_an_interleaving_shrinks_to_its_switches(void **state)
{
    (void)state;
    const struct weir_sim_scenario scenario = {.name = "lost-update", .run = lost_update_of_many};
    for (uint64_t seed = 0; seed < 20; seed++) {
        size_t count = 0;
        struct weir_sim_result failure;
        struct weir_sim_deviation *list =
            failure_find(&scenario, "lost-update", seed * 1000, &count, &failure);
        weir_sim_shrink(sim, &scenario, list, &count, &failure);
        assert_in_range(count, 1, 3);
        for (size_t index = 0; index < count; index++) {
            assert_true(list[index].kind == WEIR_SIM_SWITCH || list[index].kind == WEIR_SIM_STALE);
        }
        assert_fails_the_same(&scenario, list, count, &failure);
        free(list);
    }
}

// ---- Exhaustive runs ----

static uint64_t met[4][4][4];

static void three_choices(struct weir_sim *run)
{
    uint32_t one = weir_sim_choose(run, WEIR_SIM_PEER, 2);
    uint32_t two = weir_sim_choose(run, WEIR_SIM_SEND, 3);
    uint32_t last = weir_sim_choose(run, WEIR_SIM_WORK, 2 + one);
    met[one][two][last]++;
}

static void test_exhaust_makes_each_run_once(void **state)
{
    (void)state;
    static const uint64_t runs[] = {1, 1 + 1 + 2 + 1, 1 + 4 + (2 + 2 + 2), 15, 15};
    const struct weir_sim_scenario scenario = {.name = "three-choices", .run = three_choices};
    for (uint32_t deviations_max = 0; deviations_max < COUNT_OF(runs); deviations_max++) {
        struct weir_sim_result result;
        bool complete = false;
        memset(met, 0, sizeof(met));
        assert_int_equal(weir_sim_exhaust(sim, &scenario, deviations_max, 0, &result, &complete),
                         runs[deviations_max]);
        assert_true(complete);
        assert_int_equal(result.verdict, WEIR_SIM_PASS);
        for (uint32_t one = 0; one < 2; one++) {
            for (uint32_t two = 0; two < 3; two++) {
                for (uint32_t last = 0; last < 2 + one; last++) {
                    uint32_t deviations = (one ? 1u : 0) + (two ? 1u : 0) + (last ? 1u : 0);
                    assert_int_equal(met[one][two][last], deviations <= deviations_max);
                }
            }
        }
    }
}

static void test_exhaust_stops_when_told(void **state)
{
    (void)state;
    const struct weir_sim_scenario scenario = {.name = "three-choices", .run = three_choices};
    struct weir_sim_result result;
    for (uint64_t runs_max = 1; runs_max < 18; runs_max++) {
        bool complete = runs_max < 15;
        uint64_t runs = weir_sim_exhaust(sim, &scenario, 9, runs_max, &result, &complete);
        assert_int_equal(runs, runs_max < 15 ? runs_max : 15);
        assert_true(complete == (runs_max >= 15));
    }
}

static void test_exhaust_finds_the_lost_update(void **state)
{
    (void)state;
    const struct weir_sim_scenario scenario = {
        .name = "lost-update", .run = lost_update_of_two, .kinds = 1u << WEIR_SIM_SWITCH};
    struct weir_sim_result result;
    bool complete = false;
    weir_sim_exhaust(sim, &scenario, 0, 0, &result, &complete);
    assert_true(complete);
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
    complete = true;
    uint64_t runs = weir_sim_exhaust(sim, &scenario, 2, 0, &result, &complete);
    assert_false(complete);
    assert_int_equal(result.verdict, WEIR_SIM_SAFETY);
    assert_string_equal(result.name, "lost-update");
    assert_in_range(result.deviations_count, 1, 2);
    assert_true(runs > 1);
    // The run found is replayed by its deviations, outside of the search.
    struct weir_sim_deviation list[2];
    size_t count = result.deviations_count;
    memcpy(list, result.deviations, count * sizeof(list[0]));
    struct weir_sim_options options = {.deviations = list, .deviations_count = count};
    struct weir_sim_result again;
    weir_sim_run(sim, &scenario, &options, &again);
    assert_int_equal(again.verdict, WEIR_SIM_SAFETY);
    assert_true(again.hash == result.hash);
    // Nor is anything left of the search in a run by seed.
    options = (struct weir_sim_options){.seed = 1, .strategy = WEIR_SIM_BENIGN};
    weir_sim_run(sim, &scenario, &options, &again);
    assert_int_equal(again.verdict, WEIR_SIM_PASS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sim_setup, sim_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_finds_exactly_what_is_needed),
        TEST(test_keeps_to_the_same_failure),
        TEST(test_a_failure_that_does_not_come_back_is_left_alone),
        TEST(test_what_never_applied_is_dropped),
        TEST(test_a_failure_without_deviations_shrinks_to_none),
        TEST(test_attempts_are_bounded),
        TEST(test_an_interleaving_shrinks_to_its_switches),
        TEST(test_exhaust_makes_each_run_once),
        TEST(test_exhaust_stops_when_told),
        TEST(test_exhaust_finds_the_lost_update),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
