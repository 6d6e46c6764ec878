// Cases of the simulator's memory model: scenarios of two threads, and the verdict they must have.
//
// Those about what the compiler reports are skipped in the coarse grain, where the program is not
// instrumented.
#ifndef WEIR_TESTS_SUPPORT_MEMORY_CASE_H
#define WEIR_TESTS_SUPPORT_MEMORY_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim.h"

#define NOT_WATCHED __attribute__((noinline, no_sanitize("thread")))
#define KINDS (1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE | 1u << WEIR_SIM_WEAK)
#define SEEDS 300

static struct weir_sim *the_sim;

static inline int setup(void **state)
{
    (void)state;
    the_sim = weir_sim_create();
    return the_sim == NULL ? -1 : 0;
}

static inline int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(the_sim);
    return 0;
}

static inline struct weir_sim_result run_seed(void (*entry)(struct weir_sim *), uint64_t seed)
{
    const struct weir_sim_scenario scenario = {.name = "case", .run = entry, .kinds = KINDS};
    const struct weir_sim_options options = {.seed = seed};
    struct weir_sim_result result;
    weir_sim_run(the_sim, &scenario, &options, &result);
    return result;
}

// Every run passes.
static inline void expect_pass(void (*entry)(struct weir_sim *))
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct weir_sim_result result = run_seed(entry, seed);
        if (result.verdict != WEIR_SIM_PASS) {
            fail_msg("seed %llu: %s: %s", (unsigned long long)seed, result.name, result.message);
        }
    }
}

// Runs fail in this way only, and `all` or at least one of them do.
static inline void expect(void (*entry)(struct weir_sim *), bool all, enum weir_sim_verdict verdict,
                          const char *name)
{
    uint64_t failures = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct weir_sim_result result = run_seed(entry, seed);
        if (result.verdict != WEIR_SIM_PASS) {
            assert_int_equal(result.verdict, verdict);
            assert_string_equal(result.name, name);
            failures++;
        }
    }
    assert_in_range(failures, all ? SEEDS : 1, SEEDS);
}

// Whatever the schedule: a race is found by clocks, not by luck.
static inline void expect_race(void (*entry)(struct weir_sim *))
{
    expect(entry, true, WEIR_SIM_RACE, "data-race");
}

#define FINE_ONLY()                                                                                \
    if (!weir_sim_fine()) {                                                                        \
        skip();                                                                                    \
    }

static struct {
    uint64_t plain;
    uint8_t bytes[64];
    _Atomic uint32_t flag, other;
} shared;

// Both bodies at the same time, on two threads, with `shared` zeroed before.
static inline void at_once(struct weir_sim *sim, void (*first)(void *), void (*second)(void *))
{
    memset(&shared, 0, sizeof(shared));
    uint32_t one = weir_sim_start(sim, first, sim);
    uint32_t two = weir_sim_start(sim, second, sim);
    weir_sim_join(sim, one);
    weir_sim_join(sim, two);
}

#define BODY(name, ...)                                                                            \
    static void name(void *argument)                                                               \
    {                                                                                              \
        struct weir_sim *sim = argument;                                                           \
        (void)sim;                                                                                 \
        __VA_ARGS__                                                                                \
    }
#define PAIR(name, first, second)                                                                  \
    static void name(struct weir_sim *sim)                                                         \
    {                                                                                              \
        at_once(sim, first, second);                                                               \
    }

static volatile uint64_t sink; // each thread's own would be as good; never looked at
static NOT_WATCHED void use(uint64_t value)
{
    sink = value;
}

static inline uint8_t *block_alloc(struct weir_sim *sim, size_t bytes)
{
    const struct weir_os *os = weir_sim_os(sim);
    return os->alloc(os->self, bytes, 16);
}

static inline void block_release(struct weir_sim *sim, void *memory, size_t bytes)
{
    const struct weir_os *os = weir_sim_os(sim);
    os->release(os->self, memory, bytes);
}

#endif
