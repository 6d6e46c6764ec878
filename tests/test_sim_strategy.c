// Tests of the simulator's scheduling strategies: the walk's rates, PCT's bound, few delays.
#include "sim/strategy.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/choice.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// As in test_sim_choice.c: within five standard deviations.
static void assert_frequency(uint64_t met, uint64_t trials, double p)
{
    double expected = p * (double)trials;
    double off = (double)met - expected;
    if (off * off > 25 * expected * (1 - p) + 1) {
        fail_msg("%" PRIu64 " of %" PRIu64 ", expected %.1f", met, trials, expected);
    }
}

static void describe(const struct sim_choices *choices, char *text, size_t text_bytes)
{
    sim_choices_describe(choices, text, text_bytes);
}

static void begin_seed(struct sim_choices *choices, uint64_t seed, enum weir_sim_strategy strategy)
{
    struct weir_sim_options options = {.seed = seed, .strategy = strategy};
    sim_choices_begin(choices, &options, 0);
}

// ---- What a seed draws ----

static void test_the_portfolio_has_all_in_their_shares(void **state)
{
    (void)state;
    const uint64_t seeds = 40000;
    uint64_t random = 0, pct = 0, delayed = 0, depths[6] = {0}, delays[9] = {0};
    uint64_t magnitudes[18] = {0}, horizons = 0;
    struct sim_choices *choices = sim_choices_create();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        char text[1024];
        uint32_t points = 0, horizon = 0, above = 0, below = 0;
        begin_seed(choices, seed, WEIR_SIM_PORTFOLIO);
        describe(choices, text, sizeof(text));
        if (sscanf(text, "strategy=pct depth=%" SCNu32 " horizon=%" SCNu32, &points, &horizon) ==
            2) {
            assert_in_range(points, 1, 5);
            depths[points]++;
            pct++;
        } else if (sscanf(text, "strategy=delay-bounded delays=%" SCNu32 " horizon=%" SCNu32,
                          &points, &horizon) == 2) {
            assert_in_range(points, 1, 8);
            delays[points]++;
            delayed++;
        } else {
            assert_int_equal(
                sscanf(text, "strategy=random switch=%" SCNu32 "/%" SCNu32, &above, &below), 2);
            assert_true(256 * above >= below && above < below);
            assert_non_null(strstr(text, " wake="));
            random++;
        }
        if (horizon != 0) {
            assert_in_range(horizon, 1 << 5, 1 << 17);
            magnitudes[31 - __builtin_clz(horizon)]++;
            horizons++;
        }
    }
    assert_frequency(random, seeds, 0.4);
    assert_frequency(pct, seeds, 0.4);
    assert_frequency(delayed, seeds, 0.2);
    for (uint32_t depth = 1; depth <= 5; depth++) {
        assert_frequency(depths[depth], pct, 0.2);
    }
    for (uint32_t count = 1; count <= 8; count++) {
        assert_frequency(delays[count], delayed, 0.125);
    }
    for (uint32_t magnitude = 7; magnitude < 17; magnitude++) { // lower ones share their borders
        double share = (double)magnitudes[magnitude] / (double)horizons * 12;
        assert_true(share > 0.9 && share < 1.1);
    }
    sim_choices_destroy(choices);
}

static void test_a_strategy_that_is_named_is_taken(void **state)
{
    (void)state;
    static const char *const labels[] = {"", "benign", "random", "pct", "delay-bounded"};
    struct sim_choices *choices = sim_choices_create();
    for (uint32_t strategy = WEIR_SIM_BENIGN; strategy < WEIR_SIM_STRATEGIES_COUNT; strategy++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            char text[1024], wanted[64];
            begin_seed(choices, seed, strategy);
            describe(choices, text, sizeof(text));
            snprintf(wanted, sizeof(wanted), "strategy=%s", labels[strategy]);
            assert_memory_equal(text, wanted, strlen(wanted));
        }
    }
    sim_choices_destroy(choices);
}

// ---- Random walk ----

