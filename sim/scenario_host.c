// Scenarios of hosts without workers: an event loop of their own drives the runtime.
//
// Each is a profile of sim/host.h.
#include "sim/scenario_profile.h"
#include "sim/scenarios.h"

#define TRICKS (TRICK(KEYS) | TRICK(PARTS) | TRICK(SLOTS) | TRICK(FLUSH) | TRICK(CLOSE))
// All that wakes the loop is the descriptor: what it missed would stay undelivered.
#define DESCRIPTOR_ALONE (TRICK(BACKEND) | TRICK(PATIENCE))
#define HOST(tricks_always_)                                                                       \
    .kinds = UNIX | TCP | 1u << SIM_COLLECTOR_UNIX_DATAGRAM, .fulls = NEWEST | OLDEST,             \
    .tricks = TRICKS, .tricks_always = (tricks_always_), .writers_max = 2, .producers_max = 3,     \
    .messages_max = 40, .gap_records = true, .collectors_max = 2, .no_workers = true

PROBES(host, "abandoned", "epoch-turned", "woken", "close-deadline-hit", "disconnect", "row-full",
       "resent", "gap-record", "flush-timed-out");

#define PROFILES(X)                                                                                \
    X(host_turn, "host-turn", "a host that drives the runtime with weir_turn, others log", KINDS,  \
      host_probes, 1, HOST(0))                                                                     \
    X(host_backend, "host-backend",                                                                \
      "an event loop that only waits for weir_backend_fd, others log", KINDS, host_probes, 1,      \
      HOST(DESCRIPTOR_ALONE))                                                                      \
    X(host_name, "host-name", "the same with names to look up, on a thread of their own", KINDS,   \
      host_probes, 1, HOST(DESCRIPTOR_ALONE | TRICK(LATE_NAME)))

PROFILES(PROFILE_RUN)

const struct weir_sim_scenario sim_scenarios_host[] = {PROFILES(PROFILE_ENTRY){.name = NULL}};
