// Virtual time: sleepers, calls and deadlines in their order, and when the clock moves.
#include "tests/support_virtual.h"

static void sleeper_main(void *argument)
{
    const uint64_t *duration_ns = argument;
    weir_sim_sleep(sim, *duration_ns);
    tell((char)('a' + *duration_ns / SECOND_NS % 26));
}

static void sleep_scenario(struct weir_sim *it)
{
    static const uint64_t durations_ns[] = {5 * SECOND_NS, 2 * SECOND_NS, 3600 * SECOND_NS,
                                            3 * SECOND_NS, 2 * SECOND_NS, SECOND_NS};
    uint32_t actors[6];
    for (int i = 0; i < 6; i++) {
        uint64_t *duration_ns = (uint64_t *)&durations_ns[i];
        actors[i] = weir_sim_start(it, sleeper_main, duration_ns);
    }
    for (int i = 0; i < 6; i++) {
        weir_sim_join(it, actors[i]);
    }
}

static void test_sleepers_wake_in_order(void **state)
{
    (void)state;
    run_benign(sleep_scenario);
    expect_pass();
    assert_string_equal(story, "bccdfm");
    assert_in_range(result.duration_ns, 3600 * SECOND_NS, 3600 * SECOND_NS + 10000);
}

static void call_tell(struct weir_sim *it, void *target, uint64_t number)
{
    weir_sim_check(it, target == story, "target");
    tell((char)number);
}

static void call_again(struct weir_sim *it, void *target, uint64_t number)
{
    tell((char)number);
    sim_at(it, sim_threads_now(it->threads), call_tell, target, number + 1);
    sim_at(it, sim_threads_now(it->threads) + 5, call_tell, target, number + 2);
}

static void at_scenario(struct weir_sim *it)
{
    uint64_t now_ns = sim_threads_now(it->threads);
    weir_sim_check(it, now_ns == SIM_EPOCH_NS, "epoch");
    sim_at(it, now_ns + 300, call_tell, story, 'c');
    sim_at(it, now_ns + 200, call_again, story, '1'); // and 2, 3
    sim_at(it, now_ns + 100, call_tell, story, 'a');
    sim_at(it, now_ns + 300, call_tell, story, 'd');
    enum sim_wake wake = sim_block(it, SIM_BLOCKED_SLEEP, 0, now_ns + 300);
    weir_sim_check(it, wake == SIM_WAKE_DEADLINE, "wake");
    tell('t'); // fired after c and d, but before e, and runs after all of one time are fired
    sim_at(it, now_ns + 300, call_tell, story, 'e');
    sim_at(it, now_ns + 301, call_tell, story, 'f');
    tell('u');                                          // an event never fires within sim_at
    wake = sim_block(it, SIM_BLOCKED_SLEEP, 0, now_ns); // a deadline that has passed
    weir_sim_check(it, wake == SIM_WAKE_DEADLINE, "past");
    weir_sim_check(it, sim_threads_now(it->threads) == now_ns + 300, "no-time-passed");
    sim_point_call(it);
    weir_sim_check(it, sim_threads_now(it->threads) == now_ns + 300 + SIM_CALL_NS, "call");
}

static void test_calls_fire_in_order(void **state)
{
    (void)state;
    run_benign(at_scenario);
    expect_pass();
    assert_string_equal(story, "a123cdtuef");
}

// Times from few values, so that ties are many; expected: by time, then as made.
static uint64_t random_state;

static uint32_t random_number(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % below);
}

static NOT_WATCHED void call_ordered(struct weir_sim *it, void *target, uint64_t number)
{
    uint64_t *last = target;
    weir_sim_check(it, number > *last, "ordered");
    uint64_t late_ns = sim_threads_now(it->threads) - (SIM_EPOCH_NS + 1000 + (number >> 32));
    weir_sim_check(it, late_ns < SIM_CALL_NS, "time"); // not early, and late by less than a call
    *last = number;
    cells[2]++;
}

static void heap_scenario(struct weir_sim *it)
{
    // Deadlines of threads in between, that are taken out again from wherever they are.
    uint64_t deadlines_ns[30];
    uint32_t actors[30];
    uint64_t next = 0;
    for (uint32_t i = 0; i < 30; i++) {
        deadlines_ns[i] = SIM_EPOCH_NS + 2000 + random_number(700);
        actors[i] = weir_sim_start(it, blocked_main, &deadlines_ns[i]);
        for (uint32_t k = 0; k < 40; k++) {
            uint64_t after_ns = 1000 + random_number(500);
            sim_at(it, SIM_EPOCH_NS + 1000 + after_ns, call_ordered, &cells[1],
                   after_ns << 32 | ++next);
        }
    }
    sim_point_yield(it); // all block
    for (uint32_t i = 0; i < 30; i += 2) {
        sim_ready(it, actors[i], SIM_WOKEN);
        weir_sim_check(it, !sim_thread_blocked(it->threads, actors[i]), "ready");
    }
    for (uint32_t i = 0; i < 30; i++) {
        weir_sim_join(it, actors[i]);
    }
    weir_sim_sleep(it, 5000);
}

static void test_heap(void **state)
{
    (void)state;
    random_state = 1;
    for (int turn = 0; turn < 20; turn++) {
        run_benign(heap_scenario);
        expect_pass();
        assert_int_equal(cells[2], 1200);
        assert_int_equal(cells[3], 15 * SIM_WAKE_DEADLINE + 15 * SIM_WOKEN);
    }
}

