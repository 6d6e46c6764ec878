// What the tests of virtual threads share: running a scenario, and telling the test what happened.
#ifndef WEIR_TESTS_SUPPORT_VIRTUAL_H
#define WEIR_TESTS_SUPPORT_VIRTUAL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "sim/sim.h"

#define SECOND_NS UINT64_C(1000000000)

static struct weir_sim *sim;
static struct weir_sim_result result;

static inline int setup(void **state)
{
    (void)state;
    sim = weir_sim_create();
    return sim == NULL ? -1 : 0;
}

static inline int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(sim);
    return 0;
}

// What the threads of a scenario tell the test. They share it without synchronising, which is the
// test's business and no race of theirs.
#define NOT_WATCHED __attribute__((noinline, unused, no_sanitize("thread")))

static char story[256];
static uint64_t cells[8];

static NOT_WATCHED void tell(char letter)
{
    for (size_t i = 0; i + 1 < sizeof story; i++) {
        if (story[i] == '\0') {
            story[i] = letter;
            story[i + 1] = '\0';
            return;
        }
    }
}

static NOT_WATCHED uint64_t cell_get(uint32_t cell)
{
    return cells[cell];
}

static NOT_WATCHED void cell_set(uint32_t cell, uint64_t value)
{
    cells[cell] = value;
}

static inline void run_with(void (*scenario)(struct weir_sim *),
                            const struct weir_sim_options *options)
{
    struct weir_sim_scenario one = {.name = "test", .run = scenario};
    story[0] = '\0';
    memset(cells, 0, sizeof cells);
    weir_sim_run(sim, &one, options, &result);
}

static inline void run_benign(void (*scenario)(struct weir_sim *))
{
    run_with(scenario, &(struct weir_sim_options){.strategy = WEIR_SIM_BENIGN});
}

// With these deviations and no others.
static inline void run_replay(void (*scenario)(struct weir_sim *),
                              const struct weir_sim_deviation *deviations, size_t deviations_count)
{
    run_with(scenario, &(struct weir_sim_options){.deviations = deviations,
                                                  .deviations_count = deviations_count});
}

static inline void expect_pass(void)
{
    if (result.verdict != WEIR_SIM_PASS) {
        fail_msg("%d %s: %s", (int)result.verdict, result.name, result.message);
    }
}

static inline void expect(enum weir_sim_verdict verdict, const char *name)
{
    if (result.verdict != verdict || strcmp(result.name, name) != 0) {
        fail_msg("%d %s: %s", (int)result.verdict, result.name, result.message);
    }
}

static inline void nothing_main(void *argument)
{
    (void)argument;
}

// A thread that waits for a word, once; its argument is the deadline. What woke it adds to cell 3.
static inline void blocked_main(void *argument)
{
    uint64_t deadline_ns = *(const uint64_t *)argument;
    enum sim_wake wake = sim_block(sim, SIM_BLOCKED_FUTEX, 1, deadline_ns);
    cell_set(3, cell_get(3) + (uint64_t)wake);
}

#endif
