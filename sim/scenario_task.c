// Scenarios of tasks: spawn, join, wake, cancel, scopes, block_on, pinned; and the runtime's end.
//
// After what Tokio checks of its multi-threaded and current-thread schedulers, its join sets and
// its shutdown with loom; the names say which. Tasks write and read plain memory on both sides of
// every wake and join, so that a wake that orders nothing is a data race, and two pollers at once
// are too.
#include "runtime/limits.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

// ---- A task that passes the baton: waits for a word, polled at most so often ----

// Ready once `*word` reaches `goal`; its waker is where others find it.
struct waiter {
    struct weir_future future;
    struct weir_sim *sim;
    _Atomic uint32_t *word;
    uint32_t goal;
    uint32_t *polls;              // plain: two pollers at once would be a race
    _Atomic uint32_t *registered; // 1 once `waker` may be read
    struct weir_waker *waker;
    const uint32_t *payload; // plain, written right before the only wake; NULL: there are more
};

static bool waiter_done(struct waiter *me)
{
    *me->polls += 1;
    // The second poll was caused by the wake, and so sees what came before it: the words are
    // relaxed.
    if (me->payload != NULL && *me->polls == 2) {
        weir_sim_check(me->sim, *me->payload == 77, "wake-before-its-cause");
        weir_sim_sometimes(me->sim, "wake-seen");
    }
    return atomic_load_explicit(me->word, memory_order_relaxed) >= me->goal;
}

static enum weir_poll waiter_poll(struct weir_future *future, struct weir_context *context)
{
    struct waiter *me = (struct waiter *)future;
    weir_begin(me);
    *me->waker = weir_context_waker(context);
    atomic_store_explicit(me->registered, 1, memory_order_release);
    weir_until(me, waiter_done(me));
    weir_return(me, (int32_t)me->goal);
    weir_exit(me);
    weir_end(me);
}

struct stage {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    _Atomic uint32_t word;
    _Atomic uint32_t registered;
    struct weir_waker waker;
    uint32_t polls;
    uint32_t payload;
    uint32_t wakes;
    bool lone; // there is one waker, and it wakes once
};

static void stage_spawn(struct stage *stage, uint32_t goal, struct weir_handle *handle)
{
    struct waiter task = {.future = {.poll = waiter_poll},
                          .sim = stage->sim,
                          .word = &stage->word,
                          .goal = goal,
                          .polls = &stage->polls,
                          .registered = &stage->registered,
                          .waker = &stage->waker,
                          .payload = stage->lone ? &stage->payload : NULL};
    scenario_spawn(stage->sim, stage->runtime, &task, handle);
}

static void stage_registered(struct stage *stage)
{
    while (atomic_load_explicit(&stage->registered, memory_order_acquire) == 0) {
        weir_sim_sleep(stage->sim, 1000);
    }
}

static void waker_main(void *argument)
{
    struct stage *stage = argument;
    stage_registered(stage);
    for (uint32_t i = 0; i < stage->wakes; i++) {
        if (stage->lone) {
            stage->payload = 77;
        }
        atomic_fetch_add_explicit(&stage->word, 1, memory_order_relaxed);
        weir_wake(stage->waker);
    }
}

// pool_multi_notify, and: every wake is followed by a poll that sees what was before it.
static void task_wake(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim};
    uint32_t workers = weir_sim_draw(sim, "workers", 1, 3);
    uint32_t wakers = weir_sim_draw(sim, "wakers", 1, 2);
    stage.wakes = weir_sim_draw(sim, "wakes", 1, 3);
    stage.lone = wakers * stage.wakes == 1;
    stage.runtime = scenario_runtime(sim, workers);
    struct weir_handle handle;
    stage_spawn(&stage, wakers * stage.wakes, &handle);
    uint32_t actors[2];
    for (uint32_t i = 0; i < wakers; i++) {
        actors[i] = weir_sim_start(sim, waker_main, &stage);
    }
    weir_sim_check(sim, scenario_join(stage.runtime, handle) == (int)(wakers * stage.wakes),
                   "join-result");
    // block_on_num_polls: one at the start, at most one per wake. Read after the join: ordered by
    // it.
    weir_sim_check(sim, stage.polls <= wakers * stage.wakes + 1, "polled-without-a-wake");
    for (uint32_t i = 0; i < wakers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    weir_wake(stage.waker); // stale: the task has ended
    weir_runtime_destroy(stage.runtime);
}