static void test_the_walk_meets_the_rates_it_tells(void **state)
{
    (void)state;
    const uint8_t going_on[] = {2, 3, 0, 1}, blocked[] = {3, 0, 1};
    const uint64_t trials = 200000;
    struct sim_choices *choices = sim_choices_create();
    for (uint64_t seed = 0; seed < 30; seed++) {
        char text[1024];
        uint32_t above = 0, below = 0, wake_above = 0, wake_below = 0;
        uint64_t switches[4] = {0}, wakes[3] = {0};
        begin_seed(choices, seed, WEIR_SIM_RANDOM);
        describe(choices, text, sizeof(text));
        sscanf(text, "strategy=random switch=%" SCNu32 "/%" SCNu32, &above, &below);
        sscanf(strstr(text, " wake="), " wake=%" SCNu32 "/%" SCNu32, &wake_above, &wake_below);
        for (uint64_t trial = 0; trial < trials; trial++) {
            switches[sim_choose_thread(choices, 2, going_on, 4, false)]++;
            wakes[sim_choose_thread(choices, 2, blocked, 3, false)]++;
        }
        double rate = (double)above / below, wake_rate = (double)wake_above / wake_below;
        for (size_t index = 1; index < 4; index++) {
            assert_frequency(switches[index], trials, rate / 3);
        }
        for (size_t index = 1; index < 3; index++) {
            assert_frequency(wakes[index], trials, wake_rate / 2);
        }
    }
    sim_choices_destroy(choices);
}

// ---- PCT ----

static void pct_begin(struct sim_strategy *strategy, uint32_t depth, uint32_t horizon,
                      uint64_t seed)
{
    sim_strategy_begin(strategy, WEIR_SIM_PCT, depth - 1, horizon, sim_random_stream(seed, 0));
}

// The threads that can run, the current first if it can.
static uint32_t ring(uint8_t *actors, uint32_t current, uint32_t threads, const uint32_t *left)
{
    uint32_t count = 0;
    for (uint32_t place = 0; place < threads; place++) {
        uint32_t actor = (current + place) % threads;
        if (left[actor] > 0) {
            actors[count++] = (uint8_t)actor;
        }
    }
    return count;
}

// Runs `threads` threads of `steps` steps each; order[i]: whose step the i-th was.
static uint32_t toy_run(struct sim_strategy *strategy, uint32_t threads, uint32_t steps,
                        uint8_t *order)
{
    uint32_t left[8], current = 0, done = 0;
    uint8_t actors[8];
    for (uint32_t actor = 0; actor < threads; actor++) {
        left[actor] = steps;
        if (actor != 0) {
            sim_strategy_thread(strategy, actor);
        }
    }
    for (;;) {
        uint32_t count = ring(actors, current, threads, left);
        if (count == 0) {
            return done;
        }
        uint32_t chosen =
            count == 1 ? 0 : sim_strategy_choose(strategy, current, actors, count, false);
        assert_true(chosen < count);
        current = actors[chosen];
        left[current]--;
        order[done++] = (uint8_t)current;
    }
}

// Whether thread 1's step `other` came between thread 0's steps `before` and before + 1: two
// orderings that must hold at once, a bug of depth 2.
static bool between(const uint8_t *order, uint32_t length, uint32_t before, uint32_t other)
{
    uint32_t counts[2] = {0};
    for (uint32_t index = 0; index < length; index++) {
        uint32_t actor = order[index];
        if (actor == 1 && counts[1] == other) {
            return counts[0] == before + 1;
        }
        counts[actor]++;
    }
    return false;
}

// The paper's theorem: of n threads and at most k steps, a bug of depth d is found with probability
// at least 1 / (n k^(d-1)).
static void test_pct_meets_the_bound_of_its_paper(void **state)
{
    (void)state;
    static const uint32_t bugs[][2] = {{0, 0}, {0, 49}, {20, 30}, {24, 24}, {48, 0}, {48, 49}};
    const uint64_t runs = 40000;
    uint64_t found[COUNT_OF(bugs)] = {0}, found_shallow = 0;
    for (uint64_t seed = 0; seed < runs; seed++) {
        struct sim_strategy strategy;
        uint8_t order[100];
        pct_begin(&strategy, 2, 100, seed);
        uint32_t length = toy_run(&strategy, 2, 50, order);
        assert_int_equal(length, 100);
        for (size_t bug = 0; bug < COUNT_OF(bugs); bug++) {
            found[bug] += between(order, length, bugs[bug][0], bugs[bug][1]);
        }
        pct_begin(&strategy, 1, 100, seed); // without a change point there is no such thing
        toy_run(&strategy, 2, 50, order);
        found_shallow += between(order, length, 20, 30);
    }
    // 1 / (2 * 100); the fixed seeds may lie three standard deviations (42) below the mean.
    for (size_t bug = 0; bug < COUNT_OF(bugs); bug++) {
        if (found[bug] < runs / 200 - 42) {
            fail_msg("bug %zu found %" PRIu64 " times of %" PRIu64, bug, found[bug], runs);
        }
    }
    assert_int_equal(found_shallow, 0);
}

