// Virtual threads: whose turn it is, deadlines and the clock, joins, processes, verdicts, and repeats.
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "sim/sim.h"

#define SECOND_NS UINT64_C(1000000000)

static struct weir_sim *sim;
static struct weir_sim_result result;

static int setup(void **state)
{
    (void)state;
    sim = weir_sim_create();
    return sim == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    weir_sim_destroy(sim);
    return 0;
}

// What the threads of a scenario tell the test. They share it without synchronising, which is the
// test's business and no race of theirs.
#define NOT_WATCHED __attribute__((noinline, no_sanitize("thread")))

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

static void run_with(void (*scenario)(struct weir_sim *), const struct weir_sim_options *options)
{
    struct weir_sim_scenario one = {.name = "test", .run = scenario};
    story[0] = '\0';
    memset(cells, 0, sizeof cells);
    weir_sim_run(sim, &one, options, &result);
}

static void run_benign(void (*scenario)(struct weir_sim *))
{
    run_with(scenario, &(struct weir_sim_options){.strategy = WEIR_SIM_BENIGN});
}

// With these deviations and no others.
static void run_replay(void (*scenario)(struct weir_sim *),
                       const struct weir_sim_deviation *deviations, size_t deviations_count)
{
    run_with(scenario, &(struct weir_sim_options){.deviations = deviations,
                                                  .deviations_count = deviations_count});
}

static void expect_pass(void)
{
    if (result.verdict != WEIR_SIM_PASS) {
        fail_msg("%d %s: %s", (int)result.verdict, result.name, result.message);
    }
}

static void expect(enum weir_sim_verdict verdict, const char *name)
{
    if (result.verdict != verdict || strcmp(result.name, name) != 0) {
        fail_msg("%d %s: %s", (int)result.verdict, result.name, result.message);
    }
}

// ---- Whose turn ----

static void letter_main(void *argument)
{
    const char *letter = argument;
    tell(*letter);
    sim_point(sim);
    tell(*letter);
}

static void order_scenario(struct weir_sim *it)
{
    uint32_t actors[3];
    for (int i = 0; i < 3; i++) {
        actors[i] = weir_sim_start(it, letter_main, &"abc"[i]);
        weir_sim_check(it, actors[i] == (uint32_t)i + 1, "numbered");
    }
    tell('0');
    sim_point_yield(it); // a, then b when that one has ended, then c, then the yielder
    tell('1');
    for (int i = 0; i < 3; i++) {
        weir_sim_join(it, actors[i]);
    }
    tell('2');
}

static void test_order(void **state)
{
    (void)state;
    run_benign(order_scenario);
    expect_pass();
    assert_string_equal(story, "0aabbcc12");
    assert_int_equal(result.deviations_count, 0);
}

static void spin_main(void *argument)
{
    (void)argument;
    while (cell_get(0) == 0) {
        sim_point(sim);
        cell_set(1, cell_get(1) + 1);
    }
}

static void quantum_scenario(struct weir_sim *it)
{
    uint32_t spinner = weir_sim_start(it, spin_main, NULL);
    sim_point_yield(it); // comes back although the spinner never yields
    cell_set(0, 1);
    weir_sim_join(it, spinner);
}

static void test_quantum(void **state)
{
    (void)state;
    run_benign(quantum_scenario);
    expect_pass();
    assert_int_equal(cells[1], SIM_QUANTUM);
    for (uint64_t seed = 0; seed < 50; seed++) {
        run_with(quantum_scenario,
                 &(struct weir_sim_options){.seed = seed, .strategy = WEIR_SIM_PCT});
        expect_pass();
        assert_true(cells[1] <= 2 * SIM_QUANTUM);
    }
}

static void alternate_main(void *argument)
{
    const char *letter = argument;
    for (int i = 0; i < 200; i++) {
        sim_point(sim);
        if (i % 10 == 0) {
            tell(*letter);
        }
    }
}

static void healed_scenario(struct weir_sim *it)
{
    uint32_t first = weir_sim_start(it, alternate_main, "x");
    uint32_t second = weir_sim_start(it, alternate_main, "y");
    weir_sim_heal(it);
    weir_sim_join(it, first);
    weir_sim_join(it, second);
}

