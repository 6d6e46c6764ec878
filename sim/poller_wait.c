// Waiting in a poller: epoll's rules, and what READY and INTERRUPT deviations make of them.
//
// What Linux does: the waiter takes files off the front of the ready list, asks each what is ready
// at that moment and passes over those that are not; what does not fit stays in the list.
#include "sim/poller.h"

#include "runtime/assert.h"
#include "sim/sim.h"

// When a signal comes to a waiter that is already asleep: a few calls of the others later.
#define INTERRUPT_NS 1000u

// What WEIR_SIM_READY does to one look at the ready list; the first ones need the least.
enum ready_fault {
    READY_AS_IT_IS,
    READY_SPURIOUS_BOTH, // some watched file is reported readable and writable
    READY_SPURIOUS_SAME, // some watched file is reported once more
    READY_LATE,          // the first file of the list comes a millisecond later
    READY_SPLIT          // only the first of several is reported
};

// The answer to one poller_wait as it is being filled.
struct answer {
    struct weir_os_event *events;
    uint32_t events_max;
    uint32_t events_count;
    uint32_t taken_count; // with the internal ones
};

static void answer_add(struct weir_sim *sim, struct answer *answer, const struct sim_file *file,
                       uint32_t ready)
{
    answer->taken_count++;
    if (!sim_watch_internal(&file->watch)) {
        answer->events[answer->events_count++] =
            (struct weir_os_event){.token = file->watch.token, .ready = ready};
        sim_event(sim, SIM_EVENT_EDGE, file->number, ready, file->watch.token, NULL);
    }
}

// Only faults that can show are asked for.
static enum ready_fault ready_fault(struct weir_sim *sim, const struct sim_poller *poller)
{
    if (poller->watched_count == 0) {
        return READY_AS_IT_IS;
    }
    enum ready_fault last = poller->first < 0               ? READY_SPURIOUS_SAME
                            : poller->first == poller->last ? READY_LATE
                                                            : READY_SPLIT;
    return (enum ready_fault)sim_fault(sim, WEIR_SIM_READY, last);
}

// An event that nothing happened for, of some watched file that is not in the list anyway.
static void spurious_add(struct weir_sim *sim, struct sim_poller *poller, struct answer *answer,
                         enum ready_fault fault)
{
    uint32_t chosen = sim_decide(sim, WEIR_SIM_READY, poller->watched_count);
    int fd = SIM_FILE_FIRST - 1;
    for (uint32_t seen = 0; seen <= chosen;) {
        const struct sim_watch *watch = &sim->files->files[++fd].watch;
        bool counts = sim_file_at(sim, fd) != NULL && watch->poller == poller;
        seen += counts && !sim_watch_internal(watch) ? 1 : 0;
    }
    const struct sim_file *file = &sim->files->files[fd];
    uint32_t ready = fault == READY_SPURIOUS_BOTH ? (uint32_t)(WEIR_READABLE | WEIR_WRITABLE)
                                                  : sim_watch_ready(sim, file);
    if (!sim_watch_listed(&file->watch) && ready != 0) {
        answer_add(sim, answer, file, ready);
    }
}

// One look at the ready list.
static void poller_take(struct weir_sim *sim, struct sim_poller *poller, struct answer *answer)
{
    enum ready_fault fault = ready_fault(sim, poller);
    if (fault == READY_SPURIOUS_BOTH || fault == READY_SPURIOUS_SAME) {
        spurious_add(sim, poller, answer, fault);
    }
    uint32_t taken_max = fault == READY_SPLIT ? 1 : answer->events_max;
    while (poller->first >= 0 && answer->taken_count < taken_max) {
        struct sim_file *file = &sim->files->files[poller->first];
        bool delayable = file->watch.state == SIM_WATCH_MARKED && !sim_watch_internal(&file->watch);
        sim_watch_take(sim, file);
        uint32_t ready = sim_watch_ready(sim, file);
        if (ready == 0) {
            continue;
        }
        if (fault == READY_LATE && delayable) {
            fault = READY_AS_IT_IS;
            sim_watch_delay(sim, file);
        } else {
            answer_add(sim, answer, file, ready);
        }
    }
}

static void wait_interrupt(struct weir_sim *sim, void *target, uint64_t wait)
{
    struct sim_poller *poller = target;
    if (poller->waiter != 0 && poller->waits_count == wait) {
        sim_ready(sim, poller->waiter - 1, SIM_WAKE_SPURIOUS);
    }
}

// A signal looks like nothing to do. It comes before the sleep or into it.
static void poller_block(struct weir_sim *sim, struct sim_poller *poller, struct answer *answer,
                         uint64_t deadline_ns)
{
    uint32_t number = sim_file_number(sim, poller->fd);
    uint32_t interrupt = sim_fault(sim, WEIR_SIM_INTERRUPT, 2);
    if (interrupt == 1) {
        return;
    }
    if (interrupt == 2) {
        sim_at(sim, sim_threads_now(sim->threads) + INTERRUPT_NS, wait_interrupt, poller,
               poller->waits_count);
    }
    enum sim_wake wake = SIM_WOKEN;
    while (wake == SIM_WOKEN && answer->taken_count == 0 &&
           sim_threads_now(sim->threads) < deadline_ns) {
        wake = sim_block(sim, SIM_BLOCKED_POLLER, number, deadline_ns);
        poller_take(sim, poller, answer);
    }
}

int sim_poller_wait(struct weir_sim *sim, const struct weir_poller *handle,
                    struct weir_os_event *events, uint32_t events_max, uint64_t deadline_ns)
{
    weir_assert(events != NULL && events_max > 0);
    struct sim_poller *poller = sim_poller_of(sim, handle);
    if (poller->waiter != 0) {
        weir_sim_fail(sim, WEIR_SIM_SAFETY, "two-threads-in-poller", "actor %u is waiting in it",
                      poller->waiter - 1);
    }
    struct answer answer = {.events = events, .events_max = events_max};
    poller->waiter = sim_actor(sim) + 1;
    poller->waits_count++;
    poller_take(sim, poller, &answer);
    if (answer.taken_count == 0 && sim_threads_now(sim->threads) < deadline_ns) {
        poller_block(sim, poller, &answer, deadline_ns);
    }
    poller->waiter = 0;
    sim_memory_acquire(sim->memory, sim_actor(sim), &poller->clock);
    sim_event(sim, SIM_EVENT_POLLED, sim_file_number(sim, poller->fd), answer.events_count,
              deadline_ns, NULL);
    return (int)answer.events_count;
}