// ---- Spawning ----

struct adder {
    struct weir_future future;
    _Atomic uint32_t *sum;
    uint32_t children; // spawns so many more, each with none
    uint32_t yields;
    bool ending; // the runtime may be destroyed meanwhile
    struct weir_yield yield;
    struct weir_sim *sim;
};

static enum weir_poll adder_poll(struct weir_future *future, struct weir_context *context)
{
    struct adder *me = (struct adder *)future;
    weir_begin(me);
    for (; me->children > 0; me->children--) {
        struct adder child = {.future = {.poll = adder_poll}, .sum = me->sum, .sim = me->sim};
        int error = weir_spawn(context, &child.future, sizeof child, WEIR_SPAWN_STEALABLE, NULL);
        weir_sim_check(me->sim, error == 0 || (me->ending && error == WEIR_ECLOSED),
                       "spawn-refused");
    }
    for (; me->yields > 0; me->yields--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    atomic_fetch_add_explicit(me->sum, 1, memory_order_relaxed);
    weir_return(me, 0);
    weir_exit(me);
    weir_end(me);
}

static void sum_wait(struct weir_sim *sim, struct weir_runtime *runtime, _Atomic uint32_t *sum,
                     uint32_t goal)
{
    while (atomic_load_explicit(sum, memory_order_relaxed) < goal) {
        (void)weir_turn(runtime, 8, 0); // does nothing in a runtime with workers
        weir_sim_sleep(sim, 1000);
    }
}

// pool_multi_spawn, yield_calls_park_before_scheduling_again
static void task_spawn(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 0, 3));
    _Atomic uint32_t sum = 0;
    uint32_t tasks = weir_sim_draw(sim, "tasks", 1, 4);
    uint32_t children = weir_sim_draw(sim, "children", 0, 6);
    uint32_t yields = weir_sim_draw(sim, "yields", 0, 3);
    for (uint32_t i = 0; i < tasks; i++) {
        struct adder task = {.future = {.poll = adder_poll},
                             .sum = &sum,
                             .children = children,
                             .yields = yields,
                             .sim = sim};
        scenario_spawn(sim, runtime, &task, NULL);
    }
    sum_wait(sim, runtime, &sum, tasks * (1 + children));
    struct weir_runtime_stats stats;
    weir_runtime_stats(runtime, &stats);
    if (stats.stolen > 0) {
        weir_sim_sometimes(sim, "task-stolen");
    }
    if (stats.overflowed > 0) {
        weir_sim_sometimes(sim, "task-overflowed");
    }
    weir_runtime_destroy(runtime);
}

// Exact: nothing has a deadline here, so that a lost wake-up leaves nothing that can run.
static void task_chain(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    uint32_t tasks = weir_sim_draw(sim, "tasks", 1, 5);
    _Atomic uint32_t sum = 0;
    struct weir_handle handles[5];
    for (uint32_t i = 0; i < tasks; i++) {
        struct adder task = {.future = {.poll = adder_poll},
                             .sum = &sum,
                             .children = weir_sim_draw(sim, "children", 0, 3),
                             .yields = weir_sim_draw(sim, "yields", 0, 2),
                             .sim = sim};
        unsigned flags =
            weir_sim_draw(sim, "pinned", 0, 1) == 1 ? WEIR_SPAWN_PINNED : WEIR_SPAWN_STEALABLE;
        weir_sim_check(
            sim, weir_runtime_spawn(runtime, &task.future, sizeof task, flags, &handles[i]) == 0,
            "spawn-refused");
    }
    for (uint32_t i = 0; i < tasks; i++) {
        weir_sim_check(sim, scenario_join(runtime, handles[i]) == 0, "join-result");
    }
    weir_runtime_destroy(runtime);
}

