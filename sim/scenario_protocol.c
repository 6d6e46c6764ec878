// Scenarios of idle workers' protocol alone: workers without a loop, one of which takes nothing.
//
// What it queues must reach the others, whatever they are about to do: fall asleep, search, steal.
#include "runtime/runtime.h"
#include "sim/scenario_meeting.h"
#include "sim/scenarios.h"

#define PROTOCOL_WORKERS_MAX 5
#define PROTOCOL_TASKS_MAX 6

struct protocol {
    struct weir_sim *sim;
    struct weir_runtime *runtime;
    struct weir_block *block; // of the tasks: says whose they are
    struct meeting *meeting;  // each task holds its worker up for it; NULL: none does
    _Atomic uint32_t taken;
    uint32_t expected;
};

struct protocol_worker {
    struct protocol *protocol;
    struct weir_worker *worker;
};

static struct weir_task *protocol_task(struct protocol *protocol, uint32_t number)
{
    unsigned char *first = (unsigned char *)protocol->block + WEIR_CELL_BYTES_MIN;
    return (struct weir_task *)(first + number * WEIR_CELL_BYTES_MIN);
}

static void protocol_stop(struct weir_runtime *runtime)
{
    atomic_store_explicit(&runtime->stopping, 1, memory_order_seq_cst);
    weir_idle_wake_all(runtime);
}

// weir_worker_main, with tasks that are counted instead of polled.
static void protocol_worker_main(void *argument)
{
    struct protocol_worker *me = argument;
    struct protocol *protocol = me->protocol;
    struct weir_runtime *runtime = protocol->runtime;
    while (!weir_runtime_stopping(runtime)) {
        struct weir_task *task = weir_worker_take(me->worker);
        if (task == NULL) {
            task = weir_worker_steal(me->worker);
        }
        if (task != NULL) {
            weir_sim_check(protocol->sim, task->result++ == 0, "task-taken-twice");
            weir_idle_found(me->worker);
            weir_worker_share(me->worker);
            uint32_t before = atomic_fetch_add_explicit(&protocol->taken, 1, memory_order_relaxed);
            if (before + 1 == protocol->expected) {
                protocol_stop(runtime);
            }
            if (protocol->meeting != NULL) {
                meeting_join(protocol->meeting, protocol->expected);
            }
        } else if (weir_idle_enter(me->worker)) {
            if (weir_park_begin(&me->worker->parker, WEIR_PARK_FUTEX)) {
                weir_park_futex(&me->worker->parker, &runtime->os, WEIR_NEVER);
            }
            weir_idle_leave(me->worker);
        }
    }
}

static struct weir_runtime *protocol_runtime(struct weir_sim *sim, uint32_t workers)
{
    const struct weir_os *os = weir_sim_os(sim);
    size_t bytes = sizeof(struct weir_runtime) + workers * sizeof(struct weir_worker);
    struct weir_runtime *runtime = os->alloc(os->self, bytes, _Alignof(struct weir_runtime));
    runtime->os = *os;
    runtime->bytes = bytes;
    runtime->workers_count = workers;
    for (uint32_t i = 0; i < workers; i++) {
        weir_worker_init(&runtime->workers[i], runtime, i);
    }
    return runtime;
}

// Worker 0 queues, in its ring, its mailbox or another's, and is then as if in a long poll.
static void protocol_queue(struct protocol *protocol)
{
    struct weir_sim *sim = protocol->sim;
    struct weir_runtime *runtime = protocol->runtime;
    struct weir_worker *worker = &runtime->workers[0];
    for (uint32_t i = 0; i < protocol->expected; i++) {
        struct weir_task *task = protocol_task(protocol, i);
        switch (protocol->meeting != NULL ? 0 : weir_sim_draw(sim, "where", 0, 2)) {
        case 0: weir_worker_submit_back(worker, task); break;
        case 1: weir_worker_submit_remote(task); break;
        default:
            atomic_store_explicit(&task->worker, 1, memory_order_relaxed);
            weir_worker_submit_remote(task);
            break;
        }
        weir_worker_share(worker);
    }
}

static void protocol_play(struct weir_sim *sim, uint32_t workers, uint32_t tasks,
                          struct meeting *meeting)
{
    const struct weir_os *os = weir_sim_os(sim);
    struct protocol protocol = {.sim = sim,
                                .runtime = protocol_runtime(sim, workers),
                                .meeting = meeting,
                                .expected = tasks};
    protocol.block = os->alloc(os->self, WEIR_BLOCK_BYTES, WEIR_BLOCK_BYTES);
    protocol.block->runtime = protocol.runtime;
    struct protocol_worker arguments[PROTOCOL_WORKERS_MAX];
    uint32_t actors[PROTOCOL_WORKERS_MAX];
    for (uint32_t i = 1; i < workers; i++) {
        arguments[i] = (struct protocol_worker){&protocol, &protocol.runtime->workers[i]};
        actors[i] = weir_sim_start(sim, protocol_worker_main, &arguments[i]);
    }
    protocol_queue(&protocol);
    for (uint32_t i = 1; i < workers; i++) {
        weir_sim_join(sim, actors[i]);
    }
    os->release(os->self, protocol.block, WEIR_BLOCK_BYTES);
    os->release(os->self, protocol.runtime, protocol.runtime->bytes);
}

static void idle_protocol(struct weir_sim *sim)
{
    uint32_t workers = weir_sim_draw(sim, "workers", 2, 4);
    protocol_play(sim, workers, weir_sim_draw(sim, "tasks", 1, PROTOCOL_TASKS_MAX), NULL);
}

// One task for each of the others: who steals more than one must be stolen from.
static void idle_thief(struct weir_sim *sim)
{
    struct meeting meeting = {.sim = sim, .os = weir_sim_os(sim)};
    uint32_t workers = weir_sim_draw(sim, "workers", 4, 5);
    protocol_play(sim, workers, workers - 1, &meeting);
}

const struct weir_sim_scenario sim_scenarios_protocol[] = {
    {.name = "idle-protocol",
     .about = "sleeping and waking alone: what a worker queues and never takes reaches the others",
     .run = idle_protocol,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 20},
    {.name = "idle-thief",
     .about = "the same, and each task holds who takes it up: thieves are stolen from",
     .run = idle_thief,
     .kinds = SCENARIO_MEMORY_KINDS,
     .fine_only = true,
     .weight = 160},
    {0},
};
