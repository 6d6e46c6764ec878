// A test's body as a scenario: run with chosen deviations and no others, and its verdict judged.
#ifndef WEIR_TESTS_SUPPORT_SCENARIO_H
#define WEIR_TESTS_SUPPORT_SCENARIO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sim/sim.h"

#define MS UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

static struct weir_sim *simulator;
static struct weir_sim_result result;

// With these deviations (none: NULL), and nothing else that is not benign.
static inline void run_deviating(void (*body)(struct weir_sim *),
                                 const struct weir_sim_deviation *deviations,
                                 size_t deviations_count)
{
    static const struct weir_sim_deviation none;
    struct weir_sim_scenario scenario = {.name = "test", .about = "a test", .run = body};
    struct weir_sim_options options = {.deviations = deviations == NULL ? &none : deviations,
                                       .deviations_count = deviations_count};
    weir_sim_run(simulator, &scenario, &options, &result);
}

static inline void expect_pass(void)
{
    if (result.verdict != WEIR_SIM_PASS) {
        fprintf(stderr, "%s: %s\n", result.name, result.message);
    }
    assert_int_equal(result.verdict, WEIR_SIM_PASS);
}

static inline void pass(void (*body)(struct weir_sim *))
{
    run_deviating(body, NULL, 0);
    expect_pass();
}

// All the deviations are met and the body still passes.
static inline void pass_all(void (*body)(struct weir_sim *),
                            const struct weir_sim_deviation *deviations, size_t deviations_count)
{
    run_deviating(body, deviations, deviations_count);
    expect_pass();
    assert_int_equal(result.deviations_count, deviations_count);
}

// The same with one, of that actor.
static inline void pass_deviating(void (*body)(struct weir_sim *), enum weir_sim_kind kind,
                                  uint32_t actor, uint32_t number, uint32_t value)
{
    struct weir_sim_deviation deviation = {
        .kind = kind, .actor = actor, .number = number, .value = value};
    pass_all(body, &deviation, 1);
}

static inline void expect_failure(void (*body)(struct weir_sim *), enum weir_sim_verdict verdict,
                                  const char *name)
{
    run_deviating(body, NULL, 0);
    assert_int_equal(result.verdict, verdict);
    assert_string_equal(result.name, name);
}

#define check(condition) weir_sim_check(sim, condition, "test")

static inline int setup(void **state)
{
    (void)state;
    simulator = weir_sim_create();
    return simulator == NULL ? -1 : 0;
}

static inline int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(simulator);
    return 0;
}

#endif