// ---- Joining, detaching, cancelling ----

static void cancel_main(void *argument)
{
    struct weir_handle *handle = argument;
    weir_task_cancel(*handle);
}

// join_output, join_handle_cancel_on_shutdown: a cancel races with the end.
static void task_cancel(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim, .wakes = 1};
    stage.runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct weir_handle handle;
    stage_spawn(&stage, 1, &handle);
    struct weir_handle copy = handle;
    bool cancels = weir_sim_draw(sim, "cancels", 0, 1) == 1;
    uint32_t waker = 0;
    bool wakes = !cancels || weir_sim_draw(sim, "wakes", 0, 1) == 1;
    if (wakes) {
        atomic_fetch_add_explicit(&stage.word, 1, memory_order_release);
    }
    uint32_t canceller = weir_sim_start(sim, cancel_main, &copy);
    if (wakes && weir_sim_draw(sim, "twice", 0, 1) == 1) {
        waker = weir_sim_start(sim, cancel_main, &copy);
    }
    int result = scenario_join(stage.runtime, handle);
    weir_sim_check(sim, result == WEIR_ECANCELED || (wakes && result == 1), "join-result");
    weir_sim_sometimes(sim, result == 1 ? "cancel-too-late" : "cancel-in-time");
    weir_sim_join(sim, canceller);
    if (waker != 0) {
        weir_sim_join(sim, waker);
    }
    weir_runtime_destroy(stage.runtime);
}

static void detach_main(void *argument)
{
    weir_task_detach(*(struct weir_handle *)argument);
}

// poll_drop_handle_then_drop, drop_jh_during_schedule: the handle goes while the task runs or ends.
static void task_detach(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    _Atomic uint32_t sum = 0;
    uint32_t tasks = weir_sim_draw(sim, "tasks", 1, 3);
    struct weir_handle handles[3];
    uint32_t actors[3];
    for (uint32_t i = 0; i < tasks; i++) {
        struct adder task = {.future = {.poll = adder_poll}, .sum = &sum, .yields = 1, .sim = sim};
        scenario_spawn(sim, runtime, &task, &handles[i]);
        actors[i] = weir_sim_start(sim, detach_main, &handles[i]);
    }
    for (uint32_t i = 0; i < tasks; i++) {
        weir_sim_join(sim, actors[i]);
    }
    sum_wait(sim, runtime, &sum, tasks);
    weir_runtime_destroy(runtime);
}

// ---- Handles given up after the end: the cells come back ----

#define BIG_TASKS 24
#define BIG_CELLS_BYTES (3 * 65536) // a block holds seven

struct big {
    struct weir_future future;
    _Atomic uint32_t *sum;
    unsigned char bulk[WEIR_CELL_BYTES_MAX / 2 + 1]; // the largest cell
};

static enum weir_poll big_poll(struct weir_future *future, struct weir_context *context)
{
    struct big *me = (struct big *)future;
    (void)context;
    atomic_fetch_add_explicit(me->sum, 1, memory_order_relaxed);
    future->resume = WEIR_RESUME_DONE;
    return WEIR_READY;
}

static void task_cells(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    _Atomic uint32_t sum = 0;
    uint64_t before_bytes = weir_sim_memory_bytes(sim);
    for (uint32_t i = 0; i < BIG_TASKS; i++) {
        struct big big = {.future = {.poll = big_poll}, .sum = &sum};
        struct weir_handle handle;
        scenario_spawn(sim, runtime, &big, &handle);
        if (weir_sim_draw(sim, "waits", 0, 3) > 0) {
            sum_wait(sim, runtime, &sum, i + 1);
        }
        weir_task_detach(handle);
        sum_wait(sim, runtime, &sum, i + 1);
        weir_sim_sleep(sim, 1000); // the worker gives the cell back after the poll
    }
    weir_sim_check(sim, weir_sim_memory_bytes(sim) <= before_bytes + BIG_CELLS_BYTES,
                   "cells-not-given-back");
    weir_runtime_destroy(runtime);
}

