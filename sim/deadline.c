// Deadlines: one binary heap of what is to happen at a time, and the clock that moves to it.
//
// Ordered by (time, order of making). A blocked thread has at most one entry and knows where it is,
// so that it is taken out when the thread is woken otherwise: what is left is really to come.
#include <stdlib.h>

#include "runtime/assert.h"
#include "sim/thread_state.h"

static bool deadline_before(const struct sim_deadline *one, const struct sim_deadline *other)
{
    return one->when_ns != other->when_ns ? one->when_ns < other->when_ns
                                          : one->sequence < other->sequence;
}

static void deadline_place(struct sim_threads *threads, uint32_t index,
                           const struct sim_deadline *entry)
{
    threads->deadlines[index] = *entry;
    if (entry->call == NULL) {
        threads->table[entry->number].deadline = index;
    }
}

// Puts the entry where the heap has a hole at `index`, or above it, or below.
static void deadline_sift(struct sim_threads *threads, uint32_t index, struct sim_deadline entry)
{
    const struct sim_deadline *heap = threads->deadlines;
    while (index > 0 && deadline_before(&entry, &heap[(index - 1) / 2])) {
        deadline_place(threads, index, &heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child + 1 < threads->deadlines_count &&
            deadline_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (child >= threads->deadlines_count || !deadline_before(&heap[child], &entry)) {
            break;
        }
        deadline_place(threads, index, &heap[child]);
        index = child;
    }
    deadline_place(threads, index, &entry);
}

static void deadline_add(struct weir_sim *sim, struct sim_deadline entry)
{
    struct sim_threads *threads = sim->threads;
    if (threads->deadlines_count == threads->deadlines_capacity) {
        uint32_t capacity = threads->deadlines_capacity * 2 + 64;
        struct sim_deadline *larger =
            realloc(threads->deadlines, capacity * sizeof threads->deadlines[0]);
        if (larger == NULL) {
            weir_sim_fail(sim, WEIR_SIM_INTERNAL, "no-memory", "for %u deadlines", capacity);
        }
        threads->deadlines = larger;
        threads->deadlines_capacity = capacity;
    }
    entry.sequence = threads->deadlines_sequence++;
    deadline_sift(threads, threads->deadlines_count++, entry);
}

static struct sim_deadline deadline_take(struct sim_threads *threads, uint32_t index)
{
    weir_assert(index < threads->deadlines_count);
    struct sim_deadline taken = threads->deadlines[index];
    uint32_t last = --threads->deadlines_count;
    if (index != last) {
        deadline_sift(threads, index, threads->deadlines[last]);
    }
    if (taken.call == NULL) {
        threads->table[taken.number].deadline = SIM_DEADLINE_NONE;
    }
    return taken;
}

void sim_deadline_set(struct weir_sim *sim, uint32_t actor, uint64_t when_ns)
{
    deadline_add(sim, (struct sim_deadline){.when_ns = when_ns, .number = actor});
}

void sim_deadline_clear(struct sim_threads *threads, uint32_t actor)
{
    if (threads->table[actor].deadline != SIM_DEADLINE_NONE) {
        deadline_take(threads, threads->table[actor].deadline);
    }
}

void sim_at(struct weir_sim *sim, uint64_t when_ns,
            void (*call)(struct weir_sim *, void *, uint64_t), void *target, uint64_t number)
{
    weir_assert(call != NULL);
    deadline_add(sim, (struct sim_deadline){
                          .when_ns = when_ns, .call = call, .target = target, .number = number});
}

void sim_deadlines_fire(struct weir_sim *sim)
{
    struct sim_threads *threads = sim->threads;
    while (threads->deadlines_count > 0 && threads->deadlines[0].when_ns <= threads->now_ns) {
        struct sim_deadline due = deadline_take(threads, 0);
        if (due.call != NULL) {
            sim_step(sim); // so that calls that make each other end the run at last
            due.call(sim, due.target, due.number);
        } else {
            sim_ready(sim, (uint32_t)due.number, SIM_WAKE_DEADLINE);
        }
    }
}

bool sim_clock_advance(struct weir_sim *sim)
{
    struct sim_threads *threads = sim->threads;
    if (threads->deadlines_count == 0) {
        return false;
    }
    if (threads->deadlines[0].when_ns > threads->now_ns) {
        threads->now_ns = threads->deadlines[0].when_ns;
        sim_event(sim, SIM_EVENT_CLOCK, 0, threads->now_ns, 0, NULL);
    }
    sim_deadlines_fire(sim);
    return true;
}