static void test_healed_threads_take_turns(void **state)
{
    (void)state;
    const char *turns = "xxxxxxxyyyyyyyxxxxxxyyyyyyxxxxxxxyyyyyyy";
    run_benign(healed_scenario);
    expect_pass();
    assert_string_equal(story, turns);
}

static void replayed_scenario(struct weir_sim *it)
{
    uint32_t first = weir_sim_start(it, letter_main, "a");
    uint32_t second = weir_sim_start(it, letter_main, "b");
    for (int i = 0; i < 4; i++) {
        tell((char)('0' + i));
        sim_point(it);
    }
    weir_sim_join(it, first);
    weir_sim_join(it, second);
}

static void yield_scenario(struct weir_sim *it)
{
    uint32_t first = weir_sim_start(it, letter_main, "a");
    uint32_t second = weir_sim_start(it, letter_main, "b");
    for (int i = 0; i < 2; i++) {
        tell((char)('0' + i));
        sim_point_yield(it);
    }
    weir_sim_join(it, first);
    weir_sim_join(it, second);
}

static void test_replayed_yield(void **state)
{
    (void)state;
    // Actor 0 decides at the second start, then at the yields: others first, itself last.
    const struct weir_sim_deviation second = {WEIR_SIM_SWITCH, 0, 1, 1};
    run_replay(yield_scenario, &second, 1);
    expect_pass();
    assert_string_equal(story, "0bb1aa");
    const struct weir_sim_deviation itself = {WEIR_SIM_SWITCH, 0, 1, 2};
    run_replay(yield_scenario, &itself, 1);
    expect_pass();
    assert_string_equal(story, "01aabb");
}

static void parent_scenario(struct weir_sim *it)
{
    uint32_t child = weir_sim_start(it, letter_main, "a");
    sim_point(it);
    tell('0');
    weir_sim_join(it, child);
}

// A new thread has a priority as any other: about half of the time a higher one.
static void test_priorities(void **state)
{
    (void)state;
    int child_first = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        run_with(parent_scenario,
                 &(struct weir_sim_options){.seed = seed, .strategy = WEIR_SIM_PCT});
        expect_pass();
        child_first += story[0] == 'a';
    }
    assert_in_range(child_first, 20, 80);
}

static void test_replayed_switch(void **state)
{
    (void)state;
    // Actor 0 decides at the second start, at four points, at the joins.
    const struct weir_sim_deviation second = {WEIR_SIM_SWITCH, 0, 2, 2};
    run_replay(replayed_scenario, &second, 1);
    expect_pass();
    assert_string_equal(story, "01bb23aa"); // "b" ends: the next in the ring is 0
    const struct weir_sim_deviation both[] = {{WEIR_SIM_SWITCH, 0, 4, 1},
                                              {WEIR_SIM_SWITCH, 1, 0, 1}};
    run_replay(replayed_scenario, both, 2);
    expect_pass();
    assert_string_equal(story, "0123abba");
    assert_int_equal(result.deviations_count, 2);
}

// ---- Time ----

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

