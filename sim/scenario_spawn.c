// Scenarios of spawning: from outside and inside, stealing, handles given up, cells used again.
//
// After what Tokio checks of its multi-threaded scheduler with loom; the names say which.
#include "runtime/limits.h"
#include "sim/scenario_adder.h"
#include "sim/scenarios.h"

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

// ---- Detaching ----

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

static const char *const spawn_probes[] = {"task-stolen", "task-overflowed", NULL};

const struct weir_sim_scenario sim_scenarios_spawn[] = {
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
    {.name = "task-detach",
     .about = "the handle is given up while the task runs or ends",
     .run = task_detach,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "task-cells",
     .about = "tasks that end before or after their handle goes: their cells are used again",
     .run = task_cells,
     .kinds = SCENARIO_RUNTIME_KINDS & ~(1u << WEIR_SIM_SWITCH)},
    {0},
};
