// Scenarios of leaving: who waits for two things at once goes for the one as the other comes.
//
// And of a budget that ends in the middle. What was waited in is used again at once, so that
// whoever still looks at it meets a data race.
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

// ---- More permits than one poll may take: the budget ends in the middle ----

#define PERMITS 12

struct greedy {
    struct weir_future future;
    struct weir_notify *notify;
    uint32_t taken;
    struct weir_notified wait;
};

static enum weir_poll greedy_poll(struct weir_future *future, struct weir_context *context)
{
    struct greedy *me = (struct greedy *)future;
    weir_begin(me);
    for (; me->taken < PERMITS; me->taken++) {
        weir_notify_one(me->notify, context);
        weir_notified_init(&me->wait, me->notify);
        weir_await(me, context, &me->wait);
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void sync_budget(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 2));
    struct weir_notify notify;
    weir_notify_init(&notify, runtime);
    struct greedy greedy = {.future = {.poll = greedy_poll}, .notify = &notify};
    struct weir_handle handle;
    scenario_spawn(sim, runtime, &greedy, &handle);
    weir_sim_check(sim, scenario_join(runtime, handle) == 1, "join-result");
    weir_runtime_destroy(runtime);
}

// ---- All are notified, twice at once: who leaves for the one has its node used again at once ----

#define LEAVERS_MAX 3

struct bells {
    struct weir_sim *sim;
    struct weir_notify notify[2];
    _Atomic uint32_t left; // leavers that are done
    uint32_t leavers;
};

struct ringer {
    struct bells *bells;
    uint32_t index, rings;
};

static void ringer_main(void *argument)
{
    struct ringer *me = argument;
    for (uint32_t i = 0; i < me->rings; i++) {
        weir_notify_all(&me->bells->notify[me->index], NULL);
    }
}

struct leaver {
    struct weir_future future;
    struct bells *bells;
    struct weir_notified wait[2];
    uint32_t rounds;
    int winner;
};

static enum weir_poll leaver_poll(struct weir_future *future, struct weir_context *context)
{
    struct leaver *me = (struct leaver *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        weir_notified_init(&me->wait[0], &me->bells->notify[0]);
        weir_notified_init(&me->wait[1], &me->bells->notify[1]);
        weir_select(me, context, me->winner, NULL, &me->wait[0].future, &me->wait[1].future);
        weir_sim_sometimes(me->bells->sim, me->winner == 0 ? "left-first" : "left-second");
        weir_drop(&me->wait[0].future, context);
        weir_drop(&me->wait[1].future, context);
    }
    atomic_fetch_add_explicit(&me->bells->left, 1, memory_order_relaxed);
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->wait[0].future, context);
    weir_drop(&me->wait[1].future, context);
    weir_end(me);
}

