// Tests of intervals, timeouts and yields: what comes when, and whose turn it is.
#include "tests/support_future.h"

// ---- Interval ----

struct ticker {
    struct weir_future future;
    struct weir_interval interval;
    enum weir_missed missed;
    int *ticks, *skipped;
};

static enum weir_poll ticker_poll(struct weir_future *future, struct weir_context *context)
{
    struct ticker *me = (struct ticker *)future;
    weir_begin(me);
    weir_interval_init(&me->interval, 10 * MS_NS, me->missed);
    for (;;) {
        weir_await(me, context, &me->interval);
        (*me->ticks)++;
        *me->skipped += me->interval.future.result;
    }
    weir_exit(me);
    weir_drop(&me->interval.future, context);
    weir_end(me);
}

static void test_interval_modes(void **state)
{
    (void)state;
    // Ticks and skips after: 1 period, 2 periods, then silence until 5.5 periods, then 6 and 6.5.
    static const struct {
        enum weir_missed missed;
        int ticks[5], skipped[5];
    } modes[] = {
        // 3, 4 and 5 come at once
        {WEIR_MISSED_BURST, {1, 2, 5, 6, 6}, {0, 0, 0, 0, 0}},
        // the tick of 3 is seen at 5.5 and the next one comes at 6.5
        {WEIR_MISSED_DELAY, {1, 2, 3, 3, 4}, {0, 0, 2, 2, 2}},
        // 3 and 4 are passed over
        {WEIR_MISSED_SKIP, {1, 2, 3, 4, 4}, {0, 0, 2, 2, 2}},
    };
    const uint64_t at_ns[] = {10 * MS_NS, 20 * MS_NS, 55 * MS_NS, 60 * MS_NS, 65 * MS_NS};
    for (size_t mode = 0; mode < 3; mode++) {
        struct stage stage;
        stage_open(&stage);
        int ticks = 0, skipped = 0;
        struct ticker ticker = {.future.poll = ticker_poll,
                                .missed = modes[mode].missed,
                                .ticks = &ticks,
                                .skipped = &skipped};
        struct weir_handle handle;
        SPAWN(stage.runtime, &ticker, &handle);
        stage_settle(&stage);
        stage_at(&stage, 10 * MS_NS - 1);
        assert_int_equal(ticks, 0);
        for (size_t i = 0; i < 5; i++) {
            // Late by the same each time, so that DELAY's shift adds up to nothing.
            stage_at(&stage, at_ns[i] + (modes[mode].missed == WEIR_MISSED_DELAY ? (i + 1) * LATE_NS
                                                                                 : LATE_NS));
            assert_int_equal(ticks, modes[mode].ticks[i]);
            assert_int_equal(skipped, modes[mode].skipped[i]);
        }
        uint64_t fired = timers_fired(stage.runtime);
        weir_task_cancel(handle);
        weir_task_detach(handle);
        stage_settle(&stage);
        stage_at(&stage, 500 * MS_NS);
        assert_int_equal(ticks, modes[mode].ticks[4]);
        assert_int_equal(timers_fired(stage.runtime), fired);
        stage_close(&stage);
    }
}

// A burst of a thousand ticks is ready a thousand times: the neighbour must still get its turn.
struct neighbour {
    struct weir_future future;
    struct weir_sleep sleep;
    struct weir_yield yield;
    int *turns, turns_max;
    int *ticks, *ticks_seen;
};