// Depth 3, by three threads: 1's step between two of 0's, and 2's between two of 1's.
static void test_pct_meets_the_bound_at_depth_three(void **state)
{
    (void)state;
    const uint64_t runs = 400000;
    uint64_t found = 0;
    for (uint64_t seed = 0; seed < runs; seed++) {
        struct sim_strategy strategy;
        uint8_t order[18];
        uint32_t counts[3] = {0}, hits = 0;
        pct_begin(&strategy, 3, 18, seed);
        uint32_t length = toy_run(&strategy, 3, 6, order);
        for (uint32_t index = 0; index < length; index++) {
            hits += order[index] == 1 && counts[1] == 2 && counts[0] == 3;
            hits += order[index] == 2 && counts[2] == 4 && counts[1] == 3;
            counts[order[index]]++;
        }
        found += hits == 2;
    }
    assert_true(found >= runs / (3 * 18 * 18) - 61); // 411 - 3 standard deviations
}

static void test_pct_orders_threads_evenly(void **state)
{
    (void)state;
    const uint64_t runs = 60000;
    uint64_t met[27] = {0};
    for (uint64_t seed = 0; seed < runs; seed++) {
        struct sim_strategy strategy;
        uint8_t order[3];
        pct_begin(&strategy, 1, 100, seed);
        toy_run(&strategy, 3, 1, order);
        met[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (uint32_t one = 0; one < 3; one++) {
        for (uint32_t two = 0; two < 3; two++) {
            uint32_t three = 3 - one - two;
            if (one != two && three < 3) {
                assert_frequency(met[one * 9 + two * 3 + three], runs, 1.0 / 6);
            }
        }
    }
}

static void test_pct_runs_the_highest_and_keeps_to_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct sim_strategy strategy;
        uint8_t order[100];
        uint32_t switches = 0;
        pct_begin(&strategy, 5, 80, seed);
        uint32_t length = toy_run(&strategy, 4, 25, order);
        for (uint32_t index = 1; index < length; index++) {
            switches += order[index] != order[index - 1];
        }
        assert_true(switches <= 3 + 4); // each thread's end, and four change points
    }
}

static void test_pct_puts_a_yielding_thread_behind_all(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_strategy strategy;
        const uint8_t from_zero[] = {0, 1, 2}, from_one[] = {1, 2, 0}, from_two[] = {2, 0, 1};
        const uint8_t *const rings[] = {from_zero, from_one, from_two};
        uint32_t last[3] = {0};
        pct_begin(&strategy, 1, 100, seed);
        sim_strategy_thread(&strategy, 1);
        sim_strategy_thread(&strategy, 2);
        uint32_t current = 0;
        // Who yields each time comes round only after everybody else has.
        for (uint32_t turn = 1; turn < 60; turn++) {
            uint32_t next =
                rings[current][sim_strategy_choose(&strategy, current, rings[current], 3, true)];
            assert_int_not_equal(next, current);
            for (uint32_t other = 0; other < 3; other++) {
                assert_true(turn < 4 || other == next || last[next] <= last[other]);
            }
            last[next] = turn;
            current = next;
        }
    }
}

static void test_pct_change_points_lower_below_all_others(void **state)
{
    (void)state;
    // All four points within the first four steps: after them everybody has been put down once or
    // is the last one that was not; then nothing changes any more.
    for (uint64_t seed = 0; seed < 1000; seed++) {
        struct sim_strategy strategy;
        uint8_t actors[] = {0, 1};
        pct_begin(&strategy, 5, 4, seed);
        sim_strategy_thread(&strategy, 1);
        uint32_t current = 0;
        for (uint32_t step = 0; step < 4; step++) {
            actors[0] = (uint8_t)current;
            actors[1] = (uint8_t)(1 - current);
            current = actors[sim_strategy_choose(&strategy, current, actors, 2, false)];
        }
        sim_strategy_thread(&strategy, 2); // a new one is above those that were put down
        const uint8_t all[] = {(uint8_t)current, (uint8_t)(1 - current), 2};
        uint32_t settled = sim_strategy_choose(&strategy, current, all, 3, false);
        for (uint32_t step = 0; step < 100; step++) {
            assert_int_equal(sim_strategy_choose(&strategy, current, all, 3, false), settled);
        }
    }
}

