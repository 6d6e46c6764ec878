// Futexes, as futex(2) and its FUTEX_WAIT_BITSET and FUTEX_WAKE say.
//
// The word is compared and the thread put to sleep in one step. A wait whose deadline has passed,
// or that a signal has ended, can still be chosen by a wake until its thread runs again, and then
// was woken: as in the kernel, whose waiter takes itself out of the queue. Waking orders nothing:
// what the waker wrote before is seen only through the atomics of the code under test.
#include "sim/futex.h"

#include <errno.h>
#include <stdlib.h>

#include "sim/sim.h"

#define NOBODY UINT32_MAX
// When a wait ends that nobody ended: a few calls of other threads later, or after they all sleep.
#define SOON_NS 1000u
#define LATER_NS 1000000u

// What WEIR_SIM_FUTEX does to a wait.
enum futex_fault { FUTEX_AS_IT_IS, FUTEX_SPURIOUS, FUTEX_SPURIOUS_SOON, FUTEX_SPURIOUS_LATER };
// What WEIR_SIM_INTERRUPT does to it.
enum futex_signal { FUTEX_NO_SIGNAL, FUTEX_SIGNAL, FUTEX_SIGNAL_SOON };

struct futex_wait {
    const volatile void *address; // NULL: not waiting
    uint32_t actor;               // whose it is
    uint32_t previous, next;      // actors
    uint64_t number;              // of this wait, among all of the run
    int result;                   // what the wait returns
};

struct sim_futexes {
    struct futex_wait waits[SIM_THREADS_MAX]; // by actor
    uint32_t first, last;
    uint64_t numbers_count;
};

struct sim_futexes *sim_futexes_create(void)
{
    return calloc(1, sizeof(struct sim_futexes));
}

void sim_futexes_destroy(struct sim_futexes *futexes)
{
    free(futexes);
}

void sim_futexes_begin(struct sim_futexes *futexes)
{
    for (uint32_t actor = 0; actor < SIM_THREADS_MAX; actor++) {
        futexes->waits[actor].address = NULL;
        futexes->waits[actor].actor = actor;
    }
    futexes->first = futexes->last = NOBODY;
    futexes->numbers_count = 0;
}

// ---- The queue ----

static void queue_append(struct sim_futexes *futexes, uint32_t actor)
{
    struct futex_wait *wait = &futexes->waits[actor];
    wait->previous = futexes->last;
    wait->next = NOBODY;
    if (futexes->last != NOBODY) {
        futexes->waits[futexes->last].next = actor;
    } else {
        futexes->first = actor;
    }
    futexes->last = actor;
}

static void queue_remove(struct sim_futexes *futexes, uint32_t actor)
{
    struct futex_wait *wait = &futexes->waits[actor];
    if (wait->previous != NOBODY) {
        futexes->waits[wait->previous].next = wait->next;
    } else {
        futexes->first = wait->next;
    }
    if (wait->next != NOBODY) {
        futexes->waits[wait->next].previous = wait->previous;
    } else {
        futexes->last = wait->previous;
    }
    wait->address = NULL;
}

// The first waiter on the address from `actor` on.
static uint32_t queue_find(const struct sim_futexes *futexes, uint32_t actor,
                           const volatile void *address)
{
    while (actor != NOBODY && futexes->waits[actor].address != address) {
        actor = futexes->waits[actor].next;
    }
    return actor;
}

// ---- Waiting ----

// Ends a wait that is still the same one.
static void wait_end(struct weir_sim *sim, struct futex_wait *wait, uint64_t number, int result)
{
    if (wait->address != NULL && wait->number == number) {
        wait->result = result;
        sim_ready(sim, wait->actor, SIM_WAKE_SPURIOUS);
    }
}

static void wait_spurious(struct weir_sim *sim, void *target, uint64_t number)
{
    wait_end(sim, target, number, 0);
}

static void wait_signal(struct weir_sim *sim, void *target, uint64_t number)
{
    wait_end(sim, target, number, -EINTR);
}