static void blocked_main(void *argument)
{
    uint64_t deadline_ns = *(const uint64_t *)argument;
    enum sim_wake wake = sim_block(sim, SIM_BLOCKED_FUTEX, 1, deadline_ns);
    cell_set(3, cell_get(3) + (uint64_t)wake);
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
    // The first decision of this kind by actor 0 is its first call here: nothing was pending before.
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

// ---- From start to end ----

static void nothing_main(void *argument)
{
    (void)argument;
}

static void write_main(void *argument)
{
    *(uint64_t *)argument += 1;
}

static void join_scenario(struct weir_sim *it)
{
    uint64_t shared = 41; // seen by the thread it is given to, and again after the join
    uint32_t actor = weir_sim_start(it, write_main, &shared);
    weir_sim_check(it, sim_thread_join(it, 0) == -EINVAL, "self");
    weir_sim_check(it, sim_thread_join(it, actor + 1) == -EINVAL, "unknown");
    weir_sim_check(it, sim_thread_join(it, actor) == 0, "join");
    weir_sim_check(it, shared == 42, "seen");
    weir_sim_check(it, sim_thread_join(it, actor) == -EINVAL, "twice");
    weir_sim_check(it, sim_thread_detach(it, actor) == -EINVAL, "detach-joined");
    actor = weir_sim_start(it, nothing_main, NULL);
    sim_point_yield(it); // ends before it is joined
    weir_sim_check(it, sim_thread_join(it, actor) == 0, "join-ended");
    actor = weir_sim_start(it, nothing_main, NULL);
    weir_sim_check(it, sim_thread_detach(it, actor) == 0, "detach");
    weir_sim_check(it, sim_thread_detach(it, actor) == -EINVAL, "detach-twice");
    weir_sim_check(it, sim_thread_join(it, actor) == -EINVAL, "join-detached");
    uint32_t first = 0;
    weir_sim_check(it, sim_process_threads(it, 0, &first) == 1 && first == actor, "still-running");
    sim_point_yield(it);
    weir_sim_check(it, sim_process_threads(it, 0, &first) == 0, "all-gone");
    actor = weir_sim_start(it, nothing_main, NULL);
    weir_sim_check(it, sim_process_threads(it, 0, &first) == 1, "running");
    sim_point_yield(it);
    weir_sim_check(it, sim_process_threads(it, 0, &first) == 1, "ended-not-joined");
    weir_sim_join(it, actor);
}

static void test_join(void **state)
{
    (void)state;
    run_benign(join_scenario);
    expect_pass();
    assert_false(sim_threads_inside(sim->threads));
}

static void joiner_main(void *argument)
{
    const uint32_t *actor = argument;
    cell_set(0, (uint64_t)-sim_thread_join(sim, *actor));
}

static void joined_by_two_scenario(struct weir_sim *it)
{
    uint64_t never_ns = SIM_EPOCH_NS + SECOND_NS;
    uint32_t blocked = weir_sim_start(it, blocked_main, &never_ns);
    uint32_t joiner = weir_sim_start(it, joiner_main, &blocked);
    sim_point_yield(it);
    weir_sim_check(it, sim_thread_join(it, blocked) == -EINVAL, "awaited");
    weir_sim_check(it, sim_thread_detach(it, blocked) == -EINVAL, "detach-awaited");
    weir_sim_join(it, joiner);
}

static void test_only_one_joins(void **state)
{
    (void)state;
    run_benign(joined_by_two_scenario);
    expect_pass();
}

static void count_main(void *argument)
{
    uint64_t *count = argument;
    for (int i = 0; i < 20; i++) {
        *count += 1;
        sim_point(sim);
    }
}

static void crowd_scenario(struct weir_sim *it)
{
    uint64_t counts[SIM_THREADS_MAX] = {0};
    for (uint32_t actor = 1; actor < SIM_THREADS_MAX; actor++) {
        weir_sim_check(it, weir_sim_start(it, count_main, &counts[actor]) == actor, "numbered");
    }
    weir_sim_check(it, sim_thread_start(it, 0, nothing_main, NULL) == -EAGAIN, "full");
    for (uint32_t actor = SIM_THREADS_MAX - 1; actor > 0; actor--) {
        weir_sim_join(it, actor);
        weir_sim_check(it, counts[actor] == 20, "counted");
    }
    // Numbers are not used again within a run.
    weir_sim_check(it, sim_thread_start(it, 0, nothing_main, NULL) == -EAGAIN, "still-full");
}

static void test_crowd(void **state)
{
    (void)state;
    run_benign(crowd_scenario);
    expect_pass();
    for (uint64_t seed = 0; seed < 30; seed++) {
        run_with(crowd_scenario, &(struct weir_sim_options){.seed = seed});
        expect_pass();
    }
}

// ---- Verdicts ----

static void stuck_scenario(struct weir_sim *it)
{
    static const uint64_t never_ns = UINT64_MAX;
    uint32_t actor = weir_sim_start(it, blocked_main, (void *)(uintptr_t)&never_ns);
    weir_sim_join(it, actor);
}

static void test_nothing_can_run(void **state)
{
    (void)state;
    run_benign(stuck_scenario);
    expect(WEIR_SIM_LIVENESS, "nothing-can-run-futex");
    assert_non_null(strstr(result.message, "actor 0 (process 0): waits for a thread's end 1"));
    assert_non_null(strstr(result.message, "actor 1 (process 0): waits for futex_wait on word 1"));
}

static void endless_scenario(struct weir_sim *it)
{
    for (;;) {
        sim_point(it);
    }
}

static void call_endless(struct weir_sim *it, void *target, uint64_t number)
{
    sim_at(it, sim_threads_now(it->threads) + number, call_endless, target, number);
}

static void endless_events_scenario(struct weir_sim *it)
{
    sim_at(it, 0, call_endless, NULL, 1);
    (void)sim_block(it, SIM_BLOCKED_NAME, 0, UINT64_MAX);
}

static void endless_instant_scenario(struct weir_sim *it)
{
    sim_at(it, SIM_EPOCH_NS, call_endless, NULL, 0);
    sim_point_call(it);
}

static void test_too_many_steps(void **state)
{
    (void)state;
    run_with(endless_scenario,
             &(struct weir_sim_options){.strategy = WEIR_SIM_BENIGN, .steps_max = 1000});
    expect(WEIR_SIM_LIVENESS, "too-many-steps");
    assert_int_equal(result.steps, 1001);
    // A deadlock behind a timer that always rings again, and one that does so without delay.
    run_with(endless_events_scenario,
             &(struct weir_sim_options){.strategy = WEIR_SIM_BENIGN, .steps_max = 1000});
    expect(WEIR_SIM_LIVENESS, "too-many-steps");
    run_with(endless_instant_scenario,
             &(struct weir_sim_options){.strategy = WEIR_SIM_BENIGN, .steps_max = 1000});
    expect(WEIR_SIM_LIVENESS, "too-many-steps");
}

static void call_fail(struct weir_sim *it, void *target, uint64_t number)
{
    (void)target;
    (void)number;
    weir_sim_fail(it, WEIR_SIM_SAFETY, "from-a-call", "%d", 1);
}

static void fail_main(void *argument)
{
    const uint64_t *depth = argument;
    char bytes[500];
    memset(bytes, (int)*depth, sizeof bytes);
    sim_point(sim);
    weir_sim_fail(sim, WEIR_SIM_SAFETY, "from-a-thread", "%d", bytes[7]);
}

static void call_fails_scenario(struct weir_sim *it)
{
    sim_at(it, SIM_EPOCH_NS + 100, call_fail, NULL, 0);
    (void)sim_block(it, SIM_BLOCKED_NAME, 0, UINT64_MAX);
}

static void thread_fails_scenario(struct weir_sim *it)
{
    uint64_t depth = 3;
    sim_at(it, SIM_EPOCH_NS + SECOND_NS, call_fail, NULL, 0); // never comes, in no run
    weir_sim_join(it, weir_sim_start(it, fail_main, &depth));
}

// Each leaves stacks behind in the middle of a body.
static void test_failures_leave_nothing(void **state)
{
    (void)state;
    for (int turn = 0; turn < 100; turn++) {
        run_benign(call_fails_scenario);
        expect(WEIR_SIM_SAFETY, "from-a-call");
        run_benign(thread_fails_scenario);
        expect(WEIR_SIM_SAFETY, "from-a-thread");
        run_benign(order_scenario);
        expect_pass();
        assert_string_equal(story, "0aabbcc12");
        run_benign(sleep_scenario);
        expect_pass();
    }
}

// ---- Processes ----

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

// ---- The same again ----

static void busy_main(void *argument)
{
    uint64_t salt = *(const uint64_t *)argument;
    for (uint64_t i = 0; i < 30; i++) {
        switch ((i * 7 + salt) % 5) {
        case 0: sim_point(sim); break;
        case 1: sim_point_call(sim); break;
        case 2: sim_point_yield(sim); break;
        case 3: weir_sim_sleep(sim, salt * 100); break;
        default:
            (void)sim_block(sim, SIM_BLOCKED_FUTEX, (uint32_t)salt,
                            sim_threads_now(sim->threads) + 200);
        }
        sim_ready(sim, (uint32_t)(i % 7), SIM_WAKE_SPURIOUS);
        cell_set(0, cell_get(0) * 31 + sim_thread_current(sim->threads));
    }
}

static void busy_scenario(struct weir_sim *it)
{
    uint64_t salts[5];
    uint32_t actors[5];
    uint32_t count = weir_sim_draw(it, "threads", 1, 5);
    for (uint32_t i = 0; i < count; i++) {
        salts[i] = i + 1;
        actors[i] = weir_sim_start(it, busy_main, &salts[i]);
    }
    uint32_t process = weir_sim_process_start(it, busy_main, &salts[0]);
    weir_sim_process_stop(it, process);
    weir_sim_sleep(it, 500);
    weir_sim_process_continue(it, process);
    for (uint32_t i = 0; i < count; i++) {
        weir_sim_join(it, actors[i]);
    }
    weir_sim_process_join(it, process);
}

static void test_same_seed_same_run(void **state)
{
    (void)state;
    uint64_t all = 0, hashes = 0, orders = 0, before_hash = 0, before_order = 0;
    struct weir_sim_deviation deviations[4096];
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct weir_sim_options options = {.seed = seed};
        run_with(busy_scenario, &options);
        expect_pass();
        uint64_t hash = result.hash, order = cells[0], steps = result.steps;
        uint64_t decisions = result.decisions, duration_ns = result.duration_ns;
        options.poison = 0x5a;
        run_with(busy_scenario, &options);
        expect_pass();
        assert_true(result.hash == hash && cells[0] == order);
        assert_int_equal(result.steps, steps);
        // Its deviations make the same run, whatever the seed drew.
        size_t count = result.deviations_count;
        assert_true(count <= 4096);
        memcpy(deviations, result.deviations, count * sizeof deviations[0]);
        run_replay(busy_scenario, deviations, count);
        expect_pass();
        assert_int_equal(cells[0], order);
        assert_int_equal(result.hash, hash);
        assert_int_equal(result.steps, steps);
        assert_int_equal(result.decisions, decisions);
        assert_int_equal(result.duration_ns, duration_ns);
        assert_false(sim_choices_unused(sim->choices, &deviations[0]));
        all = all * 31 + hash;
        hashes += hash != before_hash;
        orders += order != before_order;
        before_hash = hash;
        before_order = order;
    }
    printf("hash of all: %08x%08x\n", (unsigned)(all >> 32), (unsigned)all); // of every build
    assert_true(hashes > 200 && orders > 100);                               // the seeds do differ
}