// The points' levels are distinct and in random order, so that of two threads put down either may
// be the higher. With two points within two steps, thread 0 runs after them if they are apart and
// its level is the higher (1/2 * 1/2), or if both were at step two and put down thread 1 (1/4 *
// 1/2).
static void test_pct_change_points_have_levels_in_random_order(void **state)
{
    (void)state;
    const uint64_t runs = 40000;
    uint64_t back = 0;
    for (uint64_t seed = 0; seed < runs; seed++) {
        struct sim_strategy strategy;
        uint8_t actors[] = {0, 1};
        pct_begin(&strategy, 3, 2, seed);
        sim_strategy_thread(&strategy, 1);
        for (uint32_t step = 0; step < 2; step++) {
            if (sim_strategy_choose(&strategy, actors[0], actors, 2, false) == 1) {
                actors[0] = (uint8_t)(1 - actors[0]);
                actors[1] = (uint8_t)(1 - actors[1]);
            }
        }
        back += actors[0] == 0;
    }
    assert_frequency(back, runs, 0.375);
}

// A new thread's place is random: with three before it, first in a quarter of the cases.
static void test_pct_gives_a_new_thread_a_random_place(void **state)
{
    (void)state;
    const uint64_t runs = 40000;
    uint64_t first = 0;
    const uint8_t all[] = {0, 1, 2, 3};
    struct sim_choices *choices = sim_choices_create();
    for (uint64_t seed = 0; seed < runs; seed++) {
        begin_seed(choices, seed, WEIR_SIM_PCT);
        for (uint32_t actor = 1; actor < 4; actor++) {
            sim_choices_thread(choices, actor);
        }
        first += sim_choose_thread(choices, 0, all, 4, false) == 3;
    }
    assert_frequency(first, runs, 0.25);
    sim_choices_destroy(choices);
}

// ---- Delays ----

static void test_delays_are_few_and_skip_one_thread(void **state)
{
    (void)state;
    const uint8_t actors[] = {0, 1, 2, 3};
    struct sim_choices *choices = sim_choices_create();
    uint64_t early = 0, all = 0;
    for (uint64_t seed = 0; seed < 3000; seed++) {
        char text[1024];
        uint32_t delays = 0, horizon = 0, met = 0;
        begin_seed(choices, seed, WEIR_SIM_DELAY_BOUNDED);
        describe(choices, text, sizeof(text));
        sscanf(text, "strategy=delay-bounded delays=%" SCNu32 " horizon=%" SCNu32, &delays,
               &horizon);
        for (uint32_t step = 0; step < horizon + 10; step++) {
            uint32_t value = sim_choose_thread(choices, 0, actors, 4, step % 3 == 0);
            met += value;
            assert_true(step < horizon || value == 0);
            early += step < horizon / 2 ? value : 0;
            all += value;
        }
        // Several at one step skip several; four skip all and so none.
        assert_true(met == delays || (met < delays && (delays - met) % 4 == 0));
    }
    assert_frequency(early, all, 0.5);
    sim_choices_destroy(choices);
}

// ---- Seeds that switch at calls alone ----

