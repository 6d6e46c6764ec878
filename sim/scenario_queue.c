// Scenarios of the run queue: one owner, thieves, overflow and wrap; every task is taken once.
//
// After what Tokio checks of its queue with loom: basic, steal_overflow, multi_stealer,
// chained_steal. The tasks carry a plain word written before the push and read after the take, so
// that a missing order is a data race.
#include "runtime/queue.h"
#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define TASKS_MAX 12
#define THIEVES_MAX 3

struct heist {
    struct weir_sim *sim;
    struct weir_queue victim;
    struct weir_queue own[THIEVES_MAX];
    struct weir_task tasks[TASKS_MAX];
    _Atomic uint32_t taken[TASKS_MAX];
    uint32_t rounds; // attempts of each thief
    bool chained;    // the second thief steals from the first
};

struct thief {
    struct heist *heist;
    uint32_t index;
};

static void queue_start(struct weir_queue *queue, uint32_t start)
{
    atomic_init(&queue->head, (uint64_t)start << 32 | start);
    atomic_init(&queue->tail, start);
    for (uint32_t i = 0; i < WEIR_QUEUE_SLOTS; i++) {
        atomic_init(&queue->slots[i], NULL);
    }
}

static void heist_see(struct heist *heist, struct weir_task *task)
{
    uint32_t index = (uint32_t)(task - heist->tasks);
    weir_sim_check(heist->sim, index < TASKS_MAX, "queue-foreign-task");
    weir_sim_check(heist->sim, task->result == (int32_t)index + 1, "queue-torn-task");
    uint32_t before = atomic_fetch_add_explicit(&heist->taken[index], 1, memory_order_relaxed);
    weir_sim_check(heist->sim, before == 0, "queue-task-taken-twice");
}

static void thief_main(void *argument)
{
    struct thief *thief = argument;
    struct heist *heist = thief->heist;
    struct weir_queue *own = &heist->own[thief->index];
    for (uint32_t round = 0; round < heist->rounds; round++) {
        bool second = heist->chained && thief->index == 1;
        struct weir_task *task = weir_queue_steal(second ? &heist->own[0] : &heist->victim, own);
        if (task == NULL) {
            continue;
        }
        weir_sim_sometimes(heist->sim, second ? "queue-stolen-again" : "queue-stolen");
        heist_see(heist, task);
        if (heist->chained && thief->index == 0 && round + 1 < heist->rounds) {
            continue; // leaves some for the second
        }
        while ((task = weir_queue_pop_owner(own)) != NULL) {
            heist_see(heist, task);
        }
    }
    struct weir_task *task;
    while ((task = weir_queue_pop_owner(own)) != NULL) {
        heist_see(heist, task);
    }
}

static void heist_push(struct heist *heist, struct weir_task *task)
{
    while (!weir_queue_push_owner(&heist->victim, task)) {
        struct weir_chain chain = weir_queue_shed_owner(&heist->victim);
        if (chain.count == 0) {
            weir_sim_sometimes(heist->sim, "queue-full-and-a-thief-at-work");
            heist_see(heist, task);
            return;
        }
        weir_sim_sometimes(heist->sim, "queue-overflow");
        for (struct weir_task *shed = chain.first; shed != NULL; shed = shed->next) {
            heist_see(heist, shed);
        }
    }
}

static void heist_run(struct weir_sim *sim, uint32_t thieves_count, bool chained, uint32_t pops)
{
    static const uint32_t starts[] = {0, UINT32_MAX - 1, UINT32_MAX - 3, 1};
    struct heist heist = {.sim = sim, .chained = chained};
    uint32_t start = starts[weir_sim_draw(sim, "start", 0, 3)];
    uint32_t tasks_count = weir_sim_draw(sim, "tasks", 2, TASKS_MAX);
    heist.rounds = weir_sim_draw(sim, "rounds", 1, 3);
    queue_start(&heist.victim, start);
    struct thief thieves[THIEVES_MAX];
    uint32_t actors[THIEVES_MAX];
    for (uint32_t i = 0; i < thieves_count; i++) {
        queue_start(&heist.own[i], start);
        thieves[i] = (struct thief){&heist, i};
        actors[i] = weir_sim_start(sim, thief_main, &thieves[i]);
    }
    for (uint32_t i = 0; i < tasks_count; i++) {
        heist.tasks[i].result = (int32_t)i + 1;
        heist_push(&heist, &heist.tasks[i]);
        for (uint32_t pop = 0; pop < pops && i % 2 == 1; pop++) {
            struct weir_task *task = weir_queue_pop_owner(&heist.victim);
            if (task != NULL) {
                heist_see(&heist, task);
            }
        }
    }
    struct weir_task *task;
    while ((task = weir_queue_pop_owner(&heist.victim)) != NULL) {
        heist_see(&heist, task);
    }
    for (uint32_t i = 0; i < thieves_count; i++) {
        weir_sim_join(sim, actors[i]);
    }
    for (uint32_t i = 0; i < tasks_count; i++) {
        weir_sim_check(sim, atomic_load(&heist.taken[i]) == 1, "queue-task-lost");
    }
}

static void queue_basic(struct weir_sim *sim)
{
    heist_run(sim, 1, false, 1);
}

static void queue_steal_overflow(struct weir_sim *sim)
{
    heist_run(sim, 1, false, 0);
}

static void queue_multi_stealer(struct weir_sim *sim)
{
    heist_run(sim, weir_sim_draw(sim, "thieves", 2, 3), false, weir_sim_draw(sim, "pops", 0, 2));
}

static void queue_chained_steal(struct weir_sim *sim)
{
    heist_run(sim, 2, true, 1);
}

const struct weir_sim_scenario sim_scenarios_queue[] = {
    {.name = "queue-basic",
     .about = "run queue: the owner pushes and pops while a thief steals",
     .run = queue_basic,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .probes = (const char *const[]){"queue-stolen", NULL},
     .probe_seeds = 200},
    {.name = "queue-steal-overflow",
     .about = "run queue: it overflows while a thief steals",
     .run = queue_steal_overflow,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .probes = (const char *const[]){"queue-overflow", "queue-full-and-a-thief-at-work", NULL},
     .probe_seeds = 2000},
    {.name = "queue-multi-stealer",
     .about = "run queue: two or three thieves",
     .run = queue_multi_stealer,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 20},
    {.name = "queue-chained-steal",
     .about = "run queue: what a thief stole is stolen again",
     .run = queue_chained_steal,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .probes = (const char *const[]){"queue-stolen-again", NULL},
     .probe_seeds = 2000},
    {0},
};