// ---- The price ----

static uint64_t real_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void price_print(const char *what, uint64_t took_ns, uint64_t count)
{
    uint64_t tenths = took_ns * 10 / count;
    printf("%s: %d.%d ns\n", what, (int)(tenths / 10), (int)(tenths % 10));
    assert_true(tenths < 1000000000);
}

static void points_main(void *argument)
{
    (void)argument;
    uint64_t start_ns = real_ns();
    for (int i = 0; i < 500000; i++) {
        sim_point(sim);
    }
    cell_set(0, real_ns() - start_ns);
}

static void price_scenario(struct weir_sim *it)
{
    uint32_t actor = weir_sim_start(it, points_main, NULL);
    weir_sim_join(it, actor); // it is alone
    cell_set(1, cell_get(0));
    points_main(NULL);
    cell_set(2, cell_get(0));
    actor = weir_sim_start(it, points_main, NULL); // and now two can run
    sim_point_yield(it);
    for (int i = 0; i < 1000; i++) {
        sim_point_yield(it);
    }
    weir_sim_join(it, actor);
}

static void test_price(void **state)
{
    (void)state;
    run_benign(price_scenario);
    expect_pass();
    price_print("a point alone", cells[1], 500000);
    price_print("a point where another could run", cells[0], 500000);
    uint64_t start_ns = real_ns();
    for (int turn = 0; turn < 1000; turn++) {
        run_benign(order_scenario);
    }
    price_print("a run of four threads", real_ns() - start_ns, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_quantum),
        cmocka_unit_test(test_healed_threads_take_turns),
        cmocka_unit_test(test_replayed_switch),
        cmocka_unit_test(test_replayed_yield),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_sleepers_wake_in_order),
        cmocka_unit_test(test_calls_fire_in_order),
        cmocka_unit_test(test_heap),
        cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_deadline_ends_with_the_wait),
        cmocka_unit_test(test_time_deviation),
        cmocka_unit_test(test_spinning_lets_time_pass),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_only_one_joins),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_nothing_can_run),
        cmocka_unit_test(test_too_many_steps),
        cmocka_unit_test(test_failures_leave_nothing),
        cmocka_unit_test(test_stop_continue_kill),
        cmocka_unit_test(test_process_join),
        cmocka_unit_test(test_waiting_for_the_stopped),
        cmocka_unit_test(test_deadline_of_the_killed),
        cmocka_unit_test(test_too_many_processes),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_price),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
