// Bare run queues: one owner and two thieves; every task is taken exactly once.
#include <string.h>

#include "runtime/queue.h"
#include "tests/mutants/stress.h"

#define QUEUE_TASKS 4000u

struct queues {
    struct weir_queue queue[STRESS_QUEUE_THREADS];
    struct weir_task tasks[QUEUE_TASKS];
    _Atomic uint32_t taken[QUEUE_TASKS];
    _Atomic uint32_t total;
    pthread_barrier_t barrier;
};
static struct queues queues;

static void queue_took(struct weir_task *task)
{
    stress_must(task >= queues.tasks && task < queues.tasks + QUEUE_TASKS, "queue: not a task");
    stress_must(atomic_exchange(&queues.taken[task - queues.tasks], 1) == 0,
                "queue: a task taken twice");
    atomic_fetch_add(&queues.total, 1);
}

static void queue_own(uint64_t *seed)
{
    struct weir_queue *queue = &queues.queue[0];
    for (uint32_t i = 0; i < QUEUE_TASKS; i++) {
        if (!weir_queue_push_owner(queue, &queues.tasks[i])) {
            queue_took(&queues.tasks[i]);
            struct weir_chain chain = weir_queue_shed_owner(queue);
            for (struct weir_task *task = chain.first; task != NULL; task = task->next) {
                queue_took(task);
            }
        }
        struct weir_task *task = stress_random(seed, 3) == 0 ? weir_queue_pop_owner(queue) : NULL;
        if (task != NULL) {
            queue_took(task);
        }
    }
    for (struct weir_task *task; (task = weir_queue_pop_owner(queue)) != NULL;) {
        queue_took(task);
    }
}

static void queue_steal(uint32_t me)
{
    while (atomic_load(&queues.total) < QUEUE_TASKS) {
        struct weir_task *task = weir_queue_steal(&queues.queue[0], &queues.queue[me]);
        if (task == NULL) {
            task = weir_queue_steal(&queues.queue[3 - me], &queues.queue[me]);
        }
        for (; task != NULL; task = weir_queue_pop_owner(&queues.queue[me])) {
            queue_took(task);
        }
    }
}

void *stress_queue(void *argument)
{
    uint32_t me = (uint32_t)(uintptr_t)argument;
    uint64_t seed = stress_clock_ns() + me;
    for (;;) {
        if (me == 0) {
            memset(queues.taken, 0, sizeof queues.taken);
            atomic_store(&queues.total, atomic_load(&stress_over) ? UINT32_MAX : 0);
        }
        pthread_barrier_wait(&queues.barrier);
        if (atomic_load(&queues.total) == UINT32_MAX) {
            return NULL;
        }
        pthread_barrier_wait(&queues.barrier);
        if (me == 0) {
            queue_own(&seed);
        } else {
            queue_steal(me);
        }
        while (atomic_load(&queues.total) < QUEUE_TASKS) {
            stress_pause_ns(MS); // for ever, if a task is lost: the watch tells
        }
        pthread_barrier_wait(&queues.barrier);
        stress_step(STRESS_QUEUE);
    }
}

void stress_queue_init(void)
{
    pthread_barrier_init(&queues.barrier, NULL, STRESS_QUEUE_THREADS);
}
