// Virtual processes: stopped, continued, killed, waited for, and left behind.
#include "tests/support_virtual.h"

static void ticker_main(void *argument)
{
    (void)argument;
    for (;;) {
        cell_set(0, cell_get(0) + 1);
        weir_sim_sleep(sim, 1000);
    }
}

static void two_threads_main(void *argument)
{
    uint32_t own = sim_thread_process(sim->threads, sim_thread_current(sim->threads));
    cell_set(1, own);
    uint32_t ticker = weir_sim_start(sim, ticker_main, argument);
    weir_sim_check(sim, sim_thread_process(sim->threads, ticker) == own, "inherited");
    weir_sim_join(sim, ticker);
    tell('!');
}

static void kill_scenario(struct weir_sim *it)
{
    uint32_t process = weir_sim_process_start(it, two_threads_main, NULL);
    weir_sim_sleep(it, 10500);
    weir_sim_check(it, process == 1 && cell_get(1) == 1, "its-own");
    weir_sim_check(it, cell_get(0) >= 9 && cell_get(0) <= 11, "ticks");
    weir_sim_check(it, !weir_sim_process_ended(it, process), "alive");
    weir_sim_process_stop(it, process);
    uint64_t ticks = cell_get(0);
    weir_sim_sleep(it, 10000);
    weir_sim_check(it, cell_get(0) == ticks, "stopped"); // its sleep ended, and is remembered
    weir_sim_process_stop(it, process);                  // twice is once
    weir_sim_process_continue(it, process);
    sim_point_yield(it);
    weir_sim_check(it, cell_get(0) == ticks + 1, "goes-on");
    weir_sim_process_continue(it, process);
    weir_sim_process_stop(it, process);
    sim_process_kill(it, process);
    weir_sim_check(it, weir_sim_process_ended(it, process), "dead");
    weir_sim_process_continue(it, process); // nobody there
    sim_process_kill(it, process);
    weir_sim_sleep(it, 10000);
    weir_sim_process_join(it, process);
    weir_sim_check(it, cell_get(0) == ticks + 1, "stays-dead");
}

static void test_stop_continue_kill(void **state)
{
    (void)state;
    run_benign(kill_scenario);
    expect_pass();
    assert_string_equal(story, "");
}

static void brief_main(void *argument)
{
    tell('b');
    weir_sim_sleep(sim, 5000);
    *(uint64_t *)argument = 42;
}

static void killer_main(void *argument)
{
    const uint32_t *process = argument;
    weir_sim_sleep(sim, 7000);
    sim_process_kill(sim, *process);
}

static void wait_scenario(struct weir_sim *it)
{
    uint64_t left = 0;
    uint32_t brief = weir_sim_process_start(it, brief_main, &left);
    uint32_t ticking = weir_sim_process_start(it, two_threads_main, NULL);
    uint32_t killer = weir_sim_start(it, killer_main, &ticking);
    weir_sim_process_join(it, brief);
    weir_sim_check(it, left == 42, "seen"); // and no race
    weir_sim_process_join(it, ticking);
    weir_sim_check(it, sim_threads_now(it->threads) >= SIM_EPOCH_NS + 7000, "waited");
    weir_sim_join(it, killer);
    // This one is left running: nobody waits for other processes at the end.
    weir_sim_process_start(it, ticker_main, NULL);
    weir_sim_sleep(it, 3000);
}

static void test_process_join(void **state)
{
    (void)state;
    run_benign(wait_scenario);
    expect_pass();
    for (uint64_t seed = 0; seed < 50; seed++) {
        run_with(wait_scenario, &(struct weir_sim_options){.seed = seed});
        expect_pass();
    }
}

static void stopped_scenario(struct weir_sim *it)
{
    uint64_t left = 0;
    uint32_t process = weir_sim_process_start(it, brief_main, &left);
    weir_sim_process_stop(it, process);
    weir_sim_process_join(it, process);
}

static void test_waiting_for_the_stopped(void **state)
{
    (void)state;
    run_benign(stopped_scenario);
    expect(WEIR_SIM_LIVENESS, "nothing-can-run-process");
    assert_string_equal(story, ""); // stopped before it ran at all
    assert_non_null(strstr(result.message, "actor 1 (process 1, stopped): can run"));
}

static void long_main(void *argument)
{
    (void)argument;
    weir_sim_sleep(sim, 3600 * SECOND_NS);
}

static void killed_sleeper_scenario(struct weir_sim *it)
{
    uint32_t process = weir_sim_process_start(it, long_main, NULL);
    sim_point_yield(it);
    sim_process_kill(it, process);
    (void)sim_block(it, SIM_BLOCKED_FILE, 7, UINT64_MAX);
}

static void test_deadline_of_the_killed(void **state)
{
    (void)state;
    run_benign(killed_sleeper_scenario);
    expect(WEIR_SIM_LIVENESS, "nothing-can-run-file");
    assert_true(result.duration_ns < SECOND_NS);
}

static void many_processes_scenario(struct weir_sim *it)
{
    for (int i = 0; i < SIM_PROCESSES_MAX; i++) {
        weir_sim_process_start(it, nothing_main, NULL);
    }
}

static void test_too_many_processes(void **state)
{
    (void)state;
    run_benign(many_processes_scenario);
    expect(WEIR_SIM_INTERNAL, "too-many-processes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_continue_kill),
        cmocka_unit_test(test_process_join),
        cmocka_unit_test(test_waiting_for_the_stopped),
        cmocka_unit_test(test_deadline_of_the_killed),
        cmocka_unit_test(test_too_many_processes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
