// Tests of sleeps: never early, cancelled, left asleep, and several at once in select and join.
#include "tests/support_future.h"

// ---- Sleep ----

static void test_sleep_never_early(void **state)
{
    (void)state;
    const uint64_t durations[] = {
        0,     1,           TICK_NS - 1,      TICK_NS, TICK_NS + 1, 63 * TICK_NS, 64 * TICK_NS,
        MS_NS, 777 * MS_NS, UINT64_C(1) << 55};
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        struct stage stage;
        stage_open(&stage);
        _Atomic uint64_t woke_ns = 0;
        struct sleeper sleeper = {
            .future.poll = sleeper_poll, .duration_ns = durations[i], .woke_ns = &woke_ns};
        SPAWN(stage.runtime, &sleeper, NULL);
        stage_settle(&stage);
        if (durations[i] > 0) {
            assert_int_equal(woke_ns, 0);
            stage_at(&stage, durations[i] - 1);
            assert_int_equal(woke_ns, 0);
        }
        stage_at(&stage, durations[i] + LATE_NS);
        assert_true(woke_ns >= START_NS + durations[i]);
        stage_close(&stage);
    }
}

static void test_sleep_until_and_forever(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    const uint64_t past[] = {0, 1, START_NS - 1, START_NS};
    _Atomic uint64_t woke_ns;
    struct sleeper sleeper = {.future.poll = sleeper_poll, .until = true, .woke_ns = &woke_ns};
    for (size_t i = 0; i < 4; i++) {
        atomic_store(&woke_ns, 0);
        sleeper.duration_ns = past[i];
        SPAWN(stage.runtime, &sleeper, NULL);
        stage_settle(&stage);
        assert_true(woke_ns == START_NS); // at once
    }
    assert_int_equal(timers_fired(stage.runtime), 0);
    _Atomic uint64_t forever[4];
    struct weir_handle handles[4];
    for (int i = 0; i < 4; i++) {
        atomic_store(&forever[i], 0);
        sleeper.until = i % 2 == 0;
        sleeper.duration_ns = UINT64_MAX - (uint64_t)(i / 2);
        sleeper.woke_ns = &forever[i];
        SPAWN(stage.runtime, &sleeper, &handles[i]);
    }
    stage_at(&stage, UINT64_MAX - START_NS - 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(forever[i], 0);
        weir_task_cancel(handles[i]);
        weir_task_detach(handles[i]);
    }
    stage_settle(&stage);
    stage_close(&stage);
}

static void test_sleep_cancelled(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    _Atomic uint64_t woke_ns = 0;
    struct sleeper sleeper = {
        .future.poll = sleeper_poll, .duration_ns = 5 * MS_NS, .woke_ns = &woke_ns};
    struct weir_handle handle;
    SPAWN(stage.runtime, &sleeper, &handle);
    stage_settle(&stage);
    weir_task_cancel(handle);
    stage_settle(&stage);
    weir_task_detach(handle);
    stage_at(&stage, 50 * MS_NS);
    assert_int_equal(woke_ns, 0);
    assert_int_equal(timers_fired(stage.runtime), 0);

    // Cancelled after its timer has fired, before the task is polled.
    SPAWN(stage.runtime, &sleeper, &handle);
    stage_settle(&stage);
    atomic_store(&stage.now_ns, START_NS + 100 * MS_NS);
    assert_int_equal(weir_turn(stage.runtime, 0, 0), 0); // fires, polls nothing
    assert_int_equal(timers_fired(stage.runtime), 1);
    weir_task_cancel(handle);
    stage_settle(&stage);
    weir_task_detach(handle);
    assert_int_equal(woke_ns, 0);
    stage_close(&stage);
}

// The worker's cached clock may be old; a sleep counts from the true time.
struct busy {
    struct stage *stage;
    struct weir_sleep sleep;
    struct weir_interval interval;
    bool started, slept, ticked; // at the second poll or later
};

static enum weir_poll busy_run(void *state, struct weir_context *context)
{
    struct busy *busy = state;
    if (!busy->started) {
        busy->started = true;
        atomic_store(&busy->stage->now_ns, START_NS + 50 * MS_NS); // a long poll
        weir_sleep_init(&busy->sleep, 10 * MS_NS);
        busy->slept = weir_future_poll(&busy->sleep.future, context) == WEIR_READY;
        weir_interval_init(&busy->interval, 10 * MS_NS, WEIR_MISSED_BURST);
        (void)weir_future_poll(&busy->interval.future, context);
        return WEIR_PENDING;
    }
    busy->slept |= weir_future_poll(&busy->sleep.future, context) == WEIR_READY;
    busy->ticked |= weir_future_poll(&busy->interval.future, context) == WEIR_READY;
    if (busy->ticked) {
        weir_drop(&busy->interval.future, context);
        weir_drop(&busy->sleep.future, context);
    }
    return busy->ticked ? WEIR_READY : WEIR_PENDING;
}

static void test_clock_is_read_anew(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    struct busy busy = {.stage = &stage};
    script_spawn(&stage, busy_run, &busy);
    stage_at(&stage, 60 * MS_NS - 1);
    assert_false(busy.slept);
    assert_false(busy.ticked);
    stage_at(&stage, 60 * MS_NS + LATE_NS);
    assert_true(busy.slept);
    assert_true(busy.ticked);
    stage_close(&stage);
}