static enum weir_poll neighbour_poll(struct weir_future *future, struct weir_context *context)
{
    struct neighbour *me = (struct neighbour *)future;
    weir_begin(me);
    weir_sleep_init(&me->sleep, MS_NS);
    weir_await(me, context, &me->sleep);
    while (*me->turns < me->turns_max) {
        me->ticks_seen[(*me->turns)++] = *me->ticks;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_drop(&me->yield.future, context);
    weir_end(me);
}

static void test_interval_burst_spends_budget(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    int ticks = 0, skipped = 0, turns = 0, seen[50] = {0};
    struct ticker ticker = {.future.poll = ticker_poll,
                            .missed = WEIR_MISSED_BURST,
                            .ticks = &ticks,
                            .skipped = &skipped};
    struct weir_handle handle;
    SPAWN(stage.runtime, &ticker, &handle);
    stage_settle(&stage);
    struct neighbour neighbour = {.future.poll = neighbour_poll,
                                  .turns = &turns,
                                  .turns_max = 50,
                                  .ticks = &ticks,
                                  .ticks_seen = seen};
    SPAWN(stage.runtime, &neighbour, NULL);
    stage_settle(&stage);
    stage_at(&stage, 10 * 1000 * MS_NS + LATE_NS);
    assert_int_equal(ticks, 1000);
    assert_int_equal(turns, 50);
    for (int i = 1; i < 50; i++) {
        assert_true(seen[i] - seen[i - 1] <= WEIR_BUDGET + 1);
    }
    assert_true(seen[3] < 1000); // it was in between, not after
    weir_task_cancel(handle);
    weir_task_detach(handle);
    stage_settle(&stage);
    stage_close(&stage);
}

// ---- Timeout ----

struct timeout_case {
    struct weir_timeout timeout;
    struct counter counter;
    enum weir_poll polled;
};

static enum weir_poll timeout_ready_at_once(void *state, struct weir_context *context)
{
    struct timeout_case *test = state;
    test->counter = counter_make(1);
    weir_timeout_init(&test->timeout, &test->counter.future, MS_NS);
    assert_int_equal(weir_future_poll(&test->timeout.future, context), WEIR_READY);
    assert_int_equal(test->timeout.future.result, 101);
    assert_int_equal(test->timeout.sleep.future.result, WEIR_ECANCELED);

    weir_timeout_init(&test->timeout, &test->counter.future, 0); // a tie
    test->counter = counter_make(1);
    assert_int_equal(weir_future_poll(&test->timeout.future, context), WEIR_READY);
    assert_int_equal(test->timeout.future.result, 101);

    test->counter = counter_make(2); // no time at all
    weir_timeout_init(&test->timeout, &test->counter.future, 0);
    assert_int_equal(weir_future_poll(&test->timeout.future, context), WEIR_READY);
    assert_int_equal(test->timeout.future.result, WEIR_ETIMEOUT);
    assert_int_equal(test->counter.exits, 1);
    assert_int_equal(test->counter.future.result, WEIR_ECANCELED);

    test->counter = counter_make(2); // dropped while both wait
    weir_timeout_init(&test->timeout, &test->counter.future, MS_NS);
    assert_int_equal(weir_future_poll(&test->timeout.future, context), WEIR_PENDING);
    weir_drop(&test->timeout.future, context);
    assert_int_equal(test->counter.exits, 1);
    assert_int_equal(test->timeout.sleep.future.resume, WEIR_RESUME_DONE);

    test->counter = counter_make(2); // dropped unstarted: the child is its owner's
    weir_timeout_init(&test->timeout, &test->counter.future, MS_NS);
    weir_drop(&test->timeout.future, context);
    assert_int_equal(test->counter.exits, 0);
    assert_int_equal(test->counter.future.resume, WEIR_RESUME_START);
    return WEIR_READY;
}

static enum weir_poll timeout_waits(void *state, struct weir_context *context)
{
    struct timeout_case *test = state;
    test->polled = weir_future_poll(&test->timeout.future, context);
    return test->polled;
}

static void test_timeout(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    struct timeout_case test = {.polled = WEIR_PENDING};
    script_spawn(&stage, timeout_ready_at_once, &test);
    stage_at(&stage, 5 * MS_NS);
    assert_int_equal(timers_fired(stage.runtime), 0);

    test.counter = counter_make(INT32_MAX);
    weir_timeout_init(&test.timeout, &test.counter.future, MS_NS);
    script_spawn(&stage, timeout_waits, &test);
    stage_at(&stage, 6 * MS_NS - 1);
    assert_int_equal(test.polled, WEIR_PENDING);
    stage_at(&stage, 6 * MS_NS + LATE_NS);
    assert_int_equal(test.polled, WEIR_READY);
    assert_int_equal(test.timeout.future.result, WEIR_ETIMEOUT);
    assert_int_equal(test.counter.exits, 1);

    // Both at the same poll: the child wins.
    test.counter = counter_make(2);
    weir_timeout_init(&test.timeout, &test.counter.future, MS_NS);
    script_spawn(&stage, timeout_waits, &test);
    stage_at(&stage, 20 * MS_NS);
    assert_int_equal(test.timeout.future.result, 102);
    assert_int_equal(test.counter.exits, 0);
    stage_close(&stage);
}

// Children that race their time limits on several workers.
struct racer {
    struct weir_future future;
    struct weir_sleep child;
    struct weir_timeout inner, outer;
    uint32_t random, rounds;
    _Atomic uint32_t *counts; // by outcome
};

static enum weir_poll racer_poll(struct weir_future *future, struct weir_context *context)
{
    struct racer *me = (struct racer *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        me->random = me->random * 1664525 + 1013904223;
        weir_sleep_init(&me->child, (me->random >> 8) % 3000000);
        me->random = me->random * 1664525 + 1013904223;
        weir_timeout_init(&me->inner, &me->child.future, (me->random >> 8) % 3000000);
        weir_timeout_init(&me->outer, &me->inner.future, (me->random >> 4) % 3000000);
        weir_await(me, context, &me->outer);
        if (me->outer.future.result == WEIR_ETIMEOUT) {
            atomic_fetch_add(&me->counts[me->inner.future.result == WEIR_ETIMEOUT ? 2 : 3], 1);
        } else {
            atomic_fetch_add(&me->counts[0], 1);
        }
        if (me->child.future.resume != WEIR_RESUME_DONE) {
            weir_return(me, -1);
        }
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->outer.future, context);
    weir_end(me);
}

static void test_timeouts_race(void **state)
{
    (void)state;
    enum { TASKS = 200, ROUNDS = 20 };
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint32_t counts[4] = {0, 0, 0, 0};
        // Where a round of polls takes longer than all limits, only children win: then once more.
        uint32_t tries = 0;
        do {
            for (uint32_t i = 0; i < TASKS; i++) {
                struct racer racer = {.future.poll = racer_poll,
                                      .random = (tries * TASKS + i) * 7919 + workers,
                                      .rounds = ROUNDS,
                                      .counts = counts};
                SPAWN(runtime, &racer, NULL);
            }
            runtime_wait_idle(runtime, workers);
            tries++;
            assert_int_equal(counts[0] + counts[2] + counts[3], tries * TASKS * ROUNDS);
        } while ((counts[0] == 0 || counts[2] + counts[3] == 0) && tries < 1000);
        assert_true(counts[0] > 0 && counts[2] + counts[3] > 0);
        weir_runtime_destroy(runtime);
    }
}