// Several threads spawn what ends at once: cells are used again while their last spawn still
// returns.
struct spawner {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    _Atomic uint32_t *sum;
    uint32_t tasks;
};

static void spawner_main(void *argument)
{
    struct spawner *me = argument;
    for (uint32_t i = 0; i < me->tasks; i++) {
        struct big task = {.future = {.poll = big_poll}, .sum = me->sum}; // few cells to a block
        unsigned flags =
            weir_sim_draw(me->sim, "pinned", 0, 1) == 1 ? WEIR_SPAWN_PINNED : WEIR_SPAWN_STEALABLE;
        weir_sim_check(me->sim,
                       weir_runtime_spawn(me->runtime, &task.future, sizeof task, flags, NULL) == 0,
                       "spawn-refused");
    }
}

static void task_outside(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    _Atomic uint32_t sum = 0;
    struct spawner spawner = {sim, runtime, &sum, weir_sim_draw(sim, "tasks", 2, 8)};
    uint32_t threads = weir_sim_draw(sim, "threads", 1, 3);
    uint32_t actors[3];
    for (uint32_t i = 0; i < threads; i++) {
        actors[i] = weir_sim_start(sim, spawner_main, &spawner);
    }
    for (uint32_t i = 0; i < threads; i++) {
        weir_sim_join(sim, actors[i]);
    }
    sum_wait(sim, runtime, &sum, threads * spawner.tasks);
    weir_runtime_destroy(runtime);
}

// ---- Scopes: test_join_set, abort_all_during_completion ----

struct parent {
    struct weir_future future;
    struct weir_sim *sim;
    _Atomic uint32_t *sum;
    uint32_t children;
    bool cancels, waits;
    uint32_t frame; // plain; the children write nothing, but may live as long as this
    struct weir_scope scope;
    struct weir_scope_wait wait;
};

static enum weir_poll parent_poll(struct weir_future *future, struct weir_context *context)
{
    struct parent *me = (struct parent *)future;
    weir_begin(me);
    for (uint32_t i = 0; i < me->children; i++) {
        struct adder child = {
            .future = {.poll = adder_poll}, .sum = me->sum, .yields = i, .sim = me->sim};
        weir_sim_check(me->sim,
                       weir_scope_spawn(&me->scope, context, &child.future, sizeof child,
                                        WEIR_SPAWN_STEALABLE) == 0,
                       "spawn-refused");
    }
    if (me->cancels) {
        weir_scope_cancel(&me->scope, context);
    }
    if (me->waits) {
        weir_scope_wait_init(&me->wait, &me->scope);
        weir_await(me, context, &me->wait);
    }
    weir_return(me, 5);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void task_scope(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    _Atomic uint32_t sum = 0;
    struct parent parent = {.future = {.poll = parent_poll}, .sim = sim, .sum = &sum};
    parent.children = weir_sim_draw(sim, "children", 1, 4);
    parent.cancels = weir_sim_draw(sim, "cancels", 0, 1) == 1;
    parent.waits = weir_sim_draw(sim, "waits", 0, 1) == 1;
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &parent, &handle);
    bool cancelled = weir_sim_draw(sim, "cancelled", 0, 1) == 1;
    struct weir_handle copy = handle;
    uint32_t canceller = cancelled ? weir_sim_start(sim, cancel_main, &copy) : 0;
    int result = scenario_join(runtime, handle);
    weir_sim_check(sim, result == 5 || (cancelled && result == WEIR_ECANCELED), "join-result");
    uint32_t ended = atomic_load_explicit(&sum, memory_order_relaxed);
    weir_sim_check(sim, ended <= parent.children, "child-ran-twice");
    if (parent.waits && !parent.cancels && result == 5) {
        weir_sim_check(sim, ended == parent.children, "scope-left-a-child");
    }
    if (cancelled) {
        weir_sim_join(sim, canceller);
    }
    weir_runtime_destroy(runtime);
}

