// The memory model's litmus tests and the Chase-Lev deque, over many seeds of the portfolio.
//
// tests/test_sim_litmus [SEEDS]     runs of each scenario; 20,000 unless given. In the coarse grain
// atomics cannot be seen, and the tests are skipped.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

// The scenarios are not part of the library that tests are linked with.
#include "sim/scenario_deque.c"
#include "sim/scenario_litmus.c"

#define MUTANT_SEEDS_MAX 10000

static uint64_t seeds = 20000;

static struct weir_sim_result run(struct weir_sim *sim, const struct weir_sim_scenario *scenario,
                                  uint64_t seed)
{
    struct weir_sim_options options = {.seed = seed};
    struct weir_sim_result result;
    weir_sim_run(sim, scenario, &options, &result);
    return result;
}

static void runs_pass(struct weir_sim *sim, const struct weir_sim_scenario *scenario)
{
    for (uint64_t seed = 0; seed < seeds; seed++) {
        struct weir_sim_result result = run(sim, scenario, seed);
        if (result.verdict != WEIR_SIM_PASS) {
            fail_msg("%s, seed %llu: %s: %s", scenario->name, (unsigned long long)seed, result.name,
                     result.message);
        }
    }
}

static int sim_setup(void **state)
{
    if (weir_sim_fine()) {
        *state = weir_sim_create();
        return *state == NULL ? -1 : 0;
    }
    return 0;
}

static int sim_teardown(void **state)
{
    weir_sim_destroy(*state);
    return 0;
}

// Also of those that allow an outcome: nothing else may go wrong in them.
static void test_forbidden_outcomes_are_never_seen(void **state)
{
    if (!weir_sim_fine()) {
        skip();
    }
    for (const struct weir_sim_scenario *scenario = sim_scenarios_litmus; scenario->name != NULL;
         scenario++) {
        runs_pass(*state, scenario);
    }
}

static void test_allowed_outcomes_are_seen_soon(void **state)
{
    if (!weir_sim_fine()) {
        skip();
    }
    struct weir_sim *sim = *state;
    for (const struct weir_sim_scenario *scenario = sim_scenarios_litmus; scenario->name != NULL;
         scenario++) {
        if (scenario->probes == NULL) {
            continue;
        }
        uint64_t before = weir_sim_probe(sim, scenario->probes[0]);
        uint64_t seed = 0;
        while (weir_sim_probe(sim, scenario->probes[0]) == before) {
            if (seed == scenario->probe_seeds) {
                fail_msg("%s: not seen in %u runs", scenario->name, scenario->probe_seeds);
            }
            (void)run(sim, scenario, seed++);
        }
        print_message("%-32s seen in run %llu\n", scenario->name, (unsigned long long)seed);
    }
}

// Without stale loads, threads that take turns at any point cannot show what needs them.
static void test_weak_outcomes_need_stale_loads(void **state)
{
    if (!weir_sim_fine()) {
        skip();
    }
    struct weir_sim *sim = *state;
    for (const struct weir_sim_scenario *scenario = sim_scenarios_litmus; scenario->name != NULL;
         scenario++) {
        if (scenario->probes == NULL) {
            continue;
        }
        struct weir_sim_scenario strong = *scenario;
        strong.kinds = 1u << WEIR_SIM_SWITCH;
        uint64_t before = weir_sim_probe(sim, scenario->probes[0]);
        for (uint64_t seed = 0; seed < 1000; seed++) {
            assert_int_equal(run(sim, &strong, seed).verdict, WEIR_SIM_PASS);
        }
        if (weir_sim_probe(sim, scenario->probes[0]) != before) {
            fail_msg("%s is seen without stale loads", scenario->name);
        }
    }
}

static void test_the_right_deque_never_fails(void **state)
{
    if (!weir_sim_fine()) {
        skip();
    }
    assert_int_equal(sim_scenarios_deque[0].expects, WEIR_SIM_PASS);
    runs_pass(*state, &sim_scenarios_deque[0]);
    assert_true(weir_sim_probe(*state, "deque-stolen") > 0);
}

static void test_each_weakened_deque_is_found(void **state)
{
    if (!weir_sim_fine()) {
        skip();
    }
    for (const struct weir_sim_scenario *scenario = &sim_scenarios_deque[1]; scenario->name != NULL;
         scenario++) {
        uint64_t seed = 0;
        struct weir_sim_result result = run(*state, scenario, seed);
        while (result.verdict == WEIR_SIM_PASS && seed < MUTANT_SEEDS_MAX) {
            result = run(*state, scenario, ++seed);
        }
        if (result.verdict != scenario->expects) {
            fail_msg("%s: verdict %d after %llu runs", scenario->name, (int)result.verdict,
                     (unsigned long long)seed + 1);
        }
        print_message("%-32s found in run %llu: %s\n", scenario->name, (unsigned long long)seed + 1,
                      result.name);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        seeds = strtoull(argv[1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forbidden_outcomes_are_never_seen),
        cmocka_unit_test(test_allowed_outcomes_are_seen_soon),
        cmocka_unit_test(test_weak_outcomes_need_stale_loads),
        cmocka_unit_test(test_the_right_deque_never_fails),
        cmocka_unit_test(test_each_weakened_deque_is_found),
    };
    return cmocka_run_group_tests(tests, sim_setup, sim_teardown);
}
