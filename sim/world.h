// The world: fills struct weir_os for a run, and what of it is neither network nor thread.
#ifndef WEIR_SIM_WORLD_H
#define WEIR_SIM_WORLD_H

#include "runtime/os.h"
#include "weir_sim.h"

struct sim_world;

struct sim_world *sim_world_create(void);
void sim_world_destroy(struct sim_world *world);
// A new run; fills the struct whose `self` is the sim.
void sim_world_begin(struct sim_world *world, struct weir_sim *sim);
const struct weir_os *sim_world_os(const struct sim_world *world);

// Threads first, then descriptors: the order of a real death.
void sim_world_kill(struct weir_sim *sim, uint32_t process);
// What process 0 has left at the end of a run: fails with WEIR_SIM_LEAK and names the first thing.
void sim_world_leaks(struct weir_sim *sim);

#endif
