// Tests of poll, drop, select, join, sleep, interval, timeout and yield on real runtimes.
//
// Where time matters the runtime has no workers and a clock of the test's own, which moves only
// when the test says so.
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "runtime/limits.h"
#include "runtime/os.h"
#include "runtime/timer.h"

#define MS_NS UINT64_C(1000000)
#define START_NS (1000 * MS_NS)
#define TICK_NS (UINT64_C(1) << WEIR_TICK_BITS)
// Longer than any lateness of a timer: two ticks.
#define LATE_NS (2 * TICK_NS)

// ---- A runtime with a clock of its own ----

struct stage {
    struct weir_runtime *runtime;
    _Atomic uint64_t now_ns;
};

static uint64_t stage_now_ns(void *self)
{
    struct stage *stage = self;
    return atomic_load(&stage->now_ns);
}

static void stage_open(struct stage *stage)
{
    struct weir_os os = weir_os_linux(); // it does not use its `self`
    os.self = stage;
    os.now_ns = stage_now_ns;
    atomic_init(&stage->now_ns, START_NS);
    struct weir_runtime_options options = {.workers = 0, .os = &os};
    assert_int_equal(weir_runtime_create(&stage->runtime, &options), 0);
}

static uint64_t tasks_live(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.spawned - stats.completed;
}

static uint64_t timers_fired(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.timers_fired;
}

// Until nothing is ready any more.
static void stage_settle(struct stage *stage)
{
    int rounds = 0;
    while (weir_turn(stage->runtime, 1000, 0) > 0) {
        assert_true(++rounds < 100000);
    }
}

static void stage_at(struct stage *stage, uint64_t since_start_ns)
{
    assert_true(START_NS + since_start_ns >= atomic_load(&stage->now_ns));
    atomic_store(&stage->now_ns, START_NS + since_start_ns);
    stage_settle(stage);
}

static void stage_close(struct stage *stage)
{
    assert_int_equal(tasks_live(stage->runtime), 0);
    weir_runtime_destroy(stage->runtime);
}

static void spawn_bytes(struct weir_runtime *runtime, const struct weir_future *future,
                        size_t bytes, struct weir_handle *handle)
{
    assert_int_equal(weir_runtime_spawn(runtime, future, bytes, WEIR_SPAWN_STEALABLE, handle), 0);
}
#define SPAWN(runtime, task, handle) spawn_bytes(runtime, &(task)->future, sizeof *(task), handle)

// A task around a plain function, so that a test can poll futures by hand with a real context.
typedef enum weir_poll script_fn(void *state, struct weir_context *context);
struct script {
    struct weir_future future;
    script_fn *run;
    void *state;
};

