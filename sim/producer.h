// A thread of a host that logs, in every way the public interface has.
#ifndef WEIR_SIM_PRODUCER_H
#define WEIR_SIM_PRODUCER_H

#include "sim/host.h"
#include "sim/memory.h"

struct sim_producer {
    struct weir_sim *sim;
    struct sim_auditor *auditor;
    struct weir_pool *pool;
    const struct sim_host_plan *plan;
    uint32_t number;
    uint32_t sequence; // of the next message
    uint64_t random;   // the state of its own choices
    struct sim_clock
        *logged; // if not NULL: what the host's threads tell each other of what they did
    bool done;
};

// A thread's entry.
void sim_producer_main(void *producer);
// Logs one message.  returns  what the pool answered.
int sim_producer_log(struct sim_producer *producer);

// A number below `bound` out of a state that goes on.
uint32_t sim_random_step(uint64_t *state, uint32_t bound);

#endif
