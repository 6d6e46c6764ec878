// The project's own scenarios: a table per file scenario_<noun>.c, ended by a nameless entry.
#ifndef WEIR_SIM_SCENARIOS_H
#define WEIR_SIM_SCENARIOS_H

#include "weir_sim.h"

// X(noun): the files.
#define SIM_SCENARIO_FILES(X)                                                                      \
    X(litmus) /* the memory model itself */                                                        \
    X(deque)  /* the Chase-Lev deque, and with each fence weakened */                              \
    X(queue)                                                                                       \
    X(park)                                                                                        \
    X(task)                                                                                        \
    X(spawn)                                                                                       \
    X(protocol) /* of idle workers, alone */                                                       \
    X(idle)                                                                                        \
    X(caller) /* a host without worker threads */                                                  \
    X(stream)                                                                                      \
    X(sync)                                                                                        \
    X(leave)                                                                                       \
    X(timer)                                                                                       \
    X(segment)                                                                                     \
    X(room)                                                                                        \
    X(writer)                                                                                      \
    X(host)                                                                                        \
    X(load) /* the talk's load test */                                                             \
    X(pool)                                                                                        \
    X(relp)                                                                                        \
    X(failover)                                                                                    \
    X(brief) /* the writer's, of a few messages only */                                            \
    X(progress)                                                                                    \
    X(stats)                                                                                       \
    X(example) /* the worked example of the documentation: a wrong hand-over */

#define SIM_SCENARIO_DECLARE(noun) extern const struct weir_sim_scenario sim_scenarios_##noun[];
SIM_SCENARIO_FILES(SIM_SCENARIO_DECLARE)
#undef SIM_SCENARIO_DECLARE

#define SIM_SCENARIOS_MAX 512
// All of them, in the order above.
//   returns  how many there are; only scenarios_max are written.
size_t sim_scenarios_gather(struct weir_sim_scenario *scenarios, size_t scenarios_max);

#endif
