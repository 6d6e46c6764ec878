// Fuzz target queue: operations on three run queues, beside plain lists.
//
//   START            one byte: how far before the wrap of their positions the queues begin
//   then operations, a byte each: its low three bits which one, then two bits the queue, then two
//   bits the other queue, or with the last bit how often
//
// Threads it has none; the state that a thief leaves who sleeps in the middle of his work is put
// into the queue by hand, as is what he does when he wakes.
#include "fuzz/fuzz.h"

#include <string.h>

#include "runtime/queue.h"

#define QUEUES 3
#define SLOTS ((uint32_t)WEIR_QUEUE_SLOTS)
#define TASKS (QUEUES * SLOTS + 1)

// What a queue should hold, in order.
struct list {
    uint32_t tasks[WEIR_QUEUE_SLOTS];
    uint32_t first, count;
    uint32_t thief; // how many slots a sleeping thief keeps from being used again
};

static struct weir_queue queues[QUEUES];
static struct list lists[QUEUES];
static struct weir_task tasks[TASKS];
static uint32_t free_tasks[TASKS];
static uint32_t free_count;

static uint32_t list_take(struct list *list)
{
    uint32_t task = list->tasks[list->first];
    list->first = (list->first + 1) % SLOTS;
    list->count--;
    // Where a thief is at work the slots stay taken until he is done.
    list->thief += list->thief > 0 ? 1 : 0;
    return task;
}

static void list_put(struct list *list, uint32_t task)
{
    list->tasks[(list->first + list->count) % SLOTS] = task;
    list->count++;
}

static uint32_t task_index(const struct weir_task *task)
{
    fuzz_require(task >= tasks && task < tasks + TASKS);
    return (uint32_t)(task - tasks);
}

static void queue_begin(uint32_t which, uint32_t start)
{
    atomic_store_explicit(&queues[which].head, (uint64_t)start << 32 | start, memory_order_relaxed);
    atomic_store_explicit(&queues[which].tail, start, memory_order_relaxed);
    lists[which].first = 0;
    lists[which].count = 0;
    lists[which].thief = 0;
}

static void queue_check(uint32_t which)
{
    fuzz_require(weir_queue_count(&queues[which]) == lists[which].count);
    fuzz_require(weir_queue_room_owner(&queues[which]) ==
                 SLOTS - lists[which].count - lists[which].thief);
}

static void queue_push(uint32_t which)
{
    struct list *list = &lists[which];
    uint32_t task = free_tasks[free_count - 1];
    bool pushed = weir_queue_push_owner(&queues[which], &tasks[task]);
    fuzz_require(pushed == (list->count + list->thief < SLOTS));
    if (pushed) {
        free_count--;
        list_put(list, task);
    }
}

static void queue_pop(uint32_t which)
{
    struct weir_task *task = weir_queue_pop_owner(&queues[which]);
    fuzz_require((task != NULL) == (lists[which].count > 0));
    if (task != NULL) {
        fuzz_require(task_index(task) == list_take(&lists[which]));
        free_tasks[free_count++] = task_index(task);
    }
}

static void queue_shed(uint32_t which)
{
    struct list *list = &lists[which];
    bool can = list->thief == 0 && list->count >= SLOTS / 2;
    struct weir_chain chain = weir_queue_shed_owner(&queues[which]);
    fuzz_require(chain.count == (can ? SLOTS / 2 : 0));
    struct weir_task *task = chain.first;
    for (uint32_t i = 0; i < chain.count; i++) {
        fuzz_require(task != NULL && task_index(task) == list_take(list));
        fuzz_require((task->next == NULL) == (task == chain.last));
        free_tasks[free_count++] = task_index(task);
        task = task->next;
    }
    fuzz_require(task == NULL);
}

static void queue_steal(uint32_t from, uint32_t to)
{
    struct list *victim = &lists[from];
    struct list *thief = &lists[to];
    bool can =
        victim->thief == 0 && victim->count > 0 && SLOTS - thief->count - thief->thief >= SLOTS / 2;
    uint32_t half = victim->count - victim->count / 2;
    struct weir_task *task = weir_queue_steal(&queues[from], &queues[to]);
    fuzz_require((task != NULL) == can);
    if (task == NULL) {
        return;
    }
    // The older half, of which the last is given and the others are put into the thief's queue.
    for (uint32_t i = 0; i + 1 < half; i++) {
        list_put(thief, list_take(victim));
    }
    fuzz_require(task_index(task) == list_take(victim));
    free_tasks[free_count++] = task_index(task);
}

// A thief that has claimed a half, and falls asleep; or wakes, and gives the slots back.
static void thief_step(uint32_t which)
{
    struct weir_queue *queue = &queues[which];
    struct list *list = &lists[which];
    uint64_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    uint32_t taken = (uint32_t)head;
    if (list->thief > 0) {
        head = (uint64_t)taken << 32 | taken;
        list->thief = 0;
    } else if (list->count > 0) {
        uint32_t half = list->count - list->count / 2;
        for (uint32_t i = 0; i < half; i++) {
            free_tasks[free_count++] = list_take(list);
        }
        list->thief = half;
        head = (head >> 32) << 32 | (uint32_t)(taken + half);
    }
    atomic_store_explicit(&queue->head, head, memory_order_relaxed);
}

void fuzz_one(const unsigned char *bytes, size_t count)
{
    struct fuzz_input input = {bytes, count, 0};
    uint32_t start = UINT32_MAX - fuzz_u8(&input);
    free_count = TASKS;
    for (uint32_t i = 0; i < TASKS; i++) {
        free_tasks[i] = i;
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        queue_begin(i, start + i * SLOTS / 2);
    }
    while (fuzz_more(&input)) {
        uint8_t what = fuzz_u8(&input);
        uint32_t which = (what >> 3 & 3) % QUEUES;
        uint32_t other = (which + 1 + (what >> 5 & 1)) % QUEUES;
        uint32_t times = (what & 128) != 0 ? SLOTS / 2 : 1u + (what >> 5 & 3);
        switch (what & 7) {
        case 0:
        case 1:
            for (uint32_t i = 0; i < times; i++) {
                queue_push(which);
            }
            break;
        case 2:
        case 3:
            for (uint32_t i = 0; i < times; i++) {
                queue_pop(which);
            }
            break;
        case 4: queue_shed(which); break;
        case 5: queue_steal(which, other); break;
        case 6: weir_queue_publish_owner(&queues[which]); break;
        default: thief_step(which);
        }
        queue_check(which);
        queue_check(other);
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        while (lists[i].count > 0) {
            queue_pop(i);
        }
        queue_pop(i);
    }
    fuzz_require(free_count == TASKS);
}
