// What the tests of futures share: a runtime with a clock of the test's own, leaves, and sleepers.
//
// The clock moves only when the test says so; the runtime has no workers.
#ifndef WEIR_TESTS_SUPPORT_FUTURE_H
#define WEIR_TESTS_SUPPORT_FUTURE_H

#include <unistd.h>

#include "runtime/limits.h"
#include "runtime/timer.h"
#include "tests/support_runtime.h"

#define MS_NS UINT64_C(1000000)
#define START_NS (1000 * MS_NS)
#define TICK_NS (UINT64_C(1) << WEIR_TICK_BITS)
// Longer than any lateness of a timer: two ticks.
#define LATE_NS (2 * TICK_NS)

struct stage {
    struct weir_runtime *runtime;
    _Atomic uint64_t now_ns;
};

static inline uint64_t stage_now_ns(void *self)
{
    struct stage *stage = self;
    return atomic_load(&stage->now_ns);
}

static inline void stage_open(struct stage *stage)
{
    struct weir_os os = weir_os_linux(); // it does not use its `self`
    os.self = stage;
    os.now_ns = stage_now_ns;
    atomic_init(&stage->now_ns, START_NS);
    struct weir_runtime_options options = {.workers = 0, .os = &os};
    assert_int_equal(weir_runtime_create(&stage->runtime, &options), 0);
}

static inline uint64_t tasks_live(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.spawned - stats.completed;
}

static inline uint64_t timers_fired(struct weir_runtime *runtime)
{
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    return stats.timers_fired;
}

// Until nothing is ready any more.
static inline void stage_settle(struct stage *stage)
{
    int rounds = 0;
    while (weir_turn(stage->runtime, 1000, 0) > 0) {
        assert_true(++rounds < 100000);
    }
}

static inline void stage_at(struct stage *stage, uint64_t since_start_ns)
{
    assert_true(START_NS + since_start_ns >= atomic_load(&stage->now_ns));
    atomic_store(&stage->now_ns, START_NS + since_start_ns);
    stage_settle(stage);
}

static inline void stage_close(struct stage *stage)
{
    assert_int_equal(tasks_live(stage->runtime), 0);
    weir_runtime_destroy(stage->runtime);
}

static inline void spawn_bytes(struct weir_runtime *runtime, const struct weir_future *future,
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

static inline enum weir_poll script_poll(struct weir_future *future, struct weir_context *context)
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

static inline void script_spawn(struct stage *stage, script_fn *run, void *state)
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

static inline enum weir_poll counter_poll(struct weir_future *future, struct weir_context *context)
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

static inline struct counter counter_make(int ready_at)
{
    return (struct counter){.future.poll = counter_poll, .ready_at = ready_at};
}

struct sleeper {
    struct weir_future future;
    struct weir_sleep sleep;
    uint64_t duration_ns;
    bool until;
    _Atomic uint64_t *woke_ns;
    _Atomic uint64_t *started, *ended; // counters, each may be NULL
};

static inline enum weir_poll sleeper_poll(struct weir_future *future, struct weir_context *context)
{
    struct sleeper *me = (struct sleeper *)future;
    weir_begin(me);
    if (me->started != NULL) {
        atomic_fetch_add(me->started, 1);
    }
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
    if (me->ended != NULL) {
        atomic_fetch_add(me->ended, 1);
    }
    weir_end(me);
}

static inline void runtime_wait_idle(struct weir_runtime *runtime, uint32_t workers)
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

#endif