static void wake_scenario(struct weir_sim *it)
{
    uint64_t deadline_ns = SIM_EPOCH_NS + SECOND_NS;
    uint32_t actor = weir_sim_start(it, blocked_main, &deadline_ns);
    weir_sim_check(it, !sim_thread_blocked(it->threads, actor), "not-yet");
    sim_ready(it, actor, SIM_WAKE_SPURIOUS); // not blocked: nothing
    sim_ready(it, 77, SIM_WOKEN);            // nobody: nothing
    sim_point_yield(it);
    weir_sim_check(it, sim_thread_blocked(it->threads, actor), "blocked");
    sim_ready(it, actor, SIM_WAKE_SPURIOUS);
    sim_ready(it, actor, SIM_WOKEN); // woken already: nothing
    weir_sim_join(it, actor);
    weir_sim_check(it, cell_get(3) == SIM_WAKE_SPURIOUS, "spurious");
    weir_sim_check(it, sim_threads_now(it->threads) < SIM_EPOCH_NS + SECOND_NS, "early");
    weir_sim_sleep(it, 2 * SECOND_NS); // its deadline passes and means nothing
}

static void test_wakes(void **state)
{
    (void)state;
    run_benign(wake_scenario);
    expect_pass();
}

static void twice_blocked_main(void *argument)
{
    blocked_main(argument);
    enum sim_wake wake = sim_block(sim, SIM_BLOCKED_FUTEX, 2, UINT64_MAX);
    cell_set(4, (uint64_t)wake + 10);
}

static void forgotten_deadline_scenario(struct weir_sim *it)
{
    uint64_t deadline_ns = SIM_EPOCH_NS + SECOND_NS;
    uint32_t actor = weir_sim_start(it, twice_blocked_main, &deadline_ns);
    sim_point_yield(it);
    sim_ready(it, actor, SIM_WOKEN);
    sim_point_yield(it);
    weir_sim_sleep(it, 2 * SECOND_NS);
    weir_sim_check(it, sim_thread_blocked(it->threads, actor), "waits");
    sim_ready(it, actor, SIM_WOKEN);
    weir_sim_join(it, actor);
    weir_sim_check(it, cell_get(4) == 10 + SIM_WOKEN, "woken");
}

static void test_deadline_ends_with_the_wait(void **state)
{
    (void)state;
    run_benign(forgotten_deadline_scenario);
    expect_pass();
}

static void impatient_scenario(struct weir_sim *it)
{
    static const uint64_t duration_ns = SECOND_NS;
    uint32_t actor = weir_sim_start(it, sleeper_main, (void *)(uintptr_t)&duration_ns);
    sim_point_yield(it);
    for (int i = 0; i < 3; i++) {
        tell('0');
        sim_point_call(it);
        cell_set((uint32_t)i, sim_threads_now(it->threads));
    }
    weir_sim_join(it, actor);
}

static void test_time_deviation(void **state)
{
    (void)state;
    run_benign(impatient_scenario);
    expect_pass();
    assert_string_equal(story, "000b");
    uint64_t before_ns = cells[0];
    assert_true(before_ns < SIM_EPOCH_NS + SECOND_NS);
    // Actor 0 decides this at each of its calls here: before them nothing was pending.
    const struct weir_sim_deviation deviations[] = {{WEIR_SIM_TIME, 0, 1, 1},
                                                    {WEIR_SIM_SWITCH, 0, 1, 1}};
    run_replay(impatient_scenario, deviations, 1);
    expect_pass();
    assert_string_equal(story, "000b");
    assert_int_equal(cells[0], before_ns);
    assert_in_range(cells[1], SIM_EPOCH_NS + SECOND_NS, SIM_EPOCH_NS + SECOND_NS + 200);
    assert_int_equal(cells[2], cells[1] + SIM_CALL_NS);
    run_replay(impatient_scenario, deviations, 2); // and the sleeper goes on at once
    expect_pass();
    assert_string_equal(story, "00b0");
}

static void spin_scenario(struct weir_sim *it)
{
    static const uint64_t duration_ns = 3600 * SECOND_NS;
    uint32_t actor = weir_sim_start(it, sleeper_main, (void *)(uintptr_t)&duration_ns);
    sim_point_yield(it);
    while (sim_thread_blocked(it->threads, actor)) { // without a call: no time passes of itself
        sim_point(it);
    }
    tell('0');
    weir_sim_join(it, actor);
}

static void busy_alone_scenario(struct weir_sim *it)
{
    sim_at(it, SIM_EPOCH_NS + SECOND_NS, call_tell, story, '!');
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 1000; k++) {
            sim_point(it);
        }
        sim_point_call(it);
    }
}

static void test_spinning_lets_time_pass(void **state)
{
    (void)state;
    run_benign(busy_alone_scenario); // but not busy with calls in between
    expect_pass();
    assert_string_equal(story, "");
    run_benign(spin_scenario);
    expect_pass();
    assert_string_equal(story, "0m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleepers_wake_in_order),
        cmocka_unit_test(test_calls_fire_in_order),
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_deadline_ends_with_the_wait),
        cmocka_unit_test(test_time_deviation),
        cmocka_unit_test(test_spinning_lets_time_pass),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
