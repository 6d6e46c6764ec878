// Swarm: the mix of faults a seed draws: some runs have many of one sort and none of another.
//
// Groce, Zhang, Eide, Chen, Regehr, "Swarm Testing", ISSTA 2012: a random subset of features per
// run finds more than all of them always, as features hide each other's bugs.
#ifndef WEIR_SIM_SWARM_H
#define WEIR_SIM_SWARM_H

#include "sim/random.h"
#include "weir_sim.h"

// How the answers to one kind of decision are drawn. Each kind's stream also draws its rate, so
// that nothing about one kind moves another.
struct sim_swarm_kind {
    struct sim_random random;
    struct sim_rate rate; // numerator 0: never
};

// Fills one entry per kind; switches and the workload get their stream only.
void sim_swarm_draw(struct sim_swarm_kind *kinds, uint64_t seed);

#endif
