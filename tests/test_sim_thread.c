// Virtual threads: whose turn it is, joins, verdicts, the same run again, and what a point costs.
#include "tests/support_virtual.h"

#include <errno.h>
#include <time.h>

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

// ---- From start to end ----

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

static void asleep_scenario(struct weir_sim *it)
{
    weir_sim_sleep(it, 3600 * SECOND_NS);
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
        run_benign(asleep_scenario);
        expect_pass();
    }
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
    struct weir_sim *it = sim;
    uint64_t start_ns = real_ns();
    for (int i = 0; i < 500000; i++) {
        sim_point(it);
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
        cmocka_unit_test(test_replayed_yield),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_replayed_switch),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_only_one_joins),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_nothing_can_run),
        cmocka_unit_test(test_too_many_steps),
        cmocka_unit_test(test_failures_leave_nothing),
        cmocka_unit_test(test_same_seed_same_run),
        cmocka_unit_test(test_price),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