// Left asleep when the runtime goes: the body's exit block still runs.
static void test_sleep_at_runtime_end(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint64_t woke_ns = 0, started = 0, ended = 0;
        struct sleeper sleeper = {.future.poll = sleeper_poll,
                                  .duration_ns = 3600000 * MS_NS,
                                  .woke_ns = &woke_ns,
                                  .started = &started,
                                  .ended = &ended};
        for (int i = 0; i < 100; i++) {
            SPAWN(runtime, &sleeper, NULL);
        }
        test_wait_for(runtime, &started, 100);
        assert_int_equal(ended, 0);
        weir_runtime_destroy(runtime);
        assert_int_equal(woke_ns, 0);
        assert_int_equal(ended, 100);
    }
}

// ---- Select and join over sleeps: losers stay armed ----

struct chooser {
    struct weir_future future;
    struct weir_sleep naps[3];
    uint32_t rotor;
    int winner, *order, *order_count;
};

static enum weir_poll chooser_poll(struct weir_future *future, struct weir_context *context)
{
    struct chooser *me = (struct chooser *)future;
    weir_begin(me);
    weir_sleep_init(&me->naps[0], 30 * MS_NS);
    weir_sleep_init(&me->naps[1], 10 * MS_NS);
    weir_sleep_init(&me->naps[2], 20 * MS_NS);
    weir_select(me, context, me->winner, NULL, &me->naps[0].future, &me->naps[1].future,
                &me->naps[2].future);
    me->order[(*me->order_count)++] = me->winner;
    weir_select(me, context, me->winner, &me->rotor, &me->naps[0].future, &me->naps[2].future);
    me->order[(*me->order_count)++] = me->winner;
    weir_join(me, context, &me->naps[0].future, &me->naps[1].future, &me->naps[2].future);
    me->order[(*me->order_count)++] = 9;
    weir_return(me, 0);
    weir_exit(me);
    for (int i = 0; i < 3; i++) {
        weir_drop(&me->naps[i].future, context);
    }
    weir_end(me);
}

static void test_select_leaves_losers_armed(void **state)
{
    (void)state;
    struct stage stage;
    stage_open(&stage);
    int order[3] = {0}, order_count = 0;
    struct chooser chooser = {
        .future.poll = chooser_poll, .order = order, .order_count = &order_count};
    SPAWN(stage.runtime, &chooser, NULL);
    stage_settle(&stage);
    assert_int_equal(order_count, 0);
    stage_at(&stage, 10 * MS_NS + LATE_NS);
    assert_int_equal(order_count, 1);
    assert_int_equal(order[0], 1);
    stage_at(&stage, 20 * MS_NS + LATE_NS);
    assert_int_equal(order_count, 2);
    assert_int_equal(order[1], 1); // the second of two: naps[2]
    stage_at(&stage, 30 * MS_NS - 1);
    assert_int_equal(order_count, 2);
    stage_at(&stage, 30 * MS_NS + LATE_NS);
    assert_int_equal(order_count, 3);
    assert_int_equal(timers_fired(stage.runtime), 3);

    order_count = 0; // cancelled between the first and the second
    struct weir_handle handle;
    SPAWN(stage.runtime, &chooser, &handle);
    stage_at(&stage, 50 * MS_NS);
    stage_at(&stage, 62 * MS_NS);
    assert_int_equal(order_count, 1);
    weir_task_cancel(handle);
    weir_task_detach(handle);
    stage_at(&stage, 200 * MS_NS);
    assert_int_equal(order_count, 1);
    stage_close(&stage);
}

// Real clock, several workers: late is possible, early is not.
struct punctual {
    struct weir_future future;
    struct weir_sleep sleep;
    uint64_t start_ns, duration_ns;
    uint32_t random, rounds;
    _Atomic uint32_t *early;
};

static enum weir_poll punctual_poll(struct weir_future *future, struct weir_context *context)
{
    struct punctual *me = (struct punctual *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        me->random = me->random * 1664525 + 1013904223;
        me->duration_ns = (me->random >> 8) % 2000000;
        weir_sleep_init(&me->sleep, me->duration_ns);
        me->start_ns = weir_context_clock_ns(context);
        weir_await(me, context, &me->sleep);
        if (weir_context_clock_ns(context) - me->start_ns < me->duration_ns) {
            atomic_fetch_add(me->early, 1);
        }
    }
    weir_return(me, 0);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

static void test_sleep_real_clock(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 4; workers += 2) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint32_t early = 0;
        for (uint32_t i = 0; i < 300; i++) {
            struct punctual punctual = {
                .future.poll = punctual_poll, .random = i, .rounds = 20, .early = &early};
            SPAWN(runtime, &punctual, NULL);
        }
        runtime_wait_idle(runtime, workers);
        assert_int_equal(early, 0);
        weir_runtime_destroy(runtime);
    }
}

static void test_block_on(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 2; workers++) {
        struct weir_runtime *runtime = test_runtime_create(workers, NULL);
        _Atomic uint64_t woke_ns = 0;
        struct sleeper sleeper = {
            .future.poll = sleeper_poll, .duration_ns = MS_NS, .woke_ns = &woke_ns};
        for (int i = 0; i < 20; i++) {
            assert_int_equal(weir_block_on(runtime, &sleeper.future, sizeof sleeper), 0);
        }
        assert_true(woke_ns > 0);
        weir_runtime_destroy(runtime);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sleep_never_early),
        cmocka_unit_test(test_sleep_until_and_forever),
        cmocka_unit_test(test_sleep_cancelled),
        cmocka_unit_test(test_clock_is_read_anew),
        cmocka_unit_test(test_sleep_at_runtime_end),
        cmocka_unit_test(test_select_leaves_losers_armed),
        cmocka_unit_test(test_sleep_real_clock),
        cmocka_unit_test(test_block_on),
    };
    return cmocka_run_group_tests_name("future_sleep", tests, NULL, NULL);
}