static enum weir_poll script_poll(struct weir_future *future, struct weir_context *context)
{
    struct script *script = (struct script *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    future->resume = 1;
    if (script->run(script->state, context) == WEIR_PENDING) {
        return WEIR_PENDING;
    }
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void script_spawn(struct stage *stage, script_fn *run, void *state)
{
    struct script script = {.future.poll = script_poll, .run = run, .state = state};
    SPAWN(stage->runtime, &script, NULL);
    stage_settle(stage);
}

// A leaf that is ready at its n-th poll and counts what is done to it.
struct counter {
    struct weir_future future;
    int polls, ready_at, exits;
    bool again; // ready at each poll from then on, as an interval is
};

static enum weir_poll counter_poll(struct weir_future *future, struct weir_context *context)
{
    (void)context;
    struct counter *counter = (struct counter *)future;
    if (future->resume == WEIR_RESUME_EXIT) {
        counter->exits++;
        future->resume = WEIR_RESUME_DONE;
        return WEIR_READY;
    }
    counter->polls++;
    future->resume = 1;
    if (counter->polls < counter->ready_at) {
        return WEIR_PENDING;
    }
    future->result = 100 + counter->polls;
    if (!counter->again) {
        future->resume = WEIR_RESUME_DONE;
    }
    return WEIR_READY;
}

static struct counter counter_make(int ready_at)
{
    return (struct counter){.future.poll = counter_poll, .ready_at = ready_at};
}

// ---- Texts ----

static void test_error_text(void **state)
{
    (void)state;
#define CHECK_TEXT(name, value, text)                                                              \
    assert_int_equal(name, value);                                                                 \
    assert_string_equal(weir_error_text(name), text);
    WEIR_ERRORS(CHECK_TEXT)
#undef CHECK_TEXT
    assert_string_equal(weir_error_text(-5), "system error");
    assert_string_equal(weir_error_text(0), "no error");
    assert_string_equal(weir_error_text(7), "no error");
}

// ---- Poll and drop ----

static void test_drop_states(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    struct counter inert;
    memset(&inert, 0, sizeof inert);
    weir_drop(&inert.future, &context);
    assert_int_equal(inert.future.resume, WEIR_RESUME_START);

    struct counter unstarted = counter_make(3);
    weir_drop(&unstarted.future, &context);
    assert_int_equal(unstarted.exits, 0);
    assert_int_equal(unstarted.future.result, WEIR_ECANCELED);
    assert_int_equal(weir_future_poll(&unstarted.future, &context), WEIR_READY);
    assert_int_equal(unstarted.polls, 0);

    struct counter started = counter_make(3);
    assert_int_equal(weir_future_poll(&started.future, &context), WEIR_PENDING);
    weir_drop(&started.future, &context);
    weir_drop(&started.future, &context);
    assert_int_equal(started.exits, 1);
    assert_int_equal(started.future.result, WEIR_ECANCELED);

    struct counter done = counter_make(1);
    assert_int_equal(weir_future_poll(&done.future, &context), WEIR_READY);
    assert_int_equal(weir_future_poll(&done.future, &context), WEIR_READY);
    weir_drop(&done.future, &context);
    assert_int_equal(done.polls, 1);
    assert_int_equal(done.exits, 0);
    assert_int_equal(done.future.result, 101);
}

struct body {
    struct weir_future future;
    struct counter first, second;
    int *exits;
};

static enum weir_poll body_poll(struct weir_future *future, struct weir_context *context)
{
    struct body *me = (struct body *)future;
    weir_begin(me);
    me->first = counter_make(2);
    weir_await(me, context, &me->first);
    if (me->first.future.result != 102) {
        weir_return(me, -1);
    }
    me->second = counter_make(2);
    weir_await(me, context, &me->second);
    weir_return(me, 7);
    weir_exit(me);
    (*me->exits)++;
    weir_drop(&me->first.future, context);
    weir_drop(&me->second.future, context);
    weir_end(me);
}

static void test_body(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    int exits = 0;
    struct body body = {.future.poll = body_poll, .exits = &exits};
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
    assert_int_equal(weir_future_poll(&body.future, &context), WEIR_READY);
    assert_int_equal(body.future.result, 7);
    assert_int_equal(exits, 1);

    for (int polls = 0; polls < 3; polls++) { // cancelled at each of its places
        exits = 0;
        body = (struct body){.future.poll = body_poll, .exits = &exits};
        for (int i = 0; i < polls; i++) {
            assert_int_equal(weir_future_poll(&body.future, &context), WEIR_PENDING);
        }
        weir_drop(&body.future, &context);
        assert_int_equal(exits, polls > 0);
        assert_int_equal(body.first.exits, polls == 1);
        assert_int_equal(body.second.exits, polls == 2);
        assert_int_equal(body.future.result, WEIR_ECANCELED);
        weir_drop(&body.future, &context);
        assert_int_equal(exits, polls > 0);
    }
}

// What must stop the program, in a child that may die of it.
static void check_aborts(void (*wrong)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        signal(SIGABRT, SIG_DFL);
        wrong();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void wrong_resume(void)
{
    struct weir_context context = {.budget = 1};
    struct body body = {.future = {.poll = body_poll, .resume = 1}};
    (void)weir_future_poll(&body.future, &context);
}

static void wrong_inert_poll(void)
{
    struct weir_context context = {.budget = 1};
    struct weir_future future = {0};
    (void)weir_future_poll(&future, &context);
}

static void wrong_period(void)
{
    struct weir_interval interval;
    weir_interval_init(&interval, 0, WEIR_MISSED_BURST);
}

static void test_misuse_aborts(void **state)
{
    (void)state;
    check_aborts(wrong_resume);
    check_aborts(wrong_inert_poll);
    check_aborts(wrong_period);
}

// ---- Any and all ----

static void test_poll_any(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    assert_int_equal(weir_poll_any(NULL, 0, NULL, &context), -1);
    uint32_t rotor = 5;
    assert_int_equal(weir_poll_any(NULL, 0, &rotor, &context), -1);

    struct counter a = counter_make(3), b = counter_make(2), c = counter_make(2);
    struct weir_future *const all[] = {&a.future, &b.future, &c.future};
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), -1);
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), 1); // b before c: priority
    assert_int_equal(c.polls, 1);                               // not looked at any more
    assert_int_equal(a.exits + b.exits + c.exits, 0);           // the losers are still armed
    assert_int_equal(weir_poll_any(all, 3, NULL, &context), 0);
    weir_drop(&c.future, &context);
    assert_int_equal(c.exits, 1);
}