// ---- The end ----

struct shutdown {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct stage *stage;
    _Atomic uint32_t *sum;
    _Atomic uint32_t stop;
};

static void shutdown_wakes(void *argument)
{
    struct shutdown *shutdown = argument;
    stage_registered(shutdown->stage);
    weir_wake(shutdown->stage->waker);
    atomic_store_explicit(&shutdown->stop, 1, memory_order_release);
}

// racy_shutdown, shutdown_with_notification, pool_shutdown: the end comes while tasks are queued,
// run and sleep, right after a wake from outside.
static void task_shutdown(struct weir_sim *sim)
{
    struct stage stage = {.sim = sim};
    stage.runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 0, 3));
    _Atomic uint32_t sum = 0;
    uint32_t tasks = weir_sim_draw(sim, "tasks", 0, 3);
    for (uint32_t i = 0; i < tasks; i++) {
        struct adder task = {.future = {.poll = adder_poll},
                             .sum = &sum,
                             .children = 1,
                             .yields = weir_sim_draw(sim, "yields", 0, 3),
                             .ending = true,
                             .sim = sim};
        scenario_spawn(sim, stage.runtime, &task, NULL);
    }
    stage_spawn(&stage, 9, NULL); // never ready
    struct shutdown shutdown = {.sim = sim, .runtime = stage.runtime, .stage = &stage, .sum = &sum};
    uint32_t turns = weir_sim_draw(sim, "turns", 0, 2);
    for (uint32_t i = 0; i < turns; i++) {
        (void)weir_turn(stage.runtime, 1, 0);
    }
    if (weir_sim_draw(sim, "wakes", 0, 1) == 1 &&
        atomic_load_explicit(&stage.registered, memory_order_acquire) == 1) {
        uint32_t actor = weir_sim_start(sim, shutdown_wakes, &shutdown);
        weir_sim_join(sim, actor);
        weir_sim_sometimes(sim, "shutdown-after-a-wake");
    }
    weir_runtime_destroy(stage.runtime);
}

static const char *const wake_probes[] = {"wake-seen", NULL};
static const char *const spawn_probes[] = {"task-stolen", "task-overflowed", NULL};
static const char *const cancel_probes[] = {"cancel-too-late", "cancel-in-time", NULL};
static const char *const shutdown_probes[] = {"shutdown-after-a-wake", NULL};

const struct weir_sim_scenario sim_scenarios_task[] = {
    {.name = "task-wake",
     .about = "a task woken from several threads: no wake lost, no poll without one",
     .run = task_wake,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = wake_probes,
     .probe_seeds = 500},
    {.name = "task-spawn",
     .about = "spawning from outside and inside, yielding, stealing",
     .run = task_spawn,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = spawn_probes,
     .probe_seeds = 2000},
    {.name = "task-outside",
     .about = "several threads spawn tasks that end at once, so that cells are used again",
     .run = task_outside,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "task-chain",
     .about = "spawn and join with no deadline anywhere: lost wake-ups are exact",
     .run = task_chain,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "task-cancel",
     .about = "a cancel, or two, race with the task's end",
     .run = task_cancel,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = cancel_probes,
     .probe_seeds = 500},
    {.name = "task-detach",
     .about = "the handle is given up while the task runs or ends",
     .run = task_detach,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "task-cells",
     .about = "tasks that end before or after their handle goes: their cells are used again",
     .run = task_cells,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_SWITCH)},
    {.name = "task-scope",
     .about = "a scope's children end, are cancelled, and hold their parent's frame",
     .run = task_scope,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 5},
    {.name = "task-shutdown",
     .about = "the runtime is destroyed over queued, running and waiting tasks",
     .run = task_shutdown,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = shutdown_probes,
     .probe_seeds = 500},
    {0},
};
