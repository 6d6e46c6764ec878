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

#define SIM_WIRE_PLACES_MAX 4

struct sim_wire_options {
    struct sim_auditor *auditor;
    uint64_t stall_timeout_ns; // after so long without progress a connection may be given up
    bool acknowledged;         // the outstanding count is exact: TCP
    bool relp;                 // answers are looked at
    // RELP: without an answer for so long, and without one to the open, it may be given up.
    uint64_t answer_timeout_ns, open_timeout_ns;
    bool faithful; // RELP: it may be given up for no other reason
    // Whether time limits are kept: a thread that stood still while the clock leapt is not in time.
    bool (*steady)(const void *context);
    // Where dials are counted, see sim_wire_dials. The caller's, for the run.
    const struct weir_address *places;
    uint32_t places_count; // SIM_WIRE_PLACES_MAX at most
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
// To this place: connects begun, and connections open now.
uint32_t sim_wire_dials(const struct weir_sim *sim, uint32_t place);
uint32_t sim_wire_open_at(const struct weir_sim *sim, uint32_t place);
// RELP: connections over which an answer is awaited.
uint32_t sim_wire_waiting(const struct weir_sim *sim);

#endif