// Before atomic operations these are never switched; the decision counts all the same, so that a
// replay, which asks at each of them, numbers its deviations alike. Others answer as always.
static void test_a_third_of_the_seeds_switches_at_calls_where_there_are_peers(void **state)
{
    (void)state;
    const uint64_t seeds = 3000;
    uint64_t calls_only = 0;
    const uint8_t actors[] = {2, 3, 0};
    struct sim_choices *choices = sim_choices_create();
    for (uint64_t seed = 0; seed < seeds; seed++) {
        char text[1024];
        size_t deviations;
        begin_seed(choices, seed, WEIR_SIM_PORTFOLIO);
        sim_choices_thread(choices, 3);
        describe(choices, text, sizeof(text));
        bool told = strstr(text, " at=calls") != NULL;
        for (uint32_t number = 0; number < 50; number++) {
            assert_int_equal(sim_choices_number(choices, WEIR_SIM_SWITCH, 2), told ? number : 0);
            assert_int_equal(sim_choose_none(choices, 2), told);
        }
        (void)sim_choices_deviations(choices, &deviations);
        assert_int_equal(deviations, 0);
        (void)sim_choose_thread(choices, 2, actors, 3, false);
        assert_int_equal(sim_choices_number(choices, WEIR_SIM_SWITCH, 2), told ? 51 : 1);
        sim_choices_heal(choices);
        assert_false(sim_choose_none(choices, 2));
        describe(choices, text, sizeof(text));
        assert_int_equal(strstr(text, " at=calls") != NULL, told);
        calls_only += told;
    }
    assert_frequency(calls_only, seeds, 1.0 / 3);
    sim_choices_destroy(choices);
}

static void test_no_seed_switches_at_calls_alone_where_nobody_calls(void **state)
{
    (void)state;
    struct sim_choices *choices = sim_choices_create();
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct weir_sim_options options = {.seed = seed};
        sim_choices_begin(choices, &options, 1u << WEIR_SIM_SWITCH | 1u << WEIR_SIM_STALE);
        assert_false(sim_choose_none(choices, 0));
    }
    const struct weir_sim_deviation deviation = {WEIR_SIM_SWITCH, 0, 3, 1};
    struct weir_sim_options options = {.deviations = &deviation, .deviations_count = 1};
    sim_choices_begin(choices, &options, 0); // nor a replay
    assert_false(sim_choose_none(choices, 0));
    sim_choices_destroy(choices);
}

// ---- All of them together, on the bug of depth 2 ----

static uint64_t found_by(struct sim_choices *choices, enum weir_sim_strategy strategy,
                         uint64_t seeds)
{
    uint64_t found = 0;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        uint32_t left[2] = {50, 50}, current = 0, length = 0;
        uint8_t order[100], actors[2];
        begin_seed(choices, seed, strategy);
        sim_choices_thread(choices, 1);
        for (;;) {
            uint32_t count = ring(actors, current, 2, left);
            if (count == 0) {
                break;
            }
            current = actors[sim_choose_thread(choices, current, actors, count, false)];
            left[current]--;
            order[length++] = (uint8_t)current;
        }
        found += between(order, length, 20, 30);
    }
    return found;
}

static void test_every_strategy_finds_the_bug_and_benign_does_not(void **state)
{
    (void)state;
    struct sim_choices *choices = sim_choices_create();
    assert_int_equal(found_by(choices, WEIR_SIM_BENIGN, 1000), 0);
    for (uint32_t strategy = 0; strategy < WEIR_SIM_STRATEGIES_COUNT; strategy++) {
        if (strategy != WEIR_SIM_BENIGN) {
            uint64_t found = found_by(choices, strategy, 20000);
            print_message("strategy %" PRIu32 ": %" PRIu64 " of 20000\n", strategy, found);
            assert_true(found >= 10);
        }
    }
    sim_choices_destroy(choices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_portfolio_has_all_in_their_shares),
        cmocka_unit_test(test_a_strategy_that_is_named_is_taken),
        cmocka_unit_test(test_the_walk_meets_the_rates_it_tells),
        cmocka_unit_test(test_pct_meets_the_bound_of_its_paper),
        cmocka_unit_test(test_pct_meets_the_bound_at_depth_three),
        cmocka_unit_test(test_pct_orders_threads_evenly),
        cmocka_unit_test(test_pct_runs_the_highest_and_keeps_to_it),
        cmocka_unit_test(test_pct_puts_a_yielding_thread_behind_all),
        cmocka_unit_test(test_pct_change_points_lower_below_all_others),
        cmocka_unit_test(test_pct_change_points_have_levels_in_random_order),
        cmocka_unit_test(test_pct_gives_a_new_thread_a_random_place),
        cmocka_unit_test(test_delays_are_few_and_skip_one_thread),
        cmocka_unit_test(test_a_third_of_the_seeds_switches_at_calls_where_there_are_peers),
        cmocka_unit_test(test_no_seed_switches_at_calls_alone_where_nobody_calls),
        cmocka_unit_test(test_every_strategy_finds_the_bug_and_benign_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
