// The wire: a struct weir_os that tells the auditor what a pool does with its sockets.
//
// It is the simulated one with a few socket calls replaced: what the kernel took of each send, what
// it said of acknowledgements, how a connection ended and whether there was reason to end it. Only
// connections are looked at; listeners and what else the process opens pass through.
#ifndef WEIR_SIM_WIRE_H
#define WEIR_SIM_WIRE_H

#include "runtime/os.h"
#include "sim/auditor.h"

struct weir_sim;

struct sim_wire_options {
    struct sim_auditor *auditor;
    uint64_t stall_timeout_ns; // after so long without progress a connection may be given up
    bool acknowledged;         // the outstanding count is exact: TCP
    // Called by the writer's own thread before it connects: how many messages are confirmed.
    uint64_t (*connecting)(void *context);
    // Called once the pool reads the clock after this: a strategy may starve the thread that ends a
    // run's trouble, while the clock leaps from one deadline to the next.
    void (*overtime)(void *context);
    uint64_t overtime_ns;
    void *context;
};

// The struct to give to a runtime; `self` is the sim. Once per run.
struct weir_os sim_wire_open(struct weir_sim *sim, const struct sim_wire_options *options);

// Connections that the pool has open now.
uint32_t sim_wire_connections(const struct weir_sim *sim);
// Since the beginning: connects begun.
uint32_t sim_wire_connects(const struct weir_sim *sim);

#endif
