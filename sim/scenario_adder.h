// A task that yields, spawns others, and adds one to a sum, for scenarios of tasks.
#ifndef WEIR_SIM_SCENARIO_ADDER_H
#define WEIR_SIM_SCENARIO_ADDER_H

#include "sim/scenario_support.h"

struct adder {
    struct weir_future future;
    _Atomic uint32_t *sum;
    uint32_t children; // spawns so many more, each with none
    uint32_t yields;
    bool ending; // the runtime may be destroyed meanwhile
    struct weir_yield yield;
    struct weir_sim *sim;
};

static enum weir_poll adder_poll(struct weir_future *future, struct weir_context *context)
{
    struct adder *me = (struct adder *)future;
    weir_begin(me);
    for (; me->children > 0; me->children--) {
        struct adder child = {.future = {.poll = adder_poll}, .sum = me->sum, .sim = me->sim};
        int error = weir_spawn(context, &child.future, sizeof child, WEIR_SPAWN_STEALABLE, NULL);
        weir_sim_check(me->sim, error == 0 || (me->ending && error == WEIR_ECLOSED),
                       "spawn-refused");
    }
    for (; me->yields > 0; me->yields--) {
        weir_yield_init(&me->yield);
        weir_await(me, context, &me->yield);
    }
    atomic_fetch_add_explicit(me->sum, 1, memory_order_relaxed);
    weir_return(me, 0);
    weir_exit(me);
    weir_end(me);
}

__attribute__((unused)) static void sum_wait(struct weir_sim *sim, struct weir_runtime *runtime,
                                             _Atomic uint32_t *sum, uint32_t goal)
{
    while (atomic_load_explicit(sum, memory_order_relaxed) < goal) {
        (void)weir_turn(runtime, 8, 0); // does nothing in a runtime with workers
        weir_sim_sleep(sim, 1000);
    }
}

#endif