static void sync_notify_all(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    struct bells bells = {.sim = sim, .leavers = weir_sim_draw(sim, "leavers", 1, LEAVERS_MAX)};
    struct ringer ringers[2];
    uint32_t actors[2];
    struct weir_handle handles[LEAVERS_MAX];
    uint32_t rounds = weir_sim_draw(sim, "rounds", 1, 4);
    for (uint32_t i = 0; i < 2; i++) {
        weir_notify_init(&bells.notify[i], runtime);
    }
    for (uint32_t i = 0; i < bells.leavers; i++) {
        struct leaver leaver = {.future = {.poll = leaver_poll}, .bells = &bells, .rounds = rounds};
        scenario_spawn(sim, runtime, &leaver, &handles[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        ringers[i] = (struct ringer){&bells, i, weir_sim_draw(sim, "rings", 1, 8)};
        actors[i] = weir_sim_start(sim, ringer_main, &ringers[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        weir_sim_join(sim, actors[i]);
    }
    while (atomic_load_explicit(&bells.left, memory_order_relaxed) < bells.leavers) {
        weir_notify_all(&bells.notify[1], NULL); // a ring that nobody waits for is lost
        weir_sim_sleep(sim, 1000);
    }
    for (uint32_t i = 0; i < bells.leavers; i++) {
        weir_sim_check(sim, scenario_join(runtime, handles[i]) == 1, "join-result");
    }
    weir_runtime_destroy(runtime);
}

// ---- Joins that are left for another reason just as the child ends; then its cell is used again
// ----

struct child {
    struct weir_future future;
    struct weir_yield yield;
    uint32_t yields;
    struct weir_notify *bell; // rung right before the end; NULL: others ring
};

static enum weir_poll child_poll(struct weir_future *future, struct weir_context *context)
{
    struct child *me = (struct child *)future;
    weir_begin(me);
    for (; me->yields > 0; me->yields--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    if (me->bell != NULL) {
        weir_notify_all(me->bell, NULL);
    }
    weir_return(me, 4);
    weir_exit(me);
    weir_end(me);
}

struct guardian {
    struct weir_future future;
    struct bells *bells;
    struct weir_task_join join;
    struct weir_notified wait;
    uint32_t rounds;
    bool children_ring;
    int winner;
};

static void guardian_bear(struct guardian *me, struct weir_context *context)
{
    struct child child = {.future = {.poll = child_poll},
                          .yields = me->rounds % 3,
                          .bell = me->children_ring ? &me->bells->notify[0] : NULL};
    struct weir_handle handle;
    weir_sim_check(
        me->bells->sim,
        weir_spawn(context, &child.future, sizeof child, WEIR_SPAWN_STEALABLE, &handle) == 0,
        "spawn-refused");
    weir_task_join_init(&me->join, handle);
    weir_notified_init(&me->wait, &me->bells->notify[0]);
}

static enum weir_poll guardian_poll(struct weir_future *future, struct weir_context *context)
{
    struct guardian *me = (struct guardian *)future;
    weir_begin(me);
    for (; me->rounds > 0; me->rounds--) {
        guardian_bear(me, context);
        weir_select(me, context, me->winner, NULL, &me->join.future, &me->wait.future);
        weir_drop(&me->wait.future, context);
        if (me->winner != 0) { // polled for the bell; the child may end at this very moment
            weir_await(me, context, &me->join);
        }
        weir_sim_check(me->bells->sim, me->join.future.result == 4, "join-result");
    }
    weir_return(me, 1);
    weir_exit(me);
    weir_drop(&me->join.future, context);
    weir_drop(&me->wait.future, context);
    weir_end(me);
}

static void sync_join(struct weir_sim *sim)
{
    struct weir_runtime *runtime = scenario_runtime(sim, weir_sim_draw(sim, "workers", 1, 3));
    struct bells bells = {.sim = sim};
    weir_notify_init(&bells.notify[0], runtime);
    struct ringer ringer = {&bells, 0, weir_sim_draw(sim, "rings", 1, 12)};
    struct weir_handle handles[LEAVERS_MAX];
    uint32_t guardians = weir_sim_draw(sim, "guardians", 1, LEAVERS_MAX);
    bool children_ring = weir_sim_draw(sim, "children_ring", 0, 1) == 1;
    for (uint32_t i = 0; i < guardians; i++) {
        struct guardian guardian = {.future = {.poll = guardian_poll},
                                    .bells = &bells,
                                    .rounds = weir_sim_draw(sim, "rounds", 1, 5),
                                    .children_ring = children_ring};
        scenario_spawn(sim, runtime, &guardian, &handles[i]);
    }
    uint32_t actor = weir_sim_start(sim, ringer_main, &ringer);
    for (uint32_t i = 0; i < guardians; i++) {
        weir_sim_check(sim, scenario_join(runtime, handles[i]) == 1, "join-result");
    }
    weir_sim_join(sim, actor);
    weir_runtime_destroy(runtime);
}

static const char *const leave_probes[] = {"left-first", "left-second", NULL};

const struct weir_sim_scenario sim_scenarios_leave[] = {
    {.name = "leave-budget",
     .about = "a task takes more permits than one poll may",
     .run = sync_budget,
     .kinds = SCENARIO_RUNTIME_KINDS},
    {.name = "leave-join",
     .about = "a join is left for a bell just as the child ends, and its cell is used again",
     .run = sync_join,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .weight = 10},
    {.name = "leave-bells",
     .about = "all are notified, twice at once, while some leave and come again",
     .run = sync_notify_all,
     .kinds = SCENARIO_RUNTIME_KINDS,
     .probes = leave_probes,
     .probe_seeds = 500},
    {0},
};