static void test_rotor_is_fair(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    struct counter four[4];
    struct weir_future *all[4];
    int wins[4] = {0};
    for (int i = 0; i < 4; i++) {
        four[i] = counter_make(0);
        four[i].again = true;
        all[i] = &four[i].future;
    }
    uint32_t rotor = 0;
    for (int i = 0; i < 400; i++) {
        int winner = weir_poll_any(all, 4, &rotor, &context);
        assert_int_equal(winner, i % 4);
        wins[winner]++;
    }
    four[1].ready_at = INT32_MAX; // one that is never ready costs the others nothing
    for (int i = 0; i < 300; i++) {
        wins[weir_poll_any(all, 4, &rotor, &context)]++;
    }
    assert_int_equal(wins[1], 100);
    // Its turns fall to the one after it.
    assert_int_equal(wins[0] + wins[2] + wins[3], 600);
    assert_true(wins[0] >= 199 && wins[2] >= 199 && wins[3] >= 199);
    rotor = UINT32_MAX; // any value will do
    assert_int_equal(weir_poll_any(all, 4, &rotor, &context), UINT32_MAX % 4);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(weir_poll_any(all, 4, NULL, &context), 0);
    }
}

static void test_poll_all(void **state)
{
    (void)state;
    struct weir_context context = {.budget = 1};
    assert_true(weir_poll_all(NULL, 0, &context));
    struct counter a = counter_make(1), b = counter_make(3), c = counter_make(2);
    struct weir_future *const all[] = {&a.future, &b.future, &c.future};
    assert_false(weir_poll_all(all, 3, &context));
    assert_false(weir_poll_all(all, 3, &context));
    assert_true(weir_poll_all(all, 3, &context));
    assert_int_equal(a.polls, 1);
    assert_int_equal(b.polls, 3);
    assert_int_equal(c.polls, 2);
}

// ---- Sleep ----

struct sleeper {
    struct weir_future future;
    struct weir_sleep sleep;
    uint64_t duration_ns;
    bool until;
    _Atomic uint64_t *woke_ns;
};

static enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct sleeper *me = (struct sleeper *)future;
    weir_begin(me);
    if (me->until) {
        weir_sleep_until_init(&me->sleep, me->duration_ns);
    } else {
        weir_sleep_init(&me->sleep, me->duration_ns);
    }
    weir_await(me, context, &me->sleep);
    atomic_store(me->woke_ns, weir_context_clock_ns(context));
    weir_return(me, me->sleep.future.result);
    weir_exit(me);
    weir_drop(&me->sleep.future, context);
    weir_end(me);
}

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
        struct weir_runtime *runtime;
        struct weir_runtime_options options = {.workers = workers};
        assert_int_equal(weir_runtime_create(&runtime, &options), 0);
        _Atomic uint64_t woke_ns = 0;
        struct sleeper sleeper = {
            .future.poll = sleeper_poll, .duration_ns = 3600000 * MS_NS, .woke_ns = &woke_ns};
        for (int i = 0; i < 100; i++) {
            SPAWN(runtime, &sleeper, NULL);
        }
        if (workers == 0) {
            (void)weir_turn(runtime, 1000, 0);
        } else {
            usleep(2000);
        }
        weir_runtime_destroy(runtime);
        assert_int_equal(woke_ns, 0);
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
        weir_sleep_init(&me->child, (me->random >> 8) % 600000);
        me->random = me->random * 1664525 + 1013904223;
        weir_timeout_init(&me->inner, &me->child.future, (me->random >> 8) % 600000);
        weir_timeout_init(&me->outer, &me->inner.future, (me->random >> 4) % 600000);
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

static void runtime_wait_idle(struct weir_runtime *runtime, uint32_t workers)
{
    for (int i = 0; tasks_live(runtime) != 0; i++) {
        assert_true(i < 60000);
        if (workers == 0) {
            (void)weir_turn(runtime, 1000, MS_NS);
        } else {
            usleep(1000);
        }
    }
}

static void test_timeouts_race(void **state)
{
    (void)state;
    enum { TASKS = 200, ROUNDS = 20 };
    for (uint32_t workers = 0; workers <= 4; workers = workers == 0 ? 1 : workers * 2) {
        struct weir_runtime *runtime;
        struct weir_runtime_options options = {.workers = workers};
        assert_int_equal(weir_runtime_create(&runtime, &options), 0);
        _Atomic uint32_t counts[4] = {0, 0, 0, 0};
        for (uint32_t i = 0; i < TASKS; i++) {
            struct racer racer = {.future.poll = racer_poll,
                                  .random = i * 7919 + workers,
                                  .rounds = ROUNDS,
                                  .counts = counts};
            SPAWN(runtime, &racer, NULL);
        }
        runtime_wait_idle(runtime, workers);
        assert_int_equal(counts[0] + counts[2] + counts[3], TASKS * ROUNDS);
        assert_true(counts[0] > 0 && counts[2] + counts[3] > 0);
        weir_runtime_destroy(runtime);
    }
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
        struct weir_runtime *runtime;
        struct weir_runtime_options options = {.workers = workers};
        assert_int_equal(weir_runtime_create(&runtime, &options), 0);
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

static void test_block_on(void **state)
{
    (void)state;
    for (uint32_t workers = 0; workers <= 2; workers++) {
        struct weir_runtime *runtime;
        struct weir_runtime_options options = {.workers = workers};
        assert_int_equal(weir_runtime_create(&runtime, &options), 0);
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
        cmocka_unit_test(test_error_text),
        cmocka_unit_test(test_drop_states),
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_misuse_aborts),
        cmocka_unit_test(test_poll_any),
        cmocka_unit_test(test_rotor_is_fair),
        cmocka_unit_test(test_poll_all),
        cmocka_unit_test(test_sleep_never_early),
        cmocka_unit_test(test_sleep_until_and_forever),
        cmocka_unit_test(test_sleep_cancelled),
        cmocka_unit_test(test_clock_is_read_anew),
        cmocka_unit_test(test_sleep_at_runtime_end),
        cmocka_unit_test(test_select_leaves_losers_armed),
        cmocka_unit_test(test_interval_modes),
        cmocka_unit_test(test_interval_burst_spends_budget),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_timeouts_race),
        cmocka_unit_test(test_sleep_real_clock),
        cmocka_unit_test(test_yield_goes_round),
        cmocka_unit_test(test_block_on),
    };
    return cmocka_run_group_tests_name("future", tests, NULL, NULL);
}