// Words on the heap have numbers; elsewhere they are 0, since whether two words on a stack ever
// share an address is up to the compiler, and the trace is not.
static uint32_t word_number(struct weir_sim *sim, const volatile void *address)
{
    uint32_t block;
    size_t offset;
    const void *word = (const void *)(uintptr_t)address;
    bool heap =
        sim_arena_place(sim->arena, word, sizeof(uint32_t), &block, &offset) == SIM_PLACE_LIVE;
    return heap ? sim_memory_object(sim->memory, address) : 0;
}

static int futex_sleep(struct weir_sim *sim, struct sim_futexes *futexes,
                       const volatile void *address, uint64_t deadline_ns)
{
    enum futex_fault fault = (enum futex_fault)sim_fault(sim, WEIR_SIM_FUTEX, 3);
    enum futex_signal sent = (enum futex_signal)sim_fault(sim, WEIR_SIM_INTERRUPT, 2);
    if (fault == FUTEX_SPURIOUS) {
        return 0;
    }
    if (sent == FUTEX_SIGNAL) {
        return -EINTR;
    }
    uint32_t actor = sim_actor(sim);
    uint64_t now_ns = sim_threads_now(sim->threads);
    struct futex_wait *wait = &futexes->waits[actor];
    wait->address = address;
    wait->number = ++futexes->numbers_count;
    wait->result = -ETIMEDOUT;
    queue_append(futexes, actor);
    if (fault != FUTEX_AS_IT_IS) {
        uint64_t after_ns = fault == FUTEX_SPURIOUS_SOON ? SOON_NS : LATER_NS;
        sim_at(sim, now_ns + after_ns, wait_spurious, wait, wait->number);
    }
    if (sent == FUTEX_SIGNAL_SOON) {
        sim_at(sim, now_ns + SOON_NS, wait_signal, wait, wait->number);
    }
    uint32_t word = word_number(sim, address);
    (void)sim_block(sim, SIM_BLOCKED_FUTEX, word, deadline_ns);
    if (wait->address != NULL) {
        queue_remove(futexes, actor);
    }
    return wait->result;
}

int sim_futex_wait(struct weir_sim *sim, struct sim_futexes *futexes, const volatile void *address,
                   uint32_t expected, uint64_t deadline_ns)
{
    int result = -EAGAIN;
    if (sim_memory_futex(sim->memory, address) == expected) {
        result = sim_threads_now(sim->threads) >= deadline_ns
                     ? -ETIMEDOUT
                     : futex_sleep(sim, futexes, address, deadline_ns);
    }
    sim_event(sim, SIM_EVENT_FUTEX_WAIT, word_number(sim, address), expected,
              (uint64_t)(int64_t)result, NULL);
    return result;
}

// ---- Waking ----

// The longest waiter on the address; by a deviation another one.
static uint32_t waiter_choose(struct weir_sim *sim, const struct sim_futexes *futexes,
                              const volatile void *address, uint32_t waiters_count)
{
    uint32_t chosen = waiters_count > 1 ? sim_fault(sim, WEIR_SIM_FUTEX, waiters_count - 1) : 0;
    uint32_t actor = queue_find(futexes, futexes->first, address);
    for (; chosen > 0; chosen--) {
        actor = queue_find(futexes, futexes->waits[actor].next, address);
    }
    return actor;
}

void sim_futex_wake(struct weir_sim *sim, struct sim_futexes *futexes, const volatile void *address,
                    uint32_t waiters_max)
{
    uint32_t left = 0;
    for (uint32_t actor = queue_find(futexes, futexes->first, address); actor != NOBODY;
         actor = queue_find(futexes, futexes->waits[actor].next, address)) {
        left++;
    }
    uint32_t woken = 0;
    for (; left > 0 && woken < waiters_max; left--, woken++) {
        uint32_t actor = waiter_choose(sim, futexes, address, left);
        futexes->waits[actor].result = 0;
        queue_remove(futexes, actor);
        sim_ready(sim, actor, SIM_WOKEN);
    }
    sim_event(sim, SIM_EVENT_FUTEX_WAKE, word_number(sim, address), waiters_max, woken, NULL);
}

void sim_futexes_kill(struct weir_sim *sim, struct sim_futexes *futexes, uint32_t process)
{
    for (uint32_t actor = futexes->first; actor != NOBODY;) {
        uint32_t next = futexes->waits[actor].next;
        if (sim_thread_process(sim->threads, actor) == process) {
            queue_remove(futexes, actor);
        }
        actor = next;
    }
}