// ---- Yield ----

struct yielder {
    struct weir_future future;
    struct weir_sleep sleep; // all are woken at once, into the run queue
    struct weir_yield yield;
    int id, rounds;
    int *log, *log_count;
};

static enum weir_poll yielder_poll(struct weir_future *future, struct weir_context *context)
{
    struct yielder *me = (struct yielder *)future;
    weir_begin(me);
    weir_sleep_init(&me->sleep, MS_NS);
    weir_await(me, context, &me->sleep);
    for (; me->rounds > 0; me->rounds--) {
        me->log[(*me->log_count)++] = me->id;
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_drop(&me->yield.future, context);
    weir_end(me);
}

// To the back: K tasks that yield come round in turn.
static void test_yield_goes_round(void **state)
{
    (void)state;
    enum { TASKS = 3, ROUNDS = 50 };
    struct stage stage;
    stage_open(&stage);
    int log[TASKS * ROUNDS], log_count = 0;
    for (int i = 0; i < TASKS; i++) {
        struct yielder yielder = {.future.poll = yielder_poll,
                                  .id = i,
                                  .rounds = ROUNDS,
                                  .log = log,
                                  .log_count = &log_count};
        SPAWN(stage.runtime, &yielder, NULL);
    }
    stage_settle(&stage);
    stage_at(&stage, 2 * MS_NS);
    assert_int_equal(log_count, TASKS * ROUNDS);
    for (int i = TASKS; i < log_count; i++) {
        assert_int_equal(log[i], log[i - TASKS]);
    }
    for (int i = 1; i < TASKS; i++) {
        assert_int_not_equal(log[i], log[i - 1]);
    }
    stage_close(&stage);
}

// As a task of its own it has nobody to look at it but the worker.
static void test_yield_is_a_task(void **state)
{
    (void)state;
    struct stage stage;
    struct weir_runtime_stats stats;
    struct weir_yield yield;
    stage_open(&stage);
    weir_yield_init(&yield);
    SPAWN(stage.runtime, &yield, NULL);
    stage_settle(&stage);
    weir_runtime_stats(stage.runtime, &stats);
    assert_int_equal(stats.completed, 1);
    assert_int_equal(stats.polls, 2);
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval_modes),
        cmocka_unit_test(test_interval_burst_spends_budget),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_timeouts_race),
        cmocka_unit_test(test_yield_goes_round),
        cmocka_unit_test(test_yield_is_a_task),
    };
    return cmocka_run_group_tests_name("future_turn", tests, NULL, NULL);
}
