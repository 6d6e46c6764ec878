// The Chase-Lev deque: right, and with each order that matters taken away, to be found each time.
//
// The algorithm and its orders are those of Le, Pop, Cohen, Zappella Nardelli, "Correct and
// Efficient Work-Stealing for Weak Memory Models" (PPoPP 2013), figure 1, with a ring that does not
// grow.
//
// [D1] take and steal: a seq_cst fence between the two indices on either side. Both sides announce
//      (take lowers bottom, steal raised top before), then look at the other's index: store
//      buffering. Without either fence both may take the same item.
// [D2] push's release fence makes the slot visible to who acquires bottom in steal. Without either
//      a thief may read a slot's older item, or none.
//
// Orders that may be weakened without anything to be seen, and therefore are not among the mutants:
//   - steal's acquire of top: the seq_cst fence right behind it is an acquire fence.
//   - the seq_cst of both compare-exchanges of top: that only one succeeds is the atomicity of the
//     read-modify-write, and who reads top from one passes a seq_cst fence before it looks at
//     bottom or at a slot, so that the cases of [atomics.order] 4 hold through the fences.
//   - push's acquire of top, which keeps a slot from being written again before the thief's load of
//     it: a load that returns a later store needs load buffering, which the model does not have.
#include <stdatomic.h>

#include "sim/scenario_support.h"
#include "sim/scenarios.h"

#define SLOTS 4 // a power of two
#define THIEVES 2
#define STEALS 2
#define ROUNDS 4
#define ITEMS_MAX 6

enum weakness { DEQUE_RIGHT, TAKE_FENCE, STEAL_FENCE, PUSH_FENCE, STEAL_ACQUIRE };

struct deque {
    struct weir_sim *sim;
    enum weakness weakness;
    _Atomic int32_t top, bottom;
    _Atomic uint32_t slots[SLOTS];
    _Atomic uint32_t taken[ITEMS_MAX + 1]; // how often, by item; items are numbered from 1
};

static void item_taken(struct deque *deque, uint32_t item)
{
    weir_sim_check(deque->sim, item != 0, "item-unwritten");
    uint32_t before = atomic_fetch_add_explicit(&deque->taken[item], 1, memory_order_relaxed);
    weir_sim_check(deque->sim, before == 0, "item-taken-twice");
}

static bool deque_push(struct deque *deque, uint32_t item)
{
    int32_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed);
    int32_t top = atomic_load_explicit(&deque->top, memory_order_acquire); // [D2]
    if (bottom - top > SLOTS - 1) {
        return false;
    }
    atomic_store_explicit(&deque->slots[bottom & (SLOTS - 1)], item, memory_order_relaxed);
    if (deque->weakness != PUSH_FENCE) {
        atomic_thread_fence(memory_order_release); // [D2]
    }
    atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
    return true;
}

static bool deque_take(struct deque *deque)
{
    int32_t bottom = atomic_load_explicit(&deque->bottom, memory_order_relaxed) - 1;
    atomic_store_explicit(&deque->bottom, bottom, memory_order_relaxed);
    if (deque->weakness == TAKE_FENCE) {
        atomic_thread_fence(memory_order_acq_rel); // [D1]
    } else {
        atomic_thread_fence(memory_order_seq_cst); // [D1]
    }
    int32_t top = atomic_load_explicit(&deque->top, memory_order_relaxed);
    if (top > bottom) {
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        return false;
    }
    uint32_t item = atomic_load_explicit(&deque->slots[bottom & (SLOTS - 1)], memory_order_relaxed);
    if (top == bottom) { // the last one: a thief may want it too
        bool won = atomic_compare_exchange_strong_explicit(
            &deque->top, &top, top + 1, memory_order_seq_cst, memory_order_relaxed); // [D1]
        atomic_store_explicit(&deque->bottom, bottom + 1, memory_order_relaxed);
        if (!won) {
            return false;
        }
    }
    item_taken(deque, item);
    return true;
}

static void deque_steal(struct deque *deque)
{
    int32_t top = atomic_load_explicit(&deque->top, memory_order_acquire); // [D1]
    if (deque->weakness == STEAL_FENCE) {
        atomic_thread_fence(memory_order_acq_rel); // [D1]
    } else {
        atomic_thread_fence(memory_order_seq_cst); // [D1]
    }
    int32_t bottom = deque->weakness == STEAL_ACQUIRE
                         ? atomic_load_explicit(&deque->bottom, memory_order_relaxed)
                         : atomic_load_explicit(&deque->bottom, memory_order_acquire); // [D2]
    if (top >= bottom) {
        return;
    }
    uint32_t item = atomic_load_explicit(&deque->slots[top & (SLOTS - 1)], memory_order_relaxed);
    if (atomic_compare_exchange_strong_explicit(&deque->top, &top, top + 1, memory_order_seq_cst,
                                                memory_order_relaxed)) { // [D1]
        item_taken(deque, item);
        weir_sim_sometimes(deque->sim, "deque-stolen");
    }
}

static void thief(void *argument)
{
    for (uint32_t i = 0; i < STEALS; i++) {
        deque_steal(argument);
    }
}

static void deque_run(struct weir_sim *sim, enum weakness weakness)
{
    struct deque deque = {.sim = sim, .weakness = weakness};
    uint32_t thieves[THIEVES];
    for (uint32_t i = 0; i < THIEVES; i++) {
        thieves[i] = weir_sim_start(sim, thief, &deque);
    }
    uint32_t items = 0;
    for (uint32_t i = 0; i < 2; i++) {
        items += deque_push(&deque, items + 1);
    }
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (weir_sim_choose(sim, WEIR_SIM_WORK, 2) == 0) {
            (void)deque_take(&deque);
        } else {
            items += deque_push(&deque, items + 1);
        }
    }
    for (uint32_t i = 0; i < THIEVES; i++) {
        weir_sim_join(sim, thieves[i]);
    }
    while (deque_take(&deque)) {
    }
    for (uint32_t i = 1; i <= items; i++) {
        weir_sim_check(sim, atomic_load_explicit(&deque.taken[i], memory_order_relaxed) == 1,
                       "item-lost");
    }
}

#define RUN(name, weakness)                                                                        \
    static void name(struct weir_sim *sim)                                                         \
    {                                                                                              \
        deque_run(sim, weakness);                                                                  \
    }
RUN(right, DEQUE_RIGHT)
RUN(take_fence, TAKE_FENCE)
RUN(steal_fence, STEAL_FENCE)
RUN(push_fence, PUSH_FENCE)
RUN(steal_acquire, STEAL_ACQUIRE)

#define MUTANT(label, function, text)                                                              \
    {                                                                                              \
        .name = "deque-without-" label, .about = text, .run = function,                            \
        .kinds = SCENARIO_MEMORY_KINDS, .fine_only = true, .expects = WEIR_SIM_SAFETY              \
    }

const struct weir_sim_scenario sim_scenarios_deque[] = {
    {.name = "deque-chase-lev",
     .about = "one owner and two thieves: every item is taken once",
     .run = right,
     .kinds = SCENARIO_MEMORY_KINDS,
     .probes = (const char *const[]){"deque-stolen", NULL},
     .probe_seeds = 1000,
     .fine_only = true},
    MUTANT("take-fence", take_fence, "take's seq_cst fence is only acq_rel"),
    MUTANT("steal-fence", steal_fence, "steal's seq_cst fence is only acq_rel"),
    MUTANT("push-fence", push_fence, "push's release fence is left out"),
    MUTANT("steal-acquire", steal_acquire, "steal's load of bottom is relaxed"),
    {0},
};
