// The beginning of every call of the simulated struct weir_os.
#ifndef WEIR_SIM_WORLD_CALL_H
#define WEIR_SIM_WORLD_CALL_H

#include "runtime/assert.h"
#include "sim/sim.h"

// Others may run first; then the call is one step that nobody interrupts.
static inline struct weir_sim *sim_world_enter(void *self)
{
    struct weir_sim *sim = self;
    weir_assert(sim_threads_inside(sim->threads)); // called outside of a run
    sim_point_call(sim);
    return sim;
}

// Fills in the calls on descriptors.
void sim_world_fill_files(struct weir_os *os);

#endif
